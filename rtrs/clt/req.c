/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One request: build it, post it, complete it, fail it over.
 *
 *   WRITE  one RDMA WRITE WITH IMM to the chunk:
 *              [data][user message][header]
 *   READ   one RDMA WRITE WITH IMM to chunk + data_len:
 *              [user message][header][descriptor]
 *
 * User message and header lie in the slot of the permit on the path that
 * carries it; a request that fails over finds its user message there.
 */
#include "rtrs/clt/clt.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "proto/wire-errno.h"
#include "rtrs/base/mutant.h"

static uint8_t *
slot_msg(const struct rtrs_clt_path *path, unsigned id)
{
	return path->mem.slots + (size_t)id * CLT_SLOT_LEN;
}

static uint8_t *
bounce_buf(const struct rtrs_clt_path *path, unsigned id)
{
	return (uint8_t *)path->mem.bounce.addr +
	       (size_t)id * path->max_io_size;
}

/* Admin requests go on connection 0, the others where their permit says;
 * elsewhere only when that send queue is full, which the server accepts. */
static struct clt_con *
pick_con(struct rtrs_clt_path *path, const struct rtrs_permit *permit)
{
	const unsigned wrs = 3; /* the most that one request takes */
	unsigned n_io = path->n_cons - 1;
	struct clt_con *con = &path->cons[0];

	if (permit->type == RTRS_PERMIT_ADMIN && clt_con_has_room(con, wrs))
		return con;
	for (unsigned i = 0; i < n_io; i++) {
		con = &path->cons[1 + (permit->con_hint + i) % n_io];
		if (clt_con_has_room(con, wrs))
			return con;
	}
	return NULL;
}

/* The key under which the peer may write the data of a read. */
static int
open_target(struct clt_con *con, struct rtrs_clt_req *req,
	    struct rtrs_desc *ret)
{
	struct rtrs_clt_path *path = con->path;
	const struct fabric_ops *ops = path->fab->ops;
	unsigned id = req->permit->id;
	size_t off = (size_t)id * path->max_io_size;
	struct fabric_send_wr bind;
	unsigned access = FABRIC_ACCESS_REMOTE_WRITE;
	int r;

	if (path->inval)
		access |= FABRIC_ACCESS_REMOTE_INV;
	ret->len = req->data_len;
	if (path->cheap_mr) {
		r = ops->mr_reg(path->pd, req->data, req->data_len, access,
				&req->mr);
		if (r)
			return r;
		ret->addr = req->mr->raddr;
		ret->key = req->mr->rkey;
		return 0;
	}
	if (!path->inval) {
		ret->addr = path->mem.bounce_mr->raddr + off;
		ret->key = path->mem.bounce_mr->rkey;
		return 0;
	}
	bind = (struct fabric_send_wr){
		.op = FABRIC_WR_MW_BIND,
		.mw = path->mem.mw[id],
		.bind_mr = path->mem.bounce_mr,
		.bind_off = off,
		.bind_len = req->data_len,
		.bind_access = access,
	};
	r = clt_con_post(con, &bind, CLT_WR_SEND, 0);
	if (r) {
		clt_path_fail(path, r, "cannot post a window");
		return -ECONNABORTED;
	}
	ret->addr = path->mem.mw[id]->raddr;
	ret->key = path->mem.mw[id]->rkey;
	return 0;
}

static void
close_target(struct rtrs_clt_path *path, struct rtrs_clt_req *req)
{
	/* No window is ever bound to it, so this cannot fail. */
	if (req->mr)
		path->fab->ops->mr_dereg(req->mr);
	req->mr = NULL;
}

static int
check_sizes(const struct rtrs_clt_path *path, const struct rtrs_clt_req *req,
	    size_t hdr_len)
{
	uint64_t msg_len = (uint64_t)req->usr_len + hdr_len;

	if (msg_len > path->max_hdr_size ||
	    req->data_len + msg_len > path->chunk_size)
		return -EMSGSIZE;
	if (!path->cheap_mr && req->data_len > path->max_io_size)
		return -EMSGSIZE;
	return 0;
}

/* Data of a write: gathered from where it lies, or through the bounce buffer.
 */
static void
add_data(struct rtrs_clt_path *path, const struct rtrs_clt_req *req,
	 struct fabric_send_wr *wr)
{
	struct fabric_sge *sge = &wr->sge[wr->num_sge++];

