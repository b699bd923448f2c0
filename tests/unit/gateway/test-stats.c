/* SPDX-License-Identifier: BSD-3-Clause */
/* What is counted per device and per export, and how long requests took. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/stats.h"
#include "tests/unit/gateway/server-rig.h"

static struct rig_op op;

static void
setup(void)
{
	rig_setup();
	rig_add_export("disk");
	rig.now = NSEC_PER_SEC;
	rig.complete_at_once = true;
}

/* ------------------------------------------------------------- looking on */

struct seen {
	const char *wanted;
	unsigned n; /* of all names */
	bool found;
	struct gw_export_info info; /* without pointers that outlive the call */
	uint64_t count[BACKEND_N_OPS], sum[BACKEND_N_OPS];
};

static void
look(void *user, const struct gw_export_info *info)
{
	struct seen *s = user;

	s->n++;
	if (strcmp(info->name, s->wanted))
		return;
	s->found = true;
	s->info = *info;
	for (int i = 0; i < BACKEND_N_OPS; i++) {
		s->count[i] = hist_count(&info->latency->op[i]);
		s->sum[i] = info->latency->op[i].sum;
	}
}

static struct seen
export_seen(const char *name)
{
	struct seen s = {.wanted = name};

	gw_server_for_each_export(rig.server, look, &s);
	return s;
}

struct dev_seen {
	unsigned n, unmeasured;
	uint64_t count, sum, max, inflight;
};

static void
look_at_device(void *user, const struct gw_device_info *info)
{
	struct dev_seen *s = user;

	s->n++;
	s->inflight += info->inflight;
	if (!info->latency) {
		s->unmeasured++;
		return;
	}
	s->count += hist_count(&info->latency->op[BACKEND_READ]);
	s->sum += info->latency->op[BACKEND_READ].sum;
	s->max = info->latency->op[BACKEND_READ].max;
}

static struct dev_seen
devices_seen(void)
{
	struct dev_seen s = {0};

	gw_server_for_each_device(rig.server, look_at_device, &s);
	return s;
}

/* ----------------------------------------------------------------- latency */

START_TEST(latency_is_from_the_round_of_arrival_to_that_of_the_answer)
{
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);
	struct dev_seen s;

	rig.complete_at_once = false;
	rig_io(&op, id, RNBD_OP_READ, 0, 512);
	rig.now += 5000;
	gw_server_kick(rig.server); /* nothing is answered yet */
	rig.now += 2000;
	rig_complete(0);
	rig.now += 300; /* the answer leaves with the round */
	gw_server_kick(rig.server);
	rig.now += 1000000;
	s = devices_seen();
	ck_assert_uint_eq(s.count, 1);
	ck_assert_uint_eq(s.sum, 7300);
	ck_assert_uint_eq(s.max, 7300);
	ck_assert_uint_eq(export_seen("disk").sum[BACKEND_READ], 7300);
}
END_TEST

START_TEST(clock_is_read_once_per_round_with_answers)
{
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);
	unsigned before = rig.clock_reads;

	gw_server_kick(rig.server);
	ck_assert_uint_eq(rig.clock_reads, before);
	for (unsigned i = 0; i < 10; i++)
		rig_io(&op, id, RNBD_OP_READ, 0, 512);
	ck_assert_uint_eq(rig.clock_reads, before);
	gw_server_kick(rig.server);
	ck_assert_uint_eq(rig.clock_reads, before + 1);
	ck_assert_uint_eq(devices_seen().count, 10);
}
END_TEST

/* More answers in a round than are remembered. */
START_TEST(long_rounds_lose_nothing)
{
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);
	const unsigned n = 3 * GW_MAX_STAMPS + 1;

	for (unsigned i = 0; i < n; i++) {
		rig.n_ios = 0;
		rig_io(&op, id, RNBD_OP_READ, 0, 512);
	}
	gw_server_kick(rig.server);
	ck_assert_uint_eq(devices_seen().count, n);
	ck_assert_uint_eq(export_seen("disk").count[BACKEND_READ], n);
}
END_TEST

/* A clock that jumps, or a time of the round that is ahead of it. */
START_TEST(time_never_runs_backwards)
{
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);

	rig_io(&op, id, RNBD_OP_READ, 0, 512);
	rig.now -= 500;
	gw_server_kick(rig.server);
	ck_assert_uint_eq(devices_seen().count, 1);
	ck_assert_uint_eq(devices_seen().sum, 0);
}
END_TEST

