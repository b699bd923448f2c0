/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A path has its own chunks, so that nothing that an old path still executes
 * can touch what a new one receives. Where the fabric does not pin them, pages
 * cost nothing until they are used; where it does, they are large and near the
 * device.
 */
#include "rtrs/srv/srv-priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Binds that go into one list. */
#define BIND_BATCH 16

static int
map(struct srv_path *path)
{
	const struct fabric_ops *ops = path->ctx->ops;
	struct srv_chunks *c = &path->chunks;
	int err;

	if (ops->caps & FABRIC_CAP_LAZY_MEM)
		err = bigmem_new_lazy(path->chunk_mem, &c->big);
	else
		err = bigmem_new(path->chunk_mem, ops->pd_numa_node(path->pd),
				 &c->big);
	if (err)
		return err;
	c->mem = c->big.addr;
	log_dbg(path->srv->log,
		"path %s: %zu KiB of chunks, %s pages, NUMA node %d",
		path->label, path->chunk_mem / 1024,
		bigmem_kind_name(c->big.kind), c->big.node);
	return 0;
}

static int
make_windows(struct srv_path *path)
{
	struct srv_chunks *c = &path->chunks;
	unsigned qd = path->srv->p.queue_depth;
	int err;

	c->mw = calloc(qd, sizeof(struct fabric_mw *));
	if (!c->mw)
		return -ENOMEM;
	for (; c->n_mw < qd; c->n_mw++) {
		err = path->ctx->ops->mw_new(path->pd, FABRIC_MW_PD,
					     &c->mw[c->n_mw]);
		if (err)
			return err;
	}
	return 0;
}

static size_t
tx_rkey_off(unsigned queue_depth, bool new_rkey)
{
	return rtrs_msg_info_rsp_len(new_rkey ? queue_depth : 1);
}

static size_t
tx_size(unsigned queue_depth, bool new_rkey)
{
	return tx_rkey_off(queue_depth, new_rkey) +
	       (new_rkey ? (size_t)queue_depth * RTRS_RKEY_RSP_LEN : 0);
}

/* Of a work request with a little data in it, and of a completion. */
#define WQE_SIZE 128
#define CQE_SIZE 64

size_t
rtrs_srv_path_mem(const struct rtrs_srv_params *p, unsigned n_cons)
{
	size_t qd = p->queue_depth ? p->queue_depth : RTRS_SRV_QUEUE_DEPTH;
	size_t chunk = p->chunk_size ? p->chunk_size : RTRS_SRV_CHUNK_SIZE;
	size_t sends = (p->always_invalidate ? 5 : 3) * qd, recvs = qd;

	return qd * chunk +
	       verbs_memlock_span(NULL,
				  tx_size((unsigned)qd, p->always_invalidate)) +
	       verbs_memlock_span(NULL, RTRS_INFO_REQ_LEN) +
	       n_cons * (sends * (WQE_SIZE + CQE_SIZE) +
			 recvs * (WQE_SIZE + CQE_SIZE));
}

int
srv_chunks_init(struct srv_path *path)
{
	const struct fabric_ops *ops = path->ctx->ops;
	struct srv_chunks *c = &path->chunks;
	unsigned qd = path->srv->p.queue_depth;
	/* With windows the key of the whole stays with us. */
	unsigned access = path->new_rkey ? FABRIC_ACCESS_MW_BIND
					 : FABRIC_ACCESS_REMOTE_WRITE;
	size_t tx_len;
	int err;

	/* What is made here is undone by unregister and free of the path. */
	err = map(path);
	if (err)
		return err;
	err = ops->mr_reg(path->pd, c->mem, path->chunk_mem, access, &c->mr);
	if (err)
		return err;
	c->tx_rkey = tx_rkey_off(qd, path->new_rkey);
	tx_len = tx_size(qd, path->new_rkey);
	c->tx = calloc(1, tx_len);
	if (!c->tx)
		return -ENOMEM;
	err = ops->mr_reg(path->pd, c->tx, tx_len, FABRIC_ACCESS_LOCAL,
			  &c->tx_mr);
	if (err)
		return err;
	return path->new_rkey ? make_windows(path) : 0;
}

