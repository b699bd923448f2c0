/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/pid-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rtrs/base/remedy.h"
#include "rtrs/base/util.h"

/* A number, and a byte that shows that more follows. */
#define CONTENT_MAX 24
/* Each time another one has removed the file between open() and flock(). */
#define MAX_TRIES   16

struct pid_file {
	int fd;
	char path[];
};

static int
say(const char *path, int err, char err_text[GW_TEXT_MAX])
{
	return gw_text_err(err_text, err, "--pid-file %s: %s%s",
			   gw_name_text(path).s, strerror(-err),
			   remedy_words(err));
}

static int
say_foreign(const char *path, const char *what, char err_text[GW_TEXT_MAX])
{
	return gw_text_err(err_text, -EINVAL,
			   "--pid-file %s: it is there and %s; remove it or "
			   "choose another",
			   gw_name_text(path).s, what);
}

/* Of what fd refers to: 0 for an empty file, or the number in it. */
static int
read_pid(int fd, long *ret)
{
	char text[CONTENT_MAX + 1];
	ssize_t n = pread(fd, text, CONTENT_MAX, 0);
	size_t digits;

	if (n < 0)
		return -errno;
	text[n] = '\0';
	digits = strspn(text, "0123456789");
	if (n == CONTENT_MAX || digits != strcspn(text, "\n") ||
	    strlen(text) != (size_t)n || (n && !digits) ||
	    (text[digits] && text[digits + 1]))
		return -EINVAL;
	*ret = strtol(text, NULL, 10);
	return 0;
}

/* A device is not even opened: that alone can do things. */
static int
check_kind(const char *path, char err_text[GW_TEXT_MAX])
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : say(path, -errno, err_text);
	return S_ISREG(st.st_mode)
		       ? 0
		       : say_foreign(path, "no regular file", err_text);
}

static int
check_content(const char *path, int fd, long *ret_pid,
	      char err_text[GW_TEXT_MAX])
{
	struct stat st;
	int err;

	if (fstat(fd, &st) < 0)
		return say(path, -errno, err_text);
	if (!S_ISREG(st.st_mode))
		return say_foreign(path, "no regular file", err_text);
	err = read_pid(fd, ret_pid);
	if (err == -EINVAL)
		return say_foreign(path, "holds more than a process id",
				   err_text);
	return err ? say(path, err, err_text) : 0;
}

int
pid_file_check(const char *path, char err_text[GW_TEXT_MAX])
{
	cleanup_close int fd = -1;
	int err = check_kind(path, err_text);
	long pid;

	if (err)
		return err;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	/* That of a daemon that runs may not be for who only checks. */
	if (fd < 0)
		return errno == ENOENT || errno == EACCES
			       ? 0
			       : say(path, -errno, err_text);
	return check_content(path, fd, &pid, err_text);
}

/* Whether fd is what the name stands for now. */
static bool
is_named(int fd, const char *path)
{
	struct stat mine, named;

	return !fstat(fd, &mine) && !lstat(path, &named) &&
	       mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
}

static int
say_locked(const char *path, int fd, char err_text[GW_TEXT_MAX])
{
	long pid = 0;

	/* It may be about to write its number. */
	if (read_pid(fd, &pid) || !pid)
		return gw_text_err(err_text, -EBUSY,
				   "--pid-file %s: another process holds it; "
				   "stop that one or choose another file",
				   gw_name_text(path).s);
	return gw_text_err(err_text, -EBUSY,
			   "--pid-file %s: process %ld runs; stop it or choose "
			   "another file",
			   gw_name_text(path).s, pid);
}

/* Opened, judged and locked; a descriptor. */
static int
take(const char *path, char err_text[GW_TEXT_MAX])
{
	int err = check_kind(path, err_text);
	long pid;

	for (int i = 0; i < MAX_TRIES && !err; i++) {
		cleanup_close int fd =
			open(path,
			     O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK |
				     O_NOCTTY | O_CLOEXEC,
			     0644);
		int r;

		if (fd < 0)
			return say(path, -errno, err_text);
		err = check_content(path, fd, &pid, err_text);
		if (err)
			return err;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK
				       ? say_locked(path, fd, err_text)
				       : say(path, -errno, err_text);
		if (!is_named(fd, path))
			continue;
		r = fd;
		fd = -1;
		return r;
	}
	return err ? err : say(path, -EBUSY, err_text);
}

/* The number that may be there goes only when the new one is. */
static int
write_pid(int fd)
{
	char text[CONTENT_MAX];
	int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	ssize_t n = pwrite(fd, text, (size_t)len, 0);

	if (n < 0)
		return -errno;
	if (n < len)
		return -ENOSPC;
	return ftruncate(fd, len) < 0 ? -errno : 0;
}

int
pid_file_new(const char *path, struct pid_file **ret,
	     char err_text[GW_TEXT_MAX])
{
	size_t len = strlen(path) + 1;
	struct pid_file *p = malloc(sizeof(*p) + len);
	int err;

	if (!p)
		return say(path, -ENOMEM, err_text);
	memcpy(p->path, path, len);
	p->fd = take(path, err_text);
	if (p->fd < 0) {
		err = p->fd;
		free(p);
		return err;
	}
	err = write_pid(p->fd);
	if (err) {
		pid_file_free(p);
		return say(path, err, err_text);
	}
	*ret = p;
	return 0;
}

void
pid_file_free(struct pid_file *p)
{
	if (!p)
		return;
	/* While the lock is held, nobody else takes what has this name. */
	if (is_named(p->fd, p->path))
		(void)unlink(p->path);
	close(p->fd);
	free(p);
}