	sge->addr = req->data;
	sge->len = req->data_len;
	if (path->cheap_mr)
		return;
	sge->addr = bounce_buf(path, req->permit->id);
	sge->mr = path->mem.bounce_mr;
	memcpy(sge->addr, req->data, req->data_len);
}

static void
count_sent(struct rtrs_clt_path *path, struct rtrs_clt_req *req)
{
	uint64_t bytes = (uint64_t)req->data_len + req->usr_len;

	if (req->dir == RTRS_READ) {
		path->stats.rd_cnt++;
		path->stats.rd_bytes += bytes;
	} else {
		path->stats.wr_cnt++;
		path->stats.wr_bytes += bytes;
	}
	path->stats.inflight++;
	req->counted_inflight = true;
}

/*
 * Posts req on path. Errors: -EMSGSIZE, those of mr_reg, -ECONNABORTED: posting
 * failed and the path with it.
 */
static int
post(struct rtrs_clt_path *path, struct rtrs_clt_req *req, const void *usr)
{
	unsigned id = req->permit->id;
	struct clt_slot *slot = &path->clt->permits.slots[id];
	const struct clt_chunk *chunk = &path->mem.chunks[id];
	bool to_read = req->dir == RTRS_READ && req->data_len;
	bool lends = req->dir == RTRS_WRITE && req->data_len && path->cheap_mr;
	struct rtrs_msg_req m = {
		.type = req->dir == RTRS_READ ? RTRS_MSG_READ : RTRS_MSG_WRITE,
		.usr_len = req->usr_len,
		.flags = to_read && path->inval ? RTRS_READ_F_NEED_INVAL : 0,
		.sg_cnt = to_read,
	};
	struct fabric_send_wr wr = {.op = FABRIC_WR_RDMA_WRITE_WITH_IMM};
	uint8_t *msg = slot_msg(path, id);
	struct clt_con *con;
	int r;

	r = check_sizes(path, req, rtrs_msg_req_len(&m));
	if (r)
		return r;
	con = pick_con(path, req->permit);
	if (!con) {
		clt_path_fail(path, -ENOBUFS, "send queues overrun");
		return -ECONNABORTED;
	}
	if (to_read) {
		r = open_target(con, req, &m.desc);
		if (r)
			return r;
	} else if (req->data_len && req->dir == RTRS_WRITE) {
		add_data(path, req, &wr);
	}
	if (req->usr_len)
		memcpy(msg, usr, req->usr_len);
	wr.sge[wr.num_sge++] = (struct fabric_sge){
		.addr = msg,
		.len = (uint32_t)(req->usr_len +
				  rtrs_msg_req_encode(&m, msg + req->usr_len)),
		.mr = path->mem.ctl_mr,
	};
	wr.imm = rtrs_imm_io_req(path->mem_bits, id,
				 req->data_len + req->usr_len);
	wr.raddr = chunk->raddr + (req->dir == RTRS_READ ? req->data_len : 0);
	wr.rkey = chunk->rkey;
	r = clt_con_post(con, &wr, lends ? CLT_WR_SEND_REQ : CLT_WR_SEND, id);
	if (r) {
		close_target(path, req);
		clt_path_fail(path, r, "cannot post a request");
		return -ECONNABORTED;
	}
	*slot = (struct clt_slot){
		.req = req,
		.wait = CLT_WAIT_REPLY | (lends ? CLT_WAIT_SEND : 0),
		.inval = m.flags,
	};
	req->path = path;
	DL_APPEND(path->inflight, req);
	count_sent(path, req);
	return 0;
}

/* On the first path that takes it, by the order of the policy. */
static int
send_req(struct rtrs_clt *clt, struct rtrs_clt_req *req, const void *usr)
{
	struct clt_tried tried = {{0}};
	struct rtrs_clt_path *path;
	int err = -ECONNABORTED;

	if (!clt->link || clt->lost || clt->closing)
		return -ECONNABORTED;
	while ((path = clt_policy_next(clt, &tried))) {
		int r = post(path, req, usr);

		if (!r)
			return 0;
		if (r != -ECONNABORTED)
			err = r;
	}
	return err;
}

