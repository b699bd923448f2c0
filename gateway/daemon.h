/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon: exports, pool, workers, listeners and control socket, and the
 * loop of the control thread that ties them together.
 */
#ifndef GATEWAY_DAEMON_H
#define GATEWAY_DAEMON_H

#include <stdio.h>

#include "gateway/options.h"
#include "rtrs/base/log.h"

struct daemon;

/*
 * Starts everything and prints "listening on ADDR" to out for each listener.
 * Errors are logged. The level of log may be changed by the control socket.
 * Positive: the options are wrong (exit code 2).
 */
#define DAEMON_USAGE 1
int daemon_new(const struct options *o, struct log *log, FILE *out,
	       struct daemon **ret);
/*
 * Serves until SIGTERM or SIGINT, then drains: no new connections, requests
 * that came are answered, sessions closed. A second signal removes the files
 * of the daemon and ends the process with exit code 1.
 */
int daemon_run(struct daemon *d);
void daemon_free(struct daemon *d); /* NULL is fine */

#endif
