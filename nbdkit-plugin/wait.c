/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a request travels. The thread describes it in a struct waiter on its own
 * stack and pushes that on a lock-free stack. Whoever holds the session's lock
 * submits what was pushed, for everybody at once; a thread that finds the lock
 * taken leaves its request there and knows that the holder looks again after
 * unlocking. The lock is never held while anything sleeps.
 *
 * Rules, true whenever the lock is free:
 *  - if any submitted request waits, s->driver is one of them. Its thread is in
 *    drive(), or was told WAITER_DRIVE and is on its way there;
 *  - s->helping only while nothing waits;
 *  - s->finished is empty: completions are handed out by whoever caused them.
 */
#include "nbdkit-plugin/wait.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <utlist.h>

#include "nbdkit-plugin/futex.h"

#define MAX_FDS 8
/*
 * Nothing sleeps longer than this while requests wait. Bounds how late a new,
 * earlier deadline is noticed, and the answer to quit; costs wake-ups only
 * while the server is silent. Also how long it stays quiet before the helper
 * takes over.
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
	int fds[MAX_FDS];
	int n_fds;
	unsigned n_devs;
	bool shut;              /* quit was seen */
	struct waiter *waiting; /* oldest first */
	struct waiter *finished;
	struct waiter *driver;
	bool helping;
	uint64_t sleep_until; /* of the driver */
	uint64_t activity;    /* changes when something finishes */
	uint64_t seen_activity;
	struct rnbd_wait_stats stats;

	/* Constant. */
	int kick_fd;
	uint64_t busy_poll_ns;
	bool (*quit)(void *user);
	void *user;

	_Atomic(uint64_t) wakes;
	struct group groups[N_GROUPS];
};

/* Those to be woken, collected under the lock. */
struct wakes {
	struct waiter *finished;
	unsigned bits[N_GROUPS];
	bool kick;
};

static uint64_t
clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void
random_fill(void *user, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0) {
			/* Keys that can be guessed are worse than no service.
			 */
			if (errno != EINTR)
				abort();
			continue;
		}
		p += n;
		len -= (size_t)n;
	}
}

/* Small numbers, dense over the threads of the process. */
static unsigned
thread_number(void)
{
	static atomic_uint count;
	static _Thread_local unsigned number; /* plus one */

	if (!number)
		number = 1 + atomic_fetch_add(&count, 1);
	return number - 1;
}

/* ------------------------------------------------- under the lock */

static void
waiter_finish(struct rnbd_wait *s, struct waiter *w, int err)
{
	DL_DELETE(s->waiting, w);
	w->err = err;
	w->finished = true;
	s->activity++;
	if (w->driving)
		return; /* looks itself */
	if (s->driver == w)
		s->driver = NULL; /* was told to, but is not there yet */
	LL_PREPEND(s->finished, w);
}

static void
io_done(struct rnbd_clt_io *io, int err)
{
	struct waiter *w = io->user;

	waiter_finish(w->wait, w, err);
}

static int
client_new(struct rnbd_wait *s)
{
	int err;

	if (s->shut)
		return -ESHUTDOWN;
	if (s->clt)
		return 0;
	s->params.rtrs.now = clock_now();
	err = rnbd_clt_new(&s->params, &s->clt);
	if (err)
		return err;
	s->n_fds = rnbd_clt_fds(s->clt, s->fds, MAX_FDS);
	return 0;
}

/* Everything outstanding finishes. */
static void
client_free(struct rnbd_wait *s)
{
	rnbd_clt_free(s->clt);
	s->clt = NULL;
	s->n_fds = 0;
	s->n_devs = 0;
}

/* Submits what was pushed, in the order in which it came. */
static void
drain(struct rnbd_wait *s, const struct waiter *self)
{
	struct waiter *w, *next, *fifo = NULL;

	if (!atomic_load_explicit(&s->pushed, memory_order_relaxed))
		return;
	for (w = atomic_exchange(&s->pushed, NULL); w; w = next) {
		next = w->pushed;
		w->pushed = fifo;
		fifo = w;
	}
	for (w = fifo; w; w = next) {
		int err = 0;

		next = w->pushed;
		s->stats.ops++;
		if (w != self)
			s->stats.combined++;
		DL_APPEND(s->waiting, w);
		if (w->start)
			err = w->start(s, w);
		else if (s->clt)
			rnbd_clt_submit(&w->io);
		else
			err = -ESHUTDOWN;
		if (err)
			waiter_finish(s, w, err);
	}
}

