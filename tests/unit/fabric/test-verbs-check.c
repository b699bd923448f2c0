/* SPDX-License-Identifier: BSD-3-Clause */
/* Over a directory that looks like a machine. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rtrs/base/util.h"
#include "rtrs/fabric/verbs-check.h"

static char root[64], why[256];

static void
setup(void)
{
	strcpy(root, "/tmp/verbs-check-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	ck_assert_int_eq(chmod(root, 0755), 0);
}

static void
teardown(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -r '%s'", root);
	ck_assert_int_eq(system(cmd), 0);
}

static void
make_dir(const char *path)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "mkdir -p '%s/%s'", root, path);
	ck_assert_int_eq(system(cmd), 0);
}

static void
make_node(const char *path, mode_t mode)
{
	char full[256];
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", root, path);
	(void)unlink(full);
	f = fopen(full, "w");
	ck_assert_ptr_nonnull(f);
	fclose(f);
	ck_assert_int_eq(chmod(full, mode), 0);
}

static void
expect(int err, const char *says)
{
	why[0] = '\0';
	ck_assert_int_eq(verbs_check(root, why, sizeof(why)), err);
	ck_assert_str_eq(why, says);
}

START_TEST(check__one_after_the_other)
{
	expect(-ENODEV, "this machine has no RDMA device; load a driver, such "
			"as soft-RoCE (rdma link add rxe0 type rxe netdev "
			"eth0), or use tcp:");
	make_dir("sys/class/infiniband/rxe0");
	expect(-ENOENT, "RDMA is not open to programs, there is no "
			"/dev/infiniband/uverbs*; load module ib_uverbs");
	make_dir("dev/infiniband");
	make_node("dev/infiniband/uverbs0", 0666);
	expect(-ENOENT, "RDMA is not open to programs, there is no "
			"/dev/infiniband/rdma_cm; load module rdma_ucm");
	make_node("dev/infiniband/rdma_cm", 0666);
	expect(0, "");
}
END_TEST

/* Root passes every check of permissions: be somebody else. */
START_TEST(check__permissions)
{
	make_dir("sys/class/infiniband/rxe0");
	make_dir("dev/infiniband");
	make_node("dev/infiniband/uverbs0", _i ? 0 : 0666);
	make_node("dev/infiniband/rdma_cm", _i ? 0666 : 0);
	if (!geteuid())
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	expect(-EACCES, _i ? "no permission to use /dev/infiniband/uverbs0; "
			     "see PERMISSIONS in rnbd-gatewayd(8)"
			   : "no permission to use /dev/infiniband/rdma_cm; "
			     "see PERMISSIONS in rnbd-gatewayd(8)");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("verbs-check");
	TCase *tc = tcase_create("machine");
	TCase *permissions = tcase_create("permissions");
	SRunner *sr = srunner_create(suite);
	int failed;

	/* Made and removed by the parent, which stays who it is. */
	tcase_add_unchecked_fixture(tc, setup, teardown);
	tcase_add_test(tc, check__one_after_the_other);
	tcase_add_unchecked_fixture(permissions, setup, teardown);
	tcase_add_loop_test(permissions, check__permissions, 0, 2);
	suite_add_tcase(suite, tc);
	suite_add_tcase(suite, permissions);
	srunner_set_fork_status(sr, CK_FORK);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
