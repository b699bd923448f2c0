/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One IO through its states: checked, then up to three backend operations in
 * order (flush before, the operation, flush after), then answered.
 */
#include "gateway/session.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "proto/wire.h"
#include "rtrs/base/mutant.h"

/* ---------------------------------------------------------------- rules */

/*
 * RTRS direction and sizes. data_len is what moves through the chunk, bi_size
 * is what the operation is about; where there is data they are the same.
 */
static int
check_shape(const struct rtrs_srv_op *op, enum rnbd_op rop, uint32_t bi_size)
{
	if (op->data_len && op->data_len != bi_size)
		return -EINVAL;
	switch (rop) {
	case RNBD_OP_READ:
		return op->dir == RTRS_READ && op->data_len ? 0 : -EINVAL;
	case RNBD_OP_WRITE:
		/* Without data but with a size, success would be a lie. */
		return op->dir == RTRS_WRITE && op->data_len == bi_size
			       ? 0
			       : -EINVAL;
	case RNBD_OP_FLUSH:
		/* The kernel sends it as a READ; either way will do. */
		return op->data_len ? -EINVAL : 0;
	case RNBD_OP_DISCARD:
	case RNBD_OP_WRITE_ZEROES:
		return op->dir == RTRS_WRITE && bi_size ? 0 : -EINVAL;
	default:
		return 0;
	}
}

/* Limits are those of OPEN_RSP, which cannot say more than 32 bits. */
static int
check_limit(uint64_t max_bytes, uint32_t bi_size)
{
	if (max_bytes < RNBD_SECTOR_SIZE)
		return -EOPNOTSUPP;
	return bi_size <= max_bytes ? 0 : -EINVAL;
}

static int
check_offered(const struct backend_geometry *g, enum rnbd_op rop,
	      uint32_t bi_size)
{
	switch (rop) {
	case RNBD_OP_DISCARD:
		return check_limit(g->max_discard_bytes, bi_size);
	case RNBD_OP_WRITE_ZEROES:
		return check_limit(g->max_write_zeroes_bytes, bi_size);
	default:
		return 0;
	}
}

static int
check_range(const struct backend_geometry *g, uint64_t sector, uint32_t bi_size)
{
	uint32_t block_sectors = g->logical_block_size >> RNBD_SECTOR_SHIFT;

	if (bi_size % g->logical_block_size || sector % block_sectors)
		return -EINVAL;
	if (!wire_range_ok(sector, bi_size >> RNBD_SECTOR_SHIFT,
			   (g->size_bytes >> RNBD_SECTOR_SHIFT) -
				   RNBD_MUTANT(LAST_SECTOR)))
		return -EIO;
	return 0;
}

/* The rules for all but FLUSH, in the order in which they are answered. */
static int
check_io(const struct gw_device *dev, enum rnbd_op rop,
	 const struct rnbd_msg_io *m)
{
	const struct backend_geometry *g = &dev->backend->geo;
	int r = check_offered(g, rop, m->bi_size);

	if (r < 0)
		return r;
	if (rop != RNBD_OP_READ &&
	    (dev->access_mode == RNBD_ACCESS_RO || g->read_only))
		return -EROFS;
	return check_range(g, m->sector, m->bi_size);
}

/* ---------------------------------------------------------------- steps */

void
gw_device_io_ended(struct gw_device *dev)
{
	struct gw_server *s = dev->sess->srv;

	if (--dev->inflight || dev->state != GW_DEV_DRAINING)
		return;
	dev->drained_next = s->drained;
	s->drained = dev;
}

/* Its latency is known when the round is over. */
static void
stamp_later(struct gw_server *s, const struct gw_req *req)
{
	struct gw_stats *st = &s->measured;

	if (!s->p.now)
		return;
	st->stamps[st->n_stamps++] = (struct gw_stamp){
		.hist = &req->dev->record->op[req->main_op],
		.started = req->started,
	};
	if (st->n_stamps == GW_MAX_STAMPS)
		gw_stats_stamp(s);
}

/*
 * The tag of a vital answer. By the device's id, so that it needs nothing that
 * lives as long: no id is used again in a session, and of a device that the
 * client has closed since it knows all that it wants to.
 */
#define TAG_FLUSH     BIT(31)
#define TAG_DEV_SHIFT 32

