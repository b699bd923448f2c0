#!/usr/bin/env bash
# The daemon is killed with -9 under load and started again: the NBD client
# sees no error, and every byte that was acknowledged is there.
. "$(dirname "$0")/functions.sh"
requires fio
truncate -s 64M "$tmp/disk"
port=$(free_port)
gateway_listen=tcp:127.0.0.1:$port
start_pair "disk=file:$tmp/disk" --control "$tmp/control"
start_nbdkit n "${plugin_args[@]}" io-timeout=60 reconnect-delay=0.1
fio --name=v --ioengine=nbd --uri="$uri_n" --rw=randwrite --bsrange=512-256k \
	--iodepth=16 --numjobs=2 --size=32m --offset_increment=32m --loops=200 \
	--fsync=64 --verify=crc32c --verify_fatal=1 --do_verify=1 \
	--verify_backlog=256 --time_based --runtime=12 --group_reporting \
	--minimal >"$tmp/fio.log" 2>&1 &
fio=$!
pids+=("$fio")
# Between the rounds real I/O goes through: what this daemon has done.
ops() {
	"$RNBD_CTL" --control "$tmp/control" --json status 2>/dev/null |
		python3 -c '
import json, sys
def walk(x):
    if isinstance(x, dict):
        return sum(v if k == "ops" and isinstance(v, int) else walk(v)
                   for k, v in x.items())
    return sum(map(walk, x)) if isinstance(x, list) else 0
try:
    print(walk(json.load(sys.stdin)))
except ValueError:
    print(0)'
}
moved_on() {
	[ "$(ops)" -gt 2000 ] || ! kill -0 "$fio" 2>/dev/null
}
for round in 1 2 3 4 5; do
	until_true moved_on
	kill -0 "$fio" 2>/dev/null || break
	if [ $((round % 2)) = 1 ]; then
		stop "$pid_gw" KILL || :
	else
		stop "$pid_gw" TERM || fail "SIGTERM under load: exit code $?"
	fi
	start_gateway gw --export "disk=file:$tmp/disk" --control "$tmp/control"
done
[ "$round" = 5 ] || fail "fio ended after $round restarts"
wait "$fio" || fail "fio saw an error"
# The session is as good as new.
nbdcopy "$uri_n" "$tmp/back"
cmp "$tmp/back" "$tmp/disk"
