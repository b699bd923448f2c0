# SPDX-License-Identifier: BSD-3-Clause
"""A client that breaks each rule of the wire, one after the other.

Speaks the framing of rtrs/fabric/tcp-wire.h from scratch. Usage:
hostile.py PORT DISK RODISK; RODISK is an export that is read-only. With a PID
instead of names it is the descriptors of that fresh daemon that run out. Each
attack says what the daemon has to answer: a reject with an errno, a reply
with an errno, or the end of the path; a daemon that hangs fails by time-out.
"""
import os
import random
import resource
import socket
import string
import struct
import sys

PORT, DISK, RODISK = int(sys.argv[1]), sys.argv[2], sys.argv[-1]
TIMEOUT = 30
SEND, SEND_IMM, SEND_INV, WRITE, WRITE_IMM, DISCONNECT, ERROR = range(1, 8)
MAGIC = b"RTRS-TCP"
SECTOR = 512
attacks = []


def attack(fn):
    attacks.append(fn)
    return fn


def hello(priv, kind=1, ver=1, magic=MAGIC, priv_len=None, reserved=0):
    n = len(priv) if priv_len is None else priv_len
    return magic + struct.pack("<HHHH", ver, kind, n, reserved) + priv


def frame(op, length=0, raddr=0, rkey=0, imm=None, arg=0, flags=0, res=0):
    last = struct.pack("<I", arg) if imm is None else struct.pack(">I", imm)
    return struct.pack("<BBHIQI", op, flags, res, length, raddr, rkey) + last


def conn_req(path, cid=0, magic=0x1BBD, version=0x0200, cid_num=None, recon=None,
             first=1):
    return struct.pack(
        "<BBHHHHH16s16sB11x", 0, 0, magic, version, cid,
        path.cid_num if cid_num is None else cid_num,
        path.recon if recon is None else recon, path.path_id, path.sess_id,
        first)


class Gone(Exception):
    """The daemon ended the connection."""


class Conn:
    def __init__(self, source="127.0.0.1"):
        self.s = socket.create_connection(
            ("127.0.0.1", PORT), timeout=TIMEOUT, source_address=(source, 0))
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        try:
            self.s.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Gone from None

    def recv(self, n):
        out = bytearray()
        while len(out) < n:
            try:
                more = self.s.recv(n - len(out))
            except ConnectionResetError:
                raise Gone from None
            if not more:
                raise Gone
            out += more
        return bytes(out)

    def answer(self):
        """The handshake's answer: (kind, private data)."""
        hs = self.recv(16)
        ver, kind, n, _ = struct.unpack("<HHHH", hs[8:])
        assert hs[:8] == MAGIC and ver == 1, hs
        return kind, self.recv(n)

    def frame(self):
        """The next frame of the daemon: (op, imm, payload)."""
        op, _, _, length, _, _ = struct.unpack("<BBHIQI", (h := self.recv(24))[:20])
        if op in (DISCONNECT, ERROR):
            raise Gone
        return op, struct.unpack(">I", h[20:])[0], self.recv(length)

    def gone(self):
        """Reads until the daemon ends the connection."""
        try:
            while True:
                self.recv(1)
        except Gone:
            self.close()

    def close(self):
        self.s.close()


