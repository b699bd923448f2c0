/* SPDX-License-Identifier: BSD-3-Clause */
/* Access to a file of vectors: whatever is missing there fails the running
 * case. */
#ifndef TESTS_UNIT_PROTO_VEC_H
#define TESTS_UNIT_PROTO_VEC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vec_doc {
	json_t *root;
	json_t *params;
	json_t *vectors;
};
extern struct vec_doc vec_doc;

void vec_doc_load(const char *path);
/* The part that has "parameters" and "vectors"; may be all of it. */
void vec_doc_use(json_t *part);
void vec_doc_free(void);

/* One vector. Everything but bytes is owned by vec_doc. */
struct vec {
	const char *name;
	json_t *fields;
	json_t *transport;
	uint8_t bytes[512];
	size_t len;
};

struct vec vec_load(const char *name);

json_t *vec_get(const struct vec *v, json_t *o, const char *key);
uint64_t vec_to_num(const struct vec *v, json_t *x);
uint64_t vec_num(const struct vec *v, json_t *o, const char *key);
uint64_t vec_num_or_0(const struct vec *v, json_t *o, const char *key);
bool vec_flag(const struct vec *v, json_t *o, const char *key);
const char *vec_str(const struct vec *v, json_t *o, const char *key);
/* Hex digits, with '-' between them allowed; returns the number of bytes. */
size_t vec_unhex(const struct vec *v, const char *s, uint8_t *dst, size_t cap);

/* got is what stands at off in the bytes of the vector. */
void vec_bytes_eq(const struct vec *v, size_t off, const uint8_t *got,
		  size_t len);
/* The immediate of the transport part, after both forms were compared. */
uint32_t vec_imm(const struct vec *v);

#endif
