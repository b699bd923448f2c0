/* SPDX-License-Identifier: BSD-3-Clause */
/* The RNBD client session over a scripted RTRS client. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nbdkit-plugin/rnbd-clt.h"
#include "tests/unit/rnbd/fake-rtrs.h"

#define MS      NSEC_PER_MSEC
#define MAX_IO  65536u
#define SECTORS 20480u /* 10 MiB */

static struct rnbd_clt *clt;
static struct rnbd_clt_dev *dev;
static uint64_t now;
static int open_calls, open_err;
static char open_text[512];
static uint8_t buf[1 << 20];

struct test_io {
	struct rnbd_clt_io io;
	int calls, err;
};

static void
on_opened(void *user, struct rnbd_clt_dev *d, int err, const char *text)
{
	(void)user;
	open_calls++;
	open_err = err;
	dev = d;
	strncpy(open_text, text, sizeof(open_text) - 1);
}

static void
on_done(struct rnbd_clt_io *io, int err)
{
	struct test_io *t = container_of(io, struct test_io, io);

	t->calls++;
	t->err = err;
}

static void
new_session(unsigned io_timeout_ms, unsigned open_timeout_ms)
{
	struct rnbd_clt_params p = {
		.rtrs = {.name = "s", .now = now},
		.io_timeout_ms = io_timeout_ms,
		.open_timeout_ms = open_timeout_ms,
		.trust_write_zeroes = true,
	};

	ck_assert_int_eq(rnbd_clt_new(&p, &clt), 0);
}

static void
setup(void)
{
	now = 1000 * MS;
	open_calls = 0;
	dev = NULL;
	new_session(5000, 0);
}

static void
teardown(void)
{
	rnbd_clt_free(clt);
}

static void
turn(uint64_t ms)
{
	now += ms * MS;
	rnbd_clt_progress(clt, now);
}

static uint16_t
sent_type(unsigned i)
{
	uint16_t type = 0xffff;

	ck_assert_uint_lt(i, fake->n_sent);
	ck_assert_int_eq(rnbd_msg_type_decode(fake->sent[i].usr,
					      fake->sent[i].usr_len, &type),
			 0);
	return type;
}

static struct rnbd_msg_io
sent_io(unsigned i)
{
	struct rnbd_msg_io m;

	ck_assert_uint_lt(i, fake->n_sent);
	ck_assert(!fake->sent[i].admin);
	ck_assert_int_eq(rnbd_msg_io_decode(fake->sent[i].usr,
					    fake->sent[i].usr_len, &m),
			 0);
	return m;
}

static void
answer_greeting(void)
{
	struct rnbd_msg_sess_info m = {.ver = 2};
	uint8_t b[RNBD_SESS_INFO_LEN];

	ck_assert_uint_eq(sent_type(0), RNBD_MSG_SESS_INFO);
	ck_assert(fake->sent[0].admin);
	rnbd_msg_sess_info_encode(&m, true, b);
	fake_answer(0, 0, b, sizeof(b));
}

static struct rnbd_msg_open_rsp
shape(uint32_t id, uint64_t nsectors, uint16_t lbs)
{
	return (struct rnbd_msg_open_rsp){
		.device_id = id,
		.nsectors = nsectors,
		.max_write_zeroes_sectors = 4096,
		.max_discard_sectors = 2048,
		.logical_block_size = lbs,
		.physical_block_size = 4096,
		.cache_policy = RNBD_CACHE_FUA | RNBD_CACHE_WRITEBACK,
	};
}

static void
answer_open(struct rnbd_msg_open_rsp m)
{
	uint8_t b[RNBD_OPEN_RSP_LEN];

	ck_assert_uint_eq(sent_type(0), RNBD_MSG_OPEN);
	rnbd_msg_open_rsp_encode(&m, b);
	fake_answer(0, 0, b, sizeof(b));
}

