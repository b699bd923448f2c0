/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The client that has done nothing wrong: it writes and reads its own disk
 * while others are hostile, and must not notice.
 */
#ifndef TESTS_HOSTILE_HONEST_H
#define TESTS_HOSTILE_HONEST_H

#include "nbdkit-plugin/rnbd-clt.h"
#include "tests/hostile/gateway.h"

#define HONEST_DEPTH  3
#define HONEST_BLOCK  2048
#define HONEST_BLOCKS 32

struct honest_io {
	struct rnbd_clt_io io;
	struct honest *h;
	bool busy;
	unsigned block;
	uint64_t version, begun;
	uint8_t buf[HONEST_BLOCK];
};

enum honest_who {
	HONEST_ALONE, /* by one path */
	HONEST_TWICE, /* the same by two */
	HONEST_OTHER, /* another session, with a disk of its own, by one path */
};

struct honest {
	struct player player;
	struct stage *stage;
	struct gateway *g;
	enum honest_who who;
	struct sim_node *node;
	struct rnbd_clt *clt;
	struct rnbd_clt_dev *dev;
	struct stage_timer think;
	struct honest_io ios[HONEST_DEPTH];
	uint8_t versions[HONEST_BLOCKS];
	bool busy_blocks[HONEST_BLOCKS];
	bool stopping, closed_dev;
	unsigned n_busy;
	uint64_t done;     /* I/O */
	uint64_t think_ns; /* at most, between two of them */
};

void honest_start(struct honest *h, struct gateway *g, enum honest_who who,
		  uint64_t think_ns);
/* Ends in order; turns of the stage go on in here. */
void honest_stop(struct honest *h);

#endif
