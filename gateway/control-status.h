/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The methods of the control socket. The status of the whole daemon: each
 * worker describes itself on its own thread, so that the I/O path needs no
 * lock; the answers are gathered on the control thread.
 */
#ifndef GATEWAY_CONTROL_STATUS_H
#define GATEWAY_CONTROL_STATUS_H

#include "gateway/control.h"
#include "gateway/loop.h"
#include "gateway/worker.h"

/* What there is to tell. Outlives the control socket and its calls. */
struct status_source {
	struct loop *loop; /* of the control thread */
	uint64_t started;  /* os_now() */
	struct gw_exports *exports;
	struct worker *const *workers;
	unsigned n_workers; /* constant once clients are let in */
	void (*for_each_listener)(
		void *user,
		void (*fn)(void *fn_user, const char *addr,
			   const struct rtrs_listener_stats *stats),
		void *fn_user);
	void *user;
};

/* Methods `status` and `version`; their user is a struct status_source. */
extern const struct control_method control_status_methods[];

#endif
