/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of the RTRS client engine. One noun per file:
 *
 *   sess.c     the session: open, close, progress, what the caller sees
 *   path.c     the states of a path: one table, one setter, recovery
 *   paths.c    the set of paths, and the commands that change it
 *   connect.c  bringing a path up: connections, INFO exchange
 *   fence.c    that a lost path executes nothing any more
 *   mem.c      the registered memory of a path
 *   con.c      one connection: queues, completions
 *   req.c      one request: build, post, complete, fail over
 *   permit.c   the pool of permits and those who wait for one
 *   policy.c   which path takes the next request
 *   words.c    addresses and errors in words
 *
 * When is a lost request given back? A connection that dies may still read the
 * data of writes, be written to by reads, and be executed by the server. So a
 * request of a lost path is sent again or reported lost only after disconnect()
 * of every connection of that path led to CLOSED, or conn_free() did the same
 * at once, which discards everything that is under way here. If nothing has
 * confirmed by then that the peer's side is gone too, it is not sent again
 * before fence.c says so: on another path that is up the request waits for
 * that, and when there is none it is reported lost, and link_up() waits.
 *
 * When do callbacks run? done(), link_up(), link_down() and failed() only from
 * progress() and free(); got() also from permit_put(). Whatever goes wrong in
 * another call only changes states, and progress() draws the conclusions
 * (sess_settle()). So nothing recurses.
 */
#ifndef RTRS_CLT_CLT_H
#define RTRS_CLT_CLT_H

#include "rtrs/rtrs.h"

#include "proto/rtrs-imm.h"
#include "rtrs/base/bigmem.h"
#include "rtrs/hb.h"

/* Sizes of the queues of connection 0, which must be known before the depth. */
#define CLT_SERVICE_WR    1026
#define CLT_SERVICE_RECVS 1024
/* Receives beyond one (two) per permit: heartbeats, and completions that were
 * taken but not yet posted again. */
#define CLT_SPARE_RECVS   16
/* Send WRs beyond the sum of clt_con_sizes(): heartbeats, and requests that
 * were answered before their send completion was seen. */
#define CLT_SPARE_SENDS   64
#define CLT_WC_BATCH      64
/* User message and header of one request, in the slot of its permit. */
#define CLT_SLOT_LEN      (RTRS_USR_LEN_MAX + RTRS_REQ_HDR_MAX)
#define CLT_WHY_LEN       320
/* Fabrics that the paths of one session may use. */
#define CLT_MAX_FABS      4

/* One fabric in use, shared by all paths over it. */
struct clt_fab {
	const struct fabric_ops *ops;
	struct fabric_ctx *ctx;
};

enum clt_con_state {
	CLT_CON_NONE,          /* no fabric_conn */
	CLT_CON_CONNECTING,    /* connect() called, nothing posted */
	CLT_CON_UP,            /* ESTABLISHED */
	CLT_CON_DISCONNECTING, /* disconnect() called, CLOSED comes */
	CLT_CON_CLOSED,        /* conn_free() is left to do */
};

struct clt_con {
	struct rtrs_clt_path *path;
	struct fabric_conn *conn; /* NULL: CLT_CON_NONE */
	enum clt_con_state state;
	unsigned cid;
	/* Send queue, in WRs: posted and not known to be complete; of these,
	 * posted since the last signalled one. */
	unsigned sq_max, sq_used, sq_unsignaled;
	unsigned rq_max;
	/* Empty receives to post again; on clt->owed while not 0. */
	unsigned recv_owed;
	struct clt_con *owed_next;
};

/* What a wr_id says: kind, then for sends the WRs that it retires, then id. */
enum clt_wr_kind {
	CLT_WR_SEND,      /* signalled now and then */
	CLT_WR_SEND_REQ,  /* id: permit; always signalled, see CLT_WAIT_SEND */
	CLT_WR_INV,       /* id: permit; the local end of its window */
	CLT_WR_RECV,      /* empty receive */
	CLT_WR_RECV_RKEY, /* id: number of its buffer */
	CLT_WR_RECV_INFO,
};

