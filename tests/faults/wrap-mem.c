/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory: each allocation may fail, and is in the table until it is freed. */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

#include "tests/faults/fault-priv.h"

WRAPPED(void, free, void *p)
{
	fault_untrack(p);
	__real_free(p);
}

WRAPPED(void *, malloc, size_t size)
{
	FAIL(FAULT_MEM, "malloc", ENOMEM, NULL);
	return fault_track(__real_malloc(size), size, SITE);
}

WRAPPED(void *, calloc, size_t n, size_t size)
{
	FAIL(FAULT_MEM, "calloc", ENOMEM, NULL);
	return fault_track(__real_calloc(n, size), n * size, SITE);
}

/* Untracked first: another thread may get the address at once. */
static void *
resize(void *p, size_t size, const void *site, void *(*real)(void *, size_t))
{
	void *q;

	fault_untrack(p);
	q = real(p, size);
	if (q || !size)
		return fault_track(q, size, site);
	fault_track(p, 0, site);
	return NULL;
}

WRAPPED(void *, realloc, void *p, size_t size)
{
	FAIL(FAULT_MEM, "realloc", ENOMEM, NULL);
	return resize(p, size, SITE, __real_realloc);
}

WRAPPED(void *, reallocarray, void *p, size_t n, size_t size)
{
	FAIL(FAULT_MEM, "reallocarray", ENOMEM, NULL);
	if (size && n > SIZE_MAX / size) {
		errno = ENOMEM;
		return NULL;
	}
	return resize(p, n * size, SITE, __real_realloc);
}

WRAPPED(void *, aligned_alloc, size_t align, size_t size)
{
	FAIL(FAULT_MEM, "aligned_alloc", ENOMEM, NULL);
	return fault_track(__real_aligned_alloc(align, size), size, SITE);
}

WRAPPED(char *, strdup, const char *s)
{
	FAIL(FAULT_MEM, "strdup", ENOMEM, NULL);
	return fault_track(__real_strdup(s), strlen(s), SITE);
}

WRAPPED(char *, strndup, const char *s, size_t n)
{
	FAIL(FAULT_MEM, "strndup", ENOMEM, NULL);
	return fault_track(__real_strndup(s, n), n, SITE);
}

int __wrap_asprintf(char **ret, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

int
__wrap_asprintf(char **ret, const char *fmt, ...)
{
	va_list ap;
	int n;

	FAIL(FAULT_MEM, "asprintf", ENOMEM, -1);
	va_start(ap, fmt);
	n = vasprintf(ret, fmt, ap);
	va_end(ap);
	if (n >= 0)
		fault_track(*ret, (size_t)n, SITE);
	return n;
}

WRAPPED(FILE *, open_memstream, char **buf, size_t *size)
{
	FAIL(FAULT_MEM, "open_memstream", ENOMEM, NULL);
	return __real_open_memstream(buf, size);
}

static long
pages(size_t len)
{
	return (long)((len + 4095) & ~(size_t)4095);
}

WRAPPED(void *, mmap64, void *addr, size_t len, int prot, int flags, int fd,
	off64_t off)
{
	void *p;

	FAIL(FAULT_MEM, "mmap", ENOMEM, MAP_FAILED);
	p = __real_mmap64(addr, len, prot, flags, fd, off);
	if (p != MAP_FAILED)
		fault_mapped(pages(len));
	return p;
}

WRAPPED(int, munmap, void *addr, size_t len)
{
	int r = __real_munmap(addr, len);

	if (!r)
		fault_mapped(-pages(len));
	return r;
}

/* ------------------------------------------------- for libraries */

void *
fault_malloc(size_t size)
{
	FAIL(FAULT_MEM, "malloc", ENOMEM, NULL);
	return fault_track(__real_malloc(size), size, SITE);
}

void *
fault_realloc(void *p, size_t size)
{
	FAIL(FAULT_MEM, "realloc", ENOMEM, NULL);
	return resize(p, size, SITE, __real_realloc);
}

void
fault_free(void *p)
{
	fault_untrack(p);
	__real_free(p);
}
