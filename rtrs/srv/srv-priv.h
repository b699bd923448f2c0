/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server engine's objects. A file of this folder per noun:
 *
 *   listen.c   rtrs_listener and rtrs_conn_request
 *   srv.c      rtrs_srv: contexts of the fabrics, progress, timers, the end
 *   admit.c    a connection request until it is accepted, rejected or parked
 *   sess.c     a session: comes up with its first path, down with its last
 *   path.c     a path: its states, INFO_REQ, heartbeats, teardown
 *   con.c      a connection: receives, its send queue, its completions
 *   chunk.c    the memory of a path and the keys over it
 *   op.c       one request until its one reply
 *
 * Who frees what, and when: completions, callbacks and op_done() only change
 * states and call disconnect(). Connections, paths and sessions are freed in
 * one place, rtrs_srv_progress() between two batches of completions, so that
 * no pointer in a batch can go stale. `work` says what there is to do there.
 */
#ifndef RTRS_SRV_SRV_PRIV_H
#define RTRS_SRV_SRV_PRIV_H

#include "rtrs/rtrs.h"

/* A peer can make the tables grow: running out of memory is an answer. */
#define HASH_NONFATAL_OOM            1
/* The default's fall-throughs are comments, which clang warns about. */
#define HASH_FUNCTION(key, len, ret) HASH_FNV(key, len, ret)
#include <uthash.h>
#include <utlist.h>

#include "proto/rtrs-imm.h"
#include "rtrs/base/bigmem.h"
#include "rtrs/base/dues.h"
#include "rtrs/hb.h"

#define SRV_INFO_TIMEOUT_MS       30000
#define SRV_MAX_SESSIONS          1024
#define SRV_MAX_UNIDENTIFIED      16384
/* Connection requests that wait at once, of all clients. They are looked at
 * one by one. */
#define SRV_MAX_PARKED            400
#define SRV_PARK_TIMEOUT_MS       15000
/* A request that hangs must not keep the others of its client from failing
 * over. */
#define SRV_DRAIN_TIMEOUT_MS      10000
/*
 * A path is fenced by its own requests, not by the peer's confirmation, so
 * there is no reason to hold a dead connection for long.
 */
#define SRV_DISCONNECT_TIMEOUT_MS 5000
/*
 * A path that is up for so long after an answer has brought it to the client:
 * heartbeats, and what the fabrics allow an acknowledgement to take, are
 * shorter. Or as long as heartbeats take, if they were made slower.
 */
#define SRV_ANSWER_DOUBT_MS       60000
#define SRV_MAX_CTXS              4
/* Receives of connection 0, as the kernel has it; more if queue_depth is. */
#define SRV_SERVICE_RECVS         512
/* Receives of a path whose connections share them, beyond one per request that
 * its client may have out: heartbeats. */
#define SRV_SHARED_SPARE          64
/* Send queue entries that replies leave to heartbeats and INFO_RSP. */
#define SRV_SQ_RESERVE            8
/* A send queue smaller than this serves nobody. */
#define SRV_SQ_MIN                (4 * SRV_SQ_RESERVE)

/* What progress has to look at besides completions. */
enum srv_work {
	SRV_WORK_ADMIT = BIT(0),    /* requests to judge, new or parked */
	SRV_WORK_TEARDOWN = BIT(1), /* a path or a session can move on */
	SRV_WORK_WAKE = BIT(2),     /* a chunk index became free */
};

/* One fabric in use. */
struct srv_ctx {
	const struct fabric_ops *ops;
	struct fabric_ctx *fabric;
};

