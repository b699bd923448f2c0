/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the simulated fabric share. */
#ifndef RTRS_FABRIC_SIM_SIM_PRIV_H
#define RTRS_FABRIC_SIM_SIM_PRIV_H

#include <netinet/in.h>

/* The default (Jenkins) has a switch that clang's fallthrough check dislikes.
 */
#define HASH_FUNCTION    HASH_FNV
#define uthash_malloc(n) sim_alloc(n)
#include <uthash.h>
#include <utlist.h>

#include "rtrs/fabric/sim/sim.h"

/* A caller broke the contract of fabric.h: no way to go on. */
#define sim_require(cond, what)                                                \
	do {                                                                   \
		if (!(cond))                                                   \
			sim_bug(__func__, what);                               \
	} while (0)
__attribute__((noreturn)) void sim_bug(const char *func, const char *what);

/* Aborts when memory is out: a test has no use for that error. */
void *sim_alloc(size_t n);

/* --- sim-net.c: clock, events, faults */

enum {
	END_CLT,
	END_SRV
};

/* What an event is, as it is traced. */
enum sim_ev_kind {
	/* between connection managers */
	SIM_EV_REQ,
	SIM_EV_REP,
	SIM_EV_RTU,
	SIM_EV_REJ,
	SIM_EV_REFUSED,
	SIM_EV_DREQ,
	SIM_EV_DREP,
	SIM_EV_GONE, /* the sender's end no longer exists */
	/* between queue pairs */
	SIM_EV_DATA,
	SIM_EV_ACK,
	SIM_EV_NAK,
	SIM_EV_LAST_WIRE = SIM_EV_NAK,
	/* at one end; never lost */
	SIM_EV_RESUME,
	SIM_EV_WC,
	SIM_EV_NOTICE,
	SIM_EV_CONNECT_TIMEOUT,
	SIM_EV_HANDSHAKE_TIMEOUT,
	SIM_EV_DISCONNECT_TIMEOUT,
	SIM_EV_PEER_TIMEOUT,
};

struct sim_event {
	uint64_t time, seq;
	enum sim_ev_kind kind;
	struct sim_link *link; /* referenced */
	int end;               /* where it happens */
	int err;
	bool held;   /* it was due before: counted, struck by faults already */
	uint64_t id; /* ACK, NAK: of the work request */
	struct sim_wc *wc; /* WC */
	size_t priv_len;
	uint8_t priv[FABRIC_PRIV_MAX];
};

struct sim_partition {
	unsigned host[2];
	uint64_t until;
	struct sim_partition *next;
};

struct sim_net {
	uint64_t now, seq, prng;
	struct sim_event **heap;
	size_t n_heap, cap_heap;
	uint64_t steps, calls, next_id;
	unsigned next_port;
	struct sim_faults faults;
	uint64_t fault_count[SIM_N_FAULTS];
	FILE *trace;
	struct sim_node *nodes;
	struct sim_link *links;
	struct fabric_listener *listeners;
	struct sim_partition *partitions;
	struct sim_key *keys; /* by rkey */
	struct sim_mr *mrs;   /* by id */
	struct sim_counts counts;
};

struct sim_node {
	struct sim_net *net;
	char name[24];
	unsigned host;
	bool killed;
	uint64_t arrivals;
	struct fabric_ctx *ctxs;
	struct sim_node *next;
};

/* A message from an end of a link to the other, after the usual delay. */
struct sim_event *sim_send_cm(struct sim_link *link, int to,
			      enum sim_ev_kind kind);
/* Something that happens at an end of a link at a time. */
struct sim_event *sim_at(struct sim_link *link, int end, enum sim_ev_kind kind,
			 uint64_t time);
