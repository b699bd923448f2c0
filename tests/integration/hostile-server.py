#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""An RNBD server over the tcp fabric that plays foul now and then.

hostile-server.py SEED SHARE CALM: prints the port of 127.0.0.1 it listens on.
The first CALM connections are honest, of the others each answer is foul with
probability SHARE. What is written where it must not be is 0xee.
"""
import random
import socket
import struct
import sys
import threading

MAGIC = b"RTRS-TCP"
SEND, SEND_IMM, SEND_INV, WRITE, WRITE_IMM, BYE, ERROR = range(1, 8)
DEPTH, IO, HDR = 32, 61440, 4096
CHUNK = IO + HDR
MEM_BITS = 28 - 5
GOOD, EVIL = b"\x55", b"\xee"


def frame(op, payload=b"", raddr=0, rkey=0, last=b"\0" * 4):
    return struct.pack("<BBHIQI", op, 0, 0, len(payload), raddr, rkey) + \
        last + payload


class Conn:
    def __init__(self, sock, rng, share):
        self.s, self.rng, self.share = sock, rng, share
        self.lock = threading.Lock()
        self.keys = []  # that were answered already

    def get(self, n):
        b = bytearray()
        while len(b) < n:
            part = self.s.recv(n - len(b))
            if not part:
                raise EOFError
            b += part
        return bytes(b)

    def end(self):
        try:
            self.s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def bent(self, b):
        """Bytes become others, are missing, or too many."""
        rng, at = self.rng, self.rng.randrange(len(b))
        what = rng.randrange(4)
        if what == 0:
            return b[:at]
        if what == 1:
            return b[:at] + rng.randbytes(rng.randrange(1, 100)) + b[at:]
        if what == 2:
            return b[:at] + bytes([b[at] ^ 1 << rng.randrange(8)]) + b[at + 1:]
        # In the header of the frame, where it hurts.
        at %= 24
        return b[:at] + bytes([rng.choice([0, 1, 0x7f, 0x80, 0xff])]) + \
            b[at + 1:]

    def put(self, b):
        if self.rng.random() < self.share / 8:
            b = self.bent(b)
            # A length that became large swallows what follows; that nobody
            # answers is noticed by heartbeats, after half a minute.
            threading.Timer(0.2, self.end).start()
        with self.lock:
            self.s.sendall(b)

    def reply(self, msg_id, err=0, kind=1):
        imm = kind << 28 | (err & 0x1ff) << 19 | msg_id & 0x7ffff
        self.put(frame(WRITE_IMM, last=struct.pack(">I", imm)))

    def handshake(self):
        hs = self.get(16)
        if hs[:8] != MAGIC:
            raise EOFError
        self.get(struct.unpack_from("<H", hs, 12)[0])
        rsp = struct.pack("<HHhHIII", 0x1bbd, 0x200, 0, DEPTH, IO, HDR, 0)
        if self.rng.random() < self.share / 8:
            rsp = self.rng.choice([
                self.rng.randbytes(20),
                struct.pack("<HHhHIII", 0x1bbd, 0x200, -103, 0, 0, 0, 0),
                struct.pack("<HHhHIII", 0x1bbd, 0x200, 0, 65535,
                            0xffffffff, 0xffffffff, 2),
                struct.pack("<HHhHIII", 0x1bbd, 0x200, 0, 1, IO, HDR, 2)])
        rsp = rsp.ljust(56, b"\0")
        kind = 3 if self.rng.random() < self.share / 8 else 2
        self.put(MAGIC + struct.pack("<HHHH", 1, kind, len(rsp), 0) + rsp)

    def run(self):
        self.handshake()
        while True:
            op, _, _, n, raddr, _, last = struct.unpack(
                "<BBHIQI4s", self.get(24))
            data = self.get(n)
            if op == SEND:
                self.info()
            elif op == WRITE_IMM:
                imm = struct.unpack(">I", last)[0]
                if imm >> 28 == 8:
                    self.put(frame(WRITE_IMM,
                                   last=struct.pack(">I", 9 << 28)))
                elif imm >> 28 == 0:
                    self.request(imm, data)
            else:
                return

    def info(self):
        desc = struct.pack("<HHIQII", 1, 1, 0, 0, 7, DEPTH * CHUNK)
        if self.rng.random() < self.share / 8:
            desc = self.rng.choice([
                self.rng.randbytes(24), desc[:9], desc + b"x" * 100000,
                struct.pack("<HHIQII", 1, 0xffff, 0, 0, 7, CHUNK)])
        self.put(frame(SEND, desc))

    def request(self, imm, data):
        msg_id = imm >> MEM_BITS
        off = imm & ((1 << MEM_BITS) - 1)
        target = None
        # The header is behind the user message: look from the end.
        for hdr_len, kind in ((24, 3), (8, 3), (4, 2)):
            h = data[-hdr_len:]
            if len(h) == hdr_len and struct.unpack_from("<H", h)[0] == kind:
                usr_len = struct.unpack_from("<H", h, 2)[0]
                if usr_len + hdr_len <= len(data) and \
                        (hdr_len != 24 or h[6] == 1):
                    break
        if hdr_len == 24:
            target = struct.unpack_from("<QII", h, 8)
        usr = data[len(data) - hdr_len - usr_len:len(data) - hdr_len]
        if self.rng.random() < self.share and self.foul(msg_id, target):
            return
        self.answer(msg_id, usr, target)

    def answer(self, msg_id, usr, target):
        kind = struct.unpack_from("<H", usr)[0]
        if kind == 0:
            data = struct.pack("<HHB", 1, 0, 2).ljust(36, b"\0")
        elif kind == 2:
            data = struct.pack("<HHIQIIIIIHHHHBB", 3, 0, 5, 1 << 15, 0, 4096,
                               4096, 0, 0, 4096, 512, 0, 0, 0, 3)
            data = data.ljust(56, b"\0")
            if self.rng.random() < self.share / 4:
                data = data[:4] + self.rng.randbytes(52)
        elif kind in (4, 5):
            data = GOOD * (target[2] if target else 0)
        else:
            self.reply(msg_id, 22)
            return
        if target:
            self.put(frame(WRITE, data, target[0], target[1]))
            self.keys.append(target)
        self.reply(msg_id)

    def foul(self, msg_id, target):
        """True: nothing honest is to follow."""
        rng = self.rng
        what = rng.randrange(14)
        if what == 0:
            self.reply(msg_id, rng.choice([103, 107, 5, 95, 511, 61]))
        elif what == 1:
            self.reply(rng.randrange(1 << 19))
        elif what == 2:
            self.reply(msg_id, 5)
            self.reply(msg_id)
        elif what == 3 and len(self.keys) > 2 * DEPTH:
            # Memory that was given back: so many answers later for sure.
            addr, key, n = rng.choice(self.keys[:-2 * DEPTH])
            self.put(frame(WRITE, EVIL * n, addr, key))
            return False
        elif what == 4 and target:  # one byte too many
            self.put(frame(WRITE, EVIL * (target[2] + 1), *target[:2]))
        elif what == 5 and target:  # just before it
            self.put(frame(WRITE, EVIL * 8, target[0] - 8, target[1]))
        elif what == 6 and target:  # a key that was never given out
            self.put(frame(WRITE, EVIL * 512, target[0],
                           target[1] + rng.choice([1, 1 << 16])))
        elif what == 7:
            self.reply(msg_id, 0, 2)
        elif what == 8 and target:
            self.put(frame(SEND_INV, last=struct.pack("<I", target[1])))
            return False
        elif what == 9:
            self.put(frame(SEND, rng.randbytes(rng.randrange(1, 300))))
        elif what == 10:
            self.put(b"\xff" + rng.randbytes(rng.randrange(23, 200)))
        elif what == 11:
            self.put(frame(WRITE_IMM, last=struct.pack(">I", 8 << 28)) * 5000)
            return False
        elif what == 12 and target:  # the end comes in the middle of it
            self.put(frame(WRITE, GOOD * target[2], *target[:2])[:-100])
            raise EOFError
        else:
            raise EOFError
        return True


def serve(sock, rng, share):
    try:
        Conn(sock, rng, share).run()
    except (EOFError, OSError, struct.error):
        pass
    sock.close()


def main():
    seed, share, calm = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    ls = socket.socket()
    ls.bind(("127.0.0.1", 0))
    ls.listen(64)
    print(ls.getsockname()[1], flush=True)
    n = 0
    while True:
        sock, _ = ls.accept()
        n += 1
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(
            target=serve, daemon=True,
            args=(sock, random.Random(rng.random()),
                  0 if n <= calm else share)).start()


main()
