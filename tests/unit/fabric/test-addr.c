/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "rtrs/fabric/fabric.h"
#include "rtrs/fabric/verbs-addr.h"
#include "rtrs/rtrs.h"

static struct sockaddr_storage ss;
static socklen_t len;
static char err[256], text[RTRS_ADDR_TEXT_MAX];

/* Only the name of a fabric is looked at. */
static const struct fabric_ops verbs = {.name = "verbs"};
static const struct fabric_ops tcp = {.name = "tcp"};

typedef int parse_fn(const char *host, uint16_t port,
		     struct sockaddr_storage *ret, socklen_t *ret_len,
		     char *err, size_t err_len);

static const struct {
	parse_fn *parse;
	const char *host;
	unsigned port;
	const char *rdma, *sockets;
} good[] = {
	{rtrs_addr_parse_ip, "192.0.2.1", 1234, "ip:192.0.2.1:1234",
	 "tcp:192.0.2.1:1234"},
	{rtrs_addr_parse_ip, "0.0.0.0", 0, "ip:0.0.0.0:0", "tcp:0.0.0.0:0"},
	{rtrs_addr_parse_ip, "2001:DB8:0::1", 65535, "ip:[2001:db8::1]:65535",
	 "tcp:[2001:db8::1]:65535"},
	{rtrs_addr_parse_ip, "::", 1, "ip:[::]:1", "tcp:[::]:1"},
	{rtrs_addr_parse_ip, "fe80::1%lo", 5, "ip:[fe80::1%lo]:5",
	 "tcp:[fe80::1%lo]:5"},
	{rtrs_addr_parse_ip, "fe80::1%1", 5, "ip:[fe80::1%lo]:5",
	 "tcp:[fe80::1%lo]:5"},
	{rtrs_addr_parse_gid, "fe80::a:b", 1234, "gid:[fe80::a:b]:1234", NULL},
	{rtrs_addr_parse_gid, "::ffff:10.0.0.1", 40000,
	 "gid:[::ffff:10.0.0.1]:40000", NULL},
};

START_TEST(host_text_has_neither_port_nor_brackets)
{
	parse_fn *ip = rtrs_addr_parse_ip;

	ck_assert_int_eq(ip("192.0.2.1", 7, &ss, &len, err, sizeof(err)), 0);
	rtrs_addr_host_text(&tcp, &ss, text);
	ck_assert_str_eq(text, "tcp:192.0.2.1");
	ck_assert_uint_eq(rtrs_addr_port(&ss), 7);
	ck_assert_int_eq(ip("fe80::1%lo", 9, &ss, &len, err, sizeof(err)), 0);
	rtrs_addr_host_text(&verbs, &ss, text);
	ck_assert_str_eq(text, "ip:fe80::1%lo");
	ck_assert_uint_eq(rtrs_addr_port(&ss), 9);
	ss.ss_family = AF_UNIX;
	ck_assert_uint_eq(rtrs_addr_port(&ss), 0);
}
END_TEST

START_TEST(good__there_and_back)
{
	ck_assert_int_eq(good[_i].parse(good[_i].host, (uint16_t)good[_i].port,
					&ss, &len, err, sizeof(err)),
			 0);
	ck_assert(rtrs_addr_text(&verbs, &ss, text));
	ck_assert_str_eq(text, good[_i].rdma);
	if (!good[_i].sockets)
		return;
	ck_assert(rtrs_addr_text(&tcp, &ss, text));
	ck_assert_str_eq(text, good[_i].sockets);
}
END_TEST

static const struct {
	parse_fn *parse;
	const char *host, *says;
} bad[] = {
	{rtrs_addr_parse_ip, "", "'' is not a number of IPv4 or IPv6"},
	{rtrs_addr_parse_ip, "10.0.0",
	 "'10.0.0' is not a number of IPv4 or IPv6"},
	{rtrs_addr_parse_ip, "host", "'host' is not a number of IPv4 or IPv6"},
	{rtrs_addr_parse_ip, "10.0.0.1%lo",
	 "'10.0.0.1%lo' is not a number of IPv4 or IPv6"},
	{rtrs_addr_parse_ip, "fe80::1",
	 "link-local 'fe80::1' needs its interface, such as fe80::1%eth0"},
	{rtrs_addr_parse_ip, "fe80::1%",
	 "'fe80::1%': this machine has no interface ''"},
	{rtrs_addr_parse_ip, "fe80::1%nope0",
	 "'fe80::1%nope0': this machine has no interface 'nope0'"},
	{rtrs_addr_parse_ip, "fe80::1%4000000000",
	 "'fe80::1%4000000000': this machine has no interface '4000000000'"},
	{rtrs_addr_parse_ip, "::%lo",
	 "'::%lo': only a link-local address (fe80::) takes an interface"},
	{rtrs_addr_parse_gid, "10.0.0.1",
	 "'10.0.0.1' is not a GID, which is written like an IPv6 address"},
	{rtrs_addr_parse_gid, "fe80::1%lo",
	 "'fe80::1%lo' is not a GID, which is written like an IPv6 address"},
};

START_TEST(bad__has_words)
{
	len = 7;
	ck_assert_int_eq(
		bad[_i].parse(bad[_i].host, 1, &ss, &len, err, sizeof(err)),
		-EINVAL);
	ck_assert_str_eq(err, bad[_i].says);
	ck_assert_uint_eq(len, 7);
}
END_TEST

