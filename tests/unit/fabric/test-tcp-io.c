/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What moves over a living connection, and what becomes of it when it dies.
 */
#include "rtrs/fabric/tcp.h"
#include "tcp-world.h"

static struct world *w;

static void
setup(void)
{
	w = world_new(NULL);
	world_connect(w);
}

static void
teardown(void)
{
	world_free(w);
}

static void
fill(uint8_t *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i * 31 + (i >> 8) * 7 + seed);
}

START_TEST(write_imm_of_any_size)
{
	static const uint32_t sizes[] = {0,     1,      4096,   8192,    8193,
					 16384, 131072, 131073, 1 << 20, 3};
	uint8_t *src = malloc(1 << 20), *dst = malloc((1 << 20) + 1);
	struct fabric_mr *mr =
		reg(&w->s, dst, 1 << 20, FABRIC_ACCESS_REMOTE_WRITE);

	dst[1 << 20] = 0x5a;
	for (unsigned i = 0; i < 3 * ARRAY_SIZE(sizes); i++) {
		uint32_t n = sizes[i % ARRAY_SIZE(sizes)];
		uint32_t off = (1 << 20) - n;
		const struct fabric_wc *wc;

		w->s.n_wc = w->c.n_wc = 0;
		fill(src, n, i);
		memset(dst, 0, 1 << 20);
		post_empty_recvs(&w->s, 1);
		ck_assert_int_eq(post_write_imm(&w->c, i, src, n,
						n ? mr->raddr + off : 0,
						mr->rkey, 0xdead0000 + i),
				 0);
		WORLD_UNTIL(w, w->s.n_wc == 1 && w->c.n_wc == 1);
		wc = &w->s.wc[0];
		ck_assert_int_eq(wc->status, FABRIC_WC_SUCCESS);
		ck_assert_int_eq(wc->op, FABRIC_WC_OP_RECV_RDMA_IMM);
		ck_assert(wc->with_imm && !wc->with_inv);
		ck_assert_uint_eq(wc->imm, 0xdead0000 + i);
		ck_assert_uint_eq(wc->byte_len, n);
		ck_assert_uint_eq(wc->wr_id, 7777);
		ck_assert_ptr_eq(wc->conn, w->s.conn);
		ck_assert_ptr_eq(wc->user, w);
		ck_assert_mem_eq(dst + off, src, n);
		ck_assert(all_zero(dst, off));
		ck_assert_int_eq(w->c.wc[0].status, FABRIC_WC_SUCCESS);
		ck_assert_int_eq(w->c.wc[0].op, FABRIC_WC_OP_RDMA_WRITE);
		ck_assert_uint_eq(w->c.wc[0].wr_id, i);
	}
	ck_assert_uint_eq(dst[1 << 20], 0x5a);
	ck_assert_int_eq(F->mr_dereg(mr), 0);
	free(src);
	free(dst);
}
END_TEST

/*
 * From the sender's memory to the socket, from the socket to its place or by
 * the staging buffer: nothing is copied twice, and of what is large hardly
 * anything once.
 */
START_TEST(payload_moves_at_most_once)
{
	static const uint32_t sizes[] = {512, 4096, 65536, 131072, 1 << 20};
	static uint8_t src[1 << 20], dst[1 << 20];
	struct tcp_ctx *ctx = tcp_ctx(w->s.ctx);
	struct tcp_tx *tx = &tcp_conn(w->c.conn)->tx;
	struct fabric_mr *mr =
		reg(&w->s, dst, sizeof(dst), FABRIC_ACCESS_REMOTE_WRITE);

	fill(src, sizeof(src), 9);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t total = 40 * (uint64_t)sizes[i];

		memset(&ctx->moved, 0, sizeof(ctx->moved));
		w->s.n_wc = w->c.n_wc = 0;
		post_empty_recvs(&w->s, 40);
		for (unsigned k = 0; k < 40; k++) {
			ck_assert_int_eq(post_write_imm(&w->c, k, src, sizes[i],
							mr->raddr, mr->rkey, k),
					 0);
			ck_assert_ptr_eq(
				tx->ring[(tx->head + tx->count - 1) % tx->cap]
					.sge[0]
					.iov_base,
				src);
		}
		WORLD_UNTIL(w, w->s.n_wc == 40 && w->c.n_wc == 40);
		ck_assert_mem_eq(dst, src, sizes[i]);
		ck_assert_uint_eq(ctx->moved.direct + ctx->moved.copied, total);
		ck_assert_uint_eq(ctx->moved.kept, 0);
		if (sizes[i] >= 65536)
			ck_assert_uint_le(ctx->moved.copied, total / 8);
	}
	/* What arrives where no receive was posted is the exception. */
	ck_assert_int_eq(post_send(&w->c, 1, "one", 3), 0);
	WORLD_UNTIL(w, ctx->moved.kept >= 3);
	F->mr_dereg(mr);
}
END_TEST

