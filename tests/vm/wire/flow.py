# SPDX-License-Identifier: BSD-3-Clause
"""Packets to connections and whole messages: queue pairs belong to a
connection by the messages of the connection manager, packets are put in the
order of their sequence numbers, what was sent again is dropped."""
import roce

CLIENT, SERVER = "client", "server"
OTHER = {CLIENT: SERVER, SERVER: CLIENT}

NAK = {0: "sequence error", 1: "invalid request", 2: "remote access error",
       3: "remote operational error", 4: "invalid RD request"}
PSN_MASK = 0xFFFFFF


class Message:
    """SEND, SEND_WITH_IMM, SEND_WITH_INV, WRITE or WRITE_WITH_IMM, whole."""

    def __init__(self, packet):
        self.kind = packet.kind
        self.addr, self.rkey, self.length = packet.reth or (None, None, None)
        self.imm = self.inv = None
        self.parts = []
        self.packets = 0

    @property
    def data(self):
        return b"".join(self.parts)


class Stream:
    """What one side sends on a connection."""

    def __init__(self, psn):
        self.psn = psn
        self.open = None     # the message that is being put together
        self.missing = None  # frame that showed that earlier ones were lost


class Conn:
    """One connection from its REQ on. The layer above sets cid and path."""

    def __init__(self, number, where, req, client, server):
        self.number, self.where = number, where
        self.req, self.rep = req, None
        self.client, self.server = client, server
        self.state = "REQ"
        self.streams = {}
        self.disconnected = {}
        self.cid = self.path = None

    def __str__(self):
        return f"connection {self.number}" if self.cid is None else \
            f"connection {self.number} (cid {self.cid})"


