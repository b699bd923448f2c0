/* SPDX-License-Identifier: BSD-3-Clause */
/* Life of a connection: connect, accept, death, close. */
#include "rtrs/fabric/sim/sim-priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

static struct fabric_conn *
conn_new(struct fabric_ctx *ctx, struct sim_link *link, int end,
	 enum sim_conn_state state)
{
	struct fabric_conn *conn = sim_alloc(sizeof(*conn));

	conn->ctx = ctx;
	conn->link = sim_link_ref(link);
	conn->end = end;
	conn->state = state;
	link->end[end] = conn;
	link->node[end] = ctx->node;
	DL_APPEND(ctx->conns, conn);
	ctx->net->counts.conns++;
	return conn;
}

static void
set_params(struct fabric_conn *conn, const struct fabric_conn_params *p)
{
	conn->user = p->user;
	conn->max_send_wr = p->max_send_wr;
	conn->max_recv_wr = p->max_recv_wr;
	if (p->pd) {
		conn->pd = p->pd;
		sim_pd_ref(conn->pd);
	} else {
		conn->pd = sim_pd_new(conn->ctx);
	}
}

static void
set_priv(struct sim_event *ev, const void *priv, size_t len, size_t max)
{
	sim_require(len <= max, "too much private data");
	if (len)
		memcpy(ev->priv, priv, len);
	ev->priv_len = len;
}

static unsigned
host_of(const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *in = (const void *)ss;

	return ss->ss_family == AF_INET ? ntohl(in->sin_addr.s_addr) & 0xffff
					: 0;
}

static bool
joins(const struct fabric_ctx *ctx, const struct fabric_pd *pd)
{
	return !pd || (pd->net == ctx->net && pd->caps == ctx->caps);
}

/* A source that is pinned is one more address of the node. */
static void
set_source(struct sim_link *link, const struct sim_node *node,
	   const struct fabric_conn_params *p)
{
	struct sockaddr_in in;

	sim_node_addr(node, link->net->next_port++, &link->addrs.local);
	link->host[END_CLT] = node->host;
	if (p->src_len != sizeof(in) || p->src->sa_family != AF_INET)
		return;
	memcpy(&in, p->src, sizeof(in));
	if (!in.sin_port)
		in.sin_port =
			((struct sockaddr_in *)&link->addrs.local)->sin_port;
	memcpy(&link->addrs.local, &in, sizeof(in));
	link->host[END_CLT] = host_of(&link->addrs.local);
}

int
sim_connect(struct fabric_ctx *ctx, const struct fabric_conn_params *p,
	    struct fabric_conn **ret)
{
	struct sim_net *net = ctx->net;
	bool on = sim_faults_on(net);
	struct fabric_conn *conn;
	struct sim_link *link;

	if (ctx->node->killed)
		return -ENETUNREACH;
	if (!joins(ctx, p->pd) || p->dst_len > sizeof(link->addrs.peer))
		return -EINVAL;
	if (sim_call_fails(net, "connect"))
		return -ENOMEM;
	link = sim_link_new(net);
	set_source(link, ctx->node, p);
	memcpy(&link->addrs.peer, p->dst, p->dst_len);
	link->host[END_SRV] = host_of(&link->addrs.peer);
	conn = conn_new(ctx, link, END_CLT, SIM_CONNECTING);
	set_params(conn, p);

	if (on && sim_net_chance(net, net->faults.refuse_ppm)) {
		sim_trace(link, END_CLT, "fault: refused");
		sim_send_cm(link, END_CLT, SIM_EV_REFUSED);
	} else if (on && sim_net_chance(net, net->faults.reject_ppm)) {
		sim_trace(link, END_CLT, "fault: rejected");
		sim_send_cm(link, END_CLT, SIM_EV_REJ);
	} else if (on && sim_net_chance(net, net->faults.req_lost_ppm)) {
		sim_trace(link, END_CLT, "fault: request lost");
	} else {
		set_priv(sim_send_cm(link, END_SRV, SIM_EV_REQ), p->priv,
			 p->priv_len, 56);
	}
	sim_at(link, END_CLT, SIM_EV_CONNECT_TIMEOUT,
	       time_after_ms(net->now, ctx->connect_timeout_ms));
	*ret = conn;
	return 0;
}

