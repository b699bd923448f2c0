/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Access rules: who may connect, under which name, and open what. A list in
 * order; of all that match, the first decides. Without any rule all is allowed,
 * with one whatever no rule allows is refused.
 *
 * The questions only read: any thread, as long as nobody adds.
 */
#ifndef GATEWAY_ACCESS_RULE_H
#define GATEWAY_ACCESS_RULE_H

#include "gateway/match.h"
#include "rtrs/base/util.h"

enum gw_rule_action {
	GW_RULE_NONE, /* not said yet */
	GW_RULE_ALLOW,
	GW_RULE_DENY,
	/* Allows the sessions at the addresses, and denies them elsewhere. */
	GW_RULE_BIND,
};

#define GW_MODE_BIT(mode) BIT(mode) /* of an RNBD_ACCESS_* */
#define GW_MODES_ALL                                                           \
	(GW_MODE_BIT(RNBD_ACCESS_RO) | GW_MODE_BIT(RNBD_ACCESS_RW) |           \
	 GW_MODE_BIT(RNBD_ACCESS_MIGRATION))

/* An empty list or no mode: any. All zero is a rule without an action. */
struct gw_rule {
	enum gw_rule_action action;
	struct gw_net_list addresses;
	struct gw_name_list sessions; /* patterns of session names */
	struct gw_name_list exports;  /* patterns of device names */
	/*
	 * GW_MODE_BIT()s. An allowing rule decides about its exports whatever
	 * the mode, and refuses what is not among these; a denying rule is
	 * about opens in these modes only.
	 */
	unsigned modes;
	/* The ruleset's: */
	unsigned ordinal; /* from 1, as configured */
	bool elsewhere;   /* denying half of a BIND: at all but addresses */
};
void gw_rule_clear(struct gw_rule *rule);

struct gw_ruleset;
int gw_ruleset_new(struct gw_ruleset **ret); /* -ENOMEM */
void gw_ruleset_free(struct gw_ruleset *rs); /* NULL is fine */
/*
 * Appends rule and takes over what it holds; it is empty then. -EINVAL or
 * -ENOMEM with err_text; then it is the caller's as before.
 */
int gw_ruleset_add(struct gw_ruleset *rs, struct gw_rule *rule,
		   char err_text[GW_TEXT_MAX]);
/* Rules as configured. */
unsigned gw_ruleset_count(const struct gw_ruleset *rs);

enum gw_verdict_kind {
	GW_VERDICT_ALLOWED,
	GW_VERDICT_DENIED,    /* by a rule */
	GW_VERDICT_ELSEWHERE, /* a rule binds the name to other addresses */
	GW_VERDICT_MODE,      /* a rule allows other modes */
	GW_VERDICT_NO_RULE,   /* none matches */
};
struct gw_verdict {
	enum gw_verdict_kind kind;
	unsigned ordinal; /* of the rule that decided; NO_RULE: 0 */
	unsigned modes;   /* MODE: what is allowed */
};

/* Is there anything that a client of this address may do? */
struct gw_verdict gw_ruleset_connect(const struct gw_ruleset *rs,
				     const struct sockaddr_storage *peer);
/* Is there anything that this session may do from this address? */
struct gw_verdict gw_ruleset_session(const struct gw_ruleset *rs,
				     const struct sockaddr_storage *peer,
				     const char *sess_name);
/* May it open dev_name in this RNBD_ACCESS_* mode? */
struct gw_verdict gw_ruleset_open(const struct gw_ruleset *rs,
				  const struct sockaddr_storage *peer,
				  const char *sess_name, const char *dev_name,
				  uint8_t mode);

/*
 * What device names and patterns are brought to before they are compared: a
 * leading, trailing or repeated '/' and components "." mean nothing, as they
 * mean nothing to the search path. ret may not overlap name.
 */
void gw_device_name_canonical(const char *name, char *ret, size_t size);

#endif
