/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/access-account.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "gateway/hash.h"
#include "rtrs/base/util.h"

/* An address that holds nothing is forgotten this long after it was seen. */
#define IDLE_TIMEOUT_MS 60000
#define ADDR_BITS       (RTRS_ADDR_BYTES * 8)
#define MAPPED_BITS     96

struct addr_key {
	uint8_t kind; /* enum rtrs_addr_kind */
	uint8_t bits; /* of addr that count; the others are 0 */
	uint8_t addr[RTRS_ADDR_BYTES];
};

struct gw_account_addr {
	UT_hash_handle hh;
	struct addr_key key;
	unsigned sessions, paths, connections;
	uint64_t memory;
	/* When a client that keeps the rate exactly would connect next. */
	uint64_t next_at;
	uint64_t seen_at;
	struct gw_refusal *refusals;
	/* In gw_account.idle, if it holds nothing. */
	struct gw_account_addr *prev, *next;
};

struct sess_charge {
	UT_hash_handle hh;
	struct rtrs_uuid uuid;
	struct gw_account_addr *owner;
	unsigned paths;
};

struct path_key {
	struct rtrs_uuid sess, path;
};

struct path_charge {
	UT_hash_handle hh;
	struct path_key key;
	struct gw_account_addr *addr;
	struct sess_charge *sess;
	unsigned n_cons;
	uint64_t memory;
};

struct gw_account {
	struct gw_access_limits limits;
	void (*forget)(void *user, struct gw_account_addr *addr);
	void *user;
	struct gw_account_addr *addrs;
	struct gw_account_addr *idle; /* seen longest ago first */
	unsigned n_idle;
	struct sess_charge *sessions;
	struct path_charge *paths;
	struct gw_account_totals totals;
};

/* ------------------------------------------------------------- addresses */

int
gw_account_new(void (*forget)(void *user, struct gw_account_addr *addr),
	       void *user, struct gw_account **ret)
{
	struct gw_account *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->forget = forget;
	a->user = user;
	*ret = a;
	return 0;
}

static void
addr_free(struct gw_account *a, struct gw_account_addr *addr)
{
	struct gw_refusal *r, *next;

	HASH_DEL(a->addrs, addr);
	LL_FOREACH_SAFE(addr->refusals, r, next)
		free(r);
	free(addr);
}

void
gw_account_free(struct gw_account *a)
{
	struct gw_account_addr *addr, *next_addr;
	struct sess_charge *sess, *next_sess;
	struct path_charge *path, *next_path;

	if (!a)
		return;
	HASH_ITER(hh, a->paths, path, next_path) {
		HASH_DEL(a->paths, path);
		free(path);
	}
	HASH_ITER(hh, a->sessions, sess, next_sess) {
		HASH_DEL(a->sessions, sess);
		free(sess);
	}
	HASH_ITER(hh, a->addrs, addr, next_addr)
		addr_free(a, addr);
	free(a);
}

void
gw_account_set_limits(struct gw_account *a,
		      const struct gw_access_limits *limits)
{
	a->limits = *limits;
}

const struct gw_access_limits *
gw_account_limits(const struct gw_account *a)
{
	return &a->limits;
}

/* Bits that tell this address from others, in what rtrs_addr_bytes() gives. */
static unsigned
counted_bits(const struct gw_access_limits *l, enum rtrs_addr_kind kind,
	     const uint8_t addr[RTRS_ADDR_BYTES])
{
	static const uint8_t mapped[MAPPED_BITS / 8] = {
		[10] = 0xff,
		[11] = 0xff,
	};

	if (kind != RTRS_ADDR_IP)
		return ADDR_BITS;
	if (!memcmp(addr, mapped, sizeof(mapped)))
		return MAPPED_BITS + l->addr_bits4;
	/* fe80::/10: the prefix is that of every host. */
	if (addr[0] == 0xfe && (addr[1] & 0xc0) == 0x80)
		return ADDR_BITS;
	return l->addr_bits6;
}

static void
key_of(const struct gw_access_limits *l, const struct sockaddr_storage *peer,
       struct addr_key *ret)
{
	enum rtrs_addr_kind kind;

