/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which worker owns a session. All connections of a session must reach the
 * same rtrs_srv; the first one decides which. Any thread; one mutex, never on
 * the I/O path.
 *
 * An entry lives as long as somebody needs it: connection requests on their
 * way to the worker, and the session itself.
 */
#ifndef GATEWAY_ROUTE_H
#define GATEWAY_ROUTE_H

#include <stdbool.h>

#include "proto/rtrs-msg.h"

struct route;

int route_new(unsigned n_workers, struct route **ret);
void route_free(struct route *r);

/*
 * The worker for a connection request of this session: the owner, or the one
 * with the fewest sessions, which becomes the owner. Every success is ended by
 * one route_settled() or route_cancel(). Errors: -ENOMEM.
 */
int route_get(struct route *r, const struct rtrs_uuid *sess_uuid);
/* The request is answered; is there a session of this uuid now? */
void route_settled(struct route *r, const struct rtrs_uuid *sess_uuid,
		   bool has_session);
/* The request did not reach the worker. */
void route_cancel(struct route *r, const struct rtrs_uuid *sess_uuid);
/* The session is gone. Requests on their way still hold the entry. */
void route_session_gone(struct route *r, const struct rtrs_uuid *sess_uuid);

/* Sessions of a worker, those on their way included. */
unsigned route_load(struct route *r, unsigned worker);

#endif
