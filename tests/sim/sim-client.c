/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/sim-client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "nbdkit-plugin/rnbd-clt.h"
#include "tests/sim/sim-backend.h"

#define CLT_HOST       10
/* A path that is lost keeps its requests until its connections are closed. */
#define PERMIT_WAIT_NS (120 * NSEC_PER_SEC)

enum app_state {
	APP_DOWN,    /* no process; the timer starts one */
	APP_OPENING, /* waits for its devices */
	APP_RUNNING,
	APP_CHECKING, /* reads everything once more */
	APP_CLOSING_DEVS,
	APP_CLOSING,
	APP_HANGING_UP, /* as APP_CLOSING, but there is more to do */
	APP_DONE,
};

struct app_dev {
	struct sim_client *c;
	struct sim_disk *disk;
	struct rnbd_clt_dev *handle;
	struct rnbd_clt_geometry geo;
	bool writable, opening, checked;
};

struct app_io {
	struct rnbd_clt_io io;
	struct sim_client *c;
	struct app_dev *dev;
	enum rnbd_clt_op op; /* io.op may change under way */
	enum model_kind kind;
	uint64_t tag, begin;
	bool checks, done;
	struct app_io *prev, *next; /* of ios, or (next) of ended */
};

struct sim_client {
	struct actor actor;
	struct world *w;
	unsigned index;
	struct sim_node *node;
	struct rnbd_clt *clt;
	enum app_state state;
	struct app_dev devs[MAX_DISKS];
	unsigned n_devs, n_closed;
	struct app_io *ios;
	struct app_io *ended; /* kept a while, for a second completion */
	unsigned n_ios, left;
	bool broken;  /* an open failed: the process gives up */
	bool patient; /* checks all data when the faults are over */
	struct world_timer timer;
	uint64_t next_check;
	uint64_t permits_by;
	bool due;
};

static void
set_timer(struct sim_client *c, uint64_t ns)
{
	world_timer_set(c->w, &c->timer, world_now(c->w) + ns);
}

/* --- I/O */

static bool
errors_are_expected(const struct sim_client *c)
{
	const struct sim_params *p = &c->w->p;

	return p->fault_ns || p->eio_ppm || c->w->step_fault;
}

static void
check_err(struct app_io *a, int err)
{
	struct sim_client *c = a->c;
	const struct sim_params *p = &c->w->p;

	if (!err)
		return;
	c->w->stats.ios_failed++;
	if (!errors_are_expected(c))
		world_fail(c->w, "client %u: I/O failed without a reason: %s",
			   c->index, strerror(-err));
	if (err == -ENOMEM && (p->faults.enomem_ppm || p->faults.enomem_at ||
			       sim_net_faults(c->w->net)->enomem_at))
		return;
	if (err != -EIO && err != -ESHUTDOWN)
		world_fail(c->w, "client %u: I/O failed with %s", c->index,
			   strerror(-err));
}

static void
io_done(struct rnbd_clt_io *io, int err)
{
	struct app_io *a = io->user;
	struct sim_client *c = a->c;
	struct world *w = c->w;
	struct model *m = sim_disk_model(a->dev->disk);
	uint64_t first = io->off / SECTOR, n = io->len / SECTOR;
	char why[300];

	if (a->done) {
		world_fail(w, "client %u: a second completion", c->index);
		return;
	}
	a->done = true;
	world_note(w, "client %u: op %d %llu+%llu tag %llu: %s", c->index,
		   a->op, (unsigned long long)first, (unsigned long long)n,
		   (unsigned long long)a->tag, err ? strerror(-err) : "done");
	check_err(a, err);
	switch (a->op) {
	case RNBD_CLT_READ:
		if (!model_read_end(m, a->begin, first, n, err ? NULL : io->buf,
				    why, sizeof(why)))
			world_fail(w, "client %u: read %llu+%llu: %s", c->index,
				   (unsigned long long)first,
				   (unsigned long long)n, why);
		if (a->checks && !err)
			a->dev->checked = true;
		break;
	case RNBD_CLT_FLUSH:
		model_flush_end(m, a->begin, !err);
		break;
	case RNBD_CLT_WRITE:
	case RNBD_CLT_DISCARD:
	case RNBD_CLT_WRITE_ZEROES:
		model_write_end(m, a->tag, first, n, !err,
				io->flags & RNBD_CLT_F_FUA);
		w->tags[a->tag] = err ? TAG_FAILED : TAG_OK;
		break;
	}
	w->digest = w->digest * 31 + (uint64_t)-err + a->tag;
	/* From here on the memory is ours again: nobody may look at it. */
	if (io->buf)
		memset(io->buf, 0xdb, io->len);
	free(io->buf);
	io->buf = NULL;
	DL_DELETE(c->ios, a);
	c->n_ios--;
	LL_PREPEND(c->ended, a);
	c->due = true;
}

