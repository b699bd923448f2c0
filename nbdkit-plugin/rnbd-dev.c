/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices of the session: who has them or waits for them, and when they are
 * opened, opened again, given up and closed. */
#include "nbdkit-plugin/rnbd-priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

void
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

void
openers_finish(struct device *d, int err, const char *text)
{
	while (d->openers)
		opener_finish(d, d->openers, err, text);
}

void
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

enum rnbd_access_mode
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

void
dev_closed(struct device *d)
{
	d->state = DEV_GONE;
	d->close_waits = false;
	ask_finish(d, -ENOENT, CLOSED_MEANWHILE);
	if (d->closed)
		d->closed(d->closed_user);
	d->closed = NULL;
}

/*
 * An older device of this name has still to be closed, or may have to be: its
 * OPEN is out though nobody waits for it, or it was left open. The server knows
 * one of a name, so that CLOSE would hit ours.
 */
static bool
name_is_closing(const struct device *d)
{
	for (const struct device *o = d->c->devices; o; o = o->next) {
		bool given_up = o->state == DEV_FAILED || o->state == DEV_GONE;

		if (o != d && !strcmp(o->name, d->name) &&
		    (o->state == DEV_CLOSING || dev_is_left(o) ||
		     (given_up && o->admin.busy)))
			return true;
	}
	return false;
}

/*
 * Requests are under way with the id of a device that is not open any more: the
 * server may give it to the one that is opened next. So does a CLOSE whose
 * answer is still to come: it may have been executed, and be sent once more
 * when its path is lost. But a CLOSE takes as long as a disk that hangs, and
 * that must not keep the others away: see dev_opened().
 */
bool
strays_are_out(const struct rnbd_clt *c)
{
	for (const struct device *o = c->devices; o; o = o->next)
		if ((o->state != DEV_OPEN && o->n_out) ||
		    (close_is_out(o) && c->now < close_patience_ends(o)))
			return true;
	return false;
}

