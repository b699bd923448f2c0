#!/usr/bin/env bash
# What the tests reach: builds with gcc --coverage, runs unit, fuzz, sim, faults
# and integration, and prints lines and branches of each file, and then of the
# parts that the goals are set for (tests/README.md).
#
#   tests/coverage.sh            all of it
#   tests/coverage.sh --report   only the tables, of what ran before
set -euo pipefail
top=$(dirname "$(dirname "$(realpath "$0")")")
case ${1:-} in
-h | --help)
	sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
	exit 0
	;;
esac
if [ $# -gt 1 ] || [ "${1:---report}" != --report ]; then
	echo "coverage.sh: unknown argument '${*: -1}' (see --help)" >&2
	exit 2
fi
cd "$top"
dir=${RNBD_COVERAGE_BUILDDIR:-$top/build-cov}
if [ "${1:-}" != --report ]; then
	config/install-deps.sh run test
	[ -f "$dir/build.ninja" ] ||
		meson setup "$dir" "$top" -Db_coverage=true -Doptimization=0 \
			-Dc_args=-fprofile-update=atomic \
			-Dsim_seeds=1500 -Dsim_steps=1 >/dev/null
	ninja -C "$dir" >/dev/null
	find "$dir" -name '*.gcda' -delete
	for suite in unit fuzz sim faults integration; do
		meson test -C "$dir" --no-rebuild -t 3 --suite "$suite" ||
			echo "coverage.sh: $suite failed; its coverage counts" >&2
	done
fi
# Branches of assert(), those that gcc makes by itself, and those within the
# macros of uthash and utlist (but for their loops) are not the tree's. Not
# optimized: else gcc folds branches, and differently in each copy of a header.
# Counters are atomic: of threads that race they went below zero, and gcovr
# does not read such a line.
macros='.*\b(HASH_(ADD|DEL|FIND)\w*|[DL]L_(APPEND|PREPEND|DELETE)\w*)\(.*'
gcovr --root "$top" --object-directory "$dir" --json "$dir/coverage.json" \
	--exclude-unreachable-branches --exclude-throw-branches \
	--exclude-lines-by-pattern '.*\bassert\(.*' \
	--exclude-branches-by-pattern "$macros" \
	--gcov-ignore-parse-errors --exclude 'tests/' --exclude 'build' "$dir" >/dev/null
python3 tests/coverage.py "$dir/coverage.json"
