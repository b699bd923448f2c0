/* SPDX-License-Identifier: BSD-3-Clause */
/* Work requests: posted, on the wire, delivered, completed, flushed. */
#include "rtrs/fabric/sim/sim-priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- completions */

static void
wc_here(struct fabric_conn *conn, struct sim_wc *w)
{
	DL_APPEND(conn->ctx->wc_new, w);
	conn->ctx->node->arrivals++;
}

static void
wc_push(struct fabric_conn *conn, bool recv, unsigned slots,
	const struct fabric_wc *wc)
{
	struct sim_net *net = conn->link->net;
	struct sim_wc *w = sim_alloc(sizeof(*w));
	uint64_t t = net->now;

	w->wc = *wc;
	w->wc.conn = conn;
	w->recv = recv;
	w->slots = slots;
	conn->wcs++;
	/* A completion queue keeps the order of what happened. */
	if (sim_net_chance(net, net->faults.late_wc_ppm))
		t += sim_net_below(net, net->faults.late_wc_max_ns);
	if (t < conn->last_wc)
		t = conn->last_wc;
	conn->last_wc = t;
	if (t > net->now || conn->late_wcs) {
		conn->late_wcs++;
		sim_at(conn->link, conn->end, SIM_EV_WC, t)->wc = w;
	} else {
		wc_here(conn, w);
	}
}

void
sim_qp_wc_arrived(struct fabric_conn *conn, struct sim_wc *wc)
{
	conn->late_wcs--;
	wc_here(conn, wc);
}

static void
sq_report(struct fabric_conn *conn, struct sim_sqe *sqe,
	  enum fabric_wc_status status)
{
	struct fabric_wc wc = {
		.wr_id = sqe->wr.wr_id,
		.status = status,
		/* Garbage, unless it succeeded. */
		.op = status ? (enum fabric_wc_op)0xff
			     : fabric_wr_wc_op(sqe->wr.op),
	};

	sqe->reported = true;
	conn->sq_silent++;
	if (status != FABRIC_WC_SUCCESS || sqe->wr.signaled) {
		wc_push(conn, false, conn->sq_silent, &wc);
		conn->sq_silent = 0;
	}
}

/* In order: reports what is done, forgets what the peer has, too. */
static void
sq_advance(struct fabric_conn *conn)
{
	struct sim_sqe *sqe, *tmp;

	DL_FOREACH_SAFE(conn->sq, sqe, tmp) {
		if (!sqe->done)
			break;
		if (!sqe->reported)
			sq_report(conn, sqe, FABRIC_WC_SUCCESS);
		if (sqe->acked) {
			DL_DELETE(conn->sq, sqe);
			free(sqe);
		}
	}
}

static struct sim_rqe **
rq_of(struct fabric_conn *conn)
{
	return conn->shared ? &conn->pd->rq : &conn->rq;
}

void
sim_qp_recv_polled(struct fabric_conn *conn, unsigned slots)
{
	if (conn->shared)
		conn->pd->rq_used -= slots;
	else
		conn->rq_used -= slots;
}

static void
rq_take(struct fabric_conn *conn, struct fabric_wc *wc)
{
	struct sim_rqe **rq = rq_of(conn), *rqe = *rq;

	wc->wr_id = rqe->wr.wr_id;
	wc_push(conn, true, 1, wc);
	if (--rqe->wr.count)
		return;
	DL_DELETE(*rq, rqe);
	free(rqe);
}

void
sim_qp_drop_shared(struct fabric_pd *pd)
{
	struct sim_rqe *rqe, *tmp;

	DL_FOREACH_SAFE(pd->rq, rqe, tmp)
		free(rqe);
	pd->rq = NULL;
}

static void
drop_arrived(struct fabric_conn *conn)
{
	struct sim_pkt *pkt, *tmp;

	DL_FOREACH_SAFE(conn->inq, pkt, tmp)
		sim_pkt_free(pkt);
	conn->inq = NULL;
}

