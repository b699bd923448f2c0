/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/sim-mem.h"

#include <stdlib.h>
#include <string.h>

#include "rtrs/fabric/sim/sim.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
void __real_free(void *p);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);

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
