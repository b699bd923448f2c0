/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines on their way to a thread that writes them. A line goes to a
 * terminal or a pipe, which may stand still for as long as its reader likes:
 * whoever wrote it while holding the session's lock, or while driving, would
 * stop everybody's I/O.
 *
 * Lines come out in the order in which they were put. What does not fit is
 * dropped, and counted in a line of its own.
 */
#ifndef NBDKIT_PLUGIN_LOG_QUEUE_H
#define NBDKIT_PLUGIN_LOG_QUEUE_H

#include "rtrs/base/log.h"

/* Lines that wait, at most: those of a storm of failing paths. */
#define LOG_QUEUE_MAX 256

struct log_queue;

/*
 * out (borrowed) is where lines end up, on the thread; its threshold of now
 * decides what is kept. NULL: nothing is, and there is no thread. Errors:
 * -ENOMEM, -EAGAIN too many threads.
 */
int log_queue_new(const struct log *out, struct log_queue **ret);
/* Writes what is left, and ends the thread. NULL is fine. */
void log_queue_free(struct log_queue *q);
/* To be given to who logs; good for as long as q. Any thread may log. */
const struct log *log_queue_log(const struct log_queue *q);
/* Waits until what was put so far is written. Any thread. */
void log_queue_wait(struct log_queue *q);

#endif
