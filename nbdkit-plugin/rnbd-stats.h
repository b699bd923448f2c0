/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the client session counts for each device, and how long its I/O took:
 * from the call that asked for it to its end, waiting for a lost server
 * included. It is kept by name, so that it outlives the device and the session
 * that had it open.
 *
 * The I/O path records an I/O once, when it ends, with the time that its
 * session has then, and under the lock that it holds anyway.
 *
 * Memory: 18 KiB for each name that was ever open, RNBD_STATS_MAX_DEVICES of
 * them; beyond that, or without memory, a device is counted under the name "".
 */
#ifndef NBDKIT_PLUGIN_RNBD_STATS_H
#define NBDKIT_PLUGIN_RNBD_STATS_H

#include "nbdkit-plugin/rnbd-clt.h"
#include "rtrs/base/hist.h"

#define RNBD_STATS_MAX_DEVICES 256

struct rnbd_op_stats {
	uint64_t bytes;  /* of those that succeeded */
	uint64_t errors; /* those that did not */
	struct hist latency;
};

struct rnbd_dev_stats {
	struct rnbd_dev_stats *next;
	char name[RNBD_NAME_LEN];
	struct rnbd_op_stats op[RNBD_CLT_N_OPS];
};

struct rnbd_stats;

/* Errors: -ENOMEM. */
int rnbd_stats_new(struct rnbd_stats **ret);
void rnbd_stats_free(struct rnbd_stats *st); /* NULL is fine */

/* Never fails; stays where it is for the life of st. */
struct rnbd_dev_stats *rnbd_stats_device(struct rnbd_stats *st,
					 const char *name);
/* In the order in which they were opened; that of the name "" is the last, and
 * only if something was counted for it. */
struct rnbd_dev_stats *rnbd_stats_first(struct rnbd_stats *st);
/* How many there are. */
unsigned rnbd_stats_count(const struct rnbd_stats *st);

static inline void
rnbd_stats_record(struct rnbd_dev_stats *ds, enum rnbd_clt_op op,
		  uint64_t bytes, int err, uint64_t ns)
{
	struct rnbd_op_stats *o = &ds->op[op];

	if (err)
		o->errors++;
	else
		o->bytes += bytes;
	hist_record(&o->latency, ns);
}

/* How many of an operation have ended. */
uint64_t rnbd_stats_ops(const struct rnbd_op_stats *o);
/* "read", ..., "write_zeroes". */
const char *rnbd_clt_op_name(enum rnbd_clt_op op);

#endif
