/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections: how they come and go. The I/O clauses are in conf-io.c. */
#include "tests/unit/fabric/conf-rig.h"
#include "tests/unit/fabric/conf-io.h"

#include <errno.h>
#include <string.h>

#include <netinet/in.h>

static void
setup(void)
{
	/* The loop variable is not known here: each case sets up itself. */
}

static void
teardown(void)
{
	rig_teardown();
}

static unsigned
port_of(const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *in = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;

	return ntohs(ss->ss_family == AF_INET ? in->sin_port : in6->sin6_port);
}

START_TEST(accept_carries_private_data)
{
	struct fabric_event ev;
	struct fabric_conn *c;
	uint8_t priv[56];

	rig_setup(_i);
	rig_fill(priv, 56, 1);
	c = rig_connect(priv, 56, NULL);
	ev = rig_event(SRV, FABRIC_EV_CONNECT_REQUEST);
	ck_assert_ptr_eq(ev.listener, rig.listener);
	ck_assert_ptr_eq(ev.user, &rig);
	ck_assert_uint_ge(ev.priv_len, 56);
	ck_assert(rig_is_filled(ev.priv, 56, 1));
	rig_fill(priv, 56, 2);
	rig_accept(ev.conn, priv, 56, NULL);
	memset(priv, 0, 56);
	ev = rig_event(CLT, FABRIC_EV_ESTABLISHED);
	ck_assert_ptr_eq(ev.conn, c);
	ck_assert_ptr_eq(ev.user, &rig.ctx[CLT]);
	ck_assert_uint_ge(ev.priv_len, 56);
	ck_assert(rig_is_filled(ev.priv, 56, 2));
	ev = rig_event(SRV, FABRIC_EV_ESTABLISHED);
	ck_assert_ptr_eq(ev.user, &rig.ctx[SRV]);
}
END_TEST

START_TEST(addresses_match_crosswise)
{
	struct fabric_addrs ca, sa;
	struct pair p;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	ck_assert_int_eq(rig.ops->conn_addrs(p.c, &ca), 0);
	ck_assert_int_eq(rig.ops->conn_addrs(p.s, &sa), 0);
	ck_assert_uint_eq(port_of(&ca.local), port_of(&sa.peer));
	ck_assert_uint_eq(port_of(&ca.peer), port_of(&sa.local));
	ck_assert_uint_eq(port_of(&ca.peer), port_of(&rig.addr));
}
END_TEST

START_TEST(reject_carries_private_data)
{
	struct fabric_event ev;
	struct fabric_conn *c;
	uint8_t priv[56];

	rig_setup(_i);
	rig_fill(priv, 56, 3);
	c = rig_connect("x", 1, NULL);
	ev = rig_event(SRV, FABRIC_EV_CONNECT_REQUEST);
	rig.ops->reject(ev.conn, priv, 56);
	memset(priv, 0, 56);
	ev = rig_event(CLT, FABRIC_EV_REJECTED);
	ck_assert_ptr_eq(ev.conn, c);
	ck_assert_int_eq(ev.err, -ECONNREFUSED);
	ck_assert_uint_ge(ev.priv_len, 56);
	ck_assert(rig_is_filled(ev.priv, 56, 3));
}
END_TEST

START_TEST(nobody_listens)
{
	struct fabric_event ev;
	struct fabric_conn *c;

	rig_setup(_i);
	rig.addr_len = rig.drv->dead_addr(&rig.addr);
	c = rig_connect("x", 1, NULL);
	ev = rig_event(CLT, FABRIC_EV_CONNECT_ERROR);
	ck_assert_ptr_eq(ev.conn, c);
	ck_assert_int_eq(ev.err, -ECONNREFUSED);
}
END_TEST

START_TEST(connect_times_out)
{
	struct fabric_event ev;

	rig_setup(_i);
	rig_connect("x", 1, NULL);
	ev = rig_event(SRV, FABRIC_EV_CONNECT_REQUEST);
	/* Nobody answers it. */
	ck_assert_int_eq(rig_event(CLT, FABRIC_EV_CONNECT_ERROR).err,
			 -ETIMEDOUT);
	rig.ops->reject(ev.conn, NULL, 0);
}
END_TEST

START_TEST(address_is_in_use)
{
	struct fabric_listener *l;

	rig_setup(_i);
	ck_assert_uint_ne(port_of(&rig.addr), 0);
	ck_assert_int_eq(rig.ops->listen(rig.ctx[SRV2], (void *)&rig.addr,
					 rig.addr_len, NULL, &l),
			 -EADDRINUSE);
}
END_TEST

