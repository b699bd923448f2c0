/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of paths and sessions: INFO_REQ, heartbeats, teardown. */
#include "tests/unit/srv/fixture.h"

#include <sys/mman.h>

#include "rtrs/srv/srv-priv.h"

static const uint8_t usr[8] = "request";
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
setup_mw(void)
{
	const struct rtrs_srv_params sp = {.always_invalidate = true};

	start(FABRIC_CAP_MW_PD, &sp);
}

static void
setup_shared(void)
{
	start(FABRIC_CAP_SHARED_RECV, NULL);
}

static void
setup_mw_without(void)
{
	const struct rtrs_srv_params sp = {.always_invalidate = true};

	start(0, &sp);
}

static void
teardown(void)
{
	fx_fini(&f);
}

START_TEST(every_pair_of_the_table)
{
	static const char *const names[] = {"CONNECTING", "CONNECTED",
					    "CLOSING", "CLOSED"};
	static const bool want[4][4] = {
		{false, true, true, false},
		{false, false, true, false},
		{false, false, false, true},
		{false, false, false, false},
	};

	for (unsigned i = 0; i < 4; i++)
		for (unsigned j = 0; j < 4; j++)
			ck_assert_msg(srv_path_state_legal(i, j) == want[i][j],
				      "%u -> %u", i, j);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_str_eq(rtrs_srv_path_state_name(i), names[i]);
	ck_assert_str_eq(rtrs_srv_path_state_name(4), "?");
	/* What is no state leads nowhere. */
	ck_assert(!srv_path_state_legal(RTRS_SRV_CLOSED + 1, RTRS_SRV_CLOSED));
}
END_TEST

/* --- INFO_REQ */

START_TEST(info_req_brings_path_and_session_up)
{
	struct rtrs_srv_path_info info;

	fx_path_up(&a);
	ck_assert_uint_eq(f.ups, 1);
	ck_assert_str_eq(f.name, "clt1-srv1");
	ck_assert_str_eq(rtrs_srv_sess_name(f.sess), "clt1-srv1");
	ck_assert_mem_eq(&f.addrs.peer, &a.con[0]->addrs.peer,
			 sizeof(f.addrs.peer));
	ck_assert(fx_path_info(&f, 0, &info));
	ck_assert_int_eq(info.state, RTRS_SRV_CONNECTED);
	ck_assert_uint_eq(info.n_cons, 2);
	ck_assert_str_eq(info.sess_name, "clt1-srv1");
	ck_assert_ptr_eq(info.fabric, &f.m.ops);
	ck_assert_uint_eq(info.chunk_mem, 2 * CHUNK);
	/* This fabric pins; and so little does not take huge pages. */
	ck_assert_str_eq(info.chunk_pages, "plain");
	/* One region, one descriptor. */
	ck_assert_uint_eq(a.sg_cnt, 1);
	ck_assert_uint_eq(a.desc[0].addr, MOCK_RADDR);
	ck_assert_uint_eq(a.desc[0].key, MOCK_KEY(0));
	ck_assert_uint_eq(a.desc[0].len, 2 * CHUNK);
	/* INFO_RSP is signalled, from registered memory (the mock checks). */
	ck_assert(a.con[0]->sent[0].wr.signaled);
	ck_assert_uint_eq(a.con[0]->n_sent, 1);
}
END_TEST

START_TEST(info_req_may_come_before_established)
{
	fx_connect(&a, 0);
	fx_connect(&a, 1);
	fx_info_req(&a, "x");
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CONNECTED);
	mock_event(a.con[0], FABRIC_EV_ESTABLISHED, 0);
	fx_run(&f);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CONNECTED);
}
END_TEST

START_TEST(info_req_needs_all_cids)
{
	fx_connect(&a, 0);
	fx_info_req(&a, "x");
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(f.ups, 0);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}
END_TEST

static void
send_info_bytes(size_t len, unsigned at, uint8_t value)
{
	struct rtrs_msg_info_req msg = {.name = "name"};
	uint8_t buf[RTRS_INFO_REQ_LEN];

	rtrs_msg_info_req_encode(&msg, buf);
	buf[at] = value;
	fx_connect_all(&a);
	mock_send(a.con[0], buf, len);
	fx_run(&f);
	ck_assert(a.con[0]->disconnected);
	ck_assert(a.con[1]->disconnected);
	ck_assert_uint_eq(f.ups, 0);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}

