/* SPDX-License-Identifier: BSD-3-Clause */
/* What is particular to files; what all backends share is in conformance. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "gateway/backend/file.h"
#include "tests/unit/backend/rig.h"

#define MIB (UINT64_C(1) << 20)

static struct backend *
open_rw(struct rig *r, const char *path, bool buffered)
{
	struct backend *b;

	ck_assert_int_eq(rig_open_file(r, path, false, buffered, &b), 0);
	return b;
}

START_TEST(how_data_goes_depends_on_where_the_file_is)
{
	struct rig r;
	struct backend *b;

	rig_init(&r, false);
	b = open_rw(&r, rig_file(r.shm, "f", MIB), false);
	ck_assert(file_of(b)->in_memory && !file_of(b)->direct);
	b->ops->close(b);
	b = open_rw(&r, rig_file(r.dir, "f", MIB), true);
	ck_assert(!file_of(b)->in_memory && !file_of(b)->direct);
	b->ops->close(b);
	b = open_rw(&r, rig_file(r.dir, "f", MIB), false);
	/* The flag and the descriptor tell the same, whatever the disk can. */
	ck_assert_int_eq(!!(fcntl(file_of(b)->fd, F_GETFL) & O_DIRECT),
			 file_of(b)->direct);
	ck_assert_int_eq(fcntl(file_of(b)->fd, F_GETFL) & O_NONBLOCK, 0);
	b->ops->close(b);
	rig_deinit(&r);
}
END_TEST

START_TEST(size_is_rounded_down_to_a_block)
{
	struct rig r;
	struct backend *b;

	rig_init(&r, false);
	b = open_rw(&r, rig_file(r.shm, "f", 1000), false);
	ck_assert_uint_eq(b->geo.size_bytes, 512);
	b->ops->close(b);
	b = open_rw(&r, rig_file(r.dir, "f", 4096 + 512 + 7), false);
	ck_assert_uint_eq(b->geo.size_bytes, 4096 + 512);
	ck_assert_uint_eq(b->geo.logical_block_size, 512);
	b->ops->close(b);
	ck_assert_int_eq(
		rig_open_file(&r, rig_file(r.dir, "f", 511), false, false, &b),
		-EINVAL);
	ck_assert_int_eq(
		rig_open_file(&r, rig_file(r.dir, "f", 0), true, false, &b),
		-EINVAL);
	rig_deinit(&r);
}
END_TEST

START_TEST(only_files_and_block_devices_are_opened)
{
	struct rig r;
	struct backend *b;
	char path[128];

	rig_init(&r, false);
	ck_assert_int_eq(rig_open_file(&r, r.dir, true, false, &b), -ENOTBLK);
	ck_assert_int_eq(rig_open_file(&r, r.dir, false, false, &b), -ENOTBLK);
	ck_assert_int_eq(rig_open_file(&r, "/dev/zero", false, false, &b),
			 -ENOTBLK);
	snprintf(path, sizeof(path), "%s/fifo", r.dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(rig_open_file(&r, path, true, false, &b), -ENOTBLK);
	snprintf(path, sizeof(path), "%s/missing", r.dir);
	ck_assert_int_eq(rig_open_file(&r, path, true, false, &b), -ENOENT);
	rig_deinit(&r);
}
END_TEST

START_TEST(a_handed_over_descriptor_is_owned_even_on_failure)
{
	struct backend_open_params p = {.cancel_fd = -1, .read_only = true};
	struct backend *b;

	p.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(p.fd, 0);
	ck_assert_int_eq(backend_file.open(&p, &b), -ENOTBLK);
	ck_assert_int_eq(fcntl(p.fd, F_GETFD), -1);
	ck_assert_int_eq(errno, EBADF);
}
END_TEST

START_TEST(read_only_mappings_offer_no_discard)
{
	struct rig r;
	struct backend *b;

	rig_init(&r, false);
	ck_assert_int_eq(
		rig_open_file(&r, rig_file(r.dir, "f", MIB), true, false, &b),
		0);
	ck_assert(b->geo.read_only);
	ck_assert_uint_eq(b->geo.max_discard_bytes, 0);
	ck_assert_uint_eq(b->geo.max_write_zeroes_bytes, 0);
	b->ops->close(b);
	rig_deinit(&r);
}
END_TEST

START_TEST(identity_is_the_file_not_its_name)
{
	struct rig r;
	struct backend *a, *b, *c;
	char path[128], link_path[128];

	rig_init(&r, false);
	snprintf(path, sizeof(path), "%s", rig_file(r.dir, "f", MIB));
	snprintf(link_path, sizeof(link_path), "%s/hard", r.dir);
	ck_assert_int_eq(link(path, link_path), 0);
	a = open_rw(&r, path, false);
	b = open_rw(&r, link_path, true);
	c = open_rw(&r, rig_file(r.dir, "other", MIB), false);
	ck_assert_mem_eq(&a->id, &b->id, sizeof(a->id));
	ck_assert_mem_ne(&a->id, &c->id, sizeof(a->id));
	a->ops->close(a);
	b->ops->close(b);
	c->ops->close(c);
	rig_deinit(&r);
}
END_TEST

/* _i: engine, and then where: disk direct, disk buffered, tmpfs. */
#define N_PLACES 6

static struct backend *
open_place(struct rig *r, int i, uint64_t size)
{
	const char *dir = i / 2 == 2 ? r->shm : r->dir;

	return open_rw(r, rig_file(dir, "place", size), i / 2 == 1);
}

static void
truncate_place(struct rig *r, int i, uint64_t size)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/place", i / 2 == 2 ? r->shm : r->dir);
	ck_assert_int_eq(truncate(path, (off_t)size), 0);
}

