/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside of the tcp fabric (contract: fabric.h, wire format: tcp-wire.h).
 *
 *   tcp-ctx.c     context: epoll set, poll loop, events, completions, timers
 *   tcp-listen.c  server side: listener, half-open connections, accept, reject
 *   tcp-connect.c client side: connect; handshake messages
 *   tcp-conn.c    states, life and death of any connection
 *   tcp-tx.c      send queue -> sendmsg
 *   tcp-rx.c      recv -> frames -> memory; receive queue
 *   tcp-mr.c      PDs, keys, regions, windows
 *
 * Nothing here calls back; so connections go away inside of a poll only by
 * themselves (half-open, rejected), and all memory of connections is freed at
 * the beginning of the next poll: whatever points to one stays good until
 * then.
 *
 * Known limit: a peer that is stalled (no receive posted) while its receive
 * window is full for longer than peer_timeout_ms is taken for dead by the
 * kernel's user time-out, which does not tell the two apart.
 */
#ifndef RTRS_FABRIC_TCP_H
#define RTRS_FABRIC_TCP_H

#include <netinet/in.h>
#include <sys/uio.h>

#include "rtrs/fabric/fabric.h"
#include "rtrs/fabric/tcp-wire.h"

#define TCP_CONNECT_TIMEOUT_MS    30000
#define TCP_DISCONNECT_TIMEOUT_MS 30000
#define TCP_HANDSHAKE_TIMEOUT_MS  10000
#define TCP_PEER_TIMEOUT_MS       30000
#define TCP_MAX_HALF_OPEN         256
/* How long a last message may take to be read by a peer that we threw out. */
#define TCP_LINGER_MS             1000
/* Rejected connections that are still open at once. */
#define TCP_MAX_LINGERING         256
/* A listener rests this long when the process is out of descriptors. */
#define TCP_ACCEPT_PAUSE_MS       100
/* Noise of strangers is counted, and logged at most this often. */
#define TCP_LOG_INTERVAL_MS       10000

/* One recv() at most; shared by all connections of a context. */
#define TCP_STAGING_SIZE (128 * 1024)
/* What is left of a payload is read in place from this size on. */
#define TCP_DIRECT_MIN   (8 * 1024)
#define TCP_RX_BUDGET    (1024 * 1024) /* bytes per connection and poll */
#define TCP_TX_BUDGET    (4 * 1024 * 1024)
#define TCP_TX_GATHER    (256 * 1024) /* bytes per sendmsg() */
/* Send buffer between two processes of one host: see tcp_conn_tune(). */
#define TCP_LOCAL_SNDBUF (256 * 1024)
#define TCP_MAX_IOV      1024 /* IOV_MAX of Linux */

struct tcp_ctx;
struct tcp_conn;
struct tcp_pd;

/* First in whatever hangs in the epoll set. */
enum tcp_source {
	TCP_SRC_LISTENER,
	TCP_SRC_CONN,
};

struct tcp_listener {
	enum tcp_source source;
	struct tcp_ctx *ctx;
	int fd;
	struct sockaddr_storage addr; /* with the port that it got */
	void *user;
	uint64_t resume_at; /* out of descriptors until then; else TIME_NEVER */
	struct tcp_listener *prev, *next;
};

/* What is true of a connection now. */
enum tcp_state {
	TC_CONNECTING, /* client: TCP's own handshake */
	TC_HELLO_SENT, /* client: waits for ACCEPT or REJECT */
	TC_FAILED,     /* client: REJECTED or CONNECT_ERROR; waits for free */
	TC_HALF_OPEN,  /* server: waits for HELLO; unknown to the engine */
	TC_REQUESTED,  /* server: waits for accept or reject; not in epoll */
	TC_LINGERING,  /* server: rejected; unknown to the engine */
	TC_LIVE,       /* frames move */
	TC_DEAD,       /* DISCONNECTED; waits for disconnect(); not in epoll */
	TC_CLOSING,    /* disconnect() called; discards until the peer's FIN */
	TC_CLOSED,
	TC_N_STATES
};

