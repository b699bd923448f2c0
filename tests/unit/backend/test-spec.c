/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "gateway/export-conf.h"
#include "gateway/spec.h"
#include "tests/unit/backend/rig.h"

START_TEST(sizes)
{
	static const struct {
		const char *text;
		int err;
		uint64_t size;
	} cases[] = {
		{"0", 0, 0},
		{"512", 0, 512},
		{"1K", 0, 1024},
		{"1k", 0, 1024},
		{"3M", 0, 3 << 20},
		{"2G", 0, UINT64_C(2) << 30},
		{"7T", 0, UINT64_C(7) << 40},
		{"9223372036854775807", 0, INT64_MAX},
		{"9223372036854775808", -ERANGE, 0},
		{"8388608T", -ERANGE, 0},
		{"18446744073709551616", -ERANGE, 0},
		{"99999999999999999999999", -ERANGE, 0},
		{"", -EINVAL, 0},
		{"K", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"+1", -EINVAL, 0},
		{" 1", -EINVAL, 0},
		{"1 ", -EINVAL, 0},
		{"1KB", -EINVAL, 0},
		{"1P", -EINVAL, 0},
		{"1.5G", -EINVAL, 0},
		{"0x10", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t size = 77;
		int err = gw_size_parse(cases[i].text, &size);

		ck_assert_msg(err == cases[i].err, "'%s': %d", cases[i].text,
			      err);
		ck_assert_uint_eq(size, err ? 77 : cases[i].size);
	}
}
END_TEST

START_TEST(good_specs)
{
	static const struct {
		const char *text, *name, *path;
		enum gw_spec_kind kind;
		uint64_t size;
		bool read_only, buffered;
	} cases[] = {
		{"a=/x", "a", "/x", GW_SPEC_FILE, 0, false, false},
		{"a=x.img", "a", "x.img", GW_SPEC_FILE, 0, false, false},
		{"a=file:/x", "a", "/x", GW_SPEC_FILE, 0, false, false},
		{"a=file:memory:1", "a", "memory:1", GW_SPEC_FILE, 0, false,
		 false},
		{"a=/x,ro", "a", "/x", GW_SPEC_FILE, 0, true, false},
		{"a=/x,buffered", "a", "/x", GW_SPEC_FILE, 0, false, true},
		{"a=/x,ro,buffered", "a", "/x", GW_SPEC_FILE, 0, true, true},
		{"a=/x,buffered,ro", "a", "/x", GW_SPEC_FILE, 0, true, true},
		{"a=/x,read-only=yes,cache=buffered", "a", "/x", GW_SPEC_FILE,
		 0, true, true},
		{"a=/x,read-only=no,cache=direct", "a", "/x", GW_SPEC_FILE, 0,
		 false, false},
		{"a=/x,y=z", "a", "/x,y=z", GW_SPEC_FILE, 0, false, false},
		{"a=/x,y,ro", "a", "/x,y", GW_SPEC_FILE, 0, true, false},
		{"/dev/a b=null:1T", "/dev/a b", NULL, GW_SPEC_NULL,
		 UINT64_C(1) << 40, false, false},
		{"m=memory:1M,ro", "m", NULL, GW_SPEC_MEMORY, 1 << 20, true,
		 false},
		{"n=nbd://h:1/e,ro", "n", "nbd://h:1/e", GW_SPEC_NBD, 0, true,
		 false},
		{"n=nbds+unix:///e?socket=/s", "n", "nbds+unix:///e?socket=/s",
		 GW_SPEC_NBD, 0, false, false},
		{"n=file:nbd://h", "n", "nbd://h", GW_SPEC_FILE, 0, false,
		 false},
	};
	char text[GW_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gw_spec spec;
		int err = gw_spec_parse(cases[i].text, &spec, text);

		ck_assert_msg(!err, "%s: %s", cases[i].text, text);
		ck_assert_str_eq(spec.name, cases[i].name);
		ck_assert_int_eq(spec.kind, cases[i].kind);
		ck_assert_pstr_eq(spec.path, cases[i].path);
		ck_assert_uint_eq(spec.size, cases[i].size);
		ck_assert(spec.read_only == cases[i].read_only);
		ck_assert(spec.buffered == cases[i].buffered);
		gw_spec_deinit(&spec);
	}
}
END_TEST

START_TEST(every_attribute_has_its_place)
{
	char text[GW_TEXT_MAX], short_text[12];
	struct gw_spec spec, copy;

	ck_assert_int_eq(gw_spec_parse("a=/x,writethrough,create=1G,iops=500,"
				       "bandwidth=10M,sessions=web-*,"
				       "addresses=10.0.0.0/8,sessions=db",
				       &spec, text),
			 0);
	ck_assert(spec.writethrough && !spec.buffered && !spec.read_only);
	ck_assert_uint_eq(spec.create, 1 << 30);
	ck_assert_uint_eq(spec.iops, 500);
	ck_assert_uint_eq(spec.bandwidth, 10 << 20);
	ck_assert_uint_eq(spec.sessions.n, 2);
	ck_assert(gw_name_list_match(&spec.sessions, "web-1"));
	ck_assert(gw_name_list_match(&spec.sessions, "db"));
	ck_assert(!gw_name_list_match(&spec.sessions, "mail"));
	ck_assert_uint_eq(spec.addresses.n, 1);
	ck_assert_str_eq(gw_spec_text(&spec, text, sizeof(text)),
			 "/x,writethrough,create=1073741824,iops=500,"
			 "bandwidth=10485760");
	ck_assert_str_eq(gw_spec_text(&spec, short_text, sizeof(short_text)),
			 "/x,writethr");

	ck_assert_int_eq(gw_spec_copy(&copy, &spec), 0);
	gw_spec_deinit(&spec);
	ck_assert_str_eq(copy.path, "/x");
	ck_assert_str_eq(copy.name, "a");
	ck_assert(gw_name_list_match(&copy.sessions, "web-1"));
	gw_spec_deinit(&copy);
}
END_TEST

START_TEST(what_makes_another_backend)
{
	static const struct {
		const char *a, *b;
		bool same;
	} cases[] = {
		{"a=/x", "a=/x", true},
		{"a=/x", "b=file:/x", true},
		{"a=/x", "a=/x,iops=1,bandwidth=4K,sessions=s,addresses=::1",
		 true},
		{"a=/x", "a=/x,create=1M", true},
		{"a=/x", "a=/y", false},
		{"a=/x", "a=/x,ro", false},
		{"a=/x", "a=/x,buffered", false},
		{"a=/x", "a=/x,writethrough", false},
		{"a=/x", "a=memory:1M", false},
		{"a=memory:1M", "a=memory:1024K", true},
		{"a=memory:1M", "a=memory:2M", false},
		{"a=memory:1M", "a=null:1M", false},
		{"a=nbd://h", "a=nbd://i", false},
	};
	char text[GW_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gw_spec a, b;

		ck_assert_int_eq(gw_spec_parse(cases[i].a, &a, text), 0);
		ck_assert_int_eq(gw_spec_parse(cases[i].b, &b, text), 0);
		ck_assert_msg(gw_spec_same_backend(&a, &b) == cases[i].same,
			      "%s %s", cases[i].a, cases[i].b);
		ck_assert(gw_spec_same_backend(&b, &a) == cases[i].same);
		gw_spec_deinit(&a);
		gw_spec_deinit(&b);
	}
}
END_TEST

START_TEST(bad_specs_say_why)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "export '': '=' is missing: give NAME=SPEC"},
		{"disk0", "export 'disk0': '=' is missing: give NAME=SPEC"},
		{"=/x", "export '': the name is empty"},
		{"a=", "export 'a': it needs a path, file:PATH, memory:SIZE, "
		       "null:SIZE or an NBD URI"},
		{"a=,ro", "export 'a': it needs a path, file:PATH, "
			  "memory:SIZE, null:SIZE or an NBD URI"},
		{"a=file:", "export 'a': it needs a path, file:PATH, "
			    "memory:SIZE, null:SIZE or an NBD URI"},
		{"a=memory:", "export 'a': '' is no size: give a number, with "
			      "K, M, G or T"},
		{"a=memory:1X", "export 'a': '1X' is no size: give a number, "
				"with K, M, G or T"},
		{"a=memory:1G,rw",
		 "export 'a': 'rw' behind memory:1G: known are ro, buffered, "
		 "writethrough, and KEY=VALUE as in [export] of rnbd-gatewayd "
		 "--list-keys"},
		{"a=null:1G,roo,ro",
		 "export 'a': 'roo' behind null:1G: known are ro, buffered, "
		 "writethrough, and KEY=VALUE as in [export] of rnbd-gatewayd "
		 "--list-keys"},
		{"a=null:0", "export 'a': the size '0' is no multiple of 512"},
		{"a=null:1000",
		 "export 'a': the size '1000' is no multiple of 512"},
		{"a=null:99999999T",
		 "export 'a': the size '99999999T' is too large"},
		{"a=memory:1M,buffered",
		 "export 'a': 'buffered' is for files and devices only"},
		{"a=nbd://h/,cache=buffered",
		 "export 'a': 'buffered' is for files and devices only"},
		{"a=memory:1M,create=1M",
		 "export 'a': 'create' is for files only"},
		{"a=/x,create=1M,ro",
		 "export 'a': nothing could be written to a file that is "
		 "created read-only: leave out one of the two"},
		{"a=/x,create=1", "export 'a': create: the size '1' is no "
				  "multiple of 512"},
		{"a=/x,create=big", "export 'a': create: 'big' is no size: "
				    "give a number, with K, M, G or T"},
		{"a=/x,read-only=1", "export 'a': read-only: give yes or no"},
		{"a=/x,writethrough=on",
		 "export 'a': writethrough: give yes or no"},
		{"a=/x,cache=none", "export 'a': cache: give direct or "
				    "buffered"},
		{"a=/x,iops=-1", "export 'a': iops: give a number of "
				 "operations per second up to 100000000, 0 for "
				 "no limit"},
		{"a=/x,iops=1K", "export 'a': iops: give a number of "
				 "operations per second up to 100000000, 0 for "
				 "no limit"},
		{"a=/x,iops=100000001",
		 "export 'a': iops: give a number of operations per second up "
		 "to 100000000, 0 for no limit"},
		{"a=/x,bandwidth=fast",
		 "export 'a': bandwidth: give a number of bytes per second "
		 "from 4096 on, with K, M, G or T, or 0 for no limit"},
		{"a=/x,bandwidth=4095",
		 "export 'a': bandwidth: give a number of bytes per second "
		 "from 4096 on, with K, M, G or T, or 0 for no limit"},
		{"a=/x,iops=1,ro,iops=2", "export 'a': iops is given twice"},
		{"a=/x,ro,read-only=no",
		 "export 'a': read-only is given twice"},
		{"a..b=/x", "export 'a..b': no client can open a name with "
			    "\"..\" in it"},
		{"a\nb=/x",
		 "export 'a?b': the name may hold printable ASCII only"},
	};
	char text[GW_TEXT_MAX];
	struct gw_spec spec;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ck_assert_msg(gw_spec_parse(cases[i].text, &spec, text) ==
				      -EINVAL,
			      "'%s' was accepted", cases[i].text);
		ck_assert_str_eq(text, cases[i].why);
	}
	ck_assert_int_eq(
		gw_spec_parse("a=/x,addresses=10.0.0.1/8", &spec, text),
		-EINVAL);
	ck_assert_ptr_nonnull(strstr(text, "export 'a': addresses: "));
	ck_assert_ptr_nonnull(strstr(text, "10.0.0.1/8"));
	ck_assert_int_eq(gw_spec_parse("a=/x,sessions=", &spec, text), -EINVAL);
	ck_assert_ptr_nonnull(strstr(text, "export 'a': sessions: "));
}
END_TEST

