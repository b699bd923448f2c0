/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Of a session S, in /run/rnbd/client:
 *
 *   S.json  what is mapped; replaced as a whole
 *   S.lock  locked by the rnbdctl that changes it
 *   S.nbd   the socket that nbdkit serves
 *   S.ctl   its control socket
 *   S.log   what it says
 *
 * A process is written down before it does anything, so that whoever comes
 * after a crash knows what there is to clean up.
 */
#include "gateway/ctl/map.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_VERSION 1

const char *
map_root(void)
{
	const char *root = getenv("RNBD_ROOT");

	return root ? root : "";
}

char *
map_path(const char *fmt, ...)
{
	char *rest, *path;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&rest, fmt, ap);
	va_end(ap);
	if (n < 0 || asprintf(&path, "%s%s", map_root(), rest) < 0)
		exit(ctl_fail(CTL_REFUSED, "out of memory"));
	free(rest);
	return path;
}

/* Where clients' control sockets are, too. The caller's. */
static char *
dir_path(void)
{
	const char *dir = getenv("RNBD_CLIENT_DIR");
	char *copy;

	if (!dir)
		return map_path("%s", CTL_CLIENT_DIR);
	copy = strdup(dir);
	if (!copy)
		exit(ctl_fail(CTL_REFUSED, "out of memory"));
	return copy;
}

void
map_escape(const char *sessname, char *buf, size_t len)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	size_t n = 0, most = (len < MAP_STEM_MAX ? len : MAP_STEM_MAX) - 1;
	bool cut = false;

	for (const char *p = sessname; *p; p++) {
		unsigned char c = (unsigned char)*p;
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			     (c >= '0' && c <= '9') || c == '_' || c == '-';
		char part[4];
		size_t k;

		hash = (hash ^ c) * UINT64_C(0x100000001b3);
		k = (size_t)snprintf(part, sizeof(part),
				     plain ? "%c" : "%%%02X", c);
		cut = cut || n + k > most;
		if (!cut) {
			memcpy(buf + n, part, k);
			n += k;
		}
	}
	buf[n] = '\0';
	/* '~' is in no other. */
	if (cut)
		snprintf(buf + (n < most - 17 ? n : most - 17), 18,
			 "~%016" PRIx64, hash);
}

/* ------------------------------------------------- the directory */

/*
 * What is in it tells root which processes to end, so it must be root's alone,
 * although the one above is the daemon's.
 */
int
map_dir_open(bool make, int *ret)
{
	cleanup_free char *path = dir_path();
	struct stat st;
	int fd;

	for (char *p = path + 1; make; p++) {
		char c = *p;

		if (c && c != '/')
			continue;
		*p = '\0';
		if (mkdir(path, c ? 0755 : 0700) && errno != EEXIST)
			return ctl_fail(CTL_REFUSED, "cannot make %s: %s", path,
					strerror(errno));
		*p = c;
		if (!c)
			break;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		if (errno == ENOENT && !make) {
			*ret = -1;
			return CTL_OK;
		}
		return ctl_fail(errno == EACCES ? CTL_PERMISSION : CTL_REFUSED,
				"%s: %s", path, strerror(errno));
	}
	if (fstat(fd, &st) || st.st_uid != geteuid() || st.st_mode & 022) {
		close(fd);
		return ctl_fail(CTL_PERMISSION,
				"%s: others may write to it: remove it if "
				"nothing is mapped",
				path);
	}
	*ret = fd;
	return CTL_OK;
}

char *
map_sess_file(const struct map_sess *s, const char *suffix)
{
	char *path;

	if (asprintf(&path, "%s.%s", s->stem, suffix) < 0)
		exit(ctl_fail(CTL_REFUSED, "out of memory"));
	return path;
}

/* ------------------------------------------------- JSON to structs */

static void
dev_deinit(struct map_dev *d)
{
	free(d->device_path);
	free(d->access_mode);
}

void
map_sess_deinit(struct map_sess *s)
{
	for (unsigned i = 0; i < s->n_devs; i++)
		dev_deinit(&s->devs[i]);
	for (unsigned i = 0; i < s->n_params; i++)
		free(s->params[i]);
	free(s->devs);
	free(s->params);
	free(s->sessname);
	free(s->stem);
}

