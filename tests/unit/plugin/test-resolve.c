/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "nbdkit-plugin/resolve.h"

static struct path_spec spec;
static char err[256];

static const struct {
	const char *text, *src, *dst;
	unsigned port;
} good[] = {
	{"tcp:host", "", "host", 1234},
	{"tcp:host:80", "", "host", 80},
	{"tcp:10.0.0.1", "", "10.0.0.1", 1234},
	{"tcp:10.0.0.1:65535", "", "10.0.0.1", 65535},
	{"tcp:::1", "", "::1", 1234},
	{"tcp:fe80::1%eth0", "", "fe80::1%eth0", 1234},
	{"tcp:[::1]", "", "::1", 1234},
	{"tcp:[::1]:1", "", "::1", 1},
	{"tcp:[fe80::1%eth0]:9", "", "fe80::1%eth0", 9},
	{"tcp:a,tcp:b", "a", "b", 1234},
	{"tcp:a@tcp:b:5", "a", "b", 5},
	{"tcp:[::1]@tcp:[::2]:6", "::1", "::2", 6},
	/* The comma is looked for first. */
	{"tcp:a@b,tcp:c", "a@b", "c", 1234},
};

START_TEST(good__is_taken_apart)
{
	ck_assert_msg(!path_parse(good[_i].text, 1234, &spec, err, sizeof(err)),
		      "%s", err);
	ck_assert_str_eq(spec.src, good[_i].src);
	ck_assert_str_eq(spec.dst, good[_i].dst);
	ck_assert_uint_eq(spec.port, good[_i].port);
}
END_TEST

#define BAD_KIND(word) ": unknown kind '" word ":'; use tcp:, ip: or gid:"
#define BAD_PORT       ": the port must be a number from 1 to 65535"

static const struct {
	const char *text, *says;
} bad[] = {
	{"tcp:", "'tcp:' has no host"},
	{"tcp::5", "'tcp::5' has no host"},
	{"tcp:[]:5", "'tcp:[]:5' has no host"},
	{"tcp:[::1", "'tcp:[::1' lacks a ']'"},
	{"tcp:[::1]5",
	 "'tcp:[::1]5' has something other than :PORT after the ']'"},
	{"tcp:a:", "'tcp:a:'" BAD_PORT},
	{"tcp:a:0", "'tcp:a:0'" BAD_PORT},
	{"tcp:a:65536", "'tcp:a:65536'" BAD_PORT},
	{"tcp:a:99999999999999", "'tcp:a:99999999999999'" BAD_PORT},
	{"tcp:a:-1", "'tcp:a:-1'" BAD_PORT},
	{"tcp:a:b", "'tcp:a:b'" BAD_PORT},
	{"tcp:[::1]:", "'tcp:[::1]:'" BAD_PORT},
	{"tcp:a:5,tcp:b", "'tcp:a:5': a source address takes no port"},
	{"tcp:[::1]:5@tcp:b", "'tcp:[::1]:5': a source address takes no port"},
	{"rdma:10.0.0.1", "'rdma:10.0.0.1'" BAD_KIND("rdma")},
	{"tpc:127.0.0.1:1234", "'tpc:127.0.0.1:1234'" BAD_KIND("tpc")},
	{"TCP:a", "'TCP:a'" BAD_KIND("TCP")},
	{"roce:fe80::1%eth0", "'roce:fe80::1%eth0'" BAD_KIND("roce")},
	{"unix:/run/x", "'unix:/run/x'" BAD_KIND("unix")},
	{"tcp:a,tpc:b", "'tpc:b'" BAD_KIND("tpc")},
};

START_TEST(bad__has_words)
{
	memset(&spec, 0x5a, sizeof(spec));
	ck_assert_int_eq(
		path_parse(bad[_i].text, 1234, &spec, err, sizeof(err)),
		-EINVAL);
	ck_assert_str_eq(err, bad[_i].says);
	ck_assert_int_eq(spec.dst[0], 0x5a);
}
END_TEST

#define NO_RDMA                                                                \
	" is an RDMA address and this build has no RDMA fabric; write "        \
	"tcp:HOST[:PORT] for the TCP fabric"

