/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fabric moves bytes for the engines: it registers memory, connects, posts
 * work and reports completions. Its words are those of verbs, and so are its
 * rules; `tcp` and `sim` imitate a reliable connected queue pair closely
 * enough that the engines cannot tell.
 *
 *   fabric_ctx       one thread's share of a fabric: event and completion
 *                    queue. Everything that hangs off a context is used by one
 *                    thread at a time; different contexts are independent.
 *   fabric_listener  accepts connection requests on a context
 *   fabric_conn      one connection: CM id and QP in one
 *   fabric_pd        protection domain: the keys that the peers of some
 *                    connections (those of one path) may use
 *   fabric_mr        registered memory of a PD
 *   fabric_mw        a memory window: a renewable key over a part of an MR
 *
 * A fabric is passive: no thread, no clock, no random source of its own (see
 * fabric_ctx_params), and no call blocks. Life of a connection:
 *
 *      client                                   server
 *      connect(private data) --------------->   CONNECT_REQUEST
 *                                               accept() or reject()
 *      ESTABLISHED or REJECTED  <------------
 *                                               ESTABLISHED
 *      post_recv, post_send  <------------->    post_recv, post_send
 *      DISCONNECTED  (peer left, violation, transport error, time-out)
 *      disconnect() ... flushed completions ... CLOSED, then conn_free()
 *
 * ESTABLISHED may come after the first completions (the RTU may be late).
 * DISCONNECTED comes at most once, and never after disconnect() was called.
 * CLOSED comes exactly once, in answer to disconnect(); nothing comes after it.
 * After REJECTED or CONNECT_ERROR: disconnect() is not needed, conn_free() is.
 *
 * Death of a connection: every work request that was posted, signalled or not,
 * and every receive completes with FABRIC_WC_FLUSHED (empty receives posted by
 * count may be dropped without one), before CLOSED. What arrives later is
 * discarded and touches no memory. A violation by the peer (unknown key,
 * bounds, permission, a SEND longer than its receive buffer, malformed
 * framing) kills that connection and nothing else.
 *
 * Order on a connection is that of an RC QP: the bytes of an RDMA WRITE are in
 * place before the completion of any later operation is seen. Nothing is
 * ordered between connections.
 *
 * Success of a send or write means that its memory is free again. Verbs says
 * with it that the peer's side has the bytes, tcp only that they left: an
 * engine must not conclude more than the weaker of the two.
 *
 * A SEND or WRITE_WITH_IMM that finds no receive posted waits (RNR retry is
 * infinite); it is not an error, the connection merely stalls.
 */
#ifndef RTRS_FABRIC_FABRIC_H
#define RTRS_FABRIC_FABRIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "rtrs/base/log.h"
#include "rtrs/base/util.h"

struct fabric_ctx;
struct fabric_listener;
struct fabric_conn;
struct fabric_pd;

/* Room for the private data of any fabric (REP on IB: 196). */
#define FABRIC_PRIV_MAX 256

/* What a fabric can do; fabric_ops.caps. */
enum fabric_cap {
	/* mr_reg/mr_dereg cost no system call and pin nothing: an engine may
	 * register a caller's buffer for one request. */
	FABRIC_CAP_CHEAP_MR = BIT(0),
	/* Windows of one connection: mw_new and WR_MW_BIND / WR_MW_INV. */
	FABRIC_CAP_MW = BIT(1),
	/* Registered memory stays unpinned: untouched pages cost nothing. */
	FABRIC_CAP_LAZY_MEM = BIT(2),
	/* mr_reg accepts FABRIC_ACCESS_REMOTE_INV (else only windows may be
	 * invalidated by the peer). */
	FABRIC_CAP_MR_REMOTE_INV = BIT(3),
	/* accept() can let connections share their receives. */
	FABRIC_CAP_SHARED_RECV = BIT(4),
	/* Windows of a PD: the same calls, another kind. */
	FABRIC_CAP_MW_PD = BIT(5),
};

