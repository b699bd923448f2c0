/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "nbdkit-plugin/progress.h"
#include "nbdkit-plugin/wait.h"
#include "tests/unit/plugin/fake-clt.h"

static struct rnbd_wait *s;
static struct rnbd_clt_dev *dev;
static struct progress *helper;
static char text[RNBD_WAIT_TEXT_MAX];

static void
start(const struct rnbd_wait_params *p)
{
	fake_reset();
	ck_assert_int_eq(rnbd_wait_new(p, &s), 0);
}

static void
start_open(void)
{
	start(&(struct rnbd_wait_params){0});
	ck_assert_int_eq(rnbd_wait_open(s, "d", RNBD_ACCESS_RW, text, &dev), 0);
}

static void
end(void)
{
	progress_stop(helper);
	helper = NULL;
	rnbd_wait_free(s, 1000);
	ck_assert_int_eq(atomic_load(&fake.overlaps), 0);
	ck_assert_int_eq(atomic_load(&fake.created), atomic_load(&fake.freed));
}

static int
io(uint64_t n)
{
	uint64_t buf[64] = {0};
	int err = rnbd_wait_io(s, dev, RNBD_CLT_READ, 0, buf, sizeof(buf), n);

	if (!err)
		ck_assert_uint_eq(buf[0], n);
	return err;
}

/* Ends the test by time-out if it never becomes true; no other thread is told
 * to hurry by it. */
#define await(cond)                                                            \
	while (!(cond))                                                        \
	nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL)

struct job {
	pthread_t thread;
	unsigned first, count;
	int err;
	bool reopen;
};

static void *
job_main(void *arg)
{
	struct job *j = arg;

	for (unsigned i = 0; i < j->count && !j->err; i++) {
		struct rnbd_clt_dev *own;
		char why[RNBD_WAIT_TEXT_MAX];

		if (!j->reopen) {
			j->err = io(j->first + i);
			continue;
		}
		j->err = rnbd_wait_open(s, "d", RNBD_ACCESS_RO, why, &own);
		if (!j->err)
			rnbd_wait_close(s, own);
	}
	return NULL;
}

static void
jobs_start(struct job *jobs, unsigned n, unsigned count)
{
	for (unsigned i = 0; i < n; i++) {
		jobs[i].first = (i + 1) * 1000000;
		jobs[i].count = count;
		ck_assert_int_eq(pthread_create(&jobs[i].thread, NULL, job_main,
						&jobs[i]),
				 0);
	}
}

static void
jobs_join(struct job *jobs, unsigned n, int err)
{
	for (unsigned i = 0; i < n; i++) {
		pthread_join(jobs[i].thread, NULL);
		ck_assert_int_eq(jobs[i].err, err);
	}
}

START_TEST(lone_request__no_other_thread)
{
	struct rnbd_wait_stats st;

	start_open();
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_int_eq(io(i), 0);
	rnbd_wait_stats(s, &st);
	ck_assert_uint_eq(st.ops, 1001);
	ck_assert_uint_eq(st.driven, 1001);
	ck_assert_uint_eq(st.wakes, 0);
	ck_assert_uint_eq(st.handovers, 0);
	ck_assert_uint_eq(st.combined, 0);
	rnbd_wait_close(s, dev);
	end();
}
END_TEST

START_TEST(lone_request__helper_sleeps)
{
	struct rnbd_wait_stats st;
	uint64_t turns;

	start_open();
	ck_assert_int_eq(progress_start(s, &helper), 0);
	ck_assert_int_eq(io(1), 0);
	rnbd_wait_stats(s, &st);
	turns = st.helper;
	for (unsigned i = 0; i < 2000; i++)
		ck_assert_int_eq(io(i), 0);
	rnbd_wait_stats(s, &st);
	/*
	 * It takes over when it has been quiet, not after each: a loaded
	 * machine may stop this thread for that long a few times.
	 */
	ck_assert_uint_le(st.helper, turns + 20);
	ck_assert_uint_le(st.wakes, 20);
	end();
}
END_TEST

START_TEST(busy_poll__quick_answers_need_no_sleep)
{
	struct rnbd_wait_stats st;

	start(&(struct rnbd_wait_params){.busy_poll_us = 1000000});
	ck_assert_int_eq(rnbd_wait_open(s, "d", RNBD_ACCESS_RW, text, &dev), 0);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_int_eq(io(i), 0);
	rnbd_wait_stats(s, &st);
	ck_assert_uint_eq(st.driven, 1001);
	ck_assert_uint_eq(st.wakes, 0);
	/* But for a second in which this machine does something else. */
	ck_assert_uint_le(st.sleeps, 100);
	ck_assert_uint_ge(st.polls_paid, 900);
	end();
}
END_TEST

