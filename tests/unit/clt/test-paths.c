/* SPDX-License-Identifier: BSD-3-Clause */
/* Paths that come and go by command, and what counts as an open session. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char usr32[32] = "thirty-two bytes of user message";

struct cmd {
	struct rtrs_clt_path_op op;
	unsigned n_done;
	int err;
	char why[320];
};

static void
cmd_done(struct rtrs_clt_path_op *op, int err, const char *why)
{
	struct cmd *c = container_of(op, struct cmd, op);

	c->n_done++;
	c->err = err;
	snprintf(c->why, sizeof(c->why), "%s", why);
}

static void
cmd_init(struct cmd *c)
{
	*c = (struct cmd){.op.done = cmd_done};
}

static unsigned
id_of(struct fx *f, unsigned i)
{
	struct rtrs_clt_path_info info;

	ck_assert_int_eq(rtrs_clt_path_info(f->clt, i, &info), 0);
	return info.id;
}

/* A session over the first n of two addresses. */
static void
up(struct fx *f, unsigned n)
{
	fx_init(f, CHEAP, 2);
	f->p.n_paths = n;
	fx_up(f);
	f->n_order = 0;
	f->order[0] = '\0';
}

static void
submit_write(struct fx *f, struct fx_req *r)
{
	ck_assert_int_eq(
		fx_submit(f, r, RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 512), 0);
}

/* ---- add */

START_TEST(added_path_takes_requests)
{
	struct fx f;
	struct fx_req r;
	struct cmd c;

	up(&f, 1);
	cmd_init(&c);
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &f.addrs[1], &c.op), 0);
	fx_run(&f);
	ck_assert_uint_eq(c.n_done, 0);
	ck_assert_uint_eq(rtrs_clt_n_paths(f.clt), 2);
	fx_path_up(&f, 1);
	ck_assert_uint_eq(c.n_done, 1);
	ck_assert_int_eq(c.err, 0);
	ck_assert_uint_eq(c.op.path_id, id_of(&f, 1));
	/* No news for who uses the session. */
	ck_assert_str_eq(f.order, "");
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	ck_assert(rtrs_clt_is_up(f.clt));
	submit_write(&f, &r);
	ck_assert_ptr_eq(mock_last_send(&f.m)->conn, fx_conn(&f, 1, 1));
	fx_deinit(&f);
}
END_TEST

START_TEST(added_path_that_fails_is_dropped)
{
	struct fx f;
	struct cmd c;

	up(&f, 1);
	cmd_init(&c);
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &f.addrs[1], &c.op), 0);
	fx_run(&f);
	mock_connect_error(mock_last_conn(&f.m), -ECONNREFUSED);
	fx_run(&f);
	ck_assert_uint_eq(c.n_done, 1);
	ck_assert_int_eq(c.err, -ECONNREFUSED);
	ck_assert_ptr_nonnull(strstr(c.why, "127.0.0.2"));
	ck_assert_ptr_nonnull(strstr(c.why, "refused"));
	ck_assert_uint_eq(rtrs_clt_n_paths(f.clt), 1);
	ck_assert(rtrs_clt_is_up(f.clt));
	/* The address is free again. */
	cmd_init(&c);
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &f.addrs[1], &c.op), 0);
	fx_run(&f);
	fx_path_up(&f, 1);
	ck_assert_int_eq(c.err, 0);
	fx_deinit(&f);
}
END_TEST

START_TEST(what_cannot_be_added)
{
	struct fx f;
	struct cmd c;

	fx_init(&f, CHEAP, 2);
	f.p.n_paths = 1;
	fx_open(&f);
	cmd_init(&c);
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &f.addrs[1], &c.op), -EBUSY);
	fx_path_up(&f, 0);
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &f.addrs[0], &c.op), -EEXIST);
	f.addrs[1].dst_len = 0;
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &f.addrs[1], &c.op), -EINVAL);
	rtrs_clt_close(f.clt);
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &f.addrs[0], &c.op),
			 -ESHUTDOWN);
	ck_assert_uint_eq(c.n_done, 0);
	fx_deinit(&f);
}
END_TEST

