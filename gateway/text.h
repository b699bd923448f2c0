/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names that came from a peer or a user, made fit for a line of a log or an
 * answer.
 */
#ifndef GATEWAY_TEXT_H
#define GATEWAY_TEXT_H

#include <stddef.h>

#include "proto/rnbd-msg.h"

/* A line for the peer that asked or the user that configured. */
#define GW_TEXT_MAX RNBD_EXPLAIN_RSP_LEN

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

/* Writes err_text, cut when it is too long, and returns err. */
int gw_text_err(char err_text[GW_TEXT_MAX], int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
