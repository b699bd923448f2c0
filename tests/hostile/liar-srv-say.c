/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "tests/hostile/liar-srv.h"

bool
ls_lies(struct liar_srv *l)
{
	return choose_percent(l->stage->choice, l->mood);
}

static void
put(uint8_t *p, uint64_t v, unsigned n)
{
	for (; n--; v >>= 8)
		*p++ = (uint8_t)v;
}

void
ls_post(struct ls_con *con, struct fabric_send_wr *wr)
{
	struct stage *s;

	if (!con->conn || con->dead || con->closing)
		return;
	s = con->path->l->stage;
	wr->signaled = true;
	if (s->fabric->post_send(con->conn, wr) != 0)
		return;
	stage_spend(s);
}

/* --- INFO_RSP */

void
ls_answer_info(struct ls_path *path)
{
	struct liar_srv *l = path->l;
	struct choice *c = l->stage->choice;
	uint8_t *tx = ls_tx(path);
	struct rtrs_desc desc[LS_DEPTH];
	struct fabric_send_wr wr = {.op = FABRIC_WR_SEND, .num_sge = 1};
	bool each = path->offer.flags & RTRS_RSP_F_NEW_RKEY || choose(c, 2);
	unsigned n = each ? l->depth : 1;
	size_t field;
	int len;

	for (unsigned i = 0; i < n; i++)
		desc[i] = (struct rtrs_desc){
			.addr = path->mr->raddr + (uint64_t)i * l->chunk,
			.key = path->mr->rkey,
			.len = l->chunk * (each ? 1 : l->depth),
		};
	len = rtrs_msg_info_rsp_encode(desc, (uint16_t)n, tx, LS_TX_LEN);
	if (ls_lies(l)) {
		static const uint8_t sizes[] = {8, 4, 4};
		static const uint8_t offs[] = {0, 8, 12};

		field = choose(c, 5);
		if (field >= 3) /* type, sg_cnt */
			put(tx + 2 * (field - 3),
			    choose_lie(c, field == 3 ? 1 : n, 16), 2);
		else
			put(tx + 8 + 16 * choose(c, n) + offs[field],
			    choose_lie(c, l->chunk, 8u * sizes[field]),
			    sizes[field]);
		path->offer_true = false;
	}
	if (ls_lies(l))
		len = 1 + (int)choose(c, (uint64_t)len + 64);
	if (ls_lies(l))
		ls_babble(path); /* before it */
	if (ls_lies(l))
		return; /* never */
	wr.sge[0] = (struct fabric_sge){
		.addr = tx, .len = (uint32_t)len, .mr = path->mr};
	ls_post(&path->cons[0], &wr);
	if (ls_lies(l))
		ls_post(&path->cons[0], &wr); /* and again */
}

/* --- answers */

static void
make_open_rsp(struct liar_srv *l, uint8_t *tx)
{
	/* offset and size of each field */
	static const uint8_t fields[][2] = {
		{0, 2},  {4, 4},  {8, 8},  {16, 4}, {20, 4}, {24, 4}, {28, 4},
		{32, 4}, {36, 2}, {38, 2}, {40, 2}, {42, 2}, {45, 1},
	};
	struct choice *c = l->stage->choice;
	const struct rnbd_msg_open_rsp m = {
		.device_id = 7,
		.nsectors = l->disk_bytes / RNBD_SECTOR_SIZE,
		.max_hw_sectors = 16,
		.max_write_zeroes_sectors = 128,
		.max_discard_sectors = 128,
		.discard_granularity = 512,
		.physical_block_size = 4096,
		.logical_block_size = 512,
		.max_segments = 16,
		.cache_policy = RNBD_CACHE_WRITEBACK | RNBD_CACHE_FUA,
	};
	unsigned f;

	rnbd_msg_open_rsp_encode(&m, tx);
	if (!ls_lies(l))
		return;
	f = (unsigned)choose(c, ARRAY_SIZE(fields));
	put(tx + fields[f][0], choose_lie(c, 512, 8u * fields[f][1]),
	    fields[f][1]);
}

