/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The whole daemon and the plugin's session in one process, over loopback, with
 * calls that fail: the n-th of a kind, for n from 1 until none fails any more.
 * Each round starts a daemon, opens devices, does I/O, loses its connections,
 * gets them back, asks the control socket, closes and ends. Whatever failed is
 * tried again and must work then; at the end of a round nothing may be left:
 * memory of the tree's code, mappings, descriptors, what RDMA devices gave out.
 *
 * With --listen ip:ADDRESS it is over RDMA, where --side tells whose calls
 * fail. What a process has of RDMA is not the child's after a fork: there the
 * rounds are in one process as long as they go well, and its first two warm it.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "tests/faults/world.h"

#ifdef RNBD_COVERAGE
void __gcov_dump(void);
#endif

/* What takes longer hangs. */
#define ROUND_SECONDS 60
/* So many findings are enough for a run. */
#define MAX_BAD       10

struct orders {
	unsigned kinds;
	enum fault_mode mode;
	enum fault_side side;
	unsigned long width, from, to, step;
};

/* Of a process of many rounds, for the one that waits for it. */
struct progress_of {
	unsigned long n, rounds, calls;
	unsigned long slow_n;
	double slow; /* seconds, of round slow_n */
};

static struct orders opt = {.width = 1, .from = 1, .step = 1};
static unsigned long round_no;

static const char *
replay(void)
{
	static char text[256];

	snprintf(text, sizeof(text),
		 "call %lu (%s), width %lu; replay: --from %lu --to %lu and "
		 "the same other options",
		 round_no, fault_where(), opt.width, round_no, round_no);
	return text;
}

static void
on_alarm(int sig)
{
	static const char text[] =
		"FAILED: a round hangs; a core tells where\n";

	if (write(STDOUT_FILENO, text, sizeof(text) - 1) > 0)
		abort();
}

/* --- rounds */

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
run_round(void)
{
	struct server s;
	struct client c;

	server_start(&s);
	client_start(&c, s.addr);
	client_open(&c);
	client_work(&c, 1);
	client_cut(&c);
	client_work(&c, 3);
	if (!world.listen) {
		world_control();
		world_scrape();
	}
	client_stop(&c);
	/* Who comes next finds the daemon as it was. */
	if (world.listen && fault_hits()) {
		client_start(&c, s.addr);
		client_open(&c);
		client_touch(&c, 5);
		client_stop(&c);
	}
	server_stop(&s);
}

/*
 * What could not be given back stays, and what it hangs on: a region's domain,
 * and the books of both.
 */
#define STAYS_RDMA   4
#define STAYS_BLOCKS 8

static bool
may_stay(const struct fault_live *a, const struct fault_live *b)
{
	unsigned n = 0;

	if (!(opt.kinds & FAULT_END))
		return false;
	for (unsigned i = 0; i < FAULT_N_RDMA; i++)
		n += b->rdma[i] - a->rdma[i];
	return n && n <= STAYS_RDMA * opt.width &&
	       b->blocks - a->blocks <= STAYS_BLOCKS * opt.width;
}

static void
compare(const struct fault_live *a, const struct fault_live *b)
{
	if ((a->blocks == b->blocks && a->mapped == b->mapped &&
	     a->fds == b->fds && !memcmp(a->rdma, b->rdma, sizeof(a->rdma))) ||
	    may_stay(a, b))
		return;
	for (unsigned i = 0; i < FAULT_N_RDMA; i++)
		if (a->rdma[i] != b->rdma[i])
			printf("%s: %d left\n", fault_rdma_name(i),
			       (int)(b->rdma[i] - a->rdma[i]));
	fault_live_print(20);
	die("left over: %zd blocks, %zd bytes mapped, %d descriptors",
	    (ssize_t)(b->blocks - a->blocks), (ssize_t)(b->mapped - a->mapped),
	    (int)(b->fds - a->fds));
}

/* True: a call failed in it. */
static bool
checked_round(unsigned long nth)
{
	struct fault_live before, after;
	bool hit;

	round_no = nth;
	fault_live(&before);
	fault_live_mark();
	alarm(ROUND_SECONDS);
	fault_only(opt.side);
	fault_arm(opt.kinds, opt.mode, nth, opt.width);
	run_round();
	hit = fault_hits();
	fault_disarm();
	alarm(0);
	fault_live(&after);
	if (nth)
		compare(&before, &after);
	return hit;
}

enum outcome {
	ROUND_HIT = 10,
	ROUND_CALM,
	ROUND_BAD,
};

/* In a process of its own, so that a crash is one finding of many. */
static enum outcome
forked_round(unsigned long nth)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		die("cannot fork: %s", strerror(errno));
	if (!pid) {
		bool hit = checked_round(nth);

		fflush(NULL);
#ifdef __SANITIZE_ADDRESS__
		if (__lsan_do_recoverable_leak_check())
			_exit(ROUND_BAD);
#endif
#ifdef RNBD_COVERAGE
		__gcov_dump();
#endif
		_exit(hit ? ROUND_HIT : ROUND_CALM);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("cannot wait: %s", strerror(errno));
	if (WIFEXITED(status) && (WEXITSTATUS(status) == ROUND_HIT ||
				  WEXITSTATUS(status) == ROUND_CALM))
		return (enum outcome)WEXITSTATUS(status);
	if (WIFSIGNALED(status))
		printf("FAILED: call %lu: killed by signal %d\n", nth,
		       WTERMSIG(status));
	return ROUND_BAD;
}

