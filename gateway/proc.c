/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "rtrs/base/util.h"

struct proc {
	uint64_t start_time_ns;
	int statm;   /* -1: there is none */
	DIR *fd_dir; /* NULL: the same */
};

static uint64_t
read_clock(clockid_t id)
{
	struct timespec ts;

	if (clock_gettime(id, &ts) < 0)
		return 0;
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

int
proc_new(struct proc **ret)
{
	struct proc *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->start_time_ns = read_clock(CLOCK_REALTIME);
	p->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	p->fd_dir = opendir("/proc/self/fd");
	*ret = p;
	return 0;
}

void
proc_free(struct proc *p)
{
	if (!p)
		return;
	if (p->statm >= 0)
		close(p->statm);
	if (p->fd_dir)
		closedir(p->fd_dir);
	free(p);
}

static void
read_memory(const struct proc *p, struct proc_info *ret)
{
	uint64_t size, resident, page = (uint64_t)sysconf(_SC_PAGESIZE);
	char buf[128];
	ssize_t n;

	if (p->statm < 0)
		return;
	n = pread(p->statm, buf, sizeof(buf) - 1, 0);
	if (n <= 0)
		return;
	buf[n] = '\0';
	if (sscanf(buf, "%" SCNu64 " %" SCNu64, &size, &resident) != 2)
		return;
	ret->virtual_bytes = size * page;
	ret->resident_bytes = resident * page;
}

static uint64_t
count_fds(const struct proc *p)
{
	const struct dirent *e;
	uint64_t n = 0;

	if (!p->fd_dir)
		return 0;
	rewinddir(p->fd_dir);
	while ((e = readdir(p->fd_dir)))
		n += e->d_name[0] != '.';
	return n;
}

void
proc_read(struct proc *p, struct proc_info *ret)
{
	struct rlimit rl;

	*ret = (struct proc_info){
		.start_time_ns = p->start_time_ns,
		.cpu_ns = read_clock(CLOCK_PROCESS_CPUTIME_ID),
		.open_fds = count_fds(p),
	};
	read_memory(p, ret);
	if (!getrlimit(RLIMIT_NOFILE, &rl) && rl.rlim_cur != RLIM_INFINITY)
		ret->max_fds = rl.rlim_cur;
}
