/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A limit of operations and of bytes per second, shared by all workers: two
 * counters of virtual time (the generic cell rate algorithm). A request takes
 * its turn with one atomic step per limit, and learns when it may begin. No
 * lock; any thread.
 */
#ifndef GATEWAY_THROTTLE_H
#define GATEWAY_THROTTLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "rtrs/base/util.h"

/*
 * How far ahead of its time a request may begin: what an idle export can do at
 * once, and what a worker that wakes up late can make up for.
 */
#define GW_THROTTLE_BURST_NS (20 * NSEC_PER_MSEC)

/* All zero: no limit. */
struct gw_throttle {
	atomic_uint_fast64_t iops, bandwidth; /* per second; 0: no limit */
	/* When all that took its turn so far would be done, at the limit. */
	atomic_uint_fast64_t ops_until, bytes_until;
	/* Counts changes: turns that were taken before are void. */
	atomic_uint gen;
};

static inline bool
gw_throttle_limits(const struct gw_throttle *t)
{
	return atomic_load_explicit(&t->iops, memory_order_relaxed) ||
	       atomic_load_explicit(&t->bandwidth, memory_order_relaxed);
}

static inline unsigned
gw_throttle_gen(const struct gw_throttle *t)
{
	return atomic_load_explicit(&t->gen, memory_order_acquire);
}

/* New limits, of which what follows takes its turns anew. */
void gw_throttle_set(struct gw_throttle *t, uint64_t iops, uint64_t bandwidth);
/*
 * Takes the turn of one operation that moves bytes; returns when it may begin,
 * which is at once if that is not after now. Every turn is used: what is taken
 * and not done is lost to all. bytes < 2^34.
 */
uint64_t gw_throttle_take(struct gw_throttle *t, uint64_t now, uint64_t bytes);

#endif
