/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RTRS messages: bytes <-> host structs. Pure functions; any thread.
 *
 * Decoders are total: any bytes of any length give a filled struct and 0, or a
 * negative errno and an untouched *ret. They accept what kernel peers really
 * send: bytes behind the message, garbage in reserved fields and behind NULs.
 * Encoders write the whole message and zeroes where a field is reserved.
 */
#ifndef PROTO_RTRS_MSG_H
#define PROTO_RTRS_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTRS_DEFAULT_PORT     1234
#define RTRS_MAGIC            0x1bbd
#define RTRS_PROTO_VER_MAJOR  2
#define RTRS_PROTO_VER        0x0200 /* major << 8 | minor */

#define RTRS_CONN_REQ_LEN     56
#define RTRS_CONN_RSP_LEN     56
#define RTRS_INFO_REQ_LEN     272
#define RTRS_INFO_RSP_HDR_LEN 8
#define RTRS_DESC_LEN         16
#define RTRS_RKEY_RSP_LEN     8
#define RTRS_WRITE_HDR_LEN    4
#define RTRS_READ_HDR_LEN     8 /* without descriptors */

#define RTRS_NAME_LEN         255 /* array; 254 characters and a NUL */
#define RTRS_MAX_CONS         4096
#define RTRS_MAX_PATHS        128
#define RTRS_MAX_QUEUE_DEPTH  65535
#define RTRS_MIN_CHUNK_SIZE   8192

enum rtrs_msg_type {
	RTRS_MSG_INFO_REQ = 0,
	RTRS_MSG_INFO_RSP = 1,
	RTRS_MSG_WRITE = 2,
	RTRS_MSG_READ = 3,
	RTRS_MSG_RKEY_RSP = 4,
};

#define RTRS_READ_F_NEED_INVAL 0x0001u /* flags of a read header */
#define RTRS_RSP_F_NEW_RKEY    0x00000002u /* flags of a conn_rsp */

struct rtrs_uuid {
	uint8_t b[16];
};

/*
 * Private data of a CM request. The wire's "sess_uuid" identifies the path and
 * its "paths_uuid" the session; here they are called what they are.
 */
struct rtrs_msg_conn_req {
	uint16_t version;
	uint16_t cid;
	uint16_t cid_num;
	uint16_t recon_cnt;
	struct rtrs_uuid path_uuid;
	struct rtrs_uuid sess_uuid;
	bool first_conn;
};

/*
 * Errors: -EMSGSIZE fewer than 56 bytes, -EPROTO wrong magic, -EPROTONOSUPPORT
 * wrong major version. cid and cid_num are not judged here.
 */
int rtrs_msg_conn_req_decode(const void *buf, size_t len,
			     struct rtrs_msg_conn_req *ret);
void rtrs_msg_conn_req_encode(const struct rtrs_msg_conn_req *m,
			      uint8_t buf[RTRS_CONN_REQ_LEN]);

/* Private data of accept and of reject. */
struct rtrs_msg_conn_rsp {
	uint16_t version;
	int err; /* 0 in an accept, a negative errno in a reject */
	uint16_t queue_depth;
	uint32_t max_io_size;  /* bytes; chunk size - max_hdr_size */
	uint32_t max_hdr_size; /* bytes */
	uint32_t flags;        /* RTRS_RSP_F_* */
};

/* Errors as rtrs_msg_conn_req_decode(). A positive errno decodes as -errno. */
int rtrs_msg_conn_rsp_decode(const void *buf, size_t len,
			     struct rtrs_msg_conn_rsp *ret);
void rtrs_msg_conn_rsp_encode(const struct rtrs_msg_conn_rsp *m,
			      uint8_t buf[RTRS_CONN_RSP_LEN]);

struct rtrs_msg_info_req {
	char name[RTRS_NAME_LEN]; /* NUL-terminated session name */
};

/*
 * 0 if name is a legal session name: 1..254 characters, no '/' and no '.'.
 * Errors: -EINVAL bad character or empty, -ENAMETOOLONG.
 */
int rtrs_sess_name_check(const char *name);

/*
 * Errors: -EMSGSIZE fewer than 272 bytes, -EPROTO wrong type, -EINVAL no NUL
 * within the array or not a legal session name.
 */
