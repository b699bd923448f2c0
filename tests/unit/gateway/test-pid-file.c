/* SPDX-License-Identifier: BSD-3-Clause */
/* What is taken for a pid file, whose it is, and when it goes. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/pid-file.h"

static char dir[64], text[GW_TEXT_MAX];
static struct pid_file *p;

static void
setup(void)
{
	strcpy(dir, "/tmp/test-pid-file-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	text[0] = '\0';
}

static void
teardown(void)
{
	char cmd[128];

	ck_assert_int_eq(chdir("/"), 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static void
put(const char *path, const char *what, size_t len)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(what, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static void
check_holds(const char *path, const char *what, size_t len)
{
	char got[256];
	FILE *f = fopen(path, "r");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fread(got, 1, sizeof(got), f), len);
	ck_assert_mem_eq(got, what, len);
	fclose(f);
}

static void
check_is_ours(const char *path)
{
	char want[32];

	snprintf(want, sizeof(want), "%d\n", (int)getpid());
	check_holds(path, want, strlen(want));
}

START_TEST(it_holds_the_number_until_the_end)
{
	ck_assert_int_eq(pid_file_check("pid", text), 0);
	ck_assert_int_ne(access("pid", F_OK), 0);
	ck_assert_int_eq(pid_file_new("pid", &p, text), 0);
	check_is_ours("pid");
	pid_file_free(p);
	ck_assert_int_ne(access("pid", F_OK), 0);
}
END_TEST

static const char *const stale[] = {"", "1", "1\n", "4194303\n",
				    "99999999999999999999999"};

START_TEST(what_a_dead_process_left_is_taken)
{
	put("pid", stale[_i], strlen(stale[_i]));
	ck_assert_int_eq(pid_file_check("pid", text), 0);
	ck_assert_int_eq(pid_file_new("pid", &p, text), 0);
	check_is_ours("pid");
	pid_file_free(p);
}
END_TEST

#define CONTENT(s)                                                             \
	{                                                                      \
		s, sizeof(s) - 1                                               \
	}
static const struct {
	const char *s;
	size_t len;
} foreign[] = {
	CONTENT("\n"),        CONTENT("1\n\n"),
	CONTENT("-1\n"),      CONTENT("12 34\n"),
	CONTENT("1\n2\n"),    CONTENT("\0\0\0\0"),
	CONTENT("1\0\n"),     CONTENT("a precious disk"),
	CONTENT("1\n\0\0\0"), CONTENT("111111111111111111111111111111"),
};

START_TEST(anything_else_is_left_alone)
{
	put("disk", foreign[_i].s, foreign[_i].len);
	ck_assert_int_eq(pid_file_check("disk", text), -EINVAL);
	ck_assert_int_eq(pid_file_new("disk", &p, text), -EINVAL);
	ck_assert_str_eq(text, "--pid-file disk: it is there and holds more "
			       "than a process id; remove it or choose "
			       "another");
	check_holds("disk", foreign[_i].s, foreign[_i].len);
}
END_TEST

START_TEST(no_regular_file_is_left_alone)
{
	static const char *const names[] = {"dir", "fifo", "link"};

	ck_assert_int_eq(mkdir("dir", 0700), 0);
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	put("1", "1\n", 2);
	ck_assert_int_eq(symlink("1", "link"), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		ck_assert_int_eq(pid_file_check(names[i], text), -EINVAL);
		ck_assert_int_eq(pid_file_new(names[i], &p, text), -EINVAL);
		ck_assert_ptr_nonnull(strstr(text, ": it is there and no "
						   "regular file; "));
	}
	check_holds("1", "1\n", 2);
}
END_TEST

START_TEST(a_second_one_is_refused)
{
	char want[128];
	struct pid_file *second;

	ck_assert_int_eq(pid_file_new("pid", &p, text), 0);
	ck_assert_int_eq(pid_file_check("pid", text), 0);
	ck_assert_int_eq(pid_file_new("pid", &second, text), -EBUSY);
	snprintf(want, sizeof(want),
		 "--pid-file pid: process %d runs; stop it or choose another "
		 "file",
		 (int)getpid());
	ck_assert_str_eq(text, want);
	check_is_ours("pid");
	pid_file_free(p);
	ck_assert_int_eq(pid_file_new("pid", &second, text), 0);
	pid_file_free(second);
}
END_TEST

START_TEST(who_has_not_written_yet_has_no_number)
{
	struct pid_file *second;

	ck_assert_int_eq(pid_file_new("pid", &p, text), 0);
	ck_assert_int_eq(truncate("pid", 0), 0);
	ck_assert_int_eq(pid_file_new("pid", &second, text), -EBUSY);
	ck_assert_str_eq(text, "--pid-file pid: another process holds it; "
			       "stop that one or choose another file");
	pid_file_free(p);
}
END_TEST

START_TEST(what_took_the_name_stays)
{
	ck_assert_int_eq(pid_file_new("pid", &p, text), 0);
	ck_assert_int_eq(rename("pid", "old"), 0);
	put("pid", "theirs", 6);
	pid_file_free(p);
	check_holds("pid", "theirs", 6);
	ck_assert_int_eq(pid_file_new("gone", &p, text), 0);
	ck_assert_int_eq(unlink("gone"), 0);
	pid_file_free(p);
}
END_TEST

START_TEST(a_directory_that_is_missing_is_said)
{
	ck_assert_int_eq(pid_file_new("no/pid", &p, text), -ENOENT);
	ck_assert_str_eq(text, "--pid-file no/pid: No such file or directory");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("pid-file");
	TCase *tc = tcase_create("pid-file");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, it_holds_the_number_until_the_end);
	tcase_add_loop_test(tc, what_a_dead_process_left_is_taken, 0,
			    (int)(sizeof(stale) / sizeof(*stale)));
	tcase_add_loop_test(tc, anything_else_is_left_alone, 0,
			    (int)(sizeof(foreign) / sizeof(*foreign)));
	tcase_add_test(tc, no_regular_file_is_left_alone);
	tcase_add_test(tc, a_second_one_is_refused);
	tcase_add_test(tc, who_has_not_written_yet_has_no_number);
	tcase_add_test(tc, what_took_the_name_stays);
	tcase_add_test(tc, a_directory_that_is_missing_is_said);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
