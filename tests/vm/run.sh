#!/usr/bin/env bash
# Runs a scenario in QEMU guests (no KVM, no root) that see this machine's
# files, have soft-RoCE, and the kernel's rtrs and rnbd modules at hand.
#
#   tests/vm/run.sh SCENARIO [--kernel 6.1|6.12|all] [--shell] [--alone]
#   tests/vm/run.sh --list
#
# --kernel  which of the kernels that the scenario names (default: all of them)
# --shell   a shell in guest a instead of the scenario
# --alone   when no other guest runs, for measurements
# SCENARIO is the name of tests/vm/scenarios/NAME.sh, or a path. The programs
# come from $RNBD_BUILD (default: build-test/gcc, else build). See README.md.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
top=$(dirname "$(dirname "$here")")
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH

die() {
	echo "run.sh: $*" >&2
	exit 2
}

list() {
	local f
	for f in "$here"/scenarios/*.sh; do
		header "$f"
		printf '%-20s %-9s %s\n' "$(basename "$f" .sh)" "${kernels/,/ }" \
			"$(sed -n '/^# vm:/d; s/^# //p' "$f" | head -n 1)"
	done
}

# Reads a scenario's "# vm:" lines; see README.md for their words.
header() {
	local word
	nics=1 mtu=1500 mem=1024 time=120 guests=1 kernels=6.1,6.12 build=yes
	# shellcheck disable=SC2013  # words are meant
	for word in $(sed -n 's/^# vm://p' "$1"); do
		[[ $word =~ ^(nics|mtu|mem|time|guests)=[0-9]+$ ||
			$word =~ ^kernels=6\.(1|12|1,6\.12)$ ||
			$word =~ ^build=(yes|no)$ ]] ||
			die "$1: unknown word '$word' in its '# vm:' line"
		declare -g "$word"
	done
	[ "$guests" = 1 ] || [ "$guests" = 2 ] || die "$1: guests=1 or 2"
}

scenario='' kernel=all shell='' alone=''
while [ $# -gt 0 ]; do
	case $1 in
	--list)
		list
		exit 0
		;;
	--kernel)
		kernel=${2:-}
		[[ $kernel =~ ^(6\.1|6\.12|all)$ ]] ||
			die "--kernel needs 6.1, 6.12 or all, not '$kernel'"
		shift
		;;
	--shell) shell=yes ;;
	--alone) alone=yes ;;
	-h | --help)
		sed -n '2,13s/^# \{0,1\}//p' "$0"
		exit 0
		;;
	-*) die "unknown argument '$1' (see --help)" ;;
	*)
		[ -z "$scenario" ] || die "one scenario at a time, not '$1' too"
		scenario=$1
		;;
	esac
	shift
done
[ -n "$scenario" ] || die "which scenario? (--list names them)"
[[ $scenario == */* ]] || scenario=$here/scenarios/${scenario%.sh}.sh
[ -f "$scenario" ] || die "no scenario $scenario (--list names them)"
scenario=$(realpath "$scenario")
name=$(basename "$scenario" .sh)
header "$scenario"

command -v qemu-system-x86_64 >/dev/null ||
	die "needs qemu-system-x86_64: run config/install-deps.sh run test vm"
if [ -z "${RNBD_BUILD:-}" ]; then
	RNBD_BUILD=$top/build-test/gcc
	[ -d "$RNBD_BUILD" ] || RNBD_BUILD=$top/build
fi
RNBD_BUILD=$(realpath -m "$RNBD_BUILD")
if [ $build = yes ] && [ ! -x "$RNBD_BUILD/gateway/rnbd-gatewayd" ]; then
	die "no programs in $RNBD_BUILD: build there with meson and ninja," \
		"or set RNBD_BUILD"
fi

