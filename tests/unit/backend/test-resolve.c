/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/resolve.h"
#include "tests/unit/backend/rig.h"

struct tree {
	struct rig r;
	char root[128];
};

static void
make_link(const struct tree *t, const char *target, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", t->root, name);
	ck_assert_int_eq(symlink(target, path), 0);
}

static void
make_dir(const struct tree *t, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", t->root, name);
	ck_assert_int_eq(mkdir(path, 0700), 0);
}

/*
 * outside                 beside the root
 * root/disk root/sub/disk root/alice/disk root/bob/disk
 */
static void
tree_init(struct tree *t)
{
	char path[256];

	rig_init(&t->r, true);
	snprintf(t->root, sizeof(t->root), "%s/root", t->r.dir);
	ck_assert_int_eq(mkdir(t->root, 0700), 0);
	make_dir(t, "sub");
	make_dir(t, "alice");
	make_dir(t, "bob");
	rig_file(t->r.dir, "outside", 4096);
	rig_file(t->root, "disk", 512);
	rig_file(t->root, "sub/disk", 1024);
	rig_file(t->root, "alice/disk", 1536);
	rig_file(t->root, "bob/disk", 2048);
	make_link(t, "sub/disk", "link-inside");
	make_link(t, "../disk", "sub/link-up-inside");
	make_link(t, "../outside", "link-out");
	make_link(t, "/etc/passwd", "link-absolute");
	make_link(t, "..", "link-parent");
	make_link(t, "loop", "loop");
	make_link(t, "/proc/self/root", "link-magic");
	snprintf(path, sizeof(path), "%s/fifo", t->root);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
}

/* The size of what was found, or the error. */
static long
lookup(const struct gw_search *s, const char *sess_name, const char *name,
       char text[GW_TEXT_MAX])
{
	char path[GW_PATH_MAX];
	struct stat st;
	int fd, err;

	text[0] = '\0';
	err = gw_search_open(s, sess_name, name, false, &fd, path, text);
	if (err) {
		ck_assert_str_ne(text, "");
		return err;
	}
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	return st.st_size;
}

START_TEST(names_below_the_root)
{
	static const struct {
		const char *name;
		long ret;
		const char *text;
	} cases[] = {
		{"disk", 512, ""},
		{"/disk", 512, ""},
		{"///disk", 512, ""},
		{"sub/disk", 1024, ""},
		{"/sub//disk", 1024, ""},
		{"./disk", 512, ""},
		{"link-inside", 1024, ""},
		{"sub/link-up-inside", 512, ""},
		{"missing", -ENOENT, "no such export 'missing'"},
		{"disk/x", -ENOTDIR, "no such export 'disk/x'"},
		{"bad\033[31m", -ENOENT, "no such export 'bad?[31m'"},
		{"sub", -ENOTBLK,
		 "'sub' is neither a regular file nor a block device"},
		{"/", -ENOTBLK,
		 "'/' is neither a regular file nor a block device"},
		{"fifo", -ENOTBLK,
		 "'fifo' is neither a regular file nor a block device"},
		{"link-out", -EACCES,
		 "'link-out' leads out of the search path: only relative "
		 "symbolic links within it are followed"},
		{"link-absolute", -EACCES,
		 "'link-absolute' leads out of the search path: only relative "
		 "symbolic links within it are followed"},
		{"link-parent/outside", -EACCES,
		 "'link-parent/outside' leads out of the search path: only "
		 "relative symbolic links within it are followed"},
		{"../outside", -EACCES,
		 "'../outside' leads out of the search path: only relative "
		 "symbolic links within it are followed"},
		{"link-magic/etc/passwd", -EACCES,
		 "'link-magic/etc/passwd' leads out of the search path: only "
		 "relative symbolic links within it are followed"},
		{"loop", -EACCES,
		 "'loop' leads through symbolic links that are not followed"},
	};
	char text[GW_TEXT_MAX];
	struct gw_search *s;
	struct tree t;

	tree_init(&t);
	ck_assert_int_eq(gw_search_new(t.root, &s, text), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		long ret = lookup(s, "alice", cases[i].name, text);

		ck_assert_msg(ret == cases[i].ret, "'%s': %ld %s",
			      cases[i].name, ret, text);
		ck_assert_str_eq(text, cases[i].text);
	}
	gw_search_free(s);
	rig_deinit(&t.r);
}
END_TEST

