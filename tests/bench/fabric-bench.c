/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fabric alone: what one connection between two threads of this process
 * carries, when a request is a 64-byte SEND and its answer an RDMA WRITE with
 * immediate (a read), or the data goes out with the request (a write). Both
 * sides wait for their descriptor. It is the ceiling for what engines can do.
 *
 *   fabric-bench [--seconds S] [--pin]
 *
 * prints per case: requests per second, MB/s, CPU microseconds per request of
 * both threads together, system calls are left to strace -c.
 */
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

#include "rtrs/fabric/fabric.h"

#define F         (&fabric_tcp)
#define MAX_DEPTH 64
#define REQ_SIZE  64

struct bench {
	struct fabric_ctx *ctx;
	struct fabric_conn *conn;
	struct fabric_mr *mr; /* what the other side writes to */
	uint8_t *mem;
	uint32_t size;
	bool write;
	unsigned depth;
};

/* Given to the server with each request; same process, so no wire format. */
struct target {
	uint64_t raddr;
	uint32_t rkey;
};

static struct target server_target;
static atomic_bool server_ready;

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static uint64_t
cpu_ns(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (uint64_t)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) *
		       NSEC_PER_SEC +
	       (uint64_t)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) *
		       NSEC_PER_USEC;
}

static void
fill(void *user, void *buf, size_t len)
{
	if (getrandom(buf, len, 0) != (ssize_t)len)
		abort();
}

static void
check(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "fabric-bench: %s: %s\n", what, strerror(-r));
	exit(1);
}

static void
wait_for(struct fabric_ctx *ctx)
{
	struct pollfd pfd = {.fd = F->ctx_fd(ctx), .events = POLLIN};

	if (!F->ctx_arm(ctx))
		poll(&pfd, 1, -1);
	F->ctx_poll(ctx, now_ns());
}

static struct fabric_event
wait_event(struct fabric_ctx *ctx, enum fabric_ev_type type)
{
	struct fabric_event ev;
	struct fabric_wc wc[32];

	for (;;) {
		while (F->next_event(ctx, &ev))
			if (ev.type == type)
				return ev;
		wait_for(ctx);
		/* CLOSED waits until what was flushed has been taken. */
		while (type == FABRIC_EV_CLOSED && F->poll_cq(ctx, wc, 32) > 0)
			;
	}
}

static struct fabric_ctx *
ctx_new(void)
{
	const struct fabric_ctx_params p = {
		.rng = {fill, NULL},
		.now = now_ns(),
	};
	struct fabric_ctx *ctx;

	check(F->ctx_new(&p, &ctx), "ctx_new");
	return ctx;
}

static void
post_recv(struct bench *b, unsigned i, void *buf)
{
	const struct fabric_recv_wr wr = {
		.wr_id = i, .addr = buf, .len = REQ_SIZE};

	check(F->post_recv(b->conn, &wr), "post_recv");
}

/* --- server */

static void
answer(struct bench *b, const struct fabric_wc *wc, uint8_t (*req)[REQ_SIZE])
{
	struct fabric_send_wr wr = {.op = FABRIC_WR_RDMA_WRITE_WITH_IMM};
	unsigned id = wc->imm;
	struct target t;

	if (!b->write) {
		memcpy(&t, req[wc->wr_id], sizeof(t));
		wr.num_sge = 1;
		wr.sge[0].addr = b->mem + (size_t)id * b->size;
		wr.sge[0].len = b->size;
		wr.raddr = t.raddr + (uint64_t)id * b->size;
		wr.rkey = t.rkey;
	}
	wr.imm = id;
	post_recv(b, (unsigned)wc->wr_id, req[wc->wr_id]);
	check(F->post_send(b->conn, &wr), "post_send");
}

static void *
server(void *arg)
{
	struct bench *b = arg;
	struct fabric_conn_params p = {.max_send_wr = 2 * MAX_DEPTH,
				       .max_recv_wr = 2 * MAX_DEPTH};
	static uint8_t req[MAX_DEPTH][REQ_SIZE];
	struct fabric_wc wc[32];
	struct fabric_event ev;
	int n;

	b->conn = wait_event(b->ctx, FABRIC_EV_CONNECT_REQUEST).conn;
	check(F->accept(b->conn, &p), "accept");
	check(F->mr_reg(F->conn_pd(b->conn), b->mem, (size_t)b->depth * b->size,
			FABRIC_ACCESS_REMOTE_WRITE, &b->mr),
	      "mr_reg");
	server_target = (struct target){b->mr->raddr, b->mr->rkey};
	for (unsigned i = 0; i < b->depth; i++)
		post_recv(b, i, req[i]);
	atomic_store(&server_ready, true);
	for (;;) {
		wait_for(b->ctx);
		while ((n = F->poll_cq(b->ctx, wc, 32)) > 0)
			for (int i = 0; i < n; i++)
				if (wc[i].status == FABRIC_WC_SUCCESS)
					answer(b, &wc[i], req);
		while (F->next_event(b->ctx, &ev)) {
			if (ev.type == FABRIC_EV_DISCONNECTED)
				F->disconnect(b->conn);
			if (ev.type == FABRIC_EV_CLOSED)
				return NULL;
		}
	}
}

/* --- client */

