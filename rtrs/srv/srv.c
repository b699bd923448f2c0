/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/srv/srv-priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define WC_BATCH    64
/* Bounds of one call of progress; what is left over is found by arm(). */
#define MAX_BATCHES 64
#define MAX_ROUNDS  8

/* Zeroes have been replaced. */
static bool
sizes_ok(const struct rtrs_srv_params *p)
{
	return p->queue_depth <= RTRS_MAX_QUEUE_DEPTH &&
	       p->chunk_size >= RTRS_MIN_CHUNK_SIZE &&
	       !(p->chunk_size & (p->chunk_size - 1)) &&
	       rtrs_imm_sizes_ok(p->queue_depth, p->chunk_size);
}

int
rtrs_srv_new(const struct rtrs_srv_params *p, struct rtrs_srv **ret)
{
	struct rtrs_srv *srv;

	if (!p->sess_up || !p->sess_down || !p->request)
		return -EINVAL;
	srv = calloc(1, sizeof(*srv));
	if (!srv)
		return -ENOMEM;
	srv->p = *p;
	if (!srv->p.queue_depth)
		srv->p.queue_depth = RTRS_SRV_QUEUE_DEPTH;
	if (!srv->p.chunk_size)
		srv->p.chunk_size = RTRS_SRV_CHUNK_SIZE;
	if (!srv->p.info_timeout_ms)
		srv->p.info_timeout_ms = SRV_INFO_TIMEOUT_MS;
	if (!srv->p.max_sessions)
		srv->p.max_sessions = SRV_MAX_SESSIONS;
	if (!srv->p.max_unidentified)
		srv->p.max_unidentified = SRV_MAX_UNIDENTIFIED;
	if (!srv->p.max_paths)
		srv->p.max_paths = RTRS_MAX_PATHS;
	if (!sizes_ok(&srv->p)) {
		free(srv);
		return -EINVAL;
	}
	srv->log = p->log;
	srv->now = p->now;
	srv->parked_due = TIME_NEVER;
	srv->mem_bits = rtrs_imm_mem_bits(srv->p.queue_depth);
	*ret = srv;
	return 0;
}

void
rtrs_srv_close(struct rtrs_srv *srv)
{
	struct srv_path *path;

	srv->closing = true;
	DL_FOREACH(srv->paths, path)
		srv_path_drain(path);
	srv_work(srv, SRV_WORK_ADMIT | SRV_WORK_TEARDOWN);
}

bool
rtrs_srv_closed(const struct rtrs_srv *srv)
{
	return srv->closing && !srv->sessions && !srv->incoming && !srv->parked;
}

void
rtrs_srv_free(struct rtrs_srv *srv)
{
	if (!srv)
		return;
	assert(!srv->sessions && !srv->incoming && !srv->parked);
	for (unsigned i = 0; i < srv->n_ctxs; i++)
		srv->ctxs[i].ops->ctx_free(srv->ctxs[i].fabric);
	dues_free(&srv->dues);
	free(srv);
}

int
srv_ctx_get(struct rtrs_srv *srv, const struct fabric_ops *ops,
	    struct srv_ctx **ret)
{
	const struct fabric_ctx_params cp = {
		.rng = srv->p.rng,
		.log = srv->log,
		.now = srv->now,
		.disconnect_timeout_ms = SRV_DISCONNECT_TIMEOUT_MS,
		.peer_timeout_ms = srv->p.peer_timeout_ms,
		.priv = srv->p.fabric_priv,
	};
	struct srv_ctx *ctx;
	int err;

	for (unsigned i = 0; i < srv->n_ctxs; i++) {
		if (srv->ctxs[i].ops == ops) {
			*ret = &srv->ctxs[i];
			return 0;
		}
	}
	if (srv->n_ctxs == SRV_MAX_CTXS)
		return -ENOSPC;
	ctx = &srv->ctxs[srv->n_ctxs];
	err = ops->ctx_new(&cp, &ctx->fabric);
	if (err)
		return err;
	ctx->ops = ops;
	if (srv->p.always_invalidate && !(ops->caps & FABRIC_CAP_MW_PD))
		log_warn(
			srv->log,
			"fabric %s has no windows of a PD: keys of chunks stay "
			"valid while requests execute",
			ops->name);
	srv->n_ctxs++;
	*ret = ctx;
	return 0;
}

int
rtrs_srv_add_fabric(struct rtrs_srv *srv, const struct fabric_ops *ops)
{
	struct srv_ctx *ctx;

	return srv_ctx_get(srv, ops, &ctx);
}

