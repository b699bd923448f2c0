/* SPDX-License-Identifier: BSD-3-Clause */
/* A client that starts over waits until its past is gone. */
#include "tests/unit/srv/fixture.h"

static const uint8_t usr[8] = "request";
static struct fx f;
static struct fx_path a, b;

#define MANY 4 /* sessions */
static struct rtrs_srv_sess *sess[MANY];

static void
setup(void)
{
	fx_init_two(&f, &a, &b, 0, NULL);
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

START_TEST(larger_recon_cnt_replaces_a_connected_path)
{
	struct mock_conn *old;

	fx_path_up(&a);
	old = a.con[0];
	f.m.auto_close = false;
	a.req.recon_cnt = 2;
	fx_connect(&a, 0);
	/* A client that gave it up does not answer: nothing to wait for. */
	ck_assert(old->freed);
	ck_assert(a.con[0]->accepted);
	ck_assert_int_eq(f.downs, 1);
	ck_assert_int_eq(f.gones, 1);
	f.m.auto_close = true;
	ck_assert(fx_connect(&a, 1)->accepted);
	fx_info_req(&a, "clt1-srv1");
	ck_assert_int_eq(f.ups, 2);
}
END_TEST

START_TEST(the_fence_waits_for_running_requests)
{
	fx_path_up(&a);
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	ck_assert_uint_eq(f.n_ops, 1);
	a.req.recon_cnt = 2;
	fx_connect(&a, 0);
	/* Its connections are gone, the write still executes. */
	ck_assert(parked(a.con[0]));
	ck_assert_uint_eq(f.downs, 0);
	rtrs_srv_op_done(f.ops[0], 0);
	fx_run(&f);
	ck_assert_uint_eq(f.downs, 1);
	ck_assert(a.con[0]->accepted);
}
END_TEST

/* Who has a request that did not begin yet need not let the client wait. */
START_TEST(lost_requests_are_told)
{
	struct sockaddr_storage peers[3];

	fx_path_up(&a);
	fx_path_up(&b);
	ck_assert_uint_eq(rtrs_srv_sess_peers(f.sess, peers, 3), 2);
	ck_assert_uint_eq(rtrs_srv_sess_peers(f.sess, peers, 1), 1);
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	fx_write(&b, 1, 1, NULL, 0, usr, 8);
	ck_assert_uint_eq(f.n_ops, 2);
	ck_assert(!rtrs_srv_op_lost(f.ops[0]));
	a.req.recon_cnt = 2;
	fx_connect(&a, 0);
	fx_run(&f);
	ck_assert_uint_eq(f.losses, 1);
	ck_assert(rtrs_srv_op_lost(f.ops[0]));
	ck_assert(!rtrs_srv_op_lost(f.ops[1]));
	ck_assert_uint_eq(rtrs_srv_sess_peers(f.sess, peers, 3), 1);
	ck_assert(parked(a.con[0]));
	rtrs_srv_op_done(f.ops[0], -ENOTCONN);
	fx_run(&f);
	ck_assert(a.con[0]->accepted);
	rtrs_srv_op_done(f.ops[1], 0);
}
END_TEST

START_TEST(and_for_the_session_to_be_down)
{
	f.down_later = true;
	fx_path_up(&a);
	a.req.recon_cnt = 2;
	fx_connect(&a, 0);
	ck_assert_uint_eq(f.downs, 1);
	ck_assert(parked(a.con[0]));
	rtrs_srv_sess_down_done(f.sess);
	fx_run(&f);
	ck_assert(a.con[0]->accepted);
	f.down_later = false;
}
END_TEST

START_TEST(larger_recon_cnt_replaces_a_connecting_path)
{
	struct mock_conn *old;

	old = fx_connect(&a, 0);
	a.req.recon_cnt = 2;
	fx_connect(&a, 0);
	ck_assert(old->freed);
	ck_assert(a.con[0]->accepted);
	ck_assert_uint_eq(fx_n_paths(&f), 1);
	/* It never was up, so it never went down. */
	ck_assert_uint_eq(f.downs, 0);
}
END_TEST

/* A client asks on another route whether the lost path is gone, with a number
 * between it and the attempt that is under way; in either order. */
START_TEST(question_does_not_end_an_attempt)
{
	struct mock_conn *question, *attempt;

	fx_path_up(&a);
	fx_path_up(&b);
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	a.req.recon_cnt = _i ? 3 : 2;
	attempt = question = fx_connect(&a, 0);
	a.req.recon_cnt = _i ? 2 : 3;
	if (_i)
		question = fx_connect(&a, 0);
	else
		attempt = fx_connect(&a, 0);
	ck_assert(parked(attempt));
	rtrs_srv_op_done(f.ops[0], 0);
	fx_run(&f);
	ck_assert(attempt->accepted);
	ck_assert_int_eq(fx_reject_errno(question), -ECONNRESET);
	/* Once more, as to what has been accepted. */
	a.req.recon_cnt = 2;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&a, 0)), -ECONNRESET);
	a.req.recon_cnt = 3;
	ck_assert(fx_connect(&a, 1)->accepted);
}
END_TEST