struct map_dev *
map_sess_add(struct map_sess *s, char *device_path, char *access_mode)
{
	struct map_dev *grown =
		reallocarray(s->devs, s->n_devs + 1, sizeof(*grown));

	if (grown)
		s->devs = grown;
	if (!grown || !device_path || !access_mode) {
		free(device_path);
		free(access_mode);
		return NULL;
	}
	s->devs[s->n_devs] = (struct map_dev){
		.device_path = device_path,
		.access_mode = access_mode,
	};
	return &s->devs[s->n_devs++];
}

void
map_sess_remove(struct map_sess *s, struct map_dev *dev)
{
	size_t i = (size_t)(dev - s->devs);

	dev_deinit(dev);
	memmove(dev, dev + 1, (s->n_devs - i - 1) * sizeof(*dev));
	s->n_devs--;
}

static struct map_proc
unpack_proc(const json_t *v)
{
	return (struct map_proc){
		.pid = (pid_t)json_num(v, "pid"),
		.start = (uint64_t)json_num(v, "start"),
	};
}

static bool
unpack_dev(struct map_sess *s, const json_t *v)
{
	struct map_dev *d = map_sess_add(s, strdup(json_str(v, "device_path")),
					 strdup(json_str(v, "access_mode")));

	if (!d)
		return false;
	d->index = (int)json_num(v, "index");
	d->complete = json_is_true(json_object_get(v, "complete"));
	d->client = unpack_proc(json_object_get(v, "client"));
	d->nbdkit = unpack_proc(json_object_get(v, "nbdkit"));
	return *d->device_path && *d->access_mode && d->index >= 0;
}

/* false: this is not what map_sess_save() wrote. */
static bool
unpack(struct map_sess *s, const json_t *v)
{
	const json_t *params = json_object_get(v, "params"), *item;
	size_t i;

	if (json_num(v, "version") != STATE_VERSION ||
	    !*json_str(v, "sessname"))
		return false;
	free(s->sessname);
	s->sessname = strdup(json_str(v, "sessname"));
	s->nbdkit = unpack_proc(json_object_get(v, "nbdkit"));
	s->params = calloc(json_array_size(params) + 1, sizeof(*s->params));
	if (!s->sessname || !s->params)
		return false;
	json_array_foreach(params, i, item) {
		const char *text = json_string_value(item);
		char *copy = text ? strdup(text) : NULL;

		if (!copy)
			return false;
		s->params[s->n_params++] = copy;
	}
	json_array_foreach(json_object_get(v, "devices"), i, item)
		if (!unpack_dev(s, item))
			return false;
	return true;
}

bool
map_sess_load(int dir, const char *name, struct map_sess *s)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	json_t *v;
	bool good;

	if (fd < 0)
		return false;
	v = json_loadfd(fd, 0, NULL);
	close(fd);
	good = v && unpack(s, v);
	json_decref(v);
	return good;
}

/* ------------------------------------------------- structs to JSON */

static json_t *
pack_proc(const struct map_proc *p)
{
	return json_pack("{s:I, s:I}", "pid", (json_int_t)p->pid, "start",
			 (json_int_t)p->start);
}

static json_t *
pack(const struct map_sess *s)
{
	json_t *params = json_array(), *devs = json_array();

	for (unsigned i = 0; i < s->n_params; i++)
		json_array_append_new(params, json_string(s->params[i]));
	for (unsigned i = 0; i < s->n_devs; i++) {
		const struct map_dev *d = &s->devs[i];

		json_array_append_new(
			devs,
			json_pack("{s:i, s:b, s:o, s:o, s:s, s:s}", "index",
				  d->index, "complete", (int)d->complete,
				  "client", pack_proc(&d->client), "nbdkit",
				  pack_proc(&d->nbdkit), "device_path",
				  d->device_path, "access_mode",
				  d->access_mode));
	}
	return json_pack("{s:i, s:s, s:o, s:o, s:o}", "version", STATE_VERSION,
			 "sessname", s->sessname, "nbdkit",
			 pack_proc(&s->nbdkit), "params", params, "devices",
			 devs);
}

int
map_sess_save(const struct map_sess *s)
{
	cleanup_free char *path = map_sess_file(s, "json");
	cleanup_free char *fresh = map_sess_file(s, "json.new");
	json_t *v = pack(s);
	int r = -1, err = ENOMEM;
	int fd = v ? open(fresh,
			  O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
			  0600)
		   : -1;

	if (fd >= 0) {
		errno = ENOSPC; /* jansson tells no more than that it failed */
		r = json_dumpfd(v, fd, JSON_INDENT(2));
		if (close(fd))
			r = -1;
	}
	if (v)
		err = errno;
	json_decref(v);
	if (!r && rename(fresh, path)) {
		err = errno;
		r = -1;
	}
	if (r)
		return ctl_fail(CTL_REFUSED, "cannot write %s: %s", path,
				strerror(err));
	return CTL_OK;
}