START_TEST(info_req_too_short)
{
	send_info_bytes(RTRS_INFO_REQ_LEN - 1, 0, 0);
}
END_TEST

START_TEST(info_req_of_another_type)
{
	send_info_bytes(RTRS_INFO_REQ_LEN, 0, 1);
}
END_TEST

START_TEST(info_req_with_a_slash)
{
	send_info_bytes(RTRS_INFO_REQ_LEN, 3, '/');
}
END_TEST

START_TEST(info_req_with_a_dot)
{
	send_info_bytes(RTRS_INFO_REQ_LEN, 3, '.');
}
END_TEST

START_TEST(info_req_without_a_name)
{
	send_info_bytes(RTRS_INFO_REQ_LEN, 2, 0);
}
END_TEST

START_TEST(write_into_the_receive_of_info_req)
{
	fx_connect_all(&a);
	fx_imm(&a, 0, rtrs_imm_hb_msg());
	ck_assert(a.con[0]->disconnected);
}
END_TEST

START_TEST(second_info_req)
{
	const struct fabric_wc wc = {.op = FABRIC_WC_OP_RECV,
				     .byte_len = RTRS_INFO_REQ_LEN};

	fx_path_up(&a);
	mock_wc(a.con[0], &wc);
	fx_run(&f);
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(f.downs, 1);
}
END_TEST

START_TEST(name_refused_by_the_upper_layer)
{
	f.sess_up_err = -EPERM;
	fx_connect_all(&a);
	fx_info_req(&a, "taken");
	ck_assert(a.con[0]->disconnected && a.con[1]->disconnected);
	ck_assert_uint_eq(a.con[0]->n_sent, 0);
	ck_assert_uint_eq(f.downs, 0);
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 0);
	ck_assert_uint_eq(f.gones, 1);
}
END_TEST

START_TEST(name_of_a_second_path_refused)
{
	fx_path_up(&a);
	fx_connect_all(&b);
	f.sess_up_err = -EPERM;
	fx_info_req(&b, "other");
	ck_assert(b.con[0]->disconnected);
	ck_assert(!a.con[0]->disconnected);
	ck_assert_uint_eq(f.downs, 0);
	ck_assert_str_eq(rtrs_srv_sess_name(f.sess), "clt1-srv1");
	f.sess_up_err = 0;
}
END_TEST

START_TEST(name_that_is_not_allowed_is_told_by_the_upper_layer)
{
	f.sess_up_err = -EACCES;
	fx_connect_all(&a);
	fx_info_req(&a, "secret");
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(f.warnings, 0);
	ck_assert_ptr_nonnull(strstr(f.last_close, "Permission denied"));
}
END_TEST

static bool
is_up_from(void *user, const struct rtrs_srv_path_info *info)
{
	return info->state == RTRS_SRV_CONNECTED &&
	       rtrs_addr_same_host(user, &info->addrs.peer);
}

START_TEST(paths_close_one_by_one)
{
	struct sockaddr_storage none = {.ss_family = AF_UNIX}, peer;
	struct rtrs_srv_path_info info;

	fx_path_up(&a);
	ck_assert(fx_path_info(&f, 0, &info));
	peer = info.addrs.peer;
	fx_path_up(&b);
	ck_assert_uint_eq(rtrs_srv_close_paths(f.srv, is_up_from, &none), 0);
	ck_assert_uint_eq(rtrs_srv_close_paths(f.srv, is_up_from, &peer), 1);
	ck_assert(a.con[0]->disconnected);
	ck_assert(!b.con[0]->disconnected);
	/* Not twice, though it is still there. */
	ck_assert_uint_eq(rtrs_srv_close_paths(f.srv, is_up_from, &peer), 0);
	fx_run(&f);
	ck_assert_uint_eq(f.downs, 0);
	ck_assert_uint_eq(fx_n_paths(&f), 1);
	ck_assert_int_eq(f.counted, 1);
}
END_TEST

