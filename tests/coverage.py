#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Tables of coverage.sh, from gcovr's JSON. A branch or a line counts once,
however many executables its file is linked into."""
import json
import sys

# What a peer can reach: its goal is 95 percent of the branches.
PARTS = {
    "codecs (proto/)": lambda f: f.startswith("proto/"),
    "client (rtrs/clt/)": lambda f: f.startswith("rtrs/clt/"),
    "server (rtrs/srv/)": lambda f: f.startswith("rtrs/srv/"),
    "session of the plugin (nbdkit-plugin/rnbd-*)":
        lambda f: f.startswith("nbdkit-plugin/rnbd-"),
    "gateway/server.c, session*.c, io.c": lambda f: f in (
        "gateway/server.c", "gateway/session.c",
        "gateway/session-allow.c", "gateway/io.c"),
    "all": lambda f: True,
    "all but rtrs/fabric/verbs-*": lambda f: "fabric/verbs-" not in f,
}


def main():
    files = {}
    for f in json.load(open(sys.argv[1]))["files"]:
        lines, branches = {}, {}
        for line in f["lines"]:
            if line.get("gcovr/noncode") or line.get("gcovr/excluded"):
                continue
            n = line["line_number"]
            lines[n] = lines.get(n, 0) + line["count"]
            for i, b in enumerate(line["branches"]):
                if b.get("gcovr/excluded"):
                    continue
                branches[n, i] = branches.get((n, i), 0) + b["count"]
        files[f["file"]] = (lines, branches)

    def ratio(names, what):
        hit = sum(1 for f in names for v in files[f][what].values() if v)
        n = sum(len(files[f][what]) for f in names)
        return "%6.1f %5d/%-5d" % (100 * hit / n if n else 100, hit, n)

    print("%-46s %18s %18s" % ("", "lines", "branches"))
    for f in sorted(files):
        print("%-46s %s %s" % (f, ratio([f], 0), ratio([f], 1)))
        if "--gaps" in sys.argv:
            gaps = [str(n) for n, v in sorted(files[f][0].items()) if not v]
            print("    lines not reached: " + (" ".join(gaps) or "none"))
    print()
    for name, match in PARTS.items():
        names = [f for f in files if match(f)]
        print("%-46s %s %s" % (name, ratio(names, 0), ratio(names, 1)))


main()
