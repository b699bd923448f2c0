/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <errno.h>
#include <string.h>

static const char usr32[32] = "thirty-two bytes of user message";

static void
submit_write(struct fx *f, struct fx_req *r)
{
	ck_assert_int_eq(
		fx_submit(f, r, RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 512), 0);
}

static void
submit_read(struct fx *f, struct fx_req *r)
{
	ck_assert_int_eq(
		fx_submit(f, r, RTRS_READ, RTRS_PERMIT_IO, usr32, 32, 512), 0);
}

static void
up(struct fx *f, unsigned n_paths)
{
	fx_init(f, CHEAP, n_paths);
	fx_up(f);
	f->n_order = 0;
	f->order[0] = '\0';
}

/* CLOSED for all connections of path p, in reverse. */
static void
all_closed(struct fx *f, unsigned p, bool confirmed)
{
	for (unsigned c = f->p.n_cons; c-- > 0;)
		mock_closed(fx_conn(f, p, c), confirmed);
	fx_run(f);
}

/* ---- one path */

START_TEST(lost_request_ends_only_after_closed)
{
	struct fx f;
	struct fx_req w, r;
	struct fabric_conn *c[2];

	up(&f, 1);
	f.m.auto_close = false;
	submit_write(&f, &w);
	submit_read(&f, &r);
	c[0] = fx_conn(&f, 0, 0);
	c[1] = fx_conn(&f, 0, 1);
	mock_disconnected(c[1], -ECONNRESET);
	fx_run(&f);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_RECONNECTING);
	ck_assert(!rtrs_clt_is_up(f.clt));
	/* Every connection is disconnected, the dead one too. */
	ck_assert_int_eq(c[0]->state, MOCK_DISCONNECTING);
	ck_assert_int_eq(c[1]->state, MOCK_DISCONNECTING);
	mock_closed(c[1], true);
	fx_run_at(&f, f.now + SEC(1) / 20);
	ck_assert_str_eq(f.order, "");
	ck_assert(mock_is_exposed(&f.m, r.data));
	mock_closed(c[0], true);
	fx_run(&f);
	/* In order of submission, and before link_down. */
	ck_assert_str_eq(f.order, "rrD");
	ck_assert_int_eq(w.err, -ECONNABORTED);
	ck_assert_int_eq(r.err, -ECONNABORTED);
	ck_assert_uint_eq(f.m.live_conns + f.m.live_mrs + f.m.live_pds, 0);
	fx_deinit(&f);
}
END_TEST

/* When the path that is RECONNECTING is due, in ms from now. */
static uint64_t
pause_of(struct fx *f)
{
	uint64_t t = rtrs_clt_deadline(f->clt);

	ck_assert_int_eq(fx_state(f, 0), RTRS_CLT_RECONNECTING);
	return (t - f->now) / NSEC_PER_MSEC;
}

START_TEST(pauses_double_up_to_the_maximum)
{
	static const uint64_t want[] = {1000, 2000, 4000, 5000, 5000};
	struct fx f;

	fx_init(&f, CHEAP, 1);
	f.p.reconnect_delay_ms = 1000;
	f.p.reconnect_backoff_ms = 0;
	f.p.reconnect_max_ms = 5000;
	fx_up(&f);
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		uint64_t ms = pause_of(&f);

		ck_assert_uint_ge(ms, want[i]);
		ck_assert_uint_lt(ms, want[i] + want[i] / 4);
		fx_run_at(&f, rtrs_clt_deadline(f.clt));
		mock_connect_error(mock_last_conn(&f.m), -ECONNREFUSED);
		fx_run(&f);
	}
	/* Success starts over. */
	fx_run_at(&f, rtrs_clt_deadline(f.clt));
	fx_path_up(&f, 0);
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	ck_assert_uint_lt(pause_of(&f), 1250);
	fx_deinit(&f);
}
END_TEST

