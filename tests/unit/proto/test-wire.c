/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>

#include "proto/wire.h"
#include "tests/unit/proto/proto-test.h"

static const uint8_t bytes[] = {0x01, 0x02, 0x03, 0x04, 0x05,
				0x06, 0x07, 0x88, 0x99};

START_TEST(range_ok__is_exact_and_does_not_overflow)
{
	static const struct {
		uint64_t off, len, limit;
		bool ok;
	} c[] = {
		{0, 0, 0, true},
		{0, 1, 0, false},
		{1, 0, 0, false},
		{0, 8, 8, true},
		{0, 9, 8, false},
		{7, 1, 8, true},
		{8, 0, 8, true},
		{8, 1, 8, false},
		{9, 0, 8, false},
		{1, UINT64_MAX, 8, false},
		{UINT64_MAX, 1, 8, false},
		{UINT64_MAX, UINT64_MAX, 8, false},
		{UINT64_MAX, 0, UINT64_MAX, true},
		{UINT64_MAX, 1, UINT64_MAX, false},
		{0, UINT64_MAX, UINT64_MAX, true},
		{1, UINT64_MAX, UINT64_MAX, false},
	};

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		ck_assert_msg(wire_range_ok(c[i].off, c[i].len, c[i].limit) ==
				      c[i].ok,
			      "row %zu", i);
}
END_TEST

START_TEST(get__integers_are_little_endian)
{
	struct wire_rd r = wire_rd_init(bytes, sizeof(bytes));

	ck_assert_uint_eq(wire_get_u8(&r), 0x01);
	ck_assert_uint_eq(wire_get_le16(&r), 0x0302);
	ck_assert_uint_eq(wire_get_le32(&r), 0x07060504);
	ck_assert_uint_eq(wire_get_le16(&r), 0x9988);
	ck_assert(!r.bad);
	ck_assert_uint_eq(r.left, 0);

	r = wire_rd_init(bytes, 8);
	ck_assert(wire_get_le64(&r) == 0x8807060504030201u);
	ck_assert(!r.bad);
}
END_TEST

START_TEST(get__skip_bytes_and_ref_move_on)
{
	struct wire_rd r = wire_rd_init(bytes, sizeof(bytes));
	uint8_t out[3];

	wire_get_skip(&r, 2);
	wire_get_bytes(&r, out, 3);
	ck_assert_mem_eq(out, bytes + 2, 3);
	ck_assert_ptr_eq(wire_get_ref(&r, 4), bytes + 5);
	ck_assert(!r.bad);
	ck_assert_uint_eq(r.left, 0);
}
END_TEST

/* 8 bytes of 0xff before a fence: each getter, one byte short. */
START_TEST(get__too_short_gives_zero_and_sticks)
{
	struct fence f = fence_new(8);
	uint8_t *p = fence_at(&f, 8);
	uint8_t out[4];

	memset(p, 0xff, 8);
	for (int getter = 0; getter < 5; getter++) {
		static const size_t size[] = {1, 2, 4, 8, 4};
		struct wire_rd r =
			wire_rd_init(p + 9 - size[getter], size[getter] - 1);
		uint64_t v = 1;

		if (getter == 0)
			v = wire_get_u8(&r);
		else if (getter == 1)
			v = wire_get_le16(&r);
		else if (getter == 2)
			v = wire_get_le32(&r);
		else if (getter == 3)
			v = wire_get_le64(&r);
		else {
			memset(out, 0xee, sizeof(out));
			wire_get_bytes(&r, out, sizeof(out));
			v = (uint64_t)out[0] + out[1] + out[2] + out[3];
		}
		ck_assert_msg(v == 0, "getter %d", getter);
		ck_assert_msg(r.bad, "getter %d", getter);

		/* What would fit does not come any more either. */
		ck_assert_uint_eq(wire_get_u8(&r), 0);
		ck_assert_uint_eq(wire_get_le16(&r), 0);
		ck_assert_uint_eq(wire_get_le32(&r), 0);
		ck_assert(wire_get_le64(&r) == 0);
		ck_assert_ptr_null(wire_get_ref(&r, 0));
		ck_assert(r.bad);
	}
	fence_free(&f);
}
END_TEST

START_TEST(get__skip_and_ref_beyond_the_end_stick)
{
	struct wire_rd r = wire_rd_init(bytes, 4);

	wire_get_skip(&r, 5);
	ck_assert(r.bad);
	r = wire_rd_init(bytes, 4);
	ck_assert_ptr_null(wire_get_ref(&r, SIZE_MAX));
	ck_assert(r.bad);
}
END_TEST

START_TEST(get__nothing_from_an_empty_buffer_is_fine)
{
	struct wire_rd r = wire_rd_init(NULL, 0);
	uint8_t out = 0xee;

	wire_get_skip(&r, 0);
	wire_get_bytes(&r, &out, 0);
	ck_assert(!r.bad);
	ck_assert_uint_eq(out, 0xee);
	ck_assert_uint_eq(wire_get_u8(&r), 0);
	ck_assert(r.bad);
}
END_TEST

