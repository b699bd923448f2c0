/* SPDX-License-Identifier: BSD-3-Clause */
/* What comes back, against what was foretold. */
#include "tests/hostile/liar-clt.h"

static void
take_open_rsp(struct liar_clt *l, const struct shot *shot, const uint8_t *rx)
{
	struct rnbd_msg_open_rsp rsp;

	if (rnbd_msg_open_rsp_decode(rx, shot->rx_len, &rsp)) {
		liar_fail(l, "OPEN_RSP is malformed");
		return;
	}
	l->last_id = rsp.device_id;
	if (l->shared)
		return;
	if (!shot->opens) {
		liar_fail(l, "opened what it may not: %llu sectors",
			  (unsigned long long)rsp.nsectors);
		return;
	}
	for (unsigned i = 0; i < l->n_devs; i++)
		if (l->devs[i].id == rsp.device_id)
			return; /* of the same name, open already */
	if (l->n_devs < LIAR_DEVS)
		l->devs[l->n_devs++] = (struct liar_dev){.id = rsp.device_id,
							 .ro = shot->opens_ro,
							 .disk = shot->opens};
	else
		l->shared = true;
}

static void
forget_device(struct liar_clt *l, uint32_t id)
{
	for (unsigned i = 0; i < l->n_devs; i++)
		if (l->devs[i].id == id)
			l->devs[i--] = l->devs[--l->n_devs];
}

/* What is behind an answer must not be what lay there before. */
static void
check_padding(struct liar_clt *l, const struct shot *shot, const uint8_t *rx)
{
	uint32_t used = shot->type == RNBD_MSG_OPEN ? RNBD_OPEN_RSP_LEN
						    : RNBD_SESS_INFO_LEN;

	for (uint32_t i = used; i < shot->rx_len; i++)
		if (rx[i]) {
			liar_fail(l,
				  "byte %u of an answer of %u "
				  "bytes is not zero",
				  i, used);
			return;
		}
}

void
liar_answered(struct liar_clt *l, uint32_t id, int err, bool w_inv)
{
	struct shot *shot = id < LIAR_DEPTH ? &l->shots[id] : NULL;
	const uint8_t *rx;

	if (!shot || !shot->out) {
		if (!l->doomed && !l->uncertain)
			liar_fail(l, "an answer to %u, unasked", id);
		return;
	}
	rx = liar_rx(l, id);
	shot->out = false;
	if (shot->mr) {
		l->stage->fabric->mr_dereg(shot->mr);
		shot->mr = NULL;
	}
	if (stamp_leaked(rx, shot->rx_len))
		liar_fail(l, "got what is the honest one's");
	if (shot->type == RNBD_MSG_CLOSE && !err)
		forget_device(l, shot->closes);
	if (l->doomed || l->uncertain) {
		/* Open, but how it was opened is not known. */
		l->shared |= shot->type == RNBD_MSG_OPEN && !err;
		return;
	}
	if (shot->verdict.err_known && shot->verdict.err != err)
		liar_fail(l, "request %u of type %u: %d, not %d", id,
			  shot->type, err, shot->verdict.err);
	if (w_inv != shot->w_inv || shot->inv_seen != w_inv)
		liar_fail(l, "request %u: key %sended", id,
			  shot->inv_seen ? "" : "not ");
	if (err || !shot->rx_len)
		return;
	if (shot->type == RNBD_MSG_OPEN || shot->type == RNBD_MSG_SESS_INFO)
		check_padding(l, shot, rx);
	if (shot->type == RNBD_MSG_OPEN)
		take_open_rsp(l, shot, rx);
}