int
rtrs_srv_fds(const struct rtrs_srv *srv, int *fds, int n)
{
	int cnt = 0;

	for (unsigned i = 0; i < srv->n_ctxs && cnt < n; i++) {
		int fd = srv->ctxs[i].ops->ctx_fd(srv->ctxs[i].fabric);

		if (fd >= 0)
			fds[cnt++] = fd;
	}
	return cnt;
}

bool
rtrs_srv_arm(struct rtrs_srv *srv)
{
	bool again = srv->work || srv->has_broken;

	for (unsigned i = 0; i < srv->n_ctxs; i++)
		again |= srv->ctxs[i].ops->ctx_arm(srv->ctxs[i].fabric);
	return again;
}

uint64_t
rtrs_srv_deadline(const struct rtrs_srv *srv)
{
	uint64_t t = time_min(srv->parked_due, dues_first_at(&srv->dues));

	if (srv->work)
		t = 0;
	for (unsigned i = 0; i < srv->n_ctxs; i++)
		t = time_min(
			t, srv->ctxs[i].ops->ctx_deadline(srv->ctxs[i].fabric));
	return t;
}

void
rtrs_srv_flush(struct rtrs_srv *srv)
{
	for (unsigned i = 0; i < srv->n_ctxs; i++)
		srv->ctxs[i].ops->ctx_flush(srv->ctxs[i].fabric);
}

static void
disconnected(struct srv_con *con, int err)
{
	struct srv_path *path = con->path;

	if (!err)
		srv_path_close(path, LOG_LVL_INFO, "peer left");
	else if (err == -EPROTO)
		srv_path_close(path, LOG_LVL_WARNING,
			       "connection %u broke the rules of %s", con->cid,
			       path->ctx->ops->name);
	else
		srv_path_close(path, LOG_LVL_INFO, "connection %u lost: %s",
			       con->cid, strerror(-err));
}

static void
handle_event(struct rtrs_srv *srv, const struct fabric_event *ev)
{
	struct srv_con *con;
	struct srv_path *path;

	/* Before accept() the connection's user is not ours. */
	if (srv_admit_drop(srv, ev->conn))
		return;
	con = ev->user;
	path = con->path;
	switch (ev->type) {
	case FABRIC_EV_ESTABLISHED:
	case FABRIC_EV_CONNECT_REQUEST: /* only at listeners */
		break;
	case FABRIC_EV_DISCONNECTED:
		/* Answered at once: the close disconnects this one too. */
		disconnected(con, ev->err);
		break;
	case FABRIC_EV_REJECTED:
	case FABRIC_EV_CONNECT_ERROR:
	case FABRIC_EV_CLOSED:
		if (con->closed)
			break;
		con->closed = true;
		path->n_open--;
		srv_path_close(path, LOG_LVL_WARNING, "connection %u closed",
			       con->cid);
		srv_work(srv, SRV_WORK_TEARDOWN);
		break;
	}
}

/* Connections that were found dead, and no event said why. */
static void
close_broken(struct rtrs_srv *srv)
{
	struct srv_path *path;

	srv->has_broken = false;
	DL_FOREACH(srv->paths, path) {
		if (!path->broken)
			continue;
		if (path->broken_by_us)
			srv_path_close(path, LOG_LVL_WARNING,
				       "connection %u: a work request failed",
				       path->broken->cid);
		else
			srv_path_close(path, LOG_LVL_INFO,
				       "connection %u is gone",
				       path->broken->cid);
	}
}

static void
drain(struct rtrs_srv *srv, struct srv_ctx *ctx)
{
	struct fabric_wc wc[WC_BATCH];
	struct fabric_event ev;
	int n, batches = 0;

	ctx->ops->ctx_poll(ctx->fabric, srv->now);
	do {
		n = ctx->ops->poll_cq(ctx->fabric, wc, WC_BATCH);
		for (int i = 0; i < n; i++)
			srv_con_wc(wc[i].user, &wc[i]);
	} while (n > 0 && ++batches < MAX_BATCHES);
	/* Completions first: what came before the peer left still counts. But
	 * it is the event that says whether it left in order. */
	while (ctx->ops->next_event(ctx->fabric, &ev))
		handle_event(srv, &ev);
}

