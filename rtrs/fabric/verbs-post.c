/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Posting of work requests. Sends are collected, up to VB_PEND of them, and one
 * doorbell is rung for all, at the latest by ctx_flush. A request that is in
 * the send queue here gets a completion, whether the device took it or not.
 */
#include "rtrs/fabric/verbs.h"

#include <string.h>

/* --- receives */

static int
hand_over(struct vb_conn *c, struct ibv_recv_wr *wr)
{
	struct ibv_recv_wr *bad;

	return c->shared ? ibv_post_srq_recv(c->pd->srq, wr, &bad)
			 : ibv_post_recv(c->id->qp, wr, &bad);
}

static unsigned
take_slot(struct vb_rq *rq, uint64_t wr_id)
{
	unsigned slot = rq->free[rq->cap - ++rq->n_used];

	rq->used[slot] = true;
	rq->wr_id[slot] = wr_id;
	return slot;
}

int
vb_post_recv(struct fabric_conn *conn, const struct fabric_recv_wr *wr)
{
	struct vb_conn *c = vb_conn(conn);
	struct ibv_recv_wr list[VB_RECV_BATCH];
	unsigned left = wr->count ? wr->count : 1, n, i;
	struct ibv_sge sge;
	struct vb_rq *rq;
	int r;

	if (!vb_conn_alive(c))
		return -ENOTCONN;
	rq = vb_conn_rq(c);
	if (left > rq->cap - rq->n_used)
		return -ENOMEM;
	if (wr->addr) {
		if (!wr->mr)
			return -EINVAL;
		sge = (struct ibv_sge){
			.addr = (uintptr_t)wr->addr,
			.length = wr->len,
			.lkey = container_of(wr->mr, struct vb_mr, pub)
					->ib->lkey,
		};
	}
	for (; left; left -= n) {
		n = left < VB_RECV_BATCH ? left : VB_RECV_BATCH;
		for (i = 0; i < n; i++)
			list[i] = (struct ibv_recv_wr){
				.wr_id = VB_ID_RECV | take_slot(rq, wr->wr_id),
				.next = i + 1 < n ? &list[i + 1] : NULL,
				.sg_list = wr->addr ? &sge : NULL,
				.num_sge = wr->addr ? 1 : 0,
			};
		r = hand_over(c, list);
		if (r) {
			/* They are flushed with the others. */
			log_err(c->ctx->log, "%s: no receive: %s", c->dev->name,
				strerror(r));
			if (c->state == VB_LIVE)
				vb_conn_die(c, -EIO);
			/* What is only being accepted does not die of it. */
			return c->shared || c->state == VB_ACCEPTING ? -r : 0;
		}
	}
	return 0;
}

/* --- sends */

void
vb_post_forget(struct vb_conn *c)
{
	for (unsigned i = 0; i < c->n_pend; i++)
		if (c->pend_mw[i])
			c->pend_mw[i]->pending = NULL;
	c->n_pend = 0;
	vb_conn_clean(c);
}

void
vb_post_pending(struct vb_conn *c)
{
	struct ibv_send_wr *bad;
	int r;

	if (!c->n_pend || c->state != VB_LIVE)
		return;
	for (unsigned i = 0; i < c->n_pend; i++)
		c->pend[i].next = i + 1 < c->n_pend ? &c->pend[i + 1] : NULL;
	r = ibv_post_send(c->id->qp, c->pend, &bad);
	for (unsigned i = 0; i < c->n_pend; i++)
		if (c->pend_mw[i] && c->pend_mw[i]->ib &&
		    c->pend[i].opcode == IBV_WR_BIND_MW)
			c->pend_mw[i]->ib->rkey = c->pend[i].bind_mw.rkey;
	vb_post_forget(c);
	if (!r)
		return;
	log_err(c->ctx->log, "%s: work was not taken: %s", c->dev->name,
		strerror(r));
	vb_conn_die(c, -EIO);
}

