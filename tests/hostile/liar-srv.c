/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/hostile/liar-srv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#define INFO_BUF 512
#define MEM_LEN                                                                \
	((size_t)LS_DEPTH * LS_CHUNK + (size_t)LS_TX * LS_TX_LEN + INFO_BUF)

enum {
	WR_SEND,
	WR_RECV,
	WR_RECV_INFO,
};

static uint8_t *
info_buf(const struct ls_path *path)
{
	return path->mem + MEM_LEN - INFO_BUF;
}

/* --- paths */

static struct ls_path *
find_path(struct liar_srv *l, const struct rtrs_uuid *uuid)
{
	for (unsigned i = 0; i < LS_PATHS; i++)
		if (l->paths[i].used &&
		    !memcmp(&l->paths[i].uuid, uuid, sizeof(*uuid)))
			return &l->paths[i];
	return NULL;
}

static struct ls_path *
new_path(struct liar_srv *l, const struct rtrs_uuid *uuid)
{
	struct ls_path *path;

	for (unsigned i = 0; i < LS_PATHS; i++) {
		path = &l->paths[i];
		if (path->used)
			continue;
		*path = (struct ls_path){
			.l = l, .used = true, .uuid = *uuid, .mem = path->mem};
		if (!path->mem)
			path->mem = calloc(1, MEM_LEN);
		if (!path->mem)
			abort();
		return path;
	}
	return NULL;
}

static bool
is_gone(const struct ls_path *path)
{
	for (unsigned i = 0; i < LS_CONS; i++)
		if (path->cons[i].conn)
			return false;
	return true;
}

static void
maybe_free(struct ls_path *path)
{
	const struct fabric_ops *ops;

	if (!path->used || !is_gone(path))
		return;
	ops = path->l->stage->fabric;
	if (path->mr)
		ops->mr_dereg(path->mr);
	if (path->pd)
		ops->pd_unref(path->pd);
	path->mr = NULL;
	path->pd = NULL;
	path->used = false;
}

static void
con_free(struct ls_con *con)
{
	con->path->l->stage->fabric->conn_free(con->conn);
	con->conn = NULL;
}

void
ls_drop(struct ls_path *path, bool in_order)
{
	for (unsigned i = 0; i < LS_CONS; i++) {
		struct ls_con *con = &path->cons[i];

		if (!con->conn || con->closing)
			continue;
		if (in_order) {
			con->closing = true;
			path->l->stage->fabric->disconnect(con->conn);
		} else {
			con_free(con);
		}
	}
	maybe_free(path);
}

/* --- connecting */

/* The rules, or sizes that no server has. */
static void
pick_offer(struct ls_path *path)
{
	struct liar_srv *l = path->l;
	struct choice *c = l->stage->choice;
	struct rtrs_msg_conn_rsp *o = &path->offer;

	*o = (struct rtrs_msg_conn_rsp){
		.version = RTRS_PROTO_VER,
		/* It stays the same, or sessions would end for that. */
		.queue_depth = l->depth,
		.max_io_size = l->chunk - LS_HDR,
		.max_hdr_size = LS_HDR,
		.flags = choose(c, 2) ? RTRS_RSP_F_NEW_RKEY : 0,
	};
	path->offer_true = true;
	if (!ls_lies(l))
		return;
	path->offer_true = false;
	switch (choose(c, 4)) {
	case 0:
		o->queue_depth = (uint16_t)choose_lie(c, o->queue_depth, 16);
		break;
	case 1:
		o->max_io_size = (uint32_t)choose_lie(c, o->max_io_size, 32);
		break;
	case 2:
		o->max_hdr_size = (uint32_t)choose_lie(c, o->max_hdr_size, 32);
		break;
	default:
		path->offer_true = true;
		o->flags = (uint32_t)choose_lie(c, o->flags, 32);
		break;
	}
}

static void
answer_connect(struct liar_srv *l, struct fabric_conn *conn,
	       struct ls_path *path, uint16_t cid)
{
	const struct fabric_ops *ops = l->stage->fabric;
	struct choice *c = l->stage->choice;
	struct ls_con *con = &path->cons[cid];
	uint8_t priv[RTRS_CONN_RSP_LEN];
	struct fabric_conn_params p = {
		.user = con,
		.priv = priv,
		.priv_len = sizeof(priv),
		.pd = path->pd,
		.max_send_wr = 400,
		.max_recv_wr = LS_RECVS + 1,
	};
	struct fabric_recv_wr recv = {.wr_id = WR_RECV, .count = LS_RECVS};
	struct fabric_recv_wr info = {.wr_id = WR_RECV_INFO, .len = INFO_BUF};

