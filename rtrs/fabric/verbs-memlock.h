/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The limit of pinned memory (RLIMIT_MEMLOCK), so that what cannot fit is told
 * with numbers instead of a bare ENOMEM. Process-wide, any thread; in every
 * build, with or without the verbs fabric.
 *
 * The kernel counts pages per process and registration: overlapping regions
 * count twice. It does not hold CAP_IPC_LOCK to the limit, unless that is one
 * of a user namespace.
 */
#ifndef RTRS_FABRIC_VERBS_MEMLOCK_H
#define RTRS_FABRIC_VERBS_MEMLOCK_H

#include <stddef.h>

#include "rtrs/base/log.h"

#define VERBS_MEMLOCK_WORDS_MAX 256

/* Bytes of the pages that a region touches. */
size_t verbs_memlock_span(const void *addr, size_t len);
/*
 * Before a region of so many bytes is registered. -ENOMEM: it would not fit;
 * log, if given, gets the words. The soft limit is raised to the hard one when
 * it is too small.
 */
int verbs_memlock_charge(size_t bytes, const struct log *log);
/* After it was deregistered, or not registered after all. */
void verbs_memlock_uncharge(size_t bytes);

/* What this process may pin in all, in bytes; SIZE_MAX: no limit. */
size_t verbs_memlock_limit(void);
/* What is pinned or promised now. */
size_t verbs_memlock_pinned(void);
/* How much is needed, in use and allowed, and what to do about it. */
void verbs_memlock_words(size_t bytes, char *ret, size_t ret_len);

#endif
