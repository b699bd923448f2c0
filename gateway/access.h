/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may do what, and how much: the access rules in force, what each address
 * holds, and the account of what was refused. Shared by the listeners' thread
 * and all workers, guarded by one mutex inside; asked when clients connect,
 * come up, open and leave, never on the I/O path. Any thread.
 *
 * A refusal is logged here, once per interval, address and reason, with a
 * count, and nobody else needs to: an err_text is what the peer may be told.
 */
#ifndef GATEWAY_ACCESS_H
#define GATEWAY_ACCESS_H

#include "gateway/access-account.h"
#include "gateway/access-rule.h"
#include "rtrs/base/log.h"

struct gw_access;

/* Refusals alike are one line of the log per: */
#define GW_ACCESS_LOG_MS 10000

struct gw_access_params {
	const struct log *log;
	uint64_t (*now)(void);
	/*
	 * gw_access_deadline() became earlier: gw_access_tick() is to be called
	 * by then. On whatever thread asked; may not call back. May be NULL.
	 */
	void (*wake)(void *user);
	void *user;
};

/* Without rules and limits: all is allowed. -ENOMEM. */
int gw_access_new(const struct gw_access_params *p, struct gw_access **ret);
/* Logs what is not logged yet. NULL is fine. */
void gw_access_free(struct gw_access *a);

/*
 * New rules, taken over (NULL: none, all is allowed). They hold for what is
 * asked from now on; gw_server_recheck_paths() and gw_sess_may_open() apply
 * them to what is there.
 */
void gw_access_replace(struct gw_access *a, struct gw_ruleset *rules);
/* Those in place stay though they exceed them. */
void gw_access_set_limits(struct gw_access *a,
			  const struct gw_access_limits *limits);

/* -------------------------------------------------------------- questions */
/*
 * 0, or what the peer gets: -EACCES the rules say no, -EAGAIN it connects too
 * fast. A NULL gw_access allows everything.
 */

/* A connection request: could anything be allowed to this address? */
int gw_access_check_connect(struct gw_access *a,
			    const struct sockaddr_storage *peer);
/* INFO_REQ of a path: may a session of that name come from there? */
int gw_access_check_session(struct gw_access *a,
			    const struct sockaddr_storage *peer,
			    const char *sess_name, char err_text[GW_TEXT_MAX]);
/*
 * OPEN: may the session, whose paths come from all of peers, have the device in
 * that mode (RNBD_ACCESS_*)? All of its addresses must be allowed to.
 */
int gw_access_check_open(struct gw_access *a,
			 const struct sockaddr_storage *peers, unsigned n_peers,
			 const char *sess_name, const char *dev_name,
			 uint8_t mode, char err_text[GW_TEXT_MAX]);
/* The same about a device that is open, for one more path from peer. */
int gw_access_check_path(struct gw_access *a,
			 const struct sockaddr_storage *peer,
			 const char *sess_name, const char *dev_name,
			 uint8_t mode, char err_text[GW_TEXT_MAX]);
/*
 * The same two questions without a refusal: nothing is counted and logged. For
 * what is there already, when rules change.
 */
bool gw_access_allows_session(struct gw_access *a,
			      const struct sockaddr_storage *peer,
			      const char *sess_name);
bool gw_access_allows_open(struct gw_access *a,
			   const struct sockaddr_storage *peer,
			   const char *sess_name, const char *dev_name,
			   uint8_t mode);

/*
 * Charges a path before anything is allocated for it: 0, -EDQUOT a limit of the
 * address is reached, -ENOMEM one of the whole gateway.
 */
int gw_access_charge(struct gw_access *a, const struct sockaddr_storage *peer,
		     const struct gw_charge *c);
void gw_access_discharge(struct gw_access *a, const struct rtrs_uuid *sess_uuid,
			 const struct rtrs_uuid *path_uuid);

/* ----------------------------------------------------------------- numbers */

struct gw_access_stats {
	uint64_t refused[GW_ACCESS_N_REASONS];
	struct gw_account_totals now;
	struct gw_access_limits limits;
	unsigned rules;
};
/* All zero for a NULL gw_access. */
void gw_access_stats(struct gw_access *a, struct gw_access_stats *ret);
/* A word for metrics: "connect_rule", "address_memory"; "?" for no reason. */
const char *gw_access_reason_name(unsigned reason);

/* When there is something to log; TIME_NEVER. */
uint64_t gw_access_deadline(struct gw_access *a);
/* Logs what is due. */
void gw_access_tick(struct gw_access *a);

#endif
