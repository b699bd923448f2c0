/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/sim-run.h"

#include <string.h>

#include "tests/sim/sim-backend.h"
#include "tests/sim/sim-client.h"
#include "tests/sim/sim-mem.h"
#include "tests/sim/sim-server.h"

/* A run that is not over by then, on its own clock, hangs. */
#define GIVE_UP_NS (900 * NSEC_PER_SEC)

const char *const step_fault_names[N_STEP_FAULTS] = {
	[STEP_CUT] = "cut",
	[STEP_CUT_ALL] = "cut-all",
	[STEP_LOSE] = "lose",
	[STEP_LOSE_ALL] = "lose-all",
	[STEP_KILL_SERVER] = "kill-server",
	[STEP_KILL_CLIENT] = "kill-client",
	[STEP_ENOMEM] = "enomem",
};

/* --- what happens at random times */

static void
kill_server(struct world *w)
{
	bool power = w->p.power_cuts && world_chance(w, 50);

	if (w->server)
		sim_server_kill(w->server, power, world_below(w, 3000));
}

static void
kill_client(struct world *w)
{
	struct sim_client *c = w->clients[world_below(w, w->p.n_clients)];

	if (c && !sim_client_done(c))
		sim_client_kill(c);
}

static void
fire_kill_server(struct world_timer *t)
{
	kill_server(t->w);
}

static void
fire_stop_server(struct world_timer *t)
{
	struct world *w = t->w;

	if (w->server)
		sim_server_stop_and_start(w->server, world_below(w, 3000));
}

static void
fire_hang_up(struct world_timer *t)
{
	struct world *w = t->w;
	struct sim_client *c = w->clients[world_below(w, w->p.n_clients)];

	if (c && !sim_client_done(c))
		sim_client_hang_up(c);
}

static void
fire_revoke(struct world_timer *t)
{
	struct world *w = t->w;

	if (w->server)
		sim_server_revoke(w->server,
				  (unsigned)world_below(w, w->p.n_clients),
				  (unsigned)world_below(w, MAX_DISKS));
}

static void
limit(struct world *w, uint64_t iops, uint64_t bandwidth)
{
	if (w->iops == iops && w->bandwidth == bandwidth)
		return;
	world_note(w, "limits: %llu/s, %llu bytes/s", (unsigned long long)iops,
		   (unsigned long long)bandwidth);
	w->iops = iops;
	w->bandwidth = bandwidth;
	if (w->server)
		sim_server_new_limits(w->server);
}

static void
fire_new_limits(struct world_timer *t)
{
	struct world *w = t->w;

	limit(w, world_below(w, 2) ? 20 + world_below(w, 5000) : 0,
	      world_below(w, 2) ? 4096 + world_below(w, 10 << 20) : 0);
}

static void
fire_kill_client(struct world_timer *t)
{
	kill_client(t->w);
}

static void
fire_partition(struct world_timer *t)
{
	struct world *w = t->w;
	struct sim_node *a, *b;

	/* Addresses are all that a partition looks at. */
	if (sim_node_new(w->net, "a", 1, &a) ||
	    sim_node_new(
		    w->net, "b",
		    sim_client_host((unsigned)world_below(w, w->p.n_clients),
				    (unsigned)world_below(w, w->p.n_paths)),
		    &b))
		return;
	sim_net_partition(w->net, a, b,
			  world_now(w) + world_below(w, 20 * NSEC_PER_SEC));
}

static void
fire_path_op(struct world_timer *t)
{
	struct world *w = t->w;

	sim_client_path_op(w->clients[world_below(w, w->p.n_clients)]);
}

static void
fire_new_rules(struct world_timer *t)
{
	struct world *w = t->w;
	unsigned i;

	world_note(w, "other access rules");
	for (i = 0; i < w->p.n_clients; i++)
		w->denied[i] =
			(unsigned)(world_chance(w, 50)
					   ? world_below(w, BIT(MAX_DISKS))
					   : 0);
	if (w->server)
		sim_server_new_rules(w->server);
}

