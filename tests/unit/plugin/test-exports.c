/* SPDX-License-Identifier: BSD-3-Clause */
/* Which device a client gets for the name that it says. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nbdkit-plugin/exports.h"

static struct exports x;
static char why[EXPORTS_TEXT_MAX];

static void
setup(void)
{
	memset(&x, 0, sizeof(x));
	why[0] = '\0';
}

static void
teardown(void)
{
	exports_deinit(&x);
}

static void
choose(const char *name, const char *device, bool read_only)
{
	struct export_choice c;

	ck_assert_msg(!exports_choose(&x, name, &c, why), "%s: %s", name, why);
	ck_assert_str_eq(c.device, device);
	ck_assert_int_eq(c.read_only, read_only);
}

static void
refuse(const char *name, int err, const char *says)
{
	struct export_choice c;

	ck_assert_int_eq(exports_choose(&x, name, &c, why), err);
	ck_assert_str_eq(why, says);
}

START_TEST(one_device_for_all)
{
	x.only = strdup("dir/disk");
	choose("", "dir/disk", false);
	choose("whatever", "dir/disk", false);
	ck_assert_str_eq(exports_default(&x), "");
}
END_TEST

START_TEST(list__names_and_modes)
{
	ck_assert_int_eq(exports_add(&x, "disk", why), 0);
	ck_assert_int_eq(exports_add(&x, "a=dir/disk", why), 0);
	ck_assert_int_eq(exports_add(&x, "b=dir/disk,ro", why), 0);
	ck_assert_int_eq(exports_add(&x, "c,ro", why), 0);
	choose("disk", "disk", false);
	choose("a", "dir/disk", false);
	choose("b", "dir/disk", true);
	choose("c", "c", true);
	refuse("d", -ENOENT, "no export 'd' in exports=");
	refuse("", -ENOENT, "no export '' in exports=");
	ck_assert_str_eq(exports_default(&x), "disk");
}
END_TEST

START_TEST(list__bad)
{
	static char name_255[256];

	memset(name_255, 'n', 255);
	ck_assert_int_eq(exports_add(&x, "", why), -EINVAL);
	ck_assert_int_eq(exports_add(&x, "=d", why), -EINVAL);
	ck_assert_int_eq(exports_add(&x, "d=", why), -EINVAL);
	ck_assert_str_eq(why, "'d=' is not [NAME=]DEVICE[,ro]");
	ck_assert_int_eq(exports_add(&x, name_255, why), -EINVAL);
	ck_assert_str_eq(why, "the name of a device has at most 254 bytes");
	ck_assert_int_eq(exports_add(&x, "d", why), 0);
	ck_assert_int_eq(exports_add(&x, "d=other", why), -EEXIST);
	ck_assert_str_eq(why, "'d' is given twice");
	ck_assert_uint_eq(x.n_items, 1);
}
END_TEST

START_TEST(named_by_the_client)
{
	choose("disk", "disk", false);
	choose("/dev/ram0", "/dev/ram0", false);
	choose("a..b", "a..b", false);
	refuse("", -ENOENT,
	       "an NBD client has to name the device it wants, as the export's "
	       "name: nbd://HOST/DEVICE");
	refuse("a/..", -EINVAL, "export 'a/..': \"..\" is not allowed");
	refuse("../a", -EINVAL, "export '../a': \"..\" is not allowed");
}
END_TEST

START_TEST(root_and_allow)
{
	char name[RNBD_NAME_LEN];
	struct export_choice c;

	x.root = strdup("tenant7");
	ck_assert_int_eq(exports_add_allow(&x, "vm-*", why), 0);
	ck_assert_int_eq(exports_add_allow(&x, "iso/*", why), 0);
	choose("vm-1", "tenant7/vm-1", false);
	choose("iso/a.img", "tenant7/iso/a.img", false);
	refuse("disk", -ENOENT,
	       "export 'disk' is not allowed by export-allow=");
	refuse("vm-1/../../x", -EINVAL,
	       "export 'vm-1/../../x': \"..\" is not allowed");
	/* Fits alone, but not below the root. */
	memset(name, 'x', sizeof(name));
	memcpy(name, "vm-", 3);
	name[sizeof(name) - 8] = '\0';
	ck_assert_int_eq(exports_choose(&x, name, &c, why), -EINVAL);
	name[sizeof(name) - 9] = '\0';
	ck_assert_int_eq(exports_choose(&x, name, &c, why), 0);
}
END_TEST

START_TEST(modes_in_front)
{
	static const struct {
		const char *name, *device;
		int mode;
	} rows[] = {
		{"ro:disk", "disk", RNBD_ACCESS_RO},
		{"rw:a:b", "t/a:b", RNBD_ACCESS_RW},
		{"migration:/dev/ram0", "t//dev/ram0", RNBD_ACCESS_MIGRATION},
	};
	struct export_choice c;

	choose("ro:disk", "ro:disk", false);
	x.modes = true;
	for (size_t i = 0; i < 3; i++) {
		if (i == 1)
			x.root = strdup("t");
		ck_assert_int_eq(exports_choose(&x, rows[i].name, &c, why), 0);
		ck_assert_str_eq(c.device, rows[i].device);
		ck_assert_int_eq(c.mode, rows[i].mode);
	}
	refuse("disk", -EINVAL,
	       "export 'disk': export-modes= wants ro:, rw: or migration: in "
	       "front of the device");
	refuse("rx:disk", -EINVAL,
	       "export 'rx:disk': export-modes= wants ro:, rw: or migration: "
	       "in "
	       "front of the device");
	refuse("a-word-that-is-too-long:disk", -EINVAL,
	       "export 'a-word-that-is-too-long:disk': export-modes= wants "
	       "ro:, "
	       "rw: or migration: in front of the device");
	refuse("rw:../a", -EINVAL, "export '../a': \"..\" is not allowed");
	refuse("rw:", -ENOENT,
	       "an NBD client has to name the device it wants, as the export's "
	       "name: nbd://HOST/DEVICE");
}
END_TEST

START_TEST(what_does_not_go_together)
{
	ck_assert_int_eq(exports_check(&x, why), 0);
	ck_assert_int_eq(exports_add(&x, "d", why), 0);
	ck_assert_int_eq(exports_check(&x, why), 0);
	ck_assert_int_eq(exports_add_allow(&x, "d*", why), 0);
	ck_assert_int_eq(exports_check(&x, why), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "leave out exports="));
	exports_deinit(&x);
	ck_assert_int_eq(exports_add(&x, "d", why), 0);
	x.modes = true;
	ck_assert_int_eq(exports_check(&x, why), -EINVAL);
	x.only = strdup("d");
	ck_assert_int_eq(exports_check(&x, why), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why, "give one of them"));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("exports");
	TCase *tc = tcase_create("exports");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, one_device_for_all);
	tcase_add_test(tc, list__names_and_modes);
	tcase_add_test(tc, list__bad);
	tcase_add_test(tc, named_by_the_client);
	tcase_add_test(tc, root_and_allow);
	tcase_add_test(tc, modes_in_front);
	tcase_add_test(tc, what_does_not_go_together);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