int
sim_migrate(struct fabric_conn *conn, struct fabric_ctx *to)
{
	sim_require(conn->state == SIM_REQUESTED, "migrate after the answer");
	sim_require(conn->ctx->net == to->net && conn->ctx->caps == to->caps,
		    "migrate to another fabric");
	DL_DELETE(conn->ctx->conns, conn);
	conn->ctx = to;
	conn->listener = NULL;
	conn->link->node[conn->end] = to->node;
	DL_APPEND(to->conns, conn);
	return 0;
}

int
sim_accept(struct fabric_conn *conn, const struct fabric_conn_params *p)
{
	struct sim_link *link = conn->link;
	struct sim_net *net = link->net;

	sim_require(conn->state == SIM_REQUESTED, "accept without a request");
	if (!joins(conn->ctx, p->pd))
		return -EINVAL;
	if (conn->ctx->node->killed)
		return -ECONNRESET;
	if (sim_call_fails(net, "accept"))
		return -ENOMEM;
	/* The client may have left; it is open when that is noticed. */
	if (conn->peer_left && sim_net_below(net, 2))
		return -ECONNRESET;
	sim_require(!p->shared_recv || conn->ctx->caps & FABRIC_CAP_SHARED_RECV,
		    "shared receives are not offered");
	set_params(conn, p);
	conn->shared = p->shared_recv;
	if (conn->shared && !conn->pd->rq_max)
		conn->pd->rq_max = p->max_recv_wr;
	conn->state = SIM_ACCEPTED;
	conn->listener = NULL;
	if (conn->peer_left) {
		sim_at(link, conn->end, SIM_EV_NOTICE,
		       net->now + sim_delay(net))
			->err = -ECONNRESET;
		return 0;
	}
	if (sim_faults_on(net) && sim_net_chance(net, net->faults.rep_lost_ppm))
		sim_trace(link, END_CLT, "fault: accept lost");
	else
		set_priv(sim_send_cm(link, END_CLT, SIM_EV_REP), p->priv,
			 p->priv_len, 196);
	sim_at(link, END_SRV, SIM_EV_HANDSHAKE_TIMEOUT,
	       time_after_ms(net->now, conn->ctx->handshake_timeout_ms));
	return 0;
}

/* Forgets a connection; what its peer learns was decided before. */
static void
conn_destroy(struct fabric_conn *conn)
{
	struct sim_link *link = conn->link;

	sim_qp_drop(conn);
	sim_ctx_drop_events(conn, -1);
	sim_ctx_drop_wcs(conn);
	if (conn->pd)
		sim_pd_unref(conn->pd);
	DL_DELETE(conn->ctx->conns, conn);
	link->end[conn->end] = NULL;
	link->net->counts.conns--;
	free(conn);
	sim_link_unref(link);
}

void
sim_reject(struct fabric_conn *conn, const void *priv, size_t len)
{
	sim_require(conn->state == SIM_REQUESTED, "reject without a request");
	set_priv(sim_send_cm(conn->link, END_CLT, SIM_EV_REJ), priv, len, 148);
	conn_destroy(conn);
}

void
sim_conn_free(struct fabric_conn *conn)
{
	if (!conn)
		return;
	switch (conn->state) {
	case SIM_CONNECTING:
	case SIM_REQUESTED:
	case SIM_ACCEPTED:
	case SIM_ESTABLISHED:
	case SIM_DEAD:
		sim_send_cm(conn->link, !conn->end, SIM_EV_GONE);
		break;
	case SIM_FAILED:
	case SIM_CLOSING:
	case SIM_CLOSED:
		break;
	}
	conn_destroy(conn);
}