START_TEST(gathers_three)
{
	uint8_t a[100], b[20000], c[7], dst[sizeof(a) + sizeof(b) + sizeof(c)];
	struct fabric_send_wr wr = {
		.wr_id = 1,
		.op = FABRIC_WR_SEND,
		.signaled = true,
		.num_sge = 3,
		.sge = {{a, sizeof(a), NULL},
			{b, sizeof(b), NULL},
			{c, sizeof(c), NULL}},
	};

	fill(a, sizeof(a), 1);
	fill(b, sizeof(b), 2);
	fill(c, sizeof(c), 3);
	wr.sge[1].mr = reg(&w->c, b, sizeof(b), FABRIC_ACCESS_LOCAL);
	post_buf(&w->s, 5, dst, sizeof(dst));
	ck_assert_int_eq(F->post_send(w->c.conn, &wr), 0);
	WORLD_UNTIL(w, w->s.n_wc == 1 && w->c.n_wc == 1);
	ck_assert_int_eq(w->s.wc[0].op, FABRIC_WC_OP_RECV);
	ck_assert_uint_eq(w->s.wc[0].byte_len, sizeof(dst));
	ck_assert_uint_eq(w->s.wc[0].wr_id, 5);
	ck_assert_mem_eq(dst, a, sizeof(a));
	ck_assert_mem_eq(dst + sizeof(a), b, sizeof(b));
	ck_assert_mem_eq(dst + sizeof(a) + sizeof(b), c, sizeof(c));
	ck_assert_int_eq(w->c.wc[0].op, FABRIC_WC_OP_SEND);

	wr.sge[1].len++; /* beyond its region */
	ck_assert_int_eq(F->post_send(w->c.conn, &wr), -EINVAL);
	F->mr_dereg(wr.sge[1].mr);
}
END_TEST

/* The data of a WRITE is there when the completion behind it is. */
START_TEST(data_before_immediate)
{
	enum {
		N = 40,
		LEN = 60000
	};
	uint8_t *src = malloc(N * LEN), *dst = calloc(N, LEN);
	struct fabric_mr *mr =
		reg(&w->s, dst, N * LEN, FABRIC_ACCESS_REMOTE_WRITE);
	unsigned seen = 0;

	fill(src, N * LEN, 9);
	post_empty_recvs(&w->s, N);
	for (unsigned i = 0; i < 30; i++) {
		struct fabric_send_wr wr[2] = {
			{.op = FABRIC_WR_RDMA_WRITE,
			 .next = &wr[1],
			 .num_sge = 1,
			 .sge = {{src + i * LEN, LEN, NULL}},
			 .raddr = mr->raddr + i * LEN,
			 .rkey = mr->rkey},
			{.op = FABRIC_WR_RDMA_WRITE_WITH_IMM,
			 .signaled = true,
			 .imm = i},
		};

		ck_assert_int_eq(F->post_send(w->c.conn, wr), 0);
	}
	while (seen < 30) {
		WORLD_UNTIL(w, w->s.n_wc > seen);
		for (; seen < w->s.n_wc; seen++) {
			ck_assert_uint_eq(w->s.wc[seen].imm, seen);
			ck_assert_mem_eq(dst + seen * LEN, src + seen * LEN,
					 LEN);
		}
	}
	F->mr_dereg(mr);
	free(src);
	free(dst);
}
END_TEST

