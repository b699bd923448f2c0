/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <errno.h>
#include <string.h>

static const char usr32[32] = "thirty-two bytes of user message";

static void
up(struct fx *f, unsigned caps, bool inval, uint32_t flags)
{
	fx_init(f, caps, 1);
	f->p.need_inval = inval;
	f->rsp.flags = flags;
	fx_up(f);
	f->n_order = 0;
}

static void
assert_path_failed(struct fx *f, const char *words)
{
	ck_assert_int_ne(fx_state(f, 0), RTRS_CLT_CONNECTED);
	ck_assert_msg(strstr(rtrs_clt_why_down(f->clt), words), "%s",
		      rtrs_clt_why_down(f->clt));
}

static void
keep_done(struct rtrs_clt_req *req, int err)
{
	struct fx_req *r = container_of(req, struct fx_req, req);

	r->n_done++;
	r->err = err;
}

START_TEST(plain_read_has_no_flag_and_no_invalidation)
{
	struct fx f;
	struct fx_req r;
	struct rtrs_msg_req m;
	struct mock_send *s;
	unsigned recvs;

	up(&f, CHEAP, true, 0); /* asked for, but the fabric cannot */
	recvs = fx_conn(&f, 0, 1)->n_recvs;
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_READ, RTRS_PERMIT_IO, usr32, 32, 4096),
		0);
	s = mock_last_send(&f.m);
	ck_assert_int_eq(rtrs_msg_req_decode(s->bytes + 32, s->len - 32, &m),
			 0);
	ck_assert_uint_eq(m.flags, 0);
	ck_assert_uint_eq(m.sg_cnt, 1);
	ck_assert_uint_eq(m.desc.len, 4096);
	ck_assert(mock_peer_write(s->conn, m.desc.addr, m.desc.key, "data", 4));
	fx_reply(&f, 0, 1, 0, 0);
	ck_assert_uint_eq(r.n_done, 1);
	ck_assert_int_eq(r.err, 0);
	ck_assert_mem_eq(r.data, "data", 4);
	ck_assert(!mock_peer_write(s->conn, m.desc.addr, m.desc.key, "x", 1));
	ck_assert_uint_eq(fx_conn(&f, 0, 1)->n_recvs, recvs);
	fx_deinit(&f);
}
END_TEST

START_TEST(bounce_read_and_write)
{
	struct fx f;
	struct fx_req r;
	struct rtrs_msg_req m;
	struct mock_send *s;

	up(&f, 0, true, 0);
	memset(r.data, 0xa5, sizeof(r.data));
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 512),
		0);
	s = mock_last_send(&f.m);
	ck_assert_mem_eq(s->bytes, r.data, 512);
	ck_assert_ptr_ne(s->wr.sge[0].addr, r.data);
	fx_reply(&f, 0, 1, 0, 0);
	ck_assert_uint_eq(r.n_done, 1);

	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_READ, RTRS_PERMIT_IO, usr32, 32, 512),
		0);
	s = mock_last_send(&f.m);
	ck_assert_int_eq(rtrs_msg_req_decode(s->bytes + 32, s->len - 32, &m),
			 0);
	ck_assert_uint_eq(m.flags, 0);
	ck_assert(
		mock_peer_write(s->conn, m.desc.addr, m.desc.key, "answer", 6));
	ck_assert_uint_eq(r.data[0], 0xa5);
	fx_reply(&f, 0, 1, 0, 0);
	ck_assert_mem_eq(r.data, "answer", 6);
	/* Nothing was registered for one request. */
	ck_assert_uint_eq(f.m.live_mrs, 2);
	fx_deinit(&f);
}
END_TEST

START_TEST(failed_bounce_read_leaves_the_buffer_alone)
{
	struct fx f;
	struct fx_req r;

	up(&f, 0, false, 0);
	memset(r.data, 0xa5, sizeof(r.data));
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_READ, RTRS_PERMIT_IO, usr32, 32, 512),
		0);
	fx_reply(&f, 0, 1, 0, -EIO);
	ck_assert_int_eq(r.err, -EIO);
	ck_assert_uint_eq(r.data[0], 0xa5);
	fx_deinit(&f);
}
END_TEST

