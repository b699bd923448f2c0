/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How connections come and go, and what strangers can do.
 */
#include "tcp-world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQ  FABRIC_EV_CONNECT_REQUEST
#define EST  FABRIC_EV_ESTABLISHED
#define DOWN FABRIC_EV_DISCONNECTED

static uint16_t
port_of(const struct sockaddr_storage *ss)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (ss->ss_family == AF_INET) {
		memcpy(&in, ss, sizeof(in));
		return ntohs(in.sin_port);
	}
	memcpy(&in6, ss, sizeof(in6));
	return ntohs(in6.sin6_port);
}

static struct sockaddr_storage
v4(const char *host, uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(port)};
	struct sockaddr_storage ss = {0};

	ck_assert_int_eq(inet_pton(AF_INET, host, &in.sin_addr), 1);
	memcpy(&ss, &in, sizeof(in));
	return ss;
}

/* Waits for the request of a client whose connect() has been called. */
static struct fabric_event *
request(struct world *w)
{
	WORLD_UNTIL(w, end_ev(&w->s, REQ));
	w->s.conn = need_ev(&w->s, REQ)->conn;
	return end_ev(&w->s, REQ);
}

static void
start(struct world *w, const char *priv)
{
	struct fabric_conn_params p = world_params(w);

	p.priv = priv;
	p.priv_len = strlen(priv);
	ck_assert_int_eq(F->connect(w->c.ctx, &p, &w->c.conn), 0);
}

static void
check_accept(const char *host)
{
	struct world *w = world_new(&(struct world_opts){.host = host});
	struct fabric_conn_params p = world_params(w);
	struct fabric_addrs a, b;
	struct fabric_event *ev;
	char big[FABRIC_PRIV_MAX];

	start(w, "hello");
	ev = request(w);
	ck_assert_ptr_eq(ev->listener, w->l);
	ck_assert_ptr_eq(ev->user, w);
	ck_assert_uint_ge(ev->priv_len, 5);
	ck_assert_mem_eq(ev->priv, "hello", 5);
	ck_assert_int_eq(F->conn_addrs(w->s.conn, &a), 0);
	memset(big, 'x', sizeof(big));
	p.priv = big;
	p.priv_len = sizeof(big) + 1;
	ck_assert_int_eq(F->accept(w->s.conn, &p), -EINVAL);
	p.priv_len = sizeof(big);
	ck_assert_int_eq(F->accept(w->s.conn, &p), 0);
	WORLD_UNTIL(w, end_ev(&w->c, EST) && end_ev(&w->s, EST));
	ev = end_ev(&w->c, EST);
	ck_assert_uint_ge(ev->priv_len, sizeof(big));
	ck_assert_mem_eq(ev->priv, big, sizeof(big));
	ck_assert_int_eq(F->conn_addrs(w->c.conn, &b), 0);
	ck_assert_mem_eq(&a.local, &b.peer, sizeof(a.local));
	ck_assert_mem_eq(&a.peer, &b.local, sizeof(a.local));
	ck_assert_uint_eq(port_of(&a.local), port_of(&w->addr));
	ck_assert_ptr_nonnull(F->conn_pd(w->c.conn));
	world_free(w);
}

START_TEST(accept_v4)
{
	check_accept("127.0.0.1");
}
END_TEST

START_TEST(accept_v6)
{
	check_accept("::1");
}
END_TEST

/* A v4 client of a v6 listener has v4 addresses. */
START_TEST(dual_stack)
{
	struct world *w = world_new(&(struct world_opts){.host = "::"});
	struct fabric_addrs a;

	w->addr = v4("127.0.0.1", port_of(&w->addr));
	start(w, "");
	request(w);
	ck_assert_int_eq(F->conn_addrs(w->s.conn, &a), 0);
	ck_assert_int_eq(a.peer.ss_family, AF_INET);
	ck_assert_int_eq(a.local.ss_family, AF_INET);
	ck_assert_mem_eq(&a.local, &w->addr, sizeof(struct sockaddr_in));
	world_free(w);
}
END_TEST

