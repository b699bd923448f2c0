/* SPDX-License-Identifier: BSD-3-Clause */
/* A client session on the mock fabric, and a well-behaved server by script. */
#ifndef TESTS_CLT_FIXTURE_H
#define TESTS_CLT_FIXTURE_H

#include <check.h>

#include "tests/unit/clt/mock-fabric.h"
#include "proto/rtrs-imm.h"
#include "proto/rtrs-msg.h"
#include "rtrs/clt/clt.h"

#define SEC(n)    ((uint64_t)(n)*NSEC_PER_SEC)
#define MAX_PATHS 4
#define CHEAP     FABRIC_CAP_CHEAP_MR
#define CHEAP_INV (FABRIC_CAP_CHEAP_MR | FABRIC_CAP_MR_REMOTE_INV)
/* Where the scripted server has chunk i of path p; its rkey. */
#define CHUNK_ADDR(f, p, i)                                                    \
	(UINT64_C(0x7f1000000000) + ((uint64_t)(p) << 32) +                    \
	 (uint64_t)(i) * ((f)->rsp.max_io_size + (f)->rsp.max_hdr_size))
#define CHUNK_KEY(p, i) (0x1100u * ((i) + 1) + ((unsigned)(p) << 24))

struct fx {
	struct mock m;
	struct rtrs_path_addr addrs[MAX_PATHS];
	struct rtrs_clt_params p;
	struct rtrs_msg_conn_rsp rsp; /* what the server answers */
	struct rtrs_clt *clt;
	struct log log;
	char last_line[512]; /* of warning or error */
	uint64_t now;
	unsigned n_fills; /* draws of randomness */
	uint32_t rnd32;
	/* What was called back; order[] notes 'U'p, 'D'own, 'F'ailed, 'r'eq. */
	unsigned n_up, n_down, n_failed;
	int failed_err;
	char order[64];
	unsigned n_order;
	unsigned depth; /* of done() within done() */
};

/* Fills in parameters; change them before fx_open(). */
void fx_init(struct fx *f, unsigned caps, unsigned n_paths);
void fx_open(struct fx *f);
/* Frees the session and checks that nothing is left. */
void fx_deinit(struct fx *f);
void fx_note(struct fx *f, char what);

/* What the server says of the path that it was asked about last. */
void fx_fence_answer(struct fx *f, int err);
void fx_run(struct fx *f);
void fx_run_at(struct fx *f, uint64_t now);
void fx_accept_conn(struct fx *f, struct fabric_conn *c);
/* The one that connects last. */
void fx_accept(struct fx *f);
/* Accepts every connection of the path that is connecting. */
void fx_accept_all(struct fx *f);
/* INFO_RSP with one descriptor per chunk, on the connections of path p. */
void fx_info_rsp(struct fx *f, unsigned p);
void fx_path_up(struct fx *f, unsigned p);
/* All paths up, and link_up was called. */
void fx_up(struct fx *f);
/* Connection cid of path p that is up. */
struct fabric_conn *fx_conn(struct fx *f, unsigned p, unsigned cid);
enum rtrs_clt_path_state fx_state(struct fx *f, unsigned p);
struct rtrs_clt_stats fx_stats(struct fx *f, unsigned p);

/* A request with its outcome. */
struct fx_req {
	struct fx *f;
	struct rtrs_clt_req req;
	enum rtrs_permit_type type;
	unsigned n_done;
	unsigned again; /* submit as often from within done() */
	int err;
	uint8_t data[8192];
};
int fx_submit(struct fx *f, struct fx_req *r, enum rtrs_dir dir,
	      enum rtrs_permit_type type, const void *usr, uint16_t usr_len,
	      uint32_t data_len);
/* The same once more, with another permit. */
int fx_resubmit(struct fx_req *r);
/* The reply to permit id: WRITE_WITH_IMM on the connection of the request. */
void fx_reply(struct fx *f, unsigned p, unsigned cid, unsigned id, int err);

int fx_main(Suite *s);

#endif