START_TEST(comes_back_after_delay_and_backoff)
{
	struct fx f;
	struct fx_req r;
	uint64_t t;

	up(&f, 1);
	f.rnd32 = 15;
	f.clt->p.reconnect_jitter_ms = 8;
	mock_disconnected(fx_conn(&f, 0, 0), 0);
	fx_run(&f);
	t = f.now + (30000 + 1000 + 15 % 8) * NSEC_PER_MSEC;
	ck_assert_uint_eq(rtrs_clt_deadline(f.clt), t);
	fx_run_at(&f, t - 1);
	ck_assert_uint_eq(f.m.n_conns, 2);
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_READ, RTRS_PERMIT_IO, usr32, 32, 512),
		-ECONNABORTED);
	fx_run_at(&f, t);
	ck_assert_uint_eq(f.m.n_conns, 3);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CONNECTING);
	fx_path_up(&f, 0);
	ck_assert_str_eq(f.order, "DU");
	ck_assert(rtrs_clt_is_up(f.clt));
	ck_assert_uint_eq(fx_stats(&f, 0).reconnects_ok, 1);
	ck_assert_uint_eq(fx_stats(&f, 0).reconnects_err, 0);
	submit_read(&f, &r);
	fx_reply(&f, 0, 1, 0, 0);
	ck_assert_int_eq(r.err, 0);
	fx_deinit(&f);
}
END_TEST

START_TEST(unlimited_attempts)
{
	struct fx f;

	up(&f, 1);
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	for (int i = 0; i < 20; i++) {
		fx_run_at(&f, f.now + SEC(31));
		mock_connect_error(mock_last_conn(&f.m), -ECONNREFUSED);
		fx_run(&f);
		ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_RECONNECTING);
	}
	ck_assert_uint_eq(fx_stats(&f, 0).reconnects_err, 20);
	ck_assert_uint_eq(f.n_failed, 0);
	ck_assert_uint_eq(f.n_down, 1);
	fx_run_at(&f, f.now + SEC(31));
	fx_path_up(&f, 0);
	ck_assert_uint_eq(f.n_up, 2);
	fx_deinit(&f);
}
END_TEST

START_TEST(attempts_run_out)
{
	struct fx f;
	int max = _i;

	fx_init(&f, CHEAP, 1);
	f.p.max_reconnect_attempts = max;
	fx_up(&f);
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	for (int i = 0; i < max; i++) {
		ck_assert_uint_eq(f.n_failed, 0);
		fx_run_at(&f, f.now + SEC(31));
		fx_accept(&f);
		mock_rejected(mock_last_conn(&f.m), NULL, 0);
		fx_run(&f);
	}
	ck_assert_str_eq(f.order, "UDF");
	ck_assert_int_eq(f.failed_err, max ? -ECONNREFUSED : -ECONNABORTED);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CLOSED);
	ck_assert_uint_eq(rtrs_clt_deadline(f.clt), TIME_NEVER);
	fx_deinit(&f);
}
END_TEST

START_TEST(success_resets_the_count_of_attempts)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	f.p.max_reconnect_attempts = 2;
	fx_up(&f);
	for (int i = 0; i < 5; i++) {
		rtrs_clt_path_reset(f.clt, 0);
		fx_run(&f);
		fx_run_at(&f, f.now + SEC(31));
		mock_connect_error(mock_last_conn(&f.m), -ETIMEDOUT);
		fx_run(&f);
		fx_run_at(&f, f.now + SEC(31));
		fx_path_up(&f, 0);
	}
	ck_assert_uint_eq(f.n_up, 6);
	ck_assert_uint_eq(f.n_failed, 0);
	fx_deinit(&f);
}
END_TEST

START_TEST(reconnect_now_ends_the_wait)
{
	struct fx f;

	up(&f, 1);
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	ck_assert_uint_eq(f.m.n_conns, 2);
	rtrs_clt_reconnect_now(f.clt);
	ck_assert_uint_eq(f.m.n_conns, 2);
	fx_run(&f);
	ck_assert_uint_eq(f.m.n_conns, 3);
	/* Nothing to do for a path that is connecting. */
	rtrs_clt_reconnect_now(f.clt);
	fx_run(&f);
	ck_assert_uint_eq(f.m.n_conns, 3);
	fx_deinit(&f);
}
END_TEST

START_TEST(reconnect_now_while_draining)
{
	struct fx f;

	up(&f, 1);
	f.m.auto_close = false;
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	rtrs_clt_reconnect_now(f.clt);
	fx_run(&f);
	ck_assert_uint_eq(f.m.n_conns, 2);
	all_closed(&f, 0, true);
	fx_run(&f);
	ck_assert_uint_eq(f.m.n_conns, 3);
	/* Once: the next failure waits again. */
	mock_connect_error(mock_last_conn(&f.m), -ECONNREFUSED);
	fx_run(&f);
	ck_assert_uint_eq(rtrs_clt_deadline(f.clt), f.now + SEC(31));
	fx_deinit(&f);
}
END_TEST