static void
fire_sleep(struct world_timer *t)
{
	struct world *w = t->w;
	uint64_t until = world_now(w) + world_below(w, 8 * NSEC_PER_SEC);

	if (world_chance(w, 50) && w->server)
		sim_server_sleep(w->server, until);
	else
		sim_client_sleep(w->clients[world_below(w, w->p.n_clients)],
				 until);
}

/* Everything is cut, again and again, as fast as paths come back. */
static void
fire_flap_once(struct world_timer *t)
{
	struct world *w = t->w;

	if (!w->flaps_left || world_now(w) >= w->faults_end)
		return;
	w->flaps_left--;
	sim_net_fault_all(w->net, SIM_FAULT_CUT);
	world_timer_set(w, t,
			world_now(w) + world_below(w, 200 * NSEC_PER_MSEC));
}

static void
fire_flap(struct world_timer *t)
{
	struct world *w = t->w;

	w->flaps_left = 5 + (unsigned)world_below(w, 20);
	w->flap.fire = fire_flap_once;
	world_timer_set(w, &w->flap, world_now(w));
}

static void
fire_heal(struct world_timer *t)
{
	unsigned i;

	world_note(t->w, "faults are over");
	limit(t->w, 0, 0);
	memset(t->w->denied, 0, sizeof(t->w->denied));
	t->w->limited = false;
	if (t->w->server)
		sim_server_new_rules(t->w->server);
	for (i = 0; t->w->p.path_ops && i < t->w->p.n_clients; i++)
		sim_client_mend(t->w->clients[i]);
	for (i = 0; i < MAX_DISKS; i++)
		sim_disk_heal(t->w->disks[i]);
}

static void
plan_within(struct world *w, unsigned n, void (*fire)(struct world_timer *t),
	    uint64_t ns)
{
	struct world_timer *t;

	while (n-- && w->n_plan + 1 < ARRAY_SIZE(w->plan)) {
		t = &w->plan[w->n_plan++];
		t->fire = fire;
		world_timer_set(w, t, world_now(w) + world_below(w, ns));
	}
}

static void
plan(struct world *w, unsigned n, void (*fire)(struct world_timer *t))
{
	plan_within(w, n, fire, w->p.fault_ns);
}

/* --- a fault at one step */

static void
hook_kill_server(void *user)
{
	kill_server(user);
}

static void
hook_kill_client(void *user)
{
	kill_client(user);
}

static void
plan_step(struct world *w, uint64_t step, enum step_fault fault)
{
	struct sim_faults *f = sim_net_faults(w->net);

	if (!step)
		return;
	w->step_fault = true;
	if (fault == STEP_ENOMEM) {
		f->enomem_at = step;
		return;
	}
	f->at_step = step;
	f->at_all = fault == STEP_CUT_ALL || fault == STEP_LOSE_ALL;
	f->hook_user = w;
	switch (fault) {
	case STEP_CUT:
	case STEP_CUT_ALL:
		f->at_fault = SIM_FAULT_CUT;
		break;
	case STEP_LOSE:
	case STEP_LOSE_ALL:
		f->at_fault = SIM_FAULT_LOSE;
		break;
	case STEP_KILL_SERVER:
		f->at_fault = SIM_FAULT_HOOK;
		f->hook = hook_kill_server;
		break;
	case STEP_KILL_CLIENT:
		f->at_fault = SIM_FAULT_HOOK;
		f->hook = hook_kill_client;
		break;
	case STEP_ENOMEM:
	case N_STEP_FAULTS:
		break;
	}
}

/* --- the run */

static bool
clients_done(const struct world *w)
{
	unsigned i;

	for (i = 0; i < w->p.n_clients; i++)
		if (!sim_client_done(w->clients[i]))
			return false;
	return true;
}

