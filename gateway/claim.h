/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who has what open, across all sessions, and which access modes go together.
 * Not locked: export.c holds its lock around each call.
 */
#ifndef GATEWAY_CLAIM_H
#define GATEWAY_CLAIM_H

#include <stdint.h>

#include "gateway/backend/backend.h"
#include "gateway/text.h"

struct gw_claim;
struct gw_claimed;

struct gw_claims {
	struct gw_claimed *by_id; /* hash by identity; {NULL} is empty */
};

/*
 * Claims id for mode: RO always, RW without writers, MIGRATION with less than
 * two; RW and MIGRATION are writers. -EPERM busy, with a text that names the
 * writers; -EINVAL unknown mode; -ENOMEM.
 */
int gw_claims_add(struct gw_claims *c, const struct backend_identity *id,
		  const char *sess_name, const char *dev_name, uint8_t mode,
		  struct gw_claim **ret, char err_text[GW_TEXT_MAX]);
void gw_claims_remove(struct gw_claims *c, struct gw_claim *claim);

#endif
