/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The exports: what there is, and changes that last until the next reload or
 * the end of the daemon. Files are opened on the control thread, which keeps
 * only those waiting who come or ask. Another server may be away: it is asked
 * on another thread, for as long as it takes.
 */
#include "gateway/control-env.h"

#include <errno.h>
#include <string.h>

static json_t *
item_json(const struct gw_exports_item *info)
{
	const struct gw_spec *spec = info->spec;

	return json_pack(
		"{s:o, s:o, s:b, s:I, s:i, s:b, s:I, s:I}", "name",
		control_text(spec->name), "spec", control_text(info->text),
		"read_only", (int)spec->read_only, "size_bytes",
		(json_int_t)info->size_bytes, "mappings", (int)info->mappings,
		"flush_failed", (int)info->flush_failed, "iops",
		(json_int_t)spec->iops, "bandwidth",
		(json_int_t)spec->bandwidth);
}

static void
add_item(void *user, const struct gw_exports_item *info)
{
	json_array_append_new(user, item_json(info));
}

void
control_export_list(void *user, struct control_call *call)
{
	struct control_env *env = user;
	json_t *list = json_array();

	gw_exports_for_each(env->exports, add_item, list);
	control_reply(call, list);
}

struct search {
	const char *name;
	json_t *found;
};

static void
look(void *user, const struct gw_exports_item *info)
{
	struct search *s = user;

	if (!s->found && control_name_is(info->spec->name, s->name))
		s->found = item_json(info);
}

/* NULL: there is none of that name. */
static json_t *
find_export(const struct control_env *env, const char *name)
{
	struct search s = {.name = name};

	gw_exports_for_each(env->exports, look, &s);
	return s.found;
}

/* ------------------------------------------------- after a change of them */

static void
recheck_work(struct gather_part *part)
{
	gw_server_recheck(worker_server(part->worker));
}

static void
recheck_done(struct gather *g)
{
	const char *name = control_string(g->call, "name");
	json_t *now = find_export(g->env, name);

	control_reply(g->call, now ? now : json_pack("{s:s}", "name", name));
}

/* Mappings take the change over, or are closed; then it is answered. */
static void
recheck(struct control_env *env, struct control_call *call)
{
	gather_start(env, call, recheck_work, recheck_done, NULL);
}

void
control_export_add(void *user, struct control_call *call)
{
	struct control_env *env = user;
	const char *spec = control_string(call, "spec");
	char text[GW_TEXT_MAX] = "", name[RNBD_NAME_LEN];
	size_t len = strcspn(spec, "=");
	json_t *now = NULL;
	int r = gw_exports_add_text(env->exports, spec, text);

	if (r == -ENOENT) {
		/* Its file, and not what the caller named. */
		control_fail(call, CONTROL_FAILED, "%s", text);
		return;
	}
	if (r < 0) {
		control_fail_errno(call, r, text);
		return;
	}
	if (len < sizeof(name)) {
		memcpy(name, spec, len);
		name[len] = '\0';
		now = find_export(env, name);
	}
	control_reply(call, now ? now : json_object());
}

void
control_export_remove(void *user, struct control_call *call)
{
	struct control_env *env = user;
	char text[GW_TEXT_MAX] = "";
	int r = gw_exports_remove(env->exports, control_string(call, "name"),
				  text);

	if (r < 0)
		control_fail_errno(call, r, text);
	else
		recheck(env, call);
}

/* A size as the user wrote it: 0, or -1 after it was answered. */
static int
get_size(struct control_call *call, const char *param, uint64_t *ret)
{
	const char *s = control_string(call, param);

	if (!s || !gw_size_parse(s, ret))
		return 0;
	control_fail(call, CONTROL_INVALID_PARAMS,
		     "%s '%.32s': give a number of bytes; K, M, G or T may "
		     "follow it",
		     param, s);
	return -1;
}

void
control_export_limits(void *user, struct control_call *call)
{
	struct control_env *env = user;
	const char *name = control_string(call, "name");
	json_t *now = find_export(env, name);
	uint64_t iops, bandwidth;
	char text[GW_TEXT_MAX] = "";
	int r;

	/* What is not named stays as it is. */
	iops = (uint64_t)control_integer(
		call, "iops", json_integer_value(json_object_get(now, "iops")));
	bandwidth =
		(uint64_t)json_integer_value(json_object_get(now, "bandwidth"));
	json_decref(now);
	if (get_size(call, "bandwidth", &bandwidth) < 0)
		return;
	r = gw_exports_set_limits(env->exports, name, iops, bandwidth, text);
	if (r < 0)
		control_fail_errno(call, r, text);
	else
		recheck(env, call);
}

