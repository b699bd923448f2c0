/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any NBD server as a backend. libnbd calls back from within its own functions
 * and with the handle locked: such a request only changes lists there, and
 * nbd_reap() does the rest when libnbd has returned.
 */
#include "gateway/backend/nbd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#define MAX_LOGICAL_BLOCK 4096

/* ------------------------------------------------------------ completion */

void
nbd_complete(struct nbd_backend *b, struct nbd_req *req, int err)
{
	struct backend_io *io = nbd_io_of(req);

	if (!err) {
		if (io->op == BACKEND_FLUSH) {
			if (req->flush_mark > b->n_durable)
				b->n_durable = req->flush_mark;
		} else if (io->op != BACKEND_READ &&
			   !(io->flags & BACKEND_F_FUA)) {
			b->n_written++;
		}
	}
	io->done(io, err);
}

static int
on_completion(void *user, int *error)
{
	struct nbd_req *req = user;
	struct nbd_conn *c = req->conn;

	req->err = *error;
	DL_DELETE(c->b->sent, req);
	DL_APPEND(c->b->ended, req);
	c->n_sent--;
	return 1; /* libnbd forgets the command */
}

static bool
is_alive(struct nbd_handle *h)
{
	return !nbd_aio_is_dead(h) && !nbd_aio_is_closed(h);
}

static void
end_one(struct nbd_backend *b, struct nbd_req *req)
{
	struct backend_io *io = nbd_io_of(req);

	switch (req->err) {
	case 0:
		io->progress += req->piece;
		if (io->progress < io->len && b->state == NBD_LIVE)
			nbd_send(b, req);
		else if (io->progress < io->len)
			nbd_hold(b, req);
		else
			nbd_complete(b, req, 0);
		break;
	case ESHUTDOWN:
		/* It was not done: the server is on its way out. */
		nbd_lost(b, "the server shuts down");
		nbd_hold(b, req);
		break;
	case ENOTCONN:
		/* No server says this one: the connection went. */
		nbd_hold(b, req);
		break;
	default:
		nbd_complete(b, req, -req->err);
	}
}

void
nbd_reap(struct nbd_backend *b)
{
	struct nbd_req *req;

	/* Completions submit, and what is submitted may complete: the
	 * outermost call does them all, one after the other. */
	if (b->reaping)
		return;
	b->reaping = true;
	while ((req = b->ended)) {
		DL_DELETE(b->ended, req);
		req->conn = NULL;
		end_one(b, req);
	}
	b->reaping = false;
}

/* --------------------------------------------------------------- sending */

/* libnbd's cookie, or -1. */
static int64_t
issue(struct nbd_backend *b, struct nbd_handle *h, struct nbd_req *req)
{
	struct backend_io *io = nbd_io_of(req);
	nbd_completion_callback cb = {
		.callback = on_completion,
		.user_data = req,
	};
	char *buf = (char *)io->buf + io->progress;
	uint64_t off = io->off + io->progress, len = io->len - io->progress;
	uint32_t flags = io->flags & BACKEND_F_FUA ? LIBNBD_CMD_FLAG_FUA : 0;

	switch (io->op) {
	case BACKEND_READ:
		req->piece = len < b->facts.max_payload ? (uint32_t)len
							: b->facts.max_payload;
		return nbd_aio_pread(h, buf, req->piece, off, cb, 0);
	case BACKEND_WRITE:
		req->piece = len < b->facts.max_payload ? (uint32_t)len
							: b->facts.max_payload;
		return nbd_aio_pwrite(h, buf, req->piece, off, cb, flags);
	case BACKEND_FLUSH:
		req->piece = 0;
		req->flush_mark = b->n_written;
		return nbd_aio_flush(h, cb, 0);
	case BACKEND_DISCARD:
		req->piece = (uint32_t)len;
		return nbd_aio_trim(h, len, off, cb, flags);
	case BACKEND_WRITE_ZEROES:
		req->piece = (uint32_t)len;
		if (io->flags & BACKEND_F_NOUNMAP)
			flags |= LIBNBD_CMD_FLAG_NO_HOLE;
		return nbd_aio_zero(h, len, off, cb, flags);
	}
	return -1;
}

