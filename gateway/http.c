/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/http.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "config/control/unix-listen.h"
#include "rtrs/base/remedy.h"
#include "rtrs/base/util.h"

_Static_assert(HTTP_TEXT_MAX >= UNIX_LISTEN_TEXT_MAX, "one for the other");

/* The connections are evhttp's; this is our account of one. */
struct conn {
	struct bufferevent *bev; /* a reference */
	unsigned ticks;          /* so old is it */
	struct conn *prev, *next;
};

struct http_request {
	struct http *http; /* NULL: it is gone, and req with it */
	struct evhttp_request *req;
	struct http_request *prev, *next;
};

struct http {
	struct http_params p;
	char uri[256];
	char page[32];
	struct evhttp *ev;
	struct evconnlistener *listener; /* ev's */
	struct event *resume, *tick;
	bool listens;
	bool paused; /* out of descriptors */
	struct conn *conns;
	unsigned n_conns;
	struct http_request *requests; /* not replied to yet */
};

/* ------------------------------------------------------------ connections */

static void
admit(struct http *h)
{
	static const struct timeval tv = {.tv_usec = HTTP_PAUSE_MS * 1000};

	if (h->paused || h->n_conns >= HTTP_MAX_CLIENTS)
		evconnlistener_disable(h->listener);
	else if (evconnlistener_enable(h->listener) < 0)
		(void)evtimer_add(h->resume, &tv);
}

/* evhttp has freed it, but for our reference: that takes the callbacks away. */
static bool
is_gone(struct bufferevent *bev)
{
	bufferevent_data_cb read_cb, write_cb;
	bufferevent_event_cb event_cb;
	void *arg;

	bufferevent_getcb(bev, &read_cb, &write_cb, &event_cb, &arg);
	return !read_cb && !write_cb && !event_cb;
}

static void
conn_free(struct http *h, struct conn *c)
{
	DL_DELETE(h->conns, c);
	h->n_conns--;
	bufferevent_decref(c->bev);
	free(c);
}

/*
 * evhttp neither counts its connections nor tells when one ends, nor does it
 * end one that moves a byte now and then: so we look, while there are any.
 */
static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval tv = {.tv_usec = HTTP_TICK_MS * 1000};
	struct http *h = arg;
	struct conn *c, *next;

	DL_FOREACH_SAFE(h->conns, c, next) {
		if (is_gone(c->bev))
			conn_free(h, c);
		else if (++c->ticks >= h->p.life_s * 1000 / HTTP_TICK_MS)
			/* evhttp finds that the peer has closed it. */
			(void)shutdown(bufferevent_getfd(c->bev), SHUT_RDWR);
	}
	admit(h);
	/* Refused for want of memory: the next connection sets it again. */
	if (h->conns)
		(void)evtimer_add(h->tick, &tv);
}

/* NULL: evhttp makes one that we do not know; HTTP_IDLE_S alone bounds it. */
static struct bufferevent *
make_bev(struct event_base *base, void *arg)
{
	static const struct timeval tv = {.tv_usec = HTTP_TICK_MS * 1000};
	struct http *h = arg;
	struct conn *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	/* As evhttp would: it closes the descriptor. */
	c->bev = bufferevent_socket_new(base, -1, 0);
	if (!c->bev ||
	    (!evtimer_pending(h->tick, NULL) && evtimer_add(h->tick, &tv))) {
		if (c->bev)
			bufferevent_free(c->bev);
		free(c);
		return NULL;
	}
	bufferevent_incref(c->bev);
	DL_APPEND(h->conns, c);
	h->n_conns++;
	admit(h);
	return c->bev;
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct http *h = arg;

	h->paused = false;
	admit(h);
}

static void
on_accept_error(struct evconnlistener *l, void *arg)
{
	const struct timeval tv = {.tv_usec = HTTP_PAUSE_MS * 1000};
	struct http *h = arg;

	/* Otherwise it left, or the next round tries again. */
	if ((errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
	     errno == ENOBUFS) &&
	    !evtimer_add(h->resume, &tv)) {
		h->paused = true;
		admit(h);
	}
}

