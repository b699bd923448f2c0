/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/http.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "rtrs/base/util.h"

#define FORMS                                                                  \
	"give ADDRESS:PORT, as 127.0.0.1:11234 or [::1]:11234, or unix:PATH"

static int
parse_unix(const char *path, struct http_addr *ret, char *err, size_t err_len)
{
	const size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

	if (!*path) {
		snprintf(err, err_len, "the path is empty; " FORMS);
		return -EINVAL;
	}
	if (strlen(path) > max) {
		snprintf(err, err_len,
			 "the path is longer than the %zu bytes of a socket's",
			 max);
		return -EINVAL;
	}
	ret->unix_path = path;
	return 0;
}

/* host gets what is before the last colon, without brackets. */
static const char *
split(const char *text, char *host, size_t host_len)
{
	const char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : 0;

	if (n >= 2 && *text == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	} else if (memchr(text, ':', n)) {
		return NULL; /* IPv6 without brackets: where does it end? */
	}
	if (!n || n >= host_len)
		return NULL;
	memcpy(host, text, n);
	host[n] = '\0';
	return colon + 1;
}

int
http_addr_parse(const char *text, struct http_addr *ret, char *err,
		size_t err_len)
{
	static const struct addrinfo hints = {
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *ai;
	const char *port;
	char host[64];

	*ret = (struct http_addr){0};
	if (!strncmp(text, "unix:", 5))
		return parse_unix(text + 5, ret, err, err_len);
	port = split(text, host, sizeof(host));
	if (!port || !*port || strspn(port, "0123456789") != strlen(port) ||
	    strlen(port) > 5 || strtoul(port, NULL, 10) > 65535 ||
	    getaddrinfo(host, port, &hints, &ai)) {
		snprintf(err, err_len, FORMS);
		return -EINVAL;
	}
	memcpy(&ret->tcp, ai->ai_addr, ai->ai_addrlen);
	ret->tcp_len = ai->ai_addrlen;
	freeaddrinfo(ai);
	return 0;
}
