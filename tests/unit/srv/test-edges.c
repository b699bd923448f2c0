/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What seldom happens: bounds of one call of progress, peers that leave before
 * anybody looked at them, devices that grant next to nothing, two causes at
 * once.
 */
#include <stdio.h>

#include "tests/unit/srv/fixture.h"

#define DEEP    600 /* chunks: more than receives of connection 0 by default */
#define N_CHAIN 12  /* requests, more than there are rounds in a progress */

static const uint8_t usr[32] = "the user message";
static struct fx f;
static struct fx_path a, b;

static void
start(const struct rtrs_srv_params *sp)
{
	fx_init_two(&f, &a, &b, FABRIC_CAP_MW_PD, sp);
}

static void
setup(void)
{
	start(NULL);
}

static void
setup_mw(void)
{
	const struct rtrs_srv_params sp = {.always_invalidate = true};

	start(&sp);
}

static void
setup_deep(void)
{
	const struct rtrs_srv_params sp = {.queue_depth = DEEP};

	start(&sp);
}

static void
setup_unidentified(void)
{
	const struct rtrs_srv_params sp = {.max_unidentified = 3};

	start(&sp);
}

static void
teardown(void)
{
	fx_fini(&f);
}

static bool
parked(const struct mock_conn *c)
{
	return !c->accepted && !c->rejected && !c->freed;
}

/* --- requests to connect */

/* It came, and the listener handed it over; the server has not looked yet. */
static struct mock_conn *
take_unjudged(struct fx_path *p, uint16_t cid)
{
	struct mock_conn *c = fx_knock(p, cid);

	rtrs_listener_progress(f.lsn, f.now);
	return c;
}

START_TEST(what_is_not_judged_yet_is_pending)
{
	struct rtrs_uuid other = {{0}};

	take_unjudged(&a, 0);
	ck_assert_uint_eq(rtrs_srv_presence(f.srv, &a.req.sess_uuid),
			  RTRS_SRV_PENDING);
	ck_assert_uint_eq(rtrs_srv_presence(f.srv, &other), 0);
	fx_run(&f);
	ck_assert_uint_eq(rtrs_srv_presence(f.srv, &a.req.sess_uuid),
			  RTRS_SRV_PRESENT);
}
END_TEST

START_TEST(a_peer_may_leave_before_it_is_judged)
{
	struct mock_conn *stays = take_unjudged(&a, 0);
	struct mock_conn *leaves = take_unjudged(&b, 0);

	mock_event(leaves, FABRIC_EV_DISCONNECTED, -ECONNRESET);
	fx_run(&f);
	ck_assert(leaves->freed && !leaves->accepted && !leaves->rejected);
	ck_assert(stays->accepted);
	ck_assert_uint_eq(fx_n_paths(&f), 1);
	ck_assert_uint_eq(rtrs_srv_n_answered(f.srv), 2);
}
END_TEST

START_TEST(and_before_it_is_handed_over)
{
	struct mock_conn *c;

	f.keep_requests = true;
	c = take_unjudged(&a, 0);
	mock_event(c, FABRIC_EV_DISCONNECTED, -ECONNRESET);
	fx_run(&f);
	/* The listener only takes note of requests. */
	ck_assert(parked(c));
	ck_assert_uint_eq(rtrs_listener_stats(f.lsn)->requests, 1);
	rtrs_conn_request_reject(f.kept, -ECONNRESET);
}
END_TEST

START_TEST(without_addresses_there_is_no_request)
{
	f.m.err_conn_addrs = -ENOTCONN;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&a, 0)), -ENOTCONN);
	ck_assert_uint_eq(rtrs_listener_stats(f.lsn)->requests, 0);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}
END_TEST

static void
take(void *user, struct rtrs_conn_request *req)
{
	ck_assert_int_eq(rtrs_srv_take(user, req), 0);
}