class Path:
    """One path of one session, and the means to misuse it."""

    def __init__(self, cid_num=2, name=None, sess_id=None, source="127.0.0.1"):
        self.cid_num, self.recon = cid_num, 1
        self.path_id = os.urandom(16)
        self.sess_id = sess_id or os.urandom(16)
        # Letters only: in the log each would look like another line.
        self.name = name or "".join(random.choices(string.ascii_letters, k=12))
        self.source = source
        self.cons = []

    def ask(self, priv):
        c = Conn(self.source)
        c.send(hello(priv))
        return (c, *c.answer())

    def connect(self, cid, **kw):
        c, kind, priv = self.ask(conn_req(self, cid, **kw))
        assert kind == 2, (kind, priv)
        self.qd, self.max_io, hdr = struct.unpack("<HII", priv[6:16])
        self.chunk = self.max_io + hdr
        self.mem_bits = 28 - (self.qd - 1).bit_length()
        self.cons.append(c)
        return c

    def rejected(self, err, **kw):
        c, kind, priv = self.ask(conn_req(self, **kw))
        assert kind == 3, kind
        got = struct.unpack("<h", priv[4:6])[0]
        assert len(priv) == 56 and got == err, (got, err)
        c.gone()

    def connect_all(self):
        for cid in range(self.cid_num):
            self.connect(cid)
        return self

    def info_req(self, name=None):
        if name is None:
            name = self.name.encode()
        return struct.pack("<H255s15x", 0, name)

    def up(self):
        self.connect_all()
        msg = self.info_req()
        self.cons[0].send(frame(SEND, len(msg)) + msg)
        op, _, rsp = self.cons[0].frame()
        kind, n, self.raddr, self.rkey, length = struct.unpack(
            "<HHxxxxQII", rsp[:24])
        assert (op, kind, n, length) == (SEND, 1, 1, self.qd * self.chunk)
        return self

    def imm(self, ident, off):
        return ident << self.mem_bits | off

    def put(self, ident, at, data, off):
        """Writes bytes into a chunk, and the immediate of a request."""
        return frame(WRITE_IMM, len(data), self.raddr + ident * self.chunk + at,
                     self.rkey, imm=self.imm(ident, off)) + data

    def write(self, ident, usr, data=b""):
        return self.put(ident, 0, data + usr + struct.pack("<HH", 2, len(usr)),
                        len(data) + len(usr))

    def read(self, ident, usr, n, sg=True):
        msg = usr + struct.pack("<HHHH", 3, len(usr), 0, sg)
        if sg:
            msg += struct.pack("<QII", 0x1000, 7, n)
        return self.put(ident, n, msg, n + len(usr))

    def reply(self, cid):
        """The next reply on a connection: (msg_id, err, data)."""
        data = b""
        while True:
            op, imm, payload = self.cons[cid].frame()
            if op == WRITE:
                data = payload
                continue
            assert op == WRITE_IMM, op
            if imm >> 28 == 1:
                return imm & 0x7FFFF, -(imm >> 19 & 0x1FF), data

    def call(self, cid, request, want):
        self.cons[cid].send(request)
        ident, err, data = self.reply(cid)
        assert err == want, (err, want)
        return data

    def open(self, name, mode=1, want=0, ident=0):
        data = self.call(0, self.read(ident, open_msg(name, mode), 56), want)
        return struct.unpack("<I", data[4:8])[0] if not want else None

    def ends(self, cid, data):
        """The data must end the whole path."""
        try:
            self.cons[cid].send(data)
        except Gone:
            pass
        for c in self.cons:
            c.gone()

    def alive(self):
        self.call(0, self.read(0, sess_info(), 36), 0)
        self.close()

    def close(self):
        for c in self.cons:
            c.close()


def sess_info(ver=2):
    return struct.pack("<HxxB31x", 0, ver)


def open_msg(name, mode=1):
    return struct.pack("<HxxBx255s3x", 2, mode, name.encode())


def close_msg(dev):
    return struct.pack("<HxxI", 5, dev)


def io_msg(dev, sector, rw, size):
    return struct.pack("<HxxIQIIH6x", 4, dev, sector, rw, size, 0)


# --- handshakes


@attack
def handshakes():
    good = conn_req(Path())
    for data in (
            hello(good, magic=b"RTRS-UDP"), hello(good, kind=2),
            hello(good, kind=3), hello(good, kind=0), hello(good, kind=9),
            hello(good, priv_len=257), hello(good, priv_len=65535),
            hello(good, reserved=1), b"\0" * 300, b"RTRS", b"GET / HTTP/1.0\r\n\r\n"):
        c = Conn()
        c.send(data)
        if data == b"RTRS":
            c.s.shutdown(socket.SHUT_WR)
        c.gone()
    c = Conn()
    c.send(hello(b"", ver=7))
    assert c.answer()[0] == 3
    c.gone()


