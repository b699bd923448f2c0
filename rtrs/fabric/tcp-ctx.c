/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The context: one epoll set, whose descriptor is the context's descriptor,
 * lists of what is to be done at the next flush or poll, the ring of
 * completions and the queue of events. No timer runs unless something waits.
 */
#include "rtrs/fabric/tcp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <utlist.h>

#define POLL_EVENTS 64
#define POLL_ROUNDS 4
/* Reads of the hot connection before epoll is asked again. */
#define HOT_READS   16
#define CQ_FIRST    64u

static unsigned
or_default(unsigned v, unsigned dflt)
{
	return v ? v : dflt;
}

static int
ctx_new(const struct fabric_ctx_params *p, struct fabric_ctx **ret)
{
	struct tcp_ctx *ctx = calloc(1, sizeof(*ctx));
	int r = -ENOMEM;

	if (!ctx)
		return -ENOMEM;
	ctx->p = *p;
	ctx->p.connect_timeout_ms =
		or_default(p->connect_timeout_ms, TCP_CONNECT_TIMEOUT_MS);
	ctx->p.disconnect_timeout_ms =
		or_default(p->disconnect_timeout_ms, TCP_DISCONNECT_TIMEOUT_MS);
	ctx->p.handshake_timeout_ms =
		or_default(p->handshake_timeout_ms, TCP_HANDSHAKE_TIMEOUT_MS);
	ctx->p.peer_timeout_ms =
		or_default(p->peer_timeout_ms, TCP_PEER_TIMEOUT_MS);
	ctx->p.max_half_open = or_default(p->max_half_open, TCP_MAX_HALF_OPEN);
	ctx->now = p->now;
	ctx->staging = malloc(TCP_STAGING_SIZE);
	if (!ctx->staging)
		goto err_free;
	ctx->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (ctx->epfd < 0) {
		r = -errno;
		goto err_staging;
	}
	*ret = (void *)ctx;
	return 0;

err_staging:
	free(ctx->staging);
err_free:
	free(ctx);
	return r;
}

static void
free_deferred(struct tcp_ctx *ctx)
{
	struct tcp_conn *c;

	while ((c = ctx->free_list)) {
		ctx->free_list = c->free_next;
		free(c);
	}
}

static void
ctx_free(struct fabric_ctx *fctx)
{
	struct tcp_ctx *ctx = tcp_ctx(fctx);
	struct tcp_event *e, *tmp;

	if (!ctx)
		return;
	/* What is left belongs to nobody: strangers, and those sent away. */
	while (ctx->timers[TCP_TIMER_HANDSHAKE])
		tcp_conn_put(ctx->timers[TCP_TIMER_HANDSHAKE]);
	while (ctx->timers[TCP_TIMER_LINGER])
		tcp_conn_put(ctx->timers[TCP_TIMER_LINGER]);
	DL_FOREACH_SAFE(ctx->events, e, tmp)
		if (e->type == FABRIC_EV_CONNECT_REQUEST)
			tcp_conn_put(e->conn);
	free_deferred(ctx);
	close(ctx->epfd);
	free(ctx->cq);
	free(ctx->staging);
	free(ctx);
}

static int
ctx_fd(struct fabric_ctx *ctx)
{
	return tcp_ctx(ctx)->epfd;
}

/*
 * Random bytes are drawn in bulk: the source may be a system call, and a
 * region is registered for each request.
 */
void
tcp_ctx_random(struct tcp_ctx *ctx, void *buf, size_t len)
{
	if (len > ctx->rnd_left) {
		ctx->p.rng.fill(ctx->p.rng.user, ctx->rnd, sizeof(ctx->rnd));
		ctx->rnd_left = sizeof(ctx->rnd);
	}
	ctx->rnd_left -= (unsigned)len;
	memcpy(buf, ctx->rnd + ctx->rnd_left, len);
}

/* --- completions */

int
tcp_cq_reserve(struct tcp_ctx *ctx, unsigned n)
{
	unsigned need, cap = ctx->cq_cap ? ctx->cq_cap : CQ_FIRST;
	struct tcp_cqe *cq;

	if (__builtin_add_overflow(ctx->cq_need, n, &need) ||
	    need > UINT32_MAX / 4)
		return -ENOMEM;
	while (cap < need)
		cap *= 2;
	if (cap != ctx->cq_cap) {
		cq = malloc(cap * sizeof(*cq));
		if (!cq)
			return -ENOMEM;
		for (unsigned i = 0; i < ctx->cq_count; i++)
			cq[i] = ctx->cq[(ctx->cq_head + i) & (ctx->cq_cap - 1)];
		free(ctx->cq);
		ctx->cq = cq;
		ctx->cq_cap = cap;
		ctx->cq_head = 0;
	}
	ctx->cq_need = need;
	return 0;
}

