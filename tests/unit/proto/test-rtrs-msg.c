/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <errno.h>
#include <limits.h>

#include "proto/rtrs-msg.h"
#include "tests/unit/proto/msg-eq.h"
#include "tests/unit/proto/proto-test.h"

#define ROUNDS 300

static struct fence fence;

static void
setup(void)
{
	fence = fence_new(RTRS_INFO_RSP_HDR_LEN + 64 * RTRS_DESC_LEN);
}

static void
teardown(void)
{
	fence_free(&fence);
}

/* conn_req */

static struct rtrs_msg_conn_req
conn_req_random(struct rng *g)
{
	struct rtrs_msg_conn_req m = {
		.version = (uint16_t)(0x0200 | rng_below(g, 256)),
		.cid = (uint16_t)rng_next(g),
		.cid_num = (uint16_t)rng_next(g),
		.recon_cnt = (uint16_t)rng_next(g),
		.first_conn = rng_below(g, 2),
	};

	rng_fill(g, &m.path_uuid, 16);
	rng_fill(g, &m.sess_uuid, 16);
	return m;
}

START_TEST(conn_req__round_trip)
{
	struct rng g = {.state = 10};

	for (int i = 0; i < ROUNDS; i++) {
		struct rtrs_msg_conn_req m = conn_req_random(&g), out;
		uint8_t *p = fence_at(&fence, RTRS_CONN_REQ_LEN);

		memset(p, 0xee, RTRS_CONN_REQ_LEN);
		rtrs_msg_conn_req_encode(&m, p);
		ck_assert_mem_eq(p, "\0\0\xbd\x1b", 4);
		ck_assert_mem_eq(p + 45, "\0\0\0\0\0\0\0\0\0\0\0", 11);
		ck_assert_int_eq(
			rtrs_msg_conn_req_decode(p, RTRS_CONN_REQ_LEN, &out),
			0);
		ck_assert(conn_req_eq(&m, &out));
	}
}
END_TEST

START_TEST(conn_req__short_is_EMSGSIZE_and_leaves_ret_alone)
{
	struct rng g = {.state = 11};
	struct rtrs_msg_conn_req m = conn_req_random(&g), out, before;
	uint8_t buf[RTRS_CONN_REQ_LEN];

	rtrs_msg_conn_req_encode(&m, buf);
	memset(&out, 0xee, sizeof(out));
	before = out;
	for (size_t n = 0; n < sizeof(buf); n++) {
		ck_assert_int_eq(rtrs_msg_conn_req_decode(
					 fence_copy(&fence, buf, n), n, &out),
				 -EMSGSIZE);
		ck_assert_mem_eq(&out, &before, sizeof(out));
	}
}
END_TEST

START_TEST(conn_req__longer_private_data_is_fine)
{
	struct rng g = {.state = 12};
	struct rtrs_msg_conn_req m = conn_req_random(&g), out;
	uint8_t buf[196];

	rng_fill(&g, buf, sizeof(buf));
	rtrs_msg_conn_req_encode(&m, buf);
	ck_assert_int_eq(rtrs_msg_conn_req_decode(buf, sizeof(buf), &out), 0);
	ck_assert(conn_req_eq(&m, &out));
}
END_TEST

START_TEST(conn_req__cm_bytes_and_reserved_may_be_garbage)
{
	struct rng g = {.state = 13};
	struct rtrs_msg_conn_req m = conn_req_random(&g), out;
	uint8_t buf[RTRS_CONN_REQ_LEN];

	rtrs_msg_conn_req_encode(&m, buf);
	rng_fill(&g, buf, 2);
	rng_fill(&g, buf + 45, 11);
	ck_assert_int_eq(rtrs_msg_conn_req_decode(buf, sizeof(buf), &out), 0);
	ck_assert(conn_req_eq(&m, &out));
}
END_TEST

