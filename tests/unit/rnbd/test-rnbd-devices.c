/* SPDX-License-Identifier: BSD-3-Clause */
/* Several devices of a session: one fails or goes, the others go on. */
#include "tests/unit/rnbd/rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The answer to the i-th OPEN that is out. */
static void
answer_open_at(unsigned i, struct rnbd_msg_open_rsp m)
{
	uint8_t b[RNBD_OPEN_RSP_LEN];

	ck_assert_uint_eq(sent_type(i), RNBD_MSG_OPEN);
	rnbd_msg_open_rsp_encode(&m, b);
	fake_answer(i, 0, b, sizeof(b));
}

/* The name in the i-th OPEN that is out, and whether it only reads. */
static bool
opens(unsigned i, const char *name, enum rnbd_access_mode mode)
{
	struct rnbd_msg_open m;

	ck_assert_int_eq(rnbd_msg_open_decode(fake->sent[i].usr,
					      fake->sent[i].usr_len, &m),
			 0);
	return !strcmp(m.dev_name, name) && m.access_mode == mode;
}

/* ------------------------------------------------------ one and another */

START_TEST(device_that_fails_takes_only_its_own_io)
{
	struct test_io out_a, held_a, out_b, held_b;
	struct rnbd_clt_dev *a, *b;

	hear();
	be_ready();
	a = opened("a", RNBD_ACCESS_RW, shape(1, SECTORS, 512));
	b = opened("b", RNBD_ACCESS_RW, shape(2, SECTORS, 512));
	dev = a;
	submit(&out_a, RNBD_CLT_READ, 0, 512, 0);
	dev = b;
	submit(&out_b, RNBD_CLT_READ, 0, 512, 0);
	fake_link_down();
	dev = a;
	submit(&held_a, RNBD_CLT_READ, 0, 512, 0);
	dev = b;
	submit(&held_b, RNBD_CLT_READ, 0, 512, 0);
	turn(0);
	be_ready();
	ck_assert(opens(0, "a", RNBD_ACCESS_RW));
	answer_open_at(0, shape(1, SECTORS - 1, 512));
	turn(0);
	ck_assert_int_eq(out_a.err, -EIO);
	ck_assert_int_eq(held_a.err, -EIO);
	ck_assert_ptr_nonnull(strstr(heard, "device 'a': the device shrank"));
	/* The server has it open again, for nothing. */
	ck_assert_uint_eq(fake->n_sent, 2);
	ck_assert_uint_eq(sent_type(1), RNBD_MSG_CLOSE);
	fake_answer(1, 0, NULL, 0);
	ck_assert_int_eq(out_b.calls + held_b.calls, 0);
	answer_open_at(0, shape(3, SECTORS, 512));
	ck_assert_uint_eq(fake->n_sent, 2);
	ck_assert_uint_eq(sent_io(0).device_id, 3);
	answer_all();
	ck_assert_int_eq(out_b.calls, 1);
	ck_assert_int_eq(held_b.calls, 1);
	ck_assert_int_eq(out_b.err + held_b.err, 0);
	/* The next session opens those that are of use still. */
	fake_link_down();
	be_ready();
	ck_assert_uint_eq(fake->n_sent, 1);
	ck_assert(opens(0, "b", RNBD_ACCESS_RW));
	fake->p.failed(fake->p.user, -ECONNREFUSED);
	ck_assert_ptr_nonnull(strstr(rnbd_clt_dev_failed(a), "shrank"));
	ck_assert_ptr_nonnull(strstr(rnbd_clt_dev_failed(b), "refused"));
}
END_TEST

START_TEST(lost_device_is_opened_once_however_many_requests_tell)
{
	struct test_io t;

	hear();
	open_disk();
	submit(&t, RNBD_CLT_READ, 0, 2 * MAX_IO, 0);
	fake_answer(0, -ENOTCONN, NULL, 0);
	ck_assert_str_eq(heard, "device 'disk': the server closed it");
	heard[0] = '\0';
	fake_answer(0, -ENOTCONN, NULL, 0);
	ck_assert_str_eq(heard, "");
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 1);
	answer_open(shape(8, SECTORS, 512));
	ck_assert_str_eq(heard, "device 'disk': open again, rw");
	answer_all();
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

