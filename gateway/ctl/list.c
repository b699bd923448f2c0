/* SPDX-License-Identifier: BSD-3-Clause */
/* What there is: lists, and one of a list. */
#include "gateway/ctl/ctl.h"

/* {key: value}; NULL: none. */
static json_t *
filter(const char *key, const char *value, const char *key2, const char *value2)
{
	if (!value && !value2)
		return NULL;
	return json_pack("{s:s*, s:s*}", key, value, key2, value2);
}

static int
list(const struct ctl *ctl, const char *method, json_t *params,
     const struct table *t, void (*tree)(const struct ctl *, json_t *))
{
	struct choice ch;
	char err[256];
	json_t *rows;
	int r;

	/* Wrong words are wrong whether or not a daemon answers. */
	if (!table_choose(t, ctl->fields, false, &ch, err, sizeof(err))) {
		json_decref(params);
		return ctl_fail(CTL_USAGE, "%s", err);
	}
	r = ctl_call(ctl, method, params, &rows);
	if (r)
		return r;
	r = table_print(ctl, t, rows, tree);
	json_decref(rows);
	return r;
}

void
ctl_paths_tree(const struct ctl *ctl, json_t *sess)
{
	json_t *path;
	size_t i;

	json_array_foreach(json_object_get(sess, "paths"), i, path) {
		fputs("  ", stdout);
		print_text(json_str(path, "pathname"));
		putchar(' ');
		print_text(json_str(path, "state"));
		if (*json_str(path, "hca_name")) {
			putchar(' ');
			print_text(json_str(path, "hca_name"));
			printf(":%d", (int)json_num(path, "hca_port"));
		}
		putchar('\n');
	}
}

int
cmd_session_list(const struct ctl *ctl, char **args, unsigned n)
{
	return list(ctl, "session.list", NULL, &session_table, ctl_paths_tree);
}

int
cmd_device_list(const struct ctl *ctl, char **args, unsigned n)
{
	return list(ctl, "device.list",
		    filter("session", n ? args[0] : NULL, "device", NULL),
		    &device_table, NULL);
}

int
cmd_path_list(const struct ctl *ctl, char **args, unsigned n)
{
	return list(ctl, "path.list",
		    filter("session", n ? args[0] : NULL, "path", NULL),
		    &path_table, NULL);
}

int
cmd_export_list(const struct ctl *ctl, char **args, unsigned n)
{
	return list(ctl, "export.list", NULL, &export_table, NULL);
}

int
ctl_part(const struct ctl *ctl, json_t *sess, const char *key,
	 const struct table *t)
{
	struct ctl plain = *ctl;
	json_t *rows = json_object_get(sess, key);

	plain.fields = NULL;
	if (!json_array_size(rows))
		return CTL_OK;
	putchar('\n');
	return table_print(&plain, t, rows, NULL);
}

int
cmd_session_show(const struct ctl *ctl, char **args, unsigned n)
{
	json_t *sess;
	int r = ctl_call(ctl, "session.show",
			 json_pack("{s:s}", "session", args[0]), &sess);

	if (r)
		return r;
	if (ctl->format == CTL_JSON && !ctl->fields)
		r = ctl_print_json(sess);
	else
		r = table_show(ctl, &session_table, sess);
	if (!r && ctl->format == CTL_TABLE && !ctl->fields) {
		r = ctl_part(ctl, sess, "paths", &path_table);
		if (!r)
			r = ctl_part(ctl, sess, "device_list", &device_table);
	}
	json_decref(sess);
	return r;
}

int
ctl_show_rows(const struct ctl *ctl, const struct table *t, json_t *rows,
	      const char *name, const char *sess)
{
	json_t *row;
	size_t i;
	int r = CTL_OK;

	if (!json_array_size(rows))
		r = ctl_fail(CTL_NOT_FOUND, "there is no %s '%s'%s%s%s",
			     t->noun, name, sess ? " of a session '" : "",
			     sess ? sess : "", sess ? "'" : "");
	else if (ctl->format != CTL_TABLE)
		r = table_print(ctl, t, rows, NULL);
	else
		json_array_foreach(rows, i, row) {
			if (i)
				putchar('\n');
			r = table_show(ctl, t, row);
			if (r)
				break;
		}
	return r;
}

static int
show(const struct ctl *ctl, const char *method, const struct table *t,
     const char *name, const char *sess)
{
	json_t *rows;
	int r = ctl_call(ctl, method, filter(t->noun, name, "session", sess),
			 &rows);

	if (r)
		return r;
	r = ctl_show_rows(ctl, t, rows, name, sess);
	json_decref(rows);
	return r;
}

int
cmd_device_show(const struct ctl *ctl, char **args, unsigned n)
{
	return show(ctl, "device.list", &device_table, args[0],
		    n > 1 ? args[1] : NULL);
}

int
cmd_path_show(const struct ctl *ctl, char **args, unsigned n)
{
	return show(ctl, "path.list", &path_table, args[0],
		    n > 1 ? args[1] : NULL);
}
