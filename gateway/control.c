/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/control.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

/* JSON-RPC 2.0 section 5.1 */
enum rpc_error {
	RPC_PARSE_ERROR = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_METHOD_NOT_FOUND = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_INTERNAL_ERROR = -32603,
};

struct client {
	struct control *control;
	struct bufferevent *bev;
	struct control_call *call; /* under way; reading waits for it */
	bool closing; /* no more input; ends once the output is written */
	bool running; /* client_run() is on the stack */
	struct client *prev, *next;
};

struct control_call {
	struct client *client; /* NULL: it left meanwhile */
	json_t *id;            /* NULL: a notification, not answered */
};

struct control {
	struct control_params p;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	int fd;
	struct loop_watch *watch; /* NULL: no descriptors; until resume */
	struct event *resume;
	struct client *clients;
	unsigned n_clients;
};

static void client_run(struct client *cl);

/* -------------------------------------------------------------- clients */

static void
client_free(struct client *cl)
{
	struct control *c = cl->control;

	if (cl->call)
		cl->call->client = NULL;
	DL_DELETE(c->clients, cl);
	c->n_clients--;
	bufferevent_free(cl->bev);
	free(cl);
}

/* Steals msg. */
static void
client_send(struct client *cl, json_t *msg)
{
	char *text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;

	json_decref(msg);
	/* An answer that cannot be sent ends the connection: the peer sees
	 * that it will not come. */
	if (!text || bufferevent_write(cl->bev, text, strlen(text)) < 0 ||
	    bufferevent_write(cl->bev, "\n", 1) < 0)
		cl->closing = true;
	free(text);
}

static void
client_send_error(struct client *cl, json_t *id, enum rpc_error code,
		  const char *message)
{
	client_send(cl, json_pack("{s:s, s:{s:i, s:s}, s:O?}", "jsonrpc", "2.0",
				  "error", "code", (int)code, "message",
				  message, "id", id ? id : json_null()));
}

/* Frees a client that is to be closed and has nothing more to hear. */
static bool
client_is_done(struct client *cl)
{
	if (!cl->closing || cl->call ||
	    evbuffer_get_length(bufferevent_get_output(cl->bev)))
		return false;
	client_free(cl);
	return true;
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	client_run(arg);
}

static void
on_written(struct bufferevent *bev, void *arg)
{
	/* Calls may have waited for it. */
	client_run(arg);
}

static void
on_end(struct bufferevent *bev, short what, void *arg)
{
	struct client *cl = arg;

	/* Idle while its own call is under way is not idle. */
	if ((what & BEV_EVENT_TIMEOUT) && (what & BEV_EVENT_READING) &&
	    cl->call) {
		bufferevent_enable(bev, EV_READ);
		return;
	}
	if (what & BEV_EVENT_EOF) {
		/* What was asked before is still answered. */
		cl->closing = true;
		client_is_done(cl);
	} else {
		client_free(cl);
	}
}

static void
pause_accept(struct control *c)
{
	const struct timeval tv = {.tv_usec = CONTROL_PAUSE_MS * 1000};

	/* Without a timer it has to spin: better than to be deaf for good. */
	if (evtimer_add(c->resume, &tv) < 0)
		return;
	loop_unwatch(c->watch);
	c->watch = NULL;
}

static void on_accept(void *user);

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;

	if (loop_watch_fd(c->p.loop, c->fd, on_accept, c, &c->watch) < 0)
		pause_accept(c);
}

