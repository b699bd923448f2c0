/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * <uthash.h> as the gateway uses it. Peers make these tables grow, so running
 * out of memory is an error of one insertion (its hh.tbl is NULL then), not the
 * end of the daemon. The default function of uthash, Jenkins', falls through
 * the labels of a switch, which clang is told to warn of.
 */
#ifndef GATEWAY_HASH_H
#define GATEWAY_HASH_H

#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION     HASH_FNV
#include <uthash.h>

#endif
