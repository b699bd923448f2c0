/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/sim-server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "gateway/access.h"
#include "gateway/server.h"
#include "tests/sim/sim-backend.h"
#include "tests/sim/sim-mem.h"

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
	struct gw_access *access;
	struct gw_server *gw;
	struct rtrs_listener *listener;
	struct handover *handovers;
	struct sim_disk_view views[MAX_DISKS];
	unsigned jobs;
	bool killed, closing;
	bool reaped; /* completions of a disk, and no round since */
	bool again;  /* another one starts when it is gone */
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
	struct exec_job *e;

	sim_mem_hold();
	e = calloc(1, sizeof(*e));
	sim_mem_release();
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
	if ((s->closing && world_chance(s->w, 50)) ||
	    rtrs_srv_take(gw_server_rtrs(s->gw), h->req))
		rtrs_conn_request_reject(h->req, -ECONNREFUSED);
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
	struct handover *h;
	int err;

	err = gw_access_check_connect(s->access,
				      &rtrs_conn_request_addrs(req)->peer);
	if (err) {
		rtrs_conn_request_reject(req, err);
		return;
	}
	sim_mem_hold();
	h = calloc(1, sizeof(*h));
	sim_mem_release();
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

	return rtrs_listener_arm(s->listener);
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

	sim_mem_arm(true);
	rtrs_listener_progress(s->listener, world_now(s->w));
	sim_mem_arm(false);
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

	return rtrs_srv_arm(srv) || s->reaped ||
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
check_account(struct sim_server *s)
{
	struct gw_access_stats st;

	gw_access_stats(s->access, &st);
	if (st.now.sessions || st.now.paths || st.now.connections ||
	    st.now.memory)
		world_fail(s->w,
			   "still charged: %u sessions, %u paths, %u "
			   "connections, %llu bytes",
			   st.now.sessions, st.now.paths, st.now.connections,
			   (unsigned long long)st.now.memory);
}

static void
server_free(struct sim_server *s)
{
	struct world *w = s->w;

	world_note(w, "server is gone");
	check_account(s);
	DL_DELETE(w->actors, &s->actor);
	DL_DELETE(w->servers, s);
	gw_server_free(s->gw);
	gw_exports_free(s->exports);
	gw_access_free(s->access);
	if (s->again)
		restart_later(w, s->again_ms);
	free(s);
}

static void
worker_progress(struct actor *a)
{
	struct sim_server *s = container_of(a, struct sim_server, actor);
	struct rtrs_srv *srv = gw_server_rtrs(s->gw);

	s->reaped = false;
	sim_mem_arm(true);
	gw_server_progress(s->gw, world_now(s->w));
	sim_mem_arm(false);
	/* One that stops is not told of new rules. */
	if (s->w->server == s && s->w->p.new_rules && !world_below(s->w, 16))
		sim_server_check_access(s);
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
		s->views[i].reaped = &s->reaped;
		snprintf(name, sizeof(name), "disk%u", i);
		if (gw_exports_add_backend(
			    s->exports, name, &backend_sim, &s->views[i],
			    sim_disk_sectors(w->disks[i]) * SECTOR, false))
			abort();
	}
	set_limits(s);
}

/* --- access */

/* gw_access_params.now has no argument. */
static struct world *access_world;

static uint64_t
access_now(void)
{
	return world_now(access_world);
}

static void
deny(struct gw_ruleset *rs, unsigned client, unsigned disks)
{
	struct gw_rule rule = {.action = GW_RULE_DENY};
	char name[16], text[GW_TEXT_MAX];

	snprintf(name, sizeof(name), "client%u", client);
	if (gw_name_list_add(&rule.sessions, name, text))
		abort();
	for (unsigned i = 0; i < MAX_DISKS; i++) {
		snprintf(name, sizeof(name), "disk%u", i);
		if (disks & BIT(i) &&
		    gw_name_list_add(&rule.exports, name, text))
			abort();
	}
	if (gw_ruleset_add(rs, &rule, text))
		abort();
}

