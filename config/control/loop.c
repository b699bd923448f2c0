/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/control/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rtrs/base/util.h"

struct loop {
	struct event_base *base;
	bool (*prepare)(void *user);
	void *prepare_user;
	bool stopped;
	/* Calls of other threads, in order. */
	pthread_mutex_t lock; /* calls */
	struct loop_call *calls, **calls_tail;
	int wake_fd;
	struct loop_watch *wake;
};

struct loop_watch {
	struct event *ev;
	void (*fn)(void *user);
	void *user;
};

struct loop_io {
	struct event *ev;
	unsigned interest;
	void (*fn)(void *user, unsigned what);
	void *user;
};

struct loop_alarm {
	struct event *ev;
	void (*fn)(void *user);
	void *user;
};

struct loop_timer {
	struct event *ev;
	bool armed;
	uint64_t at;
};

/* ---------------------------------------------------------------- calls */

static void
on_wake(void *user)
{
	struct loop *l = user;
	struct loop_call *call;
	uint64_t n;

	/* Read before the list is taken: a later post writes again. */
	if (read(l->wake_fd, &n, sizeof(n)) < 0)
		return;
	pthread_mutex_lock(&l->lock);
	call = l->calls;
	l->calls = NULL;
	l->calls_tail = &l->calls;
	pthread_mutex_unlock(&l->lock);
	while (call) {
		struct loop_call *next = call->next;

		call->fn(call); /* may free it */
		call = next;
	}
}

void
loop_post(struct loop *l, struct loop_call *call)
{
	const uint64_t one = 1;
	bool was_empty;

	call->next = NULL;
	pthread_mutex_lock(&l->lock);
	was_empty = !l->calls;
	*l->calls_tail = call;
	l->calls_tail = &call->next;
	/* Written under the lock, so that the loop cannot end in between. An
	 * eventfd takes 2^64 - 2 of these before it would block. */
	if (was_empty && write(l->wake_fd, &one, sizeof(one)) < 0)
		abort();
	pthread_mutex_unlock(&l->lock);
}

/* ----------------------------------------------------------------- loop */

/*
 * Where libevent has no descriptor for its signals it ends the process. So they
 * are asked for before.
 */
#define BASE_FDS 4

static int
check_descriptors(int fd)
{
	int fds[BASE_FDS], n = 0, r = 0;

	while (n < BASE_FDS && !r) {
		fds[n] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (fds[n] < 0)
			r = -errno;
		else
			n++;
	}
	while (n)
		close(fds[--n]);
	return r;
}

int
loop_new(struct loop **ret)
{
	struct event_config *cfg = NULL;
	struct loop *l = calloc(1, sizeof(*l));
	int r = -ENOMEM;

	if (!l)
		return -ENOMEM;
	pthread_mutex_init(&l->lock, NULL);
	l->calls_tail = &l->calls;
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake_fd < 0) {
		r = -errno;
		goto err;
	}
	r = check_descriptors(l->wake_fd);
	if (r < 0)
		goto err;
	r = -ENOMEM;
	/* One thread per base; others come in through loop_post(). */
	cfg = event_config_new();
	if (!cfg || event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK) < 0)
		goto err;
	l->base = event_base_new_with_config(cfg);
	if (!l->base)
		goto err;
	r = loop_watch_fd(l, l->wake_fd, on_wake, l, &l->wake);
	if (r < 0)
		goto err;
	event_config_free(cfg);
	*ret = l;
	return 0;
err:
	if (cfg)
		event_config_free(cfg);
	loop_free(l);
	return r;
}

void
loop_free(struct loop *l)
{
	if (!l)
		return;
	loop_unwatch(l->wake);
	if (l->base)
		event_base_free(l->base);
	/* A poster may still be inside; it holds the lock until it is done. */
	pthread_mutex_lock(&l->lock);
	pthread_mutex_unlock(&l->lock);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

void
loop_set_prepare(struct loop *l, bool (*prepare)(void *user), void *user)
{
	l->prepare = prepare;
	l->prepare_user = user;
}

int
loop_run(struct loop *l)
{
	while (!l->stopped) {
		bool busy = l->prepare && l->prepare(l->prepare_user);
		int flags = EVLOOP_ONCE | (busy ? EVLOOP_NONBLOCK : 0);

		if (l->stopped)
			break;
		if (event_base_loop(l->base, flags) < 0)
			return -EIO;
	}
	return 0;
}

void
loop_stop(struct loop *l)
{
	l->stopped = true;
}

struct event_base *
loop_base(struct loop *l)
{
	return l->base;
}

/* -------------------------------------------------------------- watches */

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	struct loop_watch *w = arg;

	w->fn(w->user);
}

static int
watch(struct loop *l, int fd, short what, void (*fn)(void *user), void *user,
      struct loop_watch **ret)
{
	struct loop_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->fn = fn;
	w->user = user;
	w->ev = event_new(l->base, fd, (short)(what | EV_PERSIST), on_event, w);
	if (!w->ev || event_add(w->ev, NULL) < 0) {
		loop_unwatch(w);
		return -ENOMEM;
	}
	*ret = w;
	return 0;
}

