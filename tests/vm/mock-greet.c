/* SPDX-License-Identifier: BSD-3-Clause */
/* Answers to connection requests and to INFO_REQ that are wrong. */
#include "tests/vm/mock.h"

#include <errno.h>
#include <string.h>

#include "proto/rtrs-imm.h"

/* ------------------------------------------------------------ connections */

static void
c_magic(struct mock *m, struct mock_answer *a)
{
	(void)m;
	rtrs_msg_conn_rsp_encode(&a->rsp, a->priv);
	a->priv[0] ^= 0xff;
	a->raw = true;
}

static void
c_version(struct mock *m, struct mock_answer *a)
{
	(void)m;
	a->rsp.version = 0x0300;
}

static void
c_cut(struct mock *m, struct mock_answer *a)
{
	(void)m;
	a->priv_len = 8; /* the CM fills up with zeroes: no sizes */
}

static void
c_nothing(struct mock *m, struct mock_answer *a)
{
	(void)m;
	a->priv_len = 0;
}

static void
c_ones(struct mock *m, struct mock_answer *a)
{
	(void)m;
	memset(a->priv, 0xff, sizeof(a->priv));
	a->raw = true;
}

static void
c_errno(struct mock *m, struct mock_answer *a)
{
	(void)m;
	a->rsp.err = -ECONNABORTED;
}

static void
c_silent(struct mock *m, struct mock_answer *a)
{
	(void)m;
	a->silent = true;
}

static void
c_leave(struct mock *m, struct mock_answer *a)
{
	(void)m;
	a->leave = true;
}

static void
c_reject(struct mock *m, struct mock_answer *a)
{
	(void)m;
	a->reject = true;
	a->rsp.err = -ENOMEM;
}

static void
c_reject_unknown(struct mock *m, struct mock_answer *a)
{
	c_reject(m, a);
	a->rsp.err = -511;
}

static void
c_reject_positive(struct mock *m, struct mock_answer *a)
{
	c_reject(m, a);
	rtrs_msg_conn_rsp_encode(&a->rsp, a->priv);
	a->priv[4] = EEXIST;
	a->priv[5] = 0;
	a->raw = true;
}

static void
c_reject_zero(struct mock *m, struct mock_answer *a)
{
	c_reject(m, a);
	a->rsp.err = 0;
}

static void
c_reject_cut(struct mock *m, struct mock_answer *a)
{
	c_reject(m, a);
	a->priv_len = 4;
}

static void
c_reject_nothing(struct mock *m, struct mock_answer *a)
{
	c_reject(m, a);
	a->priv_len = 0;
}

static void
c_depth_0(struct mock *m, struct mock_answer *a)
{
	(void)m;
	a->rsp.queue_depth = 0;
}

/* 16 bits and 17 bits do not fit into 28. */
static void
c_depth_huge(struct mock *m, struct mock_answer *a)
{
	(void)m;
	a->rsp.queue_depth = 65535;
}

static void
c_hdr_0(struct mock *m, struct mock_answer *a)
{
	(void)m;
	a->rsp.max_hdr_size = 0;
}

static void
c_hdr_huge(struct mock *m, struct mock_answer *a)
{
	(void)m;
	a->rsp.max_hdr_size = UINT32_MAX;
}

/* Together they are 128 KiB again, in 32 bits. */
static void
c_sizes_wrap(struct mock *m, struct mock_answer *a)
{
	(void)m;
	a->rsp.max_hdr_size = UINT32_MAX - 4095;
	a->rsp.max_io_size = MOCK_CHUNK + 4096;
}

static void
c_io_0(struct mock *m, struct mock_answer *a)
{
	(void)m;
	a->rsp.max_io_size = 0;
	a->rsp.max_hdr_size = MOCK_CHUNK;
}

static void
c_io_huge(struct mock *m, struct mock_answer *a)
{
	(void)m;
	a->rsp.max_io_size = UINT32_MAX - MOCK_HDR;
}

/* After the first connection. */
static void
c_other_depth(struct mock *m, struct mock_answer *a)
{
	if (m->hits[MOCK_CONNECT] > 1)
		a->rsp.queue_depth = MOCK_DEPTH / 2;
}

/* ------------------------------------------------------------------- info */

static void
put_info(struct mock *m, struct rv_con *con, unsigned sg_cnt, uint32_t len,
	 uint32_t last)
{
	uint8_t buf[RTRS_INFO_RSP_HDR_LEN + 64 * RTRS_DESC_LEN];
	struct rtrs_desc desc[64];

	for (unsigned i = 0; i < sg_cnt; i++)
		desc[i] = (struct rtrs_desc){
			.addr = (uintptr_t)m->rv.buf,
			.key = m->rv.mr->rkey,
			.len = i + 1 < sg_cnt ? len : last,
		};
	mock_send(m, con, buf,
		  (unsigned)rtrs_msg_info_rsp_encode(desc, (uint16_t)sg_cnt,
						     buf, sizeof(buf)));
}