static void
request(struct bench *b, unsigned id)
{
	const struct target t = {b->mr->raddr, b->mr->rkey};
	static uint8_t msg[MAX_DEPTH][REQ_SIZE];
	struct fabric_send_wr wr = {.imm = id, .num_sge = 1};

	if (b->write) {
		wr.op = FABRIC_WR_RDMA_WRITE_WITH_IMM;
		wr.num_sge = 2;
		wr.sge[0].addr = b->mem + (size_t)id * b->size;
		wr.sge[0].len = b->size - REQ_SIZE;
		wr.sge[1].addr = msg[id];
		wr.sge[1].len = REQ_SIZE;
		wr.raddr = server_target.raddr + (uint64_t)id * b->size;
		wr.rkey = server_target.rkey;
	} else {
		wr.op = FABRIC_WR_SEND_WITH_IMM;
		memcpy(msg[id], &t, sizeof(t));
		wr.sge[0].addr = msg[id];
		wr.sge[0].len = REQ_SIZE;
	}
	check(F->post_send(b->conn, &wr), "post_send");
}

static uint64_t
client(struct bench *b, uint64_t until)
{
	const struct fabric_recv_wr many = {.count = 2 * MAX_DEPTH};
	const struct fabric_recv_wr one = {.count = 1};
	unsigned in_flight = b->depth;
	struct fabric_wc wc[32];
	uint64_t done = 0;
	int n;

	check(F->post_recv(b->conn, &many), "post_recv");
	for (unsigned i = 0; i < b->depth; i++)
		request(b, i);
	while (in_flight) {
		bool stop;

		wait_for(b->ctx);
		stop = now_ns() >= until;
		while ((n = F->poll_cq(b->ctx, wc, 32)) > 0) {
			for (int i = 0; i < n; i++) {
				done++;
				if (stop) {
					in_flight--;
					continue;
				}
				check(F->post_recv(b->conn, &one), "post_recv");
				request(b, wc[i].imm);
			}
		}
	}
	return done;
}

static void
run_case(bool write, uint32_t size, unsigned depth, double seconds)
{
	struct bench c = {.size = size, .depth = depth, .write = write};
	struct bench s = c;
	struct fabric_conn_params p = {.max_send_wr = 2 * MAX_DEPTH,
				       .max_recv_wr = 2 * MAX_DEPTH};
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_storage ss;
	struct fabric_listener *l;
	uint64_t t0, cpu0, done;
	pthread_t thread;
	double dt;

	c.ctx = ctx_new();
	s.ctx = ctx_new();
	c.mem = calloc(depth, size);
	s.mem = calloc(depth, size);
	if (!c.mem || !s.mem)
		abort();
	memset(c.mem, 1, (size_t)depth * size);
	memset(s.mem, 2, (size_t)depth * size);
	check(F->listen(s.ctx, (struct sockaddr *)&in, sizeof(in), NULL, &l),
	      "listen");
	F->listener_addr(l, &ss);
	atomic_store(&server_ready, false);
	pthread_create(&thread, NULL, server, &s);
	p.dst = (struct sockaddr *)&ss;
	p.dst_len = sizeof(in);
	check(F->connect(c.ctx, &p, &c.conn), "connect");
	wait_event(c.ctx, FABRIC_EV_ESTABLISHED);
	check(F->mr_reg(F->conn_pd(c.conn), c.mem, (size_t)depth * size,
			FABRIC_ACCESS_REMOTE_WRITE, &c.mr),
	      "mr_reg");
	while (!atomic_load(&server_ready))
		sched_yield();
	t0 = now_ns();
	cpu0 = cpu_ns();
	done = client(&c, t0 + (uint64_t)(seconds * (double)NSEC_PER_SEC));
	dt = (double)(now_ns() - t0) / (double)NSEC_PER_SEC;
	printf("%-5s %7u  depth %2u  %9.0f IOPS  %8.1f MB/s  %6.2f us CPU\n",
	       write ? "write" : "read", size, depth, (double)done / dt,
	       (double)done * size / dt / 1e6,
	       (double)(cpu_ns() - cpu0) / 1e3 / (double)done);
	fflush(stdout);
	F->disconnect(c.conn);
	wait_event(c.ctx, FABRIC_EV_CLOSED);
	pthread_join(thread, NULL);
	F->mr_dereg(c.mr);
	F->mr_dereg(s.mr);
	F->conn_free(c.conn);
	F->conn_free(s.conn);
	F->listener_free(l);
	F->ctx_free(c.ctx);
	F->ctx_free(s.ctx);
	free(c.mem);
	free(s.mem);
}

int
main(int argc, char **argv)
{
	static const struct option opts[] = {
		{"seconds", required_argument, NULL, 's'},
		{"pin", no_argument, NULL, 'p'},
		{0},
	};
	static const uint32_t sizes[] = {4096, 126976};
	static const unsigned depths[] = {1, 16, 64};
	double seconds = 1;
	cpu_set_t set;
	int o;

	while ((o = getopt_long(argc, argv, "", opts, NULL)) != -1) {
		switch (o) {
		case 's':
			seconds = atof(optarg);
			break;
		case 'p':
			CPU_ZERO(&set);
			CPU_SET(0, &set);
			check(sched_setaffinity(0, sizeof(set), &set), "pin");
			break;
		default:
			return 1;
		}
	}
	for (int write = 0; write < 2; write++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			for (size_t k = 0; k < ARRAY_SIZE(depths); k++)
				run_case(write, sizes[i], depths[k], seconds);
	return 0;
}
