#!/usr/bin/env bash
# Runs every scenario on every kernel that it names, two at once, and closes
# with "N passed, N failed, N skipped". A failed one is shown whole.
#
#   tests/vm/suite.sh LOGDIR [SCENARIO...]
set -euo pipefail

here=$(dirname "$(realpath "$0")")
[ $# -gt 0 ] || { echo "usage: suite.sh LOGDIR [SCENARIO...]" >&2; exit 2; }
logs=$(realpath -m "$1")
shift
export RNBD_VM_LOGS=$logs
mkdir -p "$logs"
started=$SECONDS

# one SCENARIO KERNEL: a run, its output in a file until it is known.
one() {
	local log=$logs/$1-$2.log rc=0
	"$here/run.sh" "$1" --kernel "$2" </dev/null >"$log" 2>&1 || rc=$?
	echo $rc >"$logs/$1-$2.rc"
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

passed=0 failed=0 skipped=0
for c in "${cases[@]}"; do
	case $(cat "$logs/${c/ /-}.rc" 2>/dev/null) in
	0) passed=$((passed + 1)) ;;
	77) skipped=$((skipped + 1)) ;;
	*)
		failed=$((failed + 1))
		echo "FAILED  vm/$c" >&2
		;;
	esac
done
echo "${#cases[@]} runs in $((SECONDS - started)) s"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
