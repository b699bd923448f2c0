/* SPDX-License-Identifier: BSD-3-Clause */
/* What is refused behind the wall, and what is not. Each test is a process. */
#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/backend/pool.h"
#include "gateway/backend/uring.h"
#include "gateway/sandbox.h"

static char text[SANDBOX_TEXT_MAX];

static void
setup(void)
{
	int r = sandbox_apply(text);

	ck_assert_msg(!r, "%s", text);
}

/* Runs a call that must be refused with err. */
#define REFUSED(err, call)                                                     \
	do {                                                                   \
		errno = 0;                                                     \
		ck_assert_int_eq((int)(call), -1);                             \
		ck_assert_int_eq(errno, err);                                  \
	} while (0)

static int
start_program(void)
{
	char name[] = "/bin/true", *argv[] = {name, NULL}, *envp[] = {NULL};

	return execve(name, argv, envp);
}

START_TEST(no_program_is_started)
{
	REFUSED(EPERM, start_program());
	REFUSED(EPERM, fork());
	REFUSED(EPERM, vfork());
	ck_assert_int_ne(system("true"), 0);
}
END_TEST

static void *
try_program(void *arg)
{
	sem_t *go = arg;

	if (go)
		while (sem_wait(go) < 0)
			;
	REFUSED(EPERM, start_program());
	return arg;
}

START_TEST(threads_start_and_are_inside)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, try_program, NULL), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

START_TEST(older_threads_are_inside)
{
	pthread_t thread;
	sem_t go;

	sem_init(&go, 0, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, try_program, &go), 0);
	setup();
	sem_post(&go);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}
END_TEST

START_TEST(other_processes_are_not_touched)
{
	REFUSED(EPERM, ptrace(PTRACE_SEIZE, getppid(), NULL, NULL));
	REFUSED(EPERM, kill(getppid(), 0));
	REFUSED(EPERM, kill(-1, 0));
	ck_assert_int_eq(kill(getpid(), 0), 0);
	ck_assert_int_eq(raise(0), 0);
}
END_TEST

START_TEST(nothing_is_mounted_or_loaded)
{
	REFUSED(EPERM, mount("none", "/tmp", "tmpfs", 0, NULL));
	REFUSED(EPERM, syscall(SYS_init_module, NULL, 0, ""));
	REFUSED(EPERM, syscall(SYS_bpf, 0, NULL, 0));
	REFUSED(EPERM, syscall(SYS_unshare, 0));
	REFUSED(EPERM, syscall(SYS_keyctl, 0, 0, 0, 0, 0));
	REFUSED(EPERM, chroot("/"));
}
END_TEST

START_TEST(identity_and_modes_stay)
{
	REFUSED(EPERM, setuid(getuid()));
	REFUSED(EPERM, chmod("/", 0755));
	REFUSED(EPERM, mknod("/tmp/x", S_IFIFO, 0));
	REFUSED(EPERM, symlink("/", "/tmp/x"));
	REFUSED(EPERM, ioctl(0, TIOCSTI, "x"));
}
END_TEST

START_TEST(memory_is_not_written_and_executed)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	REFUSED(EPERM, mprotect(p, 4096, PROT_READ | PROT_EXEC));
	ck_assert_int_eq(mprotect(p, 4096, PROT_READ), 0);
	ck_assert_ptr_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
			 MAP_FAILED);
	ck_assert_int_eq(errno, EPERM);
}
END_TEST

START_TEST(odd_sockets_are_not_opened)
{
	static const int good[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

	REFUSED(EAFNOSUPPORT, socket(AF_PACKET, SOCK_RAW, 0));
	REFUSED(EAFNOSUPPORT, socket(AF_ALG, SOCK_SEQPACKET, 0));
	for (unsigned i = 0; i < sizeof(good) / sizeof(*good); i++) {
		int fd = socket(good[i], SOCK_DGRAM, 0);

		ck_assert_msg(fd >= 0 || errno == EAFNOSUPPORT, "family %d",
			      good[i]);
		close(fd);
	}
}
END_TEST

/* What exports that come later need: files, rings, names, libraries. */
START_TEST(work_goes_on)
{
	char path[] = "/tmp/rnbd-sandbox-XXXXXX";
	struct gw_pool *pool;
	struct gw_pool_exec *exec;
	struct gw_io_engine *io;
	struct addrinfo *ai;
	struct rlimit rl;
	void *lib;
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fallocate(fd, 0, 0, 65536), 0);
	ck_assert_int_eq(unlink(path), 0);
	close(fd);
	ck_assert_int_eq(gw_pool_new(2, &pool), 0);
	ck_assert_int_eq(gw_pool_exec_new(pool, &exec), 0);
	ck_assert_int_eq(
		gw_io_engine_new(gw_pool_exec_base(exec), NULL, false, &io), 0);
	gw_io_engine_free(io);
	gw_pool_exec_free(exec);
	gw_pool_free(pool);
	ck_assert_int_eq(getaddrinfo("localhost", "1", NULL, &ai), 0);
	freeaddrinfo(ai);
	ck_assert_int_eq(getrlimit(RLIMIT_MEMLOCK, &rl), 0);
	lib = dlopen("libm.so.6", RTLD_NOW);
	ck_assert_ptr_nonnull(lib);
	dlclose(lib);
}
END_TEST

START_TEST(there_is_no_way_back)
{
	ck_assert_int_lt(sandbox_apply(text), 0);
	ck_assert_str_ne(text, "");
	REFUSED(EPERM, start_program());
	ck_assert_int_eq(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
}
END_TEST

START_TEST(dumpable_if_asked)
{
	ck_assert_int_eq(sandbox_set_dumpable(false), 0);
	ck_assert_int_eq(prctl(PR_GET_DUMPABLE), 0);
	ck_assert_int_eq(sandbox_set_dumpable(true), 0);
	ck_assert_int_eq(prctl(PR_GET_DUMPABLE), 1);
}
END_TEST

/* Where it cannot work that is said, and not tried. */
START_TEST(missing_says_why)
{
	const char *why = sandbox_missing();

	if (why)
		ck_assert_str_ne(why, "");
	else
		setup();
}
END_TEST

static TCase *
tests_inside(void)
{
	TCase *inside = tcase_create("inside");

	tcase_add_checked_fixture(inside, setup, NULL);
	tcase_add_test(inside, no_program_is_started);
	tcase_add_test(inside, threads_start_and_are_inside);
	tcase_add_test(inside, other_processes_are_not_touched);
	tcase_add_test(inside, nothing_is_mounted_or_loaded);
	tcase_add_test(inside, identity_and_modes_stay);
	tcase_add_test(inside, memory_is_not_written_and_executed);
	tcase_add_test(inside, odd_sockets_are_not_opened);
	tcase_add_test(inside, work_goes_on);
	tcase_add_test(inside, there_is_no_way_back);
	return inside;
}

int
main(void)
{
	Suite *suite = suite_create("gateway/sandbox");
	TCase *out = tcase_create("outside");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_test(out, missing_says_why);
	suite_add_tcase(suite, out);
	if (!sandbox_missing()) {
		tcase_add_test(out, older_threads_are_inside);
		tcase_add_test(out, dumpable_if_asked);
		suite_add_tcase(suite, tests_inside());
	}
	srunner_set_fork_status(sr, CK_FORK);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
