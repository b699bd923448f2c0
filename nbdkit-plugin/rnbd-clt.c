/* SPDX-License-Identifier: BSD-3-Clause */
/* The session: greeting, loss and return, and the way admin messages take. */
#include "nbdkit-plugin/rnbd-priv.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

static void
admin_req_done(struct rtrs_clt_req *req, int err)
{
	struct admin *a = req->user;

	rtrs_clt_permit_put(a->c->rtrs, req->permit);
	a->busy = false;
	a->done(a, err);
}

static int
admin_submit(struct admin *a, struct rtrs_permit *permit)
{
	int r;

	a->req = (struct rtrs_clt_req){
		.dir = a->dir,
		.permit = permit,
		.usr = a->usr,
		.usr_len = a->usr_len,
		.data = a->data_len ? a->data : NULL,
		.data_len = a->data_len,
		.done = admin_req_done,
		.user = a,
	};
	r = rtrs_clt_submit(a->c->rtrs, &a->req);
	if (r < 0)
		rtrs_clt_permit_put(a->c->rtrs, permit);
	return r;
}

static void
admin_got_permit(struct rtrs_permit_waiter *w, struct rtrs_permit *permit)
{
	struct admin *a = container_of(w, struct admin, waiter);
	int r = -ECONNABORTED;

	a->waiting = false;
	if (permit)
		r = admin_submit(a, permit);
	if (r < 0) {
		a->busy = false;
		a->done(a, r);
	}
}

int
admin_send(struct admin *a)
{
	struct rtrs_permit *permit;
	int r;

	assert(!a->busy);
	a->since = a->c->now;
	permit = rtrs_clt_permit_get(a->c->rtrs, RTRS_PERMIT_ADMIN, 0);
	if (!permit) {
		a->waiter = (struct rtrs_permit_waiter){
			.got = admin_got_permit,
			.type = RTRS_PERMIT_ADMIN,
		};
		a->busy = a->waiting = true;
		rtrs_clt_permit_wait(a->c->rtrs, &a->waiter);
		return 0;
	}
	r = admin_submit(a, permit);
	a->busy = r == 0;
	return r;
}

void
admin_cancel(struct admin *a)
{
	if (!a->waiting)
		return;
	rtrs_clt_permit_cancel(a->c->rtrs, &a->waiter);
	a->waiting = a->busy = false;
}

/* The connection is of no use as it is; perhaps a new one is. */
static void
start_over(struct rnbd_clt *c)
{
	for (unsigned i = 0; i < rtrs_clt_n_paths(c->rtrs); i++)
		rtrs_clt_path_reset(c->rtrs, i);
}

static void
greet(struct rnbd_clt *c)
{
	struct rnbd_msg_sess_info m = {.ver = RNBD_PROTO_VER_MAJOR};
	int r;

	rnbd_msg_sess_info_encode(&m, false, c->greet.usr);
	c->greet.dir = RTRS_READ;
	c->greet.usr_len = RNBD_SESS_INFO_LEN;
	c->greet.data_len = RNBD_SESS_INFO_LEN;
	memset(c->greet.data, 0, sizeof(c->greet.data));
	r = admin_send(&c->greet);
	/* Or the path is already gone again: then link_down follows. */
	if (r < 0 && r != -ECONNABORTED) {
		log_err(c->log, "session: cannot greet: %s", strerror(-r));
		start_over(c);
	}
}

/* The answer to SESS_INFO: from here on devices can be opened. */
static void
greeted(struct admin *a, int err)
{
	struct rnbd_clt *c = a->c;
	struct rnbd_msg_sess_info rsp;

	if (c->state != CLT_GREETING)
		return;
	if (!err)
		err = rnbd_msg_sess_info_decode(a->data, a->data_len, true,
						&rsp);
	if (err == -ECONNABORTED) {
		/* Lost with its path, while another is up that had no memory
		 * to take it over; else link_down follows. */
		if (rtrs_clt_is_up(c->rtrs))
			greet(c);
		return;
	}
	if (err) {
		log_err(c->log, "session: SESS_INFO failed: %s",
			strerror(-err));
		start_over(c);
		return;
	}
	c->state = CLT_READY;
	devs_session_ready(c);
	ios_release(c);
}