START_TEST(conn_req__magic_and_version)
{
	struct rtrs_msg_conn_req m = {.version = RTRS_PROTO_VER}, out;
	uint8_t buf[RTRS_CONN_REQ_LEN];

	for (int byte = 2; byte <= 3; byte++) {
		rtrs_msg_conn_req_encode(&m, buf);
		buf[byte] ^= 1;
		ck_assert_int_eq(rtrs_msg_conn_req_decode(buf, 56, &out),
				 -EPROTO);
	}
	for (unsigned major = 0; major < 256; major++) {
		rtrs_msg_conn_req_encode(&m, buf);
		buf[5] = (uint8_t)major;
		ck_assert_int_eq(rtrs_msg_conn_req_decode(buf, 56, &out),
				 major == 2 ? 0 : -EPROTONOSUPPORT);
	}
	rtrs_msg_conn_req_encode(&m, buf);
	buf[4] = 0xff; /* the minor is free */
	ck_assert_int_eq(rtrs_msg_conn_req_decode(buf, 56, &out), 0);
	ck_assert_uint_eq(out.version, 0x02ff);

	buf[2] ^= 1; /* both wrong: not RTRS at all comes first */
	buf[5] = 3;
	ck_assert_int_eq(rtrs_msg_conn_req_decode(buf, 56, &out), -EPROTO);
}
END_TEST

START_TEST(conn_req__first_conn_of_either_bit_order)
{
	struct rtrs_msg_conn_req m = {.version = RTRS_PROTO_VER}, out;
	uint8_t buf[RTRS_CONN_REQ_LEN];

	rtrs_msg_conn_req_encode(&m, buf);
	for (unsigned b = 0; b < 256; b++) {
		buf[44] = (uint8_t)b;
		ck_assert_int_eq(rtrs_msg_conn_req_decode(buf, 56, &out), 0);
		ck_assert_int_eq(out.first_conn, (b & 0x81) != 0);
	}
	m.first_conn = true;
	rtrs_msg_conn_req_encode(&m, buf);
	ck_assert_uint_eq(buf[44], 0x01);
}
END_TEST

/* conn_rsp */

static struct rtrs_msg_conn_rsp
conn_rsp_random(struct rng *g)
{
	return (struct rtrs_msg_conn_rsp){
		.version = (uint16_t)(0x0200 | rng_below(g, 256)),
		.err = -(int)rng_below(g, 32769),
		.queue_depth = (uint16_t)rng_next(g),
		.max_io_size = (uint32_t)rng_next(g),
		.max_hdr_size = (uint32_t)rng_next(g),
		.flags = (uint32_t)rng_next(g),
	};
}

START_TEST(conn_rsp__round_trip)
{
	struct rng g = {.state = 20};

	for (int i = 0; i < ROUNDS; i++) {
		struct rtrs_msg_conn_rsp m = conn_rsp_random(&g), out;
		uint8_t *p = fence_at(&fence, RTRS_CONN_RSP_LEN);

		memset(p, 0xee, RTRS_CONN_RSP_LEN);
		rtrs_msg_conn_rsp_encode(&m, p);
		for (int j = 20; j < 56; j++)
			ck_assert_uint_eq(p[j], 0);
		ck_assert_int_eq(
			rtrs_msg_conn_rsp_decode(p, RTRS_CONN_RSP_LEN, &out),
			0);
		ck_assert(conn_rsp_eq(&m, &out));
	}
}
END_TEST

START_TEST(conn_rsp__short_is_EMSGSIZE_and_longer_is_fine)
{
	struct rng g = {.state = 21};
	struct rtrs_msg_conn_rsp m = conn_rsp_random(&g), out;
	uint8_t buf[196];

	rng_fill(&g, buf, sizeof(buf));
	rtrs_msg_conn_rsp_encode(&m, buf);
	for (size_t n = 0; n < RTRS_CONN_RSP_LEN; n++)
		ck_assert_int_eq(rtrs_msg_conn_rsp_decode(
					 fence_copy(&fence, buf, n), n, &out),
				 -EMSGSIZE);
	rng_fill(&g, buf + 20, 36); /* reserved */
	ck_assert_int_eq(rtrs_msg_conn_rsp_decode(buf, sizeof(buf), &out), 0);
	ck_assert(conn_rsp_eq(&m, &out));
}
END_TEST

