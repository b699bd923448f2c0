/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A write takes effect between its begin and its end: once, or more often when
 * it was sent again. A read that began after the end shows that the block had
 * the value all the time from that end on: that is the zone of the version. A
 * read that began before shows only that it had the value at some moment of
 * both. There is an order that explains all reads if and only if zones do not
 * overlap, and no write and no such moment of another version lies within one.
 *
 * When nothing is under way on a block, only versions that the next read could
 * see are kept: those whose zone could reach until now.
 */
#include "tests/load/history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEVER UINT64_MAX

struct zone {
	uint64_t version;
	uint64_t begin, end; /* of the write; end NEVER: under way, or failed */
	uint64_t until;      /* begin of the last read after the end; 0: none */
	/* The read that began last before the end, as far as it overlaps the
	 * write; 0: none. */
	uint64_t seen_from, seen_to;
};

struct block {
	struct zone *z; /* NULL: version 0 only, never looked at */
	unsigned n, cap;
	unsigned n_writes, n_ops; /* under way */
	uint64_t last_write;      /* when the last one ended, in whatever way */
	uint64_t newest;          /* the version that was acknowledged last */
};

struct history {
	uint64_t n_blocks, clock, remembered;
	bool once;
	struct block *blocks;
	char why[256];
};

/* --- contents */

#define MAGIC      UINT64_C(0x54534948444e4252)
#define WORDS_HEAD 4 /* magic, version, block, sum */

static uint64_t
word(uint64_t version, uint64_t block, size_t i)
{
	uint64_t x = version * UINT64_C(0x9e3779b97f4a7c15) ^
		     (block + 1) * UINT64_C(0xc2b2ae3d27d4eb4f);

	return (x + i) * UINT64_C(0xd6e8feb86659fd93);
}

static uint64_t
sum(uint64_t version, uint64_t block)
{
	return word(version ^ MAGIC, block, WORDS_HEAD - 1);
}

void
block_fill(void *buf, size_t size, uint64_t version, uint64_t block)
{
	uint64_t *w = buf;

	w[0] = MAGIC;
	w[1] = version;
	w[2] = block;
	w[3] = sum(version, block);
	for (size_t i = WORDS_HEAD; i < size / 8; i++)
		w[i] = word(version, block, i);
}

static bool
is_zero(const uint64_t *w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (w[i])
			return false;
	return true;
}

enum block_is
block_check(const void *buf, size_t size, uint64_t block, uint64_t *ret_version)
{
	const uint64_t *w = buf;
	size_t n = size / 8;

	if (!w[0] && is_zero(w, n)) {
		*ret_version = 0;
		return BLOCK_WHOLE;
	}
	if (w[0] == MAGIC && w[2] != block && w[3] == sum(w[1], w[2]))
		return BLOCK_ALIEN;
	if (w[0] && (w[0] != MAGIC || w[2] != block))
		return BLOCK_ALIEN;
	if (!w[0] || w[3] != sum(w[1], block))
		return BLOCK_TORN;
	for (size_t i = WORDS_HEAD; i < n; i++)
		if (w[i] != word(w[1], block, i))
			return BLOCK_TORN;
	*ret_version = w[1];
	return BLOCK_WHOLE;
}

/* --- zones */

/* Does the value of z have to be there while that of other was? */
static bool
covers(const struct zone *z, const struct zone *other)
{
	/* All of the other write. */
	if (z->end < other->begin && other->end < z->until)
		return true;
	/* A moment at which the other value was seen. */
	return other->seen_from && z->end < other->seen_from &&
	       other->seen_to < z->until;
}

/* Two versions for which there is no order. */
static bool
clash(const struct zone *a, const struct zone *b)
{
	if (a->until && b->until && a->end < b->until && b->end < a->until)
		return true;
	return covers(a, b) || covers(b, a);
}

static void
add(struct history *h, struct block *b, const struct zone *z)
{
	if (b->n == b->cap) {
		b->cap = b->cap ? 2 * b->cap : 4;
		b->z = realloc(b->z, b->cap * sizeof(*b->z));
		if (!b->z)
			abort();
	}
	b->z[b->n++] = *z;
	h->remembered++;
}

static struct block *
get(struct history *h, uint64_t i)
{
	static const struct zone zero;
	struct block *b = &h->blocks[i];

	if (!b->z)
		add(h, b, &zero);
	return b;
}

static struct zone *
find(struct block *b, uint64_t version)
{
	for (unsigned i = b->n; i--;)
		if (b->z[i].version == version)
			return &b->z[i];
	return NULL;
}

