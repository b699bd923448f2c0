/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <errno.h>
#include <limits.h>

#include "proto/rnbd-msg.h"
#include "tests/unit/proto/msg-eq.h"
#include "tests/unit/proto/proto-test.h"

#define ROUNDS 300

static struct fence fence;

static void
setup(void)
{
	fence = fence_new(1024);
}

static void
teardown(void)
{
	fence_free(&fence);
}

START_TEST(type__needs_four_bytes)
{
	const uint8_t buf[5] = {0x59, 0x57, 0xff, 0xff, 0xff};
	uint16_t type = 0xeeee;

	for (size_t n = 0; n < 4; n++)
		ck_assert_int_eq(rnbd_msg_type_decode(
					 fence_copy(&fence, buf, n), n, &type),
				 -EMSGSIZE);
	ck_assert_uint_eq(type, 0xeeee);
	ck_assert_int_eq(rnbd_msg_type_decode(buf, 4, &type), 0);
	ck_assert_uint_eq(type, RNBD_MSG_EXPLAIN);
	ck_assert_int_eq(rnbd_msg_type_decode(buf, 5, &type), 0);
}
END_TEST

/* SESS_INFO and its response */

START_TEST(sess_info__round_trip)
{
	for (int rsp = 0; rsp <= 1; rsp++)
		for (unsigned ver = 0; ver < 256; ver++) {
			struct rnbd_msg_sess_info m = {.ver = (uint8_t)ver};
			uint8_t *p = fence_at(&fence, RNBD_SESS_INFO_LEN);
			struct rnbd_msg_sess_info out;

			memset(p, 0xee, RNBD_SESS_INFO_LEN);
			rnbd_msg_sess_info_encode(&m, rsp, p);
			ck_assert_uint_eq(p[0], rsp);
			for (int i = 1; i < RNBD_SESS_INFO_LEN; i++)
				ck_assert_uint_eq(p[i], i == 4 ? ver : 0);
			ck_assert_int_eq(
				rnbd_msg_sess_info_decode(p, 36, rsp, &out), 0);
			ck_assert_uint_eq(out.ver, ver);
		}
}
END_TEST

START_TEST(sess_info__length_type_and_garbage)
{
	struct rnbd_msg_sess_info m = {.ver = 2}, out;
	uint8_t buf[40];

	memset(buf, 0xee, sizeof(buf));
	rnbd_msg_sess_info_encode(&m, false, buf);
	memset(buf + 2, 0xee, 2);
	memset(buf + 5, 0xee, 31);
	for (size_t n = 0; n < RNBD_SESS_INFO_LEN; n++)
		ck_assert_int_eq(
			rnbd_msg_sess_info_decode(fence_copy(&fence, buf, n), n,
						  false, &out),
			-EMSGSIZE);
	ck_assert_int_eq(rnbd_msg_sess_info_decode(buf, 36, false, &out), 0);
	ck_assert_int_eq(rnbd_msg_sess_info_decode(buf, 40, false, &out), 0);
	ck_assert_uint_eq(out.ver, 2);
	ck_assert_int_eq(rnbd_msg_sess_info_decode(buf, 36, true, &out),
			 -EPROTO);
	buf[0] = RNBD_MSG_SESS_INFO_RSP;
	ck_assert_int_eq(rnbd_msg_sess_info_decode(buf, 36, true, &out), 0);
	ck_assert_int_eq(rnbd_msg_sess_info_decode(buf, 36, false, &out),
			 -EPROTO);
	buf[1] = 1;
	ck_assert_int_eq(rnbd_msg_sess_info_decode(buf, 36, true, &out),
			 -EPROTO);
}
END_TEST

/* OPEN */

START_TEST(open__round_trip)
{
	struct rng g = {.state = 80};

	for (int i = 0; i < ROUNDS; i++) {
		struct rnbd_msg_open m = {0}, out;
		size_t n = 1 + rng_below(&g, RNBD_NAME_LEN - 1);
		uint8_t *p = fence_at(&fence, RNBD_OPEN_LEN);

		m.access_mode = (uint8_t)rng_next(&g);
		for (size_t j = 0; j < n; j++)
			m.dev_name[j] = (char)(1 + rng_below(&g, 255));
		memset(p, 0xee, RNBD_OPEN_LEN);
		memset(&out, 0xee, sizeof(out));
		rnbd_msg_open_encode(&m, p);
		ck_assert_int_eq(rnbd_msg_open_decode(p, 264, &out), 0);
		ck_assert(open_eq(&m, &out));
		ck_assert_mem_eq(p + 2, "\0\0", 2);
		ck_assert_uint_eq(p[5], 0);
		for (size_t j = 6 + n; j < RNBD_OPEN_LEN; j++)
			ck_assert_uint_eq(p[j], 0);
	}
}
END_TEST

