/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/ctl/ctl.h"

#include <inttypes.h>
#include <string.h>

/* ---------------------------------------------------------------- cells */

static const char *
key_of(const struct column *c)
{
	return c->key ? c->key : c->name;
}

/* Several numbers of a row, with blanks between. */
static void
join(const json_t *row, const char *keys, char *buf, size_t len)
{
	char key[64];
	size_t used = 0;

	buf[0] = '\0';
	while (*keys && used < len) {
		size_t n = strcspn(keys, " ");

		snprintf(key, sizeof(key), "%.*s", (int)n, keys);
		used += (size_t)snprintf(buf + used, len - used, "%s%" PRId64,
					 used ? " " : "",
					 (int64_t)json_num(row, key));
		keys += n + (keys[n] == ' ');
	}
}

/* For people if human, else for programs. */
static const char *
cell(const struct ctl *ctl, const struct column *c, const json_t *row,
     bool human, char *buf, size_t len)
{
	const json_t *v = json_at(row, key_of(c));

	switch (c->kind) {
	case COL_JOIN:
		join(row, c->key, buf, len);
		return buf;
	case COL_BYTES:
		return bytes_text(json_integer_value(v),
				  human || ctl->unit ? ctl->unit : 'B', buf,
				  len);
	case COL_TIME:
		if (human)
			return time_text((double)json_integer_value(v), buf,
					 len);
		snprintf(buf, len, "%" PRId64, (int64_t)json_integer_value(v));
		return buf;
	case COL_NUM:
		snprintf(buf, len, "%" PRId64, (int64_t)json_integer_value(v));
		return buf;
	case COL_BOOL:
		return json_is_true(v) ? "yes" : "no";
	case COL_TEXT:
		break;
	}
	return json_is_string(v) ? json_string_value(v) : "";
}

/* -------------------------------------------------------------- formats */

#define CELL_MAX 4096

static bool
is_right(const struct column *c)
{
	return c->kind == COL_NUM || c->kind == COL_BYTES ||
	       c->kind == COL_TIME;
}

static void
pad(size_t n)
{
	while (n--)
		putchar(' ');
}

static void
print_cell(const char *text, size_t width, bool right, bool last)
{
	size_t len = strlen(text), fill = width > len ? width - len : 0;

	if (right)
		pad(fill);
	print_text(text);
	if (!right && !last)
		pad(fill);
	fputs(last ? "\n" : "  ", stdout);
}

/* A row of the sums, as the others are. */
static json_t *
totals(const struct choice *ch, json_t *rows)
{
	json_t *sum = json_object(), *row;
	size_t i;

	for (unsigned k = 0; k < ch->n; k++) {
		const char *key = key_of(ch->col[k]);
		json_t *at = sum;
		json_int_t v = 0;

		if (!ch->col[k]->total)
			continue;
		json_array_foreach(rows, i, row)
			v += json_num(row, key);
		for (;;) {
			size_t n = strcspn(key, ".");
			char part[64];
			json_t *next;

			snprintf(part, sizeof(part), "%.*s", (int)n, key);
			if (!key[n]) {
				json_object_set_new(at, part, json_integer(v));
				break;
			}
			next = json_object_get(at, part);
			if (!next) {
				next = json_object();
				json_object_set_new(at, part, next);
			}
			at = next;
			key += n + 1;
		}
	}
	return sum;
}

static bool
has_totals(const struct choice *ch)
{
	for (unsigned k = 0; k < ch->n; k++)
		if (ch->col[k]->total)
			return true;
	return false;
}

static void
print_row(const struct ctl *ctl, const struct choice *ch, const json_t *row,
	  const size_t *width, bool sums)
{
	char buf[CELL_MAX];

	for (unsigned k = 0; k < ch->n; k++) {
		const struct column *c = ch->col[k];
		const char *text = sums && !c->total ? ""
						     : cell(ctl, c, row, true,
							    buf, sizeof(buf));

		print_cell(text, width[k], is_right(c), k + 1 == ch->n);
	}
}

static void
widen(const struct ctl *ctl, const struct choice *ch, const json_t *row,
      size_t *width)
{
	char buf[CELL_MAX];

	for (unsigned k = 0; k < ch->n; k++) {
		size_t n = strlen(
			cell(ctl, ch->col[k], row, true, buf, sizeof(buf)));

		width[k] = n > width[k] ? n : width[k];
	}
}

static void
print_table(const struct ctl *ctl, const struct choice *ch, json_t *rows,
	    void (*tree)(const struct ctl *ctl, json_t *row))
{
	bool sums =
		!ctl->nototals && json_array_size(rows) > 1 && has_totals(ch);
	json_t *sum = sums ? totals(ch, rows) : NULL, *row;
	size_t width[TABLE_MAX_COLUMNS] = {0}, i;

	for (unsigned k = 0; k < ch->n && !ctl->noheaders; k++)
		width[k] = strlen(ch->col[k]->header);
	json_array_foreach(rows, i, row)
		widen(ctl, ch, row, width);
	if (sums)
		widen(ctl, ch, sum, width);
	for (unsigned k = 0; k < ch->n && !ctl->noheaders; k++)
		print_cell(ch->col[k]->header, width[k], is_right(ch->col[k]),
			   k + 1 == ch->n);
	json_array_foreach(rows, i, row) {
		print_row(ctl, ch, row, width, false);
		if (tree && !ctl->notree)
			tree(ctl, row);
	}
	if (sums)
		print_row(ctl, ch, sum, width, true);
	json_decref(sum);
}

