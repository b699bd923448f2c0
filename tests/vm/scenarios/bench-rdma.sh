#!/usr/bin/env bash
# vm: mem=2048 time=1500
# The kernel's server and ours under equal loads; judges no figure (tests/bench/bench-rdma.sh).
. "$RNBD_SRCDIR/tests/vm/functions.sh"
need fio python3
# What bench-rdma.sh asks for; alone it is a short trial, of one part.
rounds=${VM_ARG_ROUNDS:-1} seconds=${VM_ARG_SECONDS:-0.5} only=${VM_ARG_ONLY:-d16}
parts=${VM_ARG_PARTS:-kernel${VM_ARG_ROUNDS:+ library invalidate}}
read -ra gateway_args <<<"${VM_ARG_GATEWAY:-}"
# A daemon to hold against the first: other arguments, another build, or both.
read -ra other_args <<<"${VM_ARG_OTHER:-}"
other_daemon=${VM_ARG_OTHER_GATEWAYD:-}
[ -z "$other_daemon${VM_ARG_OTHER:-}" ] || with_other=yes
export RNBD_BENCH=$RNBD_BUILD/tests/bench/rnbd-bench

case ${VM_ARG_DISK:-null} in
ram)
	ram_disk 256
	disk=/dev/ram0
	;;
null)
	# Completes at once, on the CPU that asked: all time is the servers'.
	check null_blk modprobe null_blk nr_devices=1 gb=1 bs=4096 irqmode=0
	disk=/dev/nullb0
	until_true test -b "$disk"
	;;
*) fail "VM_ARG_DISK is ram or null, not '$VM_ARG_DISK'" ;;
esac

measure() { # TITLE CONTESTANT...
	local title=$1 c args=()
	shift
	for c in "$@"; do
		args+=(--contestant "$c")
	done
	say "$title"
	printf '\n### Linux %s: %s, %s\n\n' "$VM_RELEASE" "$title" "${disk##*/}" \
		>>"$tmp/tables"
	python3 "$RNBD_SRCDIR/tests/bench/rounds.py" --rounds "$rounds" \
		--seconds "$seconds" --only "$only" "${args[@]}" >>"$tmp/tables" ||
		fail "$title"
}

# map NAME PORT DEVICE: by the kernel's client; sets dev_NAME.
map() {
	map_device "sessname=$1" "dest_port=$2" "device_path=$3"
	declare -g "dev_$1=$device"
}

# system_calls OP DEPTH: of our server, per I/O, in the order of their number.
system_calls() {
	local tracer ios
	strace -f -c -o "$tmp/calls" -p "$pid_ours" 2>"$tmp/strace.log" &
	tracer=$!
	pids+=("$tracer")
	wait_log "$tmp/strace.log" attached
	ios=$(fio --name=b --ioengine=libaio --direct=1 "--filename=$dev_ours" \
		"--rw=rand$1" --bs=4k "--iodepth=$2" --size=100% --time_based \
		--runtime=2 --norandommap --output-format=json |
		python3 -c 'import json, sys
j = json.load(sys.stdin)["jobs"][0]
print(j["read"]["total_ios"] + j["write"]["total_ios"])')
	stop "$tracer" INT || :
	awk -v n="$ios" -v what="4 KiB $1 d$2" '
		$4 ~ /^[0-9]+$/ && $NF != "total" && $4 / n >= .05 {
			row = row sprintf(", %s %.2f", $NF, $4 / n)
		}
		END { print what ": " substr(row, 3) }' "$tmp/calls" >>"$tmp/tables"
}

gateway_listen=ip:$VM_ADDR0:1235
start_gateway ours --log-level warning --export "disk=file:$disk" "${gateway_args[@]}"
if [ -n "${with_other:-}" ]; then
	gateway_listen=ip:$VM_ADDR0:1237
	RNBD_GATEWAYD=${other_daemon:-$RNBD_GATEWAYD} start_gateway other \
		--log-level warning --export "disk=file:$disk" "${other_args[@]}"
fi

load_server always_invalidate=N
if [[ $parts == *kernel* ]]; then
	map theirs 1234 "$disk"
	map ours 1235 disk
	[ -z "${with_other:-}" ] || map other 1237 disk
	measure "kernel client, static keys" "kernel,fio,$dev_theirs" \
		"ours,fio,$dev_ours,$pid_ours" \
		${with_other:+"other,fio,$dev_other,$pid_other"}
	if [ -n "${VM_ARG_ROUNDS:-}" ] && command -v strace >/dev/null; then
		printf '\nSystem calls of our server per I/O:\n\n' >>"$tmp/tables"
		system_calls read 1
		system_calls write 1
		system_calls read 16
	fi
	unmap_device "$dev_theirs"
	unmap_device "$dev_ours"
	[ -z "${with_other:-}" ] || unmap_device "$dev_other"
fi
if [[ $parts == *library* ]]; then
	measure "our client library, static keys" \
		"kernel,lib,ip:$VM_ADDR0:1234,$disk" \
		"ours,lib,ip:$VM_ADDR0:1235,disk,$pid_ours" \
		${with_other:+"other,lib,ip:$VM_ADDR0:1237,disk,$pid_other"}
fi
if [[ $parts == *invalidate* ]]; then
	unload
	load_server always_invalidate=Y
	gateway_listen=ip:$VM_ADDR0:1236
	start_gateway fresh --log-level warning --export "disk=file:$disk" \
		--always-invalidate yes "${gateway_args[@]}"
	map theirs 1234 "$disk"
	map fresh 1236 disk
	measure "kernel client, new keys" "kernel,fio,$dev_theirs" \
		"ours,fio,$dev_fresh,$pid_fresh"
	unmap_device "$dev_theirs"
	unmap_device "$dev_fresh"
fi
unload
cat "$tmp/tables"
