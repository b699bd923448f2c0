/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The 32-bit immediate: type in bits 31..28, payload in bits 27..0.
 * It is the only big-endian field of the protocol; rtrs_imm_to_wire() and
 * rtrs_imm_from_wire() are the only places that know it. Everywhere else an
 * immediate is a uint32_t in host order.
 */
#ifndef PROTO_RTRS_IMM_H
#define PROTO_RTRS_IMM_H

#include <stdbool.h>
#include <stdint.h>

enum rtrs_imm_type {
	RTRS_IMM_IO_REQ = 0,       /* client -> server: chunk and offset */
	RTRS_IMM_IO_RSP = 1,       /* server -> client: msg_id and errno */
	RTRS_IMM_IO_RSP_W_INV = 2, /* same; a SEND_WITH_INV came before it */
	RTRS_IMM_HB_MSG = 8,       /* both ways: are you there? */
	RTRS_IMM_HB_ACK = 9,       /* both ways: yes */
};

#define RTRS_IMM_TYPE_BITS    4
#define RTRS_IMM_PAYLOAD_BITS 28
#define RTRS_IMM_MSG_ID_BITS  19
#define RTRS_IMM_ERRNO_BITS   9
#define RTRS_IMM_ERRNO_MAX    ((1u << RTRS_IMM_ERRNO_BITS) - 1)

/* Number of bits needed for 0..n-1: 0 for 1, 1 for 2, 9 for 300 and 512. */
unsigned rtrs_bits(uint64_t n);

/*
 * Width of the offset field of an IO_REQ: 28 - rtrs_bits(queue_depth).
 * 1 <= queue_depth <= 65535.
 */
unsigned rtrs_imm_mem_bits(unsigned queue_depth);

/* True if queue_depth chunks of chunk_size bytes fit the 28 payload bits. */
bool rtrs_imm_sizes_ok(uint32_t queue_depth, uint64_t chunk_size);

struct rtrs_imm {
	unsigned type;    /* 0..15; not every value is an rtrs_imm_type */
	uint32_t payload; /* 28 bits */
};

/* Splits any immediate; never fails. */
struct rtrs_imm rtrs_imm_decode(uint32_t imm);

/*
 * IO_REQ. buf_id and off must fit their fields (buf_id < queue_depth and
 * off < chunk_size ensure it); bits outside are cut.
 */
uint32_t rtrs_imm_io_req(unsigned mem_bits, uint32_t buf_id, uint32_t off);
void rtrs_imm_io_req_payload(uint32_t payload, unsigned mem_bits,
			     uint32_t *ret_buf_id, uint32_t *ret_off);

/*
 * IO_RSP. err is 0 or negative; its absolute value travels in 9 bits, a value
 * that does not fit travels as EIO. Decoding gives 0 or a negative errno.
 * Both are wire numbers: see wire-errno.h for those of the host.
 */
uint32_t rtrs_imm_io_rsp(uint32_t msg_id, int err, bool w_inv);
void rtrs_imm_io_rsp_payload(uint32_t payload, uint32_t *ret_msg_id,
			     int *ret_err);

uint32_t rtrs_imm_hb_msg(void);
uint32_t rtrs_imm_hb_ack(void);

void rtrs_imm_to_wire(uint32_t imm, uint8_t wire[4]);
uint32_t rtrs_imm_from_wire(const uint8_t wire[4]);

/* "IO_REQ", ..., or "unknown"; a total function. */
const char *rtrs_imm_type_name(unsigned type);

#endif
