/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client's side of a new connection, and the handshake messages of both.
 */
#include "rtrs/fabric/tcp.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

/* --- handshake, both sides */

void
tcp_conn_ctl_hs(struct tcp_conn *c, enum tcp_hs_type type, const void *priv,
		size_t len)
{
	const struct tcp_hs hs = {
		.type = (uint16_t)type,
		.priv_len = (uint16_t)len,
	};

	tcp_hs_encode(c->tx.ctl, &hs);
	if (len)
		memcpy(c->tx.ctl + TCP_HS_SIZE, priv, len);
	c->tx.ctl_len = TCP_HS_SIZE + (unsigned)len;
	c->tx.ctl_off = 0;
}

int
tcp_conn_read_hs(struct tcp_conn *c, struct tcp_hs *ret)
{
	for (;;) {
		unsigned want = TCP_HS_SIZE;
		struct tcp_hs hs;
		ssize_t n;
		int r;

		if (c->hs_have >= TCP_HS_SIZE) {
			r = tcp_hs_decode(c->hs, &hs);
			if (r)
				return r < 0 ? r : 2;
			want += hs.priv_len;
			if (c->hs_have == want) {
				c->priv_len = hs.priv_len;
				*ret = hs;
				return 1;
			}
		}
		n = recv(c->fd, c->hs + c->hs_have, want - c->hs_have,
			 MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (!n)
			return -ECONNRESET;
		c->hs_have += (unsigned)n;
		if (tcp_hs_check_magic(c->hs, c->hs_have) < 0)
			return -EPROTO;
	}
}

/* --- client */

void
tcp_connect_failed(struct tcp_conn *c, enum fabric_ev_type type, int err)
{
	tcp_conn_idle(c);
	tcp_conn_close_fd(c);
	tcp_conn_set_state(c, TC_FAILED);
	tcp_event_queue(c, &c->ev_up, type, err);
}

/* Which address it was, the destination's name in an error would not tell. */
static void
bind_failed(struct tcp_conn *c, const struct fabric_conn_params *p, int err)
{
	char host[NI_MAXHOST];

	if (!getnameinfo(p->src, p->src_len, host, sizeof(host), NULL, 0,
			 NI_NUMERICHOST)) {
		/* No handshake has come that would need the room. */
		snprintf((char *)c->hs, sizeof(c->hs),
			 "source address %.150s: %s", host,
			 err == -EADDRNOTAVAIL
				 ? "no interface of this machine has it"
				 : strerror(-err));
		c->why = (const char *)c->hs;
	}
	tcp_connect_failed(c, FABRIC_EV_CONNECT_ERROR, err);
}

static int
start_connect(struct tcp_conn *c, const struct fabric_conn_params *p)
{
	const int on = 1;
	int r = tcp_conn_sockopts(c);

	if (r < 0)
		return r;
	r = tcp_conn_watch(c, EPOLLOUT);
	if (r < 0)
		return r;
	tcp_timer_set(c, TCP_TIMER_CONNECT);
	if (p->src) {
		/* Leave the choice of a port to connect(): it knows more. */
		setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on,
			   sizeof(on));
		if (bind(c->fd, p->src, p->src_len) < 0) {
			bind_failed(c, p, -errno);
			return 0;
		}
	}
	if (connect(c->fd, p->dst, p->dst_len) < 0 && errno != EINPROGRESS &&
	    errno != EINTR)
		tcp_connect_failed(c, FABRIC_EV_CONNECT_ERROR, -errno);
	return 0;
}

int
tcp_connect(struct fabric_ctx *fctx, const struct fabric_conn_params *p,
	    struct fabric_conn **ret)
{
	struct tcp_conn *c;
	int fd, r;

	if (p->priv_len > FABRIC_PRIV_MAX)
		return -EINVAL;
	if (!p->dst ||
	    (p->dst->sa_family != AF_INET && p->dst->sa_family != AF_INET6))
		return -EAFNOSUPPORT;
	fd = socket(p->dst->sa_family,
		    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	c = tcp_conn_new(tcp_ctx(fctx), fd);
	if (!c) {
		close(fd);
		return -ENOMEM;
	}
	c->state = TC_CONNECTING;
	tcp_conn_ctl_hs(c, TCP_HS_HELLO, p->priv, p->priv_len);
	r = tcp_conn_setup(c, p);
	if (!r)
		r = start_connect(c, p);
	if (r < 0) {
		tcp_conn_put(c);
		return r;
	}
	*ret = (void *)c;
	return 0;
}

void
tcp_connecting_ready(struct tcp_conn *c)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (!err)
		err = -tcp_conn_name(c);
	/*
	 * Nobody listens, and the port that we were given is the one we look
	 * for: TCP then connects us to ourselves.
	 */
	if (!err && !memcmp(&c->local, &c->peer, sizeof(c->local)))
		err = ECONNREFUSED;
	if (err) {
		tcp_connect_failed(c, FABRIC_EV_CONNECT_ERROR, -err);
		return;
	}
	tcp_conn_tune(c);
	tcp_conn_set_state(c, TC_HELLO_SENT);
	tcp_tx_run(c);
	tcp_conn_rewatch(c);
}

void
tcp_reply_ready(struct tcp_conn *c)
{
	struct tcp_hs hs;
	int r = tcp_conn_read_hs(c, &hs);

	if (r == 0)
		return;
	if (r == 2 || (r == 1 && hs.type == TCP_HS_HELLO))
		r = -EPROTO;
	if (r < 0) {
		tcp_connect_failed(c, FABRIC_EV_CONNECT_ERROR, r);
		return;
	}
	if (hs.type == TCP_HS_REJECT) {
		tcp_connect_failed(c, FABRIC_EV_REJECTED, -ECONNREFUSED);
		return;
	}
	tcp_timer_set(c, TCP_TIMER_NONE);
	tcp_conn_set_state(c, TC_LIVE);
	tcp_conn_rewatch(c);
	tcp_event_queue(c, &c->ev_up, FABRIC_EV_ESTABLISHED, 0);
}
