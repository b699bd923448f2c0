/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each test is a process of its own, whose limit and capabilities are its own
 * too.
 */
#include <check.h>
#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rtrs/base/util.h"
#include "rtrs/fabric/verbs-memlock.h"

#define KIB 1024UL

static char logged[512];
static unsigned n_logged;

static void
log_write(void *user, enum log_level level, const char *text)
{
	snprintf(logged, sizeof(logged), "%s", text);
	n_logged++;
}

static const struct log log_here = {
	.sink = log_write,
	.threshold = LOG_LVL_DEBUG,
};

static void
drop_capability(void)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = {0};

	ck_assert_int_eq(syscall(SYS_capget, &hdr, data), 0);
	data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &=
		~CAP_TO_MASK(CAP_IPC_LOCK);
	data[CAP_TO_INDEX(CAP_IPC_LOCK)].permitted &=
		~CAP_TO_MASK(CAP_IPC_LOCK);
	ck_assert_int_eq(syscall(SYS_capset, &hdr, data), 0);
}

static void
set_limit(rlim_t soft, rlim_t hard)
{
	const struct rlimit rl = {.rlim_cur = soft, .rlim_max = hard};

	drop_capability();
	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &rl), 0);
}

START_TEST(charge__up_to_the_limit)
{
	set_limit(64 * KIB, 64 * KIB);
	ck_assert_uint_eq(verbs_memlock_limit(), 64 * KIB);
	ck_assert_int_eq(verbs_memlock_charge(60 * KIB, &log_here), 0);
	ck_assert_int_eq(verbs_memlock_charge(1, &log_here), 0);
	ck_assert_uint_eq(verbs_memlock_pinned(), 64 * KIB);
	ck_assert_uint_eq(n_logged, 0);
	ck_assert_int_eq(verbs_memlock_charge(1, &log_here), -ENOMEM);
	ck_assert_uint_eq(n_logged, 1);
	ck_assert_str_eq(logged,
			 "4 KiB of memory cannot be pinned: 64 KiB are in use "
			 "and the limit is 64 KiB; raise it (ulimit -l, "
			 "LimitMEMLOCK=), grant CAP_IPC_LOCK, or lower the "
			 "queue depth");
	verbs_memlock_uncharge(1);
	ck_assert_int_eq(verbs_memlock_charge(4 * KIB, NULL), 0);
	ck_assert_int_eq(verbs_memlock_charge(4 * KIB, NULL), -ENOMEM);
	ck_assert_uint_eq(n_logged, 1);
}
END_TEST

START_TEST(charge__more_than_there_is)
{
	set_limit(64 * KIB, 64 * KIB);
	ck_assert_int_eq(verbs_memlock_charge(64 << 20, &log_here), -ENOMEM);
	ck_assert_ptr_eq(strstr(logged, "65536 KiB of memory cannot be pinned"),
			 logged);
	ck_assert_int_eq(verbs_memlock_charge(SIZE_MAX, NULL), -ENOMEM);
	ck_assert_uint_eq(verbs_memlock_pinned(), 0);
}
END_TEST

START_TEST(limit__soft_is_raised_to_hard)
{
	set_limit(8 * KIB, 64 * KIB);
	ck_assert_int_eq(verbs_memlock_charge(64 * KIB, &log_here), 0);
	ck_assert_int_eq(verbs_memlock_charge(4 * KIB, NULL), -ENOMEM);
}
END_TEST

START_TEST(limit__whole_pages)
{
	set_limit(64 * KIB + 100, 64 * KIB + 100);
	ck_assert_uint_eq(verbs_memlock_limit(), 64 * KIB);
}
END_TEST

START_TEST(limit__none)
{
	const struct rlimit rl = {
		.rlim_cur = RLIM_INFINITY,
		.rlim_max = RLIM_INFINITY,
	};

	drop_capability();
	if (setrlimit(RLIMIT_MEMLOCK, &rl) < 0) {
		ck_assert_int_eq(errno, EPERM);
		return;
	}
	ck_assert_uint_eq(verbs_memlock_limit(), SIZE_MAX);
	ck_assert_int_eq(verbs_memlock_charge(64UL << 30, &log_here), 0);
}
END_TEST

/* A capability that this process has, or has not, decides. */
START_TEST(limit__capability)
{
	const struct rlimit rl = {.rlim_cur = 0, .rlim_max = 0};
	size_t limit;

	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &rl), 0);
	limit = verbs_memlock_limit();
	ck_assert(limit == 0 || limit == SIZE_MAX);
	drop_capability();
	ck_assert_uint_eq(verbs_memlock_limit(), 0);
}
END_TEST

START_TEST(span__touched_pages)
{
	char *page = (char *)(16 * KIB);

	ck_assert_uint_eq(verbs_memlock_span(page, 1), 4 * KIB);
	ck_assert_uint_eq(verbs_memlock_span(page, 4 * KIB), 4 * KIB);
	ck_assert_uint_eq(verbs_memlock_span(page + 1, 4 * KIB), 8 * KIB);
	ck_assert_uint_eq(verbs_memlock_span(page + 4095, 2), 8 * KIB);
}
END_TEST

static void *
charge_and_back(void *arg)
{
	for (int i = 0; i < 200; i++)
		if (!verbs_memlock_charge(4 * KIB, NULL))
			verbs_memlock_uncharge(4 * KIB);
	return NULL;
}

START_TEST(threads__nothing_is_lost)
{
	pthread_t t[4];

	set_limit(8 * KIB, 8 * KIB);
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		ck_assert_int_eq(
			pthread_create(&t[i], NULL, charge_and_back, NULL), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	ck_assert_uint_eq(verbs_memlock_pinned(), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("memlock");
	TCase *tc = tcase_create("memlock");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_test(tc, charge__up_to_the_limit);
	tcase_add_test(tc, charge__more_than_there_is);
	tcase_add_test(tc, limit__soft_is_raised_to_hard);
	tcase_add_test(tc, limit__whole_pages);
	tcase_add_test(tc, limit__none);
	tcase_add_test(tc, limit__capability);
	tcase_add_test(tc, span__touched_pages);
	tcase_add_test(tc, threads__nothing_is_lost);
	suite_add_tcase(suite, tc);
	srunner_set_fork_status(sr, CK_FORK);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
