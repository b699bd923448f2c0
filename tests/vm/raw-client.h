/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One path of an RTRS client session over raw verbs, and the means to misuse
 * it. Each step of a session is a call of its own, and every byte that leaves
 * can be chosen by the caller.
 *
 * Functions do not return errors: what goes wrong, and what is not as it was
 * expected, ends the case that runs on this thread (bail()).
 */
#ifndef TESTS_VM_RAW_CLIENT_H
#define TESTS_VM_RAW_CLIENT_H

#include <setjmp.h>

#include "proto/rnbd-msg.h"
#include "proto/rtrs-msg.h"
#include "tests/vm/raw-verbs.h"

/* ------------------------------------------------------------------ cases */

#define CASE_WHY_LEN 256

/* What runs on this thread and can fail as a whole. */
struct case_run {
	jmp_buf out;
	char why[CASE_WHY_LEN];
	unsigned step;      /* of the case; said if it fails there */
	struct peer *peers; /* freed at its end */
};
extern _Thread_local struct case_run *case_run;

void bail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
#define steps(i, n) for (unsigned i = 0; (case_run->step = i) < (n); i++)
#define expect(cond, ...)                                                      \
	do {                                                                   \
		if (!(cond))                                                   \
			bail(__VA_ARGS__);                                     \
	} while (0)

/* ------------------------------------------------------------------- peer */

#define PEER_CIDS     16 /* the most that a peer of ours opens */
#define PEER_TX_SLOTS 48 /* sends under way */

/* How long an answer may take; guests are slow. */
#define PEER_MS     20000
/* The end of a path, less: after 5 s a server of ours gives up waiting for the
 * end of a connection, and that is not how a peer should learn of it. */
#define PEER_END_MS 4500

struct peer_where {
	struct sockaddr_storage dst, src;
	bool has_src;
};
extern struct peer_where peer_where; /* where all peers connect to */

struct peer {
	struct rv rv;
	unsigned cid_num;
	struct rv_con *con[PEER_CIDS];
	struct rtrs_uuid path, sess;
	uint16_t recon_cnt;
	char name[64];
	unsigned n_recvs; /* posted on each connection by peer_recvs() */
	bool mute;        /* heartbeats are not acknowledged */
	bool hoards;      /* used up receives are not posted again */

	/* From the server: */
	struct rtrs_msg_conn_rsp rsp;
	uint32_t chunk_size;
	unsigned mem_bits;
	struct {
		uint64_t addr;
		uint32_t key;
	} * chunks;
	bool new_rkey;

	/* Counters: */
	unsigned hb_msgs, hb_acks;
	enum ibv_wc_status sent; /* of the last send that completed */
	bool tx_busy[PEER_TX_SLOTS];
	struct peer *next;
};

/* A session with a name and uuids of its own. Freed when the case ends. */
struct peer *peer_new(unsigned cid_num);
/* Another path of the session of p. */
struct peer *peer_path_of(const struct peer *p, unsigned cid_num);
void peer_free(struct peer *p);

/* The conn_req that an honest client would send for cid. */
struct rtrs_msg_conn_req peer_conn_req(const struct peer *p, unsigned cid);
/* Sends any private data; the answer is returned as it came. */
struct rv_con *peer_ask(struct peer *p, const void *priv, unsigned len,
			struct rv_answer *answer);
/* The same; an accept stays without its answer. */
struct rv_con *peer_ask_half(struct peer *p, const struct rtrs_msg_conn_req *m,
			     struct rv_answer *answer);
/* The answer must be a reject with this errno in a conn_rsp. */
void peer_rejected(struct peer *p, const void *priv, unsigned len, int err);
void peer_req_rejected(struct peer *p, const struct rtrs_msg_conn_req *m,
		       int err);
/* The answer must be an accept. */
void peer_connect(struct peer *p, unsigned cid);
void peer_connect_req(struct peer *p, const struct rtrs_msg_conn_req *m);
void peer_connect_all(struct peer *p);

