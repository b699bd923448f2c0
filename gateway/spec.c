/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/spec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/export-conf.h"
#include "rtrs/base/util.h"

int
gw_size_parse(const char *s, uint64_t *ret)
{
	static const char units[] = "KMGT";
	uint64_t v = 0;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return -ERANGE;
	if (*s) {
		const char *unit = strchr(units, *s & ~0x20);
		unsigned shift;

		if (!unit || !*unit || s[1])
			return -EINVAL;
		shift = 10 * (unsigned)(unit - units + 1);
		if (v > (uint64_t)INT64_MAX >> shift)
			return -ERANGE;
		v <<= shift;
	}
	if (v > INT64_MAX)
		return -ERANGE;
	*ret = v;
	return 0;
}

/* --------------------------------------------------------- command line */

static const struct conf_key *
find_key(const char *name, size_t len)
{
	const struct conf_key *key;

	for (key = gw_export_keys; key->name; key++)
		if (strlen(key->name) == len && !memcmp(key->name, name, len))
			return key;
	return NULL;
}

/* What stands for KEY=VALUE. */
static const struct {
	const char *word, *key, *value;
} short_words[] = {
	{"ro", "read-only", "yes"},
	{"buffered", "cache", "buffered"},
	{"writethrough", "writethrough", "yes"},
};

/* The key that a piece behind a comma sets, and the value; NULL: it is none of
 * ours. */
static const struct conf_key *
attribute(const char *piece, const char **ret_value)
{
	const char *eq = strchr(piece, '=');

	if (eq) {
		*ret_value = eq + 1;
		return find_key(piece, (size_t)(eq - piece));
	}
	for (size_t i = 0; i < ARRAY_SIZE(short_words); i++) {
		if (strcmp(piece, short_words[i].word))
			continue;
		*ret_value = short_words[i].value;
		return find_key(short_words[i].key, strlen(short_words[i].key));
	}
	return NULL;
}

static int
set_key(struct gw_spec *spec, const char *name, const struct conf_key *key,
	const char *value, bool say_key, char err_text[GW_TEXT_MAX])
{
	char why[CONF_TEXT_MAX];
	int err = key->set(spec, value, why);

	if (!err)
		return 0;
	return gw_text_err(err_text, err, "export '%s': %s%s%s",
			   gw_name_text(name).s, say_key ? key->name : "",
			   say_key ? ": " : "", why);
}

/* Takes attributes off the end of text. */
static int
strip_attributes(struct gw_spec *spec, const char *name, char *text,
		 char err_text[GW_TEXT_MAX])
{
	uint64_t seen = 0;
	char *comma;

	while ((comma = strrchr(text, ','))) {
		const char *value;
		const struct conf_key *key = attribute(comma + 1, &value);
		uint64_t bit;
		int err;

		if (!key)
			break;
		bit = UINT64_C(1) << (key - gw_export_keys);
		if (seen & bit && !key->repeated)
			return gw_text_err(err_text, -EINVAL,
					   "export '%s': %s is given twice",
					   gw_name_text(name).s, key->name);
		seen |= bit;
		err = set_key(spec, name, key, value, true, err_text);
		if (err)
			return err;
		*comma = '\0';
	}
	return 0;
}

/* A size has no comma: what follows one was meant as an attribute. Paths may
 * have any, and what follows a URI is judged with it. */
static int
check_rest(const char *name, const char *text, char err_text[GW_TEXT_MAX])
{
	const char *comma = strrchr(text, ',');

	if (!comma ||
	    (strncmp(text, "memory:", 7) && strncmp(text, "null:", 5)))
		return 0;
	return gw_text_err(
		err_text, -EINVAL,
		"export '%s': '%s' behind %.*s: known are " GW_SPEC_OPTIONS,
		gw_name_text(name).s, gw_name_text(comma + 1).s,
		(int)strcspn(text, ","), text);
}