/* What the rules say, more or less, or a lie; the errno. */
static int
make_answer(struct liar_srv *l, const struct ls_ask *ask, uint8_t *tx)
{
	struct choice *c = l->stage->choice;
	const struct rnbd_msg_sess_info info = {.ver = 2};

	memset(tx, 0, LS_TX_LEN);
	switch (ask->type) {
	case RNBD_MSG_SESS_INFO:
		rnbd_msg_sess_info_encode(&info, true, tx);
		if (ls_lies(l))
			tx[choose(c, 6)] = (uint8_t)choose(c, 256);
		return 0;
	case RNBD_MSG_OPEN:
		make_open_rsp(l, tx);
		return 0;
	case RNBD_MSG_EXPLAIN:
		/* Without an end, and not what a terminal should see. */
		choose_bytes(c, tx, 16);
		memset(tx + 16, '\x1b', RNBD_EXPLAIN_RSP_LEN - 16);
		return 0;
	default:
		return 0;
	}
}

static void
end_reply(struct ls_path *path, struct ls_con *con, uint32_t id, int err,
	  bool w_inv)
{
	struct liar_srv *l = path->l;
	struct choice *c = l->stage->choice;
	uint8_t *tx = ls_tx(path);
	struct fabric_send_wr wr = {.op = FABRIC_WR_RDMA_WRITE_WITH_IMM};
	struct rtrs_msg_rkey_rsp m = {.buf_id = (uint16_t)id,
				      .rkey = path->mr->rkey};
	bool new_rkey = path->offer.flags & RTRS_RSP_F_NEW_RKEY;

	if (ls_lies(l)) {
		w_inv = !w_inv;
	} else if (ls_lies(l)) {
		id = (uint32_t)choose_lie(c, id, 16);
	} else if (ls_lies(l)) {
		err = -(int)choose(c, 512);
	}
	wr.imm = rtrs_imm_io_rsp(id, err, w_inv);
	if (ls_lies(l))
		wr.imm = (uint32_t)choose_lie(c, wr.imm, 32);
	if (new_rkey != ls_lies(l)) {
		wr.op = FABRIC_WR_SEND_WITH_IMM;
		rtrs_msg_rkey_rsp_encode(&m, tx);
		wr.num_sge = 1;
		wr.sge[0] = (struct fabric_sge){
			.addr = tx, .len = RTRS_RKEY_RSP_LEN, .mr = path->mr};
		if (ls_lies(l))
			tx[choose(c, 8)] ^= (uint8_t)(1u << choose(c, 8));
		if (ls_lies(l))
			wr.sge[0].len = 1 + (uint32_t)choose(c, 16);
	}
	ls_post(con, &wr);
	if (ls_lies(l))
		ls_post(con, &wr); /* twice */
}

static void
write_data(struct ls_path *path, struct ls_con *con,
	   const struct rtrs_desc *desc, uint8_t *tx)
{
	struct liar_srv *l = path->l;
	struct choice *c = l->stage->choice;
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_RDMA_WRITE,
		.num_sge = 1,
		.sge[0] = {.addr = tx,
			   .len = desc->len < LS_TX_LEN ? desc->len : LS_TX_LEN,
			   .mr = path->mr},
		.raddr = desc->addr,
		.rkey = desc->key,
	};

	if (ls_lies(l))
		wr.raddr = choose_lie(c, desc->addr, 64);
	if (ls_lies(l))
		wr.raddr += choose(c, 4096) - 2048;
	if (ls_lies(l))
		wr.rkey = (uint32_t)choose_lie(c, desc->key, 32);
	if (ls_lies(l)) /* longer, or shorter */
		wr.sge[0].len = 1 + (uint32_t)choose(c, LS_TX_LEN - 1);
	ls_post(con, &wr);
}

