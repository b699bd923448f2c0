#!/usr/bin/env bash
# vm: time=200
# Kernel's client, our daemon: exports by name, some with slashes in it or for
# reading only, and a search path of which each session sees a directory.
. "$RNBD_SRCDIR/tests/vm/kclient.sh"

mkdir -p "$tmp/srv/alice" "$tmp/srv/bob"
truncate -s 8M "$tmp/named" "$tmp/srv/alice/disk" "$tmp/srv/bob/disk" \
	"$tmp/srv/alice/own"
head -c 1M /dev/urandom | tee "$tmp/fixed.data" >"$tmp/fixed"
serve --export "pool/named=$tmp/named" --export "fixed=$tmp/fixed,ro" \
	--export "shadow=memory:4M" --search-path "$tmp/srv/%SESSNAME%"

says() { # ERROR OPTION=VALUE...
	local error=$1 said
	shift
	said=$(map_error "$@")
	[ "$said" = "$error" ] || fail "$*: '$said', not '$error'"
}

# By name, from any session; one of them from two.
map_device sessname=alice device_path=pool/named
fio_verify "$device" --size=4m
named=$device
map_device sessname=alice device_path=fixed access_mode=ro
fixed=$device
[ "$(blockdev --getro "$fixed")" = 1 ] || fail "fixed can be written"
device_holds "$tmp/fixed.data" || fail "data of the read-only export"
map_device sessname=bob device_path=fixed access_mode=ro
device_holds "$tmp/fixed.data" || fail "the same, for another"
unmap_device
says "Permission denied" sessname=bob device_path=fixed
says "Operation not permitted" sessname=bob device_path=pool/named
says "No such file or directory" sessname=bob device_path=named
unmap_device "$fixed"
say "named"

# What is no export is looked for in the session's own directory.
disks=()
for who in alice bob; do
	map_device "sessname=$who" device_path=disk
	disks+=("$device")
	head -c 1M /dev/urandom >"$tmp/$who.data"
	check write dd "if=$tmp/$who.data" "of=$device" bs=128k oflag=direct \
		status=none
done
for i in 0 1; do
	who=(alice bob)
	device=${disks[i]}
	device_holds "$tmp/${who[i]}.data" || fail "the disk of ${who[i]}"
	cmp -n $((1 << 20)) "$tmp/${who[i]}.data" "$tmp/srv/${who[i]}/disk" ||
		fail "the file of ${who[i]}"
done
says "No such file or directory" sessname=bob device_path=own
says "Invalid argument" sessname=bob device_path=../alice/own
says "No such file or directory" sessname=carol device_path=disk
map_device sessname=alice device_path=own
unmap_device
for device in "${disks[@]}" "$named"; do
	unmap_device
done
say "each its own directory"

# An export goes before a file of that name.
: >"$tmp/srv/alice/shadow"
map_device sessname=alice device_path=shadow
[ "$(blockdev --getsize64 "$device")" = $((4 << 20)) ] || fail "not the export"
unmap_device
daemon_has 0 0
stop_serving
unload
