/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The pool of permits: one bit each, lowest free first, so that a lightly
 * loaded session keeps to few chunks of the server.
 */
#include "rtrs/clt/clt.h"

#include <assert.h>
#include <errno.h>
#include <utlist.h>

#define WORD_BITS 64

int
clt_permits_resize(struct clt_permits *pool, unsigned n)
{
	unsigned words = (n + WORD_BITS - 1) / WORD_BITS;
	cleanup_free struct rtrs_permit *all = NULL;
	cleanup_free struct clt_slot *slots = NULL;
	cleanup_free uint64_t *map = NULL;

	if (pool->n_free != pool->n)
		return -EBUSY;
	all = calloc(n, sizeof(*all));
	slots = calloc(n, sizeof(*slots));
	map = calloc(words, sizeof(*map));
	if (!all || !slots || !map)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		all[i].id = (uint16_t)i;
		map[i / WORD_BITS] |= UINT64_C(1) << (i % WORD_BITS);
	}
	clt_permits_free(pool);
	pool->all = all;
	pool->slots = slots;
	pool->free_map = map;
	pool->n = pool->n_free = n;
	pool->first_word = 0;
	all = NULL;
	slots = NULL;
	map = NULL;
	return 0;
}

void
clt_permits_free(struct clt_permits *pool)
{
	free(pool->all);
	free(pool->slots);
	free(pool->free_map);
	pool->all = NULL;
	pool->slots = NULL;
	pool->free_map = NULL;
	pool->n = pool->n_free = 0;
}

/* Permits that must stay for admin requests when one of type is taken. */
static unsigned
reserve(const struct clt_permits *pool, enum rtrs_permit_type type)
{
	unsigned half = pool->n / 2;

	if (type == RTRS_PERMIT_ADMIN)
		return 0;
	return half < RTRS_ADMIN_RESERVE ? half : RTRS_ADMIN_RESERVE;
}

static bool
can_get(const struct rtrs_clt *clt, enum rtrs_permit_type type)
{
	return clt->opened && !clt->closing &&
	       clt->permits.n_free > reserve(&clt->permits, type);
}

struct rtrs_permit *
rtrs_clt_permit_get(struct rtrs_clt *clt, enum rtrs_permit_type type,
		    unsigned con_hint)
{
	struct clt_permits *pool = &clt->permits;
	struct rtrs_permit *permit;
	unsigned w = pool->first_word, bit;

	if (!can_get(clt, type))
		return NULL;
	while (!pool->free_map[w])
		w++;
	bit = (unsigned)__builtin_ctzll(pool->free_map[w]);
	pool->free_map[w] &= ~(UINT64_C(1) << bit);
	pool->first_word = w;
	pool->n_free--;
	permit = &pool->all[w * WORD_BITS + bit];
	permit->type = (uint8_t)type;
	permit->con_hint = (uint16_t)con_hint;
	return permit;
}

void
rtrs_clt_permit_put(struct rtrs_clt *clt, struct rtrs_permit *permit)
{
	struct clt_permits *pool = &clt->permits;
	unsigned w;

	if (!permit)
		return;
	w = permit->id / WORD_BITS;
	assert(permit == &pool->all[permit->id]);
	assert(!pool->slots[permit->id].req);
	assert(!(pool->free_map[w] >> (permit->id % WORD_BITS) & 1));
	pool->free_map[w] |= UINT64_C(1) << (permit->id % WORD_BITS);
	if (w < pool->first_word)
		pool->first_word = w;
	pool->n_free++;
	clt_permits_serve(clt);
}

void
rtrs_clt_permit_wait(struct rtrs_clt *clt, struct rtrs_permit_waiter *w)
{
	struct clt_permits *pool = &clt->permits;

	if (w->type == RTRS_PERMIT_ADMIN)
		DL_APPEND(pool->admin_waiters, w);
	else
		DL_APPEND(pool->io_waiters, w);
	/* It is not served from within this call. */
	if (clt->closing || can_get(clt, w->type))
		clt->kick = true;
}

void
rtrs_clt_permit_cancel(struct rtrs_clt *clt, struct rtrs_permit_waiter *w)
{
	struct clt_permits *pool = &clt->permits;

	if (w->type == RTRS_PERMIT_ADMIN)
		DL_DELETE(pool->admin_waiters, w);
	else
		DL_DELETE(pool->io_waiters, w);
}

/* Takes the waiter off that is next and can be served; NULL if there is none.
 */
static struct rtrs_permit_waiter *
next_waiter(struct rtrs_clt *clt, struct rtrs_permit **ret)
{
	struct clt_permits *pool = &clt->permits;
	struct rtrs_permit_waiter *w = pool->admin_waiters;

	if (!w)
		w = pool->io_waiters;
	if (!w)
		return NULL;
	*ret = rtrs_clt_permit_get(clt, w->type, w->con_hint);
	if (!*ret && !clt->closing)
		return NULL;
	rtrs_clt_permit_cancel(clt, w);
	return w;
}

bool
clt_permits_serve(struct rtrs_clt *clt)
{
	struct rtrs_permit_waiter *w;
	struct rtrs_permit *permit = NULL;
	bool served = false;

	/* got() may put a permit at once: the loop that runs takes it up. */
	if (clt->permits.serving)
		return false;
	clt->permits.serving = true;
	while ((w = next_waiter(clt, &permit))) {
		served = true;
		w->got(w, permit);
	}
	clt->permits.serving = false;
	return served;
}