/* How a connection died: what disconnect() has left to do. */
enum tcp_death {
	TCP_DEATH_BROKEN, /* reset, time-out: nothing known of the peer */
	TCP_DEATH_LEFT,   /* the peer takes nothing any more */
	TCP_DEATH_ENDED,  /* by us; the peer has been told, or sees a FIN */
};

/* A connection is on at most one of these lists, each in order of deadlines. */
enum tcp_timer {
	TCP_TIMER_CONNECT,
	TCP_TIMER_HANDSHAKE,
	TCP_TIMER_CLOSE,
	TCP_TIMER_LINGER,
	TCP_N_TIMERS,
	TCP_TIMER_NONE = TCP_N_TIMERS
};

struct tcp_event {
	enum fabric_ev_type type;
	int err;
	bool queued;
	bool confirmed;
	struct tcp_conn *conn;
	struct tcp_event *prev, *next;
};

union tcp_addr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* A posted send. hdr_len is 0 for MW_BIND and MW_INV: nothing travels. */
struct tcp_swr {
	uint64_t wr_id;
	struct iovec sge[FABRIC_MAX_SGE];
	uint32_t payload;
	uint8_t hdr[TCP_FRAME_SIZE];
	uint8_t hdr_len;
	uint8_t num_sge;
	uint8_t op; /* enum fabric_wr_op */
	bool signaled;
};

struct tcp_tx {
	struct tcp_swr *ring;
	unsigned cap, head, count;
	unsigned used; /* count, and completions not yet polled; <= cap */
	size_t off;    /* bytes of the head that are out */
	int err;       /* the socket takes no more; reading tells the rest */
	/* Handshake or DISCONNECT; goes before the ring. */
	uint8_t ctl[TCP_HS_SIZE + FABRIC_PRIV_MAX];
	unsigned ctl_len, ctl_off;
	bool fin_after;
	bool blocked; /* waits for EPOLLOUT */
};

/* Receives posted by one call. */
struct tcp_rwr {
	uint64_t wr_id;
	uint8_t *addr;
	uint32_t len;
	unsigned count;
	bool counted;  /* more than one: dropped at death */
	unsigned slot; /* of the MR; 0: none was named */
	uint64_t gen;
};

struct tcp_rx {
	struct tcp_rwr *ring;
	unsigned cap, head, count;
	unsigned used; /* receives, and completions not yet polled; <= cap */
	/* The frame whose payload is being read. */
	struct tcp_frame frame;
	uint32_t left;
	uint8_t *dst;  /* NULL: discard */
	unsigned slot; /* dst is good while this slot has this generation */
	uint64_t gen;
	/* A header of which only some bytes are there. */
	uint8_t part[TCP_FRAME_SIZE];
	unsigned n_part;
	/* Read, but not executed for want of a receive. */
	uint8_t *stash;
	size_t stash_off, stash_len;
	bool stalled;
	bool resuming; /* on ctx->resume */
	/* The peer left while we were stalled: look for its last word. */
	bool discard;
	/* Frames since the last large payload, saturating. */
	unsigned since_large;
};

struct tcp_conn {
	enum tcp_source source;
	enum tcp_state state;
	struct tcp_ctx *ctx;
	struct tcp_listener *listener; /* HALF_OPEN and unreported REQUESTED */
	void *user;
	int fd;
	uint32_t watched; /* events in the epoll set */
	enum tcp_death death;
	bool cut; /* a frame of ours will never be complete */
	struct tcp_pd *pd;
	struct tcp_tx tx;
	struct tcp_rx rx;
	unsigned n_cqe; /* in the completion ring */
	union tcp_addr local, peer;
	/* Handshake as received; private data of an event lives here. */
	uint8_t hs[TCP_HS_SIZE + FABRIC_PRIV_MAX];
	unsigned hs_have;
	size_t priv_len;
	const char *why; /* of CONNECT_ERROR; NULL: its errno says it */
	struct tcp_event ev_up, ev_down, ev_closed;
	enum tcp_timer timer;
	uint64_t deadline;                /* 0: counts from the next poll on */
	struct tcp_conn *t_prev, *t_next; /* timer list */
	bool dirty;
	struct tcp_conn *d_prev, *d_next; /* ctx->dirty */
	struct tcp_conn *r_prev, *r_next; /* ctx->resume */
	struct tcp_conn *free_next;
};

