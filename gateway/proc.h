/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel says about this process. Its files are opened once: also
 * when descriptors have run out, which is when somebody wants to know.
 */
#ifndef GATEWAY_PROC_H
#define GATEWAY_PROC_H

#include <stdint.h>

struct proc;

/* A file that cannot be opened is a figure that is not known. -ENOMEM. */
int proc_new(struct proc **ret);
void proc_free(struct proc *p); /* NULL is fine */

struct proc_info {
	uint64_t start_time_ns; /* when proc_new() was called, since 1970 */
	uint64_t cpu_ns;        /* of all threads */
	/* 0: not known */
	uint64_t resident_bytes, virtual_bytes;
	uint64_t open_fds, max_fds;
};
/* One thread at a time. */
void proc_read(struct proc *p, struct proc_info *ret);

#endif