enum fabric_access {
	FABRIC_ACCESS_LOCAL = 0, /* source of sends, target of receives */
	FABRIC_ACCESS_REMOTE_WRITE = BIT(0),
	FABRIC_ACCESS_REMOTE_INV = BIT(1), /* SEND_WITH_INV may end the key */
	FABRIC_ACCESS_MW_BIND = BIT(2),    /* windows may be bound on it */
};

/*
 * Public heads of objects; a fabric embeds them first.
 * raddr is what the peer names: an address for verbs, an opaque number for
 * tcp. Byte i of the region is raddr + i.
 */
struct fabric_mr {
	struct fabric_pd *pd;
	void *addr;
	size_t len;
	uint64_t raddr;
	uint32_t rkey;
};

/*
 * Two kinds of windows, as verbs has them. MW_INV ends either.
 *
 * CONN (type 2): good for the peer of the connection on which it was bound,
 * which may end it by SEND_WITH_INV. It is bound only while it is not. Make it
 * after the connections that will bind it, and free it before any of them:
 * a kernel that cleans up after a killed process goes backwards, and waits for
 * windows that outlive their queue pair.
 *
 * PD (type 1): good for the peers of every connection of the PD; they cannot
 * end it. A bind may follow a bind, on any connection of the PD.
 */
enum fabric_mw_kind {
	FABRIC_MW_CONN,
	FABRIC_MW_PD,
};

struct fabric_mw {
	struct fabric_pd *pd;
	enum fabric_mw_kind kind;
	uint64_t raddr; /* valid while bound */
	uint32_t rkey;  /* the present key; changes with each bind */
	bool bound;
};

struct fabric_sge {
	void *addr;
	uint32_t len;         /* > 0 */
	struct fabric_mr *mr; /* may be NULL where CHEAP_MR is offered */
};

enum fabric_wr_op {
	FABRIC_WR_SEND,
	FABRIC_WR_SEND_WITH_IMM,
	FABRIC_WR_SEND_WITH_INV,
	FABRIC_WR_RDMA_WRITE,
	FABRIC_WR_RDMA_WRITE_WITH_IMM,
	FABRIC_WR_MW_BIND, /* local; renews the key of a window at once */
	FABRIC_WR_MW_INV,  /* local; ends the key of a window */
};

#define FABRIC_MAX_SGE 3

struct fabric_send_wr {
	struct fabric_send_wr *next; /* NULL ends the list */
	uint64_t wr_id;
	enum fabric_wr_op op;
	bool signaled; /* success is reported; failure always is */
	uint8_t num_sge;
	struct fabric_sge sge[FABRIC_MAX_SGE];
	uint32_t imm;      /* host order; *_WITH_IMM */
	uint32_t inv_rkey; /* SEND_WITH_INV */
	uint64_t raddr;    /* RDMA writes; 0 with length 0 */
	uint32_t rkey;
	/* MW_BIND, MW_INV: */
	struct fabric_mw *mw;
	struct fabric_mr *bind_mr; /* has FABRIC_ACCESS_MW_BIND */
	size_t bind_off;           /* from the start of bind_mr */
	size_t bind_len;
	unsigned bind_access; /* FABRIC_ACCESS_REMOTE_WRITE | _REMOTE_INV */
};

struct fabric_recv_wr {
	uint64_t wr_id;
	void *addr; /* NULL: empty receive */
	uint32_t len;
	struct fabric_mr *mr; /* may be NULL where CHEAP_MR is offered */
	unsigned count;       /* post this many alike; 0 means 1 */
};

enum fabric_wc_status {
	FABRIC_WC_SUCCESS,
	FABRIC_WC_FLUSHED, /* the connection died before this was done */
	FABRIC_WC_ERROR,   /* this request is what killed the connection */
};

enum fabric_wc_op {
	FABRIC_WC_OP_SEND, /* any of the three sends */
	FABRIC_WC_OP_RDMA_WRITE,
	FABRIC_WC_OP_MW_BIND,
	FABRIC_WC_OP_MW_INV,
	FABRIC_WC_OP_RECV,          /* a SEND arrived in a receive */
	FABRIC_WC_OP_RECV_RDMA_IMM, /* a WRITE_WITH_IMM used up a receive */
};

