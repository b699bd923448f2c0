/* SPDX-License-Identifier: BSD-3-Clause */
/* Equality of decoded messages, field by field: structs have padding. */
#ifndef TESTS_UNIT_PROTO_MSG_EQ_H
#define TESTS_UNIT_PROTO_MSG_EQ_H

#include <stdbool.h>
#include <string.h>

#include "proto/rnbd-msg.h"
#include "proto/rtrs-msg.h"

static inline bool
conn_req_eq(const struct rtrs_msg_conn_req *a,
	    const struct rtrs_msg_conn_req *b)
{
	return a->version == b->version && a->cid == b->cid &&
	       a->cid_num == b->cid_num && a->recon_cnt == b->recon_cnt &&
	       memcmp(&a->path_uuid, &b->path_uuid, 16) == 0 &&
	       memcmp(&a->sess_uuid, &b->sess_uuid, 16) == 0 &&
	       a->first_conn == b->first_conn;
}

static inline bool
conn_rsp_eq(const struct rtrs_msg_conn_rsp *a,
	    const struct rtrs_msg_conn_rsp *b)
{
	return a->version == b->version && a->err == b->err &&
	       a->queue_depth == b->queue_depth &&
	       a->max_io_size == b->max_io_size &&
	       a->max_hdr_size == b->max_hdr_size && a->flags == b->flags;
}

static inline bool
info_req_eq(const struct rtrs_msg_info_req *a,
	    const struct rtrs_msg_info_req *b)
{
	/* The whole array: what is behind the NUL is part of the promise. */
	return memcmp(a->name, b->name, sizeof(a->name)) == 0;
}

static inline bool
desc_eq(const struct rtrs_desc *a, const struct rtrs_desc *b)
{
	return a->addr == b->addr && a->key == b->key && a->len == b->len;
}

static inline bool
rkey_rsp_eq(const struct rtrs_msg_rkey_rsp *a,
	    const struct rtrs_msg_rkey_rsp *b)
{
	return a->buf_id == b->buf_id && a->rkey == b->rkey;
}

static inline bool
req_eq(const struct rtrs_msg_req *a, const struct rtrs_msg_req *b)
{
	return a->type == b->type && a->usr_len == b->usr_len &&
	       a->flags == b->flags && a->sg_cnt == b->sg_cnt &&
	       desc_eq(&a->desc, &b->desc);
}

static inline bool
open_eq(const struct rnbd_msg_open *a, const struct rnbd_msg_open *b)
{
	return a->access_mode == b->access_mode &&
	       memcmp(a->dev_name, b->dev_name, sizeof(a->dev_name)) == 0;
}

static inline bool
open_rsp_eq(const struct rnbd_msg_open_rsp *a,
	    const struct rnbd_msg_open_rsp *b)
{
	return a->device_id == b->device_id && a->nsectors == b->nsectors &&
	       a->max_hw_sectors == b->max_hw_sectors &&
	       a->max_write_zeroes_sectors == b->max_write_zeroes_sectors &&
	       a->max_discard_sectors == b->max_discard_sectors &&
	       a->discard_granularity == b->discard_granularity &&
	       a->discard_alignment == b->discard_alignment &&
	       a->physical_block_size == b->physical_block_size &&
	       a->logical_block_size == b->logical_block_size &&
	       a->max_segments == b->max_segments &&
	       a->secure_discard == b->secure_discard &&
	       a->cache_policy == b->cache_policy;
}

static inline bool
io_eq(const struct rnbd_msg_io *a, const struct rnbd_msg_io *b)
{
	return a->device_id == b->device_id && a->sector == b->sector &&
	       a->rw == b->rw && a->bi_size == b->bi_size && a->prio == b->prio;
}

#endif
