/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests that do not make sense to RTRS, memory that is none of the peer's
 * business, and peers that leave. A malformed request ends the path; whatever
 * else happens, nothing of it reaches another session.
 */
#include "tests/vm/hostile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "proto/rtrs-imm.h"

#define W RTRS_MSG_WRITE
#define R RTRS_MSG_READ

static struct peer *
up(void)
{
	return peer_up(peer_new(2));
}

/* ------------------------------------------------------------- immediates */

static void
imm_chunk(void)
{
	struct peer *p = up();
	unsigned qd = p->rsp.queue_depth;

	expect(qd < 1u << (28 - p->mem_bits),
	       "no chunk is out of range: give the server another depth");
	peer_bell(p, 1, peer_imm(p, qd, 0));
	peer_ends(p);
	p = up();
	peer_bell(p, 0, 0x0fffffff);
	peer_ends(p);
}

static void
imm_offset(void)
{
	struct peer *p = up();

	expect(p->chunk_size < 1u << p->mem_bits,
	       "no offset is out of range: give the server another chunk size");
	peer_bell(p, 1, peer_imm(p, 0, p->chunk_size));
	peer_ends(p);
	p = up();
	peer_bell(p, 1, peer_imm(p, 0, (1u << p->mem_bits) - 1));
	peer_ends(p);
}

/* Headers, and descriptors, that end behind the chunk. */
static void
header_at_the_end(void)
{
	static const struct {
		unsigned len;
		uint16_t hdr[12];
	} cases[] = {
		{1, {W}},           {3, {W}},          {7, {R}},
		{23, {R, 0, 0, 1}}, {8, {R, 0, 0, 1}},
	};

	steps(i, ARRAY_SIZE(cases)) {
		struct peer *p = up();
		uint32_t at = p->chunk_size - cases[i].len;

		/* In the last chunk what is behind it is behind it all. */
		peer_put(p, 1, p->rsp.queue_depth - 1, at, cases[i].hdr,
			 cases[i].len, at);
		peer_ends(p);
	}
}

static void
header_fits_exactly(void)
{
	struct peer *p = up();
	uint32_t at = p->chunk_size - 4;
	static const uint16_t hdr[2] = {W, 0};

	/* Data without a message: that is an error of RNBD, not of RTRS. */
	peer_put(p, 1, 3, at, hdr, sizeof(hdr), at);
	peer_replied(p, 3, -EINVAL);
	peer_alive(p);
}

/* ---------------------------------------------------------------- headers */

static void
header_types(void)
{
	static const uint16_t types[] = {0, 1, 4, 5, 0x0200, 0xffff};

	steps(i, ARRAY_SIZE(types)) {
		struct peer *p = up();
		const uint16_t hdr[12] = {types[i], 0};

		peer_put(p, 1, 0, 0, hdr, sizeof(hdr), 0);
		peer_ends(p);
	}
}

static void
usr_len(void)
{
	static const struct {
		uint16_t type, usr_len;
		uint32_t off;
	} cases[] = {
		{W, 37, 36}, {W, 1, 0},           {W, 0xffff, 36},
		{R, 37, 36}, {R, 0xffff, 0xfffe},
	};

	steps(i, ARRAY_SIZE(cases)) {
		struct peer *p = up();
		const uint16_t hdr[4] = {cases[i].type, cases[i].usr_len};

		peer_put(p, 1, 0, cases[i].off, hdr, sizeof(hdr), cases[i].off);
		peer_ends(p);
	}
}

static void
sg_cnt(void)
{
	static const uint16_t counts[] = {2, 3, 0x0100, 0xffff};

	steps(i, ARRAY_SIZE(counts)) {
		struct peer *p = up();
		uint8_t msg[36 + 8 + 4 * 16] = {0};
		const uint16_t hdr[4] = {R, 36, 0, counts[i]};

		memcpy(msg + 36, hdr, sizeof(hdr));
		peer_put(p, 1, 0, 36, msg, sizeof(msg), 72);
		peer_ends(p);
	}
}

