/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket: JSON-RPC 2.0 on a unix stream socket, one object per
 * line each way. It knows how to talk, not what about: methods are a table,
 * and a method may answer later.
 *
 * Limits: CONTROL_MAX_CLIENTS at once, lines of CONTROL_MAX_LINE bytes, one
 * call of a client under way at a time, idle clients are sent away. The
 * process must ignore SIGPIPE.
 */
#ifndef GATEWAY_CONTROL_H
#define GATEWAY_CONTROL_H

#include <jansson.h>

#include "gateway/loop.h"
#include "rtrs/base/log.h"

#define CONTROL_MAX_CLIENTS 16
#define CONTROL_MAX_LINE    65536
/* No call is taken while more than this waits to be read by the client. */
#define CONTROL_MAX_UNREAD  65536
/* Out of descriptors: look away for so long. */
#define CONTROL_PAUSE_MS    100
#define CONTROL_IDLE_S      60
#define CONTROL_TEXT_MAX    256

struct control;
struct control_call;

struct control_method {
	const char *name;
	/* Ends in one control_reply(), now or later. */
	void (*fn)(void *user, struct control_call *call);
};

struct control_params {
	struct loop *loop;
	const char *path;
	const struct control_method *methods; /* ended by a NULL name */
	void *user;
	unsigned idle_s; /* 0: CONTROL_IDLE_S */
};

/*
 * Listens, mode 0660. A socket that nobody listens on is replaced. Errors:
 * -EADDRINUSE a daemon answers there or it is something else than a socket,
 * -ENOMEM, those of bind(2); err_text says it in one line.
 */
int control_new(const struct control_params *p, char err_text[CONTROL_TEXT_MAX],
		struct control **ret);
/* Closes the socket and removes its path. Calls may still be answered. */
void control_free(struct control *c);

/* Steals result. NULL: out of memory. On the loop's thread. */
void control_reply(struct control_call *call, json_t *result);

#endif
