/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/listen-addr.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/rdma-dev.h"

#define HOST_MAX 300

/* One address on its way from text to sockaddr. */
struct parsing {
	const char *text;
	struct listen_addr *ret;
	unsigned room;
	char host[HOST_MAX];
	const char *port_text; /* in host[]; NULL: none */
	uint16_t port;
	char *err;
	size_t err_len;
};

/* No name, but an address in numbers: then no name server can help. */
static bool
is_numeric(const char *host)
{
	return !host[strspn(host, "0123456789.")] || strchr(host, ':');
}

__attribute__((format(printf, 2, 3))) static int
bad(const struct parsing *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->err, p->err_len, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/*
 * "ADDR", "ADDR:PORT", "[IPV6]", "[IPV6]:PORT". Several colons without
 * brackets are an IPv6 address to its end where that is allowed.
 */
static int
split(struct parsing *p, const char *s, bool bare_ipv6)
{
	char *host = p->host, *port = NULL, *end;

	if (strlen(s) >= sizeof(p->host))
		return -EINVAL;
	strcpy(host, s);
	if (*host == '[') {
		end = strchr(host, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		if (end[1])
			port = end + 2;
		*end = '\0';
		memmove(host, host + 1, (size_t)(end - host));
	} else {
		end = strchr(host, ':');
		if (end && strchr(end + 1, ':')) {
			if (!bare_ipv6)
				return -EINVAL;
		} else if (end) {
			*end = '\0';
			port = end + 1;
		}
	}
	if (!*host || (port && !*port))
		return -EINVAL;
	p->port_text = port;
	return 0;
}

static int
parse_port(struct parsing *p)
{
	unsigned long v;
	char *end;

	p->port = RTRS_DEFAULT_PORT;
	if (!p->port_text)
		return 0;
	errno = 0;
	v = strtoul(p->port_text, &end, 10);
	if (*p->port_text < '0' || *p->port_text > '9' || *end || errno ||
	    v > 65535)
		return bad(p, "the port must be from 0 to 65535");
	p->port = (uint16_t)v;
	return 0;
}

/* ------------------------------------------------------ one per scheme */

static int
parse_tcp(struct parsing *p)
{
	const struct addrinfo hints = {
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *ai;
	char number[8];
	int r;

	snprintf(number, sizeof(number), "%u", p->port);
	r = getaddrinfo(p->host, number, &hints, &ai);
	if (r) {
		(void)bad(p, "cannot resolve '%s': %s", p->host,
			  r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
		return is_numeric(p->host) ? -EINVAL : -ENODEV;
	}
	memcpy(&p->ret->addr, ai->ai_addr, ai->ai_addrlen);
	p->ret->addr_len = ai->ai_addrlen;
	freeaddrinfo(ai);
	return 1;
}

static int
parse_ip(struct parsing *p)
{
	int r = rtrs_addr_parse_ip(p->host, p->port, &p->ret->addr,
				   &p->ret->addr_len, p->err, p->err_len);

	return r < 0 ? r : 1;
}

static int
parse_gid(struct parsing *p)
{
	int r = rtrs_addr_parse_gid(p->host, p->port, &p->ret->addr,
				    &p->ret->addr_len, p->err, p->err_len);

	return r < 0 ? r : 1;
}

static int
parse_dev(struct parsing *p)
{
	struct sockaddr_storage addrs[RDMA_DEV_MAX_ADDRS];
	int n = rdma_dev_addrs(RDMA_DEV_SYSFS, p->host, addrs, p->err,
			       p->err_len);

	if (n < 0)
		return n;
	if ((unsigned)n > p->room)
		return bad(p,
			   "its %d addresses are more than the %u that are "
			   "left of the most listeners",
			   n, p->room);
	for (int i = 0; i < n; i++) {
		struct listen_addr *la = &p->ret[i];
		struct sockaddr_in6 sin6;
		struct sockaddr_in sin;

		*la = *p->ret;
		la->addr = addrs[i];
		la->is_one_of = true;
		if (addrs[i].ss_family == AF_INET) {
			memcpy(&sin, &addrs[i], sizeof(sin));
			sin.sin_port = htons(p->port);
			memcpy(&la->addr, &sin, sizeof(sin));
			la->addr_len = sizeof(sin);
		} else {
			memcpy(&sin6, &addrs[i], sizeof(sin6));
			sin6.sin6_port = htons(p->port);
			memcpy(&la->addr, &sin6, sizeof(sin6));
			la->addr_len = sizeof(sin6);
		}
	}
	return n;
}

struct scheme {
	const char *prefix;
	const char *fabric;
	bool bare_ipv6;
	int (*parse)(struct parsing *p);
	const char *form;
};

static const struct scheme schemes[] = {
	{"tcp:", "tcp", false, parse_tcp,
	 "tcp:HOST:PORT, with IPv6 addresses in brackets: tcp:[::1]:1234"},
	{"ip:", "verbs", true, parse_ip,
	 "ip:ADDR or ip:ADDR:PORT, with brackets around IPv6 before a port: "
	 "ip:[::]:1234"},
	{"gid:", "verbs", true, parse_gid, "gid:GID or gid:[GID]:PORT"},
	{"dev:", "verbs", false, parse_dev, "dev:NAME or dev:NAME:PORT"},
};

int
listen_addr_parse(const char *text, struct listen_addr *ret, unsigned room,
		  char *err, size_t err_len)
{
	struct parsing p = {
		.text = text,
		.ret = ret,
		.room = room,
		.err = err,
		.err_len = err_len,
	};
	const struct scheme *s = NULL;
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(schemes) && !s; i++) {
		len = strlen(schemes[i].prefix);
		if (!strncmp(text, schemes[i].prefix, len))
			s = &schemes[i];
	}
	if (!s)
		return bad(&p, "unknown kind of address; use tcp:ADDR[:PORT], "
			       "or ip:ADDR[:PORT] for RDMA");
	*ret = (struct listen_addr){
		.text = text,
		.fabric = fabric_by_name(s->fabric),
	};
	if (!ret->fabric)
		return bad(&p, "this build has no RDMA fabric; use "
			       "tcp:ADDR[:PORT]");
	if (split(&p, text + len, s->bare_ipv6))
		return bad(&p, "malformed; use %s", s->form);
	if (parse_port(&p))
		return -EINVAL;
	return s->parse(&p);
}
