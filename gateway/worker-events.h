/* SPDX-License-Identifier: BSD-3-Clause */
/* The loop of a worker as what backends see of it (backend/events.h). */
#ifndef GATEWAY_WORKER_EVENTS_H
#define GATEWAY_WORKER_EVENTS_H

#include "gateway/backend/events.h"
#include "config/control/loop.h"

struct worker_events {
	struct gw_events base;
	struct loop *loop;
	unsigned n_watches; /* now */
};

/* loop and exec are lent for as long as it is used. */
void worker_events_init(struct worker_events *we, struct loop *loop,
			struct gw_exec *exec);

#endif
