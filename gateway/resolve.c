/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gateway/disk-use.h"
#include "rtrs/base/util.h"

#define TOKEN "%SESSNAME%"

/* Renames below the root at the same moment make a look-up start over. */
#define MAX_RETRIES 16

struct gw_search {
	int root_fd; /* O_PATH */
	bool by_session;
	size_t dir_len; /* of what was configured */
	char root[];
};

static int
open_beneath(int root_fd, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd = -1;

	for (int i = 0; i < MAX_RETRIES; i++) {
		fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}

int
gw_search_new(const char *dir, struct gw_search **ret,
	      char err_text[GW_TEXT_MAX])
{
	const char *token = strstr(dir, TOKEN);
	size_t dir_len = strlen(dir);
	size_t root_len = token ? (size_t)(token - dir) : dir_len;
	struct gw_search *s;
	int fd, err;

	/* The one that follows is enough. */
	while (root_len && dir[root_len - 1] == '/')
		root_len--;
	if (dir_len >= GW_PATH_MAX)
		return gw_text_err(err_text, -ENAMETOOLONG,
				   "search path: it is longer than %d "
				   "characters",
				   GW_PATH_MAX - 1);
	s = calloc(1, sizeof(*s) + root_len + 2);
	if (!s)
		return gw_text_err(err_text, -ENOMEM, "out of memory");
	/* As in the kernel a '/' follows, so that nothing means the root. */
	memcpy(s->root, dir, root_len);
	s->root[root_len] = '/';
	s->by_session = token;
	s->dir_len = dir_len;
	s->root_fd = open(s->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->root_fd < 0) {
		err = gw_text_err(err_text, -errno,
				  "search path '%s': cannot open it: %s",
				  gw_name_text(s->root).s,
				  strerrordesc_np(errno));
		goto err_free;
	}
	fd = open_beneath(s->root_fd, ".");
	if (fd < 0) {
		err = gw_text_err(err_text, fd,
				  "search path '%s': openat2(2) failed: %s; "
				  "it needs Linux 5.6",
				  gw_name_text(s->root).s,
				  strerrordesc_np(-fd));
		goto err_close;
	}
	close(fd);
	*ret = s;
	return 0;

err_close:
	close(s->root_fd);
err_free:
	free(s);
	return err;
}

void
gw_search_free(struct gw_search *s)
{
	if (!s)
		return;
	close(s->root_fd);
	free(s);
}

/* Appends name with runs of '/' as one and none in front. */
static int
append_name(char path[GW_PATH_MAX], size_t *len, const char *name)
{
	size_t n = *len;

	for (; *name; name++) {
		if (*name == '/' && (!n || path[n - 1] == '/'))
			continue;
		if (n >= GW_PATH_MAX - 1)
			return -EINVAL;
		path[n++] = *name;
	}
	path[n] = '\0';
	*len = n;
	return 0;
}

/* The path of dev_name relative to the root. */
static int
relative_path(const struct gw_search *s, const char *sess_name,
	      const char *dev_name, char path[GW_PATH_MAX],
	      char err_text[GW_TEXT_MAX])
{
	size_t len = 0;

	path[0] = '\0';
	if (s->by_session) {
		/* RTRS refuses these names; a directory depends on it here. */
		if (!*sess_name || strpbrk(sess_name, "/."))
			return gw_text_err(err_text, -EINVAL,
					   "session name '%s' is no name of a "
					   "directory",
					   gw_name_text(sess_name).s);
		if (append_name(path, &len, sess_name) ||
		    append_name(path, &len, "/"))
			goto err_long;
	}
	if (s->dir_len + strlen(dev_name) >= GW_PATH_MAX ||
	    append_name(path, &len, dev_name))
		goto err_long;
	if (!len)
		strcpy(path, ".");
	return 0;

err_long:
	return gw_text_err(err_text, -EINVAL,
			   "device name '%s' makes too long a path",
			   gw_name_text(dev_name).s);
}

static int
say_unresolved(int err, const char *dev_name, char err_text[GW_TEXT_MAX])
{
	struct gw_name_text name = gw_name_text(dev_name);

	switch (err) {
	case -ENOENT:
	case -ENOTDIR:
		return gw_text_err(err_text, err, "no such export '%s'",
				   name.s);
	case -EXDEV:
		return gw_text_err(err_text, -EACCES,
				   "'%s' leads out of the search path: only "
				   "relative symbolic links within it are "
				   "followed",
				   name.s);
	case -ELOOP:
		return gw_text_err(err_text, -EACCES,
				   "'%s' leads through symbolic links that are "
				   "not followed",
				   name.s);
	default:
		return gw_text_err(err_text, err, "cannot open '%s': %s",
				   name.s, strerrordesc_np(-err));
	}
}

/*
 * Opens for I/O what path_fd refers to. Only now, because an open alone can do
 * things to a device that is neither a disk nor a file. Through /proc, because
 * a second look-up of the name might find something else.
 */
static int
reopen(int path_fd, const char *dev_name, bool read_only, int *ret,
       char err_text[GW_TEXT_MAX])
{
	char link[32];
	struct stat st;
	int fd, err;

	if (fstat(path_fd, &st))
		return say_unresolved(-errno, dev_name, err_text);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return gw_text_err(err_text, -ENOTBLK,
				   "'%s' is neither a regular file nor a block "
				   "device",
				   gw_name_text(dev_name).s);
	if (S_ISBLK(st.st_mode) && gw_disk_in_use(path_fd) > 0)
		return gw_text_err(err_text, -EBUSY,
				   "'%s' is in use on the server (mounted, "
				   "swap, or part of another device): only an "
				   "export of its own offers it",
				   gw_name_text(dev_name).s);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
	fd = open(link, (read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK |
				O_CLOEXEC | O_NOCTTY);
	if (fd >= 0) {
		*ret = fd;
		return 0;
	}
	err = -errno;
	/* The file is there: we hold it. */
	if (err == -ENOENT)
		return gw_text_err(err_text, -EIO,
				   "cannot open '%s': the server has no /proc",
				   gw_name_text(dev_name).s);
	if (!read_only && (err == -EROFS || err == -EACCES))
		return gw_text_err(err_text, -EACCES,
				   "the server may not write '%s' (%s): open "
				   "it with access_mode=ro",
				   gw_name_text(dev_name).s,
				   strerrordesc_np(-err));
	return say_unresolved(err, dev_name, err_text);
}

int
gw_search_open(const struct gw_search *s, const char *sess_name,
	       const char *dev_name, bool read_only, int *ret,
	       char path[GW_PATH_MAX], char err_text[GW_TEXT_MAX])
{
	cleanup_close int path_fd = -1;
	char relative[GW_PATH_MAX];
	int err;

	err = relative_path(s, sess_name, dev_name, relative, err_text);
	if (err)
		return err;
	path_fd = open_beneath(s->root_fd, relative);
	if (path_fd < 0)
		return say_unresolved(path_fd, dev_name, err_text);
	err = reopen(path_fd, dev_name, read_only, ret, err_text);
	if (err)
		return err;
	/* For humans: a cut end does no harm. */
	snprintf(path, GW_PATH_MAX, "%.*s%.*s", GW_PATH_MAX / 2, s->root,
		 GW_PATH_MAX / 2 - 1, relative);
	return 0;
}
