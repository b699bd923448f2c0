/* SPDX-License-Identifier: BSD-3-Clause */
/* Limits and the heap of what waits for them. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "gateway/throttle.h"

#define START (1000 * NSEC_PER_SEC)

START_TEST(without_a_limit_everything_begins_at_once)
{
	struct gw_throttle t = {0};

	ck_assert(!gw_throttle_limits(&t));
	for (int i = 0; i < 1000; i++)
		ck_assert_uint_eq(gw_throttle_take(&t, START, 1 << 20), 0);
}
END_TEST

/* Takes n turns as an application does that keeps one request under way;
 * returns how long that takes. */
static uint64_t
run(struct gw_throttle *t, unsigned n, uint64_t bytes)
{
	uint64_t now = START;

	while (n--) {
		uint64_t at = gw_throttle_take(t, now, bytes);

		if (at > now)
			now = at;
	}
	return now - START;
}

START_TEST(the_rate_is_that_of_the_limit)
{
	static const struct {
		uint64_t iops, bandwidth, bytes;
		unsigned n;
		uint64_t ns; /* exactly, but for what may run ahead */
	} cases[] = {
		{100, 0, 4096, 500, 5 * NSEC_PER_SEC},
		{1, 0, 4096, 10, 10 * NSEC_PER_SEC},
		{100000, 0, 512, 100000, NSEC_PER_SEC},
		{0, 1 << 20, 4096, 2560, 10 * NSEC_PER_SEC},
		{0, 1 << 20, 1 << 20, 10, 10 * NSEC_PER_SEC},
		/* Whichever is lower. */
		{100, 1 << 20, 4096, 500, 5 * NSEC_PER_SEC},
		{1000, 1 << 20, 4096, 2560, 10 * NSEC_PER_SEC},
		/* What moves nothing is an operation all the same. */
		{100, 4096, 0, 500, 5 * NSEC_PER_SEC},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gw_throttle t = {0};
		uint64_t cost = cases[i].ns / cases[i].n, ns;

		gw_throttle_set(&t, cases[i].iops, cases[i].bandwidth);
		ns = run(&t, cases[i].n, cases[i].bytes);
		ck_assert_msg(ns <= cases[i].ns &&
				      ns + GW_THROTTLE_BURST_NS + cost >=
					      cases[i].ns,
			      "case %zu: %llu ns", i, (unsigned long long)ns);
	}
}
END_TEST

START_TEST(who_wakes_up_late_loses_nothing)
{
	struct gw_throttle t = {0};
	uint64_t now = START, done = 0;

	gw_throttle_set(&t, 10000, 0);
	/* Each wait ends up to 5 ms late. */
	srand(1);
	while (now < START + 10 * NSEC_PER_SEC) {
		uint64_t at = gw_throttle_take(&t, now, 0);

		if (at > now)
			now = at + (uint64_t)rand() % (5 * NSEC_PER_MSEC);
		done++;
	}
	ck_assert_uint_ge(done, 100000);
	ck_assert_uint_le(done, 100000 + 210);
}
END_TEST

START_TEST(time_that_was_idle_is_lost)
{
	struct gw_throttle t = {0};
	unsigned n = 0;

	gw_throttle_set(&t, 1000, 0);
	ck_assert_uint_le(gw_throttle_take(&t, START, 0), START);
	/* After an hour: as much as after 20 ms. */
	while (gw_throttle_take(&t, START + 3600 * NSEC_PER_SEC, 0) <=
	       START + 3600 * NSEC_PER_SEC)
		n++;
	ck_assert_uint_eq(n, 21);
}
END_TEST

START_TEST(a_new_limit_starts_afresh)
{
	struct gw_throttle t = {0};
	unsigned gen = gw_throttle_gen(&t);

	gw_throttle_set(&t, 1, 0);
	ck_assert_uint_ne(gw_throttle_gen(&t), gen);
	for (int i = 0; i < 100; i++)
		gw_throttle_take(&t, START, 0);
	ck_assert_uint_gt(gw_throttle_take(&t, START, 0),
			  START + 99 * NSEC_PER_SEC);
	gw_throttle_set(&t, 1000, 0);
	ck_assert_uint_le(gw_throttle_take(&t, START, 0), START);
	gw_throttle_set(&t, 0, 0);
	ck_assert(!gw_throttle_limits(&t));
	ck_assert_uint_eq(gw_throttle_take(&t, START, 1 << 30), 0);
}
END_TEST

#define N_TAKERS 4
#define N_TAKES  20000

struct taker {
	struct gw_throttle *t;
	uint64_t last;
};

static void *
take_many(void *arg)
{
	struct taker *k = arg;

	for (int i = 0; i < N_TAKES; i++) {
		uint64_t at = gw_throttle_take(k->t, START, 512);

		if (at > k->last)
			k->last = at;
	}
	return NULL;
}

START_TEST(no_turn_is_given_twice)
{
	struct taker takers[N_TAKERS];
	pthread_t threads[N_TAKERS];
	struct gw_throttle t = {0};
	uint64_t last = 0, all = N_TAKERS * N_TAKES;

	gw_throttle_set(&t, 1000, 0);
	for (int i = 0; i < N_TAKERS; i++) {
		takers[i] = (struct taker){.t = &t};
		ck_assert_int_eq(pthread_create(&threads[i], NULL, take_many,
						&takers[i]),
				 0);
	}
	for (int i = 0; i < N_TAKERS; i++) {
		pthread_join(threads[i], NULL);
		if (takers[i].last > last)
			last = takers[i].last;
	}
	ck_assert_uint_eq(last, START + (all - 1) * NSEC_PER_MSEC -
					GW_THROTTLE_BURST_NS);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/throttle");
	TCase *tc = tcase_create("throttle");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(tc, without_a_limit_everything_begins_at_once);
	tcase_add_test(tc, the_rate_is_that_of_the_limit);
	tcase_add_test(tc, who_wakes_up_late_loses_nothing);
	tcase_add_test(tc, time_that_was_idle_is_lost);
	tcase_add_test(tc, a_new_limit_starts_afresh);
	tcase_add_test(tc, no_turn_is_given_twice);
	suite_add_tcase(s, tc);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