START_TEST(put__integers_are_little_endian)
{
	uint8_t buf[9];
	struct wire_wr w = wire_wr_init(buf, sizeof(buf));

	wire_put_u8(&w, 0x01);
	wire_put_le16(&w, 0x0302);
	wire_put_le32(&w, 0x07060504);
	wire_put_le16(&w, 0x9988);
	ck_assert(!w.bad);
	ck_assert_uint_eq(w.left, 0);
	ck_assert_mem_eq(buf, bytes, 9);

	memset(buf, 0, sizeof(buf));
	w = wire_wr_init(buf, 8);
	wire_put_le64(&w, 0x8807060504030201u);
	ck_assert(!w.bad);
	ck_assert_mem_eq(buf, bytes, 8);
}
END_TEST

START_TEST(put__bytes_and_zero_move_on)
{
	uint8_t buf[5];
	struct wire_wr w = wire_wr_init(buf, sizeof(buf));

	memset(buf, 0xee, sizeof(buf));
	wire_put_bytes(&w, bytes, 2);
	wire_put_bytes(&w, NULL, 0);
	wire_put_zero(&w, 3);
	ck_assert(!w.bad);
	ck_assert_uint_eq(w.left, 0);
	ck_assert_mem_eq(buf, "\x01\x02\0\0\0", 5);
}
END_TEST

START_TEST(put__nothing_into_a_full_buffer_is_fine)
{
	uint8_t last = 0xee;
	struct wire_wr w = wire_wr_init(&last, 0);

	wire_put_zero(&w, 0);
	wire_put_bytes(&w, bytes, 0);
	ck_assert(!w.bad);
	ck_assert_ptr_eq(w.p, &last);
	ck_assert_uint_eq(last, 0xee);
}
END_TEST

START_TEST(put__too_short_writes_nothing_and_sticks)
{
	struct fence f = fence_new(8);
	uint8_t *p = fence_at(&f, 8);

	for (int putter = 0; putter < 6; putter++) {
		static const size_t size[] = {1, 2, 4, 8, 4, 4};
		struct wire_wr w =
			wire_wr_init(p + 9 - size[putter], size[putter] - 1);

		memset(p, 0xee, 8);
		if (putter == 0)
			wire_put_u8(&w, 1);
		else if (putter == 1)
			wire_put_le16(&w, 1);
		else if (putter == 2)
			wire_put_le32(&w, 1);
		else if (putter == 3)
			wire_put_le64(&w, 1);
		else if (putter == 4)
			wire_put_bytes(&w, bytes, 4);
		else
			wire_put_zero(&w, 4);
		ck_assert_msg(w.bad, "putter %d", putter);
		wire_put_u8(&w, 1);
		wire_put_zero(&w, 1);
		for (int i = 0; i < 8; i++)
			ck_assert_msg(p[i] == 0xee, "putter %d", putter);
		ck_assert(w.bad);
	}
	fence_free(&f);
}
END_TEST

START_TEST(put_then_get__is_identity)
{
	struct rng g = {.state = 1};

	for (int i = 0; i < 1000; i++) {
		uint64_t a = rng_next(&g), b = rng_next(&g);
		uint8_t buf[1 + 2 + 4 + 8];
		struct wire_wr w = wire_wr_init(buf, sizeof(buf));
		struct wire_rd r = wire_rd_init(buf, sizeof(buf));

		wire_put_u8(&w, (uint8_t)a);
		wire_put_le16(&w, (uint16_t)a);
		wire_put_le32(&w, (uint32_t)a);
		wire_put_le64(&w, b);
		ck_assert_uint_eq(wire_get_u8(&r), (uint8_t)a);
		ck_assert_uint_eq(wire_get_le16(&r), (uint16_t)a);
		ck_assert_uint_eq(wire_get_le32(&r), (uint32_t)a);
		ck_assert(wire_get_le64(&r) == b);
		ck_assert(!w.bad && !w.left && !r.bad && !r.left);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("proto/wire");
	TCase *tc = tcase_create("wire");

	tcase_add_test(tc, range_ok__is_exact_and_does_not_overflow);
	tcase_add_test(tc, get__integers_are_little_endian);
	tcase_add_test(tc, get__skip_bytes_and_ref_move_on);
	tcase_add_test(tc, get__too_short_gives_zero_and_sticks);
	tcase_add_test(tc, get__skip_and_ref_beyond_the_end_stick);
	tcase_add_test(tc, get__nothing_from_an_empty_buffer_is_fine);
	tcase_add_test(tc, put__integers_are_little_endian);
	tcase_add_test(tc, put__bytes_and_zero_move_on);
	tcase_add_test(tc, put__nothing_into_a_full_buffer_is_fine);
	tcase_add_test(tc, put__too_short_writes_nothing_and_sticks);
	tcase_add_test(tc, put_then_get__is_identity);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
