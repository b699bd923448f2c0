/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/sim-client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "tests/sim/sim-backend.h"
#include "tests/sim/sim-client-priv.h"
#include "tests/sim/sim-mem.h"
#include "tests/sim/sim-server.h"

/* A path that is lost keeps its requests until its connections are closed. */
#define PERMIT_WAIT_NS (120 * NSEC_PER_SEC)

static void
set_timer(struct sim_client *c, uint64_t ns)
{
	world_timer_set(c->w, &c->timer, world_now(c->w) + ns);
}

static void
check_geometry(const struct app_dev *dev)
{
	struct world *w = dev->c->w;
	const struct rnbd_clt_geometry *g = &dev->geo;
	const struct sim_params *p = &w->p;

	/* An answer may be older than the server that runs now. */
	if (p->reshapes)
		return;
	if (g->size_bytes != p->disk_bytes ||
	    g->logical_block_size != p->block_size ||
	    g->writeback != p->writeback)
		world_fail(w, "client %u: wrong geometry", dev->c->index);
}

static void
opened(void *user, struct rnbd_clt_dev *handle, int err, const char *text)
{
	struct app_dev *dev = user;
	struct sim_client *c = dev->c;
	char name[16];

	if (!dev->opening)
		world_fail(c->w, "client %u: opened twice", c->index);
	dev->opening = false;
	c->due = true;
	if (err) {
		world_note(c->w, "client %u: open: %s", c->index, text);
		if (err != -ESHUTDOWN && !client_may_fail(c) &&
		    !client_competes(c))
			world_fail(c->w, "client %u: open failed: %s", c->index,
				   text);
		c->broken = true;
		return;
	}
	c->w->stats.opens++;
	dev->handle = handle;
	rnbd_clt_dev_geometry(handle, &dev->geo);
	check_geometry(dev);
	snprintf(name, sizeof(name), "disk%u", dev->index);
	if (dev->writable && c->w->server)
		sim_server_check_writers(c->w->server, name);
}

static void
on_opened(void *user, struct rnbd_clt_dev *handle, int err, const char *text)
{
	sim_mem_hold();
	opened(user, handle, err, text);
	sim_mem_release();
}

static void
on_closed(void *user)
{
	struct app_dev *dev = user;

	dev->c->n_closed++;
	dev->c->due = true;
}

static void
open_devs(struct sim_client *c)
{
	struct world *w = c->w;
	char name[16];
	unsigned i;

	c->n_devs = MAX_DISKS;
	c->n_closed = 0;
	c->permits_by = 0;
	for (i = 0; i < c->n_devs; i++) {
		struct app_dev *dev = &c->devs[i];
		unsigned disk = (c->index + i) % MAX_DISKS;

		*dev = (struct app_dev){.c = c,
					.disk = w->disks[disk],
					.index = disk,
					.writable = !i,
					.opening = true};
		snprintf(name, sizeof(name), "disk%u", disk);
		if (rnbd_clt_dev_open(c->clt, name,
				      i                ? RNBD_ACCESS_RO
				      : w->p.migration ? RNBD_ACCESS_MIGRATION
						       : RNBD_ACCESS_RW,
				      on_opened, dev))
			abort();
	}
	c->state = APP_OPENING;
}

static void
start_process(struct sim_client *c)
{
	struct world *w = c->w;
	const struct sim_params *wp = &w->p;
	struct rtrs_path_addr paths[MAX_PATHS];
	char name[16];
	int err;
	struct rnbd_clt_params p = {
		.rtrs =
			{
				.name = name,
				.paths = paths,
				.n_paths = wp->n_paths,
				.policy = wp->policy,
				.connect = wp->connect,
				.n_cons = wp->n_cons,
				.need_inval = wp->need_inval,
				.max_queue_depth = wp->max_queue_depth,
				.hb_interval_ms = wp->hb_interval_ms,
				.connect_timeout_ms = wp->connect_timeout_ms,
				.reconnect_delay_ms = wp->reconnect_delay_ms,
				.reconnect_backoff_ms = 50,
				.reconnect_jitter_ms = RTRS_RECONNECT_JITTER_MS,
				.max_reconnect_attempts = wp->max_attempts,
				.peer_timeout_ms = wp->peer_timeout_ms,
				.quiesce_ms = wp->quiesce_ms,
				.rng = sim_net_rng(w->net),
				.log = &w->log,
				.now = world_now(w),
			},
		.io_timeout_ms = wp->io_timeout_ms,
		.trust_write_zeroes = wp->trust_write_zeroes,
	};
	unsigned i;

	snprintf(name, sizeof(name), "client%u", c->index);
	if (sim_node_new(w->net, name, sim_client_host(c->index, 0), &c->node))
		abort();
	for (i = 0; i < MAX_PATHS; i++)
		client_path_addr(c, i, &paths[i]);
	p.rtrs.fabric_priv = c->node;
	world_note(w, "client %u starts", c->index);
	c->broken = false;
	c->actor.asleep_until = 0;
	c->actor.node = c->node;
	sim_mem_arm(true);
	err = rnbd_clt_new(&p, &c->clt);
	sim_mem_arm(false);
	if (err) {
		/* A connect had no memory. */
		if (!client_may_fail(c))
			world_fail(w, "client %u does not start", c->index);
		c->clt = NULL;
		c->state = APP_DOWN;
		set_timer(c, 10 * NSEC_PER_MSEC);
		return;
	}
	DL_APPEND(w->actors, &c->actor);
	open_devs(c);
}