START_TEST(closed_from_within_sess_up)
{
	f.close_in_up = true;
	fx_connect_all(&a);
	fx_info_req(&a, "x");
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(f.ups, 1);
	ck_assert_uint_eq(f.downs, 1);
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 0);
}
END_TEST

START_TEST(no_region_takes_the_session_down_again)
{
	fx_connect_all(&a);
	f.m.err_mr_reg = -ENOMEM;
	fx_info_req(&a, "x");
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(f.ups, 1);
	ck_assert_uint_eq(f.downs, 1);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
	ck_assert_ptr_nonnull(
		strstr(f.last_close, "no chunks: Cannot allocate memory"));
}
END_TEST

START_TEST(no_region_in_the_words_of_the_fabric)
{
	fx_connect_all(&a);
	f.m.err_mr_reg = -ENOMEM;
	f.m.pd_why = "the limit is 64 KiB";
	fx_info_req(&a, "x");
	ck_assert(a.con[0]->disconnected);
	ck_assert_ptr_nonnull(
		strstr(f.last_close, "no chunks: the limit is 64 KiB"));
}
END_TEST

START_TEST(no_send_of_info_rsp)
{
	fx_connect_all(&a);
	f.m.err_post_send = -ENOTCONN;
	fx_info_req(&a, "x");
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(f.downs, 1);
}
END_TEST

START_TEST(no_info_req_in_time)
{
	uint64_t t0;

	fx_connect(&a, 0);
	fx_until(&f, f.now + SEC(20));
	t0 = f.now;
	/* It counts from the last connection. */
	fx_connect(&a, 1);
	fx_until(&f, t0 + SEC(30) - 1);
	ck_assert(!a.con[0]->disconnected);
	fx_until(&f, t0 + SEC(30));
	ck_assert(a.con[0]->disconnected && a.con[1]->disconnected);
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 0);
	ck_assert_uint_eq(rtrs_srv_deadline(f.srv), TIME_NEVER);
}
END_TEST

START_TEST(take_after_a_long_sleep_starts_its_time_now)
{
	/* Nothing called progress for a minute. */
	f.now += SEC(60);
	fx_connect(&a, 0);
	fx_until(&f, f.now + SEC(29));
	ck_assert(!a.con[0]->disconnected);
}
END_TEST

START_TEST(info_req_waits_until_the_session_is_down)
{
	f.down_later = true;
	fx_path_up(&a);
	fx_connect_all(&b);
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	ck_assert_uint_eq(f.downs, 1);
	fx_info_req(&b, "again");
	fx_until(&f, f.now + SEC(100)); /* held: not its fault */
	ck_assert_uint_eq(f.ups, 1);
	ck_assert_uint_eq(mock_unseen(b.con[0]), 0);
	rtrs_srv_sess_down_done(f.sess);
	fx_run(&f);
	ck_assert_uint_eq(f.ups, 2);
	ck_assert_str_eq(rtrs_srv_sess_name(f.sess), "again");
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CONNECTED);
	/* The session object was the same all the time. */
	ck_assert_uint_eq(f.gones, 0);
	f.down_later = false;
}
END_TEST

START_TEST(windows_one_descriptor_per_chunk)
{
	fx_path_up(&a);
	ck_assert_uint_eq(a.rsp.flags, RTRS_RSP_F_NEW_RKEY);
	ck_assert_uint_eq(a.sg_cnt, 2);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(a.desc[i].addr, MOCK_RADDR + i * CHUNK);
		ck_assert_uint_eq(a.desc[i].key, MOCK_KEY(i));
		ck_assert_uint_eq(a.desc[i].len, CHUNK);
	}
	/* The key over all of it is not for the peer. */
	ck_assert(!mock_key_valid(&f.m, MOCK_KEY(0), MOCK_RADDR, CHUNK + 1));
}
END_TEST