static void
on_accept(void *user)
{
	struct control *c = user;
	static const char busy[] =
		"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32000,\"message\":"
		"\"too many control connections\"},\"id\":null}\n";
	struct timeval idle = {
		.tv_sec = c->p.idle_s ? c->p.idle_s : CONTROL_IDLE_S,
	};
	int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *cl;

	if (fd < 0) {
		/* It left, or it stays in the backlog: then the socket stays
		 * readable, and the loop would spin. */
		if (errno == EMFILE || errno == ENFILE)
			pause_accept(c);
		return;
	}
	if (c->n_clients >= CONTROL_MAX_CLIENTS) {
		(void)!write(fd, busy, sizeof(busy) - 1);
		close(fd);
		return;
	}
	cl = calloc(1, sizeof(*cl));
	if (!cl) {
		close(fd);
		return;
	}
	cl->bev = bufferevent_socket_new(loop_base(c->p.loop), fd,
					 BEV_OPT_CLOSE_ON_FREE);
	if (!cl->bev) {
		close(fd);
		free(cl);
		return;
	}
	cl->control = c;
	DL_APPEND(c->clients, cl);
	c->n_clients++;
	bufferevent_setcb(cl->bev, on_read, on_written, on_end, cl);
	bufferevent_setwatermark(cl->bev, EV_READ, 0, CONTROL_MAX_LINE + 1);
	bufferevent_set_timeouts(cl->bev, &idle, &idle);
	if (bufferevent_enable(cl->bev, EV_READ | EV_WRITE) < 0)
		client_free(cl);
}

/* ---------------------------------------------------------------- calls */

void
control_reply(struct control_call *call, json_t *result)
{
	struct client *cl = call->client;

	if (!cl) {
		json_decref(result);
	} else {
		cl->call = NULL;
		if (!call->id)
			json_decref(result);
		else if (!result)
			client_send_error(cl, call->id, RPC_INTERNAL_ERROR,
					  "out of memory");
		else
			client_send(cl, json_pack("{s:s, s:o, s:O}", "jsonrpc",
						  "2.0", "result", result, "id",
						  call->id));
	}
	json_decref(call->id);
	free(call);
	if (cl && !cl->running)
		client_run(cl);
}

static const struct control_method *
find_method(const struct control *c, const char *name)
{
	const struct control_method *m = c->p.methods;

	while (m->name && strcmp(m->name, name))
		m++;
	return m->name ? m : NULL;
}

/* Borrows req. */
static void
client_call(struct client *cl, json_t *req)
{
	struct control *c = cl->control;
	json_t *id = json_object_get(req, "id");
	json_t *params = json_object_get(req, "params");
	const char *ver = json_string_value(json_object_get(req, "jsonrpc"));
	const char *name = json_string_value(json_object_get(req, "method"));
	const struct control_method *m;
	struct control_call *call;

	if (!ver || strcmp(ver, "2.0") || !name ||
	    (id && !json_is_string(id) && !json_is_number(id) &&
	     !json_is_null(id))) {
		client_send_error(cl, NULL, RPC_INVALID_REQUEST,
				  "not a JSON-RPC 2.0 request object");
		return;
	}
	m = find_method(c, name);
	if (!m) {
		client_send_error(cl, id, RPC_METHOD_NOT_FOUND,
				  "no such method");
		return;
	}
	if (json_object_size(params) || json_array_size(params)) {
		client_send_error(cl, id, RPC_INVALID_PARAMS,
				  "this method takes no parameters");
		return;
	}
	call = calloc(1, sizeof(*call));
	if (!call) {
		client_send_error(cl, id, RPC_INTERNAL_ERROR, "out of memory");
		return;
	}
	call->client = cl;
	call->id = json_incref(id);
	cl->call = call;
	m->fn(c->p.user, call);
}

static void
client_line(struct client *cl, const char *line, size_t len)
{
	json_error_t err;
	json_t *req = json_loadb(line, len, JSON_REJECT_DUPLICATES, &err);

	if (!req) {
		client_send_error(cl, NULL, RPC_PARSE_ERROR, err.text);
		return;
	}
	client_call(cl, req);
	json_decref(req);
}

static bool
client_may_call(const struct client *cl)
{
	struct evbuffer *out = bufferevent_get_output(cl->bev);

	return !cl->call && !cl->closing &&
	       evbuffer_get_length(out) <= CONTROL_MAX_UNREAD;
}

