/* SPDX-License-Identifier: BSD-3-Clause */
/* What was out on a lost path is sent again when it cannot be executed late. */
#include "fixture.h"

#include <errno.h>
#include <string.h>

#define MSEC(n) ((uint64_t)(n)*NSEC_PER_MSEC)

static const char usr32[32] = "thirty-two bytes of user message";

static void
up(struct fx *f, struct fx_req *r)
{
	fx_init(f, CHEAP, 2);
	fx_up(f);
	f->n_order = 0;
	f->order[0] = '\0';
	f->m.confirmed = false;
	ck_assert_int_eq(
		fx_submit(f, r, RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 512), 0);
	ck_assert_ptr_eq(mock_last_send(&f->m)->conn, fx_conn(f, 0, 1));
}

static void
lose(struct fx *f, unsigned p)
{
	rtrs_clt_path_reset(f->clt, p);
	fx_run(f);
}

static struct rtrs_msg_conn_req
conn_req(const struct fabric_conn *c)
{
	struct rtrs_msg_conn_req m;

	ck_assert_int_eq(rtrs_msg_conn_req_decode(c->priv, c->priv_len, &m), 0);
	return m;
}

/* The connection by which the server is asked about path 0. */
static struct fabric_conn *
probe(struct fx *f)
{
	struct fabric_conn *c = mock_last_conn(&f->m);
	struct rtrs_msg_conn_req m = conn_req(c);
	unsigned recon_cnt = f->clt->paths[0]->recon_cnt;

	/* What the path itself is about must not be taken for older. */
	if (fx_state(f, 0) == RTRS_CLT_CONNECTING)
		recon_cnt--;
	ck_assert_mem_eq(&m.path_uuid, &f->clt->paths[0]->uuid,
			 sizeof(m.path_uuid));
	ck_assert_mem_eq(&m.sess_uuid, &f->clt->uuid, sizeof(m.sess_uuid));
	ck_assert_uint_eq(m.recon_cnt, recon_cnt);
	ck_assert_uint_eq(m.cid, 0);
	/* It must not make a session where there is none. */
	ck_assert(!m.first_conn);
	ck_assert_mem_eq(&c->dst, &f->addrs[1].dst, f->addrs[1].dst_len);
	return c;
}

static void
answer(struct fx *f, int err)
{
	probe(f);
	fx_fence_answer(f, err);
}

static void
check_resent(struct fx *f, struct fx_req *r)
{
	ck_assert_ptr_eq(mock_last_send(&f->m)->conn, fx_conn(f, 1, 1));
	fx_reply(f, 1, 1, 0, 0);
	ck_assert_str_eq(f->order, "r");
	ck_assert_int_eq(r->err, 0);
}

/* Each of these says that nothing of it is left. */
START_TEST(sent_again_when_the_server_says_so)
{
	static const int errs[] = {-EEXIST, -ENXIO, -EBUSY};
	struct fx f;
	struct fx_req r;
	unsigned n, n_conns;

	up(&f, &r);
	n = f.m.n_sends;
	n_conns = f.m.n_conns;
	lose(&f, 0);
	fx_run_at(&f, f.now + MSEC(99));
	ck_assert_uint_eq(f.m.n_conns, n_conns);
	ck_assert_uint_eq(rtrs_clt_deadline(f.clt), f.now + MSEC(1));
	fx_run_at(&f, f.now + MSEC(1));
	ck_assert_uint_eq(f.m.n_conns, n_conns + 1);
	ck_assert_uint_eq(f.m.n_sends, n);
	/* Others need not wait. */
	ck_assert(rtrs_clt_is_up(f.clt));
	answer(&f, errs[_i]);
	check_resent(&f, &r);
	fx_deinit(&f);
}
END_TEST

START_TEST(accepted_says_so_too)
{
	struct rtrs_msg_conn_rsp rsp;
	uint8_t buf[RTRS_CONN_RSP_LEN];
	struct fx f;
	struct fx_req r;

	up(&f, &r);
	lose(&f, 0);
	fx_run_at(&f, f.now + MSEC(100));
	rsp = f.rsp;
	rtrs_msg_conn_rsp_encode(&rsp, buf);
	mock_established(probe(&f), buf, sizeof(buf));
	fx_run(&f);
	check_resent(&f, &r);
	fx_deinit(&f);
}
END_TEST

