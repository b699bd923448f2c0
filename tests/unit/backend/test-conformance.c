/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every backend owes its callers, asked of each: every kind, each on
 * io_uring and on threads.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/backend/rig.h"

#define SIZE  (UINT64_C(3) << 20)
#define TAIL  512 /* the end is at no multiple of 4 KiB */
#define BYTES (SIZE + TAIL)

enum kind {
	K_NULL,
	K_MEMORY,
	K_TMPFS,
	K_DISK,
	K_DISK_BUFFERED,
	N_KINDS
};

/* Loop index of a test: kind and engine. */
#define N_CASES (N_KINDS * 2)

struct fixture {
	struct rig r;
	enum kind kind;
	struct memory_store *store;
	struct backend *b;
};

static void
fixture_init(struct fixture *f, int i)
{
	struct backend_open_params p = {
		.fd = -1, .cancel_fd = -1, .size = BYTES};

	rig_init(&f->r, i % 2);
	f->kind = (enum kind)(i / 2);
	f->store = NULL;
	p.exec = f->r.exec;
	p.io = f->r.io;
	switch (f->kind) {
	case K_NULL:
		ck_assert_int_eq(backend_null.open(&p, &f->b), 0);
		break;
	case K_MEMORY:
		ck_assert_int_eq(memory_store_new(BYTES, &f->store), 0);
		p.store = f->store;
		ck_assert_int_eq(backend_memory.open(&p, &f->b), 0);
		break;
	default:
		ck_assert_int_eq(
			rig_open_file(&f->r,
				      rig_file(f->kind == K_TMPFS ? f->r.shm
								  : f->r.dir,
					       "disk", BYTES),
				      false, f->kind == K_DISK_BUFFERED, &f->b),
			0);
		break;
	}
}

static void
fixture_deinit(struct fixture *f)
{
	f->b->ops->close(f->b);
	memory_store_unref(f->store);
	rig_deinit(&f->r);
}

START_TEST(geometry_is_sane)
{
	struct fixture f;
	const struct backend_geometry *g;

	fixture_init(&f, _i);
	g = &f.b->geo;
	ck_assert_ptr_nonnull(f.b->ops->name);
	ck_assert_uint_eq(g->logical_block_size, 512);
	ck_assert_uint_eq(g->size_bytes, BYTES);
	ck_assert_uint_ge(g->physical_block_size, g->logical_block_size);
	ck_assert_uint_gt(g->max_discard_bytes, 0);
	ck_assert_uint_gt(g->max_write_zeroes_bytes, 0);
	ck_assert_uint_le(g->max_discard_bytes, UINT32_MAX);
	ck_assert_uint_le(g->max_write_zeroes_bytes, UINT32_MAX);
	ck_assert_uint_gt(g->discard_granularity, 0);
	ck_assert_uint_eq(g->max_discard_bytes % g->discard_granularity, 0);
	ck_assert(!g->read_only);
	/* What is cached can be flushed, and written through. */
	ck_assert(g->writeback == g->fua);
	ck_assert(g->writeback == (f.kind >= K_TMPFS));
	fixture_deinit(&f);
}
END_TEST

START_TEST(a_fresh_device_reads_zeroes_into_a_dirty_buffer)
{
	struct fixture f;
	char *buf = rig_buf(BYTES);

	fixture_init(&f, _i);
	memset(buf, 0xaa, BYTES);
	ck_assert_int_eq(rig_read(&f.r, f.b, 0, BYTES, buf), 0);
	ck_assert(is_zero(buf, BYTES));
	fixture_deinit(&f);
	free(buf);
}
END_TEST

