/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/spec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

int
gw_spec_check_name(const char *name, char err_text[GW_TEXT_MAX])
{
	size_t len = strlen(name);

	if (!len)
		return gw_text_err(err_text, -EINVAL,
				   "export: the name is empty: give NAME=SPEC");
	if (len >= RNBD_NAME_LEN)
		return gw_text_err(err_text, -EINVAL,
				   "export '%s': the name is longer than %d "
				   "characters",
				   gw_name_text(name).s, RNBD_NAME_LEN - 1);
	for (size_t i = 0; i < len; i++)
		if (name[i] < ' ' || name[i] > '~')
			return gw_text_err(err_text, -EINVAL,
					   "export '%s': the name may hold "
					   "printable ASCII only",
					   gw_name_text(name).s);
	if (strstr(name, ".."))
		return gw_text_err(err_text, -EINVAL,
				   "export '%s': no client can open a name "
				   "with \"..\" in it",
				   gw_name_text(name).s);
	return 0;
}

/* Cuts suffix off the end of s. */
static bool
strip_suffix(char *s, const char *suffix)
{
	size_t len = strlen(s), cut = strlen(suffix);

	if (len < cut || strcmp(s + len - cut, suffix) != 0)
		return false;
	s[len - cut] = '\0';
	return true;
}

static const char *
strip_prefix(const char *s, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(s, prefix, len) ? NULL : s + len;
}

static int
parse_size(const char *name, const char *text, uint64_t *ret,
	   char err_text[GW_TEXT_MAX])
{
	int err = gw_size_parse(text, ret);

	if (err == -ERANGE)
		return gw_text_err(err_text, -EINVAL,
				   "export '%s': the size '%s' is too large",
				   gw_name_text(name).s, gw_name_text(text).s);
	if (err)
		return gw_text_err(err_text, -EINVAL,
				   "export '%s': '%s' is no size: give a "
				   "number, with K, M, G or T",
				   gw_name_text(name).s, gw_name_text(text).s);
	if (!*ret || *ret % RNBD_SECTOR_SIZE)
		return gw_text_err(err_text, -EINVAL,
				   "export '%s': the size '%s' is no multiple "
				   "of %d",
				   gw_name_text(name).s, gw_name_text(text).s,
				   RNBD_SECTOR_SIZE);
	return 0;
}

/* spec->name and the suffixes are done; what remains is text. */
static int
parse_kind(struct gw_spec *spec, const char *text, char err_text[GW_TEXT_MAX])
{
	const char *rest;

	if ((rest = strip_prefix(text, "memory:")))
		spec->kind = GW_SPEC_MEMORY;
	else if ((rest = strip_prefix(text, "null:")))
		spec->kind = GW_SPEC_NULL;
	if (rest) {
		if (spec->buffered)
			return gw_text_err(err_text, -EINVAL,
					   "export '%s': ',buffered' is for "
					   "files only",
					   gw_name_text(spec->name).s);
		return parse_size(spec->name, rest, &spec->size, err_text);
	}
	spec->kind = GW_SPEC_FILE;
	rest = strip_prefix(text, "file:");
	if (!rest)
		rest = text;
	if (!*rest)
		return gw_text_err(err_text, -EINVAL,
				   "export '%s': it needs a path, file:PATH, "
				   "memory:SIZE or null:SIZE",
				   gw_name_text(spec->name).s);
	spec->path = strdup(rest);
	if (!spec->path)
		return gw_text_err(err_text, -ENOMEM, "out of memory");
	return 0;
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
	err = gw_spec_check_name(name, err_text);
	if (err)
		return err;
	memcpy(spec.name, name, strlen(name) + 1);
	for (;;) {
		if (strip_suffix(text, ",ro"))
			spec.read_only = true;
		else if (strip_suffix(text, ",buffered"))
			spec.buffered = true;
		else
			break;
	}
	err = parse_kind(&spec, text, err_text);
	if (err)
		return err;
	*ret = spec;
	return 0;
}

void
gw_spec_deinit(struct gw_spec *spec)
{
	free(spec->path);
	spec->path = NULL;
}
