/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <errno.h>
#include <limits.h>

#include "proto/wire-errno.h"
#include "tests/unit/proto/proto-test.h"

/* Those that the protocol names, by their number on the wire. */
static const struct {
	int wire, host;
} named[] = {
	{-1, -EPERM},          {-2, -ENOENT},         {-5, -EIO},
	{-6, -ENXIO},          {-11, -EAGAIN},        {-12, -ENOMEM},
	{-13, -EACCES},        {-15, -ENOTBLK},       {-16, -EBUSY},
	{-17, -EEXIST},        {-19, -ENODEV},        {-22, -EINVAL},
	{-28, -ENOSPC},        {-30, -EROFS},         {-52, -EBADE},
	{-61, -ENODATA},       {-67, -ENOLINK},       {-71, -EPROTO},
	{-84, -EILSEQ},        {-90, -EMSGSIZE},      {-93, -EPROTONOSUPPORT},
	{-95, -EOPNOTSUPP},    {-103, -ECONNABORTED}, {-104, -ECONNRESET},
	{-107, -ENOTCONN},     {-110, -ETIMEDOUT},    {-111, -ECONNREFUSED},
	{-113, -EHOSTUNREACH}, {-121, -EREMOTEIO},    {-122, -EDQUOT},
	{-125, -ECANCELED},    {-133, -EHWPOISON},
};
#define N_NAMED (sizeof(named) / sizeof(named[0]))

START_TEST(zero__is_zero)
{
	ck_assert_int_eq(wire_errno_from_host(0), 0);
	ck_assert_int_eq(wire_errno_to_host(0), 0);
}
END_TEST

START_TEST(named__both_ways)
{
	for (size_t i = 0; i < N_NAMED; i++) {
		ck_assert_int_eq(wire_errno_from_host(named[i].host),
				 named[i].wire);
		ck_assert_int_eq(wire_errno_to_host(named[i].wire),
				 named[i].host);
	}
}
END_TEST

START_TEST(from_host__is_total)
{
	static const int odd[] = {
		1,    22,    INT_MAX, INT_MIN, INT_MIN + 1, -511,      -512,
		-524, -1133, -32767,  -32768,  -32769,      -65536 - 5};

	for (int err = -5000; err <= 0; err++) {
		int wire = wire_errno_from_host(err);

		ck_assert_int_ge(wire, -511);
		ck_assert_int_le(wire, 0);
		ck_assert_msg((wire == 0) == (err == 0), "err %d", err);
	}
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		int wire = wire_errno_from_host(odd[i]);

		ck_assert_msg(wire < 0 && wire >= -511, "err %d", odd[i]);
	}
	ck_assert_int_eq(wire_errno_from_host(INT_MIN), -5);
	ck_assert_int_eq(wire_errno_from_host(EINVAL), -5);
	ck_assert_int_eq(wire_errno_from_host(-65536 - 22), -5);
}
END_TEST

START_TEST(to_host__is_total)
{
	for (int err = -5000; err <= 0; err++) {
		int host = wire_errno_to_host(err);

		ck_assert_int_le(host, 0);
		ck_assert_msg((host == 0) == (err == 0), "err %d", err);
	}
	ck_assert_int_eq(wire_errno_to_host(INT_MIN), -EIO);
	ck_assert_int_eq(wire_errno_to_host(INT_MAX), -EIO);
	ck_assert_int_eq(wire_errno_to_host(22), -EIO);
}
END_TEST

START_TEST(without_a_counterpart__is_EIO)
{
	/* Holes of the table, its end, and a number of the kernel alone. */
	static const int unknown[] = {-41, -58, -118, -134, -511, -512, -524};

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		ck_assert_int_eq(wire_errno_to_host(unknown[i]), -EIO);
	}
	ck_assert_int_eq(wire_errno_from_host(-4000), -5);
}
END_TEST

START_TEST(there_and_back__is_identity_or_EIO)
{
	for (int wire = -511; wire <= 0; wire++) {
		int host = wire_errno_to_host(wire);
		int back = wire_errno_from_host(host);

		ck_assert_msg(back == wire || (host == -EIO && back == -5),
			      "wire %d host %d back %d", wire, host, back);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("proto/wire-errno");
	TCase *tc = tcase_create("wire-errno");

	tcase_add_test(tc, zero__is_zero);
	tcase_add_test(tc, named__both_ways);
	tcase_add_test(tc, from_host__is_total);
	tcase_add_test(tc, to_host__is_total);
	tcase_add_test(tc, without_a_counterpart__is_EIO);
	tcase_add_test(tc, there_and_back__is_identity_or_EIO);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