START_TEST(each_operation_has_its_own)
{
	static const enum rnbd_op rops[BACKEND_N_OPS] = {
		[BACKEND_READ] = RNBD_OP_READ,
		[BACKEND_WRITE] = RNBD_OP_WRITE,
		[BACKEND_FLUSH] = RNBD_OP_FLUSH,
		[BACKEND_DISCARD] = RNBD_OP_DISCARD,
		[BACKEND_WRITE_ZEROES] = RNBD_OP_WRITE_ZEROES,
	};
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);
	struct seen s;

	for (int i = 0; i < BACKEND_N_OPS; i++) {
		for (int k = 0; k <= i; k++) {
			rig.n_ios = 0;
			rig_io(&op, id, rops[i], 0,
			       i == BACKEND_FLUSH ? 0 : 4096);
			ck_assert_int_eq(op.err, 0);
		}
	}
	s = export_seen("disk");
	for (int i = 0; i < BACKEND_N_OPS; i++) {
		ck_assert_uint_eq(s.count[i], i + 1);
		ck_assert_uint_eq(s.info.op[i].ops, i + 1);
		ck_assert_uint_eq(s.info.op[i].bytes,
				  i == BACKEND_FLUSH ? 0 : (i + 1) * 4096);
	}
}
END_TEST

START_TEST(errors_are_operations_with_a_latency)
{
	uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);
	struct seen s;

	rig.io_err = -EIO;
	rig_io(&op, id, RNBD_OP_READ, 0, 512);
	rig.io_err = 0;
	rig_io(&op, id, RNBD_OP_READ, 1 << 30, 512); /* beyond the end */
	rig_io(&op, id, RNBD_OP_READ, 0, 512);
	s = export_seen("disk");
	ck_assert_uint_eq(s.info.op[BACKEND_READ].ops, 3);
	ck_assert_uint_eq(s.info.op[BACKEND_READ].errors, 2);
	ck_assert_uint_eq(s.info.op[BACKEND_READ].bytes, 512);
	ck_assert_uint_eq(s.count[BACKEND_READ], 3);
}
END_TEST

START_TEST(other_messages_count_their_errors)
{
	struct gw_server_stats st;

	rig_io(&op, 77, RNBD_OP_READ, 0, 512);
	ck_assert_int_eq(op.err, -ENOTCONN);
	rig_request(rig_sess, &op, RTRS_READ, "", 0, 0);
	ck_assert_int_eq(op.err, -EINVAL);
	gw_server_stats(rig.server, &st);
	ck_assert_uint_eq(st.message_errors, 2);
	/* Not that of a device's IO. */
	rig_opened("disk", RNBD_ACCESS_RO);
	rig_io(&op, 0, RNBD_OP_WRITE, 0, 512);
	ck_assert_int_eq(op.err, -EROFS);
	gw_server_stats(rig.server, &st);
	ck_assert_uint_eq(st.message_errors, 2);
}
END_TEST

/* ----------------------------------------------------------------- exports */

START_TEST(an_export_keeps_what_its_devices_did)
{
	struct seen s;

	ck_assert(!export_seen("disk").found);
	for (unsigned i = 1; i <= 3; i++) {
		uint32_t id = rig_opened("disk", RNBD_ACCESS_RW);

		rig_io(&op, id, RNBD_OP_READ, 0, 512);
		s = export_seen("disk");
		ck_assert_uint_eq(s.info.devices, 1);
		ck_assert_uint_eq(s.info.op[BACKEND_READ].ops, i);
		/* Closed in the same round: its latency is not lost. */
		rig_close(&op, id);
		rig_settle();
		s = export_seen("disk");
		ck_assert_uint_eq(s.info.devices, 0);
		ck_assert_uint_eq(s.info.op[BACKEND_READ].ops, i);
		ck_assert_uint_eq(s.info.op[BACKEND_READ].bytes, i * 512);
		ck_assert_uint_eq(s.count[BACKEND_READ], i);
		ck_assert_uint_eq(devices_seen().n, 0);
	}
	ck_assert_uint_eq(s.n, 1);
}
END_TEST