struct tcp_cqe {
	struct fabric_wc wc;
	struct tcp_conn *conn;
	bool is_recv;
};

struct tcp_ctx {
	struct fabric_ctx_params p; /* defaults filled in */
	uint64_t now;
	bool in_poll;
	int epfd;
	struct tcp_listener *listeners;
	struct tcp_conn *timers[TCP_N_TIMERS];
	unsigned n_timer[TCP_N_TIMERS];
	unsigned n_unarmed;      /* connections with deadline 0 */
	struct tcp_conn *dirty;  /* something to send */
	struct tcp_conn *resume; /* was stalled, a receive came */
	struct tcp_conn *free_list;
	/*
	 * The connection that was the only one ready, twice in a row: it is
	 * read without asking epoll first, see ctx_poll(). Live, or NULL.
	 */
	struct tcp_conn *hot;
	struct tcp_conn *alone; /* the last one that was; only compared */
	unsigned hot_reads;     /* since epoll was asked */
	struct tcp_event *events;
	/* Ring; capacity is the sum of all queues, so it can not overflow. */
	struct tcp_cqe *cq;
	unsigned cq_cap, cq_head, cq_count, cq_need;
	/* Strangers, since the last line about them. */
	struct {
		uint64_t garbage, timeout, crowded;
		uint64_t logged_at;
	} shed;
	uint64_t fd_logged_at;
	uint8_t rnd[256];
	unsigned rnd_left;
	struct iovec iov[TCP_MAX_IOV];
	uint8_t *staging;
	/*
	 * How payload came to its place, bytes: read straight there, copied
	 * there from the staging buffer, or kept before that in a buffer of a
	 * stalled connection, which moves it once more. For tests.
	 */
	struct {
		uint64_t direct, copied, kept;
	} moved;
};

/* The public types are opaque; these are what they are. */
static inline struct tcp_ctx *
tcp_ctx(struct fabric_ctx *ctx)
{
	return (void *)ctx;
}

static inline struct tcp_conn *
tcp_conn(struct fabric_conn *conn)
{
	return (void *)conn;
}

static inline struct tcp_pd *
tcp_pd(struct fabric_pd *pd)
{
	return (void *)pd;
}

/* --- tcp-ctx.c */

void tcp_ctx_random(struct tcp_ctx *ctx, void *buf, size_t len);
/* Room for n more completions; to be given back. -ENOMEM. */
int tcp_cq_reserve(struct tcp_ctx *ctx, unsigned n);
void tcp_cq_unreserve(struct tcp_ctx *ctx, unsigned n);
/* The new last completion; op, status and so on are the caller's to fill. */
struct fabric_wc *tcp_cq_push(struct tcp_conn *c, uint64_t wr_id, bool is_recv);
void tcp_cq_forget(struct tcp_conn *c);
void tcp_event_queue(struct tcp_conn *c, struct tcp_event *e,
		     enum fabric_ev_type type, int err);
void tcp_event_drop(struct tcp_conn *c, struct tcp_event *e);
void tcp_timer_set(struct tcp_conn *c, enum tcp_timer kind);
void tcp_mark_dirty(struct tcp_conn *c);
void tcp_unmark_dirty(struct tcp_conn *c);
void tcp_mark_resume(struct tcp_conn *c);
void tcp_unmark_resume(struct tcp_conn *c);

/* --- tcp-listen.c */

