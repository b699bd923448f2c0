/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/rnbd/fake-rtrs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <utlist.h>

struct rtrs_clt *fake;
int fake_new_err;

static const struct fabric_ops fake_fabric = {.name = "fake"};

int
rtrs_clt_new(const struct rtrs_clt_params *p, struct rtrs_clt **ret)
{
	if (fake_new_err)
		return fake_new_err;
	fake = calloc(1, sizeof(*fake));
	fake->p = *p;
	fake->why_down = "fake:peer: connection refused";
	fake->now = p->now;
	*ret = fake;
	return 0;
}

void
rtrs_clt_close(struct rtrs_clt *c)
{
	struct rtrs_permit_waiter *w;

	c->closing = true;
	while ((w = c->waiters)) {
		DL_DELETE(c->waiters, w);
		w->got(w, NULL);
	}
}

bool
rtrs_clt_closed(const struct rtrs_clt *c)
{
	return c->closing && !c->lingers;
}

void
rtrs_clt_free(struct rtrs_clt *c)
{
	c->up = false;
	while (c->n_sent)
		fake_answer(0, -ECONNABORTED, NULL, 0);
	free(c);
}

int
rtrs_clt_fds(const struct rtrs_clt *c, int *fds, int n)
{
	(void)c, (void)fds, (void)n;
	return 0;
}

bool
rtrs_clt_arm(struct rtrs_clt *c)
{
	return c->busy;
}

uint64_t
rtrs_clt_deadline(const struct rtrs_clt *c)
{
	(void)c;
	return TIME_NEVER;
}

void
rtrs_clt_progress(struct rtrs_clt *c, uint64_t now)
{
	c->now = now;
	if (c->in_progress)
		c->in_progress();
}

void
rtrs_clt_flush(struct rtrs_clt *c)
{
	(void)c;
}

bool
rtrs_clt_is_up(const struct rtrs_clt *c)
{
	return c->up;
}

uint64_t
rtrs_clt_lost_at(const struct rtrs_clt *c)
{
	return c->lost_at;
}

unsigned
rtrs_clt_queue_depth(const struct rtrs_clt *c)
{
	return c->depth;
}

uint32_t
rtrs_clt_max_io_size(const struct rtrs_clt *c)
{
	return c->max_io_size;
}

const char *
rtrs_clt_why_down(const struct rtrs_clt *c)
{
	return c->why_down;
}

unsigned
rtrs_clt_n_paths(const struct rtrs_clt *c)
{
	(void)c;
	return 1;
}

int
rtrs_clt_path_info(const struct rtrs_clt *c, unsigned i,
		   struct rtrs_clt_path_info *ret)
{
	struct sockaddr_in *sin = (void *)&ret->addr.dst;

	(void)i;
	if (c->path_info_err)
		return c->path_info_err;
	memset(ret, 0, sizeof(*ret));
	ret->addr.fabric = &fake_fabric;
	sin->sin_family = AF_INET;
	sin->sin_port = htons(1234);
	sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return 0;
}

void
rtrs_clt_path_reset(struct rtrs_clt *c, unsigned i)
{
	(void)i;
	c->resets++;
}

struct rtrs_permit *
rtrs_clt_permit_get(struct rtrs_clt *c, enum rtrs_permit_type type,
		    unsigned con_hint)
{
	for (unsigned i = 0; i < c->depth; i++) {
		if (c->taken[i])
			continue;
		c->taken[i] = true;
		c->n_out++;
		c->permits[i] = (struct rtrs_permit){
			.id = (uint16_t)i,
			.con_hint = (uint16_t)con_hint,
			.type = (uint8_t)type,
		};
		return &c->permits[i];
	}
	return NULL;
}

void
rtrs_clt_permit_put(struct rtrs_clt *c, struct rtrs_permit *permit)
{
	struct rtrs_permit_waiter *w = c->waiters;

	c->taken[permit->id] = false;
	c->n_out--;
	if (!w || !c->up)
		return;
	DL_DELETE(c->waiters, w);
	w->got(w, rtrs_clt_permit_get(c, w->type, w->con_hint));
}

void
rtrs_clt_permit_wait(struct rtrs_clt *c, struct rtrs_permit_waiter *w)
{
	DL_APPEND(c->waiters, w);
}

void
rtrs_clt_permit_cancel(struct rtrs_clt *c, struct rtrs_permit_waiter *w)
{
	DL_DELETE(c->waiters, w);
}

int
rtrs_clt_submit(struct rtrs_clt *c, struct rtrs_clt_req *req)
{
	struct fake_sent *s = &c->sent[c->n_sent];

	if (c->submit_err)
		return c->submit_err;
	if (!c->up)
		return -ECONNABORTED;
	if (c->n_sent == FAKE_MAX)
		abort();
	s->req = req;
	s->dir = req->dir;
	s->admin = req->permit->type == RTRS_PERMIT_ADMIN;
	memcpy(s->usr, req->usr, req->usr_len);
	s->usr_len = req->usr_len;
	s->data_len = req->data_len;
	c->n_sent++;
	return 0;
}

void
fake_take_all_but(unsigned left)
{
	while (fake->n_out + left < fake->depth)
		if (!rtrs_clt_permit_get(fake, RTRS_PERMIT_IO, 0))
			abort();
}

/* Of those that no request has. */
void
fake_give_one(void)
{
	for (unsigned i = 0; i < fake->depth; i++) {
		bool sent = false;

		for (unsigned j = 0; j < fake->n_sent; j++)
			sent |= fake->sent[j].req->permit == &fake->permits[i];
		if (!fake->taken[i] || sent)
			continue;
		rtrs_clt_permit_put(fake, &fake->permits[i]);
		return;
	}
	abort();
}

void
fake_answer(unsigned i, int err, const void *data, size_t len)
{
	struct rtrs_clt_req *req = fake->sent[i].req;

	if (i >= fake->n_sent || len > req->data_len)
		abort();
	if (len)
		memcpy(req->data, data, len);
	fake->n_sent--;
	memmove(&fake->sent[i], &fake->sent[i + 1],
		(fake->n_sent - i) * sizeof(fake->sent[0]));
	req->done(req, err);
}

void
fake_link_up(unsigned depth, uint32_t max_io_size)
{
	fake->depth = depth;
	fake->max_io_size = max_io_size;
	fake->up = true;
	fake->p.link_up(fake->p.user);
}

void
fake_lose(void)
{
	fake->up = false;
	fake->lost_at = fake->now;
}

void
fake_link_down(void)
{
	if (fake->up)
		fake_lose();
	while (fake->n_sent)
		fake_answer(0, -ECONNABORTED, NULL, 0);
	fake->p.link_down(fake->p.user);
}
