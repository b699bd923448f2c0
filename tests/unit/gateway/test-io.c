/* SPDX-License-Identifier: BSD-3-Clause */
/* One IO: the rules of sizes, ranges and directions, flushes, order. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/gateway/server-rig.h"

#define WRITE_F(flags) (RNBD_OP_WRITE | (flags))

static struct rig_export *ex;
static struct rig_op op;

/* An open device, id 0; 1 MiB of 512-byte blocks; IO completes at once. */
static void
setup(void)
{
	rig_setup();
	ex = rig_add_export("disk");
	rig.complete_at_once = true;
}

static int
io(uint32_t rw, uint64_t sector, uint32_t bi_size)
{
	rig_io(&op, 0, rw, sector, bi_size);
	return op.err;
}

/* An IO with a direction and data_len of its own. */
static int
raw(enum rtrs_dir dir, uint32_t rw, uint64_t sector, uint32_t bi_size,
    uint32_t data_len)
{
	struct rnbd_msg_io m = {
		.rw = rw,
		.sector = sector,
		.bi_size = bi_size,
	};

	rig_io_raw(&op, dir, &m, data_len);
	return op.err;
}

static void
check_ios(unsigned n, ...)
{
	va_list ap;

	ck_assert_uint_eq(rig.n_ios, n);
	va_start(ap, n);
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(rig.ios[i].op, va_arg(ap, int));
	va_end(ap);
	rig.n_ios = 0;
}

START_TEST(read_and_write_reach_the_backend)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(RNBD_OP_READ | RNBD_F_SYNC, 8, 4096), 0);
	ck_assert_uint_eq(rig.ios[0].off, 4096);
	ck_assert_uint_eq(rig.ios[0].len, 4096);
	ck_assert_ptr_eq(rig.ios[0].buf, op.data);
	ck_assert_int_eq(io(RNBD_OP_WRITE, 2047, 512), 0);
	ck_assert_uint_eq(rig.ios[1].off, 2047 * 512);
	ck_assert_uint_eq(rig.ios[1].flags, 0);
	check_ios(2, BACKEND_READ, BACKEND_WRITE);
}
END_TEST

START_TEST(backend_is_kicked_once_per_round)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	rig.kicks = 0;
	io(RNBD_OP_READ, 0, 512);
	io(RNBD_OP_READ, 0, 512);
	gw_server_kick(rig.server);
	gw_server_kick(rig.server);
	ck_assert_uint_eq(rig.kicks, 1);
}
END_TEST

START_TEST(old_message_without_prio_is_accepted)
{
	struct rnbd_msg_io m = {.rw = RNBD_OP_READ, .bi_size = 512};
	uint8_t buf[RNBD_IO_LEN];

	rig_opened("disk", RNBD_ACCESS_RW);
	rnbd_msg_io_encode(&m, buf);
	for (uint16_t len = 0; len <= RNBD_IO_LEN; len++) {
		rig.n_ios = 0;
		rig_request(rig_sess, &op, RTRS_READ, buf, len, 512);
		ck_assert_int_eq(op.err, len >= 24 ? 0 : -EINVAL);
	}
}
END_TEST

START_TEST(unknown_device_is_not_connected)
{
	ck_assert_int_eq(io(RNBD_OP_READ, 0, 512), -ENOTCONN);
	/* Whatever else is wrong with it. */
	ck_assert_int_eq(io(77, 1, 1), -ENOTCONN);
}
END_TEST

START_TEST(read_only_mapping_refuses_writes)
{
	rig_opened("disk", RNBD_ACCESS_RO);
	ck_assert_int_eq(io(RNBD_OP_WRITE, 0, 512), -EROFS);
	ck_assert_int_eq(io(RNBD_OP_DISCARD, 0, 512), -EROFS);
	ck_assert_int_eq(io(RNBD_OP_WRITE_ZEROES, 0, 512), -EROFS);
	ck_assert_int_eq(io(RNBD_OP_SECURE_ERASE, 0, 512), -EOPNOTSUPP);
	check_ios(0);
	ck_assert_int_eq(io(RNBD_OP_READ, 0, 512), 0);
	ck_assert_int_eq(io(RNBD_OP_FLUSH, UINT64_MAX, 0), 0);
	check_ios(2, BACKEND_READ, BACKEND_FLUSH);
}
END_TEST

