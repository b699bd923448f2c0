/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rtrs/fabric/fabric.h"
#include "rtrs/fabric/tcp-wire.h"

START_TEST(handshake_round_trip)
{
	const struct tcp_hs in = {.type = TCP_HS_ACCEPT, .priv_len = 56};
	const uint8_t want[TCP_HS_SIZE] = {'R', 'T', 'R', 'S', '-', 'T',
					   'C', 'P', 1,   0,   2,   0,
					   56,  0,   0,   0};
	uint8_t buf[TCP_HS_SIZE];
	struct tcp_hs out;

	tcp_hs_encode(buf, &in);
	ck_assert_mem_eq(buf, want, sizeof(want));
	ck_assert_int_eq(tcp_hs_decode(buf, &out), 0);
	ck_assert_uint_eq(out.type, in.type);
	ck_assert_uint_eq(out.priv_len, in.priv_len);
}
END_TEST

START_TEST(handshake_refuses)
{
	const struct tcp_hs hs = {.type = TCP_HS_HELLO, .priv_len = 0};
	static const struct {
		unsigned at;
		uint8_t val;
		int ret;
	} bad[] = {
		{0, 'X', -EPROTO}, {7, 0, -EPROTO},  {8, 2, 1},
		{9, 1, 1},         {10, 0, -EPROTO}, {10, 4, -EPROTO},
		{11, 1, -EPROTO},  {13, 2, -EPROTO}, {14, 1, -EPROTO},
		{15, 1, -EPROTO},
	};
	struct tcp_hs out;
	uint8_t buf[TCP_HS_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		tcp_hs_encode(buf, &hs);
		buf[bad[i].at] = bad[i].val;
		ck_assert_msg(tcp_hs_decode(buf, &out) == bad[i].ret,
			      "case %zu", i);
	}
	tcp_hs_encode(buf, &hs);
	buf[13] = 1; /* 256 is the limit */
	ck_assert_int_eq(tcp_hs_decode(buf, &out), 0);
	buf[12] = 1;
	ck_assert_int_eq(tcp_hs_decode(buf, &out), -EPROTO);
	ck_assert_int_eq(tcp_hs_check_magic(buf, 3), 0);
	ck_assert_int_eq(tcp_hs_check_magic(buf, 0), 0);
	ck_assert_int_eq(tcp_hs_check_magic((const uint8_t *)"GET", 1),
			 -EPROTO);
}
END_TEST

START_TEST(frame_round_trip)
{
	for (int op = TCP_OP_SEND; op <= TCP_OP_ERROR; op++) {
		const struct tcp_frame in = {
			.op = (uint8_t)op,
			.len = 0x12345,
			.raddr = UINT64_C(0x1122334455667788),
			.rkey = 0xaabbccdd,
			.imm = 0x01020304,
			.arg = 0x05060708,
		};
		uint8_t buf[TCP_FRAME_SIZE];
		struct tcp_frame out;
		bool write = op == TCP_OP_WRITE || op == TCP_OP_WRITE_IMM;
		bool imm = op == TCP_OP_SEND_IMM || op == TCP_OP_WRITE_IMM;
		bool arg = op == TCP_OP_SEND_INV || op == TCP_OP_ERROR;

		tcp_frame_encode(buf, &in);
		ck_assert_int_eq(tcp_frame_decode(buf, &out), 0);
		ck_assert_uint_eq(out.op, op);
		ck_assert_uint_eq(out.len,
				  op >= TCP_OP_DISCONNECT ? 0 : in.len);
		ck_assert_uint_eq(out.raddr, write ? in.raddr : 0);
		ck_assert_uint_eq(out.rkey, write ? in.rkey : 0);
		ck_assert_uint_eq(out.imm, imm ? in.imm : 0);
		ck_assert_uint_eq(out.arg, arg ? in.arg : 0);
		if (imm)
			ck_assert_mem_eq(buf + 20, "\1\2\3\4", 4);
		if (arg)
			ck_assert_mem_eq(buf + 20, "\10\7\6\5", 4);
	}
}
END_TEST

START_TEST(frame_refuses)
{
	static const struct {
		uint8_t op;
		unsigned at;
		uint8_t val;
	} bad[] = {
		{TCP_OP_SEND, 0, 0},       {TCP_OP_SEND, 0, 8},
		{TCP_OP_SEND, 0, 255},     {TCP_OP_SEND, 1, 1},
		{TCP_OP_SEND, 2, 1},       {TCP_OP_SEND, 3, 1},
		{TCP_OP_SEND, 7, 0x41}, /* more than 2^30 bytes */
		{TCP_OP_SEND, 8, 1},       {TCP_OP_SEND, 16, 1},
		{TCP_OP_SEND, 20, 1},      {TCP_OP_WRITE, 23, 1},
		{TCP_OP_DISCONNECT, 4, 1}, {TCP_OP_DISCONNECT, 20, 1},
		{TCP_OP_ERROR, 15, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct tcp_frame f = {.op = bad[i].op};
		uint8_t buf[TCP_FRAME_SIZE];
		struct tcp_frame out;

		tcp_frame_encode(buf, &f);
		ck_assert_int_eq(tcp_frame_decode(buf, &out), 0);
		buf[bad[i].at] = bad[i].val;
		ck_assert_msg(tcp_frame_decode(buf, &out) == -EPROTO,
			      "case %zu", i);
	}
}
END_TEST

/* What is decoded encodes to the same bytes: nothing is ignored. */
START_TEST(frame_decoding_is_exact)
{
	uint64_t x = 1;
	unsigned ok = 0;

	for (int i = 0; i < 200000; i++) {
		uint8_t buf[TCP_FRAME_SIZE] = {0}, again[TCP_FRAME_SIZE];
		struct tcp_frame f;

		for (unsigned k = 0; k < 6; k++) {
			x = x * UINT64_C(6364136223846793005) + 1;
			buf[(x >> 33) % TCP_FRAME_SIZE] = (uint8_t)(x >> 56);
		}
		buf[0] = (uint8_t)((x >> 40) % 9);
		if (tcp_frame_decode(buf, &f) < 0)
			continue;
		ok++;
		tcp_frame_encode(again, &f);
		ck_assert_mem_eq(buf, again, sizeof(buf));
	}
	ck_assert_uint_gt(ok, 100);
}
END_TEST

START_TEST(names_are_total)
{
	ck_assert_ptr_eq(fabric_by_name("tcp"), &fabric_tcp);
	ck_assert_ptr_null(fabric_by_name("sim"));
	ck_assert_ptr_null(fabric_by_name(""));
	ck_assert_str_eq(fabric_wr_op_name(FABRIC_WR_RDMA_WRITE_WITH_IMM),
			 "RDMA_WRITE_WITH_IMM");
	ck_assert_str_eq(fabric_wr_op_name(1000), "unknown");
	ck_assert_str_eq(fabric_wc_status_name(FABRIC_WC_FLUSHED), "FLUSHED");
	ck_assert_str_eq(fabric_wc_status_name(3), "unknown");
	ck_assert_str_eq(tcp_violation_name(TCP_V_KEY), "unknown key");
	ck_assert_str_eq(tcp_violation_name(0), "unknown violation");
	ck_assert_str_eq(tcp_violation_name(7), "unknown violation");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tcp-wire");
	TCase *tc = tcase_create("tcp-wire");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_test(tc, handshake_round_trip);
	tcase_add_test(tc, handshake_refuses);
	tcase_add_test(tc, frame_round_trip);
	tcase_add_test(tc, frame_refuses);
	tcase_add_test(tc, frame_decoding_is_exact);
	tcase_add_test(tc, names_are_total);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
