/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RTRS, the transport of RNBD: requests with a small user message and up to
 * max_io_size bytes of data, over one session of several paths, each path of
 * several connections (protocol: rnbd-protocol(7)).
 *
 * Both engines are passive. They create no thread, read no clock, draw no
 * random number, never block and own no event loop. The caller gives them the
 * time (nanoseconds, monotonic), a source of randomness and a fabric; they give
 * back descriptors to watch, the next deadline and callbacks. One object is
 * used by one thread at a time (the caller's lock or loop sees to that);
 * different objects are independent.
 *
 * Errors: negative errno is fatal for the call and forwarded unchanged, 0 is
 * done, a positive value is a documented condition of that call. Out parameters
 * are called `ret` and are untouched on failure.
 *
 * Callbacks may call back into the engine unless said otherwise, except *_free
 * and *_progress of the object that calls.
 */
#ifndef RTRS_RTRS_H
#define RTRS_RTRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "proto/rtrs-msg.h"
#include "rtrs/addr.h"
#include "rtrs/base/log.h"
#include "rtrs/base/util.h"
#include "rtrs/fabric/fabric.h"
#include "rtrs/fabric/verbs-check.h"
#include "rtrs/fabric/verbs-memlock.h"

/* Heartbeat and reconnect defaults are the kernel's. */
#define RTRS_HB_INTERVAL_MS       5000
#define RTRS_HB_MISSED_MAX        5
#define RTRS_CONNECT_TIMEOUT_MS   30000
#define RTRS_RECONNECT_DELAY_MS   30000
#define RTRS_RECONNECT_BACKOFF_MS 1000
#define RTRS_RECONNECT_JITTER_MS  8 /* random 0..7 */
/* Longer than any of our servers, and the kernel's, takes to notice that a
 * client is silent. */
#define RTRS_QUIESCE_MS           60000
#define RTRS_SRV_QUEUE_DEPTH      512
#define RTRS_SRV_CHUNK_SIZE       131072
#define RTRS_SRV_HDR_SIZE         4096
#define RTRS_USR_LEN_MAX          320 /* user message that we send or take */

/* ---------------------------------------------------------------- client */

/* One network route, resolved by the caller. */
struct rtrs_path_addr {
	const struct fabric_ops *fabric;
	struct sockaddr_storage dst;
	socklen_t dst_len;
	struct sockaddr_storage src; /* src_len 0: any */
	socklen_t src_len;
};

/* What is true of a path now (protocol.md names: kernel's rtrs_clt states). */
enum rtrs_clt_path_state {
	RTRS_CLT_CONNECTING,     /* an attempt is under way */
	RTRS_CLT_CONNECTING_ERR, /* it failed; being torn down */
	RTRS_CLT_RECONNECTING,   /* down; the next attempt is scheduled */
	RTRS_CLT_CONNECTED,
	RTRS_CLT_CLOSING, /* being torn down for good */
	RTRS_CLT_CLOSED,
	RTRS_CLT_DEAD, /* removed from its session */
};
const char *rtrs_clt_path_state_name(unsigned state);

/* Numbered as in the kernel's mpath_policy file. */
enum rtrs_mp_policy {
	RTRS_MP_ROUND_ROBIN,
	RTRS_MP_MIN_INFLIGHT,
	RTRS_MP_MIN_LATENCY,
};
/*
 * By what the kernel's file takes: the number, the name in any case, or its
 * short form "rr", "mi", "ml". -EINVAL.
 */
int rtrs_mp_policy_parse(const char *s);
const char *rtrs_mp_policy_name(enum rtrs_mp_policy policy);

/* When a session counts as open for the first time. */
enum rtrs_connect {
	/*
	 * When every path is up. They are tried one after another, and the
	 * first that fails ends the open, as with the kernel's client.
	 */
	RTRS_CONNECT_ALL,
	/*
	 * When one is up. All are tried at once; those that fail reconnect
	 * like any lost path. The open fails when each has failed once.
	 */
	RTRS_CONNECT_ANY,
	/* From the start; link_up() tells of the first path that is up. */
	RTRS_CONNECT_LAZY,
};

struct rtrs_clt;
struct rtrs_clt_path;

/* Counters of a path, in the order of the kernel's stats files. */
struct rtrs_clt_stats {
	uint64_t rd_cnt, rd_bytes; /* bytes: data and user message */
	uint64_t wr_cnt, wr_bytes;
	uint64_t inflight;
	uint64_t failovers;
	uint64_t reconnects_ok;  /* successful reconnects, not the first one */
	uint64_t reconnects_err; /* failed attempts */
	uint64_t hb_latency_ns;  /* the last measured; 0: none yet */
	uint64_t hb_latency_min_ns; /* the least */
};

struct rtrs_clt_params {
	const char *name; /* session name: rtrs_sess_name_check() */
	const struct rtrs_path_addr *paths;
	unsigned n_paths; /* 1..RTRS_MAX_PATHS */
	enum rtrs_connect connect;
	enum rtrs_mp_policy policy; /* to begin with */
	/* Connections per path, the service connection included: 2.. */
	unsigned n_cons;
	/* Ask for SEND_WITH_INV on reads where the fabric can (off: the keys
	 * of reads are ended locally, which costs the peer nothing). */
	bool need_inval;
	/* Cap on permits, so that a server cannot size us; 0: none. */
	unsigned max_queue_depth;

	unsigned hb_interval_ms;     /* 0: default */
	unsigned hb_missed_max;      /* 0: default */
	unsigned connect_timeout_ms; /* each of connect and info; 0: default */
	unsigned reconnect_delay_ms; /* as given, 0 is 0 */
	unsigned reconnect_backoff_ms; /* as given */
	unsigned reconnect_jitter_ms;  /* random 0..n-1 is added */
	/* The sum of delay and backoff doubles with each failure, up to this,
	 * and up to a quarter is added; 0: constant, as with the kernel. */
	unsigned reconnect_max_ms;
	int max_reconnect_attempts; /* -1: unlimited */
	unsigned peer_timeout_ms;   /* passed to the fabric */
	/*
	 * When a path was lost and the server does not confirm that it lost it
	 * too, neither by closing it nor when asked along another path, its
	 * requests are sent again on another path not before this long after
	 * the loss; 0: default. What the server receives later than that on
	 * the lost path overwrites what was written since. The kernel's client
	 * waits for nothing.
	 */
	unsigned quiesce_ms;

	struct rng rng;
	const struct log *log; /* outlives the session */
	uint64_t now;
	void *fabric_priv; /* fabric_ctx_params.priv */

	/*
	 * Session events; user is passed back. link_up: the first path is up.
	 * link_down: the last up path is down; every outstanding request was
	 * completed before. failed: the first open failed, or attempts are
	 * exhausted on all paths: the session will not come up by itself.
	 * None of them comes after rtrs_clt_close().
	 */
	void (*link_up)(void *user);
	void (*link_down)(void *user);
	void (*failed)(void *user, int err);
	void *user;
};

/*
 * Creates a session and starts to connect its paths; link_up or failed tells
 * the outcome. Errors: -EINVAL parameters or name, -ENOMEM, those of ctx_new.
 */
int rtrs_clt_new(const struct rtrs_clt_params *p, struct rtrs_clt **ret);

/*
 * Starts an orderly close: outstanding requests complete with -ECONNABORTED,
 * paths disconnect. rtrs_clt_closed() tells when nothing is left under way.
 */
void rtrs_clt_close(struct rtrs_clt *clt);
bool rtrs_clt_closed(const struct rtrs_clt *clt);
/*
 * Frees the session, closed or not; what is under way is dropped, and
 * outstanding requests complete with -ECONNABORTED from within. NULL is fine.
 */
void rtrs_clt_free(struct rtrs_clt *clt);

/*
 * Up to n descriptors to watch for reading (one per fabric in use); returns
 * their number. The set grows only by rtrs_clt_add_path(), when the new path
 * uses a fabric that no other does.
 */
int rtrs_clt_fds(const struct rtrs_clt *clt, int *fds, int n);
/* Call before waiting. True: call progress at once instead of waiting. */
bool rtrs_clt_arm(struct rtrs_clt *clt);
/* When to call progress though no descriptor is ready. */
uint64_t rtrs_clt_deadline(const struct rtrs_clt *clt);
/* Does everything that is ready or due; callbacks run from here. */
void rtrs_clt_progress(struct rtrs_clt *clt, uint64_t now);

bool rtrs_clt_is_up(const struct rtrs_clt *clt);
/*
 * When the last path that was up was lost; 0: never. It comes before
 * link_down(), which waits for the requests of that path to end.
 */
uint64_t rtrs_clt_lost_at(const struct rtrs_clt *clt);
/* Valid once the session was up. */
unsigned rtrs_clt_queue_depth(const struct rtrs_clt *clt);
uint32_t rtrs_clt_max_io_size(const struct rtrs_clt *clt);
/*
 * Why the session is not up, in words, for the log or the user: "tcp:host:1234:
 * connection refused", "rejected: ..."; "" when nothing failed yet. Borrowed
 * until the next call on clt.
 */
const char *rtrs_clt_why_down(const struct rtrs_clt *clt);

/* --- permits: the right to have one request outstanding */

enum rtrs_permit_type {
	RTRS_PERMIT_IO,
	RTRS_PERMIT_ADMIN, /* may take the reserve; travels on connection 0 */
};
/* Permits that only admin requests may take (at most half of the depth). */
#define RTRS_ADMIN_RESERVE 2

struct rtrs_permit {
	uint16_t id; /* chunk index and msg_id */
	uint16_t con_hint;
	uint8_t type; /* enum rtrs_permit_type */
};

/*
 * The lowest free permit, or NULL: none free, or the session was never up.
 * An IO request goes out on connection 1 + con_hint % (n_cons - 1). The pool
 * is the session's and is rebuilt only while no path is up and all are back.
 */
struct rtrs_permit *rtrs_clt_permit_get(struct rtrs_clt *clt,
					enum rtrs_permit_type type,
					unsigned con_hint);
void rtrs_clt_permit_put(struct rtrs_clt *clt, struct rtrs_permit *permit);

/*
 * To be told when a permit becomes free: waiters are served in order, admin
 * before IO, from within permit_put() or progress(). got() receives the permit
 * or, on close, NULL.
 */
struct rtrs_permit_waiter {
	void (*got)(struct rtrs_permit_waiter *w, struct rtrs_permit *permit);
	enum rtrs_permit_type type;
	unsigned con_hint;
	struct rtrs_permit_waiter *prev, *next; /* the engine's */
};
void rtrs_clt_permit_wait(struct rtrs_clt *clt, struct rtrs_permit_waiter *w);
void rtrs_clt_permit_cancel(struct rtrs_clt *clt, struct rtrs_permit_waiter *w);

/* --- requests */

enum rtrs_dir {
	RTRS_READ,  /* data comes back, or nothing */
	RTRS_WRITE, /* data goes out, or nothing */
};

struct rtrs_clt_req {
	/* Filled by the caller: */
	enum rtrs_dir dir;
	struct rtrs_permit *permit;
	const void *usr;  /* copied by submit */
	uint16_t usr_len; /* <= RTRS_USR_LEN_MAX */
	void *data;       /* lent until done() */
	uint32_t data_len;
	/*
	 * Exactly once per submitted request. err: 0, the negative errno of
	 * the server, or -ECONNABORTED: the request was lost with its path and
	 * no other path took it; whether it was executed is unknown. (From a
	 * server that errno arrives as -EIO.)
	 * From here the request, its data and (after put) its permit are the
	 * caller's again. Never called from within submit.
	 */
	void (*done)(struct rtrs_clt_req *req, int err);
	void *user;
	/* The engine's: */
	struct rtrs_clt_path *path;
	struct fabric_mr *mr; /* of a read, registered for this request */
	uint64_t started_ns;
	bool counted_inflight;
	struct rtrs_clt_req *prev, *next;
};

/*
 * Sends a request; it leaves at the next flush, arm or progress. Errors: then
 * done() is not called. -EMSGSIZE too large for a chunk, -ECONNABORTED no path
 * is up, -ENOMEM from the fabric's mr_reg, -EINVAL.
 */
int rtrs_clt_submit(struct rtrs_clt *clt, struct rtrs_clt_req *req);
/* Rings the doorbell for all that was submitted. */
void rtrs_clt_flush(struct rtrs_clt *clt);

/* --- paths */

struct rtrs_clt_path_info {
	unsigned id; /* of the path for its whole life, never used twice */
	enum rtrs_clt_path_state state;
	bool held_down; /* by rtrs_clt_disconnect_path() */
	struct rtrs_path_addr addr;
	/* Those of the last time it was connected; zeroes: it never was. */
	struct fabric_addrs actual;
	/* Device and port that carry it; "" and 0: none, or not connected.
	 * Borrowed until the next call on clt. */
	const char *hca_name;
	unsigned hca_port;
	struct rtrs_clt_stats stats;
	/* Why it is not connected, in words; "" if it is, or nothing failed
	 * yet. Borrowed until the next call on clt. */
	const char *why;
};
unsigned rtrs_clt_n_paths(const struct rtrs_clt *clt);
/* i: 0..n_paths-1, in order of addition. -EINVAL: there is none. */
int rtrs_clt_path_info(const struct rtrs_clt *clt, unsigned i,
		       struct rtrs_clt_path_info *ret);
/*
 * Fails path i as if its transport had died: outstanding requests fail over or
 * complete with -ECONNABORTED, then it reconnects. For requests that must not
 * stay out any longer, and for tests.
 */
void rtrs_clt_path_reset(struct rtrs_clt *clt, unsigned i);
/* Ends the wait of every path that is RECONNECTING: attempt now. */
void rtrs_clt_reconnect_now(struct rtrs_clt *clt);
/*
 * Commands on paths. op is lent until done(), which comes exactly once, from
 * progress() or free(), with words in why when err is not 0 (borrowed for the
 * call). A command that cannot begin returns an error instead: -ENOENT no such
 * path, -EBUSY a command of that path is under way, or the session has not
 * opened yet, -ESHUTDOWN it is closing or has failed.
 */
struct rtrs_clt_path_op {
	void (*done)(struct rtrs_clt_path_op *op, int err, const char *why);
	void *user;
	unsigned path_id; /* set by the call */
};
/*
 * Adds a path and connects it; if the first attempt fails, that is the error
 * and the path is dropped again. Also -EEXIST same addresses, -ENOSPC
 * RTRS_MAX_PATHS or too many fabrics, -EINVAL, -ENOMEM, those of ctx_new. The
 * descriptors to watch may become more.
 */
int rtrs_clt_add_path(struct rtrs_clt *clt, const struct rtrs_path_addr *addr,
		      struct rtrs_clt_path_op *op);
/*
 * Closes a path and forgets it; its requests go to others. The last one may go,
 * too: the session then waits for one to be added.
 */
int rtrs_clt_remove_path(struct rtrs_clt *clt, unsigned id,
			 struct rtrs_clt_path_op *op);
/* Closes a path, which stays until it is told to reconnect or removed. */
int rtrs_clt_disconnect_path(struct rtrs_clt *clt, unsigned id,
			     struct rtrs_clt_path_op *op);
/*
 * Tears a path down if it is up, and attempts at once, however many attempts
 * failed before. Its error is that of the attempt; the path then goes on by
 * itself. -EBUSY also: an attempt, or closing, is under way.
 */
int rtrs_clt_reconnect_path(struct rtrs_clt *clt, unsigned id,
			    struct rtrs_clt_path_op *op);
/* Zeroes the counters of a path, but for inflight. -ENOENT. */
int rtrs_clt_path_stats_reset(struct rtrs_clt *clt, unsigned id);
enum rtrs_mp_policy rtrs_clt_policy(const struct rtrs_clt *clt);
/* Which path takes the next requests. */
void rtrs_clt_set_policy(struct rtrs_clt *clt, enum rtrs_mp_policy policy);

/* ---------------------------------------------------------------- server */

struct rtrs_listener;
struct rtrs_srv;
struct rtrs_srv_sess;
struct rtrs_conn_request;

/*
 * A listener lives on the thread that accepts; the sessions live in rtrs_srv
 * objects, one per worker. A session, with all its paths and connections,
 * belongs to one rtrs_srv. The listener does the checks that need no session
 * (1 to 5 of rnbd-protocol(7)) and hands the rest over.
 */
struct rtrs_listener_params {
	const struct fabric_ops *fabric;
	const struct sockaddr *addr;
	socklen_t addr_len;
	struct rng rng;
	const struct log *log;
	uint64_t now;
	void *fabric_priv;
	unsigned handshake_timeout_ms; /* 0: default of the fabric */
	unsigned max_half_open;        /* 0: default of the fabric */
	unsigned max_cons; /* connections per path; 0: RTRS_MAX_CONS */
	/*
	 * A well-formed request. The callee owns it from here and ends it with
	 * rtrs_srv_take() on the thread of the chosen rtrs_srv, or with
	 * rtrs_conn_request_reject() on this one, where the request belongs
	 * until it is taken.
	 */
	void (*request)(void *user, struct rtrs_conn_request *req);
	void *user;
};

struct rtrs_listener_stats {
	uint64_t requests;  /* handed over */
	uint64_t malformed; /* rejected by checks 1 to 5 */
};

/* Errors: those of ctx_new and listen. */
int rtrs_listener_new(const struct rtrs_listener_params *p,
		      struct rtrs_listener **ret);
void rtrs_listener_free(struct rtrs_listener *l);
void rtrs_listener_addr(const struct rtrs_listener *l,
			struct sockaddr_storage *ret);
int rtrs_listener_fd(const struct rtrs_listener *l);
bool rtrs_listener_arm(struct rtrs_listener *l);
uint64_t rtrs_listener_deadline(const struct rtrs_listener *l);
void rtrs_listener_progress(struct rtrs_listener *l, uint64_t now);
const struct rtrs_listener_stats *
rtrs_listener_stats(const struct rtrs_listener *l);

const struct rtrs_msg_conn_req *
rtrs_conn_request_msg(const struct rtrs_conn_request *req);
const struct fabric_ops *
rtrs_conn_request_fabric(const struct rtrs_conn_request *req);
const struct fabric_addrs *
rtrs_conn_request_addrs(const struct rtrs_conn_request *req);
/* err: negative errno for the peer. Frees req. */
void rtrs_conn_request_reject(struct rtrs_conn_request *req, int err);

enum rtrs_srv_path_state {
	RTRS_SRV_CONNECTING, /* connections come in; no INFO_REQ yet */
	RTRS_SRV_CONNECTED,
	RTRS_SRV_CLOSING,
	RTRS_SRV_CLOSED,
};
const char *rtrs_srv_path_state_name(unsigned state);

struct rtrs_srv_stats {            /* of a path */
	uint64_t rd_cnt, rd_bytes; /* bytes: data and user message */
	uint64_t wr_cnt, wr_bytes;
	uint64_t inflight;
};

/*
 * One request. The callee of params.request owns it until
 * rtrs_srv_op_done(), which it must call exactly once, at once or later, on
 * the thread of the rtrs_srv.
 */
struct rtrs_srv_op {
	enum rtrs_dir dir;
	/* The user message: a private copy, the peer can not change it. */
	const void *usr;
	uint16_t usr_len;
	/*
	 * Inside the chunk. WRITE: the data that came, which a misbehaving
	 * peer may still change. READ: room for the answer, if the peer said
	 * where to send it. data_len 0: none.
	 */
	void *data;
	uint32_t data_len;
	void *user; /* the callee's */
	/*
	 * The callee's, before op_done(): this answer must not get lost unseen,
	 * so answer_fate() is to tell of it. tag says there what it was.
	 */
	bool vital;
	uint64_t tag;
};

/* A path that a connection request asks for. */
struct rtrs_srv_new_path {
	const struct rtrs_uuid *sess_uuid, *path_uuid;
	const struct fabric_addrs *addrs;
	unsigned n_cons;  /* that will come */
	size_t chunk_mem; /* bytes that its peer may write to */
};

struct rtrs_srv_params {
	/* Contexts' parameters; contexts are made per fabric when needed. */
	struct rng rng;
	const struct log *log;
	uint64_t now;
	void *fabric_priv;

	unsigned queue_depth;    /* 0: default. rtrs_imm_sizes_ok() must hold */
	uint32_t chunk_size;     /* bytes, power of two; 0: default */
	bool always_invalidate;  /* NEW_RKEY mode, where the fabric has windows
				  */
	unsigned hb_interval_ms; /* 0: default */
	unsigned hb_missed_max;  /* 0: default */
	/* A path must send INFO_REQ this long after its last connection. */
	unsigned info_timeout_ms; /* 0: 30000 */
	unsigned peer_timeout_ms; /* passed to the fabric; 0: its default */
	unsigned max_sessions;    /* 0: 1024 */
	unsigned max_paths;       /* per session; 0: RTRS_MAX_PATHS */
	/*
	 * Connections of all paths that did not send INFO_REQ yet; 0: 16384.
	 * Beyond that the path that waits longest makes room.
	 */
	unsigned max_unidentified;
	size_t max_chunk_mem; /* of all sessions, bytes; 0: no limit */

	void *user;
	/*
	 * May there be this path? Nothing was allocated for it yet. 0: when the
	 * path and its memory are gone, path_gone() is called. Negative: the
	 * request is rejected with that; the callee logs why. Both may be NULL
	 * (all are allowed), and must not call back.
	 */
	int (*path_new)(void *user, const struct rtrs_srv_new_path *np);
	void (*path_gone)(void *user, const struct rtrs_uuid *sess_uuid,
			  const struct rtrs_uuid *path_uuid);
	/*
	 * INFO_REQ came: may this session have this name? Called for each
	 * path. For the first path that comes up *ret_sess_user is what the
	 * session callbacks get from now on; later *ret_sess_user is preset.
	 * Negative: the path is closed (-EPERM name in use; -EACCES not
	 * allowed, which the callee logs).
	 */
	int (*sess_up)(void *user, struct rtrs_srv_sess *sess, const char *name,
		       const struct fabric_addrs *addrs, void **ret_sess_user);
	/*
	 * The last connected path left, and every request of the session was
	 * answered by op_done(): close all devices, then call
	 * rtrs_srv_sess_down_done(), at once or later. The session's name is
	 * free again, and memory is freed, only after that. No request() is
	 * called for this session meanwhile, and its paths stay parked.
	 */
	void (*sess_down)(void *sess_user, struct rtrs_srv_sess *sess);
	void (*request)(void *sess_user, struct rtrs_srv_op *op);
	/*
	 * A path left while requests of it were under way: rtrs_srv_op_lost()
	 * tells which. Nobody gets their answers, and the client cannot come
	 * back by this path before they are given, so what has not begun to
	 * execute may be answered now. NULL is fine.
	 */
	void (*requests_lost)(void *sess_user);
	/*
	 * What became of a vital answer that was given while its path was
	 * connected. told: the fabric says that it went to the peer, or the
	 * peer uses its chunk again. Not told: the path left, and nothing shows
	 * that the client has seen it; that may follow on the former, as a
	 * fabric that has no acknowledgements of its own (tcp) only knows that
	 * the answer was sent. From within any call; must not call back. Needed
	 * by who sets vital.
	 */
	void (*answer_fate)(void *sess_user, const struct rtrs_srv_op *op,
			    bool told);
	/* The session object of this uuid is gone (for routing tables). */
	void (*sess_gone)(void *user, const struct rtrs_uuid *sess_uuid);
};

/* Errors: -EINVAL sizes or a missing callback, -ENOMEM. */
int rtrs_srv_new(const struct rtrs_srv_params *p, struct rtrs_srv **ret);
/*
 * Makes the context of a fabric before its first connection comes: then that
 * one can not fail for want of a descriptor. Optional. Errors: of ctx_new.
 */
int rtrs_srv_add_fabric(struct rtrs_srv *srv, const struct fabric_ops *ops);
/*
 * Closes everything in order: requests that execute are answered if that takes
 * no longer than 10 s, no other is taken. rtrs_srv_closed() tells when it is
 * done, which is not before the last request is.
 */
void rtrs_srv_close(struct rtrs_srv *srv);
bool rtrs_srv_closed(const struct rtrs_srv *srv);
/* Only when closed. NULL is fine. */
void rtrs_srv_free(struct rtrs_srv *srv);

/*
 * Bytes that a path of n_cons connections pins on a fabric that pins: chunks
 * and small buffers as they are, queues as an estimate, for devices whose
 * libraries keep them in memory of the process.
 */
size_t rtrs_srv_path_mem(const struct rtrs_srv_params *p, unsigned n_cons);

/*
 * Takes a connection request over; checks 6 to 14 follow in progress (arm asks
 * for it), now or later, and an accept or a reject. Frees req. Errors, those of
 * ctx_new and migrate: nothing was taken, req is still the caller's and its
 * listener's, to be rejected on the thread of that.
 */
int rtrs_srv_take(struct rtrs_srv *srv, struct rtrs_conn_request *req);

/*
 * What there is of a session, for routing tables: bits of
 * rtrs_srv_presence_bit. PENDING: connection requests that are not answered
 * yet.
 */
enum rtrs_srv_presence_bit {
	RTRS_SRV_PRESENT = BIT(0),
	RTRS_SRV_PENDING = BIT(1),
};
unsigned rtrs_srv_presence(const struct rtrs_srv *srv,
			   const struct rtrs_uuid *sess_uuid);
/* Connection requests that were answered so far: as long as it stands still
 * nothing has ceased to be PENDING. */
uint64_t rtrs_srv_n_answered(const struct rtrs_srv *srv);

/*
 * Descriptors to watch, at most one per fabric; the set grows when a fabric is
 * added or its first connection taken, so ask again after these.
 */
int rtrs_srv_fds(const struct rtrs_srv *srv, int *fds, int n);
bool rtrs_srv_arm(struct rtrs_srv *srv);
uint64_t rtrs_srv_deadline(const struct rtrs_srv *srv);
void rtrs_srv_progress(struct rtrs_srv *srv, uint64_t now);
/* The time of the last progress, or of the one that runs. */
uint64_t rtrs_srv_now(const struct rtrs_srv *srv);
/* Rings the doorbell for all replies; progress and arm do it too. */
void rtrs_srv_flush(struct rtrs_srv *srv);

/*
 * Answers a request. err: 0 or negative errno. A READ with data that succeeded
 * sends data_len bytes. If the path is gone the answer is dropped.
 */
void rtrs_srv_op_done(struct rtrs_srv_op *op, int err);
/* The path by which it came left: its answer will be dropped. */
bool rtrs_srv_op_lost(const struct rtrs_srv_op *op);
void rtrs_srv_sess_down_done(struct rtrs_srv_sess *sess);

uint32_t rtrs_srv_max_io_size(const struct rtrs_srv *srv);
const char *rtrs_srv_sess_name(const struct rtrs_srv_sess *sess);
/*
 * The addresses of the client, of each connected path one; at most max, the
 * rest is left out. Returns how many.
 */
unsigned rtrs_srv_sess_peers(const struct rtrs_srv_sess *sess,
			     struct sockaddr_storage *ret, unsigned max);
unsigned rtrs_srv_n_sessions(const struct rtrs_srv *srv);
/* Closes every path of the session; the peer sees a disconnect. */
void rtrs_srv_sess_close(struct rtrs_srv_sess *sess);

/* Why a connection request was rejected by an rtrs_srv. */
enum rtrs_srv_reject {
	RTRS_SRV_REJECT_SESSIONS,  /* the limit of sessions */
	RTRS_SRV_REJECT_PATHS,     /* the limit of paths of a session */
	RTRS_SRV_REJECT_MEMORY,    /* the limit of memory */
	RTRS_SRV_REJECT_DUPLICATE, /* there is a path between these hosts */
	RTRS_SRV_REJECT_UNKNOWN,   /* joins a session that there is not */
	RTRS_SRV_REJECT_STALE,  /* of an attempt that was given up, or ends */
	RTRS_SRV_REJECT_BUSY,   /* waited in vain for an older one to end */
	RTRS_SRV_REJECT_FAILED, /* something could not be had */
	RTRS_SRV_REJECT_UPPER,  /* by path_new(), which knows why */
};
#define RTRS_SRV_N_REJECTS 9
/* A word of lower case: "sessions"; "?" for what is none. */
const char *rtrs_srv_reject_name(unsigned reject);

/* What happened since rtrs_srv_new(). */
struct rtrs_srv_counts {
	uint64_t accepted; /* connections */
	uint64_t rejected[RTRS_SRV_N_REJECTS];
	uint64_t paths_up;      /* INFO_REQ was answered */
	uint64_t names_refused; /* sess_up() said -EPERM */
	uint64_t hb_timeouts;   /* paths that ended since the peer was silent */
	/* Now: */
	size_t chunk_mem; /* bytes promised to paths, of max_chunk_mem */
};
void rtrs_srv_counts(const struct rtrs_srv *srv, struct rtrs_srv_counts *ret);

struct rtrs_srv_path_info {
	const char *sess_name; /* "" before INFO_REQ; borrowed */
	enum rtrs_srv_path_state state;
	const struct fabric_ops *fabric;
	struct fabric_addrs addrs;
	/* The RDMA device and its port, of connection 0; "" and 0: none. */
	const char *hca_name; /* borrowed */
	unsigned hca_port;
	unsigned n_cons;
	/* Memory that the peer may write to, or will; and on what pages it is:
	 * "lazy" (as they are used), "plain", "transparent", "hugetlb"; "" not
	 * mapped yet. */
	size_t chunk_mem;
	const char *chunk_pages;
	uint64_t hb_latency_ns; /* round trip, the last; 0: none yet */
	struct rtrs_srv_stats stats;
};
/* Calls fn for every path of every session. fn must not change anything. */
void rtrs_srv_for_each_path(struct rtrs_srv *srv,
			    void (*fn)(void *user,
				       const struct rtrs_srv_path_info *info),
			    void *user);
/*
 * Closes the paths that match() wants closed; the peer sees a disconnect, and
 * requests that execute are not answered. Returns how many were not closing
 * already. match must not change anything.
 */
unsigned rtrs_srv_close_paths(struct rtrs_srv *srv,
			      bool (*match)(void *user,
					    const struct rtrs_srv_path_info *),
			      void *user);
/* Zeroes the counters of the paths that match() wants; not inflight. */
unsigned rtrs_srv_reset_stats(struct rtrs_srv *srv,
			      bool (*match)(void *user,
					    const struct rtrs_srv_path_info *),
			      void *user);

#endif
