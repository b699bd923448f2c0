/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/metrics-text.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ table */

/* What a family has series of. */
enum scope {
	PROCESS, /* one, without labels */
	BUILD,
	LISTENER,
	REJECT,
	OMITTED,
	WORKER,
	EXPORT,
	DEVICE,
	PATH,
};

/* What is at the offset in a row. */
enum kind {
	COUNT,   /* uint64_t */
	KNOWN,   /* the same; 0 is left out */
	NS,      /* uint64_t, printed as seconds */
	OPS,     /* per operation, the uint64_t there in a gw_op_stats */
	DATA,    /* the same, of operations that have data or a range */
	LATENCY, /* per operation a histogram */
};

/* Short, for the table. */
#define COUNTER   OPENMETRICS_COUNTER
#define GAUGE     OPENMETRICS_GAUGE
#define INFO      OPENMETRICS_INFO
#define HISTOGRAM OPENMETRICS_HISTOGRAM

struct family {
	const char *name, *unit; /* unit "": none */
	enum openmetrics_type type;
	enum scope scope;
	enum kind kind;
	size_t off;
	const char *help;
};

#define OFF(type, field) offsetof(struct type, field)

static const struct family families[] = {
	{"process_start_time_seconds", "seconds", GAUGE, PROCESS, NS,
	 OFF(metrics_process, start_time_ns),
	 "When the daemon started, since 1970."},
	{"process_cpu_seconds", "seconds", COUNTER, PROCESS, NS,
	 OFF(metrics_process, cpu_ns), "CPU time of all threads."},
	{"process_resident_memory_bytes", "bytes", GAUGE, PROCESS, KNOWN,
	 OFF(metrics_process, resident_bytes), "Memory in use."},
	{"process_virtual_memory_bytes", "bytes", GAUGE, PROCESS, KNOWN,
	 OFF(metrics_process, virtual_bytes), "Address space in use."},
	{"process_open_fds", "", GAUGE, PROCESS, KNOWN,
	 OFF(metrics_process, open_fds), "Open file descriptors."},
	{"process_max_fds", "", GAUGE, PROCESS, KNOWN,
	 OFF(metrics_process, max_fds), "Limit of open file descriptors."},
	{"rnbd_gateway_build", "", INFO, BUILD, COUNT, 0,
	 "The version that runs."},
	{"rnbd_gateway_sessions_limit", "", GAUGE, PROCESS, COUNT,
	 OFF(metrics_process, max_sessions),
	 "Sessions that may be (max-sessions)."},
	{"rnbd_gateway_chunk_memory_limit_bytes", "bytes", GAUGE, PROCESS,
	 KNOWN, OFF(metrics_process, max_chunk_bytes),
	 "Buffers that paths may have (max-memory)."},
	{"rnbd_gateway_series_omitted", "", GAUGE, OMITTED, COUNT, 0,
	 "Exports, devices and paths beyond the limit of this page."},

	{"rnbd_gateway_listener_requests", "", COUNTER, LISTENER, COUNT,
	 OFF(metrics_named, value), "Well-formed connection requests."},
	{"rnbd_gateway_rejects", "", COUNTER, REJECT, COUNT,
	 OFF(metrics_named, value),
	 "What clients asked for and did not get, by reason."},

	{"rnbd_gateway_worker_busy_seconds", "seconds", COUNTER, WORKER, NS,
	 OFF(metrics_worker, busy_ns), "Time at work, busy polling included."},
	{"rnbd_gateway_worker_idle_seconds", "seconds", COUNTER, WORKER, NS,
	 OFF(metrics_worker, idle_ns), "Time waiting for work."},
	{"rnbd_gateway_worker_waits", "", COUNTER, WORKER, COUNT,
	 OFF(metrics_worker, waits), "Waits for work that ended."},
	{"rnbd_gateway_worker_sessions", "", GAUGE, WORKER, COUNT,
	 OFF(metrics_worker, sessions), "Sessions that are up."},
	{"rnbd_gateway_worker_devices", "", GAUGE, WORKER, COUNT,
	 OFF(metrics_worker, devices), "Open devices."},
	{"rnbd_gateway_worker_inflight", "", GAUGE, WORKER, COUNT,
	 OFF(metrics_worker, stats.inflight), "Requests under way."},
	{"rnbd_gateway_worker_paths_connecting", "", GAUGE, WORKER, COUNT,
	 OFF(metrics_worker, paths_connecting),
	 "Paths that have not said who they are."},
	{"rnbd_gateway_worker_paths_connected", "", GAUGE, WORKER, COUNT,
	 OFF(metrics_worker, paths_connected), "Paths that are up."},
	{"rnbd_gateway_worker_paths_closing", "", GAUGE, WORKER, COUNT,
	 OFF(metrics_worker, paths_closing), "Paths that are going."},
	{"rnbd_gateway_worker_chunk_memory_bytes", "bytes", GAUGE, WORKER,
	 COUNT, OFF(metrics_worker, counts.chunk_mem),
	 "Buffers promised to paths."},
	{"rnbd_gateway_worker_connects", "", COUNTER, WORKER, COUNT,
	 OFF(metrics_worker, counts.accepted), "Connections accepted."},
	{"rnbd_gateway_worker_paths_up", "", COUNTER, WORKER, COUNT,
	 OFF(metrics_worker, counts.paths_up), "Paths that came up."},
	{"rnbd_gateway_worker_heartbeat_timeouts", "", COUNTER, WORKER, COUNT,
	 OFF(metrics_worker, counts.hb_timeouts),
	 "Paths given up since the client was silent."},
	{"rnbd_gateway_worker_opens", "", COUNTER, WORKER, COUNT,
	 OFF(metrics_worker, stats.opens), "Devices opened."},
	{"rnbd_gateway_worker_open_errors", "", COUNTER, WORKER, COUNT,
	 OFF(metrics_worker, stats.open_errors), "Opens that failed."},
	{"rnbd_gateway_worker_closes", "", COUNTER, WORKER, COUNT,
	 OFF(metrics_worker, stats.closes), "Devices closed."},
	{"rnbd_gateway_worker_revokes", "", COUNTER, WORKER, COUNT,
	 OFF(metrics_worker, stats.revokes),
	 "Devices taken from clients, since the export or the right went."},
	{"rnbd_gateway_worker_message_errors", "", COUNTER, WORKER, COUNT,
	 OFF(metrics_worker, stats.message_errors),
	 "Messages answered with an error, other than I/O of a device."},

	{"rnbd_gateway_export_devices", "", GAUGE, EXPORT, COUNT,
	 OFF(metrics_io, devices), "Sessions that have the export open."},
	{"rnbd_gateway_export_size_bytes", "bytes", GAUGE, EXPORT, KNOWN,
	 OFF(metrics_io, size_bytes), "Size as it was last seen."},
	{"rnbd_gateway_export_flush_failed", "", GAUGE, EXPORT, COUNT,
	 OFF(metrics_io, flush_failed),
	 "1: data were lost, and flushes fail until it is closed."},
	{"rnbd_gateway_export_inflight", "", GAUGE, EXPORT, COUNT,
	 OFF(metrics_io, inflight), "Requests under way."},
	{"rnbd_gateway_export_operations", "", COUNTER, EXPORT, OPS,
	 OFF(gw_op_stats, ops), "Requests answered, errors included."},
	{"rnbd_gateway_export_bytes", "bytes", COUNTER, EXPORT, DATA,
	 OFF(gw_op_stats, bytes), "Bytes of requests that succeeded."},
	{"rnbd_gateway_export_errors", "", COUNTER, EXPORT, OPS,
	 OFF(gw_op_stats, errors), "Requests answered with an error."},
	{"rnbd_gateway_export_latency_seconds", "seconds", HISTOGRAM, EXPORT,
	 LATENCY, 0, "From the arrival of a request to its answer."},

	{"rnbd_gateway_device_size_bytes", "bytes", GAUGE, DEVICE, COUNT,
	 OFF(metrics_io, size_bytes), "Size as the client was told."},
	{"rnbd_gateway_device_inflight", "", GAUGE, DEVICE, COUNT,
	 OFF(metrics_io, inflight), "Requests under way."},
	{"rnbd_gateway_device_operations", "", COUNTER, DEVICE, OPS,
	 OFF(gw_op_stats, ops), "Requests answered, errors included."},
	{"rnbd_gateway_device_bytes", "bytes", COUNTER, DEVICE, DATA,
	 OFF(gw_op_stats, bytes), "Bytes of requests that succeeded."},
	{"rnbd_gateway_device_errors", "", COUNTER, DEVICE, OPS,
	 OFF(gw_op_stats, errors), "Requests answered with an error."},
	{"rnbd_gateway_device_latency_seconds", "seconds", HISTOGRAM, DEVICE,
	 LATENCY, 0, "From the arrival of a request to its answer."},

	{"rnbd_gateway_path_connections", "", GAUGE, PATH, COUNT,
	 OFF(metrics_path, connections), "Connections of the path."},
	{"rnbd_gateway_path_inflight", "", GAUGE, PATH, COUNT,
	 OFF(metrics_path, stats.inflight), "Requests under way."},
	{"rnbd_gateway_path_reads", "", COUNTER, PATH, COUNT,
	 OFF(metrics_path, stats.rd_cnt), "Requests that read."},
	{"rnbd_gateway_path_read_bytes", "bytes", COUNTER, PATH, COUNT,
	 OFF(metrics_path, stats.rd_bytes), "Bytes of them, with headers."},
	{"rnbd_gateway_path_writes", "", COUNTER, PATH, COUNT,
	 OFF(metrics_path, stats.wr_cnt), "Requests that write."},
	{"rnbd_gateway_path_write_bytes", "bytes", COUNTER, PATH, COUNT,
	 OFF(metrics_path, stats.wr_bytes), "Bytes of them, with headers."},
	{"rnbd_gateway_path_chunk_memory_bytes", "bytes", GAUGE, PATH, COUNT,
	 OFF(metrics_path, chunk_bytes), "Buffers of the path."},
	{"rnbd_gateway_path_heartbeat_latency_seconds", "seconds", GAUGE, PATH,
	 NS, OFF(metrics_path, hb_latency_ns),
	 "Round trip of the last heartbeat; 0: none yet."},
};

