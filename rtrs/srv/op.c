/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One request, from its immediate to its one reply:
 *
 *   FREE -> (INVALIDATING) -> (WAITING) -> RUNNING -> (REPLYING) -> FREE
 *
 * The states in brackets are skipped when there is nothing to wait for. A
 * request that does not make sense closes the path; one that makes sense here
 * but not above gets an error reply. Nothing is dropped in silence.
 */
#include "rtrs/srv/srv-priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire-errno.h"
#include "rtrs/base/mutant.h"

/* The longest chain of a reply. */
#define REPLY_WRS 4

int
srv_ops_init(struct srv_path *path)
{
	unsigned qd = path->srv->p.queue_depth;

	/* Zeroed pages; each costs something from its first request on. */
	path->ops = calloc(qd, sizeof(*path->ops));
	return path->ops ? 0 : -ENOMEM;
}

static void
op_free(struct srv_op *op)
{
	op->state = SRV_OP_FREE;
	op->con = NULL;
	op->sq_next = NULL;
}

/* --- vital answers */

static void
tell_fate(const struct srv_op *op, bool told)
{
	const struct srv_path *path = op->path;

	path->srv->p.answer_fate(path->sess->user, &op->pub, told);
}

void
srv_op_sent(struct srv_con *con, uint16_t id, uint64_t seq)
{
	const struct srv_op *op = &con->path->ops[id];

	if (op->pub.vital && srv_con_seq_is(op->answer_seq, seq))
		tell_fate(op, true);
}

/* The peer sends on the chunk: it has the answer to what it sent before. */
static void
fate_is_proven(struct srv_op *op)
{
	if (!op->pub.vital)
		return;
	tell_fate(op, true);
	op->pub.vital = false;
}

static uint64_t
doubt_ms(const struct rtrs_srv_params *p)
{
	uint64_t hb = (uint64_t)p->hb_interval_ms * (p->hb_missed_max + 2);

	return hb > SRV_ANSWER_DOUBT_MS ? hb : SRV_ANSWER_DOUBT_MS;
}

/* The path leaves. */
static void
fate_is_open(struct srv_op *op)
{
	if (!op->pub.vital)
		return;
	if (!op->answer_seq ||
	    op->path->srv->now <
		    time_after_ms(op->answered_at, doubt_ms(&op->path->srv->p)))
		tell_fate(op, false);
	op->pub.vital = false;
}

/* --- posting */

static int
post_inval(struct srv_op *op)
{
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_MW_INV,
		.mw = op->path->chunks.mw[op->id],
	};

	return srv_con_post(op->con, &wr, 1, SRV_WR_INV, op->id, true);
}

/*
 * The data, the end of the client's key, and in NEW_RKEY mode the renewal of
 * the chunk's: all that comes before the message that closes the request.
 */
static unsigned
chain_before(const struct srv_op *op, struct fabric_send_wr *wr)
{
	const struct srv_chunks *c = &op->path->chunks;
	uint32_t chunk_size = op->path->srv->p.chunk_size;
	unsigned n = 0;

	if (op->has_desc && !op->err)
		wr[n++] = (struct fabric_send_wr){
			.op = FABRIC_WR_RDMA_WRITE,
			.num_sge = 1,
			.sge[0] = {.addr = op->pub.data,
				   .len = op->desc.len,
				   .mr = c->mr},
			.raddr = op->desc.addr,
			.rkey = op->desc.key,
		};
	/* Also on errors: there are clients that hang without it. */
	if (op->need_inval)
		wr[n++] = (struct fabric_send_wr){
			.op = FABRIC_WR_SEND_WITH_INV,
			.inv_rkey = op->desc.key,
		};
	if (op->path->new_rkey)
		wr[n++] = (struct fabric_send_wr){
			.op = FABRIC_WR_MW_BIND,
			.mw = c->mw[op->id],
			.bind_mr = c->mr,
			.bind_off = (size_t)op->id * chunk_size,
			.bind_len = chunk_size,
			.bind_access = FABRIC_ACCESS_REMOTE_WRITE,
		};
	return n;
}

