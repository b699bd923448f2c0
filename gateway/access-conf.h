/* SPDX-License-Identifier: BSD-3-Clause */
/* The keys of [rule], and those of [limits] that are about addresses. */
#ifndef GATEWAY_ACCESS_CONF_H
#define GATEWAY_ACCESS_CONF_H

#include "config/conf.h"
#include "gateway/access-account.h"
#include "gateway/access-rule.h"

/*
 * Of a struct gw_rule that began as all zero. When it is complete,
 * gw_ruleset_add() judges it; gw_rule_clear() if it never is.
 */
extern const struct conf_key gw_rule_keys[];

/* Of a struct gw_access_limits that began as gw_access_limits_init(). */
extern const struct conf_key gw_access_limit_keys[];
void gw_access_limits_init(struct gw_access_limits *l);
/*
 * Once everything is read: the limits of all, of which path_memory bytes are
 * what one path takes, and the defaults that follow from them.
 */
void gw_access_limits_complete(struct gw_access_limits *l,
			       unsigned max_sessions, uint64_t max_memory,
			       uint64_t path_memory);

#endif
