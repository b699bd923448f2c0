/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libibverbs and librdmacm: each call may fail with what it says when there is
 * no memory or no descriptor, and what is made on a device is counted.
 *
 * Work requests, completions and windows are functions of the provider that
 * the headers of libibverbs call through the device's context, without a
 * symbol: their pointers are exchanged when the tree's code first asks about
 * the device, which it does before it makes anything there.
 *
 * What gives something back fails without having done so, as with a resource
 * that is busy: it stays, and nothing may crash for that. An id is always
 * destroyed: the kernel knows no reason against it.
 */
#include <errno.h>
#include <infiniband/verbs.h>
#include <pthread.h>
#include <rdma/rdma_cma.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tests/faults/fault-priv.h"

/* Counts what was made. */
static void *
made(enum fault_rdma what, void *p)
{
	if (p)
		fault_rdma(what, 1);
	return p;
}

static int
ended(enum fault_rdma what, int r)
{
	if (!r)
		fault_rdma(what, -1);
	return r;
}

/* ------------------------------------------------- the device's functions */

#define MAX_DEVICES 8

static struct device {
	struct ibv_context *verbs;
	struct ibv_context_ops real;
} devices[MAX_DEVICES];
static pthread_mutex_t devices_lock = PTHREAD_MUTEX_INITIALIZER;

/* There is one, or nobody could have called. */
static const struct ibv_context_ops *
real(const struct ibv_context *verbs)
{
	for (unsigned i = 0; i < MAX_DEVICES; i++)
		if (devices[i].verbs == verbs)
			return &devices[i].real;
	abort();
}

static int
post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	if (fault_hit(FAULT_POST, "ibv_post_send", SITE)) {
		*bad = wr;
		return ENOMEM;
	}
	return real(qp->context)->post_send(qp, wr, bad);
}

static int
post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	if (fault_hit(FAULT_POST, "ibv_post_recv", SITE)) {
		*bad = wr;
		return ENOMEM;
	}
	return real(qp->context)->post_recv(qp, wr, bad);
}

static int
post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr,
	      struct ibv_recv_wr **bad)
{
	if (fault_hit(FAULT_POST, "ibv_post_srq_recv", SITE)) {
		*bad = wr;
		return ENOMEM;
	}
	return real(srq->context)->post_srq_recv(srq, wr, bad);
}

static int
bind_mw(struct ibv_qp *qp, struct ibv_mw *mw, struct ibv_mw_bind *bind)
{
	if (fault_hit(FAULT_POST, "ibv_bind_mw", SITE))
		return ENOMEM;
	return real(mw->context)->bind_mw(qp, mw, bind);
}

static int
req_notify_cq(struct ibv_cq *cq, int solicited_only)
{
	if (fault_hit(FAULT_POST, "ibv_req_notify_cq", SITE))
		return EIO;
	return real(cq->context)->req_notify_cq(cq, solicited_only);
}

/*
 * Only a look that finds something counts, and what it found is found by the
 * next one: who gave up after the failure would wait for ever.
 */
#define MAX_HELD 8
#define MAX_WC   64

static struct held {
	struct ibv_cq *cq; /* NULL: free */
	struct ibv_wc wc[MAX_WC];
	int n;
} held[MAX_HELD];
static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint n_held;

static struct held *
find_held(const struct ibv_cq *cq)
{
	for (unsigned i = 0; i < MAX_HELD; i++)
		if (held[i].cq == cq)
			return &held[i];
	return NULL;
}

static void
hold(struct ibv_cq *cq, const struct ibv_wc *wc, int n)
{
	struct held *h;

	pthread_mutex_lock(&held_lock);
	h = find_held(NULL);
	if (!h || n > MAX_WC)
		abort();
	h->cq = cq;
	h->n = n;
	memcpy(h->wc, wc, (size_t)n * sizeof(*wc));
	atomic_fetch_add(&n_held, 1);
	pthread_mutex_unlock(&held_lock);
}

