/* SPDX-License-Identifier: BSD-3-Clause */
/* Our client at a lying server, and another session of it at an honest one. */
#include "tests/hostile/honest.h"
#include "tests/hostile/victim.h"

void
hostile_play(struct stage *s)
{
	static struct gateway g;
	static struct honest h;
	static struct liar_srv liar;
	static struct victim v;

	gateway_start(&g, s);
	honest_start(&h, &g, HONEST_ALONE, 300 * NSEC_PER_USEC);
	liar_srv_start(&liar, s);
	victim_start(&v, s, &liar);
	while (!s->failed && v.state != VICTIM_DONE)
		if (!stage_turn(s))
			stage_fail(s, "nothing is under way, and the victim "
				      "is not done");
	s->verdicts += v.ok;
	if (!s->failed)
		victim_stop(&v);
	if (!s->failed)
		liar_srv_stop(&liar);
	if (!s->failed)
		honest_stop(&h);
	if (!s->failed)
		gateway_stop(&g);
}
