/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What cut-write leaves in each block, and beside the device, so that
 * cut-replay can tell from any prefix of what reached the disk whether a
 * promise was broken.
 *
 * Writes are numbered from 1 on, one number for each block that they cover. A
 * block says which it is, its number, and what its writer had been promised
 * when it sent it: that every write up to "flushed", and the one "forced"
 * (FUA), would survive. So whoever finds the block must find those too.
 */
#ifndef TESTS_POWERCUT_PLAN_H
#define TESTS_POWERCUT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#define CUT_BLOCK 4096u
#define CUT_MAGIC UINT64_C(0x63757420706f7765)

/* In the byte order of the machine: written and judged on the same. */
struct cut_head {
	uint64_t magic;
	uint64_t block; /* in CUT_BLOCK */
	uint64_t seq;
	uint64_t flushed;
	uint64_t forced; /* 0: none */
};

struct cut_block {
	struct cut_head head;
	uint64_t fill[(CUT_BLOCK - sizeof(struct cut_head)) / 8];
};

/* One word of the rest of a block: of its own for each write and place. */
static inline uint64_t
cut_fill(const struct cut_head *h, unsigned i)
{
	uint64_t x =
		(h->seq << 20 | h->block) + i * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static inline void
cut_block_make(struct cut_block *b, const struct cut_head *h)
{
	b->head = *h;
	for (unsigned i = 0; i < sizeof(b->fill) / 8; i++)
		b->fill[i] = cut_fill(h, i);
}

/* Whether all of it was written by one write, to this block. */
static inline bool
cut_block_whole(const struct cut_block *b, uint64_t block)
{
	if (b->head.magic != CUT_MAGIC || b->head.block != block)
		return false;
	for (unsigned i = 0; i < sizeof(b->fill) / 8; i++)
		if (b->fill[i] != cut_fill(&b->head, i))
			return false;
	return true;
}

/* The plan: for each number, from 1 on, its block (uint32_t each). */

#endif
