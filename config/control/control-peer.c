/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may talk on the control socket. The mode of the socket says it to the
 * kernel; that somebody opens the mode too far, or passes a connected
 * descriptor on, does not make them administrators.
 */
#include "config/control/control-priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rtrs/base/util.h"

int
control_peer_get(int fd, struct ucred *ret)
{
	socklen_t len = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret, &len) < 0 ? -errno
								      : 0;
}

bool
control_peer_may(const struct ucred *peer, const gid_t *groups, size_t n_groups,
		 uid_t self, const struct stat *st)
{
	if (peer->uid == 0 || peer->uid == self)
		return true;
	if (!(st->st_mode & S_IWGRP))
		return false;
	if (peer->gid == st->st_gid)
		return true;
	for (size_t i = 0; i < n_groups; i++)
		if (groups[i] == st->st_gid)
			return true;
	return false;
}

bool
control_peer_check(const struct control *c, int fd, const struct ucred *peer)
{
	cleanup_free gid_t *groups = NULL;
	socklen_t len = 0;
	struct stat st;

	/* The group may have been changed since. A path that is gone has none:
	 * then only the user counts. */
	if (stat(c->path, &st) < 0)
		memset(&st, 0, sizeof(st));
	/* With no room it says how much there is. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) < 0 &&
	    errno == ERANGE)
		groups = malloc(len);
	if (!groups ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		len = 0;
	return control_peer_may(peer, groups, len / sizeof(*groups), geteuid(),
				&st);
}