static int
bind_all(struct srv_path *path)
{
	struct srv_chunks *c = &path->chunks;
	uint32_t chunk_size = path->srv->p.chunk_size;
	struct fabric_send_wr wr[BIND_BATCH];
	unsigned done = 0;
	int err;

	while (done < c->n_mw) {
		unsigned n = c->n_mw - done;

		if (n > BIND_BATCH)
			n = BIND_BATCH;
		memset(wr, 0, sizeof(wr));
		for (unsigned i = 0; i < n; i++) {
			wr[i].op = FABRIC_WR_MW_BIND;
			wr[i].mw = c->mw[done + i];
			wr[i].bind_mr = c->mr;
			wr[i].bind_off = (size_t)(done + i) * chunk_size;
			wr[i].bind_len = chunk_size;
			wr[i].bind_access = FABRIC_ACCESS_REMOTE_WRITE;
		}
		/* The queue is empty and has room for more than these. */
		err = srv_con_post(path->cons[0], wr, n, SRV_WR_SEND, 0, false);
		if (err)
			return err;
		done += n;
	}
	return 0;
}

static int
encode_info_rsp(struct srv_path *path)
{
	struct srv_chunks *c = &path->chunks;
	unsigned n = path->new_rkey ? c->n_mw : 1;
	cleanup_free struct rtrs_desc *desc = calloc(n, sizeof(*desc));

	if (!desc)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		if (path->new_rkey)
			desc[i] = (struct rtrs_desc){
				.addr = c->mw[i]->raddr,
				.key = c->mw[i]->rkey,
				.len = path->srv->p.chunk_size,
			};
		else
			desc[i] = (struct rtrs_desc){
				.addr = c->mr->raddr,
				.key = c->mr->rkey,
				.len = (uint32_t)path->chunk_mem,
			};
	}
	return rtrs_msg_info_rsp_encode(desc, (uint16_t)n, c->tx, c->tx_rkey);
}

int
srv_chunks_announce(struct srv_path *path)
{
	struct srv_chunks *c = &path->chunks;
	struct fabric_send_wr wr = {
		.op = FABRIC_WR_SEND,
		.num_sge = 1,
		.sge[0] = {.addr = c->tx, .mr = c->tx_mr},
	};
	int len, err;

	err = bind_all(path);
	if (err)
		return err;
	len = encode_info_rsp(path);
	if (len < 0)
		return len;
	wr.sge[0].len = (uint32_t)len;
	return srv_con_post(path->cons[0], &wr, 1, SRV_WR_SEND, 0, true);
}

void
srv_chunks_unregister(struct srv_path *path)
{
	const struct fabric_ops *ops = path->ctx->ops;
	struct srv_chunks *c = &path->chunks;
	int err;

	while (c->n_mw)
		ops->mw_free(c->mw[--c->n_mw]);
	free(c->mw);
	c->mw = NULL;
	if (c->tx_mr)
		ops->mr_dereg(c->tx_mr);
	c->tx_mr = NULL;
	free(c->tx);
	c->tx = NULL;
	if (!c->mr)
		return;
	err = ops->mr_dereg(c->mr);
	c->mr = NULL;
	if (err) {
		/* Better lost than written to by a peer that kept a key. */
		log_err(path->srv->log,
			"path %s: chunks stay mapped, their key can not be "
			"ended: %s",
			path->label, strerror(-err));
		c->big = (struct bigmem){0};
		c->mem = NULL;
	}
}

void
srv_chunks_free(struct srv_path *path)
{
	struct srv_chunks *c = &path->chunks;

	bigmem_free(&c->big);
	c->mem = NULL;
}
