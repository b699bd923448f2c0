#!/usr/bin/env bash
# A sparse device of more than 2 TiB: the far end is where it should be.
. "$(dirname "$0")/functions.sh"
requires nbdsh
truncate -s 3T "$tmp/disk" 2>/dev/null || skip "no files of 3 TiB in $tmp"
start_pair "disk=file:$tmp/disk"
start_nbdkit n "${plugin_args[@]}"
nbdsh -u "$uri_n" -c - <<'EOF'
size = h.get_size()
assert size == 3 << 40, size
places = [0, (2 << 40) - 4096, 2 << 40, (2 << 40) + 512, size - 8192]
for i, off in enumerate(places):
    h.pwrite(bytes([i + 1]) * 4096, off)
for i, off in enumerate(places[:2] + places[4:]):
    j = places.index(off)
    assert h.pread(4096, off) == bytes([j + 1]) * 4096, off
assert h.pread(512, 2 << 40) == b"\3" * 512
assert h.pread(4096, (2 << 40) + 512) == b"\4" * 4096
h.zero(3 << 30, 1 << 40)
h.trim(1 << 30, size - (1 << 30))
assert h.pread(4096, size - 8192) == bytes(4096)
h.flush()
EOF
