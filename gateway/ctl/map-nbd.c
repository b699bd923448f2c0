/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/ctl/map.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* More than any kernel is told to make. */
#define MAX_INDEX 1024
/* The kernel's own part of connecting and disconnecting. */
#define WAIT_MS   10000
/* Programs that look at every disk that changes do so for a moment. */
#define GLANCE_MS 2000
#define STEP_MS   10
#define MAX_PARTS 64

static void
pause_step(void)
{
	static const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};

	(void)nanosleep(&step, NULL);
}

int
map_check_root(void)
{
	if (geteuid() && !*map_root())
		return ctl_fail(CTL_PERMISSION,
				"only root may map and unmap devices");
	return CTL_OK;
}

int
map_nbd_check(void)
{
	cleanup_free char *module = map_path("/sys/module/nbd");
	cleanup_free char *first = map_path("/sys/block/nbd0");
	cleanup_free char *client = map_find_program("nbd-client");

	int r = map_check_root();

	if (r)
		return r;
	if (access(module, F_OK) && access(first, F_OK))
		return ctl_fail(CTL_REFUSED,
				"this kernel has no network block devices: run "
				"`modprobe nbd`");
	if (!client)
		return ctl_fail(CTL_REFUSED,
				"there is no nbd-client: install the package "
				"nbd-client");
	return CTL_OK;
}

int
map_nbd_index(const char *name)
{
	char *end;
	long n;

	if (!strncmp(name, "/dev/", 5))
		name += 5;
	if (strncmp(name, "nbd", 3) || name[3] < '0' || name[3] > '9')
		return -1;
	errno = 0;
	n = strtol(name + 3, &end, 10);
	return *end || errno || n > INT32_MAX ? -1 : (int)n;
}

/* ------------------------------------------------- sysfs */

/* A number in a file of nbdN; 0: there is none. */
static uint64_t
attribute(int index, const char *name)
{
	cleanup_free char *path = map_path("/sys/block/nbd%d/%s", index, name);
	FILE *f = fopen(path, "re");
	uint64_t v = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%" SCNu64, &v) != 1)
		v = 0;
	(void)fclose(f); /* nothing was written */
	return v;
}

pid_t
map_nbd_pid(int index)
{
	return (pid_t)attribute(index, "pid");
}

uint64_t
map_nbd_size(int index)
{
	return map_nbd_pid(index) ? 512 * attribute(index, "size") : 0;
}

int
map_nbd_free(int from)
{
	while (from < MAX_INDEX && map_nbd_pid(from))
		from++;
	return from < MAX_INDEX ? from : -1;
}

static bool
has_node(int index)
{
	cleanup_free char *path = map_path("/dev/nbd%d", index);
	struct stat st;

	return !stat(path, &st) && (S_ISBLK(st.st_mode) || *map_root());
}

int
map_nbd_wait(int index, pid_t pid)
{
	for (int ms = 0; ms < WAIT_MS; ms += STEP_MS) {
		pid_t now = map_nbd_pid(index);

		if (now && now != pid)
			return -ENODEV;
		if (now && map_nbd_size(index) && has_node(index))
			return 0;
		pause_step();
	}
	return -ETIMEDOUT;
}

/* ------------------------------------------------- who uses it */

struct parts {
	dev_t dev[MAX_PARTS]; /* the disk itself first */
	unsigned n;
};

static void
add_part(struct parts *p, int index, const char *dir)
{
	cleanup_free char *path =
		map_path("/sys/block/nbd%d/%s/dev", index, dir);
	FILE *f = fopen(path, "re");
	unsigned maj, min;

	if (!f)
		return;
	if (p->n < MAX_PARTS && fscanf(f, "%u:%u", &maj, &min) == 2)
		p->dev[p->n++] = makedev(maj, min);
	(void)fclose(f); /* nothing was written */
}

static void
find_parts(int index, struct parts *p)
{
	cleanup_free char *path = map_path("/sys/block/nbd%d", index);
	DIR *dir = opendir(path);
	const struct dirent *e;
	char prefix[32];

	p->n = 0;
	add_part(p, index, ".");
	snprintf(prefix, sizeof(prefix), "nbd%dp", index);
	while (dir && (e = readdir(dir)))
		if (!strncmp(e->d_name, prefix, strlen(prefix)))
			add_part(p, index, e->d_name);
	if (dir)
		closedir(dir);
}

