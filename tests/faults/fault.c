/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/faults/fault.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rtrs/base/util.h"
#include "tests/faults/fault-priv.h"

static struct {
	atomic_uint kinds;
	enum fault_side only;
	enum fault_mode mode;
	unsigned long nth, width;
	atomic_ulong calls, hits;
	char where[128];
	int report; /* descriptor; 0: none */
} fault;

static _Thread_local unsigned paused;
static _Thread_local enum fault_side this_side;

static const char *const kind_names[FAULT_N_KINDS] = {
	"mem",   "desc",  "net",  "xfer", "disk", "thread",
	"uring", "verbs", "post", "poll", "end",
};

static const char *const rdma_names[FAULT_N_RDMA] = {
	[FAULT_PD] = "PD",
	[FAULT_CQ] = "CQ",
	[FAULT_QP] = "QP",
	[FAULT_SRQ] = "SRQ",
	[FAULT_MR] = "MR",
	[FAULT_MW] = "MW",
	[FAULT_CM_ID] = "CM ID",
	[FAULT_CHANNEL] = "event channel",
	[FAULT_COMP] = "completion channel",
};

const char *
fault_rdma_name(unsigned i)
{
	return i < FAULT_N_RDMA ? rdma_names[i] : NULL;
}

const char *
fault_kind_name(unsigned i)
{
	return i < FAULT_N_KINDS ? kind_names[i] : NULL;
}

unsigned
fault_kinds_parse(const char *words)
{
	unsigned kinds = 0;

	while (*words) {
		size_t len = strcspn(words, ",");
		unsigned i = 0;

		while (i < FAULT_N_KINDS &&
		       (strncmp(words, kind_names[i], len) ||
			kind_names[i][len]))
			i++;
		if (i == FAULT_N_KINDS)
			return 0;
		kinds |= 1u << i;
		words += len + (words[len] == ',');
	}
	return kinds;
}

int
fault_mode_parse(const char *word)
{
	static const char *const names[] = {
		[FAULT_FAIL] = "fail",
		[FAULT_SHORT] = "short",
		[FAULT_AGAIN] = "again",
	};

	for (int i = 0; i < (int)ARRAY_SIZE(names); i++)
		if (!strcmp(word, names[i]))
			return i;
	return -1;
}

void
fault_arm(unsigned kinds, enum fault_mode mode, unsigned long nth,
	  unsigned long width)
{
	fault.mode = mode;
	fault.nth = nth;
	fault.width = width ? width : 1;
	fault.where[0] = '\0';
	atomic_store(&fault.calls, 0);
	atomic_store(&fault.hits, 0);
	atomic_store(&fault.kinds, kinds);
}

void
fault_disarm(void)
{
	atomic_store(&fault.kinds, 0);
}

void
fault_set_side(enum fault_side side)
{
	this_side = side;
}

enum fault_side
fault_get_side(void)
{
	return this_side;
}

void
fault_only(enum fault_side side)
{
	fault.only = side;
}

unsigned long
fault_calls(void)
{
	return atomic_load(&fault.calls);
}

unsigned long
fault_hits(void)
{
	return atomic_load(&fault.hits);
}

const char *
fault_where(void)
{
	return fault.where;
}

void
fault_pause(void)
{
	paused++;
}

void
fault_resume(void)
{
	paused--;
}

/* "name at 0x1234 of object". */
static void
describe_site(const char *name, const void *site, char *buf, size_t size)
{
	Dl_info info = {0};
	uintptr_t at = (uintptr_t)site;
	const char *base;

	if (!dladdr(site, &info) || !info.dli_fname) {
		snprintf(buf, size, "%s at %p", name, site);
		return;
	}
	base = strrchr(info.dli_fname, '/');
	snprintf(buf, size, "%s at 0x%lx of %s", name,
		 (unsigned long)(at - (uintptr_t)info.dli_fbase - 1),
		 base ? base + 1 : info.dli_fname);
}

static void
report(const char *line)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "%s\n", line);

	if (fault.report > 0 && write(fault.report, text, (size_t)n) != n)
		abort();
}

bool
fault_hit(unsigned kind, const char *name, const void *site)
{
	unsigned long n;
	int err = errno;
	char line[128];

	if (!(atomic_load_explicit(&fault.kinds, memory_order_relaxed) &
	      kind) ||
	    paused || (fault.only && this_side && this_side != fault.only))
		return false;
	n = atomic_fetch_add(&fault.calls, 1) + 1;
	if (!fault.nth || n < fault.nth || n >= fault.nth + fault.width)
		return false;
	paused++;
	describe_site(name, site, line, sizeof(line));
	if (!atomic_fetch_add(&fault.hits, 1))
		memcpy(fault.where, line, sizeof(line));
	report(line);
	paused--;
	errno = err;
	return true;
}

enum fault_mode
fault_mode(void)
{
	return fault.mode;
}

/* ------------------------------------------------- what is allocated */

#define TABLE_SIZE (1u << 18) /* a power of two, more than ever live */

