#!/usr/bin/env bash
# vm: mtu=4500 time=300
# Kernel's client, our daemon: queue depths and chunk sizes other than the
# default, keys renewed with each request, addresses of IPv6, polled I/O.
. "$RNBD_SRCDIR/tests/vm/kclient.sh"

check loop modprobe loop
truncate -s 32M "$tmp/disk"

# verify DEPTH CHUNK [FIO_OPTION]...: the device is as the server was told.
verify() {
	local depth=$1 chunk=$2 queue=/sys/block/${device##*/}
	shift 2
	[ "$(cat "$queue/mq/0/nr_tags")" = "$depth" ] ||
		fail "queue depth $(cat "$queue/mq/0/nr_tags"), not $depth"
	# The client's own limits are 128 segments of a page, at both ends odd.
	local kib=$((chunk / 1024 - 4)) max
	max=$(cat "$queue/queue/max_hw_sectors_kb")
	[ "$max" = $kib ] || { [ $kib -gt 512 ] && [ "$max" -le $kib ]; } ||
		fail "requests of up to $max KiB, not $kib"
	fio_verify "$device" --rw=randrw --bsrange=4k-512k --iodepth=32 \
		--size=8m "$@"
}

# Not 1: the kernel's client waits for ever then, when it looks for partitions.
while read -r depth chunk; do
	say "$depth $chunk"
	serve --queue-depth "$depth" --chunk-size "$chunk" \
		--export "disk=$tmp/disk"
	map_device device_path=disk
	verify "$depth" "$chunk"
	unmap_device
	daemon_has 0 0
	stop_serving
	say "queue depth $depth, chunk size $chunk"
done <<'END'
2 8192
32 1048576
300 131072
1024 65536
END

# A key is good for one request.
serve --always-invalidate yes --export "disk=$tmp/disk" --export mem=memory:32M
for disk in disk mem; do
	map_device device_path=$disk
	verify 512 131072 --iodepth=1 --size=2m
	verify 512 131072
	verify 512 131072 --bs=4k --bsrange=4k-4k --size=4m
	mkfs_check "$device" 4
	unmap_device
done
daemon_has 0 0
stop_serving
say "always-invalidate: done"

# IPv6, global and link-local.
serve --export "disk=$tmp/disk"
local6=$(ip -6 -o addr show dev eth0 scope link)
local6=${local6#*inet6 }
local6=${local6%%/*}%eth0
for addr in "$VM_ADDR6_0" "$local6"; do
	map_device device_path=disk "path=ip:$addr@ip:$addr"
	verify 512 131072
	unmap_device
	say "$addr: done"
done
# Connections for polled I/O, behind those with interrupts: for the server all
# are alike.
allow_dmesg 'block/bio.c:.*bio_put' \
	"6.1: the reply to polled I/O comes by interrupt, its bio is a polled one"
map_device device_path=disk nr_poll_queues=2
verify 512 131072
check "polled I/O" timeout 60 fio --name=polled "--filename=$device" \
	--ioengine=io_uring --hipri=1 --direct=1 --rw=randrw --bs=4k \
	--size=256k --verify=crc32c --minimal >"$tmp/fio.log"
unmap_device
say "polled I/O: done"
daemon_has 0 0
stop_serving
unload
