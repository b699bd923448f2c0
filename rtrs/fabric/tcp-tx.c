/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The send queue. Posting encodes a header into the ring and copies the SGEs;
 * a flush gathers headers and payloads of as many operations as possible into
 * one sendmsg(). A send is complete when the socket has taken its last byte.
 */
#include "rtrs/fabric/tcp.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "proto/wire.h"

static const uint8_t frame_op[] = {
	[FABRIC_WR_SEND] = TCP_OP_SEND,
	[FABRIC_WR_SEND_WITH_IMM] = TCP_OP_SEND_IMM,
	[FABRIC_WR_SEND_WITH_INV] = TCP_OP_SEND_INV,
	[FABRIC_WR_RDMA_WRITE] = TCP_OP_WRITE,
	[FABRIC_WR_RDMA_WRITE_WITH_IMM] = TCP_OP_WRITE_IMM,
};

/* --- posting */

static int
sge_sum(const struct fabric_send_wr *wr, uint32_t *ret)
{
	uint64_t sum = 0;

	if (wr->num_sge > FABRIC_MAX_SGE)
		return -EINVAL;
	for (unsigned i = 0; i < wr->num_sge; i++) {
		const struct fabric_sge *s = &wr->sge[i];

		/* An address below the region wraps: then out of range. */
		if (s->mr &&
		    !wire_range_ok((uintptr_t)s->addr - (uintptr_t)s->mr->addr,
				   s->len, s->mr->len))
			return -EINVAL;
		sum += s->len;
	}
	if (sum > TCP_FRAME_LEN_MAX)
		return -EINVAL;
	*ret = (uint32_t)sum;
	return 0;
}

static int
check_wr(struct tcp_conn *c, const struct fabric_send_wr *wr)
{
	uint32_t sum;

	switch (wr->op) {
	case FABRIC_WR_MW_BIND:
	case FABRIC_WR_MW_INV:
		return tcp_mw_check(c->pd, wr);
	case FABRIC_WR_SEND:
	case FABRIC_WR_SEND_WITH_IMM:
	case FABRIC_WR_SEND_WITH_INV:
	case FABRIC_WR_RDMA_WRITE:
	case FABRIC_WR_RDMA_WRITE_WITH_IMM:
		return sge_sum(wr, &sum);
	}
	return -EINVAL;
}

static void
append(struct tcp_conn *c, const struct fabric_send_wr *wr)
{
	struct tcp_tx *tx = &c->tx;
	unsigned at = tx->head + tx->count;
	struct tcp_swr *s = &tx->ring[at < tx->cap ? at : at - tx->cap];
	struct tcp_frame f;

	tx->count++;
	tx->used++;
	s->wr_id = wr->wr_id;
	s->op = (uint8_t)wr->op;
	s->signaled = wr->signaled;
	s->num_sge = 0;
	s->payload = 0;
	s->hdr_len = 0;
	if (wr->op == FABRIC_WR_MW_BIND) {
		tcp_mw_bind(wr);
		return;
	}
	if (wr->op == FABRIC_WR_MW_INV) {
		tcp_mw_unbind(container_of(wr->mw, struct tcp_mw, mw));
		return;
	}
	for (unsigned i = 0; i < wr->num_sge; i++) {
		if (!wr->sge[i].len)
			continue;
		s->sge[s->num_sge].iov_base = wr->sge[i].addr;
		s->sge[s->num_sge++].iov_len = wr->sge[i].len;
		s->payload += wr->sge[i].len;
	}
	f.op = frame_op[wr->op];
	f.len = s->payload;
	f.raddr = wr->raddr;
	f.rkey = wr->rkey;
	f.imm = wr->imm;
	f.arg = wr->inv_rkey;
	tcp_frame_encode(s->hdr, &f);
	s->hdr_len = TCP_FRAME_SIZE;
}

int
tcp_post_send(struct fabric_conn *conn, const struct fabric_send_wr *wrs)
{
	struct tcp_conn *c = tcp_conn(conn);
	const struct fabric_send_wr *wr;
	unsigned n = 0;

	if (c->state != TC_LIVE)
		return -ENOTCONN;
	for (wr = wrs; wr; wr = wr->next) {
		int r = check_wr(c, wr);

		if (r < 0)
			return r;
		n++;
	}
	if (n > c->tx.cap - c->tx.used)
		return -ENOMEM;
	if (!c->tx.count)
		c->tx.head = 0; /* stay in the same few cache lines */
	for (wr = wrs; wr; wr = wr->next)
		append(c, wr);
	if (!c->tx.blocked)
		tcp_mark_dirty(c);
	return 0;
}

/* --- completing */

