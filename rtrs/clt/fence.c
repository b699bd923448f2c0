/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A path was lost with requests out. What the server has not received yet, or
 * not read yet, or not done yet, it may still execute, long after the same
 * requests were sent again on another path and overwritten by others. So the
 * path is "unfenced", and its requests are not sent again, until one of these:
 *
 *   - the path itself is connected again: a server accepts connection 0 of a
 *     path only when it has nothing left of the former one;
 *   - the server says by another path that it has nothing left of this one;
 *   - params.quiesce_ms are over.
 *
 * That both ends closed all its connections is not enough: nothing more begins,
 * but a kernel server disconnects first, and waits for its disk then.
 *
 * The second needs no message of its own. A connection request for the lost
 * path with a larger recon_cnt, sent along the route of a path that is up,
 * tells the server that the lost one is given up: rnbd-gatewayd closes it and
 * answers when it is gone, a kernel server refuses while it still has it
 * (-ECONNRESET) and is asked again. When it is gone the request is one for a
 * second path with the same two addresses, which is refused with -EEXIST: that
 * is the answer.
 *
 * An attempt of the path itself may be under way meanwhile, and the request
 * must not end that one too: its number is between those of the lost path and
 * of the attempt.
 */
#include "rtrs/clt/clt.h"

#include <errno.h>

#include "proto/wire-errno.h"

/* A path that is going down in order gets this long to do so. */
#define GRACE_MS 100
#define RETRY_MS 250

static void
end_probe(struct rtrs_clt_path *path)
{
	struct clt_con *con = &path->fence;

	if (con->conn)
		path->fence_fab->ops->conn_free(con->conn);
	con->conn = NULL;
	con->state = CLT_CON_NONE;
}

void
clt_fence_raise(struct rtrs_clt_path *path)
{
	const struct rtrs_clt *clt = path->clt;

	path->unfenced = true;
	path->asked = false;
	path->fence_at = time_after_ms(clt->now, GRACE_MS);
	path->quiesce = time_after_ms(clt->now, clt->p.quiesce_ms);
}

void
clt_fence_hurry(struct rtrs_clt_path *path)
{
	/* The last one goes by command, and none is left to ask by. */
	if (path->removing && path->clt->n_paths == 1) {
		clt_fence_passed(path);
		return;
	}
	if (!path->asked)
		path->fence_at = path->clt->now;
	path->asked = true;
}

void
clt_fence_passed(struct rtrs_clt_path *path)
{
	if (!path->unfenced)
		return;
	end_probe(path);
	path->unfenced = false;
	path->clt->kick = true;
}

void
clt_fence_drop(struct rtrs_clt_path *path)
{
	end_probe(path);
	path->unfenced = false;
}

bool
clt_fence_is_proof(int err)
{
	/* Another path has these addresses, and not this uuid; the session is
	 * not known at all; what is left has been closed, and still executes,
	 * which the server waits for where it matters. */
	return err == -EEXIST || err == -ENXIO || err == -EBUSY;
}

/* A path whose route leads to the server now. */
static const struct rtrs_clt_path *
find_route(const struct rtrs_clt_path *path)
{
	const struct rtrs_clt *clt = path->clt;

	for (unsigned i = 0; i < clt->n_paths; i++)
		if (clt->paths[i] != path &&
		    clt->paths[i]->state == RTRS_CLT_CONNECTED)
			return clt->paths[i];
	return NULL;
}

static void
retry_later(struct rtrs_clt_path *path)
{
	end_probe(path);
	path->fence_at = time_after_ms(path->clt->now, RETRY_MS);
}

uint16_t
clt_fence_attempt_cnt(const struct rtrs_clt_path *path)
{
	return (uint16_t)(path->recon_cnt + (path->unfenced ? 2 : 1));
}

static uint16_t
probe_cnt(struct rtrs_clt_path *path)
{
	if (path->state == RTRS_CLT_CONNECTING)
		return (uint16_t)(path->recon_cnt - 1);
	return ++path->recon_cnt;
}

