# shellcheck shell=bash
# Sourced by every scenario, in the guest. What the integration tests have
# (start_gateway, start_nbdkit, stop, until_true, wait_log, ...) is here too.
. "$RNBD_SRCDIR/tests/integration/functions.sh"

# As that of the integration tests; an emulated machine takes its time.
until_true() {
	local end=$((SECONDS + 180))
	until "$@"; do
		[ $SECONDS -lt $end ] || fail "waited in vain: $*"
		sleep 0.02
	done
}

# need PROGRAM...
need() {
	local p
	for p in "$@"; do
		requires "$p"
	done
}

# check WHAT COMMAND...: the command must succeed.
check() {
	local what=$1
	shift
	"$@" || fail "$what: '$*' ended with $?"
}

# refused WHAT COMMAND...: the command must fail; what it says is refused.log.
refused() {
	local what=$1
	shift
	! "$@" 2>"$tmp/refused.log" || fail "$what: '$*' succeeded"
}

# say WORDS...: where the scenario is, with the seconds since boot.
say() {
	local up
	read -r up _ </proc/uptime
	echo "[$up $VM_ROLE] $*"
}

# allow_dmesg PATTERN REASON: the scenario brings this message about.
allow_dmesg() {
	[ $# = 2 ] || fail "allow_dmesg needs a pattern and a reason"
	printf '# %s\n%s\n' "$2" "$1" >>"/run/vm/allow.$VM_ROLE"
}

in_dmesg() {
	grep -qE "$1" <(dmesg)
}

# expect_dmesg PATTERN: until the kernel has said so.
expect_dmesg() {
	until_true in_dmesg "$1"
}

if [ "$VM_ROLE" = a ]; then other_guest=b; else other_guest=a; fi
readonly other_guest

# Waits for a file that the other guest or the host makes. The scenario's time
# limit ends it at the latest, the end of the other guest at once.
await() {
	until [ -e "/run/vm/$1" ]; do
		if [ -e "/run/vm/ended.$other_guest" ] && [ ! -e "/run/vm/$1" ]; then
			fail "guest $other_guest has ended, and left no $1"
		fi
		sleep 0.05
	done
}

# barrier NAME: both guests pass it together.
barrier() {
	: >"/run/vm/barrier.$1.$VM_ROLE"
	await "barrier.$1.$other_guest"
}

# tell NAME VALUE: to the other guest, which gets it by "hear NAME".
tell() {
	echo "$2" >"/run/vm/new.$VM_ROLE"
	mv "/run/vm/new.$VM_ROLE" "/run/vm/told.$1"
}

hear() {
	await "told.$1"
	cat "/run/vm/told.$1"
}

# ask_host REQUEST...: see monitor.sh for the requests.
asked=0
ask_host() {
	local id answer
	asked=$((asked + 1))
	id=$VM_ROLE.$BASHPID.$asked
	echo "$*" >"/run/vm/new.$id"
	mv "/run/vm/new.$id" "/run/vm/ask.$id"
	until_true test -e "/run/vm/answer.$id"
	answer=$(cat "/run/vm/answer.$id")
	[ "$answer" = ok ] || fail "ask_host $*: $answer"
}

# load_server [PARAMETER=VALUE]...: of rtrs-server and rnbd-server.
load_server() {
	local p rtrs=() rnbd=()
	for p in "$@"; do
		case $p in
		always_invalidate=* | max_chunk_size=* | sess_queue_depth=*)
			rtrs+=("$p")
			;;
		*) rnbd+=("$p") ;;
		esac
	done
	check "rtrs-server" modprobe rtrs-server "${rtrs[@]}"
	check "rnbd-server" modprobe rnbd-server "${rnbd[@]}"
}

# load_client [PARAMETER=VALUE]...: of rnbd-client.
load_client() {
	check "rnbd-client" modprobe rnbd-client "$@"
}

# unload: both, if loaded; what still holds them is a failure.
unload() {
	local m
	for m in rnbd-client rnbd-server rtrs-client rtrs-server; do
		[ ! -d "/sys/module/${m/-/_}" ] || check "$m" rmmod "$m"
	done
}

