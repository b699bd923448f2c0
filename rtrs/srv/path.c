/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/srv/srv-priv.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rtrs/base/mutant.h"

static const char *const state_names[] = {
	[RTRS_SRV_CONNECTING] = "CONNECTING",
	[RTRS_SRV_CONNECTED] = "CONNECTED",
	[RTRS_SRV_CLOSING] = "CLOSING",
	[RTRS_SRV_CLOSED] = "CLOSED",
};

/* legal[from]: the states that may follow. */
static const unsigned legal[] = {
	[RTRS_SRV_CONNECTING] = BIT(RTRS_SRV_CONNECTED) | BIT(RTRS_SRV_CLOSING),
	[RTRS_SRV_CONNECTED] = BIT(RTRS_SRV_CLOSING),
	[RTRS_SRV_CLOSING] = BIT(RTRS_SRV_CLOSED),
	[RTRS_SRV_CLOSED] = 0,
};

const char *
rtrs_srv_path_state_name(unsigned state)
{
	return state < ARRAY_SIZE(state_names) ? state_names[state] : "?";
}

bool
srv_path_state_legal(enum rtrs_srv_path_state from, enum rtrs_srv_path_state to)
{
	return (unsigned)from < ARRAY_SIZE(legal) && legal[from] & BIT(to);
}

/* The one place that changes the state. */
static void
set_state(struct srv_path *path, enum rtrs_srv_path_state to)
{
	assert(srv_path_state_legal(path->state, to));
	log_dbg(path->srv->log, "path %s: %s -> %s", path->label,
		rtrs_srv_path_state_name(path->state),
		rtrs_srv_path_state_name(to));
	if (path->state == RTRS_SRV_CONNECTING)
		path->srv->n_unidentified -= path->n_cons;
	path->state = to;
}

struct srv_path *
srv_path_find(struct rtrs_srv_sess *sess, const struct rtrs_uuid *uuid)
{
	struct srv_path *path;

	HASH_FIND(hh, sess->paths, uuid, sizeof(*uuid), path);
	return path;
}

int
srv_path_new(struct rtrs_srv_sess *sess, const struct rtrs_conn_request *req,
	     struct srv_path **ret)
{
	unsigned caps = req->ops->conn_caps(req->conn);
	struct rtrs_srv *srv = sess->srv;
	struct srv_path *path;

	path = calloc(1, sizeof(*path));
	if (!path)
		return -ENOMEM;
	path->cons = calloc(req->msg.cid_num, sizeof(*path->cons));
	if (!path->cons)
		goto err_free;
	path->srv = srv;
	path->sess = sess;
	path->ctx = req->ctx;
	path->uuid = req->msg.path_uuid;
	path->state = RTRS_SRV_CONNECTING;
	path->drain_deadline = TIME_NEVER;
	path->cid_num = req->msg.cid_num;
	path->recon_cnt = req->msg.recon_cnt;
	path->new_rkey = srv->p.always_invalidate && caps & FABRIC_CAP_MW_PD;
	path->shared_recv = caps & FABRIC_CAP_SHARED_RECV;
	path->addrs = req->addrs;
	rtrs_addr_text(req->ops, &path->addrs.peer, path->label);
	rtrs_hb_init(&path->hb, srv->p.hb_interval_ms, srv->p.hb_missed_max);
	if (dues_reserve(&srv->dues, srv->n_paths + 1) < 0)
		goto err_cons;
	HASH_ADD(hh, sess->paths, uuid, sizeof(path->uuid), path);
	if (!path->hh.tbl)
		goto err_cons;
	/* Mapped when the path comes up, promised now. */
	path->chunk_mem = (size_t)srv->p.queue_depth * srv->p.chunk_size;
	srv->chunk_mem += path->chunk_mem;
	DL_APPEND(srv->paths, path);
	srv->n_paths++;
	*ret = path;
	return 0;

err_cons:
	free(path->cons);
err_free:
	free(path);
	return -ENOMEM;
}