	rtrs_msg_conn_rsp_encode(&path->offer, priv);
	if (ls_lies(l))
		priv[choose(c, 20)] = (uint8_t)choose(c, 256);
	if (ls_lies(l))
		p.priv_len = choose(c, sizeof(priv));
	if (ls_lies(l)) { /* an errno, or none */
		priv[4] = (uint8_t)choose(c, 256);
		priv[5] = (uint8_t)(choose(c, 2) * 0xff);
		ops->reject(conn, priv, p.priv_len);
		maybe_free(path);
		return;
	}
	stage_spend(l->stage);
	*con = (struct ls_con){.path = path, .conn = conn, .cid = cid};
	if (ops->accept(conn, &p)) {
		con_free(con); /* its client left */
		maybe_free(path);
		return;
	}
	if (!path->pd) {
		path->pd = ops->conn_pd(conn);
		ops->pd_ref(path->pd);
		if (ops->mr_reg(path->pd, path->mem, MEM_LEN,
				FABRIC_ACCESS_REMOTE_WRITE, &path->mr))
			abort();
	}
	if (!cid) {
		info.addr = info_buf(path);
		info.mr = path->mr;
		(void)ops->post_recv(conn, &info);
	}
	(void)ops->post_recv(conn, &recv);
}

static void
connect_request(struct liar_srv *l, const struct fabric_event *ev)
{
	const struct fabric_ops *ops = l->stage->fabric;
	struct rtrs_msg_conn_req m;
	struct ls_path *path;

	l->conn_reqs++;
	if (rtrs_msg_conn_req_decode(ev->priv, ev->priv_len, &m) ||
	    m.cid >= m.cid_num || m.cid >= LS_CONS) {
		stage_fail(l->stage, "the client's conn_req is malformed");
		ops->reject(ev->conn, NULL, 0);
		return;
	}
	path = find_path(l, &m.path_uuid);
	if (path && !m.cid) {
		/* Its client has begun anew: so does it. */
		ls_drop(path, false);
		path = NULL;
	}
	if (!path && !m.cid)
		path = new_path(l, &m.path_uuid);
	if (!path || path->cons[m.cid].conn || l->closed || l->away) {
		ops->reject(ev->conn, NULL, 0);
		return;
	}
	if (!m.cid)
		pick_offer(path);
	answer_connect(l, ev->conn, path, m.cid);
}

static void
handle_event(struct liar_srv *l, const struct fabric_event *ev)
{
	struct ls_con *con = ev->user;

	switch (ev->type) {
	case FABRIC_EV_CONNECT_REQUEST:
		connect_request(l, ev);
		break;
	case FABRIC_EV_DISCONNECTED:
		con->dead = true;
		ls_drop(con->path, choose(l->stage->choice, 2));
		break;
	case FABRIC_EV_CLOSED:
	case FABRIC_EV_REJECTED:
	case FABRIC_EV_CONNECT_ERROR:
		con_free(con);
		maybe_free(con->path);
		break;
	case FABRIC_EV_ESTABLISHED:
		break;
	}
}

/* --- requests */

/*
 * What is odd about a request. An answer to nothing makes a client use a chunk
 * again before the server has looked at it, so this says nothing of a client
 * that is lied to.
 */
static void
odd(struct ls_path *path, const char *what, uint32_t id)
{
	if (path->l->mood == LS_HONEST)
		stage_fail(path->l->stage, "the client's request %u %s", id,
			   what);
}

/* Takes a request as it lies in the chunk. */
static void
take_request(struct ls_con *con, uint32_t payload)
{
	struct ls_path *path = con->path;
	struct stage *s = path->l->stage;
	struct ls_ask *ask;
	const uint8_t *chunk;
	uint32_t id, off;

	rtrs_imm_io_req_payload(
		payload, rtrs_imm_mem_bits(path->offer.queue_depth), &id, &off);
	if (!path->offer_true || !path->informed)
		return;
	if (id >= path->l->depth || off >= path->l->chunk) {
		stage_fail(s, "the client uses chunk %u offset %u", id, off);
		return;
	}
	ask = &path->asks[id];
	chunk = path->mem + (size_t)id * path->l->chunk;
	if (rtrs_msg_req_decode(chunk + off, path->l->chunk - off, &ask->hdr) ||
	    ask->hdr.usr_len > off || ask->hdr.usr_len > sizeof(ask->usr)) {
		odd(path, "is malformed", id);
		return;
	}
	ask->data_len = off - ask->hdr.usr_len;
	if (ask->hdr.type == RTRS_MSG_READ && ask->hdr.sg_cnt &&
	    ask->hdr.desc.len != ask->data_len)
		odd(path, "wants another length", id);
	memcpy(ask->usr, chunk + ask->data_len, ask->hdr.usr_len);
	ask->con = con;
	ask->out = true;
	if (rnbd_msg_type_decode(ask->usr, ask->hdr.usr_len, &ask->type))
		odd(path, "says nothing", id);
	if (ask->type != RNBD_MSG_IO)
		path->l->admin_reqs++;
	ls_answer(path, id);
}