	memset(ret, 0, sizeof(*ret));
	kind = rtrs_addr_bytes(peer, ret->addr);
	ret->kind = (uint8_t)kind;
	ret->bits = (uint8_t)counted_bits(l, kind, ret->addr);
	for (unsigned i = ret->bits; i < ADDR_BITS; i++)
		ret->addr[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
}

static bool
is_idle(const struct gw_account_addr *addr)
{
	return !addr->paths && !addr->sessions;
}

static void
idle_append(struct gw_account *a, struct gw_account_addr *addr)
{
	DL_APPEND(a->idle, addr);
	a->n_idle++;
}

static void
idle_remove(struct gw_account *a, struct gw_account_addr *addr)
{
	DL_DELETE(a->idle, addr);
	a->n_idle--;
}

/* Of those that hold nothing: what is too old, and what is too many. */
static void
forget_some(struct gw_account *a, uint64_t now)
{
	struct gw_account_addr *addr;

	while ((addr = a->idle) &&
	       (a->n_idle > GW_ACCOUNT_IDLE_MAX ||
		(now >= time_after_ms(addr->seen_at, IDLE_TIMEOUT_MS) &&
		 now >= addr->next_at))) {
		idle_remove(a, addr);
		a->forget(a->user, addr);
		addr_free(a, addr);
	}
}

struct gw_account_addr *
gw_account_addr(struct gw_account *a, const struct sockaddr_storage *peer,
		uint64_t now)
{
	struct gw_account_addr *addr;
	struct addr_key key;

	key_of(&a->limits, peer, &key);
	HASH_FIND(hh, a->addrs, &key, sizeof(key), addr);
	if (addr) {
		if (is_idle(addr))
			idle_remove(a, addr);
	} else {
		addr = calloc(1, sizeof(*addr));
		if (!addr)
			return NULL;
		addr->key = key;
		HASH_ADD(hh, a->addrs, key, sizeof(addr->key), addr);
		if (!addr->hh.tbl) {
			free(addr);
			return NULL;
		}
	}
	addr->seen_at = now;
	if (is_idle(addr))
		idle_append(a, addr);
	forget_some(a, now);
	return addr;
}

void
gw_account_addr_text(const struct gw_account_addr *addr,
		     char ret[RTRS_ADDR_TEXT_MAX])
{
	const struct addr_key *key = &addr->key;
	char host[INET6_ADDRSTRLEN], bits[8] = "";
	bool ip4 = false;

	if (key->kind == RTRS_ADDR_OTHER) {
		snprintf(ret, RTRS_ADDR_TEXT_MAX, "an unknown address");
		return;
	}
	inet_ntop(AF_INET6, key->addr, host, sizeof(host));
	if (key->kind == RTRS_ADDR_IP && !strncmp(host, "::ffff:", 7)) {
		inet_ntop(AF_INET, key->addr + MAPPED_BITS / 8, host,
			  sizeof(host));
		ip4 = true;
	}
	if (key->bits < ADDR_BITS)
		snprintf(bits, sizeof(bits), "/%d",
			 key->bits - (ip4 ? MAPPED_BITS : 0));
	snprintf(ret, RTRS_ADDR_TEXT_MAX, "%s%s%s",
		 key->kind == RTRS_ADDR_GID ? "gid:" : "", host, bits);
}

struct gw_refusal **
gw_account_refusals(struct gw_account_addr *addr)
{
	return &addr->refusals;
}

void
gw_account_for_each(struct gw_account *a,
		    void (*fn)(void *user, struct gw_account_addr *addr),
		    void *user)
{
	struct gw_account_addr *addr, *next;

	HASH_ITER(hh, a->addrs, addr, next)
		fn(user, addr);
}

/* ---------------------------------------------------------------- limits */

/*
 * GCRA: a client that connects once per interval is always in time; one that is
 * early by up to a burst of intervals is borne with.
 */
int
gw_account_connect(struct gw_account *a, struct gw_account_addr *addr,
		   uint64_t now)
{
	const struct gw_access_limits *l = &a->limits;
	uint64_t burst = l->addr_connect_burst ? l->addr_connect_burst
					       : l->addr_connect_rate;
	uint64_t interval, next_at;

	if (!l->addr_connect_rate)
		return 0;
	interval = NSEC_PER_SEC / l->addr_connect_rate;
	next_at = (addr->next_at > now ? addr->next_at : now) + interval;
	if (next_at - now > burst * interval)
		return -EAGAIN;
	addr->next_at = next_at;
	return 0;
}

static bool
exceeds(uint64_t held, uint64_t more, uint64_t limit)
{
	return limit && (more > limit || held > limit - more);
}

static int
check_limits(const struct gw_account *a, const struct gw_account_addr *addr,
	     const struct gw_charge *c, bool new_sess,
	     enum gw_access_reason *ret_reason)
{
	const struct gw_access_limits *l = &a->limits;

