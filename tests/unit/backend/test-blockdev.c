/* SPDX-License-Identifier: BSD-3-Clause */
/* Block devices, on a loop device; skipped, and said so, where none is to be
 * had. */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "gateway/backend/file.h"
#include "gateway/export.h"
#include "tests/unit/backend/rig.h"

#define SIZE (UINT64_C(64) << 20)

/* A loop device on path, or -errno; the device goes away with its last user. */
static int
loop_attach(const char *path, unsigned block_size, bool read_only, char *dev,
	    size_t dev_size)
{
	int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int file, loop = -1, err = -EBUSY;

	if (ctl < 0)
		return -errno;
	file = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	/* Another test may be faster with a free one. */
	for (int i = 0; i < 16 && err == -EBUSY && file >= 0; i++) {
		struct loop_config config = {
			.fd = (unsigned)file,
			.block_size = block_size,
			.info.lo_flags = LO_FLAGS_AUTOCLEAR |
					 (read_only ? LO_FLAGS_READ_ONLY : 0),
		};
		int nr = ioctl(ctl, LOOP_CTL_GET_FREE);

		if (nr < 0) {
			err = -errno;
			break;
		}
		snprintf(dev, dev_size, "/dev/loop%d", nr);
		loop = open(dev, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
		if (loop < 0) {
			err = -errno;
			break;
		}
		err = ioctl(loop, LOOP_CONFIGURE, &config) ? -errno : 0;
		if (err)
			close(loop);
	}
	if (file >= 0)
		close(file);
	close(ctl);
	return err ? err : loop;
}

static const struct {
	unsigned block_size;
	bool force_pool, buffered;
} cases[] = {
	{512, false, false}, {512, false, true},   {512, true, false},
	{512, true, true},   {4096, false, false}, {4096, true, true},
};

START_TEST(a_block_device_is_a_device)
{
	enum {
		LEN = 1 << 20
	};
	struct rig r;
	struct backend *b;
	struct stat st;
	char dev[32], path[128], *buf = rig_buf(LEN), *back = rig_buf(LEN);
	int loop;

	rig_init(&r, cases[_i].force_pool);
	snprintf(path, sizeof(path), "%s", rig_file(r.dir, "disk", SIZE));
	loop = loop_attach(path, cases[_i].block_size, false, dev, sizeof(dev));
	ck_assert_int_ge(loop, 0);
	ck_assert_int_eq(rig_open_file(&r, dev, false, cases[_i].buffered, &b),
			 0);
	ck_assert(file_of(b)->is_block);
	ck_assert(file_of(b)->direct == !cases[_i].buffered);
	ck_assert_uint_eq(b->geo.size_bytes, SIZE);
	ck_assert_uint_eq(b->geo.logical_block_size, cases[_i].block_size);
	ck_assert_uint_eq(b->id.kind, BACKEND_KIND_BLOCK);
	ck_assert_int_eq(fstat(loop, &st), 0);
	ck_assert_uint_eq(b->id.a, st.st_rdev);
	ck_assert_uint_gt(b->geo.max_discard_bytes, 0);
	ck_assert_uint_gt(b->geo.discard_granularity, 0);

	memset(buf, 'b', LEN);
	for (int op = 0; op < 3; op++) {
		ck_assert_int_eq(rig_op(&r, b, BACKEND_WRITE, BACKEND_F_FUA,
					SIZE - LEN, LEN, buf),
				 0);
		ck_assert_int_eq(rig_flush(&r, b), 0);
		ck_assert_int_eq(rig_read(&r, b, SIZE - LEN, LEN, back), 0);
		ck_assert_mem_eq(buf, back, LEN);
		ck_assert_int_eq(
			rig_op(&r, b,
			       op ? BACKEND_WRITE_ZEROES : BACKEND_DISCARD,
			       op == 2 ? BACKEND_F_NOUNMAP : 0, SIZE - LEN, LEN,
			       NULL),
			0);
		ck_assert_int_eq(rig_read(&r, b, SIZE - LEN, LEN, back), 0);
		ck_assert(is_zero(back, LEN));
	}
	/* The whole device, in slices. */
	ck_assert_int_eq(rig_op(&r, b, BACKEND_WRITE_ZEROES, 0, 0, SIZE, NULL),
			 0);
	ck_assert_int_eq(rig_op(&r, b, BACKEND_DISCARD, 0, 0, SIZE, NULL), 0);
	b->ops->close(b);
	close(loop);
	rig_deinit(&r);
	free(buf);
	free(back);
}
END_TEST

START_TEST(a_read_only_device_is_read_only)
{
	struct rig r;
	struct backend *b;
	struct gw_exports *x;
	char dev[32], path[128], text[GW_TEXT_MAX], why[GW_TEXT_MAX];
	int loop;

	rig_init(&r, false);
	snprintf(path, sizeof(path), "%s", rig_file(r.dir, "disk", SIZE));
	loop = loop_attach(path, 512, true, dev, sizeof(dev));
	ck_assert_int_ge(loop, 0);
	ck_assert_int_eq(rig_open_file(&r, dev, true, false, &b), 0);
	ck_assert(b->geo.read_only);
	ck_assert_uint_eq(b->geo.max_discard_bytes, 0);
	b->ops->close(b);
	/* The system lets it be opened for writing; the flag remains. */
	ck_assert_int_eq(rig_open_file(&r, dev, false, false, &b), 0);
	ck_assert(b->geo.read_only);
	ck_assert_uint_eq(b->geo.max_write_zeroes_bytes, 0);
	b->ops->close(b);
	ck_assert_int_eq(gw_exports_new(&r.log, &x), 0);
	snprintf(path, sizeof(path), "disk=%s", dev);
	ck_assert_int_eq(gw_exports_add_text(x, path, text), -EACCES);
	snprintf(why, sizeof(why),
		 "export 'disk': cannot open '%s': Permission denied: to offer "
		 "it read-only add ',ro'",
		 dev);
	ck_assert_str_eq(text, why);
	gw_exports_free(x);
	close(loop);
	rig_deinit(&r);
}
END_TEST

START_TEST(the_search_path_offers_no_device_in_use)
{
	struct gw_opened o, second;
	struct gw_exports *x;
	struct gw_open_params p = {.sess_name = "s",
				   .access_mode = RNBD_ACCESS_RO};
	char dev[32], path[128], text[GW_TEXT_MAX];
	int loop, claim;
	struct rig r;

	rig_init(&r, false);
	snprintf(path, sizeof(path), "%s", rig_file(r.dir, "disk", SIZE));
	loop = loop_attach(path, 512, false, dev, sizeof(dev));
	ck_assert_int_ge(loop, 0);
	ck_assert_int_eq(gw_exports_new(&r.log, &x), 0);
	ck_assert_int_eq(gw_exports_set_search_path(x, "/dev", text), 0);
	p.dev_name = dev + strlen("/dev/");
	p.exec = r.exec;
	p.io = r.io;
	p.log = &r.log;
	/* Others that have it open as we do are no use of it. */
	ck_assert_msg(!gw_exports_open(x, &p, &o, text), "%s", text);
	ck_assert_msg(!gw_exports_open(x, &p, &second, text), "%s", text);
	gw_exports_close(x, &second);
	gw_exports_close(x, &o);
	/* What mount(2) does first. */
	claim = open(dev, O_RDWR | O_EXCL | O_CLOEXEC);
	ck_assert_int_ge(claim, 0);
	ck_assert_int_eq(gw_exports_open(x, &p, &o, text), -EBUSY);
	ck_assert_ptr_nonnull(strstr(text, "is in use on the server"));
	/* By name it is offered. */
	snprintf(path, sizeof(path), "disk=%s", dev);
	ck_assert_int_eq(gw_exports_add_text(x, path, text), 0);
	p.dev_name = "disk";
	ck_assert_int_eq(gw_exports_open(x, &p, &o, text), 0);
	gw_exports_close(x, &o);
	close(claim);
	gw_exports_free(x);
	close(loop);
	rig_deinit(&r);
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, a_block_device_is_a_device, 0,
			    (int)ARRAY_SIZE(cases));
	tcase_add_test(tc, a_read_only_device_is_read_only);
	tcase_add_test(tc, the_search_path_offers_no_device_in_use);
}

int
main(void)
{
	char dev[32], path[] = "/tmp/rnbd-loop-probe-XXXXXX";
	int fd = mkstemp(path), loop = -EIO;

	if (fd >= 0) {
		if (!ftruncate(fd, 1 << 20))
			loop = loop_attach(path, 512, false, dev, sizeof(dev));
		close(fd);
		unlink(path);
	}
	if (loop < 0) {
		printf("1..0 # SKIP no loop device: %s\n", strerror(-loop));
		return 0;
	}
	close(loop);
	return rig_main("backend/blockdev", add_tests);
}
