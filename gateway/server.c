/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RTRS callbacks to RNBD messages: the life of sessions and requests. What a
 * message does is in session.c (devices), session-allow.c (who may have them)
 * and io.c (data).
 */
#include "gateway/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "gateway/access.h"
#include "gateway/backend/uring.h"
#include "gateway/session.h"
#include "rtrs/base/mutant.h"

/* ------------------------------------------------------------- requests */

static struct gw_req *
req_get(struct gw_sess *sess, struct rtrs_srv_op *op)
{
	struct gw_req *req = sess->free_reqs;

	if (req)
		sess->free_reqs = req->next;
	else if (sess->n_reqs_touched < sess->n_reqs)
		req = &sess->reqs[sess->n_reqs_touched++];
	else
		return NULL;
	req->op = op;
	req->sess = sess;
	req->next = NULL;
	req->dev = NULL;
	req->seq = ++sess->last_seq;
	sess->n_reqs_used++;
	return req;
}

static void answer_sess_info(struct gw_req *req);

static bool
older_runs(const struct gw_sess *sess, uint64_t seq)
{
	for (unsigned i = 0; i < sess->n_reqs_touched; i++)
		if (sess->reqs[i].seq && sess->reqs[i].seq < seq)
			return true;
	return false;
}

/* Answers each SESS_INFO that has nothing older to wait for any more. */
static void
pass_fences(struct gw_sess *sess)
{
	struct gw_req *req;

	sess->passing = true;
	while ((req = sess->fences) &&
	       (!older_runs(sess, req->seq) || RNBD_MUTANT(FENCE_OPEN))) {
		LL_DELETE(sess->fences, req);
		answer_sess_info(req);
	}
	sess->passing = false;
}

void
gw_req_done(struct gw_req *req, int err)
{
	struct gw_sess *sess = req->sess;
	struct rtrs_srv_op *op = req->op;

	if (err < 0 && !req->dev)
		sess->srv->stats.message_errors++;
	req->op = NULL;
	req->seq = 0;
	req->next = sess->free_reqs;
	sess->free_reqs = req;
	sess->n_reqs_used--;
	rtrs_srv_op_done(op, err);
	if (unlikely(sess->fences) && !sess->passing)
		pass_fences(sess);
}

/* ------------------------------------------------------------- messages */

/*
 * Room for an answer of n bytes. The peer gets as many bytes as it asked for,
 * so what is behind the answer is cleared.
 */
static uint8_t *
answer_room(struct rtrs_srv_op *op, size_t n)
{
	if (op->dir != RTRS_READ || op->data_len < n)
		return NULL;
	memset(op->data, 0, op->data_len);
	return op->data;
}

static void
answer_sess_info(struct gw_req *req)
{
	struct rtrs_srv_op *op = req->op;
	const struct rnbd_msg_sess_info m = {.ver = req->sess->ver};

	rnbd_msg_sess_info_encode(&m, true, op->data);
	gw_req_done(req, 0);
}

/*
 * A client says SESS_INFO after it lost all its paths, and before it sends
 * again what it lost with them. If a path came back before another one was
 * gone for us, the session never went down, and requests of the lost path may
 * still execute: the answer waits for them, so that none of them can overtake
 * what the client sends next.
 */
static void
on_sess_info(struct gw_req *req)
{
	struct rtrs_srv_op *op = req->op;
	struct gw_sess *sess = req->sess;
	struct rnbd_msg_sess_info m;

	if (!answer_room(op, RNBD_SESS_INFO_LEN) ||
	    rnbd_msg_sess_info_decode(op->usr, op->usr_len, false, &m) < 0) {
		gw_req_done(req, -EINVAL);
		return;
	}
	sess->ver = m.ver > RNBD_PROTO_VER_MAJOR ? RNBD_PROTO_VER_MAJOR : m.ver;
	/* What only waits for its turn need not run before it is sent again. */
	gw_throttled_drop_sess(sess, false);
	LL_APPEND(sess->fences, req);
	if (!sess->passing)
		pass_fences(sess);
}

