/* SPDX-License-Identifier: BSD-3-Clause */
/* INFO_RSP has rules enough for a file of its own. */
#include <check.h>
#include <errno.h>

#include "proto/rtrs-msg.h"
#include "tests/unit/proto/msg-eq.h"
#include "tests/unit/proto/proto-test.h"

#define MAX_DESC 64
#define BUF_LEN  (RTRS_INFO_RSP_HDR_LEN + MAX_DESC * RTRS_DESC_LEN)

static struct fence fence;

static void
setup(void)
{
	fence = fence_new(BUF_LEN);
}

static void
teardown(void)
{
	fence_free(&fence);
}

START_TEST(round_trip)
{
	struct rng g = {.state = 70};

	for (int i = 0; i < 200; i++) {
		struct rtrs_desc desc[MAX_DESC], out;
		uint16_t n = (uint16_t)(1 + rng_below(&g, MAX_DESC)), got;
		size_t len = rtrs_msg_info_rsp_len(n);
		uint8_t *p = fence_at(&fence, len);

		rng_fill(&g, desc, sizeof(desc));
		memset(p, 0xee, len);
		ck_assert_int_eq(rtrs_msg_info_rsp_encode(desc, n, p, len),
				 (int)len);
		ck_assert_mem_eq(p + 4, "\0\0\0\0", 4);
		ck_assert_int_eq(rtrs_msg_info_rsp_decode(p, len, &got), 0);
		ck_assert_uint_eq(got, n);
		for (unsigned j = 0; j < n; j++) {
			ck_assert_int_eq(
				rtrs_msg_info_rsp_desc(p, len, j, &out), 0);
			ck_assert(desc_eq(&out, &desc[j]));
		}
		ck_assert_int_eq(rtrs_msg_info_rsp_desc(p, len, n, &out),
				 -EMSGSIZE);
	}
}
END_TEST

START_TEST(encode__too_small_a_buffer_is_not_touched)
{
	struct rtrs_desc desc[2] = {{1, 2, 3}, {4, 5, 6}};
	uint8_t *p = fence_at(&fence, 39);

	memset(p, 0xee, 39);
	ck_assert_int_eq(rtrs_msg_info_rsp_encode(desc, 2, p, 39), -EMSGSIZE);
	for (int i = 0; i < 39; i++)
		ck_assert_uint_eq(p[i], 0xee);
}
END_TEST

START_TEST(decode__truncated_at_every_length)
{
	struct rtrs_desc desc[3] = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}};
	uint8_t buf[8 + 3 * 16];
	uint16_t n = 0xeeee;

	ck_assert_int_eq(rtrs_msg_info_rsp_encode(desc, 3, buf, sizeof(buf)),
			 sizeof(buf));
	for (size_t len = 0; len < sizeof(buf); len++) {
		const uint8_t *p = fence_copy(&fence, buf, len);

		ck_assert_int_eq(rtrs_msg_info_rsp_decode(p, len, &n),
				 -EMSGSIZE);
		ck_assert_uint_eq(n, 0xeeee);
		for (unsigned i = 0; i < 4; i++) {
			bool fits = len >= 8 + 16 * (i + 1);
			struct rtrs_desc d;

			ck_assert_int_eq(rtrs_msg_info_rsp_desc(p, len, i, &d),
					 fits ? 0 : -EMSGSIZE);
		}
	}
}
END_TEST

START_TEST(decode__type_count_and_garbage)
{
	struct rtrs_desc desc = {1, 2, 3};
	uint8_t buf[40];
	uint16_t n;

	memset(buf, 0xee, sizeof(buf)); /* longer than the message */
	rtrs_msg_info_rsp_encode(&desc, 1, buf, 24);
	memset(buf + 4, 0xff, 4); /* reserved */
	ck_assert_int_eq(rtrs_msg_info_rsp_decode(buf, 40, &n), 0);
	ck_assert_uint_eq(n, 1);
	buf[0] = 0;
	ck_assert_int_eq(rtrs_msg_info_rsp_decode(buf, 40, &n), -EPROTO);
	buf[0] = 1;
	buf[2] = 0; /* sg_cnt */
	ck_assert_int_eq(rtrs_msg_info_rsp_decode(buf, 40, &n), -EPROTO);
	buf[2] = buf[3] = 0xff;
	ck_assert_int_eq(rtrs_msg_info_rsp_decode(buf, 40, &n), -EMSGSIZE);
}
END_TEST

