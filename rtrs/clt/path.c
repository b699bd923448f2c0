/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The states of a path, and its way back after a failure:
 *
 *   CONNECTED --fail--> RECONNECTING: disconnect every connection
 *       all CLOSED, and fenced: requests fail over or end, memory is released
 *       (reap)
 *       wait reconnect_delay + jitter + backoff
 *   RECONNECTING --> CONNECTING --> CONNECTED
 *                              \--> CONNECTING_ERR --(all CLOSED)--+
 *        ^                                                          |
 *        +----------------------------------------------------------+
 *
 * Attempts are counted here, and a path that has none left is CLOSED without
 * waiting for the delay that the kernel sits out first.
 */
#include "rtrs/clt/clt.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "rtrs/base/mutant.h"

static const char *const state_names[] = {
	[RTRS_CLT_CONNECTING] = "connecting",
	[RTRS_CLT_CONNECTING_ERR] = "connecting-err",
	[RTRS_CLT_RECONNECTING] = "reconnecting",
	[RTRS_CLT_CONNECTED] = "connected",
	[RTRS_CLT_CLOSING] = "closing",
	[RTRS_CLT_CLOSED] = "closed",
	[RTRS_CLT_DEAD] = "dead",
};

/* legal[from]: the states that may be entered. */
static const unsigned legal[] = {
	[RTRS_CLT_CONNECTING] = BIT(RTRS_CLT_CONNECTED) |
				BIT(RTRS_CLT_CONNECTING_ERR) |
				BIT(RTRS_CLT_CLOSING),
	[RTRS_CLT_CONNECTING_ERR] =
		BIT(RTRS_CLT_RECONNECTING) | BIT(RTRS_CLT_CLOSING),
	[RTRS_CLT_RECONNECTING] =
		BIT(RTRS_CLT_CONNECTING) | BIT(RTRS_CLT_CLOSING),
	[RTRS_CLT_CONNECTED] =
		BIT(RTRS_CLT_RECONNECTING) | BIT(RTRS_CLT_CLOSING),
	[RTRS_CLT_CLOSING] = BIT(RTRS_CLT_CLOSED),
	[RTRS_CLT_CLOSED] = BIT(RTRS_CLT_RECONNECTING) | BIT(RTRS_CLT_DEAD),
	[RTRS_CLT_DEAD] = 0,
};

const char *
rtrs_clt_path_state_name(unsigned state)
{
	return state < ARRAY_SIZE(state_names) ? state_names[state] : "?";
}

bool
clt_path_may(unsigned from, unsigned to)
{
	return from < ARRAY_SIZE(legal) && to < ARRAY_SIZE(legal) &&
	       (legal[from] & BIT(to));
}

bool
clt_path_set_state(struct rtrs_clt_path *path, enum rtrs_clt_path_state state)
{
	struct rtrs_clt *clt = path->clt;
	enum rtrs_clt_path_state old = path->state;
	char addr[RTRS_ADDR_TEXT_MAX];

	if (!clt_path_may(old, state)) {
		log_err(clt->log,
			"session %s: path %s: refused to go from %s "
			"to %s",
			clt->name, clt_addr_words(path, addr),
			rtrs_clt_path_state_name(old),
			rtrs_clt_path_state_name(state));
		return false;
	}
	log_dbg(clt->log, "session %s: path %s: %s -> %s", clt->name,
		clt_addr_words(path, addr), rtrs_clt_path_state_name(old),
		rtrs_clt_path_state_name(state));
	path->state = state;
	if (state == RTRS_CLT_CONNECTED)
		clt->n_up++;
	/* From here until link_down() nothing is sent, on no path: the server
	 * may have forgotten what the caller believes it knows. */
	if (old == RTRS_CLT_CONNECTED && !--clt->n_up && clt->link) {
		clt->lost = true;
		clt->lost_at = clt->now;
	}
	clt->kick = true;
	return true;
}

/* How long a connection of a lost path may take to close in order. */
#define GRACE_MS 100

/* Begins to take the connections down; requests are dealt with by reap. */
static void
stop(struct rtrs_clt_path *path)
{
	rtrs_hb_stop(&path->hb);
	path->timer = TIME_NEVER;
	if (path->draining)
		return;
	path->draining = true;
	path->unconfirmed = false;
	path->grace = time_after_ms(path->clt->now, GRACE_MS);
	if (path->inflight && !RNBD_MUTANT(RESEND_EARLY))
		clt_fence_raise(path);
	for (unsigned i = 0; i < path->n_cons; i++)
		clt_con_stop(&path->cons[i]);
}

