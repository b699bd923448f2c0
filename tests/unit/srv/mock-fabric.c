/* SPDX-License-Identifier: BSD-3-Clause */
/* What the engine calls. */
#include "tests/unit/srv/mock-priv.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int
take_err(int *err)
{
	int e = *err;

	*err = 0;
	return e;
}

/* --- contexts */

static int
m_ctx_new(const struct fabric_ctx_params *p, struct fabric_ctx **ret)
{
	struct mock *m = p->priv;
	struct mock_ctx *ctx;
	int err = take_err(&m->err_ctx_new);

	if (err)
		return err;
	ctx = calloc(1, sizeof(*ctx));
	ctx->wc = calloc(MAX_QUEUED, sizeof(*ctx->wc));
	ctx->m = m;
	ctx->next = m->ctxs;
	m->ctxs = ctx;
	m->n_ctxs++;
	*ret = (struct fabric_ctx *)(void *)ctx;
	return 0;
}

static void
m_ctx_free(struct fabric_ctx *f)
{
	struct mock_ctx *ctx = CTX(f), **p;

	if (!ctx)
		return;
	for (p = &ctx->m->ctxs; *p != ctx; p = &(*p)->next)
		;
	*p = ctx->next;
	ctx->m->n_ctxs--;
	free(ctx->wc);
	free(ctx);
}

static int
m_ctx_fd(struct fabric_ctx *ctx)
{
	return 7;
}

static bool
m_ctx_arm(struct fabric_ctx *f)
{
	struct mock_ctx *ctx = CTX(f);
	struct mock *m = ctx->m;

	for (unsigned i = 0; m->auto_complete && i < m->n_conns; i++) {
		struct mock_conn *c = m->conns[i];

		if (c->ctx == ctx && !c->freed && !c->disconnected &&
		    c->done < c->n_sent)
			return true;
	}
	return ctx->ev_head != ctx->ev_tail || ctx->wc_head != ctx->wc_tail;
}

static uint64_t
m_ctx_deadline(struct fabric_ctx *ctx)
{
	return TIME_NEVER;
}

static void
m_ctx_poll(struct fabric_ctx *f, uint64_t now)
{
	struct mock_ctx *ctx = CTX(f);
	struct mock *m = ctx->m;

	for (unsigned i = 0; i < m->n_conns; i++) {
		struct mock_conn *c = m->conns[i];

		if (c->ctx != ctx || c->freed || c->rejected)
			continue;
		if (m->auto_complete && !c->disconnected)
			mock_complete_all(c);
	}
}

static bool
m_next_event(struct fabric_ctx *f, struct fabric_event *ret)
{
	struct mock_ctx *ctx = CTX(f);

	while (ctx->ev_head != ctx->ev_tail) {
		*ret = ctx->ev[ctx->ev_head++ % ARRAY_SIZE(ctx->ev)];
		if (!CONN(ret->conn)->freed)
			return true;
	}
	return false;
}

static int
m_poll_cq(struct fabric_ctx *f, struct fabric_wc *wc, int n)
{
	struct mock_ctx *ctx = CTX(f);
	int got = 0;

	while (got < n && ctx->wc_head != ctx->wc_tail) {
		wc[got] = ctx->wc[ctx->wc_head++ % MAX_QUEUED];
		if (!CONN(wc[got].conn)->freed)
			got++;
	}
	return got;
}

static void
m_ctx_flush(struct fabric_ctx *f)
{
	CTX(f)->m->flushes++;
}

/* --- connections */

static int
m_listen(struct fabric_ctx *ctx, const struct sockaddr *addr, socklen_t len,
	 void *user, struct fabric_listener **ret)
{
	struct mock_listener *l = calloc(1, sizeof(*l));

	l->m = CTX(ctx)->m;
	l->ctx = CTX(ctx);
	l->user = user;
	memcpy(&l->addr, addr, len);
	l->m->n_listeners++;
	l->m->listener = (struct fabric_listener *)(void *)l;
	*ret = l->m->listener;
	return 0;
}

static void
m_listener_addr(struct fabric_listener *l, struct sockaddr_storage *ret)
{
	*ret = LSN(l)->addr;
}

static void
m_listener_free(struct fabric_listener *l)
{
	LSN(l)->m->n_listeners--;
	LSN(l)->m->listener = NULL;
	free(LSN(l));
}