START_TEST(conn_rsp__magic_and_version)
{
	struct rtrs_msg_conn_rsp m = {.version = RTRS_PROTO_VER}, out;
	uint8_t buf[RTRS_CONN_RSP_LEN];

	rtrs_msg_conn_rsp_encode(&m, buf);
	buf[0] ^= 1;
	ck_assert_int_eq(rtrs_msg_conn_rsp_decode(buf, 56, &out), -EPROTO);
	buf[0] ^= 1;
	buf[3] = 1;
	ck_assert_int_eq(rtrs_msg_conn_rsp_decode(buf, 56, &out),
			 -EPROTONOSUPPORT);
	buf[3] = 2;
	ck_assert_int_eq(rtrs_msg_conn_rsp_decode(buf, 56, &out), 0);
}
END_TEST

START_TEST(conn_rsp__errno_is_negative_whatever_came)
{
	static const struct {
		uint8_t lo, hi;
		int err;
	} c[] = {
		{0x00, 0x00, 0},      {0x98, 0xff, -104}, {0x68, 0x00, -104},
		{0xff, 0xff, -1},     {0x01, 0x00, -1},   {0x00, 0x80, -32768},
		{0xff, 0x7f, -32767},
	};
	struct rtrs_msg_conn_rsp m = {.version = RTRS_PROTO_VER}, out;
	uint8_t buf[RTRS_CONN_RSP_LEN];

	rtrs_msg_conn_rsp_encode(&m, buf);
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		buf[4] = c[i].lo;
		buf[5] = c[i].hi;
		ck_assert_int_eq(rtrs_msg_conn_rsp_decode(buf, 56, &out), 0);
		ck_assert_int_eq(out.err, c[i].err);
	}
}
END_TEST

START_TEST(conn_rsp__an_errno_that_does_not_fit_is_EIO)
{
	/* 65536 cut to 16 bits would be an accept. */
	static const int errs[] = {-65536, -32769, INT_MIN, 104, INT_MAX};
	uint8_t buf[RTRS_CONN_RSP_LEN];

	for (size_t i = 0; i < sizeof(errs) / sizeof(errs[0]); i++) {
		struct rtrs_msg_conn_rsp m = {.version = RTRS_PROTO_VER,
					      .err = errs[i]};

		rtrs_msg_conn_rsp_encode(&m, buf);
		ck_assert_mem_eq(buf + 4, "\xfb\xff", 2);
	}
}
END_TEST

/* info_req */

static void
name_random(struct rng *g, char name[RTRS_NAME_LEN])
{
	size_t n = 1 + rng_below(g, RTRS_NAME_LEN - 1);

	memset(name, 0, RTRS_NAME_LEN);
	for (size_t i = 0; i < n; i++)
		do
			name[i] = (char)(1 + rng_below(g, 255));
		while (name[i] == '/' || name[i] == '.');
}

START_TEST(info_req__round_trip)
{
	struct rng g = {.state = 30};

	for (int i = 0; i < ROUNDS; i++) {
		uint8_t *p = fence_at(&fence, RTRS_INFO_REQ_LEN);
		struct rtrs_msg_info_req m, out;

		name_random(&g, m.name);
		memset(p, 0xee, RTRS_INFO_REQ_LEN);
		rtrs_msg_info_req_encode(&m, p);
		ck_assert_int_eq(
			rtrs_msg_info_req_decode(p, RTRS_INFO_REQ_LEN, &out),
			0);
		ck_assert(info_req_eq(&m, &out));
		for (size_t j = 2 + strlen(m.name); j < RTRS_INFO_REQ_LEN; j++)
			ck_assert_uint_eq(p[j], 0);
	}
}
END_TEST

START_TEST(info_req__short_is_EMSGSIZE)
{
	struct rtrs_msg_info_req m = {.name = "clt"}, out;
	uint8_t buf[RTRS_INFO_REQ_LEN];

	rtrs_msg_info_req_encode(&m, buf);
	for (size_t n = 0; n < sizeof(buf); n++)
		ck_assert_int_eq(rtrs_msg_info_req_decode(
					 fence_copy(&fence, buf, n), n, &out),
				 -EMSGSIZE);
}
END_TEST