/* False: it is all over, or an invariant broke. */
static bool
go_on(struct world *w, uint64_t end)
{
	if (world_now(w) > end) {
		world_fail(w, "not over after %llu s",
			   (unsigned long long)(GIVE_UP_NS / NSEC_PER_SEC));
		return false;
	}
	if (clients_done(w)) {
		/* The last act: no process comes back any more. */
		world_timer_cancel(w, &w->server_restart);
		w->changes++;
		if (w->server)
			sim_server_stop(w->server);
		if (sim_servers_gone(w))
			return false;
	}
	if (!world_turn(w)) {
		world_fail(w, "nothing is under way, and it is not over");
		return false;
	}
	return true;
}

static void
check_leaks(struct world *w)
{
	struct sim_counts n;
	unsigned i;

	sim_net_counts(w->net, &n);
	if (n.ctxs || n.listeners || n.conns || n.pds || n.mrs || n.mws)
		world_fail(w,
			   "left over: %u contexts, %u listeners, %u "
			   "connections, %u PDs, %u MRs, %u windows",
			   n.ctxs, n.listeners, n.conns, n.pds, n.mrs, n.mws);
	for (i = 0; i < MAX_DISKS; i++)
		if (sim_disk_inflight(w->disks[i]))
			world_fail(w, "left over: %u operations of disk %u",
				   sim_disk_inflight(w->disks[i]), i);
}

static void
populate(struct world *w)
{
	unsigned i;

	for (i = 0; i < MAX_DISKS; i++)
		w->disks[i] = sim_disk_new(w, i);
	sim_server_start(w);
	for (i = 0; i < w->p.n_clients; i++)
		sim_client_start(w, i);
	plan(w, w->p.server_kills, fire_kill_server);
	plan(w, w->p.client_kills, fire_kill_client);
	plan(w, w->p.partitions, fire_partition);
	plan(w, w->p.server_stops, fire_stop_server);
	plan(w, w->p.hangups, fire_hang_up);
	plan(w, w->p.revokes, fire_revoke);
	plan(w, w->p.new_limits, fire_new_limits);
	plan_within(w, w->p.path_ops, fire_path_op, w->p.ops_ns);
	plan(w, w->p.new_rules, fire_new_rules);
	plan(w, w->p.sleeps, fire_sleep);
	plan(w, w->p.flaps, fire_flap);
	w->plan[w->n_plan].fire = fire_heal;
	world_timer_set(w, &w->plan[w->n_plan++], w->faults_end);
}

static void
result(struct world *w, struct sim_result *ret)
{
	unsigned i;

	*ret = (struct sim_result){
		.ok = !w->failed,
		.steps = sim_net_steps(w->net),
		.calls = sim_net_calls(w->net),
		.digest = w->digest * 31 + sim_net_rand(w->net),
		.virtual_ns = world_now(w),
		.ios = w->stats.ios,
		.ios_failed = w->stats.ios_failed,
		.opens = w->stats.opens,
		.lost_sessions = w->stats.lost_sessions,
	};
	for (i = 0; i < SIM_N_FAULTS; i++)
		ret->faults += sim_net_fault_count(w->net, i);
	memcpy(ret->why, w->why, sizeof(ret->why));
}

void
sim_run(const struct sim_params *p, uint64_t step, enum step_fault fault,
	FILE *trace, struct sim_result *ret)
{
	struct world w;
	uint64_t end;
	int64_t blocks;
	unsigned i;

	blocks = sim_mem_count();
	world_init(&w, p, trace);
	sim_mem_begin(w.net, p->mem_ppm);
	plan_step(&w, step, fault);
	populate(&w);
	end = w.faults_end + GIVE_UP_NS;
	while (go_on(&w, end))
		;
	if (!w.failed)
		check_leaks(&w);
	result(&w, ret);
	/* After a failure nothing can be taken apart in order: it is left. */
	if (w.failed)
		return;
	for (i = 0; i < p->n_clients; i++)
		sim_client_free(w.clients[i]);
	for (i = 0; i < MAX_DISKS; i++)
		sim_disk_free(w.disks[i]);
	world_deinit(&w);
	blocks = sim_mem_count() - blocks;
	if (!blocks)
		return;
	ret->ok = false;
	snprintf(ret->why, sizeof(ret->why), "left over: %lld blocks of memory",
		 (long long)blocks);
}
