/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "gateway/access.h"
#include "gateway/export.h"
#include "gateway/proc.h"
#include "rtrs/base/remedy.h"

struct waiter {
	struct http_request *req;
	struct waiter *next;
};

/* One worker's: travels there and back. */
struct part {
	struct loop_call call;
	struct gather *gather;
	struct worker *worker;
	struct metrics_snap snap;
};

struct gather {
	struct metrics *metrics; /* NULL: it is gone */
	struct loop *loop;
	struct waiter *waiters;
	unsigned left, n_parts;
	struct part parts[];
};

struct metrics {
	struct metrics_params p;
	struct http *http;
	struct proc *proc;
	struct gather *running;
	struct waiter *waiters; /* for the next round */
};

static void start_gather(struct metrics *m);

/* Steals text; the others get copies. NULL: it failed. */
static void
reply_all(struct waiter *waiters, char *text, size_t len)
{
	struct waiter *w, *next;

	LL_FOREACH_SAFE(waiters, w, next) {
		char *mine = text;

		if (text && next) {
			mine = malloc(len);
			if (mine)
				memcpy(mine, text, len);
		}
		http_reply(w->req, OPENMETRICS_CONTENT_TYPE, mine, len);
		free(w);
	}
}

/* ----------------------------------------------------------- adding it up */

/* Everything that goes into one page, and what has to be freed after it. */
struct sum {
	struct metrics_page page;
	struct metrics_worker *workers;
	struct metrics_io *by_name; /* hash of exports */
	size_t room;                /* of the array of exports */
	uint64_t malformed;
	uint64_t rejects[RTRS_SRV_N_REJECTS];
	uint64_t names_refused;
};

/* The row of an export of this name; NULL: there is no room. */
static struct metrics_io *
export_row(struct sum *s, const char *name)
{
	struct metrics_io *io;

	HASH_FIND_STR(s->by_name, name, io);
	if (io)
		return io;
	if (s->page.n_exports == s->room) {
		s->page.omitted.exports++;
		return NULL;
	}
	io = &s->page.exports[s->page.n_exports++];
	snprintf(io->export, sizeof(io->export), "%s", name);
	HASH_ADD_STR(s->by_name, export, io);
	return io;
}

static void
add_configured(void *user, const struct gw_exports_item *item)
{
	struct metrics_io *io = export_row(user, item->spec->name);

	if (!io)
		return;
	io->size_bytes = item->size_bytes;
	io->flush_failed = item->flush_failed;
}

static void
add_listener(void *user, const char *addr, const struct rtrs_listener_stats *st)
{
	struct sum *s = user;

	s->malformed += st->malformed;
	if (s->page.n_listeners < METRICS_MAX_LISTENERS)
		s->page.listeners[s->page.n_listeners++] =
			(struct metrics_named){.name = addr,
					       .value = st->requests};
}

static void
add_worker(struct sum *s, const struct metrics_snap *snap)
{
	struct metrics_page *page = &s->page;
	const struct rtrs_srv_counts *c = &snap->worker.counts;

	s->workers[page->n_workers++] = snap->worker;
	for (unsigned i = 0; i < RTRS_SRV_N_REJECTS; i++)
		s->rejects[i] += c->rejected[i];
	s->names_refused += c->names_refused;
	for (size_t i = 0; i < snap->n_exports; i++) {
		struct metrics_io *io = export_row(s, snap->exports[i].export);

		if (io)
			metrics_io_add(io, &snap->exports[i]);
	}
	page->omitted.exports += snap->omitted.exports;
	page->omitted.devices += snap->omitted.devices;
	page->omitted.paths += snap->omitted.paths;
}

/* As many rows of all workers as a page has. */
static void
add_rows(struct sum *s, const struct metrics_snap *snap)
{
	struct metrics_page *page = &s->page;

	for (size_t i = 0; i < snap->n_devices; i++) {
		if (page->n_devices == METRICS_MAX_ROWS)
			page->omitted.devices++;
		else
			page->devices[page->n_devices++] = snap->devices[i];
	}
	for (size_t i = 0; i < snap->n_paths; i++) {
		if (page->n_paths == METRICS_MAX_ROWS)
			page->omitted.paths++;
		else
			page->paths[page->n_paths++] = snap->paths[i];
	}
}

/* A limit may be met in two places: by a worker, and by all together. */
static void
add_reject(struct metrics_page *page, const char *reason, uint64_t n)
{
	size_t i = 0;

	while (i < page->n_rejects && strcmp(page->rejects[i].name, reason))
		i++;
	if (i == METRICS_MAX_REASONS)
		return;
	if (i == page->n_rejects)
		page->rejects[page->n_rejects++].name = reason;
	page->rejects[i].value += n;
}

static void
add_rejects(struct sum *s, struct gw_access *access)
{
	struct gw_access_stats st;

	add_reject(&s->page, "malformed", s->malformed);
	/* The upper layer is access, which tells its reasons itself. */
	for (unsigned i = 0; i < RTRS_SRV_N_REJECTS; i++)
		if (i != RTRS_SRV_REJECT_UPPER)
			add_reject(&s->page, rtrs_srv_reject_name(i),
				   s->rejects[i]);
	add_reject(&s->page, "name", s->names_refused);
	gw_access_stats(access, &st);
	for (unsigned i = 0; i < GW_ACCESS_N_REASONS; i++)
		add_reject(&s->page, gw_access_reason_name(i), st.refused[i]);
}

