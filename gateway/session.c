/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The devices of one session: OPEN and CLOSE. Opening and closing block, so
 * both are jobs of the executor; a device is in one state at a time and only
 * its job touches it meanwhile.
 */
#include "gateway/session.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "gateway/backend/cancel.h"
#include "gateway/backend/events.h"
#include "rtrs/base/mutant.h"

static uint32_t
sectors_at_most(uint64_t bytes, uint32_t max)
{
	uint64_t n = bytes >> RNBD_SECTOR_SHIFT;

	return n > max ? max : (uint32_t)n;
}

static uint16_t
physical_block_size(const struct backend_geometry *g)
{
	uint32_t v = g->physical_block_size;

	if (v < g->logical_block_size)
		v = g->logical_block_size;
	/* A power of two in 16 bits; what is larger is a hint only. */
	return v > 32768 ? 32768 : (uint16_t)v;
}

static void
answer_open(struct gw_req *req, const struct gw_device *dev)
{
	const struct backend_geometry *g = &dev->backend->geo;
	struct rnbd_msg_open_rsp rsp = {
		.device_id = dev->id,
		.nsectors = g->size_bytes >> RNBD_SECTOR_SHIFT,
		.max_hw_sectors =
			req->sess->srv->max_io_size >> RNBD_SECTOR_SHIFT,
		.max_write_zeroes_sectors = sectors_at_most(
			g->max_write_zeroes_bytes, RNBD_MAX_DISCARD_SECTORS),
		.max_discard_sectors = sectors_at_most(
			g->max_discard_bytes, RNBD_MAX_DISCARD_SECTORS),
		.discard_granularity = g->discard_granularity
					       ? g->discard_granularity
					       : g->logical_block_size,
		.discard_alignment = g->discard_alignment,
		.physical_block_size = physical_block_size(g),
		.logical_block_size = (uint16_t)g->logical_block_size,
		.max_segments = GW_MAX_SEGMENTS,
		.secure_discard = 0,
		.cache_policy =
			dev->writethrough
				? 0
				: (g->writeback ? RNBD_CACHE_WRITEBACK : 0) |
					  (g->fua ? RNBD_CACHE_FUA : 0),
	};

	/* on_open() saw to the room. */
	rnbd_msg_open_rsp_encode(&rsp, req->op->data);
	gw_req_done(req, 0);
}

/* Why is said to the peer, not to the log. */
static void
refuse_open(struct gw_req *req, int err, const char *text)
{
	struct gw_sess *sess = req->sess;

	sess->srv->stats.open_errors++;
	snprintf(sess->explain, sizeof(sess->explain), "%s", text);
	gw_req_done(req, err);
}

static void
fail_open(struct gw_req *req, const char *dev_name, int err, const char *text)
{
	const struct gw_sess *sess = req->sess;

	if (!*text)
		text = strerror(-err);
	log_warn(sess->srv->log, "session '%s': cannot open '%s': %s",
		 sess->name, dev_name, text);
	refuse_open(req, err, text);
}

static struct gw_device *
find_by_name(const struct gw_sess *sess, const char *name)
{
	struct gw_device *dev;

	DL_FOREACH(sess->devs, dev) {
		if (!strcmp(dev->name, name))
			return dev;
	}
	return NULL;
}

struct gw_device *
gw_sess_find_dev(struct gw_sess *sess, uint32_t device_id)
{
	struct gw_device *dev;

	HASH_FIND(hh, sess->by_id, &device_id, sizeof(device_id), dev);
	return dev;
}

/* A device of the session, under another name, that has the same bytes. */
static const struct gw_device *
find_twin(const struct gw_device *dev)
{
	const struct backend_identity *id = &dev->backend->id;
	const struct gw_device *other;

	DL_FOREACH(dev->sess->devs, other) {
		const struct backend_identity *oid;

		/* While a job runs, the backend is the job's. */
		if (other == dev || other->state == GW_DEV_OPENING ||
		    other->state == GW_DEV_CLOSING)
			continue;
		oid = &other->backend->id;
		if (oid->kind == id->kind && oid->a == id->a && oid->b == id->b)
			return other;
	}
	return NULL;
}

/* The OPENs that waited for the device get their turn. */
static void
dispatch_waiters(struct gw_req *waiters)
{
	while (waiters) {
		struct gw_req *req = waiters;
		struct rnbd_msg_open m = {0};
		int rc = rnbd_msg_open_decode(req->op->usr, req->op->usr_len,
					      &m);

		waiters = req->next;
		req->next = NULL;
		/* It was decoded once, and RTRS has its own copy. */
		assert(rc == 0);
		(void)rc;
		gw_sess_open_dev(req, &m);
	}
}

/* The device is neither open nor under way to anything. */
static void
device_free(struct gw_device *dev)
{
	struct gw_sess *sess = dev->sess;
	struct gw_req *waiters = dev->waiters;

	gw_stats_device_gone(dev);
	DL_DELETE(sess->devs, dev);
	sess->n_devs--;
	free(dev);
	dispatch_waiters(waiters);
}

