/* SPDX-License-Identifier: BSD-3-Clause */
/* nbd devices by what sysfs says of them, here in a directory of the test. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "capture.h"
#include "gateway/ctl/map.h"
#include "map-rig.h"

static const struct {
	const char *name;
	int index;
} names[] = {
	{"nbd0", 0},        {"/dev/nbd15", 15}, {"/dev/nbd", -1},
	{"nbd", -1},        {"nbd1p1", -1},     {"/dev/sda", -1},
	{"nbd-1", -1},      {"nbd 1", -1},      {"/dev/nbd99999999999", -1},
	{"/dev//nbd1", -1}, {"", -1},
};

START_TEST(names_of_devices)
{
	ck_assert_int_eq(map_nbd_index(names[_i].name), names[_i].index);
}
END_TEST

START_TEST(connected_or_not)
{
	rig_nbd(0, 17, 1 << 20);
	rig_nbd(1, 0, 1 << 20);
	ck_assert_int_eq(map_nbd_pid(0), 17);
	ck_assert_uint_eq(map_nbd_size(0), 1 << 20);
	ck_assert_int_eq(map_nbd_pid(1), 0);
	/* A size from before says nothing. */
	ck_assert_uint_eq(map_nbd_size(1), 0);
	ck_assert_int_eq(map_nbd_pid(2), 0);
	rig_write("/sys/block/nbd3/pid", "what?\n");
	ck_assert_int_eq(map_nbd_pid(3), 0);
}
END_TEST

START_TEST(first_one_that_is_free)
{
	ck_assert_int_eq(map_nbd_free(0), 0);
	rig_nbd(0, 17, 512);
	rig_nbd(1, 0, 0);
	rig_nbd(2, 18, 512);
	ck_assert_int_eq(map_nbd_free(0), 1);
	/* The kernel makes what is not there. */
	ck_assert_int_eq(map_nbd_free(2), 3);
	ck_assert_int_eq(map_nbd_free(1024), -1);
}
END_TEST

START_TEST(there_when_all_of_it_is)
{
	rig_nbd(0, 17, 512);
	ck_assert_int_eq(map_nbd_wait(0, 17), 0);
	/* Another was quicker. */
	ck_assert_int_eq(map_nbd_wait(0, 18), -ENODEV);
}
END_TEST

START_TEST(nobody_uses_it)
{
	char user[64] = "?";
	int fd = -1;

	rig_nbd(0, 17, 512);
	rig_write("/sys/block/nbd0/dev", "43:0\n");
	rig_write("/sys/block/nbd0/nbd0p1/dev", "43:1\n");
	map_nbd_user(0, user, sizeof(user), &fd);
	ck_assert_str_eq(user, "");
	ck_assert_int_ge(fd, 0);
	close(fd);
	/* No such file: nobody can have it open. */
	rig_remove("/dev/nbd0");
	map_nbd_user(0, user, sizeof(user), &fd);
	ck_assert_str_eq(user, "");
	ck_assert_int_eq(fd, -1);
}
END_TEST

/* The device that / of this machine is on, or whatever is mounted. */
START_TEST(who_has_it_mounted)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096], where[1024], user[300], dev[32];
	unsigned maj, min;
	int fd = -1;

	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
	fclose(f);
	ck_assert_int_eq(
		sscanf(line, "%*d %*d %u:%u %*s %1023s", &maj, &min, where), 3);
	rig_nbd(0, 17, 512);
	rig_write("/sys/block/nbd0/dev", "43:0\n");
	snprintf(dev, sizeof(dev), "%u:%u\n", maj, min);
	rig_write("/sys/block/nbd0/nbd0p2/dev", dev);
	/* Of another disk, whose number begins alike. */
	rig_write("/sys/block/nbd0/nbd01p2/dev", "44:0\n");
	map_nbd_user(0, user, sizeof(user), &fd);
	ck_assert_msg(!strncmp(user, "mounted on ", 11), "'%s'", user);
	ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(what_is_missing)
{
	char empty[512];

	snprintf(empty, sizeof(empty), "%s", rig_path("/bin"));
	capture_begin();
	ck_assert_int_eq(map_nbd_check(), CTL_REFUSED);
	ck_assert_str_eq(capture_end(),
			 "rnbdctl: error: this kernel has no network block "
			 "devices: run `modprobe nbd`\n");
	/* Built in, it has no module; as a module, it may have no device. */
	rig_write("/sys/module/nbd/parameters/max_part", "15\n");
	rig_write("/bin/nbd-client", "");
	ck_assert_int_eq(setenv("PATH", empty, 1), 0);
	capture_begin();
	(void)map_nbd_check();
	ck_assert_ptr_null(strstr(capture_end(), "modprobe"));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("ctl/map-nbd");
	TCase *tc = tcase_create("map-nbd");
	SRunner *sr = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(tc, rig_setup, rig_teardown);
	tcase_add_loop_test(tc, names_of_devices, 0, ARRAY_SIZE(names));
	tcase_add_test(tc, connected_or_not);
	tcase_add_test(tc, first_one_that_is_free);
	tcase_add_test(tc, there_when_all_of_it_is);
	tcase_add_test(tc, nobody_uses_it);
	tcase_add_test(tc, who_has_it_mounted);
	tcase_add_test(tc, what_is_missing);
	suite_add_tcase(s, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
