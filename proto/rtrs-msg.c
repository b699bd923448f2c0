/* SPDX-License-Identifier: BSD-3-Clause */
#include "proto/rtrs-msg.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "proto/rtrs-imm.h"
#include "proto/wire.h"

#define WIRE_EIO 5

/*
 * first_conn is a one-bit field of a C struct: bit 0 when the peer was built
 * for little-endian machines, bit 7 for big-endian ones.
 */
#define FIRST_CONN_SET  0x01
#define FIRST_CONN_MASK 0x81

/* The lengths of the header file are the sums of what the codecs walk. */
_Static_assert(2 + 5 * 2 + 2 * sizeof(struct rtrs_uuid) + 1 + 11 ==
		       RTRS_CONN_REQ_LEN,
	       "conn_req");
_Static_assert(4 * 2 + 3 * 4 + 36 == RTRS_CONN_RSP_LEN, "conn_rsp");
_Static_assert(2 + RTRS_NAME_LEN + 15 == RTRS_INFO_REQ_LEN, "info_req");
_Static_assert(8 + 4 + 4 == RTRS_DESC_LEN, "desc");
_Static_assert(RTRS_PROTO_VER >> 8 == RTRS_PROTO_VER_MAJOR, "version");

static int
version_check(uint16_t magic, uint16_t version)
{
	if (magic != RTRS_MAGIC)
		return -EPROTO;
	if (version >> 8 != RTRS_PROTO_VER_MAJOR)
		return -EPROTONOSUPPORT;
	return 0;
}

int
rtrs_msg_conn_req_decode(const void *buf, size_t len,
			 struct rtrs_msg_conn_req *ret)
{
	struct wire_rd r = wire_rd_init(buf, len);
	struct rtrs_msg_conn_req m;
	uint16_t magic;
	int rc;

	/* With AF_IB addressing these two belong to the RDMA CM. */
	wire_get_skip(&r, 2);
	magic = wire_get_le16(&r);
	m.version = wire_get_le16(&r);
	m.cid = wire_get_le16(&r);
	m.cid_num = wire_get_le16(&r);
	m.recon_cnt = wire_get_le16(&r);
	wire_get_bytes(&r, m.path_uuid.b, sizeof(m.path_uuid.b));
	wire_get_bytes(&r, m.sess_uuid.b, sizeof(m.sess_uuid.b));
	m.first_conn = wire_get_u8(&r) & FIRST_CONN_MASK;
	wire_get_skip(&r, 11);
	if (r.bad)
		return -EMSGSIZE;
	rc = version_check(magic, m.version);
	if (rc)
		return rc;
	*ret = m;
	return 0;
}

void
rtrs_msg_conn_req_encode(const struct rtrs_msg_conn_req *m,
			 uint8_t buf[RTRS_CONN_REQ_LEN])
{
	struct wire_wr w = wire_wr_init(buf, RTRS_CONN_REQ_LEN);

	wire_put_le16(&w, 0);
	wire_put_le16(&w, RTRS_MAGIC);
	wire_put_le16(&w, m->version);
	wire_put_le16(&w, m->cid);
	wire_put_le16(&w, m->cid_num);
	wire_put_le16(&w, m->recon_cnt);
	wire_put_bytes(&w, m->path_uuid.b, sizeof(m->path_uuid.b));
	wire_put_bytes(&w, m->sess_uuid.b, sizeof(m->sess_uuid.b));
	wire_put_u8(&w, m->first_conn ? FIRST_CONN_SET : 0);
	wire_put_zero(&w, 11);
	assert(!w.bad && !w.left);
}

/* 16 bits of two's complement -> 0 or negative. */
static int
conn_err_get(uint16_t v)
{
	int err = v < 0x8000 ? v : (int)v - 0x10000;

	return err > 0 ? -err : err;
}