START_TEST(read_only_backend_refuses_writes)
{
	ex->geo.read_only = true;
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(RNBD_OP_WRITE, 0, 512), -EROFS);
	check_ios(0);
}
END_TEST

START_TEST(data_len_must_be_bi_size)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(raw(RTRS_READ, RNBD_OP_READ, 0, 512, 1024), -EINVAL);
	ck_assert_int_eq(raw(RTRS_READ, RNBD_OP_READ, 0, 1024, 512), -EINVAL);
	ck_assert_int_eq(raw(RTRS_WRITE, RNBD_OP_WRITE, 0, 512, 1024), -EINVAL);
	ck_assert_int_eq(raw(RTRS_WRITE, RNBD_OP_WRITE, 0, 1024, 512), -EINVAL);
	ck_assert_int_eq(raw(RTRS_WRITE, RNBD_OP_DISCARD, 0, 1024, 512),
			 -EINVAL);
	/* Nothing came: nothing can have been written. */
	ck_assert_int_eq(raw(RTRS_WRITE, RNBD_OP_WRITE, 0, 512, 0), -EINVAL);
	check_ios(0);
}
END_TEST

START_TEST(direction_must_fit)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(raw(RTRS_WRITE, RNBD_OP_READ, 0, 512, 512), -EINVAL);
	ck_assert_int_eq(raw(RTRS_READ, RNBD_OP_WRITE, 0, 512, 512), -EINVAL);
	ck_assert_int_eq(raw(RTRS_READ, RNBD_OP_DISCARD, 0, 512, 0), -EINVAL);
	ck_assert_int_eq(raw(RTRS_READ, RNBD_OP_WRITE_ZEROES, 0, 512, 512),
			 -EINVAL);
	ck_assert_int_eq(raw(RTRS_READ, RNBD_OP_FLUSH, 0, 512, 512), -EINVAL);
	ck_assert_int_eq(raw(RTRS_READ, RNBD_OP_WRITE, 0, 0, 0), -EINVAL);
	check_ios(0);
}
END_TEST

START_TEST(nothing_to_do_is_not_success)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(RNBD_OP_READ, 0, 0), -EINVAL);
	ck_assert_int_eq(io(RNBD_OP_DISCARD, 0, 0), -EINVAL);
	ck_assert_int_eq(io(RNBD_OP_WRITE_ZEROES, 0, 0), -EINVAL);
	check_ios(0);
}
END_TEST

START_TEST(unaligned_is_refused)
{
	ex->geo.logical_block_size = 4096;
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(RNBD_OP_READ, 1, 4096), -EINVAL);
	ck_assert_int_eq(io(RNBD_OP_READ, 0, 512), -EINVAL);
	ck_assert_int_eq(io(RNBD_OP_WRITE, 7, 4096), -EINVAL);
	ck_assert_int_eq(io(RNBD_OP_DISCARD, 0, 4097), -EINVAL);
	ck_assert_int_eq(io(RNBD_OP_WRITE_ZEROES, 8, 4096 + 512), -EINVAL);
	check_ios(0);
	ck_assert_int_eq(io(RNBD_OP_READ, 8, 4096), 0);
}
END_TEST

START_TEST(beyond_the_end_is_refused)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(RNBD_OP_READ, 2048, 512), -EIO);
	ck_assert_int_eq(io(RNBD_OP_READ, 2047, 1024), -EIO);
	ck_assert_int_eq(io(RNBD_OP_WRITE, 2049, 512), -EIO);
	ck_assert_int_eq(io(RNBD_OP_DISCARD, 0, (1 << 20) + 512), -EIO);
	ck_assert_int_eq(io(RNBD_OP_WRITE_ZEROES, 1, 1 << 20), -EIO);
	/* Sums and products that would wrap around. */
	ck_assert_int_eq(io(RNBD_OP_READ, UINT64_MAX, 512), -EIO);
	ck_assert_int_eq(io(RNBD_OP_WRITE, UINT64_MAX / 512 + 1, 512), -EIO);
	ck_assert_int_eq(io(RNBD_OP_READ, UINT64_C(1) << 55, 512), -EIO);
	check_ios(0);
	ck_assert_int_eq(io(RNBD_OP_READ, 2047, 512), 0);
}
END_TEST

