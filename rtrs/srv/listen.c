/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/srv/srv-priv.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/wire-errno.h"

struct rtrs_listener {
	struct rtrs_listener_params p;
	struct fabric_ctx *ctx;
	struct fabric_listener *listener;
	struct rtrs_listener_stats stats;
};

int
rtrs_listener_new(const struct rtrs_listener_params *p,
		  struct rtrs_listener **ret)
{
	const struct fabric_ctx_params cp = {
		.rng = p->rng,
		.log = p->log,
		.now = p->now,
		.handshake_timeout_ms = p->handshake_timeout_ms,
		.max_half_open = p->max_half_open,
		.disconnect_timeout_ms = SRV_DISCONNECT_TIMEOUT_MS,
		.priv = p->fabric_priv,
	};
	struct rtrs_listener *l;
	int err;

	if (!p->request || p->max_cons > RTRS_MAX_CONS)
		return -EINVAL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->p = *p;
	if (!l->p.max_cons)
		l->p.max_cons = RTRS_MAX_CONS;
	err = p->fabric->ctx_new(&cp, &l->ctx);
	if (err)
		goto err_free;
	err = p->fabric->listen(l->ctx, p->addr, p->addr_len, l, &l->listener);
	if (err)
		goto err_ctx;
	*ret = l;
	return 0;

err_ctx:
	p->fabric->ctx_free(l->ctx);
err_free:
	free(l);
	return err;
}

void
rtrs_listener_free(struct rtrs_listener *l)
{
	if (!l)
		return;
	l->p.fabric->listener_free(l->listener);
	l->p.fabric->ctx_free(l->ctx);
	free(l);
}

void
rtrs_listener_addr(const struct rtrs_listener *l, struct sockaddr_storage *ret)
{
	l->p.fabric->listener_addr(l->listener, ret);
}

int
rtrs_listener_fd(const struct rtrs_listener *l)
{
	return l->p.fabric->ctx_fd(l->ctx);
}

bool
rtrs_listener_arm(struct rtrs_listener *l)
{
	return l->p.fabric->ctx_arm(l->ctx);
}

uint64_t
rtrs_listener_deadline(const struct rtrs_listener *l)
{
	return l->p.fabric->ctx_deadline(l->ctx);
}

const struct rtrs_listener_stats *
rtrs_listener_stats(const struct rtrs_listener *l)
{
	return &l->stats;
}

static void
reject(const struct fabric_ops *ops, struct fabric_conn *conn, int err)
{
	/* Zero would not count as a failure with some peers. */
	const struct rtrs_msg_conn_rsp rsp = {
		.version = RTRS_PROTO_VER,
		.err = wire_errno_from_host(err < 0 ? err : -ECONNRESET),
	};
	uint8_t buf[RTRS_CONN_RSP_LEN];

	rtrs_msg_conn_rsp_encode(&rsp, buf);
	ops->reject(conn, buf, sizeof(buf));
}

/* Checks 1 to 5: everything that is wrong here has the same answer. */
static int
check(const struct rtrs_listener *l, const struct fabric_event *ev,
      struct rtrs_msg_conn_req *ret)
{
	struct rtrs_msg_conn_req msg;
	int err;

	err = rtrs_msg_conn_req_decode(ev->priv, ev->priv_len, &msg);
	if (err)
		return err;
	if (msg.cid_num > l->p.max_cons || msg.cid >= msg.cid_num)
		return -EINVAL;
	*ret = msg;
	return 0;
}

static void
connect_request(struct rtrs_listener *l, const struct fabric_event *ev)
{
	struct rtrs_conn_request *req;
	int err;

	req = calloc(1, sizeof(*req));
	if (!req) {
		err = -ENOMEM;
		goto err_reject;
	}
	req->ops = l->p.fabric;
	req->conn = ev->conn;
	if (check(l, ev, &req->msg)) {
		l->stats.malformed++;
		err = -ECONNRESET;
		goto err_free;
	}
	err = req->ops->conn_addrs(ev->conn, &req->addrs);
	if (err)
		goto err_free;
	l->stats.requests++;
	l->p.request(l->p.user, req);
	return;

err_free:
	free(req);
err_reject:
	reject(l->p.fabric, ev->conn, err);
}

void
rtrs_listener_progress(struct rtrs_listener *l, uint64_t now)
{
	struct fabric_event ev;

	l->p.fabric->ctx_poll(l->ctx, now);
	while (l->p.fabric->next_event(l->ctx, &ev))
		if (ev.type == FABRIC_EV_CONNECT_REQUEST)
			connect_request(l, &ev);
}

const struct rtrs_msg_conn_req *
rtrs_conn_request_msg(const struct rtrs_conn_request *req)
{
	return &req->msg;
}

const struct fabric_ops *
rtrs_conn_request_fabric(const struct rtrs_conn_request *req)
{
	return req->ops;
}

const struct fabric_addrs *
rtrs_conn_request_addrs(const struct rtrs_conn_request *req)
{
	return &req->addrs;
}

void
rtrs_conn_request_reject(struct rtrs_conn_request *req, int err)
{
	reject(req->ops, req->conn, err);
	free(req);
}
