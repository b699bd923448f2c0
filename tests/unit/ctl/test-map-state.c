/* SPDX-License-Identifier: BSD-3-Clause */
/* What is mapped, written down and found again. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture.h"
#include "gateway/ctl/map.h"
#include "map-rig.h"

/* ------------------------------------------------- names of files */

static const struct {
	const char *name, *want;
} escapes[] = {
	{"host7", "host7"},   {"A_b-9", "A_b-9"}, {"s:1", "s%3A1"},
	{"a%3A", "a%253A"},   {"~", "%7E"},       {"\xc3\xa4", "%C3%A4"},
	{"...", "%2E%2E%2E"},
};

START_TEST(escape)
{
	char buf[MAP_STEM_MAX];

	map_escape(escapes[_i].name, buf, sizeof(buf));
	ck_assert_str_eq(buf, escapes[_i].want);
}
END_TEST

START_TEST(long_names_differ)
{
	char a[255], b[255], x[MAP_STEM_MAX], y[MAP_STEM_MAX];

	memset(a, 'n', 254);
	a[254] = '\0';
	memcpy(b, a, sizeof(b));
	b[253] = 'm';
	map_escape(a, x, sizeof(x));
	map_escape(b, y, sizeof(y));
	ck_assert_str_ne(x, y);
	ck_assert_uint_eq(strlen(x), MAP_STEM_MAX - 1);
	ck_assert_ptr_nonnull(strchr(x, '~'));
	/* The longest that is not cut, and the next. */
	a[MAP_STEM_MAX - 1] = '\0';
	map_escape(a, x, sizeof(x));
	ck_assert_str_eq(x, a);
	a[MAP_STEM_MAX - 1] = 'n';
	a[MAP_STEM_MAX] = '\0';
	map_escape(a, x, sizeof(x));
	ck_assert_ptr_nonnull(strchr(x, '~'));
	/* An escape is not cut in its middle, however long. */
	memset(a, ':', 254);
	map_escape(a, x, sizeof(x));
	ck_assert_uint_lt(strlen(x), MAP_STEM_MAX);
}
END_TEST

/* ------------------------------------------------- sessions */

static struct map_sess *
open_sess(const char *name)
{
	struct map_sess *s = NULL;

	ck_assert_int_eq(map_sess_open(name, true, &s), CTL_OK);
	ck_assert_ptr_nonnull(s);
	return s;
}

static struct map_proc
self(void)
{
	struct map_proc p = {.pid = getpid()};
	unsigned long long start;
	char text[1024];
	FILE *f = fopen("/proc/self/stat", "re");

	ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
	fclose(f);
	ck_assert_int_eq(sscanf(strrchr(text, ')') + 1,
				" %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
				"%*s %*s %*s %*s %*s %*s %*s %*s %llu",
				&start),
			 1);
	p.start = start;
	return p;
}

/* One device, mapped to its end; closed. */
static void
map_one(const char *sess, const char *device_path, int index, int client)
{
	struct map_sess *s = open_sess(sess);
	struct map_dev *d = map_sess_add(s, strdup(device_path), strdup("rw"));

	s->nbdkit = self();
	s->params = calloc(2, sizeof(*s->params));
	s->params[s->n_params++] = strdup("path=tcp:h");
	d->index = index;
	d->complete = true;
	d->client.pid = client;
	d->nbdkit = s->nbdkit;
	ck_assert_int_eq(map_sess_save(s), CTL_OK);
	map_sess_close(s);
}

START_TEST(state_comes_back)
{
	struct map_proc me = self();
	struct map_sess *s;

	rig_nbd(3, 77, 4096);
	map_one("s:1", "/dev/\xc3\xa4 \"b\"", 3, 77);
	s = open_sess("s:1");
	ck_assert_str_eq(s->sessname, "s:1");
	ck_assert_int_eq(s->nbdkit.pid, me.pid);
	ck_assert_uint_eq(s->nbdkit.start, me.start);
	ck_assert_uint_eq(s->n_params, 1);
	ck_assert_str_eq(s->params[0], "path=tcp:h");
	ck_assert_uint_eq(s->n_devs, 1);
	ck_assert_str_eq(s->devs[0].device_path, "/dev/\xc3\xa4 \"b\"");
	ck_assert_str_eq(s->devs[0].access_mode, "rw");
	ck_assert_int_eq(s->devs[0].index, 3);
	ck_assert_int_eq(map_dev_state(&s->devs[0]), MAP_DEV_MAPPED);
	map_sess_close(s);
}
END_TEST

