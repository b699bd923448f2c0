/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file backend between a caller and a system that misbehaves: the linker
 * puts the functions below in front of the real ones (--wrap). On threads, so
 * that every system call of the backend passes here.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>

#include "gateway/backend/file.h"
#include "tests/unit/backend/rig.h"

#define LEN 65536

/* What the next calls do. Written while nothing is in flight. */
static struct {
	int interrupt;  /* that many calls give EINTR first */
	size_t max;     /* bytes per read or write; 0: all */
	ssize_t report; /* reads and writes tell of no more bytes; 0: all */
	int write_err;  /* errno */
	int again;      /* that many engine calls give EAGAIN */
	int fsync_err;  /* errno */
	int alloc_err;  /* errno */
	int nowait_err; /* errno */
} fault;

static struct {
	atomic_uint reads, nowait_reads, writes, dsync_writes, syncs, allocs;
} count;

ssize_t __real_preadv64v2(int fd, const struct iovec *iov, int n, off_t off,
			  int flags);
ssize_t __wrap_preadv64v2(int fd, const struct iovec *iov, int n, off_t off,
			  int flags);
ssize_t __real_pwritev64v2(int fd, const struct iovec *iov, int n, off_t off,
			   int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int n, off_t off,
			   int flags);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fallocate64(int fd, int mode, off_t off, off_t len);

static ssize_t
reported(ssize_t n)
{
	return fault.report && n > fault.report ? fault.report : n;
}

static bool
inject(int *counter, int err)
{
	if (*counter <= 0)
		return false;
	--*counter;
	errno = err;
	return true;
}

ssize_t
__wrap_preadv64v2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	struct iovec one = iov[0];

	if (flags & RWF_NOWAIT) {
		count.nowait_reads++;
		if (fault.nowait_err) {
			errno = fault.nowait_err;
			return -1;
		}
	} else {
		count.reads++;
	}
	if (inject(&fault.interrupt, EINTR) || inject(&fault.again, EAGAIN))
		return -1;
	if (fault.max && one.iov_len > fault.max)
		one.iov_len = fault.max;
	return reported(__real_preadv64v2(fd, &one, 1, off, flags));
}

ssize_t
__wrap_pwritev64v2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	struct iovec one = iov[0];

	count.writes++;
	if (flags & RWF_DSYNC)
		count.dsync_writes++;
	if (inject(&fault.interrupt, EINTR) || inject(&fault.again, EAGAIN))
		return -1;
	if (fault.write_err) {
		errno = fault.write_err;
		return -1;
	}
	if (fault.max && one.iov_len > fault.max)
		one.iov_len = fault.max;
	return reported(__real_pwritev64v2(fd, &one, 1, off, flags));
}

int
__wrap_fdatasync(int fd)
{
	count.syncs++;
	if (inject(&fault.interrupt, EINTR))
		return -1;
	if (fault.fsync_err) {
		errno = fault.fsync_err;
		return -1;
	}
	return __real_fdatasync(fd);
}

int
__wrap_fallocate64(int fd, int mode, off_t off, off_t len)
{
	count.allocs++;
	errno = fault.alloc_err ? fault.alloc_err : ENOSYS;
	return -1;
}

/* _i: disk direct, disk buffered, tmpfs. */
#define N_PLACES 3

struct fixture {
	struct rig r;
	struct backend *b;
	char *buf, *back;
};

static void
fixture_init(struct fixture *f, int i)
{
	rig_init(&f->r, true);
	ck_assert_int_eq(rig_open_file(&f->r,
				       rig_file(i == 2 ? f->r.shm : f->r.dir,
						"f", 1 << 20),
				       false, i == 1, &f->b),
			 0);
	f->buf = rig_buf(LEN);
	f->back = rig_buf(LEN);
	for (size_t k = 0; k < LEN; k++)
		f->buf[k] = (char)(k * 7 + k / 512);
	memset(&count, 0, sizeof(count));
}

static void
fixture_deinit(struct fixture *f)
{
	f->b->ops->close(f->b);
	free(f->buf);
	free(f->back);
	rig_deinit(&f->r);
}

START_TEST(short_and_interrupted_transfers_are_continued)
{
	static const size_t max[] = {512, 4096, 10240};
	struct fixture f;

	fixture_init(&f, _i);
	for (size_t i = 0; i < ARRAY_SIZE(max); i++) {
		fault.max = max[i];
		fault.interrupt = 2;
		memset(f.back, 0, LEN);
		ck_assert_int_eq(rig_write(&f.r, f.b, 512, LEN, f.buf), 0);
		fault.interrupt = 2;
		ck_assert_int_eq(rig_read(&f.r, f.b, 512, LEN, f.back), 0);
		ck_assert_mem_eq(f.buf, f.back, LEN);
		f.buf[0]++;
	}
	ck_assert_uint_ge(count.writes, 128 + 16 + 7);
	fixture_deinit(&f);
}
END_TEST

