/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the passive parts are given: the time and randomness of this system.
 */
#ifndef GATEWAY_OS_H
#define GATEWAY_OS_H

#include "rtrs/base/util.h"

/* Nanoseconds of the monotonic clock. */
uint64_t os_now(void);
/* From the kernel; any thread. */
extern const struct rng os_rng;
/* CPUs this process may run on, at least 1. */
unsigned os_cpus(void);
/* Bytes of memory of this machine. */
uint64_t os_memory(void);
/* A group by its name or number. -ENOENT: none, -EMFILE and the like. */
int os_group(const char *name, unsigned *ret);
/* Raises the soft limit of open files to the hard one. */
void os_raise_nofile(void);

#endif
