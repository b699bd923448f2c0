/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rtrs/fabric/fabric.h"
#include "rtrs/fabric/verbs-addr.h"

/* ----------------------------------------------------------------- text */

static const char *
scheme_of(const struct fabric_ops *fabric, const struct sockaddr_storage *ss)
{
	if (strcmp(fabric->name, "verbs"))
		return fabric->name;
	return ss->ss_family == AF_IB ? "gid" : "ip";
}

static void
ipv6_text(const struct sockaddr_in6 *sin6, char ret[RTRS_ADDR_TEXT_MAX])
{
	char name[IF_NAMESIZE];
	size_t n;

	inet_ntop(AF_INET6, &sin6->sin6_addr, ret, RTRS_ADDR_TEXT_MAX);
	if (!sin6->sin6_scope_id)
		return;
	n = strlen(ret);
	if (if_indextoname(sin6->sin6_scope_id, name))
		snprintf(ret + n, RTRS_ADDR_TEXT_MAX - n, "%%%s", name);
	else
		snprintf(ret + n, RTRS_ADDR_TEXT_MAX - n, "%%%u",
			 sin6->sin6_scope_id);
}

bool
rtrs_addr_text(const struct fabric_ops *fabric,
	       const struct sockaddr_storage *ss, char ret[RTRS_ADDR_TEXT_MAX])
{
	const char *scheme = scheme_of(fabric, ss);
	char host[RTRS_ADDR_TEXT_MAX];
	uint8_t gid[VERBS_GID_LEN];
	struct sockaddr_in6 sin6;
	struct sockaddr_in sin;
	unsigned port;
	uint16_t ib_port;

	if (ss->ss_family == AF_INET) {
		memcpy(&sin, ss, sizeof(sin));
		inet_ntop(AF_INET, &sin.sin_addr, host, sizeof(host));
		snprintf(ret, RTRS_ADDR_TEXT_MAX, "%.16s:%.16s:%u", scheme,
			 host, ntohs(sin.sin_port));
		return true;
	}
	if (ss->ss_family == AF_INET6) {
		memcpy(&sin6, ss, sizeof(sin6));
		ipv6_text(&sin6, host);
		port = ntohs(sin6.sin6_port);
	} else if (verbs_addr_gid(ss, gid, &ib_port)) {
		inet_ntop(AF_INET6, gid, host, sizeof(host));
		port = ib_port;
	} else {
		snprintf(ret, RTRS_ADDR_TEXT_MAX, "%.16s:?", scheme);
		return false;
	}
	snprintf(ret, RTRS_ADDR_TEXT_MAX, "%.16s:[%.64s]:%u", scheme, host,
		 port);
	return true;
}

void
rtrs_addr_host_text(const struct fabric_ops *fabric,
		    const struct sockaddr_storage *ss,
		    char ret[RTRS_ADDR_TEXT_MAX])
{
	char *colon, *open;
	size_t len;

	if (!rtrs_addr_text(fabric, ss, ret))
		return;
	colon = strrchr(ret, ':');
	if (colon)
		*colon = '\0';
	/* The brackets of "scheme:[addr]" were for the port's sake. */
	open = strchr(ret, '[');
	len = strlen(ret);
	if (open && ret[len - 1] == ']') {
		ret[len - 1] = '\0';
		memmove(open, open + 1, strlen(open));
	}
}

unsigned
rtrs_addr_port(const struct sockaddr_storage *ss)
{
	struct sockaddr_in6 sin6;
	struct sockaddr_in sin;

	if (ss->ss_family == AF_INET) {
		memcpy(&sin, ss, sizeof(sin));
		return ntohs(sin.sin_port);
	}
	if (ss->ss_family == AF_INET6) {
		memcpy(&sin6, ss, sizeof(sin6));
		return ntohs(sin6.sin6_port);
	}
	return 0;
}

/* -------------------------------------------------------------- numbers */

__attribute__((format(printf, 3, 4))) static int
bad(char *err, size_t err_len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, err_len, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static bool
parse_ipv4(const char *host, uint16_t port, struct sockaddr_storage *ret,
	   socklen_t *ret_len)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
	};

	if (inet_pton(AF_INET, host, &sin.sin_addr) != 1)
		return false;
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, &sin, sizeof(sin));
	*ret_len = sizeof(sin);
	return true;
}

/* An interface by name or by number; 0: there is none. */
static unsigned
interface_index(const char *scope)
{
	unsigned index = if_nametoindex(scope);
	char name[IF_NAMESIZE], *end;
	unsigned long v;

	if (index)
		return index;
	v = strtoul(scope, &end, 10);
	if (*scope < '0' || *scope > '9' || *end || v > UINT32_MAX ||
	    !if_indextoname((unsigned)v, name))
		return 0;
	return (unsigned)v;
}

