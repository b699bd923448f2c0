/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/plugin/fake-clt.h"

#include <errno.h>
#include <pthread.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utlist.h>

#include "nbdkit-plugin/rnbd-clt.h"

#define BATCH 64

struct fake fake;

/* What travels: the request, or NULL for an event. */
struct request {
	struct rnbd_clt_io *io;
	rnbd_clt_opened_fn opened;
	void (*closed)(void *user);
	void *user;
	struct rnbd_clt_dev *dev;
	struct request *prev, *next;
};

struct rnbd_clt {
	int to[2], from[2];
	int extra; /* 0: none */
	pthread_t peer;
	bool closing;
	struct request *queued; /* not yet flushed */
	struct request *out;
	struct rnbd_clt_dev *devs;
	atomic_int inside; /* threads, to catch two */
};

struct rnbd_clt_dev {
	struct rnbd_clt *c;
	struct rnbd_clt_dev *prev, *next;
};

static struct rnbd_clt *current;

void
fake_reset(void)
{
	atomic_store(&fake.mode, FAKE_ANSWER);
	atomic_store(&fake.open_err, 0);
	atomic_store(&fake.up, true);
	atomic_store(&fake.failed, false);
	atomic_store(&fake.deadline, TIME_NEVER);
	atomic_store(&fake.created, 0);
	atomic_store(&fake.freed, 0);
	atomic_store(&fake.progressed, 0);
	atomic_store(&fake.overlaps, 0);
	atomic_store(&fake.submitted, 0);
	atomic_store(&fake.armed, 0);
	atomic_store(&fake.events, 0);
	atomic_store(&fake.flushes, 0);
	atomic_store(&fake.extra, 0);
	fake.on_progress = NULL;
	fake.freeing = false;
}

static void
enter(struct rnbd_clt *c)
{
	if (atomic_fetch_add_explicit(&c->inside, 1, memory_order_relaxed))
		atomic_fetch_add(&fake.overlaps, 1);
}

static void
leave(struct rnbd_clt *c)
{
	atomic_fetch_sub_explicit(&c->inside, 1, memory_order_relaxed);
}

static void
write_all(int fd, const void *buf, size_t len)
{
	if (write(fd, buf, len) != (ssize_t)len)
		abort();
}

void
fake_send_event(void)
{
	struct request *none = NULL;

	write_all(current->from[1], &none, sizeof(none));
}

