/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two contexts of the tcp fabric in one process, a client and a server, and a
 * raw socket for peers that do not keep to the rules. Time is what the test
 * says; waiting is for descriptors, with a limit.
 */
#ifndef TESTS_UNIT_FABRIC_TCP_WORLD_H
#define TESTS_UNIT_FABRIC_TCP_WORLD_H

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rtrs/fabric/fabric.h"
#include "rtrs/fabric/tcp-wire.h"

#define F (&fabric_tcp)

/* One end of the wire, and all that was reported there. */
struct end {
	struct fabric_ctx *ctx;
	struct fabric_conn *conn;
	struct fabric_event ev[64];
	char priv[64][FABRIC_PRIV_MAX]; /* copies, as their bytes go away */
	unsigned n_ev;
	struct fabric_wc wc[4096];
	unsigned n_wc;
};

struct world {
	uint64_t now;
	struct end c, s;
	struct fabric_listener *l;
	struct sockaddr_storage addr; /* of the listener */
};

struct world_opts {
	const char *host; /* NULL: 127.0.0.1 */
	unsigned connect_timeout_ms, disconnect_timeout_ms;
	unsigned handshake_timeout_ms, max_half_open;
	const struct log *log;
};

struct world *world_new(const struct world_opts *o);
void world_free(struct world *w);

/* A third context, for migration. */
struct fabric_ctx *world_ctx(struct world *w);

/* Params with room for 64 WRs each way. */
struct fabric_conn_params world_params(struct world *w);

/* Connects c to s and waits for both ESTABLISHED. */
void world_connect(struct world *w);
/* One round over both ends, without waiting. True if anything happened. */
bool world_step(struct world *w);
/* Waits for a descriptor, for 10 s in all. */
void world_wait(struct world *w);

#define WORLD_UNTIL(w, cond)                                                   \
	do {                                                                   \
		int round_ = 0;                                                \
		while (world_step(w), !(cond)) {                               \
			ck_assert_msg(round_++ < 100000, "never came: %s",     \
				      #cond);                                  \
			world_wait(w);                                         \
		}                                                              \
	} while (0)

/* Last event of this type, NULL if there was none. */
struct fabric_event *end_ev(struct end *e, enum fabric_ev_type type);
/* The same, where there must be one. */
struct fabric_event *need_ev(struct end *e, enum fabric_ev_type type)
	__attribute__((returns_nonnull));
/* Number of events of this type. */
unsigned end_n_ev(const struct end *e, enum fabric_ev_type type);
/* Disconnects, waits for CLOSED, frees. Returns confirmed. */
bool world_close(struct world *w, struct end *e);

/* --- posting in one line */

void post_empty_recvs(struct end *e, unsigned n);
void post_buf(struct end *e, uint64_t id, void *buf, uint32_t len);
int post_write(struct end *e, uint64_t id, const void *buf, uint32_t len,
	       uint64_t raddr, uint32_t rkey);
int post_write_imm(struct end *e, uint64_t id, const void *buf, uint32_t len,
		   uint64_t raddr, uint32_t rkey, uint32_t imm);
int post_send(struct end *e, uint64_t id, const void *buf, uint32_t len);
int post_send_imm(struct end *e, uint64_t id, const void *buf, uint32_t len,
		  uint32_t imm);
int post_send_inv(struct end *e, uint64_t id, uint32_t key);
struct fabric_mr *reg(struct end *e, void *buf, size_t len, unsigned access);

/* --- raw peers: blocking sockets with a time-out of 10 s */

int raw_connect(const struct sockaddr_storage *addr);
void raw_hello(int fd, const void *priv, uint16_t len);
void raw_write(int fd, const void *buf, size_t len);
/* Bytes until n or the end. */
size_t raw_read(int fd, void *buf, size_t n);
void raw_frame(int fd, struct tcp_frame f);
/* Closes with a reset. */
void raw_reset(int fd);
/* A raw peer that w->s accepted; w->s.conn is the other end. */
int world_raw_peer(struct world *w);

unsigned count_fds(void);
/* An assertion of check is a system call: not one per byte, please. */
bool all_zero(const void *p, size_t n);

#endif
