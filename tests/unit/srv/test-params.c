/* SPDX-License-Identifier: BSD-3-Clause */
/* Parameters of server and listener, and what administrators ask for. */
#include "tests/unit/srv/fixture.h"

#include "rtrs/srv/srv-priv.h"

static struct fx f;
static struct fx_path a, b;

static void
start(const struct rtrs_srv_params *sp)
{
	fx_init(&f, FABRIC_CAP_MW_PD, sp);
	fx_path_init(&f, &a, 1, 1, 2);
	fx_path_init(&f, &b, 2, 2, 2);
	b.peer = OTHER;
}

static void
setup(void)
{
	start(NULL);
}

static void
teardown(void)
{
	fx_fini(&f);
}

START_TEST(callbacks_are_needed)
{
	struct rtrs_srv_params p = {.sess_up = (void *)1,
				    .sess_down = (void *)1,
				    .request = (void *)1};
	struct rtrs_srv *none = NULL;

	if (_i == 0)
		p.sess_up = NULL;
	else if (_i == 1)
		p.sess_down = NULL;
	else
		p.request = NULL;
	ck_assert_int_eq(rtrs_srv_new(&p, &none), -EINVAL);
	ck_assert_ptr_null(none);
	rtrs_srv_free(NULL);
}
END_TEST

START_TEST(nothing_is_too_small_to_be_a_size)
{
	struct rtrs_srv_params p = {.sess_up = (void *)1,
				    .sess_down = (void *)1,
				    .request = (void *)1,
				    .info_timeout_ms = 1,
				    .chunk_size = RTRS_MIN_CHUNK_SIZE};
	struct rtrs_srv *srv;

	/* 0 is the default. */
	ck_assert_int_eq(rtrs_srv_new(&p, &srv), 0);
	ck_assert_uint_eq(srv->p.queue_depth, RTRS_SRV_QUEUE_DEPTH);
	ck_assert_uint_eq(srv->p.info_timeout_ms, 1);
	rtrs_srv_free(srv);
	p.chunk_size /= 2;
	ck_assert_int_eq(rtrs_srv_new(&p, &srv), -EINVAL);
}
END_TEST

START_TEST(listener_needs_somebody_to_ask)
{
	struct rtrs_listener_params p = {.fabric = &f.m.ops,
					 .fabric_priv = &f.m};
	struct rtrs_listener *none = NULL;

	ck_assert_int_eq(rtrs_listener_new(&p, &none), -EINVAL);
	p.request = (void *)1;
	p.max_cons = RTRS_MAX_CONS + 1;
	ck_assert_int_eq(rtrs_listener_new(&p, &none), -EINVAL);
	p.max_cons = 0;
	f.m.err_ctx_new = -EMFILE;
	ck_assert_int_eq(rtrs_listener_new(&p, &none), -EMFILE);
	ck_assert_ptr_null(none);
	rtrs_listener_free(NULL);
}
END_TEST

START_TEST(memory_of_a_path_is_known_before_it_connects)
{
	struct rtrs_srv_params p = {0},
			       q = {.queue_depth = 2, .chunk_size = 8192};
	size_t all = (size_t)RTRS_SRV_QUEUE_DEPTH * RTRS_SRV_CHUNK_SIZE;
	size_t mem = rtrs_srv_path_mem(&p, 3);

	/* The chunks, and less than as much again beside them. */
	ck_assert_uint_gt(mem, all);
	ck_assert_uint_lt(mem, 2 * all);
	ck_assert_uint_gt(rtrs_srv_path_mem(&p, 4), mem);
	ck_assert_uint_gt(rtrs_srv_path_mem(&q, 3), 2 * 8192);
	ck_assert_uint_lt(rtrs_srv_path_mem(&q, 3), all);
	/* Replies that announce keys need room for them. */
	p.always_invalidate = true;
	ck_assert_uint_gt(rtrs_srv_path_mem(&p, 3), mem);
}
END_TEST