START_TEST(request_outlives_its_listener)
{
	struct fabric_conn *s;
	struct sockaddr_storage any;

	rig_setup(_i);
	rig_connect("x", 1, NULL);
	s = rig_event(SRV, FABRIC_EV_CONNECT_REQUEST).conn;
	rig.ops->listener_free(rig.listener);
	rig_accept(s, NULL, 0, NULL);
	rig_event(CLT, FABRIC_EV_ESTABLISHED);
	rig_event(SRV, FABRIC_EV_ESTABLISHED);
	rig.drv->listen_addr(&any);
	ck_assert_int_eq(rig.ops->listen(rig.ctx[SRV], (void *)&any,
					 rig.addr_len, &rig, &rig.listener),
			 0);
}
END_TEST

START_TEST(request_moves_to_another_context)
{
	struct fabric_conn *c, *s;
	uint8_t in[8] = {0}, out[8] = "payload";
	struct fabric_send_wr wr = {.op = FABRIC_WR_SEND,
				    .wr_id = 5,
				    .signaled = true,
				    .num_sge = 1};

	rig_setup(_i);
	c = rig_connect("x", 1, NULL);
	s = rig_event(SRV, FABRIC_EV_CONNECT_REQUEST).conn;
	ck_assert_int_eq(rig.ops->migrate(s, rig.ctx[SRV2]), 0);
	rig_accept(s, NULL, 0, NULL);
	rig_event(CLT, FABRIC_EV_ESTABLISHED);
	ck_assert_ptr_eq(rig_event(SRV2, FABRIC_EV_ESTABLISHED).conn, s);
	rig_recv(s, 9, in, 8);
	wr.sge[0] = rig_sge(c, out, 8);
	ck_assert_int_eq(rig_post(c, &wr), 0);
	rig_wc_ok(SRV2, 9);
	rig_wc_ok(CLT, 5);
	ck_assert_mem_eq(in, out, 8);
}
END_TEST

/* --- the end */

START_TEST(disconnect_flushes_then_closes)
{
	struct fabric_send_wr wr = {.op = FABRIC_WR_SEND, .num_sge = 1};
	struct fabric_event ev;
	struct fabric_wc wc;
	uint8_t buf[3][16], out[16] = {0};
	bool seen[5] = {false};
	struct pair p;
	int i, n;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	for (i = 0; i < 3; i++)
		rig_recv(p.c, (uint64_t)i, buf[i], 16);
	/* Nobody receives these: they wait. One is not signalled. */
	wr.sge[0] = rig_sge(p.c, out, 16);
	for (i = 3; i < 5; i++) {
		wr.wr_id = (uint64_t)i;
		wr.signaled = i == 4;
		ck_assert_int_eq(rig_post(p.c, &wr), 0);
	}
	rig_settle();
	n = 5;
	if (rig.drv->completes_when_sent) {
		rig_wc_ok(CLT, 4);
		n = 3;
	}
	ck_assert_int_eq(rig.n_wc[CLT], 0);
	rig.ops->disconnect(p.c);
	rig.ops->disconnect(p.c);
	ev = rig_event(SRV, FABRIC_EV_DISCONNECTED);
	ck_assert_ptr_eq(ev.conn, p.s);
	ck_assert_int_eq(ev.err, 0);
	rig.ops->disconnect(p.s);
	ev = rig_event(CLT, FABRIC_EV_CLOSED);
	ck_assert(ev.confirmed);
	/* All are there, before CLOSED. */
	ck_assert_int_eq(rig.n_wc[CLT], n);
	for (i = 0; i < n; i++) {
		wc = rig_wc(CLT);
		ck_assert_ptr_eq(wc.conn, p.c);
		ck_assert_int_eq(wc.status, FABRIC_WC_FLUSHED);
		ck_assert_uint_lt(wc.wr_id, (unsigned)n);
		ck_assert(!seen[wc.wr_id]);
		seen[wc.wr_id] = true;
	}
	ck_assert(rig_event(SRV, FABRIC_EV_CLOSED).confirmed);
	ck_assert_int_eq(rig_post(p.c, &wr), -ENOTCONN);
	rig_settle();
	ck_assert_int_eq(rig.n_ev[CLT] + rig.n_ev[SRV], 0);
	ck_assert_int_eq(rig.n_wc[CLT] + rig.n_wc[SRV], 0);
}
END_TEST

START_TEST(peer_flushes_when_it_is_left)
{
	struct fabric_wc wc;
	uint8_t buf[16];
	struct pair p;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	rig_recv(p.s, 7, buf, 16);
	rig.ops->disconnect(p.c);
	ck_assert_int_eq(rig_event(SRV, FABRIC_EV_DISCONNECTED).err, 0);
	rig.ops->disconnect(p.s);
	ck_assert(rig_event(SRV, FABRIC_EV_CLOSED).confirmed);
	ck_assert_int_eq(rig.n_wc[SRV], 1);
	wc = rig_wc(SRV);
	ck_assert_uint_eq(wc.wr_id, 7);
	ck_assert_int_eq(wc.status, FABRIC_WC_FLUSHED);
	rig_event(CLT, FABRIC_EV_CLOSED);
}
END_TEST