# ram_disk MIB: /dev/ram0
ram_disk() {
	check brd modprobe brd rd_nr=1 "rd_size=$(($1 * 1024))" max_part=0
	until_true test -b /dev/ram0
}

# map_device OPTION=VALUE...: by the kernel's client, which is loaded if it is
# not. What is not given: sessname=s, path= every NIC to its peer,
# device_path=/dev/ram0. Sets device (/dev/rnbdN). Fails as the kernel does.
map_device() {
	local o i port='' sess=s disk=/dev/ram0 paths='' rest='' link
	[ -d /sys/module/rnbd_client ] || check "rnbd-client" modprobe rnbd-client
	for o in "$@"; do
		case $o in
		dest_port=*) port=$o ;;
		sessname=*) sess=${o#*=} ;;
		device_path=*) disk=${o#*=} ;;
		path=*) paths+=" $o" ;;
		*) rest+=" $o" ;;
		esac
	done
	if [ -z "$paths" ]; then
		for ((i = 0; i < VM_NICS; i++)); do
			local own=VM_ADDR$i peer=VM_PEER$i
			paths+=" path=ip:${!own}@ip:${!peer}"
		done
	fi
	# The port is taken when a path is parsed, so it comes first.
	echo "sessname=$sess $port$paths device_path=$disk$rest" \
		>/sys/devices/virtual/rnbd-client/ctl/map_device || return
	link=/sys/devices/virtual/rnbd-client/ctl/devices/${disk//\//\!}@$sess
	[ -e "$link" ] || fail "no $link: $(ls "${link%/*}")"
	device=/dev/$(basename "$(readlink -f "$link")")
	until_true test -b "$device"
}

# unmap_device [DEVICE [normal|force]]
unmap_device() {
	local d=${1:-$device}
	echo "${2:-normal}" >"/sys/block/${d##*/}/rnbd/unmap_device" || return
	until_true test ! -e "/sys/block/${d##*/}"
}

# path_states SESSNAME: of the kernel client's session, a line each.
path_states() {
	cat "/sys/devices/virtual/rtrs-client/$1/paths"/*/state
}

connected_paths() { # SESSNAME N
	[ "$(path_states "$1" | grep -cx connected)" = "$2" ]
}

# wait_paths SESSNAME N: until so many paths are connected.
wait_paths() {
	until_true connected_paths "$1" "$2"
}

# fio_verify DEVICE [OPTION]...: writes blocks of mixed size, reads them back.
fio_verify() {
	local d=$1
	shift
	[ -b "$d" ] || fail "$d is not a block device"
	timeout 600 fio --name=verify "--filename=$d" --direct=1 \
		--ioengine=libaio --iodepth=16 --rw=randwrite --bsrange=4k-112k \
		--size=32m --verify=crc32c --verify_fatal=1 --minimal \
		"$@" >"$tmp/fio.log" 2>&1 || fail "fio: verify of $d"
}

# mkfs_check DEVICE [MIB]: a file system made, filled, read back and checked.
mkfs_check() {
	local mnt=$tmp/mnt
	mkdir -p "$mnt"
	timeout 300 mkfs.ext4 -q -F "$1" || fail "mkfs.ext4 of $1"
	timeout 60 mount -t ext4 "$1" "$mnt" || fail "mount of $1"
	dd if=/dev/urandom "of=$tmp/data" bs=1M "count=${2:-8}" status=none
	cp "$tmp/data" "$mnt/data" || fail "copy to $1"
	timeout 300 umount "$mnt" || fail "umount of $1"
	timeout 300 e2fsck -fn "$1" >"$tmp/e2fsck.log" 2>&1 || fail "e2fsck of $1"
	timeout 60 mount -t ext4 -o ro "$1" "$mnt" || fail "second mount of $1"
	cmp "$tmp/data" "$mnt/data" || fail "data read back from $1"
	umount "$mnt"
}
