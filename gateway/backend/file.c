/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regular files and block devices. Data goes one of three ways:
 *
 *   in memory (tmpfs)       read and written in place, within submit()
 *   buffered, in the cache  a read that needs no waiting, within submit()
 *   everything else         through the engine: io_uring, or threads
 *
 * FLUSH is fdatasync, FUA is RWF_DSYNC.
 */
#include "gateway/backend/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "gateway/text.h"

/* Per system call; what is longer is continued, as any short result. */
#define MAX_STEP (UINT64_C(1) << 30)

int
file_check_size(const struct file_backend *f)
{
	struct statx stx;

	if (f->is_block)
		return 0;
	/* DONT_SYNC: what is known here, no question to a remote server. */
	if (statx(f->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE,
		  &stx))
		return -errno;
	return stx.stx_size < backend_size(&f->base) ? FILE_E_SHRUNK : 0;
}

/*
 * A write behind the end of a file that shrank would make it grow again, with
 * zeroes where clients had data. Looked at once per round of the worker's loop,
 * which bounds the cost; whoever truncates a file in use can always be faster.
 */
static int
check_size_once(struct file_backend *f)
{
	int err;

	if (f->size_checked)
		return 0;
	err = file_check_size(f);
	if (!err)
		f->size_checked = true;
	return err;
}

void
file_complete(struct file_backend *f, struct backend_io *io, int err)
{
	if (err == FILE_E_SHRUNK) {
		if (!f->shrink_said)
			log_err(f->log,
				"%s: the file has shrunk below the %llu bytes "
				"it had when it was opened: I/O fails",
				f->name,
				(unsigned long long)f->base.geo.size_bytes);
		f->shrink_said = true;
		/* A flush fails as long as that is so, and not longer. */
		err = io->op == BACKEND_FLUSH ? -ECANCELED : -EIO;
	}
	io->done(io, err);
}

static int
rwf_flags(const struct backend_io *io)
{
	return io->op == BACKEND_WRITE && (io->flags & BACKEND_F_FUA)
		       ? RWF_DSYNC
		       : 0;
}

static uint32_t
step_len(const struct backend_io *io)
{
	uint64_t rest = io->len - io->progress;

	return (uint32_t)(rest < MAX_STEP ? rest : MAX_STEP);
}

/*
 * Takes the result of one read or write. Positive: there is more to do. A
 * short result is not an end: the next one tells why, as "end of file" or as
 * an error. FILE_E_SHRUNK cannot mean "more", so that is 2 here.
 */
#define RW_MORE 2

static int
rw_advance(const struct file_backend *f, struct backend_io *io, int64_t res)
{
	uint64_t progress;

	if (res < 0)
		return res == -EINTR ? RW_MORE : (int)res;
	progress = io->progress + (uint64_t)res;
	if (progress >= io->len) {
		io->progress = io->len;
		return 0;
	}
	/* Direct requests start at a block; the rest of it is repeated. */
	if (f->direct)
		progress -= progress % f->dio_align;
	if (progress <= io->progress)
		return io->op == BACKEND_READ ? FILE_E_SHRUNK : -EIO;
	io->progress = progress;
	return RW_MORE;
}

/* All of it in place; blocks. buf stands for io->buf. */
static int
rw_perform(const struct file_backend *f, struct backend_io *io, void *buf)
{
	int err;

	do {
		struct iovec iov = {
			.iov_base = (char *)buf + io->progress,
			.iov_len = step_len(io),
		};
		off_t off = (off_t)(io->off + io->progress);
		ssize_t n =
			io->op == BACKEND_READ
				? preadv2(f->fd, &iov, 1, off, 0)
				: pwritev2(f->fd, &iov, 1, off, rwf_flags(io));

		err = rw_advance(f, io, n < 0 ? -errno : n);
	} while (err == RW_MORE);
	return err;
}

static bool
misaligned(const struct file_backend *f, const struct backend_io *io)
{
	return f->direct && (uintptr_t)io->buf % f->buf_align;
}

static void
rw_work(struct gw_job *job)
{
	struct backend_io *io = file_io_of_job(job);
	const struct file_backend *f = file_of(io->backend);
	cleanup_free char *copy = NULL;
	int err;

	if (misaligned(f, io)) {
		copy = aligned_alloc(4096, (io->len + 4095) & ~UINT64_C(4095));
		if (!copy) {
			file_req(io)->res = -ENOMEM;
			return;
		}
		if (io->op == BACKEND_WRITE)
			memcpy(copy, io->buf, io->len);
	}
	err = rw_perform(f, io, copy ? copy : io->buf);
	if (!err && copy && io->op == BACKEND_READ)
		memcpy(io->buf, copy, io->len);
	file_req(io)->res = err;
}

static void
rw_worked(struct gw_job *job)
{
	struct backend_io *io = file_io_of_job(job);

	file_complete(file_of(io->backend), io, (int)file_req(io)->res);
}

/* The rest of io on a thread, where it may wait and allocate. */
static void
rw_on_thread(struct file_backend *f, struct backend_io *io)
{
	struct gw_job *job = &file_req(io)->job;

	job->work = rw_work;
	job->done = rw_worked;
	f->exec->run(f->exec, job);
}

static void rw_done(struct gw_uring_req *req, int64_t res);

