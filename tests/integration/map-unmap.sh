#!/usr/bin/env bash
# 1,000 times NBD connect, open, write, read, close on one daemon and one
# nbdkit: descriptors are equal afterwards and resident memory is flat, by the
# slope of 40 samples.
. "$(dirname "$0")/functions.sh"
requires nbdsh
[ "${RNBD_SANITIZER:-}" = "" ] || skip "sanitizers keep what was freed"
truncate -s 8M "$tmp/disk"
start_gateway gw --workers 1 --export "disk=file:$tmp/disk"
start_nbdkit n "$RNBD_PLUGIN" sessname=map "path=$path_gw" device_path=disk
# Its device is open all the time, and so never closed by the server.
for held in no yes; do
	[ $held = no ] || hold "$uri_n"
	timeout 120 python3 - "$sock_n" "$pid_gw" "$pid_n" $held <<-'EOF' || fail "held: $held"
		import nbd, os, sys

		sock, pids = sys.argv[1], [int(p) for p in sys.argv[2:4]]

		def cycle(i):
		    h = nbd.NBD()
		    h.connect_unix(sock)
		    data = bytes([i % 251]) * 4096
		    off = i % 2000 * 4096
		    h.pwrite(data, off, nbd.CMD_FLAG_FUA if i % 10 == 0 else 0)
		    assert h.pread(4096, off) == data
		    h.shutdown()

		def rss(pid):
		    return int(open("/proc/%d/statm" % pid).read().split()[1]) * 4

		def fds(pid):
		    return len(os.listdir("/proc/%d/fd" % pid))

		def growth(s):  # least squares, over the whole span
		    n = len(s)
		    mx, my = (n - 1) / 2, sum(s) / n
		    slope = (sum((x - mx) * (y - my) for x, y in enumerate(s)) /
		             sum((x - mx) ** 2 for x in range(n)))
		    return slope * (n - 1)

		for i in range(300):  # every page of the buffers was touched
		    cycle(i)
		# NBD connections end on threads of nbdkit, after the client has gone.
		def settled():
		    for _ in range(2000):
		        now = [fds(p) for p in pids]
		        if now == want:
		            return now
		    return now
		want = [min(fds(p) for _ in range(200)) for p in pids]
		samples = [[], []]
		for i in range(1000):
		    cycle(i)
		    if i % 25 == 24:
		        for k in 0, 1:
		            samples[k].append(rss(pids[k]))
		after = settled()
		bad = after != want
		for k, name in (0, "daemon"), (1, "nbdkit"):
		    g = growth(samples[k]) / samples[k][0] * 100
		    bad = bad or g > 1
		    print("held %s: %s: %d descriptors, then %d; %d KiB, %+.2f percent" %
		          (sys.argv[4], name, want[k], after[k], samples[k][-1], g))
		sys.exit(bad)
	EOF
done
kill "${pids[-1]}" "$pid_n"
wait_gone "$pid_n"
stop "$pid_gw" || fail "the gateway ended with $?"