void
sim_disconnect(struct fabric_conn *conn)
{
	struct sim_link *link = conn->link;
	bool reset = conn->state == SIM_DEAD && conn->end == END_CLT &&
		     link->orphaned_at;

	if (conn->state == SIM_CLOSING || conn->state == SIM_CLOSED)
		return;
	sim_ctx_drop_events(conn, -1);
	if (conn->state == SIM_FAILED) {
		sim_conn_closed(conn, true);
		return;
	}
	if (conn->state == SIM_REQUESTED) {
		sim_send_cm(link, END_CLT, SIM_EV_REJ);
		sim_conn_closed(conn, true);
		return;
	}
	if (sim_conn_alive(conn))
		sim_qp_flush(conn);
	conn->state = SIM_CLOSING;
	if (conn->peer_left || conn->ctx->node->killed) {
		if (conn->owes_drep)
			sim_send_cm(link, !conn->end, SIM_EV_DREP);
		sim_conn_closed(conn, true);
		return;
	}
	/* As a socket that was reset: no answer comes, and nothing is known. */
	if (reset) {
		sim_conn_closed(conn, false);
		return;
	}
	sim_send_cm(link, !conn->end, SIM_EV_DREQ);
	sim_at(link, conn->end, SIM_EV_DISCONNECT_TIMEOUT,
	       time_after_ms(link->net->now, conn->ctx->disconnect_timeout_ms));
}

void
sim_conn_maybe_report_closed(struct fabric_conn *conn)
{
	if (!conn->closed_waits || conn->wcs)
		return;
	conn->closed_waits = false;
	sim_ctx_event(conn, FABRIC_EV_CLOSED, 0, NULL, 0);
}

void
sim_conn_closed(struct fabric_conn *conn, bool confirmed)
{
	conn->state = SIM_CLOSED;
	conn->confirmed = confirmed;
	conn->closed_waits = true;
	sim_conn_maybe_report_closed(conn);
}

static void
conn_fail(struct fabric_conn *conn, enum fabric_ev_type type, int err,
	  const void *priv, size_t len)
{
	conn->state = SIM_FAILED;
	sim_ctx_event(conn, type, err, priv, len);
}

void
sim_conn_die(struct fabric_conn *conn, int err)
{
	switch (conn->state) {
	case SIM_CONNECTING:
		conn_fail(conn, FABRIC_EV_CONNECT_ERROR,
			  err == -ETIMEDOUT ? err : -EHOSTUNREACH, NULL, 0);
		break;
	case SIM_REQUESTED:
		conn->peer_left = true;
		break;
	case SIM_ACCEPTED:
	case SIM_ESTABLISHED:
		sim_trace(conn->link, conn->end, "is dead: %s", strerror(-err));
		conn->state = SIM_DEAD;
		sim_qp_flush(conn);
		sim_ctx_event(conn, FABRIC_EV_DISCONNECTED, err, NULL, 0);
		break;
	case SIM_DEAD:
	case SIM_FAILED:
	case SIM_CLOSING:
	case SIM_CLOSED:
		break;
	}
}

int
sim_conn_addrs(struct fabric_conn *conn, struct fabric_addrs *ret)
{
	if (conn->state == SIM_CONNECTING || conn->state == SIM_FAILED)
		return -ENOTCONN;
	if (conn->end == END_CLT) {
		*ret = conn->link->addrs;
	} else {
		ret->local = conn->link->addrs.peer;
		ret->peer = conn->link->addrs.local;
	}
	return 0;
}

unsigned
sim_conn_caps(struct fabric_conn *conn)
{
	return conn->ctx->caps;
}

void
sim_conn_limits(struct fabric_conn *conn, struct fabric_limits *ret)
{
	*ret = (struct fabric_limits){
		.send_wr = conn->max_send_wr,
		.recv_wr = conn->shared ? conn->pd->rq_max : conn->max_recv_wr,
		.device = ""};
}

struct fabric_pd *
sim_conn_pd(struct fabric_conn *conn)
{
	sim_require(conn->state != SIM_CONNECTING &&
			    conn->state != SIM_REQUESTED,
		    "conn_pd before ESTABLISHED or accept()");
	return conn->pd;
}

/* --- messages of connection managers */

static void
request_arrived(struct sim_link *link, const struct sim_event *ev)
{
	struct fabric_listener *l =
		sim_listener_find(link->net, &link->addrs.peer);
	struct fabric_conn *conn;

	if (!l) {
		sim_send_cm(link, END_CLT, SIM_EV_REFUSED);
		return;
	}
	conn = conn_new(l->ctx, link, END_SRV, SIM_REQUESTED);
	conn->listener = l;
	sim_ctx_event(conn, FABRIC_EV_CONNECT_REQUEST, 0, ev->priv,
		      ev->priv_len);
}

