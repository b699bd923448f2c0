/* SPDX-License-Identifier: BSD-3-Clause */
/* Completions: those of the device, and those that it owes in the end. */
#include "rtrs/fabric/verbs.h"

#include <string.h>

#define BATCH 32

/* What the death of a connection by this is called. */
static int
death(enum ibv_wc_status status, bool recv)
{
	switch (status) {
	/* A message that does not fit, as some say it. */
	case IBV_WC_LOC_QP_OP_ERR:
		return recv ? -EPROTO : -EIO;
	/* The peer says that we broke its rules, or it broke ours. */
	case IBV_WC_REM_ACCESS_ERR:
	case IBV_WC_REM_INV_REQ_ERR:
	case IBV_WC_REM_OP_ERR:
	case IBV_WC_LOC_LEN_ERR:
	/* A receive that is flushed before anything else failed: the device
	 * refused what came, and has no completion for that. */
	case IBV_WC_WR_FLUSH_ERR:
		return -EPROTO;
	case IBV_WC_RETRY_EXC_ERR:
	case IBV_WC_RNR_RETRY_EXC_ERR:
	case IBV_WC_RESP_TIMEOUT_ERR:
		return -ETIMEDOUT;
	default:
		return -EIO;
	}
}

static void
failed(struct vb_conn *c, const struct ibv_wc *wc, struct fabric_wc *ret)
{
	ret->status = wc->status == IBV_WC_WR_FLUSH_ERR ? FABRIC_WC_FLUSHED
							: FABRIC_WC_ERROR;
	if (c->state != VB_LIVE)
		return;
	log_dbg(c->ctx->log, "verbs: connection %p: %s: %s (vendor %#x)",
		(void *)c, wc->wr_id & VB_ID_RECV ? "receive" : "send",
		ibv_wc_status_str(wc->status), wc->vendor_err);
	vb_conn_die(c, death(wc->status, wc->wr_id & VB_ID_RECV));
}

static void
invalidated(struct vb_conn *c, uint32_t rkey, struct fabric_wc *ret)
{
	struct vb_mw *w = vb_mw_find(c->pd, rkey);

	ret->with_inv = true;
	ret->inv_rkey = rkey;
	if (w) {
		vb_mw_unbind(w);
		vb_mw_leave(w);
	}
}

static void
received(struct vb_conn *c, const struct ibv_wc *wc, struct fabric_wc *ret)
{
	ret->byte_len = wc->byte_len;
	ret->op = wc->opcode == IBV_WC_RECV_RDMA_WITH_IMM
			  ? FABRIC_WC_OP_RECV_RDMA_IMM
			  : FABRIC_WC_OP_RECV;
	if (wc->wc_flags & IBV_WC_WITH_IMM) {
		ret->with_imm = true;
		ret->imm = be32toh(wc->imm_data);
	} else if (wc->wc_flags & IBV_WC_WITH_INV ||
		   /* soft-RoCE says it with the kernel's bit */
		   (wc->wc_flags & IBV_WC_IP_CSUM_OK &&
		    vb_mw_find(c->pd, wc->invalidated_rkey))) {
		invalidated(c, wc->invalidated_rkey, ret);
	}
	/* Whoever sends is connected, even if its word for that is late. */
	if (c->deadline != TIME_NEVER && c->state == VB_LIVE)
		vb_conn_timer(c, TIME_NEVER);
}

static void
translate(struct vb_conn *c, const struct ibv_wc *wc, struct fabric_wc *ret)
{
	bool recv = wc->wr_id & VB_ID_RECV;

	*ret = (struct fabric_wc){
		.conn = (void *)c,
		.user = c->user,
		.status = FABRIC_WC_SUCCESS,
	};
	if (recv) {
		struct vb_rq *rq = vb_conn_rq(c);
		unsigned slot = (unsigned)(wc->wr_id & ~VB_ID_RECV);

		ret->wr_id = rq->wr_id[slot];
		rq->used[slot] = false;
		rq->free[rq->cap - rq->n_used--] = slot;
	} else {
		const struct vb_swr *s = &c->sq[wc->wr_id % c->sq_cap];

		ret->wr_id = s->wr_id;
		ret->op = fabric_wr_wc_op(s->op);
		/* Those before it were not signalled, and succeeded. */
		c->sq_tail = wc->wr_id + 1;
	}
	if (wc->status != IBV_WC_SUCCESS)
		failed(c, wc, ret);
	else if (recv)
		received(c, wc, ret);
}

