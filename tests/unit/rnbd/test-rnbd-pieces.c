/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests of an I/O: permits that are scarce, sends that fail, late answers.
 */
#include "tests/unit/rnbd/rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void
ended(const struct test_io *t, int err)
{
	ck_assert_int_eq(t->calls, 1);
	ck_assert_int_eq(t->err, err);
}

/* -------------------------------------------------------------- permits */

START_TEST(io_waits_for_a_permit_that_others_have)
{
	struct test_io a, b;

	open_disk();
	fake_take_all_but(0);
	submit(&a, RNBD_CLT_READ, 0, 512, 0);
	submit(&b, RNBD_CLT_READ, 512, 512, 0);
	ck_assert_uint_eq(fake->n_sent, 0);
	fake_give_one();
	ck_assert_uint_eq(fake->n_sent, 1);
	ck_assert_uint_eq(sent_io(0).sector, 0);
	fake_answer(0, 0, NULL, 0);
	ck_assert_uint_eq(sent_io(0).sector, 1);
	answer_all();
	ended(&a, 0);
	ended(&b, 0);
}
END_TEST

START_TEST(with_one_permit_pieces_go_one_by_one)
{
	struct test_io t;

	open_disk();
	fake_take_all_but(1);
	submit(&t, RNBD_CLT_WRITE, 0, 3 * MAX_IO, 0);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(t.calls, 0);
		ck_assert_uint_eq(fake->n_sent, 1);
		ck_assert_uint_eq(sent_io(0).sector, i * (MAX_IO / 512));
		fake_answer(0, 0, NULL, 0);
		turn(0);
	}
	ended(&t, 0);
}
END_TEST

START_TEST(freed_or_closed_while_io_waits_for_a_permit)
{
	struct test_io t;

	open_disk();
	fake_take_all_but(0);
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	if (_i) {
		rnbd_clt_close(clt);
		turn(0);
	} else {
		rnbd_clt_free(clt);
		clt = NULL;
	}
	ended(&t, -ESHUTDOWN);
}
END_TEST

START_TEST(what_waits_for_a_permit_only_is_not_late)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	fake_link_down();
	turn(1000);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	answer_open(shape(8, SECTORS, 512));
	/* Back, lost by its path alone, and others have all permits. */
	fake_take_all_but(0);
	fake_answer(0, -ECONNABORTED, NULL, 0);
	ck_assert_uint_eq(fake->n_sent, 0);
	fake_take_all_but(0);
	turn(0);
	turn(60000);
	ck_assert_int_eq(t.calls, 0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), TIME_NEVER);
	fake_give_one();
	ck_assert_uint_eq(fake->n_sent, 1);
	answer_all();
	ended(&t, 0);
}
END_TEST

/* More pieces than the session has room for. */
START_TEST(far_smaller_chunks_are_sent_as_answers_come)
{
	struct test_io t;
	uint64_t sent = 0;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 8 * MAX_IO, 0);
	fake_link_down();
	fake_link_up(4, MAX_IO / 16);
	answer_greeting();
	answer_open(shape(1, SECTORS, 512));
	while (fake->n_sent) {
		ck_assert_uint_le(fake->n_sent, 4);
		ck_assert_uint_eq(sent_io(0).bi_size, MAX_IO / 16);
		sent += sent_io(0).bi_size;
		fake_answer(0, 0, NULL, 0);
		turn(0);
	}
	ck_assert_uint_eq(sent, 8 * MAX_IO);
	ended(&t, 0);
}
END_TEST

/* ---------------------------------------------------- sends that fail */

START_TEST(io_that_cannot_be_sent_fails)
{
	struct test_io t;

	open_disk();
	fake->submit_err = -ENOMEM;
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	turn(0);
	ended(&t, -ENOMEM);
	ck_assert_uint_eq(fake->n_out, 0);
}
END_TEST

/* The link goes in the very call, and the session is told later. */
START_TEST(io_whose_path_goes_as_it_is_sent_waits)
{
	struct test_io t;

	open_disk();
	fake->submit_err = -ECONNABORTED;
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	turn(0);
	ck_assert_int_eq(t.calls, 0);
	ck_assert_uint_eq(fake->n_out, 0);
	fake->submit_err = 0;
	fake_link_down();
	come_back(shape(8, SECTORS, 512));
	ck_assert_uint_eq(sent_io(0).device_id, 8);
	answer_all();
	ended(&t, 0);
}
END_TEST

/* What was lost is sent again, which fails, too. */
START_TEST(io_that_cannot_be_sent_again_fails)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	fake_answer(0, -ENOTCONN, NULL, 0);
	turn(0);
	fake->submit_err = _i ? -ENOMEM : -ECONNABORTED;
	answer_open(shape(8, SECTORS, 512));
	turn(0);
	ck_assert_uint_eq(fake->n_out, 0);
	if (_i) {
		ended(&t, -ENOMEM);
		return;
	}
	ck_assert_int_eq(t.calls, 0);
	fake->submit_err = 0;
	fake_link_down();
	come_back(shape(9, SECTORS, 512));
	ck_assert_uint_eq(sent_io(0).device_id, 9);
	answer_all();
	ended(&t, 0);
}
END_TEST

