#!/usr/bin/env bash
# Runs a scenario in QEMU guests (no KVM, no root) that see this machine's
# files, have soft-RoCE, and the kernel's rtrs and rnbd modules at hand.
#
#   tests/vm/run.sh SCENARIO [--kernel 6.1|6.12|all] [--shell] [--alone]
#       [--icount]
#   tests/vm/run.sh --list
#
# --kernel  which of the kernels that the scenario names (default: all of them)
# --shell   a shell in guest a instead of the scenario
# --alone   when no other guest runs, for measurements
# --icount  the guests' time is the number of their instructions, 2 ns each, one
#           processor at a time: other work of this machine changes no figure
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

# Lines "SCENARIO KERNEL" of the scenarios named, or of the whole suite: the
# longest first, but pairs of guests last, for the run before one leaves half the
# machine idle. A scenario that was given as a path is named by it.
cases() {
	local f k name whole=''
	if [ $# = 0 ]; then
		whole=yes
		set -- "$here"/scenarios/*.sh
	fi
	for f in "$@"; do
		name=$f
		[[ $f == */* ]] || f=$here/scenarios/$f.sh
		[ -f "$f" ] || die "no scenario $f"
		header "$f"
		[[ $f != "$here/scenarios/"* ]] || name=$(basename "$f" .sh)
		[ -z "$whole" ] || kernels=${suite:-$kernels}
		for k in ${kernels/,/ }; do
			echo "$guests $time $name $k"
		done
	done | sort -k1,1n -k2,2nr -k3 | cut -d' ' -f3-
}

# Reads a scenario's "# vm:" lines; see README.md for their words.
header() {
	local word
	nics=1 mtu=1500 mem=1024 time=120 guests=1 kernels=6.1,6.12 build=yes
	where=guest suite=''
	# shellcheck disable=SC2013  # words are meant
	for word in $(sed -n 's/^# vm://p' "$1"); do
		[[ $word =~ ^(nics|mtu|mem|time|guests)=[0-9]+$ ||
			$word =~ ^kernels=6\.(1|12|1,6\.12)$ ||
			$word =~ ^suite=6\.(1|12)$ ||
			$word =~ ^(build=(yes|no)|where=(guest|host))$ ]] ||
			die "$1: unknown word '$word' in its '# vm:' line"
		declare -g "$word"
	done
	[ "$guests" = 1 ] || [ "$guests" = 2 ] || die "$1: guests=1 or 2"
}

scenario='' kernel=all shell='' alone='' icount=''
while [ $# -gt 0 ]; do
	case $1 in
	--list)
		list
		exit 0
		;;
	--cases)
		cases "${@:2}"
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
	--icount) icount=yes ;;
	-h | --help)
		sed -n '2,16s/^# \{0,1\}//p' "$0"
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
		"$0" "$scenario" --kernel "$k" ${shell:+--shell} ${alone:+--alone} ${icount:+--icount} ||
			rc=$?
	done
	exit "$rc"
fi
if [[ ,$kernels, != *,$kernel,* ]]; then
	echo "skip: $name does not run on $kernel"
	exit 77
fi

# verdict EXIT_STATUS: the last word on a run that began at $started.
verdict() {
	local t=$(((${EPOCHREALTIME/./} - ${started/./}) / 100000)) word=FAILED
	case $1 in
	0) word=ok ;;
	77) word=skipped ;;
	esac
	echo "$word: $name on $kernel, $((t / 10)).$((t % 10)) s"
}

tmp='' host_pid=''
guest_pid=()
filter_pid=()
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
	[ -z "$host_pid" ] || kill "$host_pid" 2>/dev/null || :
	[ -z "$tmp" ] || rm -rf "$tmp"
	exit "$rc"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Guests at once, on the whole machine: a pair takes two slots. Who waits for a
