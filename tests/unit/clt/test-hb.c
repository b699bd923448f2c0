/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/hb.h"

#include <check.h>

#include "rtrs/base/util.h"
#include "rtrs/rtrs.h"

#define SEC(n) ((uint64_t)(n)*NSEC_PER_SEC)

START_TEST(zero_takes_the_defaults_of_the_kernel)
{
	struct rtrs_hb hb;

	rtrs_hb_init(&hb, 0, 0);
	ck_assert_uint_eq(hb.interval_ms, 5000);
	ck_assert_uint_eq(hb.missed_max, 5);
	ck_assert_uint_eq(rtrs_hb_deadline(&hb), TIME_NEVER);
}
END_TEST

START_TEST(silent_peer_gets_one_message_and_dies_at_35s)
{
	struct rtrs_hb hb;

	rtrs_hb_init(&hb, 0, 0);
	rtrs_hb_start(&hb, SEC(100));
	ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(105) - 1), RTRS_HB_NONE);
	ck_assert_uint_eq(rtrs_hb_deadline(&hb), SEC(105));
	ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(105)), RTRS_HB_SEND);
	for (int s = 110; s <= 130; s += 5) {
		ck_assert_uint_eq(rtrs_hb_deadline(&hb), SEC(s));
		ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(s)), RTRS_HB_NONE);
	}
	ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(135)), RTRS_HB_DEAD);
	ck_assert_uint_eq(rtrs_hb_deadline(&hb), TIME_NEVER);
	ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(140)), RTRS_HB_NONE);
}
END_TEST

START_TEST(live_peer_gets_one_message_per_interval)
{
	struct rtrs_hb hb;

	rtrs_hb_init(&hb, 1000, 1);
	rtrs_hb_start(&hb, 0);
	for (int s = 1; s < 50; s++) {
		ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(s)), RTRS_HB_SEND);
		rtrs_hb_rx(&hb);
	}
}
END_TEST

START_TEST(reception_rescues_at_the_last_moment)
{
	struct rtrs_hb hb;

	rtrs_hb_init(&hb, 1000, 2);
	rtrs_hb_start(&hb, 0);
	ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(1)), RTRS_HB_SEND);
	ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(2)), RTRS_HB_NONE);
	ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(3)), RTRS_HB_NONE);
	rtrs_hb_rx(&hb);
	ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(4)), RTRS_HB_SEND);
}
END_TEST

START_TEST(late_call_is_one_tick)
{
	struct rtrs_hb hb;

	rtrs_hb_init(&hb, 1000, 2);
	rtrs_hb_start(&hb, 0);
	ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(1)), RTRS_HB_SEND);
	ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(500)), RTRS_HB_NONE);
	ck_assert_uint_eq(hb.missed, 2);
	ck_assert_uint_eq(rtrs_hb_deadline(&hb), SEC(501));
}
END_TEST

START_TEST(ack_measures_latency)
{
	struct rtrs_hb hb;

	rtrs_hb_init(&hb, 1000, 2);
	rtrs_hb_start(&hb, 0);
	rtrs_hb_ack(&hb, 5);
	ck_assert_uint_eq(hb.latency_ns, 0);
	ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(1)), RTRS_HB_SEND);
	rtrs_hb_ack(&hb, SEC(1) + 1234);
	ck_assert_uint_eq(hb.latency_ns, 1234);
	ck_assert_uint_eq(hb.missed, 0);
	/* A second one belongs to nothing. */
	rtrs_hb_ack(&hb, SEC(1) + 9999);
	ck_assert_uint_eq(hb.latency_ns, 1234);
	ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(2)), RTRS_HB_SEND);
	rtrs_hb_ack(&hb, SEC(2));
	ck_assert_uint_eq(hb.latency_ns, 1);
}
END_TEST

START_TEST(stop_and_start_begin_anew)
{
	struct rtrs_hb hb;

	rtrs_hb_init(&hb, 1000, 2);
	rtrs_hb_start(&hb, 0);
	ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(1)), RTRS_HB_SEND);
	rtrs_hb_stop(&hb);
	ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(2)), RTRS_HB_NONE);
	rtrs_hb_start(&hb, SEC(10));
	ck_assert_uint_eq(hb.missed, 0);
	ck_assert_uint_eq(rtrs_hb_deadline(&hb), SEC(11));
	ck_assert_int_eq(rtrs_hb_tick(&hb, SEC(11)), RTRS_HB_SEND);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("hb");
	TCase *tc = tcase_create("hb");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, zero_takes_the_defaults_of_the_kernel);
	tcase_add_test(tc, silent_peer_gets_one_message_and_dies_at_35s);
	tcase_add_test(tc, live_peer_gets_one_message_per_interval);
	tcase_add_test(tc, reception_rescues_at_the_last_moment);
	tcase_add_test(tc, late_call_is_one_tick);
	tcase_add_test(tc, ack_measures_latency);
	tcase_add_test(tc, stop_and_start_begin_anew);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? 1 : 0;
}
