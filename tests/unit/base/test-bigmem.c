/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rtrs/base/bigmem.h"

#define MIB  (1UL << 20)
#define PAGE ((size_t)sysconf(_SC_PAGESIZE))

static const size_t sizes[] = {1,       4096,    100000,         MIB,
			       2 * MIB, 3 * MIB, 5 << 20 | 4096, 64 * MIB};

/* A line of smaps of the mapping that begins at addr. */
static bool
smaps_line(const void *addr, const char *key, char line[256])
{
	FILE *f = fopen("/proc/self/smaps", "r");
	bool inside = false, found = false;
	unsigned long start, end;

	ck_assert_ptr_nonnull(f);
	while (!found && fgets(line, 256, f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = start <= (uintptr_t)addr &&
				 (uintptr_t)addr < end;
		else if (inside && !strncmp(line, key, strlen(key)))
			found = true;
	}
	fclose(f);
	return found;
}

static bool
is_mapped(void *addr)
{
	unsigned char vec;

	return !mincore(addr, 1, &vec);
}

static unsigned long
free_in_pool(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	unsigned long n = 0;
	char line[128];

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "HugePages_Free: %lu", &n) == 1)
			break;
	fclose(f);
	return n;
}

START_TEST(new__zeroed_and_all_there)
{
	size_t len = sizes[_i];
	struct bigmem m;
	unsigned char *p;

	ck_assert_int_eq(bigmem_new(len, -1, &m), 0);
	ck_assert_uint_ge(m.len, len);
	ck_assert_uint_lt(m.len, len + 4096);
	ck_assert_int_eq(m.node, -1);
	ck_assert_uint_eq((uintptr_t)m.addr % 4096, 0);
	p = m.addr;
	for (size_t i = 0; i < m.len; i += 1000)
		ck_assert_uint_eq(p[i], 0);
	memset(p, 0xa5, m.len);
	ck_assert_uint_eq(p[m.len - 1], 0xa5);
	bigmem_free(&m);
	ck_assert_ptr_null(m.addr);
	ck_assert(!is_mapped(p));
	ck_assert(!is_mapped(p + (len - 1) / 4096 * 4096));
	bigmem_free(&m);
}
END_TEST

START_TEST(new__not_in_core_dumps)
{
	char line[256];
	struct bigmem m;

	ck_assert_int_eq(bigmem_new(4 * MIB, -1, &m), 0);
	ck_assert(smaps_line(m.addr, "VmFlags:", line));
	ck_assert_ptr_nonnull(strstr(line, " dd"));
	bigmem_free(&m);
}
END_TEST

/* What kind says is what the kernel was told. */
START_TEST(new__kind_is_true)
{
	unsigned long in_pool = free_in_pool();
	char line[256];
	struct bigmem m;

	ck_assert_int_eq(bigmem_new(4 * MIB, -1, &m), 0);
	ck_assert(smaps_line(m.addr, "VmFlags:", line));
	ck_assert_int_eq(!!strstr(line, " ht"), m.kind == BIGMEM_HUGETLB);
	ck_assert_int_eq(!!strstr(line, " hg"), m.kind == BIGMEM_TRANSPARENT);
	if (!in_pool)
		ck_assert_int_ne(m.kind, BIGMEM_HUGETLB);
	if (m.kind == BIGMEM_TRANSPARENT)
		ck_assert_uint_eq((uintptr_t)m.addr % (2 * MIB), 0);
	bigmem_free(&m);
}
END_TEST

START_TEST(new__small_ones_ask_for_nothing)
{
	struct bigmem m;

	ck_assert_int_eq(bigmem_new(64 << 10, -1, &m), 0);
	ck_assert_int_eq(m.kind, BIGMEM_PLAIN);
	bigmem_free(&m);
}
END_TEST

/* Nodes that are not there are no reason to fail. */
START_TEST(new__node_is_a_wish)
{
	static const int nodes[] = {0, 1, 63, 1023, 5000, -2};
	struct bigmem m;

	ck_assert_int_eq(bigmem_new(3 * MIB, nodes[_i], &m), 0);
	ck_assert(m.node == nodes[_i] || m.node == -1);
	memset(m.addr, 1, m.len);
	bigmem_free(&m);
}
END_TEST

START_TEST(new__impossible)
{
	struct bigmem m = {.len = 7};

	ck_assert_int_eq(bigmem_new(SIZE_MAX, -1, &m), -ENOMEM);
	ck_assert_int_eq(bigmem_new(SIZE_MAX / 2, -1, &m), -ENOMEM);
	ck_assert_int_eq(bigmem_new(0, -1, &m), -ENOMEM);
	ck_assert_uint_eq(m.len, 7);
}
END_TEST

/* No page of it is there, but those that are touched. */
START_TEST(new_lazy__costs_nothing)
{
	unsigned char there[256];
	struct bigmem m;
	unsigned i, n = 0;

	ck_assert_int_eq(bigmem_new_lazy(sizeof(there) * PAGE - 1, &m), 0);
	ck_assert_int_eq(m.kind, BIGMEM_LAZY);
	ck_assert_uint_eq(m.len, sizeof(there) * PAGE);
	memset((char *)m.addr + 7 * PAGE, 1, 2 * PAGE);
	ck_assert_int_eq(mincore(m.addr, m.len, there), 0);
	for (i = 0; i < sizeof(there); i++)
		n += there[i] & 1;
	ck_assert_uint_eq(n, 2);
	bigmem_free(&m);
	ck_assert_ptr_null(m.addr);
}
END_TEST

START_TEST(new_lazy__impossible)
{
	struct bigmem m = {.len = 7};

	ck_assert_int_eq(bigmem_new_lazy(SIZE_MAX, &m), -ENOMEM);
	ck_assert_int_eq(bigmem_new_lazy(SIZE_MAX / 2, &m), -ENOMEM);
	ck_assert_int_eq(bigmem_new_lazy(0, &m), -ENOMEM);
	ck_assert_uint_eq(m.len, 7);
}
END_TEST

START_TEST(kind__names)
{
	ck_assert_str_eq(bigmem_kind_name(BIGMEM_PLAIN), "plain");
	ck_assert_str_eq(bigmem_kind_name(BIGMEM_TRANSPARENT), "transparent");
	ck_assert_str_eq(bigmem_kind_name(BIGMEM_HUGETLB), "hugetlb");
	ck_assert_str_eq(bigmem_kind_name(BIGMEM_LAZY), "lazy");
	ck_assert_str_eq(bigmem_kind_name(99), "unknown");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("bigmem");
	TCase *tc = tcase_create("bigmem");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, new__zeroed_and_all_there, 0,
			    sizeof(sizes) / sizeof(*sizes));
	tcase_add_test(tc, new__not_in_core_dumps);
	tcase_add_test(tc, new__kind_is_true);
	tcase_add_test(tc, new__small_ones_ask_for_nothing);
	tcase_add_loop_test(tc, new__node_is_a_wish, 0, 6);
	tcase_add_test(tc, new__impossible);
	tcase_add_test(tc, new_lazy__costs_nothing);
	tcase_add_test(tc, new_lazy__impossible);
	tcase_add_test(tc, kind__names);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
