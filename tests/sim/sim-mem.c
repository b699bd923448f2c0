/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/sim-mem.h"

#include <stdlib.h>
#include <string.h>

#include "rtrs/base/bigmem.h"
#include "rtrs/base/util.h"
#include "rtrs/fabric/sim/sim.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
void __real_free(void *p);
int __real_bigmem_new(size_t len, int node, struct bigmem *ret);
int __real_bigmem_new_lazy(size_t len, struct bigmem *ret);
void __real_bigmem_free(struct bigmem *m);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);
int __wrap_bigmem_new(size_t len, int node, struct bigmem *ret);
int __wrap_bigmem_new_lazy(size_t len, struct bigmem *ret);
void __wrap_bigmem_free(struct bigmem *m);

/*
 * Chunks and bounce buffers of one run. The next path gets those that the last
 * one gave back, with its data in them: what is sent without having been
 * written shows, and no time goes into new pages. The next run begins without
 * any, so that it depends on its seed alone.
 */
static struct bigmem spare[64];
static unsigned n_spare;

static struct {
	struct sim_net *net;
	unsigned ppm, held;
	bool armed;
	int64_t count;
} mem;

void
sim_mem_begin(struct sim_net *net, unsigned ppm)
{
	mem.net = net;
	mem.ppm = ppm;
	mem.armed = false;
	mem.held = 0;
	while (n_spare)
		__real_bigmem_free(&spare[--n_spare]);
}

int64_t
sim_mem_count(void)
{
	return mem.count;
}

void
sim_mem_arm(bool on)
{
	mem.armed = on;
}

void
sim_mem_hold(void)
{
	mem.held++;
}

void
sim_mem_release(void)
{
	mem.held--;
}

static bool
fails(const char *what, size_t n)
{
	if (!mem.armed || mem.held || !mem.ppm || !sim_faults_on(mem.net) ||
	    !sim_net_chance(mem.net, mem.ppm))
		return false;
	sim_net_note(mem.net, "fault: %s of %zu fails", what, n);
	return true;
}

static void *
counted(void *p)
{
	mem.count += p != NULL;
	return p;
}

void *
__wrap_malloc(size_t n)
{
	return fails("malloc", n) ? NULL : counted(__real_malloc(n));
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return fails("calloc", n * size) ? NULL
					 : counted(__real_calloc(n, size));
}

void *
__wrap_realloc(void *p, size_t n)
{
	void *q = fails("realloc", n) ? NULL : __real_realloc(p, n);

	mem.count += q && !p;
	return q;
}

void *
__wrap_reallocarray(void *p, size_t n, size_t size)
{
	void *q = fails("reallocarray", n * size)
			  ? NULL
			  : __real_reallocarray(p, n, size);

	mem.count += q && !p;
	return q;
}

/* Of the simulated fabric, which is no engine. */
void *
__wrap_aligned_alloc(size_t align, size_t n)
{
	return counted(__real_aligned_alloc(align, n));
}

char *
__wrap_strdup(const char *s)
{
	return fails("strdup", strlen(s) + 1) ? NULL
					      : counted(__real_strdup(s));
}

void
__wrap_free(void *p)
{
	mem.count -= p != NULL;
	__real_free(p);
}

static bool
take_spare(size_t len, bool lazy, struct bigmem *ret)
{
	unsigned i;

	/* The last one first: its pages exist. */
	for (i = n_spare; i--;) {
		if ((spare[i].kind == BIGMEM_LAZY) != lazy ||
		    spare[i].len < len || spare[i].len - len >= 4096)
			continue;
		*ret = spare[i];
		memmove(&spare[i], &spare[i + 1],
			(--n_spare - i) * sizeof(*spare));
		return true;
	}
	return false;
}

int
__wrap_bigmem_new(size_t len, int node, struct bigmem *ret)
{
	int err = take_spare(len, false, ret)
			  ? 0
			  : __real_bigmem_new(len, node, ret);

	mem.count += !err;
	return err;
}

int
__wrap_bigmem_new_lazy(size_t len, struct bigmem *ret)
{
	int err = take_spare(len, true, ret) ? 0
					     : __real_bigmem_new_lazy(len, ret);

	mem.count += !err;
	return err;
}

void
__wrap_bigmem_free(struct bigmem *m)
{
	mem.count -= m->addr != NULL;
	if (!m->addr || n_spare == ARRAY_SIZE(spare)) {
		__real_bigmem_free(m);
		return;
	}
	spare[n_spare++] = *m;
	*m = (struct bigmem){0};
}
