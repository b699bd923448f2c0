/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server on a simulated network: a client by hand brings a path up, writes,
 * reads and leaves; then the same again with one fault at each of its steps.
 * Whatever happens, the server takes nothing with it.
 */
#include "tests/unit/srv/fixture.h"

#include "rtrs/fabric/sim/sim.h"

#define QD       2
#define IO_LEN   4096
#define USR_LEN  32
#define MAX_TIME SEC(120)

struct peer {
	const struct fabric_ops *ops;
	struct fabric_ctx *ctx;
	struct fabric_conn *conn[2];
	bool up[2], closed[2], failed;
	bool rsp; /* a reply came, or INFO_RSP */
	int err;
	uint32_t key[QD];
	uint64_t addr[QD];
	struct fabric_mr *mr;
	struct {
		uint8_t info_req[RTRS_INFO_REQ_LEN];
		uint8_t info_rsp[RTRS_INFO_RSP_HDR_LEN + QD * RTRS_DESC_LEN];
		uint8_t small[2][64][RTRS_RKEY_RSP_LEN];
		uint8_t out[IO_LEN + USR_LEN + RTRS_REQ_HDR_MAX];
		uint8_t in[IO_LEN];
	} mem;
};

struct world {
	struct sim_net *net;
	struct rtrs_listener *lsn;
	struct rtrs_srv *srv;
	struct fabric_ctx_params cp;
	struct rtrs_srv_op *op;
	uint8_t disk[IO_LEN];
	unsigned ups, downs, replies;
	struct peer peer;
};

static struct world w;

/* --- the server's upper layer: a disk of one page, asynchronous */

static int
on_up(void *user, struct rtrs_srv_sess *sess, const char *name,
      const struct fabric_addrs *addrs, void **ret_sess_user)
{
	w.ups++;
	*ret_sess_user = &w;
	return 0;
}

static void
on_down(void *sess_user, struct rtrs_srv_sess *sess)
{
	ck_assert_ptr_null(w.op); /* every request was answered before */
	w.downs++;
	rtrs_srv_sess_down_done(sess);
}

static void
on_request(void *sess_user, struct rtrs_srv_op *op)
{
	ck_assert_ptr_null(w.op);
	ck_assert_uint_eq(op->data_len, IO_LEN);
	w.op = op;
}

static void
answer(void)
{
	struct rtrs_srv_op *op = w.op;

	if (!op)
		return;
	w.op = NULL;
	if (op->dir == RTRS_WRITE)
		memcpy(w.disk, op->data, IO_LEN);
	else
		memcpy(op->data, w.disk, IO_LEN);
	rtrs_srv_op_done(op, 0);
}

static void
on_conn(void *user, struct rtrs_conn_request *req)
{
	ck_assert_int_eq(rtrs_srv_take(w.srv, req), 0);
}

/* --- time */

static void
peer_poll(struct peer *p)
{
	struct fabric_event ev;
	struct fabric_wc wc;

	p->ops->ctx_poll(p->ctx, sim_net_now(w.net));
	while (p->ops->poll_cq(p->ctx, &wc, 1) == 1) {
		struct rtrs_imm imm;
		uint32_t id;

		if (wc.status != FABRIC_WC_SUCCESS) {
			p->failed = true;
			continue;
		}
		if (wc.op == FABRIC_WC_OP_RECV && !wc.with_imm)
			p->rsp = true; /* INFO_RSP */
		if (!wc.with_imm)
			continue;
		imm = rtrs_imm_decode(wc.imm);
		if (imm.type != RTRS_IMM_IO_RSP)
			continue;
		rtrs_imm_io_rsp_payload(imm.payload, &id, &p->err);
		if (wc.op == FABRIC_WC_OP_RECV) {
			struct rtrs_msg_rkey_rsp m;

			ck_assert_int_eq(rtrs_msg_rkey_rsp_decode(
						 (void *)(uintptr_t)wc.wr_id,
						 wc.byte_len, &m),
					 0);
			ck_assert_uint_eq(m.buf_id, id);
			p->key[id] = m.rkey;
		}
		p->rsp = true;
		w.replies++;
	}
	while (p->ops->next_event(p->ctx, &ev)) {
		unsigned cid = (unsigned)(uintptr_t)ev.user;

		switch (ev.type) {
		case FABRIC_EV_ESTABLISHED:
			p->up[cid] = true;
			break;
		case FABRIC_EV_CLOSED:
			p->closed[cid] = true;
			break;
		case FABRIC_EV_REJECTED:
		case FABRIC_EV_CONNECT_ERROR:
			p->closed[cid] = true;
			p->failed = true;
			break;
		default:
			p->failed = true;
			break;
		}
	}
}

