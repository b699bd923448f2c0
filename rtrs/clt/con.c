/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection: the sizes of its queues, posting, completions and events.
 *
 * Send WRs are counted exactly: sq_used is what was posted and is not known to
 * be complete. A signalled WR carries in its wr_id how many it retires, itself
 * and the unsignalled ones before it.
 */
#include "rtrs/clt/clt.h"

#include <errno.h>

#include "rtrs/base/mutant.h"

/* Receives that the reply to one request takes: SEND_WITH_INV has its own. */
static unsigned
recvs_per_req(const struct rtrs_clt_path *path)
{
	return path->inval ? 2 : 1;
}

/* WRs of one request: itself, and bind and local end of its window. */
static unsigned
wrs_per_req(const struct rtrs_clt_path *path)
{
	return path->inval && !path->cheap_mr ? 3 : 1;
}

void
clt_con_sizes(struct clt_con *con)
{
	const struct rtrs_clt_path *path = con->path;

	if (!con->cid) {
		/* Fixed, as in the kernel: the depth is not known yet. */
		con->sq_max = CLT_SERVICE_WR;
		con->rq_max = CLT_SERVICE_WR;
		return;
	}
	con->sq_max = clt_con_need_sends(path);
	con->rq_max = clt_con_n_recvs(con);
}

void
clt_con_take_limits(struct clt_con *con)
{
	struct fabric_limits lim;

	con->path->fab->ops->conn_limits(con->conn, &lim);
	if (lim.send_wr < con->sq_max)
		con->sq_max = lim.send_wr;
	if (lim.recv_wr < con->rq_max)
		con->rq_max = lim.recv_wr;
}

unsigned
clt_con_need_sends(const struct rtrs_clt_path *path)
{
	/*
	 * Every permit may be out on this connection (n * wrs); as many were
	 * answered and are not retired yet, because no later WR is signalled
	 * or its completion was not seen (n * wrs again); and the spare.
	 */
	return 2 * path->n_slots * wrs_per_req(path) + CLT_SPARE_SENDS;
}

unsigned
clt_con_n_recvs(const struct clt_con *con)
{
	const struct rtrs_clt_path *path = con->path;
	unsigned n = path->n_slots * recvs_per_req(path) + CLT_SPARE_RECVS;

	/* Admin requests are few; more of them than this merely wait. */
	if (!con->cid && n > CLT_SERVICE_RECVS)
		n = CLT_SERVICE_RECVS;
	return n;
}

static int
post_rkey_recv(struct clt_con *con, uint32_t id)
{
	struct rtrs_clt_path *path = con->path;
	struct fabric_recv_wr wr = {
		.wr_id = clt_wr_id(CLT_WR_RECV_RKEY, 0, id),
		.addr = path->mem.rkey_bufs + (size_t)id * RTRS_RKEY_RSP_LEN,
		.len = RTRS_RKEY_RSP_LEN,
		.mr = path->mem.ctl_mr,
	};

	return path->fab->ops->post_recv(con->conn, &wr);
}

static int
post_empty_recvs(struct clt_con *con, unsigned n)
{
	struct fabric_recv_wr wr = {
		.wr_id = clt_wr_id(CLT_WR_RECV, 0, 0),
		.count = n,
	};

	return con->path->fab->ops->post_recv(con->conn, &wr);
}

int
clt_con_post_recvs(struct clt_con *con)
{
	struct rtrs_clt_path *path = con->path;
	unsigned n = clt_con_n_recvs(con);
	unsigned room = con->rq_max - !con->cid; /* INFO_RSP has its own */
	uint32_t first = 0;
	int r = 0;

	/* With fewer than that the server waits now and then. */
	if (n > room)
		n = room;
	if (!path->new_rkey)
		return post_empty_recvs(con, n);
	for (unsigned i = 0; i < con->cid; i++)
		first += clt_con_n_recvs(&path->cons[i]);
	for (uint32_t i = 0; i < n && !r; i++)
		r = post_rkey_recv(con, first + i);
	return r;
}

bool
clt_con_has_room(const struct clt_con *con, unsigned wrs)
{
	return con->sq_used + wrs <= con->sq_max;
}

int
clt_con_post(struct clt_con *con, struct fabric_send_wr *wr,
	     enum clt_wr_kind kind, uint32_t id)
{
	unsigned count = con->sq_unsignaled + 1;
	int r;

