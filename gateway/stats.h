/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a worker counts for each export, and how long requests take: from the
 * round of the loop in which a request was found until the round in which it
 * was answered has handed its answers over.
 *
 * The I/O path records a request once, in the histogram of its device, and
 * reads the clock once per round or per GW_MAX_STAMPS answers, not per request.
 * What an export has is what its closed devices left behind plus what the open
 * ones have, added when somebody asks.
 *
 * Memory: GW_LATENCY (17 KiB) per open device and per export that was ever
 * opened, GW_MAX_MEASURED of each per worker at most. Beyond that, or without
 * memory, nothing is refused: a device without its own records into its
 * export's, and an export without an entry, or whose entry had to go, is
 * counted under the name "".
 *
 * On the worker's thread; passive like the rest of the server.
 */
#ifndef GATEWAY_STATS_H
#define GATEWAY_STATS_H

#include "gateway/server.h"
#include "rtrs/base/hist.h"

#define GW_MAX_MEASURED 1024
#define GW_MAX_STAMPS   64

struct gw_device;
struct gw_export_stats;

struct gw_latency {
	struct hist op[BACKEND_N_OPS];
};

struct gw_stats {
	struct gw_export_stats *exports; /* hash by name */
	struct gw_export_stats *other;   /* those without an entry */
	unsigned n_measured;             /* devices with their own latency */
	/* Answered requests whose latency is known at the end of the round. */
	unsigned n_stamps;
	struct gw_stamp {
		struct hist *hist;
		uint64_t started;
	} stamps[GW_MAX_STAMPS];
};

/* Errors: -ENOMEM. */
int gw_stats_init(struct gw_stats *st);
void gw_stats_deinit(struct gw_stats *st);

/* The device counts for its export from now on. Never fails. */
void gw_stats_device_opened(struct gw_device *dev);
/* The device goes; what it counted stays with the export. Fine if it never was
 * opened. */
void gw_stats_device_gone(struct gw_device *dev);

/* Gives all answered requests their latency. */
void gw_stats_stamp(struct gw_server *s);

#endif
