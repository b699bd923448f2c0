/* SPDX-License-Identifier: BSD-3-Clause */
#include "mock-fabric.h"

#include <check.h>
#include <errno.h>
#include <string.h>

struct fabric_ctx {
	struct mock *m;
};

static void
push_ev(struct mock *m, const struct fabric_event *ev)
{
	if (m->n_evs == m->cap_evs) {
		m->cap_evs = m->cap_evs ? 2 * m->cap_evs : 16;
		m->evs = realloc(m->evs, m->cap_evs * sizeof(*m->evs));
		ck_assert_ptr_nonnull(m->evs);
	}
	m->evs[m->n_evs++] = *ev;
}

static void
push_wc(struct mock *m, const struct fabric_wc *wc)
{
	if (m->n_wcs == m->cap_wcs) {
		m->cap_wcs = m->cap_wcs ? 2 * m->cap_wcs : 64;
		m->wcs = realloc(m->wcs, m->cap_wcs * sizeof(*m->wcs));
		ck_assert_ptr_nonnull(m->wcs);
	}
	m->wcs[m->n_wcs++] = *wc;
}

static int
mock_ctx_new(const struct fabric_ctx_params *p, struct fabric_ctx **ret)
{
	struct fabric_ctx *ctx = calloc(1, sizeof(*ctx));

	ck_assert_ptr_nonnull(ctx);
	ctx->m = p->priv;
	ctx->m->live_ctxs++;
	*ret = ctx;
	return 0;
}

static void
mock_ctx_free(struct fabric_ctx *ctx)
{
	if (!ctx)
		return;
	ck_assert_uint_eq(ctx->m->live_conns, 0);
	ck_assert_uint_eq(ctx->m->live_pds, 0);
	ctx->m->live_ctxs--;
	free(ctx);
}

static int
mock_ctx_fd(struct fabric_ctx *ctx)
{
	return -1;
}

static bool
mock_ctx_arm(struct fabric_ctx *ctx)
{
	return ctx->m->ev_at < ctx->m->n_evs || ctx->m->wc_at < ctx->m->n_wcs;
}

static uint64_t
mock_ctx_deadline(struct fabric_ctx *ctx)
{
	return TIME_NEVER;
}

static void
mock_ctx_poll(struct fabric_ctx *ctx, uint64_t now)
{
	struct mock *m = ctx->m;

	for (unsigned i = 0; m->auto_complete && i < m->n_sends; i++)
		if (m->sends[i].wr.signaled && !m->sends[i].completed &&
		    m->sends[i].conn->state == MOCK_UP)
			mock_complete(&m->sends[i]);
}

static bool
mock_next_event(struct fabric_ctx *ctx, struct fabric_event *ret)
{
	struct mock *m = ctx->m;

	while (m->ev_at < m->n_evs) {
		*ret = m->evs[m->ev_at++];
		if (ret->conn->state == MOCK_FREED)
			continue;
		if (ret->priv) {
			memcpy(m->ev_priv, ret->priv, ret->priv_len);
			free((void *)(uintptr_t)ret->priv);
			ret->priv = m->ev_priv;
		}
		return true;
	}
	return false;
}

static int
mock_poll_cq(struct fabric_ctx *ctx, struct fabric_wc *wc, int n)
{
	struct mock *m = ctx->m;
	int got = 0;

	while (got < n && m->wc_at < m->n_wcs) {
		wc[got] = m->wcs[m->wc_at++];
		if (wc[got].conn->state != MOCK_FREED)
			got++;
	}
	return got;
}

static void
mock_ctx_flush(struct fabric_ctx *ctx)
{
	ctx->m->n_flushes++;
}

static int
mock_connect(struct fabric_ctx *ctx, const struct fabric_conn_params *p,
	     struct fabric_conn **ret)
{
	struct mock *m = ctx->m;
	struct fabric_conn *c;

	if (m->connect_err)
		return m->connect_err;
	ck_assert_uint_le(p->priv_len, 56);
	ck_assert_uint_lt(m->n_conns, MOCK_MAX_CONNS);
	c = calloc(1, sizeof(*c));
	ck_assert_ptr_nonnull(c);
	c->m = m;
	c->user = p->user;
	memcpy(c->priv, p->priv, p->priv_len);
	c->priv_len = p->priv_len;
	memcpy(&c->dst, p->dst, p->dst_len);
	c->max_send_wr = p->max_send_wr;
	c->max_recv_wr = p->max_recv_wr;
	ck_assert_uint_le(c->max_recv_wr, MOCK_MAX_RECVS);
	c->pd = p->pd;
	if (!c->pd) {
		c->pd = calloc(1, sizeof(*c->pd));
		ck_assert_ptr_nonnull(c->pd);
		c->pd->m = m;
		m->live_pds++;
	}
	c->pd->refs++;
	m->conns[m->n_conns++] = c;
	m->live_conns++;
	*ret = c;
	return 0;
}

