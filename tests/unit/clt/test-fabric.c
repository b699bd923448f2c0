/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Client against server on a simulated network that cuts, loses, stalls and
 * refuses for a while. What must hold for every seed: each request is done
 * exactly once, a read gives what was written last, link_up and link_down take
 * turns, the work gets finished once the faults end, and nothing is left.
 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "rtrs/fabric/sim/sim.h"
#include "rtrs/rtrs.h"

#define QD       8
#define CHUNK    16384
#define N_SLOTS  6 /* requests at once, each with a block of its own */
#define BLOCK    8192
#define ROUNDS   12
#define USR_LEN  8
#define MSEC(n)  ((uint64_t)(n)*NSEC_PER_MSEC)
#define SEC(n)   ((uint64_t)(n)*NSEC_PER_SEC)
#define MAX_TIME SEC(20000)

struct world;

/* Writes its block, reads it back, compares, and so on. */
struct slot {
	struct world *w;
	struct rtrs_clt_req req;
	unsigned nr, round;
	bool reading, out;
	uint8_t usr[USR_LEN];
	uint8_t data[BLOCK];
};

struct world {
	const struct fabric_ops *ops;
	struct sim_net *net;
	struct sim_node *node[2];
	struct rtrs_listener *lsn;
	struct rtrs_srv *srv;
	struct rtrs_clt *clt;
	struct rtrs_path_addr addr;
	bool need_inval;
	bool link, failed, closing;
	unsigned n_ups, n_aborted, n_left;
	struct slot slots[N_SLOTS];
	uint8_t disk[N_SLOTS][BLOCK];
	struct rtrs_srv_op *ops_out[QD];
	unsigned n_ops_out;
};

/* --- server: a disk, answers late and in any order */

static int
sess_up(void *user, struct rtrs_srv_sess *sess, const char *name,
	const struct fabric_addrs *addrs, void **ret_sess_user)
{
	*ret_sess_user = user;
	return 0;
}

static void
sess_down(void *sess_user, struct rtrs_srv_sess *sess)
{
	rtrs_srv_sess_down_done(sess);
}

static void
request(void *sess_user, struct rtrs_srv_op *op)
{
	struct world *w = sess_user;

	ck_assert_uint_lt(w->n_ops_out, QD);
	ck_assert_uint_eq(op->usr_len, USR_LEN);
	ck_assert_uint_eq(op->data_len, BLOCK);
	w->ops_out[w->n_ops_out++] = op;
}

static void
answer_one(struct world *w)
{
	unsigned i = (unsigned)sim_net_below(w->net, w->n_ops_out);
	struct rtrs_srv_op *op = w->ops_out[i];
	unsigned nr = *(const uint8_t *)op->usr;

	w->ops_out[i] = w->ops_out[--w->n_ops_out];
	ck_assert_uint_lt(nr, N_SLOTS);
	if (op->dir == RTRS_WRITE)
		memcpy(w->disk[nr], op->data, BLOCK);
	else
		memcpy(op->data, w->disk[nr], BLOCK);
	rtrs_srv_op_done(op, 0);
}

static void
conn_request(void *user, struct rtrs_conn_request *req)
{
	struct world *w = user;

	rtrs_srv_take(w->srv, req);
}

static void
start_server(struct world *w, bool always_invalidate)
{
	struct rtrs_srv_params sp = {
		.rng = sim_net_rng(w->net),
		.fabric_priv = w->node[1],
		.queue_depth = QD,
		.chunk_size = CHUNK,
		.always_invalidate = always_invalidate,
		.user = w,
		.sess_up = sess_up,
		.sess_down = sess_down,
		.request = request,
	};
	struct rtrs_listener_params lp = {
		.fabric = w->ops,
		.addr = (const struct sockaddr *)&w->addr.dst,
		.addr_len = w->addr.dst_len,
		.rng = sim_net_rng(w->net),
		.fabric_priv = w->node[1],
		.request = conn_request,
		.user = w,
	};

	ck_assert_int_eq(rtrs_srv_new(&sp, &w->srv), 0);
	ck_assert_int_eq(rtrs_listener_new(&lp, &w->lsn), 0);
}

/* --- client */

static void
link_up(void *user)
{
	struct world *w = user;

	ck_assert(!w->link);
	w->link = true;
	w->n_ups++;
}

static void
link_down(void *user)
{
	struct world *w = user;

	ck_assert(w->link);
	w->link = false;
	for (int i = 0; i < N_SLOTS; i++)
		ck_assert(!w->slots[i].out);
}

static void
failed(void *user, int err)
{
	struct world *w = user;

	ck_assert_int_lt(err, 0);
	ck_assert(!w->failed);
	w->failed = true;
}