static int
post_reply(struct srv_op *op)
{
	const struct srv_chunks *c = &op->path->chunks;
	uint32_t imm = rtrs_imm_io_rsp(op->id, wire_errno_from_host(op->err),
				       op->need_inval);
	struct fabric_send_wr wr[REPLY_WRS];
	struct rtrs_msg_rkey_rsp msg;
	uint8_t *buf;
	bool vital = op->pub.vital;
	unsigned n;
	int err;

	n = chain_before(op, wr);
	if (!op->path->new_rkey) {
		wr[n++] = (struct fabric_send_wr){
			.op = FABRIC_WR_RDMA_WRITE_WITH_IMM,
			.imm = imm,
		};
		return srv_con_post(op->con, wr, n,
				    vital ? SRV_WR_VITAL : SRV_WR_SEND, op->id,
				    vital);
	}
	/* The new key is known once its bind is posted. */
	err = srv_con_post(op->con, wr, n, SRV_WR_SEND, 0, false);
	if (err)
		return err;
	msg.buf_id = op->id;
	msg.rkey = c->mw[op->id]->rkey - RNBD_MUTANT(SRV_RKEY_OLD);
	buf = c->tx + c->tx_rkey + (size_t)op->id * RTRS_RKEY_RSP_LEN;
	rtrs_msg_rkey_rsp_encode(&msg, buf);
	wr[0] = (struct fabric_send_wr){
		.op = FABRIC_WR_SEND_WITH_IMM,
		.num_sge = 1,
		.sge[0] = {.addr = buf,
			   .len = RTRS_RKEY_RSP_LEN,
			   .mr = c->tx_mr},
		.imm = imm,
	};
	return srv_con_post(op->con, wr, 1, vital ? SRV_WR_VITAL : SRV_WR_SEND,
			    op->id, vital);
}

/* Posts what the op's state asks for; it has room. */
static void
op_post(struct srv_op *op)
{
	struct srv_con *con = op->con;
	const char *what = "reply";
	int err;

	if (op->state == SRV_OP_INVALIDATING) {
		err = post_inval(op);
		what = "window's end";
	} else {
		err = post_reply(op);
		if (!err)
			op->answer_seq = con->sq_posted;
		/* The client may use the chunk again as soon as it sees it. */
		op_free(op);
	}
	if (err)
		srv_con_post_failed(con, what, err);
}

/* Posts, or queues behind what already waits for room. */
static void
op_send(struct srv_op *op, enum srv_op_state state)
{
	struct srv_con *con = op->con;

	op->state = state;
	if (!con->sq_head && srv_con_has_room(con, REPLY_WRS)) {
		op_post(op);
		return;
	}
	op->sq_next = NULL;
	if (con->sq_head)
		con->sq_tail->sq_next = op;
	else
		con->sq_head = op;
	con->sq_tail = op;
}

void
srv_op_resume(struct srv_con *con)
{
	struct srv_op *op;

	while ((op = con->sq_head) && srv_con_has_room(con, REPLY_WRS)) {
		con->sq_head = op->sq_next;
		op_post(op);
	}
}

/* --- the way in */

static void
hand_over(struct srv_op *op)
{
	struct srv_path *path = op->path;
	struct rtrs_srv_sess *sess = path->sess;

	op->state = SRV_OP_RUNNING;
	path->n_running++;
	sess->n_running++;
	if (op->pub.dir == RTRS_READ) {
		path->stats.rd_cnt++;
		path->stats.rd_bytes += op->off;
	} else {
		path->stats.wr_cnt++;
		path->stats.wr_bytes += op->off;
	}
	path->srv->p.request(sess->user, &op->pub);
}

/* An older request on this index may still execute for a dead path. */
static void
enter_slot(struct srv_op *op)
{
	struct srv_op **slot = &op->path->sess->slots[op->id];

	op->slot_next = NULL;
	if (likely(!*slot)) {
		*slot = op;
		hand_over(op);
		return;
	}
	op->state = SRV_OP_WAITING;
	while (*slot)
		slot = &(*slot)->slot_next;
	*slot = op;
	if (RNBD_MUTANT(SLOT_UNORDERED))
		hand_over(op);
}

void
srv_ops_wake(struct rtrs_srv_sess *sess)
{
	srv_sess_forget_wake(sess);
	for (unsigned i = 0; i < sess->srv->p.queue_depth; i++) {
		struct srv_op *op = sess->slots[i];

		if (op && op->state == SRV_OP_WAITING)
			hand_over(op);
	}
}

static void
leave_slot(struct srv_op *op)
{
	struct rtrs_srv_sess *sess = op->path->sess;
	struct srv_op **slot = &sess->slots[op->id];

	while (*slot != op)
		slot = &(*slot)->slot_next;
	*slot = op->slot_next;
	op->slot_next = NULL;
	if (sess->slots[op->id] && !RNBD_MUTANT(PARKED_FORGOTTEN)) {
		/* Not from here: op_done() must not nest in itself. */
		srv_sess_wake(sess);
	}
}

/* Header and user message are copied first, so that what is checked is what
 * is used. Returns NULL, or what is wrong with the request. */
