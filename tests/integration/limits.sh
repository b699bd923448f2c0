#!/usr/bin/env bash
# Limits of an export: no client, and no two together, are faster than it, and
# the limit is what they get. fio does a fixed number of requests; how long
# that took is its own word.
. "$(dirname "$0")/functions.sh"
requires fio
ctl() {
	"$RNBD_CTL" --control "$tmp/control" "$@"
}
start_gateway gw --control "$tmp/control" --export slow=memory:64M,iops=400 \
	--export thin=memory:64M,bandwidth=4M --export free=memory:64M

# client NAME EXPORT: an nbdkit of its own session.
client() {
	start_nbdkit "$1" "$RNBD_PLUGIN" "sessname=$1-$$" "path=$path_gw" \
		"device_path=$2" access_mode="${3:-rw}"
}

# load URI OUT FIO-OPTIONS...
load() {
	local uri=$1 out=$2
	shift 2
	fio --name=l --ioengine=nbd --uri="$uri" --size=64m --randrepeat=1 \
		--output-format=json --output="$out" "$@" >/dev/null 2>&1
}

# took OUT MIN MAX: milliseconds that fio's requests took.
took() {
	python3 - "$@" <<-'EOF'
		import json, sys
		job = json.load(open(sys.argv[1]))["jobs"][0]
		ms = max(job[k]["runtime"] for k in ("read", "write", "trim"))
		low, high = map(int, sys.argv[2:4])
		print(f"{sys.argv[1].rsplit('/')[-1]}: {ms} ms, {low} to {high}")
		sys.exit(not low <= ms <= high)
	EOF
}

client a slow
client t thin
# 1200 at 400 per second are 3 s, of which 20 ms may be ahead. It may take
# longer on a machine that is busy, but not much.
load "$uri_a" "$tmp/writes" --rw=randwrite --bs=4k --iodepth=16 \
	--number_ios=1200 || fail "fio on a limited export"
took "$tmp/writes" 2940 6000 || fail "400 writes per second"
load "$uri_a" "$tmp/reads" --rw=randread --bs=64k --iodepth=1 \
	--number_ios=400 || fail "fio on a limited export"
took "$tmp/reads" 940 4000 || fail "400 reads per second"
# 12 MiB at 4 MiB per second.
load "$uri_t" "$tmp/bytes" --rw=randrw --bs=64k --iodepth=8 \
	--number_ios=192 || fail "fio on an export of little bandwidth"
took "$tmp/bytes" 2940 6000 || fail "4 MiB per second"
kill "$pid_a"
wait_gone "$pid_a"

# Two sessions share a limit in turns, whatever their depths.
client b slow ro
client c slow ro
load "$uri_b" "$tmp/deep" --rw=randread --bs=4k --iodepth=32 \
	--number_ios=400 &
deep=$!
load "$uri_c" "$tmp/flat" --rw=randread --bs=4k --iodepth=2 \
	--number_ios=400 || fail "fio beside another"
wait "$deep" || fail "fio beside another"
took "$tmp/deep" 1200 6000 || fail "two on one limit, the deeper one"
took "$tmp/flat" 1200 6000 || fail "two on one limit, the other one"

# A new limit is felt by what waits already: without it this takes 10 s.
load "$uri_b" "$tmp/live" --rw=randread --bs=4k --iodepth=32 \
	--number_ios=4000 &
live=$!
waits() {
	ctl --json device list | python3 -c '
import json, sys
sys.exit(not any(d["mapping_path"] == "slow" and d["throttled"] > 4
                 for d in json.load(sys.stdin)))'
}
until_true waits
ctl export limits slow iops=20000 >/dev/null || fail "export limits"
wait "$live" || fail "fio under a limit that changes"
took "$tmp/live" 0 8000 || fail "a new limit is not felt"

# And nobody else notices anything.
client f free
load "$uri_f" "$tmp/free" --rw=randread --bs=4k --iodepth=16 \
	--number_ios=4000 || fail "fio on a free export"
took "$tmp/free" 0 5000 || fail "an export without a limit is slow"
