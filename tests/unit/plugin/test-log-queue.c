/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nbdkit-plugin/log-queue.h"
#include "rtrs/base/util.h"

#define N_THREADS 4
#define N_EACH    50

static struct log_queue *q;
static sem_t held, go; /* a sink that stands still */
static bool stand_still;
static unsigned n_lines, next_of[N_THREADS];
static char last[128];
static enum log_level last_level;
static pthread_t writer;

static void
sink(void *user, enum log_level level, const char *line)
{
	unsigned thread, number;

	ck_assert_ptr_eq(user, &n_lines);
	writer = pthread_self();
	if (stand_still) {
		sem_post(&held);
		while (sem_wait(&go))
			;
	}
	n_lines++;
	last_level = level;
	snprintf(last, sizeof(last), "%s", line);
	if (sscanf(line, "thread %u: %u", &thread, &number) == 2) {
		ck_assert_uint_lt(thread, N_THREADS);
		ck_assert_uint_eq(number, next_of[thread]++);
	}
}

static const struct log out = {
	.sink = sink,
	.user = &n_lines,
	.threshold = LOG_LVL_INFO,
};

static void
setup(void)
{
	n_lines = 0;
	memset(next_of, 0, sizeof(next_of));
	stand_still = false;
	sem_init(&held, 0, 0);
	sem_init(&go, 0, 0);
	ck_assert_int_eq(log_queue_new(&out, &q), 0);
}

static void
teardown(void)
{
	log_queue_free(q);
	q = NULL;
}

START_TEST(line__comes_out_on_another_thread)
{
	log_err(log_queue_log(q), "path %d", 7);
	log_queue_wait(q);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_str_eq(last, "path 7");
	ck_assert_int_eq(last_level, LOG_LVL_ERROR);
	ck_assert(!pthread_equal(writer, pthread_self()));
	log_dbg(log_queue_log(q), "below the threshold");
	log_queue_wait(q);
	ck_assert_uint_eq(n_lines, 1);
}
END_TEST

static void *
say(void *arg)
{
	unsigned self = *(unsigned *)arg;

	for (unsigned i = 0; i < N_EACH; i++)
		log_info(log_queue_log(q), "thread %u: %u", self, i);
	return NULL;
}

START_TEST(threads__each_in_order)
{
	unsigned number[N_THREADS];
	pthread_t t[N_THREADS];

	for (unsigned i = 0; i < N_THREADS; i++) {
		number[i] = i;
		ck_assert_int_eq(pthread_create(&t[i], NULL, say, &number[i]),
				 0);
	}
	for (unsigned i = 0; i < N_THREADS; i++)
		pthread_join(t[i], NULL);
	log_queue_wait(q);
	ck_assert_uint_eq(n_lines, N_THREADS * N_EACH);
}
END_TEST

/* The reader of the log does not read: nobody who logs waits for it. */
START_TEST(reader_stands_still__nobody_else_does)
{
	stand_still = true;
	log_info(log_queue_log(q), "the first");
	while (sem_wait(&held))
		;
	for (unsigned i = 0; i < LOG_QUEUE_MAX + 3; i++)
		log_info(log_queue_log(q), "one of many");
	stand_still = false;
	sem_post(&go);
	log_queue_wait(q);
	ck_assert_uint_eq(n_lines, 1 + LOG_QUEUE_MAX + 1);
	ck_assert_str_eq(last, "3 log lines were lost");
}
END_TEST

START_TEST(free__writes_what_is_left)
{
	for (unsigned i = 0; i < 20; i++)
		log_info(log_queue_log(q), "one of many");
	log_queue_free(q);
	q = NULL;
	ck_assert_uint_eq(n_lines, 20);
}
END_TEST

START_TEST(no_log__no_line)
{
	struct log_queue *none;

	ck_assert_int_eq(log_queue_new(NULL, &none), 0);
	log_err(log_queue_log(none), "for nobody");
	log_queue_wait(none);
	log_queue_free(none);
	log_queue_free(NULL);
	ck_assert_uint_eq(n_lines, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("log-queue");
	TCase *tc = tcase_create("log-queue");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, line__comes_out_on_another_thread);
	tcase_add_test(tc, threads__each_in_order);
	tcase_add_test(tc, reader_stands_still__nobody_else_does);
	tcase_add_test(tc, free__writes_what_is_left);
	tcase_add_test(tc, no_log__no_line);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
