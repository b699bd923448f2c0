/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A daemon and a session of the plugin in this process, over loopback. What
 * does not work when it is tried again, and what is refused without a word,
 * ends the process with a line.
 */
#ifndef TESTS_FAULTS_WORLD_H
#define TESTS_FAULTS_WORLD_H

#include <pthread.h>

#include "gateway/cmdline.h"
#include "gateway/config.h"
#include "gateway/daemon.h"
#include "nbdkit-plugin/params.h"
#include "nbdkit-plugin/progress.h"
#include "nbdkit-plugin/waiter.h"
#include "tests/faults/fault.h"

/* Set before anything starts. */
struct world_options {
	bool pool; /* no io_uring */
	bool verbose;
	/* Without the port, "tcp:127.0.0.1" if NULL. */
	const char *listen;
	unsigned io_timeout;         /* seconds, or 0: 10 */
	unsigned heartbeat;          /* seconds, or 0: 5 */
	unsigned connect_timeout;    /* seconds, or 0: 3 */
	bool invalidate;             /* renewed keys */
	bool need_inval;             /* the client reads into windows */
	const char *(*replay)(void); /* words for a failure */
};
extern struct world_options world;

struct server {
	struct cmdline cl;
	struct gw_config config;
	struct daemon *d;
	pthread_t thread;
	char addr[64];
};

struct client {
	struct params params;
	struct rtrs_path_addr *paths;
	struct rnbd_wait *wait;
	struct progress *helper;
	struct rnbd_clt_dev *devs[2];
	uint8_t *buf, *want;
};

/* Ends the process. */
void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* The disk and the configuration, in a directory of their own. */
void world_make_files(void);
void world_remove_files(void);

void server_start(struct server *s);
void server_stop(struct server *s);

void client_start(struct client *c, const char *addr);
void client_open(struct client *c);
/* Closes what client_open() opened; client_stop() may follow. */
void client_shut(struct client *c);
/* Each kind of I/O to both devices, read back. */
void client_work(struct client *c, uint8_t tag);
/* One write of a block to a device, read back. */
void client_touch(struct client *c, uint8_t tag);
/* As if the transport had died: requests wait until it is back. */
void client_cut(struct client *c);
void client_stop(struct client *c);

/* Asks the control socket, and for the metrics. */
void world_control(void);
void world_scrape(void);

#endif
