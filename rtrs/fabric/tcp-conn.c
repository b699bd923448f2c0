/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Life and death of a connection: its states, its end, and who closes the
 * socket when.
 */
#include "rtrs/fabric/tcp.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/* legal[from]: the states that may follow. */
static const unsigned legal[TC_N_STATES] = {
	[TC_CONNECTING] = BIT(TC_HELLO_SENT) | BIT(TC_FAILED) | BIT(TC_CLOSED),
	[TC_HELLO_SENT] = BIT(TC_LIVE) | BIT(TC_FAILED) | BIT(TC_CLOSED),
	[TC_FAILED] = BIT(TC_CLOSED),
	[TC_HALF_OPEN] = BIT(TC_REQUESTED),
	[TC_REQUESTED] = BIT(TC_LIVE) | BIT(TC_LINGERING) | BIT(TC_CLOSED),
	[TC_LINGERING] = 0,
	[TC_LIVE] = BIT(TC_DEAD) | BIT(TC_CLOSING) | BIT(TC_CLOSED),
	[TC_DEAD] = BIT(TC_CLOSING) | BIT(TC_CLOSED),
	[TC_CLOSING] = BIT(TC_CLOSED),
	[TC_CLOSED] = 0,
};

static const char *const state_names[TC_N_STATES] = {
	[TC_CONNECTING] = "CONNECTING",
	[TC_HELLO_SENT] = "HELLO_SENT",
	[TC_FAILED] = "FAILED",
	[TC_HALF_OPEN] = "HALF_OPEN",
	[TC_REQUESTED] = "REQUESTED",
	[TC_LINGERING] = "LINGERING",
	[TC_LIVE] = "LIVE",
	[TC_DEAD] = "DEAD",
	[TC_CLOSING] = "CLOSING",
	[TC_CLOSED] = "CLOSED",
};

/* c is not the hot connection of its context any more. */
static void
tcp_conn_cool(struct tcp_conn *c)
{
	if (c->ctx->hot == c)
		c->ctx->hot = NULL;
}

void
tcp_conn_set_state(struct tcp_conn *c, enum tcp_state state)
{
	if (!(legal[c->state] & BIT(state)))
		abort();
	log_dbg(c->ctx->p.log, "tcp: connection %p: %s -> %s", (void *)c,
		state_names[c->state], state_names[state]);
	c->state = state;
	if (state != TC_LIVE)
		tcp_conn_cool(c);
}

struct tcp_conn *
tcp_conn_new(struct tcp_ctx *ctx, int fd)
{
	struct tcp_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->source = TCP_SRC_CONN;
	c->ctx = ctx;
	c->fd = fd;
	c->timer = TCP_TIMER_NONE;
	return c;
}

int
tcp_conn_watch(struct tcp_conn *c, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = &c->source};
	int op, r;

	if (events == c->watched)
		return 0;
	if (!c->watched)
		op = EPOLL_CTL_ADD;
	else
		op = events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
	r = epoll_ctl(c->ctx->epfd, op, c->fd, &ev);
	if (r < 0 && op == EPOLL_CTL_ADD)
		return -errno;
	/* The others take no memory and find what is there. */
	assert(!r);
	c->watched = events;
	return 0;
}

/* To be called where connections are watched and their wishes changed. */
void
tcp_conn_rewatch(struct tcp_conn *c)
{
	uint32_t events = EPOLLIN;

	if (!c->watched)
		return;
	if (c->state == TC_LIVE)
		events = (c->rx.stalled ? 0 : EPOLLIN) | EPOLLRDHUP;
	if (c->tx.blocked)
		events |= EPOLLOUT;
	tcp_conn_watch(c, events);
}

void
tcp_conn_close_fd(struct tcp_conn *c)
{
	if (c->fd < 0)
		return;
	tcp_conn_watch(c, 0); /* a forked child could keep it in the set */
	close(c->fd);
	c->fd = -1;
}

/* Resets: what is on its way to the peer is dropped too. */
static void
abort_fd(struct tcp_conn *c)
{
	const struct linger lg = {.l_onoff = 1};

	if (c->fd >= 0)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &lg, sizeof(lg));
	tcp_conn_close_fd(c);
}

void
tcp_conn_idle(struct tcp_conn *c)
{
	tcp_unmark_dirty(c);
	tcp_unmark_resume(c);
	tcp_timer_set(c, TCP_TIMER_NONE);
}