static void
desc_len(void)
{
	static const uint32_t lens[] = {0, 1, 35, 37, 72, 4096};
	struct usr u = usr_sess_info(2);

	steps(i, ARRAY_SIZE(lens) + 3) {
		struct peer *p = up();
		struct rtrs_desc d = {
			.addr = (uintptr_t)peer_room(p, 1),
			.key = p->rv.mr->rkey,
		};
		const uint32_t large[] = {p->chunk_size, p->chunk_size + 1,
					  UINT32_MAX};

		d.len = i < ARRAY_SIZE(lens) ? lens[i]
					     : large[i - ARRAY_SIZE(lens)];
		memset(peer_room(p, 1), 0xee, PEER_ROOM);
		peer_read_to(p, 1, 1, u.b, u.len, 36, 0, &d, 1);
		peer_ends(p);
		for (unsigned j = 0; j < PEER_ROOM; j++)
			expect(peer_room(p, 1)[j] == 0xee,
			       "%u bytes asked for, byte %u was written", d.len,
			       j);
	}
}

/* No data is asked for, and yet there is a descriptor, of nothing. */
static void
desc_of_nothing(void)
{
	struct peer *p = up();
	struct usr u = usr_io(0, RNBD_OP_FLUSH, 0, 0);
	const struct rtrs_desc d = {.key = p->rv.mr->rkey};

	peer_read_to(p, 1, 1, u.b, u.len, 0, 0, &d, 1);
	peer_ends(p);
}

/* ------------------------------------------------------------- the answer */

/* Keys under which the server cannot write. */
static void
desc_key(void)
{
	struct usr u = usr_sess_info(2);

	steps(i, 4) {
		struct peer *p = up();
		struct rtrs_desc d = {
			.addr = (uintptr_t)peer_room(p, 1),
			.key = p->rv.mr->rkey,
			.len = 36,
		};

		if (i == 0)
			d.key ^= 0x5500;
		else if (i == 1)
			d.key = 0;
		else if (i == 2)
			d.addr = (uintptr_t)p->rv.buf - 1;
		else
			d.addr = UINT64_MAX - 8;
		peer_read_to(p, 1, 1, u.b, u.len, 36, 0, &d, 1);
		peer_ends(p);
	}
}

/*
 * To be ended by the server: a key that cannot be. That breaks the QP of who
 * asked for it; the server may even have seen success.
 */
static void
need_inval(void)
{
	struct usr u = usr_sess_info(2);

	steps(i, 2) {
		struct peer *p = up();
		const struct rtrs_desc d = {
			.addr = (uintptr_t)peer_room(p, 1),
			.key = i ? p->rv.mr->rkey : 0x12345678,
			.len = 36,
		};
		struct peer_reply r;

		peer_read_to(p, 1, 1, u.b, u.len, 36, RTRS_READ_F_NEED_INVAL,
			     &d, 1);
		/* Whatever comes, it is no reply without invalidation. */
		expect(peer_wait(p, 1, &r) != PEER_REPLY || r.w_inv,
		       "invalidation was left out");
	}
}

/* Nothing to invalidate: the flag is as if it were not there. */
static void
need_inval_of_nothing(void)
{
	struct peer *p = up();
	struct usr u = usr_sess_info(2);
	struct peer_reply r;

	peer_read_to(p, 1, 1, u.b, u.len, 0, RTRS_READ_F_NEED_INVAL, NULL, 0);
	r = peer_reply(p);
	expect(r.err == -EINVAL && !r.w_inv, "errno %d, w_inv %d", r.err,
	       r.w_inv);
	peer_alive(p);
}

/* -------------------------------------------------------------- disorder */

static void
same_id_twice(void)
{
	steps(i, 10) {
		struct peer *p = up();
		struct rnbd_msg_open_rsp geo;
		uint32_t dev =
			peer_open_soon(p, names.disk, RNBD_ACCESS_RO, &geo);
		struct usr u = usr_io(dev, RNBD_OP_READ, 0, PEER_ROOM);
		struct peer_reply r;
		unsigned replies = 0;
		enum peer_got got;

		/* The first may have its answer before the second comes. */
		for (unsigned j = 0; j < 4; j++)
			peer_read(p, 1, 3, u.b, u.len, PEER_ROOM);
		do {
			got = peer_wait(p, PEER_MS, &r);
			replies += got == PEER_REPLY;
			expect(got != PEER_REPLY || (r.id == 3 && !r.err),
			       "reply to %u: %d", r.id, r.err);
		} while (replies < 4 && got != PEER_ENDED && got != PEER_LATE);
		expect(got != PEER_LATE, "%u replies to 4 requests, and no end",
		       replies);
		peer_free(p);
	}
}

