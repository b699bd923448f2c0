#!/usr/bin/env bash
# How long I/O stands still, and what is there after it: the deadline of
# io-timeout, SIGTERM while requests wait, a path disconnected by command, a
# path that falls silent, and devices that are larger, smaller or gone when the
# server is back. The bounds leave room for a busy machine.
. "$(dirname "$0")/links/functions.sh"
requires nbdsh
two_addresses

gateway() { # EXPORT
	start_gateway gw "${gateway_more[@]}" --control "$tmp/control" --export "$1"
}
# One path to it, and NBD on $uri_n.
plugin() {
	start_nbdkit n "$RNBD_PLUGIN" sessname=stall "path=tcp:${addresses[0]}" \
		device_path=disk reconnect-delay=0.1 "$@"
}
end_plugin() {
	kill "$pid_n"
	wait_gone "$pid_n"
}
kill_gateway() {
	kill -KILL "$pid_gw" 2>/dev/null || :
	wait "$pid_gw" 2>/dev/null || :
}

# --- io-timeout: for what is under way when the server is lost, for what comes
# later, and for a server that is silent (from when that is noticed).
cat >"$tmp/deadline.py" <<-'EOF'
	import os, signal, time
	gw, limit, silent = (float(os.environ[k]) for k in ("GW", "LIMIT", "SILENT"))
	gw = int(gw)
	h.pread(512, 0)
	ends = []
	def done(err):
	    ends.append((time.monotonic(), err.value))
	    return 1
	os.kill(gw, signal.SIGSTOP)
	while open("/proc/%d/stat" % gw).read().rsplit(")")[1].split()[0] != "T":
	    pass
	buf = nbd.Buffer.from_bytearray(bytearray(4096))
	t0 = time.monotonic()
	for i in range(4):
	    h.aio_pread(buf, i * 4096, done)
	if not silent:
	    os.kill(gw, signal.SIGKILL)
	    t0 = time.monotonic()
	else:
	    t0 += silent
	while len(ends) < 4:
	    h.poll(-1)
	assert all(e == 5 for _, e in ends), ends
	late = [round((t - t0 - limit) * 1000) for t, _ in ends]
	if limit and not silent:
	    # What comes when the server is gone has all of its own time.
	    t1 = time.monotonic()
	    try:
	        h.pread(512, 0)
	        assert False
	    except nbd.Error as e:
	        assert e.errnum == 5, e
	    late.append(round((time.monotonic() - t1 - limit) * 1000))
	print("io-timeout=%g%s: EIO %+d to %+d ms off" %
	      (limit, ", silent server" if silent else "", min(late), max(late)))
	# A silent one is noticed within an interval of the time computed.
	slack = 300 if silent else 20
	assert -slack <= min(late) and max(late) <= slack + 500, late
EOF
for limit in 0 0.3 1.5; do
	for silent in 0 0.6; do
		gateway disk=memory:16M
		plugin "io-timeout=$limit" heartbeat-interval=0.2 heartbeat-missed=2
		GW=$pid_gw LIMIT=$limit SILENT=$silent \
			nbdsh -u "$uri_n" -c "$(cat "$tmp/deadline.py")" ||
			fail "io-timeout=$limit, silent $silent"
		kill_gateway
		end_plugin
	done
done

# --- SIGTERM
cat >"$tmp/term.py" <<-'EOF'
	import os, select, signal, time
	gw, nbdkit = (int(os.environ[k]) for k in ("GW", "NBDKIT"))
	ended = os.pidfd_open(nbdkit)
	h.pread(512, 0)
	os.kill(gw, signal.SIGKILL)
	buf = nbd.Buffer.from_bytearray(bytearray(4096))
	ends = []
	def done(err):
	    ends.append(err.value)
	    return 1
	for i in range(8):
	    h.aio_pwrite(buf, i * 4096, done)
	    h.poll(0)
	t = time.monotonic()
	os.kill(nbdkit, signal.SIGTERM)
	# nbdkit itself waits for clients to leave: this one does, answered.
	try:
	    while len(ends) < 8:
	        h.poll(-1)
	except nbd.Error:
	    pass
	assert 0 not in ends, ends
	try:
	    h.shutdown()
	except nbd.Error:
	    pass # it was faster
	assert select.select([ended], [], [], 30)[0], "nbdkit does not end"
	t = time.monotonic() - t
	print("SIGTERM while requests wait: nbdkit ended after %d ms" % (t * 1000))
	assert t < 2, t
EOF
gateway disk=memory:16M
plugin io-timeout=60
GW=$pid_gw NBDKIT=$pid_n nbdsh -u "$uri_n" -c "$(cat "$tmp/term.py")" ||
	fail "SIGTERM while requests wait"
kill_gateway

