/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the methods of the control socket work on, and how they ask the workers:
 * each does its part on its own thread, so that the I/O path needs no lock; the
 * parts are put together on the control thread.
 */
#ifndef GATEWAY_CONTROL_ENV_H
#define GATEWAY_CONTROL_ENV_H

#include "config/conf.h"
#include "gateway/access.h"
#include "config/control/control.h"
#include "gateway/export.h"
#include "config/control/loop.h"
#include "gateway/snapshot.h"
#include "gateway/worker.h"

/* Outlives the control socket and its calls. */
struct control_env {
	struct loop *loop; /* of the control thread */
	uint64_t started;  /* os_now() */
	struct log *log;   /* its threshold is set by log_level */
	struct gw_exports *exports;
	struct gw_access *access; /* NULL: all is allowed */
	struct worker *const *workers;
	unsigned n_workers; /* constant once clients are let in */
	void (*for_each_listener)(
		void *user,
		void (*fn)(void *fn_user, const char *addr,
			   const struct rtrs_listener_stats *stats),
		void *fn_user);
	/* Reads the configuration again: 0, and the keys that need a restart,
	 * or a negative errno with words. */
	int (*reload)(void *user, char text[CONF_TEXT_MAX]);
	/* Where other servers are asked, until cancel_fd is readable. */
	struct gw_exec *remote;
	int cancel_fd;
	unsigned n_looks; /* under way there */
	/* The workers are told to end: they are asked no more. */
	bool draining;
	/* Starts the end of the daemon; returns at once. */
	void (*drain)(void *user);
	void *user;
	/* What `stats` counts from: the sums at the last reset. */
	struct gw_server_stats base;
	struct gw_latency base_latency;
	uint64_t base_at; /* os_now() of then; `started` at first */
};

/* The table; its user is a struct control_env. */
extern const struct control_method control_methods[];

/* --- asking the workers */

struct gather;

struct gather_part {
	struct loop_call call;
	struct gather *gather;
	struct worker *worker; /* for its thread; here it may have ended */
	struct snapshot snap;  /* of gather_snapshots() */
	bool has_uring;        /* the worker; likewise */
	unsigned count;        /* what work() did */
};

struct gather {
	struct control_env *env;
	struct control_call *call;
	/* On the worker's thread, once per worker. */
	void (*work)(struct gather_part *part);
	/* On the control thread, when all are done; ends the call. */
	void (*done)(struct gather *g);
	/* For work(), which may only read it; freed with the gather. */
	void *arg;
	unsigned want; /* gather_snapshots(): snap_want bits, and what then */
	void (*then)(struct gather *g);
	unsigned left, n_parts;
	struct gather_part parts[];
};

/*
 * Runs work on each worker and then done. Owns arg, which was calloc()ed (NULL
 * is fine), and answers the call itself when there is no memory.
 */
void gather_start(struct control_env *env, struct control_call *call,
		  void (*work)(struct gather_part *part),
		  void (*done)(struct gather *g), void *arg);
/* The same with a snapshot of each worker; one that failed ends the call. */
void gather_snapshots(struct control_env *env, struct control_call *call,
		      unsigned want, void (*done)(struct gather *g), void *arg);
unsigned gather_count(const struct gather *g);

/* --- parts of answers */

/* {"read": {"ops", "bytes", "errors"}, ...} */
json_t *control_ops_json(const struct gw_op_stats op[BACKEND_N_OPS]);
/* A path and a device as the list methods tell them. */
json_t *control_path_json(const struct rtrs_srv_path_info *info);
json_t *control_device_json(const struct snap_device *dev);

/* Whether a name of a session or device is what a client of ours calls it. */
bool control_name_is(const char *raw, const char *shown);
/* The same for paths: src@dst, or the client's address with port or without. */
bool control_path_is(const struct rtrs_srv_path_info *info, const char *name);

/* --- the methods, by file */

/* control-status.c */
void control_status(void *user, struct control_call *call);
void control_stats(void *user, struct control_call *call);
void control_stats_reset(void *user, struct control_call *call);
/* control-list.c */
void control_session_list(void *user, struct control_call *call);
void control_session_show(void *user, struct control_call *call);
void control_device_list(void *user, struct control_call *call);
void control_path_list(void *user, struct control_call *call);
/* control-close.c */
void control_session_close(void *user, struct control_call *call);
void control_path_disconnect(void *user, struct control_call *call);
/* control-export.c */
void control_export_list(void *user, struct control_call *call);
void control_export_add(void *user, struct control_call *call);
void control_export_remove(void *user, struct control_call *call);
void control_export_resize(void *user, struct control_call *call);
void control_export_limits(void *user, struct control_call *call);
void control_device_close(void *user, struct control_call *call);
/* control-daemon.c */
void control_version(void *user, struct control_call *call);
void control_list_methods(void *user, struct control_call *call);
void control_log_level(void *user, struct control_call *call);
void control_log_level_set(void *user, struct control_call *call);
void control_access_stats(void *user, struct control_call *call);
void control_reload(void *user, struct control_call *call);
void control_drain(void *user, struct control_call *call);

#endif
