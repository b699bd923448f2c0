/* SPDX-License-Identifier: BSD-3-Clause */
/* Checks 6 to 14 of rnbd-protocol(7), the limits, and what an accept says. */
#include "tests/unit/srv/fixture.h"

static struct fx f;
static struct fx_path a, b;

static void
start(unsigned caps, const struct rtrs_srv_params *sp)
{
	fx_init_two(&f, &a, &b, caps, sp);
}

static void
setup(void)
{
	start(FABRIC_CAP_MW_PD, NULL);
}

static void
teardown(void)
{
	fx_fini(&f);
}

START_TEST(check6_unknown_session_without_first_conn)
{
	a.req.first_conn = false;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&a, 0)), -ENXIO);
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 0);
}
END_TEST

START_TEST(what_happens_is_counted)
{
	struct rtrs_srv_counts c;

	rtrs_srv_counts(f.srv, &c);
	ck_assert_uint_eq(c.accepted, 0);
	ck_assert_uint_eq(c.chunk_mem, 0);
	fx_path_up(&a);
	f.sess_up_err = -EPERM;
	fx_connect_all(&b);
	fx_info_req(&b, "x");
	rtrs_srv_counts(f.srv, &c);
	ck_assert_uint_eq(c.accepted, 4);
	ck_assert_uint_eq(c.paths_up, 1);
	ck_assert_uint_eq(c.names_refused, 1);
	ck_assert_uint_eq(c.hb_timeouts, 0);
	ck_assert_uint_ge(c.chunk_mem, 2 * CHUNK);
	fx_rejects(&f, 0, RTRS_SRV_REJECT_FAILED, 0);
}
END_TEST

START_TEST(reasons_have_names)
{
	for (unsigned i = 0; i < RTRS_SRV_N_REJECTS; i++)
		ck_assert_ptr_nonnull(rtrs_srv_reject_name(i));
	ck_assert_str_eq(rtrs_srv_reject_name(RTRS_SRV_REJECT_MEMORY),
			 "memory");
	ck_assert_str_eq(rtrs_srv_reject_name(RTRS_SRV_N_REJECTS), "?");
}
END_TEST

START_TEST(a_second_path_needs_no_first_conn)
{
	fx_connect_all(&a);
	b.req.first_conn = false;
	ck_assert(fx_connect(&b, 0)->accepted);
	b.req.first_conn = true; /* as kernel clients go on */
	ck_assert(fx_connect(&b, 1)->accepted);
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 1);
	ck_assert_uint_eq(fx_n_paths(&f), 2);
}
END_TEST

START_TEST(check8_path_is_not_connecting)
{
	fx_path_up(&a);
	ck_assert_int_eq(fx_reject_errno(fx_connect(&a, 0)), -ECONNRESET);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CONNECTED);
}
END_TEST

START_TEST(check9_other_cid_num)
{
	fx_connect(&a, 0);
	a.req.cid_num = 3;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&a, 1)), -ECONNRESET);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CONNECTING);
}
END_TEST

START_TEST(check10_cid_is_taken)
{
	fx_connect(&a, 0);
	ck_assert_int_eq(fx_reject_errno(fx_connect(&a, 0)), -ECONNRESET);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CONNECTING);
	ck_assert(fx_connect(&a, 1)->accepted);
}
END_TEST

START_TEST(older_attempts_join_no_newer_path)
{
	a.req.recon_cnt = 5;
	fx_connect(&a, 0);
	a.req.recon_cnt = 4;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&a, 1)), -ECONNRESET);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CONNECTING);
}
END_TEST

START_TEST(check12_same_addresses)
{
	fx_connect_all(&a);
	b.peer = PEER; /* another port, as always */
	ck_assert_int_eq(fx_reject_errno(fx_connect(&b, 0)), -EEXIST);
	/* One of the two addresses may be the same. */
	b.local = OTHER;
	ck_assert(fx_connect(&b, 0)->accepted);
	fx_rejects(&f, 1, RTRS_SRV_REJECT_DUPLICATE, 1);
}
END_TEST

