/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of the RNBD server, shared by server.c, session.c,
 * session-allow.c and io.c.
 *
 *   gw_server  one worker's server; owns its sessions and the rtrs_srv
 *   gw_sess    one client, from its first path up until its last path down
 *   gw_device  one OPEN of one client: an export with a device id
 *   gw_req     one request until its one answer; from a pool of the session
 *
 * Everything is used on the worker's thread, but for the fields of gw_device
 * that are marked as the job's.
 */
#ifndef GATEWAY_SESSION_H
#define GATEWAY_SESSION_H

#include "gateway/durable.h"
#include "gateway/hash.h"
#include "gateway/server.h"
#include "gateway/stats.h"
#include "rtrs/base/dues.h"

/* Devices of one session, those that are being closed included. */
#define GW_MAX_DEVICES  1024
/* What OPEN_RSP says about segments; our peers use the RTRS limits. */
#define GW_MAX_SEGMENTS 128

/* A request is at most three backend operations, done in this order. */
enum gw_step {
	GW_STEP_PREFLUSH = BIT(0),
	GW_STEP_MAIN = BIT(1),
	GW_STEP_POSTFLUSH = BIT(2),
};

struct gw_req {
	struct rtrs_srv_op *op;
	struct gw_sess *sess;
	/* free list, waiters or throttled of a device, or fences */
	struct gw_req *next;
	uint64_t seq; /* order of arrival in the session; 0: free */
	/* IO only: */
	struct gw_device *dev;
	uint64_t started; /* the round in which it was found */
	unsigned steps;   /* still to be done: gw_step bits */
	enum backend_op main_op;
	unsigned main_flags;
	bool postflush;   /* one of the steps, done or not */
	unsigned repeats; /* of both, that are left */
	unsigned losses;  /* of the backend, when the main operation was done */
	uint64_t off, len;  /* bytes; of the main operation */
	gw_failure failure; /* that the answer tells */
	struct backend_io io;
};

/*
 * What is true of a device now.
 *   OPENING   the open job runs; no id yet
 *   OPEN      has an id; takes IO
 *   DRAINING  lost its id; waits for its running IO
 *   CLOSING   the close job runs
 */
enum gw_device_state {
	GW_DEV_OPENING,
	GW_DEV_OPEN,
	GW_DEV_DRAINING,
	GW_DEV_CLOSING,
};

struct gw_device {
	UT_hash_handle hh; /* in gw_sess.by_id while OPEN */
	struct gw_sess *sess;
	struct gw_device *prev, *next; /* gw_sess.devs */
	struct gw_device *kick_prev, *kick_next;
	bool kick_queued; /* in gw_server.kick */
	struct gw_device *drained_next;
	enum gw_device_state state;
	uint32_t id; /* valid when OPEN */
	uint8_t access_mode;
	char name[RNBD_NAME_LEN];
	unsigned inflight; /* IO taken and not yet answered */
	/*
	 * Of these, what a limit of the export makes wait, in order of arrival.
	 * The first has taken its turn, which comes at due.at; then due is in
	 * gw_server.due.
	 */
	struct gw_req *throttled, *throttled_tail;
	unsigned n_throttled;
	struct due due;
	unsigned limits_gen;   /* by which that turn was taken */
	struct gw_req *opener; /* the OPEN to be answered */
	struct gw_req *closer; /* the CLOSE to be answered */
	/* OPENs of this name that came while it was neither open nor gone;
	 * dispatched again once it is either. In order of arrival. */
	struct gw_req *waiters;
	struct backend_io detach_io; /* counts as one in flight */
	struct gw_op_stats stats[BACKEND_N_OPS];
	/* From when it is OPEN until it is freed: */
	struct gw_export_stats *export_stats;
	struct gw_device *stats_prev, *stats_next;
	struct gw_latency *latency; /* its own; NULL: none */
	struct gw_latency *record;  /* where its requests are recorded */
	int cancel_fd; /* OPENING what may take long: an eventfd; else -1 */
	/* The job's from run() to done(): */
	struct gw_job job;
	int err;
	struct gw_opened opened;
	char err_text[GW_TEXT_MAX];
	/* Constant while OPEN or DRAINING; out of opened: */
	struct backend *backend;
	struct gw_throttle *throttle;
	struct gw_durable *durable;
	bool writethrough;
};

