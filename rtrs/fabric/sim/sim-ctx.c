/* SPDX-License-Identifier: BSD-3-Clause */
/* Contexts and listeners: what arrived, and handing it out. */
#include "rtrs/fabric/sim/sim-priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

static int
ctx_new(const struct fabric_ctx_params *p, unsigned caps,
	struct fabric_ctx **ret)
{
	struct sim_node *node = p->priv;
	struct fabric_ctx *ctx;

	sim_require(node, "fabric_ctx_params.priv is the sim_node");
	ctx = sim_alloc(sizeof(*ctx));
	ctx->net = node->net;
	ctx->node = node;
	ctx->caps = caps;
	ctx->rng = p->rng;
	ctx->connect_timeout_ms =
		p->connect_timeout_ms ? p->connect_timeout_ms : 30000;
	ctx->disconnect_timeout_ms =
		p->disconnect_timeout_ms ? p->disconnect_timeout_ms : 30000;
	ctx->handshake_timeout_ms =
		p->handshake_timeout_ms ? p->handshake_timeout_ms : 10000;
	ctx->peer_timeout_ms = p->peer_timeout_ms ? p->peer_timeout_ms : 30000;
	ctx->max_half_open = p->max_half_open ? p->max_half_open : 256;
	DL_APPEND(node->ctxs, ctx);
	ctx->net->counts.ctxs++;
	*ret = ctx;
	return 0;
}

static int
ctx_new_full(const struct fabric_ctx_params *p, struct fabric_ctx **ret)
{
	return ctx_new(p, fabric_sim.caps, ret);
}

static int
ctx_new_rdma(const struct fabric_ctx_params *p, struct fabric_ctx **ret)
{
	return ctx_new(p, fabric_sim_rdma.caps, ret);
}

static int
ctx_new_plain(const struct fabric_ctx_params *p, struct fabric_ctx **ret)
{
	return ctx_new(p, fabric_sim_plain.caps, ret);
}

static void
drop_list(struct sim_cm_event **list, const struct fabric_conn *conn, int type)
{
	struct sim_cm_event *e, *tmp;

	DL_FOREACH_SAFE(*list, e, tmp) {
		if (conn && e->ev.conn != conn)
			continue;
		if (type >= 0 && (int)e->ev.type != type)
			continue;
		if (e->ev.type == FABRIC_EV_CONNECT_REQUEST && conn)
			conn->ctx->half_open--;
		DL_DELETE(*list, e);
		free(e);
	}
}

static void
ctx_free(struct fabric_ctx *ctx)
{
	if (!ctx)
		return;
	sim_require(!ctx->conns, "a connection outlives its context");
	sim_require(!ctx->wc_new && !ctx->wc_polled, "lost completions");
	drop_list(&ctx->ev_new, NULL, -1);
	drop_list(&ctx->ev_polled, NULL, -1);
	drop_list(&ctx->ev_taken, NULL, -1);
	DL_DELETE(ctx->node->ctxs, ctx);
	ctx->net->counts.ctxs--;
	free(ctx);
}

static int
ctx_fd(struct fabric_ctx *ctx)
{
	(void)ctx;
	return -1;
}

static void
ctx_flush(struct fabric_ctx *ctx)
{
	struct fabric_conn *conn;

	if (!ctx->posted)
		return;
	ctx->posted = false;
	DL_FOREACH(ctx->conns, conn)
		sim_qp_issue(conn);
}

static bool
ctx_arm(struct fabric_ctx *ctx)
{
	ctx_flush(ctx);
	return ctx->ev_new || ctx->ev_polled || ctx->wc_new || ctx->wc_polled;
}

static uint64_t
ctx_deadline(struct fabric_ctx *ctx)
{
	/* All time-outs are events of the net. */
	(void)ctx;
	return TIME_NEVER;
}

static void
ctx_poll(struct fabric_ctx *ctx, uint64_t now)
{
	(void)now;
	ctx_flush(ctx);
	drop_list(&ctx->ev_taken, NULL, -1);
	DL_CONCAT(ctx->ev_polled, ctx->ev_new);
	ctx->ev_new = NULL;
	DL_CONCAT(ctx->wc_polled, ctx->wc_new);
	ctx->wc_new = NULL;
}

