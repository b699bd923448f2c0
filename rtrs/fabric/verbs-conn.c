/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection: its queue pair, its death, its end.
 *
 * What can end one: a completion with an error, the peer's disconnect, an event
 * of the device, a time-out, disconnect(). Whatever it is, the queue pair goes
 * to the error state and the peer is told (rdma_disconnect does both); when
 * disconnect() was called and the connection manager has said its last word,
 * or the time for that is over, the queue pair is destroyed. From then on the
 * completion queue only empties, and CLOSED comes when nothing is owed.
 */
#include "rtrs/fabric/verbs.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* legal[from]: the states that may follow. */
static const unsigned legal[VB_N_STATES] = {
	[VB_RESOLVING] = BIT(VB_CONNECTING) | BIT(VB_FAILED) | BIT(VB_CLOSED),
	[VB_CONNECTING] = BIT(VB_LIVE) | BIT(VB_FAILED) | BIT(VB_CLOSED),
	[VB_FAILED] = BIT(VB_CLOSED),
	[VB_REQUESTED] = BIT(VB_ACCEPTING) | BIT(VB_CLOSED),
	[VB_ACCEPTING] = BIT(VB_LIVE) | BIT(VB_DEAD) | BIT(VB_CLOSING),
	[VB_LIVE] = BIT(VB_DEAD) | BIT(VB_CLOSING),
	[VB_DEAD] = BIT(VB_CLOSING),
	[VB_CLOSING] = BIT(VB_CLOSED),
	[VB_CLOSED] = 0,
};

static const char *const state_names[VB_N_STATES] = {
	[VB_RESOLVING] = "RESOLVING", [VB_CONNECTING] = "CONNECTING",
	[VB_FAILED] = "FAILED",       [VB_REQUESTED] = "REQUESTED",
	[VB_ACCEPTING] = "ACCEPTING", [VB_LIVE] = "LIVE",
	[VB_DEAD] = "DEAD",           [VB_CLOSING] = "CLOSING",
	[VB_CLOSED] = "CLOSED",
};

void
vb_conn_set_state(struct vb_conn *c, enum vb_state state)
{
	if (!(legal[c->state] & BIT(state)))
		abort();
	log_dbg(c->ctx->log, "verbs: connection %p: %s -> %s", (void *)c,
		state_names[c->state], state_names[state]);
	c->state = state;
}

struct vb_conn *
vb_conn_new(struct vb_ctx *ctx)
{
	struct vb_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->src.tag = VB_CONN;
	c->ctx = ctx;
	c->state = VB_RESOLVING;
	c->deadline = TIME_NEVER;
	c->listed = true;
	DL_APPEND(ctx->conns, c);
	return c;
}

void
vb_conn_timer(struct vb_conn *c, uint64_t deadline)
{
	c->deadline = deadline;
	vb_ctx_due(c->ctx, deadline);
}

/* --- lists */

void
vb_conn_hot(struct vb_conn *c)
{
	if (c->is_hot)
		return;
	c->is_hot = true;
	DL_APPEND2(c->ctx->hot, c, hot_prev, hot_next);
}

void
vb_conn_cold(struct vb_conn *c)
{
	if (!c->is_hot)
		return;
	c->is_hot = false;
	DL_DELETE2(c->ctx->hot, c, hot_prev, hot_next);
}

void
vb_conn_dirty(struct vb_conn *c)
{
	if (c->is_dirty)
		return;
	c->is_dirty = true;
	DL_APPEND2(c->ctx->dirty, c, dirty_prev, dirty_next);
}

void
vb_conn_clean(struct vb_conn *c)
{
	if (!c->is_dirty)
		return;
	c->is_dirty = false;
	DL_DELETE2(c->ctx->dirty, c, dirty_prev, dirty_next);
}

/* --- queue pair */

static unsigned
at_least_one(unsigned n)
{
	return n ? n : 1;
}

/* Sizes that the device can have; what was asked for is an upper bound. */
static void
clamp(const struct vb_dev *dev, unsigned *send, unsigned *recv)
{
	unsigned max_wr = (unsigned)dev->attr.max_qp_wr;
	unsigned max_cqe = (unsigned)dev->attr.max_cqe;

	if (*send > max_wr)
		*send = max_wr;
	if (*recv > max_wr)
		*recv = max_wr;
	if (*send + *recv <= max_cqe)
		return;
	/* Half of the queue for each, unless one needs less. */
	if (*recv > max_cqe / 2)
		*recv = *send < max_cqe / 2 ? max_cqe - *send : max_cqe / 2;
	*send = max_cqe - *recv;
}

