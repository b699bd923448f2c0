/* SPDX-License-Identifier: BSD-3-Clause */
/* Each exhausted limit has its remedy, and nothing else has one. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rtrs/base/remedy.h"

START_TEST(limits_have_a_remedy)
{
	static const struct {
		int err;
		const char *word;
	} limits[] = {
		{-EMFILE, "ulimit -n"},  {-ENFILE, "fs.file-max"},
		{-ENOMEM, "MemoryMax="}, {-EAGAIN, "TasksMax="},
		{-EAGAIN, "MemoryMax="},
	};
	const char *words = remedy_words(limits[_i].err);

	ck_assert_int_eq(strncmp(words, "; ", 2), 0);
	ck_assert_ptr_nonnull(strstr(words, limits[_i].word));
	ck_assert_ptr_null(strchr(words, '\n'));
}
END_TEST

START_TEST(others_have_none)
{
	ck_assert_str_eq(remedy_words(0), "");
	ck_assert_str_eq(remedy_words(-EIO), "");
	/* An errno, not its negative. */
	ck_assert_str_eq(remedy_words(ENOMEM), "");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("base/remedy");
	TCase *tc = tcase_create("remedy");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(tc, limits_have_a_remedy, 0, 5);
	tcase_add_test(tc, others_have_none);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
