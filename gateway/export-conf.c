/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/export-conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/spec.h"

static int
set_name(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_spec *spec = obj;
	size_t len = strlen(value);
	const char *fault = NULL;

	if (!len)
		fault = "the name is empty";
	else if (len >= sizeof(spec->name))
		fault = "the name is longer than 254 characters";
	else if (strstr(value, ".."))
		fault = "no client can open a name with \"..\" in it";
	for (size_t i = 0; i < len && !fault; i++)
		if (value[i] < ' ' || value[i] > '~')
			fault = "the name may hold printable ASCII only";
	_Static_assert(RNBD_NAME_LEN == 255, "said in words above");
	if (fault) {
		snprintf(err, CONF_TEXT_MAX, "%s", fault);
		return -EINVAL;
	}
	memcpy(spec->name, value, len + 1);
	return 0;
}

/* Of something that clients see in sectors. */
static int
set_size(const char *value, uint64_t *ret, char err[CONF_TEXT_MAX])
{
	struct gw_name_text text = gw_name_text(value);
	int r = gw_size_parse(value, ret);

	if (r == -ERANGE)
		snprintf(err, CONF_TEXT_MAX, "the size '%s' is too large",
			 text.s);
	else if (r)
		snprintf(err, CONF_TEXT_MAX,
			 "'%s' is no size: give a number, with K, M, G or T",
			 text.s);
	else if (!*ret || *ret % RNBD_SECTOR_SIZE)
		snprintf(err, CONF_TEXT_MAX,
			 "the size '%s' is no multiple of %d", text.s,
			 RNBD_SECTOR_SIZE);
	else
		return 0;
	return -EINVAL;
}

static int
set_flag(const char *value, bool *ret, char err[CONF_TEXT_MAX])
{
	if (strcmp(value, "yes") && strcmp(value, "no")) {
		snprintf(err, CONF_TEXT_MAX, "give yes or no");
		return -EINVAL;
	}
	*ret = !strcmp(value, "yes");
	return 0;
}

static bool
is_nbd_uri(const char *s)
{
	static const char *const schemes[] = {"nbd://", "nbd+unix://",
					      "nbds://", "nbds+unix://"};

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (!strncmp(s, schemes[i], strlen(schemes[i])))
			return true;
	return false;
}

static const char *
strip_prefix(const char *s, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(s, prefix, len) ? NULL : s + len;
}

static int
set_backend(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_spec *spec = obj;
	enum gw_spec_kind kind = GW_SPEC_FILE;
	const char *path = NULL, *size_text;
	uint64_t size = 0;
	char *copy;
	int r;

	if ((size_text = strip_prefix(value, "memory:")))
		kind = GW_SPEC_MEMORY;
	else if ((size_text = strip_prefix(value, "null:")))
		kind = GW_SPEC_NULL;
	else if (is_nbd_uri(value))
		kind = GW_SPEC_NBD;
	if (size_text && strchr(size_text, ',')) {
		snprintf(err, CONF_TEXT_MAX,
			 "'%s' behind a size: in [export] it is a line of its "
			 "own, KEY = VALUE",
			 gw_name_text(strchr(size_text, ',') + 1).s);
		return -EINVAL;
	}
	if (size_text) {
		r = set_size(size_text, &size, err);
		if (r)
			return r;
	} else {
		path = kind == GW_SPEC_FILE ? strip_prefix(value, "file:")
					    : NULL;
		if (!path)
			path = value;
		if (!*path) {
			snprintf(err, CONF_TEXT_MAX,
				 "it needs a path, file:PATH, memory:SIZE, "
				 "null:SIZE or an NBD URI");
			return -EINVAL;
		}
	}
	copy = strdup(value);
	if (!copy) {
		snprintf(err, CONF_TEXT_MAX, "out of memory");
		return -ENOMEM;
	}
	free(spec->backend);
	spec->backend = copy;
	spec->kind = kind;
	spec->path = path ? copy + (path - value) : NULL;
	spec->size = size;
	return 0;
}

static int
set_read_only(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_spec *spec = obj;

	return set_flag(value, &spec->read_only, err);
}

