/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A stand-in for the RTRS client: requests pile up until the test answers
 * them, links come and go when the test says so.
 */
#ifndef TESTS_UNIT_RNBD_FAKE_RTRS_H
#define TESTS_UNIT_RNBD_FAKE_RTRS_H

#include "rtrs/rtrs.h"

#define FAKE_MAX 64

struct fake_sent {
	struct rtrs_clt_req *req;
	enum rtrs_dir dir;
	bool admin;
	uint8_t usr[RTRS_USR_LEN_MAX];
	uint16_t usr_len;
	uint32_t data_len;
};

struct rtrs_clt {
	struct rtrs_clt_params p;
	bool up;
	uint64_t now, lost_at;
	unsigned depth;
	uint32_t max_io_size;
	int submit_err; /* returned by the next submits; 0: works */
	struct rtrs_permit permits[FAKE_MAX];
	bool taken[FAKE_MAX];
	unsigned n_out; /* permits */
	struct rtrs_permit_waiter *waiters;
	struct fake_sent sent[FAKE_MAX];
	unsigned n_sent;
	unsigned resets;
	bool closing;
	bool lingers; /* closing takes time */
	bool busy;    /* nothing to wait for */
	const char *why_down;
	int path_info_err;
	void (*in_progress)(void); /* what comes in from the network then */
};

extern struct rtrs_clt *fake; /* the last that was made */
extern int fake_new_err;      /* of the next rtrs_clt_new(); 0: works */

void fake_link_up(unsigned depth, uint32_t max_io_size);
/* The last path is lost; what is out stays out until fake_link_down(). */
void fake_lose(void);
/* Requests that are out end with -ECONNABORTED first, as in the engine. */
void fake_link_down(void);
/* All permits but this many are taken by others; of those, one comes free. */
void fake_take_all_but(unsigned left);
void fake_give_one(void);
/* Answers the i-th request that is out; fills the data of a READ. */
void fake_answer(unsigned i, int err, const void *data, size_t len);

#endif