START_TEST(both_disconnect_at_once)
{
	struct pair p;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	rig.ops->disconnect(p.c);
	rig.ops->disconnect(p.s);
	ck_assert(rig_event(CLT, FABRIC_EV_CLOSED).confirmed);
	ck_assert(rig_event(SRV, FABRIC_EV_CLOSED).confirmed);
	rig_settle();
	ck_assert_int_eq(rig.n_ev[CLT] + rig.n_ev[SRV], 0);
}
END_TEST

/* Nobody polls in a loop for one that waits for its conn_free(). */
START_TEST(what_is_closed_is_quiet)
{
	uint8_t buf[16];
	struct pair p;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	rig_recv(p.c, 7, buf, 16);
	rig_settle();
	rig.ops->disconnect(p.s);
	rig_event(CLT, FABRIC_EV_DISCONNECTED);
	rig.ops->disconnect(p.c);
	rig_event(CLT, FABRIC_EV_CLOSED);
	rig_event(SRV, FABRIC_EV_CLOSED);
	rig_settle();
	ck_assert_int_eq(rig.n_ev[CLT] + rig.n_ev[SRV], 0);
	ck_assert(!rig.ops->ctx_arm(rig.ctx[CLT]));
	ck_assert(!rig.ops->ctx_arm(rig.ctx[SRV]));
}
END_TEST

START_TEST(free_is_noticed_by_the_peer)
{
	uint8_t buf[16];
	struct pair p;

	rig_setup(_i);
	p = rig_pair(NULL, NULL);
	rig_recv(p.c, 1, buf, 16);
	rig_free(p.c);
	rig_event(SRV, FABRIC_EV_DISCONNECTED);
	rig_settle();
	ck_assert_int_eq(rig.n_ev[CLT] + rig.n_wc[CLT], 0);
}
END_TEST

START_TEST(disconnect_while_connecting)
{
	struct fabric_conn *c, *s;

	rig_setup(_i);
	c = rig_connect("x", 1, NULL);
	s = rig_event(SRV, FABRIC_EV_CONNECT_REQUEST).conn;
	rig.ops->disconnect(c);
	ck_assert_ptr_eq(rig_event(CLT, FABRIC_EV_CLOSED).conn, c);
	rig_free(c);
	rig.ops->reject(s, NULL, 0);
	rig_settle();
	ck_assert_int_eq(rig.n_ev[CLT] + rig.n_ev[SRV], 0);
}
END_TEST

START_TEST(accept_after_the_client_left)
{
	struct fabric_conn_params ap = {.max_send_wr = 4, .max_recv_wr = 4};
	struct fabric_conn *c, *s;

	rig_setup(_i);
	c = rig_connect("x", 1, NULL);
	s = rig_event(SRV, FABRIC_EV_CONNECT_REQUEST).conn;
	rig_free(c);
	rig_settle();
	/* Seen at once, or a moment later; never established and alive. */
	if (!rig.ops->accept(s, &ap)) {
		while (!rig.n_ev[SRV])
			rig_settle();
		if (rig.ev[SRV][0].type == FABRIC_EV_ESTABLISHED)
			rig_event(SRV, FABRIC_EV_ESTABLISHED);
		rig_event(SRV, FABRIC_EV_DISCONNECTED);
	}
	rig.ops->conn_free(s);
}
END_TEST

Suite *
conf_suite(const char *name, const struct conf_driver *drv)
{
	Suite *s = suite_create(name);
	TCase *tc = tcase_create("connection");
	int n = drv->rounds;

	rig.drv = drv;
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, accept_carries_private_data, 0, n);
	tcase_add_loop_test(tc, addresses_match_crosswise, 0, n);
	tcase_add_loop_test(tc, reject_carries_private_data, 0, n);
	tcase_add_loop_test(tc, nobody_listens, 0, n);
	tcase_add_test(tc, connect_times_out);
	tcase_add_test(tc, address_is_in_use);
	tcase_add_loop_test(tc, request_outlives_its_listener, 0, n);
	tcase_add_loop_test(tc, request_moves_to_another_context, 0, n);
	tcase_add_loop_test(tc, disconnect_flushes_then_closes, 0, n);
	tcase_add_loop_test(tc, peer_flushes_when_it_is_left, 0, n);
	tcase_add_loop_test(tc, both_disconnect_at_once, 0, n);
	tcase_add_loop_test(tc, what_is_closed_is_quiet, 0, n);
	tcase_add_loop_test(tc, free_is_noticed_by_the_peer, 0, n);
	tcase_add_loop_test(tc, disconnect_while_connecting, 0, n);
	tcase_add_loop_test(tc, accept_after_the_client_left, 0, n);
	suite_add_tcase(s, tc);
	conf_io_cases(s, n, setup, teardown);
	return s;
}
