/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "nbdkit-plugin/blocks.h"

#define BLOCK 4096
#define SIZE  (64 * BLOCK)

static uint8_t disk[SIZE], expect[SIZE];
static struct block_ranges ranges;
static unsigned n_ops[5];
static const void *last_buf;
static unsigned flags_seen;
static int fail_op, fail_err;
static pthread_mutex_t disk_lock = PTHREAD_MUTEX_INITIALIZER;

static int
disk_io(void *user, enum rnbd_clt_op op, unsigned flags, void *buf,
	uint64_t len, uint64_t off)
{
	ck_assert_uint_gt(len, 0);
	ck_assert_uint_eq(len % BLOCK, 0);
	ck_assert_uint_eq(off % BLOCK, 0);
	ck_assert_uint_le(off + len, SIZE);
	pthread_mutex_lock(&disk_lock);
	n_ops[op]++;
	last_buf = buf;
	if (op != RNBD_CLT_READ)
		flags_seen |= flags;
	if (!fail_err || fail_op != (int)op) {
		if (op == RNBD_CLT_READ)
			memcpy(buf, disk + off, len);
		else if (op == RNBD_CLT_WRITE)
			memcpy(disk + off, buf, len);
		else if (op == RNBD_CLT_WRITE_ZEROES)
			memset(disk + off, 0, len);
		else
			memset(disk + off, 0xdd, len);
	}
	pthread_mutex_unlock(&disk_lock);
	return fail_op == (int)op ? fail_err : 0;
}

static const struct blocks b = {
	.size = BLOCK,
	.ranges = &ranges,
	.io = disk_io,
};

static void
setup(void)
{
	ranges = (struct block_ranges)BLOCK_RANGES_INIT;
	memset(n_ops, 0, sizeof(n_ops));
	flags_seen = 0;
	fail_err = 0;
	for (unsigned i = 0; i < SIZE; i++)
		disk[i] = (uint8_t)rand();
	memcpy(expect, disk, SIZE);
}

START_TEST(whole_blocks__are_not_copied)
{
	uint8_t buf[2 * BLOCK];

	ck_assert_int_eq(blocks_read(&b, buf, sizeof(buf), BLOCK), 0);
	ck_assert_ptr_eq(last_buf, buf);
	last_buf = NULL;
	ck_assert_int_eq(blocks_write(&b, buf, sizeof(buf), BLOCK, 0), 0);
	ck_assert_ptr_eq(last_buf, buf);
}
END_TEST

/* Lengths and offsets around the edges of blocks, and of the bounce buffer. */
static const uint64_t offs[] = {0, 1, 511, 4095, 4096, 4097, 8192, 12287};
static const uint64_t lens[] = {1,     2,     4095,  4096,   4097,
				8191,  8192,  8193,  12288,  65535,
				65536, 65537, 70000, 131072, 200001};
#define N_CASES (ARRAY_SIZE(offs) * ARRAY_SIZE(lens))
#define CASE                                                                   \
	uint64_t off = offs[(unsigned)_i % ARRAY_SIZE(offs)];                  \
	uint64_t len = lens[(unsigned)_i / ARRAY_SIZE(offs)]

START_TEST(read__any_alignment)
{
	static uint8_t buf[SIZE + 2];
	CASE;

	memset(buf, 0xee, sizeof(buf));
	ck_assert_int_eq(blocks_read(&b, buf + 1, len, off), 0);
	ck_assert_mem_eq(buf + 1, expect + off, len);
	ck_assert_uint_eq(buf[0], 0xee);
	ck_assert_uint_eq(buf[1 + len], 0xee);
}
END_TEST

START_TEST(write__any_alignment)
{
	static uint8_t buf[SIZE];
	CASE;

	for (unsigned i = 0; i < len; i++)
		expect[off + i] = buf[i] = (uint8_t)rand();
	ck_assert_int_eq(blocks_write(&b, buf, len, off, RNBD_CLT_F_FUA), 0);
	ck_assert_mem_eq(disk, expect, SIZE);
	ck_assert_uint_eq(flags_seen, RNBD_CLT_F_FUA);
	ck_assert_ptr_null(ranges.active);
}
END_TEST

START_TEST(zero__any_alignment)
{
	CASE;

	memset(expect + off, 0, len);
	ck_assert_int_eq(blocks_zero(&b, len, off, RNBD_CLT_F_NOUNMAP), 0);
	ck_assert_mem_eq(disk, expect, SIZE);
	ck_assert_ptr_null(ranges.active);
}
END_TEST

START_TEST(discard__whole_blocks_only)
{
	CASE;

	for (uint64_t i = (off + BLOCK - 1) / BLOCK; i < (off + len) / BLOCK;
	     i++)
		memset(expect + i * BLOCK, 0xdd, BLOCK);
	ck_assert_int_eq(blocks_discard(&b, len, off, 0), 0);
	ck_assert_mem_eq(disk, expect, SIZE);
}
END_TEST