static void
dev_try_open(struct device *d)
{
	/* An answer to the last message may still be on its way. */
	if (d->admin.busy || name_is_closing(d) || strays_are_out(d->c))
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
	if (!d) {
		d = device_new(c, name);
		if (!d)
			goto err_free_handle;
		dev_left_inherit(d);
	}
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

/* Its turn has sent the CLOSE, or that waits for a permit. */
static bool
turn_closes(const struct device *d)
{
	return d->c->state == CLT_READY && d->state == DEV_TURNING &&
	       close_is_out(d);
}

/* The server has it open, and no CLOSE is out. */
static bool
is_open_there(const struct device *d)
{
	return d->c->state == CLT_READY &&
	       (d->state == DEV_OPEN ||
		(d->state == DEV_TURNING && d->close_waits));
}

/* Nobody has it any more. */
static void
dev_let_go(struct device *d)
{
	if (turn_closes(d)) {
		d->state = DEV_CLOSING;
		return;
	}
	if (!is_open_there(d)) {
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
	dev_let_go(d);
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
	/*
	 * A command finds it when it is open again: at once, but if it does not
	 * stay open only each REOPEN_RETRY_MS. A server that opens it and does
	 * not know it then would be asked all the time else.
	 */
	d->state = DEV_WANTED;
	d->retry_at = d->c->now < d->reopen_at ? d->reopen_at : 0;
	d->reopen_at = time_after_ms(d->retry_at ? d->retry_at : d->c->now,
				     REOPEN_RETRY_MS);
}

void
devs_session_ready(struct rnbd_clt *c)
{
	struct device *d;

	devs_left_close(c);
	DL_FOREACH(c->devices, d)
		if (d->state == DEV_WANTED)
			dev_try_open(d);
}

/* As far as is known. What was sent has ended; a CLOSE may not be sent yet. */
static bool
is_at_server(const struct device *d)
{
	return d->state == DEV_OPEN || d->state == DEV_TURNING ||
	       d->state == DEV_CLOSING || close_is_out(d);
}

void
devs_session_lost(struct rnbd_clt *c)
{
	struct device *d;

	DL_FOREACH(c->devices, d) {
		if (is_at_server(d))
			dev_leave(d, true);
		admin_cancel(&d->admin);
		ask_finish(d, -ENOTCONN, LOST_MEANWHILE);
		d->retry_at = 0;
		switch (d->state) {
		case DEV_OPEN:
		case DEV_TURNING:
		case DEV_OPENING:
		case DEV_EXPLAIN:
		case DEV_WANTED:
			d->state = DEV_WANTED;
			d->close_waits = false;
			break;
		case DEV_CLOSING:
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
	int err = -ETIMEDOUT;

	if (!o || !c->open_timeout_ms)
		return;
	LL_FOREACH(d->openers, o)
		if (!o->deadline)
			o->deadline = time_after_ms(c->now, c->open_timeout_ms);
	/* The first in the list waits longest. */
	if (d->openers->deadline > c->now)
		return;
	/* The server may have said why, each time. */
	if (c->state == CLT_READY && d->open_err && d->state != DEV_EXPLAIN)
		err = d->open_err;
	else
		session_silent_text(c, d->text, sizeof(d->text));
	while (d->openers && d->openers->deadline <= c->now)
		opener_finish(d, d->openers, err, d->text);
	if (d->n_handles)
		return;
	if (is_open_there(d) || turn_closes(d)) {
		dev_let_go(d);
		return;
	}
	/* An answer may still come: the object stays until then. */
	d->state = d->admin.busy && !d->admin.waiting ? DEV_FAILED : DEV_GONE;
}

/* The end of the session ends that: devs_session_lost(). */
static bool
close_waits_for_memory(const struct device *d)
{
	return d->state == DEV_CLOSING && d->close_waits && !d->admin.busy;
}

/* It is open in another mode than those who have it, or want it, need. */
static bool
turn_is_due(const struct device *d)
{
	return d->state == DEV_OPEN && d->c->state == CLT_READY &&
	       d->mode != wanted_mode(d) && !d->admin.busy;
}

static bool
turn_waits(const struct device *d)
{
	return d->state == DEV_TURNING && d->close_waits;
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
		if (turn_is_due(d) && d->retry_at <= c->now)
			dev_turn(d);
		else if (turn_waits(d) && d->retry_at <= c->now)
			dev_turn_on(d);
		if (ask_is_due(d))
			ask_start(d);
		if (d->state == DEV_WANTED && c->state == CLT_READY &&
		    d->retry_at <= c->now)
			dev_try_open(d);
		if (close_waits_for_memory(d) && d->retry_at <= c->now)
			dev_send_close(d);
		if (d->state == DEV_FAILED && !d->n_handles)
			d->state = DEV_GONE;
		if (dev_left_find_is_due(d) && d->retry_at <= c->now)
			dev_left_find(d);
		if (d->state == DEV_GONE && !dev_is_left(d)) {
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
	bool strays = strays_are_out(c);
	uint64_t t = TIME_NEVER;

	for (const struct device *d = c->devices; d; d = d->next) {
		if (d->state == DEV_WANTED && c->state == CLT_READY &&
		    !d->admin.busy && !name_is_closing(d) && !strays)
			t = time_min(t, d->retry_at);
		if (d->openers && (d->state == DEV_FAILED ||
				   c->state >= CLT_FAILED || is_served(d)))
			return 0;
		if (turn_is_due(d))
			t = time_min(t, d->retry_at);
		if (turn_waits(d) && !d->n_out)
			t = time_min(t, d->retry_at);
		if (ask_is_due(d))
			return 0;
		if (close_waits_for_memory(d))
			t = time_min(t, d->retry_at);
		if (d->openers && c->open_timeout_ms)
			t = time_min(t, d->openers->deadline);
		if (dev_left_find_is_due(d))
			t = time_min(t, d->retry_at);
		if (close_is_out(d) && c->now < close_patience_ends(d))
			t = time_min(t, close_patience_ends(d));
		if (d->state == DEV_GONE && !dev_is_left(d) && !d->admin.busy)
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