static int
m_connect(struct fabric_ctx *ctx, const struct fabric_conn_params *p,
	  struct fabric_conn **ret)
{
	return -ENOTSUP;
}

static int
m_migrate(struct fabric_conn *conn, struct fabric_ctx *to)
{
	int err = take_err(&CONN(conn)->m->err_migrate);

	if (!err)
		CONN(conn)->ctx = CTX(to);
	return err;
}

static int
m_accept(struct fabric_conn *conn, const struct fabric_conn_params *p)
{
	struct mock_conn *c = CONN(conn);
	int err = c->m->err_accept;

	ck_assert(!c->accepted && !c->rejected);
	if (!c->m->n_err_accept || !--c->m->n_err_accept)
		c->m->err_accept = 0;
	if (err)
		return err;
	c->accepted = true;
	c->user = p->user;
	memcpy(c->priv, p->priv, p->priv_len);
	c->priv_len = p->priv_len;
	c->max_send_wr = p->max_send_wr;
	c->max_recv_wr = p->max_recv_wr;
	c->pd = p->pd;
	if (c->pd) {
		PD(c->pd)->refs++;
	} else {
		struct mock_pd *pd = calloc(1, sizeof(*pd));

		pd->m = c->m;
		pd->refs = 1;
		c->m->n_pds++;
		c->pd = (struct fabric_pd *)(void *)pd;
	}
	return 0;
}

static void
m_reject(struct fabric_conn *conn, const void *priv, size_t len)
{
	struct mock_conn *c = CONN(conn);

	ck_assert(!c->accepted && !c->rejected);
	c->rejected = true;
	c->freed = true;
	memcpy(c->priv, priv, len);
	c->priv_len = len;
}

static void
m_disconnect(struct fabric_conn *conn)
{
	struct mock_conn *c = CONN(conn);

	ck_assert(!c->freed);
	if (c->disconnected)
		return;
	c->disconnected = true;
	if (c->m->auto_close) {
		mock_complete(c, c->n_sent - c->done, FABRIC_WC_FLUSHED);
		mock_event(c, FABRIC_EV_CLOSED, 0);
	}
}

static void m_pd_unref(struct fabric_pd *pd);

static void
m_conn_free(struct fabric_conn *conn)
{
	struct mock_conn *c = CONN(conn);

	ck_assert(!c->freed);
	c->freed = true;
	if (c->pd)
		m_pd_unref(c->pd);
	c->pd = NULL;
}

static int
m_conn_addrs(struct fabric_conn *conn, struct fabric_addrs *ret)
{
	int err = take_err(&CONN(conn)->m->err_conn_addrs);

	if (!err)
		*ret = CONN(conn)->addrs;
	return err;
}

static unsigned
m_conn_caps(struct fabric_conn *conn)
{
	return CONN(conn)->m->ops.caps;
}

static void
m_conn_limits(struct fabric_conn *conn, struct fabric_limits *ret)
{
	const struct mock *m = CONN(conn)->m;

	*ret = (struct fabric_limits){.send_wr = CONN(conn)->max_send_wr,
				      .recv_wr = CONN(conn)->max_recv_wr,
				      .device = ""};
	if (m->limit_wr && ret->send_wr > m->limit_wr)
		ret->send_wr = m->limit_wr;
	if (m->limit_wr && ret->recv_wr > m->limit_wr)
		ret->recv_wr = m->limit_wr;
	if (m->limit_recv_wr && ret->recv_wr > m->limit_recv_wr)
		ret->recv_wr = m->limit_recv_wr;
	if (m->limit_wr)
		ret->device = "mock0";
}

static int
m_pd_numa_node(struct fabric_pd *pd)
{
	(void)pd;
	return -1;
}

static const char *
m_pd_why(struct fabric_pd *pd)
{
	return PD(pd)->m->pd_why;
}

static struct fabric_pd *
m_conn_pd(struct fabric_conn *conn)
{
	return CONN(conn)->pd;
}

static void
m_pd_ref(struct fabric_pd *pd)
{
	PD(pd)->refs++;
}

static void
m_pd_unref(struct fabric_pd *pd)
{
	ck_assert_uint_gt(PD(pd)->refs, 0);
	if (--PD(pd)->refs)
		return;
	PD(pd)->m->n_pds--;
	free(PD(pd));
}