static void
open_disk(void)
{
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	answer_open(shape(7, SECTORS, 512));
	ck_assert_int_eq(open_calls, 1);
	ck_assert_int_eq(open_err, 0);
}

/* The session comes back; the device is open again with this shape. */
static void
come_back(struct rnbd_msg_open_rsp m)
{
	fake_link_up(8, MAX_IO);
	answer_greeting();
	answer_open(m);
}

static void
submit(struct test_io *t, enum rnbd_clt_op op, uint64_t off, uint64_t len,
       unsigned flags)
{
	memset(t, 0, sizeof(*t));
	t->io.dev = dev;
	t->io.op = op;
	t->io.flags = flags;
	t->io.off = off;
	t->io.len = len;
	t->io.buf = buf;
	t->io.done = on_done;
	rnbd_clt_submit(&t->io);
	ck_assert_int_eq(t->calls, 0); /* never from within */
}

START_TEST(greets_then_opens)
{
	struct rnbd_msg_open m;

	ck_assert_int_eq(rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_MIGRATION,
					   on_opened, NULL),
			 0);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 0);
	fake_link_up(8, MAX_IO);
	ck_assert_uint_eq(fake->n_sent, 1);
	answer_greeting();
	ck_assert_int_eq(rnbd_msg_open_decode(fake->sent[0].usr,
					      fake->sent[0].usr_len, &m),
			 0);
	ck_assert_str_eq(m.dev_name, "disk");
	ck_assert_uint_eq(m.access_mode, RNBD_ACCESS_MIGRATION);
	answer_open(shape(0, SECTORS, 512));
	ck_assert_int_eq(open_calls, 1);
	ck_assert(rnbd_clt_is_up(clt));
}
END_TEST

START_TEST(geometry_is_that_of_the_answer)
{
	struct rnbd_clt_geometry g;

	open_disk();
	rnbd_clt_dev_geometry(dev, &g);
	ck_assert_uint_eq(g.size_bytes, SECTORS * 512);
	ck_assert_uint_eq(g.logical_block_size, 512);
	ck_assert_uint_eq(g.max_io_size, MAX_IO);
	ck_assert_uint_eq(g.max_discard_bytes, 2048 * 512);
	ck_assert(g.fua && g.writeback);
}
END_TEST

START_TEST(impossible_shapes_are_refused)
{
	static const struct {
		uint64_t nsectors;
		uint16_t lbs;
	} bad[] = {{SECTORS, 0},
		   {SECTORS, 256},
		   {SECTORS, 1000},
		   {UINT64_MAX, 512},
		   {SECTORS, 513}};

	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	answer_open(shape(0, bad[_i].nsectors, bad[_i].lbs));
	ck_assert_int_eq(open_calls, 1);
	ck_assert_int_eq(open_err, -EINVAL);
	ck_assert(strstr(open_text, "impossible"));
}
END_TEST

START_TEST(large_io_is_split_and_sent_at_once)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 4096, 3 * MAX_IO + 512, 0);
	ck_assert_uint_eq(fake->n_sent, 4);
	for (unsigned i = 0; i < 4; i++) {
		struct rnbd_msg_io m = sent_io(i);

		ck_assert_uint_eq(m.device_id, 7);
		ck_assert_uint_eq(m.sector, (4096 + i * MAX_IO) / 512);
		ck_assert_uint_eq(m.bi_size, i < 3 ? MAX_IO : 512);
		ck_assert_uint_eq(fake->sent[i].data_len, m.bi_size);
		ck_assert_ptr_eq(fake->sent[i].req->data, buf + i * MAX_IO);
	}
	for (unsigned i = 0; i < 4; i++) {
		turn(1);
		ck_assert_int_eq(t.calls, 0);
		fake_answer(fake->n_sent - 1, 0, NULL, 0);
	}
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
	ck_assert_uint_eq(fake->n_out, 0);
}
END_TEST

START_TEST(first_error_wins_and_comes_once)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_READ, 0, 2 * MAX_IO, 0);
	fake_answer(1, -ENOSPC, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 0);
	fake_answer(0, -EIO, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -ENOSPC);
}
END_TEST

