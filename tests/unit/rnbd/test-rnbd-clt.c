/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening, I/O and closing, while the session is up. */
#include "tests/unit/rnbd/rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

START_TEST(greets_then_opens)
{
	struct rnbd_msg_open m;

	ck_assert_int_eq(rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_MIGRATION,
					   on_opened, NULL),
			 0);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 0);
	fake_link_up(8, MAX_IO);
	ck_assert_uint_eq(fake->n_sent, 1);
	answer_greeting();
	ck_assert_int_eq(rnbd_msg_open_decode(fake->sent[0].usr,
					      fake->sent[0].usr_len, &m),
			 0);
	ck_assert_str_eq(m.dev_name, "disk");
	ck_assert_uint_eq(m.access_mode, RNBD_ACCESS_MIGRATION);
	answer_open(shape(0, SECTORS, 512));
	ck_assert_int_eq(open_calls, 1);
	ck_assert(rnbd_clt_is_up(clt));
}
END_TEST

START_TEST(geometry_is_that_of_the_answer)
{
	struct rnbd_clt_geometry g;

	open_disk();
	rnbd_clt_dev_geometry(dev, &g);
	ck_assert_uint_eq(g.size_bytes, SECTORS * 512);
	ck_assert_uint_eq(g.logical_block_size, 512);
	ck_assert_uint_eq(g.max_io_size, MAX_IO);
	ck_assert_uint_eq(g.max_discard_bytes, 2048 * 512);
	ck_assert(g.fua && g.writeback);
}
END_TEST

START_TEST(impossible_shapes_are_refused)
{
	static const struct {
		uint64_t nsectors;
		uint16_t lbs;
	} bad[] = {{SECTORS, 0},
		   {SECTORS, 256},
		   {SECTORS, 1000},
		   {UINT64_MAX, 512},
		   {SECTORS, 513}};

	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	answer_open(shape(0, bad[_i].nsectors, bad[_i].lbs));
	ck_assert_int_eq(open_calls, 1);
	ck_assert_int_eq(open_err, -EINVAL);
	ck_assert(strstr(open_text, "impossible"));
	/* The server has opened it all the same. */
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_CLOSE);
	fake_answer(0, 0, NULL, 0);
	turn(0);
}
END_TEST

START_TEST(large_io_is_split_and_sent_at_once)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 4096, 3 * MAX_IO + 512, 0);
	ck_assert_uint_eq(fake->n_sent, 4);
	for (unsigned i = 0; i < 4; i++) {
		struct rnbd_msg_io m = sent_io(i);

		ck_assert_uint_eq(m.device_id, 7);
		ck_assert_uint_eq(m.sector, (4096 + i * MAX_IO) / 512);
		ck_assert_uint_eq(m.bi_size, i < 3 ? MAX_IO : 512);
		ck_assert_uint_eq(fake->sent[i].data_len, m.bi_size);
		ck_assert_ptr_eq(fake->sent[i].req->data, buf + i * MAX_IO);
	}
	for (unsigned i = 0; i < 4; i++) {
		turn(1);
		ck_assert_int_eq(t.calls, 0);
		fake_answer(fake->n_sent - 1, 0, NULL, 0);
	}
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
	ck_assert_uint_eq(fake->n_out, 0);
}
END_TEST

START_TEST(first_error_wins_and_comes_once)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_READ, 0, 2 * MAX_IO, 0);
	fake_answer(1, -ENOSPC, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 0);
	fake_answer(0, -EIO, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -ENOSPC);
}
END_TEST

START_TEST(more_io_than_permits_waits_its_turn)
{
	struct test_io t[3];

	open_disk();
	submit(&t[0], RNBD_CLT_WRITE, 0, 6 * MAX_IO, 0);
	submit(&t[1], RNBD_CLT_WRITE, 0, 6 * MAX_IO, 0);
	submit(&t[2], RNBD_CLT_READ, 0, 512, 0);
	ck_assert_uint_eq(fake->n_sent, 8);
	while (fake->n_sent) {
		fake_answer(0, 0, NULL, 0);
		turn(0);
	}
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(t[i].calls, 1);
		ck_assert_int_eq(t[i].err, 0);
	}
	ck_assert_uint_eq(fake->n_out, 0);
}
END_TEST

