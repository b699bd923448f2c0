#!/usr/bin/env bash
# vm: guests=2 time=300
# What the kernel's client says to rnbd-gatewayd, and what that answers, agrees
# with the protocol: static keys and new ones, a second path, a reject.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
. "$RNBD_SRCDIR/tests/vm/wire/functions.sh"
need blkdiscard cmp

modes=(no yes)

if [ "$VM_ROLE" = b ]; then
	ip addr add 192.168.71.12/24 dev eth0
	truncate -s 64M "$tmp/disk"
	for i in "${!modes[@]}"; do
		gateway_listen=ip:0.0.0.0:1234 start_gateway "gw$i" \
			--export "disk=$tmp/disk" --export memory=memory:16M,ro \
			--always-invalidate "${modes[i]}"
		barrier "served.$i"
		barrier "finished.$i"
		pid=pid_gw$i
		stop "${!pid}"
	done
	exit
fi

sides=(--client "kernel-$VM_RELEASE" --server ours)
kinds=("CM REQ" "CM REP" "CM RTU" "CM DREQ" "CM DREP" INFO_REQ INFO_RSP
	SESS_INFO SESS_INFO_RSP OPEN OPEN_RSP CLOSE HB_MSG=8 HB_ACK=8 "IO READ=6"
	"IO WRITE=5" "IO FLUSH" "IO DISCARD" "answer to OPEN, errno -2"
	"CONN_RSP, reject")
[ "$VM_RELEASE" = 6.1 ] || kinds+=("IO WRITE_ZEROES")

ip addr add 192.168.71.11/24 dev eth0
for i in "${!modes[@]}"; do
	barrier "served.$i"
	record "keys$i"
	map_device "sessname=gw$i" device_path=disk \
		"path=ip:$VM_ADDR0@ip:$VM_PEER0" \
		path=ip:192.168.71.11@ip:192.168.71.12
	wait_paths "gw$i" 2
	block_load "$device"
	block_zero "$device"
	refused "a device that is not there" \
		map_device "sessname=gw$i" device_path=missing
	wait_heartbeats "keys$i" 8
	unmap_device
	session_gone "gw$i"
	refused "the same path twice" \
		map_device "sessname=twice$i" device_path=disk \
		"path=ip:$VM_ADDR0@ip:$VM_PEER0" "path=ip:$VM_ADDR0@ip:$VM_PEER0"
	session_gone "twice$i"
	keys=RKEY_RSP
	[ "${modes[i]}" = yes ] || keys=RKEY_RSP=0
	expecting "${kinds[@]}" "$keys"
	judge "keys$i" "${sides[@]}" "${expected[@]}"
	barrier "finished.$i"
done
unload
