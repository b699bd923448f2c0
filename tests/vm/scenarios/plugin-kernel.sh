#!/usr/bin/env bash
# vm: time=300
# The plugin as a client of the kernel's server: data goes there and back,
# with renewed keys (always_invalidate) and without.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need nbdcopy cmp
random_file dense 16
ram_disk 16

for inval in Y N; do
	load_server "always_invalidate=$inval"
	for addr in "$VM_ADDR0" "$VM_ADDR6_0"; do
		say "always_invalidate=$inval, $addr"
		dd if=/dev/zero of=/dev/ram0 bs=1M count=16 status=none
		start_nbdkit n "$RNBD_PLUGIN" sessname=s "path=ip:$addr" \
			device_path=/dev/ram0
		timeout 120 nbdcopy --flush "$tmp/dense" "$uri_n" ||
			fail "nbdcopy to the kernel's server"
		cmp "$tmp/dense" /dev/ram0 || fail "what the server wrote"
		timeout 120 nbdcopy "$uri_n" "$tmp/back" ||
			fail "nbdcopy from the kernel's server"
		cmp "$tmp/dense" "$tmp/back" || fail "what came back"
		rm "$tmp/back"
		kill "$pid_n"
		wait_gone "$pid_n"
		until_true test -z "$(ls /sys/devices/virtual/rtrs-server 2>/dev/null)"
	done
	unload
done
