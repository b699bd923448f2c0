/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocking calls over the passive client session (rnbd-clt.h), for any number
 * of threads: the session's lock, clock and source of randomness.
 *
 * Leader and followers: of the threads that wait for an answer one drives, that
 * is, it watches the descriptors and completes the others' work with its own.
 * When its own is done it hands over to another. So a lone request is served by
 * the thread that makes it, and no other thread wakes up. Between requests
 * nobody drives; if it stays quiet the helper thread (progress.h) takes over,
 * for heartbeats and reconnects, until the next request takes the role back.
 *
 * The underlying client is made on first use, and made anew after it failed for
 * good, so a server that was away is found by the next rnbd_wait_open().
 *
 * Every function may be called by any thread unless said otherwise.
 */
#ifndef NBDKIT_PLUGIN_WAIT_H
#define NBDKIT_PLUGIN_WAIT_H

#include "nbdkit-plugin/rnbd-clt.h"

struct rnbd_wait;

struct rnbd_wait_params {
	/*
	 * rtrs.rng and rtrs.now are filled in here. What it points to (names,
	 * paths, log) is borrowed for the life of the object. The log's sink
	 * is called by a thread of its own, and may block.
	 */
	struct rnbd_clt_params clt;
	/* The driver looks this long before it sleeps, at most, while that has
	 * been paying (rtrs/base/spin.h); 0: it sleeps at once. */
	unsigned busy_poll_us;
	/*
	 * Asked by the helper while requests are out and none was answered for
	 * a while: true if the program wants to end. Everything outstanding
	 * then ends with -ESHUTDOWN, and so does all that follows. May be NULL.
	 */
	bool (*quit)(void *user);
	void *user;
};

/* Errors: -ENOMEM, -EMFILE, -ENFILE, -EAGAIN too many threads. */
int rnbd_wait_new(const struct rnbd_wait_params *p, struct rnbd_wait **ret);
/*
 * Ends the session in order, which may take up to timeout_ms, and frees. No
 * other call may be under way; the helper was stopped. NULL is fine.
 */
void rnbd_wait_free(struct rnbd_wait *s, unsigned timeout_ms);

/* Starts to connect, and does not wait for the outcome. */
void rnbd_wait_connect(struct rnbd_wait *s);

#define RNBD_WAIT_TEXT_MAX 512
/*
 * Waits until devices can be opened. On failure text says why, always
 * NUL-terminated. Errors: those of rnbd_clt_new() and rnbd_clt_wait_ready().
 */
int rnbd_wait_ready(struct rnbd_wait *s, char text[RNBD_WAIT_TEXT_MAX]);
/*
 * Opens a device and waits for it. On failure text says why; always
 * NUL-terminated. Errors: those of rnbd_clt_new() and rnbd_clt_dev_open().
 */
int rnbd_wait_open(struct rnbd_wait *s, const char *name,
		   enum rnbd_access_mode mode, char text[RNBD_WAIT_TEXT_MAX],
		   struct rnbd_clt_dev **ret);
/* Waits until the server has closed it, too. */
void rnbd_wait_close(struct rnbd_wait *s, struct rnbd_clt_dev *dev);

/* -ESHUTDOWN after quit: then there is no device any more. */
int rnbd_wait_geometry(struct rnbd_wait *s, struct rnbd_clt_dev *dev,
		       struct rnbd_clt_geometry *ret);
/* Why the device or its session does not work just now; "" if it does. */
void rnbd_wait_why(struct rnbd_wait *s, struct rnbd_clt_dev *dev,
		   char text[RNBD_WAIT_TEXT_MAX]);

/*
 * One I/O, aligned to the logical block and within the size; waits for its end.
 * flags: RNBD_CLT_F_*. Returns 0 or a negative errno.
 */
int rnbd_wait_io(struct rnbd_wait *s, struct rnbd_clt_dev *dev,
		 enum rnbd_clt_op op, unsigned flags, void *buf, uint64_t len,
		 uint64_t off);

/*
 * Runs fn with the client (NULL: there is none before the first use and after
 * it failed), under the session's lock: no I/O is submitted or completed
 * meanwhile, so it must be short and must not wait. True: it began something,
 * which is driven from now on though no request waits.
 */
void rnbd_wait_with(struct rnbd_wait *s,
		    bool (*fn)(struct rnbd_clt *clt, void *arg), void *arg);
/*
 * The paths and the policy that the session has now are those of a client that
 * is made anew, too. Without a path nothing changes. -ENOMEM.
 */
int rnbd_wait_keep(struct rnbd_wait *s);

/* How the work was shared; plain counters, exact when nothing runs. */
struct rnbd_wait_stats {
	uint64_t ops;       /* requests of all kinds */
	uint64_t driven;    /* whose own thread saw them done: no switch */
	uint64_t sleeps;    /* waits for the descriptors, by drivers */
	uint64_t handovers; /* of the role, to another waiting thread */
	uint64_t wakes;     /* system calls that wake others */
	uint64_t combined;  /* requests submitted by another thread */
	uint64_t helper;    /* times the helper took over */
	/* Waits that were polled, and whether something came meanwhile. */
	uint64_t polls_paid, polls_missed;
};
void rnbd_wait_stats(struct rnbd_wait *s, struct rnbd_wait_stats *ret);

/* --- for the helper thread only */

/* One turn; returns when something happened or after a bounded time. */
void rnbd_wait_help(struct rnbd_wait *s);
/* Ends the present turn, or the next one if none is under way. */
void rnbd_wait_kick(struct rnbd_wait *s);

#endif