START_TEST(desc__an_index_cannot_overflow)
{
	uint8_t buf[40] = {1, 0, 2, 0};
	struct rtrs_desc d;

	/* 16 * i is a multiple of 2^32 for these. */
	ck_assert_int_eq(rtrs_msg_info_rsp_desc(buf, 40, 1u << 28, &d),
			 -EMSGSIZE);
	ck_assert_int_eq(rtrs_msg_info_rsp_desc(buf, 40, 0xf0000000, &d),
			 -EMSGSIZE);
	ck_assert_int_eq(rtrs_msg_info_rsp_desc(buf, 40, UINT32_MAX, &d),
			 -EMSGSIZE);
}
END_TEST

/* The chunk table */

#define CHUNK 8192u

struct table {
	uint32_t n;
	uint64_t addr[64];
	uint32_t key[64];
};

static void
table_put(void *user, uint32_t chunk, uint64_t addr, uint32_t key)
{
	struct table *t = user;

	ck_assert_uint_eq(chunk, t->n);
	ck_assert_uint_lt(t->n, 64);
	t->addr[t->n] = addr;
	t->key[t->n++] = key;
}

/* Encodes, walks; on an error nothing was put. */
static int
chunks(const struct rtrs_desc *desc, uint16_t sg_cnt, uint32_t qd,
       uint32_t chunk_size, struct table *t)
{
	size_t len = rtrs_msg_info_rsp_len(sg_cnt);
	uint8_t *p = fence_at(&fence, len);
	int rc;

	memset(t, 0, sizeof(*t));
	ck_assert_int_eq(rtrs_msg_info_rsp_encode(desc, sg_cnt, p, len),
			 (int)len);
	rc = rtrs_msg_info_rsp_chunks(p, len, qd, chunk_size, table_put, t);
	ck_assert_uint_eq(t->n, rc ? 0 : qd);
	return rc;
}

START_TEST(chunks__one_descriptor_each)
{
	struct rtrs_desc d[4] = {{0x1000, 1, CHUNK},
				 {0x90000, 2, CHUNK},
				 {0x50000, 3, CHUNK},
				 {0xfff0000000000000, 4, CHUNK}};
	struct table t;

	ck_assert_int_eq(chunks(d, 4, 4, CHUNK, &t), 0);
	for (int i = 0; i < 4; i++) {
		ck_assert(t.addr[i] == d[i].addr);
		ck_assert_uint_eq(t.key[i], d[i].key);
	}
}
END_TEST

START_TEST(chunks__uneven_descriptors_in_order)
{
	struct rtrs_desc d[2] = {{0x100000, 7, 5 * CHUNK},
				 {0x900000, 8, 1 * CHUNK}};
	struct table t;

	ck_assert_int_eq(chunks(d, 2, 6, CHUNK, &t), 0);
	for (uint32_t i = 0; i < 5; i++) {
		ck_assert(t.addr[i] == 0x100000 + i * CHUNK);
		ck_assert_uint_eq(t.key[i], 7);
	}
	ck_assert(t.addr[5] == 0x900000);
	ck_assert_uint_eq(t.key[5], 8);
}
END_TEST

START_TEST(chunks__sg_cnt_has_to_divide_the_depth)
{
	struct rtrs_desc d[3] = {
		{0, 1, 2 * CHUNK}, {0, 2, CHUNK}, {0, 3, CHUNK}};
	struct table t;

	ck_assert_int_eq(chunks(d, 3, 4, CHUNK, &t), -EINVAL);
	d[1].len = 2 * CHUNK;
	d[2].len = 2 * CHUNK;
	ck_assert_int_eq(chunks(d, 3, 6, CHUNK, &t), 0);
	/* More descriptors than chunks. */
	ck_assert_int_eq(chunks(d, 3, 2, CHUNK, &t), -EINVAL);
}
END_TEST