START_TEST(closing_ends_a_command)
{
	struct fx f;
	struct cmd c;

	up(&f, 1);
	cmd_init(&c);
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &f.addrs[1], &c.op), 0);
	fx_run(&f);
	rtrs_clt_close(f.clt);
	ck_assert_uint_eq(c.n_done, 0);
	fx_run(&f);
	ck_assert_uint_eq(c.n_done, 1);
	ck_assert_int_eq(c.err, -ECONNABORTED);
	ck_assert(rtrs_clt_closed(f.clt));
	fx_deinit(&f);
}
END_TEST

/* ---- remove */

START_TEST(removed_path_hands_its_requests_over)
{
	struct fx f;
	struct fx_req r;
	struct cmd c;
	unsigned second;

	up(&f, 2);
	second = id_of(&f, 1);
	submit_write(&f, &r);
	ck_assert_ptr_eq(mock_last_send(&f.m)->conn, fx_conn(&f, 0, 1));
	cmd_init(&c);
	ck_assert_int_eq(rtrs_clt_remove_path(f.clt, id_of(&f, 0), &c.op), 0);
	ck_assert_uint_eq(c.n_done, 0);
	fx_run(&f);
	fx_fence_answer(&f, -EEXIST);
	ck_assert_uint_eq(c.n_done, 1);
	ck_assert_int_eq(c.err, 0);
	/* What was second is first now, and is still called the same. */
	ck_assert_uint_eq(rtrs_clt_n_paths(f.clt), 1);
	ck_assert_uint_eq(id_of(&f, 0), second);
	ck_assert_ptr_eq(mock_last_send(&f.m)->conn, fx_conn(&f, 0, 1));
	fx_reply(&f, 0, 1, 0, 0);
	ck_assert_str_eq(f.order, "r");
	ck_assert_int_eq(r.err, 0);
	fx_deinit(&f);
}
END_TEST

START_TEST(last_path_may_go_and_another_come)
{
	struct fx f;
	struct fx_req r;
	struct cmd c;

	up(&f, 1);
	submit_write(&f, &r);
	cmd_init(&c);
	ck_assert_int_eq(rtrs_clt_remove_path(f.clt, id_of(&f, 0), &c.op), 0);
	fx_run(&f);
	ck_assert_int_eq(c.err, 0);
	ck_assert_uint_eq(rtrs_clt_n_paths(f.clt), 0);
	/* Lost with its path; the session is down, not failed. */
	ck_assert_str_eq(f.order, "rD");
	ck_assert_int_eq(r.err, -ECONNABORTED);
	ck_assert(!rtrs_clt_is_up(f.clt));
	cmd_init(&c);
	ck_assert_int_eq(rtrs_clt_add_path(f.clt, &f.addrs[1], &c.op), 0);
	fx_run(&f);
	fx_path_up(&f, 0);
	ck_assert_str_eq(f.order, "rDU");
	ck_assert(rtrs_clt_is_up(f.clt));
	fx_deinit(&f);
}
END_TEST

START_TEST(commands_name_a_path_that_is_there)
{
	struct fx f;
	struct cmd c, d;

	up(&f, 2);
	f.m.auto_close = false;
	cmd_init(&c);
	cmd_init(&d);
	ck_assert_int_eq(rtrs_clt_remove_path(f.clt, 77, &c.op), -ENOENT);
	ck_assert_int_eq(rtrs_clt_disconnect_path(f.clt, id_of(&f, 1), &c.op),
			 0);
	/* One at a time. */
	ck_assert_int_eq(rtrs_clt_reconnect_path(f.clt, id_of(&f, 1), &d.op),
			 -EBUSY);
	for (unsigned i = 0; i < f.p.n_cons; i++)
		mock_closed(fx_conn(&f, 1, i), true);
	fx_run(&f);
	ck_assert_uint_eq(c.n_done, 1);
	ck_assert_uint_eq(d.n_done, 0);
	fx_deinit(&f);
}
END_TEST

/* ---- disconnect, reconnect */

