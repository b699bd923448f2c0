/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bringing a path up: connections strictly one after another, connection 0
 * first because its answer sizes the others; then receives everywhere, INFO_REQ
 * on connection 0, and the chunk table from the INFO_RSP.
 */
#include "rtrs/clt/clt.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "proto/wire-errno.h"
#include "rtrs/base/remedy.h"

/* What a server must offer at least; the protocol itself has no lower bound. */
#define MIN_HDR_SIZE 512
#define MIN_IO_SIZE  512

#define DEPTH_DIFFERS "queue depth %u differs from %u of the session"

/*
 * May the server make a new session for this path? Not while another path is
 * up: a server that does not know the session then is not the one that path
 * leads to, but was started again, and the session would be torn between a
 * server that is gone and one where every device id means something else. It
 * refuses such a path, which tries again until the other one is known dead.
 */
static bool
may_found_session(const struct rtrs_clt_path *path)
{
	const struct rtrs_clt *clt = path->clt;

	for (unsigned i = 0; i < clt->n_paths; i++)
		if (clt->paths[i] != path &&
		    clt->paths[i]->state == RTRS_CLT_CONNECTED)
			return false;
	return true;
}

static void
connect_next(struct rtrs_clt_path *path, unsigned cid)
{
	struct rtrs_clt *clt = path->clt;
	struct clt_con *con = &path->cons[cid];
	const struct rtrs_msg_conn_req m = {
		.version = RTRS_PROTO_VER,
		.cid = (uint16_t)cid,
		.cid_num = (uint16_t)path->n_cons,
		.recon_cnt = path->recon_cnt,
		.path_uuid = path->uuid,
		.sess_uuid = clt->uuid,
		.first_conn = may_found_session(path),
	};
	uint8_t priv[RTRS_CONN_REQ_LEN];
	struct fabric_conn_params p = {
		.user = con,
		.priv = priv,
		.priv_len = sizeof(priv),
		.pd = path->pd,
		.dst = (const struct sockaddr *)&path->addr.dst,
		.dst_len = path->addr.dst_len,
	};
	int r;

	rtrs_msg_conn_req_encode(&m, priv);
	if (path->addr.src_len) {
		p.src = (const struct sockaddr *)&path->addr.src;
		p.src_len = path->addr.src_len;
	}
	clt_con_sizes(con);
	p.max_send_wr = con->sq_max;
	p.max_recv_wr = con->rq_max;
	path->timer = time_after_ms(clt->now, clt->p.connect_timeout_ms);
	r = path->fab->ops->connect(path->fab->ctx, &p, &con->conn);
	if (r) {
		clt_connect_error(con, r, NULL);
		return;
	}
	con->state = CLT_CON_CONNECTING;
}

void
clt_connect_start(struct rtrs_clt_path *path)
{
	path->odd_imm = false;
	path->recon_cnt = clt_fence_attempt_cnt(path);
	connect_next(path, 0);
}

void
clt_connect_error(struct clt_con *con, int err, const char *why)
{
	struct rtrs_clt_path *path = con->path;
	char buf[128];

	if (why) {
		clt_path_fail(path, err, "cannot connect: %s", why);
		clt_con_free(con);
		return;
	}
	clt_con_free(con);
	switch (err) {
	case -ETIMEDOUT:
		clt_path_fail(path, err, "did not answer for %u ms",
			      path->clt->p.connect_timeout_ms);
		break;
	case -ECONNREFUSED:
		clt_path_fail(path, err, "connection refused");
		break;
	case -EPROTO:
		clt_path_fail(path, err,
			      "speaks something else (not RTRS over %s)",
			      path->fab->ops->name);
		break;
	default:
		clt_path_fail(path, err, "cannot connect: %s%s",
			      clt_errno_words(err, buf, sizeof(buf)),
			      err == -EAGAIN ? "" : remedy_words(err));
		break;
	}
}