START_TEST(busy_poll__ends_where_no_answer_comes)
{
	struct rnbd_wait_stats st;
	struct job jobs[2] = {0};

	start(&(struct rnbd_wait_params){.busy_poll_us = 100});
	ck_assert_int_eq(rnbd_wait_open(s, "d", RNBD_ACCESS_RW, text, &dev), 0);
	atomic_store(&fake.mode, FAKE_SILENT);
	jobs_start(jobs, 1, 1);
	do
		rnbd_wait_stats(s, &st);
	while (!st.sleeps);
	ck_assert_uint_le(st.polls_missed, 2);
	atomic_store(&fake.mode, FAKE_LOCAL);
	jobs_start(jobs + 1, 1, 1);
	jobs_join(jobs, 2, 0);
	end();
}
END_TEST

static const struct {
	unsigned threads, count;
	enum fake_mode mode;
	unsigned busy_poll_us;
	bool helper;
} loads[] = {
	{2, 3000, FAKE_ANSWER, 0, false},  {16, 500, FAKE_ANSWER, 0, true},
	{16, 500, FAKE_SHUFFLE, 0, false}, {64, 100, FAKE_SHUFFLE, 0, true},
	{16, 500, FAKE_LOCAL, 0, false},   {64, 100, FAKE_LOCAL, 0, true},
	{300, 20, FAKE_SHUFFLE, 0, true},  {8, 200, FAKE_SHUFFLE, 20, true},
};

START_TEST(load__each_is_answered_once)
{
	struct rnbd_wait_stats st;
	struct job jobs[300] = {0};
	unsigned n = loads[_i].threads;

	start(&(struct rnbd_wait_params){.busy_poll_us =
						 loads[_i].busy_poll_us});
	ck_assert_int_eq(rnbd_wait_open(s, "d", RNBD_ACCESS_RW, text, &dev), 0);
	if (loads[_i].helper)
		ck_assert_int_eq(progress_start(s, &helper), 0);
	atomic_store(&fake.mode, loads[_i].mode);
	jobs_start(jobs, n, loads[_i].count);
	jobs_join(jobs, n, 0);
	rnbd_wait_stats(s, &st);
	ck_assert_uint_eq(st.ops, 1 + n * loads[_i].count);
	ck_assert_int_eq(atomic_load(&fake.submitted),
			 (int)(n * loads[_i].count));
	end();
}
END_TEST

START_TEST(load__opens_and_closes_between)
{
	struct job jobs[24] = {0};

	start_open();
	ck_assert_int_eq(progress_start(s, &helper), 0);
	atomic_store(&fake.mode, FAKE_SHUFFLE);
	for (unsigned i = 0; i < ARRAY_SIZE(jobs); i++)
		jobs[i].reopen = i % 3 == 0;
	jobs_start(jobs, ARRAY_SIZE(jobs), 200);
	jobs_join(jobs, ARRAY_SIZE(jobs), 0);
	rnbd_wait_close(s, dev);
	end();
}
END_TEST

START_TEST(idle__helper_serves_events)
{
	start_open();
	ck_assert_int_eq(progress_start(s, &helper), 0);
	for (int i = 1; i <= 3; i++) {
		fake_send_event();
		await(atomic_load(&fake.events) == i);
		ck_assert_int_eq(io(5), 0);
	}
	end();
}
END_TEST

START_TEST(idle__helper_keeps_deadlines)
{
	start_open();
	/* Due at once; progress() sets it to never. */
	atomic_store(&fake.deadline, 1);
	ck_assert_int_eq(progress_start(s, &helper), 0);
	await(atomic_load(&fake.deadline) == TIME_NEVER);
	end();
}
END_TEST

START_TEST(idle__no_wakeups)
{
	int progressed;

	start_open();
	ck_assert_int_eq(progress_start(s, &helper), 0);
	fake_send_event();
	await(atomic_load(&fake.events) == 1);
	/* It drives; nothing but an event wakes it from here. */
	progressed = atomic_load(&fake.progressed);
	fake_send_event();
	await(atomic_load(&fake.events) == 2);
	ck_assert_int_le(atomic_load(&fake.progressed), progressed + 2);
	end();
}
END_TEST