/* ------------------------------------------------- sessions */

/* Of the file that has this name now: its last owner may have removed it. */
static int
take_lock(const char *path, int how, int *ret)
{
	struct stat mine, named;

	for (;;) {
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
			      0600);
		int r;

		if (fd < 0)
			return -errno;
		do
			r = flock(fd, how);
		while (r && errno == EINTR);
		if (r || fstat(fd, &mine)) {
			r = -errno;
			close(fd);
			return r;
		}
		if (!stat(path, &named) && named.st_ino == mine.st_ino &&
		    named.st_dev == mine.st_dev) {
			*ret = fd;
			return 0;
		}
		close(fd);
	}
}

static int
open_session(const char *sessname, int dir, bool wait, struct map_sess *s)
{
	char stem[MAP_STEM_MAX];
	cleanup_free char *lock = NULL, *file = NULL, *path = dir_path();
	int r;

	map_escape(sessname, stem, sizeof(stem));
	if (asprintf(&s->stem, "%s/%s", path, stem) < 0) {
		s->stem = NULL;
		return ctl_fail(CTL_REFUSED, "out of memory");
	}
	lock = map_sess_file(s, "lock");
	r = take_lock(lock, wait ? LOCK_EX : LOCK_EX | LOCK_NB, &s->lock);
	if (r == -EWOULDBLOCK)
		return CTL_OK;
	if (r)
		return ctl_fail(CTL_REFUSED, "cannot lock %s: %s", lock,
				strerror(-r));
	file = map_sess_file(s, "json");
	if (access(file, F_OK))
		s->sessname = strdup(sessname);
	else if (!map_sess_load(dir, strrchr(file, '/') + 1, s) ||
		 strcmp(s->sessname, sessname))
		return ctl_fail(CTL_REFUSED,
				"%s is not the state of session '%s': end its "
				"nbdkit and remove the file",
				file, sessname);
	return s->sessname ? CTL_OK : ctl_fail(CTL_REFUSED, "out of memory");
}

static void
forget(struct map_sess *s)
{
	map_sess_deinit(s);
	if (s->lock >= 0)
		close(s->lock);
	free(s);
}

int
map_sess_open(const char *sessname, bool wait, struct map_sess **ret)
{
	struct map_sess *s = calloc(1, sizeof(*s));
	int dir = -1, r;

	if (!s)
		return ctl_fail(CTL_REFUSED, "out of memory");
	*ret = NULL;
	s->lock = -1;
	r = map_dir_open(true, &dir);
	if (!r)
		r = open_session(sessname, dir, wait, s);
	if (dir >= 0)
		close(dir);
	if (r || s->lock < 0)
		forget(s);
	else
		*ret = s;
	return r;
}

void
map_sess_close(struct map_sess *s)
{
	/* The lock last: who waits for it makes a new one. */
	static const char *const all[] = {"json", "json.new", "nbd",
					  "ctl",  "log",      "lock"};

	bool unused = s && !s->n_devs && !map_proc_alive(&s->nbdkit);

	if (!s)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(all) && unused; i++) {
		cleanup_free char *path = map_sess_file(s, all[i]);

		(void)unlink(path); /* not all of them are there */
	}
	forget(s);
}

/* ------------------------------------------------- what there is */

enum map_dev_state
map_dev_state(const struct map_dev *d)
{
	if (!d->client.pid || map_nbd_pid(d->index) != d->client.pid)
		return MAP_DEV_DETACHED;
	if (!map_proc_alive(&d->nbdkit))
		return MAP_DEV_DEAD;
	return d->complete ? MAP_DEV_MAPPED : MAP_DEV_HALF;
}

const char *
map_dev_state_name(enum map_dev_state state)
{
	static const char *const names[] = {
		[MAP_DEV_MAPPED] = "mapped",
		[MAP_DEV_HALF] = "half",
		[MAP_DEV_DEAD] = "dead",
		[MAP_DEV_DETACHED] = "detached",
	};

	return names[state];
}