static int
create_cq(struct vb_conn *c, unsigned n)
{
	struct vb_dev *dev = c->dev;
	int vector = 0;

	if (dev->verbs->num_comp_vectors > 0)
		vector = (int)(c->ctx->next_vector++ %
			       (unsigned)dev->verbs->num_comp_vectors);
	errno = 0;
	c->cq = ibv_create_cq(dev->verbs, (int)n, c, dev->comp, vector);
	if (!c->cq)
		return vb_errno();
	return 0;
}

/* Devices count what they can in bytes: less may be possible. */
static int
create_qp(struct vb_conn *c, unsigned *send, unsigned *recv)
{
	struct ibv_qp_init_attr ia;
	unsigned inl = VB_INLINE;
	int r;

	for (;;) {
		ia = (struct ibv_qp_init_attr){
			.qp_context = c,
			.send_cq = c->cq,
			.recv_cq = c->cq,
			.srq = c->shared ? c->pd->srq : NULL,
			.qp_type = IBV_QPT_RC,
			.cap = {.max_send_wr = *send,
				.max_recv_wr = c->shared ? 0 : *recv,
				.max_send_sge = FABRIC_MAX_SGE,
				.max_recv_sge = 1,
				.max_inline_data = inl},
		};
		errno = 0;
		if (!rdma_create_qp(c->id, c->pd->ib, &ia)) {
			c->inline_max = ia.cap.max_inline_data;
			return 0;
		}
		r = vb_errno();
		if (r != -EINVAL && r != -ENOMEM)
			return r;
		if (inl) {
			inl = 0;
		} else if (*send / 2 >= VB_MIN_WR) {
			*send /= 2;
			if (*recv / 2 >= VB_MIN_WR)
				*recv /= 2;
		} else {
			return r;
		}
	}
}

static int
queues(struct vb_conn *c, const struct fabric_conn_params *p)
{
	unsigned send = at_least_one(p->max_send_wr);
	unsigned recv = at_least_one(p->max_recv_wr);
	int r;

	c->shared = p->shared_recv && c->dev->caps & FABRIC_CAP_SHARED_RECV;
	if (c->shared) {
		r = vb_pd_srq(c->pd, recv);
		if (r < 0)
			return r;
		recv = c->pd->rq.cap;
	}
	clamp(c->dev, &send, &recv);
	/* Everything may complete at once, flushed. */
	r = create_cq(c, send + recv);
	if (!r)
		r = create_qp(c, &send, &recv);
	if (r < 0)
		return r;
	if (send < p->max_send_wr || recv < p->max_recv_wr)
		log_info(c->ctx->log,
			 "%s: queues of %u and %u work requests were asked "
			 "for, %u and %u granted",
			 c->dev->name, p->max_send_wr, p->max_recv_wr, send,
			 recv);
	c->sq_cap = send;
	c->sq = calloc(send, sizeof(*c->sq));
	if (!c->sq)
		return -ENOMEM;
	return c->shared ? 0 : vb_rq_init(&c->rq, recv);
}

int
vb_conn_setup(struct vb_conn *c, const struct fabric_conn_params *p)
{
	int r;

	c->why[0] = '\0';
	r = vb_dev_get(c->ctx, c->id, &c->dev);
	if (r < 0)
		return r;
	if (!c->pd)
		c->pd = vb_pd_new(c->ctx, c->dev);
	if (!c->pd)
		return -ENOMEM;
	if (c->pd->dev != c->dev) {
		snprintf(c->why, sizeof(c->why),
			 "the address is on RDMA device %s, the path's first "
			 "connection on %s",
			 c->dev->name, c->pd->dev->name);
		return -EINVAL;
	}
	r = queues(c, p);
	if (r < 0)
		snprintf(c->why, sizeof(c->why),
			 "%s: no queue pair with %u and %u work requests: %s",
			 c->dev->name, p->max_send_wr, p->max_recv_wr,
			 strerror(-r));
	return r;
}

static void
destroy_qp(struct vb_conn *c)
{
	if (!c->id || !c->id->qp)
		return;
	vb_post_forget(c);
	vb_mw_drop_all(c);
	rdma_destroy_qp(c->id);
}

void
vb_conn_drop_id(struct vb_conn *c)
{
	destroy_qp(c);
	if (c->id)
		rdma_destroy_id(c->id);
	c->id = NULL;
}

