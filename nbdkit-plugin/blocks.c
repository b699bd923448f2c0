/* SPDX-License-Identifier: BSD-3-Clause */
#include "nbdkit-plugin/blocks.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

/* Up to here one read and one write of all blocks beat one of each edge. */
#define BOUNCE_MAX (UINT64_C(64) << 10)

/* Lives on the stack of the thread that writes. */
struct block_range {
	uint64_t start, end; /* bytes, whole blocks */
	bool exclusive;      /* reads before it writes */
	struct block_range *prev, *next;
};

static bool
range_conflicts(const struct block_ranges *rs, const struct block_range *r)
{
	const struct block_range *o;

	DL_FOREACH(rs->active, o)
		if ((r->exclusive || o->exclusive) && r->start < o->end &&
		    o->start < r->end)
			return true;
	return false;
}

static void
range_enter(struct block_ranges *rs, struct block_range *r)
{
	pthread_mutex_lock(&rs->lock);
	while (range_conflicts(rs, r)) {
		rs->waiting++;
		pthread_cond_wait(&rs->left, &rs->lock);
		rs->waiting--;
	}
	DL_APPEND(rs->active, r);
	pthread_mutex_unlock(&rs->lock);
}

static void
range_leave(struct block_ranges *rs, struct block_range *r)
{
	bool wake;

	pthread_mutex_lock(&rs->lock);
	DL_DELETE(rs->active, r);
	wake = rs->waiting;
	pthread_mutex_unlock(&rs->lock);
	if (wake)
		pthread_cond_broadcast(&rs->left);
}

static uint64_t
block_down(const struct blocks *b, uint64_t off)
{
	return off & ~(uint64_t)(b->size - 1);
}

static uint64_t
block_up(const struct blocks *b, uint64_t off)
{
	return block_down(b, off + b->size - 1);
}

static bool
is_aligned(const struct blocks *b, uint64_t len, uint64_t off)
{
	return !((len | off) & (b->size - 1));
}

/* Reads whole blocks around [off, off+len) and takes the middle. */
static int
read_bounced(const struct blocks *b, uint8_t *buf, uint64_t len, uint64_t off)
{
	uint64_t start = block_down(b, off);
	uint64_t span = block_up(b, off + len) - start;
	cleanup_free uint8_t *tmp = malloc(span);
	int err;

	if (!tmp)
		return -ENOMEM;
	err = b->io(b->user, RNBD_CLT_READ, 0, tmp, span, start);
	if (!err)
		memcpy(buf, tmp + (off - start), len);
	return err;
}

/* The same for a change. buf NULL: zeroes. The range is ours. */
static int
write_bounced(const struct blocks *b, const uint8_t *buf, uint64_t len,
	      uint64_t off, unsigned flags)
{
	uint64_t start = block_down(b, off);
	uint64_t span = block_up(b, off + len) - start;
	cleanup_free uint8_t *tmp = malloc(span);
	int err;

	if (!tmp)
		return -ENOMEM;
	err = b->io(b->user, RNBD_CLT_READ, 0, tmp, span, start);
	if (err)
		return err;
	if (buf)
		memcpy(tmp + (off - start), buf, len);
	else
		memset(tmp + (off - start), 0, len);
	return b->io(b->user, RNBD_CLT_WRITE, flags, tmp, span, start);
}

/* Bytes of [off, off+len) in a first block that is covered in part. */
static uint64_t
head_len(const struct blocks *b, uint64_t len, uint64_t off)
{
	uint64_t head = block_up(b, off) - off;

	return head < len ? head : len;
}

static bool
fits_bounce(const struct blocks *b, uint64_t len, uint64_t off)
{
	return block_up(b, off + len) - block_down(b, off) <=
	       (b->size > BOUNCE_MAX ? b->size : BOUNCE_MAX);
}

int
blocks_read(const struct blocks *b, void *buf, uint64_t len, uint64_t off)
{
	uint8_t *p = buf;
	uint64_t head, tail;
	int err = 0;

	if (is_aligned(b, len, off))
		return b->io(b->user, RNBD_CLT_READ, 0, buf, len, off);
	if (fits_bounce(b, len, off))
		return read_bounced(b, p, len, off);
	head = head_len(b, len, off);
	tail = (off + len) & (b->size - 1);
	if (head)
		err = read_bounced(b, p, head, off);
	if (!err && len > head + tail)
		err = b->io(b->user, RNBD_CLT_READ, 0, p + head,
			    len - head - tail, off + head);
	if (!err && tail)
		err = read_bounced(b, p + len - tail, tail, off + len - tail);
	return err;
}

/* buf NULL: zeroes, by op in the middle. */
static int
write_unaligned(const struct blocks *b, enum rnbd_clt_op op, const uint8_t *buf,
		uint64_t len, uint64_t off, unsigned flags)
{
	unsigned edge_flags = flags & RNBD_CLT_F_FUA;
	uint64_t head, tail, mid;
	int err = 0;

	if (op == RNBD_CLT_WRITE && fits_bounce(b, len, off))
		return write_bounced(b, buf, len, off, edge_flags);
	head = head_len(b, len, off);
	tail = head == len ? 0 : (off + len) & (b->size - 1);
	mid = len - head - tail;
	if (head)
		err = write_bounced(b, buf, head, off, edge_flags);
	if (!err && mid)
		err = b->io(b->user, op, flags,
			    buf ? (void *)(uintptr_t)(buf + head) : NULL, mid,
			    off + head);
	if (!err && tail)
		err = write_bounced(b, buf ? buf + len - tail : NULL, tail,
				    off + len - tail, edge_flags);
	return err;
}

static int
write_any(const struct blocks *b, enum rnbd_clt_op op, const uint8_t *buf,
	  uint64_t len, uint64_t off, unsigned flags)
{
	struct block_range r = {
		.start = block_down(b, off),
		.end = block_up(b, off + len),
		.exclusive = !is_aligned(b, len, off),
	};
	int err;

	range_enter(b->ranges, &r);
	if (r.exclusive)
		err = write_unaligned(b, op, buf, len, off, flags);
	else
		err = b->io(b->user, op, flags, (void *)(uintptr_t)buf, len,
			    off);
	range_leave(b->ranges, &r);
	return err;
}

int
blocks_write(const struct blocks *b, const void *buf, uint64_t len,
	     uint64_t off, unsigned flags)
{
	return write_any(b, RNBD_CLT_WRITE, buf, len, off, flags);
}

int
blocks_zero(const struct blocks *b, uint64_t len, uint64_t off, unsigned flags)
{
	return write_any(b, RNBD_CLT_WRITE_ZEROES, NULL, len, off, flags);
}

int
blocks_discard(const struct blocks *b, uint64_t len, uint64_t off,
	       unsigned flags)
{
	uint64_t start = block_up(b, off);
	uint64_t end = block_down(b, off + len);

	if (start >= end)
		return 0;
	return write_any(b, RNBD_CLT_DISCARD, NULL, end - start, start, flags);
}