START_TEST(device_that_the_server_loses_again_is_opened_with_pauses)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	for (unsigned i = 0; i < 4; i++) {
		fake_answer(0, -ENOTCONN, NULL, 0);
		turn(0);
		if (i) {
			ck_assert_uint_eq(fake->n_sent, 0);
			turn(499);
			ck_assert_uint_eq(fake->n_sent, 0);
			turn(1);
		}
		ck_assert_uint_eq(fake->n_sent, 1);
		answer_open(shape(8 + i, SECTORS, 512));
		ck_assert_uint_eq(fake->n_sent, 1);
	}
	answer_all();
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
	/* Long after, it is opened at once. */
	turn(5000);
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	fake_answer(0, -ENOTCONN, NULL, 0);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 1);
	answer_open(shape(20, SECTORS, 512));
	answer_all();
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

START_TEST(second_opener_is_served_at_the_next_progress)
{
	open_disk();
	turn(0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), TIME_NEVER);
	want("disk", _i ? RNBD_ACCESS_RW : RNBD_ACCESS_RO);
	ck_assert_int_eq(open_calls, 1);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), 0);
	turn(0);
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, 0);
	ck_assert_uint_eq(fake->n_sent, 0);
}
END_TEST

START_TEST(opener_beside_a_device_that_fails_is_told_why)
{
	open_disk();
	fake_link_down();
	want("disk", RNBD_ACCESS_RW);
	come_back(shape(1, SECTORS - 1, 512));
	ck_assert_int_eq(open_calls, 1);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), 0);
	turn(0);
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, -EIO);
	ck_assert_ptr_nonnull(strstr(open_text, "shrank"));
}
END_TEST

START_TEST(nothing_opens_in_a_session_that_failed)
{
	fake->p.failed(fake->p.user, -ECONNREFUSED);
	want("disk", RNBD_ACCESS_RW);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), 0);
	turn(0);
	ck_assert_int_eq(open_err, -ECONNREFUSED);
}
END_TEST

START_TEST(second_kind_of_writer_does_not_hinder_the_first)
{
	want("disk", RNBD_ACCESS_RW);
	want("disk", RNBD_ACCESS_MIGRATION);
	be_ready();
	ck_assert(opens(0, "disk", RNBD_ACCESS_RW));
	answer_open(shape(1, SECTORS, 512));
	ck_assert_int_eq(open_calls, 1);
	ck_assert_int_eq(open_err, 0);
	turn(0);
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, -EBUSY);
}
END_TEST

/* It is one of those that wait for a permit. */
START_TEST(device_that_fails_leaves_what_others_have_queued)
{
	struct rnbd_clt_dev *a, *b;
	struct test_io t, u, v;

	be_ready();
	a = opened("a", RNBD_ACCESS_RW, shape(1, SECTORS, 512));
	b = opened("b", RNBD_ACCESS_RW, shape(2, SECTORS, 512));
	dev = a;
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	fake_answer(0, -ENOTCONN, NULL, 0);
	turn(0);
	fake_take_all_but(0);
	dev = b;
	submit(&u, RNBD_CLT_READ, 0, 512, 0);
	submit(&v, RNBD_CLT_READ, 512, 512, 0);
	answer_open_at(0, shape(1, SECTORS - 1, 512));
	turn(0);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -EIO);
	ck_assert_int_eq(u.calls + v.calls, 0);
	answer_all();
	ck_assert_int_eq(u.calls, 1);
	ck_assert_int_eq(v.calls, 1);
	ck_assert_int_eq(u.err + v.err, 0);
}
END_TEST

START_TEST(names_that_are_none_are_refused)
{
	char name[RNBD_NAME_LEN + 1];

	memset(name, 'x', sizeof(name));
	name[RNBD_NAME_LEN] = '\0';
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, name, RNBD_ACCESS_RO, on_opened, NULL),
		-EINVAL);
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "", RNBD_ACCESS_RO, on_opened, NULL),
		-EINVAL);
	turn(0);
	ck_assert_int_eq(open_calls, 0);
}
END_TEST

/* --------------------------------------------------- OPENs that fail */

START_TEST(server_without_an_address_is_the_server)
{
	want("disk", RNBD_ACCESS_RW);
	be_ready();
	fake->path_info_err = -ENOENT;
	fake_answer(0, -ENOENT, NULL, 0);
	fake_answer(0, -EINVAL, NULL, 0);
	ck_assert_str_eq(open_text, "no such export 'disk' at the server");
}
END_TEST

START_TEST(reason_that_cannot_be_asked_for_is_the_error)
{
	want("disk", RNBD_ACCESS_RW);
	be_ready();
	fake->submit_err = -ENOMEM;
	fake_answer(0, -EPERM, NULL, 0);
	ck_assert_int_eq(open_calls, 1);
	ck_assert_int_eq(open_err, -EPERM);
	ck_assert_ptr_nonnull(strstr(open_text, "busy: 'disk'"));
	ck_assert_uint_eq(fake->n_out, 0);
}
END_TEST

