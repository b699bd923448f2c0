#!/usr/bin/env bash
# vm: time=300
# Our own raw client breaks rules at the kernel's server: those that it survives.
# It shows that the client speaks right, and what a kernel answers.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
check brd modprobe brd rd_nr=3 rd_size=8192 max_part=0
until_true test -b /dev/ram2
load_server sess_queue_depth=48
timeout 280 "$RNBD_BUILD/tests/vm/hostile-client" --kernel "$VM_ADDR0" \
	/dev/ram0 /dev/ram1 /dev/ram2 || fail "an answer was not as expected"