START_TEST(same_addresses_in_another_session)
{
	fx_connect_all(&a);
	fx_path_init(&f, &b, 2, 2, 2);
	ck_assert(fx_connect(&b, 0)->accepted);
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 2);
}
END_TEST

START_TEST(check14_accept_fails)
{
	f.m.err_accept = -EMFILE;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&a, 0)), -EMFILE);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 0);
	ck_assert_uint_eq(f.gones, 1);
	fx_rejects(&f, 1, RTRS_SRV_REJECT_FAILED, 1);
}
END_TEST

START_TEST(a_reject_carries_numbers_of_the_wire)
{
	f.m.err_accept = -4000; /* of no wire */
	ck_assert_int_eq(fx_reject_errno(fx_connect(&a, 0)), -5);
}
END_TEST

START_TEST(check14_takes_the_path_along)
{
	fx_connect(&a, 0);
	f.m.err_accept = -ENOMEM;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&a, 1)), -ENOMEM);
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}
END_TEST

START_TEST(no_receive_closes_the_path)
{
	f.m.err_post_recv = -ENOMEM;
	ck_assert(fx_connect(&a, 0)->disconnected);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}
END_TEST

START_TEST(no_memory_region_closes_the_path)
{
	f.m.err_mr_reg = -ENOMEM;
	ck_assert(fx_connect(&a, 0)->disconnected);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}
END_TEST

/* What can not be taken goes back whole: only the listener may touch it. */
START_TEST(no_context_and_no_migration_hand_back)
{
	f.keep_requests = true;
	fx_connect(&a, 0);
	f.m.err_ctx_new = -ENODEV;
	ck_assert_int_eq(rtrs_srv_take(f.srv, f.kept), -ENODEV);
	ck_assert(!a.con[0]->rejected);
	f.m.err_migrate = -EIO;
	ck_assert_int_eq(rtrs_srv_take(f.srv, f.kept), -EIO);
	ck_assert(!a.con[0]->rejected);
	ck_assert_uint_eq(
		rtrs_srv_presence(f.srv,
				  &rtrs_conn_request_msg(f.kept)->sess_uuid),
		0);
	rtrs_conn_request_reject(f.kept, -EIO);
	ck_assert_int_eq(fx_reject_errno(a.con[0]), -EIO);
	f.keep_requests = false;
	ck_assert(fx_connect(&a, 0)->accepted);
}
END_TEST

/* The first check that fails decides. */
START_TEST(order_of_the_checks)
{
	struct fx_path c;

	fx_path_up(&a);
	/* 6 before 7: unknown session, although there is no room for one. */
	fx_path_init(&f, &c, 9, 9, 2);
	c.req.first_conn = false;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&c, 0)), -ENXIO);
	fx_rejects(&f, 1, RTRS_SRV_REJECT_UNKNOWN, 1);
	/* 7: now it is the room that is missing. */
	c.req.first_conn = true;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&c, 0)), -ENOMEM);
	fx_rejects(&f, 2, RTRS_SRV_REJECT_SESSIONS, 1);
	/* 8 before 9 and 12. */
	a.req.cid_num = 3;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&a, 0)), -ECONNRESET);
	fx_rejects(&f, 3, RTRS_SRV_REJECT_STALE, 1);
	a.req.cid_num = 2;
	/* 11 before 12. */
	ck_assert(fx_connect(&b, 0)->accepted);
	fx_path_init(&f, &c, 1, 9, 2);
	ck_assert_int_eq(fx_reject_errno(fx_connect(&c, 0)), -ECONNRESET);
	fx_rejects(&f, 4, RTRS_SRV_REJECT_PATHS, 1);
	/* 12 before 13: addresses before memory. */
	rtrs_srv_sess_close(f.sess);
	fx_run(&f);
	a.req.recon_cnt++;
	fx_connect_all(&a);
	c.local = LOCAL;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&c, 0)), -EEXIST);
}
END_TEST

