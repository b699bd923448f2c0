/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Judges a record of numbered blocks (plan.h): whether each prefix of it, which
 * is a disk after a power cut, holds what its own blocks say was promised.
 */
#ifndef TESTS_POWERCUT_JUDGE_H
#define TESTS_POWERCUT_JUDGE_H

#include "tests/powercut/log.h"
#include "tests/powercut/plan.h"

struct cut_verdict {
	size_t points; /* prefixes judged */
	uint64_t blocks, flushes, forced;
	uint64_t flushed; /* the highest number that was promised */
	char text[256];   /* what is wrong, a line; empty: nothing */
};

/*
 * Entries up to the first mark, of a disk of n_blocks; plan has the block of
 * each of n_writes numbers. 0: judged, see text; -ENOMEM.
 */
int cut_judge(const struct cut_log *l, const uint32_t *plan, size_t n_writes,
	      uint64_t n_blocks, struct cut_verdict *ret);

#endif
