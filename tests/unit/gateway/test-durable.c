/* SPDX-License-Identifier: BSD-3-Clause */
/* A failure to make writes durable is told, and not forgotten before. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/gateway/server-rig.h"

static struct rig_export *ex;
static struct rig_op op;

/* An open device, id 0. */
static void
setup(void)
{
	rig_setup();
	rig_hear();
	ex = rig_add_export("disk");
}

/* rw, of which the backend says err. */
static int
io(uint32_t rw, int err)
{
	rig.complete_at_once = true;
	rig.io_err = err;
	rig_io(&op, 0, rw, 0, rw == RNBD_OP_FLUSH ? 0 : 512);
	rig.n_ios = 0;
	return op.err;
}

#define flush(err)     io(RNBD_OP_FLUSH, err)
#define write_fua(err) io(RNBD_OP_WRITE | RNBD_F_FUA, err)

/* The same by a path that leaves before the answer. */
static void
lose(uint32_t rw, int err)
{
	rig.complete_at_once = false;
	rig_io(&op, 0, rw, 0, rw == RNBD_OP_FLUSH ? 0 : 512);
	op.lost = true;
	while (rig.n_held)
		rig_complete(err);
	ck_assert_int_eq(op.err, err);
	rig.n_ios = 0;
}

static void
open_native_fua(void)
{
	ex->geo.fua = true;
	rig_opened("disk", RNBD_ACCESS_RW);
}

START_TEST(a_lost_failure_is_told_by_the_next_flush)
{
	static const int errs[] = {-EIO, -ENOSPC, -EDQUOT, -ENOMEM};

	rig_opened("disk", RNBD_ACCESS_RW);
	for (size_t i = 0; i < ARRAY_SIZE(errs); i++) {
		lose(RNBD_OP_FLUSH, errs[i]);
		ck_assert_int_eq(flush(0), errs[i]);
		ck_assert_ptr_nonnull(strstr(rig.heard, "fails as an earlier"));
		ck_assert_int_eq(flush(0), 0);
	}
}
END_TEST

START_TEST(a_told_failure_is_not_repeated)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(flush(-EIO), -EIO);
	ck_assert_int_eq(flush(0), 0);
	ck_assert_int_eq(write_fua(-ENOSPC), -ENOSPC);
	ck_assert_int_eq(flush(0), 0);
}
END_TEST

START_TEST(a_failure_is_owed_until_an_answer_arrives)
{
	struct rig_op first;

	rig_opened("disk", RNBD_ACCESS_RW);
	rig.fates_open = true;
	ck_assert_int_eq(flush(-EIO), -EIO);
	first = op;
	ck_assert_int_eq(flush(0), -EIO);
	ck_assert_int_eq(flush(0), -EIO);
	rig_answer_fate(&first, true);
	ck_assert_int_eq(flush(0), 0);
	/* It was sent, but not by a path that lived on. */
	rig_answer_fate(&first, false);
	ck_assert_int_eq(flush(0), -EIO);
	rig_answer_fate(&op, true);
	ck_assert_int_eq(flush(0), 0);
}
END_TEST

START_TEST(a_newer_failure_has_to_be_told_itself)
{
	struct rig_op first;

	rig_opened("disk", RNBD_ACCESS_RW);
	rig.fates_open = true;
	ck_assert_int_eq(flush(-EIO), -EIO);
	first = op;
	lose(RNBD_OP_FLUSH, -ENOSPC);
	rig_answer_fate(&first, true);
	ck_assert_int_eq(flush(0), -ENOSPC);
	rig_answer_fate(&op, true);
	ck_assert_int_eq(flush(0), 0);
}
END_TEST

START_TEST(nothing_is_owed_to_a_client_that_closed_the_device)
{
	struct rig_op first, closing;

	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(flush(-EIO), -EIO);
	first = op;
	rig_close(&closing, 0);
	rig_settle();
	rig_opened("disk", RNBD_ACCESS_RW);
	rig_answer_fate(&first, false);
	rig_io(&op, 1, RNBD_OP_FLUSH, 0, 0);
	rig.io_err = 0;
	rig_io(&op, 1, RNBD_OP_FLUSH, 0, 0);
	ck_assert_int_eq(op.err, 0);
}
END_TEST