void
vb_conn_unsetup(struct vb_conn *c)
{
	vb_conn_cold(c);
	vb_conn_clean(c);
	destroy_qp(c);
	if (c->cq)
		ibv_destroy_cq(c->cq);
	c->cq = NULL;
	free(c->sq);
	c->sq = NULL;
	vb_rq_deinit(&c->rq);
	vb_pd_unref((void *)c->pd);
	c->pd = NULL;
	if (c->dev)
		vb_dev_unref(c->dev);
	c->dev = NULL;
}

/* The connection manager leaves a pause that is felt. */
void
vb_conn_rnr_timer(struct vb_conn *c)
{
	struct ibv_qp_attr a = {.min_rnr_timer = VB_RNR_TIMER};
	int r = ibv_modify_qp(c->id->qp, &a, IBV_QP_MIN_RNR_TIMER);

	if (r)
		log_dbg(c->ctx->log, "%s: the RNR timer stays as it is: %s",
			c->dev->name, strerror(r));
}

/* --- the end */

static void
to_error(struct vb_conn *c)
{
	struct ibv_qp_attr a = {.qp_state = IBV_QPS_ERR};

	if (c->id && c->id->qp)
		ibv_modify_qp(c->id->qp, &a, IBV_QP_STATE);
	vb_conn_hot(c);
}

/* Asks the peer, or answers it. */
static void
leave(struct vb_conn *c)
{
	errno = 0;
	if (rdma_disconnect(c->id) < 0) {
		log_dbg(c->ctx->log, "verbs: connection %p: disconnect: %s",
			(void *)c, strerror(errno));
		/* No answer will come. */
		c->cm_over = true;
	} else {
		c->asked = true;
	}
	to_error(c);
}

void
vb_conn_die(struct vb_conn *c, int err)
{
	bool accepting = c->state == VB_ACCEPTING;

	vb_conn_set_state(c, VB_DEAD);
	vb_conn_timer(c, TIME_NEVER);
	vb_post_forget(c);
	if (accepting)
		c->cm_over = true; /* what it says is the end of its id */
	else if (!c->dev->removed)
		leave(c);
	vb_event_queue(c, &c->ev_down, FABRIC_EV_DISCONNECTED, err);
}

static void
closed(struct vb_conn *c)
{
	vb_conn_set_state(c, VB_CLOSED);
	vb_conn_timer(c, TIME_NEVER);
	destroy_qp(c);
	if (c->cq)
		vb_conn_hot(c);
	vb_conn_maybe_closed(c);
}

void
vb_conn_maybe_closed(struct vb_conn *c)
{
	if (c->state != VB_CLOSED || c->sq_head != c->sq_tail || c->rq.n_used)
		return;
	vb_conn_cold(c);
	/* An event of the queue may come after, from before the end. */
	if (c->ev_closed.ev.conn)
		return;
	c->ev_closed.ev.confirmed = c->confirmed;
	vb_event_queue(c, &c->ev_closed, FABRIC_EV_CLOSED, 0);
}

void
vb_conn_cm_over(struct vb_conn *c, bool confirmed)
{
	if (c->cm_over)
		return;
	c->cm_over = true;
	c->confirmed = confirmed;
	if (c->state == VB_CLOSING)
		closed(c);
}

void
vb_disconnect(struct fabric_conn *conn)
{
	struct vb_conn *c = vb_conn(conn);

	if (c->state == VB_CLOSING || c->state == VB_CLOSED)
		return;
	vb_event_drop(c, &c->ev_up);
	vb_event_drop(c, &c->ev_down);
	switch (c->state) {
	case VB_ACCEPTING:
		vb_conn_clean(c);
		vb_conn_set_state(c, VB_CLOSING);
		c->cm_over = true;
		c->confirmed = true; /* it was never told that it is accepted */
		break;
	case VB_LIVE:
		/* What was posted before may still leave. */
		vb_post_pending(c);
		if (c->state == VB_LIVE) {
			vb_conn_clean(c);
			leave(c);
		}
		vb_event_drop(c, &c->ev_down);
		vb_conn_set_state(c, VB_CLOSING);
		break;
	case VB_DEAD:
		vb_conn_set_state(c, VB_CLOSING);
		break;
	default:
		/* Nothing can have been posted that travels. */
		c->confirmed = true;
		vb_conn_drop_id(c);
		closed(c);
		return;
	}
	if (c->cm_over || c->dev->removed)
		closed(c);
	else
		vb_conn_timer(c,
			      time_after_ms(c->ctx->now,
					    c->ctx->p.disconnect_timeout_ms));
}