static struct nbd_conn *
least_busy(struct nbd_backend *b)
{
	struct nbd_conn *best = &b->conns[0];

	for (unsigned i = 1; i < b->n_conns; i++)
		if (b->conns[i].n_sent < best->n_sent)
			best = &b->conns[i];
	return best;
}

/* What this server, perhaps another than the first, cannot do. */
static bool
is_offered(const struct nbd_backend *b, const struct backend_io *io)
{
	switch (io->op) {
	case BACKEND_DISCARD:
		return b->facts.trim;
	case BACKEND_WRITE_ZEROES:
		return b->facts.zero;
	default:
		return true;
	}
}

/* One failure tells of all that was lost, to everybody who asks by now. */
static bool
flush_lies(struct nbd_backend *b, const struct nbd_req *req)
{
	if (b->flush_lies) {
		b->flush_lies = false;
		b->lies_until = b->last_seq;
	}
	return req->seq <= b->lies_until;
}

void
nbd_send(struct nbd_backend *b, struct nbd_req *req)
{
	struct backend_io *io = nbd_io_of(req);
	struct nbd_conn *c;

	if (!is_offered(b, io)) {
		nbd_complete(b, req, -EOPNOTSUPP);
		return;
	}
	if (io->op == BACKEND_FLUSH && flush_lies(b, req)) {
		nbd_complete(b, req, -EIO);
		return;
	}
	c = least_busy(b);
	req->conn = c;
	req->was_sent = true;
	/* Before the call: it may complete within. */
	DL_APPEND(b->sent, req);
	c->n_sent++;
	if (issue(b, c->h, req) < 0) {
		/* Not taken: then there is no completion either. */
		req->err = is_alive(c->h) ? nbd_get_errno() : ENOTCONN;
		if (req->err <= 0)
			req->err = EIO;
		DL_DELETE(b->sent, req);
		DL_APPEND(b->ended, req);
		c->n_sent--;
	}
	nbd_look_later(b);
	nbd_after_call(c);
	nbd_reap(b);
}

static void
nbd_submit(struct backend *base, struct backend_io *io)
{
	struct nbd_backend *b = nbd_of(base);
	struct nbd_req *req = nbd_req_of(io);

	io->backend = base;
	io->progress = 0;
	*req = (struct nbd_req){.seq = ++b->last_seq};
	if (io->op == BACKEND_FLUSH && !b->first.flush)
		/* Nothing to flush: what has completed is all there is. */
		nbd_complete(b, req, 0);
	else if (b->state == NBD_LIVE)
		nbd_send(b, req);
	else
		nbd_hold(b, req);
	nbd_settle(b);
}

/* ---------------------------------------------------------------- events */

void
nbd_after_call(struct nbd_conn *c)
{
	struct gw_events *ev = c->b->events;
	unsigned dir, interest = 0;

	if (!c->watch)
		return;
	if (!is_alive(c->h)) {
		const char *msg =
			nbd_aio_is_dead(c->h) ? nbd_error_words() : NULL;

		/* At once: the descriptor is closed already. */
		ev->ops->unwatch(ev, c->watch);
		c->watch = NULL;
		nbd_lost(c->b, msg ? msg : "the server closed the connection");
		return;
	}
	dir = nbd_aio_get_direction(c->h);
	if (dir & LIBNBD_AIO_DIRECTION_READ)
		interest |= GW_READ;
	if (dir & LIBNBD_AIO_DIRECTION_WRITE)
		interest |= GW_WRITE;
	if (interest == c->interest)
		return;
	c->interest = interest;
	if (ev->ops->interest(ev, c->watch, interest) < 0) {
		/* Unheard is lost. */
		ev->ops->unwatch(ev, c->watch);
		c->watch = NULL;
		nbd_cut(c, "out of memory");
	}
}