START_TEST(a_path_has_one_fabric)
{
	const struct sockaddr_storage any = {.ss_family = AF_INET};
	struct fabric_listener *first = f.m.listener;
	static struct fabric_ops other; /* the server keeps it */
	struct rtrs_listener_params lp = {
		.fabric = &other,
		.addr = (const struct sockaddr *)&any,
		.addr_len = sizeof(any),
		.log = &f.log,
		.fabric_priv = &f.m,
		.request = take,
		.user = f.srv,
	};
	struct rtrs_listener *second;
	struct mock_conn *c;

	other = f.m.ops;
	ck_assert(fx_connect(&a, 0)->accepted);
	ck_assert_int_eq(rtrs_listener_new(&lp, &second), 0);
	c = take_unjudged(&a, 1);
	rtrs_listener_progress(second, f.now);
	fx_run(&f);
	/* Its protection domain is that of connection 0. */
	ck_assert_int_eq(fx_reject_errno(c), -ECONNRESET);
	rtrs_listener_free(second);
	f.m.listener = first;
	ck_assert(fx_connect(&a, 1)->accepted);
}
END_TEST

START_TEST(parked_requests_expire_each_in_its_time)
{
	uint64_t t0 = f.now;

	fx_path_up(&a);
	fx_path_up(&b);
	fx_write(&a, 1, 0, NULL, 0, usr, 32);
	fx_write(&b, 1, 1, NULL, 0, usr, 32);
	a.req.recon_cnt = b.req.recon_cnt = 2;
	fx_connect(&a, 0);
	fx_until(&f, t0 + SEC(5));
	fx_connect(&b, 0);
	ck_assert(parked(a.con[0]) && parked(b.con[0]));
	fx_until(&f, t0 + SEC(15));
	ck_assert_int_eq(fx_reject_errno(a.con[0]), -EBUSY);
	fx_until(&f, t0 + SEC(20) - 1);
	ck_assert(parked(b.con[0]));
	fx_until(&f, t0 + SEC(20));
	ck_assert_int_eq(fx_reject_errno(b.con[0]), -EBUSY);
	rtrs_srv_op_done(f.ops[0], 0);
	rtrs_srv_op_done(f.ops[1], 0);
}
END_TEST

START_TEST(room_is_made_by_who_waits_longest)
{
	struct fx_path c, d;

	fx_path_init(&f, &c, 3, 3, 2);
	fx_path_init(&f, &d, 4, 4, 2);
	b.req.sess_uuid.b[0]++;
	fx_connect(&a, 0);
	f.now += SEC(1);
	fx_connect(&b, 0);
	f.now += SEC(1);
	fx_connect(&c, 0);
	ck_assert(fx_connect(&d, 0)->accepted);
	ck_assert(a.con[0]->disconnected);
	ck_assert(!b.con[0]->disconnected && !c.con[0]->disconnected);
}
END_TEST

START_TEST(room_is_not_made_by_who_has_said_its_name)
{
	struct fx_path c, d;

	f.down_later = true;
	fx_path_up(&a);
	fx_connect_all(&b);
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	/* It waits for the session that goes down, not for its client. */
	fx_info_req(&b, "clt1-srv1");
	fx_path_init(&f, &c, 3, 3, 2);
	f.now += SEC(1);
	fx_connect(&c, 0);
	fx_path_init(&f, &d, 4, 4, 2);
	ck_assert(fx_connect(&d, 0)->accepted);
	ck_assert(!b.con[0]->disconnected);
	ck_assert(c.con[0]->disconnected);
	f.down_later = false;
	rtrs_srv_sess_down_done(f.sess);
	fx_run(&f);
	ck_assert_uint_eq(f.ups, 2);
}
END_TEST

/* --- what a device grants */

START_TEST(a_deep_queue_has_a_receive_for_each_request)
{
	fx_path_up(&a);
	ck_assert_uint_eq(mock_n_recvs(a.con[0]), DEEP);
	ck_assert_uint_eq(mock_n_recvs(a.con[1]), DEEP);
	f.auto_done = true;
	for (unsigned i = 0; i < 64; i++)
		fx_write(&a, 1, i, NULL, 0, usr, 32);
	ck_assert_uint_eq(f.n_ops, 64);
}
END_TEST

START_TEST(a_single_receive_serves_nobody)
{
	f.m.limit_recv_wr = 1;
	ck_assert(fx_connect(&a, 0)->disconnected);
	ck_assert_ptr_nonnull(strstr(f.last_close, "and 1 work requests"));
}
END_TEST

/* --- completions */

/* Every WR that connection 0 has room for is out, and heartbeats wait. */
static unsigned
fill_queue(struct fx_path *p)
{
	struct mock_conn *c = p->con[0];
	unsigned n;

	f.m.auto_complete = false;
	do {
		n = c->n_sent;
		fx_imm(p, 0, rtrs_imm_hb_msg());
	} while (c->n_sent > n);
	return n;
}

