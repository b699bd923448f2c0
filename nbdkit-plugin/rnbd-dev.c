/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices of the session: opening, reopening, comparing, closing. */
#include "nbdkit-plugin/rnbd-priv.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "rtrs/base/mutant.h"

/* The server in words: "tcp:192.0.2.1:1234", of the first path. */
static void
server_text(const struct rnbd_clt *c, char *buf, size_t len)
{
	char addr[RTRS_ADDR_TEXT_MAX];
	struct rtrs_clt_path_info info;

	if (rtrs_clt_path_info(c->rtrs, 0, &info) < 0) {
		snprintf(buf, len, "the server");
		return;
	}
	(void)rtrs_addr_text(info.addr.fabric, &info.addr.dst, addr);
	snprintf(buf, len, "%s", addr);
}

/* What an OPEN error means to the person who asked for the device. */
static void
open_error_text(struct device *d, int err, const char *explained)
{
	char at[128];

	server_text(d->c, at, sizeof(at));
	if (explained[0]) {
		snprintf(d->text, sizeof(d->text), "%s (at %s)", explained, at);
		return;
	}
	switch (-err) {
	case ENOENT:
		snprintf(d->text, sizeof(d->text),
			 "no such export '%.254s' at %s", d->name, at);
		break;
	case EPERM:
		snprintf(d->text, sizeof(d->text),
			 "busy: '%.254s' at %s is already open for writing by "
			 "another session (access_mode=ro is still possible)",
			 d->name, at);
		break;
	case ENOTBLK:
		snprintf(d->text, sizeof(d->text),
			 "'%.254s' at %s is not a block device", d->name, at);
		break;
	case EACCES:
	case EROFS:
		snprintf(d->text, sizeof(d->text),
			 "'%.254s' at %s may not be opened with "
			 "access_mode=%s: %s",
			 d->name, at, rnbd_access_mode_name(d->mode),
			 strerror(-err));
		break;
	case EINVAL:
		snprintf(d->text, sizeof(d->text),
			 "%s refuses the name '%.254s' (\"..\" is not allowed, "
			 "nor are overlong names)",
			 at, d->name);
		break;
	default:
		snprintf(d->text, sizeof(d->text),
			 "cannot open '%.254s' at %s: %s", d->name, at,
			 strerror(-err));
	}
}

/* One of those who wait is told. */
static void
opener_finish(struct device *d, struct opener *o, int err, const char *text)
{
	LL_DELETE(d->openers, o);
	if (err) {
		o->opened(o->user, NULL, err, text);
		free(o->handle);
		d->n_handles--;
	} else {
		LL_PREPEND(d->handles, o->handle);
		o->opened(o->user, o->handle, 0, "");
	}
	free(o);
}

static void
openers_finish(struct device *d, int err, const char *text)
{
	while (d->openers)
		opener_finish(d, d->openers, err, text);
}

/* The device is open: whoever wants no more than its mode allows has it. */
static void
openers_serve(struct device *d)
{
	struct opener *o, *tmp;

	LL_FOREACH_SAFE(d->openers, o, tmp)
		if (o->handle->mode == RNBD_ACCESS_RO ||
		    o->handle->mode == d->mode)
			opener_finish(d, o, 0, NULL);
}

/* Is there somebody for openers_serve()? */
static bool
is_served(const struct device *d)
{
	if (d->state != DEV_OPEN)
		return false;
	for (const struct opener *o = d->openers; o; o = o->next)
		if (o->handle->mode == RNBD_ACCESS_RO ||
		    o->handle->mode == d->mode)
			return true;
	return false;
}

/* What those who have the device, or want it, need. */
static enum rnbd_access_mode
wanted_mode(const struct device *d)
{
	for (const struct rnbd_clt_dev *h = d->handles; h; h = h->next)
		if (h->mode != RNBD_ACCESS_RO)
			return h->mode;
	for (const struct opener *o = d->openers; o; o = o->next)
		if (o->handle->mode != RNBD_ACCESS_RO)
			return o->handle->mode;
	return RNBD_ACCESS_RO;
}

