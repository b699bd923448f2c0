/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket of a client over a fake session: each method, its
 * refusals, and its end while something is under way. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "nbdkit-plugin/control.h"
#include "nbdkit-plugin/progress.h"
#include "nbdkit-plugin/resolve.h"
#include "tests/unit/plugin/fake-clt.h"
#include "tests/unit/plugin/fake-paths.h"

static char dir[32], path[64], text[CONTROL_TEXT_MAX];
static struct rnbd_stats *stats;
static struct rnbd_wait *s;
static struct progress *helper;
static struct clt_control *cc;
static struct rnbd_clt_dev *dev;

/* "block" waits for the test; all else is resolved as path= is. */
static sem_t blocked, go_on;

static int
resolve(void *user, const char *t, struct rtrs_path_addr *ret, char *err,
	size_t err_len)
{
	struct path_spec spec;
	int rc;

	if (!strcmp(t, "block")) {
		sem_post(&blocked);
		sem_wait(&go_on);
		t = "tcp:127.0.0.9";
	}
	rc = path_parse(t, 1234, &spec, err, err_len);
	return rc ? rc : path_resolve(&spec, 0, ret, err, err_len);
}

static void
setup(void)
{
	struct rnbd_wait_params wp = {0};
	struct clt_control_params cp = {
		.path = path, .sessname = "blya", .resolve = resolve};
	char why[RNBD_WAIT_TEXT_MAX];

	signal(SIGPIPE, SIG_IGN);
	strcpy(dir, "/tmp/rnbd-ctl.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/c.ctl", dir);
	sem_init(&blocked, 0, 0);
	sem_init(&go_on, 0, 0);
	fake_reset();
	fake_paths_reset();
	ck_assert_int_eq(rnbd_stats_new(&stats), 0);
	wp.clt.stats = stats;
	ck_assert_int_eq(rnbd_wait_new(&wp, &s), 0);
	ck_assert_int_eq(rnbd_wait_open(s, "disk", RNBD_ACCESS_RW, why, &dev),
			 0);
	ck_assert_int_eq(progress_start(s, &helper), 0);
	cp.wait = s;
	cp.stats = stats;
	ck_assert_msg(!clt_control_new(&cp, text, &cc), "%s", text);
}

static void
end(void)
{
	clt_control_stop(cc);
	ck_assert_int_eq(access(path, F_OK), -1);
	progress_stop(helper);
	rnbd_wait_free(s, 1000);
	clt_control_free(cc);
	rnbd_stats_free(stats);
	ck_assert_int_eq(rmdir(dir), 0);
	ck_assert_int_eq(atomic_load(&fake.overlaps), 0);
}

/* ------------------------------------------------------------- speaking */

static int
dial(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(sun.sun_path, path);
	ck_assert_int_eq(connect(fd, (void *)&sun, sizeof(sun)), 0);
	return fd;
}

static void
say(int fd, const char *method, const char *param)
{
	char line[512];
	int n = snprintf(line, sizeof(line),
			 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\","
			 "\"params\":[%s%s%s]}\n",
			 method, param ? "\"" : "", param ? param : "",
			 param ? "\"" : "");

	ck_assert_int_eq(write(fd, line, (size_t)n), n);
}

static json_t *
hear(int fd)
{
	FILE *f = fdopen(fd, "r");
	char *line = NULL;
	size_t size = 0;
	json_t *ret;

	ck_assert_int_gt(getline(&line, &size, f), 0);
	ret = json_loads(line, 0, NULL);
	ck_assert_ptr_nonnull(ret);
	free(line);
	fclose(f);
	return ret;
}

static json_t *answer; /* the last one */

static json_t *
call(const char *method, const char *param)
{
	int fd = dial();

	json_decref(answer);
	say(fd, method, param);
	answer = hear(fd);
	ck_assert_msg(json_object_get(answer, "result"), "%s: %s", method,
		      json_dumps(answer, 0));
	return json_object_get(answer, "result");
}

/* The cause's word; the message is left in text. */
static const char *
fails(const char *method, const char *param)
{
	const json_t *err;
	int fd = dial();

	json_decref(answer);
	say(fd, method, param);
	answer = hear(fd);
	err = json_object_get(answer, "error");
	ck_assert_msg(err, "%s succeeds", method);
	snprintf(text, sizeof(text), "%s",
		 json_string_value(json_object_get(err, "message")));
	return json_string_value(
		json_object_get(json_object_get(err, "data"), "cause"));
}

