/* SPDX-License-Identifier: BSD-3-Clause */
/* The lines of OpenMetrics: labels, families, samples, histograms. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "config/control/openmetrics.h"
#include "rtrs/base/util.h"

/* ----------------------------------------------------------------- labels */

static const struct {
	const char *name, *label;
} names[] = {
	{"", ""},
	{"disk0", "disk0"},
	{"a \"b\"", "a \\\"b\\\""},
	{"a\\b", "a\\\\x5Cb"},
	{"a\nb\x7f", "a\\\\x0Ab\\\\x7F"},
	{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
	{"\xe2\x82\xac \xf0\x9f\x98\x80", "\xe2\x82\xac \xf0\x9f\x98\x80"},
	{"\xff", "\\\\xFF"},
	{"\xc3", "\\\\xC3"},                       /* cut short */
	{"\xc0\xaf", "\\\\xC0\\\\xAF"},            /* not the shortest form */
	{"\xed\xa0\x80", "\\\\xED\\\\xA0\\\\x80"}, /* a surrogate */
	{"\xc2\x85", "\\\\xC2\\\\x85"},            /* a control character */
	{"\xf4\x90\x80\x80", "\\\\xF4\\\\x90\\\\x80\\\\x80"}, /* too large */
	/* Two names stay two. */
	{"\\xFF", "\\\\x5CxFF"},
};

START_TEST(labels_are_escaped)
{
	char *got = openmetrics_label_value(names[_i].name);

	ck_assert_str_eq(got, names[_i].label);
	free(got);
}
END_TEST

START_TEST(one_label_or_two)
{
	char *one = openmetrics_labels("a", "x\"", NULL, NULL);
	char *two = openmetrics_labels("a", "1", "b", "\xff");

	ck_assert_str_eq(one, "a=\"x\\\"\"");
	ck_assert_str_eq(two, "a=\"1\",b=\"\\\\xFF\"");
	free(one);
	free(two);
}
END_TEST

/* ------------------------------------------------------------------ lines */

static char *text;
static size_t len;

static FILE *
page(void)
{
	FILE *f = open_memstream(&text, &len);

	ck_assert_ptr_nonnull(f);
	return f;
}

static void
check_page(FILE *f, const char *want)
{
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_str_eq(text, want);
	free(text);
}

START_TEST(families)
{
	FILE *f = page();

	openmetrics_family(f, OPENMETRICS_COUNTER, "x_seconds", "seconds",
			   "What x is.");
	openmetrics_name(f, OPENMETRICS_COUNTER, "x_seconds", "");
	openmetrics_seconds(f, 1500 * NSEC_PER_MSEC);
	openmetrics_family(f, OPENMETRICS_GAUGE, "y", "", "What y is.");
	openmetrics_name(f, OPENMETRICS_GAUGE, "y", "a=\"1\"");
	openmetrics_value(f, 7);
	openmetrics_family(f, OPENMETRICS_INFO, "z", "", "What z is.");
	openmetrics_name(f, OPENMETRICS_INFO, "z", "v=\"1\"");
	openmetrics_value(f, 1);
	openmetrics_family(f, OPENMETRICS_COUNTER, "n", "", "What n is.");
	openmetrics_op_name(f, OPENMETRICS_COUNTER, "n", "a=\"1\"", "read");
	openmetrics_value(f, UINT64_MAX);
	openmetrics_end(f);
	check_page(f, "# TYPE x_seconds counter\n"
		      "# UNIT x_seconds seconds\n"
		      "# HELP x_seconds What x is.\n"
		      "x_seconds_total 1.500000000\n"
		      "# TYPE y gauge\n"
		      "# HELP y What y is.\n"
		      "y{a=\"1\"} 7\n"
		      "# TYPE z info\n"
		      "# HELP z What z is.\n"
		      "z_info{v=\"1\"} 1\n"
		      "# TYPE n counter\n"
		      "# HELP n What n is.\n"
		      "n_total{a=\"1\",operation=\"read\"} "
		      "18446744073709551615\n"
		      "# EOF\n");
}
END_TEST

START_TEST(histograms)
{
	static const char *const some[] = {
		"h_bucket{a=\"1\",operation=\"read\",le=\"1e-05\"} 0\n",
		"h_bucket{a=\"1\",operation=\"read\",le=\"0.0001\"} 1\n",
		"h_bucket{a=\"1\",operation=\"read\",le=\"10.0\"} 2\n",
		"h_bucket{a=\"1\",operation=\"read\",le=\"+Inf\"} 3\n",
		"h_count{a=\"1\",operation=\"read\"} 3\n",
		"h_sum{a=\"1\",operation=\"read\"} 100.001060000\n",
	};
	static struct hist h;
	struct openmetrics_latency l;
	FILE *f = page();

	hist_record(&h, 60 * NSEC_PER_USEC);
	hist_record(&h, NSEC_PER_MSEC);
	hist_record(&h, 100 * NSEC_PER_SEC);
	openmetrics_latency_take(&h, &l);
	for (int i = 1; i < OPENMETRICS_N_BOUNDS; i++)
		ck_assert_uint_ge(l.le[i], l.le[i - 1]);
	openmetrics_latency(f, "h", "a=\"1\"", "read", &l);
	ck_assert_int_eq(fclose(f), 0);
	for (size_t i = 0; i < ARRAY_SIZE(some); i++)
		ck_assert_msg(strstr(text, some[i]), "no %s in %s", some[i],
			      text);
	free(text);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("control/openmetrics");
	TCase *tc = tcase_create("openmetrics");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(tc, labels_are_escaped, 0, (int)ARRAY_SIZE(names));
	tcase_add_test(tc, one_label_or_two);
	tcase_add_test(tc, families);
	tcase_add_test(tc, histograms);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
