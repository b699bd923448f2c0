/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions and their devices: SESS_INFO, OPEN, CLOSE, EXPLAIN, the end. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/gateway/server-rig.h"

static struct rnbd_msg_open_rsp
open_rsp(const struct rig_op *op)
{
	struct rnbd_msg_open_rsp rsp;

	ck_assert_int_eq(op->err, 0);
	ck_assert_int_eq(
		rnbd_msg_open_rsp_decode(op->data, RNBD_OPEN_RSP_LEN, &rsp), 0);
	return rsp;
}

static const char *
explain(void)
{
	static char text[RNBD_EXPLAIN_RSP_LEN];
	uint8_t buf[RNBD_EXPLAIN_LEN];
	struct rig_op op;

	rnbd_msg_explain_encode(buf);
	rig_request(rig_sess, &op, RTRS_READ, buf, sizeof(buf),
		    RNBD_EXPLAIN_RSP_LEN);
	ck_assert_int_eq(op.err, 0);
	rnbd_msg_explain_rsp_decode(op.data, RNBD_EXPLAIN_RSP_LEN, text);
	return text;
}

/* ------------------------------------------------------------- dispatch */

START_TEST(unknown_type_is_refused)
{
	const uint8_t msg[8] = {0x77, 0x77};
	struct rig_op op;

	rig_request(rig_sess, &op, RTRS_WRITE, msg, sizeof(msg), 0);
	ck_assert_int_eq(op.err, -EINVAL);
}
END_TEST

START_TEST(short_message_is_refused)
{
	const uint8_t types[] = {RNBD_MSG_SESS_INFO, RNBD_MSG_OPEN, RNBD_MSG_IO,
				 RNBD_MSG_CLOSE};
	uint8_t msg[4] = {0};
	struct rig_op op;

	rig_request(rig_sess, &op, RTRS_READ, msg, 0, 0);
	ck_assert_int_eq(op.err, -EINVAL);
	rig_request(rig_sess, &op, RTRS_READ, msg, 3, 0);
	ck_assert_int_eq(op.err, -EINVAL);
	msg[0] = types[_i];
	rig_request(rig_sess, &op, RTRS_READ, msg, sizeof(msg), 512);
	ck_assert_int_eq(op.err, -EINVAL);
}
END_TEST

START_TEST(sess_info_agrees_on_the_lower_version)
{
	static const uint8_t sent[] = {0, 1, 2, 3, 255};
	struct rnbd_msg_sess_info m = {.ver = sent[_i]};
	uint8_t buf[RNBD_SESS_INFO_LEN];
	struct rig_op op;

	rnbd_msg_sess_info_encode(&m, false, buf);
	rig_request(rig_sess, &op, RTRS_READ, buf, sizeof(buf), 36);
	ck_assert_int_eq(op.err, 0);
	ck_assert_int_eq(rnbd_msg_sess_info_decode(op.data, 36, true, &m), 0);
	ck_assert_uint_eq(m.ver, sent[_i] < 2 ? sent[_i] : 2);
}
END_TEST

START_TEST(sess_info_waits_for_older_requests)
{
	struct rnbd_msg_sess_info m = {.ver = 2};
	uint8_t buf[RNBD_SESS_INFO_LEN];
	struct rig_op old[2], later, fence[2];
	uint32_t id;

	rig_add_export("disk");
	id = rig_opened("disk", RNBD_ACCESS_RW);
	rig_io(&old[0], id, RNBD_OP_WRITE, 0, 512);
	rig_io(&old[1], id, RNBD_OP_WRITE, 1, 512);
	rnbd_msg_sess_info_encode(&m, false, buf);
	rig_request(rig_sess, &fence[0], RTRS_READ, buf, sizeof(buf), 36);
	rig_request(rig_sess, &fence[1], RTRS_READ, buf, sizeof(buf), 36);
	rig_io(&later, id, RNBD_OP_WRITE, 2, 512);
	rig_settle();
	ck_assert_int_eq(fence[0].err, RIG_PENDING);
	rig_complete(0);
	ck_assert_int_eq(old[0].err, 0);
	ck_assert_int_eq(fence[0].err, RIG_PENDING);
	rig_complete(0);
	/* What came behind it does not hold it up. */
	ck_assert_int_eq(fence[0].err, 0);
	ck_assert_int_eq(fence[1].err, 0);
	ck_assert_int_eq(later.err, RIG_PENDING);
	rig_complete(0);
}
END_TEST

