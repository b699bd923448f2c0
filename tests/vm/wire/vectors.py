#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Makes test vectors of captures: the first message of each shape in each of
them. Of captures with the same KERNEL, later ones give only what is new.

    vectors.py KERNEL:NAME:FILE.pcap... >captured.json
"""
import json
import sys

sys.dont_write_bytecode = True

import wirecheck  # noqa: E402
from msg import bits  # noqa: E402
from report import Report  # noqa: E402

SHAPE = ("flags", "queue_depth", "first_conn", "errno", "type")


def shape(name, v):
    return (name, v["len"], v["transport"].get("verb"),
            tuple(v["fields"].get(f) for f in SHAPE))


def capture(path):
    report = Report()
    rtrs = wirecheck.check(path, report)
    if report.complaints:
        sys.exit(f"vectors.py: {path}: {report.complaints[0]}")
    rsp = next(iter(rtrs.sessions.values())).rsp
    qd, size = rsp["queue_depth"], rsp["max_io_size"] + rsp["max_hdr_size"]
    params = {"queue_depth": qd, "chunk_size": size,
              "max_hdr_size": rsp["max_hdr_size"],
              "max_io_size": rsp["max_io_size"], "chunk_bits": bits(qd),
              "mem_bits": 28 - bits(qd)}
    return params, rtrs.samples.vectors


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    seen, out = set(), []
    for arg in sys.argv[1:]:
        kernel, name, path = arg.split(":", 2)
        params, vectors = capture(path)
        kept = {}
        for key, v in vectors.items():
            if (kernel, shape(key, v)) not in seen:
                seen.add((kernel, shape(key, v)))
                kept[key] = v
        lines = ",\n".join(f"   {json.dumps(k)}: {json.dumps(v)}"
                           for k, v in kept.items())
        out.append(f'  {json.dumps(f"{kernel} {name}")}: {{\n'
                   f'  "parameters": {json.dumps(params)},\n'
                   f'  "vectors": {{\n{lines}\n  }}\n  }}')
    print('{\n "about": "What kernel clients and servers said to each other, '
          'as recorded between two machines. hex: the bytes; of a request '
          'with data only what follows the data.",\n "captures": {\n' +
          ",\n".join(out) + "\n }\n}")


main()
