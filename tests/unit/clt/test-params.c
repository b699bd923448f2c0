/* SPDX-License-Identifier: BSD-3-Clause */
/* Parameters of a session and its bounds: policies, addresses, fabrics. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void
ignore(struct rtrs_clt_path_op *op, int err, const char *why)
{
	(void)op, (void)err, (void)why;
}

START_TEST(policies_have_three_names_each)
{
	static const struct {
		const char *name[4];
		enum rtrs_mp_policy policy;
	} t[] = {
		{{"round-robin", "rr", "0", "RR"}, RTRS_MP_ROUND_ROBIN},
		{{"min-inflight", "mi", "1", "Min-Inflight"},
		 RTRS_MP_MIN_INFLIGHT},
		{{"min-latency", "ml", "2", "ML"}, RTRS_MP_MIN_LATENCY},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		for (unsigned k = 0; k < 4; k++)
			ck_assert_int_eq(rtrs_mp_policy_parse(t[i].name[k]),
					 t[i].policy);
		ck_assert_str_eq(rtrs_mp_policy_name(t[i].policy),
				 t[i].name[0]);
	}
	ck_assert_int_eq(rtrs_mp_policy_parse("3"), -EINVAL);
	ck_assert_int_eq(rtrs_mp_policy_parse(""), -EINVAL);
}
END_TEST

START_TEST(addresses_and_randomness_are_needed)
{
	struct rtrs_clt *clt = NULL;
	struct rtrs_clt_params p;
	struct fx f;

	fx_init(&f, CHEAP, 2);
	p = f.p;
	p.paths = NULL;
	ck_assert_int_eq(rtrs_clt_new(&p, &clt), -EINVAL);
	p = f.p;
	p.rng.fill = NULL;
	ck_assert_int_eq(rtrs_clt_new(&p, &clt), -EINVAL);
	f.addrs[1].dst_len = 0;
	ck_assert_int_eq(rtrs_clt_new(&f.p, &clt), -EINVAL);
	f.addrs[0].fabric = NULL;
	ck_assert_int_eq(rtrs_clt_new(&f.p, &clt), -EINVAL);
	ck_assert_ptr_null(clt);
	mock_deinit(&f.m);
}
END_TEST

START_TEST(fabric_that_does_not_open_is_an_error_of_the_session)
{
	struct rtrs_clt *clt = NULL;
	struct fabric_ops more[CLT_MAX_FABS];
	struct rtrs_path_addr addrs[CLT_MAX_FABS + 1];
	struct fx f;

	fx_init(&f, CHEAP, 1);
	/* One more than there is room for, and all is given back. */
	for (unsigned i = 0; i <= CLT_MAX_FABS; i++) {
		addrs[i] = f.addrs[0];
		if (i) {
			more[i - 1] = f.m.ops;
			addrs[i].fabric = &more[i - 1];
		}
	}
	f.p.paths = addrs;
	f.p.n_paths = CLT_MAX_FABS + 1;
	ck_assert_int_eq(rtrs_clt_new(&f.p, &clt), -ENOSPC);
	ck_assert_ptr_null(clt);
	mock_deinit(&f.m);
}
END_TEST

START_TEST(session_has_no_more_paths_than_fit)
{
	struct rtrs_clt_path_op ops[RTRS_MAX_PATHS];
	struct rtrs_path_addr addr;
	struct fx f;
	unsigned n;

	fx_init(&f, CHEAP, 1);
	fx_up(&f);
	addr = f.addrs[0];
	for (n = 1; n < RTRS_MAX_PATHS; n++) {
		/* Another byte of the address is another route. */
		((uint8_t *)&addr.dst)[8] = (uint8_t)n;
		ops[n] = (struct rtrs_clt_path_op){.done = ignore};
		ck_assert_int_eq(rtrs_clt_add_path(f.clt, &addr, &ops[n]), 0);
	}
	((uint8_t *)&addr.dst)[8] = (uint8_t)n;
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &addr, &ops[0]), -ENOSPC);
	ck_assert_uint_eq(rtrs_clt_n_paths(f.clt), RTRS_MAX_PATHS);
	fx_deinit(&f);
}
END_TEST

/* Same destination: the source or the fabric may tell them apart. */
START_TEST(routes_differ_by_either_end_and_by_fabric)
{
	struct rtrs_clt_path_op op[3] = {
		{.done = ignore}, {.done = ignore}, {.done = ignore}};
	struct rtrs_path_addr addr;
	struct fabric_ops other;
	struct fx f;

	fx_init(&f, CHEAP, 1);
	fx_up(&f);
	other = f.m.ops;
	addr = f.addrs[0];
	addr.src = addr.dst;
	addr.src_len = addr.dst_len;
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &addr, &op[0]), 0);
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &addr, &op[1]), -EEXIST);
	addr = f.addrs[0];
	addr.fabric = &other;
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &addr, &op[1]), 0);
	addr = f.addrs[0];
	addr.dst_len--;
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &addr, &op[2]), 0);
	addr.fabric = NULL;
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &addr, &op[2]), -EINVAL);
	fx_deinit(&f);
}
END_TEST