int
rtrs_clt_submit(struct rtrs_clt *clt, struct rtrs_clt_req *req)
{
	const struct clt_permits *pool = &clt->permits;
	const struct rtrs_permit *permit = req->permit;

	if (!permit || permit->id >= pool->n ||
	    permit != &pool->all[permit->id] || pool->slots[permit->id].req ||
	    (req->dir != RTRS_READ && req->dir != RTRS_WRITE) || !req->done ||
	    (req->usr_len && !req->usr) || req->usr_len > RTRS_USR_LEN_MAX ||
	    (req->data_len && !req->data))
		return -EINVAL;
	req->path = NULL;
	req->mr = NULL;
	req->started_ns = clt->now;
	req->counted_inflight = false;
	return send_req(clt, req, req->usr);
}

/* Takes req off its path. Nothing reads or writes its data any more. */
static void
unhook(struct rtrs_clt_path *path, struct rtrs_clt_req *req)
{
	close_target(path, req);
	DL_DELETE(path->inflight, req);
	path->stats.inflight--;
	req->counted_inflight = false;
	req->path = NULL;
	path->clt->permits.slots[req->permit->id].req = NULL;
}

static void
finish(struct rtrs_clt_path *path, struct clt_slot *slot)
{
	struct rtrs_clt_req *req = slot->req;
	int err = slot->err;

	unhook(path, req);
	if (!err && req->dir == RTRS_READ && req->data_len && !path->cheap_mr)
		memcpy(req->data, bounce_buf(path, req->permit->id),
		       req->data_len);
	req->done(req, err);
}

void
clt_req_waited(struct rtrs_clt_path *path, uint32_t id, uint8_t what)
{
	struct clt_slot *slot = &path->clt->permits.slots[id];

	slot->wait &= (uint8_t)~what;
	if (!slot->wait || (RNBD_MUTANT(ACK_ON_SEND) && what == CLT_WAIT_SEND))
		finish(path, slot);
}

/*
 * -ECONNABORTED is our own word, for a request of which nothing is known: who
 * hears it sends the request again. A server must not be able to say it.
 */
static int
reply_error(int wire_err)
{
	int err = wire_errno_to_host(wire_err);

	return err == -ECONNABORTED ? -EIO : err;
}

/* The peer was to end the key and did not. */
static int
end_window(struct clt_con *con, uint32_t id)
{
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_MW_INV,
		.mw = con->path->mem.mw[id],
	};

	return clt_con_post(con, &wr, CLT_WR_INV, id);
}

void
clt_req_reply(struct rtrs_clt_path *path, struct clt_con *con, uint32_t msg_id,
	      int err, bool w_inv)
{
	struct clt_permits *pool = &path->clt->permits;
	struct clt_slot *slot;
	int r;

	/* repost() may have failed the path. */
	if (path->state != RTRS_CLT_CONNECTED)
		return;
	slot = msg_id < pool->n ? &pool->slots[msg_id] : NULL;
	if (!slot || !slot->req || slot->req->path != path ||
	    !(slot->wait & CLT_WAIT_REPLY)) {
		clt_path_fail(path, -EPROTO,
			      "replied to request %u, which is not out",
			      msg_id);
		return;
	}
	if (w_inv && !slot->inval) {
		clt_path_fail(path, -EPROTO,
			      "invalidated a key of request %u unasked",
			      msg_id);
		return;
	}
	slot->err = reply_error(err);
	/* A registration ends with the request; a window has to be ended. */
	if (slot->inval && !w_inv && !path->cheap_mr) {
		r = end_window(con, msg_id);
		if (r) {
			clt_path_fail(path, r, "cannot post an invalidation");
			return;
		}
		slot->wait |= CLT_WAIT_INV;
	}
	clt_req_waited(path, msg_id, CLT_WAIT_REPLY);
}

void
clt_req_release_all(struct rtrs_clt_path *path)
{
	struct rtrs_clt_req *req;

	/* done() may submit, but never to this path: it is not CONNECTED. */
	while ((req = path->inflight)) {
		struct clt_slot *slot =
			&path->clt->permits.slots[req->permit->id];

		if (!(slot->wait & CLT_WAIT_REPLY) ||
		    RNBD_MUTANT(LOST_IS_DONE)) {
			finish(path, slot);
			continue;
		}
		unhook(path, req);
		if (!send_req(path->clt, req, slot_msg(path, req->permit->id)))
			req->path->stats.failovers++;
		else
			req->done(req, -ECONNABORTED);
	}
}