START_TEST(answers_need_room)
{
	struct rnbd_msg_sess_info m = {.ver = 2};
	struct rnbd_msg_open o = {.dev_name = "disk"};
	uint8_t buf[RNBD_OPEN_LEN];
	struct rig_op op;

	rig_add_export("disk");
	rnbd_msg_sess_info_encode(&m, false, buf);
	rig_request(rig_sess, &op, RTRS_READ, buf, RNBD_SESS_INFO_LEN, 35);
	ck_assert_int_eq(op.err, -EINVAL);
	rig_request(rig_sess, &op, RTRS_WRITE, buf, RNBD_SESS_INFO_LEN, 36);
	ck_assert_int_eq(op.err, -EINVAL);
	rnbd_msg_open_encode(&o, buf);
	rig_request(rig_sess, &op, RTRS_READ, buf, RNBD_OPEN_LEN, 55);
	ck_assert_int_eq(op.err, -EINVAL);
	rnbd_msg_explain_encode(buf);
	rig_request(rig_sess, &op, RTRS_READ, buf, RNBD_EXPLAIN_LEN, 255);
	ck_assert_int_eq(op.err, -EINVAL);
}
END_TEST

START_TEST(answers_do_not_leak_the_chunk)
{
	struct rnbd_msg_sess_info m = {.ver = 2};
	uint8_t buf[RNBD_SESS_INFO_LEN];
	struct rig_op op;

	rnbd_msg_sess_info_encode(&m, false, buf);
	rig_request(rig_sess, &op, RTRS_READ, buf, sizeof(buf), 4096);
	ck_assert_int_eq(op.err, 0);
	for (unsigned i = 36; i < 4096; i++)
		ck_assert_uint_eq(op.data[i], 0);
}
END_TEST

/* ----------------------------------------------------------------- open */

START_TEST(open_tells_the_geometry)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rnbd_msg_open_rsp rsp;
	struct rig_op op;

	ex->geo.size_bytes = 10001 * 512 + 100;
	ex->geo.logical_block_size = 4096;
	ex->geo.physical_block_size = 512; /* below the logical one */
	ex->geo.discard_granularity = 0;
	ex->geo.discard_alignment = 1024;
	ex->geo.max_discard_bytes = UINT64_MAX;
	ex->geo.max_write_zeroes_bytes = 65536;
	ex->geo.fua = true;
	rig_open(&op, "disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(op.err, RIG_PENDING);
	rig_settle();
	rsp = open_rsp(&op);
	ck_assert_uint_eq(rsp.device_id, 0);
	ck_assert_uint_eq(rsp.nsectors, 10001);
	ck_assert_uint_eq(rsp.max_hw_sectors, (RIG_CHUNK_SIZE - 4096) / 512);
	ck_assert_uint_eq(rsp.max_write_zeroes_sectors, 128);
	ck_assert_uint_eq(rsp.max_discard_sectors, 8388607);
	ck_assert_uint_eq(rsp.discard_granularity, 4096);
	ck_assert_uint_eq(rsp.discard_alignment, 1024);
	ck_assert_uint_eq(rsp.logical_block_size, 4096);
	ck_assert_uint_eq(rsp.physical_block_size, 4096);
	ck_assert_uint_eq(rsp.max_segments, 128);
	ck_assert_uint_eq(rsp.secure_discard, 0);
	ck_assert_uint_eq(rsp.cache_policy,
			  RNBD_CACHE_WRITEBACK | RNBD_CACHE_FUA);
	ck_assert_uint_eq(ex->mode, RNBD_ACCESS_RW);
}
END_TEST

