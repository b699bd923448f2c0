/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon's listeners: who connects there is given to a worker. */
#include "gateway/daemon-priv.h"

#include <errno.h>
#include <string.h>

#include "gateway/access.h"
#include "gateway/os.h"
#include "rtrs/base/remedy.h"

static void
on_listener_ready(void *user)
{
	/* prepare() looks everywhere */
}

static void
on_request(void *user, struct rtrs_conn_request *req)
{
	struct listener *l = user;
	struct daemon *d = l->daemon;
	struct rtrs_uuid uuid = rtrs_conn_request_msg(req)->sess_uuid;
	int w, r;

	r = gw_access_check_connect(d->access,
				    &rtrs_conn_request_addrs(req)->peer);
	if (r < 0) {
		rtrs_conn_request_reject(req, r);
		return;
	}
	w = route_get(d->route, &uuid);
	if (w < 0) {
		rtrs_conn_request_reject(req, w);
		return;
	}
	r = worker_take(d->workers[w], req);
	if (r < 0) {
		route_cancel(d->route, &uuid);
		rtrs_conn_request_reject(req, r);
	}
}

static void
log_listen_error(const struct daemon *d, const struct listen_addr *la, int err)
{
	char addr[RTRS_ADDR_TEXT_MAX];
	const char *remedy = remedy_words(err);

	if (err == -ENODEV && la->addr.ss_family == AF_IB)
		remedy = "; no InfiniBand port has that GID, and those of RoCE "
			 "are not listened on: use ip:ADDR";
	else if (err == -ENODEV)
		remedy = "; no RDMA device has that address. A driver may be "
			 "missing (soft-RoCE: rdma link add rxe0 type rxe "
			 "netdev eth0); tcp: needs none";
	else if (err == -EADDRINUSE)
		remedy = "; is another rnbd-gatewayd running? stop it or "
			 "choose another port";
	else if (err == -EADDRNOTAVAIL)
		remedy = "; no interface of this machine has that address";
	else if (err == -EACCES)
		remedy = "; ports below 1024 need privileges, choose another";
	(void)rtrs_addr_text(la->fabric, &la->addr, addr);
	log_err(d->log, "--listen %s%s%s%s: %s%s", la->text,
		la->is_one_of ? " (" : "", la->is_one_of ? addr : "",
		la->is_one_of ? ")" : "", strerror(-err), remedy);
}

int
start_listener(struct daemon *d, const struct listen_addr *la, FILE *out)
{
	struct listener *l = &d->listeners[d->n_listeners];
	struct rtrs_listener_params p = {
		.fabric = la->fabric,
		.addr = (const struct sockaddr *)&la->addr,
		.addr_len = la->addr_len,
		.rng = os_rng,
		.log = d->log,
		.now = os_now(),
		.request = on_request,
		.user = l,
	};
	struct sockaddr_storage ss;
	int r;

	l->daemon = d;
	r = rtrs_listener_new(&p, &l->rtrs);
	if (r < 0)
		goto err;
	r = loop_watch_fd(d->loop, rtrs_listener_fd(l->rtrs), on_listener_ready,
			  l, &l->watch);
	if (r < 0)
		goto err_listener;
	rtrs_listener_addr(l->rtrs, &ss);
	(void)rtrs_addr_text(la->fabric, &ss, l->addr);
	fprintf(out, "listening on %s\n", l->addr);
	if (fflush(out) == EOF)
		log_warn(d->log, "cannot print the address: %s",
			 strerror(errno));
	log_info(d->log, "listening on %s", l->addr);
	d->n_listeners++;
	return 0;

err_listener:
	rtrs_listener_free(l->rtrs);
err:
	log_listen_error(d, la, r);
	return r;
}

void
free_listeners(struct daemon *d)
{
	for (unsigned i = 0; i < d->n_listeners; i++) {
		loop_unwatch(d->listeners[i].watch);
		rtrs_listener_free(d->listeners[i].rtrs);
	}
	d->n_listeners = 0;
}

void
for_each_listener(void *user,
		  void (*fn)(void *fn_user, const char *addr,
			     const struct rtrs_listener_stats *stats),
		  void *fn_user)
{
	const struct daemon *d = user;

	for (unsigned i = 0; i < d->n_listeners; i++)
		fn(fn_user, d->listeners[i].addr,
		   rtrs_listener_stats(d->listeners[i].rtrs));
}
