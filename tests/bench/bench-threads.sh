#!/usr/bin/env bash
# The plugin under `nbdkit -t N`, N from 1 to 64, and two NBD connections that
# share it:
#
#   fio nbd, depth 64 -> nbdkit -t N rnbd -> rnbd-gatewayd (tcp) -> file
#
#   tests/bench/bench-threads.sh [--rounds N] [--seconds S] [--build DIR]
#       [--part threads|sharing] [--size MIB]
#
# Each round runs every number of threads, one right after the other, the order
# turning. Printed are medians: IOPS, the ratio to the best of the same round,
# and CPU time per I/O of nbdkit and the daemon. Then the latency of a
# connection of depth 1 alone, and beside one of depth 64 of the same nbdkit,
# and what a request of that one takes: each gets its share if the first waits
# no longer than the second.
set -euo pipefail
usage() {
	sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
}
top=$(dirname "$(dirname "$(dirname "$(realpath "$0")")")")
# For trials: more arguments for the two.
read -ra plugin_args <<<"${PLUGIN_ARGS:-}"
read -ra gateway_args <<<"${GATEWAY_ARGS:-}"
rounds=5 seconds=2 build=$top/build part='threads sharing' size=512
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
	--part) part=$2 ;;
	--size) size=$2 ;;
	*)
		echo "bench-threads.sh: unknown argument '$1', or it lacks its value" >&2
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
		echo "bench-threads.sh: there is no $f; build it, or say where by --build" >&2
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
	for p in "${pids[@]}"; do
		timeout 10 tail --pid="$p" -f /dev/null || :
	done
	rm -rf "$tmp"
}
trap cleanup EXIT
head -c "${size}M" /dev/urandom >"$tmp/disk"

mkfifo "$tmp/fifo"
"$gatewayd" --foreground --log-level error --listen tcp:127.0.0.1:0 \
	--export "disk=file:$tmp/disk" "${gateway_args[@]}" >"$tmp/fifo" &
gw=$!
pids+=("$gw")
read -r line <"$tmp/fifo"
kits=()
for n in 1 2 4 8 16 32 64; do
	nbdkit -P "$tmp/$n.pid" -U "$tmp/$n.sock" -t "$n" "$plugin" \
		"sessname=bench-$n" "path=${line#listening on }" \
		device_path=disk "${plugin_args[@]}"
	# Written a moment after its parent returned.
	until [ -s "$tmp/$n.pid" ]; do
		sleep 0.02
	done
	pid=$(cat "$tmp/$n.pid")
	pids+=("$pid")
	kits+=("$n,$tmp/$n.sock,$pid")
done

size=$size python3 - "$rounds" "$seconds" "$gw" "$part" "${kits[@]}" <<'END'
import json, os, statistics, subprocess, sys, time

rounds, seconds, gw = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
kits = {int(n): (sock, int(pid)) for n, sock, pid in
        (a.split(",") for a in sys.argv[5:])}
med = statistics.median


def cpu(pids):
    # The CPU clock of a process in us, as the kernel numbers it.
    return sum(time.clock_gettime((~p << 3) | 2) for p in pids) * 1e6


def fio(sock, rw, depth, runtime=seconds):
    return subprocess.Popen(
        ["fio", "--name=b", "--ioengine=nbd", f"--uri=nbd+unix:///?socket={sock}",
         f"--rw=rand{rw}", "--bs=4k", f"--iodepth={depth}", f"--size={os.environ['size']}m",
         "--time_based", f"--runtime={round(float(runtime) * 1000)}ms", "--output-format=json",
         "--norandommap", "--randrepeat=0"],
        stdout=subprocess.PIPE, text=True)


def result(proc, rw):
    out = proc.communicate()[0]
    if proc.returncode:
        sys.exit(f"bench-threads: fio ended with {proc.returncode}")
    return json.loads(out[out.index("{"):])["jobs"][0][rw]


def p(side, n):
    return side["clat_ns"]["percentile"][n] / 1e3


def threads(rw):
    got = {n: [] for n in kits}
    for r in range(rounds):
        order = list(kits)
        order = order[r % len(order):] + order[:r % len(order)]
        one = {}
        for n in order:
            sock, pid = kits[n]
            before = cpu((pid, gw))
            side = result(fio(sock, rw, 64), rw)
            one[n] = (side["iops"], (cpu((pid, gw)) - before) / side["total_ios"])
        best = max(iops for iops, _ in one.values())
        for n, (iops, us) in one.items():
            got[n].append((iops, iops / best, us))
    print(f"4 KiB {rw}, depth 64\n{'threads':>8} {'IOPS':>8} {'of best':>8} {'CPU us':>7}")
    for n, g in got.items():
        print(f"{n:8} {med(x[0] for x in g):8.0f} {med(x[1] for x in g):8.2f} "
              f"{med(x[2] for x in g):7.1f}")


def sharing(rw):
    sock, _ = kits[64]
    got = []
    for _ in range(rounds):
        alone = result(fio(sock, rw, 1), rw)
        # The busy one runs before and after.
        busy = fio(sock, rw, 64, float(seconds) + 1.0)
        time.sleep(0.5)
        beside = result(fio(sock, rw, 1), rw)
        crowd = result(busy, rw)
        got.append([p(alone, "50.000000"), p(beside, "50.000000"), p(crowd, "50.000000"),
                    p(beside, "99.000000"), p(crowd, "99.000000"), beside["iops"]])
    m = [med(g[i] for g in got) for i in range(6)]
    ratio = med(g[1] / g[2] for g in got)
    print(f"4 KiB {rw}: depth 1 alone p50 {m[0]:.0f} us; beside depth 64 p50 {m[1]:.0f} us "
          f"(p99 {m[3]:.0f}), that one's requests p50 {m[2]:.0f} us (p99 {m[4]:.0f}); "
          f"ratio {ratio:.2f}")


for op in ("read", "write"):
    if "threads" in sys.argv[4]:
        threads(op)
    if "sharing" in sys.argv[4]:
        sharing(op)
END