START_TEST(open_without_cache_and_discard)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rnbd_msg_open_rsp rsp;
	struct rig_op op;

	ex->geo.writeback = false;
	ex->geo.max_discard_bytes = 0;
	ex->geo.max_write_zeroes_bytes = 0;
	ex->geo.physical_block_size = 1 << 20; /* does not fit 16 bits */
	rig_open(&op, "disk", RNBD_ACCESS_RO);
	rig_settle();
	rsp = open_rsp(&op);
	ck_assert_uint_eq(rsp.cache_policy, 0);
	ck_assert_uint_eq(rsp.max_discard_sectors, 0);
	ck_assert_uint_eq(rsp.max_write_zeroes_sectors, 0);
	ck_assert_uint_eq(rsp.physical_block_size, 32768);
}
END_TEST

START_TEST(open_fails_with_errno_and_words)
{
	struct rig_export *ex = rig_add_export("disk");
	struct gw_server_stats st;
	struct rig_op op;

	ex->open_err = -EPERM;
	ex->open_text = "busy: written by session 'y'";
	rig_open(&op, "disk", RNBD_ACCESS_RW);
	rig_settle();
	ck_assert_int_eq(op.err, -EPERM);
	ck_assert_str_eq(explain(), "busy: written by session 'y'");
	rig_open(&op, "other", RNBD_ACCESS_RW);
	rig_settle();
	ck_assert_int_eq(op.err, -ENOENT);
	ck_assert_str_eq(explain(), "no such export");
	gw_server_stats(rig.server, &st);
	ck_assert_uint_eq(st.open_errors, 2);
	ck_assert_uint_eq(st.opens, 0);
}
END_TEST

START_TEST(failed_open_uses_no_id)
{
	struct rig_op op;

	rig_add_export("disk");
	rig_open(&op, "nothing", RNBD_ACCESS_RW);
	rig_settle();
	ck_assert_uint_eq(rig_opened("disk", RNBD_ACCESS_RW), 0);
}
END_TEST

START_TEST(same_name_gives_the_same_id)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rnbd_msg_open_rsp rsp;
	struct rig_op op;

	ck_assert_uint_eq(rig_opened("disk", RNBD_ACCESS_RO), 0);
	/* The mode is not looked at again, and nothing waits. */
	rig_open(&op, "disk", RNBD_ACCESS_RW);
	rsp = open_rsp(&op);
	ck_assert_uint_eq(rsp.device_id, 0);
	ck_assert_uint_eq(rsp.nsectors, 2048);
	ck_assert_uint_eq(ex->opens, 1);
}
END_TEST

START_TEST(same_name_waits_while_opening)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rig_op a, b, c;

	rig_open(&a, "disk", RNBD_ACCESS_RW);
	rig_open(&b, "disk", RNBD_ACCESS_RW);
	rig_open(&c, "disk", RNBD_ACCESS_RO);
	ck_assert_int_eq(b.err, RIG_PENDING);
	rig_settle();
	ck_assert_uint_eq(open_rsp(&a).device_id, 0);
	ck_assert_uint_eq(open_rsp(&b).device_id, 0);
	ck_assert_uint_eq(open_rsp(&c).device_id, 0);
	ck_assert_uint_eq(ex->opens, 1);
}
END_TEST

START_TEST(waiting_open_tries_itself_when_the_first_fails)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rig_op a, b;

	ex->open_err = -EPERM;
	ex->open_text = "busy";
	rig_open(&a, "disk", RNBD_ACCESS_RW);
	rig_open(&b, "disk", RNBD_ACCESS_RO);
	rig_run_jobs();
	ck_assert_int_eq(a.err, -EPERM);
	ck_assert_int_eq(b.err, RIG_PENDING);
	ex->open_err = 0;
	rig_settle();
	ck_assert_int_eq(b.err, 0);
	ck_assert_uint_eq(ex->mode, RNBD_ACCESS_RO);
}
END_TEST

