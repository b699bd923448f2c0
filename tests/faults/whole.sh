#!/usr/bin/env bash
# Every n-th call that can fail, in both programs: hours on a slow machine,
# about a quarter of one on a quick one. The bounded share is the suite
# `faults`.
#
#   tests/faults/whole.sh
set -euo pipefail
# shellcheck source=tests/programs.sh
. "$(dirname "$(realpath "$0")")/../programs.sh"
at_most 0 "$@"
built "$RNBD_EXHAUST" "$RNBD_GATEWAYD_FAULTY" "$RNBD_PLUGIN_FAULTY"
programs=$(dirname "$(realpath "$0")")/programs.py
failed=0
run() {
	echo "== ${*##*/}"
	"$@" 2>&1 | grep -v '^\[warn\]' || failed=1
}
for width in 1 5; do
	for kinds in mem desc net xfer uring thread; do
		run "$RNBD_EXHAUST" --kinds $kinds --width $width
	done
	run "$RNBD_EXHAUST" --kinds disk --pool --width $width
done
run "$RNBD_EXHAUST" --kinds xfer --mode again --width 50
run "$RNBD_EXHAUST" --kinds uring --mode again --width 20
for mode in short again; do
	run "$RNBD_EXHAUST" --kinds xfer --mode $mode
	run "$RNBD_EXHAUST" --kinds disk --pool --mode $mode
done
run "$RNBD_EXHAUST" --kinds xfer --mode short --width 1000
run "$RNBD_EXHAUST" --kinds uring --mode short
if [ -z "${RNBD_SANITIZER:-}" ]; then
	for side in daemon plugin; do
		for kinds in mem desc net xfer thread; do
			run "$programs" $side $kinds
		done
		run "$programs" $side xfer short 1 20
	done
fi
exit $failed
