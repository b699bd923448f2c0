/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions, paths and devices, named and numbered as in the kernel's sysfs
 * (class rtrs-server and rnbd-server).
 */
#include "gateway/control-env.h"

#include <stdlib.h>
#include <string.h>

json_t *
control_path_json(const struct rtrs_srv_path_info *info)
{
	char src[RTRS_ADDR_TEXT_MAX], dst[RTRS_ADDR_TEXT_MAX];
	const struct rtrs_srv_stats *st = &info->stats;
	char name[SNAP_PATHNAME_MAX];

	rtrs_addr_host_text(info->fabric, &info->addrs.peer, src);
	rtrs_addr_host_text(info->fabric, &info->addrs.local, dst);
	snapshot_pathname(info, name);
	return json_pack(
		"{s:o, s:s, s:s, s:s, s:i, s:i, s:s, s:i, s:s, s:s, s:i, s:I, "
		"s:I, s:I, s:I, s:I, s:I, s:s}",
		"sessname", control_text(info->sess_name), "pathname", name,
		"src_addr", src, "dst_addr", dst, "src_port",
		(int)rtrs_addr_port(&info->addrs.peer), "dst_port",
		(int)rtrs_addr_port(&info->addrs.local), "hca_name",
		info->hca_name, "hca_port", (int)info->hca_port, "state",
		rtrs_srv_path_state_name(info->state), "direction", "incoming",
		"connections", (int)info->n_cons, "rd_cnt",
		(json_int_t)st->rd_cnt, "rd_bytes", (json_int_t)st->rd_bytes,
		"wr_cnt", (json_int_t)st->wr_cnt, "wr_bytes",
		(json_int_t)st->wr_bytes, "inflights", (json_int_t)st->inflight,
		"chunk_bytes", (json_int_t)info->chunk_mem, "chunk_pages",
		info->chunk_pages);
}

json_t *
control_device_json(const struct snap_device *dev)
{
	const struct gw_device_info *info = &dev->info;

	return json_pack(
		"{s:o, s:o, s:o, s:I, s:s, s:i, s:I, s:i, s:i, s:s, s:I, s:I, "
		"s:o}",
		"sessname", control_text(info->sess_name), "mapping_path",
		control_text(info->dev_name), "export",
		control_text(info->export_name), "id",
		(json_int_t)info->device_id, "access_mode",
		rnbd_access_mode_name(info->access_mode), "read_only",
		info->access_mode == RNBD_ACCESS_RO, "size_bytes",
		(json_int_t)info->size_bytes, "inflights", (int)info->inflight,
		"throttled", (int)info->throttled, "direction", "exported",
		"p50_ns", (json_int_t)dev->p50_ns, "p99_ns",
		(json_int_t)dev->p99_ns, "ops", control_ops_json(info->op));
}

/* ------------------------------------------------------------- sessions */

static json_int_t
num(const json_t *obj, const char *key)
{
	return json_integer_value(json_object_get(obj, key));
}

static void
add(json_t *obj, const char *key, json_int_t n)
{
	json_object_set_new(obj, key, json_integer(num(obj, key) + n));
}

static void
session_add_path(json_t *sess, const struct rtrs_srv_path_info *info)
{
	static const char *const sums[] = {"rd_cnt",    "rd_bytes",
					   "wr_cnt",    "wr_bytes",
					   "inflights", "chunk_bytes"};
	bool up = info->state == RTRS_SRV_CONNECTED;
	json_t *path = control_path_json(info);
	const char *uu = json_string_value(json_object_get(sess, "path_uu"));
	json_t *marks = json_sprintf("%s%c", uu, up ? 'U' : '_');

	for (size_t i = 0; i < ARRAY_SIZE(sums); i++)
		add(sess, sums[i], num(path, sums[i]));
	add(sess, "path_cnt", 1);
	add(sess, "act_path_cnt", up);
	json_object_set_new(sess, "path_uu", marks);
	json_object_set(sess, "hostname", json_object_get(path, "src_addr"));
	if (up)
		json_object_set_new(sess, "state", json_string("connected"));
	json_array_append_new(json_object_get(sess, "paths"), path);
}

