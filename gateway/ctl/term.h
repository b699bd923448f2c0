/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A terminal that is drawn on: another screen, keys without return. Whatever
 * ends the program, the terminal is left as it was found.
 */
#ifndef GATEWAY_CTL_TERM_H
#define GATEWAY_CTL_TERM_H

#include <stdbool.h>

/* Whether both ends are a terminal. */
bool term_is(void);
/* 0, or a negative errno. */
int term_enter(void);
/* Idempotent; nothing if it was not entered. */
void term_leave(void);
/* 24 and 80 where it does not say. */
void term_size(unsigned *rows, unsigned *cols);
/* Before a new picture, after each line of it, and behind it. */
void term_home(void);
void term_end_line(void);
void term_clear_rest(void);

enum {
	TERM_TIMEOUT = 0, /* the time is over */
	TERM_QUIT = -1,   /* a signal that ends, or end of input */
	TERM_REDRAW = -2, /* another size, or back from being stopped */
};
/* Waits for a key: it, or one of the above. Counts *ms down. */
int term_wait(int *ms);

#endif
