/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the clients hold, by address: connections, sessions and chunk memory,
 * how fast they connect, and the limits on all that. Not locked: access.c holds
 * its mutex around each call. Work is done when clients connect and leave only.
 *
 * An address is counted with its neighbours: IPv6 by prefix, since one host has
 * as many addresses as it likes; link-local addresses and GIDs, whose prefix is
 * that of everybody, one by one. Of addresses that hold nothing,
 * GW_ACCOUNT_IDLE_MAX are remembered; those seen longest ago make room.
 */
#ifndef GATEWAY_ACCESS_ACCOUNT_H
#define GATEWAY_ACCESS_ACCOUNT_H

#include "gateway/text.h"
#include "rtrs/rtrs.h"

#define GW_ACCOUNT_IDLE_MAX 4096

/* 0 is no limit, of each but the bits. */
struct gw_access_limits {
	/* Of each address: */
	unsigned addr_sessions;
	unsigned addr_connections;
	uint64_t addr_memory;        /* bytes of chunks */
	unsigned addr_connect_rate;  /* connections per second, in the mean */
	unsigned addr_connect_burst; /* and at once; 0: as many as the rate */
	/* How many bits tell one address from another, from the first on. */
	unsigned addr_bits4; /* of 32 */
	unsigned addr_bits6; /* of 128 */
	/* Of all together: */
	unsigned sessions;
	uint64_t memory;
};

/* Why something was refused. The first are rules, the others limits. */
enum gw_access_reason {
	GW_ACCESS_CONNECT_RULE, /* a connection, by its address */
	GW_ACCESS_SESSION_RULE, /* a path, by address and session name */
	GW_ACCESS_PATH_RULE,    /* a path, by a device that is open */
	GW_ACCESS_OPEN_RULE,    /* an open */
	GW_ACCESS_MODE_RULE,    /* an open, by its mode */
	GW_ACCESS_ADDR_RATE,
	GW_ACCESS_ADDR_CONNECTIONS,
	GW_ACCESS_ADDR_SESSIONS,
	GW_ACCESS_ADDR_MEMORY,
	GW_ACCESS_SESSIONS,
	GW_ACCESS_MEMORY,
	GW_ACCESS_N_REASONS,
};

/* What was refused to an address for one reason; access.c's. */
struct gw_refusal {
	struct gw_refusal *next;
	enum gw_access_reason reason;
	unsigned n;                  /* since the last line of the log */
	uint64_t logged_at;          /* when that was */
	char what[GW_NAME_TEXT_MAX]; /* what the last one asked for, or "" */
	char why[GW_NAME_TEXT_MAX];
};

struct gw_account_addr;
struct gw_account;

/*
 * forget is called for an address that makes room, while its refusals are still
 * there; it must not call back. -ENOMEM.
 */
int gw_account_new(void (*forget)(void *user, struct gw_account_addr *addr),
		   void *user, struct gw_account **ret);
void gw_account_free(struct gw_account *a); /* NULL is fine */
/*
 * New limits hold for what comes; what is there stays. New bits hold for
 * addresses that come; what older ones hold is counted as it was.
 */
void gw_account_set_limits(struct gw_account *a,
			   const struct gw_access_limits *limits);
const struct gw_access_limits *gw_account_limits(const struct gw_account *a);

/*
 * The entry of an address, made if need be; NULL: no memory. Good until the
 * next call of this function.
 */
struct gw_account_addr *gw_account_addr(struct gw_account *a,
					const struct sockaddr_storage *peer,
					uint64_t now);
/* "10.0.0.7", "2001:db8::/64", "gid:fe80::1"; a total function. */
void gw_account_addr_text(const struct gw_account_addr *addr,
			  char ret[RTRS_ADDR_TEXT_MAX]);
/* The head of its list, which the account frees with the address. */
struct gw_refusal **gw_account_refusals(struct gw_account_addr *addr);

/* May the address connect once more now? 0, or -EAGAIN. */
int gw_account_connect(struct gw_account *a, struct gw_account_addr *addr,
		       uint64_t now);

/* A path that is to be, or was, charged. */
struct gw_charge {
	const struct rtrs_uuid *sess_uuid, *path_uuid;
	unsigned n_cons;
	uint64_t memory; /* bytes */
};
/*
 * Charges a path to addr, and its session too if it is the first of that. A
 * session counts for the address of its first path until its last one is gone.
 * -EDQUOT (a limit of the address) or -ENOMEM (one of all) with *ret_reason; or
 * -ENOMEM with GW_ACCESS_N_REASONS, when there is no memory to keep account.
 * Nothing was charged then.
 */
int gw_account_charge(struct gw_account *a, struct gw_account_addr *addr,
		      const struct gw_charge *c,
		      enum gw_access_reason *ret_reason);
/* Takes back what was charged for the path; nothing if nothing was. */
void gw_account_discharge(struct gw_account *a,
			  const struct rtrs_uuid *sess_uuid,
			  const struct rtrs_uuid *path_uuid);

struct gw_account_totals {
	unsigned addresses; /* remembered, those that hold nothing too */
	unsigned sessions, paths, connections;
	uint64_t memory;
};
void gw_account_totals(const struct gw_account *a,
		       struct gw_account_totals *ret);
/* Calls fn for each address; fn must not call back. */
void gw_account_for_each(struct gw_account *a,
			 void (*fn)(void *user, struct gw_account_addr *addr),
			 void *user);

#endif
