/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A new reading of the configuration, put into force while the daemon runs: all
 * of what may change live, or nothing.
 */
#ifndef GATEWAY_RELOAD_H
#define GATEWAY_RELOAD_H

#include "gateway/access.h"
#include "gateway/config.h"
#include "gateway/worker.h"

/* What becomes of a new value of a key of [gateway]. */
enum reload_effect {
	RELOAD_LIVE,    /* it holds from now on */
	RELOAD_RESTART, /* it is named in a warning and holds after a restart */
};

/* Total over gw_option_keys[]; -1 for any other name. */
int reload_effect(const char *key);

struct reload_params {
	/* What the daemon was started with, and reads again. */
	const struct gw_config *started;
	struct gw_exports *exports;
	struct gw_access *access;
	struct log *log;
	struct worker *const *workers;
	unsigned n_workers;
};

/*
 * Reads the file and the command line of started again and judges everything;
 * only then exports, search path, rules, limits and log level change, and each
 * worker is told to close the mappings that are not allowed any more. Those
 * that are go on undisturbed. On failure nothing has changed, and text says in
 * one line why: errors of gw_config_load() and gw_exports_prepare(), -ENOENT
 * there is no file to read. Blocking; the control thread, while the workers
 * run. On success text is the keys whose new values need a restart, with ", "
 * between them; "": none.
 */
int reload(const struct reload_params *p, char text[CONF_TEXT_MAX]);

#endif
