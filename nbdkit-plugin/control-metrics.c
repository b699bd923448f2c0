/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The metrics of a client as OpenMetrics text: a table of families. A test
 * compares it with rnbd-metrics(7).
 */
#include "nbdkit-plugin/control-priv.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "config/control/openmetrics.h"

/* What a family has series of. */
enum scope {
	BUILD,
	SESSION,
	PATH,
	DEVICE,  /* that is in use */
	COUNTED, /* every one that ever was, by operation */
};

/* What is at the offset in a row. */
enum kind {
	COUNT, /* uint64_t */
	NS,    /* the same, printed as seconds */
	OPS,
	BYTES,
	ERRORS,
	LATENCY,
};

/* Short, for the table. */
#define COUNTER   OPENMETRICS_COUNTER
#define GAUGE     OPENMETRICS_GAUGE
#define INFO      OPENMETRICS_INFO
#define HISTOGRAM OPENMETRICS_HISTOGRAM

struct session_row {
	uint64_t up, paths, paths_connected, devices;
	uint64_t held, resent, timeouts;
};

struct path_row {
	char *labels;
	uint64_t connected;
	struct rtrs_clt_stats stats; /* since the start */
};

struct device_row {
	char *labels;
	uint64_t open, users, size_bytes;
};

struct counted_row {
	char *labels;
	struct rnbd_op_stats op[RNBD_CLT_N_OPS];
	struct openmetrics_latency latency[RNBD_CLT_N_OPS];
};

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
	{"rnbd_client_build", "", INFO, BUILD, COUNT, 0,
	 "The version that runs."},
	{"rnbd_client_session_up", "", GAUGE, SESSION, COUNT,
	 OFF(session_row, up), "1 if devices can be used."},
	{"rnbd_client_session_paths", "", GAUGE, SESSION, COUNT,
	 OFF(session_row, paths), "Paths of the session."},
	{"rnbd_client_session_paths_connected", "", GAUGE, SESSION, COUNT,
	 OFF(session_row, paths_connected), "Those that are up."},
	{"rnbd_client_session_devices", "", GAUGE, SESSION, COUNT,
	 OFF(session_row, devices), "Devices in use."},
	{"rnbd_client_session_held", "", COUNTER, SESSION, COUNT,
	 OFF(session_row, held), "I/O that had to wait for the server."},
	{"rnbd_client_session_resent", "", COUNTER, SESSION, COUNT,
	 OFF(session_row, resent), "Requests sent again when it was back."},
	{"rnbd_client_session_timeouts", "", COUNTER, SESSION, COUNT,
	 OFF(session_row, timeouts), "I/O that waited longer than it may."},

	{"rnbd_client_path_connected", "", GAUGE, PATH, COUNT,
	 OFF(path_row, connected), "1 if the path is up."},
	{"rnbd_client_path_inflight", "", GAUGE, PATH, COUNT,
	 OFF(path_row, stats.inflight), "Requests under way."},
	{"rnbd_client_path_reads", "", COUNTER, PATH, COUNT,
	 OFF(path_row, stats.rd_cnt), "Requests that read."},
	{"rnbd_client_path_read_bytes", "bytes", COUNTER, PATH, COUNT,
	 OFF(path_row, stats.rd_bytes), "Bytes of them, with messages."},
	{"rnbd_client_path_writes", "", COUNTER, PATH, COUNT,
	 OFF(path_row, stats.wr_cnt), "Requests that write."},
	{"rnbd_client_path_write_bytes", "bytes", COUNTER, PATH, COUNT,
	 OFF(path_row, stats.wr_bytes), "Bytes of them, with messages."},
	{"rnbd_client_path_failovers", "", COUNTER, PATH, COUNT,
	 OFF(path_row, stats.failovers),
	 "Requests that another path had to take over."},
	{"rnbd_client_path_reconnects", "", COUNTER, PATH, COUNT,
	 OFF(path_row, stats.reconnects_ok), "Reconnects that succeeded."},
	{"rnbd_client_path_reconnect_errors", "", COUNTER, PATH, COUNT,
	 OFF(path_row, stats.reconnects_err), "Attempts that failed."},
	{"rnbd_client_path_heartbeat_latency_seconds", "seconds", GAUGE, PATH,
	 NS, OFF(path_row, stats.hb_latency_ns),
	 "Round trip of the last heartbeat; 0: none yet."},
	{"rnbd_client_path_heartbeat_latency_min_seconds", "seconds", GAUGE,
	 PATH, NS, OFF(path_row, stats.hb_latency_min_ns),
	 "The shortest since the last reset; 0: none yet."},

	{"rnbd_client_device_open", "", GAUGE, DEVICE, COUNT,
	 OFF(device_row, open), "1 if the server has it open."},
	{"rnbd_client_device_users", "", GAUGE, DEVICE, COUNT,
	 OFF(device_row, users), "NBD connections that use it."},
	{"rnbd_client_device_size_bytes", "bytes", GAUGE, DEVICE, COUNT,
	 OFF(device_row, size_bytes), "Size as new NBD clients see it."},
	{"rnbd_client_device_operations", "", COUNTER, COUNTED, OPS, 0,
	 "I/O that ended, errors included."},
	{"rnbd_client_device_bytes", "bytes", COUNTER, COUNTED, BYTES, 0,
	 "Bytes of I/O that succeeded."},
	{"rnbd_client_device_errors", "", COUNTER, COUNTED, ERRORS, 0,
	 "I/O that ended with an error."},
	{"rnbd_client_device_latency_seconds", "seconds", HISTOGRAM, COUNTED,
	 LATENCY, 0, "From the call of the NBD server to its end."},
};

