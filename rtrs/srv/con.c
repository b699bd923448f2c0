/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/srv/srv-priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rtrs/base/mutant.h"

/* A work request's id: kind, op, and for sends the number in the queue. */
#define ID_KIND_SHIFT 60
#define ID_OP_SHIFT   44
#define ID_SEQ_MASK   ((UINT64_C(1) << ID_OP_SHIFT) - 1)

static uint64_t
wr_id(enum srv_wr_kind kind, uint16_t op, uint64_t seq)
{
	return (uint64_t)kind << ID_KIND_SHIFT | (uint64_t)op << ID_OP_SHIFT |
	       (seq & ID_SEQ_MASK);
}

static int
post_empty_recvs(struct srv_con *con, unsigned n)
{
	const struct fabric_recv_wr wr = {
		.wr_id = wr_id(SRV_WR_RECV, 0, 0),
		.count = n,
	};

	return con->path->ctx->ops->post_recv(con->conn, &wr);
}

/* The buffer of INFO_REQ must be the first receive of connection 0, and of a
 * path that shares its receives. */
static int
post_info_recv(struct srv_con *con)
{
	struct srv_path *path = con->path;
	const struct fabric_ops *ops = path->ctx->ops;
	struct fabric_recv_wr wr = {
		.wr_id = wr_id(SRV_WR_RECV_INFO, 0, 0),
		.addr = path->info_buf,
		.len = sizeof(path->info_buf),
	};
	int err;

	err = ops->mr_reg(path->pd, path->info_buf, sizeof(path->info_buf),
			  FABRIC_ACCESS_LOCAL, &path->info_mr);
	if (err)
		return err;
	wr.mr = path->info_mr;
	return ops->post_recv(con->conn, &wr);
}

/*
 * What a device has may be less than what was asked for. Fewer receives only
 * let the peer wait now and then; a send queue has a least size.
 */
static int
take_limits(struct srv_con *con, unsigned *recvs)
{
	struct srv_path *path = con->path;
	unsigned qd = path->srv->p.queue_depth, least = SRV_SQ_MIN;
	struct fabric_limits lim;

	path->ctx->ops->conn_limits(con->conn, &lim);
	if (lim.send_wr < con->sq_size)
		con->sq_size = lim.send_wr;
	if (*recvs > lim.recv_wr - 1)
		*recvs = lim.recv_wr - 1;
	/* All windows are opened in one go. */
	if (path->new_rkey && !con->cid)
		least = qd + SRV_SQ_MIN;
	if (con->sq_size >= least && *recvs)
		return 0;
	srv_path_close(path, LOG_LVL_WARNING,
		       "%s grants queues of %u and %u work requests, queue "
		       "depth %u needs %u and 2: use a smaller queue depth",
		       lim.device, lim.send_wr, lim.recv_wr, qd, least);
	return -ENOBUFS;
}

static int
post_first_recvs(struct srv_con *con, unsigned recvs)
{
	const struct srv_path *path = con->path;
	int err = 0;

	if (path->shared_recv ? path->n_cons == 1 : !con->cid)
		err = post_info_recv(con);
	else if (path->shared_recv)
		return 0;
	return err ? err : post_empty_recvs(con, recvs);
}