static inline uint64_t
clt_wr_id(enum clt_wr_kind kind, unsigned count, uint32_t id)
{
	return (uint64_t)id << 32 | (uint64_t)(count & 0xffffff) << 8 | kind;
}

static inline enum clt_wr_kind
clt_wr_id_kind(uint64_t wr_id)
{
	return (enum clt_wr_kind)(wr_id & 0xff);
}

static inline unsigned
clt_wr_id_count(uint64_t wr_id)
{
	return (unsigned)(wr_id >> 8) & 0xffffff;
}

static inline uint32_t
clt_wr_id_id(uint64_t wr_id)
{
	return (uint32_t)(wr_id >> 32);
}

/* What a request that is out still waits for; it is done when nothing is left.
 */
enum clt_wait {
	CLT_WAIT_REPLY = BIT(0),
	/*
	 * The fabric reads the caller's data until the send completes. An
	 * honest peer replies later than that; a dishonest one must not make
	 * us give the buffer back early.
	 */
	CLT_WAIT_SEND = BIT(1),
	CLT_WAIT_INV = BIT(2), /* of the window, which the peer left alive */
};

/* Per permit: the request that uses it. */
struct clt_slot {
	struct rtrs_clt_req *req; /* NULL: not in flight */
	int err;                  /* of the reply */
	uint8_t wait;             /* enum clt_wait */
	bool inval;               /* NEED_INVAL was set */
};

/* A chunk of the server as this path addresses it. */
struct clt_chunk {
	uint64_t raddr;
	uint32_t rkey;
};

/* Memory of one incarnation of a path; all of it comes and goes with its PD. */
struct clt_mem {
	/* One block, never written by the peer's RDMA: */
	uint8_t *ctl;
	struct fabric_mr *ctl_mr;
	uint8_t *info_req;
	uint8_t *rkey_bufs; /* NEW_RKEY: 8 bytes per receive */
	uint8_t *slots;     /* CLT_SLOT_LEN per permit */
	uint8_t *info_rsp;
	uint32_t info_rsp_len;
	/* Without CHEAP_MR: max_io_size per permit, and windows on it. */
	struct bigmem bounce;
	struct fabric_mr *bounce_mr;
	struct fabric_mw **mw; /* NULL: no windows */
	unsigned n_mw;
	struct clt_chunk *chunks;
};

struct rtrs_clt_path {
	struct rtrs_clt *clt;
	unsigned id;  /* for the caller; never used twice */
	unsigned idx; /* in clt->paths; changes when another one is removed */
	struct clt_fab *fab;
	struct rtrs_path_addr addr;
	struct fabric_addrs actual;
	enum rtrs_clt_path_state state; /* clt_path_set_state() only */
	struct rtrs_uuid uuid;
	bool tried; /* an attempt has ended, one way or the other */
	bool was_up;
	bool adding;    /* dropped again if its first attempt fails */
	bool removing;  /* to be forgotten once it is CLOSED */
	bool held_down; /* by command; does not reconnect */
	bool info_sent;
	bool draining;    /* connections and memory are not released yet */
	bool unconfirmed; /* a CLOSED came without confirmation */
	bool hurry;       /* no wait before the next attempt */
	bool odd_imm;     /* an unknown immediate was logged */
	uint16_t recon_cnt;
	unsigned attempts;     /* failed in a row */
	int err;               /* why it is down */
	char why[CLT_WHY_LEN]; /* the same in words */
	uint64_t timer;        /* CONNECTING: give up; RECONNECTING: attempt */
	uint64_t grace;        /* draining: time to close in order */

	/* The server may still execute what was out when it was lost. */
	bool unfenced, asked;
	uint64_t quiesce;  /* unfenced: for so long at most */
	uint64_t fence_at; /* the next probe; or the end of the present one */
	struct clt_con fence;
	struct clt_fab *fence_fab; /* of fence.conn */

	struct clt_con *cons;
	unsigned n_cons;
	struct fabric_pd *pd;

