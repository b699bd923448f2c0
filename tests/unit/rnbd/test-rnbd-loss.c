/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices and I/O when the session, or the server's memory of them, is lost. */
#include "tests/unit/rnbd/rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

START_TEST(io_outlives_a_loss_with_the_new_device_id)
{
	struct test_io sent, later;

	open_disk();
	submit(&sent, RNBD_CLT_WRITE, 8192, 2 * MAX_IO, 0);
	fake_link_down();
	submit(&later, RNBD_CLT_READ, 0, 512, 0);
	turn(4000);
	ck_assert_int_eq(sent.calls + later.calls, 0);
	come_back(shape(9, SECTORS, 512));
	ck_assert_uint_eq(fake->n_sent, 3);
	ck_assert_uint_eq(sent_io(0).device_id, 9);
	ck_assert_uint_eq(sent_io(0).sector, 16);
	ck_assert_uint_eq(sent_io(1).sector, 16 + MAX_IO / 512);
	while (fake->n_sent)
		fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(sent.calls, 1);
	ck_assert_int_eq(later.calls, 1);
	ck_assert_int_eq(sent.err + later.err, 0);
}
END_TEST

START_TEST(a_greeting_that_is_lost_alone_is_said_again)
{
	open_disk();
	fake_link_down();
	fake_link_up(16, MAX_IO);
	turn(1);
	ck_assert_uint_eq(fake->n_sent, 1);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_SESS_INFO);
	/* Its path went, and another one is still up. */
	fake_answer(0, -ECONNABORTED, NULL, 0);
	turn(1);
	ck_assert_uint_eq(fake->n_sent, 1);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_SESS_INFO);
	answer_greeting();
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_OPEN);
}
END_TEST

START_TEST(nothing_is_sent_before_the_device_is_open_again)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	fake_link_down();
	fake_link_up(8, MAX_IO);
	ck_assert_uint_eq(fake->n_sent, 1);
	answer_greeting();
	ck_assert_uint_eq(fake->n_sent, 1);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_OPEN);
	/* Lost again in the middle. */
	fake_link_down();
	come_back(shape(1, SECTORS, 512));
	ck_assert_uint_eq(fake->n_sent, 1);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
}
END_TEST

START_TEST(waiting_ends_with_EIO_at_its_deadline)
{
	struct test_io early, late;

	open_disk();
	turn(0);
	submit(&early, RNBD_CLT_WRITE, 0, 512, 0);
	fake_link_down();
	turn(2000);
	submit(&late, RNBD_CLT_WRITE, 0, 512, 0);
	turn(0);
	turn(2999);
	ck_assert_int_eq(early.calls, 0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), now + 1 * MS);
	turn(1);
	ck_assert_int_eq(early.calls, 1);
	ck_assert_int_eq(early.err, -EIO);
	ck_assert_int_eq(late.calls, 0);
	turn(2000);
	ck_assert_int_eq(late.calls, 1);
	ck_assert_int_eq(late.err, -EIO);
	come_back(shape(1, SECTORS, 512));
	ck_assert_uint_eq(fake->n_sent, 0);
}
END_TEST

START_TEST(without_io_timeout_a_loss_is_an_error_at_once)
{
	struct test_io t, u;

	rnbd_clt_free(clt);
	new_session(0, 0);
	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	fake_link_down();
	turn(0);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -EIO);
	submit(&u, RNBD_CLT_WRITE, 0, 512, 0);
	turn(0);
	ck_assert_int_eq(u.calls, 1);
	ck_assert_int_eq(u.err, -EIO);
}
END_TEST

/* The time of the last progress may be long ago. */
START_TEST(waiting_starts_with_the_submission)
{
	struct test_io t;

	open_disk();
	turn(0);
	fake_link_down();
	now += 60000 * MS;
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	ck_assert_uint_le(rnbd_clt_deadline(clt), now);
	turn(0);
	ck_assert_int_eq(t.calls, 0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), now + 5000 * MS);
	turn(5000);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -EIO);
}
END_TEST

/* The server is silent: its connections take long to end. */
START_TEST(waiting_starts_with_the_loss)
{
	struct test_io sent, later;

	open_disk();
	turn(0);
	submit(&sent, RNBD_CLT_WRITE, 0, 512, 0);
	fake_lose();
	turn(1000);
	submit(&later, RNBD_CLT_READ, 0, 512, 0);
	turn(0);
	turn(1000);
	ck_assert_uint_eq(fake->n_sent, 1);
	fake_link_down();
	turn(2999);
	ck_assert_int_eq(sent.calls, 0);
	turn(1);
	ck_assert_int_eq(sent.calls, 1);
	ck_assert_int_eq(sent.err, -EIO);
	ck_assert_int_eq(later.calls, 0);
	turn(1000);
	ck_assert_int_eq(later.calls, 1);
	ck_assert_int_eq(later.err, -EIO);
}
END_TEST

START_TEST(waiting_ends_while_the_link_is_lost_and_not_yet_down)
{
	struct test_io t;

	open_disk();
	turn(0);
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	fake_lose();
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	turn(0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), now + 5000 * MS);
	turn(5000);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -EIO);
	while (fake->n_sent)
		fake_answer(0, 0, NULL, 0);
	turn(0);
}
END_TEST

