/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The description of an export: what it is made of, how it is opened, who may
 * have it and how fast. Nothing is opened here. The attributes are those of
 * gw_export_keys[] (export-conf.h), in a file and on the command line alike.
 */
#ifndef GATEWAY_SPEC_H
#define GATEWAY_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/match.h"
#include "gateway/text.h"

/* 10 ns each: beyond that a limit limits nothing. */
#define GW_SPEC_MAX_IOPS      UINT64_C(100000000)
/* Less than a block per second would be a device that hangs. */
#define GW_SPEC_MIN_BANDWIDTH UINT64_C(4096)

enum gw_spec_kind {
	GW_SPEC_FILE,
	GW_SPEC_MEMORY,
	GW_SPEC_NULL,
	GW_SPEC_NBD, /* nbd://…, nbd+unix://…, nbds://…, nbds+unix://… */
};

/* All zero is the description to start from. */
struct gw_spec {
	char name[RNBD_NAME_LEN];
	/* As it was given: PATH, file:PATH, memory:SIZE, null:SIZE or an NBD
	 * URI; owned. NULL: not yet. */
	char *backend;
	enum gw_spec_kind kind;
	const char *path; /* FILE: the path; NBD: the URI; part of backend */
	uint64_t size;    /* MEMORY, NULL: bytes, a multiple of 512 */
	uint64_t create;  /* FILE: bytes of one that is missing; 0: it must be
			   * there */
	bool read_only;
	bool buffered;     /* FILE: through the page cache, never O_DIRECT */
	bool writethrough; /* a write is durable when it is answered */
	/* Who may open it; an empty list: everybody. */
	struct gw_name_list sessions;
	struct gw_net_list addresses;
	/* Per second, of all clients together; 0: no limit. */
	uint64_t iops;
	uint64_t bandwidth; /* bytes */
	/* "FILE:LINE" that it stands at; owned. NULL: in no file. */
	char *place;
	bool in_section; /* the attributes are lines, and not behind commas */
};

/*
 * NAME=BACKEND, followed by any of ",ro", ",buffered" and ",KEY=VALUE" with the
 * keys of gw_export_keys[]. A path that really ends like this cannot be given.
 * -EINVAL, -ENOMEM, with err_text.
 */
int gw_spec_parse(const char *name_spec, struct gw_spec *ret,
		  char err_text[GW_TEXT_MAX]);
/* The attributes together: 0 or -EINVAL with err_text. */
int gw_spec_check(const struct gw_spec *spec, char err_text[GW_TEXT_MAX]);
/* Without the place. -ENOMEM; then there is nothing to deinit. */
int gw_spec_copy(struct gw_spec *ret, const struct gw_spec *src);
void gw_spec_deinit(struct gw_spec *spec);
/*
 * The same bytes, opened in the same way: a mapping of one may stay when the
 * other takes its place. Names, limits and who is allowed do not matter.
 */
bool gw_spec_same_backend(const struct gw_spec *a, const struct gw_spec *b);
/* As on the command line, behind NAME=; cut when it is longer than size. */
char *gw_spec_text(const struct gw_spec *spec, char *dst, size_t size);

/* What may stand behind a comma, for error lines. */
#define GW_SPEC_OPTIONS                                                        \
	"ro, buffered, writethrough, and KEY=VALUE as in [export] of "         \
	"rnbd-gatewayd --list-keys"

/* Whether any client can ask for it: 0 or -EINVAL with err_text. */
int gw_spec_check_name(const char *name, char err_text[GW_TEXT_MAX]);

/* Decimal digits and K, M, G or T (of 1024). -EINVAL; -ERANGE too large. */
int gw_size_parse(const char *s, uint64_t *ret);

#endif