struct gw_sess {
	struct gw_server *srv;
	struct rtrs_srv_sess *rtrs;
	struct gw_sess *prev, *next; /* gw_server.sessions */
	char name[RTRS_NAME_LEN];
	uint8_t ver; /* agreed protocol major; 0 before SESS_INFO */
	bool down;   /* the last path left; ends when nothing is under way */
	/* Calls of ours on the stack that still use the session; it is freed
	 * by the last one, whatever they made RTRS call back. */
	unsigned entered;
	struct gw_device *by_id; /* hash of the open ones */
	struct gw_device *devs;  /* all of them, any state */
	unsigned n_devs;
	/*
	 * Monotonic, from a random start: a stale id never hits another device,
	 * not even one that a client learned from us before we were restarted.
	 */
	uint32_t next_id;
	char explain[GW_TEXT_MAX]; /* why the last OPEN failed */
	/* The pool: as many as RTRS can have outstanding in one session. */
	struct gw_req *free_reqs;
	unsigned n_reqs_used;    /* handed out now */
	unsigned n_reqs_touched; /* reqs[] from here on were never used */
	unsigned n_reqs;
	uint64_t last_seq;
	/* SESS_INFO that wait for every older request to end; in order. */
	struct gw_req *fences;
	bool passing; /* one of them is being answered */
	struct gw_req reqs[];
};

struct gw_server {
	struct gw_server_params p;
	struct rtrs_srv *rtrs;
	const struct log *log;
	struct gw_sess *sessions;
	struct gw_device *kick; /* backends that hold queued operations */
	/* Devices whose last IO has ended: closed by gw_server_kick(), since
	 * the backend may be on the stack below the completion of that IO. */
	struct gw_device *drained;
	struct dues due; /* devices whose first request waits */
	struct gw_server_stats stats;
	struct gw_stats measured;
	uint32_t max_io_size;
	unsigned queue_depth;
};

/* server.c */
static inline void
gw_sess_enter(struct gw_sess *sess)
{
	sess->entered++;
}
/* Frees the session if it is down and nothing of it is under way. */
void gw_sess_leave(struct gw_sess *sess);
/* Answers the request and gives it back to the pool. */
void gw_req_done(struct gw_req *req, int err);

/* session.c */
void gw_sess_open_dev(struct gw_req *req, const struct rnbd_msg_open *m);
void gw_sess_close_dev(struct gw_req *req, uint32_t device_id);
/* Closes all devices as by CLOSE; those still opening close afterwards. */
void gw_sess_close_all(struct gw_sess *sess);
/* The open device of that name, or NULL. */
struct gw_device *gw_sess_find_name(const struct gw_sess *sess,
				    const char *dev_name);
/* Takes the id away, as for CLOSE, but nobody asked; why is for the log. */
void gw_device_revoke(struct gw_device *dev, const char *why);
struct gw_device *gw_sess_find_dev(struct gw_sess *sess, uint32_t device_id);
/* The close of a device that has nothing in flight any more. */
void gw_device_start_close(struct gw_device *dev);

/* session-allow.c */
/* What the access rules say of an open; a refusal is logged. */
int gw_device_check_rules(const struct gw_device *dev,
			  char err_text[GW_TEXT_MAX]);
/*
 * 0 if the session may have the device; its name is looked up before the open,
 * what it is after it. *ret_size as gw_export_allow().
 */
int gw_device_check_allowed(const struct gw_device *dev,
			    const struct gw_opened *o, uint64_t *ret_size,
			    char err_text[GW_TEXT_MAX]);
/*
 * May a path from peer join the session, with what it has open? -EACCES, which
 * is logged.
 */
int gw_sess_check_path(struct gw_sess *sess,
		       const struct sockaddr_storage *peer);
/*
 * A file or device that has grown to size: kernel clients are told by their
 * administrator, and use it without another OPEN. Less is ignored.
 */
void gw_device_grow(struct gw_device *dev, uint64_t size);
/* Closes those that may not stay, and lets the rest grow. */
void gw_sess_recheck(struct gw_sess *sess);

/* io.c */
/* One less in flight; what drains and has drained is closed soon. */
void gw_device_io_ended(struct gw_device *dev);
void gw_io_start(struct gw_req *req, const struct rnbd_msg_io *m);
/* The first step of a request that was checked and planned. */
void gw_io_begin(struct gw_req *req);
/* Answers a request of a device; err: 0 or negative. */
void gw_io_end(struct gw_req *req, int err);
/* What became of a vital answer. */
void gw_io_answer_fate(struct gw_sess *sess, const struct rtrs_srv_op *op,
		       bool told);

/* throttled.c */

/* Whether req has to wait for its turn; then it is queued. */
bool gw_throttled_wait(struct gw_req *req);
/* Begins what is due. */
void gw_throttled_run(struct gw_server *s);
/* The limits may have changed: what waits takes its turn anew. */
void gw_throttled_recheck(struct gw_device *dev);
/*
 * Answers what waits with -ENOTCONN: all of it, or that whose answer nobody
 * gets. It did not begin, so nothing is half done.
 */
void gw_throttled_drop(struct gw_device *dev, bool lost_only);
void gw_throttled_drop_sess(struct gw_sess *sess, bool lost_only);

#endif