static void
received(struct ls_con *con, const struct fabric_wc *wc)
{
	struct ls_path *path = con->path;
	struct fabric_recv_wr recv = {.wr_id = WR_RECV, .count = 1};
	struct rtrs_imm imm = rtrs_imm_decode(wc->imm);
	struct fabric_send_wr ack = {.op = FABRIC_WR_RDMA_WRITE_WITH_IMM,
				     .imm = rtrs_imm_hb_ack()};

	if (wc->wr_id == WR_RECV_INFO) {
		path->informed = true;
		ls_answer_info(path);
		return;
	}
	(void)path->l->stage->fabric->post_recv(con->conn, &recv);
	if (!wc->with_imm)
		return;
	if (imm.type == RTRS_IMM_IO_REQ)
		take_request(con, imm.payload);
	else if (imm.type == RTRS_IMM_HB_MSG && !ls_lies(path->l))
		ls_post(&path->cons[0], &ack);
	else if (imm.type != RTRS_IMM_HB_MSG && imm.type != RTRS_IMM_HB_ACK)
		stage_fail(path->l->stage, "the client says %08x", wc->imm);
}

/* --- player */

static bool
ready(struct player *p)
{
	struct liar_srv *l = container_of(p, struct liar_srv, player);

	return l->stage->fabric->ctx_arm(l->ctx);
}

static uint64_t
deadline(struct player *p)
{
	return TIME_NEVER;
}

static void
turn(struct player *p)
{
	struct liar_srv *l = container_of(p, struct liar_srv, player);
	const struct fabric_ops *ops = l->stage->fabric;
	struct fabric_event ev;
	struct fabric_wc wc;

	ops->ctx_poll(l->ctx, stage_now(l->stage));
	/* One by one: any of them may be freed in between. */
	while (ops->poll_cq(l->ctx, &wc, 1) > 0) {
		struct ls_con *con = wc.user;

		if (wc.status == FABRIC_WC_SUCCESS && wc.wr_id != WR_SEND &&
		    con->conn && !con->closing)
			received(con, &wc);
	}
	while (ops->next_event(l->ctx, &ev))
		handle_event(l, &ev);
	ops->ctx_flush(l->ctx);
}

static void
tick(struct stage_timer *t)
{
	struct liar_srv *l = container_of(t, struct liar_srv, tick);
	struct stage *s = l->stage;

	if (l->closed)
		return;
	for (unsigned i = 0; i < LS_PATHS; i++)
		if (l->paths[i].used && ls_lies(l))
			ls_babble(&l->paths[i]);
	s->fabric->ctx_flush(l->ctx);
	stage_timer_set(s, t,
			stage_now(s) + 20 * NSEC_PER_USEC +
				sim_net_below(s->net, NSEC_PER_MSEC / 4));
}

void
liar_srv_start(struct liar_srv *l, struct stage *s)
{
	struct fabric_ctx_params cp = {.rng = sim_net_rng(s->net),
				       .log = &s->log,
				       .now = stage_now(s)};
	struct sockaddr_storage ss;
	socklen_t len;

	*l = (struct liar_srv){.stage = s,
			       .tick.fire = tick,
			       .depth = LS_DEPTH,
			       .chunk = LS_CHUNK,
			       .disk_bytes = LS_DISK};
	if (sim_node_new(s->net, "liar", HOST_LIAR_SERVER, &l->node))
		abort();
	cp.priv = l->node;
	len = sim_node_addr(l->node, STAGE_PORT, &ss);
	if (s->fabric->ctx_new(&cp, &l->ctx) ||
	    s->fabric->listen(l->ctx, (void *)&ss, len, NULL, &l->listener))
		abort();
	l->player = (struct player){
		.ready = ready, .deadline = deadline, .turn = turn};
	DL_APPEND(s->players, &l->player);
	tick(&l->tick);
}

void
liar_srv_stop(struct liar_srv *l)
{
	struct stage *s = l->stage;

	l->closed = true;
	stage_timer_cancel(s, &l->tick);
	for (unsigned i = 0; i < LS_PATHS; i++) {
		struct ls_path *path = &l->paths[i];

		for (unsigned k = 0; k < LS_CONS; k++)
			if (path->cons[k].conn)
				con_free(&path->cons[k]);
		maybe_free(path);
		free(path->mem);
	}
	DL_DELETE(s->players, &l->player);
	s->fabric->listener_free(l->listener);
	s->fabric->ctx_free(l->ctx);
}
