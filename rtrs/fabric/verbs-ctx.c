/* SPDX-License-Identifier: BSD-3-Clause */
/* Contexts: what is ready, what is due, and handing it out. */
#include "rtrs/fabric/verbs.h"

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define POLL_EVENTS  16
#define QUICK_ROUNDS 16

static void ctx_free(struct fabric_ctx *fctx);

int
vb_ctx_watch(struct vb_ctx *ctx, int fd, struct vb_source *src)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = src};

	return epoll_ctl(ctx->epfd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

void
vb_ctx_due(struct vb_ctx *ctx, uint64_t t)
{
	ctx->deadline = time_min(ctx->deadline, t);
}

void
vb_ctx_wake(struct vb_ctx *ctx)
{
	const uint64_t one = 1;

	/* It can only fail when it is about to wake anyway. */
	if (write(ctx->wake_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
}

static int
open_channel(struct vb_ctx *ctx)
{
	int fl;

	errno = 0;
	ctx->channel = rdma_create_event_channel();
	if (!ctx->channel) {
		int err = errno;

		log_err(ctx->log,
			"no RDMA: %s (is there a device? `rdma link` lists "
			"them; is module rdma_ucm loaded?)",
			strerror(err ? err : ENODEV));
		return err == ENOMEM || err == EMFILE || err == ENFILE ||
				       err == EACCES
			       ? -err
			       : -ENODEV;
	}
	fl = fcntl(ctx->channel->fd, F_GETFL);
	if (fl < 0 || fcntl(ctx->channel->fd, F_SETFL, fl | O_NONBLOCK) < 0 ||
	    fcntl(ctx->channel->fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return vb_ctx_watch(ctx, ctx->channel->fd, &ctx->cm_src);
}

static int
ctx_new(const struct fabric_ctx_params *p, struct fabric_ctx **ret)
{
	struct vb_ctx *ctx;
	int r;

	/* Needs nothing to be registered yet; kernels that copy pinned pages
	 * at fork have no use for it. */
	if (ibv_is_fork_initialized() == IBV_FORK_DISABLED) {
		r = ibv_fork_init();
		if (r)
			log_warn(p->log,
				 "RDMA memory is not safe against fork: %s",
				 strerror(r));
	}
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return -ENOMEM;
	ctx->cm_src.tag = VB_CM;
	ctx->wake_src.tag = VB_WAKE;
	ctx->p = *p;
	ctx->log = p->log;
	ctx->now = p->now;
	ctx->deadline = TIME_NEVER;
	if (!ctx->p.connect_timeout_ms)
		ctx->p.connect_timeout_ms = 30000;
	if (!ctx->p.disconnect_timeout_ms)
		ctx->p.disconnect_timeout_ms = VB_DISCONNECT_MS;
	if (!ctx->p.handshake_timeout_ms)
		ctx->p.handshake_timeout_ms = 10000;
	ctx->wake_fd = -1;
	ctx->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (ctx->epfd >= 0)
		ctx->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ctx->epfd < 0 || ctx->wake_fd < 0) {
		r = -errno;
		goto err;
	}
	r = vb_ctx_watch(ctx, ctx->wake_fd, &ctx->wake_src);
	if (!r)
		r = open_channel(ctx);
	if (r)
		goto err;
	*ret = (void *)ctx;
	return 0;

err:
	ctx_free((void *)ctx);
	return r;
}

static void
ctx_free(struct fabric_ctx *fctx)
{
	struct vb_ctx *ctx = vb_ctx(fctx);

	if (!ctx)
		return;
	assert(!ctx->conns && !ctx->listeners);
	while (ctx->orphans)
		vb_orphan_free(ctx, ctx->orphans);
	while (ctx->devs)
		vb_dev_free(ctx->devs);
	if (ctx->channel)
		rdma_destroy_event_channel(ctx->channel);
	if (ctx->wake_fd >= 0)
		close(ctx->wake_fd);
	if (ctx->epfd >= 0)
		close(ctx->epfd);
	free(ctx);
}

static int
ctx_fd(struct fabric_ctx *ctx)
{
	return vb_ctx(ctx)->epfd;
}

static void
ctx_flush(struct fabric_ctx *fctx)
{
	struct vb_ctx *ctx = vb_ctx(fctx);
	struct vb_conn *c;

	while ((c = ctx->dirty)) {
		vb_conn_clean(c);
		if (c->state == VB_ACCEPTING)
			vb_accept_send(c);
		vb_post_pending(c);
	}
}

static bool
ctx_arm(struct fabric_ctx *fctx)
{
	struct vb_ctx *ctx = vb_ctx(fctx);
	struct vb_conn *c, *next;
	bool some = false;

	ctx_flush(fctx);
	/* To look costs nothing, to ask for an event a system call. */
	for (c = ctx->hot; c && !some; c = c->hot_next)
		some = vb_cq_peek(c);
	if (some || ctx->ev_head)
		return true;
	DL_FOREACH_SAFE2(ctx->hot, c, next, hot_next)
	{
		if (vb_cq_arm(c))
			some = true;
		else
			vb_conn_cold(c);
	}
	ctx->slept = !some;
	return some;
}

static uint64_t
ctx_deadline(struct fabric_ctx *ctx)
{
	return vb_ctx(ctx)->deadline;
}

/*
 * One of ours per queue at most, for each is armed again only after it was
 * found hot. Returns their number.
 */
static unsigned
comp_events(struct vb_dev *dev, unsigned max)
{
	struct ibv_cq *cq;
	unsigned n = 0;
	void *user;

	while (n < max && !ibv_get_cq_event(dev->comp, &cq, &user)) {
		struct vb_conn *c = user;

		ibv_ack_cq_events(cq, 1);
		c->armed = false;
		vb_conn_hot(c);
		n++;
	}
	return n;
}

static void
comp_ready(struct vb_dev *dev)
{
	unsigned n = comp_events(dev, UINT_MAX);

	dev->usual_events = n ? n : 1;
}

/*
 * Most often what woke us is a completion, and a round after which there was
 * no sleep has its work already. Then to ask the epoll set which source it is,
 * and a channel whether it is empty, are two system calls for nothing. What is
 * left out makes the set readable again at once, and its turn comes after
 * QUICK_ROUNDS at the latest. True: there is something to do without it.
 */
static bool
quick_look(struct vb_ctx *ctx)
{
	bool slept = ctx->slept, some = !slept && ctx->hot;
	struct vb_dev *dev;

	ctx->slept = false;
	if (++ctx->quick_rounds >= QUICK_ROUNDS) {
		ctx->quick_rounds = 0;
		return false;
	}
	if (slept)
		DL_FOREACH(ctx->devs, dev)
			if (comp_events(dev, dev->usual_events))
				some = true;
	return some;
}

static void
woken(struct vb_ctx *ctx)
{
	struct vb_conn *c, *next;
	uint64_t n;

	if (read(ctx->wake_fd, &n, sizeof(n)) < 0)
		return;
	DL_FOREACH_SAFE(ctx->conns, c, next) {
		int err =
			__atomic_exchange_n(&c->async_err, 0, __ATOMIC_ACQUIRE);

		if (!err || !vb_conn_alive(c))
			continue;
		if (err != VB_ASYNC_DRAINED) {
			vb_conn_die(c, err);
			continue;
		}
		/* A completion that tells why may be there, too. */
		c->drained = true;
		vb_conn_hot(c);
	}
}

static void
ready(struct vb_ctx *ctx, struct vb_source *src)
{
	switch (src->tag) {
	case VB_COMP:
		comp_ready(container_of(src, struct vb_dev, comp_src));
		break;
	case VB_ASYNC:
		vb_dev_async(container_of(src, struct vb_dev, async_src));
		break;
	case VB_WAKE:
		woken(ctx);
		break;
	case VB_CM:
		vb_cm_ready(ctx);
		break;
	default:
		assert(!"not a source of the epoll set");
		break;
	}
}

static void
expire(struct vb_ctx *ctx)
{
	struct vb_listener *l;
	struct vb_conn *c, *next;

	ctx->deadline = TIME_NEVER;
	DL_FOREACH_SAFE(ctx->conns, c, next) {
		if (ctx->now >= c->deadline)
			vb_conn_expire(c);
		else
			vb_ctx_due(ctx, c->deadline);
	}
	DL_FOREACH(ctx->listeners, l) {
		if (ctx->now >= l->retry)
			vb_listener_retry(l);
		else
			vb_ctx_due(ctx, l->retry);
	}
}

static void
look_everywhere(struct vb_ctx *ctx)
{
	struct epoll_event ev[POLL_EVENTS];
	bool cm = false;
	int n;

	n = epoll_wait(ctx->epfd, ev, POLL_EVENTS, 0);
	/* The connection manager last: it may end a device, and with it other
	 * sources of this batch. */
	for (int i = 0; i < n; i++) {
		if (ev[i].data.ptr == &ctx->cm_src)
			cm = true;
		else
			ready(ctx, ev[i].data.ptr);
	}
	if (cm)
		ready(ctx, &ctx->cm_src);
}

static void
ctx_poll(struct fabric_ctx *fctx, uint64_t now)
{
	struct vb_ctx *ctx = vb_ctx(fctx);

	ctx->now = now;
	ctx_flush(fctx);
	if (!quick_look(ctx))
		look_everywhere(ctx);
	if (now >= ctx->deadline)
		expire(ctx);
}

/* --- events */

void
vb_event_queue(struct vb_conn *c, struct vb_event *e, enum fabric_ev_type type,
	       int err)
{
	struct vb_ctx *ctx = c->ctx;

	assert(!e->queued);
	e->queued = true;
	e->ev.type = type;
	e->ev.conn = (void *)c;
	e->ev.err = err;
	e->prev = ctx->ev_tail;
	e->next = NULL;
	if (ctx->ev_tail)
		ctx->ev_tail->next = e;
	else
		ctx->ev_head = e;
	ctx->ev_tail = e;
}

void
vb_event_drop(struct vb_conn *c, struct vb_event *e)
{
	struct vb_ctx *ctx = c->ctx;

	if (!e->queued)
		return;
	e->queued = false;
	if (e->prev)
		e->prev->next = e->next;
	else
		ctx->ev_head = e->next;
	if (e->next)
		e->next->prev = e->prev;
	else
		ctx->ev_tail = e->prev;
}

static bool
next_event(struct fabric_ctx *fctx, struct fabric_event *ret)
{
	struct vb_ctx *ctx = vb_ctx(fctx);
	struct vb_event *e = ctx->ev_head;
	struct vb_conn *c;

	if (!e)
		return false;
	c = vb_conn(e->ev.conn);
	vb_event_drop(c, e);
	if (e->ev.type != FABRIC_EV_CONNECT_REQUEST)
		e->ev.user = c->user;
	*ret = e->ev;
	return true;
}

const struct fabric_ops fabric_verbs = {
	.name = "verbs",
	.caps = FABRIC_CAP_MW | FABRIC_CAP_MW_PD | FABRIC_CAP_SHARED_RECV,
	.ctx_new = ctx_new,
	.ctx_free = ctx_free,
	.ctx_fd = ctx_fd,
	.ctx_arm = ctx_arm,
	.ctx_deadline = ctx_deadline,
	.ctx_poll = ctx_poll,
	.next_event = next_event,
	.poll_cq = vb_poll_cq,
	.ctx_flush = ctx_flush,
	.listen = vb_listen,
	.listener_addr = vb_listener_addr,
	.listener_free = vb_listener_free,
	.connect = vb_connect,
	.migrate = vb_migrate,
	.accept = vb_accept,
	.reject = vb_reject,
	.disconnect = vb_disconnect,
	.conn_free = vb_conn_free,
	.conn_addrs = vb_conn_addrs,
	.conn_caps = vb_conn_caps,
	.conn_device = vb_conn_device,
	.conn_limits = vb_conn_limits,
	.conn_pd = vb_conn_pd,
	.pd_ref = vb_pd_ref,
	.pd_unref = vb_pd_unref,
	.pd_numa_node = vb_pd_numa_node,
	.pd_why = vb_pd_why,
	.mr_reg = vb_mr_reg,
	.mr_dereg = vb_mr_dereg,
	.mw_new = vb_mw_new,
	.mw_free = vb_mw_free,
	.post_recv = vb_post_recv,
	.post_send = vb_post_send,
	.probe = vb_probe,
};