static void
start_client(struct world *w)
{
	struct rtrs_clt_params p = {
		.name = "sim",
		.paths = &w->addr,
		.n_paths = 1,
		.n_cons = 3,
		.need_inval = w->need_inval,
		.reconnect_delay_ms = 100,
		.reconnect_backoff_ms = 10,
		.reconnect_jitter_ms = 8,
		.max_reconnect_attempts = -1,
		.rng = sim_net_rng(w->net),
		.now = sim_net_now(w->net),
		.fabric_priv = w->node[0],
		.link_up = link_up,
		.link_down = link_down,
		.failed = failed,
		.user = w,
	};

	w->failed = false;
	if (rtrs_clt_new(&p, &w->clt))
		w->clt = NULL; /* a fault: again later */
}

static uint8_t
pattern(const struct slot *s)
{
	return (uint8_t)(s->nr * 32 + s->round + 1);
}

static void done(struct rtrs_clt_req *req, int err);

static void
submit(struct slot *s)
{
	struct world *w = s->w;
	struct rtrs_permit *permit =
		rtrs_clt_permit_get(w->clt, RTRS_PERMIT_IO, s->nr);
	int r;

	if (!permit)
		return;
	memset(s->data, s->reading ? 0 : pattern(s), BLOCK);
	s->usr[0] = (uint8_t)s->nr;
	s->req = (struct rtrs_clt_req){
		.dir = s->reading ? RTRS_READ : RTRS_WRITE,
		.permit = permit,
		.usr = s->usr,
		.usr_len = USR_LEN,
		.data = s->data,
		.data_len = BLOCK,
		.done = done,
	};
	r = rtrs_clt_submit(w->clt, &s->req);
	if (r) {
		ck_assert(r == -ECONNABORTED || r == -ENOMEM);
		rtrs_clt_permit_put(w->clt, permit);
		return;
	}
	s->out = true;
	/* It was copied. */
	s->usr[0] = 0xff;
}

static void
done(struct rtrs_clt_req *req, int err)
{
	struct slot *s = container_of(req, struct slot, req);
	struct world *w = s->w;

	ck_assert(s->out);
	s->out = false;
	rtrs_clt_permit_put(w->clt, req->permit);
	if (err) {
		/* The same again when the link is up. */
		ck_assert_int_eq(err, -ECONNABORTED);
		w->n_aborted++;
		return;
	}
	if (s->reading) {
		ck_assert_uint_eq(s->data[0], pattern(s));
		/* All bytes are alike. */
		ck_assert_mem_eq(s->data, s->data + 1, BLOCK - 1);
		if (++s->round == ROUNDS)
			w->n_left--;
	}
	s->reading = !s->reading;
	if (s->round < ROUNDS && rtrs_clt_is_up(w->clt))
		submit(s);
}

/* A slot that could be sent, but was not. */
static bool
has_work(const struct world *w)
{
	for (unsigned i = 0; i < N_SLOTS; i++)
		if (w->link && !w->slots[i].out && w->slots[i].round < ROUNDS)
			return !w->closing;
	return false;
}

static void
drive_client(struct world *w)
{
	if (w->clt && w->failed) {
		rtrs_clt_free(w->clt);
		w->clt = NULL;
	}
	if (!w->clt)
		start_client(w);
	if (!w->clt)
		return;
	for (unsigned i = 0; i < N_SLOTS && w->link; i++) {
		struct slot *s = &w->slots[i];

		if (!s->out && s->round < ROUNDS)
			submit(s);
	}
	rtrs_clt_progress(w->clt, sim_net_now(w->net));
}

static void
pump(struct world *w)
{
	uint64_t now = sim_net_now(w->net), t;
	bool again = false;

	if (w->closing)
		rtrs_clt_progress(w->clt, now);
	else
		drive_client(w);
	if (w->lsn)
		rtrs_listener_progress(w->lsn, now);
	rtrs_srv_progress(w->srv, now);
	while (w->n_ops_out && sim_net_chance(w->net, 700000))
		answer_one(w);
	rtrs_srv_flush(w->srv);
	if (w->lsn)
		again |= rtrs_listener_arm(w->lsn);
	again |= rtrs_srv_arm(w->srv);
	if (w->clt)
		again |= rtrs_clt_arm(w->clt);
	if (again)
		return;
	t = time_min(sim_net_next_time(w->net), rtrs_srv_deadline(w->srv));
	if (w->lsn)
		t = time_min(t, rtrs_listener_deadline(w->lsn));
	if (w->clt)
		t = time_min(t, rtrs_clt_deadline(w->clt));
	if (w->n_ops_out || !w->clt || w->failed || has_work(w))
		t = time_min(t, now + MSEC(1));
	/* A hang shows as MAX_TIME. */
	t = time_min(t, now + SEC(10));
	sim_net_advance(w->net, t > now ? t : now + 1);
}

static const struct fabric_ops *const flavours[] = {
	&fabric_sim, &fabric_sim_rdma, &fabric_sim_plain};

