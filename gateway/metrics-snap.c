/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/metrics-snap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/stats.h"

/* Room for n rows of the array, doubled as needed; NULL: there is none. */
static void *
row(void *array_ptr, size_t n, size_t size)
{
	void **array = array_ptr;
	bool full = !n || (n >= 16 && !(n & (n - 1)));
	void *p = *array;

	if (n >= METRICS_MAX_ROWS)
		return NULL;
	if (full)
		p = reallocarray(*array, n ? 2 * n : 16, size);
	if (!p)
		return NULL;
	*array = p;
	return memset((char *)p + n * size, 0, size);
}

static void
take_latency(struct metrics_io *io, const struct gw_latency *latency)
{
	if (!latency)
		return;
	io->has_latency = true;
	for (int i = 0; i < BACKEND_N_OPS; i++)
		openmetrics_latency_take(&latency->op[i], &io->latency[i]);
}

static void
add_export(void *user, const struct gw_export_info *info)
{
	struct metrics_snap *snap = user;
	struct metrics_io *io =
		row(&snap->exports, snap->n_exports, sizeof(*snap->exports));

	if (!io) {
		snap->omitted.exports++;
		return;
	}
	snap->n_exports++;
	snprintf(io->export, sizeof(io->export), "%s", info->name);
	io->devices = info->devices;
	io->inflight = info->inflight;
	memcpy(io->op, info->op, sizeof(io->op));
	take_latency(io, info->latency);
}

static void
add_device(void *user, const struct gw_device_info *info)
{
	struct metrics_snap *snap = user;
	struct metrics_io *io =
		row(&snap->devices, snap->n_devices, sizeof(*snap->devices));

	if (!io) {
		snap->omitted.devices++;
		return;
	}
	snap->n_devices++;
	snprintf(io->session, sizeof(io->session), "%s", info->sess_name);
	snprintf(io->export, sizeof(io->export), "%s", info->dev_name);
	io->devices = 1;
	io->inflight = info->inflight;
	io->size_bytes = info->size_bytes;
	memcpy(io->op, info->op, sizeof(io->op));
	take_latency(io, info->latency);
}

static void
count_path(struct metrics_worker *w, enum rtrs_srv_path_state state)
{
	w->paths_connecting += state == RTRS_SRV_CONNECTING;
	w->paths_connected += state == RTRS_SRV_CONNECTED;
	w->paths_closing += state == RTRS_SRV_CLOSING;
}

static void
add_path(void *user, const struct rtrs_srv_path_info *info)
{
	struct metrics_snap *snap = user;
	struct metrics_path *p;

	count_path(&snap->worker, info->state);
	/* Only these are one of a kind by session and hosts. */
	if (info->state != RTRS_SRV_CONNECTED)
		return;
	p = row(&snap->paths, snap->n_paths, sizeof(*snap->paths));
	if (!p) {
		snap->omitted.paths++;
		return;
	}
	snap->n_paths++;
	snprintf(p->session, sizeof(p->session), "%s", info->sess_name);
	snapshot_pathname(info, p->path);
	p->connections = info->n_cons;
	p->chunk_bytes = info->chunk_mem;
	p->hb_latency_ns = info->hb_latency_ns;
	p->stats = info->stats;
}

static void
take_worker(struct worker *w, struct metrics_worker *ret)
{
	struct gw_server *s = worker_server(w);
	struct worker_times t;

	worker_times(w, &t);
	ret->idle_ns = t.idle_ns;
	ret->busy_ns = t.now - t.started - t.idle_ns;
	ret->waits = t.waits;
	snprintf(ret->labels, sizeof(ret->labels), "worker=\"%u\"",
		 worker_index(w));
	gw_server_stats(s, &ret->stats);
	ret->sessions = ret->stats.sessions;
	ret->devices = ret->stats.devices;
	rtrs_srv_counts(gw_server_rtrs(s), &ret->counts);
}

void
metrics_snap_take(struct worker *w, struct metrics_snap *ret)
{
	struct gw_server *s = worker_server(w);

	*ret = (struct metrics_snap){0};
	take_worker(w, &ret->worker);
	gw_server_for_each_export(s, add_export, ret);
	gw_server_for_each_device(s, add_device, ret);
	rtrs_srv_for_each_path(gw_server_rtrs(s), add_path, ret);
}

void
metrics_snap_deinit(struct metrics_snap *snap)
{
	free(snap->exports);
	free(snap->devices);
	free(snap->paths);
	*snap = (struct metrics_snap){0};
}

void
metrics_io_add(struct metrics_io *io, const struct metrics_io *more)
{
	io->devices += more->devices;
	io->inflight += more->inflight;
	io->has_latency |= more->has_latency;
	for (int i = 0; i < BACKEND_N_OPS; i++) {
		struct openmetrics_latency *l = &io->latency[i];
		const struct openmetrics_latency *m = &more->latency[i];

		io->op[i].ops += more->op[i].ops;
		io->op[i].bytes += more->op[i].bytes;
		io->op[i].errors += more->op[i].errors;
		l->count += m->count;
		l->sum_ns += m->sum_ns;
		for (int b = 0; b < OPENMETRICS_N_BOUNDS; b++)
			l->le[b] += m->le[b];
	}
}
