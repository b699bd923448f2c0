/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GATEWAY_ADDR_H
#define GATEWAY_ADDR_H

#include <sys/socket.h>

#define ADDR_TEXT_MAX 96

/*
 * "tcp:192.0.2.1:1234", "tcp:[2001:db8::1]:1234": what --listen and the
 * client's path= take. A total function.
 */
void addr_text(const char *fabric, const struct sockaddr_storage *ss,
	       char ret[ADDR_TEXT_MAX]);

#endif