START_TEST(open__length_and_type)
{
	struct rnbd_msg_open m = {.access_mode = 1, .dev_name = "ram0"}, out;
	uint8_t buf[RNBD_OPEN_LEN + 4] = {0};

	rnbd_msg_open_encode(&m, buf);
	for (size_t n = 0; n < RNBD_OPEN_LEN; n++)
		ck_assert_int_eq(rnbd_msg_open_decode(
					 fence_copy(&fence, buf, n), n, &out),
				 -EMSGSIZE);
	ck_assert_int_eq(rnbd_msg_open_decode(buf, sizeof(buf), &out), 0);
	buf[0] = RNBD_MSG_OPEN_RSP;
	ck_assert_int_eq(rnbd_msg_open_decode(buf, 264, &out), -EPROTO);
}
END_TEST

START_TEST(open__garbage_after_the_name_and_in_padding_is_dropped)
{
	struct rnbd_msg_open m = {.access_mode = 2, .dev_name = "ram0"}, out;
	uint8_t buf[RNBD_OPEN_LEN];

	memset(buf, 0xff, sizeof(buf));
	memcpy(buf, "\x02\0", 2);
	buf[4] = 2;
	memcpy(buf + 6, "ram0", 5);
	memset(&out, 0xee, sizeof(out));
	ck_assert_int_eq(rnbd_msg_open_decode(buf, 264, &out), 0);
	ck_assert(open_eq(&m, &out));
}
END_TEST

START_TEST(open__names_that_are_refused)
{
	struct rnbd_msg_open out;
	uint8_t buf[RNBD_OPEN_LEN] = {RNBD_MSG_OPEN};

	ck_assert_int_eq(rnbd_msg_open_decode(buf, 264, &out), -EINVAL);
	memset(buf + 6, 'x', 255); /* no NUL; the byte behind is one */
	ck_assert_int_eq(rnbd_msg_open_decode(buf, 264, &out), -EINVAL);
	buf[6 + 254] = 0;
	ck_assert_int_eq(rnbd_msg_open_decode(buf, 264, &out), 0);
	ck_assert_uint_eq(strlen(out.dev_name), 254);
	/* Which names exist is a question for the server. */
	memcpy(buf + 6, "../a/./b", 9);
	ck_assert_int_eq(rnbd_msg_open_decode(buf, 264, &out), 0);
	ck_assert_str_eq(out.dev_name, "../a/./b");
}
END_TEST

/* OPEN_RSP */

static struct rnbd_msg_open_rsp
open_rsp_random(struct rng *g)
{
	return (struct rnbd_msg_open_rsp){
		.device_id = (uint32_t)rng_next(g),
		.nsectors = rng_next(g),
		.max_hw_sectors = (uint32_t)rng_next(g),
		.max_write_zeroes_sectors = (uint32_t)rng_next(g),
		.max_discard_sectors = (uint32_t)rng_next(g),
		.discard_granularity = (uint32_t)rng_next(g),
		.discard_alignment = (uint32_t)rng_next(g),
		.physical_block_size = (uint16_t)rng_next(g),
		.logical_block_size = (uint16_t)rng_next(g),
		.max_segments = (uint16_t)rng_next(g),
		.secure_discard = (uint16_t)rng_next(g),
		.cache_policy = (uint8_t)rng_next(g),
	};
}

START_TEST(open_rsp__round_trip)
{
	struct rng g = {.state = 81};

	for (int i = 0; i < ROUNDS; i++) {
		struct rnbd_msg_open_rsp m = open_rsp_random(&g), out;
		uint8_t *p = fence_at(&fence, RNBD_OPEN_RSP_LEN);

		memset(p, 0xee, RNBD_OPEN_RSP_LEN);
		rnbd_msg_open_rsp_encode(&m, p);
		ck_assert_mem_eq(p, "\x03\0\0\0", 4);
		ck_assert_uint_eq(p[44], 0);
		ck_assert_mem_eq(p + 46, "\0\0\0\0\0\0\0\0\0\0", 10);
		ck_assert_int_eq(rnbd_msg_open_rsp_decode(p, 56, &out), 0);
		ck_assert(open_rsp_eq(&m, &out));
	}
}
END_TEST

