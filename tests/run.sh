#!/usr/bin/env bash
# Installs what the tests need, builds, runs every suite, and closes with
# "N passed, N failed, N skipped".
#
#   tests/run.sh                 all suites but those that have to be asked for
#   tests/run.sh --suite NAME    one of them (may be repeated)
#   tests/run.sh --list          their names, a line each
set -euo pipefail

top=$(dirname "$(dirname "$(realpath "$0")")")
cd "$top"

# name: what it is
list() {
	cat <<'EOF'
lint         include rules, headers alone, scripts, manual pages, shell syntax
unit         every module by itself (gcc, -Werror)
clang        the same built by clang, -Werror
fuzz         every decoder over its corpus and mutations of it
sim          client, server and gateway in the simulator, and whether it finds deliberate bugs
hostile      lying clients and servers at both engines, 10^7 messages each
faults       both programs where memory, descriptors, disks, threads fail
integration  the two programs with stock NBD clients
asan         unit, fuzz, sim, hostile, faults and integration under ASan, UBSan
tsan         the threaded parts under TSan
vm           RDMA and the kernel's own RNBD as the peer, in guests, on two kernels
bench        the benches run and report, no figure is judged: only when asked for
valgrind     codecs, engines, and a daemon at work under memcheck: only when asked for
soak         what the others do for seconds, for hours: only when asked for
EOF
}

suites=()
while [ $# -gt 0 ]; do
	case $1 in
	--list)
		list
		exit 0
		;;
	--suite)
		if [ $# -lt 2 ] || ! list | grep -q "^${2:-?} "; then
			echo "run.sh: --suite needs one of:" \
				"$(list | cut -d' ' -f1 | tr '\n' ' ')" >&2
			exit 2
		fi
		suites+=("$2")
		shift 2
		;;
	-h | --help)
		sed -n '2,8s/^# \{0,1\}//p' "$0"
		exit 0
		;;
	*)
		echo "run.sh: unknown argument '$1' (see --help)" >&2
		exit 2
		;;
	esac
