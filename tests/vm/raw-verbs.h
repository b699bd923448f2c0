/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RDMA for test programs that break rules: rdma_cm and verbs, one call at a
 * time, nothing hidden. It shares no code with rtrs/fabric, so that a mistake
 * there is not made here as well.
 *
 * An endpoint (struct rv) is used by one thread. All its connections share one
 * event channel, one completion queue, one PD and one registered buffer, in
 * which everything that is sent or received lies. The device is that of its
 * first connection.
 *
 * Functions return 0 or a negative errno, and have said why on stderr.
 */
#ifndef TESTS_VM_RAW_VERBS_H
#define TESTS_VM_RAW_VERBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#define RV_PRIV_MAX    256
#define RV_CONSUMER    28 /* status of a reject that carries private data */
#define RV_NO_LISTENER 8  /* status of a reject by the CM itself */

struct rv_con {
	struct rv *rv;
	struct rdma_cm_id *id;
	bool up;
	bool gone; /* the peer, or the network, ended it */
	void *user;
	struct rv_con *next;
};

struct rv {
	struct rdma_event_channel *ec;
	struct rdma_cm_id *listener;
	struct ibv_context *verbs;
	struct ibv_pd *pd;
	struct ibv_comp_channel *cc;
	struct ibv_cq *cq;
	uint8_t *buf;
	size_t buf_len;
	struct ibv_mr *mr;
	struct rv_con *cons;
	/* Filled by the user before the first connection: */
	unsigned max_send_wr, max_recv_wr; /* of each connection */
	int max_cqe;
	bool rude; /* a disconnect is not answered */
};

/* Sizes are set to usable defaults; the buffer is zeroed. */
int rv_init(struct rv *rv, size_t buf_len);
/* Ends and frees everything. */
void rv_free(struct rv *rv);

/* "10.0.0.1", "2001:db8::1", "fe80::1%eth0" */
int rv_addr(const char *host, unsigned port, struct sockaddr_storage *ret);

struct rv_answer {
	/* ESTABLISHED, REJECTED, or what else ended the attempt. */
	enum rdma_cm_event_type event;
	int status;
	uint8_t priv[RV_PRIV_MAX];
	size_t priv_len;
};

/*
 * Connects and waits for the answer, whatever it is. *ret is NULL unless it is
 * ESTABLISHED. src may be NULL. Errors: only those that are local.
 */
int rv_connect(struct rv *rv, const struct sockaddr_storage *src,
	       const struct sockaddr_storage *dst, const void *priv,
	       uint8_t priv_len, struct rv_con **ret, struct rv_answer *answer);

/*
 * The same, but an accept is left without its answer: *ret is one that may be
 * established, refused, or dropped, and has no queue pair.
 */
int rv_connect_half(struct rv *rv, const struct sockaddr_storage *src,
		    const struct sockaddr_storage *dst, const void *priv,
		    uint8_t priv_len, struct rv_con **ret,
		    struct rv_answer *answer);
/* ESTABLISHED is said to the peer, who may be gone. */
int rv_establish(struct rv_con *con);
/* The accept is answered with a reject. */
int rv_refuse(struct rv_con *con);

int rv_listen(struct rv *rv, const struct sockaddr_storage *addr);
/* id: of a CONNECT_REQUEST. The connection may be posted to at once. */
int rv_accept(struct rv *rv, struct rdma_cm_id *id, struct rv_con **ret);
int rv_accept_send(struct rv_con *con, const void *priv, uint8_t priv_len);
int rv_reject(struct rdma_cm_id *id, const void *priv, uint8_t priv_len);

enum rv_what {
	RV_NOTHING, /* the time is over */
	RV_WC,
	RV_CM,
};
struct rv_event {
	enum rv_what what;
	struct rv_con *con; /* NULL: of none, or of one that is freed */
	struct ibv_wc wc;
	enum rdma_cm_event_type cm;
	struct rdma_cm_id *id;
	uint8_t priv[RV_PRIV_MAX];
	size_t priv_len;
	int status;
};
/*
 * The next completion or CM event, at most ms milliseconds from now. A
 * disconnect is answered here, unless the endpoint is rude.
 */
int rv_wait(struct rv *rv, int ms, struct rv_event *ret);

/* A receive of len bytes at offset off of the buffer; len 0: an empty one. */
int rv_recv(struct rv_con *con, uint64_t wr_id, size_t off, uint32_t len);

struct rv_send {
	enum ibv_wr_opcode op;
	uint64_t wr_id;
	size_t off; /* into the buffer */
	uint32_t len;
	uint64_t raddr;
	uint32_t rkey;
	uint32_t imm; /* host order */
	uint32_t inv_rkey;
};
/* Signalled. -ENOBUFS, without a word: the send queue is full. */
int rv_send(struct rv_con *con, const struct rv_send *s);

void rv_disconnect(struct rv_con *con);
/* The QP goes to the error state; the peer hears nothing. */
void rv_kill(struct rv_con *con);
/* Frees it at once, disconnected or not. */
void rv_drop(struct rv_con *con);

uint64_t rv_now_ms(void);

#endif
