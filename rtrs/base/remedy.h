/* SPDX-License-Identifier: BSD-3-Clause */
/* What helps against an exhausted limit, in words to close an error line. */
#ifndef RTRS_BASE_REMEDY_H
#define RTRS_BASE_REMEDY_H

/*
 * err: negative errno of a call that wanted a descriptor, memory or a thread.
 * "; raise ...", or "" where the cause says enough. EAGAIN is taken for the
 * limit of threads, or of memory for their stacks, so it must come from
 * pthread_create() or fork(). Constant.
 */
const char *remedy_words(int err);

#endif
