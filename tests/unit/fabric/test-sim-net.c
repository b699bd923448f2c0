/* SPDX-License-Identifier: BSD-3-Clause */
/* What is the simulator's own: seeds, faults, killed processes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "rtrs/fabric/sim/sim.h"

#define OPS (&fabric_sim)

static struct sim_net *net;
static struct sim_node *node[2];
static struct fabric_ctx *ctx[2];
static struct fabric_listener *listener;
static struct fabric_conn *conn[2];

static void
net_setup(uint64_t seed)
{
	struct sockaddr_storage ss;
	struct fabric_ctx_params p = {.peer_timeout_ms = 1000};
	struct sim_faults *f;
	socklen_t len;
	int i;

	ck_assert_int_eq(sim_net_new(seed, &net), 0);
	for (i = 0; i < 2; i++) {
		ck_assert_int_eq(sim_node_new(net, i ? "srv" : "clt",
					      1u + (unsigned)i, &node[i]),
				 0);
		p.priv = node[i];
		p.rng = sim_net_rng(net);
		ck_assert_int_eq(OPS->ctx_new(&p, &ctx[i]), 0);
	}
	f = sim_net_faults(net);
	f->delay_min_ns = 1000;
	f->delay_max_ns = 100000;
	f->notice_max_ns = NSEC_PER_MSEC;
	f->stall_max_ns = 500 * NSEC_PER_MSEC;
	len = sim_node_addr(node[1], 1234, &ss);
	ck_assert_int_eq(OPS->listen(ctx[1], (void *)&ss, len, NULL, &listener),
			 0);
}

static void
setup(void)
{
	net_setup(1);
}

static void
teardown(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		OPS->conn_free(conn[i]);
		conn[i] = NULL;
	}
	OPS->listener_free(listener);
	for (i = 0; i < 2; i++)
		OPS->ctx_free(ctx[i]);
	sim_net_free(net);
}

/* The next event of a side; TIME_NEVER of type when none comes. */
static bool
event(int side, struct fabric_event *ret)
{
	for (;;) {
		OPS->ctx_poll(ctx[side], sim_net_now(net));
		if (OPS->next_event(ctx[side], ret))
			return true;
		if (!sim_net_step(net))
			return false;
	}
}

static void
start_connect(void)
{
	struct fabric_conn_params p = {.max_send_wr = 16, .max_recv_wr = 16};
	struct sockaddr_storage ss;

	p.dst_len = sim_node_addr(node[1], 1234, &ss);
	p.dst = (void *)&ss;
	ck_assert_int_eq(OPS->connect(ctx[0], &p, &conn[0]), 0);
}

static void
connect_pair(void)
{
	struct fabric_conn_params p = {.max_send_wr = 16, .max_recv_wr = 16};
	struct fabric_event ev;

	start_connect();
	ck_assert(event(1, &ev));
	ck_assert_int_eq(ev.type, FABRIC_EV_CONNECT_REQUEST);
	conn[1] = ev.conn;
	ck_assert_int_eq(OPS->accept(conn[1], &p), 0);
	ck_assert(event(0, &ev));
	ck_assert_int_eq(ev.type, FABRIC_EV_ESTABLISHED);
	ck_assert(event(1, &ev));
	ck_assert_int_eq(ev.type, FABRIC_EV_ESTABLISHED);
}

static void
send_imm(int side)
{
	struct fabric_send_wr wr = {.op = FABRIC_WR_SEND_WITH_IMM,
				    .signaled = true};

	ck_assert_int_eq(OPS->post_send(conn[side], &wr), 0);
	OPS->ctx_flush(ctx[side]);
}

static void
expect_death(int side, int err)
{
	struct fabric_event ev;

	ck_assert(event(side, &ev));
	ck_assert_int_eq(ev.type, FABRIC_EV_DISCONNECTED);
	if (err != 1)
		ck_assert_int_eq(ev.err, err);
}

/* The trace of a life with faults. */
static void
life(uint64_t seed, char **ret, size_t *ret_len)
{
	struct fabric_recv_wr rq = {.count = 8};
	FILE *f = open_memstream(ret, ret_len);
	int i;

	net_setup(seed);
	sim_net_trace(net, f);
	sim_net_faults(net)->stall_ppm = 100000;
	connect_pair();
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(OPS->post_recv(conn[i], &rq), 0);
	for (i = 0; i < 8; i++) {
		send_imm(0);
		send_imm(1);
	}
	while (sim_net_step(net))
		;
	teardown();
	fclose(f);
}

START_TEST(seed_decides_everything)
{
	char *a, *b, *c;
	size_t na, nb, nc;

	life(7, &a, &na);
	life(7, &b, &nb);
	life(8, &c, &nc);
	ck_assert_uint_eq(na, nb);
	ck_assert(!memcmp(a, b, na));
	ck_assert(na != nc || memcmp(a, c, na));
	free(a);
	free(b);
	free(c);
}
END_TEST

