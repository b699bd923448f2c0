# SPDX-License-Identifier: BSD-3-Clause
"""The rules of RTRS: connecting a path, path information, requests and
replies, heartbeats, the end of a path."""
import msg
from flow import CLIENT, OTHER, SERVER
from msg import bits
from peers import Path, Request, Session
from report import Hex
from rnbd import Rnbd
from samples import Samples

SERVICE_TCP = 0x0000000001060000
CONSUMER_REJECT = 28
# Errors that a server says in a reject.
REJECTS = {-104: "ECONNRESET", -6: "ENXIO", -12: "ENOMEM", -17: "EEXIST",
           -16: "EBUSY", -22: "EINVAL"}
HB_INTERVAL = 5.0


class Rtrs:
    """client, server: "any", "ours", "kernel", "kernel-6.1", ...: what is known
    of a side adds rules."""

    def __init__(self, report, client="any", server="any", port=1234,
                 lossy=False):
        self.r = report
        self.client, self.server, self.port = client, server, port
        self.lossy = lossy
        self.sessions = {}
        self.refused = 0
        self.samples = Samples()
        self.rnbd = Rnbd(self)
        self.now = 0.0

    def kernel(self, side):
        name = self.client if side == CLIENT else self.server
        return name.startswith("kernel")

    # Messages of the connection manager

    def cm(self, where, when, conn, side, cm):
        self.now = when
        handler = getattr(self, "_cm_" + cm.kind.lower(), None)
        if handler:
            handler(where, conn, side, cm)
        elif cm.kind != "MRA":
            self.r.complain(where, "CM " + cm.kind, "nobody sends it here")

    def _cm_req(self, where, conn, side, cm):
        r, k = self.r, "CM REQ"
        r.equal(where, k, "service_type (0 = RC)", cm.service_type, 0)
        r.equal(where, k, "service_id", Hex(cm.service_id),
                Hex(SERVICE_TCP + self.port))
        r.equal(where, k, "responder_resources", cm.responder_resources, 0)
        r.equal(where, k, "initiator_depth", cm.initiator_depth, 0)
        r.equal(where, k, "flow_control", cm.flow_control, 0)
        r.equal(where, k, "retry_count", cm.retry_count, 7)
        r.equal(where, k, "rnr_retry_count", cm.rnr_retry_count, 7)
        r.equal(where, k, "pkey", Hex(cm.pkey), Hex(0xFFFF))
        for name in ("srq", "path_mtu", "max_cm_retries", "ack_timeout",
                     "remote_timeout", "local_timeout", "hop_limit"):
            r.seen(k, name, getattr(cm, name))
        if cm.ip_addressing:
            self._cma(where, conn, cm)
        m = self._decode(where, "CONN_REQ", msg.conn_req, cm.priv)
        if m:
            self._conn_req(where, conn, m, cm)

    def _cma(self, where, conn, cm):
        r, k = self.r, "CM REQ"
        r.equal(where, k, "cma version", cm.cma_version, 0)
        r.equal(where, k, "cma ip version", cm.cma_ip_version,
                conn.client.version)
        r.seen(k, "cma low bits", cm.cma_low_bits)
        r.rule(where, k, "cma port", cm.cma_port != 0,
               "set" if cm.cma_port else 0, "has to be the source port")
        for name, addr in ("cma_src", conn.client), ("cma_dst", conn.server):
            want = addr.packed.rjust(16, b"\0")
            r.rule(where, k, name, getattr(cm, name) == want,
                   getattr(cm, name).hex(), f"has to be that of {addr}")

    def _decode(self, where, kind, decoder, data):
        self.r.message(kind)
        try:
            return decoder(data)
        except msg.Short as e:
            self.r.complain(where, kind, f"too short: {e}")
            return None

    def _conn_req(self, where, conn, m, cm):
        r, k = self.r, "CONN_REQ"
        r.equal(where, k, "bytes 0-1", m["reserved_cma"].hex(), "0000")
        r.equal(where, k, "magic", Hex(m["magic"]), Hex(msg.MAGIC))
        r.equal(where, k, "version", Hex(m["version"]), Hex(msg.VERSION))
        r.rule(where, k, "cid_num", 1 <= m["cid_num"] <= 4096, m["cid_num"],
               "has to be 1 to 4096")
        r.rule(where, k, "cid", m["cid"] < m["cid_num"], m["cid"],
               f"has to be below cid_num {m['cid_num']}")
        r.reserved(k, "bits 1-7 of byte 44", m["reserved_bits"])
        r.reserved(k, "bytes 45-55", m["reserved"])
        r.reserved(k, "bytes after 56", m["reserved_after"])
        r.rule(where, k, "uuids differ", m["sess_uuid"] != m["paths_uuid"],
               m["sess_uuid"] != m["paths_uuid"],
               "path and session have the same UUID")
        path = self._path_of(where, m)
        conn.cid, conn.path = m["cid"], path
        self._cid_order(where, path, conn, m)
        path.conns[m["cid"]] = conn
        r.equal(where, k, "cid_num of the path", m["cid_num"], path.cid_num)
        r.equal(where, k, "recon_cnt of the path", m["recon_cnt"],
                path.recon_cnt)
        if path.first_of_session:
            r.equal(where, k, "first_conn, first path", m["first_conn"], 1)
        elif self.kernel(CLIENT) and path.recon_cnt == 1:
            r.equal(where, k, "first_conn, other path", m["first_conn"],
                    int(m["cid"] > 0))
        else:
            r.seen(k, "first_conn, other path", m["first_conn"])
        which = f"conn_req_cid{min(m['cid'], 1)}"
        self.samples.add(which if path.first_of_session else
                         which + "_second_path", cm.priv[:56],
                         dict(m, cma_version=0, ip_version=0),
                         where="private data of CM REQ",
                         direction="client->server")

    def _path_of(self, where, m):
        """The path that a CONN_REQ belongs to; a larger recon_cnt is a new
        attempt of the same path."""
        session = self.sessions.get(m["paths_uuid"])
        if not session:
            session = Session(len(self.sessions), m["paths_uuid"])
            self.sessions[session.uuid] = session
        old = session.paths.get(m["sess_uuid"])
        if old and (old.recon_cnt == m["recon_cnt"] or m["cid"]):
            return old
        if old:
            self.r.equal(where, "CONN_REQ", "recon_cnt, next attempt",
                         m["recon_cnt"], old.recon_cnt + 1)
            self._path_ends(where, old)
        else:
            self.r.equal(where, "CONN_REQ", "recon_cnt, first attempt",
                         m["recon_cnt"], 1)
        first = not session.paths or (old and old.first_of_session)
        session.paths[m["sess_uuid"]] = Path(session, m, first)
        return session.paths[m["sess_uuid"]]

    def _cid_order(self, where, path, conn, m):
        r, k = self.r, "CONN_REQ"
        r.rule(where, k, "cid once", m["cid"] not in path.conns,
               m["cid"] not in path.conns, f"cid {m['cid']} a second time")
        before = len(path.conns)
        r.equal(where, k, "cid order", m["cid"] - before, 0)
        if m["cid"]:
            # The client goes on when it has the answer to the one before.
            last = path.conns.get(m["cid"] - 1)
            state = last.state if last else "missing"
            r.rule(where, k, "cid before is connected",
                   state in ("REP", "RTU"), state, "has to have an answer")
        for other in path.conns.values():
            same = (other.client, other.server) == (conn.client, conn.server)
            r.rule(where, k, "addresses of the path", same,
                   "the same" if same else f"{conn.client}->{conn.server}",
                   "has to be those of its other connections")

    def _cm_rep(self, where, conn, side, cm):
        r, k = self.r, "CM REP"
        r.equal(where, k, "sent by", side, SERVER)
        r.equal(where, k, "responder_resources", cm.responder_resources, 0)
        r.equal(where, k, "initiator_depth", cm.initiator_depth, 0)
        r.equal(where, k, "flow_control", cm.flow_control, 0)
        r.equal(where, k, "rnr_retry_count", cm.rnr_retry_count, 7)
        for name in ("srq", "target_ack_delay", "failover_accepted"):
            r.seen(k, name, getattr(cm, name))
        m = self._decode(where, "CONN_RSP", msg.conn_rsp, cm.priv)
        if m:
            self._conn_rsp(where, conn, m, cm)

    def _conn_rsp(self, where, conn, m, cm):
        r, k = self.r, "CONN_RSP"
        r.equal(where, k, "magic", Hex(m["magic"]), Hex(msg.MAGIC))
        r.equal(where, k, "version", Hex(m["version"]), Hex(msg.VERSION))
        r.equal(where, k, "errno", m["errno"], 0)
        r.rule(where, k, "queue_depth", m["queue_depth"] > 0,
               m["queue_depth"], "has to be 1 to 65535")
        r.rule(where, k, "max_hdr_size", m["max_hdr_size"] >= 512,
               m["max_hdr_size"], "has no room for OPEN")
        chunk = m["max_io_size"] + m["max_hdr_size"]
        r.rule(where, k, "max_io_size", chunk >= 8192, m["max_io_size"],
               f"makes a chunk of {chunk} bytes, the least is 8192")
        width = bits(max(m["queue_depth"], 1)) + bits(chunk)
        r.rule(where, k, "bits of queue and chunk", width <= 28, width,
               "has to be at most 28")
        r.rule(where, k, "flags", m["flags"] in (0, msg.NEW_RKEY), m["flags"],
               "has to be 0 or 2 (NEW_RKEY)")
        r.reserved(k, "bytes 20-55", m["reserved"])
        r.reserved(k, "bytes after 56", m["reserved_after"])
        path = conn.path
        if not path:
            return
        sizes = {n: m[n] for n in ("queue_depth", "max_io_size",
                                   "max_hdr_size", "flags")}
        if path.rsp is None:
            path.rsp = m
        for name, got in sizes.items():
            r.equal(where, k, f"{name} of the path", got, path.rsp[name])
        session = path.session
        session.rsp = session.rsp or m
        for name in ("queue_depth", "max_io_size", "max_hdr_size"):
            r.equal(where, k, f"{name} of the session", m[name],
                    session.rsp[name])
        self.samples.add("conn_rsp", cm.priv[:56], m,
                         where="private data of CM REP",
                         direction="server->client")

    def _cm_rej(self, where, conn, side, cm):
        r, k = self.r, "CM REJ"
        r.seen(k, "reason", cm.reason)
        self.refused += 1
        if cm.reason != CONSUMER_REJECT:
            return
        m = self._decode(where, "CONN_RSP, reject", msg.conn_rsp, cm.priv)
        if not m:
            return
        k = "CONN_RSP, reject"
        r.equal(where, k, "magic", Hex(m["magic"]), Hex(msg.MAGIC))
        r.equal(where, k, "version", Hex(m["version"]), Hex(msg.VERSION))
        r.rule(where, k, "errno", m["errno"] in REJECTS, m["errno"],
               f"has to be one of {sorted(REJECTS)}")
        for name in ("queue_depth", "max_io_size", "max_hdr_size", "flags"):
            r.equal(where, k, name, m[name], 0)
        r.reserved(k, "bytes 20-55", m["reserved"])
        r.reserved(k, "bytes after 56", m["reserved_after"])
        self.samples.add(f"conn_rsp_errno{-m['errno']}", cm.priv[:56], m,
                         where="private data of CM REJ",
                         direction="server->client")

    def _cm_rtu(self, where, conn, side, cm):
        self.r.equal(where, "CM RTU", "sent by", side, CLIENT)
        self.r.reserved("CM RTU", "private data", cm.priv)

    def _cm_dreq(self, where, conn, side, cm):
        self.r.seen("CM DREQ", "sent by", side)
        self.r.reserved("CM DREQ", "private data", cm.priv)
        if conn.path:
            self._path_ends(where, conn.path)

    def _cm_drep(self, where, conn, side, cm):
        self.r.seen("CM DREP", "sent by", side)
        self.r.reserved("CM DREP", "private data", cm.priv)

    # Messages on the connections

    def message(self, where, when, conn, side, m):
        self.now = when
        if not conn.path or not conn.path.rsp:
            self.r.complain(where, m.kind, f"{conn}: before its path")
            return
        try:
            if m.kind == "SEND":
                self._info(where, conn, side, m)
            elif m.kind == "WRITE_WITH_IMM" and m.imm >> 28 in (
                    msg.HB_MSG, msg.HB_ACK):
                self._heartbeat(where, conn, side, m)
            elif side == CLIENT:
                self._request(where, conn, m)
            else:
                self._reply(where, conn, m)
        except msg.Short as e:
            self.r.complain(where, m.kind, f"{conn}: too short: {e}")

    def _info(self, where, conn, side, m):
        r, path = self.r, conn.path
        if side == CLIENT:
            self._info_req(where, conn, path, m)
            return
        k = "INFO_RSP"
        r.message(k)
        i = msg.info_rsp(m.data)
        r.equal(where, k, "cid", conn.cid, 0)
        r.equal(where, k, "after INFO_REQ", path.info_req is not None, True)
        r.equal(where, k, "type", i["type"], msg.INFO_RSP)
        r.equal(where, k, "length", len(m.data), 8 + 16 * i["sg_cnt"])
        r.reserved(k, "bytes 4-7", i["reserved"])
        qd, size = path.rsp["queue_depth"], path.chunk_size
        r.rule(where, k, "sg_cnt", i["sg_cnt"] and qd % i["sg_cnt"] == 0,
               i["sg_cnt"], f"has to divide queue_depth {qd}")
        if path.new_rkey:
            r.equal(where, k, "sg_cnt with NEW_RKEY", i["sg_cnt"], qd)
        chunks = []
        for d in i["desc"]:
            r.rule(where, k, "desc.len", d["len"] and d["len"] % size == 0,
                   d["len"], f"has to be a multiple of the chunk {size}")
            chunks += [[d["addr"] + at, d["key"]]
                       for at in range(0, d["len"], size)]
        r.equal(where, k, "chunks covered", len(chunks), qd)
        r.equal(where, k, "once", path.chunks is None, True)
        path.chunks = chunks
        self.samples.add("info_rsp", m.data,
                         dict(i, queue_depth=qd, chunk_size=size),
                         verb="SEND", cid=conn.cid,
                         direction="server->client")

    def _info_req(self, where, conn, path, m):
        r, k = self.r, "INFO_REQ"
        r.message(k)
        i = msg.info_req(m.data)
        r.equal(where, k, "cid", conn.cid, 0)
        r.equal(where, k, "length", len(m.data), 272)
        r.equal(where, k, "type", i["type"], msg.INFO_REQ)
        name = i["pathname"]
        r.rule(where, k, "pathname", name and not set(name) & set("/."), name,
               "has to be 1 to 254 characters, NUL, no '/' and no '.'")
        r.reserved(k, "bytes after the NUL", i["reserved_name"])
        r.reserved(k, "bytes 257-271", i["reserved"])
        states = {c.state for c in path.conns.values()}
        r.rule(where, k, "connections up",
               len(path.conns) == path.cid_num and states <= {"REP", "RTU"},
               f"{len(path.conns)} of {path.cid_num}", "has to be all")
        r.equal(where, k, "once", path.info_req is None, True)
        path.info_req = i
        self.samples.add("info_req", m.data, i, verb="SEND", cid=conn.cid,
                         direction="client->server")

    def _heartbeat(self, where, conn, side, m):
        r, path = self.r, conn.path
        kind, payload = msg.imm(m.imm)
        k = "HB_MSG" if kind == msg.HB_MSG else "HB_ACK"
        r.message(k)
        r.seen(k, "sent by", side)
        r.equal(where, k, "cid", conn.cid, 0)
        r.equal(where, k, "payload", payload, 0)
        self._empty(where, k, m)
        self.samples.add(k.lower(), b"", {"imm_type": kind, "payload": payload},
                         verb="RDMA_WRITE_WITH_IMM", cid=conn.cid,
                         direction="both", imm_host=m.imm)
        if kind == msg.HB_MSG:
            hb = path.hb[side]
            r.equal(where, k, "one at a time", hb.asked is None, True)
            if hb.last is not None:
                # The sender's clock says 5 s; an emulated one may run two or
                # three times as fast as the recorder's.
                gap = self.now - hb.last
                r.rule(where, k, "interval", gap > HB_INTERVAL / 5,
                       f"{gap:.0f} s", "has to be 5 s")
            hb.asked = hb.last = self.now
            return
        hb = path.hb[OTHER[side]]
        if r.rule(where, k, "answers a HB_MSG", hb.asked is not None,
                  hb.asked is not None, "nothing to answer"):
            r.seen(k, "within 1 s", self.now - hb.asked < 1)
        hb.asked = None

    def _empty(self, where, kind, m):
        self.r.equal(where, kind, "length", len(m.data), 0)
        self.r.equal(where, kind, "remote address", Hex(m.addr), Hex(0))
        self.r.equal(where, kind, "remote key", Hex(m.rkey), Hex(0))

    # Requests

    def _request(self, where, conn, m):
        r, path, k = self.r, conn.path, "IO_REQ"
        if m.kind != "WRITE_WITH_IMM":
            r.complain(where, m.kind, f"{conn}: no client sends it")
            return
        r.message(k)
        kind, payload = msg.imm(m.imm)
        r.equal(where, k, "imm type", kind, msg.IO_REQ)
        if kind or path.chunks is None:
            r.complain(where, k, f"{conn}: before INFO_RSP, or no request")
            return
        qd = path.rsp["queue_depth"]
        chunk, off = msg.imm_request(payload, qd)
        if not r.rule(where, k, "chunk", chunk < qd, chunk,
                      f"queue_depth is {qd}") or \
                not r.rule(where, k, "offset", off < path.chunk_size, off,
                           f"the chunk has {path.chunk_size} bytes"):
            return
        busy = path.session.busy.get(chunk)
        r.rule(where, k, "chunk is free", busy is None, busy is None,
               f"chunk {chunk} waits for the reply to that of "
               f"{busy and busy.where}")
        base, key = path.chunks[chunk]
        r.equal(where, k, "key of the chunk", m.rkey, key)
        at = off - (m.addr - base)
        if not r.rule(where, k, "header in the message",
                      0 <= at < len(m.data), at,
                      f"the message has {len(m.data)} bytes"):
            return
        hdr = msg.request(m.data[at:])
        req = self._layout(where, conn, m, chunk, off, at, hdr, base)
        if not req:
            return
        path.session.busy[chunk] = req
        self.rnbd.request(req)
        self._sample_request(req, m, off, at)

    def _layout(self, where, conn, m, chunk, off, at, hdr, base):
        r, k, path = self.r, "IO_REQ", conn.path
        if not r.rule(where, k, "header type", hdr["type"] in
                      (msg.READ, msg.WRITE), hdr["type"],
                      "has to be 3 (READ) or 2 (WRITE)"):
            return None
        k = "READ header" if hdr["type"] == msg.READ else "WRITE header"
        r.message(k)
        if not r.rule(where, k, "usr_len", hdr["usr_len"] <= off,
                      hdr["usr_len"], f"the header is at {off}"):
            return None
        room = off - hdr["usr_len"]
        rhdr = path.rsp["max_hdr_size"]
        r.rule(where, k, "data length", room <= path.rsp["max_io_size"], room,
               f"max_io_size is {path.rsp['max_io_size']}")
        r.rule(where, k, "size besides the data",
               hdr["usr_len"] + hdr["len"] <= rhdr,
               hdr["usr_len"] + hdr["len"], f"max_hdr_size is {rhdr}")
        data = b""
        if hdr["type"] == msg.WRITE:
            r.equal(where, k, "address in the chunk", m.addr - base, 0)
            r.equal(where, k, "length", len(m.data) - room - hdr["usr_len"], 4)
            data = m.data[:room]
        else:
            r.equal(where, k, "address in the chunk, less the data length",
                    m.addr - base - room, 0)
            r.rule(where, k, "sg_cnt", hdr["sg_cnt"] in (0, 1), hdr["sg_cnt"],
                   "has to be 0 or 1")
            r.equal(where, k, "length", len(m.data) - hdr["usr_len"],
                    8 + 16 * hdr["sg_cnt"])
            r.rule(where, k, "flags", hdr["flags"] in (0, msg.NEED_INVAL),
                   hdr["flags"], "has to be 0 or 1 (NEED_INVAL)")
            want = room if hdr["sg_cnt"] else 0
            r.rule(where, k, "desc.len is the data length", room == want and
                   all(d["len"] == room for d in hdr["desc"]),
                   [d["len"] for d in hdr["desc"]] == [room] * hdr["sg_cnt"],
                   f"the data length is {room}")
            if self.kernel(CLIENT):
                r.equal(where, k, "flags of a kernel client", hdr["flags"],
                        msg.NEED_INVAL if hdr["sg_cnt"] else 0)
        return Request(where, conn, chunk, hdr, data,
                       m.data[at - hdr["usr_len"]:at])

    def _sample_request(self, req, m, off, at):
        b = m.data[at - req.hdr["usr_len"]:]
        room = off - req.hdr["usr_len"]
        hdr = {k: v for k, v in req.hdr.items() if k != "len"}
        req.sampled = self.samples.add(
            req.kind + "_req", b, {"rnbd": req.fields, "rtrs": hdr},
            verb="RDMA_WRITE_WITH_IMM", cid=req.conn.cid, chunk=req.chunk,
            direction="client->server", data_len=room,
            chunk_offset=room if hdr["type"] == msg.READ else 0,
            remote_addr=m.addr, rkey=m.rkey, rtrs_hdr_offset=off,
            imm_host=m.imm)

    # Replies

    def _reply(self, where, conn, m):
        if m.kind == "WRITE":
            self._reply_data(where, conn, m)
        elif m.kind == "SEND_WITH_INV":
            self._reply_inval(where, conn, m)
        else:
            self._reply_end(where, conn, m)

    def _asked(self, where, conn, kind, key):
        """The request of this connection that named the key."""
        for req in conn.path.session.busy.values():
            if req.conn is conn and req.desc and req.desc["key"] == key:
                return req
        self.r.complain(where, kind, f"{conn}: no request named the key "
                        f"0x{key:x}")
        return None

    def _reply_data(self, where, conn, m):
        r, k = self.r, "reply data"
        r.message(k)
        req = self._asked(where, conn, k, m.rkey)
        if not req:
            return
        r.equal(where, k, "address", Hex(m.addr), Hex(req.desc["addr"]))
        r.equal(where, k, "length is that asked for",
                len(m.data) == req.desc["len"], True)
        r.equal(where, k, "once", req.answer is None, True)
        r.equal(where, k, "before the invalidation", req.invalidated, False)
        req.answer = m.data
        if req.sampled and req.kind.startswith("io_"):
            self.samples.add(req.kind + "_data", b"", {},
                             verb="RDMA_WRITE", cid=conn.cid,
                             direction="server->client", rkey=m.rkey,
                             remote_addr=m.addr, data_len=len(m.data))

    def _reply_inval(self, where, conn, m):
        r, k = self.r, "reply SEND_WITH_INV"
        r.message(k)
        req = self._asked(where, conn, k, m.inv)
        r.equal(where, k, "length", len(m.data), 0)
        if not req:
            return
        r.equal(where, k, "asked for", req.wants_inval, True)
        r.equal(where, k, "once", req.invalidated, False)
        req.invalidated = True
        if req.sampled:
            self.samples.add(req.kind + "_inv", b"",
                             {"invalidate_rkey": m.inv}, verb="SEND_WITH_INV",
                             cid=conn.cid, direction="server->client",
                             rkey=m.inv)

    def _reply_end(self, where, conn, m):
        r, path, k = self.r, conn.path, "reply"
        r.message(k)
        kind, payload = msg.imm(m.imm)
        r.rule(where, k, "imm type", kind in (msg.IO_RSP, msg.IO_RSP_W_INV),
               kind, "has to be 1 (IO_RSP) or 2 (IO_RSP_W_INV)")
        chunk, errno = msg.imm_reply(payload)
        req = path.session.busy.get(chunk)
        known = req is not None
        if not r.rule(where, k, "msg_id has a request", known, known,
                      f"nothing was asked in chunk {chunk}"):
            return
        r.rule(where, k, "on the QP of the request", req.conn is conn,
               req.conn is conn, f"came on {conn}, asked on {req.conn}")
        want = msg.IO_RSP_W_INV if req.wants_inval else msg.IO_RSP
        r.equal(where, k, "imm type and NEED_INVAL", kind, want)
        r.equal(where, k, "invalidated and NEED_INVAL", req.invalidated,
                req.wants_inval)
        r.seen(k, "errno", errno)
        sends = bool(req.desc) and errno == 0
        r.equal(where, k, "data if read and no error",
                (req.answer is not None) == sends, True)
        if path.new_rkey:
            self._rkey_rsp(where, conn, m, req, errno)
        else:
            r.equal(where, k, "verb", m.kind, "WRITE_WITH_IMM")
            if m.kind == "WRITE_WITH_IMM":
                self._empty(where, k, m)
        del path.session.busy[chunk]
        self.rnbd.reply(where, req, errno)
        word = "" if not errno else f"_errno{-errno}"
        if req.sampled or errno:
            told = msg.rkey_rsp(m.data) if m.data else {
                "imm_type": kind, "msg_id": chunk, "errno": errno}
            self.samples.add(
                f"{req.kind}_done{word}", m.data, told, cid=conn.cid,
                verb="SEND_WITH_IMM" if m.data else "RDMA_WRITE_WITH_IMM",
                direction="server->client", msg_id=chunk, errno=errno,
                w_inval=kind == msg.IO_RSP_W_INV, imm_host=m.imm)

    def _rkey_rsp(self, where, conn, m, req, errno):
        r, k = self.r, "RKEY_RSP"
        r.equal(where, "reply", "verb", m.kind, "SEND_WITH_IMM")
        r.message(k)
        i = msg.rkey_rsp(m.data)
        r.equal(where, k, "length", len(m.data), 8)
        r.equal(where, k, "type", i["type"], msg.RKEY_RSP)
        r.equal(where, k, "buf_id is msg_id", i["buf_id"] == req.chunk, True)
        old = conn.path.chunks[req.chunk][1]
        if self.kernel(SERVER):
            # A request that is refused at once gets the old key back.
            renewed = i["rkey"] == (old & ~0xFF) | ((old + 1) & 0xFF)
            r.rule(where, k, "key: same index, next low byte",
                   renewed or (errno and i["rkey"] == old),
                   f"+{i['rkey'] - old}", f"came after 0x{old:x}")
        else:
            r.seen(k, "key", "the same" if i["rkey"] == old else "another")
        conn.path.chunks[req.chunk][1] = i["rkey"]

    # The end

    def _path_ends(self, where, path):
        if path.ended:
            return
        path.ended = where
        for side, hb in path.hb.items():
            if hb.asked is not None and self.now - hb.asked > 1:
                self._lost(where, "HB_MSG", f"that of the {side} had no answer")
        session = path.session
        for chunk, req in list(session.busy.items()):
            if req.conn.path is path:
                self._lost(where, "reply", f"{req.kind} of {req.where} in "
                           f"chunk {chunk} had none when the path ended")
                del session.busy[chunk]
        if all(p.ended for p in session.paths.values()):
            for dev in session.devices.values():
                self.r.seen("session end", "device still open", dev.name)
            session.devices.clear()
            session.greeted = False

    def _lost(self, where, kind, text):
        if self.lossy:
            self.r.seen(kind, "lost with a path", kind)
        else:
            self.r.complain(where, kind, text)

    def end(self, conns):
        """The capture is over: what was begun has come to its end."""
        for session in self.sessions.values():
            for req in session.busy.values():
                self._lost("end", "reply", f"{req.kind} of {req.where} in "
                           f"chunk {req.chunk} had none")
        for conn in conns:
            if conn.state != "RTU" or self.lossy:
                continue
            for kind in "DREQ", "DREP":
                self.r.rule("end", "connections", f"ended by {kind}",
                            kind in conn.disconnected,
                            kind in conn.disconnected,
                            f"{conn} has none")
        if not self.sessions:
            self.r.complain("end", "capture", "no RTRS session in it")
