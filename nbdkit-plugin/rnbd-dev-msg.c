/* SPDX-License-Identifier: BSD-3-Clause */
/* What is said about a device, OPEN, EXPLAIN and CLOSE, and what answers do. */
#include "nbdkit-plugin/rnbd-priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <utlist.h>

#include "rtrs/base/mutant.h"

/* The server in words: "tcp:192.0.2.1:1234", of the first path. */
static void
server_text(const struct rnbd_clt *c, char *buf, size_t len)
{
	char addr[RTRS_ADDR_TEXT_MAX];
	struct rtrs_clt_path_info info;

	if (rtrs_clt_path_info(c->rtrs, 0, &info) < 0) {
		snprintf(buf, len, "the server");
		return;
	}
	(void)rtrs_addr_text(info.addr.fabric, &info.addr.dst, addr);
	snprintf(buf, len, "%s", addr);
}

/* What an OPEN error means to the person who asked for the device. */
static void
open_error_text(struct device *d, int err, const char *explained)
{
	char at[128];

	server_text(d->c, at, sizeof(at));
	if (explained[0]) {
		snprintf(d->text, sizeof(d->text), "%s (at %s)", explained, at);
		return;
	}
	switch (-err) {
	case ENOENT:
		snprintf(d->text, sizeof(d->text),
			 "no such export '%.254s' at %s", d->name, at);
		break;
	case EPERM:
		snprintf(d->text, sizeof(d->text),
			 "busy: '%.254s' at %s is already open for writing by "
			 "another session (access_mode=ro is still possible)",
			 d->name, at);
		break;
	case ENOTBLK:
		snprintf(d->text, sizeof(d->text),
			 "'%.254s' at %s is not a block device", d->name, at);
		break;
	case EACCES:
	case EROFS:
		snprintf(d->text, sizeof(d->text),
			 "'%.254s' at %s may not be opened with "
			 "access_mode=%s: %s",
			 d->name, at, rnbd_access_mode_name(d->mode),
			 strerror(-err));
		break;
	case EINVAL:
		snprintf(d->text, sizeof(d->text),
			 "%s refuses the name '%.254s' (\"..\" is not allowed, "
			 "nor are overlong names)",
			 at, d->name);
		break;
	default:
		snprintf(d->text, sizeof(d->text),
			 "cannot open '%.254s' at %s: %s", d->name, at,
			 strerror(-err));
	}
}

static void
dev_failed(struct device *d)
{
	d->state = DEV_FAILED;
	log_err(d->c->log, "device '%s': %s", d->name, d->text);
	ask_finish(d, -EINVAL, d->text);
	ios_fail(d->c, d, -EIO);
}

int
dev_say_close(struct device *d)
{
	struct rnbd_msg_close m = {.device_id = d->id};
	int r;

	rnbd_msg_close_encode(&m, d->admin.usr);
	d->admin.dir = RTRS_WRITE;
	d->admin.usr_len = RNBD_CLOSE_LEN;
	d->admin.data_len = 0;
	r = admin_send(&d->admin);
	if (r == -ECONNABORTED)
		dev_leave(d, true); /* of which the session is told later */
	return r;
}

bool
close_is_out(const struct device *d)
{
	/* The only one of our messages that is a write. */
	return d->admin.busy && d->admin.dir == RTRS_WRITE;
}

uint64_t
close_patience_ends(const struct device *d)
{
	return time_after_ms(d->admin.since, CLOSE_PATIENCE_MS);
}

/* The CLOSE of what nobody has any more. -ECONNABORTED is its end as well. */
static void
say_not_closed(const struct device *d, int err)
{
	if (err && err != -ECONNABORTED)
		log_warn(d->c->log,
			 "device '%s': CLOSE failed: %s; the server may have "
			 "it open until the session ends",
			 d->name, strerror(-err));
}

/* What became of CLOSE, if it was sent at all. */
static void
dev_close_ended(struct device *d, int err)
{
	/* Without it the server keeps the device from others. */
	if (err == -ENOMEM && ++d->close_tries < CLOSE_TRIES) {
		d->close_waits = true;
		d->retry_at = time_after_ms(d->c->now, CLOSE_RETRY_MS);
		return;
	}
	say_not_closed(d, err);
	if (err != -ECONNABORTED)
		d->left_modes = 0;
	dev_closed(d);
}

void
dev_send_close(struct device *d)
{
	int r;

	d->state = DEV_CLOSING;
	d->close_waits = false;
	r = dev_say_close(d);
	if (r < 0)
		dev_close_ended(d, r);
}

