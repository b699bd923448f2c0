/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/control/control-priv.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "config/control/unix-listen.h"
#include "rtrs/base/remedy.h"

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
	json_decref(cl->batch);
	json_decref(cl->answers);
	free(cl);
}

void
control_client_send(struct client *cl, json_t *msg)
{
	char *text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;

	json_decref(msg);
	/*
	 * An answer that cannot be sent ends the connection: the peer sees
	 * that it will not come. Enabled again, since libevent makes a
	 * bufferevent that had no memory for its callbacks, and that does not
	 * begin to write by itself.
	 */
	if (!text || bufferevent_write(cl->bev, text, strlen(text)) < 0 ||
	    bufferevent_write(cl->bev, "\n", 1) < 0 ||
	    bufferevent_enable(cl->bev, EV_WRITE) < 0)
		cl->closing = true;
	free(text);
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
	control_client_run(arg);
}

static void
on_written(struct bufferevent *bev, void *arg)
{
	/* Calls may have waited for it. */
	control_client_run(arg);
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
		cl->eof = true;
		control_client_run(cl);
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

/* One line to somebody who does not become a client. */
static void
turn_away(int fd, enum control_code code, const char *message)
{
	json_t *msg = control_error(NULL, (int)code, message);
	char *text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;

	/* A new socket has room for a line. */
	if (text && write(fd, text, strlen(text)) > 0)
		(void)!write(fd, "\n", 1);
	free(text);
	json_decref(msg);
	close(fd);
}

static bool
let_in(const struct control *c, int fd, struct ucred *ret)
{
	char text[CONTROL_TEXT_MAX];

	if (control_peer_get(fd, ret) < 0 || !control_peer_check(c, fd, ret)) {
		log_warn(c->p.log, "control: uid %u, pid %d is not let in",
			 (unsigned)ret->uid, (int)ret->pid);
		snprintf(text, sizeof(text),
			 "uid %u may not control this process: root, its own "
			 "user and the group of the socket may",
			 (unsigned)ret->uid);
		turn_away(fd, CONTROL_PERMISSION, text);
		return false;
	}
	if (c->n_clients >= CONTROL_MAX_CLIENTS) {
		turn_away(fd, CONTROL_BUSY, "too many control connections");
		return false;
	}
	return true;
}

static void
on_accept(void *user)
{
	struct control *c = user;
	struct timeval idle = {
		.tv_sec = c->p.idle_s ? c->p.idle_s : CONTROL_IDLE_S,
	};
	int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *cl;
	struct ucred peer;

	if (fd < 0) {
		/* It left, or it stays in the backlog: then the socket stays
		 * readable, and the loop would spin. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
		    errno == ENOBUFS)
			pause_accept(c);
		return;
	}
	if (!let_in(c, fd, &peer))
		return;
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
	cl->peer = peer;
	DL_APPEND(c->clients, cl);
	c->n_clients++;
	bufferevent_setcb(cl->bev, on_read, on_written, on_end, cl);
	bufferevent_set_timeouts(cl->bev, &idle, &idle);
	if (bufferevent_enable(cl->bev, EV_READ | EV_WRITE) < 0)
		client_free(cl);
}

static bool
client_may_call(const struct client *cl)
{
	struct evbuffer *out = bufferevent_get_output(cl->bev);

	return !cl->call && !cl->closing &&
	       evbuffer_get_length(out) <= CONTROL_MAX_UNREAD;
}

static bool
has_line(struct evbuffer *in)
{
	return evbuffer_search_eol(in, NULL, NULL, EVBUFFER_EOL_LF).pos >= 0;
}

/*
 * What nobody has read yet is bounded: whoever sends more has to wait. Not by
 * a watermark of libevent, which crashes where there is no memory for it.
 */
static void
bound_input(struct client *cl, size_t len)
{
	if (len > CONTROL_MAX_LINE)
		bufferevent_disable(cl->bev, EV_READ);
	else if (bufferevent_enable(cl->bev, EV_READ) < 0)
		cl->closing = true;
}

void
control_client_run(struct client *cl)
{
	struct evbuffer *in = bufferevent_get_input(cl->bev);
	size_t len;
	char *line;

	cl->running = true;
	/* A method that answers at once only ends the call; the loop goes on
	 * with the next line. */
	while (client_may_call(cl)) {
		if (cl->batch) {
			control_batch_step(cl);
			continue;
		}
		line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF);
		if (!line) {
			/* There is one, and no memory for it. */
			if (has_line(in))
				cl->closing = true;
			break;
		}
		control_line(cl, line, len);
		free(line);
	}
	cl->running = false;
	if (client_may_call(cl) && evbuffer_get_length(in) > CONTROL_MAX_LINE) {
		control_client_send(cl,
				    control_error(NULL, CONTROL_INVALID_REQUEST,
						  "the line is too long"));
		cl->closing = true;
	} else if (cl->eof && client_may_call(cl)) {
		cl->closing = true;
	}
	if (!cl->eof && !cl->closing)
		bound_input(cl, evbuffer_get_length(in));
	client_is_done(cl);
}

/* --------------------------------------------------------------- socket */

_Static_assert(CONTROL_TEXT_MAX >= UNIX_LISTEN_TEXT_MAX, "one for the other");

static int
listen_on(const struct control_params *p, char err_text[CONTROL_TEXT_MAX],
	  int *ret_fd)
{
	const struct unix_listen ul = {
		.what = "control socket",
		.path = p->path,
		.backlog = CONTROL_MAX_CLIENTS,
		.has_group = p->has_group,
		.group = p->group,
	};

	return unix_listen(&ul, err_text, ret_fd);
}

int
control_check(const char *path, char err_text[CONTROL_TEXT_MAX])
{
	const struct control_params p = {.path = path};
	int fd, r;

	r = listen_on(&p, err_text, &fd);
	if (r < 0)
		return r;
	(void)unlink(path);
	close(fd);
	return 0;
}

int
control_new(const struct control_params *p, char err_text[CONTROL_TEXT_MAX],
	    struct control **ret)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	err_text[0] = '\0';
	if (!c) {
		snprintf(err_text, CONTROL_TEXT_MAX, "control socket '%s': %s%s",
			 p->path, strerror(ENOMEM), remedy_words(-ENOMEM));
		return -ENOMEM;
	}
	c->p = *p;
	c->fd = -1;
	/* Methods may build their answers on several threads. */
	json_object_seed(0);
	snprintf(c->path, sizeof(c->path), "%s", p->path);
	r = listen_on(p, err_text, &c->fd);
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
		snprintf(err_text, CONTROL_TEXT_MAX, "control socket '%s': %s%s",
			 p->path, strerror(-r), remedy_words(r));
	control_free(c);
	return r;
}

/* What is answered already, as far as there is room for it. */
static void
write_out(struct client *cl)
{
	struct evbuffer *out = bufferevent_get_output(cl->bev);
	size_t len = evbuffer_get_length(out);

	if (len)
		(void)!write(bufferevent_getfd(cl->bev),
			     evbuffer_pullup(out, -1), len);
}

void
control_free(struct control *c)
{
	struct client *cl, *next;

	if (!c)
		return;
	DL_FOREACH_SAFE(c->clients, cl, next) {
		write_out(cl);
		client_free(cl);
	}
	loop_unwatch(c->watch);
	if (c->resume)
		event_free(c->resume);
	if (c->fd >= 0) {
		(void)unlink(c->path);
		close(c->fd);
	}
	free(c);
}