START_TEST(the_last_sector_is_usable)
{
	struct fixture f;
	char *buf = rig_buf(4096), *back = rig_buf(4096);

	fixture_init(&f, _i);
	memset(buf, 0x11, 4096);
	ck_assert_int_eq(rig_write(&f.r, f.b, BYTES - 512, 512, buf), 0);
	ck_assert_int_eq(rig_read(&f.r, f.b, BYTES - 512, 512, back), 0);
	if (f.kind != K_NULL)
		ck_assert_mem_eq(buf, back, 512);
	ck_assert_int_eq(rig_op(&f.r, f.b, BACKEND_WRITE_ZEROES, 0, BYTES - 512,
				512, NULL),
			 0);
	ck_assert_int_eq(rig_read(&f.r, f.b, BYTES - 1024, 1024, back), 0);
	ck_assert(is_zero(back, 1024));
	fixture_deinit(&f);
	free(buf);
	free(back);
}
END_TEST

/* Reads, writes and zeroes at random, against an array. */
struct model {
	struct fixture *f;
	uint8_t *bytes, *buf;
	uint64_t seed;
};

static uint32_t
model_random(struct model *m, uint32_t below)
{
	m->seed = m->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(m->seed >> 33) % below;
}

static void
model_step(struct model *m)
{
	static const unsigned lens[] = {1, 1, 2, 8, 8, 64, 248, 700};
	uint64_t len = UINT64_C(512) * lens[model_random(m, ARRAY_SIZE(lens))];
	uint64_t off = UINT64_C(512) * model_random(m, (uint32_t)(BYTES / 512));
	/* Some buffers start where direct I/O cannot use them. */
	uint8_t *buf = m->buf + (model_random(m, 8) ? 0 : 7);
	unsigned flags = model_random(m, 8) ? 0 : BACKEND_F_FUA;
	struct backend *b = m->f->b;
	struct rig *r = &m->f->r;

	if (len > BYTES - off)
		len = BYTES - off;
	switch (model_random(m, 8)) {
	case 0:
	case 1:
	case 2:
		memset(buf, 0xee, len);
		ck_assert_int_eq(rig_read(r, b, off, len, buf), 0);
		ck_assert_mem_eq(buf, m->bytes + off, len);
		break;
	case 3:
	case 4:
	case 5:
		for (uint64_t i = 0; i < len; i++)
			buf[i] = (uint8_t)model_random(m, 256);
		ck_assert_int_eq(
			rig_op(r, b, BACKEND_WRITE, flags, off, len, buf), 0);
		if (m->f->kind != K_NULL)
			memcpy(m->bytes + off, buf, len);
		break;
	case 6:
		if (model_random(m, 2))
			flags |= BACKEND_F_NOUNMAP;
		ck_assert_int_eq(rig_op(r, b, BACKEND_WRITE_ZEROES, flags, off,
					len, NULL),
				 0);
		memset(m->bytes + off, 0, len);
		break;
	case 7:
		/* Beyond the contract of DISCARD, but all of these zero. */
		if (model_random(m, 2))
			ck_assert_int_eq(rig_flush(r, b), 0);
		ck_assert_int_eq(
			rig_op(r, b, BACKEND_DISCARD, 0, off, len, NULL), 0);
		memset(m->bytes + off, 0, len);
		break;
	}
}

START_TEST(behaves_as_an_array_of_bytes)
{
	struct fixture f;
	struct model m = {.f = &f, .seed = 1 + (unsigned)_i};

	fixture_init(&f, _i);
	m.bytes = calloc(1, BYTES);
	m.buf = rig_buf(BYTES);
	for (int i = 0; i < 600; i++)
		model_step(&m);
	ck_assert_int_eq(rig_read(&f.r, f.b, 0, BYTES, m.buf), 0);
	ck_assert_mem_eq(m.buf, m.bytes, BYTES);
	fixture_deinit(&f);
	free(m.bytes);
	free(m.buf);
}
END_TEST

