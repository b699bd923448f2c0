#!/usr/bin/env bash
# What a service manager is told: ready, alive as long as every worker is,
# stopping. The manager is a socket of this test.
. "$(dirname "$0")/functions.sh"
requires python3
# Receives notifications and writes one line for each, with the sender's pid.
python3 - "$tmp/notify" "$tmp/told" <<-'EOF' &
	import os, socket, struct, sys
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
	s.bind(sys.argv[1])
	out = open(sys.argv[2], "w", buffering=1)
	while True:
	    data, anc, _, _ = s.recvmsg(4096, socket.CMSG_SPACE(12))
	    pid = struct.unpack("3i", anc[0][2])[0]
	    out.write("%d %s\n" % (pid, data.decode().replace("\n", " ")))
EOF
pids+=($!)
until_true test -S "$tmp/notify"
export NOTIFY_SOCKET=$tmp/notify WATCHDOG_USEC=600000
linked=$(ldd "$RNBD_GATEWAYD")
if [[ $linked != *libsystemd* ]]; then
	start_gateway gw --export m=memory:1M
	wait_log "$tmp/gw.log" "without libsystemd"
	exit 0
fi
start_gateway gw --export m=memory:1M --workers 2 --control "$tmp/control"
wait_log "$tmp/told" "^$pid_gw READY=1 STATUS=serving on 1 address$"
alive() {
	grep -c "^$pid_gw WATCHDOG=1$" "$tmp/told" || :
}
# At least that many more than there were at the start of this wait.
more_alive() {
	local n
	n=$(($(alive) + $1))
	until_true eval "[ \$(alive) -ge $n ]"
}
more_alive 4

# One worker hangs: a tracer stops its thread, and no other. The control thread
# runs on, and must not say that all is well.
tid=$(grep -l '^worker-1$' /proc/"$pid_gw"/task/*/comm | cut -d/ -f5)
[ -n "$tid" ] || fail "no thread is called worker-1"
mkfifo "$tmp/go"
python3 - "$tid" "$tmp/stopped" "$tmp/go" <<-'EOF' &
	import ctypes, os, sys
	libc = ctypes.CDLL(None, use_errno=True)
	libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p,
	                        ctypes.c_void_p]
	tid = int(sys.argv[1])
	if libc.ptrace(16, tid, None, None) < 0:  # PTRACE_ATTACH
	    os._exit(77 if ctypes.get_errno() == 1 else 1)
	os.waitpid(tid, 0x40000000)  # __WALL
	open(sys.argv[2], "w").write("x")
	open(sys.argv[3]).read()
	libc.ptrace(17, tid, None, None)  # PTRACE_DETACH
EOF
tracer=$!
pids+=("$tracer")
stopped_or_refused() {
	[ -s "$tmp/stopped" ] || ! kill -0 "$tracer" 2>/dev/null
}
until_true stopped_or_refused
[ -s "$tmp/stopped" ] || skip "this system lets nobody stop a thread"
# The question after the one that may be answered already.
wait_log "$tmp/gw.log" "worker 1 has not answered"
hung=$(alive)
seen=$(grep -c "worker 1 has not answered" "$tmp/gw.log")
until_true eval "[ \$(grep -c 'worker 1 has not answered' $tmp/gw.log) -ge $((seen + 5)) ]"
[ "$(alive)" = "$hung" ] || fail "told to be alive with a worker that hangs"
echo >"$tmp/go"
wait "$tracer"
more_alive 2

stop "$pid_gw" || fail "ended with $?"
wait_log "$tmp/told" "^$pid_gw STOPPING=1 STATUS=draining$"

# Without a watchdog nothing but these two is said.
unset WATCHDOG_USEC
start_gateway quiet --export m=memory:1M
wait_log "$tmp/told" "^$pid_quiet READY=1"
stop "$pid_quiet" || fail "ended with $?"
wait_log "$tmp/told" "^$pid_quiet STOPPING=1"
[ "$(grep -c "^$pid_quiet " "$tmp/told")" = 2 ] || fail "more was told"
