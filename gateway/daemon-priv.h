/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside the daemon: daemon.c (what it is made of, from its start to its
 * freeing), daemon-listen.c (its listeners), daemon-drain.c (how it ends). All
 * on the control thread, unless something else is said.
 */
#ifndef GATEWAY_DAEMON_PRIV_H
#define GATEWAY_DAEMON_PRIV_H

#include <stdatomic.h>

#include "gateway/control-env.h"
#include "gateway/daemon.h"
#include "gateway/metrics.h"
#include "gateway/watchdog.h"
#include "gateway/worker.h"

struct listener {
	struct daemon *daemon;
	struct rtrs_listener *rtrs;
	struct loop_watch *watch;
	char addr[RTRS_ADDR_TEXT_MAX];
};

/* What the daemon and one worker have to say to each other at the end. */
struct farewell {
	struct loop_call call;
	struct daemon *daemon;
	unsigned index;
};

struct daemon {
	struct gw_config *config; /* that it was started with */
	const struct options *o;  /* of config */
	struct log *log;
	uint64_t started;
	struct pid_file *pid_file; /* NULL: none */
	struct gw_exports *exports;
	struct gw_pool *pool, *remote_pool;
	/* The control thread's share of remote_pool; the end is said on
	 * cancel_fd to who waits there. */
	struct gw_pool_exec *remote_exec;
	struct loop_watch *remote_watch;
	int cancel_fd;
	struct gw_access *access;
	struct loop_call access_call; /* to look at its deadline */
	atomic_bool access_called;
	struct route *route;
	struct loop *loop;
	struct loop_timer *timer;
	struct loop_watch *on_term, *on_int, *on_hup;
	struct control *control;
	struct metrics *metrics;
	struct control_env env;
	struct loop_call drain_call; /* posted by the control socket */
	struct listener listeners[OPT_MAX_LISTENERS];
	unsigned n_listeners;
	struct worker *workers[OPT_MAX_WORKERS];
	/* A worker that is told to stop says so twice: when it has begun, and
	 * with that taken over all that was on its way, and when it is done. */
	struct farewell begun[OPT_MAX_WORKERS], done[OPT_MAX_WORKERS];
	unsigned n_workers, n_begun, n_done;
	bool draining;
	struct watchdog *watchdog; /* NULL: nobody wants to know */
};

/* --- daemon-listen.c */

/* Says its address on out and in the log; errors are logged. */
int start_listener(struct daemon *d, const struct listen_addr *la, FILE *out);
/* No request may be on its way to a worker any more. */
void free_listeners(struct daemon *d);
/* For those who show them; user is the daemon. */
void for_each_listener(void *user,
		       void (*fn)(void *fn_user, const char *addr,
				  const struct rtrs_listener_stats *stats),
		       void *fn_user);

/* --- daemon-drain.c */

/* To be called once. Does not wait; the loop stops when the last worker has,
 * and what waits for other servers. */
void begin_drain(struct daemon *d);
/* To be called when something has ended that is waited for. */
void end_if_drained(struct daemon *d);
/* On the worker's thread, its last act; user is its farewell `done`. */
void worker_stopped(void *user);

#endif