/* The first connection brings the receives of all, that of INFO_REQ first. */
START_TEST(shared_receives_are_posted_once)
{
	struct mock_conn *c = fx_connect(&a, 1);

	ck_assert_uint_eq(c->n_recvs, 2);
	ck_assert_uint_eq(c->recvs[0].len, RTRS_INFO_REQ_LEN);
	ck_assert_ptr_null(c->recvs[1].addr);
	ck_assert_uint_eq(c->recvs[1].count, 2 + SRV_SHARED_SPARE);
	ck_assert_uint_eq(c->max_recv_wr, 3 + SRV_SHARED_SPARE);
	c = fx_connect(&a, 0);
	ck_assert_uint_eq(c->n_recvs, 0);
}
END_TEST

/* Somebody else's message lies where INFO_REQ belongs. */
START_TEST(shared_info_req_is_connection_0s)
{
	struct mock_conn *c = fx_connect(&a, 1);

	fx_connect(&a, 0);
	mock_send(c, (uint8_t[RTRS_INFO_REQ_LEN]){0}, RTRS_INFO_REQ_LEN);
	fx_run(&f);
	ck_assert(c->disconnected);
	ck_assert_uint_eq(f.ups, 0);
}
END_TEST

START_TEST(small_queues_are_worked_with)
{
	f.m.limit_wr = SRV_SQ_MIN;
	fx_path_up(&a);
	/* Two and the spare would be more, but for the limit. */
	ck_assert_uint_eq(a.con[1]->recvs[0].count, 2);
	ck_assert_uint_le(a.con[0]->recvs[0].count, SRV_SQ_MIN - 1);
}
END_TEST

START_TEST(tiny_queues_are_refused_in_words)
{
	f.m.limit_wr = SRV_SQ_MIN - 1;
	fx_connect(&a, 0);
	fx_run(&f);
	ck_assert(a.con[0]->disconnected);
	ck_assert_ptr_nonnull(strstr(f.last_close,
				     "mock0 grants queues of 31 and 31 work "
				     "requests, queue depth 2 needs 32 and 2: "
				     "use a smaller queue depth"));
}
END_TEST

START_TEST(windows_need_room_to_be_opened)
{
	f.m.limit_wr = SRV_SQ_MIN + 1;
	fx_connect(&a, 0);
	fx_run(&f);
	ck_assert(a.con[0]->disconnected);
	ck_assert_ptr_nonnull(strstr(f.last_close, "needs 34 and 2"));
}
END_TEST

START_TEST(no_window_no_path)
{
	fx_connect_all(&a);
	f.m.err_mw_new = -ENOMEM;
	fx_info_req(&a, "x");
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(f.downs, 1);
}
END_TEST

START_TEST(windows_wanted_but_not_there)
{
	fx_path_up(&a);
	fx_path_up(&b);
	ck_assert_uint_eq(a.rsp.flags, 0);
	ck_assert_uint_eq(a.sg_cnt, 1);
	ck_assert_uint_eq(f.warnings, 1);
	ck_assert_ptr_nonnull(strstr(f.last_warning, "mock"));
}
END_TEST

/* --- sessions of several paths */

START_TEST(session_lives_as_long_as_one_path)
{
	fx_path_up(&a);
	fx_path_up(&b);
	ck_assert_uint_eq(f.ups, 2); /* each path asks */
	mock_event(a.con[1], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	ck_assert_uint_eq(fx_n_paths(&f), 1);
	ck_assert_uint_eq(f.downs, 0);
	mock_event(b.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	ck_assert_uint_eq(f.downs, 1);
	ck_assert_uint_eq(f.gones, 1);
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 0);
}
END_TEST

START_TEST(sess_close_closes_all_paths)
{
	fx_path_up(&a);
	fx_path_up(&b);
	rtrs_srv_sess_close(f.sess);
	ck_assert(a.con[0]->disconnected && b.con[1]->disconnected);
	fx_run(&f);
	ck_assert_uint_eq(f.downs, 1);
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 0);
}
END_TEST

START_TEST(a_path_that_never_was_up_takes_nothing_down)
{
	fx_connect_all(&a);
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, -ECONNRESET);
	fx_run(&f);
	ck_assert_uint_eq(f.downs, 0);
	ck_assert_uint_eq(f.gones, 1);
}
END_TEST

/* --- teardown */

