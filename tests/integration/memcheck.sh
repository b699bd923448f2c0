#!/usr/bin/env bash
# The daemon under valgrind's memcheck: a disk written, read, trimmed and
# reopened over tcp, a connection cut, a reload, metrics, and a drain.
. "$(dirname "$0")/functions.sh"
requires valgrind
requires nbdsh
gatewayd=$RNBD_GATEWAYD
truncate -s 8M "$tmp/disk"
printf '#!/bin/sh\nexec valgrind -q --error-exitcode=99 --leak-check=full \\\n--errors-for-leak-kinds=definite --log-file="%s/vg.log" "%s" "$@"\n' \
	"$tmp" "$gatewayd" >"$tmp/checked"
chmod +x "$tmp/checked"
cat >"$tmp/conf" <<EOF
[gateway]
listen = tcp:127.0.0.1:0
workers = 2
queue-depth = 16
sandbox = no
control = $tmp/control
metrics = unix:$tmp/metrics
export = disk=file:$tmp/disk
export = m=memory:1M
EOF
fifo=$tmp/listening
mkfifo "$fifo"
"$tmp/checked" --foreground --config "$tmp/conf" >"$fifo" 2>"$tmp/gw.log" &
pid_gw=$!
pids+=("$pid_gw")
read -r -t 120 line <"$fifo" || fail "no daemon"
start_nbdkit n "$RNBD_PLUGIN" sessname=v "path=${line#listening on }" \
	device_path=disk reconnect-delay=0.1 connect-timeout=20
nbdsh -u "$uri_n" -c - <<'EOF'
for i in range(64):
    h.pwrite(bytes([i]) * 65536, i * 65536, nbd.CMD_FLAG_FUA if i % 8 == 0 else 0)
h.flush()
h.trim(65536, 0)
h.zero(65536, 65536)
assert h.pread(1 << 20, 2 << 20) == b"".join(bytes([i]) * 65536 for i in range(32, 48))
EOF
ctl() {
	timeout 60 "$RNBD_CTL" --control "$tmp/control" "$@" >"$tmp/ctl.log" 2>&1 ||
		fail "rnbdctl $*"
}
ctl status
ctl reload
curl -s --unix-socket "$tmp/metrics" http://x/metrics | grep -q '# EOF' || fail "no metrics"
nbdsh -u "$uri_n" -c 'assert len(h.pread(4096, 0)) == 4096'
kill "$pid_n"
wait_gone "$pid_n"
rc=0
stop "$pid_gw" || rc=$?
[ $rc = 0 ] || fail "the daemon ended with $rc: $(cat "$tmp/vg.log")"
! [ -s "$tmp/vg.log" ] || fail "$(cat "$tmp/vg.log")"
