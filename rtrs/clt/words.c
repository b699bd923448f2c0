/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses and errors in words, for people. */
#include "rtrs/clt/clt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* "tcp:127.0.0.1:1234"; what runs over RDMA is written as the kernel does. */
const char *
clt_addr_words(const struct rtrs_clt_path *path, char buf[CLT_ADDR_LEN])
{
	const struct sockaddr_storage *ss = &path->addr.dst;
	const char *scheme = path->addr.fabric->name;
	char host[INET6_ADDRSTRLEN];

	if (!strcmp(scheme, "verbs"))
		scheme = "ip";
	if (ss->ss_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, ss, sizeof(in));
		inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host));
		snprintf(buf, CLT_ADDR_LEN, "%s:%s:%u", scheme, host,
			 ntohs(in.sin_port));
	} else if (ss->ss_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, ss, sizeof(in6));
		inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host));
		snprintf(buf, CLT_ADDR_LEN, "%s:[%s]:%u", scheme, host,
			 ntohs(in6.sin6_port));
	} else {
		snprintf(buf, CLT_ADDR_LEN, "%s:path %u", scheme, path->idx);
	}
	return buf;
}

const char *
clt_errno_words(int err, char *buf, size_t len)
{
	return strerror_r(-err, buf, len);
}

/* NULL where strerror says it well enough. */
const char *
clt_reject_words(int err)
{
	switch (err) {
	case -ENXIO:
		return "it does not know this session (was it restarted?)";
	case -EEXIST:
		return "the session already has a path between these two "
		       "addresses";
	case -EBUSY:
		return "the old connection is still there, try again later";
	case -ENOMEM:
		return "it has no memory for another session";
	case -ECONNRESET:
		return "it takes the connection request for malformed, or a "
		       "former connection of this path is still there";
	default:
		return NULL;
	}
}