START_TEST(receives_are_used_in_order)
{
	uint8_t buf[3][64];

	post_buf(&w->s, 10, buf[0], 64);
	post_empty_recvs(&w->s, 2);
	post_buf(&w->s, 11, buf[1], 64);
	post_buf(&w->s, 12, buf[2], 64);
	ck_assert_int_eq(post_send(&w->c, 1, "one", 3), 0);
	ck_assert_int_eq(post_send_imm(&w->c, 2, NULL, 0, 77), 0);
	ck_assert_int_eq(post_write_imm(&w->c, 3, NULL, 0, 0, 0, 78), 0);
	ck_assert_int_eq(post_write_imm(&w->c, 4, NULL, 0, 0, 0, 79), 0);
	ck_assert_int_eq(post_send_imm(&w->c, 5, "three", 5, 80), 0);
	WORLD_UNTIL(w, w->s.n_wc == 5);
	ck_assert_uint_eq(w->s.wc[0].wr_id, 10);
	ck_assert(!w->s.wc[0].with_imm);
	ck_assert_uint_eq(w->s.wc[0].byte_len, 3);
	ck_assert_mem_eq(buf[0], "one", 3);
	ck_assert_uint_eq(w->s.wc[1].wr_id, 7777);
	ck_assert_int_eq(w->s.wc[1].op, FABRIC_WC_OP_RECV);
	ck_assert_uint_eq(w->s.wc[1].imm, 77);
	ck_assert_uint_eq(w->s.wc[2].wr_id, 7777);
	ck_assert_int_eq(w->s.wc[2].op, FABRIC_WC_OP_RECV_RDMA_IMM);
	ck_assert_uint_eq(w->s.wc[3].wr_id, 11);
	ck_assert_uint_eq(w->s.wc[3].imm, 79);
	ck_assert_uint_eq(w->s.wc[4].wr_id, 12);
	ck_assert(w->s.wc[4].with_imm);
	ck_assert_mem_eq(buf[2], "three", 5);
}
END_TEST

START_TEST(send_with_inv)
{
	uint8_t mem[64];
	struct fabric_mr *mr =
		reg(&w->s, mem, 64,
		    FABRIC_ACCESS_REMOTE_WRITE | FABRIC_ACCESS_REMOTE_INV);
	uint32_t key = mr->rkey;

	post_empty_recvs(&w->s, 3);
	ck_assert_int_eq(post_write_imm(&w->c, 1, "abcd", 4, mr->raddr, key, 1),
			 0);
	ck_assert_int_eq(post_send_inv(&w->c, 2, key), 0);
	WORLD_UNTIL(w, w->s.n_wc == 2);
	ck_assert_mem_eq(mem, "abcd", 4);
	ck_assert(w->s.wc[1].with_inv && !w->s.wc[1].with_imm);
	ck_assert_uint_eq(w->s.wc[1].inv_rkey, key);
	/* The key is dead, the object is not. */
	ck_assert_int_eq(post_write_imm(&w->c, 3, "efgh", 4, mr->raddr, key, 2),
			 0);
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_DISCONNECTED));
	ck_assert_int_eq(need_ev(&w->s, FABRIC_EV_DISCONNECTED)->err, -EPROTO);
	ck_assert_mem_eq(mem, "abcd", 4);
	ck_assert_int_eq(F->mr_dereg(mr), 0);
}
END_TEST