struct fabric_wc {
	struct fabric_conn *conn;
	void *user; /* of the connection */
	uint64_t wr_id;
	enum fabric_wc_status status;
	enum fabric_wc_op op; /* valid on success only, as in verbs */
	bool with_imm;
	bool with_inv;
	uint32_t imm;      /* host order */
	uint32_t inv_rkey; /* already invalid when this is seen */
	uint32_t byte_len; /* RECV: bytes; RECV_RDMA_IMM: bytes written */
};

enum fabric_ev_type {
	FABRIC_EV_CONNECT_REQUEST, /* listener; conn is new and ours to answer
				    */
	FABRIC_EV_ESTABLISHED,     /* client: priv is that of the accept */
	FABRIC_EV_REJECTED, /* client: priv is that of the reject, if any */
	FABRIC_EV_CONNECT_ERROR, /* client: err tells why */
	FABRIC_EV_DISCONNECTED,  /* err tells why, 0: the peer left in order */
	FABRIC_EV_CLOSED,
};

struct fabric_event {
	enum fabric_ev_type type;
	struct fabric_listener *listener; /* CONNECT_REQUEST */
	struct fabric_conn *conn;
	void *user; /* of the connection, or of the listener */
	/*
	 * Negative errno. CONNECT_ERROR: -ECONNREFUSED nobody listens,
	 * -EHOSTUNREACH, -ENETUNREACH, -ETIMEDOUT, -EPROTO the peer speaks
	 * something else. REJECTED: -ECONNREFUSED. DISCONNECTED: -ETIMEDOUT
	 * silent peer, -ECONNRESET, -EPROTO violation by the peer (by us, if
	 * the peer says so), -EIO other.
	 */
	int err;
	/*
	 * CLOSED: true when the peer's side is known to be gone too, so that
	 * nothing that was posted here can arrive there any more. (What has
	 * arrived may still be at work.)
	 */
	bool confirmed;
	/* Bytes live until the next poll of this context. len may exceed what
	 * the peer sent (verbs pads with zeroes): test >=, never ==. */
	const void *priv;
	size_t priv_len;
	/* CONNECT_ERROR: more than err can say, in words; NULL: no more. Lives
	 * as long as priv. */
	const char *why;
};

struct fabric_ctx_params {
	struct rng rng; /* keys, addresses */
	const struct log *log;
	uint64_t now;
	/* Time-outs in ms; 0 takes the default of the fabric. */
	unsigned connect_timeout_ms;    /* connect() until ESTABLISHED: 30000 */
	unsigned disconnect_timeout_ms; /* disconnect() until CLOSED: 30000,
					 * verbs 3000 */
	unsigned handshake_timeout_ms;  /* server: request complete by: 10000 */
	/* A silent peer is noticed after about this long with data under way
	 * (keepalive and user time-out of tcp); 0: default 30000. */
	unsigned peer_timeout_ms;
	/* Half-open incoming connections held at once; 0: default 256. The
	 * oldest makes room for the newest. */
	unsigned max_half_open;
	/* Fabric's own: the sim_net of a simulated context. */
	void *priv;
};

struct fabric_conn_params {
	void *user;
	const void *priv; /* private data, copied; at most 56 bytes on verbs */
	size_t priv_len;
	/*
	 * NULL: the connection brings a PD of its own. Else it joins this one;
	 * an error if it turns out to be on another device.
	 */
	struct fabric_pd *pd;
	/* Sizes of the queues. send_wr counts WRs, windows included. A device
	 * may grant less: conn_limits() tells. */
	unsigned max_send_wr;
	unsigned max_recv_wr;
	/*
	 * accept() only, where SHARED_RECV is offered: receives come from one
	 * queue of the PD, which the first such accept makes, with max_recv_wr
	 * entries. post_recv on any of its connections feeds it, in order, and
	 * the completion tells by its connection who used a receive up. What
	 * is left of it when a connection dies is not flushed: it goes, without
	 * completions, with the last connection.
	 */
	bool shared_recv;
	/* connect() only: */
	const struct sockaddr *dst;
	socklen_t dst_len;
	const struct sockaddr *src; /* NULL: any; a port of 0: any */
	socklen_t src_len;
};