START_TEST(more_io_than_permits_waits_its_turn)
{
	struct test_io t[3];

	open_disk();
	submit(&t[0], RNBD_CLT_WRITE, 0, 6 * MAX_IO, 0);
	submit(&t[1], RNBD_CLT_WRITE, 0, 6 * MAX_IO, 0);
	submit(&t[2], RNBD_CLT_READ, 0, 512, 0);
	ck_assert_uint_eq(fake->n_sent, 8);
	while (fake->n_sent) {
		fake_answer(0, 0, NULL, 0);
		turn(0);
	}
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(t[i].calls, 1);
		ck_assert_int_eq(t[i].err, 0);
	}
	ck_assert_uint_eq(fake->n_out, 0);
}
END_TEST

START_TEST(flush_is_spelled_as_the_kernel_does)
{
	struct rnbd_msg_io m;
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_FLUSH, 0, 0, 0);
	m = sent_io(0);
	ck_assert_uint_eq(m.rw, 0x302);
	ck_assert_uint_eq(m.sector, UINT64_MAX);
	ck_assert_uint_eq(m.bi_size, 0);
	ck_assert_int_eq(fake->sent[0].dir, RTRS_READ);
	ck_assert_uint_eq(fake->sent[0].data_len, 0);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
}
END_TEST

START_TEST(fua_is_native_on_writes_and_a_flush_after_others)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, RNBD_CLT_F_FUA);
	ck_assert_uint_eq(sent_io(0).rw, 0x301);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_uint_eq(fake->n_sent, 0);

	submit(&t, RNBD_CLT_WRITE_ZEROES, 0, 512,
	       RNBD_CLT_F_FUA | RNBD_CLT_F_NOUNMAP);
	ck_assert_uint_eq(sent_io(0).rw, 0x805);
	ck_assert_uint_eq(fake->sent[0].data_len, 0);
	ck_assert_uint_eq(sent_io(0).bi_size, 512);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 0);
	ck_assert_uint_eq(sent_io(0).rw & 0xff, RNBD_OP_FLUSH);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
}
END_TEST

START_TEST(io_outlives_a_loss_with_the_new_device_id)
{
	struct test_io sent, later;

	open_disk();
	submit(&sent, RNBD_CLT_WRITE, 8192, 2 * MAX_IO, 0);
	fake_link_down();
	submit(&later, RNBD_CLT_READ, 0, 512, 0);
	turn(4000);
	ck_assert_int_eq(sent.calls + later.calls, 0);
	come_back(shape(9, SECTORS, 512));
	ck_assert_uint_eq(fake->n_sent, 3);
	ck_assert_uint_eq(sent_io(0).device_id, 9);
	ck_assert_uint_eq(sent_io(0).sector, 16);
	ck_assert_uint_eq(sent_io(1).sector, 16 + MAX_IO / 512);
	while (fake->n_sent)
		fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(sent.calls, 1);
	ck_assert_int_eq(later.calls, 1);
	ck_assert_int_eq(sent.err + later.err, 0);
}
END_TEST

START_TEST(nothing_is_sent_before_the_device_is_open_again)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	fake_link_down();
	fake_link_up(8, MAX_IO);
	ck_assert_uint_eq(fake->n_sent, 1);
	answer_greeting();
	ck_assert_uint_eq(fake->n_sent, 1);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_OPEN);
	/* Lost again in the middle. */
	fake_link_down();
	come_back(shape(1, SECTORS, 512));
	ck_assert_uint_eq(fake->n_sent, 1);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
}
END_TEST

