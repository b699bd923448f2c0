/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/match.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

/* Longer than any address with its prefix. */
#define NET_TEXT_MAX 64
#define ADDR_BITS    (RTRS_ADDR_BYTES * 8)
/* The mapped form: IPv4 is in the last 32 bits. */
#define MAPPED_BITS  96

static const uint8_t mapped[MAPPED_BITS / 8] = {
	[10] = 0xff,
	[11] = 0xff,
};

/* ------------------------------------------------------------- networks */

static bool
is_mapped(const uint8_t addr[RTRS_ADDR_BYTES])
{
	return !memcmp(addr, mapped, sizeof(mapped));
}

/* Are the bits of a and b equal from `from` up to, and without, `to`? */
static bool
bits_equal(const uint8_t *a, const uint8_t *b, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		if ((a[i / 8] ^ b[i / 8]) & (0x80 >> i % 8))
			return false;
	return true;
}

/* "N", at most max; -1: it is not. */
static int
prefix_bits(const char *s, unsigned max)
{
	unsigned long v;
	char *end;

	if (*s < '0' || *s > '9' || strlen(s) > 3)
		return -1;
	v = strtoul(s, &end, 10);
	return *end || v > max ? -1 : (int)v;
}

static int
net_malformed(const char *text, char err_text[GW_TEXT_MAX])
{
	return gw_text_err(err_text, -EINVAL,
			   "'%s' is not a network: give an address of IPv4 or "
			   "IPv6, gid:GID, each with /BITS for a network, or "
			   "any",
			   gw_name_text(text).s);
}

/* Fills kind and addr from host, and returns what "/0" means in bits of addr;
 * negative: it is not an address. */
static int
net_addr(const char *host, struct gw_net *ret)
{
	if (!strncmp(host, "gid:", 4)) {
		ret->kind = GW_NET_GID;
		return inet_pton(AF_INET6, host + 4, ret->addr) == 1 ? 0 : -1;
	}
	if (inet_pton(AF_INET, host, ret->addr + sizeof(mapped)) == 1) {
		memcpy(ret->addr, mapped, sizeof(mapped));
		ret->kind = GW_NET_IP4;
		return MAPPED_BITS;
	}
	ret->kind = GW_NET_IP6;
	return inet_pton(AF_INET6, host, ret->addr) == 1 ? 0 : -1;
}

int
gw_net_parse(const char *text, struct gw_net *ret, char err_text[GW_TEXT_MAX])
{
	static const uint8_t zero[RTRS_ADDR_BYTES];
	struct gw_net net = {.kind = GW_NET_ANY};
	char host[NET_TEXT_MAX], *slash;
	int base, bits = -1;

	if (!strcmp(text, "any")) {
		*ret = net;
		return 0;
	}
	if (strlen(text) >= sizeof(host))
		return net_malformed(text, err_text);
	strcpy(host, text);
	slash = strchr(host, '/');
	if (slash)
		*slash++ = '\0';
	base = net_addr(host, &net);
	if (base < 0)
		return net_malformed(text, err_text);
	bits = slash ? prefix_bits(slash, (unsigned)(ADDR_BITS - base))
		     : ADDR_BITS - base;
	if (bits < 0)
		return gw_text_err(err_text, -EINVAL,
				   "'%s': give a number of bits from 0 to %d "
				   "behind the '/'",
				   gw_name_text(text).s, ADDR_BITS - base);
	net.bits = (uint8_t)(base + bits);
	if (!bits_equal(net.addr, zero, net.bits, ADDR_BITS))
		return gw_text_err(err_text, -EINVAL,
				   "'%s' has bits set behind its first %d: "
				   "clear them, or leave out /%d to mean the "
				   "one address",
				   gw_name_text(text).s, bits, bits);
	if (net.kind == GW_NET_IP6 && net.bits >= MAPPED_BITS &&
	    is_mapped(net.addr))
		net.kind = GW_NET_IP4;
	*ret = net;
	return 0;
}

bool
gw_net_match(const struct gw_net *net, const struct sockaddr_storage *ss)
{
	uint8_t addr[RTRS_ADDR_BYTES];
	enum rtrs_addr_kind kind = rtrs_addr_bytes(ss, addr);
	bool fits = false;

	switch (net->kind) {
	case GW_NET_ANY:
		return true;
	case GW_NET_IP4:
		fits = kind == RTRS_ADDR_IP && is_mapped(addr);
		break;
	case GW_NET_IP6:
		fits = kind == RTRS_ADDR_IP && !is_mapped(addr);
		break;
	case GW_NET_GID:
		fits = kind == RTRS_ADDR_GID;
		break;
	}
	return fits && bits_equal(net->addr, addr, 0, net->bits);
}

/* ---------------------------------------------------------------- names */

bool
gw_name_match(const char *pattern, const char *name)
{
	return !fnmatch(pattern, name, 0);
}

/* Where the set that begins at s ('[') ends; NULL: nowhere. */
static const char *
set_end(const char *s)
{
	s++;
	if (*s == '!' || *s == '^')
		s++;
	if (*s == ']')
		s++;
	for (; *s && *s != ']'; s++)
		if (*s == '\\' && s[1])
			s++;
	return *s ? s : NULL;
}

int
gw_name_pattern_check(const char *pattern, char err_text[GW_TEXT_MAX])
{
	if (!*pattern)
		return gw_text_err(err_text, -EINVAL,
				   "the pattern is empty; '*' matches all");
	for (const char *s = pattern; *s; s++) {
		if (*s == '\\') {
			if (!*++s)
				return gw_text_err(err_text, -EINVAL,
						   "'%s' ends in a '\\' that "
						   "has nothing to protect",
						   gw_name_text(pattern).s);
		} else if (*s == '[') {
			s = set_end(s);
			if (!s)
				return gw_text_err(
					err_text, -EINVAL,
					"'%s' has a '[' without its ']'; "
					"write '\\[' for the character",
					gw_name_text(pattern).s);
		}
	}
	return 0;
}

