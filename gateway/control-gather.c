/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/control-env.h"

#include <errno.h>
#include <stdlib.h>

/* On the control thread. */
static void
part_back(struct loop_call *call)
{
	struct gather_part *part = container_of(call, struct gather_part, call);
	struct gather *g = part->gather;

	if (--g->left)
		return;
	g->done(g);
	for (unsigned i = 0; i < g->n_parts; i++)
		snapshot_deinit(&g->parts[i].snap);
	free(g->arg);
	free(g);
}

/* On the worker's thread. */
static void
part_run(struct loop_call *call)
{
	struct gather_part *part = container_of(call, struct gather_part, call);

	part->gather->work(part);
	part->call.fn = part_back;
	loop_post(part->gather->env->loop, &part->call);
}

/* NULL: answered, arg freed. */
static struct gather *
gather_new(struct control_env *env, struct control_call *call, void *arg)
{
	unsigned n = env->n_workers;
	struct gather *g;

	/* A loop that has ended takes no calls: they would never come back. */
	if (env->draining) {
		free(arg);
		control_fail_errno(call, -EBUSY, "the daemon is draining");
		return NULL;
	}
	g = calloc(1, sizeof(*g) + n * sizeof(*g->parts));
	if (!g) {
		free(arg);
		control_reply(call, NULL);
		return NULL;
	}
	g->env = env;
	g->call = call;
	g->arg = arg;
	g->left = g->n_parts = n;
	return g;
}

static void
gather_run(struct gather *g)
{
	/* What comes back is taken on this thread, not before this ends. */
	for (unsigned i = 0; i < g->n_parts; i++) {
		struct gather_part *part = &g->parts[i];

		part->call.fn = part_run;
		part->gather = g;
		part->worker = g->env->workers[i];
		worker_post(part->worker, &part->call);
	}
}

void
gather_start(struct control_env *env, struct control_call *call,
	     void (*work)(struct gather_part *part),
	     void (*done)(struct gather *g), void *arg)
{
	struct gather *g = gather_new(env, call, arg);

	if (!g)
		return;
	g->work = work;
	g->done = done;
	gather_run(g);
}

static void
take(struct gather_part *part)
{
	snapshot_take(worker_server(part->worker), part->gather->want,
		      &part->snap);
	part->has_uring = worker_has_uring(part->worker);
}

static void
snapshots_done(struct gather *g)
{
	for (unsigned i = 0; i < g->n_parts; i++) {
		if (g->parts[i].snap.err < 0) {
			control_reply(g->call, NULL);
			return;
		}
	}
	g->then(g);
}

void
gather_snapshots(struct control_env *env, struct control_call *call,
		 unsigned want, void (*done)(struct gather *g), void *arg)
{
	struct gather *g = gather_new(env, call, arg);

	if (!g)
		return;
	g->work = take;
	g->done = snapshots_done;
	g->then = done;
	g->want = want;
	gather_run(g);
}

unsigned
gather_count(const struct gather *g)
{
	unsigned n = 0;

	for (unsigned i = 0; i < g->n_parts; i++)
		n += g->parts[i].count;
	return n;
}
