/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Chunks are not registered as fixed buffers: registering pins and touches
 * every page of a session's chunks, most of which are never used. What it would
 * save, the pinning per O_DIRECT request, is small beside the device.
 */
#include "gateway/backend/uring.h"

#include <errno.h>
#include <liburing.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define SQ_ENTRIES 256
#define CQ_ENTRIES 4096

struct gw_io_engine {
	struct io_uring ring;
	bool is_uring;
	/*
	 * The ring is born disabled and bound to a thread by the first request:
	 * a single-issuer ring belongs to the thread that enables it, which is
	 * the worker, not the one that creates the workers.
	 */
	bool enabled;
	/*
	 * What the worker's loop watches. The ring's own descriptor will not
	 * do: with deferred work it is not woken by a completion. The kernel
	 * writes to it only while it is armed: of what completes while the
	 * worker is awake, nobody need be told.
	 */
	int efd;
	bool armed;
	bool has_ring;        /* to be torn down, used or not */
	struct gw_exec *exec; /* where there is no ring */
	const struct log *log;
	/* Requests that found the submission queue full. */
	struct gw_job *waiting, **waiting_tail;
	unsigned inflight; /* submitted, not reaped */
};

/* Which set of flags a kernel takes: best first, the last is any kernel's. */
static const unsigned setup_flags[] = {
	/* Completions are processed when the worker reaps, all in one go. */
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
		IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
		IORING_SETUP_SUBMIT_ALL,
	0,
};

static int
ring_setup(struct io_uring *ring)
{
	int err = -EINVAL;

	for (size_t i = 0; i < ARRAY_SIZE(setup_flags) && err == -EINVAL; i++) {
		struct io_uring_params params = {
			.flags = setup_flags[i] | IORING_SETUP_R_DISABLED |
				 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
			.cq_entries = CQ_ENTRIES,
		};

		err = io_uring_queue_init_params(SQ_ENTRIES, ring, &params);
		/* Without NODROP a burst of completions could be lost. */
		if (!err && !(params.features & IORING_FEAT_NODROP)) {
			io_uring_queue_exit(ring);
			return -ENOSYS;
		}
	}
	return err;
}

static int
ring_init(struct gw_io_engine *e)
{
	int err = ring_setup(&e->ring);

	if (err)
		return err;
	e->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->efd < 0) {
		err = -errno;
		goto err_exit;
	}
	err = io_uring_register_eventfd(&e->ring, e->efd);
	if (err)
		goto err_close;
	return 0;

err_close:
	close(e->efd);
err_exit:
	io_uring_queue_exit(&e->ring);
	return err;
}

static void
say_refused(const struct log *log, int err)
{
	log_warn(log, "io_uring is not available (%s): file I/O uses threads",
		 strerrordesc_np(-err));
}

int
gw_io_engine_new(struct gw_exec *exec, const struct log *log, bool force_pool,
		 struct gw_io_engine **ret)
{
	struct gw_io_engine *e = calloc(1, sizeof(*e));
	int err;

	if (!e)
		return -ENOMEM;
	e->exec = exec;
	e->log = log;
	e->waiting_tail = &e->waiting;
	if (!force_pool) {
		err = ring_init(e);
		if (err == -EMFILE || err == -ENFILE) {
			free(e);
			return err;
		}
		if (err)
			say_refused(log, err);
		e->is_uring = e->has_ring = !err;
	}
	*ret = e;
	return 0;
}

void
gw_io_engine_free(struct gw_io_engine *e)
{
	if (!e)
		return;
	if (e->has_ring) {
		io_uring_queue_exit(&e->ring);
		close(e->efd);
	}
	free(e);
}

int
gw_io_engine_fd(const struct gw_io_engine *e)
{
	return e->is_uring ? e->efd : -1;
}

bool
gw_io_engine_is_uring(const struct gw_io_engine *e)
{
	return e->is_uring;
}

static void
ring_enable(struct gw_io_engine *e)
{
	/* liburing 2.3 declares io_uring_enable_rings() and lacks it. */
	long r = syscall(__NR_io_uring_register, e->ring.ring_fd,
			 IORING_REGISTER_ENABLE_RINGS, NULL, 0);

	/* A filter of system calls may permit the setup and not this. */
	if (r) {
		say_refused(e->log, -errno);
		e->is_uring = false;
		return;
	}
	e->enabled = true;
	(void)io_uring_cq_eventfd_toggle(&e->ring, false);
	/* Saves a look-up of the descriptor per call; optional. */
	io_uring_register_ring_fd(&e->ring);
}

static void
req_prep(struct io_uring_sqe *sqe, struct gw_uring_req *req)
{
	switch (req->opcode) {
	case IORING_OP_READ:
		io_uring_prep_read(sqe, req->fd, req->buf, req->len, req->off);
		sqe->rw_flags = req->rwf_flags;
		break;
	case IORING_OP_WRITE:
		io_uring_prep_write(sqe, req->fd, req->buf, req->len, req->off);
		sqe->rw_flags = req->rwf_flags;
		break;
	default:
		io_uring_prep_fsync(sqe, req->fd, IORING_FSYNC_DATASYNC);
		break;
	}
	io_uring_sqe_set_data(sqe, req);
}

