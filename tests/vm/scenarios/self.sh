#!/usr/bin/env bash
# vm: where=host kernels=6.12 build=no time=600
# The harness itself: what fails in a guest, or to it, fails the run.
set -euo pipefail
: "${RNBD_SRCDIR:?}" "${VM_RELEASE:?}"
here=$RNBD_SRCDIR/tests/vm
RNBD_VM_LOGS=$(mktemp -d "${TMPDIR:-/tmp}/rnbd-vm-self.XXXXXX")
# What a killed run leaves goes with it.
export RNBD_VM_LOGS TMPDIR=$RNBD_VM_LOGS
trap 'rm -rf "$RNBD_VM_LOGS"' EXIT
log=$RNBD_VM_LOGS/log

fail() {
	echo "FAIL: $*"
	tail -n 20 "$log"
	exit 1
}

# ends CASE STATUS PATTERN: so does the run, and says so.
ends() {
	local rc=0
	"$here/run.sh" "$here/self/$1.sh" --kernel "$VM_RELEASE" \
		</dev/null >"$log" 2>&1 || rc=$?
	[ "$rc" = "$2" ] || fail "$1 ended with $rc, not $2"
	grep -qE "$3" "$log" || fail "$1 does not say '$3'"
	echo "$1: $(tail -n 1 "$log")"
}

ends allowed 0 '^ok: allowed'
ends warning 1 'WARNING: CPU: 0 PID: 1 at nowhere'
ends status 33 '^FAILED: status'
ends skip 77 '^skip: it says so'
ends late 124 'not done after 2 s'
ends panic 1 'guest a ended early'
ends flags 1 'QEMU gave impossible flags .* once more'
[ "$(grep -c 'once more' "$log")" = 1 ] || fail "flags: not once more, only once"
RNBD_VM_BOOT_TIME=40 ends paused 1 'ended by the time limit of 41 s'

# suite_ends STATUS PATTERN CASE...: so does the suite of these cases.
suite_ends() {
	local status=$1 pattern=$2 rc=0
	shift 2
	rm -f "$RNBD_VM_LOGS/suite/was-here"
	"$here/suite.sh" "$RNBD_VM_LOGS/suite" "$@" </dev/null >"$log" 2>&1 ||
		rc=$?
	[ "$rc" = "$status" ] || fail "suite.sh $*: $rc, not $status"
	grep -qE "$pattern" "$log" || fail "suite.sh does not say '$pattern'"
	echo "suite: $(tail -n 1 "$log")"
}
flaky=$here/self/flaky.sh broken=$here/self/broken.sh
suite_ends 0 '^FLAKY vm/flaky.sh on 6.12: failed once, passed alone' "$flaky"
grep -q '| the first time$' "$log" || fail "the first failure is not shown"
suite_ends 1 '^FAILED +vm/.*broken.sh 6.12' "$flaky" "$broken"
grep -q '^1 passed, 1 failed, 0 skipped' "$log" || fail "the count"
suite_ends 1 '^0 passed, 4 failed' "$flaky" "$broken" "$broken" "$broken"

# children PID: its descendants, itself included.
children() {
	local c
	echo "$1"
	for c in $(pgrep -P "$1"); do
		children "$c"
	done
}

# Interrupted or killed, a run leaves no process.
for signal in TERM KILL; do
	: >"$log"
	"$here/run.sh" "$here/self/late.sh" --kernel "$VM_RELEASE" \
		</dev/null >"$log" 2>&1 &
	run=$!
	n=0
	until pgrep -f "^qemu-system-x86_64 -name late-a" |
		grep -qxFf <(children $run); do
		n=$((n + 1))
		[ $n -lt 3000 ] || fail "no QEMU"
		sleep 0.1
	done
	mapfile -t family < <(children $run)
	kill -$signal $run
	wait $run 2>/dev/null || :
	# A child that lives on would keep its turn in the queue.
	for pid in "${family[@]}"; do
		timeout 20 tail --pid="$pid" -f /dev/null ||
			fail "$(ps -o args= -p "$pid") outlives run.sh, ended by SIG$signal"
	done
	echo "SIG$signal: nothing is left"
done