static void
setup(struct world *w, int i)
{
	memset(w, 0, sizeof(*w));
	w->ops = flavours[i % 3];
	w->need_inval = i / 3 & 1;
	w->n_left = N_SLOTS;
	ck_assert_int_eq(sim_net_new((uint64_t)i, &w->net), 0);
	ck_assert_int_eq(sim_node_new(w->net, "clt", 1, &w->node[0]), 0);
	ck_assert_int_eq(sim_node_new(w->net, "srv", 2, &w->node[1]), 0);
	w->addr.fabric = w->ops;
	w->addr.dst_len = sim_node_addr(w->node[1], 1234, &w->addr.dst);
	for (unsigned s = 0; s < N_SLOTS; s++)
		w->slots[s] = (struct slot){.w = w, .nr = s};
	start_server(w, i / 6 & 1);
}

static void
finish(struct world *w)
{
	struct sim_counts n;
	uint64_t end = sim_net_now(w->net) + SEC(1000);

	w->closing = true;
	rtrs_clt_close(w->clt);
	while (!rtrs_clt_closed(w->clt)) {
		ck_assert_uint_lt(sim_net_now(w->net), end);
		pump(w);
	}
	rtrs_listener_free(w->lsn);
	w->lsn = NULL;
	rtrs_srv_close(w->srv);
	while (!rtrs_srv_closed(w->srv)) {
		ck_assert_uint_lt(sim_net_now(w->net), end);
		pump(w);
	}
	rtrs_clt_free(w->clt);
	rtrs_srv_free(w->srv);
	sim_net_counts(w->net, &n);
	ck_assert_uint_eq(
		n.ctxs + n.listeners + n.conns + n.pds + n.mrs + n.mws, 0);
	sim_net_free(w->net);
}

static void
run(struct world *w)
{
	while (w->n_left) {
		ck_assert_uint_lt(sim_net_now(w->net), MAX_TIME);
		pump(w);
	}
	for (unsigned i = 0; i < N_SLOTS; i++)
		ck_assert_uint_eq(w->disk[i][0], pattern(&w->slots[i]) - 1);
}

static struct world world;

START_TEST(perfect_network)
{
	setup(&world, _i);
	run(&world);
	ck_assert_uint_eq(world.n_ups, 1);
	ck_assert_uint_eq(world.n_aborted, 0);
	finish(&world);
}
END_TEST

START_TEST(network_with_delays)
{
	struct sim_faults *f;

	setup(&world, _i);
	f = sim_net_faults(world.net);
	f->delay_min_ns = 1000;
	f->delay_max_ns = MSEC(1);
	f->late_wc_ppm = 200000;
	f->late_wc_max_ns = MSEC(2);
	run(&world);
	ck_assert_uint_eq(world.n_ups, 1);
	ck_assert_uint_eq(world.n_aborted, 0);
	finish(&world);
}
END_TEST

START_TEST(network_with_faults)
{
	struct sim_faults *f;

	setup(&world, _i);
	f = sim_net_faults(world.net);
	f->delay_max_ns = MSEC(1);
	f->cut_ppm = 4000;
	f->lose_ppm = 1000;
	f->stall_ppm = 1000;
	f->stall_max_ns = SEC(20);
	f->notice_max_ns = SEC(2);
	f->refuse_ppm = 50000;
	f->reject_ppm = 50000;
	f->req_lost_ppm = 20000;
	f->rep_lost_ppm = 20000;
	f->late_wc_ppm = 100000;
	f->late_wc_max_ns = MSEC(2);
	f->enomem_ppm = 500;
	f->until_ns = SEC(600);
	run(&world);
	finish(&world);
}
END_TEST

START_TEST(one_fault_at_each_step)
{
	struct sim_faults *f;

	setup(&world, _i);
	f = sim_net_faults(world.net);
	f->at_step = (uint64_t)(_i / 4) + 1;
	f->at_fault = _i % 2 ? SIM_FAULT_CUT : SIM_FAULT_LOSE;
	f->at_all = _i % 4 > 1;
	run(&world);
	finish(&world);
}
END_TEST

/* Whatever is under way is dropped. */
START_TEST(free_at_any_time)
{
	setup(&world, _i);
	for (int k = 0; k < _i; k++)
		pump(&world);
	if (!world.clt)
		start_client(&world);
	rtrs_clt_free(world.clt);
	for (unsigned i = 0; i < N_SLOTS; i++)
		ck_assert(!world.slots[i].out);
	world.link = false;
	start_client(&world);
	finish(&world);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("fabric");
	TCase *tc = tcase_create("fabric");
	SRunner *sr;
	int n_failed;

	tcase_add_loop_test(tc, perfect_network, 0, 12);
	tcase_add_loop_test(tc, network_with_delays, 0, 12);
	tcase_add_loop_test(tc, network_with_faults, 0, 150);
	tcase_add_loop_test(tc, one_fault_at_each_step, 0, 240);
	tcase_add_loop_test(tc, free_at_any_time, 0, 40);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	n_failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return n_failed ? 1 : 0;
}
