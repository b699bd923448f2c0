/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/hostile/liar-clt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#define MEM_LEN                                                                \
	((LIAR_DEPTH + LIAR_BURST) * (size_t)LIAR_MSG_MAX +                    \
	 (size_t)LIAR_CONS * LIAR_RECVS * RTRS_RKEY_RSP_LEN)
/* What must happen happens by then; net and disk take a fraction of it. */
#define PATIENCE_NS (500 * NSEC_PER_MSEC)
/* Whatever an unclear request does it has done by then. */
#define CLEAR_NS    (20 * NSEC_PER_MSEC)

/* --- lives */

static void
rest(struct liar_clt *l)
{
	struct stage *s = l->stage;

	l->state = LIAR_RESTS;
	stage_timer_set(s, &l->timer,
			stage_now(s) +
				sim_net_below(s->net, 20 * NSEC_PER_USEC));
}

static void
forget_life(struct liar_clt *l)
{
	const struct fabric_ops *ops = l->stage->fabric;

	for (unsigned i = 0; i < LIAR_DEPTH; i++) {
		if (l->shots[i].mr)
			ops->mr_dereg(l->shots[i].mr);
		l->shots[i] = (struct shot){.out = false};
	}
	if (l->mr)
		ops->mr_dereg(l->mr);
	if (l->pd)
		ops->pd_unref(l->pd);
	l->mr = NULL;
	l->pd = NULL;
	l->n_cons = l->n_devs = l->tx_next = l->bursts = 0;
	l->doomed = l->uncertain = l->dead = l->shared = false;
	l->claims = l->claims_sess = false;
	rest(l);
}

static void
con_free(struct liar_con *con)
{
	if (con->conn)
		con->l->stage->fabric->conn_free(con->conn);
	con->conn = NULL;
	con->state = LC_NONE;
}

static void
maybe_left(struct liar_clt *l)
{
	for (unsigned i = 0; i < l->n_cons; i++)
		if (l->cons[i].state != LC_NONE)
			return;
	forget_life(l);
}

void
liar_leave(struct liar_clt *l)
{
	struct choice *c = l->stage->choice;
	bool in_order = choose(c, 2);

	l->state = LIAR_LEAVES;
	stage_timer_cancel(l->stage, &l->timer);
	for (unsigned i = 0; i < l->n_cons; i++) {
		struct liar_con *con = &l->cons[i];

		if (in_order &&
		    (con->state == LC_UP || con->state == LC_DEAD)) {
			con->state = LC_CLOSING;
			l->stage->fabric->disconnect(con->conn);
		} else if (con->state != LC_CLOSING) {
			con_free(con);
		}
	}
	maybe_left(l);
}

void
liar_doom(struct liar_clt *l)
{
	if (l->doomed)
		return;
	l->doomed = true;
	l->doom_by = stage_now(l->stage) + PATIENCE_NS;
}

static void
wait_for(struct liar_clt *l, uint64_t ns)
{
	l->state = LIAR_WAITS;
	stage_timer_set(l->stage, &l->timer, stage_now(l->stage) + ns);
}

/* Some of the UUIDs are those of others, who may be at it just now. */
static void
pick_uuids(struct liar_clt *l)
{
	struct choice *c = l->stage->choice;

	for (unsigned i = 0; i < sizeof(l->sess_uuid.b); i++) {
		l->sess_uuid.b[i] = (uint8_t)sim_net_rand(l->stage->net);
		l->path_uuid.b[i] = (uint8_t)sim_net_rand(l->stage->net);
	}
	if (l->thief && choose_percent(c, 60)) {
		liar_claim(l);
		return;
	}
	if (choose_percent(c, 80))
		return;
	l->shared = true;
	memset(&l->sess_uuid, 0x11 + (int)choose(c, 2), sizeof(l->sess_uuid));
	if (choose_percent(c, 30))
		memset(&l->path_uuid, 0x22, sizeof(l->path_uuid));
}

