/* SPDX-License-Identifier: BSD-3-Clause */
/* The I/O of an application, and what it says of its outcome. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "tests/sim/sim-backend.h"
#include "tests/sim/sim-client-priv.h"
#include "tests/sim/sim-mem.h"

bool
client_may_fail(const struct sim_client *c)
{
	const struct sim_params *p = &c->w->p;

	return p->fault_ns || p->eio_ppm || c->w->step_fault;
}

bool
client_competes(const struct sim_client *c)
{
	const struct sim_params *p = &c->w->p;

	return p->n_clients > MAX_DISKS && !p->migration;
}

static void
check_err(struct app_io *a, int err)
{
	struct sim_client *c = a->c;
	const struct sim_params *p = &c->w->p;

	if (!err)
		return;
	c->w->stats.ios_failed++;
	if (!client_may_fail(c))
		world_fail(c->w, "client %u: I/O failed without a reason: %s",
			   c->index, strerror(-err));
	if (err == -ENOMEM && (p->faults.enomem_ppm || p->mem_ppm ||
			       sim_net_faults(c->w->net)->enomem_at))
		return;
	if (err == -ENOSPC && p->enospc_ppm)
		return;
	if (err != -EIO && err != -ESHUTDOWN)
		world_fail(c->w, "client %u: I/O failed with %s", c->index,
			   strerror(-err));
}

static void
ended(struct rnbd_clt_io *io, int err)
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
	/* From here on the memory is ours again: nobody may send it. */
	if (a->op == RNBD_CLT_WRITE)
		memset(io->buf, 0xdb, io->len);
	free(io->buf);
	io->buf = NULL;
	DL_DELETE(c->ios, a);
	c->n_ios--;
	LL_PREPEND(c->ended, a);
	c->due = true;
}

static void
io_done(struct rnbd_clt_io *io, int err)
{
	sim_mem_hold();
	ended(io, err);
	sim_mem_release();
}

void
client_forget_ended(struct sim_client *c)
{
	struct app_io *a, *tmp;

	LL_FOREACH_SAFE(c->ended, a, tmp)
		free(a);
	c->ended = NULL;
}

/*
 * What a read does not fill must not look filled. The ends of each sector are
 * enough, and much faster than all of it.
 */
static void
spoil(uint8_t *buf, uint64_t n)
{
	for (; n; n--, buf += SECTOR) {
		memset(buf, 0xee, 16);
		memset(buf + SECTOR - 16, 0xee, 16);
	}
}

void
client_submit(struct sim_client *c, struct app_dev *dev, enum rnbd_clt_op op,
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
		spoil(a->io.buf, n);
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

/*
 * While it works, a path of it is lost: for a moment nothing that it sends
 * arrives, then it sees a reset, and later that arrives.
 */
static void
lose_path(struct sim_client *c)
{
	struct world *w = c->w;
	struct sim_node *clt, *srv;
	unsigned path;

	if (!w->orphans_left || world_now(w) >= w->faults_end ||
	    !world_chance(w, 10))
		return;
	w->orphans_left--;
	path = (unsigned)world_below(w, w->p.n_paths);
	/* Addresses are all that is looked at. */
	if (sim_node_new(w->net, "srv", SRV_HOST, &srv) ||
	    sim_node_new(w->net, "clt", sim_client_host(c->index, path), &clt))
		abort();
	sim_net_orphan(w->net, clt, srv, world_below(w, 20 * NSEC_PER_MSEC));
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
	uint64_t bs = dev->geo.logical_block_size, size = dev->geo.size_bytes;
	uint64_t off, len;
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
		client_submit(c, dev, RNBD_CLT_FLUSH, 0, 0, 0, false);
	} else if (what < 45 || !dev->writable) {
		client_submit(c, dev, RNBD_CLT_READ, 0, off, len, false);
	} else if (what < 50 && dev->geo.max_discard_bytes) {
		client_submit(c, dev, RNBD_CLT_DISCARD, 0, off, len, false);
	} else if (what < 57 && dev->geo.max_write_zeroes_bytes) {
		if (world_chance(w, 50))
			flags |= RNBD_CLT_F_NOUNMAP;
		client_submit(c, dev, RNBD_CLT_WRITE_ZEROES, flags, off, len,
			      false);
	} else {
		client_submit(c, dev, RNBD_CLT_WRITE, flags, off, len, false);
	}
}

void
client_submit_random(struct sim_client *c)
{
	submit_random(c);
	lose_path(c);
}