START_TEST(same_bytes_under_another_name_are_refused)
{
	struct rig_export *a = rig_add_export("a"), *b = rig_add_export("b");
	struct rig_op op;

	b->id = a->id;
	rig_opened("a", RNBD_ACCESS_RO);
	rig_open(&op, "b", RNBD_ACCESS_RO);
	rig_settle();
	ck_assert_int_eq(op.err, -EEXIST);
	ck_assert_ptr_nonnull(strstr(explain(), "'a'"));
	ck_assert_uint_eq(b->closes, 1);
	/* And the first one is still there. */
	rig_open(&op, "a", RNBD_ACCESS_RO);
	ck_assert_int_eq(op.err, 0);
}
END_TEST

START_TEST(too_many_requests_are_refused)
{
	static struct rig_op ops[RIG_QUEUE_DEPTH + 1];

	/* More requests at once than RTRS lets through. */
	for (unsigned i = 0; i <= RIG_QUEUE_DEPTH; i++) {
		char name[16];

		snprintf(name, sizeof(name), "d%u", i);
		rig_open(&ops[i], name, RNBD_ACCESS_RO);
	}
	ck_assert_int_eq(ops[RIG_QUEUE_DEPTH - 1].err, RIG_PENDING);
	ck_assert_int_eq(ops[RIG_QUEUE_DEPTH].err, -ENOMEM);
	rig_settle();
	ck_assert_int_eq(ops[0].err, -ENOENT);
	ck_assert_int_eq(ops[RIG_QUEUE_DEPTH - 1].err, -ENOENT);
}
END_TEST

/* ---------------------------------------------------------------- close */

START_TEST(close_of_an_unknown_id_succeeds)
{
	struct rig_op op;

	rig_close(&op, 12345);
	ck_assert_int_eq(op.err, 0);
}
END_TEST

START_TEST(close_takes_the_id_first_and_waits_for_io)
{
	struct rig_export *ex = rig_add_export("disk");
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);
	struct rig_op io, late, close;

	rig_io(&io, id, RNBD_OP_WRITE, 0, 512);
	rig_close(&close, id);
	rig_settle();
	ck_assert_int_eq(close.err, RIG_PENDING);
	ck_assert_uint_eq(ex->closes, 0);
	rig_io(&late, id, RNBD_OP_READ, 0, 512);
	ck_assert_int_eq(late.err, -ENOTCONN);
	ck_assert_uint_gt(gw_server_deadline(rig.server), 0);
	rig_complete(0);
	ck_assert_int_eq(io.err, 0);
	ck_assert_int_eq(close.err, RIG_PENDING);
	/* Nothing more has to come in. */
	ck_assert_uint_eq(gw_server_deadline(rig.server), 0);
	rig_settle();
	ck_assert_uint_eq(ex->closes, 1);
	ck_assert_int_eq(close.err, 0);
}
END_TEST

START_TEST(second_close_succeeds_at_once)
{
	uint32_t id;
	struct rig_op a, b;

	rig_add_export("disk");
	id = rig_opened("disk", RNBD_ACCESS_RW);
	rig_close(&a, id);
	rig_close(&b, id);
	ck_assert_int_eq(b.err, 0);
	rig_settle();
	ck_assert_int_eq(a.err, 0);
}
END_TEST

START_TEST(ids_are_never_reused)
{
	struct rig_op op;

	rig_add_export("disk");
	for (uint32_t i = 0; i < 5; i++) {
		ck_assert_uint_eq(rig_opened("disk", RNBD_ACCESS_RW), i);
		rig_close(&op, i);
		rig_settle();
		ck_assert_int_eq(op.err, 0);
	}
}
END_TEST