static void
forget_ended(struct sim_client *c)
{
	struct app_io *a, *tmp;

	LL_FOREACH_SAFE(c->ended, a, tmp)
		free(a);
	c->ended = NULL;
}

static void
submit(struct sim_client *c, struct app_dev *dev, enum rnbd_clt_op op,
       unsigned flags, uint64_t off, uint64_t len, bool checks)
{
	struct model *m = sim_disk_model(dev->disk);
	struct app_io *a = calloc(1, sizeof(*a));
	uint64_t first = off / SECTOR, n = len / SECTOR;

	if (!a)
		abort();
	a->c = c;
	a->dev = dev;
	a->op = op;
	a->checks = checks;
	a->io = (struct rnbd_clt_io){
		.dev = dev->handle,
		.op = op,
		.flags = flags,
		.con_hint = (unsigned)world_below(c->w, 8),
		.off = off,
		.len = len,
		.done = io_done,
		.user = a,
	};
	if (op == RNBD_CLT_READ || op == RNBD_CLT_WRITE) {
		a->io.buf = malloc(len);
		if (!a->io.buf)
			abort();
	}
	switch (op) {
	case RNBD_CLT_READ:
		memset(a->io.buf, 0xee, len);
		a->begin = model_read_begin(m);
		break;
	case RNBD_CLT_FLUSH:
		a->begin = model_flush_begin(m);
		break;
	case RNBD_CLT_WRITE:
		a->kind = MODEL_DATA;
		break;
	case RNBD_CLT_DISCARD:
		a->kind = MODEL_ANY;
		break;
	case RNBD_CLT_WRITE_ZEROES:
		a->kind = MODEL_ZERO;
		break;
	}
	if (op != RNBD_CLT_READ && op != RNBD_CLT_FLUSH) {
		a->tag = world_tag_new(c->w);
		model_write_begin(m, a->tag, a->kind, first, n);
	}
	if (op == RNBD_CLT_WRITE)
		model_fill(a->io.buf, a->tag, first, n);
	world_note(c->w, "client %u: op %d %llu+%llu tag %llu flags %u",
		   c->index, op, (unsigned long long)first,
		   (unsigned long long)n, (unsigned long long)a->tag, flags);
	DL_APPEND(c->ios, a);
	c->n_ios++;
	c->w->stats.ios++;
	rnbd_clt_submit(&a->io);
	if (a->done)
		world_fail(c->w, "completion from within submit");
}

static uint64_t
random_len(struct sim_client *c)
{
	uint64_t what = world_below(c->w, 100);

	if (what < 70)
		return 512 << world_below(c->w, 5);
	if (what < 97)
		return world_below(c->w, 96 << 10);
	return world_below(c->w, 1 << 20);
}

static void
submit_random(struct sim_client *c)
{
	struct world *w = c->w;
	struct app_dev *dev = &c->devs[world_below(w, 4) ? 0 : c->n_devs - 1];
	uint64_t bs = w->p.block_size, size = w->p.disk_bytes, off, len;
	uint64_t what = world_below(w, 100);
	unsigned flags = 0;

	len = random_len(c);
	len = len < bs ? bs : len / bs * bs;
	if (len > size)
		len = size;
	/* Half of it meets in the same few blocks. */
	off = world_below(w, world_below(w, 2) ? 65536 : size) / bs * bs;
	if (off > size - len)
		off = size - len;
	if (world_chance(w, 10))
		flags |= RNBD_CLT_F_FUA;
	if (what < 5) {
		submit(c, dev, RNBD_CLT_FLUSH, 0, 0, 0, false);
	} else if (what < 45 || !dev->writable) {
		submit(c, dev, RNBD_CLT_READ, 0, off, len, false);
	} else if (what < 50 && dev->geo.max_discard_bytes) {
		submit(c, dev, RNBD_CLT_DISCARD, 0, off, len, false);
	} else if (what < 57 && dev->geo.max_write_zeroes_bytes) {
		if (world_chance(w, 50))
			flags |= RNBD_CLT_F_NOUNMAP;
		submit(c, dev, RNBD_CLT_WRITE_ZEROES, flags, off, len, false);
	} else {
		submit(c, dev, RNBD_CLT_WRITE, flags, off, len, false);
	}
}

