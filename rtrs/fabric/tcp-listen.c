/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Server side, until a connection is accepted or rejected. Whoever connects is
 * a stranger: it gets one struct tcp_conn with its fixed buffers and a limited
 * time, and nothing else is allocated before accept().
 */
#include "rtrs/fabric/tcp.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <utlist.h>

#include "rtrs/addr.h"
#include "rtrs/base/remedy.h"

#define ACCEPT_BATCH 64

static int
listener_socket(const struct sockaddr *addr, socklen_t len)
{
	cleanup_close int fd = -1;
	const int on = 1, off = 0;
	int r;

	fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (addr->sa_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
		return -errno;
	if (bind(fd, addr, len) < 0 || listen(fd, SOMAXCONN) < 0)
		return -errno;
	r = fd;
	fd = -1;
	return r;
}

int
tcp_listen(struct fabric_ctx *fctx, const struct sockaddr *addr, socklen_t len,
	   void *user, struct fabric_listener **ret)
{
	struct tcp_ctx *ctx = tcp_ctx(fctx);
	struct epoll_event ev = {.events = EPOLLIN};
	struct tcp_listener *l;
	socklen_t addr_len;
	int r;

	if (addr->sa_family != AF_INET && addr->sa_family != AF_INET6)
		return -EAFNOSUPPORT;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->source = TCP_SRC_LISTENER;
	l->ctx = ctx;
	l->user = user;
	l->resume_at = TIME_NEVER;
	l->fd = r = listener_socket(addr, len);
	if (r < 0)
		goto err_free;
	ev.data.ptr = &l->source;
	addr_len = sizeof(l->addr);
	if (getsockname(l->fd, (struct sockaddr *)&l->addr, &addr_len) < 0 ||
	    epoll_ctl(ctx->epfd, EPOLL_CTL_ADD, l->fd, &ev) < 0) {
		r = -errno;
		goto err_close;
	}
	DL_APPEND(ctx->listeners, l);
	*ret = (void *)l;
	return 0;

err_close:
	close(l->fd);
err_free:
	free(l);
	return r;
}

void
tcp_listener_addr(struct fabric_listener *fl, struct sockaddr_storage *ret)
{
	*ret = ((struct tcp_listener *)(void *)fl)->addr;
}

void
tcp_listener_free(struct fabric_listener *fl)
{
	struct tcp_listener *l = (void *)fl;
	struct tcp_event *e, *e_tmp;
	struct tcp_conn *c, *c_tmp;

	if (!l)
		return;
	/* What was not reported yet goes with the listener. */
	DL_FOREACH_SAFE2(l->ctx->timers[TCP_TIMER_HANDSHAKE], c, c_tmp, t_next)
	if (c->listener == l)
		tcp_conn_put(c);
	DL_FOREACH_SAFE(l->ctx->events, e, e_tmp)
		if (e->conn->listener == l)
			tcp_conn_put(e->conn);
	DL_DELETE(l->ctx->listeners, l);
	epoll_ctl(l->ctx->epfd, EPOLL_CTL_DEL, l->fd, NULL);
	close(l->fd);
	free(l);
}

static void
listener_watch(struct tcp_listener *l, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = &l->source};
	int r = epoll_ctl(l->ctx->epfd, EPOLL_CTL_MOD, l->fd, &ev);

	/* The descriptor is in the set, and changing it takes no memory. */
	assert(!r);
	(void)r;
}

/*
 * Out of descriptors: the connection stays in the backlog, and the listener
 * readable. Look away for a while instead of spinning.
 */
static void
listener_pause(struct tcp_listener *l, int err)
{
	struct tcp_ctx *ctx = l->ctx;
	char addr[RTRS_ADDR_TEXT_MAX];

	l->resume_at = time_after_ms(ctx->now, TCP_ACCEPT_PAUSE_MS);
	listener_watch(l, 0);
	if (!ctx->fd_logged_at ||
	    ctx->now >= time_after_ms(ctx->fd_logged_at, TCP_LOG_INTERVAL_MS)) {
		(void)rtrs_addr_text(&fabric_tcp, &l->addr, addr);
		log_err(ctx->p.log,
			"%s: accept: %s; who connects waits until there is "
			"room%s",
			addr, strerror(err), remedy_words(-err));
		ctx->fd_logged_at = ctx->now;
	}
}

void
tcp_listener_resume(struct tcp_listener *l)
{
	l->resume_at = TIME_NEVER;
	listener_watch(l, EPOLLIN);
}