void
fake_add_fd(void)
{
	current->extra = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void
fake_send_extra(void)
{
	eventfd_write(current->extra, 1);
}

static void *
peer_main(void *arg)
{
	struct rnbd_clt *c = arg;
	struct request *batch[BATCH];
	ssize_t n;

	while ((n = read(c->to[0], batch, sizeof(batch))) > 0) {
		unsigned count = (unsigned)n / sizeof(batch[0]);

		enum fake_mode mode = atomic_load(&fake.mode);

		if (mode == FAKE_SILENT || mode == FAKE_LOCAL)
			continue;
		if (mode == FAKE_SHUFFLE)
			for (unsigned i = 0; i + 1 < count; i += 2) {
				struct request *r = batch[i];

				batch[i] = batch[i + 1];
				batch[i + 1] = r;
			}
		write_all(c->from[1], batch, (size_t)n);
	}
	return NULL;
}

int
rnbd_clt_new(const struct rnbd_clt_params *p, struct rnbd_clt **ret)
{
	struct rnbd_clt *c = calloc(1, sizeof(*c));

	if (!c || pipe(c->to) || pipe(c->from) ||
	    pthread_create(&c->peer, NULL, peer_main, c))
		abort();
	atomic_fetch_add(&fake.created, 1);
	current = c;
	*ret = c;
	return 0;
}

static void
finish(struct rnbd_clt *c, struct request *r, int err)
{
	DL_DELETE(c->out, r);
	if (r->io) {
		if (r->io->buf && !err)
			memcpy(r->io->buf, &r->io->off, sizeof(r->io->off));
		r->io->done(r->io, err);
	} else if (r->opened) {
		struct rnbd_clt_dev *dev = NULL;

		if (!err)
			err = atomic_load(&fake.open_err);
		if (!err) {
			dev = calloc(1, sizeof(*dev));
			dev->c = c;
			DL_APPEND(c->devs, dev);
		}
		r->opened(r->user, dev, err, err ? "no such export" : NULL);
	} else {
		r->closed(r->user);
		DL_DELETE(c->devs, r->dev);
		free(r->dev);
	}
	free(r);
}

void
rnbd_clt_free(struct rnbd_clt *c)
{
	if (!c)
		return;
	enter(c);
	close(c->to[1]);
	pthread_join(c->peer, NULL);
	while (c->queued) {
		struct request *r = c->queued;

		DL_DELETE(c->queued, r);
		DL_APPEND(c->out, r);
	}
	while (c->out)
		finish(c, c->out, -ESHUTDOWN);
	fake.freeing = true;
	if (fake.on_progress)
		fake.on_progress();
	while (c->devs) {
		struct rnbd_clt_dev *dev = c->devs;

		DL_DELETE(c->devs, dev);
		free(dev);
	}
	close(c->to[0]);
	if (c->extra)
		close(c->extra);
	close(c->from[0]);
	close(c->from[1]);
	leave(c);
	free(c);
	atomic_fetch_add(&fake.freed, 1);
}

void
rnbd_clt_close(struct rnbd_clt *c)
{
	c->closing = true;
}

bool
rnbd_clt_closed(const struct rnbd_clt *c)
{
	return c->closing;
}

int
rnbd_clt_fds(const struct rnbd_clt *c, int *fds, int n)
{
	fds[0] = c->from[0];
	fds[1] = c->extra;
	return c->extra ? 2 : 1;
}

void
rnbd_clt_flush(struct rnbd_clt *c)
{
	struct request *batch[BATCH];
	unsigned n = 0;

	enter(c);
	while (c->queued) {
		struct request *r = c->queued;

		DL_DELETE(c->queued, r);
		DL_APPEND(c->out, r);
		if (atomic_load(&fake.mode) == FAKE_LOCAL)
			continue;
		batch[n++] = r;
		if (n == BATCH || !c->queued) {
			atomic_fetch_add(&fake.flushes, 1);
			write_all(c->to[1], batch, n * sizeof(batch[0]));
			n = 0;
		}
	}
	leave(c);
}

bool
rnbd_clt_arm(struct rnbd_clt *c)
{
	rnbd_clt_flush(c);
	atomic_fetch_add(&fake.armed, 1);
	return c->out && atomic_load(&fake.mode) == FAKE_LOCAL;
}

uint64_t
rnbd_clt_deadline(const struct rnbd_clt *c)
{
	return atomic_load(&fake.deadline);
}

void
rnbd_clt_progress(struct rnbd_clt *c, uint64_t now)
{
	struct request *batch[BATCH];
	struct pollfd pfd = {.fd = c->from[0], .events = POLLIN};

	enter(c);
	atomic_fetch_add(&fake.progressed, 1);
	if (fake.on_progress)
		fake.on_progress();
	if (atomic_load(&fake.deadline) <= now)
		atomic_store(&fake.deadline, TIME_NEVER);
	while (c->out && atomic_load(&fake.mode) == FAKE_LOCAL)
		finish(c, c->out, 0);
	if (c->extra && !eventfd_read(c->extra, &(eventfd_t){0}))
		atomic_fetch_add(&fake.extra, 1);
	if (poll(&pfd, 1, 0) == 1) {
		ssize_t n = read(c->from[0], batch, sizeof(batch));

		for (unsigned i = 0; i < (size_t)n / sizeof(batch[0]); i++) {
			if (batch[i])
				finish(c, batch[i], 0);
			else
				atomic_fetch_add(&fake.events, 1);
		}
	}
	leave(c);
}

static void
queue(struct rnbd_clt *c, const struct request *template)
{
	struct request *r = malloc(sizeof(*r));

	enter(c);
	*r = *template;
	DL_APPEND(c->queued, r);
	leave(c);
}

void
rnbd_clt_submit(struct rnbd_clt_io *io)
{
	atomic_fetch_add(&fake.submitted, 1);
	queue(io->dev->c, &(struct request){.io = io});
}

int
rnbd_clt_dev_open(struct rnbd_clt *c, const char *name,
		  enum rnbd_access_mode mode, rnbd_clt_opened_fn opened,
		  void *user)
{
	queue(c, &(struct request){.opened = opened, .user = user});
	return 0;
}

void
rnbd_clt_dev_close(struct rnbd_clt_dev *dev, void (*closed)(void *user),
		   void *user)
{
	queue(dev->c,
	      &(struct request){.closed = closed, .user = user, .dev = dev});
}

void
rnbd_clt_dev_geometry(const struct rnbd_clt_dev *dev,
		      struct rnbd_clt_geometry *ret)
{
	*ret = (struct rnbd_clt_geometry){.size_bytes = 1 << 20};
}

const char *
rnbd_clt_dev_failed(const struct rnbd_clt_dev *dev)
{
	return NULL;
}

struct rtrs_clt *
rnbd_clt_rtrs(struct rnbd_clt *c)
{
	/* Something; nothing looks at what it points to. */
	return (void *)c;
}

const char *
rtrs_clt_why_down(const struct rtrs_clt *clt)
{
	return "connection refused";
}

bool
rnbd_clt_is_up(const struct rnbd_clt *c)
{
	return atomic_load(&fake.up);
}

bool
rnbd_clt_failed(const struct rnbd_clt *c)
{
	return atomic_load(&fake.failed);
}

int
rnbd_clt_wait_ready(struct rnbd_clt *c, rnbd_clt_ready_fn ready, void *user)
{
	/* The session under test is always there; OPEN is what may fail. */
	ready(user, atomic_load(&fake.open_err),
	      atomic_load(&fake.open_err) ? "not ready" : "");
	return 0;
}
