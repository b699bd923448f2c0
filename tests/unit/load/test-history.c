/* SPDX-License-Identifier: BSD-3-Clause */
/* The judge finds each kind of violation, and nothing where there is none. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/load/history.h"

#define SIZE 512

static struct history *h;

static void
setup(void)
{
	h = history_new(4, false);
}

/* The same for a disk that does nothing twice. */
static void
setup_once(void)
{
	h = history_new(4, true);
}

static void
teardown(void)
{
	history_free(h);
}

static void
begin(uint64_t v)
{
	history_write_begin(h, v, 0, 1);
}

static void
end(uint64_t v)
{
	history_write_end(h, v, 0, 1, true);
}

static void
wrote(uint64_t v)
{
	begin(v);
	end(v);
}

/* A read that began at stamp. */
static const char *
read_since(uint64_t stamp, uint64_t v)
{
	const char *why = history_saw(h, stamp, 0, v);

	history_read_end(h, 0, 1);
	return why;
}

static const char *
read_now(uint64_t v)
{
	return read_since(history_read_begin(h, 0, 1), v);
}

START_TEST(one_after_another)
{
	ck_assert_ptr_null(read_now(0));
	wrote(1);
	ck_assert_ptr_null(read_now(1));
	wrote(2);
	wrote(3);
	ck_assert_ptr_null(read_now(3));
}
END_TEST

START_TEST(stale_read)
{
	wrote(1);
	wrote(2);
	ck_assert_ptr_nonnull(read_now(1));
}
END_TEST

START_TEST(lost_write)
{
	wrote(1);
	ck_assert_ptr_nonnull(read_now(0));
}
END_TEST

/* Sent twice; the second time after what overwrote it. */
START_TEST(older_write_comes_back)
{
	wrote(1);
	wrote(2);
	ck_assert_ptr_null(read_now(2));
	ck_assert_ptr_nonnull(read_now(1));
}
END_TEST

START_TEST(version_that_nobody_wrote)
{
	wrote(1);
	ck_assert_ptr_nonnull(read_now(7));
}
END_TEST

START_TEST(read_during_a_write)
{
	uint64_t r;

	wrote(1);
	begin(2);
	r = history_read_begin(h, 0, 1);
	ck_assert_ptr_null(read_now(1));
	ck_assert_ptr_null(read_now(2));
	ck_assert_ptr_null(read_since(r, 1));
	end(2);
}
END_TEST

/* Seen once, it is there: the end of the write is not what decides. */
START_TEST(back_behind_what_was_seen)
{
	wrote(1);
	begin(2);
	ck_assert_ptr_null(read_now(2));
	ck_assert_ptr_nonnull(read_now(1));
	end(2);
}
END_TEST

/* It took effect, was overwritten, and took effect again. */
static const char *
again_before_its_end(void)
{
	begin(1);
	ck_assert_ptr_null(read_now(1));
	wrote(2);
	ck_assert_ptr_null(read_now(2));
	return read_now(1);
}

START_TEST(sent_again)
{
	ck_assert_ptr_null(again_before_its_end());
	end(1);
	ck_assert_ptr_null(read_now(1));
	ck_assert_ptr_nonnull(read_now(2));
}
END_TEST

START_TEST(sent_again_though_once)
{
	ck_assert_ptr_nonnull(again_before_its_end());
	end(1);
}
END_TEST

/* After its end, that is what must never be. */
START_TEST(sent_again_too_late)
{
	begin(1);
	wrote(2);
	end(1);
	wrote(3);
	ck_assert_ptr_nonnull(read_now(1));
}
END_TEST

START_TEST(concurrent_writes_in_any_order)
{
	begin(1);
	begin(2);
	end(1);
	end(2);
	ck_assert_ptr_null(read_now(_i ? 2 : 1));
}
END_TEST

START_TEST(concurrent_writes_do_not_take_turns)
{
	begin(1);
	begin(2);
	end(1);
	end(2);
	ck_assert_ptr_null(read_now(1));
	ck_assert_ptr_nonnull(read_now(2));
}
END_TEST

START_TEST(concurrent_writes_each_seen_once)
{
	begin(1);
	begin(2);
	ck_assert_ptr_null(read_now(1));
	ck_assert_ptr_null(read_now(2));
	/* Not if each takes effect once. */
	ck_assert(!read_now(1) == !_i);
	end(1);
	end(2);
}
END_TEST

