/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The receive side. Bytes come in through one staging buffer of the context,
 * many frames per recv(), and are executed in place: small payloads are copied
 * from there. What is left of a large payload is read straight to where it
 * belongs, with a little of what follows behind it; while payloads are large
 * only that little is read ahead, so that hardly a byte is copied twice.
 *
 * A frame is executed from its header on: it is checked as a whole, and it
 * needs its receive, before the first byte is placed. The receive is used up,
 * and the completion made, behind the last byte.
 */
#include "rtrs/fabric/tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "proto/wire.h"

/* Payloads from this size on switch reading to "large". */
#define LARGE        (16 * 1024)
/* So many frames without one switch back. */
#define LARGE_MEMORY 16
/* Bytes read ahead while payloads are large. */
#define LARGE_AHEAD  1024

enum step {
	STEP_OK,
	STEP_STALL, /* no receive posted */
	STEP_DEAD,
};

/* --- receive queue */

void
tcp_rx_init(struct tcp_rx *rx)
{
	rx->since_large = LARGE_MEMORY;
}

int
tcp_post_recv(struct fabric_conn *conn, const struct fabric_recv_wr *wr)
{
	struct tcp_conn *c = tcp_conn(conn);
	struct tcp_rx *rx = &c->rx;
	unsigned n = wr->count ? wr->count : 1, at;
	struct tcp_rwr *r;

	if (c->state != TC_LIVE && c->state != TC_CONNECTING &&
	    c->state != TC_HELLO_SENT)
		return -ENOTCONN;
	if (wr->addr && wr->mr &&
	    !wire_range_ok((uintptr_t)wr->addr - (uintptr_t)wr->mr->addr,
			   wr->len, wr->mr->len))
		return -EINVAL;
	if (n > rx->cap - rx->used)
		return -ENOMEM;
	if (!rx->count)
		rx->head = 0;
	at = rx->head + rx->count;
	r = &rx->ring[at < rx->cap ? at : at - rx->cap];
	*r = (struct tcp_rwr){
		.wr_id = wr->wr_id,
		.addr = wr->addr,
		.len = wr->addr ? wr->len : 0,
		.count = n,
		.counted = n > 1 && !wr->addr,
	};
	if (wr->addr && wr->mr) {
		r->slot = container_of(wr->mr, struct tcp_mr, mr)->slot;
		r->gen = c->pd->slots[r->slot].gen;
	}
	rx->count++;
	rx->used += n;
	if (rx->stalled)
		tcp_mark_resume(c);
	return 0;
}

/* Uses up one receive; the completion is the caller's to fill. */
static struct fabric_wc *
take_recv(struct tcp_conn *c)
{
	struct tcp_rx *rx = &c->rx;
	struct tcp_rwr *r = &rx->ring[rx->head];

	if (!--r->count) {
		if (++rx->head == rx->cap)
			rx->head = 0;
		rx->count--;
	}
	return tcp_cq_push(c, r->wr_id, true);
}

void
tcp_rx_flush(struct tcp_conn *c)
{
	struct tcp_rx *rx = &c->rx;

	while (rx->count) {
		struct tcp_rwr *r = &rx->ring[rx->head];

		if (r->counted) {
			rx->used -= r->count - 1;
			r->count = 1;
			rx->used--;
			if (++rx->head == rx->cap)
				rx->head = 0;
			rx->count--;
			continue;
		}
		take_recv(c)->status = FABRIC_WC_FLUSHED;
	}
	free(rx->stash);
	rx->stash = NULL;
	rx->stalled = false;
	rx->left = 0;
}

/* --- frames */

static enum step
violation(struct tcp_conn *c, enum tcp_violation why)
{
	tcp_conn_violation(c, why);
	return STEP_DEAD;
}

/* Our own receive is to blame, or is told that it was too small. */
static void
fail_recv(struct tcp_conn *c)
{
	take_recv(c)->status = FABRIC_WC_ERROR;
}

