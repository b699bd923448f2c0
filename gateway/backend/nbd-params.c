/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/backend/nbd-params.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ keys */

static int
parse_number(const char *key, const char *value, unsigned min, unsigned max,
	     unsigned *ret, char err_text[GW_TEXT_MAX])
{
	unsigned long v;
	char *end;

	errno = 0;
	v = strtoul(value, &end, 10);
	if (*value < '0' || *value > '9' || *end || errno || v < min || v > max)
		return gw_text_err(err_text, -EINVAL,
				   "%s=%s: give a number from %u to %u", key,
				   gw_name_text(value).s, min, max);
	*ret = (unsigned)v;
	return 0;
}

static int
set_connections(struct nbd_params *p, const char *key, const char *value,
		char err_text[GW_TEXT_MAX])
{
	return parse_number(key, value, 1, NBD_MAX_CONNS, &p->connections,
			    err_text);
}

static int
set_hold(struct nbd_params *p, const char *key, const char *value,
	 char err_text[GW_TEXT_MAX])
{
	unsigned s;
	int err = parse_number(key, value, 0, NBD_MAX_HOLD_S, &s, err_text);

	if (!err)
		p->hold_ns = s * NSEC_PER_SEC;
	return err;
}

static int
set_connect_timeout(struct nbd_params *p, const char *key, const char *value,
		    char err_text[GW_TEXT_MAX])
{
	unsigned s;
	int err = parse_number(key, value, 1, NBD_MAX_CONNECT_S, &s, err_text);

	if (!err)
		p->connect_ns = s * NSEC_PER_SEC;
	return err;
}

static int
set_lost_writes(struct nbd_params *p, const char *key, const char *value,
		char err_text[GW_TEXT_MAX])
{
	if (strcmp(value, "warn") && strcmp(value, "fail"))
		return gw_text_err(err_text, -EINVAL,
				   "%s=%s: give warn or fail", key,
				   gw_name_text(value).s);
	p->fail_lost_writes = !strcmp(value, "fail");
	return 0;
}

static const struct {
	const char *name;
	int (*set)(struct nbd_params *p, const char *key, const char *value,
		   char err_text[GW_TEXT_MAX]);
} keys[] = {
	{"connections", set_connections},
	{"hold", set_hold},
	{"connect-timeout", set_connect_timeout},
	{"lost-writes", set_lost_writes},
};

static int
set_key(struct nbd_params *p, char *piece, char err_text[GW_TEXT_MAX])
{
	char *eq = strchr(piece, '=');

	for (size_t i = 0; eq && i < ARRAY_SIZE(keys); i++)
		if (strlen(keys[i].name) == (size_t)(eq - piece) &&
		    !strncmp(piece, keys[i].name, (size_t)(eq - piece)))
			return keys[i].set(p, keys[i].name, eq + 1, err_text);
	return gw_text_err(err_text, -EINVAL,
			   "'%s' behind an NBD URI: known are connections=, "
			   "hold=, connect-timeout=, lost-writes=, then what "
			   "any export has; a comma of the URI is %%2C",
			   gw_name_text(piece).s);
}

/* ------------------------------------------------------------------- URI */

/*
 * What matters to tell servers apart, with %XX undone. Judged for what can be
 * said before there is a connection; the rest is libnbd's to judge.
 */
struct place {
	bool unix_socket;
	char *host;  /* or CID, lower case; or the path of the socket */
	char *port;  /* NULL: by default */
	char *name;  /* of the export, without the slash */
	char *query; /* what follows '?', or NULL */
};

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void
unescape(char *s)
{
	char *to = s;

	for (; *s; s++, to++) {
		int hi = *s == '%' ? hex_value(s[1]) : -1;
		int lo = hi >= 0 ? hex_value(s[2]) : -1;

		*to = *s;
		if (lo < 0)
			continue;
		*to = (char)(hi << 4 | lo);
		s += 2;
	}
	*to = '\0';
}

/* The value of key in a=b&c=d, not unescaped; NULL. Changes query. */
static char *
query_value(char *query, const char *key)
{
	size_t len = strlen(key);
	char *save = NULL;

	for (char *p = query ? strtok_r(query, "&;", &save) : NULL; p;
	     p = strtok_r(NULL, "&;", &save))
		if (!strncmp(p, key, len) && p[len] == '=')
			return p + len + 1;
	return NULL;
}

/* [USER@]HOST[:PORT] */
static void
split_authority(char *s, struct place *ret)
{
	char *at = strrchr(s, '@'), *colon;

	if (at)
		s = at + 1;
	ret->host = s;
	/* The colons of an IPv6 address are in brackets. */
	colon = strrchr(s, ':');
	if (colon && !strchr(colon, ']')) {
		*colon = '\0';
		ret->port = colon + 1;
	}
	for (; *s; s++)
		*s = (char)tolower((unsigned char)*s);
}