static void
unknown_immediates(void)
{
	static const uint32_t types[] = {1, 2, 3, 7, 10, 15};
	struct peer *p = up();

	steps(i, 10 * ARRAY_SIZE(types))
		peer_bell(p, i % 2, types[i / 10] << 28 | 12345);
	peer_alive(p);
}

static void
hb_elsewhere(void)
{
	struct peer *p = up();
	struct peer_reply r;
	uint64_t end;

	peer_bell(p, 1, rtrs_imm_hb_msg());
	peer_bell(p, 1, rtrs_imm_hb_ack());
	peer_alive(p);
	/* By another connection, and so perhaps after that answer. */
	end = rv_now_ms() + PEER_MS;
	while (!p->hb_acks && rv_now_ms() < end)
		peer_wait(p, 50, &r);
	peer_pump(p);
	expect(p->hb_acks == 1, "%u acknowledgements of one heartbeat",
	       p->hb_acks);
}

static void
hb_flood(void)
{
	struct peer *p = up();
	struct peer_reply r;

	steps(i, 500)
		peer_bell(p, i % 2, rtrs_imm_hb_msg());
	peer_alive(p);
	/* Two at once may have one answer. */
	expect(p->hb_acks && p->hb_acks <= 500, "%u acknowledgements",
	       p->hb_acks);
	peer_wait(p, 0, &r);
}

static void
sends(void)
{
	static const uint32_t lens[] = {0, 1, 8, 272, 4096};
	uint8_t junk[4096];

	memset(junk, 0x5a, sizeof(junk));
	steps(i, ARRAY_SIZE(lens)) {
		for (unsigned cid = 0; cid < 2; cid++) {
			struct peer *p = up();

			peer_send_bytes(p, cid, junk, lens[i]);
			peer_ends(p);
		}
	}
}

static void
odd_sends(void)
{
	steps(i, 4) {
		struct peer *p = up();
		struct rv_send s = {
			.op = i < 2 ? IBV_WR_SEND_WITH_IMM
				    : IBV_WR_SEND_WITH_INV,
			.wr_id = UINT64_C(2) << 32,
			.len = i == 1 ? 8 : 0,
			.imm = peer_imm(p, 0, 0),
			/* The server's own key, and none. */
			.inv_rkey = i == 2 ? p->chunks[0].key : 0x12345678,
		};

		expect(!rv_send(p->con[1], &s), "cannot send");
		peer_ends(p);
	}
}

/* ----------------------------------------------------------------- memory */

/*
 * A queue pair with shared receives has none to flush when it dies, and an
 * event tells of it; soft-RoCE has that event only since Linux 6.5. Before, the
 * server learns it when it uses the connection, or when the peer leaves.
 */
static bool
refusal_is_told(void)
{
	unsigned major = 0, minor = 0;
	struct utsname u;

	return !uname(&u) && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 5));
}

static void
foreign_memory(void)
{
	static const uint8_t evil[16] = {0xee, 0xee, 0xee, 0xee};
	struct peer *other = up();

	steps(i, 8) {
		struct peer *p = up();
		unsigned last = p->rsp.queue_depth - 1;
		uint64_t addr = p->chunks[0].addr;
		uint32_t key = p->chunks[0].key;

		switch (i) {
		case 0: /* a key that is none */
			key ^= 0xa500;
			break;
		case 1:
			key = 0;
			break;
		case 2: /* of the session alongside */
			addr = stranger.addr;
			key = stranger.key;
			break;
		case 3:
			addr = other->chunks[0].addr;
			key = other->chunks[0].key;
			break;
		case 4: /* just before, and just behind */
			addr -= 8;
			break;
		case 5:
			addr = p->chunks[last].addr + p->chunk_size - 8;
			key = p->chunks[last].key;
			break;
		case 6:
			addr = UINT64_MAX - 8;
			break;
		case 7:
			addr = 0;
			break;
		}
		peer_poke(p, 1, addr, key, evil, sizeof(evil));
		peer_send_fails(p);
		if (!refusal_is_told())
			rv_disconnect(p->con[1]);
		peer_ends(p);
	}
	peer_alive(other);
}