/* 128 writes in flight, then a flush, then 128 reads in flight. */
START_TEST(many_operations_are_in_flight_together)
{
	enum {
		N = 128,
		LEN = 16384
	};
	static struct rig_io ios[N];
	struct fixture f;
	char *buf = rig_buf(N * LEN), *back = rig_buf(N * LEN);
	unsigned left;

	fixture_init(&f, _i);
	for (size_t i = 0; i < N * LEN; i++)
		buf[i] = (char)(i / LEN + i);
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < N; i++) {
			ios[i].io = (struct backend_io){
				.op = pass ? BACKEND_READ : BACKEND_WRITE,
				.off = (i * 37 % N) * LEN,
				.len = LEN,
				.buf = (pass ? back : buf) + i * 37 % N * LEN,
			};
			rig_start(f.b, &ios[i]);
		}
		rig_kick(&f.r, f.b);
		for (;;) {
			left = 0;
			for (int i = 0; i < N; i++)
				left += !ios[i].n_done;
			if (!left)
				break;
			rig_wait(&f.r);
		}
		for (int i = 0; i < N; i++) {
			ck_assert_uint_eq(ios[i].n_done, 1);
			ck_assert_int_eq(ios[i].err, 0);
		}
		ck_assert_int_eq(rig_flush(&f.r, f.b), 0);
	}
	if (f.kind == K_NULL)
		ck_assert(is_zero(back, N * LEN));
	else
		ck_assert_mem_eq(buf, back, N * LEN);
	fixture_deinit(&f);
	free(buf);
	free(back);
}
END_TEST

START_TEST(close_takes_null)
{
	backend_null.close(NULL);
	backend_memory.close(NULL);
	backend_file.close(NULL);
	memory_store_unref(NULL);
}
END_TEST

START_TEST(mappings_of_one_store_share_bytes_and_identity)
{
	struct memory_store *store;
	struct backend_open_params p = {.fd = -1, .cancel_fd = -1};
	struct backend *a, *b;
	struct rig r;
	char buf[512], back[512];

	rig_init(&r, false);
	ck_assert_int_eq(memory_store_new(1 << 20, &store), 0);
	p.store = store;
	ck_assert_int_eq(backend_memory.open(&p, &a), 0);
	p.read_only = true;
	ck_assert_int_eq(backend_memory.open(&p, &b), 0);
	ck_assert(b->geo.read_only && !a->geo.read_only);
	ck_assert_mem_eq(&a->id, &b->id, sizeof(a->id));
	memory_store_unref(store);
	memset(buf, 'm', sizeof(buf));
	ck_assert_int_eq(rig_write(&r, a, 4096, 512, buf), 0);
	a->ops->close(a);
	ck_assert_int_eq(rig_read(&r, b, 4096, 512, back), 0);
	ck_assert_mem_eq(buf, back, 512);
	b->ops->close(b);
	rig_deinit(&r);
}
END_TEST

START_TEST(odd_sizes_are_refused)
{
	struct backend_open_params p = {
		.fd = -1, .cancel_fd = -1, .size = 1000};
	struct memory_store *store;
	struct backend *b;

	ck_assert_int_eq(backend_null.open(&p, &b), -EINVAL);
	p.size = 0;
	ck_assert_int_eq(backend_null.open(&p, &b), -EINVAL);
	ck_assert_int_eq(memory_store_new(0, &store), -EINVAL);
	ck_assert_int_eq(memory_store_new(513, &store), -EINVAL);
	ck_assert_int_eq(memory_store_new(UINT64_C(1) << 63, &store), -ENOMEM);
	ck_assert_int_eq(memory_store_new(UINT64_C(1) << 60, &store), -ENOMEM);
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_loop_test(tc, geometry_is_sane, 0, N_CASES);
	tcase_add_loop_test(tc, a_fresh_device_reads_zeroes_into_a_dirty_buffer,
			    0, N_CASES);
	tcase_add_loop_test(tc, the_last_sector_is_usable, 0, N_CASES);
	tcase_add_loop_test(tc, behaves_as_an_array_of_bytes, 0, N_CASES);
	tcase_add_loop_test(tc, many_operations_are_in_flight_together, 0,
			    N_CASES);
	tcase_add_test(tc, close_takes_null);
	tcase_add_test(tc, mappings_of_one_store_share_bytes_and_identity);
	tcase_add_test(tc, odd_sizes_are_refused);
}

int
main(void)
{
	return rig_main("backend/conformance", add_tests);
}