/* What is held of a queue, at most n; with NULL it is forgotten. */
static int
release(struct ibv_cq *cq, int n, struct ibv_wc *wc)
{
	struct held *h;

	if (!atomic_load(&n_held))
		return 0;
	pthread_mutex_lock(&held_lock);
	h = find_held(cq);
	if (!h || n > h->n)
		n = h ? h->n : 0;
	if (wc && n)
		memcpy(wc, h->wc, (size_t)n * sizeof(*wc));
	if (h) {
		h->n -= n;
		memmove(h->wc, h->wc + n, (size_t)h->n * sizeof(*wc));
	}
	if (h && (!wc || !h->n)) {
		h->cq = NULL;
		atomic_fetch_sub(&n_held, 1);
	}
	pthread_mutex_unlock(&held_lock);
	return n;
}

static int
poll_cq(struct ibv_cq *cq, int n, struct ibv_wc *wc)
{
	int k = release(cq, n, wc);

	if (!k)
		k = real(cq->context)->poll_cq(cq, n, wc);
	if (k > 0 && fault_hit(FAULT_POLL, "ibv_poll_cq", SITE)) {
		hold(cq, wc, k);
		return -EIO;
	}
	return k;
}

static struct ibv_mw *
alloc_mw(struct ibv_pd *pd, enum ibv_mw_type type)
{
	FAIL(FAULT_VERBS, "ibv_alloc_mw", ENOMEM, NULL);
	return made(FAULT_MW, real(pd->context)->alloc_mw(pd, type));
}

static int
dealloc_mw(struct ibv_mw *mw)
{
	if (fault_hit(FAULT_END, "ibv_dealloc_mw", SITE))
		return EBUSY;
	return ended(FAULT_MW, real(mw->context)->dealloc_mw(mw));
}

static void
exchange_ops(struct ibv_context *verbs)
{
	struct device *d = NULL;

	pthread_mutex_lock(&devices_lock);
	if (verbs->ops.post_send == post_send)
		goto out;
	/* Another one may have had the address of this one. */
	for (unsigned i = 0; i < MAX_DEVICES && !d; i++)
		if (!devices[i].verbs || devices[i].verbs == verbs)
			d = &devices[i];
	if (!d)
		abort();
	d->real = verbs->ops;
	d->verbs = verbs;
	verbs->ops.post_send = post_send;
	verbs->ops.post_recv = post_recv;
	verbs->ops.post_srq_recv = post_srq_recv;
	verbs->ops.bind_mw = bind_mw;
	verbs->ops.req_notify_cq = req_notify_cq;
	verbs->ops.poll_cq = poll_cq;
	verbs->ops.alloc_mw = alloc_mw;
	verbs->ops.dealloc_mw = dealloc_mw;
out:
	pthread_mutex_unlock(&devices_lock);
}

/* ------------------------------------------------- resources */

/* Headers have macros of these names. */
#undef ibv_reg_mr

WRAPPED(int, ibv_fork_init, void)
{
	if (fault_hit(FAULT_VERBS, "ibv_fork_init", SITE))
		return ENOMEM;
	return __real_ibv_fork_init();
}

WRAPPED(int, ibv_query_device, struct ibv_context *verbs,
	struct ibv_device_attr *attr)
{
	exchange_ops(verbs);
	if (fault_hit(FAULT_VERBS, "ibv_query_device", SITE))
		return ENOMEM;
	return __real_ibv_query_device(verbs, attr);
}

WRAPPED(struct ibv_comp_channel *, ibv_create_comp_channel,
	struct ibv_context *verbs)
{
	FAIL(FAULT_VERBS, "ibv_create_comp_channel", EMFILE, NULL);
	return made(FAULT_COMP, __real_ibv_create_comp_channel(verbs));
}

WRAPPED(int, ibv_destroy_comp_channel, struct ibv_comp_channel *channel)
{
	if (fault_hit(FAULT_END, "ibv_destroy_comp_channel", SITE))
		return EBUSY;
	return ended(FAULT_COMP, __real_ibv_destroy_comp_channel(channel));
}

WRAPPED(struct ibv_pd *, ibv_alloc_pd, struct ibv_context *verbs)
{
	FAIL(FAULT_VERBS, "ibv_alloc_pd", ENOMEM, NULL);
	return made(FAULT_PD, __real_ibv_alloc_pd(verbs));
}

WRAPPED(int, ibv_dealloc_pd, struct ibv_pd *pd)
{
	if (fault_hit(FAULT_END, "ibv_dealloc_pd", SITE))
		return EBUSY;
	return ended(FAULT_PD, __real_ibv_dealloc_pd(pd));
}

