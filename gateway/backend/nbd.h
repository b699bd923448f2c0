/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The backend behind which an NBD server stands. nbd.c opens it and moves data,
 * nbd-link.c loses the server and finds it again, nbd-connect.c connects,
 * nbd-sock.c knows whether the other end is still there.
 *
 *   LIVE        all connections are up; requests are sent at once
 *   LOSING      one is lost, or the server says that it goes: new requests are
 *               held, those on the other connections are waited for, so that
 *               nothing is resent past something older
 *   CONNECTING  no connection; a job tries, or waits to try again
 *   FAILED      the server is back with something else: nothing works until
 *               the device is opened again
 *
 * At the end (detach) what is held fails, and what was sent is waited for as
 * long as its connection stands, whatever the state.
 *
 * A held request keeps its place and its buffer; nothing is allocated for it,
 * and the queue depth of its session is the limit of their number.
 */
#ifndef GATEWAY_BACKEND_NBD_H
#define GATEWAY_BACKEND_NBD_H

#include "gateway/backend/backend.h"
#include "gateway/backend/events.h"
#include "gateway/backend/nbd-connect.h"
#include "gateway/backend/nbd-sock.h"

struct nbd_backend;

/* One operation; lies in backend_io.u. */
struct nbd_req {
	struct nbd_req *prev, *next; /* in sent, ended or held */
	struct nbd_conn *conn;       /* while sent */
	uint64_t seq;                /* order of submission */
	uint64_t held_since;         /* first time; 0: never */
	uint64_t flush_mark;         /* FLUSH: covers writes up to here */
	uint32_t piece;              /* bytes of io that are under way */
	int err;                     /* positive errno of libnbd */
	bool was_sent;               /* once; a server may know of it */
};

struct nbd_conn {
	struct nbd_backend *b;
	struct nbd_handle *h;
	struct gw_watch *watch;
	unsigned interest;
	unsigned n_sent;
	struct nbd_silence silence; /* while n_sent */
};

enum nbd_state {
	NBD_LIVE,
	NBD_LOSING,
	NBD_CONNECTING,
	NBD_FAILED,
};

struct nbd_backend {
	struct backend base;
	struct nbd_params params;
	const struct log *log;
	struct gw_events *events;
	bool read_only;         /* opened so */
	struct nbd_facts first; /* what was announced to clients */

	/* The worker's: */
	enum nbd_state state;
	struct nbd_facts facts; /* of the connections there are */
	struct nbd_conn conns[NBD_MAX_CONNS];
	unsigned n_conns;
	bool is_tcp;         /* else there is nobody who could fall silent */
	uint64_t silence_ns; /* so long; tests wait for less */
	uint64_t look_at;    /* at the connections; TIME_NEVER: nothing to do */
	struct nbd_req *sent;  /* in libnbd's hands */
	struct nbd_req *ended; /* libnbd is done with them, we are not */
	struct nbd_req *held;  /* wait for a connection, by seq */
	uint64_t last_seq;
	bool reaping;
	struct gw_alarm *alarm;

	/* Writes that were acknowledged, and those that a flush made durable;
	 * numbers of the operations, in order of their completion. */
	uint64_t n_written, n_durable;
	bool flush_lies;     /* the next flush has to fail */
	uint64_t lies_until; /* and those up to this seq */

	/* While there is no server: */
	uint64_t live_since, lost_at;
	uint64_t retry_at; /* TIME_NEVER: not waiting for that */
	uint64_t backoff;  /* ns */
	bool given_up;     /* hold time is over: nothing is held any more */
	bool connecting;   /* job runs */
	bool failure_said;
	struct backend_io *detach_io; /* the end was asked for */

	/* The job's from run() to done(): */
	struct gw_job job;
	struct nbd_set found;
	int found_err;
	char found_text[GW_TEXT_MAX];
	int cancel_fd; /* eventfd; written by the worker to end the job soon */
};

static inline struct nbd_backend *
nbd_of(struct backend *b)
{
	return container_of(b, struct nbd_backend, base);
}

static inline struct nbd_req *
nbd_req_of(struct backend_io *io)
{
	_Static_assert(sizeof(struct nbd_req) <= sizeof(io->u),
		       "backend_io.u is too small");
	return (struct nbd_req *)(void *)&io->u;
}

static inline struct backend_io *
nbd_io_of(struct nbd_req *req)
{
	return container_of((void *)req, struct backend_io, u);
}

/* --- nbd.c */

/* Gives req to a connection. LIVE only. */
void nbd_send(struct nbd_backend *b, struct nbd_req *req);
/* Ends req; err is 0 or -errno. */
void nbd_complete(struct nbd_backend *b, struct nbd_req *req, int err);
/* After each call of libnbd that may have changed something. */
void nbd_after_call(struct nbd_conn *c);
/* What libnbd is done with is completed, continued or held. */
void nbd_reap(struct nbd_backend *b);
/* A set becomes the connections; their descriptors are watched. -ENOMEM: the
 * set is still the caller's. */
int nbd_adopt(struct nbd_backend *b, struct nbd_set *set);
void nbd_unwatch(struct nbd_backend *b);
/* A connection is lost for that reason, and ended; nbd_reap() comes next. */
void nbd_cut(struct nbd_conn *c, const char *reason);
/* Leaves no connection. What was sent on them is no longer libnbd's. */
void nbd_drop(struct nbd_backend *b);

/* --- nbd-link.c */

int nbd_link_init(struct nbd_backend *b);
void nbd_link_deinit(struct nbd_backend *b);
/* A connection is not to be used any more, for that reason. */
void nbd_lost(struct nbd_backend *b, const char *reason);
/* Something is under way: looks, from now on, whether somebody is there. */
void nbd_look_later(struct nbd_backend *b);
/* A request that cannot be sent now: it is held, or ended with an error. */
void nbd_hold(struct nbd_backend *b, struct nbd_req *req);
/* Goes on to the next state if it is time. The last act of each entry. */
void nbd_settle(struct nbd_backend *b);
void nbd_detach(struct backend *base, struct backend_io *io);

#endif
