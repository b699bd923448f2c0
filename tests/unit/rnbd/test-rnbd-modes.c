/* SPDX-License-Identifier: BSD-3-Clause */
/* Readers and writers of one device, of which the server knows one mapping. */
#include "tests/unit/rnbd/rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void
want_disk(enum rnbd_access_mode mode)
{
	want("disk", mode);
	turn(0);
}

/* The OPEN that is out asks for this. */
static void
asks_for(enum rnbd_access_mode mode)
{
	struct rnbd_msg_open m;

	ck_assert_uint_eq(sent_type(0), RNBD_MSG_OPEN);
	ck_assert_int_eq(rnbd_msg_open_decode(fake->sent[0].usr,
					      fake->sent[0].usr_len, &m),
			 0);
	ck_assert_uint_eq(m.access_mode, mode);
}

static void
open_reader(void)
{
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RO, on_opened, NULL),
		0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	asks_for(RNBD_ACCESS_RO);
	answer_open(shape(7, SECTORS, 512));
	ck_assert_int_eq(open_err, 0);
}

/* CLOSE is out; the server has done it. */
static void
answer_close(void)
{
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_CLOSE);
	fake_answer(0, 0, NULL, 0);
	turn(0);
}

static void
nothing(void *user)
{
	(void)user;
}

START_TEST(reader_shares_what_a_writer_has)
{
	struct test_io t;

	open_disk();
	want_disk(RNBD_ACCESS_RO);
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, 0);
	ck_assert_uint_eq(fake->n_sent, 0);
	/* It can read, and that is all. */
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	ck_assert_uint_eq(fake->n_sent, 1);
	fake_answer(0, 0, buf, 512);
	turn(0);
	ck_assert_int_eq(t.err, 0);
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	turn(0);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -EROFS);
	submit(&t, RNBD_CLT_DISCARD, 0, 512, 0);
	turn(0);
	ck_assert_int_eq(t.err, -EROFS);
}
END_TEST

START_TEST(first_writer_turns_the_mapping)
{
	struct rnbd_clt_dev *reader, *writer;
	struct test_io t;

	open_reader();
	reader = dev;
	want_disk(RNBD_ACCESS_RW);
	ck_assert_int_eq(open_calls, 1);
	/* What comes meanwhile waits. */
	dev = reader;
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	ck_assert_uint_eq(fake->n_sent, 1);
	answer_close();
	asks_for(RNBD_ACCESS_RW);
	ck_assert_uint_eq(fake->n_sent, 1);
	answer_open(shape(8, SECTORS, 512));
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, 0);
	writer = dev;
	ck_assert_ptr_ne(writer, reader);
	ck_assert_uint_eq(sent_io(0).device_id, 8);
	fake_answer(0, 0, buf, 512);
	turn(0);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	fake_answer(0, 0, NULL, 0);
	turn(0);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

/* The server may give its id to whatever is opened next. */
START_TEST(turn_waits_for_what_is_under_way)
{
	struct rnbd_clt_dev *reader;
	struct test_io out, next;

	open_reader();
	reader = dev;
	submit(&out, RNBD_CLT_READ, 0, 512, 0);
	want_disk(RNBD_ACCESS_RW);
	dev = reader;
	submit(&next, RNBD_CLT_READ, 0, 512, 0);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 1);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), now + 5000 * MS);
	if (_i == 0) {
		fake_answer(0, 0, buf, 512);
		ck_assert_uint_eq(rnbd_clt_deadline(clt), 0);
		turn(0);
		answer_close();
		asks_for(RNBD_ACCESS_RW);
		answer_open(shape(8, SECTORS, 512));
		ck_assert_uint_eq(sent_io(0).device_id, 8);
		answer_all();
	} else {
		/* Or for the end of the session. */
		fake_link_down();
		be_ready();
		answer_close();
		asks_for(RNBD_ACCESS_RW);
		answer_open(shape(8, SECTORS, 512));
		ck_assert_uint_eq(fake->n_sent, 2);
		answer_all();
	}
	turn(0);
	ck_assert_int_eq(out.calls + next.calls, 2);
	ck_assert_int_eq(out.err + next.err, 0);
}
END_TEST

/* All let go of it meanwhile. */
START_TEST(turn_that_waits_ends_with_its_last_user)
{
	struct rnbd_clt_dev *reader;
	struct test_io t;

	rnbd_clt_free(clt);
	new_session(5000, 1000);
	open_reader();
	reader = dev;
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	want_disk(RNBD_ACCESS_RW);
	turn(1000);
	ck_assert_int_eq(open_err, -ETIMEDOUT);
	fake_answer(0, 0, buf, 512);
	turn(0);
	closes(7);
	let_go(reader);
	answer_all();
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), TIME_NEVER);
}
END_TEST

/* Nor is anything opened while requests for what was closed are out. */
START_TEST(open_waits_for_requests_of_a_device_that_was_closed)
{
	struct test_io t[2];

	be_ready();
	dev = opened("disk", RNBD_ACCESS_RW, shape(0, SECTORS, 512));
	submit(&t[0], RNBD_CLT_WRITE, 0, 512, 0);
	submit(&t[1], RNBD_CLT_WRITE, 512, 512, 0);
	fake_answer(0, -ENOTCONN, NULL, 0);
	want("other", RNBD_ACCESS_RW);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 1);
	ck_assert_uint_gt(rnbd_clt_deadline(clt), now);
	fake_answer(0, -ENOTCONN, NULL, 0);
	ck_assert_uint_le(rnbd_clt_deadline(clt), now);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 2);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_OPEN);
	ck_assert_uint_eq(sent_type(1), RNBD_MSG_OPEN);
	/* The last I/O of a test ends within it. */
	rnbd_clt_free(clt);
	clt = NULL;
	ck_assert_int_eq(t[0].calls + t[1].calls, 2);
}
END_TEST

