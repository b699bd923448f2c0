/* SPDX-License-Identifier: BSD-3-Clause */
/* What a hostile client does to the RTRS server; classes in README.md. */
#include "tests/unit/srv/fixture.h"

static const uint8_t usr[32] = "the user message";
static struct fx f;
static struct fx_path a, b;

static void
start(const struct rtrs_srv_params *sp)
{
	fx_init(&f, FABRIC_CAP_MW_PD, sp);
	fx_path_init(&f, &a, 1, 1, 2);
	fx_path_init(&f, &b, 2, 2, 2);
	b.peer = OTHER;
}

static void
setup(void)
{
	start(NULL);
	fx_path_up(&a);
	fx_path_up(&b);
}

static void
setup_mw(void)
{
	const struct rtrs_srv_params sp = {.always_invalidate = true};

	start(&sp);
	fx_path_up(&a);
	fx_path_up(&b);
}

static void
setup_full(void)
{
	const struct rtrs_srv_params sp = {
		.max_sessions = 2,
		.max_paths = 2,
		.max_unidentified = 2,
		.max_chunk_mem = 2 * 2 * CHUNK,
	};

	start(&sp);
}

static void
teardown(void)
{
	fx_fini(&f);
}

/* The liar is thrown out before anything was done for it; nobody else is. */
static void
expect_out(void)
{
	ck_assert(a.con[0]->disconnected);
	ck_assert(a.con[1]->disconnected);
	ck_assert_uint_eq(f.n_ops, 0);
	ck_assert(!b.con[0]->disconnected);
	fx_write(&b, 1, 0, NULL, 0, usr, sizeof(usr));
	ck_assert_uint_eq(f.n_ops, 1);
	rtrs_srv_op_done(f.ops[0], 0);
}

/* --- lengths and sums */

START_TEST(read_length_out_of_bounds)
{
	static const uint32_t lens[] = {
		0, 1, 4095, 4097, CHUNK, CHUNK + 1, INT32_MAX, UINT32_MAX};
	const struct rtrs_desc desc = {0x1000, 7, lens[_i]};

	fx_read(&a, 1, 0, 4096, usr, sizeof(usr), &desc, 0);
	expect_out();
}
END_TEST

START_TEST(usr_len_underflow)
{
	static const uint16_t lens[] = {33, 4096, UINT16_MAX};
	uint16_t len = lens[_i % 3];
	uint8_t hdr[24] = {_i < 3 ? 2 : 3, 0, (uint8_t)len,
			   (uint8_t)(len >> 8)};

	fx_raw(&a, 1, 0, 32, hdr, sizeof(hdr), 32);
	expect_out();
}
END_TEST

START_TEST(header_sum_beyond_the_chunk)
{
	/* Where a header begins, and it and its descriptor would end. */
	static const uint8_t hdr[8] = {3, 0, 0, 0, 0, 0, 1, 0};
	uint32_t off = CHUNK - 1 - (uint32_t)_i;
	size_t len =
		(size_t)_i + 1 < sizeof(hdr) ? (size_t)_i + 1 : sizeof(hdr);

	fx_raw(&a, 1, 0, off, hdr, len, off);
	expect_out();
}
END_TEST

START_TEST(chunk_id_out_of_bounds)
{
	/* A depth of 3 leaves one number of 2 bits. */
	const struct rtrs_srv_params sp = {.queue_depth = 3};

	fx_fini(&f);
	start(&sp);
	fx_path_up(&a);
	fx_path_up(&b);
	fx_imm(&a, 1, rtrs_imm_io_req(rtrs_imm_mem_bits(3), 3, 64));
	expect_out();
}
END_TEST

START_TEST(descriptor_count_out_of_bounds)
{
	static const uint16_t counts[] = {2, 3, 255, 256, UINT16_MAX};
	uint8_t hdr[40] = {3,
			   0,
			   32,
			   0,
			   0,
			   0,
			   (uint8_t)counts[_i],
			   (uint8_t)(counts[_i] >> 8)};

	fx_raw(&a, 1, 0, 32, hdr, sizeof(hdr), 32);
	expect_out();
}
END_TEST

