/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The application one of whose two paths leads to a liar. What went by that
 * path may come to anything. What the gateway executed came by the other one,
 * which the liar can not touch: it ends once, without an error and with the
 * right data, and never before it was executed. Only the liar who greets the
 * session, or opens its device, may end the other path too: what he said then
 * is the session's.
 */
#ifndef TESTS_HOSTILE_HALF_H
#define TESTS_HOSTILE_HALF_H

#include "nbdkit-plugin/rnbd-clt.h"
#include "tests/hostile/gateway.h"
#include "tests/hostile/liar-srv.h"

#define HALF_IOS     8
#define HALF_BLOCK   2048
#define HALF_SECTORS (HALF_BLOCK / DISK_SECTOR)
#define HALF_BLOCKS  48

enum half_state {
	HALF_RESTS,
	HALF_OPENS,
	HALF_WAITS, /* for the liar to join */
	HALF_WORKS,
	HALF_CLOSES,
	HALF_DONE,
};

struct half_io {
	struct rnbd_clt_io io;
	struct half *h;
	bool busy;
	unsigned block;
	uint8_t executed; /* by the gateway: a bit per sector */
	uint8_t buf[HALF_BLOCK];
};

struct half {
	struct player player;
	struct stage *stage;
	struct gateway *g;
	struct liar_srv *liar;
	struct sim_node *node;
	struct rnbd_clt *clt;
	struct rnbd_clt_dev *dev;
	struct log log;
	enum half_state state;
	struct stage_timer timer;
	struct half_io ios[HALF_IOS];
	struct half_io *by_block[HALF_BLOCKS];        /* those that are busy */
	uint8_t versions[HALF_BLOCKS * HALF_SECTORS]; /* on the disk */
	unsigned n_busy, left;
	bool opening, due;
	/* The session was greeted and the device opened by the honest path,
	 * before the liar came: from here on that path stays. */
	bool greeted;
	uint64_t last_end;
	uint64_t ok; /* I/O that the gateway executed */
	uint64_t other, lines;
};

void half_start(struct half *h, struct gateway *g, struct liar_srv *l);
void half_stop(struct half *h);

#endif