static void
want_state(const struct map_dev *d, enum map_dev_state state, const char *name)
{
	ck_assert_int_eq(map_dev_state(d), state);
	ck_assert_str_eq(map_dev_state_name(state), name);
}

START_TEST(states_of_a_device)
{
	struct map_dev d = {.complete = true, .client.pid = 77};

	d.nbdkit = self();
	rig_nbd(0, 77, 4096);
	want_state(&d, MAP_DEV_MAPPED, "mapped");
	d.complete = false;
	want_state(&d, MAP_DEV_HALF, "half");
	/* The pid is another process' by now. */
	d.nbdkit.start++;
	want_state(&d, MAP_DEV_DEAD, "dead");
	/* And the nbd device another map's. */
	rig_nbd(0, 78, 4096);
	want_state(&d, MAP_DEV_DETACHED, "detached");
	rig_nbd(0, 0, 4096);
	want_state(&d, MAP_DEV_DETACHED, "detached");
	/* Not even nbd-client was started. */
	d.client.pid = 0;
	want_state(&d, MAP_DEV_DETACHED, "detached");
}
END_TEST

START_TEST(unused_sessions_leave_nothing)
{
	struct map_sess *s = open_sess("s");
	char *path = map_sess_file(s, "log");
	FILE *f = fopen(path, "we");

	ck_assert_ptr_nonnull(f);
	fclose(f);
	ck_assert_int_eq(map_sess_save(s), CTL_OK);
	map_sess_close(s);
	ck_assert_int_eq(access(path, F_OK), -1);
	free(path);
	ck_assert_int_eq(rmdir(rig_path("/run/rnbd/client")), 0);
}
END_TEST

/* An nbdkit that lives is not lost sight of. */
START_TEST(sessions_with_a_process_stay)
{
	struct map_sess *s = open_sess("s");
	json_t *names;

	s->nbdkit = self();
	ck_assert_int_eq(map_sess_save(s), CTL_OK);
	map_sess_close(s);
	ck_assert_int_eq(map_list_begun(&names), CTL_OK);
	ck_assert_uint_eq(json_array_size(names), 1);
	json_decref(names);
	s = open_sess("s");
	ck_assert_int_eq(s->nbdkit.pid, getpid());
	s->nbdkit.pid = 0;
	map_sess_close(s);
	ck_assert_int_eq(map_list_begun(&names), CTL_OK);
	ck_assert_uint_eq(json_array_size(names), 0);
	json_decref(names);
}
END_TEST

/* ------------------------------------------------- what is not ours */

static const char *const strange[] = {
	"",
	"nonsense",
	"[]",
	"{\"version\": 2, \"sessname\": \"s\"}",
	"{\"version\": 1, \"sessname\": \"other\"}",
	"{\"version\": 1, \"sessname\": \"s\", \"params\": [1]}",
	"{\"version\": 1, \"sessname\": \"s\", \"devices\": [{}]}",
	("{\"version\": 1, \"sessname\": \"s\", \"devices\": "
	 "[{\"device_path\": \"d\", \"access_mode\": \"rw\", \"index\": -1}]}"),
};

START_TEST(strange_files_are_refused)
{
	struct map_sess *s = open_sess("s");
	const char *said;

	map_sess_close(s);
	rig_write("/run/rnbd/client/s.json", strange[_i]);
	capture_begin();
	ck_assert_int_eq(map_sess_open("s", true, &s), CTL_REFUSED);
	said = capture_end();
	ck_assert_ptr_null(s);
	ck_assert_ptr_nonnull(strstr(said, "is not the state of session 's'"));
}
END_TEST

START_TEST(directory_must_be_ours_alone)
{
	struct map_sess *s = open_sess("s");
	const char *said;

	map_sess_close(s);
	ck_assert_int_eq(chmod(rig_path("/run/rnbd/client"), 0777), 0);
	capture_begin();
	ck_assert_int_eq(map_sess_open("s", true, &s), CTL_PERMISSION);
	said = capture_end();
	ck_assert_ptr_nonnull(strstr(said, "others may write to it"));
	/* Nor a link to another. */
	ck_assert_int_eq(rmdir(rig_path("/run/rnbd/client")), 0);
	ck_assert_int_eq(symlink("/tmp", rig_path("/run/rnbd/client")), 0);
	capture_begin();
	ck_assert_int_ne(map_sess_open("s", true, &s), CTL_OK);
	capture_end();
}
END_TEST

/* ------------------------------------------------- the lock */

