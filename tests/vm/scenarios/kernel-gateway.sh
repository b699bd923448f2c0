#!/usr/bin/env bash
# vm: time=400
# The kernel's client on our server: fio with verification, a file system,
# with renewed keys (always_invalidate) and without.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need fio mkfs.ext4 e2fsck

for inval in no yes; do
	say "always-invalidate=$inval"
	truncate -s 64M "$tmp/disk"
	gateway_listen="ip:[::]:1234"
	start_gateway gw --export "disk=file:$tmp/disk" \
		--always-invalidate "$inval"
	map_device sessname=s device_path=disk
	say "mapped $device"
	fio_verify "$device"
	mkfs_check "$device"
	unmap_device
	stop "$pid_gw" || fail "the gateway ended with $?"
	rm "$tmp/disk"
done
unload
