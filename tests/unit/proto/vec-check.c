/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/proto/vec-check.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "proto/rnbd-msg.h"
#include "proto/rtrs-imm.h"
#include "proto/rtrs-msg.h"
#include "tests/unit/proto/msg-eq.h"

/* Connection messages */

void
vec_check_conn_req(const struct vec *v)
{
	struct rtrs_msg_conn_req m = {
		.version = (uint16_t)vec_num(v, v->fields, "version"),
		.cid = (uint16_t)vec_num(v, v->fields, "cid"),
		.cid_num = (uint16_t)vec_num(v, v->fields, "cid_num"),
		.recon_cnt = (uint16_t)vec_num(v, v->fields, "recon_cnt"),
		.first_conn = vec_num(v, v->fields, "first_conn"),
	};
	struct rtrs_msg_conn_req out;
	uint8_t buf[RTRS_CONN_REQ_LEN];

	ck_assert_uint_eq(vec_num(v, v->fields, "magic"), RTRS_MAGIC);
	ck_assert_uint_eq(vec_num(v, v->fields, "cma_version"), 0);
	ck_assert_uint_eq(vec_num(v, v->fields, "ip_version"), 0);
	ck_assert_uint_eq(vec_unhex(v, vec_str(v, v->fields, "sess_uuid"),
				    m.path_uuid.b, 16),
			  16);
	ck_assert_uint_eq(vec_unhex(v, vec_str(v, v->fields, "paths_uuid"),
				    m.sess_uuid.b, 16),
			  16);
	ck_assert_uint_eq(v->len, RTRS_CONN_REQ_LEN);
	rtrs_msg_conn_req_encode(&m, buf);
	vec_bytes_eq(v, 0, buf, sizeof(buf));
	ck_assert_int_eq(rtrs_msg_conn_req_decode(v->bytes, v->len, &out), 0);
	ck_assert(conn_req_eq(&m, &out));
}

void
vec_check_conn_rsp(const struct vec *v)
{
	/* A reject names its errno only; the rest is zero. */
	struct rtrs_msg_conn_rsp m = {
		.version = (uint16_t)vec_num(v, v->fields, "version"),
		.err = (int)vec_num(v, v->fields, "errno"),
		.queue_depth =
			(uint16_t)vec_num_or_0(v, v->fields, "queue_depth"),
		.max_io_size =
			(uint32_t)vec_num_or_0(v, v->fields, "max_io_size"),
		.max_hdr_size =
			(uint32_t)vec_num_or_0(v, v->fields, "max_hdr_size"),
		.flags = (uint32_t)vec_num_or_0(v, v->fields, "flags"),
	};
	struct rtrs_msg_conn_rsp out;
	uint8_t buf[RTRS_CONN_RSP_LEN];

	ck_assert_uint_eq(vec_num(v, v->fields, "magic"), RTRS_MAGIC);
	ck_assert_uint_eq(v->len, RTRS_CONN_RSP_LEN);
	rtrs_msg_conn_rsp_encode(&m, buf);
	vec_bytes_eq(v, 0, buf, sizeof(buf));
	ck_assert_int_eq(rtrs_msg_conn_rsp_decode(v->bytes, v->len, &out), 0);
	ck_assert(conn_rsp_eq(&m, &out));
	if (m.err == 0)
		ck_assert(rtrs_imm_sizes_ok(m.queue_depth,
					    (uint64_t)m.max_io_size +
						    m.max_hdr_size));
}

/* Path information */

void
vec_check_info_req(const struct vec *v)
{
	struct rtrs_msg_info_req m = {0}, out;
	uint8_t buf[RTRS_INFO_REQ_LEN];

	ck_assert_uint_eq(vec_num(v, v->fields, "type"), RTRS_MSG_INFO_REQ);
	snprintf(m.name, sizeof(m.name), "%s",
		 vec_str(v, v->fields, "pathname"));
	ck_assert_uint_eq(v->len, RTRS_INFO_REQ_LEN);
	rtrs_msg_info_req_encode(&m, buf);
	vec_bytes_eq(v, 0, buf, sizeof(buf));
	ck_assert_int_eq(rtrs_msg_info_req_decode(v->bytes, v->len, &out), 0);
	ck_assert(info_req_eq(&m, &out));
}

