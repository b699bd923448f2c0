/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/hostile/victim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#define OPEN_TIMEOUT_MS 500
/* So long it waits for a server that says nothing, then it leaves. */
#define PATIENCE_NS     (2 * NSEC_PER_SEC)
/* Whatever it has to wait for when it leaves. */
#define LEAVE_NS        (60 * NSEC_PER_SEC)

#define GUARD_BYTE 0xc7
#define RESTS_BYTE 0xdb

static void work(struct victim *v);

/* --- memory */

static bool
is_all(const uint8_t *p, size_t len, uint8_t byte)
{
	while (len--)
		if (*p++ != byte)
			return false;
	return true;
}

static void
check_memory(struct victim *v, const struct victim_io *a)
{
	if (!is_all(a->buf, VICTIM_GUARD, GUARD_BYTE) ||
	    !is_all(a->buf + VICTIM_GUARD + VICTIM_LEN, VICTIM_GUARD,
		    GUARD_BYTE))
		stage_fail(v->stage, "victim: bytes beside a buffer changed");
	if (a->resting &&
	    !is_all(a->buf + VICTIM_GUARD, VICTIM_LEN, RESTS_BYTE))
		stage_fail(v->stage, "victim: a buffer changed after its I/O");
}

static void
check_all(struct victim *v)
{
	for (unsigned i = 0; i < VICTIM_IOS; i++)
		if (!v->ios[i].busy)
			check_memory(v, &v->ios[i]);
}

static void
lay_to_rest(struct victim_io *a)
{
	memset(a->buf + VICTIM_GUARD, RESTS_BYTE, VICTIM_LEN);
	a->resting = true;
}

/* --- I/O */

static void
io_done(struct rnbd_clt_io *io, int err)
{
	struct victim_io *a = io->user;
	struct victim *v = a->v;

	if (!a->busy)
		stage_fail(v->stage, "victim: a second completion");
	if (err > 0)
		stage_fail(v->stage, "victim: I/O ended with %d", err);
	if (err == -EROFS && io->dev == v->devs[1].dev)
		err = 0; /* so it should */
	if (err && v->liar->mood == LS_HONEST && err != -ESHUTDOWN)
		stage_fail(v->stage, "victim: I/O of an honest server: %s",
			   strerror(-err));
	a->busy = false;
	v->n_busy--;
	v->ok += !err;
	v->failed += err != 0;
	v->last_end = stage_now(v->stage);
	v->due = true;
	check_memory(v, a);
	lay_to_rest(a);
}

static void
begin_io(struct victim *v, struct victim_io *a)
{
	static const enum rnbd_clt_op ops[] = {
		RNBD_CLT_READ,  RNBD_CLT_READ,    RNBD_CLT_WRITE,
		RNBD_CLT_FLUSH, RNBD_CLT_DISCARD, RNBD_CLT_WRITE_ZEROES};
	struct sim_net *net = v->stage->net;
	struct victim_dev *d = &v->devs[sim_net_below(net, VICTIM_DEVS)];
	uint64_t bs, size, len, off;
	enum rnbd_clt_op op = ops[sim_net_below(net, ARRAY_SIZE(ops))];

	if (!d->dev)
		d = &v->devs[0];
	bs = d->geo.logical_block_size;
	size = d->geo.size_bytes;
	len = bs * (1 + sim_net_below(net, 8));
	if (!sim_net_below(net, 8))
		len = VICTIM_LEN / bs * bs;
	if (len > VICTIM_LEN || len > size)
		len = bs;
	if ((op == RNBD_CLT_DISCARD && !d->geo.max_discard_bytes) ||
	    (op == RNBD_CLT_WRITE_ZEROES && !d->geo.max_write_zeroes_bytes))
		op = RNBD_CLT_READ;
	if (len > VICTIM_LEN || len > size)
		op = RNBD_CLT_FLUSH;
	if (op == RNBD_CLT_FLUSH)
		len = 0;
	off = len ? sim_net_below(net, (size - len) / bs + 1) * bs : 0;
	a->v = v;
	a->busy = true;
	a->resting = false;
	a->io = (struct rnbd_clt_io){
		.dev = d->dev,
		.op = op,
		.flags = sim_net_below(net, 4) ? 0 : RNBD_CLT_F_FUA,
		.con_hint = (unsigned)sim_net_below(net, 4),
		.off = off,
		.len = len,
		.buf = a->buf + VICTIM_GUARD,
		.done = io_done,
		.user = a,
	};
	v->n_busy++;
	v->left--;
	rnbd_clt_submit(&a->io);
}

/* --- sessions */

static void
wait_for(struct victim *v, uint64_t ns)
{
	stage_timer_set(v->stage, &v->timer, stage_now(v->stage) + ns);
}

