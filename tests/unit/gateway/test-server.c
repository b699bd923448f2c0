/* SPDX-License-Identifier: BSD-3-Clause */
/* The server: its parameters, its sessions' paths, and what it says of them. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/gateway/access-rig.h"
#include "tests/unit/gateway/server-rig.h"

/* ----------------------------------------------------------- parameters */

START_TEST(what_RTRS_cannot_do_is_passed_on)
{
	struct gw_server_params p = rig_params();
	struct gw_server *none = rig.server;

	rig.new_err = -EADDRINUSE;
	ck_assert_int_eq(gw_server_new(&p, &none), -EADDRINUSE);
	ck_assert_ptr_eq(none, rig.server); /* untouched */
	gw_server_free(NULL);
}
END_TEST

static void
setup_bare(void)
{
	struct gw_server_params p = rig_params();

	p.rtrs.queue_depth = 0;
	p.now = NULL;
	p.sess_gone = NULL;
	rig_setup_with(&p);
}

START_TEST(depth_of_RTRS_is_the_default)
{
	static struct rig_op ops[RTRS_SRV_QUEUE_DEPTH + 1];

	rig_add_export("disk");
	rig_opened("disk", RNBD_ACCESS_RW);
	for (unsigned i = 0; i <= RTRS_SRV_QUEUE_DEPTH; i++)
		rig_open(&ops[i], "none", RNBD_ACCESS_RO);
	ck_assert_int_eq(ops[RTRS_SRV_QUEUE_DEPTH - 1].err, RIG_PENDING);
	ck_assert_int_eq(ops[RTRS_SRV_QUEUE_DEPTH].err, -ENOMEM);
}
END_TEST

START_TEST(without_a_clock_nothing_is_timed)
{
	struct gw_server_stats st;
	struct rig_op op;
	uint32_t id;

	rig_add_export("disk");
	id = rig_opened("disk", RNBD_ACCESS_RW);
	rig_io(&op, id, RNBD_OP_READ, 0, 512);
	rig_complete(0);
	gw_server_kick(rig.server);
	ck_assert_int_eq(op.err, 0);
	ck_assert_uint_eq(rig.clock_reads, 0);
	gw_server_stats(rig.server, &st);
	ck_assert_uint_eq(st.op[BACKEND_READ].ops, 1);
}
END_TEST

/* ------------------------------------------------------------- messages */

START_TEST(close_without_an_id_is_refused)
{
	const uint8_t msg[4] = {RNBD_MSG_CLOSE};
	struct rig_op op;

	rig_request(rig_sess, &op, RTRS_WRITE, msg, sizeof(msg), 0);
	ck_assert_int_eq(op.err, -EINVAL);
}
END_TEST

START_TEST(unknown_message_is_logged)
{
	const uint8_t msg[8] = {0x77, 0x77};
	struct rig_op op;

	rig_hear();
	rig_request(rig_sess, &op, RTRS_WRITE, msg, sizeof(msg), 0);
	ck_assert_str_eq(rig.heard, "session 'sess': message of unknown type "
				    "30583 refused");
}
END_TEST

/* ---------------------------------------------------------------- paths */

/* A backend that waits for an NBD server would hold the session up. */
START_TEST(session_without_paths_closes_its_devices_at_once)
{
	struct rig_op op;
	uint32_t id;

	rig_add_export("disk");
	id = rig_opened("disk", RNBD_ACCESS_RW);
	rig_requests_lost(rig_sess);
	rig_settle();
	ck_assert_uint_eq(rig.exports[0].closes, 0);
	rig.no_peers = true;
	rig_requests_lost(rig_sess);
	rig_settle();
	ck_assert_uint_eq(rig.exports[0].closes, 1);
	rig_io(&op, id, RNBD_OP_READ, 0, 512);
	ck_assert_int_eq(op.err, -ENOTCONN);
}
END_TEST

START_TEST(only_paths_that_are_up_are_closed_by_the_rules)
{
	rig.peer = rig_address("10.0.0.1");
	gw_access_replace(rig.access, rig_rules("deny"));
	rig.path_state = RTRS_SRV_CONNECTED + 1;
	gw_server_recheck(rig.server);
	ck_assert_uint_eq(rig.paths_closed, 0);
	rig.path_state = RTRS_SRV_CONNECTED;
	gw_server_recheck(rig.server);
	ck_assert_uint_eq(rig.paths_closed, 1);
}
END_TEST

/* The export, not the rules, refuses a further path; others pass by. */
START_TEST(path_is_refused_by_an_export_that_is_open)
{
	const struct sockaddr_storage peer = rig_address("10.0.0.2");
	struct rig_export *ex = rig_add_export("disk");
	struct rig_op op;

	rig_opened("disk", RNBD_ACCESS_RW);
	if (_i)
		rig_hear();
	ck_assert_int_eq(rig_path_up(rig_sess, "sess", &peer), 0);
	ex->allow_err = -EACCES;
	ck_assert_int_eq(rig_path_up(rig_sess, "sess", &peer), -EACCES);
	ck_assert_str_eq(rig.heard,
			 _i ? "session 'sess': a path is refused while 'disk' "
			      "is open: not allowed"
			    : "");
	/* On its way out it is nobody's reason. */
	rig_close(&op, 0);
	ck_assert_int_eq(rig_path_up(rig_sess, "sess", &peer), 0);
	rig_settle();
}
END_TEST

static void
count(void *user, const struct gw_device_info *info)
{
	ck_assert_str_eq(info->dev_name, "disk");
	(*(unsigned *)user)++;
}

START_TEST(only_what_is_open_is_told_of_and_rechecked)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rig_op op;
	unsigned n = 0;

	rig_open(&op, "disk", RNBD_ACCESS_RW);
	gw_server_recheck(rig.server);
	gw_server_for_each_device(rig.server, count, &n);
	ck_assert_uint_eq(n, 0);
	ck_assert_int_eq(gw_server_close_device(rig.server, "sess", "disk"),
			 -ENOENT);
	rig_settle();
	ck_assert_int_eq(op.err, 0);
	gw_server_for_each_device(rig.server, count, &n);
	ck_assert_uint_eq(n, 1);
	rig_close(&op, 0);
	ex->gone = true;
	gw_server_recheck(rig.server);
	gw_server_for_each_device(rig.server, count, &n);
	ck_assert_uint_eq(n, 1);
	rig_settle();
	ck_assert_int_eq(op.err, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/server");
	TCase *tc = tcase_create("server"), *bare = tcase_create("bare");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, rig_setup, rig_teardown);
	tcase_add_test(tc, what_RTRS_cannot_do_is_passed_on);
	tcase_add_test(tc, close_without_an_id_is_refused);
	tcase_add_test(tc, unknown_message_is_logged);
	tcase_add_test(tc, session_without_paths_closes_its_devices_at_once);
	tcase_add_test(tc, only_paths_that_are_up_are_closed_by_the_rules);
	tcase_add_loop_test(tc, path_is_refused_by_an_export_that_is_open, 0,
			    2);
	tcase_add_test(tc, only_what_is_open_is_told_of_and_rechecked);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(bare, setup_bare, rig_teardown);
	tcase_add_test(bare, depth_of_RTRS_is_the_default);
	tcase_add_test(bare, without_a_clock_nothing_is_timed);
	suite_add_tcase(s, bare);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