START_TEST(window_is_bound_ahead_and_ended_by_the_peer)
{
	struct fx f;
	struct fx_req r;
	struct rtrs_msg_req m;
	struct mock_send *s, *bind;

	up(&f, FABRIC_CAP_MW, true, 0);
	ck_assert_uint_eq(f.m.live_mws, 8);
	for (int round = 0; round < 2; round++) {
		ck_assert_int_eq(fx_submit(&f, &r, RTRS_READ, RTRS_PERMIT_IO,
					   usr32, 32, 512),
				 0);
		s = mock_last_send(&f.m);
		bind = s - 1;
		ck_assert_int_eq(bind->wr.op, FABRIC_WR_MW_BIND);
		ck_assert_ptr_eq(bind->conn, s->conn);
		ck_assert_uint_eq(bind->wr.bind_len, 512);
		ck_assert_int_eq(
			rtrs_msg_req_decode(s->bytes + 32, s->len - 32, &m), 0);
		ck_assert_uint_eq(m.flags, RTRS_READ_F_NEED_INVAL);
		ck_assert_uint_eq(m.desc.key, bind->wr.mw->rkey);
		ck_assert(mock_peer_write(s->conn, m.desc.addr, m.desc.key,
					  "answer", 6));
		ck_assert(!mock_peer_write(s->conn, m.desc.addr, m.desc.key,
					   r.data, 513));
		mock_peer_send_inv(s->conn, m.desc.key);
		mock_peer_write_imm(s->conn, rtrs_imm_io_rsp(0, 0, true));
		fx_run(&f);
		ck_assert_uint_eq(r.n_done, 1);
		ck_assert_mem_eq(r.data, "answer", 6);
	}
	/* The bounce buffer as a whole was never open. */
	ck_assert(!mock_is_exposed(&f.m, f.clt->paths[0]->mem.bounce.addr));
	fx_deinit(&f);
}
END_TEST

START_TEST(window_that_the_peer_left_is_ended_first)
{
	struct fx f;
	struct fx_req r;
	struct mock_send *s;

	up(&f, FABRIC_CAP_MW, true, 0);
	f.m.auto_complete = false;
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_READ, RTRS_PERMIT_IO, usr32, 32, 512),
		0);
	fx_reply(&f, 0, 1, 0, -ENOSPC);
	ck_assert_uint_eq(r.n_done, 0);
	s = mock_last_send(&f.m);
	ck_assert_int_eq(s->wr.op, FABRIC_WR_MW_INV);
	ck_assert(s->wr.signaled);
	mock_complete(s);
	fx_run(&f);
	ck_assert_uint_eq(r.n_done, 1);
	ck_assert_int_eq(r.err, -ENOSPC);
	fx_deinit(&f);
}
END_TEST

START_TEST(registration_that_the_peer_left_ends_with_the_request)
{
	struct fx f;
	struct fx_req r;

	up(&f, CHEAP_INV, true, 0);
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_READ, RTRS_PERMIT_IO, usr32, 32, 512),
		0);
	fx_reply(&f, 0, 1, 0, 0); /* done() checks that it is not exposed */
	ck_assert_uint_eq(r.n_done, 1);
	ck_assert_uint_eq(f.m.live_mrs, 1);
	fx_deinit(&f);
}
END_TEST

START_TEST(lent_write_waits_for_its_send)
{
	struct fx f;
	struct fx_req r;
	struct mock_send *s;

	up(&f, CHEAP, false, 0);
	f.m.auto_complete = false;
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 512),
		0);
	s = mock_last_send(&f.m);
	ck_assert(s->wr.signaled);
	ck_assert_ptr_eq(s->wr.sge[0].addr, r.data);
	fx_reply(&f, 0, 1, 0, -EIO);
	ck_assert_uint_eq(r.n_done, 0);
	mock_complete(s);
	fx_run(&f);
	ck_assert_uint_eq(r.n_done, 1);
	ck_assert_int_eq(r.err, -EIO);
	fx_deinit(&f);
}
END_TEST

