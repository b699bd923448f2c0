# SPDX-License-Identifier: BSD-3-Clause
"""Keeps the first message of each shape, to be written as test vectors."""
import json

# Longer ones add nothing but descriptors.
MAX_BYTES = 600


class Samples:
    """Names are those of the vectors of the protocol: X_req, X_inv, X_done for
    a request, the invalidation and the reply that belong to it."""

    def __init__(self):
        self.vectors = {}

    def add(self, name, data, fields, **transport):
        """True if the message was taken."""
        if name in self.vectors or len(data) > MAX_BYTES:
            return False
        self.vectors[name] = {
            "fields": _told(fields), "len": len(data),
            "hex": bytes(data).hex(), "transport": _told(transport)}
        return True

    def write(self, path, **about):
        with open(path, "w", encoding="utf-8") as f:
            json.dump(dict(about, vectors=self.vectors), f, indent=1)
            f.write("\n")


WIDTHS = {"addr": 16, "key": 8, "remote_addr": 16, "rkey": 8, "rw": 8,
          "sector": 1, "imm_host": 8, "invalidate_rkey": 8}


def _told(fields):
    """Without what is reserved; addresses, keys and flags in hexadecimal."""
    told = {}
    for name, value in fields.items():
        if name == "imm_host":
            told["imm_wire"] = f"{value:08x}"
        if isinstance(value, dict):
            told[name] = _told(value)
        elif isinstance(value, list):
            told[name] = [_told(v) for v in value]
        elif name in WIDTHS and isinstance(value, int):
            told[name] = f"0x{value:0{WIDTHS[name]}x}"
        elif not isinstance(value, bytes):
            told[name] = value
    return told