void
clt_connect_rejected(struct clt_con *con, const struct fabric_event *ev)
{
	struct rtrs_clt_path *path = con->path;
	struct rtrs_msg_conn_rsp rsp;
	const char *words;
	char buf[128];
	int err;

	if (rtrs_msg_conn_rsp_decode(ev->priv, ev->priv_len, &rsp) ||
	    !rsp.err) {
		clt_con_free(con);
		clt_path_fail(path, -ECONNREFUSED,
			      "rejected by the server without a reason");
		return;
	}
	clt_con_free(con);
	err = wire_errno_to_host(rsp.err);
	if (!con->cid && clt_fence_is_proof(err))
		clt_fence_passed(path);
	words = clt_reject_words(err);
	if (!words)
		words = clt_errno_words(err, buf, sizeof(buf));
	clt_path_fail(path, err, "rejected by the server: %s (%d)", words,
		      -rsp.err);
}

void
clt_connect_disconnected(struct clt_con *con, int err)
{
	struct rtrs_clt_path *path = con->path;
	char buf[128];

	if (path->state == RTRS_CLT_CONNECTING && path->info_sent &&
	    (!err || err == -ECONNRESET)) {
		/* A server that refuses the name has no other way to say it. */
		clt_path_fail(
			path, -ECONNRESET,
			"closed the connection after the session name "
			"was sent: is session name '%s' already in use? Or "
			"do its access rules not allow it?",
			path->clt->name);
		return;
	}
	switch (err) {
	case 0:
		clt_path_fail(path, -ECONNRESET,
			      "the server closed connection %u", con->cid);
		break;
	case -EPROTO:
		clt_path_fail(path, err, "connection %u: protocol violation",
			      con->cid);
		break;
	case -ETIMEDOUT:
		clt_path_fail(path, err, "connection %u: the server is silent",
			      con->cid);
		break;
	default:
		clt_path_fail(path, err, "connection %u was lost: %s", con->cid,
			      clt_errno_words(err, buf, sizeof(buf)));
		break;
	}
}

/* Checks that concern the conn_rsp of every connection. */
static bool
conn_rsp_ok(struct rtrs_clt_path *path, const void *priv, size_t len,
	    struct rtrs_msg_conn_rsp *ret)
{
	char buf[128];
	int r = rtrs_msg_conn_rsp_decode(priv, len, ret);

	if (r == -EPROTONOSUPPORT)
		clt_path_fail(path, -ECONNRESET,
			      "speaks another version of RTRS, not %u",
			      RTRS_PROTO_VER_MAJOR);
	else if (r)
		clt_path_fail(path, -ECONNRESET,
			      "speaks something else (not RTRS over %s)",
			      path->fab->ops->name);
	else if (ret->err)
		clt_path_fail(path, -ECONNRESET,
			      "accepted the connection with an error: %s",
			      clt_errno_words(wire_errno_to_host(ret->err), buf,
					      sizeof(buf)));
	return !r && !ret->err;
}

static bool
sizes_ok(const struct rtrs_msg_conn_rsp *rsp)
{
	uint64_t chunk = (uint64_t)rsp->max_io_size + rsp->max_hdr_size;

	return rsp->queue_depth && rsp->max_hdr_size >= MIN_HDR_SIZE &&
	       rsp->max_io_size >= MIN_IO_SIZE &&
	       chunk >= RTRS_MIN_CHUNK_SIZE &&
	       rtrs_imm_sizes_ok(rsp->queue_depth, chunk);
}

/*
 * All paths of a session share its permits, so they share the queue depth. A
 * server that came back with another one gets a new pool if nothing clings to
 * the old one; else the path ends for good, as with the kernel.
 */
static bool
take_depth(struct rtrs_clt_path *path, unsigned depth)
{
	struct rtrs_clt *clt = path->clt;
	unsigned n = depth;
	int r;

	if (depth == clt->srv_depth)
		return true;
	for (unsigned i = 0; i < clt->n_paths; i++) {
		const struct rtrs_clt_path *other = clt->paths[i];

		if (other->state == RTRS_CLT_CONNECTED) {
			clt_path_give_up(path, -EINVAL, DEPTH_DIFFERS, depth,
					 clt->srv_depth);
			return false;
		}
		/* Sized by the old pool, but on its way out, perhaps. */
		if (other->pd) {
			clt_path_fail(path, -EINVAL, DEPTH_DIFFERS, depth,
				      clt->srv_depth);
			return false;
		}
	}
	if (clt->p.max_queue_depth && n > clt->p.max_queue_depth)
		n = clt->p.max_queue_depth;
	r = clt_permits_resize(&clt->permits, n);
	if (r == -EBUSY) {
		clt_path_give_up(path, -EINVAL,
				 "queue depth changed from %u to %u while "
				 "requests wait",
				 clt->srv_depth, depth);
		return false;
	}
	if (r) {
		clt_path_fail(path, r, "no memory for %u permits", n);
		return false;
	}
	clt->srv_depth = depth;
	return true;
}

