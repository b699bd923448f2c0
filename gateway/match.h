/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whom an access rule means: networks that an address may lie in, and patterns
 * that a name may have. Everything that matches only reads: any thread.
 */
#ifndef GATEWAY_MATCH_H
#define GATEWAY_MATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/text.h"
#include "rtrs/rtrs.h"

/* ------------------------------------------------------------- networks */

enum gw_net_kind {
	GW_NET_ANY,
	GW_NET_IP4, /* addr in the mapped form, bits from 96 */
	GW_NET_IP6,
	GW_NET_GID,
};

struct gw_net {
	enum gw_net_kind kind;
	uint8_t addr[RTRS_ADDR_BYTES];
	uint8_t bits; /* of addr that count, from the first on */
};

/*
 * "10.0.0.0/8", "fe80::/10", "gid:fec0::/64", one address without "/", or
 * "any". -EINVAL, with words in err_text that name text: bits behind the prefix
 * are refused, since they are a slip more often than not.
 */
int gw_net_parse(const char *text, struct gw_net *ret,
		 char err_text[GW_TEXT_MAX]);
/*
 * Does the address lie in the network? IPv4 and its mapped form are one; IPv6
 * networks hold no IPv4, and a GID is no IP address. The interface of a
 * link-local address does not count.
 */
bool gw_net_match(const struct gw_net *net, const struct sockaddr_storage *ss);

/* ---------------------------------------------------------------- names */

/*
 * A shell pattern: '*' any characters, '/' too; '?' one; "[a-z]" one of these;
 * '\' takes the next as it is. The whole name must match.
 */
bool gw_name_match(const char *pattern, const char *name);
/* -EINVAL for what is not a pattern, with words in err_text that name it. */
int gw_name_pattern_check(const char *pattern, char err_text[GW_TEXT_MAX]);

/* ---------------------------------------------------------------- lists */

/* All zero is the empty list, which matches nothing. */
struct gw_net_list {
	struct gw_net *nets;
	unsigned n;
};
struct gw_name_list {
	char **patterns;
	unsigned n;
};

/*
 * Appends what text lists, separated by commas, blanks or both. -EINVAL (an
 * empty text too) or -ENOMEM, with err_text; then the list is as it was.
 */
int gw_net_list_add(struct gw_net_list *list, const char *text,
		    char err_text[GW_TEXT_MAX]);
int gw_name_list_add(struct gw_name_list *list, const char *text,
		     char err_text[GW_TEXT_MAX]);
/* Appends all of src. -ENOMEM; then the list is as it was. */
int gw_net_list_copy(struct gw_net_list *list, const struct gw_net_list *src);
int gw_name_list_copy(struct gw_name_list *list,
		      const struct gw_name_list *src);
/* Frees what the list holds; it is empty then. */
void gw_net_list_clear(struct gw_net_list *list);
void gw_name_list_clear(struct gw_name_list *list);

bool gw_net_list_match(const struct gw_net_list *list,
		       const struct sockaddr_storage *ss);
bool gw_name_list_match(const struct gw_name_list *list, const char *name);
/* The same members in the same order; for telling what a reload changed. */
bool gw_net_list_equal(const struct gw_net_list *a,
		       const struct gw_net_list *b);
bool gw_name_list_equal(const struct gw_name_list *a,
			const struct gw_name_list *b);

#endif