/* Where it is free to register, nothing is copied at all. */
START_TEST(lent_read_lands_in_the_callers_buffer)
{
	struct fx f;
	struct fx_req r;
	struct rtrs_msg_req m;
	struct mock_send *s;

	up(&f, CHEAP, false, 0);
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_READ, RTRS_PERMIT_IO, usr32, 32, 512),
		0);
	ck_assert(mock_is_exposed(&f.m, r.data));
	s = mock_last_send(&f.m);
	ck_assert_int_eq(rtrs_msg_req_decode(s->bytes + 32, s->len - 32, &m),
			 0);
	ck_assert(mock_peer_write(s->conn, m.desc.addr, m.desc.key, "now", 3));
	ck_assert_mem_eq(r.data, "now", 3);
	fx_reply(&f, 0, 1, 0, 0);
	ck_assert_uint_eq(r.n_done, 1);
	ck_assert(!mock_is_exposed(&f.m, r.data));
	fx_deinit(&f);
}
END_TEST

START_TEST(error_of_the_server_arrives)
{
	static const int errs[] = {-EIO, -ENOSPC, -EOPNOTSUPP, -ENOTCONN};
	struct fx f;
	struct fx_req r;

	up(&f, CHEAP, false, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(errs); i++) {
		ck_assert_int_eq(fx_submit(&f, &r, RTRS_WRITE, RTRS_PERMIT_IO,
					   usr32, 32, 0),
				 0);
		fx_reply(&f, 0, 1, 0, errs[i]);
		ck_assert_int_eq(r.err, errs[i]);
	}
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CONNECTED);
	fx_deinit(&f);
}
END_TEST

/* The caller sends again what ends so: a server could keep it busy for ever. */
START_TEST(server_cannot_say_that_a_request_was_lost)
{
	struct fx f;
	struct fx_req r;

	up(&f, CHEAP, false, 0);
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 0), 0);
	fx_reply(&f, 0, 1, 0, -ECONNABORTED);
	ck_assert_uint_eq(r.n_done, 1);
	ck_assert_int_eq(r.err, -EIO);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CONNECTED);
	fx_deinit(&f);
}
END_TEST

START_TEST(new_rkey_reply_without_message_keeps_the_key)
{
	struct fx f;
	struct fx_req r;

	up(&f, CHEAP, false, RTRS_RSP_F_NEW_RKEY);
	for (int i = 0; i < 40; i++) { /* more often than there are receives */
		ck_assert_int_eq(fx_submit(&f, &r, RTRS_WRITE, RTRS_PERMIT_IO,
					   usr32, 32, 0),
				 0);
		ck_assert_uint_eq(mock_last_send(&f.m)->wr.rkey,
				  CHUNK_KEY(0, 0));
		fx_reply(&f, 0, 1, 0, 0);
		ck_assert_uint_eq(r.n_done, 1);
	}
	fx_deinit(&f);
}
END_TEST

/* ---- limits and arguments */

START_TEST(sizes_of_requests)
{
	struct fx f;
	struct fx_req r;
	/* chunk 8192, header 4096: a write needs 4 bytes of header. */
	static const struct {
		enum rtrs_dir dir;
		uint16_t usr_len;
		uint32_t data_len;
		int err;
	} cases[] = {
		{RTRS_WRITE, 32, 8192 - 36, 0},
		{RTRS_WRITE, 32, 8192 - 35, -EMSGSIZE},
		{RTRS_READ, 32, 8192 - 56, 0},
		{RTRS_READ, 32, 8192 - 55, -EMSGSIZE},
		{RTRS_WRITE, 320, 4096, 0},
		{RTRS_WRITE, 0, 16, 0},
	};

	fx_init(&f, CHEAP, 1);
	f.rsp.max_io_size = 4096;
	fx_up(&f);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		static const char usr[320];

		ck_assert_int_eq(fx_submit(&f, &r, cases[i].dir, RTRS_PERMIT_IO,
					   usr, cases[i].usr_len,
					   cases[i].data_len),
				 cases[i].err);
		if (cases[i].err)
			continue;
		fx_reply(&f, 0, 1, 0, 0);
		ck_assert_uint_eq(r.n_done, 1);
	}
	ck_assert_uint_eq(f.m.live_mrs, 1);
	fx_deinit(&f);
}
END_TEST