static unsigned
access_flags(unsigned access)
{
	/* Windows may always be ended by the peer they are for. */
	return access & FABRIC_ACCESS_REMOTE_WRITE ? IBV_ACCESS_REMOTE_WRITE
						   : 0;
}

/* Type 1: the provider posts by itself, and makes the new key. */
static void
bind_pd(struct vb_conn *c, const struct fabric_send_wr *wr, uint64_t id)
{
	struct vb_mw *w = container_of(wr->mw, struct vb_mw, pub);
	bool open = wr->op == FABRIC_WR_MW_BIND;
	struct vb_mr *mr =
		open ? container_of(wr->bind_mr, struct vb_mr, pub) : w->mr;
	struct ibv_mw_bind b = {
		.wr_id = id,
		.send_flags = wr->signaled ? IBV_SEND_SIGNALED : 0,
	};
	int r;

	vb_post_pending(c);
	if (c->state != VB_LIVE)
		return;
	if (mr)
		b.bind_info.mr = mr->ib;
	if (open) {
		b.bind_info.addr = mr->pub.raddr + wr->bind_off;
		b.bind_info.length = wr->bind_len;
		b.bind_info.mw_access_flags = access_flags(wr->bind_access);
	}
	vb_mw_unbind(w);
	r = ibv_bind_mw(c->id->qp, w->ib, &b);
	if (r) {
		log_err(c->ctx->log, "%s: a window was not taken: %s",
			c->dev->name, strerror(r));
		vb_conn_die(c, -EIO);
		return;
	}
	if (open)
		vb_mw_bound(w, c, mr, wr->bind_off, w->ib->rkey);
}

static int
fill_mw(struct vb_conn *c, const struct fabric_send_wr *wr,
	struct ibv_send_wr *s)
{
	struct vb_mw *w = container_of(wr->mw, struct vb_mw, pub);
	struct vb_mr *mr;

	c->pend_mw[c->n_pend] = w;
	if (wr->op == FABRIC_WR_MW_INV) {
		s->opcode = IBV_WR_LOCAL_INV;
		s->invalidate_rkey = wr->mw->rkey;
		vb_mw_unbind(w);
		return 0;
	}
	mr = container_of(wr->bind_mr, struct vb_mr, pub);
	s->opcode = IBV_WR_BIND_MW;
	s->bind_mw.mw = w->ib;
	s->bind_mw.rkey = ibv_inc_rkey(w->ib->rkey);
	s->bind_mw.bind_info = (struct ibv_mw_bind_info){
		.mr = mr->ib,
		.addr = mr->pub.raddr + wr->bind_off,
		.length = wr->bind_len,
		.mw_access_flags = access_flags(wr->bind_access),
	};
	return vb_mw_bound(w, c, mr, wr->bind_off, s->bind_mw.rkey);
}

static enum ibv_wr_opcode
opcode(enum fabric_wr_op op)
{
	switch (op) {
	case FABRIC_WR_SEND:
		return IBV_WR_SEND;
	case FABRIC_WR_SEND_WITH_IMM:
		return IBV_WR_SEND_WITH_IMM;
	case FABRIC_WR_SEND_WITH_INV:
		return IBV_WR_SEND_WITH_INV;
	case FABRIC_WR_RDMA_WRITE:
		return IBV_WR_RDMA_WRITE;
	default:
		return IBV_WR_RDMA_WRITE_WITH_IMM;
	}
}

static void
fill_data(struct vb_conn *c, const struct fabric_send_wr *wr,
	  struct ibv_send_wr *s)
{
	struct ibv_sge *sge = c->pend_sge[c->n_pend];
	uint32_t len = 0;