START_TEST(info_req__type)
{
	struct rtrs_msg_info_req m = {.name = "clt"}, out;
	uint8_t buf[RTRS_INFO_REQ_LEN];

	rtrs_msg_info_req_encode(&m, buf);
	buf[0] = 1;
	ck_assert_int_eq(rtrs_msg_info_req_decode(buf, 272, &out), -EPROTO);
	buf[0] = 0;
	buf[1] = 1;
	ck_assert_int_eq(rtrs_msg_info_req_decode(buf, 272, &out), -EPROTO);
}
END_TEST

START_TEST(info_req__garbage_after_the_name_is_dropped)
{
	struct rtrs_msg_info_req m = {.name = "clt"}, out;
	uint8_t buf[RTRS_INFO_REQ_LEN + 8];

	memset(buf, '/', sizeof(buf));
	memcpy(buf, "\0\0clt\0", 6);
	memset(&out, 0xee, sizeof(out));
	ck_assert_int_eq(rtrs_msg_info_req_decode(buf, sizeof(buf), &out), 0);
	ck_assert(info_req_eq(&m, &out));
}
END_TEST

START_TEST(info_req__names_that_are_refused)
{
	struct rtrs_msg_info_req m = {.name = "clt"}, out;
	uint8_t buf[RTRS_INFO_REQ_LEN];

	rtrs_msg_info_req_encode(&m, buf);
	buf[2] = 0;
	ck_assert_int_eq(rtrs_msg_info_req_decode(buf, 272, &out), -EINVAL);
	buf[2] = '/';
	ck_assert_int_eq(rtrs_msg_info_req_decode(buf, 272, &out), -EINVAL);
	buf[2] = 'c';
	buf[4] = '.';
	ck_assert_int_eq(rtrs_msg_info_req_decode(buf, 272, &out), -EINVAL);

	memset(buf + 2, 'x', 255); /* no NUL; the byte behind is one */
	ck_assert_int_eq(rtrs_msg_info_req_decode(buf, 272, &out), -EINVAL);
	buf[2 + 254] = 0; /* the longest name */
	ck_assert_int_eq(rtrs_msg_info_req_decode(buf, 272, &out), 0);
	ck_assert_uint_eq(strlen(out.name), 254);
	buf[2 + 253] = '/';
	ck_assert_int_eq(rtrs_msg_info_req_decode(buf, 272, &out), -EINVAL);
}
END_TEST

START_TEST(sess_name_check__rules)
{
	char name[300];

	ck_assert_int_eq(rtrs_sess_name_check("a"), 0);
	ck_assert_int_eq(rtrs_sess_name_check("clt1-srv1@x:y z"), 0);
	ck_assert_int_eq(rtrs_sess_name_check(""), -EINVAL);
	ck_assert_int_eq(rtrs_sess_name_check("."), -EINVAL);
	ck_assert_int_eq(rtrs_sess_name_check("host.example"), -EINVAL);
	ck_assert_int_eq(rtrs_sess_name_check("a/"), -EINVAL);
	memset(name, 'n', sizeof(name));
	name[254] = 0;
	ck_assert_int_eq(rtrs_sess_name_check(name), 0);
	name[254] = 'n';
	name[255] = 0;
	ck_assert_int_eq(rtrs_sess_name_check(name), -ENAMETOOLONG);
	name[255] = 'n';
	name[299] = 0;
	ck_assert_int_eq(rtrs_sess_name_check(name), -ENAMETOOLONG);
}
END_TEST

/* rkey_rsp */

START_TEST(rkey_rsp__round_trip)
{
	struct rng g = {.state = 40};

	for (int i = 0; i < ROUNDS; i++) {
		struct rtrs_msg_rkey_rsp m = {.buf_id = (uint16_t)rng_next(&g),
					      .rkey = (uint32_t)rng_next(&g)};
		uint8_t *p = fence_at(&fence, RTRS_RKEY_RSP_LEN);
		struct rtrs_msg_rkey_rsp out;

		rtrs_msg_rkey_rsp_encode(&m, p);
		ck_assert_int_eq(rtrs_msg_rkey_rsp_decode(p, 8, &out), 0);
		ck_assert(rkey_rsp_eq(&m, &out));
	}
}
END_TEST

