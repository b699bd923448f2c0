/* SPDX-License-Identifier: BSD-3-Clause */
/* The bench on which the cases of conformance.c run: contexts, waiting. */
#ifndef TESTS_UNIT_FABRIC_CONF_RIG_H
#define TESTS_UNIT_FABRIC_CONF_RIG_H

#include "tests/unit/fabric/conformance.h"

enum {
	CLT,
	SRV,
	SRV2,
	N_CTX
};

#define RIG_MAX_QUEUED 4096
#define RIG_WR         64

struct rig {
	const struct conf_driver *drv;
	const struct fabric_ops *ops;
	struct fabric_ctx *ctx[N_CTX];
	struct fabric_listener *listener;
	struct sockaddr_storage addr;
	socklen_t addr_len;
	/* Collected, not yet looked at. */
	struct fabric_event ev[N_CTX][64];
	uint8_t ev_priv[N_CTX][64][FABRIC_PRIV_MAX];
	int n_ev[N_CTX];
	struct fabric_wc wc[N_CTX][RIG_MAX_QUEUED];
	int n_wc[N_CTX];
	struct fabric_mr *mrs[64];
	int n_mrs;
	struct fabric_mw *mws[64];
	int n_mws;
	struct fabric_conn *conns[16];
	int n_conns;
};
extern struct rig rig;

void rig_setup(int round);
void rig_teardown(void);
/* Polls all contexts once and collects. */
void rig_collect(void);
/* Waits for the next event or completion of a context. */
struct fabric_event rig_event(int side, enum fabric_ev_type type);
struct fabric_wc rig_wc(int side);
/* The next one is a success of this request. */
struct fabric_wc rig_wc_ok(int side, uint64_t wr_id);
/* Everything that is under way has happened. */
void rig_settle(void);
bool rig_has(unsigned cap);

struct pair {
	struct fabric_conn *c, *s;
};
/* Connects and accepts on SRV; the connections are freed by teardown. */
struct pair rig_pair(struct fabric_pd *clt_pd, struct fabric_pd *srv_pd);
struct fabric_conn *rig_connect(const void *priv, size_t len,
				struct fabric_pd *pd);
void rig_accept(struct fabric_conn *conn, const void *priv, size_t len,
		struct fabric_pd *pd);
/* Its events were seen, it is freed here and not by teardown. */
void rig_free(struct fabric_conn *conn);
/* Freed by teardown. */
void rig_keep(struct fabric_conn *conn);
/* Not the rig's any more: rejected, or freed by the case. */
void rig_forget(struct fabric_conn *conn);

/* Deregistered by teardown. */
struct fabric_mr *rig_mr(struct fabric_conn *conn, void *buf, size_t len,
			 unsigned access);
void rig_dereg(struct fabric_mr *mr);
struct fabric_mw *rig_mw(struct fabric_conn *conn, enum fabric_mw_kind kind);

/* One buffer, registered where that is needed. */
struct fabric_sge rig_sge(struct fabric_conn *conn, void *buf, uint32_t len);
void rig_recv(struct fabric_conn *conn, uint64_t wr_id, void *buf,
	      uint32_t len);
int rig_post(struct fabric_conn *conn, const struct fabric_send_wr *wr);
/* What the client of p sent so far has arrived. */
void rig_barrier(struct pair p);
/* The bytes that (seed, i) stands for. */
void rig_fill(uint8_t *buf, size_t len, unsigned seed);
bool rig_is_filled(const uint8_t *buf, size_t len, unsigned seed);

#endif
