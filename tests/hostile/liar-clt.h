/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client that lies. It lives many lives: connects by the rules or against
 * them, says what it likes, leaves or is thrown out. What it says is built by
 * the encoders of proto/ and then bent; what should come of it is judged here,
 * by rnbd-protocol(7) and not by the server's code, and compared.
 *
 *   liar-clt.c      lives: connecting, INFO, the end; what comes in
 *   liar-connect.c  connection requests, receives
 *   liar-claim.c    UUIDs that are somebody else's
 *   liar-clt-say.c  what it says once it is connected
 *   liar-draft.c    the RNBD messages in that
 *   liar-judge.c    what a request should lead to
 *   liar-answer.c   and what it led to
 */
#ifndef TESTS_HOSTILE_LIAR_CLT_H
#define TESTS_HOSTILE_LIAR_CLT_H

#include "proto/rnbd-msg.h"
#include "proto/rtrs-imm.h"
#include "proto/rtrs-msg.h"
#include "tests/hostile/gateway.h"

#define LIAR_CONS    24 /* at once, of all that it tries */
#define LIAR_RECVS   24 /* per connection */
#define LIAR_DEPTH   16 /* more than the gateway has chunks */
#define LIAR_BURST   8
#define LIAR_MSG_MAX 20480 /* more than a chunk */
#define LIAR_DEVS    4

/* What a message should lead to. */
enum fate {
	FATE_NOTHING, /* no answer, and no harm */
	FATE_REPLY,   /* exactly one */
	FATE_CLOSE,   /* the path ends, without an answer */
	FATE_ANY,     /* it depends on what happens meanwhile */
};

struct verdict {
	enum fate fate;
	bool err_known; /* of a reply */
	int err;
};

/* A request that is out. */
struct shot {
	bool out, answered_to; /* data may come into rx */
	struct verdict verdict;
	uint16_t type; /* RNBD message */
	uint32_t rx_len;
	bool w_inv, inv_seen; /* its key is to be ended; it was */
	struct fabric_mr *mr; /* of NEED_INVAL */
	/* OPEN: the device, if it may be had; CLOSE: the id */
	const struct disk *opens;
	bool opens_ro;
	uint32_t closes;
};

struct liar_dev {
	uint32_t id;
	bool ro;
	const struct disk *disk;
};

/* Longer than any user message that a server may take. */
#define LIAR_USR_MAX 700

/* A request that is being made up. */
struct draft {
	uint16_t type;
	uint8_t usr[LIAR_USR_MAX];
	uint32_t usr_len, data_len;
	bool read;
	const struct disk *opens;
	bool opens_ro;
	uint32_t closes;
};

enum liar_con_state {
	LC_NONE,
	LC_CONNECTING,
	LC_UP,
	LC_DEAD,
	LC_CLOSING,
};

struct liar_con {
	struct liar_clt *l;
	struct fabric_conn *conn;
	enum liar_con_state state;
	uint16_t cid;
	bool must_fail;     /* the request was malformed */
	bool must_miss;     /* it is for a path that is up, and not newer */
	unsigned sends_out; /* not completed */
};

enum liar_state {
	LIAR_RESTS,
	LIAR_CONNECTS, /* one connection after another */
	LIAR_INFORMS,
	LIAR_TALKS,
	LIAR_WAITS, /* for its end, or for the time to leave */
	LIAR_LEAVES,
	LIAR_DONE,
};