void
nbd_cut(struct nbd_conn *c, const char *reason)
{
	nbd_lost(c->b, reason);
	nbd_sock_cut(nbd_aio_get_fd(c->h));
	/* libnbd learns it as from a server that is killed. */
	(void)nbd_aio_notify_read(c->h);
	if (is_alive(c->h))
		(void)nbd_aio_notify_write(c->h);
	nbd_after_call(c);
}

static void
on_ready(void *user, unsigned what)
{
	struct nbd_conn *c = user;
	struct nbd_backend *b = c->b;

	if (what & GW_READ) {
		(void)nbd_aio_notify_read(c->h);
		/*
		 * Readable and yet nothing to read, as within a TLS record:
		 * libnbd 1.14 is left in the middle of a reply that did not
		 * begin, and would send nothing before the next one. Told
		 * again, it goes back to where it was.
		 */
		if (is_alive(c->h) && !nbd_aio_is_ready(c->h) &&
		    nbd_aio_get_direction(c->h) == LIBNBD_AIO_DIRECTION_READ)
			(void)nbd_aio_notify_read(c->h);
	} else if (nbd_aio_get_direction(c->h) & LIBNBD_AIO_DIRECTION_WRITE) {
		(void)nbd_aio_notify_write(c->h);
	}
	nbd_after_call(c);
	nbd_reap(b);
	nbd_settle(b);
}

/* ----------------------------------------------------------- connections */

static void
take_set(struct nbd_backend *b, struct nbd_set *set)
{
	for (unsigned i = 0; i < set->n; i++)
		b->conns[i] = (struct nbd_conn){.b = b, .h = set->h[i]};
	b->n_conns = set->n;
	b->facts = set->facts;
	b->is_tcp = nbd_sock_is_tcp(nbd_aio_get_fd(set->h[0]));
	set->n = 0;
}

static int
watch_all(struct nbd_backend *b)
{
	struct gw_events *ev = b->events;

	for (unsigned i = 0; i < b->n_conns; i++) {
		struct nbd_conn *c = &b->conns[i];
		int err;

		c->interest = GW_READ;
		err = ev->ops->watch(ev, nbd_aio_get_fd(c->h), c->interest,
				     on_ready, c, &c->watch);
		if (err)
			return err;
	}
	return 0;
}

void
nbd_unwatch(struct nbd_backend *b)
{
	for (unsigned i = 0; i < b->n_conns; i++) {
		struct nbd_conn *c = &b->conns[i];

		if (c->watch)
			b->events->ops->unwatch(b->events, c->watch);
		c->watch = NULL;
	}
}

int
nbd_adopt(struct nbd_backend *b, struct nbd_set *set)
{
	int err;

	take_set(b, set);
	err = watch_all(b);
	if (err)
		nbd_drop(b);
	return err;
}

void
nbd_drop(struct nbd_backend *b)
{
	nbd_unwatch(b);
	/* libnbd calls nobody back for what is under way when it closes. */
	while (b->n_conns) {
		struct nbd_conn *c = &b->conns[--b->n_conns];

		/* What has not left yet is not to be executed any more. */
		if (c->n_sent && is_alive(c->h))
			nbd_sock_cut(nbd_aio_get_fd(c->h));
		nbd_handle_close(c->h);
	}
}

static int
nbd_attach(struct backend *base)
{
	struct nbd_backend *b = nbd_of(base);
	int err = nbd_link_init(b);

	if (err)
		return err;
	err = watch_all(b);
	if (err) {
		nbd_unwatch(b);
		nbd_link_deinit(b);
	}
	return err;
}

/* ------------------------------------------------------------------ open */

