/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/hostile/liar-clt.h"

/* --- requests */

/* What it opens or closes is so for what is under way, or it is not. */
static void
unsettle(struct liar_clt *l)
{
	if (liar_opens_or_closes(l))
		l->shared = true;
	for (unsigned i = 0; i < LIAR_DEPTH; i++)
		if (l->shots[i].out && l->shots[i].type == RNBD_MSG_IO)
			l->shots[i].verdict.err_known = false;
}

static struct liar_con *
some_con(struct liar_clt *l)
{
	return &l->cons[choose(l->stage->choice, l->n_cons)];
}

static uint32_t
some_id(struct liar_clt *l)
{
	struct choice *c = l->stage->choice;
	uint32_t id = (uint32_t)choose(c, l->g->queue_depth);

	if (choose_percent(c, 1))
		return id; /* in use perhaps */
	for (unsigned i = 0; i < l->g->queue_depth && l->shots[id].out; i++)
		id = (id + 1) % l->g->queue_depth;
	return id;
}

/* The header behind data and user message; its length. */
static uint32_t
put_header(struct liar_clt *l, const struct draft *d, uint32_t id, uint8_t *hdr)
{
	struct choice *c = l->stage->choice;
	struct shot *shot = &l->shots[id];
	bool sg = d->read && d->data_len && l->mr;
	struct rtrs_msg_req m = {
		.type = d->read ? RTRS_MSG_READ : RTRS_MSG_WRITE,
		.usr_len = (uint16_t)d->usr_len,
		.sg_cnt = sg,
	};
	uint32_t len;

	if (sg)
		m.desc = (struct rtrs_desc){
			.addr = l->mr->raddr +
				(uint64_t)(liar_rx(l, id) - l->mem),
			.key = l->mr->rkey,
			.len = d->data_len,
		};
	if (sg && !shot->out && choose_percent(c, 5) &&
	    l->stage->fabric->caps & FABRIC_CAP_MR_REMOTE_INV) {
		if (l->stage->fabric->mr_reg(l->pd, liar_rx(l, id),
					     LIAR_MSG_MAX,
					     FABRIC_ACCESS_REMOTE_WRITE |
						     FABRIC_ACCESS_REMOTE_INV,
					     &shot->mr))
			abort();
		m.flags = RTRS_READ_F_NEED_INVAL;
		m.desc.addr = shot->mr->raddr;
		m.desc.key = shot->mr->rkey;
	}
	len = (uint32_t)rtrs_msg_req_encode(&m, hdr);
	if (!choose_percent(c, 4))
		return len;
	/* Whether the key is ended depends on all of it. */
	l->uncertain |= m.flags != 0;
	switch (choose(c, d->read ? 7 : 2)) {
	case 0:
		liar_put(hdr, choose_lie(c, m.type, 16), 2);
		l->uncertain = true; /* a descriptor of what was none */
		break;
	case 1:
		liar_put(hdr + 2, choose_lie(c, m.usr_len, 16), 2);
		break;
	case 2:
		l->uncertain = true; /* a key that may not be ended */
		liar_put(hdr + 4, choose_lie(c, m.flags, 16), 2);
		break;
	case 3:
		l->uncertain |= !sg;
		liar_put(hdr + 6, choose_lie(c, m.sg_cnt, 16), 2);
		break;
	case 4:
		l->uncertain = true; /* where no memory is */
		liar_put(hdr + 8, choose_lie(c, m.desc.addr, 64), 8);
		break;
	case 5:
		l->uncertain = true;
		liar_put(hdr + 16, choose_lie(c, m.desc.key, 32), 4);
		break;
	default:
		liar_put(hdr + 20, choose_lie(c, m.desc.len, 32), 4);
		break;
	}
	/* A lie may have made it longer. */
	return RTRS_REQ_HDR_MAX;
}

void
liar_post(struct liar_clt *l, struct liar_con *con, struct fabric_send_wr *wr)
{
	wr->signaled = true;
	if (con->state != LC_UP ||
	    l->stage->fabric->post_send(con->conn, wr) != 0)
		return;
	con->sends_out++;
	stage_spend(l->stage);
}

static uint8_t *
next_tx(struct liar_clt *l)
{
	return liar_tx(l, l->tx_next++ % LIAR_BURST);
}

/* Would the fabric let the bytes in? */
static bool
is_writable(const struct liar_clt *l, uint32_t id, int64_t start, uint32_t len)
{
	int64_t chunk = l->g->chunk_size, from = 0, to = chunk;

	if (!l->g->new_rkey) {
		/* One key for all of them. */
		from = -(int64_t)id * chunk;
		to = (int64_t)(l->g->queue_depth - id) * chunk;
	}
	return !len || (start >= from && start + len <= to);
}

