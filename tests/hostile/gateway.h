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
#define OTHER_NAME    "other"
#define OTHER_EXPORT  "other-disk"
#define LIAR_EXPORT   "liar-disk"
#define LIAR_RO       "liar-ro" /* a read-only export */
#define LIAR_PREFIX   "liar-"

/* What it costs to listen to the network: how the honest one's paths connect.
 */
struct heard {
	struct rtrs_uuid sess, path;
	uint16_t recon_cnt;
};
#define HONEST_PATHS 2

struct gateway {
	struct player worker, acceptor;
	struct stage *stage;
	struct sim_node *node;
	struct gw_exec exec;
	struct gw_exports *exports;
	struct gw_access *access;
	struct gw_server *server;
	struct rtrs_listener *listener;
	struct disk honest, other, liars, liars_ro;
	struct heard heard[HONEST_PATHS]; /* one for each path */
	unsigned n_heard;
	/* Somebody who knew both UUIDs of an honest path gave it up: that ends
	 * it, which rnbd-security(7) says. */
	bool stolen;
	/* So many of the honest paths, from the first on, may be. */
	unsigned stealable;
	struct gw_access_limits limits;
	unsigned queue_depth, jobs;
	uint32_t chunk_size;
	bool new_rkey;
};

void gateway_start(struct gateway *g, struct stage *s);
/* The honest path that a request names by both UUIDs, or NULL. */
const struct heard *gateway_heard(const struct gateway *g,
				  const struct rtrs_msg_conn_req *msg);
/* Nobody may hold more than the limits allow. */
void gateway_check(struct gateway *g);
/* Ends in order; turns of the stage go on in here. */
void gateway_stop(struct gateway *g);

#endif
