/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small things that every folder above needs: units of time, container_of,
 * scope-bound cleanup. Lists and hash tables are <utlist.h> and <uthash.h>.
 */
#ifndef RTRS_BASE_UTIL_H
#define RTRS_BASE_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Time is a uint64_t in nanoseconds of a clock that never goes back. Engines
 * never read one: "now" is an argument.
 */
#define NSEC_PER_USEC UINT64_C(1000)
#define NSEC_PER_MSEC UINT64_C(1000000)
#define NSEC_PER_SEC  UINT64_C(1000000000)
/* "No deadline". */
#define TIME_NEVER    UINT64_MAX

static inline uint64_t
time_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* now + ms, saturating at TIME_NEVER. */
static inline uint64_t
time_after_ms(uint64_t now, uint64_t ms)
{
	uint64_t ns;

	if (__builtin_mul_overflow(ms, NSEC_PER_MSEC, &ns) ||
	    __builtin_add_overflow(now, ns, &ns))
		return TIME_NEVER;
	return ns;
}

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member)                                        \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define BIT(n) (1u << (n))

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* A source of random bytes, so that the simulator's seed decides them too. */
struct rng {
	void (*fill)(void *user, void *buf, size_t len);
	void *user;
};

static inline uint32_t
rng_u32(const struct rng *r)
{
	uint32_t v;

	r->fill(r->user, &v, sizeof(v));
	return v;
}

static inline uint64_t
rng_u64(const struct rng *r)
{
	uint64_t v;

	r->fill(r->user, &v, sizeof(v));
	return v;
}

/* `cleanup_free char *p = ...;` frees p when the scope ends. */
static inline void
cleanup_free_ptr(void *p)
{
	free(*(void **)p);
}
#define cleanup_free __attribute__((cleanup(cleanup_free_ptr)))

static inline void
cleanup_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define cleanup_close __attribute__((cleanup(cleanup_close_fd)))

#endif