START_TEST(cut_is_noticed_by_both)
{
	connect_pair();
	sim_net_fault_all(net, SIM_FAULT_CUT);
	expect_death(0, 1);
	expect_death(1, 1);
	ck_assert_uint_eq(sim_net_fault_count(net, SIM_FAULT_CUT), 1);
}
END_TEST

START_TEST(cut_strikes_at_its_step)
{
	struct sim_faults *f = sim_net_faults(net);

	connect_pair();
	f->at_step = sim_net_steps(net) + 1;
	f->at_fault = SIM_FAULT_CUT;
	send_imm(0);
	expect_death(0, 1);
	expect_death(1, 1);
}
END_TEST

START_TEST(silence_is_noticed_by_who_speaks)
{
	struct fabric_event ev;
	uint64_t t0;

	connect_pair();
	sim_net_fault_all(net, SIM_FAULT_LOSE);
	ck_assert(!event(0, &ev));
	ck_assert(!event(1, &ev));
	t0 = sim_net_now(net);
	send_imm(0);
	expect_death(0, -ETIMEDOUT);
	ck_assert_uint_ge(sim_net_now(net) - t0, NSEC_PER_SEC);
	ck_assert_uint_le(sim_net_now(net) - t0, 2 * NSEC_PER_SEC);
	ck_assert(!event(1, &ev));
}
END_TEST

START_TEST(short_partition_only_delays)
{
	struct fabric_recv_wr rq = {.wr_id = 3};
	uint64_t until = sim_net_now(net) + 600 * NSEC_PER_MSEC;
	struct fabric_event ev;
	struct fabric_wc wc;

	connect_pair();
	ck_assert_int_eq(OPS->post_recv(conn[1], &rq), 0);
	sim_net_partition(net, node[0], node[1], until);
	send_imm(0);
	ck_assert(!event(0, &ev));
	ck_assert_uint_ge(sim_net_now(net), until);
	OPS->ctx_poll(ctx[1], sim_net_now(net));
	ck_assert_int_eq(OPS->poll_cq(ctx[1], &wc, 1), 1);
	ck_assert_int_eq(wc.status, FABRIC_WC_SUCCESS);
	OPS->ctx_poll(ctx[0], sim_net_now(net));
	ck_assert_int_eq(OPS->poll_cq(ctx[0], &wc, 1), 1);
	ck_assert_int_eq(wc.status, FABRIC_WC_SUCCESS);
}
END_TEST

START_TEST(long_partition_kills_who_speaks)
{
	struct fabric_event ev;

	connect_pair();
	sim_net_partition(net, node[0], node[1],
			  sim_net_now(net) + 60 * NSEC_PER_SEC);
	send_imm(1);
	expect_death(1, -ETIMEDOUT);
	ck_assert(!event(0, &ev));
}
END_TEST

START_TEST(last_bytes_come_after_the_reset)
{
	struct fabric_recv_wr rq = {.count = 8};
	struct fabric_wc wc[8];
	uint64_t t;

	sim_net_faults(net)->done_when_sent = true;
	connect_pair();
	ck_assert_int_eq(OPS->post_recv(conn[1], &rq), 0);
	t = sim_net_now(net);
	send_imm(0);
	sim_net_orphan(net, node[0], node[1], NSEC_PER_MSEC);
	send_imm(0);
	expect_death(0, -ECONNRESET);
	ck_assert_uint_eq(sim_net_now(net), t + NSEC_PER_MSEC);
	OPS->ctx_poll(ctx[1], sim_net_now(net));
	ck_assert_int_eq(OPS->poll_cq(ctx[1], wc, 8), 0);
	/* That nobody is there any more does not get through. */
	OPS->conn_free(conn[0]);
	conn[0] = NULL;
	expect_death(1, -ECONNRESET);
	ck_assert_uint_gt(sim_net_now(net), t + NSEC_PER_MSEC);
	ck_assert_int_ge(OPS->poll_cq(ctx[1], wc, 8), 2);
	ck_assert_int_eq(wc[0].status, FABRIC_WC_SUCCESS);
	ck_assert_int_eq(wc[1].status, FABRIC_WC_SUCCESS);
}
END_TEST

START_TEST(reset_closes_at_once_and_proves_nothing)
{
	struct fabric_event ev;
	uint64_t t;

	connect_pair();
	t = sim_net_now(net);
	sim_net_orphan(net, node[0], node[1], 0);
	expect_death(0, -ECONNRESET);
	OPS->disconnect(conn[0]);
	ck_assert(event(0, &ev));
	ck_assert_int_eq(ev.type, FABRIC_EV_CLOSED);
	ck_assert(!ev.confirmed);
	ck_assert_uint_eq(sim_net_now(net), t);
}
END_TEST