/* The honest one, cut to so many bytes. */
static bool
cut_info(struct mock *m, struct rv_con *con, unsigned len)
{
	uint8_t buf[RTRS_INFO_RSP_HDR_LEN + MOCK_DEPTH * RTRS_DESC_LEN];

	mock_info_rsp(m, mock_path_of(con), buf);
	mock_send(m, con, buf, len);
	return true;
}

static bool
i_empty(struct mock *m, struct rv_con *con)
{
	return cut_info(m, con, 0);
}

static bool
i_short(struct mock *m, struct rv_con *con)
{
	return cut_info(m, con, 7);
}

static bool
i_cut(struct mock *m, struct rv_con *con)
{
	return cut_info(m, con, 23);
}

static bool
i_type(struct mock *m, struct rv_con *con)
{
	uint8_t buf[RTRS_INFO_RSP_HDR_LEN + MOCK_DEPTH * RTRS_DESC_LEN];
	unsigned len = mock_info_rsp(m, mock_path_of(con), buf);

	buf[0] = RTRS_MSG_RKEY_RSP;
	mock_send(m, con, buf, len);
	return true;
}

/* sg_cnt is a lie. */
static bool
lie_info(struct mock *m, struct rv_con *con, uint16_t sg_cnt)
{
	uint8_t buf[RTRS_INFO_RSP_HDR_LEN + MOCK_DEPTH * RTRS_DESC_LEN];
	unsigned len = mock_info_rsp(m, mock_path_of(con), buf);

	buf[2] = (uint8_t)sg_cnt;
	buf[3] = (uint8_t)(sg_cnt >> 8);
	mock_send(m, con, buf, len);
	return true;
}

static bool
i_sg_0(struct mock *m, struct rv_con *con)
{
	return lie_info(m, con, 0);
}

static bool
i_sg_huge(struct mock *m, struct rv_con *con)
{
	return lie_info(m, con, 0xffff);
}

/* 3 does not divide 32, though all chunks are there. */
static bool
i_sg_3(struct mock *m, struct rv_con *con)
{
	put_info(m, con, 3, 10 * MOCK_CHUNK, 12 * MOCK_CHUNK);
	return true;
}

static bool
i_len_0(struct mock *m, struct rv_con *con)
{
	put_info(m, con, 2, MOCK_DEPTH * MOCK_CHUNK, 0);
	return true;
}

static bool
i_len_odd(struct mock *m, struct rv_con *con)
{
	put_info(m, con, 2, MOCK_DEPTH / 2 * MOCK_CHUNK + 512,
		 MOCK_DEPTH / 2 * MOCK_CHUNK - 512);
	return true;
}

static bool
i_too_few(struct mock *m, struct rv_con *con)
{
	put_info(m, con, 1, 0, (MOCK_DEPTH - 1) * MOCK_CHUNK);
	return true;
}

static bool
i_too_many(struct mock *m, struct rv_con *con)
{
	put_info(m, con, 1, 0, (MOCK_DEPTH + 1) * MOCK_CHUNK);
	return true;
}

static bool
i_wraps(struct mock *m, struct rv_con *con)
{
	const struct rtrs_desc desc = {
		.addr = UINT64_MAX - MOCK_CHUNK,
		.key = m->rv.mr->rkey,
		.len = MOCK_DEPTH * MOCK_CHUNK,
	};
	uint8_t buf[RTRS_INFO_RSP_HDR_LEN + RTRS_DESC_LEN];

	rtrs_msg_info_rsp_encode(&desc, 1, buf, sizeof(buf));
	mock_send(m, con, buf, sizeof(buf));
	return true;
}

/* More bytes than the client can have room for. */
static bool
i_huge(struct mock *m, struct rv_con *con)
{
	static const uint8_t buf[32768] = {RTRS_MSG_INFO_RSP};

	mock_send(m, con, buf, sizeof(buf));
	return true;
}

static bool
i_twice(struct mock *m, struct rv_con *con)
{
	uint8_t buf[RTRS_INFO_RSP_HDR_LEN + MOCK_DEPTH * RTRS_DESC_LEN];
	unsigned len = mock_info_rsp(m, mock_path_of(con), buf);

	mock_send(m, con, buf, len);
	return false;
}

static bool
i_imm(struct mock *m, struct rv_con *con)
{
	mock_imm(m, con, rtrs_imm_hb_msg());
	return false;
}

/* On an I/O connection, before the path is up. */
static bool
i_reply_early(struct mock *m, struct rv_con *con)
{
	mock_imm(m, mock_path_of(con)->con[1], rtrs_imm_io_rsp(0, 0, false));
	return true;
}

