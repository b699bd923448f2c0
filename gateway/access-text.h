/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Verdicts and limits in words: what the log says of a refusal, and what the
 * peer is told.
 */
#ifndef GATEWAY_ACCESS_TEXT_H
#define GATEWAY_ACCESS_TEXT_H

#include "gateway/access-account.h"
#include "gateway/access-rule.h"
#include "gateway/text.h"

/* --- for the log */

/* Which rule refuses, and what it allows instead. */
void gw_verdict_text(struct gw_verdict v, char buf[GW_NAME_TEXT_MAX]);
/* Which limit is reached; memory: bytes that the path would have taken. */
void gw_limit_text(const struct gw_access_limits *l,
		   enum gw_access_reason reason, uint64_t memory,
		   char buf[GW_NAME_TEXT_MAX]);
/* What was asked for, without its first and last quotation mark. */
void gw_open_text(const char *dev_name, const char *sess_name,
		  char buf[GW_NAME_TEXT_MAX]);

/* --- for the peer: not which rule, only what it may not do. -EACCES */

int gw_say_session(struct gw_verdict v, const char *sess_name,
		   char err_text[GW_TEXT_MAX]);
int gw_say_open(struct gw_verdict v, const char *sess_name,
		const char *dev_name, char err_text[GW_TEXT_MAX]);

#endif
