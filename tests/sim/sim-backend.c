/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/sim-backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "tests/sim/sim-mem.h"

/* An operation under way. */
struct disk_op {
	struct world_timer timer;
	struct sim_disk_view *view;
	struct backend_io *io;
	int err;
	bool effective; /* has read or changed the disk */
	struct disk_op *prev, *next;
};

#define STUCK_NS    (10 * NSEC_PER_SEC)
#define MAX_SECTORS (SIM_DISK_MAX / SECTOR)

/* All zero between two runs: only what was used is cleared. */
static struct disk_mem {
	uint8_t cache[SIM_DISK_MAX];
	uint8_t stable[SIM_DISK_MAX];     /* what power cannot take */
	uint64_t dirty[MAX_SECTORS / 64]; /* cache is newer */
	uint64_t used[MAX_SECTORS / 64];
} mems[MAX_DISKS];

struct sim_disk {
	struct world *w;
	unsigned index;
	struct model *model;
	struct disk_mem *mem;
	uint64_t bytes;
	unsigned eio_ppm, enospc_ppm, stuck_ppm;
	struct disk_op *ops;
	unsigned n_ops;
};

struct sim_backend {
	struct backend base;
	struct sim_disk_view *view;
};

struct sim_disk *
sim_disk_new(struct world *w, unsigned index)
{
	struct sim_disk *d = calloc(1, sizeof(*d));

	if (!d)
		abort();
	d->w = w;
	d->index = index;
	d->bytes = w->p.disk_bytes;
	d->eio_ppm = w->p.eio_ppm;
	d->enospc_ppm = w->p.enospc_ppm;
	d->stuck_ppm = w->p.stuck_ppm;
	d->mem = &mems[index];
	d->model = model_new(d->bytes / SECTOR, w->p.writeback);
	return d;
}

static bool
bit_is_set(const uint64_t *map, uint64_t i)
{
	return map[i / 64] >> (i % 64) & 1;
}

void
sim_disk_free(struct sim_disk *d)
{
	uint64_t i;

	if (!d)
		return;
	model_free(d->model);
	for (i = 0; i < MAX_SECTORS; i++) {
		if (!bit_is_set(d->mem->used, i))
			continue;
		memset(d->mem->cache + i * SECTOR, 0, SECTOR);
		memset(d->mem->stable + i * SECTOR, 0, SECTOR);
	}
	memset(d->mem->used, 0, sizeof(d->mem->used));
	memset(d->mem->dirty, 0, sizeof(d->mem->dirty));
	free(d);
}

struct model *
sim_disk_model(struct sim_disk *d)
{
	return d->model;
}

uint64_t
sim_disk_sectors(const struct sim_disk *d)
{
	return d->bytes / SECTOR;
}

void
sim_disk_heal(struct sim_disk *d)
{
	d->eio_ppm = d->enospc_ppm = d->stuck_ppm = 0;
}

void
sim_disk_reshape(struct sim_disk *d)
{
	const struct sim_params *p = &d->w->p;

	d->bytes = world_chance(d->w, 50) ? p->disk_bytes : p->disk_bytes / 2;
	world_note(d->w, "disk %u has %llu bytes", d->index,
		   (unsigned long long)d->bytes);
}

unsigned
sim_disk_inflight(const struct sim_disk *d)
{
	return d->n_ops;
}

static void
mark(uint64_t *map, uint64_t first, uint64_t n)
{
	for (; n--; first++)
		map[first / 64] |= UINT64_C(1) << (first % 64);
}

/* The cache of these sectors reaches the disk. */
static void
destage(struct sim_disk *d, uint64_t first, uint64_t n)
{
	struct disk_mem *m = d->mem;

	for (; n--; first++) {
		if (!bit_is_set(m->dirty, first))
			continue;
		memcpy(m->stable + first * SECTOR, m->cache + first * SECTOR,
		       SECTOR);
		m->dirty[first / 64] &= ~(UINT64_C(1) << (first % 64));
	}
}

/* A range is about to be written: a cache may make room for it, unasked. */
static void
dirty(struct sim_disk *d, uint64_t first, uint64_t n)
{
	if (world_chance(d->w, 20))
		destage(d, first, n);
	mark(d->mem->used, first, n);
	mark(d->mem->dirty, first, n);
}

void
sim_disk_power_cut(struct sim_disk *d)
{
	struct disk_mem *m = d->mem;
	uint64_t i;

	if (!d->w->p.writeback)
		return;
	world_note(d->w, "disk %u loses power", d->index);
	for (i = 0; i < MAX_SECTORS; i++)
		if (bit_is_set(m->dirty, i) && world_chance(d->w, 50))
			memcpy(m->cache + i * SECTOR, m->stable + i * SECTOR,
			       SECTOR);
	destage(d, 0, MAX_SECTORS);
	model_power_cut(d->model);
}

/* --- operations */

/* A write that was acknowledged must not be executed once more. */
static void
check_replay(struct sim_disk *d, const uint8_t *buf, uint64_t first, uint64_t n)
{
	uint64_t tag, i;

	for (i = 0; i < n; i++) {
		if (model_is_zero(buf + i * SECTOR))
			continue; /* zeroing by writes */
		if (!model_tag(buf + i * SECTOR, first + i, &tag) ||
		    tag >= d->w->n_tags) {
			world_fail(d->w,
				   "disk %u sector %llu: a write of garbage",
				   d->index, (unsigned long long)(first + i));
			return;
		}
		if (d->w->tags[tag] == TAG_OK) {
			world_fail(d->w,
				   "disk %u sector %llu: write %llu executed "
				   "after it was acknowledged",
				   d->index, (unsigned long long)(first + i),
				   (unsigned long long)tag);
			return;
		}
	}
}