START_TEST(open_waits_for_the_close_of_its_name)
{
	struct rig_export *ex = rig_add_export("disk");
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);
	struct rig_op close, open;

	rig_close(&close, id);
	rig_open(&open, "disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(open.err, RIG_PENDING);
	rig_settle();
	ck_assert_int_eq(close.err, 0);
	ck_assert_uint_eq(open_rsp(&open).device_id, id + 1);
	ck_assert_uint_eq(ex->opens, 2);
	ck_assert_uint_eq(ex->closes, 1);
}
END_TEST

START_TEST(close_with_data_is_refused)
{
	struct rnbd_msg_close m = {.device_id = 0};
	uint8_t buf[RNBD_CLOSE_LEN];
	struct rig_op op;

	rnbd_msg_close_encode(&m, buf);
	rig_request(rig_sess, &op, RTRS_READ, buf, sizeof(buf), 64);
	ck_assert_int_eq(op.err, -EINVAL);
}
END_TEST

/* -------------------------------------------------------------- the end */

START_TEST(session_end_closes_everything)
{
	struct rig_export *a = rig_add_export("a"), *b = rig_add_export("b");
	struct rig_op op;

	rig_opened("a", RNBD_ACCESS_RW);
	rig_opened("b", RNBD_ACCESS_RW);
	rig_io(&op, 0, RNBD_OP_WRITE, 0, 512);
	rig_sess_down(rig_sess);
	rig_sess = NULL;
	rig_settle();
	ck_assert_uint_eq(b->closes, 1);
	ck_assert_uint_eq(a->closes, 0);
	ck_assert_uint_eq(rig.names_released, 0);
	ck_assert_uint_eq(rig.downs_done, 0);
	rig_complete(0);
	rig_settle();
	ck_assert_int_eq(op.err, 0);
	ck_assert_uint_eq(a->closes, 1);
	ck_assert_uint_eq(rig.names_released, 1);
	ck_assert_uint_eq(rig.downs_done, 1);
}
END_TEST

START_TEST(session_end_while_opening)
{
	struct rig_export *ex = rig_add_export("disk");
	struct rig_op a, b;

	rig_open(&a, "disk", RNBD_ACCESS_RW);
	rig_open(&b, "disk", RNBD_ACCESS_RW);
	rig_sess_down(rig_sess);
	rig_sess = NULL;
	ck_assert_uint_eq(rig.downs_done, 0);
	rig_settle();
	ck_assert_int_lt(a.err, 0);
	ck_assert_int_lt(b.err, 0);
	ck_assert_uint_eq(ex->opens, 1);
	ck_assert_uint_eq(ex->closes, 1);
	ck_assert_uint_eq(rig.downs_done, 1);
}
END_TEST

/* By threads apart; nobody waits for it in vain. */
START_TEST(open_of_what_is_elsewhere_ends_with_its_paths)
{
	struct rig_op op;

	rig_add_export("far")->remote = true;
	rig_open(&op, "far", RNBD_ACCESS_RW);
	ck_assert_uint_eq(rig.remote_jobs, 1);
	if (_i == 0) {
		rig_settle();
		ck_assert_int_eq(op.err, 0);
		rig_close(&op, open_rsp(&op).device_id);
		rig_settle();
		ck_assert_uint_eq(rig.remote_jobs, 1);
		return;
	}
	if (_i == 1) {
		/* Another path may want the answer. */
		rig_requests_lost(rig_sess);
		rig_settle();
		ck_assert_int_eq(op.err, 0);
		return;
	}
	rig.no_peers = true;
	rig_requests_lost(rig_sess);
	rig_settle();
	ck_assert_int_eq(op.err, -ECANCELED);
}
END_TEST

START_TEST(empty_session_ends_at_once)
{
	rig_sess_down(rig_sess);
	rig_sess = NULL;
	ck_assert_uint_eq(rig.downs_done, 1);
}
END_TEST

