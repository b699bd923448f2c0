/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A histogram of durations in nanoseconds, log-linear: each power of two is
 * cut into HIST_SUB equal buckets. So a value is known with a relative error of
 * at most 1 / HIST_SUB (6.25 %) wherever it lies between HIST_EXACT_NS and
 * HIST_MAX_NS; below, buckets are HIST_EXACT_NS / HIST_SUB (64 ns) wide; above,
 * all values share the last bucket. Count, sum and maximum are exact.
 *
 * Fixed size, no pointers: embed it, copy it, calloc() it. All zeroes is an
 * empty one. To record is a few instructions and never fails. One thread at a
 * time. Counters do not wrap in practice: the sum holds 584 years.
 */
#ifndef RTRS_BASE_HIST_H
#define RTRS_BASE_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 4
#define HIST_SUB      (1u << HIST_SUB_BITS)
/* 2^10 and 2^36 ns: about a microsecond and about a minute. */
#define HIST_LOW_BITS 10
#define HIST_TOP_BITS 36
#define HIST_EXACT_NS (UINT64_C(1) << HIST_LOW_BITS)
#define HIST_MAX_NS   (UINT64_C(1) << HIST_TOP_BITS)
/* The last one is for what is HIST_MAX_NS or more. */
#define HIST_BUCKETS  ((HIST_TOP_BITS - HIST_LOW_BITS + 1) * HIST_SUB + 1)

struct hist {
	uint64_t sum; /* ns */
	uint64_t max; /* ns; 0 when empty */
	uint64_t n[HIST_BUCKETS];
};

/* The bucket of a value: 0..HIST_BUCKETS - 1, growing with it. */
static inline unsigned
hist_bucket(uint64_t ns)
{
	unsigned log2, group;

	if (ns >= HIST_MAX_NS)
		return HIST_BUCKETS - 1;
	if (ns < HIST_EXACT_NS)
		return (unsigned)(ns >> (HIST_LOW_BITS - HIST_SUB_BITS));
	log2 = 63 - (unsigned)__builtin_clzll(ns);
	group = log2 - HIST_LOW_BITS + 1;
	return group * HIST_SUB +
	       ((unsigned)(ns >> (log2 - HIST_SUB_BITS)) & (HIST_SUB - 1));
}

static inline void
hist_record(struct hist *h, uint64_t ns)
{
	h->n[hist_bucket(ns)]++;
	h->sum += ns;
	if (ns > h->max)
		h->max = ns;
}

/*
 * The values of bucket i are those from hist_lower(i) up to, but not including,
 * hist_lower(i + 1). The latter is UINT64_MAX for the last bucket.
 */
uint64_t hist_lower(unsigned i);

/* How many values were recorded. O(HIST_BUCKETS), as all that follow. */
uint64_t hist_count(const struct hist *h);

/* Adds all that src has. */
void hist_merge(struct hist *h, const struct hist *src);

/* Takes out what an earlier copy of it had: what remains was recorded since,
 * but the maximum stays that of all. */
void hist_subtract(struct hist *h, const struct hist *base);

/*
 * The value below which the share q (0..1) of the recorded ones lies: of the
 * bucket of that value the largest, but never more than the maximum. So it is
 * never too small, and too large by 6.25 % at most. Empty: 0.
 */
uint64_t hist_quantile(const struct hist *h, double q);

/*
 * For each of n bounds (ns, ascending) how many values are not larger. A bound
 * within a bucket counts none of that bucket: so the figure is exact for a
 * bound that is up to 6.25 % smaller, and for bounds of HIST_MAX_NS or more it
 * leaves out what is HIST_MAX_NS or more.
 */
void hist_cumulative(const struct hist *h, const uint64_t *bounds, unsigned n,
		     uint64_t *ret);

#endif
