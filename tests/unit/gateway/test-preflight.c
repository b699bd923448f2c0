/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a daemon with an RDMA listener lacks, on machines that are directories.
 * Each test is a process of its own, with its own limit and capabilities.
 */
#include <check.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gateway/preflight.h"

static char root[64], logged[512];
static unsigned n_logged;

static const struct fabric_ops rdma = {.name = "verbs"};
static struct options o;

static void
log_write(void *user, enum log_level level, const char *line)
{
	snprintf(logged, sizeof(logged), "%s: %s", log_level_name(level), line);
	n_logged++;
}

static const struct log log_here = {
	.sink = log_write,
	.threshold = LOG_LVL_INFO,
};

static void
run(const char *command)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd), "%s '%s'", command, root);
	ck_assert_int_eq(system(cmd), 0);
}

static void
setup(void)
{
	strcpy(root, "/tmp/preflight-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	o = (struct options){
		.n_listen = 2,
		.listen[0] = {.text = "tcp:127.0.0.1", .fabric = &fabric_tcp},
		.listen[1] = {.text = "ip:10.0.0.1", .fabric = &rdma},
		.queue_depth = 8,
		.chunk_size = 131072,
		.max_sessions = 100,
	};
}

static void
teardown(void)
{
	run("rm -r");
}

static void
make_device(void)
{
	run("mk() { mkdir -p $1/sys/class/infiniband/rxe0 $1/dev/infiniband; "
	    "touch $1/dev/infiniband/rdma_cm $1/dev/infiniband/uverbs0; }; mk");
}

static void
limit_memlock(rlim_t bytes)
{
	const struct rlimit rl = {.rlim_cur = bytes, .rlim_max = bytes};
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = {0};

	ck_assert_int_eq(syscall(SYS_capget, &hdr, data), 0);
	data[0].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
	data[0].permitted &= ~CAP_TO_MASK(CAP_IPC_LOCK);
	ck_assert_int_eq(syscall(SYS_capset, &hdr, data), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &rl), 0);
}

START_TEST(device__missing)
{
	ck_assert_int_eq(preflight(&o, root, &log_here), -ENODEV);
	ck_assert_uint_eq(n_logged, 1);
	ck_assert_str_eq(logged,
			 "error: --listen ip:10.0.0.1: this machine has no "
			 "RDMA device; load a driver, such as soft-RoCE (rdma "
			 "link add rxe0 type rxe netdev eth0), or use tcp:");
	o.n_listen = 1;
	ck_assert_int_eq(preflight(&o, root, &log_here), 0);
	ck_assert_uint_eq(n_logged, 1);
}
END_TEST

START_TEST(memlock__not_one_session)
{
	static const char head[] =
		"error: --listen ip:10.0.0.1: one session of --queue-depth 8 "
		"and --chunk-size 131072 pins ";
	unsigned kib;

	make_device();
	limit_memlock(65536);
	ck_assert_int_eq(preflight(&o, root, &log_here), -ENOMEM);
	ck_assert_uint_eq(n_logged, 1);
	ck_assert_ptr_eq(strstr(logged, head), logged);
	ck_assert_int_eq(sscanf(logged + strlen(head), "%u KiB", &kib), 1);
	ck_assert_uint_gt(kib, 1024); /* the chunks, and somewhat more */
	ck_assert_ptr_nonnull(
		strstr(logged, ", 0 KiB are in use and the limit is 64 KiB; "
			       "raise it (ulimit -l, LimitMEMLOCK=), grant "
			       "CAP_IPC_LOCK, or lower --queue-depth"));
}
END_TEST

START_TEST(memlock__fewer_than_max_sessions)
{
	make_device();
	limit_memlock(8 << 20);
	ck_assert_int_eq(preflight(&o, root, &log_here), 0);
	ck_assert_uint_eq(n_logged, 1);
	ck_assert_ptr_eq(strstr(logged, "info: the limit of pinned memory, "
					"8192 KiB, holds "),
			 logged);
	ck_assert_ptr_nonnull(strstr(logged, "--max-sessions is 100"));
	o.max_sessions = 1;
	ck_assert_int_eq(preflight(&o, root, &log_here), 0);
	ck_assert_uint_eq(n_logged, 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("preflight");
	TCase *tc = tcase_create("preflight");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, device__missing);
	tcase_add_test(tc, memlock__not_one_session);
	tcase_add_test(tc, memlock__fewer_than_max_sessions);
	suite_add_tcase(suite, tc);
	srunner_set_fork_status(sr, CK_FORK);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