/* As RFC 4180 wants it. */
static void
print_csv_cell(const char *s)
{
	bool quote = s[strcspn(s, ",\"\r\n")] != '\0';

	if (quote)
		putchar('"');
	for (; *s; s++) {
		if (*s == '"')
			putchar('"');
		/* JSON says exactly what it is; this may go to a terminal. */
		putchar((unsigned char)*s < 0x20 && !strchr("\t\r\n", *s) ? '?'
									  : *s);
	}
	if (quote)
		putchar('"');
}

static void
print_csv(const struct ctl *ctl, const struct choice *ch, json_t *rows)
{
	char buf[CELL_MAX];
	json_t *row;
	size_t i;

	for (unsigned k = 0; k < ch->n && !ctl->noheaders; k++)
		printf("%s%s", ch->col[k]->name, k + 1 == ch->n ? "\n" : ",");
	json_array_foreach(rows, i, row) {
		for (unsigned k = 0; k < ch->n; k++) {
			print_csv_cell(cell(ctl, ch->col[k], row, false, buf,
					    sizeof(buf)));
			putchar(k + 1 == ch->n ? '\n' : ',');
		}
	}
}

static void
print_xml_text(const char *s)
{
	for (; *s; s++) {
		if (strchr("&<>\"'", *s))
			printf("&#%d;", *s);
		else if ((unsigned char)*s < 0x20)
			putchar('?'); /* XML has no way to say it */
		else
			putchar(*s);
	}
}

static void
print_xml(const struct ctl *ctl, const struct table *t, const struct choice *ch,
	  json_t *rows)
{
	char buf[CELL_MAX];
	json_t *row;
	size_t i;

	printf("<%s>\n", t->nouns);
	json_array_foreach(rows, i, row) {
		printf("  <%s", t->noun);
		for (unsigned k = 0; k < ch->n; k++) {
			printf(" %s=\"", ch->col[k]->name);
			print_xml_text(cell(ctl, ch->col[k], row, false, buf,
					    sizeof(buf)));
			putchar('"');
		}
		puts("/>");
	}
	printf("</%s>\n", t->nouns);
}

static json_t *
row_json(const struct ctl *ctl, const struct choice *ch, const json_t *row)
{
	json_t *obj = json_object();
	char buf[CELL_MAX];

	for (unsigned k = 0; k < ch->n; k++) {
		const struct column *c = ch->col[k];
		const json_t *v = json_at(row, key_of(c));
		json_t *copy;

		if (c->kind == COL_JOIN) {
			join(row, c->key, buf, sizeof(buf));
			copy = json_string(buf);
		} else if (c->kind == COL_BYTES && ctl->unit &&
			   ctl->unit != 'B') {
			copy = json_real(
				scaled(json_integer_value(v), ctl->unit));
		} else {
			copy = v ? json_copy((json_t *)(uintptr_t)v)
				 : json_null();
		}
		json_object_set_new(obj, c->name, copy);
	}
	return obj;
}

int
ctl_print_json(const json_t *v)
{
	json_dumpf(v, stdout,
		   JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_ENCODE_ANY |
			   JSON_REAL_PRECISION(6));
	putchar('\n');
	return ctl_flush();
}

static int
print_json(const struct ctl *ctl, const struct choice *ch, json_t *rows)
{
	json_t *out = json_array(), *row;
	size_t i;
	int r;

	json_array_foreach(rows, i, row)
		json_array_append_new(out, row_json(ctl, ch, row));
	r = ctl_print_json(out);
	json_decref(out);
	return r;
}

int
table_print(const struct ctl *ctl, const struct table *t, json_t *rows,
	    void (*tree)(const struct ctl *ctl, json_t *row))
{
	struct choice ch;
	char err[256];

	if (!table_choose(t, ctl->fields, ctl->format == CTL_JSON, &ch, err,
			  sizeof(err)))
		return ctl_fail(CTL_USAGE, "%s", err);
	switch (ctl->format) {
	case CTL_TABLE:
		print_table(ctl, &ch, rows, tree);
		break;
	case CTL_CSV:
		print_csv(ctl, &ch, rows);
		break;
	case CTL_XML:
		print_xml(ctl, t, &ch, rows);
		break;
	case CTL_JSON:
		return print_json(ctl, &ch, rows);
	}
	return ctl_flush();
}

int
table_show(const struct ctl *ctl, const struct table *t, json_t *row)
{
	struct choice ch;
	char err[256], buf[CELL_MAX];
	json_t *rows;
	int r;

	if (ctl->format != CTL_TABLE) {
		rows = json_pack("[O]", row);
		r = table_print(ctl, t, rows, NULL);
		json_decref(rows);
		return r;
	}
	if (!table_choose(t, ctl->fields, true, &ch, err, sizeof(err)))
		return ctl_fail(CTL_USAGE, "%s", err);
	for (unsigned k = 0; k < ch.n; k++) {
		printf("%-14s ", ch.col[k]->header);
		print_text(cell(ctl, ch.col[k], row, true, buf, sizeof(buf)));
		putchar('\n');
	}
	return ctl_flush();
}
