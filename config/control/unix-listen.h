/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A listening unix socket at a path, as the control socket and the metrics have
 * it.
 */
#ifndef CONFIG_CONTROL_UNIX_LISTEN_H
#define CONFIG_CONTROL_UNIX_LISTEN_H

#include <stdbool.h>
#include <sys/types.h>

#define UNIX_LISTEN_TEXT_MAX 256

struct unix_listen {
	const char *what; /* for err_text: "control socket" */
	const char *path; /* shorter than sun_path; the caller unlinks it */
	int backlog;
	bool has_group;
	gid_t group; /* whose the socket becomes */
};

/*
 * Mode 0660, close-on-exec, not blocking. A socket that nobody listens on is
 * replaced. Errors: -EADDRINUSE somebody answers there or it is something else
 * than a socket, -ENOMEM, those of bind(2) and chown(2); err_text says it in
 * one line. Not to be called by two threads at once (umask).
 */
int unix_listen(const struct unix_listen *p,
		char err_text[UNIX_LISTEN_TEXT_MAX], int *ret_fd);

#endif
