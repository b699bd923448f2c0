/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/base/hist.h"

uint64_t
hist_lower(unsigned i)
{
	unsigned group = i >> HIST_SUB_BITS;
	uint64_t sub = i & (HIST_SUB - 1);

	if (i >= HIST_BUCKETS)
		return UINT64_MAX;
	if (!group)
		return sub << (HIST_LOW_BITS - HIST_SUB_BITS);
	return (HIST_SUB + sub) << (HIST_LOW_BITS - HIST_SUB_BITS + group - 1);
}

uint64_t
hist_count(const struct hist *h)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		n += h->n[i];
	return n;
}

void
hist_merge(struct hist *h, const struct hist *src)
{
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		h->n[i] += src->n[i];
	h->sum += src->sum;
	if (src->max > h->max)
		h->max = src->max;
}

void
hist_subtract(struct hist *h, const struct hist *base)
{
	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		h->n[i] -= base->n[i];
	h->sum -= base->sum;
}

uint64_t
hist_quantile(const struct hist *h, double q)
{
	uint64_t total = hist_count(h), seen = 0;
	double want = q * (double)total;

	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		uint64_t last = hist_lower(i + 1) - 1;

		seen += h->n[i];
		if (h->n[i] && (double)seen >= want)
			return last < h->max ? last : h->max;
	}
	return h->max;
}

void
hist_cumulative(const struct hist *h, const uint64_t *bounds, unsigned n,
		uint64_t *ret)
{
	uint64_t seen = 0;
	unsigned i = 0;

	for (unsigned b = 0; b < n; b++) {
		/* The values of a bucket end one before the next begins. */
		while (i < HIST_BUCKETS - 1 &&
		       hist_lower(i + 1) - 1 <= bounds[b])
			seen += h->n[i++];
		ret[b] = seen;
	}
}
