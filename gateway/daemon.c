/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/daemon-priv.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/access.h"
#include "gateway/backend/cancel.h"
#include "gateway/notify.h"
#include "gateway/os.h"
#include "gateway/pid-file.h"
#include "gateway/preflight.h"
#include "gateway/reload.h"
#include "rtrs/base/remedy.h"

/* Threads for blocking work, of each pool; they start as they are needed. */
#define POOL_THREADS   16
/* They only wait: many for a machine that is gone leave some for the others. */
#define REMOTE_THREADS 128

/* ----------------------------------------------------------------- loop */

static bool
prepare(void *user)
{
	struct daemon *d = user;
	uint64_t now = os_now(), deadline = TIME_NEVER;
	bool busy = false;

	if (d->watchdog)
		deadline = watchdog_run(d->watchdog, now);
	for (unsigned i = 0; !d->draining && i < d->n_listeners; i++) {
		struct rtrs_listener *l = d->listeners[i].rtrs;

		rtrs_listener_progress(l, now);
		busy |= rtrs_listener_arm(l);
		deadline = time_min(deadline, rtrs_listener_deadline(l));
	}
	gw_access_tick(d->access);
	deadline = time_min(deadline, gw_access_deadline(d->access));
	if (!busy)
		loop_timer_set(d->timer, now, deadline);
	return busy;
}

/* ------------------------------------------------------------------ end */

static void
on_signal(void *user)
{
	struct daemon *d = user;

	if (d->draining) {
		log_warn(d->log, "second signal: ending at once");
		pid_file_free(d->pid_file);
		_exit(1);
	}
	log_info(d->log, "draining: requests under way are answered, sessions "
			 "closed; a second signal ends at once");
	begin_drain(d);
}

/* -------------------------------------------------------------- control */

static int
reload_hook(void *user, char text[CONF_TEXT_MAX])
{
	return daemon_reload(user, text);
}

static void
on_drain(struct loop_call *call)
{
	struct daemon *d = container_of(call, struct daemon, drain_call);

	if (d->draining)
		return;
	log_info(d->log, "draining, as asked for on the control socket");
	begin_drain(d);
}

/* Not from inside the call of a client: that goes with the socket. */
static void
drain(void *user)
{
	struct daemon *d = user;

	if (d->drain_call.fn)
		return;
	d->drain_call.fn = on_drain;
	loop_post(d->loop, &d->drain_call);
}

static int
start_control(struct daemon *d)
{
	char text[CONTROL_TEXT_MAX];
	struct control_params p = {
		.loop = d->loop,
		.path = d->o->control,
		.methods = control_methods,
		.user = &d->env,
		.log = d->log,
		.has_group = d->o->has_control_group,
		.group = d->o->control_group,
	};
	int r;

	if (!d->o->control)
		return 0;
	d->env = (struct control_env){
		.loop = d->loop,
		.started = d->started,
		.base_at = d->started,
		.log = d->log,
		.exports = d->exports,
		.access = d->access,
		.workers = d->workers,
		.for_each_listener = for_each_listener,
		.reload = reload_hook,
		.remote = gw_pool_exec_base(d->remote_exec),
		.cancel_fd = d->cancel_fd,
		.drain = drain,
		.user = d,
	};
	r = control_new(&p, text, &d->control);
	if (r < 0)
		log_err(d->log, "%s", text);
	return r;
}

/* -------------------------------------------------------------- metrics */

static int
start_metrics(struct daemon *d)
{
	char text[HTTP_TEXT_MAX];
	struct metrics_params p = {
		.loop = d->loop,
		.addr = &d->o->metrics,
		.workers = d->workers,
		.n_workers = d->n_workers,
		.exports = d->exports,
		.access = d->access,
		.for_each_listener = for_each_listener,
		.user = d,
	};
	int r;

	if (!d->o->has_metrics)
		return 0;
	r = metrics_new(&p, text, &d->metrics);
	if (r < 0)
		log_err(d->log, "%s", text);
	else
		log_info(d->log, "metrics at %s", metrics_uri(d->metrics));
	return r;
}

/* ------------------------------------------------------ service manager */

static void
ask_worker(void *user, unsigned i, struct loop_call *call)
{
	struct daemon *d = user;

	worker_post(d->workers[i], call);
}

static void
on_workers_alive(void *user)
{
	notify_alive();
}

