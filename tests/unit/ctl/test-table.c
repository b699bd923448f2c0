/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows as a table, CSV, XML and JSON; fields, units, totals. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "capture.h"
#include "gateway/ctl/ctl.h"

static const struct column columns[] = {
	{"name", "Name", COL_TEXT, false, NULL, "a name"},
	{"size", "Size", COL_BYTES, true, "deep.size_bytes", "bytes"},
	{"cnt", "Cnt", COL_NUM, true, NULL, "a number"},
	{"two", "Two", COL_JOIN, false, "cnt deep.size_bytes", "both"},
	{"on", "On", COL_BOOL, false, NULL, "a truth"},
	{"took", "Took", COL_TIME, false, "took_ns", "a time"},
	{NULL},
};

static const struct table t = {
	.noun = "thing",
	.nouns = "things",
	.columns = columns,
	.def = "name,size,cnt",
};

/* The second name could steer a terminal, and needs quotes in CSV and XML. */
static const char rows_text[] =
	"[{\"name\":\"one\",\"deep\":{\"size_bytes\":1536},\"cnt\":7,"
	"\"on\":true,\"took_ns\":1500},"
	"{\"name\":\"a,\\\"<\\u001b[2J\",\"deep\":{\"size_bytes\":1048576},"
	"\"cnt\":12,\"on\":false}]";

static const char *
print(const struct ctl *ctl, const char *text, int want)
{
	json_t *rows = json_loads(text, 0, NULL);
	int r;

	ck_assert_ptr_nonnull(rows);
	capture_begin();
	r = table_print(ctl, &t, rows, NULL);
	json_decref(rows);
	text = capture_end();
	ck_assert_int_eq(r, want);
	return text;
}

static const struct {
	struct ctl ctl;
	const char *want;
} golden[] = {
	{{0},
	 "Name      Size  Cnt\n"
	 "one       1.5K    7\n"
	 "a,\"<?[2J  1.0M   12\n"
	 "          1.0M   19\n"},
	{{.nototals = true, .noheaders = true, .unit = 'K'},
	 "one          1.5   7\n"
	 "a,\"<?[2J  1024.0  12\n"},
	{{.fields = "two,on,took"},
	 "Two         On    Took\n"
	 "7 1536      yes  1.5us\n"
	 "12 1048576  no       -\n"},
	{{.fields = "-size"},
	 "Name      Cnt\n"
	 "one         7\n"
	 "a,\"<?[2J   12\n"
	 "           19\n"},
	{{.fields = "+on,on", .nototals = true},
	 "Name      Size  Cnt  On\n"
	 "one       1.5K    7  yes\n"
	 "a,\"<?[2J  1.0M   12  no\n"},
	{{.format = CTL_CSV, .fields = "all"},
	 "name,size,cnt,two,on,took\n"
	 "one,1536,7,7 1536,yes,1500\n"
	 "\"a,\"\"<?[2J\",1048576,12,12 1048576,no,0\n"},
	{{.format = CTL_CSV, .noheaders = true, .fields = "size", .unit = 'M'},
	 "0.0\n1.0\n"},
	{{.format = CTL_XML},
	 "<things>\n"
	 "  <thing name=\"one\" size=\"1536\" cnt=\"7\"/>\n"
	 "  <thing name=\"a,&#34;&#60;?[2J\" size=\"1048576\" cnt=\"12\"/>\n"
	 "</things>\n"},
	{{.format = CTL_JSON, .fields = "name,size,two"},
	 "[\n"
	 "  {\n"
	 "    \"name\": \"one\",\n"
	 "    \"size\": 1536,\n"
	 "    \"two\": \"7 1536\"\n"
	 "  },\n"
	 "  {\n"
	 "    \"name\": \"a,\\\"<\\u001B[2J\",\n"
	 "    \"size\": 1048576,\n"
	 "    \"two\": \"12 1048576\"\n"
	 "  }\n"
	 "]\n"},
	{{.format = CTL_JSON, .fields = "size", .unit = 'K'},
	 "[\n"
	 "  {\n"
	 "    \"size\": 1.5\n"
	 "  },\n"
	 "  {\n"
	 "    \"size\": 1024.0\n"
	 "  }\n"
	 "]\n"},
};