/* Both ends have closed it, and its requests may be at work still. */
START_TEST(asked_at_once_when_confirmed)
{
	struct fx f;
	struct fx_req r;
	unsigned n, n_conns;

	up(&f, &r);
	n = f.m.n_sends;
	n_conns = f.m.n_conns;
	f.m.confirmed = true;
	lose(&f, 0);
	ck_assert_uint_eq(f.m.n_conns, n_conns + 1);
	ck_assert_uint_eq(f.m.n_sends, n);
	/* A kernel server waits for its disk. */
	answer(&f, -ECONNRESET);
	fx_run_at(&f, f.now + MSEC(249));
	ck_assert_uint_eq(f.m.n_conns, n_conns + 1);
	fx_run_at(&f, f.now + MSEC(1));
	answer(&f, -EEXIST);
	check_resent(&f, &r);
	ck_assert_uint_eq(f.m.n_conns, n_conns + 2);
	fx_deinit(&f);
}
END_TEST

/* A kernel server has the path until its own heartbeats end it. */
START_TEST(asked_until_it_is_gone)
{
	struct fx f;
	struct fx_req r;
	unsigned n;

	up(&f, &r);
	n = f.m.n_sends;
	lose(&f, 0);
	fx_run_at(&f, f.now + MSEC(100));
	for (int i = 0; i < 15; i++) {
		answer(&f, -ECONNRESET);
		ck_assert_uint_eq(f.m.n_sends, n);
		fx_run_at(&f, f.now + MSEC(250));
	}
	mock_connect_error(probe(&f), -ETIMEDOUT);
	fx_run(&f);
	fx_run_at(&f, f.now + MSEC(250));
	answer(&f, -EEXIST);
	check_resent(&f, &r);
	fx_deinit(&f);
}
END_TEST

START_TEST(not_for_ever)
{
	struct fx f;
	struct fx_req r;
	uint64_t lost;
	unsigned n;

	up(&f, &r);
	f.clt->p.quiesce_ms = 4000;
	n = f.m.n_sends;
	lost = f.now;
	lose(&f, 0);
	fx_run_at(&f, lost + MSEC(100));
	probe(&f); /* stays without an answer */
	fx_run_at(&f, lost + SEC(4) - 1);
	ck_assert_uint_eq(f.m.n_sends, n);
	ck_assert_uint_eq(rtrs_clt_deadline(f.clt), lost + SEC(4));
	fx_run_at(&f, lost + SEC(4));
	ck_assert_ptr_nonnull(strstr(f.last_line, "nothing confirms"));
	check_resent(&f, &r);
	fx_deinit(&f);
}
END_TEST

/* With the last path they are the caller's, who learns of a link only when he
 * may send them again. */
START_TEST(link_waits_for_the_fence)
{
	struct fx f;
	struct fx_req r;

	up(&f, &r);
	lose(&f, 0);
	lose(&f, 1);
	fx_run_at(&f, f.now + MSEC(100));
	ck_assert_str_eq(f.order, "rD");
	ck_assert_int_eq(r.err, -ECONNABORTED);
	rtrs_clt_reconnect_now(f.clt);
	fx_run(&f);
	for (unsigned cid = 0; cid < 2; cid++)
		fx_accept_conn(&f, fx_conn(&f, 1, cid));
	fx_info_rsp(&f, 1);
	ck_assert_int_eq(fx_state(&f, 1), RTRS_CLT_CONNECTED);
	ck_assert_str_eq(f.order, "rD");
	ck_assert(!rtrs_clt_is_up(f.clt));
	/* Path 0 itself is asked for first. */
	fx_run_at(&f, f.now + MSEC(100));
	answer(&f, -EEXIST);
	ck_assert_str_eq(f.order, "rDU");
	fx_deinit(&f);
}
END_TEST

/* A server takes the larger number for the newer attempt, and ends the other.
 */
START_TEST(asking_does_not_end_an_attempt)
{
	struct rtrs_msg_conn_req lost, attempt, asks;
	struct fabric_conn *cid0;
	struct fx f;
	struct fx_req r;

	up(&f, &r);
	lost = conn_req(fx_conn(&f, 0, 0));
	if (_i) {
		/* It was asked for before that attempt, too. */
		lose(&f, 0);
		fx_run_at(&f, f.now + MSEC(100));
		lost = conn_req(probe(&f));
		fx_fence_answer(&f, -ECONNRESET);
	} else {
		lose(&f, 0);
	}
	lose(&f, 1);
	fx_run_at(&f, f.now + MSEC(100));
	rtrs_clt_reconnect_now(f.clt);
	fx_run(&f);
	cid0 = fx_conn(&f, 0, 0);
	attempt = conn_req(cid0);
	for (unsigned cid = 0; cid < 2; cid++)
		fx_accept_conn(&f, fx_conn(&f, 1, cid));
	fx_info_rsp(&f, 1);
	for (int i = 0; i < 3; i++) {
		fx_run_at(&f, f.now + MSEC(250));
		asks = conn_req(probe(&f));
		ck_assert_uint_gt(asks.recon_cnt, lost.recon_cnt);
		ck_assert_uint_lt(asks.recon_cnt, attempt.recon_cnt);
		fx_fence_answer(&f, -ECONNRESET);
	}
	ck_assert_str_eq(f.order, "rD");
	fx_accept_conn(&f, cid0);
	ck_assert_str_eq(f.order, "rDU");
	ck_assert_uint_eq(conn_req(fx_conn(&f, 0, 1)).recon_cnt,
			  attempt.recon_cnt);
	fx_accept_conn(&f, fx_conn(&f, 0, 1));
	fx_info_rsp(&f, 0);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CONNECTED);
	fx_deinit(&f);
}
END_TEST

