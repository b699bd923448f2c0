/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names that came from a peer or a user, made fit for a line of a log or an
 * answer.
 */
#ifndef GATEWAY_TEXT_H
#define GATEWAY_TEXT_H

#include <stddef.h>

/* Long names are cut so that the words around them fit in GW_TEXT_MAX. */
#define GW_NAME_TEXT_MAX 96

struct gw_name_text {
	char s[GW_NAME_TEXT_MAX];
};

/*
 * Copies src with whatever is not printable ASCII replaced by '?', cut with
 * "..." when it is too long. Always NUL-terminated; size >= 4. Returns dst.
 */
char *gw_text_printable(char *dst, size_t size, const char *src);

/* For arguments: gw_name_text(name).s lives until the end of the expression. */
struct gw_name_text gw_name_text(const char *name);

#endif
