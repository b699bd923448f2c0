/* SPDX-License-Identifier: BSD-3-Clause */
/* What the server says of a disk, and what the user of the device is told. */
#include "tests/unit/rnbd/rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

START_TEST(shape_is_cut_to_whole_blocks)
{
	struct rnbd_msg_open_rsp m = shape(1, 8 * 100 + 3, 4096);
	struct rnbd_clt_geometry g;

	m.max_discard_sectors = m.max_write_zeroes_sectors = UINT32_MAX;
	be_ready();
	rnbd_clt_dev_geometry(opened("disk", RNBD_ACCESS_RW, m), &g);
	ck_assert_uint_eq(g.size_bytes, 100 * 4096);
	/* One message has 32 bits for them. */
	ck_assert_uint_eq(g.max_discard_bytes, UINT32_MAX - 4095);
	ck_assert_uint_eq(g.max_write_zeroes_bytes, UINT32_MAX - 4095);
}
END_TEST

START_TEST(blocks_larger_than_a_request_are_impossible)
{
	want("disk", RNBD_ACCESS_RW);
	fake_link_up(8, 2048);
	answer_greeting();
	answer_open(shape(1, SECTORS, 4096));
	ck_assert_int_eq(open_err, -EINVAL);
}
END_TEST

START_TEST(write_zeroes_that_are_not_trusted_are_not_offered)
{
	struct rnbd_clt_params p = {.rtrs = {.name = "s", .now = now}};
	struct rnbd_clt_geometry g;
	struct test_io t;

	rnbd_clt_free(clt);
	ck_assert_int_eq(rnbd_clt_new(&p, &clt), 0);
	be_ready();
	rnbd_clt_dev_geometry(
		opened("disk", RNBD_ACCESS_RW, shape(1, SECTORS, 512)), &g);
	ck_assert_uint_eq(g.max_write_zeroes_bytes, 0);
	ck_assert_uint_ne(g.max_discard_bytes, 0);
	/* And nobody counts here, whatever has a time. */
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	t.io.asked_ns = now;
	answer_all();
	ck_assert_int_eq(t.err, 0);
	ck_assert_uint_eq(rnbd_stats_count(stats), 0);
}
END_TEST

START_TEST(impossible_shape_after_a_loss_is_the_end_of_the_device)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	fake_link_down();
	come_back(shape(3, SECTORS, 1000));
	closes(3);
	answer_all();
	turn(0);
	ck_assert_int_eq(t.err, -EIO);
	ck_assert_ptr_nonnull(strstr(rnbd_clt_dev_failed(dev), "impossible"));
	ck_assert_uint_eq(fake->n_sent, 0);
}
END_TEST

START_TEST(cache_that_stays_written_through_needs_no_FUA)
{
	struct rnbd_msg_open_rsp m = shape(1, SECTORS, 512);
	struct test_io t;

	m.cache_policy = 0;
	be_ready();
	dev = opened("disk", RNBD_ACCESS_RW, m);
	fake_link_down();
	come_back(m);
	submit(&t, RNBD_CLT_WRITE, 0, 512, RNBD_CLT_F_FUA);
	ck_assert_uint_eq(sent_io(0).rw & RNBD_F_FUA, 0);
	answer_all();
	ck_assert_int_eq(t.calls, 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rnbd-shape");
	TCase *tc = tcase_create("shape");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, shape_is_cut_to_whole_blocks);
	tcase_add_test(tc, blocks_larger_than_a_request_are_impossible);
	tcase_add_test(tc, write_zeroes_that_are_not_trusted_are_not_offered);
	tcase_add_test(tc,
		       impossible_shape_after_a_loss_is_the_end_of_the_device);
	tcase_add_test(tc, cache_that_stays_written_through_needs_no_FUA);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
