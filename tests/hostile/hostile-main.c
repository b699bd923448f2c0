/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A play per seed; the first broken promise ends it with exit code 1 and the
 * command that replays it. Built for libFuzzer its bytes are the choices.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/hostile/stage.h"

#define MESSAGES_PER_PLAY 3000

#ifdef HOSTILE_LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choice c;
	struct stage s;

	choice_by_bytes(&c, data, size);
	stage_init(&s, &c, MESSAGES_PER_PLAY, NULL);
	hostile_play(&s);
	stage_deinit(&s);
	if (s.failed) {
		fprintf(stderr, "FAILED: %s\n", s.why);
		abort();
	}
	return 0;
}

#else

struct options {
	uint64_t seed, count;
	uint64_t total; /* messages; 0: by count of seeds */
	bool trace;
};

static const char *self;
static uint64_t playing_seed;

static void
print_replay(void)
{
	char line[256];
	int n = snprintf(line, sizeof(line),
			 "replay: %s --seed %" PRIu64 " --trace\n", self,
			 playing_seed);

	(void)!write(STDERR_FILENO, line, (size_t)n);
}

/* An assertion, the simulator's contract, or a sanitizer. */
static void
on_fatal(int sig)
{
	print_replay();
	signal(sig, SIG_DFL);
	raise(sig);
}

static int
usage(void)
{
	fprintf(stderr,
		"usage: %s [--seed N] [--count SEEDS | --messages N] "
		"[--trace]\n",
		self);
	return 2;
}

static int
parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"seed", required_argument, NULL, 's'},
		{"count", required_argument, NULL, 'c'},
		{"messages", required_argument, NULL, 'm'},
		{"trace", no_argument, NULL, 't'},
		{0},
	};
	int c;

	*o = (struct options){.seed = 1, .count = 1};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			o->seed = strtoull(optarg, NULL, 0);
			break;
		case 'c':
			o->count = strtoull(optarg, NULL, 0);
			break;
		case 'm':
			o->total = strtoull(optarg, NULL, 0);
			break;
		case 't':
			o->trace = true;
			break;
		default:
			return -1;
		}
	}
	return optind == argc ? 0 : -1;
}

static int
play(uint64_t seed, bool trace, struct stage *s)
{
	struct choice c;

	playing_seed = seed;
	choice_by_seed(&c, seed);
	stage_init(s, &c, MESSAGES_PER_PLAY, trace ? stdout : NULL);
	hostile_play(s);
	stage_deinit(s);
	if (!s->failed)
		return 0;
	fflush(stdout);
	fprintf(stderr, "FAILED: %s\n", s->why);
	print_replay();
	return 1;
}

int
main(int argc, char **argv)
{
	uint64_t messages = 0, lives = 0, verdicts = 0, lines = 0, plays = 0;
	struct options o;
	struct stage s;
	double secs;
	int err = 0;

	self = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	if (parse(argc, argv, &o))
		return usage();
	if (o.trace)
		setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGABRT, on_fatal);
	signal(SIGSEGV, on_fatal);
	while (!err && (o.total ? messages < o.total : plays < o.count)) {
		err = play(o.seed + plays++, o.trace, &s);
		messages += s.messages;
		lives += s.lives;
		verdicts += s.verdicts;
		lines += s.lines;
	}
	secs = (double)clock() / CLOCKS_PER_SEC;
	printf("%" PRIu64 " plays, %" PRIu64 " lives, %" PRIu64
	       " hostile messages, %" PRIu64 " foretold answers, %" PRIu64
	       " lines for the log; %.1f s of CPU, %.0f messages/s\n",
	       plays, lives, messages, verdicts, lines, secs,
	       (double)messages / (secs > 0 ? secs : 1));
	if (!err)
		return 0;
	/* What failed is left as it is: a leak check would bury the message. */
	fflush(stdout);
	_exit(1);
}

#endif