int tcp_listen(struct fabric_ctx *ctx, const struct sockaddr *addr,
	       socklen_t len, void *user, struct fabric_listener **ret);
void tcp_listener_addr(struct fabric_listener *l, struct sockaddr_storage *ret);
void tcp_listener_free(struct fabric_listener *l);
void tcp_listener_ready(struct tcp_listener *l);
void tcp_listener_resume(struct tcp_listener *l);
int tcp_migrate(struct fabric_conn *conn, struct fabric_ctx *to);
int tcp_accept(struct fabric_conn *conn, const struct fabric_conn_params *p);
void tcp_reject(struct fabric_conn *conn, const void *priv, size_t len);
/* HALF_OPEN: reads HELLO. */
void tcp_hello_ready(struct tcp_conn *c);

/* --- tcp-connect.c */

int tcp_connect(struct fabric_ctx *ctx, const struct fabric_conn_params *p,
		struct fabric_conn **ret);
void tcp_conn_ctl_hs(struct tcp_conn *c, enum tcp_hs_type type,
		     const void *priv, size_t len);
/*
 * Reads as much of a handshake as there is and not a byte more. 1: complete
 * (then *ret is set), 0: not yet, 2: another version, negative: broken.
 */
int tcp_conn_read_hs(struct tcp_conn *c, struct tcp_hs *ret);
void tcp_connecting_ready(struct tcp_conn *c);
/* HELLO_SENT: reads ACCEPT or REJECT. */
void tcp_reply_ready(struct tcp_conn *c);
void tcp_connect_failed(struct tcp_conn *c, enum fabric_ev_type type, int err);

/* --- tcp-conn.c */

struct tcp_conn *tcp_conn_new(struct tcp_ctx *ctx, int fd);
/* Frees memory and descriptor, at the next poll. */
void tcp_conn_put(struct tcp_conn *c);
void tcp_conn_set_state(struct tcp_conn *c, enum tcp_state state);
/* Queues, PD, completion room: -ENOMEM, -EINVAL. Undone by tcp_conn_put. */
int tcp_conn_setup(struct tcp_conn *c, const struct fabric_conn_params *p);
int tcp_conn_sockopts(struct tcp_conn *c);
/* To be called once local and peer are known. */
void tcp_conn_tune(struct tcp_conn *c);
/* Fills local and peer. */
int tcp_conn_name(struct tcp_conn *c);
/* events: EPOLL*; 0 leaves the set. Fails only where none were watched. */
int tcp_conn_watch(struct tcp_conn *c, uint32_t events);
void tcp_conn_rewatch(struct tcp_conn *c);
void tcp_conn_close_fd(struct tcp_conn *c);
/* Off all lists: nothing is to be done, or waited for, by itself. */
void tcp_conn_idle(struct tcp_conn *c);
/* LIVE -> DEAD. err as in fabric_event. */
void tcp_conn_die(struct tcp_conn *c, enum tcp_death death, int err);
/* The same, and the peer is told. */
void tcp_conn_violation(struct tcp_conn *c, enum tcp_violation why);
void tcp_conn_ready(struct tcp_conn *c, uint32_t events);
void tcp_conn_expire(struct tcp_conn *c);

void tcp_disconnect(struct fabric_conn *conn);
void tcp_conn_free(struct fabric_conn *conn);
int tcp_conn_addrs(struct fabric_conn *conn, struct fabric_addrs *ret);
unsigned tcp_conn_caps(struct fabric_conn *conn);
void tcp_conn_limits(struct fabric_conn *conn, struct fabric_limits *ret);
struct fabric_pd *tcp_conn_pd(struct fabric_conn *conn);
/* The errno of a socket as one of fabric_event. */
int tcp_down_err(int err);

/* --- tcp-tx.c */

