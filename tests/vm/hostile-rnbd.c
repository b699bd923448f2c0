/* SPDX-License-Identifier: BSD-3-Clause */
/* RNBD messages: every one has an answer, and it carries the right errno. */
#include "tests/vm/hostile.h"

#include <errno.h>
#include <string.h>

static struct peer *
up(void)
{
	return peer_up(peer_new(2));
}

static void
call_read(struct peer *p, const struct usr *u, unsigned len, uint32_t data_len,
	  int err)
{
	peer_read(p, 0, 1, u->b, len, data_len);
	peer_replied(p, 1, err);
}

static void
call_write(struct peer *p, const struct usr *u, unsigned len, const void *data,
	   uint32_t data_len, int err)
{
	peer_write(p, 1, 1, u->b, len, data, data_len);
	peer_replied(p, 1, err);
}

static void
unknown_type(void)
{
	static const uint16_t types[] = {1, 3, 6, 77, 0xffff};
	struct peer *p = up();
	struct usr u = usr_sess_info(2);

	steps(i, ARRAY_SIZE(types)) {
		memcpy(u.b, &types[i], 2);
		call_read(p, &u, u.len, 36, -EINVAL);
	}
	peer_alive(p);
}

/* User messages that are cut, and such that are none at all. */
static void
too_short(void)
{
	struct peer *p = up();
	struct usr open = usr_open(names.disk, 0), close = usr_close(0);
	struct usr io = usr_io(0, RNBD_OP_READ, 0, 512), si = usr_sess_info(2);

	for (unsigned len = 0; len < 4; len++)
		call_read(p, &si, len, 36, -EINVAL);
	call_read(p, &si, 4, 36, -EINVAL);
	call_read(p, &si, RNBD_SESS_INFO_LEN, 35, -EINVAL);
	call_read(p, &open, 200, 56, -EINVAL);
	call_read(p, &open, RNBD_OPEN_LEN, 55, -EINVAL);
	call_read(p, &io, RNBD_IO_MIN_LEN - 1, 512, -EINVAL);
	call_write(p, &close, RNBD_CLOSE_LEN - 1, NULL, 0, -EINVAL);
	/* No room for an answer, or in the wrong direction. */
	call_write(p, &open, open.len, NULL, 0, -EINVAL);
	call_write(p, &si, si.len, NULL, 0, -EINVAL);
	peer_alive(p);
}

static void
too_long(void)
{
	static const uint8_t junk[4000];
	struct peer *p = up();

	peer_write(p, 1, 1, junk, 321, NULL, 0);
	peer_replied(p, 1, -EINVAL);
	peer_write(p, 1, 1, junk, sizeof(junk), NULL, 0);
	peer_replied(p, 1, -EINVAL);
	peer_alive(p);
}

static void
sess_info_versions(void)
{
	static const uint8_t vers[][2] = {{0, 0}, {1, 1}, {2, 2}, {255, 2}};
	struct peer *p = up();

	steps(i, ARRAY_SIZE(vers)) {
		struct usr u = usr_sess_info(vers[i][0]);
		struct rnbd_msg_sess_info m;

		call_read(p, &u, u.len, RNBD_SESS_INFO_LEN, 0);
		expect(!rnbd_msg_sess_info_decode(peer_room(p, 1),
						  RNBD_SESS_INFO_LEN, true, &m),
		       "malformed SESS_INFO_RSP");
		expect(m.ver == vers[i][1], "version %u for %u", m.ver,
		       vers[i][0]);
	}
}

static void
unknown_device(void)
{
	struct peer *p = up();
	struct rnbd_msg_open_rsp geo;
	struct usr u = usr_close(77777);
	uint32_t dev;

	peer_io_read(p, 1, 0, 0, 512, -ENOTCONN);
	peer_io_read(p, 1, 0xffffffff, 0, 512, -ENOTCONN);
	call_write(p, &u, u.len, NULL, 0, 0);
	dev = peer_open_soon(p, names.disk, RNBD_ACCESS_RO, &geo);
	peer_io_read(p, 1, dev, 0, 512, 0);
	peer_io_read(p, 1, dev + 1, 0, 512, -ENOTCONN);
	u = usr_close(dev);
	call_write(p, &u, u.len, NULL, 0, 0);
	peer_io_read(p, 1, dev, 0, 512, -ENOTCONN);
	call_write(p, &u, u.len, NULL, 0, 0);
}

static void
open_names(void)
{
	static const char *const dots[] = {"..", "../disk", "a..b", "x/../y"};
	struct peer *p = up();

	steps(i, ARRAY_SIZE(dots))
		peer_open(p, dots[i], RNBD_ACCESS_RO, -EINVAL);
	peer_open(p, "nothing-of-that-name", RNBD_ACCESS_RO, -ENOENT);
	peer_alive(p);
}

