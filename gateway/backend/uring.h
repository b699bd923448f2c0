/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The I/O engine of one worker: one io_uring, or, where io_uring is not
 * permitted, the thread pool. It owns nothing of what passes through it. Used
 * on the worker's thread only. The only file pair that includes <liburing.h>
 * is uring.c.
 */
#ifndef GATEWAY_BACKEND_URING_H
#define GATEWAY_BACKEND_URING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "gateway/backend/backend.h"

struct gw_io_engine;

/* A request to the engine: lies in backend_io.u, so nothing is allocated. */
struct gw_uring_req {
	/* res as io_uring's: bytes, or a negative errno. Never from within
	 * the call that queued the request. */
	void (*done)(struct gw_uring_req *req, int64_t res);
	/* The engine's: */
	struct gw_job job;
	void *buf;
	uint64_t off;
	int64_t res;
	uint32_t len;
	int fd;
	int rwf_flags;
	int opcode;
};

/*
 * force_pool: do not try io_uring. Errors: -ENOMEM, -EMFILE. Where io_uring
 * is refused (-EPERM, -ENOSYS and the like) the engine runs on exec instead
 * and says so once on log, which outlives it. May be called on another thread
 * than the worker's: the first request binds the engine to its thread.
 */
int gw_io_engine_new(struct gw_exec *exec, const struct log *log,
		     bool force_pool, struct gw_io_engine **ret);
void gw_io_engine_free(struct gw_io_engine *e); /* nothing in flight */
/*
 * To be watched after gw_io_engine_arm(), which says true if there is something
 * to reap at once; -1 when running on the pool. Readable: woken(), then reap().
 */
int gw_io_engine_fd(const struct gw_io_engine *e);
bool gw_io_engine_arm(struct gw_io_engine *e);
void gw_io_engine_woken(struct gw_io_engine *e);
/*
 * Reaps completions (done() runs from here); their number. Submits what the
 * callbacks queued.
 */
int gw_io_engine_reap(struct gw_io_engine *e);
/*
 * One io_uring_enter for all that was queued. What completes within it, as a
 * device in memory does, is there for reap() without another.
 */
void gw_io_engine_submit(struct gw_io_engine *e);
bool gw_io_engine_is_uring(const struct gw_io_engine *e);

/* Queue one operation; when the ring is full it submits by itself. */
void gw_io_read(struct gw_io_engine *e, struct gw_uring_req *req, int fd,
		void *buf, uint32_t len, uint64_t off, int rwf_flags);
void gw_io_write(struct gw_io_engine *e, struct gw_uring_req *req, int fd,
		 const void *buf, uint32_t len, uint64_t off, int rwf_flags);
void gw_io_fdatasync(struct gw_io_engine *e, struct gw_uring_req *req, int fd);

#endif
