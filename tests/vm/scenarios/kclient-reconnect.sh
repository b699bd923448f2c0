#!/usr/bin/env bash
# vm: mtu=4500 time=400
# Kernel's client, our daemon: the daemon ends, killed or in order, and comes
# back; the device closes, opens again and has its data. Unmapping under load.
. "$RNBD_SRCDIR/tests/vm/kclient.sh"

check loop modprobe loop
truncate -s 32M "$tmp/disk"
start() {
	serve --export "disk=$tmp/disk"
}
start
map_device sessname=r device_path=disk
dd if=/dev/urandom "of=$tmp/data" bs=1M count=8 status=none

# write_data: something new, at an offset that the load leaves alone.
write_data() {
	dd if=/dev/urandom "of=$tmp/data" bs=1M count=4 status=none
	check write dd "if=$tmp/data" "of=$device" bs=1M seek=16 oflag=direct \
		status=none
}

is_closed() {
	until_within 60 dev_state closed
	refused "reading a closed device" \
		dd "if=$device" of=/dev/null bs=4k count=1 iflag=direct \
		status=none
	grep -q "Input/output error" "$tmp/refused.log" ||
		fail "a closed device: $(cat "$tmp/refused.log")"
}

is_back() {
	until_within 60 dev_state open
	daemon_has 1 1
	device_holds "$tmp/data" 16M || fail "data after a restart"
	fio_verify "$device" --size=2m
}

# 1. In order, and the client comes back by itself.
write_data
stop_serving
is_closed
start
say "ended and started; the client waits"
until_within 100 dev_state open
is_back
say "back by itself"

# 2. Killed under load, and told to come back.
write_data
fio --name=load "--filename=$device" --direct=1 --ioengine=libaio --iodepth=16 \
	--rw=randwrite --bsrange=4k-112k --size=8m --time_based --runtime=300 \
	--minimal >"$tmp/load.log" 2>&1 &
load=$!
pids+=("$load")
reads_writes() { # AT_LEAST: requests, in the statistics of the path
	local stats
	read -ra stats <"$(path_dir r "$VM_ADDR0")/stats/rdma"
	[ $((stats[0] + stats[2])) -ge "$1" ]
}
echo 1 >"$(path_dir r "$VM_ADDR0")/stats/rdma"
until_within 60 reads_writes 200
if ours; then
	stop_serving KILL
else
	stop_serving
fi
! wait "$load" || fail "fio saw no error when its disk went"
is_closed
start
reconnect r "$VM_ADDR0"
is_back
say "back by hand"

# 3. In order and by hand, idle.
write_data
stop_serving
is_closed
start
reconnect r "$VM_ADDR0"
is_back

# 4. While it is away nothing comes back, and an unmap works.
stop_serving
is_closed
unmap_device
start
map_device sessname=r device_path=disk
device_holds "$tmp/data" 16M || fail "data after an unmap while away"
say "unmapped while away"

# 5. Unmap with I/O under way.
for round in 1 2; do
	fio --name=load "--filename=$device" --direct=1 --ioengine=libaio \
		--iodepth=32 --rw=randrw --bsrange=4k-112k --size=8m --time_based \
		--runtime=300 --minimal >"$tmp/load.log" 2>&1 &
	load=$!
	pids+=("$load")
	echo 1 >"$(path_dir r "$VM_ADDR0")/stats/rdma"
	until_within 60 reads_writes 100
	if unmap_device "$device" 2>"$tmp/unmap.err"; then
		fail "unmapped a device in use"
	fi
	grep -q "busy" "$tmp/unmap.err" || fail "unmap: $(cat "$tmp/unmap.err")"
	unmap_device "$device" force
	! wait "$load" || fail "fio saw no error when its disk went"
	daemon_has 0 0
	map_device sessname=r device_path=disk
	device_holds "$tmp/data" 16M || fail "data after a forced unmap $round"
done
fio_verify "$device"
unmap_device
daemon_has 0 0
stop_serving
unload
