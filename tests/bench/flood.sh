#!/usr/bin/env bash
# What 1,000 bogus connections per second cost a session that works: the CPU
# time of the daemon for each, and IOPS of judged I/O with and without them, by
# turns. (Where other programs run, single rounds say nothing.)
#
#   tests/bench/flood.sh [--rounds N] [--seconds N] [--rate N]
set -euo pipefail
usage() {
	sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
}
rounds=5 seconds=2 rate=1000
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		usage
		exit 0
		;;
	esac
	case ${2+$1} in
	--rounds) rounds=$2 ;;
	--seconds) seconds=$2 ;;
	--rate) rate=$2 ;;
	*)
		echo "flood.sh: unknown argument '$1', or it lacks its value" >&2
		usage >&2
		exit 2
		;;
	esac
	shift 2
done
. "$(dirname "$0")/../integration/links/functions.sh"
built "$RNBD_FLOOD"
start_gateway gw --log-level error --export disk=memory:16M
start_nbdkit n "$RNBD_PLUGIN" sessname=flood "path=$path_gw" device_path=disk
# IOPS of one turn.
turn() {
	nbdsh -u "$uri_n" -c 'h.zero(2 << 20, 0)'
	"$RNBD_NBD_CHECK" --disk "$uri_n" --connections 2 --depth 8 --once \
		--max-blocks 2 --seconds "$seconds" >"$tmp/check.log" 2>&1 ||
		fail "$(cat "$tmp/check.log")"
	awk '{ for (i = 2; i < NF; i++) { if ($i ~ /^reads/) r = $(i - 1)
		if ($i ~ /^writes/) w = $(i - 1) } print int((r + w) / '"$seconds"'); exit }' \
		"$tmp/check.log"
}
# CPU time of the daemon so far, in ms.
cpu() {
	awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) * 1000 / hz }' "/proc/$pid_gw/stat"
}
before=$(cpu)
"$RNBD_FLOOD" "${path_gw#tcp:}" "$rate" "$seconds" >"$tmp/flood.log" ||
	fail "flood: $(cat "$tmp/flood.log")"
echo "$before $(cpu) $(cat "$tmp/flood.log")" |
	awk '{ printf "%.0f us of the daemon for each\n", ($2 - $1) * 1000 / $3 }'
: >"$tmp/ratios"
for round in $(seq "$rounds"); do
	if [ $((round % 2)) = 1 ]; then
		quiet=$(turn)
	fi
	"$RNBD_FLOOD" "${path_gw#tcp:}" "$rate" "$seconds" >"$tmp/flood.log" &
	flood=$!
	loud=$(turn)
	wait "$flood" || fail "flood: $(cat "$tmp/flood.log")"
	if [ $((round % 2)) = 0 ]; then
		quiet=$(turn)
	fi
	echo "$loud $quiet" | awk '{ print $1 / $2 }' >>"$tmp/ratios"
	echo "round $round: $quiet IOPS, $loud with $(cat "$tmp/flood.log")"
done
sort -n "$tmp/ratios" | awk '{ r[NR] = $1 } END {
	printf "median %.2f of the IOPS\n", r[int((NR + 1) / 2)] }'