/* Began after one of two had ended, so it is behind that one, not the other. */
START_TEST(three_writes)
{
	begin(1);
	begin(2);
	end(1);
	begin(3);
	end(3);
	ck_assert_ptr_null(read_now(3));
	end(2);
	if (_i)
		ck_assert_ptr_null(read_now(2));
	else
		ck_assert_ptr_nonnull(read_now(1));
}
END_TEST

static const char *
failed_write(void)
{
	wrote(1);
	begin(2);
	history_write_end(h, 2, 0, 1, false);
	wrote(3);
	ck_assert_ptr_null(read_now(3));
	ck_assert_ptr_null(read_now(2));
	ck_assert_ptr_nonnull(read_now(3));
	wrote(4);
	return read_now(2);
}

START_TEST(failed_write_again)
{
	ck_assert_ptr_null(failed_write());
}
END_TEST

START_TEST(failed_write_once)
{
	ck_assert_ptr_nonnull(failed_write());
}
END_TEST

START_TEST(read_that_began_before)
{
	uint64_t r;

	wrote(1);
	r = history_read_begin(h, 0, 1);
	wrote(2);
	wrote(3);
	ck_assert_ptr_null(read_since(r, 2));
	ck_assert_ptr_null(read_now(3));
}
END_TEST

/* Two reads side by side may not see them in different orders. */
START_TEST(reads_agree)
{
	uint64_t a, b;

	begin(1);
	begin(2);
	a = history_read_begin(h, 0, 1);
	ck_assert_ptr_null(read_since(a, 1));
	a = history_read_begin(h, 0, 1);
	b = history_read_begin(h, 0, 1);
	ck_assert_ptr_null(read_since(a, 2));
	ck_assert_ptr_null(read_since(b, 1));
	ck_assert_ptr_nonnull(read_now(1));
	end(1);
	end(2);
}
END_TEST

START_TEST(blocks_are_apart)
{
	uint64_t r;

	history_write_begin(h, 1, 0, 3);
	history_write_end(h, 1, 0, 3, true);
	history_write_begin(h, 2, 1, 1);
	history_write_end(h, 2, 1, 1, true);
	r = history_read_begin(h, 0, 4);
	ck_assert_ptr_null(history_saw(h, r, 0, 1));
	ck_assert_ptr_null(history_saw(h, r, 1, 2));
	ck_assert_ptr_null(history_saw(h, r, 2, 1));
	ck_assert_ptr_null(history_saw(h, r, 3, 0));
	history_read_end(h, 0, 4);
}
END_TEST

START_TEST(torn_only_under_a_write)
{
	uint64_t r;

	wrote(1);
	r = history_read_begin(h, 0, 1);
	ck_assert_ptr_nonnull(history_saw_torn(h, r, 0));
	begin(2);
	ck_assert_ptr_null(history_saw_torn(h, r, 0));
	end(2);
	ck_assert_ptr_null(history_saw_torn(h, r, 0));
	history_read_end(h, 0, 1);
	r = history_read_begin(h, 0, 1);
	ck_assert_ptr_nonnull(history_saw_torn(h, r, 0));
	history_read_end(h, 0, 1);
}
END_TEST

/* What was forgotten is found as well, and there is little to remember. */
START_TEST(long_histories)
{
	for (uint64_t v = 1; v <= 100000; v += 2) {
		begin(v);
		begin(v + 1);
		end(v + 1);
		end(v);
		ck_assert_ptr_null(read_now(v + v / 2 % 2));
		ck_assert_uint_le(history_remembered(h), 2);
	}
	ck_assert_ptr_nonnull(read_now(7));
	ck_assert_ptr_nonnull(read_now(99997));
}
END_TEST

/*
 * A register that really is one, with many at it at once; now and then it does
 * the wrong thing, and that is found as soon as it is read.
 */