/* ---------------------------------------------------------------- samples */

static const char *const op_names[BACKEND_N_OPS] = {
	[BACKEND_READ] = "read",
	[BACKEND_WRITE] = "write",
	[BACKEND_FLUSH] = "flush",
	[BACKEND_DISCARD] = "discard",
	[BACKEND_WRITE_ZEROES] = "write_zeroes",
};

static void
put_name(FILE *f, const struct family *fam, const char *labels)
{
	openmetrics_name(f, fam->type, fam->name, labels);
}

/* Exports have all of them from the start, devices what they did. */
static void
put_latencies(FILE *f, const struct family *fam, const struct metrics_io *io)
{
	for (int op = 0; op < BACKEND_N_OPS; op++)
		if (fam->scope == EXPORT ||
		    (io->has_latency && io->latency[op].count))
			openmetrics_latency(f, fam->name, io->labels,
					    op_names[op], &io->latency[op]);
}

static void
put_ops(FILE *f, const struct family *fam, const struct metrics_io *io)
{
	for (int op = 0; op < BACKEND_N_OPS; op++) {
		uint64_t v;

		if (fam->kind == DATA && op == BACKEND_FLUSH)
			continue;
		memcpy(&v, (const char *)&io->op[op] + fam->off, sizeof(v));
		openmetrics_op_name(f, fam->type, fam->name, io->labels,
				    op_names[op]);
		openmetrics_value(f, v);
	}
}