static void
take_effect(struct disk_op *op)
{
	struct backend_io *io = op->io;
	struct sim_disk *d = op->view->disk;
	uint8_t *cache = d->mem->cache + io->off;
	uint64_t first = io->off / SECTOR, n = io->len / SECTOR;

	if (op->effective)
		return;
	op->effective = true;
	if (*op->view->killed)
		return;
	switch (io->op) {
	case BACKEND_READ:
		memcpy(io->buf, cache, io->len);
		break;
	case BACKEND_WRITE:
		check_replay(d, io->buf, first, n);
		dirty(d, first, n);
		memcpy(cache, io->buf, io->len);
		break;
	case BACKEND_DISCARD:
	case BACKEND_WRITE_ZEROES:
		/* A discard leaves zeroes, or what was there. */
		if (io->op == BACKEND_DISCARD && world_chance(d->w, 50))
			break;
		dirty(d, first, n);
		memset(cache, 0, io->len);
		break;
	case BACKEND_FLUSH:
		destage(d, 0, MAX_SECTORS);
		break;
	}
	if (io->flags & BACKEND_F_FUA)
		destage(d, first, n);
}

static void
op_end(struct disk_op *op)
{
	struct sim_disk *d = op->view->disk;
	struct backend_io *io = op->io;
	int err = op->err;

	/* Whether it happened although it failed is anybody's guess. */
	if (!err || (io->op != BACKEND_READ && world_chance(d->w, 50)))
		take_effect(op);
	DL_DELETE(d->ops, op);
	d->n_ops--;
	*op->view->reaped = true;
	free(op);
	io->done(io, err);
}

static void
op_fire(struct world_timer *t)
{
	op_end(container_of(t, struct disk_op, timer));
}

static void
submit(struct backend *base, struct backend_io *io)
{
	struct sim_backend *b = container_of(base, struct sim_backend, base);
	struct sim_disk *d = b->view->disk;
	struct world *w = d->w;
	struct disk_op *op = calloc(1, sizeof(*op));

	if (!op)
		abort();
	if (io->op != BACKEND_FLUSH &&
	    (io->off > base->geo.size_bytes ||
	     io->len > base->geo.size_bytes - io->off || !io->len ||
	     (io->off | io->len) % base->geo.logical_block_size))
		world_fail(w, "disk %u: bad range %llu+%llu", d->index,
			   (unsigned long long)io->off,
			   (unsigned long long)io->len);
	if (base->geo.read_only && io->op != BACKEND_READ &&
	    io->op != BACKEND_FLUSH)
		world_fail(w, "disk %u: read-only, but op %d", d->index,
			   io->op);
	op->timer.fire = op_fire;
	op->view = b->view;
	op->io = io;
	op->err = sim_net_chance(w->net, d->eio_ppm) ? -EIO : 0;
	if (io->op == BACKEND_WRITE && sim_net_chance(w->net, d->enospc_ppm))
		op->err = -ENOSPC;
	DL_APPEND(d->ops, op);
	d->n_ops++;
	if (!op->err && world_chance(w, 50))
		take_effect(op);
	if (sim_net_chance(w->net, d->stuck_ppm)) {
		world_note(w, "disk %u is stuck", d->index);
		world_timer_set(w, &op->timer, world_now(w) + STUCK_NS);
		return;
	}
	if (!w->p.disk_delay_ns || world_chance(w, 10)) {
		op_end(op);
		return;
	}
	world_timer_set(
		w, &op->timer,
		world_now(w) + world_below(w, world_chance(w, 2)
						      ? 100 * w->p.disk_delay_ns
						      : w->p.disk_delay_ns));
}

static void
sim_submit(struct backend *base, struct backend_io *io)
{
	sim_mem_hold();
	submit(base, io);
	sim_mem_release();
}

void
sim_disk_view_kill(struct sim_disk_view *v)
{
	struct disk_op *op;

	DL_FOREACH(v->disk->ops, op)
		if (op->view == v && op->io->op != BACKEND_READ &&
		    world_chance(v->disk->w, 50))
			take_effect(op);
}

/* --- ops */

static int
sim_open(const struct backend_open_params *p, struct backend **ret)
{
	struct sim_disk_view *view = p->store;
	struct world *w = view->disk->w;
	struct sim_backend *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->view = view;
	b->base.ops = &backend_sim;
	b->base.id = (struct backend_identity){.kind = BACKEND_KIND_OTHER,
					       .a = view->disk->index};
	b->base.geo = (struct backend_geometry){
		.size_bytes = view->disk->bytes,
		.logical_block_size = w->block_size,
		.physical_block_size = 4096,
		.max_discard_bytes = w->p.discard ? 65536 : 0,
		.discard_granularity = w->block_size,
		.max_write_zeroes_bytes = w->p.write_zeroes ? 262144 : 0,
		.read_only = p->read_only,
		.writeback = w->p.writeback,
		.fua = w->p.fua,
	};
	*ret = &b->base;
	return 0;
}

static void
sim_close(struct backend *base)
{
	if (base)
		free(container_of(base, struct sim_backend, base));
}

const struct backend_ops backend_sim = {
	.name = "sim",
	.open = sim_open,
	.close = sim_close,
	.submit = sim_submit,
	.grows = true,
};
