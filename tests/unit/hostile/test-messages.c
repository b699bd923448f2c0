/* SPDX-License-Identifier: BSD-3-Clause */
/* What a hostile client says to the RNBD server; classes in README.md. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/session.h"
#include "tests/unit/gateway/server-rig.h"

static struct rig_export *ex;
static struct rig_op op;

static void
setup(void)
{
	rig_setup();
	ex = rig_add_export("disk");
	rig.complete_at_once = true;
}

START_TEST(stale_response_bytes)
{
	struct rnbd_msg_sess_info info = {.ver = 2};
	struct rnbd_msg_open open = {.dev_name = "disk"};
	uint8_t usr[RNBD_OPEN_LEN];
	uint16_t len = 0;
	unsigned used = 0;

	switch (_i) {
	case 0:
		rnbd_msg_sess_info_encode(&info, false, usr);
		len = used = RNBD_SESS_INFO_LEN;
		break;
	case 1:
		rnbd_msg_open_encode(&open, usr);
		len = RNBD_OPEN_LEN;
		used = RNBD_OPEN_RSP_LEN;
		break;
	default:
		rnbd_msg_explain_encode(usr);
		len = RNBD_EXPLAIN_LEN;
		break;
	}
	/* The room is full of what was there before. */
	memset(op.data, 0x5a, sizeof(op.data));
	rig_request(rig_sess, &op, RTRS_READ, usr, len, 4096);
	rig_settle();
	ck_assert_int_eq(op.err, 0);
	for (unsigned i = used; i < 4096; i++)
		ck_assert_uint_eq(op.data[i], 0);
}
END_TEST

/* Each message, cut at each length: an answer, and nothing done. */
START_TEST(truncated_messages)
{
	static const uint16_t types[] = {RNBD_MSG_SESS_INFO, RNBD_MSG_OPEN,
					 RNBD_MSG_IO, RNBD_MSG_CLOSE};
	static const uint16_t full[] = {RNBD_SESS_INFO_LEN, RNBD_OPEN_LEN,
					RNBD_IO_MIN_LEN, RNBD_CLOSE_LEN};
	uint8_t usr[RNBD_OPEN_LEN] = {0};

	memset(usr, 'x', 8);
	usr[0] = (uint8_t)types[_i];
	usr[1] = 0;
	for (uint16_t len = 0; len < full[_i]; len++) {
		rig_request(rig_sess, &op, RTRS_READ, usr, len, 512);
		ck_assert_int_eq(op.err, -EINVAL);
		ck_assert_uint_eq(op.answers, 1);
	}
	ck_assert_uint_eq(rig.n_ios, 0);
	ck_assert_uint_eq(ex->opens, 0);
}
END_TEST

START_TEST(unknown_message_types)
{
	uint8_t usr[32] = {(uint8_t)_i, (uint8_t)(_i * 7)};

	if (_i < 6)
		usr[0] = 6;
	rig_request(rig_sess, &op, RTRS_WRITE, usr, sizeof(usr), 0);
	ck_assert_int_eq(op.err, -EINVAL);
	ck_assert_uint_eq(op.answers, 1);
}
END_TEST

START_TEST(unterminated_device_name)
{
	struct rnbd_msg_open m = {.access_mode = RNBD_ACCESS_RW};
	uint8_t usr[RNBD_OPEN_LEN];

	rnbd_msg_open_encode(&m, usr);
	memset(usr + 6, 'd', RNBD_NAME_LEN);
	rig_request(rig_sess, &op, RTRS_READ, usr, sizeof(usr), 56);
	ck_assert_int_eq(op.err, -EINVAL);
	ck_assert_uint_eq(ex->opens, 0);
}
END_TEST

START_TEST(device_id_of_nobody)
{
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);
	const uint32_t ids[] = {id + 1, id - 1, 0xffffffff, id ^ 0x80000000};

	rig_io(&op, ids[_i], RNBD_OP_READ, 0, 512);
	ck_assert_int_eq(op.err, -ENOTCONN);
	ck_assert_uint_eq(rig.n_ios, 0);
}
END_TEST

START_TEST(device_id_after_close)
{
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);
	struct rig_op held, close;

	/* Closed while it is used: the id is gone at once. */
	rig.complete_at_once = false;
	rig_io(&held, id, RNBD_OP_READ, 0, 512);
	rig_close(&close, id);
	rig_io(&op, id, RNBD_OP_WRITE, 0, 512);
	ck_assert_int_eq(op.err, -ENOTCONN);
	ck_assert_int_eq(close.err, RIG_PENDING);
	ck_assert_uint_eq(ex->closes, 0);
	rig_complete(0);
	rig_settle();
	ck_assert_int_eq(held.err, 0);
	ck_assert_uint_eq(held.answers, 1);
	ck_assert_int_eq(close.err, 0);
	ck_assert_uint_eq(ex->closes, 1);
}
END_TEST