#define REFUSES(cause, words, method, param)                                   \
	do {                                                                   \
		ck_assert_str_eq(fails(method, param), cause);                 \
		ck_assert_msg(strstr(text, words), "%s", text);                \
	} while (0)

static json_int_t
num(const json_t *obj, const char *key)
{
	ck_assert_msg(json_is_integer(json_object_get(obj, key)), "no %s", key);
	return json_integer_value(json_object_get(obj, key));
}

static const char *
str(const json_t *obj, const char *key)
{
	ck_assert_msg(json_is_string(json_object_get(obj, key)), "no %s", key);
	return json_string_value(json_object_get(obj, key));
}

static json_t *
row(const char *method, const char *param, size_t i)
{
	return json_array_get(call(method, param), i);
}

static void
io(enum rnbd_clt_op op, uint64_t n)
{
	uint64_t buf[64];

	ck_assert_int_eq(rnbd_wait_io(s, dev, op, 0, buf, sizeof(buf), n), 0);
}

/* ---------------------------------------------------------------- tests */

START_TEST(lists)
{
	json_t *p = row("path.list", NULL, 0);

	ck_assert_str_eq(str(p, "pathname"), "tcp:127.0.0.1@tcp:127.0.0.1");
	ck_assert_str_eq(str(p, "route"), "tcp:127.0.0.1:1234");
	ck_assert_str_eq(str(p, "state"), "connected");
	ck_assert_int_eq(num(p, "rd_cnt"), 1);
	ck_assert_int_eq(num(p, "wr_bytes"), 4);
	ck_assert_int_eq(num(p, "inflights"), 5);
	ck_assert_int_eq(num(p, "failovers"), 6);
	ck_assert_int_eq(num(p, "reconnects"), 7);
	ck_assert_int_eq(num(p, "reconnect_errors"), 8);
	ck_assert_int_eq(num(p, "cur_latency_ns"), 9);
	ck_assert_int_eq(num(p, "min_latency_ns"), 5);
	ck_assert_uint_eq(json_array_size(call("path.list", "tcp:127.0.0.2")),
			  0);
	p = row("session.list", NULL, 0);
	ck_assert_str_eq(str(p, "sessname"), "blya");
	ck_assert_str_eq(str(p, "state"), "connected");
	ck_assert_str_eq(str(p, "path_uu"), "U");
	ck_assert_int_eq(num(p, "queue_depth"), 64);
	ck_assert_int_eq(num(p, "held"), 11);
	ck_assert_uint_eq(json_array_size(call("device.list", NULL)), 0);
	atomic_store(&fake_paths.dev_size, 1 << 20);
	p = row("device.list", "disk", 0);
	ck_assert_str_eq(str(p, "state"), "open");
	ck_assert_int_eq(num(p, "size_bytes"), 1 << 20);
	ck_assert_int_eq(num(p, "users"), 2);
	p = call("session.show", "blya");
	ck_assert_uint_eq(json_array_size(json_object_get(p, "device_list")),
			  1);
	REFUSES("not-found", "this client's is 'blya'", "session.show", "x");
	ck_assert_str_eq(str(call("version", NULL), "sessname"), "blya");
	ck_assert_uint_gt(json_array_size(call("methods", NULL)), 10);
	end();
}
END_TEST

START_TEST(session_that_is_down)
{
	atomic_store(&fake.up, false);
	ck_assert_str_eq(str(row("session.list", NULL, 0), "state"),
			 "disconnected");
	ck_assert_str_eq(str(row("session.list", NULL, 0), "why"),
			 "connection refused");
	atomic_store(&fake.failed, true);
	ck_assert_str_eq(str(row("session.list", NULL, 0), "state"), "failed");
	end();
}
END_TEST

