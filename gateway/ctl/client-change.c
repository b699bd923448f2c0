/* SPDX-License-Identifier: BSD-3-Clause */
/* What clients are told to do. */
#include <inttypes.h>
#include <string.h>

#include "gateway/ctl/client.h"

/* The one row that method answers with for a name, and whose it is. */
struct target {
	struct clients all;
	struct client *client;
	json_t *row;
};

static void
target_deinit(struct target *t)
{
	json_decref(t->row);
	clients_close(&t->all);
}

static int
ambiguous(const char *noun, const char *name, const struct target *t,
	  const struct client *other)
{
	if (t->client == other)
		return ctl_fail(CTL_USAGE,
				"%s '%s' is more than one of session '%s': "
				"name it by its id, see `path list id,route`",
				noun, name, client_session(other));
	return ctl_fail(CTL_USAGE,
			"%s '%s' is there in several sessions: name the "
			"session (%s, %s, ...)",
			noun, name, client_session(t->client),
			client_session(other));
}

static int
find_in(struct client *c, const char *noun, const char *name, struct target *t)
{
	char method[32];
	json_t *rows, *row;
	size_t i;
	int r;

	snprintf(method, sizeof(method), "%s.list", noun);
	r = rpc_call(c->rpc, method, json_pack("{s:s}", noun, name), &rows);
	if (r)
		return r;
	json_array_foreach(rows, i, row) {
		if (t->client) {
			r = ambiguous(noun, name, t, c);
			break;
		}
		t->client = c;
		t->row = json_incref(row);
	}
	json_decref(rows);
	return r;
}

/* *t is to be given back whatever comes of it. */
static int
find(const struct ctl *ctl, const char *noun, char **args, unsigned n,
     struct target *t)
{
	const char *session = n > 1 ? args[1] : NULL;
	int r;

	*t = (struct target){0};
	r = clients_open(ctl, session, &t->all);
	for (unsigned i = 0; i < t->all.n && !r; i++)
		r = find_in(&t->all.list[i], noun, args[0], t);
	if (!r && !t->client)
		r = ctl_fail(CTL_NOT_FOUND, "there is no %s '%s'%s%s%s", noun,
			     args[0], session ? " of a session '" : "",
			     session ? session : "", session ? "'" : "");
	return r;
}

/* ---------------------------------------------------------------- paths */

static int
path_command(const struct ctl *ctl, char **args, unsigned n, const char *method,
	     const char *done)
{
	char id[32];
	struct target t;
	json_t *res;
	int r = find(ctl, "path", args, n, &t);

	if (!r) {
		snprintf(id, sizeof(id), "%" PRId64,
			 (int64_t)json_num(t.row, "id"));
		r = rpc_call(t.client->rpc, method,
			     json_pack("{s:s}", "path", id), &res);
	}
	if (!r) {
		ctl_say(ctl, "path %s of session %s: %s",
			json_str(t.row, "pathname"), client_session(t.client),
			done);
		json_decref(res);
	}
	target_deinit(&t);
	return r ? r : ctl_flush();
}

int
client_path_remove(const struct ctl *ctl, char **args, unsigned n)
{
	return path_command(ctl, args, n, "path.remove", "removed");
}

int
client_path_disconnect(const struct ctl *ctl, char **args, unsigned n)
{
	return path_command(ctl, args, n, "path.disconnect", "disconnected");
}

int
client_path_reconnect(const struct ctl *ctl, char **args, unsigned n)
{
	return path_command(ctl, args, n, "path.reconnect", "connected");
}

/* Of the one client, or that of a session: method. */
static int
tell_one(const struct ctl *ctl, const char *session, const char *method,
	 json_t *params, char **ret_session, json_t **ret)
{
	struct clients all;
	int r = clients_open_one(ctl, session, &all);

	if (r) {
		json_decref(params);
		return r;
	}
	r = rpc_call(all.list[0].rpc, method, params, ret);
	if (!r && ret_session)
		*ret_session = strdup(client_session(&all.list[0]));
	clients_close(&all);
	return r;
}

int
client_path_add(const struct ctl *ctl, char **args, unsigned n)
{
	cleanup_free char *session = NULL;
	json_t *res;
	int r = tell_one(ctl, n > 1 ? args[1] : NULL, "path.add",
			 json_pack("{s:s}", "path", args[0]), &session, &res);

	if (r)
		return r;
	ctl_say(ctl, "path %s of session %s: connected", args[0],
		session ? session : "?");
	json_decref(res);
	return ctl_flush();
}

/* --------------------------------------------------------------- policy */

int
client_session_policy(const struct ctl *ctl, char **args, unsigned n)
{
	json_t *res;
	int r = tell_one(ctl, args[0],
			 n > 1 ? "session.policy.set" : "session.policy",
			 n > 1 ? json_pack("{s:s}", "policy", args[1]) : NULL,
			 NULL, &res);

	if (r)
		return r;
	if (n > 1)
		ctl_say(ctl, "session %s: %s", args[0],
			json_str(res, "policy"));
	else
		puts(json_str(res, "policy"));
	json_decref(res);
	return ctl_flush();
}

/* -------------------------------------------------------------- devices */

static int
device_command(const struct ctl *ctl, char **args, unsigned n,
	       const char *method)
{
	struct target t;
	char size[32];
	json_t *res;
	int r = find(ctl, "device", args, n, &t);

	if (!r)
		r = rpc_call(t.client->rpc, method,
			     json_pack("{s:s}", "device", args[0]), &res);
	if (!r) {
		ctl_say(ctl,
			"device %s of session %s: %s, for NBD clients that "
			"come from now on",
			args[0], client_session(t.client),
			bytes_text(json_num(res, "size_bytes"), 0, size,
				   sizeof(size)));
		json_decref(res);
	}
	target_deinit(&t);
	return r ? r : ctl_flush();
}

int
client_device_resize(const struct ctl *ctl, char **args, unsigned n)
{
	return device_command(ctl, args, n, "device.resize");
}

int
client_device_remap(const struct ctl *ctl, char **args, unsigned n)
{
	return device_command(ctl, args, n, "device.remap");
}

/* -------------------------------------------------------------- numbers */

int
client_stats_reset(const struct ctl *ctl, char **args, unsigned n)
{
	struct clients all;
	int r = clients_open(ctl, n ? args[0] : NULL, &all);

	if (r)
		return r;
	for (unsigned i = 0; i < all.n && !r; i++) {
		json_t *res;

		r = rpc_call(all.list[i].rpc, "stats.reset", NULL, &res);
		if (r)
			break;
		ctl_say(ctl, "session %s: the sums and %d paths begin at zero",
			client_session(&all.list[i]),
			(int)json_num(res, "paths"));
		json_decref(res);
	}
	clients_close(&all);
	return r ? r : ctl_flush();
}

int
client_metrics(const struct ctl *ctl, char **args, unsigned n)
{
	json_t *res;
	/* Two pages are no page: each family may be there once. */
	int r = tell_one(ctl, n ? args[0] : NULL, "metrics", NULL, NULL, &res);

	if (r)
		return r;
	fputs(json_str(res, "text"), stdout);
	json_decref(res);
	return ctl_flush();
}
