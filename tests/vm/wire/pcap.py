# SPDX-License-Identifier: BSD-3-Clause
"""Reads and writes pcap files (the classic format, Ethernet frames)."""
import struct

ETHERNET = 1
MICRO, NANO = 0xA1B2C3D4, 0xA1B23C4D


class BadFile(Exception):
    """The file is not a capture of Ethernet frames."""


def read(path):
    """Yields (number from 1, seconds, frame). A frame cut at the end of the
    file, as it is left behind by a recorder that was killed, ends the list."""
    with open(path, "rb") as f:
        head = f.read(24)
        if len(head) < 24:
            raise BadFile(f"{path}: shorter than the header of a pcap file")
        for order in "<>":
            magic, = struct.unpack_from(order + "I", head)
            if magic in (MICRO, NANO):
                break
        else:
            raise BadFile(f"{path}: not a pcap file (magic {head[:4].hex()})")
        link, = struct.unpack_from(order + "I", head, 20)
        if link & 0xFFFF != ETHERNET:
            raise BadFile(f"{path}: link type {link}, not Ethernet")
        scale = 1e-6 if magic == MICRO else 1e-9
        number = 0
        while True:
            rec = f.read(16)
            if len(rec) < 16:
                return
            sec, frac, caplen, origlen = struct.unpack(order + "4I", rec)
            frame = f.read(caplen)
            if len(frame) < caplen:
                return
            number += 1
            if caplen < origlen:
                raise BadFile(f"{path}: frame {number} was cut to {caplen} of "
                              f"{origlen} bytes; record whole frames")
            yield number, sec + frac * scale, frame


def write(path, frames):
    """frames: (seconds, bytes)."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", MICRO, 2, 4, 0, 0, 65536, ETHERNET))
        for when, frame in frames:
            micro = round(when * 1e6)
            f.write(struct.pack("<4I", micro // 1000000, micro % 1000000,
                                len(frame), len(frame)) + frame)