static void
on_opened(void *user, struct rnbd_clt_dev *dev, int err, const char *text)
{
	struct victim_dev *d = user;
	struct victim *v = d->v;
	uint64_t took = stage_now(v->stage) - v->began;

	if (!d->opening)
		stage_fail(v->stage, "victim: opened twice");
	if (took > (OPEN_TIMEOUT_MS + 100) * NSEC_PER_MSEC)
		stage_fail(v->stage, "victim: an open took %llu ms",
			   (unsigned long long)(took / NSEC_PER_MSEC));
	if (err && v->liar->mood == LS_HONEST)
		stage_fail(v->stage, "victim: open at an honest server: %s",
			   text);
	/* It may be shown on a terminal. */
	for (; err && *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			stage_fail(v->stage, "victim: control character %02x",
				   (unsigned char)*text);
	d->opening = false;
	d->dev = dev;
	v->due = true;
	if (err)
		return;
	rnbd_clt_dev_geometry(dev, &d->geo);
	if (d->geo.size_bytes > INT64_MAX || !d->geo.logical_block_size ||
	    d->geo.logical_block_size & (d->geo.logical_block_size - 1) ||
	    d->geo.size_bytes % d->geo.logical_block_size ||
	    d->geo.max_io_size < d->geo.logical_block_size)
		stage_fail(v->stage, "victim: a disk of %llu bytes in %u",
			   (unsigned long long)d->geo.size_bytes,
			   d->geo.logical_block_size);
}

static void
log_line(void *user, enum log_level level, const char *line)
{
	struct victim *v = user;

	/* nbdkit prints each of them. */
	v->lines++;
	stage_note(v->stage, "%s: %s", log_level_name(level), line);
}

static void
begin_session(struct victim *v)
{
	static const enum ls_mood moods[] = {LS_SLY, LS_SLY, LS_MAD, LS_HONEST};
	static const enum rtrs_connect connects[] = {
		RTRS_CONNECT_ALL, RTRS_CONNECT_ANY, RTRS_CONNECT_LAZY};
	struct stage *s = v->stage;
	struct sim_net *net = s->net;
	struct rtrs_path_addr paths[2] = {{.fabric = s->fabric},
					  {.fabric = s->fabric}};
	struct rnbd_clt_params p = {
		.rtrs = {.name = "victim",
			 .paths = paths,
			 .n_paths = 1 + !sim_net_below(net, 4),
			 .connect = connects[sim_net_below(net, 3)],
			 .n_cons = 2 + (unsigned)sim_net_below(net, 2),
			 .need_inval = sim_net_below(net, 2),
			 .hb_interval_ms = 20,
			 .connect_timeout_ms = 100,
			 .reconnect_backoff_ms = 2,
			 .max_reconnect_attempts =
				 sim_net_below(net, 2) ? -1 : 2,
			 .rng = sim_net_rng(net),
			 .log = &v->log,
			 .now = stage_now(s),
			 .fabric_priv = v->node},
		.io_timeout_ms = (unsigned)sim_net_below(net, 2) * 100,
		.open_timeout_ms = OPEN_TIMEOUT_MS,
		.trust_write_zeroes = sim_net_below(net, 2),
	};
	struct sim_node *second;

	if (s->messages >= s->budget || choice_spent(s->choice)) {
		v->state = VICTIM_DONE;
		return;
	}
	s->lives++;
	v->liar->mood = moods[choose(s->choice, ARRAY_SIZE(moods))];
	v->max_queue_depth = sim_net_below(net, 2) ? 0 : 6;
	p.rtrs.max_queue_depth = v->max_queue_depth;
	if (sim_node_new(net, "address", HOST_VICTIM + 1, &second))
		abort();
	for (unsigned i = 0; i < 2; i++)
		paths[i].dst_len =
			sim_node_addr(v->liar->node, STAGE_PORT, &paths[i].dst);
	paths[1].src_len = sim_node_addr(second, 0, &paths[1].src);
	stage_note(s, "victim: a session, mood %d", v->liar->mood);
	if (rnbd_clt_new(&p, &v->clt))
		abort();
	v->began = v->last_end = stage_now(s);
	v->left = 20 + (unsigned)sim_net_below(net, 200);
	v->state = VICTIM_OPENS;
	for (unsigned i = 0; i < VICTIM_DEVS; i++) {
		v->devs[i] = (struct victim_dev){.v = v, .opening = true};
		if (rnbd_clt_dev_open(v->clt, i ? "b" : "a",
				      i ? RNBD_ACCESS_RO : RNBD_ACCESS_RW,
				      on_opened, &v->devs[i]))
			abort();
	}
	wait_for(v, 2 * OPEN_TIMEOUT_MS * NSEC_PER_MSEC);
}

static void
end_session(struct victim *v)
{
	rnbd_clt_free(v->clt);
	v->clt = NULL;
	if (v->n_busy)
		stage_fail(v->stage, "victim: %u I/O never ended", v->n_busy);
	for (unsigned i = 0; i < VICTIM_DEVS; i++)
		if (v->devs[i].opening)
			stage_fail(v->stage, "victim: an open never ended");
	v->state = VICTIM_RESTS;
	/* What is still under way to its memory arrives in the meantime. */
	wait_for(v, 20 * NSEC_PER_USEC);
}

static void
on_closed(void *user)
{
	*(bool *)user = true;
}

static void
leave(struct victim *v)
{
	static bool closed;

	/* Without a word, with one for the device, or for the session. */
	switch (sim_net_below(v->stage->net, 4)) {
	case 0:
		end_session(v);
		return;
	case 1:
		if (v->n_busy || !v->devs[0].dev)
			break;
		rnbd_clt_dev_close(v->devs[0].dev, on_closed, &closed);
		v->devs[0].dev = NULL;
		break;
	default:
		break;
	}
	rnbd_clt_close(v->clt);
	v->state = VICTIM_CLOSES;
	wait_for(v, LEAVE_NS);
}

/* What a server says decides how much is held for it: up to a limit. */
static void
check_sizes(struct victim *v)
{
	struct rtrs_clt *clt = rnbd_clt_rtrs(v->clt);
	uint64_t depth, size;

	if (!rtrs_clt_is_up(clt))
		return;
	depth = rtrs_clt_queue_depth(clt);
	size = rtrs_clt_max_io_size(clt);
	if (!depth || depth * size > UINT64_C(256) << 20 ||
	    (v->max_queue_depth && depth > v->max_queue_depth))
		stage_fail(v->stage, "victim: %llu requests of %llu bytes",
			   (unsigned long long)depth, (unsigned long long)size);
}

static void
do_io(struct victim *v)
{
	check_sizes(v);
	if (!v->left || rnbd_clt_failed(v->clt)) {
		if (!v->n_busy || rnbd_clt_failed(v->clt))
			leave(v);
		return;
	}
	for (unsigned i = 0; i < VICTIM_IOS && v->left; i++)
		if (!v->ios[i].busy)
			begin_io(v, &v->ios[i]);
}

static void
work(struct victim *v)
{
	switch (v->state) {
	case VICTIM_OPENS:
		for (unsigned i = 0; i < VICTIM_DEVS; i++)
			if (v->devs[i].opening)
				return;
		if (!v->devs[0].dev) {
			leave(v);
			return;
		}
		v->state = VICTIM_WORKS;
		wait_for(v, PATIENCE_NS);
		do_io(v);
		break;
	case VICTIM_WORKS:
		do_io(v);
		break;
	case VICTIM_CLOSES:
		if (rnbd_clt_closed(v->clt))
			end_session(v);
		break;
	case VICTIM_RESTS:
	case VICTIM_DONE:
		break;
	}
}

static void
timer_fire(struct stage_timer *t)
{
	struct victim *v = container_of(t, struct victim, timer);

	switch (v->state) {
	case VICTIM_RESTS:
		check_all(v);
		begin_session(v);
		break;
	case VICTIM_OPENS:
		stage_fail(v->stage, "victim: the opens take too long");
		break;
	case VICTIM_WORKS:
		/* A server need not answer; but this one did. */
		if (v->last_end + PATIENCE_NS > stage_now(v->stage))
			stage_timer_set(v->stage, t, v->last_end + PATIENCE_NS);
		else
			leave(v);
		break;
	case VICTIM_CLOSES:
		stage_fail(v->stage, "victim: cannot leave");
		break;
	case VICTIM_DONE:
		break;
	}
}

/* --- player */

static bool
ready(struct player *p)
{
	struct victim *v = container_of(p, struct victim, player);

	return v->clt && (v->due || rnbd_clt_arm(v->clt) ||
			  rnbd_clt_deadline(v->clt) <= stage_now(v->stage));
}

static uint64_t
deadline(struct player *p)
{
	struct victim *v = container_of(p, struct victim, player);

	return v->clt ? rnbd_clt_deadline(v->clt) : TIME_NEVER;
}

static void
turn(struct player *p)
{
	struct victim *v = container_of(p, struct victim, player);

	v->due = false;
	rnbd_clt_progress(v->clt, stage_now(v->stage));
	work(v);
}

void
victim_start(struct victim *v, struct stage *s, struct liar_srv *l)
{
	*v = (struct victim){.stage = s, .liar = l, .timer.fire = timer_fire};
	v->log = (struct log){
		.sink = log_line, .user = v, .threshold = s->log.threshold};
	if (sim_node_new(s->net, "victim", HOST_VICTIM, &v->node))
		abort();
	for (unsigned i = 0; i < VICTIM_IOS; i++) {
		memset(v->ios[i].buf, GUARD_BYTE, sizeof(v->ios[i].buf));
		lay_to_rest(&v->ios[i]);
	}
	v->player = (struct player){
		.ready = ready, .deadline = deadline, .turn = turn};
	DL_APPEND(s->players, &v->player);
	v->state = VICTIM_RESTS;
	wait_for(v, 0);
}

void
victim_stop(struct victim *v)
{
	struct stage *s = v->stage;
	/*
	 * Each attempt to connect has two connections at least, and two lines:
	 * that it came up, and why it ended. One for each other message.
	 */
	uint64_t most =
		64 + v->liar->conn_reqs + v->liar->admin_reqs + 2 * s->lives;

	stage_timer_cancel(s, &v->timer);
	DL_DELETE(s->players, &v->player);
	if (!s->trace && v->lines > most)
		stage_fail(s, "victim: %llu lines of log, %llu are in order",
			   (unsigned long long)v->lines,
			   (unsigned long long)most);
}
