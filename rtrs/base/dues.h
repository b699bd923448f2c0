/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many times at which something is due, and which of them is first: a binary
 * heap. To find what is due costs O(1), to change a time O(log n), however many
 * there are.
 */
#ifndef RTRS_BASE_DUES_H
#define RTRS_BASE_DUES_H

#include <stdint.h>

/* Part of an object; zeroed means not due at all. */
struct due {
	uint64_t at;  /* while it is in the heap */
	unsigned pos; /* in the heap, from 1; 0: not in it */
};

/* Zeroed means empty. */
struct dues {
	struct due **v;
	unsigned n, cap;
	uint64_t moves; /* so far: the work that was done */
};

/* Room for n objects in all, so that setting cannot fail. -ENOMEM: as it was.
 */
int dues_reserve(struct dues *q, unsigned n);
/* Due at that time from now on; TIME_NEVER: not any more. */
void dues_set(struct dues *q, struct due *d, uint64_t at);
/* The object that is due first, or NULL. */
struct due *dues_first(const struct dues *q);
/* Its time, or TIME_NEVER. */
uint64_t dues_first_at(const struct dues *q);
/* Leaves an empty one. */
void dues_free(struct dues *q);

#endif