/* At this end, or at the other. */
START_TEST(turn_without_memory_leaves_it_as_it_was)
{
	struct rnbd_clt_dev *reader;
	struct test_io t;

	open_reader();
	reader = dev;
	fake->submit_err = _i ? 0 : -ENOMEM;
	want_disk(RNBD_ACCESS_RW);
	fake->submit_err = 0;
	if (_i)
		fake_answer(0, -ENOMEM, NULL, 0);
	dev = reader;
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	ck_assert_uint_eq(sent_io(0).device_id, 7);
	answer_all();
	turn(0);
	ck_assert_int_eq(t.err, 0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), now + 500 * MS);
	turn(499);
	ck_assert_uint_eq(fake->n_sent, 0);
	turn(1);
	answer_close();
	asks_for(RNBD_ACCESS_RW);
	answer_open(shape(8, SECTORS, 512));
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, 0);
}
END_TEST

START_TEST(last_writer_leaves_it_to_the_readers)
{
	struct rnbd_clt_dev *writer;
	struct test_io t;

	open_disk();
	writer = dev;
	want_disk(RNBD_ACCESS_RO);
	rnbd_clt_dev_close(writer, nothing, NULL);
	turn(0);
	answer_close();
	asks_for(RNBD_ACCESS_RO);
	answer_open(shape(9, SECTORS, 512));
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	ck_assert_uint_eq(sent_io(0).device_id, 9);
	fake_answer(0, 0, buf, 512);
	turn(0);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

START_TEST(writer_that_is_refused_harms_no_reader)
{
	struct rnbd_clt_dev *reader;
	struct test_io t;

	open_reader();
	reader = dev;
	want_disk(RNBD_ACCESS_RW);
	answer_close();
	asks_for(RNBD_ACCESS_RW);
	dev = reader;
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	fake_answer(0, -EPERM, NULL, 0);
	turn(0);
	/* Why, in words; the server knows none. */
	fake_answer(0, -EINVAL, NULL, 0);
	turn(0);
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, -EPERM);
	ck_assert(strstr(open_text, "busy"));
	asks_for(RNBD_ACCESS_RO);
	answer_open(shape(9, SECTORS, 512));
	ck_assert_uint_eq(sent_io(0).device_id, 9);
	fake_answer(0, 0, buf, 512);
	turn(0);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

START_TEST(lost_while_it_turns)
{
	struct rnbd_clt_dev *reader;
	struct test_io t;

	open_reader();
	reader = dev;
	want_disk(RNBD_ACCESS_RW);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_CLOSE);
	fake_link_down();
	turn(0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	answer_close();
	asks_for(RNBD_ACCESS_RW);
	answer_open(shape(8, SECTORS, 512));
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, 0);
	dev = reader;
	submit(&t, RNBD_CLT_READ, 0, 512, 0);
	fake_answer(0, 0, buf, 512);
	turn(0);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

START_TEST(closed_while_it_turns)
{
	struct rnbd_clt_dev *writer;

	open_disk();
	writer = dev;
	want_disk(RNBD_ACCESS_RO);
	rnbd_clt_dev_close(writer, nothing, NULL);
	turn(0);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_CLOSE);
	rnbd_clt_dev_close(dev, nothing, NULL);
	/* Whoever comes now waits until the old mapping is gone. */
	want_disk(RNBD_ACCESS_RW);
	ck_assert_uint_eq(fake->n_sent, 1);
	answer_close();
	asks_for(RNBD_ACCESS_RW);
	answer_open(shape(8, SECTORS, 512));
	ck_assert_int_eq(open_calls, 3);
	ck_assert_int_eq(open_err, 0);
}
END_TEST

START_TEST(two_kinds_of_writers_do_not_mix)
{
	open_disk();
	want_disk(RNBD_ACCESS_MIGRATION);
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, -EBUSY);
	ck_assert(strstr(open_text, "access_mode=rw"));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rnbd-modes");
	TCase *tc = tcase_create("modes");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, reader_shares_what_a_writer_has);
	tcase_add_test(tc, first_writer_turns_the_mapping);
	tcase_add_loop_test(tc, turn_waits_for_what_is_under_way, 0, 2);
	tcase_add_test(tc, turn_that_waits_ends_with_its_last_user);
	tcase_add_test(tc, open_waits_for_requests_of_a_device_that_was_closed);
	tcase_add_loop_test(tc, turn_without_memory_leaves_it_as_it_was, 0, 2);
	tcase_add_test(tc, last_writer_leaves_it_to_the_readers);
	tcase_add_test(tc, writer_that_is_refused_harms_no_reader);
	tcase_add_test(tc, lost_while_it_turns);
	tcase_add_test(tc, closed_while_it_turns);
	tcase_add_test(tc, two_kinds_of_writers_do_not_mix);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