int
rtrs_addr_parse_ip(const char *host, uint16_t port,
		   struct sockaddr_storage *ret, socklen_t *ret_len, char *err,
		   size_t err_len)
{
	struct sockaddr_in6 sin6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(port),
	};
	size_t len = strcspn(host, "%");
	const char *scope = host[len] ? host + len + 1 : NULL;
	char number[INET6_ADDRSTRLEN];

	if (parse_ipv4(host, port, ret, ret_len))
		return 0;
	snprintf(number, sizeof(number), "%.*s",
		 len < sizeof(number) ? (int)len : 0, host);
	if (inet_pton(AF_INET6, number, &sin6.sin6_addr) != 1)
		return bad(err, err_len, "'%s' is not a number of IPv4 or IPv6",
			   host);
	if (IN6_IS_ADDR_LINKLOCAL(&sin6.sin6_addr)) {
		if (!scope)
			return bad(err, err_len,
				   "link-local '%s' needs its interface, such "
				   "as %s%%eth0",
				   host, host);
		sin6.sin6_scope_id = interface_index(scope);
		if (!sin6.sin6_scope_id)
			return bad(err, err_len,
				   "'%s': this machine has no interface '%s'",
				   host, scope);
	} else if (scope) {
		return bad(err, err_len,
			   "'%s': only a link-local address (fe80::) takes an "
			   "interface",
			   host);
	}
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, &sin6, sizeof(sin6));
	*ret_len = sizeof(sin6);
	return 0;
}

int
rtrs_addr_parse_gid(const char *host, uint16_t port,
		    struct sockaddr_storage *ret, socklen_t *ret_len, char *err,
		    size_t err_len)
{
	uint8_t gid[VERBS_GID_LEN];

	if (inet_pton(AF_INET6, host, gid) != 1)
		return bad(err, err_len,
			   "'%s' is not a GID, which is written like an IPv6 "
			   "address",
			   host);
	verbs_gid_addr(gid, port, ret, ret_len);
	return 0;
}

/* ----------------------------------------------------------- comparison */

/* The address without its port; IPv4 in its mapped form. */
static bool
ip_of(const struct sockaddr_storage *ss, struct in6_addr *ret,
      uint32_t *ret_scope)
{
	struct sockaddr_in6 sin6;
	struct sockaddr_in sin;

	memset(ret, 0, sizeof(*ret));
	*ret_scope = 0;
	switch (ss->ss_family) {
	case AF_INET:
		memcpy(&sin, ss, sizeof(sin));
		ret->s6_addr[10] = 0xff;
		ret->s6_addr[11] = 0xff;
		memcpy(&ret->s6_addr[12], &sin.sin_addr, 4);
		return true;
	case AF_INET6:
		memcpy(&sin6, ss, sizeof(sin6));
		*ret = sin6.sin6_addr;
		if (IN6_IS_ADDR_LINKLOCAL(ret))
			*ret_scope = sin6.sin6_scope_id;
		return true;
	default:
		return false;
	}
}

enum rtrs_addr_kind
rtrs_addr_bytes(const struct sockaddr_storage *ss, uint8_t ret[RTRS_ADDR_BYTES])
{
	struct in6_addr ip;
	uint32_t scope;
	uint16_t port;

	if (verbs_addr_gid(ss, ret, &port))
		return RTRS_ADDR_GID;
	if (ip_of(ss, &ip, &scope)) {
		memcpy(ret, &ip, RTRS_ADDR_BYTES);
		return RTRS_ADDR_IP;
	}
	memset(ret, 0, RTRS_ADDR_BYTES);
	return RTRS_ADDR_OTHER;
}

bool
rtrs_addr_same_host(const struct sockaddr_storage *a,
		    const struct sockaddr_storage *b)
{
	uint8_t gid_a[VERBS_GID_LEN], gid_b[VERBS_GID_LEN];
	uint32_t scope_a, scope_b;
	struct in6_addr ia, ib;
	uint16_t port;

	if (ip_of(a, &ia, &scope_a) && ip_of(b, &ib, &scope_b))
		return scope_a == scope_b && !memcmp(&ia, &ib, sizeof(ia));
	if (verbs_addr_gid(a, gid_a, &port) && verbs_addr_gid(b, gid_b, &port))
		return !memcmp(gid_a, gid_b, sizeof(gid_a));
	return a->ss_family == b->ss_family && !memcmp(a, b, sizeof(*a));
}
