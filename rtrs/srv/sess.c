/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/srv/srv-priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct rtrs_srv_sess *
srv_sess_find(const struct rtrs_srv *srv, const struct rtrs_uuid *uuid)
{
	struct rtrs_srv_sess *sess;

	HASH_FIND(hh, srv->sessions, uuid, sizeof(*uuid), sess);
	return sess;
}

int
srv_sess_new(struct rtrs_srv *srv, const struct rtrs_uuid *uuid,
	     struct rtrs_srv_sess **ret)
{
	struct rtrs_srv_sess *sess;

	sess = calloc(1, sizeof(*sess));
	if (!sess)
		return -ENOMEM;
	sess->srv = srv;
	sess->uuid = *uuid;
	HASH_ADD(hh, srv->sessions, uuid, sizeof(sess->uuid), sess);
	if (!sess->hh.tbl) {
		free(sess);
		return -ENOMEM;
	}
	*ret = sess;
	return 0;
}

int
srv_sess_path_up(struct rtrs_srv_sess *sess, struct srv_path *path)
{
	struct rtrs_srv *srv = sess->srv;
	void *user = sess->user;
	int err;

	assert(!sess->going_down);
	if (!sess->slots) {
		sess->slots =
			calloc(srv->p.queue_depth, sizeof(struct srv_op *));
		if (!sess->slots)
			return -ENOMEM;
	}
	if (!sess->up)
		memcpy(sess->name, path->info.name, sizeof(sess->name));
	err = srv->p.sess_up(srv->p.user, sess, path->info.name, &path->addrs,
			     &user);
	if (err) {
		if (!sess->up)
			sess->name[0] = '\0';
		return err;
	}
	if (!sess->up) {
		sess->up = true;
		sess->user = user;
		log_info(srv->log, "session '%s': up", sess->name);
	}
	/* The callback may have closed the path. */
	if (path->state != RTRS_SRV_CONNECTING) {
		srv_sess_path_left(sess);
		return -ECONNRESET;
	}
	sess->n_connected++;
	return 0;
}

void
srv_sess_path_left(struct rtrs_srv_sess *sess)
{
	assert(sess->up);
	if (sess->n_connected || sess->going_down)
		return;
	sess->going_down = true;
	srv_work(sess->srv, SRV_WORK_TEARDOWN);
}

void
srv_sess_wake(struct rtrs_srv_sess *sess)
{
	struct rtrs_srv *srv = sess->srv;

	if (sess->wake)
		return;
	sess->wake = true;
	DL_APPEND2(srv->waking, sess, wake_prev, wake_next);
	srv_work(srv, SRV_WORK_WAKE);
}

void
srv_sess_forget_wake(struct rtrs_srv_sess *sess)
{
	if (!sess->wake)
		return;
	sess->wake = false;
	DL_DELETE2(sess->srv->waking, sess, wake_prev, wake_next);
}

void
rtrs_srv_sess_down_done(struct rtrs_srv_sess *sess)
{
	assert(sess->down_called);
	log_info(sess->srv->log, "session '%s': down", sess->name);
	sess->up = false;
	sess->going_down = false;
	sess->down_called = false;
	sess->user = NULL;
	sess->name[0] = '\0';
	srv_work(sess->srv, SRV_WORK_TEARDOWN);
}

void
srv_sess_advance(struct rtrs_srv_sess *sess)
{
	struct rtrs_srv *srv = sess->srv;
	struct rtrs_uuid uuid = sess->uuid;

	/* Only when the last request is answered: what the upper layer closes
	 * now is not in use any more. */
	if (sess->going_down && !sess->down_called && !sess->n_running) {
		sess->down_called = true;
		srv->p.sess_down(sess->user, sess);
	}
	if (sess->up || sess->paths)
		return;
	srv_sess_forget_wake(sess);
	HASH_DEL(srv->sessions, sess);
	free(sess->slots);
	free(sess);
	if (srv->p.sess_gone)
		srv->p.sess_gone(srv->p.user, &uuid);
	srv_work(srv, SRV_WORK_ADMIT);
}

unsigned
rtrs_srv_sess_peers(const struct rtrs_srv_sess *sess,
		    struct sockaddr_storage *ret, unsigned max)
{
	const struct srv_path *path;
	unsigned n = 0;

	for (path = sess->paths; path && n < max; path = path->hh.next)
		if (path->state == RTRS_SRV_CONNECTED)
			ret[n++] = path->addrs.peer;
	return n;
}

const char *
rtrs_srv_sess_name(const struct rtrs_srv_sess *sess)
{
	return sess->name;
}

void
rtrs_srv_sess_close(struct rtrs_srv_sess *sess)
{
	struct srv_path *path;

	for (path = sess->paths; path; path = path->hh.next)
		srv_path_close(path, LOG_LVL_INFO, "closed on request");
}