/* Of a build without RDMA. */
static const struct {
	const char *text, *says;
} bad_tcp_only[] = {
	{"", "'' does not name its fabric; write tcp:HOST[:PORT]"},
	{"host", "'host' does not name its fabric; write tcp:host"},
	{"host:5", "'host:5' does not name its fabric; write tcp:host:5"},
	{"ip:10.0.0.1", "'ip:10.0.0.1'" NO_RDMA},
	{"gid:fe80::1", "'gid:fe80::1'" NO_RDMA},
	{"ip:1.2.3.4@ip:1.2.3.5", "'ip:1.2.3.4'" NO_RDMA},
	{"tcp:a,ip:1.2.3.5", "'ip:1.2.3.5'" NO_RDMA},
	{"tcp:a,b", "'b' does not name its fabric; write tcp:b"},
	{",tcp:b", "'' does not name its fabric; write tcp:HOST[:PORT]"},
	{"tcp:a,", "'' does not name its fabric; write tcp:HOST[:PORT]"},
};

START_TEST(bad__without_rdma)
{
	if (fabric_by_name("verbs"))
		return;
	ck_assert_int_eq(path_parse(bad_tcp_only[_i].text, 1234, &spec, err,
				    sizeof(err)),
			 -EINVAL);
	ck_assert_str_eq(err, bad_tcp_only[_i].says);
}
END_TEST

static const struct {
	const char *text;
	enum path_scheme scheme;
	const char *src, *dst;
	unsigned port;
} good_rdma[] = {
	/* As in the kernel. */
	{"ip:10.50.100.66", PATH_IP, "", "10.50.100.66", 1234},
	{"ip:10.0.0.1@ip:10.0.0.2", PATH_IP, "10.0.0.1", "10.0.0.2", 1234},
	{"ip:10.0.0.1,ip:10.0.0.2", PATH_IP, "10.0.0.1", "10.0.0.2", 1234},
	{"ip:2001:db8::1", PATH_IP, "", "2001:db8::1", 1234},
	{"ip:2001:db8::1:5,ip:2001:db8::2", PATH_IP, "2001:db8::1:5",
	 "2001:db8::2", 1234},
	{"ip:fe80::1%lo", PATH_IP, "", "fe80::1%lo", 1234},
	{"gid:fe80::1", PATH_GID, "", "fe80::1", 1234},
	{"gid:fe80::1@gid:fe80::2", PATH_GID, "fe80::1", "fe80::2", 1234},
	/* Ports. */
	{"ip:10.0.0.1:5", PATH_IP, "", "10.0.0.1", 5},
	{"ip:[2001:db8::1]:6", PATH_IP, "", "2001:db8::1", 6},
	{"ip:[fe80::1%lo]:6", PATH_IP, "", "fe80::1%lo", 6},
	{"ip:10.0.0.1@ip:10.0.0.2:7", PATH_IP, "10.0.0.1", "10.0.0.2", 7},
	{"gid:[fe80::1]:8", PATH_GID, "", "fe80::1", 8},
	/* No scheme. */
	{"10.0.0.1", PATH_ANY, "", "10.0.0.1", 1234},
	{"host:9", PATH_ANY, "", "host", 9},
	{"10.0.0.1,10.0.0.2", PATH_ANY, "10.0.0.1", "10.0.0.2", 1234},
};

START_TEST(good__rdma)
{
	if (!fabric_by_name("verbs"))
		return;
	ck_assert_int_eq(
		path_parse(good_rdma[_i].text, 1234, &spec, err, sizeof(err)),
		0);
	ck_assert_int_eq(spec.scheme, good_rdma[_i].scheme);
	ck_assert_str_eq(spec.src, good_rdma[_i].src);
	ck_assert_str_eq(spec.dst, good_rdma[_i].dst);
	ck_assert_uint_eq(spec.port, good_rdma[_i].port);
}
END_TEST

#define NOT_ALIKE                                                              \
	": source and destination must be of the same kind, both tcp:, both "  \
	"ip: or both gid:"

