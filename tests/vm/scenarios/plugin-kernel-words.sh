#!/usr/bin/env bash
# vm: time=240
# The plugin and the kernel's server beyond plain I/O: refusals in words,
# trimming and zeroing, blocks of 4096 bytes, odd requests, two disks.
. "$RNBD_SRCDIR/tests/vm/plugin/functions.sh"
check brd modprobe brd rd_nr=2 rd_size=16384 max_part=0
until_true test -b /dev/ram1
loop_disk small 16
loop_disk big 16 -b 4096
load_server
at=("path=ip:$VM_PEER0")
before=$(resources)

# ------------------------------------------------- refusals
attach alice sessname=alice "${at[@]}" device_path=/dev/ram0
hold "$uri_alice"
held=("${pids[-1]}")
told "busy: '/dev/ram0' at ip:$VM_PEER0:1234 is already open for writing by another session (access_mode=ro is still possible)" \
	sessname=bob "${at[@]}" device_path=/dev/ram0
told "session name 'alice' already in use?" \
	sessname=alice "${at[@]}" device_path=/dev/ram1
told "no such export '/dev/ram7' at ip:$VM_PEER0:1234" \
	sessname=bob "${at[@]}" device_path=/dev/ram7
told "'/dev/null' at ip:$VM_PEER0:1234 is not a block device" \
	sessname=bob "${at[@]}" device_path=/dev/null
told "refuses the name '/dev/../dev/ram1'" \
	sessname=bob "${at[@]}" device_path=/dev/../dev/ram1
told "connection refused" \
	sessname=bob "path=ip:$VM_PEER0:4321" device_path=/dev/ram1
told "'a.b' is not a session name" \
	sessname=a.b "${at[@]}" device_path=/dev/ram1
check "read-only" blockdev --setro /dev/ram1
told "'/dev/ram1' at ip:$VM_PEER0:1234 may not be opened with access_mode=rw" \
	sessname=bob "${at[@]}" device_path=/dev/ram1
check "writable" blockdev --setrw /dev/ram1

# A reader beside the writer, and a second writer for a migration.
attach reader sessname=reader "${at[@]}" device_path=/dev/ram0 access_mode=ro
attach mover sessname=mover "${at[@]}" device_path=/dev/ram0 \
	access_mode=migration
hold "$uri_mover"
held+=("${pids[-1]}")
nbdsh -u "$uri_mover" -c 'h.pwrite(b"moved" * 1024, 0, nbd.CMD_FLAG_FUA)' ||
	fail "write by migration"
nbdsh -u "$uri_reader" -c 'assert h.is_read_only()' \
	-c 'assert h.pread(5120, 0) == b"moved" * 1024' ||
	fail "read beside writers"
told "busy: '/dev/ram0'" sessname=carol "${at[@]}" device_path=/dev/ram0 \
	access_mode=migration
# nbdkit waits for clients that are connected.
kill "${held[@]}"
detach mover
detach reader
detach alice
attach bob sessname=bob "${at[@]}" device_path=/dev/ram0
detach bob
say "refusals in words"

# ------------------------------------------------- two disks, odd requests
# odd URI: any offset and length, by a model in memory.
odd() {
	nbdsh -u "$1" -c - <<-'EOF' || fail "odd requests"
		import random
		r = random.Random(5)
		h.set_strict_mode(0)
		data = bytearray(1 << 20)
		h.zero(len(data), 0)
		for _ in range(150):
		    n = r.choice([1, 511, 512, 513, 4095, 4096, 4097, 65536, 200000])
		    off = r.randrange(0, len(data) - n)
		    what = r.randrange(4)
		    if what == 0:
		        h.zero(n, off, r.choice([0, nbd.CMD_FLAG_NO_HOLE]))
		        data[off:off + n] = bytes(n)
		    elif what == 1:
		        assert h.pread(n, off) == data[off:off + n]
		    else:
		        b = r.randbytes(n)
		        h.pwrite(b, off, r.choice([0, nbd.CMD_FLAG_FUA]))
		        data[off:off + n] = b
		assert h.pread(len(data), 0) == data
		h.flush()
	EOF
}
image 16
# shellcheck disable=SC2154  # set by loop_disk and attach
{
	attach small sessname=small "${at[@]}" "device_path=$disk_small"
	attach big sessname=big "${at[@]}" "device_path=$disk_big"
	nbdsh -u "$uri_big" -c 'assert h.get_size() == 16 << 20' \
		-c 'assert h.get_block_size(nbd.SIZE_PREFERRED) >= 4096' ||
		fail "sizes"
	odd "$uri_small"
	odd "$uri_big"
	copy_round "$uri_small" "$disk_small"
	copy_round "$uri_big" "$disk_big"
	fio_nbd "$uri_small" --bsrange=512-64k --iodepth=16 --size=4m &
	one=$!
	fio_nbd "$uri_big" --bsrange=4k-1m --iodepth=16 --size=8m
	wait $one || fail "fio beside fio"
}
detach big
say "two disks, 512 and 4096"

# ------------------------------------------------- trimming and zeroing
# By default the plugin does not believe this server's zeroing: it writes, so
# the file behind the disk keeps its blocks. A trim makes a hole.
kib() {
	du -k "$file_small" | cut -f1
}
fill() {
	nbdsh -u "$1" -c 'h.pwrite(b"x" * (8 << 20), 0)' -c 'h.flush()' ||
		fail "write"
	full=$(kib)
}
zeroes() {
	nbdsh -u "$1" -c - <<-'EOF' || fail "zeroes"
		h.zero(2 << 20, 0)
		h.zero(1 << 20, (4 << 20) + 1, nbd.CMD_FLAG_NO_HOLE)
		h.flush()
		assert h.pread(2 << 20, 0) == bytes(2 << 20)
		assert h.pread((1 << 20) + 2, 4 << 20) == b"x" + bytes(1 << 20) + b"x"
	EOF
}
fill "$uri_small"
zeroes "$uri_small"
[ "$(kib)" = "$full" ] ||
	fail "zero=auto left it to the kernel's server: $full KiB, now $(kib)"
nbdsh -u "$uri_small" -c - <<-'EOF' || fail "trim"
	h.trim(1 << 20, 6 << 20)
	h.flush()
	assert h.pread(512, (6 << 20) - 512) == b"x" * 512
	assert h.pread(512, 7 << 20) == b"x" * 512
EOF
[ "$(kib)" -le $((full - 1024)) ] || fail "trimmed: $full KiB, now $(kib)"
detach small

# zero=trust uses the operation where it is offered, by 6.12. The server of 6.1
# does not know it, and would oops.
attach small sessname=trust "${at[@]}" "device_path=$disk_small" zero=trust
fill "$uri_small"
zeroes "$uri_small"
if [ "$VM_RELEASE" = 6.1 ]; then
	[ "$(kib)" = "$full" ] || fail "6.1: $full KiB, now $(kib)"
else
	[ "$(kib)" -lt "$full" ] || fail "zero=trust wrote zeroes: $(kib) KiB"
fi
detach small
say "trim and zero"

wait_resources "$before"
losetup -d "$disk_small"
losetup -d "$disk_big"
unload
