/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small HTTP server on a loop, by libevent's evhttp: one page, for programs
 * that read it now and then. GET and HEAD of that page, 404 for others, 405 for
 * other methods. One request per connection.
 *
 * Limits: HTTP_MAX_CLIENTS connections at once, others wait in the backlog;
 * HTTP_MAX_HEADERS bytes of headers, HTTP_MAX_BODY of a body; HTTP_IDLE_S
 * without a byte moving and HTTP_LIFE_S in all end a connection. So who sends
 * or reads slowly costs memory for one answer, for that long, and no more. The
 * process must ignore SIGPIPE.
 *
 * All on the loop's thread.
 */
#ifndef GATEWAY_HTTP_H
#define GATEWAY_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "config/control/loop.h"

#define HTTP_MAX_CLIENTS 16
#define HTTP_MAX_HEADERS 8192
#define HTTP_MAX_BODY    1024
#define HTTP_IDLE_S      10
#define HTTP_LIFE_S      30
/* How often connections are looked after, if there are any. */
#define HTTP_TICK_MS     100
/* Out of descriptors: look away for so long. */
#define HTTP_PAUSE_MS    100
#define HTTP_TEXT_MAX    256

struct http;
struct http_request;

/* Where it listens. */
struct http_addr {
	const char *unix_path; /* NULL: TCP; borrowed */
	struct sockaddr_storage tcp;
	socklen_t tcp_len;
};

/*
 * ADDR:PORT, [ADDR]:PORT with a numeric address, or unix:PATH. -EINVAL, with
 * what is accepted in err.
 */
int http_addr_parse(const char *text, struct http_addr *ret, char *err,
		    size_t err_len);

struct http_params {
	struct loop *loop;
	const struct http_addr *addr;
	const char *what; /* for err_text: "metrics" */
	const char *page; /* "/metrics" */
	/* The page is asked for; ends in one http_reply(), now or later. */
	void (*get)(void *user, struct http_request *req);
	void *user;
	unsigned idle_s, life_s; /* 0: HTTP_IDLE_S, HTTP_LIFE_S */
};

/* Errors: of bind(2) and unix_listen(); err_text says it in one line. */
int http_new(const struct http_params *p, char err_text[HTTP_TEXT_MAX],
	     struct http **ret);
/* Ends all connections. Requests may still be replied to. NULL is fine. */
void http_free(struct http *h);
/* "http://127.0.0.1:11234/metrics", with the port that it got. */
const char *http_uri(const struct http *h);

/* Takes text over (from malloc()); NULL: out of memory, which is a 503. */
void http_reply(struct http_request *req, const char *content_type, char *text,
		size_t len);

#endif
