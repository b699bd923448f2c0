/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration files: what is read, in which order, and each way to err. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/conf.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static char dir[64];
static char err[CONF_TEXT_MAX];

/* What was read: "main.size=1 main.word=a +item item.name=x -item ". */
static char seen[32768];

static void __attribute__((format(printf, 1, 2))) note(const char *fmt, ...)
{
	size_t len = strlen(seen);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(seen + len, sizeof(seen) - len, fmt, ap);
	va_end(ap);
}

static int
set_size(void *obj, const char *value, char text[CONF_TEXT_MAX])
{
	if (strspn(value, "0123456789") != strlen(value) || !*value) {
		snprintf(text, CONF_TEXT_MAX, "give a number");
		return -EINVAL;
	}
	note("%s.size=%s ", (char *)obj, value);
	return 0;
}

static int
set_word(void *obj, const char *value, char text[CONF_TEXT_MAX])
{
	note("%s.word=%s ", (char *)obj, value);
	return 0;
}

static int
begin_main(void *user, void **ret_obj, char text[CONF_TEXT_MAX])
{
	note("+%s ", (char *)user);
	*ret_obj = user;
	return 0;
}

static int
end_main(void *user, void *obj, char text[CONF_TEXT_MAX])
{
	note("-%s ", (char *)user);
	return 0;
}

static void
abort_main(void *user, void *obj)
{
	note("!%s ", (char *)user);
}

struct item {
	bool sized;
};

static int
begin_item(void *user, void **ret_obj, char text[CONF_TEXT_MAX])
{
	note("+item ");
	*ret_obj = calloc(1, sizeof(struct item));
	return *ret_obj ? 0 : -ENOMEM;
}

static int
item_size(void *obj, const char *value, char text[CONF_TEXT_MAX])
{
	struct item *i = obj;

	i->sized = true;
	return set_size((void *)(uintptr_t) "item", value, text);
}

static int
item_word(void *obj, const char *value, char text[CONF_TEXT_MAX])
{
	return set_word((void *)(uintptr_t) "item", value, text);
}

static int
end_item(void *user, void *obj, char text[CONF_TEXT_MAX])
{
	struct item *i = obj;

	if (!i->sized) {
		snprintf(text, CONF_TEXT_MAX, "size is missing");
		return -EINVAL;
	}
	note("-item ");
	free(i);
	return 0;
}

static void
abort_item(void *user, void *obj)
{
	note("!item ");
	free(obj);
}

static const struct conf_key main_keys[] = {
	{"size", "N", "a number", set_size},
	{"word", "WORD", "any number of words", set_word, true},
	{0},
};
static const struct conf_key item_keys[] = {
	{"size", "N", "a number", item_size},
	{"word", "WORD", "any number of words", item_word, true},
	{0},
};
static const struct conf_section sections[] = {
	{"main", main_keys, false, begin_main, end_main, abort_main},
	{"item", item_keys, true, begin_item, end_item, abort_item},
	{0},
};