static void
on_open(struct gw_req *req)
{
	struct rtrs_srv_op *op = req->op;
	struct rnbd_msg_open m;

	if (!answer_room(op, RNBD_OPEN_RSP_LEN) ||
	    rnbd_msg_open_decode(op->usr, op->usr_len, &m) < 0) {
		req->sess->srv->stats.open_errors++;
		strcpy(req->sess->explain, "malformed OPEN");
		gw_req_done(req, -EINVAL);
		return;
	}
	gw_sess_open_dev(req, &m);
}

static void
on_io(struct gw_req *req)
{
	struct rnbd_msg_io m;

	if (rnbd_msg_io_decode(req->op->usr, req->op->usr_len, &m) < 0)
		gw_req_done(req, -EINVAL);
	else
		gw_io_start(req, &m);
}

static void
on_close(struct gw_req *req)
{
	struct rtrs_srv_op *op = req->op;
	struct rnbd_msg_close m;

	if (op->data_len || rnbd_msg_close_decode(op->usr, op->usr_len, &m) < 0)
		gw_req_done(req, -EINVAL);
	else
		gw_sess_close_dev(req, m.device_id);
}

static void
on_explain(struct gw_req *req)
{
	uint8_t *buf = answer_room(req->op, RNBD_EXPLAIN_RSP_LEN);

	if (!buf) {
		gw_req_done(req, -EINVAL);
		return;
	}
	rnbd_msg_explain_rsp_encode(req->sess->explain, buf);
	gw_req_done(req, 0);
}

static void
dispatch(struct gw_req *req)
{
	struct rtrs_srv_op *op = req->op;
	uint16_t type;

	if (rnbd_msg_type_decode(op->usr, op->usr_len, &type) < 0) {
		gw_req_done(req, -EINVAL);
		return;
	}
	switch (type) {
	case RNBD_MSG_IO:
		on_io(req);
		break;
	case RNBD_MSG_SESS_INFO:
		on_sess_info(req);
		break;
	case RNBD_MSG_OPEN:
		on_open(req);
		break;
	case RNBD_MSG_CLOSE:
		on_close(req);
		break;
	case RNBD_MSG_EXPLAIN:
		on_explain(req);
		break;
	default:
		log_warn(req->sess->srv->log,
			 "session '%s': message of unknown type %u refused",
			 req->sess->name, type);
		gw_req_done(req, -EINVAL);
	}
}

static void
on_request(void *sess_user, struct rtrs_srv_op *op)
{
	struct gw_sess *sess = sess_user;
	struct gw_req *req = req_get(sess, op);

	if (!req) {
		/* More than queue_depth at once: RTRS does not let it happen;
		 * if it did, one request would fail. */
		rtrs_srv_op_done(op, -ENOMEM);
		return;
	}
	gw_sess_enter(sess);
	dispatch(req);
	gw_sess_leave(sess);
}

/* ------------------------------------------------------------- sessions */

static int
on_path_new(void *user, const struct rtrs_srv_new_path *np)
{
	const struct gw_charge c = {
		.sess_uuid = np->sess_uuid,
		.path_uuid = np->path_uuid,
		.n_cons = np->n_cons,
		.memory = np->chunk_mem,
	};
	struct gw_server *s = user;

	return gw_access_charge(s->p.access, &np->addrs->peer, &c);
}

static void
on_path_gone(void *user, const struct rtrs_uuid *sess_uuid,
	     const struct rtrs_uuid *path_uuid)
{
	struct gw_server *s = user;

	gw_access_discharge(s->p.access, sess_uuid, path_uuid);
}