static void
doom_if(struct liar_clt *l, const struct verdict *v)
{
	if (v->fate == FATE_CLOSE)
		liar_doom(l);
	else if (v->fate == FATE_ANY)
		/* It may be an OPEN or a CLOSE of long ago. */
		l->uncertain = l->shared = true;
}

static void
say_request(struct liar_clt *l)
{
	struct choice *c = l->stage->choice;
	struct liar_con *con = some_con(l);
	uint32_t id = some_id(l), off, len, lead;
	struct shot *shot = &l->shots[id];
	uint8_t *tx = next_tx(l);
	unsigned mem_bits = rtrs_imm_mem_bits(l->g->queue_depth);
	struct fabric_send_wr wr = {.op = FABRIC_WR_RDMA_WRITE_WITH_IMM};
	struct draft d = {.data_len = 0};
	struct verdict v;
	struct claim claim;
	int64_t start;

	if (!shot->out && shot->mr) {
		l->stage->fabric->mr_dereg(shot->mr);
		shot->mr = NULL;
	}
	liar_draft(l, &d);
	lead = d.read ? 0 : d.data_len;
	memset(tx, 0x3c, lead);
	memcpy(tx + lead, d.usr, d.usr_len);
	len = lead + d.usr_len + put_header(l, &d, id, tx + lead + d.usr_len);
	off = d.data_len + d.usr_len;
	start = d.read ? d.data_len : 0;
	wr.raddr = l->raddr[id] + (uint64_t)start;
	wr.rkey = l->rkey[id];
	if (choose_percent(c, 1))
		off = (uint32_t)choose_lie(c, off, mem_bits);
	if (choose_percent(c, 1))
		len = (uint32_t)choose(c, 2) ? LIAR_MSG_MAX - 1 : len / 2;
	if (choose_percent(c, 1))
		start = (int64_t)choose_lie(c, (uint64_t)start, 16) -
			(int64_t)choose(c, 2) * 40000;
	wr.raddr = l->raddr[id] + (uint64_t)start;
	wr.imm = rtrs_imm_io_req(mem_bits, id, off);
	if (choose_percent(c, 1))
		wr.imm = (uint32_t)choose_lie(c, wr.imm, 28);
	rtrs_imm_io_req_payload(wr.imm, mem_bits, &claim.id, &claim.off);
	claim.bytes = tx;
	claim.start = (uint32_t)start;
	claim.len = len;
	if (!is_writable(l, id, start, len)) {
		v = (struct verdict){.fate = FATE_CLOSE};
	} else if (claim.id != id || start < 0 || claim.off < claim.start) {
		/* Of another chunk, or of what lay there before. */
		v = (struct verdict){.fate = FATE_ANY};
		if (claim.id >= l->g->queue_depth ||
		    claim.off >= l->g->chunk_size)
			v.fate = FATE_CLOSE;
	} else {
		v = liar_judge(l, &claim);
	}
	if (start < 0 || start + len > l->g->chunk_size)
		l->uncertain = true; /* over the requests of its neighbours */
	if (choose_percent(c, 1)) {
		wr.rkey = (uint32_t)choose_lie(c, wr.rkey, 32);
		if (wr.rkey != l->rkey[id])
			v.fate = l->g->new_rkey ? FATE_ANY : FATE_CLOSE;
	}
	wr.num_sge = len > 0;
	wr.sge[0] = (struct fabric_sge){.addr = tx, .len = len, .mr = l->mr};
	stage_note(l->stage, "liar %u: %s of type %u, id %u off %u: fate %d %d",
		   l->index, d.read ? "READ" : "WRITE", d.type, id, off, v.fate,
		   v.err_known ? v.err : 1);
	doom_if(l, &v);
	if (d.type == RNBD_MSG_OPEN || d.type == RNBD_MSG_CLOSE)
		unsettle(l);
	if (v.fate == FATE_REPLY && con->state == LC_UP) {
		shot->out = true;
		shot->verdict = v;
		shot->type = d.type;
		shot->rx_len = d.read ? d.data_len : 0;
		shot->w_inv = shot->mr != NULL;
		shot->inv_seen = false;
		shot->opens = d.opens;
		shot->opens_ro = d.opens_ro;
		shot->closes = d.closes;
		memset(liar_rx(l, id), 0xa5, shot->rx_len);
		l->stage->verdicts++;
	}
	liar_post(l, con, &wr);
}

/* --- everything else */

static void
say_heartbeats(struct liar_clt *l)
{
	struct choice *c = l->stage->choice;
	struct liar_con *con = some_con(l);
	struct fabric_send_wr wr = {.op = FABRIC_WR_RDMA_WRITE_WITH_IMM};
	unsigned n = 1 + (unsigned)choose(c, 8);

	while (n--) {
		wr.imm = choose(c, 2) ? rtrs_imm_hb_msg() : rtrs_imm_hb_ack();
		if (choose_percent(c, 20))
			wr.imm = (uint32_t)(choose(c, 13) + 3) << 28 |
				 (uint32_t)choose(c, 1 << 28);
		if (choose_percent(c, 5))
			wr.imm = rtrs_imm_io_rsp((uint32_t)choose(c, 16), -5,
						 choose(c, 2));
		liar_post(l, con, &wr);
	}
}