/* Correct, but nothing of it is the server's. */
static bool
i_bad_key(struct mock *m, struct rv_con *con)
{
	const struct rtrs_desc desc = {
		.addr = (uintptr_t)m->rv.buf,
		.key = m->rv.mr->rkey ^ 0x5500,
		.len = MOCK_DEPTH * MOCK_CHUNK,
	};
	uint8_t buf[RTRS_INFO_RSP_HDR_LEN + RTRS_DESC_LEN];

	rtrs_msg_info_rsp_encode(&desc, 1, buf, sizeof(buf));
	mock_send(m, con, buf, sizeof(buf));
	return true;
}

static bool
i_leave(struct mock *m, struct rv_con *con)
{
	mock_leave(m, mock_path_of(con));
	return true;
}

static bool
i_silent(struct mock *m, struct rv_con *con)
{
	(void)m;
	(void)con;
	return true;
}

/* ------------------------------------------------------------------ table */

#define SIZES     "offers impossible sizes"
#define ALIEN     "speaks something else"
#define REJECTED  "rejected by the server"
#define MALFORMED "malformed INFO_RSP"
/* How the client says that a connection ended. */
#define LOST                                                                   \
	"was lost|closed the connection|closed connection|work request "       \
	"failed|protocol violation"

#define CONNECT(n, what, fn)                                                   \
	{                                                                      \
		.name = n, .hook = MOCK_CONNECT, .outcome = "refused",         \
		.complaint = what, .connect = fn                               \
	}
#define CONNECT_1(n, what, fn)                                                 \
	{                                                                      \
		.name = n, .hook = MOCK_CONNECT_1, .outcome = "refused",       \
		.complaint = what, .connect = fn                               \
	}
#define INFO(n, what, fn)                                                      \
	{                                                                      \
		.name = n, .hook = MOCK_INFO, .outcome = "refused",            \
		.complaint = what, .info = fn                                  \
	}

const struct mock_case mock_greet[] = {
	CONNECT("rsp-magic", ALIEN, c_magic),
	CONNECT("rsp-version", "another version of RTRS", c_version),
	CONNECT("rsp-cut", SIZES, c_cut),
	CONNECT("rsp-nothing", ALIEN, c_nothing),
	CONNECT("rsp-ones", ALIEN, c_ones),
	CONNECT("rsp-errno", "accepted the connection with an error", c_errno),
	CONNECT("rsp-silent", "did not answer", c_silent),
	CONNECT("rsp-leave", LOST, c_leave),
	CONNECT("reject", REJECTED ": it has no memory", c_reject),
	CONNECT("reject-unknown", REJECTED, c_reject_unknown),
	CONNECT("reject-positive", REJECTED, c_reject_positive),
	CONNECT("reject-zero", REJECTED " without a reason", c_reject_zero),
	CONNECT("reject-cut", REJECTED " without a reason", c_reject_cut),
	CONNECT("reject-nothing", REJECTED " without a reason",
		c_reject_nothing),
	CONNECT("depth-0", SIZES, c_depth_0),
	CONNECT("depth-huge", SIZES, c_depth_huge),
	CONNECT("hdr-0", SIZES, c_hdr_0),
	CONNECT("hdr-huge", SIZES, c_hdr_huge),
	CONNECT("sizes-wrap", SIZES, c_sizes_wrap),
	CONNECT("io-0", SIZES, c_io_0),
	CONNECT("io-huge", SIZES, c_io_huge),
	CONNECT_1("con-1-magic", ALIEN, c_magic),
	CONNECT_1("con-1-rejected", REJECTED, c_reject),
	CONNECT_1("con-1-silent", "did not answer", c_silent),
	CONNECT_1("con-1-leave", LOST, c_leave),

	INFO("info-empty", MALFORMED, i_empty),
	INFO("info-short", MALFORMED, i_short),
	INFO("info-cut", MALFORMED, i_cut),
	INFO("info-type", MALFORMED, i_type),
	INFO("info-sg-0", MALFORMED, i_sg_0),
	INFO("info-sg-huge", MALFORMED, i_sg_huge),
	INFO("info-sg-3", MALFORMED, i_sg_3),
	INFO("info-len-0", MALFORMED, i_len_0),
	INFO("info-len-odd", MALFORMED, i_len_odd),
	INFO("info-too-few", MALFORMED, i_too_few),
	INFO("info-too-many", MALFORMED, i_too_many),
	INFO("info-wraps", MALFORMED, i_wraps),
	INFO("info-huge", LOST, i_huge),
	INFO("info-imm", "something else before its INFO_RSP", i_imm),
	INFO("info-reply-early", "something else before its INFO_RSP",
	     i_reply_early),
	INFO("info-bad-key", LOST, i_bad_key),
	INFO("info-leave", "closed the connection after the session name",
	     i_leave),
	INFO("info-silent", "did not answer", i_silent),
	{.name = "info-twice",
	 .hook = MOCK_INFO,
	 .outcome = "heals",
	 .complaint = LOST,
	 .once = true,
	 .info = i_twice},
	{.name = "other-depth",
	 .hook = MOCK_CONNECT,
	 .outcome = "works",
	 .connect = c_other_depth},
};
const unsigned n_mock_greet = ARRAY_SIZE(mock_greet);