void
sim_conn_cm_stray(struct sim_link *link, struct sim_event *ev)
{
	if (ev->kind == SIM_EV_REQ)
		request_arrived(link, ev);
	else if (ev->kind == SIM_EV_DREQ)
		sim_send_cm(link, !ev->end, SIM_EV_DREP);
	else if (ev->kind == SIM_EV_REP)
		sim_send_cm(link, !ev->end, SIM_EV_GONE);
}

static void
accept_arrived(struct fabric_conn *conn, const struct sim_event *ev)
{
	if (conn->state != SIM_CONNECTING) {
		/* CLOSING: a DREQ is behind the request already. */
		if (conn->state == SIM_FAILED)
			sim_send_cm(conn->link, !conn->end, SIM_EV_GONE);
		return;
	}
	conn->state = SIM_ESTABLISHED;
	sim_ctx_event(conn, FABRIC_EV_ESTABLISHED, 0, ev->priv, ev->priv_len);
	sim_send_cm(conn->link, !conn->end, SIM_EV_RTU);
	sim_qp_receive(conn);
}

/* The peer's end is closed: in order (DREQ), or it is just no more. */
static void
peer_left(struct fabric_conn *conn, const struct sim_event *ev)
{
	bool asked = ev->kind == SIM_EV_DREQ;

	conn->peer_left = true;
	if (conn->state == SIM_CONNECTING)
		conn_fail(conn, FABRIC_EV_CONNECT_ERROR, -ECONNREFUSED, NULL,
			  0);
	else if (conn->state == SIM_CLOSING)
		sim_conn_closed(conn, true);
	else
		sim_conn_die(conn, asked ? 0 : -ECONNRESET);
	if (!asked)
		return;
	if (conn->link->drep_late && conn->state == SIM_DEAD &&
	    !conn->ctx->node->killed)
		conn->owes_drep = true;
	else
		sim_send_cm(conn->link, !conn->end, SIM_EV_DREP);
}

void
sim_conn_cm(struct fabric_conn *conn, struct sim_event *ev)
{
	switch (ev->kind) {
	case SIM_EV_REP:
		accept_arrived(conn, ev);
		break;
	case SIM_EV_RTU:
		if (conn->state != SIM_ACCEPTED)
			break;
		conn->state = SIM_ESTABLISHED;
		sim_ctx_event(conn, FABRIC_EV_ESTABLISHED, 0, NULL, 0);
		break;
	case SIM_EV_REJ:
		if (conn->state == SIM_CONNECTING)
			conn_fail(conn, FABRIC_EV_REJECTED, -ECONNREFUSED,
				  ev->priv, ev->priv_len);
		else if (conn->state == SIM_CLOSING)
			sim_conn_closed(conn, true);
		break;
	case SIM_EV_REFUSED:
		if (conn->state == SIM_CONNECTING)
			conn_fail(conn, FABRIC_EV_CONNECT_ERROR, -ECONNREFUSED,
				  NULL, 0);
		else if (conn->state == SIM_CLOSING)
			sim_conn_closed(conn, true);
		break;
	case SIM_EV_DREQ:
	case SIM_EV_GONE:
		peer_left(conn, ev);
		break;
	case SIM_EV_DREP:
		if (conn->state == SIM_CLOSING)
			sim_conn_closed(conn, true);
		break;
	case SIM_EV_CONNECT_TIMEOUT:
		if (conn->state == SIM_CONNECTING)
			conn_fail(conn, FABRIC_EV_CONNECT_ERROR, -ETIMEDOUT,
				  NULL, 0);
		break;
	case SIM_EV_HANDSHAKE_TIMEOUT:
		if (conn->state == SIM_ACCEPTED)
			sim_conn_die(conn, -ETIMEDOUT);
		break;
	case SIM_EV_DISCONNECT_TIMEOUT:
		if (conn->state == SIM_CLOSING)
			sim_conn_closed(conn, false);
		break;
	default:
		break;
	}
}