static void
pump(void)
{
	struct peer *p = &w.peer;
	uint64_t now = sim_net_now(w.net), t;
	bool again;

	rtrs_listener_progress(w.lsn, now);
	rtrs_srv_progress(w.srv, now);
	answer();
	if (p->ctx)
		peer_poll(p);
	again = rtrs_listener_arm(w.lsn);
	again |= rtrs_srv_arm(w.srv);
	if (p->ctx)
		again |= p->ops->ctx_arm(p->ctx);
	if (again)
		return;
	t = time_min(rtrs_listener_deadline(w.lsn), rtrs_srv_deadline(w.srv));
	t = time_min(t, sim_net_next_time(w.net));
	if (p->ctx)
		t = time_min(t, p->ops->ctx_deadline(p->ctx));
	/* Nothing under way: a lost message would be waited for forever. */
	t = time_min(t, now + SEC(1));
	sim_net_advance(w.net, t > now ? t : now + 1);
}

/* Pumps until *flag; false if that does not come. */
static bool
wait_for(const bool *flag)
{
	uint64_t end = sim_net_now(w.net) + MAX_TIME;

	while (!*flag && !w.peer.failed && sim_net_now(w.net) < end)
		pump();
	return *flag && !w.peer.failed;
}

/* --- the client's steps; false: it failed */

static bool
peer_connect(struct peer *p, uint16_t cid, const struct sockaddr_storage *dst,
	     socklen_t len)
{
	struct rtrs_msg_conn_req req = {
		.version = RTRS_PROTO_VER,
		.cid = cid,
		.cid_num = 2,
		.recon_cnt = 1,
		.first_conn = true,
	};
	uint8_t priv[RTRS_CONN_REQ_LEN];
	struct fabric_conn_params cp = {
		.user = (void *)(uintptr_t)cid,
		.priv = priv,
		.priv_len = sizeof(priv),
		.pd = cid ? p->ops->conn_pd(p->conn[0]) : NULL,
		.max_send_wr = 64,
		.max_recv_wr = 64,
		.dst = (const struct sockaddr *)dst,
		.dst_len = len,
	};

	memset(&req.sess_uuid, 1, 16);
	memset(&req.path_uuid, 2, 16);
	rtrs_msg_conn_req_encode(&req, priv);
	return !p->ops->connect(p->ctx, &cp, &p->conn[cid]) &&
	       wait_for(&p->up[cid]);
}

static bool
peer_recvs(struct peer *p, unsigned cid)
{
	for (unsigned i = 0; i < 32; i++) {
		struct fabric_recv_wr wr = {
			.wr_id = (uintptr_t)p->mem.small[cid][i],
			.addr = p->mem.small[cid][i],
			.len = RTRS_RKEY_RSP_LEN,
			.mr = p->mr,
		};

		if (!cid && !i) {
			wr.addr = p->mem.info_rsp;
			wr.len = sizeof(p->mem.info_rsp);
		}
		if (p->ops->post_recv(p->conn[cid], &wr))
			return false;
	}
	return true;
}

static void
put_chunk(void *user, uint32_t chunk, uint64_t addr, uint32_t key)
{
	struct peer *p = user;

	p->addr[chunk] = addr;
	p->key[chunk] = key;
}

static bool
peer_info(struct peer *p)
{
	const struct rtrs_msg_info_req msg = {.name = "sim"};
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_SEND,
		.num_sge = 1,
		.sge[0] = {p->mem.info_req, RTRS_INFO_REQ_LEN, p->mr},
	};

	rtrs_msg_info_req_encode(&msg, p->mem.info_req);
	if (!peer_recvs(p, 0) || !peer_recvs(p, 1) ||
	    p->ops->post_send(p->conn[0], &wr) || !wait_for(&p->rsp))
		return false;
	ck_assert_int_eq(rtrs_msg_info_rsp_chunks(p->mem.info_rsp,
						  sizeof(p->mem.info_rsp), QD,
						  CHUNK, put_chunk, p),
			 0);
	return true;
}

