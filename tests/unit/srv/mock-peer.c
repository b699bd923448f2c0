/* SPDX-License-Identifier: BSD-3-Clause */
/* What the test calls: the peer, and the passing of time. */
#include "tests/unit/srv/mock-priv.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static void
push_event(struct mock_ctx *ctx, const struct fabric_event *ev)
{
	ck_assert_uint_lt(ctx->ev_tail - ctx->ev_head, ARRAY_SIZE(ctx->ev));
	ctx->ev[ctx->ev_tail++ % ARRAY_SIZE(ctx->ev)] = *ev;
}

static void
to_addr(const char *text, struct sockaddr_storage *ret)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	static uint16_t port = 40000; /* every connection has its own */

	ck_assert_int_eq(inet_pton(AF_INET, text, &sin.sin_addr), 1);
	sin.sin_port = htons(port++);
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, &sin, sizeof(sin));
}

struct mock_conn *
mock_connect(struct mock *m, const void *priv, size_t len, const char *local,
	     const char *peer)
{
	struct mock_listener *l = LSN(m->listener);
	struct mock_conn *c = calloc(1, sizeof(*c));
	struct fabric_event ev = {
		.type = FABRIC_EV_CONNECT_REQUEST,
		.listener = m->listener,
		.user = l->user,
		.priv = l->ctx->ev_priv,
		.priv_len = len,
	};

	ck_assert_uint_lt(m->n_conns, MOCK_MAX_CON);
	m->conns[m->n_conns++] = c;
	c->m = m;
	c->ctx = l->ctx;
	/* What is not ours must not be used: the engine would crash. */
	c->user = (void *)(uintptr_t)0xdead;
	c->sent = calloc(MOCK_MAX_WR, sizeof(*c->sent));
	to_addr(local, &c->addrs.local);
	to_addr(peer, &c->addrs.peer);
	ck_assert_uint_le(len, sizeof(l->ctx->ev_priv));
	memcpy(l->ctx->ev_priv, priv, len);
	ev.conn = (struct fabric_conn *)(void *)c;
	push_event(l->ctx, &ev);
	return c;
}

void
mock_event(struct mock_conn *c, enum fabric_ev_type type, int err)
{
	const struct fabric_event ev = {
		.type = type,
		.conn = (struct fabric_conn *)(void *)c,
		.user = c->user,
		.err = err,
		.confirmed = true,
	};

	push_event(c->ctx, &ev);
}

void
mock_wc(struct mock_conn *c, const struct fabric_wc *wc)
{
	struct mock_ctx *ctx = c->ctx;
	struct fabric_wc *w = &ctx->wc[ctx->wc_tail++ % MAX_QUEUED];

	ck_assert_uint_le(ctx->wc_tail - ctx->wc_head, MAX_QUEUED);
	*w = *wc;
	w->conn = (struct fabric_conn *)(void *)c;
	w->user = c->user;
}

/* The oldest receive, or fails the test: the peer would stall. */
static struct fabric_recv_wr
use_recv(struct mock_conn *c)
{
	struct fabric_recv_wr wr = c->recvs[0];

	ck_assert_msg(c->n_recvs, "no receive posted");
	if (!--c->recvs[0].count)
		memmove(c->recvs, c->recvs + 1,
			--c->n_recvs * sizeof(c->recvs[0]));
	return wr;
}

void
mock_send(struct mock_conn *c, const void *data, size_t len)
{
	struct fabric_recv_wr wr = use_recv(c);
	const struct fabric_wc wc = {
		.wr_id = wr.wr_id,
		.op = FABRIC_WC_OP_RECV,
		.byte_len = (uint32_t)len,
	};

	ck_assert_uint_le(len, wr.len);
	if (len)
		memcpy(wr.addr, data, len);
	mock_wc(c, &wc);
}

static uint8_t *
find(struct mock *m, uint32_t rkey, uint64_t raddr, size_t len)
{
	for (unsigned i = 0; i < ARRAY_SIZE(m->mws); i++) {
		struct mock_mw *mw;

		if (!m->mws[i])
			continue;
		mw = container_of(m->mws[i], struct mock_mw, pub);
		if (mw->pub.bound && mw->pub.rkey == rkey &&
		    raddr >= mw->pub.raddr &&
		    raddr + len <= mw->pub.raddr + mw->len)
			return (uint8_t *)mw->mr->pub.addr +
			       (raddr - mw->mr->pub.raddr);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(m->mrs); i++) {
		struct mock_mr *mr;

		if (!m->mrs[i])
			continue;
		mr = container_of(m->mrs[i], struct mock_mr, pub);
		if (mr->access & FABRIC_ACCESS_REMOTE_WRITE &&
		    mr->pub.rkey == rkey && raddr >= mr->pub.raddr &&
		    raddr + len <= mr->pub.raddr + mr->pub.len)
			return (uint8_t *)mr->pub.addr +
			       (raddr - mr->pub.raddr);
	}
	return NULL;
}

bool
mock_key_valid(struct mock *m, uint32_t rkey, uint64_t raddr, size_t len)
{
	return find(m, rkey, raddr, len) != NULL;
}

bool
mock_write_imm(struct mock_conn *c, uint32_t rkey, uint64_t raddr,
	       const void *data, size_t len, uint32_t imm)
{
	struct fabric_wc wc = {
		.op = FABRIC_WC_OP_RECV_RDMA_IMM,
		.with_imm = true,
		.imm = imm,
		.byte_len = (uint32_t)len,
	};
	uint8_t *p = NULL;

	if (len) {
		p = find(c->m, rkey, raddr, len);
		if (!p)
			return false;
		memcpy(p, data, len);
	}
	wc.wr_id = use_recv(c).wr_id;
	mock_wc(c, &wc);
	return true;
}

void
mock_complete(struct mock_conn *c, unsigned n, enum fabric_wc_status status)
{
	static const enum fabric_wc_op ops[] = {
		[FABRIC_WR_SEND] = FABRIC_WC_OP_SEND,
		[FABRIC_WR_SEND_WITH_IMM] = FABRIC_WC_OP_SEND,
		[FABRIC_WR_SEND_WITH_INV] = FABRIC_WC_OP_SEND,
		[FABRIC_WR_RDMA_WRITE] = FABRIC_WC_OP_RDMA_WRITE,
		[FABRIC_WR_RDMA_WRITE_WITH_IMM] = FABRIC_WC_OP_RDMA_WRITE,
		[FABRIC_WR_MW_BIND] = FABRIC_WC_OP_MW_BIND,
		[FABRIC_WR_MW_INV] = FABRIC_WC_OP_MW_INV,
	};

	for (; n && c->done < c->n_sent; n--) {
		const struct mock_sent *s = &c->sent[c->done++];
		const struct fabric_wc wc = {
			.wr_id = s->wr.wr_id,
			.status = status,
			.op = ops[s->wr.op],
		};

		if (s->wr.signaled || status != FABRIC_WC_SUCCESS)
			mock_wc(c, &wc);
	}
}

void
mock_complete_all(struct mock_conn *c)
{
	mock_complete(c, c->n_sent - c->done, FABRIC_WC_SUCCESS);
}

unsigned
mock_unseen(const struct mock_conn *c)
{
	return c->n_sent - c->seen;
}

const struct mock_sent *
mock_next_sent(struct mock_conn *c)
{
	return c->seen < c->n_sent ? &c->sent[c->seen++] : NULL;
}

unsigned
mock_n_recvs(const struct mock_conn *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n_recvs; i++)
		n += c->recvs[i].count;
	return n;
}
