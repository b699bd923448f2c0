/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/sim-server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "gateway/server.h"
#include "tests/sim/sim-backend.h"

#define SRV_HOST 1

/* A connection request on its way from the acceptor to the worker. */
struct handover {
	struct world_timer timer;
	struct sim_server *s;
	struct rtrs_conn_request *req;
	struct handover *prev, *next;
};

/* A job of the executor: done later. */
struct exec_job {
	struct world_timer timer;
	struct sim_server *s;
	struct gw_job *job;
	bool worked;
};

struct sim_server {
	struct actor actor; /* the worker */
	struct actor acceptor;
	struct world *w;
	struct sim_node *node;
	struct gw_exec exec;
	struct gw_exports *exports;
	struct gw_server *gw;
	struct rtrs_listener *listener;
	struct handover *handovers;
	struct sim_disk_view views[MAX_DISKS];
	unsigned jobs;
	bool killed, closing;
	bool again; /* another one starts when it is gone */
	uint64_t again_ms;
	struct sim_server *prev, *next;
};

/* --- executor */

static void
job_fire(struct world_timer *t)
{
	struct exec_job *e = container_of(t, struct exec_job, timer);

	if (!e->worked)
		e->job->work(e->job);
	e->s->jobs--;
	e->job->done(e->job);
	free(e);
}

static void
exec_run(struct gw_exec *exec, struct gw_job *job)
{
	struct sim_server *s = container_of(exec, struct sim_server, exec);
	struct world *w = s->w;
	struct exec_job *e = calloc(1, sizeof(*e));

	if (!e)
		abort();
	e->timer.fire = job_fire;
	e->s = s;
	e->job = job;
	s->jobs++;
	e->worked = world_chance(w, 50);
	if (e->worked)
		job->work(job);
	world_timer_set(w, &e->timer,
			world_now(w) + world_below(w, 5 * NSEC_PER_MSEC));
}

/* --- acceptor */

static void
hand_over(struct handover *h)
{
	struct sim_server *s = h->s;

	DL_DELETE(s->handovers, h);
	if (s->closing && world_chance(s->w, 50))
		rtrs_conn_request_reject(h->req, -ECONNREFUSED);
	else
		rtrs_srv_take(gw_server_rtrs(s->gw), h->req);
	free(h);
}

static void
handover_fire(struct world_timer *t)
{
	hand_over(container_of(t, struct handover, timer));
}

static void
on_request(void *user, struct rtrs_conn_request *req)
{
	struct sim_server *s = user;
	struct handover *h = calloc(1, sizeof(*h));

	if (!h)
		abort();
	h->timer.fire = handover_fire;
	h->s = s;
	h->req = req;
	DL_APPEND(s->handovers, h);
	world_timer_set(s->w, &h->timer,
			world_now(s->w) + world_below(s->w, 100000));
}

static bool
acceptor_ready(struct actor *a)
{
	struct sim_server *s = container_of(a, struct sim_server, acceptor);

	return rtrs_listener_arm(s->listener) ||
	       rtrs_listener_deadline(s->listener) <= world_now(s->w);
}

static uint64_t
acceptor_deadline(struct actor *a)
{
	struct sim_server *s = container_of(a, struct sim_server, acceptor);

	return rtrs_listener_deadline(s->listener);
}

static void
acceptor_progress(struct actor *a)
{
	struct sim_server *s = container_of(a, struct sim_server, acceptor);

	rtrs_listener_progress(s->listener, world_now(s->w));
}

static void
acceptor_stop(struct sim_server *s)
{
	struct world *w = s->w;
	struct handover *h, *tmp;

	if (!s->listener)
		return;
	/* What it handed out is still its: ends before it does. */
	DL_FOREACH_SAFE(s->handovers, h, tmp) {
		world_timer_cancel(w, &h->timer);
		hand_over(h);
	}
	DL_DELETE(w->actors, &s->acceptor);
	rtrs_listener_free(s->listener);
	s->listener = NULL;
}

/* --- worker */

static bool
worker_ready(struct actor *a)
{
	struct sim_server *s = container_of(a, struct sim_server, actor);
	struct rtrs_srv *srv = gw_server_rtrs(s->gw);

	return rtrs_srv_arm(srv) ||
	       gw_server_deadline(s->gw) <= world_now(s->w) ||
	       (s->closing && rtrs_srv_closed(srv) && !s->jobs);
}

static uint64_t
worker_deadline(struct actor *a)
{
	struct sim_server *s = container_of(a, struct sim_server, actor);

	return gw_server_deadline(s->gw);
}

static void
restart_fire(struct world_timer *t)
{
	sim_server_start(container_of(t, struct world, server_restart));
}

static void
restart_later(struct world *w, uint64_t ms)
{
	w->server_restart.fire = restart_fire;
	world_timer_set(w, &w->server_restart, time_after_ms(world_now(w), ms));
}

static void
server_free(struct sim_server *s)
{
	struct world *w = s->w;

	world_note(w, "server is gone");
	DL_DELETE(w->actors, &s->actor);
	DL_DELETE(w->servers, s);
	gw_server_free(s->gw);
	gw_exports_free(s->exports);
	if (s->again)
		restart_later(w, s->again_ms);
	free(s);
}

static void
worker_progress(struct actor *a)
{
	struct sim_server *s = container_of(a, struct sim_server, actor);
	struct rtrs_srv *srv = gw_server_rtrs(s->gw);

	gw_server_progress(s->gw, world_now(s->w));
	if (s->closing && rtrs_srv_closed(srv) && !s->jobs)
		server_free(s);
}

