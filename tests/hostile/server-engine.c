/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lying clients at our server, an honest one beside them. In some plays they
 * know the UUIDs of his session and of its paths, of which it then has two, and
 * there is one more session, that nobody claims.
 */
#include "tests/hostile/honest.h"
#include "tests/hostile/liar-clt.h"

#define N_LIARS 3

static bool
all_done(const struct liar_clt *liars)
{
	for (unsigned i = 0; i < N_LIARS; i++)
		if (liars[i].state != LIAR_DONE)
			return false;
	return true;
}

static void
stop_honest(struct honest *h)
{
	struct stage *s = h->stage;

	if (!s->failed)
		honest_stop(h);
	if (!s->failed && !h->done)
		stage_fail(s, "honest: no I/O was done");
}

void
hostile_play(struct stage *s)
{
	static struct gateway g;
	static struct honest h, other;
	static struct liar_clt liars[N_LIARS];
	bool thieves = !choose(s->choice, 4);
	unsigned i;

	gateway_start(&g, s);
	if (thieves)
		g.stealable = (unsigned)choose(s->choice, HONEST_PATHS + 1);
	honest_start(&h, &g, thieves ? HONEST_TWICE : HONEST_ALONE,
		     200 * NSEC_PER_USEC);
	if (thieves && !s->failed)
		honest_start(&other, &g, HONEST_OTHER, 200 * NSEC_PER_USEC);
	/* Two of them share the limits of one address. */
	for (i = 0; i < N_LIARS; i++) {
		liar_clt_start(&liars[i], s, &g, i, HOST_LIAR + i / 2);
		liars[i].thief = thieves;
	}
	while (!s->failed && !all_done(liars))
		if (!stage_turn(s))
			stage_fail(s, "nothing is under way, and the liars are "
				      "not done");
	stop_honest(&h);
	if (thieves)
		stop_honest(&other);
	for (i = 0; !s->failed && i < N_LIARS; i++)
		liar_clt_free(&liars[i]);
	if (!s->failed)
		gateway_stop(&g);
}
