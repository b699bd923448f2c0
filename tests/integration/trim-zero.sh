#!/usr/bin/env bash
# Trim, then read zeroes; write zeroes with and without holes; odd edges.
. "$(dirname "$0")/functions.sh"
requires nbdsh
random_file disk 64
cp "$tmp/disk" "$tmp/copy"
start_pair "disk=file:$tmp/disk" --export mem=memory:64M
args=("${plugin_args[@]}")

round() {
	nbdsh -u "$1" -c - <<-'EOF'
		import random
		size = h.get_size()
		assert size == 64 << 20, size
		r = random.Random(1)
		data = bytearray(r.randbytes(1 << 20))
		h.pwrite(data, 0)
		# Whole blocks read back as zeroes after a trim.
		h.trim(256 << 10, 128 << 10)
		data[128 << 10:384 << 10] = bytes(256 << 10)
		assert h.pread(1 << 20, 0) == data
		# Zeroes, aligned, with and without permission to make a hole.
		h.zero(64 << 10, 512 << 10)
		data[512 << 10:576 << 10] = bytes(64 << 10)
		h.zero(64 << 10, 640 << 10, nbd.CMD_FLAG_NO_HOLE)
		data[640 << 10:704 << 10] = bytes(64 << 10)
		assert h.pread(1 << 20, 0) == data
		# Odd offsets and lengths.
		h.set_strict_mode(0)
		for _ in range(200):
		    n = r.choice([1, 511, 512, 513, 4096, 5000, 70000])
		    off = r.randrange(0, len(data) - n)
		    if r.random() < .5:
		        h.zero(n, off, r.choice([0, nbd.CMD_FLAG_NO_HOLE]))
		        data[off:off + n] = bytes(n)
		    else:
		        b = r.randbytes(n)
		        h.pwrite(b, off)
		        data[off:off + n] = b
		assert h.pread(1 << 20, 0) == data
		# All of it, in one request.
		h.zero(size, 0)
		assert h.pread(4 << 20, size - (4 << 20)) == bytes(4 << 20)
		h.pwrite(b"x" * 4096, size - 4096)
		h.trim(size, 0)
		h.flush()
	EOF
}
start_nbdkit n "${args[@]}"
round "$uri_n"
[ "$(du -k "$tmp/disk" | cut -f1)" -lt 60000 ] ||
	fail "a trimmed file still has its blocks"
args[1]+=m
args[3]=device_path=mem
start_nbdkit m "${args[@]}"
round "$uri_m"
