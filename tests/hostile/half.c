/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/hostile/half.h"

#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#define OPEN_TIMEOUT_MS 500
/* So long it waits for what a liar does not answer. */
#define PATIENCE_NS     (2 * NSEC_PER_SEC)
#define LEAVE_NS        (60 * NSEC_PER_SEC)
#define REST_NS         (5 * NSEC_PER_MSEC)
/* So long it waits for the liar to come before it works without him. */
#define COMPANY_NS      (10 * NSEC_PER_MSEC)
#define MAX_LIVES       64
#define ALL_SECTORS     ((1u << HALF_SECTORS) - 1)
#define HONEST_PATH     0
#define LIARS_PATH      1

static void work(struct half *h);

static void
wait_for(struct half *h, uint64_t ns)
{
	stage_timer_set(h->stage, &h->timer, stage_now(h->stage) + ns);
}

/* --- what the gateway does for it */

static void
on_disk_io(void *user, const struct backend_io *io)
{
	struct half *h = user;
	uint64_t first = io->off / DISK_SECTOR, n = io->len / DISK_SECTOR;

	if (io->op != BACKEND_READ && io->op != BACKEND_WRITE)
		return;
	for (uint64_t i = first, version; i < first + n; i++) {
		struct half_io *a = i / HALF_SECTORS < HALF_BLOCKS
					    ? h->by_block[i / HALF_SECTORS]
					    : NULL;
		uint8_t bit = (uint8_t)(1u << i % HALF_SECTORS);

		/* The disk itself fails the play when it is no stamp. */
		if (io->op == BACKEND_WRITE && i < ARRAY_SIZE(h->versions) &&
		    stamp_ok((const uint8_t *)io->buf +
				     (i - first) * DISK_SECTOR,
			     i, 1, &version))
			h->versions[i] = (uint8_t)version;
		if (!h->greeted)
			continue;
		if (!a || a->executed & bit ||
		    (a->io.op == RNBD_CLT_WRITE) != (io->op == BACKEND_WRITE)) {
			stage_fail(h->stage,
				   "half: sector %llu is executed, and not "
				   "under way",
				   (unsigned long long)i);
			return;
		}
		a->executed |= bit;
	}
}

/* --- I/O */

static void
check_data(struct half *h, const struct half_io *a)
{
	unsigned first = a->block * HALF_SECTORS;
	uint64_t version;

	for (unsigned i = 0; i < HALF_SECTORS; i++)
		if (a->executed & 1u << i &&
		    (!stamp_ok(a->buf + (size_t)i * DISK_SECTOR, first + i, 1,
			       &version) ||
		     version != h->versions[first + i]))
			stage_fail(h->stage,
				   "half: sector %u, by the honest path, is "
				   "not what was written",
				   first + i);
}

static void
io_done(struct rnbd_clt_io *io, int err)
{
	struct half_io *a = io->user;
	struct half *h = a->h;

	if (!a->busy)
		stage_fail(h->stage, "half: a second completion");
	if (err > 0)
		stage_fail(h->stage, "half: I/O ended with %d", err);
	if (err && a->executed == ALL_SECTORS)
		stage_fail(h->stage, "half: I/O by the honest path: %s",
			   strerror(-err));
	if (!err && io->op == RNBD_CLT_READ)
		check_data(h, a);
	h->ok += a->executed == ALL_SECTORS;
	h->other += a->executed != ALL_SECTORS;
	a->busy = false;
	h->by_block[a->block] = NULL;
	h->n_busy--;
	h->last_end = stage_now(h->stage);
	h->due = true;
	memset(a->buf, 0xdb, sizeof(a->buf));
}

static void
begin_io(struct half *h, struct half_io *a)
{
	struct sim_net *net = h->stage->net;
	unsigned block = (unsigned)sim_net_below(net, HALF_BLOCKS);

	if (h->by_block[block])
		return;
	a->h = h;
	a->busy = true;
	a->block = block;
	a->executed = 0;
	a->io = (struct rnbd_clt_io){
		.dev = h->dev,
		.op = sim_net_below(net, 2) ? RNBD_CLT_WRITE : RNBD_CLT_READ,
		.con_hint = block,
		.off = (uint64_t)block * HALF_BLOCK,
		.len = HALF_BLOCK,
		.buf = a->buf,
		.done = io_done,
		.user = a,
	};
	if (a->io.op == RNBD_CLT_WRITE)
		stamp_fill(a->buf, (uint64_t)block * HALF_SECTORS, HALF_SECTORS,
			   sim_net_below(net, 256));
	h->by_block[block] = a;
	h->n_busy++;
	h->left--;
	rnbd_clt_submit(&a->io);
}

/* --- sessions */