START_TEST(server_has_no_more_fabrics_than_fit)
{
	static struct fabric_ops ops[SRV_MAX_CTXS + 1];
	int fds[SRV_MAX_CTXS];

	for (unsigned i = 0; i <= SRV_MAX_CTXS; i++) {
		ops[i] = f.m.ops;
		ck_assert_int_eq(rtrs_srv_add_fabric(f.srv, &ops[i]),
				 i < SRV_MAX_CTXS ? 0 : -ENOSPC);
	}
	/* Known ones are not added again. */
	ck_assert_int_eq(rtrs_srv_add_fabric(f.srv, &ops[1]), 0);
	ck_assert_int_eq(rtrs_srv_fds(f.srv, fds, 2), 2);
	ck_assert_int_eq(rtrs_srv_fds(f.srv, fds, SRV_MAX_CTXS), SRV_MAX_CTXS);
}
END_TEST

static int
no_fd(struct fabric_ctx *ctx)
{
	(void)ctx;
	return -1;
}

START_TEST(fabric_without_a_descriptor_has_none)
{
	static struct fabric_ops mute;
	int fds[4];

	mute = f.m.ops;
	mute.ctx_fd = no_fd;
	ck_assert_int_eq(rtrs_srv_add_fabric(f.srv, &mute), 0);
	ck_assert_int_eq(rtrs_srv_add_fabric(f.srv, &f.m.ops), 0);
	ck_assert_int_eq(rtrs_srv_fds(f.srv, fds, 4), 1);
}
END_TEST

/* -------------------------------------------------------- administrators */

/* Counts whom it is asked about; the first is the one. */
static bool
is_first(void *user, const struct rtrs_srv_path_info *info)
{
	(void)info;
	return ++*(unsigned *)user == 1;
}

static void
two_sessions(void)
{
	fx_path_up(&a);
	fx_path_up(&b);
	ck_assert_uint_eq(fx_n_paths(&f), 2);
	ck_assert_uint_eq(f.ups, 2);
}

START_TEST(paths_are_closed_by_what_they_are)
{
	unsigned asked = 0;

	two_sessions();
	ck_assert_uint_eq(rtrs_srv_close_paths(f.srv, is_first, &asked), 1);
	ck_assert_uint_eq(asked, 2);
	/* What closes already is not asked about. */
	ck_assert_uint_eq(rtrs_srv_close_paths(f.srv, is_first, &asked), 0);
	ck_assert_uint_eq(asked, 3);
	ck_assert_ptr_nonnull(strstr(f.last_close, "disconnected on request"));
	fx_run(&f);
	ck_assert_uint_eq(f.downs, 1);
}
END_TEST

START_TEST(statistics_are_reset_by_what_a_path_is)
{
	struct rtrs_srv_path_info info;
	unsigned asked = 0;

	two_sessions();
	f.auto_done = true;
	fx_write(&a, 1, 0, "data", 4, "u", 1);
	fx_write(&b, 1, 0, "data", 4, "u", 1);
	ck_assert_uint_eq(rtrs_srv_reset_stats(f.srv, is_first, &asked), 1);
	ck_assert_uint_eq(asked, 2);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert(fx_path_info(&f, i, &info));
		ck_assert_uint_eq(info.stats.wr_cnt, i);
	}
}
END_TEST

static const char *
device_of(struct fabric_conn *c, unsigned *port)
{
	(void)c;
	*port = 2;
	return "mlx5_0";
}

START_TEST(device_of_a_path_is_told)
{
	struct rtrs_srv_path_info info;

	fx_path_up(&a);
	ck_assert(fx_path_info(&f, 0, &info));
	ck_assert_str_eq(info.hca_name, "");
	f.m.ops.conn_device = device_of;
	ck_assert(fx_path_info(&f, 0, &info));
	ck_assert_str_eq(info.hca_name, "mlx5_0");
	ck_assert_uint_eq(info.hca_port, 2);
}
END_TEST

/* ------------------------------------ without a log, or anybody to tell */

static bool bare_done;

static int
bare_up(void *user, struct rtrs_srv_sess *sess, const char *name,
	const struct fabric_addrs *addrs, void **ret_sess_user)
{
	struct fx *fx = user;

	(void)name, (void)addrs, (void)ret_sess_user;
	fx->sess = sess;
	fx->ups++;
	return 0;
}

