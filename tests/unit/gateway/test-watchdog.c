/* SPDX-License-Identifier: BSD-3-Clause */
/* Alive is who answers: all of them, each time. */
#include <check.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/watchdog.h"
#include "rtrs/base/util.h"

#define N        3
#define INTERVAL 100

static struct loop *owner;
static struct watchdog *w;
static struct loop_call *held[N]; /* posted to a thread, and not run yet */
static unsigned n_alive, n_late, late_mask;
static uint64_t late_since;

static void
post(void *user, unsigned i, struct loop_call *call)
{
	ck_assert_ptr_null(held[i]);
	held[i] = call;
}

static void
alive(void *user)
{
	n_alive++;
}

static void
late(void *user, unsigned i, uint64_t since)
{
	n_late++;
	late_mask |= BIT(i);
	late_since = since;
}

static void
setup(void)
{
	struct watchdog_params p = {
		.n = N,
		.interval = INTERVAL,
		.post = post,
		.alive = alive,
		.late = late,
	};

	n_alive = n_late = late_mask = 0;
	memset(held, 0, sizeof(held));
	ck_assert_int_eq(loop_new(&owner), 0);
	p.loop = owner;
	ck_assert_int_eq(watchdog_new(&p, &w), 0);
}

static void
teardown(void)
{
	watchdog_free(w);
	loop_free(owner);
}

/* The thread runs what was posted to it, and the owner hears of it. */
static void
answer(unsigned i)
{
	struct loop_call *call = held[i];

	ck_assert_ptr_nonnull(call);
	held[i] = NULL;
	call->fn(call);
	ck_assert_int_ge(event_base_loop(loop_base(owner), EVLOOP_NONBLOCK), 0);
}

START_TEST(alive_when_all_have_answered)
{
	ck_assert_uint_eq(watchdog_run(w, 1000), 1000 + INTERVAL);
	answer(2);
	answer(0);
	ck_assert_uint_eq(n_alive, 0);
	answer(1);
	ck_assert_uint_eq(n_alive, 1);
	/* Not before it is time. */
	ck_assert_uint_eq(watchdog_run(w, 1000 + INTERVAL - 1),
			  1000 + INTERVAL);
	ck_assert_ptr_null(held[0]);
	ck_assert_uint_eq(watchdog_run(w, 1000 + INTERVAL),
			  1000 + 2 * INTERVAL);
	for (unsigned i = 0; i < N; i++)
		answer(i);
	ck_assert_uint_eq(n_alive, 2);
	ck_assert_uint_eq(n_late, 0);
}
END_TEST

START_TEST(one_that_hangs_is_named_and_holds_all)
{
	watchdog_run(w, 1000);
	answer(0);
	answer(2);
	for (unsigned k = 1; k <= 5; k++) {
		watchdog_run(w, 1000 + k * INTERVAL);
		ck_assert_uint_eq(n_late, k);
	}
	ck_assert_uint_eq(late_mask, BIT(1));
	ck_assert_uint_eq(late_since, 1000);
	ck_assert_uint_eq(n_alive, 0);
	/* The others are not asked meanwhile. */
	ck_assert_ptr_null(held[0]);
	answer(1);
	ck_assert_uint_eq(n_alive, 1);
	watchdog_run(w, 1000 + 6 * INTERVAL);
	for (unsigned i = 0; i < N; i++)
		answer(i);
	ck_assert_uint_eq(n_alive, 2);
}
END_TEST

START_TEST(one_that_has_ended_is_not_waited_for)
{
	watchdog_run(w, 1000);
	answer(0);
	answer(1);
	watchdog_gone(w, 2); /* with the question unanswered */
	ck_assert_uint_eq(n_alive, 1);
	held[2] = NULL;
	watchdog_run(w, 1000 + INTERVAL);
	ck_assert_ptr_null(held[2]);
	answer(0);
	watchdog_gone(w, 0);
	answer(1);
	ck_assert_uint_eq(n_alive, 2);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/watchdog");
	TCase *tc = tcase_create("watchdog");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, alive_when_all_have_answered);
	tcase_add_test(tc, one_that_hangs_is_named_and_holds_all);
	tcase_add_test(tc, one_that_has_ended_is_not_waited_for);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
