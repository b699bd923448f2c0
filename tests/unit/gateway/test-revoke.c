/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices that may not stay, and requests that a limit makes wait. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/gateway/server-rig.h"

static uint64_t
now_throttled(void)
{
	struct gw_server_stats st;

	gw_server_stats(rig.server, &st);
	return st.throttled_now;
}

static void
read_block(struct rig_op *op, uint32_t id)
{
	rig_io(op, id, RNBD_OP_READ, 0, 512);
}

/* Lets time pass to the next deadline of the server. */
static void
to_deadline(void)
{
	uint64_t t = gw_server_deadline(rig.server);

	ck_assert_uint_ne(t, TIME_NEVER);
	ck_assert_uint_gt(t, rig.now);
	gw_server_progress(rig.server, t);
}

/* ---------------------------------------------------------------- revoke */

START_TEST(what_is_gone_loses_its_id_at_once)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rig_op held, late, close;
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);

	read_block(&held, id);
	ck_assert_uint_eq(rig.n_held, 1);
	ex->gone = true;
	gw_server_recheck(rig.server);
	/* The backend hangs; nobody waits for it. */
	rig_settle();
	ck_assert_uint_eq(ex->closes, 0);
	ck_assert_int_eq(held.err, RIG_PENDING);
	read_block(&late, id);
	ck_assert_int_eq(late.err, -ENOTCONN);
	ck_assert_uint_eq(rig.n_held, 1);
	rig_close(&close, id);
	ck_assert_int_eq(close.err, 0);
	/* What executed is answered as ever. */
	rig_complete(0);
	ck_assert_int_eq(held.err, 0);
	rig_settle();
	ck_assert_uint_eq(ex->closes, 1);
	gw_server_recheck(rig.server);
}
END_TEST

START_TEST(others_notice_nothing)
{
	struct rig_export *a = rig_add_export("a"), *b = rig_add_export("b");
	uint32_t ida = rig_opened("a", RNBD_ACCESS_RW);
	uint32_t idb = rig_opened("b", RNBD_ACCESS_RO);
	struct gw_server_stats st;
	struct rig_op op;

	b->allow_err = -EACCES;
	gw_server_recheck(rig.server);
	rig_settle();
	ck_assert_uint_eq(a->closes, 0);
	ck_assert_uint_eq(b->closes, 1);
	read_block(&op, idb);
	ck_assert_int_eq(op.err, -ENOTCONN);
	rig.complete_at_once = true;
	read_block(&op, ida);
	ck_assert_int_eq(op.err, 0);
	gw_server_stats(rig.server, &st);
	ck_assert_uint_eq(st.revokes, 1);
	ck_assert_uint_eq(st.devices, 1);
}
END_TEST

START_TEST(who_may_not_have_it_does_not_make_it_open)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rig_op op;

	ex->allow_err = -EACCES;
	rig_open(&op, "disk", RNBD_ACCESS_RW);
	rig_settle();
	ck_assert_int_eq(op.err, -EACCES);
	ck_assert_uint_eq(ex->opens, 0);
}
END_TEST

START_TEST(one_that_leaves_while_it_opens_is_closed_again)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rig_op op;

	rig_open(&op, "disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(op.err, RIG_PENDING);
	ex->gone = true;
	gw_server_recheck(rig.server);
	rig_settle();
	ck_assert_int_eq(op.err, -ENOENT);
	ck_assert_uint_eq(ex->opens, 1);
	ck_assert_uint_eq(ex->closes, 1);
}
END_TEST

START_TEST(one_device_is_closed_on_request)
{
	struct rig_export *ex = rig_add_export("disk");
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);
	struct rig_op op;

	ck_assert_int_eq(gw_server_close_device(rig.server, "sess", "other"),
			 -ENOENT);
	ck_assert_int_eq(gw_server_close_device(rig.server, "s", "disk"),
			 -ENOENT);
	ck_assert_int_eq(gw_server_close_device(rig.server, "sess", "disk"), 0);
	ck_assert_int_eq(gw_server_close_device(rig.server, "sess", "disk"),
			 -ENOENT);
	rig_settle();
	ck_assert_uint_eq(ex->closes, 1);
	read_block(&op, id);
	ck_assert_int_eq(op.err, -ENOTCONN);
	/* The client may come again, and gets another id. */
	ck_assert_uint_ne(rig_opened("disk", RNBD_ACCESS_RW), id);
}
END_TEST