START_TEST(open_rsp__length_type_and_garbage)
{
	struct rng g = {.state = 82};
	struct rnbd_msg_open_rsp m = open_rsp_random(&g), out;
	uint8_t buf[RNBD_OPEN_RSP_LEN + 4] = {0};

	rnbd_msg_open_rsp_encode(&m, buf);
	memset(buf + 2, 0xee, 2);
	buf[44] = 0xee;
	memset(buf + 46, 0xee, 10);
	for (size_t n = 0; n < RNBD_OPEN_RSP_LEN; n++)
		ck_assert_int_eq(rnbd_msg_open_rsp_decode(
					 fence_copy(&fence, buf, n), n, &out),
				 -EMSGSIZE);
	ck_assert_int_eq(rnbd_msg_open_rsp_decode(buf, sizeof(buf), &out), 0);
	ck_assert(open_rsp_eq(&m, &out));
	buf[0] = RNBD_MSG_OPEN;
	ck_assert_int_eq(rnbd_msg_open_rsp_decode(buf, 56, &out), -EPROTO);
}
END_TEST

/* IO */

static struct rnbd_msg_io
io_random(struct rng *g)
{
	return (struct rnbd_msg_io){
		.device_id = (uint32_t)rng_next(g),
		.sector = rng_next(g),
		.rw = (uint32_t)rng_next(g),
		.bi_size = (uint32_t)rng_next(g),
		.prio = (uint16_t)rng_next(g),
	};
}

START_TEST(io__round_trip)
{
	struct rng g = {.state = 83};

	for (int i = 0; i < ROUNDS; i++) {
		struct rnbd_msg_io m = io_random(&g), out;
		uint8_t *p = fence_at(&fence, RNBD_IO_LEN);

		memset(p, 0xee, RNBD_IO_LEN);
		rnbd_msg_io_encode(&m, p);
		ck_assert_mem_eq(p, "\x04\0\0\0", 4);
		ck_assert_mem_eq(p + 26, "\0\0\0\0\0\0", 6);
		ck_assert_int_eq(rnbd_msg_io_decode(p, RNBD_IO_LEN, &out), 0);
		ck_assert(io_eq(&m, &out));
	}
}
END_TEST

START_TEST(io__older_and_narrower_peers)
{
	struct rng g = {.state = 84};
	struct rnbd_msg_io m = io_random(&g), out;
	uint8_t buf[RNBD_IO_LEN + 8] = {0};

	m.prio = 0x4004;
	rnbd_msg_io_encode(&m, buf);
	for (size_t n = 0; n <= sizeof(buf); n++) {
		int rc =
			rnbd_msg_io_decode(fence_copy(&fence, buf, n), n, &out);

		ck_assert_int_eq(rc, n < RNBD_IO_MIN_LEN ? -EMSGSIZE : 0);
		if (rc)
			continue;
		ck_assert_uint_eq(out.prio, n < 26 ? 0 : 0x4004);
		out.prio = m.prio;
		ck_assert(io_eq(&m, &out));
	}
}
END_TEST

START_TEST(io__type_and_garbage)
{
	struct rng g = {.state = 85};
	struct rnbd_msg_io m = io_random(&g), out;
	uint8_t buf[RNBD_IO_LEN];

	rnbd_msg_io_encode(&m, buf);
	memset(buf + 2, 0xee, 2);
	memset(buf + 26, 0xee, 6);
	ck_assert_int_eq(rnbd_msg_io_decode(buf, sizeof(buf), &out), 0);
	ck_assert(io_eq(&m, &out));
	buf[0] = RNBD_MSG_CLOSE;
	ck_assert_int_eq(rnbd_msg_io_decode(buf, sizeof(buf), &out), -EPROTO);
	buf[0] = RNBD_MSG_IO;
	buf[1] = 0x57;
	ck_assert_int_eq(rnbd_msg_io_decode(buf, sizeof(buf), &out), -EPROTO);
}
END_TEST

/* CLOSE */

START_TEST(close__round_trip_length_and_type)
{
	struct rng g = {.state = 86};
	uint8_t buf[RNBD_CLOSE_LEN + 4] = {0};
	struct rnbd_msg_close out;

	for (int i = 0; i < ROUNDS; i++) {
		struct rnbd_msg_close m = {.device_id = (uint32_t)rng_next(&g)};

		memset(buf, 0xee, sizeof(buf));
		rnbd_msg_close_encode(&m, buf);
		ck_assert_mem_eq(buf, "\x05\0\0\0", 4);
		ck_assert_uint_eq(buf[8], 0xee);
		ck_assert_int_eq(rnbd_msg_close_decode(buf, 8, &out), 0);
		ck_assert_uint_eq(out.device_id, m.device_id);
	}
	memset(buf + 2, 0xee, 2);
	for (size_t n = 0; n < RNBD_CLOSE_LEN; n++)
		ck_assert_int_eq(rnbd_msg_close_decode(
					 fence_copy(&fence, buf, n), n, &out),
				 -EMSGSIZE);
	ck_assert_int_eq(rnbd_msg_close_decode(buf, sizeof(buf), &out), 0);
	buf[0] = RNBD_MSG_IO;
	ck_assert_int_eq(rnbd_msg_close_decode(buf, 8, &out), -EPROTO);
}
END_TEST

