/* SPDX-License-Identifier: BSD-3-Clause */
/* One I/O of any length as pieces of at most max_io_size, sent in parallel. */
#include "nbdkit-plugin/rnbd-priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "rtrs/base/mutant.h"

static void
io_move(struct rnbd_clt *c, struct rnbd_clt_io *io, enum io_where to)
{
	switch ((enum io_where)io->where) {
	case IO_QUEUED:
		DL_DELETE(c->queued, io);
		break;
	case IO_HELD:
		DL_DELETE(c->held, io);
		break;
	case IO_FINISHED:
		DL_DELETE(c->finished, io);
		break;
	case IO_NOWHERE:
		break;
	}
	io->where = (uint8_t)to;
	switch (to) {
	case IO_QUEUED:
		DL_APPEND(c->queued, io);
		break;
	case IO_HELD:
		DL_APPEND(c->held, io);
		break;
	case IO_FINISHED:
		DL_APPEND(c->finished, io);
		break;
	case IO_NOWHERE:
		break;
	}
}

/* Sends all of io, as op. */
static void
io_restart(struct rnbd_clt *c, struct rnbd_clt_io *io, enum rnbd_clt_op op)
{
	io->op = op;
	io->next_off = io->off;
	io->all_sent = false;
	io_move(c, io, IO_QUEUED);
}

/*
 * True if the flush that ended a FUA says nothing about a part of it: that one
 * was acknowledged by a server that went away meanwhile, perhaps with its
 * cache.
 */
static bool
flush_missed(const struct rnbd_clt_io *io, const struct piece *flush)
{
	return flush && io->op != io->asked &&
	       flush->incarnation != io->acked_by && !RNBD_MUTANT(FLUSH_OTHER);
}

/*
 * The I/O may have come to its end: deliver it, or add the flush it needs.
 * last: the piece that succeeded just now, or NULL.
 */
static void
io_check(struct rnbd_clt *c, struct rnbd_clt_io *io, const struct piece *last)
{
	if (io->pieces || io->where == IO_FINISHED)
		return;
	if (!io->err && !io->all_sent)
		return;
	if (!io->err && io->flush_after) {
		/* One more round, as a flush of the whole device. */
		io->flush_after = false;
		io_restart(c, io, RNBD_CLT_FLUSH);
		return;
	}
	if (!io->err && flush_missed(io, last)) {
		io->acked_by = 0;
		io_restart(c, io, io->asked);
		return;
	}
	io_move(c, io, IO_FINISHED);
}

static void
io_fail(struct rnbd_clt *c, struct rnbd_clt_io *io, int err)
{
	if (!io->err)
		io->err = err;
	io->all_sent = true;
	if (io->where != IO_FINISHED)
		io_move(c, io, IO_NOWHERE);
	io_check(c, io, NULL);
}

/* The link may be lost though nobody was told: requests have to end first. */
static bool
dev_takes_io(const struct device *d)
{
	return d->c->state == CLT_READY && d->state == DEV_OPEN &&
	       rtrs_clt_is_up(d->c->rtrs);
}

/* What an I/O that waits on this device will get in the end, if known. */
static int
dev_error(const struct device *d)
{
	switch (d->c->state) {
	case CLT_FAILED:
		return -EIO;
	case CLT_CLOSING:
	case CLT_CLOSED:
	case CLT_FREEING:
		return -ESHUTDOWN;
	case CLT_DOWN:
		if (!d->c->io_timeout_ms)
			return -EIO;
		break;
	case CLT_GREETING:
		break;
	case CLT_READY:
		if (!d->c->io_timeout_ms && !rtrs_clt_is_up(d->c->rtrs))
			return -EIO;
		break;
	}
	return d->state == DEV_FAILED || d->state == DEV_GONE ? -EIO : 0;
}

/*
 * A deadline that counts from the next progress on, which is the first to know
 * the time. 0 does, too, when it is found on an I/O that waits.
 */
#define DEADLINE_UNSET 1

/* Its time to wait, less what it has waited already. */
static uint64_t
io_deadline(const struct rnbd_clt *c, const struct rnbd_clt_io *io,
	    uint64_t since)
{
	return io->left_ns ? since + io->left_ns
			   : time_after_ms(since, c->io_timeout_ms);
}

/* Starts the clock of an I/O that has to wait since then, unless it runs. */
static void
io_starts_waiting(struct rnbd_clt *c, struct rnbd_clt_io *io, uint64_t since)
{
	if (io->deadline)
		return;
	c->stats.held++;
	io->waited_link = c->links;
	io->deadline =
		c->submitting ? DEADLINE_UNSET : io_deadline(c, io, since);
}