/* A connection that asks for much leaves its turn to the others' little. */
START_TEST(small_io_waits_for_one_piece_of_each_before_it)
{
	struct test_io large[6], small;

	open_disk();
	for (unsigned i = 0; i < ARRAY_SIZE(large); i++)
		submit(&large[i], RNBD_CLT_WRITE, 0, 12 * MAX_IO, 0);
	submit(&small, RNBD_CLT_READ, 0, 512, 0);
	ck_assert_uint_eq(fake->n_sent, 8);
	for (unsigned i = 0; i < ARRAY_SIZE(large); i++) {
		ck_assert_uint_eq(sent_io(fake->n_sent - 1).bi_size, MAX_IO);
		fake_answer(0, 0, NULL, 0);
		turn(0);
	}
	/* Sent, though more than fifty pieces came before it. */
	fake_answer(0, 0, NULL, 0);
	turn(0);
	ck_assert_uint_eq(sent_io(fake->n_sent - 1).bi_size, 512);
	fake_answer(fake->n_sent - 1, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(small.calls, 1);
	ck_assert_int_eq(large[1].calls, 0);
	while (fake->n_sent) {
		fake_answer(0, 0, NULL, 0);
		turn(1);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(large); i++)
		ck_assert_int_eq(large[i].calls, 1);
}
END_TEST

START_TEST(flush_is_spelled_as_the_kernel_reads_it)
{
	struct rnbd_msg_io m;
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_FLUSH, 0, 0, 0);
	m = sent_io(0);
	ck_assert_uint_eq(m.rw, 0x302);
	ck_assert_uint_eq(m.sector, 0);
	ck_assert_uint_eq(m.bi_size, 0);
	ck_assert_int_eq(fake->sent[0].dir, RTRS_READ);
	ck_assert_uint_eq(fake->sent[0].data_len, 0);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
}
END_TEST

START_TEST(fua_is_native_on_writes_and_a_flush_after_others)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, RNBD_CLT_F_FUA);
	ck_assert_uint_eq(sent_io(0).rw, 0x301);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_uint_eq(fake->n_sent, 0);

	submit(&t, RNBD_CLT_WRITE_ZEROES, 0, 512,
	       RNBD_CLT_F_FUA | RNBD_CLT_F_NOUNMAP);
	ck_assert_uint_eq(sent_io(0).rw, 0x805);
	ck_assert_uint_eq(fake->sent[0].data_len, 0);
	ck_assert_uint_eq(sent_io(0).bi_size, 512);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 0);
	ck_assert_uint_eq(sent_io(0).rw & 0xff, RNBD_OP_FLUSH);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
}
END_TEST

START_TEST(errors_of_open_are_words)
{
	static const struct {
		int err;
		const char *word;
	} rows[] = {
		{-ENOENT, "no such export 'disk' at fake:127.0.0.1:1234"},
		{-EPERM, "busy: 'disk'"},
		{-ENOTBLK, "not a block device"},
		{-EACCES, "access_mode=rw"},
		{-EINVAL, "refuses the name"},
		{-ENOMEM, "cannot open 'disk'"},
	};

	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	fake_answer(0, rows[_i].err, NULL, 0);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_EXPLAIN);
	fake_answer(0, -EINVAL, NULL, 0);
	ck_assert_int_eq(open_calls, 1);
	ck_assert_int_eq(open_err, rows[_i].err);
	ck_assert_msg(strstr(open_text, rows[_i].word), "%s", open_text);
}
END_TEST

