/* SPDX-License-Identifier: BSD-3-Clause */
/* The session: open and close, progress, and what the caller sees of it. */
#include "rtrs/clt/clt.h"

#include <errno.h>
#include <string.h>

/* Rounds of one progress(); what is left then waits for the next one. */
#define MAX_ROUNDS 8

void
clt_random_uuid(const struct rng *rng, struct rtrs_uuid *ret)
{
	rng->fill(rng->user, ret->b, sizeof(ret->b));
	ret->b[6] = (ret->b[6] & 0x0f) | 0x40; /* version 4: random */
	ret->b[8] = (ret->b[8] & 0x3f) | 0x80; /* variant of RFC 4122 */
}

static int
params_check(const struct rtrs_clt_params *p)
{
	int r = p->name ? rtrs_sess_name_check(p->name) : -EINVAL;

	if (r)
		return -EINVAL;
	if (!p->paths || !p->n_paths || p->n_paths > RTRS_MAX_PATHS ||
	    p->n_cons < 2 || p->n_cons > RTRS_MAX_CONS || !p->rng.fill)
		return -EINVAL;
	for (unsigned i = 0; i < p->n_paths; i++)
		if (!p->paths[i].fabric || !p->paths[i].dst_len)
			return -EINVAL;
	return 0;
}

int
rtrs_clt_new(const struct rtrs_clt_params *p, struct rtrs_clt **ret)
{
	struct rtrs_clt_path *path;
	struct rtrs_clt *clt;
	int r = params_check(p);

	if (r)
		return r;
	clt = calloc(1, sizeof(*clt));
	if (!clt)
		return -ENOMEM;
	strcpy(clt->name, p->name);
	clt->p = *p;
	clt->p.name = NULL;
	clt->p.paths = NULL;
	if (!clt->p.connect_timeout_ms)
		clt->p.connect_timeout_ms = RTRS_CONNECT_TIMEOUT_MS;
	if (!clt->p.quiesce_ms)
		clt->p.quiesce_ms = RTRS_QUIESCE_MS;
	clt->rng = p->rng;
	clt->log = p->log;
	clt->now = p->now;
	clt->policy = p->policy;
	clt_random_uuid(&clt->rng, &clt->uuid);

	for (unsigned i = 0; i < p->n_paths; i++) {
		r = clt_paths_new(clt, &p->paths[i], &path);
		if (r) {
			rtrs_clt_free(clt);
			return r;
		}
	}
	clt->opened = p->connect == RTRS_CONNECT_LAZY;
	clt->kick = true;
	clt_connect_start(clt->paths[0]);
	if (p->connect != RTRS_CONNECT_ALL)
		for (unsigned i = 1; i < clt->n_paths; i++)
			clt_connect_start(clt->paths[i]);
	*ret = clt;
	return 0;
}

void
rtrs_clt_close(struct rtrs_clt *clt)
{
	clt->closing = true;
	clt->kick = true;
	for (unsigned i = 0; i < clt->n_paths; i++) {
		clt_path_op_end(clt->paths[i], -ECONNABORTED);
		clt_path_close(clt->paths[i]);
		clt_fence_drop(clt->paths[i]);
	}
}

bool
rtrs_clt_closed(const struct rtrs_clt *clt)
{
	if (!clt->closing || clt->permits.admin_waiters ||
	    clt->permits.io_waiters)
		return false;
	for (unsigned i = 0; i < clt->n_paths; i++)
		if (clt->paths[i]->state != RTRS_CLT_CLOSED ||
		    clt->paths[i]->op)
			return false;
	return true;
}

void
rtrs_clt_free(struct rtrs_clt *clt)
{
	if (!clt)
		return;
	rtrs_clt_close(clt);
	for (unsigned i = 0; i < clt->n_paths; i++)
		clt_path_drop(clt->paths[i]);
	clt_paths_settle(clt);
	clt_permits_serve(clt);
	clt_paths_free(clt);
	clt_permits_free(&clt->permits);
	free(clt);
}

/* True when there may be more at once. */
static bool
drain(struct rtrs_clt *clt, struct clt_fab *fab)
{
	struct fabric_wc wc[CLT_WC_BATCH];
	struct fabric_event ev;
	bool more = false;
	int n;

	fab->ops->ctx_poll(fab->ctx, clt->now);
	/* Completions first: a reply counts even if the peer left after it. */
	do {
		n = fab->ops->poll_cq(fab->ctx, wc, CLT_WC_BATCH);
		for (int i = 0; i < n; i++)
			clt_con_wc(&wc[i]);
		clt_con_post_owed(clt);
		more |= n == CLT_WC_BATCH;
	} while (n == CLT_WC_BATCH);
	while (fab->ops->next_event(fab->ctx, &ev)) {
		clt_con_event(clt, &ev);
		more = true;
	}
	return more;
}

