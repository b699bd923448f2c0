/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A few threads for work that blocks: opening, closing, discarding, and all
 * I/O where io_uring is not permitted. One pool per process; each worker has
 * its own executor on it, through which completions come home.
 */
#ifndef GATEWAY_BACKEND_POOL_H
#define GATEWAY_BACKEND_POOL_H

#include "gateway/backend/backend.h"

struct gw_pool;
struct gw_pool_exec;

/* Threads start as they are needed, up to max_threads, and idle ones stay. */
int gw_pool_new(unsigned max_threads, struct gw_pool **ret);
void gw_pool_free(struct gw_pool *pool); /* after all executors; joins */

int gw_pool_exec_new(struct gw_pool *pool, struct gw_pool_exec **ret);
void gw_pool_exec_free(struct gw_pool_exec *e); /* nothing in flight */
struct gw_exec *gw_pool_exec_base(struct gw_pool_exec *e);
/* Readable (eventfd) when finished jobs wait for gw_pool_exec_reap(). */
int gw_pool_exec_fd(const struct gw_pool_exec *e);
/* Calls done() of finished jobs, on the caller's thread; their number. */
int gw_pool_exec_reap(struct gw_pool_exec *e);

#endif