START_TEST(source_address)
{
	struct world *w = world_new(NULL);
	struct fabric_conn_params p = world_params(w);
	struct sockaddr_storage src = v4("127.0.0.77", 0);
	struct fabric_event *ev;
	struct fabric_addrs a;

	p.src = (struct sockaddr *)&src;
	p.src_len = sizeof(struct sockaddr_in);
	ck_assert_int_eq(F->connect(w->c.ctx, &p, &w->c.conn), 0);
	request(w);
	F->conn_addrs(w->s.conn, &a);
	src = v4("127.0.0.77", port_of(&a.peer));
	ck_assert_mem_eq(&a.peer, &src, sizeof(struct sockaddr_in));
	F->conn_free(w->c.conn);
	src = v4("192.0.2.1", 0); /* not ours */
	ck_assert_int_eq(F->connect(w->c.ctx, &p, &w->c.conn), 0);
	WORLD_UNTIL(w, end_ev(&w->c, FABRIC_EV_CONNECT_ERROR));
	ev = end_ev(&w->c, FABRIC_EV_CONNECT_ERROR);
	ck_assert_int_eq(ev->err, -EADDRNOTAVAIL);
	ck_assert_str_eq(ev->why, "source address 192.0.2.1: no interface of "
				  "this machine has it");
	world_free(w);
}
END_TEST

START_TEST(reject_with_data)
{
	struct world *w = world_new(NULL);
	struct fabric_event *ev;

	start(w, "may I");
	request(w);
	F->reject(w->s.conn, "no way", 6);
	w->s.conn = NULL;
	WORLD_UNTIL(w, end_ev(&w->c, FABRIC_EV_REJECTED));
	ev = end_ev(&w->c, FABRIC_EV_REJECTED);
	ck_assert_int_eq(ev->err, -ECONNREFUSED);
	ck_assert_uint_ge(ev->priv_len, 6);
	ck_assert_mem_eq(ev->priv, "no way", 6);
	/* Allowed, though not needed. */
	ck_assert(world_close(w, &w->c));
	world_free(w);
}
END_TEST

/* The answer arrives even though the client had already sent more. */
START_TEST(reject_reaches_a_talker)
{
	struct world *w = world_new(NULL);
	int fd = raw_connect(&w->addr);
	char buf[64];

	raw_hello(fd, "x", 1);
	raw_write(fd, "and some more", 13);
	request(w);
	F->reject(w->s.conn, "no", 2);
	w->s.conn = NULL;
	world_step(w);
	raw_write(fd, "and more", 8);
	world_step(w);
	ck_assert_uint_eq(raw_read(fd, buf, sizeof(buf)), TCP_HS_SIZE + 2);
	ck_assert_mem_eq(buf + TCP_HS_SIZE, "no", 2);
	close(fd);
	world_free(w);
}
END_TEST

/* Rejected peers that do not go are let go after a second, and bounded. */
START_TEST(reject_does_not_linger)
{
	struct world *w = world_new(NULL);
	unsigned before = count_fds();
	int fd[300];

	for (unsigned i = 0; i < ARRAY_SIZE(fd); i++) {
		fd[i] = raw_connect(&w->addr);
		raw_hello(fd[i], NULL, 0);
		request(w);
		F->reject(w->s.conn, NULL, 0);
		w->s.n_ev = 0;
	}
	w->s.conn = NULL;
	ck_assert_uint_le(count_fds(), before + ARRAY_SIZE(fd) + 256);
	world_step(w);
	ck_assert_uint_eq(F->ctx_deadline(w->s.ctx), w->now + NSEC_PER_SEC);
	w->now += NSEC_PER_SEC;
	world_step(w);
	ck_assert_uint_eq(F->ctx_deadline(w->s.ctx), TIME_NEVER);
	for (unsigned i = 0; i < ARRAY_SIZE(fd); i++)
		close(fd[i]);
	ck_assert_uint_eq(count_fds(), before);
	world_free(w);
}
END_TEST