static void
run_work(struct rtrs_srv *srv)
{
	struct rtrs_srv_sess *sess, *next_sess;
	struct srv_path *path, *next_path;

	for (int round = 0; srv->work && round < MAX_ROUNDS; round++) {
		unsigned work = srv->work;

		srv->work = 0;
		if (work & SRV_WORK_WAKE)
			while ((sess = srv->waking))
				srv_ops_wake(sess);
		if (work & SRV_WORK_TEARDOWN) {
			DL_FOREACH_SAFE(srv->paths, path, next_path)
				srv_path_advance(path);
			HASH_ITER(hh, srv->sessions, sess, next_sess)
				srv_sess_advance(sess);
		}
		if (work & (SRV_WORK_ADMIT | SRV_WORK_TEARDOWN))
			srv_admit_run(srv);
	}
}

static void
run_timers(struct rtrs_srv *srv)
{
	struct srv_path *path;
	struct due *due;

	if (srv->now >= srv->parked_due)
		srv->parked_due = srv_admit_expire(srv);
	while ((due = dues_first(&srv->dues)) && due->at <= srv->now) {
		path = container_of(due, struct srv_path, due);
		/* Later than now, or never. */
		dues_set(&srv->dues, due, srv_path_timer(path));
	}
}

void
rtrs_srv_progress(struct rtrs_srv *srv, uint64_t now)
{
	srv->now = now;
	for (unsigned i = 0; i < srv->n_ctxs; i++)
		drain(srv, &srv->ctxs[i]);
	if (srv->has_broken)
		close_broken(srv);
	/* Timers second: what was received counts for the heartbeat. */
	run_timers(srv);
	run_work(srv);
	rtrs_srv_flush(srv);
}

void
rtrs_srv_counts(const struct rtrs_srv *srv, struct rtrs_srv_counts *ret)
{
	*ret = srv->counts;
	ret->chunk_mem = srv->chunk_mem;
}

uint64_t
rtrs_srv_now(const struct rtrs_srv *srv)
{
	return srv->now;
}

uint32_t
rtrs_srv_max_io_size(const struct rtrs_srv *srv)
{
	return srv->p.chunk_size - RTRS_SRV_HDR_SIZE;
}

unsigned
rtrs_srv_n_sessions(const struct rtrs_srv *srv)
{
	return HASH_COUNT(srv->sessions);
}

static struct rtrs_srv_path_info
path_info(const struct srv_path *path)
{
	const struct fabric_ops *ops = path->ctx->ops;
	const struct srv_con *con = path->cons[0];
	struct rtrs_srv_path_info info = {
		.sess_name = path->sess->name,
		.state = path->state,
		.fabric = ops,
		.addrs = path->addrs,
		.n_cons = path->n_cons,
		.chunk_mem = path->chunk_mem,
		.chunk_pages = path->chunks.mem
				       ? bigmem_kind_name(path->chunks.big.kind)
				       : "",
		.hb_latency_ns = path->hb.latency_ns,
		.stats = path->stats,
	};

	info.stats.inflight = path->n_running;
	if (con && con->conn && ops->conn_device)
		info.hca_name = ops->conn_device(con->conn, &info.hca_port);
	if (!info.hca_name)
		info.hca_name = "";
	return info;
}

void
rtrs_srv_for_each_path(struct rtrs_srv *srv,
		       void (*fn)(void *user,
				  const struct rtrs_srv_path_info *info),
		       void *user)
{
	struct srv_path *path;

	DL_FOREACH(srv->paths, path) {
		struct rtrs_srv_path_info info = path_info(path);

		fn(user, &info);
	}
}

unsigned
rtrs_srv_close_paths(struct rtrs_srv *srv,
		     bool (*match)(void *user,
				   const struct rtrs_srv_path_info *info),
		     void *user)
{
	struct srv_path *path;
	unsigned n = 0;

	/* Closing frees nothing yet. */
	DL_FOREACH(srv->paths, path) {
		struct rtrs_srv_path_info info = path_info(path);

		if (path->state >= RTRS_SRV_CLOSING || !match(user, &info))
			continue;
		srv_path_close(path, LOG_LVL_INFO, "disconnected on request");
		n++;
	}
	return n;
}

unsigned
rtrs_srv_reset_stats(struct rtrs_srv *srv,
		     bool (*match)(void *user,
				   const struct rtrs_srv_path_info *info),
		     void *user)
{
	struct srv_path *path;
	unsigned n = 0;

	DL_FOREACH(srv->paths, path) {
		struct rtrs_srv_path_info info = path_info(path);

		if (!match(user, &info))
			continue;
		memset(&path->stats, 0, sizeof(path->stats));
		n++;
	}
	return n;
}