	/* From the conn_rsp of connection 0: */
	unsigned srv_depth;
	unsigned mem_bits;
	uint32_t max_io_size, max_hdr_size, chunk_size;
	bool new_rkey;
	/* What we do on this path: */
	bool cheap_mr;
	bool inval;       /* NEED_INVAL on reads with data */
	unsigned n_slots; /* permits of the session when it came up */

	struct clt_mem mem;
	struct rtrs_hb hb;
	struct rtrs_clt_req *inflight; /* in order of posting */
	struct rtrs_clt_stats stats;

	/* The command that is under way; op_done: its result is due. */
	struct rtrs_clt_path_op *op;
	bool op_done;
	int op_err;
};

struct clt_permits {
	struct rtrs_permit *all;
	struct clt_slot *slots;
	uint64_t *free_map; /* bit set: free */
	unsigned n, n_free;
	unsigned first_word; /* no free bit below */
	bool serving;
	struct rtrs_permit_waiter *admin_waiters, *io_waiters;
};

struct rtrs_clt {
	char name[RTRS_NAME_LEN];
	struct rtrs_uuid uuid;
	struct rtrs_clt_params
		p; /* defaults filled in; name, paths not valid */
	struct rng rng;
	const struct log *log;
	uint64_t now;
	struct clt_fab fabs[CLT_MAX_FABS];
	unsigned n_fabs;
	struct rtrs_clt_path *paths[RTRS_MAX_PATHS]; /* in order of addition */
	unsigned n_paths;
	unsigned last_path_id;
	unsigned n_up; /* paths CONNECTED */

	bool opened; /* as many initial paths came up as connect asks for */
	bool link;   /* what the caller was told last */
	bool lost;   /* n_up was 0 since; link_down() is due */
	uint64_t lost_at;
	bool closing;
	bool failed; /* failed() was called, or is due with */
	bool failed_due;
	int open_err;
	bool kick; /* progress() has something to do at once */

	unsigned srv_depth; /* of the server; 0: not known yet */
	uint32_t max_io_size;
	struct clt_permits permits;
	struct clt_con *owed;

	enum rtrs_mp_policy policy;
	unsigned rr_next;

	char why[CLT_WHY_LEN];
};

/* path.c */
bool clt_path_may(unsigned from, unsigned to);
/* The only place that sets a state. False: not a legal transition. */
bool clt_path_set_state(struct rtrs_clt_path *path,
			enum rtrs_clt_path_state state);
/*
 * Something is wrong with a path that is CONNECTING or CONNECTED: remembers the
 * reason in words and begins to tear it down. In other states: nothing.
 */
