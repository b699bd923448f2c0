/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/conf-file.h"
#include "config/nearest.h"

/* Where something stands; no path: nowhere yet. */
struct place {
	char *path;
	unsigned line;
};

struct section_state {
	const struct conf_section *def;
	bool begun;
	void *obj;           /* what set() gets, while begun */
	struct place header; /* the first of the object */
	struct place *seen;  /* of each key in the object */
	size_t n_keys;
};

struct reading {
	struct section_state *states;
	size_t n_states;
	struct section_state *current; /* NULL: before the first header */
	struct conf_events events;
	void *user;
};

/* --------------------------------------------------------------- places */

static void
place_deinit(struct place *p)
{
	free(p->path);
	*p = (struct place){0};
}

static int
place_set(struct reading *rd, struct place *p, const struct conf_file *f)
{
	p->path = strdup(f->path);
	p->line = f->line;
	if (p->path)
		return 0;
	snprintf(rd->events.err, CONF_TEXT_MAX, "out of memory");
	return -ENOMEM;
}

/* -------------------------------------------------------------- objects */

static void
forget_object(struct section_state *s)
{
	s->begun = false;
	s->obj = NULL;
	place_deinit(&s->header);
	for (size_t i = 0; i < s->n_keys; i++)
		place_deinit(&s->seen[i]);
}

static int
begin_object(struct reading *rd, struct section_state *s,
	     const struct conf_file *f)
{
	char err[CONF_TEXT_MAX] = "";
	int r = place_set(rd, &s->header, f);

	if (r)
		return r;
	s->obj = rd->user;
	if (s->def->begin)
		r = s->def->begin(rd->user, &s->obj, err);
	if (r)
		return conf_file_fail(&rd->events, f->path, f->line, r,
				      "[%s]: %s", s->def->name, err);
	s->begun = true;
	return 0;
}

static int
end_object(struct reading *rd, struct section_state *s)
{
	char err[CONF_TEXT_MAX] = "";
	int r = 0;

	if (!s->begun)
		return 0;
	if (s->def->at)
		s->def->at(rd->user, s->header.path, s->header.line);
	if (s->def->end)
		r = s->def->end(rd->user, s->obj, err);
	if (r) {
		/* conf_read() calls abort() for what is still begun. */
		return conf_file_fail(&rd->events, s->header.path,
				      s->header.line, r, "[%s]: %s",
				      s->def->name, err);
	}
	forget_object(s);
	return 0;
}

/* Leaves the current section; a repeated one is complete with that. */
static int
leave(struct reading *rd)
{
	struct section_state *s = rd->current;

	rd->current = NULL;
	return s && s->def->repeated ? end_object(rd, s) : 0;
}

/* --------------------------------------------------------------- events */

static int
unknown_section(struct reading *rd, const struct conf_file *f, const char *name)
{
	struct nearest near = {.word = name};
	char text[NEAREST_TEXT_MAX];

	for (size_t i = 0; i < rd->n_states; i++)
		nearest_add(&near, rd->states[i].def->name);
	return conf_file_fail(&rd->events, f->path, f->line, -EINVAL,
			      "[%s]: unknown section; %s", name,
			      nearest_text(&near, text));
}

static int
on_section(void *user, const struct conf_file *f, const char *name)
{
	struct reading *rd = user;
	int r = leave(rd);

	for (size_t i = 0; i < rd->n_states && !r; i++) {
		struct section_state *s = &rd->states[i];

		if (strcmp(s->def->name, name))
			continue;
		rd->current = s;
		return s->begun ? 0 : begin_object(rd, s, f);
	}
	return r ? r : unknown_section(rd, f, name);
}

static int
unknown_key(struct reading *rd, const struct conf_file *f, const char *name,
	    const char *value)
{
	const struct conf_section *def = rd->current->def;
	struct nearest near = {.word = name};
	const char *hint = def->elsewhere ? def->elsewhere(name) : NULL;
	char text[NEAREST_TEXT_MAX];

	if (hint)
		return conf_file_fail(&rd->events, f->path, f->line, -EINVAL,
				      "%s = %.80s: [%s] has no such key; %s",
				      name, value, def->name, hint);
	for (const struct conf_key *k = def->keys; k->name; k++)
		nearest_add(&near, k->name);
	return conf_file_fail(&rd->events, f->path, f->line, -EINVAL,
			      "%s = %.80s: [%s] has no such key; %s", name,
			      value, def->name, nearest_text(&near, text));
}

