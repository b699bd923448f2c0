/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses and rules from text, for tables of cases. */
#ifndef TESTS_UNIT_GATEWAY_ACCESS_RIG_H
#define TESTS_UNIT_GATEWAY_ACCESS_RIG_H

#include "gateway/access.h"

/* "10.0.0.1", "fe80::1", "gid:fe80::1", or "unix"; the port is 4242. */
struct sockaddr_storage rig_address(const char *text);

/*
 * "allow address=10.0.0.0/8,192.0.2.1 session=vm-*; deny": rules in order, each
 * an action and keys of [rule]. "" has no rule.
 */
struct gw_ruleset *rig_rules(const char *text);

/* "s1", "p2": a UUID of that text. Good until eight more were made. */
const struct rtrs_uuid *rig_uuid(const char *text);

/* A log that keeps the lines, and a clock that the test turns. */
#define RIG_MAX_LINES 64
extern char rig_lines[RIG_MAX_LINES][512];
extern unsigned rig_n_lines;
extern const struct log rig_log;
extern uint64_t rig_time;
uint64_t rig_now(void);

#endif