/* Takes one call after the other from what has arrived. */
static void
client_run(struct client *cl)
{
	struct evbuffer *in = bufferevent_get_input(cl->bev);
	size_t len;
	char *line;

	cl->running = true;
	/* A method that answers at once only ends the call; the loop goes on
	 * with the next line. */
	while (client_may_call(cl) &&
	       (line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF))) {
		client_line(cl, line, len);
		free(line);
	}
	cl->running = false;
	if (client_may_call(cl) && evbuffer_get_length(in) > CONTROL_MAX_LINE) {
		client_send_error(cl, NULL, RPC_INVALID_REQUEST,
				  "the line is too long");
		cl->closing = true;
	}
	client_is_done(cl);
}

/* --------------------------------------------------------------- socket */

/* Makes way for bind(2). */
static int
clear_path(const char *path, const struct sockaddr_un *sun,
	   char err_text[CONTROL_TEXT_MAX])
{
	struct stat st;
	int fd, r;

	if (lstat(path, &st) < 0)
		return 0; /* nothing there, or bind says what is wrong */
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(err_text, CONTROL_TEXT_MAX,
			 "control socket %s: the path exists and is not a "
			 "socket; remove it or choose another",
			 path);
		return -EADDRINUSE;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	r = connect(fd, (const void *)sun, sizeof(*sun));
	if (r < 0)
		r = -errno;
	close(fd);
	if (r == -ECONNREFUSED) { /* left behind by one that died */
		(void)unlink(path);
		return 0;
	}
	if (r == -ENOENT)
		return 0;
	snprintf(err_text, CONTROL_TEXT_MAX,
		 "control socket %s: another daemon answers on it; stop that "
		 "one or choose another path",
		 path);
	return -EADDRINUSE;
}

static int
listen_on(struct control *c, char err_text[CONTROL_TEXT_MAX])
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	mode_t mask;
	int r;

	memcpy(sun.sun_path, c->path, sizeof(sun.sun_path));
	r = clear_path(c->path, &sun, err_text);
	if (r < 0)
		return r;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return -errno;
	mask = umask(0117);
	r = bind(c->fd, (const void *)&sun, sizeof(sun));
	if (r < 0)
		r = -errno;
	umask(mask);
	if (r < 0 || listen(c->fd, CONTROL_MAX_CLIENTS) < 0) {
		r = r < 0 ? r : -errno;
		close(c->fd);
		c->fd = -1;
	}
	return r;
}

int
control_new(const struct control_params *p, char err_text[CONTROL_TEXT_MAX],
	    struct control **ret)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	err_text[0] = '\0';
	if (!c)
		return -ENOMEM;
	c->p = *p;
	c->fd = -1;
	/* Methods may build their answers on several threads. */
	json_object_seed(0);
	snprintf(c->path, sizeof(c->path), "%s", p->path);
	r = listen_on(c, err_text);
	if (r < 0)
		goto err;
	r = -ENOMEM;
	c->resume = evtimer_new(loop_base(p->loop), on_resume, c);
	if (!c->resume)
		goto err;
	r = loop_watch_fd(p->loop, c->fd, on_accept, c, &c->watch);
	if (r < 0)
		goto err;
	*ret = c;
	return 0;
err:
	if (!*err_text)
		snprintf(err_text, CONTROL_TEXT_MAX, "control socket %s: %s",
			 p->path, strerror(-r));
	control_free(c);
	return r;
}

void
control_free(struct control *c)
{
	struct client *cl, *next;

	if (!c)
		return;
	DL_FOREACH_SAFE(c->clients, cl, next)
		client_free(cl);
	loop_unwatch(c->watch);
	if (c->resume)
		event_free(c->resume);
	if (c->fd >= 0) {
		(void)unlink(c->path);
		close(c->fd);
	}
	free(c);
}
