/* SPDX-License-Identifier: BSD-3-Clause */
/* Processes that are known again, held back, started and ended. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/ctl/map.h"

static int out;

static void
setup(void)
{
	out = memfd_create("out", MFD_CLOEXEC);
	ck_assert_int_ge(out, 0);
}

static void
teardown(void)
{
	close(out);
}

static void
hold(struct map_child *c, const char *script, int listener, unsigned flags)
{
	char sh[] = "@sh", opt[] = "-c";
	char *argv[] = {sh, opt, (char *)(uintptr_t)script, NULL};

	ck_assert_int_eq(
		map_child_new("/bin/sh", argv, out, listener, flags, c), 0);
}

/* A program that waits: not a copy of us, whose handlers it would run. */
static void
hold_running(struct map_child *c, const char *script)
{
	char text[256], byte;
	int ready[2];

	ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
	snprintf(text, sizeof(text), "%s echo >&3; exec 3>&-; exec sleep 1000",
		 script);
	hold(c, text, ready[1], 0);
	close(ready[1]);
	ck_assert_int_eq(map_child_go(c), 0);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
}

/* A daemon's end: it is not our child. */
static void
run_daemon(struct map_child *c, bool go)
{
	struct pollfd pfd = {.events = POLLIN};

	pfd.fd = map_proc_open(&c->proc);
	ck_assert_int_ge(pfd.fd, 0);
	if (go)
		ck_assert_int_eq(map_child_go(c), 0);
	else
		map_child_forget(c);
	ck_assert_int_eq(poll(&pfd, 1, 30000), 1);
	close(pfd.fd);
}

static const char *
said(void)
{
	static char text[4096];
	ssize_t n = pread(out, text, sizeof(text) - 1, 0);

	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	return text;
}

START_TEST(runs_when_it_may)
{
	struct map_child c;

	hold(&c, "echo done; exit 3", -1, 0);
	ck_assert(map_proc_alive(&c.proc));
	ck_assert_int_eq(map_child_go(&c), 0);
	ck_assert_int_eq(WEXITSTATUS(map_child_wait(&c)), 3);
	ck_assert_str_eq(said(), "done\n");
	ck_assert(!map_proc_alive(&c.proc));
}
END_TEST

/* As when we are killed before it is written down. */
START_TEST(does_not_run_otherwise)
{
	struct map_child c;

	hold(&c, "echo done", -1, 0);
	ck_assert_int_eq(WEXITSTATUS(map_child_wait(&c)), 127);
	hold(&c, "echo done", -1, MAP_SPAWN_DAEMON);
	run_daemon(&c, false);
	ck_assert_str_eq(said(), "");
}
END_TEST

START_TEST(program_that_is_not_there)
{
	char name[] = "x", *argv[] = {name, NULL};
	struct map_child c;

	ck_assert_int_eq(map_child_new("/nonexistent", argv, out, -1, 0, &c),
			 0);
	ck_assert_int_eq(map_child_go(&c), 0);
	ck_assert_int_eq(WEXITSTATUS(map_child_wait(&c)), 126);
	ck_assert_str_eq(said(),
			 "error: /nonexistent: No such file or directory\n");
}
END_TEST

START_TEST(daemon_is_on_its_own)
{
	struct map_child c;
	char want[64];

	snprintf(want, sizeof(want), "%d", (int)getpid());
	ck_assert_int_eq(setenv("PARENT", want, 1), 0);
	hold(&c,
	     "ulimit -f; pwd; umask; tr '\\0' ' ' </proc/$$/cmdline | cut -c-4;"
	     " cut -d' ' -f6 </proc/$$/stat;"
	     " test $(cut -d' ' -f4 </proc/$$/stat) != $PARENT && echo orphan",
	     -1, MAP_SPAWN_DAEMON);
	run_daemon(&c, true);
	snprintf(want, sizeof(want), "%d\n/\n0077\n@sh \n%d\norphan\n",
		 MAP_LOG_MAX / 512, (int)c.proc.pid);
	ck_assert_str_eq(said(), want);
}
END_TEST

/* Its log fills up: it goes on, and the log does not. */
START_TEST(log_has_an_end)
{
	char file[] = "map-log.XXXXXX";
	struct map_child c;
	off_t size;

	close(out);
	out = mkstemp(file);
	ck_assert_int_ge(out, 0);
	unlink(file);
	hold(&c, "head -c 2000000 /dev/zero; exec true", -1, MAP_SPAWN_DAEMON);
	run_daemon(&c, true);
	size = lseek(out, 0, SEEK_END);
	ck_assert_int_eq(size, MAP_LOG_MAX);
}
END_TEST