static void
link_up(void *user)
{
	struct rnbd_clt *c = user;
	int r;

	if (c->state != CLT_DOWN)
		return;
	r = ios_resize(c);
	if (r < 0) {
		log_err(c->log, "session: out of memory for %u requests",
			rtrs_clt_queue_depth(c->rtrs));
		start_over(c);
		return;
	}
	c->state = CLT_GREETING;
	c->links++;
	greet(c);
}

static void
link_down(void *user)
{
	struct rnbd_clt *c = user;

	if (c->state != CLT_GREETING && c->state != CLT_READY &&
	    c->state != CLT_DOWN)
		return;
	c->state = CLT_DOWN;
	admin_cancel(&c->greet);
	devs_session_lost(c);
	if (!c->io_timeout_ms)
		ios_fail(c, NULL, -EIO);
}

static void
session_failed(void *user, int err)
{
	struct rnbd_clt *c = user;

	if (c->state >= CLT_FAILED)
		return;
	c->state = CLT_FAILED;
	c->failed_err = err;
	admin_cancel(&c->greet);
	devs_session_failed(c);
	ios_fail(c, NULL, -EIO);
}

/* ------------------------------------------------- those who wait for it */

int
rnbd_clt_wait_ready(struct rnbd_clt *c, rnbd_clt_ready_fn ready, void *user)
{
	struct ready *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->ready = ready;
	r->user = user;
	LL_APPEND(c->ready, r);
	return 0;
}

void
session_silent_text(const struct rnbd_clt *c, char *buf, size_t len)
{
	const char *why = rtrs_clt_why_down(c->rtrs);
	unsigned n = rtrs_clt_n_paths(c->rtrs);
	struct rtrs_clt_path_info info;
	char addr[RTRS_ADDR_TEXT_MAX], more[32] = "";

	/* What failed names its path; nothing did, so: who is silent? */
	if (why[0] || rtrs_clt_path_info(c->rtrs, 0, &info) < 0) {
		snprintf(buf, len, "no answer within %u ms%s%s",
			 c->open_timeout_ms, why[0] ? ": " : "", why);
		return;
	}
	(void)rtrs_addr_text(info.addr.fabric, &info.addr.dst, addr);
	if (n > 1)
		snprintf(more, sizeof(more), " and %u more paths", n - 1);
	snprintf(buf, len, "no answer within %u ms from %s%s",
		 c->open_timeout_ms, addr, more);
}

static void
ready_finish(struct rnbd_clt *c, int err, const char *text)
{
	struct ready *r = c->ready;

	LL_DELETE(c->ready, r);
	r->ready(r->user, err, text);
	free(r);
}

/* What is known for all of them; false: they wait. */
static bool
is_decided(const struct rnbd_clt *c)
{
	return c->state == CLT_READY || c->state >= CLT_FAILED;
}

static void
ready_progress(struct rnbd_clt *c)
{
	char text[512];
	struct ready *r;

	while (c->ready && is_decided(c)) {
		if (c->state == CLT_READY)
			ready_finish(c, 0, "");
		else if (c->state == CLT_FAILED)
			ready_finish(c, c->failed_err ? c->failed_err : -EIO,
				     rtrs_clt_why_down(c->rtrs));
		else
			ready_finish(c, -ESHUTDOWN, CLOSED_TEXT);
	}
	if (!c->open_timeout_ms)
		return;
	LL_FOREACH(c->ready, r)
		if (!r->deadline)
			r->deadline = time_after_ms(c->now, c->open_timeout_ms);
	while (c->ready && c->ready->deadline <= c->now) {
		session_silent_text(c, text, sizeof(text));
		ready_finish(c, -ETIMEDOUT, text);
	}
}