/* Receives for INFO_RSP and for replies on all connections. */
void peer_recvs(struct peer *p);
/* A SEND of these bytes; nothing is expected. */
void peer_send_bytes(struct peer *p, unsigned cid, const void *data,
		     unsigned len);
void peer_info_req(const struct peer *p, uint8_t buf[RTRS_INFO_REQ_LEN]);
/* INFO_REQ and a good INFO_RSP. */
void peer_info(struct peer *p);
/* All of the above: the path is up. */
struct peer *peer_up(struct peer *p);

/* ------------------------------------------------------------- requests */

uint32_t peer_imm(const struct peer *p, unsigned id, uint32_t off);
/* WRITE_WITH_IMM of data to chunk id + at, with the immediate for off. */
void peer_put(struct peer *p, unsigned cid, unsigned id, uint32_t at,
	      const void *data, unsigned len, uint32_t off);
/* The same without an immediate. */
void peer_poke(struct peer *p, unsigned cid, uint64_t raddr, uint32_t rkey,
	       const void *data, unsigned len);
/* An empty WRITE_WITH_IMM. */
void peer_bell(struct peer *p, unsigned cid, uint32_t imm);

/* Where the answer of request id goes; PEER_ROOM bytes. */
#define PEER_ROOM 16384
uint8_t *peer_room(struct peer *p, unsigned id);

void peer_read(struct peer *p, unsigned cid, unsigned id, const void *usr,
	       unsigned usr_len, uint32_t data_len);
/* The same with a descriptor of the caller's choice. */
void peer_read_to(struct peer *p, unsigned cid, unsigned id, const void *usr,
		  unsigned usr_len, uint32_t data_len, unsigned flags,
		  const struct rtrs_desc *desc, unsigned sg_cnt);
void peer_write(struct peer *p, unsigned cid, unsigned id, const void *usr,
		unsigned usr_len, const void *data, uint32_t data_len);

struct peer_reply {
	unsigned cid, id;
	int err; /* wire: 0 or negative */
	bool w_inv;
};
enum peer_got {
	PEER_REPLY,
	PEER_SENT,  /* a send of ours completed; only if asked for */
	PEER_ENDED, /* all connections are gone */
	PEER_LATE,
};
/* Heartbeats are answered meanwhile. */
enum peer_got peer_wait(struct peer *p, int ms, struct peer_reply *ret);
/* The next that is no completion of a send, within PEER_MS in all. */
enum peer_got peer_outcome(struct peer *p, struct peer_reply *ret);
/* A reply must come. */
struct peer_reply peer_reply(struct peer *p);
/* The reply to the only request under way must be this one. */
void peer_replied(struct peer *p, unsigned id, int err);
/* The last send must complete in error, or the path end before. */
void peer_send_fails(struct peer *p);
/* All connections must end; replies that come before are left aside. */
void peer_ends(struct peer *p);
/* The same, and it must take between these times from now. */
void peer_ends_in(struct peer *p, int min_ms, int max_ms);
/* Must still answer a request. */
void peer_alive(struct peer *p);
/* Deals with what is there, and does not wait. */
void peer_pump(struct peer *p);

/* ------------------------------------------------------------------ RNBD */

struct usr {
	uint8_t b[RNBD_USR_LEN_MAX];
	unsigned len;
};
struct usr usr_sess_info(unsigned ver);
struct usr usr_open(const char *name, unsigned mode);
struct usr usr_io(uint32_t device_id, unsigned op, uint64_t sector,
		  uint32_t bi_size);
struct usr usr_close(uint32_t device_id);

/* OPEN that must give err; the id of the device if that is 0. */
uint32_t peer_open(struct peer *p, const char *name, unsigned mode, int err);
/* The same, repeated while an older session still holds the device. */
uint32_t peer_open_soon(struct peer *p, const char *name, unsigned mode,
			struct rnbd_msg_open_rsp *ret);
void peer_io_read(struct peer *p, unsigned id, uint32_t dev, uint64_t sector,
		  uint32_t len, int err);
void peer_io_write(struct peer *p, unsigned id, uint32_t dev, uint64_t sector,
		   const void *data, uint32_t len, int err);

#endif