START_TEST(rkey_rsp__length_and_type)
{
	uint8_t buf[16] = {4, 0, 0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 0xee};
	struct rtrs_msg_rkey_rsp out;

	for (size_t n = 0; n < RTRS_RKEY_RSP_LEN; n++)
		ck_assert_int_eq(rtrs_msg_rkey_rsp_decode(
					 fence_copy(&fence, buf, n), n, &out),
				 -EMSGSIZE);
	ck_assert_int_eq(rtrs_msg_rkey_rsp_decode(buf, 16, &out), 0);
	ck_assert_uint_eq(out.buf_id, 0x1234);
	ck_assert_uint_eq(out.rkey, 0x12345678);
	buf[0] = 3;
	ck_assert_int_eq(rtrs_msg_rkey_rsp_decode(buf, 8, &out), -EPROTO);
	buf[0] = 4;
	buf[1] = 4;
	ck_assert_int_eq(rtrs_msg_rkey_rsp_decode(buf, 8, &out), -EPROTO);
}
END_TEST

/* Request headers */

static struct rtrs_msg_req
req_random(struct rng *g)
{
	struct rtrs_msg_req m = {.type = RTRS_MSG_WRITE,
				 .usr_len = (uint16_t)rng_next(g)};

	if (rng_below(g, 2)) {
		m.type = RTRS_MSG_READ;
		m.flags = (uint16_t)rng_next(g);
		m.sg_cnt = (uint16_t)rng_below(g, 2);
		if (m.sg_cnt)
			m.desc = (struct rtrs_desc){rng_next(g),
						    (uint32_t)rng_next(g),
						    (uint32_t)rng_next(g)};
	}
	return m;
}

START_TEST(req__round_trip)
{
	struct rng g = {.state = 50};

	for (int i = 0; i < ROUNDS; i++) {
		struct rtrs_msg_req m = req_random(&g), out;
		uint8_t buf[RTRS_REQ_HDR_MAX + 1], *p;
		size_t len;

		memset(buf, 0xee, sizeof(buf));
		memset(&out, 0xee, sizeof(out));
		len = rtrs_msg_req_encode(&m, buf);
		ck_assert_uint_eq(len, rtrs_msg_req_len(&m));
		ck_assert_uint_eq(len, m.type == RTRS_MSG_WRITE ? 4
				       : m.sg_cnt               ? 24
								: 8);
		for (size_t j = len; j < sizeof(buf); j++)
			ck_assert_uint_eq(buf[j], 0xee);
		p = fence_copy(&fence, buf, len);
		ck_assert_int_eq(rtrs_msg_req_decode(p, len, &out), 0);
		ck_assert(req_eq(&m, &out));
		for (size_t n = 0; n < len; n++) {
			p = fence_copy(&fence, buf, n);
			ck_assert_int_eq(rtrs_msg_req_decode(p, n, &out),
					 -EMSGSIZE);
		}
	}
}
END_TEST

START_TEST(req__type_and_sg_cnt)
{
	uint8_t buf[64] = {2, 0, 32, 0};
	struct rtrs_msg_req out;

	for (unsigned type = 0; type < 300; type++) {
		buf[0] = (uint8_t)type;
		buf[1] = (uint8_t)(type >> 8);
		ck_assert_int_eq(rtrs_msg_req_decode(buf, 64, &out),
				 type == 2 || type == 3 ? 0 : -EPROTO);
	}
	buf[0] = 3;
	buf[1] = 0;
	for (unsigned sg_cnt = 0; sg_cnt < 65536; sg_cnt += 51) {
		buf[6] = (uint8_t)sg_cnt;
		buf[7] = (uint8_t)(sg_cnt >> 8);
		ck_assert_int_eq(rtrs_msg_req_decode(buf, 64, &out),
				 sg_cnt <= 1 ? 0 : -EPROTO);
	}
	buf[6] = 2;
	buf[7] = 0;
	ck_assert_int_eq(rtrs_msg_req_decode(buf, 64, &out), -EPROTO);
}
END_TEST

