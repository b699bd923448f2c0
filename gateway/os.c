/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/os.h"

#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

uint64_t
os_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void
fill(void *user, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		/* Keys that can be guessed are worse than no service. */
		if (n < 0)
			abort();
		p += n;
		len -= (size_t)n;
	}
}

const struct rng os_rng = {.fill = fill};

unsigned
os_cpus(void)
{
	cpu_set_t set;
	int n;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	n = CPU_COUNT(&set);
	return n > 0 ? (unsigned)n : 1;
}

uint64_t
os_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

	return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}

int
os_group(const char *name, unsigned *ret)
{
	struct group *g;
	char *end;
	unsigned long v;

	errno = 0;
	g = getgrnam(name);
	if (g) {
		*ret = g->gr_gid;
		return 0;
	}
	/* Of several that mean "none" this one is not. */
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
		return -errno;
	errno = 0;
	v = strtoul(name, &end, 10);
	/* The last one means "no group" to chown(2). */
	if (*name < '0' || *name > '9' || *end || errno || v >= UINT32_MAX)
		return -ENOENT;
	*ret = (unsigned)v;
	return 0;
}

void
os_raise_nofile(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return;
	rl.rlim_cur = rl.rlim_max;
	/* Refused: then the present limit stays, and is met when it is met. */
	(void)setrlimit(RLIMIT_NOFILE, &rl);
}
