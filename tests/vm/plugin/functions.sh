# shellcheck shell=bash
# Sourced by the scenarios that have the plugin in them, instead of
# ../functions.sh.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need nbdkit nbdsh nbdinfo nbdcopy fio rdma

# What a daemon says is shown when a scenario fails.
python3 - "$tmp/syslog.log" <<-'EOF' &
	import os, socket, sys
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.bind("/run/dev-log.%d" % os.getpid())
	if os.path.lexists("/dev/log"):
	    os.unlink("/dev/log")
	os.symlink(s.getsockname(), "/dev/log")
	with open(sys.argv[1], "w", buffering=1) as log:
	    while True:
	        print(s.recv(8192).decode(errors="replace"), file=log)
EOF
pids+=($!)
until_true test -S /dev/log

# attach NAME PARAMETER...: by an nbdkit in the background; sets uri_NAME, ...
attach() {
	local name=$1
	shift
	start_nbdkit "$name" "$RNBD_PLUGIN" "$@" || fail "cannot attach: $*"
}

# detach NAME: by SIGTERM, which must work within 10 s.
detach() {
	local pid=pid_$1
	kill "${!pid}" || fail "nbdkit $1 has ended before"
	ends_soon "$1"
}

# ends_soon NAME: so that a slow end is no success.
ends_soon() {
	local pid=pid_$1
	timeout 10 tail --pid="${!pid}" -f /dev/null ||
		fail "nbdkit $1 goes on for 10 s after SIGTERM"
}

# told WORDS PARAMETER...: nbdkit does not start, and WORDS say why.
told() {
	local words=$1
	shift
	if run_nbdkit true "$RNBD_PLUGIN" "$@" 2>"$tmp/told.log"; then
		fail "attached, where '$words' was to be said: $*"
	fi
	grep -qF -- "$words" "$tmp/told.log" || fail "not said: '$words' ($*)"
}

# session_says WORDS PARAMETER...: in the log of a session that opens.
session_says() {
	local words=$1
	shift
	run_nbdkit true -v "$RNBD_PLUGIN" "$@" 2>"$tmp/says.log" ||
		fail "cannot attach: $*"
	grep -qF -- "$words" "$tmp/says.log" || fail "not said: '$words' ($*)"
}

# fio_nbd URI OPTION...: what fio writes it reads back. Needs a --size and block
# sizes; with --numjobs each job is a connection.
fio_nbd() {
	local uri=$1
	shift
	timeout 300 fio --name=v --ioengine=nbd "--uri=$uri" --rw=randwrite \
		--verify=crc32c --verify_fatal=1 --do_verify=1 --minimal \
		"$@" >"$tmp/fio.log" 2>&1 || fail "fio: $*"
}

# fio_sizes URI: requests of 512 bytes to 8 MiB.
fio_sizes() {
	fio_nbd "$1" --bsrange=512-64k --iodepth=16 --size=4m --numjobs=2 \
		--offset_increment=4m
	fio_nbd "$1" --bsrange=128k-8m --iodepth=4 --size=24m
}

# image MIB: $tmp/image, a half of it zeroes.
image() {
	local i
	rm -f "$tmp/image"
	truncate -s "$1M" "$tmp/image"
	for ((i = 0; i < $1; i += 4)); do
		dd if=/dev/urandom "of=$tmp/image" bs=1M count=2 seek="$i" \
			conv=notrunc status=none
	done
}

# same FILE DEVICE: what is on the device, not in the page cache.
same() {
	[ ! -b "$2" ] || check "caches of $2" blockdev --flushbufs "$2"
	cmp "$1" "$2" || fail "$2 differs from ${1##*/}"
}

# copy_round URI DEVICE: image to the device and back by nbdcopy.
copy_round() {
	timeout 120 nbdcopy --flush "$tmp/image" "$1" || fail "nbdcopy to $2"
	same "$tmp/image" "$2"
	timeout 120 nbdcopy "$1" "$tmp/back" || fail "nbdcopy from $2"
	cmp "$tmp/image" "$tmp/back" || fail "nbdcopy: another image came back"
	rm "$tmp/back"
}

