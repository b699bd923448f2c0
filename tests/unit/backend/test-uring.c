/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/uio.h>

#include "tests/unit/backend/rig.h"

struct req {
	struct gw_uring_req req;
	int64_t res;
	unsigned n_done;
};

static void
req_done(struct gw_uring_req *ureq, int64_t res)
{
	struct req *req = container_of(ureq, struct req, req);

	req->res = res;
	req->n_done++;
}

static void
wait_req(struct rig *r, const struct req *req)
{
	gw_io_engine_submit(r->io);
	while (!req->n_done)
		rig_wait(r);
	ck_assert_uint_eq(req->n_done, 1);
}

static int
scratch(struct rig *r)
{
	int fd = open(rig_file(r->dir, "scratch", 0), O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

START_TEST(says_what_it_runs_on)
{
	struct rig r;

	rig_init(&r, _i);
	if (_i) {
		ck_assert(!gw_io_engine_is_uring(r.io));
		ck_assert_int_eq(gw_io_engine_fd(r.io), -1);
	} else {
		/* Whoever runs the tests without io_uring shall know. */
		ck_assert_msg(gw_io_engine_is_uring(r.io), "no io_uring: %s",
			      r.log_lines[0]);
		ck_assert_int_ge(gw_io_engine_fd(r.io), 0);
	}
	ck_assert_int_eq(gw_io_engine_reap(r.io), 0);
	rig_deinit(&r);
}
END_TEST

START_TEST(writes_syncs_and_reads)
{
	struct req w = {.req.done = req_done}, s = w, rd = w;
	char out[8192];
	struct rig r;
	int fd;

	rig_init(&r, _i);
	fd = scratch(&r);
	memset(out, 'x', sizeof(out));
	gw_io_write(r.io, &w.req, fd, out, sizeof(out), 4096, 0);
	ck_assert_uint_eq(w.n_done, 0);
	wait_req(&r, &w);
	ck_assert_int_eq(w.res, sizeof(out));
	gw_io_fdatasync(r.io, &s.req, fd);
	wait_req(&r, &s);
	ck_assert_int_eq(s.res, 0);
	memset(out, 0, sizeof(out));
	gw_io_read(r.io, &rd.req, fd, out, sizeof(out), 8192, 0);
	wait_req(&r, &rd);
	ck_assert_int_eq(rd.res, 4096);
	ck_assert_int_eq(out[4095], 'x');
	ck_assert_int_eq(out[4096], 0);
	close(fd);
	rig_deinit(&r);
}
END_TEST

START_TEST(passes_errors_on)
{
	struct req w = {.req.done = req_done};
	struct rig r;

	rig_init(&r, _i);
	gw_io_write(r.io, &w.req, -1, "x", 1, 0, 0);
	wait_req(&r, &w);
	ck_assert_int_eq(w.res, -EBADF);
	rig_deinit(&r);
}
END_TEST

/* Shown by what the system refuses: flags it does not know, a pipe to sync. */
START_TEST(flags_and_syncs_reach_the_system)
{
	struct req w = {.req.done = req_done}, rd = w, s = w, ok = w;
	const int unknown = 1 << 30;
	int fd, fds[2];
	char c = 'c';
	struct rig r;

	rig_init(&r, _i);
	fd = scratch(&r);
	ck_assert_int_eq(pipe(fds), 0);
	gw_io_write(r.io, &w.req, fd, &c, 1, 0, unknown);
	gw_io_read(r.io, &rd.req, fd, &c, 1, 0, unknown);
	gw_io_fdatasync(r.io, &s.req, fds[1]);
	gw_io_write(r.io, &ok.req, fd, &c, 1, 0, RWF_DSYNC);
	wait_req(&r, &w);
	wait_req(&r, &rd);
	wait_req(&r, &s);
	wait_req(&r, &ok);
	ck_assert_int_eq(w.res, -EOPNOTSUPP);
	ck_assert_int_eq(rd.res, -EOPNOTSUPP);
	ck_assert_int_eq(s.res, -EINVAL);
	ck_assert_int_eq(ok.res, 1);
	close(fd);
	close(fds[0]);
	close(fds[1]);
	rig_deinit(&r);
}
END_TEST

/* Many times the length of the submission queue, with one submit at the end. */
START_TEST(takes_more_than_the_queue_holds)
{
	enum {
		N = 20000
	};
	static struct req reqs[N];
	static uint32_t value[N], back[N];
	struct rig r;
	unsigned left;
	int fd;

	rig_init(&r, _i);
	fd = scratch(&r);
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < N; i++) {
			reqs[i] = (struct req){.req.done = req_done};
			value[i] = i ^ 0x5a5a5a5a;
			if (pass)
				gw_io_read(r.io, &reqs[i].req, fd, &back[i], 4,
					   i * UINT64_C(4), 0);
			else
				gw_io_write(r.io, &reqs[i].req, fd, &value[i],
					    4, i * UINT64_C(4), 0);
		}
		gw_io_engine_submit(r.io);
		do {
			rig_wait(&r);
			left = 0;
			for (int i = 0; i < N; i++)
				left += !reqs[i].n_done;
		} while (left);
		for (int i = 0; i < N; i++) {
			ck_assert_uint_eq(reqs[i].n_done, 1);
			ck_assert_int_eq(reqs[i].res, 4);
		}
	}
	ck_assert_mem_eq(value, back, sizeof(value));
	close(fd);
	rig_deinit(&r);
}
END_TEST

struct on_thread {
	struct rig r;
	struct req req;
	int fd;
};

static void *
use_engine(void *arg)
{
	struct on_thread *t = arg;

	gw_io_write(t->r.io, &t->req.req, t->fd, "hello", 5, 0, 0);
	wait_req(&t->r, &t->req);
	return NULL;
}

START_TEST(belongs_to_the_thread_that_uses_it_first)
{
	struct on_thread t = {.req.req.done = req_done};
	pthread_t thread;

	rig_init(&t.r, _i);
	t.fd = scratch(&t.r);
	ck_assert_int_eq(pthread_create(&thread, NULL, use_engine, &t), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(t.req.res, 5);
	close(t.fd);
	rig_deinit(&t.r);
}
END_TEST

static void
add_tests(TCase *tc)
{
	/* _i is force_pool. */
	tcase_add_loop_test(tc, says_what_it_runs_on, 0, 2);
	tcase_add_loop_test(tc, writes_syncs_and_reads, 0, 2);
	tcase_add_loop_test(tc, passes_errors_on, 0, 2);
	tcase_add_loop_test(tc, flags_and_syncs_reach_the_system, 0, 2);
	tcase_add_loop_test(tc, takes_more_than_the_queue_holds, 0, 2);
	tcase_add_loop_test(tc, belongs_to_the_thread_that_uses_it_first, 0, 2);
}

int
main(void)
{
	return rig_main("backend/uring", add_tests);
}