START_TEST(without_io_timeout_a_lost_link_is_an_error_at_once)
{
	struct test_io out, t;

	rnbd_clt_free(clt);
	new_session(0, 0);
	open_disk();
	submit(&out, RNBD_CLT_WRITE, 0, 512, 0);
	fake_lose();
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	turn(0);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -EIO);
	ck_assert_int_eq(out.calls, 0);
	fake_link_down();
	turn(0);
	ck_assert_int_eq(out.err, -EIO);
}
END_TEST

START_TEST(a_second_loss_has_the_rest_of_the_time)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	turn(0);
	fake_link_down();
	turn(4000);
	come_back(shape(1, SECTORS, 512));
	/* While it is out it does not wait. */
	turn(4000);
	fake_link_down();
	turn(999);
	ck_assert_int_eq(t.calls, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -EIO);
}
END_TEST

/* A server that answers by leaving is an outage, too. */
START_TEST(a_server_that_always_leaves_is_given_up)
{
	struct test_io t;
	unsigned losses = 0;

	open_disk();
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	turn(0);
	while (!t.calls && losses < 20) {
		fake_link_down();
		losses++;
		turn(1000);
		if (!t.calls)
			come_back(shape(losses, SECTORS, 512));
	}
	ck_assert_uint_eq(losses, 5);
	ck_assert_int_eq(t.err, -EIO);
}
END_TEST

/* OPEN works, but no I/O does. */
START_TEST(a_device_that_is_closed_again_and_again)
{
	struct test_io t;

	open_disk();
	turn(0);
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	for (unsigned i = 0; i < 6 && !t.calls; i++) {
		ck_assert_uint_eq(fake->n_sent, 1);
		fake_answer(0, -ENOTCONN, NULL, 0);
		turn(1000);
		if (!t.calls)
			answer_open(shape(8 + i, SECTORS, 512));
	}
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -EIO);
}
END_TEST

/* The flush of the new server says nothing about the cache of the old. */
START_TEST(fua_is_written_again_if_its_flush_went_elsewhere)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE_ZEROES, 0, 512, RNBD_CLT_F_FUA);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_uint_eq(sent_io(0).rw & 0xff, RNBD_OP_FLUSH);
	fake_link_down();
	come_back(shape(9, SECTORS, 512));
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 0);
	ck_assert_uint_eq(sent_io(0).rw & 0xff, RNBD_OP_WRITE_ZEROES);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_uint_eq(sent_io(0).rw & 0xff, RNBD_OP_FLUSH);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

START_TEST(fua_of_which_a_part_went_to_a_server_that_died)
{
	struct rnbd_msg_open_rsp m = shape(9, SECTORS, 512);
	struct test_io t;

	m.cache_policy = RNBD_CACHE_WRITEBACK;
	open_disk();
	fake_link_down();
	come_back(m);
	submit(&t, RNBD_CLT_WRITE, 0, 2 * MAX_IO, RNBD_CLT_F_FUA);
	ck_assert_uint_eq(fake->n_sent, 2);
	fake_answer(1, 0, NULL, 0);
	fake_link_down();
	come_back(m);
	ck_assert_uint_eq(fake->n_sent, 1);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_uint_eq(sent_io(0).rw & 0xff, RNBD_OP_FLUSH);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_uint_eq(fake->n_sent, 2);
	fake_answer(0, 0, NULL, 0);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

START_TEST(fua_that_the_new_server_cannot_do_in_one_step)
{
	struct rnbd_msg_open_rsp m = shape(9, SECTORS, 512);
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, RNBD_CLT_F_FUA);
	ck_assert_uint_eq(sent_io(0).rw, 0x301);
	fake_link_down();
	m.cache_policy = RNBD_CACHE_WRITEBACK;
	come_back(m);
	ck_assert_uint_eq(sent_io(0).rw, 0x101);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 0);
	ck_assert_uint_eq(sent_io(0).rw & 0xff, RNBD_OP_FLUSH);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

/* A kernel of another version would take op 5 for something else. */
START_TEST(what_is_not_offered_any_more_is_not_sent_again)
{
	struct rnbd_msg_open_rsp m = shape(9, SECTORS, 512);
	struct test_io zero, read;

	open_disk();
	submit(&zero, RNBD_CLT_WRITE_ZEROES, 0, 8 << 20, 0);
	submit(&read, RNBD_CLT_READ, 0, 512, 0);
	ck_assert_uint_eq(fake->n_sent, 5);
	fake_link_down();
	m.max_write_zeroes_sectors = 0;
	come_back(m);
	ck_assert_uint_eq(fake->n_sent, 1);
	ck_assert_uint_eq(sent_io(0).rw & 0xff, RNBD_OP_READ);
	turn(0);
	ck_assert_int_eq(zero.calls, 1);
	ck_assert_int_eq(zero.err, -EOPNOTSUPP);
	fake_answer(0, 0, NULL, 0);
	turn(0);
	ck_assert_int_eq(read.calls, 1);
}
END_TEST

