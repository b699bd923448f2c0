/* SPDX-License-Identifier: BSD-3-Clause */
/* The judge of the simulator: it must see what is wrong, and only that. */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "tests/sim/model.h"

static struct model *m;
static uint8_t buf[SECTOR];
static char why[300];

static void
setup_back(void)
{
	m = model_new(16, true);
}

static void
setup_through(void)
{
	m = model_new(16, false);
}

static void
teardown(void)
{
	model_free(m);
}

/* tag 0: zeroes */
static bool
reads(uint64_t begin, uint64_t tag)
{
	memset(buf, 0, SECTOR);
	if (tag)
		model_fill(buf, tag, 3, 1);
	return model_read_end(m, begin, 3, 1, buf, why, sizeof(why));
}

static bool
read_now(uint64_t tag)
{
	return reads(model_read_begin(m), tag);
}

static void
begin(uint64_t tag)
{
	model_write_begin(m, tag, MODEL_DATA, 0, 8);
}

static void
end(uint64_t tag, bool ok, bool fua)
{
	model_write_end(m, tag, 0, 8, ok, fua);
}

static void
write_now(uint64_t tag)
{
	begin(tag);
	end(tag, true, false);
}

static void
flush(void)
{
	model_flush_end(m, model_flush_begin(m), true);
}

START_TEST(disk_begins_with_zeroes)
{
	ck_assert(read_now(0));
	ck_assert(!read_now(1));
}
END_TEST

START_TEST(last_acknowledged_write_counts)
{
	write_now(1);
	ck_assert(!read_now(0));
	ck_assert(read_now(1));
	write_now(2);
	ck_assert(read_now(2));
	ck_assert(!read_now(1));
}
END_TEST

START_TEST(write_under_way_may_be_seen_or_not)
{
	write_now(1);
	begin(2);
	ck_assert(read_now(1));
	ck_assert(read_now(2));
	/* Once it was seen it stays. */
	ck_assert(!read_now(1));
}
END_TEST

START_TEST(concurrent_writes_end_in_any_order)
{
	begin(1);
	begin(2);
	end(2, true, false);
	end(1, true, false);
	ck_assert(!read_now(0));
	ck_assert(read_now(1));
	ck_assert(read_now(2));
}
END_TEST

START_TEST(read_may_return_what_was_there_when_it_began)
{
	uint64_t r;

	write_now(1);
	r = model_read_begin(m);
	write_now(2);
	ck_assert(reads(r, 1));
	ck_assert(!read_now(1));
}
END_TEST

START_TEST(failed_write_may_come_late)
{
	begin(1);
	end(1, false, false);
	ck_assert(read_now(0));
	write_now(2);
	ck_assert(read_now(2));
	begin(3);
	end(3, false, false);
	ck_assert(read_now(2));
	ck_assert(read_now(1));
}
END_TEST

START_TEST(discarded_sector_holds_anything)
{
	model_write_begin(m, 1, MODEL_ANY, 3, 1);
	model_write_end(m, 1, 3, 1, true, false);
	ck_assert(read_now(77));
	ck_assert(read_now(0));
	write_now(2);
	ck_assert(!read_now(77));
}
END_TEST

START_TEST(zeroes_are_a_write)
{
	write_now(1);
	model_write_begin(m, 2, MODEL_ZERO, 3, 1);
	model_write_end(m, 2, 3, 1, true, false);
	ck_assert(read_now(0));
	ck_assert(!read_now(1));
}
END_TEST

START_TEST(torn_sector_is_garbage)
{
	uint64_t r;

	write_now(1);
	r = model_read_begin(m);
	model_fill(buf, 1, 3, 1);
	buf[100] ^= 1;
	ck_assert(!model_read_end(m, r, 3, 1, buf, why, sizeof(why)));
	/* The value of a neighbour is not ours. */
	r = model_read_begin(m);
	model_fill(buf, 1, 4, 1);
	ck_assert(!model_read_end(m, r, 3, 1, buf, why, sizeof(why)));
}
END_TEST

START_TEST(power_takes_what_was_not_flushed)
{
	write_now(1);
	flush();
	write_now(2);
	model_power_cut(m);
	ck_assert(read_now(1));
	ck_assert(!read_now(0));
}
END_TEST

START_TEST(power_may_leave_what_was_not_flushed)
{
	write_now(1);
	flush();
	write_now(2);
	model_power_cut(m);
	ck_assert(read_now(2));
}
END_TEST

START_TEST(fua_survives)
{
	write_now(1);
	begin(2);
	end(2, true, true);
	model_power_cut(m);
	ck_assert(!read_now(1));
	ck_assert(read_now(2));
}
END_TEST

START_TEST(flush_comes_too_late_after_power)
{
	write_now(1);
	model_power_cut(m);
	flush();
	model_power_cut(m);
	ck_assert(read_now(0));
}
END_TEST

START_TEST(write_through_survives)
{
	write_now(1);
	model_power_cut(m);
	ck_assert(!read_now(0));
	ck_assert(read_now(1));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("model");
	TCase *back = tcase_create("back"), *through = tcase_create("through");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(back, setup_back, teardown);
	tcase_add_test(back, disk_begins_with_zeroes);
	tcase_add_test(back, last_acknowledged_write_counts);
	tcase_add_test(back, write_under_way_may_be_seen_or_not);
	tcase_add_test(back, concurrent_writes_end_in_any_order);
	tcase_add_test(back, read_may_return_what_was_there_when_it_began);
	tcase_add_test(back, failed_write_may_come_late);
	tcase_add_test(back, discarded_sector_holds_anything);
	tcase_add_test(back, zeroes_are_a_write);
	tcase_add_test(back, torn_sector_is_garbage);
	tcase_add_test(back, power_takes_what_was_not_flushed);
	tcase_add_test(back, power_may_leave_what_was_not_flushed);
	tcase_add_test(back, fua_survives);
	tcase_add_test(back, flush_comes_too_late_after_power);
	suite_add_tcase(s, back);
	tcase_add_checked_fixture(through, setup_through, teardown);
	tcase_add_test(through, write_through_survives);
	suite_add_tcase(s, through);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