static void
complete_head(struct tcp_conn *c, enum fabric_wc_status status)
{
	struct tcp_tx *tx = &c->tx;
	const struct tcp_swr *s = &tx->ring[tx->head];

	if (s->signaled || status != FABRIC_WC_SUCCESS) {
		struct fabric_wc *wc = tcp_cq_push(c, s->wr_id, false);

		wc->status = status;
		wc->op = fabric_wr_wc_op(s->op);
	} else {
		tx->used--;
	}
	if (++tx->head == tx->cap)
		tx->head = 0;
	tx->count--;
}

void
tcp_tx_flush(struct tcp_conn *c)
{
	struct tcp_tx *tx = &c->tx;

	if (tx->off || tx->ctl_off < tx->ctl_len)
		c->cut = true;
	tx->off = tx->ctl_off = tx->ctl_len = 0;
	while (tx->count)
		complete_head(c, FABRIC_WC_FLUSHED);
}

/* n bytes are out; operations that move no bytes complete on the way. */
static void
advance(struct tcp_conn *c, size_t n)
{
	struct tcp_tx *tx = &c->tx;
	size_t rest = tx->ctl_len - tx->ctl_off;

	if (rest) {
		if (rest > n)
			rest = n;
		tx->ctl_off += (unsigned)rest;
		n -= rest;
		if (tx->ctl_off < tx->ctl_len)
			return;
	}
	while (tx->count) {
		const struct tcp_swr *s = &tx->ring[tx->head];

		rest = (size_t)s->hdr_len + s->payload - tx->off;
		if (n < rest) {
			tx->off += n;
			return;
		}
		n -= rest;
		tx->off = 0;
		complete_head(c, FABRIC_WC_SUCCESS);
	}
}

/* --- writing */

struct gather {
	struct iovec *iov;
	unsigned n;
	size_t bytes;
	size_t skip; /* of the first operation: already out */
};

static void
gather_put(struct gather *g, void *base, size_t len)
{
	if (g->skip >= len) {
		g->skip -= len;
		return;
	}
	g->iov[g->n].iov_base = (uint8_t *)base + g->skip;
	g->iov[g->n++].iov_len = len - g->skip;
	g->bytes += len - g->skip;
	g->skip = 0;
}

static void
gather_all(struct tcp_conn *c, struct gather *g)
{
	struct tcp_tx *tx = &c->tx;
	unsigned at = tx->head;

	if (tx->ctl_off < tx->ctl_len)
		gather_put(g, tx->ctl + tx->ctl_off, tx->ctl_len - tx->ctl_off);
	g->skip = tx->off;
	for (unsigned i = 0; i < tx->count; i++) {
		struct tcp_swr *s = &tx->ring[at];

		if (g->n + 1 + FABRIC_MAX_SGE > TCP_MAX_IOV ||
		    g->bytes >= TCP_TX_GATHER)
			break;
		if (s->hdr_len) {
			gather_put(g, s->hdr, s->hdr_len);
			for (unsigned k = 0; k < s->num_sge; k++)
				gather_put(g, s->sge[k].iov_base,
					   s->sge[k].iov_len);
		}
		if (++at == tx->cap)
			at = 0;
	}
}

bool
tcp_tx_pending(const struct tcp_conn *c)
{
	return c->tx.count || c->tx.ctl_off < c->tx.ctl_len;
}

static ssize_t
send_some(struct tcp_conn *c, size_t *ret_asked)
{
	struct gather g = {.iov = c->ctx->iov};
	struct msghdr mh = {.msg_iov = g.iov};
	ssize_t n;

	gather_all(c, &g);
	mh.msg_iovlen = g.n;
	*ret_asked = g.bytes;
	do {
		n = sendmsg(c->fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

void
tcp_tx_run(struct tcp_conn *c)
{
	struct tcp_tx *tx = &c->tx;
	bool was_blocked = tx->blocked;
	size_t moved = 0, asked;

	tcp_unmark_dirty(c);
	if (c->fd < 0 || tx->err)
		return;
	tx->blocked = false;
	advance(c, 0);
	while (tcp_tx_pending(c)) {
		ssize_t n;

		if (moved >= TCP_TX_BUDGET) {
			/* Others want to be served too; ctx_arm() knows. */
			tcp_mark_dirty(c);
			break;
		}
		n = send_some(c, &asked);
		if (n < 0 && n != -EAGAIN) {
			/*
			 * The reason may be in what the peer still sent:
			 * the reading side finds out and ends it. The shutdown
			 * is what makes it look, whatever the error was.
			 */
			tx->err = tcp_down_err((int)-n);
			shutdown(c->fd, SHUT_RDWR);
			break;
		}
		if (n > 0) {
			advance(c, (size_t)n);
			moved += (size_t)n;
		}
		if (n < 0 || (size_t)n < asked) {
			tx->blocked = true;
			break;
		}
	}
	if (tx->fin_after && !tcp_tx_pending(c) && !tx->err) {
		tx->fin_after = false;
		shutdown(c->fd, SHUT_WR);
	}
	if (was_blocked != tx->blocked)
		tcp_conn_rewatch(c);
}
