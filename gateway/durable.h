/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Failures to make writes durable, which must not be forgotten before the
 * client knows of them. Storage tells such an error once: Linux to one
 * fdatasync(2) per descriptor, to none that is opened later, and it drops the
 * pages that it could not write. Whoever asks again, because a path died with
 * the answer, is told that all is well.
 *
 * So a failed FLUSH, or a failed write with FUA, is owed from the moment when
 * it is known until its answer has arrived: as long as that is not so, any
 * other that would succeed fails with the same error instead. Which error it
 * was makes no difference: EIO, ENOSPC and EDQUOT all come from writing back
 * what was acknowledged before, nothing tells that from a failure of this one
 * request, and to fail once too often does no harm.
 *
 * With the page cache that is not enough. A write with FUA may get the error of
 * another write, that nobody was told about; and what the cache holds is no
 * longer what the disk has. There the failure is for good: every FLUSH and FUA
 * fails until the last mapping is closed and it is opened anew.
 *
 * One gw_durable per backend identity, shared by all mappings of these bytes.
 */
#ifndef GATEWAY_DURABLE_H
#define GATEWAY_DURABLE_H

#include <stdatomic.h>

#include "gateway/backend/backend.h"

/* Any thread: one word, never locked. Zeroes are "nothing failed". */
struct gw_durable {
	_Atomic uint64_t state;
};

/* Which failure an answer tells; 0: none. */
typedef uint32_t gw_failure;
#define GW_FAILURE_MAX UINT32_C(0x7fffffff)

/*
 * What a FLUSH or a write with FUA is answered, of which the backend says err:
 * 0 or negative. cached: it went through the page cache. *ret_failure is what
 * the answer tells, if it is negative. *ret_new: from now on all fail.
 */
int gw_durable_result(struct gw_durable *d, int err, bool cached,
		      gw_failure *ret_failure, bool *ret_new);
/* An answer with that failure arrived, that of a FLUSH or of a write. */
void gw_durable_told(struct gw_durable *d, gw_failure failure, bool flush);
/* Or it may not have: it is owed again. */
void gw_durable_untold(struct gw_durable *d);
/* Every FLUSH fails until it is closed. */
bool gw_durable_has_failed(const struct gw_durable *d);

/*
 * Those that are open, and those that still owe something. Not locked:
 * export.c holds its lock around each call.
 */
struct gw_durable_entry;
struct gw_durables {
	struct gw_durable_entry *by_id; /* hash by identity; {NULL} is empty */
};
/* One more mapping of id. -ENOMEM. */
int gw_durables_open(struct gw_durables *s, const struct backend_identity *id,
		     struct gw_durable **ret);
/* One less. What is owed stays for who opens it next. NULL is fine. */
void gw_durables_close(struct gw_durables *s, struct gw_durable *d);
/* NULL: it is not open, and owes nothing. */
const struct gw_durable *gw_durables_find(const struct gw_durables *s,
					  const struct backend_identity *id);
void gw_durables_free(struct gw_durables *s); /* nothing is open */

#endif
