/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "rtrs/base/hist.h"
#include "rtrs/base/util.h"

static struct hist h;

static void
setup(void)
{
	memset(&h, 0, sizeof(h));
}

/* Values around every edge: of buckets, powers of two, the ends. */
static unsigned
edges(uint64_t *ret)
{
	unsigned n = 0;

	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		uint64_t v = hist_lower(i);

		if (v)
			ret[n++] = v - 1;
		ret[n++] = v;
		ret[n++] = v + 1;
	}
	ret[n++] = UINT64_MAX;
	return n;
}

#define MAX_EDGES (3 * HIST_BUCKETS + 1)

START_TEST(buckets__cover_all_values_in_order)
{
	ck_assert_uint_eq(hist_lower(0), 0);
	ck_assert_uint_eq(hist_bucket(0), 0);
	ck_assert_uint_eq(hist_bucket(UINT64_MAX), HIST_BUCKETS - 1);
	ck_assert_uint_eq(hist_lower(HIST_BUCKETS - 1), HIST_MAX_NS);
	ck_assert_uint_eq(hist_lower(HIST_BUCKETS), UINT64_MAX);
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		uint64_t first = hist_lower(i), next = hist_lower(i + 1);

		ck_assert_uint_lt(first, next);
		ck_assert_uint_eq(hist_bucket(first), i);
		ck_assert_uint_eq(hist_bucket(next - 1), i);
	}
}
END_TEST

START_TEST(buckets__relative_error_is_bounded)
{
	for (unsigned i = 0; i < HIST_BUCKETS - 1; i++) {
		uint64_t first = hist_lower(i),
			 width = hist_lower(i + 1) - first;

		if (first < HIST_EXACT_NS)
			ck_assert_uint_eq(width, HIST_EXACT_NS / HIST_SUB);
		else
			ck_assert_uint_le(width * HIST_SUB, first);
	}
}
END_TEST

START_TEST(record__count_sum_max_are_exact)
{
	static uint64_t v[MAX_EDGES];
	unsigned n = edges(v);
	uint64_t sum = 0, max = 0;

	ck_assert_uint_eq(hist_count(&h), 0);
	for (unsigned i = 0; i < n - 1; i++) {
		hist_record(&h, v[i]);
		sum += v[i];
		max = v[i] > max ? v[i] : max;
		ck_assert_uint_eq(hist_count(&h), i + 1);
	}
	ck_assert_uint_eq(h.sum, sum);
	ck_assert_uint_eq(h.max, max);
	ck_assert_uint_eq(max, HIST_MAX_NS + 1);
}
END_TEST

START_TEST(merge__is_as_if_recorded_in_one)
{
	static struct hist a, b;
	static uint64_t v[MAX_EDGES];
	unsigned n = edges(v);

	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	for (unsigned i = 0; i < n; i++) {
		hist_record(i % 3 ? &a : &b, v[i]);
		hist_record(&h, v[i]);
	}
	hist_merge(&a, &b);
	ck_assert_mem_eq(&a, &h, sizeof(h));
	/* Into one with a larger maximum too. */
	memset(&b, 0, sizeof(b));
	hist_merge(&a, &b);
	ck_assert_mem_eq(&a, &h, sizeof(h));
}
END_TEST

START_TEST(subtract__leaves_what_came_since)
{
	struct hist base;

	hist_record(&h, 5000);
	hist_record(&h, HIST_MAX_NS);
	base = h;
	hist_record(&h, 700);
	hist_record(&h, 5000);
	hist_subtract(&h, &base);
	ck_assert_uint_eq(hist_count(&h), 2);
	ck_assert_uint_eq(h.sum, 5700);
	ck_assert_uint_eq(h.n[hist_bucket(700)], 1);
	ck_assert_uint_eq(h.n[hist_bucket(5000)], 1);
	ck_assert_uint_eq(h.max, HIST_MAX_NS);
}
END_TEST

START_TEST(quantile__empty_is_zero)
{
	ck_assert_uint_eq(hist_quantile(&h, 0.5), 0);
}
END_TEST

