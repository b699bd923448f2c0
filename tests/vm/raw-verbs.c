/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/vm/raw-verbs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* A time-out of the CM in ms; on a loaded guest a round takes long. */
#define CM_TIMEOUT_MS 20000

static int
failed(const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, strerror(err));
	return -err;
}

uint64_t
rv_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int
rv_addr(const char *host, unsigned port, struct sockaddr_storage *ret)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST,
				       .ai_socktype = SOCK_STREAM};
	struct addrinfo *ai;
	char service[16];
	int r;

	snprintf(service, sizeof(service), "%u", port);
	r = getaddrinfo(host, service, &hints, &ai);
	if (r) {
		fprintf(stderr, "%s: %s\n", host, gai_strerror(r));
		return -EINVAL;
	}
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, ai->ai_addr, ai->ai_addrlen);
	freeaddrinfo(ai);
	return 0;
}

int
rv_init(struct rv *rv, size_t buf_len)
{
	int r;

	memset(rv, 0, sizeof(*rv));
	rv->max_send_wr = 512;
	rv->max_recv_wr = 512;
	rv->max_cqe = 8192;
	rv->buf_len = buf_len;
	rv->buf = mmap(NULL, buf_len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (rv->buf == MAP_FAILED) {
		rv->buf = NULL;
		return failed("memory of an endpoint", errno);
	}
	rv->ec = rdma_create_event_channel();
	if (!rv->ec) {
		r = failed("rdma_create_event_channel", errno);
		rv_free(rv);
		return r;
	}
	if (fcntl(rv->ec->fd, F_SETFL, O_NONBLOCK) < 0) {
		r = failed("event channel", errno);
		rv_free(rv);
		return r;
	}
	return 0;
}

/* What belongs to a device, once it is known which. */
static int
setup(struct rv *rv, struct ibv_context *verbs)
{
	if (rv->verbs) {
		if (rv->verbs == verbs)
			return 0;
		fprintf(stderr, "a second device of one endpoint\n");
		return -EXDEV;
	}
	rv->verbs = verbs;
	rv->pd = ibv_alloc_pd(verbs);
	if (!rv->pd)
		return failed("ibv_alloc_pd", errno);
	rv->cc = ibv_create_comp_channel(verbs);
	if (!rv->cc || fcntl(rv->cc->fd, F_SETFL, O_NONBLOCK) < 0)
		return failed("completion channel", errno);
	rv->cq = ibv_create_cq(verbs, rv->max_cqe, NULL, rv->cc, 0);
	if (!rv->cq)
		return failed("ibv_create_cq", errno);
	rv->mr = ibv_reg_mr(rv->pd, rv->buf, rv->buf_len,
			    IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
	if (!rv->mr)
		return failed("ibv_reg_mr", errno);
	return 0;
}

static struct rv_con *
con_new(struct rv *rv, struct rdma_cm_id *id)
{
	struct rv_con *con = calloc(1, sizeof(*con));

	if (!con)
		return NULL;
	con->rv = rv;
	con->id = id;
	id->context = con;
	con->next = rv->cons;
	rv->cons = con;
	return con;
}

static int
create_qp(struct rv *rv, struct rdma_cm_id *id)
{
	struct ibv_qp_init_attr attr = {
		.send_cq = rv->cq,
		.recv_cq = rv->cq,
		.qp_type = IBV_QPT_RC,
		.cap = {.max_send_wr = rv->max_send_wr,
			.max_recv_wr = rv->max_recv_wr,
			.max_send_sge = 1,
			.max_recv_sge = 1},
	};

	if (rdma_create_qp(id, rv->pd, &attr))
		return failed("rdma_create_qp", errno);
	return 0;
}

void
rv_drop(struct rv_con *con)
{
	struct rv_con **p = &con->rv->cons;

	while (*p != con)
		p = &(*p)->next;
	*p = con->next;
	if (con->id->qp)
		rdma_destroy_qp(con->id);
	rdma_destroy_id(con->id);
	free(con);
}

void
rv_free(struct rv *rv)
{
	for (struct rv_con *con = rv->cons; con; con = con->next)
		if (con->up && !con->gone)
			rdma_disconnect(con->id);
	while (rv->cons)
		rv_drop(rv->cons);
	if (rv->listener)
		rdma_destroy_id(rv->listener);
	if (rv->mr)
		ibv_dereg_mr(rv->mr);
	if (rv->cq)
		ibv_destroy_cq(rv->cq);
	if (rv->cc)
		ibv_destroy_comp_channel(rv->cc);
	if (rv->pd)
		ibv_dealloc_pd(rv->pd);
	if (rv->ec)
		rdma_destroy_event_channel(rv->ec);
	if (rv->buf)
		munmap(rv->buf, rv->buf_len);
	memset(rv, 0, sizeof(*rv));
}

/* ---------------------------------------------------------------- events */

static bool
next_cm(struct rv *rv, struct rv_event *ret)
{
	struct rdma_cm_event *ev;

	if (rdma_get_cm_event(rv->ec, &ev))
		return false;
	*ret = (struct rv_event){
		.what = RV_CM,
		.cm = ev->event,
		.id = ev->id,
		.status = ev->status,
	};
	/* A new id has the context of its listener: none. */
	ret->con = ev->id->context;
	if (ev->param.conn.private_data) {
		ret->priv_len = ev->param.conn.private_data_len;
		if (ret->priv_len > sizeof(ret->priv))
			ret->priv_len = sizeof(ret->priv);
		memcpy(ret->priv, ev->param.conn.private_data, ret->priv_len);
	}
	rdma_ack_cm_event(ev);
	switch (ret->cm) {
	case RDMA_CM_EVENT_ESTABLISHED:
		ret->con->up = true;
		break;
	case RDMA_CM_EVENT_DISCONNECTED:
		ret->con->gone = true;
		if (!rv->rude)
			rdma_disconnect(ret->id);
		break;
	case RDMA_CM_EVENT_TIMEWAIT_EXIT:
	case RDMA_CM_EVENT_ADDR_CHANGE:
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		if (ret->con)
			ret->con->gone = true;
		break;
	default:
		break;
	}
	return true;
}

static bool
next_wc(struct rv *rv, struct rv_event *ret)
{
	struct rv_con *con;
	struct ibv_wc wc;

	if (!rv->cq || ibv_poll_cq(rv->cq, 1, &wc) != 1)
		return false;
	*ret = (struct rv_event){.what = RV_WC, .wc = wc};
	for (con = rv->cons; con; con = con->next)
		if (con->id->qp && con->id->qp->qp_num == wc.qp_num)
			ret->con = con;
	return true;
}

static bool
next_event(struct rv *rv, struct rv_event *ret)
{
	return next_wc(rv, ret) || next_cm(rv, ret);
}

int
rv_wait(struct rv *rv, int ms, struct rv_event *ret)
{
	uint64_t end = rv_now_ms() + (uint64_t)ms;

	*ret = (struct rv_event){.what = RV_NOTHING};
	for (;;) {
		struct pollfd fds[2] = {
			{.fd = rv->ec->fd, .events = POLLIN},
			{.fd = rv->cc ? rv->cc->fd : -1, .events = POLLIN},
		};
		uint64_t now;
		struct ibv_cq *cq;
		void *user;

		if (next_event(rv, ret))
			return 0;
		if (rv->cq && ibv_req_notify_cq(rv->cq, 0))
			return failed("ibv_req_notify_cq", errno);
		if (next_event(rv, ret))
			return 0;
		now = rv_now_ms();
		if (now >= end)
			return 0;
		if (poll(fds, 2, (int)(end - now)) < 0 && errno != EINTR)
			return failed("poll", errno);
		while (rv->cc && !ibv_get_cq_event(rv->cc, &cq, &user))
			ibv_ack_cq_events(cq, 1);
	}
}

/* -------------------------------------------------------------- connecting */

/*
 * The next CM event of this connection. Those of others were noted in them;
 * completions stay in their queue.
 */
static int
wait_cm(struct rv_con *con, struct rv_event *ret)
{
	struct rv *rv = con->rv;
	uint64_t end = rv_now_ms() + CM_TIMEOUT_MS;

	for (;;) {
		struct pollfd fd = {.fd = rv->ec->fd, .events = POLLIN};
		uint64_t now = rv_now_ms();

		if (next_cm(rv, ret)) {
			if (ret->con == con)
				return 0;
			continue;
		}
		if (now >= end) {
			fprintf(stderr, "no answer by the CM in %u ms\n",
				CM_TIMEOUT_MS);
			return -ETIMEDOUT;
		}
		if (poll(&fd, 1, (int)(end - now)) < 0 && errno != EINTR)
			return failed("poll", errno);
	}
}

static int
resolve(struct rv_con *con, const struct sockaddr_storage *src,
	const struct sockaddr_storage *dst, bool half, struct rv_event *ev)
{
	struct sockaddr_storage s, d = *dst;
	int r;

	if (src)
		s = *src;
	if (rdma_resolve_addr(con->id, src ? (struct sockaddr *)&s : NULL,
			      (struct sockaddr *)&d, CM_TIMEOUT_MS))
		return failed("rdma_resolve_addr", errno);
	r = wait_cm(con, ev);
	if (r)
		return r;
	if (ev->cm != RDMA_CM_EVENT_ADDR_RESOLVED) {
		fprintf(stderr, "address: %s\n", rdma_event_str(ev->cm));
		return -EHOSTUNREACH;
	}
	r = setup(con->rv, con->id->verbs);
	if (!r && !half)
		r = create_qp(con->rv, con->id);
	if (r)
		return r;
	if (rdma_resolve_route(con->id, CM_TIMEOUT_MS))
		return failed("rdma_resolve_route", errno);
	r = wait_cm(con, ev);
	if (r)
		return r;
	if (ev->cm != RDMA_CM_EVENT_ROUTE_RESOLVED) {
		fprintf(stderr, "route: %s\n", rdma_event_str(ev->cm));
		return -EHOSTUNREACH;
	}
	return 0;
}

/* librdmacm answers an accept by itself where the id has a queue pair. */
static int
ask(struct rv *rv, const struct sockaddr_storage *src,
    const struct sockaddr_storage *dst, const void *priv, uint8_t priv_len,
    bool half, struct rv_con **ret, struct rv_answer *answer)
{
	static unsigned qp_num;
	struct rdma_conn_param param = {
		.private_data = priv,
		.private_data_len = priv_len,
		.retry_count = 7,
		.rnr_retry_count = 7,
	};
	const enum rdma_cm_event_type yes =
		half ? RDMA_CM_EVENT_CONNECT_RESPONSE
		     : RDMA_CM_EVENT_ESTABLISHED;
	struct rdma_cm_id *id;
	struct rv_event ev;
	struct rv_con *con;
	int r;

	*ret = NULL;
	memset(answer, 0, sizeof(*answer));
	if (rdma_create_id(rv->ec, &id, NULL, RDMA_PS_TCP))
		return failed("rdma_create_id", errno);
	con = con_new(rv, id);
	if (!con) {
		rdma_destroy_id(id);
		return -ENOMEM;
	}
	r = resolve(con, src, dst, half, &ev);
	/* Of nobody, and of none of those before. */
	if (half)
		param.qp_num = 0x800000 + (++qp_num & 0xffff);
	if (!r && rdma_connect(id, &param))
		r = failed("rdma_connect", errno);
	if (!r)
		r = wait_cm(con, &ev);
	if (r) {
		rv_drop(con);
		return r;
	}
	answer->event = ev.cm;
	answer->status = ev.status;
	answer->priv_len = ev.priv_len;
	memcpy(answer->priv, ev.priv, sizeof(ev.priv));
	if (ev.cm == yes)
		*ret = con;
	else
		rv_drop(con);
	return 0;
}

int
rv_connect(struct rv *rv, const struct sockaddr_storage *src,
	   const struct sockaddr_storage *dst, const void *priv,
	   uint8_t priv_len, struct rv_con **ret, struct rv_answer *answer)
{
	return ask(rv, src, dst, priv, priv_len, false, ret, answer);
}

int
rv_connect_half(struct rv *rv, const struct sockaddr_storage *src,
		const struct sockaddr_storage *dst, const void *priv,
		uint8_t priv_len, struct rv_con **ret, struct rv_answer *answer)
{
	return ask(rv, src, dst, priv, priv_len, true, ret, answer);
}

int
rv_establish(struct rv_con *con)
{
	return rdma_establish(con->id) ? failed("rdma_establish", errno) : 0;
}

int
rv_refuse(struct rv_con *con)
{
	return rdma_reject(con->id, NULL, 0) ? failed("rdma_reject", errno) : 0;
}

int
rv_listen(struct rv *rv, const struct sockaddr_storage *addr)
{
	struct sockaddr_storage a = *addr;

	if (rdma_create_id(rv->ec, &rv->listener, NULL, RDMA_PS_TCP))
		return failed("rdma_create_id", errno);
	if (rdma_bind_addr(rv->listener, (struct sockaddr *)&a))
		return failed("rdma_bind_addr", errno);
	if (rdma_listen(rv->listener, 64))
		return failed("rdma_listen", errno);
	return 0;
}

int
rv_accept(struct rv *rv, struct rdma_cm_id *id, struct rv_con **ret)
{
	struct rv_con *con;
	int r;

	r = setup(rv, id->verbs);
	if (!r)
		r = create_qp(rv, id);
	con = r ? NULL : con_new(rv, id);
	if (!con) {
		if (id->qp)
			rdma_destroy_qp(id);
		rdma_destroy_id(id);
		return r ? r : -ENOMEM;
	}
	*ret = con;
	return 0;
}

int
rv_accept_send(struct rv_con *con, const void *priv, uint8_t priv_len)
{
	struct rdma_conn_param param = {
		.private_data = priv,
		.private_data_len = priv_len,
		.rnr_retry_count = 7,
	};

	if (rdma_accept(con->id, &param))
		return failed("rdma_accept", errno);
	return 0;
}

int
rv_reject(struct rdma_cm_id *id, const void *priv, uint8_t priv_len)
{
	int r = 0;

	if (rdma_reject(id, priv, priv_len))
		r = failed("rdma_reject", errno);
	rdma_destroy_id(id);
	return r;
}

/* ----------------------------------------------------------------- posting */

int
rv_recv(struct rv_con *con, uint64_t wr_id, size_t off, uint32_t len)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)con->rv->buf + off,
		.length = len,
		.lkey = con->rv->mr->lkey,
	};
	struct ibv_recv_wr wr = {
		.wr_id = wr_id,
		.sg_list = &sge,
		.num_sge = len ? 1 : 0,
	};
	struct ibv_recv_wr *bad;
	int r = ibv_post_recv(con->id->qp, &wr, &bad);

	return r ? failed("ibv_post_recv", r) : 0;
}

int
rv_send(struct rv_con *con, const struct rv_send *s)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)con->rv->buf + s->off,
		.length = s->len,
		.lkey = con->rv->mr->lkey,
	};
	struct ibv_send_wr wr = {
		.wr_id = s->wr_id,
		.opcode = s->op,
		.sg_list = &sge,
		.num_sge = s->len ? 1 : 0,
		.send_flags = IBV_SEND_SIGNALED,
	};
	struct ibv_send_wr *bad;
	int r;

	if (s->op == IBV_WR_SEND_WITH_INV)
		wr.invalidate_rkey = s->inv_rkey;
	else
		wr.imm_data = htonl(s->imm);
	wr.wr.rdma.remote_addr = s->raddr;
	wr.wr.rdma.rkey = s->rkey;
	r = ibv_post_send(con->id->qp, &wr, &bad);
	if (r == ENOMEM)
		return -ENOBUFS;
	return r ? failed("ibv_post_send", r) : 0;
}

void
rv_disconnect(struct rv_con *con)
{
	rdma_disconnect(con->id);
}

void
rv_kill(struct rv_con *con)
{
	struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};

	if (ibv_modify_qp(con->id->qp, &attr, IBV_QP_STATE))
		failed("QP to the error state", errno);
}
