# SPDX-License-Identifier: BSD-3-Clause
"""The rules of RNBD: what the user messages of requests say, and the answers
to them."""
import msg
from flow import CLIENT
from peers import Device
from report import Hex

MODES = ("ro", "rw", "migration")
LENGTHS = {msg.SESS_INFO: ("SESS_INFO", 36, 36), msg.OPEN: ("OPEN", 264, 56),
           msg.CLOSE: ("CLOSE", 8, 0), msg.EXPLAIN: ("EXPLAIN", 4, 256)}
FLAGS = msg.SYNC | msg.FUA | msg.PREFLUSH | msg.NOUNMAP


class Rnbd:
    def __init__(self, rtrs):
        self.rtrs, self.r = rtrs, rtrs.r

    def request(self, req):
        r, where = self.r, req.where
        req.fields = f = msg.rnbd(req.message)
        kind = f["type"]
        if kind == msg.IO:
            self._io(req, f)
            return
        known = kind in LENGTHS
        if not r.rule(where, "RNBD", "type", known, kind, "nobody knows it"):
            return
        name, length, answer = LENGTHS[kind]
        req.kind, req.title = name.lower(), name
        r.message(name)
        r.equal(where, name, "length", len(req.message), length)
        r.equal(where, name, "cid", req.conn.cid, 0)
        self._carriage(req, name, msg.READ if answer else msg.WRITE, answer)
        if "reserved_hdr" in f:
            r.reserved(name, "bytes 2-3", f["reserved_hdr"])
        if kind == msg.SESS_INFO:
            r.equal(where, name, "ver", f["ver"], 2)
            r.reserved(name, "bytes 5-35", f["reserved"])
            req.conn.path.session.greeted = True
            return
        r.equal(where, name, "after SESS_INFO",
                req.conn.path.session.greeted, True)
        if kind == msg.OPEN:
            r.rule(where, name, "access_mode", f["access_mode"] < 3,
                   f["access_mode"], "has to be 0, 1 or 2")
            r.rule(where, name, "dev_name", bool(f["dev_name"]),
                   f["dev_name"], "has to be 1 to 254 characters and a NUL")
            r.reserved(name, "byte 5", f["reserved_mode"])
            r.reserved(name, "bytes after the NUL", f["reserved_name"])
            r.reserved(name, "bytes 261-263", f["reserved"])
        elif kind == msg.CLOSE:
            self._device(req, name)

    def _carriage(self, req, kind, direction, length):
        """The RTRS request that a message rides in."""
        r, where, h = self.r, req.where, req.hdr
        r.equal(where, kind, "rides in", "READ" if h["type"] == msg.READ
                else "WRITE", "READ" if direction == msg.READ else "WRITE")
        r.equal(where, kind, "sg_cnt", h["sg_cnt"], int(
            direction == msg.READ and length > 0))
        got = req.desc["len"] if req.desc else len(req.data)
        r.equal(where, kind, "room for the answer" if direction == msg.READ
                else "data length", got, length)

    def _device(self, req, kind):
        f, session = req.fields, req.conn.path.session
        req.device = session.devices.get(f["device_id"])
        self.r.rule(req.where, kind, "device_id", req.device is not None,
                    f["device_id"], "is not open")
        return req.device

    def _io(self, req, f):
        r, where, k = self.r, req.where, "IO"
        op, flags = f["rw"] & 0xFF, f["rw"] & ~0xFF
        if r.rule(where, k, "operation", op < len(msg.OPS), op,
                  "nobody knows it"):
            k = "IO " + msg.OPS[op]
        r.message(k)
        req.kind, req.title = k.lower().replace(" ", "_"), k
        req.op = msg.OPS[op] if op < len(msg.OPS) else None
        if flags & msg.FUA and req.op == "WRITE":
            req.kind += "_fua"
        r.equal(where, k, "length", len(req.message), 32)
        if req.conn.path.cid_num > 1:
            r.rule(where, k, "cid", req.conn.cid > 0, req.conn.cid,
                   "has to be that of an I/O connection")
        r.rule(where, k, "flags", not flags & ~FLAGS, Hex(flags),
               f"nobody knows 0x{flags & ~FLAGS:x}")
        r.reserved(k, "bytes 2-3", f["reserved_hdr"])
        r.reserved(k, "bytes 26-31", f["reserved"])
        r.seen(k, "prio", f["prio"])
        dev = self._device(req, k)
        if req.op == "FLUSH":
            self._flush(req, f, k, flags)
            return
        reading = req.op == "READ"
        data = f["bi_size"] if req.op in ("READ", "WRITE") else 0
        self._carriage(req, k, msg.READ if reading else msg.WRITE, data)
        r.rule(where, k, "bi_size", f["bi_size"] > 0, f["bi_size"],
               "has to be more than nothing")
        if reading or req.op == "DISCARD":
            r.equal(where, k, "FUA", Hex(flags & msg.FUA), Hex(0))
        if self.rtrs.kernel(CLIENT):
            self._kernel_flags(req, k, flags)
        if dev:
            self._range(req, f, k, dev)

    def _kernel_flags(self, req, k, flags):
        r, where = self.r, req.where
        if req.op == "READ":
            r.equal(where, k, "flags of a kernel client", Hex(flags),
                    Hex(msg.SYNC))
        elif req.op == "WRITE":
            r.rule(where, k, "flags of a kernel client",
                   flags in (0, msg.SYNC, msg.SYNC | msg.FUA), Hex(flags),
                   "has to be 0, SYNC or SYNC and FUA")
        else:
            r.rule(where, k, "flags of a kernel client",
                   flags in (0, msg.SYNC), Hex(flags), "has to be 0 or SYNC")

    def _flush(self, req, f, k, flags):
        r, where = self.r, req.where
        r.equal(where, k, "sg_cnt", req.hdr["sg_cnt"], 0)
        r.equal(where, k, "data length", len(req.data), 0)
        r.equal(where, k, "bi_size", f["bi_size"], 0)
        rides = "READ" if req.hdr["type"] == msg.READ else "WRITE"
        if self.rtrs.kernel(CLIENT):
            r.equal(where, k, "rides in", rides, "READ")
            r.equal(where, k, "sector", Hex(f["sector"]), Hex(msg.ANY_SECTOR))
            r.equal(where, k, "flags of a kernel client", Hex(flags),
                    Hex(msg.SYNC | msg.FUA))
        else:
            r.seen(k, "rides in", rides)
            r.seen(k, "sector", Hex(f["sector"]))

    def _range(self, req, f, k, dev):
        r, where, g = self.r, req.where, dev.rsp
        block = g["logical_block_size"] or 512
        start, size = f["sector"] * 512, f["bi_size"]
        end = f["sector"] + size // 512
        r.rule(where, k, "alignment", not start % block and not size % block,
               not start % block and not size % block,
               f"{size} bytes at sector {f['sector']}, block size {block}")
        r.rule(where, k, "within the device", end <= g["nsectors"],
               end <= g["nsectors"],
               f"ends at {end}, the device at {g['nsectors']}")
        if req.op == "DISCARD":
            r.rule(where, k, "size within the limit",
                   size // 512 <= g["max_discard_sectors"],
                   size // 512 <= g["max_discard_sectors"],
                   f"{size} bytes, the server takes "
                   f"{g['max_discard_sectors']} sectors")
        if req.op == "WRITE_ZEROES":
            # The old field: 0 from servers that do not know the operation.
            r.rule(where, k, "offered by OPEN_RSP",
                   g["max_write_zeroes_sectors"] * 512 >= size,
                   g["max_write_zeroes_sectors"] * 512 >= size,
                   f"{size} bytes, the server takes "
                   f"{g['max_write_zeroes_sectors']} sectors")
        count = size // 512
        if req.op == "READ":
            req.token = dev.shadow.read_begins(f["sector"], count)
        else:
            dev.shadow.write_begins(req, f["sector"], count)

    # Answers

    def reply(self, where, req, errno):
        handler = {"sess_info": self._sess_info_rsp, "open": self._open_rsp,
                   "close": self._close_done}.get(req.kind)
        self.r.message(f"answer to {req.title}, errno {errno}" if errno else
                       f"answer to {req.title}")
        if handler and not errno:
            handler(where, req)
        elif req.kind.startswith("io_"):
            self._io_done(where, req, errno)

    def _sess_info_rsp(self, where, req):
        r, k = self.r, "SESS_INFO_RSP"
        r.message(k)
        f = msg.sess_info_rsp(req.answer or b"")
        r.equal(where, k, "length", len(req.answer), 36)
        r.equal(where, k, "type", f["type"], msg.SESS_INFO_RSP)
        r.equal(where, k, "ver", f["ver"], 2)
        r.reserved(k, "bytes 2-3", f["reserved_hdr"])
        r.reserved(k, "bytes 5-35", f["reserved"])
        self.rtrs.samples.add("sess_info_rsp", req.answer, f,
                              verb="RDMA_WRITE", cid=req.conn.cid,
                              direction="server->client",
                              remote_addr=req.desc["addr"],
                              rkey=req.desc["key"])

    def _open_rsp(self, where, req):
        r, k = self.r, "OPEN_RSP"
        r.message(k)
        f = msg.open_rsp(req.answer or b"")
        r.equal(where, k, "length", len(req.answer), 56)
        r.equal(where, k, "type", f["type"], msg.OPEN_RSP)
        block = f["logical_block_size"]
        r.rule(where, k, "nsectors", f["nsectors"] > 0, f["nsectors"],
               "has to be more than 0")
        r.rule(where, k, "logical_block_size",
               block >= 512 and not block & (block - 1), block,
               "has to be a power of two from 512")
        r.rule(where, k, "physical_block_size",
               f["physical_block_size"] >= block, f["physical_block_size"],
               f"is less than a logical block of {block}")
        limit = f["max_discard_sectors"]
        if self.rtrs.server == "ours":
            r.rule(where, k, "max_discard_sectors", limit <= 8388607, limit,
                   "makes more bytes than a request can say")
        else:
            # brd of 6.12 has no limit; the client has to find its own.
            r.seen(k, "max_discard_sectors", limit)
        r.rule(where, k, "cache_policy", f["cache_policy"] < 4,
               f["cache_policy"], "has unknown bits")
        r.equal(where, k, "obsolete_rotational", f["obsolete_rotational"], 0)
        if self.rtrs.server == "kernel-6.1":
            r.equal(where, k, "write zeroes of 6.1",
                    f["max_write_zeroes_sectors"], 0)
        for name in ("max_hw_sectors", "max_segments", "secure_discard",
                     "discard_granularity", "discard_alignment",
                     "max_write_zeroes_sectors", "device_id"):
            r.seen(k, name, f[name])
        r.reserved(k, "bytes 2-3", f["reserved_hdr"])
        r.reserved(k, "bytes 46-55", f["reserved"])
        session, name = req.conn.path.session, req.fields["dev_name"]
        old = session.devices.get(f["device_id"])
        r.rule(where, k, "device_id is free", not old or old.name == name,
               not old or old.name == name,
               f"{f['device_id']} is that of {old and old.name}")
        if not old:
            session.devices[f["device_id"]] = Device(name, f)
        self.rtrs.samples.add("open_rsp", req.answer, f, verb="RDMA_WRITE",
                              cid=req.conn.cid, direction="server->client",
                              remote_addr=req.desc["addr"],
                              rkey=req.desc["key"])

    def _close_done(self, where, req):
        req.conn.path.session.devices.pop(req.fields["device_id"], None)

    def _io_done(self, where, req, errno):
        r, dev, f = self.r, req.device, req.fields
        if not dev or req.op == "FLUSH":
            return
        count = f["bi_size"] // 512
        if req.op != "READ":
            data = {"WRITE": req.data,
                    "WRITE_ZEROES": bytes(f["bi_size"])}.get(req.op)
            dev.shadow.write_ends(req, f["sector"], data, count, not errno)
        elif not errno and req.answer is not None:
            agree, bad = dev.shadow.read_ends(req.token, f["sector"],
                                              req.answer)
            if agree or bad is not None:
                r.rule(where, "IO READ", "data as written before", bad is None,
                       bad is None, f"sector {bad} of {dev.name} differs")