static void set_why(struct rtrs_clt_path *path, int err, const char *fmt,
		    va_list ap) __attribute__((format(printf, 3, 0)));

static void
set_why(struct rtrs_clt_path *path, int err, const char *fmt, va_list ap)
{
	struct rtrs_clt *clt = path->clt;
	char addr[RTRS_ADDR_TEXT_MAX];
	int n;

	path->err = err;
	n = snprintf(path->why, sizeof(path->why),
		     "%s: ", clt_addr_words(path, addr));
	vsnprintf(path->why + n, sizeof(path->why) - (size_t)n, fmt, ap);
	strcpy(clt->why, path->why);
	log_warn(clt->log, "session %s: path %s", clt->name, clt->why);
}

/* The first open: with connect=all the first failure ends it, else the last. */
static void
fail_open(struct rtrs_clt *clt, int err)
{
	if (clt->opened || clt->failed)
		return;
	if (clt->p.connect != RTRS_CONNECT_ALL)
		for (unsigned i = 0; i < clt->n_paths; i++)
			if (!clt->paths[i]->tried)
				return;
	clt->failed = true;
	clt->failed_due = true;
	clt->open_err = err;
	for (unsigned i = 0; i < clt->n_paths; i++)
		clt_path_close(clt->paths[i]);
}

void
clt_path_op_end(struct rtrs_clt_path *path, int err)
{
	if (!path->op || path->op_done)
		return;
	path->op_done = true;
	path->op_err = err;
	path->clt->kick = true;
}

/* An attempt came to nothing. */
static void
attempt_failed(struct rtrs_clt_path *path, int err)
{
	path->tried = true;
	path->stats.reconnects_err++;
	clt_path_op_end(path, err);
	if (path->adding) {
		path->removing = true;
		clt_path_close(path);
	}
}

void
clt_path_fail(struct rtrs_clt_path *path, int err, const char *fmt, ...)
{
	va_list ap;

	if (path->state != RTRS_CLT_CONNECTING &&
	    path->state != RTRS_CLT_CONNECTED)
		return;
	va_start(ap, fmt);
	set_why(path, err, fmt, ap);
	va_end(ap);
	if (path->state == RTRS_CLT_CONNECTED) {
		clt_path_set_state(path, RTRS_CLT_RECONNECTING);
	} else {
		clt_path_set_state(path, RTRS_CLT_CONNECTING_ERR);
		attempt_failed(path, err);
	}
	stop(path);
	fail_open(path->clt, err);
}

void
clt_path_give_up(struct rtrs_clt_path *path, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_why(path, err, fmt, ap);
	va_end(ap);
	if (path->state == RTRS_CLT_CONNECTING)
		attempt_failed(path, err);
	clt_path_close(path);
	fail_open(path->clt, err);
}

void
clt_path_close(struct rtrs_clt_path *path)
{
	if (path->state == RTRS_CLT_CLOSING || path->state == RTRS_CLT_CLOSED ||
	    path->state == RTRS_CLT_DEAD)
		return;
	clt_path_set_state(path, RTRS_CLT_CLOSING);
	stop(path);
}

/* The order in which things go: windows, connections, requests, memory. */
void
clt_path_drop(struct rtrs_clt_path *path)
{
	clt_mem_free_windows(path);
	for (unsigned i = 0; i < path->n_cons; i++)
		clt_con_free(&path->cons[i]);
	clt_req_release_all(path);
	clt_mem_free(path);
	path->info_sent = false;
	path->draining = false;
}

/*
 * How long to wait before the next attempt. With a maximum the wait doubles
 * with each attempt that fails, and a quarter of it is up to chance, so that
 * many clients of one server do not come back in step.
 */
static uint64_t
pause_ms(struct rtrs_clt_path *path)
{
	const struct rtrs_clt_params *p = &path->clt->p;
	uint64_t ms = (uint64_t)p->reconnect_delay_ms + p->reconnect_backoff_ms;
	uint64_t jitter = p->reconnect_jitter_ms;

	if (p->reconnect_max_ms > ms) {
		for (unsigned i = 0;
		     ms && i < path->attempts && ms < p->reconnect_max_ms; i++)
			ms *= 2;
		if (ms > p->reconnect_max_ms)
			ms = p->reconnect_max_ms;
		jitter += ms / 4;
	}
	return jitter ? ms + rng_u32(&path->clt->rng) % jitter : ms;
}