START_TEST(a_failed_piece_takes_those_that_wait_with_it)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 2 * MAX_IO, 0);
	/* Of one path lost, and of another that is up still. */
	fake_answer(0, -ENOTCONN, NULL, 0);
	fake_answer(0, -ENOSPC, NULL, 0);
	turn(0);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -ENOSPC);
}
END_TEST

START_TEST(a_device_that_shrank_or_changed_blocks_fails)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	fake_link_down();
	come_back(_i ? shape(3, SECTORS, 4096) : shape(3, SECTORS - 1, 512));
	ck_assert_uint_eq(fake->n_sent, 1);
	closes(3);
	answer_all();
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -EIO);
	ck_assert_ptr_nonnull(rnbd_clt_dev_failed(dev));
	ck_assert(strstr(rnbd_clt_dev_failed(dev), _i ? "block" : "shrank"));
}
END_TEST

START_TEST(a_device_that_grew_goes_on)
{
	struct rnbd_clt_geometry g;

	open_disk();
	fake_link_down();
	come_back(shape(1, SECTORS * 2, 512));
	rnbd_clt_dev_geometry(dev, &g);
	ck_assert_uint_eq(g.size_bytes, SECTORS * 2 * 512);
}
END_TEST

START_TEST(a_cache_that_became_volatile_makes_writes_durable)
{
	struct rnbd_msg_open_rsp m = shape(1, SECTORS, 512);
	struct test_io t;

	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	m.cache_policy = 0;
	answer_open(m);
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	ck_assert_uint_eq(sent_io(0).rw, 0x101);
	fake_answer(0, 0, NULL, 0);
	fake_link_down();
	come_back(shape(1, SECTORS, 512));
	turn(1);
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	ck_assert_uint_eq(sent_io(0).rw, 0x301);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
}
END_TEST

START_TEST(reopen_is_tried_again_until_it_works)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	fake_link_down();
	fake_link_up(8, MAX_IO);
	answer_greeting();
	fake_answer(0, -EPERM, NULL, 0);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_EXPLAIN);
	fake_answer(0, -EINVAL, NULL, 0);
	turn(1);
	ck_assert_uint_eq(fake->n_sent, 0);
	turn(600);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_OPEN);
	/* The same error is not explained twice. */
	fake_answer(0, -EPERM, NULL, 0);
	ck_assert_uint_eq(fake->n_sent, 0);
	turn(600);
	answer_open(shape(4, SECTORS, 512));
	ck_assert_uint_eq(sent_io(0).device_id, 4);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

START_TEST(a_device_closed_by_the_server_is_opened_again)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	fake_answer(0, -ENOTCONN, NULL, 0);
	turn(1);
	answer_open(shape(8, SECTORS, 512));
	ck_assert_uint_eq(sent_io(0).device_id, 8);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

START_TEST(smaller_chunks_after_the_loss_cut_what_waits)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, MAX_IO, 0);
	fake_link_down();
	fake_link_up(8, MAX_IO / 4);
	answer_greeting();
	answer_open(shape(1, SECTORS, 512));
	ck_assert_uint_eq(fake->n_sent, 4);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(sent_io(i).bi_size, MAX_IO / 4);
	while (fake->n_sent)
		fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("rnbd-loss");
	TCase *t = tcase_create("session");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, io_outlives_a_loss_with_the_new_device_id);
	tcase_add_test(t, a_greeting_that_is_lost_alone_is_said_again);
	tcase_add_test(t, nothing_is_sent_before_the_device_is_open_again);
	tcase_add_test(t, waiting_ends_with_EIO_at_its_deadline);
	tcase_add_test(t, without_io_timeout_a_loss_is_an_error_at_once);
	tcase_add_test(t, waiting_starts_with_the_submission);
	tcase_add_test(t, waiting_starts_with_the_loss);
	tcase_add_test(t, waiting_ends_while_the_link_is_lost_and_not_yet_down);
	tcase_add_test(t, without_io_timeout_a_lost_link_is_an_error_at_once);
	tcase_add_test(t, a_second_loss_has_the_rest_of_the_time);
	tcase_add_test(t, a_server_that_always_leaves_is_given_up);
	tcase_add_test(t, a_device_that_is_closed_again_and_again);
	tcase_add_test(t, fua_is_written_again_if_its_flush_went_elsewhere);
	tcase_add_test(t, fua_of_which_a_part_went_to_a_server_that_died);
	tcase_add_test(t, fua_that_the_new_server_cannot_do_in_one_step);
	tcase_add_test(t, what_is_not_offered_any_more_is_not_sent_again);
	tcase_add_test(t, a_failed_piece_takes_those_that_wait_with_it);
	tcase_add_loop_test(t, a_device_that_shrank_or_changed_blocks_fails, 0,
			    2);
	tcase_add_test(t, a_device_that_grew_goes_on);
	tcase_add_test(t, a_cache_that_became_volatile_makes_writes_durable);
	tcase_add_test(t, reopen_is_tried_again_until_it_works);
	tcase_add_test(t, a_device_closed_by_the_server_is_opened_again);
	tcase_add_test(t, smaller_chunks_after_the_loss_cut_what_waits);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