START_TEST(disconnected_path_stays_down)
{
	struct fx f;
	struct rtrs_clt_path_info info;
	struct cmd c;

	up(&f, 1);
	cmd_init(&c);
	ck_assert_int_eq(rtrs_clt_disconnect_path(f.clt, id_of(&f, 0), &c.op),
			 0);
	fx_run(&f);
	ck_assert_uint_eq(c.n_done, 1);
	ck_assert_int_eq(c.err, 0);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CLOSED);
	ck_assert_int_eq(rtrs_clt_path_info(f.clt, 0, &info), 0);
	ck_assert(info.held_down);
	fx_run_at(&f, f.now + SEC(3600));
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CLOSED);
	/* By somebody's will: that is no failure. */
	ck_assert_str_eq(f.order, "D");
	/* Once more says that it is so. */
	cmd_init(&c);
	ck_assert_int_eq(rtrs_clt_disconnect_path(f.clt, id_of(&f, 0), &c.op),
			 0);
	fx_run(&f);
	ck_assert_uint_eq(c.n_done, 1);
	cmd_init(&c);
	ck_assert_int_eq(rtrs_clt_reconnect_path(f.clt, id_of(&f, 0), &c.op),
			 0);
	fx_run(&f);
	ck_assert_uint_eq(c.n_done, 0);
	fx_path_up(&f, 0);
	ck_assert_uint_eq(c.n_done, 1);
	ck_assert_int_eq(c.err, 0);
	ck_assert_str_eq(f.order, "DU");
	fx_deinit(&f);
}
END_TEST

START_TEST(reconnect_does_not_wait_for_the_delay)
{
	struct fx f;
	struct cmd c;

	up(&f, 1);
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_RECONNECTING);
	cmd_init(&c);
	ck_assert_int_eq(rtrs_clt_reconnect_path(f.clt, id_of(&f, 0), &c.op),
			 0);
	fx_run(&f);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CONNECTING);
	fx_path_up(&f, 0);
	ck_assert_int_eq(c.err, 0);
	ck_assert_str_eq(f.order, "DU");
	fx_deinit(&f);
}
END_TEST

START_TEST(reconnect_of_a_path_that_is_up)
{
	struct fx f;
	struct cmd c;

	up(&f, 1);
	f.clt->p.max_reconnect_attempts = 0;
	cmd_init(&c);
	ck_assert_int_eq(rtrs_clt_reconnect_path(f.clt, id_of(&f, 0), &c.op),
			 0);
	fx_run(&f);
	/* Not refused for want of attempts, and not after a delay. */
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CONNECTING);
	mock_connect_error(mock_last_conn(&f.m), -ECONNREFUSED);
	fx_run(&f);
	ck_assert_uint_eq(c.n_done, 1);
	ck_assert_int_eq(c.err, -ECONNREFUSED);
	ck_assert_ptr_nonnull(strstr(c.why, "refused"));
	fx_deinit(&f);
}
END_TEST

START_TEST(reconnect_fails_and_the_path_goes_on)
{
	struct fx f;
	struct cmd c;

	up(&f, 1);
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	cmd_init(&c);
	ck_assert_int_eq(rtrs_clt_reconnect_path(f.clt, id_of(&f, 0), &c.op),
			 0);
	fx_run(&f);
	mock_connect_error(mock_last_conn(&f.m), -ECONNREFUSED);
	fx_run(&f);
	ck_assert_int_eq(c.err, -ECONNREFUSED);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_RECONNECTING);
	fx_run_at(&f, f.now + SEC(31));
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CONNECTING);
	fx_path_up(&f, 0);
	ck_assert_uint_eq(c.n_done, 1);
	fx_deinit(&f);
}
END_TEST

START_TEST(counters_are_reset_but_inflight)
{
	struct fx f;
	struct fx_req r;
	struct rtrs_clt_stats st;

	up(&f, 1);
	submit_write(&f, &r);
	ck_assert_uint_eq(fx_stats(&f, 0).wr_cnt, 1);
	ck_assert_int_eq(rtrs_clt_path_stats_reset(f.clt, id_of(&f, 0)), 0);
	st = fx_stats(&f, 0);
	ck_assert_uint_eq(st.wr_cnt, 0);
	ck_assert_uint_eq(st.wr_bytes, 0);
	ck_assert_uint_eq(st.inflight, 1);
	ck_assert_int_eq(rtrs_clt_path_stats_reset(f.clt, 99), -ENOENT);
	fx_deinit(&f);
}
END_TEST