/* --- order */

START_TEST(io_before_the_path_is_up)
{
	struct fx_path c;

	fx_path_init(&f, &c, 3, 3, 2);
	fx_connect_all(&c);
	/* Of the three kinds of immediates only this is an offence. */
	mock_write_imm(c.con[1], 0, 0, NULL, 0, 0x80000000);
	fx_run(&f);
	ck_assert(!c.con[1]->disconnected);
	mock_write_imm(c.con[_i], 0, 0, NULL, 0, 0x20);
	fx_run(&f);
	ck_assert(c.con[0]->disconnected);
	ck_assert_uint_eq(f.n_ops, 0);
	ck_assert(!b.con[0]->disconnected);
}
END_TEST

START_TEST(info_before_all_connections)
{
	struct fx_path c;

	fx_path_init(&f, &c, 3, 3, 2);
	fx_connect(&c, 0);
	fx_info_req(&c, "early");
	ck_assert(c.con[0]->disconnected);
	ck_assert_uint_eq(f.ups, 2);
}
END_TEST

START_TEST(info_twice)
{
	uint8_t buf[RTRS_INFO_REQ_LEN] = {0};

	mock_send(a.con[0], buf, 0);
	fx_run(&f);
	expect_out();
	ck_assert_uint_eq(f.ups, 2);
}
END_TEST

START_TEST(io_after_the_path_closed)
{
	struct fabric_wc wc = {.op = FABRIC_WC_OP_RECV_RDMA_IMM,
			       .with_imm = true,
			       .imm = 0x20};

	f.m.auto_close = false;
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	mock_wc(a.con[1], &wc);
	fx_run(&f);
	expect_out();
	f.m.auto_close = true;
	mock_event(a.con[0], FABRIC_EV_CLOSED, 0);
	mock_event(a.con[1], FABRIC_EV_CLOSED, 0);
	fx_run(&f);
}
END_TEST

START_TEST(msg_id_twice_in_flight)
{
	fx_write(&a, 1, 0, NULL, 0, usr, sizeof(usr));
	ck_assert_uint_eq(f.n_ops, 1);
	fx_imm(&a, (unsigned)_i, rtrs_imm_io_req(rtrs_imm_mem_bits(2), 0, 32));
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(f.n_ops, 1);
	/* Answered once, to nobody. */
	rtrs_srv_op_done(f.ops[0], 0);
	ck_assert(!b.con[0]->disconnected);
}
END_TEST

START_TEST(unexpected_message)
{
	mock_send(a.con[_i], NULL, 0);
	fx_run(&f);
	expect_out();
}
END_TEST

/* --- memory of others, memory of before */

START_TEST(user_message_changed_after_its_check)
{
	static const uint8_t evil[32] = "something else";

	fx_write(&a, 1, 0, NULL, 0, usr, sizeof(usr));
	fx_raw(&a, 1, 0, 0, evil, sizeof(evil), 0);
	ck_assert_mem_eq(f.ops[0]->usr, usr, sizeof(usr));
	rtrs_srv_op_done(f.ops[0], 0);
}
END_TEST

START_TEST(key_used_again_while_the_request_runs)
{
	uint32_t key = a.key[0];
	struct fx_reply r;

	fx_write(&a, 1, 0, NULL, 0, usr, sizeof(usr));
	ck_assert(!mock_key_valid(&f.m, key, a.addr[0], 1));
	rtrs_srv_op_done(f.ops[0], 0);
	fx_reply(&a, 1, &r);
	ck_assert(!mock_key_valid(&f.m, key, a.addr[0], 1));
}
END_TEST

START_TEST(read_without_a_place_reads_nothing)
{
	/* A READ that reserves room and names none gets no data_len. */
	fx_read(&a, 1, 0, 4096, usr, sizeof(usr), NULL, RTRS_READ_F_NEED_INVAL);
	ck_assert_uint_eq(f.n_ops, 1);
	ck_assert_uint_eq(f.ops[0]->data_len, 0);
	rtrs_srv_op_done(f.ops[0], 0);
}
END_TEST