int rtrs_msg_info_req_decode(const void *buf, size_t len,
			     struct rtrs_msg_info_req *ret);
/* m->name must be legal. */
void rtrs_msg_info_req_encode(const struct rtrs_msg_info_req *m,
			      uint8_t buf[RTRS_INFO_REQ_LEN]);

struct rtrs_desc {
	uint64_t addr;
	uint32_t key;
	uint32_t len; /* bytes */
};

static inline size_t
rtrs_msg_info_rsp_len(unsigned sg_cnt)
{
	return RTRS_INFO_RSP_HDR_LEN + (size_t)RTRS_DESC_LEN * sg_cnt;
}

/*
 * INFO_RSP has a header and sg_cnt descriptors. Decode gives sg_cnt and
 * promises that all of them lie within len; fetch them one by one.
 * Errors: -EMSGSIZE too short for sg_cnt, -EPROTO wrong type or sg_cnt 0.
 */
int rtrs_msg_info_rsp_decode(const void *buf, size_t len, uint16_t *ret_sg_cnt);
/* -EMSGSIZE when descriptor i does not lie within len. */
int rtrs_msg_info_rsp_desc(const void *buf, size_t len, unsigned i,
			   struct rtrs_desc *ret);
/* Returns the bytes written, or -EMSGSIZE when len is too small. */
int rtrs_msg_info_rsp_encode(const struct rtrs_desc *desc, uint16_t sg_cnt,
			     void *buf, size_t len);

/*
 * The rules that a client applies to an INFO_RSP as a whole: sg_cnt divides
 * queue_depth, the bit sum, every len is a non-zero multiple of chunk_size,
 * together they cover exactly queue_depth chunks. "The bit sum" is that of
 * rtrs_imm_sizes_ok(); no descriptor may wrap around the address space.
 * Calls put(user, chunk index, addr, key) for each chunk in order, only after
 * everything was checked. Errors: those of decode, -EINVAL a rule is broken.
 */
int rtrs_msg_info_rsp_chunks(const void *buf, size_t len, uint32_t queue_depth,
			     uint32_t chunk_size,
			     void (*put)(void *user, uint32_t chunk,
					 uint64_t addr, uint32_t key),
			     void *user);

struct rtrs_msg_rkey_rsp {
	uint16_t buf_id;
	uint32_t rkey;
};

/* Errors: -EMSGSIZE, -EPROTO wrong type. */
int rtrs_msg_rkey_rsp_decode(const void *buf, size_t len,
			     struct rtrs_msg_rkey_rsp *ret);
void rtrs_msg_rkey_rsp_encode(const struct rtrs_msg_rkey_rsp *m,
			      uint8_t buf[RTRS_RKEY_RSP_LEN]);

/* Header of a request inside a chunk, after data and user message. */
struct rtrs_msg_req {
	enum rtrs_msg_type type; /* RTRS_MSG_WRITE or RTRS_MSG_READ */
	uint16_t usr_len;
	/* READ only: */
	uint16_t flags; /* RTRS_READ_F_* */
	uint16_t sg_cnt; /* 0 or 1 */
	struct rtrs_desc desc; /* where the answer goes; valid if sg_cnt == 1 */
};

static inline size_t
rtrs_msg_req_len(const struct rtrs_msg_req *m)
{
	if (m->type == RTRS_MSG_WRITE)
		return RTRS_WRITE_HDR_LEN;
	return RTRS_READ_HDR_LEN + (size_t)RTRS_DESC_LEN * m->sg_cnt;
}
/* The longest request header: a read with one descriptor. */
#define RTRS_REQ_HDR_MAX (RTRS_READ_HDR_LEN + RTRS_DESC_LEN)

/*
 * buf starts at the header. Errors: -EMSGSIZE header or descriptor beyond len,
 * -EPROTO type neither WRITE nor READ, or sg_cnt above 1.
 */
int rtrs_msg_req_decode(const void *buf, size_t len, struct rtrs_msg_req *ret);
/* Writes rtrs_msg_req_len(m) bytes and returns that number. */
size_t rtrs_msg_req_encode(const struct rtrs_msg_req *m,
			   uint8_t buf[RTRS_REQ_HDR_MAX]);

/* "INFO_REQ", ..., or "unknown"; a total function. */
const char *rtrs_msg_type_name(unsigned type);

#endif