static uint16_t
conn_err_put(int err)
{
	/* 0 would read as success, and so would a number that was cut. */
	if (err > 0 || err < INT16_MIN)
		err = -WIRE_EIO;
	return (uint16_t)err;
}

int
rtrs_msg_conn_rsp_decode(const void *buf, size_t len,
			 struct rtrs_msg_conn_rsp *ret)
{
	struct wire_rd r = wire_rd_init(buf, len);
	struct rtrs_msg_conn_rsp m;
	uint16_t magic;
	int rc;

	magic = wire_get_le16(&r);
	m.version = wire_get_le16(&r);
	m.err = conn_err_get(wire_get_le16(&r));
	m.queue_depth = wire_get_le16(&r);
	m.max_io_size = wire_get_le32(&r);
	m.max_hdr_size = wire_get_le32(&r);
	m.flags = wire_get_le32(&r);
	wire_get_skip(&r, 36);
	if (r.bad)
		return -EMSGSIZE;
	rc = version_check(magic, m.version);
	if (rc)
		return rc;
	*ret = m;
	return 0;
}

void
rtrs_msg_conn_rsp_encode(const struct rtrs_msg_conn_rsp *m,
			 uint8_t buf[RTRS_CONN_RSP_LEN])
{
	struct wire_wr w = wire_wr_init(buf, RTRS_CONN_RSP_LEN);

	wire_put_le16(&w, RTRS_MAGIC);
	wire_put_le16(&w, m->version);
	wire_put_le16(&w, conn_err_put(m->err));
	wire_put_le16(&w, m->queue_depth);
	wire_put_le32(&w, m->max_io_size);
	wire_put_le32(&w, m->max_hdr_size);
	wire_put_le32(&w, m->flags);
	wire_put_zero(&w, 36);
	assert(!w.bad && !w.left);
}

int
rtrs_sess_name_check(const char *name)
{
	size_t n = strnlen(name, RTRS_NAME_LEN);

	if (n == RTRS_NAME_LEN)
		return -ENAMETOOLONG;
	if (n == 0 || memchr(name, '/', n) || memchr(name, '.', n))
		return -EINVAL;
	return 0;
}

int
rtrs_msg_info_req_decode(const void *buf, size_t len,
			 struct rtrs_msg_info_req *ret)
{
	struct wire_rd r = wire_rd_init(buf, len);
	struct rtrs_msg_info_req m = {0};
	const uint8_t *name, *nul;
	uint16_t type;

	type = wire_get_le16(&r);
	name = wire_get_ref(&r, RTRS_NAME_LEN);
	wire_get_skip(&r, 15);
	/* No name: the bytes end within it; bad: within what follows. */
	if (!name || r.bad)
		return -EMSGSIZE;
	if (type != RTRS_MSG_INFO_REQ)
		return -EPROTO;
	nul = memchr(name, 0, RTRS_NAME_LEN);
	if (!nul)
		return -EINVAL;
	/* Only the name: what follows the NUL may be anything. */
	memcpy(m.name, name, (size_t)(nul - name));
	if (rtrs_sess_name_check(m.name))
		return -EINVAL;
	*ret = m;
	return 0;
}

void
rtrs_msg_info_req_encode(const struct rtrs_msg_info_req *m,
			 uint8_t buf[RTRS_INFO_REQ_LEN])
{
	struct wire_wr w = wire_wr_init(buf, RTRS_INFO_REQ_LEN);
	size_t n = strnlen(m->name, RTRS_NAME_LEN - 1);

	wire_put_le16(&w, RTRS_MSG_INFO_REQ);
	wire_put_bytes(&w, m->name, n);
	wire_put_zero(&w, RTRS_NAME_LEN - n + 15);
	assert(!w.bad && !w.left);
}

static void
desc_get(struct wire_rd *r, struct rtrs_desc *ret)
{
	ret->addr = wire_get_le64(r);
	ret->key = wire_get_le32(r);
	ret->len = wire_get_le32(r);
}

