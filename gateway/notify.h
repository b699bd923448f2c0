/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the daemon tells the service manager (sd_notify(3)), if one asked to be
 * told. Of the control thread. Without libsystemd nothing is told, and
 * notify_missing() says so.
 */
#ifndef GATEWAY_NOTIFY_H
#define GATEWAY_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* A manager waits to be told, and this build cannot. */
bool notify_missing(void);
/* status: one line for people, as `systemctl status` shows it. */
void notify_ready(const char *status);
/* To be followed by notify_ready() when it is done. */
void notify_reloading(void);
void notify_stopping(const char *status);
/* The watchdog is to be told more often than this. 0: there is none. */
uint64_t notify_watchdog_ns(void);
void notify_alive(void);

#endif