/* Direct I/O that ends within a block is resumed at the start of the block. */
START_TEST(transfers_cut_within_a_block_never_lose_bytes)
{
	struct fixture f;

	fixture_init(&f, _i);
	fault.report = 5120 + 100;
	ck_assert_int_eq(rig_write(&f.r, f.b, 0, LEN, f.buf), 0);
	ck_assert_int_eq(rig_read(&f.r, f.b, 0, LEN, f.back), 0);
	ck_assert_mem_eq(f.buf, f.back, LEN);
	ck_assert_uint_ge(count.writes, LEN / (5120 + 100));
	/* Without any progress there is an end to it. */
	fault.report = 100;
	if (file_of(f.b)->direct)
		ck_assert_int_eq(rig_write(&f.r, f.b, 0, LEN, f.buf), -EIO);
	fixture_deinit(&f);
}
END_TEST

START_TEST(a_transfer_that_would_not_wait_goes_to_a_thread)
{
	struct fixture f;

	fixture_init(&f, _i);
	fault.again = 1;
	ck_assert_int_eq(rig_write(&f.r, f.b, 0, LEN, f.buf), 0);
	fault.again = _i == 1 ? 2 : 1; /* RWF_NOWAIT, then the engine */
	ck_assert_int_eq(rig_read(&f.r, f.b, 0, LEN, f.back), 0);
	ck_assert_int_eq(fault.again, 0);
	ck_assert_mem_eq(f.buf, f.back, LEN);
	fixture_deinit(&f);
}
END_TEST

START_TEST(errors_of_the_disk_are_passed_on)
{
	struct fixture f;

	fixture_init(&f, _i);
	fault.write_err = EIO;
	ck_assert_int_eq(rig_write(&f.r, f.b, 0, LEN, f.buf), -EIO);
	fault.write_err = ENOSPC;
	ck_assert_int_eq(rig_write(&f.r, f.b, 0, LEN, f.buf), -ENOSPC);
	fault.fsync_err = EIO;
	ck_assert_int_eq(rig_flush(&f.r, f.b), -EIO);
	fixture_deinit(&f);
}
END_TEST

/* Then a flush that fails may have dropped what was acknowledged. */
START_TEST(who_writes_to_the_page_cache_says_so)
{
	struct fixture f;

	fixture_init(&f, _i);
	ck_assert(_i != 1 || f.b->geo.page_cache);
	ck_assert(_i != 2 || !f.b->geo.page_cache);
	ck_assert(!file_of(f.b)->direct || !f.b->geo.page_cache);
	fixture_deinit(&f);
}
END_TEST

START_TEST(flush_and_fua_reach_the_system)
{
	struct fixture f;

	fixture_init(&f, _i);
	ck_assert_int_eq(rig_write(&f.r, f.b, 0, LEN, f.buf), 0);
	ck_assert_uint_eq(count.dsync_writes, 0);
	ck_assert_uint_eq(count.syncs, 0);
	ck_assert_int_eq(
		rig_op(&f.r, f.b, BACKEND_WRITE, BACKEND_F_FUA, 0, LEN, f.buf),
		0);
	ck_assert_uint_eq(count.dsync_writes, 1);
	ck_assert_uint_eq(count.syncs, 0);
	/* Each piece of a cut write is durable, not the first alone. */
	fault.max = LEN / 4;
	ck_assert_int_eq(
		rig_op(&f.r, f.b, BACKEND_WRITE, BACKEND_F_FUA, 0, LEN, f.buf),
		0);
	ck_assert_uint_eq(count.dsync_writes, 1 + 4);
	fault.interrupt = _i == 2 ? 0 : 1;
	ck_assert_int_eq(rig_flush(&f.r, f.b), 0);
	ck_assert_uint_eq(count.syncs, _i == 2 ? 1 : 2);
	/* Zeroes are durable when they say so. */
	fault.alloc_err = EOPNOTSUPP;
	ck_assert_int_eq(
		rig_op(&f.r, f.b, BACKEND_WRITE_ZEROES, 0, 0, LEN, NULL), 0);
	ck_assert_uint_eq(count.syncs, _i == 2 ? 1 : 2);
	ck_assert_int_eq(rig_op(&f.r, f.b, BACKEND_WRITE_ZEROES, BACKEND_F_FUA,
				0, LEN, NULL),
			 0);
	ck_assert_uint_eq(count.syncs, _i == 2 ? 2 : 3);
	fixture_deinit(&f);
}
END_TEST