START_TEST(sessname_chooses_the_directory)
{
	char text[GW_TEXT_MAX], dir[256];
	struct gw_search *s;
	struct tree t;

	tree_init(&t);
	/* What follows the token is ignored. */
	snprintf(dir, sizeof(dir), "%s/%%SESSNAME%%/ignored/%%SESSNAME%%",
		 t.root);
	ck_assert_int_eq(gw_search_new(dir, &s, text), 0);
	ck_assert_int_eq(lookup(s, "alice", "disk", text), 1536);
	ck_assert_int_eq(lookup(s, "bob", "/disk", text), 2048);
	ck_assert_int_eq(lookup(s, "carol", "disk", text), -ENOENT);
	ck_assert_int_eq(lookup(s, "..", "disk", text), -EINVAL);
	ck_assert_str_eq(text, "session name '..' is no name of a directory");
	ck_assert_int_eq(lookup(s, "a/b", "disk", text), -EINVAL);
	ck_assert_int_eq(lookup(s, "", "disk", text), -EINVAL);
	gw_search_free(s);
	rig_deinit(&t.r);
}
END_TEST

START_TEST(long_names_are_refused)
{
	char name[GW_PATH_MAX + 16], text[GW_TEXT_MAX];
	struct gw_search *s;
	struct tree t;

	tree_init(&t);
	ck_assert_int_eq(gw_search_new(t.root, &s, text), 0);
	memset(name, '/', sizeof(name));
	name[GW_PATH_MAX - 1 - strlen(t.root)] = '\0';
	ck_assert_int_eq(lookup(s, "a", name, text), -ENOTBLK);
	name[GW_PATH_MAX - 1 - strlen(t.root)] = '/';
	name[GW_PATH_MAX - strlen(t.root)] = '\0';
	ck_assert_int_eq(lookup(s, "a", name, text), -EINVAL);
	gw_search_free(s);
	rig_deinit(&t.r);
}
END_TEST

START_TEST(a_root_that_is_no_directory_is_refused)
{
	char text[GW_TEXT_MAX], dir[256], why[512];
	struct gw_search *s;
	struct tree t;

	tree_init(&t);
	snprintf(dir, sizeof(dir), "%s/missing", t.root);
	ck_assert_int_eq(gw_search_new(dir, &s, text), -ENOENT);
	snprintf(why, sizeof(why),
		 "search path '%s/': cannot open it: No such file or directory",
		 dir);
	ck_assert_str_eq(text, why);
	snprintf(dir, sizeof(dir), "%s/disk", t.root);
	ck_assert_int_eq(gw_search_new(dir, &s, text), -ENOTDIR);
	gw_search_free(NULL);
	rig_deinit(&t.r);
}
END_TEST

/* The root was opened: what is renamed into its place later is not it. */
START_TEST(the_root_stays_what_it_was)
{
	char text[GW_TEXT_MAX], moved[256];
	struct gw_search *s;
	struct tree t;

	tree_init(&t);
	ck_assert_int_eq(gw_search_new(t.root, &s, text), 0);
	snprintf(moved, sizeof(moved), "%s/moved", t.r.dir);
	ck_assert_int_eq(rename(t.root, moved), 0);
	ck_assert_int_eq(mkdir(t.root, 0700), 0);
	ck_assert_int_eq(lookup(s, "a", "disk", text), 512);
	gw_search_free(s);
	rig_deinit(&t.r);
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, names_below_the_root);
	tcase_add_test(tc, sessname_chooses_the_directory);
	tcase_add_test(tc, long_names_are_refused);
	tcase_add_test(tc, a_root_that_is_no_directory_is_refused);
	tcase_add_test(tc, the_root_stays_what_it_was);
}

int
main(void)
{
	return rig_main("backend/resolve", add_tests);
}