static uint64_t
ready_deadline(const struct rnbd_clt *c)
{
	if (!c->ready || (!c->open_timeout_ms && !is_decided(c)))
		return TIME_NEVER;
	return is_decided(c) ? 0 : c->ready->deadline;
}

/* ------------------------------------------------- life */

int
rnbd_clt_new(const struct rnbd_clt_params *p, struct rnbd_clt **ret)
{
	struct rtrs_clt_params rp = p->rtrs;
	struct rnbd_clt *c;
	int r;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->log = p->rtrs.log;
	c->io_timeout_ms = p->io_timeout_ms;
	c->open_timeout_ms = p->open_timeout_ms;
	c->trust_write_zeroes = p->trust_write_zeroes;
	c->counts = p->stats;
	c->now = p->rtrs.now;
	c->greet.c = c;
	c->greet.done = greeted;
	rp.link_up = link_up;
	rp.link_down = link_down;
	rp.failed = session_failed;
	rp.user = c;
	r = rtrs_clt_new(&rp, &c->rtrs);
	if (r < 0) {
		free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void
rnbd_clt_free(struct rnbd_clt *c)
{
	if (!c)
		return;
	c->state = CLT_FREEING;
	admin_cancel(&c->greet);
	for (struct device *d = c->devices; d; d = d->next)
		admin_cancel(&d->admin);
	if (c->waiting)
		rtrs_clt_permit_cancel(c->rtrs, &c->waiter);
	c->waiting = false;
	/* Requests under way complete from within; their I/O ends below. */
	rtrs_clt_free(c->rtrs);
	c->rtrs = NULL;
	ios_fail(c, NULL, -ESHUTDOWN);
	ios_deliver(c);
	while (c->ready)
		ready_finish(c, -ESHUTDOWN, CLOSED_TEXT);
	devs_free(c);
	free(c->pieces);
	free(c);
}

void
rnbd_clt_close(struct rnbd_clt *c)
{
	if (c->state >= CLT_CLOSING)
		return;
	c->state = CLT_CLOSING;
	admin_cancel(&c->greet);
	devs_session_failed(c);
	ios_fail(c, NULL, -ESHUTDOWN);
	rtrs_clt_close(c->rtrs);
}

bool
rnbd_clt_closed(const struct rnbd_clt *c)
{
	return c->state == CLT_CLOSED;
}

int
rnbd_clt_fds(const struct rnbd_clt *c, int *fds, int n)
{
	return rtrs_clt_fds(c->rtrs, fds, n);
}

bool
rnbd_clt_arm(struct rnbd_clt *c)
{
	return rtrs_clt_arm(c->rtrs) || c->finished;
}

uint64_t
rnbd_clt_deadline(const struct rnbd_clt *c)
{
	uint64_t t = rtrs_clt_deadline(c->rtrs);

	t = time_min(t, devs_deadline(c));
	t = time_min(t, ready_deadline(c));
	return time_min(t, ios_deadline(c));
}

void
rnbd_clt_progress(struct rnbd_clt *c, uint64_t now)
{
	c->now = now;
	rtrs_clt_progress(c->rtrs, now);
	ready_progress(c);
	devs_progress(c);
	ios_expire(c);
	ios_dispatch(c);
	rtrs_clt_flush(c->rtrs);
	if (c->state == CLT_CLOSING && rtrs_clt_closed(c->rtrs))
		c->state = CLT_CLOSED;
	ios_deliver(c);
}

void
rnbd_clt_flush(struct rnbd_clt *c)
{
	rtrs_clt_flush(c->rtrs);
}

struct rtrs_clt *
rnbd_clt_rtrs(struct rnbd_clt *c)
{
	return c->rtrs;
}

bool
rnbd_clt_is_up(const struct rnbd_clt *c)
{
	return c->state == CLT_READY;
}

bool
rnbd_clt_failed(const struct rnbd_clt *c)
{
	return c->state == CLT_FAILED;
}

void
rnbd_clt_stats(const struct rnbd_clt *c, struct rnbd_clt_stats *ret)
{
	*ret = c->stats;
}
