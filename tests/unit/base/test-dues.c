/* SPDX-License-Identifier: BSD-3-Clause */
/* The first of many times, against a search through all of them. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "rtrs/base/dues.h"
#include "rtrs/base/util.h"

#define N 300

static struct dues q;
static struct due d[N];
static uint64_t model[N]; /* TIME_NEVER: not due */
static uint32_t seed;

static uint32_t
draw(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

static void
setup(void)
{
	q = (struct dues){0};
	memset(d, 0, sizeof(d));
	seed = 1;
	ck_assert_int_eq(dues_reserve(&q, 1), 0);
	ck_assert_int_eq(dues_reserve(&q, N), 0);
	for (unsigned i = 0; i < N; i++)
		model[i] = TIME_NEVER;
}

static void
teardown(void)
{
	for (unsigned i = 0; i < N; i++)
		dues_set(&q, &d[i], TIME_NEVER);
	ck_assert_ptr_null(dues_first(&q));
	dues_free(&q);
}

static uint64_t
model_first(void)
{
	uint64_t t = TIME_NEVER;

	for (unsigned i = 0; i < N; i++)
		t = time_min(t, model[i]);
	return t;
}

START_TEST(empty_is_never)
{
	ck_assert_ptr_null(dues_first(&q));
	ck_assert(dues_first_at(&q) == TIME_NEVER);
	dues_set(&q, &d[0], TIME_NEVER);
	ck_assert_ptr_null(dues_first(&q));
}
END_TEST

START_TEST(first_is_first_whatever_changes)
{
	for (unsigned k = 0; k < 20000; k++) {
		unsigned i = draw() % N;

		model[i] = draw() % 4 ? draw() % 1000 : TIME_NEVER;
		dues_set(&q, &d[i], model[i]);
		ck_assert_uint_eq(dues_first_at(&q), model_first());
		if (dues_first(&q))
			ck_assert_uint_eq(model[(unsigned)(dues_first(&q) - d)],
					  dues_first_at(&q));
	}
}
END_TEST

START_TEST(drains_in_order)
{
	uint64_t last = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < N; i++)
		dues_set(&q, &d[i], draw() % 100);
	while (dues_first(&q)) {
		ck_assert_uint_ge(dues_first_at(&q), last);
		last = dues_first_at(&q);
		dues_set(&q, dues_first(&q), TIME_NEVER);
		n++;
	}
	ck_assert_uint_eq(n, N);
}
END_TEST

/* A period of all of them: N times "the first is due again later". */
START_TEST(work_grows_by_the_logarithm)
{
	for (unsigned i = 0; i < N; i++)
		dues_set(&q, &d[i], i);
	q.moves = 0;
	for (unsigned k = 0; k < 10 * N; k++)
		dues_set(&q, dues_first(&q), dues_first_at(&q) + N);
	/* 9 levels, and the one that it settles on. */
	ck_assert_uint_le(q.moves, 10 * 10 * N);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base/dues");
	TCase *tc = tcase_create("dues");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, empty_is_never);
	tcase_add_test(tc, first_is_first_whatever_changes);
	tcase_add_test(tc, drains_in_order);
	tcase_add_test(tc, work_grows_by_the_logarithm);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
