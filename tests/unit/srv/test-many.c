/* SPDX-License-Identifier: BSD-3-Clause */
/* What many sessions that are idle cost the one that works: nothing. Counted,
 * not timed. */
#include "tests/unit/srv/fixture.h"

#include "rtrs/srv/srv-priv.h"

#define MAX 200

static const uint8_t usr[8] = "request";
static struct fx f;
static struct fx_path p[MAX];

static void
setup(void)
{
	const struct rtrs_srv_params sp = {.queue_depth = 2};

	fx_init(&f, 0, &sp);
}

static void
teardown(void)
{
	fx_fini(&f);
}

/* Their heartbeats fall due one after the other. */
static void
bring_up(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		fx_path_init(&f, &p[i], (uint8_t)(i + 1), (uint8_t)(i + 1), 1);
		fx_path_up(&p[i]);
		fx_until(&f, f.now + 10 * NSEC_PER_MSEC);
	}
	ck_assert_uint_eq(rtrs_srv_n_sessions(f.srv), n);
}

/* Moves in the heap per heartbeat, over some intervals of all sessions. */
static double
moves_per_heartbeat(unsigned n)
{
	unsigned intervals = 4, sent = 0;
	uint64_t before;

	bring_up(n);
	for (unsigned i = 0; i < n; i++)
		while (mock_next_sent(p[i].con[0]))
			;
	before = f.srv->dues.moves;
	for (unsigned k = 0; k < intervals; k++) {
		fx_until(&f, f.now + SEC(5));
		for (unsigned i = 0; i < n; i++) {
			while (mock_next_sent(p[i].con[0]))
				sent++;
			fx_imm(&p[i], 0, 0x90000000);
		}
	}
	ck_assert_uint_eq(sent, n * intervals);
	return (double)(f.srv->dues.moves - before) / sent;
}

START_TEST(a_heartbeat_looks_at_its_own_path)
{
	/* The levels of a heap of that size, and one. */
	ck_assert(moves_per_heartbeat(MAX) <= 9);
}
END_TEST

START_TEST(a_heartbeat_alone)
{
	ck_assert(moves_per_heartbeat(1) <= 1);
}
END_TEST

START_TEST(a_request_looks_at_no_other_session)
{
	uint64_t moves;

	bring_up(MAX);
	f.auto_done = true;
	moves = f.srv->dues.moves;
	for (unsigned i = 0; i < 1000; i++)
		fx_write(&p[MAX / 2], 0, i % 2, NULL, 0, usr, sizeof(usr));
	ck_assert_uint_eq(f.srv->dues.moves, moves);
	ck_assert_ptr_null(f.srv->waking);
}
END_TEST

/* A drain ends a path with its last request; others do not make it look. */
START_TEST(a_drain_looks_when_a_path_has_ended)
{
	bring_up(MAX);
	for (unsigned i = 0; i < MAX; i++)
		for (unsigned id = 0; id < 2; id++)
			fx_write(&p[i], 0, id, NULL, 0, usr, sizeof(usr));
	ck_assert_uint_eq(f.n_ops, 2 * MAX);
	rtrs_srv_close(f.srv);
	fx_run(&f);
	for (unsigned i = 0; i < f.n_ops; i++) {
		rtrs_srv_op_done(f.ops[i], 0);
		ck_assert_int_eq(f.srv->work != 0, i % 2);
		fx_run(&f);
	}
	ck_assert_uint_eq(f.downs, MAX);
}
END_TEST

START_TEST(answered_requests_are_counted)
{
	uint64_t n = rtrs_srv_n_answered(f.srv);

	fx_path_init(&f, &p[0], 1, 1, 2);
	fx_connect_all(&p[0]);
	ck_assert_uint_eq(rtrs_srv_n_answered(f.srv), n + 2);
	fx_connect(&p[0], 0); /* is there already: refused */
	ck_assert_uint_eq(rtrs_srv_n_answered(f.srv), n + 3);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("srv/many");
	TCase *tc = tcase_create("many");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_heartbeat_looks_at_its_own_path);
	tcase_add_test(tc, a_heartbeat_alone);
	tcase_add_test(tc, a_request_looks_at_no_other_session);
	tcase_add_test(tc, a_drain_looks_when_a_path_has_ended);
	tcase_add_test(tc, answered_requests_are_counted);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