START_TEST(an_export_adds_up_its_sessions)
{
	void *first = rig_sess, *second = rig_sess_up("other");
	struct seen s;
	uint32_t id;

	id = rig_opened("disk", RNBD_ACCESS_RO);
	rig_io(&op, id, RNBD_OP_READ, 0, 512);
	rig_sess = second;
	id = rig_opened("disk", RNBD_ACCESS_RO);
	rig_io(&op, id, RNBD_OP_READ, 0, 1024);
	rig.complete_at_once = false;
	rig_io(&op, id, RNBD_OP_READ, 0, 1024);
	s = export_seen("disk");
	ck_assert_uint_eq(s.info.devices, 2);
	ck_assert_uint_eq(s.info.inflight, 1);
	ck_assert_uint_eq(devices_seen().inflight, 1);
	ck_assert_uint_eq(s.info.op[BACKEND_READ].bytes, 1536);
	ck_assert_uint_eq(s.count[BACKEND_READ], 2);
	rig_complete(0);
	rig_sess = first;
	rig_sess_down(second);
	rig_settle();
	s = export_seen("disk");
	ck_assert_uint_eq(s.info.devices, 1);
	ck_assert_uint_eq(s.info.inflight, 0);
	ck_assert_uint_eq(s.count[BACKEND_READ], 3);
}
END_TEST

/* ------------------------------------------------------------------ limits */

/* Opens one device under a name of its own and reads once. */
static uint32_t
open_numbered(unsigned i)
{
	static char name[32];
	uint32_t id;

	snprintf(name, sizeof(name), "disk%u", i);
	rig.exports[0].name = name;
	rig.exports[0].id.a = i;
	id = rig_opened(name, RNBD_ACCESS_RW);
	rig.n_ios = 0;
	rig_io(&op, id, RNBD_OP_READ, 0, 512);
	return id;
}

START_TEST(names_are_bounded_and_the_unused_go_first)
{
	uint32_t kept = open_numbered(0), id;

	for (unsigned i = 1; i < GW_MAX_MEASURED + 10; i++) {
		id = open_numbered(i);
		rig_close(&op, id);
		rig_settle();
	}
	ck_assert_uint_eq(export_seen("").n, GW_MAX_MEASURED + 1);
	/* What was counted for them stays in the sum. */
	ck_assert_uint_eq(export_seen("").count[BACKEND_READ], 10);
	ck_assert_uint_eq(export_seen("").info.op[BACKEND_READ].ops, 10);
	ck_assert(!export_seen("disk1").found);
	ck_assert(export_seen("disk20").found);
	ck_assert_uint_eq(export_seen("disk0").count[BACKEND_READ], 1);
	rig_close(&op, kept);
	rig_settle();
}
END_TEST

/* The devices of one session end at 1024: the rest is a second one's. */
START_TEST(beyond_the_limit_nothing_is_refused)
{
	void *first = rig_sess, *second = rig_sess_up("other");
	struct dev_seen d;
	struct seen s;

	for (unsigned i = 0; i < GW_MAX_MEASURED; i++)
		open_numbered(i);
	rig_sess = second;
	/* A known name: its own entry, but no latency of its own. */
	open_numbered(7);
	/* And a new one, though all entries are in use. */
	open_numbered(GW_MAX_MEASURED);
	d = devices_seen();
	ck_assert_uint_eq(d.n, GW_MAX_MEASURED + 2);
	ck_assert_uint_eq(d.unmeasured, 2);
	ck_assert_uint_eq(d.count, GW_MAX_MEASURED);
	s = export_seen("disk7");
	ck_assert_uint_eq(s.count[BACKEND_READ], 2);
	ck_assert_uint_eq(s.info.op[BACKEND_READ].ops, 2);
	s = export_seen("");
	ck_assert(s.found);
	ck_assert_uint_eq(s.n, GW_MAX_MEASURED + 1);
	ck_assert_uint_eq(s.info.devices, 1);
	ck_assert_uint_eq(s.count[BACKEND_READ], 1);
	rig_sess = first;
	rig_sess_down(second);
	rig_settle();
	/* It stays told. */
	ck_assert_uint_eq(export_seen("").count[BACKEND_READ], 1);
}
END_TEST

static void
add_cases(TCase *tc)
{
	tcase_add_test(
		tc, latency_is_from_the_round_of_arrival_to_that_of_the_answer);
	tcase_add_test(tc, clock_is_read_once_per_round_with_answers);
	tcase_add_test(tc, long_rounds_lose_nothing);
	tcase_add_test(tc, time_never_runs_backwards);
	tcase_add_test(tc, each_operation_has_its_own);
	tcase_add_test(tc, errors_are_operations_with_a_latency);
	tcase_add_test(tc, other_messages_count_their_errors);
	tcase_add_test(tc, an_export_keeps_what_its_devices_did);
	tcase_add_test(tc, an_export_adds_up_its_sessions);
	tcase_add_test(tc, names_are_bounded_and_the_unused_go_first);
	tcase_add_test(tc, beyond_the_limit_nothing_is_refused);
}

int
main(void)
{
	Suite *s = suite_create("gateway/stats");
	TCase *tc = tcase_create("stats");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, rig_teardown);
	add_cases(tc);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