START_TEST(paths_come_and_go)
{
	ck_assert_int_eq(num(call("path.add", "tcp:127.0.0.2"), "id"), 2);
	ck_assert_str_eq(str(row("path.list", "2", 0), "state"), "connected");
	ck_assert_str_eq(str(row("session.list", NULL, 0), "path_uu"), "UU");
	call("path.disconnect", "tcp:127.0.0.2:1234");
	ck_assert_str_eq(str(row("path.list", "2", 0), "state"), "closed");
	ck_assert(json_is_true(
		json_object_get(row("path.list", "2", 0), "held_down")));
	call("path.reconnect", "tcp:127.0.0.2");
	ck_assert_str_eq(str(row("path.list", "2", 0), "state"), "connected");
	call("path.remove", "tcp:127.0.0.1@tcp:127.0.0.1");
	ck_assert_uint_eq(json_array_size(call("path.list", NULL)), 1);
	/* With its source. */
	call("path.add", "tcp:127.0.0.3@tcp:127.0.0.4");
	ck_assert_str_eq(str(row("path.list", "3", 0), "route"),
			 "tcp:127.0.0.3@tcp:127.0.0.4:1234");
	end();
}
END_TEST

START_TEST(path_refusals)
{
	static const struct {
		int err;
		const char *cause, *words;
	} begins[] = {
		{-EBUSY, "in-use", "try again"},
		{-EEXIST, "exists", "has this path already"},
		{-ENOENT, "not-found", "removed meanwhile"},
		{-ENOSPC, "failed", "more paths"},
		{-ESHUTDOWN, "failed", "made anew"},
		{-ENOMEM, "internal", "memory"},
	};

	REFUSES("invalid-params", "no host", "path.add", "tcp:");
	REFUSES("invalid-params", "path", "path.add", NULL);
	REFUSES("not-found", "no path 'x'", "path.remove", "x");
	for (size_t i = 0; i < ARRAY_SIZE(begins); i++) {
		atomic_store(&fake_paths.begin_err, begins[i].err);
		REFUSES(begins[i].cause, begins[i].words, "path.add",
			"tcp:127.0.0.2");
		REFUSES(begins[i].cause, begins[i].words, "path.reconnect",
			"1");
	}
	atomic_store(&fake_paths.begin_err, 0);
	/* Begun, and then it failed. */
	atomic_store(&fake_paths.why, "connection refused");
	atomic_store(&fake_paths.end_err, -ECONNREFUSED);
	REFUSES("failed", "path 'tcp:127.0.0.2': connection refused",
		"path.add", "tcp:127.0.0.2");
	atomic_store(&fake_paths.why, "");
	REFUSES("failed", strerror(ECONNREFUSED), "path.disconnect", "1");
	atomic_store(&fake_paths.end_err, 0);
	/* Two to the same address. */
	call("path.add", "tcp:127.0.0.1:1235");
	REFUSES("invalid-params", "more than one", "path.remove",
		"tcp:127.0.0.1");
	end();
}
END_TEST

START_TEST(policies)
{
	ck_assert_str_eq(str(call("session.policy", NULL), "policy"),
			 "round-robin");
	ck_assert_int_eq(num(call("session.policy.set", "ML"), "number"), 2);
	ck_assert_str_eq(str(call("session.policy", NULL), "policy"),
			 "min-latency");
	REFUSES("invalid-params", "none of", "session.policy.set", "best");
	end();
}
END_TEST

START_TEST(devices_are_asked_for)
{
	REFUSES("not-found", "it is as it is", "device.resize", "disk");
	atomic_store(&fake_paths.dev_size, 1 << 21);
	ck_assert_int_eq(num(call("device.resize", "disk"), "size_bytes"),
			 1 << 21);
	ck_assert_int_eq(atomic_load(&fake_paths.remaps), 0);
	call("device.remap", "disk");
	ck_assert_int_eq(atomic_load(&fake_paths.remaps), 1);
	atomic_store(&fake_paths.begin_err, -EBUSY);
	REFUSES("in-use", "as it is", "device.remap", "disk");
	atomic_store(&fake_paths.begin_err, 0);
	atomic_store(&fake_paths.why, "the device shrank");
	atomic_store(&fake_paths.end_err, -EINVAL);
	REFUSES("refused", "device 'disk': the device shrank", "device.resize",
		"disk");
	REFUSES("not-found", "no device has such a name", "device.resize", "");
	end();
}
END_TEST

struct counted {
	enum rnbd_clt_op op;
	uint64_t bytes;
	int err;
};

