/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The RNBD server: RNBD messages in, backend operations out. One gw_server per
 * worker, on that worker's thread; passive like the engine below it, so that
 * the simulator runs it too.
 */
#ifndef GATEWAY_SERVER_H
#define GATEWAY_SERVER_H

#include "gateway/backend/backend.h"
#include "gateway/export.h"
#include "rtrs/rtrs.h"

struct gw_access;
struct gw_server;

struct gw_server_params {
	struct gw_exports *exports;
	struct gw_access *access; /* NULL: everything is allowed */
	struct gw_exec *exec;
	struct gw_io_engine *io;  /* NULL: no file exports */
	struct gw_events *events; /* NULL: no NBD exports */
	/* rtrs.user and the callbacks are filled in by the server; sess_gone
	 * is called through below. */
	struct rtrs_srv_params rtrs;
	void (*sess_gone)(void *user, const struct rtrs_uuid *sess_uuid);
	/*
	 * The time, on the clock of rtrs_srv_progress(); read once per round
	 * that answered something. NULL: no latencies.
	 */
	uint64_t (*now)(void *user);
	void *user;
};

int gw_server_new(const struct gw_server_params *p, struct gw_server **ret);
void gw_server_free(struct gw_server *s); /* after rtrs_srv_closed() */
struct rtrs_srv *gw_server_rtrs(struct gw_server *s);
/*
 * A round: progress of RTRS, then what limits of exports made wait until now,
 * then gw_server_kick().
 */
void gw_server_progress(struct gw_server *s, uint64_t now);
/*
 * The next round is due then, if not before; 0, at once, if a device has
 * drained since gw_server_kick(); TIME_NEVER.
 */
uint64_t gw_server_deadline(const struct gw_server *s);
/*
 * After a change of exports, of access rules or of who may open what: closes
 * each path that the rules no longer allow, and each mapping whose export left
 * or was replaced, or whose session may not have it any more. It
 * loses its id at once, so that later IO gets -ENOTCONN and CLOSE succeeds; the
 * backend is closed when what executes has ended. Others take over new limits
 * and sizes. Takes the exports' lock once per mapping.
 */
void gw_server_recheck(struct gw_server *s);
/*
 * Closes one mapping, as above: the kernel's force_close. -ENOENT: this server
 * has no such session, or it has no such device open.
 */
int gw_server_close_device(struct gw_server *s, const char *sess_name,
			   const char *dev_name);
/*
 * After completions were reaped: hands all queued operations to the kernel
 * (kick of each backend that was used, gw_io_engine_submit) and starts to close
 * devices that have drained.
 */
void gw_server_kick(struct gw_server *s);

struct gw_op_stats {
	uint64_t ops, bytes, errors;
};
struct gw_server_stats {
	struct gw_op_stats op[BACKEND_N_OPS];
	uint64_t opens, open_errors, closes;
	uint64_t revokes;        /* closed, but not by the client */
	uint64_t throttled;      /* requests that had to wait for a limit */
	uint64_t message_errors; /* answers to other messages than IO */
	uint64_t inflight;
	uint64_t throttled_now;     /* of inflight: they wait */
	unsigned sessions, devices; /* now */
};
void gw_server_stats(const struct gw_server *s, struct gw_server_stats *ret);

struct gw_latency;

struct gw_device_info {
	const char *sess_name, *dev_name; /* borrowed for the call */
	const char *export_name; /* the same; "" found by the search path */
	uint32_t device_id;
	uint8_t access_mode;
	uint64_t size_bytes;
	unsigned inflight, throttled; /* now; the latter among the former */
	struct gw_op_stats op[BACKEND_N_OPS];
	/* How long answered requests took (gateway/stats.h); NULL: see there */
	const struct gw_latency *latency;
};
void gw_server_for_each_device(struct gw_server *s,
			       void (*fn)(void *user,
					  const struct gw_device_info *info),
			       void *user);

/* An export, or a file below the search path, that a device was opened of. */
struct gw_export_info {
	const char *name; /* as the client said; "": others, see stats.h */
	unsigned devices; /* open now */
	uint64_t inflight;
	struct gw_op_stats op[BACKEND_N_OPS]; /* since the start */
	const struct gw_latency *latency;
};
void gw_server_for_each_export(struct gw_server *s,
			       void (*fn)(void *user,
					  const struct gw_export_info *info),
			       void *user);

#endif
