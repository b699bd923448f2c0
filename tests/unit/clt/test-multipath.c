/* SPDX-License-Identifier: BSD-3-Clause */
/* Several paths: fail-over, the events of the link, policies. */
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

START_TEST(requests_fail_over_after_closed)
{
	struct fx f;
	struct fx_req w, r;
	struct mock_send *s;
	struct rtrs_msg_req m;
	unsigned n;

	up(&f, 2);
	f.m.auto_close = false;
	memset(w.data, 0xa5, sizeof(w.data));
	submit_write(&f, &w);
	ck_assert_ptr_eq(mock_last_send(&f.m)->conn, fx_conn(&f, 0, 1));
	rtrs_clt_set_policy(f.clt, RTRS_MP_ROUND_ROBIN);
	submit_read(&f, &r);
	ck_assert_ptr_eq(mock_last_send(&f.m)->conn, fx_conn(&f, 0, 1));
	n = f.m.n_sends;
	mock_disconnected(fx_conn(&f, 0, 0), -ETIMEDOUT);
	fx_run(&f);
	ck_assert_uint_eq(f.m.n_sends, n);
	all_closed(&f, 0, true);
	ck_assert_uint_eq(f.m.n_sends, n);
	fx_fence_answer(&f, -EEXIST);
	ck_assert_uint_eq(f.m.n_sends, n + 2);
	ck_assert_str_eq(f.order, "");
	ck_assert(rtrs_clt_is_up(f.clt));
	/* The same permits, the chunks and keys of the other path. */
	s = &f.m.sends[n];
	ck_assert_ptr_eq(s->conn, fx_conn(&f, 1, 1));
	ck_assert_uint_eq(s->wr.raddr, CHUNK_ADDR(&f, 1, 0));
	ck_assert_uint_eq(s->wr.rkey, CHUNK_KEY(1, 0));
	ck_assert_mem_eq(s->bytes, w.data, 512);
	ck_assert_mem_eq(s->bytes + 512, usr32, 32);
	s = &f.m.sends[n + 1];
	ck_assert_uint_eq(s->wr.raddr, CHUNK_ADDR(&f, 1, 1) + 512);
	ck_assert_int_eq(rtrs_msg_req_decode(s->bytes + 32, s->len - 32, &m),
			 0);
	ck_assert(mock_peer_write(s->conn, m.desc.addr, m.desc.key, "late", 4));
	fx_reply(&f, 1, 1, 1, 0);
	fx_reply(&f, 1, 1, 0, 0);
	ck_assert_str_eq(f.order, "rr");
	ck_assert_int_eq(w.err | r.err, 0);
	ck_assert_mem_eq(r.data, "late", 4);
	ck_assert_uint_eq(fx_stats(&f, 1).failovers, 2);
	ck_assert_uint_eq(fx_stats(&f, 0).inflight, 0);
	fx_deinit(&f);
}
END_TEST

START_TEST(bounced_write_fails_over_with_its_data)
{
	struct fx f;
	struct fx_req w;
	struct mock_send *s;

	fx_init(&f, 0, 2);
	fx_up(&f);
	memset(w.data, 0x77, sizeof(w.data));
	submit_write(&f, &w);
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	fx_fence_answer(&f, -EEXIST);
	s = mock_last_send(&f.m);
	ck_assert_ptr_eq(s->conn, fx_conn(&f, 1, 1));
	ck_assert_mem_eq(s->bytes, w.data, 512);
	fx_deinit(&f);
}
END_TEST

START_TEST(request_that_fits_no_other_path_is_reported)
{
	struct fx f;
	struct fx_req w;

	fx_init(&f, CHEAP, 2);
	fx_open(&f);
	fx_path_up(&f, 0);
	f.rsp.max_io_size = 4096;
	fx_path_up(&f, 1);
	f.n_order = 0;
	ck_assert_int_eq(
		fx_submit(&f, &w, RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 8192),
		0);
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	fx_fence_answer(&f, -EEXIST);
	ck_assert_str_eq(f.order, "r");
	ck_assert_int_eq(w.err, -ECONNABORTED);
	fx_deinit(&f);
}
END_TEST

START_TEST(link_down_after_the_requests_of_all_paths)
{
	struct fx f;
	struct fx_req a, b;

	up(&f, 2);
	f.m.auto_close = false;
	submit_write(&f, &a);
	submit_write(&f, &b);
	ck_assert_ptr_eq(mock_last_send(&f.m)->conn, fx_conn(&f, 1, 1));
	mock_disconnected(fx_conn(&f, 0, 0), 0);
	mock_disconnected(fx_conn(&f, 1, 0), 0);
	fx_run(&f);
	all_closed(&f, 0, true);
	ck_assert_str_eq(f.order, "r");
	ck_assert_uint_eq(a.n_done, 1);
	all_closed(&f, 1, true);
	ck_assert_str_eq(f.order, "rrD");
	fx_deinit(&f);
}
END_TEST

