/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An event loop: one thread waits for descriptors, a time, signals and calls
 * from other threads. libevent below; nothing else but what talks on sockets
 * knows it.
 *
 * All functions belong to the loop's thread, but loop_post().
 */
#ifndef CONFIG_CONTROL_LOOP_H
#define CONFIG_CONTROL_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct loop;
struct loop_watch;
struct loop_timer;
struct loop_io;
struct loop_alarm;

int loop_new(struct loop **ret);
/* All watches and timers are freed before. NULL is fine. */
void loop_free(struct loop *l);

/*
 * Runs until loop_stop(). prepare is called before each wait, after the
 * callbacks of what the last wait found: the place to drain and to arm. True:
 * do not wait, only look.
 */
void loop_set_prepare(struct loop *l, bool (*prepare)(void *user), void *user);
int loop_run(struct loop *l);
void loop_stop(struct loop *l);

/* Calls fn whenever fd is readable (level-triggered). */
int loop_watch_fd(struct loop *l, int fd, void (*fn)(void *user), void *user,
		  struct loop_watch **ret);
int loop_watch_signal(struct loop *l, int signo, void (*fn)(void *user),
		      void *user, struct loop_watch **ret);
void loop_unwatch(struct loop_watch *w); /* NULL is fine */

/*
 * Calls fn with what fd is ready for, of what it is asked to watch. No interest
 * at all is fine. The descriptor may have been closed before loop_io_free().
 * loop_io_interest: -ENOMEM, then nothing is watched any more.
 */
#define LOOP_READ  1u
#define LOOP_WRITE 2u
int loop_io_new(struct loop *l, int fd, unsigned interest,
		void (*fn)(void *user, unsigned what), void *user,
		struct loop_io **ret);
int loop_io_interest(struct loop_io *io, unsigned interest);
void loop_io_free(struct loop_io *io); /* NULL is fine */

/*
 * An alarm calls fn once, at a time of CLOCK_MONOTONIC; TIME_NEVER takes it
 * back. -ENOMEM: it is not set.
 */
int loop_alarm_new(struct loop *l, void (*fn)(void *user), void *user,
		   struct loop_alarm **ret);
int loop_alarm_set(struct loop_alarm *a, uint64_t now, uint64_t deadline);
void loop_alarm_free(struct loop_alarm *a); /* NULL is fine */

/*
 * A timer wakes the loop at a time of CLOCK_MONOTONIC. Setting an armed timer
 * to a later time costs nothing: it fires at the earlier one, early.
 */
int loop_timer_new(struct loop *l, struct loop_timer **ret);
void loop_timer_free(struct loop_timer *t); /* NULL is fine */
void loop_timer_set(struct loop_timer *t, uint64_t now, uint64_t deadline);

/* Runs fn on the loop's thread. The call is lent until then. Any thread. */
struct loop_call {
	void (*fn)(struct loop_call *call);
	struct loop_call *next; /* the loop's */
};
void loop_post(struct loop *l, struct loop_call *call);

/* For the control socket. */
struct event_base *loop_base(struct loop *l);

#endif