/* Cuts text, a copy of the URI, into pieces. */
static int
split_uri(char *text, struct place *ret, char err_text[GW_TEXT_MAX])
{
	static const char *const schemes[] = {"nbd://",       "nbds://",
					      "nbd+unix://",  "nbds+unix://",
					      "nbd+vsock://", "nbds+vsock://"};
	const char *scheme = NULL;
	char *slash, *rest;

	*ret = (struct place){.host = text, .name = text};
	for (size_t i = 0; i < ARRAY_SIZE(schemes) && !scheme; i++)
		if (!strncmp(text, schemes[i], strlen(schemes[i])))
			scheme = schemes[i];
	if (!scheme)
		return gw_text_err(err_text, -EINVAL,
				   "'%s': no NBD URI: it begins with nbd:, "
				   "nbds:, nbd+unix: or nbds+unix:, and //",
				   gw_name_text(text).s);
	rest = text + strlen(scheme);
	ret->query = strchr(rest, '?');
	if (ret->query)
		*ret->query++ = '\0';
	slash = strchr(rest, '/');
	if (slash)
		*slash = '\0';
	ret->name = slash ? slash + 1 : rest + strlen(rest);
	unescape(ret->name);
	split_authority(rest, ret);
	ret->unix_socket = strstr(scheme, "+unix") != NULL;
	return 0;
}

static int
find_place(char *text, const char *uri, struct place *ret,
	   char err_text[GW_TEXT_MAX])
{
	int err = split_uri(text, ret, err_text);

	if (err)
		return err;
	if (ret->unix_socket) {
		if (*ret->host)
			return gw_text_err(err_text, -EINVAL,
					   "'%s': a unix socket has no host: "
					   "write three slashes, "
					   "nbd+unix:///NAME?socket=PATH",
					   gw_name_text(uri).s);
		ret->host = query_value(ret->query, "socket");
		if (!ret->host || !*ret->host)
			return gw_text_err(err_text, -EINVAL,
					   "'%s': the socket is missing: "
					   "nbd+unix:///NAME?socket=PATH",
					   gw_name_text(uri).s);
		unescape(ret->host);
	} else if (!*ret->host && !strstr(uri, "+vsock:")) {
		return gw_text_err(err_text, -EINVAL,
				   "'%s': the host is missing: "
				   "nbd://HOST[:PORT]/NAME",
				   gw_name_text(uri).s);
	}
	return 0;
}

/* -------------------------------------------------------------- identity */

__extension__ typedef unsigned __int128 u128;

/* FNV-1a of 128 bits: names, not secrets. The NUL separates the pieces. */
static u128
hash_piece(u128 h, const char *s)
{
	const u128 prime = (u128)1 << 88 | 0x13b;

	do
		h = (h ^ (unsigned char)*s) * prime;
	while (*s++);
	return h;
}

static void
identify(const struct place *place, struct backend_identity *ret)
{
	u128 h = (u128)UINT64_C(0x6c62272e07bb0142) << 64 |
		 UINT64_C(0x62b821756295c58d);
	char port[16];

	snprintf(port, sizeof(port), "%d", NBD_DEFAULT_PORT);
	h = hash_piece(h, place->unix_socket ? "unix" : "host");
	h = hash_piece(h, place->host);
	h = hash_piece(h, place->port && *place->port ? place->port : port);
	h = hash_piece(h, place->name);
	*ret = (struct backend_identity){
		.kind = BACKEND_KIND_NBD,
		.a = (uint64_t)(h >> 64),
		.b = (uint64_t)h,
	};
}

/* ----------------------------------------------------------------- whole */

static int
take_uri(struct nbd_params *p, char err_text[GW_TEXT_MAX])
{
	cleanup_free char *copy = strdup(p->uri);
	struct place place;
	int err;

	if (!copy)
		return gw_text_err(err_text, -ENOMEM, "out of memory");
	for (const char *s = p->uri; *s; s++)
		if (*s <= ' ' || *s > '~')
			return gw_text_err(err_text, -EINVAL,
					   "'%s': a URI holds printable ASCII "
					   "only; write others as %%XX",
					   gw_name_text(p->uri).s);
	err = find_place(copy, p->uri, &place, err_text);
	if (err)
		return err;
	identify(&place, &p->id);
	if (asprintf(&p->where, "%s%s%s", place.host, place.port ? ":" : "",
		     place.port ? place.port : "") < 0) {
		p->where = NULL;
		return gw_text_err(err_text, -ENOMEM, "out of memory");
	}
	return 0;
}

int
nbd_params_parse(const char *text, struct nbd_params *ret,
		 char err_text[GW_TEXT_MAX])
{
	struct nbd_params p = {
		.connections = NBD_DEFAULT_CONNS,
		.hold_ns = NBD_DEFAULT_HOLD_S * NSEC_PER_SEC,
		.connect_ns = NBD_DEFAULT_CONNECT_S * NSEC_PER_SEC,
	};
	cleanup_free char *copy = strdup(text);
	char *rest = copy;
	int err = 0;

	if (!copy)
		return gw_text_err(err_text, -ENOMEM, "out of memory");
	p.uri = strdup(strsep(&rest, ","));
	if (!p.uri)
		return gw_text_err(err_text, -ENOMEM, "out of memory");
	while (rest && !err)
		err = set_key(&p, strsep(&rest, ","), err_text);
	if (!err)
		err = take_uri(&p, err_text);
	if (err)
		nbd_params_deinit(&p);
	else
		*ret = p;
	return err;
}

void
nbd_params_deinit(struct nbd_params *p)
{
	free(p->uri);
	free(p->where);
	p->uri = NULL;
	p->where = NULL;
}