/* The server has it open as it was; so have its users. */
static void
dev_turn_later(struct device *d, int err)
{
	log_warn(d->c->log, "device '%s': CLOSE failed: %s", d->name,
		 strerror(-err));
	d->retry_at = time_after_ms(d->c->now, CLOSE_RETRY_MS);
	if (d->left_modes) {
		/* Nobody has it yet as it was left. */
		d->close_waits = true;
		return;
	}
	d->state = DEV_OPEN;
	ask_finish(d, err, "no memory to close it; it stays as it was");
	ios_release(d->c);
}

void
dev_turn_on(struct device *d)
{
	int r;

	/*
	 * A kernel server gives the id of a device that is closed to the next
	 * one, whatever is under way for the last.
	 */
	if (d->n_out)
		return;
	d->close_waits = false;
	r = dev_say_close(d);
	if (r == -ENOMEM)
		dev_turn_later(d, r);
	else if (r < 0)
		d->state = DEV_WANTED; /* no path: when the session is back */
}

void
dev_turn(struct device *d)
{
	d->state = DEV_TURNING;
	d->close_waits = true;
	d->retry_at = 0;
	dev_turn_on(d);
}

/* The server has it open as what it cannot be used as. */
static void
dev_useless(struct device *d, uint32_t id)
{
	dev_failed(d);
	d->id = id;
	say_not_closed(d, dev_say_close(d));
}

/*
 * A CLOSE with this id is out. So the server has executed it, and given the id
 * again; but it may be sent once more.
 */
bool
id_is_closing(const struct device *d, uint32_t id)
{
	for (const struct device *o = d->c->devices; o; o = o->next)
		if (o != d && o->id == id && close_is_out(o))
			return true;
	return false;
}

static void
dev_opened(struct device *d, const struct rnbd_msg_open_rsp *m)
{
	struct rnbd_clt_geometry g;

	/*
	 * Or it was out, and came after this OPEN with the id of before. Then
	 * the device is looked for once more.
	 */
	if (id_is_closing(d, m->device_id) ||
	    (d->overtakes && d->closes_before != d->c->closes_ended)) {
		dev_leave(d, false);
		d->state = DEV_WANTED;
		d->retry_at =
			strays_are_out(d->c)
				? 0 /* when they are not any more */
				: time_after_ms(d->c->now, REOPEN_RETRY_MS);
		return;
	}
	if (dev_left_differs(d)) {
		d->id = m->device_id;
		dev_turn(d);
		return;
	}
	d->left_modes = 0;
	d->left_id = false;
	if (!dev_shape(d->c, m, &g)) {
		snprintf(d->text, sizeof(d->text),
			 "the server describes an impossible disk: %" PRIu64
			 " sectors, blocks of %u bytes",
			 m->nsectors, m->logical_block_size);
		if (!d->was_open) {
			openers_finish(d, -EINVAL, d->text);
			d->id = m->device_id;
			dev_send_close(d);
		} else {
			dev_useless(d, m->device_id);
		}
		return;
	}
	if (d->was_open && !RNBD_MUTANT(GEO_UNCHECKED) &&
	    !dev_shape_fits(d, &g, d->text, sizeof(d->text))) {
		dev_useless(d, m->device_id);
		return;
	}
	if (d->was_open)
		log_info(d->c->log, "device '%s': open again, %s", d->name,
			 rnbd_access_mode_name(d->mode));
	dev_reshape(d, &g);
	if (!RNBD_MUTANT(ID_STALE) || !d->was_open)
		d->id = m->device_id;
	d->incarnation++;
	if (!d->was_open && d->c->counts)
		d->stats = rnbd_stats_device(d->c->counts, d->name);
	d->was_open = true;
	d->open_err = 0;
	d->state = DEV_OPEN;
	openers_serve(d);
	ask_finish(d, 0, "");
	ios_release(d->c);
}

/*
 * Those who have the device only read, and it could not be opened for writing:
 * that is the end for those who wanted to, and no more.
 */
static bool
dev_turn_failed(struct device *d)
{
	struct opener *o, *tmp;

	for (const struct rnbd_clt_dev *h = d->handles; h; h = h->next)
		if (h->mode != RNBD_ACCESS_RO)
			return false;
	if (d->mode == RNBD_ACCESS_RO)
		return false;
	LL_FOREACH_SAFE(d->openers, o, tmp)
		if (o->handle->mode != RNBD_ACCESS_RO)
			opener_finish(d, o, d->open_err, d->text);
	d->state = d->n_handles ? DEV_WANTED : DEV_GONE;
	d->retry_at = 0;
	d->open_err = 0;
	return true;
}

