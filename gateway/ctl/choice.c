/* SPDX-License-Identifier: BSD-3-Clause */
/* Which fields of a table are printed, as the user said it. */
#include "gateway/ctl/ctl.h"

#include <string.h>

static const struct column *
find_column(const struct table *t, const char *name, size_t len)
{
	for (const struct column *c = t->columns; c->name; c++)
		if (strlen(c->name) == len && !strncmp(c->name, name, len))
			return c;
	return NULL;
}

static void
choose(struct choice *ch, const struct column *c)
{
	for (unsigned i = 0; i < ch->n; i++)
		if (ch->col[i] == c)
			return;
	if (ch->n < TABLE_MAX_COLUMNS)
		ch->col[ch->n++] = c;
}

static void
leave(struct choice *ch, const struct column *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ch->n; i++)
		if (ch->col[i] != c)
			ch->col[n++] = ch->col[i];
	ch->n = n;
}

/* Adds or takes away a comma separated list. */
static bool
apply(const struct table *t, const char *fields, struct choice *ch, bool add,
      char *err, size_t err_len)
{
	while (*fields) {
		size_t n = strcspn(fields, ",");
		const struct column *c = find_column(t, fields, n);

		if (!c) {
			snprintf(err, err_len,
				 "'%.*s': no field of a %s; see `%s list help`",
				 (int)n, fields, t->noun, t->noun);
			return false;
		}
		if (add)
			choose(ch, c);
		else
			leave(ch, c);
		fields += n + (fields[n] == ',');
	}
	return true;
}

bool
table_choose(const struct table *t, const char *fields, bool json,
	     struct choice *ret, char *err, size_t err_len)
{
	bool minus = fields && *fields == '-';
	bool relative = minus || (fields && *fields == '+');

	ret->n = 0;
	if (fields ? !strcmp(fields, "all") : json) {
		for (const struct column *c = t->columns; c->name; c++)
			choose(ret, c);
		return true;
	}
	if (!fields || relative)
		(void)apply(t, t->def, ret, true, err, err_len);
	if (!fields)
		return true;
	if (!apply(t, fields + relative, ret, !minus, err, err_len))
		return false;
	if (!ret->n)
		snprintf(err, err_len, "no fields are left to print");
	return ret->n > 0;
}

bool
table_knows(const struct table *t, const char *text)
{
	size_t n;

	if (!t)
		return false;
	if (*text == '+' || *text == '-')
		return true;
	n = strcspn(text, ",");
	return text[n] == ',' || find_column(t, text, n) ||
	       !strcmp(text, "all");
}
