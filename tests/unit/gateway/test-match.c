/* SPDX-License-Identifier: BSD-3-Clause */
/* Networks and name patterns, and the words for what is neither. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/gateway/access-rig.h"

static const struct {
	const char *net, *addr;
	bool match;
} nets[] = {
	{"10.0.0.0/8", "10.0.0.0", true},
	{"10.0.0.0/8", "10.255.255.255", true},
	{"10.0.0.0/8", "11.0.0.0", false},
	{"10.0.0.0/8", "9.255.255.255", false},
	{"10.128.0.0/9", "10.128.0.1", true},
	{"10.128.0.0/9", "10.127.255.255", false},
	{"192.0.2.7", "192.0.2.7", true},
	{"192.0.2.7", "192.0.2.6", false},
	{"192.0.2.6/31", "192.0.2.7", true},
	{"192.0.2.7/32", "192.0.2.7", true},
	{"0.0.0.0/0", "255.1.2.3", true},
	{"0.0.0.0/0", "2001:db8::1", false},
	{"0.0.0.0/0", "gid:fe80::1", false},
	/* The mapped form is IPv4, on either side. */
	{"10.0.0.0/8", "::ffff:10.1.2.3", true},
	{"10.0.0.0/8", "::ffff:11.1.2.3", false},
	{"::ffff:10.0.0.0/104", "10.1.2.3", true},
	{"::ffff:10.0.0.0/104", "::ffff:10.1.2.3", true},
	{"::/0", "10.1.2.3", false},
	{"::/0", "::ffff:10.1.2.3", false},
	{"::/0", "2001:db8::1", true},
	{"fe80::/10", "fe80::1", true},
	{"fe80::/10", "febf::1", true},
	{"fe80::/10", "fec0::1", false},
	{"2001:db8::1", "2001:db8::1", true},
	{"2001:db8::1", "2001:db8::2", false},
	{"2001:db8:0:8000::/49", "2001:db8:0:8001::", true},
	{"2001:db8:0:8000::/49", "2001:db8:0:7fff::", false},
	/* A GID is no IP address, though it is written like one. */
	{"gid:fe80::/64", "gid:fe80::5054:ff:fe12:3456", true},
	{"gid:fe80::/64", "gid:fe80:0:0:1::1", false},
	{"gid:fe80::/64", "fe80::1", false},
	{"fe80::/64", "gid:fe80::1", false},
	{"gid:::ffff:10.0.0.0/104", "10.0.0.1", false},
	{"gid:::ffff:10.0.0.0/104", "gid:::ffff:10.0.0.1", true},
	{"gid:::/0", "gid:fec0::1", true},
	{"gid:fec0::1", "gid:fec0::1", true},
	{"gid:fec0::1", "gid:fec0::2", false},
	{"any", "10.0.0.1", true},
	{"any", "2001:db8::1", true},
	{"any", "gid:fe80::1", true},
	{"any", "unix", true},
	{"::/0", "unix", false},
};

START_TEST(network_matches)
{
	struct sockaddr_storage ss = rig_address(nets[_i].addr);
	char err[GW_TEXT_MAX] = "";
	struct gw_net net;

	ck_assert_int_eq(gw_net_parse(nets[_i].net, &net, err), 0);
	ck_assert_msg(gw_net_match(&net, &ss) == nets[_i].match,
		      "%s and %s: should %smatch", nets[_i].net, nets[_i].addr,
		      nets[_i].match ? "" : "not ");
}
END_TEST

static const struct {
	const char *text, *err;
} bad_nets[] = {
	{"", "not a network"},
	{"10.0.0", "not a network"},
	{"10.0.0.0.1", "not a network"},
	{"localhost", "'localhost' is not a network"},
	{"fe80::1%lo", "not a network"},
	{"gid:", "not a network"},
	{"gid:10.0.0.1", "not a network"},
	{"ip:10.0.0.1", "not a network"},
	{"10.0.0.0/", "from 0 to 32"},
	{"10.0.0.0/33", "from 0 to 32"},
	{"10.0.0.0/-1", "from 0 to 32"},
	{"10.0.0.0/8x", "from 0 to 32"},
	{"10.0.0.0/0008", "from 0 to 32"},
	{"10.0.0.0/255.0.0.0", "from 0 to 32"},
	{"::/129", "from 0 to 128"},
	{"gid:::/129", "from 0 to 128"},
	{"10.0.0.1/8", "bits set behind its first 8"},
	{"::1/64", "bits set behind its first 64"},
	{"any/8", "not a network"},
	{"111111111111111111111111111111111111111111111111111111111111111111",
	 "not a network"},
};

START_TEST(bad_network_is_told)
{
	struct gw_net net = {.bits = 99};
	char err[GW_TEXT_MAX] = "";

	ck_assert_int_eq(gw_net_parse(bad_nets[_i].text, &net, err), -EINVAL);
	ck_assert_msg(strstr(err, bad_nets[_i].err) != NULL, "'%s' said: %s",
		      bad_nets[_i].text, err);
	ck_assert_uint_eq(net.bits, 99);
}
END_TEST