START_TEST(a_device_grows_and_never_shrinks)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rnbd_msg_open_rsp rsp;
	struct rig_op op;
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);

	rig.complete_at_once = true;
	rig_io(&op, id, RNBD_OP_READ, 1 << 11, 512);
	ck_assert_int_eq(op.err, -EIO);
	ex->size_now = (2 << 20) + 100;
	gw_server_recheck(rig.server);
	rig_io(&op, id, RNBD_OP_READ, 1 << 11, 512);
	ck_assert_int_eq(op.err, 0);
	ex->size_now = 1 << 19;
	gw_server_recheck(rig.server);
	rig_io(&op, id, RNBD_OP_READ, (2 << 11) - 1, 512);
	ck_assert_int_eq(op.err, 0);
	rig_io(&op, id, RNBD_OP_READ, 2 << 11, 512);
	ck_assert_int_eq(op.err, -EIO);
	/* A client that opens it once more is told. */
	rig_open(&op, "disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(op.err, 0);
	ck_assert_int_eq(
		rnbd_msg_open_rsp_decode(op.data, RNBD_OPEN_RSP_LEN, &rsp), 0);
	ck_assert_uint_eq(rsp.device_id, id);
	ck_assert_uint_eq(rsp.nsectors, 2 << 11);
}
END_TEST

START_TEST(one_that_grows_while_it_opens_is_as_large)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rnbd_msg_open_rsp rsp;
	struct rig_op op;

	rig_open(&op, "disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(op.err, RIG_PENDING);
	ex->size_now = 2 << 20;
	gw_server_recheck(rig.server);
	rig_settle();
	ck_assert_int_eq(op.err, 0);
	ck_assert_int_eq(
		rnbd_msg_open_rsp_decode(op.data, RNBD_OPEN_RSP_LEN, &rsp), 0);
	ck_assert_uint_eq(rsp.nsectors, 2 << 11);
}
END_TEST

/* ---------------------------------------------------------- writethrough */

START_TEST(written_through_there_is_no_cache)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rnbd_msg_open_rsp rsp;
	struct rig_op op;
	uint32_t id;

	ex->writethrough = true;
	rig.complete_at_once = true;
	rig_open(&op, "disk", RNBD_ACCESS_RW);
	rig_settle();
	ck_assert_int_eq(
		rnbd_msg_open_rsp_decode(op.data, RNBD_OPEN_RSP_LEN, &rsp), 0);
	ck_assert_uint_eq(rsp.cache_policy, 0);
	id = rsp.device_id;
	rig_io(&op, id, RNBD_OP_WRITE, 0, 512);
	ck_assert_uint_eq(rig.n_ios, 2);
	ck_assert_int_eq(rig.ios[0].op, BACKEND_WRITE);
	ck_assert_int_eq(rig.ios[1].op, BACKEND_FLUSH);
	rig_io(&op, id, RNBD_OP_WRITE_ZEROES, 0, 4096);
	ck_assert_uint_eq(rig.n_ios, 4);
	ck_assert_int_eq(rig.ios[3].op, BACKEND_FLUSH);
	rig_io(&op, id, RNBD_OP_READ, 0, 512);
	ck_assert_uint_eq(rig.n_ios, 5);
}
END_TEST

START_TEST(or_every_write_is_fua)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rig_op op;
	uint32_t id;

	ex->writethrough = true;
	ex->geo.fua = true;
	rig.complete_at_once = true;
	id = rig_opened("disk", RNBD_ACCESS_RW);
	rig_io(&op, id, RNBD_OP_WRITE, 0, 512);
	ck_assert_uint_eq(rig.n_ios, 1);
	ck_assert_uint_eq(rig.ios[0].flags, BACKEND_F_FUA);
}
END_TEST

/* ---------------------------------------------------------------- limits */

/* 10 a second: one, and then one each 100 ms; 20 ms may run ahead. */
static struct rig_export *
slow(const char *name)
{
	struct rig_export *ex = rig_add_export(name);

	gw_throttle_set(&ex->throttle, 10, 0);
	rig.complete_at_once = true;
	gw_server_progress(rig.server, 1000 * NSEC_PER_SEC);
	return ex;
}

START_TEST(what_is_over_the_limit_waits_in_order)
{
	struct gw_server_stats st;
	struct rig_op op[4];
	uint32_t id;

	slow("disk");
	id = rig_opened("disk", RNBD_ACCESS_RW);
	for (unsigned i = 0; i < 4; i++)
		rig_io(&op[i], id, RNBD_OP_READ, i, 512);
	ck_assert_int_eq(op[0].err, 0);
	ck_assert_uint_eq(now_throttled(), 3);
	ck_assert_uint_eq(gw_server_deadline(rig.server) - rig.now,
			  80 * NSEC_PER_MSEC);
	for (unsigned i = 1; i < 4; i++) {
		ck_assert_int_eq(op[i].err, RIG_PENDING);
		gw_server_progress(rig.server,
				   gw_server_deadline(rig.server) - 1);
		ck_assert_int_eq(op[i].err, RIG_PENDING);
		to_deadline();
		ck_assert_int_eq(op[i].err, 0);
		ck_assert_uint_eq(rig.ios[i].off, i * 512);
	}
	ck_assert_uint_eq(now_throttled(), 0);
	ck_assert_uint_eq(gw_server_deadline(rig.server), TIME_NEVER);
	gw_server_stats(rig.server, &st);
	ck_assert_uint_eq(st.throttled, 3);
	/* Those of the fabric count as well. */
	rig.rtrs_deadline = rig.now + 5;
	ck_assert_uint_eq(gw_server_deadline(rig.server), rig.now + 5);
	rig.rtrs_deadline = TIME_NEVER;
}
END_TEST

