/* SPDX-License-Identifier: BSD-3-Clause */
#include "nbdkit-plugin/resolve.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "nbdkit-plugin/in-child.h"

/* Time for a device to find the way to an address that has no scheme. */
#define RDMA_PROBE_MS 3000

static const struct {
	const char *prefix;
	enum path_scheme scheme;
} schemes[] = {
	{"tcp:", PATH_TCP},
	{"ip:", PATH_IP},
	{"gid:", PATH_GID},
};

__attribute__((format(printf, 3, 4))) static int
bad(char *err, size_t err_len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, err_len, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int
parse_port(const char *s, uint16_t *ret)
{
	unsigned v = 0;

	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -EINVAL;
		v = v * 10 + (unsigned)(*s - '0');
		if (v > 65535)
			return -EINVAL;
	}
	if (!v)
		return -EINVAL;
	*ret = (uint16_t)v;
	return 0;
}

/*
 * "rdma:10.0.0.1", "tpc:host:1": a word that is meant for a scheme and is none.
 * What is left is a host with a port, or an IPv6 address.
 */
static bool
has_unknown_scheme(const char *text, size_t *ret_len)
{
	const char *colon = strchr(text, ':'), *zone = strchr(text, '%');
	size_t len = zone ? (size_t)(zone - text) : strlen(text);
	char number[INET6_ADDRSTRLEN];
	struct in6_addr in6;

	if (!colon || colon == text)
		return false;
	*ret_len = (size_t)(colon - text);
	for (size_t i = 0; i < *ret_len; i++)
		if (!isalpha((unsigned char)text[i]))
			return false;
	/* A port, perhaps with a slip in it. */
	if (isdigit((unsigned char)colon[1]) && !strpbrk(colon + 1, ".:"))
		return false;
	if (len >= sizeof(number))
		return true;
	memcpy(number, text, len);
	number[len] = '\0';
	return inet_pton(AF_INET6, number, &in6) != 1;
}

/* The scheme and what follows it. */
static int
parse_scheme(const char *text, enum path_scheme *ret, const char **ret_rest,
	     char *err, size_t err_len)
{
	enum path_scheme scheme = PATH_ANY;
	const char *rest = text;
	size_t word;

	for (unsigned i = 0; i < ARRAY_SIZE(schemes); i++) {
		size_t len = strlen(schemes[i].prefix);

		if (!strncmp(text, schemes[i].prefix, len)) {
			scheme = schemes[i].scheme;
			rest = text + len;
		}
	}
	if (scheme == PATH_ANY && has_unknown_scheme(text, &word))
		return bad(err, err_len,
			   "'%s': unknown kind '%.*s:'; use tcp:, ip: or gid:",
			   text, (int)word, text);
	if (scheme != PATH_TCP && !fabric_by_name("verbs")) {
		if (scheme != PATH_ANY)
			return bad(err, err_len,
				   "'%s' is an RDMA address and this build has "
				   "no RDMA fabric; write tcp:HOST[:PORT] for "
				   "the TCP fabric",
				   text);
		return bad(err, err_len,
			   "'%s' does not name its fabric; write tcp:%s", text,
			   *text ? text : "HOST[:PORT]");
	}
	*ret = scheme;
	*ret_rest = rest;
	return 0;
}

/* A number of RDMA, for its errors. */
static int
check_number(enum path_scheme scheme, const char *host, char *err,
	     size_t err_len)
{
	struct sockaddr_storage ss;
	socklen_t len;

	if (scheme == PATH_IP)
		return rtrs_addr_parse_ip(host, 0, &ss, &len, err, err_len);
	if (scheme == PATH_GID)
		return rtrs_addr_parse_gid(host, 0, &ss, &len, err, err_len);
	return 0;
}

/*
 * One address. *ret_port is set if it names one and port is wanted.
 */