START_TEST(reader_that_cannot_come_back_is_tried_again)
{
	hear();
	be_ready();
	dev = opened("disk", RNBD_ACCESS_RO, shape(1, SECTORS, 512));
	fake_link_down();
	be_ready();
	fake_answer(0, -ENOENT, NULL, 0);
	fake_answer(0, -EINVAL, NULL, 0);
	ck_assert_ptr_nonnull(strstr(heard, "cannot open again: no such"));
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), now + 500 * MS);
	turn(500);
	answer_open(shape(2, SECTORS, 512));
	ck_assert_ptr_null(rnbd_clt_dev_failed(dev));
}
END_TEST

/* The link is lost, of which the session is told later: no spinning. */
START_TEST(open_on_a_link_that_is_lost_is_tried_again)
{
	be_ready();
	fake_lose();
	want("disk", RNBD_ACCESS_RW);
	turn(0);
	ck_assert_int_eq(open_calls, 0);
	ck_assert_uint_eq(fake->n_out, 0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), now + 500 * MS);
	fake_link_down();
	be_ready();
	answer_open(shape(1, SECTORS, 512));
	ck_assert_int_eq(open_err, 0);
}
END_TEST

START_TEST(opener_that_gives_up_before_a_permit_leaves_nothing)
{
	rnbd_clt_free(clt);
	new_session(5000, 1000);
	be_ready();
	fake_take_all_but(0);
	want("disk", RNBD_ACCESS_RW);
	turn(0);
	ck_assert_ptr_nonnull(fake->waiters);
	turn(1000);
	ck_assert_int_eq(open_err, -ETIMEDOUT);
	ck_assert_ptr_null(fake->waiters);
	fake_give_one();
	ck_assert_uint_eq(fake->n_sent, 0);
}
END_TEST

/* An error, an answer that is none, and the words that nobody reads now. */
START_TEST(late_answer_that_opened_nothing_is_not_closed)
{
	rnbd_clt_free(clt);
	new_session(5000, 1000);
	want("disk", RNBD_ACCESS_RW);
	be_ready();
	if (_i == 2)
		fake_answer(0, -EPERM, NULL, 0);
	turn(0);
	turn(1000);
	ck_assert_int_eq(open_err, -ETIMEDOUT);
	fake_answer(0, _i == 0 ? -ENOENT : 0, NULL, 0);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), TIME_NEVER);
}
END_TEST

/* -------------------------------------------- readers beside a writer */

START_TEST(turn_without_a_path_goes_on_in_the_next_session)
{
	be_ready();
	opened("disk", RNBD_ACCESS_RO, shape(1, SECTORS, 512));
	fake_lose();
	want("disk", RNBD_ACCESS_RW);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 0);
	fake_link_down();
	be_ready();
	closes(1);
	answer_all();
	ck_assert(opens(0, "disk", RNBD_ACCESS_RW));
	answer_open(shape(2, SECTORS, 512));
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, 0);
}
END_TEST

START_TEST(reader_that_comes_beside_a_refused_writer_is_served)
{
	be_ready();
	opened("disk", RNBD_ACCESS_RO, shape(1, SECTORS, 512));
	want("disk", RNBD_ACCESS_RW);
	turn(0);
	want("disk", RNBD_ACCESS_RO);
	answer_all(); /* CLOSE */
	ck_assert(opens(0, "disk", RNBD_ACCESS_RW));
	fake_answer(0, -EPERM, NULL, 0);
	fake_answer(0, -EINVAL, NULL, 0);
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, -EPERM);
	turn(0);
	ck_assert(opens(0, "disk", RNBD_ACCESS_RO));
	answer_open(shape(2, SECTORS, 512));
	ck_assert_int_eq(open_calls, 3);
	ck_assert_int_eq(open_err, 0);
}
END_TEST

START_TEST(refused_writer_whose_reader_has_gone_is_the_last)
{
	struct rnbd_clt_dev *reader;

	be_ready();
	reader = opened("disk", RNBD_ACCESS_RO, shape(1, SECTORS, 512));
	want("disk", RNBD_ACCESS_RW);
	turn(0);
	rnbd_clt_dev_close(reader, on_closed, NULL);
	ck_assert_int_eq(closed_calls, 1);
	answer_all(); /* CLOSE */
	fake_answer(0, -EPERM, NULL, 0);
	fake_answer(0, -EINVAL, NULL, 0);
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, -EPERM);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), 0);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), TIME_NEVER);
}
END_TEST

