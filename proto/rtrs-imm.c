/* SPDX-License-Identifier: BSD-3-Clause */
#include "proto/rtrs-imm.h"

#include <assert.h>

#define PAYLOAD_MASK ((1u << RTRS_IMM_PAYLOAD_BITS) - 1)
#define MSG_ID_MASK  ((1u << RTRS_IMM_MSG_ID_BITS) - 1)
#define WIRE_EIO     5

_Static_assert(RTRS_IMM_TYPE_BITS + RTRS_IMM_PAYLOAD_BITS == 32,
	       "type and payload fill the immediate");
_Static_assert(RTRS_IMM_ERRNO_BITS + RTRS_IMM_MSG_ID_BITS ==
		       RTRS_IMM_PAYLOAD_BITS,
	       "errno and message id fill the payload");

unsigned
rtrs_bits(uint64_t n)
{
	return n <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(n - 1);
}

unsigned
rtrs_imm_mem_bits(unsigned queue_depth)
{
	unsigned chunk_bits = rtrs_bits(queue_depth);

	return chunk_bits < RTRS_IMM_PAYLOAD_BITS
		       ? RTRS_IMM_PAYLOAD_BITS - chunk_bits
		       : 0;
}

bool
rtrs_imm_sizes_ok(uint32_t queue_depth, uint64_t chunk_size)
{
	return queue_depth && chunk_size &&
	       rtrs_bits(queue_depth) + rtrs_bits(chunk_size) <=
		       RTRS_IMM_PAYLOAD_BITS;
}

static uint32_t
imm_make(enum rtrs_imm_type type, uint32_t payload)
{
	return (uint32_t)type << RTRS_IMM_PAYLOAD_BITS |
	       (payload & PAYLOAD_MASK);
}

struct rtrs_imm
rtrs_imm_decode(uint32_t imm)
{
	return (struct rtrs_imm){
		.type = imm >> RTRS_IMM_PAYLOAD_BITS,
		.payload = imm & PAYLOAD_MASK,
	};
}

uint32_t
rtrs_imm_io_req(unsigned mem_bits, uint32_t buf_id, uint32_t off)
{
	assert(mem_bits <= RTRS_IMM_PAYLOAD_BITS);
	return imm_make(RTRS_IMM_IO_REQ,
			buf_id << mem_bits | (off & ((1u << mem_bits) - 1)));
}

void
rtrs_imm_io_req_payload(uint32_t payload, unsigned mem_bits,
			uint32_t *ret_buf_id, uint32_t *ret_off)
{
	assert(mem_bits <= RTRS_IMM_PAYLOAD_BITS);
	*ret_buf_id = (payload & PAYLOAD_MASK) >> mem_bits;
	*ret_off = payload & ((1u << mem_bits) - 1);
}

uint32_t
rtrs_imm_io_rsp(uint32_t msg_id, int err, bool w_inv)
{
	uint32_t abs_err = WIRE_EIO;

	/* Compared before negation, which INT_MIN would overflow. */
	if (err <= 0 && err >= -(int)RTRS_IMM_ERRNO_MAX)
		abs_err = (uint32_t)-err;
	return imm_make(w_inv ? RTRS_IMM_IO_RSP_W_INV : RTRS_IMM_IO_RSP,
			abs_err << RTRS_IMM_MSG_ID_BITS |
				(msg_id & MSG_ID_MASK));
}

void
rtrs_imm_io_rsp_payload(uint32_t payload, uint32_t *ret_msg_id, int *ret_err)
{
	*ret_msg_id = payload & MSG_ID_MASK;
	*ret_err = -(int)(payload >> RTRS_IMM_MSG_ID_BITS & RTRS_IMM_ERRNO_MAX);
}

uint32_t
rtrs_imm_hb_msg(void)
{
	return imm_make(RTRS_IMM_HB_MSG, 0);
}

uint32_t
rtrs_imm_hb_ack(void)
{
	return imm_make(RTRS_IMM_HB_ACK, 0);
}

void
rtrs_imm_to_wire(uint32_t imm, uint8_t wire[4])
{
	wire[0] = (uint8_t)(imm >> 24);
	wire[1] = (uint8_t)(imm >> 16);
	wire[2] = (uint8_t)(imm >> 8);
	wire[3] = (uint8_t)imm;
}

uint32_t
rtrs_imm_from_wire(const uint8_t wire[4])
{
	return (uint32_t)wire[0] << 24 | (uint32_t)wire[1] << 16 |
	       (uint32_t)wire[2] << 8 | (uint32_t)wire[3];
}

const char *
rtrs_imm_type_name(unsigned type)
{
	switch (type) {
	case RTRS_IMM_IO_REQ:
		return "IO_REQ";
	case RTRS_IMM_IO_RSP:
		return "IO_RSP";
	case RTRS_IMM_IO_RSP_W_INV:
		return "IO_RSP_W_INV";
	case RTRS_IMM_HB_MSG:
		return "HB_MSG";
	case RTRS_IMM_HB_ACK:
		return "HB_ACK";
	default:
		return "unknown";
	}
}
