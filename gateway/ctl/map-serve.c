/* SPDX-License-Identifier: BSD-3-Clause */
/* What runs for a map: nbdkit for the session, nbd-client for the device. */
#include "gateway/ctl/map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* The plugin gives an unreachable server up after a second. */
#define NBDKIT_END_MS 5000

/* ------------------------------------------------- what went wrong */

/* The last line with `word` in text, from there on; NULL: none. */
static char *
last_line(char *text, const char *word)
{
	char *found = NULL, *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		char *p = strstr(line, word);

		if (p)
			found = p + strlen(word);
	}
	return found;
}

/* Of a file from `from` on: what its last error is; "" if there is none. */
static void
read_error(int fd, off_t from, const char *word, char *ret, size_t len)
{
	char text[8192];
	off_t end = lseek(fd, 0, SEEK_END);
	char *line;
	ssize_t n;

	*ret = '\0';
	/* What it said last is what counts. */
	if (end - from > (off_t)sizeof(text) - 1)
		from = end - ((off_t)sizeof(text) - 1);
	n = pread(fd, text, sizeof(text) - 1, from);
	if (n <= 0)
		return;
	text[n] = '\0';
	line = last_line(text, word);
	if (line)
		snprintf(ret, len, "%s", line);
}

/* ------------------------------------------------- nbdkit */

static int
open_log(const struct map_sess *s, bool fresh)
{
	cleanup_free char *path = map_sess_file(s, "log");

	return open(path,
		    O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW |
			    (fresh ? O_TRUNC : 0),
		    0600);
}

