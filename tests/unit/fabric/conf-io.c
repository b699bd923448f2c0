/* SPDX-License-Identifier: BSD-3-Clause */
/* Work requests: sends, writes, keys, windows, violations. */
#include "tests/unit/fabric/conf-io.h"
#include "tests/unit/fabric/conf-rig.h"

#include <errno.h>
#include <string.h>

START_TEST(sends_arrive_in_order)
{
	struct fabric_send_wr wr[3] = {
		{.next = &wr[1],
		 .op = FABRIC_WR_SEND,
		 .wr_id = 1,
		 .signaled = true,
		 .num_sge = 1},
		{.next = &wr[2],
		 .op = FABRIC_WR_SEND_WITH_IMM,
		 .wr_id = 2,
		 .num_sge = 3,
		 .imm = 0xdeadbeef},
		{.op = FABRIC_WR_SEND_WITH_IMM,
		 .wr_id = 3,
		 .signaled = true,
		 .imm = 7},
	};
	uint8_t in[3][64] = {{0}}, out[64];
	struct fabric_wc wc;
	struct pair p;
	int i;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	for (i = 0; i < 3; i++)
		rig_recv(p.s, 10 + (uint64_t)i, in[i], 64);
	rig_fill(out, 64, 1);
	wr[0].sge[0] = rig_sge(p.c, out, 64);
	wr[1].sge[0] = rig_sge(p.c, out + 32, 32);
	wr[1].sge[1] = rig_sge(p.c, out, 1);
	wr[1].sge[2] = rig_sge(p.c, out + 1, 7);
	ck_assert_int_eq(rig_post(p.c, wr), 0);
	wc = rig_wc_ok(SRV, 10);
	ck_assert_ptr_eq(wc.conn, p.s);
	ck_assert_ptr_eq(wc.user, &rig.ctx[SRV]);
	ck_assert_int_eq(wc.op, FABRIC_WC_OP_RECV);
	ck_assert(!wc.with_imm && !wc.with_inv);
	ck_assert_uint_eq(wc.byte_len, 64);
	ck_assert_mem_eq(in[0], out, 64);
	wc = rig_wc_ok(SRV, 11);
	ck_assert_int_eq(wc.op, FABRIC_WC_OP_RECV);
	ck_assert(wc.with_imm);
	ck_assert_uint_eq(wc.imm, 0xdeadbeef);
	ck_assert_uint_eq(wc.byte_len, 40);
	ck_assert_mem_eq(in[1], out + 32, 32);
	ck_assert_mem_eq(in[1] + 32, out, 8);
	wc = rig_wc_ok(SRV, 12);
	ck_assert_uint_eq(wc.byte_len, 0);
	ck_assert_uint_eq(wc.imm, 7);
	/* The second was not signalled. */
	ck_assert_int_eq(rig_wc_ok(CLT, 1).op, FABRIC_WC_OP_SEND);
	rig_wc_ok(CLT, 3);
}
END_TEST

START_TEST(send_waits_for_a_receive)
{
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_SEND, .signaled = true, .num_sge = 1};
	struct fabric_recv_wr empty = {.wr_id = 50, .count = 2};
	uint8_t in[8] = {0}, out[8] = "patient", other[8] = {0};
	bool early = rig.drv->completes_when_sent;
	struct pair p, q;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	q = rig_pair(NULL, NULL);
	wr.sge[0] = rig_sge(p.c, out, 8);
	ck_assert_int_eq(rig_post(p.c, &wr), 0);
	wr.op = FABRIC_WR_RDMA_WRITE_WITH_IMM;
	wr.num_sge = 0;
	wr.wr_id = 1;
	ck_assert_int_eq(rig_post(p.c, &wr), 0);
	if (early) {
		rig_wc_ok(CLT, 0);
		rig_wc_ok(CLT, 1);
	}
	/* Another connection is not held up by that. */
	rig_recv(q.s, 3, other, 8);
	wr.op = FABRIC_WR_SEND;
	wr.num_sge = 1;
	wr.sge[0] = rig_sge(q.c, out, 8);
	wr.wr_id = 9;
	ck_assert_int_eq(rig_post(q.c, &wr), 0);
	rig_wc_ok(SRV, 3);
	rig_wc_ok(CLT, 9);
	rig_settle();
	ck_assert_int_eq(rig.n_wc[SRV], 0);
	rig_recv(p.s, 4, in, 8);
	ck_assert_uint_eq(rig_wc_ok(SRV, 4).byte_len, 8);
	ck_assert_mem_eq(in, out, 8);
	rig_settle();
	ck_assert_int_eq(rig.n_wc[SRV], 0);
	ck_assert_int_eq(rig.ops->post_recv(p.s, &empty), 0);
	ck_assert_int_eq(rig_wc_ok(SRV, 50).op, FABRIC_WC_OP_RECV_RDMA_IMM);
	if (!early) {
		rig_wc_ok(CLT, 0);
		rig_wc_ok(CLT, 1);
	}
	/* The other one of the two. */
	wr.op = FABRIC_WR_SEND_WITH_IMM;
	wr.num_sge = 0;
	ck_assert_int_eq(rig_post(p.c, &wr), 0);
	ck_assert_int_eq(rig_wc_ok(SRV, 50).op, FABRIC_WC_OP_RECV);
}
END_TEST

