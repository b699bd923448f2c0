/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line of rnbd-gatewayd.
 */
#ifndef GATEWAY_OPTIONS_H
#define GATEWAY_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "gateway/listen-addr.h"
#include "gateway/log-sink.h"
#include "rtrs/base/log.h"
#include "rtrs/rtrs.h"

#define OPT_MAX_LISTENERS  64
#define OPT_MAX_WORKERS    256
#define OPT_TEXT_MAX       512
#define OPT_DEFAULT_LISTEN "tcp:127.0.0.1"

struct options {
	struct listen_addr listen[OPT_MAX_LISTENERS];
	unsigned n_listen;
	const char **exports; /* NAME=SPEC, judged by gw_exports_add_text() */
	unsigned n_exports;
	const char *search_path; /* NULL: none */
	unsigned queue_depth;
	uint32_t chunk_size; /* bytes */
	unsigned workers;
	const char *control; /* path; NULL: no control socket */
	uint64_t busy_poll_us;
	bool no_io_uring;
	bool always_invalidate;
	unsigned max_sessions;
	uint64_t max_memory; /* bytes; 0: no limit */
	unsigned hb_interval_ms, hb_missed_max;
	bool foreground;
	const char *pid_file; /* NULL: none */
	enum log_level log_level;
	bool log_target_given; /* else: what fits how it was started */
	enum log_target log_target;
	bool sandbox;
	bool core_dumps;
};

enum options_result {
	OPTIONS_RUN,   /* *o is filled */
	OPTIONS_DONE,  /* --help, --version: printed, exit with 0 */
	OPTIONS_USAGE, /* err_text says in one line what is wrong */
};

/*
 * Parses argv; strings are borrowed from it. Judges each value and their
 * combinations, and resolves listening addresses (which may block). Prints to
 * out for --help and --version only.
 */
enum options_result options_parse(struct options *o, int argc, char **argv,
				  FILE *out, char err_text[OPT_TEXT_MAX]);
void options_deinit(struct options *o);

#endif