/* True: there may be more. */
static bool
one_of_many(unsigned long n, struct progress_of *p)
{
	double t = seconds();
	bool hit;

	if (opt.to && n > opt.to)
		return false;
	if (world.verbose)
		fprintf(stderr, "--- call %lu\n", n);
	p->n = n;
	hit = checked_round(n);
	t = seconds() - t;
	if (hit && t > p->slow) {
		p->slow = t;
		p->slow_n = n;
	}
#ifdef __SANITIZE_ADDRESS__
	if (__lsan_do_recoverable_leak_check())
		_exit(ROUND_BAD);
#endif
	p->rounds += hit;
	if (world.verbose && hit)
		fprintf(stderr, "--- %s, %.2f s\n", fault_where(), t);
	return hit;
}

/* Rounds in a process of their own, until one is bad or none is left. */
static enum outcome
many_rounds(unsigned long from, struct progress_of *p)
{
	int status;
	pid_t pid;

	p->n = from;
	fflush(NULL);
	pid = fork();
	if (pid < 0)
		die("cannot fork: %s", strerror(errno));
	if (!pid) {
		checked_round(0);
		checked_round(0);
		p->calls = fault_calls();
		for (unsigned long n = from; one_of_many(n, p); n += opt.step)
			;
		fflush(NULL);
		_exit(ROUND_CALM);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("cannot wait: %s", strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == ROUND_CALM)
		return ROUND_CALM;
	if (WIFSIGNALED(status))
		printf("FAILED: call %lu: killed by signal %d\n", p->n,
		       WTERMSIG(status));
	return ROUND_BAD;
}

static int
usage(void)
{
	fprintf(stderr,
		"usage: exhaust --kinds K,... [--mode fail|short|again]"
		" [--width N] [--from N] [--to N] [--step N]\n"
		"\t[--pool] [--verbose] [--listen ip:ADDRESS "
		"[--side client|server] [--invalidate] [--need-inval]]\n");
	return 2;
}

static int
parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{"kinds", required_argument, NULL, 'k'},
		{"mode", required_argument, NULL, 'm'},
		{"width", required_argument, NULL, 'w'},
		{"from", required_argument, NULL, 'f'},
		{"to", required_argument, NULL, 't'},
		{"step", required_argument, NULL, 's'},
		{"pool", no_argument, NULL, 'p'},
		{"verbose", no_argument, NULL, 'v'},
		{"listen", required_argument, NULL, 'l'},
		{"side", required_argument, NULL, 'S'},
		{"invalidate", no_argument, NULL, 'i'},
		{"need-inval", no_argument, NULL, 'n'},
		{0},
	};
	int c, mode = FAULT_FAIL;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'k':
			opt.kinds = fault_kinds_parse(optarg);
			break;
		case 'm':
			mode = fault_mode_parse(optarg);
			break;
		case 'w':
			opt.width = strtoul(optarg, NULL, 0);
			break;
		case 'f':
			opt.from = strtoul(optarg, NULL, 0);
			break;
		case 't':
			opt.to = strtoul(optarg, NULL, 0);
			break;
		case 's':
			opt.step = strtoul(optarg, NULL, 0);
			break;
		case 'p':
			world.pool = true;
			break;
		case 'v':
			world.verbose = true;
			break;
		case 'l':
			world.listen = optarg;
			/* Nothing else may help what is lost, so that the
			 * round's time is over before. */
			world.io_timeout = 600;
			world.heartbeat = 600;
			world.connect_timeout = 600;
			break;
		case 'S':
			opt.side = !strcmp(optarg, "client")   ? FAULT_CLIENT
				   : !strcmp(optarg, "server") ? FAULT_SERVER
							       : FAULT_NO_SIDE;
			if (!opt.side)
				return -1;
			break;
		case 'i':
			world.invalidate = true;
			break;
		case 'n':
			world.need_inval = true;
			break;
		default:
			return -1;
		}
	}
	opt.mode = (enum fault_mode)mode;
	return mode < 0 || !opt.kinds || !opt.step || optind != argc ? -1 : 0;
}

/* The whole of it, over RDMA. */
static int
rdma_main(void)
{
	struct progress_of *p;
	double begin = seconds();
	unsigned bad = 0;

	p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		die("no memory");
	for (p->n = opt.from; many_rounds(p->n, p) == ROUND_BAD;
	     p->n += opt.step) {
		p->rounds++;
		if (++bad == MAX_BAD)
			break;
	}
	printf("%lu calls in a calm round; %lu rounds with a failure, %u of "
	       "them bad, in %.1f s (longest %.2f s, call %lu)\n",
	       p->calls, p->rounds, bad, seconds() - begin, p->slow, p->slow_n);
	return bad || !p->rounds;
}

int
main(int argc, char **argv)
{
	unsigned long n, rounds = 0, calls, slow_n = 0;
	unsigned bad = 0;
	double begin, t, slow = 0;

	if (parse(argc, argv))
		return usage();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGALRM, on_alarm);
	world.replay = replay;
	world_make_files();
	if (world.listen) {
		int r = rdma_main();

		world_remove_files();
		return r;
	}
	/* What libraries keep for ever is made in these. */
	checked_round(0);
	checked_round(0);
	calls = fault_calls();
	begin = seconds();
	for (n = opt.from; !opt.to || n <= opt.to; n += opt.step) {
		enum outcome o;

		t = seconds();
		if (world.verbose)
			fprintf(stderr, "--- call %lu\n", n);
		o = forked_round(n);
		if (o == ROUND_CALM)
			break;
		if (o == ROUND_BAD && ++bad == MAX_BAD)
			break;
		rounds++;
		t = seconds() - t;
		if (t > slow) {
			slow = t;
			slow_n = n;
		}
	}
	world_remove_files();
	printf("%lu calls in a calm round; %lu rounds with a failure, %u of "
	       "them bad, in %.1f s (longest %.2f s, call %lu)\n",
	       calls, rounds, bad, seconds() - begin, slow, slow_n);
	return bad || !rounds;
}
