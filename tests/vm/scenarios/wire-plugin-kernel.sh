#!/usr/bin/env bash
# vm: guests=2 time=300
# What our plugin says to the kernel's server, and what that answers, agrees
# with the protocol: new keys and static ones, with and without NEED_INVAL.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
. "$RNBD_SRCDIR/tests/vm/wire/functions.sh"
need nbdkit python3 losetup

if [ "$VM_ROLE" = b ]; then
	# Blocks of 4096: a flush must not look unaligned there.
	wire_disks 4096
	for i in 0 1; do
		load_server "always_invalidate=$i"
		barrier "served.$i"
		barrier "finished.$i"
		unload
	done
	exit
fi

# session NAME DEVICE PARAMETER...: every kind of I/O in a session of its own.
session() {
	start_nbdkit "$1" "$RNBD_PLUGIN" "sessname=$1" "device_path=$2" \
		"${wire_patience[@]}" "${@:3}"
	local uri=uri_$1 pid=pid_$1
	check "I/O of $1" nbd_load "${!uri}"
	[ "$beats" = 0 ] || wait_heartbeats "$record" "$beats"
	stop_nbdkit "${!pid}"
}

stop_nbdkit() {
	kill "$1"
	wait_gone "$1"
}

sides=(--client ours "--server=kernel-$VM_RELEASE")
kinds=("CM REQ" "CM REP" "CM RTU" "CM DREQ" "CM DREP" INFO_REQ INFO_RSP
	SESS_INFO SESS_INFO_RSP OPEN OPEN_RSP CLOSE HB_MSG=2 HB_ACK=2 "IO READ=6"
	"IO WRITE=6" "IO FLUSH" "IO DISCARD" "answer to OPEN, errno -2")

for i in 0 1; do
	barrier "served.$i"
	record=keys$i
	record "$record"
	path=ip:$VM_PEER0
	[ "$i" = 0 ] || path=ip:$VM_PEER6_0
	beats=0
	session "block$i" /dev/nullb0 "path=$path"
	session "inval$i" /dev/loop0 "path=$path" need-inval=yes
	beats=4
	session "plain$i" /dev/loop0 "path=$path"
	# Why not, it asks the server then; a kernel cannot say.
	refused "a device that is not there" run_nbdkit true "$RNBD_PLUGIN" \
		"sessname=missing$i" device_path=/dev/missing "path=$path"
	keys=RKEY_RSP
	[ "$i" = 1 ] || keys=RKEY_RSP=0
	expecting "${kinds[@]}" "$keys" "reply SEND_WITH_INV" "EXPLAIN"
	judge "$record" "${sides[@]}" "${expected[@]}"
	barrier "finished.$i"
done
