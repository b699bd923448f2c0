#!/usr/bin/env bash
# qcow2 on the device, with snapshots in it; an overlay on the device as its
# backing file, committed to it; discard=unmap down to the file behind the
# gateway; block status; qemu-img bench.
. "$(dirname "$0")/functions.sh"
requires qemu-img
requires qemu-io
truncate -s 128M "$tmp/disk"
random_file raw 32
start_pair "disk=$tmp/disk,buffered"
start_nbdkit n "${plugin_args[@]}"

# io IMAGE-ARGUMENT COMMAND...: qemu-io's commands, of which none may fail.
io() {
	local where=$1 c args=()
	shift
	for c in "$@"; do
		args+=(-c "$c")
	done
	qemu-io "${args[@]}" --image-opts "$where" >"$tmp/out" 2>&1 ||
		fail "qemu-io: $(cat "$tmp/out")"
	! grep -Eiq 'fail|error|mismatch' "$tmp/out" ||
		fail "qemu-io: $(cat "$tmp/out")"
}
nbd=driver=nbd,server.type=unix,server.path=$sock_n
raw=driver=raw,discard=unmap,file.${nbd//,/,file.}
blocks() {
	stat -c %b "$tmp/disk"
}

# A qcow2 image that lies on the device, as on a disk.
qemu-img create -q -f qcow2 "$uri_n" 64M
qemu-img convert -n -f raw -O qcow2 "$tmp/raw" "$uri_n"
qemu-img snapshot -c before "$uri_n"
io "driver=qcow2,file.${nbd//,/,file.}" 'write -P 0x5a 0 8M' 'read -P 0x5a 0 8M' flush
qemu-img snapshot -c after "$uri_n"
[ "$(qemu-img snapshot -l "$uri_n" | grep -cE ' (before|after) ')" = 2 ] ||
	fail "not two snapshots"
qemu-img check -q -f qcow2 "$uri_n"
qemu-img snapshot -a before "$uri_n"
qemu-img convert -f qcow2 -O raw "$uri_n" "$tmp/back"
truncate -s 64M "$tmp/raw64"
dd if="$tmp/raw" of="$tmp/raw64" conv=notrunc status=none
cmp "$tmp/back" "$tmp/raw64" || fail "the first snapshot has other bytes"
qemu-img convert -l after -f qcow2 -O raw "$uri_n" "$tmp/back"
cmp -n 8388608 "$tmp/back" <(head -c 8M /dev/zero | tr '\0' '\132') ||
	fail "the second snapshot has other bytes"
cmp "$tmp/back" "$tmp/raw64" 8388608 8388608 || fail "the second snapshot, the rest"
qemu-img snapshot -d before "$uri_n"
qemu-img snapshot -d after "$uri_n"
qemu-img check -q -f qcow2 "$uri_n"

# The device as the backing file of an image of this machine.
qemu-img convert -n -f raw -O raw "$tmp/raw64" "$uri_n"
qemu-img create -q -f qcow2 -b "$uri_n" -F raw "$tmp/overlay"
io "driver=qcow2,file.filename=$tmp/overlay" 'write -P 0x11 1M 3M' \
	'read -P 0x11 1M 3M'
# Until it is committed nothing is written to it.
cmp -n 67108864 "$tmp/disk" "$tmp/raw64" || fail "the backing file was written"
qemu-img commit -q "$tmp/overlay"
io "$raw" 'read -P 0x11 1M 3M'

# What is discarded is given back by the file behind the daemon, what is
# zeroed reads as zeroes and may be.
io "$raw" 'write -P 0x33 0 64M' flush
full=$(blocks)
io "$raw" 'discard 16M 32M' flush
[ "$(blocks)" -le $((full - 60000)) ] || fail "discard: $(blocks) blocks of $full"
io "$raw" 'read -P 0 16M 32M' 'read -P 0x33 0 16M' 'read -P 0x33 48M 16M'
io "$raw" 'write -z -u 0 8M' 'read -P 0 0 8M' flush
[ "$(blocks)" -le $((full - 60000 - 15000)) ] || fail "write -z -u frees nothing"
# Without discard=unmap a discard stays in qemu.
io "driver=raw,discard=ignore,file.${nbd//,/,file.}" 'discard 48M 16M' \
	'read -P 0x33 48M 16M'

# RNBD cannot ask which blocks are in use: all are said to be data, zeroes are
# found by reading them, and a copy is as sparse as the original.
qemu-img map --output=json -f raw "$uri_n" >"$tmp/map"
python3 - "$tmp/map" <<-'EOF'
	import json, sys
	m = json.load(open(sys.argv[1]))
	assert sum(e["length"] for e in m) == 128 << 20, m
	assert all(e["data"] and not e["zero"] for e in m), m
	EOF
qemu-img convert -f raw -O raw -S 64k "$uri_n" "$tmp/sparse"
cmp "$tmp/sparse" "$tmp/disk"
[ "$(stat -c %b "$tmp/sparse")" -le $((26 * 2048)) ] ||
	fail "the copy has $(stat -c %b "$tmp/sparse") blocks"

# Parallel requests, all of them without an error.
for rw in "" "-w --flush-interval=64"; do
	# shellcheck disable=SC2086  # words are meant
	qemu-img bench -q -f raw -c 20000 -d 32 -s 4096 $rw "$uri_n" ||
		fail "qemu-img bench $rw"
done