START_TEST(driver__keeps_deadlines)
{
	struct job jobs[4] = {0};

	start_open();
	atomic_store(&fake.mode, FAKE_SILENT);
	jobs_start(jobs, 1, 1);
	await(atomic_load(&fake.submitted) == 1);
	/* The driver sleeps without one; the next submission brings one. */
	atomic_store(&fake.deadline, 1);
	jobs_start(jobs + 1, 3, 1);
	await(atomic_load(&fake.deadline) == TIME_NEVER);
	/* Answers to all that was asked: events first, then the end. */
	await(atomic_load(&fake.submitted) == 4);
	atomic_store(&fake.mode, FAKE_LOCAL);
	fake_send_event();
	jobs_join(jobs, 4, 0);
	end();
}
END_TEST

START_TEST(driver__finished_by_another_is_roused)
{
	struct job jobs[2] = {0};

	for (int i = 0; i < 50; i++) {
		start_open();
		atomic_store(&fake.mode, FAKE_SILENT);
		jobs_start(jobs, 1, 1);
		await(atomic_load(&fake.submitted) == 1);
		/* All is finished from within the call of the second. */
		atomic_store(&fake.mode, FAKE_LOCAL);
		jobs_start(jobs + 1, 1, 1);
		jobs_join(jobs, 2, 0);
		end();
	}
}
END_TEST

static bool
add_fd(struct rnbd_clt *clt, void *arg)
{
	ck_assert_ptr_nonnull(clt);
	fake_add_fd();
	return true;
}

START_TEST(with__helper_asks_for_descriptors_again)
{
	start_open();
	ck_assert_int_eq(progress_start(s, &helper), 0);
	/* It drives, and sleeps for ever. */
	fake_send_event();
	await(atomic_load(&fake.events) == 1);
	rnbd_wait_with(s, add_fd, NULL);
	for (int i = 1; i <= 3; i++) {
		fake_send_extra();
		await(atomic_load(&fake.extra) == i);
	}
	end();
}
END_TEST

START_TEST(with__driver_asks_for_descriptors_again)
{
	struct job jobs[1] = {0};

	start_open();
	atomic_store(&fake.mode, FAKE_SILENT);
	jobs_start(jobs, 1, 1);
	await(atomic_load(&fake.submitted) == 1);
	rnbd_wait_with(s, add_fd, NULL);
	for (int i = 1; i <= 3; i++) {
		fake_send_extra();
		await(atomic_load(&fake.extra) == i);
	}
	atomic_store(&fake.mode, FAKE_LOCAL);
	fake_send_extra();
	jobs_join(jobs, 1, 0);
	end();
}
END_TEST

static bool
has_none(struct rnbd_clt *clt, void *arg)
{
	ck_assert_ptr_null(clt);
	++*(int *)arg;
	return true;
}

START_TEST(with__there_may_be_no_client)
{
	int called = 0;

	start(&(struct rnbd_wait_params){0});
	rnbd_wait_with(s, has_none, &called);
	ck_assert_int_eq(called, 1);
	end();
}
END_TEST

static atomic_bool quitting;

static bool
quit(void *user)
{
	return atomic_load(&quitting);
}

START_TEST(quit__ends_what_waits)
{
	struct rnbd_clt_geometry geo;
	struct job jobs[8] = {0};

	atomic_store(&quitting, false);
	start(&(struct rnbd_wait_params){.quit = quit});
	ck_assert_int_eq(rnbd_wait_open(s, "d", RNBD_ACCESS_RW, text, &dev), 0);
	ck_assert_int_eq(progress_start(s, &helper), 0);
	atomic_store(&fake.mode, FAKE_SILENT);
	jobs_start(jobs, 8, 10);
	await(atomic_load(&fake.submitted) == 8);
	atomic_store(&quitting, true);
	jobs_join(jobs, 8, -ESHUTDOWN);
	ck_assert_int_eq(io(1), -ESHUTDOWN);
	ck_assert_int_eq(rnbd_wait_geometry(s, dev, &geo), -ESHUTDOWN);
	rnbd_wait_close(s, dev);
	ck_assert_int_eq(rnbd_wait_open(s, "d", RNBD_ACCESS_RW, text, &dev),
			 -ESHUTDOWN);
	ck_assert_str_ne(text, "");
	end();
}
END_TEST

START_TEST(quit__not_asked_while_answers_come)
{
	start(&(struct rnbd_wait_params){.quit = quit});
	atomic_store(&quitting, true);
	ck_assert_int_eq(progress_start(s, &helper), 0);
	ck_assert_int_eq(rnbd_wait_open(s, "d", RNBD_ACCESS_RW, text, &dev), 0);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_int_eq(io(i), 0);
	rnbd_wait_close(s, dev);
	end();
}
END_TEST