START_TEST(write_is_in_place_before_the_next_completion)
{
	static uint8_t mem[300000], out[300000];
	struct fabric_send_wr wr[2] = {
		{.next = &wr[1],
		 .op = FABRIC_WR_RDMA_WRITE,
		 .wr_id = 1,
		 .num_sge = 1},
		{.op = FABRIC_WR_RDMA_WRITE_WITH_IMM,
		 .wr_id = 2,
		 .imm = 77,
		 .signaled = true,
		 .num_sge = 2},
	};
	struct fabric_mr *mr;
	struct fabric_wc wc;
	struct pair p;

	rig_setup(_i);
	memset(mem, 0, sizeof(mem));
	p = rig_pair(NULL, NULL);
	mr = rig_mr(p.s, mem, sizeof(mem), FABRIC_ACCESS_REMOTE_WRITE);
	rig_recv(p.s, 5, NULL, 0);
	rig_fill(out, sizeof(out), 9);
	wr[0].sge[0] = rig_sge(p.c, out, 200000);
	wr[0].raddr = mr->raddr;
	wr[0].rkey = mr->rkey;
	wr[1].sge[0] = rig_sge(p.c, out + 200000, 1);
	wr[1].sge[1] = rig_sge(p.c, out + 200001, 99999);
	wr[1].raddr = mr->raddr + 200000;
	wr[1].rkey = mr->rkey;
	ck_assert_int_eq(rig_post(p.c, wr), 0);
	wc = rig_wc_ok(SRV, 5);
	ck_assert_int_eq(wc.op, FABRIC_WC_OP_RECV_RDMA_IMM);
	ck_assert(wc.with_imm);
	ck_assert_uint_eq(wc.imm, 77);
	ck_assert_uint_eq(wc.byte_len, 100000);
	ck_assert(rig_is_filled(mem, sizeof(mem), 9));
	ck_assert_int_eq(rig_wc_ok(CLT, 2).op, FABRIC_WC_OP_RDMA_WRITE);
	rig_settle();
	ck_assert_int_eq(rig.n_wc[SRV] + rig.n_wc[CLT], 0);
}
END_TEST

/* Both ends send N writes of varying length through a ring of slots. */
enum {
	SLOT = 65536,
	SLOTS = 16,
	STREAM = 200
};

static struct stream_end {
	uint8_t mem[SLOTS][SLOT], out[SLOT];
	struct fabric_conn *conn;
	struct fabric_mr *mr;
	struct fabric_sge sge;
	int sent, acked, got;
} stream[2];

static uint32_t
stream_len(int i)
{
	return 1 + (uint32_t)(i * 7919 % SLOT);
}

static void
stream_send(struct stream_end *e, const struct stream_end *to)
{
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_RDMA_WRITE_WITH_IMM,
		.signaled = true,
		.num_sge = 1,
		.sge = {e->sge},
		.imm = (uint32_t)e->sent,
		.rkey = to->mr->rkey,
		.raddr = to->mr->raddr + (uint64_t)(e->sent % SLOTS) * SLOT,
	};

	wr.sge[0].len = stream_len(e->sent++);
	ck_assert_int_eq(rig_post(e->conn, &wr), 0);
}