/* --- the application */

static void
on_opened(void *user, struct rnbd_clt_dev *handle, int err, const char *text)
{
	struct app_dev *dev = user;
	struct sim_client *c = dev->c;
	const struct sim_params *p = &c->w->p;

	if (!dev->opening)
		world_fail(c->w, "client %u: opened twice", c->index);
	dev->opening = false;
	c->due = true;
	if (err) {
		world_note(c->w, "client %u: open: %s", c->index, text);
		if (err != -ESHUTDOWN && !errors_are_expected(c))
			world_fail(c->w, "client %u: open failed: %s", c->index,
				   text);
		c->broken = true;
		return;
	}
	c->w->stats.opens++;
	dev->handle = handle;
	rnbd_clt_dev_geometry(handle, &dev->geo);
	if (dev->geo.size_bytes != p->disk_bytes ||
	    dev->geo.logical_block_size != p->block_size ||
	    dev->geo.writeback != p->writeback)
		world_fail(c->w, "client %u: wrong geometry", c->index);
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
					.writable = !i,
					.opening = true};
		snprintf(name, sizeof(name), "disk%u", disk);
		if (rnbd_clt_dev_open(c->clt, name,
				      i ? RNBD_ACCESS_RO : RNBD_ACCESS_RW,
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
	struct rtrs_path_addr paths[2] = {{.fabric = wp->fabric},
					  {.fabric = wp->fabric}};
	struct sim_node *srv, *second;
	char name[16];
	struct rnbd_clt_params p = {
		.rtrs =
			{
				.name = name,
				.paths = paths,
				.n_paths = wp->n_paths,
				.policy = RTRS_MP_MIN_INFLIGHT,
				.n_cons = wp->n_cons,
				.need_inval = wp->need_inval,
				.max_queue_depth = wp->max_queue_depth,
				.hb_interval_ms = wp->hb_interval_ms,
				.connect_timeout_ms = wp->connect_timeout_ms,
				.reconnect_delay_ms = wp->reconnect_delay_ms,
				.reconnect_backoff_ms = 50,
				.reconnect_jitter_ms = RTRS_RECONNECT_JITTER_MS,
				.max_reconnect_attempts = -1,
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
	if (sim_node_new(w->net, name, CLT_HOST + c->index, &c->node) ||
	    sim_node_new(w->net, "addr", 1, &srv) ||
	    sim_node_new(w->net, "addr", 2 * CLT_HOST + c->index, &second))
		abort();
	paths[1].src_len = sim_node_addr(second, 0, &paths[1].src);
	for (i = 0; i < 2; i++)
		paths[i].dst_len = sim_node_addr(srv, SRV_PORT, &paths[i].dst);
	p.rtrs.fabric_priv = c->node;
	world_note(w, "client %u starts", c->index);
	c->broken = false;
	if (rnbd_clt_new(&p, &c->clt)) {
		/* A connect had no memory. */
		if (!errors_are_expected(c))
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

static void
tick_running(struct sim_client *c)
{
	struct world *w = c->w;
	unsigned i;

	while (c->left && c->n_ios < w->p.depth) {
		c->left--;
		submit_random(c);
		if (w->p.think_ns && world_chance(w, 30)) {
			set_timer(c, world_below(w, w->p.think_ns));
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
		if (rnbd_clt_dev_failed(dev->handle)) {
			if (!c->w->p.resizes)
				world_fail(c->w, "client %u: device failed: %s",
					   c->index,
					   rnbd_clt_dev_failed(dev->handle));
			restart_later(c);
			return;
		}
		/* While the session comes back it may fail. */
		submit(c, dev, RNBD_CLT_READ, 0, 0, c->w->p.disk_bytes, true);
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

	return c->due || rnbd_clt_arm(c->clt) ||
	       rnbd_clt_deadline(c->clt) <= world_now(c->w);
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
	forget_ended(c);
	rnbd_clt_progress(c->clt, world_now(c->w));
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
				  .progress = client_progress};
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
	forget_ended(c);
	world_timer_cancel(c->w, &c->timer);
	free(c);
}