static void
rw_queue(struct file_backend *f, struct backend_io *io)
{
	struct gw_uring_req *req = file_req(io);
	char *buf = (char *)io->buf + io->progress;
	uint64_t off = io->off + io->progress;

	req->done = rw_done;
	if (io->op == BACKEND_READ)
		gw_io_read(f->io, req, f->fd, buf, step_len(io), off, 0);
	else
		gw_io_write(f->io, req, f->fd, buf, step_len(io), off,
			    rwf_flags(io));
}

static void
rw_done(struct gw_uring_req *req, int64_t res)
{
	struct backend_io *io = file_io_of_req(req);
	struct file_backend *f = file_of(io->backend);
	int err;

	/* The engine would not wait, for once; repeating that could spin. */
	if (res == -EAGAIN) {
		rw_on_thread(f, io);
		return;
	}
	err = rw_advance(f, io, res);
	if (err == RW_MORE)
		rw_queue(f, io);
	else
		file_complete(f, io, err);
}

/*
 * Reads what the page cache has. 0, FILE_E_SHRUNK or -errno: that is the end
 * of it; RW_MORE: (the rest of) it has to be waited for.
 */
static int
read_cached(struct file_backend *f, struct backend_io *io)
{
	struct iovec iov = {.iov_base = io->buf, .iov_len = step_len(io)};
	ssize_t n = preadv2(f->fd, &iov, 1, (off_t)io->off, RWF_NOWAIT);

	if (n > 0)
		return rw_advance(f, io, n);
	/* 0: the end of the file, or Linux 5.9 and 5.10 (readv(2), BUGS):
	 * whoever waits will know. */
	if (n < 0 &&
	    (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL))
		f->no_nowait = true;
	return RW_MORE;
}

static void
rw_submit(struct file_backend *f, struct backend_io *io)
{
	int err = RW_MORE;

	if (io->op == BACKEND_WRITE) {
		err = check_size_once(f);
		if (err) {
			file_complete(f, io, err);
			return;
		}
		err = RW_MORE;
	}
	if (f->in_memory)
		err = rw_perform(f, io, io->buf);
	else if (io->op == BACKEND_READ && !f->direct && !f->no_nowait)
		err = read_cached(f, io);
	if (err != RW_MORE)
		file_complete(f, io, err);
	else if (misaligned(f, io))
		rw_on_thread(f, io);
	else
		rw_queue(f, io);
}

static void
flush_done(struct gw_uring_req *req, int64_t res)
{
	struct backend_io *io = file_io_of_req(req);
	struct file_backend *f = file_of(io->backend);

	if (res == -EINTR)
		gw_io_fdatasync(f->io, req, f->fd);
	else
		file_complete(f, io, (int)res);
}

static void
flush_submit(struct file_backend *f, struct backend_io *io)
{
	/* "Durable" would be a lie about bytes that are cut off. */
	int err = file_check_size(f);

	if (!err && f->in_memory)
		err = fdatasync(f->fd) ? -errno : 0;
	if (err || f->in_memory) {
		file_complete(f, io, err);
		return;
	}
	file_req(io)->done = flush_done;
	gw_io_fdatasync(f->io, file_req(io), f->fd);
}

static void
file_submit(struct backend *b, struct backend_io *io)
{
	struct file_backend *f = file_of(b);

	io->backend = b;
	io->progress = 0;
	switch (io->op) {
	case BACKEND_READ:
	case BACKEND_WRITE:
		rw_submit(f, io);
		break;
	case BACKEND_FLUSH:
		flush_submit(f, io);
		break;
	case BACKEND_DISCARD:
	case BACKEND_WRITE_ZEROES:
		file_range_submit(f, io);
		break;
	}
}

/* The engine is submitted by its owner; here a round ends for the size check.
 */
static void
file_kick(struct backend *b)
{
	file_of(b)->size_checked = false;
}

static void
file_close(struct backend *b)
{
	struct file_backend *f;

	if (!b)
		return;
	f = file_of(b);
	close(f->fd);
	free(f);
}

/*
 * O_NONBLOCK keeps the open of a FIFO or a line from waiting, and is cleared
 * afterwards: io_uring would take it for "never wait" on a block device.
 */
static int
open_fd(const struct backend_open_params *p)
{
	int fd = p->fd, flags;

	if (fd < 0)
		fd = open(p->path, (p->read_only ? O_RDONLY : O_RDWR) |
					   O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		/* Of a directory, opened for writing: it is no file either. */
		return errno == EISDIR ? -ENOTBLK : -errno;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

static int
file_open(const struct backend_open_params *p, struct backend **ret)
{
	struct file_backend *f;
	int fd = open_fd(p), err;

	if (fd < 0)
		return fd;
	f = calloc(1, sizeof(*f));
	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	f->base.ops = &backend_file;
	f->fd = fd;
	f->exec = p->exec;
	f->io = p->io;
	f->log = p->log;
	gw_text_printable(f->name, sizeof(f->name),
			  p->path ? p->path : "(unnamed file)");
	err = file_geometry(f, p);
	if (err) {
		file_close(&f->base);
		return err;
	}
	*ret = &f->base;
	return 0;
}

const struct backend_ops backend_file = {
	.name = "file",
	.open = file_open,
	.close = file_close,
	.submit = file_submit,
	.kick = file_kick,
	.grows = true,
};
