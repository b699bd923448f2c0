/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <limits.h>

#include "proto/rtrs-imm.h"
#include "tests/unit/proto/proto-test.h"

START_TEST(bits__of_n_minus_one)
{
	static const struct {
		uint64_t n;
		unsigned bits;
	} c[] = {
		{0, 0},
		{1, 0},
		{2, 1},
		{3, 2},
		{4, 2},
		{5, 3},
		{256, 8},
		{257, 9},
		{300, 9},
		{512, 9},
		{513, 10},
		{65535, 16},
		{65536, 16},
		{65537, 17},
		{UINT64_C(1) << 32, 32},
		{(UINT64_C(1) << 32) + 1, 33},
		{UINT64_MAX, 64},
	};

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		ck_assert_msg(rtrs_bits(c[i].n) == c[i].bits, "row %zu", i);
}
END_TEST

START_TEST(mem_bits__is_what_the_queue_depth_leaves)
{
	static const struct {
		unsigned qd, mem_bits;
	} c[] = {
		{1, 28},         {2, 27},     {3, 26},       {300, 19},
		{512, 19},       {513, 18},   {2048, 17},    {32768, 13},
		{32769, 12},     {65535, 12}, {1u << 27, 1}, {1u << 28, 0},
		{UINT32_MAX, 0},
	};

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		ck_assert_uint_eq(rtrs_imm_mem_bits(c[i].qd), c[i].mem_bits);
}
END_TEST

START_TEST(sizes_ok__the_bit_sum_is_28_at_most)
{
	static const struct {
		uint32_t qd;
		uint64_t chunk;
		bool ok;
	} c[] = {
		{512, 131072, true},
		{2048, 131072, true},
		{2049, 131072, false},
		{2048, 131073, false},
		{512, 512 << 10, true},
		{513, 512 << 10, false},
		{256, 1 << 20, true},
		{257, 1 << 20, false},
		{32768, 8192, true},
		{32769, 8192, false},
		{1, 1 << 28, true},
		{1, (1 << 28) + 1, false},
		{2, 1 << 28, false},
		{1, 1, true},
		{0, 8192, false},
		{1, 0, false},
		{0, 0, false},
		{1, UINT64_MAX, false},
		{UINT32_MAX, UINT64_MAX, false},
	};

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		ck_assert_msg(rtrs_imm_sizes_ok(c[i].qd, c[i].chunk) == c[i].ok,
			      "row %zu", i);
}
END_TEST

START_TEST(decode__splits_anything)
{
	struct rtrs_imm imm = rtrs_imm_decode(0xffffffff);

	ck_assert_uint_eq(imm.type, 15);
	ck_assert_uint_eq(imm.payload, 0x0fffffff);
	imm = rtrs_imm_decode(0);
	ck_assert_uint_eq(imm.type, RTRS_IMM_IO_REQ);
	ck_assert_uint_eq(imm.payload, 0);
	imm = rtrs_imm_decode(0x90000001);
	ck_assert_uint_eq(imm.type, RTRS_IMM_HB_ACK);
	ck_assert_uint_eq(imm.payload, 1);
}
END_TEST

START_TEST(io_req__round_trip_at_every_depth)
{
	struct rng g = {.state = 2};

	for (unsigned qd = 1; qd <= 65535; qd += qd < 600 ? 1 : 97) {
		unsigned mem_bits = rtrs_imm_mem_bits(qd);
		uint32_t off = (uint32_t)rng_below(&g, UINT64_C(1) << mem_bits);
		uint32_t buf_id = (uint32_t)rng_below(&g, qd);
		uint32_t edge_off = (uint32_t)((UINT64_C(1) << mem_bits) - 1);
		struct rtrs_imm imm;
		uint32_t id, o;

		imm = rtrs_imm_decode(rtrs_imm_io_req(mem_bits, buf_id, off));
		ck_assert_uint_eq(imm.type, RTRS_IMM_IO_REQ);
		rtrs_imm_io_req_payload(imm.payload, mem_bits, &id, &o);
		ck_assert_uint_eq(id, buf_id);
		ck_assert_uint_eq(o, off);

		imm = rtrs_imm_decode(
			rtrs_imm_io_req(mem_bits, qd - 1, edge_off));
		rtrs_imm_io_req_payload(imm.payload, mem_bits, &id, &o);
		ck_assert_uint_eq(id, qd - 1);
		ck_assert_uint_eq(o, edge_off);
	}
}
END_TEST

START_TEST(io_req__bits_outside_are_cut)
{
	/* Neither field may reach into the other one or into the type. */
	ck_assert_uint_eq(rtrs_imm_io_req(19, 0x200, 0), 0);
	ck_assert_uint_eq(rtrs_imm_io_req(19, UINT32_MAX, 0), 0x0ff80000);
	ck_assert_uint_eq(rtrs_imm_io_req(19, 0, UINT32_MAX), 0x0007ffff);
	ck_assert_uint_eq(rtrs_imm_io_req(28, UINT32_MAX, 0), 0);
	ck_assert_uint_eq(rtrs_imm_io_req(28, 0, UINT32_MAX), 0x0fffffff);
}
END_TEST

