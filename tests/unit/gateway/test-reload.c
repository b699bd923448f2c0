/* SPDX-License-Identifier: BSD-3-Clause */
/* A configuration that is read again: what changes, what stays, and when. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/os.h"
#include "gateway/reload.h"

static char dir[64];
static struct cmdline cl;
static struct gw_config started;
static struct gw_exports *x;
static struct gw_access *access_now;
static char err[CONF_TEXT_MAX];
static char warnings[2048];

static void
sink(void *user, enum log_level level, const char *line)
{
	if (level == LOG_LVL_WARNING)
		strncat(warnings, line,
			sizeof(warnings) - strlen(warnings) - 1);
}

static struct log lg = {.sink = sink};

static void
put(const char *what)
{
	FILE *f = fopen("c", "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(what, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

/* What daemon_new() does, as far as a reload is concerned. */
static void
start(const char *conf, bool with_file)
{
	char *argv[] = {
		(char *)(uintptr_t) "x",
		(char *)(uintptr_t) "--export",
		(char *)(uintptr_t) "cmd=null:1M",
		(char *)(uintptr_t) "--config",
		(char *)(uintptr_t) "c",
		NULL,
	};
	int r;

	put(conf);
	ck_assert_int_eq(
		cmdline_parse(&cl, with_file ? 5 : 3, argv, stdout, err),
		CMDLINE_RUN);
	r = gw_config_load(&cl, NULL, &started, err);
	ck_assert_msg(!r, "%s", err);
	lg.threshold = started.opt.log_level;
	gw_access_replace(access_now, gw_config_take_rules(&started));
	gw_access_set_limits(access_now, &started.limits);
	r = gw_config_exports(&started, &lg, &x, err);
	ck_assert_msg(!r, "%s", err);
}

static int
read_again(void)
{
	const struct reload_params p = {
		.started = &started,
		.exports = x,
		.access = access_now,
		.log = &lg,
	};

	err[0] = '\0';
	warnings[0] = '\0';
	return reload(&p, err);
}

static int
again(const char *conf)
{
	put(conf);
	return read_again();
}

/* The names of all exports, in some order. */
static void
collect(void *user, const struct gw_exports_item *info)
{
	strcat(user, info->spec->name);
	strcat(user, " ");
}

static bool
has_export(const char *name)
{
	char names[512] = " ", wanted[64];

	gw_exports_for_each(x, collect, names);
	snprintf(wanted, sizeof(wanted), " %s ", name);
	return strstr(names, wanted);
}

