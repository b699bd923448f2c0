/* SPDX-License-Identifier: BSD-3-Clause */
/* What is counted of each device, and how long its I/O took. */
#include "tests/unit/rnbd/rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct rnbd_op_stats *
op(enum rnbd_clt_op what)
{
	return &rnbd_stats_device(stats, "disk")->op[what];
}

static void
ask_for(struct test_io *t, enum rnbd_clt_op what, uint64_t len)
{
	submit(t, what, 0, len, 0);
	t->io.asked_ns = now;
}

START_TEST(each_operation_is_counted_once)
{
	static const enum rnbd_clt_op ops[] = {RNBD_CLT_READ, RNBD_CLT_WRITE,
					       RNBD_CLT_FLUSH, RNBD_CLT_DISCARD,
					       RNBD_CLT_WRITE_ZEROES};
	struct test_io t;

	open_disk();
	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		uint64_t len = ops[i] == RNBD_CLT_FLUSH ? 0 : 4096;

		ask_for(&t, ops[i], len);
		now += 3 * MS;
		fake_answer(0, 0, NULL, 0);
		turn(0);
		ck_assert_int_eq(t.calls, 1);
		ck_assert_uint_eq(rnbd_stats_ops(op(ops[i])), 1);
		ck_assert_uint_eq(op(ops[i])->bytes, len);
		ck_assert_uint_eq(op(ops[i])->errors, 0);
		ck_assert_uint_eq(op(ops[i])->latency.sum, 3 * MS);
		ck_assert_str_ne(rnbd_clt_op_name(ops[i]), "");
	}
}
END_TEST

START_TEST(pieces_are_one_and_errors_have_no_bytes)
{
	struct test_io t;

	open_disk();
	ask_for(&t, RNBD_CLT_READ, 3 * MAX_IO);
	ck_assert_uint_eq(fake->n_sent, 3);
	while (fake->n_sent)
		fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_uint_eq(rnbd_stats_ops(op(RNBD_CLT_READ)), 1);
	ck_assert_uint_eq(op(RNBD_CLT_READ)->bytes, 3 * MAX_IO);
	ask_for(&t, RNBD_CLT_READ, 512);
	fake_answer(0, -EIO, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.err, -EIO);
	ck_assert_uint_eq(rnbd_stats_ops(op(RNBD_CLT_READ)), 2);
	ck_assert_uint_eq(op(RNBD_CLT_READ)->bytes, 3 * MAX_IO);
	ck_assert_uint_eq(op(RNBD_CLT_READ)->errors, 1);
}
END_TEST

START_TEST(answer_within_one_progress_took_no_time)
{
	struct test_io t;

	open_disk();
	turn(0);
	ask_for(&t, RNBD_CLT_READ, 512);
	fake_answer(0, 0, NULL, 0);
	turn(0);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_uint_eq(rnbd_stats_ops(op(RNBD_CLT_READ)), 1);
	ck_assert_uint_eq(op(RNBD_CLT_READ)->latency.sum, 0);
}
END_TEST

START_TEST(what_has_no_time_is_not_counted)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_uint_eq(rnbd_stats_ops(op(RNBD_CLT_READ)), 0);
}
END_TEST

START_TEST(waiting_for_the_server_counts)
{
	struct test_io t;

	open_disk();
	ask_for(&t, RNBD_CLT_WRITE, 512);
	fake_link_down();
	turn(1000);
	come_back(shape(8, SECTORS, 512));
	fake_answer(0, 0, NULL, 0);
	turn(0);
	ck_assert_int_eq(t.err, 0);
	ck_assert_uint_eq(op(RNBD_CLT_WRITE)->latency.sum, 1000 * MS);
}
END_TEST

START_TEST(counts_outlive_session_and_device)
{
	struct test_io t;

	open_disk();
	ask_for(&t, RNBD_CLT_READ, 512);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	rnbd_clt_free(clt);
	new_session(5000, 0);
	open_calls = 0;
	open_disk();
	ask_for(&t, RNBD_CLT_READ, 512);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_uint_eq(rnbd_stats_ops(op(RNBD_CLT_READ)), 2);
	ck_assert_uint_eq(rnbd_stats_count(stats), 1);
}
END_TEST

START_TEST(too_many_names_share_one)
{
	char name[16];
	struct rnbd_dev_stats *other, *last = NULL;
	unsigned n = 0;

	for (unsigned i = 0; i < RNBD_STATS_MAX_DEVICES; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		ck_assert_str_eq(rnbd_stats_device(stats, name)->name, name);
	}
	other = rnbd_stats_device(stats, "more");
	ck_assert_str_eq(other->name, "");
	ck_assert_ptr_eq(rnbd_stats_device(stats, "and more"), other);
	ck_assert_str_eq(rnbd_stats_device(stats, "d0")->name, "d0");
	for (struct rnbd_dev_stats *ds = rnbd_stats_first(stats); ds;
	     ds = ds->next) {
		last = ds;
		n++;
	}
	ck_assert_ptr_eq(last, other);
	ck_assert_uint_eq(n, RNBD_STATS_MAX_DEVICES + 1);
	ck_assert_uint_eq(rnbd_stats_count(stats), n);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rnbd-stats");
	TCase *tc = tcase_create("stats");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, each_operation_is_counted_once);
	tcase_add_test(tc, pieces_are_one_and_errors_have_no_bytes);
	tcase_add_test(tc, answer_within_one_progress_took_no_time);
	tcase_add_test(tc, what_has_no_time_is_not_counted);
	tcase_add_test(tc, waiting_for_the_server_counts);
	tcase_add_test(tc, counts_outlive_session_and_device);
	tcase_add_test(tc, too_many_names_share_one);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
