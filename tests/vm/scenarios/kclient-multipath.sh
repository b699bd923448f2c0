#!/usr/bin/env bash
# vm: guests=2 nics=2 mtu=4500 time=600
# Kernel's client, our daemon: two paths under each policy, one cut under load
# and mended, at either end; a path removed and added under load.
. "$RNBD_SRCDIR/tests/vm/kclient.sh"
need losetup

if [ "$VM_ROLE" = b ]; then
	check loop modprobe loop
	truncate -s 32M "$tmp/disk"
	heartbeats=()
	! ours || heartbeats=(--heartbeat-interval 2000)
	serve --export "disk=$tmp/disk" "${heartbeats[@]}"
	barrier served
	# has PATHS SESSIONS, as guest a wants to see it.
	n=0
	while :; do
		n=$((n + 1))
		want=$(hear "want.$n")
		[ "$want" != end ] || break
		# shellcheck disable=SC2086  # paths and sessions
		daemon_has $want
		tell "had.$n" yes
	done
	stop_serving
	barrier end
	exit
fi

asked_b=0
server_has() { # PATHS SESSIONS
	asked_b=$((asked_b + 1))
	tell "want.$asked_b" "$1 $2"
	[ "$(hear "had.$asked_b")" = yes ]
}

sess=/sys/devices/virtual/rtrs-client/m
requests() { # ADDRESS: of the path there, as the client counts them
	local stats
	read -ra stats <"$(path_dir m "$1")/stats/rdma"
	echo $((stats[0] + stats[2]))
}

count_anew() {
	echo 1 >"$(path_dir m "$VM_PEER0")/stats/rdma"
	echo 1 >"$(path_dir m "$VM_PEER1")/stats/rdma"
}

both_used() { # WHEN: both paths moved requests since count_anew
	local a
	for a in "$VM_PEER0" "$VM_PEER1"; do
		[ "$(requests "$a")" -gt 20 ] || fail "$1: no requests to $a"
	done
}

# cut NIC, mend NIC: of guest $cable, which sees its carrier go. The other end
# notices by heartbeats that it misses.
cut() {
	ask_host link "$cable" "$1" down
	until_within 120 connected_paths m 1
	load_goes_on
}

mend() {
	local their=VM_PEER$1
	ask_host link "$cable" "$1" up
	reconnect m "${!their}"
	wait_paths m 2
	server_has 2 1
	load_goes_on
}

barrier served
map_device sessname=m device_path=disk
wait_paths m 2
server_has 2 1
say "two paths"
load_start --iodepth=2 --bsrange=4k-32k --size=1m
cable=a
for policy in round-robin min-inflight min-latency; do
	echo "$policy" >"$sess/mpath_policy"
	grep -q "^$policy" "$sess/mpath_policy" || fail "no policy $policy"
	count_anew
	load_goes_on
	# The latency is measured now and then, and only one path is the best.
	[ "$policy" = min-latency ] || both_used "$policy"
	# Of 6.1 one policy is cut: it has the same code for all.
	[ "$VM_RELEASE" = 6.12 ] || [ "$policy" = min-inflight ] || continue
	cut 1
	# Or else the path comes back while the server has its old self.
	[ "$policy" != min-latency ] || server_has 1 1
	say "$policy: cut, goes on"
	mend 1
	say "$policy: mended"
done
# The other path, at the other end: no carrier is seen to go by the client.
cable=b
cut 0
say "cut at the server, goes on"
mend 0
say "mended"

# Paths go and come by order.
echo round-robin >"$sess/mpath_policy"
for i in 0 1; do
	own=VM_ADDR$i their=VM_PEER$i
	echo 1 >"$(path_dir m "${!their}")/remove_path" || fail "remove_path"
	[ "$(path_states m)" = connected ] || fail "after remove_path: $(path_states m)"
	server_has 1 1
	load_goes_on
	echo "ip:${!own}@ip:${!their}" >"$sess/add_path" || fail "add_path"
	wait_paths m 2
	server_has 2 1
	count_anew
	load_goes_on
	both_used "after add_path"
	say "removed and added ${!their}"
done
refused "the same path twice" \
	bash -c "echo ip:$VM_ADDR0@ip:$VM_PEER0 >$sess/add_path"
say "refused the same path twice"
load_goes_on
load_stop
unmap_device
server_has 0 0
say "unmapped"

# One path to begin with.
map_device sessname=m device_path=disk "path=ip:$VM_ADDR0@ip:$VM_PEER0"
load_start --iodepth=2 --bsrange=4k-32k --size=1m
echo "ip:$VM_ADDR1@ip:$VM_PEER1" >"$sess/add_path" || fail "add_path"
wait_paths m 2
server_has 2 1
load_goes_on
load_stop
unmap_device
server_has 0 0
say "one path, another added"
# The modules stay: after cuts of a link their removal may wait for ever, for
# connections of which soft-RoCE lost the last word.
tell "want.$((asked_b + 1))" end
barrier end
