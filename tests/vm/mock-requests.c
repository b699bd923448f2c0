/* SPDX-License-Identifier: BSD-3-Clause */
/* Answers to requests that are wrong, or that do not come. */
#include "tests/vm/mock.h"

#include <errno.h>
#include <string.h>

#include "proto/rtrs-imm.h"

/* What is sent where it must not be. */
#define EVIL 0xee

/* --------------------------------------------------------------- requests */

static bool
r_leave(struct mock *m, struct mock_req *r)
{
	mock_leave(m, mock_path_of(r->con));
	return true;
}

/* One connection ends, the others stay. */
static bool
r_leave_one(struct mock *m, struct mock_req *r)
{
	(void)m;
	rv_disconnect(r->con);
	return true;
}

/* Heartbeats are answered all the same. */
static bool
r_no_answer(struct mock *m, struct mock_req *r)
{
	(void)m;
	(void)r;
	return true;
}

static bool
r_silent(struct mock *m, struct mock_req *r)
{
	(void)r;
	m->silent = true;
	return true;
}

static bool
reply_errno(struct mock *m, struct mock_req *r, int err)
{
	mock_done(m, r->con, r, err);
	return true;
}

static bool
r_errno_2(struct mock *m, struct mock_req *r)
{
	return reply_errno(m, r, -ENOENT);
}

static bool
r_errno_22(struct mock *m, struct mock_req *r)
{
	return reply_errno(m, r, -EINVAL);
}

static bool
r_errno_103(struct mock *m, struct mock_req *r)
{
	return reply_errno(m, r, -ECONNABORTED);
}

static bool
r_errno_511(struct mock *m, struct mock_req *r)
{
	return reply_errno(m, r, -511);
}

/* The bytes of the answer are not what they should be. */
static bool
r_junk(struct mock *m, struct mock_req *r)
{
	memset(mock_chunk(m, r->id), EVIL, r->data_len);
	mock_data(m, r, r->data_len);
	mock_done(m, r->con, r, 0);
	return true;
}

/* Success, and not a byte. */
static bool
r_no_data(struct mock *m, struct mock_req *r)
{
	mock_done(m, r->con, r, 0);
	return true;
}

static bool
r_half_data(struct mock *m, struct mock_req *r)
{
	if (r->io.bi_size / 2)
		mock_data(m, r, r->data_len / 2);
	mock_done(m, r->con, r, 0);
	return true;
}

static bool
answer_disk(struct mock *m, struct mock_req *r, uint64_t nsectors,
	    uint16_t block)
{
	struct rnbd_msg_open_rsp rsp;

	mock_open_rsp(&rsp);
	rsp.nsectors = nsectors;
	rsp.logical_block_size = block;
	mock_answer_open(m, r, &rsp);
	return true;
}

static bool
r_sectors_63(struct mock *m, struct mock_req *r)
{
	return answer_disk(m, r, UINT64_C(1) << 63, 512);
}

static bool
r_sectors_max(struct mock *m, struct mock_req *r)
{
	return answer_disk(m, r, UINT64_MAX, 512);
}

static bool
r_block_0(struct mock *m, struct mock_req *r)
{
	return answer_disk(m, r, 8192, 0);
}

static bool
r_block_3(struct mock *m, struct mock_req *r)
{
	return answer_disk(m, r, 8192, 3);
}

static bool
r_block_256(struct mock *m, struct mock_req *r)
{
	return answer_disk(m, r, 8192, 256);
}

static bool
r_block_8192(struct mock *m, struct mock_req *r)
{
	return answer_disk(m, r, 8192, 8192);
}

/* Nonsense in everything that is only advice. */
static bool
r_open_ones(struct mock *m, struct mock_req *r)
{
	const struct rnbd_msg_open_rsp rsp = {
		.device_id = UINT32_MAX,
		.nsectors = MOCK_DISK / RNBD_SECTOR_SIZE,
		.max_hw_sectors = UINT32_MAX,
		.max_write_zeroes_sectors = 0,
		.max_discard_sectors = 0,
		.discard_granularity = UINT32_MAX,
		.discard_alignment = UINT32_MAX,
		.physical_block_size = 0xffff,
		.logical_block_size = 512,
		.max_segments = 0xffff,
		.secure_discard = 0xffff,
		.cache_policy = 0xff,
	};

	mock_answer_open(m, r, &rsp);
	return true;
}