	if (!clt_con_has_room(con, 1))
		return -ENOMEM;
	wr->signaled = kind != CLT_WR_SEND || count >= con->sq_max / 4;
	wr->wr_id = clt_wr_id(kind, count, id);
	wr->next = NULL;
	r = con->path->fab->ops->post_send(con->conn, wr);
	if (r)
		return r;
	con->sq_used++;
	con->sq_unsignaled = wr->signaled ? 0 : count;
	return 0;
}

/* A heartbeat or its answer; one that cannot be posted ends the path. */
int
clt_con_post_imm(struct clt_con *con, uint32_t imm)
{
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_RDMA_WRITE_WITH_IMM,
		.imm = imm,
	};
	int r = clt_con_post(con, &wr, CLT_WR_SEND, 0);

	if (r)
		clt_path_fail(con->path, r, "cannot post a heartbeat");
	return r;
}

/* Nothing was posted on a connection that is not established. */
void
clt_con_stop(struct clt_con *con)
{
	if (con->state == CLT_CON_CONNECTING)
		clt_con_free(con);
	if (con->state != CLT_CON_UP)
		return;
	con->state = CLT_CON_DISCONNECTING;
	con->path->fab->ops->disconnect(con->conn);
}

void
clt_con_free(struct clt_con *con)
{
	if (con->conn)
		con->path->fab->ops->conn_free(con->conn);
	con->conn = NULL;
	con->state = CLT_CON_NONE;
	con->sq_used = con->sq_unsignaled = 0;
}

void
clt_con_event(struct rtrs_clt *clt, const struct fabric_event *ev)
{
	struct clt_con *con = ev->user;

	if (con == &con->path->fence) {
		clt_fence_event(con, ev);
		return;
	}
	switch (ev->type) {
	case FABRIC_EV_ESTABLISHED:
		if (con->state != CLT_CON_CONNECTING)
			break;
		con->state = CLT_CON_UP;
		clt_connect_established(con, ev->priv, ev->priv_len);
		break;
	case FABRIC_EV_REJECTED:
		clt_connect_rejected(con, ev);
		break;
	case FABRIC_EV_CONNECT_ERROR:
		clt_connect_error(con, ev->err, ev->why);
		break;
	case FABRIC_EV_DISCONNECTED:
		clt_connect_disconnected(con, ev->err);
		break;
	case FABRIC_EV_CLOSED:
		con->state = CLT_CON_CLOSED;
		if (!ev->confirmed)
			con->path->unconfirmed = true;
		clt->kick = true;
		break;
	case FABRIC_EV_CONNECT_REQUEST: /* a client does not listen */
		break;
	}
}

static void
retire(struct clt_con *con, const struct fabric_wc *wc)
{
	unsigned count = clt_wr_id_count(wc->wr_id);

	con->sq_used -= count < con->sq_used ? count : con->sq_used;
}

/* Gives a receive back: the RKEY buffer itself at once, empty ones by count. */
static void
repost(struct clt_con *con, uint64_t wr_id)
{
	struct rtrs_clt *clt = con->path->clt;
	int r;

	if (clt_wr_id_kind(wr_id) == CLT_WR_RECV_RKEY) {
		r = post_rkey_recv(con, clt_wr_id_id(wr_id));
		if (r && r != -ENOTCONN)
			clt_path_fail(con->path, r, "cannot post a receive");
		return;
	}
	if (!con->recv_owed++) {
		con->owed_next = clt->owed;
		clt->owed = con;
	}
}

void
clt_con_post_owed(struct rtrs_clt *clt)
{
	struct clt_con *con;

	while ((con = clt->owed)) {
		unsigned n = con->recv_owed;
		int r = 0;

		clt->owed = con->owed_next;
		con->recv_owed = 0;
		if (con->path->state == RTRS_CLT_CONNECTED)
			r = post_empty_recvs(con, n);
		/* The event that tells why it died is on its way. */
		if (r && r != -ENOTCONN)
			clt_path_fail(con->path, r, "cannot post a receive");
	}
}

/* The message that came with a SEND_WITH_IMM: a new key of the chunk. */
static bool
take_rkey(struct clt_con *con, const struct fabric_wc *wc, uint32_t msg_id)
{
	struct rtrs_clt_path *path = con->path;
	struct rtrs_msg_rkey_rsp m;
	const uint8_t *buf;

	if (clt_wr_id_kind(wc->wr_id) != CLT_WR_RECV_RKEY)
		return false;
	buf = path->mem.rkey_bufs +
	      (size_t)clt_wr_id_id(wc->wr_id) * RTRS_RKEY_RSP_LEN;
	if (wc->byte_len < RTRS_RKEY_RSP_LEN ||
	    rtrs_msg_rkey_rsp_decode(buf, RTRS_RKEY_RSP_LEN, &m) ||
	    m.buf_id != msg_id || m.buf_id >= path->n_slots)
		return false;
	if (!RNBD_MUTANT(RKEY_OLD))
		path->mem.chunks[m.buf_id].rkey = m.rkey;
	return true;
}

