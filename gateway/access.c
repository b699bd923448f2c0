/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/access.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "gateway/access-text.h"

struct gw_access {
	struct gw_access_params p;
	pthread_mutex_t lock;     /* guards all below */
	struct gw_ruleset *rules; /* NULL: none */
	struct gw_account *account;
	uint64_t refused[GW_ACCESS_N_REASONS];
	uint64_t deadline; /* of the first line that waits; may be early */
};

static const struct {
	const char *name;   /* for metrics */
	const char *object; /* of the log */
} reasons[GW_ACCESS_N_REASONS] = {
	[GW_ACCESS_CONNECT_RULE] = {"connect_rule", "connection"},
	[GW_ACCESS_SESSION_RULE] = {"session_rule", "session"},
	[GW_ACCESS_PATH_RULE] = {"path_rule", "path"},
	[GW_ACCESS_OPEN_RULE] = {"open_rule", "open"},
	[GW_ACCESS_MODE_RULE] = {"mode_rule", "open"},
	[GW_ACCESS_ADDR_RATE] = {"address_rate", "connection"},
	[GW_ACCESS_ADDR_CONNECTIONS] = {"address_connections", "path"},
	[GW_ACCESS_ADDR_SESSIONS] = {"address_sessions", "session"},
	[GW_ACCESS_ADDR_MEMORY] = {"address_memory", "path"},
	[GW_ACCESS_SESSIONS] = {"sessions", "session"},
	[GW_ACCESS_MEMORY] = {"memory", "path"},
};

const char *
gw_access_reason_name(unsigned reason)
{
	return reason < GW_ACCESS_N_REASONS ? reasons[reason].name : "?";
}

/* ------------------------------------------------------------------- log */

static void
log_refusals(struct gw_access *a, struct gw_account_addr *addr,
	     struct gw_refusal *r, uint64_t now)
{
	char text[RTRS_ADDR_TEXT_MAX], span[32] = "";

	gw_account_addr_text(addr, text);
	if (r->logged_at)
		snprintf(span, sizeof(span), " in %" PRIu64 " s",
			 (now - r->logged_at + NSEC_PER_SEC / 2) /
				 NSEC_PER_SEC);
	log_warn(a->p.log, "refused %u %s%s of %s%s: %s%s%s%s", r->n,
		 reasons[r->reason].object, r->n == 1 ? "" : "s", text, span,
		 r->why, *r->what ? " (the last: '" : "", r->what,
		 *r->what ? "')" : "");
	r->n = 0;
	r->logged_at = now;
}

static uint64_t
refusal_due(const struct gw_refusal *r)
{
	return time_after_ms(r->logged_at, GW_ACCESS_LOG_MS);
}

/* An address makes room for others: what was not said of it is said now. */
static void
forget(void *user, struct gw_account_addr *addr)
{
	struct gw_access *a = user;
	struct gw_refusal *r;

	LL_FOREACH(*gw_account_refusals(addr), r) {
		if (r->n)
			log_refusals(a, addr, r, a->p.now());
	}
}

/* Logs what is due, forgets what is old, and learns what is due next. */
static void
tick_addr(void *user, struct gw_account_addr *addr)
{
	struct gw_refusal **head = gw_account_refusals(addr), *r, *next;
	struct gw_access *a = user;
	uint64_t now = a->p.now();

	LL_FOREACH_SAFE(*head, r, next) {
		if (now < refusal_due(r)) {
			if (r->n)
				a->deadline =
					time_min(a->deadline, refusal_due(r));
		} else if (r->n) {
			log_refusals(a, addr, r, now);
		} else {
			LL_DELETE(*head, r);
			free(r);
		}
	}
}

static struct gw_refusal *
refusal_get(struct gw_account_addr *addr, enum gw_access_reason reason)
{
	struct gw_refusal **head = gw_account_refusals(addr), *r;

	LL_FOREACH(*head, r) {
		if (r->reason == reason)
			return r;
	}
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->reason = reason;
	LL_PREPEND(*head, r);
	return r;
}

/*
 * Counts a refusal, and logs it unless a line like it was logged just now.
 * True: the deadline became earlier. addr may be NULL.
 */
static bool
refuse(struct gw_access *a, struct gw_account_addr *addr,
       enum gw_access_reason reason, const char *what, const char *why)
{
	uint64_t now = a->p.now(), due;
	struct gw_refusal *r;

	a->refused[reason]++;
	r = addr ? refusal_get(addr, reason) : NULL;
	if (!r) {
		log_warn(a->p.log,
			 "refused a %s: %s; and there is no memory to "
			 "count it",
			 reasons[reason].object, why);
		return false;
	}
	r->n++;
	gw_text_printable(r->what, sizeof(r->what), what);
	snprintf(r->why, sizeof(r->why), "%s", why);
	if (!r->logged_at || now >= refusal_due(r)) {
		/* A single one after a pause: no span. */
		if (r->n == 1)
			r->logged_at = 0;
		log_refusals(a, addr, r, now);
		return false;
	}
	due = refusal_due(r);
	if (due >= a->deadline)
		return false;
	a->deadline = due;
	return true;
}

