/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The set of paths of a session, and the commands that change it while it
 * runs. A command only sets states, like everything else that goes wrong or
 * right; clt_paths_settle() tells its end from within progress(), and is the
 * only place where a path leaves the set.
 */
#include "rtrs/clt/clt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The context of a fabric, made when the first path asks for it. */
static int
get_fab(struct rtrs_clt *clt, const struct fabric_ops *ops,
	struct clt_fab **ret)
{
	const struct fabric_ctx_params cp = {
		.rng = clt->rng,
		.log = clt->log,
		.now = clt->now,
		.connect_timeout_ms = clt->p.connect_timeout_ms,
		.peer_timeout_ms = clt->p.peer_timeout_ms,
		.priv = clt->p.fabric_priv,
	};
	struct clt_fab *fab;
	int r;

	for (unsigned i = 0; i < clt->n_fabs; i++) {
		if (clt->fabs[i].ops == ops) {
			*ret = &clt->fabs[i];
			return 0;
		}
	}
	if (clt->n_fabs == CLT_MAX_FABS)
		return -ENOSPC;
	fab = &clt->fabs[clt->n_fabs];
	r = ops->ctx_new(&cp, &fab->ctx);
	if (r)
		return r;
	fab->ops = ops;
	clt->n_fabs++;
	*ret = fab;
	return 0;
}

static void
path_free(struct rtrs_clt_path *path)
{
	clt_fence_drop(path);
	free(path->cons);
	free(path);
}

int
clt_paths_new(struct rtrs_clt *clt, const struct rtrs_path_addr *addr,
	      struct rtrs_clt_path **ret)
{
	struct rtrs_clt_path *path;
	int r;

	if (clt->n_paths == RTRS_MAX_PATHS)
		return -ENOSPC;
	path = calloc(1, sizeof(*path));
	if (!path)
		return -ENOMEM;
	path->cons = calloc(clt->p.n_cons, sizeof(*path->cons));
	r = path->cons ? get_fab(clt, addr->fabric, &path->fab) : -ENOMEM;
	if (r) {
		path_free(path);
		return r;
	}
	path->clt = clt;
	path->id = ++clt->last_path_id;
	path->idx = clt->n_paths;
	path->addr = *addr;
	path->state = RTRS_CLT_CONNECTING;
	path->timer = TIME_NEVER;
	path->fence.path = path;
	clt_random_uuid(&clt->rng, &path->uuid);
	rtrs_hb_init(&path->hb, clt->p.hb_interval_ms, clt->p.hb_missed_max);
	path->n_cons = clt->p.n_cons;
	for (unsigned c = 0; c < path->n_cons; c++) {
		path->cons[c].path = path;
		path->cons[c].cid = c;
	}
	clt->paths[clt->n_paths++] = path;
	*ret = path;
	return 0;
}

void
clt_paths_free(struct rtrs_clt *clt)
{
	for (unsigned i = 0; i < clt->n_paths; i++)
		path_free(clt->paths[i]);
	clt->n_paths = 0;
	for (unsigned i = 0; i < clt->n_fabs; i++)
		clt->fabs[i].ops->ctx_free(clt->fabs[i].ctx);
	clt->n_fabs = 0;
}

/* The order of addition is what policies go by: the others keep it. */
static void
forget(struct rtrs_clt_path *path)
{
	struct rtrs_clt *clt = path->clt;

	clt_path_set_state(path, RTRS_CLT_DEAD);
	clt->n_paths--;
	for (unsigned i = path->idx; i < clt->n_paths; i++) {
		clt->paths[i] = clt->paths[i + 1];
		clt->paths[i]->idx = i;
	}
	if (clt->rr_next > path->idx)
		clt->rr_next--;
	path_free(path);
}

void
clt_paths_settle(struct rtrs_clt *clt)
{
	unsigned i = 0;

	while (i < clt->n_paths) {
		struct rtrs_clt_path *path = clt->paths[i];
		struct rtrs_clt_path_op *op = NULL;
		char why[CLT_WHY_LEN];
		int err = path->op_err;

		if (path->op_done) {
			op = path->op;
			path->op = NULL;
			path->op_done = false;
			snprintf(why, sizeof(why), "%s", err ? path->why : "");
		}
		if (path->removing && path->state == RTRS_CLT_CLOSED &&
		    !path->unfenced)
			forget(path);
		else
			i++;
		if (op)
			op->done(op, err, why);
	}
}

/* ------------------------------------------------------------- commands */

static struct rtrs_clt_path *
find(const struct rtrs_clt *clt, unsigned id)
{
	for (unsigned i = 0; i < clt->n_paths; i++)
		if (clt->paths[i]->id == id && !clt->paths[i]->removing)
			return clt->paths[i];
	return NULL;
}

static bool
same_addr(const struct sockaddr_storage *a, socklen_t a_len,
	  const struct sockaddr_storage *b, socklen_t b_len)
{
	return a_len == b_len && !memcmp(a, b, a_len);
}

static bool
same_route(const struct rtrs_path_addr *a, const struct rtrs_path_addr *b)
{
	return a->fabric == b->fabric &&
	       same_addr(&a->dst, a->dst_len, &b->dst, b->dst_len) &&
	       same_addr(&a->src, a->src_len, &b->src, b->src_len);
}

/* 0 if the set may change now. */
static int
may_change(const struct rtrs_clt *clt)
{
	if (clt->closing || clt->failed)
		return -ESHUTDOWN;
	return clt->opened ? 0 : -EBUSY;
}