START_TEST(device_table_full)
{
	static char names[GW_MAX_DEVICES + 1][8];
	struct rnbd_msg_open m = {.access_mode = RNBD_ACCESS_RO};
	static struct rig_op ops[GW_MAX_DEVICES + 1];
	uint8_t usr[RNBD_OPEN_LEN];
	unsigned refused = 0;

	/* As many at once as RTRS lets through; they stay under way. */
	for (unsigned i = 0; i < RIG_QUEUE_DEPTH + 1u; i++) {
		snprintf(names[i], sizeof(names[i]), "d%u", i);
		strcpy(m.dev_name, names[i]);
		rnbd_msg_open_encode(&m, usr);
		rig_request(rig_sess, &ops[i], RTRS_READ, usr, sizeof(usr), 56);
		refused += ops[i].err != RIG_PENDING;
	}
	/* The one that is too many fails, alone and with a number. */
	ck_assert_uint_eq(refused, 1);
	ck_assert_int_eq(ops[RIG_QUEUE_DEPTH].err, -ENOMEM);
	rig_settle();
	for (unsigned i = 0; i <= RIG_QUEUE_DEPTH; i++)
		ck_assert_uint_eq(ops[i].answers, 1);
}
END_TEST

START_TEST(write_to_what_is_read_only)
{
	static const uint32_t rws[] = {RNBD_OP_WRITE, RNBD_OP_DISCARD,
				       RNBD_OP_WRITE_ZEROES,
				       RNBD_OP_WRITE | RNBD_F_FUA};
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RO);

	rig_io(&op, id, rws[_i], 0, 512);
	ck_assert_int_eq(op.err, -EROFS);
	ck_assert_uint_eq(rig.n_ios, 0);
}
END_TEST

START_TEST(range_sums_overflow)
{
	/* 1 MiB: 2048 sectors. */
	static const struct {
		uint64_t sector;
		uint32_t size;
	} rows[] = {
		{2048, 512},
		{2047, 1024},
		{UINT64_MAX, 512},
		{UINT64_MAX - 7, 4096},
		{UINT64_MAX / 512 + 1, 512},
		{(UINT64_MAX >> 9) - 1, 4096},
		{UINT64_C(1) << 55, 512},
		{UINT64_C(1) << 63, 4096},
	};
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);

	rig_io(&op, id, RNBD_OP_READ, rows[_i].sector, rows[_i].size);
	ck_assert_int_eq(op.err, -EIO);
	rig_io(&op, id, RNBD_OP_WRITE, rows[_i].sector, rows[_i].size);
	ck_assert_int_eq(op.err, -EIO);
	rig_io(&op, id, RNBD_OP_DISCARD, rows[_i].sector, rows[_i].size);
	ck_assert_int_eq(op.err, -EIO);
	ck_assert_uint_eq(rig.n_ios, 0);
}
END_TEST

START_TEST(size_and_data_differ)
{
	static const uint32_t sizes[] = {0, 511, 1024, 0x80000200, 0xfffffe00};
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);
	struct rnbd_msg_io m = {.device_id = id, .bi_size = sizes[_i]};

	rig_io_raw(&op, RTRS_READ, &m, 512);
	ck_assert_int_eq(op.err, -EINVAL);
	m.rw = RNBD_OP_WRITE;
	rig_io_raw(&op, RTRS_WRITE, &m, 512);
	ck_assert_int_eq(op.err, -EINVAL);
	ck_assert_uint_eq(rig.n_ios, 0);
}
END_TEST

START_TEST(forged_session)
{
	/* Who knows the UUID, but not the name, joins nothing. */
	ck_assert_int_eq(rig_path_up(rig_sess, "other", &rig.peer), -EINVAL);
	ck_assert_int_eq(rig_path_up(rig_sess, "", &rig.peer), -EINVAL);
	ck_assert_int_eq(rig_path_up(rig_sess, "sess", &rig.peer), 0);
}
END_TEST

START_TEST(session_lost_while_opening)
{
	struct rnbd_msg_open m = {.access_mode = RNBD_ACCESS_RW,
				  .dev_name = "disk"};
	uint8_t usr[RNBD_OPEN_LEN];

	rnbd_msg_open_encode(&m, usr);
	rig_request(rig_sess, &op, RTRS_READ, usr, sizeof(usr), 56);
	ck_assert_int_eq(op.err, RIG_PENDING);
	rig_requests_lost(rig_sess);
	rig_settle();
	/* One answer, into the void; what was opened is closed again. */
	ck_assert_uint_eq(op.answers, 1);
	rig_sess_down(rig_sess);
	rig_settle();
	ck_assert_uint_eq(ex->opens, ex->closes);
	rig_sess = rig_sess_up("sess");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("hostile/messages");
	TCase *tc = tcase_create("messages");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, rig_teardown);
	tcase_add_loop_test(tc, stale_response_bytes, 0, 3);
	tcase_add_loop_test(tc, truncated_messages, 0, 4);
	tcase_add_loop_test(tc, unknown_message_types, 0, 16);
	tcase_add_test(tc, unterminated_device_name);
	tcase_add_loop_test(tc, device_id_of_nobody, 0, 4);
	tcase_add_test(tc, device_id_after_close);
	tcase_add_test(tc, device_table_full);
	tcase_add_loop_test(tc, write_to_what_is_read_only, 0, 4);
	tcase_add_loop_test(tc, range_sums_overflow, 0, 8);
	tcase_add_loop_test(tc, size_and_data_differ, 0, 5);
	tcase_add_test(tc, forged_session);
	tcase_add_test(tc, session_lost_while_opening);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