static enum step
begin_send(struct tcp_conn *c, const struct tcp_frame *f)
{
	struct tcp_rx *rx = &c->rx;
	const struct tcp_rwr *r = &rx->ring[rx->head];

	if (f->len > r->len) {
		fail_recv(c);
		return violation(c, TCP_V_SEND_SIZE);
	}
	if (!tcp_slot_alive(c->pd, r->slot, r->gen)) {
		fail_recv(c);
		tcp_conn_die(c, TCP_DEATH_ENDED, -EIO);
		return STEP_DEAD;
	}
	rx->dst = r->addr;
	rx->slot = r->slot;
	rx->gen = r->gen;
	return STEP_OK;
}

static enum step
begin_write(struct tcp_conn *c, const struct tcp_frame *f)
{
	struct tcp_rx *rx = &c->rx;
	enum tcp_violation v;

	rx->dst = NULL;
	rx->slot = 0;
	if (!f->len)
		return STEP_OK;
	v = tcp_pd_target(c->pd, f->rkey, f->raddr, f->len, &rx->slot,
			  &rx->dst);
	if (v)
		return violation(c, v);
	rx->gen = c->pd->slots[rx->slot].gen;
	return STEP_OK;
}

static enum step
begin_frame(struct tcp_conn *c, const struct tcp_frame *f)
{
	struct tcp_rx *rx = &c->rx;
	enum step s = STEP_OK;

	switch (f->op) {
	case TCP_OP_DISCONNECT:
		tcp_conn_die(c, TCP_DEATH_LEFT, 0);
		return STEP_DEAD;
	case TCP_OP_ERROR:
		log_dbg(c->ctx->p.log,
			"tcp: connection ended by peer: violation by us: %s",
			tcp_violation_name(f->arg));
		tcp_conn_die(c, TCP_DEATH_LEFT, -EPROTO);
		return STEP_DEAD;
	default:
		break;
	}
	if (rx->discard) {
		rx->dst = NULL;
		rx->slot = 0;
	} else if (f->op == TCP_OP_WRITE) {
		s = begin_write(c, f);
	} else if (!rx->count) {
		s = STEP_STALL;
	} else if (f->op == TCP_OP_WRITE_IMM) {
		s = begin_write(c, f);
	} else {
		s = begin_send(c, f);
	}
	if (s != STEP_OK)
		return s;
	rx->frame = *f;
	rx->left = f->len;
	if (f->len >= LARGE)
		rx->since_large = 0;
	else if (rx->since_large < LARGE_MEMORY)
		rx->since_large++;
	return STEP_OK;
}

static enum step
end_frame(struct tcp_conn *c)
{
	struct tcp_rx *rx = &c->rx;
	const struct tcp_frame *f = &rx->frame;
	enum tcp_violation v;
	struct fabric_wc *wc;

	rx->slot = 0;
	if (rx->discard || f->op == TCP_OP_WRITE)
		return STEP_OK;
	if (f->op == TCP_OP_SEND_INV) {
		v = tcp_pd_remote_inv(c->pd, f->arg);
		if (v)
			return violation(c, v);
	}
	wc = take_recv(c);
	wc->status = FABRIC_WC_SUCCESS;
	wc->op = f->op == TCP_OP_WRITE_IMM ? FABRIC_WC_OP_RECV_RDMA_IMM
					   : FABRIC_WC_OP_RECV;
	wc->with_imm = f->op == TCP_OP_WRITE_IMM || f->op == TCP_OP_SEND_IMM;
	wc->imm = f->imm;
	wc->with_inv = f->op == TCP_OP_SEND_INV;
	wc->inv_rkey = f->arg;
	wc->byte_len = f->len;
	return STEP_OK;
}

/*
 * The target may have gone since the header was checked, or since the last
 * part of the payload: to be asked before each byte that is placed.
 */
static enum step
check_target(struct tcp_conn *c)
{
	struct tcp_rx *rx = &c->rx;

	if (tcp_slot_alive(c->pd, rx->slot, rx->gen))
		return STEP_OK;
	return violation(c, TCP_V_KEY);
}