START_TEST(recon_cnt_wraps)
{
	a.req.recon_cnt = 0xffff;
	fx_connect(&a, 0);
	a.req.recon_cnt = 0;
	ck_assert(fx_connect(&a, 0)->accepted);
	a.req.recon_cnt = 0xffff;
	ck_assert_int_eq(fx_reject_errno(fx_connect(&a, 0)), -ECONNRESET);
}
END_TEST

START_TEST(equal_recon_cnt_is_no_new_attempt)
{
	fx_path_up(&a);
	f.m.auto_close = false;
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CLOSING);
	/* Session down already, path not: judged by the path alone. */
	ck_assert_int_eq(fx_reject_errno(fx_connect(&a, 0)), -ECONNRESET);
	f.m.auto_close = true;
	mock_event(a.con[1], FABRIC_EV_CLOSED, 0);
	for (unsigned i = 0; i < f.m.n_conns; i++)
		if (f.m.conns[i]->disconnected && !f.m.conns[i]->freed &&
		    f.m.conns[i] != a.con[1])
			mock_event(f.m.conns[i], FABRIC_EV_CLOSED, 0);
	fx_run(&f);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}
END_TEST

START_TEST(parked_requests_expire_as_busy)
{
	uint64_t t0;

	fx_path_up(&a);
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	t0 = f.now;
	a.req.recon_cnt = 2;
	fx_connect(&a, 0);
	fx_until(&f, t0 + SEC(15) - 1);
	ck_assert(parked(a.con[0]));
	fx_until(&f, t0 + SEC(15));
	ck_assert_int_eq(fx_reject_errno(a.con[0]), -EBUSY);
	fx_rejects(&f, 1, RTRS_SRV_REJECT_BUSY, 1);
	rtrs_srv_op_done(f.ops[0], 0);
	fx_run(&f);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}
END_TEST

