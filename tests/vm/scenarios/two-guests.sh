#!/usr/bin/env bash
# vm: guests=2 nics=2 mtu=9000 build=no time=240
# The kernel's client in one guest, its server in the other: a cable is pulled
# under I/O, the other path carries on, and the pulled one comes back.
. "$RNBD_SRCDIR/tests/vm/functions.sh"

if [ "$VM_ROLE" = b ]; then
	ram_disk 64
	load_server
	barrier served
	barrier finished
	exit
fi

need fio
barrier served
ask_host pcap a 0 first
map_device sessname=pair
wait_paths pair 2
say "mapped by both paths"
fio_verify "$device" --size=4m --bsrange=4k-64k
ask_host pcap-end a 0
[ "$(stat -c %s /run/vm/first.pcap)" -gt 1000000 ] || fail "the record has no frames"

timeout 120 fio --name=cut "--filename=$device" --direct=1 --ioengine=libaio \
	--iodepth=8 --rw=randwrite --bs=4k --size=8m --time_based --runtime=12 \
	--verify=crc32c --minimal >"$tmp/cut.log" 2>&1 &
fio=$!
until_true test -s "/sys/block/${device##*/}/stat"
ask_host link a 1 down
until_true connected_paths pair 1
say "one path is left"
check "I/O while the cable is pulled" wait $fio
ask_host link a 1 up
for p in /sys/devices/virtual/rtrs-client/pair/paths/*; do
	[ "$(cat "$p/state")" != connected ] || continue
	until_true sh -c "echo 1 >$p/reconnect 2>/dev/null"
done
wait_paths pair 2
say "both are back"
unmap_device
unload
barrier finished
