/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * captured.json: messages as kernel clients and servers sent them, recorded
 * between two machines. What we decode from them are the fields that the
 * recorder saw, and our encoders make the very same bytes of those fields.
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/proto/proto-test.h"
#include "tests/unit/proto/vec-check.h"

/* Set by main(), read by the cases in their forked processes. */
static const char *path;

static bool
has_end(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

static bool
begins(const char *s, const char *head)
{
	return strncmp(s, head, strlen(head)) == 0;
}

static void
check_done(const struct vec *v)
{
	if (v->len)
		vec_check_rkey_rsp(v);
	else
		vec_check_bare_rsp(v);
}

/* Names are those that tests/vm/wire/samples.py gives. */
static void (*check_of(const char *name))(const struct vec *v)
{
	if (begins(name, "conn_req_"))
		return vec_check_conn_req;
	if (begins(name, "conn_rsp"))
		return vec_check_conn_rsp;
	if (strcmp(name, "info_req") == 0)
		return vec_check_info_req;
	if (strcmp(name, "info_rsp") == 0)
		return vec_check_info_rsp;
	if (begins(name, "hb_"))
		return vec_check_hb;
	if (strcmp(name, "sess_info_rsp") == 0 || strcmp(name, "open_rsp") == 0)
		return vec_check_usr_alone;
	if (has_end(name, "_req"))
		return vec_check_req;
	if (has_end(name, "_inv"))
		return vec_check_inv;
	if (has_end(name, "_data"))
		return vec_check_data;
	if (has_end(name, "_done") || strstr(name, "_done_errno"))
		return check_done;
	ck_abort_msg("no check for %s", name);
}

static json_t *
captures(void)
{
	json_t *all;

	vec_doc_load(path);
	all = json_object_get(vec_doc.root, "captures");
	ck_assert(json_is_object(all));
	return all;
}

START_TEST(every_message)
{
	const char *which, *name;
	json_t *one, *x, *all = captures();
	unsigned n = 0;

	json_object_foreach(all, which, one) {
		vec_doc_use(one);
		json_object_foreach(vec_doc.vectors, name, x) {
			struct vec v = vec_load(name);

			check_of(name)(&v);
			n++;
		}
	}
	ck_assert_uint_gt(n, 90);
	vec_doc_free();
}
END_TEST

/* Both kernels said each of these. */
START_TEST(every_kind_is_there)
{
	static const char *const kinds[] = {
		"conn_req_cid0",
		"conn_req_cid1",
		"conn_req_cid0_second_path",
		"conn_req_cid1_second_path",
		"conn_rsp",
		"conn_rsp_errno17",
		"info_req",
		"info_rsp",
		"sess_info_req",
		"sess_info_rsp",
		"sess_info_inv",
		"sess_info_done",
		"open_req",
		"open_rsp",
		"open_done_errno2",
		"io_read_req",
		"io_read_data",
		"io_read_inv",
		"io_read_done",
		"io_read_done_errno107",
		"io_write_req",
		"io_write_done",
		"io_write_fua_req",
		"io_flush_req",
		"io_discard_req",
		"close_req",
		"close_done",
		"hb_msg",
		"hb_ack",
	};
	static const char *const kernels[] = {"6.1 ", "6.12 "};
	const char *which;
	json_t *one, *all = captures();

	for (size_t k = 0; k < 2; k++) {
		bool zeroes = false;

		for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
			bool found = false;

			json_object_foreach(all, which, one) {
				vec_doc_use(one);
				if (!begins(which, kernels[k]))
					continue;
				found |= !!json_object_get(vec_doc.vectors,
							   kinds[i]);
				zeroes |= !!json_object_get(
					vec_doc.vectors, "io_write_zeroes_req");
			}
			ck_assert_msg(found, "%sno %s", kernels[k], kinds[i]);
		}
		/* The older one does not know the operation. */
		ck_assert(zeroes == (k == 1));
	}
	vec_doc_free();
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *s = suite_create("proto/captured");
	TCase *tc = tcase_create("captured");

	if (argc != 2) {
		fprintf(stderr, "usage: %s captured.json\n", argv[0]);
		return 2;
	}
	path = argv[1];
	tcase_add_test(tc, every_message);
	tcase_add_test(tc, every_kind_is_there);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
