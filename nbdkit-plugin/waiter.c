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
 *  - if the driver sleeps though it is finished, or beyond the client's
 *    deadline, it is being roused;
 *  - s->helping only while nothing waits;
 *  - s->finished is empty: completions are handed out by whoever caused them.
 */
#include "nbdkit-plugin/waiter.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <utlist.h>

unsigned
thread_number(void)
{
	static atomic_uint count;
	static _Thread_local unsigned number; /* plus one */

	if (!number)
		number = 1 + atomic_fetch_add(&count, 1);
	return number - 1;
}

/* ------------------------------------------------- under the lock */

void
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

void
waiters_drain(struct rnbd_wait *s, const struct waiter *self)
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

/* The driver sleeps on, but must not. */
static bool
overslept(const struct rnbd_wait *s)
{
	return s->asleep && !s->roused &&
	       (s->driver->finished ||
		(s->clt && rnbd_clt_deadline(s->clt) < s->sleep_until));
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
	if (overslept(s))
		s->roused = wk->rouse = true;
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
	if (wk->rouse)
		eventfd_write(s->rouse_fd, 1);
}

static void
unlock(struct rnbd_wait *s, struct wakes *wk)
{
	settle(s, wk);
	futex_unlock(&s->lock);
	wakes_send(s, wk);
}

/*
 * Sends what was submitted, for a thread that does not drive. What comes of it
 * at once it may also finish; the driver needs not wake for that.
 */
static void
send_off(struct rnbd_wait *s)
{
	if (s->clt && rnbd_clt_arm(s->clt))
		rnbd_clt_progress(s->clt, clock_now());
}

void
wait_unlock(struct rnbd_wait *s, struct wakes *wk, const struct waiter *self)
{
	for (;;) {
		unlock(s, wk);
		if (!atomic_load(&s->pushed) || !futex_trylock(&s->lock))
			return;
		memset(wk, 0, sizeof(*wk));
		waiters_drain(s, self);
		send_off(s);
	}
}

bool
wait_sleep(int event_fd, const int *fds, int n, uint64_t ns)
{
	struct pollfd pfd[MAX_FDS + 1] = {{.fd = event_fd, .events = POLLIN}};
	struct timespec ts = {
		.tv_sec = (time_t)(ns / NSEC_PER_SEC),
		.tv_nsec = (long)(ns % NSEC_PER_SEC),
	};
	eventfd_t count;
	int rc;

	for (int i = 0; i < n; i++)
		pfd[i + 1] = (struct pollfd){.fd = fds[i], .events = POLLIN};
	rc = ppoll(pfd, (nfds_t)n + 1, ns == TIME_NEVER ? NULL : &ts, NULL);
	if (rc > 0 && pfd[0].revents)
		eventfd_read(event_fd, &count);
	/* Whatever else ended it, progress is called next and finds out. */
	return rc != 0;
}

uint64_t
wait_sleep_ns(struct rnbd_wait *s, uint64_t now, uint64_t most)
{
	uint64_t deadline = s->clt ? rnbd_clt_deadline(s->clt) : TIME_NEVER;

	if (deadline <= now)
		return 0;
	return deadline == TIME_NEVER ? most : time_min(most, deadline - now);
}

/*
 * Sends what was submitted; asks to be woken unless somebody will look anyway,
 * for that costs a system call on some fabrics. True: there is more to do now.
 */
static bool
send_and_arm(struct rnbd_wait *s, bool send_only)
{
	if (!s->clt)
		return false;
	if (!send_only)
		return rnbd_clt_arm(s->clt);
	rnbd_clt_flush(s->clt);
	return false;
}

/*
 * Drives until self is finished. Entered with the lock held and the role ours,
 * left without either.
 */
static void
drive(struct rnbd_wait *s, struct waiter *self, struct wakes *wk)
{
	uint64_t now = clock_now();
	int fds[MAX_FDS];

	self->driving = true;
	spin_start(&s->spin, now);
	for (;;) {
		uint64_t activity = s->activity;
		bool again, look;
		uint64_t ns = 0;
		int n;

		waiters_drain(s, self);
		look = !self->finished && spin_goes_on(&s->spin, now);
		again = send_and_arm(s, look || self->finished);
		if (again)
			rnbd_clt_progress(s->clt, now);
		if (self->finished)
			break;
		if (!again && !look)
			ns = wait_sleep_ns(s, now, TICK_NS);
		n = s->n_fds;
		memcpy(fds, s->fds, sizeof(s->fds));
		s->sleep_until = now + ns;
		s->asleep = ns;
		s->stats.sleeps += s->asleep;
		unlock(s, wk);
		memset(wk, 0, sizeof(*wk));

		if (look)
			sched_yield();
		else if (ns && !atomic_load(&s->pushed))
			wait_sleep(s->rouse_fd, fds, n, ns);

		futex_lock(&s->lock);
		s->asleep = false;
		s->roused = false;
		now = clock_now();
		if (s->clt)
			rnbd_clt_progress(s->clt, now);
		if (s->activity != activity) {
			spin_end(&s->spin);
			spin_start(&s->spin, now);
		}
	}
	s->stats.driven++;
	self->driving = false;
	s->driver = NULL;
	wait_unlock(s, wk, self);
}

/*
 * Sends the request of w, and of whoever else pushed one, if the lock is free.
 * Else its holder does.
 */
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
	waiters_drain(s, w);
	if (!s->driver && !w->finished) {
		role_take(s, w, &wk);
		drive(s, w, &wk);
		/* Nobody else sets it: the driver is not on s->finished. */
		atomic_store(&w->state, WAITER_DONE);
		return;
	}
	send_off(s);
	wait_unlock(s, &wk, w);
}

/* Comes back when w is done; drives if told to. */
static void
wait_done(struct rnbd_wait *s, struct waiter *w)
{
	atomic_uint *gen = &s->groups[w->slot / GROUP_SIZE].gen;

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
			wait_unlock(s, &wk, w);
			atomic_compare_exchange_strong(&w->state, &state,
						       WAITER_AWAKE);
			continue;
		}
		if (state == WAITER_AWAKE &&
		    !atomic_compare_exchange_strong(&w->state, &state,
						    WAITER_ASLEEP))
			continue;
		futex_wait(gen, seen, 1u << w->slot % GROUP_SIZE);
	}
}

int
waiter_run(struct rnbd_wait *s, struct waiter *w)
{
	w->wait = s;
	w->slot = thread_number() % (N_GROUPS * GROUP_SIZE);
	submit(s, w);
	wait_done(s, w);
	return w->err;
}
