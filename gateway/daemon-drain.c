/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How the daemon ends: nobody new is let in, each worker answers what came and
 * closes its sessions, and the last one ends the loop.
 */
#include "gateway/daemon-priv.h"

#include "gateway/backend/cancel.h"
#include "gateway/notify.h"

/* On the control thread: all connection requests that were on their way to
 * that worker are taken. */
static void
on_worker_begun(struct loop_call *call)
{
	struct farewell *f = container_of(call, struct farewell, call);
	struct daemon *d = f->daemon;

	if (++d->n_begun == d->n_workers)
		free_listeners(d);
}

/* On the worker's thread. */
static void
stop_worker(struct loop_call *call)
{
	struct farewell *f = container_of(call, struct farewell, call);

	worker_stop(f->daemon->workers[f->index]);
	f->call.fn = on_worker_begun;
	loop_post(f->daemon->loop, &f->call);
}

void
end_if_drained(struct daemon *d)
{
	if (d->draining && d->n_done == d->n_workers && !d->env.n_looks)
		loop_stop(d->loop);
}

static void
on_worker_done(struct loop_call *call)
{
	struct farewell *f = container_of(call, struct farewell, call);
	struct daemon *d = f->daemon;

	if (d->watchdog)
		watchdog_gone(d->watchdog, f->index);
	d->n_done++;
	end_if_drained(d);
}

void
worker_stopped(void *user)
{
	struct farewell *f = user;

	f->call.fn = on_worker_done;
	loop_post(f->daemon->loop, &f->call);
}

void
begin_drain(struct daemon *d)
{
	d->draining = d->env.draining = true;
	gw_cancel(d->cancel_fd, d->log);
	notify_stopping("draining");
	control_free(d->control);
	d->control = NULL;
	metrics_free(d->metrics);
	d->metrics = NULL;
	/* Not freed yet: requests that are on their way still belong to the
	 * listener's context. */
	for (unsigned i = 0; i < d->n_listeners; i++) {
		loop_unwatch(d->listeners[i].watch);
		d->listeners[i].watch = NULL;
	}
	for (unsigned i = 0; i < d->n_workers; i++) {
		d->begun[i].call.fn = stop_worker;
		worker_post(d->workers[i], &d->begun[i].call);
	}
}