START_TEST(what_is_refused_and_what_flushes_does_not_count)
{
	struct rig_op op;
	uint32_t id;

	slow("disk");
	id = rig_opened("disk", RNBD_ACCESS_RW);
	for (unsigned i = 0; i < 5; i++) {
		rig_io(&op, id, RNBD_OP_FLUSH, 0, 0);
		ck_assert_int_eq(op.err, 0);
		rig_io(&op, id, RNBD_OP_READ, UINT64_C(1) << 40, 512);
		ck_assert_int_eq(op.err, -EIO);
	}
	read_block(&op, id);
	ck_assert_int_eq(op.err, 0);
	read_block(&op, id);
	ck_assert_int_eq(op.err, RIG_PENDING);
	/* Not even when others wait. */
	{
		struct rig_op flush;

		rig_io(&flush, id, RNBD_OP_FLUSH, 0, 0);
		ck_assert_int_eq(flush.err, 0);
	}
	to_deadline();
	ck_assert_int_eq(op.err, 0);
}
END_TEST

START_TEST(bandwidth_counts_what_moves)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rig_op op[3];
	uint32_t id;

	gw_throttle_set(&ex->throttle, 0, 40960);
	rig.complete_at_once = true;
	gw_server_progress(rig.server, 1000 * NSEC_PER_SEC);
	id = rig_opened("disk", RNBD_ACCESS_RW);
	rig_io(&op[0], id, RNBD_OP_DISCARD, 0, 65536);
	rig_io(&op[0], id, RNBD_OP_WRITE_ZEROES, 0, 65536);
	rig_io(&op[0], id, RNBD_OP_WRITE, 0, 4096);
	ck_assert_int_eq(op[0].err, 0);
	rig_io(&op[1], id, RNBD_OP_READ, 0, 4096);
	/* Behind one that waits, in order. */
	rig_io(&op[2], id, RNBD_OP_DISCARD, 0, 4096);
	ck_assert_int_eq(op[1].err, RIG_PENDING);
	ck_assert_int_eq(op[2].err, RIG_PENDING);
	ck_assert_uint_eq(gw_server_deadline(rig.server) - rig.now,
			  80 * NSEC_PER_MSEC);
	to_deadline();
	ck_assert_int_eq(op[1].err, 0);
	ck_assert_int_eq(op[2].err, 0);
}
END_TEST

START_TEST(devices_take_turns)
{
	struct rig_export *a = slow("a"), *b = rig_add_export("b");
	struct rig_op opa[6], opb[2];
	uint32_t ida, idb;

	b->shared = &a->throttle; /* two devices of one export */
	ida = rig_opened("a", RNBD_ACCESS_RW);
	idb = rig_opened("b", RNBD_ACCESS_RW);
	for (unsigned i = 0; i < 6; i++)
		read_block(&opa[i], ida);
	for (unsigned i = 0; i < 2; i++)
		read_block(&opb[i], idb);
	ck_assert_int_eq(opa[0].err, 0);
	to_deadline();
	ck_assert_int_eq(opa[1].err, 0);
	ck_assert_int_eq(opb[0].err, RIG_PENDING);
	to_deadline();
	ck_assert_int_eq(opa[2].err, RIG_PENDING);
	ck_assert_int_eq(opb[0].err, 0);
	to_deadline();
	ck_assert_int_eq(opa[2].err, 0);
	to_deadline();
	ck_assert_int_eq(opb[1].err, 0);
	ck_assert_int_eq(opa[3].err, RIG_PENDING);
	/* No limit any more: all that waits goes at once. */
	gw_throttle_set(&a->throttle, 0, 0);
	gw_server_recheck(rig.server);
	gw_server_progress(rig.server, rig.now);
	for (unsigned i = 0; i < 6; i++)
		ck_assert_int_eq(opa[i].err, 0);
}
END_TEST