void
tcp_cq_unreserve(struct tcp_ctx *ctx, unsigned n)
{
	ctx->cq_need -= n;
}

struct fabric_wc *
tcp_cq_push(struct tcp_conn *c, uint64_t wr_id, bool is_recv)
{
	struct tcp_ctx *ctx = c->ctx;
	struct tcp_cqe *e;

	if (!ctx->cq_count)
		ctx->cq_head = 0; /* stay in the same few pages */
	e = &ctx->cq[(ctx->cq_head + ctx->cq_count++) & (ctx->cq_cap - 1)];
	e->wc = (struct fabric_wc){
		.conn = (void *)c,
		.user = c->user,
		.wr_id = wr_id,
	};
	e->conn = c;
	e->is_recv = is_recv;
	c->n_cqe++;
	return &e->wc;
}

void
tcp_cq_forget(struct tcp_conn *c)
{
	struct tcp_ctx *ctx = c->ctx;
	unsigned mask = ctx->cq_cap - 1, kept = 0;

	if (!c->n_cqe)
		return;
	for (unsigned i = 0; i < ctx->cq_count; i++) {
		struct tcp_cqe *e = &ctx->cq[(ctx->cq_head + i) & mask];

		if (e->conn != c)
			ctx->cq[(ctx->cq_head + kept++) & mask] = *e;
	}
	ctx->cq_count = kept;
	c->n_cqe = 0;
}

static int
poll_cq(struct fabric_ctx *fctx, struct fabric_wc *wc, int n)
{
	struct tcp_ctx *ctx = tcp_ctx(fctx);
	int i;

	for (i = 0; i < n && ctx->cq_count; i++) {
		struct tcp_cqe *e = &ctx->cq[ctx->cq_head];

		wc[i] = e->wc;
		e->conn->n_cqe--;
		if (e->is_recv)
			e->conn->rx.used--;
		else
			e->conn->tx.used--;
		ctx->cq_head = (ctx->cq_head + 1) & (ctx->cq_cap - 1);
		ctx->cq_count--;
	}
	return i;
}

/* --- events */

void
tcp_event_queue(struct tcp_conn *c, struct tcp_event *e,
		enum fabric_ev_type type, int err)
{
	e->type = type;
	e->err = err;
	e->conn = c;
	e->queued = true;
	DL_APPEND(c->ctx->events, e);
}

void
tcp_event_drop(struct tcp_conn *c, struct tcp_event *e)
{
	if (!e->queued)
		return;
	DL_DELETE(c->ctx->events, e);
	e->queued = false;
}

static bool
next_event(struct fabric_ctx *fctx, struct fabric_event *ret)
{
	struct tcp_ctx *ctx = tcp_ctx(fctx);
	struct tcp_event *e;
	struct tcp_conn *c;

	DL_FOREACH(ctx->events, e) {
		/* CLOSED is the last word: completions go before it. */
		if (e->type != FABRIC_EV_CLOSED || !e->conn->n_cqe)
			break;
	}
	if (!e)
		return false;
	c = e->conn;
	tcp_event_drop(c, e);
	*ret = (struct fabric_event){
		.type = e->type,
		.conn = (void *)c,
		.user = c->user,
		.err = e->err,
		.confirmed = e->confirmed,
	};
	switch (e->type) {
	case FABRIC_EV_CONNECT_ERROR:
		ret->why = c->why;
		return true;
	case FABRIC_EV_CONNECT_REQUEST:
		ret->listener = (void *)c->listener;
		ret->user = c->listener->user;
		/* From here on conn may belong to another thread. */
		c->listener = NULL;
		break;
	case FABRIC_EV_ESTABLISHED:
	case FABRIC_EV_REJECTED:
		break;
	default:
		return true;
	}
	ret->priv = c->priv_len ? c->hs + TCP_HS_SIZE : NULL;
	ret->priv_len = c->priv_len;
	return true;
}

/* --- lists of things to do */

/*
 * Each list holds one kind of time-out, all of one length, so appending keeps
 * it sorted. The clock is only known inside of a poll: what starts outside
 * counts from the next one on, which ctx_arm() makes happen at once.
 */