START_TEST(a_lost_write_with_fua_counts)
{
	open_native_fua();
	lose(RNBD_OP_WRITE | RNBD_F_FUA, -EIO);
	ck_assert_int_eq(flush(0), -EIO);
	ck_assert_int_eq(flush(0), 0);
	lose(RNBD_OP_FLUSH, -EIO);
	ck_assert_int_eq(write_fua(0), -EIO);
	ck_assert_int_eq(write_fua(0), 0);
}
END_TEST

/* A write, which works, and a flush, which does not. */
START_TEST(so_does_one_whose_fua_is_a_flush)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	rig_io(&op, 0, RNBD_OP_WRITE | RNBD_F_FUA, 0, 512);
	rig_complete(0);
	op.lost = true;
	rig_complete(-EIO);
	ck_assert_int_eq(flush(0), -EIO);
	ck_assert_int_eq(flush(0), 0);
}
END_TEST

START_TEST(other_requests_neither_count_nor_tell)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	lose(RNBD_OP_WRITE, -EIO);
	lose(RNBD_OP_READ, -EIO);
	ck_assert_int_eq(flush(0), 0);
	lose(RNBD_OP_FLUSH, -EIO);
	ck_assert_int_eq(io(RNBD_OP_WRITE, 0), 0);
	ck_assert_int_eq(io(RNBD_OP_READ, 0), 0);
	ck_assert_int_eq(flush(0), -EIO);
}
END_TEST

START_TEST(what_the_storage_never_heard_of_does_not_count)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(RNBD_OP_READ, -ECANCELED), -EIO);
	ck_assert_int_eq(flush(-ECANCELED), -EIO);
	ck_assert(!op.op.vital);
	ck_assert_int_eq(flush(0), 0);
}
END_TEST

START_TEST(with_the_page_cache_a_failure_is_for_good)
{
	ex->geo.page_cache = true;
	open_native_fua();
	ck_assert_int_eq(flush(0), 0);
	ck_assert_int_eq(write_fua(-ENOSPC), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(rig.heard, "export 'disk': "));
	ck_assert_ptr_nonnull(strstr(rig.heard, "No space left"));
	ck_assert_ptr_nonnull(strstr(rig.heard, "close and open it again"));
	rig.heard[0] = '\0';
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(flush(0), -EIO);
		ck_assert_int_eq(write_fua(0), -EIO);
	}
	ck_assert_int_eq(flush(-EIO), -EIO);
	/* It was said once. */
	ck_assert_str_eq(rig.heard, "");
	ck_assert(gw_durable_has_failed(&ex->durable));
	ck_assert_int_eq(io(RNBD_OP_WRITE, 0), 0);
	ck_assert_int_eq(io(RNBD_OP_READ, 0), 0);
}
END_TEST

/* ------------------------------------------------------------- identities */

static const struct backend_identity one = {.kind = 1, .a = 1};
static const struct backend_identity two = {.kind = 1, .a = 2};
static struct gw_durables all;

static void
no_rig(void)
{
	all = (struct gw_durables){NULL};
}

static struct gw_durable *
opened(const struct backend_identity *id)
{
	struct gw_durable *d;

	ck_assert_int_eq(gw_durables_open(&all, id, &d), 0);
	return d;
}

/* A flush of d; its answer arrives. */
static int
result(struct gw_durable *d, int err, bool cached)
{
	gw_failure failure;
	bool is_new;

	err = gw_durable_result(d, err, cached, &failure, &is_new);
	ck_assert_int_eq(!err, !failure);
	if (failure)
		gw_durable_told(d, failure, true);
	return err;
}

/* A failure that nobody is told. */
static void
fail_untold(struct gw_durable *d, bool cached)
{
	gw_failure failure;
	bool is_new;

	gw_durable_result(d, -EIO, cached, &failure, &is_new);
	ck_assert_int_eq(is_new, cached);
}

