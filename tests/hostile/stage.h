/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where hostile and honest peers meet: one thread, a fake clock, the simulated
 * fabric, and the log sink of the daemon.
 */
#ifndef TESTS_HOSTILE_STAGE_H
#define TESTS_HOSTILE_STAGE_H

#include <stdio.h>

#include "gateway/log-sink.h"
#include "rtrs/fabric/sim/sim.h"
#include "tests/hostile/choice.h"

#define STAGE_PORT       1234
/* Hosts of the net; their addresses are 10.0.0.HOST. */
#define HOST_GATEWAY     1
#define HOST_LIAR_SERVER 2
#define HOST_HONEST      10
#define HOST_VICTIM      11
#define HOST_HONEST_2    13 /* where its second path comes from */
#define HOST_OTHER       14
#define HOST_LIAR        30

struct stage;

/* Something with an engine, or a liar, in it. */
struct player {
	bool (*ready)(struct player *p);
	uint64_t (*deadline)(struct player *p);
	void (*turn)(struct player *p);
	struct player *prev, *next;
};

struct stage_timer {
	uint64_t at, seq;
	void (*fire)(struct stage_timer *t);
	bool armed;
	struct stage_timer *prev, *next;
};

struct stage {
	struct choice *choice;
	struct sim_net *net;
	const struct fabric_ops *fabric;
	FILE *trace;
	struct player *players;
	struct stage_timer *timers; /* by time */
	uint64_t timer_seq;
	struct log_sink *sink;
	struct log log;
	int log_fd;
	unsigned idle_turns;
	uint64_t lines; /* that the engines logged */
	/* What the liars may still say, and what they said. */
	uint64_t budget, messages, lives, verdicts;
	bool failed; /* the first broken promise ends it */
	char why[512];
};

void stage_init(struct stage *s, struct choice *c, uint64_t budget,
		FILE *trace);
/* Checks what is left over, and how much was logged. */
void stage_deinit(struct stage *s);
/* One turn; false when nothing can ever happen again, or it failed. */
bool stage_turn(struct stage *s);
uint64_t stage_now(const struct stage *s);
void stage_fail(struct stage *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void stage_note(struct stage *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* A liar said something. False: it has said enough. */
bool stage_spend(struct stage *s);

void stage_timer_set(struct stage *s, struct stage_timer *t, uint64_t at);
void stage_timer_cancel(struct stage *s, struct stage_timer *t);

/* The stage that plays, for callbacks that have no argument. */
uint64_t stage_clock(void);

/* One play, defined by each program. */
void hostile_play(struct stage *s);

#endif
