/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/ctl/client.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

static const char *
client_dir(void)
{
	const char *dir = getenv("RNBD_CLIENT_DIR");

	return dir && *dir ? dir : CTL_CLIENT_DIR;
}

const char *
client_session(const struct client *c)
{
	return json_str(c->version, "sessname");
}

static void
client_deinit(struct client *c)
{
	rpc_close(c->rpc);
	free(c->path);
	json_decref(c->version);
}

void
clients_close(struct clients *all)
{
	for (unsigned i = 0; i < all->n; i++)
		client_deinit(&all->list[i]);
	free(all->list);
	*all = (struct clients){0};
}

/* One more that answers. Steals path and rpc. */
static int
add(struct clients *all, char *path, struct rpc *rpc, const char *session)
{
	struct client c = {.rpc = rpc, .path = path}, *grown;
	bool left = false;
	int r = rpc_call_unless_left(rpc, "version", NULL, &c.version,
				     all->found ? &left : NULL);

	if (!r && !all->found && rpc_is_server(c.version))
		r = ctl_fail(CTL_USAGE,
			     "%s: rnbd-gatewayd answers there, and no client; "
			     "for its side leave out the word `client`",
			     path);
	if (left || (!r && session && strcmp(client_session(&c), session))) {
		client_deinit(&c);
		return CTL_OK;
	}
	grown = r ? NULL
		  : reallocarray(all->list, all->n + 1, sizeof(*all->list));
	if (!grown) {
		client_deinit(&c);
		return r ? r : ctl_fail(CTL_REFUSED, "out of memory");
	}
	all->list = grown;
	all->list[all->n++] = c;
	return CTL_OK;
}

static int
is_socket_name(const struct dirent *d)
{
	size_t len = strlen(d->d_name);

	return len > 4 && *d->d_name != '.' &&
	       !strcmp(d->d_name + len - 4, ".ctl");
}

/* Whoever does not answer any more is passed over. */
static int
add_all(struct clients *all, const char *session, unsigned *ret_denied)
{
	struct dirent **names = NULL;
	int n = scandir(client_dir(), &names, is_socket_name, alphasort);
	int r = CTL_OK;

	if (n < 0 && errno == EACCES)
		++*ret_denied;
	for (int i = 0; i < n; i++) {
		struct rpc *rpc;
		char *path = NULL;
		int err = 0;

		if (!r && asprintf(&path, "%s/%s", client_dir(),
				   names[i]->d_name) >= 0)
			err = rpc_connect(path, &rpc);
		if (err == -EACCES)
			++*ret_denied;
		if (path && !err)
			r = add(all, path, rpc, session);
		else
			free(path);
		free(names[i]);
	}
	free(names);
	return r;
}

static int
none(const struct ctl *ctl, const char *session, unsigned denied)
{
	if (session)
		return ctl_fail(CTL_NOT_FOUND,
				"there is no session '%s' of a client that "
				"answers in %s",
				session,
				ctl->socket ? ctl->socket : client_dir());
	if (denied)
		return ctl_fail(CTL_PERMISSION,
				"%s: Permission denied; root, the client's "
				"user and the socket's group may use it",
				client_dir());
	return ctl_fail(CTL_UNREACHABLE,
			"%s: no client answers there; start nbdkit's plugin "
			"rnbd with control=%s/NAME.ctl, or name its socket by "
			"--socket",
			client_dir(), client_dir());
}

/* none_said: that there is none is an error, and said. */
static int
look(const struct ctl *ctl, const char *session, bool none_said,
     struct clients *ret)
{
	struct clients all = {.found = !ctl->socket};
	unsigned denied = 0;
	struct rpc *rpc;
	int r;

	if (ctl->socket) {
		char *path = strdup(ctl->socket);

		r = rpc_open(ctl, &rpc);
		if (r || !path)
			free(path);
		if (!r && path)
			r = add(&all, path, rpc, session);
	} else {
		r = add_all(&all, session, &denied);
	}
	if (!r && !all.n && none_said)
		r = none(ctl, session, denied);
	if (r) {
		clients_close(&all);
		return r;
	}
	/* A session that was named is missed, now that it is known. */
	all.found &= !session;
	*ret = all;
	return CTL_OK;
}

int
clients_open(const struct ctl *ctl, const char *session, struct clients *ret)
{
	return look(ctl, session, true, ret);
}

int
clients_open_any(const struct ctl *ctl, const char *session,
		 struct clients *ret)
{
	return look(ctl, session, false, ret);
}

int
clients_open_one(const struct ctl *ctl, const char *session,
		 struct clients *ret)
{
	struct clients all;
	int r = clients_open(ctl, session, &all);

	if (!r && all.n > 1) {
		r = ctl_fail(CTL_USAGE,
			     "%u clients answer in %s: name the session (%s, "
			     "%s, ...), or a socket by --socket",
			     all.n, client_dir(), client_session(&all.list[0]),
			     client_session(&all.list[1]));
		clients_close(&all);
	}
	if (!r)
		*ret = all;
	return r;
}

int
clients_ask(struct clients *all, const char *method, json_t *params,
	    json_t **ret)
{
	json_t *rows = json_array();
	int r = CTL_OK;

	for (unsigned i = 0; i < all->n && !r; i++) {
		json_t *part = NULL;
		bool left = false;

		r = rpc_call_unless_left(all->list[i].rpc, method,
					 json_incref(params), &part,
					 all->found ? &left : NULL);
		if (left)
			r = CTL_OK;
		else if (!r)
			json_array_extend(rows, part);
		json_decref(part);
	}
	clients_close(all);
	json_decref(params);
	if (r)
		json_decref(rows);
	else
		*ret = rows;
	return r;
}

int
clients_rows(const struct ctl *ctl, const char *session, const char *method,
	     json_t *params, json_t **ret)
{
	struct clients all;
	int r = clients_open(ctl, session, &all);

	if (r)
		json_decref(params);
	else
		r = clients_ask(&all, method, params, ret);
	return r;
}
