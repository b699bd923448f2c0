/* SPDX-License-Identifier: BSD-3-Clause */
/* The whole daemon: `status`, and its numbers: `stats` and their reset. */
#include "gateway/control-env.h"

#include <unistd.h>

#include "gateway/os.h"

static const char *const op_names[BACKEND_N_OPS] = {
	[BACKEND_READ] = "read",
	[BACKEND_WRITE] = "write",
	[BACKEND_FLUSH] = "flush",
	[BACKEND_DISCARD] = "discard",
	[BACKEND_WRITE_ZEROES] = "write_zeroes",
};

json_t *
control_ops_json(const struct gw_op_stats op[BACKEND_N_OPS])
{
	json_t *obj = json_object();

	for (int i = 0; i < BACKEND_N_OPS; i++)
		json_object_set_new(obj, op_names[i],
				    json_pack("{s:I, s:I, s:I}", "ops",
					      (json_int_t)op[i].ops, "bytes",
					      (json_int_t)op[i].bytes, "errors",
					      (json_int_t)op[i].errors));
	return obj;
}

/* --------------------------------------------------------------- status */

static json_t *
path_json(const struct rtrs_srv_path_info *info)
{
	char local[RTRS_ADDR_TEXT_MAX], peer[RTRS_ADDR_TEXT_MAX];
	const struct rtrs_srv_stats *st = &info->stats;

	(void)rtrs_addr_text(info->fabric, &info->addrs.local, local);
	(void)rtrs_addr_text(info->fabric, &info->addrs.peer, peer);
	return json_pack(
		"{s:o, s:s, s:s, s:s, s:i, s:I, s:s, s:I, s:I, s:I, s:I, s:I}",
		"session", control_text(info->sess_name), "state",
		rtrs_srv_path_state_name(info->state), "local", local, "peer",
		peer, "connections", (int)info->n_cons, "chunk_bytes",
		(json_int_t)info->chunk_mem, "chunk_pages", info->chunk_pages,
		"reads", (json_int_t)st->rd_cnt, "read_bytes",
		(json_int_t)st->rd_bytes, "writes", (json_int_t)st->wr_cnt,
		"write_bytes", (json_int_t)st->wr_bytes, "inflight",
		(json_int_t)st->inflight);
}

static json_t *
device_json(const struct gw_device_info *info)
{
	return json_pack("{s:o, s:o, s:I, s:s, s:I, s:o}", "session",
			 control_text(info->sess_name), "name",
			 control_text(info->dev_name), "id",
			 (json_int_t)info->device_id, "access_mode",
			 rnbd_access_mode_name(info->access_mode), "size_bytes",
			 (json_int_t)info->size_bytes, "ops",
			 control_ops_json(info->op));
}

static json_t *
worker_json(const struct gather_part *part)
{
	const struct snapshot *snap = &part->snap;
	const struct gw_server_stats *st = &snap->stats;
	json_t *paths = json_array(), *devices = json_array();

	for (size_t i = 0; i < snap->n_paths; i++)
		json_array_append_new(paths, path_json(&snap->paths[i].info));
	for (size_t i = 0; i < snap->n_devices; i++)
		json_array_append_new(devices,
				      device_json(&snap->devices[i].info));
	return json_pack(
		"{s:i, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:o, s:o, s:o}",
		"index", (int)worker_index(part->worker), "io_engine",
		part->has_uring ? "io_uring" : "pool", "sessions",
		(int)st->sessions, "open_devices", (int)st->devices, "inflight",
		(json_int_t)st->inflight, "opens", (json_int_t)st->opens,
		"open_errors", (json_int_t)st->open_errors, "closes",
		(json_int_t)st->closes, "ops", control_ops_json(st->op),
		"paths", paths, "devices", devices);
}

static void
add_export(void *user, const struct gw_exports_item *info)
{
	json_array_append_new(user,
			      json_pack("{s:o, s:o, s:b}", "name",
					control_text(info->spec->name), "spec",
					control_text(info->text), "read_only",
					(int)info->spec->read_only));
}

static void
add_listener(void *user, const char *addr, const struct rtrs_listener_stats *st)
{
	json_array_append_new(
		user, json_pack("{s:s, s:I, s:I}", "address", addr, "requests",
				(json_int_t)st->requests, "malformed",
				(json_int_t)st->malformed));
}

static json_int_t
seconds_since(uint64_t then)
{
	return (json_int_t)((os_now() - then) / NSEC_PER_SEC);
}

static void
status_done(struct gather *g)
{
	const struct control_env *env = g->env;
	json_t *listeners = json_array(), *exports = json_array();
	json_t *workers = json_array();

	env->for_each_listener(env->user, add_listener, listeners);
	gw_exports_for_each(env->exports, add_export, exports);
	for (unsigned i = 0; i < g->n_parts; i++)
		json_array_append_new(workers, worker_json(&g->parts[i]));
	control_reply(
		g->call,
		json_pack("{s:s, s:i, s:I, s:s, s:o, s:o, s:o}", "version",
			  RNBD_VERSION, "pid", (int)getpid(), "uptime_s",
			  seconds_since(env->started), "log_level",
			  log_level_name(log_threshold(env->log)), "listeners",
			  listeners, "exports", exports, "workers", workers));
}

void
control_status(void *user, struct control_call *call)
{
	gather_snapshots(user, call, 0, status_done, NULL);
}

