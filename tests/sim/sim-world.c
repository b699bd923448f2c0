/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/sim-world.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "tests/sim/sim-backend.h"
#include "tests/sim/sim-client.h"
#include "tests/sim/sim-server.h"

/* So many turns without the clock moving are a livelock. */
#define MAX_IDLE_ROUNDS 200000
/* A thread that is ready to run may wait for a processor so long. */
#define SLOWNESS_NS     (200 * NSEC_PER_USEC)

static void
log_sink(void *user, enum log_level level, const char *line)
{
	struct world *w = user;

	world_note(w, "%s: %s", log_level_name(level), line);
}

void
world_init(struct world *w, const struct sim_params *p, FILE *trace)
{
	struct sim_faults *f;

	memset(w, 0, sizeof(*w));
	w->p = *p;
	if (sim_net_new(p->seed * 2654435761u + 1, &w->net))
		abort();
	sim_net_trace(w->net, trace);
	w->log = (struct log){
		.sink = log_sink, .user = w, .threshold = LOG_LVL_DEBUG};
	/* Formatting costs as much as the rest. */
	if (!trace)
		w->log.sink = NULL;
	f = sim_net_faults(w->net);
	*f = p->faults;
	f->done_when_sent = p->done_when_sent;
	w->faults_end = world_now(w) + p->fault_ns;
	w->orphans_left = p->orphans;
	f->until_ns = w->faults_end;
	w->n_tags = 1;
	w->iops = p->iops;
	w->bandwidth = p->bandwidth;
	w->block_size = p->block_size;
	w->limited = p->limits;
}

void
world_deinit(struct world *w)
{
	free(w->tags);
	sim_net_free(w->net);
}

uint64_t
world_now(const struct world *w)
{
	return sim_net_now(w->net);
}

uint64_t
world_below(struct world *w, uint64_t n)
{
	return sim_net_below(w->net, n);
}

bool
world_chance(struct world *w, unsigned percent)
{
	return world_below(w, 100) < percent;
}

void
world_note(struct world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sim_net_vnote(w->net, fmt, ap);
	va_end(ap);
}

void
world_fail(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->failed)
		return;
	w->failed = true;
	va_start(ap, fmt);
	vsnprintf(w->why, sizeof(w->why), fmt, ap);
	va_end(ap);
	world_note(w, "FAILED: %s", w->why);
}

uint64_t
world_tag_new(struct world *w)
{
	if (w->n_tags >= w->cap_tags) {
		w->cap_tags = w->cap_tags ? 2 * w->cap_tags : 256;
		w->tags = realloc(w->tags, w->cap_tags);
		if (!w->tags)
			abort();
	}
	w->tags[w->n_tags] = TAG_PENDING;
	return w->n_tags++;
}

/* --- timers */

static int
timer_cmp(const struct world_timer *a, const struct world_timer *b)
{
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

void
world_timer_set(struct world *w, struct world_timer *t, uint64_t at)
{
	world_timer_cancel(w, t);
	t->w = w;
	t->at = at;
	t->seq = ++w->timer_seq;
	t->armed = true;
	DL_INSERT_INORDER(w->timers, t, timer_cmp);
}

void
world_timer_cancel(struct world *w, struct world_timer *t)
{
	if (!t->armed)
		return;
	t->armed = false;
	DL_DELETE(w->timers, t);
}

static bool
fire_timer(struct world *w)
{
	struct world_timer *t = w->timers;

	if (!t || t->at > world_now(w))
		return false;
	world_timer_cancel(w, t);
	w->changes++;
	t->fire(t);
	return true;
}

/* --- the loop */

/*
 * Engines are asked again only when something may have changed their answer:
 * that is most of what a run costs.
 */
static bool
is_news(const struct actor *a, struct actor_known *k)
{
	uint64_t arrivals = sim_node_arrivals(a->node);

	if (k->known && k->changes == a->w->changes && k->arrivals == arrivals)
		return false;
	k->known = true;
	k->changes = a->w->changes;
	k->arrivals = arrivals;
	return true;
}

static uint64_t
due_at(struct actor *a)
{
	if (is_news(a, &a->due_at))
		a->due_at.value = a->deadline(a);
	return a->due_at.value;
}

static bool
is_ready(struct actor *a)
{
	if (is_news(a, &a->is_ready))
		a->is_ready.value = a->ready(a);
	return a->is_ready.value || due_at(a) <= world_now(a->w);
}

static void
progress(struct actor *a)
{
	struct world *w = a->w;

	if (a->alone)
		a->is_ready.known = a->due_at.known = false;
	else
		w->changes++;
	a->progress(a);
}

/* Progress for whoever is ready, in any order. */
static bool
run_actors(struct world *w)
{
	struct actor *ready[16], *a;
	unsigned n = 0, i;

	DL_FOREACH(w->actors, a) {
		if (a->asleep_until > world_now(w))
			continue;
		/* A call too many must do no harm. */
		if (is_ready(a) || world_below(w, 64) == 0)
			ready[n++] = a;
		if (n == ARRAY_SIZE(ready))
			break;
	}
	if (!n)
		return false;
	i = (unsigned)world_below(w, n);
	progress(ready[i]);
	return true;
}

static uint64_t
next_deadline(struct world *w)
{
	uint64_t t = w->timers ? w->timers->at : TIME_NEVER;
	struct actor *a;

	DL_FOREACH(w->actors, a)
		t = time_min(t, a->asleep_until > world_now(w) ? a->asleep_until
							       : due_at(a));
	return t;
}

/* The next thing that happens by itself, if that is before limit. */
static bool
run_next(struct world *w, uint64_t limit)
{
	uint64_t t = next_deadline(w), net = sim_net_next_time(w->net);

	if (time_min(t, net) == TIME_NEVER || time_min(t, net) > limit)
		return false;
	if (net <= t) {
		sim_net_step(w->net);
	} else {
		sim_net_advance(w->net, t);
		fire_timer(w);
	}
	return true;
}

bool
world_turn(struct world *w)
{
	uint64_t now = world_now(w);
	bool some = false;

	/* Whoever is busy may be slow: things arrive meanwhile. */
	if (world_below(w, 4) == 0)
		some = run_next(w, now + world_below(w, SLOWNESS_NS));
	if (!some)
		some = run_actors(w) || run_next(w, TIME_NEVER);
	if (world_now(w) > now)
		w->idle_rounds = 0;
	else if (++w->idle_rounds > MAX_IDLE_ROUNDS)
		world_fail(w, "no end of work without time passing");
	w->digest = w->digest * 31 + world_now(w);
	return some && !w->failed;
}