static void
begin_life(struct liar_clt *l)
{
	struct choice *c = l->stage->choice;
	uint64_t plan = choose(c, 100);

	if (l->stage->messages >= l->stage->budget || choice_spent(c)) {
		l->state = LIAR_DONE;
		return;
	}
	l->stage->lives++;
	/* What is left of the last life may still have the name of that. */
	snprintf(l->name, sizeof(l->name), LIAR_PREFIX "%u-%u", l->index,
		 l->n_lives++);
	l->silent = choose_percent(c, 3);
	l->cid_num = (uint16_t)(1 + choose(c, 3));
	l->recon_cnt = (uint16_t)(1 + choose(c, 3));
	pick_uuids(l);
	stage_note(l->stage, "liar %u: a life by plan %u%s%s", l->index,
		   (unsigned)plan, l->shared ? ", shared" : "",
		   l->claims ? ", claimed" : "");
	if (plan < 90) {
		l->state = LIAR_CONNECTS;
		liar_connect_next(l);
		/* It is to be there within this time, or is refused. */
		stage_timer_set(l->stage, &l->timer,
				stage_now(l->stage) + 20 * NSEC_PER_SEC);
		return;
	}
	/* Many at once, of which no path will ever come up. */
	for (unsigned n = 1 + (unsigned)choose(c, LIAR_CONS - 1); n--;) {
		if (plan < 97) {
			liar_connect_bent(l);
		} else {
			l->n_cons ? pick_uuids(l) : (void)0;
			liar_connect_bent(l);
		}
	}
	l->shared = true;
	wait_for(l,
		 choose_percent(c, 5) ? 3 * NSEC_PER_SEC : 200 * NSEC_PER_USEC);
}

/* Connected: says who it is, or something else. */
static void
inform(struct liar_clt *l)
{
	struct choice *c = l->stage->choice;

	l->state = LIAR_INFORMS;
	stage_timer_set(l->stage, &l->timer, stage_now(l->stage) + PATIENCE_NS);
	liar_post_info_recv(l);
	for (unsigned k = 0; k < l->n_cons; k++)
		for (unsigned i = 0; i < LIAR_RECVS; i++)
			liar_post_recv(l, &l->cons[k], i);
	if (choose_percent(c, 96)) {
		if (liar_claim_fails(l))
			liar_doom(l);
		liar_info(l, true);
		return;
	}
	switch (choose(c, 3)) {
	case 0:
		liar_info(l, false);
		break;
	case 1: { /* I/O before the path is up */
		struct fabric_send_wr wr = {
			.op = FABRIC_WR_RDMA_WRITE_WITH_IMM,
			.imm = rtrs_imm_io_req(
				rtrs_imm_mem_bits(l->g->queue_depth),
				(uint32_t)choose(c, l->g->queue_depth),
				(uint32_t)choose(c, 64)),
		};

		liar_doom(l);
		liar_post(l, &l->cons[choose(c, l->n_cons)], &wr);
		break;
	}
	default: /* never says it */
		wait_for(l, 3 * NSEC_PER_SEC);
		l->doom_by = stage_now(l->stage) + 3 * NSEC_PER_SEC;
		l->doomed = true;
		break;
	}
}

/* --- events */

static void
check_rsp(struct liar_clt *l, const struct fabric_event *ev)
{
	struct rtrs_msg_conn_rsp rsp;

	if (rtrs_msg_conn_rsp_decode(ev->priv, ev->priv_len, &rsp) || rsp.err ||
	    rsp.queue_depth != l->g->queue_depth ||
	    rsp.max_io_size + rsp.max_hdr_size != l->g->chunk_size)
		liar_fail(l, "accepted with a wrong conn_rsp");
}

static void
established(struct liar_clt *l, struct liar_con *con,
	    const struct fabric_event *ev)
{
	const struct fabric_ops *ops = l->stage->fabric;

	con->state = LC_UP;
	check_rsp(l, ev);
	if (con->must_fail)
		liar_fail(l, "a malformed conn_req was accepted");
	if (con->must_miss && !l->g->stolen)
		liar_fail(l, "joined a path that is up");
	if (l->state != LIAR_CONNECTS)
		return;
	if (!l->pd) {
		l->pd = ops->conn_pd(con->conn);
		ops->pd_ref(l->pd);
		if (ops->mr_reg(l->pd, l->mem, MEM_LEN,
				FABRIC_ACCESS_REMOTE_WRITE, &l->mr))
			abort();
	}
	if (l->n_cons < l->cid_num)
		liar_connect_next(l);
	else
		inform(l);
}

static void
refused(struct liar_clt *l, struct liar_con *con, const struct fabric_event *ev)
{
	struct rtrs_msg_conn_rsp rsp;

	if (ev->type == FABRIC_EV_REJECTED &&
	    (rtrs_msg_conn_rsp_decode(ev->priv, ev->priv_len, &rsp) ||
	     rsp.err >= 0))
		liar_fail(l, "rejected without an errno");
	else if (ev->type == FABRIC_EV_REJECTED && con->must_fail &&
		 rsp.err != -ECONNRESET)
		liar_fail(l, "malformed conn_req: %d", rsp.err);
	con_free(con);
	if (l->state == LIAR_CONNECTS)
		liar_leave(l);
	else if (l->state == LIAR_LEAVES)
		maybe_left(l);
}