/* EXPLAIN */

START_TEST(explain__is_a_header)
{
	uint8_t buf[RNBD_EXPLAIN_LEN + 1];

	memset(buf, 0xee, sizeof(buf));
	rnbd_msg_explain_encode(buf);
	ck_assert_mem_eq(buf, "\x59\x57\0\0\xee", 5);
}
END_TEST

START_TEST(explain_rsp__round_trip_and_padding)
{
	uint8_t *p = fence_at(&fence, RNBD_EXPLAIN_RSP_LEN);
	char out[RNBD_EXPLAIN_RSP_LEN];

	memset(p, 0xee, RNBD_EXPLAIN_RSP_LEN);
	rnbd_msg_explain_rsp_encode("busy: 'y' has it", p);
	for (int i = 16; i < RNBD_EXPLAIN_RSP_LEN; i++)
		ck_assert_uint_eq(p[i], 0);
	rnbd_msg_explain_rsp_decode(p, RNBD_EXPLAIN_RSP_LEN, out);
	ck_assert_str_eq(out, "busy: 'y' has it");
	rnbd_msg_explain_rsp_encode("", p);
	rnbd_msg_explain_rsp_decode(p, RNBD_EXPLAIN_RSP_LEN, out);
	ck_assert_str_eq(out, "");
}
END_TEST

START_TEST(explain_rsp__a_long_text_is_cut)
{
	uint8_t *p = fence_at(&fence, RNBD_EXPLAIN_RSP_LEN);
	char text[400], out[RNBD_EXPLAIN_RSP_LEN];

	memset(text, 'x', sizeof(text));
	text[399] = 0;
	rnbd_msg_explain_rsp_encode(text, p);
	ck_assert_uint_eq(p[254], 'x');
	ck_assert_uint_eq(p[255], 0);
	rnbd_msg_explain_rsp_decode(p, RNBD_EXPLAIN_RSP_LEN, out);
	ck_assert_uint_eq(strlen(out), 255);
}
END_TEST

START_TEST(explain_rsp__every_length_and_no_NUL)
{
	char out[RNBD_EXPLAIN_RSP_LEN];

	for (size_t n = 0; n <= 300; n++) {
		uint8_t *p = fence_at(&fence, n);

		memset(p, 'y', n);
		memset(out, 0xee, sizeof(out));
		rnbd_msg_explain_rsp_decode(p, n, out);
		ck_assert_uint_eq(strlen(out), n < 255 ? n : 255);
		for (size_t i = strlen(out); i < sizeof(out); i++)
			ck_assert_int_eq(out[i], 0);
	}
}
END_TEST

START_TEST(explain_rsp__what_is_not_printable_is_masked)
{
	uint8_t buf[RNBD_EXPLAIN_RSP_LEN] = {0};
	char out[RNBD_EXPLAIN_RSP_LEN];

	for (unsigned c = 1; c < 256; c++) {
		memcpy(buf, "a?b\0evil", 9);
		buf[1] = (uint8_t)c;
		rnbd_msg_explain_rsp_decode(buf, sizeof(buf), out);
		ck_assert_int_eq(out[0], 'a');
		ck_assert_int_eq(out[1], c >= 32 && c < 127 ? (char)c : '?');
		ck_assert_str_eq(out + 2, "b");
	}
}
END_TEST

/* Names */

START_TEST(names__are_total)
{
	ck_assert_str_eq(rnbd_msg_type_name(0), "SESS_INFO");
	ck_assert_str_eq(rnbd_msg_type_name(1), "SESS_INFO_RSP");
	ck_assert_str_eq(rnbd_msg_type_name(2), "OPEN");
	ck_assert_str_eq(rnbd_msg_type_name(3), "OPEN_RSP");
	ck_assert_str_eq(rnbd_msg_type_name(4), "IO");
	ck_assert_str_eq(rnbd_msg_type_name(5), "CLOSE");
	ck_assert_str_eq(rnbd_msg_type_name(0x5759), "EXPLAIN");
	ck_assert_str_eq(rnbd_msg_type_name(6), "unknown");
	ck_assert_str_eq(rnbd_msg_type_name(UINT_MAX), "unknown");

	ck_assert_str_eq(rnbd_op_name(0), "read");
	ck_assert_str_eq(rnbd_op_name(1), "write");
	ck_assert_str_eq(rnbd_op_name(2), "flush");
	ck_assert_str_eq(rnbd_op_name(3), "discard");
	ck_assert_str_eq(rnbd_op_name(4), "secure_erase");
	ck_assert_str_eq(rnbd_op_name(5), "write_zeroes");
	ck_assert_str_eq(rnbd_op_name(6), "unknown");
	ck_assert_str_eq(rnbd_op_name(UINT_MAX), "unknown");

	ck_assert_str_eq(rnbd_access_mode_name(3), "unknown");
	ck_assert_str_eq(rnbd_access_mode_name(UINT_MAX), "unknown");
}
END_TEST

