/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses and errors in words, for people. */
#include "rtrs/clt/clt.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *
clt_addr_words(const struct rtrs_clt_path *path, char buf[RTRS_ADDR_TEXT_MAX])
{
	const struct rtrs_path_addr *addr = &path->addr;

	if (!rtrs_addr_text(addr->fabric, &addr->dst, buf))
		snprintf(buf, RTRS_ADDR_TEXT_MAX, "%s:path %u",
			 addr->fabric->name, path->idx);
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
	case -EACCES:
		return "its access rules do not let this client in";
	case -EDQUOT:
		return "this client's address holds all that the server allows "
		       "it: sessions, connections or memory";
	case -EAGAIN:
		return "this client's address connects faster than the server "
		       "allows";
	case -ECONNRESET:
		return "it takes the connection request for malformed, or a "
		       "former connection of this path is still there";
	default:
		return NULL;
	}
}