static struct rtrs_desc
desc_of(const struct vec *v, json_t *list, size_t i)
{
	json_t *d = json_array_get(list, i);

	ck_assert_msg(d != NULL, "%s: no desc %zu", v->name, i);
	return (struct rtrs_desc){
		.addr = vec_num(v, d, "addr"),
		.key = (uint32_t)vec_num(v, d, "key"),
		.len = (uint32_t)vec_num(v, d, "len"),
	};
}

struct chunk_table {
	uint32_t n;
	uint64_t addr[512];
	uint32_t key[512];
};

static void
chunk_put(void *user, uint32_t chunk, uint64_t addr, uint32_t key)
{
	struct chunk_table *t = user;

	ck_assert_uint_lt(chunk, 512);
	ck_assert_uint_eq(chunk, t->n);
	t->addr[chunk] = addr;
	t->key[chunk] = key;
	t->n++;
}

/* The file notes addresses and keys of some chunks: "chunk_255_addr". */
static void
check_chunk_notes(const struct vec *v, const struct chunk_table *t)
{
	json_t *notes = json_object_get(v->fields, "check");
	const char *key;
	json_t *x;

	json_object_foreach(notes, key, x) {
		char what[8];
		unsigned i;

		ck_assert_int_eq(sscanf(key, "chunk_%u_%7s", &i, what), 2);
		ck_assert_uint_lt(i, t->n);
		if (strcmp(what, "addr") == 0)
			ck_assert(t->addr[i] == vec_to_num(v, x));
		else if (strcmp(what, "rkey") == 0)
			ck_assert_uint_eq(t->key[i], vec_to_num(v, x));
		else
			ck_abort_msg("%s: what is %s?", v->name, key);
	}
}

void
vec_check_info_rsp(const struct vec *v)
{
	json_t *list = vec_get(v, v->fields, "desc");
	/* Without sizes of its own a vector has those of the whole file. */
	json_t *sizes = json_object_get(v->fields, "queue_depth")
				? v->fields
				: vec_doc.params;
	uint32_t qd = (uint32_t)vec_num(v, sizes, "queue_depth");
	uint32_t chunk_size = (uint32_t)vec_num(v, sizes, "chunk_size");
	struct chunk_table t = {0};
	struct rtrs_desc desc[16];
	uint8_t buf[512];
	uint16_t n, got;

	ck_assert_uint_eq(vec_num(v, v->fields, "type"), RTRS_MSG_INFO_RSP);
	n = (uint16_t)vec_num(v, v->fields, "sg_cnt");
	ck_assert_uint_eq(n, json_array_size(list));
	ck_assert_uint_le(n, 16);
	ck_assert_uint_eq(v->len, rtrs_msg_info_rsp_len(n));
	for (unsigned i = 0; i < n; i++)
		desc[i] = desc_of(v, list, i);

	ck_assert_int_eq(rtrs_msg_info_rsp_encode(desc, n, buf, sizeof(buf)),
			 (int)v->len);
	vec_bytes_eq(v, 0, buf, v->len);
	ck_assert_int_eq(rtrs_msg_info_rsp_decode(v->bytes, v->len, &got), 0);
	ck_assert_uint_eq(got, n);
	for (unsigned i = 0; i < n; i++) {
		struct rtrs_desc d;

		ck_assert_int_eq(
			rtrs_msg_info_rsp_desc(v->bytes, v->len, i, &d), 0);
		ck_assert(desc_eq(&d, &desc[i]));
	}
	ck_assert_int_eq(rtrs_msg_info_rsp_chunks(v->bytes, v->len, qd,
						  chunk_size, chunk_put, &t),
			 0);
	ck_assert_uint_eq(t.n, qd);
	ck_assert(t.addr[0] == desc[0].addr);
	check_chunk_notes(v, &t);
}