static bool
found(unsigned seed, int bug)
{
	uint64_t v = 0, now = 0, before = 0, version[4], start[4] = {0};
	bool busy[4] = {0}, done[4] = {0}, reads[4] = {0};

	srand(seed);
	for (int step = 0; step < 4000; step++) {
		int i = rand() % 4;

		if (!busy[i]) {
			busy[i] = true;
			done[i] = false;
			reads[i] = rand() % 2;
			version[i] = reads[i] ? 0 : ++v;
			if (reads[i])
				start[i] = history_read_begin(h, 0, 1);
			else
				begin(version[i]);
		} else if (!done[i]) {
			done[i] = true;
			if (reads[i]) {
				version[i] = now;
				if (bug == 1 && rand() % 50 == 0)
					version[i] = before; /* stale */
			} else if (bug == 2 && rand() % 8 == 0) {
				; /* lost */
			} else {
				before = now;
				now = version[i];
			}
			if (bug == 3 && rand() % 50 == 0)
				now = before; /* back again */
		} else {
			busy[i] = false;
			if (!reads[i])
				end(version[i]);
			else if (read_since(start[i], version[i]))
				return true;
		}
	}
	return false;
}

START_TEST(registers)
{
	ck_assert_int_eq(found((unsigned)_i + 1, _i % 4), _i % 4 != 0);
}
END_TEST

START_TEST(contents)
{
	uint64_t v = 99, buf[SIZE / 8] = {0};

	ck_assert_int_eq(block_check(buf, SIZE, 3, &v), BLOCK_WHOLE);
	ck_assert_uint_eq(v, 0);
	block_fill(buf, SIZE, VERSION(2, 77), 3);
	ck_assert_int_eq(block_check(buf, SIZE, 3, &v), BLOCK_WHOLE);
	ck_assert_uint_eq(VERSION_WRITER(v), 2);
	ck_assert_uint_eq(VERSION_SEQ(v), 77);
	ck_assert_int_eq(block_check(buf, SIZE, 4, &v), BLOCK_ALIEN);
	memset(buf, 'x', SIZE);
	ck_assert_int_eq(block_check(buf, SIZE, 3, &v), BLOCK_ALIEN);
}
END_TEST

START_TEST(torn_contents)
{
	uint64_t v, a[SIZE / 8], b[SIZE / 8];

	block_fill(b, SIZE, VERSION(1, 2), 3);
	for (int i = 1; i < SIZE / 8; i++) {
		block_fill(a, SIZE, VERSION(1, 1), 3);
		memcpy(a, b, (size_t)i * 8);
		/* The first words are the same in both. */
		ck_assert_int_eq(block_check(a, SIZE, 3, &v),
				 i == 1 ? BLOCK_WHOLE : BLOCK_TORN);
	}
	memset(a, 0, SIZE);
	a[SIZE / 8 - 1] = b[SIZE / 8 - 1];
	ck_assert_int_eq(block_check(a, SIZE, 3, &v), BLOCK_TORN);
}
END_TEST

/* What holds whether or not writes are sent again. */
static void
add_both(TCase *tc)
{
	tcase_add_test(tc, one_after_another);
	tcase_add_test(tc, stale_read);
	tcase_add_test(tc, lost_write);
	tcase_add_test(tc, older_write_comes_back);
	tcase_add_test(tc, version_that_nobody_wrote);
	tcase_add_test(tc, read_during_a_write);
	tcase_add_test(tc, back_behind_what_was_seen);
	tcase_add_loop_test(tc, concurrent_writes_in_any_order, 0, 2);
	tcase_add_test(tc, concurrent_writes_do_not_take_turns);
	tcase_add_loop_test(tc, three_writes, 0, 2);
	tcase_add_test(tc, read_that_began_before);
	tcase_add_test(tc, blocks_are_apart);
	tcase_add_test(tc, torn_only_under_a_write);
	tcase_add_test(tc, long_histories);
	tcase_add_loop_test(tc, registers, 0, 40);
	tcase_add_test(tc, contents);
	tcase_add_test(tc, torn_contents);
	tcase_add_test(tc, sent_again_too_late);
}

int
main(void)
{
	Suite *s = suite_create("load/history");
	TCase *tc = tcase_create("again"), *once = tcase_create("once");
	SRunner *sr;
	int failed;

	add_both(tc);
	tcase_add_test(tc, sent_again);
	tcase_add_loop_test(tc, concurrent_writes_each_seen_once, 0, 1);
	tcase_add_test(tc, failed_write_again);
	tcase_add_checked_fixture(tc, setup, teardown);
	suite_add_tcase(s, tc);
	add_both(once);
	tcase_add_test(once, sent_again_though_once);
	tcase_add_loop_test(once, concurrent_writes_each_seen_once, 1, 2);
	tcase_add_test(once, failed_write_once);
	tcase_add_test(once, reads_agree);
	tcase_add_checked_fixture(once, setup_once, teardown);
	suite_add_tcase(s, once);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
