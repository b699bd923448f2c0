/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/hostile/honest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

/* On this clock computing costs nothing: an I/O takes what disk and net take.
 */
#define IO_LIMIT_NS     (100 * NSEC_PER_MSEC)
/* When a path of it was stolen, and the other one has to ask for it. */
#define STOLEN_LIMIT_NS (5 * NSEC_PER_SEC)

static void work(struct honest *h);

static bool
is_stolen(const struct honest *h)
{
	return h->g->stolen && h->who != HONEST_OTHER;
}

static void
io_done(struct rnbd_clt_io *io, int err)
{
	struct honest_io *a = io->user;
	struct honest *h = a->h;
	uint64_t version;

	if (!a->busy)
		stage_fail(h->stage, "honest: a second completion");
	if (err)
		stage_fail(h->stage, "honest: block %u: %s", a->block,
			   strerror(-err));
	else if (stage_now(h->stage) - a->begun >
		 (is_stolen(h) ? STOLEN_LIMIT_NS : IO_LIMIT_NS))
		stage_fail(
			h->stage, "honest: I/O took %llu us",
			(unsigned long long)((stage_now(h->stage) - a->begun) /
					     NSEC_PER_USEC));
	else if (io->op == RNBD_CLT_WRITE)
		h->versions[a->block] = (uint8_t)a->version;
	else if (!stamp_ok(a->buf, a->block * (HONEST_BLOCK / DISK_SECTOR),
			   HONEST_BLOCK / DISK_SECTOR, &version) ||
		 version != h->versions[a->block])
		stage_fail(h->stage, "honest: block %u is not what was written",
			   a->block);
	a->busy = false;
	h->busy_blocks[a->block] = false;
	h->n_busy--;
	h->done++;
	/* From here on the memory is ours again. */
	memset(a->buf, 0xdb, sizeof(a->buf));
}

static void
begin_io(struct honest *h, struct honest_io *a)
{
	struct sim_net *net = h->stage->net;
	unsigned block = (unsigned)sim_net_below(net, HONEST_BLOCKS);

	if (h->busy_blocks[block])
		return;
	h->busy_blocks[block] = true;
	a->h = h;
	a->busy = true;
	a->block = block;
	a->begun = stage_now(h->stage);
	a->version = (h->versions[block] + 1) & 0xff;
	a->io = (struct rnbd_clt_io){
		.dev = h->dev,
		.op = sim_net_below(net, 2) ? RNBD_CLT_WRITE : RNBD_CLT_READ,
		.con_hint = block,
		.off = (uint64_t)block * HONEST_BLOCK,
		.len = HONEST_BLOCK,
		.buf = a->buf,
		.done = io_done,
		.user = a,
	};
	if (a->io.op == RNBD_CLT_WRITE)
		stamp_fill(a->buf, block * (HONEST_BLOCK / DISK_SECTOR),
			   HONEST_BLOCK / DISK_SECTOR, a->version);
	h->n_busy++;
	rnbd_clt_submit(&a->io);
}

static void
think_fire(struct stage_timer *t)
{
	struct honest *h = container_of(t, struct honest, think);

	work(h);
}

static void
work(struct honest *h)
{
	struct stage *s = h->stage;
	uint64_t think = h->think_ns;

	if (!h->dev || h->stopping)
		return;
	for (unsigned i = 0; i < HONEST_DEPTH; i++)
		if (!h->ios[i].busy)
			begin_io(h, &h->ios[i]);
	/* When liars wait for time to pass there is nothing to see. */
	if (h->done > s->messages / 8 + 32)
		think = 20 * NSEC_PER_MSEC;
	stage_timer_set(s, &h->think,
			stage_now(s) + think / 2 +
				sim_net_below(s->net, think));
}

static void
on_opened(void *user, struct rnbd_clt_dev *dev, int err, const char *text)
{
	struct honest *h = user;

	if (err)
		stage_fail(h->stage, "honest: cannot open: %s", text);
	h->dev = dev;
	work(h);
}