static const struct {
	const char *text, *says;
} bad_rdma[] = {
	{"ip:", "'ip:' has no host"},
	{"", "'' has no host"},
	{"ip:host", "'host' is not a number of IPv4 or IPv6"},
	{"ip:10.0.0.1:0", "'ip:10.0.0.1:0'" BAD_PORT},
	{"ip:10.0.0.1:5@ip:10.0.0.2",
	 "'ip:10.0.0.1:5': a source address takes no port"},
	{"ip:fe80::1",
	 "link-local 'fe80::1' needs its interface, such as fe80::1%eth0"},
	{"ip:fe80::1%nope0",
	 "'fe80::1%nope0': this machine has no interface 'nope0'"},
	{"gid:10.0.0.1",
	 "'10.0.0.1' is not a GID, which is written like an IPv6 address"},
	{"ip:10.0.0.1@tcp:10.0.0.2", "'ip:10.0.0.1@tcp:10.0.0.2'" NOT_ALIKE},
	{"ip:10.0.0.1@gid:fe80::1", "'ip:10.0.0.1@gid:fe80::1'" NOT_ALIKE},
	{"tcp:a,b", "'tcp:a,b'" NOT_ALIKE},
	{"10.0.0.1,ip:10.0.0.2", "'10.0.0.1,ip:10.0.0.2'" NOT_ALIKE},
};

START_TEST(bad__rdma)
{
	if (!fabric_by_name("verbs"))
		return;
	ck_assert_int_eq(
		path_parse(bad_rdma[_i].text, 1234, &spec, err, sizeof(err)),
		-EINVAL);
	ck_assert_str_eq(err, bad_rdma[_i].says);
}
END_TEST

START_TEST(host__too_long)
{
	char text[PATH_HOST_MAX + 8] = "tcp:";

	memset(text + 4, 'a', PATH_HOST_MAX);
	ck_assert_int_eq(path_parse(text, 1, &spec, err, sizeof(err)), -EINVAL);
	ck_assert_str_eq(err, "a host name has at most 255 characters");
	text[4 + PATH_HOST_MAX - 1] = '\0';
	ck_assert_int_eq(path_parse(text, 1, &spec, err, sizeof(err)), 0);
	ck_assert_uint_eq(strlen(spec.dst), PATH_HOST_MAX - 1);
}
END_TEST

static int
resolve(const char *text, unsigned probe_ms, struct rtrs_path_addr *ret)
{
	ck_assert_int_eq(path_parse(text, 1234, &spec, err, sizeof(err)), 0);
	return path_resolve(&spec, probe_ms, ret, err, sizeof(err));
}

START_TEST(resolve__ipv4_with_source)
{
	struct rtrs_path_addr a;
	const struct sockaddr_in *in = (const void *)&a.dst;

	ck_assert_int_eq(resolve("tcp:127.0.0.2,tcp:127.0.0.1:77", 0, &a), 0);
	ck_assert_ptr_eq(a.fabric, &fabric_tcp);
	ck_assert_int_eq(in->sin_family, AF_INET);
	ck_assert_uint_eq(ntohs(in->sin_port), 77);
	ck_assert_uint_eq(ntohl(in->sin_addr.s_addr), 0x7f000001);
	ck_assert_uint_eq(a.dst_len, sizeof(*in));
	in = (const void *)&a.src;
	ck_assert_uint_eq(ntohs(in->sin_port), 0);
	ck_assert_uint_eq(ntohl(in->sin_addr.s_addr), 0x7f000002);
	ck_assert_uint_eq(a.src_len, sizeof(*in));
}
END_TEST

START_TEST(resolve__ipv6)
{
	struct rtrs_path_addr a;
	const struct sockaddr_in6 *in6 = (const void *)&a.dst;

	ck_assert_int_eq(resolve("tcp:[::1]:78", 0, &a), 0);
	ck_assert_int_eq(in6->sin6_family, AF_INET6);
	ck_assert_uint_eq(ntohs(in6->sin6_port), 78);
	ck_assert(IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr));
	ck_assert_uint_eq(a.src_len, 0);
}
END_TEST