START_TEST(chunks__bit_sum)
{
	struct rtrs_desc d[2] = {{0, 1, 1 << 27}, {0, 2, 1 << 27}};
	struct table t;

	ck_assert_int_eq(chunks(d, 2, 2, 1 << 27, &t), 0);
	d[0].len = d[1].len = (1 << 27) + 4096;
	ck_assert_int_eq(chunks(d, 2, 2, (1 << 27) + 4096, &t), -EINVAL);
	/* The sum with sg_cnt alone would be satisfied here. */
	d[0].len = 4u << 26;
	ck_assert_int_eq(chunks(d, 1, 4, 1 << 26, &t), 0);
	d[0].len = 5u << 26;
	ck_assert_int_eq(chunks(d, 1, 5, 1 << 26, &t), -EINVAL);
}
END_TEST

START_TEST(chunks__len_is_a_multiple_and_not_zero)
{
	static const uint32_t bad[] = {0, 1, CHUNK - 1, CHUNK + 1, UINT32_MAX};
	struct rtrs_desc d[2] = {{0, 1, CHUNK}, {0, 2, CHUNK}};
	struct table t;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		d[1].len = bad[i];
		ck_assert_int_eq(chunks(d, 2, 2, CHUNK, &t), -EINVAL);
	}
	/* Zero, while the other one covers everything. */
	d[0].len = 2 * CHUNK;
	d[1].len = 0;
	ck_assert_int_eq(chunks(d, 2, 2, CHUNK, &t), -EINVAL);
}
END_TEST

START_TEST(chunks__cover_the_depth_exactly)
{
	struct rtrs_desc d[2] = {{0, 1, CHUNK}, {0, 2, CHUNK}};
	struct table t;

	ck_assert_int_eq(chunks(d, 2, 2, CHUNK, &t), 0);
	ck_assert_int_eq(chunks(d, 2, 4, CHUNK, &t), -EINVAL);
	d[1].len = 2 * CHUNK;
	ck_assert_int_eq(chunks(d, 2, 2, CHUNK, &t), -EINVAL);
	ck_assert_int_eq(chunks(d, 2, 4, CHUNK, &t), -EINVAL);
	/* A sum of bytes that is right modulo 2^32 only. */
	d[0].len = d[1].len = 0x80002000u;
	ck_assert_int_eq(chunks(d, 2, 2, CHUNK, &t), -EINVAL);
}
END_TEST

START_TEST(chunks__addresses_do_not_wrap)
{
	struct rtrs_desc d = {UINT64_MAX - 2 * CHUNK, 1, 2 * CHUNK};
	struct table t;

	ck_assert_int_eq(chunks(&d, 1, 2, CHUNK, &t), 0);
	d.addr = UINT64_MAX - 2 * CHUNK + 1;
	ck_assert_int_eq(chunks(&d, 1, 2, CHUNK, &t), -EINVAL);
	d.addr = UINT64_MAX;
	ck_assert_int_eq(chunks(&d, 1, 2, CHUNK, &t), -EINVAL);
}
END_TEST

START_TEST(chunks__zero_depth_and_zero_size)
{
	struct rtrs_desc d = {0, 1, CHUNK};
	struct table t;

	ck_assert_int_eq(chunks(&d, 1, 0, CHUNK, &t), -EINVAL);
	ck_assert_int_eq(chunks(&d, 1, 1, 0, &t), -EINVAL);
}
END_TEST