static void
add_process(struct sum *s, struct metrics *m)
{
	struct gw_access_stats access;
	struct proc_info info;

	proc_read(m->proc, &info);
	gw_access_stats(m->p.access, &access);
	s->page.process = (struct metrics_process){
		.start_time_ns = info.start_time_ns,
		.cpu_ns = info.cpu_ns,
		.resident_bytes = info.resident_bytes,
		.virtual_bytes = info.virtual_bytes,
		.open_fds = info.open_fds,
		.max_fds = info.max_fds,
		.max_chunk_bytes = access.limits.memory,
		.max_sessions = access.limits.sessions,
	};
}

static int
sum_alloc(struct sum *s, const struct gather *g)
{
	size_t n_devices = 0, n_paths = 0;

	s->room = METRICS_MAX_ROWS;
	for (unsigned i = 0; i < g->n_parts; i++) {
		n_devices += g->parts[i].snap.n_devices;
		n_paths += g->parts[i].snap.n_paths;
	}
	s->workers = calloc(g->n_parts, sizeof(*s->workers));
	s->page.workers = s->workers;
	s->page.exports = calloc(s->room, sizeof(*s->page.exports));
	s->page.devices = calloc(n_devices + 1, sizeof(*s->page.devices));
	s->page.paths = calloc(n_paths + 1, sizeof(*s->page.paths));
	return s->workers && s->page.exports && s->page.devices && s->page.paths
		       ? 0
		       : -ENOMEM;
}

static void
sum_free(struct sum *s)
{
	HASH_CLEAR(hh, s->by_name);
	free(s->workers);
	free(s->page.exports);
	free(s->page.devices);
	free(s->page.paths);
	free(s);
}

static int
make_page(struct metrics *m, const struct gather *g, char **ret_text,
	  size_t *ret_len)
{
	struct sum *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = sum_alloc(s, g);
	if (!r) {
		gw_exports_for_each(m->p.exports, add_configured, s);
		m->p.for_each_listener(m->p.user, add_listener, s);
		for (unsigned i = 0; i < g->n_parts; i++) {
			add_worker(s, &g->parts[i].snap);
			add_rows(s, &g->parts[i].snap);
		}
		add_rejects(s, m->p.access);
		add_process(s, m);
		r = metrics_text(&s->page, ret_text, ret_len);
	}
	sum_free(s);
	return r;
}

/* ---------------------------------------------------------------- workers */

static void
gather_free(struct gather *g)
{
	for (unsigned i = 0; i < g->n_parts; i++)
		metrics_snap_deinit(&g->parts[i].snap);
	free(g);
}

/* On the control thread. */
static void
part_back(struct loop_call *call)
{
	struct part *part = container_of(call, struct part, call);
	struct gather *g = part->gather;
	struct metrics *m = g->metrics;
	char *text = NULL;
	size_t len = 0;

	if (--g->left)
		return;
	if (m) {
		m->running = NULL;
		if (make_page(m, g, &text, &len) < 0)
			text = NULL; /* the reply says so */
	}
	reply_all(g->waiters, text, len);
	gather_free(g);
	if (m && m->waiters)
		start_gather(m);
}

/* On the worker's thread. */
static void
part_run(struct loop_call *call)
{
	struct part *part = container_of(call, struct part, call);

	metrics_snap_take(part->worker, &part->snap);
	part->call.fn = part_back;
	loop_post(part->gather->loop, &part->call);
}

static void
start_gather(struct metrics *m)
{
	unsigned n = m->p.n_workers;
	struct gather *g = calloc(1, sizeof(*g) + n * sizeof(*g->parts));
	struct waiter *waiters = m->waiters;

	m->waiters = NULL;
	if (!g) {
		reply_all(waiters, NULL, 0);
		return;
	}
	g->metrics = m;
	g->loop = m->p.loop;
	g->waiters = waiters;
	g->left = g->n_parts = n;
	m->running = g;
	for (unsigned i = 0; i < n; i++) {
		struct part *part = &g->parts[i];

		part->call.fn = part_run;
		part->gather = g;
		part->worker = m->p.workers[i];
		worker_post(part->worker, &part->call);
	}
}

static void
on_get(void *user, struct http_request *req)
{
	struct metrics *m = user;
	struct waiter *w = calloc(1, sizeof(*w));

	if (!w) {
		http_reply(req, OPENMETRICS_CONTENT_TYPE, NULL, 0);
		return;
	}
	w->req = req;
	LL_APPEND(m->waiters, w);
	if (!m->running)
		start_gather(m);
}

/* ------------------------------------------------------------------- life */

int
metrics_new(const struct metrics_params *p, char err_text[HTTP_TEXT_MAX],
	    struct metrics **ret)
{
	struct metrics *m = calloc(1, sizeof(*m));
	struct http_params hp = {
		.loop = p->loop,
		.addr = p->addr,
		.what = "--metrics",
		.page = "/metrics",
		.get = on_get,
		.user = m,
	};
	int r = m ? proc_new(&m->proc) : -ENOMEM;

	if (r < 0) {
		snprintf(err_text, HTTP_TEXT_MAX, "--metrics: %s%s",
			 strerror(-r), remedy_words(r));
		free(m);
		return r;
	}
	m->p = *p;
	r = http_new(&hp, err_text, &m->http);
	if (r < 0) {
		metrics_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

void
metrics_free(struct metrics *m)
{
	if (!m)
		return;
	/* First, so that no reply goes out below. */
	http_free(m->http);
	if (m->running)
		m->running->metrics = NULL; /* the last part frees it */
	reply_all(m->waiters, NULL, 0);
	proc_free(m->proc);
	free(m);
}

const char *
metrics_uri(const struct metrics *m)
{
	return http_uri(m->http);
}