/* ---------------------------------------------------------------- stats */

static void
sum(const struct gather *g, struct gw_server_stats *ret)
{
	*ret = (struct gw_server_stats){0};
	for (unsigned i = 0; i < g->n_parts; i++) {
		const struct gw_server_stats *st = &g->parts[i].snap.stats;

		for (int op = 0; op < BACKEND_N_OPS; op++) {
			ret->op[op].ops += st->op[op].ops;
			ret->op[op].bytes += st->op[op].bytes;
			ret->op[op].errors += st->op[op].errors;
		}
		ret->opens += st->opens;
		ret->open_errors += st->open_errors;
		ret->closes += st->closes;
		ret->revokes += st->revokes;
		ret->throttled += st->throttled;
		ret->inflight += st->inflight;
		ret->sessions += st->sessions;
		ret->devices += st->devices;
	}
}

/* What counts up since base; what is now stays. */
static void
subtract(struct gw_server_stats *st, const struct gw_server_stats *base)
{
	for (int op = 0; op < BACKEND_N_OPS; op++) {
		st->op[op].ops -= base->op[op].ops;
		st->op[op].bytes -= base->op[op].bytes;
		st->op[op].errors -= base->op[op].errors;
	}
	st->opens -= base->opens;
	st->open_errors -= base->open_errors;
	st->closes -= base->closes;
	st->revokes -= base->revokes;
	st->throttled -= base->throttled;
}

static void
sum_latency(const struct gather *g, struct gw_latency *ret)
{
	*ret = (struct gw_latency){0};
	for (unsigned i = 0; i < g->n_parts; i++)
		for (int op = 0; op < BACKEND_N_OPS; op++)
			hist_merge(&ret->op[op],
				   &g->parts[i].snap.latency->op[op]);
}

/* The largest value stays that since the start. */
static void
subtract_latency(struct gw_latency *l, const struct gw_latency *base)
{
	for (int op = 0; op < BACKEND_N_OPS; op++)
		hist_subtract(&l->op[op], &base->op[op]);
}

/* Of all operations together. */
static json_t *
buckets_json(const struct gw_latency *l)
{
	struct hist all = {0};

	for (int op = 0; op < BACKEND_N_OPS; op++)
		hist_merge(&all, &l->op[op]);
	return control_hist_buckets(&all);
}

static json_t *
latency_json(const struct gw_latency *l)
{
	json_t *obj = json_object();

	for (int op = 0; op < BACKEND_N_OPS; op++)
		json_object_set_new(obj, op_names[op],
				    control_hist(&l->op[op]));
	return obj;
}

static void
stats_done(struct gather *g)
{
	const struct control_env *env = g->env;
	struct gw_server_stats st;
	struct gw_latency latency;
	unsigned paths = 0;
	json_t *obj;

	sum(g, &st);
	subtract(&st, &env->base);
	sum_latency(g, &latency);
	subtract_latency(&latency, &env->base_latency);
	for (unsigned i = 0; i < g->n_parts; i++)
		paths += (unsigned)g->parts[i].snap.n_paths;
	obj = json_pack(
		"{s:s, s:I, s:I, s:i, s:i, s:i, s:i, s:I, s:I, s:I, "
		"s:I, s:I, s:I, s:o, s:o}",
		"version", RNBD_VERSION, "uptime_s",
		seconds_since(env->started), "since_s",
		seconds_since(env->base_at), "workers", (int)g->n_parts,
		"sessions", (int)st.sessions, "paths", (int)paths, "devices",
		(int)st.devices, "inflights", (json_int_t)st.inflight, "opens",
		(json_int_t)st.opens, "open_errors", (json_int_t)st.open_errors,
		"closes", (json_int_t)st.closes, "revokes",
		(json_int_t)st.revokes, "throttled", (json_int_t)st.throttled,
		"ops", control_ops_json(st.op), "latency",
		latency_json(&latency));
	if (control_boolean(g->call, "buckets"))
		json_object_set_new(obj, "buckets", buckets_json(&latency));
	control_reply(g->call, obj);
}

void
control_stats(void *user, struct control_call *call)
{
	gather_snapshots(user, call, SNAP_LATENCY, stats_done, NULL);
}

static bool
every_path(void *user, const struct rtrs_srv_path_info *info)
{
	return true;
}

static void
reset_work(struct gather_part *part)
{
	struct gw_server *s = worker_server(part->worker);

	snapshot_take(s, SNAP_LATENCY, &part->snap);
	part->count = rtrs_srv_reset_stats(gw_server_rtrs(s), every_path, NULL);
}

/*
 * Paths begin at zero again, as by the kernel's stats/rdma. The sums are those
 * of the metrics too, which never go back: they only get another base.
 */
static void
reset_done(struct gather *g)
{
	for (unsigned i = 0; i < g->n_parts; i++) {
		if (g->parts[i].snap.err < 0) {
			control_reply(g->call, NULL);
			return;
		}
	}
	sum(g, &g->env->base);
	sum_latency(g, &g->env->base_latency);
	g->env->base_at = os_now();
	control_reply(g->call,
		      json_pack("{s:i}", "paths", (int)gather_count(g)));
}

void
control_stats_reset(void *user, struct control_call *call)
{
	gather_start(user, call, reset_work, reset_done, NULL);
}
