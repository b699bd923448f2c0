/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one worker has to say for the metrics, copied on its thread: counters as
 * they are, latencies reduced to the bounds that are published.
 *
 * METRICS_MAX_ROWS of each kind at most; the rest is counted, not copied.
 */
#ifndef GATEWAY_METRICS_SNAP_H
#define GATEWAY_METRICS_SNAP_H

#include "config/control/openmetrics.h"
#include "gateway/hash.h"
#include "gateway/server.h"
#include "gateway/snapshot.h"
#include "gateway/worker.h"

/* Of devices, paths and exports each, in one answer. */
#define METRICS_MAX_ROWS 1024

/* An export, or a device: an export in a session. */
struct metrics_io {
	char session[RTRS_NAME_LEN]; /* "": an export */
	char export[RNBD_NAME_LEN];
	uint64_t devices, inflight, size_bytes, flush_failed;
	struct gw_op_stats op[BACKEND_N_OPS];
	bool has_latency;
	struct openmetrics_latency latency[BACKEND_N_OPS];
	char *labels; /* of metrics-text.c */
	UT_hash_handle hh;
};

struct metrics_path {
	char session[RTRS_NAME_LEN];
	char path[SNAP_PATHNAME_MAX];
	uint64_t connections, chunk_bytes, hb_latency_ns;
	struct rtrs_srv_stats stats;
	char *labels;
};

struct metrics_worker {
	char labels[24];
	uint64_t busy_ns, idle_ns, waits;
	uint64_t sessions, devices;
	uint64_t paths_connecting, paths_connected, paths_closing;
	struct gw_server_stats stats;
	struct rtrs_srv_counts counts;
};

/* What did not fit, for want of rows or of memory. */
struct metrics_omitted {
	uint64_t exports, devices, paths;
};

struct metrics_snap {
	struct metrics_worker worker;
	struct metrics_io *exports, *devices;
	struct metrics_path *paths;
	size_t n_exports, n_devices, n_paths;
	struct metrics_omitted omitted;
};

/* On the worker's thread. */
void metrics_snap_take(struct worker *w, struct metrics_snap *ret);
void metrics_snap_deinit(struct metrics_snap *snap);

/* Adds what another worker says of the same export. */
void metrics_io_add(struct metrics_io *io, const struct metrics_io *more);

#endif
