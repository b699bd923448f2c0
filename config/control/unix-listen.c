/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/control/unix-listen.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "rtrs/base/remedy.h"

static int
new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

/* Makes way for bind(2). */
static int
clear_path(const struct unix_listen *p, const struct sockaddr_un *sun,
	   char err_text[UNIX_LISTEN_TEXT_MAX])
{
	struct stat st;
	int fd, r;

	if (lstat(p->path, &st) < 0)
		return 0; /* nothing there, or bind says what is wrong */
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(err_text, UNIX_LISTEN_TEXT_MAX,
			 "%s '%s': the path exists and is not a socket; remove "
			 "it or choose another",
			 p->what, p->path);
		return -EADDRINUSE;
	}
	fd = new_socket();
	if (fd < 0)
		return fd;
	r = connect(fd, (const void *)sun, sizeof(*sun));
	if (r < 0)
		r = -errno;
	close(fd);
	if (r == -ECONNREFUSED) { /* left behind by one that died */
		(void)unlink(p->path);
		return 0;
	}
	if (r == -ENOENT)
		return 0;
	snprintf(err_text, UNIX_LISTEN_TEXT_MAX,
		 "%s '%s': another process answers on it; stop that one or "
		 "choose another path",
		 p->what, p->path);
	return -EADDRINUSE;
}

/* The socket is bound: whatever fails now leaves a file behind. */
static int
open_up(const struct unix_listen *p, int fd,
	char err_text[UNIX_LISTEN_TEXT_MAX])
{
	if (p->has_group && chown(p->path, (uid_t)-1, p->group) < 0) {
		int r = -errno;

		snprintf(err_text, UNIX_LISTEN_TEXT_MAX,
			 "%s '%s': cannot be given to group %u: %s; start as "
			 "root or as a member of the group",
			 p->what, p->path, (unsigned)p->group, strerror(-r));
		return r;
	}
	return listen(fd, p->backlog) < 0 ? -errno : 0;
}

int
unix_listen(const struct unix_listen *p, char err_text[UNIX_LISTEN_TEXT_MAX],
	    int *ret_fd)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	bool bound = false;
	mode_t mask;
	int fd = -1, r;

	err_text[0] = '\0';
	if (strlen(p->path) >= sizeof(sun.sun_path)) {
		r = -ENAMETOOLONG;
		goto err;
	}
	memcpy(sun.sun_path, p->path, strlen(p->path) + 1);
	r = clear_path(p, &sun, err_text);
	if (r < 0)
		goto err;
	r = fd = new_socket();
	if (r < 0)
		goto err;
	mask = umask(0117);
	r = bind(fd, (const void *)&sun, sizeof(sun));
	if (r < 0)
		r = -errno;
	umask(mask);
	if (r < 0)
		goto err;
	bound = true;
	r = open_up(p, fd, err_text);
	if (r < 0)
		goto err;
	*ret_fd = fd;
	return 0;
err:
	if (!*err_text)
		snprintf(err_text, UNIX_LISTEN_TEXT_MAX, "%s '%s': %s%s",
			 p->what, p->path, strerror(-r), remedy_words(r));
	if (bound)
		(void)unlink(p->path);
	if (fd >= 0)
		close(fd);
	return r;
}
