/* SPDX-License-Identifier: BSD-3-Clause */
/* One device: what its backend can do, who is its twin, and what is logged. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/session.h"
#include "tests/unit/gateway/server-rig.h"

static const char *
explained(void)
{
	static char text[RNBD_EXPLAIN_RSP_LEN];
	uint8_t usr[RNBD_EXPLAIN_LEN];
	struct rig_op op;

	rnbd_msg_explain_encode(usr);
	rig_request(rig_sess, &op, RTRS_READ, usr, sizeof(usr),
		    RNBD_EXPLAIN_RSP_LEN);
	ck_assert_int_eq(op.err, 0);
	memcpy(text, op.data, sizeof(text));
	return text;
}

static int
open_err(const char *name)
{
	struct rig_op op;

	rig_open(&op, name, RNBD_ACCESS_RW);
	rig_settle();
	return op.err;
}

/* ------------------------------------------- backends of the worker's loop */

START_TEST(attached_before_it_is_used_and_detached_before_it_is_closed)
{
	struct rig_export *ex = rig_add_export("nbd");
	struct rig_op read, close;
	uint32_t id;

	ex->attaches = true;
	id = rig_opened("nbd", RNBD_ACCESS_RW);
	ck_assert_uint_eq(ex->attached, 1);
	rig_io(&read, id, RNBD_OP_READ, 0, 512);
	rig_close(&close, id);
	ck_assert_uint_eq(ex->detached, 1);
	rig_complete(0);
	ck_assert_int_eq(read.err, 0);
	/* All its operations have ended, and still it may be in the loop. */
	rig_settle();
	ck_assert_int_eq(close.err, RIG_PENDING);
	ck_assert_uint_eq(ex->closes, 0);
	rig_complete(0);
	rig_settle();
	ck_assert_int_eq(close.err, 0);
	ck_assert_uint_eq(ex->closes, 1);
}
END_TEST

START_TEST(device_that_cannot_be_attached_is_closed_and_has_no_id)
{
	struct rig_export *ex = rig_add_export("nbd");
	struct rig_op op;

	ex->attaches = true;
	ex->attach_err = -EMFILE;
	ck_assert_int_eq(open_err("nbd"), -EMFILE);
	ck_assert_str_eq(explained(), strerror(EMFILE));
	ck_assert_uint_eq(ex->closes, 1);
	ck_assert_uint_eq(ex->detached, 0);
	rig_io(&op, 0, RNBD_OP_READ, 0, 512);
	ck_assert_int_eq(op.err, -ENOTCONN);
	/* Its id goes to the next. */
	ex->attach_err = 0;
	ck_assert_uint_eq(rig_opened("nbd", RNBD_ACCESS_RW), 0);
	rig_close(&op, 0);
	rig_complete(0);
	rig_settle();
	ck_assert_int_eq(op.err, 0);
}
END_TEST

START_TEST(backend_without_a_queue_is_not_kicked)
{
	struct rig_export *ex = rig_add_export("null");
	struct rig_op op;
	uint32_t id;

	ex->plain = true;
	id = rig_opened("null", RNBD_ACCESS_RW);
	rig_io(&op, id, RNBD_OP_READ, 0, 512);
	gw_server_kick(rig.server);
	ck_assert_uint_eq(rig.kicks, 0);
	rig_complete(0);
	ck_assert_int_eq(op.err, 0);
}
END_TEST

START_TEST(backend_that_cannot_grow_keeps_its_size)
{
	struct rig_export *ex = rig_add_export("null");
	struct rig_op op;
	uint32_t id;

	ex->plain = true;
	id = rig_opened("null", RNBD_ACCESS_RW);
	ex->size_now = 2 << 20;
	gw_server_recheck(rig.server);
	rig_io(&op, id, RNBD_OP_READ, 1 << 11, 512);
	ck_assert_int_eq(op.err, -EIO);
}
END_TEST

/* A backend whose queue is handed over at the end of a round. */
START_TEST(device_that_closes_is_not_kicked_any_more)
{
	struct rig_op read, close;
	uint32_t id;

	rig.complete_at_once = true;
	rig_add_export("disk");
	id = rig_opened("disk", RNBD_ACCESS_RW);
	rig_io(&read, id, RNBD_OP_READ, 0, 512);
	ck_assert_int_eq(read.err, 0);
	rig_close(&close, id);
	rig_settle();
	ck_assert_int_eq(close.err, 0);
	ck_assert_uint_eq(rig.kicks, 0);
}
END_TEST

/* ---------------------------------------------------------------- twins */

/* The same numbers, of another kind of thing, or of another device node. */
START_TEST(same_bytes_means_all_of_the_identity)
{
	struct rig_export *a = rig_add_export("a"), *b = rig_add_export("b");

	a->id = b->id = (struct backend_identity){.kind = 1, .a = 5, .b = 6};
	if (_i == 0)
		b->id.kind = 2;
	else if (_i == 1)
		b->id.a = 6;
	else if (_i == 2)
		b->id.b = 7;
	rig_opened("a", RNBD_ACCESS_RO);
	ck_assert_int_eq(open_err("b"), _i == 3 ? -EEXIST : 0);
	/* Whoever asks later learns of nothing new. */
	ck_assert_int_eq(open_err("a"), 0);
}
END_TEST