static void
apply_access(struct sim_server *s)
{
	struct world *w = s->w;
	struct gw_access_limits limits = {.addr_bits4 = 32, .addr_bits6 = 64};
	struct gw_rule all = {.action = GW_RULE_ALLOW};
	struct gw_ruleset *rs;
	char text[GW_TEXT_MAX];

	if (gw_ruleset_new(&rs))
		abort();
	for (unsigned i = 0; i < MAX_CLIENTS; i++)
		if (w->denied[i])
			deny(rs, i, w->denied[i]);
	if (gw_ruleset_add(rs, &all, text))
		abort();
	if (w->limited) {
		limits.addr_sessions = 1;
		limits.addr_connections = w->p.n_cons + 1;
		limits.addr_connect_rate = 10;
		limits.addr_connect_burst = 20;
		limits.sessions = w->p.n_clients;
		limits.memory = (uint64_t)(w->p.n_clients + 1) *
				w->p.queue_depth * w->p.chunk_size;
	}
	gw_access_replace(s->access, rs);
	gw_access_set_limits(s->access, &limits);
}

static void
make_access(struct sim_server *s)
{
	struct gw_access_params p = {.log = &s->w->log, .now = access_now};

	access_world = s->w;
	if (gw_access_new(&p, &s->access))
		abort();
	apply_access(s);
}

struct has_path {
	const char *sess_name;
	bool yes;
};

static void
look_at_path(void *user, const struct rtrs_srv_path_info *info)
{
	struct has_path *h = user;

	h->yes |= info->state == RTRS_SRV_CONNECTED &&
		  !strcmp(info->sess_name, h->sess_name);
}

/* A session without a path is going down: it cannot use what is open. */
static bool
has_path(struct sim_server *s, const char *sess_name)
{
	struct has_path h = {.sess_name = sess_name};

	rtrs_srv_for_each_path(gw_server_rtrs(s->gw), look_at_path, &h);
	return h.yes;
}

static void
check_device(void *user, const struct gw_device_info *info)
{
	struct sim_server *s = user;
	unsigned client = (unsigned)atoi(info->sess_name + strlen("client"));
	unsigned disk = (unsigned)atoi(info->dev_name + strlen("disk"));

	if (s->w->denied[client] & BIT(disk) && has_path(s, info->sess_name))
		world_fail(s->w, "%s has %s open, which the rules deny it",
			   info->sess_name, info->dev_name);
}

void
sim_server_check_access(struct sim_server *s)
{
	gw_server_for_each_device(s->gw, check_device, s);
}

struct writers {
	const char *name;
	unsigned n;
};

static void
count_writers(void *user, const struct gw_device_info *info)
{
	struct writers *wr = user;

	wr->n += info->access_mode != RNBD_ACCESS_RO &&
		 !strcmp(info->dev_name, wr->name);
}

void
sim_server_check_writers(struct sim_server *s, const char *dev_name)
{
	struct writers wr = {.name = dev_name};

	gw_server_for_each_device(s->gw, count_writers, &wr);
	if (wr.n > (s->w->p.migration ? 2 : 1))
		world_fail(s->w, "%s is open to %u writers", dev_name, wr.n);
}

void
sim_server_new_rules(struct sim_server *s)
{
	apply_access(s);
	gw_server_recheck(s->gw);
	sim_server_check_access(s);
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
		.access = s->access,
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
				.hb_interval_ms = w->p.srv_hb_interval_ms,
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

/* While it was away somebody changed what it serves. */
static void
reshape(struct world *w)
{
	if (world_chance(w, 50))
		w->block_size = world_chance(w, 50) ? 512 : 4096;
	for (unsigned i = 0; i < MAX_DISKS; i++)
		sim_disk_reshape(w->disks[i]);
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
	if (w->n_servers && w->p.reshapes)
		reshape(w);
	make_exports(s);
	make_access(s);
	make_engine(s);
	s->actor = (struct actor){.w = w,
				  .ready = worker_ready,
				  .deadline = worker_deadline,
				  .progress = worker_progress,
				  .node = s->node};
	s->acceptor = (struct actor){.w = w,
				     .ready = acceptor_ready,
				     .deadline = acceptor_deadline,
				     .progress = acceptor_progress,
				     .node = s->node};
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

void
sim_server_sleep(struct sim_server *s, uint64_t until)
{
	world_note(s->w, "server sleeps");
	s->actor.asleep_until = until;
	if (world_chance(s->w, 50))
		s->acceptor.asleep_until = until;
}

bool
sim_servers_gone(const struct world *w)
{
	return !w->servers;
}