@attack
def handshake_byte_by_byte():
    p = Path()
    c = Conn()
    for b in hello(conn_req(p)):
        c.send(bytes([b]))
    assert c.answer()[0] == 2
    c.close()


@attack
def conn_reqs():
    p = Path()
    for bad in (dict(magic=0xBD1B), dict(version=0x0100), dict(version=0x0300),
                dict(cid=2), dict(cid_num=0), dict(cid=65535, cid_num=65535),
                dict(cid_num=4097)):
        p.rejected(-104, **bad)
    p.rejected(-6, first=0)
    for n in (0, 1, 55):
        c, kind, priv = p.ask(conn_req(p)[:n])
        assert kind == 3 and priv[4:6] == b"\x98\xff", (kind, priv)
        c.gone()


@attack
def connections_twice():
    p = Path()
    p.connect(0)
    p.rejected(-104, cid=0)
    p.rejected(-104, cid=1, cid_num=3)
    p.connect(1)
    p.rejected(-104, cid=1)
    q = Path(sess_id=p.sess_id)
    q.rejected(-17)
    p.close()


@attack
def frames_before_the_accept():
    p = Path(cid_num=1)
    c = Conn()
    msg = p.info_req()
    c.send(hello(conn_req(p)) + frame(SEND, len(msg)) + msg)
    assert c.answer()[0] == 2
    assert c.frame()[0] == SEND
    c.close()


@attack
def starting_over():
    p = Path().up()
    old, p.cons = p.cons, []
    p.recon += 1
    for c in old:
        c.s.settimeout(TIMEOUT)
    p.connect(0)  # waits until the old path is gone
    p.connect(1)
    for c in old:
        c.gone()
    p.close()


# --- paths


@attack
def info_reqs():
    for name in (b"", b"a/b", b"a.b", b"x" * 255):
        p = Path().connect_all()
        msg = p.info_req(name)
        p.ends(0, frame(SEND, 272) + msg)
    for n in (0, 1, 271):
        p = Path().connect_all()
        p.ends(0, frame(SEND, n) + p.info_req()[:n])
    p = Path().connect_all()
    p.ends(0, frame(SEND, 273) + p.info_req() + b"\0")
    p = Path()
    p.connect(0)
    p.ends(0, frame(SEND, 272) + p.info_req())
    p = Path().connect_all()
    p.ends(1, frame(SEND, 272) + p.info_req())
    p = Path().up()
    p.ends(0, frame(SEND, 272) + p.info_req())


@attack
def names_in_use():
    p = Path().up()
    q = Path(name=p.name).connect_all()
    q.ends(0, frame(SEND, 272) + q.info_req())
    p.alive()


@attack
def too_early():
    for data in (frame(WRITE_IMM, imm=0), frame(WRITE, 8, 4096, 65537) + b"x" * 8,
                 frame(WRITE_IMM, imm=8 << 28)):
        p = Path().connect_all()
        p.ends(0, data)
    p = Path().connect_all()
    p.ends(1, frame(WRITE_IMM, imm=0))


@attack
def frames():
    other = Path().up()
    p = Path().up()
    p.close()
    for data in (
            frame(0), frame(8), frame(255), frame(SEND, flags=1),
            frame(SEND, res=1), frame(SEND, raddr=1), frame(SEND, rkey=1),
            frame(SEND, arg=1), frame(SEND, 0), frame(SEND, 1) + b"x",
            frame(SEND_IMM, imm=1), frame(SEND_IMM, 8, imm=1) + b"x" * 8,
            frame(SEND_INV, arg=1), frame(SEND_INV, arg=other.rkey),
            frame(SEND, (1 << 30) + 1), frame(WRITE, 0xFFFFFFFF),
            frame(DISCONNECT, 1), frame(DISCONNECT, arg=1), frame(ERROR, arg=2),
            frame(ERROR, arg=0xFFFFFFFF), frame(DISCONNECT) + b"x" * 100000,
            frame(WRITE, 8, other.raddr, other.rkey ^ 0x10000) + b"x" * 8,
            frame(WRITE, 8, other.raddr, 0) + b"x" * 8,
            frame(WRITE, 8, other.raddr, 0xFFFF) + b"x" * 8):
        p = Path().up()
        p.ends(1, data)
    for at, n in ((-1, 8), (p.qd * p.chunk - 7, 8), (p.qd * p.chunk, 1),
                  (1 << 40, 8), (0, 1 << 30), (-(1 << 62), 8)):
        p = Path().up()
        p.ends(1, frame(WRITE, n, (p.raddr + at) % (1 << 64), p.rkey) + b"x" * 8)
    p = Path().up()
    p.ends(0, p.write(0, close_msg(0))[:-1] + frame(DISCONNECT))
    other.alive()


