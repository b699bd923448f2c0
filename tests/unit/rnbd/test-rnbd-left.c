/* SPDX-License-Identifier: BSD-3-Clause */
/* A server that keeps the session, and what is open in it, when the client has
 * lost all paths. */
#include "tests/unit/rnbd/rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The OPEN that is out first. */
static void
opens(const char *name, enum rnbd_access_mode mode)
{
	struct rnbd_msg_open m;

	ck_assert_uint_eq(sent_type(0), RNBD_MSG_OPEN);
	ck_assert_int_eq(rnbd_msg_open_decode(fake->sent[0].usr,
					      fake->sent[0].usr_len, &m),
			 0);
	ck_assert_str_eq(m.dev_name, name);
	ck_assert_uint_eq(m.access_mode, mode);
}

/* Nothing is out, nor will be. */
static void
nothing_is_left(void)
{
	turn(0);
	turn(5000);
	ck_assert_uint_eq(fake->n_sent, 0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), TIME_NEVER);
}

/* --------------------------------------------------- the id is known */

/* The other devices are opened again when that has been answered. */
START_TEST(let_go_while_the_link_is_down)
{
	struct rnbd_clt_dev *a;

	be_ready();
	a = opened("a", RNBD_ACCESS_RW, shape(0, SECTORS, 512));
	opened("b", RNBD_ACCESS_RW, shape(1, SECTORS, 512));
	fake_link_down();
	rnbd_clt_dev_close(a, on_closed, NULL);
	ck_assert_int_eq(closed_calls, 1);
	turn(0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), TIME_NEVER);
	be_ready();
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 1);
	closes(0);
	answer_all();
	ck_assert_uint_eq(fake->n_sent, 1);
	opens("b", RNBD_ACCESS_RW);
	answer_open(shape(0, SECTORS, 512));
	nothing_is_left();
	ck_assert_int_eq(closed_calls, 1);
}
END_TEST

/* CLOSE was out, or was not sent yet: for a permit, for memory, for a path. */
START_TEST(lost_while_it_is_closed)
{
	enum {
		OUT,
		NO_PERMIT,
		NO_MEMORY,
		NO_PATH,
	};

	open_disk();
	if (_i == NO_PERMIT)
		fake_take_all_but(0);
	if (_i == NO_MEMORY)
		fake->submit_err = -ENOMEM;
	if (_i == NO_PATH)
		fake_lose();
	rnbd_clt_dev_close(dev, on_closed, NULL);
	fake->submit_err = 0;
	turn(0);
	fake_link_down();
	ck_assert_int_eq(closed_calls, 1);
	while (_i == NO_PERMIT && fake->n_out)
		fake_give_one();
	turn(0);
	be_ready();
	closes(7);
	/* Once more in the next session. */
	fake_link_down();
	be_ready();
	closes(7);
	/* Whatever the answer is, the server does not have it. */
	fake_answer(0, -EINVAL, NULL, 0);
	nothing_is_left();
	ck_assert_int_eq(closed_calls, 1);
}
END_TEST

START_TEST(useless_device_is_closed_there)
{
	open_disk();
	fake_link_down();
	be_ready();
	answer_open(shape(3, SECTORS - 1, 512));
	closes(3);
	fake_link_down();
	be_ready();
	closes(3);
	answer_all();
	ck_assert_ptr_nonnull(rnbd_clt_dev_failed(dev));
	nothing_is_left();
}
END_TEST

START_TEST(writer_that_comes_while_the_link_is_down_gets_a_writer)
{
	struct rnbd_clt_dev *reader;

	be_ready();
	reader = opened("disk", RNBD_ACCESS_RO, shape(7, SECTORS, 512));
	fake_link_down();
	if (_i) /* of another NBD client, or of the same once more */
		let_go(reader);
	turn(0);
	want("disk", RNBD_ACCESS_RW);
	turn(0);
	be_ready();
	ck_assert_uint_eq(fake->n_sent, 1);
	closes(7);
	answer_all();
	opens("disk", RNBD_ACCESS_RW);
	answer_open(shape(8, SECTORS, 512));
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, 0);
	nothing_is_left();
}
END_TEST

