/* SPDX-License-Identifier: BSD-3-Clause */
/* The whole daemon in this process: start, failures to start, status, end. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gateway/daemon.h"

#define MAX_ARGS 16

static struct cmdline cl;
static struct gw_config config;
static struct daemon *d;
static char out_text[1024], last_error[512];
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER; /* last_error */

static void
sink(void *user, enum log_level level, const char *line)
{
	if (level != LOG_LVL_ERROR)
		return;
	pthread_mutex_lock(&log_lock);
	snprintf(last_error, sizeof(last_error), "%s", line);
	pthread_mutex_unlock(&log_lock);
}

static struct log lg = {.sink = sink, .threshold = LOG_LVL_INFO};

static int
start(const char *const args[MAX_ARGS])
{
	char *argv[MAX_ARGS + 2] = {(char *)(uintptr_t) "x"};
	char text[OPT_TEXT_MAX];
	FILE *out = tmpfile();
	int argc = 1, r;
	size_t n;

	ck_assert_ptr_nonnull(out);
	for (; args[argc - 1]; argc++)
		argv[argc] = (char *)(uintptr_t)args[argc - 1];
	ck_assert_int_eq(cmdline_parse(&cl, argc, argv, out, text),
			 CMDLINE_RUN);
	ck_assert_int_eq(gw_config_load(&cl, NULL, &config, text), 0);
	r = daemon_new(&config, &lg, out, &d);
	rewind(out);
	n = fread(out_text, 1, sizeof(out_text) - 1, out);
	out_text[n] = '\0';
	fclose(out);
	return r;
}

#define START(...) start((const char *const[MAX_ARGS]){__VA_ARGS__})
#define ANY_PORT   "--listen", "tcp:127.0.0.1:0"
#define MEMORY     "--export", "m=memory:1M"

static void
teardown(void)
{
	gw_config_deinit(&config);
	cmdline_deinit(&cl);
}

START_TEST(signal_ends_it_in_order)
{
	static const int signals[] = {SIGTERM, SIGINT};

	ck_assert_int_eq(START(ANY_PORT, MEMORY, "--workers", "3"), 0);
	ck_assert_int_eq(kill(getpid(), signals[_i]), 0);
	ck_assert_int_eq(daemon_run(d), 0);
	daemon_free(d);
	ck_assert_str_eq(last_error, "");
}
END_TEST

START_TEST(each_listener_is_printed)
{
	unsigned a, b;

	ck_assert_int_eq(START(ANY_PORT, "--listen", "tcp:[::1]:0", MEMORY), 0);
	ck_assert_int_eq(sscanf(out_text,
				"listening on tcp:127.0.0.1:%u\n"
				"listening on tcp:[::1]:%u\n",
				&a, &b),
			 2);
	ck_assert_uint_gt(a, 0);
	ck_assert_uint_gt(b, 0);
	/* Ends also without ever having run. */
	daemon_free(d);
}
END_TEST

START_TEST(port_in_use_is_named)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char addr[64];

	ck_assert_int_eq(bind(fd, (const void *)&sin, len), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(getsockname(fd, (void *)&sin, &len), 0);
	snprintf(addr, sizeof(addr), "tcp:127.0.0.1:%u", ntohs(sin.sin_port));
	ck_assert_int_eq(START("--listen", addr, MEMORY), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(last_error, addr));
	ck_assert_ptr_nonnull(strstr(last_error, "Address already in use; "));
	ck_assert_str_eq(out_text, "");
	close(fd);
}
END_TEST

/* Whoever waits for that line finds the number, and no failure follows it. */
START_TEST(pid_file_is_before_the_listeners)
{
	ck_assert_int_eq(START(ANY_PORT, MEMORY, "--pid-file", "/no/pid"),
			 -ENOENT);
	ck_assert_str_eq(out_text, "");
	ck_assert_str_eq(last_error,
			 "--pid-file /no/pid: No such file or directory");
}
END_TEST

START_TEST(foreign_pid_file_is_a_wrong_option)
{
	ck_assert_int_eq(START(ANY_PORT, MEMORY, "--pid-file", "/dev/null"),
			 DAEMON_USAGE);
	ck_assert_str_eq(out_text, "");
}
END_TEST

START_TEST(foreign_address_is_named)
{
	ck_assert_int_eq(START("--listen", "tcp:192.0.2.1:0", MEMORY),
			 -EADDRNOTAVAIL);
	ck_assert_ptr_nonnull(strstr(last_error, "tcp:192.0.2.1:0"));
	ck_assert_ptr_nonnull(strstr(last_error, "no interface"));
}
END_TEST

START_TEST(missing_file_is_named)
{
	ck_assert_int_eq(START(ANY_PORT, "--export", "f=/no/such/file"),
			 -ENOENT);
	ck_assert_ptr_nonnull(strstr(last_error, "/no/such/file"));
}
END_TEST

/* -------------------------------------------------------------- control */

static void *
run(void *arg)
{
	ck_assert_int_eq(daemon_run(d), 0);
	return NULL;
}

