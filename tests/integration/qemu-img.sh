#!/usr/bin/env bash
# qemu-img convert and compare, raw and qcow2, both directions.
. "$(dirname "$0")/functions.sh"
requires qemu-img
sparse_file raw 96
qemu-img convert -f raw -O qcow2 "$tmp/raw" "$tmp/qcow2"
truncate -s 96M "$tmp/disk"
start_pair "disk=file:$tmp/disk"

round() {
	qemu-img info "$1" | grep -q 'virtual size: 96 MiB'
	qemu-img convert -n -f qcow2 -O raw "$tmp/qcow2" "$1"
	qemu-img compare -f raw -F raw "$tmp/raw" "$1"
	qemu-img convert -f raw -O qcow2 "$1" "$tmp/back"
	qemu-img compare -f raw -F qcow2 "$tmp/raw" "$tmp/back"
}
start_nbdkit n "${plugin_args[@]}"
round "$uri_n"
kill "$pid_n"
wait_gone "$pid_n"
start_nbdkit_tcp t "${plugin_args[@]}"
round "$uri_t"