START_TEST(a_file_that_shrinks_gives_eio_and_one_line)
{
	struct rig r;
	struct backend *b;
	char *buf = rig_buf(65536);
	unsigned quiet;
	struct stat st;

	rig_init(&r, _i % 2);
	b = open_place(&r, _i, MIB);
	memset(buf, 'x', 65536);
	ck_assert_int_eq(rig_write(&r, b, 0, 65536, buf), 0);
	quiet = r.n_log;
	truncate_place(&r, _i, 5000);
	ck_assert_int_eq(rig_read(&r, b, 0, 512, buf), 0);
	ck_assert_int_eq(rig_read(&r, b, 0, 65536, buf), -EIO);
	ck_assert_int_eq(rig_read(&r, b, 512 * 1024, 4096, buf), -EIO);
	/* Neither may it grow again, nor be called durable. */
	ck_assert_int_eq(rig_write(&r, b, 512 * 1024, 4096, buf), -EIO);
	ck_assert_int_eq(rig_flush(&r, b), -ECANCELED);
	ck_assert_int_eq(
		rig_op(&r, b, BACKEND_WRITE_ZEROES, 0, 512 * 1024, 4096, NULL),
		-EIO);
	ck_assert_int_eq(fstat(file_of(b)->fd, &st), 0);
	ck_assert_int_eq(st.st_size, 5000);
	ck_assert_uint_eq(r.n_log, quiet + 1);
	ck_assert_ptr_nonnull(strstr(r.log_lines[quiet % RIG_LOG_LINES],
				     "/place: the file has shrunk"));
	/* Made good again, it works again. */
	truncate_place(&r, _i, MIB);
	ck_assert_int_eq(rig_write(&r, b, 512 * 1024, 4096, buf), 0);
	ck_assert_int_eq(rig_flush(&r, b), 0);
	b->ops->close(b);
	rig_deinit(&r);
	free(buf);
}
END_TEST