/*
 * A part of io was sent. That stops the clock of the wait for the session, not
 * of that for a device which the server closes again and again. What is lost
 * once more has only the rest of its time: a server that answers a request by
 * leaving does not get it for ever.
 */
static void
io_was_sent(struct rnbd_clt *c, struct rnbd_clt_io *io)
{
	if (io->waited_link == c->links || !io->deadline)
		return;
	if (io->deadline != DEADLINE_UNSET)
		io->left_ns = io->deadline > c->now ? io->deadline - c->now : 1;
	io->deadline = 0;
}

static bool
io_is_late(struct rnbd_clt *c, struct rnbd_clt_io *io)
{
	if (io->deadline <= DEADLINE_UNSET)
		io->deadline = io_deadline(c, io, c->now);
	return io->deadline <= c->now;
}

/* There are as many as permits; those that wait to be sent again have none. */
static struct piece *
piece_new(struct rnbd_clt *c)
{
	struct piece *p = c->free_pieces;

	if (p) {
		LL_DELETE(c->free_pieces, p);
		return p;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->c = c;
	p->extra = true;
	return p;
}

static void
piece_free(struct rnbd_clt *c, struct piece *p)
{
	if (p->extra) {
		free(p);
		return;
	}
	p->io = NULL;
	LL_PREPEND(c->free_pieces, p);
}

/* Drops the pieces of io that wait to be sent again. */
static void
drop_again(struct rnbd_clt *c, struct rnbd_clt_io *io)
{
	struct piece *p, *tmp;

	DL_FOREACH_SAFE(c->again, p, tmp) {
		if (p->io != io)
			continue;
		DL_DELETE(c->again, p);
		piece_free(c, p);
		io->pieces--;
	}
}

/* Since when a request that came back could not be served. */
static uint64_t
lost_at(const struct rnbd_clt *c)
{
	return rtrs_clt_is_up(c->rtrs) ? c->now : rtrs_clt_lost_at(c->rtrs);
}

static void
piece_done(struct rtrs_clt_req *req, int err)
{
	struct piece *p = req->user;
	struct rtrs_permit *permit = req->permit;
	struct rnbd_clt_io *io = p->io;
	struct device *d = io->dev->d;
	struct rnbd_clt *c = p->c;
	int final = 0;

	d->n_out--;
	if (err == -ENOTCONN) {
		/* The server no longer knows the device; it may come back, or
		 * has done so since. */
		if (p->incarnation == d->incarnation)
			dev_lost(d);
		err = -ECONNABORTED;
	}
	if (err == -ECONNABORTED) {
		final = io->err ? io->err : dev_error(d);
		if (!final && c->io_timeout_ms) {
			io_starts_waiting(c, io, lost_at(c));
			DL_APPEND(c->again, p);
			if (!RNBD_MUTANT(PERMIT_LOST))
				rtrs_clt_permit_put(c->rtrs, permit);
			return;
		}
		err = final ? final : -EIO;
	}
	io->pieces--;
	if (err) {
		drop_again(c, io);
		io_fail(c, io, err);
	} else {
		if (io->op == io->asked &&
		    (!io->acked_by || p->incarnation < io->acked_by))
			io->acked_by = p->incarnation;
		io_check(c, io, p);
	}
	/* The piece first: whoever gets the permit will want one. */
	piece_free(c, p);
	rtrs_clt_permit_put(c->rtrs, permit);
	if (RNBD_MUTANT(PERMIT_TWICE))
		rtrs_clt_permit_put(c->rtrs, permit);
}

/* Builds and submits; the piece has io, off and len. */
static int
piece_send(struct rnbd_clt *c, struct piece *p, struct rtrs_permit *permit)
{
	struct rnbd_clt_io *io = p->io;
	struct device *d = io->dev->d;
	struct rnbd_msg_io m = {
		.device_id = d->id,
		.sector = p->off >> RNBD_SECTOR_SHIFT,
		.bi_size = p->len,
	};
	uint8_t usr[RNBD_IO_LEN];
	int r;
	/*
	 * FUA on anything but a write fails on kernel servers, and not all do
	 * it on writes: then a flush follows. Without a volatile cache every
	 * completed write is durable anyway. All this may differ after a loss.
	 */
	bool fua = d->geo.writeback &&
		   (io->flags & RNBD_CLT_F_FUA || d->sync_writes);

	p->incarnation = d->incarnation;
	p->req = (struct rtrs_clt_req){
		.dir = RTRS_WRITE,
		.permit = permit,
		.usr = usr,
		.usr_len = sizeof(usr),
		.done = piece_done,
		.user = p,
	};
	/* The words that a kernel client uses for the same operations. */
	switch (io->op) {
	case RNBD_CLT_READ:
		m.rw = RNBD_OP_READ | RNBD_F_SYNC;
		p->req.dir = RTRS_READ;
		p->req.data = (char *)io->buf + (p->off - io->off);
		p->req.data_len = p->len;
		break;
	case RNBD_CLT_WRITE:
		m.rw = RNBD_OP_WRITE | RNBD_F_SYNC;
		if (fua && d->geo.fua)
			m.rw |= RNBD_F_FUA;
		else
			io->flush_after |= fua;
		p->req.data = (char *)io->buf + (p->off - io->off);
		p->req.data_len = p->len;
		break;
	case RNBD_CLT_FLUSH:
		/*
		 * As the kernel's client, but for the sector: its all ones are
		 * unaligned for a server with blocks of more than 512 bytes,
		 * and a 6.12 server answers EIO.
		 */
		m.rw = RNBD_OP_FLUSH | RNBD_F_SYNC | RNBD_F_FUA;
		m.sector = 0;
		m.bi_size = 0;
		p->req.dir = RTRS_READ;
		break;
	case RNBD_CLT_DISCARD:
		m.rw = RNBD_OP_DISCARD;
		io->flush_after |= fua;
		break;
	case RNBD_CLT_WRITE_ZEROES:
		m.rw = RNBD_OP_WRITE_ZEROES;
		if (io->flags & RNBD_CLT_F_NOUNMAP)
			m.rw |= RNBD_F_NOUNMAP;
		io->flush_after |= fua;
		break;
	}
	rnbd_msg_io_encode(&m, usr);
	r = rtrs_clt_submit(c->rtrs, &p->req);
	if (!r) {
		d->n_out++;
		io_was_sent(c, io);
	}
	return r;
}

static uint64_t
piece_max(const struct rnbd_clt_io *io)
{
	const struct rnbd_clt_geometry *g = &io->dev->d->geo;

	switch (io->op) {
	case RNBD_CLT_DISCARD:
		return g->max_discard_bytes;
	case RNBD_CLT_WRITE_ZEROES:
		return g->max_write_zeroes_bytes;
	case RNBD_CLT_READ:
	case RNBD_CLT_WRITE:
	case RNBD_CLT_FLUSH:
		break;
	}
	return g->max_io_size;
}

static void
got_permit(struct rtrs_permit_waiter *w, struct rtrs_permit *permit)
{
	struct rnbd_clt *c = container_of(w, struct rnbd_clt, waiter);

	c->waiting = false;
	if (!permit)
		return;
	/*
	 * It comes for whoever is first in line now. Giving it back and taking
	 * it again keeps one way of sending; nobody is before us.
	 */
	rtrs_clt_permit_put(c->rtrs, permit);
	ios_dispatch(c);
}

/* A permit for the next piece, or NULL: dispatch goes on when there is one. */
static struct rtrs_permit *
take_permit(struct rnbd_clt *c, unsigned con_hint)
{
	struct rtrs_permit *permit;

	permit = rtrs_clt_permit_get(c->rtrs, RTRS_PERMIT_IO, con_hint);
	if (permit || c->waiting)
		return permit;
	c->waiter = (struct rtrs_permit_waiter){
		.got = got_permit,
		.type = RTRS_PERMIT_IO,
	};
	c->waiting = true;
	rtrs_clt_permit_wait(c->rtrs, &c->waiter);
	return NULL;
}

/*
 * The server may have come back with smaller chunks: cuts a piece that waits
 * in `again` down to what can be sent, which is some. false: no room for the
 * rest now.
 */
static bool
piece_cut(struct rnbd_clt *c, struct piece *p)
{
	uint64_t max = piece_max(p->io);
	struct piece *rest;

	if (p->len <= max)
		return true;
	rest = piece_new(c);
	if (!rest)
		return false;
	rest->io = p->io;
	rest->off = p->off + max;
	rest->len = p->len - (uint32_t)max;
	p->len = (uint32_t)max;
	p->io->pieces++;
	DL_APPEND_ELEM(c->again, p, rest);
	return true;
}

/* Pieces that were lost with their path; false: nothing more can be sent. */
static bool
dispatch_again(struct rnbd_clt *c)
{
	struct piece *p, *next;
	int r;

	for (p = c->again; p; p = next) {
		struct rnbd_clt_io *io = p->io;
		struct rtrs_permit *permit;

		next = p->next;
		if (!dev_takes_io(io->dev->d))
			continue;
		if (!piece_max(io)) { /* it is not offered any more */
			drop_again(c, io);
			io_fail(c, io, -EOPNOTSUPP);
			next = c->again;
			continue;
		}
		if (!piece_cut(c, p))
			return false;
		next = p->next;
		permit = take_permit(c, io->con_hint);
		if (!permit)
			return false;
		r = piece_send(c, p, permit);
		if (r == -ECONNABORTED) {
			rtrs_clt_permit_put(c->rtrs, permit);
			return false; /* link_down follows */
		}
		DL_DELETE(c->again, p);
		c->stats.resent++;
		if (r < 0) {
			rtrs_clt_permit_put(c->rtrs, permit);
			piece_free(c, p);
			io->pieces--;
			io_fail(c, io, r);
		}
	}
	return true;
}

/* Sends the next piece of io; false: nothing more can be sent now. */
static bool
dispatch_one(struct rnbd_clt *c, struct rnbd_clt_io *io)
{
	uint64_t left = io->off + io->len - io->next_off;
	uint64_t max = piece_max(io);
	struct rtrs_permit *permit;
	struct piece *p;
	int r;

	if (!max) { /* what was offered once is not offered any more */
		io_fail(c, io, -EOPNOTSUPP);
		return true;
	}
	permit = take_permit(c, io->con_hint);
	if (!permit)
		return false;
	p = piece_new(c);
	if (!p) {
		rtrs_clt_permit_put(c->rtrs, permit);
		return false; /* whatever ends gives one back */
	}
	p->io = io;
	p->off = io->next_off;
	p->len = (uint32_t)(left < max ? left : max);
	if (io->op == RNBD_CLT_FLUSH)
		p->len = 0;
	r = piece_send(c, p, permit);
	if (r < 0) {
		rtrs_clt_permit_put(c->rtrs, permit);
		piece_free(c, p);
		if (r == -ECONNABORTED)
			return false; /* link_down follows */
		io_fail(c, io, r);
		return true;
	}
	c->stats.pieces++;
	io->pieces++;
	io->next_off += p->len;
	if (io->op == RNBD_CLT_FLUSH || io->next_off == io->off + io->len) {
		io->all_sent = true;
		io_move(c, io, IO_NOWHERE);
	} else {
		io_move(c, io, IO_QUEUED); /* to the end: others' turn */
	}
	return true;
}

void
ios_dispatch(struct rnbd_clt *c)
{
	struct rnbd_clt_io *io;
	int err;

	if (c->dispatching || (!c->queued && !c->again))
		return;
	c->dispatching = true;
	if (!dispatch_again(c))
		goto out;
	while ((io = c->queued)) {
		err = dev_error(io->dev->d);
		if (err) {
			io_fail(c, io, err);
		} else if (!dev_takes_io(io->dev->d)) {
			io_starts_waiting(c, io, c->now);
			io_move(c, io, IO_HELD);
		} else if (!dispatch_one(c, io)) {
			break;
		}
	}
out:
	c->dispatching = false;
}

void
ios_release(struct rnbd_clt *c)
{
	struct rnbd_clt_io *io, *tmp;

	if (RNBD_MUTANT(HELD_FORGOTTEN))
		return;
	DL_FOREACH_SAFE(c->held, io, tmp)
		io_move(c, io, IO_QUEUED);
	ios_dispatch(c);
}

void
rnbd_clt_submit(struct rnbd_clt_io *io)
{
	const struct device *d = io->dev->d;
	struct rnbd_clt *c = d->c;

	io->next_off = io->off;
	io->deadline = 0;
	io->left_ns = 0;
	io->pieces = 0;
	io->err = 0;
	io->where = IO_NOWHERE;
	io->all_sent = false;
	io->flush_after = false;
	io->asked = io->op;
	io->acked_by = 0;
	c->stats.ios++;
	if (io->op != RNBD_CLT_FLUSH && !io->len) {
		io->all_sent = true;
		io_move(c, io, IO_FINISHED);
		return;
	}
	if (io->dev->mode == RNBD_ACCESS_RO && io->op != RNBD_CLT_READ &&
	    io->op != RNBD_CLT_FLUSH) {
		io_fail(c, io, -EROFS);
		return;
	}
	if (io->op != RNBD_CLT_FLUSH &&
	    (io->off > d->geo.size_bytes ||
	     io->len > d->geo.size_bytes - io->off)) {
		io_fail(c, io, -EINVAL);
		return;
	}
	io_move(c, io, IO_QUEUED);
	c->submitting = true;
	ios_dispatch(c);
	c->submitting = false;
}

/* It has ended; the time is that of the progress that found the answer. */
static void
io_count(const struct rnbd_clt *c, const struct rnbd_clt_io *io)
{
	struct rnbd_dev_stats *ds = io->dev->d->stats;

	if (ds && io->asked_ns)
		rnbd_stats_record(ds, io->asked, io->len, io->err,
				  c->now > io->asked_ns ? c->now - io->asked_ns
							: 0);
}

void
ios_deliver(struct rnbd_clt *c)
{
	struct rnbd_clt_io *io;

	while ((io = c->finished)) {
		io_move(c, io, IO_NOWHERE);
		io_count(c, io);
		io->done(io, io->err);
		if (RNBD_MUTANT(DONE_TWICE))
			io->done(io, io->err);
	}
}

static bool
matches(const struct rnbd_clt_io *io, const struct device *d)
{
	return !d || io->dev->d == d;
}

void
ios_fail(struct rnbd_clt *c, const struct device *d, int err)
{
	struct rnbd_clt_io *io, *tmp;
	struct piece *p, *ptmp;

	DL_FOREACH_SAFE(c->again, p, ptmp) {
		io = p->io;
		if (!matches(io, d))
			continue;
		DL_DELETE(c->again, p);
		piece_free(c, p);
		io->pieces--;
		io_fail(c, io, err);
	}
	DL_FOREACH_SAFE(c->held, io, tmp)
		if (matches(io, d))
			io_fail(c, io, err);
	DL_FOREACH_SAFE(c->queued, io, tmp)
		if (matches(io, d))
			io_fail(c, io, err);
}

void
ios_expire(struct rnbd_clt *c)
{
	struct rnbd_clt_io *io, *tmp;
	struct piece *p;

again:
	DL_FOREACH(c->again, p) {
		io = p->io;
		if (dev_takes_io(io->dev->d) || !io_is_late(c, io))
			continue;
		c->stats.timeouts++;
		drop_again(c, io);
		io_fail(c, io, -EIO);
		goto again; /* the list has changed in many places */
	}
	DL_FOREACH_SAFE(c->held, io, tmp)
		if (io_is_late(c, io)) {
			c->stats.timeouts++;
			drop_again(c, io);
			io_fail(c, io, -EIO);
		}
}

uint64_t
ios_deadline(const struct rnbd_clt *c)
{
	uint64_t t = TIME_NEVER;

	if (c->finished)
		return 0;
	for (const struct piece *p = c->again; p; p = p->next)
		if (!dev_takes_io(p->io->dev->d))
			t = time_min(t, p->io->deadline);
	for (const struct rnbd_clt_io *io = c->held; io; io = io->next)
		t = time_min(t, io->deadline);
	return t;
}

int
ios_resize(struct rnbd_clt *c)
{
	unsigned n = rtrs_clt_queue_depth(c->rtrs);
	struct piece *p, *lost, *tmp;
	struct piece *pieces;
	unsigned held = 0, i;

	DL_COUNT(c->again, p, held);
	/* Enough for all that is held besides all that can be sent. */
	if (c->pieces && n + held <= c->n_pieces)
		return 0;
	n += held;
	pieces = calloc(n, sizeof(*pieces));
	if (!pieces)
		return -ENOMEM;
	/* No piece is under way now: move those that wait. */
	lost = c->again;
	c->again = NULL;
	c->free_pieces = NULL;
	i = 0;
	DL_FOREACH_SAFE(lost, p, tmp) {
		pieces[i].c = c;
		pieces[i].io = p->io;
		pieces[i].off = p->off;
		pieces[i].len = p->len;
		DL_APPEND(c->again, &pieces[i]);
		i++;
		if (p->extra)
			free(p);
	}
	for (; i < n; i++) {
		pieces[i].c = c;
		LL_PREPEND(c->free_pieces, &pieces[i]);
	}
	free(c->pieces);
	c->pieces = pieces;
	c->n_pieces = n;
	return 0;
}