static bool
count_under_lock(struct rnbd_clt *clt, void *arg)
{
	const struct counted *c = arg;

	rnbd_stats_record(rnbd_stats_device(stats, "disk"), c->op, c->bytes,
			  c->err, NSEC_PER_MSEC);
	return false;
}

/* As if such an I/O had ended. */
static void
count(enum rnbd_clt_op op, uint64_t bytes, int err)
{
	struct counted c = {.op = op, .bytes = bytes, .err = err};

	rnbd_wait_with(s, count_under_lock, &c);
}

START_TEST(numbers_begin_anew_but_metrics_do_not)
{
	json_t *st;

	count(RNBD_CLT_READ, 4096, 0);
	count(RNBD_CLT_WRITE, 512, -EIO);
	st = json_object_get(call("stats", NULL), "ops");
	ck_assert_int_eq(num(json_object_get(st, "read"), "bytes"), 4096);
	ck_assert_int_eq(num(json_object_get(st, "write"), "errors"), 1);
	ck_assert_int_eq(num(call("stats.reset", NULL), "paths"), 1);
	call("stats.reset", NULL);
	st = call("stats", NULL);
	ck_assert_int_eq(num(st, "rd_cnt"), 0);
	ck_assert_int_eq(num(st, "inflights"), 5);
	ck_assert_int_eq(num(st, "timeouts"), 13);
	st = json_object_get(json_object_get(st, "ops"), "read");
	ck_assert_int_eq(num(st, "ops"), 0);
	count(RNBD_CLT_READ, 4096, 0);
	st = call("stats", NULL);
	ck_assert_int_eq(
		num(json_object_get(json_object_get(st, "latency"), "read"),
		    "count"),
		1);
	atomic_store(&fake_paths.dev_size, 1 << 20);
	st = call("metrics", NULL);
#define HAS(line) ck_assert_ptr_nonnull(strstr(str(st, "text"), line))
	HAS("rnbd_client_session_up{session=\"blya\"} 1\n");
	HAS("rnbd_client_path_reads_total{session=\"blya\","
	    "path=\"tcp:127.0.0.1:1234\"} 1\n");
	HAS("rnbd_client_path_inflight{session=\"blya\","
	    "path=\"tcp:127.0.0.1:1234\"} 5\n");
	HAS("rnbd_client_device_operations_total{session=\"blya\","
	    "device=\"disk\",operation=\"read\"} 2\n");
	HAS("rnbd_client_device_errors_total{session=\"blya\","
	    "device=\"disk\",operation=\"write\"} 1\n");
	HAS("rnbd_client_device_size_bytes{session=\"blya\",device=\"disk\"} "
	    "1048576\n");
	HAS("# EOF\n");
	end();
}
END_TEST

static atomic_bool enough;

static void *
worker(void *arg)
{
	while (!atomic_load(&enough))
		for (uint64_t n = 0; n < 100; n++)
			io(RNBD_CLT_READ, n);
	return NULL;
}

START_TEST(commands_while_io_goes_on)
{
	static const char *const methods[] = {"session.list", "path.list",
					      "device.list",  "stats",
					      "metrics",      "stats.reset"};
	pthread_t threads[4];

	atomic_store(&fake_paths.dev_size, 1 << 20);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, worker, NULL), 0);
	for (int i = 0; i < 10; i++) {
		call("path.add", "tcp:127.0.0.2");
		call("path.disconnect", "tcp:127.0.0.2");
		call("path.reconnect", "tcp:127.0.0.2");
		call("path.remove", "tcp:127.0.0.2");
		call("device.resize", "disk");
		call("device.remap", "disk");
		for (size_t k = 0; k < ARRAY_SIZE(methods); k++)
			call(methods[k], NULL);
		call("session.policy.set", i % 2 ? "rr" : "mi");
	}
	atomic_store(&enough, true);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	end();
}
END_TEST

START_TEST(end_with_commands_under_way)
{
	int fds[2] = {dial(), dial()};
	char c;

	atomic_store(&fake_paths.dev_size, 1 << 20);
	atomic_store(&fake_paths.hold, true);
	say(fds[0], "path.disconnect", "1");
	say(fds[1], "device.remap", "disk");
	while (!atomic_load(&fake_paths.asked))
		nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
	/* Who asked sees the end of the connection. */
	end();
	for (int i = 0; i < 2; i++) {
		ck_assert_int_le(read(fds[i], &c, 1), 0);
		close(fds[i]);
	}
}
END_TEST