static void
open_names_ours(void)
{
	struct peer *p = up();
	struct usr u = usr_open("", 0);

	call_read(p, &u, u.len, RNBD_OPEN_RSP_LEN, -EINVAL);
	memset(u.b + 6, 'x', 255); /* no NUL */
	call_read(p, &u, u.len, RNBD_OPEN_RSP_LEN, -EINVAL);
	memset(u.b + 6, 0xff, 258);
	call_read(p, &u, u.len, RNBD_OPEN_RSP_LEN, -EINVAL);
	peer_open(p, "/etc/passwd", RNBD_ACCESS_RO, -ENOENT);
	peer_open(p, "%s%n\n\033[2J'\"", RNBD_ACCESS_RO, -ENOENT);
	peer_open(p, names.ro, RNBD_ACCESS_RW, -EACCES);
	peer_alive(p);
}

static void
open_modes(void)
{
	struct peer *p = up();

	peer_open(p, names.disk, 3, -EINVAL);
	peer_open(p, names.disk, 255, -EINVAL);
	peer_alive(p);
}

static void
open_twice(void)
{
	struct peer *p = up(), *q = up();
	struct rnbd_msg_open_rsp geo;
	uint32_t dev = peer_open_soon(p, names.disk, RNBD_ACCESS_RW, &geo);

	/* The same session gets the same, another one cannot write. */
	expect(peer_open(p, names.disk, RNBD_ACCESS_RW, 0) == dev,
	       "another id for the same device");
	peer_open(q, names.disk, RNBD_ACCESS_RW, -EPERM);
	peer_open(q, names.disk, RNBD_ACCESS_RO, 0);
}

static void
past_the_end(void)
{
	static uint8_t data[4096];
	struct peer *p = up();
	struct rnbd_msg_open_rsp geo;
	uint32_t dev = peer_open_soon(p, names.disk, RNBD_ACCESS_RW, &geo);
	uint64_t end = geo.nsectors;

	peer_io_read(p, 1, dev, end - 8, 4096, 0);
	peer_io_read(p, 1, dev, end, 4096, -EIO);
	peer_io_read(p, 1, dev, end + 8, 4096, -EIO);
	peer_io_write(p, 1, dev, end, data, 4096, -EIO);
	if (names.kernel)
		return;
	/* Wrap around, in sectors and in bytes. */
	peer_io_read(p, 1, dev, end - 1, 1024, -EIO);
	peer_io_read(p, 1, dev, UINT64_MAX, 512, -EIO);
	peer_io_read(p, 1, dev, UINT64_MAX - 7, 4096, -EIO);
	peer_io_read(p, 1, dev, UINT64_C(1) << 55, 512, -EIO);
	peer_io_write(p, 1, dev, UINT64_MAX - 7, data, 4096, -EIO);
	peer_io_write(p, 1, dev, (UINT64_C(1) << 55) - 1, data, 1024, -EIO);
	peer_alive(p);
}

/* What moves and what the message says are not the same. */
static void
sizes(void)
{
	static const struct {
		uint32_t bi_size, data_len;
		int err;
	} cases[] = {
		{512, 1024, -EINVAL},       {1024, 512, -EINVAL},
		{0xfffffe00, 512, -EINVAL}, {0, 512, -EINVAL},
		{513, 513, -EINVAL},        {511, 511, -EINVAL},
		{512, 511, -EINVAL},        {0xffffffff, 1, -EINVAL},
	};
	static uint8_t data[4096];
	struct peer *p = up();
	struct rnbd_msg_open_rsp geo;
	uint32_t dev = peer_open_soon(p, names.disk, RNBD_ACCESS_RW, &geo);

	steps(i, ARRAY_SIZE(cases)) {
		struct usr u = usr_io(dev, RNBD_OP_READ, 0, cases[i].bi_size);

		call_read(p, &u, u.len, cases[i].data_len, cases[i].err);
		u = usr_io(dev, RNBD_OP_WRITE, 0, cases[i].bi_size);
		call_write(p, &u, u.len, data, cases[i].data_len, cases[i].err);
	}
	peer_alive(p);
}