static void
on_worker_late(void *user, unsigned i, uint64_t since)
{
	struct daemon *d = user;

	log_warn(d->log, "worker %u has not answered for %" PRIu64 " ms", i,
		 (os_now() - since) / NSEC_PER_MSEC);
}

/* The manager's watchdog is fed by the workers: a control thread that runs
 * proves nothing about them. */
static int
start_watchdog(struct daemon *d)
{
	struct watchdog_params p = {
		.loop = d->loop,
		.n = d->n_workers,
		.interval = notify_watchdog_ns() / 3,
		.post = ask_worker,
		.alive = on_workers_alive,
		.late = on_worker_late,
		.user = d,
	};

	if (notify_missing())
		log_warn(d->log, "NOTIFY_SOCKET is set, but this is a build "
				 "without libsystemd: nobody is notified");
	return p.interval ? watchdog_new(&p, &d->watchdog) : 0;
}

static void
tell_ready(const struct daemon *d)
{
	char text[64];

	snprintf(text, sizeof(text), "serving on %u address%s", d->n_listeners,
		 d->n_listeners == 1 ? "" : "es");
	notify_ready(text);
}

/* --------------------------------------------------------------- reload */

int
daemon_reload(struct daemon *d, char text[CONF_TEXT_MAX])
{
	const struct reload_params p = {
		.started = d->config,
		.exports = d->exports,
		.access = d->access,
		.log = d->log,
		.workers = d->workers,
		.n_workers = d->n_workers,
	};
	int r;

	if (d->draining) {
		snprintf(text, CONF_TEXT_MAX, "the daemon is draining");
		return -EBUSY;
	}
	notify_reloading();
	r = reload(&p, text);
	if (r)
		log_err(d->log, "reload: %s; what was in force stays", text);
	tell_ready(d);
	return r;
}

static void
on_hangup(void *user)
{
	char text[CONF_TEXT_MAX];

	(void)daemon_reload(user, text); /* it was logged */
}

/* ---------------------------------------------------------------- start */

/* On the control thread: prepare() looks at the deadline. */
static void
on_access_call(struct loop_call *call)
{
	struct daemon *d = container_of(call, struct daemon, access_call);

	atomic_store(&d->access_called, false);
}

/* On any thread: something was refused that is to be logged in a while. */
static void
on_access_wake(void *user)
{
	struct daemon *d = user;

	if (!atomic_exchange(&d->access_called, true))
		loop_post(d->loop, &d->access_call);
}

static int
start_access(struct daemon *d)
{
	const struct gw_access_params p = {
		.log = d->log,
		.now = os_now,
		.wake = on_access_wake,
		.user = d,
	};
	int r = gw_access_new(&p, &d->access);

	if (r < 0) {
		log_err(d->log, "cannot start: %s%s", strerror(-r),
			remedy_words(r));
		return r;
	}
	d->access_call.fn = on_access_call;
	gw_access_replace(d->access, gw_config_take_rules(d->config));
	gw_access_set_limits(d->access, &d->config->limits);
	return 0;
}

static int
start_pid_file(struct daemon *d)
{
	char text[GW_TEXT_MAX] = "";
	int r;

	if (!d->o->pid_file)
		return 0;
	r = pid_file_new(d->o->pid_file, &d->pid_file, text);
	if (r < 0)
		log_err(d->log, "%s", text);
	return r == -EINVAL ? DAEMON_USAGE : r;
}

static int
start_exports(struct daemon *d)
{
	char text[CONF_TEXT_MAX] = "";
	int r = gw_config_exports(d->config, d->log, &d->exports, text);

	if (r < 0)
		log_err(d->log, "%s", text);
	return r == -EINVAL || r == -EEXIST ? DAEMON_USAGE : r;
}

static void
on_remote_ready(void *user)
{
	struct daemon *d = user;

	gw_pool_exec_reap(d->remote_exec);
	end_if_drained(d);
}

static int
start_remote(struct daemon *d)
{
	int r = gw_pool_new(REMOTE_THREADS, &d->remote_pool);

	if (!r)
		r = gw_pool_exec_new(d->remote_pool, &d->remote_exec);
	if (!r)
		r = loop_watch_fd(d->loop, gw_pool_exec_fd(d->remote_exec),
				  on_remote_ready, d, &d->remote_watch);
	if (r)
		return r;
	d->cancel_fd = gw_cancel_new();
	return d->cancel_fd < 0 ? d->cancel_fd : 0;
}

