/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "gateway/backend/nbd-params.h"
#include "tests/unit/backend/rig.h"

START_TEST(good_texts)
{
	static const struct {
		const char *text, *uri, *where;
	} cases[] = {
		{"nbd://h", "nbd://h", "h"},
		{"nbd://h:1/e", "nbd://h:1/e", "h:1"},
		{"nbds://me@h:1/e?tls-psk-file=/k",
		 "nbds://me@h:1/e?tls-psk-file=/k", "h:1"},
		{"nbd://[::1]:9/", "nbd://[::1]:9/", "[::1]:9"},
		{"nbd://[fe80::1]", "nbd://[fe80::1]", "[fe80::1]"},
		{"nbd+unix:///?socket=/a", "nbd+unix:///?socket=/a", "/a"},
		{"nbd+unix:///e?socket=/a%2Cb,hold=1",
		 "nbd+unix:///e?socket=/a%2Cb", "/a,b"},
		{"nbds+unix:///e?tls-certificates=/c&socket=/a",
		 "nbds+unix:///e?tls-certificates=/c&socket=/a", "/a"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[GW_TEXT_MAX] = "";
		struct nbd_params p;

		ck_assert_msg(!nbd_params_parse(cases[i].text, &p, text),
			      "'%s': %s", cases[i].text, text);
		ck_assert_str_eq(p.uri, cases[i].uri);
		ck_assert_str_eq(p.where, cases[i].where);
		ck_assert_uint_eq(p.id.kind, BACKEND_KIND_NBD);
		nbd_params_deinit(&p);
	}
}
END_TEST

START_TEST(keys)
{
	char text[GW_TEXT_MAX];
	struct nbd_params p;

	ck_assert_int_eq(nbd_params_parse("nbd://h", &p, text), 0);
	ck_assert_uint_eq(p.connections, 4);
	ck_assert_uint_eq(p.hold_ns, 30 * NSEC_PER_SEC);
	ck_assert_uint_eq(p.connect_ns, 10 * NSEC_PER_SEC);
	ck_assert(!p.fail_lost_writes);
	nbd_params_deinit(&p);
	ck_assert_int_eq(nbd_params_parse("nbd://h/,connections=16,hold=0,"
					  "connect-timeout=3,lost-writes=fail",
					  &p, text),
			 0);
	ck_assert_uint_eq(p.connections, 16);
	ck_assert_uint_eq(p.hold_ns, 0);
	ck_assert_uint_eq(p.connect_ns, 3 * NSEC_PER_SEC);
	ck_assert(p.fail_lost_writes);
	nbd_params_deinit(&p);
}
END_TEST

START_TEST(bad_texts)
{
	/* The words that help. */
	static const char *const cases[][2] = {
		{"nbd:/h", "it begins with nbd:"},
		{"http://h", "it begins with nbd:"},
		{"nbd:///e", "the host is missing"},
		{"nbd+unix:///e", "the socket is missing"},
		{"nbd+unix:///e?socket=", "the socket is missing"},
		{"nbd+unix://h/e?socket=/a", "three slashes"},
		{"nbd://h/a b", "printable ASCII only"},
		{"nbd://h/\xc3\xa4", "printable ASCII only"},
		{"nbd://h/a,b", "a comma of the URI is %2C"},
		{"nbd://h,", "a comma of the URI is %2C"},
		{"nbd://h,holds=3", "'holds=3'"},
		{"nbd://h,connections=0", "from 1 to 16"},
		{"nbd://h,connections=17", "from 1 to 16"},
		{"nbd://h,hold=-1", "from 0 to 86400"},
		{"nbd://h,hold=", "from 0 to 86400"},
		{"nbd://h,hold=1s", "from 0 to 86400"},
		{"nbd://h,connect-timeout=0", "from 1 to 300"},
		{"nbd://h,lost-writes=maybe", "give warn or fail"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[GW_TEXT_MAX] = "";
		struct nbd_params p;

		ck_assert_int_eq(nbd_params_parse(cases[i][0], &p, text),
				 -EINVAL);
		ck_assert_msg(strstr(text, cases[i][1]) != NULL, "'%s': %s",
			      cases[i][0], text);
	}
}
END_TEST

static bool
same(const char *a, const char *b)
{
	char text[GW_TEXT_MAX];
	struct nbd_params pa, pb;
	bool r;

	ck_assert_int_eq(nbd_params_parse(a, &pa, text), 0);
	ck_assert_int_eq(nbd_params_parse(b, &pb, text), 0);
	r = !memcmp(&pa.id, &pb.id, sizeof(pa.id));
	nbd_params_deinit(&pa);
	nbd_params_deinit(&pb);
	return r;
}

START_TEST(identity)
{
	ck_assert(same("nbd://h/e", "nbd://h:10809/e"));
	ck_assert(same("nbd://Host/e", "nbds://me@hOST/e,hold=3"));
	ck_assert(same("nbd://h", "nbd://h/"));
	ck_assert(same("nbd://h/a%62c", "nbd://h/abc"));
	ck_assert(same("nbd+unix:///e?socket=/a%2fb",
		       "nbds+unix:///e?tls-psk-file=/k&socket=/a/b"));
	ck_assert(!same("nbd://h/e", "nbd://h/E"));
	ck_assert(!same("nbd://h/e", "nbd://h:1/e"));
	ck_assert(!same("nbd://h/e", "nbd://i/e"));
	ck_assert(!same("nbd://h/e", "nbd+unix:///e?socket=h"));
	ck_assert(!same("nbd+unix:///e?socket=/a", "nbd+unix:///?socket=/a"));
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, good_texts);
	tcase_add_test(tc, keys);
	tcase_add_test(tc, bad_texts);
	tcase_add_test(tc, identity);
}

int
main(void)
{
	return rig_main("backend/nbd-params", add_tests);
}