START_TEST(a_new_limit_is_felt_by_what_waits)
{
	struct rig_export *ex = slow("disk");
	struct rig_op op[5];
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);

	for (unsigned i = 0; i < 5; i++)
		read_block(&op[i], id);
	gw_throttle_set(&ex->throttle, 1000, 0);
	gw_server_recheck(rig.server);
	gw_server_progress(rig.server, rig.now + 4 * NSEC_PER_MSEC);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(op[i].err, 0);
	/* Once more changes nothing, with nothing waiting. */
	gw_server_recheck(rig.server);
	ck_assert_uint_eq(gw_server_deadline(rig.server), TIME_NEVER);
}
END_TEST

/* Who waits when a device goes, in each of the ways that there are. */
static void
crowd(struct rig_op op[4], uint32_t *ret_id)
{
	slow("disk");
	*ret_id = rig_opened("disk", RNBD_ACCESS_RW);
	for (unsigned i = 0; i < 4; i++)
		read_block(&op[i], *ret_id);
	ck_assert_int_eq(op[0].err, 0);
	ck_assert_uint_eq(now_throttled(), 3);
}

static void
all_refused(const struct rig_op op[4])
{
	for (unsigned i = 1; i < 4; i++)
		ck_assert_int_eq(op[i].err, -ENOTCONN);
	ck_assert_uint_eq(rig.n_ios, 1);
	ck_assert_uint_eq(now_throttled(), 0);
	gw_server_kick(rig.server);
	ck_assert_uint_eq(gw_server_deadline(rig.server), TIME_NEVER);
}

START_TEST(a_revoked_device_answers_what_waits)
{
	struct rig_op op[4];
	uint32_t id;

	crowd(op, &id);
	rig.exports[0].gone = true;
	gw_server_recheck(rig.server);
	all_refused(op);
	rig_settle();
	ck_assert_uint_eq(rig.exports[0].closes, 1);
}
END_TEST

START_TEST(a_closed_device_answers_what_waits)
{
	struct rig_op op[4], close;
	uint32_t id;

	crowd(op, &id);
	rig_close(&close, id);
	all_refused(op);
	rig_settle();
	ck_assert_int_eq(close.err, 0);
}
END_TEST

START_TEST(lost_requests_do_not_wait)
{
	struct rig_op op[4];
	uint32_t id;

	crowd(op, &id);
	op[1].lost = op[3].lost = true;
	rig_requests_lost(rig_sess);
	ck_assert_int_eq(op[1].err, -ENOTCONN);
	ck_assert_int_eq(op[2].err, RIG_PENDING);
	ck_assert_int_eq(op[3].err, -ENOTCONN);
	ck_assert_uint_eq(now_throttled(), 1);
	to_deadline();
	ck_assert_int_eq(op[2].err, 0);
	op[2].lost = true;
	rig_requests_lost(rig_sess);
}
END_TEST

START_TEST(who_starts_over_does_not_wait_for_a_limit)
{
	struct rnbd_msg_sess_info m = {.ver = RNBD_PROTO_VER_MAJOR};
	uint8_t buf[RNBD_SESS_INFO_LEN];
	struct rig_op op[4], info;
	uint32_t id;

	crowd(op, &id);
	rnbd_msg_sess_info_encode(&m, false, buf);
	rig_request(rig_sess, &info, RTRS_READ, buf, sizeof(buf),
		    RNBD_SESS_INFO_LEN);
	all_refused(op);
	ck_assert_int_eq(info.err, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/revoke");
	TCase *tc = tcase_create("revoke");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, rig_setup, rig_teardown);
	tcase_add_test(tc, what_is_gone_loses_its_id_at_once);
	tcase_add_test(tc, others_notice_nothing);
	tcase_add_test(tc, who_may_not_have_it_does_not_make_it_open);
	tcase_add_test(tc, one_that_leaves_while_it_opens_is_closed_again);
	tcase_add_test(tc, one_device_is_closed_on_request);
	tcase_add_test(tc, a_device_grows_and_never_shrinks);
	tcase_add_test(tc, one_that_grows_while_it_opens_is_as_large);
	tcase_add_test(tc, written_through_there_is_no_cache);
	tcase_add_test(tc, or_every_write_is_fua);
	tcase_add_test(tc, what_is_over_the_limit_waits_in_order);
	tcase_add_test(tc, what_is_refused_and_what_flushes_does_not_count);
	tcase_add_test(tc, bandwidth_counts_what_moves);
	tcase_add_test(tc, devices_take_turns);
	tcase_add_test(tc, a_new_limit_is_felt_by_what_waits);
	tcase_add_test(tc, a_revoked_device_answers_what_waits);
	tcase_add_test(tc, a_closed_device_answers_what_waits);
	tcase_add_test(tc, lost_requests_do_not_wait);
	tcase_add_test(tc, who_starts_over_does_not_wait_for_a_limit);
	suite_add_tcase(s, tc);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
