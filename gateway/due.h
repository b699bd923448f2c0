/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Things by the time at which they are due: a binary heap of pointers. Adding
 * and taking cost O(log n) and never allocate; room is reserved before.
 */
#ifndef GATEWAY_DUE_H
#define GATEWAY_DUE_H

#include <stddef.h>
#include <stdint.h>

/* Embedded in what is due. */
struct gw_due {
	uint64_t at;
	unsigned pos; /* in the heap, from 1; 0: not in it */
};

/* All zero is empty. */
struct gw_due_heap {
	struct gw_due **v;
	unsigned n, cap;
};

/* Room for n in all. -ENOMEM: as it was. */
int gw_due_reserve(struct gw_due_heap *h, unsigned n);
void gw_due_deinit(struct gw_due_heap *h);

/* Puts it in, or moves it to another time. */
void gw_due_set(struct gw_due_heap *h, struct gw_due *due, uint64_t at);
/* Takes it out, if it is in. */
void gw_due_clear(struct gw_due_heap *h, struct gw_due *due);

/* What is due first; NULL: nothing. */
static inline struct gw_due *
gw_due_first(const struct gw_due_heap *h)
{
	return h->n ? h->v[0] : NULL;
}

#endif