/* Moves waiting requests into the submission queue as far as it has room. */
static void
refill(struct gw_io_engine *e)
{
	while (e->waiting) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring);
		struct gw_job *job = e->waiting;

		if (!sqe)
			return;
		e->waiting = job->next;
		if (!e->waiting)
			e->waiting_tail = &e->waiting;
		req_prep(sqe, container_of(job, struct gw_uring_req, job));
	}
}

void
gw_io_engine_submit(struct gw_io_engine *e)
{
	if (!e->is_uring)
		return;
	refill(e);
	while (io_uring_sq_ready(&e->ring)) {
		int n = io_uring_submit_and_get_events(&e->ring);

		if (n > 0) {
			e->inflight += (unsigned)n;
			refill(e);
			continue;
		}
		if (n == -EINTR)
			continue;
		/*
		 * -EBUSY and -EAGAIN: the kernel wants completions reaped
		 * first, or is short of memory. The next completion brings us
		 * back here; when none is due there is only trying again.
		 */
		if (n != -EBUSY && n != -EAGAIN && n != -ENOMEM && n != 0)
			abort(); /* a defect: wrong thread, wrong ring */
		if (e->inflight)
			return;
		sched_yield();
	}
}

bool
gw_io_engine_arm(struct gw_io_engine *e)
{
	if (!e->is_uring || !e->inflight)
		return false;
	if (!e->armed) {
		e->armed = true;
		/* Kernels before 5.8 cannot: there it is always armed. */
		(void)io_uring_cq_eventfd_toggle(&e->ring, true);
		/* The kernel looks the other way round: first it says that
		 * there is something, then it looks at this flag. */
		atomic_thread_fence(memory_order_seq_cst);
	}
	return io_uring_cq_ready(&e->ring) ||
	       (__atomic_load_n(e->ring.sq.kflags, __ATOMIC_RELAXED) &
		(IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

void
gw_io_engine_woken(struct gw_io_engine *e)
{
	uint64_t count;
	ssize_t r = read(e->efd, &count, sizeof(count));

	(void)r; /* it was read before the queue is: none is missed */
}

int
gw_io_engine_reap(struct gw_io_engine *e)
{
	struct io_uring_cqe *cqe;
	int n = 0;

	if (!e->is_uring || !e->enabled)
		return 0;
	if (e->armed) {
		e->armed = false;
		(void)io_uring_cq_eventfd_toggle(&e->ring, false);
	}
	/* The peek enters the kernel when the flags say that completions are
	 * pending there: deferred work, or an overflown queue. */
	while (!io_uring_peek_cqe(&e->ring, &cqe)) {
		struct gw_uring_req *req = io_uring_cqe_get_data(cqe);
		int64_t res = cqe->res;

		/* Given back first: done() may queue the next request. */
		io_uring_cqe_seen(&e->ring, cqe);
		e->inflight--;
		n++;
		req->done(req, res);
	}
	gw_io_engine_submit(e);
	return n;
}

static int64_t
req_perform(const struct gw_uring_req *req)
{
	struct iovec iov = {.iov_base = req->buf, .iov_len = req->len};
	off_t off = (off_t)req->off;
	ssize_t n;

	do {
		switch (req->opcode) {
		case IORING_OP_READ:
			n = preadv2(req->fd, &iov, 1, off, req->rwf_flags);
			break;
		case IORING_OP_WRITE:
			n = pwritev2(req->fd, &iov, 1, off, req->rwf_flags);
			break;
		default:
			n = fdatasync(req->fd);
			break;
		}
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static void
req_work(struct gw_job *job)
{
	struct gw_uring_req *req = container_of(job, struct gw_uring_req, job);

	req->res = req_perform(req);
}

static void
req_worked(struct gw_job *job)
{
	struct gw_uring_req *req = container_of(job, struct gw_uring_req, job);

	req->done(req, req->res);
}

static void
req_queue(struct gw_io_engine *e, struct gw_uring_req *req)
{
	struct io_uring_sqe *sqe;

	if (unlikely(e->is_uring && !e->enabled))
		ring_enable(e);
	if (!e->is_uring) {
		req->job.work = req_work;
		req->job.done = req_worked;
		e->exec->run(e->exec, &req->job);
		return;
	}
	sqe = e->waiting ? NULL : io_uring_get_sqe(&e->ring);
	if (unlikely(!sqe)) {
		req->job.next = NULL;
		*e->waiting_tail = &req->job;
		e->waiting_tail = &req->job.next;
		gw_io_engine_submit(e);
		return;
	}
	req_prep(sqe, req);
}

void
gw_io_read(struct gw_io_engine *e, struct gw_uring_req *req, int fd, void *buf,
	   uint32_t len, uint64_t off, int rwf_flags)
{
	req->opcode = IORING_OP_READ;
	req->fd = fd;
	req->buf = buf;
	req->len = len;
	req->off = off;
	req->rwf_flags = rwf_flags;
	req_queue(e, req);
}

void
gw_io_write(struct gw_io_engine *e, struct gw_uring_req *req, int fd,
	    const void *buf, uint32_t len, uint64_t off, int rwf_flags)
{
	req->opcode = IORING_OP_WRITE;
	req->fd = fd;
	/* Only ever read from. */
	req->buf = (void *)(uintptr_t)buf;
	req->len = len;
	req->off = off;
	req->rwf_flags = rwf_flags;
	req_queue(e, req);
}

void
gw_io_fdatasync(struct gw_io_engine *e, struct gw_uring_req *req, int fd)
{
	req->opcode = IORING_OP_FSYNC;
	req->fd = fd;
	req_queue(e, req);
}