/* The data goes to one chunk, the immediate names another. */
static void
other_chunk(void)
{
	struct peer *p = up();
	struct usr u = usr_sess_info(2);
	struct rtrs_msg_req m = {.type = W, .usr_len = (uint16_t)u.len};
	uint8_t msg[64];
	unsigned n = u.len;

	memcpy(msg, u.b, n);
	n += (unsigned)rtrs_msg_req_encode(&m, msg + n);
	peer_poke(p, 1, p->chunks[5].addr, p->chunks[5].key, msg, n);
	peer_bell(p, 1, peer_imm(p, 6, u.len));
	/* Chunk 6 holds zeroes: type 0. */
	peer_ends(p);
}

/*
 * What was checked is what is used: header and message change behind the
 * immediate. Each request is answered or ends the path, and never is anything
 * written that the message may not write.
 */
static void
changed_behind(void)
{
	struct rnbd_msg_open_rsp geo;
	uint8_t data[512 + RNBD_IO_LEN], before[512];
	struct peer *p = NULL;
	uint32_t rw = 0, ro = 0;
	unsigned replies = 0;

	steps(i, 160) {
		unsigned id = i % 8;
		struct peer_reply r;
		struct usr u;
		enum peer_got got;

		if (!p) {
			p = up();
			rw = peer_open_soon(p, names.disk, RNBD_ACCESS_RW,
					    &geo);
			ro = peer_open(p, names.ro, RNBD_ACCESS_RO, 0);
			peer_io_read(p, 0, ro, 0, 512, 0);
			if (!i)
				memcpy(before, peer_room(p, 0), 512);
			expect(!memcmp(before, peer_room(p, 0), 512),
			       "what is read-only was written");
		}
		memset(data, 0xee, sizeof(data));
		u = usr_io(rw, RNBD_OP_WRITE, i % 64, 512);
		peer_write(p, 1, id, u.b, u.len, data, 512);
		/* Another device, a huge message, a new type, all of it. */
		u = usr_io(ro, RNBD_OP_WRITE, 0, i % 2 ? 512 : 0xfffffe00);
		memcpy(data + 512, u.b, RNBD_IO_LEN);
		if (i % 4 == 0)
			peer_poke(p, 1, p->chunks[id].addr + 512,
				  p->chunks[id].key, data + 512, RNBD_IO_LEN);
		else if (i % 4 == 1)
			peer_poke(p, 1, p->chunks[id].addr + 544,
				  p->chunks[id].key, "\2\0\377\377", 4);
		else if (i % 4 == 2)
			peer_poke(p, 1, p->chunks[id].addr + 544,
				  p->chunks[id].key, "\3\0\40\0\1\0\1\0", 8);
		else
			peer_poke(p, 1, p->chunks[id].addr, p->chunks[id].key,
				  data, sizeof(data));
		got = peer_outcome(p, &r);
		expect(got != PEER_LATE, "no answer and no end");
		if (got == PEER_ENDED) {
			peer_free(p);
			p = NULL;
			continue;
		}
		expect(r.id == id, "reply to %u instead of %u", r.id, id);
		replies++;
	}
	expect(replies, "no request was answered");
	/* What came after the last reply may still end its path. */
	if (p)
		peer_free(p);
	p = up();
	peer_open(p, names.ro, RNBD_ACCESS_RO, 0);
	peer_alive(p);
}

/* ---------------------------------------------------------------- leaving */