START_TEST(limit_of_sessions)
{
	struct fx_path c;

	fx_connect(&a, 0);
	fx_path_init(&f, &c, 7, 7, 2);
	ck_assert_int_eq(fx_reject_errno(fx_connect(&c, 0)), -ENOMEM);
	ck_assert_ptr_nonnull(strstr(f.last_warning, "limit of 1 sessions"));
	/* What is gone leaves room. */
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	ck_assert(fx_connect(&c, 0)->accepted);
}
END_TEST

/* The longest wait ends, and who is up is not concerned. */
START_TEST(limit_of_the_unidentified)
{
	struct fx_path up, c;

	fx_path_init(&f, &up, 5, 5, 4);
	fx_path_up(&up);
	fx_connect(&a, 0);
	f.now += SEC(1);
	fx_path_init(&f, &b, 2, 2, 4);
	fx_connect(&b, 0);
	f.now += SEC(1);
	fx_connect(&a, 1); /* three; b waits longer now */
	fx_path_init(&f, &c, 3, 3, 4);
	ck_assert(fx_connect(&c, 0)->accepted);
	ck_assert(b.con[0]->disconnected);
	ck_assert(!a.con[0]->disconnected);
	ck_assert_ptr_nonnull(
		strstr(f.last_warning, "limit of 3 connections without"));
	fx_info_req(&a, "a");
	ck_assert_int_eq(f.ups, 2);
	/* A path alone may be larger than the limit. */
	fx_connect(&c, 1);
	fx_connect(&c, 2);
	ck_assert(fx_connect(&c, 3)->accepted);
	fx_info_req(&c, "c");
	ck_assert_int_eq(f.ups, 3);
}
END_TEST

START_TEST(limit_of_chunk_memory)
{
	struct fx_path c;

	fx_connect(&a, 0);
	ck_assert_int_eq(fx_reject_errno(fx_connect(&b, 0)), -ENOMEM);
	fx_path_init(&f, &c, 7, 7, 2);
	ck_assert_int_eq(fx_reject_errno(fx_connect(&c, 0)), -ENOMEM);
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 1);
	ck_assert_ptr_nonnull(strstr(f.last_warning, "limit of memory"));
	fx_rejects(&f, 2, RTRS_SRV_REJECT_MEMORY, 2);
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, -ETIMEDOUT);
	fx_run(&f);
	ck_assert(fx_connect(&c, 0)->accepted);
}
END_TEST

START_TEST(accept_says_the_sizes_on_every_cid)
{
	/* 10.1 of rnbd-protocol(7) without NEW_RKEY. */
	static const uint8_t want[20] = {
		0xbd, 0x1b, 0x00, 0x02, 0x00, 0x00, 0x02, 0x00, 0x00, 0xf0,
		0x01, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	};

	fx_connect_all(&a);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(a.con[i]->priv_len, 56);
		ck_assert_mem_eq(a.con[i]->priv, want, sizeof(want));
	}
	ck_assert_uint_eq(rtrs_srv_max_io_size(f.srv), 126976);
}
END_TEST

START_TEST(connections_of_a_path_share_its_pd)
{
	fx_connect_all(&a);
	ck_assert_ptr_nonnull(a.con[0]->pd);
	ck_assert_ptr_eq(a.con[0]->pd, a.con[1]->pd);
	fx_connect_all(&b);
	ck_assert_ptr_ne(a.con[0]->pd, b.con[0]->pd);
}
END_TEST

START_TEST(receives_of_the_connections)
{
	fx_connect_all(&a);
	/* The buffer of INFO_REQ is first, empties are behind it. */
	ck_assert_ptr_nonnull(a.con[0]->recvs[0].addr);
	ck_assert_uint_eq(a.con[0]->recvs[0].len, 272);
	ck_assert_uint_eq(a.con[0]->recvs[0].count, 1);
	ck_assert_ptr_null(a.con[0]->recvs[1].addr);
	ck_assert_uint_eq(a.con[0]->recvs[1].count, 512);
	ck_assert_ptr_null(a.con[1]->recvs[0].addr);
	ck_assert_uint_eq(mock_n_recvs(a.con[1]), 2);
}
END_TEST

