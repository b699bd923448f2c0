/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "tests/unit/backend/rig.h"

struct test_job {
	struct gw_job job;
	pthread_barrier_t *barrier;
	pthread_t worker;
	pthread_t ran_on;
	atomic_uint *clock;
	unsigned order;
	unsigned n_done;
	int sigterm_blocked;
};

static void
test_work(struct gw_job *job)
{
	struct test_job *t = container_of(job, struct test_job, job);
	sigset_t set;

	t->ran_on = pthread_self();
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	t->sigterm_blocked = sigismember(&set, SIGTERM);
	if (t->barrier)
		pthread_barrier_wait(t->barrier);
	if (t->clock)
		t->order = atomic_fetch_add(t->clock, 1);
}

static void
test_done(struct gw_job *job)
{
	struct test_job *t = container_of(job, struct test_job, job);

	ck_assert(pthread_equal(t->worker, pthread_self()));
	t->n_done++;
}

static void
job_init(struct test_job *t)
{
	*t = (struct test_job){.job = {.work = test_work, .done = test_done},
			       .worker = pthread_self()};
}

static void
wait_for(struct gw_pool_exec *e, int n)
{
	while (n > 0) {
		struct pollfd p = {.fd = gw_pool_exec_fd(e), .events = POLLIN};

		ck_assert_int_eq(poll(&p, 1, 30000), 1);
		n -= gw_pool_exec_reap(e);
	}
	ck_assert_int_eq(n, 0);
}

START_TEST(runs_each_job_once_on_another_thread)
{
	enum {
		N = 1000
	};
	static struct test_job jobs[N];
	struct gw_pool *pool;
	struct gw_pool_exec *e;

	ck_assert_int_eq(gw_pool_new(3, &pool), 0);
	ck_assert_int_eq(gw_pool_exec_new(pool, &e), 0);
	for (int i = 0; i < N; i++) {
		job_init(&jobs[i]);
		gw_pool_exec_base(e)->run(gw_pool_exec_base(e), &jobs[i].job);
		ck_assert_uint_eq(jobs[i].n_done, 0);
	}
	wait_for(e, N);
	for (int i = 0; i < N; i++) {
		ck_assert_uint_eq(jobs[i].n_done, 1);
		ck_assert(!pthread_equal(jobs[i].ran_on, pthread_self()));
		ck_assert_int_eq(jobs[i].sigterm_blocked, 1);
	}
	ck_assert_int_eq(gw_pool_exec_reap(e), 0);
	gw_pool_exec_free(e);
	gw_pool_free(pool);
}
END_TEST

/* Four jobs that wait for each other end only if four threads run them. */
START_TEST(starts_threads_up_to_the_maximum)
{
	struct test_job jobs[4];
	pthread_barrier_t barrier;
	struct gw_pool *pool;
	struct gw_pool_exec *e;

	pthread_barrier_init(&barrier, NULL, 4);
	ck_assert_int_eq(gw_pool_new(4, &pool), 0);
	ck_assert_int_eq(gw_pool_exec_new(pool, &e), 0);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 4; i++) {
			job_init(&jobs[i]);
			jobs[i].barrier = &barrier;
			gw_pool_exec_base(e)->run(gw_pool_exec_base(e),
						  &jobs[i].job);
		}
		wait_for(e, 4);
	}
	gw_pool_exec_free(e);
	gw_pool_free(pool);
	pthread_barrier_destroy(&barrier);
}
END_TEST

START_TEST(one_thread_keeps_the_order)
{
	enum {
		N = 50
	};
	struct test_job jobs[N];
	atomic_uint order = 0;
	struct gw_pool *pool;
	struct gw_pool_exec *e;

	ck_assert_int_eq(gw_pool_new(1, &pool), 0);
	ck_assert_int_eq(gw_pool_exec_new(pool, &e), 0);
	for (int i = 0; i < N; i++) {
		job_init(&jobs[i]);
		jobs[i].clock = &order;
		gw_pool_exec_base(e)->run(gw_pool_exec_base(e), &jobs[i].job);
	}
	wait_for(e, N);
	for (unsigned i = 0; i < N; i++)
		ck_assert_uint_eq(jobs[i].order, i);
	gw_pool_exec_free(e);
	gw_pool_free(pool);
}
END_TEST

/* Behind the first job, ten of one worker and one of another: it is second. */
START_TEST(executors_take_turns)
{
	struct test_job first, many[10], other;
	pthread_barrier_t barrier;
	atomic_uint order = 0;
	struct gw_pool *pool;
	struct gw_pool_exec *a, *b;

	pthread_barrier_init(&barrier, NULL, 2);
	ck_assert_int_eq(gw_pool_new(1, &pool), 0);
	ck_assert_int_eq(gw_pool_exec_new(pool, &a), 0);
	ck_assert_int_eq(gw_pool_exec_new(pool, &b), 0);
	job_init(&first);
	first.barrier = &barrier;
	gw_pool_exec_base(a)->run(gw_pool_exec_base(a), &first.job);
	for (int i = 0; i < 10; i++) {
		job_init(&many[i]);
		many[i].clock = &order;
		gw_pool_exec_base(a)->run(gw_pool_exec_base(a), &many[i].job);
	}
	job_init(&other);
	other.clock = &order;
	gw_pool_exec_base(b)->run(gw_pool_exec_base(b), &other.job);
	pthread_barrier_wait(&barrier);
	wait_for(a, 11);
	wait_for(b, 1);
	ck_assert_uint_le(other.order, 1);
	gw_pool_exec_free(a);
	gw_pool_exec_free(b);
	gw_pool_free(pool);
	pthread_barrier_destroy(&barrier);
}
END_TEST

START_TEST(no_threads_is_refused_and_null_is_freed)
{
	struct gw_pool *pool;

	ck_assert_int_eq(gw_pool_new(0, &pool), -EINVAL);
	gw_pool_free(NULL);
	gw_pool_exec_free(NULL);
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, runs_each_job_once_on_another_thread);
	tcase_add_test(tc, starts_threads_up_to_the_maximum);
	tcase_add_test(tc, one_thread_keeps_the_order);
	tcase_add_test(tc, executors_take_turns);
	tcase_add_test(tc, no_threads_is_refused_and_null_is_freed);
}

int
main(void)
{
	return rig_main("backend/pool", add_tests);
}