/* A SEND is nothing that a server expects after INFO_REQ. */
static void
say_send(struct liar_clt *l)
{
	static const enum fabric_wr_op ops[] = {FABRIC_WR_SEND,
						FABRIC_WR_SEND_WITH_IMM,
						FABRIC_WR_SEND_WITH_INV};
	struct choice *c = l->stage->choice;
	uint8_t *tx = next_tx(l);
	struct fabric_send_wr wr = {
		.op = ops[choose(c, 3)],
		.imm = rtrs_imm_io_req(20, 0, 0),
		.inv_rkey = (uint32_t)choose_lie(
			c, l->rkey[choose(c, l->g->queue_depth)], 32),
		.num_sge = (uint8_t)choose(c, 2),
	};

	choose_bytes(c, tx, 64);
	wr.sge[0] = (struct fabric_sge){
		.addr = tx, .len = 1 + (uint32_t)choose(c, 64), .mr = l->mr};
	liar_doom(l);
	liar_post(l, some_con(l), &wr);
}

/* Memory changes under a request, or somebody else's is written to. */
static void
say_write(struct liar_clt *l)
{
	struct choice *c = l->stage->choice;
	uint32_t id = (uint32_t)choose(c, l->g->queue_depth);
	uint32_t len = 1 + (uint32_t)choose(c, 512);
	int64_t start = (int64_t)choose(c, l->g->chunk_size);
	uint8_t *tx = next_tx(l);
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_RDMA_WRITE,
		.raddr = l->raddr[id] + (uint64_t)start,
		.rkey = l->rkey[id],
		.num_sge = 1,
		.sge[0] = {.addr = tx, .len = len, .mr = l->mr},
	};

	choose_bytes(c, tx, len < 64 ? len : 64);
	if (l->g->new_rkey || choose_percent(c, 10))
		wr.rkey = (uint32_t)choose_lie(c, wr.rkey, 32);
	if (wr.rkey != l->rkey[id] || !is_writable(l, id, start, len))
		/* In new-key mode that key may be another chunk's. */
		l->uncertain = true;
	/* It may hit the header of a request, or a window that is shut. */
	l->uncertain = true;
	liar_post(l, some_con(l), &wr);
}

void
liar_info(struct liar_clt *l, bool honest)
{
	static const char *const bad[] = {"", "a/b", "a.b", HONEST_NAME,
					  "other"};
	struct choice *c = l->stage->choice;
	uint8_t *tx = next_tx(l);
	struct rtrs_msg_info_req m = {{0}};
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_SEND,
		.num_sge = 1,
		.sge[0] = {.addr = tx, .len = RTRS_INFO_REQ_LEN, .mr = l->mr},
	};
	uint64_t what = honest ? 5 : choose(c, 5);

	strcpy(m.name, l->name);
	rtrs_msg_info_req_encode(&m, tx);
	switch (what) {
	case 0: /* no end of the name */
		memset(tx + 2, 'x', RTRS_NAME_LEN);
		break;
	case 1:
		memset(tx + 2, 0, RTRS_NAME_LEN);
		strcpy((char *)tx + 2, bad[choose(c, ARRAY_SIZE(bad))]);
		break;
	case 2: /* too short */
		wr.sge[0].len = 1 + (uint32_t)choose(c, RTRS_INFO_REQ_LEN - 1);
		break;
	case 3: /* too long */
		wr.sge[0].len += 1 + (uint32_t)choose(c, 64);
		break;
	case 4:
		liar_put(tx, 1 + choose(c, UINT16_MAX), 2);
		break;
	default:
		break;
	}
	if (!honest)
		liar_doom(l);
	liar_post(l, &l->cons[0], &wr);
}

static void
say_something(struct liar_clt *l)
{
	uint64_t what = choose(l->stage->choice, 1000);

	if (what < 900)
		say_request(l);
	else if (what < 965)
		say_heartbeats(l);
	else if (what < 985)
		say_write(l);
	else if (what < 995)
		say_send(l);
	else
		liar_info(l, false); /* once more */
}

void
liar_burst(struct liar_clt *l)
{
	struct choice *c = l->stage->choice;
	unsigned n = 1 + (unsigned)choose(c, LIAR_BURST - 1);

	l->bursts++;
	while (n-- && !l->doomed)
		say_something(l);
	/* Gone while the gateway works on it. */
	if (choose_percent(c, 4))
		liar_leave(l);
}