static void
mock_pd_ref(struct fabric_pd *pd)
{
	pd->refs++;
}

static void
mock_pd_unref(struct fabric_pd *pd)
{
	ck_assert_uint_gt(pd->refs, 0);
	if (--pd->refs)
		return;
	pd->m->live_pds--;
	free(pd);
}

static void
push_flushed(struct fabric_conn *c)
{
	struct fabric_wc wc = {
		.conn = c, .user = c->user, .status = FABRIC_WC_FLUSHED};

	for (unsigned i = 0; i < c->n_recvs; i++) {
		wc.wr_id = c->recvs[i].wr_id;
		push_wc(c->m, &wc);
	}
	c->n_recvs = 0;
	for (unsigned i = 0; i < c->m->n_sends; i++) {
		struct mock_send *s = &c->m->sends[i];

		if (s->conn != c || s->completed)
			continue;
		s->completed = true;
		wc.wr_id = s->wr.wr_id;
		push_wc(c->m, &wc);
	}
}

static void
mock_disconnect(struct fabric_conn *c)
{
	ck_assert_int_ne(c->state, MOCK_FREED);
	ck_assert(!c->refused);
	if (c->state == MOCK_DISCONNECTING || c->state == MOCK_CLOSED)
		return;
	c->m->n_disconnects++;
	c->state = MOCK_DISCONNECTING;
	push_flushed(c);
	if (c->m->auto_close)
		mock_closed(c, c->m->confirmed);
}

static void
mock_conn_free(struct fabric_conn *c)
{
	ck_assert_int_ne(c->state, MOCK_FREED);
	c->state = MOCK_FREED; /* kept for the record */
	c->m->live_conns--;
	mock_pd_unref(c->pd);
	c->pd = NULL;
}

static int
mock_conn_addrs(struct fabric_conn *c, struct fabric_addrs *ret)
{
	ck_assert_int_eq(c->state, MOCK_UP);
	memset(ret, 0, sizeof(*ret));
	ret->peer = c->dst;
	return 0;
}

static unsigned
mock_conn_caps(struct fabric_conn *conn)
{
	return conn->m->ops.caps;
}

static void
mock_conn_limits(struct fabric_conn *conn, struct fabric_limits *ret)
{
	const struct mock *m = conn->m;

	*ret = (struct fabric_limits){.send_wr = conn->max_send_wr,
				      .recv_wr = conn->max_recv_wr,
				      .device = ""};
	if (m->limit_wr && ret->send_wr > m->limit_wr)
		ret->send_wr = m->limit_wr;
	if (m->limit_wr && ret->recv_wr > m->limit_wr)
		ret->recv_wr = m->limit_wr;
	if (m->limit_wr)
		ret->device = "mock0";
}

static int
mock_pd_numa_node(struct fabric_pd *pd)
{
	(void)pd;
	return -1;
}

static const char *
mock_pd_why(struct fabric_pd *pd)
{
	return pd->m->pd_why;
}

static struct fabric_pd *
mock_conn_pd(struct fabric_conn *c)
{
	ck_assert_int_eq(c->state, MOCK_UP);
	return c->pd;
}

static struct mock_key *
new_key(struct mock *m)
{
	for (unsigned i = 0; i < m->n_keys; i++)
		if (!m->keys[i].mr && !m->keys[i].mw)
			return &m->keys[i];
	ck_assert_uint_lt(m->n_keys, MOCK_MAX_KEYS);
	return &m->keys[m->n_keys++];
}

static int
mock_mr_reg(struct fabric_pd *pd, void *addr, size_t len, unsigned access,
	    struct fabric_mr **ret)
{
	struct mock *m = pd->m;
	struct mock_key *k = new_key(m);
	struct fabric_mr *mr;

	if (m->mr_reg_err)
		return m->mr_reg_err;
	mr = calloc(1, sizeof(*mr));
	ck_assert_ptr_nonnull(mr);
	*mr = (struct fabric_mr){.pd = pd,
				 .addr = addr,
				 .len = len,
				 .raddr = (uintptr_t)addr,
				 .rkey = 0x10000 + m->rkeys++};
	if (access && m->next_rkey) {
		mr->raddr = m->next_raddr;
		mr->rkey = m->next_rkey;
		m->next_rkey = 0;
	}
	*k = (struct mock_key){.mr = mr,
			       .addr = addr,
			       .raddr = mr->raddr,
			       .len = len,
			       .rkey = mr->rkey,
			       .access = access,
			       .valid = true};
	pd->refs++;
	m->live_mrs++;
	*ret = mr;
	return 0;
}