# qemu_round URI: raw on the device, and qcow2 on it, by qemu-img.
qemu_round() {
	need qemu-img
	timeout 120 qemu-img convert -f raw -O qcow2 "$tmp/image" "$tmp/qcow2"
	check "to raw" timeout 120 qemu-img convert -n -f qcow2 -O raw \
		"$tmp/qcow2" "$1"
	check "raw" timeout 120 qemu-img compare -q -f raw -F raw \
		"$tmp/image" "$1"
	check "create" timeout 60 qemu-img create -q -f qcow2 "$1" \
		"$(($(stat -c %s "$tmp/image") * 3 / 4))"
	truncate -s "$(($(stat -c %s "$tmp/image") * 3 / 4))" "$tmp/part"
	dd "if=$tmp/image" "of=$tmp/part" bs=1M conv=notrunc status=none \
		"count=$(($(stat -c %s "$tmp/part") >> 20))"
	check "to qcow2" timeout 120 qemu-img convert -n -f raw -O qcow2 \
		"$tmp/part" "$1"
	check "check" timeout 60 qemu-img check -q -f qcow2 "$1"
	check "from qcow2" timeout 120 qemu-img convert -f qcow2 -O raw \
		"$1" "$tmp/back"
	cmp "$tmp/part" "$tmp/back" || fail "qemu-img: another image came back"
	rm "$tmp/part" "$tmp/back" "$tmp/qcow2"
}

# loop_disk NAME MIB [OPTION]...: on a file in memory. Sets disk_NAME and
# file_NAME.
loop_disk() {
	local name=$1 mib=$2 dev
	shift 2
	modprobe loop || fail "no loop devices"
	truncate -s "${mib}M" "$tmp/$name.img"
	dev=$(losetup --find --show "$@" "$tmp/$name.img") || fail "losetup $*"
	declare -g "disk_$name=$dev" "file_$name=$tmp/$name.img"
}

# traffic: about so many KiB went through soft-RoCE or out of the guest.
traffic() {
	local f n sum=0
	for f in /sys/class/infiniband/*/ports/1/hw_counters/rcvd_pkts; do
		read -r n <"$f"
		sum=$((sum + n))
	done
	for f in /sys/class/net/eth*/statistics/tx_bytes; do
		read -r n <"$f"
		sum=$((sum + n / 1024))
	done
	echo $sum
}

traffic_is() {
	[ "$(traffic)" -ge "$1" ] || ! kill -0 "$load" 2>/dev/null
}

# wait_load MIB: until about so much more went to and from the load.
wait_load() {
	until_true traffic_is $(($(traffic) + $1 * 1024))
	kill -0 "$load" 2>/dev/null || fail "the load has ended before"
}

# load URI SECONDS [OPTION]...: fio in the background, which reads back what it
# wrote, until end_load, but no longer than that. Sets load.
load() {
	local uri=$1 seconds=$2
	shift 2
	timeout $((seconds + 60)) fio --name=load --ioengine=nbd "--uri=$uri" \
		--rw=randwrite --bsrange=512-256k --iodepth=8 --numjobs=2 \
		--size=16m --offset_increment=16m --verify=crc32c \
		--verify_fatal=1 --verify_backlog=64 --loops=1000 \
		--time_based --runtime="$seconds" --group_reporting --minimal \
		"$@" >"$tmp/load.log" 2>&1 &
	load=$!
	pids+=("$load")
}

# end_load: it must not have seen an error.
end_load() {
	local rc=0
	kill -TERM "$load"
	wait "$load" || rc=$?
	# Of fio: ended by a signal, and nothing else.
	[ $rc = 128 ] || fail "the load saw an error ($rc)"
}

