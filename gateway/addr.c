/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

void
addr_text(const char *fabric, const struct sockaddr_storage *ss,
	  char ret[ADDR_TEXT_MAX])
{
	char host[INET6_ADDRSTRLEN] = "?";
	struct sockaddr_in sin;
	struct sockaddr_in6 sin6;

	switch (ss->ss_family) {
	case AF_INET:
		memcpy(&sin, ss, sizeof(sin));
		inet_ntop(AF_INET, &sin.sin_addr, host, sizeof(host));
		snprintf(ret, ADDR_TEXT_MAX, "%s:%s:%u", fabric, host,
			 ntohs(sin.sin_port));
		break;
	case AF_INET6:
		memcpy(&sin6, ss, sizeof(sin6));
		inet_ntop(AF_INET6, &sin6.sin6_addr, host, sizeof(host));
		snprintf(ret, ADDR_TEXT_MAX, "%s:[%s]:%u", fabric, host,
			 ntohs(sin6.sin6_port));
		break;
	default:
		snprintf(ret, ADDR_TEXT_MAX, "%s:?", fabric);
	}
}