static int
mock_mr_dereg(struct fabric_mr *mr)
{
	struct mock *m = mr->pd->m;

	for (unsigned i = 0; i < m->n_keys; i++)
		if (m->keys[i].mr == mr && m->keys[i].access && m->mr_dereg_err)
			return m->mr_dereg_err;
	for (unsigned i = 0; i < m->n_keys; i++)
		if (m->keys[i].mr == mr)
			m->keys[i] = (struct mock_key){0};
	m->live_mrs--;
	mock_pd_unref(mr->pd);
	free(mr);
	return 0;
}

static int
mock_mw_new(struct fabric_pd *pd, enum fabric_mw_kind kind,
	    struct fabric_mw **ret)
{
	struct fabric_mw *mw = calloc(1, sizeof(*mw));
	struct mock_key *k = new_key(pd->m);

	ck_assert_ptr_nonnull(mw);
	mw->pd = pd;
	mw->kind = kind;
	pd->refs++;
	*k = (struct mock_key){.mw = mw};
	pd->m->live_mws++;
	*ret = mw;
	return 0;
}

static struct mock_key *
key_of_mw(const struct fabric_mw *mw)
{
	struct mock *m = mw->pd->m;

	for (unsigned i = 0; i < m->n_keys; i++)
		if (m->keys[i].mw == mw)
			return &m->keys[i];
	ck_abort_msg("no such window");
	return NULL;
}

static void
mock_mw_free(struct fabric_mw *mw)
{
	*key_of_mw(mw) = (struct mock_key){0};
	mw->pd->m->live_mws--;
	mock_pd_unref(mw->pd);
	free(mw);
}

static int
mock_post_recv(struct fabric_conn *c, const struct fabric_recv_wr *wr)
{
	unsigned n = wr->count ? wr->count : 1;

	if (c->m->post_recv_err)
		return c->m->post_recv_err;
	if (c->state != MOCK_UP)
		return -ENOTCONN;
	if (c->n_recvs + n > c->max_recv_wr)
		return -ENOMEM;
	c->n_recvs_total += n;
	while (n--)
		c->recvs[c->n_recvs++] =
			(struct mock_recv){wr->wr_id, wr->addr, wr->len};
	return 0;
}

static void
bind_mw(const struct fabric_send_wr *wr)
{
	struct mock_key *k = key_of_mw(wr->mw);

	ck_assert_uint_le(wr->bind_off + wr->bind_len, wr->bind_mr->len);
	ck_assert(!wr->mw->bound);
	k->addr = (uint8_t *)wr->bind_mr->addr + wr->bind_off;
	k->raddr = wr->mw->raddr = wr->bind_mr->raddr + wr->bind_off;
	k->len = wr->bind_len;
	k->rkey = wr->mw->rkey = 0x800000 + wr->mw->pd->m->rkeys++;
	k->access = wr->bind_access;
	k->valid = wr->mw->bound = true;
}

static int
mock_post_send(struct fabric_conn *c, const struct fabric_send_wr *wr)
{
	struct mock *m = c->m;

	if (m->post_send_err)
		return m->post_send_err;
	if (c->state != MOCK_UP)
		return -ENOTCONN;
	for (; wr; wr = wr->next) {
		struct mock_send *s = &m->sends[m->n_sends++];

		ck_assert_uint_le(m->n_sends, MOCK_MAX_SENDS);
		ck_assert_uint_lt(c->sends_out, c->max_send_wr);
		c->sends_out++;
		*s = (struct mock_send){.conn = c, .wr = *wr};
		for (unsigned i = 0; i < wr->num_sge; i++)
			s->len += wr->sge[i].len;
		s->bytes = malloc(s->len + 1);
		ck_assert_ptr_nonnull(s->bytes);
		s->len = 0;
		for (unsigned i = 0; i < wr->num_sge; i++) {
			ck_assert_uint_gt(wr->sge[i].len, 0);
			if (!(m->ops.caps & FABRIC_CAP_CHEAP_MR))
				ck_assert_ptr_nonnull(wr->sge[i].mr);
			memcpy(s->bytes + s->len, wr->sge[i].addr,
			       wr->sge[i].len);
			s->len += wr->sge[i].len;
		}
		if (wr->op == FABRIC_WR_MW_BIND)
			bind_mw(wr);
		if (wr->op == FABRIC_WR_MW_INV)
			key_of_mw(wr->mw)->valid = wr->mw->bound = false;
	}
	return 0;
}

