/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session, its paths and devices, named and numbered as in the kernel's
 * sysfs (class rtrs-client and rnbd-client), and as the daemon tells of them.
 */
#include "nbdkit-plugin/control-priv.h"

#include <string.h>

static json_t *
path_json(const struct clt_control *cc, const struct snap_path *p)
{
	const struct rtrs_clt_path_info *info = &p->info;
	const struct rtrs_clt_stats *st = &info->stats;
	const struct fabric_ops *fabric = info->addr.fabric;
	bool known = info->actual.peer.ss_family;
	char src[RTRS_ADDR_TEXT_MAX] = "", dst[RTRS_ADDR_TEXT_MAX];
	json_t *obj;

	if (known)
		rtrs_addr_host_text(fabric, &info->actual.local, src);
	else if (info->addr.src_len)
		rtrs_addr_host_text(fabric, &info->addr.src, src);
	rtrs_addr_host_text(fabric, &info->addr.dst, dst);
	obj = json_pack(
		"{s:o, s:s, s:s, s:i, s:s, s:s, s:i, s:i, s:s, s:i, s:s, s:b, "
		"s:s, s:o}",
		"sessname", control_text(cc->p.sessname), "pathname", p->name,
		"route", p->route, "id", (int)info->id, "src_addr", src,
		"dst_addr", dst, "src_port",
		(int)rtrs_addr_port(&info->actual.local), "dst_port",
		(int)rtrs_addr_port(&info->addr.dst), "hca_name",
		info->hca_name, "hca_port", (int)info->hca_port, "state",
		rtrs_clt_path_state_name(info->state), "held_down",
		(int)info->held_down, "direction", "outgoing", "why",
		control_text(info->why));
	if (obj)
		json_object_update_new(
			obj,
			json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
				  "s:I, s:I}",
				  "rd_cnt", (json_int_t)st->rd_cnt, "rd_bytes",
				  (json_int_t)st->rd_bytes, "wr_cnt",
				  (json_int_t)st->wr_cnt, "wr_bytes",
				  (json_int_t)st->wr_bytes, "inflights",
				  (json_int_t)st->inflight, "failovers",
				  (json_int_t)st->failovers, "reconnects",
				  (json_int_t)st->reconnects_ok,
				  "reconnect_errors",
				  (json_int_t)st->reconnects_err,
				  "cur_latency_ns",
				  (json_int_t)st->hb_latency_ns,
				  "min_latency_ns",
				  (json_int_t)st->hb_latency_min_ns));
	return obj;
}

void
clt_path_list(void *user, struct control_call *call)
{
	struct clt_control *cc = user;
	const char *name = control_string(call, "path");
	json_t *list;

	if (!snap_take(cc, call))
		return;
	list = json_array();
	for (unsigned i = 0; i < cc->snap->n_paths; i++)
		if (!name || snap_path_is(&cc->snap->paths[i], name))
			json_array_append_new(
				list, path_json(cc, &cc->snap->paths[i]));
	control_reply(call, list);
}

/* -------------------------------------------------------------- devices */

json_t *
clt_ops_json(const struct rnbd_op_stats op[RNBD_CLT_N_OPS])
{
	json_t *obj = json_object();

	for (int i = 0; i < RNBD_CLT_N_OPS; i++)
		json_object_set_new(
			obj, rnbd_clt_op_name((enum rnbd_clt_op)i),
			json_pack("{s:I, s:I, s:I}", "ops",
				  (json_int_t)rnbd_stats_ops(&op[i]), "bytes",
				  (json_int_t)op[i].bytes, "errors",
				  (json_int_t)op[i].errors));
	return obj;
}

/* What was counted for a device; zeroes: nothing yet. */
static void
counts_of(struct clt_control *cc, const char *name,
	  struct rnbd_op_stats ret[RNBD_CLT_N_OPS])
{
	const struct rnbd_dev_stats *ds = snap_counted(cc, NULL);

	memset(ret, 0, RNBD_CLT_N_OPS * sizeof(*ret));
	while (ds && strcmp(ds->name, name))
		ds = snap_counted(cc, ds);
	if (ds)
		snap_counts(cc, ds, false, ret);
}