START_TEST(chunks__errors_of_decode_come_through)
{
	uint8_t buf[24] = {1, 0, 1, 0};
	struct table t = {0};

	for (size_t len = 0; len < 24; len++)
		ck_assert_int_eq(
			rtrs_msg_info_rsp_chunks(fence_copy(&fence, buf, len),
						 len, 1, CHUNK, table_put, &t),
			-EMSGSIZE);
	buf[2] = 0;
	ck_assert_int_eq(
		rtrs_msg_info_rsp_chunks(buf, 24, 1, CHUNK, table_put, &t),
		-EPROTO);
	buf[2] = 1;
	buf[0] = 2;
	ck_assert_int_eq(
		rtrs_msg_info_rsp_chunks(buf, 24, 1, CHUNK, table_put, &t),
		-EPROTO);
	ck_assert_uint_eq(t.n, 0);
}
END_TEST

START_TEST(chunks__random_layouts_that_are_legal)
{
	struct rng g = {.state = 71};

	for (int i = 0; i < 200; i++) {
		uint16_t sg_cnt = (uint16_t)(1 + rng_below(&g, 8));
		uint32_t qd = sg_cnt * (uint32_t)(1 + rng_below(&g, 8));
		uint32_t left = qd, next = 0;
		struct rtrs_desc d[8];
		struct table t;

		for (unsigned j = 0; j < sg_cnt; j++) {
			uint32_t max = left - (sg_cnt - 1 - j);
			uint32_t k = j == sg_cnt - 1u
					     ? left
					     : 1 + (uint32_t)rng_below(&g, max);

			d[j] = (struct rtrs_desc){rng_next(&g) >> 1,
						  (uint32_t)rng_next(&g),
						  k * CHUNK};
			left -= k;
		}
		ck_assert_int_eq(chunks(d, sg_cnt, qd, CHUNK, &t), 0);
		for (unsigned j = 0; j < sg_cnt; j++)
			for (uint32_t off = 0; off < d[j].len; off += CHUNK) {
				ck_assert(t.addr[next] == d[j].addr + off);
				ck_assert_uint_eq(t.key[next++], d[j].key);
			}
	}
}
END_TEST

START_TEST(decode__random_bytes)
{
	struct rng g = {.state = 72};
	struct table t;

	for (int i = 0; i < 5000; i++) {
		size_t len = rng_below(&g, 100);
		uint8_t *p = fence_at(&fence, len);
		uint16_t n;

		rng_fill(&g, p, len);
		if (len >= 4) {
			p[0] = 1;
			p[1] = 0;
			p[2] = (uint8_t)rng_below(&g, 8);
			p[3] = 0;
		}
		if (rtrs_msg_info_rsp_decode(p, len, &n) == 0)
			ck_assert_uint_le(rtrs_msg_info_rsp_len(n), len);
		t.n = 0;
		ck_assert_int_le(rtrs_msg_info_rsp_chunks(p, len, 8, CHUNK,
							  table_put, &t),
				 0);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("proto/rtrs-info-rsp");
	TCase *tc = tcase_create("rtrs-info-rsp");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, round_trip);
	tcase_add_test(tc, encode__too_small_a_buffer_is_not_touched);
	tcase_add_test(tc, decode__truncated_at_every_length);
	tcase_add_test(tc, decode__type_count_and_garbage);
	tcase_add_test(tc, desc__an_index_cannot_overflow);
	tcase_add_test(tc, chunks__one_descriptor_each);
	tcase_add_test(tc, chunks__uneven_descriptors_in_order);
	tcase_add_test(tc, chunks__sg_cnt_has_to_divide_the_depth);
	tcase_add_test(tc, chunks__bit_sum);
	tcase_add_test(tc, chunks__len_is_a_multiple_and_not_zero);
	tcase_add_test(tc, chunks__cover_the_depth_exactly);
	tcase_add_test(tc, chunks__addresses_do_not_wrap);
	tcase_add_test(tc, chunks__zero_depth_and_zero_size);
	tcase_add_test(tc, chunks__errors_of_decode_come_through);
	tcase_add_test(tc, chunks__random_layouts_that_are_legal);
	tcase_add_test(tc, decode__random_bytes);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
