#!/usr/bin/env bash
# vm: time=600 suite=6.1
# Sessions over RDMA that come and go, and maps of one of them, with I/O: the
# daemon's descriptors, resident memory and RDMA resources, and the client's
# too, are what they were.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need rdma
churn=$RNBD_BUILD/tests/faults/churn
[ -x "$churn" ] || fail "no $churn"
[ "${RNBD_SANITIZER:-}" = "" ] || skip "sanitizers keep what was freed"

# As in kclient-cycles: what is resident is what is in use.
echo madvise >/sys/kernel/mm/transparent_hugepage/enabled
export MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=8192 MALLOC_TOP_PAD_=0 \
	MALLOC_TRIM_THRESHOLD_=0
truncate -s 1M "$tmp/disk"
before=$(rdma resource show)
gateway_listen=ip:$VM_ADDR0 start_gateway gw --workers 1 --queue-depth 16 \
	--export m=memory:1M --export "f=file:$tmp/disk"
"$churn" "${VM_ARG_SESSIONS:-300}" "$path_gw" "$pid_gw" "${VM_ARG_MAPS:-1000}" ||
	fail "something grew"
stop "$pid_gw" || fail "the gateway ended with $?"
[ "$(rdma resource show)" = "$before" ] ||
	fail "left on the device: $(rdma resource show)"
