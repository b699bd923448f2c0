/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/throttle.h"

void
gw_throttle_set(struct gw_throttle *t, uint64_t iops, uint64_t bandwidth)
{
	atomic_store_explicit(&t->iops, iops, memory_order_relaxed);
	atomic_store_explicit(&t->bandwidth, bandwidth, memory_order_relaxed);
	/* Under a low limit turns reach far into the future. */
	atomic_store_explicit(&t->ops_until, 0, memory_order_relaxed);
	atomic_store_explicit(&t->bytes_until, 0, memory_order_relaxed);
	/* With gw_throttle_gen(): who sees it sees the limits. */
	atomic_fetch_add_explicit(&t->gen, 1, memory_order_release);
}

static uint64_t
take(atomic_uint_fast64_t *until, uint64_t now, uint64_t cost)
{
	uint_fast64_t old = atomic_load_explicit(until, memory_order_relaxed);
	uint64_t begin;

	/* The counter is all there is: it orders nothing else. */
	do {
		begin = old > now ? old : now;
	} while (!atomic_compare_exchange_weak_explicit(
		until, &old, begin + cost, memory_order_relaxed,
		memory_order_relaxed));
	return begin > GW_THROTTLE_BURST_NS ? begin - GW_THROTTLE_BURST_NS : 0;
}

uint64_t
gw_throttle_take(struct gw_throttle *t, uint64_t now, uint64_t bytes)
{
	uint64_t iops = atomic_load_explicit(&t->iops, memory_order_relaxed);
	uint64_t bandwidth =
		atomic_load_explicit(&t->bandwidth, memory_order_relaxed);
	uint64_t begin = 0;

	if (iops)
		begin = take(&t->ops_until, now, NSEC_PER_SEC / iops);
	if (bandwidth && bytes) {
		uint64_t b = take(&t->bytes_until, now,
				  bytes * NSEC_PER_SEC / bandwidth);

		if (b > begin)
			begin = b;
	}
	return begin;
}
