/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker: one thread with a loop, an RNBD server, an I/O engine and its
 * share of the pool. A request lives on one worker from its arrival to its
 * answer. Others talk to a worker by calls posted to its loop.
 */
#ifndef GATEWAY_WORKER_H
#define GATEWAY_WORKER_H

#include "gateway/backend/pool.h"
#include "gateway/backend/uring.h"
#include "config/control/loop.h"
#include "gateway/options.h"
#include "gateway/route.h"
#include "gateway/server.h"

struct worker;

struct worker_params {
	unsigned index;
	const struct options *opt;
	struct gw_exports *exports;
	struct gw_access *access;
	struct gw_pool *pool;
	struct gw_pool *remote_pool; /* for what waits for other machines */
	struct route *route;
	/* Of the listeners' thread: what cannot be taken goes back there. */
	struct loop *listeners;
	const struct log *log;
	/* Called on the worker's thread, as its last act. */
	void (*stopped)(void *user);
	void *user;
};

/* Returns when the worker runs or has failed; the error is logged. */
int worker_start(const struct worker_params *p, struct worker **ret);
/* Waits for the thread to end (see worker_stop) and frees the worker. */
void worker_join(struct worker *w);

/* --- any thread */

/* Runs call on the worker's thread. */
void worker_post(struct worker *w, struct loop_call *call);
/*
 * Hands a connection request over. Errors: -ENOMEM; then it is still the
 * caller's, and so is the entry in the routing table.
 */
int worker_take(struct worker *w, struct rtrs_conn_request *req);

/* --- from a call, on the worker's thread */

/* Closes all sessions in order; the thread ends when they are closed. */
void worker_stop(struct worker *w);
unsigned worker_index(const struct worker *w);
struct gw_server *worker_server(struct worker *w);
bool worker_has_uring(const struct worker *w);

/* Nanoseconds of os_now(). What is not idle is busy, polling included. */
struct worker_times {
	uint64_t started, now;
	uint64_t idle_ns; /* in waits that ended, of which there were so many */
	uint64_t waits;
};
void worker_times(struct worker *w, struct worker_times *ret);

#endif