/* --------------------------------------------------------------- requests */

static void
reply(struct evhttp_request *req, int code, const char *content_type,
      struct evbuffer *body)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
	char len[32];

	evhttp_add_header(headers, "Connection", "close");
	evhttp_add_header(headers, "Content-Type", content_type);
	if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD) {
		snprintf(len, sizeof(len), "%zu",
			 body ? evbuffer_get_length(body) : 0);
		evhttp_add_header(headers, "Content-Length", len);
		body = NULL;
	}
	evhttp_send_reply(req, code, NULL, body);
}

static void
reply_line(struct evhttp_request *req, int code, const char *line)
{
	struct evbuffer *body = evbuffer_new();

	if (body)
		evbuffer_add_reference(body, line, strlen(line), NULL, NULL);
	reply(req, code, "text/plain; charset=utf-8", body);
	if (body)
		evbuffer_free(body);
}

static void
on_request(struct evhttp_request *req, void *arg)
{
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
	const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
	enum evhttp_cmd_type cmd = evhttp_request_get_command(req);
	struct http *h = arg;
	struct http_request *r;

	if (!path || strcmp(path, h->page)) {
		reply_line(req, HTTP_NOTFOUND, "not found\n");
		return;
	}
	if (cmd != EVHTTP_REQ_GET && cmd != EVHTTP_REQ_HEAD) {
		evhttp_add_header(evhttp_request_get_output_headers(req),
				  "Allow", "GET, HEAD");
		reply_line(req, HTTP_BADMETHOD, "GET or HEAD\n");
		return;
	}
	r = calloc(1, sizeof(*r));
	if (!r) {
		reply_line(req, HTTP_SERVUNAVAIL, "out of memory\n");
		return;
	}
	r->http = h;
	r->req = req;
	DL_APPEND(h->requests, r);
	h->p.get(h->p.user, r);
}

static void
free_text(const void *data, size_t len, void *extra)
{
	free(extra);
}

void
http_reply(struct http_request *r, const char *content_type, char *text,
	   size_t len)
{
	struct evbuffer *body = text ? evbuffer_new() : NULL;

	if (body &&
	    evbuffer_add_reference(body, text, len, free_text, text) < 0) {
		evbuffer_free(body);
		body = NULL;
	}
	if (!body)
		free(text);
	if (r->http) {
		DL_DELETE(r->http->requests, r);
		/* If the client left meanwhile, evhttp knows. */
		if (body)
			reply(r->req, HTTP_OK, content_type, body);
		else
			reply_line(r->req, HTTP_SERVUNAVAIL, "out of memory\n");
	}
	if (body)
		evbuffer_free(body);
	free(r);
}

/* ----------------------------------------------------------------- socket */