static bool
take_params(struct clt_con *con, const struct rtrs_msg_conn_rsp *rsp)
{
	struct rtrs_clt_path *path = con->path;
	const struct fabric_ops *ops = path->fab->ops;
	unsigned caps = ops->conn_caps(con->conn);
	char why[CLT_WHY_LEN] = "";
	int r;

	if (!sizes_ok(rsp)) {
		clt_path_fail(path, -EPROTO,
			      "offers impossible sizes: queue depth %u, I/O "
			      "size %u, header size %u",
			      rsp->queue_depth, rsp->max_io_size,
			      rsp->max_hdr_size);
		return false;
	}
	if (!take_depth(path, rsp->queue_depth))
		return false;
	path->srv_depth = rsp->queue_depth;
	/* Of the server's depth, not of what we use of it. */
	path->mem_bits = rtrs_imm_mem_bits(rsp->queue_depth);
	path->max_io_size = rsp->max_io_size;
	path->max_hdr_size = rsp->max_hdr_size;
	path->chunk_size = rsp->max_io_size + rsp->max_hdr_size;
	path->new_rkey = rsp->flags & RTRS_RSP_F_NEW_RKEY;
	path->n_slots = path->clt->permits.n;
	path->cheap_mr = caps & FABRIC_CAP_CHEAP_MR;
	path->inval = path->clt->p.need_inval &&
		      (caps & (path->cheap_mr ? FABRIC_CAP_MR_REMOTE_INV
					      : FABRIC_CAP_MW));
	path->pd = ops->conn_pd(con->conn);
	ops->pd_ref(path->pd);
	r = ops->conn_addrs(con->conn, &path->actual);
	if (!r)
		r = clt_mem_new(path, why, sizeof(why));
	if (r) {
		clt_path_fail(path, r, "no memory for %u requests%s%s",
			      path->n_slots, *why ? ": " : "", why);
		return false;
	}
	return true;
}

/*
 * A full send queue sends a request elsewhere, so all of them together must
 * hold what is out at once. The device tells what it has.
 */
static bool
queues_ok(struct rtrs_clt_path *path)
{
	unsigned need = clt_con_need_sends(path), least = UINT_MAX;
	struct fabric_limits lim;
	uint64_t sends = 0;

	path->fab->ops->conn_limits(path->cons[path->n_cons - 1].conn, &lim);
	for (unsigned i = 1; i < path->n_cons; i++)
		sends += path->cons[i].sq_max;
	for (unsigned i = 0; i < path->n_cons; i++)
		if (path->cons[i].rq_max < least)
			least = path->cons[i].rq_max;
	if (sends >= need && least >= 2)
		return true;
	clt_path_fail(path, -ENOBUFS,
		      "%s grants queues of %u and %u work requests; %u "
		      "requests need %u on %u connections: use a smaller queue "
		      "depth",
		      lim.device, lim.send_wr, lim.recv_wr, path->n_slots, need,
		      path->n_cons - 1);
	return false;
}

/* INFO_RSP needs the first receive of connection 0. */
static int
post_info(struct rtrs_clt_path *path)
{
	struct clt_mem *m = &path->mem;
	struct clt_con *con = &path->cons[0];
	const struct fabric_recv_wr recv = {
		.wr_id = clt_wr_id(CLT_WR_RECV_INFO, 0, 0),
		.addr = m->info_rsp,
		.len = m->info_rsp_len,
		.mr = m->ctl_mr,
	};
	struct fabric_send_wr send = {
		.op = FABRIC_WR_SEND,
		.num_sge = 1,
		.sge[0] = {.addr = m->info_req,
			   .len = RTRS_INFO_REQ_LEN,
			   .mr = m->ctl_mr},
	};
	struct rtrs_msg_info_req req = {0};
	int r;

	r = path->fab->ops->post_recv(con->conn, &recv);
	for (unsigned i = 0; i < path->n_cons && !r; i++)
		r = clt_con_post_recvs(&path->cons[i]);
	if (r)
		return r;
	strcpy(req.name, path->clt->name); /* checked by rtrs_clt_new() */
	rtrs_msg_info_req_encode(&req, m->info_req);
	return clt_con_post(con, &send, CLT_WR_SEND, 0);
}