void
tcp_conn_put(struct tcp_conn *c)
{
	struct tcp_ctx *ctx = c->ctx;

	tcp_conn_cool(c);
	tcp_conn_idle(c);
	tcp_event_drop(c, &c->ev_up);
	tcp_event_drop(c, &c->ev_down);
	tcp_event_drop(c, &c->ev_closed);
	tcp_cq_forget(c);
	tcp_cq_unreserve(ctx, c->tx.cap + c->rx.cap);
	tcp_conn_close_fd(c);
	free(c->tx.ring);
	free(c->rx.ring);
	free(c->rx.stash);
	tcp_pd_unref((void *)c->pd);
	c->free_next = ctx->free_list;
	ctx->free_list = c;
}

int
tcp_conn_setup(struct tcp_conn *c, const struct fabric_conn_params *p)
{
	unsigned n_tx = p->max_send_wr ? p->max_send_wr : 1;
	unsigned n_rx = p->max_recv_wr ? p->max_recv_wr : 1;
	struct tcp_pd *pd = tcp_pd(p->pd);
	struct tcp_swr *tx = NULL;
	struct tcp_rwr *rx = NULL;
	unsigned n;
	int r = -ENOMEM;

	if (pd && pd->ctx != c->ctx)
		return -EINVAL;
	if (__builtin_add_overflow(n_tx, n_rx, &n))
		return -EINVAL;
	tx = calloc(n_tx, sizeof(*tx));
	rx = calloc(n_rx, sizeof(*rx));
	if (!tx || !rx)
		goto err_free;
	r = tcp_cq_reserve(c->ctx, n);
	if (r < 0)
		goto err_free;
	if (pd)
		pd->refs++;
	else
		pd = tcp_pd_new(c->ctx);
	if (!pd) {
		r = -ENOMEM;
		goto err_cq;
	}
	c->pd = pd;
	c->user = p->user;
	c->tx.ring = tx;
	c->tx.cap = n_tx;
	c->rx.ring = rx;
	c->rx.cap = n_rx;
	tcp_rx_init(&c->rx);
	return 0;

err_cq:
	tcp_cq_unreserve(c->ctx, n);
err_free:
	free(tx);
	free(rx);
	return r;
}

int
tcp_conn_sockopts(struct tcp_conn *c)
{
	unsigned ms = c->ctx->p.peer_timeout_ms;
	/* First probe after half of the time, then three more. */
	int idle = (int)(ms / 2000), intvl = (int)(ms / 8000);
	int on = 1, cnt = 3, user = (int)ms;
	const struct {
		int level, name;
		int val;
	} opt[] = {
		{IPPROTO_TCP, TCP_NODELAY, on},
		{SOL_SOCKET, SO_KEEPALIVE, on},
		{IPPROTO_TCP, TCP_KEEPIDLE, idle ? idle : 1},
		{IPPROTO_TCP, TCP_KEEPINTVL, intvl ? intvl : 1},
		{IPPROTO_TCP, TCP_KEEPCNT, cnt},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, user},
	};

	for (size_t i = 0; i < ARRAY_SIZE(opt); i++)
		if (setsockopt(c->fd, opt[i].level, opt[i].name, &opt[i].val,
			       sizeof(opt[i].val)) < 0)
			return -errno;
	return 0;
}

int
tcp_conn_name(struct tcp_conn *c)
{
	socklen_t llen = sizeof(c->local), plen = sizeof(c->peer);

	if (getsockname(c->fd, &c->local.sa, &llen) < 0 ||
	    getpeername(c->fd, &c->peer.sa, &plen) < 0)
		return -errno;
	return 0;
}

static bool
same_host(const struct tcp_conn *c)
{
	if (c->local.sa.sa_family != c->peer.sa.sa_family)
		return false;
	if (c->local.sa.sa_family == AF_INET6)
		return IN6_ARE_ADDR_EQUAL(&c->local.in6.sin6_addr,
					  &c->peer.in6.sin6_addr);
	return c->local.in.sin_addr.s_addr == c->peer.in.sin_addr.s_addr;
}

/*
 * Without a wire there is nothing to keep full: what is under way only falls
 * out of the cache before it is read. Between hosts the kernel sizes the
 * buffer by what the path takes.
 */
void
tcp_conn_tune(struct tcp_conn *c)
{
	const int size = TCP_LOCAL_SNDBUF;

	if (same_host(c) &&
	    setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0)
		log_dbg(c->ctx->p.log, "tcp: SO_SNDBUF: %s", strerror(errno));
}

