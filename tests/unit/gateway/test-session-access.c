/* SPDX-License-Identifier: BSD-3-Clause */
/* What the access rules do to paths, opens and what is open already. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/rnbd-msg.h"
#include "tests/unit/gateway/access-rig.h"
#include "tests/unit/gateway/server-rig.h"

static void
rules(const char *text)
{
	gw_access_replace(rig.access, rig_rules(text));
}

static void
setup(void)
{
	rig_setup();
	rig.peer = rig_address("10.0.0.1");
	rig_add_export("disk");
	rig_add_export("iso");
}

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

START_TEST(open_is_asked_about)
{
	struct rig_op op;

	rules("allow export=disk mode=ro;allow address=10.0.0.2");
	rig_open(&op, "disk", RNBD_ACCESS_RW);
	/* Refused before anything was opened. */
	ck_assert_int_eq(op.err, -EACCES);
	ck_assert_uint_eq(rig.exports[0].opens, 0);
	ck_assert_str_eq(explained(), "session 'sess' may open 'disk' with "
				      "access_mode ro only");
	rig_open(&op, "iso", RNBD_ACCESS_RO);
	ck_assert_int_eq(op.err, -EACCES);
	ck_assert_str_eq(explained(), "no access to 'iso' for session 'sess'");
	rig_opened("disk", RNBD_ACCESS_RO);
	rig.peer = rig_address("10.0.0.2");
	rig_opened("iso", RNBD_ACCESS_RW);
}
END_TEST

START_TEST(rules_that_change_during_the_open)
{
	struct rig_op op;

	rules("allow");
	rig_open(&op, "disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(op.err, RIG_PENDING);
	rules("deny");
	rig_settle();
	ck_assert_int_eq(op.err, -EACCES);
	ck_assert_uint_eq(rig.exports[0].opens, rig.exports[0].closes);
}
END_TEST

START_TEST(paths_are_asked_about)
{
	struct sockaddr_storage one = rig_address("10.0.0.1"),
				two = rig_address("10.0.0.2");

	ck_assert_int_eq(rig_path_up(rig_sess, "sess", &two), 0);
	ck_assert_int_eq(rig_path_up(rig_sess, "other", &two), -EINVAL);
	rules("bind session=sess address=10.0.0.1;allow");
	ck_assert_int_eq(rig_path_up(rig_sess, "sess", &one), 0);
	ck_assert_int_eq(rig_path_up(rig_sess, "sess", &two), -EACCES);
	ck_assert_int_eq(rig_path_up(NULL, "sess", &two), -EACCES);
	/* Nobody holds the name for it. */
	ck_assert_uint_eq(rig.names_claimed, 1);
}
END_TEST

START_TEST(paths_must_be_allowed_what_is_open)
{
	struct sockaddr_storage one = rig_address("10.0.0.1"),
				two = rig_address("10.0.0.2");

	rules("allow address=10.0.0.1;allow export=iso;allow mode=ro");
	rig_opened("iso", RNBD_ACCESS_RW);
	ck_assert_int_eq(rig_path_up(rig_sess, "sess", &two), 0);
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(rig_path_up(rig_sess, "sess", &two), -EACCES);
	ck_assert_int_eq(rig_path_up(rig_sess, "sess", &one), 0);
}
END_TEST

START_TEST(recheck_closes_what_is_no_longer_allowed)
{
	uint32_t disk, iso;
	struct rig_op op;

	disk = rig_opened("disk", RNBD_ACCESS_RW);
	iso = rig_opened("iso", RNBD_ACCESS_RO);
	rules("allow");
	gw_server_recheck(rig.server);
	ck_assert_uint_eq(rig.paths_closed, 0);
	/* One mapping goes, the other is not disturbed. */
	rules("allow export=iso");
	gw_server_recheck(rig.server);
	rig_settle();
	ck_assert_uint_eq(rig.exports[0].closes, 1);
	ck_assert_uint_eq(rig.exports[1].closes, 0);
	ck_assert_uint_eq(rig.paths_closed, 0);
	rig.complete_at_once = true;
	rig_io(&op, disk, RNBD_OP_READ, 0, 4096);
	ck_assert_int_eq(op.err, -ENOTCONN);
	rig_io(&op, iso, RNBD_OP_READ, 0, 4096);
	ck_assert_int_eq(op.err, 0);
	/* And the path with the session, when nothing is left to it. */
	rules("allow address=10.0.0.2");
	gw_server_recheck(rig.server);
	rig_settle();
	ck_assert_uint_eq(rig.paths_closed, 1);
	ck_assert_uint_eq(rig.exports[1].closes, 1);
}
END_TEST

START_TEST(recheck_is_no_refusal)
{
	struct gw_access_stats st;

	rig_opened("disk", RNBD_ACCESS_RW);
	rules("deny");
	gw_server_recheck(rig.server);
	rig_settle();
	gw_access_stats(rig.access, &st);
	for (unsigned i = 0; i < GW_ACCESS_N_REASONS; i++)
		ck_assert_uint_eq(st.refused[i], 0);
}
END_TEST

START_TEST(paths_are_charged)
{
	struct gw_access_limits limits = {
		.addr_bits4 = 32,
		.addr_bits6 = 64,
		.addr_connections = 5,
	};
	struct fabric_addrs addrs = {.peer = rig_address("10.0.0.1")};
	struct rtrs_srv_new_path np = {
		.sess_uuid = rig_uuid("s"),
		.path_uuid = rig_uuid("p"),
		.addrs = &addrs,
		.n_cons = 3,
		.chunk_mem = 1 << 20,
	};
	struct gw_access_stats st;

	gw_access_set_limits(rig.access, &limits);
	ck_assert_int_eq(rig_path_new(&np), 0);
	gw_access_stats(rig.access, &st);
	ck_assert_uint_eq(st.now.connections, 3);
	ck_assert_uint_eq(st.now.memory, 1 << 20);
	np.path_uuid = rig_uuid("q");
	ck_assert_int_eq(rig_path_new(&np), -EDQUOT);
	rig_path_gone(rig_uuid("s"), rig_uuid("p"));
	ck_assert_int_eq(rig_path_new(&np), 0);
	rig_path_gone(np.sess_uuid, np.path_uuid);
	gw_access_stats(rig.access, &st);
	ck_assert_uint_eq(st.now.sessions, 0);
	ck_assert_uint_eq(st.now.memory, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/session-access");
	TCase *tc = tcase_create("access");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, rig_teardown);
	tcase_add_test(tc, open_is_asked_about);
	tcase_add_test(tc, rules_that_change_during_the_open);
	tcase_add_test(tc, paths_are_asked_about);
	tcase_add_test(tc, paths_must_be_allowed_what_is_open);
	tcase_add_test(tc, recheck_closes_what_is_no_longer_allowed);
	tcase_add_test(tc, recheck_is_no_refusal);
	tcase_add_test(tc, paths_are_charged);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
