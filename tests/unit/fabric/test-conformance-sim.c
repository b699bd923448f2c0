/* SPDX-License-Identifier: BSD-3-Clause */
/* The fabric contract, kept by the simulated fabric in all its flavours. */
#include <stdlib.h>

#include "rtrs/fabric/sim/sim.h"
#include "tests/unit/fabric/conformance.h"

static struct sim_net *net;
static struct sim_node *node[2];
static bool done_when_sent;

static void
setup(int round)
{
	struct sim_faults *f;

	ck_assert_int_eq(sim_net_new((uint64_t)round, &net), 0);
	ck_assert_int_eq(sim_node_new(net, "clt", 1, &node[0]), 0);
	ck_assert_int_eq(sim_node_new(net, "srv", 2, &node[1]), 0);
	if (getenv("SIM_TRACE"))
		sim_net_trace(net, stderr);
	f = sim_net_faults(net);
	f->done_when_sent = done_when_sent;
	/* The first round is a network without delays. */
	if (!round)
		return;
	f->delay_min_ns = 1000;
	f->delay_max_ns = 1000000;
	f->late_wc_ppm = 200000;
	f->late_wc_max_ns = 500000;
}

static void
teardown(void)
{
	struct sim_counts n;

	sim_net_counts(net, &n);
	ck_assert_uint_eq(n.ctxs, 0);
	ck_assert_uint_eq(n.listeners, 0);
	ck_assert_uint_eq(n.conns, 0);
	ck_assert_uint_eq(n.pds, 0);
	ck_assert_uint_eq(n.mrs, 0);
	ck_assert_uint_eq(n.mws, 0);
	sim_net_free(net);
}

static void *
priv(int side)
{
	return node[side];
}

static struct rng
rng(void)
{
	return sim_net_rng(net);
}

static uint64_t
now(void)
{
	return sim_net_now(net);
}

static socklen_t
listen_addr(struct sockaddr_storage *ret)
{
	return sim_node_addr(node[1], 0, ret);
}

static socklen_t
dead_addr(struct sockaddr_storage *ret)
{
	return sim_node_addr(node[1], 9, ret);
}

static bool ops_arm(struct fabric_ctx *ctx);

static bool
anything(struct fabric_ctx *const *ctx, int n)
{
	bool some = false;
	int i;

	for (i = 0; i < n; i++)
		some |= ops_arm(ctx[i]);
	return some;
}

static bool
wait_(struct fabric_ctx *const *ctx, int n)
{
	while (!anything(ctx, n))
		if (!sim_net_step(net))
			return false;
	return true;
}

static void
settle(struct fabric_ctx *const *ctx, int n)
{
	anything(ctx, n);
	sim_net_advance(net, sim_net_now(net) + 20 * NSEC_PER_MSEC);
}

static struct conf_driver drv = {
	.ops = &fabric_sim,
	.setup = setup,
	.teardown = teardown,
	.priv = priv,
	.rng = rng,
	.now = now,
	.listen_addr = listen_addr,
	.dead_addr = dead_addr,
	.wait = wait_,
	.settle = settle,
	.rounds = 16,
};

static bool
ops_arm(struct fabric_ctx *ctx)
{
	return drv.ops->ctx_arm(ctx);
}

int
main(int argc, char **argv)
{
	SRunner *sr;
	int failed;

	if (argc > 1 && argv[1][0] == 'r')
		drv.ops = &fabric_sim_rdma;
	if (argc > 1 && argv[1][0] == 'p')
		drv.ops = &fabric_sim_plain;
	if (argc > 1 && argv[1][0] == 's')
		drv.completes_when_sent = done_when_sent = true;
	sr = srunner_create(conf_suite(drv.ops->name, &drv));
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
