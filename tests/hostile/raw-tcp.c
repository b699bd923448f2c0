/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Raw bytes for a daemon's tcp port, in every state of the stream: before the
 * handshake, in it, before INFO_REQ, and on a path that is up, where frames of
 * requests are sent of which now and then a field, or any byte, is bent.
 *
 *   hostile-raw PORT SEED FRAMES [DEVICE]
 *
 * Ends when so many frames were sent, or with exit code 1 if the daemon does
 * not answer any more.
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "proto/rnbd-msg.h"
#include "proto/rtrs-imm.h"
#include "proto/rtrs-msg.h"
#include "rtrs/base/util.h"
#include "rtrs/fabric/tcp-wire.h"
#include "tests/hostile/choice.h"

#define OUT_MAX     (256u << 10)
#define BURST       64
/* Whoever listens answers the handshake within this time. */
#define ANSWER_MS   20000
/* A daemon that swallows what it takes for payload says nothing. */
#define PATIENCE_MS 50

static struct choice rnd;
static unsigned port;
static const char *device = "disk";
static uint64_t frames, lives, ups, replies;

struct stream {
	int fd;
	uint8_t out[OUT_MAX];
	size_t n_out;
	uint8_t in[1u << 20];
	size_t n_in;
	uint64_t got; /* frames that were answers */
};

struct path {
	struct stream con[2];
	unsigned n_cons, depth, mem_bits;
	uint32_t chunk;
	uint64_t raddr;
	uint32_t rkey, device_id;
};

/* --- sockets */

static int
dial(struct stream *s)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int one = 1;

	s->n_out = s->n_in = 0;
	s->got = 0;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return -errno;
	if (connect(s->fd, (struct sockaddr *)&sin, sizeof(sin)) < 0) {
		close(s->fd);
		s->fd = -1;
		return -errno;
	}
	setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return 0;
}

/* In order, with a reset, or half of it first. */
static void
hang_up(struct stream *s)
{
	struct linger l = {.l_onoff = 1};

	if (s->fd < 0)
		return;
	if (!choose(&rnd, 3))
		setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	else if (choose(&rnd, 2))
		shutdown(s->fd, SHUT_WR);
	close(s->fd);
	s->fd = -1;
}

