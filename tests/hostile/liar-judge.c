/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What rnbd-protocol(7) says of a request, told from its bytes alone. It does
 * not use the decoders of proto/: they are what is judged.
 */
#include <errno.h>

#include "tests/hostile/liar-clt.h"

static const struct verdict close_path = {.fate = FATE_CLOSE};
static const struct verdict anything = {.fate = FATE_ANY};
static const struct verdict some_reply = {.fate = FATE_REPLY};

static struct verdict
reply(int err)
{
	return (struct verdict){
		.fate = FATE_REPLY, .err_known = true, .err = err};
}

static uint64_t
get(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

/* A request, taken apart. */
struct parts {
	bool read, has_desc;
	uint32_t data_len, usr_len;
	const uint8_t *usr;
};

static const struct disk *
disk_of(const struct liar_clt *l, uint32_t id, bool *ret_ro)
{
	for (unsigned i = 0; i < l->n_devs; i++) {
		if (l->devs[i].id != id)
			continue;
		*ret_ro = l->devs[i].ro;
		return l->devs[i].disk;
	}
	return NULL;
}

bool
liar_opens_or_closes(const struct liar_clt *l)
{
	for (unsigned i = 0; i < LIAR_DEPTH; i++)
		if (l->shots[i].out && (l->shots[i].type == RNBD_MSG_OPEN ||
					l->shots[i].type == RNBD_MSG_CLOSE))
			return true;
	return false;
}

static int
judge_range(const struct disk *d, uint64_t sector, uint32_t size)
{
	uint64_t sectors = d->bytes / DISK_SECTOR, n = size / DISK_SECTOR;

	if (size % d->block_size || sector % (d->block_size / DISK_SECTOR))
		return -EINVAL;
	return sector > sectors || n > sectors - sector ? -EIO : 0;
}

static struct verdict
judge_io(const struct liar_clt *l, const struct parts *p)
{
	uint32_t id, op, size;
	const struct disk *d;
	uint64_t sector;
	bool ro;

	if (p->usr_len < RNBD_IO_MIN_LEN)
		return reply(-EINVAL);
	/* Another session's OPEN or CLOSE is not known here. */
	if (l->shared || liar_opens_or_closes(l))
		return some_reply;
	id = (uint32_t)get(p->usr + 4, 4);
	sector = get(p->usr + 8, 8);
	op = (uint32_t)get(p->usr + 16, 4) & RNBD_RW_OP_MASK;
	size = (uint32_t)get(p->usr + 20, 4);
	d = disk_of(l, id, &ro);
	if (!d)
		return reply(-ENOTCONN);
	/* How older clients ask for a flush. */
	if (op == RNBD_OP_WRITE && !size && !p->read)
		op = RNBD_OP_FLUSH;
	if (op > RNBD_OP_WRITE_ZEROES || op == RNBD_OP_SECURE_ERASE)
		return reply(-EOPNOTSUPP);
	if (p->data_len && p->data_len != size)
		return reply(-EINVAL);
	if (op == RNBD_OP_FLUSH)
		return reply(p->data_len ? -EINVAL : 0);
	if (op == RNBD_OP_READ && (!p->read || !p->data_len))
		return reply(-EINVAL);
	if (op == RNBD_OP_WRITE && (p->read || p->data_len != size))
		return reply(-EINVAL);
	if (op == RNBD_OP_DISCARD || op == RNBD_OP_WRITE_ZEROES) {
		if (p->read || !size || size > 65536)
			return reply(-EINVAL);
	}
	if (op != RNBD_OP_READ && ro)
		return reply(-EROFS);
	return reply(judge_range(d, sector, size));
}

static struct verdict
judge_open(const struct parts *p)
{
	uint32_t n = 0;

	if (!p->has_desc || p->data_len < RNBD_OPEN_RSP_LEN ||
	    p->usr_len < RNBD_OPEN_LEN || !p->usr[6])
		return reply(-EINVAL);
	while (n < RNBD_NAME_LEN && p->usr[6 + n])
		n++;
	return n == RNBD_NAME_LEN ? reply(-EINVAL) : some_reply;
}

static struct verdict
judge_rnbd(const struct liar_clt *l, const struct parts *p)
{
	if (p->usr_len < 4)
		return reply(-EINVAL);
	switch (get(p->usr, 2)) {
	case RNBD_MSG_IO:
		return judge_io(l, p);
	case RNBD_MSG_OPEN:
		return judge_open(p);
	case RNBD_MSG_SESS_INFO:
		return reply(p->has_desc && p->data_len >= RNBD_SESS_INFO_LEN &&
					     p->usr_len >= RNBD_SESS_INFO_LEN
				     ? 0
				     : -EINVAL);
	case RNBD_MSG_CLOSE:
		return reply(p->data_len || p->usr_len < RNBD_CLOSE_LEN
				     ? -EINVAL
				     : 0);
	case RNBD_MSG_EXPLAIN:
		return reply(p->has_desc && p->data_len >= RNBD_EXPLAIN_RSP_LEN
				     ? 0
				     : -EINVAL);
	default:
		return reply(-EINVAL);
	}
}

static bool
knows(const struct claim *c, uint64_t off, uint64_t len)
{
	return off >= c->start && off + len <= (uint64_t)c->start + c->len;
}

struct verdict
liar_judge(const struct liar_clt *l, const struct claim *c)
{
	uint32_t chunk = l->g->chunk_size;
	const uint8_t *hdr;
	struct parts p = {0};
	uint64_t type, sg_cnt;

	if (c->id >= l->g->queue_depth || c->off >= chunk)
		return close_path;
	/* Answered meanwhile, or not. */
	if (l->shots[c->id].out)
		return anything;
	/* Not a header of its own: whatever lies there. */
	if (!knows(c, c->off, RTRS_WRITE_HDR_LEN))
		return c->off + RTRS_WRITE_HDR_LEN > chunk ? close_path
							   : anything;
	hdr = c->bytes + (c->off - c->start);
	type = get(hdr, 2);
	p.usr_len = (uint32_t)get(hdr + 2, 2);
	if (type != RTRS_MSG_WRITE && type != RTRS_MSG_READ)
		return close_path;
	p.read = type == RTRS_MSG_READ;
	if (p.read) {
		if (!knows(c, c->off, RTRS_READ_HDR_LEN))
			return c->off + RTRS_READ_HDR_LEN > chunk ? close_path
								  : anything;
		sg_cnt = get(hdr + 6, 2);
		if (sg_cnt > 1 ||
		    c->off + RTRS_READ_HDR_LEN + sg_cnt * RTRS_DESC_LEN > chunk)
			return close_path;
		p.has_desc = sg_cnt;
	}
	if (p.usr_len > c->off)
		return close_path;
	p.data_len = c->off - p.usr_len;
	if (p.has_desc) {
		if (!knows(c, c->off, RTRS_REQ_HDR_MAX))
			return anything;
		if (!get(hdr + 20, 4) || get(hdr + 20, 4) != p.data_len)
			return close_path;
	} else if (p.read) {
		p.data_len = 0;
	}
	if (p.usr_len > RTRS_USR_LEN_MAX)
		return reply(-EINVAL);
	if (!knows(c, c->off - p.usr_len, p.usr_len))
		return some_reply;
	p.usr = hdr - p.usr_len;
	return judge_rnbd(l, &p);
}