static int
listen_tcp(const struct http_addr *a, int *ret_fd)
{
	const struct sockaddr *sa = (const void *)&a->tcp;
	const int one = 1;
	int r, fd = socket(sa->sa_family,
			   SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, sa, a->tcp_len) < 0 || listen(fd, HTTP_MAX_CLIENTS) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static int
name_tcp(struct http *h, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char host[64] = "?", port[8] = "?";
	bool v6;

	if (getsockname(fd, (void *)&ss, &len) < 0)
		return -errno;
	(void)getnameinfo((const void *)&ss, len, host, sizeof(host), port,
			  sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	v6 = ss.ss_family == AF_INET6;
	snprintf(h->uri, sizeof(h->uri), "http://%s%s%s:%s%s", v6 ? "[" : "",
		 host, v6 ? "]" : "", port, h->page);
	return 0;
}

static int
listen_on(struct http *h, char err_text[HTTP_TEXT_MAX], int *ret_fd)
{
	const struct http_addr *a = h->p.addr;
	const struct unix_listen ul = {
		.what = h->p.what,
		.path = a->unix_path,
		.backlog = HTTP_MAX_CLIENTS,
	};
	char host[64] = "?", port[8] = "?";
	int r;

	if (a->unix_path) {
		snprintf(h->uri, sizeof(h->uri), "unix:%s", a->unix_path);
		return unix_listen(&ul, err_text, ret_fd);
	}
	r = listen_tcp(a, ret_fd);
	if (!r) {
		r = name_tcp(h, *ret_fd);
		if (!r)
			return 0;
		close(*ret_fd);
	}
	(void)getnameinfo((const void *)&a->tcp, a->tcp_len, host, sizeof(host),
			  port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(err_text, HTTP_TEXT_MAX, "%s at %s port %s: %s%s", h->p.what,
		 host, port, strerror(-r),
		 r == -EADDRINUSE      ? "; choose another port"
		 : r == -EADDRNOTAVAIL ? "; no interface of this machine has "
					 "that address"
				       : remedy_words(r));
	return r;
}

/* Hands fd over to evhttp. */
static int
start(struct http *h, int fd)
{
	struct event_base *base = loop_base(h->p.loop);

	h->resume = evtimer_new(base, on_resume, h);
	h->tick = evtimer_new(base, on_tick, h);
	h->ev = evhttp_new(base);
	if (!h->resume || !h->tick || !h->ev)
		goto err;
	evhttp_set_allowed_methods(
		h->ev, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
			       EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
			       EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE |
			       EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH);
	evhttp_set_max_headers_size(h->ev, HTTP_MAX_HEADERS);
	evhttp_set_max_body_size(h->ev, HTTP_MAX_BODY);
	evhttp_set_timeout(h->ev, (int)h->p.idle_s);
	evhttp_set_bevcb(h->ev, make_bev, h);
	evhttp_set_gencb(h->ev, on_request, h);
	h->listener = evconnlistener_new(
		base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
		0, fd);
	if (!h->listener)
		goto err;
	if (!evhttp_bind_listener(h->ev, h->listener)) {
		evconnlistener_free(h->listener); /* and fd with it */
		h->listener = NULL;
		return -ENOMEM;
	}
	evconnlistener_set_error_cb(h->listener, on_accept_error);
	/* Was done, but not whether it could be. */
	return evconnlistener_enable(h->listener) < 0 ? -ENOMEM : 0;
err:
	close(fd);
	return -ENOMEM;
}

int
http_new(const struct http_params *p, char err_text[HTTP_TEXT_MAX],
	 struct http **ret)
{
	struct http *h = calloc(1, sizeof(*h));
	int fd, r = -ENOMEM;

	err_text[0] = '\0';
	if (!h)
		goto err;
	h->p = *p;
	if (!h->p.idle_s)
		h->p.idle_s = HTTP_IDLE_S;
	if (!h->p.life_s)
		h->p.life_s = HTTP_LIFE_S;
	snprintf(h->page, sizeof(h->page), "%s", p->page);
	r = listen_on(h, err_text, &fd);
	h->listens = !r;
	if (!r)
		r = start(h, fd);
	if (!r) {
		*ret = h;
		return 0;
	}
err:
	if (!*err_text)
		snprintf(err_text, HTTP_TEXT_MAX, "%s: %s", p->what,
			 strerror(-r));
	http_free(h);
	return r;
}

void
http_free(struct http *h)
{
	struct http_request *r;
	struct conn *c, *next;

	if (!h)
		return;
	DL_FOREACH(h->requests, r)
		r->http = NULL;
	if (h->listens && h->p.addr->unix_path)
		(void)unlink(h->p.addr->unix_path);
	/* Frees the listener, the connections and their requests. */
	if (h->ev)
		evhttp_free(h->ev);
	DL_FOREACH_SAFE(h->conns, c, next)
		conn_free(h, c);
	if (h->resume)
		event_free(h->resume);
	if (h->tick)
		event_free(h->tick);
	free(h);
}

const char *
http_uri(const struct http *h)
{
	return h->uri;
}