void
srv_path_close(struct srv_path *path, enum log_level level, const char *fmt,
	       ...)
{
	const struct fabric_ops *ops = path->ctx->ops;
	struct rtrs_srv_sess *sess = path->sess;
	bool was_connected = path->state == RTRS_SRV_CONNECTED;
	char why[128];
	va_list ap;

	if (path->state >= RTRS_SRV_CLOSING)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (sess->name[0])
		log_at(path->srv->log, level,
		       "path %s of session '%s' closes: %s", path->label,
		       sess->name, why);
	else
		log_at(path->srv->log, level, "path %s closes: %s", path->label,
		       why);
	set_state(path, RTRS_SRV_CLOSING);
	rtrs_hb_stop(&path->hb);
	for (unsigned i = 0; i < path->cid_num; i++)
		if (path->cons[i] && !path->cons[i]->closed)
			ops->disconnect(path->cons[i]->conn);
	srv_ops_drop(path);
	path->info_held = false;
	if (was_connected) {
		sess->n_connected--;
		srv_sess_path_left(sess);
	}
	srv_work(path->srv, SRV_WORK_TEARDOWN);
}

void
srv_path_drain(struct srv_path *path)
{
	struct rtrs_srv *srv = path->srv;

	if (path->state != RTRS_SRV_CONNECTED || !path->n_running) {
		srv_path_close(path, LOG_LVL_INFO, "server closes");
		return;
	}
	path->draining = true;
	path->drain_deadline = time_after_ms(srv->now, SRV_DRAIN_TIMEOUT_MS);
	srv_path_due(path, path->drain_deadline);
}

static bool
all_connected(const struct srv_path *path)
{
	return path->n_cons == path->cid_num;
}

static void
no_chunks(struct srv_path *path, int err)
{
	const char *why = path->ctx->ops->pd_why(path->pd);

	srv_path_close(path, LOG_LVL_ERROR, "no chunks: %s",
		       why ? why : strerror(-err));
}

/* The session is not going down: the path can come up. */
static void
bring_up(struct srv_path *path)
{
	struct rtrs_srv *srv = path->srv;
	int err;

	path->info_held = false;
	err = srv_sess_path_up(path->sess, path);
	if (err) {
		srv->counts.names_refused += err == -EPERM;
		srv_path_close(
			path, err == -EACCES ? LOG_LVL_DEBUG : LOG_LVL_WARNING,
			"session '%s' refused: %s", path->info.name,
			err == -EPERM ? "the name is in use" : strerror(-err));
		return;
	}
	set_state(path, RTRS_SRV_CONNECTED);
	srv->counts.paths_up++;
	rtrs_hb_start(&path->hb, srv->now);
	srv_path_due(path, rtrs_hb_deadline(&path->hb));
	log_info(srv->log, "path %s of session '%s': up, %u connections",
		 path->label, path->sess->name, path->n_cons);
	err = srv_ops_init(path);
	if (!err)
		err = srv_chunks_init(path);
	if (!err)
		err = srv_chunks_announce(path);
	if (err == -ENOTCONN)
		srv_con_post_failed(path->cons[0], "INFO_RSP", err);
	else if (err)
		no_chunks(path, err);
}

void
srv_path_info(struct srv_path *path)
{
	/* There was one receive for it. */
	assert(path->state == RTRS_SRV_CONNECTING);
	if (!all_connected(path)) {
		srv_path_close(path, LOG_LVL_WARNING,
			       "INFO_REQ with %u of %u connections",
			       path->n_cons, path->cid_num);
		return;
	}
	if (path->sess->going_down)
		path->info_held = true;
	else
		bring_up(path);
}

