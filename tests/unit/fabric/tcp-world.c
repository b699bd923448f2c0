/* SPDX-License-Identifier: BSD-3-Clause */
#include "tcp-world.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static void
rng_fill(void *user, void *buf, size_t len)
{
	uint64_t *x = user;
	uint8_t *p = buf;

	while (len--) {
		*x = *x * UINT64_C(6364136223846793005) +
		     UINT64_C(1442695040888963407);
		*p++ = (uint8_t)(*x >> 56);
	}
}

static uint64_t rng_state = 42;

static struct fabric_ctx_params
ctx_params(struct world *w, const struct world_opts *o)
{
	static const struct world_opts none;

	if (!o)
		o = &none;
	return (struct fabric_ctx_params){
		.rng = {rng_fill, &rng_state},
		.now = w->now,
		.log = o->log,
		.connect_timeout_ms = o->connect_timeout_ms,
		.disconnect_timeout_ms = o->disconnect_timeout_ms,
		.handshake_timeout_ms = o->handshake_timeout_ms,
		.max_half_open = o->max_half_open,
	};
}

static struct sockaddr_storage
parse(const char *host)
{
	struct sockaddr_storage ss = {0};
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, host, &in.sin_addr) == 1) {
		memcpy(&ss, &in, sizeof(in));
	} else {
		ck_assert_int_eq(inet_pton(AF_INET6, host, &in6.sin6_addr), 1);
		memcpy(&ss, &in6, sizeof(in6));
	}
	return ss;
}

struct world *
world_new(const struct world_opts *o)
{
	struct world *w = calloc(1, sizeof(*w));
	struct sockaddr_storage ss =
		parse(o && o->host ? o->host : "127.0.0.1");
	struct fabric_ctx_params p;

	ck_assert_ptr_nonnull(w);
	w->now = NSEC_PER_SEC;
	p = ctx_params(w, o);
	ck_assert_int_eq(F->ctx_new(&p, &w->c.ctx), 0);
	ck_assert_int_eq(F->ctx_new(&p, &w->s.ctx), 0);
	ck_assert_int_eq(F->listen(w->s.ctx, (struct sockaddr *)&ss, sizeof(ss),
				   w, &w->l),
			 0);
	F->listener_addr(w->l, &w->addr);
	return w;
}

struct fabric_ctx *
world_ctx(struct world *w)
{
	struct fabric_ctx_params p = ctx_params(w, NULL);
	struct fabric_ctx *ctx;

	ck_assert_int_eq(F->ctx_new(&p, &ctx), 0);
	return ctx;
}

void
world_free(struct world *w)
{
	F->conn_free(w->c.conn);
	F->conn_free(w->s.conn);
	F->listener_free(w->l);
	F->ctx_free(w->c.ctx);
	F->ctx_free(w->s.ctx);
	free(w);
}

struct fabric_conn_params
world_params(struct world *w)
{
	return (struct fabric_conn_params){
		.user = w,
		.max_send_wr = 64,
		.max_recv_wr = 64,
		.dst = (struct sockaddr *)&w->addr,
		.dst_len = w->addr.ss_family == AF_INET
				   ? sizeof(struct sockaddr_in)
				   : sizeof(struct sockaddr_in6),
	};
}

static bool
end_step(struct end *e, uint64_t now)
{
	unsigned before = e->n_ev + e->n_wc;
	struct fabric_event ev;
	int n;

	F->ctx_poll(e->ctx, now);
	while (F->next_event(e->ctx, &ev)) {
		ck_assert_uint_lt(e->n_ev, ARRAY_SIZE(e->ev));
		ck_assert_uint_le(ev.priv_len, FABRIC_PRIV_MAX);
		if (ev.priv_len) {
			memcpy(e->priv[e->n_ev], ev.priv, ev.priv_len);
			ev.priv = e->priv[e->n_ev];
		}
		e->ev[e->n_ev++] = ev;
	}
	do {
		ck_assert_uint_lt(e->n_wc + 16, ARRAY_SIZE(e->wc));
		n = F->poll_cq(e->ctx, e->wc + e->n_wc, 16);
		e->n_wc += (unsigned)n;
	} while (n);
	return e->n_ev + e->n_wc != before;
}