static bool
next_event(struct fabric_ctx *ctx, struct fabric_event *ret)
{
	struct sim_cm_event *e = ctx->ev_polled;

	if (!e)
		return false;
	DL_DELETE(ctx->ev_polled, e);
	DL_APPEND(ctx->ev_taken, e);
	if (e->ev.type == FABRIC_EV_DISCONNECTED)
		e->ev.conn->death_told = true;
	if (e->ev.type == FABRIC_EV_CONNECT_REQUEST)
		ctx->half_open--;
	else
		e->ev.user = e->ev.conn->user;
	*ret = e->ev;
	return true;
}

static int
poll_cq(struct fabric_ctx *ctx, struct fabric_wc *wc, int n)
{
	struct fabric_conn *conn;
	struct sim_wc *w;
	int i;

	for (i = 0; i < n && ctx->wc_polled; i++) {
		w = ctx->wc_polled;
		DL_DELETE(ctx->wc_polled, w);
		conn = w->wc.conn;
		wc[i] = w->wc;
		wc[i].user = conn->user;
		if (w->recv)
			sim_qp_recv_polled(conn, w->slots);
		else
			conn->sq_used -= w->slots;
		free(w);
		conn->wcs--;
		sim_conn_maybe_report_closed(conn);
	}
	return i;
}

/* --- events and completions of a connection */

static void
evict_oldest_request(struct fabric_ctx *ctx)
{
	struct sim_cm_event *e;

	DL_FOREACH(ctx->ev_polled, e)
		if (e->ev.type == FABRIC_EV_CONNECT_REQUEST) {
			sim_conn_free(e->ev.conn);
			return;
		}
	DL_FOREACH(ctx->ev_new, e)
		if (e->ev.type == FABRIC_EV_CONNECT_REQUEST) {
			sim_conn_free(e->ev.conn);
			return;
		}
}

void
sim_ctx_event(struct fabric_conn *conn, enum fabric_ev_type type, int err,
	      const void *priv, size_t priv_len)
{
	struct fabric_ctx *ctx = conn->ctx;
	struct sim_cm_event *e;

	if (type == FABRIC_EV_CONNECT_REQUEST &&
	    ctx->half_open++ >= ctx->max_half_open)
		evict_oldest_request(ctx);
	e = sim_alloc(sizeof(*e));
	e->ev.type = type;
	e->ev.conn = conn;
	e->ev.err = err;
	if (type == FABRIC_EV_CONNECT_REQUEST) {
		e->ev.listener = conn->listener;
		e->ev.user = conn->listener->user;
	}
	if (type == FABRIC_EV_CLOSED)
		e->ev.confirmed = conn->confirmed;
	if (priv_len) {
		memcpy(e->priv, priv, priv_len);
		/* Verbs hands out the whole field of the packet. */
		if (!(ctx->caps & FABRIC_CAP_CHEAP_MR) && priv_len < 148)
			priv_len = 148;
		e->ev.priv = e->priv;
		e->ev.priv_len = priv_len;
	}
	DL_APPEND(ctx->ev_new, e);
	ctx->node->arrivals++;
}

void
sim_ctx_drop_events(struct fabric_conn *conn, int type)
{
	drop_list(&conn->ctx->ev_new, conn, type);
	drop_list(&conn->ctx->ev_polled, conn, type);
	conn->ctx->node->arrivals++;
}

void
sim_ctx_drop_wcs(struct fabric_conn *conn)
{
	struct sim_wc *w, *tmp;

	conn->ctx->node->arrivals++;
	DL_FOREACH_SAFE(conn->ctx->wc_new, w, tmp) {
		if (w->wc.conn == conn) {
			DL_DELETE(conn->ctx->wc_new, w);
			free(w);
		}
	}
	DL_FOREACH_SAFE(conn->ctx->wc_polled, w, tmp) {
		if (w->wc.conn == conn) {
			DL_DELETE(conn->ctx->wc_polled, w);
			free(w);
		}
	}
}

/* --- listeners */

static uint32_t
in_addr_of(const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *in = (const void *)ss;

	return ss->ss_family == AF_INET ? ntohl(in->sin_addr.s_addr) : 0;
}

static unsigned
port_of(const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *in = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;

	return ntohs(ss->ss_family == AF_INET ? in->sin_port : in6->sin6_port);
}

struct fabric_listener *
sim_listener_find(struct sim_net *net, const struct sockaddr_storage *addr)
{
	struct fabric_listener *l;

	DL_FOREACH(net->listeners, l)
		if (!l->ctx->node->killed &&
		    port_of(&l->addr) == port_of(addr) &&
		    in_addr_of(&l->addr) == in_addr_of(addr))
			return l;
	return NULL;
}