/* Takes the role; the helper, if it has it, goes to sleep. */
static void
role_take(struct rnbd_wait *s, struct waiter *w, struct wakes *wk)
{
	s->driver = w;
	if (s->helping) {
		s->helping = false;
		wk->kick = true;
	}
}

static void
wakes_add(struct wakes *wk, const struct waiter *w)
{
	wk->bits[w->slot / GROUP_SIZE] |= 1u << w->slot % GROUP_SIZE;
}

/* Makes the rules at the top true. */
static void
settle(struct rnbd_wait *s, struct wakes *wk)
{
	wk->finished = s->finished;
	s->finished = NULL;
	if (!s->driver && s->waiting) {
		/* The youngest waits longest, so hands over least often. */
		struct waiter *w = s->waiting->prev;

		role_take(s, w, wk);
		s->stats.handovers++;
		if (atomic_exchange(&w->state, WAITER_DRIVE) == WAITER_ASLEEP)
			wakes_add(wk, w);
	}
}

/* ------------------------------------------------- the lock's edges */

static void
wakes_send(struct rnbd_wait *s, struct wakes *wk)
{
	struct waiter *w, *next;

	for (w = wk->finished; w; w = next) {
		unsigned slot = w->slot;

		next = w->next;
		/* The thread may return, and *w be gone, at once. */
		if (atomic_exchange(&w->state, WAITER_DONE) == WAITER_ASLEEP)
			wk->bits[slot / GROUP_SIZE] |= 1u << slot % GROUP_SIZE;
	}
	for (unsigned i = 0; i < N_GROUPS; i++) {
		if (!wk->bits[i])
			continue;
		/* After the states: who misses the wake sees a new number. */
		atomic_fetch_add(&s->groups[i].gen, 1);
		futex_wake(&s->groups[i].gen, INT_MAX, wk->bits[i]);
		atomic_fetch_add_explicit(&s->wakes, 1, memory_order_relaxed);
	}
	if (wk->kick)
		rnbd_wait_kick(s);
}

static void
unlock(struct rnbd_wait *s, struct wakes *wk)
{
	settle(s, wk);
	futex_unlock(&s->lock);
	wakes_send(s, wk);
}

/* Serves what was pushed while the lock was held by its last holder. */
static void
unlock_and_serve(struct rnbd_wait *s, struct wakes *wk,
		 const struct waiter *self)
{
	for (;;) {
		unlock(s, wk);
		if (!atomic_load(&s->pushed) || !futex_trylock(&s->lock))
			return;
		memset(wk, 0, sizeof(*wk));
		drain(s, self);
		if (s->clt && rnbd_clt_arm(s->clt))
			rnbd_clt_progress(s->clt, clock_now());
	}
}

