/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sessions that come and go: connect, open two devices, write, read, close,
 * disconnect, so many times, on one daemon. Nothing may grow: what the code of
 * the tree has allocated (each memory region of the tcp fabric is a block of
 * that) and mapped, descriptors, and the memory that is resident.
 *
 * With an address and a process id it is that daemon's, which has exports "m"
 * and "f": then its descriptors, its resident memory and, over RDMA, what the
 * kernel has of it and of this process on RDMA devices are judged as well. With
 * MAPS one more session opens, uses and closes both devices so many times.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/faults/world.h"

#define SAMPLES   40
/* To ask for them takes a program each. */
#define RDMA_EACH 10
/* How long a daemon may take to forget a session that has left. */
#define SETTLE_NS (20 * NSEC_PER_SEC)
/* And the memory that it had for it. */
#define FREE_NS   (2 * NSEC_PER_SEC)

static const char *const rdma_kinds[] = {"pd", "cq",    "qp",
					 "mr", "cm_id", "srq"};

struct sample {
	struct fault_live live;
	double rss; /* pages */
	/* Of the daemon, if it is another process. */
	unsigned fds;
	double daemon_rss;
	unsigned rdma[ARRAY_SIZE(rdma_kinds)][2]; /* ours, the daemon's */
};

static struct {
	unsigned daemon; /* process id; 0: in this process */
	bool rdma;
} opt;

static double
resident(unsigned pid)
{
	unsigned long size, rss;
	char path[32];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/statm", pid);
	fault_pause();
	f = fopen(path, "re");
	if (!f || fscanf(f, "%lu %lu", &size, &rss) != 2)
		die("no %s", path);
	fclose(f);
	fault_resume();
	return (double)rss;
}

/* Lines that a command prints and that have these words. */
static unsigned
count_lines(const char *command, const char *words)
{
	unsigned n = 0;
	char line[512];
	FILE *f;

	fault_pause();
	f = popen(command, "re");
	if (!f)
		die("cannot run: %s", command);
	while (fgets(line, sizeof(line), f))
		n += !!strstr(line, words);
	if (pclose(f))
		die("failed: %s", command);
	fault_resume();
	return n;
}

static unsigned
count_daemon_fds(void)
{
	char path[32];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%u/fd", opt.daemon);
	fault_pause();
	d = opendir(path);
	if (!d)
		die("no %s", path);
	while (readdir(d))
		n++;
	closedir(d);
	fault_resume();
	return n - 2; /* ".", ".." */
}

static unsigned
count_rdma(const char *kind, unsigned pid)
{
	char command[64], words[32];

	snprintf(command, sizeof(command), "rdma resource show %s", kind);
	snprintf(words, sizeof(words), " pid %u comm ", pid);
	return count_lines(command, words);
}

/*
 * The tcp fabric frees a connection with the next poll, so those of the last
 * session may be there still: not more after ten thousand than after one.
 */
#define LATE 4

