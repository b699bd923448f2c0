#!/usr/bin/env bash
# vm: mem=2048 time=300
# Kernel's client, our daemon: access modes and their conflicts, wrong names: the
# same errors as from the kernel's server, which is asked the same.
. "$RNBD_SRCDIR/tests/vm/kclient.sh"
need losetup nbdkit nbdsh

check loop modprobe loop
truncate -s 16M "$tmp/one" "$tmp/two"
check losetup losetup /dev/loop0 "$tmp/one"
check "losetup -r" losetup -r /dev/loop1 "$tmp/two"
mkdir /dev/disks /dev/disks/folder
# Nodes, not links: the daemon follows none that lead out of the search path.
mknod /dev/disks/one b 7 0
mknod /dev/disks/two b 7 1
mknod /dev/disks/null c 1 3

# attempt LABEL OPTION=VALUE...: a line on how a map ended; the device stays.
attempt() {
	local label=$1 text
	shift
	if map_device "dest_port=$at" "$@" 2>"$tmp/text"; then
		text="ok, ro=$(blockdev --getro "$device")"
		devices[$label]=$device
	else
		text=$(sed 's/.*: //' "$tmp/text")
	fi
	echo "$label: $text"
}

leave() { # LABEL...
	local label
	for label in "$@"; do
		unmap_device "${devices[$label]}"
		unset "devices[$label]"
	done
}

long=$(printf '%0254d' 0)
conversation() { # PORT
	local at=$1
	declare -A devices
	# Who may have a disk: one writer, two for a migration, any readers.
	attempt first-rw sessname=s1 device_path=one
	attempt rw-again sessname=s2 device_path=one
	attempt migration sessname=s3 device_path=one access_mode=migration
	attempt third sessname=s4 device_path=one access_mode=migration
	attempt reader sessname=s5 device_path=one access_mode=ro
	attempt rw-again sessname=s4 device_path=one
	# Both writers write, and each reads what the other wrote.
	for label in first-rw migration; do
		device=${devices[$label]}
		head -c 1M /dev/urandom >"$tmp/data"
		dd "if=$tmp/data" "of=$device" bs=128k oflag=direct status=none ||
			echo "$label: write failed"
		for device in "${devices[@]}"; do
			device_holds "$tmp/data" || echo "$label: wrong data"
		done
	done
	cmp -n $((1 << 20)) "$tmp/data" "$tmp/one" || echo "wrong data on the disk"
	device=${devices[reader]}
	! dd "if=$tmp/data" "of=$device" bs=4k count=1 oflag=direct \
		status=none 2>&1 || echo "reader: wrote"
	leave first-rw
	attempt rw-again sessname=s2 device_path=one
	attempt migration-again sessname=s4 device_path=one access_mode=migration
	leave migration migration-again reader
	attempt rw-alone sessname=s2 device_path=one
	leave rw-alone

	# Disks that can only be read.
	attempt read-only-rw sessname=s1 device_path=two
	attempt read-only-migration sessname=s1 device_path=two access_mode=migration
	attempt read-only sessname=s1 device_path=two access_mode=ro
	leave read-only

	# Names, in a session that has a disk; and two that are all there is.
	attempt slashes sessname=s1 device_path=//one
	for name in missing folder null folder/missing one/missing ../one \
		folder/../one a..b .. . / /folder/ "$long" "0$long" "00$long"; do
		attempt "${#name} ${name:0:20}" sessname=s1 "device_path=$name"
	done
	leave slashes
	attempt "alone, missing" sessname=s1 device_path=missing
	attempt "alone, .." sessname=s1 device_path=../one
	for name in a.b a/b . "$long"; do
		attempt "session ${name:0:10}" "sessname=$name" device_path=one \
			access_mode=ro
	done
	leave "session 0000000000"
	# A name that another client has: this one is nbdkit's.
	start_nbdkit "taken$at" "$RNBD_PLUGIN" sessname=taken "dest_port=$at" \
		"path=ip:$VM_ADDR0" device_path=one access_mode=ro
	local uri=uri_taken$at pid=pid_taken$at
	hold "${!uri}"
	attempt "taken name" sessname=taken device_path=one access_mode=ro
	kill "${pids[-1]}" "${!pid}"
	wait_gone "${!pid}"
	attempt "free name" sessname=taken device_path=one access_mode=ro
	leave "free name"
	attempt "bad mode" sessname=s6 device_path=one access_mode=wr
}

# One disk by two names in a session. The kernel's server is not asked: it has
# the same answer by an accident of its sysfs, which complains, and then the disk
# stays taken.
two_names() { # PORT
	local at=$1
	declare -A devices
	attempt one-name sessname=s7 device_path=one access_mode=migration
	attempt other-name sessname=s7 device_path=./one access_mode=migration
	attempt other-name sessname=s7 device_path=.//one access_mode=ro
	attempt other-session sessname=s8 device_path=./one access_mode=ro
	leave one-name other-session
}

if ours; then
	serve --search-path /dev/disks
	two_names 1234 >"$tmp/names.log"
	check "two names" diff "$tmp/names.log" - <<-'END'
		one-name: ok, ro=0
		other-name: File exists
		other-name: File exists
		other-session: ok, ro=1
	END
	conversation 1234 >"$tmp/ours.log"
	daemon_has 0 0
	say "the daemon:"
	cat "$tmp/ours.log"
fi
load_server port_nr=1235 dev_search_path=/dev/disks
conversation 1235 >"$tmp/kernel.log"
say "the kernel's server: done"
if ours; then
	check "the same answers" diff "$tmp/kernel.log" "$tmp/ours.log"
	stop_serving
else
	cat "$tmp/kernel.log"
fi
# The other way round: answers that are known, lest both be wrong.
while read -r line; do
	grep -qxF "$line" "$tmp/kernel.log" || fail "the kernel does not say '$line'"
done <<'END'
first-rw: ok, ro=0
rw-again: Operation not permitted
migration: ok, ro=0
third: Operation not permitted
reader: ok, ro=1
migration-again: ok, ro=0
rw-alone: ok, ro=0
read-only-rw: Permission denied
read-only: ok, ro=1
7 missing: No such file or directory
4 null: Block device required
4 a..b: Invalid argument
taken name: Connection reset by peer
free name: ok, ro=1
END
unload
