/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Protection domains and what hangs off them: memory, windows, receives.
 *
 * Keys of windows: the upper 24 bits name the window, the lower 8 change with
 * each bind. A bind that is a work request (type 2) needs the new key from us,
 * and the provider takes the old one from the window: so it is renewed there
 * as soon as the bind was posted, and not before.
 */
#include "rtrs/fabric/verbs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rtrs/fabric/verbs-memlock.h"

/* --- receives */

int
vb_rq_init(struct vb_rq *rq, unsigned cap)
{
	*rq = (struct vb_rq){
		.cap = cap,
		.wr_id = calloc(cap, sizeof(*rq->wr_id)),
		.free = calloc(cap, sizeof(*rq->free)),
		.used = calloc(cap, sizeof(*rq->used)),
	};
	if (!rq->wr_id || !rq->free || !rq->used) {
		vb_rq_deinit(rq);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < cap; i++)
		rq->free[i] = cap - 1 - i;
	return 0;
}

void
vb_rq_deinit(struct vb_rq *rq)
{
	free(rq->wr_id);
	free(rq->free);
	free(rq->used);
	*rq = (struct vb_rq){0};
}

/* --- protection domains */

static void why(struct vb_pd *pd, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void
why(struct vb_pd *pd, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(pd->why, sizeof(pd->why), fmt, ap);
	va_end(ap);
}

struct vb_pd *
vb_pd_new(struct vb_ctx *ctx, struct vb_dev *dev)
{
	struct vb_pd *pd = calloc(1, sizeof(*pd));

	if (!pd)
		return NULL;
	pd->ib = ibv_alloc_pd(dev->verbs);
	if (!pd->ib) {
		free(pd);
		return NULL;
	}
	pd->ctx = ctx;
	pd->dev = dev;
	dev->refs++;
	pd->refs = 1;
	return pd;
}

int
vb_pd_srq(struct vb_pd *pd, unsigned max_wr)
{
	struct ibv_srq_init_attr ia = {
		.srq_context = pd,
		.attr = {.max_wr = max_wr, .max_sge = 1},
	};
	int r;

	if (pd->srq)
		return 0;
	if (ia.attr.max_wr > (unsigned)pd->dev->attr.max_srq_wr)
		ia.attr.max_wr = (unsigned)pd->dev->attr.max_srq_wr;
	max_wr = ia.attr.max_wr;
	r = vb_rq_init(&pd->rq, max_wr);
	if (r < 0)
		return r;
	pd->srq = ibv_create_srq(pd->ib, &ia);
	if (!pd->srq) {
		r = vb_errno();
		vb_rq_deinit(&pd->rq);
		return r;
	}
	return 0;
}

void
vb_pd_ref(struct fabric_pd *fpd)
{
	vb_pd(fpd)->refs++;
}

void
vb_pd_unref(struct fabric_pd *fpd)
{
	struct vb_pd *pd = vb_pd(fpd);
	int r;

	if (!pd || --pd->refs)
		return;
	if (pd->srq)
		ibv_destroy_srq(pd->srq);
	vb_rq_deinit(&pd->rq);
	r = ibv_dealloc_pd(pd->ib);
	if (r)
		log_err(pd->ctx->log, "%s: a protection domain stays: %s",
			pd->dev->name, strerror(r));
	vb_dev_unref(pd->dev);
	free(pd);
}

int
vb_pd_numa_node(struct fabric_pd *pd)
{
	return vb_pd(pd)->dev->numa_node;
}

const char *
vb_pd_why(struct fabric_pd *pd)
{
	return vb_pd(pd)->why[0] ? vb_pd(pd)->why : NULL;
}

/* --- memory */

int
vb_mr_reg(struct fabric_pd *fpd, void *addr, size_t len, unsigned access,
	  struct fabric_mr **ret)
{
	struct vb_pd *pd = vb_pd(fpd);
	int flags = IBV_ACCESS_LOCAL_WRITE;
	struct vb_mr *m;
	int r;

	pd->why[0] = '\0';
	if (!addr || !len || access & FABRIC_ACCESS_REMOTE_INV)
		return -EINVAL;
	if (access & FABRIC_ACCESS_REMOTE_WRITE)
		flags |= IBV_ACCESS_REMOTE_WRITE;
	if (access & FABRIC_ACCESS_MW_BIND)
		flags |= IBV_ACCESS_MW_BIND;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->pinned = verbs_memlock_span(addr, len);
	r = verbs_memlock_charge(m->pinned, NULL);
	if (r < 0) {
		verbs_memlock_words(m->pinned, pd->why, sizeof(pd->why));
		free(m);
		return r;
	}
	errno = 0;
	m->ib = ibv_reg_mr(pd->ib, addr, len, flags);
	if (!m->ib) {
		r = vb_errno();
		verbs_memlock_uncharge(m->pinned);
		why(pd, "%s: cannot register %zu bytes: %s", pd->dev->name, len,
		    strerror(-r));
		free(m);
		return r;
	}
	m->pub = (struct fabric_mr){
		.pd = fpd,
		.addr = addr,
		.len = len,
		.raddr = (uintptr_t)addr,
		.rkey = m->ib->rkey,
	};
	pd->refs++;
	*ret = &m->pub;
	return 0;
}

int
vb_mr_dereg(struct fabric_mr *mr)
{
	struct fabric_pd *pd;
	struct vb_mr *m;
	int r;

	if (!mr)
		return 0;
	m = container_of(mr, struct vb_mr, pub);
	if (m->n_bound)
		return -EBUSY;
	pd = mr->pd;
	r = ibv_dereg_mr(m->ib);
	if (r)
		return -r;
	verbs_memlock_uncharge(m->pinned);
	free(m);
	vb_pd_unref(pd);
	return 0;
}

/* --- windows */

int
vb_mw_new(struct fabric_pd *fpd, enum fabric_mw_kind kind,
	  struct fabric_mw **ret)
{
	struct vb_pd *pd = vb_pd(fpd);
	unsigned cap = kind == FABRIC_MW_PD ? FABRIC_CAP_MW_PD : FABRIC_CAP_MW;
	struct vb_mw *w;
	int r;

	pd->why[0] = '\0';
	if (!(pd->dev->caps & cap)) {
		why(pd, "%s has no memory windows of type %u", pd->dev->name,
		    kind == FABRIC_MW_PD ? 1 : 2);
		return -EOPNOTSUPP;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->ib = ibv_alloc_mw(pd->ib, kind == FABRIC_MW_PD ? IBV_MW_TYPE_1
							  : IBV_MW_TYPE_2);
	if (!w->ib) {
		r = vb_errno();
		why(pd, "%s: no further memory window: %s", pd->dev->name,
		    strerror(-r));
		free(w);
		return r;
	}
	w->pub.pd = fpd;
	w->pub.kind = kind;
	w->pub.rkey = w->ib->rkey;
	w->index = VB_MW_INDEX(w->ib->rkey);
	pd->refs++;
	*ret = &w->pub;
	return 0;
}

void
vb_mw_free(struct fabric_mw *mw)
{
	struct fabric_pd *pd;
	struct vb_mw *w;

	if (!mw)
		return;
	w = container_of(mw, struct vb_mw, pub);
	pd = mw->pd;
	if (w->pending)
		vb_post_pending(w->pending);
	vb_mw_unbind(w);
	vb_mw_leave(w);
	if (w->ib)
		ibv_dealloc_mw(w->ib);
	free(w);
	vb_pd_unref(pd);
}

void
vb_mw_unbind(struct vb_mw *w)
{
	if (!w->pub.bound)
		return;
	w->pub.bound = false;
	w->mr->n_bound--;
	w->mr = NULL;
	if (w->pub.kind == FABRIC_MW_CONN)
		HASH_DEL(vb_pd(w->pub.pd)->windows, w);
}

void
vb_mw_leave(struct vb_mw *w)
{
	if (w->conn)
		DL_DELETE(w->conn->windows, w);
	w->conn = NULL;
}

int
vb_mw_bound(struct vb_mw *w, struct vb_conn *c, struct vb_mr *mr, size_t off,
	    uint32_t rkey)
{
	struct vb_pd *pd = vb_pd(w->pub.pd);

	if (w->pub.kind == FABRIC_MW_CONN) {
		HASH_ADD(hh, pd->windows, index, sizeof(w->index), w);
		if (!w->hh.tbl)
			return -ENOMEM;
		vb_mw_leave(w);
		DL_APPEND(c->windows, w);
		w->conn = c;
	}
	w->mr = mr;
	mr->n_bound++;
	w->pub.raddr = mr->pub.raddr + off;
	w->pub.rkey = rkey;
	w->pub.bound = true;
	return 0;
}

struct vb_mw *
vb_mw_find(struct vb_pd *pd, uint32_t rkey)
{
	uint32_t index = VB_MW_INDEX(rkey);
	struct vb_mw *w;

	HASH_FIND(hh, pd->windows, &index, sizeof(index), w);
	return w && w->pub.rkey == rkey ? w : NULL;
}

/*
 * A kernel may wait long for a window that is still bound when its queue pair
 * is destroyed; and an invalidation that was flushed ended nothing.
 */
void
vb_mw_drop_all(struct vb_conn *c)
{
	struct vb_mw *w, *next;

	DL_FOREACH_SAFE(c->windows, w, next) {
		vb_mw_unbind(w);
		vb_mw_leave(w);
		ibv_dealloc_mw(w->ib);
		w->ib = NULL;
	}
}
