/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the server may still have open from before the session was lost.
 *
 * That all paths are lost here does not mean that the session is lost there: a
 * server that has one of them still, until its heartbeats end it, takes the
 * others back into the same session, with the devices that are open in it. An
 * OPEN of one of these gets what there is, whatever mode it asks for, and what
 * is not asked for stays open, and others are kept from writing.
 *
 *   id known    CLOSE, before the first OPEN of the new session: no id of it is
 *               in use then that a CLOSE might hit. Unless the device is wanted
 *               as it was: OPEN finds it, or opens it anew.
 *   not known   (an OPEN without an answer, or it is too late for the above)
 *               the answer to the next OPEN tells the id. If the mode may be
 *               another one: CLOSE, and OPEN once more. If nobody wants the
 *               device: OPEN to read, and CLOSE.
 *
 * A server that has closed everything answers CLOSE of an unknown id with
 * success, so the devices of a session bound what is remembered.
 */
#include "nbdkit-plugin/rnbd-priv.h"

#include <errno.h>
#include <string.h>

#include <utlist.h>

void
dev_leave(struct device *d, bool id)
{
	d->left_modes |= BIT(d->mode);
	d->left_id = id;
}

static void
forget(struct device *d)
{
	d->left_modes = 0;
	d->left_id = false;
}

void
dev_left_answered(struct device *d, int err)
{
	bool closes = d->admin.dir == RTRS_WRITE;

	/* An EXPLAIN, or the OPEN of what is open, which changes nothing. */
	if (!closes && (d->admin.data_len != RNBD_OPEN_RSP_LEN ||
			d->state == DEV_OPEN || d->state == DEV_CLOSING))
		return;
	if (err == -ECONNABORTED)
		dev_leave(d, closes);
	else if (err != -ENOMEM && (closes || err))
		forget(d); /* it was closed, or OPEN did not find it */
}

static bool
is_wanted_so(const struct device *d)
{
	return d->state == DEV_WANTED && d->left_modes == BIT(wanted_mode(d));
}

void
devs_left_close(struct rnbd_clt *c)
{
	struct device *d;
	int r;

	DL_FOREACH(c->devices, d) {
		bool known = d->left_id;

		/* With the first OPEN it may be that of another device. */
		d->left_id = false;
		if (!known || is_wanted_so(d))
			continue;
		r = dev_say_close(d);
		if (r < 0)
			log_info(c->log,
				 "device '%s': no CLOSE of what was left "
				 "open: %s; OPEN comes first",
				 d->name, strerror(-r));
	}
}

bool
dev_left_differs(const struct device *d)
{
	return d->left_modes & ~BIT(d->mode);
}

void
dev_left_inherit(struct device *d)
{
	struct device *o;

	DL_FOREACH(d->c->devices, o) {
		if (o == d || !dev_is_left(o) || o->admin.busy ||
		    strcmp(o->name, d->name))
			continue;
		d->id = o->id;
		d->left_modes = o->left_modes;
		d->left_id = o->left_id;
		forget(o);
	}
}

bool
dev_is_left(const struct device *d)
{
	return d->state == DEV_GONE && d->left_modes &&
	       d->c->state < CLT_FAILED;
}

bool
dev_left_find_is_due(const struct device *d)
{
	return dev_is_left(d) && d->c->state == CLT_READY && !d->admin.busy &&
	       !strays_are_out(d->c);
}

void
dev_left_find(struct device *d)
{
	/* If there is nothing to be found, it is in nobody's way. */
	d->mode = RNBD_ACCESS_RO;
	d->retry_at = time_after_ms(d->c->now, CLOSE_RETRY_MS);
	if (++d->close_tries > CLOSE_TRIES) {
		log_warn(d->c->log,
			 "device '%s': the server may have it open until the "
			 "session ends",
			 d->name);
		forget(d);
		return;
	}
	/* Without a path it waits for the next session. */
	if (dev_send_open(d) < 0)
		d->close_tries--;
}
