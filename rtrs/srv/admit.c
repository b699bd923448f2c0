/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checks 6 to 14 of rnbd-protocol(7), and parking.
 *
 * A request that a client may send only after it gave up an older incarnation
 * of the same path, or of the whole session, is parked: not answered until all
 * that is left of the old one is gone, its executing requests included, and
 * judged again then. So nothing of the new incarnation can overtake the old.
 */
#include "rtrs/srv/srv-priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A documented condition of the checks, besides 0 and errors. */
#define PARK 1

const char *
rtrs_srv_reject_name(unsigned reject)
{
	static const char *const names[RTRS_SRV_N_REJECTS] = {
		[RTRS_SRV_REJECT_SESSIONS] = "sessions",
		[RTRS_SRV_REJECT_PATHS] = "paths",
		[RTRS_SRV_REJECT_MEMORY] = "memory",
		[RTRS_SRV_REJECT_DUPLICATE] = "duplicate",
		[RTRS_SRV_REJECT_UNKNOWN] = "unknown",
		[RTRS_SRV_REJECT_STALE] = "stale",
		[RTRS_SRV_REJECT_BUSY] = "busy",
		[RTRS_SRV_REJECT_FAILED] = "failed",
		[RTRS_SRV_REJECT_UPPER] = "upper_layer",
	};

	return reject < RTRS_SRV_N_REJECTS ? names[reject] : "?";
}

/* What an errno means if no limit is named. */
static enum rtrs_srv_reject
reject_of(int err)
{
	switch (err) {
	case -ECONNRESET:
		return RTRS_SRV_REJECT_STALE;
	case -EEXIST:
		return RTRS_SRV_REJECT_DUPLICATE;
	case -ENXIO:
		return RTRS_SRV_REJECT_UNKNOWN;
	case -EBUSY:
		return RTRS_SRV_REJECT_BUSY;
	default:
		return RTRS_SRV_REJECT_FAILED;
	}
}

/* A limit is the reason, which the errno does not say. */
static int
limit(struct rtrs_srv *srv, enum rtrs_srv_reject reject, int err)
{
	srv->limit = reject;
	srv->limit_err = err;
	return err;
}

int
rtrs_srv_take(struct rtrs_srv *srv, struct rtrs_conn_request *req)
{
	struct srv_ctx *ctx;
	int err;

	err = srv_ctx_get(srv, req->ops, &ctx);
	if (err)
		return err;
	err = req->ops->migrate(req->conn, ctx->fabric);
	if (err)
		return err;
	req->ctx = ctx;
	/* Judged in progress, which knows the time. */
	DL_APPEND(srv->incoming, req);
	srv_work(srv, SRV_WORK_ADMIT);
	return 0;
}

/*
 * The request meets a path that it can not join. With a larger recon_cnt (a
 * serial number: it may wrap) it says that the client gave that one up.
 */
static int
check_stale(struct srv_path *path, const struct rtrs_msg_conn_req *msg)
{
	if ((int16_t)(msg->recon_cnt - path->recon_cnt) <= 0)
		return -ECONNRESET;
	srv_path_close(path, LOG_LVL_INFO, "peer starts over");
	if (!path->given_up)
		srv_work(path->srv, SRV_WORK_TEARDOWN);
	path->given_up = true;
	return PARK;
}

/* Checks 8 to 10. */
static int
check_known_path(struct srv_path *path, const struct rtrs_conn_request *req)
{
	const struct rtrs_msg_conn_req *msg = &req->msg;

	if (path->state != RTRS_SRV_CONNECTING ||
	    path->recon_cnt != msg->recon_cnt ||
	    path->cid_num != msg->cid_num || path->cons[msg->cid])
		return check_stale(path, msg);
	/* One path has one PD, so one device. */
	return path->ctx == req->ctx ? 0 : -ECONNRESET;
}

/* Checks 11 and 12, and our limit of memory. */
static int
check_new_path(struct rtrs_srv *srv, struct rtrs_srv_sess *sess,
	       const struct rtrs_conn_request *req)
{
	size_t mem = (size_t)srv->p.queue_depth * srv->p.chunk_size;
	struct srv_path *path;

	if (sess && HASH_COUNT(sess->paths) >= srv->p.max_paths) {
		log_warn(srv->log, "limit of %u paths of a session reached",
			 srv->p.max_paths);
		return limit(srv, RTRS_SRV_REJECT_PATHS, -ECONNRESET);
	}
	for (path = sess ? sess->paths : NULL; path; path = path->hh.next) {
		if (!rtrs_addr_same_host(&path->addrs.local,
					 &req->addrs.local) ||
		    !rtrs_addr_same_host(&path->addrs.peer, &req->addrs.peer))
			continue;
		return path->state == RTRS_SRV_CLOSING ? PARK : -EEXIST;
	}
	if (srv->p.max_chunk_mem &&
	    (mem > srv->p.max_chunk_mem ||
	     srv->chunk_mem > srv->p.max_chunk_mem - mem)) {
		log_warn(srv->log,
			 "limit of memory reached: %zu of %zu bytes are "
			 "promised, a path needs %zu",
			 srv->chunk_mem, srv->p.max_chunk_mem, mem);
		return limit(srv, RTRS_SRV_REJECT_MEMORY, -ENOMEM);
	}
	return 0;
}