/* The mock fails the test when more is posted than the queue has. */
START_TEST(a_completion_of_long_ago_makes_no_room)
{
	struct fabric_wc wc = {.op = FABRIC_WC_OP_RDMA_WRITE};
	unsigned n;

	fx_path_up(&a);
	wc.wr_id = a.con[0]->sent[0].wr.wr_id;
	fill_queue(&a);
	mock_complete_all(a.con[0]);
	n = fill_queue(&a);
	/* More of them than one progress takes. */
	for (unsigned i = 0; i < 64 * 64 + 1; i++)
		mock_wc(a.con[0], &wc);
	rtrs_srv_progress(f.srv, f.now);
	ck_assert(rtrs_srv_arm(f.srv));
	fx_run(&f);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CONNECTED);
	ck_assert_uint_eq(a.con[0]->n_sent, n);
}
END_TEST

START_TEST(our_heartbeat_waits_for_room)
{
	const struct mock_sent *s;
	unsigned n = 0;

	fx_path_up(&a);
	a.con[0]->seen = fill_queue(&a);
	fx_until(&f, f.now + SEC(6));
	ck_assert_uint_eq(mock_unseen(a.con[0]), 0);
	mock_complete_all(a.con[0]);
	fx_run(&f);
	while ((s = mock_next_sent(a.con[0])))
		n += s->wr.imm == rtrs_imm_hb_msg();
	ck_assert_uint_eq(n, 1);
}
END_TEST

START_TEST(a_window_closes_just_when_its_path_breaks)
{
	fx_path_up(&a);
	f.m.auto_complete = false;
	fx_write(&a, 0, 0, NULL, 0, usr, 32);
	fill_queue(&a);
	/* The heartbeat that waited takes the room, and fails. */
	f.m.err_post_send = -EIO;
	mock_complete(a.con[0], 1, FABRIC_WC_SUCCESS);
	fx_run(&f);
	ck_assert_uint_eq(f.n_ops, 0);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
	ck_assert_ptr_nonnull(strstr(f.last_close, "can not post a heartbeat"));
}
END_TEST

START_TEST(nobody_has_to_listen_to_the_log)
{
	f.log.sink = NULL;
	f.m.err_mr_dereg = -EIO;
	fx_path_up(&a);
	fx_imm(&a, 1, 0x30000000);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CONNECTED);
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
	ck_assert_uint_eq(f.warnings, 0);
}
END_TEST

/* --- ends */

START_TEST(a_connection_fails_while_it_is_closed)
{
	f.m.auto_close = false;
	fx_connect(&a, 0);
	rtrs_srv_close(f.srv);
	fx_run(&f);
	ck_assert(a.con[0]->disconnected && !a.con[0]->freed);
	/* It never was established, and it is closed: counted once. */
	mock_event(a.con[0], FABRIC_EV_CONNECT_ERROR, -ETIMEDOUT);
	mock_event(a.con[0], FABRIC_EV_CLOSED, 0);
	fx_run(&f);
	ck_assert(a.con[0]->freed);
	ck_assert(rtrs_srv_closed(f.srv));
}
END_TEST

START_TEST(sess_up_of_a_second_path_closes_all)
{
	fx_path_up(&a);
	fx_connect_all(&b);
	f.close_in_up = true;
	fx_info_req(&b, "clt1-srv1");
	ck_assert_uint_eq(f.downs, 1);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 0);
}
END_TEST

START_TEST(a_server_with_requests_to_judge_is_not_closed)
{
	ck_assert(!rtrs_srv_closed(f.srv));
	take_unjudged(&a, 0);
	rtrs_srv_close(f.srv);
	ck_assert(!rtrs_srv_closed(f.srv));
	fx_run(&f);
	ck_assert_int_eq(fx_reject_errno(a.con[0]), -ECONNRESET);
	ck_assert(rtrs_srv_closed(f.srv));
}
END_TEST

START_TEST(nor_one_whose_last_session_left_some_waiting)
{
	f.down_later = true;
	fx_path_up(&a);
	a.req.recon_cnt = 2;
	fx_connect(&a, 0);
	ck_assert(parked(a.con[0]));
	rtrs_srv_close(f.srv);
	f.down_later = false;
	rtrs_srv_sess_down_done(f.sess);
	/* sess_gone() comes before what waited is judged. */
	fx_run(&f);
	ck_assert_uint_eq(f.gones, 1);
	ck_assert(!f.closed_in_gone);
	ck_assert(rtrs_srv_closed(f.srv));
}
END_TEST