START_TEST(one_at_a_time)
{
	struct map_sess *s = open_sess("s"), *other;
	int ready[2];
	char byte;
	pid_t pid;

	ck_assert_int_eq(map_sess_open("s", false, &other), CTL_OK);
	ck_assert_ptr_null(other);
	ck_assert_int_eq(map_sess_open("t", false, &other), CTL_OK);
	ck_assert_ptr_nonnull(other);
	map_sess_close(other);
	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		/* Our copy of the lock would keep it. */
		close(s->lock);
		ck_assert_int_eq(write(ready[1], "r", 1), 1);
		ck_assert_int_eq(map_sess_open("s", true, &s), CTL_OK);
		_exit(s->n_devs == 1 ? 0 : 1);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	/* It sees all that was done under the lock, or nothing. */
	map_sess_add(s, strdup("d"), strdup("rw"));
	ck_assert_int_eq(map_sess_save(s), CTL_OK);
	map_sess_close(s);
	ck_assert_int_eq(waitpid(pid, &ready[0], 0), pid);
	ck_assert_int_eq(ready[0], 0);
}
END_TEST

/* The file that is waited for is removed: a lock on it would be no lock. */
START_TEST(lock_that_goes_away)
{
	struct map_sess *s = open_sess("s"), *other;
	int ready[2], status;
	char byte;
	pid_t pid;

	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		close(s->lock);
		ck_assert_int_eq(write(ready[1], "r", 1), 1);
		ck_assert_int_eq(map_sess_open("s", true, &s), CTL_OK);
		ck_assert_int_eq(map_sess_open("s", false, &other), CTL_OK);
		_exit(other                                               ? 1
		      : access(rig_path("/run/rnbd/client/s.lock"), F_OK) ? 2
									  : 0);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	map_sess_close(s);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* ------------------------------------------------- lists */

START_TEST(list_of_maps)
{
	json_t *rows = NULL, *row;
	char *name;

	ck_assert_int_eq(map_list(NULL, &rows), CTL_OK);
	ck_assert_uint_eq(json_array_size(rows), 0);
	json_decref(rows);
	rig_nbd(0, 77, 4096);
	rig_nbd(1, 79, 8192);
	map_one("a", "disk", 0, 77);
	map_one("b", "other", 1, 78);
	rig_write("/run/rnbd/client/c.json", "nonsense");
	ck_assert_int_eq(map_list(NULL, &rows), CTL_OK);
	ck_assert_uint_eq(json_array_size(rows), 2);
	row = json_array_get(rows, 0);
	if (strcmp(json_str(row, "sessname"), "a"))
		row = json_array_get(rows, 1);
	ck_assert_str_eq(json_str(row, "device"), "/dev/nbd0");
	ck_assert_str_eq(json_str(row, "mapping_path"), "disk");
	ck_assert_str_eq(json_str(row, "state"), "mapped");
	ck_assert_int_eq(json_num(row, "size_bytes"), 4096);
	ck_assert_int_eq(json_num(row, "pid"), getpid());
	json_decref(rows);

	ck_assert_int_eq(map_find_session(0, &name), CTL_OK);
	ck_assert_str_eq(name, "a");
	free(name);
	/* The one that has it now, not the one that had it. */
	map_one("c1", "third", 1, 79);
	ck_assert_int_eq(map_find_session(1, &name), CTL_OK);
	ck_assert_str_eq(name, "c1");
	free(name);
	capture_begin();
	ck_assert_int_eq(map_find_session(2, &name), CTL_NOT_FOUND);
	ck_assert_ptr_null(name);
	ck_assert_ptr_nonnull(strstr(capture_end(), "/dev/nbd2 is not mapped"));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ctl/map-state");
	TCase *tc = tcase_create("map-state");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, rig_setup, rig_teardown);
	tcase_add_loop_test(tc, escape, 0, ARRAY_SIZE(escapes));
	tcase_add_test(tc, long_names_differ);
	tcase_add_test(tc, state_comes_back);
	tcase_add_test(tc, states_of_a_device);
	tcase_add_test(tc, unused_sessions_leave_nothing);
	tcase_add_test(tc, sessions_with_a_process_stay);
	tcase_add_loop_test(tc, strange_files_are_refused, 0,
			    ARRAY_SIZE(strange));
	tcase_add_test(tc, directory_must_be_ours_alone);
	tcase_add_test(tc, one_at_a_time);
	tcase_add_test(tc, lock_that_goes_away);
	tcase_add_test(tc, list_of_maps);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