START_TEST(nobody_listens)
{
	struct world *w = world_new(NULL);

	F->listener_free(w->l);
	w->l = NULL;
	start(w, "");
	WORLD_UNTIL(w, end_ev(&w->c, FABRIC_EV_CONNECT_ERROR));
	ck_assert_int_eq(need_ev(&w->c, FABRIC_EV_CONNECT_ERROR)->err,
			 -ECONNREFUSED);
	F->conn_free(w->c.conn);
	w->c.conn = NULL;
	world_free(w);
}
END_TEST

/* A server that is not one of ours. What it does is `how`. */
enum how {
	SPEAKS_HTTP,
	CLOSES,
	IS_SILENT,
	SAYS_HELLO,
	IS_NEWER,
	N_HOW
};

START_TEST(strange_server)
{
	static const int want[N_HOW] = {-EPROTO, -ECONNRESET, -ETIMEDOUT,
					-EPROTO, -EPROTO};
	struct world *w = world_new(NULL);
	struct sockaddr_storage ss = v4("127.0.0.1", 0);
	socklen_t len = sizeof(ss);
	int lfd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	uint8_t hello[TCP_HS_SIZE + 2];

	ck_assert_int_eq(
		bind(lfd, (struct sockaddr *)&ss, sizeof(struct sockaddr_in)),
		0);
	ck_assert_int_eq(listen(lfd, 1), 0);
	getsockname(lfd, (struct sockaddr *)&w->addr, &len);
	start(w, "hi");
	world_step(w);
	fd = accept(lfd, NULL, NULL);
	ck_assert_int_ge(fd, 0);
	world_step(w);
	ck_assert_uint_eq(raw_read(fd, hello, sizeof(hello)), sizeof(hello));
	ck_assert_mem_eq(hello + TCP_HS_SIZE, "hi", 2);
	switch (_i) {
	case SPEAKS_HTTP:
		raw_write(fd, "HTTP/1.1 400 Bad Request\r\n", 26);
		break;
	case CLOSES:
		close(fd);
		break;
	case IS_SILENT:
		world_step(w);
		ck_assert_uint_eq(F->ctx_deadline(w->c.ctx),
				  time_after_ms(w->now, 30000));
		w->now = F->ctx_deadline(w->c.ctx) - 1;
		world_step(w);
		ck_assert_uint_eq(w->c.n_ev, 0);
		w->now++;
		break;
	case SAYS_HELLO:
		raw_hello(fd, NULL, 0);
		break;
	case IS_NEWER:
		hello[8]++;
		raw_write(fd, hello, TCP_HS_SIZE);
		break;
	}
	WORLD_UNTIL(w, w->c.n_ev);
	ck_assert_int_eq(w->c.ev[0].type, FABRIC_EV_CONNECT_ERROR);
	ck_assert_int_eq(w->c.ev[0].err, want[_i]);
	if (_i != CLOSES)
		close(fd);
	close(lfd);
	world_free(w);
}
END_TEST

/* --- strangers */

START_TEST(garbage_on_the_port)
{
	static const char *const noise[] = {
		"GET / HTTP/1.1\r\n\r\n",
		"\x16\x03\x01",
		"R-",
		"RTRS-TCQ",
	};
	struct world *w = world_new(NULL);
	char c;
	int fd = raw_connect(&w->addr);

	raw_write(fd, noise[_i], strlen(noise[_i]));
	for (int i = 0; i < 50; i++)
		world_step(w);
	ck_assert_uint_eq(raw_read(fd, &c, 1), 0);
	ck_assert_uint_eq(w->s.n_ev, 0);
	close(fd);
	world_free(w);
}
END_TEST

START_TEST(another_version)
{
	const struct tcp_hs hs = {.type = TCP_HS_HELLO};
	struct world *w = world_new(NULL);
	uint8_t buf[TCP_HS_SIZE + 1];
	struct tcp_hs got;
	int fd = raw_connect(&w->addr);

	tcp_hs_encode(buf, &hs);
	buf[8] = 2;
	buf[12] = buf[13] = buf[15] = 0xff;
	raw_write(fd, buf, TCP_HS_SIZE);
	for (int i = 0; i < 20; i++)
		world_step(w);
	ck_assert_uint_eq(raw_read(fd, buf, sizeof(buf)), TCP_HS_SIZE);
	ck_assert_int_eq(tcp_hs_decode(buf, &got), 0);
	ck_assert_uint_eq(got.type, TCP_HS_REJECT);
	close(fd);
	world_free(w);
}
END_TEST

