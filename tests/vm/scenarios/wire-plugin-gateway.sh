#!/usr/bin/env bash
# vm: guests=2 time=240
# What our plugin and rnbd-gatewayd say to each other agrees with the protocol:
# static keys and new ones, with and without NEED_INVAL.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
. "$RNBD_SRCDIR/tests/vm/wire/functions.sh"
need nbdkit python3

modes=(no yes)

if [ "$VM_ROLE" = b ]; then
	truncate -s 64M "$tmp/disk"
	for i in "${!modes[@]}"; do
		gateway_listen=ip:0.0.0.0:1234 start_gateway "gw$i" \
			--export "disk=$tmp/disk" \
			--always-invalidate "${modes[i]}"
		barrier "served.$i"
		barrier "finished.$i"
		pid=pid_gw$i
		stop "${!pid}"
	done
	exit
fi

for i in "${!modes[@]}"; do
	barrier "served.$i"
	record "keys$i"
	params=("$RNBD_PLUGIN" device_path=disk "path=ip:$VM_PEER0"
		"${wire_patience[@]}")
	start_nbdkit plain "${params[@]}" "sessname=plain$i"
	start_nbdkit inval "${params[@]}" "sessname=inval$i" need-inval=yes \
		access_mode=migration zero=trust
	check "I/O" nbd_load "${uri_plain:?}"
	check "I/O with NEED_INVAL" nbd_load "${uri_inval:?}"
	wait_heartbeats "keys$i" 4
	for pid in "${pid_plain:?}" "${pid_inval:?}"; do
		kill "$pid"
		wait_gone "$pid"
	done
	keys=RKEY_RSP
	[ "${modes[i]}" = yes ] || keys=RKEY_RSP=0
	expecting "CM REQ" "CM REP" "CM DREQ" "CM DREP" INFO_REQ INFO_RSP \
		SESS_INFO OPEN CLOSE HB_MSG=4 HB_ACK=4 "IO READ=6" "IO WRITE=6" \
		"IO FLUSH" "IO DISCARD" "IO WRITE_ZEROES" \
		"reply SEND_WITH_INV" "$keys"
	judge "keys$i" --client ours --server ours "${expected[@]}"
	barrier "finished.$i"
done