START_TEST(windows)
{
	uint8_t mem[4096] = {0};
	struct fabric_mr *mr =
		reg(&w->s, mem, sizeof(mem), FABRIC_ACCESS_MW_BIND);
	struct fabric_mr *plain = reg(&w->s, mem, 64, 0);
	struct fabric_mw *mw;
	struct fabric_send_wr bind = {
		.wr_id = 1,
		.op = FABRIC_WR_MW_BIND,
		.signaled = true,
		.bind_mr = mr,
		.bind_off = 1024,
		.bind_len = 512,
		.bind_access =
			FABRIC_ACCESS_REMOTE_WRITE | FABRIC_ACCESS_REMOTE_INV,
	};
	struct fabric_send_wr inv = {.wr_id = 2, .op = FABRIC_WR_MW_INV};
	uint32_t first;

	ck_assert_int_eq(F->mw_new(F->conn_pd(w->s.conn), FABRIC_MW_CONN, &mw),
			 0);
	ck_assert(!mw->bound);
	bind.mw = inv.mw = mw;
	bind.bind_off = 4000;
	ck_assert_int_eq(F->post_send(w->s.conn, &bind), -EINVAL);
	bind.bind_off = SIZE_MAX - 100;
	ck_assert_int_eq(F->post_send(w->s.conn, &bind), -EINVAL);
	bind.bind_off = 0;
	bind.bind_mr = plain;
	ck_assert_int_eq(F->post_send(w->s.conn, &bind), -EINVAL);
	bind.bind_mr = mr;
	bind.bind_off = 1024;
	ck_assert_int_eq(F->post_send(w->s.conn, &bind), 0);
	ck_assert(mw->bound);
	first = mw->rkey;
	ck_assert_uint_eq(mw->raddr, mr->raddr + 1024);
	ck_assert_int_eq(F->mr_dereg(mr), -EBUSY);
	/* Bound again at once: another key. */
	inv.next = &bind;
	ck_assert_int_eq(F->post_send(w->s.conn, &inv), 0);
	ck_assert_uint_ne(mw->rkey, first);
	WORLD_UNTIL(w, w->s.n_wc == 2); /* inv was not signalled */
	ck_assert_int_eq(w->s.wc[0].op, FABRIC_WC_OP_MW_BIND);

	post_empty_recvs(&w->s, 4);
	ck_assert_int_eq(post_write_imm(&w->c, 1, "abcd", 4, mw->raddr + 508,
					mw->rkey, 1),
			 0);
	ck_assert_int_eq(post_send_inv(&w->c, 2, mw->rkey), 0);
	WORLD_UNTIL(w, w->s.n_wc == 4);
	ck_assert_mem_eq(mem + 1024 + 508, "abcd", 4);
	ck_assert(w->s.wc[3].with_inv);
	ck_assert(!mw->bound);
	/* The key of the window that was bound first is of no use. */
	ck_assert_int_eq(
		post_write_imm(&w->c, 3, "zzzz", 4, mr->raddr + 1024, first, 1),
		0);
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_DISCONNECTED));
	ck_assert(!mem[1024]);
	F->mw_free(mw);
	ck_assert_int_eq(F->mr_dereg(mr), 0);
	ck_assert_int_eq(F->mr_dereg(plain), 0);
}
END_TEST

START_TEST(local_end_of_a_window)
{
	uint8_t mem[64] = {0};
	struct fabric_mr *mr = reg(&w->s, mem, 64, FABRIC_ACCESS_MW_BIND);
	struct fabric_mw *mw;
	struct fabric_send_wr bind = {
		.op = FABRIC_WR_MW_BIND,
		.bind_mr = mr,
		.bind_len = 64,
		.bind_access = FABRIC_ACCESS_REMOTE_WRITE,
	};
	struct fabric_send_wr inv = {
		.wr_id = 2, .op = FABRIC_WR_MW_INV, .signaled = true};

	ck_assert_int_eq(F->mw_new(F->conn_pd(w->s.conn), FABRIC_MW_CONN, &mw),
			 0);
	bind.mw = inv.mw = mw;
	bind.next = &inv;
	ck_assert_int_eq(F->post_send(w->s.conn, &bind), 0);
	WORLD_UNTIL(w, w->s.n_wc == 1);
	ck_assert_int_eq(w->s.wc[0].op, FABRIC_WC_OP_MW_INV);
	ck_assert_int_eq(post_write(&w->c, 1, "abcd", 4, mw->raddr, mw->rkey),
			 0);
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_DISCONNECTED));
	ck_assert(!mem[0]);
	F->mw_free(mw);
	ck_assert_int_eq(F->mr_dereg(mr), 0);
}
END_TEST

START_TEST(keys_are_renewed)
{
	uint8_t mem[16];
	uint32_t last_key = 0;
	uint64_t last_addr = 0;
	unsigned same = 0;

	for (int i = 0; i < 20000; i++) {
		struct fabric_mr *mr =
			reg(&w->s, mem, 16, FABRIC_ACCESS_REMOTE_WRITE);

		same += mr->rkey == last_key || mr->raddr == last_addr;
		last_key = mr->rkey;
		last_addr = mr->raddr;
		F->mr_dereg(mr);
	}
	ck_assert_uint_eq(same, 0);
}
END_TEST