/* The upper layer's limits, before anything is allocated. */
static int
count_path(struct rtrs_srv *srv, const struct rtrs_conn_request *req)
{
	const struct rtrs_srv_new_path np = {
		.sess_uuid = &req->msg.sess_uuid,
		.path_uuid = &req->msg.path_uuid,
		.addrs = &req->addrs,
		.n_cons = req->msg.cid_num,
		.chunk_mem = (size_t)srv->p.queue_depth * srv->p.chunk_size,
	};
	int err = srv->p.path_new ? srv->p.path_new(srv->p.user, &np) : 0;

	return err < 0 ? limit(srv, RTRS_SRV_REJECT_UPPER, err) : 0;
}

static void
uncount_path(struct rtrs_srv *srv, const struct rtrs_conn_request *req)
{
	if (srv->p.path_gone)
		srv->p.path_gone(srv->p.user, &req->msg.sess_uuid,
				 &req->msg.path_uuid);
}

static int
admit_new_path(struct rtrs_srv *srv, struct rtrs_srv_sess *sess,
	       const struct rtrs_conn_request *req, struct srv_path **ret)
{
	bool new_sess = !sess;
	int err;

	if (new_sess && HASH_COUNT(srv->sessions) >= srv->p.max_sessions) {
		log_warn(srv->log, "limit of %u sessions reached",
			 srv->p.max_sessions);
		return limit(srv, RTRS_SRV_REJECT_SESSIONS, -ENOMEM);
	}
	err = check_new_path(srv, sess, req);
	if (!err)
		err = count_path(srv, req);
	if (err)
		return err;
	if (new_sess)
		err = srv_sess_new(srv, &req->msg.sess_uuid, &sess);
	if (!err) {
		err = srv_path_new(sess, req, ret);
		if (err && new_sess)
			srv_work(srv, SRV_WORK_TEARDOWN); /* has no path */
	}
	if (err)
		uncount_path(srv, req);
	return err;
}

/*
 * Whoever connects may keep a path from its INFO_REQ for long, by one more
 * connection now and then. Among those that do, the longest wait ends.
 */
static void
make_room(struct rtrs_srv *srv, const struct srv_path *wanted)
{
	struct srv_path *path, *oldest = NULL;

	if (srv->n_unidentified < srv->p.max_unidentified)
		return;
	DL_FOREACH(srv->paths, path) {
		if (path == wanted || path->info_held ||
		    path->state != RTRS_SRV_CONNECTING)
			continue;
		if (!oldest || path->info_deadline < oldest->info_deadline)
			oldest = path;
	}
	if (oldest)
		srv_path_close(oldest, LOG_LVL_WARNING,
			       "limit of %u connections without INFO_REQ "
			       "reached",
			       srv->p.max_unidentified);
}

/* 0: accepted. PARK: not now. Negative: to be rejected with that. */
static int
admit(struct rtrs_srv *srv, const struct rtrs_conn_request *req)
{
	struct rtrs_srv_sess *sess;
	struct srv_path *path = NULL;
	int err;

	srv->limit_err = 0;
	if (srv->closing)
		return -ECONNRESET;
	sess = srv_sess_find(srv, &req->msg.sess_uuid);
	if (!sess && !req->msg.first_conn)
		return -ENXIO;
	if (sess && sess->going_down)
		return PARK;
	if (sess)
		path = srv_path_find(sess, &req->msg.path_uuid);
	err = path ? check_known_path(path, req)
		   : admit_new_path(srv, sess, req, &path);
	if (err)
		return err;
	make_room(srv, path);
	err = srv_con_accept(path, req->msg.cid, req->conn);
	if (err)
		srv_path_close(path, LOG_LVL_WARNING,
			       "connection %u not accepted: %s", req->msg.cid,
			       strerror(-err));
	return err;
}

uint64_t
rtrs_srv_n_answered(const struct rtrs_srv *srv)
{
	return srv->n_answered;
}

static unsigned
n_parked(const struct rtrs_srv *srv, const struct rtrs_uuid *sess_uuid)
{
	const struct rtrs_conn_request *req;
	unsigned n = 0;

	DL_FOREACH(srv->parked, req)
		n += !memcmp(&req->msg.sess_uuid, sess_uuid,
			     sizeof(*sess_uuid));
	return n;
}

static bool
is_pending(const struct rtrs_conn_request *list,
	   const struct rtrs_uuid *sess_uuid)
{
	const struct rtrs_conn_request *req;

	DL_FOREACH(list, req) {
		if (!memcmp(&req->msg.sess_uuid, sess_uuid, sizeof(*sess_uuid)))
			return true;
	}
	return false;
}