static int
parse_address(const char *text, enum path_scheme *ret_scheme,
	      char host[PATH_HOST_MAX], uint16_t *ret_port, char *err,
	      size_t err_len)
{
	const char *colon, *port = NULL, *start = text;
	size_t len;
	int rc;

	rc = parse_scheme(text, ret_scheme, &start, err, err_len);
	if (rc)
		return rc;
	if (*start == '[') {
		const char *end = strchr(++start, ']');

		if (!end)
			return bad(err, err_len, "'%s' lacks a ']'", text);
		if (end[1] == ':')
			port = end + 2;
		else if (end[1])
			return bad(err, err_len,
				   "'%s' has something other than :PORT after "
				   "the ']'",
				   text);
		len = (size_t)(end - start);
	} else {
		colon = strchr(start, ':');
		/* More than one: an IPv6 address, to its end. */
		if (colon && !strchr(colon + 1, ':'))
			port = colon + 1;
		len = port ? (size_t)(colon - start) : strlen(start);
	}
	if (!len)
		return bad(err, err_len, "'%s' has no host", text);
	if (len >= PATH_HOST_MAX)
		return bad(err, err_len,
			   "a host name has at most %d characters",
			   PATH_HOST_MAX - 1);
	if (port && !ret_port)
		return bad(err, err_len, "'%s': a source address takes no port",
			   text);
	if (port && parse_port(port, ret_port))
		return bad(err, err_len,
			   "'%s': the port must be a number from 1 to 65535",
			   text);
	memcpy(host, start, len);
	host[len] = '\0';
	return check_number(*ret_scheme, host, err, err_len);
}

int
path_parse(const char *text, uint16_t port, struct path_spec *ret, char *err,
	   size_t err_len)
{
	struct path_spec spec = {.port = port};
	const char *sep = strchr(text, ',');
	const char *dst = text;
	enum path_scheme src_scheme;
	int rc;

	if (!sep)
		sep = strchr(text, '@');
	if (sep) {
		cleanup_free char *src = strndup(text, (size_t)(sep - text));

		if (!src) {
			bad(err, err_len, "%s", strerror(ENOMEM));
			return -ENOMEM;
		}
		rc = parse_address(src, &src_scheme, spec.src, NULL, err,
				   err_len);
		if (rc)
			return rc;
		dst = sep + 1;
	}
	rc = parse_address(dst, &spec.scheme, spec.dst, &spec.port, err,
			   err_len);
	if (rc)
		return rc;
	if (sep && src_scheme != spec.scheme)
		return bad(err, err_len,
			   "'%s': source and destination must be of the same "
			   "kind, both tcp:, both ip: or both gid:",
			   text);
	*ret = spec;
	return 0;
}

static int
lookup(const char *host, uint16_t port, struct addrinfo **ret, char *err,
       size_t err_len)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV,
	};
	char service[8];
	int rc;

	snprintf(service, sizeof(service), "%u", port);
	rc = getaddrinfo(host, service, &hints, ret);
	if (!rc)
		return 0;
	snprintf(err, err_len, "cannot resolve '%s': %s", host,
		 rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
	return -EHOSTUNREACH;
}

static bool
accepts(const struct addrinfo *ai, const struct addrinfo *src, unsigned ms)
{
	cleanup_close int fd = socket(
		ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};
	socklen_t len = sizeof(int);
	int soerr = 0;

	if (fd < 0)
		return false;
	if (src && bind(fd, src->ai_addr, src->ai_addrlen))
		return false;
	if (!connect(fd, ai->ai_addr, ai->ai_addrlen))
		return true;
	if (errno != EINPROGRESS || poll(&pfd, 1, (int)ms) != 1)
		return false;
	return !getsockopt(fd, SOL_SOCKET, SO_ERROR, &soerr, &len) && !soerr;
}

static const struct addrinfo *
of_family(const struct addrinfo *list, int family)
{
	while (list && list->ai_family != family)
		list = list->ai_next;
	return list;
}

/* The pair to use: families agree, and the destination answers if any does. */
static bool
choose(const struct addrinfo *dst, const struct addrinfo *src,
       unsigned probe_ms, const struct addrinfo **ret_dst,
       const struct addrinfo **ret_src)
{
	const struct addrinfo *first = NULL, *first_src = NULL;
	unsigned n = 0;

	for (const struct addrinfo *d = dst; d; d = d->ai_next)
		n += !src || of_family(src, d->ai_family);
	for (const struct addrinfo *d = dst; d; d = d->ai_next) {
		const struct addrinfo *s = of_family(src, d->ai_family);

		if (src && !s)
			continue;
		if (!first) {
			first = d;
			first_src = s;
		}
		if (n > 1 && probe_ms && accepts(d, s, probe_ms)) {
			first = d;
			first_src = s;
			break;
		}
	}
	*ret_dst = first;
	*ret_src = first_src;
	return first;
}