static void
dev_closed(struct device *d)
{
	d->state = DEV_GONE;
	d->close_waits = false;
	ask_finish(d, -ENOENT, CLOSED_MEANWHILE);
	if (d->closed)
		d->closed(d->closed_user);
	d->closed = NULL;
}

static void
dev_failed(struct device *d)
{
	d->state = DEV_FAILED;
	log_err(d->c->log, "device '%s': %s", d->name, d->text);
	ask_finish(d, -EINVAL, d->text);
	ios_fail(d->c, d, -EIO);
}

bool
dev_shape(const struct rnbd_clt *c, const struct rnbd_msg_open_rsp *m,
	  struct rnbd_clt_geometry *ret)
{
	struct rnbd_clt_geometry g = {
		.logical_block_size = m->logical_block_size,
		.physical_block_size = m->physical_block_size,
		.max_io_size = rtrs_clt_max_io_size(c->rtrs),
		.discard_granularity = m->discard_granularity,
		.writeback = m->cache_policy & RNBD_CACHE_WRITEBACK,
		.fua = m->cache_policy & RNBD_CACHE_FUA,
	};
	uint32_t lbs = g.logical_block_size;

	if (m->nsectors > (uint64_t)INT64_MAX / RNBD_SECTOR_SIZE)
		return false;
	g.size_bytes = m->nsectors * RNBD_SECTOR_SIZE;
	if (lbs < RNBD_SECTOR_SIZE || (lbs & (lbs - 1)) || lbs > g.max_io_size)
		return false;
	if (g.size_bytes % lbs)
		g.size_bytes -= g.size_bytes % lbs;
	/* Only advice, so nonsense is replaced. */
	if (g.physical_block_size < lbs ||
	    (g.physical_block_size & (g.physical_block_size - 1)))
		g.physical_block_size = lbs;
	g.max_io_size -= g.max_io_size % lbs;
	/* One message carries 32 bits of bytes, in whole blocks. */
	g.max_discard_bytes =
		(uint64_t)m->max_discard_sectors * RNBD_SECTOR_SIZE;
	if (g.max_discard_bytes > UINT32_MAX)
		g.max_discard_bytes = UINT32_MAX;
	g.max_discard_bytes -= g.max_discard_bytes % lbs;
	if (c->trust_write_zeroes)
		g.max_write_zeroes_bytes =
			(uint64_t)m->max_write_zeroes_sectors *
			RNBD_SECTOR_SIZE;
	if (g.max_write_zeroes_bytes > UINT32_MAX)
		g.max_write_zeroes_bytes = UINT32_MAX;
	g.max_write_zeroes_bytes -= g.max_write_zeroes_bytes % lbs;
	*ret = g;
	return true;
}

bool
dev_shape_fits(const struct device *d, const struct rnbd_clt_geometry *now,
	       char *text, size_t len)
{
	const struct rnbd_clt_geometry *was = &d->geo;

	if (now->size_bytes < was->size_bytes) {
		snprintf(text, len,
			 "the device shrank from %" PRIu64 " to %" PRIu64
			 " bytes while the server was away",
			 was->size_bytes, now->size_bytes);
		return false;
	}
	if (now->logical_block_size != was->logical_block_size) {
		snprintf(text, len,
			 "the logical block size changed from %u to %u bytes "
			 "while the server was away",
			 was->logical_block_size, now->logical_block_size);
		return false;
	}
	return true;
}

static int
send_close(struct device *d)
{
	struct rnbd_msg_close m = {.device_id = d->id};

	rnbd_msg_close_encode(&m, d->admin.usr);
	d->admin.dir = RTRS_WRITE;
	d->admin.usr_len = RNBD_CLOSE_LEN;
	d->admin.data_len = 0;
	return admin_send(&d->admin);
}

static void
dev_send_close(struct device *d)
{
	d->state = DEV_CLOSING;
	if (send_close(d) < 0)
		dev_closed(d);
}

void
dev_turn(struct device *d)
{
	/* Or no path is up: whoever closes the session closes the device. */
	d->state = send_close(d) < 0 ? DEV_WANTED : DEV_TURNING;
	d->retry_at = 0;
}

