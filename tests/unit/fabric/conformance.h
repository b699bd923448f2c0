/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The clauses of rtrs/fabric/fabric.h as test cases, for any fabric. A driver
 * says how time passes there.
 */
#ifndef TESTS_UNIT_FABRIC_CONFORMANCE_H
#define TESTS_UNIT_FABRIC_CONFORMANCE_H

#include <check.h>

#include "rtrs/fabric/fabric.h"

struct conf_driver {
	const struct fabric_ops *ops;
	/*
	 * Success of a send or write says that it left, as on a socket, and
	 * not that the peer has it, as on a queue pair.
	 */
	bool completes_when_sent;
	/* Who ends a key that it may not end has a success all the same. */
	bool inv_is_not_answered;
	unsigned connect_timeout_ms; /* longer than any connect; 0: 2000 */
	/* Called around each case; round varies what can vary (a seed). */
	void (*setup)(int round);
	void (*teardown)(void);
	/* fabric_ctx_params.priv of the client's and the server's contexts */
	void *(*priv)(int side);
	/* fabric_ctx_params.log; may be NULL */
	const struct log *(*log)(int side);
	struct rng (*rng)(void);
	uint64_t (*now)(void);
	/* Address to listen on (port 0), and one where nobody listens. */
	socklen_t (*listen_addr)(struct sockaddr_storage *ret);
	socklen_t (*dead_addr)(struct sockaddr_storage *ret);
	/*
	 * Waits until a context has something to poll, or a deadline is due.
	 * False: nothing is under way, nothing will come.
	 */
	bool (*wait)(struct fabric_ctx *const *ctx, int n);
	/* Lets everything happen that is under way now. */
	void (*settle)(struct fabric_ctx *const *ctx, int n);
	int rounds;
};

/* One suite; may be called once per process and driver. */
Suite *conf_suite(const char *name, const struct conf_driver *drv);

#endif