START_TEST(what_fallocate_refuses_is_written)
{
	static const int errs[] = {EOPNOTSUPP, ENOSYS};
	struct fixture f;

	for (size_t i = 0; i < ARRAY_SIZE(errs); i++) {
		fixture_init(&f, _i);
		fault.alloc_err = errs[i];
		ck_assert_int_eq(rig_write(&f.r, f.b, 0, LEN, f.buf), 0);
		/* Nothing can be given back: nothing happens, all is well. */
		ck_assert_int_eq(
			rig_op(&f.r, f.b, BACKEND_DISCARD, 0, 0, LEN, NULL), 0);
		ck_assert_uint_eq(count.allocs, 1);
		ck_assert_int_eq(rig_op(&f.r, f.b, BACKEND_WRITE_ZEROES, 0, 512,
					LEN - 1024, NULL),
				 0);
		/* Refused once, never tried again. */
		ck_assert_uint_eq(count.allocs, 2);
		ck_assert_int_eq(rig_op(&f.r, f.b, BACKEND_WRITE_ZEROES,
					BACKEND_F_NOUNMAP, 512, LEN - 1024,
					NULL),
				 0);
		ck_assert_uint_eq(count.allocs, 2);
		ck_assert_int_eq(rig_read(&f.r, f.b, 0, LEN, f.back), 0);
		ck_assert_mem_eq(f.back, f.buf, 512);
		ck_assert(is_zero(f.back + 512, LEN - 1024));
		ck_assert_mem_eq(f.back + LEN - 512, f.buf + LEN - 512, 512);
		fixture_deinit(&f);
	}
}
END_TEST

START_TEST(other_errors_of_fallocate_are_passed_on)
{
	struct fixture f;

	fixture_init(&f, _i);
	fault.alloc_err = ENOSPC;
	ck_assert_int_eq(
		rig_op(&f.r, f.b, BACKEND_WRITE_ZEROES, 0, 0, LEN, NULL),
		-ENOSPC);
	fault.alloc_err = EIO;
	ck_assert_int_eq(rig_op(&f.r, f.b, BACKEND_DISCARD, 0, 0, LEN, NULL),
			 -EIO);
	fixture_deinit(&f);
}
END_TEST

START_TEST(cached_reads_ask_first_and_stop_asking_when_refused)
{
	struct fixture f;

	fixture_init(&f, 1);
	ck_assert_int_eq(rig_write(&f.r, f.b, 0, LEN, f.buf), 0);
	ck_assert_int_eq(rig_read(&f.r, f.b, 0, LEN, f.back), 0);
	ck_assert_uint_eq(count.nowait_reads, 1);
	fault.nowait_err = EAGAIN;
	ck_assert_int_eq(rig_read(&f.r, f.b, 0, LEN, f.back), 0);
	ck_assert_int_eq(rig_read(&f.r, f.b, 0, LEN, f.back), 0);
	ck_assert_uint_eq(count.nowait_reads, 3);
	fault.nowait_err = EOPNOTSUPP;
	ck_assert_int_eq(rig_read(&f.r, f.b, 0, LEN, f.back), 0);
	ck_assert_int_eq(rig_read(&f.r, f.b, 0, LEN, f.back), 0);
	ck_assert_uint_eq(count.nowait_reads, 4);
	ck_assert_mem_eq(f.buf, f.back, LEN);
	fixture_deinit(&f);
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, short_and_interrupted_transfers_are_continued,
			    0, N_PLACES);
	tcase_add_loop_test(tc, transfers_cut_within_a_block_never_lose_bytes,
			    0, N_PLACES);
	tcase_add_loop_test(tc, a_transfer_that_would_not_wait_goes_to_a_thread,
			    0, 2);
	tcase_add_loop_test(tc, errors_of_the_disk_are_passed_on, 0, N_PLACES);
	tcase_add_loop_test(tc, who_writes_to_the_page_cache_says_so, 0,
			    N_PLACES);
	tcase_add_loop_test(tc, flush_and_fua_reach_the_system, 0, N_PLACES);
	tcase_add_loop_test(tc, what_fallocate_refuses_is_written, 0, N_PLACES);
	tcase_add_loop_test(tc, other_errors_of_fallocate_are_passed_on, 0,
			    N_PLACES);
	tcase_add_test(tc, cached_reads_ask_first_and_stop_asking_when_refused);
}

int
main(void)
{
	return rig_main("backend/file-faults", add_tests);
}