void
clt_connect_established(struct clt_con *con, const void *priv, size_t len)
{
	struct rtrs_clt_path *path = con->path;
	struct rtrs_clt *clt = path->clt;
	struct rtrs_msg_conn_rsp rsp;
	const char *why;
	int r;

	if (!conn_rsp_ok(path, priv, len, &rsp))
		return;
	if (!con->cid)
		clt_fence_passed(path);
	clt_con_take_limits(con);
	if (!con->cid && !take_params(con, &rsp))
		return;
	if (con->cid + 1 < path->n_cons) {
		connect_next(path, con->cid + 1);
		return;
	}
	if (!queues_ok(path))
		return;
	r = clt_mem_new_windows(path);
	if (r) {
		why = path->fab->ops->pd_why(path->pd);
		clt_path_fail(path, r, "no windows for %u requests%s%s",
			      path->n_slots, why ? ": " : "", why ? why : "");
		return;
	}
	r = post_info(path);
	if (r) {
		clt_path_fail(path, r, "cannot send INFO_REQ");
		return;
	}
	path->info_sent = true;
	path->timer = time_after_ms(clt->now, clt->p.connect_timeout_ms);
}

/*
 * What the session promises is the least of the paths that are up. It changes
 * only when a path comes up, so that losing one does not move the ground.
 */
static void
take_max_io_size(struct rtrs_clt *clt)
{
	clt->max_io_size = UINT32_MAX;
	for (unsigned i = 0; i < clt->n_paths; i++) {
		const struct rtrs_clt_path *path = clt->paths[i];

		if (path->state == RTRS_CLT_CONNECTED &&
		    path->max_io_size < clt->max_io_size)
			clt->max_io_size = path->max_io_size;
	}
}

static void
connected(struct rtrs_clt_path *path)
{
	struct rtrs_clt *clt = path->clt;
	char addr[RTRS_ADDR_TEXT_MAX];

	clt_path_set_state(path, RTRS_CLT_CONNECTED);
	path->timer = TIME_NEVER;
	path->attempts = 0;
	path->err = 0;
	if (path->was_up)
		path->stats.reconnects_ok++;
	path->was_up = true;
	path->tried = true;
	rtrs_hb_start(&path->hb, clt->now);
	take_max_io_size(clt);
	log_info(clt->log,
		 "session %s: path %s: connected, %u connections, queue depth "
		 "%u, I/O size %u%s%s",
		 clt->name, clt_addr_words(path, addr), path->n_cons,
		 path->n_slots, path->max_io_size,
		 path->new_rkey ? ", new keys" : "",
		 path->inval ? ", invalidation" : "");
	path->adding = false;
	clt_path_op_end(path, 0);
	if (clt->opened)
		return;
	if (clt->p.connect == RTRS_CONNECT_ALL && path->idx + 1 < clt->n_paths)
		clt_connect_start(clt->paths[path->idx + 1]);
	else
		clt->opened = true;
}

static void
put_chunk(void *user, uint32_t chunk, uint64_t addr, uint32_t key)
{
	struct rtrs_clt_path *path = user;

	/* There may be more of them than permits. */
	if (chunk < path->n_slots)
		path->mem.chunks[chunk] =
			(struct clt_chunk){.raddr = addr, .rkey = key};
}

void
clt_connect_info_rsp(struct rtrs_clt_path *path, uint32_t len)
{
	struct clt_mem *m = &path->mem;
	int r;

	if (len > m->info_rsp_len)
		len = m->info_rsp_len;
	r = rtrs_msg_info_rsp_chunks(m->info_rsp, len, path->srv_depth,
				     path->chunk_size, put_chunk, path);
	if (r)
		clt_path_fail(path, r, "sent a malformed INFO_RSP");
	else
		connected(path);
}
