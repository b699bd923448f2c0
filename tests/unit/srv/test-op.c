/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests: what is malformed, who waits for whom, the send queue. */
#include "tests/unit/srv/fixture.h"

static const uint8_t usr[32] = "the user message";
static uint8_t data[4096];
static struct fx f;
static struct fx_path a, b;

static void
start(const struct rtrs_srv_params *sp)
{
	memset(data, 0xa5, sizeof(data));
	fx_init_two(&f, &a, &b, FABRIC_CAP_MW_PD, sp);
	fx_path_up(&a);
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
teardown(void)
{
	fx_fini(&f);
}

static void
expect_closed(void)
{
	ck_assert(a.con[0]->disconnected);
	ck_assert(a.con[1]->disconnected);
	ck_assert_uint_eq(f.n_ops, 0);
	ck_assert_uint_eq(mock_unseen(a.con[1]) - (a.rsp.flags ? 1 : 0), 0);
}

/* --- malformed */

START_TEST(buf_id_out_of_range)
{
	/* Depth 2 leaves one bit: every id fits; 3 chunks leave an id. */
	const struct rtrs_srv_params sp = {.queue_depth = 3};

	fx_fini(&f);
	start(&sp);
	fx_imm(&a, 1, rtrs_imm_io_req(rtrs_imm_mem_bits(3), 3, 64));
	expect_closed();
}
END_TEST

START_TEST(off_out_of_range)
{
	fx_imm(&a, 1, rtrs_imm_io_req(rtrs_imm_mem_bits(2), 0, CHUNK));
	expect_closed();
}
END_TEST

START_TEST(header_beyond_the_chunk)
{
	static const uint8_t hdr[3] = {2, 0, 0};

	fx_raw(&a, 1, 0, CHUNK - 3, hdr, 3, CHUNK - 3);
	expect_closed();
}
END_TEST

START_TEST(descriptor_beyond_the_chunk)
{
	static const uint8_t hdr[8] = {3, 0, 0, 0, 0, 0, 1, 0};

	/* The header fits exactly, its descriptor does not. */
	fx_raw(&a, 1, 1, CHUNK - 8, hdr, 8, CHUNK - 8);
	expect_closed();
}
END_TEST

START_TEST(header_at_the_very_end)
{
	static const uint8_t hdr[4] = {2, 0, 32, 0};

	fx_raw(&a, 1, 1, CHUNK - 4, hdr, 4, CHUNK - 4);
	ck_assert_uint_eq(f.n_ops, 1);
	ck_assert_uint_eq(f.ops[0]->data_len, CHUNK - 4 - 32);
	rtrs_srv_op_done(f.ops[0], 0);
}
END_TEST

START_TEST(bad_header_types)
{
	static const uint8_t types[] = {0, 1, 4, 5, 255};

	for (unsigned i = 0; i < sizeof(types); i++) {
		uint8_t hdr[24] = {types[i]};

		fx_raw(&a, 1, 0, 32, hdr, sizeof(hdr), 32);
		expect_closed();
		a.req.recon_cnt++;
		fx_path_up(&a);
	}
}
END_TEST

START_TEST(sg_cnt_of_two)
{
	uint8_t hdr[40] = {3, 0, 32, 0, 0, 0, 2, 0};

	fx_raw(&a, 1, 0, 32, hdr, sizeof(hdr), 32);
	expect_closed();
}
END_TEST

START_TEST(usr_len_larger_than_off)
{
	static const uint8_t hdr[4] = {2, 0, 33, 0};

	fx_raw(&a, 1, 0, 32, hdr, sizeof(hdr), 32);
	expect_closed();
}
END_TEST

static void
read_of(uint32_t len, uint32_t desc_len)
{
	const struct rtrs_desc desc = {0x1000, 7, desc_len};

	fx_read(&a, 1, 0, len, usr, 32, &desc, RTRS_READ_F_NEED_INVAL);
	expect_closed();
}

START_TEST(descriptor_shorter_than_the_room)
{
	read_of(4096, 4095);
}
END_TEST

START_TEST(descriptor_longer_than_the_room)
{
	read_of(4096, 4097);
}
END_TEST

START_TEST(descriptor_longer_than_a_chunk)
{
	read_of(4096, 0xffffffff);
}
END_TEST

START_TEST(descriptor_of_nothing)
{
	read_of(0, 0);
}
END_TEST

START_TEST(request_before_info_req)
{
	fx_connect_all(&b);
	mock_write_imm(b.con[1], 0, 0, NULL, 0, 0x20);
	fx_run(&f);
	ck_assert(b.con[0]->disconnected);
	ck_assert(!a.con[0]->disconnected);
	ck_assert_uint_eq(f.n_ops, 0);
}
END_TEST

START_TEST(send_instead_of_write)
{
	mock_send(a.con[1], NULL, 0);
	fx_run(&f);
	expect_closed();
}
END_TEST

START_TEST(same_msg_id_twice)
{
	fx_write(&a, 1, 0, NULL, 0, usr, 32);
	ck_assert_uint_eq(f.n_ops, 1);
	fx_imm(&a, 0, rtrs_imm_io_req(rtrs_imm_mem_bits(2), 0, 32));
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(f.n_ops, 1);
	rtrs_srv_op_done(f.ops[0], 0);
}
END_TEST

START_TEST(same_msg_id_twice_while_invalidating)
{
	f.m.auto_complete = false;
	fx_write(&a, 1, 0, NULL, 0, usr, 32);
	ck_assert_uint_eq(f.n_ops, 0);
	fx_imm(&a, 0, rtrs_imm_io_req(rtrs_imm_mem_bits(2), 0, 32));
	ck_assert(a.con[0]->disconnected);
	f.m.auto_complete = true;
	fx_run(&f);
	ck_assert_uint_eq(f.n_ops, 0);
}
END_TEST

START_TEST(user_message_too_long_is_an_error_reply)
{
	const struct rtrs_desc desc = {0x1000, 7, 512};
	static const uint8_t big[RTRS_USR_LEN_MAX + 1];
	struct fx_reply r;

	fx_write(&a, 1, 0, data, 512, big, sizeof(big));
	ck_assert_uint_eq(f.n_ops, 0);
	fx_reply(&a, 1, &r);
	ck_assert_int_eq(r.err, -EINVAL);
	fx_read(&a, 1, 0, 512, big, sizeof(big), &desc, RTRS_READ_F_NEED_INVAL);
	fx_reply(&a, 1, &r);
	ck_assert_int_eq(r.err, -EINVAL);
	ck_assert(r.inv && !r.data);
	/* The longest that fits is taken. */
	fx_write(&a, 1, 0, data, 512, big, RTRS_USR_LEN_MAX);
	ck_assert_uint_eq(f.n_ops, 1);
	ck_assert_uint_eq(f.ops[0]->usr_len, RTRS_USR_LEN_MAX);
	rtrs_srv_op_done(f.ops[0], 0);
}
END_TEST

/* --- well-formed */

START_TEST(write_arrives_whole)
{
	const struct rtrs_srv_op *op;

	fx_write(&a, 1, 1, data, sizeof(data), usr, 32);
	ck_assert_uint_eq(f.n_ops, 1);
	op = f.ops[0];
	ck_assert_int_eq(op->dir, RTRS_WRITE);
	ck_assert_uint_eq(op->data_len, sizeof(data));
	ck_assert_mem_eq(op->data, data, sizeof(data));
	ck_assert_uint_eq(op->usr_len, 32);
	ck_assert_mem_eq(op->usr, usr, 32);
	ck_assert_ptr_eq(f.sess_user, &f);
	/* The next receive is there before the request is answered. */
	ck_assert_uint_eq(mock_n_recvs(a.con[1]), 2);
	rtrs_srv_op_done(f.ops[0], 0);
}
END_TEST

START_TEST(the_peer_can_not_change_the_user_message)
{
	static const uint8_t evil[32] = "something else";

	fx_write(&a, 1, 0, NULL, 0, usr, 32);
	fx_raw(&a, 1, 0, 0, evil, 32, 0);
	ck_assert_mem_eq(f.ops[0]->usr, usr, 32);
	rtrs_srv_op_done(f.ops[0], 0);
}
END_TEST

START_TEST(in_new_rkey_mode_it_can_not_even_write)
{
	uint32_t key = a.key[0];
	struct fx_reply r;

	fx_write(&a, 1, 0, data, sizeof(data), usr, 32);
	ck_assert_uint_eq(f.n_ops, 1);
	ck_assert(!mock_key_valid(&f.m, key, a.addr[0], 1));
	/* Other chunks are open. */
	ck_assert(mock_key_valid(&f.m, a.key[1], a.addr[1], CHUNK));
	rtrs_srv_op_done(f.ops[0], 0);
	fx_reply(&a, 1, &r);
	ck_assert_uint_ne(a.key[0], key);
	ck_assert(!mock_key_valid(&f.m, key, a.addr[0], 1));
	ck_assert(mock_key_valid(&f.m, a.key[0], a.addr[0], CHUNK));
}
END_TEST

START_TEST(nothing_is_read_before_the_window_is_closed)
{
	const struct mock_sent *s;

	f.m.auto_complete = false;
	fx_write(&a, 1, 1, data, 512, usr, 32);
	ck_assert_uint_eq(f.n_ops, 0);
	s = mock_next_sent(a.con[1]);
	ck_assert_int_eq(s->wr.op, FABRIC_WR_MW_INV);
	ck_assert(s->wr.signaled);
	ck_assert_uint_eq(mock_unseen(a.con[1]), 0);
	mock_complete(a.con[1], 1, FABRIC_WC_SUCCESS);
	fx_run(&f);
	ck_assert_uint_eq(f.n_ops, 1);
	rtrs_srv_op_done(f.ops[0], 0);
}
END_TEST

START_TEST(invalidation_fails)
{
	f.m.auto_complete = false;
	fx_write(&a, 1, 1, data, 512, usr, 32);
	mock_complete(a.con[1], 1, FABRIC_WC_ERROR);
	fx_run(&f);
	ck_assert(a.con[0]->disconnected);
	ck_assert_uint_eq(f.n_ops, 0);
}
END_TEST

START_TEST(statistics)
{
	const struct rtrs_desc desc = {0x1000, 7, 4096};
	struct rtrs_srv_path_info info;

	fx_write(&a, 1, 0, data, 512, usr, 32);
	fx_read(&a, 1, 1, 4096, usr, 32, &desc, 0);
	ck_assert(fx_path_info(&f, 0, &info));
	ck_assert_uint_eq(info.stats.inflight, 2);
	rtrs_srv_op_done(f.ops[0], 0);
	rtrs_srv_op_done(f.ops[1], -EIO);
	ck_assert(fx_path_info(&f, 0, &info));
	ck_assert_uint_eq(info.stats.inflight, 0);
	ck_assert_uint_eq(info.stats.wr_cnt, 1);
	ck_assert_uint_eq(info.stats.wr_bytes, 544);
	ck_assert_uint_eq(info.stats.rd_cnt, 1);
	ck_assert_uint_eq(info.stats.rd_bytes, 4128);
}
END_TEST

/* A success could not bring the data that were asked for. */
START_TEST(read_without_descriptor_has_no_room)
{
	fx_read(&a, 1, 0, 512, usr, 32, NULL, 0);
	ck_assert_uint_eq(f.n_ops, 1);
	ck_assert_int_eq(f.ops[0]->dir, RTRS_READ);
	ck_assert_uint_eq(f.ops[0]->data_len, 0);
	ck_assert_mem_eq(f.ops[0]->usr, usr, 32);
	rtrs_srv_op_done(f.ops[0], 0);
}
END_TEST

START_TEST(replies_carry_numbers_of_the_wire)
{
	struct fx_reply r;

	fx_write(&a, 1, 0, data, 512, usr, 32);
	rtrs_srv_op_done(f.ops[0], -500); /* fits, but means nothing there */
	fx_run(&f);
	fx_reply(&a, 1, &r);
	ck_assert_int_eq(r.err, -5);
}
END_TEST

START_TEST(answers_at_once_and_out_of_order)
{
	struct fx_reply r;

	fx_write(&a, 1, 0, NULL, 0, usr, 32);
	f.auto_done = true;
	f.auto_err = -ENOSPC;
	fx_write(&a, 1, 1, NULL, 0, usr, 32);
	fx_reply(&a, 1, &r);
	ck_assert_uint_eq(r.msg_id, 1);
	ck_assert_int_eq(r.err, -ENOSPC);
	rtrs_srv_op_done(f.ops[0], 0);
	fx_reply(&a, 1, &r);
	ck_assert_uint_eq(r.msg_id, 0);
	ck_assert_int_eq(r.err, 0);
}
END_TEST

START_TEST(answer_goes_where_the_request_came_from)
{
	struct fx_reply r;

	f.auto_done = true;
	fx_write(&a, 0, 0, NULL, 0, usr, 32);
	fx_reply(&a, 0, &r);
	ck_assert_uint_eq(mock_unseen(a.con[1]), 0);
}
END_TEST

START_TEST(reply_that_can_not_be_posted_closes)
{
	fx_write(&a, 1, 0, NULL, 0, usr, 32);
	f.m.err_post_send = -ENOTCONN;
	rtrs_srv_op_done(f.ops[0], 0);
	fx_run(&f);
	ck_assert(a.con[0]->disconnected);
}
END_TEST

START_TEST(session_closed_from_within_request)
{
	f.close_in_request = true;
	fx_write(&a, 1, 0, NULL, 0, usr, 32);
	ck_assert(a.con[1]->freed);
	ck_assert_uint_eq(f.downs, 0);
	rtrs_srv_op_done(f.ops[0], 0);
	fx_run(&f);
	ck_assert_uint_eq(f.downs, 1);
}
END_TEST

START_TEST(and_answered_there_too)
{
	f.close_in_request = true;
	f.auto_done = true;
	fx_write(&a, 1, 0, NULL, 0, usr, 32);
	ck_assert_uint_eq(f.downs, 1);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}
END_TEST

START_TEST(two_requests_in_one_batch_with_a_close_between)
{
	uint32_t imm = rtrs_imm_io_req(rtrs_imm_mem_bits(2), 0, CHUNK);

	/* The second completion finds the path closing. */
	mock_write_imm(a.con[1], 0, 0, NULL, 0, imm);
	mock_write_imm(a.con[1], 0, 0, NULL, 0, 0x20);
	fx_run(&f);
	ck_assert_uint_eq(f.n_ops, 0);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}
END_TEST

/* --- the same chunk index on two paths */

START_TEST(resent_request_waits_for_the_older_one)
{
	struct fx_reply r;

	fx_path_up(&b);
	fx_write(&a, 1, 0, NULL, 0, usr, 32);
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, -ETIMEDOUT);
	fx_run(&f);
	fx_write(&b, 1, 0, NULL, 0, usr, 32);
	fx_write(&b, 1, 1, NULL, 0, usr, 32); /* other indices do not wait */
	ck_assert_uint_eq(f.n_ops, 2);
	rtrs_srv_op_done(f.ops[1], 0);
	fx_reply(&b, 1, &r);
	ck_assert_uint_eq(r.msg_id, 1);
	rtrs_srv_op_done(f.ops[0], 0);
	ck_assert_uint_eq(f.n_ops, 2); /* not from within op_done */
	fx_run(&f);
	ck_assert_uint_eq(f.n_ops, 3);
	ck_assert_uint_eq(mock_unseen(b.con[1]), 0);
	rtrs_srv_op_done(f.ops[2], -EIO);
	fx_reply(&b, 1, &r);
	ck_assert_uint_eq(r.msg_id, 0);
	ck_assert_int_eq(r.err, -EIO);
}
END_TEST