/* n bytes of the payload are where they belong. */
static enum step
placed(struct tcp_conn *c, uint32_t n)
{
	struct tcp_rx *rx = &c->rx;

	rx->left -= n;
	if (rx->dst)
		rx->dst += n;
	return rx->left ? STEP_OK : end_frame(c);
}

static enum step
place(struct tcp_conn *c, const uint8_t *p, uint32_t n)
{
	struct tcp_rx *rx = &c->rx;

	if (rx->dst) {
		if (check_target(c) != STEP_OK)
			return STEP_DEAD;
		memcpy(rx->dst, p, n);
		c->ctx->moved.copied += n;
	}
	return placed(c, n);
}

/*
 * Executes frames from a buffer. The bytes used are in *ret_used; an
 * incomplete header is not, and neither is a frame that stalls.
 */
static enum step
execute(struct tcp_conn *c, const uint8_t *p, size_t len, size_t *ret_used)
{
	struct tcp_rx *rx = &c->rx;
	const uint8_t *start = p;
	enum step s = STEP_OK;

	while (s == STEP_OK) {
		struct tcp_frame f;

		if (rx->left) {
			uint32_t n = len < rx->left ? (uint32_t)len : rx->left;

			if (!n)
				break;
			s = place(c, p, n);
			p += n;
			len -= n;
			continue;
		}
		if (len < TCP_FRAME_SIZE)
			break;
		if (tcp_frame_decode(p, &f) < 0) {
			s = violation(c, TCP_V_MALFORMED);
			break;
		}
		s = begin_frame(c, &f);
		if (s != STEP_OK)
			break;
		p += TCP_FRAME_SIZE;
		len -= TCP_FRAME_SIZE;
		if (!rx->left)
			s = end_frame(c);
	}
	*ret_used = (size_t)(p - start);
	return s;
}

static void
keep_part(struct tcp_rx *rx, const uint8_t *p, size_t len)
{
	memcpy(rx->part, p, len);
	rx->n_part = (unsigned)len;
}

/*
 * Nothing more is read until a receive is posted; what has been read already
 * is kept. The descriptor may stay readable: only if it is reported do we stop
 * watching it.
 */
static enum step
stall(struct tcp_conn *c, const uint8_t *p, size_t len)
{
	struct tcp_rx *rx = &c->rx;

	rx->stash = malloc(len);
	if (!rx->stash) {
		tcp_conn_die(c, TCP_DEATH_BROKEN, -EIO);
		return STEP_DEAD;
	}
	memcpy(rx->stash, p, len);
	c->ctx->moved.kept += len;
	rx->stash_off = 0;
	rx->stash_len = len;
	rx->stalled = true;
	return STEP_STALL;
}

/* What came into the staging buffer. */
static enum step
execute_staging(struct tcp_conn *c, size_t len)
{
	const uint8_t *p = c->ctx->staging;
	size_t used;
	enum step s = execute(c, p, len, &used);

	if (s == STEP_OK)
		keep_part(&c->rx, p + used, len - used);
	else if (s == STEP_STALL)
		s = stall(c, p + used, len - used);
	return s;
}

void
tcp_rx_resume(struct tcp_conn *c)
{
	struct tcp_rx *rx = &c->rx;
	size_t used;
	enum step s;

	tcp_unmark_resume(c);
	if (c->state != TC_LIVE || !rx->stalled)
		return;
	s = execute(c, rx->stash + rx->stash_off, rx->stash_len - rx->stash_off,
		    &used);
	if (s == STEP_DEAD)
		return;
	rx->stash_off += used;
	if (s == STEP_STALL)
		return;
	keep_part(rx, rx->stash + rx->stash_off, rx->stash_len - rx->stash_off);
	free(rx->stash);
	rx->stash = NULL;
	rx->stalled = false;
	tcp_conn_rewatch(c);
}

void
tcp_rx_discard(struct tcp_conn *c)
{
	c->rx.discard = true;
	tcp_rx_resume(c);
	if (c->state == TC_LIVE)
		tcp_rx_run(c);
}

