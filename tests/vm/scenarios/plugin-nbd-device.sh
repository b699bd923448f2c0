#!/usr/bin/env bash
# vm: time=300
# /dev/nbd0 on the plugin: partitions, ext4 and a tree of real files, with 1 and
# with 4 connections, and no I/O error when the server is restarted meanwhile.
. "$RNBD_SRCDIR/tests/vm/plugin/functions.sh"
file_tree
ram_disk 96

# fill N: so many trees, in the background, each written to the disk. Sets
# writer.
fill() {
	local n
	for ((n = 0; n < $1; n++)); do
		cp -r "$tmp/tree" "$tmp/mnt/tree$n"
		sync -f "$tmp/mnt"
		echo "$n" >"$tmp/filled"
	done &
	writer=$!
	pids+=("$writer")
}

filled() {
	[ "$(cat "$tmp/filled" 2>/dev/null || echo -1)" -ge "$1" ]
}

# round NAME N HOW: trees on the file system, the server restarted by HOW.
round() {
	rm -f "$tmp/filled"
	nbd_fs
	fill 3
	until_true filled 0
	$3
	until_true filled 1
	$3
	wait "$writer" || fail "$1: writing to the mounted file system"
	nbd_fs_end tree0 tree1 tree2
	nbd_off
	no_io_error
	say "$1: $2 connections"
}

restart_kernel() {
	unload
	load_server
}
load_server
attach kernel sessname=kernel "path=ip:$VM_PEER0" device_path=/dev/ram0 \
	reconnect-delay=0.2
nbd_on kernel -b 512
round kernel 1 restart_kernel
nbd_on kernel -b 4096 -C 4
round kernel 4 restart_kernel
detach kernel
unload

how=TERM
restart_gateway() {
	stop "$pid_gw" $how || [ $how = KILL ] || fail "the gateway: $?"
	how=KILL
	start_gateway gw --export disk=/dev/ram0
}
gateway_listen=ip:$VM_ADDR0:1234
start_gateway gw --export disk=/dev/ram0
attach gateway sessname=gateway "path=ip:$VM_PEER0" device_path=disk \
	reconnect-delay=0.2
nbd_on gateway -b 4096
round gateway 1 restart_gateway
nbd_on gateway -b 512 -C 4
round gateway 4 restart_gateway
detach gateway
stop "$pid_gw" || fail "the gateway ended with $?"