/* ---------------------------------------------------------------- close */

static void
close_work(struct gw_job *job)
{
	struct gw_device *dev = container_of(job, struct gw_device, job);

	gw_exports_close(dev->sess->srv->p.exports, &dev->opened);
}

static void
close_done(struct gw_job *job)
{
	struct gw_device *dev = container_of(job, struct gw_device, job);
	struct gw_sess *sess = dev->sess;

	gw_sess_enter(sess);
	if (dev->opener) {
		fail_open(dev->opener, dev->name, dev->err, dev->err_text);
	} else {
		sess->srv->stats.closes++;
		log_info(sess->srv->log, "session '%s': closed '%s'",
			 sess->name, dev->name);
	}
	if (dev->closer)
		gw_req_done(dev->closer, 0);
	device_free(dev);
	gw_sess_leave(sess);
}

void
gw_device_start_close(struct gw_device *dev)
{
	struct gw_server *s = dev->sess->srv;
	struct gw_exec *exec = s->p.exec;

	/* The backend is the job's from here; with nothing in flight there is
	 * nothing to kick either. */
	if (dev->kick_queued) {
		DL_DELETE2(s->kick, dev, kick_prev, kick_next);
		dev->kick_queued = false;
	}
	dev->state = GW_DEV_CLOSING;
	dev->job = (struct gw_job){.work = close_work, .done = close_done};
	exec->run(exec, &dev->job);
}

static void
detached(struct backend_io *io, int err)
{
	struct gw_device *dev = container_of(io, struct gw_device, detach_io);

	gw_device_io_ended(dev);
}

/* Takes the id away first: from now on IO finds no device. */
static void
begin_close(struct gw_device *dev, struct gw_req *closer)
{
	const struct backend_ops *ops = dev->backend->ops;

	HASH_DEL(dev->sess->by_id, dev);
	dev->sess->srv->stats.devices--;
	dev->closer = closer;
	dev->state = GW_DEV_DRAINING;
	if (ops->detach) {
		dev->inflight++;
		dev->detach_io = (struct backend_io){.done = detached};
		ops->detach(dev->backend, &dev->detach_io);
	} else if (!dev->inflight) {
		gw_device_start_close(dev);
		return;
	}
	/* Nobody has to wait for a limit to be rid of a device. */
	gw_throttled_drop(dev, false);
}

void
gw_device_revoke(struct gw_device *dev, const char *why)
{
	struct gw_server *s = dev->sess->srv;

	s->stats.revokes++;
	log_info(s->log, "session '%s': closing '%s': %s", dev->sess->name,
		 dev->name, why);
	begin_close(dev, NULL);
}

void
gw_sess_close_dev(struct gw_req *req, uint32_t device_id)
{
	struct gw_device *dev = gw_sess_find_dev(req->sess, device_id);

	if (dev)
		begin_close(dev, req);
	else
		gw_req_done(req, 0);
}

void
gw_sess_close_all(struct gw_sess *sess)
{
	struct gw_device *dev;

	DL_FOREACH(sess->devs, dev) {
		if (dev->state == GW_DEV_OPEN)
			begin_close(dev, NULL);
		else if (dev->state == GW_DEV_OPENING)
			/* open_done() follows soon, and sees whether the
			 * session is down. */
			gw_cancel(dev->cancel_fd, sess->srv->log);
	}
}

struct gw_device *
gw_sess_find_name(const struct gw_sess *sess, const char *dev_name)
{
	struct gw_device *dev = find_by_name(sess, dev_name);

	return dev && dev->state == GW_DEV_OPEN ? dev : NULL;
}

/* ----------------------------------------------------------------- open */

static void
open_work(struct gw_job *job)
{
	struct gw_device *dev = container_of(job, struct gw_device, job);
	const struct gw_sess *sess = dev->sess;
	const struct gw_server_params *sp = &sess->srv->p;
	struct gw_open_params p = {
		.sess_name = sess->name,
		.dev_name = dev->name,
		.access_mode = dev->access_mode,
		.exec = sp->exec,
		.io = sp->io,
		.events = sp->events,
		.log = sess->srv->log,
		.cancel_fd = dev->cancel_fd,
	};

	dev->err =
		gw_exports_open(sp->exports, &p, &dev->opened, dev->err_text);
}

