/* SPDX-License-Identifier: BSD-3-Clause */
/* Lying clients at our server, an honest one beside them. */
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

void
hostile_play(struct stage *s)
{
	static struct gateway g;
	static struct honest h;
	static struct liar_clt liars[N_LIARS];
	unsigned i;

	gateway_start(&g, s);
	honest_start(&h, s, 200 * NSEC_PER_USEC);
	/* Two of them share the limits of one address. */
	for (i = 0; i < N_LIARS; i++)
		liar_clt_start(&liars[i], s, &g, i, HOST_LIAR + i / 2);
	while (!s->failed && !all_done(liars))
		if (!stage_turn(s))
			stage_fail(s, "nothing is under way, and the liars are "
				      "not done");
	if (!s->failed)
		honest_stop(&h);
	if (!s->failed && !h.done)
		stage_fail(s, "honest: no I/O was done");
	for (i = 0; !s->failed && i < N_LIARS; i++)
		liar_clt_free(&liars[i]);
	if (!s->failed)
		gateway_stop(&g);
}
