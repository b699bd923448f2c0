#!/usr/bin/env bash
# Limits that are reached for real: descriptors, address space, file size, a
# full disk, threads. Whoever cannot start says which one in a line; who runs
# refuses what does not fit, serves the others, and is well when it is over.
. "$(dirname "$0")/functions.sh"
requires nbdsh
requires setpriv
requires prlimit
[ "$(id -u)" = 0 ] || fail "becomes another user: run as root"
user=61234 # nobody else's: RLIMIT_NPROC counts all processes of a user
chmod 755 "$tmp"
gatewayd=$RNBD_GATEWAYD

# refused NAME WORDS COMMAND...: it ends by itself, not by a signal, with a
# line that says WORDS.
refused() {
	local name=$1 words=$2 rc=0
	shift 2
	timeout 60 "$@" >"$tmp/$name.log" 2>&1 || rc=$?
	[ $rc -gt 0 ] && [ $rc -lt 124 ] || fail "$name: ended with $rc"
	grep -qE "error: .*$words" "$tmp/$name.log" || fail "$name: no '$words'"
}

# limited NAME LIMIT ARGS...: start_gateway under a limit of prlimit(1).
limited() {
	local name=$1
	printf '#!/bin/sh\nexec prlimit %s "%s" "$@"\n' "$2" "$gatewayd" \
		>"$tmp/limited-gatewayd"
	chmod +x "$tmp/limited-gatewayd"
	shift 2
	RNBD_GATEWAYD=$tmp/limited-gatewayd start_gateway "$name" "$@"
}

small=(--workers 1 --queue-depth 16)
daemon=("$gatewayd" --foreground "${small[@]}" --listen tcp:127.0.0.1:0
	--export m=memory:1M)
as_user=(setpriv "--reuid=$user" "--regid=$user" --clear-groups)

# --- the daemon does not start
refused files 'Too many open files; raise the limit of open files' \
	prlimit --nofile=8 "${daemon[@]}"
refused threads 'cannot start worker 0: Resource temporarily unavailable; raise the limit of threads' \
	"${as_user[@]}" prlimit --nproc=1 "${daemon[@]}"

# --- descriptors run out while it serves
random_file disk 4
limited gw --nofile=64 "${small[@]}" --export "disk=file:$tmp/disk" --export m=memory:1M
start_nbdkit n "$RNBD_PLUGIN" sessname=first "path=$path_gw" device_path=disk
hold "$uri_n" # its device is open
holder=${pids[-1]}
mkfifo "$tmp/go"
python3 - "${path_gw##*:}" "$tmp/go" "$tmp/full" >"$tmp/crowd.log" 2>&1 <<-'EOF' &
	import socket, sys
	crowd = [socket.create_connection(("127.0.0.1", int(sys.argv[1])))
	         for _ in range(150)]
	open(sys.argv[3], "w").write("x")
	open(sys.argv[2]).read()
EOF
pids+=($!)
until_true test -s "$tmp/full"
wait_log "$tmp/gw.log" "$path_gw: accept: Too many open files; .*; raise the limit of open files"
nbdsh -u "$uri_n" -c 'assert len(h.pread(1 << 20, 0)) == 1 << 20' \
	-c 'h.pwrite(b"x" * 4096, 0); h.flush()' || fail "the first session suffers"
echo >"$tmp/go"
# shellcheck disable=SC2016 # nbdkit's shell expands it
run_nbdkit 'nbdcopy "$uri" null:' "$RNBD_PLUGIN" sessname=second \
	"path=$path_gw" device_path=m || fail "no room after the crowd"
kill "$holder" "$pid_n"
wait_gone "$pid_n"
stop "$pid_gw" || fail "the gateway ended with $?"

# --- the plugin
start_gateway gw "${small[@]}" --export m=memory:1M
plugin=("$RNBD_PLUGIN" sessname=s "path=$path_gw" device_path=m)
# nbdkit has what it needs, and a path not: it goes on trying.
timeout 60 "${san_env[@]}" prlimit --nofile=9 nbdkit -U - "${plugin[@]}" \
	--run true >"$tmp/nbdkit-files.log" 2>&1 || [ $? = 1 ] || fail "nbdkit ended with $?"
grep -q "error: .*Too many open files; raise the limit of open files" \
	"$tmp/nbdkit-files.log" || fail "the plugin says nothing"
install -m 755 "$RNBD_PLUGIN" "$tmp/plugin.so"
refused nbdkit-threads 'Resource temporarily unavailable; raise the limit of threads' \
	"${san_env[@]}" "${as_user[@]}" prlimit --nproc=1 \
	nbdkit -f -U - "$tmp/plugin.so" "${plugin[@]:1}"
# shellcheck disable=SC2016
run_nbdkit 'nbdinfo "$uri"' "${plugin[@]}" >/dev/null || fail "not well afterwards"
stop "$pid_gw" || fail "the gateway ended with $?"

# --- a limit of file size: an error of that write, not a signal
truncate -s 8M "$tmp/limited"
for engine in --no-io-uring --workers=1; do
	limited gw --fsize=4194304 $engine --export "disk=file:$tmp/limited"
	start_nbdkit n "$RNBD_PLUGIN" sessname=f "path=$path_gw" device_path=disk
	nbdsh -u "$uri_n" -c - <<-'EOF'
		h.pwrite(b"a" * 65536, 0)
		try:
		    h.pwrite(b"b" * 65536, 6 << 20)
		    raise SystemExit("a write behind the limit of file size")
		except nbd.Error as e:
		    assert e.errno == "ENOSPC", e # nbdkit's word for EFBIG
		assert h.pread(65536, 0) == b"a" * 65536
		h.pwrite(b"c" * 65536, 1 << 20)
		h.flush()
	EOF
	kill "$pid_n"
	wait_gone "$pid_n"
	stop "$pid_gw" || fail "the gateway ended with $?"
done

refused create "'large'.*File too large" prlimit --fsize=4194304 \
	"${daemon[@]}" --export "large=file:$tmp/large,create=8M"

# --- a full disk for what the daemon itself writes
mkdir "$tmp/full-disk"
mount -t tmpfs -o size=64k none "$tmp/full-disk" || fail "cannot mount a small tmpfs"
unmount() {
	umount -l "$tmp/full-disk"
}
at_exit+=(unmount)
head -c 1M /dev/zero >"$tmp/full-disk/filler" 2>/dev/null || :
refused full-disk "full-disk/pid: No space left on device" \
	"${daemon[@]}" --pid-file "$tmp/full-disk/pid"

# --- address space: sanitizers need terabytes of it
[ "${RNBD_SANITIZER:-}" = "" ] || exit 0
refused space '; (give it more memory|raise the limit)' \
	prlimit --as=$((64 << 20)) "${daemon[@]}" --export big=memory:1G
# It fits for the daemon, and not for 2048 requests of 128 KiB.
limited gw --as=$((300 << 20)) --workers 1 --queue-depth 2048 --export m=memory:1M
rc=0
timeout 60 nbdkit -U - "$RNBD_PLUGIN" sessname=a "path=$path_gw" device_path=m \
	open-timeout=3 --run true >"$tmp/big.log" 2>&1 || rc=$?
[ $rc = 1 ] || fail "a session of 256 MiB in what 300 MiB leave: $rc"
grep -qE "error: .*'m'" "$tmp/big.log" || fail "not said to the client"
wait_log "$tmp/gw.log" "Cannot allocate memory"
# What needs no such session is served.
kill -0 "$pid_gw" || fail "the gateway is gone"
stop "$pid_gw" || fail "the gateway ended with $?"