START_TEST(waiting_ends_with_EIO_at_its_deadline)
{
	struct test_io early, late;

	open_disk();
	turn(0);
	submit(&early, RNBD_CLT_WRITE, 0, 512, 0);
	fake_link_down();
	turn(2000);
	submit(&late, RNBD_CLT_WRITE, 0, 512, 0);
	turn(2999);
	ck_assert_int_eq(early.calls, 0);
	ck_assert_uint_eq(rnbd_clt_deadline(clt), now + 1 * MS);
	turn(1);
	ck_assert_int_eq(early.calls, 1);
	ck_assert_int_eq(early.err, -EIO);
	ck_assert_int_eq(late.calls, 0);
	turn(2000);
	ck_assert_int_eq(late.calls, 1);
	ck_assert_int_eq(late.err, -EIO);
	come_back(shape(1, SECTORS, 512));
	ck_assert_uint_eq(fake->n_sent, 0);
}
END_TEST

START_TEST(without_io_timeout_a_loss_is_an_error_at_once)
{
	struct test_io t, u;

	rnbd_clt_free(clt);
	new_session(0, 0);
	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	fake_link_down();
	turn(0);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -EIO);
	submit(&u, RNBD_CLT_WRITE, 0, 512, 0);
	turn(0);
	ck_assert_int_eq(u.calls, 1);
	ck_assert_int_eq(u.err, -EIO);
}
END_TEST

START_TEST(a_device_that_shrank_or_changed_blocks_fails)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	fake_link_down();
	come_back(_i ? shape(1, SECTORS, 4096) : shape(1, SECTORS - 1, 512));
	ck_assert_uint_eq(fake->n_sent, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -EIO);
	ck_assert_ptr_nonnull(rnbd_clt_dev_failed(dev));
	ck_assert(strstr(rnbd_clt_dev_failed(dev), _i ? "block" : "shrank"));
}
END_TEST

START_TEST(a_device_that_grew_goes_on)
{
	struct rnbd_clt_geometry g;

	open_disk();
	fake_link_down();
	come_back(shape(1, SECTORS * 2, 512));
	rnbd_clt_dev_geometry(dev, &g);
	ck_assert_uint_eq(g.size_bytes, SECTORS * 2 * 512);
}
END_TEST

START_TEST(a_cache_that_became_volatile_makes_writes_durable)
{
	struct rnbd_msg_open_rsp m = shape(1, SECTORS, 512);
	struct test_io t;

	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	m.cache_policy = 0;
	answer_open(m);
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	ck_assert_uint_eq(sent_io(0).rw, 0x101);
	fake_answer(0, 0, NULL, 0);
	fake_link_down();
	come_back(shape(1, SECTORS, 512));
	turn(1);
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	ck_assert_uint_eq(sent_io(0).rw, 0x301);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
}
END_TEST

START_TEST(reopen_is_tried_again_until_it_works)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	fake_link_down();
	fake_link_up(8, MAX_IO);
	answer_greeting();
	fake_answer(0, -EPERM, NULL, 0);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_EXPLAIN);
	fake_answer(0, -EINVAL, NULL, 0);
	turn(1);
	ck_assert_uint_eq(fake->n_sent, 0);
	turn(600);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_OPEN);
	/* The same error is not explained twice. */
	fake_answer(0, -EPERM, NULL, 0);
	ck_assert_uint_eq(fake->n_sent, 0);
	turn(600);
	answer_open(shape(4, SECTORS, 512));
	ck_assert_uint_eq(sent_io(0).device_id, 4);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

START_TEST(a_device_closed_by_the_server_is_opened_again)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, 512, 0);
	fake_answer(0, -ENOTCONN, NULL, 0);
	turn(1);
	answer_open(shape(8, SECTORS, 512));
	ck_assert_uint_eq(sent_io(0).device_id, 8);
	fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

START_TEST(smaller_chunks_after_the_loss_cut_what_waits)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_WRITE, 0, MAX_IO, 0);
	fake_link_down();
	fake_link_up(8, MAX_IO / 4);
	answer_greeting();
	answer_open(shape(1, SECTORS, 512));
	ck_assert_uint_eq(fake->n_sent, 4);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(sent_io(i).bi_size, MAX_IO / 4);
	while (fake->n_sent)
		fake_answer(0, 0, NULL, 0);
	turn(1);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, 0);
}
END_TEST