/* User messages. Each checks the message at the start of the bytes. */

static size_t
check_usr_sess_info(const struct vec *v, json_t *f)
{
	struct rnbd_msg_sess_info m = {.ver = (uint8_t)vec_num(v, f, "ver")},
				  out;
	bool rsp = vec_num(v, f, "type") == RNBD_MSG_SESS_INFO_RSP;
	uint8_t buf[RNBD_SESS_INFO_LEN];

	rnbd_msg_sess_info_encode(&m, rsp, buf);
	vec_bytes_eq(v, 0, buf, sizeof(buf));
	ck_assert_int_eq(
		rnbd_msg_sess_info_decode(v->bytes, sizeof(buf), rsp, &out), 0);
	ck_assert_uint_eq(out.ver, m.ver);
	return sizeof(buf);
}

static size_t
check_usr_open(const struct vec *v, json_t *f)
{
	struct rnbd_msg_open m = {0}, out;
	uint8_t buf[RNBD_OPEN_LEN];

	m.access_mode = (uint8_t)vec_num(v, f, "access_mode");
	snprintf(m.dev_name, sizeof(m.dev_name), "%s",
		 vec_str(v, f, "dev_name"));
	rnbd_msg_open_encode(&m, buf);
	vec_bytes_eq(v, 0, buf, sizeof(buf));
	ck_assert_int_eq(rnbd_msg_open_decode(v->bytes, sizeof(buf), &out), 0);
	ck_assert(open_eq(&m, &out));
	return sizeof(buf);
}

static size_t
check_usr_open_rsp(const struct vec *v, json_t *f)
{
	struct rnbd_msg_open_rsp m = {
		.device_id = (uint32_t)vec_num(v, f, "device_id"),
		.nsectors = vec_num(v, f, "nsectors"),
		.max_hw_sectors = (uint32_t)vec_num(v, f, "max_hw_sectors"),
		.max_write_zeroes_sectors =
			(uint32_t)vec_num(v, f, "max_write_zeroes_sectors"),
		.max_discard_sectors =
			(uint32_t)vec_num(v, f, "max_discard_sectors"),
		.discard_granularity =
			(uint32_t)vec_num(v, f, "discard_granularity"),
		.discard_alignment =
			(uint32_t)vec_num(v, f, "discard_alignment"),
		.physical_block_size =
			(uint16_t)vec_num(v, f, "physical_block_size"),
		.logical_block_size =
			(uint16_t)vec_num(v, f, "logical_block_size"),
		.max_segments = (uint16_t)vec_num(v, f, "max_segments"),
		.secure_discard = (uint16_t)vec_num(v, f, "secure_discard"),
		.cache_policy = (uint8_t)vec_num(v, f, "cache_policy"),
	};
	struct rnbd_msg_open_rsp out;
	uint8_t buf[RNBD_OPEN_RSP_LEN];

	ck_assert_uint_eq(vec_num(v, f, "obsolete_rotational"), 0);
	rnbd_msg_open_rsp_encode(&m, buf);
	vec_bytes_eq(v, 0, buf, sizeof(buf));
	ck_assert_int_eq(rnbd_msg_open_rsp_decode(v->bytes, sizeof(buf), &out),
			 0);
	ck_assert(open_rsp_eq(&m, &out));
	return sizeof(buf);
}