void
tcp_timer_set(struct tcp_conn *c, enum tcp_timer kind)
{
	struct tcp_ctx *ctx = c->ctx;
	const unsigned ms[TCP_N_TIMERS] = {
		[TCP_TIMER_CONNECT] = ctx->p.connect_timeout_ms,
		[TCP_TIMER_HANDSHAKE] = ctx->p.handshake_timeout_ms,
		[TCP_TIMER_CLOSE] = ctx->p.disconnect_timeout_ms,
		[TCP_TIMER_LINGER] = TCP_LINGER_MS,
	};

	if (c->timer != TCP_TIMER_NONE) {
		DL_DELETE2(ctx->timers[c->timer], c, t_prev, t_next);
		ctx->n_timer[c->timer]--;
		if (!c->deadline)
			ctx->n_unarmed--;
	}
	c->timer = kind;
	if (kind == TCP_TIMER_NONE)
		return;
	DL_APPEND2(ctx->timers[kind], c, t_prev, t_next);
	ctx->n_timer[kind]++;
	if (ctx->in_poll) {
		c->deadline = time_after_ms(ctx->now, ms[kind]);
	} else {
		c->deadline = 0;
		ctx->n_unarmed++;
	}
}

static void
timers_arm(struct tcp_ctx *ctx)
{
	for (int k = 0; ctx->n_unarmed && k < TCP_N_TIMERS; k++) {
		struct tcp_conn *c;

		DL_FOREACH2(ctx->timers[k], c, t_next)
		if (!c->deadline)
			break;
		while (c && !c->deadline) {
			struct tcp_conn *next = c->t_next;

			tcp_timer_set(c, c->timer);
			c = next;
		}
	}
}

static void
timers_expire(struct tcp_ctx *ctx)
{
	for (int k = 0; k < TCP_N_TIMERS; k++) {
		struct tcp_conn *c;

		while ((c = ctx->timers[k]) && c->deadline <= ctx->now)
			tcp_conn_expire(c);
	}
}

void
tcp_mark_dirty(struct tcp_conn *c)
{
	if (c->dirty)
		return;
	DL_APPEND2(c->ctx->dirty, c, d_prev, d_next);
	c->dirty = true;
}

void
tcp_unmark_dirty(struct tcp_conn *c)
{
	if (!c->dirty)
		return;
	DL_DELETE2(c->ctx->dirty, c, d_prev, d_next);
	c->dirty = false;
}

void
tcp_mark_resume(struct tcp_conn *c)
{
	if (c->rx.resuming)
		return;
	DL_APPEND2(c->ctx->resume, c, r_prev, r_next);
	c->rx.resuming = true;
}

void
tcp_unmark_resume(struct tcp_conn *c)
{
	if (!c->rx.resuming)
		return;
	DL_DELETE2(c->ctx->resume, c, r_prev, r_next);
	c->rx.resuming = false;
}

static void
flush(struct tcp_ctx *ctx)
{
	struct tcp_conn *last = ctx->dirty ? ctx->dirty->d_prev : NULL;
	struct tcp_conn *c = NULL;

	/* Whose budget is spent comes back behind the last: next time. */
	while (c != last) {
		c = ctx->dirty;
		tcp_tx_run(c);
	}
}

static void
ctx_flush(struct fabric_ctx *ctx)
{
	flush(tcp_ctx(ctx));
}

static bool
ctx_arm(struct fabric_ctx *fctx)
{
	struct tcp_ctx *ctx = tcp_ctx(fctx);

	flush(ctx);
	return ctx->events || ctx->cq_count || ctx->dirty || ctx->resume ||
	       ctx->n_unarmed;
}

static uint64_t
ctx_deadline(struct fabric_ctx *fctx)
{
	struct tcp_ctx *ctx = tcp_ctx(fctx);
	uint64_t t = TIME_NEVER;
	struct tcp_listener *l;

	if (ctx->n_unarmed)
		return ctx->now;
	for (int k = 0; k < TCP_N_TIMERS; k++)
		if (ctx->timers[k])
			t = time_min(t, ctx->timers[k]->deadline);
	DL_FOREACH(ctx->listeners, l)
		t = time_min(t, l->resume_at);
	return t;
}

/* --- the poll */

static void
shed_log(struct tcp_ctx *ctx)
{
	uint64_t next = time_after_ms(ctx->shed.logged_at, TCP_LOG_INTERVAL_MS);

	if (!(ctx->shed.garbage | ctx->shed.timeout | ctx->shed.crowded) ||
	    (ctx->shed.logged_at && ctx->now < next))
		return;
	log_warn(ctx->p.log,
		 "tcp: closed incoming connections: %" PRIu64
		 " spoke something else, %" PRIu64 " too slow, %" PRIu64
		 " to make room",
		 ctx->shed.garbage, ctx->shed.timeout, ctx->shed.crowded);
	ctx->shed.garbage = ctx->shed.timeout = ctx->shed.crowded = 0;
	ctx->shed.logged_at = ctx->now;
}

