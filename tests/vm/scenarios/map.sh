#!/usr/bin/env bash
# vm: time=400
# rnbdctl map: /dev/nbdN by the line of the kernel's map_device. ext4 on it while
# the gateway is restarted, two devices of one session, at boot before there is a
# gateway, a kernel server, and what goes wrong, in words.
. "$RNBD_SRCDIR/tests/vm/plugin/functions.sh"
run=/run/rnbd/client
path=path=ip:$VM_PEER0

ctl() {
	timeout 100 "$RNBD_CTL" "$@" 2>"$tmp/ctl.err"
}
# map OPTION...: prints the device.
map() {
	ctl map "$@" || fail "map $*: $(cat "$tmp/ctl.err")"
}
unmap() {
	ctl unmap "$@" || fail "unmap $*: $(cat "$tmp/ctl.err")"
}
# says WORDS COMMAND...: rnbdctl refuses, in one line with these words.
says() {
	local words=$1
	shift
	! ctl "$@" >"$tmp/ctl.out" || fail "no error: $*"
	grep -qF -- "$words" "$tmp/ctl.err" || fail "'$words' is not in: $(cat "$tmp/ctl.err")"
	[ "$(wc -l <"$tmp/ctl.err")" = 1 ] || fail "more than a line: $(cat "$tmp/ctl.err")"
}
# field DEVICE FIELD: of the list of maps.
field() {
	ctl client map list "device,$2" csv noheaders | sed -n "s|^$1,||p"
}
# clean: nothing is left of any map.
clean() {
	[ -z "$(ls "$run")" ] || fail "left in $run: $(ls "$run")"
	[ -z "$(cat /sys/block/nbd*/pid 2>/dev/null)" ] || fail "still connected"
	! pgrep -x nbdkit >/dev/null || fail "an nbdkit is left"
}
gateway() {
	start_gateway gw --export "disk=$tmp/disk,create=96M" \
		--export second=memory:32M
}

says "modprobe nbd" map sessname=s "$path" device_path=disk
[ ! -e $run ] || clean
check nbd modprobe nbd nbds_max=3 max_part=4

# --- at boot: the map first, the gateway when it likes
gateway_listen=ip:$VM_ADDR0:1234
cat >"$tmp/root.conf" <<-EOF
	# the root of everything
	sessname=s.1
EOF
says "sessname=s.1" map --file "$tmp/root.conf"
cat >"$tmp/root.conf" <<-EOF
	# connect=lazy: the server may come later
	sessname=s:1 $path device_path=disk
	  connect=lazy open-timeout=90 reconnect-delay=0.2
EOF
"$RNBD_CTL" map --file "$tmp/root.conf" >"$tmp/boot" 2>"$tmp/boot.err" &
boot=$!
pids+=("$boot")
until_true test -s $run/s%3A1.json
gateway
wait $boot || fail "map before the gateway: $(cat "$tmp/boot.err")"
dev=$(cat "$tmp/boot")
[ -b "$dev" ] || fail "'$dev' is no device"
[ "$(blockdev --getsize64 "$dev")" = $((96 << 20)) ] || fail "size of $dev"
[ "$(ctl map --file "$tmp/root.conf")" = "$dev" ] || fail "a second start of the unit"
says "mapped already, rw as $dev" map sessname=s:1 device_path=disk
say "mapped before the gateway came"

# --- a file system on it, the gateway restarted under load
check "mkfs.ext4" timeout 60 mkfs.ext4 -q -F "$dev"
mkdir "$tmp/mnt"
check "mount" timeout 60 mount -t ext4 "$dev" "$tmp/mnt"
dd if=/dev/urandom "of=$tmp/data" bs=1M count=4 status=none
for i in 1 2 3 4; do
	cp "$tmp/data" "$tmp/mnt/data$i"
	sync -f "$tmp/mnt"
	echo $i >"$tmp/filled"
done &
writer=$!
pids+=("$writer")
filled() {
	[ "$(cat "$tmp/filled" 2>/dev/null || echo 0)" -ge "$1" ]
}
until_true filled 1
stop "$pid_gw" || fail "the gateway: $?"
gateway
until_true filled 2
stop "$pid_gw" KILL || :
gateway
wait $writer || fail "writing while the gateway is restarted"
says "mounted on $tmp/mnt" unmap "$dev"
[ "$(field "$dev" state)" = mapped ] || fail "state: $(field "$dev" state)"
for i in 1 2 3 4; do
	cmp "$tmp/data" "$tmp/mnt/data$i" || fail "data$i"
done
check "umount" umount "$tmp/mnt"
timeout 60 e2fsck -fn "$dev" >"$tmp/e2fsck.log" 2>&1 || fail "e2fsck"
no_io_error
say "ext4 over two restarts"

