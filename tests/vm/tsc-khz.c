/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Prints how many thousand times a second this machine's time stamp counter
 * ticks. A guest without KVM sees the very same counter, and would measure it
 * against timers that QEMU emulates: on a loaded machine it may be wrong by a
 * factor of three, and so are all its clocks from then on.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <x86intrin.h>

#define ROUNDS    9
#define ROUND_NS  20000000
#define PAIR_GOOD 5000 /* ns between two looks at the clock around one rdtsc   \
			*/

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* A reading of both clocks that nothing came between. */
static void
read_both(uint64_t *ns, uint64_t *tsc)
{
	uint64_t before, after;
	unsigned tries = 0;

	do {
		before = now_ns();
		*tsc = __rdtsc();
		after = now_ns();
	} while (after - before > PAIR_GOOD && ++tries < 1000);
	*ns = before + (after - before) / 2;
}

static int
by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int
main(void)
{
	uint64_t ns0, tsc0, ns1, tsc1;
	double khz[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		const struct timespec pause = {.tv_nsec = ROUND_NS};

		read_both(&ns0, &tsc0);
		nanosleep(&pause, NULL);
		read_both(&ns1, &tsc1);
		khz[i] = (double)(tsc1 - tsc0) * 1e6 / (double)(ns1 - ns0);
	}
	qsort(khz, ROUNDS, sizeof(khz[0]), by_value);
	printf("%.0f\n", khz[ROUNDS / 2]);
	return 0;
}