/* A backend that a job has is not looked at. */
START_TEST(twin_that_opens_or_closes_is_none)
{
	struct rig_export *a = rig_add_export("a"), *b = rig_add_export("b");
	struct rig_op first, second, close;
	uint32_t id;

	a->id = b->id = (struct backend_identity){.kind = 1, .a = 5};
	id = rig_opened("a", RNBD_ACCESS_RO);
	rig_open(&first, "b", RNBD_ACCESS_RO);
	rig_close(&close, id);
	/* The open of b ends while the close of a is to run. */
	ck_assert(rig_run_jobs());
	ck_assert_int_eq(first.err, 0);
	rig_settle();
	ck_assert_int_eq(close.err, 0);
	/* And the other way: both open at once, the second is the twin. */
	rig_close(&close, id + 1);
	rig_settle();
	rig_open(&first, "a", RNBD_ACCESS_RO);
	rig_open(&second, "b", RNBD_ACCESS_RO);
	rig_settle();
	ck_assert_int_eq(first.err, 0);
	ck_assert_int_eq(second.err, -EEXIST);
}
END_TEST

/* -------------------------------------------------------------- bounds */

START_TEST(ids_that_are_used_up_end_the_opening_not_the_session)
{
	struct gw_sess *sess = rig_sess;
	struct rig_op op;

	rig_add_export("a");
	rig_add_export("b");
	sess->next_id = UINT32_MAX - 1;
	ck_assert_uint_eq(rig_opened("a", RNBD_ACCESS_RW), UINT32_MAX - 1);
	ck_assert_int_eq(open_err("b"), -ENOSPC);
	ck_assert_str_eq(explained(), "no device ids left in this session");
	rig_io(&op, UINT32_MAX - 1, RNBD_OP_FLUSH, 0, 0);
	rig_complete(0);
	ck_assert_int_eq(op.err, 0);
}
END_TEST

START_TEST(more_devices_than_a_session_may_have_are_refused)
{
	struct gw_sess *sess = rig_sess;

	rig_add_export("a");
	rig_add_export("b");
	rig_opened("a", RNBD_ACCESS_RW);
	/* As if it had all the others. */
	sess->n_devs += GW_MAX_DEVICES - 1;
	ck_assert_int_eq(open_err("b"), -EMFILE);
	/* What is open is opened again all the same. */
	ck_assert_int_eq(open_err("a"), 0);
	sess->n_devs -= GW_MAX_DEVICES - 1;
	ck_assert_int_eq(open_err("b"), 0);
}
END_TEST

/* ------------------------------------------------------------------ log */

START_TEST(life_of_a_device_is_logged)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rig_op op;

	rig_hear();
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_str_eq(rig.heard, "session 'sess': opened 'disk' as device "
				    "0, rw, 1048576 bytes");
	ex->size_now = 2 << 20;
	gw_server_recheck(rig.server);
	ck_assert_str_eq(rig.heard,
			 "session 'sess': 'disk' has grown to 2097152 bytes");
	rig_close(&op, 0);
	rig_settle();
	ck_assert_str_eq(rig.heard, "session 'sess': closed 'disk'");
	rig_opened("disk", RNBD_ACCESS_RO);
	ex->gone = true;
	gw_server_recheck(rig.server);
	ck_assert_str_eq(rig.heard, "session 'sess': closing 'disk': gone");
}
END_TEST

/* A reason without words is that of the errno. */
START_TEST(open_that_fails_is_logged_and_explained)
{
	struct rig_export *ex = rig_add_export("disk");

	rig_hear();
	ex->open_err = -EIO;
	ex->open_text = _i ? "the medium is bad" : "";
	ck_assert_int_eq(open_err("disk"), -EIO);
	ck_assert_ptr_nonnull(strstr(rig.heard, "cannot open 'disk': "));
	ck_assert_ptr_nonnull(
		strstr(rig.heard, _i ? "the medium is bad" : strerror(EIO)));
	ck_assert_str_eq(explained(), _i ? "the medium is bad" : strerror(EIO));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/device");
	TCase *tc = tcase_create("device");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, rig_setup, rig_teardown);
	tcase_add_test(
		tc,
		attached_before_it_is_used_and_detached_before_it_is_closed);
	tcase_add_test(tc,
		       device_that_cannot_be_attached_is_closed_and_has_no_id);
	tcase_add_test(tc, backend_without_a_queue_is_not_kicked);
	tcase_add_test(tc, backend_that_cannot_grow_keeps_its_size);
	tcase_add_test(tc, device_that_closes_is_not_kicked_any_more);
	tcase_add_loop_test(tc, same_bytes_means_all_of_the_identity, 0, 4);
	tcase_add_test(tc, twin_that_opens_or_closes_is_none);
	tcase_add_test(tc,
		       ids_that_are_used_up_end_the_opening_not_the_session);
	tcase_add_test(tc, more_devices_than_a_session_may_have_are_refused);
	tcase_add_test(tc, life_of_a_device_is_logged);
	tcase_add_loop_test(tc, open_that_fails_is_logged_and_explained, 0, 2);
	suite_add_tcase(s, tc);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