static int
listen_(struct fabric_ctx *ctx, const struct sockaddr *addr, socklen_t len,
	void *user, struct fabric_listener **ret)
{
	struct sockaddr_storage ss = {0}, own;
	struct fabric_listener *l;
	unsigned port;

	if (len > sizeof(ss))
		return -EINVAL;
	memcpy(&ss, addr, len);
	port = port_of(&ss);
	if (!port)
		port = ctx->net->next_port++;
	/* The one address of the node, or any. */
	sim_node_addr(ctx->node, port, &own);
	if (in_addr_of(&ss) && in_addr_of(&ss) != in_addr_of(&own))
		return -EADDRNOTAVAIL;
	if (sim_listener_find(ctx->net, &own))
		return -EADDRINUSE;
	if (sim_call_fails(ctx->net, "listen"))
		return -ENOMEM;
	l = sim_alloc(sizeof(*l));
	l->ctx = ctx;
	l->user = user;
	l->addr = own;
	DL_APPEND(ctx->net->listeners, l);
	ctx->net->counts.listeners++;
	*ret = l;
	return 0;
}

static void
listener_addr(struct fabric_listener *l, struct sockaddr_storage *ret)
{
	*ret = l->addr;
}

/* Requests nobody has seen are withdrawn; the others stay. */
static void
listener_free(struct fabric_listener *l)
{
	struct fabric_conn *conn, *tmp;
	struct sim_cm_event *e;
	bool reported;

	if (!l)
		return;
	DL_FOREACH_SAFE(l->ctx->conns, conn, tmp) {
		if (conn->listener != l || conn->state != SIM_REQUESTED)
			continue;
		reported = true;
		DL_FOREACH(l->ctx->ev_new, e)
			if (e->ev.conn == conn)
				reported = false;
		DL_FOREACH(l->ctx->ev_polled, e)
			if (e->ev.conn == conn)
				reported = false;
		if (!reported)
			sim_conn_free(conn);
	}
	DL_DELETE(l->ctx->net->listeners, l);
	l->ctx->net->counts.listeners--;
	free(l);
}

#define SIM_OPS                                                                \
	.ctx_free = ctx_free, .ctx_fd = ctx_fd, .ctx_arm = ctx_arm,            \
	.ctx_deadline = ctx_deadline, .ctx_poll = ctx_poll,                    \
	.next_event = next_event, .poll_cq = poll_cq, .ctx_flush = ctx_flush,  \
	.listen = listen_, .listener_addr = listener_addr,                     \
	.listener_free = listener_free, .connect = sim_connect,                \
	.migrate = sim_migrate, .accept = sim_accept, .reject = sim_reject,    \
	.disconnect = sim_disconnect, .conn_free = sim_conn_free,              \
	.conn_addrs = sim_conn_addrs, .conn_caps = sim_conn_caps,              \
	.conn_limits = sim_conn_limits, .conn_pd = sim_conn_pd,                \
	.pd_ref = sim_pd_ref, .pd_unref = sim_pd_unref,                        \
	.pd_numa_node = sim_pd_numa_node, .pd_why = sim_pd_why,                \
	.mr_reg = sim_mr_reg, .mr_dereg = sim_mr_dereg, .mw_new = sim_mw_new,  \
	.mw_free = sim_mw_free, .post_recv = sim_post_recv,                    \
	.post_send = sim_post_send

const struct fabric_ops fabric_sim = {
	.name = "sim",
	.caps = FABRIC_CAP_CHEAP_MR | FABRIC_CAP_MW | FABRIC_CAP_MW_PD |
		FABRIC_CAP_LAZY_MEM | FABRIC_CAP_MR_REMOTE_INV |
		FABRIC_CAP_SHARED_RECV,
	.ctx_new = ctx_new_full,
	SIM_OPS,
};

const struct fabric_ops fabric_sim_rdma = {
	.name = "sim-rdma",
	.caps = FABRIC_CAP_MW | FABRIC_CAP_MW_PD | FABRIC_CAP_SHARED_RECV,
	.ctx_new = ctx_new_rdma,
	SIM_OPS,
};

const struct fabric_ops fabric_sim_plain = {
	.name = "sim-plain",
	.caps = 0,
	.ctx_new = ctx_new_plain,
	SIM_OPS,
};
