/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Events of the connection manager, and connecting.
 *
 * An event is copied and acknowledged before it is acted upon, for whoever
 * destroys an id waits for the acknowledgement of its events. One thing comes
 * before: a request that was reported, and may be on its way to another
 * context, is only marked here, and the acknowledgement is what the migration
 * waits for.
 */
#include "rtrs/fabric/verbs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reasons of a REJ, as IBTA numbers them. */
enum {
	REJ_NO_RESOURCES = 3,
	REJ_TIMEOUT = 4,
	REJ_INVALID_SERVICE_ID = 8,
	REJ_STALE_CONN = 10,
	REJ_CONSUMER = 28,
};

struct cm_event {
	enum rdma_cm_event_type type;
	int status;
	struct rdma_cm_id *id, *listen_id;
	uint8_t priv[FABRIC_PRIV_MAX];
	size_t priv_len;
};

enum rdma_port_space
vb_port_space(const struct sockaddr *sa)
{
	return sa->sa_family == AF_IB ? RDMA_PS_IB : RDMA_PS_TCP;
}

/* --- connecting */

void
vb_connect_failed(struct vb_conn *c, enum fabric_ev_type type, int err,
		  const char *fmt, ...)
{
	va_list ap;

	c->why[0] = '\0';
	if (fmt) {
		va_start(ap, fmt);
		vsnprintf(c->why, sizeof(c->why), fmt, ap);
		va_end(ap);
	}
	log_dbg(c->ctx->log, "verbs: connecting failed: %s%s%s", strerror(-err),
		c->why[0] ? ": " : "", c->why);
	vb_conn_set_state(c, VB_FAILED);
	vb_conn_timer(c, TIME_NEVER);
	vb_conn_drop_id(c);
	vb_conn_unsetup(c);
	c->ev_up.ev.why = c->why[0] ? c->why : NULL;
	vb_event_queue(c, &c->ev_up, type, err);
}

int
vb_connect(struct fabric_ctx *fctx, const struct fabric_conn_params *p,
	   struct fabric_conn **ret)
{
	struct vb_ctx *ctx = vb_ctx(fctx);
	struct sockaddr_storage src, dst;
	struct vb_conn *c;
	int r;

	if (p->priv_len > VB_PRIV_MAX || p->dst_len > sizeof(dst) ||
	    (p->src && p->src_len > sizeof(src)) ||
	    (p->pd && vb_pd(p->pd)->ctx != ctx))
		return -EINVAL;
	c = vb_conn_new(ctx);
	if (!c)
		return -ENOMEM;
	memcpy(&dst, p->dst, p->dst_len);
	if (p->src)
		memcpy(&src, p->src, p->src_len);
	c->user = p->user;
	c->params = *p;
	if (p->priv_len)
		memcpy(c->out, p->priv, p->priv_len);
	if (p->pd) {
		vb_pd_ref(p->pd);
		c->pd = vb_pd(p->pd);
	}
	errno = 0;
	if (rdma_create_id(ctx->channel, &c->id, &c->src,
			   vb_port_space((void *)&dst)) < 0) {
		r = vb_errno();
		c->id = NULL;
		vb_conn_free((void *)c);
		return r;
	}
	vb_conn_timer(c, time_after_ms(ctx->now, ctx->p.connect_timeout_ms));
	*ret = (void *)c;
	errno = 0;
	if (rdma_resolve_addr(c->id, p->src ? (void *)&src : NULL, (void *)&dst,
			      (int)ctx->p.connect_timeout_ms) < 0) {
		r = vb_errno();
		vb_connect_failed(c, FABRIC_EV_CONNECT_ERROR, r,
				  "no RDMA device reaches the address: %s",
				  strerror(-r));
	}
	return 0;
}

int
vb_probe(const struct sockaddr *dst, const struct sockaddr *src,
	 unsigned timeout_ms)
{
	struct sockaddr_storage s, d;
	struct rdma_cm_id *id;
	int r = 0;

	if (!vb_addr_len(dst) || (src && !vb_addr_len(src)))
		return -EAFNOSUPPORT;
	/* rdma_resolve_addr() takes them without const. */
	memcpy(&d, dst, vb_addr_len(dst));
	if (src)
		memcpy(&s, src, vb_addr_len(src));
	/* Without an event channel its calls wait for their outcome. */
	errno = 0;
	if (rdma_create_id(NULL, &id, NULL, vb_port_space(dst)) < 0)
		return vb_errno();
	if (rdma_resolve_addr(id, src ? (void *)&s : NULL, (void *)&d,
			      (int)timeout_ms) < 0 ||
	    /* The loopback interface fails only here. */
	    rdma_resolve_route(id, (int)timeout_ms) < 0)
		r = vb_errno();
	rdma_destroy_id(id);
	return r;
}

