/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/hostile/disk.h"

#include <stdlib.h>
#include <string.h>

/* Each word of a stamped sector: this, and something of the sector below. */
#define STAMP      UINT64_C(0x5ec4e75ec4e70000)
#define STAMP_MASK UINT64_C(0xffffffffffff0000)

struct disk_op {
	struct stage_timer timer;
	struct disk *disk;
	struct backend_io *io;
};

struct disk_backend {
	struct backend base;
	struct disk *disk;
};

void
disk_init(struct disk *d, struct stage *s, unsigned index, uint64_t bytes,
	  uint32_t block_size, bool stamped)
{
	*d = (struct disk){.stage = s,
			   .index = index,
			   .bytes = bytes,
			   .block_size = block_size,
			   .stamped = stamped};
	d->mem = calloc(1, bytes);
	if (!d->mem)
		abort();
	if (stamped)
		stamp_fill(d->mem, 0, bytes / DISK_SECTOR, 0);
}

void
disk_deinit(struct disk *d)
{
	if (d->inflight)
		stage_fail(d->stage, "disk %u: %u operations never ended",
			   d->index, d->inflight);
	free(d->mem);
}

/* --- stamps */

static uint64_t
stamp_word(uint64_t sector, uint64_t version)
{
	return STAMP | ((sector << 8 | (version & 0xff)) & 0xffff);
}

void
stamp_fill(uint8_t *buf, uint64_t first, uint64_t n, uint64_t version)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t word = stamp_word(first + i, version);

		for (unsigned k = 0; k < DISK_SECTOR; k += sizeof(word))
			memcpy(buf + i * DISK_SECTOR + k, &word, sizeof(word));
	}
}

bool
stamp_ok(const uint8_t *buf, uint64_t first, uint64_t n, uint64_t *ret_version)
{
	uint64_t word, version;

	memcpy(&word, buf, sizeof(word));
	version = word & 0xff;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t want = stamp_word(first + i, version);

		for (unsigned k = 0; k < DISK_SECTOR; k += sizeof(word)) {
			memcpy(&word, buf + i * DISK_SECTOR + k, sizeof(word));
			if (word != want)
				return false;
		}
	}
	*ret_version = version;
	return true;
}

bool
stamp_leaked(const uint8_t *buf, size_t len)
{
	uint64_t word;

	for (size_t i = 0; i + sizeof(word) <= len; i += sizeof(word)) {
		memcpy(&word, buf + i, sizeof(word));
		if ((word & STAMP_MASK) == STAMP)
			return true;
	}
	return false;
}

/* --- operations */

static void
take_effect(struct disk *d, const struct backend_io *io)
{
	uint64_t first = io->off / DISK_SECTOR, n = io->len / DISK_SECTOR;
	uint64_t version;

	if (d->watch)
		d->watch(d->watch_user, io);
	switch (io->op) {
	case BACKEND_READ:
		memcpy(io->buf, d->mem + io->off, io->len);
		break;
	case BACKEND_WRITE:
		if (d->stamped && !stamp_ok(io->buf, first, n, &version))
			stage_fail(d->stage,
				   "disk %u: what the honest one writes to "
				   "sector %llu is not what arrives",
				   d->index, (unsigned long long)first);
		memcpy(d->mem + io->off, io->buf, io->len);
		break;
	case BACKEND_DISCARD:
	case BACKEND_WRITE_ZEROES:
		if (d->stamped)
			stage_fail(d->stage, "disk %u: zeroed by nobody",
				   d->index);
		memset(d->mem + io->off, 0, io->len);
		break;
	case BACKEND_FLUSH:
		break;
	}
}

static void
op_end(struct disk_op *op)
{
	struct backend_io *io = op->io;

	take_effect(op->disk, io);
	op->disk->inflight--;
	free(op);
	io->done(io, 0);
}

static void
op_fire(struct stage_timer *t)
{
	op_end(container_of(t, struct disk_op, timer));
}

static void
disk_submit(struct backend *base, struct backend_io *io)
{
	struct disk *d = container_of(base, struct disk_backend, base)->disk;
	struct sim_net *net = d->stage->net;
	struct disk_op *op = calloc(1, sizeof(*op));

	if (!op)
		abort();
	if (io->op != BACKEND_FLUSH &&
	    (io->off > d->bytes || io->len > d->bytes - io->off || !io->len ||
	     (io->off | io->len) % d->block_size))
		stage_fail(d->stage, "disk %u: bad range %llu+%llu", d->index,
			   (unsigned long long)io->off,
			   (unsigned long long)io->len);
	if (base->geo.read_only && io->op != BACKEND_READ &&
	    io->op != BACKEND_FLUSH)
		stage_fail(d->stage, "disk %u: read-only, but op %d", d->index,
			   io->op);
	if (d->stage->failed) {
		/* The range is not one that may be touched. */
		free(op);
		io->done(io, 0);
		return;
	}
	*op = (struct disk_op){.timer.fire = op_fire, .disk = d, .io = io};
	d->inflight++;
	if (sim_net_below(net, 4))
		op_end(op);
	else
		stage_timer_set(d->stage, &op->timer,
				stage_now(d->stage) +
					sim_net_below(net, NSEC_PER_MSEC));
}

/* --- ops */

static int
disk_open(const struct backend_open_params *p, struct backend **ret)
{
	struct disk *d = p->store;
	struct disk_backend *b = calloc(1, sizeof(*b));

	if (!b)
		abort();
	b->disk = d;
	b->base.ops = &backend_disk;
	b->base.id = (struct backend_identity){.kind = BACKEND_KIND_OTHER,
					       .a = d->index};
	b->base.geo = (struct backend_geometry){
		.size_bytes = d->bytes,
		.logical_block_size = d->block_size,
		.physical_block_size = 4096,
		.max_discard_bytes = 65536,
		.discard_granularity = d->block_size,
		.max_write_zeroes_bytes = 65536,
		.read_only = p->read_only,
		.writeback = true,
		.fua = true,
	};
	*ret = &b->base;
	return 0;
}

static void
disk_close(struct backend *base)
{
	if (base)
		free(container_of(base, struct disk_backend, base));
}

const struct backend_ops backend_disk = {
	.name = "disk",
	.open = disk_open,
	.close = disk_close,
	.submit = disk_submit,
};
