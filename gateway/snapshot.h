/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one worker knows at one moment, copied on its thread in a few
 * microseconds and read at leisure on another: whoever makes text of it does
 * not hold up the I/O.
 */
#ifndef GATEWAY_SNAPSHOT_H
#define GATEWAY_SNAPSHOT_H

#include "gateway/server.h"
#include "gateway/stats.h"

struct snap_path {
	char sess_name[RTRS_NAME_LEN]; /* "" before INFO_REQ */
	char hca_name[64];
	struct rtrs_srv_path_info info; /* its strings point up, but pages */
};

struct snap_device {
	char sess_name[RTRS_NAME_LEN];
	char dev_name[RNBD_NAME_LEN];
	struct gw_device_info info; /* its strings point up; no latency */
	char export_name[RNBD_NAME_LEN];
	/* Of all its requests, SNAP_DEVICE_LATENCY; 0: there were none. */
	uint64_t p50_ns, p99_ns;
};

/* What costs more than a copy, a few microseconds for each device. */
enum snap_want {
	SNAP_LATENCY = BIT(0),
	SNAP_DEVICE_LATENCY = BIT(1),
};

struct snapshot {
	unsigned want;
	int err; /* -ENOMEM: it is not complete, and not to be used */
	struct gw_server_stats stats;
	struct gw_latency *latency; /* SNAP_LATENCY: since the start */
	struct snap_path *paths;
	struct snap_device *devices;
	size_t n_paths, n_devices;
	size_t room_paths, room_devices;
};

/* On the thread of s; want is of snap_want bits. *snap is overwritten. */
void snapshot_take(struct gw_server *s, unsigned want, struct snapshot *snap);
void snapshot_deinit(struct snapshot *snap);

/*
 * The name that a path has in the kernel's sysfs: src@dst as the client sees
 * them, without ports.
 */
#define SNAP_PATHNAME_MAX (2 * RTRS_ADDR_TEXT_MAX)
void snapshot_pathname(const struct rtrs_srv_path_info *info,
		       char ret[SNAP_PATHNAME_MAX]);

#endif