static const char *
parse(struct srv_op *op, struct rtrs_msg_req *msg)
{
	struct srv_path *path = op->path;
	uint32_t left = path->srv->p.chunk_size - op->off;
	uint8_t *chunk = srv_chunk(path, op->id);
	uint8_t hdr[RTRS_REQ_HDR_MAX];

	if (left > sizeof(hdr))
		left = sizeof(hdr);
	memcpy(hdr, chunk + op->off, left);
	/* Nor may it go beyond what is left of the chunk. */
	if (rtrs_msg_req_decode(hdr, left, msg))
		return "bad request header";
	if (msg->usr_len > op->off)
		return "user message larger than the request";
	op->pub.dir = msg->type == RTRS_MSG_READ ? RTRS_READ : RTRS_WRITE;
	op->pub.data = chunk;
	op->pub.data_len = op->off - msg->usr_len;
	op->has_desc = msg->type == RTRS_MSG_READ && msg->sg_cnt == 1;
	op->need_inval = op->has_desc && msg->flags & RTRS_READ_F_NEED_INVAL;
	if (op->has_desc) {
		op->desc = msg->desc;
		if (!op->desc.len || op->desc.len != op->pub.data_len)
			return "descriptor of a wrong length";
	} else if (msg->type == RTRS_MSG_READ) {
		/* Nowhere to send an answer: no room for one either, so that
		 * nothing is read and called a success. */
		op->pub.data_len = 0;
	}
	return NULL;
}

static void
op_start(struct srv_op *op)
{
	struct srv_path *path = op->path;
	struct rtrs_msg_req msg;
	const char *bad;

	bad = parse(op, &msg);
	if (bad) {
		op_free(op);
		srv_path_close(path, LOG_LVL_WARNING, "%s", bad);
		return;
	}
	if (msg.usr_len > RTRS_USR_LEN_MAX) {
		op->err = -EINVAL;
		op_send(op, SRV_OP_REPLYING);
		return;
	}
	memcpy(op->usr, srv_chunk(path, op->id) + op->off - msg.usr_len,
	       msg.usr_len);
	op->pub.usr = op->usr;
	op->pub.usr_len = msg.usr_len;
	op->pub.user = NULL;
	op->answer_seq = 0;
	enter_slot(op);
}

void
srv_op_receive(struct srv_con *con, uint32_t payload)
{
	struct srv_path *path = con->path;
	struct rtrs_srv *srv = path->srv;
	uint32_t id, off;
	struct srv_op *op;

	if (path->state != RTRS_SRV_CONNECTED) {
		srv_path_close(path, LOG_LVL_WARNING,
			       "request before INFO_REQ");
		return;
	}
	/* Its answer is the end of the path, which is near. */
	if (path->draining)
		return;
	rtrs_imm_io_req_payload(payload, srv->mem_bits, &id, &off);
	if (id >= srv->p.queue_depth || off >= srv->p.chunk_size) {
		srv_path_close(path, LOG_LVL_WARNING,
			       "request for chunk %u offset %u", id, off);
		return;
	}
	op = &path->ops[id];
	if (op->state != SRV_OP_FREE) {
		srv_path_close(path, LOG_LVL_WARNING,
			       "chunk %u is in use already", id);
		return;
	}
	fate_is_proven(op);
	op->path = path;
	op->con = con;
	op->id = (uint16_t)id;
	op->off = off;
	op->err = 0;
	if (path->new_rkey)
		op_send(op, SRV_OP_INVALIDATING);
	else
		op_start(op);
}

void
srv_op_invalidated(struct srv_con *con, uint16_t id)
{
	struct srv_path *path = con->path;

	if (path->state != RTRS_SRV_CONNECTED)
		return;
	assert(path->ops[id].state == SRV_OP_INVALIDATING);
	op_start(&path->ops[id]);
}

/* --- the way out */

void
rtrs_srv_op_done(struct rtrs_srv_op *pub, int err)
{
	struct srv_op *op = container_of(pub, struct srv_op, pub);
	struct srv_path *path = op->path;

	assert(op->state == SRV_OP_RUNNING);
	leave_slot(op);
	path->n_running--;
	path->sess->n_running--;
	op->err = err;
	op->answered_at = path->srv->now;
	if (path->state == RTRS_SRV_CONNECTED) {
		op_send(op, SRV_OP_REPLYING);
		if (path->draining && !path->n_running)
			srv_work(path->srv, SRV_WORK_TEARDOWN);
		return;
	}
	pub->vital = false;
	op_free(op);
	/* The path, and perhaps its session, waited for just this one. */
	if (!path->n_running)
		srv_work(path->srv, SRV_WORK_TEARDOWN);
}

bool
rtrs_srv_op_lost(const struct rtrs_srv_op *pub)
{
	const struct srv_op *op = container_of(pub, struct srv_op, pub);

	return op->path->state != RTRS_SRV_CONNECTED;
}

void
srv_ops_drop(struct srv_path *path)
{
	unsigned qd = path->srv->p.queue_depth;

	for (unsigned i = 0; i < path->cid_num; i++)
		if (path->cons[i])
			path->cons[i]->sq_head = NULL;
	for (unsigned i = 0; path->ops && i < qd; i++) {
		struct srv_op *op = &path->ops[i];

		fate_is_open(op);
		if (op->state == SRV_OP_RUNNING || op->state == SRV_OP_FREE)
			continue;
		if (op->state == SRV_OP_WAITING)
			leave_slot(op);
		op_free(op);
	}
}
