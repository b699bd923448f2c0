/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of the codecs share: a seeded generator, memory that ends at
 * a fence, and a main() for one suite.
 */
#ifndef TESTS_UNIT_PROTO_PROTO_TEST_H
#define TESTS_UNIT_PROTO_PROTO_TEST_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* splitmix64: small, and the same numbers on every host. */
struct rng {
	uint64_t state;
};

static inline uint64_t
rng_next(struct rng *g)
{
	uint64_t z = g->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* 0 .. n-1 */
static inline uint64_t
rng_below(struct rng *g, uint64_t n)
{
	return rng_next(g) % n;
}

static inline void
rng_fill(struct rng *g, void *dst, size_t len)
{
	uint8_t *p = dst;

	while (len--)
		*p++ = (uint8_t)rng_next(g);
}

/*
 * Bytes whose end is the end of accessible memory, so that a read or write
 * behind them is a fault in every build, not only under a sanitizer.
 */
struct fence {
	uint8_t *map;
	size_t size; /* accessible bytes */
	size_t page;
};

static inline struct fence
fence_new(size_t cap)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct fence f = {.page = page};

	f.size = (cap + page - 1) / page * page;
	f.map = mmap(NULL, f.size + page, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (f.map == MAP_FAILED || mprotect(f.map + f.size, page, PROT_NONE)) {
		perror("fence_new");
		abort();
	}
	return f;
}

/* The last len bytes before the fence. */
static inline uint8_t *
fence_at(const struct fence *f, size_t len)
{
	if (len > f->size)
		abort();
	return f->map + f->size - len;
}

static inline uint8_t *
fence_copy(const struct fence *f, const void *src, size_t len)
{
	uint8_t *p = fence_at(f, len);

	if (len)
		memcpy(p, src, len);
	return p;
}

static inline void
fence_free(struct fence *f)
{
	munmap(f->map, f->size + f->page);
}

#ifdef CHECK_H
static inline int
suite_main(Suite *s)
{
	SRunner *sr = srunner_create(s);
	int failed;

	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
#endif

#endif