static void
count_line(void *user, enum log_level level, const char *line)
{
	++*(unsigned *)user;
}

START_TEST(half_open_is_bounded)
{
	enum {
		MAX = 8,
		N = 100
	};
	unsigned lines = 0;
	const struct log log = {count_line, &lines, LOG_LVL_INFO};
	struct world *w = world_new(
		&(struct world_opts){.max_half_open = MAX, .log = &log});
	unsigned before = count_fds();
	int fd[N];
	char c;

	for (int i = 0; i < N; i++) {
		fd[i] = raw_connect(&w->addr);
		if (i % 2)
			raw_write(fd[i], "RTRS", 4);
		world_step(w);
		ck_assert_uint_le(count_fds(), before + (unsigned)i + 1 + MAX);
	}
	/* The oldest made room, the newest is served. */
	ck_assert_uint_eq(raw_read(fd[0], &c, 1), 0);
	raw_hello(fd[N - 2], NULL, 0);
	request(w);
	/* The rest runs into the time-out; a late one is not kept by others. */
	w->now = time_after_ms(w->now, 9999);
	world_step(w);
	ck_assert_uint_eq(count_fds(), before + N + MAX);
	w->now = time_after_ms(w->now, 1);
	world_step(w);
	ck_assert_uint_eq(count_fds(), before + N + 1);
	ck_assert_uint_eq(F->ctx_deadline(w->s.ctx), TIME_NEVER);
	/* No line for each of them. */
	ck_assert_uint_ge(lines, 1);
	ck_assert_uint_le(lines, 3);
	for (int i = 0; i < N; i++)
		close(fd[i]);
	world_free(w);
}
END_TEST

START_TEST(out_of_descriptors)
{
	unsigned lines = 0;
	const struct log log = {count_line, &lines, LOG_LVL_INFO};
	struct world *w = world_new(&(struct world_opts){.log = &log});
	struct rlimit old, lim;
	struct pollfd pfd = {.fd = F->ctx_fd(w->s.ctx), .events = POLLIN};
	int fd = raw_connect(&w->addr), probe;

	ck_assert_int_eq(poll(&pfd, 1, 10000), 1);
	probe = dup(fd);
	close(probe);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	lim = old;
	lim.rlim_cur = (rlim_t)probe;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
	for (int i = 0; i < 5; i++) {
		F->ctx_poll(w->s.ctx, w->now);
		/* Nobody is woken until the deadline. */
		ck_assert(!F->ctx_arm(w->s.ctx));
		ck_assert_int_eq(poll(&pfd, 1, 0), 0);
		ck_assert_uint_eq(F->ctx_deadline(w->s.ctx),
				  time_after_ms(w->now, 100));
		w->now = F->ctx_deadline(w->s.ctx);
		F->ctx_poll(w->s.ctx, w->now); /* looks again from now on */
		ck_assert_int_eq(poll(&pfd, 1, 0), 1);
	}
	ck_assert_uint_eq(lines, 1);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	F->ctx_poll(w->s.ctx, w->now);
	ck_assert_uint_eq(F->ctx_deadline(w->s.ctx),
			  time_after_ms(w->now, 10000));
	raw_hello(fd, NULL, 0);
	request(w);
	close(fd);
	world_free(w);
}
END_TEST

START_TEST(port_in_use)
{
	struct world *w = world_new(NULL);
	struct fabric_listener *l;
	struct sockaddr_storage ss = v4("192.0.2.1", 0);

	ck_assert_int_eq(F->listen(w->c.ctx, (struct sockaddr *)&w->addr,
				   sizeof(struct sockaddr_in), NULL, &l),
			 -EADDRINUSE);
	ck_assert_int_eq(F->listen(w->c.ctx, (struct sockaddr *)&ss,
				   sizeof(struct sockaddr_in), NULL, &l),
			 -EADDRNOTAVAIL);
	world_free(w);
}
END_TEST

/* --- migration */