# --- a second device of the session, read-only
ro=$(map sessname=s:1 device_path=second access_mode=ro)
[ "$ro" != "$dev" ] || fail "both are $dev"
[ "$(blockdev --getro "$ro") $(blockdev --getro "$dev")" = "1 0" ] || fail "which is read-only"
[ "$(pgrep -xc nbdkit)" = 1 ] || fail "not one nbdkit for the session"
[ "$(ctl client map list device,mapping_path,access_mode,size,state csv noheaders | sort)" = \
	"$(printf '%s\n' "$dev,disk,rw,100663296,mapped" "$ro,second,ro,33554432,mapped" | sort)" ] ||
	fail "the list: $(ctl client map list)"

# --- errors
says "no such export 'nix'" map sessname=s:1 device_path=nix
says "cannot open 'nix'" map sessname=t "$path" device_path=nix
says "give the same" map sessname=s:1 path=ip:192.0.2.1 device_path=nix
says "busy: 'disk' is already open" map sessname=t "$path" device_path=disk
says "session t: ip:$VM_PEER0" map sessname=t dest_port=4321 \
	"$path" device_path=disk
[ ! -e $run/t.json ] || fail "left of what failed: $(ls $run)"

# --- nbdkit killed: said so, and mapped again, as the same device
kill -KILL "$(field "$dev" pid)"
dead() {
	[ "$(field "$1" state)" = dead ]
}
until_true dead "$dev"
allow_dmesg 'nbd[0-9]|I/O error' "an nbdkit is killed"
[ "$(map sessname=s:1 device_path=disk)" = "$dev" ] || fail "another device"
[ "$(field "$dev" state) $(field "$ro" state)" = "mapped dead" ] ||
	fail "mapped again: $(ctl client map list)"
cmp <(head -c 1M "$dev") <(head -c 1M "$tmp/disk") || fail "data of $dev"
unmap "${ro#/dev/}"
# Held open, and taken away all the same.
exec 8<"$dev"
says "open by" unmap "$dev"
unmap "$dev" force
[ -z "$(ls "$run")" ] || fail "left: $(ls "$run")"
exec 8<&-
until_true test ! -e "/sys/block/${dev#/dev/}/pid"
clean
say "errors and repairs"

# --- rnbdctl killed when nbd-client has connected: what is in use by the time
# the next one comes stays, with what is not yet written
mkdir "$tmp/bin"
cat >"$tmp/bin/nbd-client" <<-'EOF'
	#!/bin/bash
	kill -STOP $PPID
	exec /usr/sbin/nbd-client "$@"
EOF
chmod +x "$tmp/bin/nbd-client"
sized() {
	[ -e "/sys/block/$1/pid" ] && [ "$(cat "/sys/block/$1/size")" -gt 0 ]
}
is_state() {
	[ "$(field /dev/nbd0 state)" = "$1" ] || fail "state: $(field /dev/nbd0 state), not $1"
}
killed_map() { # as /dev/nbd0
	local killed
	PATH=$tmp/bin:$PATH "$RNBD_CTL" map sessname=s:1 "$path" \
		device_path=disk >/dev/null 2>&1 &
	killed=$!
	until_true sized nbd0
	kill -KILL $killed
	! wait $killed || fail "rnbdctl was not killed"
	is_state half
}
killed_map
check "mount" timeout 60 mount -t ext4 /dev/nbd0 "$tmp/mnt"
cp "$tmp/data" "$tmp/mnt/late"
other=$(map sessname=t "$path" device_path=second)
[ "$other" != /dev/nbd0 ] || fail "another took /dev/nbd0"
is_state mapped
says "mounted on $tmp/mnt" unmap nbd0
check "umount" umount "$tmp/mnt"
unmap nbd0
killed_map
exec 8</dev/nbd0
unmap "$other"
is_state mapped
says "open by" unmap nbd0
exec 8<&-
check "mount" timeout 60 mount -t ext4 -o ro /dev/nbd0 "$tmp/mnt"
cmp "$tmp/data" "$tmp/mnt/late" || fail "what was written late"
check "umount" umount "$tmp/mnt"
unmap nbd0
clean
# Nobody uses it: it is taken back.
killed_map
says "/dev/nbd2 is not mapped" unmap nbd2
clean
stop "$pid_gw" || fail "the gateway ended with $?"

# --- rnbdctl killed while nbd-client waits for a server: that ends, too
waits() {
	pgrep -x nbd-client >/dev/null
}
"$RNBD_CTL" map --file "$tmp/root.conf" >/dev/null 2>&1 &
killed=$!
until_true waits
kill -KILL $killed
! wait $killed || fail "rnbdctl was not killed"
waits_no_more() {
	! waits
}
until_true waits_no_more
says "/dev/nbd2 is not mapped" unmap nbd2
clean
say "rnbdctl killed"

# --- a kernel server
ram_disk 32
load_server
dev=$(map sessname=k "$path" device_path=/dev/ram0)
mkfs_check "$dev" 4
unmap "$dev"
clean
unload