START_TEST(one_of_two_requests_of_a_dead_path_ends)
{
	fx_path_up(&a);
	fx_write(&a, 1, 0, NULL, 0, usr, 32);
	fx_write(&a, 1, 1, NULL, 0, usr, 32);
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	rtrs_srv_op_done(f.ops[1], 0);
	ck_assert(!rtrs_srv_arm(f.srv));
	fx_run(&f);
	ck_assert_uint_eq(fx_n_paths(&f), 1);
	rtrs_srv_op_done(f.ops[0], 0);
	fx_run(&f);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}
END_TEST

/* --- rounds */

/* Each has the addresses of the one before, which has to be gone. */
START_TEST(a_long_chain_that_waits_is_worked_off)
{
	struct mock_conn *c[N_CHAIN];
	unsigned n = 0;

	fx_path_up(&a);
	fx_write(&a, 1, 0, NULL, 0, usr, 32);
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	for (unsigned i = 0; i < N_CHAIN; i++) {
		a.req.path_uuid.b[0]++;
		c[i] = fx_connect(&a, 0);
		ck_assert(parked(c[i]));
	}
	f.m.err_accept = -ENOMEM;
	f.m.n_err_accept = N_CHAIN;
	rtrs_srv_op_done(f.ops[0], 0);
	/* Not all within one call. */
	rtrs_srv_progress(f.srv, f.now);
	ck_assert(parked(c[N_CHAIN - 1]));
	ck_assert(rtrs_srv_arm(f.srv));
	ck_assert_uint_eq(rtrs_srv_deadline(f.srv), 0);
	fx_run(&f);
	for (unsigned i = 0; i < N_CHAIN; i++)
		n += fx_reject_errno(c[i]) == -ENOMEM;
	ck_assert_uint_eq(n, N_CHAIN);
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 0);
}
END_TEST

START_TEST(a_path_is_told_of_before_it_has_connection_0)
{
	struct rtrs_srv_path_info info;

	fx_connect(&a, 1);
	ck_assert(fx_path_info(&f, 0, &info));
	ck_assert_uint_eq(info.n_cons, 1);
	ck_assert_str_eq(info.hca_name, "");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("srv/edges");
	TCase *tc = tcase_create("edges");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_not_judged_yet_is_pending);
	tcase_add_test(tc, a_peer_may_leave_before_it_is_judged);
	tcase_add_test(tc, and_before_it_is_handed_over);
	tcase_add_test(tc, without_addresses_there_is_no_request);
	tcase_add_test(tc, a_path_has_one_fabric);
	tcase_add_test(tc, parked_requests_expire_each_in_its_time);
	tcase_add_test(tc, a_single_receive_serves_nobody);
	tcase_add_test(tc, a_completion_of_long_ago_makes_no_room);
	tcase_add_test(tc, our_heartbeat_waits_for_room);
	tcase_add_test(tc, nobody_has_to_listen_to_the_log);
	tcase_add_test(tc, a_connection_fails_while_it_is_closed);
	tcase_add_test(tc, sess_up_of_a_second_path_closes_all);
	tcase_add_test(tc, a_server_with_requests_to_judge_is_not_closed);
	tcase_add_test(tc, nor_one_whose_last_session_left_some_waiting);
	tcase_add_test(tc, one_of_two_requests_of_a_dead_path_ends);
	tcase_add_test(tc, a_long_chain_that_waits_is_worked_off);
	tcase_add_test(tc, a_path_is_told_of_before_it_has_connection_0);
	suite_add_tcase(s, tc);
	tc = tcase_create("windows");
	tcase_add_checked_fixture(tc, setup_mw, teardown);
	tcase_add_test(tc, a_window_closes_just_when_its_path_breaks);
	suite_add_tcase(s, tc);
	tc = tcase_create("deep");
	tcase_add_checked_fixture(tc, setup_deep, teardown);
	tcase_add_test(tc, a_deep_queue_has_a_receive_for_each_request);
	suite_add_tcase(s, tc);
	tc = tcase_create("unidentified");
	tcase_add_checked_fixture(tc, setup_unidentified, teardown);
	tcase_add_test(tc, room_is_made_by_who_waits_longest);
	tcase_add_test(tc, room_is_not_made_by_who_has_said_its_name);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