/* ---------------------------------------------------------------- close */

START_TEST(device_is_closed_whatever_the_server_says)
{
	if (_i < 2)
		hear();
	open_disk();
	rnbd_clt_dev_close(dev, on_closed, NULL);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_CLOSE);
	fake_answer(0, _i ? -EINVAL : -ECONNABORTED, NULL, 0);
	ck_assert_int_eq(closed_calls, 1);
	ck_assert_int_eq(!!strstr(heard, "CLOSE failed"), _i == 1);
	turn(0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), TIME_NEVER);
}
END_TEST

/*
 * The server may have executed a CLOSE whose answer is lost with a path, and
 * given the id to the next device; the CLOSE is then sent by another path.
 */
START_TEST(open_waits_for_the_close_of_another)
{
	enum {
		LET_GO,
		TURNS,
		USELESS,
		NO_PERMIT,
	};
	struct rnbd_clt_dev *a;

	be_ready();
	a = opened("a", RNBD_ACCESS_RW, shape(0, SECTORS, 512));
	if (_i == TURNS)
		want("a", RNBD_ACCESS_RO);
	turn(0);
	if (_i == NO_PERMIT)
		fake_take_all_but(0);
	if (_i == USELESS) {
		fake_link_down();
		be_ready();
		answer_open(shape(0, SECTORS - 1, 512));
	} else {
		rnbd_clt_dev_close(a, on_closed, NULL);
	}
	want("b", RNBD_ACCESS_RW);
	turn(0);
	if (_i == NO_PERMIT) {
		ck_assert_uint_eq(fake->n_sent, 0);
		fake_give_one();
		fake_give_one();
	}
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 1);
	closes(0);
	/* It is not asked again and again. */
	ck_assert_uint_eq(rnbd_clt_deadline(clt), time_after_ms(now, 5000));
	fake_answer(0, 0, NULL, 0);
	ck_assert_uint_le(rnbd_clt_deadline(clt), now);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, _i == TURNS ? 2 : 1);
	ck_assert(opens(fake->n_sent - 1, "b", RNBD_ACCESS_RW));
}
END_TEST

/* A disk hangs, and the other devices are to be had. */
START_TEST(open_overtakes_a_close_that_takes_long)
{
	enum {
		NEW_ID,
		ITS_ID,
		ITS_ID_AND_END,
	};
	struct rnbd_msg_open_rsp m = shape(_i != NEW_ID ? 0 : 1, SECTORS, 512);
	uint8_t b[RNBD_OPEN_RSP_LEN];
	int calls;

	be_ready();
	rnbd_clt_dev_close(opened("a", RNBD_ACCESS_RW, shape(0, SECTORS, 512)),
			   on_closed, NULL);
	want("b", RNBD_ACCESS_RW);
	calls = open_calls;
	turn(4999);
	ck_assert_uint_eq(fake->n_sent, 1);
	turn(1);
	ck_assert_uint_eq(fake->n_sent, 2);
	ck_assert(opens(1, "b", RNBD_ACCESS_RW));
	rnbd_msg_open_rsp_encode(&m, b);
	if (_i == ITS_ID_AND_END)
		fake_answer(0, 0, NULL, 0);
	fake_answer(fake->n_sent - 1, 0, b, sizeof(b));
	ck_assert_int_eq(open_calls, calls + (_i == NEW_ID));
	if (_i == NEW_ID)
		return;
	/* The CLOSE may hit it still, or has: it is looked for again. */
	if (_i == ITS_ID)
		fake_answer(0, 0, NULL, 0);
	turn(0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), now + 500 * MS);
	turn(500);
	answer_open(m);
	ck_assert_int_eq(open_calls, calls + 1);
	ck_assert_int_eq(open_err, 0);
}
END_TEST

/* It may do so for long, and nobody gets its id meanwhile. */
START_TEST(open_does_not_wait_for_a_close_that_is_not_out)
{
	struct rnbd_clt_dev *a;

	be_ready();
	a = opened("a", RNBD_ACCESS_RW, shape(0, SECTORS, 512));
	rnbd_clt_dev_close(a, on_closed, NULL);
	fake_answer(0, -ENOMEM, NULL, 0);
	want("b", RNBD_ACCESS_RW);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 1);
	ck_assert(opens(0, "b", RNBD_ACCESS_RW));
}
END_TEST

