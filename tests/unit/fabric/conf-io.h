/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_UNIT_FABRIC_CONF_IO_H
#define TESTS_UNIT_FABRIC_CONF_IO_H

#include <check.h>

void conf_io_cases(Suite *s, int rounds, SFun setup, SFun teardown);

#endif
