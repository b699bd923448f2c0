/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asks each of several threads whether it lives, by a call to its loop, and
 * says so when all have answered. Of the thread whose loop takes the answers.
 */
#ifndef GATEWAY_WATCHDOG_H
#define GATEWAY_WATCHDOG_H

#include <stdint.h>

#include "config/control/loop.h"

struct watchdog;

struct watchdog_params {
	struct loop *loop; /* that of the owner */
	unsigned n;        /* threads */
	uint64_t interval; /* nanoseconds from one question to the next */
	/* Runs call on thread i. */
	void (*post)(void *user, unsigned i, struct loop_call *call);
	/* All threads have answered a question that was asked just before. */
	void (*alive)(void *user);
	/* It is time to ask again, and thread i has not answered since `since`.
	 */
	void (*late)(void *user, unsigned i, uint64_t since);
	void *user;
};

/* -ENOMEM */
int watchdog_new(const struct watchdog_params *p, struct watchdog **ret);
/* Only when no thread runs any more. NULL is fine. */
void watchdog_free(struct watchdog *w);
/* Asks if it is time to. Returns when it is next. */
uint64_t watchdog_run(struct watchdog *w, uint64_t now);
/* Thread i has ended in order: it owes no answer. */
void watchdog_gone(struct watchdog *w, unsigned i);

#endif