void
sim_qp_flush(struct fabric_conn *conn)
{
	struct fabric_wc wc = {.status = FABRIC_WC_FLUSHED,
			       .op = (enum fabric_wc_op)0xff};
	struct sim_sqe *sqe;
	struct sim_rqe *rqe;

	sq_advance(conn);
	while ((sqe = conn->sq)) {
		if (!sqe->reported)
			sq_report(conn, sqe, FABRIC_WC_FLUSHED);
		DL_DELETE(conn->sq, sqe);
		free(sqe);
	}
	conn->sq_new = NULL;
	while ((rqe = conn->rq)) {
		if (rqe->by_count && !rqe->wr.addr &&
		    sim_net_below(conn->link->net, 2)) {
			conn->rq_used -= rqe->wr.count;
			DL_DELETE(conn->rq, rqe);
			free(rqe);
		} else {
			rq_take(conn, &wc);
		}
	}
	drop_arrived(conn);
}

void
sim_qp_drop(struct fabric_conn *conn)
{
	struct sim_sqe *sqe, *tmp;
	struct sim_rqe *rqe, *rtmp;

	DL_FOREACH_SAFE(conn->sq, sqe, tmp)
		free(sqe);
	conn->sq = NULL;
	conn->sq_new = NULL;
	DL_FOREACH_SAFE(conn->rq, rqe, rtmp)
		free(rqe);
	conn->rq = NULL;
	drop_arrived(conn);
}

/* --- posting */

/* 0: queue it; 1: it died, but that is not known yet: flush it. */
static int
may_post(struct fabric_conn *conn)
{
	if (sim_conn_alive(conn))
		return 0;
	if (conn->state == SIM_DEAD && !conn->death_told &&
	    sim_net_below(conn->link->net, 2))
		return 1;
	return -ENOTCONN;
}

static uint64_t
mr_id_of(struct fabric_conn *conn, const void *addr, uint32_t len,
	 struct fabric_mr *base)
{
	struct sim_mr *mr;

	if (!base) {
		sim_require(conn->ctx->caps & FABRIC_CAP_CHEAP_MR,
			    "buffer without MR");
		return 0;
	}
	mr = container_of(base, struct sim_mr, base);
	sim_require(base->pd == conn->pd, "MR of another PD");
	sim_require((const uint8_t *)addr >= (const uint8_t *)base->addr &&
			    (const uint8_t *)addr + len <=
				    (const uint8_t *)base->addr + base->len,
		    "buffer outside its MR");
	return mr->id;
}

/* What waits at a connection for a receive may go on. */
static void
resume(struct fabric_conn *conn)
{
	if (!conn->inq || conn->resume_timer)
		return;
	conn->resume_timer = true;
	sim_at(conn->link, conn->end, SIM_EV_RESUME,
	       conn->link->net->now + sim_delay(conn->link->net));
}

static int
post_shared_recv(struct fabric_conn *conn, struct sim_rqe *rqe)
{
	struct fabric_pd *pd = conn->pd;
	struct fabric_conn *other;

	if (pd->rq_used + rqe->wr.count > pd->rq_max) {
		free(rqe);
		return -ENOMEM;
	}
	pd->rq_used += rqe->wr.count;
	DL_APPEND(pd->rq, rqe);
	DL_FOREACH(conn->ctx->conns, other)
		if (other->shared && other->pd == pd)
			resume(other);
	return 0;
}

int
sim_post_recv(struct fabric_conn *conn, const struct fabric_recv_wr *wr)
{
	unsigned count = wr->count ? wr->count : 1;
	int flushed = may_post(conn);
	struct sim_rqe *rqe;

	if (flushed < 0)
		return flushed;
	if ((!conn->shared && conn->rq_used + count > conn->max_recv_wr) ||
	    sim_call_fails(conn->link->net, "post_recv"))
		return -ENOMEM;
	rqe = sim_alloc(sizeof(*rqe));
	rqe->wr = *wr;
	rqe->wr.count = count;
	rqe->by_count = count > 1;
	if (wr->addr)
		rqe->mr_id = mr_id_of(conn, wr->addr, wr->len, wr->mr);
	if (conn->shared)
		return post_shared_recv(conn, rqe);
	conn->rq_used += count;
	DL_APPEND(conn->rq, rqe);
	if (flushed)
		sim_qp_flush(conn);
	else
		resume(conn);
	return 0;
}

