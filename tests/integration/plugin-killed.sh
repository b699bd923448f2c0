#!/usr/bin/env bash
# nbdkit is killed with -9 under load: the daemon lives, and the disk is free
# for the next session.
. "$(dirname "$0")/functions.sh"
requires fio
truncate -s 64M "$tmp/disk"
start_pair "disk=file:$tmp/disk"
for _ in 1 2 3; do
	start_nbdkit n "${plugin_args[@]}"
	fio --name=v --ioengine=nbd --uri="$uri_n" --rw=randrw --bs=4k \
		--iodepth=32 --size=64m --time_based --runtime=60 \
		--status-interval=1 --minimal >"$tmp/fio.out" 2>&1 &
	fio=$!
	pids+=("$fio")
	until_true test -s "$tmp/fio.out"
	kill -9 "$pid_n"
	wait_gone "$pid_n"
	wait "$fio" 2>/dev/null || :
done
# shellcheck disable=SC2016
run_nbdkit 'nbdinfo "$uri" >/dev/null' "${plugin_args[@]}"
stop "$pid_gw" || fail "the gateway ended with $?"
