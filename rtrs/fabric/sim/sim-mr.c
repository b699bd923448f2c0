/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/fabric/sim/sim-priv.h"

#include <errno.h>
#include <stdlib.h>

struct fabric_pd *
sim_pd_new(struct fabric_ctx *ctx)
{
	struct fabric_pd *pd = sim_alloc(sizeof(*pd));

	pd->net = ctx->net;
	pd->caps = ctx->caps;
	pd->rng = ctx->rng;
	pd->refs = 1;
	pd->net->counts.pds++;
	return pd;
}

void
sim_pd_ref(struct fabric_pd *pd)
{
	pd->refs++;
}

void
sim_pd_unref(struct fabric_pd *pd)
{
	sim_require(pd->refs > 0, "PD released too often");
	if (--pd->refs)
		return;
	pd->net->counts.pds--;
	sim_qp_drop_shared(pd);
	free(pd);
}

int
sim_pd_numa_node(struct fabric_pd *pd)
{
	(void)pd;
	return -1;
}

const char *
sim_pd_why(struct fabric_pd *pd)
{
	(void)pd;
	return NULL;
}

static struct sim_key *
key_new(struct fabric_pd *pd, struct sim_mr *mr, struct sim_mw *mw,
	uint64_t raddr, uint8_t *mem, size_t len, unsigned access)
{
	struct sim_key *key = sim_alloc(sizeof(*key)), *other;

	key->pd = pd;
	key->mr = mr;
	key->mw = mw;
	key->raddr = raddr;
	key->mem = mem;
	key->len = len;
	key->access = access;
	do {
		key->rkey = rng_u32(&pd->rng);
		HASH_FIND(hh, pd->net->keys, &key->rkey, sizeof(key->rkey),
			  other);
	} while (other || !key->rkey);
	HASH_ADD(hh, pd->net->keys, rkey, sizeof(key->rkey), key);
	return key;
}

static void
key_free(struct sim_key *key)
{
	HASH_DEL(key->pd->net->keys, key);
	free(key);
}

struct sim_key *
sim_key_find(struct fabric_pd *pd, uint32_t rkey)
{
	struct sim_key *key;

	HASH_FIND(hh, pd->net->keys, &rkey, sizeof(rkey), key);
	return key && key->pd == pd ? key : NULL;
}

int
sim_key_invalidate(struct sim_key *key)
{
	if (!(key->access & FABRIC_ACCESS_REMOTE_INV))
		return -EACCES;
	if (key->mw)
		sim_mw_inv(&key->mw->base);
	else {
		key->mr->key = NULL;
		key_free(key);
	}
	return 0;
}

int
sim_mr_reg(struct fabric_pd *pd, void *addr, size_t len, unsigned access,
	   struct fabric_mr **ret)
{
	struct sim_mr *mr;

	sim_require(len > 0, "MR of length 0");
	sim_require(!(access & FABRIC_ACCESS_REMOTE_INV) ||
			    pd->caps & FABRIC_CAP_MR_REMOTE_INV,
		    "REMOTE_INV on an MR is not offered");
	if (sim_call_fails(pd->net, "mr_reg"))
		return -ENOMEM;
	mr = sim_alloc(sizeof(*mr));
	mr->id = ++pd->net->next_id;
	mr->access = access;
	mr->base.pd = pd;
	mr->base.addr = addr;
	mr->base.len = len;
	/* Page-aligned, as peers may split it; and far from wrapping. */
	mr->base.raddr = rng_u64(&pd->rng) & UINT64_C(0x00007ffffffff000);
	mr->key = key_new(pd, mr, NULL, mr->base.raddr, addr, len, access);
	mr->base.rkey = mr->key->rkey;
	HASH_ADD(hh, pd->net->mrs, id, sizeof(mr->id), mr);
	sim_pd_ref(pd);
	pd->net->counts.mrs++;
	*ret = &mr->base;
	return 0;
}

int
sim_mr_dereg(struct fabric_mr *base)
{
	struct sim_mr *mr = container_of(base, struct sim_mr, base);
	struct fabric_pd *pd = base->pd;

	if (mr->binds)
		return -EBUSY;
	if (mr->key)
		key_free(mr->key);
	HASH_DEL(pd->net->mrs, mr);
	free(mr);
	pd->net->counts.mrs--;
	sim_pd_unref(pd);
	return 0;
}

struct sim_mr *
sim_mr_find(struct sim_net *net, uint64_t id)
{
	struct sim_mr *mr;

	HASH_FIND(hh, net->mrs, &id, sizeof(id), mr);
	return mr;
}

int
sim_mw_new(struct fabric_pd *pd, enum fabric_mw_kind kind,
	   struct fabric_mw **ret)
{
	struct sim_mw *mw;

	sim_require(pd->caps & (kind == FABRIC_MW_PD ? FABRIC_CAP_MW_PD
						     : FABRIC_CAP_MW),
		    "windows of this kind are not offered");
	if (sim_call_fails(pd->net, "mw_new"))
		return -ENOMEM;
	mw = sim_alloc(sizeof(*mw));
	mw->base.pd = pd;
	mw->base.kind = kind;
	sim_pd_ref(pd);
	pd->net->counts.mws++;
	*ret = &mw->base;
	return 0;
}

void
sim_mw_free(struct fabric_mw *base)
{
	struct sim_mw *mw;
	struct fabric_pd *pd;

	if (!base)
		return;
	mw = container_of(base, struct sim_mw, base);
	pd = base->pd;
	sim_mw_inv(base);
	free(mw);
	pd->net->counts.mws--;
	sim_pd_unref(pd);
}

void
sim_mw_bind(const struct fabric_send_wr *wr)
{
	struct sim_mw *mw = container_of(wr->mw, struct sim_mw, base);
	struct sim_mr *mr = container_of(wr->bind_mr, struct sim_mr, base);

	sim_require(mr->base.pd == mw->base.pd, "window and MR of two PDs");
	sim_require(mr->access & FABRIC_ACCESS_MW_BIND, "MR takes no windows");
	sim_require(wr->bind_off <= mr->base.len &&
			    wr->bind_len <= mr->base.len - wr->bind_off &&
			    wr->bind_len > 0,
		    "window outside its MR");
	sim_require(mw->base.kind == FABRIC_MW_CONN ||
			    !(wr->bind_access & FABRIC_ACCESS_REMOTE_INV),
		    "peers cannot end a window of a PD");
	sim_mw_inv(&mw->base);
	mw->mr = mr;
	mr->binds++;
	mw->base.raddr = mr->base.raddr + wr->bind_off;
	mw->key = key_new(mw->base.pd, mr, mw, mw->base.raddr,
			  (uint8_t *)mr->base.addr + wr->bind_off, wr->bind_len,
			  wr->bind_access);
	mw->base.rkey = mw->key->rkey;
	mw->base.bound = true;
}

void
sim_mw_inv(struct fabric_mw *base)
{
	struct sim_mw *mw = container_of(base, struct sim_mw, base);

	if (!mw->base.bound)
		return;
	key_free(mw->key);
	mw->key = NULL;
	mw->mr->binds--;
	mw->mr = NULL;
	mw->base.bound = false;
}