/* --- memory */

static int
m_mr_reg(struct fabric_pd *pd, void *addr, size_t len, unsigned access,
	 struct fabric_mr **ret)
{
	struct mock *m = PD(pd)->m;
	struct mock_mr *mr;
	unsigned slot = 0;

	if (m->err_mr_reg && !m->mr_reg_skip--)
		return take_err(&m->err_mr_reg);
	mr = calloc(1, sizeof(*mr));
	mr->pub.pd = pd;
	mr->pub.addr = addr;
	mr->pub.len = len;
	mr->access = access;
	while (m->mrs[slot])
		slot++;
	mr->slot = slot;
	m->mrs[slot] = &mr->pub;
	m->n_mrs++;
	PD(pd)->refs++;
	/* Every path sees the same addresses; keys tell them apart. */
	if (access) {
		mr->pub.raddr = MOCK_RADDR;
		mr->pub.rkey = MOCK_KEY(0) + 0x1000000 * m->n_remote_mrs++;
	}
	*ret = &mr->pub;
	return 0;
}

static int
m_mr_dereg(struct fabric_mr *pub)
{
	struct mock_mr *mr = container_of(pub, struct mock_mr, pub);
	struct mock *m = PD(pub->pd)->m;
	int err = pub->rkey ? take_err(&m->err_mr_dereg) : 0;

	ck_assert_uint_eq(mr->bound, 0);
	m->mrs[mr->slot] = NULL;
	m->n_mrs--;
	m_pd_unref(pub->pd);
	free(mr);
	return err;
}

static int
m_mw_new(struct fabric_pd *pd, enum fabric_mw_kind kind, struct fabric_mw **ret)
{
	struct mock *m = PD(pd)->m;
	struct mock_mw *mw;
	unsigned slot = 0;

	if (m->err_mw_new)
		return take_err(&m->err_mw_new);
	mw = calloc(1, sizeof(*mw));
	mw->pub.pd = pd;
	mw->pub.kind = kind;
	mw->base = MOCK_KEY(m->n_mws_made++);
	while (m->mws[slot])
		slot++;
	mw->slot = slot;
	m->mws[slot] = &mw->pub;
	m->n_mws++;
	PD(pd)->refs++;
	*ret = &mw->pub;
	return 0;
}

static void
mw_unbind(struct mock_mw *mw)
{
	if (mw->pub.bound)
		mw->mr->bound--;
	mw->pub.bound = false;
}

static void
m_mw_free(struct fabric_mw *pub)
{
	struct mock_mw *mw = container_of(pub, struct mock_mw, pub);
	struct mock *m = PD(pub->pd)->m;

	mw_unbind(mw);
	m->mws[mw->slot] = NULL;
	m->n_mws--;
	m_pd_unref(pub->pd);
	free(mw);
}

static void
mw_bind(const struct fabric_send_wr *wr)
{
	struct mock_mw *mw = container_of(wr->mw, struct mock_mw, pub);
	struct mock_mr *mr = container_of(wr->bind_mr, struct mock_mr, pub);

	ck_assert(mr->access & FABRIC_ACCESS_MW_BIND);
	ck_assert_uint_le(wr->bind_off + wr->bind_len, mr->pub.len);
	mw_unbind(mw);
	mw->mr = mr;
	mr->bound++;
	mw->len = wr->bind_len;
	mw->pub.bound = true;
	mw->pub.raddr = mr->pub.raddr + wr->bind_off;
	mw->pub.rkey = mw->base + mw->binds++;
}

/* --- work requests */

static int
m_post_recv(struct fabric_conn *conn, const struct fabric_recv_wr *wr)
{
	struct mock_conn *c = CONN(conn);
	unsigned n = wr->count ? wr->count : 1;
	struct fabric_recv_wr *last =
		c->n_recvs ? &c->recvs[c->n_recvs - 1] : NULL;
	int err = take_err(&c->m->err_post_recv);

	ck_assert(c->accepted && !c->freed);
	if (err)
		return err;
	if (mock_n_recvs(c) + n > c->max_recv_wr)
		return -ENOMEM;
	if (last && !last->addr && !wr->addr && last->wr_id == wr->wr_id) {
		last->count += n;
		return 0;
	}
	ck_assert_uint_lt(c->n_recvs, ARRAY_SIZE(c->recvs));
	c->recvs[c->n_recvs] = *wr;
	c->recvs[c->n_recvs++].count = n;
	return 0;
}

