/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>

#include "tests/hostile/liar-clt.h"

static uint64_t
recv_id(unsigned kind, unsigned con, unsigned i)
{
	return (uint64_t)kind << 32 | con << 16 | i;
}

void
liar_post_recv(struct liar_clt *l, struct liar_con *con, unsigned i)
{
	unsigned k = (unsigned)(con - l->cons);
	const struct fabric_recv_wr wr = {
		.wr_id = recv_id(LIAR_WR_RECV, k, i),
		.addr = liar_recv_buf(l, k, i),
		.len = RTRS_RKEY_RSP_LEN,
		.mr = l->mr,
	};

	/* Refused when it is dead, which its event tells. */
	(void)l->stage->fabric->post_recv(con->conn, &wr);
}

void
liar_post_info_recv(struct liar_clt *l)
{
	const struct fabric_recv_wr wr = {
		.wr_id = recv_id(LIAR_WR_RECV_INFO, 0, 0),
		.addr = liar_rx(l, 0),
		.len = LIAR_MSG_MAX,
		.mr = l->mr,
	};

	(void)l->stage->fabric->post_recv(l->cons[0].conn, &wr);
}

static void
connect_one(struct liar_clt *l, const struct rtrs_msg_conn_req *m,
	    uint8_t *priv, size_t len, bool must_fail)
{
	struct liar_con *con = &l->cons[l->n_cons];
	struct sockaddr_storage dst;
	struct fabric_conn_params p = {
		.user = con,
		.priv = priv,
		.priv_len = len,
		.pd = l->pd,
		.max_send_wr = 4 * LIAR_BURST * 10,
		.max_recv_wr = LIAR_RECVS + 1,
		.dst = (void *)&dst,
	};

	p.dst_len = sim_node_addr(l->g->node, STAGE_PORT, &dst);
	*con = (struct liar_con){.l = l,
				 .state = LC_CONNECTING,
				 .cid = m->cid,
				 .must_fail = must_fail};
	liar_claim_check(l, con, priv, len);
	if (l->stage->fabric->connect(l->ctx, &p, &con->conn))
		abort();
	l->n_cons++;
	stage_spend(l->stage);
}

static struct rtrs_msg_conn_req
honest_req(const struct liar_clt *l)
{
	return (struct rtrs_msg_conn_req){
		.version = RTRS_PROTO_VER,
		.cid = (uint16_t)l->n_cons,
		.cid_num = l->cid_num,
		.recon_cnt = l->recon_cnt,
		.path_uuid = l->path_uuid,
		.sess_uuid = l->sess_uuid,
		.first_conn = true,
	};
}

void
liar_connect_next(struct liar_clt *l)
{
	struct rtrs_msg_conn_req m = honest_req(l);
	uint8_t priv[RTRS_CONN_REQ_LEN];

	rtrs_msg_conn_req_encode(&m, priv);
	connect_one(l, &m, priv, sizeof(priv), false);
}

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

/* A request of which some field, or the length, is a lie. */
void
liar_connect_bent(struct liar_clt *l)
{
	static const uint8_t fields[] = {2, 4, 6, 8, 10};
	struct choice *c = l->stage->choice;
	struct rtrs_msg_conn_req m = honest_req(l);
	uint8_t priv[RTRS_CONN_REQ_LEN], at;
	size_t len = sizeof(priv);
	uint16_t v;
	bool bad;

	if (choose(c, 2))
		choose_bytes(c, &m.path_uuid, 1 + choose(c, 16));
	if (choose(c, 2))
		m.first_conn = choose(c, 2);
	m.cid = (uint16_t)choose(c, 4);
	rtrs_msg_conn_req_encode(&m, priv);
	if (choose_percent(c, 70)) {
		at = fields[choose(c, sizeof(fields))];
		v = (uint16_t)choose_lie(c, get16(priv + at), 16);
		priv[at] = (uint8_t)v;
		priv[at + 1] = (uint8_t)(v >> 8);
	}
	/* Verbs pads it, so a short one is not seen to be short there. */
	if (choose_percent(c, 10) &&
	    l->stage->fabric->caps & FABRIC_CAP_CHEAP_MR)
		len = choose(c, sizeof(priv));
	bad = len < sizeof(priv) || get16(priv + 2) != RTRS_MAGIC ||
	      priv[5] != RTRS_PROTO_VER_MAJOR ||
	      get16(priv + 8) > RTRS_MAX_CONS ||
	      get16(priv + 6) >= get16(priv + 8);
	connect_one(l, &m, priv, len, bad);
}