START_TEST(an_address_that_is_being_left_parks)
{
	fx_path_up(&a);
	fx_path_up(&b);
	fx_write(&b, 1, 0, NULL, 0, usr, 8);
	mock_event(b.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	/* A new path of the client on the same addresses. */
	fx_path_init(&f, &b, 1, 3, 2);
	b.peer = OTHER;
	fx_connect(&b, 0);
	ck_assert(parked(b.con[0]));
	rtrs_srv_op_done(f.ops[0], 0);
	fx_run(&f);
	ck_assert(b.con[0]->accepted);
	ck_assert_uint_eq(f.downs, 0);
}
END_TEST

START_TEST(everything_parks_while_the_session_goes_down)
{
	f.down_later = true;
	fx_path_up(&a);
	mock_event(a.con[1], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	ck_assert_uint_eq(f.downs, 1);
	fx_connect(&b, 0);
	ck_assert(parked(b.con[0]));
	b.req.first_conn = false;
	b.req.path_uuid.b[0] = 77;
	b.local = OTHER;
	fx_connect(&b, 1);
	ck_assert(parked(b.con[1]));
	rtrs_srv_sess_down_done(f.sess);
	fx_run(&f);
	/* The first makes a new session, so the second finds one. */
	ck_assert(b.con[0]->accepted);
	ck_assert(b.con[1]->accepted);
	f.down_later = false;
}
END_TEST

/* Several servers of a process ask each other whose a session is. */
START_TEST(presence_knows_what_waits_and_whose_it_is)
{
	struct rtrs_uuid other = {.b = {99}};
	struct fx_path c;

	ck_assert_uint_eq(rtrs_srv_presence(f.srv, &a.req.sess_uuid), 0);
	f.down_later = true;
	fx_path_up(&a);
	ck_assert_uint_eq(rtrs_srv_presence(f.srv, &a.req.sess_uuid),
			  RTRS_SRV_PRESENT);
	mock_event(a.con[1], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	fx_path_init(&f, &c, 1, 1, 2);
	c.req.recon_cnt = 2;
	fx_connect(&c, 0);
	ck_assert(parked(c.con[0]));
	ck_assert_uint_eq(rtrs_srv_presence(f.srv, &a.req.sess_uuid),
			  RTRS_SRV_PRESENT | RTRS_SRV_PENDING);
	ck_assert_uint_eq(rtrs_srv_presence(f.srv, &other), 0);
	f.down_later = false;
	rtrs_srv_sess_down_done(f.sess);
	fx_run(&f);
	ck_assert(c.con[0]->accepted);
	ck_assert_uint_eq(rtrs_srv_presence(f.srv, &a.req.sess_uuid),
			  RTRS_SRV_PRESENT);
}
END_TEST

START_TEST(without_first_conn_the_old_session_must_live)
{
	f.down_later = true;
	fx_path_up(&a);
	mock_event(a.con[1], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	b.req.first_conn = false;
	fx_connect(&b, 0);
	ck_assert(parked(b.con[0]));
	rtrs_srv_sess_down_done(f.sess);
	fx_run(&f);
	ck_assert_int_eq(fx_reject_errno(b.con[0]), -ENXIO);
	f.down_later = false;
}
END_TEST

START_TEST(parking_has_a_limit)
{
	unsigned n = 0;

	f.down_later = true;
	fx_path_up(&a);
	mock_event(a.con[1], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	for (unsigned i = 0; i < RTRS_MAX_PATHS + 5; i++) {
		b.req.path_uuid.b[0] = (uint8_t)(100 + i);
		fx_connect(&b, 0);
		n += parked(b.con[0]);
		if (i >= RTRS_MAX_PATHS)
			ck_assert_int_eq(fx_reject_errno(b.con[0]), -EBUSY);
	}
	ck_assert_uint_eq(n, RTRS_MAX_PATHS);
	rtrs_srv_close(f.srv);
	rtrs_srv_sess_down_done(f.sess);
	f.down_later = false;
}
END_TEST

/* Nor can many sessions together make us hold any number. */
START_TEST(parking_has_a_limit_for_all_together)
{
	struct fx_path p[MANY];
	unsigned n = 0;

	f.down_later = true;
	for (unsigned s = 0; s < MANY; s++) {
		fx_path_init(&f, &p[s], (uint8_t)(50 + s), 1, 1);
		fx_path_up(&p[s]);
		mock_event(p[s].con[0], FABRIC_EV_DISCONNECTED, 0);
		fx_run(&f);
		sess[s] = f.sess;
	}
	for (unsigned i = 0; i < RTRS_MAX_PATHS * MANY; i++) {
		struct fx_path *c = &p[i % MANY];

		c->req.path_uuid.b[0] = (uint8_t)(100 + i / MANY);
		fx_connect(c, 0);
		n += parked(c->con[0]);
	}
	ck_assert_uint_eq(n, 400);
	ck_assert_ptr_nonnull(strstr(f.last_warning, "limit of 400 waiting"));
	rtrs_srv_close(f.srv);
	for (unsigned s = 0; s < MANY; s++)
		rtrs_srv_sess_down_done(sess[s]);
	f.down_later = false;
}
END_TEST

START_TEST(a_newer_attempt_supersedes_a_parked_one)
{
	struct mock_conn *second;

	fx_path_up(&a);
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	a.req.recon_cnt = 2;
	second = fx_connect(&a, 0);
	ck_assert(parked(second));
	a.req.recon_cnt = 3;
	fx_connect(&a, 0);
	ck_assert_int_eq(fx_reject_errno(second), -ECONNRESET);
	rtrs_srv_op_done(f.ops[0], 0);
	fx_run(&f);
	ck_assert(a.con[0]->accepted);
}
END_TEST

START_TEST(a_parked_peer_may_leave)
{
	struct mock_conn *c;

	fx_path_up(&a);
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	a.req.recon_cnt = 2;
	c = fx_connect(&a, 0);
	mock_event(c, FABRIC_EV_DISCONNECTED, -ECONNRESET);
	fx_run(&f);
	ck_assert(c->freed && !c->rejected);
	rtrs_srv_op_done(f.ops[0], 0);
	fx_run(&f);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}
END_TEST

START_TEST(close_rejects_what_is_parked_and_what_comes)
{
	struct mock_conn *c;

	fx_path_up(&a);
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	a.req.recon_cnt = 2;
	c = fx_connect(&a, 0);
	rtrs_srv_close(f.srv);
	fx_run(&f);
	ck_assert_int_eq(fx_reject_errno(c), -ECONNRESET);
	ck_assert_int_eq(fx_reject_errno(fx_connect(&b, 0)), -ECONNRESET);
	ck_assert(!rtrs_srv_closed(f.srv));
	rtrs_srv_op_done(f.ops[0], -EIO);
	fx_run(&f);
	ck_assert(rtrs_srv_closed(f.srv));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("srv/park");
	TCase *tc = tcase_create("park");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, larger_recon_cnt_replaces_a_connected_path);
	tcase_add_test(tc, the_fence_waits_for_running_requests);
	tcase_add_test(tc, lost_requests_are_told);
	tcase_add_test(tc, and_for_the_session_to_be_down);
	tcase_add_test(tc, larger_recon_cnt_replaces_a_connecting_path);
	tcase_add_loop_test(tc, question_does_not_end_an_attempt, 0, 2);
	tcase_add_test(tc, recon_cnt_wraps);
	tcase_add_test(tc, equal_recon_cnt_is_no_new_attempt);
	tcase_add_test(tc, parked_requests_expire_as_busy);
	tcase_add_test(tc, an_address_that_is_being_left_parks);
	tcase_add_test(tc, everything_parks_while_the_session_goes_down);
	tcase_add_test(tc, presence_knows_what_waits_and_whose_it_is);
	tcase_add_test(tc, without_first_conn_the_old_session_must_live);
	tcase_add_test(tc, parking_has_a_limit);
	tcase_add_test(tc, parking_has_a_limit_for_all_together);
	tcase_add_test(tc, a_newer_attempt_supersedes_a_parked_one);
	tcase_add_test(tc, a_parked_peer_may_leave);
	tcase_add_test(tc, close_rejects_what_is_parked_and_what_comes);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
