/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fabric without a peer: every call of the engine is recorded and held to the
 * contract of fabric.h (a breach fails the test), and the test itself plays the
 * peer by injecting events, messages and completions.
 */
#ifndef TESTS_MOCK_FABRIC_H
#define TESTS_MOCK_FABRIC_H

#include "rtrs/fabric/fabric.h"

#define MOCK_MAX_CONNS 256
#define MOCK_MAX_RECVS 4096
#define MOCK_MAX_SENDS 512
#define MOCK_MAX_KEYS  512

struct mock;

enum mock_conn_state {
	MOCK_CONNECTING,
	MOCK_UP,
	MOCK_DEAD, /* the peer left; disconnect() is still to come */
	MOCK_DISCONNECTING,
	MOCK_CLOSED,
	MOCK_FREED,
};

struct mock_recv {
	uint64_t wr_id;
	void *addr;
	uint32_t len;
};

struct fabric_conn {
	struct mock *m;
	enum mock_conn_state state;
	void *user;
	struct fabric_pd *pd;
	uint8_t priv[FABRIC_PRIV_MAX]; /* of connect() */
	size_t priv_len;
	unsigned max_send_wr, max_recv_wr;
	struct sockaddr_storage dst;
	struct mock_recv recvs[MOCK_MAX_RECVS]; /* FIFO */
	unsigned n_recvs, n_recvs_total;
	unsigned sends_out; /* posted, not retired by a completion */
	bool refused;       /* REJECTED or CONNECT_ERROR was given */
};

struct fabric_pd {
	struct mock *m;
	unsigned refs;
};

/* One posted WR, with the bytes that it carries. */
struct mock_send {
	struct fabric_conn *conn;
	struct fabric_send_wr wr;
	uint8_t *bytes;
	uint32_t len;
	bool completed;
};

/* A key that the peer can use: an MR or a bound window. */
struct mock_key {
	struct fabric_mr *mr;
	struct fabric_mw *mw;
	uint8_t *addr;
	uint64_t raddr;
	size_t len;
	uint32_t rkey;
	unsigned access;
	bool valid;
};

struct mock {
	struct fabric_ops ops; /* give its address to the engine */
	unsigned limit_wr;     /* of each queue; 0: none */
	/* What the next calls return. */
	int connect_err, post_send_err, post_recv_err, mr_reg_err;
	int mr_dereg_err; /* of keys that the peer may use */
	const char *pd_why;
	/* Completions of signalled sends come by themselves. */
	bool auto_complete;
	/* disconnect() is followed by CLOSED, confirmed as told. */
	bool auto_close, confirmed;
	/* The next key that the peer may use; 0: addresses and counted keys. */
	uint64_t next_raddr;
	uint32_t next_rkey;

	struct fabric_conn *conns[MOCK_MAX_CONNS]; /* in order of connect() */
	unsigned n_conns;
	struct mock_send sends[MOCK_MAX_SENDS];
	unsigned n_sends;
	struct mock_key keys[MOCK_MAX_KEYS];
	unsigned n_keys;

	/* Objects alive: all 0 in the end. */
	unsigned live_ctxs, live_conns, live_pds, live_mrs, live_mws;
	unsigned n_disconnects, n_flushes;
	uint32_t rkeys;

	struct fabric_event *evs;
	struct fabric_wc *wcs;
	unsigned n_evs, cap_evs, ev_at, n_wcs, cap_wcs, wc_at;
	uint8_t ev_priv[FABRIC_PRIV_MAX];
};

void mock_init(struct mock *m, unsigned caps);
void mock_deinit(struct mock *m);

/* The last connection that connect() made; fails the test if it is answered. */
struct fabric_conn *mock_last_conn(struct mock *m);
void mock_established(struct fabric_conn *c, const void *priv, size_t len);
void mock_rejected(struct fabric_conn *c, const void *priv, size_t len);
void mock_connect_error(struct fabric_conn *c, int err);
void mock_disconnected(struct fabric_conn *c, int err);
void mock_closed(struct fabric_conn *c, bool confirmed);

/* What the peer does. */
void mock_peer_send(struct fabric_conn *c, const void *buf, uint32_t len);
void mock_peer_send_imm(struct fabric_conn *c, const void *buf, uint32_t len,
			uint32_t imm);
void mock_peer_send_inv(struct fabric_conn *c, uint32_t rkey);
void mock_peer_write_imm(struct fabric_conn *c, uint32_t imm);
/* False: no such key, out of bounds or not permitted. */
bool mock_peer_write(struct fabric_conn *c, uint64_t raddr, uint32_t rkey,
		     const void *buf, uint32_t len);
/* Is there a key that reaches this memory? */
bool mock_is_exposed(struct mock *m, const void *addr);

void mock_complete(struct mock_send *s);
void mock_fail_send(struct mock_send *s);
struct mock_send *mock_last_send(struct mock *m);

#endif