START_TEST(name_in_use_is_refused)
{
	rig.name_err = -EPERM;
	ck_assert_ptr_null(rig_sess_up("sess"));
	rig.name_err = 0;
}
END_TEST

static void
count_device(void *user, const struct gw_device_info *info)
{
	unsigned *n = user;

	(*n)++;
	ck_assert_str_eq(info->sess_name, "sess");
	ck_assert_str_eq(info->dev_name, "disk");
	ck_assert_uint_eq(info->size_bytes, 1 << 20);
	ck_assert_uint_eq(info->op[BACKEND_READ].ops, 1);
	ck_assert_uint_eq(info->op[BACKEND_READ].bytes, 1024);
}

START_TEST(devices_and_counters_are_reported)
{
	struct gw_server_stats st;
	struct rig_op op;
	unsigned n = 0;
	uint32_t id;

	rig_add_export("disk");
	id = rig_opened("disk", RNBD_ACCESS_RW);
	rig_io(&op, id, RNBD_OP_READ, 0, 1024);
	gw_server_stats(rig.server, &st);
	ck_assert_uint_eq(st.inflight, 1);
	rig_complete(0);
	rig_io(&op, id, RNBD_OP_WRITE, 0, 512);
	rig_complete(-ENOSPC);
	ck_assert_int_eq(op.err, -ENOSPC);
	gw_server_for_each_device(rig.server, count_device, &n);
	ck_assert_uint_eq(n, 1);
	gw_server_stats(rig.server, &st);
	ck_assert_uint_eq(st.inflight, 0);
	ck_assert_uint_eq(st.opens, 1);
	ck_assert_uint_eq(st.devices, 1);
	ck_assert_uint_eq(st.sessions, 1);
	ck_assert_uint_eq(st.op[BACKEND_WRITE].errors, 1);
	ck_assert_uint_eq(st.op[BACKEND_WRITE].bytes, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/session");
	TCase *tc = tcase_create("session");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, rig_setup, rig_teardown);
	tcase_add_test(tc, unknown_type_is_refused);
	tcase_add_loop_test(tc, short_message_is_refused, 0, 4);
	tcase_add_loop_test(tc, sess_info_agrees_on_the_lower_version, 0, 5);
	tcase_add_test(tc, sess_info_waits_for_older_requests);
	tcase_add_test(tc, answers_need_room);
	tcase_add_test(tc, answers_do_not_leak_the_chunk);
	tcase_add_test(tc, open_tells_the_geometry);
	tcase_add_test(tc, open_without_cache_and_discard);
	tcase_add_test(tc, open_fails_with_errno_and_words);
	tcase_add_test(tc, failed_open_uses_no_id);
	tcase_add_test(tc, same_name_gives_the_same_id);
	tcase_add_test(tc, same_name_waits_while_opening);
	tcase_add_test(tc, waiting_open_tries_itself_when_the_first_fails);
	tcase_add_test(tc, same_bytes_under_another_name_are_refused);
	tcase_add_test(tc, too_many_requests_are_refused);
	tcase_add_test(tc, close_of_an_unknown_id_succeeds);
	tcase_add_test(tc, close_takes_the_id_first_and_waits_for_io);
	tcase_add_test(tc, second_close_succeeds_at_once);
	tcase_add_test(tc, ids_are_never_reused);
	tcase_add_test(tc, open_waits_for_the_close_of_its_name);
	tcase_add_test(tc, close_with_data_is_refused);
	tcase_add_test(tc, session_end_closes_everything);
	tcase_add_test(tc, session_end_while_opening);
	tcase_add_loop_test(tc, open_of_what_is_elsewhere_ends_with_its_paths,
			    0, 3);
	tcase_add_test(tc, empty_session_ends_at_once);
	tcase_add_test(tc, name_in_use_is_refused);
	tcase_add_test(tc, devices_and_counters_are_reported);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
