/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one session of the plugin, as nbdkit's callbacks begin and end it. What
 * goes wrong is said by nbdkit_error().
 */
#ifndef NBDKIT_PLUGIN_PLUGIN_SESSION_H
#define NBDKIT_PLUGIN_PLUGIN_SESSION_H

#include "nbdkit-plugin/params.h"
#include "nbdkit-plugin/wait.h"

/* As configured; from plugin_get_ready() on nobody writes. */
extern struct params params;
/* From plugin_after_fork() until plugin_cleanup(), else NULL. */
extern struct rnbd_wait *session;

/* The callbacks of these names. */
void plugin_load(void);
void plugin_unload(void);
int plugin_get_ready(void);
int plugin_after_fork(void);
void plugin_cleanup(void);

/*
 * Opens a device of s, which is the session or one to try the server with.
 * Blocks. 0, or -1 and errno is set. Any thread.
 */
int device_open(struct rnbd_wait *s, const char *name,
		enum rnbd_access_mode mode, struct rnbd_clt_dev **ret);

#endif