static void
stream_wc(struct stream_end *e, const struct stream_end *from,
	  const struct fabric_wc *wc)
{
	struct fabric_recv_wr rq = {.count = 1};
	uint8_t *slot = e->mem[e->got % SLOTS];

	ck_assert_int_eq(wc->status, FABRIC_WC_SUCCESS);
	if (wc->op == FABRIC_WC_OP_RDMA_WRITE) {
		e->acked++;
		return;
	}
	ck_assert_uint_eq(wc->imm, (unsigned)e->got);
	ck_assert_uint_eq(wc->byte_len, stream_len(e->got++));
	ck_assert(!memcmp(slot, from->out, wc->byte_len));
	memset(slot, 0, SLOT);
	ck_assert_int_eq(rig.ops->post_recv(e->conn, &rq), 0);
}

START_TEST(much_data_both_ways)
{
	struct fabric_recv_wr rq = {.count = SLOTS};
	struct stream_end *e;
	struct fabric_wc wc;
	struct pair p;
	int i;

	rig_setup(_i);
	memset(stream, 0, sizeof(stream));
	p = rig_pair(NULL, NULL);
	for (i = 0; i < 2; i++) {
		e = &stream[i];
		e->conn = i ? p.s : p.c;
		e->mr = rig_mr(e->conn, e->mem, sizeof(e->mem),
			       FABRIC_ACCESS_REMOTE_WRITE);
		e->sge = rig_sge(e->conn, e->out, SLOT);
		rig_fill(e->out, SLOT, (unsigned)i);
		ck_assert_int_eq(rig.ops->post_recv(e->conn, &rq), 0);
	}
	while (stream[0].got < STREAM || stream[1].got < STREAM ||
	       stream[0].acked < STREAM || stream[1].acked < STREAM) {
		for (i = 0; i < 2; i++) {
			e = &stream[i];
			while (e->sent < STREAM &&
			       e->sent - stream[!i].got < SLOTS &&
			       e->sent - e->acked < RIG_WR)
				stream_send(e, &stream[!i]);
			if (!rig.n_wc[i])
				continue;
			wc = rig_wc(i);
			stream_wc(e, &stream[!i], &wc);
		}
		while (!rig.n_wc[0] && !rig.n_wc[1] &&
		       (stream[0].got < STREAM || stream[1].got < STREAM)) {
			ck_assert(rig.drv->wait(rig.ctx, N_CTX));
			rig_collect();
		}
		if (stream[0].got == STREAM && stream[1].got == STREAM)
			rig_settle();
	}
}
END_TEST

START_TEST(queues_have_the_size_asked_for)
{
	struct fabric_send_wr wr = {.op = FABRIC_WR_RDMA_WRITE,
				    .signaled = true};
	struct fabric_send_wr three[3] = {{.next = &three[1]},
					  {.next = &three[2]}};
	struct fabric_recv_wr rq = {.count = RIG_WR - 1};
	struct pair p;
	int i;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	ck_assert_int_eq(rig.ops->post_recv(p.c, &rq), 0);
	rq.count = 2;
	ck_assert_int_eq(rig.ops->post_recv(p.c, &rq), -ENOMEM);
	rq.count = 0;
	ck_assert_int_eq(rig.ops->post_recv(p.c, &rq), 0);
	ck_assert_int_eq(rig.ops->post_recv(p.c, &rq), -ENOMEM);

	for (i = 0; i < RIG_WR - 2; i++)
		ck_assert_int_eq(rig.ops->post_send(p.c, &wr), 0);
	for (i = 0; i < 3; i++) {
		three[i].op = FABRIC_WR_RDMA_WRITE;
		three[i].wr_id = 9;
	}
	/* All or nothing. */
	ck_assert_int_eq(rig.ops->post_send(p.c, three), -ENOMEM);
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(rig.ops->post_send(p.c, &wr), 0);
	ck_assert_int_eq(rig.ops->post_send(p.c, &wr), -ENOMEM);
	for (i = 0; i < RIG_WR; i++)
		rig_wc_ok(CLT, 0);
	ck_assert_int_eq(rig_post(p.c, three), 0);
}
END_TEST

/* --- violations */

