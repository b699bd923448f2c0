/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GATEWAY_PREFLIGHT_H
#define GATEWAY_PREFLIGHT_H

#include "gateway/options.h"

/*
 * Before anything is started: is there what the listeners need? Devices, the
 * right to use them, and room for one session in the limit of pinned memory.
 * Errors are logged, in a line each. Devices are looked for below root, which
 * is "" but in tests.
 */
int preflight(const struct options *o, const char *root, const struct log *log);

#endif
