/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <string.h>

#define N_STATES (RTRS_CLT_DEAD + 1)

/* "from -> to" of the protocol, written down a second time. */
static bool
expected(unsigned from, unsigned to)
{
	switch (to) {
	case RTRS_CLT_CONNECTING:
		return from == RTRS_CLT_RECONNECTING;
	case RTRS_CLT_CONNECTED:
	case RTRS_CLT_CONNECTING_ERR:
		return from == RTRS_CLT_CONNECTING;
	case RTRS_CLT_RECONNECTING:
		return from == RTRS_CLT_CONNECTED ||
		       from == RTRS_CLT_CONNECTING_ERR ||
		       from == RTRS_CLT_CLOSED;
	case RTRS_CLT_CLOSING:
		return from == RTRS_CLT_CONNECTING ||
		       from == RTRS_CLT_CONNECTING_ERR ||
		       from == RTRS_CLT_RECONNECTING ||
		       from == RTRS_CLT_CONNECTED;
	case RTRS_CLT_CLOSED:
		return from == RTRS_CLT_CLOSING;
	case RTRS_CLT_DEAD:
		return from == RTRS_CLT_CLOSED;
	default:
		return false;
	}
}

START_TEST(every_pair)
{
	for (unsigned from = 0; from < N_STATES; from++)
		for (unsigned to = 0; to < N_STATES; to++)
			ck_assert_msg(
				clt_path_may(from, to) == expected(from, to),
				"%s -> %s", rtrs_clt_path_state_name(from),
				rtrs_clt_path_state_name(to));
}
END_TEST

START_TEST(table_is_total)
{
	ck_assert(!clt_path_may(N_STATES, RTRS_CLT_CONNECTING));
	ck_assert(!clt_path_may(RTRS_CLT_CONNECTING, N_STATES));
	ck_assert(!clt_path_may(RTRS_CLT_CONNECTING, 200));
}
END_TEST

START_TEST(setter_obeys_the_table_and_says_so)
{
	struct fx f;

	for (unsigned from = 0; from < N_STATES; from++) {
		for (unsigned to = 0; to < N_STATES; to++) {
			struct rtrs_clt clt = {.log = &f.log, .n_up = 1};
			struct rtrs_clt_path path = {.clt = &clt,
						     .state = from};
			bool ok;

			fx_init(&f, CHEAP, 1);
			path.addr = f.addrs[0];
			ok = clt_path_set_state(&path, to);
			ck_assert_int_eq(ok, expected(from, to));
			ck_assert_uint_eq(path.state, ok ? to : from);
			ck_assert_int_eq(!ok, !!strstr(f.last_line, "refused"));
			mock_deinit(&f.m);
		}
	}
}
END_TEST

START_TEST(names_are_total_and_distinct)
{
	for (unsigned i = 0; i < N_STATES; i++)
		for (unsigned j = 0; j < i; j++)
			ck_assert_str_ne(rtrs_clt_path_state_name(i),
					 rtrs_clt_path_state_name(j));
	ck_assert_str_eq(rtrs_clt_path_state_name(99), "?");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("path-states");
	TCase *tc = tcase_create("path-states");

	tcase_add_test(tc, every_pair);
	tcase_add_test(tc, table_is_total);
	tcase_add_test(tc, setter_obeys_the_table_and_says_so);
	tcase_add_test(tc, names_are_total_and_distinct);
	suite_add_tcase(s, tc);
	return fx_main(s);
}