int
srv_con_accept(struct srv_path *path, uint16_t cid, struct fabric_conn *conn)
{
	struct rtrs_srv *srv = path->srv;
	const struct fabric_ops *ops = path->ctx->ops;
	unsigned qd = srv->p.queue_depth;
	unsigned recvs = cid || qd > SRV_SERVICE_RECVS ? qd : SRV_SERVICE_RECVS;
	const struct rtrs_msg_conn_rsp rsp = {
		.version = RTRS_PROTO_VER,
		.queue_depth = (uint16_t)qd,
		.max_io_size = rtrs_srv_max_io_size(srv),
		.max_hdr_size = RTRS_SRV_HDR_SIZE,
		.flags = path->new_rkey ? RTRS_RSP_F_NEW_RKEY : 0,
	};
	uint8_t priv[RTRS_CONN_RSP_LEN];
	struct fabric_conn_params cp = {
		.priv = priv,
		.priv_len = sizeof(priv),
		.pd = path->pd,
		.shared_recv = path->shared_recv,
	};
	struct srv_con *con;
	int err;

	con = calloc(1, sizeof(*con));
	if (!con)
		return -ENOMEM;
	con->path = path;
	con->conn = conn;
	con->cid = cid;
	/* Per request: data, invalidation and reply; with windows also the
	 * end of the window and its renewal. */
	con->sq_size = (path->new_rkey ? 5 : 3) * qd + 4 * SRV_SQ_RESERVE;
	if (path->shared_recv)
		recvs = qd + SRV_SHARED_SPARE;
	rtrs_msg_conn_rsp_encode(&rsp, priv);
	cp.user = con;
	cp.max_send_wr = con->sq_size;
	cp.max_recv_wr = recvs + 1;
	err = ops->accept(conn, &cp);
	if (err) {
		free(con);
		return err;
	}
	path->cons[cid] = con;
	path->n_cons++;
	path->n_open++;
	srv->n_unidentified++;
	if (!path->pd) {
		path->pd = ops->conn_pd(conn);
		ops->pd_ref(path->pd);
	}
	path->info_deadline = time_after_ms(srv->now, srv->p.info_timeout_ms);
	srv_path_due(path, path->info_deadline);
	if (take_limits(con, &recvs))
		return 0;
	err = post_first_recvs(con, recvs);
	if (err)
		srv_path_close(path, LOG_LVL_WARNING,
			       "connection %u: no receives: %s", cid,
			       strerror(-err));
	return 0;
}

/* --- send queue */

static unsigned
sq_room(const struct srv_con *con)
{
	return con->sq_size - (unsigned)(con->sq_posted - con->sq_done);
}

bool
srv_con_seq_is(uint64_t posted, uint64_t completed)
{
	return !((posted ^ completed) & ID_SEQ_MASK);
}

bool
srv_con_has_room(const struct srv_con *con, unsigned n)
{
	return sq_room(con) >= n + SRV_SQ_RESERVE;
}

int
srv_con_post(struct srv_con *con, struct fabric_send_wr *wr, unsigned n,
	     enum srv_wr_kind kind, uint16_t op, bool signaled)
{
	int err;

	/* The room of unsignalled WRs comes back with a later signalled one. */
	if (con->sq_unsignaled + n >= con->sq_size / 2)
		signaled = true;
	for (unsigned i = 0; i < n; i++) {
		wr[i].wr_id = wr_id(kind, op, con->sq_posted + i + 1);
		wr[i].next = i + 1 < n ? &wr[i + 1] : NULL;
	}
	wr[n - 1].signaled = signaled;
	err = con->path->ctx->ops->post_send(con->conn, wr);
	if (err)
		return err;
	con->sq_posted += n;
	con->sq_unsignaled = signaled ? 0 : con->sq_unsignaled + n;
	return 0;
}

static void
found_dead(struct srv_con *con, bool by_us)
{
	struct srv_path *path = con->path;

	if (!path->broken)
		path->broken = con;
	path->broken_by_us |= by_us;
	path->srv->has_broken = true;
}

void
srv_con_post_failed(struct srv_con *con, const char *what, int err)
{
	if (err == -ENOTCONN)
		found_dead(con, false);
	else
		srv_path_close(con->path, LOG_LVL_WARNING,
			       "connection %u: can not post a %s: %s", con->cid,
			       what, strerror(-err));
}

/* --- heartbeats */

static void
post_hb(struct srv_con *con, uint32_t imm, bool *due)
{
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_RDMA_WRITE_WITH_IMM,
		.imm = imm,
	};
	int err;

	/* Without room it waits for a completion; two at once are one. */
	*due = !sq_room(con);
	if (*due)
		return;
	err = srv_con_post(con, &wr, 1, SRV_WR_SEND, 0, false);
	if (err)
		srv_con_post_failed(con, "heartbeat", err);
}

