/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside the control socket of a client: control.c (life, commands under way),
 * control-snap.c (what the session says of itself), control-list.c (sessions,
 * paths, devices), control-path.c and control-device.c (commands),
 * control-stats.c and control-metrics.c (numbers).
 */
#ifndef NBDKIT_PLUGIN_CONTROL_PRIV_H
#define NBDKIT_PLUGIN_CONTROL_PRIV_H

#include <pthread.h>

#include "nbdkit-plugin/control.h"

#define WHY_MAX      256
#define PATHNAME_MAX (2 * RTRS_ADDR_TEXT_MAX)

struct snap_path {
	struct rtrs_clt_path_info info; /* its strings point here */
	char why[WHY_MAX];
	char hca_name[64];
	char name[PATHNAME_MAX];  /* src@dst, without ports, as in sysfs */
	char route[PATHNAME_MAX]; /* as it was asked for; no two are equal */
};

struct snap_device {
	struct rnbd_clt_dev_info info; /* its strings point here, but state */
	char why[WHY_MAX];
	char name[RNBD_NAME_LEN];
};

/* The session at one moment. */
struct snap {
	bool up;           /* devices can be used */
	bool failed;       /* it will not come up by itself */
	char why[WHY_MAX]; /* it is not up; "" */
	enum rtrs_mp_policy policy;
	unsigned queue_depth;
	uint32_t max_io_size;
	struct rnbd_clt_stats stats;
	unsigned n_paths;
	struct snap_path paths[RTRS_MAX_PATHS];
	struct snap_device *devices;
	unsigned n_devices, room;
	bool no_memory;
};

/* What a device had counted when the sums began. */
struct dev_base {
	struct dev_base *next;
	const struct rnbd_dev_stats *stats;
	struct rnbd_op_stats op[RNBD_CLT_N_OPS];
};

/* What a path had counted when its counters were zeroed, for the metrics. */
struct carry {
	unsigned path_id;
	struct rtrs_clt_stats stats;
};

struct clt_control {
	struct clt_control_params p;
	char path[128];
	struct loop *loop;
	struct control *server;
	pthread_t thread;
	struct loop_call stop, wake;

	/* Of the thread: */
	struct snap *snap;
	struct dev_base *bases;
	struct carry *carries; /* RTRS_MAX_PATHS */
	unsigned n_carries;
	uint64_t started, since; /* CLOCK_MONOTONIC */

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t resolved;
	struct command *done; /* ended, to be answered */
	bool resolving;       /* the thread may be held up */
	bool stopping;        /* it may not be any more */
	bool abandoned;
};

/* A command that the session has under way. */
struct command {
	struct rtrs_clt_path_op op;
	struct clt_control *cc;
	struct control_call *call;
	/* On the thread: the answer. */
	void (*reply)(struct command *cmd);
	int err;
	uint64_t size_bytes;
	char why[512];
	char name[RNBD_NAME_LEN]; /* of what it is about */
	struct command *next;
};

/* --- control.c */

/* NULL: no memory, and the call was answered. */
struct command *command_new(struct clt_control *cc, struct control_call *call,
			    const char *name,
			    void (*reply)(struct command *cmd));
/* It has ended; under the session's lock, on any thread. */
void command_end(struct command *cmd, int err, const char *why);
/* It did not begin, or is answered. */
void command_free(struct command *cmd);
/* p.resolve(), which may hold the thread up. */
int control_resolve(struct clt_control *cc, const char *text,
		    struct rtrs_path_addr *ret, char *err, size_t err_len);
uint64_t control_now(void);

/* --- control-snap.c */

/* cc->snap as it is now. False: no memory, and the call was answered. */
bool snap_take(struct clt_control *cc, struct control_call *call);
/* The path of that name, by any of its names; NULL: the call was answered. */
const struct snap_path *snap_find_path(const struct clt_control *cc,
				       const char *name,
				       struct control_call *call);
/* Whether it is called so. */
bool snap_path_is(const struct snap_path *path, const char *name);
/* What a device has counted since the sums began, or (all) since ever. */
void snap_counts(struct clt_control *cc, const struct rnbd_dev_stats *ds,
		 bool all, struct rnbd_op_stats ret[RNBD_CLT_N_OPS]);
/* The first one, or the one after ds; NULL: that was the last. */
const struct rnbd_dev_stats *snap_counted(struct clt_control *cc,
					  const struct rnbd_dev_stats *ds);

/* --- control-stats.c */

/* What a path has counted since the start, whatever was reset. */
void stats_since_start(const struct clt_control *cc,
		       const struct rtrs_clt_path_info *info,
		       struct rtrs_clt_stats *ret);

/* --- the methods */

void clt_session_list(void *user, struct control_call *call);
void clt_session_show(void *user, struct control_call *call);
void clt_path_list(void *user, struct control_call *call);
void clt_device_list(void *user, struct control_call *call);
/* {operation: {ops, bytes, errors}} */
json_t *clt_ops_json(const struct rnbd_op_stats op[RNBD_CLT_N_OPS]);

void clt_path_add(void *user, struct control_call *call);
void clt_path_remove(void *user, struct control_call *call);
void clt_path_disconnect(void *user, struct control_call *call);
void clt_path_reconnect(void *user, struct control_call *call);
void clt_policy(void *user, struct control_call *call);
void clt_policy_set(void *user, struct control_call *call);

void clt_device_resize(void *user, struct control_call *call);
void clt_device_remap(void *user, struct control_call *call);

void clt_stats(void *user, struct control_call *call);
void clt_stats_reset(void *user, struct control_call *call);
void clt_metrics(void *user, struct control_call *call);

#endif
