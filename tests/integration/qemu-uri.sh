#!/usr/bin/env bash
# Every way to name an NBD server on the command lines of qemu's programs and of
# libnbd's leads to the same bytes of the device.
. "$(dirname "$0")/functions.sh"
requires qemu-img
requires qemu-io
requires qemu-nbd
random_file disk 8
truncate -s 8M "$tmp/other"
start_gateway gw --export "disk=$tmp/disk" --export "other=$tmp/other"
start_nbdkit n "$RNBD_PLUGIN" sessname=u "path=$path_gw" \
	exports=disk exports=o=other,ro
start_nbdkit_tcp t "$RNBD_PLUGIN" sessname=t "path=$path_gw" \
	exports=disk,ro exports=o=other,ro
host=${uri_t#nbd://}

# same IMAGE-ARGUMENT...: qemu-img finds the disk's bytes there.
same() {
	qemu-img compare "$tmp/disk" "$@" >"$tmp/out" 2>&1 ||
		fail "$*: $(cat "$tmp/out")"
}
for name in "nbd+unix:///?socket=$sock_n" "nbd+unix:///disk?socket=$sock_n" \
	"nbd:unix:$sock_n" "nbd:unix:$sock_n:exportname=disk" \
	"nbd://$host" "nbd://$host/disk" "nbd:$host" "nbd:$host:exportname=disk" \
	"json:{\"driver\":\"raw\",\"file\":{\"driver\":\"nbd\",\"export\":\"disk\",\"server\":{\"type\":\"unix\",\"path\":\"$sock_n\"}}}"; do
	same -f raw "$name"
done
qemu-img compare --image-opts "driver=raw,file.filename=$tmp/disk" \
	"driver=raw,file.driver=nbd,file.export=disk,file.server.type=unix,file.server.path=$sock_n,file.reconnect-delay=30" \
	>"$tmp/out" 2>&1 || fail "--image-opts: $(cat "$tmp/out")"
for name in "nbd+unix:///o?socket=$sock_n" "nbd:unix:$sock_n:exportname=o" \
	"nbd://$host/o" "nbd:$host:exportname=o"; do
	qemu-img compare -f raw -F raw "$tmp/other" "$name" >"$tmp/out" ||
		fail "$name: $(cat "$tmp/out")"
done

# Lists.
qemu-nbd --list --socket="$sock_n" >"$tmp/list"
qemu-nbd --list --bind="${host%:*}" --port="${host#*:}" >>"$tmp/list"
[ "$(grep -cE "export: '(disk|o)'" "$tmp/list")" = 4 ] ||
	fail "qemu-nbd --list: $(cat "$tmp/list")"
[ "$(grep -c 'size:  8388608' "$tmp/list")" = 4 ] || fail "qemu-nbd: sizes"
nbdinfo --list "$uri_n" >"$tmp/list"
[ "$(grep -c '^export=' "$tmp/list")" = 2 ] || fail "nbdinfo --list"

# libnbd's URIs, with and without a name.
for name in "nbd+unix:///disk?socket=$sock_n" "$uri_n" "$uri_t/disk" "$uri_t"; do
	nbdcopy "$name" "$tmp/back" || fail "nbdcopy $name"
	cmp "$tmp/back" "$tmp/disk"
done

# What is said to be read-only is so to qemu.
if qemu-io -f raw -c 'write 0 512' "nbd+unix:///o?socket=$sock_n" \
	>"$tmp/out" 2>&1; then
	fail "a read-only export was written"
fi
grep -q 'Permission denied' "$tmp/out" || fail "not read-only: $(cat "$tmp/out")"
qemu-io -r -f raw -c 'read -P 0 0 1M' "nbd+unix:///o?socket=$sock_n" >"$tmp/out"

# A name that the server lacks is an error in words.
if qemu-img info "nbd+unix:///none?socket=$sock_n" >"$tmp/out" 2>&1; then
	fail "an export that is not there has information"
fi
grep -qi 'none' "$tmp/out" || fail "not named: $(cat "$tmp/out")"