	c->pend_mw[c->n_pend] = NULL;
	s->opcode = opcode(wr->op);
	for (unsigned i = 0; i < wr->num_sge; i++) {
		sge[i] = (struct ibv_sge){
			.addr = (uintptr_t)wr->sge[i].addr,
			.length = wr->sge[i].len,
			.lkey = container_of(wr->sge[i].mr, struct vb_mr, pub)
					->ib->lkey,
		};
		len += wr->sge[i].len;
	}
	s->sg_list = wr->num_sge ? sge : NULL;
	s->num_sge = wr->num_sge;
	if (len && len <= c->inline_max)
		s->send_flags |= IBV_SEND_INLINE;
	if (wr->op == FABRIC_WR_SEND_WITH_INV)
		s->invalidate_rkey = wr->inv_rkey;
	else
		s->imm_data = htobe32(wr->imm);
	s->wr.rdma.remote_addr = wr->raddr;
	s->wr.rdma.rkey = wr->rkey;
}

static void
add(struct vb_conn *c, const struct fabric_send_wr *wr)
{
	bool mw = wr->op == FABRIC_WR_MW_BIND || wr->op == FABRIC_WR_MW_INV;
	uint64_t id = c->sq_head++;
	struct ibv_send_wr *s;

	c->sq[id % c->sq_cap] = (struct vb_swr){wr->wr_id, wr->op};
	if (c->state != VB_LIVE)
		return;
	if (mw && wr->mw->kind == FABRIC_MW_PD) {
		bind_pd(c, wr, id);
		return;
	}
	/* The provider takes the present key from the window. */
	if (mw && container_of(wr->mw, struct vb_mw, pub)->pending)
		vb_post_pending(
			container_of(wr->mw, struct vb_mw, pub)->pending);
	if (c->state != VB_LIVE)
		return;
	s = &c->pend[c->n_pend];
	*s = (struct ibv_send_wr){
		.wr_id = id,
		.send_flags = wr->signaled ? IBV_SEND_SIGNALED : 0,
	};
	if (mw) {
		/* A window that is not in the books must not be bound. */
		if (fill_mw(c, wr, s)) {
			log_err(c->ctx->log, "%s: no memory to bind a window",
				c->dev->name);
			vb_conn_die(c, -EIO);
			return;
		}
		c->pend_mw[c->n_pend]->pending = c;
	} else {
		fill_data(c, wr, s);
	}
	vb_conn_dirty(c);
	if (++c->n_pend == VB_PEND)
		vb_post_pending(c);
}

static bool
bind_ok(const struct vb_conn *c, const struct fabric_send_wr *wr)
{
	const struct vb_mw *w = container_of(wr->mw, struct vb_mw, pub);

	if (vb_pd(wr->mw->pd) != c->pd || !w->ib)
		return false;
	if (wr->op == FABRIC_WR_MW_INV)
		return wr->mw->kind == FABRIC_MW_CONN || w->mr;
	if (wr->mw->kind == FABRIC_MW_CONN && wr->mw->bound)
		return false;
	return wr->bind_mr && vb_pd(wr->bind_mr->pd) == c->pd && wr->bind_len &&
	       wr->bind_off <= wr->bind_mr->len &&
	       wr->bind_len <= wr->bind_mr->len - wr->bind_off;
}

static bool
wr_ok(const struct vb_conn *c, const struct fabric_send_wr *wr)
{
	if (wr->op == FABRIC_WR_MW_BIND || wr->op == FABRIC_WR_MW_INV)
		return bind_ok(c, wr);
	if (wr->num_sge > FABRIC_MAX_SGE)
		return false;
	for (unsigned i = 0; i < wr->num_sge; i++)
		if (!wr->sge[i].mr)
			return false;
	return true;
}

int
vb_post_send(struct fabric_conn *conn, const struct fabric_send_wr *list)
{
	struct vb_conn *c = vb_conn(conn);
	const struct fabric_send_wr *wr;
	unsigned n = 0;

	if (c->state == VB_ACCEPTING) {
		vb_conn_clean(c);
		vb_accept_send(c);
	}
	if (c->state != VB_LIVE)
		return -ENOTCONN;
	for (wr = list; wr; wr = wr->next) {
		if (!wr_ok(c, wr))
			return -EINVAL;
		n++;
	}
	if (n > c->sq_cap - (c->sq_head - c->sq_tail))
		return -ENOMEM;
	for (wr = list; wr; wr = wr->next)
		add(c, wr);
	return 0;
}