static void
lost(struct liar_clt *l, struct liar_con *con)
{
	con->state = LC_DEAD;
	l->dead = true;
	if (l->state != LIAR_INFORMS && l->state != LIAR_TALKS &&
	    l->state != LIAR_WAITS)
		return;
	if (!l->doomed && !l->uncertain && !l->shared && !l->silent)
		liar_fail(l, "thrown out for nothing");
}

static void
handle_event(struct liar_clt *l, const struct fabric_event *ev)
{
	struct liar_con *con = ev->user;

	switch (ev->type) {
	case FABRIC_EV_ESTABLISHED:
		established(l, con, ev);
		break;
	case FABRIC_EV_REJECTED:
	case FABRIC_EV_CONNECT_ERROR:
		refused(l, con, ev);
		break;
	case FABRIC_EV_DISCONNECTED:
		lost(l, con);
		break;
	case FABRIC_EV_CLOSED:
		con_free(con);
		if (l->state == LIAR_LEAVES)
			maybe_left(l);
		break;
	case FABRIC_EV_CONNECT_REQUEST:
		break;
	}
}

/* --- completions */

static void
put_chunk(void *user, uint32_t chunk, uint64_t addr, uint32_t key)
{
	struct liar_clt *l = user;

	l->raddr[chunk] = addr;
	l->rkey[chunk] = key;
}

static void
took_info(struct liar_clt *l, uint32_t len)
{
	if (l->doomed)
		liar_fail(l, "let in by a bad INFO_REQ");
	if (rtrs_msg_info_rsp_chunks(liar_rx(l, 0), len, l->g->queue_depth,
				     l->g->chunk_size, put_chunk, l))
		liar_fail(l, "INFO_RSP is malformed");
	if (l->state == LIAR_INFORMS)
		l->state = LIAR_TALKS;
	stage_timer_cancel(l->stage, &l->timer);
}

static void
key_ended(struct liar_clt *l, uint32_t rkey)
{
	for (unsigned i = 0; i < LIAR_DEPTH; i++)
		if (l->shots[i].mr && l->shots[i].mr->rkey == rkey)
			l->shots[i].inv_seen = true;
}

static void
received(struct liar_clt *l, struct liar_con *con, const struct fabric_wc *wc)
{
	unsigned k = (unsigned)(con - l->cons), i = wc->wr_id & 0xffff;
	struct rtrs_imm imm = rtrs_imm_decode(wc->imm);
	struct fabric_send_wr ack = {.op = FABRIC_WR_RDMA_WRITE_WITH_IMM,
				     .imm = rtrs_imm_hb_ack()};
	struct rtrs_msg_rkey_rsp m;
	uint32_t id;
	int err;

	if (wc->with_imm && wc->op == FABRIC_WC_OP_RECV &&
	    !rtrs_msg_rkey_rsp_decode(liar_recv_buf(l, k, i), wc->byte_len,
				      &m) &&
	    m.buf_id < LIAR_DEPTH)
		l->rkey[m.buf_id] = m.rkey;
	liar_post_recv(l, con, i);
	if (!wc->with_imm) {
		key_ended(l, wc->inv_rkey);
		return;
	}
	switch (imm.type) {
	case RTRS_IMM_IO_RSP:
	case RTRS_IMM_IO_RSP_W_INV:
		rtrs_imm_io_rsp_payload(imm.payload, &id, &err);
		liar_answered(l, id, err, imm.type == RTRS_IMM_IO_RSP_W_INV);
		break;
	case RTRS_IMM_HB_MSG:
		if (!l->silent)
			liar_post(l, &l->cons[0], &ack);
		break;
	case RTRS_IMM_HB_ACK:
		break;
	default:
		liar_fail(l, "got an immediate %08x", wc->imm);
	}
}

static void
handle_wc(struct liar_clt *l, const struct fabric_wc *wc)
{
	struct liar_con *con = wc->user;

	if (wc->wr_id == LIAR_WR_SEND) {
		con->sends_out--;
		return;
	}
	if (wc->status != FABRIC_WC_SUCCESS || con->state != LC_UP)
		return;
	if (wc->wr_id >> 32 == LIAR_WR_RECV_INFO)
		took_info(l, wc->byte_len);
	else
		received(l, con, wc);
}

/* --- what it does next */