static void
setup(void)
{
	strcpy(dir, "/tmp/test-conf-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	seen[0] = '\0';
	err[0] = '\0';
}

static void
teardown(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(system(cmd), 0);
}

static void
put_bytes(const char *path, const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static void
put(const char *path, const char *text)
{
	put_bytes(path, text, strlen(text));
}

static int
get(const char *path)
{
	char user[] = "main";

	return conf_read(path, sections, user, err);
}

#define ck_read(path, what)                                                    \
	do {                                                                   \
		int r_ = get(path);                                            \
		ck_assert_msg(!r_, "%s", err);                                 \
		ck_assert_str_eq(seen, what);                                  \
	} while (0)

/* ----------------------------------------------------------------- good */

static const struct {
	const char *text, *seen;
} good[] = {
	{"", ""},
	{"# nothing\n; at all\n\n   # indented\n", ""},
	{"[main]\n", "+main -main "},
	{"[main]\nsize = 1\n", "+main main.size=1 -main "},
	{"[main]\nsize=1", "+main main.size=1 -main "},
	{"[main]\r\nsize = 1\r\n", "+main main.size=1 -main "},
	{"\xef\xbb\xbf[main]\nsize = 1\n", "+main main.size=1 -main "},
	/* Indentation has no meaning, as in a unit of systemd. */
	{"  [main]\n\tsize = 1\n  word = a  \n",
	 "+main main.size=1 main.word=a -main "},
	{"[main]\nword = a\nword = b\n",
	 "+main main.word=a main.word=b -main "},
	/* Any other character belongs to the value. */
	{"[main]\nword = a=b:c;d # [e] \"f\"\n",
	 "+main main.word=a=b:c;d # [e] \"f\" -main "},
	{"[main]\nword = \xc3\xa4\n", "+main main.word=\xc3\xa4 -main "},
	{"[main]\nword =\n", "+main main.word= -main "},
	{"[main]\nword = a\tb\n", "+main main.word=a\tb -main "},
	/* One goes on, the other begins anew. */
	{"[main]\nsize = 1\n[item]\nsize = 2\n[item]\nsize = 3\nword = x\n"
	 "[main]\nword = z\n",
	 "+main main.size=1 +item item.size=2 -item +item item.size=3 "
	 "item.word=x -item main.word=z -main "},
};

START_TEST(what_is_written_is_read)
{
	put("c", good[_i].text);
	ck_read("c", good[_i].seen);
}
END_TEST

START_TEST(long_lines_are_whole)
{
	char text[4096] = "[main]\nword = ", want[4200];
	size_t len = strlen(text);

	memset(text + len, 'v', 1000);
	text[len + 1000] = '\0';
	snprintf(want, sizeof(want), "+main main.word=%s -main ", text + len);
	put("c", text);
	ck_read("c", want);
}
END_TEST

/* ---------------------------------------------------------------- wrong */

#define LINE "give a [section], name = value, or a comment after '#' or ';'"
#define COMMENT                                                                \
	"a comment stands on a line of its own; \" ;\" cannot be part of a "   \
	"value"
#define X49 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct {
	const char *text, *err;
} wrong[] = {
	{"[main]\nsize = x\n", "c:2: size = x: give a number"},
	{"[main]\n\n\nsize =\n", "c:4: size =: give a number"},
	{"[main]\nsize = 1\nsize = 2\n", "c:3: size = 2: already given at c:2"},
	{"[main]\nsize = 1\n[item]\nsize = 2\n[main]\nsize = 1\n",
	 "c:6: size = 1: already given at c:2"},
	{"[item]\nsize = 1\nsize = 2\n", "c:3: size = 2: already given at c:2"},
	{"[main]\nsizes = 1\n",
	 "c:2: sizes = 1: [main] has no such key; did you mean 'size'?"},
	{"[main]\nSize = 1\n",
	 "c:2: Size = 1: [main] has no such key; did you mean 'size'?"},
	{"[main]\ncolour = 1\n",
	 "c:2: colour = 1: [main] has no such key; accepted: size, word"},
	{"[man]\n", "c:1: [man]: unknown section; did you mean 'main'?"},
	{"[]\n", "c:1: []: unknown section; accepted: main, item"},
	{"[ main ]\n", "c:1: [ main ]: unknown section; did you mean 'main'?"},
	{"[thing]\n", "c:1: [thing]: unknown section; accepted: main, item"},
	{"size = 1\n", "c:1: size = 1: it stands before the first section, "
		       "such as [main]"},
	{"[item]\nword = a\n\n[main]\n", "c:1: [item]: size is missing"},
	{"[item]\nsize = 1\n\n[item]\n", "c:4: [item]: size is missing"},
	{"[item]\nsize = 1\ninclude = d\n",
	 "c:3: include = d: not in [item]; give it before the first section, "
	 "or in [main]"},
	/* What inih would drop or take for something else. */
	{"[main]\nsize\n", "c:2: size: " LINE},
	{"[main]\nsize: 1\n", "c:2: size: 1: " LINE},
	{"[main]\nword = a ; b\n", "c:2: word = a ; b: " COMMENT},
	{"[main] ; the one\n", "c:1: [main] ; the one: " COMMENT},
	{"[main] # one\n",
	 "c:1: [main] # one: nothing may follow the ']' of a section"},
	{"[main\n", "c:1: [main: the ']' of the section is missing"},
	{"[main]\n= 1\n", "c:2: = 1: the name before '=' is missing"},
	{"[main]\n" X49 "x = 1\n",
	 "c:2: " X49 "x = 1: no key has such a long name"},
	{"[" X49 "x]\n", "c:1: [" X49 "x]: no section has such a long name"},
	{"[" X49 "]\n",
	 "c:1: [" X49 "]: unknown section; accepted: main, item"},
	{"[main]\nword = a\x01z\n", "c:2: word = a?z: a control character"},
	{"[main]\nword = a\rz\n", "c:2: word = a?z: a control character"},
	{"[main]\ninclude =\n", "c:2: include =: give a file or a directory"},
	{"[main]\ninclude = nowhere\n",
	 "c:2: include = nowhere: No such file or directory"},
	{"include = c\n", "c:1: include = c: the file includes itself"},
};

START_TEST(mistakes_are_named)
{
	put("c", wrong[_i].text);
	ck_assert_int_lt(get("c"), 0);
	ck_assert_str_eq(err, wrong[_i].err);
}
END_TEST

START_TEST(nul_is_refused)
{
	static const char text[] = "[main]\nword = a\0b\n";

	put_bytes("c", text, sizeof(text) - 1);
	ck_assert_int_eq(get("c"), -EINVAL);
	ck_assert_str_eq(err, "c:2: a NUL byte");
}
END_TEST

START_TEST(too_long_lines_are_refused)
{
	static char text[100000];

	memset(text, 'v', sizeof(text) - 1);
	put("c", text);
	ck_assert_int_eq(get("c"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "c:1: a line has at most "));
}
END_TEST

START_TEST(missing_file_is_named)
{
	ck_assert_int_eq(get("c"), -ENOENT);
	ck_assert_str_eq(err, "c: No such file or directory");
	ck_assert_int_eq(get("."), -EISDIR);
	ck_assert_str_eq(err, ".: Is a directory");
}
END_TEST

/* After a failure nothing is ended that was not complete. */
START_TEST(failure_gives_objects_up)
{
	put("c", "[main]\n[item]\nsize = 1\n[item]\nsize = x\n");
	ck_assert_int_eq(get("c"), -EINVAL);
	ck_assert_str_eq(seen,
			 "+main +item item.size=1 -item +item !main !item ");
	seen[0] = '\0';
	put("c", "[main]\n[item]\nword = x\n");
	ck_assert_int_eq(get("c"), -EINVAL);
	ck_assert_str_eq(seen, "+main +item item.word=x !main !item ");
}
END_TEST

/* ------------------------------------------------------------- includes */

START_TEST(directory_is_read_in_order)
{
	ck_assert_int_eq(mkdir("d", 0700), 0);
	put("d/20-b.conf", "[main]\nword = b\n");
	put("d/10-a.conf", "[main]\nword = a\n[item]\nsize = 1\n");
	put("d/Z.conf", "[main]\nword = Z\n");
	put("d/30-c.conf~", "nonsense\n");
	put("d/.hidden.conf", "nonsense\n");
	put("c", "[main]\nword = 1\ninclude = d\nword = 2\n");
	ck_read("c", "+main main.word=1 main.word=a +item item.size=1 -item "
		     "main.word=b main.word=Z main.word=2 -main ");
}
END_TEST

START_TEST(empty_directory_is_fine)
{
	ck_assert_int_eq(mkdir("d", 0700), 0);
	put("c", "include = d\n");
	ck_read("c", "");
}
END_TEST

/* A path is relative to the file that holds it, not to the process. */
START_TEST(paths_are_relative_to_their_file)
{
	char path[128];

	ck_assert_int_eq(mkdir("d", 0700), 0);
	put("d/a", "include = b\n");
	put("d/b", "[main]\nword = b\n");
	put("c", "include = d/a\n");
	ck_assert_int_eq(chdir("/"), 0);
	snprintf(path, sizeof(path), "%s/c", dir);
	ck_read(path, "+main main.word=b -main ");
}
END_TEST

START_TEST(keys_repeated_across_files_are_found)
{
	char text[128];

	snprintf(text, sizeof(text), "[main]\nsize = 1\ninclude = %s/i\n", dir);
	put("c", text);
	put("i", "# one\n[main]\nsize = 2\n");
	ck_assert_int_eq(get("c"), -EINVAL);
	snprintf(text, sizeof(text), "%s/i:3: size = 2: already given at c:2",
		 dir);
	ck_assert_str_eq(err, text);
}
END_TEST

START_TEST(an_included_file_needs_a_section)
{
	put("c", "[main]\ninclude = i\n");
	put("i", "size = 2\n");
	ck_assert_int_eq(get("c"), -EINVAL);
	ck_assert_str_eq(err, "i:1: size = 2: it stands before the first "
			      "section, such as [main]");
}
END_TEST

START_TEST(cycles_are_refused)
{
	put("a", "include = b\n");
	put("b", "[main]\nword = x\ninclude = a\n");
	ck_assert_int_eq(get("a"), -EINVAL);
	ck_assert_str_eq(err, "b:3: include = a: the file includes itself");
	/* By any name. */
	put("a", "include = l\n");
	ck_assert_int_eq(symlink("a", "l"), 0);
	ck_assert_int_eq(get("a"), -EINVAL);
	ck_assert_str_eq(err, "a:1: include = l: the file includes itself");
}
END_TEST

START_TEST(depth_is_limited)
{
	char name[8], text[32];

	for (unsigned i = 0; i < CONF_DEPTH_MAX; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		snprintf(text, sizeof(text), "include = f%u\n", i + 1);
		put(name, text);
	}
	snprintf(name, sizeof(name), "f%u", CONF_DEPTH_MAX);
	put(name, "[main]\nword = deep\n");
	ck_assert_int_eq(get("f0"), -EINVAL);
	ck_assert_str_eq(err, "f15:1: include = f16: more than 16 files "
			      "include one another");
	ck_read("f1", "+main main.word=deep -main ");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("config/conf");
	TCase *tc = tcase_create("conf");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, what_is_written_is_read, 0, ARRAY_SIZE(good));
	tcase_add_test(tc, long_lines_are_whole);
	tcase_add_loop_test(tc, mistakes_are_named, 0, ARRAY_SIZE(wrong));
	tcase_add_test(tc, nul_is_refused);
	tcase_add_test(tc, too_long_lines_are_refused);
	tcase_add_test(tc, missing_file_is_named);
	tcase_add_test(tc, failure_gives_objects_up);
	tcase_add_test(tc, directory_is_read_in_order);
	tcase_add_test(tc, empty_directory_is_fine);
	tcase_add_test(tc, paths_are_relative_to_their_file);
	tcase_add_test(tc, keys_repeated_across_files_are_found);
	tcase_add_test(tc, an_included_file_needs_a_section);
	tcase_add_test(tc, cycles_are_refused);
	tcase_add_test(tc, depth_is_limited);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