/*
 * No path was up for a moment, so the server may have closed its devices: the
 * caller hears of it even though another path came up before the first was
 * quiet, and nothing is sent in between.
 */
START_TEST(gap_is_told_even_if_another_path_closes_it)
{
	struct fx f;
	struct fx_req a, b;

	up(&f, 2);
	rtrs_clt_path_reset(f.clt, 1);
	fx_run(&f);
	fx_run_at(&f, f.now + SEC(31));
	submit_write(&f, &a);
	f.m.auto_close = false;
	rtrs_clt_path_reset(f.clt, 0);
	fx_path_up(&f, 1);
	ck_assert(!rtrs_clt_is_up(f.clt));
	ck_assert_str_eq(f.order, "");
	ck_assert_int_eq(
		fx_submit(&f, &b, RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 0),
		-ECONNABORTED);
	all_closed(&f, 0, true);
	ck_assert_str_eq(f.order, "rD");
	fx_fence_answer(&f, -EEXIST);
	ck_assert_str_eq(f.order, "rDU");
	ck_assert_int_eq(a.err, -ECONNABORTED);
	submit_write(&f, &b);
	fx_deinit(&f);
}
END_TEST

START_TEST(failed_only_when_all_paths_are_given_up)
{
	struct fx f;

	fx_init(&f, CHEAP, 2);
	f.p.max_reconnect_attempts = 0;
	fx_up(&f);
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CLOSED);
	ck_assert_str_eq(f.order, "U");
	mock_disconnected(fx_conn(&f, 1, 0), -ETIMEDOUT);
	fx_run(&f);
	ck_assert_str_eq(f.order, "UDF");
	ck_assert_int_eq(f.failed_err, -ETIMEDOUT);
	fx_deinit(&f);
}
END_TEST

/* ---- policies */

static unsigned
path_of_next(struct fx *f, struct fx_req *r)
{
	ck_assert_int_eq(
		fx_submit(f, r, RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 0), 0);
	return r->req.path->idx;
}

START_TEST(round_robin_skips_what_is_down)
{
	struct fx f;
	struct fx_req r[6];
	static const unsigned want[] = {0, 1, 2, 0, 2, 0};

	up(&f, 3);
	rtrs_clt_set_policy(f.clt, RTRS_MP_ROUND_ROBIN);
	for (int i = 0; i < 6; i++) {
		if (i == 4) {
			rtrs_clt_path_reset(f.clt, 1);
			f.m.auto_close = false;
		}
		ck_assert_uint_eq(path_of_next(&f, &r[i]), want[i]);
	}
	fx_deinit(&f);
}
END_TEST

START_TEST(min_inflight_takes_the_least_loaded)
{
	struct fx f;
	struct fx_req r[5];

	up(&f, 2);
	ck_assert_uint_eq(path_of_next(&f, &r[0]), 0);
	ck_assert_uint_eq(path_of_next(&f, &r[1]), 1);
	ck_assert_uint_eq(path_of_next(&f, &r[2]), 0);
	fx_reply(&f, 0, 1, 0, 0);
	fx_reply(&f, 0, 1, 2, 0);
	ck_assert_uint_eq(path_of_next(&f, &r[3]), 0);
	ck_assert_uint_eq(path_of_next(&f, &r[4]), 0);
	fx_deinit(&f);
}
END_TEST

START_TEST(min_latency_prefers_the_unmeasured_then_the_quick)
{
	struct fx f;
	struct fx_req r[3];

	up(&f, 2);
	rtrs_clt_set_policy(f.clt, RTRS_MP_MIN_LATENCY);
	fx_run_at(&f, f.now + SEC(5));
	f.now += 1000;
	mock_peer_write_imm(fx_conn(&f, 0, 0), rtrs_imm_hb_ack());
	fx_run(&f);
	ck_assert_uint_eq(path_of_next(&f, &r[0]), 1);
	f.now += 1000;
	mock_peer_write_imm(fx_conn(&f, 1, 0), rtrs_imm_hb_ack());
	fx_run(&f);
	ck_assert_uint_eq(path_of_next(&f, &r[1]), 0);
	ck_assert_uint_eq(path_of_next(&f, &r[2]), 0);
	fx_deinit(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("multipath");
	TCase *tc = tcase_create("multipath");

	tcase_add_test(tc, requests_fail_over_after_closed);
	tcase_add_test(tc, bounced_write_fails_over_with_its_data);
	tcase_add_test(tc, request_that_fits_no_other_path_is_reported);
	tcase_add_test(tc, link_down_after_the_requests_of_all_paths);
	tcase_add_test(tc, gap_is_told_even_if_another_path_closes_it);
	tcase_add_test(tc, failed_only_when_all_paths_are_given_up);
	tcase_add_test(tc, round_robin_skips_what_is_down);
	tcase_add_test(tc, min_inflight_takes_the_least_loaded);
	tcase_add_test(tc, min_latency_prefers_the_unmeasured_then_the_quick);
	suite_add_tcase(s, tc);
	return fx_main(s);
}
