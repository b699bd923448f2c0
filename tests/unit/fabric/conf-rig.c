/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/fabric/conf-rig.h"

#include <errno.h>
#include <string.h>

struct rig rig;

static struct fabric_ctx *
new_ctx(int side)
{
	struct fabric_ctx_params p = {
		.rng = rig.drv->rng(),
		.log = rig.drv->log ? rig.drv->log(side) : NULL,
		.now = rig.drv->now(),
		.connect_timeout_ms = rig.drv->connect_timeout_ms
					      ? rig.drv->connect_timeout_ms
					      : 2000,
		.disconnect_timeout_ms = 1000,
		.priv = rig.drv->priv(side == CLT ? 0 : 1),
	};
	struct fabric_ctx *ctx;

	ck_assert_int_eq(rig.ops->ctx_new(&p, &ctx), 0);
	return ctx;
}

void
rig_setup(int round)
{
	struct sockaddr_storage any;
	const struct conf_driver *drv = rig.drv;
	int i;

	memset(&rig, 0, sizeof(rig));
	rig.drv = drv;
	rig.ops = drv->ops;
	drv->setup(round);
	for (i = 0; i < N_CTX; i++)
		rig.ctx[i] = new_ctx(i);
	rig.addr_len = drv->listen_addr(&any);
	ck_assert_int_eq(rig.ops->listen(rig.ctx[SRV], (void *)&any,
					 rig.addr_len, &rig, &rig.listener),
			 0);
	rig.ops->listener_addr(rig.listener, &rig.addr);
}

void
rig_teardown(void)
{
	int i;

	while (rig.n_conns)
		rig_free(rig.conns[0]);
	for (i = 0; i < rig.n_mws; i++)
		rig.ops->mw_free(rig.mws[i]);
	while (rig.n_mrs)
		rig_dereg(rig.mrs[0]);
	rig.ops->listener_free(rig.listener);
	for (i = 0; i < N_CTX; i++)
		rig.ops->ctx_free(rig.ctx[i]);
	rig.drv->teardown();
}

void
rig_collect(void)
{
	struct fabric_event *ev;
	int i, n;

	for (i = 0; i < N_CTX; i++) {
		rig.ops->ctx_poll(rig.ctx[i], rig.drv->now());
		while (rig.n_ev[i] < 64 &&
		       rig.ops->next_event(rig.ctx[i],
					   &rig.ev[i][rig.n_ev[i]])) {
			ev = &rig.ev[i][rig.n_ev[i]];
			ck_assert_uint_le(ev->priv_len, FABRIC_PRIV_MAX);
			if (ev->priv_len)
				memcpy(rig.ev_priv[i][rig.n_ev[i]], ev->priv,
				       ev->priv_len);
			ev->priv = rig.ev_priv[i][rig.n_ev[i]++];
		}
		do {
			n = rig.ops->poll_cq(rig.ctx[i],
					     &rig.wc[i][rig.n_wc[i]],
					     RIG_MAX_QUEUED - rig.n_wc[i]);
			rig.n_wc[i] += n;
		} while (n);
	}
}

static void
step(void)
{
	ck_assert_msg(rig.drv->wait(rig.ctx, N_CTX),
		      "waits for something, but nothing is under way");
	rig_collect();
}

struct fabric_event
rig_event(int side, enum fabric_ev_type type)
{
	static uint8_t priv[N_CTX][FABRIC_PRIV_MAX];
	struct fabric_event ev;
	int i;

	while (!rig.n_ev[side])
		step();
	ev = rig.ev[side][0];
	memcpy(priv[side], rig.ev_priv[side][0], FABRIC_PRIV_MAX);
	ev.priv = priv[side];
	rig.n_ev[side]--;
	for (i = 0; i < rig.n_ev[side]; i++) {
		rig.ev[side][i] = rig.ev[side][i + 1];
		memcpy(rig.ev_priv[side][i], rig.ev_priv[side][i + 1],
		       FABRIC_PRIV_MAX);
		rig.ev[side][i].priv = rig.ev_priv[side][i];
	}
	ck_assert_int_eq(ev.type, type);
	return ev;
}

struct fabric_wc
rig_wc(int side)
{
	struct fabric_wc wc;

	while (!rig.n_wc[side])
		step();
	wc = rig.wc[side][0];
	rig.n_wc[side]--;
	memmove(rig.wc[side], rig.wc[side] + 1,
		(size_t)rig.n_wc[side] * sizeof(wc));
	return wc;
}

struct fabric_wc
rig_wc_ok(int side, uint64_t wr_id)
{
	struct fabric_wc wc = rig_wc(side);

	ck_assert_int_eq(wc.status, FABRIC_WC_SUCCESS);
	ck_assert_uint_eq(wc.wr_id, wr_id);
	return wc;
}

void
rig_settle(void)
{
	rig.drv->settle(rig.ctx, N_CTX);
	rig_collect();
}

bool
rig_has(unsigned cap)
{
	return (rig.ops->caps & cap) == cap;
}

/* --- connections */

void
rig_keep(struct fabric_conn *conn)
{
	ck_assert_int_lt(rig.n_conns, 16);
	rig.conns[rig.n_conns++] = conn;
}

