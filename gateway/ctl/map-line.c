/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/ctl/map.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "proto/rnbd-msg.h"
#include "proto/rtrs-msg.h"

static const char blanks[] = " \t\r\n";

/* What a file may hold; the kernel's own limit is a page. */
#define MAX_LINE 65536

__attribute__((format(printf, 2, 3))) static int
bad(char err[MAP_ERR_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, MAP_ERR_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int
no_memory(char err[MAP_ERR_MAX])
{
	bad(err, "out of memory");
	return -ENOMEM;
}

void
map_line_deinit(struct map_line *line)
{
	free(line->sessname);
	free(line->device_path);
	for (unsigned i = 0; i < line->n_params; i++)
		free(line->params[i]);
	free(line->params);
	*line = (struct map_line){0};
}

/* ------------------------------------------------- options */

static int
set_sessname(struct map_line *l, const char *value, char err[MAP_ERR_MAX])
{
	if (l->sessname)
		return bad(err, "sessname= is given twice");
	if (rtrs_sess_name_check(value))
		return bad(err,
			   "sessname=%.100s: a session name has 1 to %d "
			   "characters, and neither '/' nor '.'",
			   value, RTRS_NAME_LEN - 1);
	l->sessname = strdup(value);
	return l->sessname ? 0 : no_memory(err);
}

static int
set_device_path(struct map_line *l, const char *value, char err[MAP_ERR_MAX])
{
	if (l->device_path)
		return bad(err, "device_path= is given twice: one line maps "
				"one device");
	if (strlen(value) >= RNBD_NAME_LEN)
		return bad(err, "device_path=%.100s...: at most %d bytes",
			   value, RNBD_NAME_LEN - 1);
	l->device_path = strdup(value);
	return l->device_path ? 0 : no_memory(err);
}

static int
set_access_mode(struct map_line *l, const char *value, char err[MAP_ERR_MAX])
{
	int mode = rnbd_access_mode_parse(value);

	if (l->access_mode)
		return bad(err, "access_mode= is given twice");
	if (mode < 0)
		return bad(err, "access_mode=%.100s: give ro, rw or migration",
			   value);
	l->access_mode = rnbd_access_mode_name((unsigned)mode);
	return 0;
}

static const struct {
	const char *key;
	int (*set)(struct map_line *l, const char *value,
		   char err[MAP_ERR_MAX]);
} keys[] = {
	{"sessname", set_sessname},
	{"device_path", set_device_path},
	{"access_mode", set_access_mode},
};

/* How nbdkit is told what this line says otherwise. */
static const char *const own[] = {"exports", "export_root", "export_allow",
				  "export_modes", "control"};

/* Anything else is the session's, and the plugin knows whether it is right. */
static int
add_param(struct map_line *l, const char *key, const char *value,
	  char err[MAP_ERR_MAX])
{
	char **grown = reallocarray(l->params, l->n_params + 1, sizeof(*grown));

	if (!grown)
		return no_memory(err);
	l->params = grown;
	if (asprintf(&l->params[l->n_params], "%s=%s", key, value) < 0)
		return no_memory(err);
	l->n_params++;
	if (!strcmp(key, "path"))
		l->n_paths++;
	return 0;
}

static int
add_option(struct map_line *l, char *word, char err[MAP_ERR_MAX])
{
	char *value = strchr(word, '=');
	const char *key = word;

	if (!value)
		return bad(err,
			   "'%.100s': an option is KEY=VALUE, as in path=ADDR",
			   word);
	*value++ = '\0';
	/* As the plugin and nbdkit do. */
	for (char *p = word; *p; p++)
		if (*p == '-')
			*p = '_';
	if (!*key || *key == '_' ||
	    key[strspn(key, "abcdefghijklmnopqrstuvwxyz_")])
		return bad(err, "'%.100s=' is no option", key);
	if (!*value)
		return bad(err, "%.100s=: the value is missing", key);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!strcmp(keys[i].key, key))
			return keys[i].set(l, value, err);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (!strcmp(own[i], key))
			return bad(err,
				   "%s= is of nbdkit's own use: a map has "
				   "sessname=, path=, device_path=, "
				   "access_mode= and what is of the session",
				   key);
	return add_param(l, key, value, err);
}

/* What is mapped is told in JSON. */
static bool
is_utf8(const char *text)
{
	json_t *v = json_string(text);

	json_decref(v);
	return v;
}

static int
check(struct map_line *l, char err[MAP_ERR_MAX])
{
	if (!l->sessname)
		return bad(err, "sessname=NAME is missing");
	if (!l->device_path)
		return bad(err, "device_path=NAME is missing");
	if (!l->access_mode)
		l->access_mode = rnbd_access_mode_name(RNBD_ACCESS_RW);
	return 0;
}

int
map_line_parse(const char *text, struct map_line *ret, char err[MAP_ERR_MAX])
{
	cleanup_free char *copy = strdup(text);
	struct map_line l = {0};
	char *rest = NULL;
	int r = copy ? 0 : no_memory(err);

	if (!r && !is_utf8(text))
		r = bad(err, "this is not UTF-8");
	for (char *word = !r ? strtok_r(copy, blanks, &rest) : NULL; word && !r;
	     word = strtok_r(NULL, blanks, &rest))
		r = add_option(&l, word, err);
	if (!r)
		r = check(&l, err);
	if (r)
		map_line_deinit(&l);
	*ret = l;
	return r;
}

/* ------------------------------------------------- files */

static void
drop_comments(char *text)
{
	char *to = text;
	bool comment = false, begin = true;

	for (const char *p = text; *p; p++) {
		if (begin && *p == '#')
			comment = true;
		if (*p == '\n') {
			comment = false;
			begin = true;
		} else if (!strchr(blanks, *p)) {
			begin = false;
		}
		if (!comment)
			*to++ = *p;
	}
	*to = '\0';
}

int
map_line_read(const char *file, struct map_line *ret, char err[MAP_ERR_MAX])
{
	cleanup_free char *text = malloc(MAX_LINE + 1);
	FILE *f = text ? fopen(file, "re") : NULL;
	char why[MAP_ERR_MAX];
	size_t n;
	int r;

	*ret = (struct map_line){0};
	if (!text)
		return no_memory(err);
	if (!f) {
		r = -errno;
		bad(err, "%s: %s", file, strerror(errno));
		return r;
	}
	n = fread(text, 1, MAX_LINE + 1, f);
	r = ferror(f) ? -EIO : 0;
	(void)fclose(f); /* nothing was written */
	if (r) {
		bad(err, "%s: cannot be read", file);
		return r;
	}
	if (n > MAX_LINE || memchr(text, '\0', n))
		return bad(err, "%s: this is not a file of a map", file);
	text[n] = '\0';
	drop_comments(text);
	r = map_line_parse(text, ret, why);
	if (r)
		snprintf(err, MAP_ERR_MAX, "%.200s: %.300s", file, why);
	return r;
}
