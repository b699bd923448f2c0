/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/access-conf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "gateway/spec.h"

/* address-memory was not given. */
#define MEMORY_BY_DEFAULT UINT64_MAX
/* Of what an address may have at least by default, however little there is. */
#define DEFAULT_PATHS     4

static int __attribute__((format(printf, 2, 3)))
bad(char err[CONF_TEXT_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, CONF_TEXT_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---------------------------------------------------------------- [rule] */

static int
set_action(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	static const struct {
		const char *word;
		enum gw_rule_action action;
	} words[] = {
		{"allow", GW_RULE_ALLOW},
		{"deny", GW_RULE_DENY},
		{"bind", GW_RULE_BIND},
	};
	struct gw_rule *rule = obj;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcmp(value, words[i].word)) {
			rule->action = words[i].action;
			return 0;
		}
	}
	return bad(err, "give allow, deny or bind");
}

static int
set_address(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_rule *rule = obj;

	return gw_net_list_add(&rule->addresses, value, err);
}

static int
set_session(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_rule *rule = obj;

	return gw_name_list_add(&rule->sessions, value, err);
}

static int
set_export(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_rule *rule = obj;

	return gw_name_list_add(&rule->exports, value, err);
}

static int
set_mode(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	cleanup_free char *copy = strdup(value);
	struct gw_rule *rule = obj;
	char *save, *word;
	unsigned modes = 0, m;

	if (!copy) {
		bad(err, "out of memory");
		return -ENOMEM;
	}
	for (word = strtok_r(copy, ", \t", &save); word;
	     word = strtok_r(NULL, ", \t", &save)) {
		for (m = 0; m <= RNBD_ACCESS_MIGRATION; m++)
			if (!strcmp(word, rnbd_access_mode_name(m)))
				break;
		if (m > RNBD_ACCESS_MIGRATION)
			return bad(err,
				   "'%s' is no access mode: give any of "
				   "ro, rw and migration",
				   gw_name_text(word).s);
		modes |= GW_MODE_BIT(m);
	}
	if (!modes)
		return bad(err, "give any of ro, rw and migration");
	rule->modes |= modes;
	return 0;
}

const struct conf_key gw_rule_keys[] = {
	{"action", "allow|deny|bind",
	 "what happens to those that the rule means; bind allows the sessions "
	 "at these addresses and denies them anywhere else",
	 set_action, false},
	{"address", "NETWORK...",
	 "source addresses: 10.0.0.0/8, fe80::/10, gid:fe80::/64, any (any)",
	 set_address, true},
	{"session", "PATTERN...", "session names: vm-*, [ab]?, * (any)",
	 set_session, true},
	{"export", "PATTERN...",
	 "device names as clients give them, without the search path (any)",
	 set_export, true},
	{"mode", "ro|rw|migration...",
	 "access modes; a rule that allows some refuses the others (any)",
	 set_mode, true},
	{0},
};

/* -------------------------------------------------------------- [limits] */

static int
number(const char *value, unsigned min, unsigned max, unsigned *ret,
       char err[CONF_TEXT_MAX])
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(value, &end, 10);
	if (*value < '0' || *value > '9' || *end || errno || v < min || v > max)
		return bad(err, "give a number from %u to %u", min, max);
	*ret = (unsigned)v;
	return 0;
}

#define COUNT_MAX 1000000

static int
set_addr_sessions(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_access_limits *l = obj;

	return number(value, 0, COUNT_MAX, &l->addr_sessions, err);
}

static int
set_addr_connections(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_access_limits *l = obj;

	return number(value, 0, COUNT_MAX, &l->addr_connections, err);
}

static int
set_addr_memory(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_access_limits *l = obj;
	uint64_t v;

	if (gw_size_parse(value, &v) < 0)
		return bad(err, "give a number of bytes; K, M, G or T may "
				"follow it");
	l->addr_memory = v;
	return 0;
}

static int
set_addr_rate(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_access_limits *l = obj;

	return number(value, 0, COUNT_MAX, &l->addr_connect_rate, err);
}

static int
set_addr_burst(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_access_limits *l = obj;

	return number(value, 0, COUNT_MAX, &l->addr_connect_burst, err);
}

static int
set_addr_bits(void *obj, const char *value, char err[CONF_TEXT_MAX])
{
	struct gw_access_limits *l = obj;
	unsigned bits4, bits6;
	int n = -1;

	if (value[strspn(value, "0123456789:")] ||
	    sscanf(value, "%3u:%3u%n", &bits4, &bits6, &n) != 2 || n < 0 ||
	    value[n] || bits4 > 32 || bits6 > 128)
		return bad(err, "give the bits of an IPv4 and of an IPv6 "
				"address that count, such as 32:64");
	l->addr_bits4 = bits4;
	l->addr_bits6 = bits6;
	return 0;
}

const struct conf_key gw_access_limit_keys[] = {
	{"address-sessions", "N", "sessions of one address; 0: no limit (0)",
	 set_addr_sessions, false},
	{"address-connections", "N",
	 "connections of one address; 0: no limit (0)", set_addr_connections,
	 false},
	{"address-memory", "BYTES",
	 "buffers of one address; 0: no limit (half of max-memory, "
	 "but four paths at least)",
	 set_addr_memory, false},
	{"address-connect-rate", "N",
	 "connections per second from one address; 0: no limit (1000)",
	 set_addr_rate, false},
	{"address-connect-burst", "N",
	 "connections that may come at once before the rate counts; 0: as many "
	 "as in a second (8192)",
	 set_addr_burst, false},
	{"address-bits", "BITS4:BITS6",
	 "leading bits of IPv4 and of IPv6 addresses that tell one from "
	 "another (32:64)",
	 set_addr_bits, false},
	{0},
};

void
gw_access_limits_init(struct gw_access_limits *l)
{
	*l = (struct gw_access_limits){
		.addr_memory = MEMORY_BY_DEFAULT,
		.addr_connect_rate = 1000,
		/* Two paths of the kernel's client at its largest. */
		.addr_connect_burst = 2 * RTRS_MAX_CONS,
		.addr_bits4 = 32,
		.addr_bits6 = 64,
	};
}

void
gw_access_limits_complete(struct gw_access_limits *l, unsigned max_sessions,
			  uint64_t max_memory, uint64_t path_memory)
{
	l->sessions = max_sessions;
	l->memory = max_memory;
	if (l->addr_memory != MEMORY_BY_DEFAULT)
		return;
	l->addr_memory = max_memory / 2;
	if (max_memory && l->addr_memory < DEFAULT_PATHS * path_memory)
		l->addr_memory = DEFAULT_PATHS * path_memory;
}