START_TEST(many_regions_at_once)
{
	static struct fabric_mr *mr[70000];
	uint8_t mem[16];
	unsigned n = 0;
	int r;

	while (!(r = F->mr_reg(F->conn_pd(w->s.conn), mem, 16,
			       FABRIC_ACCESS_REMOTE_WRITE, &mr[n])))
		n++;
	ck_assert_int_eq(r, -ENOMEM);
	ck_assert_uint_eq(n, 65535);
	post_empty_recvs(&w->s, 1);
	ck_assert_int_eq(post_write_imm(&w->c, 1, "abcd", 4, mr[n - 1]->raddr,
					mr[n - 1]->rkey, 1),
			 0);
	WORLD_UNTIL(w, w->s.n_wc == 1);
	ck_assert_mem_eq(mem, "abcd", 4);
	while (n)
		F->mr_dereg(mr[--n]);
}
END_TEST

/* --- receives that are not there yet */

START_TEST(waits_for_a_receive)
{
	uint8_t a[64], b[64], mem[70000] = {0};
	static uint8_t src[70000];
	struct fabric_mr *mr =
		reg(&w->s, mem, sizeof(mem), FABRIC_ACCESS_REMOTE_WRITE);

	fill(src, sizeof(src), 3);
	ck_assert_int_eq(post_send(&w->c, 1, "one", 3), 0);
	ck_assert_int_eq(post_send(&w->c, 2, "two", 3), 0);
	ck_assert_int_eq(
		post_write(&w->c, 3, src, sizeof(src), mr->raddr, mr->rkey), 0);
	ck_assert_int_eq(
		post_write_imm(&w->c, 4, "x", 1, mr->raddr, mr->rkey, 5), 0);
	WORLD_UNTIL(w, w->c.n_wc == 4);
	/* It comes to rest: nobody spins. */
	for (int i = 0; i < 10; i++)
		world_step(w);
	ck_assert(!F->ctx_arm(w->s.ctx));
	ck_assert_uint_eq(w->s.n_wc, 0);

	post_buf(&w->s, 1, a, sizeof(a));
	ck_assert(F->ctx_arm(w->s.ctx));
	WORLD_UNTIL(w, w->s.n_wc == 1);
	ck_assert_mem_eq(a, "one", 3);
	for (int i = 0; i < 3; i++)
		world_step(w);
	ck_assert_uint_eq(w->s.n_wc, 1);
	ck_assert_uint_eq(mem[5], 0);
	post_buf(&w->s, 2, b, sizeof(b));
	WORLD_UNTIL(w, w->s.n_wc == 2 && mem[69999] == src[69999]);
	ck_assert_mem_eq(b, "two", 3);
	ck_assert_mem_eq(mem, src, sizeof(src));
	post_empty_recvs(&w->s, 1);
	WORLD_UNTIL(w, w->s.n_wc == 3);
	ck_assert_uint_eq(mem[0], 'x');
	F->mr_dereg(mr);
}
END_TEST

START_TEST(stall_with_a_full_socket)
{
	enum {
		LEN = 1 << 20,
		N = 30
	};
	uint8_t *src = malloc(LEN), *dst = calloc(1, LEN);
	struct fabric_mr *mr = reg(&w->s, dst, LEN, FABRIC_ACCESS_REMOTE_WRITE);

	fill(src, LEN, 4);
	for (unsigned i = 0; i < N; i++)
		ck_assert_int_eq(post_write_imm(&w->c, i, src, LEN, mr->raddr,
						mr->rkey, i),
				 0);
	for (int i = 0; i < 20; i++)
		world_step(w);
	ck_assert_uint_lt(w->c.n_wc, N);
	ck_assert(!F->ctx_arm(w->c.ctx));
	ck_assert(!F->ctx_arm(w->s.ctx));
	for (unsigned i = 0; i < N; i++) {
		post_empty_recvs(&w->s, 1);
		WORLD_UNTIL(w, w->s.n_wc == i + 1);
		ck_assert_uint_eq(w->s.wc[i].imm, i);
	}
	WORLD_UNTIL(w, w->c.n_wc == N);
	ck_assert_mem_eq(dst, src, LEN);
	F->mr_dereg(mr);
	free(src);
	free(dst);
}
END_TEST

