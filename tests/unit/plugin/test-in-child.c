/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "nbdkit-plugin/in-child.h"

static int seen;

static int
tell(void *arg)
{
	seen = 1;
	return *(int *)arg;
}

START_TEST(result__comes_back_and_nothing_else)
{
	int n = 0;

	ck_assert_int_eq(in_child(tell, &n), 0);
	n = 7;
	ck_assert_int_eq(in_child(tell, &n), 7);
	ck_assert_int_eq(seen, 0);
}
END_TEST

static int
die(void *arg)
{
	kill(getpid(), SIGKILL);
	return 0;
}

START_TEST(killed__is_an_error)
{
	ck_assert_int_eq(in_child(die, NULL), -EINTR);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("in-child");
	TCase *tc = tcase_create("in-child");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_test(tc, result__comes_back_and_nothing_else);
	tcase_add_test(tc, killed__is_an_error);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