struct rtrs_srv {
	struct rtrs_srv_params p; /* zeroes replaced by the defaults */
	const struct log *log;
	uint64_t now;
	unsigned mem_bits;
	unsigned work; /* SRV_WORK_* */
	bool closing;
	struct srv_ctx ctxs[SRV_MAX_CTXS];
	unsigned n_ctxs;
	struct rtrs_srv_sess *sessions; /* by uuid */
	struct srv_path *paths;         /* all of them */
	unsigned n_paths;
	struct rtrs_srv_sess *waking;  /* those with wake set */
	struct dues dues;              /* of paths */
	size_t chunk_mem;              /* promised to paths */
	struct rtrs_srv_counts counts; /* but for chunk_mem */
	unsigned n_unidentified;       /* connections of CONNECTING paths */
	struct rtrs_conn_request *incoming, *parked;
	unsigned n_parked;
	uint64_t parked_due; /* nothing parked expires before; may be early */
	uint64_t n_answered; /* connection requests */
	/* Of the request that is judged: the limit that it met, and the error
	 * that goes with it; 0: none. */
	enum rtrs_srv_reject limit;
	int limit_err;
	bool has_broken; /* a path with a broken connection, not closed yet */
};

struct rtrs_conn_request {
	const struct fabric_ops *ops;
	struct fabric_conn *conn;
	struct rtrs_msg_conn_req msg;
	struct fabric_addrs addrs;
	/* From rtrs_srv_take(): */
	struct srv_ctx *ctx;
	uint64_t expires; /* while parked */
	struct rtrs_conn_request *prev, *next;
};

struct rtrs_srv_sess {
	struct rtrs_srv *srv;
	struct rtrs_uuid uuid;
	struct srv_path *paths; /* by uuid */
	unsigned n_connected;
	unsigned n_running; /* requests with the upper layer, of all paths */
	/*
	 * up: sess_up() was accepted, sess_down_done() has not come yet.
	 * going_down: and no path is connected any more; nothing new comes in.
	 */
	bool up, going_down, down_called;
	bool wake; /* a head of slots is WAITING */
	struct rtrs_srv_sess *wake_prev, *wake_next;
	void *user;
	char name[RTRS_NAME_LEN]; /* of the first path that came up */
	/*
	 * Per chunk index, the request that the upper layer executes, and
	 * behind it those of other paths that wait for its end: a request that
	 * is sent again after a fail-over must not overtake itself.
	 */
	struct srv_op **slots;
	UT_hash_handle hh;
};

/* The memory that the peer of a path writes to. */
struct srv_chunks {
	uint8_t *mem;      /* queue_depth * chunk_size; NULL: not yet */
	struct bigmem big; /* where mem comes from */
	struct fabric_mr *mr;
	struct fabric_mw **mw; /* NEW_RKEY: one per chunk */
	unsigned n_mw;
	/* What we send from: INFO_RSP, then one RKEY_RSP per chunk. */
	uint8_t *tx;
	size_t tx_rkey; /* offset of the first RKEY_RSP */
	struct fabric_mr *tx_mr;
};

enum srv_op_state {
	SRV_OP_FREE,
	SRV_OP_INVALIDATING, /* until the window is closed */
	SRV_OP_WAITING,      /* for an older request on this chunk index */
	SRV_OP_RUNNING,      /* the upper layer's; memory stays */
	SRV_OP_REPLYING,     /* for room in the send queue */
};

struct srv_op {
	struct rtrs_srv_op pub;
	struct srv_path *path;
	struct srv_con *con; /* where it came from and the reply goes */
	uint16_t id;         /* chunk index and msg_id */
	enum srv_op_state state;
	bool has_desc; /* the answer goes to desc */
	bool need_inval;
	int err;
	uint32_t off; /* of the header in the chunk */
	struct rtrs_desc desc;
	/* Of a vital answer, while pub.vital: */
	uint64_t answered_at;
	uint64_t answer_seq;      /* in the send queue; 0: not posted */
	struct srv_op *sq_next;   /* in the con's queue */
	struct srv_op *slot_next; /* behind it in sess->slots */
	uint8_t usr[RTRS_USR_LEN_MAX];
};

