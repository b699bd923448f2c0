/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/watchdog.h"

#include <errno.h>
#include <stdlib.h>

#include "rtrs/base/util.h"

/* The question to a thread, which travels there and back. */
struct question {
	struct loop_call call;
	struct watchdog *watchdog;
	bool out, gone;
};

struct watchdog {
	struct watchdog_params p;
	uint64_t next, asked;
	unsigned n_out;
	struct question q[];
};

int
watchdog_new(const struct watchdog_params *p, struct watchdog **ret)
{
	struct watchdog *w = calloc(1, sizeof(*w) + p->n * sizeof(*w->q));

	if (!w)
		return -ENOMEM;
	w->p = *p;
	for (unsigned i = 0; i < p->n; i++)
		w->q[i].watchdog = w;
	*ret = w;
	return 0;
}

void
watchdog_free(struct watchdog *w)
{
	free(w);
}

static void
settle(struct question *q)
{
	struct watchdog *w = q->watchdog;

	q->out = false;
	if (!--w->n_out)
		w->p.alive(w->p.user);
}

/* On the owner's thread. */
static void
answered(struct loop_call *call)
{
	struct question *q = container_of(call, struct question, call);

	if (q->out)
		settle(q);
}

/* On the thread that was asked. */
static void
asked(struct loop_call *call)
{
	struct question *q = container_of(call, struct question, call);

	q->call.fn = answered;
	loop_post(q->watchdog->p.loop, &q->call);
}

static void
ask_all(struct watchdog *w)
{
	for (unsigned i = 0; i < w->p.n; i++) {
		struct question *q = &w->q[i];

		if (q->gone)
			continue;
		q->out = true;
		w->n_out++;
		q->call.fn = asked;
		w->p.post(w->p.user, i, &q->call);
	}
}

uint64_t
watchdog_run(struct watchdog *w, uint64_t now)
{
	if (now < w->next)
		return w->next;
	w->next = now + w->p.interval;
	if (w->n_out) {
		for (unsigned i = 0; i < w->p.n; i++)
			if (w->q[i].out)
				w->p.late(w->p.user, i, w->asked);
		return w->next;
	}
	w->asked = now;
	ask_all(w);
	return w->next;
}

void
watchdog_gone(struct watchdog *w, unsigned i)
{
	struct question *q = &w->q[i];

	q->gone = true;
	if (q->out)
		settle(q);
}
