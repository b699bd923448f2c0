# SPDX-License-Identifier: BSD-3-Clause
"""Takes a frame apart: Ethernet, IPv4 or IPv6, UDP port 4791, the InfiniBand
transport headers, and the MADs of the connection manager on QP 1."""
import ipaddress
import struct
import zlib

PORT = 4791

# Opcodes of the reliable connection: (name, first, last, extra headers).
RETH, IMM, IETH, AETH = "reth", "imm", "ieth", "aeth"
RC = {
    0x00: ("SEND", True, False, ()),
    0x01: ("SEND", False, False, ()),
    0x02: ("SEND", False, True, ()),
    0x03: ("SEND_WITH_IMM", False, True, (IMM,)),
    0x04: ("SEND", True, True, ()),
    0x05: ("SEND_WITH_IMM", True, True, (IMM,)),
    0x06: ("WRITE", True, False, (RETH,)),
    0x07: ("WRITE", False, False, ()),
    0x08: ("WRITE", False, True, ()),
    0x09: ("WRITE_WITH_IMM", False, True, (IMM,)),
    0x0A: ("WRITE", True, True, (RETH,)),
    0x0B: ("WRITE_WITH_IMM", True, True, (RETH, IMM)),
    0x11: ("ACK", True, True, (AETH,)),
    0x16: ("SEND_WITH_INV", False, True, (IETH,)),
    0x17: ("SEND_WITH_INV", True, True, (IETH,)),
}
UD_SEND_ONLY = 0x64
UD_SEND_ONLY_IMM = 0x65

SIZES = {RETH: 16, IMM: 4, IETH: 4, AETH: 4}

CM_CLASS = 0x07
CM_ATTR = {
    0x10: "REQ", 0x11: "MRA", 0x12: "REJ", 0x13: "REP", 0x14: "RTU",
    0x15: "DREQ", 0x16: "DREP", 0x17: "SIDR_REQ", 0x18: "SIDR_REP",
    0x19: "LAP", 0x1A: "APR",
}


class Malformed(Exception):
    """Bytes on the RoCE port that are no RoCE packet."""


class Packet:
    """One RoCE packet. Fields that it lacks are None."""

    def __init__(self):
        self.reth = self.imm = self.inv = self.aeth = None
        self.first = self.last = True


def icrc(ip_header, udp, roce):
    """The invariant CRC: fields that routers change count as ones, and eight
    bytes of ones stand for the header of the local network."""
    ip, u, t = bytearray(ip_header), bytearray(udp), bytearray(roce)
    if ip[0] >> 4 == 4:
        ip[1] = ip[8] = 0xFF
        ip[10:12] = b"\xff\xff"
    else:
        ip[0] |= 0x0F
        ip[1:4] = b"\xff\xff\xff"
        ip[7] = 0xFF
    u[6:8] = b"\xff\xff"
    t[4] = 0xFF
    return struct.pack("<I", zlib.crc32(b"\xff" * 8 + ip + u + t))


def parse(frame):
    """The Packet of a frame, or None if the frame is none of RoCE."""
    if len(frame) < 14:
        return None
    kind, at = struct.unpack_from(">H", frame, 12)[0], 14
    if kind == 0x8100:
        kind, at = struct.unpack_from(">H", frame, 16)[0], 18
    if kind == 0x0800 and len(frame) >= at + 20:
        hlen = (frame[at] & 15) * 4
        total, = struct.unpack_from(">H", frame, at + 2)
        fragment, = struct.unpack_from(">H", frame, at + 6)
        proto, src, dst = frame[at + 9], frame[at + 12:at + 16], \
            frame[at + 16:at + 20]
        if proto == 17 and fragment & 0x3FFF:
            raise Malformed("a fragment of an IPv4 packet")
    elif kind == 0x86DD and len(frame) >= at + 40:
        hlen = 40
        total = 40 + struct.unpack_from(">H", frame, at + 4)[0]
        proto, src, dst = frame[at + 6], frame[at + 8:at + 24], \
            frame[at + 24:at + 40]
    else:
        return None
    if proto != 17 or len(frame) < at + hlen + 8:
        return None
    udp = at + hlen
    sport, dport, ulen = struct.unpack_from(">3H", frame, udp)
    if dport != PORT:
        return None
    end = udp + ulen
    if end > len(frame) or ulen != total - hlen or ulen < 8 + 12 + 4:
        raise Malformed(f"UDP length {ulen}, IP length {total}, frame of "
                        f"{len(frame)} bytes")
    p = Packet()
    p.src, p.dst = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    p.sport = sport
    body = frame[udp + 8:end - 4]
    p.icrc_ok = frame[end - 4:end] == icrc(frame[at:udp], frame[udp:udp + 8],
                                            body)
    _bth(p, body)
    return p


