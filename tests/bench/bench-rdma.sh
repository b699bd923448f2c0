#!/usr/bin/env bash
# Our server against the kernel's, over RDMA, by turns in one guest:
#
#   kernel client -> the kernel's rnbd_server  or  -> rnbd-gatewayd
#   our library   -> the kernel's rnbd_server  or  -> rnbd-gatewayd
#
#   tests/bench/bench-rdma.sh [--kernel 6.1|6.12|all] [--rounds N]
#       [--seconds S] [--disk null|ram] [--only PATTERN] [--parts LIST]
#       [--other ARGS] [--other-gatewayd PROGRAM] [--icount]
#
# Prints tables of the medians. It runs when no other guest does. --only takes
# the loads whose name matches, as 'd16'; --parts is some of "kernel library
# invalidate"; $GATEWAY_ARGS are more arguments for the daemon. --other adds a
# second daemon to the round, with arguments of its own, --other-gatewayd one of
# another build. A guest's figures say nothing by themselves: soft-RoCE without
# KVM. Their ratios do. With --icount time is what the guest executes: that
# leaves out what emulation adds for each change of the address space, and other
# work of the machine; two processors do not work at once then.
set -euo pipefail
usage() {
	sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
}
top=$(dirname "$(dirname "$(dirname "$(realpath "$0")")")")
kernel=all how=(--alone)
export VM_ARG_ROUNDS=5 VM_ARG_SECONDS=1.5 VM_ARG_DISK=null VM_ARG_ONLY=.
export VM_ARG_GATEWAY=${GATEWAY_ARGS:-}
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		usage
		exit 0
		;;
	--icount)
		how=(--icount)
		shift
		continue
		;;
	esac
	case ${2+$1} in
	--kernel) kernel=$2 ;;
	--rounds) VM_ARG_ROUNDS=$2 ;;
	--seconds) VM_ARG_SECONDS=$2 ;;
	--disk) VM_ARG_DISK=$2 ;;
	--only) VM_ARG_ONLY=$2 ;;
	--parts) export VM_ARG_PARTS=$2 ;;
	--other) export VM_ARG_OTHER=$2 ;;
	--other-gatewayd) export VM_ARG_OTHER_GATEWAYD=$2 ;;
	*)
		echo "bench-rdma.sh: unknown argument '$1', or it lacks its value" >&2
		usage >&2
		exit 2
		;;
	esac
	shift 2
done
exec "$top/tests/vm/run.sh" bench-rdma --kernel "$kernel" "${how[@]}"
