/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An NBD export as text: URI[,KEY=VALUE]...
 *
 * The URI ends at the first comma. One that belongs to the URI is written %2C,
 * as in any URI.
 */
#ifndef GATEWAY_BACKEND_NBD_PARAMS_H
#define GATEWAY_BACKEND_NBD_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/backend/backend.h"
#include "gateway/text.h"

#define NBD_MAX_CONNS         16
#define NBD_DEFAULT_CONNS     4
#define NBD_DEFAULT_HOLD_S    30
#define NBD_DEFAULT_CONNECT_S 10
#define NBD_MAX_HOLD_S        86400
#define NBD_MAX_CONNECT_S     300
#define NBD_DEFAULT_PORT      10809

struct nbd_params {
	char *uri;            /* owned */
	char *where;          /* "HOST:PORT" or the socket, for people; owned */
	unsigned connections; /* at most; 1..NBD_MAX_CONNS */
	uint64_t hold_ns;     /* how long requests wait for a lost server */
	uint64_t connect_ns;  /* how long one attempt to connect may take */
	/*
	 * The server forgot writes that it had acknowledged and not yet made
	 * durable, or may have: fail the next flush, because it would lie.
	 */
	bool fail_lost_writes;
	struct backend_identity id;
};

/*
 * Nothing is asked of the network. -EINVAL, -ENOMEM, with err_text, which says
 * what is wrong and what is accepted, and does not name the export.
 */
int nbd_params_parse(const char *text, struct nbd_params *ret,
		     char err_text[GW_TEXT_MAX]);
void nbd_params_deinit(struct nbd_params *p);

#endif
