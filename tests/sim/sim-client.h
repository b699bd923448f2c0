/* SPDX-License-Identifier: BSD-3-Clause */
/* An application with a client session: opens, mixes I/O, checks, closes. */
#ifndef TESTS_SIM_SIM_CLIENT_H
#define TESTS_SIM_SIM_CLIENT_H

#include "tests/sim/sim-world.h"

struct sim_client;

/* index: it writes that disk, and reads the other one. */
void sim_client_start(struct world *w, unsigned index);
/* The process is killed, or only drops its session, and comes back. */
void sim_client_kill(struct sim_client *c);
/* Closes its session in order, with I/O under way, and comes back. */
void sim_client_hang_up(struct sim_client *c);
/* A command on one of its paths, by chance. */
void sim_client_path_op(struct sim_client *c);
/* From now on what commands did to its paths is undone. */
void sim_client_mend(struct sim_client *c);
/* It does not run before then. */
void sim_client_sleep(struct sim_client *c, uint64_t until);
/* The host of a path; path 0 is where the process is. */
unsigned sim_client_host(unsigned index, unsigned path);
/* All I/O was done and checked, the session closed in order. */
bool sim_client_done(const struct sim_client *c);
void sim_client_free(struct sim_client *c);

#endif
