# SPDX-License-Identifier: BSD-3-Clause
"""Objects that the checker follows."""
from shadow import Shadow


class Session:
    def __init__(self, number, uuid):
        self.number, self.uuid = number, uuid
        self.paths = {}    # UUID of the path -> Path
        self.busy = {}     # chunk -> Request
        self.devices = {}  # device_id -> Device, as long as it is open
        self.greeted = False
        self.rsp = None    # sizes, the same on all paths


class Device:
    def __init__(self, name, rsp):
        self.name, self.rsp = name, rsp
        self.shadow = Shadow()


class Heartbeat:
    """One side's messages, and the other side's answers to them."""

    def __init__(self):
        self.asked = None  # time of the message without an answer
        self.last = None


class Path:
    """One attempt to connect a path, and what follows from it."""

    def __init__(self, session, req, first):
        self.session, self.first_req = session, req
        self.uuid, self.cid_num = req["sess_uuid"], req["cid_num"]
        self.recon_cnt = req["recon_cnt"]
        self.first_of_session = first
        self.conns = {}
        self.rsp = None
        self.info_req = None
        self.chunks = None  # [address, key] for each chunk
        self.ended = None
        self.hb = {"client": Heartbeat(), "server": Heartbeat()}

    @property
    def chunk_size(self):
        return self.rsp["max_io_size"] + self.rsp["max_hdr_size"]

    @property
    def new_rkey(self):
        return bool(self.rsp["flags"] & 2)


class Request:
    """From its WRITE_WITH_IMM until its reply."""

    def __init__(self, where, conn, chunk, hdr, data, message):
        self.where, self.conn, self.chunk = where, conn, chunk
        self.hdr, self.data, self.message = hdr, data, message
        self.answer = None       # bytes that were written back
        self.invalidated = False
        self.alone = True
        self.sampled = False
        self.token = None
        self.kind, self.title = "request", "a request"
        self.op = self.device = None
        self.fields = {}

    @property
    def desc(self):
        return self.hdr["desc"][0] if self.hdr["desc"] else None

    @property
    def wants_inval(self):
        return bool(self.hdr["flags"] & 1) and self.desc is not None
