/* SPDX-License-Identifier: BSD-3-Clause */
#include "proto/rnbd-msg.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "proto/wire.h"

/* The lengths of the header file are the sums of what the codecs walk. */
_Static_assert(4 + 1 + 31 == RNBD_SESS_INFO_LEN, "sess_info");
_Static_assert(4 + 2 + RNBD_NAME_LEN + 3 == RNBD_OPEN_LEN, "open");
_Static_assert(4 + 4 + 8 + 5 * 4 + 4 * 2 + 2 + 10 == RNBD_OPEN_RSP_LEN,
	       "open_rsp");
_Static_assert(4 + 4 + 8 + 4 + 4 == RNBD_IO_MIN_LEN, "io of protocol 1");
_Static_assert(RNBD_IO_MIN_LEN + 2 + 6 == RNBD_IO_LEN, "io");
_Static_assert((uint64_t)RNBD_MAX_DISCARD_SECTORS << RNBD_SECTOR_SHIFT <=
		       UINT32_MAX,
	       "a discard of the largest size has a bi_size");

/* Type and two bytes of padding, which kernel peers do not clear. */
static uint16_t
hdr_get(struct wire_rd *r)
{
	uint16_t type = wire_get_le16(r);

	wire_get_skip(r, 2);
	return type;
}

static void
hdr_put(struct wire_wr *w, enum rnbd_msg_type type)
{
	wire_put_le16(w, (uint16_t)type);
	wire_put_zero(w, 2);
}

int
rnbd_msg_type_decode(const void *buf, size_t len, uint16_t *ret)
{
	struct wire_rd r = wire_rd_init(buf, len);
	uint16_t type = hdr_get(&r);

	if (r.bad)
		return -EMSGSIZE;
	*ret = type;
	return 0;
}

int
rnbd_msg_sess_info_decode(const void *buf, size_t len, bool rsp,
			  struct rnbd_msg_sess_info *ret)
{
	struct wire_rd r = wire_rd_init(buf, len);
	struct rnbd_msg_sess_info m;
	uint16_t type;

	type = hdr_get(&r);
	m.ver = wire_get_u8(&r);
	wire_get_skip(&r, 31);
	if (r.bad)
		return -EMSGSIZE;
	if (type != (rsp ? RNBD_MSG_SESS_INFO_RSP : RNBD_MSG_SESS_INFO))
		return -EPROTO;
	*ret = m;
	return 0;
}

void
rnbd_msg_sess_info_encode(const struct rnbd_msg_sess_info *m, bool rsp,
			  uint8_t buf[RNBD_SESS_INFO_LEN])
{
	struct wire_wr w = wire_wr_init(buf, RNBD_SESS_INFO_LEN);

	hdr_put(&w, rsp ? RNBD_MSG_SESS_INFO_RSP : RNBD_MSG_SESS_INFO);
	wire_put_u8(&w, m->ver);
	wire_put_zero(&w, 31);
	assert(!w.bad && !w.left);
}

int
rnbd_msg_open_decode(const void *buf, size_t len, struct rnbd_msg_open *ret)
{
	struct wire_rd r = wire_rd_init(buf, len);
	struct rnbd_msg_open m = {0};
	const uint8_t *name, *nul;
	uint16_t type;

	type = hdr_get(&r);
	m.access_mode = wire_get_u8(&r);
	wire_get_skip(&r, 1);
	name = wire_get_ref(&r, RNBD_NAME_LEN);
	wire_get_skip(&r, 3);
	/* No name: the bytes end within it; bad: within what follows. */
	if (!name || r.bad)
		return -EMSGSIZE;
	if (type != RNBD_MSG_OPEN)
		return -EPROTO;
	nul = memchr(name, 0, RNBD_NAME_LEN);
	if (!nul || nul == name)
		return -EINVAL;
	/* Only the name: what follows the NUL may be anything. */
	memcpy(m.dev_name, name, (size_t)(nul - name));
	*ret = m;
	return 0;
}