struct mover {
	struct world *w;
	struct fabric_conn *conn;
	struct fabric_ctx *ctx;
};

static void *
serve_elsewhere(void *arg)
{
	struct mover *m = arg;
	struct fabric_conn_params p = {.max_send_wr = 4, .max_recv_wr = 4};
	struct fabric_event ev = {.type = FABRIC_EV_CLOSED};
	struct pollfd pfd = {.fd = F->ctx_fd(m->ctx), .events = POLLIN};
	bool sent = false;

	if (F->migrate(m->conn, m->ctx) < 0 || F->accept(m->conn, &p) < 0)
		return NULL;
	for (;;) {
		F->ctx_poll(m->ctx, m->w->now);
		while (F->next_event(m->ctx, &ev)) {
			struct fabric_send_wr wr = {
				.op = FABRIC_WR_SEND_WITH_IMM, .imm = 4711};

			if (ev.type == EST)
				sent = !F->post_send(m->conn, &wr);
			if (ev.type == DOWN)
				F->disconnect(m->conn);
			if (ev.type != FABRIC_EV_CLOSED)
				continue;
			F->conn_free(m->conn);
			return sent ? m : NULL;
		}
		if (!F->ctx_arm(m->ctx))
			poll(&pfd, 1, 10000);
	}
}

START_TEST(migrate_to_another_thread)
{
	struct world *w = world_new(NULL);
	struct mover m = {.w = w, .ctx = world_ctx(w)};
	pthread_t thread;
	void *ret;

	start(w, "x");
	post_empty_recvs(&w->c, 1); /* early receives are fine */
	m.conn = request(w)->conn;
	w->s.conn = NULL;
	ck_assert_int_eq(pthread_create(&thread, NULL, serve_elsewhere, &m), 0);
	WORLD_UNTIL(w, w->c.n_wc == 1);
	ck_assert_uint_eq(w->c.wc[0].imm, 4711);
	ck_assert(world_close(w, &w->c));
	ck_assert_int_eq(pthread_join(thread, &ret), 0);
	ck_assert_ptr_eq(ret, &m);
	F->ctx_free(m.ctx);
	world_free(w);
}
END_TEST

START_TEST(migrate_then_reject)
{
	struct world *w = world_new(NULL);
	struct fabric_ctx *ctx = world_ctx(w);

	start(w, "x");
	request(w);
	ck_assert_int_eq(F->migrate(w->s.conn, ctx), 0);
	F->reject(w->s.conn, "bye", 3);
	w->s.conn = NULL;
	WORLD_UNTIL(w, end_ev(&w->c, FABRIC_EV_REJECTED));
	F->ctx_free(ctx);
	world_free(w);
}
END_TEST

/* --- the end */

START_TEST(orderly_end)
{
	struct world *w = world_new(NULL);

	world_connect(w);
	F->disconnect(w->c.conn);
	F->disconnect(w->c.conn);
	WORLD_UNTIL(w, end_ev(&w->s, DOWN));
	ck_assert_int_eq(need_ev(&w->s, DOWN)->err, 0);
	ck_assert_ptr_null(end_ev(&w->c, FABRIC_EV_CLOSED));
	F->disconnect(w->s.conn);
	F->disconnect(w->s.conn);
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_CLOSED) &&
			       end_ev(&w->c, FABRIC_EV_CLOSED));
	ck_assert(need_ev(&w->s, FABRIC_EV_CLOSED)->confirmed);
	ck_assert(need_ev(&w->c, FABRIC_EV_CLOSED)->confirmed);
	ck_assert_ptr_null(end_ev(&w->c, DOWN));
	for (int i = 0; i < 5; i++)
		world_step(w);
	ck_assert_uint_eq(end_n_ev(&w->c, FABRIC_EV_CLOSED), 1);
	ck_assert_uint_eq(end_n_ev(&w->s, FABRIC_EV_CLOSED), 1);
	world_free(w);
}
END_TEST

