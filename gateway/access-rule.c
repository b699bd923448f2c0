/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/access-rule.h"

#include <errno.h>
#include <string.h>

struct gw_ruleset {
	struct gw_rule *rules;
	unsigned n;
	unsigned n_configured; /* a GW_RULE_BIND is two of rules */
};

void
gw_rule_clear(struct gw_rule *rule)
{
	gw_net_list_clear(&rule->addresses);
	gw_name_list_clear(&rule->sessions);
	gw_name_list_clear(&rule->exports);
	*rule = (struct gw_rule){0};
}

int
gw_ruleset_new(struct gw_ruleset **ret)
{
	struct gw_ruleset *rs = calloc(1, sizeof(*rs));

	if (!rs)
		return -ENOMEM;
	*ret = rs;
	return 0;
}

void
gw_ruleset_free(struct gw_ruleset *rs)
{
	if (!rs)
		return;
	for (unsigned i = 0; i < rs->n; i++)
		gw_rule_clear(&rs->rules[i]);
	free(rs->rules);
	free(rs);
}

unsigned
gw_ruleset_count(const struct gw_ruleset *rs)
{
	return rs->n_configured;
}

/* ---------------------------------------------------------------- making */

void
gw_device_name_canonical(const char *name, char *ret, size_t size)
{
	size_t n = 0;

	while (*name) {
		size_t len = strcspn(name, "/");

		if (len && !(len == 1 && *name == '.')) {
			if (n && n < size - 1)
				ret[n++] = '/';
			for (size_t i = 0; i < len && n < size - 1; i++)
				ret[n++] = name[i];
		}
		name += len;
		name += strspn(name, "/");
	}
	ret[n] = '\0';
}

/* In place: they only get shorter. */
static int
canonical_patterns(struct gw_name_list *list)
{
	for (unsigned i = 0; i < list->n; i++) {
		char *pattern = list->patterns[i];
		cleanup_free char *copy = strdup(pattern);

		if (!copy)
			return -ENOMEM;
		gw_device_name_canonical(copy, pattern, strlen(copy) + 1);
	}
	return 0;
}

static int
check_rule(const struct gw_rule *rule, char err_text[GW_TEXT_MAX])
{
	switch (rule->action) {
	case GW_RULE_ALLOW:
	case GW_RULE_DENY:
		return 0;
	case GW_RULE_BIND:
		if (rule->addresses.n && rule->sessions.n)
			return 0;
		return gw_text_err(err_text, -EINVAL,
				   "a rule that binds needs the session names "
				   "and the addresses that they are bound to");
	case GW_RULE_NONE:
		break;
	}
	return gw_text_err(err_text, -EINVAL,
			   "a rule needs its action: allow, deny or bind");
}

int
gw_ruleset_add(struct gw_ruleset *rs, struct gw_rule *rule,
	       char err_text[GW_TEXT_MAX])
{
	struct gw_rule elsewhere = {
		.action = GW_RULE_DENY,
		.elsewhere = true,
		.ordinal = rs->n_configured + 1,
	};
	struct gw_rule *rules;
	int r = check_rule(rule, err_text);

	if (r < 0)
		return r;
	rules = reallocarray(rs->rules, (size_t)rs->n + 2, sizeof(*rules));
	if (!rules)
		goto no_memory;
	rs->rules = rules;
	if (canonical_patterns(&rule->exports) < 0)
		goto no_memory;
	if (rule->action == GW_RULE_BIND &&
	    (gw_name_list_copy(&elsewhere.sessions, &rule->sessions) < 0 ||
	     gw_net_list_copy(&elsewhere.addresses, &rule->addresses) < 0))
		goto no_memory;
	rules[rs->n] = *rule;
	rules[rs->n].ordinal = ++rs->n_configured;
	if (rule->action == GW_RULE_BIND) {
		rules[rs->n].action = GW_RULE_ALLOW;
		rules[++rs->n] = elsewhere;
	}
	rs->n++;
	*rule = (struct gw_rule){0};
	return 0;

no_memory:
	gw_rule_clear(&elsewhere);
	return gw_text_err(err_text, -ENOMEM, "out of memory");
}

/* ------------------------------------------------------------- questions */

static bool
means_address(const struct gw_rule *rule, const struct sockaddr_storage *peer)
{
	if (!rule->addresses.n)
		return true;
	return gw_net_list_match(&rule->addresses, peer) != rule->elsewhere;
}

static bool
means_session(const struct gw_rule *rule, const char *sess_name)
{
	return !rule->sessions.n ||
	       gw_name_list_match(&rule->sessions, sess_name);
}

static struct gw_verdict
allowed(void)
{
	return (struct gw_verdict){.kind = GW_VERDICT_ALLOWED};
}

static struct gw_verdict
denied(const struct gw_rule *rule)
{
	return (struct gw_verdict){
		.kind = rule->elsewhere ? GW_VERDICT_ELSEWHERE
					: GW_VERDICT_DENIED,
		.ordinal = rule->ordinal,
	};
}

static struct gw_verdict
no_rule(const struct gw_ruleset *rs)
{
	return (struct gw_verdict){
		.kind = rs->n ? GW_VERDICT_NO_RULE : GW_VERDICT_ALLOWED,
	};
}

/* Does a denying rule leave nothing to be opened by those that it means? */
static bool
denies_all(const struct gw_rule *rule)
{
	return !rule->exports.n &&
	       (!rule->modes || rule->modes == GW_MODES_ALL);
}

struct gw_verdict
gw_ruleset_connect(const struct gw_ruleset *rs,
		   const struct sockaddr_storage *peer)
{
	for (unsigned i = 0; i < rs->n; i++) {
		const struct gw_rule *rule = &rs->rules[i];

		if (!means_address(rule, peer))
			continue;
		if (rule->action == GW_RULE_ALLOW)
			return allowed();
		if (!rule->sessions.n && denies_all(rule))
			return denied(rule);
	}
	return no_rule(rs);
}

struct gw_verdict
gw_ruleset_session(const struct gw_ruleset *rs,
		   const struct sockaddr_storage *peer, const char *sess_name)
{
	for (unsigned i = 0; i < rs->n; i++) {
		const struct gw_rule *rule = &rs->rules[i];

		if (!means_address(rule, peer) ||
		    !means_session(rule, sess_name))
			continue;
		if (rule->action == GW_RULE_ALLOW)
			return allowed();
		if (denies_all(rule))
			return denied(rule);
	}
	return no_rule(rs);
}

struct gw_verdict
gw_ruleset_open(const struct gw_ruleset *rs,
		const struct sockaddr_storage *peer, const char *sess_name,
		const char *dev_name, uint8_t mode)
{
	/* An unknown mode is in no list. */
	unsigned bit = mode <= RNBD_ACCESS_MIGRATION ? GW_MODE_BIT(mode) : 0;
	char name[RNBD_NAME_LEN];

	gw_device_name_canonical(dev_name, name, sizeof(name));
	for (unsigned i = 0; i < rs->n; i++) {
		const struct gw_rule *rule = &rs->rules[i];

		if (!means_address(rule, peer) ||
		    !means_session(rule, sess_name) ||
		    (rule->exports.n &&
		     !gw_name_list_match(&rule->exports, name)))
			continue;
		if (rule->action == GW_RULE_DENY) {
			if (!rule->modes || rule->modes & bit)
				return denied(rule);
			continue;
		}
		if (!rule->modes || rule->modes & bit)
			return allowed();
		return (struct gw_verdict){
			.kind = GW_VERDICT_MODE,
			.ordinal = rule->ordinal,
			.modes = rule->modes,
		};
	}
	return no_rule(rs);
}
