/* SPDX-License-Identifier: BSD-3-Clause */
/* What is mapped, of all sessions; looked at without their locks. */
#include "gateway/ctl/map.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

/* The states of all sessions, one after the other. */
static int
each(void (*fn)(void *arg, const struct map_sess *s), void *arg)
{
	int fd, r = map_dir_open(false, &fd);
	const struct dirent *e;
	DIR *dir;

	if (r || fd < 0)
		return r;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return ctl_fail(CTL_REFUSED, "out of memory");
	}
	while ((e = readdir(dir))) {
		size_t len = strlen(e->d_name);
		struct map_sess s = {0};

		if (len > 5 && !strcmp(e->d_name + len - 5, ".json") &&
		    map_sess_load(fd, e->d_name, &s))
			fn(arg, &s);
		map_sess_deinit(&s);
	}
	closedir(dir);
	return CTL_OK;
}

struct rows {
	const char *sessname; /* NULL: of all */
	json_t *list;
};

static void
add_rows(void *arg, const struct map_sess *s)
{
	const struct rows *rows = arg;

	if (rows->sessname && strcmp(s->sessname, rows->sessname))
		return;
	for (unsigned i = 0; i < s->n_devs; i++) {
		const struct map_dev *d = &s->devs[i];
		enum map_dev_state state = map_dev_state(d);
		bool ours = state != MAP_DEV_DETACHED;
		char name[32];

		snprintf(name, sizeof(name), "/dev/nbd%d", d->index);
		json_array_append_new(
			rows->list,
			json_pack(
				"{s:s, s:s, s:s, s:s, s:I, s:s, s:I}", "device",
				name, "sessname", s->sessname, "mapping_path",
				d->device_path, "access_mode", d->access_mode,
				"size_bytes",
				(json_int_t)(ours ? map_nbd_size(d->index) : 0),
				"state", map_dev_state_name(state), "pid",
				(json_int_t)d->nbdkit.pid));
	}
}

int
map_list(const char *sessname, json_t **ret)
{
	struct rows rows = {sessname, json_array()};
	int r = each(add_rows, &rows);

	if (r)
		json_decref(rows.list);
	else
		*ret = rows.list;
	return r;
}

static void
add_begun(void *arg, const struct map_sess *s)
{
	json_t *names = arg;
	bool begun = !s->n_devs;

	for (unsigned i = 0; i < s->n_devs; i++)
		begun = begun || !s->devs[i].complete;
	if (begun)
		json_array_append_new(names, json_string(s->sessname));
}

int
map_list_begun(json_t **ret)
{
	json_t *names = json_array();
	int r = each(add_begun, names);

	if (r)
		json_decref(names);
	else
		*ret = names;
	return r;
}

struct search {
	int index;
	bool sure;
	char *sessname;
};

static void
look_for(void *arg, const struct map_sess *s)
{
	struct search *search = arg;

	for (unsigned i = 0; i < s->n_devs && !search->sure; i++) {
		const struct map_dev *d = &s->devs[i];

		if (d->index != search->index)
			continue;
		/* A number that was freed may be in several. */
		search->sure = map_dev_state(d) != MAP_DEV_DETACHED;
		free(search->sessname);
		search->sessname = strdup(s->sessname);
	}
}

int
map_find_session(int index, char **ret)
{
	struct search search = {.index = index};
	int r = each(look_for, &search);

	*ret = search.sessname;
	if (!r && !*ret)
		r = ctl_fail(CTL_NOT_FOUND,
			     "/dev/nbd%d is not mapped; see `rnbdctl client "
			     "map list`",
			     index);
	return r;
}
