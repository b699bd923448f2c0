/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/durable.h"

#include <errno.h>
#include <stdlib.h>

#include "gateway/hash.h"

/* The state: the number of the last failure above, its errno below. */
#define ERRNO_MASK UINT64_C(0xffff)
#define OWED       (UINT64_C(1) << 16) /* no answer is known to have told it */
#define FAILED     (UINT64_C(1) << 17) /* until it is closed */
#define FLUSH_TOLD (UINT64_C(1) << 18) /* that it has, by a FLUSH */
#define NR_SHIFT   32

static gw_failure
nr_of(uint64_t state)
{
	return (gw_failure)(state >> NR_SHIFT);
}

/* The state after one more failure. */
static uint64_t
one_more(uint64_t state, int err, bool cached)
{
	gw_failure nr = (nr_of(state) + 1) & GW_FAILURE_MAX;

	state &= FAILED | FLUSH_TOLD;
	if (cached && !(state & FAILED))
		state = FAILED;
	/* 0 is "none", when the numbers come round. */
	return state | (uint64_t)(nr ? nr : 1) << NR_SHIFT | OWED |
	       ((uint64_t)-err & ERRNO_MASK);
}

int
gw_durable_result(struct gw_durable *d, int err, bool cached,
		  gw_failure *ret_failure, bool *ret_new)
{
	uint64_t state = atomic_load(&d->state), now = state;

	*ret_new = false;
	*ret_failure = 0;
	if (err < 0) {
		do
			now = one_more(state, err, cached);
		while (!atomic_compare_exchange_weak(&d->state, &state, now));
		*ret_new = now & FAILED && !(state & FAILED);
	} else if (state & FAILED) {
		err = -EIO;
	} else if (state & OWED) {
		err = -(int)(state & ERRNO_MASK);
	}
	if (err < 0)
		*ret_failure = nr_of(now);
	return err;
}

void
gw_durable_told(struct gw_durable *d, gw_failure failure, bool flush)
{
	uint64_t state = atomic_load(&d->state), now;

	do {
		/* There is a newer one, whose answer is still to come. */
		if (nr_of(state) != failure)
			return;
		now = state & ~OWED;
		if (flush && state & FAILED)
			now |= FLUSH_TOLD;
	} while (!atomic_compare_exchange_weak(&d->state, &state, now));
}

void
gw_durable_untold(struct gw_durable *d)
{
	atomic_fetch_or(&d->state, OWED);
}

bool
gw_durable_has_failed(const struct gw_durable *d)
{
	return atomic_load(&d->state) & FAILED;
}

/* ------------------------------------------------------------- identities */

struct gw_durable_entry {
	struct gw_durable durable;
	struct backend_identity id;
	unsigned mappings;
	UT_hash_handle hh;
};

static struct gw_durable_entry *
find(const struct gw_durables *s, const struct backend_identity *id)
{
	struct gw_durable_entry *e;

	HASH_FIND(hh, s->by_id, id, sizeof(*id), e);
	return e;
}

int
gw_durables_open(struct gw_durables *s, const struct backend_identity *id,
		 struct gw_durable **ret)
{
	struct gw_durable_entry *e = find(s, id);

	if (!e) {
		e = calloc(1, sizeof(*e));
		if (!e)
			return -ENOMEM;
		e->id = *id;
		HASH_ADD(hh, s->by_id, id, sizeof(e->id), e);
		if (!e->hh.tbl) {
			free(e);
			return -ENOMEM;
		}
	}
	e->mappings++;
	*ret = &e->durable;
	return 0;
}

static void
entry_free(struct gw_durables *s, struct gw_durable_entry *e)
{
	HASH_DEL(s->by_id, e);
	free(e);
}

void
gw_durables_close(struct gw_durables *s, struct gw_durable *d)
{
	struct gw_durable_entry *e;
	uint64_t state;

	if (!d)
		return;
	e = container_of(d, struct gw_durable_entry, durable);
	if (--e->mappings)
		return;
	/*
	 * Nobody answers any more. Whoever comes next begins anew; but a client
	 * that lost all its paths comes back without knowing that its device
	 * was closed meanwhile, so it has to have heard it from a FLUSH.
	 */
	state = atomic_load(&d->state);
	if (state & FAILED && !(state & FLUSH_TOLD))
		state |= OWED;
	state &= ~(FAILED | FLUSH_TOLD);
	atomic_store(&d->state, state);
	if (!(state & OWED))
		entry_free(s, e);
}

const struct gw_durable *
gw_durables_find(const struct gw_durables *s, const struct backend_identity *id)
{
	const struct gw_durable_entry *e = find(s, id);

	return e ? &e->durable : NULL;
}

void
gw_durables_free(struct gw_durables *s)
{
	struct gw_durable_entry *e, *next;

	HASH_ITER(hh, s->by_id, e, next)
		entry_free(s, e);
}