/* The peer did wrong, by this request (0: which it is not told): its
 * connection dies, q lives. */
static void
check_violation(struct pair p, struct pair q, uint64_t wr_id)
{
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_SEND_WITH_IMM, .wr_id = 88, .signaled = true};
	struct fabric_event ev;
	struct fabric_wc wc;

	ev = rig_event(SRV, FABRIC_EV_DISCONNECTED);
	ck_assert_ptr_eq(ev.conn, p.s);
	ck_assert_int_eq(ev.err, -EPROTO);
	rig.ops->disconnect(p.s);
	while (!rig.drv->completes_when_sent && wr_id) {
		wc = rig_wc(CLT);
		if (wc.wr_id != wr_id)
			continue;
		ck_assert_int_ne(wc.status, FABRIC_WC_SUCCESS);
		break;
	}
	ck_assert_ptr_eq(rig_event(CLT, FABRIC_EV_DISCONNECTED).conn, p.c);
	rig.ops->disconnect(p.c);
	rig_event(CLT, FABRIC_EV_CLOSED);
	rig_event(SRV, FABRIC_EV_CLOSED);
	rig_free(p.c);
	rig_free(p.s);
	rig.n_wc[CLT] = rig.n_wc[SRV] = 0;

	rig_recv(q.s, 77, NULL, 0);
	ck_assert_int_eq(rig_post(q.c, &wr), 0);
	rig_wc_ok(SRV, 77);
	rig_wc_ok(CLT, 88);
}

static uint8_t region[4096], source[8192];

/* What a peer might get wrong; the region is 1000 bytes at raddr. */
static const struct {
	int64_t off;
	uint32_t len;
	uint32_t key_xor;
	unsigned access;
} bad_writes[] = {
	{0, 1001, 0, FABRIC_ACCESS_REMOTE_WRITE},
	{1000, 1, 0, FABRIC_ACCESS_REMOTE_WRITE},
	{999, 2, 0, FABRIC_ACCESS_REMOTE_WRITE},
	{-1, 1, 0, FABRIC_ACCESS_REMOTE_WRITE},
	{-1, 8000, 0, FABRIC_ACCESS_REMOTE_WRITE},
	{INT64_MAX, 16, 0, FABRIC_ACCESS_REMOTE_WRITE},
	{INT64_MIN, 16, 0, FABRIC_ACCESS_REMOTE_WRITE},
	{0, 16, 1, FABRIC_ACCESS_REMOTE_WRITE},
	{0, 16, 0x80000000, FABRIC_ACCESS_REMOTE_WRITE},
	{0, 16, 0, FABRIC_ACCESS_LOCAL},
};

START_TEST(bad_write_kills_its_connection)
{
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_RDMA_WRITE, .wr_id = 1, .num_sge = 1};
	struct fabric_mr *mr;
	struct pair p, q;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	q = rig_pair(NULL, NULL);
	memset(region, 0xaa, sizeof(region));
	memset(source, 0x55, sizeof(source));
	mr = rig_mr(p.s, region + 1000, 1000, bad_writes[_i].access);
	wr.sge[0] = rig_sge(p.c, source, bad_writes[_i].len);
	wr.raddr = mr->raddr + (uint64_t)bad_writes[_i].off;
	wr.rkey = mr->rkey ^ bad_writes[_i].key_xor;
	ck_assert_int_eq(rig_post(p.c, &wr), 0);
	check_violation(p, q, 1);
	ck_assert_int_eq(memchr(region, 0x55, sizeof(region)) != NULL, 0);
}
END_TEST

START_TEST(long_send_kills_its_connection)
{
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_SEND, .wr_id = 1, .num_sge = 1};
	struct pair p, q;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	q = rig_pair(NULL, NULL);
	memset(region, 0xaa, sizeof(region));
	memset(source, 0x55, sizeof(source));
	rig_recv(p.s, 1, region, 16);
	wr.sge[0] = rig_sge(p.c, source, 17);
	ck_assert_int_eq(rig_post(p.c, &wr), 0);
	check_violation(p, q, 1);
	ck_assert_uint_eq(region[16], 0xaa);
}
END_TEST

