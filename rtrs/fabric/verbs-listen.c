/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listeners, connection requests, accepting.
 *
 * accept() makes the queue pair, and the next flush sends the answer: so the
 * receives that are posted in between are there before the client can send.
 */
#include "rtrs/fabric/verbs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool
is_any(const struct sockaddr *sa)
{
	const struct sockaddr_in6 *in6 = (const void *)sa;
	const struct sockaddr_in *in = (const void *)sa;

	if (sa->sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr);
	return sa->sa_family == AF_INET &&
	       in->sin_addr.s_addr == htonl(INADDR_ANY);
}

static int
start(struct vb_listener *l)
{
	struct vb_ctx *ctx = l->ctx;
	struct sockaddr *sa = (void *)&l->addr;
	int off = 0, r;

	errno = 0;
	if (rdma_create_id(ctx->channel, &l->id, &l->src, vb_port_space(sa)) <
	    0) {
		l->id = NULL;
		return vb_errno();
	}
	/* IPv4 too, whatever the system's default is. */
	if (sa->sa_family == AF_INET6 && is_any(sa) &&
	    rdma_set_option(l->id, RDMA_OPTION_ID, RDMA_OPTION_ID_AFONLY, &off,
			    sizeof(off)) < 0)
		goto err;
	if (rdma_bind_addr(l->id, sa) < 0 || rdma_listen(l->id, VB_BACKLOG) < 0)
		goto err;
	memcpy(sa, rdma_get_local_addr(l->id),
	       vb_addr_len(rdma_get_local_addr(l->id)));
	return 0;

err:
	r = vb_errno();
	/* Any address is always available: it is the port that is not. */
	if (r == -EADDRNOTAVAIL && is_any(sa))
		r = -EADDRINUSE;
	rdma_destroy_id(l->id);
	l->id = NULL;
	return r;
}

int
vb_listen(struct fabric_ctx *fctx, const struct sockaddr *addr, socklen_t len,
	  void *user, struct fabric_listener **ret)
{
	struct vb_ctx *ctx = vb_ctx(fctx);
	struct vb_listener *l;
	int r;

	if (len > sizeof(l->addr) || !vb_addr_len(addr))
		return -EINVAL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->src.tag = VB_LISTENER;
	l->ctx = ctx;
	l->user = user;
	l->retry = TIME_NEVER;
	memcpy(&l->addr, addr, len);
	r = start(l);
	if (r < 0) {
		free(l);
		return r;
	}
	DL_APPEND(ctx->listeners, l);
	*ret = (void *)l;
	return 0;
}

void
vb_listener_addr(struct fabric_listener *l, struct sockaddr_storage *ret)
{
	*ret = vb_listener(l)->addr;
}

/* Requests nobody has seen are withdrawn; the others stay. */
void
vb_listener_free(struct fabric_listener *fl)
{
	struct vb_listener *l = vb_listener(fl);
	struct vb_event *e, *next;

	if (!l)
		return;
	for (e = l->ctx->ev_head; e; e = next) {
		next = e->next;
		if (e->ev.type == FABRIC_EV_CONNECT_REQUEST &&
		    e->ev.listener == fl)
			vb_conn_free(e->ev.conn);
	}
	if (l->id)
		rdma_destroy_id(l->id);
	DL_DELETE(l->ctx->listeners, l);
	free(l);
}

/*
 * A listener on one address went with the device of that address. One on any
 * address is on no device, and stays.
 */
void
vb_listener_removed(struct vb_listener *l)
{
	log_warn(l->ctx->log,
		 "a listening address went with its RDMA device; it is tried "
		 "again every %u ms",
		 VB_RELISTEN_MS);
	if (l->id)
		rdma_destroy_id(l->id);
	l->id = NULL;
	l->retry = time_after_ms(l->ctx->now, VB_RELISTEN_MS);
	vb_ctx_due(l->ctx, l->retry);
}

void
vb_listener_retry(struct vb_listener *l)
{
	l->retry = TIME_NEVER;
	if (!start(l)) {
		log_info(l->ctx->log, "listening on an RDMA device again");
		return;
	}
	l->retry = time_after_ms(l->ctx->now, VB_RELISTEN_MS);
	vb_ctx_due(l->ctx, l->retry);
}

