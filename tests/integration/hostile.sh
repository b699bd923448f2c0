#!/usr/bin/env bash
# Peers that speak the protocol to break it, while a verified load of another
# session runs: each gets the answer that the rules say, the load sees nothing,
# and nothing of them stays behind in the daemon.
. "$(dirname "$0")/functions.sh"
requires fio
truncate -s 64M "$tmp/disk"
truncate -s 1M "$tmp/small"
truncate -s 1M "$tmp/fixed"
start_pair "disk=file:$tmp/disk" --export "small=file:$tmp/small" \
	--export "fixed=file:$tmp/fixed,ro" --queue-depth 64 --workers 2
start_nbdkit n "${plugin_args[@]}"
fds() {
	find "/proc/$pid_gw/fd" -mindepth 1 | wc -l
}
nbdinfo --size "$uri_n" >/dev/null
before=$(fds)
(cd "$tmp" && exec fio --name=v --ioengine=nbd --uri="$uri_n" --rw=randrw \
	--bsrange=512-128k --iodepth=16 --size=64m --verify=crc32c \
	--verify_fatal=1 --do_verify=1 --verify_backlog=512 --loops=3 \
	--minimal >"$tmp/fio.log" 2>&1) &
fio=$!
pids+=("$fio")
timeout 150 python3 "$RNBD_SRCDIR/tests/integration/hostile.py" "${path_gw##*:}" \
	small fixed || fail "a hostile peer got another answer than it should"
wait "$fio" || fail "the load saw an error"
# Everything of theirs is gone: descriptors (each worker has a few that it
# opened with its first connection), and the place of the writer.
few_fds() {
	[ "$(fds)" -le $((before + 8)) ]
}
until_true few_fds
args=("$RNBD_PLUGIN" sessname=after "path=$path_gw" device_path=small)
# shellcheck disable=SC2016
run_nbdkit 'nbdinfo "$uri" >/dev/null' "${args[@]}"
# Thousands of connections, and a log that can still be read.
lines=$(wc -l <"$tmp/gw.log")
[ "$lines" -lt 800 ] || fail "the log has $lines lines"
stop "$pid_gw" || fail "the gateway ended with $?"

# Out of descriptors, with the first connections: they wait in the backlog.
start_gateway few --export "small=file:$tmp/small" --workers 1
timeout 60 python3 "$RNBD_SRCDIR/tests/integration/hostile.py" \
	"${path_few##*:}" "$pid_few" || fail "descriptors ran out, and that was it"
stop "$pid_few" || fail "the gateway ended with $?"
