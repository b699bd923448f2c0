/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DISCARD and WRITE_ZEROES. fallocate(2) serves regular files and, since Linux
 * 4.9, block devices alike; it blocks, so it runs as jobs. A range is worked
 * off in slices, one job each: other jobs get their turn in between.
 *
 * What the file does not support falls back, at last to writing zeroes, and is
 * not tried again: an operation that was announced does not fail for that.
 */
#include "gateway/backend/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#define SLICE       (UINT64_C(64) << 20)
#define WRITE_SLICE (UINT64_C(16) << 20)

enum range_method {
	RANGE_DISCARD, /* BLKDISCARD: no promise about the contents */
	RANGE_PUNCH,   /* zeroes, blocks are given back */
	RANGE_ZERO,    /* zeroes, blocks are kept */
	RANGE_WRITE,   /* zeroes, written */
};

/* By file or device, and whether blocks are to be kept: what to try in turn. */
static const enum range_method zero_methods[] = {RANGE_PUNCH, RANGE_ZERO,
						 RANGE_WRITE};
static const enum range_method keep_methods[] = {RANGE_ZERO, RANGE_WRITE};
static const enum range_method discard_file_methods[] = {RANGE_PUNCH};
static const enum range_method discard_block_methods[] = {RANGE_DISCARD};

#define ZEROES_LEN  65536
#define ZEROES_VECS 16

/* Aligned for O_DIRECT; never written, so it costs no memory. */
static const char zeroes[ZEROES_LEN] __attribute__((aligned(4096)));

static int
write_zeroes(int fd, uint64_t off, uint64_t len)
{
	struct iovec iov[ZEROES_VECS];

	while (len) {
		uint64_t todo = 0;
		int n = 0;
		ssize_t done;

		for (; n < ZEROES_VECS && todo < len; n++) {
			uint64_t rest = len - todo;

			iov[n].iov_base = (void *)(uintptr_t)zeroes;
			iov[n].iov_len = rest < ZEROES_LEN ? rest : ZEROES_LEN;
			todo += iov[n].iov_len;
		}
		done = pwritev(fd, iov, n, (off_t)off);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -EIO;
		off += (uint64_t)done;
		len -= (uint64_t)done;
	}
	return 0;
}

static int
range_try(const struct file_backend *f, enum range_method method, uint64_t off,
	  uint64_t len)
{
	uint64_t range[2] = {off, len};
	int r = -1;

	do {
		switch (method) {
		case RANGE_DISCARD:
			r = ioctl(f->fd, BLKDISCARD, range);
			break;
		case RANGE_PUNCH:
			r = fallocate(f->fd,
				      FALLOC_FL_PUNCH_HOLE |
					      FALLOC_FL_KEEP_SIZE,
				      (off_t)off, (off_t)len);
			break;
		case RANGE_ZERO:
			r = fallocate(f->fd,
				      FALLOC_FL_ZERO_RANGE |
					      FALLOC_FL_KEEP_SIZE,
				      (off_t)off, (off_t)len);
			break;
		case RANGE_WRITE:
			return write_zeroes(f->fd, off, len);
		}
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static bool
means_unsupported(int err)
{
	return err == -EOPNOTSUPP || err == -ENOSYS || err == -ENOTTY;
}

/* One slice from *pos on; advances *pos. Any thread. */
static int
range_slice(struct file_backend *f, const struct backend_io *io, uint64_t *pos)
{
	const enum range_method *methods;
	uint64_t end = io->off + io->len;
	size_t n_methods;

	if (io->op == BACKEND_DISCARD) {
		methods = f->is_block ? discard_block_methods
				      : discard_file_methods;
		n_methods = 1;
	} else if (io->flags & BACKEND_F_NOUNMAP) {
		methods = keep_methods;
		n_methods = ARRAY_SIZE(keep_methods);
	} else {
		methods = zero_methods;
		n_methods = ARRAY_SIZE(zero_methods);
	}
	for (size_t i = 0; i < n_methods; i++) {
		unsigned bit = BIT(methods[i]);
		uint64_t slice =
			methods[i] == RANGE_WRITE ? WRITE_SLICE : SLICE;
		/* Slices end at multiples of their size, so that the cuts fit
		 * any granularity. */
		uint64_t cut = *pos - *pos % slice + slice;
		int err;

		if (atomic_load_explicit(&f->refused, memory_order_relaxed) &
		    bit)
			continue;
		if (cut > end)
			cut = end;
		err = range_try(f, methods[i], *pos, cut - *pos);
		if (!means_unsupported(err) || methods[i] == RANGE_WRITE) {
			*pos = cut;
			return err;
		}
		atomic_fetch_or_explicit(&f->refused, bit,
					 memory_order_relaxed);
	}
	/* Only a discard gets here: leaving everything as it is will do. */
	*pos = end;
	return 0;
}

static void
range_work(struct gw_job *job)
{
	struct backend_io *io = file_io_of_job(job);
	struct gw_uring_req *req = file_req(io);
	struct file_backend *f = file_of(io->backend);
	uint64_t pos = io->off + io->progress;
	int err = file_check_size(f);

	if (!err)
		err = range_slice(f, io, &pos);
	io->progress = pos - io->off;
	if (!err && io->progress == io->len && (io->flags & BACKEND_F_FUA) &&
	    fdatasync(f->fd))
		err = -errno;
	req->res = err;
}

static void
range_done(struct gw_job *job)
{
	struct backend_io *io = file_io_of_job(job);
	struct file_backend *f = file_of(io->backend);
	int err = (int)file_req(io)->res;

	if (!err && io->progress < io->len)
		f->exec->run(f->exec, job);
	else
		file_complete(f, io, err);
}

void
file_range_submit(struct file_backend *f, struct backend_io *io)
{
	struct gw_job *job = &file_req(io)->job;

	job->work = range_work;
	job->done = range_done;
	f->exec->run(f->exec, job);
}