START_TEST(header_size_of_the_server)
{
	struct fx f;
	struct fx_req r;
	static const char usr[320];

	fx_init(&f, CHEAP, 1);
	f.rsp.max_hdr_size = 512;
	f.rsp.max_io_size = 7680;
	fx_up(&f);
	/* The greatest that we take fits the least that we accept. */
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_READ, RTRS_PERMIT_IO, usr, 320, 7680),
		0);
	fx_deinit(&f);
	ck_assert_int_eq(r.err, -ECONNABORTED);
}
END_TEST

START_TEST(bounce_buffers_bound_the_data)
{
	struct fx f;
	struct fx_req r;

	fx_init(&f, 0, 1);
	f.rsp.max_io_size = 4096;
	fx_up(&f);
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 4097),
		-EMSGSIZE);
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 4096),
		0);
	fx_deinit(&f);
}
END_TEST

START_TEST(wrong_arguments)
{
	struct fx f;
	struct rtrs_permit other = {.id = 0};
	struct rtrs_clt_req ok, req;
	struct fx_req r;

	up(&f, CHEAP, false, 0);
	ok = (struct rtrs_clt_req){
		.dir = RTRS_WRITE,
		.permit = rtrs_clt_permit_get(f.clt, RTRS_PERMIT_IO, 0),
		.usr = usr32,
		.usr_len = 32,
		.done = keep_done,
	};
#define REFUSED(field, value)                                                  \
	do {                                                                   \
		req = ok;                                                      \
		req.field = value;                                             \
		ck_assert_int_eq(rtrs_clt_submit(f.clt, &req), -EINVAL);       \
	} while (0)
	REFUSED(permit, NULL);
	REFUSED(permit, &other);
	REFUSED(usr, NULL);
	REFUSED(usr_len, RTRS_USR_LEN_MAX + 1);
	REFUSED(done, NULL);
	REFUSED(data_len, 1);
	REFUSED(dir, (enum rtrs_dir)7);
#undef REFUSED
	/* A permit that is out already. */
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 0), 0);
	ok.permit = r.req.permit;
	ck_assert_int_eq(rtrs_clt_submit(f.clt, &ok), -EINVAL);
	fx_deinit(&f);
}
END_TEST

START_TEST(submit_that_cannot_post)
{
	struct fx f;
	struct fx_req r;

	up(&f, CHEAP, false, 0);
	f.m.post_send_err = -ENOTCONN;
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_READ, RTRS_PERMIT_IO, usr32, 32, 512),
		-ECONNABORTED);
	ck_assert_uint_eq(f.m.live_mrs, 1);
	f.m.post_send_err = 0;
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_READ, RTRS_PERMIT_IO, usr32, 32, 512),
		-ECONNABORTED);
	fx_run(&f);
	ck_assert_uint_eq(r.n_done, 0);
	ck_assert_uint_eq(f.n_down, 1);
	fx_deinit(&f);
}
END_TEST

START_TEST(no_memory_to_register_spares_the_path)
{
	struct fx f;
	struct fx_req r;

	up(&f, CHEAP, false, 0);
	f.m.mr_reg_err = -ENOMEM;
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_READ, RTRS_PERMIT_IO, usr32, 32, 512),
		-ENOMEM);
	fx_run(&f);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CONNECTED);
	fx_deinit(&f);
}
END_TEST

