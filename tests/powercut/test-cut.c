/* SPDX-License-Identifier: BSD-3-Clause */
/* A record that is right passes; each broken promise in one is found. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/powercut/judge.h"

#define BLOCKS 16

/* A record in memory, as log.c gives it. */
static struct cut_entry entries[32];
static struct cut_block blocks[32];
static struct cut_log log_;
static uint32_t plan[32];
static size_t n_writes;
static struct cut_verdict v;

static void
setup(void)
{
	memset(entries, 0, sizeof(entries));
	log_ = (struct cut_log){.entries = entries};
	n_writes = 0;
}

static uint64_t
planned(uint32_t block)
{
	plan[n_writes++] = block;
	return n_writes;
}

static void
reached(uint64_t seq, uint64_t flushed, uint64_t forced)
{
	struct cut_entry *e = &entries[log_.n];
	const struct cut_head h = {CUT_MAGIC, plan[seq - 1], seq, flushed,
				   forced};

	cut_block_make(&blocks[log_.n], &h);
	e->offset = (uint64_t)plan[seq - 1] * CUT_BLOCK;
	e->len = CUT_BLOCK;
	e->data = (const void *)&blocks[log_.n++];
}

static void
flush(void)
{
	entries[log_.n++].flags = CUT_FLUSH;
}

static const char *
judged(void)
{
	ck_assert_int_eq(cut_judge(&log_, plan, n_writes, BLOCKS, &v), 0);
	return v.text;
}

START_TEST(what_is_kept_passes)
{
	for (uint32_t b = 0; b < 4; b++)
		planned(b);
	reached(2, 0, 0);
	reached(1, 0, 0);
	flush();
	reached(4, 2, 0);
	reached(3, 2, 0);
	ck_assert_str_eq(judged(), "");
	ck_assert_uint_eq(v.points, 5);
	ck_assert_uint_eq(v.blocks, 4);
	ck_assert_uint_eq(v.flushes, 1);
	ck_assert_uint_eq(v.flushed, 2);
}
END_TEST

START_TEST(a_flush_that_was_not_one_is_found)
{
	planned(1);
	planned(2);
	planned(3);
	reached(1, 0, 0);
	reached(3, 2, 0);
	ck_assert_ptr_nonnull(strstr(judged(), "write 2 of block 2 is lost"));
	ck_assert_ptr_nonnull(strstr(v.text, "before write 3"));
}
END_TEST

/* It may come afterwards: in between the power may go. */
START_TEST(a_flush_that_was_late_is_found)
{
	planned(1);
	planned(2);
	reached(2, 1, 0);
	reached(1, 0, 0);
	ck_assert_ptr_nonnull(strstr(judged(), "write 1 of block 1 is lost"));
}
END_TEST

START_TEST(fua_that_was_none_is_found)
{
	planned(1);
	planned(2);
	planned(3);
	reached(3, 0, 2);
	ck_assert_ptr_nonnull(strstr(judged(), "it had FUA"));
	setup();
	planned(1);
	planned(2);
	planned(3);
	reached(2, 0, 0);
	reached(3, 0, 2);
	ck_assert_str_eq(judged(), "");
	ck_assert_uint_eq(v.forced, 1);
}
END_TEST

START_TEST(what_was_overwritten_need_not_be_there)
{
	planned(5);
	planned(5);
	planned(6);
	reached(2, 0, 0);
	reached(3, 2, 0);
	ck_assert_str_eq(judged(), "");
}
END_TEST

START_TEST(what_falls_back_is_found)
{
	planned(5);
	planned(5);
	reached(2, 0, 0);
	reached(1, 0, 0);
	ck_assert_ptr_nonnull(strstr(judged(), "falls back from write 2 to 1"));
}
END_TEST

