/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a backend that talks to others needs of the loop of its worker: to be
 * told when a descriptor is ready or a time has come. An interface, because the
 * gateway's core knows no loop: the worker implements it (worker-events.c), and
 * tests do.
 *
 * Everything here belongs to the worker's thread. The functions called back
 * may use all of it, and free what called them.
 */
#ifndef GATEWAY_BACKEND_EVENTS_H
#define GATEWAY_BACKEND_EVENTS_H

#include <stdint.h>

#include "gateway/backend/backend.h"

struct gw_watch;
struct gw_alarm;

#define GW_READ  BIT(0)
#define GW_WRITE BIT(1)

struct gw_events {
	const struct gw_events_ops *ops;
	/*
	 * For work that waits for other machines, perhaps long: threads apart
	 * from those that wait for disks.
	 */
	struct gw_exec *exec;
};

struct gw_events_ops {
	/* Nanoseconds of the monotonic clock. */
	uint64_t (*now)(struct gw_events *ev);
	/*
	 * Calls ready() with what fd is ready for (level-triggered), out of
	 * interest: GW_READ, GW_WRITE. -ENOMEM and such. fd may be closed by
	 * whoever owns it before unwatch(), but not be opened again.
	 */
	int (*watch)(struct gw_events *ev, int fd, unsigned interest,
		     void (*ready)(void *user, unsigned what), void *user,
		     struct gw_watch **ret);
	int (*interest)(struct gw_events *ev, struct gw_watch *w,
			unsigned interest);
	void (*unwatch)(struct gw_events *ev, struct gw_watch *w);
	/* Calls due() once at a time of now(); TIME_NEVER takes it back. */
	int (*alarm)(struct gw_events *ev, void (*due)(void *user), void *user,
		     struct gw_alarm **ret);
	int (*set)(struct gw_events *ev, struct gw_alarm *a, uint64_t when);
	void (*unalarm)(struct gw_events *ev, struct gw_alarm *a);
};

#endif
