/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A second path of somebody else's session. UUIDs travel in the clear, so a
 * liar may know that of the session, of a path, or both. What he may not do
 * with them: join a path that is up, bring a path of his own into the session
 * (its name is bound to addresses), or be noticed by the honest one. With both
 * UUIDs and a larger recon_cnt he ends a path: that is how a client replaces
 * its own.
 */
#include <stdio.h>
#include <string.h>

#include "tests/hostile/liar-clt.h"

void
liar_claim(struct liar_clt *l)
{
	struct choice *c = l->stage->choice;
	const struct heard *h = &l->g->heard[choose(c, l->g->n_heard)];

	l->claims = l->shared = true;
	switch (choose(c, 8)) {
	case 0:
	case 1:
	case 2:
		l->sess_uuid = h->sess;
		l->claims_sess = true;
		break;
	case 3:
	case 4: /* the same attempt again, or an older one */
		l->sess_uuid = h->sess;
		l->path_uuid = h->path;
		l->recon_cnt = (uint16_t)(h->recon_cnt - choose(c, 3));
		l->claims_sess = true;
		break;
	case 5:
		l->sess_uuid = h->sess;
		l->path_uuid = h->path;
		l->recon_cnt = (uint16_t)(h->recon_cnt + 1 + choose(c, 3));
		l->claims_sess = true;
		break;
	case 6: /* a path of another session has nothing to do with it */
		l->path_uuid = h->path;
		l->shared = false;
		break;
	default: /* a good guess */
		l->sess_uuid = h->sess;
		l->path_uuid = h->path;
		l->sess_uuid.b[choose(c, sizeof(h->sess.b))] ^=
			(uint8_t)(1u << choose(c, 8));
		break;
	}
	if (choose(c, 2))
		snprintf(l->name, sizeof(l->name), HONEST_NAME);
}

void
liar_claim_check(struct liar_clt *l, struct liar_con *con, uint8_t *priv,
		 size_t len)
{
	struct rtrs_msg_conn_req said;
	struct gateway *g = l->g;
	const struct heard *h;

	if (!l->claims || rtrs_msg_conn_req_decode(priv, len, &said))
		return;
	h = gateway_heard(g, &said);
	if (!h)
		return;
	if ((int16_t)(said.recon_cnt - h->recon_cnt) > 0) {
		if (h < g->heard + g->stealable) {
			stage_note(l->stage, "liar %u: steals path %u",
				   l->index, (unsigned)(h - g->heard));
			g->stolen = true;
			return;
		}
		liar_put(priv + 10, h->recon_cnt, 2);
	}
	con->must_miss = true;
}

bool
liar_claim_fails(const struct liar_clt *l)
{
	if (!l->claims)
		return false;
	/* While the honest one is away his session may be anybody's. */
	return !strcmp(l->name, HONEST_NAME) ||
	       (l->claims_sess && !l->g->stolen);
}