/* Down and clean: sets the time of the next attempt, if there is to be one. */
static void
schedule(struct rtrs_clt_path *path)
{
	const struct rtrs_clt_params *p = &path->clt->p;

	if (p->max_reconnect_attempts >= 0 && !path->hurry &&
	    path->attempts >= (unsigned)p->max_reconnect_attempts) {
		char addr[RTRS_ADDR_TEXT_MAX];

		log_err(path->clt->log,
			"session %s: path %s: given up after %u attempts",
			path->clt->name, clt_addr_words(path, addr),
			path->attempts);
		clt_path_close(path);
		return;
	}
	path->timer = path->hurry
			      ? path->clt->now
			      : time_after_ms(path->clt->now, pause_ms(path));
	path->hurry = false;
}

static bool
all_closed(const struct rtrs_clt_path *path)
{
	for (unsigned i = 0; i < path->n_cons; i++)
		if (path->cons[i].state != CLT_CON_NONE &&
		    path->cons[i].state != CLT_CON_CLOSED)
			return false;
	return true;
}

/* Are its requests the matter of another path, and not of the caller? */
static bool
fails_over(const struct rtrs_clt_path *path)
{
	const struct rtrs_clt *clt = path->clt;

	return path->inflight && clt->n_up && !clt->lost && !clt->closing;
}

/*
 * A server that is silent does not close anything, and nothing is won by
 * waiting for it: what is under way here ends with conn_free() as well. Only
 * who closes by command waits for the other side.
 */
static bool
is_quiet(struct rtrs_clt_path *path)
{
	bool closed = all_closed(path);

	if (closed && path->unfenced && RNBD_MUTANT(RESET_IS_PROOF))
		clt_fence_passed(path);
	else if (closed && path->unfenced && !path->unconfirmed)
		clt_fence_hurry(path);
	if (fails_over(path))
		return !path->unfenced;
	return closed || (path->state != RTRS_CLT_CLOSING &&
			  path->clt->now >= path->grace);
}

bool
clt_path_reap(struct rtrs_clt_path *path)
{
	if (!path->draining || !is_quiet(path))
		return false;
	/* Callbacks run in here, and may close the session: look at the state
	 * afterwards. */
	clt_path_drop(path);
	if (path->state == RTRS_CLT_CONNECTING_ERR)
		clt_path_set_state(path, RTRS_CLT_RECONNECTING);
	if (path->state == RTRS_CLT_RECONNECTING)
		schedule(path);
	if (path->state == RTRS_CLT_CLOSING) {
		path->draining = false;
		clt_path_set_state(path, RTRS_CLT_CLOSED);
		/* What a command was about, but for an attempt. */
		clt_path_op_end(path, 0);
	}
	return true;
}

void
clt_path_timers(struct rtrs_clt_path *path)
{
	struct rtrs_clt *clt = path->clt;

	clt_fence_timers(path);
	switch (path->state) {
	case RTRS_CLT_CONNECTING:
		if (clt->now >= path->timer)
			clt_path_fail(path, -ETIMEDOUT,
				      "did not answer for %u ms",
				      clt->p.connect_timeout_ms);
		break;
	case RTRS_CLT_RECONNECTING:
		if (path->draining || clt->now < path->timer)
			break;
		path->attempts++;
		clt_path_set_state(path, RTRS_CLT_CONNECTING);
		clt_connect_start(path);
		break;
	case RTRS_CLT_CONNECTED:
		switch (rtrs_hb_tick(&path->hb, clt->now)) {
		case RTRS_HB_NONE:
			break;
		case RTRS_HB_SEND:
			clt_con_post_imm(&path->cons[0], rtrs_imm_hb_msg());
			break;
		case RTRS_HB_DEAD:
			clt_path_fail(path, -ETIMEDOUT,
				      "silent for %u heartbeats of %u ms",
				      path->hb.missed_max + 1,
				      path->hb.interval_ms);
			break;
		}
		break;
	default:
		break;
	}
}

uint64_t
clt_path_deadline(const struct rtrs_clt_path *path)
{
	uint64_t t = clt_fence_deadline(path);

	if (!path->draining)
		return time_min(
			t, time_min(path->timer, rtrs_hb_deadline(&path->hb)));
	return path->clt->now < path->grace ? time_min(t, path->grace) : t;
}