static void
probe(struct rtrs_clt_path *path, const struct rtrs_clt_path *route)
{
	struct rtrs_clt *clt = path->clt;
	const struct rtrs_msg_conn_req m = {
		.version = RTRS_PROTO_VER,
		.cid = 0,
		.cid_num = (uint16_t)path->n_cons,
		.recon_cnt = probe_cnt(path),
		.path_uuid = path->uuid,
		.sess_uuid = clt->uuid,
		.first_conn = false,
	};
	uint8_t priv[RTRS_CONN_REQ_LEN];
	struct fabric_conn_params p = {
		.user = &path->fence,
		.priv = priv,
		.priv_len = sizeof(priv),
		.dst = (const struct sockaddr *)&route->addr.dst,
		.dst_len = route->addr.dst_len,
		.max_send_wr = 1,
		.max_recv_wr = 1,
	};
	char addr[RTRS_ADDR_TEXT_MAX];

	rtrs_msg_conn_req_encode(&m, priv);
	if (route->addr.src_len) {
		p.src = (const struct sockaddr *)&route->addr.src;
		p.src_len = route->addr.src_len;
	}
	log_dbg(clt->log,
		"session %s: path %s: asks the server whether it is gone",
		clt->name, clt_addr_words(path, addr));
	path->asked = true;
	path->fence_fab = route->fab;
	if (route->fab->ops->connect(route->fab->ctx, &p, &path->fence.conn)) {
		path->fence.conn = NULL;
		retry_later(path);
		return;
	}
	path->fence.state = CLT_CON_CONNECTING;
	path->fence_at = time_after_ms(clt->now, clt->p.connect_timeout_ms);
}

void
clt_fence_event(struct clt_con *con, const struct fabric_event *ev)
{
	struct rtrs_clt_path *path = con->path;
	struct rtrs_msg_conn_rsp rsp;

	/* Freed ones report nothing, so this is about the present one. */
	switch (ev->type) {
	case FABRIC_EV_ESTABLISHED:
		/* The path whose route it took is gone there as well. */
		clt_fence_passed(path);
		break;
	case FABRIC_EV_REJECTED:
		if (!rtrs_msg_conn_rsp_decode(ev->priv, ev->priv_len, &rsp) &&
		    clt_fence_is_proof(wire_errno_to_host(rsp.err)))
			clt_fence_passed(path);
		else
			retry_later(path);
		break;
	default:
		retry_later(path);
		break;
	}
}

/* When there is something to do: a probe, or the end of the present one. */
static uint64_t
next_at(const struct rtrs_clt_path *path)
{
	uint64_t to_connect =
		path->clt->p.connect_timeout_ms * (uint64_t)NSEC_PER_MSEC;
	uint64_t t;

	if (path->state != RTRS_CLT_CONNECTING || path->fence.conn)
		return path->fence_at;
	/* Its own attempt may be about to say the same. */
	t = time_after_ms(path->timer - to_connect, GRACE_MS);
	return t > path->fence_at ? t : path->fence_at;
}

void
clt_fence_timers(struct rtrs_clt_path *path)
{
	const struct rtrs_clt_path *route;
	struct rtrs_clt *clt = path->clt;
	char addr[RTRS_ADDR_TEXT_MAX];

	if (!path->unfenced)
		return;
	if (clt->now >= path->quiesce) {
		log_warn(clt->log,
			 "session %s: path %s: nothing confirms that the "
			 "server has given it up; goes on after %u ms",
			 clt->name, clt_addr_words(path, addr),
			 clt->p.quiesce_ms);
		clt_fence_passed(path);
		return;
	}
	if (clt->now < next_at(path))
		return;
	if (path->fence.conn) {
		retry_later(path);
		return;
	}
	route = find_route(path);
	if (route)
		probe(path, route);
}

uint64_t
clt_fence_deadline(const struct rtrs_clt_path *path)
{
	if (!path->unfenced)
		return TIME_NEVER;
	if (!path->fence.conn && !find_route(path))
		return path->quiesce;
	return time_min(path->quiesce, next_at(path));
}
