/* SPDX-License-Identifier: BSD-3-Clause */
#include "nbdkit-plugin/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SCHEME "tcp:"

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
 * One address. *ret_port is set if it names one and port is wanted.
 */
static int
parse_address(const char *text, char host[PATH_HOST_MAX], uint16_t *ret_port,
	      char *err, size_t err_len)
{
	const char *colon, *port = NULL, *start;
	size_t len;

	if (!strncmp(text, "ip:", 3) || !strncmp(text, "gid:", 4))
		return bad(err, err_len,
			   "'%s' is an RDMA address and this build has no RDMA "
			   "fabric; write tcp:HOST[:PORT] for the TCP fabric",
			   text);
	if (strncmp(text, SCHEME, strlen(SCHEME)))
		return bad(err, err_len,
			   "'%s' does not name its fabric; write tcp:%s", text,
			   *text ? text : "HOST[:PORT]");
	start = text + strlen(SCHEME);
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
	return 0;
}

int
path_parse(const char *text, uint16_t port, struct path_spec *ret, char *err,
	   size_t err_len)
{
	struct path_spec spec = {.port = port};
	const char *sep = strchr(text, ',');
	const char *dst = text;
	int rc;

	if (!sep)
		sep = strchr(text, '@');
	if (sep) {
		cleanup_free char *src = strndup(text, (size_t)(sep - text));

		if (!src) {
			bad(err, err_len, "%s", strerror(ENOMEM));
			return -ENOMEM;
		}
		rc = parse_address(src, spec.src, NULL, err, err_len);
		if (rc)
			return rc;
		dst = sep + 1;
	}
	rc = parse_address(dst, spec.dst, &spec.port, err, err_len);
	if (rc)
		return rc;
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

int
path_resolve(const struct path_spec *spec, unsigned probe_ms,
	     struct rtrs_path_addr *ret, char *err, size_t err_len)
{
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
	if (!choose(dst_list, src_list, probe_ms, &dst, &src)) {
		rc = bad(err, err_len,
			 "'%s' and '%s' are of different address families",
			 spec->src, spec->dst);
		goto out;
	}
	memset(ret, 0, sizeof(*ret));
	ret->fabric = &fabric_tcp;
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
