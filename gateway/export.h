/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the gateway offers: named exports and the search path, and who has what
 * open. Shared by all workers, guarded by one mutex inside, never touched on
 * the I/O path.
 */
#ifndef GATEWAY_EXPORT_H
#define GATEWAY_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/backend/backend.h"
#include "proto/rnbd-msg.h"
#include "rtrs/base/log.h"

#define GW_TEXT_MAX RNBD_EXPLAIN_RSP_LEN

struct gw_exports;

int gw_exports_new(const struct log *log, struct gw_exports **ret);
void gw_exports_free(struct gw_exports *x);

/*
 * Adds NAME=SPEC: SPEC is a path, file:PATH, memory:SIZE or null:SIZE (SIZE
 * with K, M, G, T), then ",ro". err_text gets one clear line on failure that
 * names the export, the cause and the remedy. Errors: -EINVAL syntax,
 * -EEXIST, -ENOMEM; of a path that cannot be opened: that of open(2).
 */
int gw_exports_add(struct gw_exports *x, const char *name_spec,
		   char err_text[GW_TEXT_MAX]);
/*
 * The kernel's dev_search_path, with %SESSNAME%. Names that are no named
 * export are looked up below it, with openat2(RESOLVE_BENEATH); without one,
 * only named exports are offered.
 */
int gw_exports_set_search_path(struct gw_exports *x, const char *dir,
			       char err_text[GW_TEXT_MAX]);
unsigned gw_exports_count(struct gw_exports *x);
/* fn is called under the lock and must not call back. */
void gw_exports_for_each(struct gw_exports *x,
			 void (*fn)(void *user, const char *name,
				    const char *spec, bool read_only),
			 void *user);

/*
 * Finds what dev_name means to a session and opens it (blocking, any thread).
 * Claims it for mode: RO always, RW without other writers, MIGRATION with at
 * most one other. Errors for the wire, with a text for humans in err_text:
 * -ENOENT, -EINVAL (".." in the name, unknown mode), -ENOTBLK, -EACCES (or
 * read-only export opened for writing: -EROFS is not in the kernel's list),
 * -EPERM busy (the text names the sessions that write).
 */
struct gw_claim;
struct gw_open_params {
	const char *sess_name;
	const char *dev_name;
	uint8_t access_mode;
	struct gw_exec *exec;
	struct gw_io_engine *io;
	const struct log *log;
};
int gw_exports_open(struct gw_exports *x, const struct gw_open_params *p,
		    struct backend **ret, struct gw_claim **ret_claim,
		    char err_text[GW_TEXT_MAX]);
/* Closes the backend, then gives the claim back (blocking, any thread). */
void gw_exports_close(struct gw_exports *x, struct backend *b,
		      struct gw_claim *claim);

/* Session names are unique: -EPERM when another session uses it. */
int gw_exports_name_claim(struct gw_exports *x, const char *sess_name);
void gw_exports_name_release(struct gw_exports *x, const char *sess_name);

#endif
