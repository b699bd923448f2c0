/* SPDX-License-Identifier: BSD-3-Clause */
/* The blocking calls, the helper's turn, and the life of the session. */
#include "nbdkit-plugin/waiter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "rtrs/base/remedy.h"

static void
random_fill(void *user, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		if (n < 0) {
			/* Better no service than keys that can be guessed. */
			if (errno != EINTR)
				abort();
			continue;
		}
		p += n;
		len -= (size_t)n;
	}
}

/* ------------------------------------------------- client */

/* Everything outstanding finishes. */
static void
client_free(struct rnbd_wait *s)
{
	rnbd_clt_free(s->clt);
	s->clt = NULL;
	s->n_fds = 0;
	s->n_devs = 0;
}

static int
client_new(struct rnbd_wait *s)
{
	int err;

	if (s->shut)
		return -ESHUTDOWN;
	/* Why one failed that nobody uses may have been long ago. */
	if (s->clt && !s->n_devs && rnbd_clt_failed(s->clt))
		client_free(s);
	if (s->clt)
		return 0;
	s->params.rtrs.now = clock_now();
	err = rnbd_clt_new(&s->params, &s->clt);
	if (err)
		return err;
	s->n_fds = rnbd_clt_fds(s->clt, s->fds, MAX_FDS);
	return 0;
}

/* ------------------------------------------------- requests */

static void
io_done(struct rnbd_clt_io *io, int err)
{
	struct waiter *w = io->user;

	waiter_finish(w->wait, w, err);
}

/*
 * Small I/O shares one connection, so that what is submitted together leaves in
 * one system call, and answers come in together. What is larger takes the
 * others, where nothing small has to wait behind it.
 */
#define SMALL_IO (UINT64_C(16) << 10)

static unsigned
con_hint(const struct rnbd_wait *s, uint64_t len)
{
	unsigned io_cons = s->params.rtrs.n_cons - 1;

	if (len <= SMALL_IO || io_cons < 2)
		return 0;
	return 1 + thread_number() % (io_cons - 1);
}

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
	w.io.con_hint = con_hint(s, len);
	w.io.off = off;
	w.io.len = len;
	w.io.buf = buf;
	w.io.asked_ns = s->params.stats ? clock_now() : 0;
	w.io.done = io_done;
	w.io.user = &w;
	return waiter_run(s, &w);
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
		snprintf(w->text, RNBD_WAIT_TEXT_MAX, "%s%s", strerror(-err),
			 remedy_words(err));
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
	err = waiter_run(s, &w);
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
	wait_unlock(s, &wk, &w);
	/* What the log knows of it before what the caller says. */
	log_queue_wait(s->log);
	return err;
}

static void
is_ready(void *user, int err, const char *text)
{
	struct waiter *w = user;

	if (err)
		snprintf(w->text, RNBD_WAIT_TEXT_MAX, "%s",
			 text && *text ? text : strerror(-err));
	waiter_finish(w->wait, w, err);
}

static int
start_ready(struct rnbd_wait *s, struct waiter *w)
{
	int err = client_new(s);

	return err ? err : rnbd_clt_wait_ready(s->clt, is_ready, w);
}

int
rnbd_wait_ready(struct rnbd_wait *s, char text[RNBD_WAIT_TEXT_MAX])
{
	struct waiter w = {.start = start_ready, .text = text};
	int err;

	text[0] = '\0';
	err = waiter_run(s, &w);
	if (err && !text[0])
		snprintf(text, RNBD_WAIT_TEXT_MAX, "%s", strerror(-err));
	if (err)
		log_queue_wait(s->log);
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

	waiter_run(s, &w);
}

void
rnbd_wait_connect(struct rnbd_wait *s)
{
	struct wakes wk = {0};

	futex_lock(&s->lock);
	/* On an error the first open tries again, and reports it. */
	if (!client_new(s))
		wk.kick = true;
	wait_unlock(s, &wk, NULL);
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
	wait_unlock(s, &wk, NULL);
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
	wait_unlock(s, &wk, NULL);
}

