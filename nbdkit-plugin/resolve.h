/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Path addresses. The kernel's grammar, and what it does not have: the tcp
 * fabric, ports, and addresses and names without a scheme.
 *
 *   path    = [ address sep ] address      sep = "," or "@", comma first
 *   address = scheme host [ ":" port ]
 *   scheme  = "ip:" | "gid:"   RDMA; host is a number
 *           | "tcp:"           the tcp fabric
 *           | ""               RDMA, if a device leads there
 *   host    = name | ipv4 | ipv6 | "[" ipv6 "]"
 *
 * Two addresses are source and destination; the source has no port. An IPv6
 * address needs its brackets when a port follows, and "%INTERFACE" when it is
 * a link-local one.
 */
#ifndef NBDKIT_PLUGIN_RESOLVE_H
#define NBDKIT_PLUGIN_RESOLVE_H

#include <stddef.h>
#include <stdint.h>

#include "rtrs/rtrs.h"

#define PATH_HOST_MAX 256

enum path_scheme {
	PATH_TCP,
	PATH_IP,
	PATH_GID,
	PATH_ANY, /* none was written */
};

struct path_spec {
	enum path_scheme scheme; /* of both */
	char src[PATH_HOST_MAX]; /* "": any */
	char dst[PATH_HOST_MAX];
	uint16_t port;
};

/*
 * Takes a path apart. port is used where text names none.
 * -EINVAL, with words in err.
 */
int path_parse(const char *text, uint16_t port, struct path_spec *ret,
	       char *err, size_t err_len);

/*
 * Looks the names up. Of several addresses of one name the first is taken that
 * accepts a connection within probe_ms, or the first one if none does (or
 * probe_ms is 0). Without a scheme it is the first one to which an RDMA device
 * leads. Blocks. -EINVAL or -EHOSTUNREACH, with words in err.
 */
int path_resolve(const struct path_spec *spec, unsigned probe_ms,
		 struct rtrs_path_addr *ret, char *err, size_t err_len);

#endif
