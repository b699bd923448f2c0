/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the gateway offers: named exports and the search path, and who has what
 * open. Shared by all workers, guarded by one mutex inside, never touched on
 * the I/O path.
 *
 * Exports come and go while they are in use. A mapping holds a reference to the
 * export that it was opened from; one that has left the table stays until its
 * last mapping is closed. gw_server_recheck() closes those mappings.
 *
 * What changes the table is called by one thread at a time; the rest by any.
 */
#ifndef GATEWAY_EXPORT_H
#define GATEWAY_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "gateway/backend/backend.h"
#include "gateway/spec.h"
#include "gateway/text.h"
#include "gateway/throttle.h"
#include "rtrs/base/log.h"

struct gw_exports;
struct gw_export;

int gw_exports_new(const struct log *log, struct gw_exports **ret);
void gw_exports_free(struct gw_exports *x); /* nothing is open */

/* ---------------------------------------------------------- the table */

/*
 * Adds one. A file is opened for a look, and made first if it is missing and
 * spec->create says so (blocking). err_text gets one clear line on failure that
 * names the export, the cause and the remedy. Errors: -EINVAL, -EEXIST,
 * -ENOMEM; -ENODATA nothing is in it; of a path that cannot be opened: that of
 * open(2).
 */
int gw_exports_add(struct gw_exports *x, const struct gw_spec *spec,
		   char err_text[GW_TEXT_MAX]);
/* The same from NAME=SPEC, see gw_spec_parse(). */
int gw_exports_add_text(struct gw_exports *x, const char *name_spec,
			char err_text[GW_TEXT_MAX]);
/*
 * Adds an export with a backend of the caller's: store, size and read_only are
 * what ops->open gets. store is borrowed. -EINVAL name, -EEXIST, -ENOMEM.
 */
int gw_exports_add_backend(struct gw_exports *x, const char *name,
			   const struct backend_ops *ops, void *store,
			   uint64_t size, bool read_only);
/* -ENOENT. Its mappings are closed by gw_server_recheck() of each worker. */
int gw_exports_remove(struct gw_exports *x, const char *name,
		      char err_text[GW_TEXT_MAX]);
/*
 * The limits of an export in use; gw_server_recheck() lets what waits already
 * feel it. -ENOENT, -EINVAL.
 */
int gw_exports_set_limits(struct gw_exports *x, const char *name, uint64_t iops,
			  uint64_t bandwidth, char err_text[GW_TEXT_MAX]);

/*
 * Looks at the file or device again. With a size, which may not be less than it
 * has, a file, memory or null export is made that large first. *ret_size is
 * what clients get with their next open; those that have it open are let in by
 * gw_server_recheck(). Blocking: a server that is not there for as long as its
 * connect-timeout, so see gw_exports_look(). -ENOENT; -EINVAL; -EROFS; -ENOMEM;
 * those of open(2) and ftruncate(2).
 */
int gw_exports_resize(struct gw_exports *x, const char *name, uint64_t size,
		      uint64_t *ret_size, char err_text[GW_TEXT_MAX]);

/* Whether there is one of that name, and it is on another server. */
bool gw_exports_is_remote(struct gw_exports *x, const char *name);
/* The caller's, lent until done(). */
struct gw_look {
	struct gw_exec *exec; /* where it waits */
	int cancel_fd;        /* readable: it is to end soon; -1: none */
	void (*done)(struct gw_look *look);
	/* For done(). 0: clients get what was seen with their next open. */
	int err;
	char err_text[GW_TEXT_MAX];
	/* Its own: */
	struct gw_job job;
	struct gw_exports *exports;
	struct gw_export *export;
	struct backend_open_params params;
	uint64_t size_bytes;
};
/*
 * What gw_exports_resize() does without a size, without waiting. -ENOENT: it
 * does not begin. Otherwise done() is called by exec on the thread of this
 * call, with an error as there, -ENOENT if the export has left the table
 * meanwhile, or -ECANCELED. One export may be looked at by several at once.
 */
int gw_exports_look(struct gw_exports *x, const char *name,
		    struct gw_look *look, char err_text[GW_TEXT_MAX]);

