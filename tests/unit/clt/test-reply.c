/* SPDX-License-Identifier: BSD-3-Clause */
/* Replies and other messages, above all those that a peer must not send. */
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

enum rkey_fault {
	WRONG_TYPE,
	WRONG_ID,
	OUT_OF_RANGE,
	TOO_SHORT,
	N_RKEY_FAULTS
};

START_TEST(malformed_rkey_rsp)
{
	struct fx f;
	struct fx_req r;
	uint8_t buf[8];
	struct rtrs_msg_rkey_rsp m = {.buf_id = 0, .rkey = 5};
	unsigned id = 0;

	up(&f, CHEAP, false, RTRS_RSP_F_NEW_RKEY);
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 0), 0);
	if (_i == WRONG_ID)
		m.buf_id = 1;
	if (_i == OUT_OF_RANGE)
		m.buf_id = (uint16_t)(id = 8);
	rtrs_msg_rkey_rsp_encode(&m, buf);
	if (_i == WRONG_TYPE)
		buf[0] = 1;
	mock_peer_send_imm(fx_conn(&f, 0, 1), buf, _i == TOO_SHORT ? 7 : 8,
			   rtrs_imm_io_rsp(id, 0, false));
	fx_run(&f);
	assert_path_failed(&f, "malformed reply");
	ck_assert_uint_eq(r.n_done, 1);
	ck_assert_int_eq(r.err, -ECONNABORTED);
	fx_deinit(&f);
}
END_TEST

enum violation {
	ID_OUT_OF_RANGE,
	ID_NOT_OUT,
	SECOND_REPLY,
	INV_UNASKED,
	SEND_IMM_WITHOUT_NEW_RKEY,
	PLAIN_SEND,
	N_VIOLATIONS
};

START_TEST(violations_fail_the_path)
{
	static const char *const words[] = {
		[ID_OUT_OF_RANGE] = "replied to request 8, which is not out",
		[ID_NOT_OUT] = "replied to request 3, which is not out",
		[SECOND_REPLY] = "replied to request 0, which is not out",
		[INV_UNASKED] = "invalidated a key of request 0 unasked",
		[SEND_IMM_WITHOUT_NEW_RKEY] = "malformed reply to request 0",
		[PLAIN_SEND] = "sent a message without request",
	};
	struct fx f;
	struct fx_req r;
	struct fabric_conn *c;

	up(&f, CHEAP_INV, false, 0);
	f.m.auto_complete = false;
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 512),
		0);
	c = fx_conn(&f, 0, 1);
	switch ((enum violation)_i) {
	case ID_OUT_OF_RANGE:
		mock_peer_write_imm(c, rtrs_imm_io_rsp(8, 0, false));
		break;
	case ID_NOT_OUT:
		mock_peer_write_imm(c, rtrs_imm_io_rsp(3, 0, false));
		break;
	case SECOND_REPLY:
		/* Not done yet: its send did not complete. */
		mock_peer_write_imm(c, rtrs_imm_io_rsp(0, -ENOSPC, false));
		mock_peer_write_imm(c, rtrs_imm_io_rsp(0, 0, false));
		break;
	case INV_UNASKED:
		mock_peer_write_imm(c, rtrs_imm_io_rsp(0, 0, true));
		break;
	case SEND_IMM_WITHOUT_NEW_RKEY:
		mock_peer_send_imm(c, NULL, 0, rtrs_imm_io_rsp(0, 0, false));
		break;
	case PLAIN_SEND:
		mock_peer_send(c, NULL, 0);
		break;
	case N_VIOLATIONS:
		break;
	}
	fx_run(&f);
	assert_path_failed(&f, words[_i]);
	ck_assert_uint_eq(r.n_done, 1);
	/* The first of two replies counts. */
	ck_assert_int_eq(r.err, _i == SECOND_REPLY ? -ENOSPC : -ECONNABORTED);
	ck_assert_str_eq(f.order, "rD");
	fx_deinit(&f);
}
END_TEST

