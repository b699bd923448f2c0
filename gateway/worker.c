/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/worker.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "gateway/os.h"
#include "gateway/worker-events.h"
#include "rtrs/base/remedy.h"
#include "rtrs/base/spin.h"

/* Fabrics of one rtrs_srv. */
#define MAX_FDS     4
/* Rounds before others (calls, new descriptors) get a look. */
#define MAX_ROUNDS  16
/* The same for busy polling. */
#define SPIN_MAX_NS NSEC_PER_MSEC

/* A connection request on its way, and then until it is answered. */
struct arrival {
	struct loop_call call;
	struct worker *worker;
	struct rtrs_conn_request *req;
	int err;
	struct rtrs_uuid sess_uuid;
	struct arrival *prev, *next;
};

struct worker {
	struct worker_params p;
	pthread_t thread;
	sem_t started; /* start_result is valid */
	int start_result;

	/* The thread's own: */
	struct loop *loop;
	struct loop_timer *timer;
	struct gw_pool_exec *exec, *remote_exec;
	struct worker_events events;
	struct gw_io_engine *io;
	struct gw_server *server;
	struct rtrs_srv *rtrs;
	struct loop_watch *fds[MAX_FDS], *exec_watch, *remote_watch, *io_watch;
	int n_fds;
	bool exec_ready, io_ready; /* their descriptors were readable */
	struct spin spin;          /* busy polling */
	bool stopping;
	struct arrival *unsettled;
	/* rtrs_srv_n_answered() when they were looked at. */
	uint64_t settled_at;
	/* When it began to wait; 0: it is awake. */
	uint64_t waiting_since;
	struct worker_times times;
};

/* ---------------------------------------------------------- the I/O loop */

static void
on_ready(void *user)
{
	/* prepare() looks everywhere */
}

static void
on_io_ready(void *user)
{
	struct worker *w = user;

	w->io_ready = true;
	gw_io_engine_woken(w->io);
}

static void
on_exec_ready(void *user)
{
	struct worker *w = user;

	w->exec_ready = true;
}

/* Rare: whoever waits for another machine is called in place. */
static void
on_remote_ready(void *user)
{
	struct worker *w = user;

	gw_pool_exec_reap(w->remote_exec);
}

/* Those of the fabrics, which are known from the start. */
static int
watch_fds(struct worker *w)
{
	const struct options *o = w->p.opt;
	int fds[MAX_FDS], n, r;

	for (unsigned i = 0; i < o->n_listen; i++) {
		r = rtrs_srv_add_fabric(w->rtrs, o->listen[i].fabric);
		if (r < 0)
			return r;
	}
	n = rtrs_srv_fds(w->rtrs, fds, MAX_FDS);
	while (w->n_fds < n) {
		r = loop_watch_fd(w->loop, fds[w->n_fds], on_ready, w,
				  &w->fds[w->n_fds]);
		if (r < 0)
			return r;
		w->n_fds++;
	}
	return 0;
}

/* Requests that were answered leave the routing table to their session. */
static void
settle_arrivals(struct worker *w)
{
	uint64_t n_answered = rtrs_srv_n_answered(w->rtrs);
	struct arrival *a, *next;

	/* Those that wait may be many, and wait long. */
	if (!w->unsettled || n_answered == w->settled_at)
		return;
	w->settled_at = n_answered;
	DL_FOREACH_SAFE(w->unsettled, a, next) {
		unsigned p = rtrs_srv_presence(w->rtrs, &a->sess_uuid);

		if (p & RTRS_SRV_PENDING)
			continue;
		route_settled(w->p.route, &a->sess_uuid, p & RTRS_SRV_PRESENT);
		DL_DELETE(w->unsettled, a);
		free(a);
	}
}

static uint64_t
ops_under_way(const struct worker *w)
{
	struct gw_server_stats st;

	gw_server_stats(w->server, &st);
	return st.inflight - st.throttled_now;
}

/* Before waiting. Costs a system call for each queue that was busy. */
static bool
arm(struct worker *w)
{
	return rtrs_srv_arm(w->rtrs) || gw_io_engine_arm(w->io);
}

/*
 * Everything that is ready, then one doorbell each way. What the kernel
 * completed within the submission is reaped at once; the pool's threads are
 * slower than that, and to look at them costs a system call: without their word
 * only while spinning.
 */
static bool
round_of_work(struct worker *w, uint64_t now, bool spinning)
{
	bool waiting;
	int n = 0;

	gw_server_progress(w->server, now);
	waiting = ops_under_way(w) != 0;
	if (w->io_ready || waiting)
		n += gw_io_engine_reap(w->io);
	if (w->exec_ready || (waiting && spinning))
		n += gw_pool_exec_reap(w->exec);
	w->io_ready = false;
	w->exec_ready = false;
	if (n)
		gw_server_kick(w->server);
	if (!spinning)
		return arm(w);
	rtrs_srv_flush(w->rtrs);
	return true;
}

