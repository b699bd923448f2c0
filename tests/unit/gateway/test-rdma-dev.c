/* SPDX-License-Identifier: BSD-3-Clause */
/* Over a directory that looks like /sys/class/infiniband. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gateway/rdma-dev.h"
#include "rtrs/base/util.h"

static char sysfs[64];
static char err[256];
static char ifaces[RDMA_DEV_MAX_IFACES][IF_NAMESIZE];
static struct sockaddr_storage addrs[RDMA_DEV_MAX_ADDRS];

static void
setup(void)
{
	strcpy(sysfs, "/tmp/rdma-dev-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(sysfs));
}

static void
teardown(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -r '%s'", sysfs);
	ck_assert_int_eq(system(cmd), 0);
}

/* A directory, or with text a file, and what is above it. */
static void
make(const char *path, const char *text_of_file)
{
	char full[256];
	FILE *f;

	for (const char *p = strchr(path, '/'); p; p = strchr(p + 1, '/')) {
		snprintf(full, sizeof(full), "%s/%.*s", sysfs, (int)(p - path),
			 path);
		(void)mkdir(full, 0700);
	}
	snprintf(full, sizeof(full), "%s/%s", sysfs, path);
	if (!text_of_file) {
		ck_assert_int_eq(mkdir(full, 0700), 0);
		return;
	}
	f = fopen(full, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text_of_file, f);
	fclose(f);
}

START_TEST(interfaces__of_soft_roce)
{
	make("rxe0/parent", "eth0\n");
	make("rxe0/ports/1/gid_attrs/ndevs/0", "eth0\n");
	make("rxe0/ports/1/gid_attrs/ndevs/1", "eth0\n");
	make("rxe0/ports/1/gid_attrs/ndevs/2", "");
	ck_assert_int_eq(rdma_dev_interfaces(sysfs, "rxe0", ifaces), 1);
	ck_assert_str_eq(ifaces[0], "eth0");
}
END_TEST

START_TEST(interfaces__of_two_ports_with_vlan)
{
	make("mlx5_0/device/net/ens1f0/mtu", "1500\n");
	make("mlx5_0/ports/1/gid_attrs/ndevs/0", "ens1f0\n");
	make("mlx5_0/ports/1/gid_attrs/ndevs/1", "ens1f0.7\n");
	make("mlx5_0/ports/2/gid_attrs/ndevs/0", "ens1f1\n");
	ck_assert_int_eq(rdma_dev_interfaces(sysfs, "mlx5_0", ifaces), 3);
	ck_assert_str_eq(ifaces[0], "ens1f0");
}
END_TEST

START_TEST(interfaces__bad_names)
{
	make("rxe0/parent", "a-name-that-no-interface-can-have\n");
	ck_assert_int_eq(rdma_dev_interfaces(sysfs, "rxe0", ifaces), 0);
	ck_assert_int_eq(rdma_dev_interfaces(sysfs, "rxe1", ifaces), -ENOENT);
	ck_assert_int_eq(rdma_dev_interfaces(sysfs, "", ifaces), -ENOENT);
	ck_assert_int_eq(rdma_dev_interfaces(sysfs, ".", ifaces), -ENOENT);
	ck_assert_int_eq(rdma_dev_interfaces(sysfs, "../x", ifaces), -ENOENT);
}
END_TEST

START_TEST(addrs__of_the_interface)
{
	bool loopback = false;
	int n;

	make("rxe0/parent", "lo\n");
	n = rdma_dev_addrs(sysfs, "rxe0", addrs, err, sizeof(err));
	ck_assert_int_ge(n, 1);
	for (int i = 0; i < n; i++) {
		struct sockaddr_in sin;

		memcpy(&sin, &addrs[i], sizeof(sin));
		if (addrs[i].ss_family == AF_INET &&
		    sin.sin_addr.s_addr == htonl(INADDR_LOOPBACK))
			loopback = true;
	}
	ck_assert(loopback);
}
END_TEST

static void
fails(const char *name, const char *says)
{
	ck_assert_int_eq(rdma_dev_addrs(sysfs, name, addrs, err, sizeof(err)),
			 -ENODEV);
	ck_assert_str_eq(err, says);
}

START_TEST(addrs__errors_have_words)
{
	fails("rxe0", "this machine has no RDMA device; load a driver, such as "
		      "soft-RoCE: rdma link add rxe0 type rxe netdev eth0, or "
		      "listen on tcp:ADDR");
	make("mlx4_0", NULL);
	fails("rxe0", "there is no RDMA device 'rxe0'; there is: mlx4_0");
	fails("mlx4_0", "RDMA device 'mlx4_0' has no network interface; listen "
			"on gid:GID");
	make("rxe0/parent", "nope0\n");
	fails("rxe0", "interface nope0 of RDMA device 'rxe0' has no address; "
		      "give it one (ip address add ...)");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("rdma-dev");
	TCase *tc = tcase_create("rdma-dev");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, interfaces__of_soft_roce);
	tcase_add_test(tc, interfaces__of_two_ports_with_vlan);
	tcase_add_test(tc, interfaces__bad_names);
	tcase_add_test(tc, addrs__of_the_interface);
	tcase_add_test(tc, addrs__errors_have_words);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