static void
desc_put(struct wire_wr *w, const struct rtrs_desc *d)
{
	wire_put_le64(w, d->addr);
	wire_put_le32(w, d->key);
	wire_put_le32(w, d->len);
}

int
rtrs_msg_info_rsp_decode(const void *buf, size_t len, uint16_t *ret_sg_cnt)
{
	struct wire_rd r = wire_rd_init(buf, len);
	uint16_t type, sg_cnt;

	type = wire_get_le16(&r);
	sg_cnt = wire_get_le16(&r);
	wire_get_skip(&r, 4);
	if (r.bad)
		return -EMSGSIZE;
	if (type != RTRS_MSG_INFO_RSP || sg_cnt == 0)
		return -EPROTO;
	if (!wire_range_ok(RTRS_INFO_RSP_HDR_LEN,
			   (uint64_t)sg_cnt * RTRS_DESC_LEN, len))
		return -EMSGSIZE;
	*ret_sg_cnt = sg_cnt;
	return 0;
}

int
rtrs_msg_info_rsp_desc(const void *buf, size_t len, unsigned i,
		       struct rtrs_desc *ret)
{
	uint64_t off = RTRS_INFO_RSP_HDR_LEN + (uint64_t)RTRS_DESC_LEN * i;
	struct wire_rd r;

	if (!wire_range_ok(off, RTRS_DESC_LEN, len))
		return -EMSGSIZE;
	r = wire_rd_init((const uint8_t *)buf + off, RTRS_DESC_LEN);
	desc_get(&r, ret);
	return 0;
}

int
rtrs_msg_info_rsp_encode(const struct rtrs_desc *desc, uint16_t sg_cnt,
			 void *buf, size_t len)
{
	size_t need = rtrs_msg_info_rsp_len(sg_cnt);
	struct wire_wr w = wire_wr_init(buf, need);

	if (len < need)
		return -EMSGSIZE;
	wire_put_le16(&w, RTRS_MSG_INFO_RSP);
	wire_put_le16(&w, sg_cnt);
	wire_put_zero(&w, 4);
	for (unsigned i = 0; i < sg_cnt; i++)
		desc_put(&w, &desc[i]);
	assert(!w.bad && !w.left);
	return (int)need;
}

/* The i-th of those that rtrs_msg_info_rsp_decode() has counted. */
static struct rtrs_desc
desc_at(const void *buf, size_t len, unsigned i)
{
	struct rtrs_desc d = {0};
	int rc = rtrs_msg_info_rsp_desc(buf, len, i, &d);

	assert(rc == 0);
	(void)rc;
	return d;
}

/* Everything but the calls of put(). */
static int
info_rsp_check(const void *buf, size_t len, uint32_t queue_depth,
	       uint32_t chunk_size, uint16_t *ret_sg_cnt)
{
	uint64_t chunks = 0;
	uint16_t sg_cnt;
	int rc;

	rc = rtrs_msg_info_rsp_decode(buf, len, &sg_cnt);
	if (rc)
		return rc;
	/* The sum with sg_cnt follows: a divisor is not larger. */
	if (!rtrs_imm_sizes_ok(queue_depth, chunk_size) || queue_depth % sg_cnt)
		return -EINVAL;
	for (unsigned i = 0; i < sg_cnt; i++) {
		struct rtrs_desc d = desc_at(buf, len, i);

		if (d.len == 0 || d.len % chunk_size ||
		    !wire_range_ok(d.addr, d.len, UINT64_MAX))
			return -EINVAL;
		chunks += d.len / chunk_size;
	}
	if (chunks != queue_depth)
		return -EINVAL;
	*ret_sg_cnt = sg_cnt;
	return 0;
}

