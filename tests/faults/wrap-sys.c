/* SPDX-License-Identifier: BSD-3-Clause */
/* System calls: descriptors, sockets, files, threads, io_uring. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <liburing.h>
#include <netdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/faults/fault-priv.h"

/* ------------------------------------------------- descriptors */

WRAPPED(int, socket, int domain, int type, int proto)
{
	FAIL(FAULT_DESC, "socket", EMFILE, -1);
	return __real_socket(domain, type, proto);
}

WRAPPED(int, accept4, int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	FAIL(FAULT_DESC, "accept4", EMFILE, -1);
	return __real_accept4(fd, addr, len, flags);
}

WRAPPED(int, epoll_create1, int flags)
{
	FAIL(FAULT_DESC, "epoll_create1", EMFILE, -1);
	return __real_epoll_create1(flags);
}

WRAPPED(int, eventfd, unsigned initval, int flags)
{
	FAIL(FAULT_DESC, "eventfd", EMFILE, -1);
	return __real_eventfd(initval, flags);
}

WRAPPED(int, pipe2, int fds[2], int flags)
{
	FAIL(FAULT_DESC, "pipe2", EMFILE, -1);
	return __real_pipe2(fds, flags);
}

WRAPPED(int, dup3, int from, int to, int flags)
{
	FAIL(FAULT_DESC, "dup3", EMFILE, -1);
	return __real_dup3(from, to, flags);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);

int
__wrap_open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	FAIL(FAULT_DESC, "open", EMFILE, -1);
	if (flags & O_CREAT) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	return __real_open64(path, flags, mode);
}

WRAPPED(FILE *, fopen64, const char *path, const char *mode)
{
	FAIL(FAULT_DESC, "fopen", EMFILE, NULL);
	return __real_fopen64(path, mode);
}

WRAPPED(DIR *, opendir, const char *path)
{
	FAIL(FAULT_DESC, "opendir", EMFILE, NULL);
	return __real_opendir(path);
}

/* Those that go without a wrapper in libc. */
long __real_syscall(long nr, ...);
long __wrap_syscall(long nr, ...);