/* The queue pair is gone: what has no completion now gets none from it. */
static bool
flush_one(struct vb_conn *c, struct fabric_wc *ret)
{
	struct vb_rq *rq = &c->rq;

	*ret = (struct fabric_wc){
		.conn = (void *)c,
		.user = c->user,
		.status = FABRIC_WC_FLUSHED,
	};
	if (c->sq_tail != c->sq_head) {
		ret->wr_id = c->sq[c->sq_tail++ % c->sq_cap].wr_id;
		return true;
	}
	if (!rq->n_used)
		return false;
	for (; c->flush_pos < rq->cap; c->flush_pos++) {
		unsigned slot = c->flush_pos;

		if (!rq->used[slot])
			continue;
		ret->wr_id = rq->wr_id[slot];
		rq->used[slot] = false;
		rq->free[rq->cap - rq->n_used--] = slot;
		return true;
	}
	return false;
}

/*
 * A queue that cannot be read may hold what no event will tell of again. Its
 * connection ends, which needs nothing of it: what is owed is flushed.
 */
static int
poll_device(struct vb_conn *c, int n, struct ibv_wc *wc)
{
	int k = ibv_poll_cq(c->cq, n, wc);

	if (k >= 0)
		return k;
	if (c->state == VB_LIVE) {
		log_err(c->ctx->log, "%s: completions cannot be fetched",
			c->dev->name);
		vb_conn_die(c, -EIO);
	}
	return 0;
}

static int
poll_conn(struct vb_conn *c, struct fabric_wc *wc, int n)
{
	struct ibv_wc hw[BATCH];
	int got = 0, k;

	if (c->stashed) {
		c->stashed = false;
		translate(c, &c->stash, &wc[got++]);
	}
	while (got < n) {
		k = poll_device(c, n - got < BATCH ? n - got : BATCH, hw);
		if (!k)
			break;
		for (int i = 0; i < k; i++)
			translate(c, &hw[i], &wc[got++]);
	}
	/* No completion told why: the device refused what the peer sent. */
	if (c->drained && got < n && c->state == VB_LIVE)
		vb_conn_die(c, -EPROTO);
	if (c->state != VB_CLOSED)
		return got;
	while (got < n && flush_one(c, &wc[got]))
		got++;
	vb_conn_maybe_closed(c);
	return got;
}

int
vb_poll_cq(struct fabric_ctx *fctx, struct fabric_wc *wc, int n)
{
	struct vb_ctx *ctx = vb_ctx(fctx);
	struct vb_conn *c, *next;
	int got = 0;

	DL_FOREACH_SAFE2(ctx->hot, c, next, hot_next)
	{
		if (got == n)
			break;
		got += poll_conn(c, wc + got, n - got);
	}
	return got;
}

bool
vb_cq_peek(struct vb_conn *c)
{
	/* The completions that it owes come without an event. */
	if (c->state == VB_CLOSED)
		return true;
	if (!c->stashed)
		c->stashed = poll_device(c, 1, &c->stash) > 0;
	return c->stashed;
}

bool
vb_cq_arm(struct vb_conn *c)
{
	int r;

	if (c->state == VB_CLOSED)
		return true;
	if (!c->armed) {
		r = ibv_req_notify_cq(c->cq, 0);
		/* One that is closing has a time limit. */
		if (r && c->state == VB_LIVE) {
			log_err(c->ctx->log, "%s: no events of completions: %s",
				c->dev->name, strerror(r));
			vb_conn_die(c, -EIO);
		}
		if (r)
			return true;
		c->armed = true;
	}
	return vb_cq_peek(c);
}