/* --- reading */

static void
broken(struct tcp_conn *c, int err)
{
	tcp_conn_die(c, TCP_DEATH_BROKEN, c->tx.err ? c->tx.err : err);
}

/*
 * One system call. Returns bytes, 0: nothing there, or -1: the connection died.
 */
static ssize_t
read_some(struct tcp_conn *c, struct iovec *iov, int n_iov)
{
	ssize_t n;

	do {
		struct msghdr mh = {.msg_iov = iov};

		mh.msg_iovlen = (size_t)n_iov;
		n = n_iov == 1 ? recv(c->fd, iov->iov_base, iov->iov_len,
				      MSG_DONTWAIT)
			       : recvmsg(c->fd, &mh, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0)
		broken(c, tcp_down_err(errno));
	else if (c->tx.err)
		broken(c, c->tx.err);
	else /* a FIN, but no DISCONNECT before it */
		tcp_conn_die(c, TCP_DEATH_LEFT, -ECONNRESET);
	return -1;
}

static bool
payloads_are_large(const struct tcp_rx *rx)
{
	return rx->since_large < LARGE_MEMORY;
}

static size_t
read_ahead(const struct tcp_rx *rx)
{
	return payloads_are_large(rx) ? LARGE_AHEAD : TCP_STAGING_SIZE;
}

/* Is the rest of the payload worth a look at its own place in memory? */
static bool
read_direct(const struct tcp_rx *rx)
{
	return rx->dst && rx->left >= (payloads_are_large(rx) ? LARGE_AHEAD
							      : TCP_DIRECT_MIN);
}

/* Reads and executes once. Returns the bytes; *ret_more: there may be more. */
static size_t
rx_once(struct tcp_conn *c, bool *ret_more)
{
	struct tcp_rx *rx = &c->rx;
	uint8_t *staging = c->ctx->staging;
	struct iovec iov[2];
	ssize_t n;

	*ret_more = false;
	if (read_direct(rx)) {
		uint32_t direct = rx->left;

		if (check_target(c) != STEP_OK)
			return 0;
		iov[0].iov_base = rx->dst;
		iov[0].iov_len = direct;
		iov[1].iov_base = staging;
		iov[1].iov_len = read_ahead(rx);
		n = read_some(c, iov, 2);
		if (n <= 0)
			return 0;
		*ret_more = (size_t)n == iov[0].iov_len + iov[1].iov_len;
		c->ctx->moved.direct += (size_t)n < direct ? (size_t)n : direct;
		if ((size_t)n <= direct) {
			placed(c, (uint32_t)n);
			return (size_t)n;
		}
		if (placed(c, direct) == STEP_OK)
			execute_staging(c, (size_t)n - direct);
		return (size_t)n;
	}
	memcpy(staging, rx->part, rx->n_part);
	iov[0].iov_base = staging + rx->n_part;
	iov[0].iov_len = read_ahead(rx) - rx->n_part;
	n = read_some(c, iov, 1);
	if (n <= 0)
		return 0;
	*ret_more = (size_t)n == iov[0].iov_len;
	n += rx->n_part;
	rx->n_part = 0;
	execute_staging(c, (size_t)n);
	return (size_t)n;
}

size_t
tcp_rx_run(struct tcp_conn *c)
{
	size_t moved = 0;
	bool more = true;

	/* A short read has emptied the socket: asking again would be wasted. */
	while (more && c->state == TC_LIVE && !c->rx.stalled &&
	       moved < TCP_RX_BUDGET)
		moved += rx_once(c, &more);
	return moved;
}

int
tcp_rx_drain(struct tcp_conn *c)
{
	size_t moved = 0;

	while (moved < TCP_RX_BUDGET) {
		ssize_t n = recv(c->fd, c->ctx->staging, TCP_STAGING_SIZE,
				 MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (!n)
			return 1;
		moved += (size_t)n;
	}
	return 0;
}
