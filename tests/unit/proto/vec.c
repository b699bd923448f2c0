/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/proto/vec.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/rtrs-imm.h"

struct vec_doc vec_doc;

void
vec_doc_load(const char *path)
{
	json_error_t e;

	vec_doc.root = json_load_file(path, JSON_REJECT_DUPLICATES, &e);
	ck_assert_msg(vec_doc.root != NULL, "%s:%d: %s", path, e.line, e.text);
}

void
vec_doc_use(json_t *part)
{
	vec_doc.params = json_object_get(part, "parameters");
	vec_doc.vectors = json_object_get(part, "vectors");
	ck_assert(json_is_object(vec_doc.params) &&
		  json_is_object(vec_doc.vectors));
}

void
vec_doc_free(void)
{
	json_decref(vec_doc.root);
}

json_t *
vec_get(const struct vec *v, json_t *o, const char *key)
{
	json_t *x = json_object_get(o, key);

	ck_assert_msg(x != NULL, "%s: no \"%s\"", v->name, key);
	return x;
}

uint64_t
vec_to_num(const struct vec *v, json_t *x)
{
	/* "0x00000002 (NEW_RKEY)" is a number too. */
	if (json_is_string(x)) {
		const char *s = json_string_value(x);
		char *end;
		uint64_t n = strtoull(s, &end, 0);

		ck_assert_msg(end != s, "%s: %s", v->name, s);
		return n;
	}
	ck_assert_msg(json_is_integer(x), "%s: not a number", v->name);
	return (uint64_t)json_integer_value(x);
}

uint64_t
vec_num(const struct vec *v, json_t *o, const char *key)
{
	return vec_to_num(v, vec_get(v, o, key));
}

uint64_t
vec_num_or_0(const struct vec *v, json_t *o, const char *key)
{
	return json_object_get(o, key) ? vec_num(v, o, key) : 0;
}

bool
vec_flag(const struct vec *v, json_t *o, const char *key)
{
	json_t *x = vec_get(v, o, key);

	ck_assert_msg(json_is_boolean(x), "%s: %s", v->name, key);
	return json_is_true(x);
}

const char *
vec_str(const struct vec *v, json_t *o, const char *key)
{
	const char *s = json_string_value(vec_get(v, o, key));

	ck_assert_msg(s != NULL, "%s: %s is no string", v->name, key);
	return s;
}

size_t
vec_unhex(const struct vec *v, const char *s, uint8_t *dst, size_t cap)
{
	size_t n = 0;

	for (; *s; s += 2) {
		unsigned byte;

		if (*s == '-')
			s++;
		ck_assert_msg(n < cap && sscanf(s, "%2x", &byte) == 1 && s[1],
			      "%s: bad hex", v->name);
		dst[n++] = (uint8_t)byte;
	}
	return n;
}

struct vec
vec_load(const char *name)
{
	struct vec v = {.name = name};
	json_t *o = json_object_get(vec_doc.vectors, name);

	ck_assert_msg(o != NULL, "no vector \"%s\"", name);
	v.fields = vec_get(&v, o, "fields");
	v.transport = vec_get(&v, o, "transport");
	v.len = vec_unhex(&v, vec_str(&v, o, "hex"), v.bytes, sizeof(v.bytes));
	ck_assert_uint_eq(v.len, vec_num(&v, o, "len"));
	return v;
}

void
vec_bytes_eq(const struct vec *v, size_t off, const uint8_t *got, size_t len)
{
	ck_assert_msg(off + len <= v->len, "%s: %zu bytes at %zu", v->name, len,
		      off);
	for (size_t i = 0; i < len; i++)
		ck_assert_msg(v->bytes[off + i] == got[i],
			      "%s: byte %zu is %02x, encoded as %02x", v->name,
			      off + i, v->bytes[off + i], got[i]);
}

uint32_t
vec_imm(const struct vec *v)
{
	uint32_t host = (uint32_t)vec_num(v, v->transport, "imm_host");
	uint8_t wire[4], out[4];

	ck_assert_uint_eq(
		vec_unhex(v, vec_str(v, v->transport, "imm_wire"), wire, 4), 4);
	ck_assert_uint_eq(rtrs_imm_from_wire(wire), host);
	rtrs_imm_to_wire(host, out);
	ck_assert_mem_eq(out, wire, 4);
	return host;
}