START_TEST(paths_beyond_the_last_are_none)
{
	struct rtrs_clt_path_info info;
	struct fx f;

	fx_init(&f, CHEAP, 1);
	fx_up(&f);
	ck_assert_int_eq(rtrs_clt_path_info(f.clt, 1, &info), -EINVAL);
	rtrs_clt_path_reset(f.clt, 1);
	fx_run(&f);
	ck_assert(rtrs_clt_is_up(f.clt));
	fx_deinit(&f);
}
END_TEST

START_TEST(descriptors_are_as_many_as_asked_for)
{
	struct fx f;
	int fds[2];

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	ck_assert_int_eq(rtrs_clt_fds(f.clt, fds, 0), 0);
	ck_assert_int_eq(rtrs_clt_fds(f.clt, fds, 2),
			 f.m.ops.ctx_fd(NULL) >= 0);
	fx_deinit(&f);
}
END_TEST

START_TEST(work_that_is_left_is_due_now)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	ck_assert_uint_eq(rtrs_clt_deadline(f.clt), f.now);
	fx_run(&f);
	ck_assert_uint_gt(rtrs_clt_deadline(f.clt), f.now);
	fx_deinit(&f);
}
END_TEST

/* One that only looks at is_up(). */
START_TEST(nobody_has_to_listen)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	f.p.link_up = NULL;
	f.p.link_down = NULL;
	f.p.failed = NULL;
	f.p.log = NULL;
	f.p.max_reconnect_attempts = 1;
	fx_open(&f);
	fx_path_up(&f, 0);
	ck_assert(rtrs_clt_is_up(f.clt));
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	ck_assert(!rtrs_clt_is_up(f.clt));
	f.m.connect_err = -ENETUNREACH;
	fx_run_at(&f, f.now + SEC(60));
	fx_run_at(&f, f.now + SEC(60));
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CLOSED);
	ck_assert_str_eq(f.order, "");
	fx_deinit(&f);
}
END_TEST

START_TEST(failed_session_takes_no_paths)
{
	struct rtrs_clt_path_op op = {.done = ignore};
	struct fx f;

	fx_init(&f, CHEAP, 2);
	f.p.n_paths = 1;
	fx_open(&f);
	mock_connect_error(mock_last_conn(&f.m), -ECONNREFUSED);
	fx_run(&f);
	ck_assert_uint_eq(f.n_failed, 1);
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &f.addrs[1], &op),
			 -ESHUTDOWN);
	fx_deinit(&f);
}
END_TEST

static const char *
device_of(struct fabric_conn *c, unsigned *port)
{
	(void)c;
	*port = 2;
	return "mlx5_0";
}

START_TEST(device_is_told_while_the_path_is_up)
{
	struct rtrs_clt_path_info info;
	struct fx f;

	fx_init(&f, CHEAP, 1);
	f.m.ops.conn_device = device_of;
	fx_open(&f);
	ck_assert_int_eq(rtrs_clt_path_info(f.clt, 0, &info), 0);
	ck_assert_str_eq(info.hca_name, "");
	fx_path_up(&f, 0);
	ck_assert_int_eq(rtrs_clt_path_info(f.clt, 0, &info), 0);
	ck_assert_str_eq(info.hca_name, "mlx5_0");
	ck_assert_uint_eq(info.hca_port, 2);
	fx_deinit(&f);
}
END_TEST

static const struct {
	int err;
	const char *words;
} rejects[] = {
	{-EACCES, "its access rules do not let this client in"},
	{-EDQUOT, "holds all that the server allows"},
	{-EAGAIN, "connects faster than the server allows"},
};

START_TEST(refusals_of_a_gateway_have_words)
{
	struct rtrs_msg_conn_rsp rsp = {.version = RTRS_PROTO_VER,
					.err = rejects[_i].err};
	uint8_t buf[RTRS_CONN_RSP_LEN];
	struct fx f;

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	rtrs_msg_conn_rsp_encode(&rsp, buf);
	mock_rejected(mock_last_conn(&f.m), buf, sizeof(buf));
	fx_run(&f);
	ck_assert_int_eq(f.failed_err, rejects[_i].err);
	ck_assert_ptr_nonnull(
		strstr(rtrs_clt_why_down(f.clt), rejects[_i].words));
	fx_deinit(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("params");
	TCase *tc = tcase_create("params");

	tcase_add_test(tc, policies_have_three_names_each);
	tcase_add_test(tc, addresses_and_randomness_are_needed);
	tcase_add_test(tc,
		       fabric_that_does_not_open_is_an_error_of_the_session);
	tcase_add_test(tc, session_has_no_more_paths_than_fit);
	tcase_add_test(tc, routes_differ_by_either_end_and_by_fabric);
	tcase_add_test(tc, paths_beyond_the_last_are_none);
	tcase_add_test(tc, descriptors_are_as_many_as_asked_for);
	tcase_add_test(tc, work_that_is_left_is_due_now);
	tcase_add_test(tc, nobody_has_to_listen);
	tcase_add_test(tc, failed_session_takes_no_paths);
	tcase_add_test(tc, device_is_told_while_the_path_is_up);
	tcase_add_loop_test(tc, refusals_of_a_gateway_have_words, 0,
			    (int)ARRAY_SIZE(rejects));
	suite_add_tcase(s, tc);
	return fx_main(s);
}
