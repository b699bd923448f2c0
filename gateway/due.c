/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/due.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int
gw_due_reserve(struct gw_due_heap *h, unsigned n)
{
	unsigned cap = h->cap ? h->cap : 16;
	struct gw_due **v;

	if (n <= h->cap)
		return 0;
	while (cap < n)
		cap *= 2;
	v = reallocarray(h->v, cap, sizeof(*v));
	if (!v)
		return -ENOMEM;
	h->v = v;
	h->cap = cap;
	return 0;
}

void
gw_due_deinit(struct gw_due_heap *h)
{
	free(h->v);
	*h = (struct gw_due_heap){0};
}

static void
place(struct gw_due_heap *h, unsigned i, struct gw_due *due)
{
	h->v[i] = due;
	due->pos = i + 1;
}

static void
sift_up(struct gw_due_heap *h, unsigned i, struct gw_due *due)
{
	while (i) {
		unsigned parent = (i - 1) / 2;

		if (h->v[parent]->at <= due->at)
			break;
		place(h, i, h->v[parent]);
		i = parent;
	}
	place(h, i, due);
}

static void
sift_down(struct gw_due_heap *h, unsigned i, struct gw_due *due)
{
	for (;;) {
		unsigned child = 2 * i + 1;

		if (child >= h->n)
			break;
		if (child + 1 < h->n && h->v[child + 1]->at < h->v[child]->at)
			child++;
		if (due->at <= h->v[child]->at)
			break;
		place(h, i, h->v[child]);
		i = child;
	}
	place(h, i, due);
}

void
gw_due_set(struct gw_due_heap *h, struct gw_due *due, uint64_t at)
{
	uint64_t old = due->at;

	due->at = at;
	if (!due->pos) {
		assert(h->n < h->cap);
		sift_up(h, h->n++, due);
	} else if (at < old) {
		sift_up(h, due->pos - 1, due);
	} else {
		sift_down(h, due->pos - 1, due);
	}
}

void
gw_due_clear(struct gw_due_heap *h, struct gw_due *due)
{
	unsigned i = due->pos - 1;
	struct gw_due *last;

	if (!due->pos)
		return;
	due->pos = 0;
	last = h->v[--h->n];
	if (last == due)
		return;
	if (i && last->at < h->v[(i - 1) / 2]->at)
		sift_up(h, i, last);
	else
		sift_down(h, i, last);
}