static bool
is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* What the server says, as a disk. */
static int
set_geometry(struct nbd_backend *b, char err_text[GW_TEXT_MAX])
{
	const struct nbd_facts *f = &b->first;
	struct backend_geometry *geo = &b->base.geo;
	struct gw_name_text where = gw_name_text(b->params.where);
	uint32_t logical = f->min_block < 512 ? 512 : f->min_block;
	uint32_t physical = f->preferred_block;

	if (logical > MAX_LOGICAL_BLOCK || !is_pow2(logical))
		return gw_text_err(err_text, -EINVAL,
				   "NBD server %s: its blocks have %u bytes, "
				   "and RNBD clients take 512 to 4096: let it "
				   "serve smaller ones (nbdkit: "
				   "--filter=blocksize)",
				   where.s, f->min_block);
	if (f->max_payload < logical)
		return gw_text_err(err_text, -EINVAL,
				   "NBD server %s: it takes %u bytes at once, "
				   "which is less than a block",
				   where.s, f->max_payload);
	if (f->size < logical)
		return gw_text_err(err_text, -EINVAL,
				   "NBD server %s: the export has %llu bytes, "
				   "less than a block of %u",
				   where.s, (unsigned long long)f->size,
				   logical);
	if (physical < logical || !is_pow2(physical))
		physical = logical;
	*geo = (struct backend_geometry){
		.size_bytes = f->size - f->size % logical,
		.logical_block_size = logical,
		.physical_block_size = physical,
		.discard_granularity = logical,
		.max_discard_bytes = f->trim ? BACKEND_MAX_RANGE : 0,
		.max_write_zeroes_bytes = f->zero ? BACKEND_MAX_RANGE : 0,
		.read_only = f->read_only || b->read_only,
		.writeback = f->flush,
		.fua = f->flush && f->fua,
		.rotational = f->rotational,
	};
	if (f->size % logical)
		log_warn(b->log,
			 "NBD server %s: the last %llu bytes of the export are "
			 "less than a block of %u and are not offered",
			 where.s, (unsigned long long)(f->size % logical),
			 logical);
	return 0;
}

static void
nbd_backend_close(struct backend *base)
{
	struct nbd_backend *b;

	if (!base)
		return;
	b = nbd_of(base);
	nbd_drop(b);
	nbd_params_deinit(&b->params);
	free(b);
}

static int
open_connected(struct nbd_backend *b, int cancel_fd, char err_text[GW_TEXT_MAX])
{
	struct nbd_set set;
	int err = nbd_set_connect(&b->params, cancel_fd, &set, err_text);

	if (err)
		return err;
	b->first = set.facts;
	take_set(b, &set);
	return set_geometry(b, err_text);
}

static int
nbd_open(const struct backend_open_params *p, struct backend **ret)
{
	char text[GW_TEXT_MAX];
	char *err_text = p->err_text ? p->err_text : text;
	struct nbd_backend *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return gw_text_err(err_text, -ENOMEM, "out of memory");
	b->base.ops = &backend_nbd;
	b->log = p->log;
	b->events = p->events;
	b->read_only = p->read_only;
	b->silence_ns = NBD_SILENCE_MS * NSEC_PER_MSEC;
	err = nbd_params_parse(p->path, &b->params, err_text);
	if (err)
		goto err;
	b->base.id = b->params.id;
	err = open_connected(b, p->cancel_fd, err_text);
	if (err)
		goto err;
	if (p->exec && !p->events) {
		err = gw_text_err(err_text, -EOPNOTSUPP,
				  "this server has no loop for NBD");
		goto err;
	}
	*ret = &b->base;
	return 0;
err:
	nbd_backend_close(&b->base);
	return err;
}

const struct backend_ops backend_nbd = {
	.name = "nbd",
	.open = nbd_open,
	.close = nbd_backend_close,
	.attach = nbd_attach,
	.detach = nbd_detach,
	.submit = nbd_submit,
};
