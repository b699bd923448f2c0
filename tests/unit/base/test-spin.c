/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <stdlib.h>

#include "rtrs/base/spin.h"

#define SPAN 50

static struct spin s;
static uint64_t now;

static void
setup(void)
{
	s = (struct spin){.span_ns = SPAN};
	now = 1000;
}

/* One wait of that length, looked at every `step`. True: it was polled. */
static bool
wait_for(uint64_t length, uint64_t step)
{
	uint64_t end = now + length;
	bool polled;

	spin_start(&s, now);
	polled = spin_goes_on(&s, now);
	while (now < end && spin_goes_on(&s, now))
		now += step;
	now = end;
	spin_end(&s);
	return polled;
}

static unsigned
polled_of(unsigned n, uint64_t length, uint64_t step)
{
	unsigned polled = 0;

	for (unsigned i = 0; i < n; i++)
		polled += wait_for(length, step);
	return polled;
}

START_TEST(off__never)
{
	s.span_ns = 0;
	ck_assert_uint_eq(polled_of(100, 1, 1), 0);
	ck_assert_uint_eq(s.paid + s.missed, 0);
}
END_TEST

START_TEST(quick_answers__always)
{
	ck_assert_uint_eq(polled_of(1000, SPAN / 2, 1), 1000);
	ck_assert_uint_eq(s.paid, 1000);
	ck_assert_uint_eq(s.missed, 0);
}
END_TEST

START_TEST(slow_answers__hardly_ever)
{
	unsigned first = polled_of(1000, SPAN * 10, 1);

	ck_assert_uint_le(first, 11);
	ck_assert_uint_le(polled_of(2560, SPAN * 10, 1), 10);
	ck_assert_uint_eq(s.paid, 0);
}
END_TEST

START_TEST(quick_again__polled_again)
{
	polled_of(2000, SPAN * 10, 1);
	polled_of(1000, SPAN / 2, 1);
	ck_assert_uint_eq(polled_of(100, SPAN / 2, 1), 100);
}
END_TEST

START_TEST(one_slow_answer__costs_one_wait)
{
	polled_of(10, SPAN / 2, 1);
	ck_assert(wait_for(SPAN * 10, 1));
	ck_assert(!wait_for(SPAN / 2, 1));
	ck_assert_uint_eq(polled_of(10, SPAN / 2, 1), 10);
}
END_TEST

/* Whoever got the CPU meanwhile kept it for longer than a look may take. */
START_TEST(others_run__in_vain)
{
	ck_assert_uint_le(polled_of(1000, SPAN * 10, SPAN * 2), 11);
	ck_assert_uint_gt(s.missed, 0);
}
END_TEST

START_TEST(after_its_time__over)
{
	spin_start(&s, now);
	ck_assert(spin_goes_on(&s, now + SPAN - 1));
	ck_assert(!spin_goes_on(&s, now + SPAN));
	ck_assert(!spin_goes_on(&s, now + SPAN - 1));
	spin_end(&s);
	ck_assert_uint_eq(s.paid, 0);
	ck_assert_uint_eq(s.missed, 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("spin");
	TCase *tc = tcase_create("spin");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, off__never);
	tcase_add_test(tc, quick_answers__always);
	tcase_add_test(tc, slow_answers__hardly_ever);
	tcase_add_test(tc, quick_again__polled_again);
	tcase_add_test(tc, one_slow_answer__costs_one_wait);
	tcase_add_test(tc, others_run__in_vain);
	tcase_add_test(tc, after_its_time__over);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