/* A writer with as much as it can under way. */
static struct peer *
busy(bool stalls)
{
	static uint8_t data[8192];
	struct peer *p = peer_new(2);
	struct rnbd_msg_open_rsp geo;
	struct usr u;
	uint32_t dev;

	if (stalls)
		p->n_recvs = 4;
	p->hoards = stalls;
	peer_up(p);
	dev = peer_open_soon(p, names.disk, RNBD_ACCESS_RW, &geo);
	for (unsigned id = 0; id < 40 && id < p->rsp.queue_depth; id++) {
		unsigned op = id % 2 ? RNBD_OP_WRITE : RNBD_OP_READ;

		u = usr_io(dev, op, 16 * id, sizeof(data));
		if (op == RNBD_OP_WRITE)
			peer_write(p, 1, id, u.b, u.len, data, sizeof(data));
		else
			peer_read(p, 1, id, u.b, u.len, sizeof(data));
	}
	return p;
}

/* The writer's place is free again, and the disk works. */
static void
free_again(void)
{
	struct peer *p = up();
	struct rnbd_msg_open_rsp geo;
	uint32_t dev = peer_open_soon(p, names.disk, RNBD_ACCESS_RW, &geo);

	peer_io_read(p, 1, dev, 0, 4096, 0);
	peer_free(p);
}

static void
leave_in_order(void)
{
	struct peer *p = busy(false);

	rv_disconnect(p->con[0]);
	rv_disconnect(p->con[1]);
	peer_ends(p);
	free_again();
}

static void
leave_half(void)
{
	/* One connection is enough to end the path. */
	for (unsigned cid = 0; cid < 2; cid++) {
		struct peer *p = busy(false);

		rv_disconnect(p->con[cid]);
		peer_ends(p);
		free_again();
	}
}

static void
leave_abruptly(void)
{
	struct peer *p = busy(false);

	rv_drop(p->con[1]);
	rv_drop(p->con[0]);
	peer_free(p);
	free_again();

	p = busy(false);
	rv_kill(p->con[1]);
	rv_kill(p->con[0]);
	peer_free(p);
	free_again();
}

/* It does not take its answers, and then it is gone. */
static void
leave_stalled(void)
{
	struct peer *p = busy(true);

	peer_free(p);
	free_again();
}

/* Gone while the device is being opened. */
static void
leave_while_opening(void)
{
	struct usr u = usr_open(names.disk, RNBD_ACCESS_RW);

	steps(i, 10) {
		struct peer *p = up();

		peer_read(p, 0, 0, u.b, u.len, RNBD_OPEN_RSP_LEN);
		if (i % 2)
			peer_read(p, 0, 1, u.b, u.len, RNBD_OPEN_RSP_LEN);
		if (i % 3)
			rv_disconnect(p->con[i % 2]);
		peer_free(p);
	}
	free_again();
}

/* It hears that it is disconnected, and does not answer. */
static void
rude(void)
{
	struct peer *p = up();

	p->rv.rude = true;
	peer_bell(p, 1, peer_imm(p, 0, (1u << p->mem_bits) - 1));
	peer_ends(p);
	free_again();
	peer_alive(up());
}

const struct hostile_case hostile_io[] = {
	{"imm-chunk", imm_chunk, false},
	{"imm-offset", imm_offset, false},
	{"header-at-the-end", header_at_the_end, false},
	{"header-fits-exactly", header_fits_exactly, false},
	{"header-types", header_types, false},
	{"header-usr-len", usr_len, false},
	{"header-sg-cnt", sg_cnt, false},
	{"desc-len", desc_len, false},
	{"desc-of-nothing", desc_of_nothing, false},
	{"desc-key", desc_key, false},
	{"need-inval", need_inval, false},
	{"need-inval-of-nothing", need_inval_of_nothing, false},
	{"same-id-twice", same_id_twice, false},
	{"unknown-immediates", unknown_immediates, true},
	{"hb-elsewhere", hb_elsewhere, false},
	{"hb-flood", hb_flood, false},
	{"sends", sends, false},
	{"odd-sends", odd_sends, false},
	{"foreign-memory", foreign_memory, false},
	{"other-chunk", other_chunk, false},
	{"changed-behind", changed_behind, false},
	{"leave-in-order", leave_in_order, true},
	{"leave-half", leave_half, true},
	{"leave-abruptly", leave_abruptly, false},
	{"leave-stalled", leave_stalled, false},
	{"leave-while-opening", leave_while_opening, false},
	{"rude", rude, false},
};
const unsigned n_hostile_io = ARRAY_SIZE(hostile_io);