static bool
r_shrunk(struct mock *m, struct mock_req *r)
{
	if (m->hits[MOCK_OPEN] < 2)
		return false;
	return answer_disk(m, r, 8, 512);
}

/* --------------------------------------------------------- I/O: the reply */

static bool
reply_as(struct mock *m, struct mock_req *r, unsigned id, bool w_inv)
{
	mock_imm(m, r->con, rtrs_imm_io_rsp(id, 0, w_inv));
	return true;
}

static bool
r_other_id(struct mock *m, struct mock_req *r)
{
	return reply_as(m, r, (r->id + 7) % MOCK_DEPTH, false);
}

static bool
r_id_beyond(struct mock *m, struct mock_req *r)
{
	return reply_as(m, r, MOCK_DEPTH, false);
}

static bool
r_id_huge(struct mock *m, struct mock_req *r)
{
	return reply_as(m, r, 0x7ffff, false);
}

static bool
r_twice(struct mock *m, struct mock_req *r)
{
	mock_honest(m, r);
	mock_done(m, r->con, r, 0);
	return true;
}

static bool
r_w_inv(struct mock *m, struct mock_req *r)
{
	return reply_as(m, r, r->id, true);
}

static bool
r_elsewhere(struct mock *m, struct mock_req *r)
{
	struct mock_path *path = mock_path_of(r->con);
	struct mock_req copy = *r;

	copy.con = path->con[r->con == path->con[0] ? 1 : 0];
	mock_honest(m, &copy);
	return true;
}

static bool
r_send(struct mock *m, struct mock_req *r)
{
	static const uint8_t junk[300];

	mock_send(m, r->con, junk, sizeof(junk));
	return true;
}

static bool
r_send_empty(struct mock *m, struct mock_req *r)
{
	mock_send(m, r->con, NULL, 0);
	return true;
}

static bool
r_send_imm(struct mock *m, struct mock_req *r)
{
	mock_send_imm(m, r->con, NULL, 0, rtrs_imm_io_rsp(r->id, 0, false));
	return true;
}

/* A new key that was never announced: 8 bytes into an empty receive. */
static bool
r_rkey_unasked(struct mock *m, struct mock_req *r)
{
	uint8_t msg[RTRS_RKEY_RSP_LEN];

	mock_rkey_rsp(m, r->id, msg);
	mock_send_imm(m, r->con, msg, sizeof(msg),
		      rtrs_imm_io_rsp(r->id, 0, false));
	return true;
}

/* A key of the client's that nobody wanted ended. */
static bool
r_inv_unasked(struct mock *m, struct mock_req *r)
{
	mock_send_inv(m, r->con, r->hdr.desc.key);
	return true;
}

static bool
r_inv_unknown(struct mock *m, struct mock_req *r)
{
	mock_send_inv(m, r->con, 0x12345678);
	return true;
}

/* Asked for, and left out: the client ends the key by itself. */
static bool
r_no_inv(struct mock *m, struct mock_req *r)
{
	struct mock_req copy = *r;

	if (!(r->hdr.flags & RTRS_READ_F_NEED_INVAL))
		return r_leave(m, r); /* the case makes no sense then */
	copy.hdr.flags = 0;
	mock_honest(m, &copy);
	return true;
}

static bool
r_strange_imms(struct mock *m, struct mock_req *r)
{
	static const unsigned types[] = {0, 3, 7, 10, 15};

	for (unsigned i = 0; i < 4 * ARRAY_SIZE(types); i++)
		mock_imm(m, r->con, types[i / 4] << 28 | 12345);
	return false;
}

static bool
r_hb_flood(struct mock *m, struct mock_req *r)
{
	for (unsigned i = 0; i < 200; i++)
		mock_imm(m, r->con,
			 i % 2 ? rtrs_imm_hb_msg() : rtrs_imm_hb_ack());
	return false;
}

/* --------------------------------------------------- I/O: foreign memory */

static bool
evil_data(struct mock *m, struct mock_req *r, uint64_t addr, uint32_t key,
	  uint32_t len)
{
	memset(mock_chunk(m, r->id), EVIL, len);
	mock_data_to(m, r, addr, key, len);
	return true;
}

