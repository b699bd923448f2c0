/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside wait.c: the session as its waiting threads share it. */
#ifndef NBDKIT_PLUGIN_WAITER_H
#define NBDKIT_PLUGIN_WAITER_H

#include <stdatomic.h>
#include <time.h>

#include "nbdkit-plugin/futex.h"
#include "nbdkit-plugin/log-queue.h"
#include "nbdkit-plugin/wait.h"
#include "rtrs/base/spin.h"

#define MAX_FDS 8
/*
 * Nothing sleeps longer than this while requests wait: how soon quit is
 * noticed. Costs wake-ups only while the server is silent. Also how long it
 * stays quiet before the helper takes over.
 */
#define TICK_NS (250 * NSEC_PER_MSEC)

/* Sleepers share a word by 32, one bit each, so one call wakes many. */
#define N_GROUPS   8
#define GROUP_SIZE 32

enum waiter_state {
	WAITER_AWAKE,
	WAITER_ASLEEP, /* or about to be */
	WAITER_DRIVE,  /* take the lock and drive */
	WAITER_DONE,   /* from here the waiter is no more */
};

struct waiter {
	struct rnbd_clt_io io;
	/* NULL: submit io. Else starts something; an error finishes it. */
	int (*start)(struct rnbd_wait *s, struct waiter *w);
	struct waiter *pushed;      /* the one pushed before */
	struct waiter *prev, *next; /* s->waiting or s->finished */
	struct rnbd_wait *wait;
	atomic_uint state;
	unsigned slot;
	bool driving;  /* its thread is in drive() */
	bool finished; /* with err */
	int err;

	/* start_open: */
	const char *name;
	enum rnbd_access_mode mode;
	struct rnbd_clt_dev *dev;
	char *text;
};

struct group {
	atomic_uint gen; /* what its members sleep on */
} __attribute__((aligned(64)));

struct rnbd_wait {
	_Atomic(struct waiter *) pushed;
	struct futex_lock lock __attribute__((aligned(64)));

	/* Under the lock from here on. */
	struct rnbd_clt *clt; /* NULL before first use and after a failure */
	struct rnbd_clt_params params;
	struct rtrs_path_addr *kept; /* by rnbd_wait_keep(); or NULL */
	int fds[MAX_FDS];
	int n_fds;
	unsigned n_devs;
	bool shut;              /* quit was seen */
	struct waiter *waiting; /* oldest first */
	struct waiter *finished;
	struct waiter *driver;
	bool helping;
	bool asleep; /* the driver, until sleep_until at most */
	bool roused; /* and rouse_fd was, or will be, written */
	uint64_t sleep_until;
	uint64_t activity;      /* changes when something finishes */
	uint64_t seen_activity; /* by the helper, a turn ago */
	bool ticked;            /* its last sleep was a whole tick */
	struct spin spin;       /* the driver's */
	struct rnbd_wait_stats stats;

	/* Constant. */
	struct log_queue *log;
	int kick_fd;  /* wakes the helper */
	int rouse_fd; /* wakes the driver */
	bool (*quit)(void *user);
	void *user;

	_Atomic(uint64_t) wakes;
	struct group groups[N_GROUPS];
};

/* Those to be woken, collected under the lock. */
struct wakes {
	struct waiter *finished;
	unsigned bits[N_GROUPS];
	bool kick;  /* the helper */
	bool rouse; /* the driver */
};

static inline uint64_t
clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Small numbers, dense over the threads of the process. */
unsigned thread_number(void);

/*
 * Submits w and comes back when it is finished; returns its err. The caller
 * filled io or start, and zeroed the rest up to name.
 */
int waiter_run(struct rnbd_wait *s, struct waiter *w);

/* --- under the lock */

/* w must be submitted and not finished. */
void waiter_finish(struct rnbd_wait *s, struct waiter *w, int err);
/*
 * Submits what was pushed, in the order in which it came. self: the caller's
 * own, if any.
 */
void waiters_drain(struct rnbd_wait *s, const struct waiter *self);
/* How long the client may be left alone, at most. */
uint64_t wait_sleep_ns(struct rnbd_wait *s, uint64_t now, uint64_t most);
/*
 * Unlocks, wakes and then does what others pushed meanwhile. Whoever takes the
 * lock leaves it this way. self as above.
 */
void wait_unlock(struct rnbd_wait *s, struct wakes *wk,
		 const struct waiter *self);

/* --- without the lock */

/*
 * Until one of n <= MAX_FDS is readable, or event_fd, which is then reset.
 * False: the time was over.
 */
bool wait_sleep(int event_fd, const int *fds, int n, uint64_t ns);

#endif
