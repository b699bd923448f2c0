/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/stats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "gateway/session.h"

struct gw_export_stats {
	char name[RNBD_NAME_LEN];
	struct gw_device
		*devs; /* open or draining; by stats_prev, stats_next */
	/* Of closed devices, and of open ones that have no latency. */
	struct gw_op_stats op[BACKEND_N_OPS];
	struct gw_latency latency;
	UT_hash_handle hh;
};

int
gw_stats_init(struct gw_stats *st)
{
	st->other = calloc(1, sizeof(*st->other));
	return st->other ? 0 : -ENOMEM;
}

void
gw_stats_deinit(struct gw_stats *st)
{
	struct gw_export_stats *ex, *next;

	HASH_ITER(hh, st->exports, ex, next) {
		HASH_DEL(st->exports, ex);
		free(ex);
	}
	free(st->other);
}

static void
ops_add(struct gw_op_stats *op, const struct gw_op_stats *more)
{
	for (int i = 0; i < BACKEND_N_OPS; i++) {
		op[i].ops += more[i].ops;
		op[i].bytes += more[i].bytes;
		op[i].errors += more[i].errors;
	}
}

static void
latency_add(struct gw_latency *l, const struct gw_latency *more)
{
	for (int i = 0; i < BACKEND_N_OPS; i++)
		hist_merge(&l->op[i], &more->op[i]);
}

/*
 * Whoever may name files below the search path must not fill the memory. The
 * sum of all keeps what was counted: others have subtracted it before.
 */
static void
forget_one(struct gw_stats *st)
{
	struct gw_export_stats *ex;

	for (ex = st->exports; ex; ex = ex->hh.next) {
		if (ex->devs)
			continue;
		ops_add(st->other->op, ex->op);
		latency_add(&st->other->latency, &ex->latency);
		HASH_DEL(st->exports, ex);
		free(ex);
		return;
	}
}

static struct gw_export_stats *
export_get(struct gw_stats *st, const char *name)
{
	struct gw_export_stats *ex;

	HASH_FIND_STR(st->exports, name, ex);
	if (ex)
		return ex;
	if (HASH_COUNT(st->exports) >= GW_MAX_MEASURED)
		forget_one(st);
	if (HASH_COUNT(st->exports) >= GW_MAX_MEASURED)
		return st->other;
	ex = calloc(1, sizeof(*ex));
	if (!ex)
		return st->other;
	memcpy(ex->name, name, strlen(name) + 1);
	HASH_ADD_STR(st->exports, name, ex);
	if (!ex->hh.tbl) {
		free(ex);
		return st->other;
	}
	return ex;
}

void
gw_stats_device_opened(struct gw_device *dev)
{
	struct gw_stats *st = &dev->sess->srv->measured;
	struct gw_export_stats *ex = export_get(st, dev->name);

	dev->export_stats = ex;
	DL_APPEND2(ex->devs, dev, stats_prev, stats_next);
	if (st->n_measured < GW_MAX_MEASURED)
		dev->latency = calloc(1, sizeof(*dev->latency));
	if (dev->latency)
		st->n_measured++;
	dev->record = dev->latency ? dev->latency : &ex->latency;
}

void
gw_stats_device_gone(struct gw_device *dev)
{
	struct gw_export_stats *ex = dev->export_stats;
	struct gw_server *s = dev->sess->srv;

	if (!ex)
		return;
	gw_stats_stamp(s);
	DL_DELETE2(ex->devs, dev, stats_prev, stats_next);
	ops_add(ex->op, dev->stats);
	if (dev->latency) {
		latency_add(&ex->latency, dev->latency);
		free(dev->latency);
		s->measured.n_measured--;
	}
	dev->latency = dev->record = NULL;
	dev->export_stats = NULL;
}

void
gw_stats_stamp(struct gw_server *s)
{
	struct gw_stats *st = &s->measured;
	uint64_t now;

	if (!st->n_stamps)
		return;
	now = s->p.now(s->p.user);
	for (unsigned i = 0; i < st->n_stamps; i++) {
		const struct gw_stamp *stamp = &st->stamps[i];

		hist_record(stamp->hist,
			    now > stamp->started ? now - stamp->started : 0);
	}
	st->n_stamps = 0;
}

static void
tell(const struct gw_export_stats *ex,
     void (*fn)(void *user, const struct gw_export_info *info), void *user)
{
	struct gw_latency latency = ex->latency;
	struct gw_export_info info = {
		.name = ex->name,
		.latency = &latency,
	};
	const struct gw_device *dev;

	memcpy(info.op, ex->op, sizeof(info.op));
	DL_FOREACH2(ex->devs, dev, stats_next)
	{
		info.devices++;
		info.inflight += dev->inflight;
		ops_add(info.op, dev->stats);
		if (dev->latency)
			latency_add(&latency, dev->latency);
	}
	fn(user, &info);
}

void
gw_server_for_each_export(struct gw_server *s,
			  void (*fn)(void *user,
				     const struct gw_export_info *info),
			  void *user)
{
	const struct gw_stats *st = &s->measured;
	const struct gw_export_stats *ex;

	gw_stats_stamp(s);
	for (ex = st->exports; ex; ex = ex->hh.next)
		tell(ex, fn, user);
	for (int i = 0; i < BACKEND_N_OPS; i++) {
		if (st->other->devs || st->other->op[i].ops) {
			tell(st->other, fn, user);
			break;
		}
	}
}