/* What a connection was given. */
struct fabric_limits {
	unsigned send_wr, recv_wr; /* as asked, or what the device has */
	const char *device;        /* its name; "" without one. Borrowed. */
};

struct fabric_addrs {
	struct sockaddr_storage local;
	struct sockaddr_storage peer;
};

/*
 * Unless said otherwise: called on the thread of the context, does not block,
 * does not call back, returns 0 or a negative errno.
 */
struct fabric_ops {
	const char *name; /* "tcp", "sim", "verbs" */
	unsigned caps;    /* FABRIC_CAP_*; of a connection: conn_caps() */

	/* Errors: -ENOMEM, -EMFILE, -ENODEV (no device of this fabric). */
	int (*ctx_new)(const struct fabric_ctx_params *p,
		       struct fabric_ctx **ret);
	/* All connections, listeners, PDs are freed before. NULL is fine. */
	void (*ctx_free)(struct fabric_ctx *ctx);
	/*
	 * One descriptor for everything (an epoll set): readable when a poll
	 * would find something. Level-triggered. -1 if there is none (sim).
	 */
	int (*ctx_fd)(struct fabric_ctx *ctx);
	/*
	 * To be called before the descriptor is waited for. Flushes. Returns
	 * true if there is something to poll at once: do not wait then.
	 */
	bool (*ctx_arm)(struct fabric_ctx *ctx);
	/* When to poll even though the descriptor is quiet; TIME_NEVER. */
	uint64_t (*ctx_deadline)(struct fabric_ctx *ctx);
	/*
	 * Moves bytes: drains what is ready, as many operations per system
	 * call as possible, and collects events and completions in order for
	 * next_event and poll_cq. The only call that looks at now.
	 */
	void (*ctx_poll)(struct fabric_ctx *ctx, uint64_t now);
	/* Next connection event; false if there is none. */
	bool (*next_event)(struct fabric_ctx *ctx, struct fabric_event *ret);
	/* Up to n completions in order; their number. */
	int (*poll_cq)(struct fabric_ctx *ctx, struct fabric_wc *wc, int n);
	/* Rings the doorbell for all that was posted on any connection. */
	void (*ctx_flush)(struct fabric_ctx *ctx);

	/* Errors: -EADDRINUSE, -EADDRNOTAVAIL, -EACCES. Port 0 picks one. */
	int (*listen)(struct fabric_ctx *ctx, const struct sockaddr *addr,
		      socklen_t len, void *user, struct fabric_listener **ret);
	void (*listener_addr)(struct fabric_listener *l,
			      struct sockaddr_storage *ret);
	/* Requests already reported stay valid. */
	void (*listener_free)(struct fabric_listener *l);

