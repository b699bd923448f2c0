#!/usr/bin/env bash
# fio's nbd engine with crc32c: block sizes 512 B to 1 MiB, depth 1 to 64, 1 to
# 16 connections, over unix socket and TCP.
. "$(dirname "$0")/functions.sh"
requires fio
truncate -s 512M "$tmp/disk"
start_pair "disk=file:$tmp/disk"

# One job is one NBD connection; each has its own part of the disk.
# $1 uri, $2 block size, $3 depth, $4 connections, $5 MiB for each
verify() {
	fio --name=v --ioengine=nbd --uri="$1" --rw=randrw --bsrange="$2" \
		--iodepth="$3" --numjobs="$4" --size="$5m" \
		--offset_increment="$5m" --verify=crc32c --verify_fatal=1 \
		--do_verify=1 --verify_backlog=512 --randrepeat=1 \
		--group_reporting --minimal >"$tmp/fio.log" 2>&1 ||
		fail "fio bs=$2 depth=$3 connections=$4 at $1"
}
for how in unix tcp; do
	if [ $how = unix ]; then
		start_nbdkit n "${plugin_args[@]}"
		uri=$uri_n pid=$pid_n
	else
		start_nbdkit_tcp t "${plugin_args[@]}"
		uri=$uri_t pid=$pid_t
	fi
	verify "$uri" 512-512 1 1 1
	verify "$uri" 4k-4k 1 1 8
	verify "$uri" 512-64k 16 4 8
	verify "$uri" 4k-4k 64 1 32
	verify "$uri" 4k-128k 16 16 8
	verify "$uri" 128k-1m 8 2 64
	verify "$uri" 1m-1m 64 1 128
	kill "$pid"
	wait_gone "$pid"
done