static void
drop_session(struct sim_client *c)
{
	if (!c->clt)
		return;
	DL_DELETE(c->w->actors, &c->actor);
	rnbd_clt_free(c->clt);
	c->clt = NULL;
	if (c->op_busy)
		world_fail(c->w, "client %u: a command on a path does not end",
			   c->index);
	if (c->n_ios)
		world_fail(c->w, "client %u: %u I/O without completion",
			   c->index, c->n_ios);
}

static void
restart_later(struct sim_client *c)
{
	drop_session(c);
	c->w->stats.lost_sessions++;
	c->state = APP_DOWN;
	set_timer(c, world_below(c->w, 500 * NSEC_PER_MSEC));
}

/* Nothing of ours is under way: are the permits of the session all back? */
static bool
permits_are_back(struct sim_client *c)
{
	struct rtrs_clt *rtrs = rnbd_clt_rtrs(c->clt);
	unsigned depth = rtrs_clt_queue_depth(rtrs), n = 0, i;
	struct rtrs_permit *permits[64];

	if (!rnbd_clt_is_up(c->clt))
		return true;
	while (n < depth &&
	       (permits[n] = rtrs_clt_permit_get(rtrs, RTRS_PERMIT_ADMIN, 0)))
		n++;
	for (i = 0; i < n; i++)
		rtrs_clt_permit_put(rtrs, permits[i]);
	/* A device that was closed while it was opened again may still have
	 * to be closed for the server. */
	if (!c->permits_by)
		c->permits_by = world_now(c->w) + PERMIT_WAIT_NS;
	if (n < depth && world_now(c->w) > c->permits_by)
		world_fail(c->w, "client %u: %u of %u permits came back",
			   c->index, n, depth);
	return n == depth;
}

/* The session or a device will not come back: the process ends. */
static bool
has_failed(struct sim_client *c)
{
	const struct sim_params *p = &c->w->p;
	const char *why;
	unsigned i;

	if (rnbd_clt_failed(c->clt)) {
		if (p->max_attempts < 0)
			world_fail(c->w, "client %u: the session failed",
				   c->index);
		return true;
	}
	for (i = 0; i < c->n_devs; i++) {
		why = rnbd_clt_dev_failed(c->devs[i].handle);
		if (!why)
			continue;
		if (!p->resizes && !p->reshapes)
			world_fail(c->w, "client %u: device failed: %s",
				   c->index, why);
		return true;
	}
	return false;
}

static void
tick_running(struct sim_client *c)
{
	struct world *w = c->w;
	unsigned i;

	if (world_now(w) < c->idle_until) {
		/* It may have been set for something else meanwhile. */
		world_timer_set(w, &c->timer, c->idle_until);
		return;
	}
	if (has_failed(c)) {
		restart_later(c);
		return;
	}
	while (c->left && c->n_ios < w->p.depth) {
		c->left--;
		client_submit_random(c);
		if (w->p.think_ns && world_chance(w, 30)) {
			set_timer(c, world_below(w, w->p.think_ns));
			return;
		}
		if (w->p.idle_ns && world_chance(w, 5)) {
			c->idle_until = world_now(w) + w->p.idle_ns;
			set_timer(c, w->p.idle_ns);
			return;
		}
	}
	if (c->left || c->n_ios)
		return;
	if (!c->patient) {
		c->state = APP_CLOSING_DEVS;
	} else if (world_now(w) >= w->faults_end) {
		c->state = APP_CHECKING;
	} else {
		set_timer(c, w->faults_end - world_now(w));
		return;
	}
	c->due = true;
	for (i = 0; i < c->n_devs; i++)
		c->devs[i].checked = false;
}

