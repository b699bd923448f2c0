#!/usr/bin/env bash
# vm: time=240
# The plugin and the gateway over RDMA: fio, nbdcopy and qemu-img, with renewed
# keys too; the gateway killed and drained under I/O; nbdkit ended under I/O.
. "$RNBD_SRCDIR/tests/vm/plugin/functions.sh"
image 32
truncate -s 32M "$tmp/disk"
gateway_listen=ip:$VM_ADDR0:1234
at=("path=ip:$VM_PEER0" device_path=disk io-timeout=60 reconnect-delay=0.2)
before=$(resources)

for inval in no yes; do
	start_gateway gw --export "disk=$tmp/disk" --always-invalidate $inval
	attach n "sessname=$inval" "${at[@]}"
	fio_sizes "$uri_n"
	copy_round "$uri_n" "$tmp/disk"
	[ $inval = yes ] || qemu_round "$uri_n"
	detach n
	stop "$pid_gw" || fail "the gateway ended with $?"
	wait_resources "$before"
	say "always-invalidate $inval"
done

start_gateway gw --export "disk=$tmp/disk"
attach n sessname=load "${at[@]}"
load "$uri_n" 300
for how in KILL TERM KILL; do
	wait_load 3
	stop "$pid_gw" $how || [ $how = KILL ] || fail "SIGTERM under I/O: $?"
	say "the gateway: SIG$how"
	start_gateway gw --export "disk=$tmp/disk"
done
wait_load 3
end_load
nbdcopy "$uri_n" "$tmp/back" || fail "nbdcopy after the restarts"
same "$tmp/back" "$tmp/disk"
say "no error"

load "$uri_n" 300
wait_load 2
detach n
! wait "$load" || fail "fio ended well, without its disk"
stop "$pid_gw" || fail "the gateway ended with $?"
wait_resources "$before"