/* --- life */

static void
set_limits(struct sim_server *s)
{
	char name[16], text[GW_TEXT_MAX];

	for (unsigned i = 0; i < MAX_DISKS; i++) {
		snprintf(name, sizeof(name), "disk%u", i);
		if (gw_exports_set_limits(s->exports, name, s->w->iops,
					  s->w->bandwidth, text))
			abort();
	}
}

static void
make_exports(struct sim_server *s)
{
	struct world *w = s->w;
	char name[16];
	unsigned i;

	if (gw_exports_new(&w->log, &s->exports))
		abort();
	for (i = 0; i < MAX_DISKS; i++) {
		s->views[i].disk = w->disks[i];
		s->views[i].killed = &s->killed;
		snprintf(name, sizeof(name), "disk%u", i);
		if (gw_exports_add_backend(s->exports, name, &backend_sim,
					   &s->views[i], w->p.disk_bytes,
					   false))
			abort();
	}
	set_limits(s);
}

static uint64_t
now(void *user)
{
	const struct sim_server *s = user;

	return world_now(s->w);
}

static void
make_engine(struct sim_server *s)
{
	struct world *w = s->w;
	struct gw_server_params p = {
		.exports = s->exports,
		.exec = &s->exec,
		.now = now,
		.user = s,
		.rtrs =
			{
				.rng = sim_net_rng(w->net),
				.log = &w->log,
				.now = world_now(w),
				.fabric_priv = s->node,
				.queue_depth = w->p.queue_depth,
				.chunk_size = w->p.chunk_size,
				.always_invalidate = w->p.always_invalidate,
				.hb_interval_ms = w->p.hb_interval_ms,
				.peer_timeout_ms = w->p.srv_peer_timeout_ms,
				.info_timeout_ms = 5000,
			},
	};
	struct rtrs_listener_params lp = {
		.fabric = w->p.fabric,
		.rng = sim_net_rng(w->net),
		.log = &w->log,
		.now = world_now(w),
		.fabric_priv = s->node,
		.request = on_request,
		.user = s,
	};
	struct sim_faults *f = sim_net_faults(w->net), saved = *f;
	struct sockaddr_storage ss;

	if (w->n_servers++ && w->p.resizes) {
		p.rtrs.queue_depth = 1 + (unsigned)world_below(w, 64);
		p.rtrs.chunk_size = 8192u << world_below(w, 5);
	}
	if (gw_server_new(&p, &s->gw))
		abort();
	lp.addr_len = sim_node_addr(s->node, SRV_PORT, &ss);
	lp.addr = (void *)&ss;
	/* A daemon that cannot listen does not start: nothing to see there. */
	f->enomem_ppm = 0;
	f->enomem_at = 0;
	if (rtrs_listener_new(&lp, &s->listener))
		abort();
	*f = saved;
}

void
sim_server_start(struct world *w)
{
	struct sim_server *s = calloc(1, sizeof(*s));

	if (!s || sim_node_new(w->net, "srv", SRV_HOST, &s->node))
		abort();
	world_note(w, "server starts");
	s->w = w;
	s->exec.run = exec_run;
	make_exports(s);
	make_engine(s);
	s->actor = (struct actor){.w = w,
				  .ready = worker_ready,
				  .deadline = worker_deadline,
				  .progress = worker_progress};
	s->acceptor = (struct actor){.w = w,
				     .ready = acceptor_ready,
				     .deadline = acceptor_deadline,
				     .progress = acceptor_progress};
	DL_APPEND(w->actors, &s->actor);
	DL_APPEND(w->actors, &s->acceptor);
	DL_APPEND(w->servers, s);
	w->server = s;
}

void
sim_server_kill(struct sim_server *s, bool power, uint64_t again_ms)
{
	struct world *w = s->w;
	unsigned i;

	for (i = 0; i < MAX_DISKS; i++)
		sim_disk_view_kill(&s->views[i]);
	s->killed = true;
	sim_node_kill(s->node);
	for (i = 0; power && i < MAX_DISKS; i++)
		sim_disk_power_cut(w->disks[i]);
	/* What is left of it goes away by itself, unseen by anybody. */
	if (w->server == s)
		w->server = NULL;
	s->closing = true;
	acceptor_stop(s);
	rtrs_srv_close(gw_server_rtrs(s->gw));
	restart_later(w, again_ms);
}

void
sim_server_stop(struct sim_server *s)
{
	world_note(s->w, "server stops");
	if (s->w->server == s)
		s->w->server = NULL;
	s->closing = true;
	acceptor_stop(s);
	rtrs_srv_close(gw_server_rtrs(s->gw));
}

void
sim_server_stop_and_start(struct sim_server *s, uint64_t again_ms)
{
	sim_server_stop(s);
	s->again = true;
	s->again_ms = again_ms;
}

void
sim_server_revoke(struct sim_server *s, unsigned client, unsigned disk)
{
	char sess[16], name[16];

	snprintf(sess, sizeof(sess), "client%u", client);
	snprintf(name, sizeof(name), "disk%u", disk);
	if (!gw_server_close_device(s->gw, sess, name))
		world_note(s->w, "%s loses %s", sess, name);
}

void
sim_server_new_limits(struct sim_server *s)
{
	set_limits(s);
	gw_server_recheck(s->gw);
}

bool
sim_servers_gone(const struct world *w)
{
	return !w->servers;
}
