/* SPDX-License-Identifier: BSD-3-Clause */
/* The line that maps a device: as the kernel's map_device takes it, and more.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gateway/ctl/map.h"
#include "proto/rnbd-msg.h"

static struct map_line l;
static char err[MAP_ERR_MAX];

static void
setup(void)
{
	memset(&l, 0, sizeof(l));
	err[0] = '\0';
}

static void
teardown(void)
{
	map_line_deinit(&l);
}

static const struct {
	const char *text, *sessname, *device_path, *mode;
	const char *params; /* joined with blanks */
	unsigned n_paths;
} good[] = {
	{"sessname=s device_path=d path=ip:10.0.0.1", "s", "d", "rw",
	 "path=ip:10.0.0.1", 1},
	{"  sessname=s\tpath=ip:a@ip:b \n path=tcp:c,tcp:d:99 "
	 "device_path=/dev/ram0 \n",
	 "s", "/dev/ram0", "rw", "path=ip:a@ip:b path=tcp:c,tcp:d:99", 2},
	/* The order of what is the session's counts: dest_port=. */
	{"path=x dest_port=5555 path=y access_mode=ro sessname=s:1 "
	 "nr_poll_queues=-1 device_path=a=b",
	 "s:1", "a=b", "ro", "path=x dest_port=5555 path=y nr_poll_queues=-1",
	 2},
	{"sessname=s device_path=d", "s", "d", "rw", "", 0},
	{"sessname=s device-path=d access-mode=migration io-timeout=5", "s",
	 "d", "migration", "io_timeout=5", 0},
};

START_TEST(lines)
{
	char joined[256] = "";

	ck_assert_msg(!map_line_parse(good[_i].text, &l, err), "%s", err);
	ck_assert_str_eq(l.sessname, good[_i].sessname);
	ck_assert_str_eq(l.device_path, good[_i].device_path);
	ck_assert_str_eq(l.access_mode, good[_i].mode);
	ck_assert_uint_eq(l.n_paths, good[_i].n_paths);
	for (unsigned i = 0; i < l.n_params; i++) {
		strcat(joined, i ? " " : "");
		strcat(joined, l.params[i]);
	}
	ck_assert_str_eq(joined, good[_i].params);
}
END_TEST

static const struct {
	const char *text, *err;
} wrong[] = {
	{"", "sessname=NAME is missing"},
	{"device_path=d", "sessname=NAME is missing"},
	{"sessname=s path=x", "device_path=NAME is missing"},
	{"sessname=s sessname=t", "sessname= is given twice"},
	{"sessname=s device_path=d device_path=e",
	 "device_path= is given twice: one line maps one device"},
	{"sessname= device_path=d", "sessname=: the value is missing"},
	{"sessname=a/b device_path=d", "sessname=a/b: a session name has 1 to "
				       "254 characters, and neither '/' "
				       "nor '.'"},
	{"sessname=s device_path=d disk",
	 "'disk': an option is KEY=VALUE, as in path=ADDR"},
	{"sessname=s device_path=d =x", "'=' is no option"},
	{"sessname=s device_path=d --filter=x", "'__filter=' is no option"},
	{"sessname=s device_path=d Path=x", "'Path=' is no option"},
	{"sessname=s device_path=d access_mode=w",
	 "access_mode=w: give ro, rw or migration"},
	{"sessname=s device_path=d exports=x",
	 "exports= is of nbdkit's own use: a map has sessname=, path=, "
	 "device_path=, access_mode= and what is of the session"},
	{"sessname=s device_path=d control=/tmp/x",
	 "control= is of nbdkit's own use: a map has sessname=, path=, "
	 "device_path=, access_mode= and what is of the session"},
	{"sessname=s device_path=\xff", "this is not UTF-8"},
};

START_TEST(what_is_no_line)
{
	ck_assert_int_eq(map_line_parse(wrong[_i].text, &l, err), -EINVAL);
	ck_assert_str_eq(err, wrong[_i].err);
	ck_assert_ptr_null(l.sessname);
	ck_assert_uint_eq(l.n_params, 0);
}
END_TEST

START_TEST(names_have_an_end)
{
	char name[RNBD_NAME_LEN + 1], text[600];

	memset(name, 'n', RNBD_NAME_LEN);
	name[RNBD_NAME_LEN - 1] = '\0';
	snprintf(text, sizeof(text), "sessname=s device_path=%s", name);
	ck_assert_int_eq(map_line_parse(text, &l, err), 0);
	map_line_deinit(&l);
	snprintf(text, sizeof(text), "sessname=s device_path=%sn", name);
	ck_assert_int_eq(map_line_parse(text, &l, err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "at most 254 bytes"));
}
END_TEST

/* ------------------------------------------------- files */

static int
read_text(const char *text, size_t len)
{
	char file[] = "map-line.XXXXXX";
	int fd = mkstemp(file), r;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
	close(fd);
	r = map_line_read(file, &l, err);
	unlink(file);
	return r;
}

START_TEST(file_with_comments)
{
	static const char text[] = "# a map\n"
				   "  # sessname=x\n"
				   "sessname=s path=tcp:h#1\n"
				   "\n"
				   "  device_path=d # not one here\n";

	/* "#" within a line is no comment: device names may have it. */
	ck_assert_int_eq(read_text(text, strlen(text)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, ": '#': an option is KEY=VALUE"));
	ck_assert_int_eq(read_text(text, strlen(text) - 15), 0);
	ck_assert_str_eq(l.sessname, "s");
	ck_assert_str_eq(l.device_path, "d");
	ck_assert_str_eq(l.params[0], "path=tcp:h#1");
}
END_TEST

START_TEST(files_that_are_none)
{
	static char large[70000];

	ck_assert_int_eq(map_line_read("there-is-no-such-file", &l, err),
			 -ENOENT);
	ck_assert_str_eq(err,
			 "there-is-no-such-file: No such file or directory");
	ck_assert_int_eq(map_line_read(".", &l, err), -EIO);
	ck_assert_int_eq(read_text("sessname=s\0", 11), -EINVAL);
	memset(large, ' ', sizeof(large));
	ck_assert_int_eq(read_text(large, sizeof(large)), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "not a file of a map"));
	/* Two lines are two devices. */
	ck_assert_int_eq(read_text("sessname=s device_path=d\n"
				   "sessname=s device_path=e\n",
				   50),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "sessname= is given twice"));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ctl/map-line");
	TCase *tc = tcase_create("map-line");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, lines, 0, ARRAY_SIZE(good));
	tcase_add_loop_test(tc, what_is_no_line, 0, ARRAY_SIZE(wrong));
	tcase_add_test(tc, names_have_an_end);
	tcase_add_test(tc, file_with_comments);
	tcase_add_test(tc, files_that_are_none);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
