/* SPDX-License-Identifier: BSD-3-Clause */
/* What clients have: lists, and one of a list. */
#include "gateway/ctl/client.h"

#include <string.h>

#include "gateway/ctl/map.h"

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

/* Into the row of its device, or as a row of its own if no client has it. */
static void
join_map(json_t *rows, const json_t *map)
{
	const char *sessname = json_str(map, "sessname");
	const char *path = json_str(map, "mapping_path");
	const char *device = json_str(map, "device");
	json_t *row, *own;
	size_t i;

	json_array_foreach(rows, i, row) {
		const char *before = json_str(row, "nbd");

		if (strcmp(json_str(row, "sessname"), sessname) ||
		    strcmp(json_str(row, "mapping_path"), path))
			continue;
		json_object_set_new(row, "nbd",
				    json_sprintf("%s%s%s", before,
						 *before ? "," : "", device));
		return;
	}
	own = json_deep_copy(map);
	json_object_set_new(own, "nbd", json_string(device));
	json_object_del(own, "device");
	json_array_append_new(rows, own);
}

/* Devices of clients, and what `rnbdctl map` attached here: a map whose client
 * has ended is still one. */
int
client_device_list(const struct ctl *ctl, char **args, unsigned n)
{
	const char *session = n ? args[0] : NULL;
	json_t *rows = NULL, *maps, *map;
	struct clients all;
	struct choice ch;
	char err[256];
	size_t i;
	int r;

	if (ctl->socket)
		return list(ctl, session, "device.list", &client_device_table,
			    NULL);
	if (!table_choose(&client_device_table, ctl->fields, false, &ch, err,
			  sizeof(err)))
		return ctl_fail(CTL_USAGE, "%s", err);
	r = map_list(session, &maps);
	if (r)
		return r;
	/* That no client answers is no error if there is something to tell. */
	if (json_array_size(maps))
		r = clients_open_any(ctl, session, &all);
	else
		r = clients_open(ctl, session, &all);
	if (!r)
		r = clients_ask(&all, "device.list", NULL, &rows);
	if (!r) {
		json_array_foreach(maps, i, map) {
			join_map(rows, map);
		}
		r = table_print(ctl, &client_device_table, rows, NULL);
	}
	json_decref(maps);
	json_decref(rows);
	return r;
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
