/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/ctl/map.h"

#include <string.h>

static int
join(char **args, unsigned n, char **ret)
{
	size_t len = 1, used = 0;

	for (unsigned i = 0; i < n; i++)
		len += strlen(args[i]) + 1;
	*ret = malloc(len);
	if (!*ret)
		return ctl_fail(CTL_REFUSED, "out of memory");
	**ret = '\0';
	for (unsigned i = 0; i < n; i++)
		used += (size_t)sprintf(*ret + used, "%s%s", i ? " " : "",
					args[i]);
	return CTL_OK;
}

/* The line, of a file or of what was said. */
static int
get_line(const struct ctl *ctl, const char *cmd, char **args, unsigned n,
	 struct map_line *ret)
{
	cleanup_free char *text = NULL;
	char err[MAP_ERR_MAX];
	int r;

	if (ctl->file && n)
		return ctl_fail(CTL_USAGE,
				"%s: '%s' is one word too many "
				"beside --file",
				cmd, args[0]);
	if (ctl->file) {
		r = map_line_read(ctl->file, ret, err);
	} else {
		r = join(args, n, &text);
		if (r)
			return r;
		r = map_line_parse(text, ret, err);
	}
	return r ? ctl_fail(CTL_USAGE, "%s: %s", cmd, err) : CTL_OK;
}

static struct map_dev *
find_dev(const struct map_sess *s, const char *device_path)
{
	for (unsigned i = 0; i < s->n_devs; i++)
		if (!strcmp(s->devs[i].device_path, device_path))
			return &s->devs[i];
	return NULL;
}

/* false: it was said why not. */
static bool
clean_up_session(const char *sessname)
{
	struct map_sess *s;
	bool done;

	/* Who is at work on one now will bring it to an end. */
	if (map_sess_open(sessname, false, &s))
		return false;
	done = !s || (!map_roll_back(s) && !map_unserve(s));
	map_sess_close(s);
	return done;
}

/*
 * What an rnbdctl that was killed has left, of any session but this one (NULL:
 * of any), which the caller looks after. What is stuck is no reason not to map
 * or unmap something else: it is said only.
 */
static int
clean_up(const char *but)
{
	json_t *names, *name;
	size_t i;
	int r = map_list_begun(&names);

	if (r)
		return r;
	json_array_foreach(names, i, name) {
		const char *sessname = json_string_value(name);

		if (but && !strcmp(sessname, but))
			continue;
		if (!clean_up_session(sessname))
			(void)ctl_fail(CTL_REFUSED,
				       "session '%s': what was begun there "
				       "cannot be taken back for now",
				       sessname);
	}
	json_decref(names);
	return CTL_OK;
}

/* ------------------------------------------------- map */

/*
 * What is mapped already: an error as of the kernel, but fine for who says what
 * has to be there. What is mapped no more is taken away; *index is where it
 * was.
 */
static int
judge_mapped(const struct ctl *ctl, struct map_sess *s, struct map_dev *dev,
	     const struct map_line *line, bool *done, int *index)
{
	enum map_dev_state state = map_dev_state(dev);

	*index = dev->index;
	if (state != MAP_DEV_MAPPED) {
		/* Its number is another's now. */
		if (state == MAP_DEV_DETACHED)
			*index = 0;
		return map_drop(s, dev, false);
	}
	*done = ctl->file && !strcmp(dev->access_mode, line->access_mode);
	if (*done)
		return CTL_OK;
	return ctl_fail(CTL_REFUSED,
			"'%s' of session '%s' is mapped already, %s as "
			"/dev/nbd%d",
			dev->device_path, s->sessname, dev->access_mode,
			dev->index);
}

static int
map_in(const struct ctl *ctl, struct map_sess *s, const struct map_line *line,
       int *ret)
{
	struct map_dev *dev;
	bool done = false;
	int index = 0, r = map_roll_back(s);

	/* An nbdkit that was left alone may have other parameters. */
	if (!r)
		r = map_unserve(s);
	dev = find_dev(s, line->device_path);
	if (!r && dev)
		r = judge_mapped(ctl, s, dev, line, &done, &index);
	if (!r && !done)
		r = map_serve(s, line);
	if (!r && !done)
		r = map_attach(s, line, index);
	dev = r ? NULL : find_dev(s, line->device_path);
	if (dev)
		*ret = dev->index;
	return r;
}