START_TEST(disconnected_is_answered_on_all_connections)
{
	f.m.auto_close = false;
	fx_path_up(&a);
	mock_event(a.con[1], FABRIC_EV_DISCONNECTED, 0);
	/* One call of progress, no more. */
	rtrs_srv_progress(f.srv, f.now);
	ck_assert(a.con[0]->disconnected && a.con[1]->disconnected);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CLOSING);
	fx_until(&f, f.now + SEC(100));
	ck_assert(!a.con[0]->freed);
	mock_event(a.con[0], FABRIC_EV_CLOSED, 0);
	fx_run(&f);
	ck_assert(a.con[0]->freed && !a.con[1]->freed);
	/* A connection is left that may still write. */
	ck_assert(mock_key_valid(&f.m, a.key[0], a.addr[0], CHUNK));
	mock_event(a.con[1], FABRIC_EV_CLOSED, 0);
	fx_run(&f);
	ck_assert(!mock_key_valid(&f.m, a.key[0], a.addr[0], CHUNK));
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}
END_TEST

START_TEST(late_answer_is_dropped_and_memory_stays)
{
	fx_path_up(&a);
	fx_write(&a, 1, 1, usr, 8, usr, 8);
	a.con[1]->seen = a.con[1]->n_sent;
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	ck_assert(a.con[0]->freed && a.con[1]->freed);
	ck_assert_uint_eq(f.m.n_mrs, 0);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CLOSING);
	ck_assert_uint_eq(f.downs, 0);
	/* It is still the upper layer's, to the last byte. */
	ck_assert_mem_eq(f.ops[0]->data, usr, 8);
	ck_assert_mem_eq(f.ops[0]->usr, usr, 8);
	memset(f.ops[0]->data, 1, 8);
	rtrs_srv_op_done(f.ops[0], 0);
	ck_assert_uint_eq(mock_unseen(a.con[1]), 0);
	fx_run(&f);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
	ck_assert_uint_eq(f.downs, 1);
}
END_TEST

START_TEST(session_down_after_the_last_answer_of_any_path)
{
	fx_path_up(&a);
	fx_path_up(&b);
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	fx_write(&b, 1, 1, NULL, 0, usr, 8);
	rtrs_srv_sess_close(f.sess);
	fx_run(&f);
	rtrs_srv_op_done(f.ops[0], 0);
	fx_run(&f);
	ck_assert_uint_eq(f.downs, 0);
	rtrs_srv_op_done(f.ops[1], 0);
	fx_run(&f);
	ck_assert_uint_eq(f.downs, 1);
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), 0);
}
END_TEST

START_TEST(close_waits_for_what_executes)
{
	struct fx_reply r;

	fx_path_up(&a);
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	rtrs_srv_close(f.srv);
	fx_run(&f);
	ck_assert(!a.con[1]->disconnected);
	/* Nothing more is taken; the end of the path is its answer. */
	fx_write(&a, 1, 1, NULL, 0, usr, 8);
	ck_assert_uint_eq(f.n_ops, 1);
	rtrs_srv_op_done(f.ops[0], 0);
	fx_reply(&a, 1, &r);
	ck_assert_uint_eq(r.msg_id, 0);
	ck_assert_int_eq(r.err, 0);
	fx_run(&f);
	ck_assert(a.con[1]->disconnected);
	ck_assert_uint_eq(f.downs, 1);
	ck_assert(rtrs_srv_closed(f.srv));
}
END_TEST

START_TEST(close_does_not_wait_for_ever)
{
	fx_path_up(&a);
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	rtrs_srv_close(f.srv);
	fx_until(&f, f.now + SEC(10) - 1);
	ck_assert(!a.con[1]->disconnected);
	fx_until(&f, f.now + 1);
	ck_assert(a.con[1]->disconnected);
	/* Its memory is in use until the request has ended. */
	ck_assert(!rtrs_srv_closed(f.srv));
	rtrs_srv_op_done(f.ops[0], 0);
	fx_run(&f);
	ck_assert(rtrs_srv_closed(f.srv));
}
END_TEST

