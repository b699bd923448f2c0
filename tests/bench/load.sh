#!/usr/bin/env bash
# Verified random I/O of many sessions while paths flap and the daemon comes and
# goes: no read may be wrong, and no NBD client may see an error.
#
#   tests/bench/load.sh [--minutes N] [--sessions N] [--restart SECONDS]
#
# Each session has a nbdkit of its own, two paths through a link that can fail,
# and four NBD connections; each has its file, so what was acknowledged survives
# a killed daemon. Every second links fail at random, every --restart seconds
# the daemon ends by SIGTERM and SIGKILL by turns, and is started again.
set -euo pipefail
usage() {
	sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
}
minutes=1 sessions=32 restart=30
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		usage
		exit 0
		;;
	esac
	case ${2+$1} in
	--minutes) minutes=$2 ;;
	--sessions) sessions=$2 ;;
	--restart) restart=$2 ;;
	*)
		echo "load.sh: unknown argument '$1', or it lacks its value" >&2
		usage >&2
		exit 2
		;;
	esac
	shift 2
done
. "$(dirname "$0")/../integration/links/functions.sh"
seconds=$(awk "BEGIN { print int($minutes * 60) }")
two_addresses
mkdir "$tmp/disks"
exports=()
for i in $(seq "$sessions"); do
	truncate -s 4M "$tmp/disks/$i"
	exports+=(--export "disk$i=file:$tmp/disks/$i")
done
gateway() {
	start_gateway gw "${gateway_more[@]}" --queue-depth 32 \
		--max-sessions $((2 * sessions + 8)) --log-level warning "${exports[@]}"
}
gateway
start_relay "${addresses[@]}"
disks=() plugins=()
for i in $(seq "$sessions"); do
	start_nbdkit "n$i" "$RNBD_PLUGIN" "sessname=load$i" "path=tcp:$link_0" \
		"path=tcp:$link_1" "device_path=disk$i" io-timeout=120 \
		connections=2 heartbeat-interval=1 heartbeat-missed=2 \
		reconnect-delay=0.3 reconnect-delay-max=1
	uri=uri_n$i pid=pid_n$i
	disks+=(--disk "${!uri}")
	plugins+=("${!pid}")
done
"$RNBD_NBD_CHECK" "${disks[@]}" --connections 4 --depth 2 --blocks 1024 \
	--max-blocks 16 --seconds "$seconds" --seed "${RNBD_SEED:-1}" \
	--ready "$tmp/ready" >"$tmp/check.log" 2>&1 &
checker=$!
pids+=("$checker")
over() {
	! kill -0 "$checker" 2>/dev/null
}
at_work() {
	[ -s "$tmp/ready" ] || over
}
until_true at_work
relay flap 1000 700 "${RNBD_SEED:-1}" csuol
# A clock that ends with the load.
restarts=0
while read -r -t "$restart" _ < <(tail --pid="$checker" -f /dev/null; echo) ||
	! over; do
	over && break
	if [ $((restarts++ % 2)) = 0 ]; then
		stop "$pid_gw" TERM || fail "SIGTERM under load: exit code $?"
	else
		kill -KILL "$pid_gw"
		wait "$pid_gw" 2>/dev/null || :
	fi
	gateway
done
wait "$checker" || fail "$(grep -m 10 -E 'WRONG|error|dead' "$tmp/check.log"; tail -n 2 "$tmp/check.log")"
relay count
for pid in "${plugins[@]}"; do
	kill -0 "$pid" 2>/dev/null || fail "a plugin is gone"
done
echo "$sessions sessions, $relay_said, daemon restarted $restarts times: $(tail -n 1 "$tmp/check.log")"
