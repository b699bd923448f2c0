/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices as their administrator sees them, and asks for them again. */
#include "nbdkit-plugin/rnbd-priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *
state_name(const struct device *d)
{
	if (d->state == DEV_FAILED)
		return "failed";
	if (d->state == DEV_OPEN && d->c->state == CLT_READY)
		return "open";
	return d->was_open ? "closed" : "init";
}

/* Why the device is not open, as far as anything is known. */
static const char *
why(const struct device *d)
{
	if (d->state == DEV_OPEN && d->c->state == CLT_READY)
		return "";
	if (d->state == DEV_FAILED || (d->open_err && d->state == DEV_WANTED))
		return d->text;
	return d->c->state == CLT_READY ? "" : rtrs_clt_why_down(d->c->rtrs);
}

void
rnbd_clt_for_each_dev(const struct rnbd_clt *c,
		      void (*fn)(void *user,
				 const struct rnbd_clt_dev_info *info),
		      void *user)
{
	for (const struct device *d = c->devices; d; d = d->next) {
		if (d->state == DEV_GONE || d->state == DEV_CLOSING)
			continue;
		fn(user, &(struct rnbd_clt_dev_info){
				 .name = d->name,
				 .state = state_name(d),
				 .why = why(d),
				 .mode = d->mode,
				 .users = d->n_handles,
				 .id = d->id,
				 .geo = d->geo,
			 });
	}
}

/* ------------------------------------------------------------- commands */

bool
ask_is_due(const struct device *d)
{
	return d->ask && !d->ask->sent && d->state == DEV_OPEN &&
	       d->c->state == CLT_READY && !d->admin.busy;
}

void
ask_start(struct device *d)
{
	d->ask->sent = true;
	if (d->ask->what == RNBD_CLT_REMAP)
		dev_turn(d);
	else if (dev_send_open(d) < 0)
		/* No path is up, which the session is told of later. */
		ask_finish(d, -ENOTCONN, "the session is not connected");
}

void
ask_finish(struct device *d, int err, const char *text)
{
	struct ask *a = d->ask;

	if (!a)
		return;
	d->ask = NULL;
	a->asked(a->user, err, d->geo.size_bytes, text);
	free(a);
}

void
ask_answered(struct device *d, int err, const struct rnbd_msg_open_rsp *m)
{
	struct rnbd_clt_geometry g;
	char text[256];

	if (!d->ask)
		return;
	if (err == -ECONNABORTED) {
		ask_finish(d, -ENOTCONN, LOST_MEANWHILE);
		return;
	}
	if (err) {
		snprintf(text, sizeof(text),
			 "the server refuses to open it: %s", strerror(-err));
		ask_finish(d, err, text);
		return;
	}
	if (!dev_shape(d->c, m, &g)) {
		ask_finish(d, -EINVAL,
			   "the server describes an impossible disk");
		return;
	}
	/* They go on with what they know; the part that is gone fails. */
	if (!dev_shape_fits(d, &g, text, sizeof(text))) {
		ask_finish(d, -EINVAL, text);
		return;
	}
	dev_reshape(d, &g);
	if (m->device_id != d->id && id_is_closing(d, m->device_id)) {
		/* It was, and that CLOSE may come again: as dev_opened(). */
		ask_finish(d, -EAGAIN, "the server has closed it meanwhile");
		dev_leave(d, false);
		dev_lost(d);
		return;
	}
	if (m->device_id != d->id) {
		/* It was closed there meanwhile, as if by a remap. */
		d->id = m->device_id;
		d->incarnation++;
	}
	ask_finish(d, 0, "");
}

__attribute__((format(printf, 4, 5))) static int
refuse(char *text, size_t len, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, len, fmt, ap);
	va_end(ap);
	return err;
}

static struct device *
find(const struct rnbd_clt *c, const char *name)
{
	for (struct device *d = c->devices; d; d = d->next)
		if (d->state != DEV_CLOSING && d->state != DEV_GONE &&
		    d->n_handles && !strcmp(d->name, name))
			return d;
	return NULL;
}

int
rnbd_clt_dev_ask(struct rnbd_clt *c, const char *name, enum rnbd_clt_ask what,
		 rnbd_clt_asked_fn asked, void *user, char *text,
		 size_t text_len)
{
	struct device *d = find(c, name);

	if (!d)
		return refuse(text, text_len, -ENOENT,
			      "nobody has a device '%.254s' open", name);
	if (d->state == DEV_FAILED)
		return refuse(text, text_len, -EIO,
			      "'%.254s' failed for good: %s; its NBD clients "
			      "have to let go of it",
			      name, d->text);
	if (c->state != CLT_READY)
		return refuse(text, text_len, -ENOTCONN,
			      "the session is not connected%s%s; the device is "
			      "asked for again when it is",
			      *rtrs_clt_why_down(c->rtrs) ? ": " : "",
			      rtrs_clt_why_down(c->rtrs));
	if (!d->was_open || d->ask)
		return refuse(text, text_len, -EBUSY,
			      "'%.254s' is being %s just now", name,
			      d->ask ? "asked for" : "opened");
	d->ask = calloc(1, sizeof(*d->ask));
	if (!d->ask)
		return refuse(text, text_len, -ENOMEM, "out of memory");
	*d->ask = (struct ask){.what = what, .asked = asked, .user = user};
	return 0;
}