START_TEST(req__a_write_header_is_4_bytes_only)
{
	/* What follows must not be taken for flags or a descriptor. */
	uint8_t buf[RTRS_REQ_HDR_MAX];
	struct rtrs_msg_req out;

	memset(buf, 0xff, sizeof(buf));
	memcpy(buf, "\x02\0\x08\0", 4);
	ck_assert_int_eq(rtrs_msg_req_decode(buf, sizeof(buf), &out), 0);
	ck_assert_uint_eq(out.usr_len, 8);
	ck_assert_uint_eq(out.flags, 0);
	ck_assert_uint_eq(out.sg_cnt, 0);
	ck_assert_uint_eq(out.desc.len, 0);
}
END_TEST

START_TEST(type_name__is_total)
{
	ck_assert_str_eq(rtrs_msg_type_name(0), "INFO_REQ");
	ck_assert_str_eq(rtrs_msg_type_name(1), "INFO_RSP");
	ck_assert_str_eq(rtrs_msg_type_name(2), "WRITE");
	ck_assert_str_eq(rtrs_msg_type_name(3), "READ");
	ck_assert_str_eq(rtrs_msg_type_name(4), "RKEY_RSP");
	ck_assert_str_eq(rtrs_msg_type_name(5), "unknown");
	ck_assert_str_eq(rtrs_msg_type_name(UINT_MAX), "unknown");
}
END_TEST

START_TEST(decoders__random_bytes)
{
	struct rng g = {.state = 60};

	for (int i = 0; i < 5000; i++) {
		size_t len = rng_below(&g, 300);
		uint8_t *p = fence_at(&fence, len);
		struct rtrs_msg_conn_req conn_req;
		struct rtrs_msg_conn_rsp conn_rsp;
		struct rtrs_msg_info_req info_req;
		struct rtrs_msg_rkey_rsp rkey_rsp;
		struct rtrs_msg_req req;

		rng_fill(&g, p, len);
		/* Get past the type more often than one time in 65536. */
		if (len >= 2 && rng_below(&g, 4)) {
			p[0] = (uint8_t)rng_below(&g, 6);
			p[1] = 0;
		}
		ck_assert_int_le(rtrs_msg_conn_req_decode(p, len, &conn_req),
				 0);
		ck_assert_int_le(rtrs_msg_conn_rsp_decode(p, len, &conn_rsp),
				 0);
		ck_assert_int_le(rtrs_msg_info_req_decode(p, len, &info_req),
				 0);
		ck_assert_int_le(rtrs_msg_rkey_rsp_decode(p, len, &rkey_rsp),
				 0);
		ck_assert_int_le(rtrs_msg_req_decode(p, len, &req), 0);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("proto/rtrs-msg");
	TCase *tc = tcase_create("rtrs-msg");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, conn_req__round_trip);
	tcase_add_test(tc, conn_req__short_is_EMSGSIZE_and_leaves_ret_alone);
	tcase_add_test(tc, conn_req__longer_private_data_is_fine);
	tcase_add_test(tc, conn_req__cm_bytes_and_reserved_may_be_garbage);
	tcase_add_test(tc, conn_req__magic_and_version);
	tcase_add_test(tc, conn_req__first_conn_of_either_bit_order);
	tcase_add_test(tc, conn_rsp__round_trip);
	tcase_add_test(tc, conn_rsp__short_is_EMSGSIZE_and_longer_is_fine);
	tcase_add_test(tc, conn_rsp__magic_and_version);
	tcase_add_test(tc, conn_rsp__errno_is_negative_whatever_came);
	tcase_add_test(tc, conn_rsp__an_errno_that_does_not_fit_is_EIO);
	tcase_add_test(tc, info_req__round_trip);
	tcase_add_test(tc, info_req__short_is_EMSGSIZE);
	tcase_add_test(tc, info_req__type);
	tcase_add_test(tc, info_req__garbage_after_the_name_is_dropped);
	tcase_add_test(tc, info_req__names_that_are_refused);
	tcase_add_test(tc, sess_name_check__rules);
	tcase_add_test(tc, rkey_rsp__round_trip);
	tcase_add_test(tc, rkey_rsp__length_and_type);
	tcase_add_test(tc, req__round_trip);
	tcase_add_test(tc, req__type_and_sg_cnt);
	tcase_add_test(tc, req__a_write_header_is_4_bytes_only);
	tcase_add_test(tc, type_name__is_total);
	tcase_add_test(tc, decoders__random_bytes);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
