/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The gateway that is attacked: listener, one worker, access rules and limits
 * per address. The honest one's export is his alone; liars have their own.
 */
#ifndef TESTS_HOSTILE_GATEWAY_H
#define TESTS_HOSTILE_GATEWAY_H

#include "gateway/access.h"
#include "gateway/server.h"
#include "tests/hostile/disk.h"

#define HONEST_NAME   "honest"
#define HONEST_EXPORT "honest-disk"
#define LIAR_EXPORT   "liar-disk"
#define LIAR_RO       "liar-ro" /* a read-only export */
#define LIAR_PREFIX   "liar-"

struct gateway {
	struct player worker, acceptor;
	struct stage *stage;
	struct sim_node *node;
	struct gw_exec exec;
	struct gw_exports *exports;
	struct gw_access *access;
	struct gw_server *server;
	struct rtrs_listener *listener;
	struct disk honest, liars, liars_ro;
	struct gw_access_limits limits;
	unsigned queue_depth, jobs;
	uint32_t chunk_size;
	bool new_rkey;
};

void gateway_start(struct gateway *g, struct stage *s);
/* Nobody may hold more than the limits allow. */
void gateway_check(struct gateway *g);
/* Ends in order; turns of the stage go on in here. */
void gateway_stop(struct gateway *g);

#endif
