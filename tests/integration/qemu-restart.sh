#!/usr/bin/env bash
# qemu's own block layer, live in qemu-storage-daemon: a verified load through it
# sees no error while the gateway is restarted again and again, nor while nbdkit
# is, which is what reconnect-delay is for.
. "$(dirname "$0")/functions.sh"
requires qemu-storage-daemon
requires fio
gateway_listen=tcp:127.0.0.1:$(free_port)
gateway_up() {
	start_gateway gw --control "$tmp/control" \
		--export "disk=$tmp/disk,create=64M"
}
nbdkit_up() {
	start_nbdkit n "$RNBD_PLUGIN" sessname=q "path=$path_gw" \
		device_path=disk reconnect-delay=0.1
}
gateway_up
nbdkit_up
qemu-storage-daemon --pidfile "$tmp/qsd.pid" \
	--nbd-server "addr.type=unix,addr.path=$tmp/qsd.sock" \
	--blockdev "driver=nbd,node-name=d,server.type=unix,server.path=$sock_n,reconnect-delay=60" \
	--export type=nbd,id=e,node-name=d,name=d,writable=on \
	>"$tmp/qsd.log" 2>&1 &
pids+=($!)
until_true test -s "$tmp/qsd.pid"
uri="nbd+unix:///d?socket=$tmp/qsd.sock"

# Until the restarts are done, however long the machine takes for them.
load() {
	until [ -e "$tmp/enough" ]; do
		fio --name=v --ioengine=nbd --uri="$uri" --rw=randwrite \
			--bsrange=4k-64k --iodepth=16 --size=64m --loops=20 \
			--fsync=64 --verify=crc32c --verify_fatal=1 \
			--do_verify=1 --verify_backlog=256 --time_based \
			--runtime=3 --minimal >"$tmp/fio.log" 2>&1 || return
	done
}
load &
load=$!
pids+=("$load")

# What the daemon that runs now has moved for this load.
moved() {
	"$RNBD_CTL" --control "$tmp/control" --json device list 2>/dev/null |
		python3 -c '
import json, sys
try:
    print(sum(d["rx_bytes"] + d["tx_bytes"] for d in json.load(sys.stdin)))
except ValueError:
    print(0)'
}
worked() {
	[ "$(moved)" -gt "$1" ] || ! kill -0 "$load" 2>/dev/null
}
for round in TERM KILL nbdkit TERM KILL nbdkit; do
	until_true worked 8000000
	kill -0 "$load" 2>/dev/null || fail "fio saw an error"
	if [ $round = nbdkit ]; then
		kill -KILL "$pid_n"
		wait_gone "$pid_n"
		nbdkit_up
		continue
	fi
	stop "$pid_gw" $round || [ $round = KILL ] || fail "SIGTERM: $?"
	gateway_up
done
until_true worked 8000000
: >"$tmp/enough"
wait "$load" || fail "fio saw an error"
nbdcopy "$uri" "$tmp/back"
cmp "$tmp/back" "$tmp/disk"

# Without reconnect-delay a loss of nbdkit is an error at once.
mkfifo "$tmp/commands"
qemu-io -f raw "nbd+unix:///?socket=$sock_n" <"$tmp/commands" >"$tmp/io.out" 2>&1 &
io=$!
pids+=("$io")
exec 7>"$tmp/commands"
echo 'read 0 4k' >&7
until_true grep -q '^read 4096/4096' "$tmp/io.out"
kill -KILL "$pid_n"
wait_gone "$pid_n"
nbdkit_up
echo 'read 4k 4k' >&7
echo quit >&7
exec 7>&-
wait "$io" || :
grep -q 'read failed' "$tmp/io.out" || fail "no error: $(cat "$tmp/io.out")"