void
rnbd_msg_open_encode(const struct rnbd_msg_open *m, uint8_t buf[RNBD_OPEN_LEN])
{
	struct wire_wr w = wire_wr_init(buf, RNBD_OPEN_LEN);
	size_t n = strnlen(m->dev_name, RNBD_NAME_LEN - 1);

	hdr_put(&w, RNBD_MSG_OPEN);
	wire_put_u8(&w, m->access_mode);
	wire_put_zero(&w, 1);
	wire_put_bytes(&w, m->dev_name, n);
	wire_put_zero(&w, RNBD_NAME_LEN - n + 3);
	assert(!w.bad && !w.left);
}

int
rnbd_msg_open_rsp_decode(const void *buf, size_t len,
			 struct rnbd_msg_open_rsp *ret)
{
	struct wire_rd r = wire_rd_init(buf, len);
	struct rnbd_msg_open_rsp m;
	uint16_t type;

	type = hdr_get(&r);
	m.device_id = wire_get_le32(&r);
	m.nsectors = wire_get_le64(&r);
	m.max_hw_sectors = wire_get_le32(&r);
	m.max_write_zeroes_sectors = wire_get_le32(&r);
	m.max_discard_sectors = wire_get_le32(&r);
	m.discard_granularity = wire_get_le32(&r);
	m.discard_alignment = wire_get_le32(&r);
	m.physical_block_size = wire_get_le16(&r);
	m.logical_block_size = wire_get_le16(&r);
	m.max_segments = wire_get_le16(&r);
	m.secure_discard = wire_get_le16(&r);
	wire_get_skip(&r, 1); /* rotational, obsolete */
	m.cache_policy = wire_get_u8(&r);
	wire_get_skip(&r, 10);
	if (r.bad)
		return -EMSGSIZE;
	if (type != RNBD_MSG_OPEN_RSP)
		return -EPROTO;
	*ret = m;
	return 0;
}

void
rnbd_msg_open_rsp_encode(const struct rnbd_msg_open_rsp *m,
			 uint8_t buf[RNBD_OPEN_RSP_LEN])
{
	struct wire_wr w = wire_wr_init(buf, RNBD_OPEN_RSP_LEN);

	hdr_put(&w, RNBD_MSG_OPEN_RSP);
	wire_put_le32(&w, m->device_id);
	wire_put_le64(&w, m->nsectors);
	wire_put_le32(&w, m->max_hw_sectors);
	wire_put_le32(&w, m->max_write_zeroes_sectors);
	wire_put_le32(&w, m->max_discard_sectors);
	wire_put_le32(&w, m->discard_granularity);
	wire_put_le32(&w, m->discard_alignment);
	wire_put_le16(&w, m->physical_block_size);
	wire_put_le16(&w, m->logical_block_size);
	wire_put_le16(&w, m->max_segments);
	wire_put_le16(&w, m->secure_discard);
	wire_put_zero(&w, 1); /* rotational, obsolete */
	wire_put_u8(&w, m->cache_policy);
	wire_put_zero(&w, 10);
	assert(!w.bad && !w.left);
}

int
rnbd_msg_io_decode(const void *buf, size_t len, struct rnbd_msg_io *ret)
{
	struct wire_rd r = wire_rd_init(buf, len);
	struct rnbd_msg_io m;
	uint16_t type;

	type = hdr_get(&r);
	m.device_id = wire_get_le32(&r);
	m.sector = wire_get_le64(&r);
	m.rw = wire_get_le32(&r);
	m.bi_size = wire_get_le32(&r);
	if (r.bad)
		return -EMSGSIZE;
	if (type != RNBD_MSG_IO)
		return -EPROTO;
	/*
	 * Protocol 1 ends here; a 32-bit peer ends 2 bytes behind prio. A
	 * getter that fails gives the 0 that "no priority" is.
	 */
	m.prio = wire_get_le16(&r);
	*ret = m;
	return 0;
}

void
rnbd_msg_io_encode(const struct rnbd_msg_io *m, uint8_t buf[RNBD_IO_LEN])
{
	struct wire_wr w = wire_wr_init(buf, RNBD_IO_LEN);

	hdr_put(&w, RNBD_MSG_IO);
	wire_put_le32(&w, m->device_id);
	wire_put_le64(&w, m->sector);
	wire_put_le32(&w, m->rw);
	wire_put_le32(&w, m->bi_size);
	wire_put_le16(&w, m->prio);
	wire_put_zero(&w, 6);
	assert(!w.bad && !w.left);
}