/* The socket is there before nbdkit is: who comes early waits. */
static int
listen_on(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	mode_t mask;
	int fd, r;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	if (unlink(path) && errno != ENOENT)
		return -errno;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	mask = umask(077);
	r = bind(fd, (const void *)&sun, sizeof(sun));
	(void)umask(mask);
	if (r || listen(fd, 16)) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

/* The session is at rest, so that all of it may be replaced. */
static int
take_params(struct map_sess *s, const struct map_line *line)
{
	char **params = calloc(line->n_params + 1, sizeof(*params));

	for (unsigned i = 0; params && i < line->n_params; i++) {
		params[i] = strdup(line->params[i]);
		if (!params[i])
			return ctl_fail(CTL_REFUSED, "out of memory");
	}
	if (!params)
		return ctl_fail(CTL_REFUSED, "out of memory");
	for (unsigned i = 0; i < s->n_params; i++)
		free(s->params[i]);
	free(s->params);
	s->params = params;
	s->n_params = line->n_params;
	return CTL_OK;
}

/*
 * An argv[0] with '@' keeps systemd from ending nbdkit at shutdown, before what
 * is still mounted is unmounted.
 */
static int
spawn_nbdkit(const struct map_sess *s, const char *file, int log, int listener,
	     struct map_child *child)
{
	char name[] = "@nbdkit", foreground[] = "-f", to[] = "--log=stderr";
	char rnbd[] = "rnbd", modes[] = "export-modes=yes";
	char *plugin = getenv("RNBD_PLUGIN");
	char *fixed[] = {name, foreground, to, plugin ? plugin : rnbd, modes};
	cleanup_free char **argv =
		calloc(ARRAY_SIZE(fixed) + s->n_params + 3, sizeof(*argv));
	cleanup_free char *sess = NULL, *sock = map_sess_file(s, "ctl");
	cleanup_free char *control = NULL;
	size_t n = ARRAY_SIZE(fixed);

	if (!argv || asprintf(&sess, "sessname=%s", s->sessname) < 0) {
		sess = NULL;
		return -ENOMEM;
	}
	if (asprintf(&control, "control=%s", sock) < 0) {
		control = NULL;
		return -ENOMEM;
	}
	memcpy(argv, fixed, sizeof(fixed));
	argv[n++] = sess;
	argv[n++] = control;
	for (unsigned i = 0; i < s->n_params; i++)
		argv[n++] = s->params[i];
	return map_child_new(file, argv, log, listener, MAP_SPAWN_DAEMON,
			     child);
}

static int
start_nbdkit(struct map_sess *s)
{
	cleanup_free char *file = map_find_program("nbdkit");
	cleanup_free char *sock = map_sess_file(s, "nbd");
	struct map_child child = {.go = -1};
	int log, listener, r;

	if (!file)
		return ctl_fail(CTL_REFUSED,
				"there is no nbdkit: install the package "
				"nbdkit");
	listener = listen_on(sock);
	if (listener < 0)
		return ctl_fail(CTL_REFUSED, "cannot listen on %s: %s", sock,
				strerror(-listener));
	log = open_log(s, true);
	r = log < 0 ? -errno : spawn_nbdkit(s, file, log, listener, &child);
	close(listener);
	if (log >= 0)
		close(log);
	if (r)
		return ctl_fail(CTL_REFUSED, "cannot start nbdkit: %s",
				strerror(-r));
	s->nbdkit = child.proc;
	/* Only what is written down may run. */
	r = map_sess_save(s);
	if (!r && map_child_go(&child))
		r = ctl_fail(CTL_REFUSED, "nbdkit was killed");
	if (r) {
		map_child_forget(&child);
		s->nbdkit = (struct map_proc){0};
	}
	return r;
}

static bool
same_params(const struct map_sess *s, const struct map_line *line)
{
	if (s->n_params != line->n_params)
		return false;
	for (unsigned i = 0; i < s->n_params; i++)
		if (strcmp(s->params[i], line->params[i]))
			return false;
	return true;
}

static int
refuse_params(const struct map_sess *s)
{
	char text[512] = "";

	for (unsigned i = 0; i < s->n_params; i++) {
		size_t n = strlen(text);

		snprintf(text + n, sizeof(text) - n, " %s", s->params[i]);
	}
	return ctl_fail(CTL_REFUSED,
			"session '%s' is there with%s: give the same, or only "
			"sessname= and device_path=, or take another sessname=",
			s->sessname, text);
}

int
map_serve(struct map_sess *s, const struct map_line *line)
{
	int r = CTL_OK;

	if (map_proc_alive(&s->nbdkit))
		return !line->n_params || same_params(s, line)
			       ? CTL_OK
			       : refuse_params(s);
	/* Of a session that has to begin again, the old ones do. */
	if (line->n_params)
		r = take_params(s, line);
	else if (!s->n_params)
		return ctl_fail(CTL_USAGE,
				"path=ADDRESS is missing: session '%s' is not "
				"there yet",
				s->sessname);
	return r ? r : start_nbdkit(s);
}

int
map_unserve(struct map_sess *s)
{
	if (s->n_devs)
		return CTL_OK;
	if (!map_proc_end(&s->nbdkit, NBDKIT_END_MS))
		return ctl_fail(CTL_REFUSED,
				"nbdkit of session '%s' (process %d) does not "
				"end",
				s->sessname, (int)s->nbdkit.pid);
	return CTL_OK;
}

/* ------------------------------------------------- nbd-client */

/* Its exit status as of wait(2), or -errno. */
static int
run_client(struct map_sess *s, struct map_dev *dev, int out)
{
	cleanup_free char *file = map_find_program("nbd-client");
	cleanup_free char *sock = map_sess_file(s, "nbd"), *name = NULL;
	char self[] = "nbd-client", opt_unix[] = "-unix", opt_name[] = "-N";
	char node[32];
	struct map_child child;
	int r;

	if (!file)
		return -ENOENT;
	if (asprintf(&name, "%s:%s", dev->access_mode, dev->device_path) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	snprintf(node, sizeof(node), "/dev/nbd%d", dev->index);
	r = map_child_new(
		file,
		(char *[]){self, opt_unix, sock, node, opt_name, name, NULL},
		out, -1, 0, &child);
	if (r)
		return r;
	dev->client = child.proc;
	if (map_sess_save(s)) {
		(void)map_child_wait(&child);
		return -EIO;
	}
	/* One that was killed has a status that tells. */
	(void)map_child_go(&child);
	return map_child_wait(&child);
}

/* Why a device cannot be had: nbdkit knows most, nbd-client the rest. */
static int
explain(const struct map_sess *s, const struct map_dev *dev, off_t log_from,
	int out, int status)
{
	char why[MAP_ERR_MAX] = "";
	int log = open_log(s, false);

	if (log >= 0) {
		read_error(log, log_from, "error: ", why, sizeof(why));
		close(log);
	}
	if (!*why && status > 0)
		read_error(out, 0, "Error: ", why, sizeof(why));
	if (!*why && status > 0)
		read_error(out, 0, "", why, sizeof(why));
	if (!*why)
		snprintf(why, sizeof(why), "nbd-client: %s",
			 status < 0 ? strerror(-status) : "it was ended");
	return ctl_fail(
		CTL_REFUSED, "cannot map '%s' of session '%s': %s%s",
		dev->device_path, s->sessname,
		map_proc_alive(&s->nbdkit) ? "" : "nbdkit has ended: ", why);
}

/* After nbd-client has succeeded. */
static int
complete_dev(struct map_sess *s, struct map_dev *dev)
{
	pid_t pid = map_nbd_pid(dev->index);
	int r;

	/* The kernel's name for it, which differs in a container. */
	if (pid && pid != dev->client.pid)
		dev->client = (struct map_proc){.pid = pid};
	r = map_nbd_wait(dev->index, dev->client.pid);
	if (r)
		return ctl_fail(CTL_REFUSED,
				"/dev/nbd%d: it is connected, but %s",
				dev->index,
				r == -ENODEV ? "to something else"
					     : "does not get a size and a file "
					       "in /dev");
	dev->complete = true;
	r = map_sess_save(s);
	/* Then the map has failed, and is to be taken back. */
	dev->complete = !r;
	return r;
}

static off_t
log_end(const struct map_sess *s)
{
	int fd = open_log(s, false);
	off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);

	/* Room for what is said from now on. */
	if (end > MAP_LOG_MAX / 2)
		end = ftruncate(fd, 0) ? end : 0;
	if (fd >= 0)
		close(fd);
	return end;
}

/* One nbd device. true: it is another's by now, so the next one may do. */
static bool
try_index(struct map_sess *s, struct map_dev *dev, int *ret)
{
	off_t from = log_end(s);
	int out = memfd_create("nbd-client", MFD_CLOEXEC), status;
	bool taken = false;

	if (out < 0) {
		*ret = ctl_fail(CTL_REFUSED, "nbd-client: %s", strerror(errno));
		return false;
	}
	status = run_client(s, dev, out);
	if (!status) {
		*ret = complete_dev(s, dev);
	} else {
		pid_t pid = map_nbd_pid(dev->index);

		/* The kernel lets only one have it. */
		taken = pid && pid != dev->client.pid;
		if (!taken)
			*ret = explain(s, dev, from, out, status);
	}
	close(out);
	return taken;
}

int
map_attach(struct map_sess *s, const struct map_line *line, int index)
{
	struct map_dev *dev = map_sess_add(s, strdup(line->device_path),
					   strdup(line->access_mode));
	int r = CTL_OK;

	if (!dev)
		return ctl_fail(CTL_REFUSED, "out of memory");
	dev->nbdkit = s->nbdkit;
	dev->index = map_nbd_free(index);
	while (dev->index >= 0 && try_index(s, dev, &r))
		dev->index = map_nbd_free(dev->index + 1);
	if (dev->index < 0)
		r = ctl_fail(CTL_REFUSED, "all nbd devices are in use");
	if (r)
		(void)map_roll_back(s);
	return r;
}

/* ------------------------------------------------- the way back */

/* Whether it is connected, by us. */
static bool
is_ours(const struct map_dev *dev)
{
	return map_dev_state(dev) != MAP_DEV_DETACHED;
}

/*
 * A device that nobody lived to see mapped. It works all the same, so that it
 * may be mounted by now: then it stays, for what is not yet written would be
 * lost.
 */
static int
take_back(struct map_sess *s, struct map_dev *dev)
{
	char user[256];
	int fd, r;

	/* First, so that what it does not do now it never does. */
	if (!map_proc_end(&dev->client, NBDKIT_END_MS))
		return ctl_fail(CTL_REFUSED,
				"nbd-client of /dev/nbd%d (process %d) does "
				"not end",
				dev->index, (int)dev->client.pid);
	if (is_ours(dev)) {
		map_nbd_user(dev->index, user, sizeof(user), &fd);
		dev->complete = *user;
		if (dev->complete)
			return CTL_OK;
		r = map_nbd_detach(dev->index);
		if (fd >= 0)
			close(fd);
		if (r)
			return r;
		(void)map_nbd_wait_gone(dev->index);
	}
	map_sess_remove(s, dev);
	return CTL_OK;
}

int
map_roll_back(struct map_sess *s)
{
	bool changed = false;
	int r = CTL_OK;

	for (unsigned i = s->n_devs; i-- > 0;) {
		int err;

		if (s->devs[i].complete)
			continue;
		err = take_back(s, &s->devs[i]);
		if (err)
			r = err;
		changed = changed || !err;
	}
	if (changed && map_sess_save(s))
		r = CTL_REFUSED;
	return r;
}

/* What programs have written and the page cache has not: before it is lost. */
static int
write_back(const struct map_dev *dev, int fd)
{
	if (fd < 0 || !fsync(fd) || errno == EINVAL)
		return CTL_OK;
	return ctl_fail(CTL_REFUSED,
			"/dev/nbd%d: what was written to it cannot be stored: "
			"%s; `force` drops it",
			dev->index, strerror(errno));
}

static int
detach_gently(struct map_dev *dev)
{
	char user[256];
	int fd, r = CTL_OK;

	map_nbd_user(dev->index, user, sizeof(user), &fd);
	if (*user)
		return ctl_fail(CTL_REFUSED,
				"/dev/nbd%d is %s: end that first, or say "
				"`force`",
				dev->index, user);
	if (map_dev_state(dev) != MAP_DEV_DEAD)
		r = write_back(dev, fd);
	if (!r)
		r = map_nbd_detach(dev->index);
	if (fd >= 0)
		close(fd);
	if (!r && !map_nbd_wait_gone(dev->index))
		r = ctl_fail(CTL_REFUSED,
			     "/dev/nbd%d was disconnected, but the kernel has "
			     "not let go of it",
			     dev->index);
	return r;
}

int
map_drop(struct map_sess *s, struct map_dev *dev, bool force)
{
	int r = CTL_OK;

	if (is_ours(dev))
		r = force ? map_nbd_detach(dev->index) : detach_gently(dev);
	if (r)
		return r;
	map_sess_remove(s, dev);
	return map_sess_save(s);
}