static void
mark_vital(const struct gw_req *req)
{
	struct rtrs_srv_op *op = req->op;

	/* It stays owed. */
	if (rtrs_srv_op_lost(op))
		return;
	op->vital = true;
	op->tag = (uint64_t)req->dev->id << TAG_DEV_SHIFT | req->failure;
	if (req->main_op == BACKEND_FLUSH)
		op->tag |= TAG_FLUSH;
}

void
gw_io_answer_fate(struct gw_sess *sess, const struct rtrs_srv_op *op, bool told)
{
	uint32_t low = (uint32_t)op->tag, id = op->tag >> TAG_DEV_SHIFT;
	const struct gw_device *dev;

	/* One that is about to be closed, too. */
	DL_FOREACH(sess->devs, dev)
		if (dev->id == id && (dev->state == GW_DEV_OPEN ||
				      dev->state == GW_DEV_DRAINING))
			break;
	if (!dev)
		return;
	if (told)
		gw_durable_told(dev->durable, low & ~TAG_FLUSH,
				low & TAG_FLUSH);
	else
		gw_durable_untold(dev->durable);
}

void
gw_io_end(struct gw_req *req, int err)
{
	struct gw_device *dev = req->dev;
	struct gw_server *s = dev->sess->srv;
	struct gw_op_stats *st = &s->stats.op[req->main_op];
	struct gw_op_stats *dst = &dev->stats[req->main_op];
	uint64_t bytes = err ? 0 : req->len;

	st->ops++;
	dst->ops++;
	st->bytes += bytes;
	dst->bytes += bytes;
	st->errors += err < 0;
	dst->errors += err < 0;
	s->stats.inflight--;
	stamp_later(s, req);
	if (unlikely(req->failure))
		mark_vital(req);
	gw_req_done(req, err);
	gw_device_io_ended(dev);
}

static void step_done(struct backend_io *io, int err);

/* Runs the lowest step that is left. At most three deep, as done() may come
 * from within submit(). */
static void
io_step(struct gw_req *req)
{
	struct gw_device *dev = req->dev;
	struct backend *b = dev->backend;
	struct backend_io *io = &req->io;
	unsigned step = req->steps & -req->steps;

	req->steps &= ~step;
	if (step == GW_STEP_MAIN) {
		io->op = req->main_op;
		io->flags = req->main_flags;
		io->off = req->off;
		io->len = req->len;
		io->buf = req->op->data;
	} else {
		io->op = BACKEND_FLUSH;
		io->flags = 0;
		io->off = 0;
		io->len = 0;
		io->buf = NULL;
	}
	io->done = step_done;
	if (b->ops->kick && !dev->kick_queued) {
		dev->kick_queued = true;
		DL_APPEND2(dev->sess->srv->kick, dev, kick_prev, kick_next);
	}
	if ((RNBD_MUTANT(WRITE_UNDONE) && io->op == BACKEND_WRITE) ||
	    (RNBD_MUTANT(FLUSH_UNDONE) && io->op == BACKEND_FLUSH))
		step_done(io, 0);
	else
		b->ops->submit(b, io);
}

/* The export's name; of a file below the search path, what the client says. */
static const char *
disk_name(const struct gw_device *dev)
{
	const char *name = gw_export_name(dev->opened.export);

	return *name ? name : dev->name;
}

/* A step that makes something durable has ended with err: what it is worth. */
static int
judge_durable(struct gw_req *req, int err)
{
	const struct gw_device *dev = req->dev;
	const struct log *log = dev->sess->srv->log;
	bool is_new, owed = !err;

	/* The storage was not asked: nothing is lost by that. */
	if (err == -ECANCELED)
		return -EIO;
	/* Written through, nothing that was acknowledged is in the cache. */
	err = gw_durable_result(dev->durable, err,
				dev->backend->geo.page_cache &&
					!dev->writethrough,
				&req->failure, &is_new);
	if (is_new)
		log_err(log,
			"export '%s': the system could not write back what was "
			"acknowledged (%s): data are lost, and every flush "
			"fails until no client has it open; check the storage, "
			"then have the clients close and open it again",
			gw_name_text(disk_name(dev)).s, strerror(-err));
	else if (err && owed && !gw_durable_has_failed(dev->durable))
		log_warn(log,
			 "session '%s': a flush of '%s' fails as an earlier "
			 "one did (%s), whose answer may not have arrived",
			 dev->sess->name, dev->name, strerror(-err));
	return err;
}

/*
 * What the main operation wrote may have been lost before the flush that was to
 * make it durable: then that one says nothing about it, and both come again.
 */
