/* SPDX-License-Identifier: BSD-3-Clause */
/* The loop: calls of other threads, descriptors, timers, prepare. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "config/control/loop.h"
#include "rtrs/base/util.h"

static struct loop *l;

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void
setup(void)
{
	ck_assert_int_eq(loop_new(&l), 0);
}

static void
teardown(void)
{
	loop_free(l);
}

#define N_CALLS 1000

struct numbered {
	struct loop_call call;
	unsigned thread, number;
};

static struct numbered calls[2][N_CALLS];
static unsigned next_number[2], n_ran;

static void
ran(struct loop_call *call)
{
	struct numbered *n = container_of(call, struct numbered, call);

	ck_assert_uint_eq(n->number, next_number[n->thread]);
	next_number[n->thread]++;
	if (++n_ran == 2 * N_CALLS)
		loop_stop(l);
}

static void *
poster(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < N_CALLS; i++) {
		struct numbered *n = &calls[me][i];

		*n = (struct numbered){
			.call.fn = ran,
			.thread = me,
			.number = i,
		};
		loop_post(l, &n->call);
	}
	return NULL;
}

START_TEST(calls_run_in_order_and_none_is_lost)
{
	pthread_t t[2];

	for (uintptr_t i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, poster, (void *)i),
				 0);
	ck_assert_int_eq(loop_run(l), 0);
	ck_assert_uint_eq(n_ran, 2 * N_CALLS);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
}
END_TEST

static int pipe_fds[2];

static void
on_readable(void *user)
{
	char c;

	ck_assert_int_eq(read(pipe_fds[0], &c, 1), 1);
	loop_stop(l);
}

START_TEST(descriptor_wakes_the_loop)
{
	struct loop_watch *w;

	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	ck_assert_int_eq(loop_watch_fd(l, pipe_fds[0], on_readable, l, &w), 0);
	ck_assert_int_eq(write(pipe_fds[1], "x", 1), 1);
	ck_assert_int_eq(loop_run(l), 0);
	loop_unwatch(w);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}
END_TEST

static struct loop_timer *timer;
static uint64_t due;

static bool
until_due(void *user)
{
	uint64_t t = now_ns();

	if (t >= due)
		loop_stop(l);
	else
		loop_timer_set(timer, t, due);
	return false;
}

START_TEST(timer_wakes_the_loop)
{
	ck_assert_int_eq(loop_timer_new(l, &timer), 0);
	due = now_ns() + 20 * NSEC_PER_MSEC;
	/* Far away first: an earlier deadline must replace it. */
	loop_timer_set(timer, now_ns(), due + 3600 * NSEC_PER_SEC);
	loop_set_prepare(l, until_due, l);
	ck_assert_int_eq(loop_run(l), 0);
	ck_assert_uint_ge(now_ns(), due);
	loop_timer_free(timer);
}
END_TEST

static struct loop_io *pair_io;
static int pair_fds[2];
static unsigned seen_ready[8], n_seen_ready;

/* Writable first, then, asked for nothing else, readable. */
static void
on_pair(void *user, unsigned what)
{
	seen_ready[n_seen_ready++] = what;
	if (what == LOOP_WRITE) {
		ck_assert_int_eq(write(pair_fds[1], "x", 1), 1);
		ck_assert_int_eq(loop_io_interest(pair_io, LOOP_READ), 0);
		return;
	}
	loop_io_free(pair_io); /* from within */
	loop_stop(l);
}

START_TEST(interest_in_a_descriptor_changes)
{
	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair_fds),
		0);
	/* Nothing yet: it would be writable all the time. */
	ck_assert_int_eq(loop_io_new(l, pair_fds[0], 0, on_pair, l, &pair_io),
			 0);
	ck_assert_int_eq(loop_io_interest(pair_io, LOOP_WRITE), 0);
	ck_assert_int_eq(loop_run(l), 0);
	ck_assert_uint_eq(n_seen_ready, 2);
	ck_assert_uint_eq(seen_ready[0], LOOP_WRITE);
	ck_assert_uint_eq(seen_ready[1], LOOP_READ);
	close(pair_fds[0]);
	close(pair_fds[1]);
}
END_TEST

static struct loop_alarm *first_alarm, *second_alarm;
static unsigned n_first;

static void
on_first(void *user)
{
	n_first++;
}

static void
on_second(void *user)
{
	loop_stop(l);
}

START_TEST(alarm_comes_once_and_can_be_taken_back)
{
	uint64_t t = now_ns();

	ck_assert_int_eq(loop_alarm_new(l, on_first, l, &first_alarm), 0);
	ck_assert_int_eq(loop_alarm_new(l, on_second, l, &second_alarm), 0);
	ck_assert_int_eq(loop_alarm_set(first_alarm, t, t), 0);
	/* Set again: the time before does not count. */
	ck_assert_int_eq(loop_alarm_set(second_alarm, t, t), 0);
	ck_assert_int_eq(
		loop_alarm_set(second_alarm, t, t + 30 * NSEC_PER_MSEC), 0);
	ck_assert_int_eq(loop_run(l), 0);
	ck_assert_uint_ge(now_ns(), t + 30 * NSEC_PER_MSEC);
	ck_assert_uint_eq(n_first, 1);
	t = now_ns();
	ck_assert_int_eq(loop_alarm_set(first_alarm, t, t), 0);
	ck_assert_int_eq(loop_alarm_set(first_alarm, t, TIME_NEVER), 0);
	loop_alarm_free(first_alarm);
	loop_alarm_free(second_alarm);
}
END_TEST

static unsigned n_prepared;

static bool
busy_ten_times(void *user)
{
	if (++n_prepared == 10)
		loop_stop(l);
	return true;
}

START_TEST(busy_loop_does_not_wait)
{
	loop_set_prepare(l, busy_ten_times, l);
	ck_assert_int_eq(loop_run(l), 0);
	ck_assert_uint_eq(n_prepared, 10);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("control/loop");
	TCase *tc = tcase_create("loop");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, calls_run_in_order_and_none_is_lost);
	tcase_add_test(tc, descriptor_wakes_the_loop);
	tcase_add_test(tc, timer_wakes_the_loop);
	tcase_add_test(tc, interest_in_a_descriptor_changes);
	tcase_add_test(tc, alarm_comes_once_and_can_be_taken_back);
	tcase_add_test(tc, busy_loop_does_not_wait);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