START_TEST(io_rsp__errno_and_id)
{
	static const struct {
		uint32_t id;
		int err;
		bool inv;
		uint32_t imm;
	} c[] = {
		{0, 0, false, 0x10000000},
		{0, 0, true, 0x20000000},
		{5, -107, false, 0x13580005},
		{511, -5, true, 0x202801ff},
		{0x7ffff, 0, false, 0x1007ffff},
		{0, -1, false, 0x10080000},
		{0, -511, false, 0x1ff80000},
		{0x7ffff, -511, true, 0x2fffffff},
	};

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct rtrs_imm imm = rtrs_imm_decode(c[i].imm);
		uint32_t id;
		int err;

		ck_assert_uint_eq(rtrs_imm_io_rsp(c[i].id, c[i].err, c[i].inv),
				  c[i].imm);
		ck_assert_uint_eq(imm.type, c[i].inv ? RTRS_IMM_IO_RSP_W_INV
						     : RTRS_IMM_IO_RSP);
		rtrs_imm_io_rsp_payload(imm.payload, &id, &err);
		ck_assert_uint_eq(id, c[i].id);
		ck_assert_int_eq(err, c[i].err);
	}
}
END_TEST

START_TEST(io_rsp__what_does_not_fit_is_EIO_never_success)
{
	static const int errs[] = {-512, -513, -524, -1024,  INT_MIN,
				   1,    22,   512,  INT_MAX};

	for (size_t i = 0; i < sizeof(errs) / sizeof(errs[0]); i++)
		ck_assert_uint_eq(rtrs_imm_io_rsp(3, errs[i], false),
				  0x10280003);
}
END_TEST

START_TEST(io_rsp__a_large_id_does_not_reach_the_errno)
{
	ck_assert_uint_eq(rtrs_imm_io_rsp(0x80000, 0, false), 0x10000000);
	ck_assert_uint_eq(rtrs_imm_io_rsp(UINT32_MAX, -1, true), 0x200fffff);
}
END_TEST

START_TEST(heartbeats)
{
	ck_assert_uint_eq(rtrs_imm_hb_msg(), 0x80000000);
	ck_assert_uint_eq(rtrs_imm_hb_ack(), 0x90000000);
}
END_TEST

START_TEST(wire__is_big_endian)
{
	struct rng g = {.state = 3};
	uint8_t b[4];

	rtrs_imm_to_wire(0x13580005, b);
	ck_assert_mem_eq(b, "\x13\x58\x00\x05", 4);
	ck_assert_uint_eq(rtrs_imm_from_wire(b), 0x13580005);
	ck_assert_uint_eq(rtrs_imm_from_wire((uint8_t[]){255, 254, 253, 252}),
			  0xfffefdfc);
	for (int i = 0; i < 1000; i++) {
		uint32_t v = (uint32_t)rng_next(&g);

		rtrs_imm_to_wire(v, b);
		ck_assert_uint_eq(rtrs_imm_from_wire(b), v);
	}
}
END_TEST

START_TEST(type_name__is_total)
{
	ck_assert_str_eq(rtrs_imm_type_name(0), "IO_REQ");
	ck_assert_str_eq(rtrs_imm_type_name(1), "IO_RSP");
	ck_assert_str_eq(rtrs_imm_type_name(2), "IO_RSP_W_INV");
	ck_assert_str_eq(rtrs_imm_type_name(8), "HB_MSG");
	ck_assert_str_eq(rtrs_imm_type_name(9), "HB_ACK");
	for (unsigned t = 3; t < 20; t++)
		if (t != 8 && t != 9)
			ck_assert_str_eq(rtrs_imm_type_name(t), "unknown");
	ck_assert_str_eq(rtrs_imm_type_name(UINT_MAX), "unknown");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("proto/rtrs-imm");
	TCase *tc = tcase_create("rtrs-imm");

	tcase_add_test(tc, bits__of_n_minus_one);
	tcase_add_test(tc, mem_bits__is_what_the_queue_depth_leaves);
	tcase_add_test(tc, sizes_ok__the_bit_sum_is_28_at_most);
	tcase_add_test(tc, decode__splits_anything);
	tcase_add_test(tc, io_req__round_trip_at_every_depth);
	tcase_add_test(tc, io_req__bits_outside_are_cut);
	tcase_add_test(tc, io_rsp__errno_and_id);
	tcase_add_test(tc, io_rsp__what_does_not_fit_is_EIO_never_success);
	tcase_add_test(tc, io_rsp__a_large_id_does_not_reach_the_errno);
	tcase_add_test(tc, heartbeats);
	tcase_add_test(tc, wire__is_big_endian);
	tcase_add_test(tc, type_name__is_total);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