int
loop_watch_fd(struct loop *l, int fd, void (*fn)(void *user), void *user,
	      struct loop_watch **ret)
{
	return watch(l, fd, EV_READ, fn, user, ret);
}

int
loop_watch_signal(struct loop *l, int signo, void (*fn)(void *user), void *user,
		  struct loop_watch **ret)
{
	return watch(l, signo, EV_SIGNAL, fn, user, ret);
}

void
loop_unwatch(struct loop_watch *w)
{
	if (!w)
		return;
	if (w->ev)
		event_free(w->ev);
	free(w);
}

static short
event_bits(unsigned interest)
{
	return (short)((interest & LOOP_READ ? EV_READ : 0) |
		       (interest & LOOP_WRITE ? EV_WRITE : 0) | EV_PERSIST);
}

static void
on_io_event(evutil_socket_t fd, short what, void *arg)
{
	struct loop_io *io = arg;

	io->fn(io->user, (what & EV_READ ? LOOP_READ : 0) |
				 (what & EV_WRITE ? LOOP_WRITE : 0));
}

int
loop_io_new(struct loop *l, int fd, unsigned interest,
	    void (*fn)(void *user, unsigned what), void *user,
	    struct loop_io **ret)
{
	struct loop_io *io = calloc(1, sizeof(*io));

	if (!io)
		return -ENOMEM;
	io->fn = fn;
	io->user = user;
	io->interest = interest;
	io->ev = event_new(l->base, fd, event_bits(interest), on_io_event, io);
	if (!io->ev || (interest && event_add(io->ev, NULL) < 0)) {
		loop_io_free(io);
		return -ENOMEM;
	}
	*ret = io;
	return 0;
}

int
loop_io_interest(struct loop_io *io, unsigned interest)
{
	if (interest == io->interest)
		return 0;
	event_del(io->ev);
	/* Left as it was if that fails: then the next call tries again. */
	if (event_assign(io->ev, event_get_base(io->ev), event_get_fd(io->ev),
			 event_bits(interest), on_io_event, io) < 0)
		return -EINVAL;
	if (interest && event_add(io->ev, NULL) < 0) {
		io->interest = 0;
		return -ENOMEM;
	}
	io->interest = interest;
	return 0;
}

void
loop_io_free(struct loop_io *io)
{
	if (!io)
		return;
	if (io->ev)
		event_free(io->ev);
	free(io);
}

/* --------------------------------------------------------------- timers */

/* Rounded up: woken before the time, the loop would spin to it. */
static struct timeval
time_left(uint64_t now, uint64_t deadline)
{
	uint64_t us = deadline > now ? (deadline - now + NSEC_PER_USEC - 1) /
					       NSEC_PER_USEC
				     : 0;

	return (struct timeval){
		.tv_sec = (time_t)(us / 1000000),
		.tv_usec = (suseconds_t)(us % 1000000),
	};
}

int
loop_alarm_set(struct loop_alarm *a, uint64_t now, uint64_t deadline)
{
	struct timeval tv;

	if (deadline == TIME_NEVER)
		return event_del(a->ev) < 0 ? -EINVAL : 0;
	tv = time_left(now, deadline);
	return evtimer_add(a->ev, &tv) < 0 ? -ENOMEM : 0;
}

static void
on_alarm(evutil_socket_t fd, short what, void *arg)
{
	struct loop_alarm *a = arg;

	a->fn(a->user);
}

int
loop_alarm_new(struct loop *l, void (*fn)(void *user), void *user,
	       struct loop_alarm **ret)
{
	struct loop_alarm *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->fn = fn;
	a->user = user;
	a->ev = evtimer_new(l->base, on_alarm, a);
	if (!a->ev) {
		free(a);
		return -ENOMEM;
	}
	*ret = a;
	return 0;
}

void
loop_alarm_free(struct loop_alarm *a)
{
	if (!a)
		return;
	event_free(a->ev);
	free(a);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;

	t->armed = false; /* prepare sets it again, to where it is due now */
}

int
loop_timer_new(struct loop *l, struct loop_timer **ret)
{
	struct loop_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->ev = evtimer_new(l->base, on_timer, t);
	if (!t->ev) {
		free(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

void
loop_timer_free(struct loop_timer *t)
{
	if (!t)
		return;
	event_free(t->ev);
	free(t);
}

void
loop_timer_set(struct loop_timer *t, uint64_t now, uint64_t deadline)
{
	struct timeval tv;

	if (deadline == TIME_NEVER || (t->armed && t->at <= deadline))
		return;
	tv = time_left(now, deadline);
	if (evtimer_add(t->ev, &tv) < 0)
		return; /* no memory: the next prepare tries again */
	t->armed = true;
	t->at = deadline;
}
