/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk that outlives the processes that serve it: operations complete after
 * random times, out of order, sometimes with EIO; what was not flushed is lost
 * with the power.
 */
#ifndef TESTS_SIM_SIM_BACKEND_H
#define TESTS_SIM_SIM_BACKEND_H

#include "gateway/backend/backend.h"
#include "tests/sim/model.h"
#include "tests/sim/sim-world.h"

/* Bytes; as large as one may be or become. */
#define SIM_DISK_MAX (2u << 20)

struct sim_disk;

struct sim_disk *sim_disk_new(struct world *w, unsigned index);
void sim_disk_free(struct sim_disk *d);
struct model *sim_disk_model(struct sim_disk *d);
uint64_t sim_disk_sectors(const struct sim_disk *d);
/* Each sector that was not flushed is kept or lost. */
void sim_disk_power_cut(struct sim_disk *d);
/* No operation fails or is stuck any more. */
void sim_disk_heal(struct sim_disk *d);
/* Another size; what is beyond the end is there again when it grows. */
void sim_disk_reshape(struct sim_disk *d);
/* Operations under way, of all processes. */
unsigned sim_disk_inflight(const struct sim_disk *d);

/* The view of one process on a disk; backend_open_params.store. */
struct sim_disk_view {
	struct sim_disk *disk;
	/* The process was killed: its operations have no effect any more. */
	const bool *killed;
	bool *reaped; /* set when an operation of it has ended */
};
/* What is under way in a process that is being killed is done or not. */
void sim_disk_view_kill(struct sim_disk_view *v);

extern const struct backend_ops backend_sim;

#endif