/* OPEN failed and the reason is in d->text. */
static void
dev_open_failed(struct device *d)
{
	ask_finish(d, d->open_err, d->text);
	if (d->was_open && d->n_handles && dev_turn_failed(d))
		return;
	if (d->was_open) {
		/* Said once per kind of error, not at each try. */
		log_warn(d->c->log, "device '%s': cannot open again: %s",
			 d->name, d->text);
		d->state = DEV_WANTED;
		d->retry_at = time_after_ms(d->c->now, REOPEN_RETRY_MS);
		return;
	}
	openers_finish(d, d->open_err, d->text);
	d->state = DEV_GONE;
}

static void
explained(struct device *d, int err)
{
	char text[RNBD_EXPLAIN_RSP_LEN] = "";

	if (!err)
		rnbd_msg_explain_rsp_decode(d->admin.data, RNBD_EXPLAIN_RSP_LEN,
					    text);
	open_error_text(d, d->open_err, text);
	dev_open_failed(d);
}

static void
dev_explain(struct device *d, int err)
{
	if (d->was_open && d->open_err == err) {
		/* The same as at the last try: no need to ask again. */
		ask_finish(d, err, d->text);
		d->state = DEV_WANTED;
		d->retry_at = time_after_ms(d->c->now, REOPEN_RETRY_MS);
		return;
	}
	d->open_err = err;
	d->state = DEV_EXPLAIN;
	rnbd_msg_explain_encode(d->admin.usr);
	d->admin.dir = RTRS_READ;
	d->admin.usr_len = RNBD_EXPLAIN_LEN;
	d->admin.data_len = RNBD_EXPLAIN_RSP_LEN;
	memset(d->admin.data, 0, sizeof(d->admin.data));
	if (admin_send(&d->admin) < 0)
		explained(d, -ECONNABORTED);
}

void
dev_admin_done(struct admin *a, int err)
{
	struct device *d = container_of(a, struct device, admin);
	struct rnbd_msg_open_rsp m;

	dev_left_answered(d, err);
	d->c->closes_ended += d->admin.dir == RTRS_WRITE;
	switch (d->state) {
	case DEV_OPENING:
		if (err == -ECONNABORTED) {
			d->state = DEV_WANTED;
			d->retry_at = 0;
			return;
		}
		if (!err)
			err = rnbd_msg_open_rsp_decode(a->data, a->data_len,
						       &m);
		if (err)
			dev_explain(d, err);
		else
			dev_opened(d, &m);
		break;
	case DEV_EXPLAIN:
		explained(d, err);
		break;
	case DEV_CLOSING:
		if (d->close_waits)
			dev_send_close(d);
		else
			dev_close_ended(d, err);
		break;
	case DEV_TURNING:
		if (err == -ENOMEM) {
			dev_turn_later(d, err);
			break;
		}
		if (err && err != -ECONNABORTED)
			log_warn(d->c->log, "device '%s': CLOSE failed: %s",
				 d->name, strerror(-err));
		d->state = DEV_WANTED;
		break;
	case DEV_FAILED:
	case DEV_GONE:
		if (a->dir == RTRS_WRITE)
			say_not_closed(d, err);
		/* Nobody waits for it any more, but the server has opened it.
		 */
		if (err || a->data_len != RNBD_OPEN_RSP_LEN)
			break;
		if (rnbd_msg_open_rsp_decode(a->data, a->data_len, &m)) {
			d->left_modes = 0; /* nothing to be closed by */
			break;
		}
		d->id = m.device_id;
		dev_send_close(d);
		break;
	case DEV_OPEN:
		if (!err)
			err = rnbd_msg_open_rsp_decode(a->data, a->data_len,
						       &m);
		ask_answered(d, err, &m);
		break;
	case DEV_WANTED:
		/* A CLOSE of what was left. Or the server closed the device
		 * while it was asked for, and has opened it for that. */
		if (!err && a->data_len == RNBD_OPEN_RSP_LEN)
			dev_leave(d, false);
		break;
	}
}

static bool
some_close_is_out(const struct rnbd_clt *c)
{
	for (const struct device *d = c->devices; d; d = d->next)
		if (close_is_out(d))
			return true;
	return false;
}

int
dev_send_open(struct device *d)
{
	struct rnbd_msg_open m = {.access_mode = (uint8_t)d->mode};

	memcpy(m.dev_name, d->name, sizeof(m.dev_name));
	rnbd_msg_open_encode(&m, d->admin.usr);
	d->admin.dir = RTRS_READ;
	d->admin.usr_len = RNBD_OPEN_LEN;
	d->admin.data_len = RNBD_OPEN_RSP_LEN;
	memset(d->admin.data, 0, sizeof(d->admin.data));
	d->overtakes = some_close_is_out(d->c);
	d->closes_before = d->c->closes_ended;
	return admin_send(&d->admin);
}
