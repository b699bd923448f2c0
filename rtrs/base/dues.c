/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/base/dues.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "rtrs/base/util.h"

#define CAP_FIRST 16

int
dues_reserve(struct dues *q, unsigned n)
{
	unsigned cap = q->cap ? q->cap : CAP_FIRST;
	struct due **v;

	if (n <= q->cap)
		return 0;
	while (cap < n)
		cap *= 2;
	v = reallocarray(q->v, cap, sizeof(struct due *));
	if (!v)
		return -ENOMEM;
	q->v = v;
	q->cap = cap;
	return 0;
}

static void
put(struct dues *q, unsigned pos, struct due *d)
{
	q->v[pos - 1] = d;
	d->pos = pos;
	q->moves++;
}

/* d, which stands nowhere, goes to pos or to where it belongs above. */
static void
sift_up(struct dues *q, unsigned pos, struct due *d)
{
	while (pos > 1 && q->v[pos / 2 - 1]->at > d->at) {
		put(q, pos, q->v[pos / 2 - 1]);
		pos /= 2;
	}
	put(q, pos, d);
}

/* The same, below. */
static void
sift_down(struct dues *q, unsigned pos, struct due *d)
{
	unsigned child;

	while ((child = 2 * pos) <= q->n) {
		if (child < q->n && q->v[child]->at < q->v[child - 1]->at)
			child++;
		if (q->v[child - 1]->at >= d->at)
			break;
		put(q, pos, q->v[child - 1]);
		pos = child;
	}
	put(q, pos, d);
}

/* d, which stands nowhere, fills the hole at pos. */
static void
settle(struct dues *q, unsigned pos, struct due *d)
{
	if (pos > 1 && q->v[pos / 2 - 1]->at > d->at)
		sift_up(q, pos, d);
	else
		sift_down(q, pos, d);
}

static void
leave(struct dues *q, struct due *d)
{
	unsigned pos = d->pos;
	struct due *last = q->v[--q->n];

	d->pos = 0;
	if (last != d)
		settle(q, pos, last);
}

void
dues_set(struct dues *q, struct due *d, uint64_t at)
{
	if (d->pos && at == TIME_NEVER) {
		leave(q, d);
	} else if (d->pos) {
		d->at = at;
		settle(q, d->pos, d);
	} else if (at != TIME_NEVER) {
		assert(q->n < q->cap);
		d->at = at;
		sift_up(q, ++q->n, d);
	}
}

struct due *
dues_first(const struct dues *q)
{
	return q->n ? q->v[0] : NULL;
}

uint64_t
dues_first_at(const struct dues *q)
{
	return q->n ? q->v[0]->at : TIME_NEVER;
}

void
dues_free(struct dues *q)
{
	free(q->v);
	*q = (struct dues){0};
}