static bool
same(const struct sample *s, const struct sample *t)
{
	const struct fault_live *a = &s->live, *b = &t->live;

	return a->blocks <= b->blocks + LATE && b->blocks <= a->blocks + LATE &&
	       a->mapped == b->mapped && a->fds == b->fds &&
	       !memcmp(a->rdma, b->rdma, sizeof(a->rdma)) && s->fds == t->fds;
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

static void
look(struct sample *s)
{
	fault_live(&s->live);
	s->fds = opt.daemon ? count_daemon_fds() : 0;
}

/* When what the daemon does after the last answer is done. */
static void
take(struct sample *s, const struct sample *want)
{
	static const struct timespec tv = {.tv_nsec = 1000000};
	uint64_t end = clock_now() + SETTLE_NS;

	look(s);
	while (want && !same(s, want) && clock_now() < end) {
		nanosleep(&tv, NULL); /* nobody announces it */
		look(s);
	}
	s->rss = resident((unsigned)getpid());
	if (!opt.daemon)
		return;
	/* Nothing but memory tells that a session's buffers are gone. */
	end = clock_now() + FREE_NS;
	s->daemon_rss = resident(opt.daemon);
	while (want && s->daemon_rss > want->daemon_rss && clock_now() < end) {
		nanosleep(&tv, NULL);
		s->daemon_rss = resident(opt.daemon);
	}
}

static void
take_rdma(struct sample *s)
{
	for (unsigned i = 0; opt.rdma && i < ARRAY_SIZE(rdma_kinds); i++) {
		s->rdma[i][0] = count_rdma(rdma_kinds[i], (unsigned)getpid());
		s->rdma[i][1] = count_rdma(rdma_kinds[i], opt.daemon);
	}
}

/* Least squares; growth over the whole span, in percent. */
static double
growth(const double *s)
{
	double x = 0, y = 0, xx = 0, xy = 0, n = SAMPLES;

	for (int i = 0; i < SAMPLES; i++) {
		x += i;
		y += s[i];
		xx += (double)i * i;
		xy += i * s[i];
	}
	return (n * xy - x * y) / (n * xx - x * x) * (n - 1) / s[0] * 100;
}

static void
judge(const struct sample *s, const struct sample *first)
{
	if (!same(s, first)) {
		fault_live_print(20);
		die("%zu blocks, %zu bytes mapped, %u descriptors and %u of "
		    "the daemon; %zu, %zu, %u, %u before",
		    s->live.blocks, s->live.mapped, s->live.fds, s->fds,
		    first->live.blocks, first->live.mapped, first->live.fds,
		    first->fds);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(rdma_kinds); i++)
		if (memcmp(s->rdma[i], first->rdma[i], sizeof(s->rdma[i])))
			die("%s: %u here and %u of the daemon; %u and %u "
			    "before",
			    rdma_kinds[i], s->rdma[i][0], s->rdma[i][1],
			    first->rdma[i][0], first->rdma[i][1]);
}

/* What is done count times, and what it is called. */
struct churn {
	const char *name;
	void (*once)(void *user, unsigned long i);
	void *user;
};

static void
one_session(void *addr, unsigned long i)
{
	come_and_go(addr, i);
}

static void
one_map(void *user, unsigned long i)
{
	struct client *c = user;

	client_open(c);
	client_touch(c, (uint8_t)i);
	client_shut(c);
}

static int
run(const struct churn *ch, unsigned long count)
{
	static const struct timespec settle = {.tv_nsec = 500000000};
	double rss[SAMPLES], daemon_rss[SAMPLES] = {0}, g, h = 0;
	struct sample s = {0}, first = {0};
	uint64_t begin;

	/* Warm: arenas, caches of libraries, pools of threads. */
	for (unsigned long i = 0; i < count / 10 + (opt.daemon ? 100 : 20); i++)
		ch->once(ch->user, i);
	/* Twice the same: the last session is forgotten. */
	take(&first, NULL);
	do
		s = first;
	while (nanosleep(&settle, NULL), take(&first, NULL), !same(&first, &s));
	take_rdma(&first);
	fault_live_mark();
	begin = clock_now();
	for (int k = 0; k < SAMPLES; k++) {
		for (unsigned long i = 0; i < count / SAMPLES; i++)
			ch->once(ch->user, i);
		memcpy(s.rdma, first.rdma, sizeof(s.rdma));
		take(&s, &first);
		if (k % RDMA_EACH == RDMA_EACH - 1)
			take_rdma(&s);
		judge(&s, &first);
		rss[k] = s.rss;
		daemon_rss[k] = s.daemon_rss;
	}
	g = growth(rss);
	printf("%lu %s in %.0f s: %zu blocks, %zu bytes mapped, %u descriptors "
	       "before and after; resident %.0f KiB, slope %+.2f percent\n",
	       count / SAMPLES * SAMPLES, ch->name,
	       (double)(clock_now() - begin) / 1e9, first.live.blocks,
	       first.live.mapped, first.live.fds,
	       s.rss * (double)getpagesize() / 1024, g);
	if (opt.daemon) {
		h = growth(daemon_rss);
		printf("  daemon: %u descriptors", first.fds);
		for (unsigned i = 0; opt.rdma && i < ARRAY_SIZE(rdma_kinds);
		     i++)
			printf(", %s %u", rdma_kinds[i], first.rdma[i][1]);
		printf("; resident %.0f KiB, slope %+.2f percent\n",
		       s.daemon_rss * (double)getpagesize() / 1024, h);
	}
	for (int k = 0; k < SAMPLES && (g >= 1 || h >= 1); k++)
		printf("  pages at %d: %.0f; daemon %.0f\n", k, rss[k],
		       daemon_rss[k]);
	fflush(stdout);
	return g < 1 && h < 1 ? 0 : 1;
}

static int
churn(char *addr, unsigned long count, unsigned long maps)
{
	struct churn sessions = {"sessions", one_session, addr};
	struct client c;
	struct churn of_maps = {"maps", one_map, &c};
	int r = run(&sessions, count);

	if (!maps)
		return r;
	client_start(&c, addr);
	r |= run(&of_maps, maps);
	client_stop(&c);
	return r;
}

int
main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : 0;
	unsigned long maps = argc > 4 ? strtoul(argv[4], NULL, 0) : 0;
	struct server server;
	int r;

	if (count < SAMPLES || argc == 3 || argc > 5 ||
	    (argc == 5 && maps < SAMPLES)) {
		fprintf(stderr,
			"usage: churn COUNT [ADDRESS PID [MAPS]] (COUNT and "
			"MAPS at least %d)\n",
			SAMPLES);
		return 2;
	}
	fault_live_mark();
	if (argc > 3) {
		opt.daemon = (unsigned)strtoul(argv[3], NULL, 0);
		opt.rdma = strncmp(argv[2], "tcp:", 4) != 0;
		world.io_timeout = 60;
		world.connect_timeout = 30; /* emulated machines */
		return churn(argv[2], count, maps);
	}
	world_make_files();
	server_start(&server);
	r = churn(server.addr, count, maps);
	server_stop(&server);
	world_remove_files();
	return r;
}
