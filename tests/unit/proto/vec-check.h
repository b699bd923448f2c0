/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vector, byte for byte in both directions: its fields are encoded and give
 * the hex, the hex is decoded and gives the fields. What belongs to a message
 * besides its bytes (immediate, offsets in the chunk, keys) is checked against
 * the transport part.
 */
#ifndef TESTS_UNIT_PROTO_VEC_CHECK_H
#define TESTS_UNIT_PROTO_VEC_CHECK_H

#include "tests/unit/proto/vec.h"

void vec_check_conn_req(const struct vec *v);
void vec_check_conn_rsp(const struct vec *v);
void vec_check_info_req(const struct vec *v);
void vec_check_info_rsp(const struct vec *v);
/* A user message, or the answer to one. */
void vec_check_usr_alone(const struct vec *v);
/* User message, header and immediate of a request. */
void vec_check_req(const struct vec *v);
/* Replies: with a new key, without, and an immediate alone. */
void vec_check_rkey_rsp(const struct vec *v);
void vec_check_bare_rsp(const struct vec *v);
void vec_check_imm_rsp(const struct vec *v);
void vec_check_imm_req(const struct vec *v);
void vec_check_hb(const struct vec *v);
/* X_inv and X_data belong to the vector X_req. */
void vec_check_inv(const struct vec *v);
void vec_check_data(const struct vec *v);

#endif