unsigned
rtrs_srv_presence(const struct rtrs_srv *srv, const struct rtrs_uuid *sess_uuid)
{
	unsigned ret = 0;

	if (srv_sess_find(srv, sess_uuid))
		ret |= RTRS_SRV_PRESENT;
	if (is_pending(srv->incoming, sess_uuid) ||
	    is_pending(srv->parked, sess_uuid))
		ret |= RTRS_SRV_PENDING;
	return ret;
}

static void
refuse(struct rtrs_srv *srv, struct rtrs_conn_request *req, int err)
{
	enum rtrs_srv_reject why =
		srv->limit_err == err ? srv->limit : reject_of(err);
	char peer[RTRS_ADDR_TEXT_MAX];

	srv->counts.rejected[why]++;
	rtrs_addr_text(req->ops, &req->addrs.peer, peer);
	srv->n_answered++;
	/* The upper layer has said it already. */
	log_at(srv->log,
	       why == RTRS_SRV_REJECT_UPPER ? LOG_LVL_DEBUG : LOG_LVL_INFO,
	       "%s: connection %u of %u rejected: %s", peer, req->msg.cid,
	       req->msg.cid_num, strerror(-err));
	rtrs_conn_request_reject(req, err);
}

static void
unpark(struct rtrs_srv *srv, struct rtrs_conn_request *req)
{
	DL_DELETE(srv->parked, req);
	srv->n_parked--;
}

/* A newer attempt at the same path makes the parked older ones pointless. */
static void
supersede(struct rtrs_srv *srv, const struct rtrs_conn_request *by)
{
	struct rtrs_conn_request *req, *next;

	DL_FOREACH_SAFE(srv->parked, req, next) {
		if (memcmp(&req->msg.path_uuid, &by->msg.path_uuid,
			   sizeof(by->msg.path_uuid)) ||
		    (int16_t)(by->msg.recon_cnt - req->msg.recon_cnt) <= 0)
			continue;
		unpark(srv, req);
		refuse(srv, req, -ECONNRESET);
	}
}

static void
park(struct rtrs_srv *srv, struct rtrs_conn_request *req)
{
	supersede(srv, req);
	/* A client has one attempt per path under way, no more. */
	if (n_parked(srv, &req->msg.sess_uuid) >= srv->p.max_paths) {
		refuse(srv, req, -EBUSY);
		return;
	}
	if (srv->n_parked >= SRV_MAX_PARKED) {
		log_warn(srv->log, "limit of %u waiting connections reached",
			 SRV_MAX_PARKED);
		refuse(srv, req, -EBUSY);
		return;
	}
	req->expires = time_after_ms(srv->now, SRV_PARK_TIMEOUT_MS);
	srv->parked_due = time_min(srv->parked_due, req->expires);
	DL_APPEND(srv->parked, req);
	srv->n_parked++;
}

static void
accepted(struct rtrs_srv *srv, struct rtrs_conn_request *req)
{
	srv->n_answered++;
	srv->counts.accepted++;
	free(req);
}

/*
 * Takes from the list of new or of parked requests, in order; what must wait
 * ends up in parked.
 */
static void
judge(struct rtrs_srv *srv, bool fresh)
{
	struct rtrs_conn_request *list = fresh ? srv->incoming : srv->parked;
	struct rtrs_conn_request *req, *next;
	int err;

	DL_FOREACH_SAFE(list, req, next) {
		err = admit(srv, req);
		if (err == PARK && !fresh)
			continue;
		if (fresh)
			DL_DELETE(srv->incoming, req);
		else
			unpark(srv, req);
		if (err == PARK) {
			park(srv, req);
		} else if (err) {
			refuse(srv, req, err);
		} else {
			accepted(srv, req);
		}
	}
}

void
srv_admit_run(struct rtrs_srv *srv)
{
	judge(srv, false);
	judge(srv, true);
}

uint64_t
srv_admit_expire(struct rtrs_srv *srv)
{
	struct rtrs_conn_request *req, *next;
	uint64_t t = TIME_NEVER;

	DL_FOREACH_SAFE(srv->parked, req, next) {
		if (srv->now < req->expires) {
			t = time_min(t, req->expires);
			continue;
		}
		unpark(srv, req);
		refuse(srv, req, -EBUSY);
	}
	return t;
}

bool
srv_admit_drop(struct rtrs_srv *srv, const struct fabric_conn *conn)
{
	struct rtrs_conn_request *req;

	DL_SEARCH_SCALAR(srv->parked, req, conn, conn);
	if (req) {
		unpark(srv, req);
	} else {
		DL_SEARCH_SCALAR(srv->incoming, req, conn, conn);
		if (!req)
			return false;
		DL_DELETE(srv->incoming, req);
	}
	req->ops->conn_free(req->conn);
	srv->n_answered++;
	free(req);
	return true;
}