START_TEST(what_was_never_offered_is_not_sent)
{
	struct rnbd_msg_open_rsp m = shape(7, SECTORS, 512);
	struct test_io t;

	m.max_discard_sectors = m.max_write_zeroes_sectors = 0;
	be_ready();
	dev = opened("disk", RNBD_ACCESS_RW, m);
	submit(&t, _i ? RNBD_CLT_DISCARD : RNBD_CLT_WRITE_ZEROES, 0, 512, 0);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 0);
	ended(&t, -EOPNOTSUPP);
}
END_TEST

START_TEST(nothing_is_done_at_once_and_unsent)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 4096, 0, RNBD_CLT_F_FUA);
	ck_assert_uint_eq(fake->n_sent, 0);
	turn(0);
	ended(&t, 0);
}
END_TEST

START_TEST(readers_may_flush)
{
	struct test_io t;

	be_ready();
	dev = opened("disk", RNBD_ACCESS_RO, shape(7, SECTORS, 512));
	submit(&t, RNBD_CLT_FLUSH, 0, 0, 0);
	ck_assert_uint_eq(sent_io(0).rw & RNBD_RW_OP_MASK, RNBD_OP_FLUSH);
	answer_all();
	ended(&t, 0);
}
END_TEST

/* --------------------------------------------------- states of a session */

/* The device is forgotten by a server that is there, and nothing may wait. */
START_TEST(without_io_timeout_a_closed_device_is_an_error)
{
	struct test_io t;

	rnbd_clt_free(clt);
	new_session(0, 0);
	open_disk();
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	fake_answer(0, -ENOTCONN, NULL, 0);
	turn(0);
	ended(&t, -EIO);
}
END_TEST

START_TEST(io_of_a_greeting_session_waits)
{
	struct test_io t;

	open_disk();
	fake_link_down();
	fake_link_up(8, MAX_IO);
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	turn(0);
	ck_assert_int_eq(t.calls, 0);
	ck_assert_uint_eq(fake->n_sent, 1);
	answer_greeting();
	answer_open(shape(8, SECTORS, 512));
	ck_assert_uint_eq(sent_io(0).device_id, 8);
	answer_all();
	ended(&t, 0);
}
END_TEST

START_TEST(io_after_the_end_is_refused)
{
	static const int errs[] = {-EIO, -ESHUTDOWN, -ESHUTDOWN};
	struct test_io out, t;

	open_disk();
	submit(&out, RNBD_CLT_READ, 0, 512, 0);
	fake_lose();
	if (_i == 0)
		fake->p.failed(fake->p.user, -ECONNREFUSED);
	else
		rnbd_clt_close(clt);
	if (_i == 2)
		turn(0);
	ck_assert_int_eq(rnbd_clt_closed(clt), _i == 2);
	/* What was under way is told the same as what comes now. */
	fake_answer(0, -ECONNABORTED, NULL, 0);
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	turn(0);
	ended(&out, errs[_i]);
	ended(&t, errs[_i]);
}
END_TEST

START_TEST(io_of_a_failed_device_fails)
{
	struct test_io t;

	open_disk();
	ck_assert_ptr_null(rnbd_clt_dev_failed(dev));
	fake_link_down();
	come_back(shape(8, SECTORS - 1, 512));
	ck_assert_ptr_nonnull(rnbd_clt_dev_failed(dev));
	ck_assert(rnbd_clt_is_up(clt));
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	turn(0);
	ended(&t, -EIO);
}
END_TEST

/* ------------------------------------------------------- times of waiting */

/* It came and was lost before anybody knew the time. */
START_TEST(time_that_was_not_measured_is_not_taken)
{
	struct test_io t;

	open_disk();
	turn(0);
	fake_link_down();
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	come_back(shape(8, SECTORS, 512));
	ck_assert_uint_eq(fake->n_sent, 1);
	turn(0);
	fake_link_down();
	turn(4999);
	ck_assert_int_eq(t.calls, 0);
	turn(1);
	ended(&t, -EIO);
}
END_TEST

static void
come_back_late(void)
{
	fake->in_progress = NULL;
	come_back(shape(9, SECTORS, 512));
}

START_TEST(sent_at_its_deadline_it_has_no_time_left_for_another_loss)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	turn(0);
	fake_link_down();
	fake->in_progress = come_back_late;
	turn(5000);
	ck_assert_int_eq(t.calls, 0);
	ck_assert_uint_eq(fake->n_sent, 1);
	fake_link_down();
	turn(1);
	ended(&t, -EIO);
}
END_TEST

