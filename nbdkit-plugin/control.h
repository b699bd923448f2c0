/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket of a client: the dialect of config/control/control.h, on a
 * thread and a loop of its own. What it asks of the session it asks under the
 * session's lock, for as long as it takes to copy an answer or to begin a
 * command; commands end later, by whoever drives the session then. So nothing
 * that is said on the socket holds up I/O.
 *
 * Knows nothing of nbdkit.
 */
#ifndef NBDKIT_PLUGIN_CONTROL_H
#define NBDKIT_PLUGIN_CONTROL_H

#include "config/control/control.h"
#include "nbdkit-plugin/rnbd-stats.h"
#include "nbdkit-plugin/wait.h"

struct clt_control;

struct clt_control_params {
	const char *path; /* of the socket */
	const char *sessname;
	struct rnbd_wait *wait;
	struct rnbd_stats *stats;
	const struct log *log;
	/*
	 * Makes an address of text, as path= would. May block. Negative errno,
	 * with words in err.
	 */
	int (*resolve)(void *user, const char *text, struct rtrs_path_addr *ret,
		       char *err, size_t err_len);
	void *user;
};

/*
 * Listens, and starts the thread; what p points to is borrowed. Errors: those
 * of control_new(), -ENOMEM, -EAGAIN; err_text says it in one line.
 */
int clt_control_new(const struct clt_control_params *p,
		    char err_text[CONTROL_TEXT_MAX], struct clt_control **ret);

#define CLT_CONTROL_STOP_MS 1000
/*
 * Ends the thread, and removes the socket. To be called before
 * rnbd_wait_free(). A thread that is held up by a name server for longer than
 * CLT_CONTROL_STOP_MS is left to itself: it will touch nothing any more, but
 * its code must stay.
 */
void clt_control_stop(struct clt_control *cc); /* NULL is fine */
/* To be called after rnbd_wait_free(), which ends commands that are under way.
 */
void clt_control_free(struct clt_control *cc); /* NULL is fine */

#endif
