/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The addresses of --listen:
 *
 *   tcp:HOST[:PORT]   the tcp fabric; an IPv6 address stands in brackets
 *   ip:ADDR[:PORT]    RDMA; brackets are needed before a port only
 *   gid:GID[:PORT]    RDMA, the same
 *   dev:NAME[:PORT]   RDMA, every address that the interfaces of an RDMA
 *                     device have at that moment
 */
#ifndef GATEWAY_LISTEN_ADDR_H
#define GATEWAY_LISTEN_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "rtrs/rtrs.h"

struct listen_addr {
	const char *text; /* as given; borrowed */
	const struct fabric_ops *fabric;
	struct sockaddr_storage addr;
	socklen_t addr_len;
	bool is_one_of; /* that text stands for */
};

/*
 * Fills up to room (> 0) addresses and returns their number. Host names are
 * looked up, which may block. -EINVAL, or -ENODEV when what text names is not
 * there now: with words in err.
 */
int listen_addr_parse(const char *text, struct listen_addr *ret, unsigned room,
		      char *err, size_t err_len);

#endif