struct liar_clt {
	struct player player;
	struct stage *stage;
	struct gateway *g;
	struct sim_node *node;
	struct fabric_ctx *ctx;
	unsigned index, host, n_lives;
	enum liar_state state;
	struct stage_timer timer;
	/* This life: */
	struct rtrs_uuid path_uuid, sess_uuid;
	char name[RTRS_NAME_LEN];
	struct liar_con cons[LIAR_CONS];
	unsigned n_cons;
	uint16_t cid_num, recon_cnt;
	struct fabric_pd *pd;
	struct fabric_mr *mr; /* of mem */
	uint8_t *mem;         /* rx, then recvs, then tx */
	uint64_t raddr[LIAR_DEPTH];
	uint32_t rkey[LIAR_DEPTH];
	struct shot shots[LIAR_DEPTH];
	struct liar_dev devs[LIAR_DEVS]; /* that OPEN gave */
	unsigned n_devs;
	uint32_t last_id; /* of a device, perhaps closed */
	bool shared;      /* others may use the same UUIDs */
	bool thief;       /* knows those of the honest one, for all lives */
	bool claims;      /* uses some of them */
	bool claims_sess; /* that of the session */
	bool doomed;      /* it said something that must end the path */
	bool uncertain;   /* it said something that may */
	bool silent;      /* does not answer heartbeats */
	bool dead;        /* the path ended */
	unsigned tx_next, bursts;
	uint64_t doom_by;
};

void liar_clt_start(struct liar_clt *l, struct stage *s, struct gateway *g,
		    unsigned index, unsigned host);
void liar_clt_free(struct liar_clt *l);

static inline uint8_t *
liar_rx(const struct liar_clt *l, unsigned id)
{
	return l->mem + (size_t)id * LIAR_MSG_MAX;
}

static inline uint8_t *
liar_tx(const struct liar_clt *l, unsigned i)
{
	return liar_rx(l, LIAR_DEPTH + i);
}

static inline uint8_t *
liar_recv_buf(const struct liar_clt *l, unsigned con, unsigned i)
{
	return liar_rx(l, LIAR_DEPTH + LIAR_BURST) +
	       ((size_t)con * LIAR_RECVS + i) * RTRS_RKEY_RSP_LEN;
}

/* Little-endian, n bytes. */
static inline void
liar_put(uint8_t *p, uint64_t v, unsigned n)
{
	for (; n--; v >>= 8)
		*p++ = (uint8_t)v;
}

/* --- liar-draft.c */

void liar_draft(struct liar_clt *l, struct draft *d);

/* --- liar-answer.c */

void liar_answered(struct liar_clt *l, uint32_t id, int err, bool w_inv);

/* --- liar-clt-say.c */

/* Posts some messages, or leaves. */
void liar_burst(struct liar_clt *l);
void liar_post(struct liar_clt *l, struct liar_con *con,
	       struct fabric_send_wr *wr);
/* An INFO_REQ, by the rules or not. */
void liar_info(struct liar_clt *l, bool honest);

/* --- liar-claim.c */

/* UUIDs, recon_cnt and name of this life, some of them the honest one's. */
void liar_claim(struct liar_clt *l);
/* A request is about to be sent; may make it older than it is. */
void liar_claim_check(struct liar_clt *l, struct liar_con *con, uint8_t *priv,
		      size_t len);
/* Its INFO_REQ must be refused. */
bool liar_claim_fails(const struct liar_clt *l);

/* --- liar-connect.c */

/* wr_id: this, connection and receive */
enum {
	LIAR_WR_SEND,
	LIAR_WR_RECV,
	LIAR_WR_RECV_INFO,
};

void liar_post_recv(struct liar_clt *l, struct liar_con *con, unsigned i);
void liar_post_info_recv(struct liar_clt *l);
/* The next connection of its path. */
void liar_connect_next(struct liar_clt *l);
/* A request of which some field, or the length, is a lie. */
void liar_connect_bent(struct liar_clt *l);

/* --- liar-clt.c */

#define liar_fail(l, ...)                                                      \
	(stage_note((l)->stage, "liar %u:", (l)->index),                       \
	 stage_fail((l)->stage, "liar: " __VA_ARGS__))
/* The path has to end now. */
void liar_doom(struct liar_clt *l);
void liar_leave(struct liar_clt *l);

/* --- liar-judge.c */

/* A request as it is in the chunk once it arrived. */
struct claim {
	uint32_t id, off;
	const uint8_t *bytes; /* what is known of the chunk: [start, +len) */
	uint32_t start, len;
};
/* Is an OPEN or a CLOSE under way? */
bool liar_opens_or_closes(const struct liar_clt *l);
struct verdict liar_judge(const struct liar_clt *l, const struct claim *c);

#endif