struct srv_con {
	struct srv_path *path;
	struct fabric_conn *conn; /* NULL once freed */
	uint16_t cid;
	bool closed; /* CLOSED was reported */
	/*
	 * Send queue, counted in WRs since the beginning. Each WR's id carries
	 * its own number, so a completion says how far the queue is done.
	 */
	unsigned sq_size;
	unsigned sq_unsignaled;
	uint64_t sq_posted, sq_done;
	/* Requests that wait for room: to invalidate or to reply. */
	struct srv_op *sq_head, *sq_tail;
	bool hb_msg_due, hb_ack_due; /* the same for heartbeats */
};

struct srv_path {
	struct rtrs_srv *srv;
	struct rtrs_srv_sess *sess;
	struct srv_ctx *ctx;
	struct rtrs_uuid uuid;
	enum rtrs_srv_path_state state; /* changed by set_state() only */
	uint16_t cid_num, recon_cnt;
	bool new_rkey;
	bool shared_recv; /* one queue of receives for all of cons */
	unsigned n_cons;  /* accepted */
	unsigned n_open;  /* of these, not CLOSED yet */
	/* The client says that it gave the path up: it will not answer. */
	bool given_up;
	struct srv_con **cons; /* cid_num */
	struct fabric_addrs addrs;
	char label[RTRS_ADDR_TEXT_MAX]; /* peer's address, for the log */
	struct fabric_pd *pd;
	struct rtrs_hb hb;
	struct due due; /* the first of its times, or earlier */
	/* A connection that was found dead. What says why is its event, which
	 * comes with the next poll at the latest; until then nothing is done.
	 */
	struct srv_con *broken;
	bool broken_by_us;      /* a work request of ours killed it */
	uint64_t info_deadline; /* while CONNECTING */
	bool info_held;         /* INFO_REQ waits until the session is down */
	bool draining; /* closes when nothing executes; takes nothing more */
	uint64_t drain_deadline; /* or then; TIME_NEVER */
	bool said_lost;          /* requests_lost() was called for it */
	struct rtrs_msg_info_req info;
	uint8_t info_buf[RTRS_INFO_REQ_LEN];
	struct fabric_mr *info_mr;
	struct srv_chunks chunks;
	size_t chunk_mem;   /* promised */
	struct srv_op *ops; /* queue_depth, from INFO_REQ on */
	unsigned n_running;
	bool warned_imm;
	struct rtrs_srv_stats stats;
	struct srv_path *prev, *next;
	UT_hash_handle hh;
};

/* --- srv.c */

static inline void
srv_work(struct rtrs_srv *srv, unsigned work)
{
	srv->work |= work;
}
/* The context of a fabric, made on demand. -ENOSPC: too many fabrics. */
int srv_ctx_get(struct rtrs_srv *srv, const struct fabric_ops *ops,
		struct srv_ctx **ret);

/* --- admit.c */

/* Judges what came in and what is parked. */
void srv_admit_run(struct rtrs_srv *srv);
/* Rejects parked requests whose time is over. Returns the next such time. */
uint64_t srv_admit_expire(struct rtrs_srv *srv);
/* The peer of a request that is not answered yet left. False: not one. */
bool srv_admit_drop(struct rtrs_srv *srv, const struct fabric_conn *conn);

/* --- sess.c */

struct rtrs_srv_sess *srv_sess_find(const struct rtrs_srv *srv,
				    const struct rtrs_uuid *uuid);
int srv_sess_new(struct rtrs_srv *srv, const struct rtrs_uuid *uuid,
		 struct rtrs_srv_sess **ret);
/* Asks the upper layer; the path joins or brings up its session. */
int srv_sess_path_up(struct rtrs_srv_sess *sess, struct srv_path *path);
/* The state of a path changed from CONNECTED. */
void srv_sess_path_left(struct rtrs_srv_sess *sess);
/* Its waiting requests are to be looked at. */
void srv_sess_wake(struct rtrs_srv_sess *sess);
void srv_sess_forget_wake(struct rtrs_srv_sess *sess);
/* Calls what is due; frees the session when nothing is left of it. */
void srv_sess_advance(struct rtrs_srv_sess *sess);

