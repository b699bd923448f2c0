#!/usr/bin/env bash
# The unit is one that systemd takes, is as tight as it claims, and lets the
# daemon do all that it does; user, groups and directory can be made.
. "$(dirname "$0")/functions.sh"
requires systemd-analyze
requires systemd-sysusers
requires systemd-tmpfiles
requires strace
built=$(dirname "$(dirname "$RNBD_GATEWAYD")")/config
unit=$tmp/rnbd-gatewayd.service
# As it would be, but with the daemon that is here.
sed "s|^ExecStart=[^ ]*/rnbd-gatewayd|ExecStart=$RNBD_GATEWAYD|" \
	"$built/systemdsystemunitdir-rnbd-gatewayd.service" >"$unit"
grep -qE "^ExecStart=$RNBD_GATEWAYD --foreground --config /[^ ]*/rnbd-gatewayd.conf " \
	"$unit" || fail "ExecStart"
systemd-analyze verify --man=no "$unit" >"$tmp/verify.log" 2>&1 ||
	fail "systemd-analyze verify: $(cat "$tmp/verify.log")"
[ ! -s "$tmp/verify.log" ] || fail "systemd-analyze verify: $(cat "$tmp/verify.log")"
# Out of 100; what is left is what the daemon is there for: devices, sockets.
systemd-analyze security --offline=yes --no-pager --threshold=25 "$unit" \
	>"$tmp/security.log" || fail "$(tail -n 1 "$tmp/security.log")"
tail -n 1 "$tmp/security.log"

# Maps: an instance of the template, with the rnbdctl that is here.
map=$tmp/rnbd-map@root.service
sed "s|=[^ ]*/rnbdctl|=$RNBD_CTL|" \
	"$built/systemdsystemunitdir-rnbd-map@.service" >"$tmp/rnbd-map@.service"
cp "$tmp/rnbd-map@.service" "$map"
for verb in ExecStart=$RNBD_CTL\ map ExecStop=$RNBD_CTL\ unmap; do
	grep -qE "^$verb --file /[^ ]*/rnbd/map.d/%I.conf$" "$map" ||
		fail "$verb of rnbd-map@"
done
systemd-analyze verify --man=no "$map" >"$tmp/verify.log" 2>&1 ||
	fail "systemd-analyze verify: $(cat "$tmp/verify.log")"
[ ! -s "$tmp/verify.log" ] || fail "systemd-analyze verify: $(cat "$tmp/verify.log")"

mkdir -p "$tmp/root/etc" "$tmp/root/run"
systemd-sysusers --root="$tmp/root" "$built/sysusersdir-rnbd.conf" \
	>"$tmp/sysusers.log" 2>&1 || fail "systemd-sysusers"
for group in disk rdma; do
	grep -qE "^$group:.*[:,]rnbd$" "$tmp/root/etc/group" ||
		fail "rnbd is no member of $group"
done
systemd-tmpfiles --root="$tmp/root" --create "$built/tmpfilesdir-rnbd.conf" \
	>"$tmp/tmpfiles.log" 2>&1 || fail "systemd-tmpfiles"
[ -d "$tmp/root/run/rnbd" ] || fail "no /run/rnbd"
[ "$(stat -c %a "$tmp/root/run/rnbd/client")" = 700 ] || fail "no /run/rnbd/client"

# Every system call of a daemon at work is in the unit's filter.
truncate -s 8M "$tmp/disk"
mkfifo "$tmp/listening.traced"
strace -f -qq -o "$tmp/calls" "$RNBD_GATEWAYD" --foreground \
	--listen tcp:127.0.0.1:0 --export "disk=file:$tmp/disk" \
	--export m=memory:8M --control "$tmp/control" \
	>"$tmp/listening.traced" 2>>"$tmp/traced.log" &
tracer=$!
pids+=("$tracer")
read -r -t 60 line <"$tmp/listening.traced" || fail "the daemon did not come up"
for device in disk m; do
	start_nbdkit "n_$device" "$RNBD_PLUGIN" "sessname=$device" \
		"path=${line#listening on }" "device_path=$device"
	uri=uri_n_$device
	qemu-io -f raw -c 'write 0 1M' -c 'write -z 1M 1M' -c 'discard 2M 1M' \
		-c flush -c 'read 0 4M' "${!uri}" >"$tmp/io.log"
done
"$RNBD_CTL" --control "$tmp/control" status >/dev/null
kill "$(pgrep -P "$tracer")"
wait "$tracer" || fail "ended with $?"
python3 - "$unit" "$tmp/calls" <<-'EOF'
	import re, subprocess, sys
	def members(name):
	    if not name.startswith("@"):
	        return {name}
	    out = subprocess.run(["systemd-analyze", "syscall-filter", name],
	                         capture_output=True, text=True, check=True).stdout
	    words = [w.strip() for w in out.splitlines()[1:]]
	    return set().union(*(members(w) for w in words
	                         if w and not w.startswith("#")))
	allowed = set()
	for words in re.findall(r"^SystemCallFilter=(.*)$", open(sys.argv[1]).read(),
	                        re.M):
	    for w in words.lstrip("~").split():
	        allowed = (allowed - members(w) if words[0] == "~"
	                   else allowed | members(w))
	used = {m[1] for m in re.finditer(r"^\d+ +(\w+)\(", open(sys.argv[2]).read(),
	                                  re.M)}
	assert {"io_uring_setup", "seccomp", "accept4"} <= used, sorted(used)
	if used - allowed:
	    sys.exit("not in the unit's filter: %s" % sorted(used - allowed))
EOF

# A user without any privilege, as the unit has it.
[ "$(id -u)" = 0 ] || exit 0
mkfifo "$tmp/listening.user"
setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs \
	--bounding-set=-all "$RNBD_GATEWAYD" --foreground \
	--listen tcp:127.0.0.1:0 --export m=memory:8M \
	>"$tmp/listening.user" 2>>"$tmp/user.log" &
pid=$!
pids+=("$pid")
read -r -t 60 line <"$tmp/listening.user" || fail "no start without privileges"
start_nbdkit n_user "$RNBD_PLUGIN" sessname=user \
	"path=${line#listening on }" device_path=m
nbdcopy "$uri_n_user" "$tmp/back"
stop "$pid" || fail "without privileges: ended with $?"
! grep -E 'warning|error' "$tmp/user.log" || fail "complains without privileges"
