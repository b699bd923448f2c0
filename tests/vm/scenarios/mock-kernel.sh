#!/usr/bin/env bash
# vm: time=240
# The mock server, while it is honest, serves the kernel's client: it speaks right.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need fio
port=5000
for mode in honest honest-new-rkey; do
	port=$((port + 1))
	mkfifo "$tmp/$mode"
	"$RNBD_BUILD/tests/vm/mock-server" "$VM_ADDR0" $port $mode \
		>"$tmp/$mode" 2>"$tmp/$mode.log" &
	pids+=($!)
	server=$!
	read -r -t 60 _ <"$tmp/$mode" || fail "the mock server does not listen"
	map_device sessname=$mode dest_port=$port device_path=disk
	fio_verify "$device" --size=4m --loops=3 --bsrange=4k-112k
	dd if="$device" of=/dev/null bs=64k iflag=direct status=none ||
		fail "$device cannot be read"
	unmap_device
	stop $server || fail "the mock server ended with $?"
	[ ! -s "$tmp/$mode.log" ] || fail "the mock server had to complain"
done