/* Operations against their direction, without data, or unknown. */
static void
operations(void)
{
	static const struct {
		unsigned rw;
		uint32_t bi_size, read, write; /* data_len; 1: not sent */
		int err;
	} cases[] = {
		{RNBD_OP_READ, 512, 1, 512, -EINVAL},
		{RNBD_OP_WRITE, 512, 512, 1, -EINVAL},
		{RNBD_OP_WRITE, 512, 1, 0, -EINVAL},
		{RNBD_OP_WRITE, 0, 1, 0, 0}, /* a flush */
		{RNBD_OP_FLUSH, 512, 1, 512, -EINVAL},
		{RNBD_OP_DISCARD, 512, 512, 1, -EINVAL},
		{RNBD_OP_DISCARD, 0, 1, 0, -EINVAL},
		{RNBD_OP_WRITE_ZEROES, 0, 1, 0, -EINVAL},
		{RNBD_OP_SECURE_ERASE, 512, 512, 1, -EOPNOTSUPP},
		{6, 512, 1, 512, -EOPNOTSUPP},
		{0xff, 512, 512, 1, -EOPNOTSUPP},
		{0xffffff00, 512, 512, 1, 0}, /* a read with every flag */
	};
	static uint8_t data[4096];
	struct peer *p = up();
	struct rnbd_msg_open_rsp geo;
	uint32_t dev = peer_open_soon(p, names.disk, RNBD_ACCESS_RW, &geo);

	steps(i, ARRAY_SIZE(cases)) {
		struct usr u = usr_io(dev, cases[i].rw, 0, cases[i].bi_size);

		if (cases[i].read != 1)
			call_read(p, &u, u.len, cases[i].read, cases[i].err);
		if (cases[i].write != 1)
			call_write(p, &u, u.len, data, cases[i].write,
				   cases[i].err);
	}
	peer_alive(p);
}

/* Room for an answer, and nowhere to send it: no success without data. */
static void
read_to_nowhere(void)
{
	struct peer *p = up();
	struct rnbd_msg_open_rsp geo;
	uint32_t dev = peer_open_soon(p, names.disk, RNBD_ACCESS_RO, &geo);
	struct usr u = usr_io(dev, RNBD_OP_READ, 0, 512);

	peer_read_to(p, 1, 1, u.b, u.len, 512, 0, NULL, 0);
	peer_replied(p, 1, -EINVAL);
	u = usr_sess_info(2);
	peer_read_to(p, 1, 1, u.b, u.len, 36, 0, NULL, 0);
	peer_replied(p, 1, -EINVAL);
	peer_alive(p);
}

static void
read_only(void)
{
	static uint8_t data[512] = {0xee};
	static const unsigned ops[] = {RNBD_OP_DISCARD, RNBD_OP_WRITE_ZEROES};
	const char *const devs[] = {names.ro, names.disk};
	struct peer *p = up();

	steps(i, ARRAY_SIZE(devs)) {
		uint32_t dev = peer_open(p, devs[i], RNBD_ACCESS_RO, 0);

		peer_io_write(p, 1, dev, 0, data, 512, -EROFS);
		for (unsigned j = 0; j < ARRAY_SIZE(ops); j++) {
			struct usr u = usr_io(dev, ops[j], 0, 512);
			struct peer_reply r;

			peer_write(p, 1, 1, u.b, u.len, NULL, 0);
			r = peer_reply(p);
			/* One that is not offered is not known either. */
			expect(r.err == -EROFS || r.err == -EOPNOTSUPP,
			       "%s of a read-only device: %d",
			       rnbd_op_name(ops[j]), r.err);
		}
		peer_io_read(p, 1, dev, 0, 512, 0);
		expect(peer_room(p, 1)[0] != 0xee, "written though read-only");
	}
}

/* FLUSH as the kernel's client says it, on a sector that is none. */
static void
kernel_flush(void)
{
	struct peer *p = up();
	struct rnbd_msg_open_rsp geo;
	uint32_t dev = peer_open_soon(p, names.disk, RNBD_ACCESS_RW, &geo);
	struct usr u = usr_io(dev, RNBD_OP_FLUSH | RNBD_F_SYNC | RNBD_F_FUA,
			      UINT64_MAX, 0);

	peer_read_to(p, 1, 2, u.b, u.len, 0, 0, NULL, 0);
	peer_replied(p, 2, 0);
}

const struct hostile_case hostile_rnbd[] = {
	{"rnbd-unknown-type", unknown_type, true},
	{"rnbd-too-short", too_short, false},
	{"rnbd-too-long", too_long, false},
	{"rnbd-sess-info-versions", sess_info_versions, true},
	{"rnbd-unknown-device", unknown_device, true},
	{"rnbd-open-names", open_names, true},
	{"rnbd-open-names-ours", open_names_ours, false},
	{"rnbd-open-modes", open_modes, true},
	{"rnbd-open-twice", open_twice, true},
	{"rnbd-past-the-end", past_the_end, true},
	{"rnbd-sizes", sizes, false},
	{"rnbd-operations", operations, false},
	{"rnbd-read-to-nowhere", read_to_nowhere, false},
	{"rnbd-read-only", read_only, false},
	{"rnbd-kernel-flush", kernel_flush, true},
};
const unsigned n_hostile_rnbd = ARRAY_SIZE(hostile_rnbd);