START_TEST(close_does_not_wait_for_an_idle_path)
{
	fx_path_up(&a);
	fx_connect(&b, 0);
	rtrs_srv_close(f.srv);
	fx_run(&f);
	ck_assert(a.con[0]->disconnected && b.con[0]->disconnected);
	ck_assert(rtrs_srv_closed(f.srv));
}
END_TEST

START_TEST(flushed_completion_closes)
{
	const struct fabric_wc wc = {.status = FABRIC_WC_FLUSHED};

	fx_path_up(&a);
	mock_wc(a.con[1], &wc);
	fx_run(&f);
	ck_assert(a.con[0]->disconnected);
}
END_TEST

/* Receives are flushed before the event is seen, whatever its reason. */
START_TEST(a_peer_that_leaves_in_order_is_no_warning)
{
	const struct fabric_wc wc = {.status = FABRIC_WC_FLUSHED};

	fx_path_up(&a);
	mock_wc(a.con[1], &wc);
	mock_wc(a.con[0], &wc);
	mock_event(a.con[1], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(f.warnings, 0);
	ck_assert_ptr_nonnull(strstr(f.last_close, "peer left"));
}
END_TEST

/* Its last request came, but nothing can be posted any more. */
START_TEST(a_request_right_before_the_peer_leaves_is_no_warning)
{
	fx_path_up(&a);
	f.m.err_post_recv = -ENOTCONN;
	mock_event(a.con[1], FABRIC_EV_DISCONNECTED, 0);
	fx_imm(&a, 1, rtrs_imm_hb_msg());
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(f.warnings, 0);
	ck_assert_ptr_nonnull(strstr(f.last_close, "peer left"));
}
END_TEST

START_TEST(a_peer_that_breaks_the_rules_is_a_warning)
{
	fx_path_up(&a);
	mock_event(a.con[1], FABRIC_EV_DISCONNECTED, -EPROTO);
	fx_run(&f);
	ck_assert_uint_eq(f.warnings, 1);
}
END_TEST

START_TEST(a_connection_that_is_dead_without_an_event)
{
	fx_path_up(&a);
	f.m.err_post_recv = -ENOTCONN;
	fx_imm(&a, 1, rtrs_imm_hb_msg());
	ck_assert(a.con[0]->disconnected);
	ck_assert_ptr_nonnull(strstr(f.last_close, "is gone"));
}
END_TEST

START_TEST(failed_completion_closes)
{
	const struct fabric_wc wc = {.status = FABRIC_WC_ERROR};

	fx_path_up(&a);
	mock_wc(a.con[0], &wc);
	fx_run(&f);
	ck_assert(a.con[1]->disconnected);
	ck_assert_uint_eq(f.downs, 1);
}
END_TEST

START_TEST(unexpected_closed_event)
{
	fx_path_up(&a);
	a.con[1]->disconnected = true;
	mock_event(a.con[1], FABRIC_EV_CLOSED, 0);
	fx_run(&f);
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}
END_TEST

START_TEST(a_key_that_will_not_die_keeps_its_memory)
{
	uint8_t *mem;
	unsigned char there;

	fx_path_up(&a);
	mem = f.srv->paths->chunks.mem;
	f.m.err_mr_dereg = -EBUSY;
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	ck_assert_ptr_nonnull(strstr(f.last_warning, "stay mapped"));
	ck_assert_uint_eq(fx_n_paths(&f), 0);
	ck_assert_int_eq(mincore(mem, 1, &there), 0);
}
END_TEST

/* --- heartbeats */

static void
expect_hb(struct mock_conn *c, uint32_t imm)
{
	const struct mock_sent *s = mock_next_sent(c);

	ck_assert_ptr_nonnull(s);
	ck_assert_int_eq(s->wr.op, FABRIC_WR_RDMA_WRITE_WITH_IMM);
	ck_assert_uint_eq(s->wr.imm, imm);
	ck_assert_uint_eq(s->wr.num_sge, 0);
	ck_assert_uint_eq(s->wr.raddr, 0);
	ck_assert_uint_eq(s->wr.rkey, 0);
}

START_TEST(hb_msg_is_acknowledged_on_cid_0)
{
	fx_path_up(&a);
	fx_imm(&a, 0, 0x80000000);
	expect_hb(a.con[0], 0x90000000);
	fx_imm(&a, 1, 0x80000000 | 77); /* payload is ignored */
	expect_hb(a.con[0], 0x90000000);
	ck_assert_uint_eq(mock_unseen(a.con[1]), 0);
	ck_assert_uint_eq(mock_n_recvs(a.con[0]), 512);
	ck_assert_uint_eq(mock_n_recvs(a.con[1]), 2);
}
END_TEST

START_TEST(silent_peer_dies_at_35s)
{
	struct rtrs_srv_counts c;
	uint64_t t0 = f.now;

	fx_path_up(&a);
	fx_until(&f, t0 + SEC(5));
	expect_hb(a.con[0], 0x80000000);
	fx_until(&f, t0 + SEC(35) - 1);
	ck_assert_uint_eq(mock_unseen(a.con[0]), 0);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CONNECTED);
	fx_until(&f, t0 + SEC(35));
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(f.downs, 1);
	rtrs_srv_counts(f.srv, &c);
	ck_assert_uint_eq(c.hb_timeouts, 1);
}
END_TEST

