/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The metrics of the daemon, by HTTP. Each worker describes itself on its own
 * thread, so that the I/O path needs no lock; the control thread adds up what
 * they say, makes text of it and replies. One round of questions at a time,
 * whoever asks meanwhile shares the next one: clients cannot keep the workers
 * busier than that.
 */
#ifndef GATEWAY_METRICS_H
#define GATEWAY_METRICS_H

#include "gateway/http.h"
#include "gateway/metrics-text.h"

struct metrics;

struct metrics_params {
	struct loop *loop; /* of the control thread */
	const struct http_addr *addr;
	struct worker *const *workers;
	unsigned n_workers;
	struct gw_exports *exports;
	struct gw_access *access; /* NULL: none */
	void (*for_each_listener)(
		void *user,
		void (*fn)(void *fn_user, const char *addr,
			   const struct rtrs_listener_stats *stats),
		void *fn_user);
	void *user;
};

/* Errors: those of http_new(); err_text says it in one line. */
int metrics_new(const struct metrics_params *p, char err_text[HTTP_TEXT_MAX],
		struct metrics **ret);
/* Ends all connections, questions that are under way included. NULL is fine. */
void metrics_free(struct metrics *m);
/* Where it listens. */
const char *metrics_uri(const struct metrics *m);

#endif