void
rig_forget(struct fabric_conn *conn)
{
	int i;

	for (i = 0; i < rig.n_conns && rig.conns[i] != conn; i++)
		;
	if (i < rig.n_conns)
		rig.conns[i] = rig.conns[--rig.n_conns];
}

void
rig_free(struct fabric_conn *conn)
{
	rig_forget(conn);
	rig.ops->conn_free(conn);
}

struct fabric_conn *
rig_connect(const void *priv, size_t len, struct fabric_pd *pd)
{
	struct fabric_conn_params p = {
		.user = &rig.ctx[CLT],
		.priv = priv,
		.priv_len = len,
		.pd = pd,
		.max_send_wr = RIG_WR,
		.max_recv_wr = RIG_WR,
		.dst = (void *)&rig.addr,
		.dst_len = rig.addr_len,
	};
	struct fabric_conn *conn;

	ck_assert_int_eq(rig.ops->connect(rig.ctx[CLT], &p, &conn), 0);
	rig_keep(conn);
	return conn;
}

void
rig_accept(struct fabric_conn *conn, const void *priv, size_t len,
	   struct fabric_pd *pd)
{
	struct fabric_conn_params p = {
		.user = &rig.ctx[SRV],
		.priv = priv,
		.priv_len = len,
		.pd = pd,
		.max_send_wr = RIG_WR,
		.max_recv_wr = RIG_WR,
	};

	ck_assert_int_eq(rig.ops->accept(conn, &p), 0);
	rig_keep(conn);
}

struct pair
rig_pair(struct fabric_pd *clt_pd, struct fabric_pd *srv_pd)
{
	struct pair p;

	p.c = rig_connect("ping", 4, clt_pd);
	p.s = rig_event(SRV, FABRIC_EV_CONNECT_REQUEST).conn;
	rig_accept(p.s, "pong", 4, srv_pd);
	rig_event(CLT, FABRIC_EV_ESTABLISHED);
	rig_event(SRV, FABRIC_EV_ESTABLISHED);
	return p;
}

/* --- memory */

struct fabric_mr *
rig_mr(struct fabric_conn *conn, void *buf, size_t len, unsigned access)
{
	struct fabric_mr *mr;

	ck_assert_int_lt(rig.n_mrs, 64);
	ck_assert_int_eq(
		rig.ops->mr_reg(rig.ops->conn_pd(conn), buf, len, access, &mr),
		0);
	ck_assert_ptr_eq(mr->addr, buf);
	ck_assert_uint_eq(mr->len, len);
	rig.mrs[rig.n_mrs++] = mr;
	return mr;
}

void
rig_dereg(struct fabric_mr *mr)
{
	int i;

	for (i = 0; rig.mrs[i] != mr; i++)
		;
	rig.mrs[i] = rig.mrs[--rig.n_mrs];
	ck_assert_int_eq(rig.ops->mr_dereg(mr), 0);
}

struct fabric_mw *
rig_mw(struct fabric_conn *conn, enum fabric_mw_kind kind)
{
	struct fabric_mw *mw;

	ck_assert_int_eq(rig.ops->mw_new(rig.ops->conn_pd(conn), kind, &mw), 0);
	rig.mws[rig.n_mws++] = mw;
	return mw;
}

static struct fabric_mr *
local_mr(struct fabric_conn *conn, void *buf, uint32_t len)
{
	if (!len || rig_has(FABRIC_CAP_CHEAP_MR))
		return NULL;
	return rig_mr(conn, buf, len, FABRIC_ACCESS_LOCAL);
}

struct fabric_sge
rig_sge(struct fabric_conn *conn, void *buf, uint32_t len)
{
	return (struct fabric_sge){
		.addr = buf, .len = len, .mr = local_mr(conn, buf, len)};
}

void
rig_recv(struct fabric_conn *conn, uint64_t wr_id, void *buf, uint32_t len)
{
	struct fabric_recv_wr wr = {
		.wr_id = wr_id,
		.addr = buf,
		.len = len,
		.mr = buf ? local_mr(conn, buf, len) : NULL,
	};

	ck_assert_int_eq(rig.ops->post_recv(conn, &wr), 0);
}

int
rig_post(struct fabric_conn *conn, const struct fabric_send_wr *wr)
{
	int i, err = rig.ops->post_send(conn, wr);

	for (i = 0; i < N_CTX; i++)
		rig.ops->ctx_flush(rig.ctx[i]);
	return err;
}

void
rig_barrier(struct pair p)
{
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_SEND_WITH_IMM, .wr_id = 4711, .signaled = true};

	rig_recv(p.s, 4712, NULL, 0);
	ck_assert_int_eq(rig_post(p.c, &wr), 0);
	rig_wc_ok(SRV, 4712);
	rig_wc_ok(CLT, 4711);
}

static uint8_t
byte_at(size_t i, unsigned seed)
{
	return (uint8_t)(i * 31 + i / 251 + seed * 97 + 1);
}

void
rig_fill(uint8_t *buf, size_t len, unsigned seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = byte_at(i, seed);
}

bool
rig_is_filled(const uint8_t *buf, size_t len, unsigned seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (buf[i] != byte_at(i, seed))
			return false;
	return true;
}