static void
path_free(struct srv_path *path)
{
	struct rtrs_srv *srv = path->srv;

	set_state(path, RTRS_SRV_CLOSED);
	srv_chunks_free(path);
	HASH_DEL(path->sess->paths, path);
	DL_DELETE(srv->paths, path);
	srv->n_paths--;
	dues_set(&srv->dues, &path->due, TIME_NEVER);
	srv->chunk_mem -= path->chunk_mem;
	for (unsigned i = 0; i < path->cid_num; i++)
		free(path->cons[i]);
	free(path->cons);
	free(path->ops);
	if (srv->p.path_gone)
		srv->p.path_gone(srv->p.user, &path->sess->uuid, &path->uuid);
	free(path);
	srv_work(srv, SRV_WORK_TEARDOWN | SRV_WORK_ADMIT);
}

static void
free_closed_conns(struct srv_path *path)
{
	const struct fabric_ops *ops = path->ctx->ops;

	for (unsigned i = 0; i < path->cid_num; i++) {
		struct srv_con *con = path->cons[i];

		if (!con || !con->conn || !(con->closed || path->given_up))
			continue;
		ops->conn_free(con->conn);
		con->conn = NULL;
		if (!con->closed)
			path->n_open--;
		con->closed = true;
	}
}

void
srv_path_advance(struct srv_path *path)
{
	const struct fabric_ops *ops = path->ctx->ops;

	if (path->info_held && !path->sess->going_down)
		bring_up(path);
	/* Answers that have no room to leave are not waited for: the peer
	 * decides when it reads. */
	if (path->draining && !path->n_running)
		srv_path_close(path, LOG_LVL_INFO, "server closes");
	if (path->state != RTRS_SRV_CLOSING)
		return;
	if (path->n_running && !path->said_lost) {
		path->said_lost = true;
		if (path->srv->p.requests_lost)
			path->srv->p.requests_lost(path->sess->user);
	}
	free_closed_conns(path);
	if (path->n_open)
		return;
	/* No connection is left that could write: take the keys away. */
	srv_chunks_unregister(path);
	if (path->info_mr) {
		ops->mr_dereg(path->info_mr);
		path->info_mr = NULL;
	}
	if (path->pd) {
		ops->pd_unref(path->pd);
		path->pd = NULL;
	}
	/* The memory stays as long as anything executes on it. */
	if (!path->n_running || RNBD_MUTANT(CHUNKS_EARLY))
		path_free(path);
}

void
srv_path_due(struct srv_path *path, uint64_t t)
{
	if (!path->due.pos || t < path->due.at)
		dues_set(&path->srv->dues, &path->due, t);
}

uint64_t
srv_path_timer(struct srv_path *path)
{
	switch (path->state) {
	case RTRS_SRV_CONNECTING:
		if (path->info_held)
			break;
		if (path->srv->now >= path->info_deadline) {
			srv_path_close(path, LOG_LVL_WARNING,
				       "no INFO_REQ in time");
			break;
		}
		return path->info_deadline;
	case RTRS_SRV_CONNECTED:
		if (path->srv->now >= path->drain_deadline) {
			srv_path_close(path, LOG_LVL_WARNING,
				       "server closes, %u requests are not "
				       "answered yet",
				       path->n_running);
			break;
		}
		switch (rtrs_hb_tick(&path->hb, path->srv->now)) {
		case RTRS_HB_NONE:
			break;
		case RTRS_HB_SEND:
			srv_con_send_hb_msg(path->cons[0]);
			break;
		case RTRS_HB_DEAD:
			path->srv->counts.hb_timeouts++;
			srv_path_close(path, LOG_LVL_WARNING,
				       "heartbeat timed out");
			break;
		}
		/* NEVER if it was closed just now. */
		if (path->state != RTRS_SRV_CONNECTED)
			break;
		return time_min(rtrs_hb_deadline(&path->hb),
				path->drain_deadline);
	case RTRS_SRV_CLOSING:
	case RTRS_SRV_CLOSED:
		break;
	}
	return TIME_NEVER;
}