static bool
peer_io(struct peer *p, bool write, unsigned id)
{
	struct rtrs_msg_req msg = {
		.type = write ? RTRS_MSG_WRITE : RTRS_MSG_READ,
		.usr_len = USR_LEN,
		.sg_cnt = !write,
		.desc = {p->mr->raddr + offsetof(struct peer, mem.in) -
				 offsetof(struct peer, mem),
			 p->mr->rkey, IO_LEN},
	};
	uint32_t skip = write ? 0 : IO_LEN;
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_RDMA_WRITE_WITH_IMM,
		.num_sge = 1,
		.sge[0] = {p->mem.out + skip, 0, p->mr},
		.raddr = p->addr[id] + skip,
		.rkey = p->key[id],
		.imm = rtrs_imm_io_req(rtrs_imm_mem_bits(QD), id,
				       IO_LEN + USR_LEN),
	};

	wr.sge[0].len =
		(uint32_t)(IO_LEN + USR_LEN +
			   rtrs_msg_req_encode(&msg,
					       p->mem.out + IO_LEN + USR_LEN) -
			   skip);
	p->rsp = false;
	return !p->ops->post_send(p->conn[1], &wr) && wait_for(&p->rsp) &&
	       !p->err;
}

static bool
peer_script(struct peer *p, const struct sockaddr_storage *dst, socklen_t len)
{
	if (!peer_connect(p, 0, dst, len) || !peer_connect(p, 1, dst, len))
		return false;
	if (p->ops->mr_reg(p->ops->conn_pd(p->conn[0]), &p->mem, sizeof(p->mem),
			   FABRIC_ACCESS_REMOTE_WRITE, &p->mr))
		return false;
	if (!peer_info(p))
		return false;
	for (unsigned i = 0; i < 6; i++) {
		memset(p->mem.out, (int)(0x40 + i), IO_LEN);
		memset(p->mem.in, 0, IO_LEN);
		if (!peer_io(p, true, i % QD) || !peer_io(p, false, i % QD))
			return false;
		ck_assert_mem_eq(p->mem.in, p->mem.out, IO_LEN);
	}
	return true;
}

static void
peer_leave(struct peer *p)
{
	uint64_t end = sim_net_now(w.net) + MAX_TIME;

	for (unsigned i = 0; i < 2; i++)
		if (p->up[i])
			p->ops->disconnect(p->conn[i]);
	while (((p->up[0] && !p->closed[0]) || (p->up[1] && !p->closed[1])) &&
	       sim_net_now(w.net) < end)
		pump();
	for (unsigned i = 0; i < 2; i++)
		if (p->conn[i])
			p->ops->conn_free(p->conn[i]);
	if (p->mr)
		p->ops->mr_dereg(p->mr);
	p->ops->ctx_free(p->ctx);
	p->ctx = NULL;
}

/* --- the whole thing once */

static bool
world_start(const struct fabric_ops *ops, struct sim_node *srv_node,
	    struct sockaddr_storage *addr, socklen_t len)
{
	struct rtrs_listener_params lp = {
		.fabric = ops,
		.addr = (const struct sockaddr *)addr,
		.addr_len = len,
		.rng = w.cp.rng,
		.fabric_priv = srv_node,
		.request = on_conn,
	};
	struct rtrs_srv_params sp = {
		.rng = w.cp.rng,
		.fabric_priv = srv_node,
		.queue_depth = QD,
		.always_invalidate = true,
		.sess_up = on_up,
		.sess_down = on_down,
		.request = on_request,
	};

	ck_assert_int_eq(rtrs_srv_new(&sp, &w.srv), 0);
	if (rtrs_listener_new(&lp, &w.lsn)) {
		rtrs_srv_close(w.srv);
		rtrs_srv_free(w.srv);
		return false;
	}
	return true;
}