START_TEST(aligned__one_operation)
{
	static uint8_t buf[3 * BLOCK];

	ck_assert_int_eq(blocks_write(&b, buf, sizeof(buf), BLOCK, 0), 0);
	ck_assert_int_eq(blocks_read(&b, buf, sizeof(buf), BLOCK), 0);
	ck_assert_int_eq(blocks_zero(&b, sizeof(buf), BLOCK, 0), 0);
	ck_assert_uint_eq(n_ops[RNBD_CLT_WRITE], 1);
	ck_assert_uint_eq(n_ops[RNBD_CLT_READ], 1);
	ck_assert_uint_eq(n_ops[RNBD_CLT_WRITE_ZEROES], 1);
}
END_TEST

START_TEST(sub_block__one_read_one_write)
{
	ck_assert_int_eq(blocks_write(&b, "x", 1, 5000, 0), 0);
	ck_assert_uint_eq(n_ops[RNBD_CLT_READ], 1);
	ck_assert_uint_eq(n_ops[RNBD_CLT_WRITE], 1);
}
END_TEST

START_TEST(errors__come_back)
{
	static uint8_t buf[SIZE];

	fail_err = -EIO;
	fail_op = RNBD_CLT_READ;
	ck_assert_int_eq(blocks_read(&b, buf, 10, 1), -EIO);
	ck_assert_int_eq(blocks_read(&b, buf, 100000, 1), -EIO);
	ck_assert_int_eq(blocks_write(&b, buf, 10, 1, 0), -EIO);
	ck_assert_int_eq(blocks_zero(&b, 10, 1, 0), -EIO);
	ck_assert_uint_eq(n_ops[RNBD_CLT_WRITE], 0);
	fail_op = RNBD_CLT_WRITE;
	fail_err = -ENOSPC;
	ck_assert_int_eq(blocks_write(&b, buf, 10, 1, 0), -ENOSPC);
	ck_assert_int_eq(blocks_write(&b, buf, 100000, 1, 0), -ENOSPC);
	fail_op = RNBD_CLT_WRITE_ZEROES;
	fail_err = -EOPNOTSUPP;
	ck_assert_int_eq(blocks_zero(&b, BLOCK, 0, 0), -EOPNOTSUPP);
	ck_assert_int_eq(blocks_zero(&b, 3 * BLOCK, 1, 0), -EOPNOTSUPP);
	fail_op = RNBD_CLT_DISCARD;
	ck_assert_int_eq(blocks_discard(&b, BLOCK, 0, 0), -EOPNOTSUPP);
	ck_assert_ptr_null(ranges.active);
}
END_TEST

/*
 * Eight threads count in bytes of their own that share blocks, a ninth writes
 * whole blocks next to and among them. No count may get lost.
 */
#define COUNTERS 8
#define ROUNDS   400

static char lost_text[] = "a write was lost", failed_text[] = "a call failed";

static void *
count_main(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;
	/* Two of them to a block, and one across a border. */
	uint64_t off = i / 2 * BLOCK + (i % 2 ? BLOCK - 2 : 100);
	uint32_t v = 0, got;

	for (unsigned n = 0; n < ROUNDS; n++) {
		if (blocks_read(&b, &got, sizeof(got), off) || got != v)
			return lost_text;
		v++;
		if (blocks_write(&b, &v, sizeof(v), off, 0))
			return failed_text;
	}
	return NULL;
}

static void *
aligned_main(void *arg)
{
	static uint8_t buf[BLOCK], got[BLOCK];

	for (unsigned n = 0; n < ROUNDS; n++) {
		memset(buf, (int)n, BLOCK);
		if (blocks_write(&b, buf, BLOCK, 32 * BLOCK, 0) ||
		    blocks_read(&b, got, BLOCK, 32 * BLOCK) ||
		    memcmp(buf + 1, got + 1, BLOCK - 1))
			return lost_text;
	}
	return NULL;
}

/* Changes the first byte of the block that aligned_main() writes whole. */
static void *
pest_main(void *arg)
{
	for (unsigned n = 0; n < ROUNDS; n++)
		if (blocks_write(&b, "x", 1, 32 * BLOCK, 0))
			return failed_text;
	return NULL;
}

START_TEST(threads__nothing_gets_lost)
{
	pthread_t t[COUNTERS + 2];
	void *(*const fn[])(void *) = {aligned_main, pest_main};

	memset(disk, 0, SIZE);
	for (unsigned i = 0; i < COUNTERS + 2; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL,
						i < COUNTERS ? count_main
							     : fn[i - COUNTERS],
						(void *)(uintptr_t)i),
				 0);
	for (unsigned i = 0; i < COUNTERS + 2; i++) {
		void *ret;

		pthread_join(t[i], &ret);
		ck_assert_msg(!ret, "thread %u: %s", i, (char *)ret);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("blocks");
	TCase *tc = tcase_create("blocks");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(tc, read__any_alignment, 0, N_CASES);
	tcase_add_loop_test(tc, write__any_alignment, 0, N_CASES);
	tcase_add_loop_test(tc, zero__any_alignment, 0, N_CASES);
	tcase_add_loop_test(tc, discard__whole_blocks_only, 0, N_CASES);
	tcase_add_test(tc, whole_blocks__are_not_copied);
	tcase_add_test(tc, aligned__one_operation);
	tcase_add_test(tc, sub_block__one_read_one_write);
	tcase_add_test(tc, errors__come_back);
	tcase_add_test(tc, threads__nothing_gets_lost);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