START_TEST(resolve__families_differ)
{
	struct rtrs_path_addr a;

	ck_assert_int_eq(resolve("tcp:127.0.0.1,tcp:[::1]", 0, &a), -EINVAL);
	ck_assert_str_eq(err, "'127.0.0.1' and '::1' are of different address "
			      "families");
}
END_TEST

START_TEST(resolve__unknown_name)
{
	struct rtrs_path_addr a;

	ck_assert_int_eq(resolve("tcp:no-such-host.invalid", 0, &a),
			 -EHOSTUNREACH);
	ck_assert_ptr_eq(strstr(err, "cannot resolve 'no-such-host.invalid': "),
			 err);
}
END_TEST

START_TEST(resolve__rdma)
{
	const struct fabric_ops *verbs = fabric_by_name("verbs");
	char text[RTRS_ADDR_TEXT_MAX];
	struct rtrs_path_addr a;

	if (!verbs)
		return;
	ck_assert_int_eq(resolve("ip:10.0.0.1@ip:10.0.0.2:5", 0, &a), 0);
	ck_assert_ptr_eq(a.fabric, verbs);
	ck_assert(rtrs_addr_text(verbs, &a.dst, text));
	ck_assert_str_eq(text, "ip:10.0.0.2:5");
	ck_assert(rtrs_addr_text(verbs, &a.src, text));
	ck_assert_str_eq(text, "ip:10.0.0.1:0");
	ck_assert_int_eq(resolve("gid:fe80::1", 0, &a), 0);
	ck_assert_ptr_eq(a.fabric, verbs);
	ck_assert_uint_eq(a.src_len, 0);
	ck_assert(rtrs_addr_text(verbs, &a.dst, text));
	ck_assert_str_eq(text, "gid:[fe80::1]:1234");
	ck_assert_int_eq(resolve("ip:10.0.0.1,ip:::1", 0, &a), -EINVAL);
	ck_assert_str_eq(err, "'10.0.0.1' and '::1' are of different address "
			      "families");
}
END_TEST

/* 192.0.2.1 is nobody's, so no device leads there. */
START_TEST(resolve__without_scheme)
{
	struct rtrs_path_addr a;

	if (!fabric_by_name("verbs"))
		return;
	ck_assert_int_eq(resolve("192.0.2.1:77", 0, &a), -EINVAL);
	ck_assert_str_eq(err, "no RDMA device of this machine leads to "
			      "'192.0.2.1'; write tcp:192.0.2.1:77 for the TCP "
			      "fabric");
}
END_TEST

/* A name of several addresses: the one that answers is found. */
START_TEST(resolve__takes_the_one_that_answers)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct rtrs_path_addr a;

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, len), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	ck_assert_int_eq(path_parse("tcp:localhost", ntohs(addr.sin_port),
				    &spec, err, sizeof(err)),
			 0);
	ck_assert_int_eq(path_resolve(&spec, 2000, &a, err, sizeof(err)), 0);
	ck_assert_int_eq(a.dst.ss_family, AF_INET);
	close(fd);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("resolve");
	TCase *tc = tcase_create("resolve");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, good__is_taken_apart, 0, ARRAY_SIZE(good));
	tcase_add_loop_test(tc, bad__has_words, 0, ARRAY_SIZE(bad));
	tcase_add_loop_test(tc, bad__without_rdma, 0, ARRAY_SIZE(bad_tcp_only));
	tcase_add_loop_test(tc, good__rdma, 0, ARRAY_SIZE(good_rdma));
	tcase_add_loop_test(tc, bad__rdma, 0, ARRAY_SIZE(bad_rdma));
	tcase_add_test(tc, host__too_long);
	tcase_add_test(tc, resolve__ipv4_with_source);
	tcase_add_test(tc, resolve__ipv6);
	tcase_add_test(tc, resolve__families_differ);
	tcase_add_test(tc, resolve__unknown_name);
	tcase_add_test(tc, resolve__rdma);
	tcase_add_test(tc, resolve__without_scheme);
	tcase_add_test(tc, resolve__takes_the_one_that_answers);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
