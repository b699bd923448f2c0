/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our client at a lying server, and another session of it at an honest one. In
 * some plays the liar is the second path of a session whose first one is
 * honest.
 */
#include "tests/hostile/half.h"
#include "tests/hostile/honest.h"
#include "tests/hostile/victim.h"

void
hostile_play(struct stage *s)
{
	static struct gateway g;
	static struct honest h;
	static struct liar_srv liar;
	static struct victim v;
	static struct half half;
	bool halves = !choose(s->choice, 8);
	bool done;

	gateway_start(&g, s);
	honest_start(&h, &g, HONEST_ALONE, 300 * NSEC_PER_USEC);
	liar_srv_start(&liar, s);
	if (halves)
		half_start(&half, &g, &liar);
	else
		victim_start(&v, s, &liar);
	do {
		if (!stage_turn(s))
			stage_fail(s, "nothing is under way, and who is lied "
				      "to is not done");
		done = halves ? half.state == HALF_DONE
			      : v.state == VICTIM_DONE;
	} while (!s->failed && !done);
	s->verdicts += halves ? half.ok : v.ok;
	if (!s->failed && halves)
		half_stop(&half);
	else if (!s->failed)
		victim_stop(&v);
	if (!s->failed)
		liar_srv_stop(&liar);
	if (!s->failed)
		honest_stop(&h);
	if (!s->failed)
		gateway_stop(&g);
}
