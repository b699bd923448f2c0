/* SPDX-License-Identifier: BSD-3-Clause */
/* What a hostile server says to the RNBD client; classes in README.md. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/rnbd/rig.h"

static void
ask(void)
{
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
}

START_TEST(impossible_disks)
{
	static const struct {
		uint64_t nsectors;
		uint16_t lbs;
	} rows[] = {
		{SECTORS, 0},
		{SECTORS, 1},
		{SECTORS, 511},
		{SECTORS, 513},
		{SECTORS, 1536},
		{SECTORS, UINT16_MAX},
		{UINT64_MAX, 512},
		{UINT64_C(1) << 55, 512},
		{(uint64_t)INT64_MAX / 512 + 1, 512},
	};

	ask();
	answer_open(shape(1, rows[_i].nsectors, rows[_i].lbs));
	ck_assert_int_eq(open_calls, 1);
	ck_assert_int_eq(open_err, -EINVAL);
	/* What it says it has opened is closed. */
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_CLOSE);
	fake_answer(0, 0, NULL, 0);
	turn(0);
}
END_TEST

START_TEST(limits_of_ranges)
{
	struct rnbd_msg_open_rsp m = shape(1, SECTORS, 4096);
	struct rnbd_clt_geometry g;

	m.max_discard_sectors = m.max_write_zeroes_sectors = UINT32_MAX;
	m.discard_granularity = m.discard_alignment = UINT32_MAX;
	m.physical_block_size = 4097;
	ask();
	answer_open(m);
	ck_assert_int_eq(open_err, 0);
	rnbd_clt_dev_geometry(dev, &g);
	/* One message has 32 bits for them. */
	ck_assert_uint_le(g.max_discard_bytes, UINT32_MAX);
	ck_assert_uint_eq(g.max_discard_bytes % 4096, 0);
	ck_assert_uint_le(g.max_write_zeroes_bytes, UINT32_MAX);
	ck_assert_uint_eq(g.physical_block_size, 4096);
}
END_TEST

START_TEST(explanation_without_end)
{
	uint8_t b[RNBD_EXPLAIN_RSP_LEN];

	ask();
	fake_answer(0, -EPERM, NULL, 0);
	memset(b, _i ? '\x1b' : 'x', sizeof(b));
	fake_answer(0, 0, b, sizeof(b));
	ck_assert_int_eq(open_err, -EPERM);
	ck_assert_uint_lt(strlen(open_text), sizeof(open_text));
	ck_assert(!strchr(open_text, '\x1b'));
}
END_TEST

START_TEST(answer_of_another_type)
{
	uint8_t b[RNBD_OPEN_RSP_LEN] = {0};

	ask();
	/* "Success", and nothing of an OPEN_RSP in it: no device comes of it,
	 * and the client asks why. */
	b[0] = (uint8_t)_i;
	fake_answer(0, 0, b, sizeof(b));
	ck_assert_int_eq(open_calls, 0);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_EXPLAIN);
	fake_answer(0, -EINVAL, NULL, 0);
	ck_assert_int_eq(open_calls, 1);
	ck_assert_int_lt(open_err, 0);
}
END_TEST

START_TEST(disk_that_changes_under_its_users)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	fake_link_down();
	come_back(_i ? shape(1, SECTORS, 4096) : shape(1, 0, 512));
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -EIO);
	ck_assert_ptr_nonnull(rnbd_clt_dev_failed(dev));
}
END_TEST

START_TEST(io_answered_with_any_errno)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	fake_answer(0, -_i, NULL, 0);
	turn(0);
	if (_i == ENOTCONN || _i == ECONNABORTED) {
		/* Not an answer: it waits, but not for ever. */
		ck_assert_int_eq(t.calls, 0);
		fake_link_down();
		turn(6000);
	}
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_le(t.err, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("hostile/answers");
	TCase *tc = tcase_create("answers");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, impossible_disks, 0, 9);
	tcase_add_test(tc, limits_of_ranges);
	tcase_add_loop_test(tc, explanation_without_end, 0, 2);
	tcase_add_loop_test(tc, answer_of_another_type, 0, 3);
	tcase_add_loop_test(tc, disk_that_changes_under_its_users, 0, 2);
	tcase_add_loop_test(tc, io_answered_with_any_errno, 0, 512);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
