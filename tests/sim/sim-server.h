/* SPDX-License-Identifier: BSD-3-Clause */
/* A gateway process: listener, one worker, exports of the world's disks. */
#ifndef TESTS_SIM_SIM_SERVER_H
#define TESTS_SIM_SIM_SERVER_H

#include "tests/sim/sim-world.h"

struct sim_server;

/* Becomes w->server. */
void sim_server_start(struct world *w);
/* kill -9; with power: the disks lose their caches. Starts again after ms. */
void sim_server_kill(struct sim_server *s, bool power, uint64_t again_ms);
/* SIGTERM: closes in order. */
void sim_server_stop(struct sim_server *s);
/* As a service manager does it: the next one starts when it is gone. */
void sim_server_stop_and_start(struct sim_server *s, uint64_t again_ms);
/* An administrator closes a device of a client, if it is open. */
void sim_server_revoke(struct sim_server *s, unsigned client, unsigned disk);
/* The world's access rules, or limits of addresses, have changed. */
void sim_server_new_rules(struct sim_server *s);
/* It does not run before then. */
void sim_server_sleep(struct sim_server *s, uint64_t until);
/* No session has what it may not have. */
void sim_server_check_access(struct sim_server *s);
/* No more sessions write a device than may. */
void sim_server_check_writers(struct sim_server *s, const char *dev_name);
/* The world's limits have changed. */
void sim_server_new_limits(struct sim_server *s);
/* Nothing is left of it (or it never was): it was freed. */
bool sim_servers_gone(const struct world *w);

#endif
