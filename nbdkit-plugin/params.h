/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The key=value parameters of the plugin: what they may be, their defaults,
 * and the words for what is wrong with them. Knows nothing of nbdkit.
 */
#ifndef NBDKIT_PLUGIN_PARAMS_H
#define NBDKIT_PLUGIN_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nbdkit-plugin/exports.h"
#include "nbdkit-plugin/resolve.h"
#include "nbdkit-plugin/wait.h"

#define PARAMS_ERR_MAX 512

enum params_zero {
	PARAMS_ZERO_AUTO, /* trust if no path may lead to a kernel server */
	PARAMS_ZERO_TRUST,
	PARAMS_ZERO_WRITE,
};

struct params {
	uint64_t given; /* a bit for each parameter; params-key.c */
	char *sessname;
	char *control;          /* path of a socket; NULL: none */
	struct exports exports; /* device_path= and its alternatives */
	struct path_spec *paths;
	unsigned n_paths;
	unsigned dest_port;   /* for the paths that follow */
	unsigned access_mode; /* enum rnbd_access_mode */
	int nr_poll_queues;   /* checked, and that is all */
	int connections;      /* 0: by the number of CPUs */
	int queue_depth;      /* 0: no cap */
	unsigned io_timeout_ms;
	unsigned open_timeout_ms;
	unsigned connect_timeout_ms;
	unsigned reconnect_delay_ms, reconnect_delay_max_ms;
	unsigned quiesce_time_ms;
	unsigned heartbeat_interval_ms;
	int heartbeat_missed_max;
	int max_reconnect_attempts; /* -1: no limit */
	int busy_poll_us;
	bool need_inval;
	bool preflight;
	unsigned zero;      /* enum params_zero */
	unsigned mp_policy; /* enum rtrs_mp_policy */
	unsigned connect;   /* enum rtrs_connect */
};

void params_init(struct params *p);
void params_deinit(struct params *p);

/*
 * One parameter. "-" and "_" in key are the same. A second time is an error but
 * for lists and dest_port. Errors: -EINVAL, -ENOMEM, with words that name the
 * parameter in err.
 */
int params_set(struct params *p, const char *key, const char *value,
	       char err[PARAMS_ERR_MAX]);
/* The whole: what is missing, what does not go together. */
int params_check(const struct params *p, char err[PARAMS_ERR_MAX]);

/*
 * Looks the names of all paths up, into an array of n_paths for the caller to
 * free. Blocks. Errors: -ENOMEM and those of path_resolve(), with words.
 */
int params_resolve(const struct params *p, struct rtrs_path_addr **ret,
		   char err[PARAMS_ERR_MAX]);
/*
 * One more path, given while the session runs, as path= and dest_port= would.
 * Without a scheme it is refused: to try RDMA takes a process of its own.
 * Blocks. -EINVAL and those of path_resolve(), with words in err.
 */
int params_resolve_path(const struct params *p, const char *text,
			struct rtrs_path_addr *ret, char *err, size_t err_len);
/* Session parameters; rtrs.paths and rtrs.log are left to the caller. */
void params_session(const struct params *p, struct rnbd_wait_params *ret);

extern const char params_help[];

#endif
