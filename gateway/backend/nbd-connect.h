/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections to an NBD server, made by waiting: for threads that may. What is
 * made here is driven by a worker's loop afterwards.
 */
#ifndef GATEWAY_BACKEND_NBD_CONNECT_H
#define GATEWAY_BACKEND_NBD_CONNECT_H

#include <libnbd.h>

#include "gateway/backend/nbd-params.h"

/* What a server says of an export. */
struct nbd_facts {
	uint64_t size;
	/* Bytes; 1 and so on if it says nothing: NBD's own defaults. */
	uint32_t min_block, preferred_block, max_payload;
	bool read_only, flush, fua, trim, zero, multi_conn, rotational;
};

/* Several connections to one export. */
struct nbd_set {
	struct nbd_handle *h[NBD_MAX_CONNS];
	unsigned n;
	struct nbd_facts facts;
};

/*
 * As many connections as the server allows and p wants. Blocking, for no longer
 * than p->connect_ns and the system's own name resolution; ends early with
 * -ECANCELED when cancel_fd (or -1) is readable. Errors as connect(2), -ENOENT
 * no such export, -ETIMEDOUT, -EIO for what has no number, with err_text.
 */
int nbd_set_connect(const struct nbd_params *p, int cancel_fd,
		    struct nbd_set *ret, char err_text[GW_TEXT_MAX]);
/* What went wrong in the last call of libnbd on this thread, for people; NULL:
 * nothing is known. */
const char *nbd_error_words(void);
/* Says goodbye to the server and closes. Empties the set. */
void nbd_set_close(struct nbd_set *set);
/* The same for one handle; NULL is fine. */
void nbd_handle_close(struct nbd_handle *h);

#endif