WRAPPED(struct ibv_cq *, ibv_create_cq, struct ibv_context *verbs, int n,
	void *user, struct ibv_comp_channel *channel, int vector)
{
	FAIL(FAULT_VERBS, "ibv_create_cq", ENOMEM, NULL);
	return made(FAULT_CQ,
		    __real_ibv_create_cq(verbs, n, user, channel, vector));
}

WRAPPED(int, ibv_destroy_cq, struct ibv_cq *cq)
{
	if (fault_hit(FAULT_END, "ibv_destroy_cq", SITE))
		return EBUSY;
	release(cq, 0, NULL);
	return ended(FAULT_CQ, __real_ibv_destroy_cq(cq));
}

WRAPPED(struct ibv_srq *, ibv_create_srq, struct ibv_pd *pd,
	struct ibv_srq_init_attr *attr)
{
	FAIL(FAULT_VERBS, "ibv_create_srq", ENOMEM, NULL);
	return made(FAULT_SRQ, __real_ibv_create_srq(pd, attr));
}

WRAPPED(int, ibv_destroy_srq, struct ibv_srq *srq)
{
	if (fault_hit(FAULT_END, "ibv_destroy_srq", SITE))
		return EBUSY;
	return ended(FAULT_SRQ, __real_ibv_destroy_srq(srq));
}

/* By one of the two, as the compiler knows what access is or not. */
WRAPPED(struct ibv_mr *, ibv_reg_mr, struct ibv_pd *pd, void *addr, size_t len,
	int access)
{
	FAIL(FAULT_VERBS, "ibv_reg_mr", ENOMEM, NULL);
	return made(FAULT_MR, __real_ibv_reg_mr(pd, addr, len, access));
}

WRAPPED(struct ibv_mr *, ibv_reg_mr_iova2, struct ibv_pd *pd, void *addr,
	size_t len, uint64_t iova, unsigned access)
{
	FAIL(FAULT_VERBS, "ibv_reg_mr_iova2", ENOMEM, NULL);
	return made(FAULT_MR,
		    __real_ibv_reg_mr_iova2(pd, addr, len, iova, access));
}

WRAPPED(int, ibv_dereg_mr, struct ibv_mr *mr)
{
	if (fault_hit(FAULT_END, "ibv_dereg_mr", SITE))
		return EBUSY;
	return ended(FAULT_MR, __real_ibv_dereg_mr(mr));
}

WRAPPED(int, ibv_modify_qp, struct ibv_qp *qp, struct ibv_qp_attr *attr,
	int mask)
{
	if (fault_hit(FAULT_VERBS, "ibv_modify_qp", SITE))
		return ENOMEM;
	return __real_ibv_modify_qp(qp, attr, mask);
}

WRAPPED(int, ibv_query_qp, struct ibv_qp *qp, struct ibv_qp_attr *attr,
	int mask, struct ibv_qp_init_attr *init)
{
	if (fault_hit(FAULT_VERBS, "ibv_query_qp", SITE))
		return ENOMEM;
	return __real_ibv_query_qp(qp, attr, mask, init);
}

/* ------------------------------------------------- events */

WRAPPED(int, ibv_get_cq_event, struct ibv_comp_channel *channel,
	struct ibv_cq **cq, void **user)
{
	FAIL(FAULT_POLL, "ibv_get_cq_event", EINTR, -1);
	return __real_ibv_get_cq_event(channel, cq, user);
}

WRAPPED(int, ibv_get_async_event, struct ibv_context *verbs,
	struct ibv_async_event *ev)
{
	FAIL(FAULT_POLL, "ibv_get_async_event", EINTR, -1);
	return __real_ibv_get_async_event(verbs, ev);
}

WRAPPED(int, rdma_get_cm_event, struct rdma_event_channel *channel,
	struct rdma_cm_event **event)
{
	int r;

	FAIL(FAULT_POLL, "rdma_get_cm_event", ENOMEM, -1);
	r = __real_rdma_get_cm_event(channel, event);
	/* An id that nobody here has created. */
	if (!r && (*event)->event == RDMA_CM_EVENT_CONNECT_REQUEST)
		fault_rdma(FAULT_CM_ID, 1);
	return r;
}

/* ------------------------------------------------- connecting */