START_TEST(reply_on_another_path_is_a_violation)
{
	struct fx f;
	struct fx_req r;

	fx_init(&f, CHEAP, 2);
	fx_up(&f);
	ck_assert_int_eq(
		fx_submit(&f, &r, RTRS_WRITE, RTRS_PERMIT_IO, usr32, 32, 0), 0);
	ck_assert_ptr_eq(mock_last_send(&f.m)->conn, fx_conn(&f, 0, 1));
	fx_reply(&f, 1, 1, 0, 0);
	ck_assert_int_eq(fx_state(&f, 1), RTRS_CLT_RECONNECTING);
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CONNECTED);
	ck_assert_uint_eq(r.n_done, 0);
	fx_reply(&f, 0, 1, 0, 0);
	ck_assert_uint_eq(r.n_done, 1);
	ck_assert_int_eq(r.err, 0);
	fx_deinit(&f);
}
END_TEST

START_TEST(unknown_immediate_is_ignored)
{
	struct fx f;
	unsigned recvs;

	up(&f, CHEAP, false, 0);
	recvs = fx_conn(&f, 0, 1)->n_recvs;
	mock_peer_write_imm(fx_conn(&f, 0, 1), 0x30000000);
	fx_run(&f);
	ck_assert_ptr_nonnull(strstr(f.last_line, "unknown type 3"));
	f.last_line[0] = '\0';
	mock_peer_write_imm(fx_conn(&f, 0, 1), 0xf0000000);
	fx_run(&f);
	ck_assert_str_eq(f.last_line, "");
	ck_assert_int_eq(fx_state(&f, 0), RTRS_CLT_CONNECTED);
	ck_assert_uint_eq(fx_conn(&f, 0, 1)->n_recvs, recvs);
	fx_deinit(&f);
}
END_TEST

/* ---- heartbeats on the wire */

START_TEST(heartbeats)
{
	struct fx f;
	struct mock_send *s;
	unsigned n;

	up(&f, CHEAP, false, 0);
	fx_run_at(&f, f.now + SEC(5));
	s = mock_last_send(&f.m);
	ck_assert_ptr_eq(s->conn, fx_conn(&f, 0, 0));
	ck_assert_int_eq(s->wr.op, FABRIC_WR_RDMA_WRITE_WITH_IMM);
	ck_assert_uint_eq(s->wr.imm, 0x80000000);
	ck_assert_uint_eq(s->wr.num_sge, 0);
	ck_assert_uint_eq(s->wr.raddr | s->wr.rkey, 0);
	f.now += 1234567;
	mock_peer_write_imm(s->conn, rtrs_imm_hb_ack());
	fx_run(&f);
	ck_assert_uint_eq(fx_stats(&f, 0).hb_latency_ns, 1234567);
	ck_assert_uint_eq(fx_stats(&f, 0).hb_latency_min_ns, 1234567);
	/* Those of the peer are answered at once, on connection 0. */
	n = f.m.n_sends;
	mock_peer_write_imm(fx_conn(&f, 0, _i ? 1 : 0), rtrs_imm_hb_msg());
	fx_run(&f);
	ck_assert_uint_eq(f.m.n_sends, n + 1);
	s = mock_last_send(&f.m);
	ck_assert_ptr_eq(s->conn, fx_conn(&f, 0, 0));
	ck_assert_uint_eq(s->wr.imm, 0x90000000);
	fx_deinit(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("reply");
	TCase *tc = tcase_create("reply");

	tcase_add_loop_test(tc, malformed_rkey_rsp, 0, N_RKEY_FAULTS);
	tcase_add_loop_test(tc, violations_fail_the_path, 0, N_VIOLATIONS);
	tcase_add_test(tc, reply_on_another_path_is_a_violation);
	tcase_add_test(tc, unknown_immediate_is_ignored);
	tcase_add_loop_test(tc, heartbeats, 0, 2);
	suite_add_tcase(s, tc);
	return fx_main(s);
}