START_TEST(failed_send_fails_the_path)
{
	struct fx f;
	struct fx_req r;

	up(&f, CHEAP, false, 0);
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_READ, RTRS_PERMIT_IO, usr32, 32, 512),
		0);
	mock_fail_send(mock_last_send(&f.m));
	fx_run(&f);
	assert_path_failed(&f, "connection 1: work request failed");
	ck_assert_int_eq(r.err, -ECONNABORTED);
	fx_deinit(&f);
}
END_TEST

/* ---- queues */

START_TEST(user_message_is_copied)
{
	struct fx f;
	struct fx_req r;
	char usr[32];

	fx_init(&f, CHEAP, 2);
	fx_up(&f);
	memcpy(usr, usr32, 32);
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_WRITE, RTRS_PERMIT_IO, usr, 32, 0), 0);
	memset(usr, 0, sizeof(usr));
	/* Even for the path that takes it over. */
	rtrs_clt_path_reset(f.clt, 0);
	fx_run(&f);
	fx_fence_answer(&f, -EEXIST);
	ck_assert_ptr_eq(mock_last_send(&f.m)->conn, fx_conn(&f, 1, 1));
	ck_assert_mem_eq(mock_last_send(&f.m)->bytes, usr32, 32);
	fx_deinit(&f);
}
END_TEST

START_TEST(offset_bits_are_those_of_the_servers_depth)
{
	struct fx f;
	struct fx_req r[2];

	fx_init(&f, CHEAP, 1);
	f.rsp.queue_depth = 64;
	f.p.max_queue_depth = 4;
	fx_up(&f);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(fx_submit(&f, &r[i], RTRS_WRITE,
					   RTRS_PERMIT_IO, usr32, 32, 0),
				 0);
	ck_assert_uint_eq(mock_last_send(&f.m)->wr.imm, 1u << 22 | 32);
	ck_assert_uint_eq(mock_last_send(&f.m)->wr.raddr, CHUNK_ADDR(&f, 0, 1));
	fx_deinit(&f);
}
END_TEST

START_TEST(connections_by_hint)
{
	struct fx f;
	struct fx_req r = {.f = &f};

	fx_init(&f, CHEAP, 1);
	f.p.n_cons = 4;
	fx_up(&f);
	for (unsigned hint = 0; hint < 7; hint++) {
		r.req = (struct rtrs_clt_req){
			.dir = RTRS_WRITE,
			.permit = rtrs_clt_permit_get(f.clt, RTRS_PERMIT_IO,
						      hint),
			.usr = usr32,
			.usr_len = 32,
			.done = keep_done,
		};
		ck_assert_int_eq(rtrs_clt_submit(f.clt, &r.req), 0);
		ck_assert_ptr_eq(mock_last_send(&f.m)->conn,
				 fx_conn(&f, 0, 1 + hint % 3));
		fx_reply(&f, 0, 1 + hint % 3, 0, 0);
		rtrs_clt_permit_put(f.clt, r.req.permit);
	}
	ck_assert_uint_eq(r.n_done, 7);
	fx_deinit(&f);
}
END_TEST

START_TEST(send_queue_is_signalled_in_time)
{
	struct fx f;
	struct fx_req r;
	unsigned n, signalled = 0;

	up(&f, CHEAP, false, 0);
	n = f.m.n_sends;
	/* The mock refuses more than max_send_wr without completion. */
	for (int i = 0; i < 400; i++) {
		f.n_order = 0;
		ck_assert_int_eq(fx_submit(&f, &r, RTRS_READ, RTRS_PERMIT_IO,
					   usr32, 32, 512),
				 0);
		fx_reply(&f, 0, 1, 0, 0);
		ck_assert_uint_eq(r.n_done, 1);
	}
	for (; n < f.m.n_sends; n++)
		signalled += f.m.sends[n].wr.signaled;
	ck_assert_uint_ge(signalled,
			  400 / (fx_conn(&f, 0, 1)->max_send_wr / 2));
	ck_assert_uint_le(signalled, 40);
	ck_assert_uint_lt(f.clt->paths[0]->cons[1].sq_used,
			  fx_conn(&f, 0, 1)->max_send_wr / 2);
	fx_deinit(&f);
}
END_TEST

