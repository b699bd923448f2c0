/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/rnbd/rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rnbd_clt *clt;
struct rnbd_clt_dev *dev;
struct rnbd_stats *stats;
uint64_t now;
int open_calls, open_err, closed_calls;
char open_text[512];
uint8_t buf[1 << 20];
char heard[512];

static struct log the_log;

static void
on_line(void *user, enum log_level level, const char *line)
{
	(void)user, (void)level;
	snprintf(heard, sizeof(heard), "%s", line);
}

/* Nobody listens by default: an empty log is a valid one. */
void
hear(void)
{
	the_log = (struct log){.sink = on_line, .threshold = LOG_LVL_DEBUG};
}

void
on_opened(void *user, struct rnbd_clt_dev *d, int err, const char *text)
{
	(void)user;
	open_calls++;
	open_err = err;
	dev = d;
	strncpy(open_text, text, sizeof(open_text) - 1);
}

void
on_closed(void *user)
{
	(void)user;
	closed_calls++;
}

static void
on_done(struct rnbd_clt_io *io, int err)
{
	struct test_io *t = container_of(io, struct test_io, io);

	t->calls++;
	t->err = err;
}

void
new_session(unsigned io_timeout_ms, unsigned open_timeout_ms)
{
	struct rnbd_clt_params p = {
		.rtrs = {.name = "s", .now = now, .log = &the_log},
		.io_timeout_ms = io_timeout_ms,
		.open_timeout_ms = open_timeout_ms,
		.trust_write_zeroes = true,
		.stats = stats,
	};

	ck_assert_int_eq(rnbd_clt_new(&p, &clt), 0);
}

void
setup(void)
{
	now = 1000 * MS;
	open_calls = 0;
	closed_calls = 0;
	dev = NULL;
	heard[0] = '\0';
	the_log = (struct log){0};
	fake_new_err = 0;
	ck_assert_int_eq(rnbd_stats_new(&stats), 0);
	new_session(5000, 0);
}

void
teardown(void)
{
	rnbd_clt_free(clt);
	rnbd_stats_free(stats);
}

void
turn(uint64_t ms)
{
	now += ms * MS;
	rnbd_clt_progress(clt, now);
}

uint16_t
sent_type(unsigned i)
{
	uint16_t type = 0xffff;

	ck_assert_uint_lt(i, fake->n_sent);
	ck_assert_int_eq(rnbd_msg_type_decode(fake->sent[i].usr,
					      fake->sent[i].usr_len, &type),
			 0);
	return type;
}

struct rnbd_msg_io
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

void
closes(uint32_t id)
{
	struct rnbd_msg_close m;

	ck_assert_uint_eq(sent_type(0), RNBD_MSG_CLOSE);
	ck_assert_int_eq(rnbd_msg_close_decode(fake->sent[0].usr,
					       fake->sent[0].usr_len, &m),
			 0);
	ck_assert_uint_eq(m.device_id, id);
}

void
answer_greeting(void)
{
	struct rnbd_msg_sess_info m = {.ver = 2};
	uint8_t b[RNBD_SESS_INFO_LEN];

	ck_assert_uint_eq(sent_type(0), RNBD_MSG_SESS_INFO);
	ck_assert(fake->sent[0].admin);
	rnbd_msg_sess_info_encode(&m, true, b);
	fake_answer(0, 0, b, sizeof(b));
}

struct rnbd_msg_open_rsp
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

void
answer_open(struct rnbd_msg_open_rsp m)
{
	uint8_t b[RNBD_OPEN_RSP_LEN];

	ck_assert_uint_eq(sent_type(0), RNBD_MSG_OPEN);
	rnbd_msg_open_rsp_encode(&m, b);
	fake_answer(0, 0, b, sizeof(b));
}

void
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

void
want(const char *name, enum rnbd_access_mode mode)
{
	ck_assert_int_eq(rnbd_clt_dev_open(clt, name, mode, on_opened, NULL),
			 0);
}

void
be_ready(void)
{
	fake_link_up(8, MAX_IO);
	answer_greeting();
}

static void
nothing(void *user)
{
	(void)user;
}

void
let_go(struct rnbd_clt_dev *d)
{
	rnbd_clt_dev_close(d, nothing, NULL);
}

struct rnbd_clt_dev *
opened(const char *name, enum rnbd_access_mode mode, struct rnbd_msg_open_rsp m)
{
	int calls = open_calls;

	want(name, mode);
	turn(0);
	answer_open(m);
	ck_assert_int_eq(open_calls, calls + 1);
	ck_assert_int_eq(open_err, 0);
	return dev;
}

void
answer_all(void)
{
	while (fake->n_sent)
		fake_answer(0, 0, NULL, 0);
	turn(0);
}

/* The session comes back; the device is open again with this shape. */
void
come_back(struct rnbd_msg_open_rsp m)
{
	fake_link_up(8, MAX_IO);
	answer_greeting();
	answer_open(m);
}

void
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
