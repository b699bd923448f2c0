/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions that come and go: connect, open two devices, write, read, close,
 * disconnect, so many times, on one daemon. Nothing may grow: what the code of
 * the tree has allocated (each memory region of the tcp fabric is a block of
 * that) and mapped, descriptors, and the memory that is resident.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/faults/world.h"

#define SAMPLES   40
/* How long a daemon may take to forget a session that has left. */
#define SETTLE_NS (2 * NSEC_PER_SEC)

struct sample {
	struct fault_live live;
	double rss; /* pages */
};

static double
resident(void)
{
	unsigned long size, rss;
	FILE *f;

	fault_pause();
	f = fopen("/proc/self/statm", "re");
	if (!f || fscanf(f, "%lu %lu", &size, &rss) != 2)
		die("no statm");
	fclose(f);
	fault_resume();
	return (double)rss;
}

/*
 * The tcp fabric frees a connection with the next poll, so those of the last
 * session may be there still: not more after ten thousand than after one.
 */
#define LATE 4

static bool
same(const struct fault_live *a, const struct fault_live *b)
{
	return a->blocks <= b->blocks + LATE && b->blocks <= a->blocks + LATE &&
	       a->mapped == b->mapped && a->fds == b->fds;
}

static void
come_and_go(const char *addr, unsigned long i)
{
	struct client c;

	client_start(&c, addr);
	client_open(&c);
	client_touch(&c, (uint8_t)i);
	client_stop(&c);
}

/* When what the daemon does after the last answer is done. */
static void
take(struct sample *s, const struct fault_live *want)
{
	static const struct timespec tv = {.tv_nsec = 1000000};
	uint64_t end = clock_now() + SETTLE_NS;

	fault_live(&s->live);
	while (want && !same(&s->live, want) && clock_now() < end) {
		nanosleep(&tv, NULL); /* nobody announces it */
		fault_live(&s->live);
	}
	s->rss = resident();
}

/* Least squares; growth over the whole span. */
static double
growth(const struct sample *s, int n)
{
	double x = 0, y = 0, xx = 0, xy = 0;

	for (int i = 0; i < n; i++) {
		x += i;
		y += s[i].rss;
		xx += (double)i * i;
		xy += i * s[i].rss;
	}
	return (n * xy - x * y) / (n * xx - x * x) * (n - 1);
}

int
main(int argc, char **argv)
{
	unsigned long count = argc == 2 ? strtoul(argv[1], NULL, 0) : 0;
	struct sample s[SAMPLES], first;
	struct server server;
	static const struct timespec settle = {.tv_nsec = 500000000};
	double g;

	if (count < SAMPLES) {
		fprintf(stderr, "usage: churn COUNT (at least %d)\n", SAMPLES);
		return 2;
	}
	fault_live_mark();
	world_make_files();
	server_start(&server);
	/* Warm: arenas, caches of libraries, pools of threads. */
	for (unsigned long i = 0; i < count / 10 + 20; i++)
		come_and_go(server.addr, i);
	/* Twice the same: the last session is forgotten. */
	take(&first, NULL);
	do
		s[0] = first;
	while (nanosleep(&settle, NULL), take(&first, NULL),
	       !same(&first.live, &s[0].live));
	fault_live_mark();
	for (int k = 0; k < SAMPLES; k++) {
		for (unsigned long i = 0; i < count / SAMPLES; i++)
			come_and_go(server.addr, i);
		take(&s[k], &first.live);
		if (!same(&s[k].live, &first.live)) {
			fault_live_print(20);
			die("%zu blocks, %zu bytes mapped, %u descriptors; "
			    "%zu, %zu, %u before",
			    s[k].live.blocks, s[k].live.mapped, s[k].live.fds,
			    first.live.blocks, first.live.mapped,
			    first.live.fds);
		}
	}
	server_stop(&server);
	world_remove_files();
	g = growth(s, SAMPLES) / s[0].rss * 100;
	printf("%lu sessions: %zu blocks, %zu bytes mapped, %u descriptors "
	       "before and after; resident %.0f KiB, slope %+.2f percent\n",
	       count, first.live.blocks, first.live.mapped, first.live.fds,
	       s[SAMPLES - 1].rss * (double)getpagesize() / 1024, g);
	return g < 1 ? 0 : 1;
}
