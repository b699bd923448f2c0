/* SPDX-License-Identifier: BSD-3-Clause */
/* The objects of the mock fabric, for its two halves. */
#ifndef TESTS_UNIT_SRV_MOCK_PRIV_H
#define TESTS_UNIT_SRV_MOCK_PRIV_H

#include "tests/unit/srv/mock-fabric.h"

#define MAX_QUEUED 16384

struct mock_ctx {
	struct mock *m;
	struct mock_ctx *next;
	struct fabric_event ev[1024];
	unsigned ev_head, ev_tail;
	struct fabric_wc *wc;
	unsigned wc_head, wc_tail;
	uint8_t ev_priv[FABRIC_PRIV_MAX];
};

struct mock_pd {
	struct mock *m;
	unsigned refs;
};

struct mock_listener {
	struct mock *m;
	struct mock_ctx *ctx;
	void *user;
	struct sockaddr_storage addr;
};

struct mock_mr {
	struct fabric_mr pub;
	unsigned access;
	unsigned bound;
	unsigned slot;
};

struct mock_mw {
	struct fabric_mw pub;
	struct mock_mr *mr;
	size_t len;
	uint32_t base;
	unsigned binds, slot;
};

#define CONN(p) ((struct mock_conn *)(void *)(p))
#define CTX(p)  ((struct mock_ctx *)(void *)(p))
#define PD(p)   ((struct mock_pd *)(void *)(p))
#define LSN(p)  ((struct mock_listener *)(void *)(p))

#endif
