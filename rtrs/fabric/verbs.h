/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fabric over RDMA devices: librdmacm connects, libibverbs does the rest.
 *
 *   verbs-ctx.c     contexts: what is ready, what is due, handing out
 *   verbs-dev.c     devices as a context uses them, and their removal
 *   verbs-cm.c      events of the connection manager; connecting
 *   verbs-listen.c  listeners, connection requests, accepting
 *   verbs-conn.c    a connection: its queue pair, its death, its end
 *   verbs-post.c    posting of work requests
 *   verbs-cq.c      completions
 *   verbs-mr.c      protection domains, memory, windows
 *
 * One context has one event channel of the connection manager, and per device
 * one completion channel; together with the device's asynchronous events they
 * are one epoll set. A connection has its own completion queue, large enough
 * for all that can be posted. It is hot while completions may be there without
 * an event that tells: from its event until it was armed and found empty.
 *
 * The end of a connection does not depend on the device: its queue pair is
 * destroyed before CLOSED, after which nothing touches memory, and whatever
 * then has no completion gets a FLUSHED one from here.
 *
 * Threads: contexts share nothing but the device's verbs context, which
 * belongs to librdmacm; verbs-dev.c counts who uses it.
 */
#ifndef RTRS_FABRIC_VERBS_H
#define RTRS_FABRIC_VERBS_H

#include <errno.h>

#include <infiniband/ib.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

/* The default (Jenkins) has a switch that clang's fallthrough check dislikes.
 */
#define HASH_FUNCTION     HASH_FNV
/* Running out of memory is an answer. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#include "rtrs/fabric/fabric.h"
#include "rtrs/fabric/verbs-memlock.h"

#define VB_PRIV_MAX      56 /* that we may send, in the smallest message */
#define VB_WHY_LEN       192
#define VB_PEND          16 /* work requests that one doorbell is rung for */
#define VB_RECV_BATCH    32
#define VB_BACKLOG       64
/* Small messages travel in the work request: a read's request is 56 bytes, a
 * new key 8. */
#define VB_INLINE        64
#define VB_MIN_WR        16
/* 0.64 ms; the connection manager's default is 655 ms. */
#define VB_RNR_TIMER     12
#define VB_RELISTEN_MS   1000
/*
 * How long the peer's word that it is gone, too, is waited for. It comes in
 * milliseconds if at all; nothing of ours can be executed later than that,
 * for the queue pair is in its error state meanwhile, and requests of a lost
 * path fail over the sooner.
 */
#define VB_DISCONNECT_MS 3000
/* In a work request's id: it is a receive. */
#define VB_ID_RECV       (UINT64_C(1) << 63)
/* vb_conn.async_err: it died and has no receives to flush; no errno. */
#define VB_ASYNC_DRAINED 1

/* What an rdma_cm_id's context, or an event of the epoll set, points to. */
enum vb_tag {
	VB_CONN,
	VB_LISTENER,
	VB_SENTINEL, /* of a device */
	VB_ORPHAN,
	VB_CM,    /* event channel of a context */
	VB_WAKE,  /* eventfd of a context */
	VB_COMP,  /* completion channel of a device */
	VB_ASYNC, /* asynchronous events of a device */
};

struct vb_source {
	enum vb_tag tag;
};

/* A device as one context uses it. */
struct vb_dev {
	struct vb_source sentinel_src, comp_src, async_src;
	struct vb_ctx *ctx;
	struct ibv_context *verbs; /* librdmacm's */
	struct ibv_comp_channel *comp;
	struct ibv_device_attr attr;
	/*
	 * An id that is bound to the device and does nothing, so that the
	 * device's removal is told even when no connection is left.
	 */
	struct rdma_cm_id *sentinel;
	char name[64];
	unsigned caps; /* FABRIC_CAP_* */
	int numa_node;
	unsigned refs; /* connections, PDs */
	bool removed;
	unsigned usual_events; /* of completions, at a wake-up */
	struct vb_dev *prev, *next;
};

struct vb_ctx {
	struct vb_source cm_src, wake_src;
	struct fabric_ctx_params p; /* zeroes replaced by the defaults */
	const struct log *log;
	int epfd, wake_fd;
	struct rdma_event_channel *channel;
	uint64_t now;
	uint64_t deadline; /* nothing is due before; may be early */
	struct vb_dev *devs;
	struct vb_listener *listeners;
	struct vb_orphan *orphans;
	struct vb_conn *conns;
	struct vb_conn *hot;   /* completions may be there */
	struct vb_conn *dirty; /* something to flush */
	struct vb_event *ev_head, *ev_tail;
	unsigned next_vector;
	bool slept; /* since the last poll, perhaps: all queues were armed */
	unsigned quick_rounds;
};