long
__wrap_syscall(long nr, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (nr == SYS_openat2)
		FAIL(FAULT_DESC, "openat2", EMFILE, -1);
	if (nr == SYS_io_uring_register)
		FAIL(FAULT_URING, "io_uring_register", ENOMEM, -1);
	return __real_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ------------------------------------------------- the network */

WRAPPED(int, connect, int fd, const struct sockaddr *addr, socklen_t len)
{
	FAIL(FAULT_NET, "connect", ENOBUFS, -1);
	return __real_connect(fd, addr, len);
}

WRAPPED(int, bind, int fd, const struct sockaddr *addr, socklen_t len)
{
	FAIL(FAULT_NET, "bind", ENOBUFS, -1);
	return __real_bind(fd, addr, len);
}

WRAPPED(int, listen, int fd, int backlog)
{
	FAIL(FAULT_NET, "listen", ENOBUFS, -1);
	return __real_listen(fd, backlog);
}

WRAPPED(int, setsockopt, int fd, int level, int name, const void *val,
	socklen_t len)
{
	FAIL(FAULT_NET, "setsockopt", ENOBUFS, -1);
	return __real_setsockopt(fd, level, name, val, len);
}

WRAPPED(int, getsockopt, int fd, int level, int name, void *val, socklen_t *len)
{
	FAIL(FAULT_NET, "getsockopt", ENOBUFS, -1);
	return __real_getsockopt(fd, level, name, val, len);
}

WRAPPED(int, getsockname, int fd, struct sockaddr *addr, socklen_t *len)
{
	FAIL(FAULT_NET, "getsockname", ENOBUFS, -1);
	return __real_getsockname(fd, addr, len);
}

WRAPPED(int, getpeername, int fd, struct sockaddr *addr, socklen_t *len)
{
	FAIL(FAULT_NET, "getpeername", ENOTCONN, -1);
	return __real_getpeername(fd, addr, len);
}

WRAPPED(int, epoll_ctl, int epfd, int op, int fd, struct epoll_event *ev)
{
	/* The kernel takes no memory for what is there. */
	if (op == EPOLL_CTL_ADD)
		FAIL(FAULT_NET, "epoll_ctl", ENOMEM, -1);
	return __real_epoll_ctl(epfd, op, fd, ev);
}

WRAPPED(int, getaddrinfo, const char *node, const char *service,
	const struct addrinfo *hints, struct addrinfo **res)
{
	FAIL(FAULT_NET, "getaddrinfo", ENOMEM, EAI_MEMORY);
	return __real_getaddrinfo(node, service, hints, res);
}

WRAPPED(int, getifaddrs, struct ifaddrs **ret)
{
	FAIL(FAULT_NET, "getifaddrs", ENOBUFS, -1);
	return __real_getifaddrs(ret);
}

/* ------------------------------------------------- transfers */

#define MAX_IOV 64

/* The first third, at least a byte. */
static int
cut(const struct iovec *from, size_t n, struct iovec to[MAX_IOV])
{
	size_t sum = 0, left;
	int k = 0;

	for (size_t i = 0; i < n; i++)
		sum += from[i].iov_len;
	left = sum / 3 ? sum / 3 : sum;
	for (size_t i = 0; i < n && left && k < MAX_IOV; i++) {
		to[k] = from[i];
		if (to[k].iov_len > left)
			to[k].iov_len = left;
		left -= to[k++].iov_len;
	}
	return k;
}

static int
xfer_errno(int hard)
{
	return fault_mode() == FAULT_AGAIN ? EAGAIN : hard;
}

WRAPPED(ssize_t, sendmsg, int fd, const struct msghdr *msg, int flags)
{
	struct iovec iov[MAX_IOV];
	struct msghdr part = *msg;

	if (!fault_hit(FAULT_XFER, "sendmsg", SITE))
		return __real_sendmsg(fd, msg, flags);
	if (fault_mode() != FAULT_SHORT) {
		errno = xfer_errno(ENOBUFS);
		return -1;
	}
	part.msg_iovlen = (size_t)cut(msg->msg_iov, msg->msg_iovlen, iov);
	part.msg_iov = iov;
	return __real_sendmsg(fd, &part, flags);
}

WRAPPED(ssize_t, recvmsg, int fd, struct msghdr *msg, int flags)
{
	struct iovec iov[MAX_IOV];
	struct msghdr part = *msg;

	if (!fault_hit(FAULT_XFER, "recvmsg", SITE))
		return __real_recvmsg(fd, msg, flags);
	if (fault_mode() != FAULT_SHORT) {
		errno = xfer_errno(ENOBUFS);
		return -1;
	}
	part.msg_iovlen = (size_t)cut(msg->msg_iov, msg->msg_iovlen, iov);
	part.msg_iov = iov;
	return __real_recvmsg(fd, &part, flags);
}

WRAPPED(ssize_t, recv, int fd, void *buf, size_t len, int flags)
{
	if (!fault_hit(FAULT_XFER, "recv", SITE))
		return __real_recv(fd, buf, len, flags);
	if (fault_mode() != FAULT_SHORT) {
		errno = xfer_errno(ENOBUFS);
		return -1;
	}
	return __real_recv(fd, buf, len > 2 ? len / 3 : len, flags);
}

/* ------------------------------------------------- files */

static int
disk_errno(int hard)
{
	return fault_mode() == FAULT_AGAIN ? EINTR : hard;
}

/* True: *ret is the outcome. A short transfer is made of iov[0] only. */
static bool
disk_fault(const char *name, const void *site, const struct iovec *iov,
	   struct iovec *part, int err, ssize_t *ret)
{
	if (!fault_hit(FAULT_DISK, name, site))
		return false;
	*part = iov[0];
	if (fault_mode() == FAULT_SHORT) {
		if (part->iov_len > 1)
			part->iov_len /= 2;
		return false;
	}
	errno = disk_errno(err);
	*ret = -1;
	return true;
}

WRAPPED(ssize_t, preadv64v2, int fd, const struct iovec *iov, int n,
	off64_t off, int flags)
{
	struct iovec part = {0};
	ssize_t ret;

	if (disk_fault("preadv2", SITE, iov, &part, EIO, &ret))
		return ret;
	return part.iov_len ? __real_preadv64v2(fd, &part, 1, off, flags)
			    : __real_preadv64v2(fd, iov, n, off, flags);
}

WRAPPED(ssize_t, pwritev64v2, int fd, const struct iovec *iov, int n,
	off64_t off, int flags)
{
	struct iovec part = {0};
	ssize_t ret;

	if (disk_fault("pwritev2", SITE, iov, &part, ENOSPC, &ret))
		return ret;
	return part.iov_len ? __real_pwritev64v2(fd, &part, 1, off, flags)
			    : __real_pwritev64v2(fd, iov, n, off, flags);
}

WRAPPED(ssize_t, pwritev64, int fd, const struct iovec *iov, int n, off64_t off)
{
	struct iovec part = {0};
	ssize_t ret;

	if (disk_fault("pwritev", SITE, iov, &part, ENOSPC, &ret))
		return ret;
	return part.iov_len ? __real_pwritev64(fd, &part, 1, off)
			    : __real_pwritev64(fd, iov, n, off);
}

WRAPPED(ssize_t, pread64, int fd, void *buf, size_t len, off64_t off)
{
	struct iovec iov = {.iov_base = buf, .iov_len = len}, part = {0};
	ssize_t ret;

	if (disk_fault("pread", SITE, &iov, &part, EIO, &ret))
		return ret;
	return __real_pread64(fd, buf, part.iov_len ? part.iov_len : len, off);
}

WRAPPED(int, fdatasync, int fd)
{
	FAIL(FAULT_DISK, "fdatasync", disk_errno(EIO), -1);
	return __real_fdatasync(fd);
}

WRAPPED(int, fallocate64, int fd, int mode, off64_t off, off64_t len)
{
	FAIL(FAULT_DISK, "fallocate", disk_errno(ENOSPC), -1);
	return __real_fallocate64(fd, mode, off, len);
}

WRAPPED(int, ftruncate64, int fd, off64_t len)
{
	FAIL(FAULT_DISK, "ftruncate", ENOSPC, -1);
	return __real_ftruncate64(fd, len);
}

WRAPPED(int, fstat64, int fd, struct stat *st)
{
	FAIL(FAULT_DISK, "fstat", EIO, -1);
	return __real_fstat64(fd, st);
}

WRAPPED(int, statx, int fd, const char *path, int flags, unsigned mask,
	struct statx *stx)
{
	FAIL(FAULT_DISK, "statx", EIO, -1);
	return __real_statx(fd, path, flags, mask, stx);
}

/* ------------------------------------------------- threads, io_uring */

struct begin {
	void *(*fn)(void *);
	void *arg;
	enum fault_side side;
};

void *__real_malloc(size_t size);
void __real_free(void *p);

static void *
begin_thread(void *p)
{
	struct begin b = *(struct begin *)p;

	__real_free(p);
	fault_set_side(b.side);
	return b.fn(b.arg);
}

WRAPPED(int, pthread_create, pthread_t *t, const pthread_attr_t *attr,
	void *(*fn)(void *), void *arg)
{
	struct begin *b;
	int r;

	FAIL(FAULT_THREAD, "pthread_create", EAGAIN, EAGAIN);
	b = __real_malloc(sizeof(*b));
	if (!b)
		return EAGAIN;
	*b = (struct begin){fn, arg, fault_get_side()};
	r = __real_pthread_create(t, attr, begin_thread, b);
	if (r)
		__real_free(b);
	return r;
}

WRAPPED(int, io_uring_queue_init_params, unsigned entries,
	struct io_uring *ring, struct io_uring_params *p)
{
	FAIL(FAULT_URING, "io_uring_queue_init_params", ENOMEM, -ENOMEM);
	FAIL(FAULT_DESC, "io_uring_queue_init_params", EMFILE, -EMFILE);
	return __real_io_uring_queue_init_params(entries, ring, p);
}

WRAPPED(int, io_uring_register_eventfd, struct io_uring *ring, int fd)
{
	FAIL(FAULT_URING, "io_uring_register_eventfd", ENOMEM, -ENOMEM);
	return __real_io_uring_register_eventfd(ring, fd);
}

WRAPPED(int, io_uring_register_ring_fd, struct io_uring *ring)
{
	FAIL(FAULT_URING, "io_uring_register_ring_fd", ENOMEM, -ENOMEM);
	return __real_io_uring_register_ring_fd(ring);
}

/* Short: the kernel takes one of the entries. */
WRAPPED(int, io_uring_submit_and_get_events, struct io_uring *ring)
{
	unsigned tail = ring->sq.sqe_tail;
	int n;

	if (!fault_hit(FAULT_URING, "io_uring_submit_and_get_events", SITE))
		return __real_io_uring_submit_and_get_events(ring);
	if (fault_mode() != FAULT_SHORT)
		return fault_mode() == FAULT_AGAIN ? -EBUSY : -EAGAIN;
	if (tail - ring->sq.sqe_head > 1)
		ring->sq.sqe_tail = ring->sq.sqe_head + 1;
	n = __real_io_uring_submit_and_get_events(ring);
	ring->sq.sqe_tail = tail;
	return n;
}
