/* SPDX-License-Identifier: BSD-3-Clause */
/* What clients have: lists, and one of a list. */
#include "gateway/ctl/client.h"

static int
list(const struct ctl *ctl, const char *session, const char *method,
     const struct table *t, void (*tree)(const struct ctl *, json_t *))
{
	struct choice ch;
	char err[256];
	json_t *rows;
	int r;

	/* Wrong words are wrong whether or not a client answers. */
	if (!table_choose(t, ctl->fields, false, &ch, err, sizeof(err)))
		return ctl_fail(CTL_USAGE, "%s", err);
	r = clients_rows(ctl, session, method, NULL, &rows);
	if (r)
		return r;
	r = table_print(ctl, t, rows, tree);
	json_decref(rows);
	return r;
}

int
client_session_list(const struct ctl *ctl, char **args, unsigned n)
{
	return list(ctl, NULL, "session.list", &client_session_table,
		    ctl_paths_tree);
}

int
client_path_list(const struct ctl *ctl, char **args, unsigned n)
{
	return list(ctl, n ? args[0] : NULL, "path.list", &client_path_table,
		    NULL);
}

int
client_device_list(const struct ctl *ctl, char **args, unsigned n)
{
	return list(ctl, n ? args[0] : NULL, "device.list",
		    &client_device_table, NULL);
}

int
client_session_show(const struct ctl *ctl, char **args, unsigned n)
{
	struct clients all;
	json_t *sess = NULL;
	int r = clients_open_one(ctl, args[0], &all);

	if (r)
		return r;
	r = rpc_call(all.list[0].rpc, "session.show",
		     json_pack("{s:s}", "session", args[0]), &sess);
	clients_close(&all);
	if (r)
		return r;
	if (ctl->format == CTL_JSON && !ctl->fields)
		r = ctl_print_json(sess);
	else
		r = table_show(ctl, &client_session_table, sess);
	if (!r && ctl->format == CTL_TABLE && !ctl->fields) {
		r = ctl_part(ctl, sess, "paths", &client_path_table);
		if (!r)
			r = ctl_part(ctl, sess, "device_list",
				     &client_device_table);
	}
	json_decref(sess);
	return r;
}

static int
show(const struct ctl *ctl, const char *method, const struct table *t,
     char **args, unsigned n)
{
	const char *session = n > 1 ? args[1] : NULL;
	json_t *rows;
	int r = clients_rows(ctl, session, method,
			     json_pack("{s:s}", t->noun, args[0]), &rows);

	if (r)
		return r;
	r = ctl_show_rows(ctl, t, rows, args[0], session);
	json_decref(rows);
	return r;
}

int
client_path_show(const struct ctl *ctl, char **args, unsigned n)
{
	return show(ctl, "path.list", &client_path_table, args, n);
}

int
client_device_show(const struct ctl *ctl, char **args, unsigned n)
{
	return show(ctl, "device.list", &client_device_table, args, n);
}
