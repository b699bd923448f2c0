/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer that breaks the rules loses its connection, and only that; no byte of
 * the violating operation is placed.
 */
#include "tcp-world.h"

#include <unistd.h>

enum {
	LEN = 64 * 1024
};

static struct world *w;
static uint8_t *mem;
static struct fabric_mr *mr;

static void
setup(void)
{
	w = world_new(NULL);
	world_connect(w);
	mem = calloc(1, LEN);
	mr = reg(&w->s, mem, LEN, FABRIC_ACCESS_REMOTE_WRITE);
}

static void
teardown(void)
{
	if (mr)
		ck_assert_int_eq(F->mr_dereg(mr), 0);
	world_free(w);
	free(mem);
}

/* Both ends report a violation, and both closes are confirmed. */
static void
expect_violation(void)
{
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_DISCONNECTED) &&
			       end_ev(&w->c, FABRIC_EV_DISCONNECTED));
	ck_assert_int_eq(need_ev(&w->s, FABRIC_EV_DISCONNECTED)->err, -EPROTO);
	ck_assert_int_eq(need_ev(&w->c, FABRIC_EV_DISCONNECTED)->err, -EPROTO);
	ck_assert(all_zero(mem, LEN));
	F->disconnect(w->s.conn);
	ck_assert(world_close(w, &w->c));
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_CLOSED));
	ck_assert(need_ev(&w->s, FABRIC_EV_CLOSED)->confirmed);
	ck_assert_uint_eq(end_n_ev(&w->s, FABRIC_EV_DISCONNECTED), 1);
}

START_TEST(bad_targets)
{
	static const struct {
		int64_t off;
		uint32_t len;
		uint32_t key_xor;
		bool ok;
	} t[] = {
		{0, LEN, 0, true},
		{LEN - 1, 1, 0, true},
		{0, LEN + 1, 0, false},
		{1, LEN, 0, false},
		{LEN, 1, 0, false},
		{-1, 1, 0, false},
		{-1, 2, 0, false},
		{-LEN, LEN, 0, false},
		{INT64_MAX, 16, 0, false},
		{INT64_MIN, 16, 0, false},
		{0, 16, 0x00010000, false}, /* random part */
		{0, 16, 0x80000000, false},
		{0, 16, 0x00000001, false}, /* another slot */
		{0, 16, 0x0000ffff, false},
		{0, 16, 0x00000040, false},
	};
	static uint8_t src[LEN + 1];

	memset(src, t[_i].ok ? 0 : 0xee, sizeof(src));
	post_empty_recvs(&w->s, 1);
	ck_assert_int_eq(post_write_imm(&w->c, 1, src, t[_i].len,
					mr->raddr + (uint64_t)t[_i].off,
					mr->rkey ^ t[_i].key_xor, 9),
			 0);
	if (t[_i].ok) {
		WORLD_UNTIL(w, w->s.n_wc == 1);
		ck_assert_int_eq(w->s.wc[0].status, FABRIC_WC_SUCCESS);
	} else {
		expect_violation();
		/* Counted receives are dropped, single ones are flushed. */
		ck_assert_uint_eq(w->s.n_wc, 1);
		ck_assert_int_eq(w->s.wc[0].status, FABRIC_WC_FLUSHED);
	}
}
END_TEST

/* raddr + len wraps around: a sum would look fine. */
START_TEST(address_overflow)
{
	uint8_t src[64];

	memset(src, 0xee, sizeof(src));
	ck_assert_int_eq(post_write(&w->c, 1, src, sizeof(src), UINT64_MAX - 31,
				    mr->rkey),
			 0);
	expect_violation();
}
END_TEST

START_TEST(not_writable)
{
	ck_assert_int_eq(F->mr_dereg(mr), 0);
	mr = reg(&w->s, mem, LEN,
		 FABRIC_ACCESS_REMOTE_INV | FABRIC_ACCESS_MW_BIND);
	ck_assert_int_eq(post_write(&w->c, 1, "abcd", 4, mr->raddr, mr->rkey),
			 0);
	expect_violation();
}
END_TEST

START_TEST(deregistered)
{
	uint64_t raddr = mr->raddr;
	uint32_t rkey = mr->rkey;

	ck_assert_int_eq(F->mr_dereg(mr), 0);
	mr = NULL;
	ck_assert_int_eq(post_write(&w->c, 1, "abcd", 4, raddr, rkey), 0);
	expect_violation();
}
END_TEST

