/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether to look again rather than sleep. To look for a while saves the time
 * of a wake-up if what is waited for comes within that while, and wastes the
 * CPU if not. So each wait that was long enough to be polled in vain makes the
 * next 1, 3, 7, ... 255 go without, and each that paid halves that: a steady
 * stream of quick answers is polled for always, slow ones hardly ever.
 *
 * The caller yields the CPU between two looks. If others want it, the time is
 * over when the caller gets it back, which counts as in vain. So among threads
 * that have work nobody polls for long.
 *
 * Times are of one clock, in ns.
 */
#ifndef RTRS_BASE_SPIN_H
#define RTRS_BASE_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#define SPIN_SKIP_MAX 255

/* Part of an object; one thread at a time. */
struct spin {
	uint64_t span_ns; /* the longest look; 0: never look. Constant */
	/* Its own: */
	uint64_t until; /* of this wait; 0: it is not polled */
	unsigned skip;  /* so many waits go without */
	unsigned in_vain;
	/* So far, for statistics: */
	uint64_t paid, missed;
};

/* A wait begins: something was asked for, or just came and more may come. */
static inline void
spin_start(struct spin *s, uint64_t now)
{
	s->until = 0;
	if (!s->span_ns)
		return;
	if (s->skip)
		s->skip--;
	else
		s->until = now + s->span_ns;
}

/* Nothing was there. True: yield and look again; false: sleep. */
static inline bool
spin_goes_on(struct spin *s, uint64_t now)
{
	if (!s->until)
		return false;
	if (now < s->until)
		return true;
	s->until = 0;
	s->missed++;
	s->in_vain = 2 * s->in_vain + 1;
	if (s->in_vain > SPIN_SKIP_MAX)
		s->in_vain = SPIN_SKIP_MAX;
	s->skip = s->in_vain;
	return false;
}

/* What was waited for came. */
static inline void
spin_end(struct spin *s)
{
	if (!s->until)
		return;
	s->until = 0;
	s->paid++;
	s->in_vain /= 2;
	s->skip = s->in_vain;
}

#endif
