#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The checker of captures on captures made from the protocol's vectors: the
right ones pass, and of each wrong one exactly the wrong thing is found."""
import os
import sys
import tempfile

sys.path.insert(0, sys.argv[2])  # the folder of the checker
sys.dont_write_bytecode = True

import pcap  # noqa: E402
import wirecheck  # noqa: E402
from report import Report  # noqa: E402
from synth import Story, Vectors  # noqa: E402

VECTORS = Vectors(sys.argv[1])
KERNELS = {"client": "kernel", "server": "kernel"}


def run(frames, **how):
    """The report of a capture, and the layer that made it."""
    fd, path = tempfile.mkstemp(suffix=".pcap")
    os.close(fd)
    try:
        pcap.write(path, frames)
        report = Report()
        return report, wirecheck.check(path, report, **how)
    finally:
        os.unlink(path)


def clean(frames, **how):
    report, rtrs = run(frames, **how)
    assert not report.complaints, report.complaints
    return report, rtrs


def found(frames, *words, **how):
    """Each complaint has one of the words, each word is complained of."""
    report, _ = run(frames, **how)
    assert report.complaints, "nothing was found"
    for c in report.complaints:
        assert any(w in c for w in words), f"unexpected: {c}"
    for w in words:
        assert any(w in c for c in report.complaints), \
            f"not found: {w}; but {report.complaints}"


def put(at, data):
    """An edit of a vector: data at an offset."""
    def change(b):
        b[at:at + len(data)] = data
    return change


def edited(name, at, data):
    return Story(VECTORS, edit={name: put(at, data)}).tell()


def without(*steps, **how):
    s = Story(VECTORS, **how)
    for step in steps:
        setattr(s, step, lambda: None)
    return s


CASES = []


def case(f):
    CASES.append((f.__name__.replace("_", " "), f))
    return f


# Right ones

@case
def the_worked_session_agrees():
    report, rtrs = clean(Story(VECTORS).tell(), **KERNELS)
    counts = report.counts
    assert counts["CONN_REQ"] == counts["CONN_RSP"] == 2
    assert counts["IO READ"] == counts["IO WRITE"] == counts["IO FLUSH"] == 1
    assert counts["HB_MSG"] == counts["HB_ACK"] == 3
    assert counts["RKEY_RSP"] == counts["reply"] == 6
    assert report.kinds["IO READ"]["data as written before"].good == 1
    assert report.checks > 300
    # What the vectors say comes out again.
    for name, ours in (("info_req", "info_req"), ("info_rsp", "info_rsp"),
                       ("conn_rsp", "conn_rsp"), ("open_rsp", "open_rsp"),
                       ("open_req", "open_req"), ("io_read_req", "read_req"),
                       ("io_write_req", "write_req"),
                       ("io_read_inv", "read_inv"),
                       ("close_done", "close_done")):
        got = rtrs.samples.vectors[name]
        assert got["hex"] == VECTORS.all[ours]["hex"], name
        want = VECTORS.all[ours]["transport"].get("imm_host")
        assert got["transport"].get("imm_host") == want, name


@case
def ipv6_agrees():
    clean(Story(VECTORS, v6=True).tell(), **KERNELS)


@case
def static_keys_agree():
    report, _ = clean(Story(VECTORS, new_rkey=False).tell(), **KERNELS)
    assert not report.counts["RKEY_RSP"] and report.counts["reply"] == 6


@case
def a_client_without_need_inval_agrees():
    clean(Story(VECTORS, need_inval=False).tell(), client="ours")


@case
def packets_sent_again_are_dropped():
    s = Story(VECTORS)
    write = s.write

    def twice():
        first = len(s.wire.frames)
        write()
        # Two packets of the write once more, as after a time-out.
        s.wire.again(first)
        s.wire.again(first + 1)
    s.write = twice
    report, _ = clean(s.tell(), **KERNELS)
    assert report.kinds["packet"]["dropped"].seen == 2


@case
def a_lost_packet_that_is_sent_again_agrees():
    s = Story(VECTORS)

    def lossy():
        first = len(s.wire.frames)
        s.request("write_req", b"\xa5" * 4096)
        lost = s.wire.frames.pop(first + 2)
        s.wire.frames.append((s.wire.now + 0.001, lost[1]))
        for later in s.wire.frames[first + 2:-2]:
            s.wire.frames.append((s.wire.now + 0.002, later[1]))
        s.wire.now += 0.01
        s.done("write_done")
    s.write = lossy
    report, _ = clean(s.tell(), **KERNELS)
    assert report.kinds["packet"]["dropped"].seen == 2


@case
def reserved_bytes_are_told_and_not_judged():
    s = Story(VECTORS, edit={"write_req": put(26, b"\x01\x02"),
                             "conn_req_cid0": put(45, b"\xff"),
                             "open_req": put(11, b"garbage")})
    report, _ = clean(s.tell(), **KERNELS)
    told = report.kinds["IO WRITE"]["bytes 26-31"]
    assert "not zero: 010200000000" in told.values and not told.bad


@case
def a_rejected_connection_agrees():
    s = Story(VECTORS)
    s.wire.connect(0, s.bytes("conn_req_cid0"),
                   s.bytes("x_conn_rej_eexist"), reject=True)
    report, rtrs = clean(s.wire.frames)
    assert report.counts["CONN_RSP, reject"] == 1
    assert rtrs.samples.vectors["conn_rsp_errno17"]["fields"]["errno"] == -17


@case
def an_error_reply_agrees():
    s = without("write", "read", "flush", "close")

    def refuse():
        s.request("open_req")
        s.inval("open_inv")
        s.done("open_done", imm=0x20000001 | 2 << 19)
    s.open = refuse
    report, _ = clean(s.tell(), **KERNELS)
    assert report.counts["answer to OPEN, errno -2"] == 1


# Wrong ones: connecting

@case
def wrong_magic():
    found(edited("conn_req_cid0", 2, b"\xbe"), "CONN_REQ: magic")


@case
def wrong_version_of_the_answer():
    found(edited("conn_rsp", 3, b"\x03"), "CONN_RSP: version is 0x300")


@case
def bytes_of_the_cma_are_used():
    found(edited("conn_req_cid1", 1, b"\x40"), "CONN_REQ: bytes 0-1")


@case
def cids_out_of_order():
    s = Story(VECTORS)
    for cid in 1, 0:
        s.links.insert(0, s.wire.connect(
            cid, s.bytes(f"conn_req_cid{cid}"), s.bytes("conn_rsp")))
    s.connect = lambda: None
    found(s.tell(), "cid order", "cid before is connected")


@case
def cid_out_of_range():
    s = without("info", "greet", "open", "write", "read", "flush", "beat",
                "close", edit={"conn_req_cid1": put(6, b"\x05")})
    found(s.tell(), "cid is 5", "cid order", "cid before is connected")


@case
def cid_num_changes():
    found(edited("conn_req_cid1", 8, b"\x03"), "cid_num of the path is 3")


@case
def recon_cnt_does_not_begin_with_one():
    s = Story(VECTORS, edit={"conn_req_cid0": put(10, b"\x02"),
                             "conn_req_cid1": put(10, b"\x02")})
    found(s.tell(), "recon_cnt, first attempt is 2")


@case
def first_conn_clear_on_the_first_path():
    found(edited("conn_req_cid1", 44, b"\0"), "first_conn, first path is 0")


@case
def retry_counts():
    for how, words in (({"retry": 3}, "CM REQ: retry_count is 3"),
                       ({"rnr": 6}, "CM REQ: rnr_retry_count is 6"),
                       ({"rep_rnr": 0}, "CM REP: rnr_retry_count is 0"),
                       ({"resources": 1}, "responder_resources is 1"),
                       ({"service": 0x0106 << 16 | 99}, "service_id")):
        s = Story(VECTORS)
        connect = s.connect
        s.connect = lambda how=how, connect=connect: connect(**how)
        found(s.tell(), words)


@case
def queue_and_chunk_do_not_fit_the_immediate():
    s = without(*Story.STEPS[1:-1], edit={"conn_rsp": put(6, b"\xff\xff")})
    found(s.tell(), "bits of queue and chunk is 33")


@case
def unknown_flags_of_the_answer():
    found(edited("conn_rsp", 16, b"\x06"), "CONN_RSP: flags is 6")


@case
def reject_without_an_errno():
    s = Story(VECTORS)
    s.wire.connect(0, s.bytes("conn_req_cid0"), s.bytes("conn_rsp"),
                   reject=True)
    found(s.wire.frames, "reject: errno is 0", "reject: queue_depth is 2",
          "reject: max_io_size", "reject: max_hdr_size", "reject: flags")


# Wrong ones: path information

@case
def info_req_too_short():
    s = without(*Story.STEPS[2:-1], edit={"info_req": lambda b: b[:271]})
    found(s.tell(), "too short: INFO_REQ of 271 bytes", "INFO_RSP: after")


@case
def name_with_a_slash():
    found(edited("info_req", 4, b"/"), "INFO_REQ: pathname is cl/1-srv1")


@case
def descriptor_count_does_not_divide_the_queue():
    s = without(*Story.STEPS[2:-1], edit={
        "info_rsp": lambda b: put(2, b"\x03")(b) or b + b[8:24]})
    found(s.tell(), "sg_cnt is 3", "sg_cnt with NEW_RKEY is 3",
          "chunks covered is 3")


@case
def descriptor_is_no_whole_chunk():
    s = without(*Story.STEPS[2:-1], edit={"info_rsp": put(20, b"\x01")})
    found(s.tell(), "desc.len is 131073", "chunks covered is 3")


# Wrong ones: requests

@case
def wrong_key_of_a_chunk():
    s = Story(VECTORS)
    s.flush = lambda: (s.request("flush_req", rkey=0x1101),
                       s.done("flush_done"))
    found(s.tell(), "key of the chunk is 4353, has to be 4354")


@case
def chunk_beyond_the_queue():
    s = without("read", "write", "close")
    s.flush = lambda: s.request("flush_req", imm=0x10000020)
    found(s.tell(), "imm type is 1", "no request")


@case
def chunk_in_use():
    s = without(*Story.STEPS[6:-1])
    s.read = lambda: s.request("write_req", b"\xa5" * 4096, rkey=0x1101)
    s.write = lambda: s.request("write_req", b"\xa5" * 4096)
    found(s.tell(), "chunk is free is False", "had none when the path ended")


@case
def wrong_offset_of_the_header():
    s = without(*Story.STEPS[6:-1])
    s.read = lambda: s.request("read_req", imm=0x08001024)
    found(s.tell(), "header type is 1")


@case
def read_request_at_the_start_of_the_chunk():
    s = without(*Story.STEPS[6:-1])
    s.read = lambda: s.request("read_req", move=-4096)
    found(s.tell(), "header in the message is 4128")


@case
def write_request_moved_in_the_chunk():
    s = without(*Story.STEPS[5:-1])
    s.write = lambda: (s.request("write_req", b"\xa5" * 4092, move=4),
                       s.done("write_done"))
    found(s.tell(), "address in the chunk is 4", "length is 0")


@case
def answer_area_differs_from_the_descriptor():
    s = Story(VECTORS, edit={"read_req": put(52, b"\x00\x08")})
    s.read = lambda: (s.request("read_req"),
                      s.answer("read_data", b"\xa5" * 2048),
                      s.inval("read_inv"), s.done("read_done"))
    found(s.tell(), "desc.len is the data length", "room for the answer",
          "data as written before")


@case
def two_descriptors():
    s = without(*Story.STEPS[6:-1],
                edit={"read_req": lambda b: put(38, b"\x02")(b) or
                      b + b[40:56]})
    s.read = lambda: s.request("read_req")
    found(s.tell(), "header: sg_cnt is 2", "READ: sg_cnt is 2", "had none")


@case
def kernel_read_without_need_inval():
    found(Story(VECTORS, need_inval=False).tell(),
          "flags of a kernel client is 0", **KERNELS)


@case
def opening_before_the_greeting():
    s = Story(VECTORS)
    s.greet, s.open = s.open, s.greet
    found(s.tell(), "OPEN: after SESS_INFO is False")


@case
def size_is_not_that_of_the_data():
    found(edited("write_req", 20, b"\x00\x20"), "data length is 4096")


@case
def unknown_operation():
    s = without("read", "flush", "close", "beat",
                edit={"write_req": put(16, b"\x09")})
    found(s.tell(), "operation is 9", "data length")


@case
def unknown_flag():
    found(edited("write_req", 17, b"\x11"), "flags is 0x1100")


@case
def io_beyond_the_end():
    found(edited("read_req", 12, b"\x01"), "within the device is False")


@case
def io_of_a_device_that_is_not_open():
    found(edited("write_req", 4, b"\x07"), "IO WRITE: device_id is 7")


@case
def write_zeroes_to_a_server_that_does_not_know_them():
    s = Story(VECTORS)

    def zeroes():
        b = VECTORS.bytes("write_req")
        put(16, b"\x05\0")(b)
        s.wire.send(s.links[1], "c", "WRITE_WITH_IMM", b, 0x7F1000000000,
                    0x1101, 0x20)
        s.done("write_done")
    s.write = zeroes
    # The story reads what it would have written.
    found(s.tell(), "offered by OPEN_RSP is False", "data as written before")


@case
def io_on_the_service_connection():
    s = Story(VECTORS)
    s.flush = lambda: (s.request("flush_req", cid=0),
                       s.done("flush_done", cid=0))
    found(s.tell(), "IO FLUSH: cid is 0")


@case
def kernel_flush_with_a_sector():
    found(edited("flush_req", 8, bytes(8)), "IO FLUSH: sector is 0x0",
          **KERNELS)


@case
def device_name_without_an_end():
    found(edited("open_req", 6, b"x" * 255), "OPEN: dev_name is None")


# Wrong ones: replies

@case
def no_reply():
    s = without("beat", "close")
    s.flush = lambda: s.request("flush_req")
    found(s.tell(), "io_flush of frame", "had none when the path ended")


@case
def no_reply_and_no_end():
    s = without("beat", "close", "disconnect")
    s.flush = lambda: s.request("flush_req")
    found(s.tell(), "had none", "ended by DREQ", "ended by DREP")


@case
def two_replies():
    s = Story(VECTORS)
    s.flush = lambda: (s.request("flush_req"), s.done("flush_done"),
                       s.done("flush_done"))
    found(s.tell(), "msg_id has a request is False")


@case
def reply_on_another_connection():
    s = Story(VECTORS)
    s.flush = lambda: (s.request("flush_req"), s.done("flush_done", cid=0))
    found(s.tell(), "on the QP of the request is False")


@case
def reply_to_another_request():
    s = without("beat", "close")
    s.flush = lambda: (s.request("flush_req"),
                       s.done("flush_done", imm=0x10000001))
    found(s.tell(), "nothing was asked in chunk 1",
          "had none when the path ended")


@case
def need_inval_is_not_obeyed():
    s = Story(VECTORS)
    s.inval = lambda name, **how: None
    found(s.tell(), "invalidated and NEED_INVAL is False")


@case
def need_inval_is_not_told():
    s = Story(VECTORS)
    done = s.done
    s.done = lambda name, **how: done(
        name, **({"imm": 0x10000001} if name == "read_done" else how))
    found(s.tell(), "imm type and NEED_INVAL is 1")


@case
def invalidation_of_a_key_that_nobody_named():
    s = Story(VECTORS)
    s.read = lambda: (s.request("read_req"),
                      s.answer("read_data", b"\xa5" * 4096),
                      s.inval("read_inv", inv=0x777), s.done("read_done"))
    found(s.tell(), "no request named the key 0x777",
          "invalidated and NEED_INVAL")


@case
def invalidation_before_the_data():
    s = Story(VECTORS)
    s.read = lambda: (s.request("read_req"), s.inval("read_inv"),
                      s.answer("read_data", b"\xa5" * 4096),
                      s.done("read_done"))
    found(s.tell(), "before the invalidation is True")


@case
def a_read_without_data():
    s = Story(VECTORS)
    s.read = lambda: (s.request("read_req"), s.inval("read_inv"),
                      s.done("read_done"))
    found(s.tell(), "data if read and no error is False")


@case
def data_with_an_error():
    s = Story(VECTORS)
    done = s.done
    s.done = lambda name, **how: done(
        name, **({"imm": 0x20280001} if name == "read_done" else how))
    found(s.tell(), "data if read and no error is False")


@case
def data_at_another_address():
    s = Story(VECTORS)
    s.read = lambda: (s.request("read_req"),
                      s.answer("read_data", b"\xa5" * 4096, move=8),
                      s.inval("read_inv"), s.done("read_done"))
    found(s.tell(), "reply data: address")


@case
def too_much_data():
    s = Story(VECTORS)
    s.read = lambda: (s.request("read_req"),
                      s.answer("read_data", b"\xa5" * 4608),
                      s.inval("read_inv"), s.done("read_done"))
    found(s.tell(), "length is that asked for is False")


@case
def other_data_than_was_written():
    s = Story(VECTORS)
    s.read = lambda: (s.request("read_req"),
                      s.answer("read_data", b"\xa5" * 4000 + b"\x5a" * 96),
                      s.inval("read_inv"), s.done("read_done"))
    found(s.tell(), "sector 2055 of ram0 differs")


@case
def rkey_of_another_chunk():
    found(edited("write_done", 2, b"\x01"), "buf_id is msg_id is False")


@case
def rkey_with_the_type_of_something_else():
    found(edited("write_done", 0, b"\x03"), "RKEY_RSP: type is 3")


@case
def kernel_rkey_that_jumps():
    found(edited("close_done", 4, b"\x55"), "next low byte is +83", **KERNELS)


@case
def plain_reply_of_a_server_that_renews_keys():
    s = Story(VECTORS)

    def plain():
        s.request("close_req")
        s.wire.send(s.links[0], "s", "WRITE_WITH_IMM", imm=0x10000001)
    s.close = plain
    found(s.tell(), "reply: verb is WRITE_WITH_IMM", "too short: RKEY_RSP",
          "had none when the path ended")


@case
def wrong_type_of_open_rsp():
    found(edited("open_rsp", 0, b"\x02"), "OPEN_RSP: type is 2")


@case
def block_size_of_nothing():
    found(edited("open_rsp", 38, b"\0\0"), "logical_block_size is 0")


@case
def zeroes_from_a_6_1_server():
    found(edited("open_rsp", 20, b"\x08"), "write zeroes of 6.1 is 8",
          server="kernel-6.1")


# Wrong ones: heartbeats and packets

@case
def heartbeat_without_an_answer():
    s = Story(VECTORS)

    def beat():
        s.heartbeat("c", answer=False)
        s.wire.now += 5
    s.beat = beat
    found(s.tell(), "that of the client had no answer")


@case
def answer_without_a_heartbeat():
    s = Story(VECTORS)
    s.beat = lambda: s.wire.send(s.links[0], "s", "WRITE_WITH_IMM",
                                 imm=0x90000000)
    found(s.tell(), "answers a HB_MSG is False")


@case
def heartbeat_too_soon():
    s = Story(VECTORS)
    s.beat = lambda: (s.heartbeat("s"), s.heartbeat("s"))
    found(s.tell(), "interval is 0 s")


@case
def heartbeat_on_another_connection():
    s = Story(VECTORS)

    def beat():
        s.wire.send(s.links[1], "c", "WRITE_WITH_IMM", imm=0x80000000)
        s.wire.send(s.links[0], "s", "WRITE_WITH_IMM", imm=0x90000000)
    s.beat = beat
    found(s.tell(), "HB_MSG: cid is 1")


@case
def a_packet_is_missing():
    s = Story(VECTORS)
    s.write = lambda: (s.request("write_req", b"\xa5" * 4096),
                       s.wire.frames.pop(-4), s.done("write_done"))
    report, _ = run(s.tell())
    assert any("that the capture lacks" in c for c in report.complaints)


@case
def a_byte_was_changed_on_the_way():
    s = Story(VECTORS)
    frames = s.tell()
    at = next(i for i, (_, f) in enumerate(frames) if f[42] == 0x06)
    frame = bytearray(frames[at][1])
    frame[100] ^= 1
    frames[at] = frames[at][0], bytes(frame)
    found(frames, "icrc is wrong", "data as written before")


@case
def remote_access_error():
    s = Story(VECTORS)
    s.beat = lambda: s.wire.ack(s.links[1], "s", 0x62)
    found(s.tell(), "NAK remote access error")


@case
def the_start_was_not_recorded():
    frames = Story(VECTORS).tell()[6:]
    found(frames, "was the start recorded?", "no RTRS session")


@case
def a_connection_is_not_ended():
    s = Story(VECTORS)
    s.disconnect = lambda: s.wire.disconnect(s.links[0])
    found(s.tell(), "ended by DREQ", "ended by DREP")


@case
def expected_kinds():
    report, _ = clean(Story(VECTORS).tell())
    wirecheck.expect(report, ["IO READ", "HB_MSG=3", "IO DISCARD=0"])
    assert not report.complaints
    wirecheck.expect(report, ["IO DISCARD", "HB_MSG=4", "IO READ=0"])
    assert len(report.complaints) == 3


@case
def not_a_capture():
    for data, words in ((b"", "shorter"), (b"x" * 40, "not a pcap"),
                        (b"\xd4\xc3\xb2\xa1" + bytes(16) + b"\x71\0\0\0",
                         "link type 113")):
        fd, path = tempfile.mkstemp()
        os.write(fd, data)
        os.close(fd)
        try:
            list(pcap.read(path))
            raise AssertionError(f"{words}: read")
        except pcap.BadFile as e:
            assert words in str(e), e
        finally:
            os.unlink(path)


def main():
    print(f"1..{len(CASES)}")
    bad = 0
    for number, (name, f) in enumerate(CASES, 1):
        try:
            f()
            print(f"ok {number} - {name}")
        except AssertionError as e:
            bad += 1
            print(f"not ok {number} - {name}")
            print(f"# {e}", file=sys.stderr)
    return 1 if bad else 0


sys.exit(main())