static void
unlock_and_wake(struct gw_access *a, bool wake)
{
	pthread_mutex_unlock(&a->lock);
	if (wake && a->p.wake)
		a->p.wake(a->p.user);
}

uint64_t
gw_access_deadline(struct gw_access *a)
{
	uint64_t ret;

	if (!a)
		return TIME_NEVER;
	pthread_mutex_lock(&a->lock);
	ret = a->deadline;
	pthread_mutex_unlock(&a->lock);
	return ret;
}

void
gw_access_tick(struct gw_access *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	if (a->p.now() >= a->deadline) {
		a->deadline = TIME_NEVER;
		gw_account_for_each(a->account, tick_addr, a);
	}
	pthread_mutex_unlock(&a->lock);
}

/* ---------------------------------------------------------------- object */

int
gw_access_new(const struct gw_access_params *p, struct gw_access **ret)
{
	struct gw_access *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	a->p = *p;
	a->deadline = TIME_NEVER;
	r = gw_account_new(forget, a, &a->account);
	if (r < 0) {
		free(a);
		return r;
	}
	pthread_mutex_init(&a->lock, NULL);
	*ret = a;
	return 0;
}

static void
forget_each(void *user, struct gw_account_addr *addr)
{
	forget(user, addr);
}

void
gw_access_free(struct gw_access *a)
{
	if (!a)
		return;
	gw_account_for_each(a->account, forget_each, a);
	gw_account_free(a->account);
	gw_ruleset_free(a->rules);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

void
gw_access_replace(struct gw_access *a, struct gw_ruleset *rules)
{
	struct gw_ruleset *old;

	pthread_mutex_lock(&a->lock);
	old = a->rules;
	a->rules = rules;
	pthread_mutex_unlock(&a->lock);
	gw_ruleset_free(old);
}

void
gw_access_set_limits(struct gw_access *a, const struct gw_access_limits *limits)
{
	pthread_mutex_lock(&a->lock);
	gw_account_set_limits(a->account, limits);
	pthread_mutex_unlock(&a->lock);
}

void
gw_access_stats(struct gw_access *a, struct gw_access_stats *ret)
{
	*ret = (struct gw_access_stats){0};
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	memcpy(ret->refused, a->refused, sizeof(ret->refused));
	gw_account_totals(a->account, &ret->now);
	ret->limits = *gw_account_limits(a->account);
	ret->rules = a->rules ? gw_ruleset_count(a->rules) : 0;
	pthread_mutex_unlock(&a->lock);
}

/* ----------------------------------------------------------------- rules */

/* Counts and logs what a rule refused to peer. */
static bool
refuse_by_rule(struct gw_access *a, const struct sockaddr_storage *peer,
	       enum gw_access_reason reason, const char *what,
	       struct gw_verdict v)
{
	char why[GW_NAME_TEXT_MAX];

	gw_verdict_text(v, why);
	return refuse(a, gw_account_addr(a->account, peer, a->p.now()), reason,
		      what, why);
}

int
gw_access_check_connect(struct gw_access *a,
			const struct sockaddr_storage *peer)
{
	struct gw_verdict v = {.kind = GW_VERDICT_ALLOWED};
	struct gw_account_addr *addr;
	bool wake = false;
	uint64_t now;
	int err = 0;

	if (!a)
		return 0;
	pthread_mutex_lock(&a->lock);
	now = a->p.now();
	if (a->rules)
		v = gw_ruleset_connect(a->rules, peer);
	addr = gw_account_addr(a->account, peer, now);
	if (v.kind != GW_VERDICT_ALLOWED) {
		err = -EACCES;
		wake = refuse_by_rule(a, peer, GW_ACCESS_CONNECT_RULE, "", v);
	} else if (!addr) {
		err = -ENOMEM;
	} else {
		err = gw_account_connect(a->account, addr, now);
		if (err < 0)
			wake = refuse(a, addr, GW_ACCESS_ADDR_RATE, "",
				      "it connects faster than "
				      "address-connect-rate allows");
	}
	unlock_and_wake(a, wake);
	return err;
}

int
gw_access_check_session(struct gw_access *a,
			const struct sockaddr_storage *peer,
			const char *sess_name, char err_text[GW_TEXT_MAX])
{
	struct gw_verdict v = {.kind = GW_VERDICT_ALLOWED};
	bool wake = false;

	if (!a)
		return 0;
	pthread_mutex_lock(&a->lock);
	if (a->rules)
		v = gw_ruleset_session(a->rules, peer, sess_name);
	if (v.kind != GW_VERDICT_ALLOWED)
		wake = refuse_by_rule(a, peer, GW_ACCESS_SESSION_RULE,
				      sess_name, v);
	unlock_and_wake(a, wake);
	return v.kind == GW_VERDICT_ALLOWED
		       ? 0
		       : gw_say_session(v, sess_name, err_text);
}

static enum gw_access_reason
open_reason(struct gw_verdict v)
{
	return v.kind == GW_VERDICT_MODE ? GW_ACCESS_MODE_RULE
					 : GW_ACCESS_OPEN_RULE;
}

int
gw_access_check_open(struct gw_access *a, const struct sockaddr_storage *peers,
		     unsigned n_peers, const char *sess_name,
		     const char *dev_name, uint8_t mode,
		     char err_text[GW_TEXT_MAX])
{
	struct gw_verdict v = {.kind = GW_VERDICT_ALLOWED};
	char what[GW_NAME_TEXT_MAX];
	bool wake = false;

	if (!a)
		return 0;
	pthread_mutex_lock(&a->lock);
	for (unsigned i = 0; i < n_peers && a->rules; i++) {
		v = gw_ruleset_open(a->rules, &peers[i], sess_name, dev_name,
				    mode);
		if (v.kind == GW_VERDICT_ALLOWED)
			continue;
		gw_open_text(dev_name, sess_name, what);
		wake = refuse_by_rule(a, &peers[i], open_reason(v), what, v);
		break;
	}
	unlock_and_wake(a, wake);
	return v.kind == GW_VERDICT_ALLOWED
		       ? 0
		       : gw_say_open(v, sess_name, dev_name, err_text);
}

int
gw_access_check_path(struct gw_access *a, const struct sockaddr_storage *peer,
		     const char *sess_name, const char *dev_name, uint8_t mode,
		     char err_text[GW_TEXT_MAX])
{
	struct gw_verdict v = {.kind = GW_VERDICT_ALLOWED};
	char what[GW_NAME_TEXT_MAX];
	bool wake = false;

	if (!a)
		return 0;
	pthread_mutex_lock(&a->lock);
	if (a->rules)
		v = gw_ruleset_open(a->rules, peer, sess_name, dev_name, mode);
	if (v.kind != GW_VERDICT_ALLOWED) {
		gw_open_text(dev_name, sess_name, what);
		wake = refuse_by_rule(a, peer, GW_ACCESS_PATH_RULE, what, v);
	}
	unlock_and_wake(a, wake);
	return v.kind == GW_VERDICT_ALLOWED
		       ? 0
		       : gw_say_open(v, sess_name, dev_name, err_text);
}

bool
gw_access_allows_session(struct gw_access *a,
			 const struct sockaddr_storage *peer,
			 const char *sess_name)
{
	bool ret;

	if (!a)
		return true;
	pthread_mutex_lock(&a->lock);
	ret = !a->rules || gw_ruleset_session(a->rules, peer, sess_name).kind ==
				   GW_VERDICT_ALLOWED;
	pthread_mutex_unlock(&a->lock);
	return ret;
}

bool
gw_access_allows_open(struct gw_access *a, const struct sockaddr_storage *peer,
		      const char *sess_name, const char *dev_name, uint8_t mode)
{
	bool ret;

	if (!a)
		return true;
	pthread_mutex_lock(&a->lock);
	ret = !a->rules ||
	      gw_ruleset_open(a->rules, peer, sess_name, dev_name, mode).kind ==
		      GW_VERDICT_ALLOWED;
	pthread_mutex_unlock(&a->lock);
	return ret;
}

/* ---------------------------------------------------------------- limits */

int
gw_access_charge(struct gw_access *a, const struct sockaddr_storage *peer,
		 const struct gw_charge *c)
{
	enum gw_access_reason reason = GW_ACCESS_N_REASONS;
	struct gw_account_addr *addr;
	char why[GW_NAME_TEXT_MAX];
	bool wake = false;
	int err = -ENOMEM;

	if (!a)
		return 0;
	pthread_mutex_lock(&a->lock);
	addr = gw_account_addr(a->account, peer, a->p.now());
	if (addr)
		err = gw_account_charge(a->account, addr, c, &reason);
	if (err < 0 && reason != GW_ACCESS_N_REASONS) {
		gw_limit_text(gw_account_limits(a->account), reason, c->memory,
			      why);
		wake = refuse(a, addr, reason, "", why);
	}
	unlock_and_wake(a, wake);
	return err;
}

void
gw_access_discharge(struct gw_access *a, const struct rtrs_uuid *sess_uuid,
		    const struct rtrs_uuid *path_uuid)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	gw_account_discharge(a->account, sess_uuid, path_uuid);
	pthread_mutex_unlock(&a->lock);
}
