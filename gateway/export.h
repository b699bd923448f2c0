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
#include "gateway/text.h"
#include "rtrs/base/log.h"

struct gw_exports;

int gw_exports_new(const struct log *log, struct gw_exports **ret);
void gw_exports_free(struct gw_exports *x);

/*
 * Adds NAME=SPEC: SPEC is a path, file:PATH, memory:SIZE or null:SIZE (SIZE
 * with K, M, G, T), then ",ro" and, for files, ",buffered". err_text gets one
 * clear line on failure that names the export, the cause and the remedy.
 * Errors: -EINVAL syntax, -EEXIST, -ENOMEM; of a path that cannot be opened:
 * that of open(2).
 */
int gw_exports_add(struct gw_exports *x, const char *name_spec,
		   char err_text[GW_TEXT_MAX]);
/*
 * Adds an export with a backend of the caller's: store, size and read_only are
 * what ops->open gets. store is borrowed. -EINVAL name, -EEXIST, -ENOMEM.
 */
int gw_exports_add_backend(struct gw_exports *x, const char *name,
			   const struct backend_ops *ops, void *store,
			   uint64_t size, bool read_only);
/*
 * The kernel's dev_search_path, with %SESSNAME%. Names that are no named
 * export are looked up below it, with openat2(RESOLVE_BENEATH); without one,
 * only named exports are offered. To be set once, before the first open.
 * Errors as openat2(2) on dir; -EEXIST the second time.
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
 * -ENOENT, -EINVAL (".." in the name, unknown mode, unusable geometry),
 * -ENOTBLK, -EACCES (or read-only export opened for writing: -EROFS is not in
 * the kernel's list; or a symbolic link that leads out of the search path),
 * -EPERM busy (the text names the sessions that write), -ENOMEM, and what
 * else open(2) gives.
 */
struct gw_claim;
struct gw_open_params {
	const char *sess_name;
	const char *dev_name;
	uint8_t access_mode;
	struct gw_exec *exec;
	struct gw_io_engine *io;
	struct gw_events *events;
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