START_TEST(text__unknown_family)
{
	memset(&ss, 0, sizeof(ss));
	ck_assert(!rtrs_addr_text(&verbs, &ss, text));
	ck_assert_str_eq(text, "ip:?");
}
END_TEST

/* An interface that is gone still has its number. */
START_TEST(text__scope_without_name)
{
	struct sockaddr_in6 sin6 = {
		.sin6_family = AF_INET6,
		.sin6_scope_id = 0xfffffff0,
	};

	inet_pton(AF_INET6, "fe80::1", &sin6.sin6_addr);
	memset(&ss, 0, sizeof(ss));
	memcpy(&ss, &sin6, sizeof(sin6));
	ck_assert(rtrs_addr_text(&verbs, &ss, text));
	ck_assert_str_eq(text, "ip:[fe80::1%4294967280]:0");
}
END_TEST

/* Byte by byte what the kernel's peers put into a sockaddr_ib. */
START_TEST(gid__bytes)
{
	static const uint8_t expected[48] = {
		[2] = 0xff,  [3] = 0xff,  [8] = 0xfe,  [9] = 0x80,  [23] = 0x42,
		[28] = 0x01, [29] = 0x3f, [30] = 0x04, [31] = 0xd2, [32] = 0xff,
		[33] = 0xff, [34] = 0xff, [35] = 0xff, [36] = 0xff, [37] = 0xff,
		[38] = 0xff, [39] = 0xff,
	};
	const uint8_t gid[VERBS_GID_LEN] = {0xfe, 0x80, [15] = 0x42};
	uint8_t back[VERBS_GID_LEN];
	uint16_t port;

	verbs_gid_addr(gid, 1234, &ss, &len);
	ck_assert_uint_eq(len, sizeof(expected));
	ck_assert_int_eq(ss.ss_family, AF_IB);
	ck_assert_mem_eq((const uint8_t *)&ss + 2, expected + 2,
			 sizeof(expected) - 2);
	ck_assert(verbs_addr_gid(&ss, back, &port));
	ck_assert_mem_eq(back, gid, sizeof(gid));
	ck_assert_uint_eq(port, 1234);
	ss.ss_family = AF_INET6;
	ck_assert(!verbs_addr_gid(&ss, back, &port));
}
END_TEST

static const struct {
	parse_fn *a_parse;
	const char *a;
	parse_fn *b_parse;
	const char *b;
	bool same;
} pairs[] = {
	{rtrs_addr_parse_ip, "10.0.0.1", rtrs_addr_parse_ip, "10.0.0.1", true},
	{rtrs_addr_parse_ip, "10.0.0.1", rtrs_addr_parse_ip, "10.0.0.2", false},
	{rtrs_addr_parse_ip, "10.0.0.1", rtrs_addr_parse_ip, "::ffff:10.0.0.1",
	 true},
	{rtrs_addr_parse_ip, "2001:db8::1", rtrs_addr_parse_ip, "2001:db8::1",
	 true},
	{rtrs_addr_parse_ip, "fe80::1%lo", rtrs_addr_parse_ip, "fe80::1%lo",
	 true},
	{rtrs_addr_parse_gid, "fe80::1", rtrs_addr_parse_gid, "fe80::1", true},
	{rtrs_addr_parse_gid, "fe80::1", rtrs_addr_parse_gid, "fe80::2", false},
	{rtrs_addr_parse_gid, "fe80::1", rtrs_addr_parse_ip, "fe80::1%lo",
	 false},
};

START_TEST(same_host__whatever_the_port)
{
	struct sockaddr_storage a, b;

	ck_assert_int_eq(
		pairs[_i].a_parse(pairs[_i].a, 1, &a, &len, err, sizeof(err)),
		0);
	ck_assert_int_eq(
		pairs[_i].b_parse(pairs[_i].b, 2, &b, &len, err, sizeof(err)),
		0);
	ck_assert(rtrs_addr_same_host(&a, &b) == pairs[_i].same);
	ck_assert(rtrs_addr_same_host(&b, &a) == pairs[_i].same);
}
END_TEST

START_TEST(same_host__link_local_of_two_interfaces)
{
	struct sockaddr_in6 sin6;
	struct sockaddr_storage other;

	ck_assert_int_eq(rtrs_addr_parse_ip("fe80::1%lo", 1, &ss, &len, err,
					    sizeof(err)),
			 0);
	memcpy(&sin6, &ss, sizeof(sin6));
	sin6.sin6_scope_id++;
	other = ss;
	memcpy(&other, &sin6, sizeof(sin6));
	ck_assert(!rtrs_addr_same_host(&ss, &other));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("addr");
	TCase *tc = tcase_create("addr");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_test(tc, host_text_has_neither_port_nor_brackets);
	tcase_add_loop_test(tc, good__there_and_back, 0, ARRAY_SIZE(good));
	tcase_add_loop_test(tc, bad__has_words, 0, ARRAY_SIZE(bad));
	tcase_add_test(tc, text__unknown_family);
	tcase_add_test(tc, text__scope_without_name);
	tcase_add_test(tc, gid__bytes);
	tcase_add_loop_test(tc, same_host__whatever_the_port, 0,
			    ARRAY_SIZE(pairs));
	tcase_add_test(tc, same_host__link_local_of_two_interfaces);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