class Flow:
    """Feed it packets; it calls
    sink.cm(where, when, conn, side, cm) for each message of the CM, once, and
    sink.message(where, when, conn, side, message) for each whole message."""

    def __init__(self, report, sink):
        self.report, self.sink = report, sink
        self.conns = []
        self.by_id = {}   # (address of the client, its comm id) -> Conn
        self.by_qp = {}   # (address of the receiver, QPN) -> (Conn, receiver)
        self.cm_seen = set()

    def feed(self, where, when, p):
        r = self.report
        r.rule(where, "packet", "icrc", p.icrc_ok,
               "right" if p.icrc_ok else "wrong", "computed another one")
        r.equal(where, "packet", "bth version", p.tver, 0)
        r.equal(where, "packet", "pkey", hex(p.pkey), "0xffff")
        if p.kind == "UD":
            cm = roce.parse_cm(p)
            if cm:
                self._cm(where, when, p, cm)
            else:
                r.seen("packet", "other on UD", f"QP {p.qpn}")
            return
        conn, receiver = self.by_qp.get((p.dst, p.qpn), (None, None))
        if not conn:
            r.complain(where, "packet", f"to QP 0x{p.qpn:x} of {p.dst}, which "
                       "no connection named; was the start recorded?")
            return
        if p.kind == "ACK":
            self._ack(where, conn, p)
        elif p.kind.startswith("opcode"):
            r.complain(where, "packet", f"{p.kind}: nobody needs it here")
        else:
            self._data(where, when, conn, OTHER[receiver], p)

    # The connection manager

    def _cm(self, where, when, p, cm):
        r = self.report
        key = (p.src, cm.kind, cm.tid, cm.local_id, p.data)
        if key in self.cm_seen:
            r.seen("CM", "sent again", cm.kind)
            return
        self.cm_seen.add(key)
        kind = "CM " + cm.kind
        r.message(kind)
        r.equal(where, kind, "base version", cm.base_version, 1)
        r.equal(where, kind, "class version", cm.class_version, 2)
        r.equal(where, kind, "method", cm.method, 3)
        if cm.kind == "REQ":
            conn = Conn(len(self.conns), where, cm, p.src, p.dst)
            self.conns.append(conn)
            self.by_id[p.src, cm.local_id] = conn
            side = CLIENT
        else:
            conn, side = self._find(p, cm)
            if not conn:
                r.complain(where, kind, f"answers comm id 0x{cm.remote_id:x},"
                           " which nobody has; was the start recorded?")
                return
        if cm.kind == "REP":
            if conn.state != "REQ":
                r.complain(where, kind, f"a second answer to {conn}")
                return
            conn.rep, conn.state = cm, "REP"
            self.by_id[p.src, cm.local_id] = conn
            # A side names the number with which the other one begins.
            conn.streams = {CLIENT: Stream(cm.starting_psn),
                            SERVER: Stream(conn.req.starting_psn)}
            self.by_qp[conn.client, conn.req.qpn] = conn, CLIENT
            self.by_qp[conn.server, cm.qpn] = conn, SERVER
        elif cm.kind == "REJ":
            conn.state = "REJ"
        elif cm.kind == "RTU" and conn.state == "REP":
            conn.state = "RTU"
        elif cm.kind == "DREQ":
            peer = conn.rep.qpn if side == CLIENT else conn.req.qpn
            r.equal(where, kind, "remote qpn", cm.remote_qpn, peer)
        if cm.kind in ("DREQ", "DREP"):
            conn.disconnected.setdefault(cm.kind, where)
        self.sink.cm(where, when, conn, side, cm)

    def _find(self, p, cm):
        conn = self.by_id.get((p.dst, cm.remote_id))
        if not conn:
            return None, None
        if conn.client == conn.server:
            # Both ends on one host: only the ids tell them apart.
            return conn, SERVER if cm.remote_id == conn.req.local_id \
                else CLIENT
        return conn, CLIENT if p.src == conn.client else SERVER

    # Reliable connections

    def _ack(self, where, conn, p):
        r, (syndrome, _) = self.report, p.aeth
        code = syndrome & 31
        if syndrome >> 5 == 0:
            r.seen("acknowledge", "kind", "ACK")
        elif syndrome >> 5 == 1:
            r.seen("acknowledge", "kind", f"RNR NAK, timer {code}")
        elif syndrome >> 5 == 3 and code == 0:
            r.seen("acknowledge", "kind", "NAK sequence error")
        else:
            r.complain(where, "acknowledge", f"{conn}: NAK "
                       f"{NAK.get(code, code)}, syndrome 0x{syndrome:02x}")

    def _data(self, where, when, conn, sender, p):
        r, s = self.report, conn.streams[sender]
        ahead = (p.psn - s.psn) & PSN_MASK
        if ahead > PSN_MASK // 2:
            r.seen("packet", "dropped", "sent again")
            return
        if ahead:
            # The receiver drops it too, and asks for what is missing.
            r.seen("packet", "dropped", "after a lost one")
            s.missing = s.missing or where
            return
        s.missing = None
        s.psn = (s.psn + 1) & PSN_MASK
        if p.first:
            if s.open:
                r.complain(where, "packet", f"{conn}: {p.kind} begins within "
                           f"a {s.open.kind}")
            s.open = Message(p)
        m = s.open
        if not m or m.kind.split("_")[0] != p.kind.split("_")[0]:
            r.complain(where, "packet", f"{conn}: {p.kind} goes on, but none "
                       "began")
            s.open = None
            return
        m.parts.append(p.data)
        m.packets += 1
        if not p.last:
            return
        s.open = None
        m.kind, m.imm, m.inv = p.kind, p.imm, p.inv
        r.message(m.kind)
        if m.length is not None:
            r.equal(where, m.kind, "length of RETH", m.length, len(m.data))
        r.seen(m.kind, "packets", m.packets)
        self.sink.message(where, when, conn, sender, m)

    def end(self):
        for conn in self.conns:
            for side, s in conn.streams.items():
                if s.missing:
                    self.report.complain(
                        s.missing, "packet", f"{conn}: the {side} sent "
                        "something before it that the capture lacks")
                if s.open and not conn.disconnected:
                    self.report.complain(
                        "end", s.open.kind, f"{conn}: the {side} did not "
                        "finish it")