START_TEST(dead_key_is_refused)
{
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_RDMA_WRITE, .wr_id = 1, .num_sge = 1};
	struct fabric_mr *mr;
	struct pair p, q;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	q = rig_pair(NULL, NULL);
	memset(region, 0xaa, sizeof(region));
	memset(source, 0x55, sizeof(source));
	mr = rig_mr(p.s, region, 100, FABRIC_ACCESS_REMOTE_WRITE);
	wr.raddr = mr->raddr;
	wr.rkey = mr->rkey;
	rig_dereg(mr);
	wr.sge[0] = rig_sge(p.c, source, 16);
	ck_assert_int_eq(rig_post(p.c, &wr), 0);
	check_violation(p, q, 1);
	ck_assert_uint_eq(region[0], 0xaa);
}
END_TEST

START_TEST(key_belongs_to_its_domain)
{
	struct fabric_send_wr wr = {.op = FABRIC_WR_RDMA_WRITE,
				    .wr_id = 1,
				    .signaled = true,
				    .num_sge = 1};
	struct fabric_mr *mr;
	struct pair p, joined, other;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	joined = rig_pair(NULL, rig.ops->conn_pd(p.s));
	other = rig_pair(NULL, NULL);
	ck_assert_ptr_eq(rig.ops->conn_pd(joined.s), rig.ops->conn_pd(p.s));
	memset(region, 0xaa, sizeof(region));
	memset(source, 0x55, sizeof(source));
	mr = rig_mr(p.s, region, 100, FABRIC_ACCESS_REMOTE_WRITE);
	wr.raddr = mr->raddr;
	wr.rkey = mr->rkey;
	wr.sge[0] = rig_sge(joined.c, source, 16);
	ck_assert_int_eq(rig_post(joined.c, &wr), 0);
	rig_wc_ok(CLT, 1);
	rig_barrier(joined);
	ck_assert_uint_eq(region[15], 0x55);
	ck_assert_uint_eq(region[16], 0xaa);
	wr.wr_id = 2;
	wr.raddr += 50;
	wr.sge[0] = rig_sge(other.c, source, 16);
	ck_assert_int_eq(rig_post(other.c, &wr), 0);
	check_violation(other, p, 2);
	ck_assert_uint_eq(region[50], 0xaa);
}
END_TEST

START_TEST(domain_outlives_its_connection)
{
	struct fabric_pd *pd;
	struct fabric_mr *mr;
	struct pair p;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	pd = rig.ops->conn_pd(p.s);
	rig.ops->pd_ref(pd);
	rig_free(p.s);
	rig_free(p.c);
	ck_assert_int_eq(
		rig.ops->mr_reg(pd, region, 100, FABRIC_ACCESS_LOCAL, &mr), 0);
	rig.ops->pd_unref(pd);
	ck_assert_int_eq(rig.ops->mr_dereg(mr), 0);
}
END_TEST

/* --- invalidation and windows */

START_TEST(send_with_inv_ends_a_region_key)
{
	struct fabric_send_wr wr = {.op = FABRIC_WR_SEND_WITH_INV,
				    .wr_id = 1,
				    .signaled = true,
				    .num_sge = 1};
	struct fabric_mr *mr;
	struct fabric_wc wc;
	struct pair p, q;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	q = rig_pair(NULL, NULL);
	if (!rig_has(FABRIC_CAP_MR_REMOTE_INV))
		return;
	mr = rig_mr(p.s, region, 100,
		    FABRIC_ACCESS_REMOTE_WRITE | FABRIC_ACCESS_REMOTE_INV);
	rig_recv(p.s, 4, source, 64);
	wr.sge[0] = rig_sge(p.c, source + 64, 4);
	wr.inv_rkey = mr->rkey;
	ck_assert_int_eq(rig_post(p.c, &wr), 0);
	wc = rig_wc_ok(SRV, 4);
	ck_assert(wc.with_inv);
	ck_assert_uint_eq(wc.inv_rkey, mr->rkey);
	ck_assert_uint_eq(wc.byte_len, 4);
	rig_wc_ok(CLT, 1);
	memset(region, 0xaa, sizeof(region));
	wr.op = FABRIC_WR_RDMA_WRITE;
	wr.wr_id = 2;
	wr.raddr = mr->raddr;
	wr.rkey = mr->rkey;
	ck_assert_int_eq(rig_post(p.c, &wr), 0);
	check_violation(p, q, 2);
	ck_assert_uint_eq(region[0], 0xaa);
}
END_TEST

