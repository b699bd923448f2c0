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
	unsigned n_objs; /* that have room */
	uint64_t moves;  /* so far: the work that was done */
};

/* Room for one more object, so that it can be set without fail. -ENOMEM. */
int dues_add(struct dues *q);
/* Gives the room back; d is not due any more. */
void dues_del(struct dues *q, struct due *d);
/* Due at that time from now on; TIME_NEVER: not any more. */
void dues_set(struct dues *q, struct due *d, uint64_t at);
/* The object that is due first, or NULL. */
struct due *dues_first(const struct dues *q);
/* Its time, or TIME_NEVER. */
uint64_t dues_first_at(const struct dues *q);
/* When the last object was deleted. */
void dues_free(struct dues *q);

#endif