static void
bare_down(void *sess_user, struct rtrs_srv_sess *sess)
{
	(void)sess_user;
	rtrs_srv_sess_down_done(sess);
	bare_done = true;
}

static void
bare_request(void *sess_user, struct rtrs_srv_op *op)
{
	(void)sess_user;
	f.ops[f.n_ops++] = op;
}

/* The three callbacks that are needed, and no other. */
START_TEST(server_with_what_is_needed_only)
{
	const struct rtrs_srv_params sp = {
		.queue_depth = 2,
		.chunk_size = CHUNK,
		.fabric_priv = &f.m,
		.now = f.now,
		.user = &f,
		.sess_up = bare_up,
		.sess_down = bare_down,
		.request = bare_request,
	};
	struct rtrs_srv *listening = f.srv;

	ck_assert_int_eq(rtrs_srv_new(&sp, &f.srv), 0);
	bare_done = false;
	fx_path_up(&a);
	ck_assert_uint_eq(f.ups, 1);
	fx_write(&a, 1, 0, NULL, 0, "request", 7);
	ck_assert_uint_eq(f.n_ops, 1);
	/* Lost with its path, of which nobody is told. */
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	ck_assert(!bare_done);
	rtrs_srv_op_done(f.ops[0], 0);
	fx_run(&f);
	ck_assert(bare_done);
	/* A connection that cannot be accepted takes its path along. */
	f.m.err_accept = -ENOMEM;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&b, 0)), -ENOMEM);
	fx_run(&f);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
	rtrs_srv_close(f.srv);
	fx_run(&f);
	ck_assert(rtrs_srv_closed(f.srv));
	rtrs_srv_free(f.srv);
	f.srv = listening;
}
END_TEST

static void
setup_narrow(void)
{
	const struct rtrs_srv_params sp = {.max_sessions = 1, .max_paths = 1};

	start(&sp);
	f.log.sink = NULL;
}

static void
setup_poor(void)
{
	/* Less than one path promises. */
	const struct rtrs_srv_params sp = {.max_chunk_mem = CHUNK};

	start(&sp);
	f.log.sink = NULL;
}

START_TEST(path_that_is_larger_than_all_memory_is_refused)
{
	ck_assert_int_eq(fx_reject_errno(fx_connect(&a, 0)), -ENOMEM);
	fx_rejects(&f, 1, RTRS_SRV_REJECT_MEMORY, 1);
}
END_TEST

START_TEST(limits_hold_if_nobody_reads_of_them)
{
	fx_path_up(&a);
	fx_connect(&b, 0);
	fx_path_init(&f, &b, 1, 2, 2);
	b.peer = OTHER;
	fx_connect(&b, 0);
	ck_assert_uint_eq(fx_n_paths(&f), 1);
	ck_assert_uint_eq(f.warnings, 0);
	ck_assert_uint_eq(f.m.n_conns, 4);
	ck_assert(f.m.conns[2]->rejected && f.m.conns[3]->rejected);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("params");
	TCase *tc = tcase_create("params"), *narrow = tcase_create("narrow"),
	      *poor = tcase_create("poor");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, callbacks_are_needed, 0, 3);
	tcase_add_test(tc, nothing_is_too_small_to_be_a_size);
	tcase_add_test(tc, listener_needs_somebody_to_ask);
	tcase_add_test(tc, memory_of_a_path_is_known_before_it_connects);
	tcase_add_test(tc, server_has_no_more_fabrics_than_fit);
	tcase_add_test(tc, fabric_without_a_descriptor_has_none);
	tcase_add_test(tc, paths_are_closed_by_what_they_are);
	tcase_add_test(tc, statistics_are_reset_by_what_a_path_is);
	tcase_add_test(tc, device_of_a_path_is_told);
	tcase_add_test(tc, server_with_what_is_needed_only);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(narrow, setup_narrow, teardown);
	tcase_add_test(narrow, limits_hold_if_nobody_reads_of_them);
	suite_add_tcase(s, narrow);
	tcase_add_checked_fixture(poor, setup_poor, teardown);
	tcase_add_test(poor, path_that_is_larger_than_all_memory_is_refused);
	suite_add_tcase(s, poor);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