START_TEST(send_with_inv_needs_permission)
{
	struct fabric_send_wr wr = {.op = FABRIC_WR_SEND_WITH_INV, .wr_id = 1};
	struct fabric_mr *mr;
	struct pair p, q;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	q = rig_pair(NULL, NULL);
	mr = rig_mr(p.s, region, 100, FABRIC_ACCESS_REMOTE_WRITE);
	rig_recv(p.s, 4, source, 64);
	wr.inv_rkey = mr->rkey;
	ck_assert_int_eq(rig_post(p.c, &wr), 0);
	check_violation(p, q, rig.drv->inv_is_not_answered ? 0 : 1);
}
END_TEST

static void
bind_window(struct fabric_conn *conn, struct fabric_mw *mw,
	    struct fabric_mr *mr, size_t off, size_t len)
{
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_MW_BIND,
		.wr_id = 500,
		.signaled = true,
		.mw = mw,
		.bind_mr = mr,
		.bind_off = off,
		.bind_len = len,
		.bind_access = FABRIC_ACCESS_REMOTE_WRITE,
	};

	if (mw->kind == FABRIC_MW_CONN)
		wr.bind_access |= FABRIC_ACCESS_REMOTE_INV;

	ck_assert_int_eq(rig_post(conn, &wr), 0);
	ck_assert_int_eq(rig_wc_ok(SRV, 500).op, FABRIC_WC_OP_MW_BIND);
	ck_assert(mw->bound);
	ck_assert_uint_eq(mw->raddr, mr->raddr + off);
}

static void
end_window(struct fabric_conn *conn, struct fabric_mw *mw)
{
	struct fabric_send_wr wr = {.op = FABRIC_WR_MW_INV,
				    .wr_id = 501,
				    .signaled = true,
				    .mw = mw};

	ck_assert_int_eq(rig_post(conn, &wr), 0);
	ck_assert_int_eq(rig_wc_ok(SRV, 501).op, FABRIC_WC_OP_MW_INV);
	ck_assert(!mw->bound);
}

static const struct {
	enum fabric_mw_kind kind;
	unsigned cap;
} mw_kinds[] = {
	{FABRIC_MW_CONN, FABRIC_CAP_MW},
	{FABRIC_MW_PD, FABRIC_CAP_MW_PD},
};

START_TEST(window_opens_a_part)
{
	struct fabric_send_wr wr = {.op = FABRIC_WR_RDMA_WRITE,
				    .wr_id = 1,
				    .signaled = true,
				    .num_sge = 1};
	struct fabric_mr *mr;
	struct fabric_mw *mw;
	struct pair p, q;
	uint32_t old;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	q = rig_pair(NULL, NULL);
	if (!rig_has(mw_kinds[_i].cap))
		return;
	memset(region, 0xaa, sizeof(region));
	memset(source, 0x55, sizeof(source));
	mr = rig_mr(p.s, region, sizeof(region), FABRIC_ACCESS_MW_BIND);
	mw = rig_mw(p.s, mw_kinds[_i].kind);
	bind_window(p.s, mw, mr, 100, 50);
	ck_assert_int_eq(rig.ops->mr_dereg(mr), -EBUSY);
	old = mw->rkey;
	if (mw->kind == FABRIC_MW_CONN)
		end_window(p.s, mw);
	bind_window(p.s, mw, mr, 200, 50);
	ck_assert_uint_ne(mw->rkey, old);
	wr.sge[0] = rig_sge(p.c, source, 50);
	wr.raddr = mw->raddr;
	wr.rkey = mw->rkey;
	ck_assert_int_eq(rig_post(p.c, &wr), 0);
	rig_wc_ok(CLT, 1);
	rig_barrier(p);
	ck_assert_uint_eq(region[200], 0x55);
	ck_assert_uint_eq(region[249], 0x55);
	/* The first key is gone. */
	wr.wr_id = 2;
	wr.raddr = mr->raddr + 100;
	wr.rkey = old;
	ck_assert_int_eq(rig_post(p.c, &wr), 0);
	check_violation(p, q, 2);
	ck_assert_uint_eq(region[100], 0xaa);
}
END_TEST