START_TEST(rows_are_printed)
{
	ck_assert_str_eq(print(&golden[_i].ctl, rows_text, CTL_OK),
			 golden[_i].want);
}
END_TEST

START_TEST(nothing_is_headers_only)
{
	static const struct ctl table = {0}, json = {.format = CTL_JSON},
				csv = {.format = CTL_CSV};

	ck_assert_str_eq(print(&table, "[]", CTL_OK), "Name  Size  Cnt\n");
	ck_assert_str_eq(print(&json, "[]", CTL_OK), "[]\n");
	ck_assert_str_eq(print(&csv, "[]", CTL_OK), "name,size,cnt\n");
}
END_TEST

/* What a daemon of another version does not tell. */
START_TEST(missing_values_are_empty)
{
	static const struct ctl all = {.fields = "all", .noheaders = true};
	static const struct ctl json = {.format = CTL_JSON, .fields = "name"};

	ck_assert_str_eq(print(&all, "[{}]", CTL_OK), "  0  0  0 0  no  -\n");
	ck_assert_str_eq(print(&json, "[{}]", CTL_OK),
			 "[\n  {\n    \"name\": null\n  }\n]\n");
}
END_TEST

START_TEST(unknown_fields_are_named)
{
	static const struct ctl unknown = {.fields = "name,nix"};
	static const struct ctl none = {.fields = "-name,size,cnt"};

	ck_assert_str_eq(print(&unknown, "[]", CTL_USAGE),
			 "rnbdctl: error: 'nix': no field of a thing; see "
			 "`thing list help`\n");
	ck_assert_str_eq(print(&none, "[]", CTL_USAGE),
			 "rnbdctl: error: no fields are left to print\n");
}
END_TEST

static const struct {
	json_int_t bytes;
	char unit;
	const char *want;
} sizes[] = {
	{0, 0, "0"},          {1023, 0, "1023"},      {1024, 0, "1.0K"},
	{1048575, 0, "1.0M"}, {INT64_MAX, 0, "8.0E"}, {1536, 'B', "1536"},
	{1536, 'K', "1.5"},   {1536, 'G', "0.0"},
};

START_TEST(sizes_fit)
{
	char buf[32];

	ck_assert_str_eq(
		bytes_text(sizes[_i].bytes, sizes[_i].unit, buf, sizeof(buf)),
		sizes[_i].want);
}
END_TEST

static const struct {
	double ns;
	const char *want;
} times[] = {
	{0, "-"},        {1, "1ns"},          {999, "999ns"},
	{1000, "1.0us"}, {999960, "1.0ms"},   {1500000, "1.5ms"},
	{2.5e9, "2.5s"}, {3600e9, "3600.0s"},
};

START_TEST(times_fit)
{
	char buf[32];

	ck_assert_str_eq(time_text(times[_i].ns, buf, sizeof(buf)),
			 times[_i].want);
}
END_TEST

/* Every field by default is one, and every key is short enough. */
START_TEST(tables_of_all_nouns_are_sound)
{
	static const struct table *const all[] = {&session_table, &device_table,
						  &path_table, &export_table};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct choice ch;
		char err[256];
		unsigned n = 0;

		ck_assert(table_choose(all[i], NULL, false, &ch, err,
				       sizeof(err)));
		ck_assert(table_choose(all[i], all[i]->def, false, &ch, err,
				       sizeof(err)));
		for (const struct column *c = all[i]->columns; c->name; c++) {
			n++;
			ck_assert_ptr_nonnull(c->help);
			ck_assert(c->kind != COL_JOIN || c->key);
		}
		ck_assert(table_choose(all[i], "all", false, &ch, err,
				       sizeof(err)));
		ck_assert_uint_eq(ch.n, n);
	}
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ctl/table");
	TCase *tc = tcase_create("table");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(tc, rows_are_printed, 0, ARRAY_SIZE(golden));
	tcase_add_test(tc, nothing_is_headers_only);
	tcase_add_test(tc, missing_values_are_empty);
	tcase_add_test(tc, unknown_fields_are_named);
	tcase_add_loop_test(tc, sizes_fit, 0, ARRAY_SIZE(sizes));
	tcase_add_loop_test(tc, times_fit, 0, ARRAY_SIZE(times));
	tcase_add_test(tc, tables_of_all_nouns_are_sound);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