static struct sim_sqe *
sqe_new(struct fabric_conn *conn, const struct fabric_send_wr *wr)
{
	bool local = wr->op == FABRIC_WR_MW_BIND || wr->op == FABRIC_WR_MW_INV;
	struct sim_sqe *sqe = sim_alloc(sizeof(*sqe));
	unsigned i;

	sqe->id = ++conn->link->net->next_id;
	sqe->wr = *wr;
	sim_require(!local || wr->mw, "no window to bind or to end");
	sim_require(wr->num_sge <= FABRIC_MAX_SGE, "too many SGEs");
	for (i = 0; !local && i < wr->num_sge; i++) {
		sim_require(wr->sge[i].len > 0, "SGE of length 0");
		sqe->mr_id[i] = mr_id_of(conn, wr->sge[i].addr, wr->sge[i].len,
					 wr->sge[i].mr);
		sqe->len += wr->sge[i].len;
	}
	return sqe;
}

int
sim_post_send(struct fabric_conn *conn, const struct fabric_send_wr *list)
{
	const struct fabric_send_wr *wr;
	int flushed = may_post(conn);
	struct sim_sqe *sqe;
	unsigned n = 0;

	if (flushed < 0)
		return flushed;
	for (wr = list; wr; wr = wr->next)
		n++;
	if (conn->sq_used + n > conn->max_send_wr ||
	    sim_call_fails(conn->link->net, "post_send"))
		return -ENOMEM;
	conn->sq_used += n;
	conn->ctx->posted = true;
	for (wr = list; wr; wr = wr->next) {
		sqe = sqe_new(conn, wr);
		DL_APPEND(conn->sq, sqe);
		if (!conn->sq_new)
			conn->sq_new = sqe;
		if (flushed)
			continue;
		if (wr->op == FABRIC_WR_MW_BIND)
			sim_mw_bind(wr);
		else if (wr->op == FABRIC_WR_MW_INV)
			sim_mw_inv(wr->mw);
	}
	if (flushed)
		sim_qp_flush(conn);
	return 0;
}

/* --- the wire */

static void
gather(struct sim_net *net, const struct sim_sqe *sqe, struct sim_pkt *pkt)
{
	size_t off = 0;
	unsigned i;

	pkt->data = sim_alloc(pkt->len ? pkt->len : 1);
	for (i = 0; i < sqe->wr.num_sge; i++) {
		sim_require(!sqe->mr_id[i] || sim_mr_find(net, sqe->mr_id[i]),
			    "MR gone before the completion of a send");
		memcpy(pkt->data + off, sqe->wr.sge[i].addr,
		       sqe->wr.sge[i].len);
		off += sqe->wr.sge[i].len;
	}
}

static void
issue_one(struct fabric_conn *conn, struct sim_sqe *sqe)
{
	struct sim_link *link = conn->link;
	struct sim_net *net = link->net;
	int to = !conn->end;
	struct sim_pkt *pkt = sim_alloc(sizeof(*pkt));
	uint64_t t = net->now + sim_delay(net);

	pkt->id = sqe->id;
	pkt->op = sqe->wr.op;
	pkt->imm = sqe->wr.imm;
	pkt->inv_rkey = sqe->wr.inv_rkey;
	pkt->rkey = sqe->wr.rkey;
	pkt->raddr = sqe->wr.raddr;
	pkt->len = sqe->len;
	sqe->done = net->faults.done_when_sent;
	/* Read now, or as late as a retransmission might. */
	if (sqe->done || sim_net_below(net, 2))
		gather(net, sqe, pkt);
	DL_APPEND(link->fifo[to], pkt);
	if (t < link->last_data[to])
		t = link->last_data[to];
	link->last_data[to] = t;
	sim_at(link, to, SIM_EV_DATA, t);
}