/* A v4 client of a v6 listener is a v4 client: access rules look at this. */
static void
put_addr(struct sockaddr_storage *ret, const union tcp_addr *a)
{
	struct sockaddr_in in = {.sin_family = AF_INET};

	memset(ret, 0, sizeof(*ret));
	if (a->sa.sa_family == AF_INET6 &&
	    IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
		in.sin_port = a->in6.sin6_port;
		memcpy(&in.sin_addr, a->in6.sin6_addr.s6_addr + 12, 4);
		memcpy(ret, &in, sizeof(in));
	} else {
		memcpy(ret, a, sizeof(*a));
	}
}

int
tcp_conn_addrs(struct fabric_conn *conn, struct fabric_addrs *ret)
{
	struct tcp_conn *c = tcp_conn(conn);

	if (!c->peer.sa.sa_family)
		return -ENOTCONN;
	put_addr(&ret->local, &c->local);
	put_addr(&ret->peer, &c->peer);
	return 0;
}

unsigned
tcp_conn_caps(struct fabric_conn *conn)
{
	(void)conn;
	return fabric_tcp.caps;
}

void
tcp_conn_limits(struct fabric_conn *conn, struct fabric_limits *ret)
{
	const struct tcp_conn *c = tcp_conn(conn);

	*ret = (struct fabric_limits){
		.send_wr = c->tx.cap, .recv_wr = c->rx.cap, .device = ""};
}

struct fabric_pd *
tcp_conn_pd(struct fabric_conn *conn)
{
	return (void *)tcp_conn(conn)->pd;
}

int
tcp_down_err(int err)
{
	switch (err) {
	case EPIPE:
	case ECONNRESET:
	case ECONNABORTED:
	case ENOTCONN:
		return -ECONNRESET;
	case ETIMEDOUT:
	/* Soft errors that the kernel reports when its patience is over. */
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EHOSTDOWN:
	case ENETDOWN:
		return -ETIMEDOUT;
	default:
		return -EIO;
	}
}

/* --- the end */

/* Best effort: the socket may be full, the peer will see the FIN anyway. */
static void
last_frame(struct tcp_conn *c, enum tcp_frame_op op, unsigned why)
{
	const struct tcp_frame f = {.op = (uint8_t)op, .arg = why};

	tcp_frame_encode(c->tx.ctl, &f);
	c->tx.ctl_len = TCP_FRAME_SIZE;
	c->tx.ctl_off = 0;
}

/* why: what the peer is told, 0: nothing. */
static void
die(struct tcp_conn *c, enum tcp_death death, int err, unsigned why)
{
	tcp_conn_set_state(c, TC_DEAD);
	c->death = death;
	tcp_conn_idle(c);
	tcp_tx_flush(c);
	tcp_rx_flush(c);
	if (death == TCP_DEATH_BROKEN)
		tcp_conn_close_fd(c);
	else
		tcp_conn_watch(c, 0);
	if (death == TCP_DEATH_ENDED) {
		if (why && !c->cut)
			last_frame(c, TCP_OP_ERROR, why);
		c->tx.fin_after = true;
		tcp_tx_run(c);
	}
	tcp_event_queue(c, &c->ev_down, FABRIC_EV_DISCONNECTED, err);
}

void
tcp_conn_die(struct tcp_conn *c, enum tcp_death death, int err)
{
	die(c, death, err, 0);
}

void
tcp_conn_violation(struct tcp_conn *c, enum tcp_violation why)
{
	log_dbg(c->ctx->p.log, "tcp: connection ended: violation by peer: %s",
		tcp_violation_name(why));
	die(c, TCP_DEATH_ENDED, -EPROTO, why);
}

static void
closed(struct tcp_conn *c, bool confirmed)
{
	tcp_conn_idle(c);
	tcp_conn_close_fd(c);
	tcp_conn_set_state(c, TC_CLOSED);
	c->ev_closed.confirmed = confirmed;
	tcp_event_queue(c, &c->ev_closed, FABRIC_EV_CLOSED, 0);
}