/* --- the end, while something runs */

START_TEST(disconnect_during_io)
{
	struct rtrs_srv_path_info info;

	fx_write(&a, 1, 0, NULL, 0, usr, sizeof(usr));
	mock_event(a.con[1], FABRIC_EV_DISCONNECTED, -ECONNRESET);
	fx_run(&f);
	/* Its memory stays while the backend may use it, and its name. */
	ck_assert_uint_eq(fx_n_paths(&f), 2);
	ck_assert(fx_path_info(&f, 0, &info));
	ck_assert_uint_eq(info.stats.inflight, 1);
	ck_assert_uint_eq(f.downs, 0);
	ck_assert(rtrs_srv_op_lost(f.ops[0]));
	rtrs_srv_op_done(f.ops[0], 0);
	fx_run(&f);
	ck_assert_uint_eq(fx_n_paths(&f), 1);
	ck_assert_uint_eq(f.downs, 1);
}
END_TEST

START_TEST(completion_after_teardown_began)
{
	/* Its window is being ended when the path goes. */
	f.m.auto_complete = f.m.auto_close = false;
	fx_write(&a, 1, 0, NULL, 0, usr, sizeof(usr));
	ck_assert_uint_eq(f.n_ops, 0);
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	mock_complete(a.con[1], 1, FABRIC_WC_SUCCESS);
	fx_run(&f);
	ck_assert_uint_eq(f.n_ops, 0);
	mock_event(a.con[0], FABRIC_EV_CLOSED, 0);
	mock_event(a.con[1], FABRIC_EV_CLOSED, 0);
	f.m.auto_complete = f.m.auto_close = true;
	fx_run(&f);
	ck_assert_uint_eq(fx_n_paths(&f), 1);
}
END_TEST

START_TEST(heartbeats_without_end)
{
	unsigned most = a.con[0]->max_send_wr;

	f.m.auto_complete = false;
	for (unsigned i = 0; i < 4 * most; i++)
		fx_imm(&a, 0, rtrs_imm_hb_msg());
	/* Answers wait for room and become one. */
	ck_assert_uint_le(mock_unseen(a.con[0]), most);
	ck_assert(!a.con[0]->disconnected);
	f.m.auto_complete = true;
	fx_run(&f);
	ck_assert(!b.con[0]->disconnected);
}
END_TEST

START_TEST(unknown_immediates_are_one_line)
{
	unsigned before = f.warnings;

	for (unsigned i = 0; i < 1000; i++)
		fx_imm(&a, 1, 0x30000000u + (i << 28) % 0x50000000u);
	ck_assert_uint_le(f.warnings, before + 1);
	ck_assert(!b.con[0]->disconnected);
}
END_TEST

/* --- tables */

START_TEST(sessions_full)
{
	struct fx_path c;

	fx_path_init(&f, &c, 3, 3, 2);
	ck_assert(fx_connect(&a, 0)->accepted);
	ck_assert(fx_connect(&b, 0)->accepted);
	ck_assert_int_eq(fx_reject_errno(fx_connect(&c, 0)), -ENOMEM);
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 2);
}
END_TEST

START_TEST(paths_full)
{
	struct fx_path c;

	fx_path_init(&f, &c, 1, 3, 2);
	fx_path_init(&f, &b, 1, 2, 2);
	b.peer = OTHER;
	c.peer = "10.0.2.1";
	ck_assert(fx_connect(&a, 0)->accepted);
	ck_assert(fx_connect(&b, 0)->accepted);
	ck_assert_int_eq(fx_reject_errno(fx_connect(&c, 0)), -ECONNRESET);
}
END_TEST

START_TEST(memory_before_identification)
{
	struct rtrs_srv_counts n;

	/* Promised at most, and none is mapped before INFO_REQ. */
	fx_connect_all(&a);
	rtrs_srv_counts(f.srv, &n);
	ck_assert_uint_eq(n.chunk_mem, 2 * CHUNK);
	ck_assert_uint_eq(f.m.n_remote_mrs, 0);
}
END_TEST