static bool
r_bad_key(struct mock *m, struct mock_req *r)
{
	return evil_data(m, r, r->hdr.desc.addr, r->hdr.desc.key ^ 0x5500,
			 r->data_len);
}

static bool
r_null(struct mock *m, struct mock_req *r)
{
	return evil_data(m, r, 0, r->hdr.desc.key, r->data_len);
}

static bool
r_far_behind(struct mock *m, struct mock_req *r)
{
	return evil_data(m, r, r->hdr.desc.addr + (1u << 30), r->hdr.desc.key,
			 r->data_len);
}

static bool
r_key_0(struct mock *m, struct mock_req *r)
{
	return evil_data(m, r, r->hdr.desc.addr, 0, r->data_len);
}

/* -------------------------------------------------------- I/O: new keys */

static bool
rkey_reply(struct mock *m, struct mock_req *r, unsigned type, unsigned buf_id,
	   uint32_t key, unsigned len)
{
	const struct rtrs_msg_rkey_rsp rsp = {.buf_id = (uint16_t)buf_id,
					      .rkey = key};
	uint8_t msg[RTRS_RKEY_RSP_LEN];

	rtrs_msg_rkey_rsp_encode(&rsp, msg);
	msg[0] = (uint8_t)type;
	mock_send_imm(m, r->con, msg, len, rtrs_imm_io_rsp(r->id, 0, false));
	return true;
}

static bool
r_rkey_type(struct mock *m, struct mock_req *r)
{
	return rkey_reply(m, r, 3, r->id, m->rv.mr->rkey, RTRS_RKEY_RSP_LEN);
}

static bool
r_rkey_other_id(struct mock *m, struct mock_req *r)
{
	return rkey_reply(m, r, RTRS_MSG_RKEY_RSP, (r->id + 1) % MOCK_DEPTH,
			  m->rv.mr->rkey, RTRS_RKEY_RSP_LEN);
}

static bool
r_rkey_id_beyond(struct mock *m, struct mock_req *r)
{
	return rkey_reply(m, r, RTRS_MSG_RKEY_RSP, 0xffff, m->rv.mr->rkey,
			  RTRS_RKEY_RSP_LEN);
}

static bool
r_rkey_short(struct mock *m, struct mock_req *r)
{
	return rkey_reply(m, r, RTRS_MSG_RKEY_RSP, r->id, m->rv.mr->rkey, 7);
}

static bool
r_rkey_empty(struct mock *m, struct mock_req *r)
{
	return rkey_reply(m, r, RTRS_MSG_RKEY_RSP, r->id, m->rv.mr->rkey, 0);
}

static bool
r_rkey_long(struct mock *m, struct mock_req *r)
{
	static const uint8_t junk[64];

	mock_send_imm(m, r->con, junk, sizeof(junk),
		      rtrs_imm_io_rsp(r->id, 0, false));
	return true;
}

/* A good message with a key that is none: the next request finds out. */
static bool
r_rkey_bogus(struct mock *m, struct mock_req *r)
{
	mock_io(m, r);
	mock_data(m, r, r->data_len);
	return rkey_reply(m, r, RTRS_MSG_RKEY_RSP, r->id,
			  m->rv.mr->rkey ^ 0x5500, RTRS_RKEY_RSP_LEN);
}

static bool
r_no_new_key(struct mock *m, struct mock_req *r)
{
	bool was = mock_path_of(r->con)->new_rkey;

	mock_path_of(r->con)->new_rkey = false;
	mock_honest(m, r);
	mock_path_of(r->con)->new_rkey = was;
	return true;
}

/* ------------------------------------------------------------------ table */

/* How the client says that a connection ended. */
#define LOST                                                                   \
	"was lost|closed the connection|closed connection|work request "       \
	"failed|protocol violation"
#define DIED "work request failed|was lost|protocol violation"

#define GREET(n, at, what, fn)                                                 \
	{                                                                      \
		.name = n, .hook = at, .outcome = "refused",                   \
		.complaint = what, .req = fn                                   \
	}
#define HEALS(n, at, what, fn)                                                 \
	{                                                                      \
		.name = n, .hook = at, .outcome = "heals", .complaint = what,  \
		.once = true, .req = fn                                        \
	}