START_TEST(last_partial_sector_is_out_of_reach)
{
	ex->geo.size_bytes = 1024 + 511;
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(RNBD_OP_READ, 2, 512), -EIO);
	ck_assert_int_eq(io(RNBD_OP_READ, 0, 1024), 0);
}
END_TEST

START_TEST(flush_either_way_and_any_sector)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(raw(RTRS_READ, 0x302, UINT64_MAX, 0, 0), 0);
	ck_assert_int_eq(raw(RTRS_WRITE, 0x702, 12345678, 0, 0), 0);
	ck_assert_int_eq(raw(RTRS_READ, RNBD_OP_FLUSH, 1, 4096, 0), 0);
	ck_assert_uint_eq(rig.ios[0].len, 0);
	ck_assert_uint_eq(rig.ios[0].off, 0);
	check_ios(3, BACKEND_FLUSH, BACKEND_FLUSH, BACKEND_FLUSH);
}
END_TEST

START_TEST(empty_write_is_a_flush)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(RNBD_OP_WRITE, UINT64_MAX, 0), 0);
	ck_assert_int_eq(io(WRITE_F(RNBD_F_FUA), 0, 0), 0);
	ck_assert_int_eq(io(WRITE_F(RNBD_F_FUA | RNBD_F_PREFLUSH), 0, 0), 0);
	check_ios(3, BACKEND_FLUSH, BACKEND_FLUSH, BACKEND_FLUSH);
}
END_TEST

START_TEST(preflush_comes_first)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(WRITE_F(RNBD_F_PREFLUSH), 0, 512), 0);
	check_ios(2, BACKEND_FLUSH, BACKEND_WRITE);
	ck_assert_int_eq(io(WRITE_F(RNBD_F_PREFLUSH | RNBD_F_FUA), 0, 512), 0);
	check_ios(3, BACKEND_FLUSH, BACKEND_WRITE, BACKEND_FLUSH);
}
END_TEST

START_TEST(fua_is_a_write_and_a_flush)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(WRITE_F(RNBD_F_FUA), 0, 512), 0);
	ck_assert_uint_eq(rig.ios[0].flags, 0);
	check_ios(2, BACKEND_WRITE, BACKEND_FLUSH);
}
END_TEST

START_TEST(fua_is_both_again_after_a_loss)
{
	struct rig_op o;
	struct backend *b;

	rig_opened("disk", RNBD_ACCESS_RW);
	rig.complete_at_once = false;
	rig_io(&o, 0, WRITE_F(RNBD_F_FUA), 0, 512);
	b = rig.held[0]->backend;
	b->losses++; /* before: of others */
	rig_complete(0);
	b->losses++;
	rig_complete(0);
	ck_assert_int_eq(o.err, RIG_PENDING);
	rig_complete(0);
	rig_complete(0);
	ck_assert_int_eq(o.err, 0);
	ck_assert_uint_eq(rig.ios[2].len, 512);
	ck_assert_ptr_eq(rig.ios[2].buf, o.data);
	check_ios(4, BACKEND_WRITE, BACKEND_FLUSH, BACKEND_WRITE,
		  BACKEND_FLUSH);
	/* Not for ever. */
	rig_io(&o, 0, WRITE_F(RNBD_F_FUA), 0, 512);
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(o.err, RIG_PENDING);
		rig_complete(0);
		b->losses++;
		rig_complete(0);
	}
	ck_assert_int_eq(o.err, -EIO);
	ck_assert_uint_eq(rig.n_held, 0);
	/* A FLUSH by itself is what it was. */
	rig_io(&o, 0, RNBD_OP_FLUSH, 0, 0);
	b->losses++;
	rig_complete(0);
	ck_assert_int_eq(o.err, 0);
	/* Nor is there anything to repeat when it fails. */
	rig_io(&o, 0, WRITE_F(RNBD_F_FUA), 0, 512);
	rig_complete(0);
	b->losses++;
	rig_complete(-EIO);
	ck_assert_int_eq(o.err, -EIO);
}
END_TEST

