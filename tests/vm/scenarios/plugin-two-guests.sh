#!/usr/bin/env bash
# vm: guests=2 time=240
# The plugin in one guest, the gateway in the other, over tcp and over RDMA: fio
# and nbdcopy read back what they wrote, the gateway is killed under I/O.
. "$RNBD_SRCDIR/tests/vm/plugin/functions.sh"

if [ "$VM_ROLE" = b ]; then
	truncate -s 32M "$tmp/disk"
	for fabric in tcp ip; do
		gateway_listen=$fabric:$VM_ADDR0:1234
		start_gateway gw --export "disk=$tmp/disk"
		barrier "$fabric-up"
		barrier "$fabric-copied"
		tell "$fabric-sum" "$(md5sum <"$tmp/disk")"
		barrier "$fabric-load"
		stop "$pid_gw" KILL || :
		start_gateway gw --export "disk=$tmp/disk"
		barrier "$fabric-again"
		barrier "$fabric-end"
		tell "$fabric-last" "$(md5sum <"$tmp/disk")"
		stop "$pid_gw" || fail "the gateway ended with $?"
	done
	exit
fi

image 32
for fabric in tcp ip; do
	barrier "$fabric-up"
	attach n "sessname=$fabric" "path=$fabric:$VM_PEER0" device_path=disk \
		io-timeout=60 reconnect-delay=0.2
	fio_nbd "$uri_n" --bsrange=512-256k --iodepth=16 --size=4m
	timeout 120 nbdcopy --flush "$tmp/image" "$uri_n" || fail "nbdcopy"
	barrier "$fabric-copied"
	[ "$(hear "$fabric-sum")" = "$(md5sum <"$tmp/image")" ] ||
		fail "the gateway has another image"
	load "$uri_n" 300
	wait_load 3
	barrier "$fabric-load"
	barrier "$fabric-again"
	wait_load 3
	end_load
	timeout 120 nbdcopy "$uri_n" "$tmp/back" || fail "nbdcopy after the restart"
	detach n
	barrier "$fabric-end"
	[ "$(hear "$fabric-last")" = "$(md5sum <"$tmp/back")" ] ||
		fail "another image came back"
	say "$fabric: no error"
done