/* ---- what counts as open */

/* The connections of all paths are asked for at once: the nth of them. */
static struct fabric_conn *
conn(struct fx *f, unsigned n)
{
	ck_assert_uint_lt(n, f->m.n_conns);
	return f->m.conns[n];
}

START_TEST(any_is_open_with_one_path)
{
	struct fx f;

	fx_init(&f, CHEAP, 2);
	f.p.connect = RTRS_CONNECT_ANY;
	fx_open(&f);
	fx_run(&f);
	ck_assert_uint_eq(f.m.n_conns, 2);
	mock_connect_error(conn(&f, 0), -ECONNREFUSED);
	fx_run(&f);
	ck_assert_str_eq(f.order, "");
	fx_accept_conn(&f, conn(&f, 1));
	fx_accept(&f);
	fx_info_rsp(&f, 1);
	ck_assert_str_eq(f.order, "U");
	ck_assert(rtrs_clt_is_up(f.clt));
	/* The other one comes when it can. */
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_RECONNECTING);
	fx_run_at(&f, f.now + SEC(32));
	fx_path_up(&f, 0);
	ck_assert_str_eq(f.order, "U");
	fx_deinit(&f);
}
END_TEST

START_TEST(any_fails_when_all_have)
{
	struct fx f;

	fx_init(&f, CHEAP, 2);
	f.p.connect = RTRS_CONNECT_ANY;
	fx_open(&f);
	fx_run(&f);
	mock_connect_error(conn(&f, 1), -EHOSTUNREACH);
	fx_run(&f);
	ck_assert_str_eq(f.order, "");
	mock_connect_error(conn(&f, 0), -ECONNREFUSED);
	fx_run(&f);
	ck_assert_str_eq(f.order, "F");
	ck_assert_int_eq(f.failed_err, -ECONNREFUSED);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CLOSED);
	ck_assert_int_eq(fx_state(&f, 1), RTRS_CLT_CLOSED);
	fx_deinit(&f);
}
END_TEST

START_TEST(lazy_never_fails_to_open)
{
	struct fx f;

	fx_init(&f, CHEAP, 2);
	f.p.connect = RTRS_CONNECT_LAZY;
	fx_open(&f);
	fx_run(&f);
	mock_connect_error(conn(&f, 0), -ECONNREFUSED);
	mock_connect_error(conn(&f, 1), -ECONNREFUSED);
	fx_run(&f);
	ck_assert_str_eq(f.order, "");
	ck_assert(!rtrs_clt_is_up(f.clt));
	fx_run_at(&f, f.now + SEC(32));
	ck_assert_uint_eq(f.m.n_conns, 4);
	mock_connect_error(conn(&f, 2), -ECONNREFUSED);
	fx_accept_conn(&f, conn(&f, 3));
	fx_accept(&f);
	fx_info_rsp(&f, 1);
	ck_assert_str_eq(f.order, "U");
	fx_deinit(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("paths");
	TCase *tc = tcase_create("paths");

	tcase_add_test(tc, added_path_takes_requests);
	tcase_add_test(tc, added_path_that_fails_is_dropped);
	tcase_add_test(tc, what_cannot_be_added);
	tcase_add_test(tc, closing_ends_a_command);
	tcase_add_test(tc, removed_path_hands_its_requests_over);
	tcase_add_test(tc, last_path_may_go_and_another_come);
	tcase_add_test(tc, commands_name_a_path_that_is_there);
	tcase_add_test(tc, disconnected_path_stays_down);
	tcase_add_test(tc, reconnect_does_not_wait_for_the_delay);
	tcase_add_test(tc, reconnect_of_a_path_that_is_up);
	tcase_add_test(tc, reconnect_fails_and_the_path_goes_on);
	tcase_add_test(tc, counters_are_reset_but_inflight);
	tcase_add_test(tc, any_is_open_with_one_path);
	tcase_add_test(tc, any_fails_when_all_have);
	tcase_add_test(tc, lazy_never_fails_to_open);
	suite_add_tcase(s, tc);
	return fx_main(s);
}