START_TEST(killed_process_resets_its_peers)
{
	struct fabric_event ev;

	connect_pair();
	sim_node_kill(node[1]);
	expect_death(0, -ECONNRESET);
	OPS->conn_free(conn[0]);
	start_connect();
	ck_assert(event(0, &ev));
	ck_assert_int_eq(ev.type, FABRIC_EV_CONNECT_ERROR);
	ck_assert_int_eq(ev.err, -ECONNREFUSED);
	/* What is left of it closes without anybody's help. */
	expect_death(1, -ECONNRESET);
	OPS->disconnect(conn[1]);
	ck_assert(event(1, &ev));
	ck_assert_int_eq(ev.type, FABRIC_EV_CLOSED);
	ck_assert(ev.confirmed);
}
END_TEST

START_TEST(lost_accept_times_out_on_both_sides)
{
	struct fabric_conn_params p = {.max_send_wr = 16, .max_recv_wr = 16};
	struct fabric_event ev;

	sim_net_faults(net)->rep_lost_ppm = 1000000;
	start_connect();
	ck_assert(event(1, &ev));
	conn[1] = ev.conn;
	ck_assert_int_eq(OPS->accept(conn[1], &p), 0);
	ck_assert(event(0, &ev));
	ck_assert_int_eq(ev.type, FABRIC_EV_CONNECT_ERROR);
	ck_assert_int_eq(ev.err, -ETIMEDOUT);
	expect_death(1, -ETIMEDOUT);
}
END_TEST

START_TEST(unanswered_requests_are_limited)
{
	struct fabric_conn_params p = {.max_send_wr = 1, .max_recv_wr = 1};
	struct fabric_conn *c[300];
	struct sockaddr_storage ss;
	struct fabric_event ev;
	int i, requests = 0;

	p.dst_len = sim_node_addr(node[1], 1234, &ss);
	p.dst = (void *)&ss;
	for (i = 0; i < 300; i++)
		ck_assert_int_eq(OPS->connect(ctx[0], &p, &c[i]), 0);
	sim_net_advance(net, sim_net_now(net) + 10 * NSEC_PER_MSEC);
	OPS->ctx_poll(ctx[1], sim_net_now(net));
	while (OPS->next_event(ctx[1], &ev)) {
		ck_assert_int_eq(ev.type, FABRIC_EV_CONNECT_REQUEST);
		OPS->reject(ev.conn, NULL, 0);
		requests++;
	}
	ck_assert_int_eq(requests, 256);
	for (i = 0; i < 300; i++) {
		ck_assert(event(0, &ev));
		ck_assert(ev.type == FABRIC_EV_REJECTED ||
			  ev.type == FABRIC_EV_CONNECT_ERROR);
	}
	for (i = 0; i < 300; i++)
		OPS->conn_free(c[i]);
}
END_TEST

START_TEST(memory_runs_out_at_the_nth_call)
{
	struct fabric_mr *mr[2];
	uint8_t buf[16];

	connect_pair();
	/* listen, connect, accept, mr_reg were the first. */
	sim_net_faults(net)->enomem_at = 5;
	ck_assert_int_eq(OPS->mr_reg(OPS->conn_pd(conn[0]), buf, 16, 0, &mr[0]),
			 0);
	ck_assert_int_eq(OPS->mr_reg(OPS->conn_pd(conn[0]), buf, 16, 0, &mr[1]),
			 -ENOMEM);
	ck_assert_int_eq(OPS->mr_reg(OPS->conn_pd(conn[0]), buf, 16, 0, &mr[1]),
			 0);
	ck_assert_int_eq(OPS->mr_dereg(mr[0]), 0);
	ck_assert_int_eq(OPS->mr_dereg(mr[1]), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("sim-net");
	TCase *tc = tcase_create("seed"), *faults = tcase_create("faults");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, seed_decides_everything);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(faults, setup, teardown);
	tcase_add_test(faults, cut_is_noticed_by_both);
	tcase_add_test(faults, cut_strikes_at_its_step);
	tcase_add_test(faults, silence_is_noticed_by_who_speaks);
	tcase_add_test(faults, short_partition_only_delays);
	tcase_add_test(faults, long_partition_kills_who_speaks);
	tcase_add_test(faults, last_bytes_come_after_the_reset);
	tcase_add_test(faults, reset_closes_at_once_and_proves_nothing);
	tcase_add_test(faults, killed_process_resets_its_peers);
	tcase_add_test(faults, lost_accept_times_out_on_both_sides);
	tcase_add_test(faults, unanswered_requests_are_limited);
	tcase_add_test(faults, memory_runs_out_at_the_nth_call);
	suite_add_tcase(s, faults);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
