/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The status of the whole daemon as JSON. Each worker describes itself on its
 * own thread, so that the I/O path needs no lock; the answers are gathered on
 * the control thread.
 */
#ifndef GATEWAY_STATUS_H
#define GATEWAY_STATUS_H

#include <jansson.h>

#include "gateway/loop.h"
#include "gateway/worker.h"

struct status_params {
	struct loop *loop; /* of the control thread */
	struct worker *const *workers;
	unsigned n_workers;
	/* With what the workers said, on the control thread. workers is the
	 * callee's: an array in order; null stands for out of memory. */
	void (*done)(void *user, json_t *workers);
	void *user;
};

/* Error: -ENOMEM; then done is not called. */
int status_gather(const struct status_params *p);
/* Exports as a JSON array. NULL: out of memory. */
json_t *status_exports(struct gw_exports *x);

#endif
