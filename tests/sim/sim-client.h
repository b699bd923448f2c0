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
/* All I/O was done and checked, the session closed in order. */
bool sim_client_done(const struct sim_client *c);
void sim_client_free(struct sim_client *c);

#endif
