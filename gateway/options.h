/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of rnbd-gatewayd, which may stand on the command line
 * (cmdline.h) and in section [gateway] of the configuration file (config.h)
 * alike: one table of keys, one judge for each value.
 */
#ifndef GATEWAY_OPTIONS_H
#define GATEWAY_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config/conf.h"
#include "gateway/http.h"
#include "gateway/listen-addr.h"
#include "gateway/log-sink.h"
#include "gateway/spec.h"
#include "rtrs/base/log.h"
#include "rtrs/rtrs.h"

#define OPT_MAX_LISTENERS  64
#define OPT_MAX_WORKERS    256
#define OPT_TEXT_MAX       CONF_TEXT_MAX
#define OPT_DEFAULT_LISTEN "tcp:127.0.0.1"

/* Strings are owned. */
struct options {
	struct listen_addr listen[OPT_MAX_LISTENERS];
	unsigned n_listen;
	char *listen_texts[OPT_MAX_LISTENERS]; /* as given; one may be many */
	unsigned n_listen_texts;
	struct gw_spec *specs; /* what is offered by name; names differ */
	unsigned n_specs;
	char *search_path; /* NULL: none */
	unsigned queue_depth;
	uint32_t chunk_size; /* bytes */
	unsigned workers;
	char *control;      /* path; NULL: no control socket */
	char *metrics_text; /* as given */
	bool has_metrics;
	struct http_addr metrics;
	bool has_control_group;
	gid_t control_group;
	uint64_t busy_poll_us;
	bool no_io_uring;
	bool always_invalidate;
	unsigned max_sessions;
	uint64_t max_memory; /* bytes; 0: no limit */
	unsigned hb_interval_ms, hb_missed_max;
	bool foreground;
	char *pid_file; /* NULL: none */
	enum log_level log_level;
	bool log_target_given; /* else: what fits how it was started */
	enum log_target log_target;
	bool sandbox;
	bool core_dumps;
	/* While keys of a file are set: where. NULL: no file. */
	const char *at_path;
	unsigned at_line;
	/* While keys are set: addresses that it resolved are taken over. */
	const struct options *prior;
};

/*
 * The keys; their object is a struct options. One that is given again replaces
 * its value, one that is repeated adds to it. An arg in brackets may be missing
 * on the command line and means "yes" then. --listen resolves host names, which
 * may block.
 */
extern const struct conf_key gw_option_keys[];

/*
 * The defaults. prior (NULL: none) are options that are in force: addresses
 * that are listened on already are not resolved again.
 */
void options_init(struct options *o, const struct options *prior);
/*
 * Appends an export and takes over what spec holds. -EINVAL (by
 * gw_spec_check(), or there is one of that name) or -ENOMEM, with err; then it
 * is the caller's as before.
 */
int options_add_spec(struct options *o, const struct gw_spec *spec,
		     char err[OPT_TEXT_MAX]);
/*
 * When every key was set: defaults that depend on other keys, and what must
 * hold between them. -EINVAL with err.
 */
int options_finish(struct options *o, char err[OPT_TEXT_MAX]);
void options_deinit(struct options *o);

#endif