void
vb_listener_request(struct vb_listener *l, struct rdma_cm_id *id,
		    const void *priv, size_t len)
{
	struct vb_conn *c = vb_conn_new(l->ctx);
	struct vb_dev *dev;

	/* Watched from now on: librdmacm has just opened it. */
	if (!vb_dev_get(l->ctx, id, &dev))
		vb_dev_unref(dev);
	if (!c) {
		/* Destroying it refuses the request. */
		rdma_destroy_id(id);
		return;
	}
	/* In no list: it may be taken to another thread. */
	DL_DELETE(l->ctx->conns, c);
	c->listed = false;
	c->is_server = true;
	c->state = VB_REQUESTED;
	c->id = id;
	id->context = &c->src;
	memcpy(c->in, priv, len);
	c->ev_up.ev.priv = c->in;
	c->ev_up.ev.priv_len = len;
	c->ev_up.ev.listener = (void *)l;
	c->ev_up.ev.user = l->user;
	vb_event_queue(c, &c->ev_up, FABRIC_EV_CONNECT_REQUEST, 0);
}

static void
enlist(struct vb_conn *c)
{
	if (!c->listed)
		DL_APPEND(c->ctx->conns, c);
	c->listed = true;
}

int
vb_migrate(struct fabric_conn *conn, struct fabric_ctx *to)
{
	struct vb_conn *c = vb_conn(conn);
	struct vb_ctx *ctx = vb_ctx(to);

	errno = 0;
	if (rdma_migrate_id(c->id, ctx->channel) < 0)
		return vb_errno();
	c->ctx = ctx;
	c->migrated = true;
	enlist(c);
	if (c->left)
		vb_event_queue(c, &c->ev_down, FABRIC_EV_DISCONNECTED,
			       -ECONNRESET);
	return 0;
}

int
vb_accept(struct fabric_conn *conn, const struct fabric_conn_params *p)
{
	struct vb_conn *c = vb_conn(conn);
	struct vb_ctx *ctx = c->ctx;
	int r;

	if (c->state != VB_REQUESTED || p->priv_len > VB_PRIV_MAX ||
	    (p->pd && vb_pd(p->pd)->ctx != ctx))
		return -EINVAL;
	if (c->left)
		return -ECONNRESET;
	if (p->pd) {
		vb_pd_ref(p->pd);
		c->pd = vb_pd(p->pd);
	}
	r = vb_conn_setup(c, p);
	if (r < 0) {
		if (c->why[0])
			log_warn(ctx->log, "%s", c->why);
		vb_conn_unsetup(c);
		return r;
	}
	enlist(c);
	c->user = p->user;
	c->params.priv_len = p->priv_len;
	if (p->priv_len)
		memcpy(c->out, p->priv, p->priv_len);
	vb_conn_set_state(c, VB_ACCEPTING);
	vb_conn_timer(c, time_after_ms(ctx->now, ctx->p.handshake_timeout_ms));
	vb_conn_dirty(c);
	return 0;
}

void
vb_accept_send(struct vb_conn *c)
{
	struct rdma_conn_param cp = {
		.private_data = c->out,
		.private_data_len = (uint8_t)c->params.priv_len,
		/* Of the peer's queue pair. */
		.rnr_retry_count = 7,
	};

	errno = 0;
	if (rdma_accept(c->id, &cp) < 0) {
		log_dbg(c->ctx->log, "verbs: connection %p: accept: %s",
			(void *)c, strerror(errno));
		/* Still accepting: there is nothing to be disconnected, and
		 * the end of the id, which is not put off, tells the peer. */
		vb_conn_die(c, -ECONNRESET);
		return;
	}
	vb_conn_set_state(c, VB_LIVE);
	vb_conn_rnr_timer(c);
	vb_conn_hot(c);
}

void
vb_reject(struct fabric_conn *conn, const void *priv, size_t len)
{
	struct vb_conn *c = vb_conn(conn);

	assert(c->state == VB_REQUESTED && len <= VB_PRIV_MAX);
	if (!c->left && rdma_reject(c->id, priv, (uint8_t)len) < 0)
		log_dbg(c->ctx->log, "verbs: connection %p: reject: %s",
			(void *)c, strerror(errno));
	vb_conn_free(conn);
}