@attack
def immediates():
    for imm in (lambda p: p.imm(p.qd - 1, p.chunk), lambda p: 0x0FFFFFFF,
                lambda p: p.imm(0, p.chunk)):
        p = Path().up()
        if imm(p) >> p.mem_bits >= p.qd or imm(p) & (1 << p.mem_bits) - 1 >= p.chunk:
            p.ends(1, frame(WRITE_IMM, imm=imm(p)))
        else:
            p.close()
    p = Path().up()
    for kind in (1, 2, 3, 7, 10, 15):
        p.cons[1].send(frame(WRITE_IMM, imm=kind << 28 | 12345) * 100)
    p.alive()


@attack
def headers():
    w, r = struct.Struct("<HH").pack, struct.Struct("<HHHH").pack
    d = struct.Struct("<QII").pack
    usr = sess_info()
    for at, data, off in (
            (0, usr + w(0, 36), 36), (0, usr + w(4, 36), 36),
            (0, usr + w(0xFFFF, 36), 36), (0, usr + w(2, 37), 36),
            (0, usr + w(2, 0xFFFF), 36), (0, w(2, 1), 0),
            (36, usr + r(3, 36, 0, 2) + d(0, 0, 36) * 2, 72),
            (36, usr + r(3, 36, 0, 0xFFFF), 72),
            (36, usr + r(3, 36, 0, 1) + d(0, 0, 35), 72),
            (36, usr + r(3, 36, 0, 1) + d(0, 0, 37), 72),
            (36, usr + r(3, 36, 0, 1) + d(0, 0, 0xFFFFFFFF), 72),
            (0, usr + r(3, 36, 0, 1) + d(0, 0, 0), 36)):
        p = Path().up()
        p.ends(1, p.put(1, at, data, off))
    for tail in (w(2, 0)[:3], r(3, 0, 0, 0)[:7], (r(3, 0, 0, 1) + d(0, 0, 0))[:23]):
        p = Path().up()
        at = p.chunk - len(tail)
        p.ends(1, p.put(p.qd - 1, at, tail, at))


@attack
def same_chunk_twice():
    for _ in range(20):
        p = Path().up()
        dev = p.open(DISK, 0)
        p.cons[1].send(p.read(3, io_msg(dev, 0, 0, 4096), 4096) * 2)
        try:
            # The first may have been answered before the second came.
            assert p.reply(1)[:2] == p.reply(1)[:2]
            p.close()
        except Gone:
            p.cons[0].gone()
            p.cons[1].close()


# --- RNBD messages


@attack
def messages():
    p = Path().up()
    p.call(0, p.read(0, sess_info(255), 36), 0)
    p.call(0, p.read(0, sess_info(0), 36), 0)
    for bad in (p.read(0, b"", 36), p.read(0, b"\2", 56), p.write(0, sess_info()),
                p.read(0, sess_info()[:4], 36), p.read(0, sess_info(), 35),
                p.read(0, open_msg(DISK)[:200], 56), p.read(0, open_msg(DISK), 55),
                p.write(0, open_msg(DISK)), p.read(0, struct.pack("<HH", 77, 0), 36),
                p.write(0, struct.pack("<HH", 0xFFFF, 0)), p.write(0, b"x" * 321),
                p.write(0, b"x" * 4000), p.write(0, close_msg(0)[:7]),
                p.write(0, close_msg(0), b"data"), p.write(0, io_msg(0, 0, 0, 0)[:23]),
                p.read(0, struct.pack("<HxxBx255s3x", 2, 0, b"x" * 255), 56)):
        p.call(0, bad, -22)
    p.call(0, p.write(0, close_msg(77)), 0)
    p.call(1, p.read(0, io_msg(0, 0, 0, 512), 512), -107)
    p.alive()