void clt_path_fail(struct rtrs_clt_path *path, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same, and it will not come back. */
void clt_path_give_up(struct rtrs_clt_path *path, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void clt_path_close(struct rtrs_clt_path *path);
/* Ends a path that is torn down, if it is. True: something was done. */
bool clt_path_reap(struct rtrs_clt_path *path);
/* Drops connections, memory and requests at once. */
void clt_path_drop(struct rtrs_clt_path *path);
void clt_path_timers(struct rtrs_clt_path *path);
/* The end of its command, told by the next progress(). */
void clt_path_op_end(struct rtrs_clt_path *path, int err);
uint64_t clt_path_deadline(const struct rtrs_clt_path *path);

/* paths.c */
/* Adds a path that is not started; it is the last of clt->paths. */
int clt_paths_new(struct rtrs_clt *clt, const struct rtrs_path_addr *addr,
		  struct rtrs_clt_path **ret);
void clt_paths_free(struct rtrs_clt *clt);
/* Ends commands, forgets removed paths. */
void clt_paths_settle(struct rtrs_clt *clt);
/* A heartbeat was answered: takes the latency of path->hb over. */
void clt_path_count_latency(struct rtrs_clt_path *path);

/* connect.c */
void clt_connect_start(struct rtrs_clt_path *path);
void clt_connect_established(struct clt_con *con, const void *priv, size_t len);
void clt_connect_rejected(struct clt_con *con, const struct fabric_event *ev);
/* why: in words; NULL: err says it. */
void clt_connect_error(struct clt_con *con, int err, const char *why);
void clt_connect_disconnected(struct clt_con *con, int err);
void clt_connect_info_rsp(struct rtrs_clt_path *path, uint32_t len);

/* fence.c */
/* The path was lost with requests out. */
void clt_fence_raise(struct rtrs_clt_path *path);
/* The server closes it, too: it can be asked at once. */
void clt_fence_hurry(struct rtrs_clt_path *path);
/* The server has nothing left of it. */
void clt_fence_passed(struct rtrs_clt_path *path);
/* The path goes, and nobody asks any more. */
void clt_fence_drop(struct rtrs_clt_path *path);
/* The number of the next attempt, which leaves one to those who ask. */
uint16_t clt_fence_attempt_cnt(const struct rtrs_clt_path *path);
/* Of a rejected connection 0: does it say that nothing is left? */
bool clt_fence_is_proof(int err);
void clt_fence_event(struct clt_con *con, const struct fabric_event *ev);
void clt_fence_timers(struct rtrs_clt_path *path);
uint64_t clt_fence_deadline(const struct rtrs_clt_path *path);

/* mem.c */
/* On errors with words in why, or "" if the errno says it. */
int clt_mem_new(struct rtrs_clt_path *path, char *why, size_t why_len);
/* Windows come after their connections and go before them. */
int clt_mem_new_windows(struct rtrs_clt_path *path);
void clt_mem_free_windows(struct rtrs_clt_path *path);
void clt_mem_free(struct rtrs_clt_path *path);

/* con.c */
void clt_con_sizes(struct clt_con *con);
/* Of a connection that was established: what it was given. */
void clt_con_take_limits(struct clt_con *con);
/* WRs of a send queue that carries everything alone. */
unsigned clt_con_need_sends(const struct rtrs_clt_path *path);
/* Receives that a connection needs beside that of INFO_RSP. */
unsigned clt_con_n_recvs(const struct clt_con *con);
int clt_con_post_recvs(struct clt_con *con);
bool clt_con_has_room(const struct clt_con *con, unsigned wrs);
/* Fills wr_id and signaled, and posts one WR. Errors: those of post_send. */
int clt_con_post(struct clt_con *con, struct fabric_send_wr *wr,
		 enum clt_wr_kind kind, uint32_t id);
int clt_con_post_imm(struct clt_con *con, uint32_t imm);
void clt_con_stop(struct clt_con *con);
void clt_con_free(struct clt_con *con);
void clt_con_event(struct rtrs_clt *clt, const struct fabric_event *ev);
void clt_con_wc(const struct fabric_wc *wc);
void clt_con_post_owed(struct rtrs_clt *clt);

/* req.c */
/* A reply came on path. */
void clt_req_reply(struct rtrs_clt_path *path, struct clt_con *con,
		   uint32_t msg_id, int err, bool w_inv);
/* What a request waited for came. */
void clt_req_waited(struct rtrs_clt_path *path, uint32_t id, uint8_t what);
/* Its connections are gone: fails over or completes every request of path. */
void clt_req_release_all(struct rtrs_clt_path *path);

/* permit.c */
/* -EBUSY: permits are out, or waiting requests hold them. */
int clt_permits_resize(struct clt_permits *pool, unsigned n);
void clt_permits_free(struct clt_permits *pool);
/* Serves whoever waits; true if there was somebody. */
bool clt_permits_serve(struct rtrs_clt *clt);

/* policy.c */
struct clt_tried {
	uint64_t map[RTRS_MAX_PATHS / 64];
};
/* The next CONNECTED path to try for one request; NULL: none is left. */
struct rtrs_clt_path *clt_policy_next(struct rtrs_clt *clt,
				      struct clt_tried *tried);

/* sess.c */
void clt_random_uuid(const struct rng *rng, struct rtrs_uuid *ret);

/* words.c */
const char *clt_addr_words(const struct rtrs_clt_path *path,
			   char buf[RTRS_ADDR_TEXT_MAX]);
/* err: negative errno. NULL where clt_errno_words() says enough. */
const char *clt_reject_words(int err);
const char *clt_errno_words(int err, char *buf, size_t len);

#endif