void
sim_qp_issue(struct fabric_conn *conn)
{
	struct sim_sqe *sqe;

	if (!conn->sq_new || !sim_conn_alive(conn))
		return;
	while ((sqe = conn->sq_new)) {
		conn->sq_new = sqe->next;
		sqe->issued = true;
		sqe->issued_at = conn->link->net->now;
		if (sqe->wr.op == FABRIC_WR_MW_BIND ||
		    sqe->wr.op == FABRIC_WR_MW_INV)
			sqe->done = sqe->acked = true;
		else
			issue_one(conn, sqe);
	}
	sq_advance(conn);
}

static struct sim_sqe *
sqe_find(const struct fabric_conn *conn, uint64_t id)
{
	struct sim_sqe *sqe;

	if (!conn)
		return NULL;
	DL_FOREACH(conn->sq, sqe)
		if (sqe->id == id)
			return sqe;
	return NULL;
}

void
sim_qp_data(struct sim_event *ev)
{
	struct sim_link *link = ev->link;
	struct fabric_conn *to = link->end[ev->end];
	struct fabric_conn *from = link->end[!ev->end];
	struct sim_pkt *pkt = link->fifo[ev->end];
	struct sim_sqe *sqe;

	DL_DELETE(link->fifo[ev->end], pkt);
	if (!pkt->data) {
		sqe = sqe_find(from, pkt->id);
		if (sqe)
			gather(link->net, sqe, pkt);
		else
			link->gap[ev->end] = true;
	}
	/*
	 * What was held up is a retransmission: of a queue pair, which must
	 * be there for it, or of a host that has the bytes and goes on.
	 */
	if (ev->held && !link->net->faults.done_when_sent &&
	    (!from || !sim_conn_alive(from)))
		link->gap[ev->end] = true;
	if (link->gap[ev->end] || !to ||
	    (!sim_conn_alive(to) && to->state != SIM_CONNECTING)) {
		sim_pkt_free(pkt);
		if (from)
			sim_qp_unanswered(from);
		return;
	}
	DL_APPEND(to->inq, pkt);
	sim_qp_receive(to);
}

void
sim_qp_unanswered(struct fabric_conn *conn)
{
	if (!sim_conn_alive(conn) || conn->peer_timer)
		return;
	conn->peer_timer = true;
	sim_at(conn->link, conn->end, SIM_EV_PEER_TIMEOUT,
	       time_after_ms(conn->link->net->now, conn->ctx->peer_timeout_ms));
}

void
sim_qp_peer_timeout(struct fabric_conn *conn)
{
	struct sim_link *link = conn->link;
	const struct fabric_conn *peer = link->end[!conn->end];
	struct sim_sqe *sqe;
	uint64_t due;

	conn->peer_timer = false;
	if (!sim_conn_alive(conn))
		return;
	DL_FOREACH(conn->sq, sqe)
		if (sqe->issued && !sqe->acked)
			break;
	if (!sqe)
		return;
	due = time_after_ms(sqe->issued_at, conn->ctx->peer_timeout_ms);
	if (due <= link->net->now) {
		/* A receiver that is not ready says so: it is not silent. */
		if (!peer || !peer->inq || link->silent[0] || link->silent[1]) {
			sim_conn_die(conn, -ETIMEDOUT);
			return;
		}
		due = time_after_ms(link->net->now, conn->ctx->peer_timeout_ms);
	}
	conn->peer_timer = true;
	sim_at(link, conn->end, SIM_EV_PEER_TIMEOUT, due);
}

/* --- delivery */

static int
deliver_write(struct fabric_conn *conn, const struct sim_pkt *pkt)
{
	struct sim_key *key;
	uint64_t off;

	if (!pkt->len)
		return 0;
	key = sim_key_find(conn->pd, pkt->rkey);
	if (!key || !(key->access & FABRIC_ACCESS_REMOTE_WRITE) ||
	    pkt->raddr < key->raddr)
		return -EPROTO;
	off = pkt->raddr - key->raddr;
	if (off > key->len || pkt->len > key->len - off)
		return -EPROTO;
	memcpy(key->mem + off, pkt->data, pkt->len);
	return 0;
}

/* The receive that a message uses gets a completion; which, wc tells. */
static int
deliver_send(struct fabric_conn *conn, const struct sim_pkt *pkt,
	     struct fabric_wc *wc)
{
	const struct sim_rqe *rqe = *rq_of(conn);
	struct sim_key *key;

