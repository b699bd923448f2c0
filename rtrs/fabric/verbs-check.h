/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What this process lacks for RDMA, in words. In every build, with or without
 * the verbs fabric.
 */
#ifndef RTRS_FABRIC_VERBS_CHECK_H
#define RTRS_FABRIC_VERBS_CHECK_H

#include <stddef.h>

/*
 * Looks below root, which is "" but in tests. 0: nothing is found wrong.
 * -ENODEV no device, -ENOENT no device nodes, -EACCES no permission: with words
 * that name the remedy in why.
 */
int verbs_check(const char *root, char *why, size_t why_len);

#endif