def _bth(p, body):
    p.opcode, flags, p.pkey = struct.unpack_from(">BBH", body)
    p.solicited, p.migrated = bool(flags & 0x80), bool(flags & 0x40)
    pad, p.tver = flags >> 4 & 3, flags & 15
    p.qpn = int.from_bytes(body[5:8], "big")
    p.ack_req = bool(body[8] & 0x80)
    p.psn = int.from_bytes(body[9:12], "big")
    at = 12
    if p.opcode in (UD_SEND_ONLY, UD_SEND_ONLY_IMM):
        p.kind, extra = "UD", ()
        p.qkey, p.src_qpn = struct.unpack_from(">II", body, at)
        p.src_qpn &= 0xFFFFFF
        at += 8 if p.opcode == UD_SEND_ONLY else 12
    elif p.opcode in RC:
        p.kind, p.first, p.last, extra = RC[p.opcode]
    else:
        p.kind, extra = f"opcode 0x{p.opcode:02x}", ()
    for header in extra:
        if len(body) < at + SIZES[header]:
            raise Malformed(f"opcode 0x{p.opcode:02x} in {len(body)} bytes")
        if header == RETH:
            p.reth = struct.unpack_from(">QII", body, at)
        elif header == IMM:
            p.imm, = struct.unpack_from(">I", body, at)
        elif header == IETH:
            p.inv, = struct.unpack_from(">I", body, at)
        else:
            word, = struct.unpack_from(">I", body, at)
            p.aeth = (word >> 24, word & 0xFFFFFF)
        at += SIZES[header]
    if len(body) < at + pad:
        raise Malformed(f"{pad} bytes of padding in {len(body)} bytes")
    p.pad = body[len(body) - pad:] if pad else b""
    p.data = body[at:len(body) - pad]


def _bits(buf, byte, bit, count):
    """count bits, bit positions from the most significant one."""
    word = int.from_bytes(buf[byte:byte + 4], "big")
    return word >> (32 - bit - count) & ((1 << count) - 1)


class Cm:
    """A message of the connection manager: `kind`, and the fields by name.
    Private data is in `priv`, without the header of the RDMA CM, whose fields
    are `cma_*`."""

    def __init__(self, kind, tid, fields, priv):
        self.kind, self.tid, self.priv = kind, tid, priv
        self.fields = fields

    def __getattr__(self, name):
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(name) from None


def parse_cm(p):
    """The Cm of a packet to QP 1, or None if it is no CM message."""
    if p.kind != "UD" or p.qpn != 1 or len(p.data) < 256 or \
            p.data[1] != CM_CLASS:
        return None
    tid, attr = p.data[8:16].hex(), struct.unpack_from(">H", p.data, 16)[0]
    kind = CM_ATTR.get(attr, f"attribute 0x{attr:02x}")
    b, f = p.data[24:256], {}
    f["base_version"], f["class_version"], f["method"] = \
        p.data[0], p.data[2], p.data[3]
    f["local_id"], = struct.unpack_from(">I", b)
    if kind != "REQ":
        f["remote_id"], = struct.unpack_from(">I", b, 4)
    priv = b""
    if kind == "REQ":
        priv = _cm_req(b, f)
    elif kind == "REP":
        f["qpn"] = _bits(b, 12, 0, 24)
        f["starting_psn"] = _bits(b, 20, 0, 24)
        f["responder_resources"], f["initiator_depth"] = b[24], b[25]
        f["target_ack_delay"] = b[26] >> 3
        f["failover_accepted"] = b[26] >> 1 & 3
        f["flow_control"] = b[26] & 1
        f["rnr_retry_count"] = b[27] >> 5
        f["srq"] = b[27] >> 4 & 1
        priv = b[36:]
    elif kind == "REJ":
        f["message"], f["info_length"] = b[8] >> 6, b[9] >> 1
        f["reason"], = struct.unpack_from(">H", b, 10)
        priv = b[84:]
    elif kind == "MRA":
        f["message"], f["timeout"] = b[8] >> 6, b[9] >> 3
        priv = b[10:]
    elif kind == "DREQ":
        f["remote_qpn"] = _bits(b, 8, 0, 24)
        priv = b[12:]
    elif kind in ("RTU", "DREP"):
        priv = b[8:]
    return Cm(kind, tid, f, priv)


def _cm_req(b, f):
    f["service_id"], = struct.unpack_from(">Q", b, 8)
    f["qpn"] = _bits(b, 32, 0, 24)
    f["responder_resources"] = b[35]
    f["initiator_depth"] = b[39]
    f["remote_timeout"] = b[43] >> 3
    f["service_type"] = b[43] >> 1 & 3
    f["flow_control"] = b[43] & 1
    f["starting_psn"] = _bits(b, 44, 0, 24)
    f["local_timeout"] = b[47] >> 3
    f["retry_count"] = b[47] & 7
    f["pkey"], = struct.unpack_from(">H", b, 48)
    f["path_mtu"] = b[50] >> 4
    f["rnr_retry_count"] = b[50] & 7
    f["max_cm_retries"] = b[51] >> 4
    f["srq"] = b[51] >> 3 & 1
    f["primary_local_gid"] = ipaddress.IPv6Address(b[56:72])
    f["primary_remote_gid"] = ipaddress.IPv6Address(b[72:88])
    f["hop_limit"] = b[93]
    f["ack_timeout"] = b[95] >> 3
    priv = b[140:]
    # Service ids 0x0000000001XXPPPP are those of IP addressing: the RDMA CM
    # puts addresses and source port before the private data of its user.
    f["ip_addressing"] = f["service_id"] >> 24 == 1
    if not f["ip_addressing"]:
        return priv
    f["cma_version"], f["cma_ip_version"] = priv[0], priv[1] >> 4
    f["cma_low_bits"] = priv[1] & 15
    f["cma_port"], = struct.unpack_from(">H", priv, 2)
    f["cma_src"], f["cma_dst"] = priv[4:20], priv[20:36]
    return priv[36:]
