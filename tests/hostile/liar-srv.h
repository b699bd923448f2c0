/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server that lies: in its conn_rsp, in its INFO_RSP, in every answer and
 * between them. What it does not lie about it does by the rules, so that its
 * clients come far enough to be lied to.
 *
 *   liar-srv.c      connections, what comes in
 *   liar-srv-say.c  what goes out
 */
#ifndef TESTS_HOSTILE_LIAR_SRV_H
#define TESTS_HOSTILE_LIAR_SRV_H

#include "proto/rnbd-msg.h"
#include "proto/rtrs-imm.h"
#include "proto/rtrs-msg.h"
#include "tests/hostile/stage.h"

#define LS_PATHS  8
#define LS_CONS   8
#define LS_DEPTH  16    /* at most, and by default */
#define LS_CHUNK  16384 /* the same */
#define LS_HDR    4096
#define LS_RECVS  24
#define LS_TX     64 /* buffers of LS_TX_LEN */
#define LS_TX_LEN 8192
#define LS_DISK   UINT64_C(65536) /* bytes */

/* How much of what it says is a lie, in percent. */
enum ls_mood {
	LS_HONEST = 0,
	LS_SLY = 3,
	LS_MAD = 25,
};

struct ls_con {
	struct ls_path *path;
	struct fabric_conn *conn; /* NULL: none */
	bool dead, closing;
	uint16_t cid;
};

/* A request that waits for its answer. */
struct ls_ask {
	bool out;
	struct ls_con *con;
	struct rtrs_msg_req hdr;
	uint32_t data_len;
	uint16_t type;
	uint8_t usr[RTRS_REQ_HDR_MAX + 320];
};

struct ls_path {
	struct liar_srv *l;
	bool used, informed;
	struct rtrs_uuid uuid;
	struct ls_con cons[LS_CONS];
	struct fabric_pd *pd;
	struct fabric_mr *mr; /* of mem: chunks, then tx, then recvs */
	uint8_t *mem;
	struct rtrs_msg_conn_rsp offer;
	bool offer_true; /* sizes are those of the memory */
	struct ls_ask asks[LS_DEPTH];
	unsigned tx_next;
	/* Where a client once took an answer: late writes go there. */
	struct rtrs_desc last_desc;
};

struct liar_srv {
	struct player player;
	struct stage *stage;
	struct sim_node *node;
	struct fabric_ctx *ctx;
	struct fabric_listener *listener;
	struct ls_path paths[LS_PATHS];
	struct stage_timer tick; /* what it says unasked */
	enum ls_mood mood;
	/* Sizes that it says when it does not lie. */
	uint16_t depth;
	uint32_t chunk;
	uint64_t disk_bytes;
	bool away;   /* lets nobody in for now */
	bool closed; /* does not begin anything any more */
	uint64_t conn_reqs, admin_reqs;
};

void liar_srv_start(struct liar_srv *l, struct stage *s);
void liar_srv_stop(struct liar_srv *l);

/* --- liar-srv-say.c */

bool ls_lies(struct liar_srv *l);
void ls_post(struct ls_con *con, struct fabric_send_wr *wr);
/* Or none. */
void ls_answer_info(struct ls_path *path);
/* Answers one of those that wait, or not. */
void ls_answer(struct ls_path *path, unsigned id);
/* Heartbeats, answers to nothing, writes, messages. */
void ls_babble(struct ls_path *path);

/* --- liar-srv.c */

void ls_drop(struct ls_path *path, bool in_order);

static inline uint8_t *
ls_tx(struct ls_path *path)
{
	return path->mem + (size_t)LS_DEPTH * LS_CHUNK +
	       (size_t)(path->tx_next++ % LS_TX) * LS_TX_LEN;
}

#endif