static const struct fabric_ops mock_ops = {
	.name = "mock",
	.ctx_new = mock_ctx_new,
	.ctx_free = mock_ctx_free,
	.ctx_fd = mock_ctx_fd,
	.ctx_arm = mock_ctx_arm,
	.ctx_deadline = mock_ctx_deadline,
	.ctx_poll = mock_ctx_poll,
	.next_event = mock_next_event,
	.poll_cq = mock_poll_cq,
	.ctx_flush = mock_ctx_flush,
	.connect = mock_connect,
	.disconnect = mock_disconnect,
	.conn_free = mock_conn_free,
	.conn_addrs = mock_conn_addrs,
	.conn_caps = mock_conn_caps,
	.conn_limits = mock_conn_limits,
	.conn_pd = mock_conn_pd,
	.pd_ref = mock_pd_ref,
	.pd_unref = mock_pd_unref,
	.pd_numa_node = mock_pd_numa_node,
	.pd_why = mock_pd_why,
	.mr_reg = mock_mr_reg,
	.mr_dereg = mock_mr_dereg,
	.mw_new = mock_mw_new,
	.mw_free = mock_mw_free,
	.post_recv = mock_post_recv,
	.post_send = mock_post_send,
};

void
mock_init(struct mock *m, unsigned caps)
{
	*m = (struct mock){.ops = mock_ops,
			   .auto_complete = true,
			   .auto_close = true,
			   .confirmed = true};
	m->ops.caps = caps;
}

void
mock_deinit(struct mock *m)
{
	ck_assert_uint_eq(m->live_ctxs, 0);
	ck_assert_uint_eq(m->live_conns, 0);
	ck_assert_uint_eq(m->live_pds, 0);
	ck_assert_uint_eq(m->live_mrs, 0);
	ck_assert_uint_eq(m->live_mws, 0);
	for (unsigned i = 0; i < m->n_sends; i++)
		free(m->sends[i].bytes);
	while (m->ev_at < m->n_evs)
		free((void *)(uintptr_t)m->evs[m->ev_at++].priv);
	for (unsigned i = 0; i < m->n_conns; i++)
		free(m->conns[i]);
	free(m->evs);
	free(m->wcs);
}

struct fabric_conn *
mock_last_conn(struct mock *m)
{
	ck_assert_uint_gt(m->n_conns, 0);
	ck_assert_int_eq(m->conns[m->n_conns - 1]->state, MOCK_CONNECTING);
	return m->conns[m->n_conns - 1];
}

static void
conn_event(struct fabric_conn *c, struct fabric_event ev, const void *priv,
	   size_t len)
{
	ev.conn = c;
	ev.user = c->user;
	if (priv) {
		void *copy = malloc(len + 1);

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, priv, len);
		ev.priv = copy;
		ev.priv_len = len;
	}
	push_ev(c->m, &ev);
}

void
mock_established(struct fabric_conn *c, const void *priv, size_t len)
{
	ck_assert_int_eq(c->state, MOCK_CONNECTING);
	c->state = MOCK_UP;
	conn_event(c, (struct fabric_event){.type = FABRIC_EV_ESTABLISHED},
		   priv, len);
}

void
mock_rejected(struct fabric_conn *c, const void *priv, size_t len)
{
	ck_assert_int_eq(c->state, MOCK_CONNECTING);
	c->refused = true;
	conn_event(c,
		   (struct fabric_event){.type = FABRIC_EV_REJECTED,
					 .err = -ECONNREFUSED},
		   priv, len);
}

void
mock_connect_error(struct fabric_conn *c, int err)
{
	ck_assert_int_eq(c->state, MOCK_CONNECTING);
	c->refused = true;
	conn_event(c,
		   (struct fabric_event){.type = FABRIC_EV_CONNECT_ERROR,
					 .err = err},
		   NULL, 0);
}

void
mock_disconnected(struct fabric_conn *c, int err)
{
	ck_assert_int_eq(c->state, MOCK_UP);
	c->state = MOCK_DEAD;
	conn_event(c,
		   (struct fabric_event){.type = FABRIC_EV_DISCONNECTED,
					 .err = err},
		   NULL, 0);
}

void
mock_closed(struct fabric_conn *c, bool confirmed)
{
	ck_assert_int_eq(c->state, MOCK_DISCONNECTING);
	c->state = MOCK_CLOSED;
	conn_event(c,
		   (struct fabric_event){.type = FABRIC_EV_CLOSED,
					 .confirmed = confirmed},
		   NULL, 0);
}

