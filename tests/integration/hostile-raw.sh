#!/usr/bin/env bash
# Random and bent bytes on the daemon's port in every state of the stream, while
# a verified load of another session runs: it sees no error, and neither memory
# nor descriptors nor the log grow with what was sent.
. "$(dirname "$0")/functions.sh"
requires fio
truncate -s 32M "$tmp/disk"
truncate -s 1M "$tmp/small"
start_pair "disk=file:$tmp/disk" --export "small=file:$tmp/small,ro" \
	--queue-depth 64 --workers 2
start_nbdkit n "${plugin_args[@]}"
fds() {
	find "/proc/$pid_gw/fd" -mindepth 1 | wc -l
}
rss() { # KiB
	awk '/^VmRSS/ { print $2 }' "/proc/$pid_gw/status"
}
load() { # name
	(cd "$tmp" && exec fio --name="$1" --ioengine=nbd --uri="$uri_n" \
		--rw=randrw --bsrange=512-64k --iodepth=8 --size=32m \
		--verify=crc32c --verify_fatal=1 --do_verify=1 \
		--verify_backlog=256 --loops="${2:-1}" --output-format=json \
		--output="$tmp/$1.json" >"$tmp/$1.log" 2>&1)
}
raw() { # seed frames
	timeout 600 "$RNBD_HOSTILE_RAW" "${path_gw##*:}" "$1" "$2" small ||
		fail "the daemon does not answer any more"
}
frames=${FRAMES:-400000}
[ -z "${RNBD_SANITIZER:-}" ] || frames=$((frames / 10))

load alone
# What is made once: contexts, first connections.
raw 1 2000
before=$(fds) before_rss=$(rss)
load beside 15 &
beside=$!
pids+=("$beside")
raw "${SEED:-2}" "$frames" | tee "$tmp/raw.log"
wait "$beside" || fail "the load saw an error"
few_fds() {
	[ "$(fds)" -le $((before + 4)) ]
}
until_true few_fds
# Sanitizers keep what was freed.
if [ -z "${RNBD_SANITIZER:-}" ]; then
	after_rss=$(rss)
	[ "$after_rss" -le $((before_rss + 16384)) ] ||
		fail "memory grew from $before_rss to $after_rss KiB"
	echo "memory: $before_rss KiB before, $after_rss KiB after"
fi
lines=$(wc -l <"$tmp/gw.log")
[ "$lines" -le $((1000 + frames / 200)) ] || fail "the log has $lines lines"
python3 - "$tmp/alone.json" "$tmp/beside.json" <<'PY'
import json, sys
def job(name):
    with open(name) as f:
        text = f.read()
    return json.loads(text[text.index("{"):])["jobs"][0]
a, b = (job(n) for n in sys.argv[1:])
worst = max(b[d]["clat_ns"]["max"] for d in ("read", "write")) / 1e9
print("IOPS of the load: %.0f alone, %.0f beside; its slowest I/O took %.2f s"
      % (a["read"]["iops"] + a["write"]["iops"],
         b["read"]["iops"] + b["write"]["iops"], worst))
assert b["error"] == 0, b["error"]
assert worst < 5, worst
PY
# It takes new sessions as before.
args=("$RNBD_PLUGIN" sessname=after "path=$path_gw" device_path=small
	access_mode=ro)
# shellcheck disable=SC2016
run_nbdkit 'nbdinfo "$uri" >/dev/null' "${args[@]}"
stop "$pid_gw" || fail "the gateway ended with $?"