/*
 * One connection that carries everything is the common case, and one system
 * call is a good part of what a small request costs. So a connection that was
 * alone twice is read at once; when it has nothing, or has had its share, epoll
 * is asked as usual. Others wait for at most HOT_READS polls: the descriptor of
 * the context stays readable for them.
 */
static bool
read_hot(struct tcp_ctx *ctx)
{
	struct tcp_conn *c = ctx->hot;

	if (!c || ctx->hot_reads >= HOT_READS)
		return false;
	ctx->hot_reads++;
	if (tcp_rx_run(c))
		return true;
	ctx->hot = NULL; /* to be earned again */
	return false;
}

/* n is what epoll found; c, if not NULL, the only one, and live. */
static void
note_hot(struct tcp_ctx *ctx, struct tcp_conn *c, int n)
{
	if (!n)
		return; /* says nothing about who is next */
	ctx->hot = c && c == ctx->alone ? c : NULL;
	ctx->alone = c;
	ctx->hot_reads = 0;
}

static void
drain_epoll(struct tcp_ctx *ctx)
{
	struct epoll_event ev[POLL_EVENTS];

	for (int round = 0; round < POLL_ROUNDS; round++) {
		int n = epoll_wait(ctx->epfd, ev, POLL_EVENTS, 0);
		struct tcp_conn *c = NULL;

		for (int i = 0; i < n; i++) {
			enum tcp_source *source = ev[i].data.ptr;

			if (*source == TCP_SRC_LISTENER) {
				tcp_listener_ready(container_of(
					source, struct tcp_listener, source));
				continue;
			}
			c = container_of(source, struct tcp_conn, source);
			tcp_conn_ready(c, ev[i].events);
		}
		note_hot(ctx, n == 1 && c && c->state == TC_LIVE ? c : NULL, n);
		/* Fewer than asked for: that was all. EINTR: so be it. */
		if (n < POLL_EVENTS)
			break;
	}
}

static void
ctx_poll(struct fabric_ctx *fctx, uint64_t now)
{
	struct tcp_ctx *ctx = tcp_ctx(fctx);
	struct tcp_conn *c, *tmp;
	struct tcp_listener *l;

	free_deferred(ctx);
	ctx->now = now;
	ctx->in_poll = true;
	timers_arm(ctx);
	flush(ctx);
	DL_FOREACH_SAFE2(ctx->resume, c, tmp, r_next)
	tcp_rx_resume(c);
	if (!read_hot(ctx))
		drain_epoll(ctx);
	timers_expire(ctx);
	DL_FOREACH(ctx->listeners, l)
		if (l->resume_at <= now)
			tcp_listener_resume(l);
	shed_log(ctx);
	ctx->in_poll = false;
}

const struct fabric_ops fabric_tcp = {
	.name = "tcp",
	.caps = FABRIC_CAP_CHEAP_MR | FABRIC_CAP_MW | FABRIC_CAP_MW_PD |
		FABRIC_CAP_LAZY_MEM | FABRIC_CAP_MR_REMOTE_INV,
	.ctx_new = ctx_new,
	.ctx_free = ctx_free,
	.ctx_fd = ctx_fd,
	.ctx_arm = ctx_arm,
	.ctx_deadline = ctx_deadline,
	.ctx_poll = ctx_poll,
	.next_event = next_event,
	.poll_cq = poll_cq,
	.ctx_flush = ctx_flush,
	.listen = tcp_listen,
	.listener_addr = tcp_listener_addr,
	.listener_free = tcp_listener_free,
	.connect = tcp_connect,
	.migrate = tcp_migrate,
	.accept = tcp_accept,
	.reject = tcp_reject,
	.disconnect = tcp_disconnect,
	.conn_free = tcp_conn_free,
	.conn_addrs = tcp_conn_addrs,
	.conn_caps = tcp_conn_caps,
	.conn_limits = tcp_conn_limits,
	.conn_pd = tcp_conn_pd,
	.pd_ref = tcp_pd_ref,
	.pd_unref = tcp_pd_unref,
	.pd_numa_node = tcp_pd_numa_node,
	.pd_why = tcp_pd_why,
	.mr_reg = tcp_mr_reg,
	.mr_dereg = tcp_mr_dereg,
	.mw_new = tcp_mw_new,
	.mw_free = tcp_mw_free,
	.post_recv = tcp_post_recv,
	.post_send = tcp_post_send,
};