static int
start_base(struct daemon *d)
{
	int r = loop_new(&d->loop);

	if (!r)
		r = loop_timer_new(d->loop, &d->timer);
	if (!r)
		r = loop_watch_signal(d->loop, SIGTERM, on_signal, d,
				      &d->on_term);
	if (!r)
		r = loop_watch_signal(d->loop, SIGINT, on_signal, d,
				      &d->on_int);
	if (!r)
		r = loop_watch_signal(d->loop, SIGHUP, on_hangup, d,
				      &d->on_hup);
	if (!r)
		r = gw_pool_new(POOL_THREADS, &d->pool);
	if (!r)
		r = start_remote(d);
	if (!r)
		r = route_new(d->o->workers, &d->route);
	if (r < 0)
		log_err(d->log, "cannot start: %s%s", strerror(-r),
			remedy_words(r));
	else
		loop_set_prepare(d->loop, prepare, d);
	return r;
}

static int
start_workers(struct daemon *d)
{
	sigset_t all, old;
	int r = 0;

	/* Signals are the control thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (!r && d->n_workers < d->o->workers) {
		unsigned i = d->n_workers;
		struct worker_params p = {
			.index = i,
			.opt = d->o,
			.exports = d->exports,
			.access = d->access,
			.pool = d->pool,
			.remote_pool = d->remote_pool,
			.route = d->route,
			.listeners = d->loop,
			.log = d->log,
			.stopped = worker_stopped,
			.user = &d->done[i],
		};

		d->begun[i].daemon = d->done[i].daemon = d;
		d->begun[i].index = d->done[i].index = i;
		r = worker_start(&p, &d->workers[i]);
		if (!r)
			d->n_workers++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	d->env.n_workers = d->n_workers;
	return r;
}

int
daemon_new(struct gw_config *config, struct log *log, FILE *out,
	   struct daemon **ret)
{
	const struct options *o = &config->opt;
	struct daemon *d = calloc(1, sizeof(*d));
	int r;

	if (!d) {
		log_err(log, "cannot start: %s%s", strerror(ENOMEM),
			remedy_words(-ENOMEM));
		return -ENOMEM;
	}
	d->config = config;
	d->o = o;
	d->log = log;
	d->started = os_now();
	d->cancel_fd = -1;
	r = start_access(d);
	/* Before a file is made for an export, and before it says that it
	 * listens. */
	if (!r)
		r = start_pid_file(d);
	if (!r)
		r = start_exports(d);
	if (!r)
		r = preflight(o, "", log);
	if (!r)
		r = start_base(d);
	if (!r)
		r = start_control(d);
	if (!r)
		r = start_workers(d);
	if (!r)
		r = start_metrics(d);
	for (unsigned i = 0; i < o->n_listen && !r; i++)
		r = start_listener(d, &o->listen[i], out);
	if (!r)
		r = start_watchdog(d);
	if (r) {
		daemon_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

int
daemon_run(struct daemon *d)
{
	int r;

	tell_ready(d);
	r = loop_run(d->loop);
	if (r < 0)
		log_err(d->log, "event loop failed: %s", strerror(-r));
	else
		log_info(d->log, "drained; bye");
	return r;
}

void
daemon_free(struct daemon *d)
{
	if (!d)
		return;
	/* Half started: the workers still run. */
	if (d->n_done < d->n_workers || d->env.n_looks) {
		if (!d->draining)
			begin_drain(d);
		(void)loop_run(d->loop);
	}
	for (unsigned i = 0; i < d->n_workers; i++)
		worker_join(d->workers[i]);
	watchdog_free(d->watchdog);
	free_listeners(d);
	control_free(d->control);
	metrics_free(d->metrics);
	route_free(d->route);
	loop_unwatch(d->remote_watch);
	gw_pool_exec_free(d->remote_exec);
	if (d->cancel_fd >= 0)
		close(d->cancel_fd);
	gw_pool_free(d->pool);
	gw_pool_free(d->remote_pool);
	gw_access_free(d->access);
	gw_exports_free(d->exports);
	loop_unwatch(d->on_term);
	loop_unwatch(d->on_int);
	loop_unwatch(d->on_hup);
	loop_timer_free(d->timer);
	loop_free(d->loop);
	pid_file_free(d->pid_file);
	free(d);
}
