/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/backend/fake-nbd.h"

#include <check.h>
#include <endian.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rtrs/base/util.h"

#define MAGIC         UINT64_C(0x4e42444d41474943) /* NBDMAGIC */
#define OPT_MAGIC     UINT64_C(0x49484156454f5054) /* IHAVEOPT */
#define OPT_REP_MAGIC UINT64_C(0x3e889045565a9)
#define REQUEST_MAGIC 0x25609513u
#define REPLY_MAGIC   0x67446698u

#define FIXED_NO_ZEROES 3u
#define OPT_GO          7u
#define REP_ACK         1u
#define REP_INFO        3u
#define REP_ERR_UNSUP   0x80000001u

#define FLAG_HAS_FLAGS  BIT(0)
#define FLAG_SEND_FLUSH BIT(2)
#define FLAG_MULTI_CONN BIT(8)

enum {
	CMD_READ,
	CMD_WRITE,
	CMD_DISC,
	CMD_FLUSH,
};

struct greeting {
	uint64_t magic, opt_magic;
	uint16_t flags;
} __attribute__((packed));

struct option {
	uint64_t magic;
	uint32_t option, len;
} __attribute__((packed));

struct option_reply {
	uint64_t magic;
	uint32_t option, type, len;
} __attribute__((packed));

struct info_export {
	uint16_t type;
	uint64_t size;
	uint16_t flags;
} __attribute__((packed));

struct request {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t cookie, off;
	uint32_t len;
} __attribute__((packed));

struct reply {
	uint32_t magic, err;
	uint64_t cookie;
} __attribute__((packed));

/* ------------------------------------------------------------ one of them */

/* false: the connection has ended, and why is noted. */
static bool
get(struct fake_nbd_conn *c, void *buf, size_t len)
{
	while (len) {
		ssize_t n = recv(c->fd, buf, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			c->end_errno = n ? errno : 0;
			return false;
		}
		buf = (char *)buf + n;
		len -= (size_t)n;
	}
	return true;
}

static bool
put(struct fake_nbd_conn *c, const void *buf, size_t len)
{
	while (len) {
		ssize_t n = send(c->fd, buf, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			c->end_errno = errno;
			return false;
		}
		buf = (const char *)buf + n;
		len -= (size_t)n;
	}
	return true;
}

static bool
answer_option(struct fake_nbd_conn *c, uint32_t option, uint32_t type,
	      const void *buf, uint32_t len)
{
	const struct option_reply r = {
		.magic = htobe64(OPT_REP_MAGIC),
		.option = htobe32(option),
		.type = htobe32(type),
		.len = htobe32(len),
	};

	return put(c, &r, sizeof(r)) && put(c, buf, len);
}

static bool
negotiate(struct fake_nbd_conn *c)
{
	const struct greeting hello = {
		.magic = htobe64(MAGIC),
		.opt_magic = htobe64(OPT_MAGIC),
		.flags = htobe16(FIXED_NO_ZEROES),
	};
	const struct info_export info = {
		.size = htobe64(FAKE_NBD_SIZE),
		.flags = htobe16(FLAG_HAS_FLAGS | FLAG_SEND_FLUSH |
				 (c->server->multi_conn ? FLAG_MULTI_CONN : 0)),
	};
	uint32_t flags;

	if (!put(c, &hello, sizeof(hello)) || !get(c, &flags, sizeof(flags)))
		return false;
	for (;;) {
		struct option o;
		char data[1024];

		if (!get(c, &o, sizeof(o)))
			return false;
		ck_assert_uint_le(be32toh(o.len), sizeof(data));
		if (!get(c, data, be32toh(o.len)))
			return false;
		if (be32toh(o.option) == OPT_GO)
			return answer_option(c, OPT_GO, REP_INFO, &info,
					     sizeof(info)) &&
			       answer_option(c, OPT_GO, REP_ACK, NULL, 0);
		if (!answer_option(c, be32toh(o.option), REP_ERR_UNSUP, NULL,
				   0))
			return false;
	}
}

static bool
wait_while_stopped(struct fake_nbd *s)
{
	bool ending;

	pthread_mutex_lock(&s->lock);
	while (s->stopped && !s->ending)
		pthread_cond_wait(&s->changed, &s->lock);
	ending = s->ending;
	pthread_mutex_unlock(&s->lock);
	return !ending;
}