	*ret_reason = GW_ACCESS_N_REASONS;
	if (new_sess && exceeds(addr->sessions, 1, l->addr_sessions))
		*ret_reason = GW_ACCESS_ADDR_SESSIONS;
	else if (exceeds(addr->connections, c->n_cons, l->addr_connections))
		*ret_reason = GW_ACCESS_ADDR_CONNECTIONS;
	else if (exceeds(addr->memory, c->memory, l->addr_memory))
		*ret_reason = GW_ACCESS_ADDR_MEMORY;
	if (*ret_reason != GW_ACCESS_N_REASONS)
		return -EDQUOT;
	if (new_sess && exceeds(a->totals.sessions, 1, l->sessions))
		*ret_reason = GW_ACCESS_SESSIONS;
	else if (exceeds(a->totals.memory, c->memory, l->memory))
		*ret_reason = GW_ACCESS_MEMORY;
	return *ret_reason == GW_ACCESS_N_REASONS ? 0 : -ENOMEM;
}

/* ------------------------------------------------------------ the charges */

static struct sess_charge *
find_sess(struct gw_account *a, const struct rtrs_uuid *uuid)
{
	struct sess_charge *sess;

	HASH_FIND(hh, a->sessions, uuid, sizeof(*uuid), sess);
	return sess;
}

static struct sess_charge *
add_sess(struct gw_account *a, const struct rtrs_uuid *uuid)
{
	struct sess_charge *sess = calloc(1, sizeof(*sess));

	if (!sess)
		return NULL;
	sess->uuid = *uuid;
	HASH_ADD(hh, a->sessions, uuid, sizeof(sess->uuid), sess);
	if (sess->hh.tbl)
		return sess;
	free(sess);
	return NULL;
}

static void
remove_sess(struct gw_account *a, struct sess_charge *sess)
{
	HASH_DEL(a->sessions, sess);
	free(sess);
}

static struct path_charge *
add_path(struct gw_account *a, const struct gw_charge *c)
{
	struct path_charge *path = calloc(1, sizeof(*path));

	if (!path)
		return NULL;
	path->key = (struct path_key){*c->sess_uuid, *c->path_uuid};
	path->n_cons = c->n_cons;
	path->memory = c->memory;
	HASH_ADD(hh, a->paths, key, sizeof(path->key), path);
	if (path->hh.tbl)
		return path;
	free(path);
	return NULL;
}

int
gw_account_charge(struct gw_account *a, struct gw_account_addr *addr,
		  const struct gw_charge *c, enum gw_access_reason *ret_reason)
{
	struct sess_charge *sess = find_sess(a, c->sess_uuid);
	bool new_sess = !sess;
	struct path_charge *path;
	int r = check_limits(a, addr, c, new_sess, ret_reason);

	if (r < 0)
		return r;
	if (new_sess)
		sess = add_sess(a, c->sess_uuid);
	path = sess ? add_path(a, c) : NULL;
	if (!path) {
		if (sess && new_sess)
			remove_sess(a, sess);
		return -ENOMEM;
	}
	if (is_idle(addr))
		idle_remove(a, addr);
	if (new_sess) {
		sess->owner = addr;
		addr->sessions++;
		a->totals.sessions++;
	}
	sess->paths++;
	path->sess = sess;
	path->addr = addr;
	addr->paths++;
	addr->connections += c->n_cons;
	addr->memory += c->memory;
	a->totals.paths++;
	a->totals.connections += c->n_cons;
	a->totals.memory += c->memory;
	return 0;
}

void
gw_account_discharge(struct gw_account *a, const struct rtrs_uuid *sess_uuid,
		     const struct rtrs_uuid *path_uuid)
{
	struct path_key key = {*sess_uuid, *path_uuid};
	struct gw_account_addr *addr;
	struct path_charge *path;
	struct sess_charge *sess;

	HASH_FIND(hh, a->paths, &key, sizeof(key), path);
	if (!path)
		return;
	addr = path->addr;
	sess = path->sess;
	addr->paths--;
	addr->connections -= path->n_cons;
	addr->memory -= path->memory;
	a->totals.paths--;
	a->totals.connections -= path->n_cons;
	a->totals.memory -= path->memory;
	HASH_DEL(a->paths, path);
	free(path);
	if (is_idle(addr))
		idle_append(a, addr);
	if (--sess->paths)
		return;
	a->totals.sessions--;
	sess->owner->sessions--;
	if (is_idle(sess->owner)) /* not before: it had this session */
		idle_append(a, sess->owner);
	remove_sess(a, sess);
}

void
gw_account_totals(const struct gw_account *a, struct gw_account_totals *ret)
{
	*ret = a->totals;
	ret->addresses = HASH_COUNT(a->addrs);
}