START_TEST(the_servers_explanation_is_passed_on)
{
	uint8_t b[RNBD_EXPLAIN_RSP_LEN];

	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	fake_answer(0, -EPERM, NULL, 0);
	rnbd_msg_explain_rsp_encode("busy: held by 'alice'\033[2J", b);
	fake_answer(0, 0, b, sizeof(b));
	ck_assert_int_eq(open_err, -EPERM);
	ck_assert(strstr(open_text, "held by 'alice'"));
	ck_assert(!strchr(open_text, '\033'));
}
END_TEST

START_TEST(openers_do_not_wait_longer_than_they_may)
{
	rnbd_clt_free(clt);
	new_session(5000, 1000);
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	turn(0);
	turn(999);
	ck_assert_int_eq(open_calls, 0);
	turn(1);
	ck_assert_int_eq(open_calls, 1);
	ck_assert_int_eq(open_err, -ETIMEDOUT);
	ck_assert(strstr(open_text, "connection refused"));
}
END_TEST

START_TEST(an_answer_that_comes_too_late_is_closed)
{
	struct rnbd_msg_close m;

	rnbd_clt_free(clt);
	new_session(5000, 1000);
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	turn(0);
	turn(1000);
	ck_assert_int_eq(open_err, -ETIMEDOUT);
	answer_open(shape(3, SECTORS, 512));
	ck_assert_int_eq(open_calls, 1);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_CLOSE);
	ck_assert_int_eq(rnbd_msg_close_decode(fake->sent[0].usr,
					       fake->sent[0].usr_len, &m),
			 0);
	ck_assert_uint_eq(m.device_id, 3);
	fake_answer(0, 0, NULL, 0);
	turn(1);
}
END_TEST

START_TEST(a_failed_session_fails_openers_and_io)
{
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake->p.failed(fake->p.user, -ECONNREFUSED);
	turn(1);
	ck_assert_int_eq(open_calls, 1);
	ck_assert_int_eq(open_err, -ECONNREFUSED);
	ck_assert(strstr(open_text, "connection refused"));
}
END_TEST

static void
set_true(void *user)
{
	*(bool *)user = true;
}
START_TEST(two_handles_one_device_one_close)
{
	struct rnbd_clt_dev *first;
	bool closed = false;

	open_disk();
	first = dev;
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	turn(0);
	ck_assert_int_eq(open_calls, 2);
	ck_assert_ptr_ne(first, dev);
	ck_assert_uint_eq(fake->n_sent, 0);
	rnbd_clt_dev_close(first, set_true, &closed);
	ck_assert(closed);
	ck_assert_uint_eq(fake->n_sent, 0);
	closed = false;
	rnbd_clt_dev_close(dev, set_true, &closed);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_CLOSE);
	ck_assert(!closed);
	/* A new opener waits until the old mapping is gone. */
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RO, on_opened, NULL),
		0);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 1);
	fake_answer(0, 0, NULL, 0);
	ck_assert(closed);
	turn(0);
	answer_open(shape(1, SECTORS, 512));
	ck_assert_int_eq(open_calls, 3);
	ck_assert_int_eq(open_err, 0);
}
END_TEST

START_TEST(a_freed_session_ends_everything)
{
	struct test_io sent, held;

	open_disk();
	submit(&sent, RNBD_CLT_WRITE, 0, 512, 0);
	submit(&held, RNBD_CLT_WRITE, 0, 20 * MAX_IO, 0);
	rnbd_clt_free(clt);
	ck_assert_int_eq(sent.calls, 1);
	ck_assert_int_eq(sent.err, -ESHUTDOWN);
	ck_assert_int_eq(held.calls, 1);
	ck_assert_int_eq(held.err, -ESHUTDOWN);
	new_session(0, 0);
}
END_TEST

START_TEST(io_beyond_the_end_is_refused)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_READ, _i ? UINT64_MAX - 511 : SECTORS * 512 - 512,
	       1024, 0);
	turn(0);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -EINVAL);
}
END_TEST