@attack
def opens():
    p = Path().up()
    p.open("nothing-of-that-name", want=-2)
    for name in ("..", "a..b", "../" + DISK, ""):
        p.open(name, want=-22)
    p.open("/etc/passwd", want=-2)
    p.open("%s%n\n\x1b[2J'\"", want=-2)
    p.open(DISK, 3, want=-22)
    p.open(DISK, 255, want=-22)
    p.open(RODISK, 1, want=-13)
    # Many of the same at once: one device, one id.
    for i in range(20):
        p.cons[0].send(p.read(i, open_msg(RODISK, 0), 56))
    answers = [p.reply(0) for _ in range(20)]
    assert sorted(a[0] for a in answers) == list(range(20))
    assert {a[1] for a in answers} == {0}
    assert len({a[2][4:8] for a in answers}) == 1
    p.alive()


@attack
def io():
    p = Path().up()
    dev, ro = p.open(DISK), p.open(RODISK, 0)
    end = (1 << 20) // SECTOR
    for d, sector, rw, size, want in (
            (dev, 0, 0, 4096, 0), (dev, end - 1, 0, 512, 0),
            (dev, end, 0, 512, -5), (dev, end - 1, 0, 1024, -5),
            (dev, 1 << 55, 0, 512, -5), ((1 << 32) - 1, 0, 0, 512, -107),
            (dev, (1 << 64) - 1, 0, 512, -5), (dev, 0, 0, 513, -22),
            (dev, 0, 1, 512, -22), (dev, 0, 3, 512, -22), (dev, 0, 5, 512, -22),
            (dev, 0, 4, 512, -95), (dev, 0, 0x4D, 512, -95),
            (dev, 0, 0xFFFFFF00, 512, 0)):
        got = p.call(1, p.read(1, io_msg(d, sector, rw, size), size), want)
        assert len(got) == (0 if want else size)
    for d, sector, rw, size, data, want in (
            (dev, 0, 1, 512, b"x" * 512, 0), (dev, end, 1, 512, b"x" * 512, -5),
            (dev, 0, 1, 512, b"x" * 511, -22), (dev, 0, 1, 512, b"", -22),
            (dev, 0, 1, 0, b"", 0), (dev, (1 << 64) - 1, 2, 0, b"", 0),
            (dev, 0, 2, 512, b"x" * 512, -22), (dev, 0, 0, 512, b"x" * 512, -22),
            (dev, 0, 3, 0, b"", -22), (dev, 0, 5, 0, b"", -22),
            (ro, 0, 1, 512, b"x" * 512, -30), (ro, 0, 3, 512, b"", -95),
            (ro, 0, 5, 512, b"", -95), (dev, end - 1, 5, 1024, b"", -5),
            (dev, (1 << 55) - 1, 3, 512, b"", -5),
            (dev, 0, 3, 0xFFFFFE00, b"", -22)):
        p.call(1, p.write(1, io_msg(d, sector, rw, size), data), want)
    # Room for an answer but nowhere to send it: no success without data.
    p.call(1, p.read(1, io_msg(dev, 0, 0, 512), 512, sg=False), -22)
    p.alive()


@attack
def close_while_io_runs():
    for _ in range(10):
        p = Path().up()
        dev = p.open(DISK)
        n = p.qd - 2
        for i in range(n):
            p.cons[1].send(p.write(i, io_msg(dev, i, 1, 512), b"y" * 512))
        p.cons[0].send(p.write(n, close_msg(dev)) + p.write(n + 1, close_msg(dev)))
        answers = [p.reply(1) for _ in range(n)]
        assert sorted(a[0] for a in answers) == list(range(n))
        assert {a[1] for a in answers} <= {0, -107}
        assert sorted(p.reply(0)[:2] for _ in range(2)) == [(n, 0), (n + 1, 0)]
        p.call(1, p.read(0, io_msg(dev, 0, 0, 512), 512), -107)
        p.alive()