/* Once at either end, here for good, or here until the session is lost. */
START_TEST(close_without_memory_is_tried_again)
{
	enum {
		HERE,
		THERE,
		FOR_GOOD,
		UNTIL_LOST
	};
	unsigned tries;

	open_disk();
	fake->submit_err = _i == THERE ? 0 : -ENOMEM;
	rnbd_clt_dev_close(dev, on_closed, NULL);
	if (_i == THERE)
		fake_answer(0, -ENOMEM, NULL, 0);
	want("disk", RNBD_ACCESS_RW);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), now + 500 * MS);
	turn(499);
	ck_assert_int_eq(closed_calls, 0);
	if (_i == UNTIL_LOST) {
		fake_link_down();
		ck_assert_int_eq(closed_calls, 1);
		return;
	}
	if (_i == FOR_GOOD) {
		hear();
		turn(1);
		for (tries = 2; !closed_calls; tries++)
			turn(500);
		ck_assert_uint_eq(tries, 10);
		ck_assert_ptr_nonnull(strstr(heard, "CLOSE failed"));
		return;
	}
	fake->submit_err = 0;
	turn(1);
	ck_assert_uint_eq(fake->n_sent, 1);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_CLOSE);
	fake_answer(0, 0, NULL, 0);
	ck_assert_int_eq(closed_calls, 1);
	turn(0);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_OPEN);
}
END_TEST

/* CLOSE is out, or waits for a permit. */
START_TEST(freed_while_it_is_closed)
{
	open_disk();
	if (_i)
		fake_take_all_but(0);
	rnbd_clt_dev_close(dev, on_closed, NULL);
	ck_assert_int_eq(closed_calls, 0);
	rnbd_clt_free(clt);
	clt = NULL;
	ck_assert_int_eq(closed_calls, 1);
}
END_TEST

static void
close_when_done(struct rnbd_clt_io *io, int err)
{
	ck_assert_int_eq(err, -ESHUTDOWN);
	rnbd_clt_dev_close(io->dev, on_closed, NULL);
}

/* Its last I/O ends with the session, and its user lets go of it then. */
START_TEST(closed_by_the_end_of_its_last_io_in_a_freed_session)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	t.io.done = close_when_done;
	rnbd_clt_free(clt);
	clt = NULL;
	ck_assert_int_eq(closed_calls, 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rnbd-devices");
	TCase *tc = tcase_create("devices");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, device_that_fails_takes_only_its_own_io);
	tcase_add_test(tc,
		       lost_device_is_opened_once_however_many_requests_tell);
	tcase_add_test(
		tc, device_that_the_server_loses_again_is_opened_with_pauses);
	tcase_add_loop_test(tc, second_opener_is_served_at_the_next_progress, 0,
			    2);
	tcase_add_test(tc, opener_beside_a_device_that_fails_is_told_why);
	tcase_add_test(tc, nothing_opens_in_a_session_that_failed);
	tcase_add_test(tc, second_kind_of_writer_does_not_hinder_the_first);
	tcase_add_test(tc, device_that_fails_leaves_what_others_have_queued);
	tcase_add_test(tc, names_that_are_none_are_refused);
	tcase_add_test(tc, server_without_an_address_is_the_server);
	tcase_add_test(tc, reason_that_cannot_be_asked_for_is_the_error);
	tcase_add_test(tc, reader_that_cannot_come_back_is_tried_again);
	tcase_add_test(tc, open_on_a_link_that_is_lost_is_tried_again);
	tcase_add_test(tc, opener_that_gives_up_before_a_permit_leaves_nothing);
	tcase_add_loop_test(tc, late_answer_that_opened_nothing_is_not_closed,
			    0, 3);
	tcase_add_test(tc, turn_without_a_path_goes_on_in_the_next_session);
	tcase_add_test(tc, reader_that_comes_beside_a_refused_writer_is_served);
	tcase_add_test(tc, refused_writer_whose_reader_has_gone_is_the_last);
	tcase_add_loop_test(tc, device_is_closed_whatever_the_server_says, 0,
			    3);
	tcase_add_loop_test(tc, open_waits_for_the_close_of_another, 0, 4);
	tcase_add_loop_test(tc, open_overtakes_a_close_that_takes_long, 0, 3);
	tcase_add_test(tc, open_does_not_wait_for_a_close_that_is_not_out);
	tcase_add_loop_test(tc, close_without_memory_is_tried_again, 0, 4);
	tcase_add_loop_test(tc, freed_while_it_is_closed, 0, 2);
	tcase_add_test(tc, closed_by_the_end_of_its_last_io_in_a_freed_session);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
