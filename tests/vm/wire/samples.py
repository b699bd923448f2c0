# SPDX-License-Identifier: BSD-3-Clause
"""Keeps the first message of each shape, to be written as test vectors."""
import json

# Longer ones add nothing but descriptors.
MAX_BYTES = 600


class Samples:
    def __init__(self):
        self.vectors = {}

    def add(self, name, data, fields, **transport):
        if name in self.vectors or len(data) > MAX_BYTES:
            return
        told = {k: v for k, v in fields.items()
                if not isinstance(v, bytes) and k != "len"}
        for key in ("sector", "rw"):
            if key in told:
                told[key] = f"0x{told[key]:x}"
        if "desc" in told:
            told["desc"] = [{k: v if k == "len" else f"0x{v:x}"
                             for k, v in d.items()} for d in told["desc"]]
        if "imm_host" in transport:
            imm = transport["imm_host"]
            transport["imm_wire"] = f"{imm:08x}"
            transport["imm_host"] = f"0x{imm:08x}"
        for key in ("remote_addr", "rkey"):
            if key in transport:
                transport[key] = f"0x{transport[key]:x}"
        self.vectors[name] = {"fields": told, "len": len(data),
                              "hex": bytes(data).hex(),
                              "transport": transport}

    def write(self, path, **about):
        with open(path, "w", encoding="utf-8") as f:
            json.dump(dict(about, vectors=self.vectors), f, indent=1)
            f.write("\n")