/* Uses the oldest receive up. */
static struct fabric_wc
take_recv(struct fabric_conn *c, const void *buf, uint32_t len)
{
	struct fabric_wc wc = {.conn = c,
			       .user = c->user,
			       .op = FABRIC_WC_OP_RECV,
			       .byte_len = len};

	ck_assert_int_eq(c->state, MOCK_UP);
	ck_assert_uint_gt(c->n_recvs, 0);
	ck_assert_uint_le(len, c->recvs[0].len);
	if (len)
		memcpy(c->recvs[0].addr, buf, len);
	wc.wr_id = c->recvs[0].wr_id;
	memmove(c->recvs, c->recvs + 1, --c->n_recvs * sizeof(c->recvs[0]));
	return wc;
}

void
mock_peer_send(struct fabric_conn *c, const void *buf, uint32_t len)
{
	struct fabric_wc wc = take_recv(c, buf, len);

	push_wc(c->m, &wc);
}

void
mock_peer_send_imm(struct fabric_conn *c, const void *buf, uint32_t len,
		   uint32_t imm)
{
	struct fabric_wc wc = take_recv(c, buf, len);

	wc.with_imm = true;
	wc.imm = imm;
	push_wc(c->m, &wc);
}

void
mock_peer_send_inv(struct fabric_conn *c, uint32_t rkey)
{
	struct fabric_wc wc = take_recv(c, NULL, 0);
	struct mock *m = c->m;
	bool found = false;

	for (unsigned i = 0; i < m->n_keys; i++) {
		struct mock_key *k = &m->keys[i];

		if (!k->valid || k->rkey != rkey)
			continue;
		ck_assert(k->access & FABRIC_ACCESS_REMOTE_INV);
		k->valid = false;
		if (k->mw)
			k->mw->bound = false;
		found = true;
	}
	ck_assert(found);
	wc.with_inv = true;
	wc.inv_rkey = rkey;
	push_wc(m, &wc);
}

void
mock_peer_write_imm(struct fabric_conn *c, uint32_t imm)
{
	struct fabric_wc wc = take_recv(c, NULL, 0);

	wc.op = FABRIC_WC_OP_RECV_RDMA_IMM;
	wc.with_imm = true;
	wc.imm = imm;
	push_wc(c->m, &wc);
}

bool
mock_peer_write(struct fabric_conn *c, uint64_t raddr, uint32_t rkey,
		const void *buf, uint32_t len)
{
	for (unsigned i = 0; i < c->m->n_keys; i++) {
		struct mock_key *k = &c->m->keys[i];

		if (!k->valid || k->rkey != rkey ||
		    !(k->access & FABRIC_ACCESS_REMOTE_WRITE) ||
		    raddr < k->raddr || raddr - k->raddr + len > k->len)
			continue;
		memcpy(k->addr + (raddr - k->raddr), buf, len);
		return true;
	}
	return false;
}

bool
mock_is_exposed(struct mock *m, const void *addr)
{
	for (unsigned i = 0; i < m->n_keys; i++) {
		const struct mock_key *k = &m->keys[i];
		const uint8_t *p = addr;

		if (k->valid && (k->access & FABRIC_ACCESS_REMOTE_WRITE) &&
		    p >= k->addr && p < k->addr + k->len)
			return true;
	}
	return false;
}

static void
end_send(struct mock_send *s, enum fabric_wc_status status)
{
	struct fabric_wc wc = {.conn = s->conn,
			       .user = s->conn->user,
			       .wr_id = s->wr.wr_id,
			       .status = status,
			       .op = FABRIC_WC_OP_RDMA_WRITE};
	struct mock *m = s->conn->m;

	ck_assert(!s->completed);
	/* It retires the unsignalled ones before it. */
	for (unsigned i = 0; &m->sends[i] <= s; i++) {
		if (m->sends[i].conn != s->conn || m->sends[i].completed)
			continue;
		m->sends[i].completed = true;
		s->conn->sends_out--;
	}
	push_wc(m, &wc);
}

void
mock_complete(struct mock_send *s)
{
	end_send(s, FABRIC_WC_SUCCESS);
}

void
mock_fail_send(struct mock_send *s)
{
	end_send(s, FABRIC_WC_ERROR);
}

struct mock_send *
mock_last_send(struct mock *m)
{
	ck_assert_uint_gt(m->n_sends, 0);
	return &m->sends[m->n_sends - 1];
}
