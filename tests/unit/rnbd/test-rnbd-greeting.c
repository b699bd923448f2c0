/* SPDX-License-Identifier: BSD-3-Clause */
/* The session itself: greeting, those who wait for it, and its end. */
#include "tests/unit/rnbd/rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int ready_calls, ready_err;
static char ready_text[512];

static void
on_ready(void *user, int err, const char *text)
{
	(void)user;
	ready_calls++;
	ready_err = err;
	snprintf(ready_text, sizeof(ready_text), "%s", text);
}

static void
wait_ready(void)
{
	ck_assert_int_eq(rnbd_clt_wait_ready(clt, on_ready, NULL), 0);
}

static void
begin(void)
{
	setup();
	ready_calls = 0;
	ready_err = 1;
}

/* ------------------------------------------------------- those who wait */

START_TEST(ready_is_told_when_devices_can_be_opened)
{
	wait_ready();
	turn(0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), TIME_NEVER);
	fake_link_up(8, MAX_IO);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), TIME_NEVER);
	answer_greeting();
	ck_assert_int_eq(ready_calls, 0); /* not from within */
	ck_assert_uint_eq(rnbd_clt_deadline(clt), 0);
	turn(0);
	ck_assert_int_eq(ready_calls, 1);
	ck_assert_int_eq(ready_err, 0);
	ck_assert_str_eq(ready_text, "");
	turn(0);
	ck_assert_int_eq(ready_calls, 1);
}
END_TEST

/* Without a reason of the engine's it is an error all the same. */
START_TEST(ready_tells_of_a_session_that_failed)
{
	wait_ready();
	fake->p.failed(fake->p.user, _i ? -ECONNREFUSED : 0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), 0);
	turn(0);
	ck_assert_int_eq(ready_calls, 1);
	ck_assert_int_eq(ready_err, _i ? -ECONNREFUSED : -EIO);
	ck_assert_str_eq(ready_text, "fake:peer: connection refused");
	ck_assert(rnbd_clt_failed(clt));
}
END_TEST

START_TEST(ready_ends_with_a_session_that_is_closed)
{
	wait_ready();
	rnbd_clt_close(clt);
	turn(0);
	ck_assert_int_eq(ready_calls, 1);
	ck_assert_int_eq(ready_err, -ESHUTDOWN);
}
END_TEST

START_TEST(ready_ends_with_a_session_that_is_freed)
{
	wait_ready();
	rnbd_clt_free(clt);
	clt = NULL;
	ck_assert_int_eq(ready_calls, 1);
	ck_assert_int_eq(ready_err, -ESHUTDOWN);
}
END_TEST

START_TEST(each_waits_for_ready_as_long_as_it_may)
{
	rnbd_clt_free(clt);
	new_session(5000, 1000);
	wait_ready();
	turn(0);
	turn(600);
	wait_ready();
	turn(0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), now + 400 * MS);
	turn(400);
	ck_assert_int_eq(ready_calls, 1);
	ck_assert_int_eq(ready_err, -ETIMEDOUT);
	ck_assert_str_eq(ready_text, "no answer within 1000 ms: "
				     "fake:peer: connection refused");
	ck_assert_uint_eq(rnbd_clt_deadline(clt), now + 600 * MS);
	be_ready();
	turn(0);
	ck_assert_int_eq(ready_calls, 2);
	ck_assert_int_eq(ready_err, 0);
}
END_TEST

START_TEST(silence_without_a_known_reason_names_the_server)
{
	rnbd_clt_free(clt);
	new_session(5000, 1000);
	fake->why_down = "";
	wait_ready();
	turn(0);
	turn(1000);
	ck_assert_int_eq(ready_err, -ETIMEDOUT);
	ck_assert_str_eq(ready_text,
			 "no answer within 1000 ms from fake:127.0.0.1:1234");
	fake->path_info_err = -ENOENT;
	wait_ready();
	turn(1000);
	turn(1000);
	ck_assert_str_eq(ready_text, "no answer within 1000 ms");
}
END_TEST

/* ------------------------------------------------------------- greeting */

START_TEST(greeting_waits_for_a_permit)
{
	fake->depth = 8;
	fake_take_all_but(0);
	fake_link_up(8, MAX_IO);
	ck_assert_uint_eq(fake->n_sent, 0);
	fake_give_one();
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_SESS_INFO);
	answer_greeting();
	ck_assert(rnbd_clt_is_up(clt));
}
END_TEST

START_TEST(greeting_that_waits_is_taken_back_at_a_loss)
{
	fake->depth = 8;
	fake_take_all_but(0);
	fake_link_up(8, MAX_IO);
	ck_assert_ptr_nonnull(fake->waiters);
	fake_link_down();
	ck_assert_ptr_null(fake->waiters);
	fake_give_one();
	be_ready();
	ck_assert(rnbd_clt_is_up(clt));
}
END_TEST

/* Permit in hand, and no memory for the request. */
START_TEST(greeting_that_cannot_be_sent_later_starts_over)
{
	fake->depth = 8;
	fake_take_all_but(0);
	fake_link_up(8, MAX_IO);
	fake->submit_err = -ENOMEM;
	fake_give_one();
	ck_assert_uint_eq(fake->resets, 1);
	ck_assert_uint_eq(fake->n_out, 7);
}
END_TEST

