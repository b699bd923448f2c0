#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Checks a capture of RTRS and RNBD over RoCE against the protocol.

Prints each field of each kind of message with its values, and how often it was
right. Exit status: 0 all agree, 1 something disagrees (or --expect was not
met), 2 the capture cannot be read.
"""
import argparse
import sys

sys.dont_write_bytecode = True

import pcap
import roce
from flow import Flow
from report import Report
from rtrs import Rtrs


def check(path, report, client="any", server="any", port=1234, lossy=False):
    """Runs the capture through all layers; returns the top one."""
    rtrs = Rtrs(report, client, server, port, lossy)
    flow = Flow(report, rtrs)
    for number, when, frame in pcap.read(path):
        where = f"frame {number}"
        try:
            packet = roce.parse(frame)
        except roce.Malformed as e:
            report.complain(where, "packet", str(e))
            continue
        if packet:
            report.message("packet")
            flow.feed(where, when, packet)
    flow.end()
    rtrs.end(flow.conns)
    return rtrs


def expect(report, words):
    """NAME or NAME=COUNT (at least that many messages) or NAME=0 (none)."""
    for word in words:
        name, _, least = word.partition("=")
        got = report.counts[name]
        least = int(least) if least else 1
        if got < least or (least == 0 and got):
            report.complain("end", "capture", f"{got} of {name}, expected "
                            f"{'none' if least == 0 else f'{least} or more'}")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    kinds = ["any", "ours", "kernel", "kernel-6.1", "kernel-6.12"]
    p.add_argument("capture", help="pcap file of one side's interface")
    p.add_argument("--client", choices=kinds, default="any",
                   help="adds what is known of this client")
    p.add_argument("--server", choices=kinds, default="any",
                   help="adds what is known of this server")
    p.add_argument("--port", type=int, default=1234)
    p.add_argument("--lossy", action="store_true",
                   help="paths may be lost in the capture")
    p.add_argument("--expect", action="append", default=[],
                   metavar="NAME[=COUNT]",
                   help="a kind of message that has to be there (repeatable)")
    p.add_argument("--vectors", metavar="FILE",
                   help="writes the first message of each shape as JSON")
    a = p.parse_args()
    report = Report()
    try:
        rtrs = check(a.capture, report, a.client, a.server, a.port, a.lossy)
    except (OSError, pcap.BadFile) as e:
        print(f"wirecheck.py: {e}", file=sys.stderr)
        return 2
    expect(report, a.expect)
    for line in report.lines():
        print(line)
    if a.vectors:
        rtrs.samples.write(a.vectors, client=a.client, server=a.server)
    return 1 if report.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