static void
recv_io_rsp(struct clt_con *con, const struct fabric_wc *wc,
	    const struct rtrs_imm *imm)
{
	uint32_t msg_id;
	int err;

	rtrs_imm_io_rsp_payload(imm->payload, &msg_id, &err);
	if (wc->op == FABRIC_WC_OP_RECV && !take_rkey(con, wc, msg_id)) {
		clt_path_fail(con->path, -EPROTO,
			      "sent a malformed reply to request %u", msg_id);
		return;
	}
	repost(con, wc->wr_id);
	clt_req_reply(con->path, con, msg_id, err,
		      imm->type == RTRS_IMM_IO_RSP_W_INV);
}

static void
recv_imm(struct clt_con *con, const struct fabric_wc *wc)
{
	struct rtrs_clt_path *path = con->path;
	struct rtrs_imm imm = rtrs_imm_decode(wc->imm);

	switch (imm.type) {
	case RTRS_IMM_IO_RSP:
	case RTRS_IMM_IO_RSP_W_INV:
		recv_io_rsp(con, wc, &imm);
		return;
	case RTRS_IMM_HB_MSG:
		if (RNBD_MUTANT(CLT_HB_MUTE))
			break;
		clt_con_post_imm(&path->cons[0], rtrs_imm_hb_ack());
		break;
	case RTRS_IMM_HB_ACK:
		rtrs_hb_ack(&path->hb, path->clt->now);
		clt_path_count_latency(path);
		break;
	default:
		/* Once: a peer must not fill the log. */
		if (!path->odd_imm)
			log_warn(path->clt->log,
				 "session %s: ignored immediate 0x%08x of "
				 "unknown type %u",
				 path->clt->name, wc->imm, imm.type);
		path->odd_imm = true;
		break;
	}
	if (path->state == RTRS_CLT_CONNECTED)
		repost(con, wc->wr_id);
}

static void
recv_wc(struct clt_con *con, const struct fabric_wc *wc)
{
	struct rtrs_clt_path *path = con->path;
	bool is_info = clt_wr_id_kind(wc->wr_id) == CLT_WR_RECV_INFO;

	rtrs_hb_rx(&path->hb);
	if (is_info && wc->op == FABRIC_WC_OP_RECV && !wc->with_imm &&
	    !wc->with_inv)
		clt_connect_info_rsp(path, wc->byte_len);
	else if (is_info || path->state != RTRS_CLT_CONNECTED)
		clt_path_fail(path, -EPROTO,
			      "sent something else before its INFO_RSP");
	else if (wc->with_imm)
		recv_imm(con, wc);
	else if (wc->with_inv) /* the reply to that read follows */
		repost(con, wc->wr_id);
	else
		clt_path_fail(path, -EPROTO, "sent a message without request");
}

void
clt_con_wc(const struct fabric_wc *wc)
{
	struct clt_con *con = wc->user;
	struct rtrs_clt_path *path = con->path;

	/* What a path that is being torn down still reports is of no use: its
	 * requests are dealt with when it is quiet. */
	if (path->state != RTRS_CLT_CONNECTING &&
	    path->state != RTRS_CLT_CONNECTED)
		return;
	/* Flushed work tells that the connection died; why comes as event. */
	if (wc->status == FABRIC_WC_FLUSHED)
		return;
	if (wc->status != FABRIC_WC_SUCCESS) {
		clt_path_fail(path, -EIO, "connection %u: work request failed",
			      con->cid);
		return;
	}
	switch (clt_wr_id_kind(wc->wr_id)) {
	case CLT_WR_SEND:
		retire(con, wc);
		break;
	case CLT_WR_SEND_REQ:
		retire(con, wc);
		clt_req_waited(path, clt_wr_id_id(wc->wr_id), CLT_WAIT_SEND);
		break;
	case CLT_WR_INV:
		retire(con, wc);
		clt_req_waited(path, clt_wr_id_id(wc->wr_id), CLT_WAIT_INV);
		break;
	case CLT_WR_RECV:
	case CLT_WR_RECV_RKEY:
	case CLT_WR_RECV_INFO:
		recv_wc(con, wc);
		break;
	}
}