/* A key of another path is no key here. */
START_TEST(key_of_another_pd)
{
	struct end other_c = {.conn = w->c.conn}, other_s = {.conn = w->s.conn};

	world_connect(w);
	ck_assert_int_eq(post_write(&w->c, 1, "abcd", 4, mr->raddr, mr->rkey),
			 0);
	expect_violation();
	/* The owner's connection is not touched by that. */
	post_empty_recvs(&other_s, 1);
	ck_assert_int_eq(
		post_write_imm(&other_c, 1, "abcd", 4, mr->raddr, mr->rkey, 1),
		0);
	WORLD_UNTIL(w, mem[0] == 'a');
	F->conn_free(other_c.conn);
	F->conn_free(other_s.conn);
}
END_TEST

START_TEST(write_without_length_needs_no_key)
{
	post_empty_recvs(&w->s, 1);
	ck_assert_int_eq(post_write_imm(&w->c, 1, NULL, 0, 12345, 678, 9), 0);
	WORLD_UNTIL(w, w->s.n_wc == 1);
	ck_assert_int_eq(w->s.wc[0].status, FABRIC_WC_SUCCESS);
}
END_TEST

START_TEST(send_too_long)
{
	uint8_t buf[8] = {0};

	post_buf(&w->s, 1, buf, 4);
	post_buf(&w->s, 2, buf, 8);
	ck_assert_int_eq(post_send(&w->c, 1, "abcde", 5), 0);
	expect_violation();
	ck_assert_uint_eq(w->s.n_wc, 2);
	ck_assert_int_eq(w->s.wc[0].status, FABRIC_WC_ERROR);
	ck_assert_uint_eq(w->s.wc[0].wr_id, 1);
	ck_assert_int_eq(w->s.wc[1].status, FABRIC_WC_FLUSHED);
	ck_assert(!buf[0]);
}
END_TEST

START_TEST(send_into_empty_receive)
{
	post_empty_recvs(&w->s, 1);
	ck_assert_int_eq(post_send(&w->c, 1, "a", 1), 0);
	expect_violation();
}
END_TEST

START_TEST(inv_of_what_is_not_the_peers)
{
	post_empty_recvs(&w->s, 1);
	ck_assert_int_eq(post_send_inv(&w->c, 1, mr->rkey), 0);
	expect_violation();
}
END_TEST

START_TEST(inv_of_nothing)
{
	post_empty_recvs(&w->s, 1);
	ck_assert_int_eq(post_send_inv(&w->c, 1, 0x00120034), 0);
	expect_violation();
}
END_TEST

/* --- peers that speak bytes */

static int
raw_setup(void)
{
	int fd;

	F->conn_free(w->c.conn);
	F->conn_free(w->s.conn);
	w->c.conn = NULL;
	w->s.n_ev = w->s.n_wc = 0;
	ck_assert_int_eq(F->mr_dereg(mr), 0);
	fd = world_raw_peer(w);
	mr = reg(&w->s, mem, LEN, FABRIC_ACCESS_REMOTE_WRITE);
	return fd;
}

/* The raw peer is told why, and sees the end. */
static void
expect_error_frame(int fd, unsigned why)
{
	uint8_t buf[2 * TCP_FRAME_SIZE];
	struct tcp_frame f;

	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_DISCONNECTED));
	ck_assert_int_eq(need_ev(&w->s, FABRIC_EV_DISCONNECTED)->err, -EPROTO);
	ck_assert_uint_eq(raw_read(fd, buf, sizeof(buf)), TCP_FRAME_SIZE);
	ck_assert_int_eq(tcp_frame_decode(buf, &f), 0);
	ck_assert_uint_eq(f.op, TCP_OP_ERROR);
	ck_assert_uint_eq(f.arg, why);
}