static void
disconnect_live(struct tcp_conn *c)
{
	/* What was posted before may still leave, as far as there is room. */
	tcp_tx_run(c);
	tcp_conn_idle(c);
	tcp_tx_flush(c);
	tcp_rx_flush(c);
	if (c->tx.err) {
		closed(c, false);
		return;
	}
	tcp_conn_set_state(c, TC_CLOSING);
	if (!c->cut)
		last_frame(c, TCP_OP_DISCONNECT, 0);
	c->tx.fin_after = true;
	tcp_tx_run(c);
	tcp_conn_rewatch(c); /* a stalled connection reads again */
	tcp_timer_set(c, TCP_TIMER_CLOSE);
}

static void
disconnect_dead(struct tcp_conn *c)
{
	switch (c->death) {
	case TCP_DEATH_BROKEN:
		closed(c, false);
		break;
	case TCP_DEATH_LEFT:
		if (!c->cut)
			last_frame(c, TCP_OP_DISCONNECT, 0);
		tcp_tx_run(c);
		closed(c, true);
		break;
	case TCP_DEATH_ENDED:
		/*
		 * Our verdict is on its way, and closing over unread bytes
		 * would reset it away. It need not be waited for as long as
		 * for an answer.
		 */
		tcp_conn_set_state(c, TC_CLOSING);
		if (tcp_conn_watch(c, EPOLLIN) < 0) {
			closed(c, false);
			break;
		}
		tcp_conn_rewatch(c);
		tcp_timer_set(c, TCP_TIMER_LINGER);
		break;
	}
}

void
tcp_disconnect(struct fabric_conn *conn)
{
	struct tcp_conn *c = tcp_conn(conn);

	if (c->state == TC_CLOSING || c->state == TC_CLOSED)
		return;
	tcp_event_drop(c, &c->ev_up);
	tcp_event_drop(c, &c->ev_down);
	switch (c->state) {
	case TC_LIVE:
		disconnect_live(c);
		break;
	case TC_DEAD:
		disconnect_dead(c);
		break;
	default:
		/* Nothing can have been posted that travels. */
		if (c->rx.ring)
			tcp_rx_flush(c);
		closed(c, true);
		break;
	}
}

void
tcp_conn_free(struct fabric_conn *conn)
{
	if (conn)
		tcp_conn_put(tcp_conn(conn));
}

/* CLOSING and LINGERING: waits for the peer's FIN. */
static void
ending_ready(struct tcp_conn *c, uint32_t events)
{
	int r;

	if (events & EPOLLOUT)
		tcp_tx_run(c);
	if (!(events & ~EPOLLOUT))
		return;
	r = tcp_rx_drain(c);
	if (!r)
		return;
	if (c->state == TC_LINGERING)
		tcp_conn_put(c);
	else
		closed(c, r > 0 && !c->tx.err);
}

static void
live_ready(struct tcp_conn *c, uint32_t events)
{
	if (events & EPOLLOUT)
		tcp_tx_run(c);
	if (!(events & ~EPOLLOUT))
		return;
	if (!c->rx.stalled) {
		tcp_rx_run(c);
	} else if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		tcp_rx_discard(c);
	} else {
		/* Nothing can be done until a receive is posted. */
		tcp_conn_rewatch(c);
	}
}

void
tcp_conn_ready(struct tcp_conn *c, uint32_t events)
{
	if (c->fd < 0)
		return;
	switch (c->state) {
	case TC_CONNECTING:
		tcp_connecting_ready(c);
		break;
	case TC_HELLO_SENT:
		if (events & EPOLLOUT)
			tcp_tx_run(c);
		if (events & ~EPOLLOUT)
			tcp_reply_ready(c);
		break;
	case TC_HALF_OPEN:
		tcp_hello_ready(c);
		break;
	case TC_LIVE:
		live_ready(c, events);
		break;
	case TC_LINGERING:
	case TC_CLOSING:
		ending_ready(c, events);
		break;
	default:
		break;
	}
}

void
tcp_conn_expire(struct tcp_conn *c)
{
	switch (c->state) {
	case TC_CONNECTING:
	case TC_HELLO_SENT:
		tcp_connect_failed(c, FABRIC_EV_CONNECT_ERROR, -ETIMEDOUT);
		break;
	case TC_HALF_OPEN:
		c->ctx->shed.timeout++;
		tcp_conn_put(c);
		break;
	case TC_LINGERING:
		tcp_conn_put(c);
		break;
	case TC_CLOSING:
		abort_fd(c);
		closed(c, false);
		break;
	default:
		assert(!"a timer of a connection that waits for nothing");
		break;
	}
}