START_TEST(mappings_of_the_same_bytes_share_it)
{
	struct gw_durable *a = opened(&one), *b = opened(&one);
	struct gw_durable *c = opened(&two);

	ck_assert_ptr_eq(a, b);
	fail_untold(a, true);
	ck_assert_int_eq(result(b, 0, true), -EIO);
	ck_assert_int_eq(result(c, 0, true), 0);
	gw_durables_close(&all, a);
	ck_assert_int_eq(result(b, 0, true), -EIO);
	gw_durables_close(&all, b);
	gw_durables_close(&all, c);
	ck_assert_ptr_null(all.by_id);
}
END_TEST

START_TEST(opened_anew_it_is_forgotten)
{
	struct gw_durable *d = opened(&one);

	fail_untold(d, true);
	ck_assert_int_eq(result(d, 0, true), -EIO);
	gw_durables_close(&all, d);
	ck_assert_ptr_null(gw_durables_find(&all, &one));
	d = opened(&one);
	ck_assert_int_eq(result(d, 0, true), 0);
	gw_durables_close(&all, d);
}
END_TEST

START_TEST(but_not_if_no_flush_has_told_it)
{
	struct gw_durable *d = opened(&one);
	gw_failure failure;
	bool is_new;

	/* A write had the error of another one. */
	gw_durable_result(d, -EIO, true, &failure, &is_new);
	gw_durable_told(d, failure, false);
	gw_durables_close(&all, d);
	ck_assert_ptr_nonnull(gw_durables_find(&all, &one));
	d = opened(&one);
	ck_assert(!gw_durable_has_failed(d));
	ck_assert_int_eq(result(d, 0, true), -EIO);
	ck_assert_int_eq(result(d, 0, true), 0);
	gw_durables_close(&all, d);
	ck_assert_ptr_null(all.by_id);
}
END_TEST

START_TEST(what_is_owed_outlives_the_session)
{
	struct gw_durable *d = opened(&one);

	fail_untold(d, false);
	gw_durables_close(&all, d);
	d = opened(&one);
	ck_assert_int_eq(result(d, 0, false), -EIO);
	ck_assert_int_eq(result(d, 0, false), 0);
	fail_untold(d, false);
	gw_durables_close(&all, d);
	gw_durables_free(&all);
	ck_assert_ptr_null(all.by_id);
	gw_durables_close(&all, NULL);
}
END_TEST

START_TEST(numbers_come_round)
{
	struct gw_durable d = {(uint64_t)GW_FAILURE_MAX << 32};

	fail_untold(&d, false);
	ck_assert_int_eq(result(&d, 0, false), -EIO);
	ck_assert_int_eq(result(&d, 0, false), 0);
}
END_TEST

static void
add_cases(TCase *tc)
{
	tcase_add_test(tc, a_lost_failure_is_told_by_the_next_flush);
	tcase_add_test(tc, a_told_failure_is_not_repeated);
	tcase_add_test(tc, a_failure_is_owed_until_an_answer_arrives);
	tcase_add_test(tc, a_newer_failure_has_to_be_told_itself);
	tcase_add_test(tc, nothing_is_owed_to_a_client_that_closed_the_device);
	tcase_add_test(tc, a_lost_write_with_fua_counts);
	tcase_add_test(tc, so_does_one_whose_fua_is_a_flush);
	tcase_add_test(tc, other_requests_neither_count_nor_tell);
	tcase_add_test(tc, what_the_storage_never_heard_of_does_not_count);
	tcase_add_test(tc, with_the_page_cache_a_failure_is_for_good);
}

int
main(void)
{
	Suite *s = suite_create("gateway/durable");
	TCase *tc = tcase_create("requests");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, rig_teardown);
	add_cases(tc);
	suite_add_tcase(s, tc);
	tc = tcase_create("identities");
	tcase_add_checked_fixture(tc, no_rig, NULL);
	tcase_add_test(tc, mappings_of_the_same_bytes_share_it);
	tcase_add_test(tc, opened_anew_it_is_forgotten);
	tcase_add_test(tc, but_not_if_no_flush_has_told_it);
	tcase_add_test(tc, what_is_owed_outlives_the_session);
	tcase_add_test(tc, numbers_come_round);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
