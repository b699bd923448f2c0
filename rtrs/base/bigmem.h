/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Large blocks of memory for a peer's data, kept out of core dumps: those that
 * a device will be given are on huge pages and near it where that can be had,
 * others cost nothing until they are used. They are zeroed, but nobody may
 * count on that: the simulator hands out used ones.
 *
 * Huge pages from the pool (vm.nr_hugepages) are taken for blocks that are
 * whole ones, so that none is wasted, and what libibverbs does to the pages of
 * a block for the sake of fork() hits whole ones too (RDMAV_HUGEPAGES_SAFE is
 * not needed). Else the kernel is advised to use transparent ones.
 */
#ifndef RTRS_BASE_BIGMEM_H
#define RTRS_BASE_BIGMEM_H

#include <stddef.h>

enum bigmem_kind {
	BIGMEM_PLAIN,
	BIGMEM_TRANSPARENT, /* advised; the kernel does what it can */
	BIGMEM_HUGETLB,     /* the pool's; in place */
	BIGMEM_LAZY,        /* no page until it is touched */
};

struct bigmem {
	void *addr; /* NULL: none */
	size_t len;
	enum bigmem_kind kind;
	int node; /* preferred; -1: none */
};

/*
 * node: NUMA node, -1: any. A wish, like huge pages: if it cannot be had the
 * memory is elsewhere. -ENOMEM.
 */
int bigmem_new(size_t len, int node, struct bigmem *ret);
/* For what no device will touch. -ENOMEM. */
int bigmem_new_lazy(size_t len, struct bigmem *ret);
/* A bigmem of zeroes is fine; leaves one. */
void bigmem_free(struct bigmem *m);
/* "plain", "transparent", "hugetlb", "lazy"; total. */
const char *bigmem_kind_name(unsigned kind);

#endif