static void
put_row(FILE *f, const struct family *fam, const void *row, const char *labels)
{
	uint64_t v;

	if (fam->kind == LATENCY) {
		put_latencies(f, fam, row);
		return;
	}
	if (fam->kind == OPS || fam->kind == DATA) {
		put_ops(f, fam, row);
		return;
	}
	memcpy(&v, (const char *)row + fam->off, sizeof(v));
	if (fam->kind == KNOWN && !v)
		return;
	put_name(f, fam, labels);
	if (fam->kind == NS)
		openmetrics_seconds(f, v);
	else
		openmetrics_value(f, v);
}

static void
put_build(FILE *f)
{
	fputs("rnbd_gateway_build_info{version=\"" RNBD_VERSION "\"} 1\n", f);
}

static void
put_omitted(FILE *f, const struct family *fam, const struct metrics_omitted *o)
{
	fprintf(f, "%s{kind=\"export\"} %" PRIu64 "\n", fam->name, o->exports);
	fprintf(f, "%s{kind=\"device\"} %" PRIu64 "\n", fam->name, o->devices);
	fprintf(f, "%s{kind=\"path\"} %" PRIu64 "\n", fam->name, o->paths);
}

static void
put_samples(FILE *f, const struct family *fam, const struct metrics_page *page)
{
	switch (fam->scope) {
	case PROCESS:
		put_row(f, fam, &page->process, "");
		break;
	case BUILD:
		put_build(f);
		break;
	case LISTENER:
		for (size_t i = 0; i < page->n_listeners; i++)
			put_row(f, fam, &page->listeners[i],
				page->listeners[i].labels);
		break;
	case REJECT:
		for (size_t i = 0; i < page->n_rejects; i++)
			put_row(f, fam, &page->rejects[i],
				page->rejects[i].labels);
		break;
	case OMITTED:
		put_omitted(f, fam, &page->omitted);
		break;
	case WORKER:
		for (size_t i = 0; i < page->n_workers; i++)
			put_row(f, fam, &page->workers[i],
				page->workers[i].labels);
		break;
	case EXPORT:
		for (size_t i = 0; i < page->n_exports; i++)
			put_row(f, fam, &page->exports[i],
				page->exports[i].labels);
		break;
	case DEVICE:
		for (size_t i = 0; i < page->n_devices; i++)
			put_row(f, fam, &page->devices[i],
				page->devices[i].labels);
		break;
	case PATH:
		for (size_t i = 0; i < page->n_paths; i++)
			put_row(f, fam, &page->paths[i], page->paths[i].labels);
		break;
	}
}

