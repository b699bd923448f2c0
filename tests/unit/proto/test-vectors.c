/* SPDX-License-Identifier: BSD-3-Clause */
/* The messages of vectors.json, each by its check of vec-check.h. */
#include <check.h>

#include "proto/rtrs-imm.h"
#include "tests/unit/proto/proto-test.h"
#include "tests/unit/proto/vec-check.h"

/* Set by main(), read by the cases in their forked processes. */
static const char *path;

static const struct {
	const char *name;
	void (*check)(const struct vec *v);
} cases[] = {
	{"conn_req_cid0", vec_check_conn_req},
	{"conn_req_cid1", vec_check_conn_req},
	{"conn_rsp", vec_check_conn_rsp},
	{"info_req", vec_check_info_req},
	{"info_rsp", vec_check_info_rsp},
	{"sess_info_req", vec_check_req},
	{"sess_info_rsp", vec_check_usr_alone},
	{"sess_info_inv", vec_check_inv},
	{"sess_info_done", vec_check_rkey_rsp},
	{"open_req", vec_check_req},
	{"open_rsp", vec_check_usr_alone},
	{"open_inv", vec_check_inv},
	{"open_done", vec_check_rkey_rsp},
	{"write_req", vec_check_req},
	{"write_done", vec_check_rkey_rsp},
	{"read_req", vec_check_req},
	{"read_data", vec_check_data},
	{"read_inv", vec_check_inv},
	{"read_done", vec_check_rkey_rsp},
	{"flush_req", vec_check_req},
	{"flush_done", vec_check_rkey_rsp},
	{"hb_msg", vec_check_hb},
	{"hb_ack", vec_check_hb},
	{"close_req", vec_check_req},
	{"close_done", vec_check_rkey_rsp},
	{"x_conn_rej_econnreset", vec_check_conn_rsp},
	{"x_conn_rej_enxio", vec_check_conn_rsp},
	{"x_conn_rej_eexist", vec_check_conn_rsp},
	{"x_conn_rej_ebusy", vec_check_conn_rsp},
	{"x_conn_rsp_default", vec_check_conn_rsp},
	{"x_conn_rsp_noinval", vec_check_conn_rsp},
	{"x_conn_rsp_64k_pages", vec_check_conn_rsp},
	{"x_write_done_flags0", vec_check_bare_rsp},
	{"x_read_done_flags0_inv", vec_check_bare_rsp},
	{"x_read_done_flags0_noinv", vec_check_bare_rsp},
	{"x_read_req_noinv", vec_check_req},
	{"x_info_rsp_512_chunks_2_descs", vec_check_info_rsp},
	{"x_info_rsp_512_chunks_1_desc", vec_check_info_rsp},
	{"x_io_write_fua", vec_check_usr_alone},
	{"x_io_discard", vec_check_usr_alone},
	{"x_io_write_zeroes", vec_check_usr_alone},
	{"x_io_write_zeroes_nounmap", vec_check_usr_alone},
	{"x_io_flush_v21", vec_check_usr_alone},
	{"x_imm_req_qd512_buf511_off4128", vec_check_imm_req},
	{"x_imm_req_qd512_buf5_off4128", vec_check_imm_req},
	{"x_imm_req_qd300_buf299_off36", vec_check_imm_req},
	{"x_imm_req_qd1_buf0_off320", vec_check_imm_req},
	{"x_imm_req_qd2048_buf2047_off4128", vec_check_imm_req},
	{"x_imm_req_qd32768_buf32767_off72", vec_check_imm_req},
	{"x_imm_req_qd2_buf1_off320", vec_check_imm_req},
	{"x_imm_rsp_id5_err0_inv0", vec_check_imm_rsp},
	{"x_imm_rsp_id5_err107_inv0", vec_check_imm_rsp},
	{"x_imm_rsp_id511_err5_inv1", vec_check_imm_rsp},
	{"x_imm_rsp_id0_err95_inv0", vec_check_imm_rsp},
	{"x_imm_rsp_id77_err22_inv1", vec_check_imm_rsp},
};
#define N_CASES ((int)(sizeof(cases) / sizeof(cases[0])))

_Static_assert(sizeof(cases) / sizeof(cases[0]) == 55, "one case per vector");

static void
setup(void)
{
	vec_doc_load(path);
	vec_doc_use(vec_doc.root);
}

static void
teardown(void)
{
	vec_doc_free();
}

START_TEST(vector)
{
	struct vec v = vec_load(cases[_i].name);

	cases[_i].check(&v);
}
END_TEST

/* None may be in the file without a case, none have two cases. */
START_TEST(every_vector_has_a_case)
{
	const char *name;
	json_t *x;

	ck_assert_uint_eq(json_object_size(vec_doc.vectors), 55);
	json_object_foreach(vec_doc.vectors, name, x) {
		int found = 0;

		for (int i = 0; i < N_CASES; i++)
			found += strcmp(cases[i].name, name) == 0;
		ck_assert_msg(found == 1, "%s has %d cases", name, found);
	}
}
END_TEST

START_TEST(the_parameters_agree_with_each_other)
{
	struct vec v = {.name = "parameters"};
	unsigned qd = (unsigned)vec_num(&v, vec_doc.params, "queue_depth");

	ck_assert_uint_eq(vec_num(&v, vec_doc.params, "max_io_size") +
				  vec_num(&v, vec_doc.params, "max_hdr_size"),
			  vec_num(&v, vec_doc.params, "chunk_size"));
	ck_assert_uint_eq(vec_num(&v, vec_doc.params, "chunk_bits"),
			  rtrs_bits(qd));
	ck_assert_uint_eq(vec_num(&v, vec_doc.params, "mem_bits"),
			  rtrs_imm_mem_bits(qd));
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *s = suite_create("proto/vectors");
	TCase *tc = tcase_create("vectors");

	if (argc != 2) {
		fprintf(stderr, "usage: %s vectors.json\n", argv[0]);
		return 2;
	}
	path = argv[1];
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, vector, 0, N_CASES);
	tcase_add_test(tc, every_vector_has_a_case);
	tcase_add_test(tc, the_parameters_agree_with_each_other);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