START_TEST(keys_can_be_set_one_by_one)
{
	char why[CONF_TEXT_MAX], text[GW_TEXT_MAX];
	struct gw_spec spec = {0};

	ck_assert_int_eq(gw_spec_check(&spec, text), -EINVAL);
	ck_assert_str_eq(text, "an export has no name: give it one");
	for (const struct conf_key *k = gw_export_keys; k->name; k++) {
		ck_assert_ptr_nonnull(k->arg);
		ck_assert_ptr_nonnull(k->help);
		if (!strcmp(k->name, "name"))
			ck_assert_int_eq(k->set(&spec, "disk", why), 0);
	}
	ck_assert_int_eq(gw_spec_check(&spec, text), -EINVAL);
	ck_assert_str_eq(text, "export 'disk': it has no backend: give a path, "
			       "memory:SIZE, null:SIZE or an NBD URI");
	for (const struct conf_key *k = gw_export_keys; k->name; k++)
		if (!strcmp(k->name, "backend")) {
			ck_assert_int_eq(k->set(&spec, "/first", why), 0);
			ck_assert_int_eq(k->set(&spec, "memory:1M", why), 0);
			ck_assert_int_eq(k->set(&spec, "null:x", why), -EINVAL);
		}
	ck_assert_int_eq(gw_spec_check(&spec, text), 0);
	ck_assert_int_eq(spec.kind, GW_SPEC_MEMORY);
	gw_spec_deinit(&spec);
}
END_TEST