struct block {
	const void *addr; /* NULL: never used; &gone: was */
	const void *site;
	size_t size;
	bool marked;
};

static struct block table[TABLE_SIZE];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static size_t n_blocks, n_used;
static atomic_size_t mapped;
static atomic_uint rdma[FAULT_N_RDMA];
static const char gone;

static struct block *
find(const void *addr)
{
	uint64_t h = (uintptr_t)addr * UINT64_C(0x9e3779b97f4a7c15);
	size_t i = h >> (64 - 18);

	while (table[i].addr && table[i].addr != addr)
		i = (i + 1) & (TABLE_SIZE - 1);
	return &table[i];
}

/* Tombstones only slow down: now and then they are swept out. */
static void
sweep(void)
{
	static struct block old[TABLE_SIZE];

	memcpy(old, table, sizeof(table));
	memset(table, 0, sizeof(table));
	n_used = 0;
	for (size_t i = 0; i < TABLE_SIZE; i++) {
		if (!old[i].addr || old[i].addr == &gone)
			continue;
		*find(old[i].addr) = old[i];
		n_used++;
	}
}

void *
fault_track(void *addr, size_t size, const void *site)
{
	if (!addr)
		return NULL;
	pthread_mutex_lock(&table_lock);
	if (n_used > TABLE_SIZE / 2)
		sweep();
	*find(addr) = (struct block){.addr = addr, .site = site, .size = size};
	n_used++;
	n_blocks++;
	pthread_mutex_unlock(&table_lock);
	return addr;
}

void
fault_untrack(const void *addr)
{
	struct block *b;

	if (!addr)
		return;
	pthread_mutex_lock(&table_lock);
	b = find(addr);
	/* What a library allocated and the tree frees is not in it. */
	if (b->addr) {
		b->addr = &gone;
		n_blocks--;
	}
	pthread_mutex_unlock(&table_lock);
}

void
fault_mapped(long bytes)
{
	atomic_fetch_add(&mapped, (size_t)bytes);
}

void
fault_rdma(enum fault_rdma what, int n)
{
	atomic_fetch_add(&rdma[what], (unsigned)n);
}

static unsigned
count_fds(void)
{
	DIR *d;
	unsigned n = 0;

	d = opendir("/proc/self/fd");
	if (!d)
		abort();
	while (readdir(d))
		n++;
	closedir(d);
	return n - 3; /* ".", "..", its own */
}

void
fault_live(struct fault_live *ret)
{
	fault_pause();
	pthread_mutex_lock(&table_lock);
	ret->blocks = n_blocks;
	pthread_mutex_unlock(&table_lock);
	ret->mapped = atomic_load(&mapped);
	for (unsigned i = 0; i < FAULT_N_RDMA; i++)
		ret->rdma[i] = atomic_load(&rdma[i]);
	ret->fds = count_fds();
	fault_resume();
}

void
fault_live_mark(void)
{
	pthread_mutex_lock(&table_lock);
	/* Touches all that is ever used here, too: resident from now on. */
	sweep();
	for (size_t i = 0; i < TABLE_SIZE; i++)
		table[i].marked = true;
	pthread_mutex_unlock(&table_lock);
}

void
fault_live_print(unsigned max)
{
	char line[128];

	for (size_t i = 0; i < TABLE_SIZE && max; i++) {
		const struct block *b = &table[i];

		if (!b->addr || b->addr == &gone || b->marked)
			continue;
		describe_site("left:", b->site, line, sizeof(line));
		printf("%s, %zu bytes\n", line, b->size);
		max--;
	}
}

/* ------------------------------------------------- programs */

static unsigned long
number(const char *name, unsigned long otherwise)
{
	const char *s = getenv(name);

	return s ? strtoul(s, NULL, 0) : otherwise;
}

static void __attribute__((constructor)) fault_begin(void)
{
	const char *kinds = getenv("FAULT_KINDS");
	const char *mode = getenv("FAULT_MODE");
	const char *path = getenv("FAULT_REPORT");
	int m = mode ? fault_mode_parse(mode) : FAULT_FAIL;

	if (!kinds)
		return;
	if (path)
		fault.report = open(
			path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (!fault_kinds_parse(kinds) || m < 0 || fault.report < 0) {
		fprintf(stderr, "fault: bad FAULT_KINDS, _MODE or _REPORT\n");
		_exit(99);
	}
	fault_arm(fault_kinds_parse(kinds), (enum fault_mode)m,
		  number("FAULT_NTH", 0), number("FAULT_WIDTH", 1));
}

static void __attribute__((destructor)) fault_end(void)
{
	struct fault_live live;
	char line[128];

	if (fault.report <= 0)
		return;
	fault_disarm();
	fault_live(&live);
	snprintf(line, sizeof(line),
		 "end: %lu calls, %lu failed, %zu blocks and %zu bytes left",
		 fault_calls(), fault_hits(), live.blocks, live.mapped);
	report(line);
}