struct vb_event {
	struct fabric_event ev;
	bool queued;
	struct vb_event *prev, *next;
};

/* Receives, of a connection or shared by those of a PD. */
struct vb_rq {
	unsigned cap, n_used;
	uint64_t *wr_id;
	uint32_t *free; /* stack of cap - n_used slots */
	bool *used;
};

struct vb_pd {
	struct vb_ctx *ctx;
	struct vb_dev *dev;
	struct ibv_pd *ib;
	unsigned refs;
	struct ibv_srq *srq;
	struct vb_rq rq;       /* of srq */
	struct vb_mw *windows; /* of connections, bound; by VB_MW_INDEX */
	char why[VERBS_MEMLOCK_WORDS_MAX];
};

struct vb_mr {
	struct fabric_mr pub;
	struct ibv_mr *ib;
	size_t pinned;
	unsigned n_bound;
};

struct vb_mw {
	struct fabric_mw pub;
	struct ibv_mw *ib; /* NULL: went with its connection */
	struct vb_mr *mr;  /* while bound */
	/* Where it was bound last, unless it is known not to be any more. */
	struct vb_conn *conn;
	struct vb_mw *prev, *next; /* of conn->windows */
	struct vb_conn *pending;   /* it is in this one's pend */
	uint32_t index;
	UT_hash_handle hh; /* pd->windows */
};
/* The part of a key that stays when the key is renewed. */
#define VB_MW_INDEX(rkey) ((rkey) >> 8)

enum vb_state {
	VB_RESOLVING,  /* client: address, route */
	VB_CONNECTING, /* client: request sent */
	VB_FAILED,     /* REJECTED or CONNECT_ERROR was or will be told */
	VB_REQUESTED,  /* server: not answered yet */
	VB_ACCEPTING,  /* server: accept() was called, the flush sends it */
	VB_LIVE,
	VB_DEAD,    /* DISCONNECTED was or will be told */
	VB_CLOSING, /* disconnect() was called */
	VB_CLOSED,
	VB_N_STATES
};

struct vb_swr {
	uint64_t wr_id;
	enum fabric_wr_op op;
};

struct vb_conn {
	struct vb_source src;
	struct vb_ctx *ctx;
	struct rdma_cm_id *id;
	struct vb_dev *dev;
	struct vb_pd *pd;
	void *user;
	enum vb_state state;
	bool is_server;
	bool migrated;    /* server: a request that changed its context */
	bool established; /* server: the client said so */
	bool asked;       /* our disconnect is under way */
	bool cm_over;     /* the connection manager has nothing more to say */
	bool confirmed;   /* the peer's side is gone */
	bool left;        /* server: it left before it was answered */
	bool listed;      /* in ctx->conns */
	int async_err;    /* atomic: another thread read the event */
	bool drained;     /* VB_ASYNC_DRAINED came */
	uint64_t deadline;
	struct fabric_conn_params params; /* of a client until it connects */
	uint8_t out[VB_PRIV_MAX];         /* our private data */
	uint8_t in[FABRIC_PRIV_MAX];      /* the peer's, for the event */
	char why[VB_WHY_LEN];
	struct vb_event ev_up, ev_down, ev_closed;

	struct ibv_cq *cq;
	bool armed; /* an event will come */
	bool is_hot, is_dirty;
	unsigned inline_max;
	/* Send queue: [sq_tail, sq_head) have no completion yet. */
	struct vb_swr *sq;
	unsigned sq_cap;
	uint64_t sq_head, sq_tail;
	bool shared; /* receives are pd->rq */
	struct vb_rq rq;
	/* Not yet posted. */
	unsigned n_pend;
	struct ibv_send_wr pend[VB_PEND];
	struct ibv_sge pend_sge[VB_PEND][FABRIC_MAX_SGE];
	struct vb_mw *pend_mw[VB_PEND];
	struct vb_mw *windows; /* bound here, perhaps */
	struct ibv_wc stash;   /* found when the queue was armed */
	bool stashed;
	unsigned flush_pos;

	struct vb_conn *prev, *next;
	struct vb_conn *hot_prev, *hot_next;
	struct vb_conn *dirty_prev, *dirty_next;
};