START_TEST(names_may_have_254_characters)
{
	char name_spec[300], text[GW_TEXT_MAX];
	struct gw_spec spec;

	memset(name_spec, 'n', 254);
	strcpy(name_spec + 254, "=null:1M");
	ck_assert_int_eq(gw_spec_parse(name_spec, &spec, text), 0);
	ck_assert_uint_eq(strlen(spec.name), 254);
	gw_spec_deinit(&spec);
	memset(name_spec, 'n', 255);
	strcpy(name_spec + 255, "=null:1M");
	ck_assert_int_eq(gw_spec_parse(name_spec, &spec, text), -EINVAL);
	ck_assert_ptr_nonnull(
		strstr(text, "nnn...': the name is longer than 254"));
}
END_TEST

START_TEST(text_is_printable_and_fits)
{
	char dst[8];

	ck_assert_str_eq(gw_text_printable(dst, 8, "abc"), "abc");
	ck_assert_str_eq(gw_text_printable(dst, 8, "abcdefg"), "abcdefg");
	ck_assert_str_eq(gw_text_printable(dst, 8, "abcdefgh"), "abcd...");
	ck_assert_str_eq(gw_text_printable(dst, 8, "a\x1b\xff\x7f~ "),
			 "a???~ ");
	ck_assert_str_eq(gw_text_printable(dst, 8, ""), "");
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, sizes);
	tcase_add_test(tc, good_specs);
	tcase_add_test(tc, every_attribute_has_its_place);
	tcase_add_test(tc, what_makes_another_backend);
	tcase_add_test(tc, bad_specs_say_why);
	tcase_add_test(tc, keys_can_be_set_one_by_one);
	tcase_add_test(tc, names_may_have_254_characters);
	tcase_add_test(tc, text_is_printable_and_fits);
}

int
main(void)
{
	return rig_main("backend/spec", add_tests);
}
