/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The metrics as OpenMetrics 1.0 text: a table of families, and what it needs
 * to print them. Pure: no clock, no file, no thread. rnbd-metrics(7) is the
 * description; a test compares the two.
 */
#ifndef GATEWAY_METRICS_TEXT_H
#define GATEWAY_METRICS_TEXT_H

#include "gateway/metrics-snap.h"

struct metrics_process {
	uint64_t start_time_ns; /* since 1970 */
	uint64_t cpu_ns;
	/* 0: not known, and left out */
	uint64_t resident_bytes, virtual_bytes;
	uint64_t open_fds, max_fds;
	uint64_t max_chunk_bytes, max_sessions; /* max_chunk_bytes 0: none */
};

/* A series of a family that has just one label. */
struct metrics_named {
	const char *name;
	uint64_t value;
	char *labels;
};

#define METRICS_MAX_LISTENERS 64
/* More than there are. */
#define METRICS_MAX_REASONS   64

struct metrics_page {
	struct metrics_process process;
	struct metrics_named listeners[METRICS_MAX_LISTENERS]; /* requests */
	struct metrics_named rejects[METRICS_MAX_REASONS];
	size_t n_listeners, n_rejects;
	const struct metrics_worker *workers;
	size_t n_workers;
	struct metrics_io *exports, *devices;
	size_t n_exports, n_devices;
	struct metrics_path *paths;
	size_t n_paths;
	struct metrics_omitted omitted;
};

/*
 * The text, to be freed by the caller. Fills the labels of the rows, and frees
 * them again. Errors: -ENOMEM.
 */
int metrics_text(struct metrics_page *page, char **ret_text, size_t *ret_len);

#endif