static int
look_for_losses(struct gw_req *req)
{
	unsigned losses = req->dev->backend->losses;

	if (req->steps == GW_STEP_POSTFLUSH)
		req->losses = losses;
	if (req->steps || !req->postflush || req->losses == losses)
		return 0;
	/* A request that makes each new server die ends, too. */
	if (!req->repeats--)
		return judge_durable(req, -EIO);
	req->steps = GW_STEP_MAIN | GW_STEP_POSTFLUSH;
	return 0;
}

static void
step_done(struct backend_io *io, int err)
{
	struct gw_req *req = container_of(io, struct gw_req, io);
	struct gw_sess *sess = req->sess;

	if (io->op == BACKEND_FLUSH || io->flags & BACKEND_F_FUA)
		err = judge_durable(req, err);
	else if (unlikely(err == -ECANCELED))
		err = -EIO;
	if (!err)
		err = look_for_losses(req);
	if (!err && req->steps) {
		io_step(req);
		return;
	}
	gw_sess_enter(sess);
	gw_io_end(req, err);
	gw_sess_leave(sess);
}

void
gw_io_begin(struct gw_req *req)
{
	io_step(req);
}

/* -1: none of ours */
static int
backend_op_of(enum rnbd_op rop)
{
	switch (rop) {
	case RNBD_OP_READ:
		return BACKEND_READ;
	case RNBD_OP_WRITE:
		return BACKEND_WRITE;
	case RNBD_OP_FLUSH:
		return BACKEND_FLUSH;
	case RNBD_OP_DISCARD:
		return BACKEND_DISCARD;
	case RNBD_OP_WRITE_ZEROES:
		return BACKEND_WRITE_ZEROES;
	default:
		return -1;
	}
}

/* Of a write that is lost each time before it is flushed. */
#define MAX_REPEATS 3

/*
 * Which flushes surround the operation. Without a volatile cache there is
 * nothing to flush: what has completed is durable.
 */
static void
plan(struct gw_req *req, uint32_t rw)
{
	const struct backend_geometry *g = &req->dev->backend->geo;
	/* Written through, each write is durable, asked for or not. */
	bool fua = rw & RNBD_F_FUA || req->dev->writethrough;

	if (RNBD_MUTANT(FUA_LOST))
		fua = req->dev->writethrough;
	req->steps = GW_STEP_MAIN;
	req->postflush = false;
	req->main_flags = 0;
	if (req->main_op == BACKEND_READ || req->main_op == BACKEND_FLUSH)
		return;
	if (req->main_op == BACKEND_WRITE_ZEROES && (rw & RNBD_F_NOUNMAP))
		req->main_flags |= BACKEND_F_NOUNMAP;
	if (g->writeback && (rw & RNBD_F_PREFLUSH))
		req->steps |= GW_STEP_PREFLUSH;
	if (fua && g->fua && req->main_op == BACKEND_WRITE)
		req->main_flags |= BACKEND_F_FUA;
	else if (fua && g->writeback)
		req->steps |= GW_STEP_POSTFLUSH;
	req->postflush = req->steps & GW_STEP_POSTFLUSH;
	req->repeats = MAX_REPEATS;
}

void
gw_io_start(struct gw_req *req, const struct rnbd_msg_io *m)
{
	struct gw_device *dev = gw_sess_find_dev(req->sess, m->device_id);
	enum rnbd_op rop = m->rw & RNBD_RW_OP_MASK;
	int bop, r;

	if (rop == RNBD_OP_WRITE && !m->bi_size && req->op->dir == RTRS_WRITE)
		rop = RNBD_OP_FLUSH; /* how older clients ask for one */
	bop = backend_op_of(rop);
	if (!dev || bop < 0) {
		gw_req_done(req, dev ? -EOPNOTSUPP : -ENOTCONN);
		return;
	}
	req->dev = dev;
	req->started = rtrs_srv_now(req->sess->srv->rtrs);
	req->main_op = bop;
	req->off = 0;
	req->len = 0;
	req->failure = 0;
	dev->inflight++;
	req->sess->srv->stats.inflight++;

	r = check_shape(req->op, rop, m->bi_size);
	/* A FLUSH has no range: the kernel's has a sector of all ones. */
	if (!r && rop != RNBD_OP_FLUSH) {
		r = check_io(dev, rop, m);
		req->off = m->sector << RNBD_SECTOR_SHIFT;
		req->len = m->bi_size;
	}
	if (r < 0) {
		gw_io_end(req, r);
		return;
	}
	plan(req, m->rw);
	if (!gw_throttled_wait(req))
		io_step(req);
}
