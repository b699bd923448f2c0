/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <errno.h>
#include <string.h>

struct waiter {
	struct rtrs_permit_waiter w;
	struct fx *f;
	struct rtrs_permit *permit;
	unsigned n_got;
	bool put_at_once;
	char name;
};

static void
got(struct rtrs_permit_waiter *pw, struct rtrs_permit *permit)
{
	struct waiter *w = container_of(pw, struct waiter, w);

	w->n_got++;
	w->permit = permit;
	fx_note(w->f, w->name);
	if (w->put_at_once)
		rtrs_clt_permit_put(w->f->clt, permit);
}

static void
wait_for(struct fx *f, struct waiter *w, enum rtrs_permit_type type, char name)
{
	*w = (struct waiter){
		.w = {.got = got, .type = type}, .f = f, .name = name};
	rtrs_clt_permit_wait(f->clt, &w->w);
}

static void
set_up(struct fx *f, unsigned depth)
{
	fx_init(f, CHEAP, 1);
	f->rsp.queue_depth = (uint16_t)depth;
	fx_up(f);
	f->n_order = 0;
}

START_TEST(none_before_the_session_was_up)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	fx_accept_all(&f);
	ck_assert_ptr_null(rtrs_clt_permit_get(f.clt, RTRS_PERMIT_ADMIN, 0));
	fx_info_rsp(&f, 0);
	ck_assert_ptr_nonnull(rtrs_clt_permit_get(f.clt, RTRS_PERMIT_ADMIN, 0));
	fx_deinit(&f);
}
END_TEST

START_TEST(lowest_free_first_and_hint_kept)
{
	struct fx f;
	struct rtrs_permit *a, *b, *c;

	set_up(&f, 8);
	a = rtrs_clt_permit_get(f.clt, RTRS_PERMIT_IO, 5);
	b = rtrs_clt_permit_get(f.clt, RTRS_PERMIT_IO, 6);
	c = rtrs_clt_permit_get(f.clt, RTRS_PERMIT_ADMIN, 7);
	ck_assert_uint_eq(a->id, 0);
	ck_assert_uint_eq(b->id, 1);
	ck_assert_uint_eq(c->id, 2);
	ck_assert_uint_eq(b->con_hint, 6);
	ck_assert_uint_eq(c->type, RTRS_PERMIT_ADMIN);
	rtrs_clt_permit_put(f.clt, b);
	rtrs_clt_permit_put(f.clt, a);
	ck_assert_uint_eq(rtrs_clt_permit_get(f.clt, RTRS_PERMIT_IO, 0)->id, 0);
	ck_assert_uint_eq(rtrs_clt_permit_get(f.clt, RTRS_PERMIT_IO, 0)->id, 1);
	ck_assert_uint_eq(rtrs_clt_permit_get(f.clt, RTRS_PERMIT_IO, 0)->id, 3);
	rtrs_clt_permit_put(f.clt, NULL);
	fx_deinit(&f);
}
END_TEST

START_TEST(more_than_one_word)
{
	struct clt_permits pool = {0};
	struct rtrs_clt clt = {.opened = true};
	struct rtrs_permit *last = NULL;

	ck_assert_int_eq(clt_permits_resize(&pool, 300), 0);
	clt.permits = pool;
	for (unsigned i = 0; i < 300; i++) {
		last = rtrs_clt_permit_get(&clt, RTRS_PERMIT_ADMIN, 0);
		ck_assert_uint_eq(last->id, i);
	}
	ck_assert_ptr_null(rtrs_clt_permit_get(&clt, RTRS_PERMIT_ADMIN, 0));
	ck_assert_int_eq(clt_permits_resize(&clt.permits, 4), -EBUSY);
	rtrs_clt_permit_put(&clt, &clt.permits.all[70]);
	rtrs_clt_permit_put(&clt, last);
	ck_assert_uint_eq(rtrs_clt_permit_get(&clt, RTRS_PERMIT_ADMIN, 0)->id,
			  70);
	ck_assert_uint_eq(rtrs_clt_permit_get(&clt, RTRS_PERMIT_ADMIN, 0)->id,
			  299);
	clt_permits_free(&clt.permits);
}
END_TEST

