/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker as small as can be: pool, executor, engine, and a loop that waits
 * for their descriptors.
 */
#ifndef TESTS_UNIT_BACKEND_RIG_H
#define TESTS_UNIT_BACKEND_RIG_H

#include <check.h>

#include "gateway/backend/backend.h"
#include "gateway/backend/pool.h"
#include "gateway/backend/uring.h"

#define RIG_LOG_LINES 8

struct rig {
	struct gw_pool *pool;
	struct gw_pool_exec *pexec;
	struct gw_exec *exec;
	struct gw_io_engine *io;
	struct log log;
	unsigned n_log;
	char log_lines[RIG_LOG_LINES][512];
	char dir[64]; /* a fresh directory, on disk */
	char shm[64]; /* a fresh directory in tmpfs */
};

void rig_init(struct rig *r, bool force_pool);
/* Removes the directories with what is in them. */
void rig_deinit(struct rig *r);

/* Waits for one event and reaps; fails the test after 30 s of silence. */
void rig_wait(struct rig *r);
/* The end of a round: what gw_server_kick() does. */
void rig_kick(struct rig *r, struct backend *b);

/* One operation from start to end; its result. */
int rig_op(struct rig *r, struct backend *b, enum backend_op op, unsigned flags,
	   uint64_t off, uint64_t len, void *buf);
#define rig_read(r, b, off, len, buf)                                          \
	rig_op(r, b, BACKEND_READ, 0, off, len, buf)
#define rig_write(r, b, off, len, buf)                                         \
	rig_op(r, b, BACKEND_WRITE, 0, off, len, buf)
#define rig_flush(r, b) rig_op(r, b, BACKEND_FLUSH, 0, 0, 0, NULL)

/* An operation in flight. */
struct rig_io {
	struct backend_io io;
	int err;
	unsigned n_done;
};
void rig_start(struct backend *b, struct rig_io *io);

/* Makes a file of size bytes and returns its path, valid until the next. */
const char *rig_file(const char *dir, const char *name, uint64_t size);
/* Opens it with what else is in p. */
int rig_open_file(struct rig *r, const char *path, bool read_only,
		  bool buffered, struct backend **ret);

/* Page-aligned; free(). */
void *rig_buf(size_t len);
bool is_zero(const void *buf, size_t len);

int rig_main(const char *name, void (*add_tests)(TCase *tc));

#endif