/* One queue of receives for two connections of a domain. */
START_TEST(receives_are_shared)
{
	struct fabric_conn_params ap = {
		.user = &rig.ctx[SRV],
		.max_send_wr = RIG_WR,
		.max_recv_wr = 4,
		.shared_recv = true,
	};
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_SEND_WITH_IMM, .wr_id = 1, .signaled = true};
	struct fabric_recv_wr rq = {.wr_id = 7, .count = 4};
	struct fabric_conn *c[2], *s[2];
	struct fabric_limits lim;
	struct fabric_wc wc;
	int i;

	rig_setup(_i);
	if (!rig_has(FABRIC_CAP_SHARED_RECV))
		return;
	for (i = 0; i < 2; i++) {
		c[i] = rig_connect("x", 1, NULL);
		s[i] = rig_event(SRV, FABRIC_EV_CONNECT_REQUEST).conn;
		ck_assert(rig.ops->conn_caps(s[i]) & FABRIC_CAP_SHARED_RECV);
		ck_assert_int_eq(rig.ops->accept(s[i], &ap), 0);
		ap.pd = rig.ops->conn_pd(s[i]);
		ap.max_recv_wr = 0;
		rig_keep(s[i]);
		rig_event(CLT, FABRIC_EV_ESTABLISHED);
		rig_event(SRV, FABRIC_EV_ESTABLISHED);
	}
	rig.ops->conn_limits(s[1], &lim);
	ck_assert_uint_eq(lim.recv_wr, 4);
	/* What the second connection waits for may be posted on the first. */
	wr.imm = 11;
	ck_assert_int_eq(rig_post(c[1], &wr), 0);
	rig_settle();
	ck_assert_int_eq(rig.n_wc[SRV], 0);
	ck_assert_int_eq(rig.ops->post_recv(s[0], &rq), 0);
	wc = rig_wc_ok(SRV, 7);
	ck_assert_ptr_eq(wc.conn, s[1]);
	ck_assert_uint_eq(wc.imm, 11);
	rig_wc_ok(CLT, 1);
	wr.imm = 12;
	ck_assert_int_eq(rig_post(c[0], &wr), 0);
	wc = rig_wc_ok(SRV, 7);
	ck_assert_ptr_eq(wc.conn, s[0]);
	ck_assert_uint_eq(wc.imm, 12);
	rig_wc_ok(CLT, 1);
	rq.count = 3;
	ck_assert_int_eq(rig.ops->post_recv(s[1], &rq), -ENOMEM);
	rq.count = 2;
	ck_assert_int_eq(rig.ops->post_recv(s[1], &rq), 0);
	/* The end of one flushes nothing that the other may use. */
	rig.ops->disconnect(s[0]);
	rig_event(CLT, FABRIC_EV_DISCONNECTED);
	rig.ops->disconnect(c[0]);
	rig_event(CLT, FABRIC_EV_CLOSED);
	rig_event(SRV, FABRIC_EV_CLOSED);
	ck_assert_int_eq(rig.n_wc[SRV], 0);
	rig_free(s[0]);
	for (i = 0; i < 4; i++) {
		wr.imm = 13 + (uint32_t)i;
		ck_assert_int_eq(rig_post(c[1], &wr), 0);
		wc = rig_wc_ok(SRV, 7);
		ck_assert_ptr_eq(wc.conn, s[1]);
		ck_assert_uint_eq(wc.imm, wr.imm);
		rig_wc_ok(CLT, 1);
	}
}
END_TEST

START_TEST(window_is_invalidated_by_the_peer)
{
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_SEND_WITH_INV, .wr_id = 1, .signaled = true};
	struct fabric_mr *mr;
	struct fabric_mw *mw;
	struct fabric_wc wc;
	struct pair p;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	if (!rig_has(FABRIC_CAP_MW))
		return;
	mr = rig_mr(p.s, region, sizeof(region), FABRIC_ACCESS_MW_BIND);
	mw = rig_mw(p.s, FABRIC_MW_CONN);
	bind_window(p.s, mw, mr, 0, 64);
	rig_recv(p.s, 4, source, 64);
	wr.inv_rkey = mw->rkey;
	ck_assert_int_eq(rig_post(p.c, &wr), 0);
	wc = rig_wc_ok(SRV, 4);
	ck_assert(wc.with_inv);
	ck_assert_uint_eq(wc.inv_rkey, wr.inv_rkey);
	ck_assert(!mw->bound);
	/* Nothing is bound any more: */
	rig_dereg(mr);
}
END_TEST

