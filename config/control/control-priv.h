/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of the control socket, shared by control.c (socket and clients),
 * control-rpc.c (lines, calls, batches) and control-peer.c (who may).
 */
#ifndef CONFIG_CONTROL_PRIV_H
#define CONFIG_CONTROL_PRIV_H

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "config/control/control.h"

struct bufferevent;
struct event;

struct client {
	struct control *control;
	struct bufferevent *bev;
	struct control_call *call; /* under way; reading waits for it */
	/* A batch under way: its calls, the next one, and their answers. */
	json_t *batch, *answers;
	size_t batch_next;
	struct ucred peer;
	bool eof;     /* the peer says no more; its lines are still taken */
	bool closing; /* no more input; ends once the output is written */
	bool running; /* client_run() is on the stack */
	struct client *prev, *next;
};

struct control_call {
	struct client *client; /* NULL: it left meanwhile */
	const struct control_method *method;
	const struct log *log; /* outlives the socket */
	struct ucred peer;
	json_t *id;     /* NULL: a notification, not answered */
	json_t *params; /* an object, judged; NULL: none */
};

struct control {
	struct control_params p;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int fd;
	struct loop_watch *watch; /* NULL: no descriptors; until resume */
	struct event *resume;
	struct client *clients;
	unsigned n_clients;
};

/* --- control.c */

/* Takes one call after the other from what has arrived; may free the client. */
void control_client_run(struct client *cl);
/* Writes msg as a line. Steals msg; NULL: closes. */
void control_client_send(struct client *cl, json_t *msg);

/* --- control-rpc.c */

/* A line came; starts a call or a batch, or answers what is wrong with it. */
void control_line(struct client *cl, const char *line, size_t len);
/* The next call of the batch, or its end. */
void control_batch_step(struct client *cl);
/* An error object as JSON-RPC wants it. Borrows id; NULL: null. */
json_t *control_error(json_t *id, int code, const char *message);

/* --- control-peer.c */

/* Who is on the other end: 0 or a negative errno. */
int control_peer_get(int fd, struct ucred *ret);
/*
 * Root, the process' own user, and members of the socket's group if its mode
 * lets the group write. The mode for others, or a list of access rights, lets
 * nobody in.
 */
bool control_peer_may(const struct ucred *peer, const gid_t *groups,
		      size_t n_groups, uid_t self, const struct stat *st);
/* The same, asking the kernel for the groups. */
bool control_peer_check(const struct control *c, int fd,
			const struct ucred *peer);

#endif