START_TEST(offsets_beyond_4_gib_and_2_tib_work)
{
	static const uint64_t offs[] = {
		(UINT64_C(4) << 30) - 4096, UINT64_C(4) << 30,
		(UINT64_C(2) << 40) - 2048, UINT64_C(3) << 40};
	struct rig r;
	struct backend *b;
	char *buf = rig_buf(4096), *back = rig_buf(4096);

	rig_init(&r, _i % 2);
	b = open_place(&r, _i, (UINT64_C(3) << 40) + 4096);
	for (size_t i = 0; i < ARRAY_SIZE(offs); i++) {
		memset(buf, 'a' + (int)i, 4096);
		ck_assert_int_eq(rig_write(&r, b, offs[i], 4096, buf), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(offs); i++) {
		ck_assert_int_eq(rig_read(&r, b, offs[i], 4096, back), 0);
		ck_assert_int_eq(back[0], 'a' + (int)i);
	}
	b->ops->close(b);
	rig_deinit(&r);
	free(buf);
	free(back);
}
END_TEST

START_TEST(discard_and_zeroes_free_blocks_unless_told_not_to)
{
	enum {
		LEN = 200 << 20
	}; /* several slices */
	struct rig r;
	struct backend *b;
	char *buf = rig_buf(MIB);
	struct stat st;

	rig_init(&r, _i % 2);
	b = open_place(&r, _i, LEN);
	memset(buf, 'x', MIB);
	for (int op = 0; op < 3; op++) {
		for (uint64_t off = 0; off < LEN; off += 40 * MIB)
			ck_assert_int_eq(rig_write(&r, b, off, MIB, buf), 0);
		ck_assert_int_eq(rig_flush(&r, b), 0);
		ck_assert_int_eq(
			rig_op(&r, b,
			       op ? BACKEND_WRITE_ZEROES : BACKEND_DISCARD,
			       op == 2 ? BACKEND_F_NOUNMAP : 0, 0, LEN, NULL),
			0);
		ck_assert_int_eq(fstat(file_of(b)->fd, &st), 0);
		ck_assert_int_eq(st.st_size, LEN);
		if (op == 2)
			ck_assert_int_ge(st.st_blocks, 5 * 2048);
		else
			ck_assert_int_lt(st.st_blocks, 2048);
		for (uint64_t off = 0; off < LEN; off += 40 * MIB) {
			memset(buf, 'y', MIB);
			ck_assert_int_eq(rig_read(&r, b, off, MIB, buf), 0);
			ck_assert(is_zero(buf, MIB));
		}
		memset(buf, 'x', MIB);
	}
	b->ops->close(b);
	rig_deinit(&r);
	free(buf);
}
END_TEST

START_TEST(a_full_file_system_is_enospc)
{
	struct rig r;
	struct backend *b;
	char dir[128], *buf = rig_buf(MIB);
	int err = 0;

	rig_init(&r, _i);
	snprintf(dir, sizeof(dir), "%s/small", r.dir);
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	if (mount("tmpfs", dir, "tmpfs", 0, "size=1m")) {
		fprintf(stderr, "NOT TESTED: ENOSPC: mount: %s\n",
			strerror(errno));
		goto out;
	}
	b = open_rw(&r, rig_file(dir, "f", 16 * MIB), false);
	memset(buf, 'x', MIB);
	for (int i = 0; i < 4 && !err; i++)
		err = rig_write(&r, b, (uint64_t)i * MIB, MIB, buf);
	b->ops->close(b);
	umount2(dir, MNT_DETACH);
	ck_assert_int_eq(err, -ENOSPC);
out:
	rig_deinit(&r);
	free(buf);
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, how_data_goes_depends_on_where_the_file_is);
	tcase_add_test(tc, size_is_rounded_down_to_a_block);
	tcase_add_test(tc, only_files_and_block_devices_are_opened);
	tcase_add_test(tc, a_handed_over_descriptor_is_owned_even_on_failure);
	tcase_add_test(tc, read_only_mappings_offer_no_discard);
	tcase_add_test(tc, identity_is_the_file_not_its_name);
	tcase_add_loop_test(tc, a_file_that_shrinks_gives_eio_and_one_line, 0,
			    N_PLACES);
	tcase_add_loop_test(tc, offsets_beyond_4_gib_and_2_tib_work, 0,
			    N_PLACES);
	tcase_add_loop_test(tc,
			    discard_and_zeroes_free_blocks_unless_told_not_to,
			    0, N_PLACES);
	tcase_add_loop_test(tc, a_full_file_system_is_enospc, 0, 2);
}

int
main(void)
{
	return rig_main("backend/file", add_tests);
}
