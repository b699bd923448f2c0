/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rnbd-sim: the whole stack under faults, one world per seed. The first failure
 * ends it with exit code 1 and the command line that replays it; SIGTERM, with
 * what was run so far.
 */
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/prctl.h>

#include "tests/sim/sim-run.h"

enum scenario {
	SCN_RANDOM, /* faults at random */
	SCN_CALM,   /* none at all */
	SCN_STEPS,  /* one fault, at each step of a short run */
	SCN_LATE,   /* late deliveries, and others at random */
};

static const char *const scenario_names[] = {
	[SCN_RANDOM] = "random",
	[SCN_CALM] = "calm",
	[SCN_STEPS] = "steps",
	[SCN_LATE] = "late",
};

struct options {
	enum scenario scenario;
	uint64_t seed, count;
	uint64_t step; /* steps: 0: all */
	int fault;     /* steps: -1: all */
	bool trace;
};

/* Of real time, for one run; most need some milliseconds. */
#define HANGS_S 300

static char replay[256];
static volatile sig_atomic_t stopped; /* after this run */

static struct {
	uint64_t runs, ios, ios_failed, faults, lost_sessions;
	double virtual_s;
} total;

static int
usage(const char *self)
{
	fprintf(stderr,
		"usage: %s [--seed N] [--count M] [--scenario "
		"random|calm|steps|late]"
		"\n\t[--step K --fault NAME] [--trace]\n",
		self);
	return 2;
}

static int
index_of(const char *name, const char *const *names, int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (!strcmp(names[i], name))
			return i;
	return -1;
}

/* Short enough that each of its steps can be struck. */
static void
make_short(struct sim_params *p)
{
	p->ios = 8 + p->ios % 8;
	p->n_clients = 1;
	p->think_ns = 0;
	if (p->n_cons > 3)
		p->n_cons = 3;
}

/* The command that runs this once more. */
static void
say_replay(const struct options *o, uint64_t seed, uint64_t step,
	   enum step_fault fault)
{
	char at[64] = "";

	if (step)
		snprintf(at, sizeof(at), " --step %llu --fault %s",
			 (unsigned long long)step, step_fault_names[fault]);
	snprintf(replay, sizeof(replay),
		 "replay: rnbd-sim --scenario %s --seed %llu%s --trace\n",
		 scenario_names[o->scenario], (unsigned long long)seed, at);
}

static void
say(const char *s)
{
	if (write(STDOUT_FILENO, s, strlen(s)) < 0)
		_exit(3);
}