void
vb_conn_removed(struct vb_conn *c)
{
	switch (c->state) {
	case VB_RESOLVING:
	case VB_CONNECTING:
		vb_connect_failed(c, FABRIC_EV_CONNECT_ERROR, -ENODEV,
				  "the RDMA device was removed");
		break;
	case VB_ACCEPTING:
	case VB_LIVE:
		vb_conn_die(c, -EIO);
		break;
	case VB_CLOSING:
		c->cm_over = true;
		closed(c);
		break;
	case VB_DEAD:
		/* Nothing answers our disconnect any more: no orphan waits. */
		c->cm_over = true;
		break;
	case VB_REQUESTED:
	case VB_FAILED:
	case VB_CLOSED:
		break;
	default:
		break;
	}
}

void
vb_conn_expire(struct vb_conn *c)
{
	c->deadline = TIME_NEVER;
	switch (c->state) {
	case VB_RESOLVING:
	case VB_CONNECTING:
		vb_connect_failed(c, FABRIC_EV_CONNECT_ERROR, -ETIMEDOUT, NULL);
		break;
	case VB_LIVE: /* accepted, and the client does not say that it is */
		vb_conn_die(c, -ETIMEDOUT);
		break;
	case VB_CLOSING:
		closed(c);
		break;
	default:
		break;
	}
}

void
vb_conn_free(struct fabric_conn *conn)
{
	struct vb_conn *c = vb_conn(conn);

	if (!c)
		return;
	vb_event_drop(c, &c->ev_up);
	vb_event_drop(c, &c->ev_down);
	vb_event_drop(c, &c->ev_closed);
	destroy_qp(c);
	if (c->asked && !c->cm_over && vb_orphan_new(c->ctx, c->id))
		c->id = NULL;
	vb_conn_drop_id(c);
	vb_conn_unsetup(c);
	if (c->listed)
		DL_DELETE(c->ctx->conns, c);
	free(c);
}

/* --- what is asked about it */

socklen_t
vb_addr_len(const struct sockaddr *sa)
{
	switch (sa->sa_family) {
	case AF_INET:
		return sizeof(struct sockaddr_in);
	case AF_INET6:
		return sizeof(struct sockaddr_in6);
	case AF_IB:
		return sizeof(struct sockaddr_ib);
	default:
		return 0;
	}
}

void
vb_addr_plain(struct sockaddr_storage *ret, const struct sockaddr *sa)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6;

	memset(ret, 0, sizeof(*ret));
	memcpy(ret, sa, vb_addr_len(sa));
	if (sa->sa_family != AF_INET6)
		return;
	memcpy(&in6, ret, sizeof(in6));
	if (!IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
		return;
	in.sin_port = in6.sin6_port;
	memcpy(&in.sin_addr, in6.sin6_addr.s6_addr + 12, 4);
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, &in, sizeof(in));
}

int
vb_conn_addrs(struct fabric_conn *conn, struct fabric_addrs *ret)
{
	struct vb_conn *c = vb_conn(conn);

	if (!c->id || c->state == VB_RESOLVING)
		return -ENOTCONN;
	vb_addr_plain(&ret->local, rdma_get_local_addr(c->id));
	vb_addr_plain(&ret->peer, rdma_get_peer_addr(c->id));
	return 0;
}

unsigned
vb_conn_caps(struct fabric_conn *conn)
{
	struct vb_conn *c = vb_conn(conn);

	if (c->dev)
		return c->dev->caps;
	return c->id && c->id->verbs ? vb_dev_caps(c->id->verbs) : 0;
}

const char *
vb_conn_device(struct fabric_conn *conn, unsigned *ret_port)
{
	struct vb_conn *c = vb_conn(conn);

	*ret_port = c->id ? c->id->port_num : 0;
	return c->dev ? c->dev->name : NULL;
}

void
vb_conn_limits(struct fabric_conn *conn, struct fabric_limits *ret)
{
	struct vb_conn *c = vb_conn(conn);

	*ret = (struct fabric_limits){
		.send_wr = c->sq_cap,
		.recv_wr = vb_conn_rq(c)->cap,
		.device = c->dev->name,
	};
}

struct fabric_pd *
vb_conn_pd(struct fabric_conn *conn)
{
	return (void *)vb_conn(conn)->pd;
}