START_TEST(both_end_at_once)
{
	struct world *w = world_new(NULL);

	world_connect(w);
	F->disconnect(w->c.conn);
	F->disconnect(w->s.conn);
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_CLOSED) &&
			       end_ev(&w->c, FABRIC_EV_CLOSED));
	ck_assert(need_ev(&w->s, FABRIC_EV_CLOSED)->confirmed);
	ck_assert(need_ev(&w->c, FABRIC_EV_CLOSED)->confirmed);
	ck_assert_ptr_null(end_ev(&w->c, DOWN));
	ck_assert_ptr_null(end_ev(&w->s, DOWN));
	world_free(w);
}
END_TEST

/* A peer that does not answer: the close ends, unconfirmed, with a reset. */
START_TEST(end_without_answer)
{
	struct world *w =
		world_new(&(struct world_opts){.disconnect_timeout_ms = 500});
	int fd = world_raw_peer(w);
	uint8_t buf[TCP_FRAME_SIZE + 1];
	struct tcp_frame f;

	F->disconnect(w->s.conn);
	ck_assert(F->ctx_arm(w->s.ctx)); /* the time-out wants a clock */
	world_step(w);
	ck_assert_uint_eq(F->ctx_deadline(w->s.ctx),
			  time_after_ms(w->now, 500));
	ck_assert_uint_eq(raw_read(fd, buf, sizeof(buf)), TCP_FRAME_SIZE);
	ck_assert_int_eq(tcp_frame_decode(buf, &f), 0);
	ck_assert_uint_eq(f.op, TCP_OP_DISCONNECT);
	w->now = F->ctx_deadline(w->s.ctx);
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_CLOSED));
	ck_assert(!need_ev(&w->s, FABRIC_EV_CLOSED)->confirmed);
	ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	close(fd);
	world_free(w);
}
END_TEST

START_TEST(peer_resets)
{
	struct world *w = world_new(NULL);
	int fd = world_raw_peer(w);

	if (_i) /* while a close is under way */
		F->disconnect(w->s.conn);
	world_step(w);
	raw_reset(fd);
	if (!_i) {
		WORLD_UNTIL(w, end_ev(&w->s, DOWN));
		ck_assert_int_eq(need_ev(&w->s, DOWN)->err, -ECONNRESET);
		F->disconnect(w->s.conn);
	}
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_CLOSED));
	ck_assert(!need_ev(&w->s, FABRIC_EV_CLOSED)->confirmed);
	world_free(w);
}
END_TEST

START_TEST(disconnect_before_established)
{
	struct world *w = world_new(NULL);

	start(w, "x");
	post_empty_recvs(&w->c, 1);
	if (_i)
		request(w);
	ck_assert_int_eq(post_send(&w->c, 1, NULL, 0), -ENOTCONN);
	world_close(w, &w->c);
	ck_assert_uint_eq(w->c.n_ev, 1);
	if (_i) {
		/* The server finds out, at the latest when it has accepted. */
		struct fabric_conn_params p = world_params(w);

		ck_assert_int_eq(F->accept(w->s.conn, &p), 0);
		WORLD_UNTIL(w, end_ev(&w->s, DOWN));
		world_close(w, &w->s);
	}
	world_free(w);
}
END_TEST

/* Neither a request that was not yet reported nor one that was is lost. */
START_TEST(listener_goes_first)
{
	struct world *w = world_new(NULL);
	struct fabric_conn_params p = world_params(w);
	struct fabric_conn *other;
	int fd = raw_connect(&w->addr);

	start(w, "x");
	request(w);
	ck_assert_int_eq(F->connect(w->c.ctx, &p, &other), 0);
	for (int i = 0; i < 10; i++) {
		F->ctx_poll(w->c.ctx, w->now);
		F->ctx_poll(w->s.ctx, w->now);
	}
	F->listener_free(w->l);
	w->l = NULL;
	ck_assert_int_eq(F->accept(w->s.conn, &p), 0);
	WORLD_UNTIL(w, end_ev(&w->c, EST) &&
			       end_ev(&w->c, FABRIC_EV_CONNECT_ERROR));
	ck_assert_uint_eq(end_n_ev(&w->s, REQ), 1);
	F->conn_free(other);
	close(fd);
	world_free(w);
}
END_TEST

