/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of the export table, shared by export.c (the table), export-open.c
 * (mappings), export-make.c (what an entry is made of) and export-look.c (looks
 * at other servers).
 */
#ifndef GATEWAY_EXPORT_PRIV_H
#define GATEWAY_EXPORT_PRIV_H

#include <pthread.h>

#include "gateway/claim.h"
#include "gateway/durable.h"
#include "gateway/export.h"
#include "gateway/hash.h"
#include "gateway/resolve.h"

struct gw_export {
	/* Constant: name, backend and how it is opened. Guarded by the lock:
	 * limits and who is allowed. */
	struct gw_spec spec;
	const struct backend_ops *ops;
	void *store; /* what ops->open gets */
	struct memory_store *owned_store;
	struct gw_search *search; /* this is the search path's entry */
	bool made_file;           /* by us, just now */
	struct gw_throttle throttle;
	/* Guarded by the lock: */
	uint64_t size_bytes;
	unsigned
		size_looks; /* how often that was looked up since it was made */
	unsigned refs;
	unsigned mappings;
	bool listed; /* in the table, or the search path in force */
	/* Of a named one, when it was last opened; zeroes: never. */
	struct backend_identity id;
};

/* A place in the table. */
struct export_slot {
	struct gw_export *ex;
	UT_hash_handle hh; /* by ex->spec.name */
};

struct sess_name {
	char name[RNBD_NAME_LEN];
	UT_hash_handle hh;
};

struct gw_exports {
	const struct log *log;
	pthread_mutex_t lock; /* guards all below; never held while opening */
	struct export_slot *table;
	struct gw_export *search; /* a reference; NULL: none */
	struct gw_claims claims;
	struct gw_durables durables;
	struct sess_name *sess_names;
};

/* --- export-make.c */

/*
 * An entry by spec, which is copied, with one reference, not listed. Opens and
 * creates files. Errors with err_text, as gw_exports_add().
 */
int export_make(const struct gw_exports *x, const struct gw_spec *spec,
		struct gw_export **ret, char err_text[GW_TEXT_MAX]);
/* The size that a file or device has now; errors as gw_exports_add(). */
int export_look(const struct gw_exports *x, const struct gw_export *ex,
		uint64_t *ret_size, char err_text[GW_TEXT_MAX]);
/* The same by params of export_open_params(), which may be made before; any
 * thread that has a reference. */
int export_look_by(const struct gw_export *ex,
		   struct backend_open_params *params, uint64_t *ret_size,
		   char err_text[GW_TEXT_MAX]);
/* Makes what is behind it larger; *ret_size is what it has then. */
int export_grow(const struct gw_exports *x, const struct gw_export *ex,
		uint64_t size, uint64_t *ret_size, char err_text[GW_TEXT_MAX]);
/* What ops->open gets; the strings are the entry's. */
void export_open_params(const struct gw_export *ex,
			struct backend_open_params *ret);
void export_free(struct gw_export *ex);

/* --- export.c */

struct gw_export *export_find(const struct gw_exports *x, const char *name);
int export_say_unknown(const char *name, char err_text[GW_TEXT_MAX]);
/* What clients get from now on. Without the lock. */
void export_set_size(struct gw_exports *x, struct gw_export *ex,
		     uint64_t size_bytes);
/* Any thread, without the lock. NULL is fine. */
void export_unref(struct gw_exports *x, struct gw_export *ex);

#endif
