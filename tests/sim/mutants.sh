#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Tests the tests: builds with -Dmutations=true, switches on one deliberate bug
# after the other, and sees that each is found as mutants.txt says, and that the
# same seeds and tests pass without any. Closes with "N passed, N failed,
# N skipped".
#
#   tests/sim/mutants.sh [BUILDDIR]    default: build-mutants
set -euo pipefail

case ${1:-} in
-h | --help)
	sed -n '3,/^[^#]/s/^# \{0,1\}//p' "$0"
	exit 0
	;;
-*)
	echo "mutants.sh: unknown argument '$1' (see --help)" >&2
	exit 2
	;;
esac
if [ $# -gt 1 ]; then
	echo "mutants.sh: one folder to build in, not '$2' too" >&2
	exit 2
fi
top=$(dirname "$(dirname "$(dirname "$(realpath "$0")")")")
dir=${1:-$top/build-mutants}
table=$top/tests/sim/mutants.txt
log=$dir/mutants
passed=0 failed=0

rows() {
	grep -v '^#' "$table"
}

build() {
	local targets
	mkdir -p "$log"
	if [ ! -f "$dir/build.ninja" ]; then
		meson setup "$dir" "$top" -Dmutations=true >"$log/build.log" 2>&1 || {
			tail -n 30 "$log/build.log"
			return 1
		}
	fi
	mapfile -t targets < <(rows | awk '$2 == "unit" { print "tests/unit/" $3 }' |
		sort -u)
	ninja -C "$dir" tests/sim/rnbd-sim "${targets[@]}" >"$log/build.log" 2>&1 || {
		tail -n 30 "$log/build.log"
		return 1
	}
}

passes() {
	passed=$((passed + 1))
	printf 'ok      %-17s %s\n' "$1" "$2"
}

fails() {
	failed=$((failed + 1))
	printf 'FAILED  %-17s %s\n' "$1" "$2"
}

# A seed that is found is one whose command to replay it was printed.
sim_mutant() {
	local mutant=$1 scenario=$2 most=$3 out seed
	out=$log/$mutant.log
	# Some crash: what bash says of that is in the file, too.
	if { RNBD_MUTANT=$mutant "$dir/tests/sim/rnbd-sim" \
		--scenario "$scenario" --seed 1 --count "$most"; } >"$out" 2>&1; then
		fails "$mutant" "not found by $most seeds of $scenario"
		return
	fi
	seed=$(sed -n 's/^replay: .*--seed \([0-9]*\).*/\1/p' "$out" | head -n 1)
	if [ -z "$seed" ]; then
		fails "$mutant" "rnbd-sim failed, but of no seed: see $out"
		return
	fi
	passes "$mutant" "$scenario, seed $seed: $(sed -n '/^FAILED/{s/^FAILED: //p;q}' "$out")"
	if [ "$seed" -gt "${last[$scenario]:-0}" ]; then
		last[$scenario]=$seed
	fi
}

unit_mutant() {
	local mutant=$1 test=$2 out=$log/$1.log
	if RNBD_MUTANT=$mutant CK_VERBOSITY=normal timeout 60 \
		"$dir/tests/unit/$test" >"$out" 2>&1; then
		fails "$mutant" "not found by $test"
	else
		passes "$mutant" "$test: $(grep -m 1 -o '[0-9]*%:.*' "$out")"
	fi
}

# The seeds and tests that found something find nothing in the program as it is.
none() {
	local scenario test
	for scenario in "${!last[@]}"; do
		if "$dir/tests/sim/rnbd-sim" --scenario "$scenario" --seed 1 \
			--count "${last[$scenario]}" >"$log/none.log" 2>&1; then
			passes "none" "$scenario, seeds 1 to ${last[$scenario]}"
		else
			fails "none" "$(cat "$log/none.log")"
		fi
	done
	for test in $(rows | awk '$2 == "unit" { print $3 }' | sort -u); do
		if CK_VERBOSITY=silent "$dir/tests/unit/$test" \
			>"$log/none.log" 2>&1; then
			passes "none" "$test"
		else
			fails "none" "$test: see $log/none.log"
		fi
	done
}

# Each mutant is in the table, once.
complete() {
	local names
	names=$(RNBD_MUTANT='?' "$dir/tests/sim/rnbd-sim" | cut -d: -f1 | sort) || :
	if [ "$names" = "$(rows | awk '{ print $1 }' | sort)" ]; then
		passes "table" "names each mutant"
	else
		fails "table" "mutant.h and mutants.txt do not name the same mutants"
	fi
}

declare -A last=()
if ! build; then
	echo "0 passed, 1 failed, 0 skipped"
	exit 1
fi
complete
while read -r mutant kind where most _; do
	if [ "$kind" = sim ]; then
		sim_mutant "$mutant" "$where" "$most"
	else
		unit_mutant "$mutant" "$where"
	fi
done < <(rows)
none
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