static void
on_opened(void *user, struct rnbd_clt_dev *dev, int err, const char *text)
{
	struct half *h = user;
	struct rnbd_clt_geometry geo;

	if (!h->opening)
		stage_fail(h->stage, "half: opened twice");
	h->opening = false;
	h->due = true;
	/* He came while the liar was away, so no lie can be the reason. */
	if (err && h->liar->away)
		stage_fail(h->stage, "half: cannot open: %s", text);
	if (err)
		return;
	rnbd_clt_dev_geometry(dev, &geo);
	/* Not the disk that it is: it was the liar who opened it. */
	if (geo.size_bytes == h->g->other.bytes &&
	    geo.logical_block_size == DISK_SECTOR)
		h->dev = dev;
	else if (h->liar->away)
		stage_fail(h->stage, "half: a disk of %llu bytes",
			   (unsigned long long)geo.size_bytes);
	h->greeted = h->liar->away;
	h->liar->away = false;
}

static void
log_line(void *user, enum log_level level, const char *line)
{
	struct half *h = user;

	h->lines++;
	stage_note(h->stage, "%s: %s", log_level_name(level), line);
}

static void
begin_session(struct half *h)
{
	static const enum ls_mood moods[] = {LS_SLY, LS_SLY, LS_MAD, LS_HONEST};
	static const enum rtrs_connect connects[] = {RTRS_CONNECT_ANY,
						     RTRS_CONNECT_LAZY};
	static const enum rtrs_mp_policy policies[] = {
		RTRS_MP_ROUND_ROBIN, RTRS_MP_MIN_INFLIGHT, RTRS_MP_MIN_LATENCY};
	struct stage *s = h->stage;
	struct sim_net *net = s->net;
	struct rtrs_path_addr paths[2] = {{.fabric = s->fabric},
					  {.fabric = s->fabric}};
	struct rnbd_clt_params p = {
		.rtrs = {.name = OTHER_NAME,
			 .paths = paths,
			 .n_paths = 2,
			 .connect = connects[sim_net_below(net, 2)],
			 .policy = policies[sim_net_below(net, 3)],
			 .n_cons = 2 + (unsigned)sim_net_below(net, 2),
			 .need_inval = sim_net_below(net, 2),
			 .hb_interval_ms = 20,
			 .connect_timeout_ms = 100,
			 .reconnect_backoff_ms = 2,
			 .max_reconnect_attempts = -1,
			 .rng = sim_net_rng(net),
			 .log = &h->log,
			 .now = stage_now(s),
			 .fabric_priv = h->node},
		.io_timeout_ms = 20,
		.open_timeout_ms = OPEN_TIMEOUT_MS,
	};

	/* A liar who never gets in has nothing to say. */
	if (s->messages >= s->budget || choice_spent(s->choice) ||
	    s->lives >= MAX_LIVES) {
		h->state = HALF_DONE;
		return;
	}
	s->lives++;
	h->liar->mood = moods[choose(s->choice, ARRAY_SIZE(moods))];
	/* Mostly he joins a session that is there already. */
	h->liar->away = choose_percent(s->choice, 75);
	paths[HONEST_PATH].dst_len =
		sim_node_addr(h->g->node, STAGE_PORT, &paths[HONEST_PATH].dst);
	paths[LIARS_PATH].dst_len = sim_node_addr(h->liar->node, STAGE_PORT,
						  &paths[LIARS_PATH].dst);
	stage_note(s, "half: a session, mood %d%s", h->liar->mood,
		   h->liar->away ? ", the liar comes later" : "");
	if (rnbd_clt_new(&p, &h->clt))
		abort();
	h->last_end = stage_now(s);
	h->left = 40 + (unsigned)sim_net_below(net, 400);
	h->greeted = false;
	h->dev = NULL;
	h->opening = true;
	h->state = HALF_OPENS;
	if (rnbd_clt_dev_open(h->clt, OTHER_EXPORT, RNBD_ACCESS_RW, on_opened,
			      h))
		abort();
	wait_for(h, 2 * OPEN_TIMEOUT_MS * NSEC_PER_MSEC);
}

static void
end_session(struct half *h)
{
	rnbd_clt_free(h->clt);
	h->clt = NULL;
	if (h->n_busy)
		stage_fail(h->stage, "half: %u I/O never ended", h->n_busy);
	if (h->opening)
		stage_fail(h->stage, "half: an open never ended");
	h->state = HALF_RESTS;
	/* Its name is in use until the gateway has nothing left of it. */
	wait_for(h, REST_NS);
}

static void
leave(struct half *h)
{
	rnbd_clt_close(h->clt);
	h->state = HALF_CLOSES;
	wait_for(h, LEAVE_NS);
}

/* Whatever the liar does, the other path stays as it is, and so do sizes. */
static void
check_path(struct half *h)
{
	struct rtrs_clt *clt = rnbd_clt_rtrs(h->clt);
	struct rtrs_clt_path_info info;
	uint64_t mem;

	if (rtrs_clt_path_info(clt, HONEST_PATH, &info))
		abort();
	if (h->greeted && info.state != RTRS_CLT_CONNECTED)
		stage_fail(h->stage, "half: the honest path was lost: %s",
			   info.why);
	if (!rtrs_clt_is_up(clt))
		return;
	mem = (uint64_t)rtrs_clt_queue_depth(clt) * rtrs_clt_max_io_size(clt);
	if (!mem || mem > UINT64_C(256) << 20 ||
	    (h->greeted && rtrs_clt_queue_depth(clt) != h->g->queue_depth))
		stage_fail(h->stage, "half: %u requests of %u bytes",
			   rtrs_clt_queue_depth(clt),
			   rtrs_clt_max_io_size(clt));
}

