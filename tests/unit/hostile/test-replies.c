/* SPDX-License-Identifier: BSD-3-Clause */
/* What a hostile server does to the RTRS client; classes in README.md. */
#include <errno.h>
#include <string.h>

#include "tests/unit/clt/fixture.h"

static const char usr[32] = "thirty-two bytes of user message";
static struct fx f;
static struct fx_req r;

static void
up(unsigned caps, uint32_t flags)
{
	fx_init(&f, caps, 1);
	f.rsp.flags = flags;
	fx_up(&f);
}

static void
submit(enum rtrs_dir dir, uint32_t len)
{
	ck_assert_int_eq(
		fx_submit(&f, &r, dir, RTRS_PERMIT_IO, usr, sizeof(usr), len),
		0);
}

/* The path is given up, and its request ends once. */
static void
expect_out(void)
{
	fx_run(&f);
	ck_assert_int_ne(fx_state(&f, 0), RTRS_CLT_CONNECTED);
	ck_assert_uint_eq(r.n_done, 1);
	ck_assert_int_eq(r.err, -ECONNABORTED);
	fx_deinit(&f);
}

START_TEST(sizes_of_a_hostile_server)
{
	static const struct {
		uint16_t depth;
		uint32_t io, hdr;
	} rows[] = {
		{0, 126976, 4096},
		{UINT16_MAX, 126976, 4096},
		{8, 0, 4096},
		{8, UINT32_MAX, 4096},
		{8, UINT32_MAX - 4095, 4096},
		{8, 126976, 0},
		{8, 126976, 1},
		{8, 126976, 511},
		{8, 126976, UINT32_MAX},
		{8, UINT32_MAX, UINT32_MAX},
		{8, 0x80000000, 0x80000000},
		{1, 1u << 28, 4096},
		{8, 512, 512},
	};

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	f.rsp.queue_depth = rows[_i].depth;
	f.rsp.max_io_size = rows[_i].io;
	f.rsp.max_hdr_size = rows[_i].hdr;
	fx_accept(&f);
	fx_run(&f);
	ck_assert_uint_eq(f.n_failed, 1);
	ck_assert_int_eq(f.failed_err, -EPROTO);
	/* Nothing was allocated for them. */
	ck_assert_uint_eq(f.m.live_mrs, 0);
	fx_deinit(&f);
}
END_TEST

START_TEST(info_rsp_sums)
{
	static const struct {
		uint16_t n;
		uint32_t len[2];
	} rows[] = {
		/* Eight chunks of 128 KiB are 0x100000. */
		{1, {0x100000 - 1}},
		{1, {0x100000 + 0x20000}},
		{1, {0}},
		{1, {UINT32_MAX}},
		{2, {0x80000, 0}},
		{2, {0x80000, 0x80000 + 0x20000}},
		{2, {0x80100000, 0x80000000}},
		{2, {UINT32_MAX, 0x100001}},
	};
	struct rtrs_desc desc[2];
	uint8_t buf[8 + 2 * 16];
	int len;

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	fx_accept_all(&f);
	for (unsigned i = 0; i < 2; i++)
		desc[i] = (struct rtrs_desc){.addr = UINT64_MAX - 15,
					     .key = 1,
					     .len = rows[_i].len[i]};
	len = rtrs_msg_info_rsp_encode(desc, rows[_i].n, buf, sizeof(buf));
	mock_peer_send(f.m.conns[0], buf, (uint32_t)len);
	fx_run(&f);
	ck_assert_uint_eq(f.n_failed, 1);
	fx_deinit(&f);
}
END_TEST

START_TEST(message_before_info_rsp)
{
	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	fx_accept_all(&f);
	if (_i)
		mock_peer_write_imm(f.m.conns[0], rtrs_imm_io_rsp(0, 0, false));
	else
		mock_peer_write_imm(f.m.conns[0], rtrs_imm_hb_msg());
	fx_run(&f);
	ck_assert_uint_eq(f.n_failed, 1);
	ck_assert_uint_eq(f.n_up, 0);
	fx_deinit(&f);
}
END_TEST

START_TEST(each_connection_refused_in_turn)
{
	fx_init(&f, CHEAP, 1);
	f.p.n_cons = 4;
	fx_open(&f);
	for (int i = 0; i < _i; i++)
		fx_accept(&f);
	mock_rejected(mock_last_conn(&f.m), NULL, 0);
	fx_run(&f);
	ck_assert_uint_eq(f.n_failed, 1);
	fx_deinit(&f);
}
END_TEST

START_TEST(reply_to_nobody)
{
	static const uint32_t ids[] = {1, 7, 8, 511, 0x7ffff};

	up(CHEAP, 0);
	submit(RTRS_WRITE, 0);
	mock_peer_write_imm(fx_conn(&f, 0, 1),
			    rtrs_imm_io_rsp(ids[_i], 0, false));
	expect_out();
}
END_TEST

START_TEST(reply_twice)
{
	up(CHEAP, 0);
	submit(RTRS_WRITE, 0);
	fx_reply(&f, 0, 1, 0, 0);
	fx_reply(&f, 0, 1, 0, 0);
	fx_run(&f);
	/* The second is the offence; the first has counted. */
	ck_assert_int_ne(fx_state(&f, 0), RTRS_CLT_CONNECTED);
	ck_assert_uint_eq(r.n_done, 1);
	ck_assert_int_eq(r.err, 0);
	fx_deinit(&f);
}
END_TEST

