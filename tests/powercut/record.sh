#!/usr/bin/env bash
# vm: mem=2560 time=400
# In the guest of tests/vm/scenarios/power-cut.sh: the kernel's client writes to
# our daemon, and what reaches the daemon's disk is recorded. Out come record.pcap
# (as the recordings of frames do), plan.pcap and size.pcap.
. "$RNBD_SRCDIR/tests/vm/kclient.sh"
need dmsetup mkfs.ext4
mib=48
size=$((mib << 20))

check brd modprobe brd rd_nr=2 rd_size=$((mib * 8 * 1024)) max_part=0
until_true test -b /dev/ram1
check dm-log-writes modprobe dm-log-writes
check dmsetup dmsetup create rec --table \
	"0 $((size / 512)) log-writes /dev/ram0 /dev/ram1"
dmsetup mknodes
until_true test -b /dev/mapper/rec
serve --export disk=/dev/mapper/rec
map_device device_path=disk
[ "$(blockdev --getsize64 "$device")" = "$size" ] || fail "size of $device"

check cut-write "$RNBD_BUILD/tests/powercut/cut-write" "$device" \
	/run/vm/plan.pcap "${VM_ARG_WRITES:-16000}" "${VM_ARG_SEED:-1}"
say "numbered blocks written"
check mark dmsetup message rec 0 mark fs

check mkfs mkfs.ext4 -q -F "$device"
mkdir "$tmp/mnt"
check mount mount -t ext4 "$device" "$tmp/mnt"
for i in 1 2 3 4 5 6; do
	cp -a /usr/include/rdma "$tmp/mnt/tree.$i" || fail "copy"
	dd if=/dev/urandom "of=$tmp/mnt/file" bs=64k count=8 conv=fsync,notrunc \
		"seek=$i" status=none || fail "fsync"
	[ $((i % 3)) != 0 ] || rm -r "$tmp/mnt/tree-$((i - 1))"
	mv "$tmp/mnt/tree.$i" "$tmp/mnt/tree-$i"
	sync "$tmp/mnt/file"
done
check umount umount "$tmp/mnt"
say "file system written"
unmap_device
stop_serving
check "dmsetup remove" dmsetup remove rec
dd if=/dev/ram1 bs=256K conv=sparse "count=$((mib * 8 * 4))" of=/run/vm/record.pcap status=none ||
	fail "copy of the record"
echo "$size" >/run/vm/size.pcap
unload