/* Changes whenever a request came or was answered. */
static uint64_t
work_so_far(const struct worker *w)
{
	struct gw_server_stats st;
	uint64_t n = 0;

	gw_server_stats(w->server, &st);
	for (int i = 0; i < BACKEND_N_OPS; i++)
		n += 2 * st.op[i].ops;
	return n + st.inflight;
}

/*
 * Works, and looks again instead of asking to be woken as long as that has been
 * paying lately: the next request then finds the thread running. Under a steady
 * load that would be forever: after SPIN_MAX_NS the loop gets a look at its
 * calls.
 */
static bool
work_and_spin(struct worker *w, uint64_t now)
{
	uint64_t end = now + SPIN_MAX_NS;
	uint64_t seen = work_so_far(w);

	do {
		uint64_t done;

		round_of_work(w, now, true);
		done = work_so_far(w);
		now = os_now();
		if (done != seen) {
			seen = done;
			spin_end(&w->spin);
			spin_start(&w->spin, now);
		} else if (spin_goes_on(&w->spin, now)) {
			sched_yield();
			now = os_now();
		} else if (!arm(w)) {
			return false;
		}
	} while (now < end);
	return true;
}

/* The wait, if there was one, is over. */
static void
end_wait(struct worker *w, uint64_t now)
{
	if (!w->waiting_since)
		return;
	w->times.idle_ns += now - w->waiting_since;
	w->times.waits++;
	w->waiting_since = 0;
}

static bool
prepare(void *user)
{
	struct worker *w = user;
	uint64_t now = os_now();
	bool busy = true;

	end_wait(w, now);
	/* Spinning looks at no descriptor of a backend. */
	if (w->spin.span_ns && !w->events.n_watches) {
		busy = work_and_spin(w, now);
	} else {
		busy = round_of_work(w, now, false);
		for (int i = 1; busy && i < MAX_ROUNDS; i++)
			busy = round_of_work(w, os_now(), false);
	}
	settle_arrivals(w);
	if (w->stopping && rtrs_srv_closed(w->rtrs))
		loop_stop(w->loop);
	if (!busy) {
		now = os_now();
		loop_timer_set(w->timer, now, gw_server_deadline(w->server));
		w->waiting_since = now;
	}
	return busy;
}

/* ------------------------------------------------------------- the thread */

static void
on_sess_gone(void *user, const struct rtrs_uuid *sess_uuid)
{
	struct worker *w = user;

	route_session_gone(w->p.route, sess_uuid);
}

static uint64_t
server_now(void *user)
{
	return os_now();
}

static int
init_server(struct worker *w)
{
	const struct options *o = w->p.opt;
	struct gw_server_params p = {
		.exports = w->p.exports,
		.access = w->p.access,
		.exec = gw_pool_exec_base(w->exec),
		.io = w->io,
		.events = &w->events.base,
		.rtrs =
			{
				.rng = os_rng,
				.log = w->p.log,
				.now = os_now(),
				.queue_depth = o->queue_depth,
				.chunk_size = o->chunk_size,
				.always_invalidate = o->always_invalidate,
				.hb_interval_ms = o->hb_interval_ms,
				.hb_missed_max = o->hb_missed_max,
				/* Of all workers together: access counts. */
				.max_sessions = UINT_MAX,
			},
		.sess_gone = on_sess_gone,
		.now = server_now,
		.user = w,
	};
	int r = gw_server_new(&p, &w->server);

	if (r < 0)
		return r;
	w->rtrs = gw_server_rtrs(w->server);
	return 0;
}

static int
init(struct worker *w)
{
	int r;

	r = loop_new(&w->loop);
	if (r < 0)
		return r;
	r = loop_timer_new(w->loop, &w->timer);
	if (r < 0)
		return r;
	r = gw_pool_exec_new(w->p.pool, &w->exec);
	if (r < 0)
		return r;
	r = loop_watch_fd(w->loop, gw_pool_exec_fd(w->exec), on_exec_ready, w,
			  &w->exec_watch);
	if (r < 0)
		return r;
	r = gw_pool_exec_new(w->p.remote_pool, &w->remote_exec);
	if (r < 0)
		return r;
	r = loop_watch_fd(w->loop, gw_pool_exec_fd(w->remote_exec),
			  on_remote_ready, w, &w->remote_watch);
	if (r < 0)
		return r;
	worker_events_init(&w->events, w->loop,
			   gw_pool_exec_base(w->remote_exec));
	r = gw_io_engine_new(gw_pool_exec_base(w->exec), w->p.log,
			     w->p.opt->no_io_uring, &w->io);
	if (r < 0)
		return r;
	if (gw_io_engine_fd(w->io) >= 0) {
		r = loop_watch_fd(w->loop, gw_io_engine_fd(w->io), on_io_ready,
				  w, &w->io_watch);
		if (r < 0)
			return r;
	}
	loop_set_prepare(w->loop, prepare, w);
	r = init_server(w);
	return r < 0 ? r : watch_fds(w);
}

