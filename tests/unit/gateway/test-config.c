/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration file of the daemon: its sections, and what goes over it. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/config.h"

#define MAX_ARGS 12

static char dir[64];
static struct gw_config config;
static char text[OPT_TEXT_MAX];

static void
setup(void)
{
	strcpy(dir, "/tmp/test-config-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	config = (struct gw_config){0};
}

static void
teardown(void)
{
	char cmd[128];

	gw_config_deinit(&config);
	ck_assert_int_eq(chdir("/"), 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}

static void
put(const char *path, const char *what)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(what, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

/* Reads the file c, with these options over it. */
static int
load(const struct gw_config *prior, struct gw_config *ret,
     const char *const args[MAX_ARGS])
{
	char *argv[MAX_ARGS + 4] = {
		(char *)(uintptr_t) "rnbd-gatewayd",
		(char *)(uintptr_t) "--config",
		(char *)(uintptr_t) "c",
	};
	struct cmdline cl;
	int argc = 3, r;

	for (; args[argc - 3]; argc++)
		argv[argc] = (char *)(uintptr_t)args[argc - 3];
	ck_assert_int_eq(cmdline_parse(&cl, argc, argv, stdout, text),
			 CMDLINE_RUN);
	text[0] = '\0';
	r = gw_config_load(&cl, prior, ret, text);
	cmdline_deinit(&cl);
	return r;
}

#define LOAD(...)                                                              \
	load(NULL, &config, (const char *const[MAX_ARGS]){__VA_ARGS__})

#define ck_loads(...)                                                          \
	do {                                                                   \
		int r_ = LOAD(__VA_ARGS__);                                    \
		ck_assert_msg(!r_, "%s", text);                                \
	} while (0)

/* ----------------------------------------------------------------- good */

START_TEST(every_section_is_read)
{
	const struct gw_spec *s;

	put("c", "[gateway]\n"
		 "listen = tcp:127.0.0.1:0\n"
		 "listen = tcp:127.0.0.1:1\n"
		 "export = one=memory:1M,ro\n"
		 "workers = 3\n"
		 "queue-depth = 64\n"
		 "foreground = yes\n"
		 "log-level = debug\n"
		 "[export]\n"
		 "name = two\n"
		 "backend = null:1G\n"
		 "sessions = a* b\n"
		 "sessions = c\n"
		 "iops = 5\n"
		 "[export]\n"
		 "backend = /srv/disk.img\n"
		 "name = three\n"
		 "cache = buffered\n"
		 "[rule]\n"
		 "action = allow\n"
		 "address = 10.0.0.0/8\n"
		 "[rule]\n"
		 "action = deny\n"
		 "[limits]\n"
		 "address-sessions = 7\n");
	ck_loads(NULL);
	ck_assert_uint_eq(config.opt.n_listen, 2);
	ck_assert_uint_eq(config.opt.workers, 3);
	ck_assert_uint_eq(config.opt.queue_depth, 64);
	ck_assert(config.opt.foreground);
	ck_assert_int_eq(config.opt.log_level, LOG_LVL_DEBUG);
	ck_assert_uint_eq(config.opt.n_specs, 3);
	s = config.opt.specs;
	ck_assert_str_eq(s[0].name, "one");
	ck_assert(s[0].read_only);
	ck_assert_str_eq(s[1].name, "two");
	ck_assert_uint_eq(s[1].sessions.n, 3);
	ck_assert_uint_eq(s[1].iops, 5);
	ck_assert_str_eq(s[2].name, "three");
	ck_assert_str_eq(s[2].path, "/srv/disk.img");
	ck_assert(s[2].buffered);
	ck_assert_uint_eq(gw_ruleset_count(config.rules), 2);
	ck_assert_uint_eq(config.limits.addr_sessions, 7);
	/* What was not given follows from what was. */
	ck_assert_uint_eq(config.limits.sessions, 1024);
	ck_assert_uint_eq(config.limits.memory, config.opt.max_memory);
}
END_TEST

START_TEST(without_rules_there_is_no_ruleset)
{
	put("c", "[gateway]\nexport = d=memory:1M\n");
	ck_loads(NULL);
	ck_assert_ptr_null(config.rules);
	ck_assert_uint_eq(config.limits.addr_connect_rate, 1000);
}
END_TEST

/* Of one value the command line's stands, of lists both. */
START_TEST(options_go_over_the_file)
{
	put("c", "[gateway]\n"
		 "listen = tcp:127.0.0.1:1\n"
		 "export = one=memory:1M\n"
		 "workers = 3\n"
		 "busy-poll = 9\n"
		 "foreground = yes\n"
		 "search-path = /a\n");
	ck_loads("--workers", "5", "--foreground=no", "--search-path", "/b",
		 "--listen", "tcp:127.0.0.1:2", "--export", "two=null:1M");
	ck_assert_uint_eq(config.opt.workers, 5);
	ck_assert_uint_eq(config.opt.busy_poll_us, 9);
	ck_assert(!config.opt.foreground);
	ck_assert_str_eq(config.opt.search_path, "/b");
	ck_assert_uint_eq(config.opt.n_listen, 2);
	ck_assert_str_eq(config.opt.listen[0].text, "tcp:127.0.0.1:1");
	ck_assert_str_eq(config.opt.listen[1].text, "tcp:127.0.0.1:2");
	ck_assert_uint_eq(config.opt.n_specs, 2);
	ck_assert_str_eq(config.opt.specs[1].name, "two");
}
END_TEST

/* Rules keep the order of the lines, across files too. */
START_TEST(includes_keep_the_order)
{
	ck_assert_int_eq(mkdir("d", 0700), 0);
	put("d/2.conf", "[export]\nname = c\nbackend = null:1M\n");
	put("d/1.conf", "[export]\nname = b\nbackend = null:1M\n"
			"[gateway]\nworkers = 2\n");
	put("c", "[gateway]\nexport = a=null:1M\ninclude = d\n"
		 "export = d=null:1M\n");
	ck_loads(NULL);
	ck_assert_uint_eq(config.opt.n_specs, 4);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(config.opt.specs[i].name[0], 'a' + (int)i);
	ck_assert_uint_eq(config.opt.workers, 2);
}
END_TEST

/* What is listened on was resolved when that began. */
START_TEST(addresses_in_force_are_not_resolved_again)
{
	static struct gw_config next;
	struct gw_config *prior = &config;

	put("c", "[gateway]\nlisten = tcp:127.0.0.1:5\n"
		 "listen = tcp:127.0.0.1:6\nexport = a=null:1M\n");
	ck_loads(NULL);
	/* Not what the text says: only its owner knows that. */
	prior->opt.listen[0].addr_len = 3;
	ck_assert_int_eq(load(prior, &next,
			      (const char *const[MAX_ARGS]){"--listen",
							    "tcp:127.0.0.1:7"}),
			 0);
	ck_assert_uint_eq(next.opt.n_listen, 3);
	ck_assert_uint_eq(next.opt.listen[0].addr_len, 3);
	ck_assert_uint_gt(next.opt.listen[1].addr_len, 3);
	ck_assert_str_eq(next.opt.listen[0].text, "tcp:127.0.0.1:5");
	ck_assert_ptr_ne(next.opt.listen[0].text, prior->opt.listen[0].text);
	gw_config_deinit(&next);
}
END_TEST

/* ---------------------------------------------------------------- wrong */

#define G  "[gateway]\nexport = a=null:1M\n"
#define E  G "[export]\nname = b\n"
#define EB E "backend = null:1M\n"
#define R  G "[rule]\n"
#define L  G "[limits]\n"

static const struct {
	const char *conf, *text;
} wrong[] = {
	{"", "c: nothing to offer: give --export NAME=SPEC or --search-path "
	     "DIR"},
	{"[Gateway]\n", "c:1: [Gateway]: unknown section; did you mean "
			"'gateway'?"},
	{"[exports]\n",
	 "c:1: [exports]: unknown section; did you mean 'export'?"},
	{"[nonsense]\n", "c:1: [nonsense]: unknown section; accepted: gateway, "
			 "export, rule, limits"},
	/* [gateway]: what is unknown, out of range, of another kind, twice. */
	{G "queue_depth = 5\n", "c:3: queue_depth = 5: [gateway] has no such "
				"key; did you mean 'queue-depth'?"},
	{G "wrokers = 5\n", "c:3: wrokers = 5: [gateway] has no such key; did "
			    "you mean 'workers'?"},
	{G "workers = 0\n", "c:3: workers = 0: give a number from 1 to 256"},
	{G "workers = many\n",
	 "c:3: workers = many: give a number from 1 to 256"},
	{G "workers =\n", "c:3: workers =: give a number from 1 to 256"},
	{G "workers = 2\nworkers = 2\n",
	 "c:4: workers = 2: already given at c:3"},
	{G "listen = 1.2.3.4\n",
	 "c:3: listen = 1.2.3.4: unknown kind of address; use "
	 "tcp:ADDR[:PORT], or ip:ADDR[:PORT] for RDMA"},
	{G "export = b\n",
	 "c:3: export = b: export 'b': '=' is missing: give NAME=SPEC"},
	{G "export = a=null:2M\n", "c:3: export = a=null:2M: export 'a': there "
				   "is one of that name already"},
	{G "search-path = x\n", "c:3: search-path = x: give an absolute path"},
	{G "queue-depth = 65536\n",
	 "c:3: queue-depth = 65536: give a number from 1 to 65535"},
	{G "chunk-size = 100K\n", "c:3: chunk-size = 100K: give a power of two "
				  "from 8192 (such as 128K)"},
	{G "chunk-size = big\n", "c:3: chunk-size = big: give a number of "
				 "bytes; K, M, G or T may follow it"},
	{G "busy-poll = -1\n",
	 "c:3: busy-poll = -1: give a number from 0 to 1000000"},
	{G "no-io-uring = true\n", "c:3: no-io-uring = true: give yes or no"},
	{G "always-invalidate = 1\n",
	 "c:3: always-invalidate = 1: give yes or no"},
	{G "max-sessions = 0\n",
	 "c:3: max-sessions = 0: give a number from 1 to 1000000"},
	{G "max-memory = 1X\n", "c:3: max-memory = 1X: give a number of bytes; "
				"K, M, G or T may follow it"},
	{G "heartbeat-interval = 9\n",
	 "c:3: heartbeat-interval = 9: give a number from 10 to 3600000"},
	{G "heartbeat-missed = 1001\n",
	 "c:3: heartbeat-missed = 1001: give a number from 1 to 1000"},
	{G "control =\n", "c:3: control =: the path is empty"},
	{G "foreground = on\n", "c:3: foreground = on: give yes or no"},
	{G "pid-file =\n", "c:3: pid-file =: the path is empty"},
	{G "log-level = loud\n",
	 "c:3: log-level = loud: give error, warning, info or debug"},
	{G "log-target = file\n", "c:3: log-target = file: give auto, stderr, "
				  "journal or syslog"},
	{G "sandbox = maybe\n", "c:3: sandbox = maybe: give yes or no"},
	{G "core-dumps = 0\n", "c:3: core-dumps = 0: give yes or no"},
	{G "workers = 2\nmax-memory = 60M\n",
	 "c: max-memory 62914560 does not hold one session: 67108864 is the "
	 "least for queue-depth 512 and chunk-size 131072"},
	{G "chunk-size = 1M\n", "c: chunk-size 1048576 is too large for "
				"queue-depth 512: at most 524288; lower one of "
				"them"},
	/* [export] */
	{G "[export]\nbackend = null:1M\n",
	 "c:3: [export]: an export has no name: give it one"},
	{E, "c:3: [export]: export 'b': it has no backend: give a path, "
	    "memory:SIZE, null:SIZE or an NBD URI"},
	{EB "[export]\nname = b\nbackend = null:1M\n",
	 "c:6: [export]: export 'b': there is one of that name already"},
	{EB "[export]\nname = a\nbackend = null:1M\n",
	 "c:6: [export]: export 'a': there is one of that name already"},
	{EB "name = c\n", "c:6: name = c: already given at c:4"},
	{EB "name =\n", "c:6: name =: already given at c:4"},
	{E "name =\n", "c:5: name =: already given at c:4"},
	{G "[export]\nname = a/../b\n",
	 "c:4: name = a/../b: no client can open a name with \"..\" in it"},
	{E "backend = null:1\n",
	 "c:5: backend = null:1: the size '1' is no multiple of 512"},
	{EB "readonly = yes\n", "c:6: readonly = yes: [export] has no such "
				"key; did you mean 'read-only'?"},
	{EB "read-only = ro\n", "c:6: read-only = ro: give yes or no"},
	{EB "cache = none\n", "c:6: cache = none: give direct or buffered"},
	{EB "iops = 1K\n",
	 "c:6: iops = 1K: give a number of operations per second up to "
	 "100000000, 0 for no limit"},
	{EB "bandwidth = fast\n",
	 "c:6: bandwidth = fast: give a number of bytes per second from 4096 "
	 "on, with K, M, G or T, or 0 for no limit"},
	{EB "cache = buffered\n", "c:3: [export]: export 'b': 'buffered' is "
				  "for files and devices only"},
	/* [rule] */
	{R, "c:3: [rule]: a rule needs its action: allow, deny or bind"},
	{R "action = permit\n",
	 "c:4: action = permit: give allow, deny or bind"},
	{R "action = bind\n",
	 "c:3: [rule]: a rule that binds needs the session names and the "
	 "addresses that they are bound to"},
	{R "action = deny\nmode = r\n", "c:5: mode = r: 'r' is no access mode: "
					"give any of ro, rw and migration"},
	{R "action = deny\naction = deny\n",
	 "c:5: action = deny: already given at c:4"},
	{R "actoin = deny\n", "c:4: actoin = deny: [rule] has no such key; did "
			      "you mean 'action'?"},
	{R "action = allow\n[rule]\naddress = any\n",
	 "c:5: [rule]: a rule needs its action: allow, deny or bind"},
	/* [limits] */
	{L "address-sessions = -1\n",
	 "c:4: address-sessions = -1: give a number from 0 to 1000000"},
	{L "address-memory = much\n",
	 "c:4: address-memory = much: give a number of bytes; K, M, G or T may "
	 "follow it"},
	{L "address-memory = 1\n",
	 "c: address-memory 1 does not hold one session: 67108864 is the least "
	 "for queue-depth 512 and chunk-size 131072"},
	{E "backend = memory:1M,ro\n",
	 "c:5: backend = memory:1M,ro: 'ro' behind a size: in [export] it is a "
	 "line of its own, KEY = VALUE"},
	{L "address-bits = 64\n",
	 "c:4: address-bits = 64: give the bits of an IPv4 and of an IPv6 "
	 "address that count, such as 32:64"},
};

START_TEST(mistakes_are_named)
{
	put("c", wrong[_i].conf);
	ck_assert_int_eq(LOAD(NULL), -EINVAL);
	ck_assert_str_eq(text, wrong[_i].text);
}
END_TEST

/* Nothing is like it: all are named. */
START_TEST(foreign_keys_are_told_which_there_are)
{
	static const struct {
		const char *conf, *says;
	} foreign[] = {
		{G "config = c\n",
		 "c:3: config = c: [gateway] has no such key; "
		 "accepted: listen, export, "},
		{EB "workers = 1\n", "c:6: workers = 1: [export] has no such "
				     "key; accepted: name, backend, "},
		{EB "hold = 3\n", "c:6: hold = 3: [export] has no such key; it "
				  "goes behind the URI, as in backend = "
				  "nbd://HOST/NAME,hold=60"},
		{R "iops = 1\n", "c:4: iops = 1: [rule] has no such key; "
				 "accepted: action, address, "},
		{L "sessions = 5\n", "c:4: sessions = 5: [limits] has no such "
				     "key; accepted: address-sessions, "},
	};

	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++) {
		put("c", foreign[i].conf);
		ck_assert_int_eq(LOAD(NULL), -EINVAL);
		ck_assert_msg(!strncmp(text, foreign[i].says,
				       strlen(foreign[i].says)),
			      "%s", text);
	}
}
END_TEST

START_TEST(bad_networks_and_patterns_are_named)
{
	put("c", R "action = allow\naddress = 10.0.0.1/8\n");
	ck_assert_int_eq(LOAD(NULL), -EINVAL);
	ck_assert_ptr_nonnull(strstr(text, "c:5: address = 10.0.0.1/8: "));
	put("c", EB "addresses = nowhere\n");
	ck_assert_int_eq(LOAD(NULL), -EINVAL);
	ck_assert_ptr_nonnull(strstr(text, "c:6: addresses = nowhere: "));
}
END_TEST

static char warned[512];

static void
on_log(void *user, enum log_level level, const char *line)
{
	if (level == LOG_LVL_WARNING)
		snprintf(warned, sizeof(warned), "%s", line);
}

START_TEST(a_file_that_is_no_whole_number_of_sectors_is_warned_of)
{
	const struct log log = {.sink = on_log, .threshold = LOG_LVL_INFO};
	struct gw_exports *x;

	put("whole", "");
	ck_assert_int_eq(truncate("whole", 1024), 0);
	put("odd", "");
	ck_assert_int_eq(truncate("odd", 1000), 0);
	put("c", "[gateway]\nexport = w=whole\n");
	ck_assert_int_eq(LOAD(NULL), 0);
	ck_assert_int_eq(gw_config_exports(&config, &log, &x, text), 0);
	ck_assert_str_eq(warned, "");
	gw_exports_free(x);
	gw_config_deinit(&config);
	put("c", "[gateway]\nexport = o=odd,ro\n");
	ck_assert_int_eq(LOAD(NULL), 0);
	ck_assert_int_eq(gw_config_exports(&config, &log, &x, text), 0);
	ck_assert_ptr_nonnull(
		strstr(warned, "export 'o': 'odd' has 1000 bytes, of which 512 "
			       "are offered: a size is a multiple of 512"));
	gw_exports_free(x);
}
END_TEST

/* The words fit the place: [export] has no commas. */
START_TEST(exports_that_cannot_be_opened_are_told_where_they_stand)
{
	struct gw_exports *x;

	put("short", "x");
	put("a", "[export]\nname = e\nbackend = no-such,x\n");
	put("c", G "export = ok=null:1M\ninclude = a\n");
	ck_assert_int_eq(LOAD(NULL), 0);
	ck_assert_int_eq(gw_config_check(&config, text), -ENOENT);
	ck_assert_str_eq(text, "a:1: export 'e': cannot open 'no-such,x': No "
			       "such file or directory: create it first "
			       "(truncate -s SIZE), or add a line 'create = "
			       "SIZE'");
	ck_assert_int_eq(gw_config_exports(&config, NULL, &x, text), -ENOENT);
	ck_assert_int_eq(strncmp(text, "a:1: export 'e': ", 16), 0);
	gw_config_deinit(&config);

	put("c", G "export = ok=null:1M\nexport = s=short,ro\n");
	ck_assert_int_eq(LOAD(NULL), 0);
	ck_assert_int_eq(gw_config_check(&config, text), -ENODATA);
	ck_assert_str_eq(text, "c:4: export 's': 'short' has 1 bytes, less "
			       "than a block of 512");
	gw_config_deinit(&config);

	put("c", G "export = ok=null:1M\n");
	ck_assert_int_eq(LOAD("--export", "s=short"), 0);
	ck_assert_int_eq(gw_config_check(&config, text), -ENODATA);
	ck_assert_str_eq(text, "export 's': 'short' has 1 bytes, less than a "
			       "block of 512");
}
END_TEST

START_TEST(mistakes_on_the_command_line_are_named_as_such)
{
	put("c", G "workers = 2\n");
	ck_assert_int_eq(LOAD("--workers", "0"), -EINVAL);
	ck_assert_str_eq(text, "--workers 0: give a number from 1 to 256");
	ck_assert_int_eq(LOAD("--export", "a=null:1M"), -EINVAL);
	ck_assert_str_eq(text, "--export a=null:1M: export 'a': there is one "
			       "of that name already");
	/* The file's own mistake does not go away. */
	put("c", G "workers = 0\n");
	ck_assert_int_eq(LOAD("--workers", "2"), -EINVAL);
	ck_assert_str_eq(text, "c:3: workers = 0: give a number from 1 to 256");
}
END_TEST

START_TEST(long_control_path_is_refused)
{
	char conf[300] = "[gateway]\ncontrol = /";
	size_t len = strlen(conf);

	memset(conf + len, 'x', 120);
	conf[len + 120] = '\0';
	put("c", conf);
	ck_assert_int_eq(LOAD(NULL), -EINVAL);
	ck_assert_ptr_nonnull(strstr(text, ": longer than the 107 bytes of a "
					   "socket's path; choose a shorter "
					   "one"));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/config");
	TCase *tc = tcase_create("config");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, every_section_is_read);
	tcase_add_test(tc, without_rules_there_is_no_ruleset);
	tcase_add_test(tc, options_go_over_the_file);
	tcase_add_test(tc, includes_keep_the_order);
	tcase_add_test(tc, addresses_in_force_are_not_resolved_again);
	tcase_add_loop_test(tc, mistakes_are_named, 0, ARRAY_SIZE(wrong));
	tcase_add_test(tc, foreign_keys_are_told_which_there_are);
	tcase_add_test(tc, bad_networks_and_patterns_are_named);
	tcase_add_test(tc,
		       a_file_that_is_no_whole_number_of_sectors_is_warned_of);
	tcase_add_test(tc,
		       exports_that_cannot_be_opened_are_told_where_they_stand);
	tcase_add_test(tc, mistakes_on_the_command_line_are_named_as_such);
	tcase_add_test(tc, long_control_path_is_refused);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
