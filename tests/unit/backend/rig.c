/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/backend/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static void
rig_log(void *user, enum log_level level, const char *line)
{
	struct rig *r = user;

	snprintf(r->log_lines[r->n_log++ % RIG_LOG_LINES],
		 sizeof(r->log_lines[0]), "%s", line);
}

static void
make_dir(char *ret, size_t size, const char *under)
{
	snprintf(ret, size, "%s/rnbd-backend-XXXXXX", under);
	ck_assert_ptr_nonnull(mkdtemp(ret));
}

void
rig_init(struct rig *r, bool force_pool)
{
	memset(r, 0, sizeof(*r));
	r->log.sink = rig_log;
	r->log.user = r;
	r->log.threshold = LOG_LVL_DEBUG;
	ck_assert_int_eq(gw_pool_new(4, &r->pool), 0);
	ck_assert_int_eq(gw_pool_exec_new(r->pool, &r->pexec), 0);
	r->exec = gw_pool_exec_base(r->pexec);
	ck_assert_int_eq(gw_io_engine_new(r->exec, &r->log, force_pool, &r->io),
			 0);
	make_dir(r->dir, sizeof(r->dir), "/tmp");
	make_dir(r->shm, sizeof(r->shm), "/dev/shm");
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void
rig_deinit(struct rig *r)
{
	nftw(r->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	nftw(r->shm, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	gw_io_engine_free(r->io);
	gw_pool_exec_free(r->pexec);
	gw_pool_free(r->pool);
}

void
rig_wait(struct rig *r)
{
	struct pollfd p[2] = {
		{.fd = gw_pool_exec_fd(r->pexec), .events = POLLIN},
		{.fd = gw_io_engine_fd(r->io), .events = POLLIN},
	};
	int n, wait = gw_io_engine_arm(r->io) ? 0 : 30000;

	do
		n = poll(p, 2, wait);
	while (n < 0 && errno == EINTR);
	ck_assert_msg(n > 0 || !wait, "nothing happens");
	if (p[0].revents)
		gw_pool_exec_reap(r->pexec);
	if (p[1].revents)
		gw_io_engine_woken(r->io);
	gw_io_engine_reap(r->io);
	gw_io_engine_submit(r->io);
}

void
rig_kick(struct rig *r, struct backend *b)
{
	if (b->ops->kick)
		b->ops->kick(b);
	gw_io_engine_submit(r->io);
}

static void
rig_io_done(struct backend_io *io, int err)
{
	struct rig_io *rio = container_of(io, struct rig_io, io);

	ck_assert_int_le(err, 0);
	rio->err = err;
	rio->n_done++;
	/* Whatever the backend kept there is not used after done(). */
	memset(&io->u, 0xee, sizeof(io->u));
}

void
rig_start(struct backend *b, struct rig_io *io)
{
	io->n_done = 0;
	io->io.done = rig_io_done;
	b->ops->submit(b, &io->io);
}

int
rig_op(struct rig *r, struct backend *b, enum backend_op op, unsigned flags,
       uint64_t off, uint64_t len, void *buf)
{
	struct rig_io io = {
		.io = {.op = op,
		       .flags = flags,
		       .off = off,
		       .len = len,
		       .buf = buf},
	};

	rig_start(b, &io);
	rig_kick(r, b);
	while (!io.n_done)
		rig_wait(r);
	ck_assert_uint_eq(io.n_done, 1);
	return io.err;
}

const char *
rig_file(const char *dir, const char *name, uint64_t size)
{
	static char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	close(fd);
	return path;
}

int
rig_open_file(struct rig *r, const char *path, bool read_only, bool buffered,
	      struct backend **ret)
{
	struct backend_open_params p = {
		.exec = r->exec,
		.io = r->io,
		.log = &r->log,
		.path = path,
		.fd = -1,
		.cancel_fd = -1,
		.read_only = read_only,
		.buffered = buffered,
	};

	return backend_file.open(&p, ret);
}

void *
rig_buf(size_t len)
{
	void *buf = aligned_alloc(4096, (len + 4095) & ~(size_t)4095);

	ck_assert_ptr_nonnull(buf);
	return buf;
}

bool
is_zero(const void *buf, size_t len)
{
	const char *p = buf;

	return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

int
rig_main(const char *name, void (*add_tests)(TCase *tc))
{
	Suite *suite = suite_create(name);
	TCase *tc = tcase_create(name);
	SRunner *runner;
	int failed;

	add_tests(tc);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
