#!/usr/bin/env bash
# vm: time=500
# Kernel's client, our daemon: a hundred times mapped and unmapped, after which
# memory, file descriptors and RDMA resources are what they were.
. "$RNBD_SRCDIR/tests/vm/kclient.sh"
need rdma

# Where nobody asks for them, huge pages come at a time of the kernel's choice:
# one in the memory of the export "mem" makes a MiB more resident than is used.
echo madvise >/sys/kernel/mm/transparent_hugepage/enabled

check loop modprobe loop
truncate -s 16M "$tmp/disk"
# One worker: each takes a descriptor for a device when its first session comes,
# and which one gets a session is its load's matter.
# And malloc returns what is free: a leak would otherwise fill its holes first.
MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=8192 MALLOC_TOP_PAD_=0 \
	MALLOC_TRIM_THRESHOLD_=0 serve --workers 1 --export "disk=$tmp/disk" --export mem=memory:16M

rss() {
	ours || return 0
	awk '/^VmRSS/ { print $2 }' "/proc/$pid_gw/status"
}

# Of the daemon; the kernel's client keeps a pool of its own that grows.
resources() {
	local kind
	if ! ours; then
		rdma resource show
		return
	fi
	for kind in pd cq qp cm_id mr ctx srq; do
		echo "$kind $(rdma resource show $kind |
			grep -c "pid $pid_gw comm" || :)"
	done
	find "/proc/$pid_gw/fd" -type l -printf x | wc -c
	find "/proc/$pid_gw/task" -maxdepth 1 -printf x | wc -c
}

# cycles N: every other session has two devices, and every fourth is used.
cycles() {
	local i second
	for ((i = 0; i < $1; i++)); do
		[ $((i % 20)) != 0 ] || say "cycle $i: $(rss) KiB resident"
		map_device sessname=c device_path=disk
		if [ $((i % 2)) = 1 ]; then
			second=$device
			map_device sessname=c device_path=mem
			unmap_device "$second"
		fi
		[ $((i % 4)) != 3 ] ||
			check write dd if=/dev/urandom "of=$device" bs=128k count=8 \
				oflag=direct status=none
		unmap_device
	done
	daemon_has 0 0
}

# What is there once and for all comes with the first cycles.
cycles 20
resources >"$tmp/before"
! ours || grep -q '^ctx [1-9]' "$tmp/before" || fail "no RDMA device in use"
cat "$tmp/before"
resident=("$(rss)")
for half in 1 2; do
	cycles 40
	resident[half]=$(rss)
done
same_resources() {
	resources >"$tmp/after"
	diff "$tmp/before" "$tmp/after" >"$tmp/resources.log"
}
until_within 60 same_resources
if ours; then
	first=$((resident[1] - resident[0])) second=$((resident[2] - resident[1]))
	say "resident: ${resident[*]} KiB, after 20, 60 and 100 cycles"
	# A leak grows all the time: 40 KiB in each half are 1 KiB a cycle. What
	# comes once, such as another arena of malloc's, is in one of them.
	if [ $first -gt 40 ] && [ $second -gt 40 ]; then
		fail "grew by $first and then $second KiB in 40 cycles each"
	fi
	[ $((first + second)) -lt 1024 ] ||
		fail "grew from ${resident[0]} to ${resident[2]} KiB in 80 cycles"
fi
stop_serving
unload
