/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/claim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <utlist.h>

#include "gateway/hash.h"
#include "rtrs/base/mutant.h"

#define MAX_WRITERS 2 /* both for migration */

struct gw_claim {
	struct gw_claimed *of;
	struct gw_claim *prev, *next;
	char sess_name[RNBD_NAME_LEN];
	uint8_t mode;
};

struct gw_claimed {
	struct backend_identity id;
	struct gw_claim *claims;
	unsigned writers;
	UT_hash_handle hh;
};

static bool
is_writer(uint8_t mode)
{
	return mode != RNBD_ACCESS_RO;
}

static unsigned
writers_allowed(uint8_t mode)
{
	switch (mode) {
	case RNBD_ACCESS_RW:
		return 1;
	case RNBD_ACCESS_MIGRATION:
		return MAX_WRITERS;
	default:
		return UINT32_MAX;
	}
}

static int
say_busy(const struct gw_claimed *of, const char *dev_name,
	 char err_text[GW_TEXT_MAX])
{
	const struct gw_claim *claim;
	size_t n;

	gw_text_err(err_text, 0, "busy: '%s' is already open",
		    gw_name_text(dev_name).s);
	n = strlen(err_text);
	DL_FOREACH(of->claims, claim) {
		if (!is_writer(claim->mode))
			continue;
		n += (size_t)snprintf(
			err_text + n, GW_TEXT_MAX - n, " %s by session '%s',",
			claim->mode == RNBD_ACCESS_RW ? "read-write"
						      : "for migration",
			gw_name_text(claim->sess_name).s);
		if (n >= GW_TEXT_MAX)
			return -EPERM;
	}
	err_text[n - 1] = '\0';
	return -EPERM;
}

int
gw_claims_add(struct gw_claims *c, const struct backend_identity *id,
	      const char *sess_name, const char *dev_name, uint8_t mode,
	      struct gw_claim **ret, char err_text[GW_TEXT_MAX])
{
	struct gw_claimed *of;
	struct gw_claim *claim;

	if (mode > RNBD_ACCESS_MIGRATION)
		return gw_text_err(err_text, -EINVAL,
				   "access mode %u is unknown", mode);
	HASH_FIND(hh, c->by_id, id, sizeof(*id), of);
	if (of && is_writer(mode) && of->writers >= writers_allowed(mode) &&
	    !RNBD_MUTANT(CLAIM_SHARED))
		return say_busy(of, dev_name, err_text);

	claim = calloc(1, sizeof(*claim));
	if (!claim)
		goto err_nomem;
	if (!of) {
		of = calloc(1, sizeof(*of));
		if (!of)
			goto err_free_claim;
		of->id = *id;
		HASH_ADD(hh, c->by_id, id, sizeof(of->id), of);
		if (!of->hh.tbl)
			goto err_free_of;
	}
	claim->of = of;
	claim->mode = mode;
	snprintf(claim->sess_name, sizeof(claim->sess_name), "%s", sess_name);
	DL_APPEND(of->claims, claim);
	of->writers += is_writer(mode);
	*ret = claim;
	return 0;

err_free_of:
	free(of);
err_free_claim:
	free(claim);
err_nomem:
	return gw_text_err(err_text, -ENOMEM, "the server is out of memory");
}

void
gw_claims_remove(struct gw_claims *c, struct gw_claim *claim)
{
	struct gw_claimed *of;

	if (!claim)
		return;
	of = claim->of;
	of->writers -= is_writer(claim->mode);
	DL_DELETE(of->claims, claim);
	free(claim);
	if (!of->claims) {
		HASH_DEL(c->by_id, of);
		free(of);
	}
}
