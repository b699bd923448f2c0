/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Disconnecting, as by the kernel's sysfs: a path is closed without waiting for
 * its requests, and a client that wants it back connects again by itself.
 */
#include "gateway/control-env.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What to close: read on the workers' threads. */
struct target {
	char sess[4 * RTRS_NAME_LEN]; /* as control_text() has it; "": any */
	char path[SNAP_PATHNAME_MAX]; /* "": any */
};

bool
control_name_is(const char *raw, const char *shown)
{
	json_t *text;
	bool same;

	if (!strcmp(raw, shown))
		return true;
	/* Only what is not UTF-8 is shown as something else. */
	if (!strstr(shown, "\\x"))
		return false;
	text = control_text(raw);
	same = text && !strcmp(json_string_value(text), shown);
	json_decref(text);
	return same;
}

bool
control_path_is(const struct rtrs_srv_path_info *info, const char *name)
{
	char text[SNAP_PATHNAME_MAX];

	snapshot_pathname(info, text);
	if (!strcmp(text, name))
		return true;
	rtrs_addr_host_text(info->fabric, &info->addrs.peer, text);
	if (!strcmp(text, name))
		return true;
	(void)rtrs_addr_text(info->fabric, &info->addrs.peer, text);
	return !strcmp(text, name);
}

static bool
is_target(void *user, const struct rtrs_srv_path_info *info)
{
	const struct target *t = user;

	return (!*t->sess || control_name_is(info->sess_name, t->sess)) &&
	       (!*t->path || control_path_is(info, t->path));
}

/* Copies; false: longer than any name that there is. */
static bool
set_target(struct target *t, const char *sess, const char *path)
{
	size_t n = sizeof(t->sess), m = sizeof(t->path);

	return (size_t)snprintf(t->sess, n, "%s", sess ? sess : "") < n &&
	       (size_t)snprintf(t->path, m, "%s", path ? path : "") < m;
}

static void
close_work(struct gather_part *part)
{
	struct rtrs_srv *srv = gw_server_rtrs(worker_server(part->worker));

	part->count = rtrs_srv_close_paths(srv, is_target, part->gather->arg);
}

static void
close_done(struct gather *g)
{
	const struct target *t = g->arg;
	unsigned n = gather_count(g);

	if (n)
		control_reply(g->call, json_pack("{s:i}", "paths", (int)n));
	else if (*t->path)
		control_fail(g->call, CONTROL_NOT_FOUND,
			     "there is no path '%s'%s%s%s", t->path,
			     *t->sess ? " of a session '" : "", t->sess,
			     *t->sess ? "'" : "");
	else
		control_fail(g->call, CONTROL_NOT_FOUND,
			     "there is no session '%s'", t->sess);
}

void
control_session_close(void *user, struct control_call *call)
{
	const char *sess = control_string(call, "session");
	struct target *t = calloc(1, sizeof(*t));

	if (!t)
		control_reply(call, NULL);
	else if (!*sess || !set_target(t, sess, NULL))
		control_fail(call, CONTROL_NOT_FOUND,
			     "there is no session of such a name");
	else
		return gather_start(user, call, close_work, close_done, t);
	free(t);
}

/* Without a session, the path has to be that of one session only. */
static void
path_found(struct gather *g)
{
	struct target *t = g->arg;
	const char *sess = NULL;

	for (unsigned i = 0; i < g->n_parts; i++) {
		const struct snapshot *snap = &g->parts[i].snap;

		for (size_t k = 0; k < snap->n_paths; k++) {
			const struct snap_path *p = &snap->paths[k];

			if (p->info.state >= RTRS_SRV_CLOSING ||
			    !is_target(t, &p->info))
				continue;
			if (sess && strcmp(sess, p->sess_name)) {
				control_fail(g->call, CONTROL_REFUSED,
					     "path '%s' is one of session "
					     "'%s' and of session '%s': name "
					     "the session",
					     t->path, sess, p->sess_name);
				return;
			}
			sess = p->sess_name;
		}
	}
	g->arg = NULL; /* goes on with the second round */
	gather_start(g->env, g->call, close_work, close_done, t);
}

void
control_path_disconnect(void *user, struct control_call *call)
{
	const char *sess = control_string(call, "session");
	const char *path = control_string(call, "path");
	struct target *t = calloc(1, sizeof(*t));

	if (!t)
		control_reply(call, NULL);
	else if (!*path || !set_target(t, sess, path))
		control_fail(call, CONTROL_NOT_FOUND,
			     "there is no path of such a name");
	else if (*t->sess)
		return gather_start(user, call, close_work, close_done, t);
	else
		return gather_snapshots(user, call, 0, path_found, t);
	free(t);
}