static json_t *
device_json(struct clt_control *cc, const struct snap_device *d)
{
	const struct rnbd_clt_dev_info *info = &d->info;
	struct rnbd_op_stats op[RNBD_CLT_N_OPS];
	struct hist all = {0};

	counts_of(cc, d->name, op);
	for (int i = 0; i < RNBD_CLT_N_OPS; i++)
		hist_merge(&all, &op[i].latency);
	return json_pack(
		"{s:o, s:o, s:I, s:s, s:i, s:I, s:s, s:o, s:i, s:s, s:i, s:I, "
		"s:I, s:o}",
		"sessname", control_text(cc->p.sessname), "mapping_path",
		control_text(d->name), "id", (json_int_t)info->id,
		"access_mode", rnbd_access_mode_name(info->mode), "read_only",
		info->mode == RNBD_ACCESS_RO, "size_bytes",
		(json_int_t)info->geo.size_bytes, "state", info->state, "why",
		control_text(info->why), "users", (int)info->users, "direction",
		"imported", "block_size", (int)info->geo.logical_block_size,
		"p50_ns", (json_int_t)hist_quantile(&all, 0.5), "p99_ns",
		(json_int_t)hist_quantile(&all, 0.99), "ops", clt_ops_json(op));
}

/* Of the snapshot that there is; name NULL: all of them. */
static json_t *
devices_json(struct clt_control *cc, const char *name)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < cc->snap->n_devices; i++) {
		const struct snap_device *d = &cc->snap->devices[i];
		json_t *text = control_text(d->name);

		if (!name || !strcmp(name, json_string_value(text)))
			json_array_append_new(list, device_json(cc, d));
		json_decref(text);
	}
	return list;
}

void
clt_device_list(void *user, struct control_call *call)
{
	struct clt_control *cc = user;

	if (snap_take(cc, call))
		control_reply(call,
			      devices_json(cc, control_string(call, "device")));
}

/* -------------------------------------------------------------- session */

static json_t *
session_json(struct clt_control *cc)
{
	const struct snap *s = cc->snap;
	struct rtrs_clt_stats sum = {0};
	json_t *paths = json_array(), *obj;
	char uu[RTRS_MAX_PATHS + 1];
	unsigned up = 0;

	for (unsigned i = 0; i < s->n_paths; i++) {
		const struct rtrs_clt_path_info *info = &s->paths[i].info;
		bool is_up = info->state == RTRS_CLT_CONNECTED;

		uu[i] = is_up ? 'U' : '_';
		up += is_up;
		sum.rd_cnt += info->stats.rd_cnt;
		sum.rd_bytes += info->stats.rd_bytes;
		sum.wr_cnt += info->stats.wr_cnt;
		sum.wr_bytes += info->stats.wr_bytes;
		sum.inflight += info->stats.inflight;
		sum.failovers += info->stats.failovers;
		json_array_append_new(paths, path_json(cc, &s->paths[i]));
	}
	uu[s->n_paths] = '\0';
	obj = json_pack("{s:o, s:s, s:i, s:i, s:s, s:i, s:s, s:s, s:o, s:i, "
			"s:i, s:i, s:o}",
			"sessname", control_text(cc->p.sessname), "state",
			s->up       ? "connected"
			: s->failed ? "failed"
				    : "disconnected",
			"path_cnt", (int)s->n_paths, "act_path_cnt", (int)up,
			"path_uu", uu, "devices", (int)s->n_devices,
			"direction", "outgoing", "mpath_policy",
			rtrs_mp_policy_name(s->policy), "why",
			control_text(s->why), "queue_depth",
			(int)s->queue_depth, "max_io_size", (int)s->max_io_size,
			"pid", (int)getpid(), "paths", paths);
	if (obj)
		json_object_update_new(
			obj,
			json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
				  "s:I}",
				  "rd_cnt", (json_int_t)sum.rd_cnt, "rd_bytes",
				  (json_int_t)sum.rd_bytes, "wr_cnt",
				  (json_int_t)sum.wr_cnt, "wr_bytes",
				  (json_int_t)sum.wr_bytes, "inflights",
				  (json_int_t)sum.inflight, "failovers",
				  (json_int_t)sum.failovers, "held",
				  (json_int_t)s->stats.held, "resent",
				  (json_int_t)s->stats.resent, "timeouts",
				  (json_int_t)s->stats.timeouts));
	return obj;
}

void
clt_session_list(void *user, struct control_call *call)
{
	struct clt_control *cc = user;

	if (snap_take(cc, call))
		control_reply(call, json_pack("[o]", session_json(cc)));
}

void
clt_session_show(void *user, struct control_call *call)
{
	struct clt_control *cc = user;
	const char *name = control_string(call, "session");
	json_t *obj;

	if (strcmp(name, cc->p.sessname)) {
		control_fail(call, CONTROL_NOT_FOUND,
			     "there is no session '%s'; this client's is '%s'",
			     name, cc->p.sessname);
		return;
	}
	if (!snap_take(cc, call))
		return;
	obj = session_json(cc);
	json_object_set_new(obj, "device_list", devices_json(cc, NULL));
	control_reply(call, obj);
}
