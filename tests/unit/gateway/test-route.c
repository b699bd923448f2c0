/* SPDX-License-Identifier: BSD-3-Clause */
/* Which worker owns a session, and for how long. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "gateway/route.h"
#include "rtrs/base/util.h"

static struct route *r;

static void
setup(void)
{
	ck_assert_int_eq(route_new(3, &r), 0);
}

static void
teardown(void)
{
	route_free(r);
}

static const struct rtrs_uuid *
uuid(unsigned i)
{
	static _Thread_local struct rtrs_uuid u;

	u = (struct rtrs_uuid){.b = {(uint8_t)i, (uint8_t)(i >> 8)}};
	return &u;
}

START_TEST(new_sessions_go_to_the_least_loaded)
{
	ck_assert_int_eq(route_get(r, uuid(1)), 0);
	ck_assert_int_eq(route_get(r, uuid(2)), 1);
	ck_assert_int_eq(route_get(r, uuid(3)), 2);
	ck_assert_int_eq(route_get(r, uuid(4)), 0);
	route_cancel(r, uuid(2));
	ck_assert_uint_eq(route_load(r, 1), 0);
	ck_assert_int_eq(route_get(r, uuid(5)), 1);
}
END_TEST

START_TEST(all_connections_go_to_the_owner)
{
	ck_assert_int_eq(route_get(r, uuid(1)), 0);
	ck_assert_int_eq(route_get(r, uuid(2)), 1);
	ck_assert_int_eq(route_get(r, uuid(2)), 1);
	route_settled(r, uuid(2), true);
	route_settled(r, uuid(2), true);
	ck_assert_int_eq(route_get(r, uuid(2)), 1);
	ck_assert_uint_eq(route_load(r, 1), 1);
}
END_TEST

START_TEST(rejected_request_leaves_nothing)
{
	route_get(r, uuid(1));
	route_settled(r, uuid(1), false);
	ck_assert_uint_eq(route_load(r, 0), 0);
}
END_TEST

START_TEST(session_holds_the_entry_until_it_is_gone)
{
	route_get(r, uuid(1));
	route_settled(r, uuid(1), true);
	ck_assert_uint_eq(route_load(r, 0), 1);
	route_session_gone(r, uuid(1));
	ck_assert_uint_eq(route_load(r, 0), 0);
	/* Unknown ones are nobody's business. */
	route_session_gone(r, uuid(1));
}
END_TEST

START_TEST(request_on_its_way_holds_the_entry)
{
	/* A parked request outlives the session that it waits for. */
	route_get(r, uuid(1));
	route_settled(r, uuid(1), true);
	route_get(r, uuid(2));
	route_get(r, uuid(1));
	route_session_gone(r, uuid(1));
	ck_assert_int_eq(route_get(r, uuid(1)), 0);
	route_settled(r, uuid(1), true);
	route_settled(r, uuid(1), true);
	ck_assert_uint_eq(route_load(r, 0), 1);
	route_session_gone(r, uuid(1));
	ck_assert_uint_eq(route_load(r, 0), 0);
}
END_TEST

#define N_THREADS 4
#define N_ROUNDS  2000

static void *
hammer(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < N_ROUNDS; i++) {
		/* Some uuids are shared by the threads, some are not. */
		unsigned u = i % 2 ? i % 7 : 100 + me;
		int w = route_get(r, uuid(u));

		ck_assert_int_ge(w, 0);
		if (i % 3)
			route_settled(r, uuid(u), false);
		else
			route_cancel(r, uuid(u));
	}
	return NULL;
}

START_TEST(threads_leave_it_empty)
{
	pthread_t t[N_THREADS];

	for (uintptr_t i = 0; i < N_THREADS; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, hammer, (void *)i),
				 0);
	for (unsigned i = 0; i < N_THREADS; i++)
		pthread_join(t[i], NULL);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(route_load(r, i), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/route");
	TCase *tc = tcase_create("route");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, new_sessions_go_to_the_least_loaded);
	tcase_add_test(tc, all_connections_go_to_the_owner);
	tcase_add_test(tc, rejected_request_leaves_nothing);
	tcase_add_test(tc, session_holds_the_entry_until_it_is_gone);
	tcase_add_test(tc, request_on_its_way_holds_the_entry);
	tcase_add_test(tc, threads_leave_it_empty);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