static int
set_create(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_spec *spec = obj;

	return set_size(value, &spec->create, err);
}

static int
set_cache(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_spec *spec = obj;

	if (strcmp(value, "direct") && strcmp(value, "buffered")) {
		snprintf(err, CONF_TEXT_MAX, "give direct or buffered");
		return -EINVAL;
	}
	spec->buffered = !strcmp(value, "buffered");
	return 0;
}

static int
set_writethrough(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_spec *spec = obj;

	return set_flag(value, &spec->writethrough, err);
}

static int
set_sessions(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_spec *spec = obj;
	char text[GW_TEXT_MAX];
	int r = gw_name_list_add(&spec->sessions, value, text);

	if (r)
		snprintf(err, CONF_TEXT_MAX, "%s", text);
	return r;
}

static int
set_addresses(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_spec *spec = obj;
	char text[GW_TEXT_MAX];
	int r = gw_net_list_add(&spec->addresses, value, text);

	if (r)
		snprintf(err, CONF_TEXT_MAX, "%s", text);
	return r;
}

static int
set_iops(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_spec *spec = obj;
	uint64_t v;

	/* Plain digits: a K of 1024 operations would surprise. */
	if (value[strspn(value, "0123456789")] || gw_size_parse(value, &v) ||
	    v > GW_SPEC_MAX_IOPS) {
		snprintf(err, CONF_TEXT_MAX,
			 "give a number of operations per second up to "
			 "100000000, 0 for no limit");
		return -EINVAL;
	}
	spec->iops = v;
	return 0;
}

static int
set_bandwidth(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_spec *spec = obj;
	uint64_t v;

	if (gw_size_parse(value, &v) || (v && v < GW_SPEC_MIN_BANDWIDTH)) {
		snprintf(err, CONF_TEXT_MAX,
			 "give a number of bytes per second from 4096 on, with "
			 "K, M, G or T, or 0 for no limit");
		return -EINVAL;
	}
	spec->bandwidth = v;
	return 0;
}

const struct conf_key gw_export_keys[] = {
	{"name", "NAME", "what clients call it", set_name, false},
	{"backend", "SPEC",
	 "PATH or file:PATH of a file or block device, memory:SIZE, null:SIZE, "
	 "or an NBD URI (nbd://, nbds://, nbd+unix://, nbds+unix://) with any "
	 "of ,connections=N ,hold=S ,connect-timeout=S ,lost-writes=warn|fail "
	 "behind it",
	 set_backend, false},
	{"read-only", "yes|no", "refuse writes (no)", set_read_only, false},
	{"create", "SIZE",
	 "make a file that is missing, sparse, with mode 0600; without it the "
	 "file must be there",
	 set_create, false},
	{"cache", "direct|buffered",
	 "files and devices: around the page cache of this machine where that "
	 "is possible, or through it (direct)",
	 set_cache, false},
	{"writethrough", "yes|no",
	 "make each write durable before it is answered, and tell clients that "
	 "there is no cache to flush (no)",
	 set_writethrough, false},
	{"sessions", "PATTERN...",
	 "session names that may open it, with * and ?; may be given again "
	 "(all)",
	 set_sessions, true},
	{"addresses", "NETWORK...",
	 "client addresses that may open it, such as 10.0.0.0/8, fe80::/10, "
	 "gid:fe80::/64; may be given again (all)",
	 set_addresses, true},
	{"iops", "N",
	 "reads, writes, discards and zeroings per second of all clients "
	 "together; can be changed while in use (0: no limit)",
	 set_iops, false},
	{"bandwidth", "BYTES",
	 "bytes read and written per second by all clients together; can be "
	 "changed while in use (0: no limit)",
	 set_bandwidth, false},
	{0},
};

const char *
gw_export_key_elsewhere(const char *key)
{
	static const char *const of_nbd[] = {"connections", "hold",
					     "connect-timeout", "lost-writes"};

	for (size_t i = 0; i < ARRAY_SIZE(of_nbd); i++)
		if (!strcmp(key, of_nbd[i]))
			return "it goes behind the URI, as in "
			       "backend = nbd://HOST/NAME,hold=60";
	return NULL;
}