START_TEST(one_pd_for_a_path)
{
	struct world *w = world_new(NULL);
	struct fabric_conn_params p = world_params(w);
	struct fabric_conn *client;
	struct fabric_pd *pd;
	struct fabric_mr *mr;
	char mem[16] = "";

	world_connect(w);
	pd = F->conn_pd(w->s.conn);
	F->pd_ref(pd);
	ck_assert_int_eq(
		F->mr_reg(pd, mem, 16, FABRIC_ACCESS_REMOTE_WRITE, &mr), 0);
	F->conn_free(w->s.conn);
	F->conn_free(w->c.conn);
	w->s.n_ev = w->c.n_ev = 0;
	start(w, "x");
	request(w);
	p.pd = pd;
	ck_assert_int_eq(F->accept(w->s.conn, &p), 0);
	ck_assert_ptr_eq(F->conn_pd(w->s.conn), pd);
	WORLD_UNTIL(w, end_ev(&w->c, EST));
	ck_assert_int_eq(post_write(&w->c, 1, "abc", 3, mr->raddr, mr->rkey),
			 0);
	WORLD_UNTIL(w, mem[0] == 'a');
	F->pd_unref(pd);
	F->conn_free(w->s.conn);
	w->s.conn = NULL;
	ck_assert_int_eq(F->mr_dereg(mr), 0); /* the last one out */
	/* A PD of one context is of no use on another. */
	p.pd = F->conn_pd(w->c.conn);
	client = w->c.conn;
	w->s.n_ev = 0;
	start(w, "x");
	request(w);
	ck_assert_int_eq(F->accept(w->s.conn, &p), -EINVAL);
	F->reject(w->s.conn, NULL, 0);
	w->s.conn = NULL;
	F->conn_free(client);
	world_free(w);
}
END_TEST

START_TEST(no_descriptor_is_left)
{
	struct world *w = world_new(NULL);
	unsigned before = count_fds();

	for (int i = 0; i < 1000; i++) {
		world_connect(w);
		if (i % 3 == 0) {
			F->disconnect(w->s.conn);
			world_close(w, &w->c);
			world_close(w, &w->s);
		} else {
			F->conn_free(w->c.conn);
			F->conn_free(w->s.conn);
		}
		w->c.conn = w->s.conn = NULL;
	}
	world_step(w);
	ck_assert_uint_eq(count_fds(), before);
	/* Idle: no deadline, nothing to do. */
	ck_assert(!F->ctx_arm(w->c.ctx) && !F->ctx_arm(w->s.ctx));
	ck_assert_uint_eq(F->ctx_deadline(w->c.ctx), TIME_NEVER);
	ck_assert_uint_eq(F->ctx_deadline(w->s.ctx), TIME_NEVER);
	world_free(w);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tcp-cm");
	TCase *tc = tcase_create("tcp-cm");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, accept_v4);
	tcase_add_test(tc, accept_v6);
	tcase_add_test(tc, dual_stack);
	tcase_add_test(tc, source_address);
	tcase_add_test(tc, reject_with_data);
	tcase_add_test(tc, reject_reaches_a_talker);
	tcase_add_test(tc, reject_does_not_linger);
	tcase_add_test(tc, nobody_listens);
	tcase_add_loop_test(tc, strange_server, 0, N_HOW);
	tcase_add_loop_test(tc, garbage_on_the_port, 0, 4);
	tcase_add_test(tc, another_version);
	tcase_add_test(tc, half_open_is_bounded);
	tcase_add_test(tc, out_of_descriptors);
	tcase_add_test(tc, port_in_use);
	tcase_add_test(tc, migrate_to_another_thread);
	tcase_add_test(tc, migrate_then_reject);
	tcase_add_test(tc, orderly_end);
	tcase_add_test(tc, both_end_at_once);
	tcase_add_test(tc, end_without_answer);
	tcase_add_loop_test(tc, peer_resets, 0, 2);
	tcase_add_loop_test(tc, disconnect_before_established, 0, 2);
	tcase_add_test(tc, listener_goes_first);
	tcase_add_test(tc, one_pd_for_a_path);
	tcase_add_test(tc, no_descriptor_is_left);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