int
rtrs_msg_info_rsp_chunks(const void *buf, size_t len, uint32_t queue_depth,
			 uint32_t chunk_size,
			 void (*put)(void *user, uint32_t chunk, uint64_t addr,
				     uint32_t key),
			 void *user)
{
	uint32_t chunk = 0;
	uint16_t sg_cnt;
	int rc;

	rc = info_rsp_check(buf, len, queue_depth, chunk_size, &sg_cnt);
	if (rc)
		return rc;
	for (unsigned i = 0; i < sg_cnt; i++) {
		struct rtrs_desc d = desc_at(buf, len, i);

		for (uint32_t off = 0; off < d.len; off += chunk_size)
			put(user, chunk++, d.addr + off, d.key);
	}
	return 0;
}

int
rtrs_msg_rkey_rsp_decode(const void *buf, size_t len,
			 struct rtrs_msg_rkey_rsp *ret)
{
	struct wire_rd r = wire_rd_init(buf, len);
	struct rtrs_msg_rkey_rsp m;
	uint16_t type;

	type = wire_get_le16(&r);
	m.buf_id = wire_get_le16(&r);
	m.rkey = wire_get_le32(&r);
	if (r.bad)
		return -EMSGSIZE;
	if (type != RTRS_MSG_RKEY_RSP)
		return -EPROTO;
	*ret = m;
	return 0;
}

void
rtrs_msg_rkey_rsp_encode(const struct rtrs_msg_rkey_rsp *m,
			 uint8_t buf[RTRS_RKEY_RSP_LEN])
{
	struct wire_wr w = wire_wr_init(buf, RTRS_RKEY_RSP_LEN);

	wire_put_le16(&w, RTRS_MSG_RKEY_RSP);
	wire_put_le16(&w, m->buf_id);
	wire_put_le32(&w, m->rkey);
	assert(!w.bad && !w.left);
}

int
rtrs_msg_req_decode(const void *buf, size_t len, struct rtrs_msg_req *ret)
{
	struct wire_rd r = wire_rd_init(buf, len);
	struct rtrs_msg_req m = {0};
	uint16_t type;

	type = wire_get_le16(&r);
	m.usr_len = wire_get_le16(&r);
	if (r.bad)
		return -EMSGSIZE;
	if (type != RTRS_MSG_WRITE && type != RTRS_MSG_READ)
		return -EPROTO;
	m.type = type;
	if (m.type == RTRS_MSG_READ) {
		m.flags = wire_get_le16(&r);
		m.sg_cnt = wire_get_le16(&r);
		if (r.bad)
			return -EMSGSIZE;
		if (m.sg_cnt > 1)
			return -EPROTO;
		if (m.sg_cnt)
			desc_get(&r, &m.desc);
		if (r.bad)
			return -EMSGSIZE;
	}
	*ret = m;
	return 0;
}

size_t
rtrs_msg_req_encode(const struct rtrs_msg_req *m, uint8_t buf[RTRS_REQ_HDR_MAX])
{
	size_t len = rtrs_msg_req_len(m);
	struct wire_wr w = wire_wr_init(buf, len);

	assert(len <= RTRS_REQ_HDR_MAX);
	wire_put_le16(&w, (uint16_t)m->type);
	wire_put_le16(&w, m->usr_len);
	if (m->type == RTRS_MSG_READ) {
		wire_put_le16(&w, m->flags);
		wire_put_le16(&w, m->sg_cnt);
		if (m->sg_cnt)
			desc_put(&w, &m->desc);
	}
	assert(!w.bad && !w.left);
	return len;
}

const char *
rtrs_msg_type_name(unsigned type)
{
	switch (type) {
	case RTRS_MSG_INFO_REQ:
		return "INFO_REQ";
	case RTRS_MSG_INFO_RSP:
		return "INFO_RSP";
	case RTRS_MSG_WRITE:
		return "WRITE";
	case RTRS_MSG_READ:
		return "READ";
	case RTRS_MSG_RKEY_RSP:
		return "RKEY_RSP";
	default:
		return "unknown";
	}
}