int
rnbd_msg_close_decode(const void *buf, size_t len, struct rnbd_msg_close *ret)
{
	struct wire_rd r = wire_rd_init(buf, len);
	struct rnbd_msg_close m;
	uint16_t type;

	type = hdr_get(&r);
	m.device_id = wire_get_le32(&r);
	if (r.bad)
		return -EMSGSIZE;
	if (type != RNBD_MSG_CLOSE)
		return -EPROTO;
	*ret = m;
	return 0;
}

void
rnbd_msg_close_encode(const struct rnbd_msg_close *m,
		      uint8_t buf[RNBD_CLOSE_LEN])
{
	struct wire_wr w = wire_wr_init(buf, RNBD_CLOSE_LEN);

	hdr_put(&w, RNBD_MSG_CLOSE);
	wire_put_le32(&w, m->device_id);
	assert(!w.bad && !w.left);
}

void
rnbd_msg_explain_encode(uint8_t buf[RNBD_EXPLAIN_LEN])
{
	struct wire_wr w = wire_wr_init(buf, RNBD_EXPLAIN_LEN);

	hdr_put(&w, RNBD_MSG_EXPLAIN);
	assert(!w.bad && !w.left);
}

void
rnbd_msg_explain_rsp_decode(const void *buf, size_t len,
			    char ret[RNBD_EXPLAIN_RSP_LEN])
{
	struct wire_rd r = wire_rd_init(buf, len);
	size_t n;

	for (n = 0; n < RNBD_EXPLAIN_RSP_LEN - 1; n++) {
		uint8_t c = wire_get_u8(&r);

		if (c == 0)
			break;
		/* Not isprint(): the locale has no say in this. */
		ret[n] = c >= 0x20 && c <= 0x7e ? (char)c : '?';
	}
	memset(ret + n, 0, RNBD_EXPLAIN_RSP_LEN - n);
}

void
rnbd_msg_explain_rsp_encode(const char *text, uint8_t buf[RNBD_EXPLAIN_RSP_LEN])
{
	struct wire_wr w = wire_wr_init(buf, RNBD_EXPLAIN_RSP_LEN);
	size_t n = strnlen(text, RNBD_EXPLAIN_RSP_LEN - 1);

	wire_put_bytes(&w, text, n);
	wire_put_zero(&w, RNBD_EXPLAIN_RSP_LEN - n);
	assert(!w.bad && !w.left);
}

const char *
rnbd_msg_type_name(unsigned type)
{
	switch (type) {
	case RNBD_MSG_SESS_INFO:
		return "SESS_INFO";
	case RNBD_MSG_SESS_INFO_RSP:
		return "SESS_INFO_RSP";
	case RNBD_MSG_OPEN:
		return "OPEN";
	case RNBD_MSG_OPEN_RSP:
		return "OPEN_RSP";
	case RNBD_MSG_IO:
		return "IO";
	case RNBD_MSG_CLOSE:
		return "CLOSE";
	case RNBD_MSG_EXPLAIN:
		return "EXPLAIN";
	default:
		return "unknown";
	}
}

const char *
rnbd_op_name(unsigned op)
{
	switch (op) {
	case RNBD_OP_READ:
		return "read";
	case RNBD_OP_WRITE:
		return "write";
	case RNBD_OP_FLUSH:
		return "flush";
	case RNBD_OP_DISCARD:
		return "discard";
	case RNBD_OP_SECURE_ERASE:
		return "secure_erase";
	case RNBD_OP_WRITE_ZEROES:
		return "write_zeroes";
	default:
		return "unknown";
	}
}

const char *
rnbd_access_mode_name(unsigned mode)
{
	switch (mode) {
	case RNBD_ACCESS_RO:
		return "ro";
	case RNBD_ACCESS_RW:
		return "rw";
	case RNBD_ACCESS_MIGRATION:
		return "migration";
	default:
		return "unknown";
	}
}

int
rnbd_access_mode_parse(const char *name)
{
	for (int m = RNBD_ACCESS_RO; m <= RNBD_ACCESS_MIGRATION; m++)
		if (strcmp(name, rnbd_access_mode_name((unsigned)m)) == 0)
			return m;
	return -EINVAL;
}