void
dev_reshape(struct device *d, const struct rnbd_clt_geometry *now)
{
	/*
	 * Users who saw a write-through cache never flush. If it is volatile
	 * now, each of their writes must bring its own durability.
	 */
	if (d->was_open && !d->geo.writeback && now->writeback)
		d->sync_writes = true;
	d->geo = *now;
}

static void
dev_opened(struct device *d, const struct rnbd_msg_open_rsp *m)
{
	struct rnbd_clt_geometry g;

	if (!dev_shape(d->c, m, &g)) {
		snprintf(d->text, sizeof(d->text),
			 "the server describes an impossible disk: %" PRIu64
			 " sectors, blocks of %u bytes",
			 m->nsectors, m->logical_block_size);
		if (!d->was_open) {
			openers_finish(d, -EINVAL, d->text);
			d->id = m->device_id;
			dev_send_close(d);
		} else {
			dev_failed(d);
		}
		return;
	}
	if (d->was_open && !RNBD_MUTANT(GEO_UNCHECKED) &&
	    !dev_shape_fits(d, &g, d->text, sizeof(d->text))) {
		dev_failed(d);
		return;
	}
	if (d->was_open)
		log_info(d->c->log, "device '%s': open again, %s", d->name,
			 rnbd_access_mode_name(d->mode));
	dev_reshape(d, &g);
	if (!RNBD_MUTANT(ID_STALE) || !d->was_open)
		d->id = m->device_id;
	d->incarnation++;
	if (!d->was_open && d->c->counts)
		d->stats = rnbd_stats_device(d->c->counts, d->name);
	d->was_open = true;
	d->open_err = 0;
	d->state = DEV_OPEN;
	openers_serve(d);
	ask_finish(d, 0, "");
	ios_release(d->c);
}

/*
 * Those who have the device only read, and it could not be opened for writing:
 * that is the end for those who wanted to, and no more.
 */
static bool
dev_turn_failed(struct device *d)
{
	struct opener *o, *tmp;

	for (const struct rnbd_clt_dev *h = d->handles; h; h = h->next)
		if (h->mode != RNBD_ACCESS_RO)
			return false;
	if (d->mode == RNBD_ACCESS_RO)
		return false;
	LL_FOREACH_SAFE(d->openers, o, tmp)
		if (o->handle->mode != RNBD_ACCESS_RO)
			opener_finish(d, o, d->open_err, d->text);
	d->state = d->n_handles ? DEV_WANTED : DEV_GONE;
	d->retry_at = 0;
	d->open_err = 0;
	return true;
}

/* OPEN failed and the reason is in d->text. */
static void
dev_open_failed(struct device *d)
{
	ask_finish(d, d->open_err, d->text);
	if (d->was_open && d->n_handles && dev_turn_failed(d))
		return;
	if (d->was_open) {
		/* Said once per kind of error, not at each try. */
		log_warn(d->c->log, "device '%s': cannot open again: %s",
			 d->name, d->text);
		d->state = DEV_WANTED;
		d->retry_at = time_after_ms(d->c->now, REOPEN_RETRY_MS);
		return;
	}
	openers_finish(d, d->open_err, d->text);
	d->state = DEV_GONE;
}

static void
explained(struct device *d, int err)
{
	char text[RNBD_EXPLAIN_RSP_LEN] = "";

	if (!err)
		rnbd_msg_explain_rsp_decode(d->admin.data, RNBD_EXPLAIN_RSP_LEN,
					    text);
	open_error_text(d, d->open_err, text);
	dev_open_failed(d);
}

static void
dev_explain(struct device *d, int err)
{
	if (d->was_open && d->open_err == err) {
		/* The same as at the last try: no need to ask again. */
		ask_finish(d, err, d->text);
		d->state = DEV_WANTED;
		d->retry_at = time_after_ms(d->c->now, REOPEN_RETRY_MS);
		return;
	}
	d->open_err = err;
	d->state = DEV_EXPLAIN;
	rnbd_msg_explain_encode(d->admin.usr);
	d->admin.dir = RTRS_READ;
	d->admin.usr_len = RNBD_EXPLAIN_LEN;
	d->admin.data_len = RNBD_EXPLAIN_RSP_LEN;
	memset(d->admin.data, 0, sizeof(d->admin.data));
	if (admin_send(&d->admin) < 0)
		explained(d, -ECONNABORTED);
}