START_TEST(submit_from_done_does_not_recurse)
{
	struct fx f;
	struct fx_req r[6];

	up(&f, CHEAP, false, 0);
	for (int i = 0; i < 6; i++) {
		ck_assert_int_eq(fx_submit(&f, &r[i], RTRS_READ, RTRS_PERMIT_IO,
					   usr32, 32, 512),
				 0);
		r[i].again = 3;
	}
	for (int round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 6; i++)
			mock_peer_write_imm(fx_conn(&f, 0, 1),
					    rtrs_imm_io_rsp(i, 0, false));
		fx_run(&f);
	}
	for (int i = 0; i < 6; i++)
		ck_assert_uint_eq(r[i].n_done, 4);
	ck_assert_uint_eq(fx_stats(&f, 0).inflight, 0);
	fx_deinit(&f);
}
END_TEST

START_TEST(statistics)
{
	struct fx f;
	struct fx_req r[3];
	struct rtrs_clt_stats st;

	up(&f, CHEAP, false, 0);
	fx_submit(&f, &r[0], RTRS_READ, RTRS_PERMIT_IO, usr32, 32, 512);
	fx_submit(&f, &r[1], RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 1024);
	fx_submit(&f, &r[2], RTRS_WRITE, RTRS_PERMIT_ADMIN, usr32, 8, 0);
	st = fx_stats(&f, 0);
	ck_assert_uint_eq(st.rd_cnt, 1);
	ck_assert_uint_eq(st.rd_bytes, 544);
	ck_assert_uint_eq(st.wr_cnt, 2);
	ck_assert_uint_eq(st.wr_bytes, 1064);
	ck_assert_uint_eq(st.inflight, 3);
	fx_reply(&f, 0, 1, 0, 0);
	ck_assert_uint_eq(fx_stats(&f, 0).inflight, 2);
	fx_deinit(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("req");
	TCase *tc = tcase_create("req");

	tcase_add_test(tc, plain_read_has_no_flag_and_no_invalidation);
	tcase_add_test(tc, bounce_read_and_write);
	tcase_add_test(tc, failed_bounce_read_leaves_the_buffer_alone);
	tcase_add_test(tc, window_is_bound_ahead_and_ended_by_the_peer);
	tcase_add_test(tc, window_that_the_peer_left_is_ended_first);
	tcase_add_test(tc,
		       registration_that_the_peer_left_ends_with_the_request);
	tcase_add_test(tc, lent_write_waits_for_its_send);
	tcase_add_test(tc, lent_read_lands_in_the_callers_buffer);
	tcase_add_test(tc, error_of_the_server_arrives);
	tcase_add_test(tc, server_cannot_say_that_a_request_was_lost);
	tcase_add_test(tc, new_rkey_reply_without_message_keeps_the_key);
	tcase_add_test(tc, sizes_of_requests);
	tcase_add_test(tc, header_size_of_the_server);
	tcase_add_test(tc, bounce_buffers_bound_the_data);
	tcase_add_test(tc, wrong_arguments);
	tcase_add_test(tc, submit_that_cannot_post);
	tcase_add_test(tc, no_memory_to_register_spares_the_path);
	tcase_add_test(tc, failed_send_fails_the_path);
	tcase_add_test(tc, user_message_is_copied);
	tcase_add_test(tc, offset_bits_are_those_of_the_servers_depth);
	tcase_add_test(tc, connections_by_hint);
	tcase_add_test(tc, send_queue_is_signalled_in_time);
	tcase_add_test(tc, submit_from_done_does_not_recurse);
	tcase_add_test(tc, statistics);
	suite_add_tcase(s, tc);
	return fx_main(s);
}
