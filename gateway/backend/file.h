/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of the file backend share: file.c opens and moves data,
 * file-geometry.c asks the file what it is, file-range.c discards and zeroes.
 */
#ifndef GATEWAY_BACKEND_FILE_H
#define GATEWAY_BACKEND_FILE_H

#include <stdatomic.h>

#include "gateway/backend/backend.h"
#include "gateway/backend/uring.h"

#define FILE_NAME_TEXT_MAX 256

struct file_backend {
	struct backend base;
	int fd;
	struct gw_exec *exec;
	struct gw_io_engine *io;
	const struct log *log;
	char name[FILE_NAME_TEXT_MAX]; /* printable, for messages */

	/* Constant after open: */
	bool is_block;
	bool direct;        /* fd has O_DIRECT */
	bool in_memory;     /* tmpfs, ramfs: nothing to wait for */
	uint32_t dio_align; /* of offsets and lengths, when direct */
	uint32_t buf_align; /* of buffers, when direct */

	/* The worker's: */
	bool no_nowait;    /* RWF_NOWAIT was refused once */
	bool size_checked; /* in this round of the loop */
	bool shrink_said;  /* logged once per mapping */

	/* Bits 1 << enum range_method: refused once. Any thread. */
	atomic_uint refused;
};

/* Results of the functions that touch the file, beside 0 and -errno. */
#define FILE_E_SHRUNK 1 /* ends before the announced size */

/*
 * Takes the fd (in f) as it is, sets O_DIRECT where it can be, fills base.geo
 * and base.id. Blocking. -ENOTBLK, -EINVAL, and errors of the system.
 */
int file_geometry(struct file_backend *f, const struct backend_open_params *p);

/* -errno, FILE_E_SHRUNK or 0: is the file as long as was announced? */
int file_check_size(const struct file_backend *f);

/* Ends io; err is 0, -errno or FILE_E_SHRUNK. On the worker. */
void file_complete(struct file_backend *f, struct backend_io *io, int err);

/* DISCARD and WRITE_ZEROES, as jobs. */
void file_range_submit(struct file_backend *f, struct backend_io *io);

static inline struct file_backend *
file_of(struct backend *b)
{
	return container_of(b, struct file_backend, base);
}

/* The engine's request of an operation lies in its u. */
static inline struct gw_uring_req *
file_req(struct backend_io *io)
{
	_Static_assert(sizeof(struct gw_uring_req) <= sizeof(io->u),
		       "backend_io.u is too small");
	return (struct gw_uring_req *)(void *)&io->u;
}

static inline struct backend_io *
file_io_of_req(struct gw_uring_req *req)
{
	return container_of(req, struct backend_io, u);
}

static inline struct backend_io *
file_io_of_job(struct gw_job *job)
{
	return file_io_of_req(container_of(job, struct gw_uring_req, job));
}

#endif