START_TEST(window_is_invalidated_locally)
{
	struct fabric_send_wr inv = {
		.op = FABRIC_WR_MW_INV, .wr_id = 6, .signaled = true};
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_RDMA_WRITE, .wr_id = 1, .num_sge = 1};
	struct fabric_mr *mr;
	struct fabric_mw *mw;
	struct pair p, q;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	q = rig_pair(NULL, NULL);
	if (!rig_has(FABRIC_CAP_MW))
		return;
	mr = rig_mr(p.s, region, sizeof(region), FABRIC_ACCESS_MW_BIND);
	mw = rig_mw(p.s, FABRIC_MW_CONN);
	bind_window(p.s, mw, mr, 0, 64);
	wr.raddr = mw->raddr;
	wr.rkey = mw->rkey;
	inv.mw = mw;
	ck_assert_int_eq(rig_post(p.s, &inv), 0);
	ck_assert_int_eq(rig_wc_ok(SRV, 6).op, FABRIC_WC_OP_MW_INV);
	wr.sge[0] = rig_sge(p.c, source, 16);
	ck_assert_int_eq(rig_post(p.c, &wr), 0);
	check_violation(p, q, 1);
}
END_TEST

START_TEST(late_data_touches_no_memory)
{
	struct fabric_send_wr wr = {.op = FABRIC_WR_RDMA_WRITE, .num_sge = 1};
	struct fabric_mr *mr;
	struct pair p;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	memset(region, 0xaa, sizeof(region));
	memset(source, 0x55, sizeof(source));
	mr = rig_mr(p.s, region, sizeof(region), FABRIC_ACCESS_REMOTE_WRITE);
	wr.sge[0] = rig_sge(p.c, source, 4096);
	wr.raddr = mr->raddr;
	wr.rkey = mr->rkey;
	ck_assert_int_eq(rig_post(p.c, &wr), 0);
	rig.ops->disconnect(p.s);
	rig_event(SRV, FABRIC_EV_CLOSED);
	memset(region, 0xaa, sizeof(region));
	rig_dereg(mr);
	rig_settle();
	ck_assert_ptr_null(memchr(region, 0x55, sizeof(region)));
}
END_TEST

void
conf_io_cases(Suite *s, int n, SFun setup, SFun teardown)
{
	TCase *tc = tcase_create("io");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, sends_arrive_in_order, 0, n);
	tcase_add_loop_test(tc, send_waits_for_a_receive, 0, n);
	tcase_add_loop_test(tc, write_is_in_place_before_the_next_completion, 0,
			    n);
	tcase_add_loop_test(tc, much_data_both_ways, 0, n);
	tcase_add_loop_test(tc, queues_have_the_size_asked_for, 0, n);
	tcase_add_loop_test(tc, bad_write_kills_its_connection, 0,
			    (int)ARRAY_SIZE(bad_writes));
	tcase_add_loop_test(tc, long_send_kills_its_connection, 0, n);
	tcase_add_loop_test(tc, dead_key_is_refused, 0, n);
	tcase_add_loop_test(tc, key_belongs_to_its_domain, 0, n);
	tcase_add_loop_test(tc, domain_outlives_its_connection, 0, n);
	tcase_add_loop_test(tc, send_with_inv_ends_a_region_key, 0, n);
	tcase_add_loop_test(tc, send_with_inv_needs_permission, 0, n);
	tcase_add_loop_test(tc, window_opens_a_part, 0,
			    (int)ARRAY_SIZE(mw_kinds));
	tcase_add_loop_test(tc, receives_are_shared, 0, n);
	tcase_add_loop_test(tc, window_is_invalidated_by_the_peer, 0, n);
	tcase_add_loop_test(tc, window_is_invalidated_locally, 0, n);
	tcase_add_loop_test(tc, late_data_touches_no_memory, 0, n);
	suite_add_tcase(s, tc);
}
