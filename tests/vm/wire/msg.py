# SPDX-License-Identifier: BSD-3-Clause
"""RTRS and RNBD messages: bytes to fields. All integers are little-endian.
What is reserved comes back as bytes under names that begin with "reserved"."""
import struct
import uuid

MAGIC, VERSION = 0x1BBD, 0x0200
CONN_LEN = 56
INFO_REQ, INFO_RSP, WRITE, READ, RKEY_RSP = range(5)
NEED_INVAL, NEW_RKEY = 1, 2
IO_REQ, IO_RSP, IO_RSP_W_INV, HB_MSG, HB_ACK = 0, 1, 2, 8, 9
SESS_INFO, SESS_INFO_RSP, OPEN, OPEN_RSP, IO, CLOSE = range(6)
EXPLAIN = 0x5759
OPS = ["READ", "WRITE", "FLUSH", "DISCARD", "SECURE_ERASE", "WRITE_ZEROES"]
SYNC, FUA, PREFLUSH, NOUNMAP = 0x100, 0x200, 0x400, 0x800
FUA_BIT, WRITEBACK_BIT = 1, 2
ANY_SECTOR = 0xFFFFFFFFFFFFFFFF


class Short(Exception):
    """Fewer bytes than the message has."""


def need(data, length, what):
    if len(data) < length:
        raise Short(f"{what} of {len(data)} bytes, has {length}")


def bits(n):
    """Bits needed for the numbers below n."""
    return (n - 1).bit_length()


def conn_req(b):
    need(b, CONN_LEN, "CONN_REQ")
    m = dict(zip(("magic", "version", "cid", "cid_num", "recon_cnt"),
                 struct.unpack_from("<5H", b, 2)))
    m["reserved_cma"] = bytes(b[0:2])
    m["sess_uuid"] = str(uuid.UUID(bytes=bytes(b[12:28])))
    m["paths_uuid"] = str(uuid.UUID(bytes=bytes(b[28:44])))
    m["first_conn"] = b[44] & 1
    m["reserved_bits"] = bytes([b[44] & 0xFE])
    m["reserved"] = bytes(b[45:56])
    m["reserved_after"] = bytes(b[56:])
    return m


def conn_rsp(b):
    need(b, CONN_LEN, "CONN_RSP")
    m = dict(zip(("magic", "version", "errno", "queue_depth", "max_io_size",
                  "max_hdr_size", "flags"),
                 struct.unpack_from("<HHhHIII", b)))
    m["reserved"] = bytes(b[20:56])
    m["reserved_after"] = bytes(b[56:])
    return m


def text(b):
    """A NUL-terminated string and what is behind the NUL; None without NUL."""
    end = b.find(b"\0")
    if end < 0:
        return None, b""
    return b[:end].decode("utf-8", "backslashreplace"), bytes(b[end:])


def info_req(b):
    need(b, 272, "INFO_REQ")
    name, rest = text(b[2:257])
    return {"type": struct.unpack_from("<H", b)[0], "pathname": name,
            "reserved_name": rest, "reserved": bytes(b[257:272])}


def desc(b, at):
    need(b, at + 16, "descriptor")
    return dict(zip(("addr", "key", "len"), struct.unpack_from("<QII", b, at)))


def info_rsp(b):
    need(b, 8, "INFO_RSP")
    kind, count = struct.unpack_from("<HH", b)
    return {"type": kind, "sg_cnt": count, "reserved": bytes(b[4:8]),
            "desc": [desc(b, 8 + 16 * i) for i in range(count)]}


def rkey_rsp(b):
    need(b, 8, "RKEY_RSP")
    return dict(zip(("type", "buf_id", "rkey"), struct.unpack_from("<HHI", b)))


def request(b):
    """The RTRS header of a request; `len` is its length."""
    need(b, 4, "header")
    kind, usr_len = struct.unpack_from("<HH", b)
    m = {"type": kind, "usr_len": usr_len, "flags": 0, "sg_cnt": 0,
         "desc": [], "len": 4}
    if kind == READ:
        need(b, 8, "READ header")
        m["flags"], m["sg_cnt"] = struct.unpack_from("<HH", b, 4)
        m["desc"] = [desc(b, 8 + 16 * i) for i in range(m["sg_cnt"])]
        m["len"] = 8 + 16 * m["sg_cnt"]
    return m


def rnbd(b):
    """The user message of a request."""
    need(b, 4, "user message")
    kind, = struct.unpack_from("<H", b)
    m = {"type": kind, "reserved_hdr": bytes(b[2:4])}
    if kind == SESS_INFO:
        need(b, 36, "SESS_INFO")
        m["ver"], m["reserved"] = b[4], bytes(b[5:36])
    elif kind == OPEN:
        need(b, 264, "OPEN")
        m["access_mode"], m["reserved_mode"] = b[4], bytes(b[5:6])
        m["dev_name"], m["reserved_name"] = text(b[6:261])
        m["reserved"] = bytes(b[261:264])
    elif kind == IO:
        need(b, 32, "IO")
        m.update(zip(("device_id", "sector", "rw", "bi_size", "prio"),
                     struct.unpack_from("<IQIIH", b, 4)))
        m["reserved"] = bytes(b[26:32])
    elif kind == CLOSE:
        need(b, 8, "CLOSE")
        m["device_id"], = struct.unpack_from("<I", b, 4)
    return m


def sess_info_rsp(b):
    need(b, 36, "SESS_INFO_RSP")
    return {"type": struct.unpack_from("<H", b)[0],
            "reserved_hdr": bytes(b[2:4]), "ver": b[4],
            "reserved": bytes(b[5:36])}


def open_rsp(b):
    need(b, 56, "OPEN_RSP")
    names = ("device_id", "nsectors", "max_hw_sectors",
             "max_write_zeroes_sectors", "max_discard_sectors",
             "discard_granularity", "discard_alignment",
             "physical_block_size", "logical_block_size", "max_segments",
             "secure_discard", "obsolete_rotational", "cache_policy")
    m = dict(zip(names, struct.unpack_from("<IQIIIIIHHHHBB", b, 4)))
    m["type"], = struct.unpack_from("<H", b)
    m["reserved_hdr"] = bytes(b[2:4])
    m["reserved"] = bytes(b[46:56])
    return m


def imm(value):
    """(type, payload)"""
    return value >> 28, value & 0xFFFFFFF


def imm_request(payload, queue_depth):
    """(chunk, offset)"""
    mem_bits = 28 - bits(queue_depth)
    return payload >> mem_bits, payload & ((1 << mem_bits) - 1)


def imm_reply(payload):
    """(msg_id, errno), the errno negative"""
    return payload & 0x7FFFF, -(payload >> 19 & 0x1FF)