START_TEST(key_message_of_another_chunk)
{
	static const uint16_t ids[] = {1, 7, 8, UINT16_MAX};
	struct rtrs_msg_rkey_rsp m = {.buf_id = ids[_i], .rkey = 5};
	uint8_t buf[RTRS_RKEY_RSP_LEN];

	up(CHEAP, RTRS_RSP_F_NEW_RKEY);
	submit(RTRS_WRITE, 0);
	rtrs_msg_rkey_rsp_encode(&m, buf);
	mock_peer_send_imm(fx_conn(&f, 0, 1), buf, sizeof(buf),
			   rtrs_imm_io_rsp(0, 0, false));
	expect_out();
}
END_TEST

START_TEST(key_ended_unasked)
{
	up(CHEAP_INV, 0);
	submit(RTRS_WRITE, 512);
	mock_peer_write_imm(fx_conn(&f, 0, 1), rtrs_imm_io_rsp(0, 0, true));
	fx_run(&f);
	ck_assert_int_ne(fx_state(&f, 0), RTRS_CLT_CONNECTED);
	ck_assert_uint_eq(r.n_done, 1);
	fx_deinit(&f);
}
END_TEST

/* The descriptor of the last read. */
static struct rtrs_desc
sent_desc(void)
{
	const struct mock_send *s = mock_last_send(&f.m);
	struct rtrs_msg_req m;

	ck_assert_int_eq(rtrs_msg_req_decode(s->bytes + sizeof(usr),
					     s->len - sizeof(usr), &m),
			 0);
	return m.desc;
}

START_TEST(data_beyond_the_buffer)
{
	struct rtrs_desc d;
	uint8_t data[1024] = {0};

	up(CHEAP, 0);
	submit(RTRS_READ, 512);
	d = sent_desc();
	ck_assert_uint_eq(d.len, 512);
	/* The fabric lets in what was asked for, and nothing around it. */
	ck_assert(mock_peer_write(fx_conn(&f, 0, 1), d.addr, d.key, data, 512));
	ck_assert(
		!mock_peer_write(fx_conn(&f, 0, 1), d.addr, d.key, data, 513));
	ck_assert(!mock_peer_write(fx_conn(&f, 0, 1), d.addr - 1, d.key, data,
				   1));
	ck_assert(!mock_peer_write(fx_conn(&f, 0, 1), d.addr + 512, d.key, data,
				   1));
	fx_reply(&f, 0, 1, 0, 0);
	fx_run(&f);
	ck_assert_uint_eq(r.n_done, 1);
	fx_deinit(&f);
}
END_TEST

START_TEST(data_after_the_reply)
{
	struct rtrs_desc d;
	uint8_t data[512] = {0};

	up(CHEAP, 0);
	submit(RTRS_READ, 512);
	d = sent_desc();
	fx_reply(&f, 0, 1, 0, _i ? -EIO : 0);
	fx_run(&f);
	ck_assert_uint_eq(r.n_done, 1);
	/* The memory is its owner's again. */
	ck_assert(!mock_peer_write(fx_conn(&f, 0, 1), d.addr, d.key, data,
				   sizeof(data)));
	ck_assert(!mock_is_exposed(&f.m, r.data));
	fx_deinit(&f);
}
END_TEST

START_TEST(disconnect_during_io)
{
	up(CHEAP, 0);
	submit(_i ? RTRS_READ : RTRS_WRITE, 512);
	mock_disconnected(fx_conn(&f, 0, 1), -ECONNRESET);
	expect_out();
}
END_TEST

START_TEST(claim_that_a_request_was_lost)
{
	/* Whoever hears our word for it would send the request again. */
	up(CHEAP, 0);
	submit(RTRS_WRITE, 0);
	fx_reply(&f, 0, 1, 0, -ECONNABORTED);
	fx_run(&f);
	ck_assert_uint_eq(r.n_done, 1);
	ck_assert_int_eq(r.err, -EIO);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CONNECTED);
	fx_deinit(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("hostile/replies");
	TCase *tc = tcase_create("replies");

	tcase_add_loop_test(tc, sizes_of_a_hostile_server, 0, 13);
	tcase_add_loop_test(tc, info_rsp_sums, 0, 8);
	tcase_add_loop_test(tc, message_before_info_rsp, 0, 2);
	tcase_add_loop_test(tc, each_connection_refused_in_turn, 0, 4);
	tcase_add_loop_test(tc, reply_to_nobody, 0, 5);
	tcase_add_test(tc, reply_twice);
	tcase_add_loop_test(tc, key_message_of_another_chunk, 0, 4);
	tcase_add_test(tc, key_ended_unasked);
	tcase_add_test(tc, data_beyond_the_buffer);
	tcase_add_loop_test(tc, data_after_the_reply, 0, 2);
	tcase_add_loop_test(tc, disconnect_during_io, 0, 2);
	tcase_add_test(tc, claim_that_a_request_was_lost);
	suite_add_tcase(s, tc);
	return fx_main(s);
}