START_TEST(nothing_is_mapped_before_info_req)
{
	fx_connect_all(&a);
	/* The listener's and the server's; one MR for INFO_REQ. */
	ck_assert_uint_eq(f.m.n_ctxs, 2);
	ck_assert_uint_eq(f.m.n_mrs, 1);
}
END_TEST

START_TEST(a_big_client)
{
	fx_path_init(&f, &a, 1, 1, MAX_CIDS - 100);
	fx_path_up(&a);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CONNECTED);
}
END_TEST

START_TEST(bad_sizes_make_no_server)
{
	struct rtrs_srv_params sp = {0};
	static const struct {
		unsigned qd;
		uint32_t chunk;
		int err;
	} t[] = {
		{65536, 8192, -EINVAL}, {2, 4096, -EINVAL},
		{2, 131073, -EINVAL},   {2049, 131072, -EINVAL},
		{2048, 131072, 0},      {32768, 8192, 0},
		{32769, 8192, -EINVAL}, {1, 1u << 28, 0},
		{2, 1u << 28, -EINVAL},
	};
	struct rtrs_srv *srv;

	ck_assert_int_eq(rtrs_srv_new(&sp, &srv), -EINVAL);
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		struct fx g;

		if (t[i].err) {
			/* Callbacks that
			 * would do; only
			 * the sizes are
			 * bad. */
			sp.queue_depth = t[i].qd;
			sp.chunk_size = t[i].chunk;
			sp.sess_up = (void *)1;
			sp.sess_down = (void *)1;
			sp.request = (void *)1;
			ck_assert_int_eq(rtrs_srv_new(&sp, &srv), t[i].err);
			continue;
		}
		sp = (struct rtrs_srv_params){
			.queue_depth = t[i].qd,
			.chunk_size = t[i].chunk,
		};
		fx_init(&g, 0, &sp);
		fx_fini(&g);
	}
}
END_TEST

START_TEST(upper_layer_counts_paths)
{
	f.path_new_err = -EDQUOT;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&a, 0)), -EDQUOT);
	ck_assert_uint_eq(f.asked, 1);
	ck_assert_uint_eq(f.new_path.n_cons, 2);
	ck_assert_uint_eq(f.new_path.chunk_mem, 2 * CHUNK);
	ck_assert_uint_eq(f.addrs.peer.ss_family, AF_INET);
	/* Nothing was made for it. */
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 0);
	ck_assert_uint_eq(f.gones, 0);
	fx_rejects(&f, 1, RTRS_SRV_REJECT_UPPER, 1);
	f.path_new_err = 0;
	fx_connect(&a, 0);
	/* Asked once for each path, not for each connection. */
	fx_connect(&a, 1);
	ck_assert_uint_eq(f.asked, 2);
	ck_assert_int_eq(f.counted, 1);
	/* A path that there is, is not harmed. */
	f.path_new_err = -ENOMEM;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&b, 0)), -ENOMEM);
	fx_info_req(&a, "clt1-srv1");
	ck_assert_uint_eq(f.ups, 1);
	ck_assert_int_eq(f.counted, 1);
	f.path_new_err = 0;
}
END_TEST

START_TEST(upper_layer_is_not_asked_in_vain)
{
	fx_path_up(&a);
	ck_assert_uint_eq(f.asked, 1);
	/* These are refused or wait for other reasons. */
	b.req.sess_uuid = a.req.sess_uuid;
	b.local = a.local;
	b.peer = a.peer;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&b, 0)), -EEXIST);
	ck_assert_uint_eq(f.asked, 1);
	ck_assert_int_eq(f.counted, 1);
}
END_TEST