static int
on_sess_up(void *user, struct rtrs_srv_sess *rtrs, const char *name,
	   const struct fabric_addrs *addrs, void **ret_sess_user)
{
	struct gw_server *s = user;
	struct gw_sess *sess = *ret_sess_user;
	char unused[GW_TEXT_MAX]; /* INFO has no room for words */
	int r;

	/* A further path: the name is that of the session. */
	if (sess && strcmp(sess->name, name))
		return -EINVAL;
	r = gw_access_check_session(s->p.access, &addrs->peer, name, unused);
	if (!r && sess)
		r = gw_sess_check_path(sess, &addrs->peer);
	if (r < 0 || sess)
		return r;

	r = gw_exports_name_claim(s->p.exports, name);
	if (r < 0)
		return r;
	sess = calloc(1, sizeof(*sess) + s->queue_depth * sizeof(*sess->reqs));
	if (!sess) {
		gw_exports_name_release(s->p.exports, name);
		return -ENOMEM;
	}
	sess->srv = s;
	sess->rtrs = rtrs;
	snprintf(sess->name, sizeof(sess->name), "%s", name);
	sess->n_reqs = s->queue_depth;
	/* Half of the numbers are left to count up. */
	sess->next_id = rng_u32(&s->p.rtrs.rng) >> 1;
	DL_APPEND(s->sessions, sess);
	s->stats.sessions++;
	*ret_sess_user = sess;
	return 0;
}

static void
on_sess_down(void *sess_user, struct rtrs_srv_sess *rtrs)
{
	struct gw_sess *sess = sess_user;

	gw_sess_enter(sess);
	sess->down = true;
	gw_sess_close_all(sess);
	gw_sess_leave(sess);
}

static void
on_requests_lost(void *sess_user)
{
	struct gw_sess *sess = sess_user;
	struct sockaddr_storage peer;

	gw_sess_enter(sess);
	gw_throttled_drop_sess(sess, true);
	/* The session ends when they have: nobody is to wait for an NBD server
	 * that is away. */
	if (!rtrs_srv_sess_peers(sess->rtrs, &peer, 1))
		gw_sess_close_all(sess);
	gw_sess_leave(sess);
}

static void
on_answer_fate(void *sess_user, const struct rtrs_srv_op *op, bool told)
{
	gw_io_answer_fate(sess_user, op, told);
}

void
gw_sess_leave(struct gw_sess *sess)
{
	struct gw_server *s = sess->srv;
	struct rtrs_srv_sess *rtrs = sess->rtrs;

	sess->entered--;
	if (!sess->down || sess->entered || sess->devs || sess->n_reqs_used)
		return;
	DL_DELETE(s->sessions, sess);
	s->stats.sessions--;
	/* The name first: the client may be back under it at once. */
	gw_exports_name_release(s->p.exports, sess->name);
	free(sess);
	rtrs_srv_sess_down_done(rtrs);
}

static void
on_sess_gone(void *user, const struct rtrs_uuid *sess_uuid)
{
	struct gw_server *s = user;

	if (s->p.sess_gone)
		s->p.sess_gone(s->p.user, sess_uuid);
}

/* --------------------------------------------------------------- server */

int
gw_server_new(const struct gw_server_params *p, struct gw_server **ret)
{
	struct gw_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->p = *p;
	s->p.rtrs.user = s;
	s->p.rtrs.path_new = on_path_new;
	s->p.rtrs.path_gone = on_path_gone;
	s->p.rtrs.sess_up = on_sess_up;
	s->p.rtrs.sess_down = on_sess_down;
	s->p.rtrs.request = on_request;
	s->p.rtrs.requests_lost = on_requests_lost;
	s->p.rtrs.answer_fate = on_answer_fate;
	s->p.rtrs.sess_gone = on_sess_gone;
	s->log = p->rtrs.log;
	s->queue_depth = p->rtrs.queue_depth ? p->rtrs.queue_depth
					     : RTRS_SRV_QUEUE_DEPTH;
	r = gw_stats_init(&s->measured);
	if (!r)
		r = rtrs_srv_new(&s->p.rtrs, &s->rtrs);
	if (r < 0) {
		gw_stats_deinit(&s->measured);
		free(s);
		return r;
	}
	s->max_io_size = rtrs_srv_max_io_size(s->rtrs);
	*ret = s;
	return 0;
}

