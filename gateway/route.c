/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/route.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "gateway/hash.h"

struct entry {
	UT_hash_handle hh;
	struct rtrs_uuid uuid;
	unsigned worker;
	unsigned requests; /* on their way */
	bool session;
};

struct route {
	pthread_mutex_t lock; /* all below */
	struct entry *entries;
	unsigned n_workers;
	unsigned *load; /* entries of each worker */
};

int
route_new(unsigned n_workers, struct route **ret)
{
	struct route *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->load = calloc(n_workers, sizeof(*r->load));
	if (!r->load) {
		free(r);
		return -ENOMEM;
	}
	r->n_workers = n_workers;
	pthread_mutex_init(&r->lock, NULL);
	*ret = r;
	return 0;
}

void
route_free(struct route *r)
{
	struct entry *e, *tmp;

	if (!r)
		return;
	HASH_ITER(hh, r->entries, e, tmp) {
		HASH_DEL(r->entries, e);
		free(e);
	}
	pthread_mutex_destroy(&r->lock);
	free(r->load);
	free(r);
}

static struct entry *
find(struct route *r, const struct rtrs_uuid *uuid)
{
	struct entry *e;

	HASH_FIND(hh, r->entries, uuid, sizeof(*uuid), e);
	return e;
}

static unsigned
least_loaded(const struct route *r)
{
	unsigned best = 0;

	for (unsigned i = 1; i < r->n_workers; i++)
		if (r->load[i] < r->load[best])
			best = i;
	return best;
}

static struct entry *
add(struct route *r, const struct rtrs_uuid *uuid)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->uuid = *uuid;
	e->worker = least_loaded(r);
	HASH_ADD(hh, r->entries, uuid, sizeof(e->uuid), e);
	if (!e->hh.tbl) {
		free(e);
		return NULL;
	}
	r->load[e->worker]++;
	return e;
}

static void
drop_if_unused(struct route *r, struct entry *e)
{
	if (e->requests || e->session)
		return;
	r->load[e->worker]--;
	HASH_DEL(r->entries, e);
	free(e);
}

int
route_get(struct route *r, const struct rtrs_uuid *sess_uuid)
{
	struct entry *e;
	int ret = -ENOMEM;

	pthread_mutex_lock(&r->lock);
	e = find(r, sess_uuid);
	if (!e)
		e = add(r, sess_uuid);
	if (e) {
		e->requests++;
		ret = (int)e->worker;
	}
	pthread_mutex_unlock(&r->lock);
	return ret;
}

void
route_settled(struct route *r, const struct rtrs_uuid *sess_uuid,
	      bool has_session)
{
	struct entry *e;

	pthread_mutex_lock(&r->lock);
	e = find(r, sess_uuid);
	if (e) {
		e->requests--;
		e->session = has_session;
		drop_if_unused(r, e);
	}
	pthread_mutex_unlock(&r->lock);
}

void
route_cancel(struct route *r, const struct rtrs_uuid *sess_uuid)
{
	struct entry *e;

	pthread_mutex_lock(&r->lock);
	e = find(r, sess_uuid);
	if (e) {
		e->requests--;
		drop_if_unused(r, e);
	}
	pthread_mutex_unlock(&r->lock);
}

void
route_session_gone(struct route *r, const struct rtrs_uuid *sess_uuid)
{
	struct entry *e;

	pthread_mutex_lock(&r->lock);
	e = find(r, sess_uuid);
	if (e) {
		e->session = false;
		drop_if_unused(r, e);
	}
	pthread_mutex_unlock(&r->lock);
}

unsigned
route_load(struct route *r, unsigned worker)
{
	unsigned ret;

	pthread_mutex_lock(&r->lock);
	ret = r->load[worker];
	pthread_mutex_unlock(&r->lock);
	return ret;
}