START_TEST(connected_again_is_fenced)
{
	struct fx f;
	struct fx_req r;

	up(&f, &r);
	lose(&f, 0);
	lose(&f, 1);
	fx_run_at(&f, f.now + MSEC(100));
	rtrs_clt_reconnect_now(f.clt);
	fx_run(&f);
	for (unsigned cid = 0; cid < 2; cid++)
		fx_accept_conn(&f, fx_conn(&f, 0, cid));
	fx_info_rsp(&f, 0);
	ck_assert_str_eq(f.order, "rDU");
	fx_deinit(&f);
}
END_TEST

START_TEST(route_is_lost_meanwhile)
{
	struct fx f;
	struct fx_req r;

	up(&f, &r);
	lose(&f, 0);
	fx_run_at(&f, f.now + MSEC(100));
	probe(&f);
	lose(&f, 1);
	fx_run(&f);
	ck_assert_str_eq(f.order, "rD");
	ck_assert_int_eq(r.err, -ECONNABORTED);
	fx_deinit(&f);
}
END_TEST

/* It is forgotten when that cannot hurt any more. */
START_TEST(removed_path)
{
	struct rtrs_clt_path_op op = {0};
	struct fx f;
	struct fx_req r;

	up(&f, &r);
	lose(&f, 0);
	fx_run_at(&f, f.now + MSEC(100));
	f.clt->paths[0]->removing = true;
	ck_assert_uint_eq(rtrs_clt_n_paths(f.clt), 2);
	clt_path_close(f.clt->paths[0]);
	fx_run(&f);
	ck_assert_uint_eq(rtrs_clt_n_paths(f.clt), 2);
	answer(&f, -EEXIST);
	ck_assert_uint_eq(rtrs_clt_n_paths(f.clt), 1);
	ck_assert_ptr_null(op.done);
	ck_assert_ptr_eq(mock_last_send(&f.m)->conn, fx_conn(&f, 1, 1));
	fx_deinit(&f);
}
END_TEST

START_TEST(freed_while_it_asks)
{
	struct fx f;
	struct fx_req r;

	up(&f, &r);
	lose(&f, 0);
	fx_run_at(&f, f.now + MSEC(100));
	probe(&f);
	if (_i) {
		rtrs_clt_close(f.clt);
		fx_run(&f);
		ck_assert(rtrs_clt_closed(f.clt));
	}
	fx_deinit(&f);
	ck_assert_str_eq(f.order, "r");
}
END_TEST

/* A server that does not close is not waited for. */
START_TEST(silent_server)
{
	struct fx f;
	struct fx_req r;

	up(&f, &r);
	f.m.auto_close = false;
	lose(&f, 0);
	lose(&f, 1);
	fx_run_at(&f, f.now + MSEC(99));
	ck_assert_str_eq(f.order, "");
	fx_run_at(&f, f.now + MSEC(1));
	ck_assert_str_eq(f.order, "rD");
	fx_deinit(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("clt/fence");
	TCase *tc = tcase_create("fence");

	tcase_add_loop_test(tc, sent_again_when_the_server_says_so, 0, 3);
	tcase_add_test(tc, accepted_says_so_too);
	tcase_add_test(tc, asked_at_once_when_confirmed);
	tcase_add_test(tc, asked_until_it_is_gone);
	tcase_add_test(tc, not_for_ever);
	tcase_add_test(tc, link_waits_for_the_fence);
	tcase_add_loop_test(tc, asking_does_not_end_an_attempt, 0, 2);
	tcase_add_test(tc, connected_again_is_fenced);
	tcase_add_test(tc, route_is_lost_meanwhile);
	tcase_add_test(tc, removed_path);
	tcase_add_loop_test(tc, freed_while_it_asks, 0, 2);
	tcase_add_test(tc, silent_server);
	suite_add_tcase(s, tc);
	return fx_main(s);
}