START_TEST(who_asked_left_meanwhile)
{
	int fd = dial();

	atomic_store(&fake_paths.dev_size, 1 << 20);
	atomic_store(&fake_paths.hold, true);
	say(fd, "device.remap", "disk");
	while (!atomic_load(&fake_paths.asked))
		nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
	close(fd);
	atomic_store(&fake_paths.hold, false);
	fake_send_event();
	/* This one waits its turn, so the other has ended. */
	while (json_object_get(answer, "result") == NULL) {
		int again = dial();

		json_decref(answer);
		say(again, "device.resize", "disk");
		answer = hear(again);
	}
	end();
}
END_TEST

START_TEST(end_while_a_name_is_looked_up)
{
	int fd = dial();
	struct timespec a, b;

	say(fd, "path.add", "block");
	sem_wait(&blocked);
	clock_gettime(CLOCK_MONOTONIC, &a);
	clt_control_stop(cc);
	clock_gettime(CLOCK_MONOTONIC, &b);
	ck_assert_int_le(b.tv_sec - a.tv_sec, CLT_CONTROL_STOP_MS / 1000 + 5);
	ck_assert_int_eq(access(path, F_OK), -1);
	progress_stop(helper);
	rnbd_wait_free(s, 1000);
	/* The name comes, and nobody is there for it. */
	sem_post(&go_on);
	clt_control_free(cc);
	rnbd_stats_free(stats);
	rmdir(dir);
	close(fd);
}
END_TEST

/* The session is gone when its command is answered. */
START_TEST(path_that_is_added_as_all_ends)
{
	int fd = dial();

	atomic_store(&fake_paths.hold, true);
	say(fd, "path.add", "block");
	sem_wait(&blocked);
	sem_post(&go_on);
	clt_control_stop(cc);
	atomic_store(&fake_paths.hold, false);
	fake_send_event();
	progress_stop(helper);
	rnbd_wait_free(s, 1000);
	clt_control_free(cc);
	rnbd_stats_free(stats);
	rmdir(dir);
	close(fd);
}
END_TEST

START_TEST(name_that_comes_in_time)
{
	int fd = dial();

	say(fd, "path.add", "block");
	sem_wait(&blocked);
	sem_post(&go_on);
	json_decref(answer);
	answer = hear(fd);
	ck_assert_int_eq(num(json_object_get(answer, "result"), "id"), 2);
	end();
}
END_TEST

START_TEST(socket_in_use)
{
	struct clt_control_params cp = {
		.path = path, .sessname = "x", .wait = s, .stats = stats};
	struct clt_control *other;

	ck_assert_int_eq(clt_control_new(&cp, text, &other), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(text, "another process answers"));
	cp.path = "/nonexistent/dir/c.ctl";
	ck_assert_int_eq(clt_control_new(&cp, text, &other), -ENOENT);
	ck_assert_ptr_nonnull(strstr(text, "/nonexistent/dir/c.ctl"));
	/* The first one is as it was. */
	call("version", NULL);
	end();
}
END_TEST

static void
teardown(void)
{
	json_decref(answer);
	answer = NULL;
}

int
main(void)
{
	Suite *suite = suite_create("plugin/control");
	TCase *tc = tcase_create("control");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, lists);
	tcase_add_test(tc, session_that_is_down);
	tcase_add_test(tc, paths_come_and_go);
	tcase_add_test(tc, path_refusals);
	tcase_add_test(tc, policies);
	tcase_add_test(tc, devices_are_asked_for);
	tcase_add_test(tc, numbers_begin_anew_but_metrics_do_not);
	tcase_add_test(tc, commands_while_io_goes_on);
	tcase_add_test(tc, end_with_commands_under_way);
	tcase_add_test(tc, who_asked_left_meanwhile);
	tcase_add_test(tc, end_while_a_name_is_looked_up);
	tcase_add_test(tc, path_that_is_added_as_all_ends);
	tcase_add_test(tc, name_that_comes_in_time);
	tcase_add_test(tc, socket_in_use);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