START_TEST(open__failure_has_words_and_a_second_chance)
{
	struct rnbd_clt_dev *none = NULL;

	start(&(struct rnbd_wait_params){0});
	atomic_store(&fake.open_err, -ENOENT);
	atomic_store(&fake.up, false);
	ck_assert_int_eq(rnbd_wait_open(s, "d", RNBD_ACCESS_RW, text, &none),
			 -ENOENT);
	ck_assert_str_eq(text, "no such export");
	ck_assert_ptr_null(none);
	ck_assert_int_eq(atomic_load(&fake.freed), 1);
	atomic_store(&fake.open_err, 0);
	atomic_store(&fake.up, true);
	ck_assert_int_eq(rnbd_wait_open(s, "d", RNBD_ACCESS_RW, text, &dev), 0);
	ck_assert_int_eq(atomic_load(&fake.created), 2);
	ck_assert_int_eq(io(3), 0);
	end();
}
END_TEST

START_TEST(open__failure_keeps_a_session_that_is_up)
{
	struct rnbd_clt_dev *none = NULL;

	start(&(struct rnbd_wait_params){0});
	atomic_store(&fake.open_err, -ENOENT);
	ck_assert_int_eq(rnbd_wait_open(s, "d", RNBD_ACCESS_RW, text, &none),
			 -ENOENT);
	ck_assert_int_eq(atomic_load(&fake.freed), 0);
	end();
}
END_TEST

START_TEST(open__after_failure_with_helper)
{
	struct rnbd_clt_dev *none;

	start(&(struct rnbd_wait_params){0});
	ck_assert_int_eq(progress_start(s, &helper), 0);
	rnbd_wait_connect(s);
	atomic_store(&fake.up, false);
	atomic_store(&fake.open_err, -ECONNREFUSED);
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(
			rnbd_wait_open(s, "d", RNBD_ACCESS_RW, text, &none),
			-ECONNREFUSED);
	atomic_store(&fake.open_err, 0);
	ck_assert_int_eq(rnbd_wait_open(s, "d", RNBD_ACCESS_RW, text, &dev), 0);
	fake_send_event();
	await(atomic_load(&fake.events) == 1);
	end();
}
END_TEST

/* It failed while nobody looked, and the server has come since. */
START_TEST(open__after_a_failure_that_nobody_saw)
{
	start(&(struct rnbd_wait_params){0});
	rnbd_wait_connect(s);
	ck_assert_int_eq(atomic_load(&fake.created), 1);
	atomic_store(&fake.failed, true);
	ck_assert_int_eq(rnbd_wait_open(s, "d", RNBD_ACCESS_RW, text, &dev), 0);
	ck_assert_int_eq(atomic_load(&fake.created), 2);
	ck_assert_int_eq(atomic_load(&fake.freed), 1);
	ck_assert_int_eq(io(3), 0);
	end();
}
END_TEST

/* Its devices are somebody's. */
START_TEST(open__keeps_a_failed_session_in_use)
{
	struct rnbd_clt_dev *other;

	start_open();
	atomic_store(&fake.failed, true);
	ck_assert_int_eq(rnbd_wait_open(s, "d", RNBD_ACCESS_RW, text, &other),
			 0);
	ck_assert_int_eq(atomic_load(&fake.created), 1);
	ck_assert_int_eq(io(3), 0);
	end();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("wait");
	TCase *tc = tcase_create("wait");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_test(tc, lone_request__no_other_thread);
	tcase_add_test(tc, lone_request__helper_sleeps);
	tcase_add_test(tc, busy_poll__quick_answers_need_no_sleep);
	tcase_add_test(tc, busy_poll__ends_where_no_answer_comes);
	tcase_add_loop_test(tc, load__each_is_answered_once, 0,
			    ARRAY_SIZE(loads));
	tcase_add_test(tc, load__opens_and_closes_between);
	tcase_add_test(tc, idle__helper_serves_events);
	tcase_add_test(tc, idle__helper_keeps_deadlines);
	tcase_add_test(tc, idle__no_wakeups);
	tcase_add_test(tc, driver__keeps_deadlines);
	tcase_add_test(tc, driver__finished_by_another_is_roused);
	tcase_add_test(tc, with__helper_asks_for_descriptors_again);
	tcase_add_test(tc, with__driver_asks_for_descriptors_again);
	tcase_add_test(tc, with__there_may_be_no_client);
	tcase_add_test(tc, quit__ends_what_waits);
	tcase_add_test(tc, quit__not_asked_while_answers_come);
	tcase_add_test(tc, open__failure_has_words_and_a_second_chance);
	tcase_add_test(tc, open__failure_keeps_a_session_that_is_up);
	tcase_add_test(tc, open__after_failure_with_helper);
	tcase_add_test(tc, open__after_a_failure_that_nobody_saw);
	tcase_add_test(tc, open__keeps_a_failed_session_in_use);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