START_TEST(errors_of_open_are_words)
{
	static const struct {
		int err;
		const char *word;
	} rows[] = {
		{-ENOENT, "no such export 'disk' at fake:127.0.0.1:1234"},
		{-EPERM, "busy: 'disk'"},
		{-ENOTBLK, "not a block device"},
		{-EACCES, "access_mode=rw"},
		{-EINVAL, "refuses the name"},
		{-ENOMEM, "cannot open 'disk'"},
	};

	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	fake_answer(0, rows[_i].err, NULL, 0);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_EXPLAIN);
	fake_answer(0, -EINVAL, NULL, 0);
	ck_assert_int_eq(open_calls, 1);
	ck_assert_int_eq(open_err, rows[_i].err);
	ck_assert_msg(strstr(open_text, rows[_i].word), "%s", open_text);
}
END_TEST

START_TEST(the_servers_explanation_is_passed_on)
{
	uint8_t b[RNBD_EXPLAIN_RSP_LEN];

	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	fake_answer(0, -EPERM, NULL, 0);
	rnbd_msg_explain_rsp_encode("busy: held by 'alice'\033[2J", b);
	fake_answer(0, 0, b, sizeof(b));
	ck_assert_int_eq(open_err, -EPERM);
	ck_assert(strstr(open_text, "held by 'alice'"));
	ck_assert(!strchr(open_text, '\033'));
}
END_TEST

START_TEST(openers_do_not_wait_longer_than_they_may)
{
	rnbd_clt_free(clt);
	new_session(5000, 1000);
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	turn(0);
	turn(999);
	ck_assert_int_eq(open_calls, 0);
	turn(1);
	ck_assert_int_eq(open_calls, 1);
	ck_assert_int_eq(open_err, -ETIMEDOUT);
	ck_assert(strstr(open_text, "connection refused"));
}
END_TEST

START_TEST(an_answer_that_comes_too_late_is_closed)
{
	struct rnbd_msg_close m;

	rnbd_clt_free(clt);
	new_session(5000, 1000);
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake_link_up(8, MAX_IO);
	answer_greeting();
	turn(0);
	turn(1000);
	ck_assert_int_eq(open_err, -ETIMEDOUT);
	answer_open(shape(3, SECTORS, 512));
	ck_assert_int_eq(open_calls, 1);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_CLOSE);
	ck_assert_int_eq(rnbd_msg_close_decode(fake->sent[0].usr,
					       fake->sent[0].usr_len, &m),
			 0);
	ck_assert_uint_eq(m.device_id, 3);
	fake_answer(0, 0, NULL, 0);
	turn(1);
}
END_TEST

START_TEST(a_failed_session_fails_openers_and_io)
{
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	fake->p.failed(fake->p.user, -ECONNREFUSED);
	turn(1);
	ck_assert_int_eq(open_calls, 1);
	ck_assert_int_eq(open_err, -ECONNREFUSED);
	ck_assert(strstr(open_text, "connection refused"));
}
END_TEST

static void
set_true(void *user)
{
	*(bool *)user = true;
}

START_TEST(two_handles_one_device_one_close)
{
	struct rnbd_clt_dev *first;
	bool closed = false;

	open_disk();
	first = dev;
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RW, on_opened, NULL),
		0);
	turn(0);
	ck_assert_int_eq(open_calls, 2);
	ck_assert_ptr_ne(first, dev);
	ck_assert_uint_eq(fake->n_sent, 0);
	rnbd_clt_dev_close(first, set_true, &closed);
	ck_assert(closed);
	ck_assert_uint_eq(fake->n_sent, 0);
	closed = false;
	rnbd_clt_dev_close(dev, set_true, &closed);
	ck_assert_uint_eq(sent_type(0), RNBD_MSG_CLOSE);
	ck_assert(!closed);
	/* A new opener waits until the old mapping is gone. */
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RO, on_opened, NULL),
		0);
	turn(0);
	ck_assert_uint_eq(fake->n_sent, 1);
	fake_answer(0, 0, NULL, 0);
	ck_assert(closed);
	turn(0);
	answer_open(shape(1, SECTORS, 512));
	ck_assert_int_eq(open_calls, 3);
	ck_assert_int_eq(open_err, 0);
}
END_TEST

