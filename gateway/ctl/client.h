/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The clients of this machine that answer: one process each, one session each.
 * Which ones: that of --socket, or every *.ctl of the directory that they are
 * in, RNBD_CLIENT_DIR or CTL_CLIENT_DIR.
 */
#ifndef GATEWAY_CTL_CLIENT_H
#define GATEWAY_CTL_CLIENT_H

#include "gateway/ctl/ctl.h"

struct client {
	struct rpc *rpc;
	char *path;
	json_t *version; /* of its answer: sessname, pid, version */
};

struct clients {
	struct client *list;
	unsigned n;
	/* Found, not named: one that ends before it answers is passed over. */
	bool found;
};

/*
 * Asks all of them who they are; session, if not NULL, leaves that one alone.
 * An exit code, said, if there is none.
 */
int clients_open(const struct ctl *ctl, const char *session,
		 struct clients *ret);
void clients_close(struct clients *all);
const char *client_session(const struct client *c);
/* The same, and that there is none is fine. */
int clients_open_any(const struct ctl *ctl, const char *session,
		     struct clients *ret);

/* The same, but it is an error if there is more than one. */
int clients_open_one(const struct ctl *ctl, const char *session,
		     struct clients *ret);

/* Arrays that all of them answer with, one after the other. Steals params, and
 * closes them. */
int clients_ask(struct clients *all, const char *method, json_t *params,
		json_t **ret);
/* Of all that there are, or of the session's. Steals params. */
int clients_rows(const struct ctl *ctl, const char *session, const char *method,
		 json_t *params, json_t **ret);

extern const struct command client_commands[]; /* ended by NULL words */
extern const struct table client_session_table, client_device_table,
	client_path_table;

/* --- the commands */

int client_session_list(const struct ctl *ctl, char **args, unsigned n);
int client_session_show(const struct ctl *ctl, char **args, unsigned n);
int client_path_list(const struct ctl *ctl, char **args, unsigned n);
int client_path_show(const struct ctl *ctl, char **args, unsigned n);
int client_device_list(const struct ctl *ctl, char **args, unsigned n);
int client_device_show(const struct ctl *ctl, char **args, unsigned n);

int client_path_add(const struct ctl *ctl, char **args, unsigned n);
int client_path_remove(const struct ctl *ctl, char **args, unsigned n);
int client_path_disconnect(const struct ctl *ctl, char **args, unsigned n);
int client_path_reconnect(const struct ctl *ctl, char **args, unsigned n);
int client_session_policy(const struct ctl *ctl, char **args, unsigned n);
int client_device_resize(const struct ctl *ctl, char **args, unsigned n);
int client_device_remap(const struct ctl *ctl, char **args, unsigned n);

int client_stats(const struct ctl *ctl, char **args, unsigned n);
int client_stats_reset(const struct ctl *ctl, char **args, unsigned n);
int client_metrics(const struct ctl *ctl, char **args, unsigned n);
int client_version(const struct ctl *ctl, char **args, unsigned n);

#endif
