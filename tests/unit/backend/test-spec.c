/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

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
		{"a=/x,y=z", "a", "/x,y=z", GW_SPEC_FILE, 0, false, false},
		{"/dev/a b=null:1T", "/dev/a b", NULL, GW_SPEC_NULL,
		 UINT64_C(1) << 40, false, false},
		{"m=memory:1M,ro", "m", NULL, GW_SPEC_MEMORY, 1 << 20, true,
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

START_TEST(bad_specs_say_why)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "export '': '=' is missing: give NAME=SPEC"},
		{"disk0", "export 'disk0': '=' is missing: give NAME=SPEC"},
		{"=/x", "export: the name is empty: give NAME=SPEC"},
		{"a=", "export 'a': it needs a path, file:PATH, memory:SIZE or "
		       "null:SIZE"},
		{"a=,ro", "export 'a': it needs a path, file:PATH, memory:SIZE "
			  "or null:SIZE"},
		{"a=file:", "export 'a': it needs a path, file:PATH, "
			    "memory:SIZE or null:SIZE"},
		{"a=memory:", "export 'a': '' is no size: give a number, with "
			      "K, M, G or T"},
		{"a=memory:1X", "export 'a': '1X' is no size: give a number, "
				"with K, M, G or T"},
		{"a=memory:1G,rw", "export 'a': '1G,rw' is no size: give a "
				   "number, with K, M, G or T"},
		{"a=null:0", "export 'a': the size '0' is no multiple of 512"},
		{"a=null:1000",
		 "export 'a': the size '1000' is no multiple of 512"},
		{"a=null:99999999T",
		 "export 'a': the size '99999999T' is too large"},
		{"a=memory:1M,buffered",
		 "export 'a': ',buffered' is for files only"},
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
	tcase_add_test(tc, bad_specs_say_why);
	tcase_add_test(tc, names_may_have_254_characters);
	tcase_add_test(tc, text_is_printable_and_fits);
}

int
main(void)
{
	return rig_main("backend/spec", add_tests);
}