START_TEST(the_round_trip_is_told)
{
	struct rtrs_srv_path_info info;

	fx_path_up(&a);
	ck_assert(fx_path_info(&f, 0, &info));
	ck_assert_uint_eq(info.hb_latency_ns, 0);
	fx_until(&f, f.now + SEC(5));
	expect_hb(a.con[0], 0x80000000);
	f.now += 1234567;
	fx_imm(&a, 0, 0x90000000);
	ck_assert(fx_path_info(&f, 0, &info));
	ck_assert_uint_eq(info.hb_latency_ns, 1234567);
}
END_TEST

START_TEST(any_immediate_keeps_a_path_alive)
{
	fx_path_up(&a);
	f.auto_done = true;
	for (int i = 0; i < 20; i++) {
		fx_until(&f, f.now + SEC(20));
		if (i % 3 == 0)
			fx_imm(&a, 0, 0x90000000);
		else if (i % 3 == 1)
			fx_imm(&a, 1, 0x50000000); /* of unknown type */
		else
			fx_write(&a, 1, 0, NULL, 0, usr, 8);
	}
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CONNECTED);
}
END_TEST

START_TEST(hb_post_fails)
{
	fx_path_up(&a);
	f.m.err_post_send = -ENOTCONN;
	fx_imm(&a, 0, 0x80000000);
	ck_assert(a.con[1]->disconnected);
}
END_TEST

START_TEST(unknown_immediates_are_ignored_and_logged_once)
{
	fx_path_up(&a);
	for (unsigned type = 1; type < 16; type++)
		if (type != RTRS_IMM_HB_MSG && type != RTRS_IMM_HB_ACK)
			fx_imm(&a, 1, type << 28 | 5);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CONNECTED);
	ck_assert_uint_eq(f.warnings, 1);
	ck_assert_uint_eq(mock_n_recvs(a.con[1]), 2);
	ck_assert_uint_eq(mock_unseen(a.con[0]), 0);
}
END_TEST

START_TEST(hb_before_the_path_is_up_is_not_answered)
{
	fx_connect_all(&a);
	fx_imm(&a, 1, 0x80000000);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CONNECTING);
	ck_assert_uint_eq(mock_unseen(a.con[0]), 0);
}
END_TEST

