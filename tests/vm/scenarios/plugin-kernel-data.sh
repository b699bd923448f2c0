#!/usr/bin/env bash
# vm: mem=1536 time=300
# The plugin attaches a disk of the kernel's server, with every kind of keys,
# depth and chunk size: fio, nbdcopy and qemu-img read back what they wrote.
. "$RNBD_SRCDIR/tests/vm/plugin/functions.sh"
ram_disk 32
image 32

# round DEPTH CHUNK KEYS: KEYS is Y (new ones with each reply) or N.
round() {
	local words=", new keys" before
	[ "$3" = Y ] || words=''
	load_server "sess_queue_depth=$1" "max_chunk_size=$2" \
		"always_invalidate=$3"
	before=$(resources)
	session_says "queue depth $1, I/O size $(($2 - 4096))$words" \
		sessname=says "path=ip:$VM_PEER0" device_path=/dev/ram0
	attach n "sessname=depth$1" "path=ip:$VM_PEER0" device_path=/dev/ram0
	fio_sizes "$uri_n"
	copy_round "$uri_n" /dev/ram0
	[ "${4:-}" != qemu ] || qemu_round "$uri_n"
	detach n
	wait_resources "$before"
	unload
	say "depth $1, chunks of $2 bytes, always_invalidate=$3"
}
round 512 131072 Y qemu
round 32 131072 N
round 32 1048576 Y
round 256 1048576 N qemu
