/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LD_PRELOAD: reads and writes that touch bytes EIO_FROM..EIO_TO of any
 * regular file fail with EIO, as a disk with a bad spot does.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

static bool
bad_spot(int fd, off_t off, size_t len)
{
	const char *from = getenv("EIO_FROM"), *to = getenv("EIO_TO");
	struct stat st;

	if (!from || !to || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	return off < (off_t)strtoll(to, NULL, 10) &&
	       off + (off_t)len > (off_t)strtoll(from, NULL, 10);
}

static size_t
iov_bytes(const struct iovec *iov, int n)
{
	size_t sum = 0;

	for (int i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t
pread64(int fd, void *buf, size_t len, off64_t off)
{
	if (bad_spot(fd, off, len)) {
		errno = EIO;
		return -1;
	}
	return REAL(pread64)(fd, buf, len, off);
}

ssize_t
pread(int fd, void *buf, size_t len, off_t off)
{
	return pread64(fd, buf, len, off);
}

ssize_t
pwrite64(int fd, const void *buf, size_t len, off64_t off)
{
	if (bad_spot(fd, off, len)) {
		errno = EIO;
		return -1;
	}
	return REAL(pwrite64)(fd, buf, len, off);
}

ssize_t
pwrite(int fd, const void *buf, size_t len, off_t off)
{
	return pwrite64(fd, buf, len, off);
}

/*
 * With 64-bit offsets, glibc's headers redirect preadv2() and pwritev2() to
 * these.
 */
ssize_t
preadv64v2(int fd, const struct iovec *iov, int n, off64_t off, int flags)
{
	if (bad_spot(fd, off, iov_bytes(iov, n))) {
		errno = EIO;
		return -1;
	}
	return REAL(preadv64v2)(fd, iov, n, off, flags);
}

ssize_t
pwritev64v2(int fd, const struct iovec *iov, int n, off64_t off, int flags)
{
	if (bad_spot(fd, off, iov_bytes(iov, n))) {
		errno = EIO;
		return -1;
	}
	return REAL(pwritev64v2)(fd, iov, n, off, flags);
}