START_TEST(peer_leaves_while_stalled)
{
	ck_assert_int_eq(post_send(&w->c, 1, "one", 3), 0);
	ck_assert_int_eq(post_send(&w->c, 2, "two", 3), 0);
	WORLD_UNTIL(w, w->c.n_wc == 2);
	for (int i = 0; i < 5; i++)
		world_step(w);
	F->disconnect(w->c.conn);
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_DISCONNECTED));
	ck_assert_int_eq(need_ev(&w->s, FABRIC_EV_DISCONNECTED)->err, 0);
	ck_assert_uint_eq(w->s.n_wc, 0);
	ck_assert(world_close(w, &w->s));
	WORLD_UNTIL(w, end_ev(&w->c, FABRIC_EV_CLOSED));
	ck_assert(need_ev(&w->c, FABRIC_EV_CLOSED)->confirmed);
}
END_TEST

START_TEST(disconnect_while_stalled)
{
	ck_assert_int_eq(post_send(&w->c, 1, "one", 3), 0);
	WORLD_UNTIL(w, w->c.n_wc == 1);
	for (int i = 0; i < 5; i++)
		world_step(w);
	F->disconnect(w->s.conn);
	WORLD_UNTIL(w, end_ev(&w->c, FABRIC_EV_DISCONNECTED));
	ck_assert(world_close(w, &w->c));
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_CLOSED));
	ck_assert(need_ev(&w->s, FABRIC_EV_CLOSED)->confirmed);
}
END_TEST

/* A stalled connection does not hold up its neighbour. */
START_TEST(no_head_of_line_blocking)
{
	struct end first_c = {.conn = w->c.conn}, first_s = {.conn = w->s.conn};
	static uint8_t big[1 << 20];
	struct fabric_mr *mr =
		reg(&w->s, big, sizeof(big), FABRIC_ACCESS_REMOTE_WRITE);

	for (int i = 0; i < 30; i++)
		ck_assert_int_eq(post_write_imm(&first_c, 1, big, sizeof(big),
						mr->raddr, mr->rkey, 1),
				 0);
	world_connect(w);
	post_empty_recvs(&w->s, 50);
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(post_send_imm(&w->c, 2, NULL, 0, 1), 0);
	WORLD_UNTIL(w, w->s.n_wc == 50);
	F->mr_dereg(mr);
	F->conn_free(first_c.conn);
	F->conn_free(first_s.conn);
}
END_TEST

/* --- queues */

START_TEST(queues_are_bounded)
{
	struct fabric_send_wr wr[3] = {
		{.op = FABRIC_WR_SEND, .next = &wr[1], .signaled = true},
		{.op = FABRIC_WR_SEND, .next = &wr[2], .signaled = true},
		{.op = FABRIC_WR_SEND, .signaled = true},
	};
	const struct fabric_recv_wr one = {0}, many = {.count = 64};

	for (int i = 0; i < 21; i++)
		ck_assert_int_eq(F->post_send(w->c.conn, wr), 0);
	ck_assert_int_eq(F->post_send(w->c.conn, wr), -ENOMEM);
	ck_assert_int_eq(F->post_send(w->c.conn, &wr[2]), 0);
	ck_assert_int_eq(F->post_send(w->c.conn, &wr[2]), -ENOMEM);
	ck_assert_int_eq(F->post_recv(w->s.conn, &many), 0);
	ck_assert_int_eq(F->post_recv(w->s.conn, &one), -ENOMEM);
	WORLD_UNTIL(w, w->c.n_wc == 64 && w->s.n_wc == 64);
	ck_assert_int_eq(F->post_send(w->c.conn, wr), 0);
	ck_assert_int_eq(F->post_recv(w->s.conn, &many), 0);
	wr[1].num_sge = FABRIC_MAX_SGE + 1;
	ck_assert_int_eq(F->post_send(w->c.conn, wr), -EINVAL);
	WORLD_UNTIL(w, w->c.n_wc == 67 && w->s.n_wc == 67);
}
END_TEST