static bool
run(const struct fabric_ops *ops, const struct sim_faults *faults,
    uint64_t *ret_steps)
{
	struct sockaddr_storage addr;
	struct sim_node *sn, *cn;
	struct sim_counts counts;
	bool ok = false;
	socklen_t len;
	uint64_t end;

	memset(&w, 0, sizeof(w));
	ck_assert_int_eq(sim_net_new(1, &w.net), 0);
	ck_assert_int_eq(sim_node_new(w.net, "srv", 1, &sn), 0);
	ck_assert_int_eq(sim_node_new(w.net, "clt", 2, &cn), 0);
	if (faults)
		*sim_net_faults(w.net) = *faults;
	len = sim_node_addr(sn, 1234, &addr);
	w.cp.rng = sim_net_rng(w.net);
	w.cp.priv = cn;
	w.peer.ops = ops;
	if (world_start(ops, sn, &addr, len)) {
		ck_assert_int_eq(ops->ctx_new(&w.cp, &w.peer.ctx), 0);
		ok = peer_script(&w.peer, &addr, len);
		*ret_steps = sim_net_steps(w.net);
		peer_leave(&w.peer);
		/* A silent loss is noticed by heartbeat or time-out. */
		end = sim_net_now(w.net) + MAX_TIME;
		while (rtrs_srv_n_sessions(w.srv) && sim_net_now(w.net) < end)
			pump();
		ck_assert_uint_eq(rtrs_srv_n_sessions(w.srv), 0);
		ck_assert_uint_eq(w.ups, w.downs);
		rtrs_srv_close(w.srv);
		while (!rtrs_srv_closed(w.srv))
			pump();
		rtrs_srv_free(w.srv);
		rtrs_listener_free(w.lsn);
	}
	sim_net_counts(w.net, &counts);
	ck_assert_uint_eq(counts.conns, 0);
	ck_assert_uint_eq(counts.mrs, 0);
	ck_assert_uint_eq(counts.mws, 0);
	ck_assert_uint_eq(counts.pds, 0);
	ck_assert_uint_eq(counts.ctxs, 0);
	sim_net_free(w.net);
	return ok;
}

static const struct fabric_ops *const fabrics[] = {
	&fabric_sim,
	&fabric_sim_rdma,
	&fabric_sim_plain,
};

START_TEST(a_session_without_faults)
{
	uint64_t steps;

	ck_assert(run(fabrics[_i], NULL, &steps));
	ck_assert_uint_eq(w.ups, 1);
	ck_assert_uint_eq(w.replies, 12);
	ck_assert_uint_gt(steps, 20);
}
END_TEST

static void
fault_everywhere(const struct fabric_ops *ops, enum sim_fault fault, bool all)
{
	struct sim_faults faults = {0};
	uint64_t steps, n;

	ck_assert(run(ops, NULL, &n));
	for (uint64_t i = 1; i <= n; i++) {
		faults.at_step = i;
		faults.at_fault = fault;
		faults.at_all = all;
		faults.stall_max_ns = SEC(1);
		run(ops, &faults, &steps);
	}
}

START_TEST(a_cut_at_every_step)
{
	fault_everywhere(fabrics[_i], SIM_FAULT_CUT, false);
}
END_TEST

START_TEST(a_silence_at_every_step)
{
	fault_everywhere(fabrics[_i], SIM_FAULT_LOSE, true);
}
END_TEST

START_TEST(no_memory_at_every_call)
{
	struct sim_faults faults = {0};
	unsigned failed = 0;
	uint64_t steps;

	for (faults.enomem_at = 1; faults.enomem_at < 200; faults.enomem_at++)
		failed += !run(fabrics[_i], &faults, &steps);
	ck_assert_uint_gt(failed, 20);
}
END_TEST

START_TEST(delays_and_late_completions)
{
	struct sim_faults faults = {
		.delay_min_ns = 1000,
		.delay_max_ns = 5000000,
		.late_wc_ppm = 300000,
		.late_wc_max_ns = 10000000,
	};
	uint64_t steps;

	ck_assert(run(fabrics[_i], &faults, &steps));
	ck_assert_uint_eq(w.replies, 12);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("srv/fabric");
	TCase *tc = tcase_create("sim");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(tc, a_session_without_faults, 0, 3);
	tcase_add_loop_test(tc, a_cut_at_every_step, 0, 3);
	tcase_add_loop_test(tc, a_silence_at_every_step, 0, 3);
	tcase_add_loop_test(tc, no_memory_at_every_call, 0, 3);
	tcase_add_loop_test(tc, delays_and_late_completions, 0, 3);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
