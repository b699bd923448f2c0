#!/usr/bin/env bash
# SIGTERM drains and ends with 0, also under load; a second one does not wait.
. "$(dirname "$0")/functions.sh"
requires fio
truncate -s 64M "$tmp/disk"
start_pair "disk=file:$tmp/disk"
stop "$pid_gw" || fail "idle: ended with $?"

start_pair "disk=file:$tmp/disk"
start_nbdkit n "${plugin_args[@]}" io-timeout=1
fio --name=v --ioengine=nbd --uri="$uri_n" --rw=randwrite --bs=64k --iodepth=16 \
	--size=64m --time_based --runtime=60 --status-interval=1 --minimal \
	>"$tmp/fio.out" 2>&1 &
fio=$!
pids+=("$fio")
until_true test -s "$tmp/fio.out"
stop "$pid_gw" || fail "under load: ended with $?"
# fio got its error only after io-timeout; nbdkit ends quickly though I/O waits.
kill "$pid_n"
timeout 10 tail --pid="$pid_n" -f /dev/null || fail "nbdkit does not end"
wait "$fio" || :
