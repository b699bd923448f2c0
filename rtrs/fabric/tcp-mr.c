/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Protection domains. A key is the number of a slot and 16 random bits that
 * change whenever the slot gets a new key; the address that must come with it
 * counts from a random base. Registering is a few stores: no system call, and
 * objects come from a list of used ones.
 */
#include "rtrs/fabric/tcp.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/wire.h"

#define SLOTS_MAX   65536u
#define SLOTS_FIRST 64u

struct tcp_pd *
tcp_pd_new(struct tcp_ctx *ctx)
{
	struct tcp_pd *pd = calloc(1, sizeof(*pd));

	if (!pd)
		return NULL;
	pd->ctx = ctx;
	pd->refs = 1;
	return pd;
}

void
tcp_pd_ref(struct fabric_pd *fpd)
{
	tcp_pd(fpd)->refs++;
}

static void
pd_unref(struct tcp_pd *pd)
{
	struct tcp_mr *m;

	if (--pd->refs)
		return;
	while ((m = pd->mr_cache)) {
		pd->mr_cache = m->next_free;
		free(m);
	}
	free(pd->slots);
	free(pd);
}

void
tcp_pd_unref(struct fabric_pd *fpd)
{
	if (fpd)
		pd_unref(tcp_pd(fpd));
}

int
tcp_pd_numa_node(struct fabric_pd *fpd)
{
	(void)fpd;
	return -1;
}

const char *
tcp_pd_why(struct fabric_pd *fpd)
{
	(void)fpd;
	return NULL;
}