/* All that was said has left, and all that had to be answered was. */
static bool
is_quiet(const struct liar_clt *l)
{
	for (unsigned i = 0; i < l->n_cons; i++)
		if (l->cons[i].sends_out)
			return false;
	for (unsigned i = 0; i < LIAR_DEPTH; i++)
		if (l->shots[i].out)
			return false;
	return true;
}

static void
late(struct liar_clt *l)
{
	if (l->doomed)
		liar_fail(l, "was not thrown out");
	else if (!l->uncertain)
		liar_fail(l, "a request was not answered");
	else
		liar_leave(l);
}

static void
talk(struct liar_clt *l)
{
	struct stage *s = l->stage;

	if (l->timer.armed && !is_quiet(l))
		return;
	if (l->doomed)
		return;
	stage_timer_cancel(s, &l->timer);
	gateway_check(l->g);
	if (s->messages >= s->budget || choice_spent(s->choice) ||
	    l->bursts > 40) {
		liar_leave(l);
		return;
	}
	if (l->uncertain) {
		wait_for(l, CLEAR_NS);
		return;
	}
	liar_burst(l);
	if (l->state == LIAR_TALKS)
		stage_timer_set(s, &l->timer, stage_now(s) + PATIENCE_NS);
}

static void
timer_fire(struct stage_timer *t)
{
	struct liar_clt *l = container_of(t, struct liar_clt, timer);

	switch (l->state) {
	case LIAR_RESTS:
		begin_life(l);
		break;
	case LIAR_CONNECTS:
		/* Parked for as long as that: others are at it, too. */
		liar_leave(l);
		break;
	case LIAR_INFORMS:
		/* Whoever else is at it, this one may not stay. */
		if (l->shared && !(l->claims && l->doomed && !l->g->stolen))
			liar_leave(l);
		else
			late(l);
		break;
	case LIAR_TALKS:
		late(l);
		break;
	case LIAR_WAITS:
		if (l->uncertain && !l->doomed && !l->dead && l->mr) {
			l->uncertain = false;
			l->state = LIAR_TALKS;
		} else if (l->doomed && !l->dead) {
			late(l);
		} else {
			liar_leave(l);
		}
		break;
	case LIAR_LEAVES:
	case LIAR_DONE:
		break;
	}
}

/* --- player */

static bool
ready(struct player *p)
{
	struct liar_clt *l = container_of(p, struct liar_clt, player);

	return l->stage->fabric->ctx_arm(l->ctx) ||
	       (l->state == LIAR_TALKS && !l->timer.armed);
}

static uint64_t
deadline(struct player *p)
{
	return TIME_NEVER; /* its timers are the stage's */
}

static void
turn(struct player *p)
{
	struct liar_clt *l = container_of(p, struct liar_clt, player);
	const struct fabric_ops *ops = l->stage->fabric;
	struct fabric_event ev;
	struct fabric_wc wc[32];
	int n;

	ops->ctx_poll(l->ctx, stage_now(l->stage));
	while ((n = ops->poll_cq(l->ctx, wc, (int)ARRAY_SIZE(wc))) > 0)
		for (int i = 0; i < n; i++)
			handle_wc(l, &wc[i]);
	while (ops->next_event(l->ctx, &ev))
		handle_event(l, &ev);
	if (l->dead && (l->state == LIAR_INFORMS || l->state == LIAR_TALKS ||
			l->state == LIAR_WAITS))
		liar_leave(l);
	if (l->state == LIAR_TALKS)
		talk(l);
	ops->ctx_flush(l->ctx);
}

void
liar_clt_start(struct liar_clt *l, struct stage *s, struct gateway *g,
	       unsigned index, unsigned host)
{
	const struct fabric_ctx_params p = {.rng = sim_net_rng(s->net),
					    .log = &s->log,
					    .now = stage_now(s)};
	struct fabric_ctx_params cp = p;

	*l = (struct liar_clt){.stage = s,
			       .g = g,
			       .index = index,
			       .host = host,
			       .timer.fire = timer_fire};
	l->mem = calloc(1, MEM_LEN);
	if (!l->mem || sim_node_new(s->net, "liar", host, &l->node))
		abort();
	cp.priv = l->node;
	if (s->fabric->ctx_new(&cp, &l->ctx))
		abort();
	l->player = (struct player){
		.ready = ready, .deadline = deadline, .turn = turn};
	DL_APPEND(s->players, &l->player);
	rest(l);
}

void
liar_clt_free(struct liar_clt *l)
{
	struct stage *s = l->stage;

	DL_DELETE(s->players, &l->player);
	s->fabric->ctx_free(l->ctx);
	free(l->mem);
}
