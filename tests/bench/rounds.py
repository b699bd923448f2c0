#!/usr/bin/env python3
"""Loads on several servers by turns: round after round, each load runs on each
contestant, one right after the other, the order turning. Prints a table of
medians: what the others reach against the first.

  rounds.py --rounds N --seconds S --contestant NAME,fio,BLOCKDEVICE[,PID]
            --contestant NAME,lib,PATH,DEVICE[,PID] ... [--only PATTERN]

fio drives a block device of the kernel's client; lib is rnbd-bench
($RNBD_BENCH), our client library. PID is the process of the server, if it is
one. CPU us is the time per I/O in which the machine's CPUs were not idle,
without what the client's process used itself: the server, and what the kernel
does for both sides in threads and interrupts of its own.
"""
import argparse, json, os, re, resource, statistics, subprocess, sys, time

LOADS = [("4 KiB read d1", "read", 4096, 1), ("4 KiB read d16", "read", 4096, 16),
         ("4 KiB read d64", "read", 4096, 64), ("4 KiB write d1", "write", 4096, 1),
         ("4 KiB write d16", "write", 4096, 16), ("4 KiB write d64", "write", 4096, 64),
         ("124 KiB read d8", "read", 126976, 8), ("124 KiB write d8", "write", 126976, 8)]


def cpu_of(pid):
    """The CPU clock of a process in us, as the kernel numbers it."""
    return time.clock_gettime((~pid << 3) | 2) * 1e6 if pid else 0.0


def busy():
    """Time in us that the CPUs were not idle, since some moment."""
    with open("/proc/stat", encoding="ascii") as f:
        n = f.readline().split()
    idle = (int(n[4]) + int(n[5])) / os.sysconf("SC_CLK_TCK")
    return (time.monotonic() * os.sysconf("SC_NPROCESSORS_ONLN") - idle) * 1e6


def used_by_children():
    u = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (u.ru_utime + u.ru_stime) * 1e6


class Contestant:
    def __init__(self, text):
        name, kind, *rest = text.split(",")
        self.name = name
        self.run = {"fio": self.fio, "lib": self.lib}[kind]
        n = 1 if kind == "fio" else 2
        self.where = rest[:n]
        self.pid = int(rest[n]) if len(rest) > n else 0

    def fio(self, op, size, depth, seconds):
        cpu, all_cpus, own = cpu_of(self.pid), busy(), used_by_children()
        out = subprocess.run(
            ["fio", "--name=b", "--ioengine=libaio", "--direct=1",
             f"--filename={self.where[0]}", f"--rw=rand{op}", f"--bs={size}",
             f"--iodepth={depth}", "--size=100%", "--time_based",
             f"--runtime={round(seconds * 1000)}ms", "--norandommap", "--randrepeat=0",
             "--output-format=json"],
            check=True, capture_output=True, text=True,
            timeout=seconds + 120).stdout
        own = used_by_children() - own
        all_cpus = busy() - all_cpus
        cpu = cpu_of(self.pid) - cpu
        job = json.loads(out[out.index("{"):])["jobs"][0]
        if job["error"]:
            sys.exit(f"rounds.py: fio on {self.where[0]}: error {job['error']}")
        side = job[op]
        n = side["total_ios"]
        return {"iops": side["iops"], "cpu": (all_cpus - own) / n, "proc": cpu / n,
                "p50": side["clat_ns"]["percentile"]["50.000000"] / 1e3}

    def lib(self, op, size, depth, seconds):
        args = [os.environ["RNBD_BENCH"], "--path", self.where[0],
                "--device", self.where[1], "--session", "bench-" + self.name,
                "--seconds", str(seconds), "--load", f"{op}:{size}:{depth}"]
        if self.pid:
            args += ["--server-pid", str(self.pid)]
        out = subprocess.run(args, check=True, stdout=subprocess.PIPE, text=True,
                             timeout=seconds + 120).stdout
        row = dict(zip(("iops", "mbs", "p50", "p99", "client", "proc", "all"),
                       map(float, out.splitlines()[-1].split()[4:])))
        row["cpu"] = row["all"] - row["client"]
        return row


def table(contestants, got):
    base, *others = (c.name for c in contestants)
    med = statistics.median

    def col(rounds, who, what):
        return med(r[who][what] for r in rounds)

    def ratio(rounds, who, what):
        # /proc/stat has ticks: a short trial may count none.
        return med(r[who][what] / max(r[base][what], .01) for r in rounds)

    head = ["load", f"IOPS {base}"]
    for o in others:
        head += [f"IOPS {o}", "ratio"]
    head += [f"p50 us {base}"] + [f"p50 us {o}" for o in others] + [f"CPU us {base}"]
    for o in others:
        head += [f"CPU us {o}", "ratio", "its process"]
    lines = [head, ["---"] * len(head)]
    for name, rounds in got.items():
        line = [name, f"{col(rounds, base, 'iops'):.0f}"]
        for o in others:
            line += [f"{col(rounds, o, 'iops'):.0f}",
                     f"**{ratio(rounds, o, 'iops'):.2f}**"]
        line += [f"{col(rounds, c.name, 'p50'):.0f}" for c in contestants]
        line += [f"{col(rounds, base, 'cpu'):.0f}"]
        for o in others:
            line += [f"{col(rounds, o, 'cpu'):.0f}", f"{ratio(rounds, o, 'cpu'):.2f}",
                     f"{col(rounds, o, 'proc'):.0f}"]
        lines.append(line)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, required=True)
    p.add_argument("--seconds", type=float, required=True)
    p.add_argument("--contestant", action="append", type=Contestant, required=True)
    p.add_argument("--only", default="")
    a = p.parse_args()
    loads = [load for load in LOADS if re.search(a.only, load[0])]
    if not loads:
        sys.exit(f"rounds.py: no load matches '{a.only}'")
    got = {name: [] for name, *_ in loads}
    for r in range(a.rounds):
        for name, op, size, depth in loads:
            n = r % len(a.contestant)
            order = a.contestant[n:] + a.contestant[:n]
            got[name].append({c.name: c.run(op, size, depth, a.seconds) for c in order})
        print(f"round {r + 1} of {a.rounds} done", file=sys.stderr, flush=True)
    print(table(a.contestant, got), flush=True)


main()
