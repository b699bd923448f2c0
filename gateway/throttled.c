/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests that wait because of the limits of their export: per device in order
 * of arrival, all devices of a server in one heap by time. Only the first of a
 * device takes its turn, so that devices share a limit in turns, however many
 * requests each of them sends.
 */
#include <errno.h>

#include "gateway/session.h"

/* What moves over the wire is what bandwidth counts. */
static uint64_t
bytes_of(const struct gw_req *req)
{
	return req->main_op == BACKEND_READ || req->main_op == BACKEND_WRITE
		       ? req->len
		       : 0;
}

/* When req may begin. */
static uint64_t
take_turn(struct gw_req *req)
{
	struct gw_device *dev = req->dev;

	dev->limits_gen = gw_throttle_gen(dev->throttle);
	return gw_throttle_take(dev->throttle,
				rtrs_srv_now(dev->sess->srv->rtrs),
				bytes_of(req));
}

static struct gw_req *
pop(struct gw_device *dev)
{
	struct gw_req *req = dev->throttled;

	dev->throttled = req->next;
	if (!dev->throttled)
		dev->throttled_tail = NULL;
	req->next = NULL;
	dev->n_throttled--;
	dev->sess->srv->stats.throttled_now--;
	return req;
}

bool
gw_throttled_wait(struct gw_req *req)
{
	struct gw_device *dev = req->dev;
	struct gw_server *s = dev->sess->srv;
	uint64_t at;

	/* A flush moves nothing, and to hold it back would only keep more in
	 * the caches. */
	if (req->main_op == BACKEND_FLUSH)
		return false;
	if (!dev->throttled) {
		if (likely(!gw_throttle_limits(dev->throttle)))
			return false;
		at = take_turn(req);
		if (at <= rtrs_srv_now(s->rtrs))
			return false;
		dues_set(&s->due, &dev->due, at);
		dev->throttled = req;
	} else {
		dev->throttled_tail->next = req;
	}
	dev->throttled_tail = req;
	dev->n_throttled++;
	s->stats.throttled_now++;
	s->stats.throttled++;
	return true;
}

/* The first has changed: when is it due? */
static void
set_due(struct gw_device *dev)
{
	struct gw_server *s = dev->sess->srv;

	if (dev->throttled)
		dues_set(&s->due, &dev->due, take_turn(dev->throttled));
	else
		dues_set(&s->due, &dev->due, TIME_NEVER);
}

void
gw_throttled_run(struct gw_server *s)
{
	uint64_t now = rtrs_srv_now(s->rtrs);
	struct due *due;

	while ((due = dues_first(&s->due)) && due->at <= now) {
		struct gw_device *dev =
			container_of(due, struct gw_device, due);
		struct gw_req *req = pop(dev);

		set_due(dev);
		gw_io_begin(req);
	}
}

void
gw_throttled_recheck(struct gw_device *dev)
{
	if (dev->throttled && dev->limits_gen != gw_throttle_gen(dev->throttle))
		set_due(dev);
}

void
gw_throttled_drop(struct gw_device *dev, bool lost_only)
{
	const struct gw_req *first = dev->throttled;

	/* Each once; what stays comes back in its order. */
	for (unsigned n = dev->n_throttled; n; n--) {
		struct gw_req *req = pop(dev);

		if (!lost_only || rtrs_srv_op_lost(req->op)) {
			gw_io_end(req, -ENOTCONN);
			continue;
		}
		if (dev->throttled)
			dev->throttled_tail->next = req;
		else
			dev->throttled = req;
		dev->throttled_tail = req;
		dev->n_throttled++;
		dev->sess->srv->stats.throttled_now++;
	}
	if (dev->throttled != first)
		set_due(dev);
}

void
gw_throttled_drop_sess(struct gw_sess *sess, bool lost_only)
{
	struct gw_device *dev;

	if (!sess->srv->stats.throttled_now)
		return;
	for (dev = sess->devs; dev; dev = dev->next)
		if (dev->throttled)
			gw_throttled_drop(dev, lost_only);
}
