/* SPDX-License-Identifier: BSD-3-Clause */
#include "nbdkit-plugin/rnbd-stats.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

struct rnbd_stats {
	struct rnbd_dev_stats *devices;
	unsigned n;
	struct rnbd_dev_stats other; /* on the list once it is used */
	bool has_other;
};

int
rnbd_stats_new(struct rnbd_stats **ret)
{
	struct rnbd_stats *st = calloc(1, sizeof(*st));

	if (!st)
		return -ENOMEM;
	*ret = st;
	return 0;
}

void
rnbd_stats_free(struct rnbd_stats *st)
{
	struct rnbd_dev_stats *ds, *tmp;

	if (!st)
		return;
	LL_FOREACH_SAFE(st->devices, ds, tmp)
		if (ds != &st->other)
			free(ds);
	free(st);
}

/* The other one stays at the end of the list. */
static struct rnbd_dev_stats *
other(struct rnbd_stats *st)
{
	if (!st->has_other)
		LL_APPEND(st->devices, &st->other);
	st->has_other = true;
	return &st->other;
}

struct rnbd_dev_stats *
rnbd_stats_device(struct rnbd_stats *st, const char *name)
{
	struct rnbd_dev_stats *ds;

	LL_FOREACH(st->devices, ds)
		if (!strcmp(ds->name, name))
			return ds;
	if (st->n == RNBD_STATS_MAX_DEVICES)
		return other(st);
	ds = calloc(1, sizeof(*ds));
	if (!ds)
		return other(st);
	snprintf(ds->name, sizeof(ds->name), "%s", name);
	if (st->has_other)
		LL_PREPEND_ELEM(st->devices, &st->other, ds);
	else
		LL_APPEND(st->devices, ds);
	st->n++;
	return ds;
}

struct rnbd_dev_stats *
rnbd_stats_first(struct rnbd_stats *st)
{
	return st->devices;
}

unsigned
rnbd_stats_count(const struct rnbd_stats *st)
{
	return st->n + st->has_other;
}

uint64_t
rnbd_stats_ops(const struct rnbd_op_stats *o)
{
	return hist_count(&o->latency);
}

const char *
rnbd_clt_op_name(enum rnbd_clt_op op)
{
	static const char *const names[RNBD_CLT_N_OPS] = {
		[RNBD_CLT_READ] = "read",
		[RNBD_CLT_WRITE] = "write",
		[RNBD_CLT_FLUSH] = "flush",
		[RNBD_CLT_DISCARD] = "discard",
		[RNBD_CLT_WRITE_ZEROES] = "write_zeroes",
	};

	return names[op];
}
