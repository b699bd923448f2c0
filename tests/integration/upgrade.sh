#!/usr/bin/env bash
# An upgrade under verified load: the old daemon drains, the new one starts at
# the same address, and the client's I/O has a pause and no error.
. "$(dirname "$0")/functions.sh"
requires fio
truncate -s 64M "$tmp/disk"
port=$(free_port)
gateway_listen=tcp:127.0.0.1:$port
start_pair "disk=file:$tmp/disk" --control "$tmp/control"
start_nbdkit n "${plugin_args[@]}" io-timeout=60 reconnect-delay=0.1
# One I/O at a time besides, that tells how long it waited.
nbdsh -u "$uri_n" -c "$(cat <<-EOF
	import os, time
	worst, last, n = 0.0, time.monotonic(), 0
	while not os.path.exists("$tmp/enough"):
	    h.pread(4096, n % 1024 * 4096)
	    now = time.monotonic()
	    worst, last, n = max(worst, now - last), now, n + 1
	    if n == 100:
	        open("$tmp/reading", "w").write("x")
	open("$tmp/worst", "w").write("%.0f" % (worst * 1000))
EOF
)" >"$tmp/reader.log" 2>&1 &
reader=$!
pids+=("$reader")
fio --name=v --ioengine=nbd --uri="$uri_n" --rw=randwrite --bsrange=512-128k \
	--iodepth=16 --size=60m --offset=4m --loops=200 --fsync=64 \
	--verify=crc32c --verify_fatal=1 --do_verify=1 --verify_backlog=256 \
	--time_based --runtime=10 --minimal --status-interval=1 \
	>"$tmp/fio.log" 2>&1 &
fio=$!
pids+=("$fio")
until_true test -s "$tmp/reading"
until_true test -s "$tmp/fio.log"

ms() {
	echo $((${EPOCHREALTIME/[.,]/} / 1000))
}
for round in 1 2 3; do
	kill -0 "$fio" 2>/dev/null || fail "fio ended before upgrade $round"
	old=$pid_gw
	t0=$(ms)
	# Two ways to ask for it; with both the exit code tells how it ended.
	if [ "$round" = 2 ]; then
		kill -TERM "$old"
		wait_gone "$old"
	else
		"$RNBD_CTL" --control "$tmp/control" drain wait >"$tmp/ctl.log" 2>&1 ||
			fail "rnbdctl drain: $(cat "$tmp/ctl.log")"
	fi
	wait "$old" || fail "the drained daemon ended with $?"
	t1=$(ms)
	start_gateway gw --export "disk=file:$tmp/disk" --control "$tmp/control"
	t2=$(ms)
	wait_log "$tmp/gw.log" "session .*: opened 'disk'"
	echo "drained in $((t1 - t0)) ms, started in $((t2 - t1)) ms," \
		"served again after $(($(ms) - t2)) ms more"
	: >"$tmp/gw.log"
done
wait "$fio" || fail "fio saw an error"
touch "$tmp/enough"
wait "$reader" || fail "the reader saw an error"
echo "longest pause of a reader: $(cat "$tmp/worst") ms"
nbdcopy "$uri_n" "$tmp/back"
cmp "$tmp/back" "$tmp/disk"