START_TEST(silent_peer_dies_by_heartbeat)
{
	struct fx f;
	struct fx_req r;

	up(&f, 1);
	submit_read(&f, &r);
	for (int s = 5; s <= 30; s += 5)
		fx_run_at(&f, f.now + SEC(5));
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CONNECTED);
	fx_run_at(&f, f.now + SEC(5));
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_RECONNECTING);
	ck_assert_ptr_nonnull(strstr(rtrs_clt_why_down(f.clt),
				     "silent for 6 heartbeats of 5000 ms"));
	ck_assert_str_eq(f.order, "rD");
	fx_deinit(&f);
}
END_TEST

START_TEST(any_reply_keeps_it_alive)
{
	struct fx f;
	struct fx_req r;

	up(&f, 1);
	for (int s = 0; s < 100; s += 5) {
		f.n_order = 0;
		submit_read(&f, &r);
		fx_run_at(&f, f.now + SEC(5));
		fx_reply(&f, 0, 1, 0, 0);
	}
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CONNECTED);
	fx_deinit(&f);
}
END_TEST

START_TEST(disconnect_says_why)
{
	static const struct {
		int err;
		const char *words;
	} cases[] = {
		{0, "the server closed connection 1"},
		{-EPROTO, "connection 1: protocol violation"},
		{-ETIMEDOUT, "connection 1: the server is silent"},
		{-ECONNRESET, "connection 1 was lost: Connection reset"},
	};
	struct fx f;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		up(&f, 1);
		mock_disconnected(fx_conn(&f, 0, 1), cases[i].err);
		fx_run(&f);
		ck_assert_msg(strstr(rtrs_clt_why_down(f.clt), cases[i].words),
			      "%s", rtrs_clt_why_down(f.clt));
		fx_deinit(&f);
	}
}
END_TEST

START_TEST(reply_before_the_end_counts)
{
	struct fx f;
	struct fx_req r;

	up(&f, 1);
	submit_read(&f, &r);
	mock_disconnected(fx_conn(&f, 0, 0), 0);
	mock_peer_write_imm(fx_conn(&f, 0, 1), rtrs_imm_io_rsp(0, 0, false));
	fx_run(&f);
	ck_assert_int_eq(r.err, 0);
	ck_assert_str_eq(f.order, "rD");
	fx_deinit(&f);
}
END_TEST

START_TEST(replied_write_keeps_its_result_when_the_path_dies)
{
	struct fx f;
	struct fx_req r;

	up(&f, 1);
	f.m.auto_complete = false;
	submit_write(&f, &r);
	fx_reply(&f, 0, 1, 0, -ENOSPC);
	ck_assert_uint_eq(r.n_done, 0);
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	ck_assert_uint_eq(r.n_done, 1);
	ck_assert_int_eq(r.err, -ENOSPC);
	fx_deinit(&f);
}
END_TEST

START_TEST(free_with_requests_out)
{
	struct fx f;
	struct fx_req w, r;

	up(&f, 2);
	submit_write(&f, &w);
	submit_read(&f, &r);
	fx_deinit(&f);
	ck_assert_uint_eq(w.n_done, 1);
	ck_assert_int_eq(w.err, -ECONNABORTED);
	ck_assert_int_eq(r.err, -ECONNABORTED);
	ck_assert_str_eq(f.order, "rr");
}
END_TEST

START_TEST(close_with_requests_out)
{
	struct fx f;
	struct fx_req w, r;

	up(&f, 2);
	f.m.auto_close = false;
	submit_write(&f, &w);
	submit_read(&f, &r);
	rtrs_clt_close(f.clt);
	ck_assert_uint_eq(w.n_done, 0);
	fx_run(&f);
	ck_assert_uint_eq(w.n_done, 0);
	all_closed(&f, 0, true);
	all_closed(&f, 1, true);
	/* No fail-over, and no event for what the caller asked for. */
	ck_assert_str_eq(f.order, "rr");
	ck_assert_int_eq(w.err, -ECONNABORTED);
	ck_assert(rtrs_clt_closed(f.clt));
	fx_deinit(&f);
}
END_TEST

/* ---- queue depth */