START_TEST(who_comes_back_in_time_finds_it_as_it_was)
{
	open_disk();
	fake_link_down();
	let_go(dev);
	turn(0);
	want("disk", RNBD_ACCESS_RW);
	turn(0);
	be_ready();
	ck_assert_uint_eq(fake->n_sent, 1);
	opens("disk", RNBD_ACCESS_RW);
	answer_open(shape(7, SECTORS, 512));
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, 0);
	nothing_is_left();
}
END_TEST

/* However often it comes and goes meanwhile. */
START_TEST(one_name_is_closed_once)
{
	open_disk();
	fake_link_down();
	for (int i = 0; i < 5; i++) {
		let_go(dev);
		if (_i)
			turn(0);
		want("disk", RNBD_ACCESS_RO);
		turn(0);
		be_ready();
		closes(7);
		ck_assert_uint_eq(fake->n_sent, 1);
		answer_all();
		opens("disk", RNBD_ACCESS_RO);
		answer_open(shape(7, SECTORS, 512));
		fake_link_down();
		let_go(dev);
		turn(0);
		want("disk", RNBD_ACCESS_RW);
		be_ready();
		closes(7);
		ck_assert_uint_eq(fake->n_sent, 1);
		answer_all();
		opens("disk", RNBD_ACCESS_RW);
		answer_open(shape(7, SECTORS, 512));
		fake_link_down();
	}
	let_go(dev);
	be_ready();
	closes(7);
	answer_all();
	nothing_is_left();
}
END_TEST

/* The id belongs to somebody else then: it is found by the name. */
START_TEST(close_without_memory_looks_for_it_later)
{
	struct rnbd_clt_dev *a;

	be_ready();
	a = opened("a", RNBD_ACCESS_RW, shape(0, SECTORS, 512));
	opened("b", RNBD_ACCESS_RW, shape(1, SECTORS, 512));
	fake_link_down();
	let_go(a);
	turn(0);
	fake_link_up(8, MAX_IO);
	fake->submit_err = _i ? 0 : -ENOMEM;
	answer_greeting();
	fake->submit_err = 0;
	if (_i)
		fake_answer(0, -ENOMEM, NULL, 0);
	turn(0);
	while (fake->n_sent < 2)
		turn(500);
	opens("a", RNBD_ACCESS_RO);
	answer_open(shape(2, SECTORS, 512));
	opens("b", RNBD_ACCESS_RW);
	answer_open(shape(0, SECTORS, 512));
	closes(2);
	answer_all();
	nothing_is_left();
}
END_TEST

/* --------------------------------------------------- the id is not known */

START_TEST(open_without_an_answer_that_nobody_wants_any_more)
{
	rnbd_clt_free(clt);
	new_session(5000, 1000);
	want("disk", RNBD_ACCESS_RW);
	be_ready();
	if (_i) {
		/* Given up before the loss, or after. */
		turn(0);
		turn(1000);
		ck_assert_int_eq(open_err, -ETIMEDOUT);
	}
	fake_link_down();
	turn(0);
	turn(1000);
	ck_assert_int_eq(open_calls, 1);
	ck_assert_int_eq(open_err, -ETIMEDOUT);
	be_ready();
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 1);
	opens("disk", RNBD_ACCESS_RO);
	if (_i) {
		/* The server had not executed it, or has closed it. */
		fake_answer(0, -ENOENT, NULL, 0);
	} else {
		answer_open(shape(3, SECTORS, 512));
		closes(3);
		answer_all();
	}
	nothing_is_left();
	ck_assert_int_eq(open_calls, 1);
}
END_TEST

START_TEST(open_without_an_answer_in_another_mode)
{
	struct rnbd_clt_dev *reader;

	be_ready();
	reader = opened("disk", RNBD_ACCESS_RO, shape(7, SECTORS, 512));
	fake_link_down();
	be_ready();
	opens("disk", RNBD_ACCESS_RO);
	fake_link_down();
	want("disk", RNBD_ACCESS_RW);
	be_ready();
	opens("disk", RNBD_ACCESS_RW);
	/* This is lost as well: now it may be open in either. */
	if (_i) {
		fake_link_down();
		be_ready();
		opens("disk", RNBD_ACCESS_RW);
	}
	answer_open(shape(9, SECTORS, 512));
	ck_assert_int_eq(open_calls, 1);
	ck_assert_uint_eq(fake->n_sent, 1);
	closes(9);
	/* Until then there is nothing that a user could write to. */
	fake_answer(0, -ENOMEM, NULL, 0);
	turn(0);
	ck_assert_int_eq(open_calls, 1);
	ck_assert_uint_eq(fake->n_sent, 0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), now + 500 * MS);
	turn(500);
	closes(9);
	answer_all();
	opens("disk", RNBD_ACCESS_RW);
	answer_open(shape(9, SECTORS, 512));
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, 0);
	nothing_is_left();
	let_go(reader);
}
END_TEST

