/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The daemon: exports, pool, workers, listeners and control socket, and the
 * loop of the control thread that ties them together.
 */
#ifndef GATEWAY_DAEMON_H
#define GATEWAY_DAEMON_H

#include <stdio.h>

#include "gateway/config.h"
#include "rtrs/base/log.h"

struct daemon;

/*
 * Starts everything and prints "listening on ADDR" to out for each listener.
 * config is what it was started with and outlives it; its rules are taken. The
 * level of log changes with the configuration. Errors are logged. Positive: the
 * configuration is wrong (exit code 2).
 */
#define DAEMON_USAGE 1
int daemon_new(struct gw_config *config, struct log *log, FILE *out,
	       struct daemon **ret);
/*
 * Serves until SIGTERM or SIGINT, then drains: no new connections, requests
 * that came are answered, sessions closed. A second signal removes the files
 * of the daemon and ends the process with exit code 1.
 */
int daemon_run(struct daemon *d);
/*
 * Reads the configuration again, as SIGHUP does, see reload(). What happened is
 * logged. On failure the old one is in force, and text says why; -EBUSY: it is
 * draining. The control thread.
 */
int daemon_reload(struct daemon *d, char text[CONF_TEXT_MAX]);
void daemon_free(struct daemon *d); /* NULL is fine */

#endif