static void
addr_resolved(struct vb_conn *c)
{
	errno = 0;
	if (rdma_resolve_route(c->id, (int)c->ctx->p.connect_timeout_ms) < 0)
		vb_connect_failed(c, FABRIC_EV_CONNECT_ERROR, vb_errno(),
				  "no route: %s", strerror(errno));
}

static void
route_resolved(struct vb_conn *c)
{
	struct rdma_conn_param cp = {
		.private_data = c->out,
		.private_data_len = (uint8_t)c->params.priv_len,
		.retry_count = 7,
		.rnr_retry_count = 7,
	};
	int r;

	r = vb_conn_setup(c, &c->params);
	if (r < 0) {
		vb_connect_failed(c, FABRIC_EV_CONNECT_ERROR, r, "%s",
				  c->why[0] ? c->why : strerror(-r));
		return;
	}
	vb_conn_set_state(c, VB_CONNECTING);
	errno = 0;
	if (rdma_connect(c->id, &cp) < 0) {
		r = vb_errno();
		vb_connect_failed(c, FABRIC_EV_CONNECT_ERROR, r, "%s: %s",
				  c->dev->name, strerror(-r));
	}
}

static void
take_priv(struct vb_conn *c, const struct cm_event *ev)
{
	memcpy(c->in, ev->priv, ev->priv_len);
	c->ev_up.ev.priv = c->in;
	c->ev_up.ev.priv_len = ev->priv_len;
	c->ev_up.ev.why = NULL;
}

static void
rejected(struct vb_conn *c, const struct cm_event *ev)
{
	take_priv(c, ev);
	switch (ev->status) {
	case REJ_CONSUMER:
	case -ECONNREFUSED: /* iWARP has one reason for all */
		vb_connect_failed(c, FABRIC_EV_REJECTED, -ECONNREFUSED, NULL);
		break;
	case REJ_INVALID_SERVICE_ID:
		vb_connect_failed(c, FABRIC_EV_CONNECT_ERROR, -ECONNREFUSED,
				  NULL);
		break;
	case REJ_TIMEOUT:
		vb_connect_failed(c, FABRIC_EV_CONNECT_ERROR, -ETIMEDOUT, NULL);
		break;
	case REJ_STALE_CONN:
		vb_connect_failed(c, FABRIC_EV_CONNECT_ERROR, -ECONNREFUSED,
				  "the peer still knows an older connection");
		break;
	case REJ_NO_RESOURCES:
		vb_connect_failed(c, FABRIC_EV_CONNECT_ERROR, -ECONNREFUSED,
				  "the peer has no resources for a connection");
		break;
	default:
		vb_connect_failed(c, FABRIC_EV_CONNECT_ERROR, -ECONNREFUSED,
				  "refused with reason %d", ev->status);
		break;
	}
}

static void
not_connected(struct vb_conn *c, const struct cm_event *ev)
{
	int err = ev->status < 0 ? ev->status : -EHOSTUNREACH;

	switch (ev->type) {
	case RDMA_CM_EVENT_ADDR_ERROR:
		if (err == -ENODEV)
			vb_connect_failed(c, FABRIC_EV_CONNECT_ERROR, err,
					  "no RDMA device reaches the address");
		else
			vb_connect_failed(c, FABRIC_EV_CONNECT_ERROR, err,
					  "the address does not resolve: %s",
					  strerror(-err));
		break;
	case RDMA_CM_EVENT_ROUTE_ERROR:
		vb_connect_failed(c, FABRIC_EV_CONNECT_ERROR, err,
				  "no route: %s", strerror(-err));
		break;
	default:
		vb_connect_failed(c, FABRIC_EV_CONNECT_ERROR, err, NULL);
		break;
	}
}

/* --- events */