# One kernel after the other, each by a run of its own.
if [ "$kernel" = all ]; then
	rc=0
	for k in ${kernels//,/ }; do
		"$0" "$scenario" --kernel "$k" ${shell:+--shell} ${alone:+--alone} ||
			rc=$?
	done
	exit "$rc"
fi
if [[ ,$kernels, != *,$kernel,* ]]; then
	echo "skip: $name does not run on $kernel"
	exit 77
fi

tmp=''
guest_pid=()
# shellcheck disable=SC2317  # called by the trap
cleanup() {
	local rc=$? pid
	trap - EXIT INT TERM HUP
	for pid in "${guest_pid[@]}"; do
		kill "$pid" 2>/dev/null || :
	done
	for pid in "${guest_pid[@]}"; do
		wait "$pid" 2>/dev/null || :
	done
	[ -z "$tmp" ] || rm -rf "$tmp"
	exit "$rc"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

VM_KERNEL=$("$here/kernel.sh" "$kernel")
tmp=$(mktemp -d "${TMPDIR:-/tmp}/rnbd-vm.XXXXXX")
share=$tmp/share
mkdir "$share"

# Guests at once, on the whole machine: a pair takes two slots. Who waits for a
# slot holds the turnstile, so that a pair is not overtaken for ever. The locks
# are opened for reading only: another user may have made them.
take_slots() {
	local wanted=$1 slots=${RNBD_VM_SLOTS:-2} i got=0 dir=/tmp
	local locks=$dir/rnbd-vm.slot
	(umask 0; mkdir -p "$locks" 2>/dev/null
		for ((i = 0; i <= slots; i++)); do
			[ -e "$locks/$i" ] || : >>"$locks/$i"
		done) || die "cannot make the locks in $locks"
	[ "$wanted" -le "$slots" ] || wanted=$slots
	exec 9<"$locks/0"
	flock 9
	while :; do
		for ((i = 1; i <= slots; i++)); do
			exec {fd}<"$locks/$i"
			if flock -n "$fd"; then
				got=$((got + 1))
				[ $got -lt "$wanted" ] || break 2
			else
				exec {fd}<&-
			fi
		done
		sleep 0.3
	done
	exec 9<&-
}

{
	printf 'export %s=%q\n' VM_SCENARIO "$scenario" VM_KERNEL "$VM_KERNEL" \
		VM_GUESTS "$guests" VM_NICS "$nics" VM_MTU "$mtu" VM_TIME "$time" \
		VM_RELEASE "$kernel" VM_SHELL "$shell" \
		RNBD_BUILD "$RNBD_BUILD" RNBD_SRCDIR "$top" \
		RNBD_GATEWAYD "$RNBD_BUILD/gateway/rnbd-gatewayd" \
		RNBD_CTL "$RNBD_BUILD/gateway/rnbdctl" \
		RNBD_PLUGIN "$RNBD_BUILD/nbdkit-plugin/nbdkit-rnbd-plugin.so" \
		RNBD_EIO_SHIM "$RNBD_BUILD/tests/integration/eio-shim.so" \
		RNBD_EXIT_SHIM "$RNBD_BUILD/tests/integration/exit-shim.so"
	for v in RNBD_SANITIZER ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS TERM; do
		[ -z "${!v:-}" ] || printf 'export %s=%q\n' $v "${!v}"
	done
	for v in $(compgen -e | grep '^VM_ARG_' || :); do
		printf 'export %s=%q\n' "$v" "${!v}"
	done
} >"$share/env"
echo "$here/guest.sh" >"$share/guest"

# start_guest a|b: in the background; its console is console.ROLE.
start_guest() {
	local role=$1 smp=2 i mac net=()
	[ "$guests" = 1 ] || smp=1
	for ((i = 0; i < nics; i++)); do
		[ "$role" = a ] && mac=52:54:00:72:0$i:01 || mac=52:54:00:72:0$i:02
		if [ "$guests" = 1 ]; then
			# Nobody there: frames are dropped, a hub would block.
			net+=(-netdev "dgram,id=n$i,local.type=unix,local.path=$tmp/n$i,remote.type=unix,remote.path=$tmp/nowhere")
		else
			local server=off
			[ "$role" = b ] || server=on
			net+=(-netdev "stream,id=n$i,server=$server,addr.type=unix,addr.path=$tmp/n$i")
		fi
		net+=(-device "virtio-net-pci,netdev=n$i,mac=$mac,romfile=")
	done
	mkfifo "$tmp/mon.$role.in" "$tmp/mon.$role.out"
	# The prefix ends QEMU by the time limit, and when this script is killed.
	# More than 32 bits of address or a newer CPU: slower, and it crashed.
	# shellcheck disable=SC2054  # QEMU's own commas
	local qemu=(setpriv --pdeathsig TERM
		timeout --foreground -k 5 "$limit" setpriv --pdeathsig KILL
		qemu-system-x86_64 -name "$name-$role" -accel tcg,thread=multi
		-cpu Nehalem -smp "$smp" -m "$mem" -nodefaults -no-user-config
		-display none -no-reboot -kernel "$VM_KERNEL/vmlinuz"
		-initrd "$VM_KERNEL/initrd"
		-serial "file:$tmp/console.$role"
		-chardev stdio,id=out,signal=off -serial chardev:out
		-chardev "pipe,id=mon,path=$tmp/mon.$role" -mon chardev=mon,mode=control
		-object rng-random,id=rng,filename=/dev/urandom
		-device virtio-rng-pci,rng=rng "${net[@]}"
		-virtfs local,path=/,mount_tag=tag-root,security_model=none,readonly=on,multidevs=remap,id=root
		-virtfs "local,path=$share,mount_tag=tag-share,security_model=none,id=share"
		-append "console=ttyS0 panic=-1 mitigations=off tsc=reliable rnbd_vm_role=$role")
	if [ -n "$shell" ] && [ "$role" = a ]; then
		"${qemu[@]}" <&3 &
	else
		"${qemu[@]}" </dev/null &
	fi
	guest_pid+=($!)
}

# guest_result ROLE QEMU_EXIT_CODE: says why a guest failed, if it did.
guest_result() {
	local role=$1 code=$2 console=$tmp/console.$1 rc
	rc=$(sed -n 's/.*rnbd-vm: exit=\([0-9]*\).*/\1/p' "$console" | tail -n 1)
	if [ -z "$rc" ]; then
		if [ "$code" = 124 ] || [ "$code" = 137 ]; then
			echo "run.sh: guest $role ended by the time limit of $limit s"
		else
			echo "run.sh: guest $role ended early (QEMU: $code)"
		fi
		rc=1
	fi
	if ! awk -f "$here/dmesg.awk" "$here/dmesg-allow" \
		<(cat "$share/allow.$role" 2>/dev/null || :) "$console"; then
		echo "run.sh: guest $role: the kernel complained (above)"
		[ "$rc" != 0 ] && [ "$rc" != 77 ] || rc=1
	fi
	return "$rc"
}

# The scenario has its own limit inside; this one is for a guest that hangs.
limit=$((time + 90))
[ -z "$shell" ] || limit=36000
exec 3<&0
if [ -z "$alone" ]; then
	take_slots "$guests"
else
	take_slots "${RNBD_VM_SLOTS:-2}"
fi
started=$EPOCHREALTIME
start_guest a
if [ "$guests" = 2 ]; then
	until [ -S "$tmp/n0" ]; do sleep 0.1; done
	start_guest b
fi

rc=0
i=0
for role in a b; do
	[ $i -lt "$guests" ] || break
	code=0
	wait "${guest_pid[i]}" || code=$?
	result=0
	guest_result $role $code || result=$?
	[ $rc != 0 ] || rc=$result
	i=$((i + 1))
done
guest_pid=()

took=$(((${EPOCHREALTIME/./} - ${started/./}) / 100000))
took=${took%?}.${took: -1}
case $rc in
0) echo "ok: $name on $kernel, $took s" ;;
77) echo "skipped: $name on $kernel, $took s" ;;
*)
	logs=${RNBD_VM_LOGS:-$(dirname "$VM_KERNEL")/failed}/$name-$kernel
	mkdir -p "$logs"
	rm -f "$logs"/*
	cp "$tmp"/console.* "$logs"
	find "$share" -maxdepth 1 -name '*.pcap' -exec cp -t "$logs" {} +
	echo "FAILED: $name on $kernel, $took s; consoles in $logs"
	;;
esac
exit $rc
