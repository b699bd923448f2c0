#!/usr/bin/env bash
# Our chain against the stock one, interleaved, on the same file in memory:
#
#   ours:   fio nbd -> nbdkit rnbd -> rnbd-gatewayd (tcp loopback) -> file
#   stock:  fio nbd -> nbdkit nbd  -> nbdkit file   (tcp loopback) -> file
#
#   tests/bench/bench-chain.sh [--rounds N] [--seconds S] [--build DIR]
#
# Each round runs every workload on both, one right after the other. Printed
# are the medians of the rounds' ratios, ours to stock: IOPS (more is better)
# and CPU time per I/O of both server processes together (less is better).
set -euo pipefail
usage() {
	sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
}
top=$(dirname "$(dirname "$(dirname "$(realpath "$0")")")")
# For trials: more arguments for the two, and a pattern of workloads.
read -ra plugin_args <<<"${PLUGIN_ARGS:-}"
read -ra gateway_args <<<"${GATEWAY_ARGS:-}"
only=${ONLY:-}
rounds=5 seconds=2 build=$top/build
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
	--build) build=$2 ;;
	*)
		echo "bench-chain.sh: unknown argument '$1', or it lacks its value" >&2
		usage >&2
		exit 2
		;;
	esac
	shift 2
done
gatewayd=$build/gateway/rnbd-gatewayd
plugin=$build/nbdkit-plugin/nbdkit-rnbd-plugin.so
for f in "$gatewayd" "$plugin"; do
	[ -e "$f" ] || {
		echo "bench-chain.sh: there is no $f; build it, or say where by --build" >&2
		exit 2
	}
done
shm=/dev/shm
[ -w "$shm" ] || shm=/tmp
tmp=$(mktemp -d "$shm/rnbd-bench.XXXXXX")
pids=()
cleanup() {
	trap - EXIT
	for p in "${pids[@]}"; do
		kill "$p" 2>/dev/null || :
	done
	for f in "$tmp"/*.pid; do
		[ -s "$f" ] && timeout 10 tail --pid="$(cat "$f")" -f /dev/null || :
	done
	rm -rf "$tmp"
}
trap cleanup EXIT
# The pid of a daemonised nbdkit: written a moment after its parent returned.
pid_of() {
	until [ -s "$tmp/$1.pid" ]; do
		sleep 0.02
	done
	cat "$tmp/$1.pid"
}
truncate -s 512M "$tmp/disk"
head -c 512M /dev/urandom >"$tmp/disk"

mkfifo "$tmp/fifo"
"$gatewayd" --foreground --log-level error --listen tcp:127.0.0.1:0 \
	--export "disk=file:$tmp/disk" "${gateway_args[@]}" >"$tmp/fifo" &
gw=$!
pids+=("$gw")
read -r line <"$tmp/fifo"
nbdkit -P "$tmp/ours.pid" -U "$tmp/ours.sock" "$plugin" sessname=bench \
	"path=${line#listening on }" device_path=disk "${plugin_args[@]}"
ours=$(pid_of ours)
pids+=("$ours")

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
nbdkit -P "$tmp/file.pid" -i 127.0.0.1 -p "$port" file "$tmp/disk"
file=$(pid_of file)
nbdkit -P "$tmp/stock.pid" -U "$tmp/stock.sock" nbd hostname=127.0.0.1 "port=$port"
stock=$(pid_of stock)
pids+=("$file" "$stock")

only=$only python3 - "$tmp" "$rounds" "$seconds" "$ours,$gw" "$stock,$file" <<'EOF'
import json, os, re, statistics, subprocess, sys, time

tmp, rounds, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3]
chains = {"ours": (f"{tmp}/ours.sock", sys.argv[4].split(",")),
          "stock": (f"{tmp}/stock.sock", sys.argv[5].split(","))}
only = os.environ["only"]
work = [("4k read d1", "randread", "4k", 1), ("4k write d1", "randwrite", "4k", 1),
        ("4k read d16", "randread", "4k", 16), ("4k write d16", "randwrite", "4k", 16),
        ("4k read d64", "randread", "4k", 64), ("4k write d64", "randwrite", "4k", 64),
        ("128k read d16", "randread", "128k", 16),
        ("128k write d16", "randwrite", "128k", 16)]
def cpu(pids):
    # The CPU clock of a process, threads that ended included, in us. The
    # kernel's number for it: clock_getcpuclockid(3).
    return sum(time.clock_gettime((~int(p) << 3) | 2) for p in pids) * 1e6

def run(sock, pids, rw, bs, depth):
    before = cpu(pids)
    out = subprocess.run(
        ["fio", "--name=b", "--ioengine=nbd", f"--uri=nbd+unix:///?socket={sock}",
         f"--rw={rw}", f"--bs={bs}", f"--iodepth={depth}", "--size=512m",
         "--time_based", f"--runtime={seconds}", "--output-format=json",
         "--norandommap", "--randrepeat=0"],
        check=True, capture_output=True, text=True).stdout
    job = json.loads(out[out.index("{"):])["jobs"][0]
    side = job["read" if "read" in rw else "write"]
    return side["iops"], (cpu(pids) - before) / side["total_ios"]

got = {name: [] for name, *_ in work}
for r in range(rounds):
    for name, rw, bs, depth in work:
        if only and not re.search(only, name):
            continue
        order = ["ours", "stock"] if r % 2 == 0 else ["stock", "ours"]
        one = {c: run(*chains[c], rw, bs, depth) for c in order}
        got[name].append(one)
    print(f"round {r + 1} of {rounds} done", file=sys.stderr)

print(f"{'workload':16} {'IOPS':>8} {'stock':>8} {'ratio':>6}   "
      f"{'CPU us':>7} {'stock':>7} {'ratio':>6}")
med = statistics.median
for name, *_ in work:
    g = got[name]
    if not g:
        continue
    iops = med(x["ours"][0] / x["stock"][0] for x in g)
    us = med(x["ours"][1] / x["stock"][1] for x in g)
    print(f"{name:16} {med(x['ours'][0] for x in g):8.0f} "
          f"{med(x['stock'][0] for x in g):8.0f} {iops:6.2f}   "
          f"{med(x['ours'][1] for x in g):7.1f} "
          f"{med(x['stock'][1] for x in g):7.1f} {us:6.2f}")
EOF
