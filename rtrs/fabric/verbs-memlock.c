/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/fabric/verbs-memlock.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rtrs/base/util.h"

/* The kernel's count is the process's, so this is too. */
static _Atomic size_t charged;

static size_t
page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t
round_up(size_t bytes)
{
	size_t page = page_size();

	return bytes > SIZE_MAX - page ? SIZE_MAX - page + 1
				       : (bytes + page - 1) / page * page;
}

size_t
verbs_memlock_span(const void *addr, size_t len)
{
	return round_up((uintptr_t)addr % page_size() + len);
}

/* The capabilities of a user namespace of its own do not count. */
static bool
in_first_user_ns(void)
{
	unsigned long inside, outside, count;
	FILE *f = fopen("/proc/self/uid_map", "re");
	bool ret = true;

	if (!f)
		return true; /* built without user namespaces */
	if (fscanf(f, "%lu %lu %lu", &inside, &outside, &count) == 3)
		ret = !inside && !outside && count == UINT32_MAX;
	fclose(f);
	return ret;
}

static bool
may_exceed(void)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = {0};

	if (syscall(SYS_capget, &hdr, data) < 0)
		return false;
	return (data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &
		CAP_TO_MASK(CAP_IPC_LOCK)) &&
	       in_first_user_ns();
}

size_t
verbs_memlock_limit(void)
{
	struct rlimit rl;

	if (may_exceed() || getrlimit(RLIMIT_MEMLOCK, &rl) < 0)
		return SIZE_MAX;
	if (rl.rlim_cur != rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		if (setrlimit(RLIMIT_MEMLOCK, &rl) < 0 &&
		    getrlimit(RLIMIT_MEMLOCK, &rl) < 0)
			return SIZE_MAX;
	}
	/* The kernel compares whole pages. */
	return rl.rlim_cur == RLIM_INFINITY
		       ? SIZE_MAX
		       : (size_t)rl.rlim_cur / page_size() * page_size();
}

/* What the kernel counts at the moment; 0 if it does not tell. */
static size_t
pinned_by_kernel(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long kib = 0;
	char line[128];

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmPin: %lu kB", &kib) == 1)
			break;
	fclose(f);
	return (size_t)kib * 1024;
}

size_t
verbs_memlock_pinned(void)
{
	/* Ours is ahead of the kernel's while a registration is under way; the
	 * kernel's has what libraries pin, such as the rings of queue pairs. */
	size_t ours = atomic_load(&charged), kernel = pinned_by_kernel();

	return ours > kernel ? ours : kernel;
}

void
verbs_memlock_words(size_t bytes, char *ret, size_t ret_len)
{
	snprintf(ret, ret_len,
		 "%zu KiB of memory cannot be pinned: %zu KiB are in use and "
		 "the limit is %zu KiB; raise it (ulimit -l, LimitMEMLOCK=), "
		 "grant CAP_IPC_LOCK, or lower the queue depth",
		 round_up(bytes) / 1024, verbs_memlock_pinned() / 1024,
		 verbs_memlock_limit() / 1024);
}

static bool
take(size_t bytes)
{
	size_t limit = verbs_memlock_limit(), pinned, kernel;

	if (limit != SIZE_MAX && bytes > limit)
		return false;
	kernel = pinned_by_kernel();
	pinned = atomic_fetch_add(&charged, bytes);
	if (pinned < kernel)
		pinned = kernel;
	if (limit == SIZE_MAX || pinned <= limit - bytes)
		return true;
	atomic_fetch_sub(&charged, bytes);
	return false;
}

int
verbs_memlock_charge(size_t bytes, const struct log *log)
{
	char words[VERBS_MEMLOCK_WORDS_MAX];

	if (take(round_up(bytes)))
		return 0;
	if (log) {
		verbs_memlock_words(bytes, words, sizeof(words));
		log_err(log, "%s", words);
	}
	return -ENOMEM;
}

void
verbs_memlock_uncharge(size_t bytes)
{
	atomic_fetch_sub(&charged, round_up(bytes));
}