static void
on_closed(void *user)
{
	struct honest *h = user;

	h->closed_dev = true;
}

/* --- player */

static bool
ready(struct player *p)
{
	struct honest *h = container_of(p, struct honest, player);

	return rnbd_clt_arm(h->clt) ||
	       rnbd_clt_deadline(h->clt) <= stage_now(h->stage);
}

static uint64_t
deadline(struct player *p)
{
	struct honest *h = container_of(p, struct honest, player);

	return rnbd_clt_deadline(h->clt);
}

static void
turn(struct player *p)
{
	struct honest *h = container_of(p, struct honest, player);

	rnbd_clt_progress(h->clt, stage_now(h->stage));
}

void
honest_start(struct honest *h, struct gateway *g, enum honest_who who,
	     uint64_t think_ns)
{
	bool other = who == HONEST_OTHER;
	struct stage *s = g->stage;
	struct rtrs_path_addr paths[HONEST_PATHS] = {{.fabric = s->fabric},
						     {.fabric = s->fabric}};
	struct rnbd_clt_params p = {
		.rtrs = {.name = other ? OTHER_NAME : HONEST_NAME,
			 .paths = paths,
			 .n_paths = who == HONEST_TWICE ? HONEST_PATHS : 1,
			 .n_cons = 2,
			 .reconnect_backoff_ms = 10,
			 .max_reconnect_attempts = -1,
			 .rng = sim_net_rng(s->net),
			 .log = &s->log,
			 .now = stage_now(s)},
		.io_timeout_ms = 60000,
	};
	struct sim_node *second;

	*h = (struct honest){.stage = s,
			     .g = g,
			     .who = who,
			     .think_ns = think_ns,
			     .think.fire = think_fire};
	if (sim_node_new(s->net, other ? "other" : "honest",
			 other ? HOST_OTHER : HOST_HONEST, &h->node) ||
	    sim_node_new(s->net, "address", HOST_HONEST_2, &second))
		abort();
	for (unsigned i = 0; i < HONEST_PATHS; i++)
		paths[i].dst_len =
			sim_node_addr(g->node, STAGE_PORT, &paths[i].dst);
	paths[1].src_len = sim_node_addr(second, 0, &paths[1].src);
	p.rtrs.fabric_priv = h->node;
	if (rnbd_clt_new(&p, &h->clt) ||
	    rnbd_clt_dev_open(h->clt, other ? OTHER_EXPORT : HONEST_EXPORT,
			      RNBD_ACCESS_RW, on_opened, h))
		abort();
	h->player = (struct player){
		.ready = ready, .deadline = deadline, .turn = turn};
	DL_APPEND(s->players, &h->player);
	while (!h->dev && stage_turn(s))
		;
}

void
honest_stop(struct honest *h)
{
	struct stage *s = h->stage;
	struct rnbd_clt_stats st;

	h->stopping = true;
	stage_timer_cancel(s, &h->think);
	while (h->n_busy && stage_turn(s))
		;
	if (s->failed)
		return;
	rnbd_clt_stats(h->clt, &st);
	if (!is_stolen(h) && (st.resent || st.timeouts ||
			      rtrs_clt_lost_at(rnbd_clt_rtrs(h->clt))))
		stage_fail(s, "honest: was cut off, %llu I/O sent again",
			   (unsigned long long)st.resent);
	rnbd_clt_dev_close(h->dev, on_closed, h);
	while (!h->closed_dev && stage_turn(s))
		;
	rnbd_clt_close(h->clt);
	while (!rnbd_clt_closed(h->clt) && stage_turn(s))
		;
	if (s->failed)
		return;
	if (!rnbd_clt_closed(h->clt))
		stage_fail(s, "honest: does not end");
	DL_DELETE(s->players, &h->player);
	rnbd_clt_free(h->clt);
}