/* No path comes back by itself, and that is nobody's will. */
static bool
is_hopeless(const struct rtrs_clt *clt)
{
	for (unsigned i = 0; i < clt->n_paths; i++)
		if (clt->paths[i]->state != RTRS_CLT_CLOSED ||
		    clt->paths[i]->held_down || clt->paths[i]->removing)
			return false;
	return clt->n_paths != 0;
}

static bool
has_inflight(const struct rtrs_clt *clt)
{
	for (unsigned i = 0; i < clt->n_paths; i++)
		if (clt->paths[i]->inflight)
			return true;
	return false;
}

/* What was lost must not be sent again yet. */
static bool
is_unfenced(const struct rtrs_clt *clt)
{
	for (unsigned i = 0; i < clt->n_paths; i++)
		if (clt->paths[i]->unfenced)
			return true;
	return false;
}

static void
tell_failed(struct rtrs_clt *clt)
{
	int err = clt->open_err;

	if (clt->opened && !clt->failed && !clt->closing && is_hopeless(clt)) {
		clt->failed = true;
		clt->failed_due = true;
		for (unsigned i = 0; i < clt->n_paths; i++)
			err = clt->paths[i]->err;
	}
	if (!clt->failed_due)
		return;
	clt->failed_due = false;
	if (clt->p.failed && !clt->closing)
		clt->p.failed(clt->p.user, err);
}

/*
 * Draws the conclusions of what happened, and tells the caller. Order: the
 * requests of lost paths, link_down, failed, link_up, ends of commands, waiters
 * for permits.
 */
static void
sess_settle(struct rtrs_clt *clt)
{
	clt->kick = false;
	for (unsigned i = 0; i < clt->n_paths; i++)
		clt_path_reap(clt->paths[i]);
	if (clt->lost && !has_inflight(clt)) {
		clt->lost = false;
		clt->link = false;
		if (clt->p.link_down && !clt->closing)
			clt->p.link_down(clt->p.user);
	}
	tell_failed(clt);
	if (!clt->link && clt->opened && clt->n_up && !is_unfenced(clt)) {
		clt->link = true;
		clt->why[0] = '\0';
		if (clt->p.link_up)
			clt->p.link_up(clt->p.user);
	}
	clt_paths_settle(clt);
	clt_permits_serve(clt);
}

void
rtrs_clt_progress(struct rtrs_clt *clt, uint64_t now)
{
	bool more = true;

	if (now > clt->now)
		clt->now = now;
	for (int round = 0; more && round < MAX_ROUNDS; round++) {
		more = false;
		for (unsigned i = 0; i < clt->n_fabs; i++)
			more |= drain(clt, &clt->fabs[i]);
		for (unsigned i = 0; i < clt->n_paths; i++)
			clt_path_timers(clt->paths[i]);
		sess_settle(clt);
		more |= clt->kick;
	}
	clt->kick |= more;
	rtrs_clt_flush(clt);
}

void
rtrs_clt_flush(struct rtrs_clt *clt)
{
	for (unsigned i = 0; i < clt->n_fabs; i++)
		clt->fabs[i].ops->ctx_flush(clt->fabs[i].ctx);
}

int
rtrs_clt_fds(const struct rtrs_clt *clt, int *fds, int n)
{
	int used = 0;

	for (unsigned i = 0; i < clt->n_fabs && used < n; i++) {
		int fd = clt->fabs[i].ops->ctx_fd(clt->fabs[i].ctx);

		if (fd >= 0)
			fds[used++] = fd;
	}
	return used;
}

bool
rtrs_clt_arm(struct rtrs_clt *clt)
{
	bool ready = clt->kick;

	for (unsigned i = 0; i < clt->n_fabs; i++)
		ready |= clt->fabs[i].ops->ctx_arm(clt->fabs[i].ctx);
	return ready;
}

uint64_t
rtrs_clt_deadline(const struct rtrs_clt *clt)
{
	uint64_t t = clt->kick ? clt->now : TIME_NEVER;

	for (unsigned i = 0; i < clt->n_fabs; i++)
		t = time_min(t,
			     clt->fabs[i].ops->ctx_deadline(clt->fabs[i].ctx));
	for (unsigned i = 0; i < clt->n_paths; i++)
		t = time_min(t, clt_path_deadline(clt->paths[i]));
	return t;
}

bool
rtrs_clt_is_up(const struct rtrs_clt *clt)
{
	return clt->link && !clt->lost && clt->n_up && !clt->closing;
}

uint64_t
rtrs_clt_lost_at(const struct rtrs_clt *clt)
{
	return clt->lost_at;
}

unsigned
rtrs_clt_queue_depth(const struct rtrs_clt *clt)
{
	return clt->permits.n;
}

uint32_t
rtrs_clt_max_io_size(const struct rtrs_clt *clt)
{
	return clt->max_io_size;
}

const char *
rtrs_clt_why_down(const struct rtrs_clt *clt)
{
	return clt->why;
}
