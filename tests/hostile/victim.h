/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The application whose server lies. Its data may be nonsense, its I/O may
 * fail: but each ends once, its memory is touched by nobody else, and it can
 * always leave.
 */
#ifndef TESTS_HOSTILE_VICTIM_H
#define TESTS_HOSTILE_VICTIM_H

#include "nbdkit-plugin/rnbd-clt.h"
#include "tests/hostile/liar-srv.h"

#define VICTIM_IOS   8
#define VICTIM_DEVS  2
#define VICTIM_LEN   (24u << 10) /* more than one piece */
#define VICTIM_GUARD 64

enum victim_state {
	VICTIM_RESTS,
	VICTIM_OPENS,
	VICTIM_WORKS,
	VICTIM_CLOSES,
	VICTIM_DONE,
};

struct victim_io {
	struct rnbd_clt_io io;
	struct victim *v;
	bool busy, resting;
	unsigned generation;
	uint8_t buf[VICTIM_GUARD + VICTIM_LEN + VICTIM_GUARD];
};

struct victim_dev {
	struct victim *v;
	struct rnbd_clt_dev *dev;
	bool opening;
	struct rnbd_clt_geometry geo;
};

struct victim {
	struct player player;
	struct stage *stage;
	struct liar_srv *liar;
	struct sim_node *node;
	struct rnbd_clt *clt;
	struct log log;
	enum victim_state state;
	struct stage_timer timer;
	struct victim_dev devs[VICTIM_DEVS];
	struct victim_io ios[VICTIM_IOS];
	unsigned n_busy, left;
	unsigned max_queue_depth;
	uint64_t began, last_end;
	uint64_t ok, failed, lines;
	uint64_t admins; /* what it said itself */
	bool due;
};

void victim_start(struct victim *v, struct stage *s, struct liar_srv *l);
void victim_stop(struct victim *v);

#endif
