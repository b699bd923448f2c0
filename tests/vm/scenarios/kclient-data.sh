#!/usr/bin/env bash
# vm: mtu=4500 time=300
# Kernel's client, our daemon: data of every size, a file system, discard, write
# zeroes, flush and FUA on a file, a block device and memory.
. "$RNBD_SRCDIR/tests/vm/kclient.sh"
need mkfs.ext4 e2fsck blkdiscard losetup strace

check loop modprobe loop
truncate -s 64M "$tmp/disk" "$tmp/loop"
check losetup losetup /dev/loop0 "$tmp/loop"
serve --export "file=$tmp/disk" --export block=/dev/loop0 \
	--export mem=memory:64M

for disk in file block mem; do
	map_device device_path=$disk
	[ "$(blockdev --getsize64 "$device")" = $((64 << 20)) ] ||
		fail "$disk: size $(blockdev --getsize64 "$device")"
	for depth in 1 8 32; do
		fio_verify "$device" --rw=randrw --bsrange=4k-512k \
			--iodepth=$depth --size=$((4 + depth / 2))m
	done
	fio_verify "$device" --bs=4k --bsrange=4k-4k --iodepth=32 --size=4m
	say "$disk: fio"
	unmap_device
done

# A file system on the file, with a real tree in it.
map_device device_path=file
tree=/usr/include/linux
mkdir "$tmp/mnt"
check mkfs timeout 60 mkfs.ext4 -q -F "$device"
check mount timeout 60 mount -t ext4 "$device" "$tmp/mnt"
check copy cp -a "$tree" "$tmp/mnt/tree"
check umount timeout 60 umount "$tmp/mnt"
check e2fsck timeout 60 e2fsck -fn "$device" >"$tmp/e2fsck.log" 2>&1
check "second mount" timeout 60 mount -t ext4 -o ro "$device" "$tmp/mnt"
check compare diff -r --no-dereference "$tree" "$tmp/mnt/tree"
check umount umount "$tmp/mnt"
unmap_device
say "file system: done"
# What the client wrote is what is on the disk of the server.
check "the file itself" e2fsck -fn "$tmp/disk" >"$tmp/e2fsck.log" 2>&1

# Holes, by discard and by zeroes.
blocks() {
	stat -c %b "$tmp/$disk"
}
for disk in disk loop; do
	[ $disk = disk ] && map_device device_path=file ||
		map_device device_path=block
	dd if=/dev/urandom "of=$tmp/data" bs=1M count=8 status=none
	dd "if=$tmp/data" "of=$device" bs=1M oflag=direct status=none
	device_holds "$tmp/data" || fail "$disk: data"
	full=$(blocks)
	! ours || before=$(daemon_ops discard)
	check discard blkdiscard -o 1M -l 2M "$device"
	dd if=/dev/zero "of=$tmp/data" bs=1M seek=1 count=2 conv=notrunc status=none
	device_holds "$tmp/data" || fail "$disk: data after a discard"
	holes=$(blocks)
	[ "$holes" -le $((full - 4096)) ] ||
		fail "$disk: $full blocks, $holes after a discard of 2 MiB"
	! ours || [ "$(daemon_ops discard)" -gt "$before" ] ||
		fail "$disk: no discard counted"

	! ours || before=$(daemon_ops write_zeroes)
	check zeroes blkdiscard -z -o 4M -l 2M "$device"
	dd if=/dev/zero "of=$tmp/data" bs=1M seek=4 count=2 conv=notrunc status=none
	device_holds "$tmp/data" || fail "$disk: data after zeroes"
	cmp "$tmp/data" <(head -c 8M "$tmp/$disk") || fail "$disk: the disk itself"
	# The old client has no such request and writes zeroes.
	limit=$(cat "/sys/block/${device##*/}/queue/write_zeroes_max_bytes")
	say "$disk: $full blocks, $holes, $(blocks); zeroes up to $limit"
	if [ "$VM_RELEASE" = 6.1 ]; then
		[ "$limit" = 0 ] || fail "zeroes up to $limit on 6.1"
	else
		[ "$limit" -gt 0 ] || fail "$disk: no write zeroes"
		! ours || [ "$(daemon_ops write_zeroes)" -gt "$before" ] ||
			fail "$disk: no write zeroes counted"
	fi
	unmap_device
done

# Flush and FUA, by the system calls of a daemon that makes some.
if ours; then
	mkfifo "$tmp/fifo"
	strace -f -qq --seccomp-bpf -o "$tmp/trace" \
		-e trace=pwrite64,pwritev2,fdatasync,fsync \
		"$RNBD_GATEWAYD" --foreground --no-io-uring \
		--listen "ip:[::]:1235" --pid-file "$tmp/traced.pid" \
		--export "disk=$tmp/disk" >"$tmp/fifo" 2>"$tmp/traced.log" &
	pids+=($!)
	strace=$!
	read -r -t 60 line <"$tmp/fifo" || fail "the traced daemon"
	map_device dest_port=1235 device_path=disk
	queue=/sys/block/${device##*/}/queue
	[ "$(cat "$queue/write_cache")" = "write back" ] || fail "no write cache"
	[ "$(cat "$queue/fua")" = 1 ] || fail "no FUA"
	# request COMMAND...: what it adds to the trace.
	request() {
		local n
		n=$(wc -l <"$tmp/trace")
		check request "$@"
		tail -n +$((n + 1)) "$tmp/trace" >"$tmp/added"
	}
	head -c 64k /dev/urandom >"$tmp/data"
	request dd "if=$tmp/data" "of=$device" bs=64k oflag=direct status=none
	grep -q pwrite "$tmp/added" || fail "a write made no write"
	! grep -Eq 'RWF_DSYNC|sync\(' "$tmp/added" ||
		fail "a plain write is made durable"
	request sync "$device"
	grep -q 'sync(' "$tmp/added" || fail "a flush reaches no disk"
	! grep -q pwrite "$tmp/added" || fail "a flush made a write"
	head -c 64k /dev/urandom >"$tmp/data"
	request dd "if=$tmp/data" "of=$device" bs=64k oflag=direct,dsync status=none
	grep -q RWF_DSYNC "$tmp/added" || fail "FUA reaches no disk"
	device_holds "$tmp/data" || fail "data of the FUA write"
	unmap_device
	say "flush and FUA: done"
	kill "$(cat "$tmp/traced.pid")"
	wait "$strace" || fail "the traced daemon ended with $?"
	# What is counted: a flush by each fsync.
	before=$(daemon_ops flush)
	map_device device_path=file
	check sync sync "$device"
	[ "$(daemon_ops flush)" -gt "$before" ] || fail "no flush counted"
	unmap_device
fi

daemon_has 0 0
stop_serving
unload
