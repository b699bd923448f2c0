#!/usr/bin/env bash
# vm: build=no
# The kernel's client maps a RAM disk of the kernel's server: the guest, its
# modules and soft-RoCE work, with none of our programs in it.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need fio mkfs.ext4 e2fsck

ram_disk 64
load_server
map_device sessname=first
say "mapped $device"
[ "$(path_states first)" = connected ] || fail "path: $(path_states first)"
fio_verify "$device"
mkfs_check "$device"
unmap_device
say "unmapped"

map_device sessname=second access_mode=ro
refused "write to a read-only mapping" \
	dd if=/dev/zero "of=$device" bs=4k count=1 oflag=direct status=none
unmap_device
refused "mapping of a device that is not there" \
	map_device sessname=third device_path=/dev/ram9
unload
