/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The search path: from a device name that a peer sent to an open file below
 * one directory, and nowhere else.
 */
#ifndef GATEWAY_RESOLVE_H
#define GATEWAY_RESOLVE_H

#include <stdbool.h>

#include "gateway/text.h"

/* Of a full path, with its NUL, as in the kernel. */
#define GW_PATH_MAX 4096

struct gw_search;

/*
 * dir may hold %SESSNAME%: then the root is what precedes it, names are looked
 * up in the subdirectory of the session, and what follows the token is ignored,
 * as in the kernel. The root is opened once: a directory that is moved later
 * stays the root. -ENAMETOOLONG, -ENOSYS (no openat2), those of open(2).
 */
int gw_search_new(const char *dir, struct gw_search **ret,
		  char err_text[GW_TEXT_MAX]);
void gw_search_free(struct gw_search *s);

/*
 * Opens what dev_name means: a regular file or a block device, never through a
 * link that leaves the root, and never a device that this machine uses itself
 * (-EBUSY). A leading '/' is the root; runs of '/' count once.
 * On success path is where it was found, for messages. Blocking; any thread.
 * Errors as gw_exports_open(), with err_text.
 */
int gw_search_open(const struct gw_search *s, const char *sess_name,
		   const char *dev_name, bool read_only, int *ret,
		   char path[GW_PATH_MAX], char err_text[GW_TEXT_MAX]);

#endif