static void
established(struct vb_conn *c, const struct cm_event *ev)
{
	if (c->is_server) {
		/* Left before this came: the connection manager has kept that
		 * to itself, for it disconnects only what is established. */
		if (c->state == VB_DEAD || c->state == VB_CLOSING ||
		    c->state == VB_CLOSED)
			rdma_disconnect(c->id);
		if (c->state != VB_LIVE || c->established)
			return;
		c->established = true;
		vb_conn_timer(c, TIME_NEVER);
	} else {
		if (c->state != VB_CONNECTING)
			return;
		take_priv(c, ev);
		vb_conn_set_state(c, VB_LIVE);
		vb_conn_timer(c, TIME_NEVER);
		vb_conn_rnr_timer(c);
		vb_conn_hot(c);
	}
	vb_event_queue(c, &c->ev_up, FABRIC_EV_ESTABLISHED, 0);
}

/* Why a connection dies whose peer ends it. */
static int
left_err(struct vb_conn *c, int status)
{
	struct ibv_qp_init_attr ia;
	struct ibv_qp_attr a = {.qp_state = IBV_QPS_RTS};

	if (status)
		return -ETIMEDOUT;
	/* Nobody here put it into that state: it refused something. */
	if (!ibv_query_qp(c->id->qp, &a, IBV_QP_STATE, &ia) &&
	    a.qp_state == IBV_QPS_ERR)
		return -EPROTO;
	return 0;
}

static void
disconnected(struct vb_conn *c, int status)
{
	int err;

	switch (c->state) {
	case VB_LIVE:
		err = left_err(c, status);
		c->cm_over = true;
		c->confirmed = !status;
		vb_conn_die(c, err);
		break;
	case VB_DEAD:
	case VB_CLOSING:
	case VB_CLOSED:
		vb_conn_cm_over(c, !status);
		break;
	default:
		break;
	}
}

/*
 * The peer does not take it, or is not heard of. That is the connection
 * manager's last word: the id of what was only accepted is back where it began,
 * and though rdma_disconnect() does not complain, nothing leaves and nothing
 * will come: an orphan of it would stay for ever.
 */
static void
not_taken(struct vb_conn *c, int err)
{
	c->cm_over = true;
	vb_conn_die(c, err);
}

static void
conn_event(struct vb_conn *c, const struct cm_event *ev)
{
	switch (ev->type) {
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		if (c->state == VB_RESOLVING)
			addr_resolved(c);
		break;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		if (c->state == VB_RESOLVING)
			route_resolved(c);
		break;
	case RDMA_CM_EVENT_ESTABLISHED:
		established(c, ev);
		break;
	case RDMA_CM_EVENT_REJECTED:
		if (c->state == VB_CONNECTING)
			rejected(c, ev);
		else if (c->state == VB_LIVE)
			not_taken(c, -ECONNRESET);
		else
			vb_conn_cm_over(c, true);
		break;
	case RDMA_CM_EVENT_ADDR_ERROR:
	case RDMA_CM_EVENT_ROUTE_ERROR:
	case RDMA_CM_EVENT_CONNECT_ERROR:
	case RDMA_CM_EVENT_UNREACHABLE:
		if (c->state == VB_RESOLVING || c->state == VB_CONNECTING)
			not_connected(c, ev);
		else if (c->state == VB_LIVE)
			not_taken(c, ev->status == -ETIMEDOUT ? -ETIMEDOUT
							      : -ECONNRESET);
		else
			vb_conn_cm_over(c, false);
		break;
	case RDMA_CM_EVENT_DISCONNECTED:
		disconnected(c, ev->status);
		break;
	case RDMA_CM_EVENT_ADDR_CHANGE:
		/* Bonding: the other port is another device, perhaps. */
		if (c->state == VB_LIVE)
			vb_conn_die(c, -ECONNRESET);
		break;
	default:
		break;
	}
}

/* --- ids without a connection */

bool
vb_orphan_new(struct vb_ctx *ctx, struct rdma_cm_id *id)
{
	struct vb_orphan *o = calloc(1, sizeof(*o));

	if (!o)
		return false;
	o->src.tag = VB_ORPHAN;
	o->id = id;
	id->context = &o->src;
	DL_APPEND(ctx->orphans, o);
	return true;
}