@attack
def leave_while_it_opens():
    for i in range(50):
        p = Path().up()
        p.cons[0].send(p.read(0, open_msg(DISK), 56) * (1 + i % 2))
        if i % 3 == 0:
            p.cons[0].send(frame(DISCONNECT))
        p.close()
    p = Path().up()
    while True:  # the writer's place is free again, sooner or later
        p.cons[0].send(p.read(0, open_msg(DISK), 56))
        err = p.reply(0)[1]
        if not err:
            break
        assert err == -1, err
    p.alive()


# --- peers that stop


@attack
def never_reads():
    p = Path().up()
    dev = p.open(DISK, 0)
    for i in range(p.qd):
        n = p.max_io // 4096 * 4096
        p.cons[1].send(p.read(i, io_msg(dev, 0, 0, n), n))
    p.cons[0].s.setblocking(False)
    try:
        for _ in range(100):
            p.cons[0].s.send(frame(WRITE_IMM, imm=8 << 28) * 4000)
    except BlockingIOError:
        pass
    Path().up().alive()
    p.close()


@attack
def stops_in_the_middle():
    held = []
    for data in (b"RTRS-TCP\1", hello(conn_req(Path()))[:40]):
        c = Conn()
        c.send(data)
        held.append(c)
    for n in (1, 23, 24, 25, 4000):
        p = Path().up()
        dev = p.open(DISK, 0)
        p.cons[1].send(p.write(0, io_msg(dev, 0, 1, 65536), b"z" * 65536)[:n])
        held += p.cons
    p = Path(cid_num=300).connect_all()
    held += p.cons
    Path().up().alive()
    for c in held:
        c.close()


@attack
def noise():
    r = random.Random(11)
    for _ in range(150):
        p = Path().up()
        dev = p.open(DISK, r.choice((0, 2)))
        try:
            for _ in range(40):
                op, length = r.choice((WRITE, WRITE_IMM)), r.randrange(0, 600)
                data = r.randbytes(length)
                if r.random() < 0.1:
                    p.cons[r.randrange(2)].send(r.randbytes(24) + data)
                elif r.random() < 0.5:
                    at = r.randrange(0, p.qd * p.chunk - length)
                    p.cons[r.randrange(2)].send(
                        frame(op, length, p.raddr + at, p.rkey,
                              imm=0 if op == WRITE else
                              p.imm(r.randrange(p.qd), r.randrange(p.chunk))) + data)
                else:
                    usr = bytearray(io_msg(dev, r.getrandbits(11), r.randrange(6), 512))
                    usr[r.randrange(len(usr))] = r.getrandbits(8)
                    p.cons[1].send(p.write(r.randrange(p.qd), bytes(usr), data))
            for c in p.cons:  # closing now could reset what is on its way
                c.s.shutdown(socket.SHUT_WR)
        except (Gone, OSError):
            pass
        for c in p.cons:
            c.gone()


def few_descriptors(pid):
    """A flood takes all of them, and later there are some again."""
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    used = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
    free = [fd for fd in range(len(used) + 10) if fd not in used]
    # Some of these are in the backlog until there is room again.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[6], hard))
    p = Path(cid_num=10)
    p.cons = [Conn() for _ in range(10)]
    for cid, c in enumerate(p.cons):
        c.send(hello(conn_req(p, cid)))
    assert p.cons[0].answer()[0] == 2
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
    for c in p.cons[1:]:
        assert c.answer()[0] == 2
    p.close()
    Path().up().alive()


if len(sys.argv) == 3:
    few_descriptors(int(sys.argv[2]))
    sys.exit()
for fn in attacks:
    print(fn.__name__, flush=True)
    fn()