/*
 * Makes the table what specs say, all or nothing. An export stays, and its
 * mappings with it, where gw_spec_same_backend(), or where the size is the one
 * that it was given since; its limits and who may open
 * it change live. All others leave. Three steps, so that a caller can prepare
 * other things before any of them changes: prepare opens and creates files
 * (blocking) and fails as gw_exports_add(), *ret_bad being the spec that is to
 * blame, or NULL; then either apply, which cannot fail, or drop. The search
 * path is not touched.
 */
struct gw_exports_change;
int gw_exports_prepare(struct gw_exports *x, const struct gw_spec *specs,
		       unsigned n, struct gw_exports_change **ret,
		       const struct gw_spec **ret_bad,
		       char err_text[GW_TEXT_MAX]);
void gw_exports_apply(struct gw_exports *x, struct gw_exports_change *c);
void gw_exports_drop(struct gw_exports *x, struct gw_exports_change *c);
/* prepare and apply in one. */
int gw_exports_reload(struct gw_exports *x, const struct gw_spec *specs,
		      unsigned n, char err_text[GW_TEXT_MAX]);

/*
 * The kernel's dev_search_path, with %SESSNAME%. Names that are no named
 * export are looked up below it, with openat2(RESOLVE_BENEATH); without one
 * (NULL), only named exports are offered. Another one than before takes what
 * was opened by the old one with it. Errors as openat2(2) on dir, -ENOMEM; then
 * the old one stays.
 */
int gw_exports_set_search_path(struct gw_exports *x, const char *dir,
			       char err_text[GW_TEXT_MAX]);

struct gw_exports_item {
	const struct gw_spec *spec; /* limits are those in force */
	const char *text;           /* of gw_spec_text() */
	uint64_t size_bytes;        /* as last seen */
	unsigned mappings;          /* open now */
	bool flush_failed;          /* and fails until none is: durable.h */
};
unsigned gw_exports_count(struct gw_exports *x);
/* fn is called under the lock and must not call back. */
void gw_exports_for_each(struct gw_exports *x,
			 void (*fn)(void *user,
				    const struct gw_exports_item *info),
			 void *user);

/* ------------------------------------------------------------ mappings */

struct gw_open_params {
	const char *sess_name;
	const char *dev_name;
	uint8_t access_mode;
	struct gw_exec *exec;
	struct gw_io_engine *io;
	struct gw_events *events;
	const struct log *log;
	int cancel_fd; /* readable: a remote export is given up; -1: never */
};
struct gw_claim;
struct gw_durable;
struct gw_opened {
	struct backend *backend;
	struct gw_claim *claim;
	struct gw_durable *durable;
	struct gw_export *export; /* a reference; of the search path's too */
	unsigned size_looks;      /* at its size, when the open began */
};

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
int gw_exports_open(struct gw_exports *x, const struct gw_open_params *p,
		    struct gw_opened *ret, char err_text[GW_TEXT_MAX]);
/* Closes the backend, then gives the rest back (blocking, any thread). */
void gw_exports_close(struct gw_exports *x, const struct gw_opened *o);

/* Who asks: a session, and where the paths are that it has now. */
struct gw_asker {
	const char *sess_name;
	const struct sockaddr_storage *peers;
	unsigned n_peers;
};
/*
 * Whether the export of that name, if there is one, is for this session:
 * -EACCES if not, for every address of the session must be allowed. Short; any
 * thread.
 */
int gw_exports_allow(struct gw_exports *x, const char *dev_name,
		     const struct gw_asker *who, char err_text[GW_TEXT_MAX]);
/*
 * The same for what is open already, and -ENOENT if the export left the table.
 * *ret_size: bytes that it was seen to have since then; 0: nobody looked, and
 * what the open found is newer than what the table has.
 */
int gw_export_allow(struct gw_exports *x, const struct gw_opened *o,
		    const struct gw_asker *who, uint64_t *ret_size,
		    char err_text[GW_TEXT_MAX]);
/* Constant. The name is "" for what the search path found. */
const char *gw_export_name(const struct gw_export *ex);
bool gw_export_is_writethrough(const struct gw_export *ex);
/* Lives as long as the reference. */
struct gw_throttle *gw_export_throttle(struct gw_export *ex);

/* Session names are unique: -EPERM when another session uses it. */
int gw_exports_name_claim(struct gw_exports *x, const char *sess_name);
void gw_exports_name_release(struct gw_exports *x, const char *sess_name);

#endif