static void
dev_admin_done(struct admin *a, int err)
{
	struct device *d = container_of(a, struct device, admin);
	struct rnbd_msg_open_rsp m;

	switch (d->state) {
	case DEV_OPENING:
		if (err == -ECONNABORTED) {
			d->state = DEV_WANTED;
			d->retry_at = 0;
			return;
		}
		if (!err)
			err = rnbd_msg_open_rsp_decode(a->data, a->data_len,
						       &m);
		if (err)
			dev_explain(d, err);
		else
			dev_opened(d, &m);
		break;
	case DEV_EXPLAIN:
		explained(d, err);
		break;
	case DEV_CLOSING:
	case DEV_TURNING:
		if (d->close_waits) {
			d->close_waits = false;
			dev_send_close(d);
			break;
		}
		if (err && err != -ECONNABORTED)
			log_warn(d->c->log, "device '%s': CLOSE failed: %s",
				 d->name, strerror(-err));
		if (d->state == DEV_CLOSING)
			dev_closed(d);
		else
			d->state = DEV_WANTED;
		break;
	case DEV_FAILED:
	case DEV_GONE:
		/* Nobody waits for it any more, but the server has opened it.
		 */
		if (!err && a->data_len == RNBD_OPEN_RSP_LEN &&
		    !rnbd_msg_open_rsp_decode(a->data, a->data_len, &m)) {
			d->id = m.device_id;
			dev_send_close(d);
		}
		break;
	case DEV_OPEN:
		if (!err)
			err = rnbd_msg_open_rsp_decode(a->data, a->data_len,
						       &m);
		ask_answered(d, err, &m);
		break;
	case DEV_WANTED:
		break; /* the session was lost meanwhile */
	}
}

/*
 * An older device of this name has still to be closed, or may have to be: its
 * OPEN is out though nobody waits for it. The server knows one of a name, so
 * that CLOSE would hit ours.
 */
static bool
name_is_closing(const struct device *d)
{
	for (const struct device *o = d->c->devices; o; o = o->next) {
		bool given_up = o->state == DEV_FAILED || o->state == DEV_GONE;

		if (o != d && !strcmp(o->name, d->name) &&
		    (o->state == DEV_CLOSING || (given_up && o->admin.busy)))
			return true;
	}
	return false;
}

int
dev_send_open(struct device *d)
{
	struct rnbd_msg_open m = {.access_mode = (uint8_t)d->mode};

	memcpy(m.dev_name, d->name, sizeof(m.dev_name));
	rnbd_msg_open_encode(&m, d->admin.usr);
	d->admin.dir = RTRS_READ;
	d->admin.usr_len = RNBD_OPEN_LEN;
	d->admin.data_len = RNBD_OPEN_RSP_LEN;
	memset(d->admin.data, 0, sizeof(d->admin.data));
	return admin_send(&d->admin);
}

static void
dev_try_open(struct device *d)
{
	/* An answer to the last message may still be on its way. */
	if (d->admin.busy || name_is_closing(d))
		return;
	d->mode = wanted_mode(d);
	d->state = DEV_OPENING;
	if (dev_send_open(d) == 0)
		return;
	/*
	 * No path is up, but the session is told so only when the requests of
	 * the last one have ended; to try all the time until then would spin.
	 */
	d->state = DEV_WANTED;
	d->retry_at = time_after_ms(d->c->now, REOPEN_RETRY_MS);
}

static struct device *
device_new(struct rnbd_clt *c, const char *name)
{
	struct device *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->c = c;
	d->admin.c = c;
	d->admin.done = dev_admin_done;
	snprintf(d->name, sizeof(d->name), "%s", name);
	DL_APPEND(c->devices, d);
	return d;
}