static void
put_family(FILE *f, const struct family *fam, const struct metrics_page *page)
{
	openmetrics_family(f, fam->type, fam->name, fam->unit, fam->help);
	put_samples(f, fam, page);
}

/* ----------------------------------------------------------------- labels */

static bool
make_labels(struct metrics_page *p)
{
	bool ok = true;

	for (size_t i = 0; i < p->n_listeners; i++)
		ok &= !!(p->listeners[i].labels = openmetrics_labels(
				 "listener", p->listeners[i].name, NULL, NULL));
	for (size_t i = 0; i < p->n_rejects; i++)
		ok &= !!(p->rejects[i].labels = openmetrics_labels(
				 "reason", p->rejects[i].name, NULL, NULL));
	for (size_t i = 0; i < p->n_exports; i++)
		ok &= !!(p->exports[i].labels = openmetrics_labels(
				 "export", p->exports[i].export, NULL, NULL));
	for (size_t i = 0; i < p->n_devices; i++)
		ok &= !!(p->devices[i].labels = openmetrics_labels(
				 "session", p->devices[i].session, "export",
				 p->devices[i].export));
	for (size_t i = 0; i < p->n_paths; i++)
		ok &= !!(p->paths[i].labels = openmetrics_labels(
				 "session", p->paths[i].session, "path",
				 p->paths[i].path));
	return ok;
}

static void
free_labels(struct metrics_page *p)
{
	for (size_t i = 0; i < p->n_listeners; i++)
		free(p->listeners[i].labels);
	for (size_t i = 0; i < p->n_rejects; i++)
		free(p->rejects[i].labels);
	for (size_t i = 0; i < p->n_exports; i++)
		free(p->exports[i].labels);
	for (size_t i = 0; i < p->n_devices; i++)
		free(p->devices[i].labels);
	for (size_t i = 0; i < p->n_paths; i++)
		free(p->paths[i].labels);
}

int
metrics_text(struct metrics_page *page, char **ret_text, size_t *ret_len)
{
	char *text = NULL;
	size_t len = 0;
	bool ok = make_labels(page);
	FILE *f = ok ? open_memstream(&text, &len) : NULL;

	if (f) {
		for (size_t i = 0; i < ARRAY_SIZE(families); i++)
			put_family(f, &families[i], page);
		openmetrics_end(f);
		ok = !ferror(f);
		ok &= !fclose(f);
	}
	free_labels(page);
	if (!f || !ok) {
		free(text);
		return -ENOMEM;
	}
	*ret_text = text;
	*ret_len = len;
	return 0;
}
