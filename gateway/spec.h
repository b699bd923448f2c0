/* SPDX-License-Identifier: BSD-3-Clause */
/* NAME=SPEC of an export, as text. Nothing is opened here. */
#ifndef GATEWAY_SPEC_H
#define GATEWAY_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/text.h"

enum gw_spec_kind {
	GW_SPEC_FILE,
	GW_SPEC_MEMORY,
	GW_SPEC_NULL,
};

struct gw_spec {
	char name[RNBD_NAME_LEN];
	enum gw_spec_kind kind;
	char *path;     /* FILE; owned */
	uint64_t size;  /* MEMORY, NULL: bytes, a multiple of 512 */
	bool read_only; /* ,ro */
	bool buffered;  /* ,buffered; FILE only */
};

/*
 * NAME=SPEC with SPEC one of PATH, file:PATH, memory:SIZE, null:SIZE, followed
 * by any of ",ro" and ",buffered". A path that really ends in one of these
 * words cannot be given. -EINVAL, -ENOMEM, with err_text.
 */
int gw_spec_parse(const char *name_spec, struct gw_spec *ret,
		  char err_text[GW_TEXT_MAX]);
void gw_spec_deinit(struct gw_spec *spec);

/* Whether any client can ask for it: 0 or -EINVAL with err_text. */
int gw_spec_check_name(const char *name, char err_text[GW_TEXT_MAX]);

/* Decimal digits and K, M, G or T (of 1024). -EINVAL; -ERANGE too large. */
int gw_size_parse(const char *s, uint64_t *ret);

#endif