/* They have no permits: others have room to be sent. */
START_TEST(requests_that_wait_for_a_device_leave_room_for_others)
{
	struct rnbd_clt_dev *a, *b;
	static struct test_io lost[8], t;
	unsigned i;

	be_ready();
	a = opened("a", RNBD_ACCESS_RW, shape(1, SECTORS, 512));
	b = opened("b", RNBD_ACCESS_RW, shape(2, SECTORS, 512));
	dev = a;
	for (i = 0; i < ARRAY_SIZE(lost); i++)
		submit(&lost[i], RNBD_CLT_WRITE, i * 512, 512, 0);
	ck_assert_uint_eq(fake->n_sent, ARRAY_SIZE(lost));
	for (i = 0; i < ARRAY_SIZE(lost); i++)
		fake_answer(0, -ENOTCONN, NULL, 0);
	turn(0);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_OPEN);
	fake_answer(0, -ENOENT, NULL, 0);
	answer_all(); /* EXPLAIN */
	dev = b;
	for (i = 0; i < 2; i++) {
		submit(&t, RNBD_CLT_READ, 0, 2 * MAX_IO, 0);
		ck_assert_uint_eq(fake->n_sent, 2);
		ck_assert_uint_eq(sent_io(0).device_id, 2);
		answer_all();
		ended(&t, 0);
	}
	/* And go with the session, or in the next one. */
	fake_link_down();
	if (_i)
		return;
	fake_link_up(8, MAX_IO);
	answer_greeting();
	answer_open(shape(3, SECTORS, 512));
	answer_all();
	turn(0);
	for (i = 0; i < ARRAY_SIZE(lost); i++)
		ended(&lost[i], 0);
}
END_TEST

static void
asked(void *user, int err, uint64_t size, const char *text)
{
	(void)user, (void)size, (void)text;
	ck_assert_int_eq(err, 0);
}

/* The part that the first opening acknowledged is answered last. */
START_TEST(fua_counts_from_the_oldest_acknowledgement)
{
	struct rnbd_msg_open_rsp m = shape(7, SECTORS, 512);
	uint8_t b[RNBD_OPEN_RSP_LEN];
	struct test_io t;
	char text[128];

	m.cache_policy = RNBD_CACHE_WRITEBACK;
	be_ready();
	dev = opened("disk", RNBD_ACCESS_RW, m);
	submit(&t, RNBD_CLT_WRITE, 0, 2 * MAX_IO, RNBD_CLT_F_FUA);
	/* Somebody asks for it, and it has another id since. */
	ck_assert_int_eq(rnbd_clt_dev_ask(clt, "disk", RNBD_CLT_RESIZE, asked,
					  NULL, text, sizeof(text)),
			 0);
	turn(0);
	ck_assert_uint_eq(sent_type(2), RNBD_MSG_OPEN);
	m.device_id = 8;
	rnbd_msg_open_rsp_encode(&m, b);
	fake_answer(2, 0, b, sizeof(b));
	/* The last of the old one says nothing of the new. */
	fake_answer(0, -ENOTCONN, NULL, 0);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 2);
	ck_assert_uint_eq(sent_io(1).device_id, 8);
	fake_answer(1, 0, NULL, 0);
	fake_answer(0, 0, NULL, 0);
	turn(0);
	ck_assert_uint_eq(sent_io(0).rw & RNBD_RW_OP_MASK, RNBD_OP_FLUSH);
	fake_answer(0, 0, NULL, 0);
	/* That flush is of the second opening: all is written once more. */
	turn(0);
	ck_assert_int_eq(t.calls, 0);
	ck_assert_uint_eq(fake->n_sent, 2);
	answer_all();
	ck_assert_uint_eq(sent_io(0).rw & RNBD_RW_OP_MASK, RNBD_OP_FLUSH);
	answer_all();
	ended(&t, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rnbd-pieces");
	TCase *tc = tcase_create("pieces");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, io_waits_for_a_permit_that_others_have);
	tcase_add_test(tc, with_one_permit_pieces_go_one_by_one);
	tcase_add_loop_test(tc, freed_or_closed_while_io_waits_for_a_permit, 0,
			    2);
	tcase_add_test(tc, what_waits_for_a_permit_only_is_not_late);
	tcase_add_test(tc, far_smaller_chunks_are_sent_as_answers_come);
	tcase_add_test(tc, io_that_cannot_be_sent_fails);
	tcase_add_test(tc, io_whose_path_goes_as_it_is_sent_waits);
	tcase_add_loop_test(tc, io_that_cannot_be_sent_again_fails, 0, 2);
	tcase_add_loop_test(tc, what_was_never_offered_is_not_sent, 0, 2);
	tcase_add_test(tc, nothing_is_done_at_once_and_unsent);
	tcase_add_test(tc, readers_may_flush);
	tcase_add_test(tc, without_io_timeout_a_closed_device_is_an_error);
	tcase_add_test(tc, io_of_a_greeting_session_waits);
	tcase_add_loop_test(tc, io_after_the_end_is_refused, 0, 3);
	tcase_add_test(tc, io_of_a_failed_device_fails);
	tcase_add_test(tc, time_that_was_not_measured_is_not_taken);
	tcase_add_test(
		tc, sent_at_its_deadline_it_has_no_time_left_for_another_loss);
	tcase_add_loop_test(
		tc, requests_that_wait_for_a_device_leave_room_for_others, 0,
		2);
	tcase_add_test(tc, fua_counts_from_the_oldest_acknowledgement);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
