/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests of any alignment on a device of whole blocks. Reads go by way of a
 * bounce buffer; writes and zeroes that cover parts of a block read it, change
 * it and write it back, while no other write may touch it. A discard leaves
 * alone what it covers in part.
 */
#ifndef NBDKIT_PLUGIN_BLOCKS_H
#define NBDKIT_PLUGIN_BLOCKS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "nbdkit-plugin/rnbd-clt.h"

/* Writes under way, to one device, by all its users. Any thread. */
struct block_ranges {
	pthread_mutex_t lock;
	pthread_cond_t left;
	struct block_range *active;
	unsigned waiting;
};
#define BLOCK_RANGES_INIT                                                      \
	{                                                                      \
		.lock = PTHREAD_MUTEX_INITIALIZER,                             \
		.left = PTHREAD_COND_INITIALIZER                               \
	}

/* The device behind: aligned I/O that blocks. 0 or negative errno. */
struct blocks {
	uint32_t size; /* of a block, a power of two */
	struct block_ranges *ranges;
	int (*io)(void *user, enum rnbd_clt_op op, unsigned flags, void *buf,
		  uint64_t len, uint64_t off);
	void *user;
};

/* Errors of all: -ENOMEM and those of io. flags: RNBD_CLT_F_*. */
int blocks_read(const struct blocks *b, void *buf, uint64_t len, uint64_t off);
int blocks_write(const struct blocks *b, const void *buf, uint64_t len,
		 uint64_t off, unsigned flags);
int blocks_zero(const struct blocks *b, uint64_t len, uint64_t off,
		unsigned flags);
int blocks_discard(const struct blocks *b, uint64_t len, uint64_t off,
		   unsigned flags);

#endif