static void
sleep_on_fds(const int *fds, int n, uint64_t ns)
{
	struct pollfd pfd[MAX_FDS + 1];
	struct timespec ts = {
		.tv_sec = (time_t)(ns / NSEC_PER_SEC),
		.tv_nsec = (long)(ns % NSEC_PER_SEC),
	};

	for (int i = 0; i < n; i++)
		pfd[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	/* Whatever ends it, progress is called next and finds out. */
	ppoll(pfd, (nfds_t)n, ns == TIME_NEVER ? NULL : &ts, NULL);
}

/* How long the client may be left alone. */
static uint64_t
sleep_ns(struct rnbd_wait *s, uint64_t now, uint64_t most)
{
	uint64_t deadline = s->clt ? rnbd_clt_deadline(s->clt) : TIME_NEVER;

	if (deadline <= now)
		return 0;
	return deadline == TIME_NEVER ? most : time_min(most, deadline - now);
}

/*
 * Drives until self is finished. Entered with the lock held and the role ours,
 * left without either.
 */
static void
drive(struct rnbd_wait *s, struct waiter *self, struct wakes *wk)
{
	uint64_t now = clock_now();
	uint64_t spin_until = now + s->busy_poll_ns;
	int fds[MAX_FDS];

	self->driving = true;
	for (;;) {
		bool again;
		uint64_t ns = 0;
		int n_fds;

		drain(s, self);
		again = s->clt && rnbd_clt_arm(s->clt);
		if (again)
			rnbd_clt_progress(s->clt, now);
		if (self->finished)
			break;
		n_fds = s->n_fds;
		memcpy(fds, s->fds, sizeof(fds));
		if (!again && now >= spin_until)
			ns = sleep_ns(s, now, TICK_NS);
		s->sleep_until = now + ns;
		s->stats.sleeps += ns != 0;
		unlock(s, wk);
		memset(wk, 0, sizeof(*wk));

		if (ns && !atomic_load(&s->pushed))
			sleep_on_fds(fds, n_fds, ns);
		else if (!again)
			cpu_relax();

		futex_lock(&s->lock);
		now = clock_now();
		if (s->clt)
			rnbd_clt_progress(s->clt, now);
	}
	self->driving = false;
	s->driver = NULL;
	unlock_and_serve(s, wk, self);
}

/* Sends the request of w, and of whoever else pushed one, if the lock is free.
 * Else its holder does. */
static void
submit(struct rnbd_wait *s, struct waiter *w)
{
	struct wakes wk = {0};
	struct waiter *top =
		atomic_load_explicit(&s->pushed, memory_order_relaxed);

	do
		w->pushed = top;
	while (!atomic_compare_exchange_weak(&s->pushed, &top, w));
	if (!futex_trylock(&s->lock))
		return;
	drain(s, w);
	if (!s->driver && !w->finished) {
		role_take(s, w, &wk);
		drive(s, w, &wk);
		/* Nobody else sets it: the driver is not on s->finished. */
		atomic_store(&w->state, WAITER_DONE);
		return;
	}
	if (s->clt) {
		bool again = rnbd_clt_arm(s->clt);

		/* The driver sleeps, and not for this deadline. */
		if (again || rnbd_clt_deadline(s->clt) < s->sleep_until)
			rnbd_clt_progress(s->clt, clock_now());
	}
	unlock_and_serve(s, &wk, w);
}

/* Comes back when w is done; drives if told to. */
static void
wait_done(struct rnbd_wait *s, struct waiter *w)
{
	atomic_uint *gen = &s->groups[w->slot / GROUP_SIZE].gen;
	uint64_t spin_until = 0;

	if (s->busy_poll_ns)
		spin_until = clock_now() + s->busy_poll_ns;
	for (;;) {
		unsigned seen = atomic_load(gen);
		unsigned state = atomic_load(&w->state);

		if (state == WAITER_DONE)
			return;
		if (state == WAITER_DRIVE) {
			struct wakes wk = {0};

			futex_lock(&s->lock);
			if (s->driver == w) {
				drive(s, w, &wk);
				return;
			}
			/* Finished meanwhile; it is being told so. */
			unlock_and_serve(s, &wk, w);
			atomic_compare_exchange_strong(&w->state, &state,
						       WAITER_AWAKE);
			continue;
		}
		if (spin_until && clock_now() < spin_until) {
			cpu_relax();
			continue;
		}
		spin_until = 0;
		if (state == WAITER_AWAKE &&
		    !atomic_compare_exchange_strong(&w->state, &state,
						    WAITER_ASLEEP))
			continue;
		futex_wait(gen, seen, 1u << w->slot % GROUP_SIZE);
	}
}

static int
run(struct rnbd_wait *s, struct waiter *w)
{
	w->wait = s;
	w->slot = thread_number() % (N_GROUPS * GROUP_SIZE);
	submit(s, w);
	wait_done(s, w);
	return w->err;
}

/* ------------------------------------------------- requests */

int
rnbd_wait_io(struct rnbd_wait *s, struct rnbd_clt_dev *dev, enum rnbd_clt_op op,
	     unsigned flags, void *buf, uint64_t len, uint64_t off)
{
	struct waiter w;

	/* All but the tail of a waiter, which only start_open() uses. */
	memset(&w, 0, offsetof(struct waiter, name));
	w.io.dev = dev;
	w.io.op = op;
	w.io.flags = flags;
	w.io.con_hint = thread_number();
	w.io.off = off;
	w.io.len = len;
	w.io.buf = buf;
	w.io.done = io_done;
	w.io.user = &w;
	return run(s, &w);
}

static void
opened(void *user, struct rnbd_clt_dev *dev, int err, const char *text)
{
	struct waiter *w = user;

	if (err) {
		snprintf(w->text, RNBD_WAIT_TEXT_MAX, "%s",
			 text && *text ? text : strerror(-err));
	} else {
		w->dev = dev;
		w->wait->n_devs++;
	}
	waiter_finish(w->wait, w, err);
}

static int
start_open(struct rnbd_wait *s, struct waiter *w)
{
	int err = client_new(s);

	if (!err)
		err = rnbd_clt_dev_open(s->clt, w->name, w->mode, opened, w);
	if (err)
		snprintf(w->text, RNBD_WAIT_TEXT_MAX, "%s", strerror(-err));
	return err;
}

int
rnbd_wait_open(struct rnbd_wait *s, const char *name,
	       enum rnbd_access_mode mode, char text[RNBD_WAIT_TEXT_MAX],
	       struct rnbd_clt_dev **ret)
{
	struct waiter w = {
		.start = start_open,
		.name = name,
		.mode = mode,
		.text = text,
	};
	struct wakes wk = {0};
	int err;

	text[0] = '\0';
	err = run(s, &w);
	if (!err) {
		*ret = w.dev;
		return 0;
	}
	if (!text[0])
		snprintf(text, RNBD_WAIT_TEXT_MAX, "%s", strerror(-err));
	/* A client that never came up stays down; the next open makes one. */
	futex_lock(&s->lock);
	if (s->clt && !s->n_devs && !s->waiting && !rnbd_clt_is_up(s->clt)) {
		client_free(s);
		wk.kick = s->helping; /* it watches descriptors that are gone */
	}
	unlock_and_serve(s, &wk, &w);
	return err;
}

static void
closed(void *user)
{
	struct waiter *w = user;

	w->wait->n_devs--;
	waiter_finish(w->wait, w, 0);
}

static int
start_close(struct rnbd_wait *s, struct waiter *w)
{
	/* After quit the device went with its client. */
	if (!s->clt)
		return -ESHUTDOWN;
	rnbd_clt_dev_close(w->dev, closed, w);
	return 0;
}

void
rnbd_wait_close(struct rnbd_wait *s, struct rnbd_clt_dev *dev)
{
	struct waiter w = {.start = start_close, .dev = dev};

	run(s, &w);
}

void
rnbd_wait_connect(struct rnbd_wait *s)
{
	struct wakes wk = {0};

	futex_lock(&s->lock);
	/* On an error the first open tries again, and reports it. */
	if (!client_new(s))
		wk.kick = true;
	unlock_and_serve(s, &wk, NULL);
}

int
rnbd_wait_geometry(struct rnbd_wait *s, struct rnbd_clt_dev *dev,
		   struct rnbd_clt_geometry *ret)
{
	struct wakes wk = {0};
	int err = -ESHUTDOWN;

	futex_lock(&s->lock);
	if (s->clt) {
		rnbd_clt_dev_geometry(dev, ret);
		err = 0;
	}
	unlock_and_serve(s, &wk, NULL);
	return err;
}

void
rnbd_wait_why(struct rnbd_wait *s, struct rnbd_clt_dev *dev,
	      char text[RNBD_WAIT_TEXT_MAX])
{
	struct wakes wk = {0};
	const char *why = "shutting down";

	futex_lock(&s->lock);
	if (s->clt) {
		why = rnbd_clt_dev_failed(dev);
		if (!why && !rnbd_clt_is_up(s->clt))
			why = rtrs_clt_why_down(rnbd_clt_rtrs(s->clt));
	}
	snprintf(text, RNBD_WAIT_TEXT_MAX, "%s", why ? why : "");
	unlock_and_serve(s, &wk, NULL);
}

void
rnbd_wait_stats(struct rnbd_wait *s, struct rnbd_wait_stats *ret)
{
	struct wakes wk = {0};

	futex_lock(&s->lock);
	*ret = s->stats;
	ret->wakes = atomic_load_explicit(&s->wakes, memory_order_relaxed);
	unlock_and_serve(s, &wk, NULL);
}

/* ------------------------------------------------- helper */

void
rnbd_wait_kick(struct rnbd_wait *s)
{
	eventfd_t one = 1;

	/* Can not fail but by overflow, and then it is readable anyway. */
	eventfd_write(s->kick_fd, one);
}

static void
shut_down(struct rnbd_wait *s)
{
	struct wakes wk = {0};

	futex_lock(&s->lock);
	drain(s, NULL);
	s->shut = true;
	client_free(s);
	while (s->waiting)
		waiter_finish(s, s->waiting, -ESHUTDOWN);
	unlock_and_serve(s, &wk, NULL);
}

void
rnbd_wait_help(struct rnbd_wait *s)
{
	int fds[MAX_FDS + 1] = {s->kick_fd};
	struct wakes wk = {0};
	uint64_t ns = TICK_NS;
	eventfd_t count;
	bool stalled;
	int n = 1;

	futex_lock(&s->lock);
	drain(s, NULL);
	if (!s->driver && !s->waiting && !s->helping &&
	    s->activity == s->seen_activity) {
		s->helping = true;
		s->stats.helper++;
	}
	if (s->helping) {
		uint64_t now = clock_now();

		if (s->clt)
			rnbd_clt_progress(s->clt, now);
		ns = 0;
		if (!s->clt || !rnbd_clt_arm(s->clt))
			ns = sleep_ns(s, now, TIME_NEVER);
		memcpy(fds + 1, s->fds, sizeof(s->fds));
		n += s->n_fds;
	}
	stalled = s->waiting && s->activity == s->seen_activity;
	s->seen_activity = s->activity;
	unlock_and_serve(s, &wk, NULL);

	if (stalled && s->quit && s->quit(s->user)) {
		shut_down(s);
		return;
	}
	if (ns)
		sleep_on_fds(fds, n, ns);
	eventfd_read(s->kick_fd, &count);
}

/* ------------------------------------------------- life */

int
rnbd_wait_new(const struct rnbd_wait_params *p, struct rnbd_wait **ret)
{
	struct rnbd_wait *s;

	/* Groups have a cache line each. */
	s = aligned_alloc(64, (sizeof(*s) + 63) & ~(size_t)63);
	if (!s)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	s->params = p->clt;
	s->params.rtrs.rng.fill = random_fill;
	s->busy_poll_ns = p->busy_poll_us * NSEC_PER_USEC;
	s->quit = p->quit;
	s->user = p->user;
	s->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->kick_fd < 0) {
		int err = -errno;

		free(s);
		return err;
	}
	*ret = s;
	return 0;
}

void
rnbd_wait_free(struct rnbd_wait *s, unsigned timeout_ms)
{
	uint64_t now, end;

	if (!s)
		return;
	now = clock_now();
	end = time_after_ms(now, timeout_ms);
	if (s->clt)
		rnbd_clt_close(s->clt);
	while (s->clt && !rnbd_clt_closed(s->clt) && now < end) {
		uint64_t ns = 0;

		if (!rnbd_clt_arm(s->clt))
			ns = sleep_ns(s, now, end - now);
		if (ns)
			sleep_on_fds(s->fds, s->n_fds, ns);
		now = clock_now();
		rnbd_clt_progress(s->clt, now);
	}
	rnbd_clt_free(s->clt);
	close(s->kick_fd);
	free(s);
}