START_TEST(torn_misplaced_and_foreign_blocks_are_found)
{
	planned(5);
	reached(1, 0, 0);
	blocks[0].fill[400]++;
	ck_assert_ptr_nonnull(strstr(judged(), "block 5 is torn"));
	setup();
	planned(5);
	reached(1, 0, 0);
	entries[0].offset += CUT_BLOCK;
	ck_assert_ptr_nonnull(
		strstr(judged(), "block 6 is torn, or another's"));
	setup();
	planned(5);
	reached(1, 0, 0);
	plan[0] = 4;
	ck_assert_ptr_nonnull(strstr(judged(), "was not written there"));
	setup();
	planned(5);
	reached(1, 0, 0);
	entries[0].offset = (uint64_t)BLOCKS * CUT_BLOCK;
	ck_assert_ptr_nonnull(strstr(judged(), "no blocks of the disk"));
	setup();
	planned(BLOCKS);
	ck_assert_ptr_nonnull(strstr(judged(), "the plan names block 16"));
}
END_TEST

START_TEST(it_ends_at_the_mark)
{
	planned(1);
	planned(2);
	reached(1, 0, 0);
	entries[log_.n].flags = CUT_MARK;
	entries[log_.n++].mark = "fs";
	reached(2, 0, 0);
	blocks[2].head.magic = 0;
	ck_assert_str_eq(judged(), "");
	ck_assert_uint_eq(v.points, 1);
}
END_TEST

/* --- the file */

static char path[] = "/tmp/test-cut.XXXXXX";
static uint8_t file[8 * 512];

static void
put(unsigned at, uint64_t val)
{
	memcpy(file + at, &val, 8);
}

static int
read_file(size_t len, struct cut_log *l)
{
	int fd, r;

	strcpy(path + sizeof(path) - 7, "XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, file, len), (ssize_t)len);
	close(fd);
	r = cut_log_read(path, l);
	unlink(path);
	return r;
}

static void
make_file(void)
{
	memset(file, 0, sizeof(file));
	put(0, CUT_LOG_MAGIC);
	put(8, 1);
	put(16, 3);
	put(24, 512);
	/* Two sectors at 4, a mark, a flush. */
	put(512, 4);
	put(512 + 8, 2);
	memset(file + 1024, 0xab, 1024);
	put(2048 + 16, CUT_MARK);
	put(2048 + 24, 2);
	memcpy(file + 2048 + 32, "fs", 2);
	put(2560 + 16, CUT_FLUSH);
}

START_TEST(reads_the_record)
{
	struct cut_log l;

	make_file();
	ck_assert_int_eq(read_file(3072, &l), 0);
	ck_assert_uint_eq(l.n, 3);
	ck_assert_uint_eq(l.entries[0].offset, 2048);
	ck_assert_uint_eq(l.entries[0].len, 1024);
	ck_assert_uint_eq(l.entries[0].data[1023], 0xab);
	ck_assert_str_eq(l.entries[1].mark, "fs");
	ck_assert_uint_eq(l.entries[2].flags, CUT_FLUSH);
	cut_log_free(&l);
}
END_TEST

START_TEST(refuses_what_is_none)
{
	struct cut_log l;

	for (size_t len = 1; len < 3072; len += 7) {
		make_file();
		ck_assert_int_eq(read_file(len, &l), -EBADMSG);
	}
	for (unsigned at = 0; at < 32; at += 8) {
		make_file();
		put(at, UINT64_MAX);
		ck_assert_int_eq(read_file(3072, &l), -EBADMSG);
	}
	make_file();
	put(2048 + 24, 512);
	ck_assert_int_eq(read_file(3072, &l), -EBADMSG);
	make_file();
	put(512 + 8, UINT64_MAX / 512);
	ck_assert_int_eq(read_file(3072, &l), -EBADMSG);
	ck_assert_int_eq(cut_log_read("/nonexistent/log", &l), -ENOENT);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("powercut");
	TCase *tc = tcase_create("judge");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, what_is_kept_passes);
	tcase_add_test(tc, a_flush_that_was_not_one_is_found);
	tcase_add_test(tc, a_flush_that_was_late_is_found);
	tcase_add_test(tc, fua_that_was_none_is_found);
	tcase_add_test(tc, what_was_overwritten_need_not_be_there);
	tcase_add_test(tc, what_falls_back_is_found);
	tcase_add_test(tc, torn_misplaced_and_foreign_blocks_are_found);
	tcase_add_test(tc, it_ends_at_the_mark);
	suite_add_tcase(s, tc);
	tc = tcase_create("log");
	tcase_add_test(tc, reads_the_record);
	tcase_add_test(tc, refuses_what_is_none);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