/* What is there; false: the daemon ended it. */
static bool
take(struct stream *s)
{
	ssize_t n = recv(s->fd, s->in + s->n_in, sizeof(s->in) - s->n_in,
			 MSG_DONTWAIT);

	if (n > 0)
		s->n_in += (size_t)n;
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool
wait_for(struct stream *s, short events, int ms)
{
	struct pollfd p = {.fd = s->fd, .events = events};

	return poll(&p, 1, ms) > 0;
}

/* Sends all of it, and reads meanwhile: nobody may wait for the other. */
static bool
push(struct stream *s)
{
	size_t done = 0;
	ssize_t n;

	while (done < s->n_out) {
		n = send(s->fd, s->out + done, s->n_out - done,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (!wait_for(s, POLLIN | POLLOUT, PATIENCE_MS))
			return false;
		if (s->n_in == sizeof(s->in))
			s->n_in = 0; /* not worth reading */
		if (!take(s))
			return false;
	}
	s->n_out = 0;
	return true;
}

/* At least n bytes; false: they do not come. */
static bool
need(struct stream *s, size_t n, int ms)
{
	while (s->n_in < n)
		if (!wait_for(s, POLLIN, ms) || !take(s))
			return false;
	return true;
}

static void
drop(struct stream *s, size_t n)
{
	memmove(s->in, s->in + n, s->n_in - n);
	s->n_in -= n;
}

static void
put(struct stream *s, const void *data, size_t len)
{
	if (len > OUT_MAX - s->n_out)
		len = OUT_MAX - s->n_out;
	memcpy(s->out + s->n_out, data, len);
	s->n_out += len;
}

/* --- handshake */

static void
put_hello(struct stream *s, const void *priv, uint16_t len)
{
	const struct tcp_hs hs = {.type = TCP_HS_HELLO, .priv_len = len};
	uint8_t buf[TCP_HS_SIZE];

	tcp_hs_encode(buf, &hs);
	put(s, buf, sizeof(buf));
	put(s, priv, len);
}

/* Some bytes of what is to go out become others, are missing, or too many. */
static void
bend(struct stream *s, size_t from)
{
	size_t len = s->n_out - from;
	unsigned n = 1 + (unsigned)choose(&rnd, 3);

	if (!len)
		return;
	switch (choose(&rnd, 8)) {
	case 0:
		s->n_out = from + choose(&rnd, len);
		return;
	case 1:
		len = choose(&rnd, 200);
		if (len > OUT_MAX - s->n_out)
			return;
		choose_bytes(&rnd, s->out + s->n_out, len);
		s->n_out += len;
		return;
	default:
		while (n--)
			s->out[from + choose(&rnd, len)] =
				(uint8_t)choose_lie(&rnd, 0, 8);
	}
}

static struct rtrs_msg_conn_req
conn_req(uint16_t cid, uint16_t num, const uint8_t uuid[32])
{
	struct rtrs_msg_conn_req m = {.version = RTRS_PROTO_VER,
				      .cid = cid,
				      .cid_num = num,
				      .recon_cnt = 1,
				      .first_conn = true};

	memcpy(&m.path_uuid, uuid, 16);
	memcpy(&m.sess_uuid, uuid + 16, 16);
	return m;
}

/* 1: accepted. 0: refused. -1: the daemon is silent. */
static int
greet(struct stream *s, uint16_t cid, uint16_t num, const uint8_t uuid[32],
      struct rtrs_msg_conn_rsp *ret)
{
	struct rtrs_msg_conn_req m = conn_req(cid, num, uuid);
	uint8_t priv[RTRS_CONN_REQ_LEN];
	struct tcp_hs hs;

	rtrs_msg_conn_req_encode(&m, priv);
	put_hello(s, priv, sizeof(priv));
	if (!push(s))
		return 0;
	if (!wait_for(s, POLLIN, ANSWER_MS))
		return -1;
	if (!need(s, TCP_HS_SIZE, ANSWER_MS) || tcp_hs_decode(s->in, &hs) ||
	    hs.type != TCP_HS_ACCEPT ||
	    !need(s, TCP_HS_SIZE + hs.priv_len, ANSWER_MS) ||
	    rtrs_msg_conn_rsp_decode(s->in + TCP_HS_SIZE, hs.priv_len, ret))
		return 0;
	drop(s, TCP_HS_SIZE + hs.priv_len);
	return 1;
}

static bool
garbage(struct stream *s)
{
	uint8_t uuid[32], priv[RTRS_CONN_REQ_LEN];
	struct rtrs_msg_conn_req m;

	if (dial(s))
		return false;
	choose_bytes(&rnd, uuid, sizeof(uuid));
	m = conn_req((uint16_t)choose(&rnd, 2), 2, uuid);
	rtrs_msg_conn_req_encode(&m, priv);
	put_hello(s, priv, sizeof(priv));
	bend(s, 0);
	frames++;
	if (push(s))
		take(s);
	hang_up(s);
	return true;
}

/* --- frames */

static void
put_frame(struct stream *s, const struct tcp_frame *f, const void *payload)
{
	uint8_t buf[TCP_FRAME_SIZE];
	size_t from = s->n_out;

	tcp_frame_encode(buf, f);
	put(s, buf, sizeof(buf));
	if (f->len)
		put(s, payload, f->len);
	frames++;
	if (choose_percent(&rnd, 1) && !choose(&rnd, 2))
		bend(s, from);
}

/* Frames that came, in order; the payload of the last WRITE in *ret_data. */
static bool
next_frame(struct stream *s, struct tcp_frame *ret, uint8_t *data, size_t max)
{
	if (!need(s, TCP_FRAME_SIZE, PATIENCE_MS) ||
	    tcp_frame_decode(s->in, ret) || ret->len > sizeof(s->in) / 2 ||
	    !need(s, TCP_FRAME_SIZE + ret->len, PATIENCE_MS))
		return false;
	if (data && ret->len <= max)
		memcpy(data, s->in + TCP_FRAME_SIZE, ret->len);
	drop(s, TCP_FRAME_SIZE + ret->len);
	return ret->op != TCP_OP_DISCONNECT && ret->op != TCP_OP_ERROR;
}

static void
put_request(struct path *p, struct stream *s, unsigned id, bool read,
	    const void *usr, uint16_t usr_len, uint32_t data_len)
{
	static uint8_t buf[65536 + 400];
	struct rtrs_msg_req m = {
		.type = read ? RTRS_MSG_READ : RTRS_MSG_WRITE,
		.usr_len = usr_len,
		.sg_cnt = read && data_len,
		.desc = {.addr = 0x1000, .key = 7, .len = data_len},
	};
	uint32_t lead = read ? 0 : data_len, len;
	struct tcp_frame f = {
		.op = TCP_OP_WRITE_IMM,
		.raddr = p->raddr + (uint64_t)id * p->chunk +
			 (read ? data_len : 0),
		.rkey = p->rkey,
		.imm = rtrs_imm_io_req(p->mem_bits, id, data_len + usr_len),
	};

	memcpy(buf + lead, usr, usr_len);
	len = lead + usr_len;
	f.len = len + (uint32_t)rtrs_msg_req_encode(&m, buf + len);
	put_frame(s, &f, buf);
}

static void
put_imm(struct stream *s, uint32_t imm)
{
	const struct tcp_frame f = {.op = TCP_OP_WRITE_IMM, .imm = imm};

	put_frame(s, &f, NULL);
}

static bool
say_info(struct path *p)
{
	struct rtrs_msg_info_req m = {{0}};
	struct tcp_frame f = {.op = TCP_OP_SEND, .len = RTRS_INFO_REQ_LEN};
	uint8_t buf[RTRS_INFO_REQ_LEN], in[8 + 16 * 600];
	struct rtrs_desc d;

	/* Letters only: in the log each would look like another line. */
	for (unsigned i = 0; i < 12; i++)
		m.name[i] = (char)('a' + choose(&rnd, 26));
	rtrs_msg_info_req_encode(&m, buf);
	put_frame(&p->con[0], &f, buf);
	if (!push(&p->con[0]) || !next_frame(&p->con[0], &f, in, sizeof(in)) ||
	    rtrs_msg_info_rsp_desc(in, f.len, 0, &d))
		return false;
	p->raddr = d.addr;
	p->rkey = d.key;
	return true;
}

static bool
open_device(struct path *p)
{
	struct rnbd_msg_open m = {.access_mode = RNBD_ACCESS_RO};
	uint8_t usr[RNBD_OPEN_LEN], in[256];
	struct rnbd_msg_open_rsp rsp;
	struct tcp_frame f;

	snprintf(m.dev_name, sizeof(m.dev_name), "%s", device);
	rnbd_msg_open_encode(&m, usr);
	put_request(p, &p->con[0], 0, true, usr, sizeof(usr),
		    RNBD_OPEN_RSP_LEN);
	if (!push(&p->con[0]) || !next_frame(&p->con[0], &f, in, sizeof(in)))
		return false;
	if (f.op == TCP_OP_WRITE &&
	    !rnbd_msg_open_rsp_decode(in, f.len, &rsp)) {
		p->device_id = rsp.device_id;
		return next_frame(&p->con[0], &f, NULL, 0);
	}
	return true;
}

static void
put_io(struct path *p, unsigned id)
{
	struct rnbd_msg_io m = {
		.device_id = p->device_id,
		.sector = choose(&rnd, 128),
		.rw = (uint32_t)choose(&rnd, 6),
		.bi_size = (uint32_t)(1 + choose(&rnd, 4)) * 512,
	};
	uint8_t usr[RNBD_IO_LEN];
	bool data = m.rw == RNBD_OP_READ || m.rw == RNBD_OP_WRITE;

	if (choose_percent(&rnd, 10))
		m.sector = choose_lie(&rnd, 2048, 64);
	if (choose_percent(&rnd, 5))
		m.device_id = (uint32_t)choose_lie(&rnd, m.device_id, 32);
	rnbd_msg_io_encode(&m, usr);
	put_request(p, &p->con[1], id, m.rw == RNBD_OP_READ, usr, sizeof(usr),
		    data ? m.bi_size : 0);
}

/* One burst: requests and what goes between them; false: that was it. */
static bool
burst(struct path *p)
{
	struct stream *s = &p->con[1];
	unsigned want = 0, n = 8 + (unsigned)choose(&rnd, BURST - 8);
	struct tcp_frame f;

	for (unsigned i = 0; i < n && want < p->depth; i++) {
		if (choose_percent(&rnd, 30))
			put_imm(s, choose(&rnd, 2)
					   ? rtrs_imm_hb_msg()
					   : (uint32_t)choose_lie(
						     &rnd, 0xa0000000, 32) |
						     0x30000000);
		else
			put_io(p, want++);
	}
	if (!push(s))
		return false;
	while (want) {
		if (!next_frame(s, &f, NULL, 0))
			return false;
		if (f.op == TCP_OP_WRITE_IMM &&
		    rtrs_imm_decode(f.imm).type == RTRS_IMM_IO_RSP) {
			want--;
			replies++;
		}
	}
	while (p->con[0].n_in >= TCP_FRAME_SIZE || take(&p->con[0])) {
		if (p->con[0].n_in < TCP_FRAME_SIZE)
			break;
		if (!next_frame(&p->con[0], &f, NULL, 0))
			return false;
	}
	return true;
}

/* False: the daemon is silent. */
static bool
live(struct path *p)
{
	struct rtrs_msg_conn_rsp rsp = {0};
	uint8_t uuid[32];
	bool early = choose_percent(&rnd, 10);
	int r = 0;

	choose_bytes(&rnd, uuid, sizeof(uuid));
	for (p->n_cons = 0; p->n_cons < 2; p->n_cons++) {
		if (dial(&p->con[p->n_cons]))
			return false;
		r = greet(&p->con[p->n_cons], (uint16_t)p->n_cons, 2, uuid,
			  &rsp);
		if (r <= 0) {
			hang_up(&p->con[p->n_cons]);
			break;
		}
	}
	if (r > 0) {
		p->depth = rsp.queue_depth;
		p->mem_bits = rtrs_imm_mem_bits(p->depth);
		p->chunk = rsp.max_io_size + rsp.max_hdr_size;
		p->raddr = p->rkey = p->device_id = 0;
	}
	/* Before the path is up: for which there is no key, too. */
	if (r > 0 && (early || (say_info(p) && open_device(p)))) {
		ups += !early;
		for (unsigned i = 0; i < 60 && burst(p); i++)
			;
	}
	while (p->n_cons)
		hang_up(&p->con[--p->n_cons]);
	return r >= 0;
}

int
main(int argc, char **argv)
{
	static struct path p;
	struct timespec t0, t1;
	uint64_t want;
	double secs;

	if (argc < 4) {
		fprintf(stderr, "usage: %s PORT SEED FRAMES [DEVICE]\n",
			argv[0]);
		return 2;
	}
	port = (unsigned)strtoul(argv[1], NULL, 10);
	choice_by_seed(&rnd, strtoull(argv[2], NULL, 0));
	want = strtoull(argv[3], NULL, 0);
	if (argc > 4)
		device = argv[4];
	signal(SIGPIPE, SIG_IGN);
	clock_gettime(CLOCK_MONOTONIC, &t0);
	while (frames < want) {
		lives++;
		if (choose_percent(&rnd, 40) ? !garbage(&p.con[0])
					     : !live(&p)) {
			fprintf(stderr,
				"the daemon is silent after %" PRIu64
				" frames\n",
				frames);
			return 1;
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &t1);
	secs = (double)(t1.tv_sec - t0.tv_sec) +
	       (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
	printf("%" PRIu64 " frames in %" PRIu64 " lives, %" PRIu64
	       " paths up, %" PRIu64 " replies, %.1f s, %.0f frames/s\n",
	       frames, lives, ups, replies, secs, (double)frames / secs);
	return ups && replies ? 0 : 1;
}