int
cmd_map(const struct ctl *ctl, char **args, unsigned n)
{
	struct map_sess *s = NULL;
	struct map_line line;
	int index = -1, r = get_line(ctl, "map", args, n, &line);

	if (r)
		return r;
	r = map_nbd_check();
	if (!r)
		r = clean_up(line.sessname);
	if (!r)
		r = map_sess_open(line.sessname, true, &s);
	if (!r)
		r = map_in(ctl, s, &line, &index);
	if (s && map_unserve(s) && !r)
		r = CTL_REFUSED;
	map_sess_close(s);
	map_line_deinit(&line);
	if (r)
		return r;
	printf("/dev/nbd%d\n", index);
	return ctl_flush();
}

/* ------------------------------------------------- unmap */

/* A number that was freed may be in several: that which has it now. */
static struct map_dev *
find_index(const struct map_sess *s, int index)
{
	struct map_dev *found = NULL;

	for (unsigned i = 0; i < s->n_devs; i++) {
		struct map_dev *dev = &s->devs[i];

		if (dev->index != index)
			continue;
		if (map_dev_state(dev) != MAP_DEV_DETACHED)
			return dev;
		found = dev;
	}
	return found;
}

/* By number if device_path is NULL. */
static struct map_dev *
find_asked(const struct map_sess *s, int index, const char *device_path)
{
	return device_path ? find_dev(s, device_path) : find_index(s, index);
}

/* As above. Steals s. */
static int
unmap_in(const struct ctl *ctl, struct map_sess *s, int index,
	 const char *device_path)
{
	struct map_dev *dev = find_asked(s, index, device_path);
	bool begun = dev && !dev->complete;
	int r;

	if (dev)
		index = dev->index;
	r = map_roll_back(s);
	dev = find_asked(s, index, device_path);
	/* Of what cannot be taken back it was said why. */
	if (dev && (dev->complete || ctl->force))
		r = map_drop(s, dev, ctl->force);
	if (dev || begun) {
		if (!r)
			ctl_say(ctl, "/dev/nbd%d is unmapped", index);
	} else if (ctl->file) {
		/* It says what should not be there, and it is not. */
		r = CTL_OK;
	} else {
		r = ctl_fail(CTL_NOT_FOUND, "session '%s' has %s%s mapped",
			     s->sessname, device_path ? "no " : "it no more",
			     device_path ? device_path : "");
	}
	if (map_unserve(s) && !r)
		r = CTL_REFUSED;
	map_sess_close(s);
	return r;
}

static int
unmap_line(const struct ctl *ctl, char **args, unsigned n)
{
	struct map_sess *s = NULL;
	struct map_line line;
	int r = get_line(ctl, "unmap", args, n, &line);

	if (r)
		return r;
	r = clean_up(line.sessname);
	if (!r)
		r = map_sess_open(line.sessname, true, &s);
	if (!r)
		r = unmap_in(ctl, s, -1, line.device_path);
	map_line_deinit(&line);
	return r;
}

int
cmd_unmap(const struct ctl *ctl, char **args, unsigned n)
{
	cleanup_free char *sessname = NULL;
	struct map_sess *s = NULL;
	int index, r;

	if (!n && !ctl->file)
		return ctl_fail(CTL_USAGE, "unmap: DEVICE is missing");
	r = map_check_root();
	if (r)
		return r;
	if (ctl->file || strchr(args[0], '='))
		return unmap_line(ctl, args, n);
	index = map_nbd_index(args[0]);
	if (index < 0 || n > 1)
		return ctl_fail(CTL_USAGE,
				"unmap: '%s': give one device, as in /dev/nbd0",
				args[n - 1]);
	r = map_find_session(index, &sessname);
	if (!r || r == CTL_NOT_FOUND)
		(void)clean_up(sessname);
	if (!r)
		r = map_sess_open(sessname, true, &s);
	return r ? r : unmap_in(ctl, s, index, NULL);
}

/* ------------------------------------------------- list */

int
cmd_map_list(const struct ctl *ctl, char **args, unsigned n)
{
	struct choice ch;
	char err[256];
	json_t *rows;
	int r;

	if (!table_choose(&map_table, ctl->fields, false, &ch, err,
			  sizeof(err)))
		return ctl_fail(CTL_USAGE, "%s", err);
	r = map_list(n ? args[0] : NULL, &rows);
	if (r)
		return r;
	r = table_print(ctl, &map_table, rows, NULL);
	json_decref(rows);
	return r;
}