# slot holds the turnstile, so that a pair is not overtaken for ever. The locks
# are opened for reading only: another user may have made them.
take_slots() {
	local wanted=$1 slots=${RNBD_VM_SLOTS:-2} i got=0 fd
	local locks=/tmp/rnbd-vm.slot
	# The run that started this one has its turn already.
	[ -z "${RNBD_VM_QUEUED:-}" ] || return 0
	(umask 0; mkdir -p "$locks" 2>/dev/null
		for ((i = 0; i <= slots; i++)); do
			[ -e "$locks/$i" ] || : >>"$locks/$i"
		done) || die "cannot make the locks in $locks"
	[ "$wanted" -le "$slots" ] || wanted=$slots
	exec 9<"$locks/0"
	flock -n 9 || {
		echo "run.sh: other guests are running, waiting for a turn" >&2
		flock 9
	}
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

# Outside of a guest, but with the turn of one: such a scenario runs guests.
if [ $where = host ]; then
	take_slots 1
	started=$EPOCHREALTIME
	rc=0
	RNBD_VM_QUEUED=1 VM_RELEASE=$kernel RNBD_SRCDIR=$top \
		RNBD_BUILD=$RNBD_BUILD \
		setpriv --pdeathsig TERM timeout -k 10 "$time" \
		bash -e "$scenario" </dev/null &
	guest_pid=($!)
	wait "${guest_pid[0]}" || rc=$?
	guest_pid=()
	verdict $rc
	exit $rc
fi

VM_KERNEL=$("$here/kernel.sh" "$kernel")
# A guest that measures this itself may get clocks that run three times too
# fast, and all its time limits with them.
tsc_khz=$("$VM_KERNEL/tsc-khz")
accel=(-accel "tcg,thread=multi")
if [ -n "$icount" ]; then
	tsc_khz=1000000
	accel=(-accel "tcg,thread=single" -icount "shift=1")
fi
tmp=$(mktemp -d "${TMPDIR:-/tmp}/rnbd-vm.XXXXXX")
share=$tmp/share
mkdir "$share"

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
		qemu-system-x86_64 -name "$name-$role" "${accel[@]}"
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
		-append "console=ttyS0 panic=-1 mitigations=off tsc=reliable tsc_early_khz=$tsc_khz rnbd_vm_role=$role")
	if [ -n "$shell" ] && [ "$role" = a ]; then
		"${qemu[@]}" <&3 &
	elif [ "$guests" = 1 ]; then
		"${qemu[@]}" </dev/null &
	else
		mkfifo "$tmp/out.$role"
		sed -u "s/^/$role| /" <"$tmp/out.$role" &
		filter_pid+=($!)
		"${qemu[@]}" </dev/null >"$tmp/out.$role" &
	fi
	guest_pid+=($!)
}

# Answers the guests' requests (ask_host) and says when a guest has ended.
serve_guests() {
	local role asked
	# shellcheck source=tests/vm/monitor.sh
	. "$here/monitor.sh"
	# A killed run.sh cannot end this.
	while kill -0 $$ 2>/dev/null; do
		for role in a b; do
			gone "$role" && : >"$share/ended.$role"
			for asked in "$share/ask.$role".*; do
				[ -e "$asked" ] || continue
				# shellcheck disable=SC2046  # words are meant
				answer $(cat "$asked") >"$share/answer.new" 2>&1 || :
				rm "$asked"
				mv "$share/answer.new" "$share/answer.${asked#*/ask.}"
			done
		done
		sleep 0.05
	done
}

# guest_result ROLE QEMU_EXIT_CODE: says why a guest failed, if it did.
guest_result() {
	local role=$1 code=$2 console=$tmp/console.$1 rc
	rc=$(sed -n 's/.*rnbd-vm: exit=\([0-9]*\).*/\1/p' "$console" | tail -n 1)
	if [ -z "$rc" ] && [ -e "$tmp/crashed.$role" ]; then
		rc=0
	elif [ -z "$rc" ]; then
		if [ "$code" = 124 ] || [ "$code" = 137 ]; then
			echo "run.sh: guest $role ended by the time limit of $limit s"
		else
			echo "run.sh: guest $role ended early (QEMU: $code)"
			tail -n 15 "$console"
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
limit=$((time + ${RNBD_VM_BOOT_TIME:-90}))
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
serve_guests &
host_pid=$!

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
[ $guests = 1 ] || wait "${filter_pid[@]}" || :

# QEMU 7.2 gives a guest flags now and then that no processor has (VM and other
# bits in 64-bit mode), and that ends in a double fault. It is neither the
# kernel's doing nor ours: once more, and only once.
if [ $rc != 0 ] && [ -z "${RNBD_VM_AGAIN:-}" ] &&
	grep -q 'PANIC: double fault' "$tmp"/console.* &&
	grep -qE 'EFLAGS: ([^0].|.[^0]|..[4-9a-f])' "$tmp"/console.*; then
	echo "run.sh: QEMU gave impossible flags to $name on $kernel: once more"
	kill "$host_pid" 2>/dev/null || :
	rm -rf "$tmp"
	RNBD_VM_AGAIN=1 RNBD_VM_QUEUED=1 exec "$0" "$scenario" --kernel "$kernel"
fi
if [ -n "${RNBD_VM_PCAPS:-}" ]; then
	mkdir -p "$RNBD_VM_PCAPS"
	find "$share" -maxdepth 1 -name '*.pcap' -exec cp -t "$RNBD_VM_PCAPS" {} +
fi
if [ $rc != 0 ] && [ $rc != 77 ]; then
	logs=${RNBD_VM_LOGS:-$(dirname "$VM_KERNEL")/failed}/$name-$kernel
	mkdir -p "$logs"
	rm -f "$logs"/*
	cp "$tmp"/console.* "$logs"
	find "$share" -maxdepth 1 -name '*.pcap' -exec cp -t "$logs" {} +
	echo "consoles: $logs"
fi
verdict $rc
exit $rc