WRAPPED(struct rdma_event_channel *, rdma_create_event_channel, void)
{
	FAIL(FAULT_VERBS, "rdma_create_event_channel", EMFILE, NULL);
	return made(FAULT_CHANNEL, __real_rdma_create_event_channel());
}

WRAPPED(void, rdma_destroy_event_channel, struct rdma_event_channel *channel)
{
	__real_rdma_destroy_event_channel(channel);
	fault_rdma(FAULT_CHANNEL, -1);
}

WRAPPED(int, rdma_create_id, struct rdma_event_channel *channel,
	struct rdma_cm_id **id, void *context, enum rdma_port_space ps)
{
	int r;

	FAIL(FAULT_VERBS, "rdma_create_id", ENOMEM, -1);
	r = __real_rdma_create_id(channel, id, context, ps);
	if (!r)
		fault_rdma(FAULT_CM_ID, 1);
	return r;
}

WRAPPED(int, rdma_destroy_id, struct rdma_cm_id *id)
{
	return ended(FAULT_CM_ID, __real_rdma_destroy_id(id));
}

WRAPPED(int, rdma_set_option, struct rdma_cm_id *id, int level, int name,
	void *val, size_t len)
{
	FAIL(FAULT_VERBS, "rdma_set_option", EINVAL, -1);
	return __real_rdma_set_option(id, level, name, val, len);
}

WRAPPED(int, rdma_bind_addr, struct rdma_cm_id *id, struct sockaddr *addr)
{
	FAIL(FAULT_VERBS, "rdma_bind_addr", ENOMEM, -1);
	return __real_rdma_bind_addr(id, addr);
}

WRAPPED(int, rdma_listen, struct rdma_cm_id *id, int backlog)
{
	FAIL(FAULT_VERBS, "rdma_listen", ENOMEM, -1);
	return __real_rdma_listen(id, backlog);
}

WRAPPED(int, rdma_resolve_addr, struct rdma_cm_id *id, struct sockaddr *src,
	struct sockaddr *dst, int timeout_ms)
{
	FAIL(FAULT_VERBS, "rdma_resolve_addr", ENOMEM, -1);
	return __real_rdma_resolve_addr(id, src, dst, timeout_ms);
}

WRAPPED(int, rdma_resolve_route, struct rdma_cm_id *id, int timeout_ms)
{
	FAIL(FAULT_VERBS, "rdma_resolve_route", ENOMEM, -1);
	return __real_rdma_resolve_route(id, timeout_ms);
}

WRAPPED(int, rdma_create_qp, struct rdma_cm_id *id, struct ibv_pd *pd,
	struct ibv_qp_init_attr *attr)
{
	int r;

	FAIL(FAULT_VERBS, "rdma_create_qp", ENOMEM, -1);
	r = __real_rdma_create_qp(id, pd, attr);
	if (!r)
		fault_rdma(FAULT_QP, 1);
	return r;
}

WRAPPED(void, rdma_destroy_qp, struct rdma_cm_id *id)
{
	__real_rdma_destroy_qp(id);
	fault_rdma(FAULT_QP, -1);
}

WRAPPED(int, rdma_connect, struct rdma_cm_id *id, struct rdma_conn_param *param)
{
	FAIL(FAULT_VERBS, "rdma_connect", ENOMEM, -1);
	return __real_rdma_connect(id, param);
}

WRAPPED(int, rdma_accept, struct rdma_cm_id *id, struct rdma_conn_param *param)
{
	FAIL(FAULT_VERBS, "rdma_accept", ENOMEM, -1);
	return __real_rdma_accept(id, param);
}

WRAPPED(int, rdma_reject, struct rdma_cm_id *id, const void *priv, uint8_t len)
{
	FAIL(FAULT_VERBS, "rdma_reject", ENOMEM, -1);
	return __real_rdma_reject(id, priv, len);
}

WRAPPED(int, rdma_migrate_id, struct rdma_cm_id *id,
	struct rdma_event_channel *channel)
{
	FAIL(FAULT_VERBS, "rdma_migrate_id", ENOMEM, -1);
	return __real_rdma_migrate_id(id, channel);
}

WRAPPED(int, rdma_disconnect, struct rdma_cm_id *id)
{
	FAIL(FAULT_VERBS, "rdma_disconnect", ENOMEM, -1);
	return __real_rdma_disconnect(id);
}