void
rnbd_wait_stats(struct rnbd_wait *s, struct rnbd_wait_stats *ret)
{
	struct wakes wk = {0};

	futex_lock(&s->lock);
	*ret = s->stats;
	ret->wakes = atomic_load_explicit(&s->wakes, memory_order_relaxed);
	ret->polls_paid = s->spin.paid;
	ret->polls_missed = s->spin.missed;
	wait_unlock(s, &wk, NULL);
}

void
rnbd_wait_with(struct rnbd_wait *s, bool (*fn)(struct rnbd_clt *clt, void *arg),
	       void *arg)
{
	struct wakes wk = {0};

	futex_lock(&s->lock);
	if (fn(s->clt, arg) && s->clt) {
		/* There may be more descriptors: whoever watches them asks. */
		s->n_fds = rnbd_clt_fds(s->clt, s->fds, MAX_FDS);
		if (s->asleep && !s->roused)
			s->roused = wk.rouse = true;
		if (!s->driver) {
			s->seen_activity = s->activity;
			wk.kick = true;
		}
	}
	wait_unlock(s, &wk, NULL);
}

/* ------------------------------------------------- helper */

void
rnbd_wait_kick(struct rnbd_wait *s)
{
	/* Can not fail but by overflow, and then it is readable anyway. */
	eventfd_write(s->kick_fd, 1);
}

static void
shut_down(struct rnbd_wait *s)
{
	struct wakes wk = {0};

	futex_lock(&s->lock);
	waiters_drain(s, NULL);
	s->shut = true;
	client_free(s);
	while (s->waiting)
		waiter_finish(s, s->waiting, -ESHUTDOWN);
	wait_unlock(s, &wk, NULL);
}

void
rnbd_wait_help(struct rnbd_wait *s)
{
	int fds[MAX_FDS];
	struct wakes wk = {0};
	uint64_t ns = TICK_NS;
	bool stalled;
	int n = 0;

	futex_lock(&s->lock);
	waiters_drain(s, NULL);
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
			ns = wait_sleep_ns(s, now, TIME_NEVER);
		memcpy(fds, s->fds, sizeof(fds));
		n = s->n_fds;
	}
	/* For a whole tick, that is; not since a kick. */
	stalled = s->ticked && s->waiting && s->activity == s->seen_activity;
	s->ticked = false;
	s->seen_activity = s->activity;
	wait_unlock(s, &wk, NULL);

	if (stalled && s->quit && s->quit(s->user)) {
		shut_down(s);
		return;
	}
	if (ns)
		s->ticked = !wait_sleep(s->kick_fd, fds, n, ns);
}

/* ------------------------------------------------- life */

int
rnbd_wait_new(const struct rnbd_wait_params *p, struct rnbd_wait **ret)
{
	struct rnbd_wait *s;
	int err;

	/* Groups have a cache line each. */
	s = aligned_alloc(64, (sizeof(*s) + 63) & ~(size_t)63);
	if (!s)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	s->params = p->clt;
	s->params.rtrs.rng.fill = random_fill;
	s->spin.span_ns = p->busy_poll_us * NSEC_PER_USEC;
	s->quit = p->quit;
	s->user = p->user;
	err = log_queue_new(p->clt.rtrs.log, &s->log);
	if (err)
		goto err_free;
	s->params.rtrs.log = log_queue_log(s->log);
	s->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->kick_fd < 0) {
		err = -errno;
		goto err_log;
	}
	s->rouse_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->rouse_fd < 0) {
		err = -errno;
		goto err_close_kick;
	}
	*ret = s;
	return 0;

err_close_kick:
	close(s->kick_fd);
err_log:
	log_queue_free(s->log);
err_free:
	free(s);
	return err;
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
			ns = wait_sleep_ns(s, now, end - now);
		if (ns)
			wait_sleep(s->kick_fd, s->fds, s->n_fds, ns);
		now = clock_now();
		rnbd_clt_progress(s->clt, now);
	}
	rnbd_clt_free(s->clt);
	close(s->rouse_fd);
	close(s->kick_fd);
	free(s->kept);
	log_queue_free(s->log);
	free(s);
}