START_TEST(access_mode__names_parse_back)
{
	ck_assert_int_eq(rnbd_access_mode_parse("ro"), RNBD_ACCESS_RO);
	ck_assert_int_eq(rnbd_access_mode_parse("rw"), RNBD_ACCESS_RW);
	ck_assert_int_eq(rnbd_access_mode_parse("migration"),
			 RNBD_ACCESS_MIGRATION);
	for (int m = 0; m <= 2; m++)
		ck_assert_int_eq(rnbd_access_mode_parse(
					 rnbd_access_mode_name((unsigned)m)),
				 m);
	ck_assert_int_eq(rnbd_access_mode_parse(""), -EINVAL);
	ck_assert_int_eq(rnbd_access_mode_parse("RW"), -EINVAL);
	ck_assert_int_eq(rnbd_access_mode_parse("rwx"), -EINVAL);
	ck_assert_int_eq(rnbd_access_mode_parse("unknown"), -EINVAL);
}
END_TEST

START_TEST(decoders__random_bytes)
{
	struct rng g = {.state = 90};

	for (int i = 0; i < 5000; i++) {
		size_t len = rng_below(&g, 300);
		uint8_t *p = fence_at(&fence, len);
		char text[RNBD_EXPLAIN_RSP_LEN];
		struct rnbd_msg_sess_info info;
		struct rnbd_msg_open_rsp open_rsp;
		struct rnbd_msg_open open;
		struct rnbd_msg_close close;
		struct rnbd_msg_io io;

		rng_fill(&g, p, len);
		/* Get past the type more often than one time in 65536. */
		if (len >= 2 && rng_below(&g, 4)) {
			p[0] = (uint8_t)rng_below(&g, 7);
			p[1] = 0;
		}
		ck_assert_int_le(
			rnbd_msg_sess_info_decode(p, len, i & 1, &info), 0);
		ck_assert_int_le(rnbd_msg_open_decode(p, len, &open), 0);
		ck_assert_int_le(rnbd_msg_open_rsp_decode(p, len, &open_rsp),
				 0);
		ck_assert_int_le(rnbd_msg_io_decode(p, len, &io), 0);
		ck_assert_int_le(rnbd_msg_close_decode(p, len, &close), 0);
		rnbd_msg_explain_rsp_decode(p, len, text);
		ck_assert_uint_lt(strnlen(text, sizeof(text)), sizeof(text));
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("proto/rnbd-msg");
	TCase *tc = tcase_create("rnbd-msg");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, type__needs_four_bytes);
	tcase_add_test(tc, sess_info__round_trip);
	tcase_add_test(tc, sess_info__length_type_and_garbage);
	tcase_add_test(tc, open__round_trip);
	tcase_add_test(tc, open__length_and_type);
	tcase_add_test(tc,
		       open__garbage_after_the_name_and_in_padding_is_dropped);
	tcase_add_test(tc, open__names_that_are_refused);
	tcase_add_test(tc, open_rsp__round_trip);
	tcase_add_test(tc, open_rsp__length_type_and_garbage);
	tcase_add_test(tc, io__round_trip);
	tcase_add_test(tc, io__older_and_narrower_peers);
	tcase_add_test(tc, io__type_and_garbage);
	tcase_add_test(tc, close__round_trip_length_and_type);
	tcase_add_test(tc, explain__is_a_header);
	tcase_add_test(tc, explain_rsp__round_trip_and_padding);
	tcase_add_test(tc, explain_rsp__a_long_text_is_cut);
	tcase_add_test(tc, explain_rsp__every_length_and_no_NUL);
	tcase_add_test(tc, explain_rsp__what_is_not_printable_is_masked);
	tcase_add_test(tc, names__are_total);
	tcase_add_test(tc, access_mode__names_parse_back);
	tcase_add_test(tc, decoders__random_bytes);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
