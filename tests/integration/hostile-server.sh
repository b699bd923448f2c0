#!/usr/bin/env bash
# A server that breaks every rule gets no byte into memory that is not its to
# write, and ends neither nbdkit nor a request of an NBD client twice or never.
. "$(dirname "$0")/functions.sh"
requires nbdsh
here=$RNBD_SRCDIR/tests/integration

# The connections of the check at the start are calm.
mkfifo "$tmp/port"
python3 "$here/hostile-server.py" "${SEED:-1}" 0.02 3 >"$tmp/port" &
pids+=($!)
read -r port <"$tmp/port"
"${san_env[@]}" nbdkit -f -U "$tmp/n.sock" "$RNBD_PLUGIN" sessname=h \
	"path=tcp:127.0.0.1:$port" device_path=disk connections=3 \
	reconnect-delay=0.01 io-timeout=2 >"$tmp/n.log" 2>&1 &
nbdkit=$!
pids+=("$nbdkit")
until_true test -S "$tmp/n.sock"
fds() {
	find "/proc/$nbdkit/fd" -mindepth 1 | wc -l
}
rss() { # KiB
	awk '/^VmRSS/ { print $2 }' "/proc/$nbdkit/status"
}
before=$(fds)
cat >"$tmp/client.py" <<-'EOF'
	import random, time
	r = random.Random(1)
	good = bad = 0
	handle = None
	end = time.monotonic() + 5
	while time.monotonic() < end:
	    if handle is None:
	        handle = nbd.NBD()
	        try:
	            handle.connect_uri(uri)
	        except nbd.Error:
	            handle = None
	            continue
	    ops, done = [], 0
	    for _ in range(16):
	        n = r.choice([512, 4096, 65536, 200000 // 512 * 512])
	        off = r.randrange(0, (16 << 20) - n) // 512 * 512
	        buf = nbd.Buffer(n)
	        def completed(err, i=len(ops)):
	            ops[i][1].append(err.value)
	            return 1
	        ops.append((buf, []))
	        if r.random() < .7:
	            handle.aio_pread(buf, off, completed)
	        else:
	            ops[-1] = (None, ops[-1][1])
	            handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b"\x55" * n)), off, completed)
	    while not all(calls for _, calls in ops):
	        handle.poll(10000)
	    for buf, calls in ops:
	        assert len(calls) == 1, calls
	        if calls[0]:
	            bad += 1
	            continue
	        good += 1
	        # A lie about success can not be seen, a stray write can.
	        if buf:
	            assert b"\xee" not in buf.to_bytearray()
	assert good > 100 and bad > 0, (good, bad)
	print("requests that succeeded: %d, that failed: %d" % (good, bad))
EOF
timeout 60 nbdsh -c "uri = 'nbd+unix:///?socket=$tmp/n.sock'" \
	-c "exec(open('$tmp/client.py').read())" || fail "the NBD client"
kill -0 "$nbdkit" || fail "nbdkit is gone"
# Connections to a server that plays foul come and go, a session stays.
few_fds() {
	[ "$(fds)" -le $((before + 16)) ]
}
until_true few_fds
# 32 buffers of 60 KiB, each path anew; sanitizers keep what was freed.
[ -n "${RNBD_SANITIZER:-}" ] || [ "$(rss)" -lt 131072 ] ||
	fail "nbdkit has $(rss) KiB"
kill "$nbdkit"
timeout 20 tail --pid="$nbdkit" -f /dev/null || fail "nbdkit does not end"
wait "$nbdkit" || fail "nbdkit ended with $?"
