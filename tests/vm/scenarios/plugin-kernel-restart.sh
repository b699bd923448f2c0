#!/usr/bin/env bash
# vm: time=240
# The kernel's server modules are unloaded and loaded again under I/O of the
# plugin: nobody sees an error. Then nbdkit is ended under I/O.
. "$RNBD_SRCDIR/tests/vm/plugin/functions.sh"
loop_disk d 40

# again KEYS: twice away and back.
again() {
	local round
	load_server "always_invalidate=$1"
	attach n sessname=again "path=ip:$VM_PEER0" "device_path=$disk_d" \
		io-timeout=60 reconnect-delay=0.2
	load "$uri_n" 300
	for round in 1 2; do
		wait_load 3
		unload
		say "unloaded, $round"
		load_server "always_invalidate=$1"
	done
	wait_load 3
	end_load
	nbdcopy "$uri_n" "$tmp/back" || fail "nbdcopy after the restarts"
	same "$tmp/back" "$disk_d"
	detach n
	unload
	say "always_invalidate=$1: no error"
}
again Y
again N

# Away for longer than io-timeout is an error, and one that ends.
load_server
attach short sessname=short "path=ip:$VM_PEER0" "device_path=$disk_d" \
	io-timeout=1 reconnect-delay=0.2
mkfifo "$tmp/go"
nbdsh -u "$uri_short" -c - <<-EOF &
	h.pread(4096, 0)
	open("$tmp/was_read", "w").write("x")
	open("$tmp/go").read()
	try:
	    h.pread(4096, 0)
	    assert False, "a read without a server succeeded"
	except nbd.Error as e:
	    assert e.errno == "EIO", e.errno
EOF
reader=$!
pids+=("$reader")
until_true test -s "$tmp/was_read"
unload
: >"$tmp/go"
wait "$reader" || fail "io-timeout=1: the NBD client"
load_server
detach short
say "io-timeout"

# Ended under I/O.
before=$(resources)
attach n sessname=end "path=ip:$VM_PEER0" "device_path=$disk_d"
load "$uri_n" 300
wait_load 3
detach n
! wait "$load" || fail "fio ended well, without its disk"
wait_resources "$before"
say "ended under I/O"
unload