START_TEST(three_in_a_row_at_once)
{
	struct fx_path c;
	struct fx_reply r;

	fx_path_up(&b);
	fx_path_init(&f, &c, 1, 3, 2);
	c.peer = OTHER;
	c.local = OTHER;
	fx_path_up(&c);
	fx_write(&a, 1, 0, NULL, 0, usr, 32);
	fx_write(&b, 1, 0, NULL, 0, usr, 32);
	fx_write(&c, 1, 0, NULL, 0, usr, 32);
	ck_assert_uint_eq(f.n_ops, 1);
	f.auto_done = true;
	rtrs_srv_op_done(f.ops[0], 0);
	fx_run(&f);
	ck_assert_uint_eq(f.n_ops, 3);
	fx_reply(&a, 1, &r);
	fx_reply(&b, 1, &r);
	fx_reply(&c, 1, &r);
}
END_TEST

START_TEST(a_waiting_request_dies_with_its_path)
{
	struct fx_path c;
	struct fx_reply r;

	fx_path_up(&b);
	fx_path_init(&f, &c, 1, 3, 2);
	c.peer = OTHER;
	c.local = OTHER;
	fx_path_up(&c);
	fx_write(&a, 1, 0, NULL, 0, usr, 32);
	fx_write(&b, 1, 0, NULL, 0, usr, 32);
	fx_write(&c, 1, 0, NULL, 0, usr, 32);
	mock_event(b.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	/* It holds nothing: its path is gone at once. */
	ck_assert(b.con[0]->freed);
	ck_assert_uint_eq(fx_n_paths(&f), 2);
	f.auto_done = true;
	rtrs_srv_op_done(f.ops[0], 0);
	fx_run(&f);
	ck_assert_uint_eq(f.n_ops, 2);
	fx_reply(&c, 1, &r);
}
END_TEST

START_TEST(the_next_in_line_dies_just_when_it_is_its_turn)
{
	struct fx_path c;
	struct fx_reply r;

	fx_path_up(&b);
	fx_path_init(&f, &c, 1, 3, 2);
	c.peer = OTHER;
	c.local = OTHER;
	fx_path_up(&c);
	fx_write(&a, 1, 0, NULL, 0, usr, 32);
	fx_write(&b, 1, 0, NULL, 0, usr, 32);
	fx_write(&c, 1, 0, NULL, 0, usr, 32);
	f.auto_done = true;
	rtrs_srv_op_done(f.ops[0], 0);
	mock_event(b.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	ck_assert_uint_eq(f.n_ops, 2);
	fx_reply(&c, 1, &r);
}
END_TEST

/* --- the send queue */

/* The mock fails the test if more is posted than the queue has. */
START_TEST(send_queue_is_never_overrun)
{
	unsigned n = 0, replies = 0, posted;
	struct fx_reply r;

	f.m.auto_complete = false;
	f.auto_done = true;
	/* Nothing completes: at some point a reply waits. */
	do {
		posted = a.con[1]->n_sent;
		fx_write(&a, 1, 0, NULL, 0, usr, 32);
		n++;
		ck_assert_uint_lt(n, 1000);
	} while (a.con[1]->n_sent != posted);
	ck_assert_uint_gt(a.con[1]->n_sent + 12, a.con[1]->max_send_wr);
	/* Heartbeats have room kept for them (the budget is per con). */
	fx_write(&a, 1, 1, NULL, 0, usr, 32);
	ck_assert_uint_eq(a.con[1]->n_sent, posted);
	/* Half of the queue completes: both go out, in order. */
	mock_complete(a.con[1], a.con[1]->max_send_wr / 2 + 1,
		      FABRIC_WC_SUCCESS);
	fx_run(&f);
	if (a.rsp.flags) {
		mock_complete_all(a.con[1]);
		fx_run(&f);
	}
	while (mock_unseen(a.con[1])) {
		fx_reply(&a, 1, &r);
		replies++;
	}
	ck_assert_uint_eq(replies, n + 1);
	ck_assert_uint_eq(r.msg_id, 1);
}
END_TEST

START_TEST(something_is_signalled_per_half_queue)
{
	unsigned since = 0;
	struct fx_reply r;

	f.auto_done = true;
	for (unsigned i = 0; i < 200; i++) {
		fx_write(&a, 1, i % 2, NULL, 0, usr, 32);
		fx_reply(&a, 1, &r); /* may bring a new key */
	}
	for (unsigned i = 0; i < a.con[1]->n_sent; i++) {
		since = a.con[1]->sent[i].wr.signaled ? 0 : since + 1;
		ck_assert_uint_lt(since, a.con[1]->max_send_wr / 2);
	}
}
END_TEST

START_TEST(not_everything_is_signalled)
{
	unsigned n = 0;

	f.auto_done = true;
	for (unsigned i = 0; i < 200; i++)
		fx_write(&a, 1, i % 2, NULL, 0, usr, 32);
	for (unsigned i = 0; i < a.con[1]->n_sent; i++)
		n += a.con[1]->sent[i].wr.signaled;
	ck_assert_uint_lt(n, 30);
}
END_TEST

START_TEST(heartbeats_wait_for_room_and_become_one)
{
	unsigned before, n_ack = 0;
	const struct mock_sent *s;

	f.m.auto_complete = false;
	f.auto_done = true;
	/* Fill connection 0 up to what is kept for heartbeats, then that. */
	for (unsigned i = 0; i < a.con[0]->max_send_wr; i++)
		fx_imm(&a, 0, 0x80000000);
	before = a.con[0]->n_sent;
	ck_assert_uint_eq(before - a.con[0]->done, a.con[0]->max_send_wr);
	fx_imm(&a, 0, 0x80000000);
	fx_imm(&a, 0, 0x80000000);
	ck_assert_uint_eq(a.con[0]->n_sent, before);
	a.con[0]->seen = before;
	mock_complete_all(a.con[0]);
	fx_run(&f);
	while ((s = mock_next_sent(a.con[0])))
		n_ack += s->wr.imm == 0x90000000;
	ck_assert_uint_eq(n_ack, 1);
}
END_TEST

START_TEST(queued_replies_die_with_the_path)
{
	unsigned posted;

	f.m.auto_complete = false;
	f.auto_done = true;
	do {
		posted = a.con[1]->n_sent;
		fx_write(&a, 1, 0, NULL, 0, usr, 32);
	} while (a.con[1]->n_sent != posted);
	mock_event(a.con[0], FABRIC_EV_DISCONNECTED, 0);
	fx_run(&f);
	ck_assert_uint_eq(fx_n_paths(&f), 0);
}
END_TEST

START_TEST(replies_ride_on_one_flush)
{
	unsigned flushes;

	f.auto_done = true;
	fx_write(&a, 1, 0, NULL, 0, usr, 32);
	mock_write_imm(a.con[1], 0, 0, NULL, 0,
		       rtrs_imm_io_req(rtrs_imm_mem_bits(2), 0, 32));
	mock_write_imm(a.con[1], 0, 0, NULL, 0,
		       rtrs_imm_io_req(rtrs_imm_mem_bits(2), 0, 32));
	flushes = f.m.flushes;
	rtrs_srv_progress(f.srv, f.now);
	ck_assert_uint_eq(f.n_ops, 3);
	ck_assert_uint_eq(f.m.flushes, flushes + 1);
	rtrs_srv_flush(f.srv);
	ck_assert_uint_eq(f.m.flushes, flushes + 2);
}
END_TEST

/* --- vital answers */

static void
answer_vital(unsigned i)
{
	f.ops[i]->vital = true;
	f.ops[i]->tag = 7;
	rtrs_srv_op_done(f.ops[i], -EIO);
	rtrs_srv_flush(f.srv);
}

static void
expect_fates(unsigned told, unsigned untold)
{
	fx_run(&f);
	ck_assert_uint_eq(f.told, told);
	ck_assert_uint_eq(f.untold, untold);
	ck_assert_uint_eq(f.tag, told || untold ? 7 : 0);
}

START_TEST(a_vital_answer_is_told_when_it_is_sent)
{
	f.m.auto_complete = false;
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	answer_vital(0);
	expect_fates(0, 0);
	mock_complete_all(a.con[1]);
	expect_fates(1, 0);
}
END_TEST

START_TEST(other_answers_are_not_told_of)
{
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	rtrs_srv_op_done(f.ops[0], -EIO);
	expect_fates(0, 0);
}
END_TEST

START_TEST(a_vital_answer_is_told_when_its_chunk_is_used_again)
{
	f.m.auto_complete = false;
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	answer_vital(0);
	fx_write(&a, 1, 1, NULL, 0, usr, 8);
	expect_fates(0, 0);
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	expect_fates(1, 0);
	/* Not a second time, when it is reported as well. */
	mock_complete_all(a.con[1]);
	expect_fates(1, 0);
	rtrs_srv_op_done(f.ops[1], 0);
	rtrs_srv_op_done(f.ops[2], 0);
}
END_TEST

START_TEST(a_vital_answer_goes_with_its_path)
{
	f.m.auto_complete = false;
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	answer_vital(0);
	rtrs_srv_sess_close(f.sess);
	expect_fates(0, 1);
}
END_TEST

/* Sent is not received, where the fabric has no acknowledgements. */
START_TEST(a_sent_vital_answer_may_still_go_with_its_path)
{
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	answer_vital(0);
	expect_fates(1, 0);
	rtrs_srv_sess_close(f.sess);
	expect_fates(1, 1);
}
END_TEST

START_TEST(an_old_vital_answer_has_arrived)
{
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	answer_vital(0);
	expect_fates(1, 0);
	for (unsigned i = 0; i < 61; i++) {
		f.now += SEC(1);
		fx_imm(&a, 0, rtrs_imm_hb_msg());
		fx_imm(&a, 0, rtrs_imm_hb_ack());
	}
	ck_assert_int_eq(fx_state(&f, 0), RTRS_SRV_CONNECTED);
	rtrs_srv_sess_close(f.sess);
	expect_fates(1, 0);
}
END_TEST

START_TEST(nobody_is_told_of_an_answer_on_a_path_that_left)
{
	fx_write(&a, 1, 0, NULL, 0, usr, 8);
	rtrs_srv_sess_close(f.sess);
	ck_assert(rtrs_srv_op_lost(f.ops[0]));
	answer_vital(0);
	expect_fates(0, 0);
}
END_TEST

static void
add_vital_cases(TCase *tc)
{
	tcase_add_test(tc, a_vital_answer_is_told_when_it_is_sent);
	tcase_add_test(tc, other_answers_are_not_told_of);
	tcase_add_test(tc, a_vital_answer_is_told_when_its_chunk_is_used_again);
	tcase_add_test(tc, a_vital_answer_goes_with_its_path);
	tcase_add_test(tc, a_sent_vital_answer_may_still_go_with_its_path);
	tcase_add_test(tc, an_old_vital_answer_has_arrived);
	tcase_add_test(tc, nobody_is_told_of_an_answer_on_a_path_that_left);
}

int
main(void)
{
	Suite *s = suite_create("srv/op");
	TCase *tc = tcase_create("static");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, buf_id_out_of_range);
	tcase_add_test(tc, off_out_of_range);
	tcase_add_test(tc, header_beyond_the_chunk);
	tcase_add_test(tc, descriptor_beyond_the_chunk);
	tcase_add_test(tc, header_at_the_very_end);
	tcase_add_test(tc, bad_header_types);
	tcase_add_test(tc, sg_cnt_of_two);
	tcase_add_test(tc, usr_len_larger_than_off);
	tcase_add_test(tc, descriptor_shorter_than_the_room);
	tcase_add_test(tc, descriptor_longer_than_the_room);
	tcase_add_test(tc, descriptor_longer_than_a_chunk);
	tcase_add_test(tc, descriptor_of_nothing);
	tcase_add_test(tc, request_before_info_req);
	tcase_add_test(tc, send_instead_of_write);
	tcase_add_test(tc, same_msg_id_twice);
	tcase_add_test(tc, user_message_too_long_is_an_error_reply);
	tcase_add_test(tc, write_arrives_whole);
	tcase_add_test(tc, the_peer_can_not_change_the_user_message);
	tcase_add_test(tc, statistics);
	tcase_add_test(tc, read_without_descriptor_has_no_room);
	tcase_add_test(tc, replies_carry_numbers_of_the_wire);
	tcase_add_test(tc, answers_at_once_and_out_of_order);
	tcase_add_test(tc, answer_goes_where_the_request_came_from);
	tcase_add_test(tc, reply_that_can_not_be_posted_closes);
	tcase_add_test(tc, session_closed_from_within_request);
	tcase_add_test(tc, and_answered_there_too);
	tcase_add_test(tc, two_requests_in_one_batch_with_a_close_between);
	tcase_add_test(tc, resent_request_waits_for_the_older_one);
	tcase_add_test(tc, three_in_a_row_at_once);
	tcase_add_test(tc, a_waiting_request_dies_with_its_path);
	tcase_add_test(tc, the_next_in_line_dies_just_when_it_is_its_turn);
	tcase_add_test(tc, send_queue_is_never_overrun);
	tcase_add_test(tc, something_is_signalled_per_half_queue);
	tcase_add_test(tc, not_everything_is_signalled);
	tcase_add_test(tc, heartbeats_wait_for_room_and_become_one);
	tcase_add_test(tc, queued_replies_die_with_the_path);
	tcase_add_test(tc, replies_ride_on_one_flush);
	add_vital_cases(tc);
	suite_add_tcase(s, tc);
	tc = tcase_create("new rkey");
	tcase_add_checked_fixture(tc, setup_mw, teardown);
	tcase_add_test(tc, same_msg_id_twice);
	tcase_add_test(tc, same_msg_id_twice_while_invalidating);
	tcase_add_test(tc, user_message_too_long_is_an_error_reply);
	tcase_add_test(tc, write_arrives_whole);
	tcase_add_test(tc, in_new_rkey_mode_it_can_not_even_write);
	tcase_add_test(tc, nothing_is_read_before_the_window_is_closed);
	tcase_add_test(tc, invalidation_fails);
	tcase_add_test(tc, statistics);
	tcase_add_test(tc, read_without_descriptor_has_no_room);
	tcase_add_test(tc, replies_carry_numbers_of_the_wire);
	tcase_add_test(tc, answers_at_once_and_out_of_order);
	tcase_add_test(tc, session_closed_from_within_request);
	tcase_add_test(tc, resent_request_waits_for_the_older_one);
	tcase_add_test(tc, a_waiting_request_dies_with_its_path);
	tcase_add_test(tc, something_is_signalled_per_half_queue);
	tcase_add_test(tc, a_sent_vital_answer_may_still_go_with_its_path);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