START_TEST(fua_is_native_where_it_can_be)
{
	ex->geo.fua = true;
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(WRITE_F(RNBD_F_FUA | RNBD_F_SYNC), 0, 512), 0);
	ck_assert_uint_eq(rig.ios[0].flags, BACKEND_F_FUA);
	check_ios(1, BACKEND_WRITE);
	ck_assert_int_eq(io(WRITE_F(RNBD_F_FUA | RNBD_F_PREFLUSH), 0, 512), 0);
	ck_assert_uint_eq(rig.ios[1].flags, BACKEND_F_FUA);
	check_ios(2, BACKEND_FLUSH, BACKEND_WRITE);
	/* Only writes have it. */
	ck_assert_int_eq(io(RNBD_OP_WRITE_ZEROES | RNBD_F_FUA, 0, 512), 0);
	ck_assert_uint_eq(rig.ios[0].flags, 0);
	check_ios(2, BACKEND_WRITE_ZEROES, BACKEND_FLUSH);
}
END_TEST

START_TEST(without_a_cache_nothing_is_flushed)
{
	ex->geo.writeback = false;
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(WRITE_F(RNBD_F_FUA | RNBD_F_PREFLUSH), 0, 512), 0);
	ck_assert_int_eq(io(RNBD_OP_DISCARD | RNBD_F_FUA, 0, 512), 0);
	check_ios(2, BACKEND_WRITE, BACKEND_DISCARD);
}
END_TEST

START_TEST(fua_on_discard_and_zeroes_flushes)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(RNBD_OP_DISCARD | RNBD_F_FUA, 0, 512), 0);
	check_ios(2, BACKEND_DISCARD, BACKEND_FLUSH);
	ck_assert_int_eq(io(RNBD_OP_WRITE_ZEROES | RNBD_F_FUA, 0, 512), 0);
	check_ios(2, BACKEND_WRITE_ZEROES, BACKEND_FLUSH);
}
END_TEST

START_TEST(reads_ignore_write_flags)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(
		io(RNBD_OP_READ | RNBD_F_FUA | RNBD_F_PREFLUSH | RNBD_F_NOUNMAP,
		   0, 512),
		0);
	ck_assert_uint_eq(rig.ios[0].flags, 0);
	check_ios(1, BACKEND_READ);
}
END_TEST

START_TEST(nounmap_is_passed_on)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(0x805, 0, 4096), 0);
	ck_assert_uint_eq(rig.ios[0].flags, BACKEND_F_NOUNMAP);
	ck_assert_int_eq(io(0x005, 0, 4096), 0);
	ck_assert_uint_eq(rig.ios[1].flags, 0);
	check_ios(2, BACKEND_WRITE_ZEROES, BACKEND_WRITE_ZEROES);
}
END_TEST

START_TEST(ranges_have_no_data)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(RNBD_OP_DISCARD, 16, 1 << 19), 0);
	ck_assert_uint_eq(rig.ios[0].off, 16 * 512);
	ck_assert_uint_eq(rig.ios[0].len, 1 << 19);
	ck_assert_ptr_null(rig.ios[0].buf);
	/* With the range's bytes along it is done all the same. */
	ck_assert_int_eq(raw(RTRS_WRITE, RNBD_OP_DISCARD, 0, 512, 512), 0);
	check_ios(2, BACKEND_DISCARD, BACKEND_DISCARD);
}
END_TEST

START_TEST(what_is_not_offered_is_not_supported)
{
	ex->geo.max_discard_bytes = 0;
	ex->geo.max_write_zeroes_bytes = 0;
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(RNBD_OP_DISCARD, 0, 512), -EOPNOTSUPP);
	ck_assert_int_eq(io(RNBD_OP_WRITE_ZEROES, 0, 512), -EOPNOTSUPP);
	ck_assert_int_eq(io(RNBD_OP_SECURE_ERASE, 0, 512), -EOPNOTSUPP);
	for (uint32_t rop = 6; rop < 256; rop++)
		ck_assert_int_eq(io(rop, 0, 512), -EOPNOTSUPP);
	check_ios(0);
}
END_TEST

START_TEST(announced_limits_are_kept)
{
	ex->geo.max_discard_bytes = 65536;
	ex->geo.max_write_zeroes_bytes = 4096;
	rig_opened("disk", RNBD_ACCESS_RW);
	ck_assert_int_eq(io(RNBD_OP_DISCARD, 0, 65536), 0);
	ck_assert_int_eq(io(RNBD_OP_DISCARD, 0, 65536 + 512), -EINVAL);
	ck_assert_int_eq(io(RNBD_OP_WRITE_ZEROES, 0, 4096), 0);
	ck_assert_int_eq(io(RNBD_OP_WRITE_ZEROES, 0, 4608), -EINVAL);
	check_ios(2, BACKEND_DISCARD, BACKEND_WRITE_ZEROES);
}
END_TEST

