/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RNBD messages, which travel as the user message of an RTRS request or as the
 * data of its response. Decoders and encoders behave as those in rtrs-msg.h.
 */
#ifndef PROTO_RNBD_MSG_H
#define PROTO_RNBD_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RNBD_PROTO_VER_MAJOR   2

#define RNBD_SESS_INFO_LEN     36 /* request and response */
#define RNBD_OPEN_LEN          264
#define RNBD_OPEN_RSP_LEN      56
#define RNBD_IO_LEN            32
#define RNBD_IO_MIN_LEN        24 /* protocol 1, no prio */
#define RNBD_CLOSE_LEN         8
/* The longest user message of a request. */
#define RNBD_USR_LEN_MAX       RNBD_OPEN_LEN

#define RNBD_NAME_LEN          255 /* array; 254 characters and a NUL */
#define RNBD_SECTOR_SHIFT      9   /* sectors are 512 bytes on the wire */
#define RNBD_SECTOR_SIZE       512
/* bi_size is 32 bits of bytes; this is the largest discard to announce. */
#define RNBD_MAX_DISCARD_SECTORS 8388607u

enum rnbd_msg_type {
	RNBD_MSG_SESS_INFO = 0,
	RNBD_MSG_SESS_INFO_RSP = 1,
	RNBD_MSG_OPEN = 2,
	RNBD_MSG_OPEN_RSP = 3,
	RNBD_MSG_IO = 4,
	RNBD_MSG_CLOSE = 5,
	/*
	 * Ours, not the kernel's: a READ with this user message (the 4-byte
	 * header alone) asks why the last OPEN of this session failed; the
	 * answer is text. A kernel server answers an unknown type with -EINVAL,
	 * so it may be sent to any peer.
	 */
	RNBD_MSG_EXPLAIN = 0x5759,
};

#define RNBD_EXPLAIN_LEN     4
#define RNBD_EXPLAIN_RSP_LEN 256 /* NUL-terminated text, zero-padded */

enum rnbd_access_mode {
	RNBD_ACCESS_RO = 0,
	RNBD_ACCESS_RW = 1,
	RNBD_ACCESS_MIGRATION = 2,
};

enum rnbd_op {
	RNBD_OP_READ = 0,
	RNBD_OP_WRITE = 1,
	RNBD_OP_FLUSH = 2,
	RNBD_OP_DISCARD = 3,
	RNBD_OP_SECURE_ERASE = 4,
	RNBD_OP_WRITE_ZEROES = 5, /* WRITE_SAME, never used, at 6.1 servers */
};

#define RNBD_RW_OP_MASK   0x000000ffu /* rw: operation, then flags */
#define RNBD_F_SYNC       0x00000100u
#define RNBD_F_FUA        0x00000200u
#define RNBD_F_PREFLUSH   0x00000400u /* protocol 2.1 */
#define RNBD_F_NOUNMAP    0x00000800u /* protocol 2.2 */

#define RNBD_CACHE_FUA       0x01u
#define RNBD_CACHE_WRITEBACK 0x02u

/* Type of a user message. -EMSGSIZE when there are fewer than 4 bytes. */
int rnbd_msg_type_decode(const void *buf, size_t len, uint16_t *ret);

struct rnbd_msg_sess_info {
	uint8_t ver; /* protocol major */
};

/* rsp tells which of the two types is expected. -EMSGSIZE, -EPROTO type. */
int rnbd_msg_sess_info_decode(const void *buf, size_t len, bool rsp,
			      struct rnbd_msg_sess_info *ret);
void rnbd_msg_sess_info_encode(const struct rnbd_msg_sess_info *m, bool rsp,
			       uint8_t buf[RNBD_SESS_INFO_LEN]);

struct rnbd_msg_open {
	uint8_t access_mode; /* any byte; 0..2 are enum rnbd_access_mode */
	char dev_name[RNBD_NAME_LEN];
};

/* -EMSGSIZE, -EPROTO type, -EINVAL no NUL within the array or empty name. */
int rnbd_msg_open_decode(const void *buf, size_t len,
			 struct rnbd_msg_open *ret);
void rnbd_msg_open_encode(const struct rnbd_msg_open *m,
			  uint8_t buf[RNBD_OPEN_LEN]);

struct rnbd_msg_open_rsp {
	uint32_t device_id;
	uint64_t nsectors;       /* 512-byte sectors, as all "sectors" here */
	uint32_t max_hw_sectors;
	uint32_t max_write_zeroes_sectors; /* 0: operation 5 is not offered */
	uint32_t max_discard_sectors;      /* 0: no discard */
	uint32_t discard_granularity; /* bytes */
	uint32_t discard_alignment;   /* bytes */
	uint16_t physical_block_size; /* bytes */
	uint16_t logical_block_size;  /* bytes */
	uint16_t max_segments;
	uint16_t secure_discard;
	uint8_t cache_policy; /* RNBD_CACHE_* */
};

/* -EMSGSIZE, -EPROTO type. Values are not judged here. */
int rnbd_msg_open_rsp_decode(const void *buf, size_t len,
			     struct rnbd_msg_open_rsp *ret);
void rnbd_msg_open_rsp_encode(const struct rnbd_msg_open_rsp *m,
			      uint8_t buf[RNBD_OPEN_RSP_LEN]);

struct rnbd_msg_io {
	uint32_t device_id;
	uint64_t sector;  /* meaningless (all ones) for a kernel FLUSH */
	uint32_t rw;      /* enum rnbd_op + RNBD_F_* */
	uint32_t bi_size; /* bytes */
	uint16_t prio;    /* Linux ioprio; 0 when the message is too short */
};

/* Accepts 24 bytes and more. -EMSGSIZE, -EPROTO type. */
int rnbd_msg_io_decode(const void *buf, size_t len, struct rnbd_msg_io *ret);
void rnbd_msg_io_encode(const struct rnbd_msg_io *m, uint8_t buf[RNBD_IO_LEN]);

struct rnbd_msg_close {
	uint32_t device_id;
};

int rnbd_msg_close_decode(const void *buf, size_t len,
			  struct rnbd_msg_close *ret);
void rnbd_msg_close_encode(const struct rnbd_msg_close *m,
			   uint8_t buf[RNBD_CLOSE_LEN]);

void rnbd_msg_explain_encode(uint8_t buf[RNBD_EXPLAIN_LEN]);
/*
 * Copies the text with whatever is not printable ASCII replaced by '?';
 * always NUL-terminates. Text of any peer is safe to log after that.
 */
void rnbd_msg_explain_rsp_decode(const void *buf, size_t len,
				 char ret[RNBD_EXPLAIN_RSP_LEN]);
void rnbd_msg_explain_rsp_encode(const char *text,
				 uint8_t buf[RNBD_EXPLAIN_RSP_LEN]);

/* Names for logs and statistics; total functions ("unknown"). */
const char *rnbd_msg_type_name(unsigned type); /* "SESS_INFO", ... */
const char *rnbd_op_name(unsigned op); /* "read", ..., "write_zeroes" */
const char *rnbd_access_mode_name(unsigned mode); /* "ro", "rw", "migration" */
/* The mode of a name, or -EINVAL. */
int rnbd_access_mode_parse(const char *name);

#endif