uint64_t sim_delay(struct sim_net *net);
/* True if this call is to fail with -ENOMEM. */
bool sim_call_fails(struct sim_net *net, const char *what);
void sim_trace(struct sim_link *link, int end, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* --- sim-link.c: the wire between two ends */

struct sim_link {
	struct sim_net *net;
	unsigned id, refs; /* ends and events */
	struct fabric_conn *end[2];
	struct sim_node *node[2]; /* [END_SRV]: NULL until the request came */
	unsigned host[2];
	struct fabric_addrs addrs; /* local: client, peer: server */
	/* Per receiving end: */
	struct sim_pkt *fifo[2];
	uint64_t last_data[2], last_cm[2], last_ack[2];
	uint64_t stalled_until[2];
	bool silent[2];
	bool gap[2]; /* a message was lost: nothing behind it may arrive */
	bool cut;    /* queue pairs exchange nothing any more */
	bool cut_cm; /* neither do connection managers */
	uint64_t orphaned_at; /* seq of the event before; 0: it is not */
	bool drep_late; /* the answer to a DREQ waits for the application */
	struct sim_link *prev, *next;
};

struct sim_pkt {
	uint64_t id;
	enum fabric_wr_op op;
	uint32_t imm, inv_rkey, rkey;
	uint64_t raddr;
	size_t len;
	uint8_t *data; /* NULL: to be read from the sender at delivery */
	struct sim_pkt *prev, *next;
};

struct sim_link *sim_link_new(struct sim_net *net);
struct sim_link *sim_link_ref(struct sim_link *link);
void sim_link_unref(struct sim_link *link);
void sim_link_fault(struct sim_link *link, enum sim_fault fault);
/*
 * May an event of the wire happen? 0 yes; 1 later, *when tells; -1 it is lost.
 */
int sim_link_passes(struct sim_link *link, const struct sim_event *ev,
		    uint64_t *when);
void sim_pkt_free(struct sim_pkt *pkt);
/* Runs an event; the caller frees it. */
void sim_dispatch(struct sim_event *ev);

/* --- sim-ctx.c */

struct sim_wc {
	struct fabric_wc wc;
	unsigned slots; /* places in the queue that polling gives back */
	bool recv;
	struct sim_wc *prev, *next;
};

struct sim_cm_event {
	struct fabric_event ev;
	uint8_t priv[FABRIC_PRIV_MAX];
	struct sim_cm_event *prev, *next;
};

struct fabric_ctx {
	struct sim_net *net;
	struct sim_node *node;
	unsigned caps;
	struct rng rng;
	uint64_t connect_timeout_ms, disconnect_timeout_ms;
	uint64_t handshake_timeout_ms, peer_timeout_ms;
	unsigned max_half_open, half_open;
	/* Arrived; collected by ctx_poll; handed out until the next poll. */
	struct sim_cm_event *ev_new, *ev_polled, *ev_taken;
	struct sim_wc *wc_new, *wc_polled;
	struct fabric_conn *conns;
	bool posted; /* a connection may have sends that were not issued */
	struct fabric_ctx *prev, *next; /* of the node */
};

struct fabric_listener {
	struct fabric_ctx *ctx;
	void *user;
	struct sockaddr_storage addr;
	struct fabric_listener *prev, *next; /* of the net */
};

void sim_ctx_event(struct fabric_conn *conn, enum fabric_ev_type type, int err,
		   const void *priv, size_t priv_len);
/* Forgets the events of a conn of this type, or of all (-1). */
void sim_ctx_drop_events(struct fabric_conn *conn, int type);
void sim_ctx_drop_wcs(struct fabric_conn *conn);
struct fabric_listener *sim_listener_find(struct sim_net *net,
					  const struct sockaddr_storage *addr);

/* --- sim-conn.c: life of a connection */

enum sim_conn_state {
	SIM_CONNECTING, /* client: request sent */
	SIM_REQUESTED,  /* server: not answered yet */
	SIM_ACCEPTED,   /* server: RTU did not come yet */
	SIM_ESTABLISHED,
	SIM_DEAD,    /* DISCONNECTED was or will be told */
	SIM_FAILED,  /* REJECTED or CONNECT_ERROR was or will be told */
	SIM_CLOSING, /* disconnect() was called */
	SIM_CLOSED,
};

struct sim_sqe {
	uint64_t id;
	struct fabric_send_wr wr;
	uint64_t mr_id[FABRIC_MAX_SGE];
	uint64_t issued_at;
	size_t len;
	bool issued;
	bool done;     /* may be reported */
	bool acked;    /* the peer has it */
	bool reported; /* counted; its completion, if any, is on the way */
	struct sim_sqe *prev, *next;
};

struct sim_rqe {
	struct fabric_recv_wr wr; /* count: still to be used */
	uint64_t mr_id;
	bool by_count;
	struct sim_rqe *prev, *next;
};

struct fabric_conn {
	struct fabric_ctx *ctx;
	struct sim_link *link;
	int end;
	void *user;
	enum sim_conn_state state;
	struct fabric_listener *listener; /* REQUESTED; for the report */
	struct fabric_pd *pd;
	bool shared;     /* receives are those of pd */
	bool peer_left;  /* its DREQ or GONE came */
	bool death_told; /* DISCONNECTED was handed out */
	bool owes_drep;
	bool closed_waits, confirmed;
	bool peer_timer, resume_timer;
	unsigned max_send_wr, max_recv_wr, sq_used, rq_used;
	struct sim_sqe *sq;
	struct sim_sqe *sq_new; /* the first that was not issued */
	struct sim_rqe *rq;
	struct sim_pkt *inq; /* arrived, in order; the first waits */
	unsigned wcs;        /* not yet polled, late ones included */
	unsigned sq_silent;  /* done, not reported: freed by the next report */
	uint64_t last_wc;
	unsigned late_wcs;
	struct fabric_conn *prev, *next; /* of the context */
};

static inline bool
sim_conn_alive(const struct fabric_conn *conn)
{
	return conn->state == SIM_ACCEPTED || conn->state == SIM_ESTABLISHED;
}

void sim_conn_cm(struct fabric_conn *conn, struct sim_event *ev);
/* A connection manager message for an end that does not exist (any more). */
void sim_conn_cm_stray(struct sim_link *link, struct sim_event *ev);
void sim_conn_die(struct fabric_conn *conn, int err);
/* CLOSED, as soon as the completions were polled. */
void sim_conn_closed(struct fabric_conn *conn, bool confirmed);
void sim_conn_maybe_report_closed(struct fabric_conn *conn);

int sim_connect(struct fabric_ctx *ctx, const struct fabric_conn_params *p,
		struct fabric_conn **ret);
int sim_migrate(struct fabric_conn *conn, struct fabric_ctx *to);
int sim_accept(struct fabric_conn *conn, const struct fabric_conn_params *p);
void sim_reject(struct fabric_conn *conn, const void *priv, size_t len);
void sim_disconnect(struct fabric_conn *conn);
void sim_conn_free(struct fabric_conn *conn);
int sim_conn_addrs(struct fabric_conn *conn, struct fabric_addrs *ret);
unsigned sim_conn_caps(struct fabric_conn *conn);
void sim_conn_limits(struct fabric_conn *conn, struct fabric_limits *ret);
struct fabric_pd *sim_conn_pd(struct fabric_conn *conn);

/* --- sim-qp.c: work requests and completions */

int sim_post_recv(struct fabric_conn *conn, const struct fabric_recv_wr *wr);
int sim_post_send(struct fabric_conn *conn, const struct fabric_send_wr *wr);
/* Puts on the wire what was posted. */
void sim_qp_issue(struct fabric_conn *conn);
void sim_qp_flush(struct fabric_conn *conn);
/* Frees everything without a completion. */
void sim_qp_drop(struct fabric_conn *conn);
void sim_qp_data(struct sim_event *ev);
void sim_qp_ack(struct fabric_conn *conn, const struct sim_event *ev);
/* Drops the shared receives of a PD. */
void sim_qp_drop_shared(struct fabric_pd *pd);
/* Gives back places in the receive queue of conn. */
void sim_qp_recv_polled(struct fabric_conn *conn, unsigned slots);
/* Uses receives for what waits for them. */
void sim_qp_receive(struct fabric_conn *conn);
/* The work of this end got no answer: it will notice, if that lasts. */
void sim_qp_unanswered(struct fabric_conn *conn);
void sim_qp_peer_timeout(struct fabric_conn *conn);
void sim_qp_wc_arrived(struct fabric_conn *conn, struct sim_wc *wc);

/* --- sim-mr.c: protection domains, keys */

struct fabric_pd {
	struct sim_net *net;
	unsigned caps;
	unsigned refs; /* references, connections, MRs, MWs */
	struct rng rng;
	/* Shared receives; max 0: not made yet. */
	struct sim_rqe *rq;
	unsigned rq_max, rq_used;
};

struct sim_mr {
	struct fabric_mr base;
	uint64_t id;
	unsigned access;
	unsigned binds;
	struct sim_key *key; /* NULL: invalidated */
	UT_hash_handle hh;
};

struct sim_mw {
	struct fabric_mw base;
	struct sim_mr *mr; /* while bound */
	struct sim_key *key;
};

struct sim_key {
	uint32_t rkey;
	struct fabric_pd *pd;
	uint64_t raddr;
	uint8_t *mem;
	size_t len;
	unsigned access;
	struct sim_mr *mr;
	struct sim_mw *mw; /* NULL: of the MR itself */
	UT_hash_handle hh;
};

struct fabric_pd *sim_pd_new(struct fabric_ctx *ctx);
void sim_pd_ref(struct fabric_pd *pd);
void sim_pd_unref(struct fabric_pd *pd);
int sim_pd_numa_node(struct fabric_pd *pd);
const char *sim_pd_why(struct fabric_pd *pd);
int sim_mr_reg(struct fabric_pd *pd, void *addr, size_t len, unsigned access,
	       struct fabric_mr **ret);
int sim_mr_dereg(struct fabric_mr *mr);
int sim_mw_new(struct fabric_pd *pd, enum fabric_mw_kind kind,
	       struct fabric_mw **ret);
void sim_mw_free(struct fabric_mw *mw);
void sim_mw_bind(const struct fabric_send_wr *wr);
void sim_mw_inv(struct fabric_mw *mw);
/* The key of a peer; NULL if it has none of that name in this PD. */
struct sim_key *sim_key_find(struct fabric_pd *pd, uint32_t rkey);
/* 0, or -EACCES when the peer may not. */
int sim_key_invalidate(struct sim_key *key);
struct sim_mr *sim_mr_find(struct sim_net *net, uint64_t id);

#endif