void
srv_con_send_hb_msg(struct srv_con *con)
{
	post_hb(con, rtrs_imm_hb_msg(), &con->hb_msg_due);
}

static void
send_hb_ack(struct srv_con *con)
{
	post_hb(con, rtrs_imm_hb_ack(), &con->hb_ack_due);
}

/* --- completions */

static void
sent(struct srv_con *con, const struct fabric_wc *wc)
{
	uint64_t n = (wc->wr_id - con->sq_done) & ID_SEQ_MASK;

	/* Completions of sends come in order. */
	if (n <= con->sq_posted - con->sq_done)
		con->sq_done += n;
	if (con->hb_ack_due)
		send_hb_ack(con);
	if (con->hb_msg_due)
		srv_con_send_hb_msg(con);
	if (con->sq_head)
		srv_op_resume(con);
}

static void
received_info(struct srv_con *con, const struct fabric_wc *wc)
{
	struct srv_path *path = con->path;
	int err = -EPROTO;

	/* Shared, it may have served another connection. */
	if (wc->op == FABRIC_WC_OP_RECV && !con->cid)
		err = rtrs_msg_info_req_decode(path->info_buf, wc->byte_len,
					       &path->info);
	if (err)
		srv_path_close(path, LOG_LVL_WARNING, "bad INFO_REQ: %s",
			       strerror(-err));
	else
		srv_path_info(path);
}

static void
received(struct srv_con *con, const struct fabric_wc *wc)
{
	struct srv_path *path = con->path;
	struct rtrs_imm imm;
	int err;

	if (wc->op != FABRIC_WC_OP_RECV_RDMA_IMM) {
		srv_path_close(path, LOG_LVL_WARNING,
			       "unexpected message on connection %u", con->cid);
		return;
	}
	err = post_empty_recvs(con, 1);
	if (err) {
		srv_con_post_failed(con, "receive", err);
		return;
	}
	rtrs_hb_rx(&path->hb);
	imm = rtrs_imm_decode(wc->imm);
	switch (imm.type) {
	case RTRS_IMM_IO_REQ:
		srv_op_receive(con, imm.payload);
		break;
	case RTRS_IMM_HB_MSG:
		if (path->state == RTRS_SRV_CONNECTED &&
		    !RNBD_MUTANT(SRV_HB_MUTE))
			send_hb_ack(path->cons[0]);
		break;
	case RTRS_IMM_HB_ACK:
		rtrs_hb_ack(&path->hb, path->srv->now);
		break;
	default:
		/* The peer decides how many come: one line is enough. */
		if (!path->warned_imm)
			log_warn(path->srv->log,
				 "path %s: immediate of unknown type %u "
				 "ignored",
				 path->label, imm.type);
		path->warned_imm = true;
		break;
	}
}

void
srv_con_wc(struct srv_con *con, const struct fabric_wc *wc)
{
	struct srv_path *path = con->path;

	if (path->state >= RTRS_SRV_CLOSING)
		return;
	if (wc->status != FABRIC_WC_SUCCESS) {
		found_dead(con, wc->status == FABRIC_WC_ERROR);
		return;
	}
	switch ((enum srv_wr_kind)(wc->wr_id >> ID_KIND_SHIFT)) {
	case SRV_WR_RECV_INFO:
		received_info(con, wc);
		break;
	case SRV_WR_RECV:
		received(con, wc);
		break;
	case SRV_WR_SEND:
		sent(con, wc);
		break;
	case SRV_WR_INV:
		sent(con, wc);
		srv_op_invalidated(con, (uint16_t)(wc->wr_id >> ID_OP_SHIFT));
		break;
	case SRV_WR_VITAL:
		sent(con, wc);
		srv_op_sent(con, (uint16_t)(wc->wr_id >> ID_OP_SHIFT),
			    wc->wr_id);
		break;
	}
}