	/* The outcome is an event; an error here means no event follows. */
	int (*connect)(struct fabric_ctx *ctx,
		       const struct fabric_conn_params *p,
		       struct fabric_conn **ret);
	/*
	 * Hands a not yet answered connection request over to another
	 * context of this fabric, perhaps on another thread. Called on the new
	 * thread; the old one must not touch conn since CONNECT_REQUEST.
	 */
	int (*migrate)(struct fabric_conn *conn, struct fabric_ctx *to);
	int (*accept)(struct fabric_conn *conn,
		      const struct fabric_conn_params *p);
	/* Also frees the connection, once the bytes are out. priv is copied. */
	void (*reject)(struct fabric_conn *conn, const void *priv, size_t len);
	/* Idempotent. Leads to CLOSED, within disconnect_timeout_ms. */
	void (*disconnect)(struct fabric_conn *conn);
	/*
	 * Allowed at any time; what is still under way is dropped without
	 * completions or events. References to its PD go with it.
	 */
	void (*conn_free)(struct fabric_conn *conn);
	/* Valid from ESTABLISHED (client) or CONNECT_REQUEST (server). */
	int (*conn_addrs)(struct fabric_conn *conn, struct fabric_addrs *ret);
	/*
	 * What of caps the device of this connection has. Valid from
	 * ESTABLISHED (client) or CONNECT_REQUEST (server).
	 */
	unsigned (*conn_caps)(struct fabric_conn *conn);
	/*
	 * The name of the device that carries the connection, and its port.
	 * Borrowed. NULL: there is none (any more). The call itself is NULL
	 * where a fabric has no devices. Valid as conn_caps.
	 */
	const char *(*conn_device)(struct fabric_conn *conn,
				   unsigned *ret_port);
	/* Valid from ESTABLISHED (client) or accept() (server). */
	void (*conn_limits)(struct fabric_conn *conn,
			    struct fabric_limits *ret);
	/* Borrowed. Valid from ESTABLISHED or accept(). */
	struct fabric_pd *(*conn_pd)(struct fabric_conn *conn);
	void (*pd_ref)(struct fabric_pd *pd);
	/* The last one out (references, connections, MRs, MWs) frees it. */
	void (*pd_unref)(struct fabric_pd *pd);
	/* The node whose memory is nearest to the device; -1: none is, or it
	 * is not known. */
	int (*pd_numa_node)(struct fabric_pd *pd);
	/* Why the last mr_reg or mw_new of this PD failed, in words; NULL: its
	 * errno says enough. Borrowed until the next of them. */
	const char *(*pd_why)(struct fabric_pd *pd);

	/* Memory is the caller's, and lives until mr_dereg returned. */
	int (*mr_reg)(struct fabric_pd *pd, void *addr, size_t len,
		      unsigned access, struct fabric_mr **ret);
	/* The key is dead at once. -EBUSY while windows are bound to it. */
	int (*mr_dereg)(struct fabric_mr *mr);
	/* -EOPNOTSUPP: the device has no windows of this kind. */
	int (*mw_new)(struct fabric_pd *pd, enum fabric_mw_kind kind,
		      struct fabric_mw **ret);
	void (*mw_free)(struct fabric_mw *mw);

	/*
	 * Receives are used in the order in which they were posted. The buffer
	 * is the fabric's until the completion. -ENOMEM: more than
	 * max_recv_wr; -ENOTCONN: dead.
	 */
	int (*post_recv)(struct fabric_conn *conn,
			 const struct fabric_recv_wr *wr);
	/*
	 * Posts a list in order: all or nothing. WR structs are copied, the
	 * memory that SGEs name is the fabric's until the completion of that
	 * WR or of a later signalled one. Nothing need move before ctx_flush,
	 * ctx_arm or ctx_poll. -ENOMEM: no room in the send queue;
	 * -ENOTCONN: dead, nothing will complete.
	 */
	int (*post_send)(struct fabric_conn *conn,
			 const struct fabric_send_wr *wr);

	/*
	 * Does a device of this fabric lead to dst (from src, if given)? 0, or
	 * why not: -ENODEV, -EHOSTUNREACH, ... Of no context; may block for
	 * timeout_ms. NULL: there is no telling.
	 */
	int (*probe)(const struct sockaddr *dst, const struct sockaddr *src,
		     unsigned timeout_ms);
};

extern const struct fabric_ops fabric_tcp;
#ifdef RTRS_VERBS
extern const struct fabric_ops fabric_verbs;
#endif

/*
 * The fabric of a name, NULL if there is none (sim is not in the list). Name
 * "verbs" (RDMA) is there unless it was left out of the build.
 */
const struct fabric_ops *fabric_by_name(const char *name);
/* What the completion of a work request (enum fabric_wr_op) is called. */
enum fabric_wc_op fabric_wr_wc_op(unsigned op);
/* "RDMA_WRITE_WITH_IMM", ...; total. */
const char *fabric_wr_op_name(unsigned op);
const char *fabric_wc_status_name(unsigned status);

#endif
