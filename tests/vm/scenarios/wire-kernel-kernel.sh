#!/usr/bin/env bash
# vm: guests=2 build=no time=300
# What the kernel's client and server say to each other agrees with the
# protocol, field by field: new keys and static ones, IPv4 and IPv6, errors.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
. "$RNBD_SRCDIR/tests/vm/wire/functions.sh"
need blkdiscard losetup cmp fio

# What the server is loaded with in each session.
servers=(always_invalidate=1 always_invalidate=0
	"always_invalidate=1 sess_queue_depth=16")

if [ "$VM_ROLE" = b ]; then
	# Not 4096: the kernel's client flushes at a sector of all ones, which
	# the block layer of 6.12 finds unaligned then, and refuses.
	wire_disks 512
	ip -6 addr add fd71::12/64 dev eth0 nodad
	for i in "${!servers[@]}"; do
		# shellcheck disable=SC2086  # words are meant
		load_server ${servers[i]}
		barrier "served.$i"
		if [ "$i" = 0 ]; then
			barrier opened
			echo 1 >/sys/class/rnbd-server/ctl/devices/ram0/sessions/keys/force_close
			barrier closed
		fi
		barrier "finished.$i"
		unload
	done
	exit
fi

sides=(--client kernel "--server=kernel-$VM_RELEASE")
kinds=("CM REQ" "CM REP" "CM RTU" "CM DREQ" "CM DREP" INFO_REQ INFO_RSP
	SESS_INFO SESS_INFO_RSP OPEN OPEN_RSP CLOSE HB_MSG=4 HB_ACK=4 "IO READ=6"
	"IO WRITE=5" "IO FLUSH" "IO DISCARD" "answer to OPEN, errno -2")
# An older server offers no such thing, and its client knows it.
if [ "$VM_RELEASE" = 6.1 ]; then
	kinds+=("IO WRITE_ZEROES=0")
else
	kinds+=("IO WRITE_ZEROES")
fi

barrier served.0
record keys
map_device sessname=keys device_path=/dev/loop0
loop=$device
block_load "$loop"
block_zero "$loop"
map_device sessname=keys device_path=/dev/nullb0 access_mode=migration
null=$device
block_load "$null"
check "discard of $null" blkdiscard -o 1M -l 512K "$null"
refused "a device that is not there" \
	map_device sessname=keys device_path=/dev/missing
refused "a file" map_device sessname=keys device_path=/etc/passwd
map_device sessname=keys access_mode=ro
ram=$device
barrier opened
barrier closed
refused "a read of what the server closed" \
	dd "if=$ram" of=/dev/null bs=4k count=1 skip=1000 iflag=direct status=none
wait_heartbeats keys 4
unmap_device "$ram"
unmap_device "$null"
unmap_device "$loop"
session_gone keys
expecting "${kinds[@]}" RKEY_RSP "answer to IO READ, errno -107" \
	"answer to OPEN, errno -15"
judge keys "${sides[@]}" "${expected[@]}"
barrier finished.0

# Static keys, and two paths, by IPv6.
barrier served.1
ip -6 addr add fd71::11/64 dev eth0 nodad
record static
map_device sessname=static device_path=/dev/loop0 \
	"path=ip:$VM_ADDR6_0@ip:$VM_PEER6_0" path=ip:fd71::11@ip:fd71::12
wait_paths static 2
block_load "$device"
block_zero "$device"
refused "a device that is not there" \
	map_device sessname=static device_path=/dev/missing
wait_heartbeats static 8
unmap_device
session_gone static
expecting "${kinds[@]}" RKEY_RSP=0
judge static "${sides[@]}" "${expected[@]}"
barrier finished.1

# A second path that the server rejects, and with it the session: the same
# addresses, or those of another family, which a kernel server takes for the
# same. Then few chunks, so that the list of them is short.
barrier served.2
record rejected
refused "the same path twice" \
	map_device sessname=twice "path=ip:$VM_ADDR0@ip:$VM_PEER0" \
	"path=ip:$VM_ADDR0@ip:$VM_PEER0"
session_gone twice
refused "paths of two families" \
	map_device sessname=families "path=ip:$VM_ADDR0@ip:$VM_PEER0" \
	"path=ip:$VM_ADDR6_0@ip:$VM_PEER6_0"
session_gone families
map_device sessname=few device_path=/dev/loop0
block_load "$device"
unmap_device
session_gone few
expecting "CONN_RSP, reject=2" "IO READ" "IO WRITE" RKEY_RSP
judge rejected "${sides[@]}" "${expected[@]}"

# A connection for polled I/O behind those with interrupts: it is connected, and
# no request takes it.
record polled
allow_dmesg 'block/bio.c:.*bio_put' \
	"6.1: the reply to polled I/O comes by interrupt, its bio is a polled one"
map_device sessname=polled device_path=/dev/loop0 nr_poll_queues=1
block_load "$device"
check "polled I/O" timeout 60 fio --name=polled "--filename=$device" \
	--ioengine=io_uring --hipri=1 --direct=1 --rw=randrw --bs=4k \
	--size=256k --minimal >"$tmp/fio.log"
unmap_device
session_gone polled
expecting "CM REQ=3" "IO READ=20" "IO WRITE=20"
judge polled "${sides[@]}" "${expected[@]}"
cids=$(sed -nE '/^IO READ/,/^[^ ]/s/^ +cid +[0-9]+ right +//p' "$tmp/polled.report")
[[ $cids == "1 x"* && $cids != *,* ]] || fail "polled I/O is on cids $cids"
barrier finished.2
unload
