/* SPDX-License-Identifier: BSD-3-Clause */
/* A directory that stands for /, with nbd devices as sysfs shows them. */
#ifndef TESTS_UNIT_CTL_MAP_RIG_H
#define TESTS_UNIT_CTL_MAP_RIG_H

#include <stdint.h>

/* Fixtures: RNBD_ROOT is that directory, and it is removed. */
void rig_setup(void);
void rig_teardown(void);

/* Files below it; the text is good until the next one. */
void rig_write(const char *path, const char *text);
const char *rig_path(const char *path);
void rig_remove(const char *path);

/* /dev/nbdN, connected by pid (0: not) with so many bytes. */
void rig_nbd(int index, int pid, uint64_t bytes);

#endif