static int
find_for(const struct rtrs_clt *clt, unsigned id, struct rtrs_clt_path **ret)
{
	struct rtrs_clt_path *path;
	int r = may_change(clt);

	if (r)
		return r;
	path = find(clt, id);
	if (!path)
		return -ENOENT;
	if (path->op)
		return -EBUSY;
	*ret = path;
	return 0;
}

/* Closes path, which is the end of op. */
static void
close_for(struct rtrs_clt_path *path, struct rtrs_clt_path_op *op)
{
	op->path_id = path->id;
	path->op = op;
	if (path->state == RTRS_CLT_CLOSED)
		clt_path_op_end(path, 0);
	clt_path_close(path);
}

/* Ends the wait of a path that is down. */
static void
attempt_now(struct rtrs_clt_path *path)
{
	if (path->draining)
		path->hurry = true; /* once that is over */
	else
		path->timer = path->clt->now;
}

int
rtrs_clt_add_path(struct rtrs_clt *clt, const struct rtrs_path_addr *addr,
		  struct rtrs_clt_path_op *op)
{
	struct rtrs_clt_path *path;
	int r = may_change(clt);

	if (r)
		return r;
	if (!addr->fabric || !addr->dst_len)
		return -EINVAL;
	for (unsigned i = 0; i < clt->n_paths; i++)
		if (same_route(&clt->paths[i]->addr, addr))
			return -EEXIST;
	r = clt_paths_new(clt, addr, &path);
	if (r)
		return r;
	op->path_id = path->id;
	path->op = op;
	path->adding = true;
	clt->kick = true;
	clt_connect_start(path);
	return 0;
}

int
rtrs_clt_remove_path(struct rtrs_clt *clt, unsigned id,
		     struct rtrs_clt_path_op *op)
{
	struct rtrs_clt_path *path;
	int r = find_for(clt, id, &path);

	if (r)
		return r;
	path->removing = true;
	close_for(path, op);
	return 0;
}

int
rtrs_clt_disconnect_path(struct rtrs_clt *clt, unsigned id,
			 struct rtrs_clt_path_op *op)
{
	struct rtrs_clt_path *path;
	int r = find_for(clt, id, &path);

	if (r)
		return r;
	path->held_down = true;
	close_for(path, op);
	return 0;
}

int
rtrs_clt_reconnect_path(struct rtrs_clt *clt, unsigned id,
			struct rtrs_clt_path_op *op)
{
	struct rtrs_clt_path *path;
	int r = find_for(clt, id, &path);

	if (r)
		return r;
	switch (path->state) {
	case RTRS_CLT_CONNECTED:
		clt_path_fail(path, -ECONNABORTED, "reconnects by command");
		path->hurry = true;
		break;
	case RTRS_CLT_CLOSED:
		path->held_down = false;
		clt_path_set_state(path, RTRS_CLT_RECONNECTING);
		path->timer = clt->now;
		break;
	case RTRS_CLT_CONNECTING_ERR:
	case RTRS_CLT_RECONNECTING:
		attempt_now(path);
		break;
	default:
		return -EBUSY;
	}
	path->attempts = 0;
	op->path_id = id;
	path->op = op;
	clt->kick = true;
	return 0;
}

unsigned
rtrs_clt_n_paths(const struct rtrs_clt *clt)
{
	return clt->n_paths;
}

static const struct fabric_ops *
ops_of(const struct rtrs_clt_path *path)
{
	return path->fab->ops;
}

void
clt_path_count_latency(struct rtrs_clt_path *path)
{
	struct rtrs_clt_stats *st = &path->stats;

	st->hb_latency_ns = path->hb.latency_ns;
	if (!st->hb_latency_min_ns || st->hb_latency_ns < st->hb_latency_min_ns)
		st->hb_latency_min_ns = st->hb_latency_ns;
}

int
rtrs_clt_path_info(const struct rtrs_clt *clt, unsigned i,
		   struct rtrs_clt_path_info *ret)
{
	const struct rtrs_clt_path *path;
	const char *device = NULL;
	unsigned port = 0;

	if (i >= clt->n_paths)
		return -EINVAL;
	path = clt->paths[i];
	if (path->state == RTRS_CLT_CONNECTED && ops_of(path)->conn_device)
		device = ops_of(path)->conn_device(path->cons[0].conn, &port);
	*ret = (struct rtrs_clt_path_info){
		.id = path->id,
		.state = path->state,
		.held_down = path->held_down,
		.addr = path->addr,
		.actual = path->actual,
		.hca_name = device ? device : "",
		.hca_port = device ? port : 0,
		.stats = path->stats,
		.why = path->state == RTRS_CLT_CONNECTED ? "" : path->why,
	};
	return 0;
}

int
rtrs_clt_path_stats_reset(struct rtrs_clt *clt, unsigned id)
{
	struct rtrs_clt_path *path = find(clt, id);
	uint64_t inflight;

	if (!path)
		return -ENOENT;
	inflight = path->stats.inflight;
	path->stats = (struct rtrs_clt_stats){
		.inflight = inflight,
		.hb_latency_ns = path->hb.latency_ns,
		.hb_latency_min_ns = path->hb.latency_ns,
	};
	return 0;
}

void
rtrs_clt_path_reset(struct rtrs_clt *clt, unsigned i)
{
	if (i < clt->n_paths)
		clt_path_fail(clt->paths[i], -ECONNABORTED,
			      "reset on our side");
}

void
rtrs_clt_reconnect_now(struct rtrs_clt *clt)
{
	for (unsigned i = 0; i < clt->n_paths; i++)
		if (clt->paths[i]->state == RTRS_CLT_RECONNECTING)
			attempt_now(clt->paths[i]);
	clt->kick = true;
}