static void
deinit(struct worker *w)
{
	for (int i = 0; i < w->n_fds; i++)
		loop_unwatch(w->fds[i]);
	loop_unwatch(w->io_watch);
	loop_unwatch(w->exec_watch);
	loop_unwatch(w->remote_watch);
	gw_server_free(w->server);
	gw_io_engine_free(w->io);
	gw_pool_exec_free(w->exec);
	gw_pool_exec_free(w->remote_exec);
	loop_timer_free(w->timer);
	/* The loop stays for late posts until worker_join(). */
}

static void *
run(void *arg)
{
	struct worker *w = arg;
	char name[16];
	int r;

	/* For who looks with top or at a core dump. */
	snprintf(name, sizeof(name), "worker-%u", w->p.index % 1000);
	(void)pthread_setname_np(pthread_self(), name);
	r = init(w);
	w->start_result = r;
	sem_post(&w->started);
	if (r < 0) {
		deinit(w);
		return NULL;
	}
	w->times.started = os_now();
	r = loop_run(w->loop);
	if (r < 0) {
		/* Its sessions hang; nothing but a restart helps them. */
		log_err(w->p.log, "worker %u: event loop failed: %s",
			w->p.index, strerror(-r));
		abort();
	}
	settle_arrivals(w);
	deinit(w);
	w->p.stopped(w->p.user);
	return NULL;
}

int
worker_start(const struct worker_params *p, struct worker **ret)
{
	struct worker *w = calloc(1, sizeof(*w));
	int r;

	if (!w) {
		log_err(p->log, "cannot start worker %u: %s%s", p->index,
			strerror(ENOMEM), remedy_words(-ENOMEM));
		return -ENOMEM;
	}
	w->p = *p;
	w->spin.span_ns = p->opt->busy_poll_us * NSEC_PER_USEC;
	sem_init(&w->started, 0, 0);
	r = -pthread_create(&w->thread, NULL, run, w);
	if (r < 0)
		goto err;
	while (sem_wait(&w->started) < 0)
		; /* EINTR */
	r = w->start_result;
	if (r < 0) {
		pthread_join(w->thread, NULL);
		goto err;
	}
	*ret = w;
	return 0;
err:
	log_err(p->log, "cannot start worker %u: %s%s", p->index, strerror(-r),
		remedy_words(r));
	loop_free(w->loop);
	sem_destroy(&w->started);
	free(w);
	return r;
}

void
worker_join(struct worker *w)
{
	if (!w)
		return;
	pthread_join(w->thread, NULL);
	loop_free(w->loop);
	sem_destroy(&w->started);
	free(w);
}

void
worker_post(struct worker *w, struct loop_call *call)
{
	loop_post(w->loop, call);
}

/* On the listeners' thread, where the request still belongs. */
static void
reject_call(struct loop_call *call)
{
	struct arrival *a = container_of(call, struct arrival, call);

	route_cancel(a->worker->p.route, &a->sess_uuid);
	rtrs_conn_request_reject(a->req, a->err);
	free(a);
}

static void
take_call(struct loop_call *call)
{
	struct arrival *a = container_of(call, struct arrival, call);
	struct worker *w = a->worker;

	a->err = rtrs_srv_take(w->rtrs, a->req);
	if (!a->err) {
		DL_APPEND(w->unsettled, a);
		return;
	}
	log_warn(w->p.log, "worker %u: cannot take a connection: %s",
		 w->p.index, strerror(-a->err));
	a->call.fn = reject_call;
	loop_post(w->p.listeners, &a->call);
}

int
worker_take(struct worker *w, struct rtrs_conn_request *req)
{
	struct arrival *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->call.fn = take_call;
	a->worker = w;
	a->req = req;
	a->sess_uuid = rtrs_conn_request_msg(req)->sess_uuid;
	loop_post(w->loop, &a->call);
	return 0;
}

void
worker_stop(struct worker *w)
{
	w->stopping = true;
	rtrs_srv_close(w->rtrs);
}

unsigned
worker_index(const struct worker *w)
{
	return w->p.index;
}

struct gw_server *
worker_server(struct worker *w)
{
	return w->server;
}

void
worker_times(struct worker *w, struct worker_times *ret)
{
	uint64_t now = os_now();

	/* From here on it is at work: for who asks. */
	end_wait(w, now);
	*ret = w->times;
	ret->now = now;
}

bool
worker_has_uring(const struct worker *w)
{
	return gw_io_engine_is_uring(w->io);
}