struct probe {
	const struct fabric_ops *fabric;
	const struct sockaddr *dst, *src;
};

static int
run_probe(void *arg)
{
	const struct probe *p = arg;

	return !!p->fabric->probe(p->dst, p->src, RDMA_PROBE_MS);
}

/* The first pair that an RDMA device can connect. */
static bool
choose_rdma(const struct fabric_ops *verbs, const struct addrinfo *dst,
	    const struct addrinfo *src, const struct addrinfo **ret_dst,
	    const struct addrinfo **ret_src)
{
	for (; dst; dst = dst->ai_next) {
		const struct addrinfo *s = of_family(src, dst->ai_family);
		struct probe p = {
			.fabric = verbs,
			.dst = dst->ai_addr,
			.src = s ? s->ai_addr : NULL,
		};

		if ((src && !s) || in_child(run_probe, &p))
			continue;
		*ret_dst = dst;
		*ret_src = s;
		return true;
	}
	return false;
}

static int
resolve_names(const struct path_spec *spec, unsigned probe_ms,
	      struct rtrs_path_addr *ret, char *err, size_t err_len)
{
	const struct fabric_ops *fabric =
		fabric_by_name(spec->scheme == PATH_TCP ? "tcp" : "verbs");
	struct addrinfo *dst_list = NULL, *src_list = NULL;
	const struct addrinfo *dst, *src;
	int rc;

	rc = lookup(spec->dst, spec->port, &dst_list, err, err_len);
	if (rc)
		return rc;
	if (*spec->src)
		rc = lookup(spec->src, 0, &src_list, err, err_len);
	if (rc)
		goto out;
	if (!choose(dst_list, src_list, spec->scheme == PATH_TCP ? probe_ms : 0,
		    &dst, &src)) {
		rc = bad(err, err_len,
			 "'%s' and '%s' are of different address families",
			 spec->src, spec->dst);
		goto out;
	}
	if (spec->scheme == PATH_ANY &&
	    !choose_rdma(fabric, dst_list, src_list, &dst, &src)) {
		bool ipv6 = strchr(spec->dst, ':');

		rc = bad(err, err_len,
			 "no RDMA device of this machine leads to '%s'; write "
			 "tcp:%s%s%s:%u for the TCP fabric",
			 spec->dst, ipv6 ? "[" : "", spec->dst, ipv6 ? "]" : "",
			 spec->port);
		goto out;
	}
	memset(ret, 0, sizeof(*ret));
	ret->fabric = fabric;
	memcpy(&ret->dst, dst->ai_addr, dst->ai_addrlen);
	ret->dst_len = dst->ai_addrlen;
	if (src) {
		memcpy(&ret->src, src->ai_addr, src->ai_addrlen);
		ret->src_len = src->ai_addrlen;
	}
out:
	freeaddrinfo(dst_list);
	if (src_list)
		freeaddrinfo(src_list);
	return rc;
}

static int
resolve_numbers(const struct path_spec *spec, struct rtrs_path_addr *ret,
		char *err, size_t err_len)
{
	int (*parse)(const char *host, uint16_t port,
		     struct sockaddr_storage *ret, socklen_t *ret_len,
		     char *err, size_t err_len) = spec->scheme == PATH_GID
							  ? rtrs_addr_parse_gid
							  : rtrs_addr_parse_ip;
	struct rtrs_path_addr addr = {.fabric = fabric_by_name("verbs")};
	int rc;

	rc = parse(spec->dst, spec->port, &addr.dst, &addr.dst_len, err,
		   err_len);
	if (!rc && *spec->src)
		rc = parse(spec->src, 0, &addr.src, &addr.src_len, err,
			   err_len);
	if (rc)
		return rc;
	if (*spec->src && addr.src.ss_family != addr.dst.ss_family)
		return bad(err, err_len,
			   "'%s' and '%s' are of different address families",
			   spec->src, spec->dst);
	*ret = addr;
	return 0;
}

int
path_resolve(const struct path_spec *spec, unsigned probe_ms,
	     struct rtrs_path_addr *ret, char *err, size_t err_len)
{
	if (spec->scheme == PATH_IP || spec->scheme == PATH_GID)
		return resolve_numbers(spec, ret, err, err_len);
	return resolve_names(spec, probe_ms, ret, err, err_len);
}