/* depth, what IO may take */
static const unsigned reserves[][2] = {{1, 1}, {2, 1}, {3, 2},
				       {4, 2}, {5, 3}, {8, 6}};

START_TEST(io_leaves_the_reserve_to_admin)
{
	unsigned depth = reserves[_i][0], n_io = reserves[_i][1];
	struct fx f;

	set_up(&f, depth);
	for (unsigned i = 0; i < n_io; i++)
		ck_assert_ptr_nonnull(
			rtrs_clt_permit_get(f.clt, RTRS_PERMIT_IO, 0));
	ck_assert_ptr_null(rtrs_clt_permit_get(f.clt, RTRS_PERMIT_IO, 0));
	for (unsigned i = n_io; i < depth; i++)
		ck_assert_ptr_nonnull(
			rtrs_clt_permit_get(f.clt, RTRS_PERMIT_ADMIN, 0));
	ck_assert_ptr_null(rtrs_clt_permit_get(f.clt, RTRS_PERMIT_ADMIN, 0));
	fx_deinit(&f);
}
END_TEST

START_TEST(waiters_in_order_admin_first)
{
	struct fx f;
	struct waiter w[4];
	struct rtrs_permit *p[8];

	set_up(&f, 8);
	for (int i = 0; i < 8; i++)
		p[i] = rtrs_clt_permit_get(f.clt, RTRS_PERMIT_ADMIN, 0);
	wait_for(&f, &w[0], RTRS_PERMIT_IO, 'a');
	wait_for(&f, &w[1], RTRS_PERMIT_IO, 'b');
	wait_for(&f, &w[2], RTRS_PERMIT_ADMIN, 'A');
	wait_for(&f, &w[3], RTRS_PERMIT_ADMIN, 'B');
	fx_run(&f);
	ck_assert_uint_eq(f.n_order, 0);
	rtrs_clt_permit_put(f.clt, p[5]);
	ck_assert_str_eq(f.order, "A");
	ck_assert_ptr_eq(w[2].permit, p[5]);
	rtrs_clt_permit_put(f.clt, p[6]);
	rtrs_clt_permit_put(f.clt, p[7]);
	rtrs_clt_permit_put(f.clt, p[0]);
	/* Two are free, which is the reserve. */
	ck_assert_str_eq(f.order, "AB");
	rtrs_clt_permit_put(f.clt, p[1]);
	ck_assert_str_eq(f.order, "ABa");
	rtrs_clt_permit_put(f.clt, p[2]);
	ck_assert_str_eq(f.order, "ABab");
	ck_assert_ptr_nonnull(w[1].permit);
	fx_deinit(&f);
}
END_TEST

START_TEST(waiter_that_finds_one_free_is_served_by_progress)
{
	struct fx f;
	struct waiter w;

	set_up(&f, 8);
	wait_for(&f, &w, RTRS_PERMIT_IO, 'a');
	ck_assert_uint_eq(w.n_got, 0);
	ck_assert(rtrs_clt_arm(f.clt));
	fx_run(&f);
	ck_assert_uint_eq(w.n_got, 1);
	fx_deinit(&f);
}
END_TEST

START_TEST(waiting_starts_before_the_session_is_up)
{
	struct fx f;
	struct waiter w;

	fx_init(&f, CHEAP, 1);
	fx_open(&f);
	wait_for(&f, &w, RTRS_PERMIT_IO, 'a');
	fx_path_up(&f, 0);
	ck_assert_str_eq(f.order, "Ua");
	ck_assert_ptr_nonnull(w.permit);
	fx_deinit(&f);
}
END_TEST

START_TEST(put_from_got_serves_the_next)
{
	struct fx f;
	struct waiter w[3];
	struct rtrs_permit *p[8];

	set_up(&f, 8);
	for (int i = 0; i < 8; i++)
		p[i] = rtrs_clt_permit_get(f.clt, RTRS_PERMIT_ADMIN, 0);
	for (int i = 0; i < 3; i++) {
		wait_for(&f, &w[i], RTRS_PERMIT_ADMIN, (char)('a' + i));
		w[i].put_at_once = i < 2;
	}
	rtrs_clt_permit_put(f.clt, p[3]);
	ck_assert_str_eq(f.order, "abc");
	ck_assert_ptr_eq(w[2].permit, p[3]);
	fx_deinit(&f);
}
END_TEST