START_TEST(accept_that_fails_gives_the_path_back)
{
	f.m.err_accept = -ENOMEM;
	fx_connect(&a, 0);
	ck_assert_uint_eq(f.asked, 1);
	ck_assert_int_eq(f.counted, 0);
}
END_TEST

START_TEST(descriptors_of_the_contexts)
{
	int fds[4];

	ck_assert_int_eq(rtrs_srv_fds(f.srv, fds, 4), 0);
	f.m.err_ctx_new = -EMFILE;
	ck_assert_int_eq(rtrs_srv_add_fabric(f.srv, &f.m.ops), -EMFILE);
	ck_assert_int_eq(rtrs_srv_fds(f.srv, fds, 4), 0);
	ck_assert_int_eq(rtrs_srv_add_fabric(f.srv, &f.m.ops), 0);
	ck_assert_int_eq(rtrs_srv_fds(f.srv, fds, 4), 1);
	fx_connect(&a, 0);
	ck_assert_int_eq(rtrs_srv_fds(f.srv, fds, 4), 1);
	ck_assert_int_eq(fds[0], 7);
}
END_TEST

static void
setup_small(void)
{
	const struct rtrs_srv_params sp = {.max_sessions = 1, .max_paths = 2};

	start(0, &sp);
}

static void
setup_unidentified(void)
{
	const struct rtrs_srv_params sp = {.max_unidentified = 3};

	start(0, &sp);
}

static void
setup_mem(void)
{
	const struct rtrs_srv_params sp = {.max_chunk_mem = 3 * CHUNK};

	start(0, &sp);
}

int
main(void)
{
	Suite *s = suite_create("srv/admit");
	TCase *tc = tcase_create("checks");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_happens_is_counted);
	tcase_add_test(tc, reasons_have_names);
	tcase_add_test(tc, check6_unknown_session_without_first_conn);
	tcase_add_test(tc, a_second_path_needs_no_first_conn);
	tcase_add_test(tc, check8_path_is_not_connecting);
	tcase_add_test(tc, check9_other_cid_num);
	tcase_add_test(tc, check10_cid_is_taken);
	tcase_add_test(tc, older_attempts_join_no_newer_path);
	tcase_add_test(tc, check12_same_addresses);
	tcase_add_test(tc, same_addresses_in_another_session);
	tcase_add_test(tc, check14_accept_fails);
	tcase_add_test(tc, a_reject_carries_numbers_of_the_wire);
	tcase_add_test(tc, check14_takes_the_path_along);
	tcase_add_test(tc, no_receive_closes_the_path);
	tcase_add_test(tc, no_memory_region_closes_the_path);
	tcase_add_test(tc, no_context_and_no_migration_hand_back);
	tcase_add_test(tc, accept_says_the_sizes_on_every_cid);
	tcase_add_test(tc, connections_of_a_path_share_its_pd);
	tcase_add_test(tc, receives_of_the_connections);
	tcase_add_test(tc, nothing_is_mapped_before_info_req);
	tcase_add_test(tc, a_big_client);
	tcase_add_test(tc, bad_sizes_make_no_server);
	tcase_add_test(tc, descriptors_of_the_contexts);
	tcase_add_test(tc, upper_layer_counts_paths);
	tcase_add_test(tc, upper_layer_is_not_asked_in_vain);
	tcase_add_test(tc, accept_that_fails_gives_the_path_back);
	suite_add_tcase(s, tc);
	tc = tcase_create("limits");
	tcase_add_checked_fixture(tc, setup_small, teardown);
	tcase_add_test(tc, order_of_the_checks);
	tcase_add_test(tc, limit_of_sessions);
	suite_add_tcase(s, tc);
	tc = tcase_create("unidentified");
	tcase_add_checked_fixture(tc, setup_unidentified, teardown);
	tcase_add_test(tc, limit_of_the_unidentified);
	suite_add_tcase(s, tc);
	tc = tcase_create("memory");
	tcase_add_checked_fixture(tc, setup_mem, teardown);
	tcase_add_test(tc, limit_of_chunk_memory);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
