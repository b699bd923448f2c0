#!/usr/bin/env bash
# vm: time=240
# An RDMA device is removed under rnbd-gatewayd and the plugin, which let it go
# and go on with its successor; and with nobody connected.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need rdma nbdsh
truncate -s 64M "$tmp/disk"
gateway_listen="ip:[::]:1234"
start_gateway gw --export "disk=file:$tmp/disk"
start_nbdkit n "$RNBD_PLUGIN" sessname=s "path=ip:$VM_ADDR0" \
	device_path=disk reconnect-delay=0.2 io-timeout=120

# The kernel waits for whoever still uses the device.
remove() {
	timeout 60 rdma link delete rxe0 || fail "rxe0 is not let go: $1"
	say "rxe0 removed, $1"
}
add() {
	check "rxe0 again" rdma link add rxe0 type rxe netdev eth0
	# Its addresses are known at once, that of IPv6 perhaps not.
	say "rxe0 added"
}
alive() {
	kill -0 "$pid_gw" || fail "the gateway ended"
	kill -0 "$pid_n" || fail "nbdkit ended"
}
round_trip() { # BYTE
	timeout 100 nbdsh -u "$uri_n" \
		-c "h.pwrite(bytes([$1]) * 65536, 4096)" -c "h.flush()" \
		-c "assert h.pread(65536, 4096) == bytes([$1]) * 65536" ||
		fail "round trip $1"
}

round_trip 1
for i in 2 3; do
	remove "a session is up"
	alive
	add
	round_trip "$i"
	say "round trip $i"
done

kill "$pid_n"
wait_gone "$pid_n"
remove "only the daemon is left"
kill -0 "$pid_gw" || fail "the gateway ended"
add
start_nbdkit n "$RNBD_PLUGIN" sessname=s "path=ip:$VM_ADDR0" \
	device_path=disk
round_trip 4
alive
kill "$pid_n"
wait_gone "$pid_n"
stop "$pid_gw" || fail "the gateway ended with $?"