START_TEST(malformed_frames)
{
	static const struct {
		unsigned at;
		uint8_t val;
	} bad[] = {
		{0, 0}, {0, 8},    {0, 'G'}, {1, 1},  {2, 1},
		{3, 1}, {7, 0xff}, {8, 1},   {16, 1}, {20, 1},
	};
	const struct tcp_frame f = {.op = TCP_OP_SEND};
	uint8_t buf[TCP_FRAME_SIZE];
	int fd = raw_setup();

	tcp_frame_encode(buf, &f);
	buf[bad[_i].at] = bad[_i].val;
	raw_write(fd, buf, sizeof(buf));
	expect_error_frame(fd, TCP_V_MALFORMED);
	close(fd);
	ck_assert(world_close(w, &w->s));
}
END_TEST

/* The stream arrives byte by byte, whatever the boundaries. */
START_TEST(bytes_one_by_one)
{
	int fd = raw_setup();
	uint8_t buf[2 * TCP_FRAME_SIZE + 3], got[8];
	struct tcp_frame f = {
		.op = TCP_OP_WRITE,
		.len = 3,
		.raddr = mr->raddr + 1,
		.rkey = mr->rkey,
	};

	tcp_frame_encode(buf, &f);
	memcpy(buf + TCP_FRAME_SIZE, "xyz", 3);
	f = (struct tcp_frame){.op = TCP_OP_SEND_IMM, .imm = 5};
	tcp_frame_encode(buf + TCP_FRAME_SIZE + 3, &f);
	post_buf(&w->s, 1, got, sizeof(got));
	for (size_t i = 0; i < sizeof(buf); i++) {
		raw_write(fd, buf + i, 1);
		for (int k = 0; k < 3; k++)
			world_step(w);
	}
	WORLD_UNTIL(w, w->s.n_wc == 1);
	ck_assert_uint_eq(w->s.wc[0].imm, 5);
	ck_assert_mem_eq(mem, "\0xyz\0", 5);
	close(fd);
}
END_TEST

/*
 * Half of the payload is in when the region goes away, and its memory with it:
 * the rest is a violation, and nothing is written. Short payloads take the way
 * through the staging buffer, long ones are read in place.
 */
START_TEST(dereg_in_the_middle)
{
	const uint32_t len = _i ? LEN : 2000;
	int fd = raw_setup();
	uint8_t *src = malloc(len), *gone = malloc(LEN);
	struct fabric_mr *m = reg(&w->s, gone, LEN, FABRIC_ACCESS_REMOTE_WRITE);

	memset(src, 0xaa, len);
	memset(gone, 0, LEN);
	raw_frame(fd, (struct tcp_frame){.op = TCP_OP_WRITE,
					 .len = len,
					 .raddr = m->raddr,
					 .rkey = m->rkey});
	raw_write(fd, src, len / 2);
	WORLD_UNTIL(w, gone[len / 2 - 1]);
	ck_assert_int_eq(F->mr_dereg(m), 0);
	free(gone);
	/* The slot has a new owner by now: that does not help. */
	m = reg(&w->s, mem, LEN, FABRIC_ACCESS_REMOTE_WRITE);
	raw_write(fd, src, len - len / 2);
	expect_error_frame(fd, TCP_V_KEY);
	ck_assert(all_zero(mem, LEN));
	ck_assert_int_eq(F->mr_dereg(m), 0);
	close(fd);
	free(src);
	ck_assert(world_close(w, &w->s));
}
END_TEST

/* The same with a receive buffer, and disconnect() or conn_free(). */
START_TEST(end_in_the_middle)
{
	int fd = raw_setup();
	uint8_t *src = calloc(1, LEN), *buf = calloc(1, LEN);

	memset(src, 0xaa, LEN);
	post_buf(&w->s, 3, buf, LEN);
	raw_frame(fd, (struct tcp_frame){.op = TCP_OP_SEND, .len = LEN});
	raw_write(fd, src, LEN / 2);
	WORLD_UNTIL(w, buf[LEN / 2 - 1]);
	if (_i) {
		F->disconnect(w->s.conn);
		world_step(w);
		ck_assert_uint_eq(w->s.n_wc, 1);
		ck_assert_int_eq(w->s.wc[0].status, FABRIC_WC_FLUSHED);
		ck_assert_uint_eq(w->s.wc[0].wr_id, 3);
	} else {
		F->conn_free(w->s.conn);
		w->s.conn = NULL;
	}
	free(buf); /* the sanitizer looks for writes */
	if (_i) {
		raw_write(fd, src, LEN / 2);
		ck_assert_uint_eq(raw_read(fd, src, LEN), TCP_FRAME_SIZE);
		close(fd);
		WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_CLOSED));
		ck_assert(need_ev(&w->s, FABRIC_EV_CLOSED)->confirmed);
	} else {
		close(fd);
		world_step(w);
	}
	free(src);
}
END_TEST

