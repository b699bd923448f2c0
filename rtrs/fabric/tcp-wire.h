/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tcp fabric sends: one TCP connection carries one queue pair. All
 * integers are little-endian but the immediate, which is big-endian as it is
 * on InfiniBand. Reserved fields, and fields that an operation does not use,
 * are zero and are checked.
 *
 * Handshake. Each side sends one message of 16 bytes plus private data:
 *
 *       0        8      10     12         14         16
 *      +--------+------+------+----------+----------+--- - - - ---+
 *      | magic  | ver  | type | priv_len | reserved | private data|
 *      | 8 bytes| u16  | u16  | u16      | u16      | 0..256      |
 *      +--------+------+------+----------+----------+--- - - - ---+
 *
 *      magic     "RTRS-TCP"
 *      ver       1. Magic and ver keep their place in all versions. A server
 *                that does not speak ver answers REJECT with its own.
 *      type      1 HELLO   client, at once after the TCP connection is up
 *                2 ACCEPT  server; frames follow, both ways
 *                3 REJECT  server; nothing follows, the server closes
 *
 *      client                               server
 *        |  -- TCP SYN ------------------->   |
 *        |  -- HELLO + private data ------>   |  CONNECT_REQUEST
 *        |  <- ACCEPT + private data -------  |  accept()
 *        |  <= frames ====================>   |
 *
 *        |  <- REJECT + private data, FIN --  |  reject()
 *        |  -- FIN ----------------------->   |
 *
 * Frames. One header of 24 bytes per operation, then len bytes of payload:
 *
 *       0    1       2          4     8       16     20         24
 *      +----+-------+----------+-----+-------+------+----------+--- - ---+
 *      | op | flags | reserved | len | raddr | rkey | imm, inv | payload |
 *      | u8 | u8    | u16      | u32 | u64   | u32  | u32      |         |
 *      +----+-------+----------+-----+-------+------+----------+--- - ---+
 *
 *      op                  raddr, rkey  last field       payload
 *      1 SEND              0            0                into a receive
 *      2 SEND_WITH_IMM     0            imm, big-endian  into a receive
 *      3 SEND_WITH_INV     0            key to end       into a receive
 *      4 WRITE             target       0                into memory
 *      5 WRITE_WITH_IMM    target       imm, big-endian  into memory
 *      6 DISCONNECT        0            0                none
 *      7 ERROR             0            reason           none
 *
 *      flags     0
 *      len       at most 2^30
 *      raddr     a number that the owner of the memory chose when it was
 *                registered: byte i of the region is raddr + i
 *      rkey      low 16 bits: a place in the owner's table; high 16 bits: as
 *                drawn when the key was made. With len 0 neither is looked at.
 *
 * The receiver checks key, bounds and permission of the whole payload before
 * it places the first byte. A frame that breaks a rule ends the connection:
 * the receiver sends ERROR, if it is between two frames of its own, and FIN.
 *
 * The end. Whoever leaves sends DISCONNECT as its last frame and then FIN; it
 * discards what still comes in, until the FIN of the other side proves that
 * nothing more is executed there. The other side answers in the same way:
 *
 *      A: disconnect()                      B
 *        |  -- DISCONNECT, FIN ----------->   |  DISCONNECTED, err 0
 *        |  <- (frames under way, dropped)    |
 *        |  <- DISCONNECT, FIN -----------    |  disconnect()
 *      CLOSED, confirmed                    CLOSED, confirmed
 *
 * DISCONNECT is left out by a side that has to cut a frame of its own in two.
 * A FIN without it is a lost connection (-ECONNRESET), but it confirms: only
 * who is leaving sends one. A reset or a time-out does not confirm.
 */
#ifndef RTRS_FABRIC_TCP_WIRE_H
#define RTRS_FABRIC_TCP_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define TCP_HS_MAGIC      "RTRS-TCP"
#define TCP_HS_MAGIC_SIZE 8
#define TCP_HS_VERSION    1
#define TCP_HS_SIZE       16

enum tcp_hs_type {
	TCP_HS_HELLO = 1,
	TCP_HS_ACCEPT = 2,
	TCP_HS_REJECT = 3,
};

struct tcp_hs {
	uint16_t type; /* enum tcp_hs_type */
	uint16_t priv_len;
};

/* buf has TCP_HS_SIZE bytes. */
void tcp_hs_encode(uint8_t *buf, const struct tcp_hs *hs);
/*
 * 0, -EPROTO, or 1: the peer speaks another version; then nothing else of the
 * message is known. priv_len is at most FABRIC_PRIV_MAX.
 */
int tcp_hs_decode(const uint8_t *buf, struct tcp_hs *ret);
/* 0 as long as n bytes (or fewer than a magic) may begin a handshake. */
int tcp_hs_check_magic(const uint8_t *buf, size_t n);

#define TCP_FRAME_SIZE    24
#define TCP_FRAME_LEN_MAX (1u << 30)

enum tcp_frame_op {
	TCP_OP_SEND = 1,
	TCP_OP_SEND_IMM = 2,
	TCP_OP_SEND_INV = 3,
	TCP_OP_WRITE = 4,
	TCP_OP_WRITE_IMM = 5,
	TCP_OP_DISCONNECT = 6,
	TCP_OP_ERROR = 7,
};

/* Why a connection was ended; travels in ERROR, for the log of the peer. */
enum tcp_violation {
	TCP_V_MALFORMED =
		1,     /* unknown operation, non-zero reserved bits, len */
	TCP_V_KEY = 2, /* no such key, or it ended meanwhile */
	TCP_V_BOUNDS = 3,
	TCP_V_ACCESS = 4,    /* not writable from remote */
	TCP_V_SEND_SIZE = 5, /* SEND longer than its receive */
	TCP_V_INV = 6,       /* not a key that the peer may end */
};
/* "malformed frame", ...; total. */
const char *tcp_violation_name(unsigned v);

struct tcp_frame {
	uint8_t op; /* enum tcp_frame_op */
	uint32_t len;
	uint64_t raddr;
	uint32_t rkey;
	uint32_t imm; /* host order; *_IMM */
	uint32_t arg; /* SEND_INV: the key; ERROR: enum tcp_violation */
};

/* buf has TCP_FRAME_SIZE bytes. Fields that op does not use are ignored. */
void tcp_frame_encode(uint8_t *buf, const struct tcp_frame *f);
/* 0 or -EPROTO. */
int tcp_frame_decode(const uint8_t *buf, struct tcp_frame *ret);

#endif