static void
copy_out(struct mock_sent *s)
{
	for (unsigned i = 0; i < s->wr.num_sge; i++) {
		const struct fabric_sge *sge = &s->wr.sge[i];
		size_t room =
			s->len < sizeof(s->data) ? sizeof(s->data) - s->len : 0;

		ck_assert_uint_gt(sge->len, 0);
		ck_assert_ptr_nonnull(sge->mr);
		ck_assert((uint8_t *)sge->addr >= (uint8_t *)sge->mr->addr);
		ck_assert((uint8_t *)sge->addr + sge->len <=
			  (uint8_t *)sge->mr->addr + sge->mr->len);
		memcpy(s->data + (room ? s->len : 0), sge->addr,
		       sge->len < room ? sge->len : room);
		s->len += sge->len;
	}
}

static int
m_post_send(struct fabric_conn *conn, const struct fabric_send_wr *wr)
{
	struct mock_conn *c = CONN(conn);
	const struct fabric_send_wr *w;
	int err = take_err(&c->m->err_post_send);
	unsigned n = 0;

	ck_assert(c->accepted && !c->freed);
	if (err)
		return err;
	for (w = wr; w; w = w->next)
		n++;
	/* An engine that counts never finds the queue full. */
	ck_assert_uint_le(c->n_sent - c->done + n, c->max_send_wr);
	for (w = wr; w; w = w->next) {
		struct mock_sent *s = &c->sent[c->n_sent++];

		ck_assert_uint_lt(c->n_sent, MOCK_MAX_WR);
		memset(s, 0, sizeof(*s));
		s->wr = *w;
		s->wr.next = NULL;
		copy_out(s);
		if (w->op == FABRIC_WR_MW_BIND)
			mw_bind(w);
		if (w->op == FABRIC_WR_MW_INV)
			mw_unbind(container_of(w->mw, struct mock_mw, pub));
	}
	return 0;
}

static const struct fabric_ops mock_ops = {
	.name = "mock",
	.ctx_new = m_ctx_new,
	.ctx_free = m_ctx_free,
	.ctx_fd = m_ctx_fd,
	.ctx_arm = m_ctx_arm,
	.ctx_deadline = m_ctx_deadline,
	.ctx_poll = m_ctx_poll,
	.next_event = m_next_event,
	.poll_cq = m_poll_cq,
	.ctx_flush = m_ctx_flush,
	.listen = m_listen,
	.listener_addr = m_listener_addr,
	.listener_free = m_listener_free,
	.connect = m_connect,
	.migrate = m_migrate,
	.accept = m_accept,
	.reject = m_reject,
	.disconnect = m_disconnect,
	.conn_free = m_conn_free,
	.conn_addrs = m_conn_addrs,
	.conn_caps = m_conn_caps,
	.conn_limits = m_conn_limits,
	.conn_pd = m_conn_pd,
	.pd_ref = m_pd_ref,
	.pd_unref = m_pd_unref,
	.pd_numa_node = m_pd_numa_node,
	.pd_why = m_pd_why,
	.mr_reg = m_mr_reg,
	.mr_dereg = m_mr_dereg,
	.mw_new = m_mw_new,
	.mw_free = m_mw_free,
	.post_recv = m_post_recv,
	.post_send = m_post_send,
};

void
mock_init(struct mock *m, unsigned caps)
{
	memset(m, 0, sizeof(*m));
	m->ops = mock_ops;
	m->ops.caps = caps;
	m->auto_complete = true;
	m->auto_close = true;
}

void
mock_fini(struct mock *m)
{
	for (unsigned i = 0; i < m->n_conns; i++) {
		ck_assert_msg(m->conns[i]->freed, "connection %u left", i);
		free(m->conns[i]->sent);
		free(m->conns[i]);
	}
	ck_assert_uint_eq(m->n_mws, 0);
	ck_assert_uint_eq(m->n_mrs, 0);
	ck_assert_uint_eq(m->n_pds, 0);
	ck_assert_uint_eq(m->n_listeners, 0);
	ck_assert_uint_eq(m->n_ctxs, 0);
}