START_TEST(recv_buffer_deregistered)
{
	int fd = raw_setup();
	uint8_t *buf = malloc(64);
	struct fabric_mr *m = reg(&w->s, buf, 64, FABRIC_ACCESS_LOCAL);
	struct fabric_recv_wr wr = {
		.wr_id = 1, .addr = buf + 1, .len = 64, .mr = m};

	ck_assert_int_eq(F->post_recv(w->s.conn, &wr), -EINVAL);
	wr.addr = buf;
	ck_assert_int_eq(F->post_recv(w->s.conn, &wr), 0);
	ck_assert_int_eq(F->mr_dereg(m), 0);
	free(buf);
	raw_frame(fd, (struct tcp_frame){.op = TCP_OP_SEND, .len = 4});
	raw_write(fd, "abcd", 4);
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_DISCONNECTED));
	ck_assert_int_eq(need_ev(&w->s, FABRIC_EV_DISCONNECTED)->err, -EIO);
	ck_assert_int_eq(w->s.wc[0].status, FABRIC_WC_ERROR);
	close(fd);
	ck_assert(world_close(w, &w->s));
}
END_TEST

START_TEST(cut_in_a_frame)
{
	int fd = raw_setup();

	raw_frame(fd, (struct tcp_frame){.op = TCP_OP_WRITE,
					 .len = 1000,
					 .raddr = mr->raddr,
					 .rkey = mr->rkey});
	raw_write(fd, "abc", 3);
	if (_i)
		raw_reset(fd);
	else
		close(fd);
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_DISCONNECTED));
	ck_assert_int_eq(need_ev(&w->s, FABRIC_EV_DISCONNECTED)->err,
			 -ECONNRESET);
	/* A FIN proves that the peer is gone, a reset does not. */
	ck_assert(world_close(w, &w->s) == !_i);
}
END_TEST

/* Random bytes behind a good handshake: an end, and nothing else. */
START_TEST(noise)
{
	int fd = raw_setup();
	uint64_t x = (uint64_t)_i + 1;
	uint8_t buf[600];

	post_empty_recvs(&w->s, 50);
	for (size_t i = 0; i < sizeof(buf); i++) {
		x = x * UINT64_C(6364136223846793005) + 1;
		buf[i] = (uint8_t)(x >> 56);
	}
	/* Beginnings that are right get further. */
	for (size_t i = 0; i < sizeof(buf) && _i % 2; i += TCP_FRAME_SIZE) {
		memset(buf + i, 0, TCP_FRAME_SIZE);
		buf[i] = (uint8_t)(1 + (x >> (i % 50)) % 5);
		buf[i + (x >> 40) % 16] ^= (uint8_t)(x >> (i % 40));
	}
	raw_write(fd, buf, sizeof(buf));
	close(fd);
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_DISCONNECTED));
	ck_assert(all_zero(mem, LEN));
	world_close(w, &w->s);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tcp-guard");
	TCase *tc = tcase_create("tcp-guard");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, bad_targets, 0, 15);
	tcase_add_test(tc, address_overflow);
	tcase_add_test(tc, not_writable);
	tcase_add_test(tc, deregistered);
	tcase_add_test(tc, key_of_another_pd);
	tcase_add_test(tc, write_without_length_needs_no_key);
	tcase_add_test(tc, send_too_long);
	tcase_add_test(tc, send_into_empty_receive);
	tcase_add_test(tc, inv_of_what_is_not_the_peers);
	tcase_add_test(tc, inv_of_nothing);
	tcase_add_loop_test(tc, malformed_frames, 0, 10);
	tcase_add_test(tc, bytes_one_by_one);
	tcase_add_loop_test(tc, dereg_in_the_middle, 0, 2);
	tcase_add_loop_test(tc, end_in_the_middle, 0, 2);
	tcase_add_test(tc, recv_buffer_deregistered);
	tcase_add_loop_test(tc, cut_in_a_frame, 0, 2);
	tcase_add_loop_test(tc, noise, 0, 20);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