/*
 * An id whose connection is gone and whose DISCONNECT REQUEST is still under
 * way. The kernel does not return from destroying such an id before the message
 * has left, which may be when a link comes up again; so it is destroyed when
 * its end is told.
 */
struct vb_orphan {
	struct vb_source src;
	struct rdma_cm_id *id;
	struct vb_orphan *prev, *next;
};

struct vb_listener {
	struct vb_source src;
	struct vb_ctx *ctx;
	void *user;
	struct rdma_cm_id *id; /* NULL: went with its device */
	struct sockaddr_storage addr;
	uint64_t retry; /* TIME_NEVER; listens again then */
	struct vb_listener *prev, *next;
};

static inline struct vb_ctx *
vb_ctx(struct fabric_ctx *ctx)
{
	return (void *)ctx;
}
static inline struct vb_conn *
vb_conn(struct fabric_conn *conn)
{
	return (void *)conn;
}
static inline struct vb_pd *
vb_pd(struct fabric_pd *pd)
{
	return (void *)pd;
}
static inline struct vb_listener *
vb_listener(struct fabric_listener *l)
{
	return (void *)l;
}

/* --- verbs-ctx.c */

int vb_ctx_watch(struct vb_ctx *ctx, int fd, struct vb_source *src);
void vb_ctx_due(struct vb_ctx *ctx, uint64_t t);
void vb_event_queue(struct vb_conn *c, struct vb_event *e,
		    enum fabric_ev_type type, int err);
void vb_event_drop(struct vb_conn *c, struct vb_event *e);
/* Another thread set async_err of a connection of ctx. */
void vb_ctx_wake(struct vb_ctx *ctx);

/* --- verbs-dev.c */

/* The device of an id, with a reference. */
int vb_dev_get(struct vb_ctx *ctx, struct rdma_cm_id *id, struct vb_dev **ret);
void vb_dev_unref(struct vb_dev *dev);
/* The last of ctx. */
void vb_dev_free(struct vb_dev *dev);
void vb_dev_removed(struct vb_dev *dev);
void vb_dev_async(struct vb_dev *dev);
/* FABRIC_CAP_* of a device that may not be in use yet. */
unsigned vb_dev_caps(struct ibv_context *verbs);

/* --- verbs-cm.c */

void vb_cm_ready(struct vb_ctx *ctx);
/* Leaves an id to itself; false: there is no memory for that. */
bool vb_orphan_new(struct vb_ctx *ctx, struct rdma_cm_id *id);
void vb_orphan_free(struct vb_ctx *ctx, struct vb_orphan *o);
int vb_connect(struct fabric_ctx *ctx, const struct fabric_conn_params *p,
	       struct fabric_conn **ret);
int vb_probe(const struct sockaddr *dst, const struct sockaddr *src,
	     unsigned timeout_ms);