/* An OPEN got no answer, nobody wants the device any more, and it is looked for
 * in the next session. */
static void
search(void)
{
	rnbd_clt_free(clt);
	new_session(5000, 1000);
	want("disk", RNBD_ACCESS_RW);
	be_ready();
	fake_link_down();
	turn(0);
	turn(1000);
	be_ready();
	turn(0);
}

/* A server without memory is not asked for ever. */
START_TEST(search_ends)
{
	unsigned tries = 0;

	hear();
	search();
	while (fake->n_sent) {
		tries++;
		fake_answer(0, -ENOMEM, NULL, 0);
		turn(0);
		ck_assert_uint_eq(fake->n_sent, 0);
		turn(500);
	}
	ck_assert_uint_eq(tries, 10);
	ck_assert_ptr_nonnull(strstr(heard, "may have it open"));
	nothing_is_left();
}
END_TEST

START_TEST(answer_that_is_none_ends_the_search)
{
	search();
	fake_answer(0, 0, NULL, 0);
	nothing_is_left();
}
END_TEST

/* Its id was given again before the CLOSE of the last one was answered. */
START_TEST(id_of_a_device_that_is_being_closed_is_not_used)
{
	struct rnbd_clt_dev *a;
	uint8_t b[RNBD_OPEN_RSP_LEN];
	struct rnbd_msg_open_rsp m = shape(0, SECTORS, 512);

	be_ready();
	a = opened("a", RNBD_ACCESS_RW, shape(0, SECTORS, 512));
	want("b", RNBD_ACCESS_RW);
	turn(0);
	opens("b", RNBD_ACCESS_RW);
	let_go(a);
	rnbd_msg_open_rsp_encode(&m, b);
	fake_answer(0, 0, b, sizeof(b));
	turn(0);
	ck_assert_int_eq(open_calls, 1);
	ck_assert_uint_eq(fake->n_sent, 1);
	closes(0);
	answer_all();
	ck_assert_uint_eq(fake->n_sent, 1);
	opens("b", RNBD_ACCESS_RW);
	answer_open(m);
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, 0);
}
END_TEST

/* Nobody closes anything in a session that ends. */
START_TEST(end_of_the_session_forgets)
{
	open_disk();
	fake_link_down();
	let_go(dev);
	turn(0);
	if (_i)
		rnbd_clt_close(clt);
	else
		fake->p.failed(fake->p.user, -ECONNREFUSED);
	turn(0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), TIME_NEVER);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rnbd-left");
	TCase *tc = tcase_create("left");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, let_go_while_the_link_is_down);
	tcase_add_loop_test(tc, lost_while_it_is_closed, 0, 4);
	tcase_add_test(tc, useless_device_is_closed_there);
	tcase_add_loop_test(
		tc, writer_that_comes_while_the_link_is_down_gets_a_writer, 0,
		2);
	tcase_add_test(tc, who_comes_back_in_time_finds_it_as_it_was);
	tcase_add_loop_test(tc, one_name_is_closed_once, 0, 2);
	tcase_add_loop_test(tc, close_without_memory_looks_for_it_later, 0, 2);
	tcase_add_loop_test(
		tc, open_without_an_answer_that_nobody_wants_any_more, 0, 2);
	tcase_add_loop_test(tc, open_without_an_answer_in_another_mode, 0, 2);
	tcase_add_test(tc, search_ends);
	tcase_add_test(tc, answer_that_is_none_ends_the_search);
	tcase_add_test(tc, id_of_a_device_that_is_being_closed_is_not_used);
	tcase_add_loop_test(tc, end_of_the_session_forgets, 0, 2);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