static size_t
check_usr_io(const struct vec *v, json_t *f)
{
	struct rnbd_msg_io m = {
		.device_id = (uint32_t)vec_num(v, f, "device_id"),
		.sector = vec_num(v, f, "sector"),
		.rw = (uint32_t)vec_num(v, f, "rw"),
		.bi_size = (uint32_t)vec_num(v, f, "bi_size"),
		.prio = (uint16_t)vec_num(v, f, "prio"),
	};
	struct rnbd_msg_io out;
	uint8_t buf[RNBD_IO_LEN];

	rnbd_msg_io_encode(&m, buf);
	vec_bytes_eq(v, 0, buf, sizeof(buf));
	ck_assert_int_eq(rnbd_msg_io_decode(v->bytes, sizeof(buf), &out), 0);
	ck_assert(io_eq(&m, &out));
	return sizeof(buf);
}

static size_t
check_usr_close(const struct vec *v, json_t *f)
{
	struct rnbd_msg_close m = {
		.device_id = (uint32_t)vec_num(v, f, "device_id")};
	struct rnbd_msg_close out;
	uint8_t buf[RNBD_CLOSE_LEN];

	rnbd_msg_close_encode(&m, buf);
	vec_bytes_eq(v, 0, buf, sizeof(buf));
	ck_assert_int_eq(rnbd_msg_close_decode(v->bytes, sizeof(buf), &out), 0);
	ck_assert_uint_eq(out.device_id, m.device_id);
	return sizeof(buf);
}

/* Returns the length of the message. */
static size_t
check_usr(const struct vec *v, json_t *f)
{
	uint16_t type;

	ck_assert_int_eq(rnbd_msg_type_decode(v->bytes, v->len, &type), 0);
	ck_assert_uint_eq(type, vec_num(v, f, "type"));
	switch (type) {
	case RNBD_MSG_SESS_INFO:
	case RNBD_MSG_SESS_INFO_RSP:
		return check_usr_sess_info(v, f);
	case RNBD_MSG_OPEN:
		return check_usr_open(v, f);
	case RNBD_MSG_OPEN_RSP:
		return check_usr_open_rsp(v, f);
	case RNBD_MSG_IO:
		return check_usr_io(v, f);
	case RNBD_MSG_CLOSE:
		return check_usr_close(v, f);
	default:
		ck_abort_msg("%s: type %u", v->name, type);
	}
}

void
vec_check_usr_alone(const struct vec *v)
{
	ck_assert_uint_eq(check_usr(v, v->fields), v->len);
}

/* Requests: user message, header, immediate */

static struct rtrs_msg_req
req_of(const struct vec *v)
{
	json_t *f = vec_get(v, v->fields, "rtrs");
	struct rtrs_msg_req m = {
		.type = (enum rtrs_msg_type)vec_num(v, f, "type"),
		.usr_len = (uint16_t)vec_num(v, f, "usr_len"),
	};

	if (m.type == RTRS_MSG_READ) {
		m.flags = (uint16_t)vec_num(v, f, "flags");
		m.sg_cnt = (uint16_t)vec_num(v, f, "sg_cnt");
		if (m.sg_cnt)
			m.desc = desc_of(v, vec_get(v, f, "desc"), 0);
	}
	return m;
}

static void
check_req_place(const struct vec *v, const struct rtrs_msg_req *m)
{
	json_t *t = v->transport;
	unsigned qd = (unsigned)vec_num(v, vec_doc.params, "queue_depth");
	uint64_t chunk_size = vec_num(v, vec_doc.params, "chunk_size");
	unsigned mem_bits = rtrs_imm_mem_bits(qd);
	uint32_t chunk = (uint32_t)vec_num(v, t, "chunk");
	uint32_t off = (uint32_t)vec_num(v, t, "rtrs_hdr_offset");
	struct rtrs_imm imm = rtrs_imm_decode(vec_imm(v));
	uint32_t data_len, got_chunk, got_off;

	ck_assert_uint_eq(mem_bits, vec_num(v, vec_doc.params, "mem_bits"));
	ck_assert_uint_eq(rtrs_imm_io_req(mem_bits, chunk, off), vec_imm(v));
	ck_assert_uint_eq(imm.type, RTRS_IMM_IO_REQ);
	rtrs_imm_io_req_payload(imm.payload, mem_bits, &got_chunk, &got_off);
	ck_assert_uint_eq(got_chunk, chunk);
	ck_assert_uint_eq(got_off, off);

	/* The user message ends where the header starts. */
	ck_assert_uint_ge(off, m->usr_len);
	data_len = off - m->usr_len;
	ck_assert_uint_le(off + rtrs_msg_req_len(m), chunk_size);
	if (m->type == RTRS_MSG_WRITE) {
		ck_assert_uint_eq(vec_num(v, t, "chunk_offset"), 0);
		ck_assert_uint_eq(vec_num(v, t, "data_len"), data_len);
	} else {
		ck_assert_uint_eq(vec_num(v, t, "chunk_offset"), data_len);
		ck_assert_uint_eq(m->sg_cnt ? m->desc.len : 0, data_len);
	}
}