static bool
serve_one(struct fake_nbd_conn *c)
{
	static __thread uint8_t buf[FAKE_NBD_SIZE];
	struct fake_nbd *s = c->server;
	struct request r;
	struct reply ok = {.magic = htobe32(REPLY_MAGIC)};
	uint64_t off;
	uint32_t len;
	bool is_read;

	if (!get(c, &r, sizeof(r)) || !wait_while_stopped(s))
		return false;
	ck_assert_uint_eq(be32toh(r.magic), REQUEST_MAGIC);
	off = be64toh(r.off);
	len = be32toh(r.len);
	is_read = be16toh(r.type) == CMD_READ;
	ck_assert_uint_le(off + len, FAKE_NBD_SIZE);
	switch (be16toh(r.type)) {
	case CMD_DISC:
		return false;
	case CMD_WRITE:
		if (!get(c, buf, len))
			return false;
		pthread_mutex_lock(&s->lock);
		memcpy(s->disk + off, buf, len);
		c->n_writes++;
		pthread_mutex_unlock(&s->lock);
		break;
	case CMD_READ:
		pthread_mutex_lock(&s->lock);
		memcpy(buf, s->disk + off, len);
		pthread_mutex_unlock(&s->lock);
		break;
	default:
		ck_assert_uint_eq(be16toh(r.type), CMD_FLUSH);
	}
	ok.cookie = r.cookie;
	return put(c, &ok, sizeof(ok)) && (!is_read || put(c, buf, len));
}

static void *
run_conn(void *arg)
{
	struct fake_nbd_conn *c = arg;
	struct fake_nbd *s = c->server;

	if (negotiate(c))
		while (serve_one(c))
			;
	/* Closed later: others may still look at it. */
	shutdown(c->fd, SHUT_RDWR);
	pthread_mutex_lock(&s->lock);
	c->ended = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* --------------------------------------------------------------- all of it */

static void *
run(void *arg)
{
	struct fake_nbd *s = arg;

	for (;;) {
		int fd = accept(s->listen_fd, NULL, NULL);
		struct fake_nbd_conn *c;

		if (fd < 0)
			return NULL; /* it was shut down */
		pthread_mutex_lock(&s->lock);
		ck_assert_uint_lt(s->n_conns, FAKE_NBD_CONNS);
		c = &s->conns[s->n_conns++];
		*c = (struct fake_nbd_conn){.server = s, .fd = fd};
		ck_assert_int_eq(pthread_create(&c->thread, NULL, run_conn, c),
				 0);
		pthread_mutex_unlock(&s->lock);
	}
}

void
fake_nbd_init(struct fake_nbd *s, bool multi_conn)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	socklen_t len = sizeof(sin);
	int little = 4096;

	memset(s, 0, sizeof(*s));
	s->multi_conn = multi_conn;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(s->listen_fd, 0);
	/* Connections inherit it: soon there is no room any more. */
	ck_assert_int_eq(setsockopt(s->listen_fd, SOL_SOCKET, SO_RCVBUF,
				    &little, sizeof(little)),
			 0);
	ck_assert_int_eq(
		bind(s->listen_fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	ck_assert_int_eq(
		getsockname(s->listen_fd, (struct sockaddr *)&sin, &len), 0);
	s->port = ntohs(sin.sin_port);
	ck_assert_int_eq(listen(s->listen_fd, FAKE_NBD_CONNS), 0);
	ck_assert_int_eq(pthread_create(&s->thread, NULL, run, s), 0);
}

void
fake_nbd_deinit(struct fake_nbd *s)
{
	shutdown(s->listen_fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->listen_fd);
	pthread_mutex_lock(&s->lock);
	s->ending = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < s->n_conns; i++) {
		shutdown(s->conns[i].fd, SHUT_RDWR);
		pthread_join(s->conns[i].thread, NULL);
		close(s->conns[i].fd);
	}
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
}

void
fake_nbd_stop(struct fake_nbd *s, bool stopped)
{
	pthread_mutex_lock(&s->lock);
	s->stopped = stopped;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static int
conn_fd(struct fake_nbd *s, unsigned i)
{
	int fd;

	pthread_mutex_lock(&s->lock);
	ck_assert_uint_lt(i, s->n_conns);
	fd = s->conns[i].fd;
	pthread_mutex_unlock(&s->lock);
	return fd;
}

void
fake_nbd_deafen(struct fake_nbd *s, unsigned i, bool deaf)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	const struct sock_fprog prog = {.len = 1, .filter = &nothing};

	ck_assert_int_eq(setsockopt(conn_fd(s, i), SOL_SOCKET,
				    deaf ? SO_ATTACH_FILTER : SO_DETACH_FILTER,
				    &prog, sizeof(prog)),
			 0);
}

void
fake_nbd_close(struct fake_nbd *s, unsigned i)
{
	shutdown(conn_fd(s, i), SHUT_RDWR);
}

unsigned
fake_nbd_n_conns(struct fake_nbd *s)
{
	unsigned n;

	pthread_mutex_lock(&s->lock);
	n = s->n_conns;
	pthread_mutex_unlock(&s->lock);
	return n;
}

unsigned
fake_nbd_n_writes(struct fake_nbd *s, unsigned i)
{
	unsigned n;

	pthread_mutex_lock(&s->lock);
	n = s->conns[i].n_writes;
	pthread_mutex_unlock(&s->lock);
	return n;
}

int
fake_nbd_poke(struct fake_nbd *s, unsigned i)
{
	struct fake_nbd_conn *c = &s->conns[i];

	ck_assert_int_eq(send(conn_fd(s, i), "", 1, MSG_NOSIGNAL), 1);
	pthread_mutex_lock(&s->lock);
	while (!c->ended)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
	return c->end_errno;
}
