#!/usr/bin/env bash
# vm: time=300
# Kernel's client, our daemon: a hundred times mapped and unmapped, after which
# memory, file descriptors and RDMA resources are what they were.
. "$RNBD_SRCDIR/tests/vm/kclient.sh"
need rdma

check loop modprobe loop
truncate -s 16M "$tmp/disk"
serve --export "disk=$tmp/disk" --export mem=memory:16M

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

cycles 20
resources >"$tmp/before"
! ours || grep -q '^ctx [1-9]' "$tmp/before" || fail "no RDMA device in use"
rss0=$(rss)
cat "$tmp/before"
cycles 100
same_resources() {
	resources >"$tmp/after"
	diff "$tmp/before" "$tmp/after" >"$tmp/resources.log"
}
until_within 20 same_resources
if ours; then
	say "resident: $rss0 KiB before, $(rss) after"
	[ "$(rss)" -lt $((rss0 + 1024)) ] ||
		fail "grew from $rss0 to $(rss) KiB in 100 cycles"
fi
stop_serving
unload