static void
half_open_new(struct tcp_listener *l, int fd)
{
	struct tcp_ctx *ctx = l->ctx;
	struct tcp_conn *c;

	if (ctx->n_timer[TCP_TIMER_HANDSHAKE] >= ctx->p.max_half_open) {
		ctx->shed.crowded++;
		tcp_conn_put(ctx->timers[TCP_TIMER_HANDSHAKE]);
	}
	c = tcp_conn_new(ctx, fd);
	if (!c) {
		ctx->shed.crowded++;
		close(fd);
		return;
	}
	c->state = TC_HALF_OPEN;
	c->listener = l;
	/* The first fails when the peer is gone already, the second when the
	 * system has no more watches. */
	if (tcp_conn_name(c) < 0 || tcp_conn_watch(c, EPOLLIN) < 0) {
		ctx->shed.crowded++;
		tcp_conn_put(c);
		return;
	}
	tcp_timer_set(c, TCP_TIMER_HANDSHAKE);
	/* The request is often there already. */
	tcp_hello_ready(c);
}

void
tcp_listener_ready(struct tcp_listener *l)
{
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int fd = accept4(l->fd, NULL, NULL,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			half_open_new(l, fd);
			continue;
		}
		switch (errno) {
		case EAGAIN:
			return;
		case EMFILE:
		case ENFILE:
		case ENOBUFS:
		case ENOMEM:
			listener_pause(l, errno);
			return;
		default:
			/* It is about that connection, and it is gone. */
			break;
		}
	}
}

void
tcp_hello_ready(struct tcp_conn *c)
{
	struct tcp_ctx *ctx = c->ctx;
	struct tcp_hs hs;
	int r = tcp_conn_read_hs(c, &hs);

	if (r == 0)
		return;
	if (r == 2) {
		/* Another version: REJECT tells it which one is ours. */
		ctx->shed.garbage++;
		tcp_conn_set_state(c, TC_REQUESTED);
		tcp_conn_watch(c, 0);
		tcp_reject((void *)c, NULL, 0);
		return;
	}
	if (r < 0 || hs.type != TCP_HS_HELLO) {
		ctx->shed.garbage++;
		tcp_conn_put(c);
		return;
	}
	/* It may change hands now: nothing of this context refers to it. */
	tcp_timer_set(c, TCP_TIMER_NONE);
	tcp_conn_watch(c, 0);
	tcp_conn_set_state(c, TC_REQUESTED);
	tcp_event_queue(c, &c->ev_up, FABRIC_EV_CONNECT_REQUEST, 0);
}

int
tcp_migrate(struct fabric_conn *conn, struct fabric_ctx *to)
{
	struct tcp_conn *c = tcp_conn(conn);

	if (c->state != TC_REQUESTED)
		return -EINVAL;
	c->ctx = tcp_ctx(to);
	return 0;
}

int
tcp_accept(struct fabric_conn *conn, const struct fabric_conn_params *p)
{
	struct tcp_conn *c = tcp_conn(conn);
	int r;

	if (c->state != TC_REQUESTED || p->priv_len > FABRIC_PRIV_MAX)
		return -EINVAL;
	r = tcp_conn_sockopts(c);
	if (r < 0)
		return r;
	r = tcp_conn_watch(c, EPOLLIN | EPOLLRDHUP);
	if (r < 0)
		return r;
	r = tcp_conn_setup(c, p);
	if (r < 0) {
		tcp_conn_watch(c, 0);
		return r;
	}
	tcp_conn_tune(c);
	tcp_conn_set_state(c, TC_LIVE);
	tcp_conn_ctl_hs(c, TCP_HS_ACCEPT, p->priv, p->priv_len);
	c->priv_len = 0; /* ESTABLISHED has none here */
	tcp_mark_dirty(c);
	tcp_event_queue(c, &c->ev_up, FABRIC_EV_ESTABLISHED, 0);
	return 0;
}

void
tcp_reject(struct fabric_conn *conn, const void *priv, size_t len)
{
	struct tcp_conn *c = tcp_conn(conn);
	struct tcp_ctx *ctx = c->ctx;

	assert(c->state == TC_REQUESTED);
	tcp_conn_set_state(c, TC_LINGERING);
	c->listener = NULL;
	if (len > FABRIC_PRIV_MAX)
		len = FABRIC_PRIV_MAX;
	tcp_conn_ctl_hs(c, TCP_HS_REJECT, priv, len);
	c->tx.fin_after = true;
	tcp_tx_run(c);
	/*
	 * Closing now could turn into a reset that overtakes our answer, if
	 * the peer has sent anything more: wait for its FIN, but not for long
	 * and not for too many.
	 */
	if (c->tx.err || tcp_conn_watch(c, EPOLLIN) < 0) {
		tcp_conn_put(c);
		return;
	}
	if (tcp_tx_pending(c))
		tcp_conn_rewatch(c);
	if (ctx->n_timer[TCP_TIMER_LINGER] >= TCP_MAX_LINGERING)
		tcp_conn_expire(ctx->timers[TCP_TIMER_LINGER]);
	tcp_timer_set(c, TCP_TIMER_LINGER);
}