START_TEST(no_timers_no_deadline)
{
	ck_assert_uint_eq(rtrs_srv_deadline(f.srv), TIME_NEVER);
	fx_path_up(&a);
	ck_assert_uint_eq(rtrs_srv_deadline(f.srv), f.now + SEC(5));
	ck_assert(!rtrs_srv_arm(f.srv));
	rtrs_srv_sess_close(f.sess);
	/* Work to do is a reason not to sleep. */
	ck_assert(rtrs_srv_arm(f.srv));
	ck_assert_uint_eq(rtrs_srv_deadline(f.srv), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("srv/path");
	TCase *tc = tcase_create("path");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, every_pair_of_the_table);
	tcase_add_test(tc, info_req_brings_path_and_session_up);
	tcase_add_test(tc, info_req_may_come_before_established);
	tcase_add_test(tc, info_req_needs_all_cids);
	tcase_add_test(tc, info_req_too_short);
	tcase_add_test(tc, info_req_of_another_type);
	tcase_add_test(tc, info_req_with_a_slash);
	tcase_add_test(tc, info_req_with_a_dot);
	tcase_add_test(tc, info_req_without_a_name);
	tcase_add_test(tc, write_into_the_receive_of_info_req);
	tcase_add_test(tc, second_info_req);
	tcase_add_test(tc, name_refused_by_the_upper_layer);
	tcase_add_test(tc, name_of_a_second_path_refused);
	tcase_add_test(tc, name_that_is_not_allowed_is_told_by_the_upper_layer);
	tcase_add_test(tc, paths_close_one_by_one);
	tcase_add_test(tc, closed_from_within_sess_up);
	tcase_add_test(tc, no_region_takes_the_session_down_again);
	tcase_add_test(tc, no_region_in_the_words_of_the_fabric);
	tcase_add_test(tc, no_send_of_info_rsp);
	tcase_add_test(tc, no_info_req_in_time);
	tcase_add_test(tc, take_after_a_long_sleep_starts_its_time_now);
	tcase_add_test(tc, info_req_waits_until_the_session_is_down);
	tcase_add_test(tc, session_lives_as_long_as_one_path);
	tcase_add_test(tc, sess_close_closes_all_paths);
	tcase_add_test(tc, a_path_that_never_was_up_takes_nothing_down);
	tcase_add_test(tc, disconnected_is_answered_on_all_connections);
	tcase_add_test(tc, late_answer_is_dropped_and_memory_stays);
	tcase_add_test(tc, session_down_after_the_last_answer_of_any_path);
	tcase_add_test(tc, close_waits_for_what_executes);
	tcase_add_test(tc, close_does_not_wait_for_ever);
	tcase_add_test(tc, close_does_not_wait_for_an_idle_path);
	tcase_add_test(tc, flushed_completion_closes);
	tcase_add_test(tc, small_queues_are_worked_with);
	tcase_add_test(tc, tiny_queues_are_refused_in_words);
	tcase_add_test(tc, a_peer_that_leaves_in_order_is_no_warning);
	tcase_add_test(tc,
		       a_request_right_before_the_peer_leaves_is_no_warning);
	tcase_add_test(tc, a_peer_that_breaks_the_rules_is_a_warning);
	tcase_add_test(tc, a_connection_that_is_dead_without_an_event);
	tcase_add_test(tc, failed_completion_closes);
	tcase_add_test(tc, unexpected_closed_event);
	tcase_add_test(tc, a_key_that_will_not_die_keeps_its_memory);
	tcase_add_test(tc, hb_msg_is_acknowledged_on_cid_0);
	tcase_add_test(tc, silent_peer_dies_at_35s);
	tcase_add_test(tc, the_round_trip_is_told);
	tcase_add_test(tc, any_immediate_keeps_a_path_alive);
	tcase_add_test(tc, hb_post_fails);
	tcase_add_test(tc, unknown_immediates_are_ignored_and_logged_once);
	tcase_add_test(tc, hb_before_the_path_is_up_is_not_answered);
	tcase_add_test(tc, no_timers_no_deadline);
	suite_add_tcase(s, tc);
	tc = tcase_create("windows");
	tcase_add_checked_fixture(tc, setup_mw, teardown);
	tcase_add_test(tc, windows_one_descriptor_per_chunk);
	tcase_add_test(tc, no_window_no_path);
	tcase_add_test(tc, windows_need_room_to_be_opened);
	tcase_add_test(tc, late_answer_is_dropped_and_memory_stays);
	suite_add_tcase(s, tc);
	tc = tcase_create("shared receives");
	tcase_add_checked_fixture(tc, setup_shared, teardown);
	tcase_add_test(tc, shared_receives_are_posted_once);
	tcase_add_test(tc, shared_info_req_is_connection_0s);
	suite_add_tcase(s, tc);
	tc = tcase_create("without windows");
	tcase_add_checked_fixture(tc, setup_mw_without, teardown);
	tcase_add_test(tc, windows_wanted_but_not_there);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