START_TEST(many_operations)
{
	enum {
		TOTAL = 20000
	};
	static uint8_t src[64 * 512], dst[64 * 512];
	struct fabric_mr *mr =
		reg(&w->s, dst, sizeof(dst), FABRIC_ACCESS_REMOTE_WRITE);
	unsigned sent = 0, done = 0, got = 0, wrong = 0;

	fill(src, sizeof(src), 1);
	post_empty_recvs(&w->s, 64);
	while (got < TOTAL) {
		while (sent < TOTAL && sent - done < 64) {
			uint32_t at = sent % 64 * 512;

			ck_assert_int_eq(post_write_imm(&w->c, sent, src + at,
							512, mr->raddr + at,
							mr->rkey, sent),
					 0);
			sent++;
		}
		WORLD_UNTIL(w, w->s.n_wc || w->c.n_wc);
		for (unsigned i = 0; i < w->c.n_wc; i++, done++)
			wrong += w->c.wc[i].wr_id != done;
		for (unsigned i = 0; i < w->s.n_wc; i++, got++)
			wrong += w->s.wc[i].imm != got;
		if (w->s.n_wc)
			post_empty_recvs(&w->s, w->s.n_wc);
		w->c.n_wc = w->s.n_wc = 0;
	}
	ck_assert_uint_eq(wrong, 0);
	ck_assert_mem_eq(dst, src, sizeof(src));
	F->mr_dereg(mr);
}
END_TEST

/* Both sides send more than the sockets hold, and nobody waits for ever. */
START_TEST(both_ways_at_once)
{
	enum {
		LEN = 1 << 20,
		N = 40
	};
	uint8_t *mem = malloc(4 * LEN);
	struct fabric_mr *mc = reg(&w->c, mem, LEN, FABRIC_ACCESS_REMOTE_WRITE);
	struct fabric_mr *ms =
		reg(&w->s, mem + LEN, LEN, FABRIC_ACCESS_REMOTE_WRITE);
	uint8_t *src_c = mem + 2 * LEN, *src_s = mem + 3 * LEN;

	fill(src_c, LEN, 1);
	fill(src_s, LEN, 2);
	post_empty_recvs(&w->c, N);
	post_empty_recvs(&w->s, N);
	for (unsigned i = 0; i < N; i++) {
		ck_assert_int_eq(post_write_imm(&w->c, i, src_c, LEN - i,
						ms->raddr + i, ms->rkey, i),
				 0);
		ck_assert_int_eq(post_write_imm(&w->s, i, src_s, LEN - i,
						mc->raddr + i, mc->rkey, i),
				 0);
	}
	WORLD_UNTIL(w, w->c.n_wc == 2 * N && w->s.n_wc == 2 * N);
	ck_assert_mem_eq(mem + N - 1, src_s, LEN - N + 1);
	ck_assert_mem_eq(mem + LEN + N - 1, src_c, LEN - N + 1);
	F->mr_dereg(mc);
	F->mr_dereg(ms);
	free(mem);
}
END_TEST

/* --- death */

START_TEST(flush_at_death)
{
	static uint8_t big[1 << 20];
	uint8_t buf[64];
	unsigned n = 0;

	/* More than the socket takes, unsignalled; the peer never reads. */
	for (int i = 0; i < 30; i++) {
		struct fabric_send_wr wr = {
			.wr_id = 100 + (unsigned)i,
			.op = FABRIC_WR_SEND,
			.num_sge = 1,
			.sge = {{big, sizeof(big), NULL}},
		};

		ck_assert_int_eq(F->post_send(w->c.conn, &wr), 0);
	}
	post_buf(&w->c, 1, buf, sizeof(buf));
	post_buf(&w->c, 2, buf, sizeof(buf));
	for (int i = 0; i < 20; i++)
		world_step(w);
	F->conn_free(w->s.conn); /* with unread bytes: a reset */
	w->s.conn = NULL;
	WORLD_UNTIL(w, end_ev(&w->c, FABRIC_EV_DISCONNECTED));
	ck_assert_int_eq(need_ev(&w->c, FABRIC_EV_DISCONNECTED)->err,
			 -ECONNRESET);
	world_step(w);
	ck_assert_uint_gt(w->c.n_wc, 3);
	for (unsigned i = 0; i < w->c.n_wc; i++) {
		ck_assert_int_eq(w->c.wc[i].status, FABRIC_WC_FLUSHED);
		n += w->c.wc[i].wr_id >= 100;
	}
	ck_assert_uint_eq(w->c.n_wc, n + 2);
	ck_assert_uint_eq(w->c.wc[n - 1].wr_id, 129);
	ck_assert_int_eq(post_send(&w->c, 1, NULL, 0), -ENOTCONN);
	ck_assert_int_eq(
		F->post_recv(w->c.conn, &(struct fabric_recv_wr){.count = 1}),
		-ENOTCONN);
	ck_assert(!world_close(w, &w->c));
}
END_TEST

