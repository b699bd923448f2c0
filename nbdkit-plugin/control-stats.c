/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers. A reset zeroes those of the paths, as a write to the kernel's stats
 * files does, and gives those of the devices another base. The metrics have all
 * of them since the start, and never go back.
 */
#include "nbdkit-plugin/control-priv.h"

#include <stdlib.h>
#include <string.h>

#include <utlist.h>

static json_int_t
seconds_since(uint64_t then)
{
	return (json_int_t)((control_now() - then) / NSEC_PER_SEC);
}

static json_t *
latency_json(const struct rnbd_op_stats op[RNBD_CLT_N_OPS], bool buckets)
{
	json_t *obj = json_object();

	for (int i = 0; i < RNBD_CLT_N_OPS; i++) {
		json_t *h = control_hist(&op[i].latency);

		json_object_set_new(
			h, "max_ns",
			json_integer((json_int_t)op[i].latency.max));
		if (buckets)
			json_object_set_new(
				h, "buckets",
				control_hist_buckets(&op[i].latency));
		json_object_set_new(obj, rnbd_clt_op_name((enum rnbd_clt_op)i),
				    h);
	}
	return obj;
}

/* Of all devices since the last reset. */
static void
sum_devices(struct clt_control *cc, struct rnbd_op_stats ret[RNBD_CLT_N_OPS])
{
	struct rnbd_op_stats op[RNBD_CLT_N_OPS];
	const struct rnbd_dev_stats *ds = NULL;

	memset(ret, 0, RNBD_CLT_N_OPS * sizeof(*ret));
	while ((ds = snap_counted(cc, ds))) {
		snap_counts(cc, ds, false, op);
		for (int i = 0; i < RNBD_CLT_N_OPS; i++) {
			ret[i].bytes += op[i].bytes;
			ret[i].errors += op[i].errors;
			hist_merge(&ret[i].latency, &op[i].latency);
		}
	}
}

static void
add_stats(struct rtrs_clt_stats *sum, const struct rtrs_clt_stats *st)
{
	sum->rd_cnt += st->rd_cnt;
	sum->rd_bytes += st->rd_bytes;
	sum->wr_cnt += st->wr_cnt;
	sum->wr_bytes += st->wr_bytes;
	sum->inflight += st->inflight;
	sum->failovers += st->failovers;
	sum->reconnects_ok += st->reconnects_ok;
	sum->reconnects_err += st->reconnects_err;
}

void
clt_stats(void *user, struct control_call *call)
{
	struct clt_control *cc = user;
	const struct snap *s = cc->snap;
	struct rnbd_op_stats op[RNBD_CLT_N_OPS];
	struct rtrs_clt_stats sum = {0};
	json_t *obj;

	if (!snap_take(cc, call))
		return;
	sum_devices(cc, op);
	for (unsigned i = 0; i < s->n_paths; i++)
		add_stats(&sum, &s->paths[i].info.stats);
	obj = json_pack("{s:s, s:o, s:I, s:I, s:i, s:i, s:o, s:o}", "version",
			RNBD_VERSION, "sessname", control_text(cc->p.sessname),
			"uptime_s", seconds_since(cc->started), "since_s",
			seconds_since(cc->since), "paths", (int)s->n_paths,
			"devices", (int)s->n_devices, "ops", clt_ops_json(op),
			"latency",
			latency_json(op, control_boolean(call, "buckets")));
	if (obj)
		json_object_update_new(
			obj,
			json_pack(
				"{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
				"s:I, s:I}",
				"rd_cnt", (json_int_t)sum.rd_cnt, "rd_bytes",
				(json_int_t)sum.rd_bytes, "wr_cnt",
				(json_int_t)sum.wr_cnt, "wr_bytes",
				(json_int_t)sum.wr_bytes, "inflights",
				(json_int_t)sum.inflight, "failovers",
				(json_int_t)sum.failovers, "reconnects",
				(json_int_t)sum.reconnects_ok,
				"reconnect_errors",
				(json_int_t)sum.reconnects_err, "held",
				(json_int_t)s->stats.held, "resent",
				(json_int_t)s->stats.resent, "timeouts",
				(json_int_t)s->stats.timeouts));
	control_reply(call, obj);
}

/* ---------------------------------------------------------------- reset */

struct reset {
	struct clt_control *cc;
	struct carry *carries; /* of the paths that there are */
	unsigned n;
};

static const struct rtrs_clt_stats *
carried(const struct clt_control *cc, unsigned path_id)
{
	for (unsigned i = 0; i < cc->n_carries; i++)
		if (cc->carries[i].path_id == path_id)
			return &cc->carries[i].stats;
	return NULL;
}

static bool
reset_paths(struct rnbd_clt *clt, void *arg)
{
	struct reset *r = arg;
	struct rtrs_clt *rtrs = clt ? rnbd_clt_rtrs(clt) : NULL;
	struct rtrs_clt_path_info info;

	while (rtrs && r->n < RTRS_MAX_PATHS &&
	       !rtrs_clt_path_info(rtrs, r->n, &info)) {
		struct carry *c = &r->carries[r->n++];
		const struct rtrs_clt_stats *old = carried(r->cc, info.id);

		c->path_id = info.id;
		c->stats = info.stats;
		if (old)
			add_stats(&c->stats, old);
		c->stats.inflight = 0;
		/* It cannot be gone: the lock is held. */
		(void)rtrs_clt_path_stats_reset(rtrs, info.id);
	}
	return false;
}

/* False: no memory. */
static bool
reset_devices(struct clt_control *cc)
{
	const struct rnbd_dev_stats *ds = NULL;

	while ((ds = snap_counted(cc, ds))) {
		struct dev_base *b;

		LL_FOREACH(cc->bases, b)
			if (b->stats == ds)
				break;
		if (!b) {
			b = calloc(1, sizeof(*b));
			if (!b)
				return false;
			b->stats = ds;
			LL_PREPEND(cc->bases, b);
		}
		snap_counts(cc, ds, true, b->op);
	}
	return true;
}

void
clt_stats_reset(void *user, struct control_call *call)
{
	struct clt_control *cc = user;
	struct reset r = {
		.cc = cc,
		.carries = calloc(RTRS_MAX_PATHS, sizeof(*r.carries)),
	};

	if (!r.carries || !reset_devices(cc)) {
		free(r.carries);
		control_fail(call, CONTROL_INTERNAL, "out of memory");
		return;
	}
	rnbd_wait_with(cc->p.wait, reset_paths, &r);
	free(cc->carries);
	cc->carries = r.carries;
	cc->n_carries = r.n;
	cc->since = control_now();
	control_reply(call, json_pack("{s:i}", "paths", (int)r.n));
}

void
stats_since_start(const struct clt_control *cc,
		  const struct rtrs_clt_path_info *info,
		  struct rtrs_clt_stats *ret)
{
	const struct rtrs_clt_stats *old = carried(cc, info->id);

	*ret = info->stats;
	if (old)
		add_stats(ret, old);
}