int
gw_spec_parse(const char *name_spec, struct gw_spec *ret,
	      char err_text[GW_TEXT_MAX])
{
	const char *eq = strchr(name_spec, '=');
	cleanup_free char *name = NULL;
	cleanup_free char *text = NULL;
	struct gw_spec spec = {0};
	int err;

	if (!eq)
		return gw_text_err(err_text, -EINVAL,
				   "export '%s': '=' is missing: give "
				   "NAME=SPEC",
				   gw_name_text(name_spec).s);
	name = strndup(name_spec, (size_t)(eq - name_spec));
	text = strdup(eq + 1);
	if (!name || !text)
		return gw_text_err(err_text, -ENOMEM, "out of memory");
	err = set_key(&spec, name, find_key("name", 4), name, false, err_text);
	if (!err)
		err = strip_attributes(&spec, name, text, err_text);
	if (!err)
		err = check_rest(name, text, err_text);
	if (!err)
		err = set_key(&spec, name, find_key("backend", 7), text, false,
			      err_text);
	if (!err)
		err = gw_spec_check(&spec, err_text);
	if (err)
		gw_spec_deinit(&spec);
	else
		*ret = spec;
	return err;
}

int
gw_spec_check_name(const char *name, char err_text[GW_TEXT_MAX])
{
	struct gw_spec spec = {0};

	return set_key(&spec, name, find_key("name", 4), name, false, err_text);
}

/* ----------------------------------------------------------- the whole */

int
gw_spec_check(const struct gw_spec *spec, char err_text[GW_TEXT_MAX])
{
	struct gw_name_text name = gw_name_text(spec->name);

	if (!*spec->name)
		return gw_text_err(err_text, -EINVAL,
				   "an export has no name: give it one");
	if (!spec->backend)
		return gw_text_err(err_text, -EINVAL,
				   "export '%s': it has no backend: give a "
				   "path, memory:SIZE, null:SIZE or an NBD URI",
				   name.s);
	if (spec->kind != GW_SPEC_FILE && spec->buffered)
		return gw_text_err(err_text, -EINVAL,
				   "export '%s': 'buffered' is for files and "
				   "devices only",
				   name.s);
	if (spec->kind != GW_SPEC_FILE && spec->create)
		return gw_text_err(err_text, -EINVAL,
				   "export '%s': 'create' is for files only",
				   name.s);
	if (spec->read_only && spec->create)
		return gw_text_err(err_text, -EINVAL,
				   "export '%s': nothing could be written to a "
				   "file that is created read-only: leave out "
				   "one of the two",
				   name.s);
	return 0;
}

int
gw_spec_copy(struct gw_spec *ret, const struct gw_spec *src)
{
	struct gw_spec spec = *src;

	spec.place = NULL;
	spec.sessions = (struct gw_name_list){0};
	spec.addresses = (struct gw_net_list){0};
	spec.backend = strdup(src->backend);
	if (!spec.backend)
		return -ENOMEM;
	if (src->path)
		spec.path = spec.backend + (src->path - src->backend);
	if (gw_name_list_copy(&spec.sessions, &src->sessions) ||
	    gw_net_list_copy(&spec.addresses, &src->addresses)) {
		gw_spec_deinit(&spec);
		return -ENOMEM;
	}
	*ret = spec;
	return 0;
}

void
gw_spec_deinit(struct gw_spec *spec)
{
	free(spec->backend);
	free(spec->place);
	spec->backend = NULL;
	spec->place = NULL;
	spec->path = NULL;
	gw_name_list_clear(&spec->sessions);
	gw_net_list_clear(&spec->addresses);
}

bool
gw_spec_same_backend(const struct gw_spec *a, const struct gw_spec *b)
{
	if (a->kind != b->kind || a->size != b->size ||
	    a->read_only != b->read_only || a->buffered != b->buffered ||
	    a->writethrough != b->writethrough || !a->path != !b->path)
		return false;
	return !a->path || !strcmp(a->path, b->path);
}

struct writer {
	char *dst;
	size_t size, len;
};

static void __attribute__((format(printf, 2, 3)))
put(struct writer *w, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(w->dst + w->len, w->size - w->len, fmt, ap);
	va_end(ap);
	w->len += (size_t)n;
	if (w->len >= w->size)
		w->len = w->size - 1;
}

char *
gw_spec_text(const struct gw_spec *spec, char *dst, size_t size)
{
	struct writer w = {.dst = dst, .size = size};

	put(&w, "%s", spec->backend);
	if (spec->read_only)
		put(&w, ",ro");
	if (spec->buffered)
		put(&w, ",buffered");
	if (spec->writethrough)
		put(&w, ",writethrough");
	if (spec->create)
		put(&w, ",create=%" PRIu64, spec->create);
	if (spec->iops)
		put(&w, ",iops=%" PRIu64, spec->iops);
	if (spec->bandwidth)
		put(&w, ",bandwidth=%" PRIu64, spec->bandwidth);
	return dst;
}
