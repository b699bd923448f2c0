/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The helper thread: drives a session while nobody waits for it, so that
 * heartbeats go out and lost paths come back. It sleeps while requests run.
 */
#ifndef NBDKIT_PLUGIN_PROGRESS_H
#define NBDKIT_PLUGIN_PROGRESS_H

#include "nbdkit-plugin/wait.h"

struct progress;

/* s is used until progress_stop() returned. Errors: -ENOMEM, -EAGAIN. */
int progress_start(struct rnbd_wait *s, struct progress **ret);
/* Ends and frees the thread. NULL is fine. */
void progress_stop(struct progress *p);

#endif
