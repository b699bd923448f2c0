/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/fabric/tcp-wire.h"

#include <errno.h>
#include <string.h>

#include "proto/wire.h"
#include "rtrs/base/util.h"
#include "rtrs/fabric/fabric.h"

void
tcp_hs_encode(uint8_t *buf, const struct tcp_hs *hs)
{
	struct wire_wr w = wire_wr_init(buf + TCP_HS_MAGIC_SIZE,
					TCP_HS_SIZE - TCP_HS_MAGIC_SIZE);

	memcpy(buf, TCP_HS_MAGIC, TCP_HS_MAGIC_SIZE);
	wire_put_le16(&w, TCP_HS_VERSION);
	wire_put_le16(&w, hs->type);
	wire_put_le16(&w, hs->priv_len);
	wire_put_le16(&w, 0);
}

int
tcp_hs_check_magic(const uint8_t *buf, size_t n)
{
	if (n > TCP_HS_MAGIC_SIZE)
		n = TCP_HS_MAGIC_SIZE;
	return memcmp(buf, TCP_HS_MAGIC, n) ? -EPROTO : 0;
}

int
tcp_hs_decode(const uint8_t *buf, struct tcp_hs *ret)
{
	struct wire_rd r = wire_rd_init(buf, TCP_HS_SIZE);
	struct tcp_hs hs;
	uint16_t version, reserved;

	if (tcp_hs_check_magic(buf, TCP_HS_SIZE) < 0)
		return -EPROTO;
	wire_get_skip(&r, TCP_HS_MAGIC_SIZE);
	version = wire_get_le16(&r);
	if (version != TCP_HS_VERSION)
		return 1;
	hs.type = wire_get_le16(&r);
	hs.priv_len = wire_get_le16(&r);
	reserved = wire_get_le16(&r);
	if (hs.type < TCP_HS_HELLO || hs.type > TCP_HS_REJECT ||
	    hs.priv_len > FABRIC_PRIV_MAX || reserved)
		return -EPROTO;
	*ret = hs;
	return 0;
}

/* Which fields an operation uses. */
enum {
	USES_LEN = BIT(0),
	USES_TARGET = BIT(1),
	USES_IMM = BIT(2),
	USES_ARG = BIT(3),
};

static const uint8_t op_uses[] = {
	[TCP_OP_SEND] = USES_LEN,
	[TCP_OP_SEND_IMM] = USES_LEN | USES_IMM,
	[TCP_OP_SEND_INV] = USES_LEN | USES_ARG,
	[TCP_OP_WRITE] = USES_LEN | USES_TARGET,
	[TCP_OP_WRITE_IMM] = USES_LEN | USES_TARGET | USES_IMM,
	[TCP_OP_DISCONNECT] = 0,
	[TCP_OP_ERROR] = USES_ARG,
};

/*
 * The immediate is the big-endian exception (proto/rtrs-imm.h has it for
 * RTRS; framing does not depend on what an immediate means).
 */
static void
put_imm(struct wire_wr *w, uint32_t imm)
{
	wire_put_u8(w, (uint8_t)(imm >> 24));
	wire_put_u8(w, (uint8_t)(imm >> 16));
	wire_put_u8(w, (uint8_t)(imm >> 8));
	wire_put_u8(w, (uint8_t)imm);
}

static uint32_t
get_imm(struct wire_rd *r)
{
	uint32_t imm = (uint32_t)wire_get_u8(r) << 24;

	imm |= (uint32_t)wire_get_u8(r) << 16;
	imm |= (uint32_t)wire_get_u8(r) << 8;
	return imm | wire_get_u8(r);
}

void
tcp_frame_encode(uint8_t *buf, const struct tcp_frame *f)
{
	struct wire_wr w = wire_wr_init(buf, TCP_FRAME_SIZE);
	unsigned uses = op_uses[f->op];

	wire_put_u8(&w, f->op);
	wire_put_u8(&w, 0);
	wire_put_le16(&w, 0);
	wire_put_le32(&w, uses & USES_LEN ? f->len : 0);
	wire_put_le64(&w, uses & USES_TARGET ? f->raddr : 0);
	wire_put_le32(&w, uses & USES_TARGET ? f->rkey : 0);
	if (uses & USES_IMM)
		put_imm(&w, f->imm);
	else
		wire_put_le32(&w, uses & USES_ARG ? f->arg : 0);
}

int
tcp_frame_decode(const uint8_t *buf, struct tcp_frame *ret)
{
	struct wire_rd r = wire_rd_init(buf, TCP_FRAME_SIZE);
	struct tcp_frame f = {0};
	unsigned uses;

	f.op = wire_get_u8(&r);
	if (f.op < TCP_OP_SEND || f.op > TCP_OP_ERROR)
		return -EPROTO;
	uses = op_uses[f.op];
	if (wire_get_u8(&r) || wire_get_le16(&r))
		return -EPROTO;
	f.len = wire_get_le32(&r);
	f.raddr = wire_get_le64(&r);
	f.rkey = wire_get_le32(&r);
	if (uses & USES_IMM)
		f.imm = get_imm(&r);
	else
		f.arg = wire_get_le32(&r);
	if (f.len > TCP_FRAME_LEN_MAX || (f.len && !(uses & USES_LEN)) ||
	    ((f.raddr || f.rkey) && !(uses & USES_TARGET)) ||
	    (f.arg && !(uses & USES_ARG)))
		return -EPROTO;
	*ret = f;
	return 0;
}

static const char *const violation_names[] = {
	[TCP_V_MALFORMED] = "malformed frame",
	[TCP_V_KEY] = "unknown key",
	[TCP_V_BOUNDS] = "out of bounds",
	[TCP_V_ACCESS] = "not writable",
	[TCP_V_SEND_SIZE] = "send longer than its receive",
	[TCP_V_INV] = "key not to be invalidated",
};

const char *
tcp_violation_name(unsigned v)
{
	return v >= TCP_V_MALFORMED && v < ARRAY_SIZE(violation_names)
		       ? violation_names[v]
		       : "unknown violation";
}