/* The device that a new handle may share. */
static struct device *
device_find(struct rnbd_clt *c, const char *name)
{
	struct device *d;

	DL_FOREACH(c->devices, d)
		if (d->state != DEV_CLOSING && d->state != DEV_GONE &&
		    !strcmp(d->name, name))
			return d;
	return NULL;
}

int
rnbd_clt_dev_open(struct rnbd_clt *c, const char *name,
		  enum rnbd_access_mode mode, rnbd_clt_opened_fn opened,
		  void *user)
{
	struct opener *o;
	struct device *d;

	if (!name[0] || strlen(name) >= RNBD_NAME_LEN)
		return -EINVAL;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->handle = calloc(1, sizeof(*o->handle));
	if (!o->handle)
		goto err_free_opener;
	o->opened = opened;
	o->user = user;
	o->handle->mode = mode;
	d = device_find(c, name);
	if (d && mode != RNBD_ACCESS_RO && wanted_mode(d) != mode &&
	    wanted_mode(d) != RNBD_ACCESS_RO) {
		const char *has = rnbd_access_mode_name(wanted_mode(d));

		d = device_new(c, name);
		if (!d)
			goto err_free_handle;
		d->state = DEV_FAILED;
		d->open_err = -EBUSY;
		snprintf(d->text, sizeof(d->text),
			 "busy: '%.254s' is open with access_mode=%s in this "
			 "session",
			 name, has);
	}
	if (!d)
		d = device_new(c, name);
	if (!d)
		goto err_free_handle;
	o->handle->d = d;
	d->n_handles++;
	LL_APPEND(d->openers, o);
	return 0;
err_free_handle:
	free(o->handle);
err_free_opener:
	free(o);
	return -ENOMEM;
}

void
rnbd_clt_dev_close(struct rnbd_clt_dev *dev, void (*closed)(void *user),
		   void *user)
{
	struct device *d = dev->d;

	LL_DELETE(d->handles, dev);
	free(dev);
	if (--d->n_handles) {
		closed(user);
		return;
	}
	d->closed = closed;
	d->closed_user = user;
	if (d->state != DEV_OPEN || d->c->state != CLT_READY) {
		dev_closed(d);
		return;
	}
	if (d->admin.busy) {
		/* A command: an OPEN that the CLOSE overtakes would stay. */
		d->state = DEV_CLOSING;
		d->close_waits = true;
		ask_finish(d, -ENOENT, CLOSED_MEANWHILE);
		return;
	}
	dev_send_close(d);
}

void
rnbd_clt_dev_geometry(const struct rnbd_clt_dev *dev,
		      struct rnbd_clt_geometry *ret)
{
	*ret = dev->d->geo;
}

const char *
rnbd_clt_dev_failed(const struct rnbd_clt_dev *dev)
{
	return dev->d->state == DEV_FAILED ? dev->d->text : NULL;
}

void
dev_lost(struct device *d)
{
	if (d->state != DEV_OPEN)
		return;
	log_warn(d->c->log, "device '%s': the server closed it", d->name);
	/* A command finds it when it is open again. */
	d->state = DEV_WANTED;
	d->retry_at = 0;
}

void
devs_session_ready(struct rnbd_clt *c)
{
	struct device *d;

	DL_FOREACH(c->devices, d)
		if (d->state == DEV_WANTED)
			dev_try_open(d);
}

void
devs_session_lost(struct rnbd_clt *c)
{
	struct device *d;

	DL_FOREACH(c->devices, d) {
		admin_cancel(&d->admin);
		ask_finish(d, -ENOTCONN, LOST_MEANWHILE);
		switch (d->state) {
		case DEV_OPEN:
		case DEV_OPENING:
		case DEV_EXPLAIN:
		case DEV_TURNING:
		case DEV_WANTED:
			d->state = DEV_WANTED;
			d->retry_at = 0;
			break;
		case DEV_CLOSING: /* the server closes what a session had */
			dev_closed(d);
			break;
		case DEV_FAILED:
		case DEV_GONE:
			break;
		}
	}
}

