/* SPDX-License-Identifier: BSD-3-Clause */
/* Between mock-server.c, which is honest, and mock-greet.c and mock-requests.c,
 * which are not. */
#ifndef TESTS_VM_MOCK_H
#define TESTS_VM_MOCK_H

#include "proto/rnbd-msg.h"
#include "proto/rtrs-msg.h"
#include "rtrs/base/util.h"
#include "tests/vm/raw-verbs.h"

#define MOCK_DEPTH 32
#define MOCK_CHUNK 131072u
#define MOCK_HDR   4096u
#define MOCK_DISK  (4u << 20)
#define MOCK_CIDS  16

struct mock_path {
	struct rtrs_uuid uuid;
	unsigned cid_num, n_cons;
	struct rv_con *con[MOCK_CIDS];
	bool new_rkey;
	struct mock_path *next;
};

struct mock_con { /* rv_con.user */
	struct mock_path *path;
	unsigned cid;
	bool leaves; /* as soon as it is established */
};

/* A request that came, as it says. */
struct mock_req {
	struct rv_con *con;
	unsigned id;
	struct rtrs_msg_req hdr;
	const uint8_t *usr;
	uint32_t data_len;
	size_t chunk_off; /* in the buffer */
	uint16_t type;    /* enum rnbd_msg_type */
	struct rnbd_msg_io io;
};

/* Where a case acts. */
enum mock_hook {
	MOCK_NEVER,
	MOCK_CONNECT, /* cid 0 */
	MOCK_CONNECT_1,
	MOCK_INFO,
	MOCK_SESS_INFO,
	MOCK_OPEN,
	MOCK_READ,
	MOCK_WRITE,
	MOCK_CLOSE,
	MOCK_N_HOOKS,
};

struct mock_case;

struct mock {
	struct rv rv;
	struct mock_path *paths;
	const struct mock_case *c;
	unsigned hits[MOCK_N_HOOKS]; /* how often it came there */
	bool silent;                 /* from now on nothing is answered */
};

/* What a CONNECT_REQUEST is answered with. */
struct mock_answer {
	struct rtrs_msg_conn_rsp rsp;
	uint8_t priv[RTRS_CONN_RSP_LEN];
	unsigned priv_len;
	bool raw; /* priv is what is sent, and not rsp */
	bool reject;
	bool silent; /* no answer at all */
	bool leave;  /* accepted, and disconnected at once */
};

struct mock_case {
	const char *name;
	enum mock_hook hook;
	/*
	 * What a client of ours makes of it:
	 *   works    right data
	 *   heals    a complaint, and right data after another connection
	 *   refused  it does not start
	 *   error    that request fails, the next one works
	 *   lives    requests succeed, with what data is not the question
	 *   fails    requests fail, after io-timeout
	 */
	const char *outcome;
	const char *complaint; /* of the client's log; a regular expression */
	const char *args;      /* of the plugin */
	/* Only at the first time; else each time. */
	bool once;
	bool new_rkey;
	/* One of them, for CONNECT*, INFO and the rest. */
	void (*connect)(struct mock *m, struct mock_answer *a);
	bool (*info)(struct mock *m, struct rv_con *con);
	/* True: nothing honest is to follow. */
	bool (*req)(struct mock *m, struct mock_req *r);
};
extern const struct mock_case mock_greet[], mock_requests[];
extern const unsigned n_mock_greet, n_mock_requests;

uint8_t *mock_chunk(struct mock *m, unsigned id);
/* The honest INFO_RSP; its length. buf has room for MOCK_DEPTH descriptors. */
unsigned mock_info_rsp(struct mock *m, const struct mock_path *path,
		       uint8_t *buf);
void mock_send(struct mock *m, struct rv_con *con, const void *data,
	       unsigned len);
void mock_send_imm(struct mock *m, struct rv_con *con, const void *data,
		   unsigned len, uint32_t imm);
void mock_send_inv(struct mock *m, struct rv_con *con, uint32_t key);
void mock_imm(struct mock *m, struct rv_con *con, uint32_t imm);
/* From the chunk of the request to where it says, or elsewhere. */
void mock_data(struct mock *m, const struct mock_req *r, uint32_t len);
void mock_data_to(struct mock *m, const struct mock_req *r, uint64_t addr,
		  uint32_t key, uint32_t len);
/* The last message of a reply, in the manner of the path; on any connection. */
void mock_done(struct mock *m, struct rv_con *con, const struct mock_req *r,
	       int err);
void mock_rkey_rsp(const struct mock *m, unsigned id,
		   uint8_t buf[RTRS_RKEY_RSP_LEN]);
/* Carries the IO out between chunk and disk; its errno. */
int mock_io(struct mock *m, struct mock_req *r);
/* What an honest server answers. */
void mock_honest(struct mock *m, struct mock_req *r);
void mock_open_rsp(struct rnbd_msg_open_rsp *ret);
/* Sends this as the answer to an OPEN. */
void mock_answer_open(struct mock *m, struct mock_req *r,
		      const struct rnbd_msg_open_rsp *rsp);
void mock_leave(struct mock *m, struct mock_path *path);
struct mock_path *mock_path_of(const struct rv_con *con);

#endif
