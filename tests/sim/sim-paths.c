/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands on the paths of a session while it works. */
#include <stdlib.h>

#include "tests/sim/sim-client-priv.h"
#include "tests/sim/sim-mem.h"

/* How often somebody looks after the paths. */
#define MEND_NS (500 * NSEC_PER_MSEC)

unsigned
sim_client_host(unsigned index, unsigned path)
{
	return 10 * (path + 1) + index;
}

void
client_path_addr(struct sim_client *c, unsigned i, struct rtrs_path_addr *ret)
{
	struct world *w = c->w;
	struct sim_node *srv, *own;

	if (sim_node_new(w->net, "addr", SRV_HOST, &srv) ||
	    sim_node_new(w->net, "addr", sim_client_host(c->index, i), &own))
		abort();
	*ret = (struct rtrs_path_addr){.fabric = w->p.fabric};
	ret->dst_len = sim_node_addr(srv, SRV_PORT, &ret->dst);
	/* The first goes out where it likes. */
	if (i)
		ret->src_len = sim_node_addr(own, 0, &ret->src);
}

static void
op_done(struct rtrs_clt_path_op *op, int err, const char *why)
{
	struct sim_client *c = op->user;

	sim_mem_hold();
	if (!c->op_busy)
		world_fail(c->w, "client %u: a command on a path ends twice",
			   c->index);
	c->op_busy = false;
	c->due = true;
	world_note(c->w, "client %u: command on path %u: %s", c->index,
		   op->path_id, err ? why : "done");
	sim_mem_release();
}

static void
began(struct sim_client *c, const char *what, int err)
{
	c->op_busy = !err;
	c->due = true;
	world_note(c->w, "client %u: %s path%s", c->index, what,
		   err ? ": cannot now" : "");
}

static void
add(struct sim_client *c)
{
	struct rtrs_path_addr addr;

	client_path_addr(c, (unsigned)world_below(c->w, MAX_PATHS), &addr);
	c->op.done = op_done;
	c->op.user = c;
	began(c, "add",
	      rtrs_clt_add_path(rnbd_clt_rtrs(c->clt), &addr, &c->op));
}

/* Without faults the last path that is up has to stay. */
static bool
is_spare(struct sim_client *c, unsigned i)
{
	struct rtrs_clt *rtrs = rnbd_clt_rtrs(c->clt);
	struct rtrs_clt_path_info info;
	unsigned k;

	if (c->w->p.fault_ns)
		return true;
	for (k = 0; k < rtrs_clt_n_paths(rtrs); k++)
		if (k != i && !rtrs_clt_path_info(rtrs, k, &info) &&
		    info.state == RTRS_CLT_CONNECTED)
			return true;
	return false;
}

void
sim_client_path_op(struct sim_client *c)
{
	struct world *w = c->w;
	struct rtrs_clt_path_info info;
	struct rtrs_clt *rtrs;
	unsigned what, i;

	if (!c->clt || c->op_busy)
		return;
	rtrs = rnbd_clt_rtrs(c->clt);
	what = (unsigned)world_below(w, 6);
	i = (unsigned)world_below(w, rtrs_clt_n_paths(rtrs));
	if (what == 0 || !rtrs_clt_n_paths(rtrs)) {
		add(c);
		return;
	}
	if (what == 1) {
		rtrs_clt_set_policy(rtrs,
				    (enum rtrs_mp_policy)world_below(w, 3));
		return;
	}
	if (!is_spare(c, i) || rtrs_clt_path_info(rtrs, i, &info))
		return;
	c->op.done = op_done;
	c->op.user = c;
	if (what == 2)
		began(c, "remove", rtrs_clt_remove_path(rtrs, info.id, &c->op));
	else if (what == 3)
		began(c, "disconnect",
		      rtrs_clt_disconnect_path(rtrs, info.id, &c->op));
	else if (what == 4)
		began(c, "reconnect",
		      rtrs_clt_reconnect_path(rtrs, info.id, &c->op));
	else if (rnbd_clt_is_up(c->clt))
		rtrs_clt_path_reset(rtrs, i);
	c->due = true;
}

static void
mend(struct sim_client *c)
{
	struct rtrs_clt *rtrs = rnbd_clt_rtrs(c->clt);
	struct rtrs_clt_path_info info;
	unsigned i;

	if (!rtrs_clt_n_paths(rtrs)) {
		add(c);
		return;
	}
	for (i = 0; i < rtrs_clt_n_paths(rtrs); i++) {
		if (rtrs_clt_path_info(rtrs, i, &info) || !info.held_down)
			continue;
		c->op.done = op_done;
		c->op.user = c;
		began(c, "reconnect",
		      rtrs_clt_reconnect_path(rtrs, info.id, &c->op));
		return;
	}
}

static void
fire_mend(struct world_timer *t)
{
	struct sim_client *c = container_of(t, struct sim_client, mend);

	if (c->state == APP_DONE)
		return;
	if (c->clt && !c->op_busy && c->state < APP_CLOSING)
		mend(c);
	world_timer_set(c->w, t, world_now(c->w) + MEND_NS);
}

void
sim_client_mend(struct sim_client *c)
{
	c->mend.fire = fire_mend;
	world_timer_set(c->w, &c->mend, world_now(c->w));
}

void
client_check_calm(struct sim_client *c)
{
	struct rtrs_clt *rtrs = rnbd_clt_rtrs(c->clt);
	const struct sim_params *p = &c->w->p;
	struct rtrs_clt_path_info info;
	unsigned i;

	if (client_may_fail(c) || client_competes(c) || p->path_ops)
		return;
	for (i = 0; i < rtrs_clt_n_paths(rtrs); i++)
		if (!rtrs_clt_path_info(rtrs, i, &info) &&
		    (info.stats.reconnects_ok || info.stats.reconnects_err ||
		     info.state != RTRS_CLT_CONNECTED))
			world_fail(c->w, "client %u: lost path %u: %s",
				   c->index, info.id, info.why);
}
