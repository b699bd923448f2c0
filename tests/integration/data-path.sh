#!/usr/bin/env bash
# The plugin's part of a request: one thread, and no call that could block while
# others need the session.
. "$(dirname "$0")/functions.sh"
requires nbdsh
requires strace
[ "${RNBD_SANITIZER:-}" = "" ] || skip "strace and sanitizers do not go together"
truncate -s 64M "$tmp/disk"
port=$(free_port)
gateway_listen=tcp:127.0.0.1:$port
start_gateway gw --export "disk=file:$tmp/disk"

# start_plugin NAME ARGS...: in the foreground, its log, with the counters of
# the session at the end, is NAME.log.
start_plugin() {
	local name=$1
	shift
	nbdkit -f -v -D rnbd.wait=1 -U "$tmp/$name.sock" "$RNBD_PLUGIN" \
		"sessname=dp-$name" "path=$path_gw" device_path=disk \
		access_mode=migration "$@" 2>>"$tmp/$name.log" &
	pids+=($!)
	declare -g "pid_$name=$!"
	until_true test -S "$tmp/$name.sock"
}

# One request at a time: the thread that makes it sees it through. No other
# one is woken, submits for it, or takes over.
start_plugin one
cat >"$tmp/one-by-one.py" <<'EOF'
for i in range(200):
    h.pwrite(bytes([i]) * 4096, i * 4096)
for i in range(200):
    assert h.pread(4096, i * 4096) == bytes([i]) * 4096
EOF
nbdsh -u "nbd+unix:///?socket=$tmp/one.sock" -c - <"$tmp/one-by-one.py"
stop "$pid_one" || fail "nbdkit ended with $?"
# counters NAME: what its session counted, into n_requests, n_driven, ...
counters() {
	local line
	line=$(grep -o "[0-9]* requests, .* driven by their own thread.*" \
		"$tmp/$1.log") || fail "no counters in the log"
	echo "$line"
	read -r n_requests n_driven n_combined _ n_handovers n_wakes _ n_paid \
		n_missed <<<"$(tr -cs '0-9' ' ' <<<"$line")"
	# But for a moment in which the helper, four times a second, looks
	# whether it is needed.
	[ "$n_requests" -ge 400 ] && [ "$n_driven" -ge $((n_requests - 4)) ] &&
		[ "$n_combined" -le 4 ] && [ "$n_handovers" -le 4 ] &&
		[ "$n_wakes" -le 4 ] || fail "a request changed threads"
}
counters one
[ "$n_paid$n_missed" = 00 ] || fail "polled, though nobody asked for that"

# Polled by both ends.
gateway_listen='' start_gateway polling --export "disk=file:$tmp/disk" \
	--busy-poll 500
path_gw=$path_polling start_plugin polled busy-poll=500
nbdsh -u "nbd+unix:///?socket=$tmp/polled.sock" -c - <"$tmp/one-by-one.py"
stop "$pid_polled" || fail "nbdkit ended with $?"
stop "$pid_polling" || fail "the daemon ended with $?"
counters polled
[ $((n_paid + n_missed)) -gt 0 ] || fail "nothing was polled"

# The same by its system calls: the session's socket is read and written by
# calls that do not wait, and for each request by one thread.
start_plugin two
strace -f -yy -e signal=none -o "$tmp/calls" -p "$pid_two" -e trace=network \
	2>"$tmp/strace.log" &
tracer=$!
pids+=("$tracer")
wait_log "$tmp/strace.log" attached
nbdsh -u "nbd+unix:///?socket=$tmp/two.sock" -c - <"$tmp/one-by-one.py"
stop "$tracer" INT || :
stop "$pid_two" || fail "nbdkit ended with $?"
python3 - "$tmp/calls" "$port" <<'EOF' || fail "see the trace"
import re, sys

call = re.compile(r"(\d+) +(\w+)\(\d+<TCP:\[.*->127\.0\.0\.1:" + sys.argv[2] + r"\]>")
could_wait, requests, answers, changed, sender = [], 0, 0, 0, None
for line in open(sys.argv[1], encoding="utf-8", errors="replace"):
    m = call.match(line)
    if not m or m[2] not in ("recvfrom", "recvmsg", "sendto", "sendmsg"):
        continue
    if "MSG_DONTWAIT" not in line:
        could_wait.append(line)
    if m[2].startswith("send"):
        sender = m[1]
        requests += 1
    elif sender:
        answers += 1
        # Heartbeats, once in 5 s, are the helper's.
        changed += m[1] != sender
print(f"{requests} sends, {answers} reads, {changed} of them by another thread, "
      f"{len(could_wait)} calls that could wait")
if could_wait:
    print(could_wait[0])
sys.exit(requests < 400 or answers < 400 or changed > 20 or could_wait != [])
EOF

# Whoever reads nbdkit's log stands still, and the server goes and comes back:
# what there is to say about that waits, I/O does not.
mkfifo "$tmp/stuck"
exec 7<>"$tmp/stuck"
python3 - <<'EOF'
import fcntl, os
flags = fcntl.fcntl(7, fcntl.F_GETFL)
fcntl.fcntl(7, fcntl.F_SETFL, flags | os.O_NONBLOCK)
for size in 512, 1:
    try:
        while True:
            os.write(7, b"x" * size)
    except BlockingIOError:
        pass
fcntl.fcntl(7, fcntl.F_SETFL, flags)
EOF
nbdkit -f -U "$tmp/three.sock" "$RNBD_PLUGIN" sessname=dp-three \
	"path=$path_gw" device_path=disk access_mode=migration \
	reconnect-delay=0.1 2>&7 7>&- &
pid_three=$!
pids+=("$pid_three")
until_true test -S "$tmp/three.sock"
nbdsh -u "nbd+unix:///?socket=$tmp/three.sock" -c "$(
	cat <<EOF
h.pwrite(b"a" * 4096, 0)
open("$tmp/wrote", "w").write("x")
input()
for i in range(20):
    assert h.pread(4096, 0) == b"a" * 4096
EOF
)" < <(until_true test -s "$tmp/back" && echo) &
client=$!
pids+=("$client")
until_true test -s "$tmp/wrote"
stop "$pid_gw" KILL || :
start_gateway gw --export "disk=file:$tmp/disk"
echo x >"$tmp/back"
wait "$client" || fail "I/O waits for the reader of the log"
# What was kept comes when the reader goes on.
timeout 60 grep -qam1 "session dp-three: path" <&7 || fail "no line about the lost session"
kill "$pid_three"
cat <&7 >/dev/null &
pids+=($!)
wait "$pid_three" || fail "nbdkit ended with $?"