/* The session of that name in all, made when it is not there. */
static json_t *
session_get(json_t *all, const char *raw, unsigned worker)
{
	json_t *name = control_text(raw);
	json_t *sess = json_object_get(all, json_string_value(name));

	if (sess || !name) {
		json_decref(name);
		return sess;
	}
	sess = json_pack("{s:O, s:s, s:s, s:i, s:i, s:s, s:i, s:s, s:i, s:o, "
			 "s:o}",
			 "sessname", name, "hostname", "", "state",
			 "disconnected", "path_cnt", 0, "act_path_cnt", 0,
			 "path_uu", "", "devices", 0, "direction", "incoming",
			 "worker", (int)worker, "paths", json_array(),
			 "device_list", json_array());
	json_object_set_new(all, json_string_value(name), sess);
	json_decref(name);
	return sess;
}

/* An object of session objects by name; only that of one name, if given. */
static json_t *
sessions_json(const struct gather *g, const char *only)
{
	json_t *all = json_object(), *sess;

	for (unsigned i = 0; i < g->n_parts; i++) {
		const struct snapshot *snap = &g->parts[i].snap;
		unsigned w = worker_index(g->parts[i].worker);

		for (size_t k = 0; k < snap->n_paths; k++) {
			const struct rtrs_srv_path_info *p =
				&snap->paths[k].info;

			if (!p->sess_name[0] ||
			    (only && !control_name_is(p->sess_name, only)))
				continue;
			sess = session_get(all, p->sess_name, w);
			session_add_path(sess, p);
		}
		for (size_t k = 0; k < snap->n_devices; k++) {
			const struct gw_device_info *d = &snap->devices[k].info;

			if (only && !control_name_is(d->sess_name, only))
				continue;
			sess = session_get(all, d->sess_name, w);
			add(sess, "devices", 1);
			json_array_append_new(
				json_object_get(sess, "device_list"),
				control_device_json(&snap->devices[k]));
		}
	}
	return all;
}

static void
session_list_done(struct gather *g)
{
	json_t *all = sessions_json(g, NULL), *list = json_array(), *sess;
	const char *name;

	json_object_foreach(all, name, sess) {
		json_object_del(sess, "device_list");
		json_array_append(list, sess);
	}
	json_decref(all);
	control_reply(g->call, list);
}

void
control_session_list(void *user, struct control_call *call)
{
	gather_snapshots(user, call, 0, session_list_done, NULL);
}

static void
session_show_done(struct gather *g)
{
	const char *only = control_string(g->call, "session");
	json_t *all = sessions_json(g, only);
	json_t *sess = json_object_get(all, only);

	if (sess)
		control_reply(g->call, json_incref(sess));
	else
		control_fail(g->call, CONTROL_NOT_FOUND,
			     "there is no session '%s'", only);
	json_decref(all);
}

void
control_session_show(void *user, struct control_call *call)
{
	gather_snapshots(user, call, SNAP_DEVICE_LATENCY, session_show_done,
			 NULL);
}

/* ---------------------------------------------------- devices and paths */

static void
device_list_done(struct gather *g)
{
	const char *sess = control_string(g->call, "session");
	const char *name = control_string(g->call, "device");
	json_t *list = json_array();

	for (unsigned i = 0; i < g->n_parts; i++) {
		const struct snapshot *snap = &g->parts[i].snap;

		for (size_t k = 0; k < snap->n_devices; k++) {
			const struct gw_device_info *d = &snap->devices[k].info;

			if ((!sess || control_name_is(d->sess_name, sess)) &&
			    (!name || control_name_is(d->dev_name, name)))
				json_array_append_new(
					list,
					control_device_json(&snap->devices[k]));
		}
	}
	control_reply(g->call, list);
}

void
control_device_list(void *user, struct control_call *call)
{
	gather_snapshots(user, call, SNAP_DEVICE_LATENCY, device_list_done,
			 NULL);
}

static void
path_list_done(struct gather *g)
{
	const char *sess = control_string(g->call, "session");
	const char *name = control_string(g->call, "path");
	json_t *list = json_array();

	for (unsigned i = 0; i < g->n_parts; i++) {
		const struct snapshot *snap = &g->parts[i].snap;

		for (size_t k = 0; k < snap->n_paths; k++) {
			const struct rtrs_srv_path_info *p =
				&snap->paths[k].info;

			if ((!sess || control_name_is(p->sess_name, sess)) &&
			    (!name || control_path_is(p, name)))
				json_array_append_new(list,
						      control_path_json(p));
		}
	}
	control_reply(g->call, list);
}

void
control_path_list(void *user, struct control_call *call)
{
	gather_snapshots(user, call, 0, path_list_done, NULL);
}
