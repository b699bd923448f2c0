# SPDX-License-Identifier: BSD-3-Clause
"""Builds captures: a client and a server whose messages are those of the
protocol's vectors, as RoCE packets with all their headers."""
import ipaddress
import json
import struct

import roce

MTU = 1024
OPCODES = {(name, first, last): code
           for code, (name, first, last, _) in roce.RC.items()}
CM_ATTR = {name: code for code, name in roce.CM_ATTR.items()}
SERVICE = 0x0000000001060000 + 1234


class Vectors:
    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            self.all = json.load(f)["vectors"]

    def bytes(self, name):
        return bytearray.fromhex(self.all[name]["hex"])

    def transport(self, name):
        return self.all[name]["transport"]


class Side:
    def __init__(self, address, first_qpn, first_psn):
        self.ip = ipaddress.ip_address(address)
        self.qpn, self.psn, self.comm_id = first_qpn, first_psn, first_qpn


class Link:
    """A connection: queue pairs, comm ids and the next sequence numbers."""

    def __init__(self, cid):
        self.cid = cid
        self.qpn, self.comm_id, self.psn = {}, {}, {}


class Wire:
    """Frames in the order in which they travel. Each call takes the side that
    sends, "c" or "s"."""

    def __init__(self, v6=False):
        a, b = ("fd00::1", "fd00::2") if v6 else ("10.0.0.1", "10.0.0.2")
        self.sides = {"c": Side(a, 0x11, 0xFFFFFE), "s": Side(b, 0x31, 500)}
        self.frames = []
        self.now = 1000.0
        self.tid = 0

    # Frames

    def _frame(self, side, opcode, qpn, psn, headers, data):
        src, dst = self.sides[side].ip, self.sides["sc"[side == "s"]].ip
        pad = -len(data) % 4
        body = struct.pack(">BBH", opcode, pad << 4, 0xFFFF) + \
            struct.pack(">II", qpn, psn) + headers + bytes(data) + bytes(pad)
        udp = struct.pack(">4H", 0xC000, 4791, 8 + len(body) + 4, 0)
        total = len(udp) + len(body) + 4
        if src.version == 4:
            ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + total, 0, 0x4000, 64,
                             17, 0) + src.packed + dst.packed
            kind = 0x0800
        else:
            ip = struct.pack(">IHBB", 0x60000000, total, 17, 64) + \
                src.packed + dst.packed
            kind = 0x86DD
        self.now += 0.0001
        self.frames.append((self.now, bytes(12) + struct.pack(">H", kind) +
                            ip + udp + body + roce.icrc(ip, udp, body)))

    def again(self, number=-1):
        """Sends an earlier frame once more."""
        self.now += 0.001
        self.frames.append((self.now, self.frames[number][1]))

    # The connection manager

    def cm(self, side, kind, body, priv=b""):
        if kind == "REQ":
            self.tid += 1
        data = struct.pack(">BBBBHHQHHI", 1, 7, 2, 3, 0, 0, self.tid,
                           CM_ATTR[kind], 0, 0) + body + bytes(priv)
        data += bytes(256 - len(data))
        self._frame(side, roce.UD_SEND_ONLY, 1, 0,
                    struct.pack(">II", 0x80010000, 1), data)

    def connect(self, cid, req, rsp, reject=False, retry=7, rnr=7, rep_rnr=7,
                resources=0, service=SERVICE):
        link = Link(cid)
        for name, s in self.sides.items():
            link.qpn[name], link.comm_id[name] = s.qpn + cid, s.comm_id + cid
            link.psn[name] = s.psn
        c, s = self.sides["c"].ip, self.sides["s"].ip
        cma = struct.pack(">BBH", 0, c.version << 4, 40000) + \
            c.packed.rjust(16, b"\0") + s.packed.rjust(16, b"\0")
        # A side tells the other one's first sequence number.
        self.cm("c", "REQ", struct.pack(
            ">IIQQIIIIIIHBB", link.comm_id["c"], 0, service, 1, 0, 0,
            link.qpn["c"] << 8 | resources, 0, 20 << 3,
            link.psn["s"] << 8 | 20 << 3 | retry, 0xFFFF, 3 << 4 | rnr,
            15 << 4) + bytes(88), cma + bytes(req))
        if reject:
            self.cm("s", "REJ", struct.pack(
                ">IIBBH", 0, link.comm_id["c"], 0, 0, 28) + bytes(72), rsp)
            return link
        self.cm("s", "REP", struct.pack(
            ">IIIIIIBBBBQ", link.comm_id["s"], link.comm_id["c"], 0,
            link.qpn["s"] << 8, 0, link.psn["c"] << 8, 0, 0, 0, rep_rnr << 5,
            2), rsp)
        self.cm("c", "RTU", struct.pack(">II", link.comm_id["c"],
                                        link.comm_id["s"]))
        return link

    def disconnect(self, link, answer=True):
        self.cm("c", "DREQ", struct.pack(
            ">III", link.comm_id["c"], link.comm_id["s"],
            link.qpn["s"] << 8))
        if answer:
            self.cm("s", "DREP", struct.pack(">II", link.comm_id["s"],
                                             link.comm_id["c"]))

    # Reliable connections

    def send(self, link, side, kind, data=b"", addr=0, rkey=0, imm=None,
             inv=None):
        parts = [data[i:i + MTU] for i in range(0, len(data), MTU)] or [b""]
        qpn = link.qpn["sc"[side == "s"]]
        for i, part in enumerate(parts):
            first, last = i == 0, i == len(parts) - 1
            name = kind if last else kind.split("_")[0]
            headers = b""
            if first and name.startswith("WRITE"):
                headers += struct.pack(">QII", addr, rkey, len(data))
            if last and imm is not None:
                headers += struct.pack(">I", imm)
            if last and inv is not None:
                headers += struct.pack(">I", inv)
            self._frame(side, OPCODES[name, first, last], qpn, link.psn[side],
                        headers, part)
            link.psn[side] = (link.psn[side] + 1) & 0xFFFFFF

    def ack(self, link, side, syndrome=0):
        self._frame(side, 0x11, link.qpn["sc"[side == "s"]], 0,
                    struct.pack(">I", syndrome << 24), b"")


