/* SPDX-License-Identifier: BSD-3-Clause */
/* A listener and a server on a mock fabric, and the client of a path. */
#ifndef TESTS_UNIT_SRV_FIXTURE_H
#define TESTS_UNIT_SRV_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/rtrs-imm.h"
#include "proto/rtrs-msg.h"
#include "rtrs/rtrs.h"
#include "tests/unit/srv/mock-fabric.h"

#define SEC(n)   ((uint64_t)(n)*NSEC_PER_SEC)
#define CHUNK    131072u
#define MAX_CIDS 600
#define LOCAL    "10.0.0.2"
#define PEER     "10.0.0.1"
#define OTHER    "10.0.1.1"

struct fx {
	struct mock m;
	struct log log;
	struct rtrs_listener *lsn;
	struct rtrs_srv *srv;
	uint64_t now;
	/* What the upper layer does: */
	int auto_err;   /* answer at once with this... */
	bool auto_done; /* ...if set, else keep in ops */
	int sess_up_err;
	int path_new_err;
	bool down_later; /* sess_down_done() is the test's */
	bool close_in_up, close_in_request;
	/* What it saw: */
	struct rtrs_srv_op *ops[1024];
	unsigned n_ops;
	unsigned ups, downs, gones, losses;
	unsigned told, untold; /* vital answers */
	uint64_t tag;          /* of the last */
	bool closed_in_gone;   /* rtrs_srv_closed() in the last sess_gone() */
	unsigned asked;        /* by path_new() */
	int counted;           /* paths: path_new() less path_gone() */
	struct rtrs_srv_new_path new_path; /* the last; no pointers */
	struct rtrs_srv_sess *sess;        /* of the last sess_up */
	void *sess_user; /* of the last request or sess_down */
	char name[256];
	struct fabric_addrs addrs;
	struct rtrs_conn_request *kept; /* if keep_requests */
	bool keep_requests;
	unsigned warnings;
	char last_warning[512];
	char last_close[512]; /* why a path closed, of any level */
};

/* Zeroes in p take: queue_depth 2, the fixture's callbacks. */
void fx_init(struct fx *f, unsigned caps, const struct rtrs_srv_params *p);
void fx_fini(struct fx *f);
/* Progress until nothing is left to do. */
void fx_run(struct fx *f);
/* Lets time pass, up to the deadline that comes first, and so on until t. */
void fx_until(struct fx *f, uint64_t t);

struct fx_path {
	struct fx *f;
	struct rtrs_msg_conn_req req;
	const char *local, *peer;
	struct mock_conn *con[MAX_CIDS];
	/* From conn_rsp and INFO_RSP: */
	struct rtrs_msg_conn_rsp rsp;
	struct rtrs_desc desc[64];
	uint16_t sg_cnt;
	uint32_t key[64]; /* of each chunk, as the client knows it */
	uint64_t addr[64];
};

/* The path and session numbers become UUIDs. */
void fx_path_init(struct fx *f, struct fx_path *p, uint8_t sess, uint8_t path,
		  uint16_t cid_num);
/* The usual: two paths of a session, from two addresses. */
void fx_init_two(struct fx *f, struct fx_path *a, struct fx_path *b,
		 unsigned caps, const struct rtrs_srv_params *p);
/* A request of one connection arrives; nobody has looked at it. */
struct mock_conn *fx_knock(struct fx_path *p, uint16_t cid);
/* Sends the request of one connection; the outcome is in the connection. */
struct mock_conn *fx_connect(struct fx_path *p, uint16_t cid);
void fx_connect_all(struct fx_path *p);
void fx_info_req(struct fx_path *p, const char *name);
/* Connects, sends INFO_REQ and takes INFO_RSP. */
void fx_path_up(struct fx_path *p);
enum rtrs_srv_path_state fx_state(struct fx *f, unsigned i);
unsigned fx_n_paths(struct fx *f);
bool fx_path_info(struct fx *f, unsigned i, struct rtrs_srv_path_info *ret);

/* Errno of the reject; fails the test if there was none. */
int fx_reject_errno(const struct mock_conn *c);

/* Rejects of the server so far: n in all, these among them. */
void fx_rejects(struct fx *f, unsigned n, enum rtrs_srv_reject reject,
		unsigned of_these);

/* Requests. desc NULL: without. They run the server. */
void fx_write(struct fx_path *p, unsigned cid, unsigned id, const void *data,
	      uint32_t len, const void *usr, uint16_t usr_len);
void fx_read(struct fx_path *p, unsigned cid, unsigned id, uint32_t len,
	     const void *usr, uint16_t usr_len, const struct rtrs_desc *desc,
	     uint16_t flags);
/* Any bytes at offset at of the chunk, and an immediate with any off. */
void fx_raw(struct fx_path *p, unsigned cid, unsigned id, uint32_t at,
	    const void *bytes, size_t len, uint32_t off);
void fx_imm(struct fx_path *p, unsigned cid, uint32_t imm);
/* Takes the next sends of a connection: must be a whole reply. */
struct fx_reply {
	bool data, inv, bind, rkey_rsp;
	unsigned n; /* WRs */
	struct mock_sent wr[4];
	unsigned msg_id;
	int err;
	bool w_inv;
	uint32_t rkey;
};
void fx_reply(struct fx_path *p, unsigned cid, struct fx_reply *ret);

#endif
