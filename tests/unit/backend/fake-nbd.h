/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An NBD server on loopback, a thread for each connection, that can stop
 * reading as one does whose disk hangs, or fall silent as a machine does that
 * is gone.
 */
#ifndef TESTS_UNIT_BACKEND_FAKE_NBD_H
#define TESTS_UNIT_BACKEND_FAKE_NBD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define FAKE_NBD_SIZE  (1u << 20)
#define FAKE_NBD_CONNS 4

struct fake_nbd;

struct fake_nbd_conn {
	struct fake_nbd *server;
	pthread_t thread;
	int fd;
	unsigned n_writes;
	bool ended;
	int end_errno; /* 0: the client closed */
};

struct fake_nbd {
	pthread_mutex_t lock; /* all of it, but what is constant */
	pthread_cond_t changed;
	pthread_t thread;
	int listen_fd;
	uint16_t port;
	bool multi_conn;
	bool stopped; /* nothing is executed, nothing more is read */
	bool ending;
	struct fake_nbd_conn conns[FAKE_NBD_CONNS];
	unsigned n_conns;
	uint8_t disk[FAKE_NBD_SIZE];
};

void fake_nbd_init(struct fake_nbd *s, bool multi_conn);
/* Ends all connections and threads. */
void fake_nbd_deinit(struct fake_nbd *s);
/* Does nothing and reads nothing more until it is told to go on. */
void fake_nbd_stop(struct fake_nbd *s, bool stopped);
/* What comes to the connection is dropped unseen: nothing is acknowledged. */
void fake_nbd_deafen(struct fake_nbd *s, unsigned i, bool deaf);
void fake_nbd_close(struct fake_nbd *s, unsigned i);
unsigned fake_nbd_n_conns(struct fake_nbd *s);
unsigned fake_nbd_n_writes(struct fake_nbd *s, unsigned i);
/* Says something on it, and waits until it has ended; how it did. */
int fake_nbd_poke(struct fake_nbd *s, unsigned i);

#endif
