#!/usr/bin/env bash
# Exports that are made, grow, leave and come back while others are in use.
. "$(dirname "$0")/functions.sh"
requires fio
requires nbdinfo
ctl() {
	"$RNBD_CTL" --control "$tmp/control" "$@"
}
truncate -s 64M "$tmp/other"
start_gateway gw --control "$tmp/control" \
	--export "disk=$tmp/made,create=32M" --export "other=$tmp/other"

# client NAME DEVICE OPTIONS...: an nbdkit of its own session.
client() {
	local name=$1 dev=$2
	shift 2
	start_nbdkit "$name" "$RNBD_PLUGIN" "sessname=$name-$$" \
		"path=$path_gw" "device_path=$dev" "$@"
}
mappings() {
	ctl --json export list | python3 -c '
import json, sys
for e in json.load(sys.stdin):
    if e["name"] == sys.argv[1]:
        print(e["mappings"])' "$1"
}
has_mappings() {
	[ "$(mappings "$1")" = "$2" ]
}

# Made once, for its owner alone, sparse.
[ "$(stat -c '%a %s %b' "$tmp/made")" = "600 33554432 0" ] ||
	fail "made: $(stat -c '%a %s %b' "$tmp/made")"

# What has grown is seen by the next open.
client a disk
[ "$(nbdinfo --size "$uri_a")" = 33554432 ] || fail "size of what was made"
kill "$pid_a"
wait_gone "$pid_a"
truncate -s 48M "$tmp/made"
client b disk io-timeout=3
[ "$(nbdinfo --size "$uri_b")" = 50331648 ] || fail "size of what has grown"

# And the server told to look, or to grow it, by those that have it open.
hold "$uri_b"
until_true has_mappings disk 1
ctl export resize disk 64M >/dev/null || fail "export resize"
[ "$(stat -c %s "$tmp/made")" = 67108864 ] || fail "the file has not grown"
truncate -s 72M "$tmp/made"
ctl export resize disk >/dev/null || fail "export resize, no size"
device_size() {
	ctl --json device list | python3 -c '
import json, sys
print([d["size"] for d in json.load(sys.stdin)])'
}
[ "$(device_size)" = "[75497472]" ] || fail "the mapping has $(device_size)"
if ctl export resize disk 1M >"$tmp/out" 2>&1; then
	fail "an export shrank"
fi
grep -q "can only grow" "$tmp/out" || fail "no word of why"

# A load that must not notice what happens beside it.
client o other
fio --name=v --ioengine=nbd --uri="$uri_o" --rw=randwrite --bs=4k --iodepth=8 \
	--size=64m --verify=crc32c --verify_fatal=1 --do_verify=1 \
	--verify_backlog=256 --number_ios=60000 --minimal \
	>"$tmp/fio.log" 2>&1 &
fio=$!
pids+=("$fio")
until_true has_mappings other 1

# A device that is taken from a session that may have it is opened again by
# our client; no error is seen.
hold "$uri_b"
until_true has_mappings disk 1
ctl device close disk "b-$$" >/dev/null || fail "device close"
nbdsh -u "$uri_b" -c 'h.pwrite(b"x" * 4096, 0)' -c h.flush ||
	fail "a device that was closed and may be opened is not there"

# One that is gone is gone, at once, for who has it open too.
ctl export remove disk >/dev/null || fail "export remove"
if nbdsh -u "$uri_b" -c 'h.pread(4096, 0)' 2>"$tmp/err"; then
	fail "an export that was removed is read"
fi
if ctl export remove disk >"$tmp/out" 2>&1; then
	fail "an export was removed twice"
fi
# Nothing of it is left: it may be opened read-write by another one.
ctl export add "again=$tmp/made" >/dev/null || fail "export add"
client c again
nbdsh -u "$uri_c" -c 'assert h.pread(4096, 0) == b"x" * 4096' \
	-c 'h.pwrite(b"y" * 512, 0)' || fail "the file under another name"

wait "$fio" || fail "a load on another export saw an error"
