#!/usr/bin/env bash
# Runs every scenario on every kernel that it names, two at once, and closes
# with "N passed, N failed, N skipped". A failed one is shown whole.
#
#   tests/vm/suite.sh LOGDIR [SCENARIO...]
#
# An emulated guest stands still now and then when the machine has much to do,
# and a time limit passes inside. So a few that failed run once more, alone: what
# passes then has passed, and is named FLAKY. More than a few are no accident.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
[ $# -gt 0 ] && [[ $1 != -* ]] || { echo "usage: suite.sh LOGDIR [SCENARIO...]" >&2; exit 2; }
logs=$(realpath -m "$1")
shift
export RNBD_VM_LOGS=$logs
mkdir -p "$logs"
started=$SECONDS
few=3

# key SCENARIO KERNEL: the name of its files in $logs.
key() {
	echo "$(basename "$1" .sh)-$2"
}

# one SCENARIO KERNEL [--alone]: a run, its output in a file until it is known.
one() {
	local key rc=0 log
	key=$(key "$1" "$2")
	log=$logs/$key.log
	# shellcheck disable=SC2086  # none or one
	"$here/run.sh" "$1" --kernel "$2" ${3:-} </dev/null >"$log" 2>&1 || rc=$?
	echo $rc >"$logs/$key.rc"
	if [ $rc = 0 ] || [ $rc = 77 ]; then
		grep 'once more$' "$log" || :
		tail -n 1 "$log"
	else
		# In one write, for two run at once.
		printf '%s\n' "--- $1 on $2" "$(cat "$log")" "---"
	fi
}
if [ "${1:-}" = --one ]; then
	one "$2" "$3"
	exit
fi

result() { # SCENARIO KERNEL: passed, skipped or failed
	case $(cat "$logs/$(key "$1" "$2").rc" 2>/dev/null) in
	0) echo passed ;;
	77) echo skipped ;;
	*) echo failed ;;
	esac
}

# again SCENARIO KERNEL: what the first run left is kept under another name.
again() {
	local key f
	key=$(key "$1" "$2")
	rm -rf "$logs/$key.first" "$logs/$key.first.log"
	[ ! -e "$logs/$key.log" ] || mv "$logs/$key.log" "$logs/$key.first.log"
	[ ! -d "$logs/$key" ] || mv "$logs/$key" "$logs/$key.first"
	one "$1" "$2" --alone
	[ "$(result "$1" "$2")" = passed ] || return 0
	echo "FLAKY vm/${1##*/} on $2: failed once, passed alone"
	for f in "$logs/$key.first.log" "$logs/$key.first"/console.*; do
		[ -e "$f" ] || continue
		echo "  of the first run, $f:"
		tail -n 8 "$f" | tr -d '\r' | sed 's/^/  | /'
	done
}

# The kernels first, at the same time: the runs would wait for them.
mapfile -t cases < <("$here/run.sh" --cases "$@")
[ ${#cases[@]} -gt 0 ] || { echo "suite.sh: no scenario" >&2; exit 2; }
rm -f "$logs"/*.rc
for k in $(printf '%s\n' "${cases[@]#* }" | sort -u); do
	"$here/kernel.sh" "$k" >"$logs/kernel-$k.log" 2>&1 ||
		cat "$logs/kernel-$k.log" >&2 &
done
wait
printf '%s\n' "${cases[@]}" |
	xargs -P 2 -L 1 "$here/suite.sh" "$logs" --one

failures=()
for c in "${cases[@]}"; do
	# shellcheck disable=SC2086  # a scenario and a kernel
	[ "$(result $c)" != failed ] || failures+=("$c")
done
if [ ${#failures[@]} -gt $few ]; then
	echo "${#failures[@]} have failed: too many to be the emulation's doing"
else
	for c in "${failures[@]}"; do
		# shellcheck disable=SC2086  # a scenario and a kernel
		again $c
	done
fi

passed=0 failed=0 skipped=0
for c in "${cases[@]}"; do
	# shellcheck disable=SC2086  # a scenario and a kernel
	case $(result $c) in
	passed) passed=$((passed + 1)) ;;
	skipped) skipped=$((skipped + 1)) ;;
	failed)
		failed=$((failed + 1))
		echo "FAILED  vm/$c"
		;;
	esac
done
echo "${#cases[@]} runs in $((SECONDS - started)) s"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