	if (pkt->len > (rqe->wr.addr ? rqe->wr.len : 0))
		return -EPROTO;
	if (pkt->op == FABRIC_WR_SEND_WITH_INV) {
		key = sim_key_find(conn->pd, pkt->inv_rkey);
		if (!key || sim_key_invalidate(key))
			return -EPROTO;
		wc->with_inv = true;
		wc->inv_rkey = pkt->inv_rkey;
	}
	if (pkt->len) {
		sim_require(!rqe->mr_id ||
				    sim_mr_find(conn->link->net, rqe->mr_id),
			    "MR gone before the completion of a receive");
		memcpy(rqe->wr.addr, pkt->data, pkt->len);
	}
	wc->op = FABRIC_WC_OP_RECV;
	return 0;
}

static bool
needs_receive(enum fabric_wr_op op)
{
	return op != FABRIC_WR_RDMA_WRITE;
}

static int
deliver(struct fabric_conn *conn, const struct sim_pkt *pkt)
{
	struct fabric_wc wc = {.byte_len = (uint32_t)pkt->len};
	int err;

	sim_trace(conn->link, conn->end, "%s imm %08x len %zu",
		  fabric_wr_op_name(pkt->op), pkt->imm, pkt->len);
	if (pkt->op == FABRIC_WR_RDMA_WRITE)
		return deliver_write(conn, pkt);
	if (pkt->op == FABRIC_WR_RDMA_WRITE_WITH_IMM) {
		err = deliver_write(conn, pkt);
		if (err)
			return err;
		wc.op = FABRIC_WC_OP_RECV_RDMA_IMM;
	} else {
		err = deliver_send(conn, pkt, &wc);
	}
	wc.with_imm = pkt->op == FABRIC_WR_RDMA_WRITE_WITH_IMM ||
		      pkt->op == FABRIC_WR_SEND_WITH_IMM;
	wc.imm = wc.with_imm ? pkt->imm : 0;
	if (err) {
		wc.status = FABRIC_WC_ERROR;
		wc.op = (enum fabric_wc_op)0xff;
	}
	rq_take(conn, &wc);
	return err;
}

static void
answer(struct fabric_conn *conn, enum sim_ev_kind kind, uint64_t id)
{
	struct sim_link *link = conn->link;
	uint64_t t = link->net->now + sim_delay(link->net);
	int to = !conn->end;

	if (t < link->last_ack[to])
		t = link->last_ack[to];
	link->last_ack[to] = t;
	sim_at(link, to, kind, t)->id = id;
}

void
sim_qp_receive(struct fabric_conn *conn)
{
	struct fabric_conn *peer;
	struct sim_pkt *pkt;
	int err;

	while (sim_conn_alive(conn) && (pkt = conn->inq)) {
		if (needs_receive(pkt->op) && !*rq_of(conn)) {
			/* "Not ready" has to get through, too. */
			peer = conn->link->end[!conn->end];
			if (peer && conn->link->silent[!conn->end])
				sim_qp_unanswered(peer);
			return;
		}
		DL_DELETE(conn->inq, pkt);
		err = deliver(conn, pkt);
		answer(conn, err ? SIM_EV_NAK : SIM_EV_ACK, pkt->id);
		sim_pkt_free(pkt);
		if (err)
			sim_conn_die(conn, err);
	}
}

void
sim_qp_ack(struct fabric_conn *conn, const struct sim_event *ev)
{
	struct sim_sqe *sqe;

	if (!sim_conn_alive(conn))
		return;
	/* An answer speaks for everything before it, too. */
	DL_FOREACH(conn->sq, sqe) {
		if (sqe->id > ev->id ||
		    (sqe->id == ev->id && ev->kind == SIM_EV_NAK))
			break;
		sqe->done = sqe->acked = true;
	}
	sq_advance(conn);
	if (ev->kind == SIM_EV_ACK)
		return;
	if (conn->sq && conn->sq->id == ev->id && !conn->sq->reported)
		sq_report(conn, conn->sq, FABRIC_WC_ERROR);
	sim_conn_die(conn, -EPROTO);
}
