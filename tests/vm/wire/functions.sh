# shellcheck shell=bash
# Sourced by the scenarios that record what travels between the two guests and
# hold it against the protocol. Guest a has the client, guest b the server.

# wire_disks BLOCK_SIZE: what guest b serves, each disk for what it can do: loop0
# has a cache to be flushed, discards and writes zeroes; nullb0 has FUA, and
# blocks of that size; ram0 has none of it.
wire_disks() {
	local n=/sys/kernel/config/nullb/nullb0
	ram_disk 16
	check loop modprobe loop max_loop=1
	truncate -s 64M "$tmp/disk"
	check losetup losetup /dev/loop0 "$tmp/disk"
	check null_blk modprobe null_blk nr_devices=0
	mountpoint -q /sys/kernel/config ||
		mount -t configfs configfs /sys/kernel/config
	mkdir "$n"
	echo 64 >"$n/size"
	echo "$1" >"$n/blocksize"
	echo 1 >"$n/memory_backed"
	echo 1 >"$n/discard"
	echo 1 >"$n/cache_size"
	echo 1 >"$n/power"
	until_true test -b /dev/nullb0
}

# record NAME: what passes guest a's first NIC, until judge.
record() {
	ask_host pcap a 0 "$1"
}

# judge NAME ARGUMENTS...: ends the recording; the checker has to agree.
judge() {
	local name=$1
	shift
	ask_host pcap-end a 0
	say "checking the record of $name"
	python3 "$RNBD_SRCDIR/tests/vm/wire/wirecheck.py" "/run/vm/$name.pcap" \
		"$@" >"$tmp/$name.report" ||
		{ cat "$tmp/$name.report"; fail "$name disagrees with the protocol"; }
	cat "$tmp/$name.report"
}

# expecting KIND...: arguments of judge for kinds of messages that must be there.
expecting() {
	local kind
	expected=()
	for kind in "$@"; do
		expected+=(--expect "$kind")
	done
}

# same_bytes A B LENGTH
same_bytes() {
	cmp -n "$3" "$1" "$2" || fail "$2 is not what was written"
}

# block_load DEVICE: every kind of I/O, each written block read back.
block_load() {
	local d=$1 direct=(oflag=direct conv=notrunc status=none)
	head -c 256K /dev/urandom >"$tmp/data"
	dd "if=$tmp/data" "of=$d" bs=4k count=1 seek=256 "${direct[@]}"
	dd "if=$d" "of=$tmp/back" bs=4k count=1 skip=256 iflag=direct status=none
	same_bytes "$tmp/data" "$tmp/back" 4096
	# Ends with a flush.
	dd "if=$tmp/data" "of=$d" bs=4k count=1 seek=257 oflag=direct \
		conv=notrunc,fsync status=none
	# As much as one request takes.
	dd "if=$tmp/data" "of=$d" bs=124k count=2 "${direct[@]}"
	dd "if=$d" "of=$tmp/back" bs=124k count=2 iflag=direct status=none
	same_bytes "$tmp/data" "$tmp/back" $((248 * 1024))
	# With FUA, or a flush behind it.
	dd "if=$tmp/data" "of=$d" bs=4k count=1 seek=300 oflag=direct,dsync \
		conv=notrunc status=none
}

# block_zero DEVICE: the ranges that carry no data.
block_zero() {
	check blkdiscard blkdiscard -o 1M -l 512K "$1"
	check "blkdiscard -z" blkdiscard -z -o 2M -l 256K "$1"
	dd "if=$1" "of=$tmp/back" bs=64k count=4 skip=32 iflag=direct status=none
	same_bytes /dev/zero "$tmp/back" $((256 * 1024))
}

session_gone() { # SESSNAME, of the kernel's client
	until_true test ! -e "/sys/devices/virtual/rtrs-client/$1"
}

# For the plugin: a guest's clock may run fast, and the other one's processor be
# busy with somebody else's work.
# shellcheck disable=SC2034  # used by the scenarios
wire_patience=(connect-timeout=30 open-timeout=90)

# nbd_load URI: the same through NBD.
nbd_load() {
	timeout 120 python3 - "$1" <<-'EOF'
		import nbd, os, sys
		h = nbd.NBD()
		h.set_request_block_size(True)
		h.connect_uri(sys.argv[1])
		data = os.urandom(256 << 10)
		def same(got, want):
		    assert bytes(got) == bytes(want), "not what was written"
		h.pwrite(data[:4096], 1 << 20)
		same(h.pread(4096, 1 << 20), data[:4096])
		h.flush()
		# As much as one request takes, and more.
		h.pwrite(data[:126976], 0)
		same(h.pread(126976, 0), data[:126976])
		h.pwrite(data, 2 << 20)
		same(h.pread(len(data), 2 << 20), data)
		h.pwrite(data[:4096], 3 << 20, nbd.CMD_FLAG_FUA)
		if h.can_trim():
		    h.trim(512 << 10, 4 << 20)
		if h.can_zero():
		    h.zero(256 << 10, 2 << 20)
		    same(h.pread(256 << 10, 2 << 20), bytes(256 << 10))
		h.shutdown()
	EOF
}

beats() { # NAME
	# A header of zeroes (no address, no key, no length) and HB_MSG.
	python3 -SE -c 'import sys
print(open(sys.argv[1], "rb").read().count(bytes(16) + b"\x80\0\0\0"))' \
		"/run/vm/$1.pcap"
}

has_beats() { # NAME COUNT
	[ "$(beats "$1")" -ge "$2" ]
}

# wait_heartbeats NAME COUNT: until the record has so many from both sides.
wait_heartbeats() {
	until_true has_beats "$1" "$2"
	say "$2 heartbeats"
}