START_TEST(a_failed_step_ends_the_request)
{
	rig_opened("disk", RNBD_ACCESS_RW);
	rig.complete_at_once = false;
	io(WRITE_F(RNBD_F_PREFLUSH | RNBD_F_FUA), 0, 512);
	rig_complete(-EIO);
	ck_assert_int_eq(op.err, -EIO);
	check_ios(1, BACKEND_FLUSH);
	io(WRITE_F(RNBD_F_PREFLUSH | RNBD_F_FUA), 0, 512);
	rig_complete(0);
	ck_assert_int_eq(op.err, RIG_PENDING);
	rig_complete(-ENOSPC);
	ck_assert_int_eq(op.err, -ENOSPC);
	check_ios(2, BACKEND_FLUSH, BACKEND_WRITE);
	io(WRITE_F(RNBD_F_FUA), 0, 512);
	rig_complete(0);
	ck_assert_int_eq(op.err, RIG_PENDING);
	rig_complete(-EDQUOT);
	ck_assert_int_eq(op.err, -EDQUOT);
	check_ios(2, BACKEND_WRITE, BACKEND_FLUSH);
}
END_TEST

START_TEST(requests_of_a_device_run_side_by_side)
{
	static struct rig_op ops[8];

	rig_opened("disk", RNBD_ACCESS_RW);
	rig.complete_at_once = false;
	for (unsigned i = 0; i < 8; i++)
		rig_io(&ops[i], 0, RNBD_OP_READ, i, 512);
	ck_assert_uint_eq(rig.n_held, 8);
	for (unsigned i = 0; i < 8; i++) {
		ck_assert_int_eq(ops[i].err, RIG_PENDING);
		rig_complete(i == 3 ? -EIO : 0);
		ck_assert_int_eq(ops[i].err, i == 3 ? -EIO : 0);
	}
}
END_TEST

static void
add_cases(TCase *tc)
{
	tcase_add_test(tc, read_and_write_reach_the_backend);
	tcase_add_test(tc, backend_is_kicked_once_per_round);
	tcase_add_test(tc, old_message_without_prio_is_accepted);
	tcase_add_test(tc, unknown_device_is_not_connected);
	tcase_add_test(tc, read_only_mapping_refuses_writes);
	tcase_add_test(tc, read_only_backend_refuses_writes);
	tcase_add_test(tc, data_len_must_be_bi_size);
	tcase_add_test(tc, direction_must_fit);
	tcase_add_test(tc, nothing_to_do_is_not_success);
	tcase_add_test(tc, unaligned_is_refused);
	tcase_add_test(tc, beyond_the_end_is_refused);
	tcase_add_test(tc, last_partial_sector_is_out_of_reach);
	tcase_add_test(tc, flush_either_way_and_any_sector);
	tcase_add_test(tc, empty_write_is_a_flush);
	tcase_add_test(tc, preflush_comes_first);
	tcase_add_test(tc, fua_is_a_write_and_a_flush);
	tcase_add_test(tc, fua_is_both_again_after_a_loss);
	tcase_add_test(tc, fua_is_native_where_it_can_be);
	tcase_add_test(tc, without_a_cache_nothing_is_flushed);
	tcase_add_test(tc, fua_on_discard_and_zeroes_flushes);
	tcase_add_test(tc, reads_ignore_write_flags);
	tcase_add_test(tc, nounmap_is_passed_on);
	tcase_add_test(tc, ranges_have_no_data);
	tcase_add_test(tc, what_is_not_offered_is_not_supported);
	tcase_add_test(tc, announced_limits_are_kept);
	tcase_add_test(tc, a_failed_step_ends_the_request);
	tcase_add_test(tc, requests_of_a_device_run_side_by_side);
}

int
main(void)
{
	Suite *s = suite_create("gateway/io");
	TCase *tc = tcase_create("io");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, rig_teardown);
	add_cases(tc);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