struct page {
	char *session; /* labels */
	struct session_row sess;
	struct path_row *paths;
	struct device_row *devices;
	struct counted_row *counted;
	unsigned n_paths, n_devices, n_counted;
};

/* ----------------------------------------------------------------- rows */

static bool
fill_paths(struct clt_control *cc, struct page *p)
{
	const struct snap *s = cc->snap;

	p->paths = calloc(s->n_paths + 1, sizeof(*p->paths));
	if (!p->paths)
		return false;
	for (; p->n_paths < s->n_paths; p->n_paths++) {
		const struct snap_path *sp = &s->paths[p->n_paths];
		struct path_row *row = &p->paths[p->n_paths];

		row->labels = openmetrics_labels("session", cc->p.sessname,
						 "path", sp->route);
		if (!row->labels)
			return false;
		row->connected = sp->info.state == RTRS_CLT_CONNECTED;
		p->sess.paths_connected += row->connected;
		stats_since_start(cc, &sp->info, &row->stats);
	}
	p->sess.paths = p->n_paths;
	return true;
}

static bool
fill_devices(struct clt_control *cc, struct page *p)
{
	const struct snap *s = cc->snap;

	p->devices = calloc(s->n_devices + 1, sizeof(*p->devices));
	if (!p->devices)
		return false;
	for (; p->n_devices < s->n_devices; p->n_devices++) {
		const struct snap_device *d = &s->devices[p->n_devices];
		struct device_row *row = &p->devices[p->n_devices];

		row->labels = openmetrics_labels("session", cc->p.sessname,
						 "device", d->name);
		if (!row->labels)
			return false;
		row->open = !strcmp(d->info.state, "open");
		row->users = d->info.users;
		row->size_bytes = d->info.geo.size_bytes;
	}
	p->sess.devices = p->n_devices;
	return true;
}

static bool
fill_counted(struct clt_control *cc, struct page *p)
{
	const struct rnbd_dev_stats *ds = NULL;

	/* Whatever comes meanwhile is on the next page. */
	p->counted = calloc(RNBD_STATS_MAX_DEVICES + 1, sizeof(*p->counted));
	if (!p->counted)
		return false;
	while ((ds = snap_counted(cc, ds))) {
		struct counted_row *row = &p->counted[p->n_counted];

		row->labels = openmetrics_labels("session", cc->p.sessname,
						 "device", ds->name);
		if (!row->labels)
			return false;
		p->n_counted++;
		snap_counts(cc, ds, true, row->op);
		for (int i = 0; i < RNBD_CLT_N_OPS; i++)
			openmetrics_latency_take(&row->op[i].latency,
						 &row->latency[i]);
	}
	return true;
}