static int
slots_grow(struct tcp_pd *pd)
{
	unsigned old = pd->n_slots;
	unsigned n = old ? old * 2 : SLOTS_FIRST;
	struct tcp_slot *slots;

	if (n > SLOTS_MAX)
		return -ENOMEM;
	slots = realloc(pd->slots, n * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (unsigned i = old; i < n; i++) {
		slots[i] = (struct tcp_slot){
			.kind = TCP_SLOT_FREE,
			.next_free = (uint16_t)(i + 1 < n ? i + 1 : 0),
		};
	}
	pd->slots = slots;
	pd->n_slots = n;
	pd->free_head = old ? old : 1;
	return 0;
}

/* A slot with an owner and without a living key. */
static int
slot_get(struct tcp_pd *pd, void *obj, unsigned *ret)
{
	struct tcp_slot *s;

	if (!pd->free_head) {
		int r = slots_grow(pd);

		if (r < 0)
			return r;
	}
	*ret = pd->free_head;
	s = &pd->slots[pd->free_head];
	pd->free_head = s->next_free;
	s->kind = TCP_SLOT_IDLE;
	s->obj = obj;
	return 0;
}

static void
slot_put(struct tcp_pd *pd, unsigned i)
{
	struct tcp_slot *s = &pd->slots[i];

	s->kind = TCP_SLOT_FREE;
	s->obj = NULL;
	s->gen++;
	s->next_free = (uint16_t)pd->free_head;
	pd->free_head = i;
}

static void
slot_kill(struct tcp_slot *s)
{
	s->kind = TCP_SLOT_IDLE;
	s->gen++;
}

static void
slot_renew_key(struct tcp_pd *pd, unsigned i)
{
	struct tcp_slot *s = &pd->slots[i];
	uint32_t old = s->key >> 16;
	uint16_t hi;

	tcp_ctx_random(pd->ctx, &hi, sizeof(hi));
	if (hi == old) /* a key is not the one before it, ever */
		hi++;
	s->key = (uint32_t)hi << 16 | i;
}

int
tcp_mr_reg(struct fabric_pd *fpd, void *addr, size_t len, unsigned access,
	   struct fabric_mr **ret)
{
	struct tcp_pd *pd = tcp_pd(fpd);
	struct tcp_mr *m = pd->mr_cache;
	struct tcp_slot *s;
	unsigned slot;
	int r;

	if (!addr || !len)
		return -EINVAL;
	if (m) {
		pd->mr_cache = m->next_free;
	} else {
		m = malloc(sizeof(*m));
		if (!m)
			return -ENOMEM;
	}
	r = slot_get(pd, m, &slot);
	if (r < 0) {
		m->next_free = pd->mr_cache;
		pd->mr_cache = m;
		return r;
	}
	slot_renew_key(pd, slot);
	s = &pd->slots[slot];
	s->kind = TCP_SLOT_MR;
	s->access = (uint8_t)access;
	s->host = addr;
	s->len = len;
	tcp_ctx_random(pd->ctx, &s->raddr, sizeof(s->raddr));
	/* Looks like an address, and raddr + len does not wrap. */
	s->raddr &= UINT64_C(0x7ffffffffffff000);
	*m = (struct tcp_mr){
		.mr =
			{
				.pd = fpd,
				.addr = addr,
				.len = len,
				.raddr = s->raddr,
				.rkey = s->key,
			},
		.slot = slot,
		.access = access,
	};
	pd->refs++;
	*ret = &m->mr;
	return 0;
}

int
tcp_mr_dereg(struct fabric_mr *mr)
{
	struct tcp_mr *m;
	struct tcp_pd *pd;

	if (!mr)
		return 0;
	m = container_of(mr, struct tcp_mr, mr);
	if (m->n_bound)
		return -EBUSY;
	pd = tcp_pd(mr->pd);
	slot_put(pd, m->slot);
	m->next_free = pd->mr_cache;
	pd->mr_cache = m;
	pd_unref(pd);
	return 0;
}

int
tcp_mw_new(struct fabric_pd *fpd, enum fabric_mw_kind kind,
	   struct fabric_mw **ret)
{
	struct tcp_pd *pd = tcp_pd(fpd);
	struct tcp_mw *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	r = slot_get(pd, w, &w->slot);
	if (r < 0) {
		free(w);
		return r;
	}
	slot_renew_key(pd, w->slot);
	w->mw.pd = fpd;
	w->mw.kind = kind;
	w->mw.rkey = pd->slots[w->slot].key;
	pd->refs++;
	*ret = &w->mw;
	return 0;
}

void
tcp_mw_unbind(struct tcp_mw *w)
{
	if (!w->mw.bound)
		return;
	slot_kill(&tcp_pd(w->mw.pd)->slots[w->slot]);
	w->bound_to->n_bound--;
	w->bound_to = NULL;
	w->mw.bound = false;
}

void
tcp_mw_free(struct fabric_mw *mw)
{
	struct tcp_mw *w;
	struct tcp_pd *pd;

	if (!mw)
		return;
	w = container_of(mw, struct tcp_mw, mw);
	pd = tcp_pd(mw->pd);
	tcp_mw_unbind(w);
	slot_put(pd, w->slot);
	free(w);
	pd_unref(pd);
}

int
tcp_mw_check(struct tcp_pd *pd, const struct fabric_send_wr *wr)
{
	const struct tcp_mr *m;

	if (!wr->mw || tcp_pd(wr->mw->pd) != pd)
		return -EINVAL;
	if (wr->op == FABRIC_WR_MW_INV)
		return 0;
	if (!wr->bind_mr || tcp_pd(wr->bind_mr->pd) != pd)
		return -EINVAL;
	m = container_of(wr->bind_mr, struct tcp_mr, mr);
	if (!(m->access & FABRIC_ACCESS_MW_BIND) || !wr->bind_len ||
	    !wire_range_ok(wr->bind_off, wr->bind_len, m->mr.len))
		return -EINVAL;
	return 0;
}

void
tcp_mw_bind(const struct fabric_send_wr *wr)
{
	struct tcp_mw *w = container_of(wr->mw, struct tcp_mw, mw);
	struct tcp_mr *m = container_of(wr->bind_mr, struct tcp_mr, mr);
	struct tcp_pd *pd = tcp_pd(w->mw.pd);
	struct tcp_slot *s = &pd->slots[w->slot];

	tcp_mw_unbind(w);
	slot_renew_key(pd, w->slot);
	s->kind = TCP_SLOT_MW;
	s->access = (uint8_t)wr->bind_access;
	s->raddr = m->mr.raddr + wr->bind_off;
	s->len = wr->bind_len;
	s->host = (uint8_t *)m->mr.addr + wr->bind_off;
	w->bound_to = m;
	m->n_bound++;
	w->mw.raddr = s->raddr;
	w->mw.rkey = s->key;
	w->mw.bound = true;
}

static struct tcp_slot *
slot_find(const struct tcp_pd *pd, uint32_t key)
{
	unsigned i = key & 0xffff;
	struct tcp_slot *s;

	if (!i || i >= pd->n_slots)
		return NULL;
	s = &pd->slots[i];
	if (s->key != key || (s->kind != TCP_SLOT_MR && s->kind != TCP_SLOT_MW))
		return NULL;
	return s;
}

enum tcp_violation
tcp_pd_target(const struct tcp_pd *pd, uint32_t key, uint64_t raddr,
	      uint32_t len, unsigned *ret_slot, uint8_t **ret_host)
{
	const struct tcp_slot *s = slot_find(pd, key);
	uint64_t off;

	if (!s)
		return TCP_V_KEY;
	if (!(s->access & FABRIC_ACCESS_REMOTE_WRITE))
		return TCP_V_ACCESS;
	off = raddr - s->raddr; /* wraps below the base: then out of range */
	if (!wire_range_ok(off, len, s->len))
		return TCP_V_BOUNDS;
	*ret_slot = key & 0xffff;
	*ret_host = s->host + off;
	return 0;
}

enum tcp_violation
tcp_pd_remote_inv(struct tcp_pd *pd, uint32_t key)
{
	struct tcp_slot *s = slot_find(pd, key);

	if (!s || !(s->access & FABRIC_ACCESS_REMOTE_INV))
		return TCP_V_INV;
	if (s->kind == TCP_SLOT_MW)
		tcp_mw_unbind(s->obj);
	else
		slot_kill(s);
	return 0;
}