void vb_connect_failed(struct vb_conn *c, enum fabric_ev_type type, int err,
		       const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* CM ids by address family. */
enum rdma_port_space vb_port_space(const struct sockaddr *sa);

/* --- verbs-listen.c */

int vb_listen(struct fabric_ctx *ctx, const struct sockaddr *addr,
	      socklen_t len, void *user, struct fabric_listener **ret);
void vb_listener_addr(struct fabric_listener *l, struct sockaddr_storage *ret);
void vb_listener_free(struct fabric_listener *l);
void vb_listener_removed(struct vb_listener *l);
void vb_listener_retry(struct vb_listener *l);
void vb_listener_request(struct vb_listener *l, struct rdma_cm_id *id,
			 const void *priv, size_t len);
int vb_migrate(struct fabric_conn *conn, struct fabric_ctx *to);
int vb_accept(struct fabric_conn *conn, const struct fabric_conn_params *p);
/* Sends what accept() decided. */
void vb_accept_send(struct vb_conn *c);
void vb_reject(struct fabric_conn *conn, const void *priv, size_t len);

/* --- verbs-conn.c */

struct vb_conn *vb_conn_new(struct vb_ctx *ctx);
void vb_conn_set_state(struct vb_conn *c, enum vb_state state);
void vb_conn_timer(struct vb_conn *c, uint64_t deadline);
/* Completion queue and queue pair on the device of its id. */
int vb_conn_setup(struct vb_conn *c, const struct fabric_conn_params *p);
/* Queue pair and id; the device may go after them. */
void vb_conn_drop_id(struct vb_conn *c);
/* Undoes it. */
void vb_conn_unsetup(struct vb_conn *c);
void vb_conn_rnr_timer(struct vb_conn *c);
/* It was alive; DISCONNECTED follows. */
void vb_conn_die(struct vb_conn *c, int err);
/* What the connection manager had to say about the end. */
void vb_conn_cm_over(struct vb_conn *c, bool confirmed);
/* The device goes: nothing can be waited for. */
void vb_conn_removed(struct vb_conn *c);
void vb_conn_expire(struct vb_conn *c);
/* CLOSED, if nothing is left without its completion. */
void vb_conn_maybe_closed(struct vb_conn *c);
void vb_conn_hot(struct vb_conn *c);
void vb_conn_cold(struct vb_conn *c);
void vb_conn_dirty(struct vb_conn *c);
void vb_conn_clean(struct vb_conn *c);
void vb_disconnect(struct fabric_conn *conn);
void vb_conn_free(struct fabric_conn *conn);
int vb_conn_addrs(struct fabric_conn *conn, struct fabric_addrs *ret);
unsigned vb_conn_caps(struct fabric_conn *conn);
const char *vb_conn_device(struct fabric_conn *conn, unsigned *ret_port);
void vb_conn_limits(struct fabric_conn *conn, struct fabric_limits *ret);
struct fabric_pd *vb_conn_pd(struct fabric_conn *conn);
/* A v4 address in its v6 form is a v4 address. */
void vb_addr_plain(struct sockaddr_storage *ret, const struct sockaddr *sa);
socklen_t vb_addr_len(const struct sockaddr *sa);

static inline bool
vb_conn_alive(const struct vb_conn *c)
{
	return c->state == VB_LIVE || c->state == VB_ACCEPTING;
}

static inline struct vb_rq *
vb_conn_rq(struct vb_conn *c)
{
	return c->shared ? &c->pd->rq : &c->rq;
}

/* --- verbs-post.c */

int vb_post_recv(struct fabric_conn *conn, const struct fabric_recv_wr *wr);
int vb_post_send(struct fabric_conn *conn, const struct fabric_send_wr *wr);
/* Rings the doorbell. */
void vb_post_pending(struct vb_conn *c);
/* What was not posted yet never will be. */
void vb_post_forget(struct vb_conn *c);

/* --- verbs-cq.c */

int vb_poll_cq(struct fabric_ctx *ctx, struct fabric_wc *wc, int n);
/* There is something to poll. */
bool vb_cq_peek(struct vb_conn *c);
/* Asks for an event; true if there is something to poll already. */
bool vb_cq_arm(struct vb_conn *c);

/* --- verbs-mr.c */

int vb_rq_init(struct vb_rq *rq, unsigned cap);
void vb_rq_deinit(struct vb_rq *rq);
struct vb_pd *vb_pd_new(struct vb_ctx *ctx, struct vb_dev *dev);
/* The queue that its connections share, made if there is none. */
int vb_pd_srq(struct vb_pd *pd, unsigned max_wr);
void vb_pd_ref(struct fabric_pd *pd);
void vb_pd_unref(struct fabric_pd *pd);
int vb_pd_numa_node(struct fabric_pd *pd);
const char *vb_pd_why(struct fabric_pd *pd);
int vb_mr_reg(struct fabric_pd *pd, void *addr, size_t len, unsigned access,
	      struct fabric_mr **ret);
int vb_mr_dereg(struct fabric_mr *mr);
int vb_mw_new(struct fabric_pd *pd, enum fabric_mw_kind kind,
	      struct fabric_mw **ret);
void vb_mw_free(struct fabric_mw *mw);
/* Its key is not valid any more, once what was posted is done. */
void vb_mw_unbind(struct vb_mw *w);
/* It is known not to be bound. */
void vb_mw_leave(struct vb_mw *w);
/* It is bound, under a new key; the books only. */
int vb_mw_bound(struct vb_mw *w, struct vb_conn *c, struct vb_mr *mr,
		size_t off, uint32_t rkey);
/* The bound window of a connection that has this key. */
struct vb_mw *vb_mw_find(struct vb_pd *pd, uint32_t rkey);
/* Its queue pair goes: windows of a connection must not outlive it. */
void vb_mw_drop_all(struct vb_conn *c);

/* Of a call of librdmacm or libibverbs that failed. */
static inline int
vb_errno(void)
{
	return errno ? -errno : -EIO;
}

#endif
