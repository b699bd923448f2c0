/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client session for tests: implements rnbd-clt.h over two pipes and a
 * thread that answers. Reads and writes of I/O number n (its offset) answer
 * with n in the first eight bytes of the buffer.
 */
#ifndef TESTS_FAKE_CLT_H
#define TESTS_FAKE_CLT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum fake_mode {
	FAKE_ANSWER,  /* in order */
	FAKE_SHUFFLE, /* in batches, out of order */
	FAKE_SILENT,  /* never */
	FAKE_LOCAL,   /* from progress, without the descriptor */
};

extern struct fake {
	_Atomic(enum fake_mode) mode;
	atomic_int open_err; /* what OPEN answers */
	atomic_bool up, failed;
	atomic_uint_fast64_t deadline; /* of the client */
	/* Seen: */
	atomic_int created, freed, progressed, overlaps, submitted, armed;
	atomic_int events;  /* unasked-for bytes that came in */
	atomic_int flushes; /* writes to the peer */
	atomic_int extra;   /* events of the second descriptor */

	/* Called by progress, and by free with freeing set. May be NULL. */
	void (*on_progress)(void);
	bool freeing;
} fake;

void fake_reset(void);
/* As if a path was added: from now on there is a second descriptor. */
void fake_add_fd(void);
/* An event of it. */
void fake_send_extra(void);
/* Something comes from the peer that nobody asked for. */
void fake_send_event(void);

#endif