void
vec_check_req(const struct vec *v)
{
	struct rtrs_msg_req m = req_of(v), out;
	uint8_t buf[RTRS_REQ_HDR_MAX];
	size_t usr_len, len;

	usr_len = check_usr(v, vec_get(v, v->fields, "rnbd"));
	ck_assert_uint_eq(usr_len, m.usr_len);
	len = rtrs_msg_req_encode(&m, buf);
	ck_assert_uint_eq(usr_len + len, v->len);
	vec_bytes_eq(v, usr_len, buf, len);
	ck_assert_int_eq(rtrs_msg_req_decode(v->bytes + usr_len, len, &out), 0);
	ck_assert(req_eq(&m, &out));
	check_req_place(v, &m);
}

/* Replies */

static void
check_rsp_imm(const struct vec *v, json_t *f, bool w_inv)
{
	uint32_t msg_id = (uint32_t)vec_num(v, f, "msg_id"), got_id;
	int err = (int)vec_num(v, f, "errno"), got_err;
	struct rtrs_imm imm = rtrs_imm_decode(vec_imm(v));

	ck_assert_uint_eq(rtrs_imm_io_rsp(msg_id, err, w_inv), vec_imm(v));
	ck_assert_uint_eq(imm.type,
			  w_inv ? RTRS_IMM_IO_RSP_W_INV : RTRS_IMM_IO_RSP);
	rtrs_imm_io_rsp_payload(imm.payload, &got_id, &got_err);
	ck_assert_uint_eq(got_id, msg_id);
	ck_assert_int_eq(got_err, err);
}

void
vec_check_rkey_rsp(const struct vec *v)
{
	struct rtrs_msg_rkey_rsp m = {
		.buf_id = (uint16_t)vec_num(v, v->fields, "buf_id"),
		.rkey = (uint32_t)vec_num(v, v->fields, "rkey"),
	};
	struct rtrs_msg_rkey_rsp out;
	uint8_t buf[RTRS_RKEY_RSP_LEN];

	ck_assert_uint_eq(vec_num(v, v->fields, "type"), RTRS_MSG_RKEY_RSP);
	ck_assert_uint_eq(v->len, RTRS_RKEY_RSP_LEN);
	rtrs_msg_rkey_rsp_encode(&m, buf);
	vec_bytes_eq(v, 0, buf, sizeof(buf));
	ck_assert_int_eq(rtrs_msg_rkey_rsp_decode(v->bytes, v->len, &out), 0);
	ck_assert(rkey_rsp_eq(&m, &out));
	ck_assert_uint_eq(vec_num(v, v->transport, "msg_id"), m.buf_id);
	check_rsp_imm(v, v->transport, vec_flag(v, v->transport, "w_inval"));
}

/* A reply without a message. */
void
vec_check_bare_rsp(const struct vec *v)
{
	uint64_t type = vec_num(v, v->fields, "imm_type");

	ck_assert_uint_eq(v->len, 0);
	ck_assert(type == RTRS_IMM_IO_RSP || type == RTRS_IMM_IO_RSP_W_INV);
	check_rsp_imm(v, v->fields, type == RTRS_IMM_IO_RSP_W_INV);
}