static const struct {
	const char *pattern, *name;
	bool match;
} names[] = {
	{"blya", "blya", true},
	{"blya", "blyat", false},
	{"blya", "Blya", false},
	{"*", "", true},
	{"*", "anything/at all", true},
	{"vm-?", "vm-1", true},
	{"vm-?", "vm-12", false},
	{"vm-[0-9]", "vm-7", true},
	{"vm-[!0-9]", "vm-7", false},
	{"tenant-a/*", "tenant-a/disk/1", true},
	{"tenant-a/*", "tenant-b/disk", false},
	{"*/disk", "a/b/disk", true},
	{"a\\*", "a*", true},
	{"a\\*", "ab", false},
	{".*", ".hidden", true},
	{"*", ".hidden", true},
};

START_TEST(name_matches)
{
	char err[GW_TEXT_MAX] = "";

	ck_assert_int_eq(gw_name_pattern_check(names[_i].pattern, err), 0);
	ck_assert_msg(gw_name_match(names[_i].pattern, names[_i].name) ==
			      names[_i].match,
		      "%s and %s: should %smatch", names[_i].pattern,
		      names[_i].name, names[_i].match ? "" : "not ");
}
END_TEST

static const struct {
	const char *pattern, *err; /* NULL: good */
} patterns[] = {
	{"", "empty"},
	{"vm-[0-9", "without its ']'"},
	{"vm-[]", "without its ']'"},
	{"vm-[!]", "without its ']'"},
	{"vm-[a\\]", "without its ']'"},
	{"vm\\", "nothing to protect"},
	{"\\\\[x", "without its ']'"},
	{"\\[x", NULL},
	{"[]]", NULL},
	{"[!]]", NULL},
	{"[a\\]]", NULL},
	{"]", NULL},
	{"\\\\", NULL},
};

START_TEST(pattern_is_judged)
{
	char err[GW_TEXT_MAX] = "";
	int r = gw_name_pattern_check(patterns[_i].pattern, err);

	ck_assert_int_eq(r, patterns[_i].err ? -EINVAL : 0);
	ck_assert_msg(strstr(err, patterns[_i].err ? patterns[_i].err : "") !=
			      NULL,
		      "'%s' said: %s", patterns[_i].pattern, err);
}
END_TEST

START_TEST(net_list)
{
	struct sockaddr_storage in = rig_address("10.2.3.4"),
				out = rig_address("11.2.3.4"),
				six = rig_address("2001:db8::1");
	struct gw_net_list a = {0}, b = {0};
	char err[GW_TEXT_MAX];

	ck_assert(!gw_net_list_match(&a, &in));
	ck_assert_int_eq(gw_net_list_add(&a, "10.0.0.0/8, 192.0.2.1\t", err),
			 0);
	ck_assert_uint_eq(a.n, 2);
	ck_assert(gw_net_list_match(&a, &in));
	ck_assert(!gw_net_list_match(&a, &out));
	/* All of a line or nothing. */
	ck_assert_int_eq(gw_net_list_add(&a, "2001:db8::/32 nonsense", err),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "'nonsense'"));
	ck_assert_uint_eq(a.n, 2);
	ck_assert_int_eq(gw_net_list_add(&a, " , ", err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "empty"));
	ck_assert_int_eq(gw_net_list_copy(&b, &a), 0);
	ck_assert(gw_net_list_equal(&a, &b));
	ck_assert_int_eq(gw_net_list_add(&a, "2001:db8::/32", err), 0);
	ck_assert(gw_net_list_match(&a, &six));
	ck_assert(!gw_net_list_match(&b, &six));
	ck_assert(!gw_net_list_equal(&a, &b));
	gw_net_list_clear(&a);
	gw_net_list_clear(&b);
	ck_assert(!gw_net_list_match(&a, &in));
}
END_TEST

START_TEST(name_list)
{
	struct gw_name_list a = {0}, b = {0};
	char err[GW_TEXT_MAX];

	ck_assert(!gw_name_list_match(&a, "x"));
	ck_assert_int_eq(gw_name_list_add(&a, "vm-*,blya", err), 0);
	ck_assert_uint_eq(a.n, 2);
	ck_assert(gw_name_list_match(&a, "vm-1"));
	ck_assert(gw_name_list_match(&a, "blya"));
	ck_assert(!gw_name_list_match(&a, "other"));
	ck_assert_int_eq(gw_name_list_add(&a, "other [", err), -EINVAL);
	ck_assert(!gw_name_list_match(&a, "other"));
	ck_assert_int_eq(gw_name_list_add(&a, "", err), -EINVAL);
	ck_assert_int_eq(gw_name_list_copy(&b, &a), 0);
	ck_assert(gw_name_list_equal(&a, &b));
	ck_assert_int_eq(gw_name_list_add(&b, "other", err), 0);
	ck_assert(!gw_name_list_equal(&a, &b));
	gw_name_list_clear(&a);
	gw_name_list_clear(&b);
	ck_assert(!gw_name_list_match(&a, "blya"));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/match");
	TCase *tc = tcase_create("match");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(tc, network_matches, 0, ARRAY_SIZE(nets));
	tcase_add_loop_test(tc, bad_network_is_told, 0, ARRAY_SIZE(bad_nets));
	tcase_add_loop_test(tc, name_matches, 0, ARRAY_SIZE(names));
	tcase_add_loop_test(tc, pattern_is_judged, 0, ARRAY_SIZE(patterns));
	tcase_add_test(tc, net_list);
	tcase_add_test(tc, name_list);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