# --- one of two paths goes
gateway disk=memory:16M
# end_load NAME BOUND: the longest that a request took.
end_load() {
	local longest
	wait "$checker" || fail "$1: $(cat "$tmp/check.log")"
	longest=$(sed -n 's/.*longest \([0-9]*\) ms.*/\1/p' "$tmp/check.log")
	echo "$1: the longest request took $longest ms"
	[ "$longest" -lt "$2" ] || fail "$1: $longest ms, the bound is $2"
}
start_load() {
	# Zeroes are what the checker begins with.
	nbdsh -u "$uri_n" -c 'h.zero(2 << 20, 0)'
	rm -f "$tmp/ready"
	"$RNBD_NBD_CHECK" --disk "$uri_n" --connections 2 --depth 4 \
		--max-blocks 8 --seconds 2 --seed "$1" --ready "$tmp/ready" \
		>"$tmp/check.log" 2>&1 &
	checker=$!
	pids+=("$checker")
	until_true test -s "$tmp/ready"
}
n_paths() {
	[ "$("$RNBD_CTL" --control "$tmp/control" path list csv noheaders |
		grep -c '^stall2,')" = "$1" ]
}
start_relay "${addresses[@]}"
start_nbdkit n "$RNBD_PLUGIN" sessname=stall2 "path=tcp:$link_0" \
	"path=tcp:$link_1" device_path=disk reconnect-delay=0.1 \
	heartbeat-interval=0.2 heartbeat-missed=2
start_load 1
end_load "nothing happens" 2000
start_load 2
for _ in 1 2 3; do
	path=$("$RNBD_CTL" --control "$tmp/control" path list csv noheaders pathname |
		head -n 1)
	"$RNBD_CTL" --control "$tmp/control" path disconnect "$path" stall2 \
		>"$tmp/ctl.log" 2>&1 || fail "$(cat "$tmp/ctl.log")"
	until_true n_paths 2
done
end_load "path disconnected by command, 3 times" 1000
start_load 3
relay cut 0
end_load "path reset" 1000
relay mend 0
until_true n_paths 2
start_load 4
relay stall 0
# Detection is (missed + 1) * interval, 600 ms.
end_load "path silent, detected after 600 ms" 2000
relay mend 0
end_plugin
stop "$pid_gw" || :

# --- the server is back, and the device is not what it was
cat >"$tmp/back.py" <<-'EOF'
	import os, time
	tmp = os.environ["DIR"]
	h.pwrite(b"x" * 512, 0)
	ends = []
	def done(err):
	    ends.append(err.value)
	    return 1
	open(tmp + "/connected", "w").write("x")
	input()
	buf = nbd.Buffer.from_bytearray(bytearray(512))
	t = time.monotonic()
	for i in range(4):
	    h.aio_pread(buf, i * 512, done)
	open(tmp + "/waits", "w").write("x")
	while len(ends) < 4:
	    h.poll(-1)
	took = time.monotonic() - t
	want = int(os.environ["WANT"])
	assert all(e == want for e in ends), ends
	print("device %s: errno %d after %d ms" %
	      (os.environ["WHAT"], want, took * 1000))
EOF
# back WHAT ERRNO SECOND-EXPORT WORDS: first it has 8M.
back() {
	rm -f "$tmp/connected" "$tmp/waits" "$tmp/go"
	mkfifo "$tmp/go"
	gateway disk=memory:8M
	# In the foreground nbdkit says to stderr what it would say to syslog.
	rm -f "$tmp/n.sock" "$tmp/n.pid"
	"${san_env[@]}" nbdkit -f -U "$tmp/n.sock" -P "$tmp/n.pid" \
		"$RNBD_PLUGIN" sessname=back "path=tcp:${addresses[0]}" \
		device_path=disk reconnect-delay=0.1 io-timeout=2 \
		connect-timeout=1 >"$tmp/n.log" 2>&1 &
	pid_n=$!
	pids+=("$pid_n")
	until_true test -s "$tmp/n.pid"
	uri_n="nbd+unix:///?socket=$tmp/n.sock"
	DIR=$tmp WANT=$2 WHAT=$1 nbdsh -u "$uri_n" -c "$(cat "$tmp/back.py")" \
		<"$tmp/go" &
	client=$!
	pids+=("$client")
	exec 9>"$tmp/go"
	until_true test -s "$tmp/connected"
	kill_gateway
	echo >&9
	until_true test -s "$tmp/waits"
	gateway "$3"
	wait "$client" || fail "$1"
	[ -z "$4" ] || grep -qF "$4" "$tmp/n.log" || fail "$1: not said: $4"
}
end_back() {
	stop "$pid_n" || :
	stop "$pid_gw" || :
}
back "larger" 0 disk=memory:16M ""
[ "$(nbdinfo --size "$uri_n")" = $((16 << 20)) ] || fail "a new client does not see the new size"
end_back
back "smaller" 5 disk=memory:4M "the device shrank from 8388608 to 4194304 bytes"
end_back
back "gone" 5 other=memory:8M "no such export"
end_back