/* Asks, and gives where the answer will be. */
static FILE *
ask(const char *path, const char *method, const char *params)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char line[256];

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	ck_assert_int_eq(connect(fd, (const void *)&sun, sizeof(sun)), 0);
	snprintf(line, sizeof(line),
		 "{\"jsonrpc\":\"2.0\",\"method\":\"%s\",\"params\":%s,"
		 "\"id\":1}\n",
		 method, params);
	ck_assert_int_eq(write(fd, line, strlen(line)), (ssize_t)strlen(line));
	return fdopen(fd, "r");
}

/* The result of a method; the caller owns it. */
static json_t *
call(const char *path, const char *method)
{
	FILE *f = ask(path, method, "{}");
	json_t *answer = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL), *result;

	fclose(f);
	result = json_incref(json_object_get(answer, "result"));
	ck_assert_ptr_nonnull(result);
	json_decref(answer);
	return result;
}

START_TEST(status_tells_what_there_is)
{
	char dir[] = "/tmp/gw-daemon-XXXXXX", path[64];
	pthread_t thread;
	json_t *st, *e;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
	ck_assert_int_eq(START(ANY_PORT, MEMORY, "--export", "n=null:1G,ro",
			       "--workers", "2", "--control", path),
			 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);

	st = call(path, "version");
	ck_assert_str_eq(json_string_value(json_object_get(st, "version")),
			 RNBD_VERSION);
	json_decref(st);
	st = call(path, "status");
	ck_assert_int_eq(json_integer_value(json_object_get(st, "pid")),
			 getpid());
	ck_assert_uint_eq(json_array_size(json_object_get(st, "listeners")), 1);
	ck_assert_uint_eq(json_array_size(json_object_get(st, "exports")), 2);
	ck_assert_uint_eq(json_array_size(json_object_get(st, "workers")), 2);
	e = json_array_get(json_object_get(st, "workers"), 1);
	ck_assert_int_eq(json_integer_value(json_object_get(e, "index")), 1);
	ck_assert(json_is_array(json_object_get(e, "paths")));
	ck_assert(json_is_array(json_object_get(e, "devices")));
	ck_assert_int_eq(
		json_integer_value(json_object_get(
			json_object_get(json_object_get(e, "ops"), "read"),
			"ops")),
		0);
	json_decref(st);

	ck_assert_int_eq(kill(getpid(), SIGTERM), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(access(path, F_OK), -1);
	daemon_free(d);
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

/* Listens there, and will never say anything. */
static int
listen_mute(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	ck_assert_int_eq(bind(fd, (const void *)&sun, sizeof(sun)), 0);
	ck_assert_int_eq(listen(fd, 4), 0);
	return fd;
}

START_TEST(a_server_that_is_mute_keeps_nobody_waiting)
{
	char dir[] = "/tmp/gw-daemon-XXXXXX", path[64], mute[64], spec[160];
	int listener, asked;
	pthread_t thread;
	json_t *st;
	FILE *f, *g;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
	snprintf(mute, sizeof(mute), "%s/mute", dir);
	listener = listen_mute(mute);
	/* More than the test may take. */
	snprintf(spec, sizeof(spec),
		 "e=nbd+unix:///?socket=%s,connect-timeout=300", mute);
	ck_assert_int_eq(START(ANY_PORT, "--export", spec, "--control", path),
			 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);

	f = ask(path, "export.resize", "{\"name\":\"e\"}");
	asked = accept(listener, NULL, NULL);
	ck_assert_int_ge(asked, 0);
	close(asked);
	/* Now it knows: the server went away. */
	st = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL);
	fclose(f);
	ck_assert_ptr_nonnull(
		strstr(json_string_value(json_object_get(
			       json_object_get(st, "error"), "message")),
		       "export 'e': NBD server "));
	json_decref(st);

	/* The first who asks waits, the second leaves. */
	f = ask(path, "export.resize", "{\"name\":\"e\"}");
	asked = accept(listener, NULL, NULL);
	ck_assert_int_ge(asked, 0);
	g = ask(path, "export.resize", "{\"name\":\"e\"}");
	fclose(g);
	json_decref(call(path, "status"));

	/* Nor does the end wait. */
	ck_assert_int_eq(kill(getpid(), SIGTERM), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(fgetc(f), EOF);
	fclose(f);
	close(asked);
	close(listener);
	daemon_free(d);
	ck_assert_int_eq(unlink(mute), 0);
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/daemon");
	TCase *tc = tcase_create("daemon");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_loop_test(tc, signal_ends_it_in_order, 0, 2);
	tcase_add_test(tc, each_listener_is_printed);
	tcase_add_test(tc, port_in_use_is_named);
	tcase_add_test(tc, pid_file_is_before_the_listeners);
	tcase_add_test(tc, foreign_pid_file_is_a_wrong_option);
	tcase_add_test(tc, foreign_address_is_named);
	tcase_add_test(tc, missing_file_is_named);
	tcase_add_test(tc, status_tells_what_there_is);
	tcase_add_test(tc, a_server_that_is_mute_keeps_nobody_waiting);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