class Story:
    """The worked session of the protocol's vectors, step by step: a method may
    be replaced, an argument changed, to tell it wrongly. edit: {vector name:
    function of its bytes}."""

    def __init__(self, vectors, v6=False, edit=None, new_rkey=True,
                 need_inval=True):
        self.v, self.edit = vectors, edit or {}
        self.wire = Wire(v6)
        self.new_rkey, self.need_inval = new_rkey, need_inval
        self.links = []

    def bytes(self, name):
        b = self.v.bytes(name)
        if name in self.edit:
            b = self.edit[name](b) or b
        return b

    def connect(self, **how):
        rsp = self.bytes("conn_rsp")
        if not self.new_rkey:
            rsp[16] = 0
        for cid in 0, 1:
            self.links.append(self.wire.connect(
                cid, self.bytes(f"conn_req_cid{cid}"), rsp, **how))

    def info(self):
        self.wire.send(self.links[0], "c", "SEND", self.bytes("info_req"))
        self.wire.ack(self.links[0], "s")
        self.wire.send(self.links[0], "s", "SEND", self.bytes("info_rsp"))

    def _imm(self, t, how):
        return how.get("imm", int(t.get("imm_host", "0"), 16))

    def request(self, name, data=b"", **how):
        t, b = self.v.transport(name), self.bytes(name)
        rkey = int(t["rkey"], 16)
        if not self.new_rkey:
            rkey &= ~0xFF
        if not self.need_inval and "read" in name:
            b[36] = 0
        link = self.links[how.get("cid", t["cid"])]
        self.wire.send(link, "c", "WRITE_WITH_IMM", bytes(data) + bytes(b),
                       int(t["remote_addr"], 16) + how.get("move", 0),
                       how.get("rkey", rkey), self._imm(t, how))
        self.wire.ack(link, "s")

    def answer(self, name, data=None, **how):
        t = self.v.transport(name)
        link = self.links[how.get("cid", t["cid"])]
        self.wire.send(link, "s", "WRITE",
                       self.bytes(name) if data is None else data,
                       int(t.get("remote_addr"), 16) + how.get("move", 0),
                       how.get("rkey", int(t["rkey"], 16)))

    def inval(self, name, **how):
        t = self.v.transport(name)
        self.wire.send(self.links[how.get("cid", t["cid"])], "s",
                       "SEND_WITH_INV", inv=how.get("inv",
                                                    int(t["rkey"], 16)))

    def done(self, name, **how):
        t = self.v.transport(name)
        link = self.links[how.get("cid", t["cid"])]
        imm = self._imm(t, how)
        if not self.need_inval and "read" in name:
            imm = imm & 0xFFFFFFF | 0x10000000
        if self.new_rkey:
            self.wire.send(link, "s", "SEND_WITH_IMM", self.bytes(name),
                           imm=imm)
        else:
            self.wire.send(link, "s", "WRITE_WITH_IMM", imm=imm)

    def greet(self):
        self.request("sess_info_req")
        self.answer("sess_info_rsp")
        self.inval("sess_info_inv")
        self.done("sess_info_done")

    def open(self):
        self.request("open_req")
        self.answer("open_rsp")
        self.inval("open_inv")
        self.done("open_done")

    def write(self):
        self.request("write_req", b"\xa5" * 4096)
        self.done("write_done")

    def read(self):
        self.request("read_req")
        self.answer("read_data", b"\xa5" * 4096)
        if self.need_inval:
            self.inval("read_inv")
        self.done("read_done")

    def flush(self):
        self.request("flush_req")
        self.done("flush_done")

    def heartbeat(self, side, answer=True):
        for name, who in ("hb_msg", side), ("hb_ack", "sc"[side == "s"]):
            if name == "hb_msg" or answer:
                self.wire.send(self.links[0], who, "WRITE_WITH_IMM",
                               imm=self._imm(self.v.transport(name), {}))

    def beat(self):
        self.heartbeat("c")
        self.wire.now += 5
        self.heartbeat("s")
        self.heartbeat("c")

    def close(self):
        self.request("close_req")
        self.done("close_done")

    def disconnect(self):
        for link in self.links:
            self.wire.disconnect(link)

    STEPS = ("connect", "info", "greet", "open", "write", "read", "flush",
             "beat", "close", "disconnect")

    def tell(self):
        for step in self.STEPS:
            getattr(self, step)()
        return self.wire.frames