/* There will be no session to open it in. */
static void
dev_give_up(struct device *d)
{
	struct rnbd_clt *c = d->c;
	bool failed = c->state == CLT_FAILED;

	d->state = DEV_FAILED;
	d->open_err = failed ? c->failed_err : -ESHUTDOWN;
	snprintf(d->text, sizeof(d->text), "%s",
		 failed ? rtrs_clt_why_down(c->rtrs) : CLOSED_TEXT);
}

void
devs_session_failed(struct rnbd_clt *c)
{
	struct device *d;

	devs_session_lost(c);
	DL_FOREACH(c->devices, d)
		if (d->state == DEV_WANTED)
			dev_give_up(d);
}

/* Openers that waited for the session longer than they may. */
static void
openers_expire(struct device *d)
{
	struct rnbd_clt *c = d->c;
	struct opener *o = d->openers;

	if (!o || !c->open_timeout_ms)
		return;
	LL_FOREACH(d->openers, o)
		if (!o->deadline)
			o->deadline = time_after_ms(c->now, c->open_timeout_ms);
	/* The first in the list waits longest. */
	if (d->openers->deadline > c->now)
		return;
	session_silent_text(c, d->text, sizeof(d->text));
	while (d->openers && d->openers->deadline <= c->now)
		opener_finish(d, d->openers, -ETIMEDOUT, d->text);
	if (d->n_handles)
		return;
	/* An answer may still come: the object stays until then. */
	d->state = d->admin.busy && !d->admin.waiting ? DEV_FAILED : DEV_GONE;
}

void
devs_progress(struct rnbd_clt *c)
{
	struct device *d, *tmp;

	DL_FOREACH_SAFE(c->devices, d, tmp) {
		if (d->state == DEV_WANTED && c->state >= CLT_FAILED)
			dev_give_up(d);
		if (d->state == DEV_FAILED && d->openers)
			openers_finish(d, d->open_err ? d->open_err : -EIO,
				       d->text);
		if (d->state == DEV_OPEN && d->openers)
			openers_serve(d);
		openers_expire(d);
		if (d->state == DEV_OPEN && c->state == CLT_READY &&
		    d->mode != wanted_mode(d) && !d->admin.busy)
			dev_turn(d);
		if (ask_is_due(d))
			ask_start(d);
		if (d->state == DEV_WANTED && c->state == CLT_READY &&
		    d->retry_at <= c->now)
			dev_try_open(d);
		if (d->state == DEV_FAILED && !d->n_handles)
			d->state = DEV_GONE;
		if (d->state == DEV_GONE) {
			admin_cancel(&d->admin);
			if (d->admin.busy)
				continue;
			DL_DELETE(c->devices, d);
			free(d);
		}
	}
}

uint64_t
devs_deadline(const struct rnbd_clt *c)
{
	uint64_t t = TIME_NEVER;

	for (const struct device *d = c->devices; d; d = d->next) {
		if (d->state == DEV_WANTED && c->state == CLT_READY &&
		    !d->admin.busy && !name_is_closing(d))
			t = time_min(t, d->retry_at);
		if (d->openers && (d->state == DEV_FAILED ||
				   c->state >= CLT_FAILED || is_served(d)))
			return 0;
		if (d->state == DEV_OPEN && c->state == CLT_READY &&
		    d->mode != wanted_mode(d) && !d->admin.busy)
			return 0;
		if (ask_is_due(d))
			return 0;
		if (d->openers && c->open_timeout_ms)
			t = time_min(t, d->openers->deadline);
		if (d->state == DEV_GONE && !d->admin.busy)
			return 0;
	}
	return t;
}

void
devs_free(struct rnbd_clt *c)
{
	struct rnbd_clt_dev *h, *htmp;
	struct device *d, *tmp;

	DL_FOREACH_SAFE(c->devices, d, tmp) {
		openers_finish(d, -ESHUTDOWN, CLOSED_TEXT);
		ask_finish(d, -ESHUTDOWN, CLOSED_TEXT);
		if (d->closed)
			d->closed(d->closed_user);
		LL_FOREACH_SAFE(d->handles, h, htmp)
			free(h); /* it was not closed; it means nothing now */
		DL_DELETE(c->devices, d);
		free(d);
	}
}