void
ls_answer(struct ls_path *path, unsigned id)
{
	struct liar_srv *l = path->l;
	struct choice *c = l->stage->choice;
	struct ls_ask *ask = &path->asks[id];
	struct ls_con *con = ask->con;
	bool sg = ask->hdr.type == RTRS_MSG_READ && ask->hdr.sg_cnt;
	bool inv = sg && ask->hdr.flags & RTRS_READ_F_NEED_INVAL;
	struct fabric_send_wr wr = {.op = FABRIC_WR_SEND_WITH_INV};
	uint8_t *tx = ls_tx(path);
	int err;

	if (!ask->out || !con->conn)
		return;
	/* Never, or when something else brings it about. */
	if (ls_lies(l) && choose(c, 2))
		return;
	err = make_answer(l, ask, tx);
	if (ls_lies(l))
		err = -(int)choose(c, 512);
	ask->out = false;
	if (ls_lies(l) && choose(c, 2)) /* by another connection */
		con = &path->cons[choose(c, 2)];
	if (sg && !err && ask->hdr.desc.len)
		write_data(path, con, &ask->hdr.desc, tx);
	if (sg)
		path->last_desc = ask->hdr.desc;
	if (inv && !ls_lies(l)) {
		wr.inv_rkey =
			ls_lies(l)
				? (uint32_t)choose_lie(c, ask->hdr.desc.key, 32)
				: ask->hdr.desc.key;
		ls_post(con, &wr);
	} else {
		inv = false;
	}
	end_reply(path, con, id, err, inv);
	/* It is the client's memory again. */
	if (sg && ask->hdr.desc.len && ls_lies(l))
		write_data(path, con, &ask->hdr.desc, tx);
}

/* --- unasked */

static void
say_imms(struct ls_path *path)
{
	struct choice *c = path->l->stage->choice;
	struct fabric_send_wr wr = {.op = FABRIC_WR_RDMA_WRITE_WITH_IMM};
	bool flood = choose_percent(c, 5);
	unsigned n = flood ? 200 : 1 + (unsigned)choose(c, 12);
	struct ls_con *con = &path->cons[choose(c, 3)];

	while (n--) {
		switch (flood ? 1 : choose(c, 4)) {
		case 0:
			wr.imm = rtrs_imm_hb_ack();
			break;
		case 1:
			wr.imm = (uint32_t)(3 + choose(c, 13)) << 28 |
				 (uint32_t)choose(c, 1 << 28);
			break;
		default:
			wr.imm = rtrs_imm_hb_msg();
			break;
		}
		ls_post(con, &wr);
	}
}

void
ls_babble(struct ls_path *path)
{
	struct liar_srv *l = path->l;
	struct choice *c = l->stage->choice;
	struct ls_con *con = &path->cons[choose(c, 3)];
	uint8_t *tx;
	struct fabric_send_wr wr = {0};

	if (!path->mr)
		return;
	tx = ls_tx(path);
	switch (choose(c, 16)) {
	case 0:
		end_reply(path, con, (uint32_t)choose(c, LS_DEPTH + 1), 0,
			  choose(c, 2));
		break;
	case 1: /* a message out of the blue */
		wr.op = choose(c, 2) ? FABRIC_WR_SEND : FABRIC_WR_SEND_WITH_INV;
		wr.num_sge = (uint8_t)choose(c, 2);
		wr.inv_rkey = path->last_desc.key;
		choose_bytes(c, tx, 16);
		wr.sge[0] =
			(struct fabric_sge){.addr = tx,
					    .len = 1 + (uint32_t)choose(c, 600),
					    .mr = path->mr};
		ls_post(con, &wr);
		break;
	case 2: /* into memory of long ago */
		if (path->last_desc.len)
			write_data(path, con, &path->last_desc, tx);
		break;
	case 3:
		if (l->mood == LS_MAD)
			ls_drop(path, choose(c, 2));
		break;
	case 4: /* what it withheld, in any order */
	case 5:
	case 6:
	case 7:
		for (unsigned i = 0; i < LS_DEPTH; i++)
			if (path->asks[i].out)
				ls_answer(path, i);
		break;
	default:
		say_imms(path);
		break;
	}
}
