/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/hostile/stage.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <utlist.h>

/* So many turns without the clock moving are a livelock. */
#define MAX_IDLE_TURNS 200000
/* Whoever is ready to run may wait for a processor so long. */
#define SLOWNESS_NS    (4 * NSEC_PER_USEC)
/*
 * Kinds of lines that a peer can bring about. The sink prints LOG_SINK_BURST of
 * each per window.
 */
#define LOG_KINDS      64

static const struct stage *playing;

uint64_t
stage_clock(void)
{
	return stage_now(playing);
}

uint64_t
stage_now(const struct stage *s)
{
	return sim_net_now(s->net);
}

static void
log_line(void *user, enum log_level level, const char *line)
{
	struct stage *s = user;
	const struct log *to = log_sink_log(s->sink);

	s->lines++;
	stage_note(s, "%s: %s", log_level_name(level), line);
	if (log_wants(to, level))
		to->sink(to->user, level, line);
}

static void
pick_net(struct stage *s)
{
	static const struct fabric_ops *const fabrics[] = {
		&fabric_sim, &fabric_sim, &fabric_sim_rdma, &fabric_sim_plain};
	struct sim_faults *f = sim_net_faults(s->net);

	s->fabric = fabrics[choose(s->choice, ARRAY_SIZE(fabrics))];
	f->delay_min_ns = 1000;
	f->delay_max_ns = 1000 + choose(s->choice, 3) * 4000;
	f->done_when_sent = s->fabric == &fabric_sim && choose(s->choice, 2);
}

void
stage_init(struct stage *s, struct choice *c, uint64_t budget, FILE *trace)
{
	struct log_sink_params p = {
		.ident = "hostile",
		.threshold = LOG_LVL_INFO,
		.target = LOG_TARGET_STDERR,
		.now = stage_clock,
	};

	*s = (struct stage){.choice = c, .budget = budget, .trace = trace};
	playing = s;
	if (sim_net_new(choose(c, UINT64_MAX), &s->net))
		abort();
	sim_net_trace(s->net, trace);
	s->log_fd = memfd_create("log", MFD_CLOEXEC);
	p.fd = s->log_fd;
	if (s->log_fd < 0 || log_sink_new(&p, &s->sink))
		abort();
	s->log = (struct log){
		.sink = log_line,
		.user = s,
		.threshold = trace ? LOG_LVL_DEBUG : LOG_LVL_INFO,
	};
	pick_net(s);
}

/* What was printed, in whole lines. */
static uint64_t
printed_lines(struct stage *s)
{
	char buf[65536];
	uint64_t n = 0;
	ssize_t len;
	off_t off = 0;

	while ((len = pread(s->log_fd, buf, sizeof(buf), off)) > 0) {
		for (ssize_t i = 0; i < len; i++)
			n += buf[i] == '\n';
		off += len;
	}
	return n;
}

static void
check_log(struct stage *s)
{
	uint64_t windows =
		1 + stage_now(s) / (LOG_SINK_WINDOW_MS * NSEC_PER_MSEC);
	uint64_t most = windows * LOG_KINDS * (LOG_SINK_BURST + 1);
	uint64_t lines = printed_lines(s);

	if (lines > most)
		stage_fail(s, "%llu lines of log, %llu are in order",
			   (unsigned long long)lines, (unsigned long long)most);
}

static void
check_leaks(struct stage *s)
{
	struct sim_counts n;

	sim_net_counts(s->net, &n);
	if (n.ctxs || n.listeners || n.conns || n.pds || n.mrs || n.mws)
		stage_fail(s,
			   "left over: %u contexts, %u listeners, %u "
			   "connections, %u PDs, %u MRs, %u windows",
			   n.ctxs, n.listeners, n.conns, n.pds, n.mrs, n.mws);
}

void
stage_deinit(struct stage *s)
{
	if (!s->failed)
		check_leaks(s);
	if (!s->failed)
		check_log(s);
	/* After a failure nothing can be taken apart in order: it is left. */
	if (s->failed)
		return;
	log_sink_free(s->sink);
	close(s->log_fd);
	sim_net_free(s->net);
	playing = NULL;
}

void
stage_note(struct stage *s, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if (!s->trace)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	sim_net_note(s->net, "%s", line);
}

void
stage_fail(struct stage *s, const char *fmt, ...)
{
	va_list ap;

	if (s->failed)
		return;
	s->failed = true;
	va_start(ap, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
	stage_note(s, "FAILED: %s", s->why);
}

bool
stage_spend(struct stage *s)
{
	s->messages++;
	return s->messages < s->budget && !choice_spent(s->choice);
}

/* --- timers */

static int
timer_cmp(const struct stage_timer *a, const struct stage_timer *b)
{
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

void
stage_timer_set(struct stage *s, struct stage_timer *t, uint64_t at)
{
	stage_timer_cancel(s, t);
	t->at = at;
	t->seq = ++s->timer_seq;
	t->armed = true;
	DL_INSERT_INORDER(s->timers, t, timer_cmp);
}

void
stage_timer_cancel(struct stage *s, struct stage_timer *t)
{
	if (!t->armed)
		return;
	t->armed = false;
	DL_DELETE(s->timers, t);
}

/* --- the loop */

static bool
run_players(struct stage *s)
{
	struct player *p, *tmp;
	bool some = false;

	DL_FOREACH_SAFE(s->players, p, tmp) {
		if (!p->ready(p))
			continue;
		p->turn(p);
		some = true;
	}
	return some;
}

static bool
run_next(struct stage *s)
{
	uint64_t t = sim_net_next_time(s->net);
	struct stage_timer *timer;
	struct player *p;

	if (s->timers)
		t = time_min(t, s->timers->at);
	DL_FOREACH(s->players, p)
		t = time_min(t, p->deadline(p));
	if (t == TIME_NEVER)
		return false;
	if (t < stage_now(s))
		t = stage_now(s);
	/* What happens at about the same time is seen together. */
	sim_net_advance(s->net, t + sim_net_below(s->net, SLOWNESS_NS));
	while ((timer = s->timers) && timer->at <= stage_now(s)) {
		stage_timer_cancel(s, timer);
		timer->fire(timer);
	}
	return true;
}

bool
stage_turn(struct stage *s)
{
	uint64_t now = stage_now(s);
	bool some = run_players(s) || run_next(s);

	if (stage_now(s) > now)
		s->idle_turns = 0;
	else if (++s->idle_turns > MAX_IDLE_TURNS)
		stage_fail(s, "no end of work without time passing");
	return some && !s->failed;
}
