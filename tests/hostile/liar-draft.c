/* SPDX-License-Identifier: BSD-3-Clause */
/* RNBD messages, more or less as they should be. */
#include <string.h>

#include "tests/hostile/liar-clt.h"

static uint32_t
some_device(struct liar_clt *l)
{
	struct choice *c = l->stage->choice;

	if (l->n_devs && !choose_percent(c, 10))
		return l->devs[choose(c, l->n_devs)].id;
	return (uint32_t)choose_lie(c, l->last_id, 32);
}

static void
draft_io(struct liar_clt *l, struct draft *d)
{
	struct choice *c = l->stage->choice;
	const struct disk *disk = &l->g->liars;
	struct rnbd_msg_io m = {.device_id = some_device(l)};
	uint32_t max = l->g->chunk_size - RTRS_SRV_HDR_SIZE;
	unsigned op = (unsigned)choose(c, 6);

	m.rw = op | (uint32_t)choose(c, 16) << 8;
	m.bi_size = (uint32_t)(1 + choose(c, 8)) * 512;
	if (m.bi_size > max)
		m.bi_size = max;
	m.sector = choose(c, disk->bytes / DISK_SECTOR);
	if (op == RNBD_OP_FLUSH) {
		m.bi_size = 0;
		m.sector = UINT64_MAX;
	}
	d->read = op == RNBD_OP_READ || (op == RNBD_OP_FLUSH && choose(c, 2));
	if (op == RNBD_OP_READ || op == RNBD_OP_WRITE)
		d->data_len = m.bi_size;
	switch (choose_percent(c, 40) ? choose(c, 6) : 6) {
	case 0:
		m.device_id = (uint32_t)choose_lie(c, m.device_id, 32);
		break;
	case 1:
		m.sector = choose_lie(c, disk->bytes / DISK_SECTOR, 64);
		break;
	case 2:
		m.rw = (uint32_t)choose_lie(c, m.rw, 32);
		break;
	case 3:
		m.bi_size = (uint32_t)choose_lie(c, m.bi_size, 32);
		break;
	case 4:
		d->read = !d->read;
		break;
	case 5:
		d->data_len = (uint32_t)choose(c, max + 1);
		break;
	default:
		break;
	}
	rnbd_msg_io_encode(&m, d->usr);
	d->usr_len = RNBD_IO_LEN;
}

static void
draft_open(struct liar_clt *l, struct draft *d)
{
	static const char *const names[] = {
		LIAR_EXPORT,     LIAR_RO,     HONEST_EXPORT,
		"../etc/passwd", "liar-/..",  "/",
		"liar-disk/",    "liar-none", "\x01\xff\x7f liar",
	};
	struct choice *c = l->stage->choice;
	struct rnbd_msg_open m = {.access_mode = (uint8_t)choose(c, 3)};
	unsigned name = (unsigned)choose(
		c, choose_percent(c, 70) ? 2 : ARRAY_SIZE(names));

	strcpy(m.dev_name, names[name]);
	if (choose_percent(c, 10))
		m.access_mode = (uint8_t)choose_lie(c, 2, 8);
	rnbd_msg_open_encode(&m, d->usr);
	if (choose_percent(c, 5))
		memset(d->usr + 6, 'x', RNBD_NAME_LEN); /* no end */
	if (name < 2)
		d->opens = name ? &l->g->liars_ro : &l->g->liars;
	/* "liar-disk/" is the same: told by where the name ends. */
	if (name == 6)
		d->opens = &l->g->liars;
	d->opens_ro = name == 1 || m.access_mode == RNBD_ACCESS_RO;
	d->usr_len = RNBD_OPEN_LEN;
	d->read = true;
	d->data_len = RNBD_OPEN_RSP_LEN;
}

static void
draft_other(struct liar_clt *l, struct draft *d)
{
	struct choice *c = l->stage->choice;
	struct rnbd_msg_close close = {.device_id = some_device(l)};
	struct rnbd_msg_sess_info info = {.ver = 2};

	switch (choose(c, 4)) {
	case 0:
		d->type = RNBD_MSG_CLOSE;
		d->closes = close.device_id;
		rnbd_msg_close_encode(&close, d->usr);
		d->usr_len = RNBD_CLOSE_LEN;
		break;
	case 1:
		d->type = RNBD_MSG_SESS_INFO;
		info.ver = (uint8_t)choose_lie(c, 2, 8);
		rnbd_msg_sess_info_encode(&info, false, d->usr);
		d->usr_len = d->data_len = RNBD_SESS_INFO_LEN;
		d->read = true;
		break;
	case 2:
		d->type = RNBD_MSG_EXPLAIN;
		rnbd_msg_explain_encode(d->usr);
		d->usr_len = RNBD_EXPLAIN_LEN;
		d->data_len = RNBD_EXPLAIN_RSP_LEN;
		d->read = true;
		break;
	default:
		d->type = (uint16_t)choose_lie(c, 5, 16);
		choose_bytes(c, d->usr, 32);
		liar_put(d->usr, d->type, 2);
		d->usr_len = (uint32_t)choose(c, 40);
		d->read = choose(c, 2);
		d->data_len = (uint32_t)choose(c, 3) * 64;
		break;
	}
}

/* Bends the user message whatever it is. */
static void
bend_usr(struct liar_clt *l, struct draft *d)
{
	struct choice *c = l->stage->choice;

	switch (choose(c, 5)) {
	case 0:
		d->usr_len = (uint32_t)choose(c, d->usr_len + 1);
		break;
	case 1:
		d->usr_len = (uint32_t)choose(c, LIAR_USR_MAX);
		break;
	case 2:
		d->data_len += (uint32_t)choose(c, 300);
		break;
	case 3:
		d->data_len = (uint32_t)choose(c, d->data_len + 1);
		break;
	default:
		if (d->usr_len)
			d->usr[choose(c, d->usr_len)] ^=
				(uint8_t)(1u << choose(c, 8));
		break;
	}
	/* It may be any message now. */
	d->type = (uint16_t)(d->usr[0] | d->usr[1] << 8);
	if (d->type == RNBD_MSG_OPEN || d->type == RNBD_MSG_CLOSE)
		l->shared = true;
}

void
liar_draft(struct liar_clt *l, struct draft *d)
{
	struct choice *c = l->stage->choice;
	uint64_t what = choose(c, 100);
	uint32_t max = l->g->chunk_size - LIAR_USR_MAX - RTRS_REQ_HDR_MAX;

	/* What two of them at once lead to is not told beforehand. */
	if (liar_opens_or_closes(l) && !choose_percent(c, 3))
		what = 0;
	memset(d->usr, 0, sizeof(d->usr));
	if (what < 74 && (l->n_devs || what < 10)) {
		d->type = RNBD_MSG_IO;
		draft_io(l, d);
	} else if (what < 84 || !l->n_devs) {
		d->type = RNBD_MSG_OPEN;
		draft_open(l, d);
	} else {
		draft_other(l, d);
	}
	if (choose_percent(c, 4))
		bend_usr(l, d);
	if (d->data_len > max)
		d->data_len = max;
}