void
gw_server_free(struct gw_server *s)
{
	if (!s)
		return;
	rtrs_srv_free(s->rtrs);
	dues_free(&s->due);
	gw_stats_deinit(&s->measured);
	free(s);
}

struct rtrs_srv *
gw_server_rtrs(struct gw_server *s)
{
	return s->rtrs;
}

void
gw_server_progress(struct gw_server *s, uint64_t now)
{
	rtrs_srv_progress(s->rtrs, now);
	gw_throttled_run(s);
	gw_server_kick(s);
}

uint64_t
gw_server_deadline(const struct gw_server *s)
{
	if (s->drained)
		return 0;
	return time_min(rtrs_srv_deadline(s->rtrs), dues_first_at(&s->due));
}

/* May a path that is up not stay? */
static bool
is_refused(void *user, const struct rtrs_srv_path_info *info)
{
	const struct gw_server *s = user;

	return info->state == RTRS_SRV_CONNECTED &&
	       !gw_access_allows_session(s->p.access, &info->addrs.peer,
					 info->sess_name);
}

void
gw_server_recheck(struct gw_server *s)
{
	struct gw_sess *sess, *next;

	/* Paths first: those that stay must be allowed what is open. */
	rtrs_srv_close_paths(s->rtrs, is_refused, s);
	DL_FOREACH_SAFE(s->sessions, sess, next) {
		gw_sess_enter(sess);
		gw_sess_recheck(sess);
		gw_sess_leave(sess);
	}
}

int
gw_server_close_device(struct gw_server *s, const char *sess_name,
		       const char *dev_name)
{
	struct gw_sess *sess;
	struct gw_device *dev = NULL;

	DL_FOREACH(s->sessions, sess) {
		if (!strcmp(sess->name, sess_name)) {
			dev = gw_sess_find_name(sess, dev_name);
			break;
		}
	}
	if (!dev)
		return -ENOENT;
	gw_sess_enter(sess);
	gw_device_revoke(dev, "closed on request");
	gw_sess_leave(sess);
	return 0;
}

void
gw_server_kick(struct gw_server *s)
{
	struct gw_device *dev;

	/* A backend may complete from kick(), and what completes may queue
	 * again: take one at a time. */
	while ((dev = s->kick)) {
		DL_DELETE2(s->kick, dev, kick_prev, kick_next);
		dev->kick_queued = false;
		dev->backend->ops->kick(dev->backend);
	}
	while ((dev = s->drained)) {
		s->drained = dev->drained_next;
		gw_device_start_close(dev);
	}
	if (s->p.io)
		gw_io_engine_submit(s->p.io);
	gw_stats_stamp(s);
}

void
gw_server_stats(const struct gw_server *s, struct gw_server_stats *ret)
{
	*ret = s->stats;
}

void
gw_server_for_each_device(struct gw_server *s,
			  void (*fn)(void *user,
				     const struct gw_device_info *info),
			  void *user)
{
	struct gw_sess *sess;
	struct gw_device *dev;

	gw_stats_stamp(s);
	DL_FOREACH(s->sessions, sess) {
		DL_FOREACH(sess->devs, dev) {
			struct gw_device_info info = {
				.sess_name = sess->name,
				.dev_name = dev->name,
				.device_id = dev->id,
				.access_mode = dev->access_mode,
				.inflight = dev->inflight,
				.throttled = dev->n_throttled,
				.latency = dev->latency,
			};

			if (dev->state != GW_DEV_OPEN)
				continue;
			info.export_name = gw_export_name(dev->opened.export);
			info.size_bytes = dev->backend->geo.size_bytes;
			memcpy(info.op, dev->stats, sizeof(info.op));
			fn(user, &info);
		}
	}
}
