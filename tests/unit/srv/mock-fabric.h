/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scripted fabric: it records what the engine posts and lets the test be the
 * peer. Nothing moves by itself except what `auto_*` says. Keys and addresses
 * are those of the worked session of rnbd-protocol(7).
 */
#ifndef TESTS_UNIT_SRV_MOCK_FABRIC_H
#define TESTS_UNIT_SRV_MOCK_FABRIC_H

#include "rtrs/fabric/fabric.h"

#define MOCK_RADDR   UINT64_C(0x00007f1000000000)
#define MOCK_KEY(i)  (((i) + 1) * 0x1100u) /* of window i, as first bound */
#define MOCK_MAX_WR  8192
#define MOCK_MAX_CON 1024

/* A posted send, with the bytes that left. */
struct mock_sent {
	struct fabric_send_wr wr;
	uint8_t data[64]; /* the first bytes of all SGEs */
	uint32_t len;
};

struct mock_conn {
	struct mock *m;
	struct mock_ctx *ctx;
	void *user;
	struct fabric_addrs addrs;
	struct fabric_pd *pd;
	bool accepted, rejected, disconnected, freed;
	uint8_t priv[FABRIC_PRIV_MAX]; /* of the accept or the reject */
	size_t priv_len;
	unsigned max_send_wr, max_recv_wr;
	/* Receives, first to be used first. */
	struct fabric_recv_wr recvs[4];
	unsigned n_recvs;
	/* Sends: [seen, n) is what the test has not looked at, [done, n) what
	 * did not complete. */
	struct mock_sent *sent;
	unsigned n_sent, seen, done;
};

struct mock {
	struct fabric_ops ops;  /* give this to the engine */
	unsigned limit_wr;      /* of each queue; 0: none */
	unsigned limit_recv_wr; /* of receives alone; 0: none */
	bool auto_complete;     /* sends complete at the next poll */
	bool auto_close; /* disconnect() leads to CLOSED at the next poll */
	/* Errors to return, once each, when not 0. */
	int err_ctx_new, err_accept, err_migrate, err_post_send, err_post_recv;
	int err_mr_reg, err_mw_new, err_mr_dereg, err_conn_addrs;
	unsigned n_err_accept; /* so often instead of once */
	const char *pd_why;
	unsigned mr_reg_skip; /* this many work before err_mr_reg */

	struct mock_conn *conns[MOCK_MAX_CON];
	unsigned n_conns;
	unsigned n_mrs, n_mws, n_pds, n_ctxs, n_listeners; /* alive */
	unsigned n_mws_made, n_remote_mrs;
	unsigned flushes;
	struct fabric_listener *listener;
	struct mock_ctx *ctxs;
	struct fabric_mr *mrs[1024];
	struct fabric_mw *mws[1024];
};

void mock_init(struct mock *m, unsigned caps);
/* Fails the test if the engine left anything behind. */
void mock_fini(struct mock *m);

/* A client at peer asks the listener; returns the new connection. */
struct mock_conn *mock_connect(struct mock *m, const void *priv, size_t len,
			       const char *local, const char *peer);
void mock_event(struct mock_conn *c, enum fabric_ev_type type, int err);
/* The peer SENDs. */
void mock_send(struct mock_conn *c, const void *data, size_t len);
/* The peer posts RDMA WRITE WITH IMM; len 0: no data, no key. False: the key
 * does not allow it, and nothing happened. */
bool mock_write_imm(struct mock_conn *c, uint32_t rkey, uint64_t raddr,
		    const void *data, size_t len, uint32_t imm);
bool mock_key_valid(struct mock *m, uint32_t rkey, uint64_t raddr, size_t len);
/* Completes the oldest n sends that are not yet (those unsignalled in
 * silence). */
void mock_complete(struct mock_conn *c, unsigned n,
		   enum fabric_wc_status status);
void mock_complete_all(struct mock_conn *c);
/* Any completion, by hand. */
void mock_wc(struct mock_conn *c, const struct fabric_wc *wc);
/* The next send that the test has not seen, or NULL. */
const struct mock_sent *mock_next_sent(struct mock_conn *c);
unsigned mock_unseen(const struct mock_conn *c);
unsigned mock_n_recvs(const struct mock_conn *c);

#endif