static void
tick_checking(struct sim_client *c)
{
	struct app_dev *dev;
	unsigned i;

	if (c->n_ios || world_now(c->w) < c->next_check)
		return;
	for (i = 0; i < c->n_devs; i++) {
		dev = &c->devs[i];
		if (dev->checked)
			continue;
		if (has_failed(c)) {
			restart_later(c);
			return;
		}
		/* While the session comes back it may fail. */
		client_submit(c, dev, RNBD_CLT_READ, 0, 0, dev->geo.size_bytes,
			      true);
		c->next_check = world_now(c->w) + 10 * NSEC_PER_MSEC;
		set_timer(c, 10 * NSEC_PER_MSEC);
		return;
	}
	c->state = APP_CLOSING_DEVS;
	c->due = true;
}

static void
tick_closing_devs(struct sim_client *c)
{
	struct rnbd_clt_dev *handle;
	unsigned i;

	for (i = 0; i < c->n_devs; i++) {
		handle = c->devs[i].handle;
		c->devs[i].handle = NULL;
		if (handle)
			rnbd_clt_dev_close(handle, on_closed, &c->devs[i]);
	}
	if (c->n_closed < c->n_devs)
		return;
	if (!permits_are_back(c)) {
		set_timer(c, 100 * NSEC_PER_MSEC);
		return;
	}
	client_check_calm(c);
	c->state = APP_CLOSING;
	rnbd_clt_close(c->clt);
}

static void
tick(struct sim_client *c)
{
	if (c->broken && c->state == APP_OPENING) {
		restart_later(c);
		return;
	}
	switch (c->state) {
	case APP_OPENING:
		if (c->devs[0].opening || c->devs[1].opening)
			break;
		c->state = APP_RUNNING;
		tick_running(c);
		break;
	case APP_RUNNING:
		tick_running(c);
		break;
	case APP_CHECKING:
		tick_checking(c);
		break;
	case APP_CLOSING_DEVS:
		tick_closing_devs(c);
		break;
	case APP_CLOSING:
		if (!rnbd_clt_closed(c->clt))
			break;
		drop_session(c);
		c->state = APP_DONE;
		world_note(c->w, "client %u is done", c->index);
		break;
	case APP_HANGING_UP:
		if (rnbd_clt_closed(c->clt))
			restart_later(c);
		break;
	case APP_DOWN:
	case APP_DONE:
		break;
	}
}

static void
timer_fire(struct world_timer *t)
{
	struct sim_client *c = container_of(t, struct sim_client, timer);

	if (c->state == APP_DOWN)
		start_process(c);
	else
		tick(c);
}

/* --- actor */

static bool
client_ready(struct actor *a)
{
	struct sim_client *c = container_of(a, struct sim_client, actor);

	return c->due || rnbd_clt_arm(c->clt);
}

static uint64_t
client_deadline(struct actor *a)
{
	struct sim_client *c = container_of(a, struct sim_client, actor);

	return rnbd_clt_deadline(c->clt);
}

static void
client_progress(struct actor *a)
{
	struct sim_client *c = container_of(a, struct sim_client, actor);

	c->due = false;
	client_forget_ended(c);
	sim_mem_arm(true);
	rnbd_clt_progress(c->clt, world_now(c->w));
	sim_mem_arm(false);
	tick(c);
}

/* --- life */

void
sim_client_start(struct world *w, unsigned index)
{
	struct sim_client *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->w = w;
	c->index = index;
	c->left = w->p.ios;
	c->patient = !w->p.fault_ns || world_chance(w, 70);
	c->timer.fire = timer_fire;
	c->actor = (struct actor){.w = w,
				  .ready = client_ready,
				  .deadline = client_deadline,
				  .progress = client_progress,
				  .alone = true};
	w->clients[index] = c;
	start_process(c);
}

void
sim_client_kill(struct sim_client *c)
{
	if (!c->clt)
		return;
	world_note(c->w, "client %u is killed", c->index);
	if (world_chance(c->w, 70))
		sim_node_kill(c->node);
	restart_later(c);
}

void
sim_client_hang_up(struct sim_client *c)
{
	if (!c->clt || c->state == APP_CLOSING)
		return;
	world_note(c->w, "client %u hangs up", c->index);
	c->state = APP_HANGING_UP;
	rnbd_clt_close(c->clt);
}

void
sim_client_sleep(struct sim_client *c, uint64_t until)
{
	world_note(c->w, "client %u sleeps", c->index);
	c->actor.asleep_until = until;
}

bool
sim_client_done(const struct sim_client *c)
{
	return c->state == APP_DONE;
}

void
sim_client_free(struct sim_client *c)
{
	if (!c)
		return;
	drop_session(c);
	client_forget_ended(c);
	world_timer_cancel(c->w, &c->timer);
	world_timer_cancel(c->w, &c->mend);
	free(c);
}