const struct mock_case mock_requests[] = {
	GREET("sess-info-errno", MOCK_SESS_INFO, "SESS_INFO failed",
	      r_errno_22),
	GREET("sess-info-junk", MOCK_SESS_INFO, "SESS_INFO failed", r_junk),
	GREET("sess-info-no-answer", MOCK_SESS_INFO, "no answer within",
	      r_no_answer),
	GREET("sess-info-leave", MOCK_SESS_INFO,
	      "no answer within|closed connection", r_leave),
	GREET("open-no-such", MOCK_OPEN, "no such export", r_errno_2),
	GREET("open-errno-511", MOCK_OPEN, "cannot open", r_errno_511),
	GREET("open-errno-103", MOCK_OPEN, "cannot open", r_errno_103),
	GREET("open-junk", MOCK_OPEN, "cannot open", r_junk),
	GREET("open-no-answer", MOCK_OPEN, "no answer within", r_no_answer),
	GREET("open-leave", MOCK_OPEN, "no answer within|closed connection",
	      r_leave),
	GREET("open-sectors-2-63", MOCK_OPEN, "impossible disk", r_sectors_63),
	GREET("open-sectors-max", MOCK_OPEN, "impossible disk", r_sectors_max),
	GREET("open-block-0", MOCK_OPEN, "impossible disk", r_block_0),
	GREET("open-block-3", MOCK_OPEN, "impossible disk", r_block_3),
	GREET("open-block-256", MOCK_OPEN, "impossible disk", r_block_256),
	{.name = "open-block-8192",
	 .hook = MOCK_OPEN,
	 .outcome = "works",
	 .req = r_block_8192},
	{.name = "open-ones",
	 .hook = MOCK_OPEN,
	 .outcome = "works",
	 .req = r_open_ones},
	HEALS("sess-info-leave-once", MOCK_SESS_INFO, LOST, r_leave),
	HEALS("open-leave-once", MOCK_OPEN, LOST, r_leave),

	HEALS("read-leave", MOCK_READ, LOST, r_leave),
	HEALS("read-leave-one", MOCK_READ, LOST, r_leave_one),
	HEALS("write-leave", MOCK_WRITE, LOST, r_leave),
	HEALS("reply-other-id", MOCK_READ, "replied to request", r_other_id),
	HEALS("reply-id-beyond", MOCK_READ, "replied to request 32, which",
	      r_id_beyond),
	HEALS("reply-id-huge", MOCK_WRITE, "replied to request 524287, which",
	      r_id_huge),
	HEALS("reply-twice", MOCK_READ, "replied to request .*, which is not",
	      r_twice),
	HEALS("reply-w-inv", MOCK_READ, "invalidated a key .* unasked",
	      r_w_inv),
	HEALS("read-send", MOCK_READ, DIED, r_send),
	HEALS("read-send-empty", MOCK_READ, "a message without request",
	      r_send_empty),
	HEALS("read-send-imm", MOCK_WRITE, "malformed reply", r_send_imm),
	HEALS("read-rkey-unasked", MOCK_WRITE, DIED, r_rkey_unasked),
	HEALS("read-inv-unasked", MOCK_READ, DIED, r_inv_unasked),
	HEALS("read-inv-unknown", MOCK_READ, DIED, r_inv_unknown),
	HEALS("data-bad-key", MOCK_READ, LOST, r_bad_key),
	HEALS("data-key-0", MOCK_READ, LOST, r_key_0),
	HEALS("data-null", MOCK_READ, LOST, r_null),
	HEALS("data-far-behind", MOCK_READ, LOST, r_far_behind),
	{.name = "reply-elsewhere",
	 .hook = MOCK_WRITE,
	 .outcome = "works",
	 .req = r_elsewhere},
	{.name = "strange-imms",
	 .hook = MOCK_READ,
	 .outcome = "works",
	 .complaint = "of unknown type",
	 .req = r_strange_imms},
	{.name = "hb-flood",
	 .hook = MOCK_READ,
	 .outcome = "works",
	 .req = r_hb_flood},
	/* The protocol has no way to tell how much came: no complaint. */
	{.name = "half-data",
	 .hook = MOCK_READ,
	 .outcome = "lives",
	 .req = r_half_data},
	{.name = "no-data",
	 .hook = MOCK_READ,
	 .outcome = "lives",
	 .req = r_no_data},
	{.name = "read-errno-511",
	 .hook = MOCK_READ,
	 .outcome = "error",
	 .once = true,
	 .req = r_errno_511},
	{.name = "read-errno-103",
	 .hook = MOCK_READ,
	 .outcome = "error",
	 .once = true,
	 .req = r_errno_103},
	/* The server is there each time, and that does not help. */
	{.name = "read-always-leaves",
	 .hook = MOCK_READ,
	 .outcome = "fails",
	 .complaint = LOST,
	 .req = r_leave},
	{.name = "silent",
	 .hook = MOCK_READ,
	 .outcome = "fails",
	 .complaint = "silent for",
	 .args = "heartbeat-interval=0.3 heartbeat-missed=2",
	 .req = r_silent},
	{.name = "shrunk",
	 .hook = MOCK_OPEN,
	 .outcome = "works",
	 .req = r_shrunk},

	{.name = "need-inval",
	 .hook = MOCK_NEVER,
	 .outcome = "works",
	 .args = "need-inval=yes"},
	{.name = "need-inval-left-out",
	 .hook = MOCK_READ,
	 .outcome = "works",
	 .args = "need-inval=yes",
	 .req = r_no_inv},
	{.name = "need-inval-unknown",
	 .hook = MOCK_READ,
	 .outcome = "heals",
	 .complaint = DIED,
	 .args = "need-inval=yes",
	 .once = true,
	 .req = r_inv_unknown},
	{.name = "need-inval-bad-key",
	 .hook = MOCK_READ,
	 .outcome = "heals",
	 .complaint = LOST,
	 .args = "need-inval=yes",
	 .once = true,
	 .req = r_bad_key},

	{.name = "new-rkey", .outcome = "works", .new_rkey = true},
	{.name = "new-rkey-not-used",
	 .hook = MOCK_READ,
	 .outcome = "works",
	 .new_rkey = true,
	 .req = r_no_new_key},
	{.name = "rkey-type",
	 .hook = MOCK_WRITE,
	 .outcome = "heals",
	 .complaint = "malformed reply",
	 .once = true,
	 .new_rkey = true,
	 .req = r_rkey_type},
	{.name = "rkey-other-id",
	 .hook = MOCK_WRITE,
	 .outcome = "heals",
	 .complaint = "malformed reply",
	 .once = true,
	 .new_rkey = true,
	 .req = r_rkey_other_id},
	{.name = "rkey-id-beyond",
	 .hook = MOCK_WRITE,
	 .outcome = "heals",
	 .complaint = "malformed reply",
	 .once = true,
	 .new_rkey = true,
	 .req = r_rkey_id_beyond},
	{.name = "rkey-short",
	 .hook = MOCK_WRITE,
	 .outcome = "heals",
	 .complaint = "malformed reply",
	 .once = true,
	 .new_rkey = true,
	 .req = r_rkey_short},
	{.name = "rkey-empty",
	 .hook = MOCK_WRITE,
	 .outcome = "heals",
	 .complaint = "malformed reply",
	 .once = true,
	 .new_rkey = true,
	 .req = r_rkey_empty},
	{.name = "rkey-long",
	 .hook = MOCK_WRITE,
	 .outcome = "heals",
	 .complaint = DIED,
	 .once = true,
	 .new_rkey = true,
	 .req = r_rkey_long},
	{.name = "rkey-bogus",
	 .hook = MOCK_READ,
	 .outcome = "heals",
	 .complaint = LOST,
	 .once = true,
	 .new_rkey = true,
	 .req = r_rkey_bogus},

	{.name = "close-leave",
	 .hook = MOCK_CLOSE,
	 .outcome = "works",
	 .req = r_leave},
	{.name = "close-errno",
	 .hook = MOCK_CLOSE,
	 .outcome = "works",
	 .req = r_errno_22},
	{.name = "close-no-answer",
	 .hook = MOCK_CLOSE,
	 .outcome = "works",
	 .req = r_no_answer},
};
const unsigned n_mock_requests = ARRAY_SIZE(mock_requests);