done
if [ ${#suites[@]} -eq 0 ]; then
	mapfile -t suites < <(list | grep -v 'only when asked for$' | cut -d' ' -f1)
fi

sets=(run test)
if [[ " ${suites[*]} " == *" vm "* ]]; then
	sets+=(vm)
fi
config/install-deps.sh "${sets[@]}"

base=${RNBD_TEST_BUILDDIR:-$top/build-test}
mkdir -p "$base"
# The guests' kernels come over the network: meanwhile the first suites run.
if [ ${#sets[@]} = 3 ]; then
	mkdir -p "$base/vm"
	for k in 6.1 6.12; do
		nice tests/vm/kernel.sh $k >"$base/vm/kernel-$k.log" 2>&1 &
	done
fi
passed=0 failed=0 skipped=0
results=$base/results failures=$base/failures
: >"$results"
: >"$failures"

# build DIR CC MESON_OPTIONS...
build() {
	local dir=$base/$1 cc=$2
	shift 2
	if [ ! -f "$dir/build.ninja" ]; then
		CC=$cc meson setup "$dir" "$top" -Dwerror=true "$@" \
			>"$dir.log" 2>&1 || { tail -n 30 "$dir.log"; return 1; }
	fi
	ninja -C "$dir" >"$dir.log" 2>&1 || { tail -n 60 "$dir.log"; return 1; }
}

# tally LABEL LOG [AGAIN]: adds what the logs of meson's tests say, see count.py.
tally() {
	local label=$1 counts
	shift
	counts=$(python3 tests/count.py "$@" 2>"$base/said")
	tee -a "$failures" <"$base/said"
	echo "$label: $counts"
	echo "$counts" >>"$results"
}

# tests DIR LABEL ARGUMENT...: by meson; the logs say what came out.
tests() {
	RNBD_SUITE=$2 meson test -C "$1" --no-rebuild --print-errorlogs \
		-t "${RNBD_TIMEOUT_MULTIPLIER:-1}" "${@:3}" || :
}

# run DIR LABEL MESON_SUITE...
#
# Whole programs under load have time limits that a machine with other work
# misses now and then. So a few of those that failed run once more, alone: what
# passes then has passed, and is named FLAKY. More than a few are no accident,
# and no test that is deterministic gets a second chance.
run() {
	local dir=$base/$1 label=$2 args=() log again few=3 bad
	shift 2
	for s in "$@"; do
		args+=(--suite "$s")
	done
	log=$dir/meson-logs/testlog again=()
	rm -f "$log"*
	tests "$dir" "$label" "${args[@]}"
	mapfile -t bad < <(python3 tests/count.py --failed "$log")
	if [ ${#bad[@]} -gt 0 ] && [ ${#bad[@]} -le $few ] &&
		! printf '%s\n' "${bad[@]}" | grep -qvE '^(integration|faults)/'; then
		again=("$log-again")
		tests "$dir" "$label" --logbase testlog-again \
			--num-processes 1 "${bad[@]}"
	fi
	tally "$label" "$log" "${again[@]}"
}

# counted LABEL LOG: of a runner that counts by itself, on its last line.
counted() {
	local counts
	counts=$(tail -n 1 "$2" |
		grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$') ||
		counts="0 passed, 1 failed, 0 skipped"
	grep -E '^(FAILED|FLAKY) ' "$2" >>"$failures" || :
	echo "$1: $counts"
	echo "$counts" >>"$results"
}

run_vm() {
	RNBD_BUILD=$base/gcc tests/vm/suite.sh "$base/vm" |
		tee "$base/vm/suite.log" || :
	counted vm "$base/vm/suite.log"
}

# Deliberate bugs, to see that the simulator finds them.
run_mutants() {
	tests/sim/mutants.sh "$base/mutants" 2>&1 |
		tee "$base/mutants.log" || :
	counted mutants "$base/mutants.log"
}

broken() {
	echo "FAILED  $1: cannot build" | tee -a "$failures"
	echo "0 passed, 1 failed, 0 skipped" >>"$results"
}

build_plain() {
	build gcc gcc
}

# gcc warns of what is not so when it optimizes less: only here no error.
build_asan() {
	build asan gcc -Doptimization=1 -Dwerror=false \
		-Db_sanitize=address,undefined -Dsim_seeds=500 -Dsim_steps=1 \
		-Dhostile_messages=300000
}

build_tsan() {
	build tsan gcc -Doptimization=1 -Dwerror=false -Db_sanitize=thread
}

# What is built later, while tests that mostly wait leave processors idle: these
# compilers get nothing else.
ahead=''
build_ahead() {
	local want=() s
	for s in asan tsan; do
		[[ " ${suites[*]} " != *" $s "* ]] || want+=("build_$s")
	done
	[ ${#want[@]} -gt 0 ] || return 0
	set -m # a process group, which can be ended whole
	(
		chrt --idle --pid 0 "$BASHPID"
		for s in "${want[@]}"; do
			"$s" >/dev/null || :
		done
	) &
	ahead=$!
	set +m
	trap 'kill -- "-$ahead" 2>/dev/null' EXIT
}

# Whether it worked is seen by who builds what is left of it.
build_ahead_ends() {
	[ -z "$ahead" ] || wait "$ahead" || :
	ahead=''
	trap - EXIT
}

for suite in "${suites[@]}"; do
	started=$SECONDS
	echo
	echo "=== $suite ==="
	case $suite in
	lint | unit | fuzz | sim | hostile | faults | integration | bench | soak)
		if build_plain; then
			[ "$suite" != integration ] || build_ahead
			run gcc "$suite" "$suite"
		else
			broken "$suite"
		fi
		if [ "$suite" = sim ]; then
			run_mutants
		fi
		;;
	vm)
		if build_plain; then
			run_vm
		else
			broken vm
		fi
		;;
	valgrind)
		if build_plain; then
			rm -f "$base"/gcc/meson-logs/testlog*
			tests/valgrind.sh "$base/gcc" || :
			for log in testlog-valgrind testlog; do
				tally valgrind "$base/gcc/meson-logs/$log"
			done
		else
			broken valgrind
		fi
		;;
	clang)
		if build clang clang -Doptimization=0 -Dfuzz=true; then
			run clang clang unit fuzz
		else
			broken clang
		fi
		;;
	asan)
		export ASAN_OPTIONS=detect_stack_use_after_return=1:abort_on_error=1
		export UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1
		build_ahead_ends
		if build_asan; then
			RNBD_SANITIZER=asan RNBD_TIMEOUT_MULTIPLIER=3 \
				run asan asan unit fuzz sim hostile faults sanitized
		else
			broken asan
		fi
		unset ASAN_OPTIONS UBSAN_OPTIONS
		;;
	tsan)
		export TSAN_OPTIONS=halt_on_error=1:abort_on_error=1
		build_ahead_ends
		if build_tsan; then
			RNBD_SANITIZER=tsan RNBD_TIMEOUT_MULTIPLIER=3 \
				run tsan tsan threads
		else
			broken tsan
		fi
		unset TSAN_OPTIONS
		;;
	esac
	echo "$suite: $((SECONDS - started)) s"
done

while read -r p _ f _ s _; do
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done <"$results"
echo
# Once more at the end, where one looks first.
cat "$failures"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