int tcp_post_send(struct fabric_conn *conn, const struct fabric_send_wr *wr);
/* Writes what the socket takes. Never kills: errors are left in tx.err. */
void tcp_tx_run(struct tcp_conn *c);
/* Completes everything posted with FLUSHED. */
void tcp_tx_flush(struct tcp_conn *c);
/* Something is left for the socket. */
bool tcp_tx_pending(const struct tcp_conn *c);

/* --- tcp-rx.c */

void tcp_rx_init(struct tcp_rx *rx);
int tcp_post_recv(struct fabric_conn *conn, const struct fabric_recv_wr *wr);
/* LIVE: reads and executes; may kill the connection. */
size_t tcp_rx_run(struct tcp_conn *c);
/* A receive was posted for a stalled connection. */
void tcp_rx_resume(struct tcp_conn *c);
/* The peer's end was seen while stalled: nothing is executed any more. */
void tcp_rx_discard(struct tcp_conn *c);
void tcp_rx_flush(struct tcp_conn *c);
/*
 * Reads and drops. 0: more may come, 1: FIN, negative: broken.
 */
int tcp_rx_drain(struct tcp_conn *c);

/* --- tcp-mr.c */

struct tcp_slot {
	uint64_t gen; /* changes whenever the key ends */
	uint64_t raddr;
	uint64_t len;
	uint8_t *host;
	void *obj; /* struct tcp_mr or tcp_mw */
	uint32_t key;
	uint16_t next_free;
	uint8_t kind;   /* enum tcp_slot_kind */
	uint8_t access; /* FABRIC_ACCESS_* */
};

enum tcp_slot_kind {
	TCP_SLOT_FREE,
	TCP_SLOT_IDLE, /* has an owner, but the key is dead */
	TCP_SLOT_MR,
	TCP_SLOT_MW,
};

struct tcp_mr {
	struct fabric_mr mr;
	unsigned slot;
	unsigned access;
	unsigned n_bound; /* windows */
	struct tcp_mr *next_free;
};

struct tcp_mw {
	struct fabric_mw mw;
	unsigned slot;
	struct tcp_mr *bound_to;
};

struct tcp_pd {
	struct tcp_ctx *ctx;
	unsigned refs;
	struct tcp_slot *slots; /* slot 0 is not used */
	unsigned n_slots;
	unsigned free_head; /* 0: none */
	struct tcp_mr *mr_cache;
};

struct tcp_pd *tcp_pd_new(struct tcp_ctx *ctx);
void tcp_pd_ref(struct fabric_pd *pd);
void tcp_pd_unref(struct fabric_pd *pd);
int tcp_pd_numa_node(struct fabric_pd *pd);
const char *tcp_pd_why(struct fabric_pd *pd);
int tcp_mr_reg(struct fabric_pd *pd, void *addr, size_t len, unsigned access,
	       struct fabric_mr **ret);
int tcp_mr_dereg(struct fabric_mr *mr);
int tcp_mw_new(struct fabric_pd *pd, enum fabric_mw_kind kind,
	       struct fabric_mw **ret);
void tcp_mw_free(struct fabric_mw *mw);
/* 0 or -EINVAL; a bind that passes can not fail. */
int tcp_mw_check(struct tcp_pd *pd, const struct fabric_send_wr *wr);
void tcp_mw_bind(const struct fabric_send_wr *wr);
void tcp_mw_unbind(struct tcp_mw *w);

/* True while the key that a slot had at this generation is alive. */
static inline bool
tcp_slot_alive(const struct tcp_pd *pd, unsigned slot, uint64_t gen)
{
	return !slot || pd->slots[slot].gen == gen;
}

/* May the peer write there? 0 and the slot, or enum tcp_violation. */
enum tcp_violation tcp_pd_target(const struct tcp_pd *pd, uint32_t key,
				 uint64_t raddr, uint32_t len,
				 unsigned *ret_slot, uint8_t **ret_host);
/* SEND_WITH_INV. 0 or enum tcp_violation. */
enum tcp_violation tcp_pd_remote_inv(struct tcp_pd *pd, uint32_t key);

#endif