bool
world_step(struct world *w)
{
	bool any = end_step(&w->c, w->now);

	return end_step(&w->s, w->now) || any;
}

void
world_wait(struct world *w)
{
	struct pollfd pfd[2] = {
		{.fd = F->ctx_fd(w->c.ctx), .events = POLLIN},
		{.fd = F->ctx_fd(w->s.ctx), .events = POLLIN},
	};
	bool ready = F->ctx_arm(w->c.ctx);

	ready |= F->ctx_arm(w->s.ctx);
	if (!ready)
		ck_assert_msg(poll(pfd, 2, 10000) > 0, "nothing happens");
}

struct fabric_event *
end_ev(struct end *e, enum fabric_ev_type type)
{
	for (unsigned i = e->n_ev; i--;)
		if (e->ev[i].type == type)
			return &e->ev[i];
	return NULL;
}

struct fabric_event *
need_ev(struct end *e, enum fabric_ev_type type)
{
	struct fabric_event *ev = end_ev(e, type);

	if (!ev)
		abort();
	return ev;
}

unsigned
end_n_ev(const struct end *e, enum fabric_ev_type type)
{
	unsigned n = 0;

	for (unsigned i = 0; i < e->n_ev; i++)
		n += e->ev[i].type == type;
	return n;
}

void
world_connect(struct world *w)
{
	struct fabric_conn_params p = world_params(w);

	w->c.n_ev = w->s.n_ev = w->c.n_wc = w->s.n_wc = 0;
	ck_assert_int_eq(F->connect(w->c.ctx, &p, &w->c.conn), 0);
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_CONNECT_REQUEST));
	w->s.conn = need_ev(&w->s, FABRIC_EV_CONNECT_REQUEST)->conn;
	ck_assert_int_eq(F->accept(w->s.conn, &p), 0);
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_ESTABLISHED) &&
			       end_ev(&w->c, FABRIC_EV_ESTABLISHED));
}

bool
world_close(struct world *w, struct end *e)
{
	bool confirmed;

	F->disconnect(e->conn);
	WORLD_UNTIL(w, end_ev(e, FABRIC_EV_CLOSED));
	confirmed = need_ev(e, FABRIC_EV_CLOSED)->confirmed;
	F->conn_free(e->conn);
	e->conn = NULL;
	return confirmed;
}

/* --- posting */

void
post_empty_recvs(struct end *e, unsigned n)
{
	const struct fabric_recv_wr wr = {.wr_id = 7777, .count = n};

	ck_assert_int_eq(F->post_recv(e->conn, &wr), 0);
}

void
post_buf(struct end *e, uint64_t id, void *buf, uint32_t len)
{
	const struct fabric_recv_wr wr = {.wr_id = id, .addr = buf, .len = len};

	ck_assert_int_eq(F->post_recv(e->conn, &wr), 0);
}

static int
post(struct end *e, struct fabric_send_wr wr, uint64_t id, const void *buf,
     uint32_t len)
{
	wr.wr_id = id;
	wr.signaled = true;
	if (len) {
		wr.num_sge = 1;
		memcpy(&wr.sge[0].addr, &buf, sizeof(buf));
		wr.sge[0].len = len;
	}
	return F->post_send(e->conn, &wr);
}

int
post_write(struct end *e, uint64_t id, const void *buf, uint32_t len,
	   uint64_t raddr, uint32_t rkey)
{
	return post(e,
		    (struct fabric_send_wr){.op = FABRIC_WR_RDMA_WRITE,
					    .raddr = raddr,
					    .rkey = rkey},
		    id, buf, len);
}

