/* SPDX-License-Identifier: BSD-3-Clause */
/* An RNBD client session over a scripted RTRS client, and one disk of it. */
#ifndef TESTS_UNIT_RNBD_RIG_H
#define TESTS_UNIT_RNBD_RIG_H

#include <check.h>

#include "nbdkit-plugin/rnbd-clt.h"
#include "nbdkit-plugin/rnbd-stats.h"
#include "tests/unit/rnbd/fake-rtrs.h"

#define MS      NSEC_PER_MSEC
#define MAX_IO  65536u
#define SECTORS 20480u /* 10 MiB */

extern struct rnbd_clt *clt;
extern struct rnbd_clt_dev *dev; /* the last that was opened */
extern struct rnbd_stats *stats; /* of all sessions of a test */
extern uint64_t now;
extern int open_calls, open_err, closed_calls;
extern char open_text[512];
extern uint8_t buf[1 << 20];
extern char heard[512]; /* the last line of the log, from hear() on */

struct test_io {
	struct rnbd_clt_io io;
	int calls, err;
};

/* A session with an io-timeout of 5 s; frees it. */
void setup(void);
void teardown(void);
void new_session(unsigned io_timeout_ms, unsigned open_timeout_ms);
void hear(void);
/* Time passes, then the session is driven. */
void turn(uint64_t ms);

/* The i-th request that is out. */
uint16_t sent_type(unsigned i);
struct rnbd_msg_io sent_io(unsigned i);
/* The first that is out is the CLOSE of this device. */
void closes(uint32_t id);

void answer_greeting(void);
struct rnbd_msg_open_rsp shape(uint32_t id, uint64_t nsectors, uint16_t lbs);
void answer_open(struct rnbd_msg_open_rsp m);
void on_opened(void *user, struct rnbd_clt_dev *d, int err, const char *text);
void on_closed(void *user);
void open_disk(void);
/* OPEN is still to be sent; without a session it is not. */
void want(const char *name, enum rnbd_access_mode mode);
/* The link is up and the session greeted. */
void be_ready(void);
/* An rnbd_clt_dev_close() that nobody listens to. */
void let_go(struct rnbd_clt_dev *d);
/* The OPEN of a device is answered; the handle that its opener got. */
struct rnbd_clt_dev *opened(const char *name, enum rnbd_access_mode mode,
			    struct rnbd_msg_open_rsp m);
/* Answers everything that is out with success. */
void answer_all(void);
/* The session comes back; the device is open again with this shape. */
void come_back(struct rnbd_msg_open_rsp m);
void submit(struct test_io *t, enum rnbd_clt_op op, uint64_t off, uint64_t len,
	    unsigned flags);

#endif