# resources: what the RDMA devices have given out. Completion queues are left
# out: the kernel's server takes its own from a pool that only grows. A user's
# would show in ctx.
resources() {
	rdma resource show | sed 's/ cq [0-9]*//'
}

resources_are() {
	[ "$(resources)" = "$1" ]
}

# wait_resources BEFORE: until all that was taken since is given back.
wait_resources() {
	local end=$((SECONDS + 90))
	until resources_are "$1"; do
		[ $SECONDS -lt $end ] || break
		sleep 0.1
	done
	! resources_are "$1" || return 0
	rdma resource show qp >&2
	fail "RDMA resources are left over: before: $1; now: $(resources)"
}

# ------------------------------------------------- /dev/nbd0

# file_tree: $tmp/tree, some hundred real files.
file_tree() {
	mkdir "$tmp/tree"
	find /usr/share/perl /usr/share/perl5 -type f | sort | sed -n 1,200p |
		tar -c -T - 2>/dev/null | tar -x -C "$tmp/tree"
	[ "$(find "$tmp/tree" -type f | wc -l)" -gt 100 ] ||
		fail "no files in /usr/share/perl*"
	(cd "$tmp/tree" && find . -type f -exec md5sum {} +) >"$tmp/tree.md5"
}

# nbd_on NAME [OPTION]...: /dev/nbd0 on the nbdkit NAME, by nbd-client.
nbd_on() {
	local sock=sock_$1
	shift
	[ -b /dev/nbd0 ] || check nbd modprobe nbd nbds_max=1 max_part=4
	until_true test -b /dev/nbd0
	nbd-client -unix "${!sock}" /dev/nbd0 "$@" >>"$tmp/nbd-client.log" 2>&1 ||
		fail "nbd-client $*"
	until_true test -s /sys/block/nbd0/pid
	[ "$(blockdev --getsize64 /dev/nbd0)" -gt 0 ] || fail "nbd0 is empty"
}

nbd_off() {
	check "disconnecting" timeout 60 nbd-client -d /dev/nbd0 \
		>>"$tmp/nbd-client.log" 2>&1
	until_true test ! -e /sys/block/nbd0/pid
}

# nbd_fs: partitions on nbd0, and a file system on the second; sets part.
nbd_fs() {
	part=/dev/nbd0p2
	timeout 60 sfdisk -q --no-tell-kernel /dev/nbd0 <<-'EOF' || fail "sfdisk"
		label: gpt
		size=4MiB
		type=linux
	EOF
	check "partitions" blockdev --rereadpt /dev/nbd0
	until_true test -b $part
	[[ $(sfdisk -q -d /dev/nbd0) == *"$part"*size=* ]] || fail "no $part"
	check "mkfs.ext4" timeout 120 mkfs.ext4 -q -F $part
	mkdir -p "$tmp/mnt"
	check "mount" timeout 60 mount -t ext4 "$part" "$tmp/mnt"
}

# nbd_fs_end DIRECTORY...: unmounted, checked, and mounted again from cold
# caches each directory on it is the tree.
nbd_fs_end() {
	local d
	check "umount" timeout 120 umount "$tmp/mnt"
	timeout 120 e2fsck -fn "$part" >"$tmp/e2fsck.log" 2>&1 || fail "e2fsck"
	check "caches" blockdev --flushbufs "$part"
	check "second mount" timeout 60 mount -t ext4 -o ro "$part" "$tmp/mnt"
	for d in "$@"; do
		(cd "$tmp/mnt/$d" && md5sum --quiet -c "$tmp/tree.md5") ||
			fail "$d is not what was written"
	done
	check "umount" umount "$tmp/mnt"
}

# no_io_error: of nbd0 or of a file system, so far.
no_io_error() {
	! dmesg | grep -E 'I/O error|nbd[0-9].*(timed out|[Ee]rror)|EXT4-fs.*(error|warning)' ||
		fail "the kernel saw an I/O error (above)"
}