static int
set_key(struct reading *rd, const struct conf_file *f,
	const struct conf_key *key, const char *value)
{
	struct section_state *s = rd->current;
	struct place *seen = &s->seen[key - s->def->keys];
	char err[CONF_TEXT_MAX] = "";
	int r;

	if (seen->path && !key->repeated)
		return conf_file_fail(&rd->events, f->path, f->line, -EINVAL,
				      "%s =%s%.200s: already given at %s:%u",
				      key->name, *value ? " " : "", value,
				      seen->path, seen->line);
	place_deinit(seen);
	r = place_set(rd, seen, f);
	if (r)
		return r;
	if (s->def->at)
		s->def->at(rd->user, f->path, f->line);
	r = key->set(s->obj, value, err);
	if (!r)
		return 0;
	return conf_file_fail(&rd->events, f->path, f->line, r,
			      "%s =%s%.200s: %s", key->name, *value ? " " : "",
			      value, err);
}

static int
include(struct reading *rd, const struct conf_file *f, const char *path)
{
	struct section_state *s = rd->current;
	int r;

	if (s && s->def->repeated)
		return conf_file_fail(
			&rd->events, f->path, f->line, -EINVAL,
			CONF_INCLUDE
			" = %.200s: not in [%s]; give it before the "
			"first section, or in [%s]",
			path, s->def->name, rd->states[0].def->name);
	rd->current = NULL;
	r = conf_file_include(f, path, &rd->events);
	rd->current = s;
	return r;
}

static int
on_key(void *user, const struct conf_file *f, const char *name,
       const char *value)
{
	struct reading *rd = user;

	if (!strcmp(name, CONF_INCLUDE))
		return include(rd, f, value);
	if (!rd->current)
		return conf_file_fail(&rd->events, f->path, f->line, -EINVAL,
				      "%s = %.200s: it stands before the first "
				      "section, such as [%s]",
				      name, value, rd->states[0].def->name);
	for (const struct conf_key *k = rd->current->def->keys; k->name; k++)
		if (!strcmp(k->name, name))
			return set_key(rd, f, k, value);
	return unknown_key(rd, f, name, value);
}

static int
on_end(void *user, const struct conf_file *f)
{
	return leave(user);
}

/* ----------------------------------------------------------------- read */

static int
init_states(struct reading *rd, const struct conf_section *sections)
{
	while (sections[rd->n_states].name)
		rd->n_states++;
	rd->states = calloc(rd->n_states, sizeof(*rd->states));
	if (!rd->states)
		return -ENOMEM;
	for (size_t i = 0; i < rd->n_states; i++) {
		struct section_state *s = &rd->states[i];

		s->def = &sections[i];
		while (s->def->keys[s->n_keys].name)
			s->n_keys++;
		s->seen = calloc(s->n_keys + 1, sizeof(*s->seen));
		if (!s->seen)
			return -ENOMEM;
	}
	return 0;
}

/* Objects that are not complete are given up. */
static void
deinit_states(struct reading *rd)
{
	for (size_t i = 0; rd->states && i < rd->n_states; i++) {
		struct section_state *s = &rd->states[i];

		if (s->begun && s->def->abort)
			s->def->abort(rd->user, s->obj);
		if (s->seen)
			forget_object(s);
		free(s->seen);
	}
	free(rd->states);
}

int
conf_read(const char *path, const struct conf_section *sections, void *user,
	  char err[CONF_TEXT_MAX])
{
	struct reading rd = {
		.events =
			{
				.section = on_section,
				.key = on_key,
				.end = on_end,
				.user = &rd,
				.err = err,
			},
		.user = user,
	};
	int r = init_states(&rd, sections);

	if (r)
		snprintf(err, CONF_TEXT_MAX, "out of memory");
	else
		r = conf_file_read(path, &rd.events);
	for (size_t i = 0; i < rd.n_states && !r; i++)
		r = end_object(&rd, &rd.states[i]);
	deinit_states(&rd);
	return r;
}
