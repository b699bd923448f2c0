#!/usr/bin/env bash
# The daemon is killed with -9 under load and started again: the NBD client
# sees no error, and every byte that was acknowledged is there.
. "$(dirname "$0")/functions.sh"
requires fio
truncate -s 64M "$tmp/disk"
port=$(free_port)
gateway_listen=tcp:127.0.0.1:$port
start_pair "disk=file:$tmp/disk"
start_nbdkit n "${plugin_args[@]}" io-timeout=60 reconnect-delay=0.1
fio --name=v --ioengine=nbd --uri="$uri_n" --rw=randwrite --bsrange=512-256k \
	--iodepth=16 --numjobs=2 --size=32m --offset_increment=32m --loops=200 \
	--fsync=64 --verify=crc32c --verify_fatal=1 --do_verify=1 \
	--verify_backlog=256 --time_based --runtime=8 --group_reporting \
	--minimal >"$tmp/fio.log" 2>&1 &
fio=$!
pids+=("$fio")
for round in 1 2 3 4 5; do
	# Between the rounds real I/O goes through.
	before=$(wc -c <"/proc/$pid_n/io" 2>/dev/null || echo 0)
	timeout 30 bash -c "until [ \$(awk '/^wchar/ {print \$2}' /proc/$pid_n/io) -gt $((before + round * 3000000)) ] || ! kill -0 $fio; do sleep 0.1; done" 2>/dev/null || :
	kill -0 "$fio" 2>/dev/null || break
	if [ $((round % 2)) = 1 ]; then
		stop "$pid_gw" KILL || :
	else
		stop "$pid_gw" TERM || fail "SIGTERM under load: exit code $?"
	fi
	start_gateway gw --export "disk=file:$tmp/disk"
done
[ "$round" -ge 3 ] || fail "fio ended after $round restarts"
wait "$fio" || fail "fio saw an error"
# The session is as good as new.
nbdcopy "$uri_n" "$tmp/back"
cmp "$tmp/back" "$tmp/disk"