static void
setup(void)
{
	const struct gw_access_params ap = {.log = &lg, .now = os_now};

	strcpy(dir, "/tmp/test-reload-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(gw_access_new(&ap, &access_now), 0);
}

static void
teardown(void)
{
	char cmd[128];

	gw_exports_free(x);
	gw_access_free(access_now);
	gw_config_deinit(&started);
	cmdline_deinit(&cl);
	ck_assert_int_eq(chdir("/"), 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

#define G "[gateway]\nlisten = tcp:127.0.0.1:0\n"

START_TEST(exports_come_and_go)
{
	start(G "export = a=null:1M\nexport = b=null:1M\n", true);
	ck_assert_int_eq(again(G "export = b=null:1M\n[export]\nname = c\n"
				 "backend = memory:1M\n"),
			 0);
	ck_assert(!has_export("a") && has_export("b") && has_export("c"));
	/* Of the command line: each reading has it. */
	ck_assert(has_export("cmd"));
	ck_assert_uint_eq(gw_exports_count(x), 3);
	ck_assert_str_eq(warnings, "");
}
END_TEST

START_TEST(log_level_changes)
{
	start(G, true);
	ck_assert_int_eq(log_threshold(&lg), LOG_LVL_INFO);
	ck_assert_int_eq(again(G "log-level = warning\n"), 0);
	ck_assert_int_eq(log_threshold(&lg), LOG_LVL_WARNING);
	ck_assert_int_eq(again(G), 0);
	ck_assert_int_eq(log_threshold(&lg), LOG_LVL_INFO);
}
END_TEST

START_TEST(rules_and_limits_change)
{
	struct gw_access_stats st;

	start(G "max-sessions = 9\n", true);
	gw_access_stats(access_now, &st);
	ck_assert_uint_eq(st.rules, 0);
	ck_assert_uint_eq(st.limits.sessions, 9);
	ck_assert_int_eq(again(G "max-sessions = 8\nmax-memory = 4G\n"
				 "[rule]\naction = deny\nsession = a\n"
				 "[rule]\naction = allow\n"
				 "[limits]\naddress-sessions = 7\n"),
			 0);
	gw_access_stats(access_now, &st);
	ck_assert_uint_eq(st.rules, 2);
	ck_assert_uint_eq(st.limits.sessions, 8);
	ck_assert_uint_eq(st.limits.memory, UINT64_C(4) << 30);
	ck_assert_uint_eq(st.limits.addr_sessions, 7);
	ck_assert_str_eq(warnings, "");
	/* What is not in the file any more is not in force. */
	ck_assert_int_eq(again(G), 0);
	gw_access_stats(access_now, &st);
	ck_assert_uint_eq(st.rules, 0);
	ck_assert_uint_eq(st.limits.sessions, 1024);
	ck_assert_uint_eq(st.limits.addr_sessions, 0);
}
END_TEST

/* Each is wrong in another way; each leaves everything as it was. */
static const struct {
	const char *conf;
	int r;
	const char *text;
} bad[] = {
	{G "log-level = debug\nexport = b=null:1M\nworkers = 0\n", -EINVAL,
	 "c:5: workers = 0: give a number from 1 to 256"},
	{G "log-level = debug\nexport = cmd=null:1M\n", -EINVAL,
	 "--export cmd=null:1M: export 'cmd': there is one of that name "
	 "already"},
	{G "log-level = debug\nexport = b=null:1M\nexport = f=/nowhere/f\n",
	 -ENOENT, NULL},
	{G "log-level = debug\nexport = b=null:1M\nsearch-path = /nowhere\n",
	 -ENOENT, NULL},
	{G "log-level = debug\nexport = b=null:1M\n[rule]\n", -EINVAL,
	 "c:5: [rule]: a rule needs its action: allow, deny or bind"},
};

START_TEST(a_bad_file_changes_nothing)
{
	struct gw_access_stats st;

	start(G "export = a=null:1M\n[rule]\naction = allow\n"
		"[limits]\naddress-sessions = 5\n",
	      true);
	ck_assert_int_eq(again(bad[_i].conf), bad[_i].r);
	if (bad[_i].text)
		ck_assert_str_eq(err, bad[_i].text);
	else
		ck_assert_ptr_nonnull(strstr(err, "/nowhere"));
	ck_assert(has_export("a") && !has_export("b"));
	ck_assert_uint_eq(gw_exports_count(x), 2);
	ck_assert_int_eq(log_threshold(&lg), LOG_LVL_INFO);
	gw_access_stats(access_now, &st);
	ck_assert_uint_eq(st.rules, 1);
	ck_assert_uint_eq(st.limits.addr_sessions, 5);
	ck_assert_str_eq(warnings, "");
	/* And the next good one is taken. */
	ck_assert_int_eq(again(G "export = b=null:1M\n"), 0);
	ck_assert(!has_export("a") && has_export("b"));
}
END_TEST

START_TEST(a_missing_file_changes_nothing)
{
	start(G "export = a=null:1M\n", true);
	ck_assert_int_eq(rename("c", "d"), 0);
	ck_assert_int_eq(read_again(), -ENOENT);
	ck_assert_str_eq(err, "c: No such file or directory");
	ck_assert(has_export("a"));
}
END_TEST

START_TEST(without_a_file_there_is_nothing_to_read)
{
	start(G, false);
	ck_assert_int_eq(again(G), -ENOENT);
	ck_assert_str_eq(err, "there is no configuration file to read again: "
			      "start with --config FILE");
}
END_TEST

START_TEST(what_needs_a_restart_is_named_once)
{
	start(G "workers = 2\n", true);
	ck_assert_int_eq(again("[gateway]\n"
			       "listen = tcp:127.0.0.1:0\n"
			       "listen = tcp:127.0.0.1:0\n"
			       "workers = 3\nqueue-depth = 64\n"
			       "chunk-size = 64K\nbusy-poll = 5\n"
			       "no-io-uring = yes\nalways-invalidate = yes\n"
			       "heartbeat-interval = 10\nheartbeat-missed = 9\n"
			       "control = /x\ncontrol-group = 12345\n"
			       "metrics = unix:/m\nforeground = yes\n"
			       "pid-file = /y\nlog-target = journal\n"
			       "sandbox = no\ncore-dumps = yes\n"
			       "export = b=null:1M\n"),
			 0);
	ck_assert_str_eq(
		warnings,
		"reload: new values that need a restart, the old ones stay "
		"until then: listen, queue-depth, chunk-size, workers, "
		"busy-poll, no-io-uring, always-invalidate, "
		"heartbeat-interval, heartbeat-missed, control, "
		"control-group, metrics, foreground, pid-file, log-target, "
		"sandbox, core-dumps");
	/* Whoever asked for it is told too. */
	ck_assert_ptr_nonnull(strstr(warnings, err));
	ck_assert_int_eq(strncmp(err, "listen, queue-depth, ", 21), 0);
	/* The rest of the file holds. */
	ck_assert(has_export("b"));
	/* The old values again: there is nothing to say. */
	ck_assert_int_eq(again(G "workers = 2\n"), 0);
	ck_assert_str_eq(err, "");
	ck_assert_str_eq(warnings, "");
}
END_TEST

/* Whoever adds a key decides what a reload does with it. */
START_TEST(every_key_has_an_effect)
{
	for (const struct conf_key *k = gw_option_keys; k->name; k++)
		ck_assert_msg(reload_effect(k->name) >= 0, "%s", k->name);
	ck_assert_int_eq(reload_effect("export"), RELOAD_LIVE);
	ck_assert_int_eq(reload_effect("workers"), RELOAD_RESTART);
	ck_assert_int_eq(reload_effect("nonsense"), -1);
}
END_TEST

/* A file that a reload created for nothing is gone again. */
START_TEST(created_files_go_with_what_failed)
{
	start(G "export = a=null:1M\n", true);
	ck_assert_int_eq(again(G "export = n=n.img,create=1M\n"
				 "export = f=/nowhere/f\n"),
			 -ENOENT);
	ck_assert_int_eq(access("n.img", F_OK), -1);
	ck_assert_int_eq(again(G "export = n=n.img,create=1M\n"), 0);
	ck_assert_int_eq(access("n.img", F_OK), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/reload");
	TCase *tc = tcase_create("reload");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, exports_come_and_go);
	tcase_add_test(tc, log_level_changes);
	tcase_add_test(tc, rules_and_limits_change);
	tcase_add_loop_test(tc, a_bad_file_changes_nothing, 0, ARRAY_SIZE(bad));
	tcase_add_test(tc, a_missing_file_changes_nothing);
	tcase_add_test(tc, without_a_file_there_is_nothing_to_read);
	tcase_add_test(tc, what_needs_a_restart_is_named_once);
	tcase_add_test(tc, every_key_has_an_effect);
	tcase_add_test(tc, created_files_go_with_what_failed);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
