#!/usr/bin/env bash
# vm: nics=2 time=240
# Paths of the plugin to the kernel's server: every way to write an address, few
# and many connections, two paths of which one is ended under I/O by either end,
# and cut.
. "$RNBD_SRCDIR/tests/vm/plugin/functions.sh"
plugindir=$(nbdkit --dump-config | sed -n 's/^plugindir=//p')
mkdir -p "$plugindir"
cp "$RNBD_PLUGIN" "$plugindir/nbdkit-rnbd-plugin.so"
ram_disk 32
image 32
load_server
before=$(resources)

# quick PARAMETER...: as in the kernel's quick start, and a block each way.
quick() {
	# shellcheck disable=SC2016  # the shell of nbdkit knows $uri
	timeout 60 nbdkit -U - rnbd sessname=blya "$@" device_path=/dev/ram0 \
		--run 'nbdsh -u "$uri" -c "b = bytes(range(256)) * 2" \
			-c "h.pwrite(b, 512)" -c "assert h.pread(512, 512) == b"' ||
		fail "nbdkit rnbd sessname=blya $* device_path=/dev/ram0"
}
link_local=$(ip -6 -o addr show dev eth0 scope link | sed 's/.*inet6 \([^/]*\).*/\1/')
quick "path=ip:$VM_PEER0"
quick "path=$VM_PEER0"
quick "path=ip:$VM_ADDR0@ip:$VM_PEER0"
quick "path=ip:$VM_ADDR0,ip:$VM_PEER0"
quick "path=ip:$VM_PEER6_0"
quick "path=ip:$VM_ADDR6_0@ip:[$VM_PEER6_0]:1234"
quick "path=ip:$link_local%eth0"
quick dest_port=1234 "path=ip:$VM_PEER1"
told "connection refused" sessname=blya dest_port=1235 "path=ip:$VM_PEER0" \
	device_path=/dev/ram0
told "no RDMA device of this machine leads to '127.0.0.1'; write tcp:127.0.0.1:1234" \
	sessname=blya path=127.0.0.1 device_path=/dev/ram0
told "ip:" sessname=blya "path=ip:$VM_PEER0@tcp:$VM_PEER0" device_path=/dev/ram0
say "addresses"

# The fewest connections, and many.
for n in 2 3 33; do
	attach n "sessname=c$n" "path=ip:$VM_PEER0" device_path=/dev/ram0 \
		"connections=$n"
	fio_nbd "$uri_n" --bsrange=4k-256k --iodepth=16 --size=4m --numjobs=4 \
		--offset_increment=4m
	detach n
	wait_resources "$before"
	say "$n connections"
done

# Two paths; one is cut under I/O.
loop_disk d 40
attach n sessname=two "path=ip:$VM_PEER0" "path=ip:$VM_PEER1" \
	"device_path=$disk_d" reconnect-delay=0.5 "control=$tmp/control"
# server_paths N: so many has the server.
server_paths() {
	[ "$(find /sys/class/rtrs-server/two/paths/ -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)" = "$1" ]
}
until_true server_paths 2
load "$uri_n" 300
wait_load 3
# Ended in order: what was out goes by the other path when the server says that
# its disk is done with it, and does not wait for the end of a time.
for path in "$VM_PEER0" "$VM_PEER1" "$VM_PEER0"; do
	check "reconnect $path" timeout 60 "$RNBD_CTL" client \
		--socket "$tmp/control" path reconnect "ip:$path"
	wait_load 1
	until_true server_paths 2
	for dir in /sys/class/rtrs-server/two/paths/*"$path"*; do
		echo 1 >"$dir/disconnect"
	done
	until_true server_paths 2
	wait_load 1
done
! grep "nothing confirms" "$tmp/syslog.log" || fail "no answer about a path"
say "paths that end in order"
ip link set eth1 down
say "eth1 down"
until_true server_paths 1
wait_load 3
# It is not mended: of a link of one machine that was cut, soft-RoCE's
# management queue may be stuck for good, for kernel peers as for us.
# kclient-multipath does that with two guests. Nor are the modules unloaded,
# which may wait for that queue.
end_load
nbdcopy "$uri_n" "$tmp/back" || fail "nbdcopy by one path"
same "$tmp/back" "$disk_d"
detach n
until_true server_paths 0