static bool
has_company(struct half *h)
{
	struct rtrs_clt_path_info info;

	if (rtrs_clt_path_info(rnbd_clt_rtrs(h->clt), LIARS_PATH, &info))
		abort();
	return info.state == RTRS_CLT_CONNECTED;
}

static void
work(struct half *h)
{
	switch (h->state) {
	case HALF_OPENS:
		if (h->opening)
			return;
		if (!h->dev) {
			leave(h);
			return;
		}
		h->state = HALF_WAITS;
		wait_for(h, COMPANY_NS);
		__attribute__((fallthrough));
	case HALF_WAITS:
		if (!has_company(h) && h->timer.armed)
			return;
		h->state = HALF_WORKS;
		h->last_end = stage_now(h->stage);
		wait_for(h, PATIENCE_NS);
		__attribute__((fallthrough));
	case HALF_WORKS:
		/* A device that the liar opens and the gateway does not know
		 * is opened again, with pauses, for as long as an I/O waits. */
		if (h->stage->messages >= h->stage->budget)
			h->left = 0;
		if (rnbd_clt_failed(h->clt) || (!h->left && !h->n_busy)) {
			leave(h);
			return;
		}
		for (unsigned i = 0; i < HALF_IOS && h->left; i++)
			if (!h->ios[i].busy)
				begin_io(h, &h->ios[i]);
		break;
	case HALF_CLOSES:
		if (rnbd_clt_closed(h->clt))
			end_session(h);
		break;
	case HALF_RESTS:
	case HALF_DONE:
		break;
	}
}

static void
timer_fire(struct stage_timer *t)
{
	struct half *h = container_of(t, struct half, timer);

	switch (h->state) {
	case HALF_RESTS:
		begin_session(h);
		break;
	case HALF_OPENS:
		stage_fail(h->stage, "half: the open takes too long");
		break;
	case HALF_WAITS:
		work(h);
		break;
	case HALF_WORKS:
		/* What the liar took he need not answer. */
		if (h->last_end + PATIENCE_NS > stage_now(h->stage))
			stage_timer_set(h->stage, t, h->last_end + PATIENCE_NS);
		else
			leave(h);
		break;
	case HALF_CLOSES:
		stage_fail(h->stage, "half: cannot leave");
		break;
	case HALF_DONE:
		break;
	}
}

/* --- player */

static bool
ready(struct player *p)
{
	struct half *h = container_of(p, struct half, player);

	return h->clt && (h->due || rnbd_clt_arm(h->clt) ||
			  rnbd_clt_deadline(h->clt) <= stage_now(h->stage));
}

static uint64_t
deadline(struct player *p)
{
	struct half *h = container_of(p, struct half, player);

	return h->clt ? rnbd_clt_deadline(h->clt) : TIME_NEVER;
}

static void
turn(struct player *p)
{
	struct half *h = container_of(p, struct half, player);

	h->due = false;
	rnbd_clt_progress(h->clt, stage_now(h->stage));
	if (h->state == HALF_OPENS || h->state == HALF_WAITS ||
	    h->state == HALF_WORKS)
		check_path(h);
	work(h);
}

void
half_start(struct half *h, struct gateway *g, struct liar_srv *l)
{
	struct stage *s = g->stage;

	*h = (struct half){
		.stage = s, .g = g, .liar = l, .timer.fire = timer_fire};
	h->log = (struct log){
		.sink = log_line, .user = h, .threshold = s->log.threshold};
	if (sim_node_new(s->net, "half", HOST_OTHER, &h->node))
		abort();
	/* He says what its other server says, when he does not lie. */
	l->depth = (uint16_t)g->queue_depth;
	l->chunk = g->chunk_size;
	l->disk_bytes = g->other.bytes;
	g->other.watch = on_disk_io;
	g->other.watch_user = h;
	h->player = (struct player){
		.ready = ready, .deadline = deadline, .turn = turn};
	DL_APPEND(s->players, &h->player);
	h->state = HALF_RESTS;
	wait_for(h, 0);
}

void
half_stop(struct half *h)
{
	struct stage *s = h->stage;
	/*
	 * As a victim's. A device that the liar opened has an id of his, which
	 * the gateway does not know: two lines, and two when it is open again.
	 */
	uint64_t most = 64 + h->liar->conn_reqs + 4 * h->liar->admin_reqs +
			8 * s->lives;

	stage_timer_cancel(s, &h->timer);
	DL_DELETE(s->players, &h->player);
	if (!h->ok)
		stage_fail(s, "half: no I/O went by the honest path");
	if (!s->trace && h->lines > most)
		stage_fail(s, "half: %llu lines of log, %llu are in order",
			   (unsigned long long)h->lines,
			   (unsigned long long)most);
}