static void
crashed(int sig)
{
	say(sig == SIGALRM ? "FAILED: it does not come back from a call\n"
			   : "FAILED: it crashed\n");
	say(replay);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void
stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static void
catch_signals(void)
{
	signal(SIGTERM, stop);
	signal(SIGINT, stop);
	signal(SIGALRM, crashed);
	signal(SIGABRT, crashed);
#ifndef __SANITIZE_ADDRESS__ /* which says more about it, then aborts */
	signal(SIGSEGV, crashed);
	signal(SIGBUS, crashed);
	signal(SIGFPE, crashed);
#endif
}

static int
run_one(const struct options *o, uint64_t seed, uint64_t step,
	enum step_fault fault, struct sim_result *r)
{
	static const enum sim_kind kinds[] = {
		[SCN_RANDOM] = SIM_RANDOM,
		[SCN_CALM] = SIM_CALM,
		[SCN_STEPS] = SIM_CALM,
		[SCN_LATE] = SIM_LATE,
	};
	FILE *trace = o->trace ? stdout : NULL;
	struct sim_params p;

	sim_params_pick(&p, seed, kinds[o->scenario]);
	say_replay(o, seed, step, fault);
	alarm(HANGS_S);
	if (o->scenario == SCN_STEPS)
		make_short(&p);
	if (trace) {
		setvbuf(stdout, NULL, _IOLBF, 0);
		sim_params_print(&p, trace);
	}
	sim_run(&p, step, fault, trace, r);
	total.runs++;
	total.ios += r->ios;
	total.ios_failed += r->ios_failed;
	total.faults += r->faults;
	total.lost_sessions += r->lost_sessions;
	total.virtual_s += (double)r->virtual_ns / 1e9;
	if (r->ok)
		return 0;
	printf("FAILED: %s\n", r->why);
	sim_params_print(&p, stdout);
	fputs(replay, stdout);
	return 1;
}

/* Now and then a seed runs twice: the same must happen. */
static int
run_seed(const struct options *o, uint64_t seed)
{
	struct sim_result a, b;

	if (run_one(o, seed, 0, 0, &a))
		return 1;
	if (seed % 64)
		return 0;
	if (run_one(o, seed, 0, 0, &b))
		return 1;
	if (a.digest == b.digest && a.steps == b.steps)
		return 0;
	printf("FAILED: seed %llu does not replay\n", (unsigned long long)seed);
	return 1;
}

static int
run_steps(const struct options *o, uint64_t seed)
{
	struct sim_result r, calm;
	uint64_t n, k;
	int f;

	if (o->step)
		return run_one(o, seed, o->step, (enum step_fault)o->fault, &r);
	if (run_one(o, seed, 0, 0, &calm))
		return 1;
	for (f = 0; f < N_STEP_FAULTS; f++) {
		if (o->fault >= 0 && o->fault != f)
			continue;
		n = f == STEP_ENOMEM ? calm.calls : calm.steps;
		for (k = 1; k <= n; k++)
			if (run_one(o, seed, k, (enum step_fault)f, &r))
				return 1;
	}
	return 0;
}

static int
parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"seed", required_argument, NULL, 's'},
		{"count", required_argument, NULL, 'c'},
		{"scenario", required_argument, NULL, 'n'},
		{"step", required_argument, NULL, 'k'},
		{"fault", required_argument, NULL, 'f'},
		{"trace", no_argument, NULL, 't'},
		{0},
	};
	int c, scn;

	*o = (struct options){.seed = 1, .count = 1, .fault = -1};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			o->seed = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			o->count = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			scn = index_of(optarg, scenario_names,
				       (int)ARRAY_SIZE(scenario_names));
			if (scn < 0)
				return -1;
			o->scenario = (enum scenario)scn;
			break;
		case 'k':
			o->step = strtoull(optarg, NULL, 0);
			break;
		case 'f':
			o->fault = index_of(optarg, step_fault_names,
					    N_STEP_FAULTS);
			if (o->fault < 0)
				return -1;
			break;
		case 't':
			o->trace = true;
			break;
		default:
			return -1;
		}
	}
	return optind == argc && (!o->step || o->fault >= 0) ? 0 : -1;
}

int
main(int argc, char **argv)
{
	struct options o;
	uint64_t i;
	int err = 0;

	if (parse(argc, argv, &o))
		return usage(argv[0]);
	catch_signals();
	/* Worlds come and go: no need to tell the kernel of each. */
	mallopt(M_MMAP_THRESHOLD, 32 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	mallopt(M_TOP_PAD, 1 << 20);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	for (i = 0; i < o.count && !err && !stopped; i++)
		err = o.scenario == SCN_STEPS ? run_steps(&o, o.seed + i)
					      : run_seed(&o, o.seed + i);
	printf("%llu runs, %llu I/O (%llu failed), %llu faults, %llu sessions "
	       "lost, %.0f s simulated in %.1f s\n",
	       (unsigned long long)total.runs, (unsigned long long)total.ios,
	       (unsigned long long)total.ios_failed,
	       (unsigned long long)total.faults,
	       (unsigned long long)total.lost_sessions, total.virtual_s,
	       (double)clock() / CLOCKS_PER_SEC);
	if (!err)
		return 0;
	/* The world that failed is left as it is: a leak check would only
	 * bury the message. */
	fflush(stdout);
	_exit(1);
}
