# shellcheck shell=bash
# Sourced by the scenarios kclient-*: the kernel's client against rnbd-gatewayd.
# With VM_ARG_SERVER=kernel the kernel's own server stands in for the daemon, as
# far as it can do the same: that tells what is the server's doing.
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need jq fio

ours() {
	[ "${VM_ARG_SERVER:-ours}" = ours ]
}

# serve OPTION...: of the daemon, which listens on every address, at $port
# (1234). A second one needs another port and, in $server, another name; its
# control socket is $tmp/NAME.control.
serve() {
	if ours; then
		gateway_listen="ip:[::]:${port:-1234}" \
			start_gateway "${server:-gw}" \
			--control "$tmp/${server:-gw}.control" "$@"
	else
		serve_kernel "$@"
	fi
}

# The same by the kernel's server: block devices only, found in a directory.
serve_kernel() {
	local dir=/dev/served params=()
	mkdir -p "$dir"
	while [ $# -gt 0 ]; do
		case $1 in
		--export) kernel_export "$dir/${2%%=*}" "${2#*=}" ;;
		--search-path) dir=$2 ;;
		--queue-depth) params+=("sess_queue_depth=$2") ;;
		--chunk-size) params+=("max_chunk_size=$2") ;;
		--always-invalidate) params+=("always_invalidate=$2") ;;
		*) fail "the kernel's server has no $1" ;;
		esac
		shift 2
	done
	load_server "dev_search_path=$dir" "port_nr=${port:-1234}" "${params[@]}"
}

kernel_export() { # LINK SPEC
	local disk=${2#file:}
	if [[ $disk == memory:* ]]; then
		truncate -s "${disk#memory:}" "$1.img"
		disk=$1.img
	fi
	if [ ! -b "$disk" ] && [ ! -e "$1" ]; then
		disk=$(losetup -f --show "$disk") || fail "no loop device"
	fi
	[ -e "$1" ] || ln -s "$disk" "$1"
}

# stop_serving [SIGNAL]: TERM must end the daemon in order.
stop_serving() {
	local rc=0 pid=pid_${server:-gw}
	if ! ours; then
		rmmod rnbd-server rtrs-server || fail "the kernel's server stays"
		return 0
	fi
	stop "${!pid}" "${1:-TERM}" || rc=$?
	[ "${1:-TERM}" = KILL ] || [ $rc = 0 ] ||
		fail "SIGTERM: the daemon ended with $rc"
}

# What the daemon says of itself.
status() {
	"$RNBD_CTL" --control "$tmp/${server:-gw}.control" --json status
}

daemon_is() { # CONDITION
	status | jq -e "$1" >/dev/null
}

# daemon_has PATHS SESSIONS: waits until it has so many. With the kernel's
# server there is nobody to ask.
daemon_has() {
	ours || return 0
	until_within 60 daemon_is "([.workers[].sessions] | add) == $2 and
		([.workers[].paths[]] | length) == $1"
}

# daemon_ops OP: how many it has done.
daemon_ops() {
	status | jq "[.workers[].ops.$1.ops] | add"
}

# map_error OPTION=VALUE...: prints why the kernel's client cannot map it.
map_error() {
	local text
	if text=$(map_device "$@" 2>&1); then
		fail "mapped in spite of: $*"
	fi
	echo "${text##*: }"
}

dev_state() { # STATE
	[ "$(cat "/sys/block/${device##*/}/rnbd/state")" = "$1" ]
}

# until_within SECONDS COMMAND...: as until_true, for what takes its time.
until_within() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		if [ $SECONDS -ge $end ]; then
			! ours || status >"$tmp/status.log" || :
			fail "waited in vain: $*"
		fi
		sleep 0.1
	done
}

path_dir() { # SESSNAME ADDRESS: of the path to this address
	local d
	for d in "/sys/devices/virtual/rtrs-client/$1/paths"/*@"ip:$2"; do
		echo "$d"
	done
}

path_connected() { # SESSNAME ADDRESS
	[ "$(cat "$(path_dir "$1" "$2")/state")" = connected ]
}

# reconnect SESSNAME ADDRESS: by hand. The kernel refuses while it tries itself,
# or while the server still holds what is left of the old path.
try_reconnect() {
	path_connected "$1" "$2" ||
		{ echo 1 >"$(path_dir "$1" "$2")/reconnect"; } 2>/dev/null
}
reconnect() {
	until_within 90 try_reconnect "$1" "$2"
	until_within 60 path_connected "$1" "$2"
}

# load_start: writes and verifies small pieces of $device in a row until
# load_stop, which fails if one of them went wrong.
load_start() {
	rm -f "$tmp/load.stop" "$tmp/load.count"
	(
		trap - EXIT
		n=0
		until [ -e "$tmp/load.stop" ]; do
			fio_verify "$device" --size=4m "$@"
			n=$((n + 1))
			echo $n >"$tmp/load.count"
		done
	) &
	load_pid=$!
	pids+=("$load_pid")
	load_goes_on
}

load_past() { # COUNT
	kill -0 "$load_pid" 2>/dev/null || fail "the load ended"
	[ "$(cat "$tmp/load.count" 2>/dev/null || echo 0)" -gt "$1" ]
}

# load_goes_on: until a piece is done that began after this call.
load_goes_on() {
	local n
	n=$(cat "$tmp/load.count" 2>/dev/null || echo 0)
	until_within 120 load_past $((n + 1))
}

load_stop() {
	: >"$tmp/load.stop"
	wait "$load_pid" || fail "an I/O error or wrong data under load"
}

# device_holds FILE [OFFSET]: the device, read past every cache, has the bytes
# of the file there.
device_holds() {
	dd "if=$device" bs=1M iflag=direct,skip_bytes,count_bytes \
		"skip=${2:-0}" "count=$(stat -c %s "$1")" status=none |
		cmp - "$1"
}