START_TEST(half_open_for_ever)
{
	fx_connect(&a, 0);
	fx_until(&f, f.now + SEC(31));
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 0);
}
END_TEST

START_TEST(connection_numbers_out_of_bounds)
{
	static const uint16_t nums[][2] = {
		{0, 0},          {2, 2},
		{UINT16_MAX, 2}, {0, 4097},
		{0, UINT16_MAX}, {4096, 4096},
		{1, 1},          {UINT16_MAX, UINT16_MAX}};

	uint8_t priv[RTRS_CONN_REQ_LEN];
	struct mock_conn *c;

	a.req.cid = nums[_i][0];
	a.req.cid_num = nums[_i][1];
	rtrs_msg_conn_req_encode(&a.req, priv);
	c = mock_connect(&f.m, priv, sizeof(priv), LOCAL, PEER);
	fx_run(&f);
	ck_assert_int_eq(fx_reject_errno(c), -ECONNRESET);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}
END_TEST

/* --- names */

static void
say_name(const char *name, size_t len)
{
	uint8_t buf[RTRS_INFO_REQ_LEN] = {0};

	memcpy(buf + 2, name, len);
	fx_connect_all(&a);
	mock_send(a.con[0], buf, sizeof(buf));
	fx_run(&f);
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(f.ups, 0);
}

START_TEST(unterminated_session_name)
{
	char name[RTRS_NAME_LEN];

	memset(name, 'x', sizeof(name));
	say_name(name, sizeof(name));
}
END_TEST

START_TEST(session_name_that_is_a_path)
{
	static const char *const names[] = {"", "/", "a/b", "..", ".", "a.b"};

	say_name(names[_i], strlen(names[_i]));
}
END_TEST

START_TEST(session_name_of_another)
{
	f.sess_up_err = -EPERM;
	fx_connect_all(&a);
	fx_info_req(&a, "taken");
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(f.m.n_remote_mrs, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("hostile/requests");
	TCase *tc = tcase_create("static keys");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, read_length_out_of_bounds, 0, 8);
	tcase_add_loop_test(tc, usr_len_underflow, 0, 6);
	tcase_add_loop_test(tc, header_sum_beyond_the_chunk, 0, 23);
	tcase_add_test(tc, chunk_id_out_of_bounds);
	tcase_add_loop_test(tc, descriptor_count_out_of_bounds, 0, 5);
	tcase_add_loop_test(tc, io_before_the_path_is_up, 0, 2);
	tcase_add_test(tc, info_before_all_connections);
	tcase_add_test(tc, info_twice);
	tcase_add_test(tc, io_after_the_path_closed);
	tcase_add_loop_test(tc, msg_id_twice_in_flight, 0, 2);
	tcase_add_loop_test(tc, unexpected_message, 0, 2);
	tcase_add_test(tc, user_message_changed_after_its_check);
	tcase_add_test(tc, read_without_a_place_reads_nothing);
	tcase_add_test(tc, disconnect_during_io);
	tcase_add_test(tc, heartbeats_without_end);
	tcase_add_test(tc, unknown_immediates_are_one_line);
	suite_add_tcase(s, tc);
	tc = tcase_create("new keys");
	tcase_add_checked_fixture(tc, setup_mw, teardown);
	tcase_add_loop_test(tc, msg_id_twice_in_flight, 0, 2);
	tcase_add_test(tc, key_used_again_while_the_request_runs);
	tcase_add_test(tc, disconnect_during_io);
	tcase_add_test(tc, completion_after_teardown_began);
	suite_add_tcase(s, tc);
	tc = tcase_create("tables and names");
	tcase_add_checked_fixture(tc, setup_full, teardown);
	tcase_add_test(tc, sessions_full);
	tcase_add_test(tc, paths_full);
	tcase_add_test(tc, memory_before_identification);
	tcase_add_test(tc, half_open_for_ever);
	tcase_add_loop_test(tc, connection_numbers_out_of_bounds, 0, 8);
	tcase_add_test(tc, unterminated_session_name);
	tcase_add_loop_test(tc, session_name_that_is_a_path, 0, 6);
	tcase_add_test(tc, session_name_of_another);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