void
vec_check_imm_rsp(const struct vec *v)
{
	ck_assert_uint_eq(v->len, 0);
	check_rsp_imm(v, v->fields, vec_flag(v, v->fields, "w_inval"));
}

void
vec_check_imm_req(const struct vec *v)
{
	unsigned qd = (unsigned)vec_num(v, v->fields, "queue_depth");
	uint32_t buf_id = (uint32_t)vec_num(v, v->fields, "buf_id"), got_id;
	uint32_t off = (uint32_t)vec_num(v, v->fields, "off"), got_off;
	unsigned mem_bits = rtrs_imm_mem_bits(qd);
	struct rtrs_imm imm = rtrs_imm_decode(vec_imm(v));

	ck_assert_uint_eq(v->len, 0);
	ck_assert_uint_eq(rtrs_bits(qd), vec_num(v, v->fields, "chunk_bits"));
	ck_assert_uint_eq(mem_bits, vec_num(v, v->fields, "mem_bits"));
	ck_assert_uint_eq(rtrs_imm_io_req(mem_bits, buf_id, off), vec_imm(v));
	ck_assert_uint_eq(imm.type, RTRS_IMM_IO_REQ);
	rtrs_imm_io_req_payload(imm.payload, mem_bits, &got_id, &got_off);
	ck_assert_uint_eq(got_id, buf_id);
	ck_assert_uint_eq(got_off, off);
}

void
vec_check_hb(const struct vec *v)
{
	uint64_t type = vec_num(v, v->fields, "imm_type");
	struct rtrs_imm imm = rtrs_imm_decode(vec_imm(v));

	ck_assert_uint_eq(v->len, 0);
	ck_assert(type == RTRS_IMM_HB_MSG || type == RTRS_IMM_HB_ACK);
	ck_assert_uint_eq(imm.type, type);
	ck_assert_uint_eq(imm.payload, vec_num(v, v->fields, "payload"));
	ck_assert_uint_eq(type == RTRS_IMM_HB_MSG ? rtrs_imm_hb_msg()
						  : rtrs_imm_hb_ack(),
			  vec_imm(v));
}

/* The request "x_req" that "x_inv" or "x_data" belongs to, decoded. */
static struct rtrs_msg_req
req_before(const struct vec *v)
{
	const char *tail = strrchr(v->name, '_');
	struct rtrs_msg_req m;
	struct vec req;
	char name[64];
	size_t usr_len;

	ck_assert_ptr_nonnull(tail);
	snprintf(name, sizeof(name), "%.*s_req", (int)(tail - v->name),
		 v->name);
	req = vec_load(name);
	usr_len = req_of(&req).usr_len;
	ck_assert_int_eq(
		rtrs_msg_req_decode(req.bytes + usr_len, req.len - usr_len, &m),
		0);
	return m;
}

/* No bytes: the key is that of the request, which asked for it. */
void
vec_check_inv(const struct vec *v)
{
	struct rtrs_msg_req m = req_before(v);

	ck_assert_uint_eq(v->len, 0);
	ck_assert_uint_eq(m.sg_cnt, 1);
	ck_assert(m.flags & RTRS_READ_F_NEED_INVAL);
	ck_assert_uint_eq(vec_num(v, v->fields, "invalidate_rkey"), m.desc.key);
	ck_assert_uint_eq(vec_num(v, v->transport, "rkey"), m.desc.key);
}

/* The data goes where the descriptor of the request says, all of it. */
void
vec_check_data(const struct vec *v)
{
	struct rtrs_msg_req m = req_before(v);

	ck_assert_uint_eq(v->len, 0);
	ck_assert(vec_num(v, v->transport, "remote_addr") == m.desc.addr);
	ck_assert_uint_eq(vec_num(v, v->transport, "rkey"), m.desc.key);
	ck_assert_uint_eq(vec_num(v, v->transport, "data_len"), m.desc.len);
}