/* Gives the opened device its id, or says why it cannot stay open. */
static int
device_settle(struct gw_device *dev, uint64_t *ret_size)
{
	struct gw_sess *sess = dev->sess;
	const struct gw_device *twin;
	int err;

	dev->backend = dev->opened.backend;
	dev->throttle = gw_export_throttle(dev->opened.export);
	dev->durable = dev->opened.durable;
	dev->writethrough = gw_export_is_writethrough(dev->opened.export);
	twin = find_twin(dev);
	if (sess->down) {
		snprintf(dev->err_text, GW_TEXT_MAX, "the session is down");
		return -ENOTCONN;
	}
	/* The export may have left while it was opened. */
	err = gw_device_check_allowed(dev, &dev->opened, ret_size,
				      dev->err_text);
	if (err)
		return err;
	if (dues_reserve(&sess->srv->due, sess->srv->stats.devices + 1))
		return -ENOMEM;
	if (twin) {
		snprintf(dev->err_text, GW_TEXT_MAX,
			 "already open in this session as '%.150s'",
			 twin->name);
		return -EEXIST;
	}
	if (sess->next_id == UINT32_MAX) {
		snprintf(dev->err_text, GW_TEXT_MAX,
			 "no device ids left in this session");
		return -ENOSPC;
	}
	dev->id = sess->next_id;
	HASH_ADD(hh, sess->by_id, id, sizeof(dev->id), dev);
	if (!dev->hh.tbl)
		return -ENOMEM;
	err = dev->backend->ops->attach
		      ? dev->backend->ops->attach(dev->backend)
		      : 0;
	if (err) {
		HASH_DEL(sess->by_id, dev);
		return err;
	}
	sess->next_id += !RNBD_MUTANT(ID_AGAIN);
	return 0;
}

static void
open_done(struct gw_job *job)
{
	struct gw_device *dev = container_of(job, struct gw_device, job);
	struct gw_sess *sess = dev->sess;
	struct gw_server *s = sess->srv;
	struct gw_req *opener = dev->opener, *waiters;
	uint64_t size;

	gw_sess_enter(sess);
	if (dev->cancel_fd >= 0)
		close(dev->cancel_fd);
	dev->cancel_fd = -1;
	if (dev->err < 0) {
		fail_open(opener, dev->name, dev->err, dev->err_text);
		device_free(dev);
	} else if ((dev->err = device_settle(dev, &size)) < 0) {
		gw_device_start_close(dev); /* answers the opener */
	} else {
		dev->state = GW_DEV_OPEN;
		dev->opener = NULL;
		/* Who was told since of a new size passed by one not open. */
		gw_device_grow(dev, size);
		gw_stats_device_opened(dev);
		s->stats.opens++;
		s->stats.devices++;
		log_info(s->log,
			 "session '%s': opened '%s' as device %" PRIu32
			 ", %s, %" PRIu64 " bytes",
			 sess->name, dev->name, dev->id,
			 rnbd_access_mode_name(dev->access_mode),
			 dev->backend->geo.size_bytes);
		waiters = dev->waiters;
		dev->waiters = NULL;
		answer_open(opener, dev);
		dispatch_waiters(waiters);
	}
	gw_sess_leave(sess);
}

/*
 * What is on another server may take long to answer, or never do: that is for
 * threads apart, and ends with the session.
 */
static int
start_open_job(struct gw_device *dev)
{
	const struct gw_server_params *p = &dev->sess->srv->p;
	struct gw_exec *exec = p->exec;

	if (p->events && gw_exports_is_remote(p->exports, dev->name)) {
		exec = p->events->exec;
		dev->cancel_fd = gw_cancel_new();
		if (dev->cancel_fd < 0)
			return dev->cancel_fd;
	}
	dev->job = (struct gw_job){.work = open_work, .done = open_done};
	exec->run(exec, &dev->job);
	return 0;
}

static void
start_open(struct gw_req *req, const struct rnbd_msg_open *m)
{
	struct gw_sess *sess = req->sess;
	struct gw_device *dev;
	uint64_t unused;
	int err;

	if (sess->n_devs >= GW_MAX_DEVICES) {
		fail_open(req, m->dev_name, -EMFILE,
			  "this session has too many devices open");
		return;
	}
	dev = calloc(1, sizeof(*dev));
	if (!dev) {
		fail_open(req, m->dev_name, -ENOMEM, "");
		return;
	}
	dev->sess = sess;
	dev->state = GW_DEV_OPENING;
	dev->access_mode = m->access_mode;
	memcpy(dev->name, m->dev_name, sizeof(dev->name));
	dev->opener = req;
	dev->cancel_fd = -1;
	/* Before anything is touched for it. */
	err = gw_device_check_rules(dev, dev->err_text);
	if (err) {
		refuse_open(req, err, dev->err_text);
		free(dev);
		return;
	}
	err = gw_device_check_allowed(dev, NULL, &unused, dev->err_text);
	if (err) {
		fail_open(req, dev->name, err, dev->err_text);
		free(dev);
		return;
	}
	DL_APPEND(sess->devs, dev);
	sess->n_devs++;
	err = start_open_job(dev);
	if (err) {
		fail_open(req, dev->name, err, "");
		device_free(dev);
	}
}

void
gw_sess_open_dev(struct gw_req *req, const struct rnbd_msg_open *m)
{
	struct gw_sess *sess = req->sess;
	struct gw_device *dev = find_by_name(sess, m->dev_name);

	if (sess->down)
		fail_open(req, m->dev_name, -ENOTCONN, "the session is down");
	else if (!dev)
		start_open(req, m);
	else if (dev->state == GW_DEV_OPEN)
		/* Neither the access mode nor the claim is looked at again. */
		answer_open(req, dev);
	else
		LL_APPEND(dev->waiters, req);
}