START_TEST(odd_physical_blocks_are_not_passed_on)
{
	struct rnbd_msg_open_rsp m = shape(0, SECTORS, 512);
	struct rnbd_clt_geometry g;

	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	m.physical_block_size = _i ? 12288 : 0;
	answer_open(m);
	rnbd_clt_dev_geometry(dev, &g);
	ck_assert_uint_eq(g.physical_block_size, 512);
}
END_TEST

START_TEST(each_opener_waits_as_long_as_it_may)
{
	rnbd_clt_free(clt);
	new_session(5000, 1000);
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	turn(0);
	turn(900);
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	turn(0);
	turn(100);
	ck_assert_int_eq(open_calls, 1);
	ck_assert_int_eq(open_err, -ETIMEDOUT);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), now + 900 * MS);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	answer_open(shape(0, SECTORS, 512));
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, 0);
}
END_TEST

/* The server has one device of a name: closing it would close both. */
START_TEST(an_open_waits_for_the_late_answer_of_another)
{
	rnbd_clt_free(clt);
	new_session(5000, 1000);
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	turn(0);
	turn(1000);
	ck_assert_int_eq(open_err, -ETIMEDOUT);
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	turn(0);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 1);
	ck_assert_uint_gt(rnbd_clt_deadline(clt), now);
	answer_open(shape(3, SECTORS, 512));
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_CLOSE);
	fake_answer(0, 0, NULL, 0);
	turn(0);
	answer_open(shape(4, SECTORS, 512));
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, 0);
}
END_TEST

START_TEST(nothing_opens_in_a_session_that_closes)
{
	open_disk();
	fake_lose();
	rnbd_clt_close(clt);
	ck_assert_int_eq(rnbd_clt_dev_open(clt, "other", RNBD_ACCESS_RW,
					   on_opened, NULL),
			 0);
	turn(0);
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, -ESHUTDOWN);
}
END_TEST

START_TEST(a_greeting_without_memory_starts_over)
{
	fake->submit_err = -ENOMEM;
	fake_link_up(8, MAX_IO);
	ck_assert_uint_eq(fake->resets, 1);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("rnbd-clt");
	TCase *t = tcase_create("session");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, greets_then_opens);
	tcase_add_test(t, geometry_is_that_of_the_answer);
	tcase_add_loop_test(t, impossible_shapes_are_refused, 0, 5);
	tcase_add_test(t, large_io_is_split_and_sent_at_once);
	tcase_add_test(t, first_error_wins_and_comes_once);
	tcase_add_test(t, more_io_than_permits_waits_its_turn);
	tcase_add_test(t, small_io_waits_for_one_piece_of_each_before_it);
	tcase_add_test(t, flush_is_spelled_as_the_kernel_reads_it);
	tcase_add_test(t, fua_is_native_on_writes_and_a_flush_after_others);
	tcase_add_loop_test(t, errors_of_open_are_words, 0, 6);
	tcase_add_test(t, the_servers_explanation_is_passed_on);
	tcase_add_test(t, openers_do_not_wait_longer_than_they_may);
	tcase_add_test(t, an_answer_that_comes_too_late_is_closed);
	tcase_add_test(t, a_failed_session_fails_openers_and_io);
	tcase_add_test(t, two_handles_one_device_one_close);
	tcase_add_test(t, a_freed_session_ends_everything);
	tcase_add_loop_test(t, io_beyond_the_end_is_refused, 0, 2);
	tcase_add_loop_test(t, odd_physical_blocks_are_not_passed_on, 0, 2);
	tcase_add_test(t, each_opener_waits_as_long_as_it_may);
	tcase_add_test(t, an_open_waits_for_the_late_answer_of_another);
	tcase_add_test(t, nothing_opens_in_a_session_that_closes);
	tcase_add_test(t, a_greeting_without_memory_starts_over);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