/* Could a read that begins and ends now see it? */
static bool
is_visible(const struct block *b, const struct zone *z, uint64_t now)
{
	struct zone longer = *z;

	if (z->end == NEVER)
		return true;
	longer.until = now;
	for (unsigned i = 0; i < b->n; i++)
		if (&b->z[i] != z && clash(&longer, &b->z[i]))
			return false;
	return true;
}

static void
forget(struct history *h, struct block *b)
{
	bool keep[64];
	unsigned n = 0, n_old = b->n;

	if (b->n_ops || b->n < 2)
		return;
	if (b->n > sizeof(keep))
		return; /* another time: failed writes only, or a violation */
	for (unsigned i = 0; i < b->n; i++)
		keep[i] = is_visible(b, &b->z[i], h->clock);
	for (unsigned i = 0; i < n_old; i++)
		if (keep[i])
			b->z[n++] = b->z[i];
	/* None: there was a violation, which has been told. */
	if (!n)
		b->z[n++] = b->z[n_old - 1];
	b->n = n;
	h->remembered -= n_old - n;
}

struct history *
history_new(uint64_t n_blocks, bool once)
{
	struct history *h = calloc(1, sizeof(*h));

	if (!h)
		abort();
	h->blocks = calloc(n_blocks, sizeof(*h->blocks));
	if (!h->blocks)
		abort();
	h->n_blocks = n_blocks;
	h->once = once;
	return h;
}

void
history_free(struct history *h)
{
	if (!h)
		return;
	for (uint64_t i = 0; i < h->n_blocks; i++)
		free(h->blocks[i].z);
	free(h->blocks);
	free(h);
}

uint64_t
history_remembered(const struct history *h)
{
	return h->remembered;
}

void
history_write_begin(struct history *h, uint64_t version, uint64_t first,
		    uint64_t n)
{
	struct zone z = {
		.version = version,
		.begin = ++h->clock,
		.end = NEVER,
	};

	for (uint64_t i = first; i < first + n; i++) {
		struct block *b = get(h, i);

		add(h, b, &z);
		b->n_writes++;
		b->n_ops++;
	}
}

void
history_write_end(struct history *h, uint64_t version, uint64_t first,
		  uint64_t n, bool ok)
{
	uint64_t now = ++h->clock;

	for (uint64_t i = first; i < first + n; i++) {
		struct block *b = get(h, i);
		struct zone *z = find(b, version);

		if (ok && z->end > now)
			z->end = now;
		if (ok)
			b->newest = version;
		b->n_writes--;
		b->n_ops--;
		b->last_write = ok ? now : NEVER;
		forget(h, b);
	}
}

uint64_t
history_read_begin(struct history *h, uint64_t first, uint64_t n)
{
	uint64_t now = ++h->clock;

	for (uint64_t i = first; i < first + n; i++)
		get(h, i)->n_ops++;
	return now;
}

static const char *
violation(struct history *h, uint64_t block, uint64_t saw, const char *what,
	  uint64_t other)
{
	snprintf(h->why, sizeof(h->why),
		 "block %" PRIu64 ": version %u/%" PRIu64
		 " was read, %s %u/%" PRIu64,
		 block, VERSION_WRITER(saw), VERSION_SEQ(saw), what,
		 VERSION_WRITER(other), VERSION_SEQ(other));
	return h->why;
}

static void
note_read(const struct history *h, struct zone *z, uint64_t begin)
{
	uint64_t from = begin > z->begin ? begin : z->begin;

	if (begin > z->end) {
		if (z->until < begin)
			z->until = begin;
		return;
	}
	if (z->seen_from < from) {
		z->seen_from = from;
		z->seen_to = h->clock < z->end ? h->clock : z->end;
	}
	/* It has taken effect, and will not again. */
	if (h->once && z->end > h->clock)
		z->end = h->clock;
}

const char *
history_saw(struct history *h, uint64_t begin, uint64_t block, uint64_t version)
{
	struct block *b = get(h, block);
	struct zone *z = find(b, version);

	++h->clock;
	if (!z)
		return violation(h, block, version,
				 "overwritten long ago, or never written; "
				 "acknowledged last was",
				 b->newest);
	note_read(h, z, begin);
	for (unsigned i = 0; i < b->n; i++)
		if (&b->z[i] != z && clash(z, &b->z[i]))
			return violation(h, block, version,
					 "for which there is no place beside",
					 b->z[i].version);
	return NULL;
}

const char *
history_saw_torn(struct history *h, uint64_t begin, uint64_t block)
{
	const struct block *b = get(h, block);

	if (b->n_writes || b->last_write >= begin)
		return NULL;
	snprintf(h->why, sizeof(h->why),
		 "block %" PRIu64 " is torn, and nobody writes to it", block);
	return h->why;
}

void
history_read_end(struct history *h, uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n; i++) {
		struct block *b = get(h, i);

		b->n_ops--;
		forget(h, b);
	}
}