/* --- path.c */

/* The transition table, for its setter and for tests. */
bool srv_path_state_legal(enum rtrs_srv_path_state from,
			  enum rtrs_srv_path_state to);
struct srv_path *srv_path_find(struct rtrs_srv_sess *sess,
			       const struct rtrs_uuid *uuid);
int srv_path_new(struct rtrs_srv_sess *sess,
		 const struct rtrs_conn_request *req, struct srv_path **ret);
/* Idempotent. Frees nothing; see the top of this file. */
void srv_path_close(struct srv_path *path, enum log_level level,
		    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Closes the path when what executes is answered. */
void srv_path_drain(struct srv_path *path);
/* INFO_REQ was received into path->info. */
void srv_path_info(struct srv_path *path);
/* Moves a closing path on, or one whose INFO_REQ is held; may free it. */
void srv_path_advance(struct srv_path *path);
/* The path has something to do at that time, too. */
void srv_path_due(struct srv_path *path, uint64_t t);
/* Does what is due; returns the next such time. */
uint64_t srv_path_timer(struct srv_path *path);

/* "address:port", for the log. */

/* --- con.c */

/* Accepts conn as a connection of path. Errors: conn is not answered. */
int srv_con_accept(struct srv_path *path, uint16_t cid,
		   struct fabric_conn *conn);
void srv_con_wc(struct srv_con *con, const struct fabric_wc *wc);
/* Something could not be posted: closes the path, now or a little later. */
void srv_con_post_failed(struct srv_con *con, const char *what, int err);
/* Is a completion with this number that of what was posted as that? */
bool srv_con_seq_is(uint64_t posted, uint64_t completed);
/* True if n WRs of a reply have room. */
bool srv_con_has_room(const struct srv_con *con, unsigned n);
enum srv_wr_kind {
	SRV_WR_RECV,
	SRV_WR_RECV_INFO,
	SRV_WR_SEND,  /* replies, INFO_RSP, heartbeats */
	SRV_WR_INV,   /* MW_INV of the op in the id */
	SRV_WR_VITAL, /* the reply of the op in the id, if it is vital */
};
/*
 * Chains wr[0..n), n > 0, numbers them and posts them as one list. The last
 * one is signalled if asked for, or if half the queue is not.
 */
int srv_con_post(struct srv_con *con, struct fabric_send_wr *wr, unsigned n,
		 enum srv_wr_kind kind, uint16_t op, bool signaled);
void srv_con_send_hb_msg(struct srv_con *con);

/* --- chunk.c */

/* Maps and registers; in NEW_RKEY mode makes the windows, not yet bound. */
int srv_chunks_init(struct srv_path *path);
/* Opens the windows and sends INFO_RSP on connection 0. */
int srv_chunks_announce(struct srv_path *path);
/* Ends the peer's access. The connections are gone. */
void srv_chunks_unregister(struct srv_path *path);
/* And nothing executes on it any more. */
void srv_chunks_free(struct srv_path *path);

static inline uint8_t *
srv_chunk(const struct srv_path *path, uint16_t id)
{
	return path->chunks.mem + (size_t)id * path->srv->p.chunk_size;
}

/* --- op.c */

int srv_ops_init(struct srv_path *path);
/* An IO_REQ immediate came. */
void srv_op_receive(struct srv_con *con, uint32_t payload);
/* The window over the op's chunk is closed. */
void srv_op_invalidated(struct srv_con *con, uint16_t id);
/* The send queue is done with the vital reply of that number. */
void srv_op_sent(struct srv_con *con, uint16_t id, uint64_t seq);
/* There is room in the send queue again. */
void srv_op_resume(struct srv_con *con);
/* The path is closing: forgets all but what the upper layer executes. */
void srv_ops_drop(struct srv_path *path);
/* Hands over what waited for a chunk index that is free now. */
void srv_ops_wake(struct rtrs_srv_sess *sess);

#endif
