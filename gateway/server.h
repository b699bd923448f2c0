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

struct gw_server;

struct gw_server_params {
	struct gw_exports *exports;
	struct gw_exec *exec;
	struct gw_io_engine *io;  /* NULL: no file exports */
	struct gw_events *events; /* NULL: no NBD exports */
	/* rtrs.user and the callbacks are filled in by the server; sess_gone
	 * is called through below. */
	struct rtrs_srv_params rtrs;
	void (*sess_gone)(void *user, const struct rtrs_uuid *sess_uuid);
	void *user;
};

int gw_server_new(const struct gw_server_params *p, struct gw_server **ret);
void gw_server_free(struct gw_server *s); /* after rtrs_srv_closed() */
struct rtrs_srv *gw_server_rtrs(struct gw_server *s);
/*
 * After each round of progress, and after completions were reaped: hands all
 * queued operations to the kernel (kick of each backend that was used,
 * gw_io_engine_submit) and starts to close devices that have drained.
 */
void gw_server_kick(struct gw_server *s);

struct gw_op_stats {
	uint64_t ops, bytes, errors;
};
struct gw_server_stats {
	struct gw_op_stats op[BACKEND_N_OPS];
	uint64_t opens, open_errors, closes;
	uint64_t inflight;
	unsigned sessions, devices; /* now */
};
void gw_server_stats(const struct gw_server *s, struct gw_server_stats *ret);

struct gw_device_info {
	const char *sess_name, *dev_name; /* borrowed for the call */
	uint32_t device_id;
	uint8_t access_mode;
	uint64_t size_bytes;
	struct gw_op_stats op[BACKEND_N_OPS];
};
void gw_server_for_each_device(struct gw_server *s,
			       void (*fn)(void *user,
					  const struct gw_device_info *info),
			       void *user);

#endif