static bool
fill(struct clt_control *cc, struct page *p)
{
	const struct snap *s = cc->snap;

	p->session = openmetrics_labels("session", cc->p.sessname, NULL, NULL);
	p->sess.up = s->up;
	p->sess.held = s->stats.held;
	p->sess.resent = s->stats.resent;
	p->sess.timeouts = s->stats.timeouts;
	return p->session && fill_paths(cc, p) && fill_devices(cc, p) &&
	       fill_counted(cc, p);
}

static void
page_deinit(struct page *p)
{
	for (unsigned i = 0; i < p->n_paths; i++)
		free(p->paths[i].labels);
	for (unsigned i = 0; i < p->n_devices; i++)
		free(p->devices[i].labels);
	for (unsigned i = 0; i < p->n_counted; i++)
		free(p->counted[i].labels);
	free(p->paths);
	free(p->devices);
	free(p->counted);
	free(p->session);
}

/* -------------------------------------------------------------- samples */

static void
put(FILE *f, const struct family *fam, const char *labels, const void *row)
{
	uint64_t v;

	memcpy(&v, (const char *)row + fam->off, sizeof(v));
	openmetrics_name(f, fam->type, fam->name, labels);
	if (fam->kind == NS)
		openmetrics_seconds(f, v);
	else
		openmetrics_value(f, v);
}

static void
put_op(FILE *f, const struct family *fam, const struct counted_row *row, int i)
{
	const char *op = rnbd_clt_op_name((enum rnbd_clt_op)i);
	uint64_t v;

	if (fam->kind == LATENCY) {
		openmetrics_latency(f, fam->name, row->labels, op,
				    &row->latency[i]);
		return;
	}
	if (fam->kind == BYTES && i == RNBD_CLT_FLUSH)
		return;
	v = fam->kind == OPS     ? row->latency[i].count
	    : fam->kind == BYTES ? row->op[i].bytes
				 : row->op[i].errors;
	openmetrics_op_name(f, fam->type, fam->name, row->labels, op);
	openmetrics_value(f, v);
}

static void
put_samples(FILE *f, const struct family *fam, const struct page *p)
{
	switch (fam->scope) {
	case BUILD:
		openmetrics_name(f, fam->type, fam->name,
				 "version=\"" RNBD_VERSION "\"");
		openmetrics_value(f, 1);
		break;
	case SESSION:
		put(f, fam, p->session, &p->sess);
		break;
	case PATH:
		for (unsigned i = 0; i < p->n_paths; i++)
			put(f, fam, p->paths[i].labels, &p->paths[i]);
		break;
	case DEVICE:
		for (unsigned i = 0; i < p->n_devices; i++)
			put(f, fam, p->devices[i].labels, &p->devices[i]);
		break;
	case COUNTED:
		for (unsigned i = 0; i < p->n_counted; i++)
			for (int op = 0; op < RNBD_CLT_N_OPS; op++)
				put_op(f, fam, &p->counted[i], op);
		break;
	}
}

/* The text, the caller's; NULL: no memory. */
static char *
text_of(const struct page *p)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	bool ok;

	if (!f)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct family *fam = &families[i];

		openmetrics_family(f, fam->type, fam->name, fam->unit,
				   fam->help);
		put_samples(f, fam, p);
	}
	openmetrics_end(f);
	ok = !ferror(f);
	ok &= !fclose(f);
	if (ok)
		return text;
	free(text);
	return NULL;
}

void
clt_metrics(void *user, struct control_call *call)
{
	struct clt_control *cc = user;
	cleanup_free char *text = NULL;
	struct page page = {0};

	if (!snap_take(cc, call))
		return;
	if (fill(cc, &page))
		text = text_of(&page);
	page_deinit(&page);
	control_reply(call,
		      text ? json_pack("{s:s, s:s}", "content_type",
				       OPENMETRICS_CONTENT_TYPE, "text", text)
			   : NULL);
}