static bool
is_part(const struct parts *p, dev_t dev)
{
	for (unsigned i = 0; i < p->n; i++)
		if (p->dev[i] == dev)
			return true;
	return false;
}

static bool
find_mount(const struct parts *p, char *text, size_t len)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096], where[1024];
	bool found = false;
	unsigned maj, min;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%*d %*d %u:%u %*s %1023s", &maj, &min,
			       where) == 3 &&
			is_part(p, makedev(maj, min));
	if (f)
		(void)fclose(f); /* nothing was written */
	if (found)
		snprintf(text, len, "mounted on %.200s", where);
	return found;
}

/* Whether one of the process' files is one of these. */
static bool
has_open(const struct parts *p, const char *pid)
{
	char path[512];
	const struct dirent *e;
	bool found = false;
	struct stat st;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	dir = opendir(path);
	while (dir && !found && (e = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%.20s/fd/%.200s", pid,
			 e->d_name);
		found = *e->d_name != '.' && !stat(path, &st) &&
			S_ISBLK(st.st_mode) && is_part(p, st.st_rdev);
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool
find_opener(const struct parts *p, char *text, size_t len)
{
	DIR *dir = opendir("/proc");
	const struct dirent *e;
	char path[64], name[32] = "?\n", self[16];
	bool found = false;
	FILE *f;

	snprintf(self, sizeof(self), "%d", (int)getpid());
	while (dir && !found && (e = readdir(dir))) {
		if (*e->d_name < '1' || *e->d_name > '9' ||
		    !strcmp(e->d_name, self) || !has_open(p, e->d_name))
			continue;
		found = true;
		snprintf(path, sizeof(path), "/proc/%.20s/comm", e->d_name);
		f = fopen(path, "re");
		if (!f || !fgets(name, sizeof(name), f))
			strcpy(name, "?\n");
		if (f)
			(void)fclose(f); /* nothing was written */
		name[strcspn(name, "\n")] = '\0';
		snprintf(text, len, "open by %s (process %.20s)", name,
			 e->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

void
map_nbd_user(int index, char *text, size_t len, int *ret)
{
	cleanup_free char *path = map_path("/dev/nbd%d", index);
	struct parts parts;
	int fd = -1, err = 0;

	*text = '\0';
	for (int ms = 0; ms < GLANCE_MS; ms += STEP_MS) {
		if (fd < 0) {
			fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
			err = fd < 0 ? errno : 0;
		}
		/* What cannot be opened for another reason is not in use. */
		if (err && err != EBUSY)
			break;
		find_parts(index, &parts);
		*text = '\0';
		if (find_mount(&parts, text, len))
			break;
		if (!err && !find_opener(&parts, text, len))
			break;
		pause_step();
	}
	if (err == EBUSY && !*text)
		snprintf(text, len,
			 "in use, by swap, LVM, RAID or a mount of another "
			 "namespace");
	if (*text && fd >= 0) {
		close(fd);
		fd = -1;
	}
	*ret = fd;
}

/* ------------------------------------------------- disconnecting */

int
map_nbd_detach(int index)
{
	char dev[32];
	char opt[] = "-d", name[] = "nbd-client";
	char *argv[] = {name, opt, dev, NULL};
	cleanup_free char *file = map_find_program(name);
	struct map_child c;
	int null, r = -ENOENT;

	snprintf(dev, sizeof(dev), "/dev/nbd%d", index);
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (file && null >= 0)
		r = map_child_new(file, argv, null, -1, 0, &c);
	if (null >= 0)
		close(null);
	if (!r)
		r = map_child_go(&c);
	if (!r)
		r = map_child_wait(&c);
	if (r < 0)
		return ctl_fail(CTL_REFUSED, "/dev/nbd%d: nbd-client: %s",
				index, strerror(-r));
	/* It may have been disconnected meanwhile: then it has what it wants.
	 */
	if (r && map_nbd_pid(index))
		return ctl_fail(CTL_REFUSED,
				"/dev/nbd%d: nbd-client cannot disconnect it "
				"(exit status %d)",
				index, WEXITSTATUS(r));
	return CTL_OK;
}

bool
map_nbd_wait_gone(int index)
{
	for (int ms = 0; ms < WAIT_MS && map_nbd_pid(index); ms += STEP_MS)
		pause_step();
	return !map_nbd_pid(index);
}
