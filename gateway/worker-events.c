/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/worker-events.h"

#include "gateway/os.h"

_Static_assert(GW_READ == LOOP_READ && GW_WRITE == LOOP_WRITE,
	       "one set of bits");

static struct worker_events *
of(struct gw_events *ev)
{
	return container_of(ev, struct worker_events, base);
}

static uint64_t
now(struct gw_events *ev)
{
	return os_now();
}

/* A gw_watch is a loop_io and a gw_alarm is a loop_alarm, under other names. */
static int
watch(struct gw_events *ev, int fd, unsigned interest,
      void (*ready)(void *user, unsigned what), void *user,
      struct gw_watch **ret)
{
	struct loop_io *io;
	int r = loop_io_new(of(ev)->loop, fd, interest, ready, user, &io);

	if (r < 0)
		return r;
	of(ev)->n_watches++;
	*ret = (struct gw_watch *)io;
	return 0;
}

static int
set_interest(struct gw_events *ev, struct gw_watch *w, unsigned interest)
{
	return loop_io_interest((struct loop_io *)w, interest);
}

static void
unwatch(struct gw_events *ev, struct gw_watch *w)
{
	if (w)
		of(ev)->n_watches--;
	loop_io_free((struct loop_io *)w);
}

static int
new_alarm(struct gw_events *ev, void (*due)(void *user), void *user,
	  struct gw_alarm **ret)
{
	struct loop_alarm *a;
	int r = loop_alarm_new(of(ev)->loop, due, user, &a);

	if (r < 0)
		return r;
	*ret = (struct gw_alarm *)a;
	return 0;
}

static int
set_alarm(struct gw_events *ev, struct gw_alarm *a, uint64_t when)
{
	return loop_alarm_set((struct loop_alarm *)a, os_now(), when);
}

static void
unalarm(struct gw_events *ev, struct gw_alarm *a)
{
	loop_alarm_free((struct loop_alarm *)a);
}

static const struct gw_events_ops ops = {
	.now = now,
	.watch = watch,
	.interest = set_interest,
	.unwatch = unwatch,
	.alarm = new_alarm,
	.set = set_alarm,
	.unalarm = unalarm,
};

void
worker_events_init(struct worker_events *we, struct loop *loop,
		   struct gw_exec *exec)
{
	*we = (struct worker_events){
		.base = {.ops = &ops, .exec = exec},
		.loop = loop,
	};
}