START_TEST(listener_is_handed_over)
{
	struct map_child c;
	int fd = memfd_create("listener", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	hold(&c, "test $LISTEN_PID = $$ && echo $LISTEN_FDS && echo x >&3", fd,
	     0);
	ck_assert_int_eq(map_child_go(&c), 0);
	ck_assert_int_eq(map_child_wait(&c), 0);
	ck_assert_str_eq(said(), "1\n");
	ck_assert_int_eq(lseek(fd, 0, SEEK_END), 2);
	close(fd);
}
END_TEST

/* What is open here by chance is nothing that a daemon should keep open. */
START_TEST(nothing_else_is_handed_over)
{
	static const char script[] =
		"for f in 3 4 9; do readlink /proc/$$/fd/$f || echo none; done";
	struct map_child c;
	int fd = memfd_create("listener", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(dup2(out, 9), 9);
	hold(&c, script, _i ? fd : -1, 0);
	ck_assert_int_eq(map_child_go(&c), 0);
	ck_assert_int_eq(map_child_wait(&c), 0);
	ck_assert_str_eq(said(), _i ? "/memfd:listener (deleted)\nnone\nnone\n"
				    : "none\nnone\nnone\n");
	close(fd);
	close(9);
}
END_TEST

START_TEST(ends_with_who_started_it)
{
	struct pollfd pfd = {.events = POLLIN};
	struct map_child c;
	int told[2];
	pid_t pid;

	ck_assert_int_eq(pipe2(told, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		hold_running(&c, "");
		ck_assert_int_eq(write(told[1], &c, sizeof(c)), sizeof(c));
		for (;;)
			pause();
	}
	ck_assert_int_eq(read(told[0], &c, sizeof(c)), sizeof(c));
	pfd.fd = map_proc_open(&c.proc);
	ck_assert_int_ge(pfd.fd, 0);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(poll(&pfd, 1, 20000), 1);
	close(pfd.fd);
	close(told[0]);
	close(told[1]);
}
END_TEST

/* ------------------------------------------------- known again */

START_TEST(recycled_pid_is_another_process)
{
	struct map_child c;
	struct map_proc old;

	hold_running(&c, "");
	old = c.proc;
	old.start--;
	ck_assert_int_eq(map_proc_open(&old), -1);
	ck_assert(!map_proc_alive(&old));
	/* Ended long ago, so there is nothing to do; and nothing was done. */
	ck_assert(map_proc_end(&old, 1000));
	ck_assert(map_proc_alive(&c.proc));
	ck_assert(map_proc_end(&c.proc, 10000));
	ck_assert_int_eq(WTERMSIG(map_child_wait(&c)), SIGTERM);
}
END_TEST

START_TEST(none_and_gone)
{
	struct map_proc none = {0}, self = {.pid = getpid()};

	ck_assert(!map_proc_alive(&none));
	ck_assert(map_proc_end(&none, 1));
	ck_assert(!map_proc_alive(&self));
}
END_TEST

START_TEST(zombie_is_no_more)
{
	struct map_child c;
	struct pollfd pfd = {.events = POLLIN};

	hold(&c, "exit 0", -1, 0);
	pfd.fd = map_proc_open(&c.proc);
	ck_assert_int_ge(pfd.fd, 0);
	ck_assert_int_eq(map_child_go(&c), 0);
	ck_assert_int_eq(poll(&pfd, 1, 30000), 1);
	ck_assert(!map_proc_alive(&c.proc));
	close(pfd.fd);
	ck_assert_int_eq(map_child_wait(&c), 0);
}
END_TEST

START_TEST(stubborn_ones_are_killed)
{
	struct map_child c;

	hold_running(&c, "trap '' TERM;");
	ck_assert(map_proc_end(&c.proc, 100));
	ck_assert_int_eq(WTERMSIG(map_child_wait(&c)), SIGKILL);
}
END_TEST

START_TEST(programs_are_found)
{
	char *sh = map_find_program("sh");

	ck_assert_ptr_nonnull(sh);
	ck_assert_int_eq(access(sh, X_OK), 0);
	free(sh);
	ck_assert_ptr_null(map_find_program("there-is-no-such-program"));
	/* Root's directories are looked at whatever PATH says. */
	ck_assert_int_eq(setenv("PATH", "/nonexistent", 1), 0);
	sh = map_find_program("sh");
	ck_assert_ptr_nonnull(sh);
	free(sh);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ctl/map-proc");
	TCase *tc = tcase_create("map-proc");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, runs_when_it_may);
	tcase_add_test(tc, does_not_run_otherwise);
	tcase_add_test(tc, program_that_is_not_there);
	tcase_add_test(tc, daemon_is_on_its_own);
	tcase_add_test(tc, log_has_an_end);
	tcase_add_test(tc, listener_is_handed_over);
	tcase_add_loop_test(tc, nothing_else_is_handed_over, 0, 2);
	tcase_add_test(tc, ends_with_who_started_it);
	tcase_add_test(tc, recycled_pid_is_another_process);
	tcase_add_test(tc, none_and_gone);
	tcase_add_test(tc, zombie_is_no_more);
	tcase_add_test(tc, stubborn_ones_are_killed);
	tcase_add_test(tc, programs_are_found);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