int
post_write_imm(struct end *e, uint64_t id, const void *buf, uint32_t len,
	       uint64_t raddr, uint32_t rkey, uint32_t imm)
{
	return post(e,
		    (struct fabric_send_wr){.op = FABRIC_WR_RDMA_WRITE_WITH_IMM,
					    .raddr = raddr,
					    .rkey = rkey,
					    .imm = imm},
		    id, buf, len);
}

int
post_send(struct end *e, uint64_t id, const void *buf, uint32_t len)
{
	return post(e, (struct fabric_send_wr){.op = FABRIC_WR_SEND}, id, buf,
		    len);
}

int
post_send_imm(struct end *e, uint64_t id, const void *buf, uint32_t len,
	      uint32_t imm)
{
	return post(e,
		    (struct fabric_send_wr){.op = FABRIC_WR_SEND_WITH_IMM,
					    .imm = imm},
		    id, buf, len);
}

int
post_send_inv(struct end *e, uint64_t id, uint32_t key)
{
	return post(e,
		    (struct fabric_send_wr){.op = FABRIC_WR_SEND_WITH_INV,
					    .inv_rkey = key},
		    id, NULL, 0);
}

struct fabric_mr *
reg(struct end *e, void *buf, size_t len, unsigned access)
{
	struct fabric_mr *mr;

	ck_assert_int_eq(F->mr_reg(F->conn_pd(e->conn), buf, len, access, &mr),
			 0);
	return mr;
}

/* --- raw peers */

int
raw_connect(const struct sockaddr_storage *addr)
{
	const struct timeval tv = {.tv_sec = 10};
	int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	ck_assert_int_eq(connect(fd, (const struct sockaddr *)addr,
				 addr->ss_family == AF_INET
					 ? sizeof(struct sockaddr_in)
					 : sizeof(struct sockaddr_in6)),
			 0);
	return fd;
}

void
raw_write(int fd, const void *buf, size_t len)
{
	ck_assert_int_eq(send(fd, buf, len, MSG_NOSIGNAL), (ssize_t)len);
}

size_t
raw_read(int fd, void *buf, size_t n)
{
	size_t have = 0;

	while (have < n) {
		ssize_t r = recv(fd, (char *)buf + have, n - have, 0);

		ck_assert_msg(r >= 0 || errno == ECONNRESET, "recv: %s",
			      strerror(errno));
		if (r <= 0)
			break;
		have += (size_t)r;
	}
	return have;
}

void
raw_hello(int fd, const void *priv, uint16_t len)
{
	const struct tcp_hs hs = {.type = TCP_HS_HELLO, .priv_len = len};
	uint8_t buf[TCP_HS_SIZE];

	tcp_hs_encode(buf, &hs);
	raw_write(fd, buf, sizeof(buf));
	if (len)
		raw_write(fd, priv, len);
}

void
raw_frame(int fd, struct tcp_frame f)
{
	uint8_t buf[TCP_FRAME_SIZE];

	tcp_frame_encode(buf, &f);
	raw_write(fd, buf, sizeof(buf));
}

void
raw_reset(int fd)
{
	const struct linger lg = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &lg, sizeof(lg));
	close(fd);
}

int
world_raw_peer(struct world *w)
{
	struct fabric_conn_params p = world_params(w);
	uint8_t buf[TCP_HS_SIZE];
	struct tcp_hs hs;
	int fd = raw_connect(&w->addr);

	raw_hello(fd, NULL, 0);
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_CONNECT_REQUEST));
	w->s.conn = need_ev(&w->s, FABRIC_EV_CONNECT_REQUEST)->conn;
	ck_assert_int_eq(F->accept(w->s.conn, &p), 0);
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_ESTABLISHED));
	ck_assert_uint_eq(raw_read(fd, buf, sizeof(buf)), sizeof(buf));
	ck_assert_int_eq(tcp_hs_decode(buf, &hs), 0);
	ck_assert_uint_eq(hs.type, TCP_HS_ACCEPT);
	return fd;
}

unsigned
count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

bool
all_zero(const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		if (b[i])
			return false;
	return true;
}