START_TEST(quantile__one_value_is_that_value)
{
	hist_record(&h, 123456789);
	ck_assert_uint_eq(hist_quantile(&h, 0), 123456789);
	ck_assert_uint_eq(hist_quantile(&h, 0.5), 123456789);
	ck_assert_uint_eq(hist_quantile(&h, 1), 123456789);
}
END_TEST

static const double shares[] = {0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1};

/* 1..N in steps of 1 us: the share q of them is q * N us. */
START_TEST(quantile__never_too_small_and_hardly_too_large)
{
	const unsigned n = 100000;
	double q = shares[_i], exact, got;

	for (unsigned i = 1; i <= n; i++)
		hist_record(&h, i * NSEC_PER_USEC);
	exact = q * n * (double)NSEC_PER_USEC;
	got = (double)hist_quantile(&h, q);
	ck_assert_double_ge(got, exact * 0.999999);
	ck_assert_double_le(got, exact * (1 + 1.0 / HIST_SUB));
	ck_assert_double_le(got, n * (double)NSEC_PER_USEC);
}
END_TEST

START_TEST(quantile__beyond_the_top_is_the_maximum)
{
	hist_record(&h, 5);
	hist_record(&h, 3 * HIST_MAX_NS);
	ck_assert_uint_eq(hist_quantile(&h, 1), 3 * HIST_MAX_NS);
	ck_assert_uint_lt(hist_quantile(&h, 0.5), 64);
}
END_TEST

/* Against a count by hand: never more than truly lie below the bound, and all
 * that lie below a bound 1 / HIST_SUB smaller. */
START_TEST(cumulative__is_right_for_a_slightly_smaller_bound)
{
	static const uint64_t bounds[] = {
		0,
		63,
		64,
		1000,
		1024,
		10000,
		1000000,
		2500000,
		100000000,
		10000000000,
		HIST_MAX_NS - 1,
		HIST_MAX_NS,
		UINT64_MAX - 1,
	};
	static uint64_t v[MAX_EDGES];
	uint64_t got[ARRAY_SIZE(bounds)];
	unsigned n = edges(v);

	for (unsigned i = 0; i < n; i++)
		hist_record(&h, v[i]);
	hist_cumulative(&h, bounds, ARRAY_SIZE(bounds), got);
	for (unsigned b = 0; b < ARRAY_SIZE(bounds); b++) {
		uint64_t low = bounds[b] - bounds[b] / HIST_SUB;
		unsigned below = 0, surely = 0;

		/* Below HIST_EXACT_NS a bucket is 64 ns wide. */
		if (low < HIST_EXACT_NS)
			low = bounds[b] > 64 ? bounds[b] - 64 : 0;
		for (unsigned i = 0; i < n; i++) {
			below += v[i] <= bounds[b];
			surely += v[i] < low && v[i] < HIST_MAX_NS;
		}
		ck_assert_uint_le(got[b], below);
		ck_assert_uint_ge(got[b], surely);
	}
	/* On the last value of a bucket it is exact. */
	for (unsigned i = 0; i < HIST_BUCKETS - 1; i++) {
		uint64_t bound = hist_lower(i + 1) - 1;
		unsigned below = 0;

		for (unsigned k = 0; k < n; k++)
			below += v[k] <= bound;
		hist_cumulative(&h, &bound, 1, got);
		ck_assert_uint_eq(got[0], below);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base/hist");
	TCase *tc = tcase_create("hist");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, buckets__cover_all_values_in_order);
	tcase_add_test(tc, buckets__relative_error_is_bounded);
	tcase_add_test(tc, record__count_sum_max_are_exact);
	tcase_add_test(tc, merge__is_as_if_recorded_in_one);
	tcase_add_test(tc, subtract__leaves_what_came_since);
	tcase_add_test(tc, quantile__empty_is_zero);
	tcase_add_test(tc, quantile__one_value_is_that_value);
	tcase_add_loop_test(tc, quantile__never_too_small_and_hardly_too_large,
			    0, (int)ARRAY_SIZE(shares));
	tcase_add_test(tc, quantile__beyond_the_top_is_the_maximum);
	tcase_add_test(tc, cumulative__is_right_for_a_slightly_smaller_bound);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