/* ---------------------------------------------------------------- lists */

static const char separators[] = ", \t";

/*
 * Calls add for each member of the list in text. On failure, whatever was added
 * by then stays: the callers take it back.
 */
static int
for_each_member(const char *text, void *list,
		int (*add)(void *list, const char *member,
			   char err_text[GW_TEXT_MAX]),
		char err_text[GW_TEXT_MAX])
{
	cleanup_free char *copy = strdup(text);
	char *save, *member;
	bool any = false;
	int r;

	if (!copy)
		return gw_text_err(err_text, -ENOMEM, "out of memory");
	for (member = strtok_r(copy, separators, &save); member;
	     member = strtok_r(NULL, separators, &save)) {
		r = add(list, member, err_text);
		if (r < 0)
			return r;
		any = true;
	}
	return any ? 0 : gw_text_err(err_text, -EINVAL, "the list is empty");
}

/* Room for one more of size bytes in a list of n; NULL: out of memory. */
static void *
grow(void **array, unsigned n, size_t size)
{
	void *p = reallocarray(*array, (size_t)n + 1, size);

	if (!p)
		return NULL;
	*array = p;
	return (char *)p + n * size;
}

static int
add_net(void *arg, const char *member, char err_text[GW_TEXT_MAX])
{
	struct gw_net_list *list = arg;
	struct gw_net net, *slot;
	void *array = list->nets;
	int r = gw_net_parse(member, &net, err_text);

	if (r < 0)
		return r;
	slot = grow(&array, list->n, sizeof(net));
	if (!slot)
		return gw_text_err(err_text, -ENOMEM, "out of memory");
	list->nets = array;
	*slot = net;
	list->n++;
	return 0;
}

int
gw_net_list_add(struct gw_net_list *list, const char *text,
		char err_text[GW_TEXT_MAX])
{
	unsigned n = list->n;
	int r = for_each_member(text, list, add_net, err_text);

	if (r < 0)
		list->n = n;
	return r;
}

int
gw_net_list_copy(struct gw_net_list *list, const struct gw_net_list *src)
{
	struct gw_net *nets;

	if (!src->n)
		return 0;
	nets = reallocarray(list->nets, (size_t)list->n + src->n,
			    sizeof(*nets));
	if (!nets)
		return -ENOMEM;
	memcpy(nets + list->n, src->nets, src->n * sizeof(*nets));
	list->nets = nets;
	list->n += src->n;
	return 0;
}

void
gw_net_list_clear(struct gw_net_list *list)
{
	free(list->nets);
	*list = (struct gw_net_list){0};
}

bool
gw_net_list_match(const struct gw_net_list *list,
		  const struct sockaddr_storage *ss)
{
	for (unsigned i = 0; i < list->n; i++)
		if (gw_net_match(&list->nets[i], ss))
			return true;
	return false;
}

bool
gw_net_list_equal(const struct gw_net_list *a, const struct gw_net_list *b)
{
	if (a->n != b->n)
		return false;
	for (unsigned i = 0; i < a->n; i++) {
		const struct gw_net *x = &a->nets[i], *y = &b->nets[i];

		if (x->kind != y->kind || x->bits != y->bits ||
		    memcmp(x->addr, y->addr, sizeof(x->addr)))
			return false;
	}
	return true;
}

static void
name_list_cut(struct gw_name_list *list, unsigned n)
{
	while (list->n > n)
		free(list->patterns[--list->n]);
}

static int
push_name(struct gw_name_list *list, const char *name)
{
	void *array = list->patterns;
	char *copy = strdup(name), **slot;

	slot = copy ? grow(&array, list->n, sizeof(copy)) : NULL;
	if (!slot) {
		free(copy);
		return -ENOMEM;
	}
	list->patterns = array;
	*slot = copy;
	list->n++;
	return 0;
}

static int
add_name(void *list, const char *member, char err_text[GW_TEXT_MAX])
{
	int r = gw_name_pattern_check(member, err_text);

	if (r < 0)
		return r;
	r = push_name(list, member);
	return r < 0 ? gw_text_err(err_text, r, "out of memory") : 0;
}

int
gw_name_list_add(struct gw_name_list *list, const char *text,
		 char err_text[GW_TEXT_MAX])
{
	unsigned n = list->n;
	int r = for_each_member(text, list, add_name, err_text);

	if (r < 0)
		name_list_cut(list, n);
	return r;
}

int
gw_name_list_copy(struct gw_name_list *list, const struct gw_name_list *src)
{
	unsigned n = list->n;

	for (unsigned i = 0; i < src->n; i++) {
		if (push_name(list, src->patterns[i]) < 0) {
			name_list_cut(list, n);
			return -ENOMEM;
		}
	}
	return 0;
}

void
gw_name_list_clear(struct gw_name_list *list)
{
	name_list_cut(list, 0);
	free(list->patterns);
	*list = (struct gw_name_list){0};
}

bool
gw_name_list_match(const struct gw_name_list *list, const char *name)
{
	for (unsigned i = 0; i < list->n; i++)
		if (gw_name_match(list->patterns[i], name))
			return true;
	return false;
}

bool
gw_name_list_equal(const struct gw_name_list *a, const struct gw_name_list *b)
{
	if (a->n != b->n)
		return false;
	for (unsigned i = 0; i < a->n; i++)
		if (strcmp(a->patterns[i], b->patterns[i]))
			return false;
	return true;
}