START_TEST(cancel_takes_a_waiter_off)
{
	struct fx f;
	struct waiter w[2];
	struct rtrs_permit *p[2];

	set_up(&f, 2);
	p[0] = rtrs_clt_permit_get(f.clt, RTRS_PERMIT_ADMIN, 0);
	p[1] = rtrs_clt_permit_get(f.clt, RTRS_PERMIT_ADMIN, 0);
	wait_for(&f, &w[0], RTRS_PERMIT_ADMIN, 'a');
	wait_for(&f, &w[1], RTRS_PERMIT_ADMIN, 'b');
	rtrs_clt_permit_cancel(f.clt, &w[0].w);
	rtrs_clt_permit_put(f.clt, p[0]);
	ck_assert_str_eq(f.order, "b");
	rtrs_clt_permit_put(f.clt, p[1]);
	ck_assert_str_eq(f.order, "b");
	fx_deinit(&f);
}
END_TEST

START_TEST(close_gives_waiters_null)
{
	struct fx f;
	struct waiter w[2];

	set_up(&f, 1);
	ck_assert_ptr_nonnull(rtrs_clt_permit_get(f.clt, RTRS_PERMIT_IO, 0));
	wait_for(&f, &w[0], RTRS_PERMIT_IO, 'a');
	wait_for(&f, &w[1], RTRS_PERMIT_ADMIN, 'A');
	rtrs_clt_close(f.clt);
	ck_assert(!rtrs_clt_closed(f.clt));
	ck_assert_ptr_null(rtrs_clt_permit_get(f.clt, RTRS_PERMIT_ADMIN, 0));
	fx_run(&f);
	ck_assert_str_eq(f.order, "Aa");
	ck_assert_ptr_null(w[0].permit);
	ck_assert(rtrs_clt_closed(f.clt));
	fx_deinit(&f);
}
END_TEST

START_TEST(free_gives_waiters_null)
{
	struct fx f;
	struct waiter w;

	set_up(&f, 1);
	ck_assert_ptr_nonnull(rtrs_clt_permit_get(f.clt, RTRS_PERMIT_IO, 0));
	wait_for(&f, &w, RTRS_PERMIT_IO, 'a');
	fx_deinit(&f);
	ck_assert_uint_eq(w.n_got, 1);
	ck_assert_ptr_null(w.permit);
}
END_TEST

START_TEST(cap_of_the_caller_bounds_the_pool)
{
	struct fx f;

	fx_init(&f, CHEAP, 1);
	f.rsp.queue_depth = 64;
	f.p.max_queue_depth = 3;
	fx_up(&f);
	ck_assert_uint_eq(rtrs_clt_queue_depth(f.clt), 3);
	for (int i = 0; i < 3; i++)
		ck_assert_ptr_nonnull(
			rtrs_clt_permit_get(f.clt, RTRS_PERMIT_ADMIN, 0));
	ck_assert_ptr_null(rtrs_clt_permit_get(f.clt, RTRS_PERMIT_ADMIN, 0));
	fx_deinit(&f);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("permit");
	TCase *tc = tcase_create("permit");

	tcase_add_test(tc, none_before_the_session_was_up);
	tcase_add_test(tc, lowest_free_first_and_hint_kept);
	tcase_add_test(tc, more_than_one_word);
	tcase_add_loop_test(tc, io_leaves_the_reserve_to_admin, 0,
			    (int)ARRAY_SIZE(reserves));
	tcase_add_test(tc, waiters_in_order_admin_first);
	tcase_add_test(tc, waiter_that_finds_one_free_is_served_by_progress);
	tcase_add_test(tc, waiting_starts_before_the_session_is_up);
	tcase_add_test(tc, put_from_got_serves_the_next);
	tcase_add_test(tc, cancel_takes_a_waiter_off);
	tcase_add_test(tc, close_gives_waiters_null);
	tcase_add_test(tc, free_gives_waiters_null);
	tcase_add_test(tc, cap_of_the_caller_bounds_the_pool);
	suite_add_tcase(s, tc);
	return fx_main(s);
}