/* Of an export that is on another server. */
struct remote_look {
	struct gw_look base;
	struct control_env *env;
	struct control_call *call;
};

static void
remote_look_done(struct gw_look *base)
{
	struct remote_look *l = container_of(base, struct remote_look, base);

	l->env->n_looks--;
	if (base->err < 0)
		control_fail_errno(l->call, base->err, base->err_text);
	else
		recheck(l->env, l->call);
	free(l);
}

static void
remote_look_start(struct control_env *env, struct control_call *call)
{
	struct remote_look *l = calloc(1, sizeof(*l));
	char text[GW_TEXT_MAX] = "";
	int r;

	if (!l) {
		control_reply(call, NULL);
		return;
	}
	*l = (struct remote_look){
		.base =
			{
				.exec = env->remote,
				.cancel_fd = env->cancel_fd,
				.done = remote_look_done,
			},
		.env = env,
		.call = call,
	};
	r = gw_exports_look(env->exports, control_string(call, "name"),
			    &l->base, text);
	if (r < 0) {
		free(l);
		control_fail_errno(call, r, text);
		return;
	}
	env->n_looks++;
}

void
control_export_resize(void *user, struct control_call *call)
{
	struct control_env *env = user;
	const char *name = control_string(call, "name");
	uint64_t want = 0, now;
	char text[GW_TEXT_MAX] = "";
	int r;

	if (get_size(call, "size", &want) < 0)
		return;
	if (control_has(call, "size") && !want) {
		control_fail(call, CONTROL_INVALID_PARAMS,
			     "size 0: an export cannot be empty");
		return;
	}
	if (!want && gw_exports_is_remote(env->exports, name)) {
		remote_look_start(env, call);
		return;
	}
	r = gw_exports_resize(env->exports, name, want, &now, text);
	if (r < 0)
		control_fail_errno(call, r, text);
	else
		recheck(env, call);
}

/* ------------------------------------------------------- force a mapping */

/* Read on the workers' threads. */
struct mapping {
	char sess[RTRS_NAME_LEN], dev[RNBD_NAME_LEN];
};

static void
close_work(struct gather_part *part)
{
	const struct mapping *m = part->gather->arg;

	if (!gw_server_close_device(worker_server(part->worker), m->sess,
				    m->dev))
		part->count = 1;
}

static void
close_done(struct gather *g)
{
	const struct mapping *m = g->arg;

	if (gather_count(g))
		control_reply(g->call,
			      json_pack("{s:o, s:o}", "sessname",
					control_text(m->sess), "mapping_path",
					control_text(m->dev)));
	else
		control_fail(g->call, CONTROL_NOT_FOUND,
			     "session '%s' has no device '%s' open any more",
			     m->sess, m->dev);
}

/* Names as they are shown to names as they are. */
static void
close_found(struct gather *g)
{
	const char *sess = control_string(g->call, "session");
	const char *name = control_string(g->call, "device");
	const struct snap_device *found = NULL;
	struct mapping *m;

	for (unsigned i = 0; i < g->n_parts; i++) {
		const struct snapshot *snap = &g->parts[i].snap;

		for (size_t k = 0; k < snap->n_devices; k++) {
			const struct snap_device *d = &snap->devices[k];

			if (!control_name_is(d->dev_name, name) ||
			    (sess && !control_name_is(d->sess_name, sess)))
				continue;
			if (found) {
				control_fail(g->call, CONTROL_REFUSED,
					     "device '%s' is open by session "
					     "'%s' and by session '%s': name "
					     "the session",
					     name, found->sess_name,
					     d->sess_name);
				return;
			}
			found = d;
		}
	}
	if (!found) {
		control_fail(g->call, CONTROL_NOT_FOUND,
			     "there is no open device '%s'%s%s%s", name,
			     sess ? " of a session '" : "", sess ? sess : "",
			     sess ? "'" : "");
		return;
	}
	m = calloc(1, sizeof(*m));
	if (!m) {
		control_reply(g->call, NULL);
		return;
	}
	memcpy(m->sess, found->sess_name, sizeof(m->sess));
	memcpy(m->dev, found->dev_name, sizeof(m->dev));
	gather_start(g->env, g->call, close_work, close_done, m);
}

void
control_device_close(void *user, struct control_call *call)
{
	gather_snapshots(user, call, 0, close_found, NULL);
}