void
vb_orphan_free(struct vb_ctx *ctx, struct vb_orphan *o)
{
	rdma_destroy_id(o->id);
	DL_DELETE(ctx->orphans, o);
	free(o);
}

/* A request that the listener's user has, or that another context has now. */
static bool
is_end_of_request(const struct cm_event *ev)
{
	switch (ev->type) {
	case RDMA_CM_EVENT_REJECTED:
	case RDMA_CM_EVENT_CONNECT_ERROR:
	case RDMA_CM_EVENT_UNREACHABLE:
	case RDMA_CM_EVENT_DISCONNECTED:
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
	case RDMA_CM_EVENT_ADDR_CHANGE:
		return true;
	default:
		return false;
	}
}

static void
orphan_event(struct vb_ctx *ctx, struct vb_orphan *o, const struct cm_event *ev)
{
	/* Left before the client said that it is connected, as in
	 * established(). */
	if (ev->type == RDMA_CM_EVENT_ESTABLISHED && !rdma_disconnect(o->id))
		return;
	/* The message has left, or never will. */
	if (is_end_of_request(ev) || ev->type == RDMA_CM_EVENT_ESTABLISHED ||
	    ev->type == RDMA_CM_EVENT_TIMEWAIT_EXIT)
		vb_orphan_free(ctx, o);
}

static void
dispatch(struct vb_ctx *ctx, const struct cm_event *ev)
{
	struct vb_source *src = ev->id->context;

	if (ev->type == RDMA_CM_EVENT_CONNECT_REQUEST) {
		src = ev->listen_id->context;
		vb_listener_request(container_of(src, struct vb_listener, src),
				    ev->id, ev->priv, ev->priv_len);
		return;
	}
	switch (src->tag) {
	case VB_SENTINEL:
		if (ev->type == RDMA_CM_EVENT_DEVICE_REMOVAL)
			vb_dev_removed(
				container_of(src, struct vb_dev, sentinel_src));
		break;
	case VB_LISTENER:
		if (ev->type == RDMA_CM_EVENT_DEVICE_REMOVAL ||
		    ev->type == RDMA_CM_EVENT_ADDR_CHANGE)
			vb_listener_removed(
				container_of(src, struct vb_listener, src));
		break;
	case VB_CONN: {
		struct vb_conn *c = container_of(src, struct vb_conn, src);

		log_dbg(ctx->log, "verbs: connection %p: %s, status %d",
			(void *)c, rdma_event_str(ev->type), ev->status);
		if (ev->type != RDMA_CM_EVENT_DEVICE_REMOVAL)
			conn_event(c, ev);
		else if (c->dev)
			vb_dev_removed(c->dev);
		else
			vb_conn_removed(c);
		break;
	}
	case VB_ORPHAN:
		orphan_event(ctx, container_of(src, struct vb_orphan, src), ev);
		break;
	default:
		break;
	}
}

/*
 * Requests that were not answered: those that migrated learn it as an event,
 * the others by what accept() returns. True: that is all.
 */
static bool
mark_request(const struct cm_event *ev)
{
	struct vb_source *src = ev->id->context;
	struct vb_conn *c;

	if (ev->type == RDMA_CM_EVENT_CONNECT_REQUEST || src->tag != VB_CONN)
		return false;
	c = container_of(src, struct vb_conn, src);
	if (c->state != VB_REQUESTED)
		return false;
	if (!is_end_of_request(ev) || c->left)
		return true;
	c->left = true;
	if (c->migrated)
		vb_event_queue(c, &c->ev_down, FABRIC_EV_DISCONNECTED,
			       -ECONNRESET);
	return true;
}

void
vb_cm_ready(struct vb_ctx *ctx)
{
	struct rdma_cm_event *e;
	struct cm_event ev;
	bool done;

	while (!rdma_get_cm_event(ctx->channel, &e)) {
		ev = (struct cm_event){
			.type = e->event,
			.status = e->status,
			.id = e->id,
			.listen_id = e->listen_id,
			.priv_len = e->param.conn.private_data_len,
		};
		if (!e->param.conn.private_data)
			ev.priv_len = 0;
		if (ev.priv_len)
			memcpy(ev.priv, e->param.conn.private_data,
			       ev.priv_len);
		done = mark_request(&ev);
		rdma_ack_cm_event(e);
		if (!done)
			dispatch(ctx, &ev);
	}
}