START_TEST(other_queue_depth_after_a_restart)
{
	struct fx f;
	struct fx_req r;

	up(&f, 1);
	submit_write(&f, &r);
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	f.rsp.queue_depth = 32;
	f.rsp.max_io_size = 61440;
	fx_run_at(&f, f.now + SEC(31));
	fx_path_up(&f, 0);
	ck_assert_uint_eq(rtrs_clt_queue_depth(f.clt), 32);
	ck_assert_uint_eq(rtrs_clt_max_io_size(f.clt), 61440);
	ck_assert_str_eq(f.order, "rDU");
	submit_write(&f, &r);
	ck_assert_uint_eq(mock_last_send(&f.m)->wr.raddr, CHUNK_ADDR(&f, 0, 0));
	fx_deinit(&f);
}
END_TEST

START_TEST(other_queue_depth_while_permits_are_out)
{
	struct fx f;
	struct rtrs_permit *p;

	up(&f, 1);
	p = rtrs_clt_permit_get(f.clt, RTRS_PERMIT_IO, 0);
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	f.rsp.queue_depth = 32;
	fx_run_at(&f, f.now + SEC(31));
	fx_accept(&f);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CLOSED);
	ck_assert_ptr_nonnull(strstr(f.last_line, "changed from 8 to 32"));
	ck_assert_str_eq(f.order, "DF");
	ck_assert_int_eq(f.failed_err, -EINVAL);
	rtrs_clt_permit_put(f.clt, p);
	fx_deinit(&f);
}
END_TEST

START_TEST(other_queue_depth_while_another_path_is_up)
{
	struct fx f;

	up(&f, 2);
	rtrs_clt_path_reset(f.clt, 1);
	fx_run(&f);
	f.rsp.queue_depth = 32;
	fx_run_at(&f, f.now + SEC(31));
	fx_accept(&f);
	ck_assert_int_eq(fx_state(&f, 1), RTRS_CLT_CLOSED);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CONNECTED);
	ck_assert_str_eq(f.order, "");
	ck_assert_uint_eq(rtrs_clt_queue_depth(f.clt), 8);
	/* For good. */
	fx_run_at(&f, f.now + SEC(1));
	ck_assert_int_eq(fx_state(&f, 1), RTRS_CLT_CLOSED);
	fx_deinit(&f);
}
END_TEST

/* The other path was sized by the old pool and is not gone yet: try later. */
START_TEST(other_queue_depth_while_another_path_drains)
{
	struct fx f;

	up(&f, 2);
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	f.m.auto_close = false;
	fx_run_at(&f, f.now + SEC(31) - SEC(1) / 20);
	rtrs_clt_path_reset(f.clt, 1);
	f.rsp.queue_depth = 32;
	fx_run_at(&f, f.now + SEC(1) / 20);
	f.m.auto_close = true;
	fx_accept(&f);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_RECONNECTING);
	all_closed(&f, 1, false);
	rtrs_clt_reconnect_now(f.clt);
	fx_run(&f);
	for (unsigned cid = 0; cid < 2; cid++)
		for (unsigned p = 0; p < 2; p++)
			fx_accept_conn(&f, fx_conn(&f, p, cid));
	fx_info_rsp(&f, 1);
	fx_info_rsp(&f, 0);
	ck_assert_uint_eq(rtrs_clt_queue_depth(f.clt), 32);
	ck_assert_str_eq(f.order, "DU");
	fx_deinit(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("reconnect");
	TCase *tc = tcase_create("reconnect");

	tcase_add_test(tc, lost_request_ends_only_after_closed);
	tcase_add_test(tc, comes_back_after_delay_and_backoff);
	tcase_add_test(tc, pauses_double_up_to_the_maximum);
	tcase_add_test(tc, unlimited_attempts);
	tcase_add_loop_test(tc, attempts_run_out, 0, 3);
	tcase_add_test(tc, success_resets_the_count_of_attempts);
	tcase_add_test(tc, reconnect_now_ends_the_wait);
	tcase_add_test(tc, reconnect_now_while_draining);
	tcase_add_test(tc, silent_peer_dies_by_heartbeat);
	tcase_add_test(tc, any_reply_keeps_it_alive);
	tcase_add_test(tc, disconnect_says_why);
	tcase_add_test(tc, reply_before_the_end_counts);
	tcase_add_test(tc, replied_write_keeps_its_result_when_the_path_dies);
	tcase_add_test(tc, free_with_requests_out);
	tcase_add_test(tc, close_with_requests_out);
	tcase_add_test(tc, other_queue_depth_after_a_restart);
	tcase_add_test(tc, other_queue_depth_while_permits_are_out);
	tcase_add_test(tc, other_queue_depth_while_another_path_is_up);
	tcase_add_test(tc, other_queue_depth_while_another_path_drains);
	suite_add_tcase(s, tc);
	return fx_main(s);
}
