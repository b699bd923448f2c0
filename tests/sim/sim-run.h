/* SPDX-License-Identifier: BSD-3-Clause */
/* One run: from an empty world to an empty world. */
#ifndef TESTS_SIM_SIM_RUN_H
#define TESTS_SIM_SIM_RUN_H

#include "tests/sim/sim-world.h"

enum sim_kind {
	SIM_CALM, /* no faults at all */
	SIM_RANDOM,
	SIM_LATE, /* requests arrive when their connection was given up */
};
void sim_params_pick(struct sim_params *p, uint64_t seed, enum sim_kind kind);
void sim_params_print(const struct sim_params *p, FILE *to);

/* What strikes at one step of a run of scenario "steps". */
enum step_fault {
	STEP_CUT,
	STEP_CUT_ALL,
	STEP_LOSE,
	STEP_LOSE_ALL,
	STEP_KILL_SERVER,
	STEP_KILL_CLIENT,
	STEP_ENOMEM, /* at that call, not at that event */
	N_STEP_FAULTS,
};
extern const char *const step_fault_names[N_STEP_FAULTS];

struct sim_result {
	bool ok;
	char why[512];
	uint64_t steps, calls, digest, virtual_ns;
	uint64_t ios, ios_failed, opens, lost_sessions;
	uint64_t faults;
};

/* A world of params, with a fault at step `step` (0: none). */
void sim_run(const struct sim_params *p, uint64_t step, enum step_fault fault,
	     FILE *trace, struct sim_result *ret);

#endif