START_TEST(greeting_whose_path_is_gone_again_waits_for_link_down)
{
	fake->submit_err = -ECONNABORTED;
	fake_link_up(8, MAX_IO);
	ck_assert_uint_eq(fake->resets, 0);
	ck_assert_uint_eq(fake->n_out, 0);
	fake->submit_err = 0;
	fake_link_down();
	be_ready();
	ck_assert(rnbd_clt_is_up(clt));
}
END_TEST

START_TEST(greeting_lost_with_the_last_path_is_not_said_again)
{
	fake_link_up(8, MAX_IO);
	fake_lose();
	fake_answer(0, -ECONNABORTED, NULL, 0);
	ck_assert_uint_eq(fake->n_sent, 0);
	ck_assert_uint_eq(fake->resets, 0);
	fake_link_down();
	be_ready();
	ck_assert(rnbd_clt_is_up(clt));
}
END_TEST

/* An error, and an answer that is none. */
START_TEST(greeting_that_is_refused_starts_over)
{
	hear();
	fake_link_up(8, MAX_IO);
	fake_answer(0, _i ? -EINVAL : 0, NULL, 0);
	ck_assert_uint_eq(fake->resets, 1);
	ck_assert(!rnbd_clt_is_up(clt));
	ck_assert_ptr_nonnull(strstr(heard, "SESS_INFO failed"));
}
END_TEST

START_TEST(greeting_without_memory_is_logged)
{
	hear();
	fake->submit_err = -ENOMEM;
	fake_link_up(8, MAX_IO);
	ck_assert_uint_eq(fake->resets, 1);
	ck_assert_ptr_nonnull(strstr(heard, "cannot greet"));
}
END_TEST

/* ------------------------------------------------------------------ end */

START_TEST(closing_session_hears_of_nothing_any_more)
{
	fake->lingers = true;
	if (_i)
		fake_link_up(8, MAX_IO);
	rnbd_clt_close(clt);
	rnbd_clt_close(clt);
	if (_i)
		answer_greeting();
	else
		fake_link_up(8, MAX_IO);
	ck_assert_uint_eq(fake->n_sent, 0);
	ck_assert(!rnbd_clt_is_up(clt));
	fake_link_down();
	fake->p.failed(fake->p.user, -ECONNREFUSED);
	ck_assert(!rnbd_clt_failed(clt));
	turn(0);
	ck_assert(!rnbd_clt_closed(clt));
	fake->lingers = false;
	turn(0);
	ck_assert(rnbd_clt_closed(clt));
}
END_TEST

START_TEST(what_the_engine_cannot_do_is_passed_on)
{
	struct rnbd_clt_params p = {.rtrs = {.name = "s"}};
	struct rnbd_clt *none = clt;

	fake_new_err = -ENOMEM;
	ck_assert_int_eq(rnbd_clt_new(&p, &none), -ENOMEM);
	ck_assert_ptr_eq(none, clt); /* untouched */
	rnbd_clt_free(NULL);
	rnbd_stats_free(NULL);
}
END_TEST

START_TEST(arm_knows_of_what_is_still_to_be_done)
{
	struct test_io t;

	open_disk();
	turn(0);
	ck_assert(!rnbd_clt_arm(clt));
	fake->busy = true;
	ck_assert(rnbd_clt_arm(clt));
	fake->busy = false;
	submit(&t, RNBD_CLT_READ, 0, 0, 0);
	ck_assert(rnbd_clt_arm(clt));
	ck_assert_uint_eq(rnbd_clt_deadline(clt), 0);
	turn(0);
	ck_assert(!rnbd_clt_arm(clt));
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rnbd-greeting");
	TCase *tc = tcase_create("session");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, begin, teardown);
	tcase_add_test(tc, ready_is_told_when_devices_can_be_opened);
	tcase_add_loop_test(tc, ready_tells_of_a_session_that_failed, 0, 2);
	tcase_add_test(tc, ready_ends_with_a_session_that_is_closed);
	tcase_add_test(tc, ready_ends_with_a_session_that_is_freed);
	tcase_add_test(tc, each_waits_for_ready_as_long_as_it_may);
	tcase_add_test(tc, silence_without_a_known_reason_names_the_server);
	tcase_add_test(tc, greeting_waits_for_a_permit);
	tcase_add_test(tc, greeting_that_waits_is_taken_back_at_a_loss);
	tcase_add_test(tc, greeting_that_cannot_be_sent_later_starts_over);
	tcase_add_test(tc,
		       greeting_whose_path_is_gone_again_waits_for_link_down);
	tcase_add_test(tc, greeting_lost_with_the_last_path_is_not_said_again);
	tcase_add_loop_test(tc, greeting_that_is_refused_starts_over, 0, 2);
	tcase_add_test(tc, greeting_without_memory_is_logged);
	tcase_add_loop_test(tc, closing_session_hears_of_nothing_any_more, 0,
			    2);
	tcase_add_test(tc, what_the_engine_cannot_do_is_passed_on);
	tcase_add_test(tc, arm_knows_of_what_is_still_to_be_done);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
