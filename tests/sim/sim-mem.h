/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that runs out now and then, and is counted. The linker puts these
 * functions between the program and malloc() and its like (--wrap).
 */
#ifndef TESTS_SIM_SIM_MEM_H
#define TESTS_SIM_SIM_MEM_H

#include <stdbool.h>
#include <stdint.h>

struct sim_net;

/* From now on ppm of the allocations of an engine fail, by the net's dice. */
void sim_mem_begin(struct sim_net *net, unsigned ppm);
/* Blocks that exist now. */
int64_t sim_mem_count(void);

/* An engine is being called, until it returns. */
void sim_mem_arm(bool on);
/* It calls back: what is allocated there never fails. Nests. */
void sim_mem_hold(void);
void sim_mem_release(void);

#endif