START_TEST(another_mode_in_one_session_is_busy)
{
	open_disk();
	ck_assert_int_eq(
		rnbd_clt_dev_open(clt, "disk", RNBD_ACCESS_RO, on_opened, NULL),
		0);
	turn(0);
	ck_assert_int_eq(open_calls, 2);
	ck_assert_int_eq(open_err, -EBUSY);
}
END_TEST

START_TEST(a_freed_session_ends_everything)
{
	struct test_io sent, held;

	open_disk();
	submit(&sent, RNBD_CLT_WRITE, 0, 512, 0);
	submit(&held, RNBD_CLT_WRITE, 0, 20 * MAX_IO, 0);
	rnbd_clt_free(clt);
	ck_assert_int_eq(sent.calls, 1);
	ck_assert_int_eq(sent.err, -ESHUTDOWN);
	ck_assert_int_eq(held.calls, 1);
	ck_assert_int_eq(held.err, -ESHUTDOWN);
	new_session(0, 0);
}
END_TEST

START_TEST(io_beyond_the_end_is_refused)
{
	struct test_io t;

	open_disk();
	submit(&t, RNBD_CLT_READ, _i ? UINT64_MAX - 511 : SECTORS * 512 - 512,
	       1024, 0);
	turn(0);
	ck_assert_int_eq(t.calls, 1);
	ck_assert_int_eq(t.err, -EINVAL);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("rnbd-clt");
	TCase *t = tcase_create("session");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, greets_then_opens);
	tcase_add_test(t, geometry_is_that_of_the_answer);
	tcase_add_loop_test(t, impossible_shapes_are_refused, 0, 5);
	tcase_add_test(t, large_io_is_split_and_sent_at_once);
	tcase_add_test(t, first_error_wins_and_comes_once);
	tcase_add_test(t, more_io_than_permits_waits_its_turn);
	tcase_add_test(t, flush_is_spelled_as_the_kernel_does);
	tcase_add_test(t, fua_is_native_on_writes_and_a_flush_after_others);
	tcase_add_test(t, io_outlives_a_loss_with_the_new_device_id);
	tcase_add_test(t, nothing_is_sent_before_the_device_is_open_again);
	tcase_add_test(t, waiting_ends_with_EIO_at_its_deadline);
	tcase_add_test(t, without_io_timeout_a_loss_is_an_error_at_once);
	tcase_add_loop_test(t, a_device_that_shrank_or_changed_blocks_fails, 0,
			    2);
	tcase_add_test(t, a_device_that_grew_goes_on);
	tcase_add_test(t, a_cache_that_became_volatile_makes_writes_durable);
	tcase_add_test(t, reopen_is_tried_again_until_it_works);
	tcase_add_test(t, a_device_closed_by_the_server_is_opened_again);
	tcase_add_test(t, smaller_chunks_after_the_loss_cut_what_waits);
	tcase_add_loop_test(t, errors_of_open_are_words, 0, 6);
	tcase_add_test(t, the_servers_explanation_is_passed_on);
	tcase_add_test(t, openers_do_not_wait_longer_than_they_may);
	tcase_add_test(t, an_answer_that_comes_too_late_is_closed);
	tcase_add_test(t, a_failed_session_fails_openers_and_io);
	tcase_add_test(t, two_handles_one_device_one_close);
	tcase_add_test(t, another_mode_in_one_session_is_busy);
	tcase_add_test(t, a_freed_session_ends_everything);
	tcase_add_loop_test(t, io_beyond_the_end_is_refused, 0, 2);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