/* CLOSED is the last word: it waits until completions were taken. */
START_TEST(closed_comes_last)
{
	struct fabric_event ev;
	struct fabric_wc wc[8];
	uint8_t buf[64];

	post_buf(&w->c, 1, buf, sizeof(buf));
	post_buf(&w->c, 2, buf, sizeof(buf));
	F->disconnect(w->s.conn);
	F->disconnect(w->c.conn);
	for (int i = 0; i < 1000; i++) {
		F->ctx_poll(w->c.ctx, w->now);
		F->ctx_poll(w->s.ctx, w->now);
		ck_assert(!F->next_event(w->c.ctx, &ev));
	}
	ck_assert(F->ctx_arm(w->c.ctx));
	ck_assert_int_eq(F->poll_cq(w->c.ctx, wc, 8), 2);
	ck_assert_int_eq(wc[0].status, FABRIC_WC_FLUSHED);
	ck_assert_uint_eq(wc[0].wr_id, 1);
	ck_assert(F->next_event(w->c.ctx, &ev));
	ck_assert_int_eq(ev.type, FABRIC_EV_CLOSED);
	ck_assert(ev.confirmed);
	ck_assert(!F->next_event(w->c.ctx, &ev));
}
END_TEST

/* What was posted before disconnect() still arrives where there is room. */
START_TEST(disconnect_sends_what_was_posted)
{
	uint8_t buf[64];

	post_buf(&w->s, 1, buf, sizeof(buf));
	ck_assert_int_eq(post_send(&w->c, 1, "last words", 10), 0);
	F->disconnect(w->c.conn);
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_DISCONNECTED));
	ck_assert_uint_eq(w->s.n_wc, 1);
	ck_assert_mem_eq(buf, "last words", 10);
	ck_assert_int_eq(w->c.wc[0].status, FABRIC_WC_SUCCESS);
}
END_TEST

/* Freeing a connection takes its completions along. */
START_TEST(free_drops_completions)
{
	struct fabric_wc wc[8];
	struct fabric_event ev;
	uint8_t buf[64];

	post_buf(&w->c, 1, buf, sizeof(buf));
	ck_assert_int_eq(post_send(&w->c, 2, "x", 1), 0);
	F->ctx_flush(w->c.ctx);
	F->conn_free(w->c.conn);
	w->c.conn = NULL;
	ck_assert_int_eq(F->poll_cq(w->c.ctx, wc, 8), 0);
	ck_assert(!F->next_event(w->c.ctx, &ev));
	/* The other end stalls on the send, and still learns of the end. */
	WORLD_UNTIL(w, end_ev(&w->s, FABRIC_EV_DISCONNECTED));
	ck_assert_int_eq(need_ev(&w->s, FABRIC_EV_DISCONNECTED)->err,
			 -ECONNRESET);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("tcp-io");
	TCase *tc = tcase_create("tcp-io");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, write_imm_of_any_size);
	tcase_add_test(tc, payload_moves_at_most_once);
	tcase_add_test(tc, gathers_three);
	tcase_add_test(tc, data_before_immediate);
	tcase_add_test(tc, receives_are_used_in_order);
	tcase_add_test(tc, send_with_inv);
	tcase_add_test(tc, windows);
	tcase_add_test(tc, local_end_of_a_window);
	tcase_add_test(tc, keys_are_renewed);
	tcase_add_test(tc, many_regions_at_once);
	tcase_add_test(tc, waits_for_a_receive);
	tcase_add_test(tc, stall_with_a_full_socket);
	tcase_add_test(tc, peer_leaves_while_stalled);
	tcase_add_test(tc, disconnect_while_stalled);
	tcase_add_test(tc, no_head_of_line_blocking);
	tcase_add_test(tc, queues_are_bounded);
	tcase_add_test(tc, many_operations);
	tcase_add_test(tc, both_ways_at_once);
	tcase_add_test(tc, flush_at_death);
	tcase_add_test(tc, closed_comes_last);
	tcase_add_test(tc, disconnect_sends_what_was_posted);
	tcase_add_test(tc, free_drops_completions);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
