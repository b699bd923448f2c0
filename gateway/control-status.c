/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/control-status.h"

#include <stdlib.h>
#include <unistd.h>

#include "gateway/os.h"

/* Ours of one worker: travels there and back. */
struct part {
	struct loop_call call;
	struct gather *gather;
	struct worker *worker;
	json_t *result; /* NULL: out of memory */
};

struct gather {
	const struct status_source *src;
	struct control_call *call;
	unsigned left, n_parts;
	struct part parts[];
};

/* ------------------------------------------------- on the worker's thread */

static const char *const op_names[BACKEND_N_OPS] = {
	[BACKEND_READ] = "read",
	[BACKEND_WRITE] = "write",
	[BACKEND_FLUSH] = "flush",
	[BACKEND_DISCARD] = "discard",
	[BACKEND_WRITE_ZEROES] = "write_zeroes",
};

static json_t *
ops_json(const struct gw_op_stats op[BACKEND_N_OPS])
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

static void
add_path(void *user, const struct rtrs_srv_path_info *info)
{
	char local[RTRS_ADDR_TEXT_MAX], peer[RTRS_ADDR_TEXT_MAX];
	const struct rtrs_srv_stats *st = &info->stats;

	(void)rtrs_addr_text(info->fabric, &info->addrs.local, local);
	(void)rtrs_addr_text(info->fabric, &info->addrs.peer, peer);
	json_array_append_new(
		user,
		json_pack("{s:s, s:s, s:s, s:s, s:i, s:I, s:s, s:I, s:I, s:I, "
			  "s:I, "
			  "s:I}",
			  "session", info->sess_name, "state",
			  rtrs_srv_path_state_name(info->state), "local", local,
			  "peer", peer, "connections", (int)info->n_cons,
			  "chunk_bytes", (json_int_t)info->chunk_mem,
			  "chunk_pages", info->chunk_pages, "reads",
			  (json_int_t)st->rd_cnt, "read_bytes",
			  (json_int_t)st->rd_bytes, "writes",
			  (json_int_t)st->wr_cnt, "write_bytes",
			  (json_int_t)st->wr_bytes, "inflight",
			  (json_int_t)st->inflight));
}

static void
add_device(void *user, const struct gw_device_info *info)
{
	/* Names of a peer need not be UTF-8, JSON strings must be. */
	json_t *name = json_string(info->dev_name);

	json_array_append_new(
		user, json_pack("{s:s, s:o, s:I, s:s, s:I, s:o}", "session",
				info->sess_name, "name",
				name ? name : json_string("(not UTF-8)"), "id",
				(json_int_t)info->device_id, "access_mode",
				rnbd_access_mode_name(info->access_mode),
				"size_bytes", (json_int_t)info->size_bytes,
				"ops", ops_json(info->op)));
}

static json_t *
worker_json(struct worker *w)
{
	struct gw_server *s = worker_server(w);
	struct gw_server_stats st;
	json_t *paths = json_array(), *devices = json_array();

	gw_server_stats(s, &st);
	rtrs_srv_for_each_path(gw_server_rtrs(s), add_path, paths);
	gw_server_for_each_device(s, add_device, devices);
	return json_pack(
		"{s:i, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:o, s:o, s:o}",
		"index", (int)worker_index(w), "io_engine",
		worker_has_uring(w) ? "io_uring" : "pool", "sessions",
		(int)st.sessions, "open_devices", (int)st.devices, "inflight",
		(json_int_t)st.inflight, "opens", (json_int_t)st.opens,
		"open_errors", (json_int_t)st.open_errors, "closes",
		(json_int_t)st.closes, "ops", ops_json(st.op), "paths", paths,
		"devices", devices);
}

static void part_back(struct loop_call *call);

static void
part_run(struct loop_call *call)
{
	struct part *part = container_of(call, struct part, call);

	part->result = worker_json(part->worker);
	part->call.fn = part_back;
	loop_post(part->gather->src->loop, &part->call);
}

/* ------------------------------------------------ on the control thread */

static void
add_export(void *user, const struct gw_exports_item *info)
{
	json_array_append_new(user, json_pack("{s:s, s:s, s:b}", "name",
					      info->spec->name, "spec",
					      info->text, "read_only",
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

/* All parts are back. */
static json_t *
status_json(const struct gather *g)
{
	const struct status_source *src = g->src;
	json_t *listeners = json_array(), *exports = json_array();
	json_t *workers = json_array();

	src->for_each_listener(src->user, add_listener, listeners);
	gw_exports_for_each(src->exports, add_export, exports);
	for (unsigned i = 0; i < g->n_parts; i++) {
		json_t *r = g->parts[i].result;

		json_array_append_new(workers, r ? r : json_null());
	}
	return json_pack("{s:s, s:i, s:I, s:o, s:o, s:o}", "version",
			 RNBD_VERSION, "pid", (int)getpid(), "uptime_s",
			 (json_int_t)((os_now() - src->started) / NSEC_PER_SEC),
			 "listeners", listeners, "exports", exports, "workers",
			 workers);
}

static void
part_back(struct loop_call *call)
{
	struct part *part = container_of(call, struct part, call);
	struct gather *g = part->gather;

	if (--g->left)
		return;
	control_reply(g->call, status_json(g));
	free(g);
}

static void
method_status(void *user, struct control_call *call)
{
	const struct status_source *src = user;
	unsigned n = src->n_workers;
	struct gather *g = calloc(1, sizeof(*g) + n * sizeof(*g->parts));

	if (!g) {
		control_reply(call, NULL);
		return;
	}
	g->src = src;
	g->call = call;
	g->left = g->n_parts = n;
	for (unsigned i = 0; i < n; i++) {
		struct part *part = &g->parts[i];

		part->call.fn = part_run;
		part->gather = g;
		part->worker = src->workers[i];
		worker_post(part->worker, &part->call);
	}
}

static void
method_version(void *user, struct control_call *call)
{
	control_reply(call, json_pack("{s:s, s:s}", "program", "rnbd-gatewayd",
				      "version", RNBD_VERSION));
}

const struct control_method control_status_methods[] = {
	{"status", method_status},
	{"version", method_version},
	{NULL, NULL},
};
