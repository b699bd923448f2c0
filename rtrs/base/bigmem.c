/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/base/bigmem.h"

#include <errno.h>
#include <limits.h>
#include <linux/mempolicy.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rtrs/base/util.h"

#define THP "/sys/kernel/mm/transparent_hugepage/"

/* Below that no huge page exists: smaller blocks ask for none. */
#define MIN_HUGE (1UL << 20)
#define MAX_NODE 1024

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Bytes of a page of the pool's default size; 0: there is no pool. */
static size_t
pool_page_size(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long kib = 0;
	char line[128];

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Hugepagesize: %lu kB", &kib) == 1)
			break;
	fclose(f);
	return (size_t)kib * 1024;
}

/* Bytes of a transparent huge page; 0: there are none. */
static size_t
transparent_page_size(void)
{
	FILE *f = fopen(THP "enabled", "re");
	unsigned long size = 0;
	char line[128] = "";

	if (!f)
		return 0;
	if (!fgets(line, sizeof(line), f) || strstr(line, "[never]")) {
		fclose(f);
		return 0;
	}
	fclose(f);
	f = fopen(THP "hpage_pmd_size", "re");
	if (!f)
		return 0;
	if (fscanf(f, "%lu", &size) != 1)
		size = 0;
	fclose(f);
	return size;
}

static void *
map(size_t len, int flags)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static bool
bind_to(void *addr, size_t len, int node)
{
	unsigned long mask[MAX_NODE / (8 * sizeof(long))] = {0};
	const unsigned bits = 8 * sizeof(*mask);

	if (node < 0 || node >= MAX_NODE)
		return false;
	mask[(unsigned)node / bits] |= 1UL << ((unsigned)node % bits);
	return !syscall(SYS_mbind, addr, len, MPOL_PREFERRED, mask, MAX_NODE,
			0);
}

/*
 * A page that the pool promised may still be refused when it is touched, by a
 * limit of a control group, and that is a SIGBUS. So they are touched here,
 * where it is an error.
 */
static bool
populate(void *addr, size_t len)
{
	return !madvise(addr, len, MADV_POPULATE_WRITE) || errno == EINVAL;
}

static bool
map_from_pool(struct bigmem *m, int node)
{
	size_t page = m->len < MIN_HUGE ? 0 : pool_page_size();

	if (!page || m->len % page)
		return false;
	m->addr = map(m->len, MAP_HUGETLB);
	if (!m->addr)
		return false;
	if (bind_to(m->addr, m->len, node))
		m->node = node;
	if (!populate(m->addr, m->len)) {
		munmap(m->addr, m->len);
		m->addr = NULL;
		m->node = -1;
		return false;
	}
	m->kind = BIGMEM_HUGETLB;
	return true;
}

/* Huge pages are aligned to their size, so what is to lie on them must be. */
static void *
map_aligned(size_t len, size_t align)
{
	char *p, *start;

	if (len > SIZE_MAX - align)
		return NULL;
	p = map(len + align, 0);
	if (!p)
		return NULL;
	start = p + (align - (uintptr_t)p % align) % align;
	if (start > p)
		munmap(p, (size_t)(start - p));
	if (start < p + align)
		munmap(start + len, (size_t)(p + align - start));
	return start;
}

static int
map_pages(struct bigmem *m, int node)
{
	size_t page = m->len < MIN_HUGE ? 0 : transparent_page_size();

	if (page && m->len >= page)
		m->addr = map_aligned(m->len, page);
	if (m->addr && !madvise(m->addr, m->len, MADV_HUGEPAGE))
		m->kind = BIGMEM_TRANSPARENT;
	if (!m->addr)
		m->addr = map(m->len, 0);
	if (!m->addr)
		return -ENOMEM;
	if (bind_to(m->addr, m->len, node))
		m->node = node;
	return 0;
}

/* In whole pages; 0: none, or more than there can be. */
static size_t
round_up(size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return len > SIZE_MAX - page ? 0 : (len + page - 1) / page * page;
}

/* Advice: may fail. */
static void
keep_out_of_dumps(const struct bigmem *m)
{
	(void)madvise(m->addr, m->len, MADV_DONTDUMP);
}

int
bigmem_new(size_t len, int node, struct bigmem *ret)
{
	struct bigmem m = {.len = round_up(len), .node = -1};
	int err;

	if (!m.len)
		return -ENOMEM;
	if (!map_from_pool(&m, node)) {
		err = map_pages(&m, node);
		if (err)
			return err;
	}
	keep_out_of_dumps(&m);
	*ret = m;
	return 0;
}

int
bigmem_new_lazy(size_t len, struct bigmem *ret)
{
	struct bigmem m = {
		.len = round_up(len), .kind = BIGMEM_LAZY, .node = -1};

	if (m.len)
		m.addr = map(m.len, MAP_NORESERVE);
	if (!m.addr)
		return -ENOMEM;
	keep_out_of_dumps(&m);
	*ret = m;
	return 0;
}

void
bigmem_free(struct bigmem *m)
{
	if (m->addr)
		munmap(m->addr, m->len);
	*m = (struct bigmem){0};
}

static const char *const kind_names[] = {
	[BIGMEM_PLAIN] = "plain",
	[BIGMEM_TRANSPARENT] = "transparent",
	[BIGMEM_HUGETLB] = "hugetlb",
	[BIGMEM_LAZY] = "lazy",
};

const char *
bigmem_kind_name(unsigned kind)
{
	return kind < ARRAY_SIZE(kind_names) ? kind_names[kind] : "unknown";
}
